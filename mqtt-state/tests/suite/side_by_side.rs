//! Inputs that other people's machines get wrong, each against ours. What the others do was
//! observed, or read in their sources, in 2026: a reservation of 256 MiB, packets accepted that the
//! standard forbids, an overflow at resume, more in flight than the peer takes, gaps of nearly twice
//! the keep alive, `$` topics that match nothing, a string cut inside a character.

use core::num::NonZeroU16;
use core::time::Duration;

use mqtt_codec::{Ack, Connect, Message, Packet, PublishReason, QoS, TopicFilter, TopicName};
use mqtt_state::broker::{self, ConnectionId};
use mqtt_state::client::{Config, Event};
use mqtt_state::{TimeoutReason, Timestamp};

use crate::recorded::{Broker, Client};
use crate::wire::{Peer, V3_1_1, V5_0, connack, connect, id, puback, publish, text};

fn accepted(peer: &Peer) -> (Broker, ConnectionId) {
    let mut broker = Broker::new(broker::Config::default());
    let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
    (broker, connection)
}

/// What a broker says to bytes, before CONNECT or behind it.
fn said(peer: &Peer, is_connected: bool, bytes: &[u8]) -> Vec<String> {
    let (mut broker, connection) = accepted(peer);
    let machine = &mut (&mut broker, connection);
    if is_connected {
        peer.ask(machine, connect(peer.version, "c"));
    }
    peer.say_bytes(machine, bytes);
    peer.hear(machine)
}

#[test]
fn nothing_but_connect_is_taken_before_connect() {
    let rows: [(&str, &[u8]); 3] = [
        ("PUBLISH", b"\x30\x04\0\x01tm"),
        ("PINGREQ", b"\xC0\0"),
        ("256 MiB announced", b"\x10\xFF\xFF\xFF\x7F"),
    ];
    for (row, bytes) in rows {
        for version in [V3_1_1, V5_0] {
            assert_eq!(said(&Peer::new(version), false, bytes), ["close"], "{row}");
        }
    }
}

#[test]
fn what_the_standard_forbids_ends_the_connection() {
    // What 5.0 says, and whether 3.1.1 has the rule.
    let rows: [(&str, &[u8], &str, bool); 9] = [
        (
            "SUBSCRIBE with other flags",
            b"\x80\x07\0\x01\0\0\x01a\0",
            "DISCONNECT 81",
            true,
        ),
        (
            "packet identifier 0",
            b"\x32\x06\0\x01t\0\0\0",
            "DISCONNECT 82",
            true,
        ),
        (
            "a wildcard in a topic",
            b"\x30\x06\0\x03a/#\0",
            "DISCONNECT 82",
            true,
        ),
        (
            "U+0000 in a topic",
            b"\x30\x04\0\x01\0\0",
            "DISCONNECT 81",
            true,
        ),
        (
            "a length with a byte too many",
            b"\xC0\x80\0",
            "DISCONNECT 81",
            false,
        ),
        (
            "a filter with a wildcard in a level",
            b"\x82\x08\0\x01\0\0\x02a#\0",
            "DISCONNECT 82",
            true,
        ),
        (
            "SUBACK to a server",
            b"\x90\x04\0\x01\0\0",
            "DISCONNECT 82",
            true,
        ),
        (
            "SUBSCRIBE without a filter",
            b"\x82\x03\0\x01\0",
            "DISCONNECT 82",
            true,
        ),
        (
            "CONNECT a second time",
            b"\x10\x0D\0\x04MQTT\x05\x02\0\0\0\0\0",
            "DISCONNECT 82",
            true,
        ),
    ];
    for (row, bytes, expected, in_v3) in rows {
        let found = said(&Peer::new(V5_0), true, bytes);
        assert_eq!(found, [expected, "close"], "{row}");
        if in_v3 {
            // The bytes behind are another fault there; the first one is enough.
            assert_eq!(
                said(&Peer::new(V3_1_1), true, bytes),
                ["close"],
                "{row} in 3.1.1"
            );
        }
    }
}

/// A client whose session has some QoS 1 messages in flight, and a server that takes some at once.
fn resumed(in_flight: usize, receive_maximum: u16) -> (Client, Peer, Vec<String>) {
    let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
    let mut connect = Connect::new(V5_0, text("c"));
    connect.clean_start = false;
    connect.properties.session_expiry_secs = Some(1000);
    client.connect(peer.now, &connect).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    for _ in 0..in_flight {
        let message = Message::new("t", "m").unwrap().with_qos(QoS::AtLeastOnce);
        client.publish(peer.now, message).unwrap();
    }
    assert_eq!(peer.hear(&mut client).len(), in_flight);
    client.handle_close(peer.now);
    while client.poll_event().is_some() {}
    client.connect(peer.now, &connect).unwrap();
    peer.hear(&mut client);
    let mut accepted = connack(true);
    accepted.properties.receive_maximum = NonZeroU16::new(receive_maximum);
    peer.say(&mut client, accepted);
    assert!(
        matches!(client.poll_event(), Some(Event::Connected { .. })),
        "first of all"
    );
    let sent = peer.hear(&mut client);
    (client, peer, sent)
}

