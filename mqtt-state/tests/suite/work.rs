//! Work in slices: no call does more than its steps, and it ends as if it had been done at once.

use core::num::NonZeroU16;
use core::time::Duration;

use mqtt_codec::{Binary, Message, QoS, Will};
use mqtt_state::broker::{self, Config, ConnectionId};
use mqtt_state::{TimeoutReason, server};

use crate::hall::Hall;
use crate::load;
use crate::wire::{V5_0, connect, name, puback, publish, want, with_subscribe};

#[test]
fn many_sessions_expire_in_slices() {
    load::sessions_expire_together(100_000);
}

#[test]
fn many_retained_messages_are_replayed_and_expire_in_slices() {
    load::retained_are_replayed_and_expire_together(50_000);
}

#[test]
fn many_connections_are_told_goodbye_in_slices() {
    load::connections_end_together(10_000);
}

#[test]
fn many_receive_one_message_in_slices() {
    load::many_receive_one(100_000);
}

impl Hall {
    /// Opens a connection; `will` goes to this topic after this delay.
    fn connect(
        &mut self,
        client_id: &str,
        expiry_secs: u32,
        will: Option<(&str, u32)>,
    ) -> (ConnectionId, Vec<String>) {
        let peer = &self.peer;
        let id = self.broker.accept(peer.now, broker::Peer::default());
        let id = id.unwrap();
        let mut packet = connect(V5_0, client_id);
        packet.clean_start = false;
        packet.properties.session_expiry_secs = Some(expiry_secs);
        packet.properties.receive_maximum = NonZeroU16::new(10);
        packet.will = will.map(|(topic, delay_secs)| {
            let mut will = Will::new(name(topic), Binary::new(b"x").unwrap());
            will.properties.delay_secs = Some(delay_secs);
            will
        });
        let heard = peer.ask(&mut (&mut self.broker, id), packet);
        (id, heard)
    }

    /// Subscribes; the answer waits to be heard.
    fn ask_for(&mut self, id: ConnectionId, filter: &str, qos: QoS) {
        let Self { broker, peer } = self;
        with_subscribe(1, &[want(filter, qos)], |packet| {
            peer.say(&mut (broker, id), packet)
        });
    }

    /// Time passes, and the broker is not told.
    fn wait(&mut self, secs: u64) {
        self.peer.now = self.peer.now + Duration::from_secs(secs);
    }

    fn retain(&mut self, topic: &str, payload: &str, qos: QoS) {
        let message = Message::new(topic, payload.to_owned()).unwrap();
        let message = message.with_qos(qos).with_retain(true);
        self.broker.publish(self.peer.now, message);
    }

    /// Does all that is due; answers how many calls that took.
    fn work_off(&mut self) -> usize {
        let now = self.peer.now;
        let mut calls = 0;
        while self.broker.poll_timeout().is_some_and(|due| due.at <= now) {
            self.broker.handle_timeout(now);
            calls += 1;
        }
        calls
    }
}

/// Nothing of a client is taken while a message of its own is on its way, not even an acknowledgement.
#[test]
fn an_acknowledgement_waits_behind_a_message_that_goes_out_in_slices() {
    let mut hall = Hall::sliced(2);
    let others = ["a", "b", "c", "d", "e"].map(|client_id| {
        let (id, _) = hall.connect(client_id, 0, None);
        hall.ask_for(id, "t", QoS::AtMostOnce);
        hall.hear(id);
        id
    });
    let (id, _) = hall.connect("publisher", 0, None);
    hall.ask_for(id, "own", QoS::AtLeastOnce);
    let message = Message::new("own", "x").unwrap();
    hall.broker
        .publish(hall.peer.now, message.with_qos(QoS::AtLeastOnce));
    assert_eq!(hall.hear(id), ["SUBACK 1 01", "PUBLISH own=x q1 id1"]);
    let packet = publish("t", "m", QoS::AtMostOnce, 0);
    hall.peer.say(&mut (&mut hall.broker, id), packet);
    let mut ack = Vec::new();
    puback(1).encode_to(V5_0, &mut ack).unwrap();
    let now = hall.peer.now;
    assert_eq!(hall.broker.handle_input(now, id, &ack).bytes, 0);
    let in_flight = |hall: &Hall| hall.broker.session("publisher").unwrap().in_flight_len;
    assert_eq!(in_flight(&hall), 1);
    hall.work_off();
    for other in others {
        assert_eq!(hall.hear(other), ["PUBLISH t=m q0"]);
    }
    assert_eq!(hall.broker.handle_input(now, id, &ack).bytes, ack.len());
    assert_eq!(in_flight(&hall), 0);
}

