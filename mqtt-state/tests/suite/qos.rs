//! The flows of QoS 0, 1 and 2, packet by packet, from each side.

use bytes::BytesMut;
use mqtt_codec::{Ack, Message, Packet, PublishReason, QoS, ReasonCode, ReleaseReason};
use mqtt_state::broker::{self, ConnectionId};
use mqtt_state::client::{self, Event};
use mqtt_state::{CloseCause, Diagnostics, ProtocolError, Timestamp};

use crate::recorded::{Broker, Client};
use crate::wire::{
    Peer, V3_1_1, V5_0, connack, connect, id, puback, pubcomp, publish, pubrec, pubrel, want,
    with_subscribe,
};
use crate::world::World;

const VERSIONS: [mqtt_codec::ProtocolVersion; 2] = [V3_1_1, V5_0];

/// A client that is connected to a peer.
fn connected(version: mqtt_codec::ProtocolVersion) -> (Client, Peer) {
    let peer = Peer::new(version);
    let mut client = Client::new(client::Config::default());
    client.connect(peer.now, &connect(version, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    while client.poll_event().is_some() {}
    (client, peer)
}

/// A broker with a peer that is connected and subscribed to `t`.
fn served(version: mqtt_codec::ProtocolVersion, qos: QoS) -> (Broker, ConnectionId, Peer) {
    let peer = Peer::new(version);
    let mut broker = Broker::new(broker::Config::default());
    let connection = broker
        .accept(Timestamp::from_secs(1), broker::Peer::default())
        .unwrap();
    let mut line = (&mut broker, connection);
    peer.ask(&mut line, connect(version, "c"));
    with_subscribe(1, &[want("t", qos)], |packet| peer.ask(&mut line, packet));
    (broker, connection, peer)
}

fn message(qos: QoS) -> Message {
    Message::new("t", "x").unwrap().with_qos(qos)
}

#[test]
fn a_client_publishes_at_each_qos() {
    // Client: [5:MQTT-4.3.1-1] [5:MQTT-4.3.2-1] [5:MQTT-4.3.3-1]
    for version in VERSIONS {
        let (mut client, peer) = connected(version);
        let tokens = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
            .map(|qos| client.publish(peer.now, message(qos)).unwrap());
        let heard = peer.hear(&mut client);
        assert_eq!(
            heard,
            ["PUBLISH t=x q0", "PUBLISH t=x q1 id1", "PUBLISH t=x q2 id2"]
        );
        assert_eq!(client.in_flight_len(), 2);
        assert_eq!(peer.ask(&mut client, puback(1)), [""; 0]);
        assert_eq!(peer.ask(&mut client, pubrec(2)), ["PUBREL 2 00"]);
        assert_eq!(peer.ask(&mut client, pubcomp(2)), [""; 0]);
        let events: Vec<_> = core::iter::from_fn(|| client.poll_event()).collect();
        let reason = ReasonCode::Success;
        assert_eq!(
            events,
            tokens.map(|token| Event::Published {
                token,
                reason,
                diagnostics: Diagnostics::default()
            }),
            "{version}"
        );
        assert!(
            tokens.is_sorted_by(|a, b| a < b),
            "each has its own: {tokens:?}"
        );
        assert_eq!(client.in_flight_len(), 0);
    }
}

#[test]
fn a_client_receives_at_each_qos() {
    // [5:MQTT-4.3.2-4] [5:MQTT-4.3.3-8] [5:MQTT-4.3.3-11] [3:MQTT-4.3.2-2] [3:MQTT-4.3.3-2]
    for version in VERSIONS {
        let (mut client, peer) = connected(version);
        assert_eq!(
            peer.ask(&mut client, publish("t", "0", QoS::AtMostOnce, 0)),
            [""; 0]
        );
        assert_eq!(
            peer.ask(&mut client, publish("t", "1", QoS::AtLeastOnce, 7)),
            ["PUBACK 7 00"]
        );
        assert_eq!(
            peer.ask(&mut client, publish("t", "2", QoS::ExactlyOnce, 7)),
            ["PUBREC 7 00"]
        );
        assert_eq!(peer.ask(&mut client, pubrel(7)), ["PUBCOMP 7 00"]);
        let payloads: Vec<_> = core::iter::from_fn(|| client.poll_event())
            .filter_map(|event| match event {
                Event::Message { message, .. } => Some(message.payload().to_vec()),
                _ => None,
            })
            .collect();
        assert_eq!(payloads, [b"0", b"1", b"2"], "{version}");
    }
}

#[test]
fn a_broker_serves_each_qos_on_both_sides() {
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let (mut broker, connection, peer) = served(version, QoS::ExactlyOnce);
            let mut line = (&mut broker, connection);
            let heard = peer.ask(&mut line, publish("t", "x", qos, 5));
            // The client published to itself: its message comes back at the same QoS.
            let expected = match qos {
                QoS::AtMostOnce => &["PUBLISH t=x q0"][..],
                QoS::AtLeastOnce => &["PUBACK 5 00", "PUBLISH t=x q1 id1"],
                QoS::ExactlyOnce => &["PUBREC 5 00", "PUBLISH t=x q2 id1"],
            };
            assert_eq!(heard, expected, "{version}");
            match qos {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => assert_eq!(peer.ask(&mut line, puback(1)), [""; 0]),
                QoS::ExactlyOnce => {
                    assert_eq!(peer.ask(&mut line, pubrel(5)), ["PUBCOMP 5 00"]);
                    assert_eq!(peer.ask(&mut line, pubrec(1)), ["PUBREL 1 00"]);
                    assert_eq!(peer.ask(&mut line, pubcomp(1)), [""; 0]);
                }
            }
            assert_eq!(
                broker.stats().messages,
                0,
                "{version} {qos}: nothing is kept"
            );
        }
    }
}

