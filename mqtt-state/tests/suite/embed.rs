//! What the embedder does without a connection, and the limits it sets for all.

use core::time::Duration;

use mqtt_codec::{DisconnectReason, Message, Packet, QoS};
use mqtt_state::broker::{
    self, Ask, Config, ConnectAnswer, ConnectionId, Drain, Event, SharedPolicy,
};
use mqtt_state::{CloseCause, TimeoutReason, server};

use crate::hall::Hall;
use crate::wire::{
    Peer, V3_1_1, V5_0, connect, filter, name, puback, publish, pubrec, text, want, with_subscribe,
};

impl Hall {
    fn staying(&mut self, client_id: &str) -> ConnectionId {
        let mut login = connect(self.peer.version, client_id);
        if self.peer.version == V5_0 {
            login.properties.session_expiry_secs = Some(20);
        }
        let (id, heard) = self.enter(login);
        assert_eq!(heard, ["CONNACK 00"]);
        id
    }

    fn subscribed(&mut self, client_id: &str, filter: &str, qos: QoS) -> ConnectionId {
        let id = self.staying(client_id);
        let Self { broker, peer } = self;
        with_subscribe(1, &[want(filter, qos)], |packet| {
            peer.say(&mut (broker, id), packet);
        });
        self.hear(id);
        id
    }
}

#[test]
fn the_embedder_subscribes_without_a_connection() {
    let mut hall = Hall::new(V5_0, Config::default());
    let all = hall.broker.subscribe_local(filter("a/#")).unwrap();
    let one = hall.broker.subscribe_local(filter("a/b")).unwrap();
    let id = hall.staying("c");
    hall.events();
    hall.say(id, publish("a/b", "x", QoS::AtMostOnce, 0));
    hall.publish("a/c", "y", QoS::AtMostOnce);
    let told = |hall: &mut Hall| -> Vec<_> {
        { hall.events().into_iter() }
            .filter_map(|event| match event {
                Event::Local {
                    subscription,
                    message,
                } => Some((subscription, message.payload().to_vec())),
                _ => None,
            })
            .collect()
    };
    let expected = [
        (all, b"x".to_vec()),
        (one, b"x".to_vec()),
        (all, b"y".to_vec()),
    ];
    assert_eq!(told(&mut hall), expected);
    assert!(hall.broker.unsubscribe_local(all));
    assert!(!hall.broker.unsubscribe_local(all), "it is gone");
    hall.publish("a/c", "z", QoS::AtMostOnce);
    assert_eq!(told(&mut hall), []);
    assert_eq!(hall.broker.stats().messages, 0, "nothing is kept");
}

#[test]
fn a_client_is_sent_away_by_its_name() {
    for (version, expected) in [(V3_1_1, "close"), (V5_0, "DISCONNECT 9C close")] {
        let mut hall = Hall::new(version, Config::default());
        let id = hall.staying("c");
        let (now, reason) = (hall.peer.now, DisconnectReason::UseAnotherServer);
        let reference = Some(text("other.example"));
        let gone = hall.broker.disconnect_client(now, "c", reason, reference);
        assert!(gone);
        let (bytes, _) = hall.peer.hear_bytes(&mut (&mut hall.broker, id));
        let has_reference = bytes.windows(13).any(|bytes| bytes == b"other.example");
        assert_eq!(has_reference, version == V5_0);
        let heard = crate::wire::show_all(&bytes, version).join(" ");
        assert_eq!(format!("{heard} close").trim(), expected);
        let again = hall.broker.disconnect_client(now, "c", reason, None);
        assert!(!again, "it is not there");
    }
}