/// The packet identifier of a PUBLISH that was heard.
fn id_in(line: &str) -> u16 {
    let mut words = line.split(' ');
    words
        .find_map(|word| word.strip_prefix("id")?.parse().ok())
        .unwrap()
}

/// However many are due before: a session whose time is over is not resumed.
#[test]
fn a_session_that_has_expired_is_not_resumed_before_its_turn() {
    let mut hall = Hall::sliced(10);
    for number in 0..100 {
        let (id, _) = hall.connect(&format!("{number:02}"), 10, None);
        hall.broker.handle_close(hall.peer.now, id);
    }
    hall.wait(10);
    hall.broker.handle_timeout(hall.peer.now);
    assert_eq!(hall.broker.stats().sessions, 90, "ten are gone");
    let due = hall.broker.poll_timeout().unwrap();
    assert_eq!(due.reason, TimeoutReason::Work);
    let (_, heard) = hall.connect("99", 10, None);
    assert_eq!(heard, ["CONNACK 00"], "a new session");
    // One second less, and it would have been there.
    let mut hall = Hall::sliced(10);
    let (id, _) = hall.connect("99", 10, None);
    hall.broker.handle_close(hall.peer.now, id);
    hall.wait(9);
    let (_, heard) = hall.connect("99", 10, None);
    assert_eq!(heard, ["CONNACK 00 present"]);
}

/// Whose will is due is too late to call it back, even if nobody has published it yet.
#[test]
fn a_will_that_is_due_is_published_though_its_client_comes_back_before_its_turn() {
    // [5:MQTT-3.1.3-9]
    for (secs, expected) in [(4, 0), (5, 1)] {
        let mut hall = Hall::sliced(10);
        let (reader, _) = hall.connect("reader", 0, None);
        hall.ask_for(reader, "will/#", QoS::AtMostOnce);
        hall.hear(reader);
        for number in 0..50 {
            let (id, _) = hall.connect(&format!("{number:02}"), 100, Some(("other", 5)));
            hall.broker.handle_close(hall.peer.now, id);
        }
        let (id, _) = hall.connect("zz", 100, Some(("will/zz", 5)));
        hall.broker.handle_close(hall.peer.now, id);
        hall.wait(secs);
        let (_, heard) = hall.connect("zz", 100, None);
        assert_eq!(heard, ["CONNACK 00 present"]);
        assert_eq!(hall.hear(reader).len(), expected, "after {secs} s");
        hall.work_off();
        assert_eq!(hall.hear(reader), [""; 0], "once");
    }
}

#[test]
fn wills_that_are_due_together_go_each_once_and_in_slices() {
    let mut hall = Hall::sliced(10);
    for number in 0..95 {
        let topic = format!("will/{number:02}");
        let (id, _) = hall.connect(&topic, 100, Some((&topic, 5)));
        hall.broker.handle_close(hall.peer.now, id);
    }
    let (reader, _) = hall.connect("reader", 0, None);
    hall.ask_for(reader, "will/#", QoS::AtMostOnce);
    hall.hear(reader);
    hall.wait(5);
    let calls = hall.work_off();
    let heard = hall.hear(reader);
    let expected: Vec<_> = (0..95)
        .map(|number| format!("PUBLISH will/{number:02}=x q0"))
        .collect();
    assert_eq!(heard, expected);
    assert!(calls >= 10, "{calls} calls");
    // A will to one receiver: two steps.
    assert!(hall.broker.stats().work_of_call_max <= 11);
}

