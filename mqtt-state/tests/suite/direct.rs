//! What goes to the driver at once, while the input that brings it about is taken: it is what would have been polled
//! otherwise, and what the driver has no room for is polled as ever.

use std::collections::BTreeMap;

use mqtt_codec::{
    Ack, Connect, Packet, ProtocolVersion, Publish, PublishProperties, PublishReason, PublishTopic,
    QoS, RetainHandling, Subscribe, SubscribeFilters, SubscribeProperties, SubscriptionId,
    TopicAlias,
};
use mqtt_state::Timestamp;
use mqtt_state::broker::{Config, ConnectionId, Event};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::hall::Hall;
use crate::wire::{
    V3_1_1, V5_0, connect, id as packet_id, puback, pubcomp, publish, pubrec, pubrel, show_all,
    text, want, with_subscribe,
};

const ZERO: QoS = QoS::AtMostOnce;
const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

/// A broker whose driver takes packets at once.
struct Room {
    hall: Hall,
    versions: BTreeMap<ConnectionId, ProtocolVersion>,
    taken: BTreeMap<ConnectionId, Vec<u8>>,
}

impl Room {
    fn new(config: Config) -> Self {
        Self {
            hall: Hall::new(V5_0, config),
            versions: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }

    /// Somebody who is in, and has nothing.
    fn enter(&mut self, packet: Connect<'_>) -> ConnectionId {
        let version = packet.version;
        self.hall.peer.version = version;
        let id = self.hall.open();
        self.versions.insert(id, version);
        self.hall.say(id, packet);
        self.poll();
        id
    }

    fn client(&mut self, version: ProtocolVersion, client_id: &str) -> ConnectionId {
        self.enter(connect(version, client_id))
    }

    fn subscribe(&mut self, id: ConnectionId, text: &str, qos: QoS) {
        self.hall.peer.version = self.versions[&id];
        with_subscribe(1, &[want(text, qos)], |packet| self.hall.say(id, packet));
        self.poll();
    }

    /// A reader of `t`.
    fn reader(&mut self, version: ProtocolVersion, client_id: &str, qos: QoS) -> ConnectionId {
        let id = self.client(version, client_id);
        self.subscribe(id, "t", qos);
        id
    }

    /// A reader of `t` has one message on the long way: from here on there is a place in his session.
    fn make_place(&mut self, reader: ConnectionId) {
        self.hall.publish("t", "0", ONE);
        self.poll();
        self.say(reader, puback(1));
    }

    /// Says something, and answers who gets what at once.
    fn say<'p>(&mut self, id: ConnectionId, packet: impl Into<Packet<'p>>) -> Heard {
        self.say_to(id, packet, |_, _| true)
    }

    /// The same where the driver has not always room.
    fn say_to<'p>(
        &mut self,
        id: ConnectionId,
        packet: impl Into<Packet<'p>>,
        mut has_room: impl FnMut(ConnectionId, usize) -> bool,
    ) -> Heard {
        let mut bytes = Vec::new();
        let version = self.versions[&id];
        packet.into().encode_to(version, &mut bytes).unwrap();
        self.offer(id, &bytes, &mut has_room)
    }

    fn offer(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        has_room: &mut dyn FnMut(ConnectionId, usize) -> bool,
    ) -> Heard {
        let Self { hall, taken, .. } = self;
        let now = hall.peer.now;
        let consumed = hall.broker.handle_input_into(now, id, bytes, |to, packet| {
            let is_taken = has_room(to, packet.len());
            if is_taken {
                taken.entry(to).or_default().extend_from_slice(packet);
            }
            is_taken
        });
        assert_eq!(consumed.bytes, bytes.len(), "everything is taken");
        self.show()
    }

    fn show(&mut self) -> Heard {
        let taken = core::mem::take(&mut self.taken);
        let shown = { taken.into_iter() }.map(|(id, bytes)| {
            let version = self.versions[&id];
            (id, show_all(&bytes, version))
        });
        shown.collect()
    }

    /// Everybody gets what is left.
    fn poll(&mut self) -> Heard {
        while let Some(id) = self.hall.broker.poll_ready() {
            let (bytes, _) = self.hall.peer.hear_bytes(&mut (&mut self.hall.broker, id));
            self.taken.entry(id).or_default().extend(bytes);
        }
        self.show()
    }

    fn kept(&self) -> usize {
        self.hall.broker.stats().messages
    }
}

