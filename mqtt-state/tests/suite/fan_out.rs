//! One message to more receivers than one call has steps for: who gets it, when its publisher hears,
//! and what waits meanwhile.

use core::num::NonZeroU16;
use core::time::Duration;

use mqtt_codec::{
    Delivery, Message, Publish, QoS, Unsubscribe, UnsubscribeFilters, UserProperties,
};
use mqtt_state::broker::{self, Config, ConnectionId, Event};
use mqtt_state::{InputWaits, TimeoutReason};
use proptest::prelude::*;

use crate::hall::Hall;
use crate::wire::{V3_1_1, V5_0, connect, id, name, publish, text, want, with_subscribe};
use crate::world::World;

/// Whoever hears of a message in slices.
impl Hall {
    fn join(&mut self, client_id: &str) -> ConnectionId {
        let id = self
            .broker
            .accept(self.peer.now, broker::Peer::default())
            .unwrap();
        let mut packet = connect(V5_0, client_id);
        packet.clean_start = false;
        packet.properties.session_expiry_secs = Some(100);
        packet.properties.receive_maximum = NonZeroU16::new(100);
        self.peer.say(&mut (&mut self.broker, id), packet);
        self.hear(id);
        id
    }

    /// So many subscribers of one topic.
    fn audience(&mut self, count: usize, qos: QoS) -> Vec<ConnectionId> {
        { 0..count }
            .map(|number| {
                let id = self.join(&format!("reader-{number:03}"));
                self.subscribe(id, "t", qos);
                id
            })
            .collect()
    }

    fn payloads(&mut self, id: ConnectionId) -> Vec<String> {
        let heard = self.hear(id);
        { heard.iter() }
            .filter_map(|line| line.strip_prefix("PUBLISH "))
            .filter_map(|line| line.split(['=', ' ']).nth(1))
            .map(str::to_owned)
            .collect()
    }