/// A session ends in one piece: what it is worth in steps has to be there, or it waits.
#[test]
fn sessions_with_messages_end_one_by_one_and_what_was_shared_goes_to_others() {
    let mut hall = Hall::sliced(40);
    let (publisher, _) = hall.connect("publisher", 0, None);
    for number in 0..5 {
        let (id, _) = hall.connect(&format!("member{number}"), 10, None);
        hall.ask_for(id, "$share/g/t", QoS::AtLeastOnce);
        hall.broker.handle_close(hall.peer.now, id);
    }
    for number in 0..100 {
        hall.retain("t", &number.to_string(), QoS::AtLeastOnce);
    }
    hall.wait(5);
    let (last, _) = hall.connect("last", 0, None);
    hall.ask_for(last, "$share/g/t", QoS::AtLeastOnce);
    hall.hear(last);
    hall.wait(5);
    let before = hall.broker.stats().sessions;
    assert_eq!(before, 7);
    hall.broker.handle_timeout(hall.peer.now);
    assert_eq!(
        hall.broker.stats().sessions,
        6,
        "two of them would be 44 steps"
    );
    assert_eq!(hall.work_off(), 4);
    assert_eq!(hall.broker.stats().sessions, 2);
    assert!(hall.broker.stats().work_of_call_max <= 40);
    // All hundred, through a quota of ten.
    let mut got = Vec::new();
    loop {
        let heard = hall.hear(last);
        if heard.is_empty() {
            break;
        }
        for line in heard {
            let payload = line.split([' ', '=']).nth(2).unwrap();
            got.push(payload.parse::<u32>().unwrap());
            let packet_id = id_in(&line);
            hall.peer
                .say(&mut (&mut hall.broker, last), puback(packet_id));
        }
    }
    got.sort_unstable();
    assert_eq!(got, (0..100).collect::<Vec<_>>());
    let _idle = publisher;
}

/// Places of sessions that are over are free for others, though nobody has cleared them yet.
#[test]
fn a_session_that_has_expired_takes_no_place_from_others() {
    let mut hall = Hall::new(
        V5_0,
        Config {
            sessions_max: 1,
            ..Config::default()
        },
    );
    let (id, _) = hall.connect("first", 10, None);
    hall.broker.handle_close(hall.peer.now, id);
    hall.wait(9);
    let (_, heard) = hall.connect("second", 10, None);
    assert_eq!(heard, ["CONNACK 89", "close"]);
    hall.wait(1);
    let (_, heard) = hall.connect("second", 10, None);
    assert_eq!(heard, ["CONNACK 00"]);
}