/// What somebody has heard, by whom.
type Heard = Vec<(ConnectionId, Vec<String>)>;

fn heard(all: &[(ConnectionId, &[&str])]) -> Heard {
    let mut heard: Heard = { all.iter() }
        .map(|(id, lines)| (*id, lines.iter().map(|line| String::from(*line)).collect()))
        .collect();
    heard.sort();
    heard
}

#[test]
fn a_qos_0_message_goes_at_once_and_is_never_kept() {
    for [from, to] in [
        [V3_1_1, V3_1_1],
        [V5_0, V5_0],
        [V3_1_1, V5_0],
        [V5_0, V3_1_1],
    ] {
        let mut room = Room::new(Config::default());
        let reader = room.reader(to, "reader", TWO);
        let writer = room.client(from, "writer");
        for payload in ["a", "b"] {
            let line = format!("PUBLISH t={payload} q0");
            let at_once = room.say(writer, publish("t", payload, ZERO, 0));
            assert_eq!(at_once, heard(&[(reader, &[&line])]), "{from:?} {to:?}");
            assert_eq!((room.poll(), room.kept()), (heard(&[]), 0));
        }
    }
}

// [5:MQTT-4.3.2-2] [3:MQTT-4.3.2-1] [5:MQTT-4.3.2-3]
#[test]
fn a_qos_1_message_is_in_flight_at_once() {
    for [from, to] in [
        [V3_1_1, V3_1_1],
        [V5_0, V5_0],
        [V3_1_1, V5_0],
        [V5_0, V3_1_1],
    ] {
        let mut room = Room::new(Config::default());
        let reader = room.reader(to, "reader", TWO);
        let writer = room.client(from, "writer");
        // The first one waits, as there is no place in the session yet.
        let first = room.say(writer, publish("t", "0", ONE, 1));
        assert_eq!(first, heard(&[(writer, &["PUBACK 1 00"])]));
        assert_eq!(room.poll(), heard(&[(reader, &["PUBLISH t=0 q1 id1"])]));
        assert_eq!(room.say(reader, puback(1)), heard(&[]));
        for id in 1..4 {
            let line = format!("PUBLISH t=x q1 id{}", id + 1);
            let at_once = room.say(writer, publish("t", "x", ONE, 9));
            let expected = [(writer, &["PUBACK 9 00"][..]), (reader, &[&line])];
            assert_eq!(at_once, heard(&expected), "{from:?} {to:?}");
            assert_eq!((room.poll(), room.kept()), (heard(&[]), 1));
            let it = room.hall.broker.explain(reader).unwrap();
            assert_eq!(
                (it.waiting_len, it.in_flight_len, it.is_at_hand),
                (0, 1, false)
            );
            assert_eq!(room.say(reader, puback(id + 1)), heard(&[]));
            assert_eq!(room.kept(), 0, "acknowledged");
        }
    }
}

// [5:MQTT-4.3.3-2] [5:MQTT-4.3.3-3] [3:MQTT-4.3.3-1]
#[test]
fn a_qos_2_message_goes_through_at_once() {
    for version in [V3_1_1, V5_0] {
        let mut room = Room::new(Config::default());
        let reader = room.reader(version, "reader", TWO);
        let writer = room.client(version, "writer");
        room.say(writer, publish("t", "0", ONE, 1));
        room.poll();
        room.say(reader, puback(1));
        for id in 2..5 {
            let line = format!("PUBLISH t=x q2 id{id}");
            let at_once = room.say(writer, publish("t", "x", TWO, 7));
            let expected = [(writer, &["PUBREC 7 00"][..]), (reader, &[&line])];
            assert_eq!(at_once, heard(&expected), "{version:?}");
            let answer = format!("PUBREL {id} 00");
            assert_eq!(room.say(reader, pubrec(id)), heard(&[(reader, &[&answer])]));
            assert_eq!(room.kept(), 0, "the reader has it");
            assert_eq!(room.say(reader, pubcomp(id)), heard(&[]));
            assert_eq!(
                room.say(writer, pubrel(7)),
                heard(&[(writer, &["PUBCOMP 7 00"])])
            );
            assert_eq!(room.poll(), heard(&[]));
        }
    }
}