#[test]
fn a_broker_that_drains_says_goodbye_in_pieces_and_takes_nobody() {
    let config = Config {
        work_per_call: 100,
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let ids: Vec<_> = (0..600).map(|n| hall.staying(&format!("c{n}"))).collect();
    hall.events();
    let drain = Drain {
        reason: DisconnectReason::ServerMoved,
        server_reference: Some("other.example".into()),
    };
    hall.broker.drain(hall.peer.now, drain);
    let closed = |hall: &mut Hall| {
        let events = hall.events().into_iter();
        let closed = CloseCause::Disconnected(DisconnectReason::ServerMoved);
        { events }
            .filter(|event| matches!(event, Event::Closed { cause, .. } if *cause == closed))
            .count()
    };
    let mut told = closed(&mut hall);
    assert!(told <= 100, "not all at once");
    for _ in 0..10 {
        if hall.broker.poll_timeout().map(|it| it.reason) != Some(TimeoutReason::Work) {
            break;
        }
        hall.broker.handle_timeout(hall.peer.now);
        told += closed(&mut hall);
    }
    assert_eq!(told, 600);
    assert_eq!(hall.hear(ids[599]), ["DISCONNECT 9D", "close"]);
    let late = hall
        .broker
        .accept(hall.peer.now, broker::Peer::default())
        .unwrap();
    assert_eq!(
        hall.ask(late, connect(V5_0, "late")),
        ["CONNACK 9D", "close"]
    );
    assert!(hall.broker.is_draining());
    assert_eq!(hall.broker.stats().sessions, 600, "sessions stay");
}

/// A goodbye that takes more steps than a call has is the whole of one call, however few these are.
#[test]
fn a_broker_that_drains_comes_to_an_end() {
    for (work_per_call, filters) in [(0, 0), (1, 0), (1, 5), (4, 4), (5, 4)] {
        let row = format!("{work_per_call} steps, {filters} filters");
        let config = Config {
            work_per_call,
            ..Config::default()
        };
        let mut hall = Hall::new(V5_0, config);
        let ids: Vec<_> = ["a", "b", "c"].map(|name| hall.joined(name)).into();
        for number in 0..filters {
            let text = format!("t/{number}");
            let filter = [want(&text, QoS::AtLeastOnce)];
            with_subscribe(1, &filter, |packet| hall.say(ids[1], packet));
            hall.hear(ids[1]);
        }
        hall.broker.drain(hall.peer.now, Drain::default());
        let is_due = |hall: &Hall| {
            let due = hall.broker.poll_timeout();
            due.is_some_and(|it| it.reason == TimeoutReason::Work)
        };
        let mut calls = 0;
        while is_due(&hall) {
            calls += 1;
            assert!(calls < 20, "{row}");
            hall.broker.handle_timeout(hall.peer.now);
        }
        for id in ids {
            assert_eq!(hall.hear(id), ["DISCONNECT 8B", "close"], "{row}");
        }
    }
}

/// Nor is somebody let in between two goodbyes who was being asked about.
#[test]
fn whose_answer_comes_between_goodbyes_is_not_let_in() {
    let config = Config {
        work_per_call: 1,
        ask: Ask {
            connect: true,
            ..Ask::default()
        },
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let _first = hall.open();
    let id = hall.open();
    assert_eq!(hall.ask(id, connect(V5_0, "c")), [""; 0]);
    let asked = hall.events().into_iter().find_map(|event| match event {
        Event::Authenticate { decision, .. } => Some(decision),
        _ => None,
    });
    let now = hall.peer.now;
    hall.broker.drain(now, Drain::default());
    let answer = ConnectAnswer::Allow;
    let decided = hall.broker.decide_connect(now, asked.unwrap(), answer);
    assert_eq!(decided, Ok(()));
    assert_eq!(hall.hear(id), ["CONNACK 88", "close"]);
}

/// Only a 5.0 client can be told a reason; who has not said CONNECT is told nothing, and a place that
/// nobody is in is passed over.
#[test]
fn a_broker_that_drains_says_to_each_what_it_can_take() {
    let mut hall = Hall::new(V5_0, Config::default());
    let gone = hall.staying("gone");
    let new = hall.staying("new");
    hall.broker.handle_close(hall.peer.now, gone);
    let now = hall.peer.now;
    let silent = hall.broker.accept(now, broker::Peer::default()).unwrap();
    let ended = hall.staying("ended");
    let reason = DisconnectReason::AdministrativeAction;
    hall.broker.disconnect(now, ended, reason);
    let mut old = Peer::new(V3_1_1);
    old.now = now;
    let id = hall.broker.accept(now, broker::Peer::default()).unwrap();
    let login = connect(V3_1_1, "old");
    assert_eq!(old.ask(&mut (&mut hall.broker, id), login), ["CONNACK 00"]);
    hall.events();

    let drain = Drain {
        reason: DisconnectReason::ServerShuttingDown,
        server_reference: None,
    };
    hall.broker.drain(now, drain);
    let closed: Vec<_> = { hall.events().into_iter() }
        .filter_map(|event| match event {
            Event::Closed { connection, .. } => Some(connection),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [silent, new, id], "each once, by their places");
    assert_eq!(hall.hear(new), ["DISCONNECT 8B", "close"]);
    assert_eq!(hall.hear(ended), ["DISCONNECT 98", "close"]);
    assert_eq!(hall.hear(silent), ["close"]);
    assert_eq!(old.hear(&mut (&mut hall.broker, id)), ["close"]);
    let late = hall.broker.accept(now, broker::Peer::default()).unwrap();
    let heard = hall.ask(late, connect(V5_0, "late"));
    assert_eq!(heard, ["CONNACK 88", "close"], "without another server");
}

#[test]
fn sessions_and_what_they_hold_can_be_looked_at() {
    let mut hall = Hall::new(V5_0, Config::default());
    let here = hall.subscribed("here", "a/+", QoS::AtLeastOnce);
    let away = hall.subscribed("away", "a/b", QoS::ExactlyOnce);
    hall.broker.handle_close(hall.peer.now, away);
    hall.publish("a/b", "x", QoS::ExactlyOnce);
    hall.hear(here);
    let names: Vec<_> = hall.broker.sessions().map(|info| info.client_id).collect();
    assert_eq!(names, ["away", "here"]);
    let away = hall.broker.session("away").unwrap();
    assert_eq!((away.connection, away.waiting_len), (None, 1));
    assert_eq!(away.messages_bytes, 4);
    assert_eq!(
        away.expires_at,
        Some(hall.peer.now + Duration::from_secs(20))
    );
    let present = hall.broker.session("here").unwrap();
    assert_eq!((present.connection, present.in_flight_len), (Some(here), 1));
    assert_eq!(hall.broker.session("nobody"), None);
    let subscriptions = hall.broker.subscriptions("here");
    assert_eq!(subscriptions.len(), 1);
    assert_eq!(subscriptions[0].0, "a/+");
    assert_eq!(subscriptions[0].1.qos, QoS::AtLeastOnce);
}

#[test]
fn who_sends_too_fast_has_to_wait() {
    let config = Config {
        packets_per_sec_max: Some(2),
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let id = hall.staying("c");
    assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"]);
    assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"]);
    assert!(!hall.broker.wants_input(id), "three within one second");
    let mut bytes = Vec::new();
    Packet::PingReq.encode_to(V5_0, &mut bytes).unwrap();
    assert_eq!(hall.broker.handle_input(hall.peer.now, id, &bytes).bytes, 0);
    while let Some(ready) = hall.broker.poll_ready() {
        assert_eq!(hall.hear(ready), [""; 0]);
    }
    hall.peer.now = hall.peer.now + Duration::from_millis(500);
    hall.broker.handle_timeout(hall.peer.now);
    assert_eq!(hall.broker.poll_ready(), Some(id), "it may go on");
    assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"]);
    assert!(!hall.broker.wants_input(id));
    let reason = DisconnectReason::AdministrativeAction;
    hall.broker.disconnect(hall.peer.now, id, reason);
    assert!(hall.broker.wants_input(id), "to be ignored");
}

/// A limit of bytes alone: packets are as many as fit.
#[test]
fn who_sends_too_much_has_to_wait() {
    let config = Config {
        bytes_per_sec_max: Some(1_000),
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let id = hall.staying("c");
    for _ in 0..100 {
        assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"]);
    }
    let payload = "x".repeat(1_000);
    hall.say(id, publish("t", &payload, QoS::AtMostOnce, 0));
    assert!(!hall.broker.wants_input(id));
    hall.peer.now = hall.peer.now + Duration::from_secs(1);
    hall.broker.handle_timeout(hall.peer.now);
    assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"]);
}

#[test]
fn there_is_a_limit_over_everything_that_is_kept() {
    let config = Config {
        total_bytes_max: 100_000,
        ..Config::default()
    };
    for (version, refused) in [(V3_1_1, "00"), (V5_0, "97")] {
        let mut hall = Hall::new(version, config.clone());
        let subscriber = hall.subscribed("subscriber", "t", QoS::AtLeastOnce);
        let id = hall.staying("publisher");
        let payload = "x".repeat(60_000);
        let first = hall.ask(id, publish("t", &payload, QoS::AtLeastOnce, 1));
        assert_eq!(first, ["PUBACK 1 00"]);
        let second = hall.ask(id, publish("t", &payload, QoS::AtLeastOnce, 2));
        assert_eq!(second, [format!("PUBACK 2 {refused}")], "{version}");
        let dropped = hall.ask(id, publish("t", &payload, QoS::AtMostOnce, 0));
        assert_eq!(dropped, [""; 0]);
        let refused = hall.events().into_iter();
        let refused = refused.filter(|event| matches!(event, Event::Refused { .. }));
        assert_eq!(refused.count(), 2);
        assert_eq!(hall.hear(subscriber).len(), 1);
        hall.say(subscriber, puback(1));
        let third = hall.ask(id, publish("t", &payload, QoS::AtLeastOnce, 3));
        assert_eq!(third, ["PUBACK 3 00"], "there is room again");
    }
}

#[test]
fn above_the_limit_nobody_new_is_taken() {
    let config = Config {
        total_bytes_max: 50_000,
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let kept = Message::new("t", vec![0; 49_990])
        .unwrap()
        .with_retain(true);
    hall.broker.publish(hall.peer.now, kept);
    let id = hall
        .broker
        .accept(hall.peer.now, broker::Peer::default())
        .unwrap();
    assert_eq!(hall.ask(id, connect(V5_0, "c")), ["CONNACK 89", "close"]);
}

#[test]
fn payloads_have_a_limit_of_their_own() {
    let config = Config {
        server: server::Config {
            payload_size_max: Some(3),
            ..server::Config::default()
        },
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let id = hall.staying("c");
    let small = hall.ask(id, publish("t", "abc", QoS::AtLeastOnce, 1));
    assert_eq!(small, ["PUBACK 1 10"]);
    let large = hall.ask(id, publish("t", "abcd", QoS::ExactlyOnce, 2));
    assert_eq!(large, ["PUBREC 2 97"]);
    let other = hall
        .broker
        .accept(hall.peer.now, broker::Peer::default())
        .unwrap();
    let mut login = connect(V5_0, "d");
    let payload = mqtt_codec::Binary::new(b"abcd").unwrap();
    login.will = Some(mqtt_codec::Will::new(name("t"), payload));
    assert_eq!(hall.ask(other, login), ["CONNACK 97", "close"]);
}

/// Who gets each of six messages, of two publishers in turn.
fn shared_by(policy: SharedPolicy) -> [usize; 3] {
    let config = Config {
        shared_policy: policy,
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let members =
        ["a", "b", "c"].map(|client| hall.subscribed(client, "$share/g/t", QoS::AtLeastOnce));
    let publishers = ["p", "q"].map(|client| hall.staying(client));
    for value in 1..=6 {
        let from = publishers[usize::from(value) % 2];
        hall.say(from, publish("t", "x", QoS::AtLeastOnce, value));
        // The first member never acknowledges, the others do.
        for member in &members[1..] {
            for line in hall.hear(*member) {
                let id = line.split("id").nth(1).unwrap().parse().unwrap();
                hall.say(*member, puback(id));
            }
        }
    }
    members.map(|member| {
        let stats = hall.broker.explain(member).unwrap();
        let unsent = hall.hear(member).len();
        stats.in_flight_len + unsent
    })
}

#[test]
fn a_group_shares_by_its_policy() {
    let busy = |policy| shared_by(policy)[0];
    assert_eq!(busy(SharedPolicy::RoundRobin), 2, "a third of them");
    assert_eq!(busy(SharedPolicy::LeastBusy), 1, "the others are free");
    let sticky = busy(SharedPolicy::ByPublisher);
    assert!(
        [0, 3, 6].contains(&sticky),
        "all of a publisher or none: {sticky}"
    );
}

#[test]
fn what_a_member_did_not_get_goes_to_another_when_its_session_ends() {
    // [5:MQTT-4.8.2-5]
    let mut hall = Hall::new(V5_0, Config::default());
    let first = hall.subscribed("a", "$share/g/t", QoS::ExactlyOnce);
    for (value, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        hall.publish("t", if value == 1 { "one" } else { "two" }, qos);
    }
    assert_eq!(hall.hear(first).len(), 2, "sent and not acknowledged");
    hall.broker.handle_close(hall.peer.now, first);
    hall.publish("t", "three", QoS::ExactlyOnce);
    let second = hall.subscribed("b", "$share/g/t", QoS::ExactlyOnce);
    assert_eq!(hall.hear(second), [""; 0], "the session of the first lives");
    hall.peer.now = hall.peer.now + Duration::from_secs(20);
    hall.broker.handle_timeout(hall.peer.now);
    let expected = ["PUBLISH t=one q1 id1", "PUBLISH t=three q2 id2"];
    assert_eq!(hall.hear(second), expected, "QoS 2 that was sent is lost");
    hall.say(second, puback(1));
    hall.say(second, pubrec(2));
    assert_eq!(hall.hear(second), ["PUBREL 2 00"]);
}