/// The retained message of a topic and a newer one: whatever overtakes whom, the older never
/// comes last.
#[test]
fn a_replay_never_delivers_an_older_value_after_a_newer_live_one() {
    // Rows: QoS and payload of what comes while the replay waits, and what the client hears then.
    let rows: [(&str, QoS, &str, &[&str]); 3] = [
        (
            "at QoS 0, which no quota holds back",
            QoS::AtMostOnce,
            "new",
            &["PUBLISH t/01=new q0"],
        ),
        (
            "at QoS 1",
            QoS::AtLeastOnce,
            "new",
            &["PUBLISH t/01=new q1 id2"],
        ),
        (
            "the topic is cleared",
            QoS::AtMostOnce,
            "",
            &["PUBLISH t/01= q0"],
        ),
    ];
    for (row, qos, payload, expected) in rows {
        let mut hall = Hall::new(
            V5_0,
            Config {
                server: server::Config {
                    in_flight_max: 1,
                    ..server::Config::default()
                },
                ..Config::default()
            },
        );
        for topic in ["t/00", "t/01"] {
            hall.retain(topic, "old", QoS::AtLeastOnce);
        }
        let (id, _) = hall.connect("reader", 100, None);
        hall.ask_for(id, "t/+", QoS::AtLeastOnce);
        let heard = hall.hear(id);
        assert_eq!(heard, ["SUBACK 1 01", "PUBLISH t/00=old q1 id1 retain"]);
        hall.retain("t/01", payload, qos);
        let mut heard = hall.hear(id);
        hall.peer.say(&mut (&mut hall.broker, id), puback(1));
        heard.extend(hall.hear(id));
        assert_eq!(heard, expected, "{row}");
        hall.peer.say(&mut (&mut hall.broker, id), puback(2));
        assert_eq!(hall.hear(id), [""; 0], "{row}");
    }
    // What was sent once is sent again, as the standard demands.
    let mut hall = Hall::sliced(100);
    hall.retain("t", "old", QoS::AtLeastOnce);
    let (id, _) = hall.connect("reader", 100, None);
    hall.ask_for(id, "t", QoS::AtLeastOnce);
    hall.hear(id);
    hall.broker.handle_close(hall.peer.now, id);
    hall.retain("t", "new", QoS::AtLeastOnce);
    let (_, heard) = hall.connect("reader", 100, None);
    let expected = [
        "CONNACK 00 present",
        "PUBLISH t=old q1 id1 dup retain",
        "PUBLISH t=new q1 id2",
    ];
    assert_eq!(heard, expected);
}

/// A replay waits for room by bytes as well: what is retained is not lost on the way.
#[test]
fn a_replay_of_large_messages_waits_for_room() {
    let mut hall = Hall::new(
        V5_0,
        Config {
            server: server::Config {
                messages_bytes_max: 1000,
                ..server::Config::default()
            },
            ..Config::default()
        },
    );
    for number in 0..20 {
        hall.retain(
            &format!("t/{number:02}"),
            &"x".repeat(300),
            QoS::AtLeastOnce,
        );
    }
    let (id, _) = hall.connect("reader", 100, None);
    hall.ask_for(id, "t/+", QoS::AtLeastOnce);
    let mut count = 0;
    loop {
        let heard = hall.hear(id);
        let publishes: Vec<_> = heard
            .iter()
            .filter(|line| line.starts_with("PUBLISH"))
            .collect();
        if publishes.is_empty() {
            break;
        }
        for line in publishes {
            count += 1;
            let packet_id = id_in(line);
            hall.peer
                .say(&mut (&mut hall.broker, id), puback(packet_id));
        }
        // The transport is told without asking.
        let ready: Vec<_> = core::iter::from_fn(|| hall.broker.poll_ready()).collect();
        assert!(ready.contains(&id), "after {count}");
    }
    assert_eq!(count, 20);
}

/// Questions that nobody has answered in time are denied some with each call.
#[test]
fn questions_that_are_too_old_are_denied_in_slices() {
    let ask = broker::Ask {
        publish: true,
        subscribe: true,
        ..broker::Ask::default()
    };
    let mut hall = Hall::new(
        V5_0,
        Config {
            ask,
            decision_timeout: Duration::from_secs(5),
            work_per_call: 10,
            ..Config::default()
        },
    );
    for number in 0..50 {
        let (id, _) = hall.connect(&format!("{number}"), 0, None);
        let packet = publish("t", "x", QoS::AtLeastOnce, 1);
        hall.peer.say(&mut (&mut hall.broker, id), packet);
        hall.ask_for(id, "t", QoS::AtMostOnce);
    }
    assert_eq!(hall.broker.undecided_len(), 100);
    hall.peer.now = hall.peer.now + Duration::from_secs(5);
    let mut calls = 0;
    while hall.broker.undecided_len() > 0 {
        let before = hall.broker.undecided_len();
        let timeout = hall.broker.poll_timeout().unwrap();
        assert!(timeout.at <= hall.peer.now);
        hall.broker.handle_timeout(hall.peer.now);
        let denied = before - hall.broker.undecided_len();
        assert!((1..=10).contains(&denied), "{denied}");
        calls += 1;
    }
    assert!(calls >= 10, "{calls}");
}