// [5:MQTT-3.8.4-8] [3:MQTT-3.8.4-6]
#[test]
fn it_goes_at_the_lower_of_published_and_granted_qos() {
    for (granted, published) in [(ZERO, TWO), (ZERO, ONE), (ONE, TWO), (TWO, ZERO)] {
        let mut room = Room::new(Config::default());
        let reader = room.reader(V5_0, "reader", granted);
        let writer = room.client(V5_0, "writer");
        room.make_place(reader);
        let at_once = room.say(writer, publish("t", "x", published, 7));
        let line = match granted.min(published) {
            QoS::AtMostOnce => "PUBLISH t=x q0",
            _ => "PUBLISH t=x q1 id2",
        };
        let to_reader: Vec<_> = { at_once.into_iter() }
            .filter(|(id, _)| *id == reader)
            .collect();
        assert_eq!(
            to_reader,
            heard(&[(reader, &[line])]),
            "{granted:?} {published:?}"
        );
    }
}

/// Whatever makes somebody other than a reader who gets it as it is, or who has something.
type Change = fn(&mut Room, ConnectionId);

#[test]
fn it_goes_at_once_to_those_only_who_get_it_as_it_is_and_have_nothing_else() {
    let rows: [(&str, QoS, Change, bool); 10] = [
        ("nothing else", ONE, |_, _| {}, true),
        ("nothing else, and QoS 0", ZERO, |_, _| {}, true),
        (
            "an answer that he has not got",
            ZERO,
            |room, id| room.hall.say(id, Packet::PingReq),
            false,
        ),
        (
            "a message that he has not got",
            ZERO,
            |room, _| room.hall.publish("t", "first", ZERO),
            false,
        ),
        (
            "a message that he has not acknowledged, and QoS 0",
            ZERO,
            |room, _| {
                room.hall.publish("t", "first", ONE);
                room.poll();
            },
            false,
        ),
        (
            "another filter that matches",
            ZERO,
            |room, id| room.subscribe(id, "#", ZERO),
            false,
        ),
        (
            "a reader in a shared subscription",
            ZERO,
            |room, _| {
                let other = room.client(V5_0, "sharing");
                room.subscribe(other, "$share/g/t", ZERO);
            },
            false,
        ),
        (
            "a subscription of the embedder",
            ZERO,
            |room, _| {
                let filter = mqtt_codec::TopicFilter::new("other").unwrap();
                room.hall.broker.subscribe_local(filter).unwrap();
            },
            false,
        ),
        (
            "four more readers",
            ZERO,
            |room, _| {
                for number in 0..4 {
                    room.reader(V5_0, &format!("reader-{number}"), ZERO);
                }
            },
            false,
        ),
        (
            "three more readers",
            ZERO,
            |room, _| {
                for number in 0..3 {
                    room.reader(V5_0, &format!("reader-{number}"), ZERO);
                }
            },
            true,
        ),
    ];
    for (case, qos, change, goes) in rows {
        let mut room = Room::new(Config::default());
        let reader = room.reader(V5_0, "reader", ONE);
        let writer = room.client(V5_0, "writer");
        room.make_place(reader);
        change(&mut room, reader);
        let at_once = room.say(writer, publish("t", "x", qos, 7));
        let is_there = at_once.iter().any(|(id, _)| *id == reader);
        assert_eq!(is_there, goes, "{case}: {at_once:?}");
        let polled: Vec<_> = at_once.into_iter().chain(room.poll()).collect();
        let lines = { polled.iter() }.filter(|(id, _)| *id == reader);
        let last = lines.flat_map(|(_, lines)| lines).next_back().unwrap();
        assert!(last.starts_with("PUBLISH t=x"), "{case}: {last}");
    }
}

/// How a message is so that it does not go as it came.
#[test]
fn what_is_retained_reserved_or_has_properties_is_routed_as_ever() {
    let mut room = Room::new(Config::default());
    let reader = room.client(V5_0, "reader");
    room.subscribe(reader, "#", ZERO);
    let writer = room.client(V5_0, "writer");
    let retained = Publish {
        retain: true,
        ..publish("t", "x", ZERO, 0)
    };
    assert_eq!(room.say(writer, retained), heard(&[]));
    assert_eq!(room.poll(), heard(&[(reader, &["PUBLISH t=x q0"])]));
    let later = room.client(V5_0, "later");
    with_subscribe(1, &[want("t", ZERO)], |packet| room.hall.say(later, packet));
    let kept = ["SUBACK 1 00", "PUBLISH t=x q0 retain"];
    assert_eq!(room.poll(), heard(&[(later, &kept)]), "it is retained");
    // [5:MQTT-4.7.2-1]
    room.subscribe(reader, "$SYS/#", ZERO);
    assert_eq!(
        room.say(writer, publish("$SYS/x", "x", ZERO, 0)),
        heard(&[])
    );
    assert_eq!(room.poll(), heard(&[]), "nobody gets what is the broker's");
    let properties = PublishProperties {
        message_expiry_secs: Some(9),
        ..PublishProperties::default()
    };
    let expiring = Publish {
        properties,
        ..publish("u", "x", ZERO, 0)
    };
    assert_eq!(room.say(writer, expiring), heard(&[]));
    assert_eq!(room.poll().len(), 1);
}