#[test]
fn a_resumed_message_counts_and_its_acknowledgement_counts_back() {
    let (mut client, peer, sent) = resumed(1, 10);
    assert_eq!(sent, ["PUBLISH t=m q1 id1 dup"]);
    assert_eq!(client.explain().send_quota, 9);
    peer.say(&mut client, puback(1));
    assert_eq!(
        (client.explain().send_quota, client.in_flight_len()),
        (10, 0)
    );
}

#[test]
fn what_is_resumed_stays_within_the_receive_maximum() {
    let (mut client, peer, sent) = resumed(5, 2);
    assert_eq!(sent, ["PUBLISH t=m q1 id1 dup", "PUBLISH t=m q1 id2 dup"]);
    for next in 3..=5 {
        let sent = peer.ask(&mut client, puback(next - 2));
        assert_eq!(sent, [format!("PUBLISH t=m q1 id{next} dup")]);
    }
}

#[test]
fn a_duplicate_at_the_receive_maximum_is_a_duplicate() {
    let config = Config {
        receive_maximum: 1,
        ..Config::default()
    };
    let (mut client, peer) = (Client::new(config), Peer::new(V5_0));
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    for _ in 0..2 {
        let received = peer.ask(&mut client, publish("t", "m", QoS::ExactlyOnce, 1));
        assert_eq!(received, ["PUBREC 1 00"]);
    }
    let events = core::iter::from_fn(|| client.poll_event());
    let messages = events.filter(|event| matches!(event, Event::Message { .. }));
    assert_eq!(messages.count(), 1);
}

#[test]
fn a_connack_comes_once_and_when_it_was_asked_for() {
    let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
    assert_eq!(peer.ask(&mut client, connack(false)), [""; 0]);
    assert_eq!(client.poll_event(), None, "nobody asked");
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    assert_eq!(
        peer.ask(&mut client, connack(false)),
        ["DISCONNECT 82", "close"]
    );
}

#[test]
fn a_pubrec_for_nothing_gets_pubrel_with_the_reason() {
    let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    let unknown = Packet::PubRec(Ack::new(id(7), PublishReason::Success));
    assert_eq!(peer.ask(&mut client, unknown), ["PUBREL 7 92"]);
}

#[test]
fn keep_alive_counts_from_the_last_byte_sent() {
    let mut client = Client::new(Config::default());
    let at = Timestamp::from_secs;
    let mut connect = connect(V5_0, "c");
    connect.keep_alive_secs = 10;
    client.connect(at(0), &connect).unwrap();
    let hear = |client: &mut Client, secs| {
        Peer {
            now: at(secs),
            ..Peer::new(V5_0)
        }
        .hear(client)
    };
    hear(&mut client, 0);
    let consumed = client.handle_input(at(0), b"\x20\x03\0\0\0");
    assert_eq!(consumed.bytes, 5);
    client
        .publish(at(1), Message::new("t", "m").unwrap())
        .unwrap();
    hear(&mut client, 1);
    let timeout = client.poll_timeout().unwrap();
    assert_eq!(
        (timeout.at, timeout.reason),
        (at(11), TimeoutReason::KeepAlive)
    );
    client.handle_timeout(at(1) + Duration::from_secs(10));
    assert_eq!(hear(&mut client, 11), ["PINGREQ"]);
}

#[test]
fn topics_with_a_dollar_match_and_letters_have_any_length() {
    let rows = [
        ("$SYS/#", "$SYS/a", true),
        ("$SYS/a", "$SYS/a", true),
        ("$SYS/+", "$SYS/a", true),
        ("#", "$SYS/a", false),
        ("+/a", "$SYS/a", false),
        ("\u{e4}/#", "\u{e4}/b", true),
        ("#", "\u{1f980}", true),
        ("$SYS/#", "\u{1f980}", false),
    ];
    for (filter, name, expected) in rows {
        let matches = TopicFilter::new(filter)
            .unwrap()
            .matches(TopicName::new(name).unwrap());
        assert_eq!(matches, expected, "{filter} on {name}");
    }
}