    /// Answers what was taken of the packets.
    fn send(&mut self, id: ConnectionId, packets: &[Publish<'_>]) -> usize {
        let mut taken = 0;
        for packet in packets {
            let mut bytes = Vec::new();
            packet.encode_to(V5_0, &mut bytes).unwrap();
            let consumed = self.broker.handle_input(self.peer.now, id, &bytes);
            if consumed.bytes == 0 {
                break;
            }
            taken += 1;
        }
        taken
    }

    /// One more slice.
    fn work(&mut self) -> bool {
        let due = self.broker.poll_timeout();
        let is_due = due.is_some_and(|due| due.at <= self.peer.now);
        if is_due {
            assert_eq!(due.unwrap().reason, TimeoutReason::Work);
            self.broker.handle_timeout(self.peer.now);
        }
        is_due
    }
}

#[test]
fn its_publisher_is_answered_when_all_have_it() {
    for (qos, answer) in [
        (QoS::AtLeastOnce, vec!["PUBACK 1 00"]),
        (QoS::ExactlyOnce, vec!["PUBREC 1 00"]),
        (QoS::AtMostOnce, vec![]),
    ] {
        let mut hall = Hall::sliced(10);
        let readers = hall.audience(25, QoS::AtMostOnce);
        let writer = hall.join("writer");
        assert_eq!(hall.send(writer, &[publish("t", "1", qos, 1)]), 1);
        let mut slices = 0;
        loop {
            assert_eq!(hall.hear(writer), Vec::<String>::new(), "{qos} {slices}");
            assert_eq!(
                hall.send(writer, &[publish("t", "2", qos, 2)]),
                0,
                "{qos}: its next one waits"
            );
            let explained = hall.broker.explain(writer).unwrap();
            assert_eq!(explained.input, Some(InputWaits::ForReceivers));
            slices += 1;
            assert!(hall.work());
            if hall.broker.wants_input(writer) {
                break;
            }
        }
        assert_eq!(slices, 2, "after the first one");
        let ready: Vec<_> = core::iter::from_fn(|| hall.broker.poll_ready()).collect();
        assert!(ready.contains(&writer), "told that it may go on");
        assert_eq!(hall.hear(writer), answer, "{qos}");
        assert_eq!(hall.broker.explain(writer).unwrap().input, None);
        assert_eq!(hall.send(writer, &[publish("t", "2", qos, 2)]), 1);
        while hall.work() {}
        for reader in readers {
            assert_eq!(hall.payloads(reader), ["1", "2"], "{qos}");
        }
        assert_eq!(hall.broker.stats().messages, 0);
        assert!(hall.broker.stats().work_of_call_max <= 10);
    }
}

/// Those who come later do not get it, those who go before their turn neither; who asks again for
/// what he has gets it once.
#[test]
fn it_is_for_those_who_were_there_less_those_who_left() {
    let mut hall = Hall::sliced(10);
    let readers = hall.audience(30, QoS::AtLeastOnce);
    let writer = hall.join("writer");
    let early = hall.join("early");
    assert_eq!(
        hall.send(writer, &[publish("t", "1", QoS::AtLeastOnce, 1)]),
        1
    );
    hall.subscribe(early, "+", QoS::AtLeastOnce);
    hall.subscribe(early, "t", QoS::AtLeastOnce);
    hall.subscribe(readers[20], "t", QoS::AtMostOnce);
    // Gone and there again, which is a new subscription.
    for place in [21, 22] {
        let filters = [crate::wire::filter("t")];
        let filters = UnsubscribeFilters::new(&filters).unwrap();
        let unsubscribe = Unsubscribe {
            id: id(9),
            filters,
            user_properties: UserProperties::default(),
        };
        let Hall { broker, peer } = &mut hall;
        peer.say(&mut (broker, readers[place]), unsubscribe);
        hall.hear(readers[place]);
    }
    hall.subscribe(readers[22], "t", QoS::AtLeastOnce);
    // A session that ends in between is no receiver.
    hall.broker.handle_close(hall.peer.now, readers[25]);
    let again = hall
        .broker
        .accept(hall.peer.now, broker::Peer::default())
        .unwrap();
    let fresh = connect(V5_0, "reader-025");
    hall.peer.say(&mut (&mut hall.broker, again), fresh);
    while hall.work() {}
    assert_eq!(hall.hear(writer), ["PUBACK 1 00"]);
    for (place, reader) in readers.iter().enumerate() {
        let expected: &[&str] = match place {
            21 | 22 | 25 => &[],
            _ => &["1"],
        };
        assert_eq!(hall.payloads(*reader), expected, "reader {place}");
    }
    assert_eq!(hall.payloads(early), Vec::<String>::new());
    let heard = hall.hear(again);
    assert_eq!(heard, ["CONNACK 00"]);
}

#[test]
fn nobody_wants_it_is_said_when_that_is_known() {
    // Everybody who was there has left before his turn.
    let mut hall = Hall::sliced(1);
    let readers = hall.audience(3, QoS::AtMostOnce);
    let writer = hall.join("writer");
    for reader in &readers {
        hall.broker.handle_close(hall.peer.now, *reader);
    }
    assert_eq!(
        hall.send(writer, &[publish("t", "1", QoS::AtLeastOnce, 1)]),
        1
    );
    while hall.work() {}
    assert_eq!(hall.hear(writer), ["PUBACK 1 10"], "QoS 0 and all away");
    assert_eq!(hall.broker.stats().messages, 0);
}

/// Others go on, and are not held up by the large one before them.
#[test]
fn the_messages_of_others_do_not_wait() {
    let mut hall = Hall::sliced(10);
    hall.audience(50, QoS::AtMostOnce);
    let (writer, other, reader) = (hall.join("writer"), hall.join("other"), hall.join("own"));
    hall.subscribe(reader, "u", QoS::AtMostOnce);
    assert_eq!(
        hall.send(writer, &[publish("t", "1", QoS::AtLeastOnce, 1)]),
        1
    );
    assert_eq!(
        hall.send(other, &[publish("u", "2", QoS::AtLeastOnce, 1)]),
        1
    );
    assert_eq!(hall.hear(other), ["PUBACK 1 00"]);
    assert_eq!(hall.payloads(reader), ["2"]);
    assert_eq!(hall.hear(writer), Vec::<String>::new());
}

/// Many small ones in one input: it is taken as far as there are steps, and asked for again.
#[test]
fn input_is_taken_as_far_as_there_are_steps() {
    let mut hall = Hall::sliced(10);
    let readers = hall.audience(4, QoS::AtMostOnce);
    let writer = hall.join("writer");
    let mut input = Vec::new();
    for number in 0..10_u8 {
        let payload = [b'0' + number];
        let packet = Publish::new(name("t"), &payload);
        packet.encode_to(V5_0, &mut input).unwrap();
    }
    while hall.broker.poll_ready().is_some() {}
    hall.hear(writer);
    let mut calls = 0;
    let mut rest = &input[..];
    while !rest.is_empty() {
        let consumed = hall.broker.handle_input(hall.peer.now, writer, rest);
        rest = &rest[consumed.bytes..];
        calls += 1;
        while hall.work() {}
        if !rest.is_empty() {
            let ready: Vec<_> = core::iter::from_fn(|| hall.broker.poll_ready()).collect();
            assert!(ready.contains(&writer), "its input is wanted");
            hall.hear(writer);
        }
    }
    assert!((3..=10).contains(&calls), "{calls}");
    let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    for reader in readers {
        assert_eq!(hall.payloads(reader), expected);
    }
    assert!(hall.broker.stats().work_of_call_max <= 10);
}

/// A client that comes back before all have its message, and sends it again.
#[test]
fn what_is_sent_again_meanwhile_is_no_second_message() {
    // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2]
    let mut hall = Hall::sliced(10);
    let readers = hall.audience(35, QoS::AtMostOnce);
    let writer = hall.join("writer");
    assert_eq!(
        hall.send(writer, &[publish("t", "1", QoS::ExactlyOnce, 7)]),
        1
    );
    hall.broker.handle_close(hall.peer.now, writer);
    let writer = hall.join("writer");
    let again = Publish {
        delivery: Delivery::ExactlyOnce {
            id: id(7),
            dup: true,
        },
        ..publish("t", "1", QoS::ExactlyOnce, 7)
    };
    assert_eq!(hall.send(writer, &[again]), 0, "not before all have it");
    while hall.work() {}
    assert_eq!(hall.send(writer, &[again]), 1);
    while hall.work() {}
    assert_eq!(hall.hear(writer), ["PUBREC 7 00"]);
    for reader in readers {
        assert_eq!(hall.payloads(reader), ["1"]);
    }
}

/// A will, and messages of the embedder, keep their order behind what is on its way.
#[test]
fn a_will_and_messages_of_the_embedder_keep_their_order() {
    let mut hall = Hall::sliced(10);
    let readers = hall.audience(35, QoS::AtMostOnce);
    let writer = hall
        .broker
        .accept(hall.peer.now, broker::Peer::default())
        .unwrap();
    let mut packet = connect(V5_0, "writer");
    let will = mqtt_codec::Will::new(name("t"), mqtt_codec::Binary::new(b"will").unwrap());
    packet.will = Some(will);
    hall.peer.say(&mut (&mut hall.broker, writer), packet);
    hall.hear(writer);
    assert_eq!(
        hall.send(writer, &[publish("t", "1", QoS::AtMostOnce, 0)]),
        1
    );
    hall.broker.handle_close(hall.peer.now, writer);
    for payload in ["a", "b"] {
        let message = Message::new("t", payload).unwrap();
        let so_far = hall.broker.publish(hall.peer.now, message);
        assert!(so_far <= 10, "{so_far}");
    }
    while hall.work() {}
    for reader in readers {
        let got = hall.payloads(reader);
        let place = |wanted: &str| got.iter().position(|payload| payload == wanted);
        assert_eq!(got.len(), 4, "{got:?}");
        assert!(
            place("1") < place("will") && place("a") < place("b"),
            "{got:?}"
        );
    }
    assert!(hall.broker.stats().work_of_call_max <= 10);
}

/// Messages that wait for decisions behind one that is on its way.
#[test]
fn what_is_held_waits_for_it_too() {
    let mut config = Config {
        work_per_call: 10,
        ..Config::default()
    };
    config.ask.publish = true;
    let mut hall = Hall::new(V5_0, config);
    let readers = hall.audience(25, QoS::AtMostOnce);
    let writer = hall.join("writer");
    let packets = [
        publish("t", "1", QoS::AtLeastOnce, 1),
        publish("t", "2", QoS::AtLeastOnce, 2),
    ];
    assert_eq!(hall.send(writer, &packets), 2);
    let now = hall.peer.now;
    let decisions: Vec<_> = core::iter::from_fn(|| hall.broker.poll_event())
        .filter_map(|event| match event {
            Event::AuthorizePublish { decision, .. } => Some(decision),
            _ => None,
        })
        .collect();
    for decision in decisions {
        let answer = broker::PublishAnswer::Allow;
        hall.broker.decide_publish(now, decision, answer).unwrap();
    }
    assert_eq!(hall.hear(writer), Vec::<String>::new());
    while hall.work() {}
    assert_eq!(hall.hear(writer), ["PUBACK 1 00", "PUBACK 2 00"]);
    for reader in readers {
        assert_eq!(hall.payloads(reader), ["1", "2"]);
    }
    assert!(hall.broker.stats().work_of_call_max <= 10);
}

/// What the journal says: the answer waits until all of it is stored.
#[test]
fn with_a_journal_the_answer_waits_for_all_of_it() {
    let mut hall = Hall::new(
        V5_0,
        Config {
            work_per_call: 10,
            journal: true,
            ..Config::default()
        },
    );
    hall.audience(25, QoS::AtLeastOnce);
    let writer = hall.join("writer");
    let mut position = 0;
    while let Some(entry) = hall.broker.poll_journal() {
        position = entry.position();
    }
    hall.broker.handle_stored(position);
    hall.hear(writer);
    assert_eq!(
        hall.send(writer, &[publish("t", "1", QoS::AtLeastOnce, 1)]),
        1
    );
    let mut entries = Vec::new();
    while hall.work() {
        while let Some(entry) = hall.broker.poll_journal() {
            entries.push(entry.position());
        }
    }
    assert!(entries.len() > 1, "{entries:?}");
    for position in entries {
        assert_eq!(hall.hear(writer), Vec::<String>::new(), "before {position}");
        hall.broker.handle_stored(position);
    }
    assert_eq!(hall.hear(writer), ["PUBACK 1 00"]);
}

/// What happens between two brokers that differ in nothing but their steps.
#[derive(Clone, Debug)]
enum Act {
    Publish(usize, &'static str, QoS),
    Own(&'static str),
    Subscribe(usize, &'static str, QoS),
    Leave(usize),
    Pass,
}

fn act() -> impl Strategy<Value = Act> {
    let qos = prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
    let topic = prop::sample::select(vec!["a/b", "a/c", "d"]);
    let filter = prop::sample::select(vec!["a/+", "a/b", "#", "d", "$share/g/a/b", "$share/h/#"]);
    prop_oneof![
        4 => (0..4_usize, topic.clone(), qos.clone()).prop_map(|(who, topic, qos)| Act::Publish(who, topic, qos)),
        1 => topic.prop_map(Act::Own),
        4 => (0..12_usize, filter, qos).prop_map(|(who, filter, qos)| Act::Subscribe(who, filter, qos)),
        1 => (4..12_usize).prop_map(Act::Leave),
        1 => Just(Act::Pass),
    ]
}

/// Whatever each client heard, with all that is due done after each act.
fn run(
    acts: &[Act],
    work_per_call: usize,
    version_of: fn(usize) -> mqtt_codec::ProtocolVersion,
) -> Vec<Vec<String>> {
    let mut hall = Hall::sliced(work_per_call);
    let mut heard = vec![Vec::new(); 12];
    let mut ids: Vec<_> = (0..12).map(|_| None).collect();
    let mut serial = 0_u16;
    for act in acts {
        let join = |hall: &mut Hall, ids: &mut Vec<Option<ConnectionId>>, who: usize| {
            *ids[who].get_or_insert_with(|| {
                hall.peer.version = version_of(who);
                let id = hall
                    .broker
                    .accept(hall.peer.now, broker::Peer::default())
                    .unwrap();
                let mut packet = connect(version_of(who), "");
                let client_id = format!("client-{who:02}");
                packet.client_id = text(&client_id);
                packet.clean_start = false;
                if version_of(who) == V5_0 {
                    packet.properties.session_expiry_secs = Some(1000);
                }
                hall.peer.say(&mut (&mut hall.broker, id), packet);
                id
            })
        };
        match act {
            Act::Publish(who, topic, qos) => {
                let id = join(&mut hall, &mut ids, *who);
                serial += 1;
                let payload = serial.to_string();
                hall.peer.version = version_of(*who);
                hall.peer.say(
                    &mut (&mut hall.broker, id),
                    publish(topic, &payload, *qos, serial),
                );
            }
            Act::Own(topic) => {
                serial += 1;
                let message = Message::new(topic, serial.to_string()).unwrap();
                hall.broker.publish(hall.peer.now, message);
            }
            Act::Subscribe(who, filter, qos) => {
                let id = join(&mut hall, &mut ids, *who);
                let Hall { broker, peer } = &mut hall;
                peer.version = version_of(*who);
                with_subscribe(1, &[want(filter, *qos)], |packet| {
                    peer.say(&mut (broker, id), packet)
                });
            }
            Act::Leave(who) => {
                if let Some(id) = ids[*who].take() {
                    hall.broker.handle_close(hall.peer.now, id);
                }
            }
            Act::Pass => hall.peer.now = hall.peer.now + Duration::from_millis(1),
        }
        let mut slices = 0;
        while hall.work() {
            slices += 1;
            assert!(slices < 1000, "it ends");
        }
        for (who, id) in ids.iter().enumerate() {
            if let Some(id) = id {
                hall.peer.version = version_of(who);
                heard[who].extend(hall.hear(*id));
            }
        }
    }
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn slices_change_nothing_that_a_client_hears(
        acts in prop::collection::vec(act(), 1..60),
        work_per_call in 1..12_usize,
    ) {
        let version_of = |who: usize| if who.is_multiple_of(3) { V3_1_1 } else { V5_0 };
        let (sliced, whole) = (run(&acts, work_per_call, version_of), run(&acts, 100_000, version_of));
        prop_assert_eq!(sliced, whole);
    }
}

/// A message that is given out in pieces is told once, when all have it, with how many that are.
#[test]
fn a_message_in_pieces_is_told_once() {
    for (row, message_events, work_per_call) in [
        ("in pieces", true, 2),
        ("at once", true, 1000),
        ("not told", false, 2),
    ] {
        let mut world = World::with(Config {
            message_events,
            work_per_call,
            ..Config::default()
        });
        for name in ["a", "b", "c", "d", "e"] {
            world.subscribed(name, V5_0, "t", QoS::AtLeastOnce);
        }
        let publisher = world.joined("publisher", V5_0);
        for payload in ["one", "second"] {
            world.publish(publisher, "t", payload, QoS::AtLeastOnce);
        }
        world.broker_events();
        world.pass(Duration::from_millis(1));
        let told = world
            .broker_events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Published {
                    client_id,
                    payload_len,
                    receivers,
                    ..
                } => Some((client_id.unwrap().to_string(), payload_len, receivers)),
                _ => None,
            });
        let expected = [
            ("publisher".to_owned(), 3, 5),
            ("publisher".to_owned(), 6, 5),
        ];
        let expected = &expected[..if message_events { 2 } else { 0 }];
        assert_eq!(told.collect::<Vec<_>>(), expected, "{row}");
    }
}