#[test]
fn a_repeated_qos_2_publish_is_answered_and_not_delivered_again() {
    // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2]
    for version in VERSIONS {
        let (mut broker, connection, peer) = served(version, QoS::AtMostOnce);
        let mut line = (&mut broker, connection);
        let first = peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, 5));
        assert_eq!(first, ["PUBREC 5 00", "PUBLISH t=x q0"]);
        for _ in 0..3 {
            let again = peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, 5));
            assert_eq!(again, ["PUBREC 5 00"], "{version}");
        }
        assert_eq!(peer.ask(&mut line, pubrel(5)), ["PUBCOMP 5 00"]);
        let new = peer.ask(&mut line, publish("t", "y", QoS::ExactlyOnce, 5));
        assert_eq!(new, ["PUBREC 5 00", "PUBLISH t=y q0"], "a new message");
    }
}

#[test]
fn a_repeated_qos_1_publish_is_a_new_message() {
    // [5:MQTT-4.3.2-5]
    let (mut client, peer) = connected(V5_0);
    for _ in 0..2 {
        assert_eq!(
            peer.ask(&mut client, publish("t", "x", QoS::AtLeastOnce, 5)),
            ["PUBACK 5 00"]
        );
    }
    let messages = core::iter::from_fn(|| client.poll_event()).count();
    assert_eq!(messages, 2);
}

/// Acknowledgements that fit nothing, at a client with QoS 1 as 1 and QoS 2 as 2 in flight.
#[test]
fn acknowledgements_that_fit_nothing() {
    let not_found = Packet::PubRel(Ack::new(id(2), ReleaseReason::PacketIdNotFound));
    let rows: [(&str, Packet<'_>, [&[&str]; 2]); 10] = [
        ("PUBACK of nothing", puback(9), [&[], &[]]),
        ("PUBCOMP of nothing", pubcomp(9), [&[], &[]]),
        (
            "PUBREC of nothing",
            pubrec(9),
            [&["PUBREL 9 00"], &["PUBREL 9 92"]],
        ),
        (
            "PUBREL of nothing",
            pubrel(9),
            [&["PUBCOMP 9 00"], &["PUBCOMP 9 92"]],
        ),
        (
            "PUBACK of QoS 2",
            puback(2),
            [&["close"], &["DISCONNECT 82", "close"]],
        ),
        (
            "PUBREC of QoS 1",
            pubrec(1),
            [&["close"], &["DISCONNECT 82", "close"]],
        ),
        (
            "PUBCOMP of QoS 1",
            pubcomp(1),
            [&["close"], &["DISCONNECT 82", "close"]],
        ),
        (
            "PUBCOMP before PUBREC",
            pubcomp(2),
            [&["close"], &["DISCONNECT 82", "close"]],
        ),
        // Identifiers of the two directions have nothing to do with each other.
        (
            "PUBREL of the other direction",
            pubrel(2),
            [&["PUBCOMP 2 00"], &["PUBCOMP 2 92"]],
        ),
        (
            "PUBREL with a reason",
            not_found,
            [&["PUBCOMP 2 00"], &["PUBCOMP 2 92"]],
        ),
    ];
    for (row, packet, expected) in rows {
        for (version, expected) in VERSIONS.into_iter().zip(expected) {
            let (mut client, peer) = connected(version);
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                client.publish(peer.now, message(qos)).unwrap();
            }
            peer.hear(&mut client);
            assert_eq!(
                peer.ask(&mut client, packet),
                expected,
                "{row} in {version}"
            );
        }
    }
}