// [5:MQTT-3.3.4-3] [5:MQTT-3.8.3-3]
#[test]
fn who_has_more_to_say_about_what_he_gets_gets_it_so() {
    let mut room = Room::new(Config::default());
    let client = room.client(V5_0, "client");
    let mut own = want("own", ZERO);
    own.options.no_local = true;
    let filters = [want("t", ZERO)];
    let mut subscribe = Subscribe {
        id: packet_id(1),
        filters: SubscribeFilters::new(&filters).unwrap(),
        properties: SubscribeProperties::default(),
    };
    subscribe.properties.subscription_id = SubscriptionId::new(7);
    room.hall.say(client, subscribe);
    with_subscribe(2, &[own], |packet| room.hall.say(client, packet));
    room.poll();
    assert_eq!(room.say(client, publish("t", "x", ZERO, 0)), heard(&[]));
    let (bytes, _) = room
        .hall
        .peer
        .hear_bytes(&mut (&mut room.hall.broker, client));
    assert_eq!(
        bytes, b"\x30\x07\0\x01t\x02\x0B\x07x",
        "with its identifier"
    );
    room.poll();
    room.say(client, publish("own", "x", ZERO, 0));
    assert_eq!(room.poll(), heard(&[]), "not what is his own");
}

#[test]
fn an_embedder_who_wants_to_hear_of_each_message_does() {
    let config = Config {
        message_events: true,
        ..Config::default()
    };
    let mut room = Room::new(config);
    let reader = room.reader(V5_0, "reader", ONE);
    let writer = room.client(V5_0, "writer");
    room.hall.events();
    let all = room.say(writer, publish("t", "x", ZERO, 0));
    let all: Vec<_> = all.into_iter().chain(room.poll()).collect();
    assert_eq!(all, heard(&[(reader, &["PUBLISH t=x q0"])]));
    let events = room.hall.events();
    let is_told = |event: &Event| matches!(event, Event::Published { receivers: 1, .. });
    assert!(events.iter().any(is_told), "{events:?}");
}

// [5:MQTT-3.3.2-7] An alias means nothing to others.
#[test]
fn an_alias_is_not_passed_on() {
    let mut room = Room::new(Config::default());
    let reader = room.reader(V5_0, "reader", ONE);
    let writer = room.client(V5_0, "writer");
    let alias = TopicAlias::new(3).unwrap();
    let named = publish("t", "a", ZERO, 0);
    let PublishTopic::Name(topic) = named.topic else {
        unreachable!("it has a name")
    };
    let sets = Publish {
        topic: PublishTopic::NameAndAlias(topic, alias),
        ..named
    };
    room.say(writer, sets);
    assert_eq!(room.poll(), heard(&[(reader, &["PUBLISH t=a q0"])]));
    let uses = Publish {
        topic: PublishTopic::Alias(alias),
        ..publish("t", "b", ZERO, 0)
    };
    assert_eq!(
        room.say(writer, uses),
        heard(&[(reader, &["PUBLISH t=b q0"])])
    );
}

#[test]
fn a_payload_above_the_limit_is_refused_as_ever() {
    let mut config = Config::default();
    config.server.payload_size_max = Some(3);
    let mut room = Room::new(config);
    room.reader(V5_0, "reader", ONE);
    let writer = room.client(V5_0, "writer");
    room.hall.events();
    assert_eq!(room.say(writer, publish("t", "four", ZERO, 0)), heard(&[]));
    assert_eq!(room.poll(), heard(&[]));
    let events = room.hall.events();
    assert!(matches!(&events[..], [Event::Refused { .. }]), "{events:?}");
    assert_eq!(room.say(writer, publish("t", "four", ONE, 7)), heard(&[]));
    assert_eq!(room.poll(), heard(&[(writer, &["PUBACK 7 97"])]));
}

#[test]
fn what_the_driver_has_no_room_for_waits_in_its_order() {
    for version in [V3_1_1, V5_0] {
        let mut room = Room::new(Config::default());
        let [one, two] = ["one", "two"].map(|client_id| room.reader(version, client_id, ONE));
        let writer = room.client(version, "writer");
        // Neither answers nor messages: one after the other, each once.
        assert_eq!(
            room.say_to(writer, publish("t", "1", ZERO, 0), |id, _| id != one),
            heard(&[(two, &["PUBLISH t=1 q0"])])
        );
        assert_eq!(
            room.say(writer, publish("t", "2", ZERO, 0)),
            heard(&[(two, &["PUBLISH t=2 q0"])]),
            "not past what waits"
        );
        assert_eq!(
            room.say_to(writer, publish("t", "3", ONE, 3), |_, _| false),
            heard(&[])
        );
        assert_eq!(
            room.say(writer, publish("t", "4", ONE, 4)),
            heard(&[]),
            "PUBACK neither"
        );
        let polled = room.poll();
        let expected = [
            (
                one,
                &[
                    "PUBLISH t=1 q0",
                    "PUBLISH t=2 q0",
                    "PUBLISH t=3 q1 id1",
                    "PUBLISH t=4 q1 id2",
                ][..],
            ),
            (two, &["PUBLISH t=3 q1 id1", "PUBLISH t=4 q1 id2"]),
            (writer, &["PUBACK 3 00", "PUBACK 4 00"]),
        ];
        assert_eq!(polled, heard(&expected), "{version:?}");
        assert_eq!(room.poll(), heard(&[]));
    }
}

#[test]
fn the_driver_is_asked_for_whole_packets_once_each() {
    let mut room = Room::new(Config::default());
    let reader = room.reader(V3_1_1, "reader", ZERO);
    let writer = room.client(V3_1_1, "writer");
    let mut bytes = Vec::new();
    for (payload, id) in [("a", 1), ("bc", 2)] {
        let packet = Packet::Publish(publish("t", payload, ONE, id));
        packet.encode_to(V3_1_1, &mut bytes).unwrap();
    }
    let mut asked = Vec::new();
    room.offer(writer, &bytes, &mut |id, len| {
        asked.push((id, len));
        true
    });
    // Topic, payload and what is in front of them; PUBACK.
    assert_eq!(asked, [(reader, 6), (writer, 4), (reader, 7), (writer, 4)]);
}

#[test]
fn a_call_does_no_more_than_it_may() {
    for work_per_call in 1..5 {
        let config = Config {
            work_per_call,
            ..Config::default()
        };
        let mut room = Room::new(config);
        let readers = ["a", "b", "c"].map(|client_id| room.reader(V5_0, client_id, ONE));
        let writer = room.client(V5_0, "writer");
        for (qos, has_room) in [(ZERO, true), (ZERO, false), (ONE, true)] {
            let packet = publish("t", "x", qos, 7);
            // The last of them may have no room, or all have.
            let mut all = room.say_to(writer, packet, |id, _| has_room || id != readers[2]);
            for _ in 0..9 {
                room.hall.broker.handle_timeout(room.hall.peer.now);
                all.extend(room.poll());
            }
            let got = { all.iter() }.flat_map(|(_, lines)| lines);
            let got = got.filter(|line| line.starts_with("PUBLISH")).count();
            assert_eq!(got, 3, "{work_per_call} {qos:?} {has_room}: {all:?}");
        }
        let most = room.hall.broker.stats().work_of_call_max;
        assert!(most <= work_per_call, "{most} of {work_per_call}");
    }
}

// [5:MQTT-3.1.2-24] [5:MQTT-3.1.2-25]
#[test]
fn who_takes_packets_of_some_size_gets_no_larger_one() {
    let payload = "x".repeat(5000);
    for (size_max, goes) in [(5020, true), (5000, false), (4200, false), (20, false)] {
        for qos in [ZERO, ONE] {
            let mut room = Room::new(Config::default());
            let mut packet = connect(V5_0, "reader");
            packet.properties.packet_size_max = core::num::NonZeroU32::new(size_max);
            let reader = room.enter(packet);
            room.subscribe(reader, "t", ONE);
            let writer = room.client(V5_0, "writer");
            room.make_place(reader);
            let at_once = room.say(writer, publish("t", &payload, qos, 7));
            let all = at_once.into_iter().chain(room.poll());
            let to_reader = all
                .filter(|(id, _)| *id == reader)
                .flat_map(|(_, lines)| lines);
            assert_eq!(to_reader.count(), usize::from(goes), "{size_max} {qos:?}");
        }
    }
}