#[test]
fn a_repeated_pubrec_gets_pubrel_again() {
    // [5:MQTT-4.3.3-4] [3:MQTT-4.3.3-1]
    for version in VERSIONS {
        let (mut client, peer) = connected(version);
        client.publish(peer.now, message(QoS::ExactlyOnce)).unwrap();
        peer.hear(&mut client);
        for _ in 0..2 {
            assert_eq!(
                peer.ask(&mut client, pubrec(1)),
                ["PUBREL 1 00"],
                "{version}"
            );
        }
    }
}

#[test]
fn a_refused_message_is_acknowledged_and_reported() {
    // [5:MQTT-4.4.0-2]
    let refused = PublishReason::QuotaExceeded;
    let rows = [
        (QoS::AtLeastOnce, Packet::PubAck(Ack::new(id(1), refused))),
        (QoS::ExactlyOnce, Packet::PubRec(Ack::new(id(1), refused))),
    ];
    for (qos, answer) in rows {
        let (mut client, peer) = connected(V5_0);
        let token = client.publish(peer.now, message(qos)).unwrap();
        peer.hear(&mut client);
        assert_eq!(peer.ask(&mut client, answer), [""; 0], "{qos}: no PUBREL");
        let reason = ReasonCode::QuotaExceeded;
        assert_eq!(
            client.poll_event(),
            Some(Event::Published {
                token,
                reason,
                diagnostics: Diagnostics::default()
            })
        );
        assert_eq!(client.in_flight_len(), 0);
    }
}

#[test]
fn a_broker_says_when_nobody_listens() {
    let (mut broker, connection, peer) = served(V5_0, QoS::AtMostOnce);
    let mut line = (&mut broker, connection);
    let heard = peer.ask(&mut line, publish("other", "x", QoS::AtLeastOnce, 5));
    assert_eq!(heard, ["PUBACK 5 10"]);
    let heard = peer.ask(&mut line, publish("other", "x", QoS::ExactlyOnce, 6));
    assert_eq!(heard, ["PUBREC 6 10"]);
}

#[test]
fn identifiers_are_unique_among_messages_and_requests() {
    // [5:MQTT-2.2.1-3] [3:MQTT-2.3.1-2]
    let (mut client, peer) = connected(V5_0);
    client.publish(peer.now, message(QoS::AtLeastOnce)).unwrap();
    peer.hear(&mut client);
    client.subscribe(&[want("t", QoS::AtMostOnce)]).unwrap();
    client.unsubscribe(&[crate::wire::filter("t")]).unwrap();
    client.publish(peer.now, message(QoS::ExactlyOnce)).unwrap();
    let heard = peer.hear(&mut client);
    assert_eq!(
        heard,
        ["SUBSCRIBE 2", "UNSUBSCRIBE 3", "PUBLISH t=x q2 id4"]
    );
}

#[test]
fn identifiers_rest_before_they_are_used_again() {
    let (mut client, peer) = connected(V5_0);
    let mut used = Vec::new();
    for _ in 0..40 {
        client.publish(peer.now, message(QoS::AtLeastOnce)).unwrap();
        let heard = peer.hear(&mut client);
        let value: u16 = heard[0].rsplit("id").next().unwrap().parse().unwrap();
        used.push(value);
        peer.say(&mut client, puback(value));
        while client.poll_event().is_some() {}
    }
    for window in used.windows(4) {
        let mut distinct = window.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(
            distinct.len(),
            4,
            "a late acknowledgement cannot hit a new message: {used:?}"
        );
    }
}

#[test]
fn order_is_kept_for_each_topic_and_qos() {
    // [5:MQTT-4.6.0-5] [5:MQTT-4.6.0-6] [3:MQTT-4.6.0-5] [3:MQTT-4.6.0-6]
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut world = World::new();
            let subscriber = world.subscribed("subscriber", version, "t", QoS::ExactlyOnce);
            let publisher = world.joined("publisher", version);
            let numbers: Vec<String> = (0..200).map(|number: u32| number.to_string()).collect();
            for number in &numbers {
                world.publish(publisher, "t", number, qos);
            }
            world.settle();
            let expected: Vec<_> = numbers
                .iter()
                .map(|number| format!("t={number} q{}", u8::from(qos)))
                .collect();
            assert_eq!(world.got(subscriber), expected, "{version} {qos}");
        }
    }
}

#[test]
fn a_peer_that_breaks_the_rules_does_not_hurt_the_others() {
    let mut world = World::new();
    let subscriber = world.subscribed("subscriber", V5_0, "t", QoS::AtLeastOnce);
    let publisher = world.joined("publisher", V3_1_1);
    let bad = world
        .broker
        .accept(world.now, broker::Peer::default())
        .unwrap();
    let _all = world
        .broker
        .handle_input(world.now, bad, &[0x10, 0xFF, 0xFF, 0xFF, 0xFF]);
    let worse = world.joined("worse", V5_0);
    let worse = world.vanish(worse).unwrap();
    let _all = world.broker.handle_input(world.now, worse, &[0x00]);
    let causes: Vec<_> = world
        .broker_events()
        .into_iter()
        .filter_map(|event| match event {
            broker::Event::Closed {
                cause: CloseCause::ProtocolError(ProtocolError::Decode(error)),
                ..
            } => Some(error),
            _ => None,
        })
        .collect();
    assert_eq!(causes.len(), 2);
    world.publish(publisher, "t", "x", QoS::AtLeastOnce);
    world.settle();
    assert_eq!(world.got(subscriber), ["t=x q1"]);
}