// [5:MQTT-3.1.2-24] [5:MQTT-3.1.2-25]
#[test]
fn an_alias_may_stand_for_more_than_somebody_takes() {
    let topic = "x".repeat(4000);
    let mut room = Room::new(Config::default());
    let mut packet = connect(V5_0, "reader");
    packet.properties.packet_size_max = core::num::NonZeroU32::new(4150);
    let reader = room.enter(packet);
    room.subscribe(reader, "#", ONE);
    let writer = room.client(V5_0, "writer");
    let alias = TopicAlias::new(3).unwrap();
    let named = publish(&topic, "", ZERO, 0);
    let sets = Publish {
        topic: PublishTopic::NameAndAlias(named.topic.name().unwrap(), alias),
        ..named
    };
    room.say(writer, sets);
    assert_eq!(room.poll().len(), 1);
    for (len, goes) in [(100, true), (200, false), (100, true)] {
        let payload = "y".repeat(len);
        let uses = Publish {
            topic: PublishTopic::Alias(alias),
            ..publish("t", &payload, ZERO, 0)
        };
        let at_once = room.say(writer, uses);
        let all = at_once.into_iter().chain(room.poll());
        let lines = all.flat_map(|(_, lines)| lines);
        assert_eq!(lines.count(), usize::from(goes), "{len}");
    }
}

// [5:MQTT-4.9.0-2] [5:MQTT-3.3.4-9] At quota 0 nothing goes but QoS 0.
#[test]
fn it_goes_within_the_quota() {
    let mut room = Room::new(Config::default());
    let mut packet = connect(V5_0, "reader");
    packet.properties.receive_maximum = core::num::NonZeroU16::new(1);
    let reader = room.enter(packet);
    room.subscribe(reader, "t", TWO);
    let writer = room.client(V5_0, "writer");
    room.make_place(reader);
    let to_reader = |heard: Heard| -> Vec<String> {
        { heard.into_iter() }
            .filter(|(id, _)| *id == reader)
            .flat_map(|(_, lines)| lines)
            .collect()
    };
    assert_eq!(
        to_reader(room.say(writer, publish("t", "1", TWO, 1))),
        ["PUBLISH t=1 q2 id2"]
    );
    assert_eq!(
        to_reader(room.say(writer, publish("t", "2", TWO, 2))),
        Vec::<String>::new()
    );
    assert_eq!(
        to_reader(room.say(writer, publish("t", "3", ONE, 3))),
        Vec::<String>::new()
    );
    assert_eq!(
        to_reader(room.poll()),
        Vec::<String>::new(),
        "until one is acknowledged"
    );
    room.say(reader, pubrec(2));
    assert_eq!(room.say(reader, pubcomp(2)), heard(&[]));
    assert_eq!(to_reader(room.poll()), ["PUBLISH t=2 q2 id3"]);
}

/// What waits for an acknowledgement may go when that has come, but is asked for behind all of the input.
#[test]
fn it_does_not_overtake_what_the_same_input_has_made_way_for() {
    for qos in [ZERO, ONE, TWO] {
        let mut room = Room::new(Config::default());
        let mut packet = connect(V5_0, "client");
        packet.properties.receive_maximum = core::num::NonZeroU16::new(1);
        let client = room.enter(packet);
        room.subscribe(client, "t", TWO);
        for payload in ["1", "2"] {
            room.hall.publish("t", payload, ONE);
        }
        assert_eq!(room.poll(), heard(&[(client, &["PUBLISH t=1 q1 id1"])]));
        let mut input = Vec::new();
        // With words, so that it is none of those that are taken in a shorter way.
        let mut ack = Ack::new(packet_id(1), PublishReason::Success);
        ack.properties.reason_string = Some(text("here"));
        Packet::PubAck(ack).encode_to(V5_0, &mut input).unwrap();
        let own = Packet::Publish(publish("t", "3", qos, 7));
        own.encode_to(V5_0, &mut input).unwrap();
        let at_once = room.offer(client, &input, &mut |_, _| true);
        let mut all: Vec<_> = at_once.into_iter().chain(room.poll()).collect();
        all.extend(room.say(client, puback(2)));
        all.extend(room.poll());
        let lines = all.iter().flat_map(|(_, lines)| lines);
        let messages: Vec<_> = { lines.filter(|line| line.starts_with("PUBLISH")) }
            .filter_map(|line| line.split(' ').nth(1))
            .collect();
        assert_eq!(messages, ["t=2", "t=3"], "{qos:?}");
    }
}

// [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] [5:MQTT-3.3.1-1] [3:MQTT-3.3.1-1]
#[test]
fn what_went_at_once_comes_again_after_the_connection() {
    for (version, qos) in [(V3_1_1, ONE), (V5_0, ONE), (V3_1_1, TWO), (V5_0, TWO)] {
        let mut room = Room::new(Config::default());
        let lasting = || {
            let mut packet = connect(version, "reader");
            packet.clean_start = false;
            if version == V5_0 {
                packet.properties.session_expiry_secs = Some(100);
            }
            packet
        };
        let reader = room.enter(lasting());
        room.subscribe(reader, "t", TWO);
        let writer = room.client(version, "writer");
        room.make_place(reader);
        room.say(writer, publish("t", "x", qos, 7));
        let now: Timestamp = room.hall.peer.now;
        room.hall.broker.handle_close(now, reader);
        let again = room.hall.open();
        room.versions.insert(again, version);
        room.hall.peer.version = version;
        room.hall.say(again, lasting());
        let line = format!("PUBLISH t=x q{} id2 dup", u8::from(qos));
        assert_eq!(
            room.poll(),
            heard(&[(again, &["CONNACK 00 present", &line])]),
            "{version:?} {qos:?}"
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        from: usize,
        topic: usize,
        qos: u8,
        retain: bool,
        expires: bool,
        len: usize,
    },
    Ping(usize),
    /// A client acknowledges what it has, as far as that can be.
    Acknowledge(usize),
    /// A client's connection is lost, and it comes back.
    Lose(usize),
}

const CLIENTS: usize = 4;
const TOPICS: [&str; 3] = ["a", "b", "a/c"];

fn step() -> impl Strategy<Value = Step> {
    let publish = (
        0..CLIENTS,
        0..TOPICS.len(),
        0..3_u8,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
        prop_oneof![6 => 0..40_usize, 1 => 4080..4110_usize],
    );
    prop_oneof![
        6 => publish.prop_map(|(from, topic, qos, retain, expires, len)| {
            Step::Publish { from, topic, qos, retain, expires, len }
        }),
        1 => (0..CLIENTS).prop_map(Step::Ping),
        4 => (0..CLIENTS).prop_map(Step::Acknowledge),
        1 => (0..CLIENTS).prop_map(Step::Lose),
    ]
}

/// Whether a driver takes what it is asked for, one after the other.
type Rooms = Vec<bool>;

/// Clients who publish and read, and everything that each of them has heard: messages, and answers.
struct Run {
    room: Room,
    clients: Vec<ConnectionId>,
    heard: Vec<[Vec<String>; 2]>,
    open: Vec<Vec<Packet<'static>>>,
    /// `None` for a driver that is not asked.
    rooms: Option<Rooms>,
    asked: usize,
    published: u16,
}

impl Run {
    fn new(rooms: Option<Rooms>) -> Self {
        let mut run = Self {
            room: Room::new(Config::default()),
            clients: vec![],
            heard: vec![<[Vec<String>; 2]>::default(); CLIENTS],
            open: vec![vec![]; CLIENTS],
            rooms,
            asked: 0,
            published: 0,
        };
        for number in 0..CLIENTS {
            let id = run.enter(number);
            run.clients.push(id);
        }
        run.settle(vec![]);
        run
    }

    fn enter(&mut self, number: usize) -> ConnectionId {
        let version = [V3_1_1, V5_0][number % 2];
        let client_id = format!("client-{number}");
        let mut packet = connect(version, &client_id);
        packet.clean_start = false;
        if version == V5_0 {
            packet.properties.session_expiry_secs = Some(1000);
            packet.properties.receive_maximum = core::num::NonZeroU16::new(2);
        }
        let hall = &mut self.room.hall;
        hall.peer.version = version;
        let id = hall.open();
        self.room.versions.insert(id, version);
        hall.say(id, packet);
        // All of them want the first topic, and each something more.
        let mut filters = vec![want("a", [ZERO, ONE, TWO, TWO][number])];
        match number {
            0 => filters.push(want("b", ONE)),
            1 => filters.push(want("+", TWO)),
            2 => filters.push(want("a/#", ONE)),
            _ => filters.push(want("$share/g/b", TWO)),
        }
        for filter in &mut filters {
            if version == V5_0 {
                filter.options.retain_handling = RetainHandling::DoNotSend;
            }
        }
        with_subscribe(1, &filters, |packet| hall.say(id, packet));
        id
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Publish {
                from,
                topic,
                qos,
                retain,
                expires,
                len,
            } => {
                self.published += 1;
                let payload = format!("{}{}", self.published, "x".repeat(len));
                let qos = QoS::try_from(qos).unwrap();
                let mut packet = publish(TOPICS[topic], &payload, qos, 1 + self.published % 9);
                packet.retain = retain;
                if expires && self.room.versions[&self.clients[from]] == V5_0 {
                    packet.properties.message_expiry_secs = Some(100);
                }
                self.say(from, packet);
            }
            Step::Ping(number) => self.say(number, Packet::PingReq),
            Step::Acknowledge(number) => {
                for packet in core::mem::take(&mut self.open[number]) {
                    self.say(number, packet);
                }
            }
            Step::Lose(number) => {
                let now = self.room.hall.peer.now;
                self.room
                    .hall
                    .broker
                    .handle_close(now, self.clients[number]);
                self.open[number].clear();
                self.clients[number] = self.enter(number);
                self.settle(vec![]);
            }
        }
    }

    fn say<'p>(&mut self, from: usize, packet: impl Into<Packet<'p>>) {
        let id = self.clients[from];
        let heard = match &self.rooms {
            None => {
                self.room.hall.peer.version = self.room.versions[&id];
                self.room.hall.say(id, packet);
                vec![]
            }
            Some(rooms) => {
                let asked = &mut self.asked;
                self.room.say_to(id, packet, |_, _| {
                    *asked += 1;
                    rooms.is_empty() || rooms[*asked % rooms.len()]
                })
            }
        };
        self.settle(heard);
    }

    /// Everybody gets what there is at once, so that no way has more time than the others.
    fn settle(&mut self, heard: Heard) {
        let polled = self.room.poll();
        for (id, lines) in heard.into_iter().chain(polled) {
            let Some(number) = self.clients.iter().position(|client| *client == id) else {
                continue;
            };
            for line in lines {
                self.note(number, line);
            }
        }
    }

    fn note(&mut self, number: usize, line: String) {
        let words: Vec<_> = line.split(' ').collect();
        let after = |mark: &str| -> Option<u16> {
            words
                .iter()
                .find_map(|word| word.strip_prefix(mark)?.parse().ok())
        };
        match words[..] {
            ["PUBLISH", _, "q1", ..] => self.open[number].push(puback(after("id").unwrap())),
            ["PUBLISH", _, "q2", ..] => self.open[number].push(pubrec(after("id").unwrap())),
            ["PUBREC", id, "00" | "10"] => self.open[number].push(pubrel(id.parse().unwrap())),
            ["PUBREL", id, ..] => self.open[number].push(pubcomp(id.parse().unwrap())),
            _ => {}
        }
        let is_message = words[0] == "PUBLISH";
        self.heard[number][usize::from(!is_message)].push(line);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn at_once_or_polled_is_the_same(
        steps in vec(step(), 0..60), rooms in vec(any::<bool>(), 1..8),
    ) {
        let mut runs = [None, Some(vec![]), Some(rooms)].map(Run::new);
        for run in &mut runs {
            for step in &steps {
                run.act(step);
            }
            for _ in 0..4 {
                (0..CLIENTS).for_each(|number| run.act(&Step::Acknowledge(number)));
            }
        }
        let [polled, others @ ..] = &runs;
        for run in others {
            prop_assert_eq!(&run.heard, &polled.heard);
            // Not the bytes: queues have memory where something has waited.
            let [one, other] = [run, polled].map(|run| {
                let stats = run.room.hall.broker.stats();
                (stats.messages, stats.publishes_received, stats.traffic)
            });
            prop_assert_eq!(one, other);
        }
    }
}