#[test]
fn dup_on_the_way_in_says_nothing_about_the_way_out() {
    // [5:MQTT-3.3.1-3] [3:MQTT-3.3.1-3]
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let (mut broker, connection, peer) = served(version, qos);
            let mut line = (&mut broker, connection);
            let mut packet = publish("t", "x", qos, 5);
            match &mut packet.delivery {
                mqtt_codec::Delivery::AtLeastOnce { dup, .. }
                | mqtt_codec::Delivery::ExactlyOnce { dup, .. } => *dup = true,
                mqtt_codec::Delivery::AtMostOnce => panic!("no DUP"),
            }
            let heard = peer.ask(&mut line, packet);
            let expected = format!("PUBLISH t=x q{} id1", u8::from(qos));
            assert_eq!(heard[1], expected, "{version}");
        }
    }
}

#[test]
fn a_client_acknowledges_whether_or_not_anybody_looks_at_the_message() {
    // [5:MQTT-4.5.0-2] [3:MQTT-4.5.0-2]
    for version in VERSIONS {
        for shared in [false, true] {
            let (mut client, peer) = connected(version);
            // No event is fetched, and nobody has subscribed.
            let mut ask = |packet: Packet<'_>| {
                let mut bytes = BytesMut::new();
                packet.encode_to(version, &mut bytes).unwrap();
                let _taken = match shared {
                    true => client.handle_input_shared(peer.now, &mut bytes),
                    false => client.handle_input(peer.now, &bytes),
                };
                peer.hear(&mut client)
            };
            let place = format!("{version}, shared: {shared}");
            let at_least_once = publish("strange", "1", QoS::AtLeastOnce, 7);
            assert_eq!(ask(at_least_once.into()), ["PUBACK 7 00"], "{place}");
            let exactly_once = publish("strange", "2", QoS::ExactlyOnce, 8);
            assert_eq!(ask(exactly_once.into()), ["PUBREC 8 00"], "{place}");
            assert_eq!(ask(pubrel(8)), ["PUBCOMP 8 00"], "{place}");
        }
    }
}

#[test]
fn an_identifier_of_a_client_is_free_again_after_its_answer() {
    // [3:MQTT-2.3.1-3]
    let peer = Peer::new(V3_1_1);
    let mut client = Client::new(client::Config::default());
    let mut resuming = connect(V3_1_1, "c");
    resuming.clean_start = false;
    client.connect(peer.now, &resuming).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    client.publish(peer.now, message(QoS::AtLeastOnce)).unwrap();
    client.publish(peer.now, message(QoS::ExactlyOnce)).unwrap();
    client.subscribe(&[want("t", QoS::AtMostOnce)]).unwrap();
    client.unsubscribe(&[crate::wire::filter("t")]).unwrap();
    assert_eq!(
        peer.hear(&mut client),
        [
            "SUBSCRIBE 1",
            "UNSUBSCRIBE 2",
            "PUBLISH t=x q1 id3",
            "PUBLISH t=x q2 id4"
        ]
    );
    peer.say(&mut client, puback(3));
    peer.say(&mut client, pubrec(4));
    peer.say(&mut client, pubcomp(4));
    peer.say_bytes(&mut client, &[0x90, 3, 0, 1, 0]);
    peer.say_bytes(&mut client, &[0xB0, 2, 0, 2]);
    peer.hear(&mut client);
    // All are free: each comes again in time.
    let mut used = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        client.publish(peer.now, message(QoS::AtLeastOnce)).unwrap();
        let heard = peer.hear(&mut client);
        let value: u16 = heard[0].rsplit("id").next().unwrap().parse().unwrap();
        used.insert(value);
        peer.say(&mut client, puback(value));
        while client.poll_event().is_some() {}
    }
    assert!([1, 2, 3, 4].iter().all(|id| used.contains(id)), "{used:?}");
    // One that is sent again keeps what it has.
    client.publish(peer.now, message(QoS::AtLeastOnce)).unwrap();
    let first = peer.hear(&mut client);
    client.handle_close(peer.now);
    client.connect(peer.now, &resuming).unwrap();
    peer.hear(&mut client);
    assert_eq!(
        peer.ask(&mut client, connack(true)),
        [format!("{} dup", first[0])]
    );
}
