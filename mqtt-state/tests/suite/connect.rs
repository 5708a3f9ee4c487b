//! The handshake: what a server refuses and how, and what a client makes of the answer.

use core::num::{NonZeroU16, NonZeroU32};
use core::time::Duration;

use mqtt_codec::{
    Authentication, Binary, ConnAck, ConnAckOutcome, ConnAckProperties, Connect, ConnectReason,
    DisconnectReason, MaximumQoS, Packet, Parsed, QoS, UserProperties, UserProperty, Will, decode,
};
use mqtt_state::broker::{self, AcceptError, ConnectionId};
use mqtt_state::client::{self, ConnectError, Event, PublishErrorKind, State};
use mqtt_state::{CloseCause, ProtocolError, TimeoutReason, Timestamp, Transmit, server};

use crate::recorded::{Broker, Client};
use crate::wire::{
    Peer, V3_1_1, V5_0, connack, connect, disconnect, filter, name, puback, publish, show_all,
    text, want,
};
use crate::world::World;

fn broker_with(server: server::Config) -> (Broker, ConnectionId) {
    let mut broker = Broker::new(broker::Config {
        server,
        ..broker::Config::default()
    });
    let connection = broker
        .accept(Timestamp::from_secs(1), broker::Peer::default())
        .unwrap();
    (broker, connection)
}

fn connect_bytes(connect: Connect<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet::Connect(connect)
        .encode_to(connect.version, &mut bytes)
        .unwrap();
    bytes
}

fn closed_because(broker: &mut Broker) -> Option<CloseCause> {
    core::iter::from_fn(|| broker.poll_event()).find_map(|event| match event {
        broker::Event::Closed { cause, .. } => Some(cause),
        _ => None,
    })
}

/// First bytes of a connection, and how a broker answers them.
#[test]
fn bad_beginnings_are_answered_as_their_version_understands() {
    let v3 = connect_bytes(connect(V3_1_1, "c"));
    let v5 = connect_bytes(connect(V5_0, "c"));
    let with_level = |level: u8| {
        let mut bytes = v3.clone();
        bytes[8] = level;
        bytes
    };
    let with_flags = |bytes: &[u8], flags: u8| {
        let mut bytes = bytes.to_vec();
        bytes[9] = flags;
        bytes
    };
    let rows: Vec<(&str, Vec<u8>, &[&str])> = vec![
        // [5:MQTT-3.1.0-1] [3:MQTT-3.1.0-1]
        (
            "PUBLISH first",
            vec![0x30, 0x03, 0x00, 0x01, b't'],
            &["close"],
        ),
        ("PINGREQ first, half of it", vec![0xC0], &["close"]),
        // [3:MQTT-3.1.2-2] [5:MQTT-3.1.2-2]
        ("level 3", with_level(3), &["20 02 00 01", "close"]),
        ("level 6", with_level(6), &["20 03 00 84 00", "close"]),
        (
            "another protocol",
            b"\x10\x0E\x00\x04HTTP\x04\x02\x00\x3C\x00\x02id".to_vec(),
            &["close"],
        ),
        // [3:MQTT-3.1.4-1] [5:MQTT-3.1.4-1]
        (
            "3.1.1 with a reserved flag",
            with_flags(&v3, 0x03),
            &["close"],
        ),
        (
            "5.0 with a reserved flag",
            with_flags(&v5, 0x03),
            &["20 03 00 81 00", "close"],
        ),
        (
            "5.0 cut short",
            b"\x10\x0C\x00\x04MQTT\x05\x02\x00\x3C\x00\x00".to_vec(),
            &["20 03 00 81 00", "close"],
        ),
        ("no MQTT at all", b"GET / HTTP/1.1\r\n".to_vec(), &["close"]),
        (
            "256 MiB announced",
            vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F],
            &["close"],
        ),
    ];
    for (row, bytes, expected) in rows {
        let (mut broker, connection) = broker_with(server::Config::default());
        let peer = Peer::new(V5_0);
        let consumed = broker.handle_input(peer.now, connection, &bytes);
        assert_eq!(
            (consumed.bytes, consumed.need),
            (bytes.len(), 0),
            "{row}: the rest is ignored"
        );
        let (heard, closed) = peer.hear_bytes(&mut (&mut broker, connection));
        let mut found: Vec<String> = Vec::new();
        if !heard.is_empty() {
            let hex: Vec<_> = heard.iter().map(|byte| format!("{byte:02X}")).collect();
            found.push(hex.join(" "));
        }
        found.extend(closed.then(|| "close".to_owned()));
        assert_eq!(found, expected, "{row}");
        assert!(
            matches!(
                closed_because(&mut broker),
                Some(CloseCause::ProtocolError(_))
            ),
            "{row}"
        );
        assert_eq!(broker.stats().connections, 0, "{row}: forgotten");
        assert_eq!(broker.stats().sessions, 0, "{row}: left nothing");
    }
}

#[test]
fn a_well_formed_connect_that_cannot_be_served_gets_a_code() {
    let will_qos_2 = Will {
        qos: QoS::ExactlyOnce,
        ..Will::new(name("w"), Binary::new(b"").unwrap())
    };
    let will_retain = Will {
        retain: true,
        ..Will::new(name("w"), Binary::new(b"").unwrap())
    };
    let mut authenticating = connect(V5_0, "c");
    authenticating.properties.authentication = Some(Authentication {
        method: text("m"),
        data: None,
    });
    let poor = server::Config {
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        ..server::Config::default()
    };
    let rows: [(&str, Connect<'_>, &[&str]); 6] = [
        // [5:MQTT-3.2.2-12] [5:MQTT-3.2.2-13] [5:MQTT-4.12.0-1]
        (
            "will QoS",
            Connect {
                will: Some(will_qos_2),
                ..connect(V5_0, "c")
            },
            &["CONNACK 9B", "close"],
        ),
        (
            "will retain",
            Connect {
                will: Some(will_retain),
                ..connect(V5_0, "c")
            },
            &["CONNACK 9A", "close"],
        ),
        ("authentication", authenticating, &["CONNACK 8C", "close"]),
        // [3:MQTT-3.2.2-6] No return code of 3.1.1 says this.
        (
            "will QoS, 3.1.1",
            Connect {
                will: Some(will_qos_2),
                ..connect(V3_1_1, "c")
            },
            &["close"],
        ),
        (
            "no identifier, 5.0",
            Connect {
                clean_start: false,
                ..connect(V5_0, "")
            },
            &["CONNACK 00"],
        ),
        (
            "no identifier, 3.1.1, clean",
            connect(V3_1_1, ""),
            &["CONNACK 00"],
        ),
    ];
    for (row, connect, expected) in rows {
        let (mut broker, connection) = broker_with(poor.clone());
        let peer = Peer::new(connect.version);
        let heard = peer.ask(&mut (&mut broker, connection), connect);
        assert_eq!(heard, expected, "{row}");
    }
}

#[test]
fn an_empty_identifier_without_a_clean_session_is_refused_in_3_1_1() {
    // [3:MQTT-3.1.3-8] [3:MQTT-3.1.3-9]
    let (mut broker, connection) = broker_with(server::Config::default());
    let peer = Peer::new(V3_1_1);
    let bytes = b"\x10\x0C\x00\x04MQTT\x04\x00\x00\x3C\x00\x00";
    peer.say_bytes(&mut (&mut broker, connection), bytes);
    let (heard, closed) = peer.hear_bytes(&mut (&mut broker, connection));
    assert_eq!((heard, closed), (vec![0x20, 0x02, 0x00, 0x02], true));
}

#[test]
fn assigned_identifiers_differ_and_are_told() {
    // [5:MQTT-3.1.3-6] [5:MQTT-3.1.3-7] [5:MQTT-3.2.2-16]
    let mut broker = Broker::new(broker::Config::default());
    let peer = Peer::new(V5_0);
    let mut assigned = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
        peer.say(&mut (&mut broker, connection), connect(V5_0, ""));
        let (heard, _) = peer.hear_bytes(&mut (&mut broker, connection));
        let Ok(Parsed::Complete((Packet::ConnAck(connack), _))) = decode(&heard, V5_0, 1000) else {
            panic!("{heard:02X?}");
        };
        assigned.insert(
            connack
                .properties
                .assigned_client_id
                .unwrap()
                .as_str()
                .to_owned(),
        );
    }
    assert_eq!(assigned.len(), 10);
}

#[test]
fn connack_announces_what_differs_from_the_standard() {
    let config = server::Config {
        packet_size_max: 2000,
        receive_maximum: 7,
        topic_alias_maximum: 0,
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        wildcard_subscription_available: false,
        subscription_id_available: false,
        shared_subscription_available: false,
        keep_alive_max_secs: NonZeroU16::new(30),
        session_expiry_max_secs: Some(100),
        ..server::Config::default()
    };
    let (mut broker, connection) = broker_with(config);
    let peer = Peer::new(V5_0);
    let mut packet = connect(V5_0, "c");
    packet.keep_alive_secs = 60;
    packet.properties.session_expiry_secs = Some(1000);
    peer.say(&mut (&mut broker, connection), packet);
    let (heard, _) = peer.hear_bytes(&mut (&mut broker, connection));
    let Ok(Parsed::Complete((Packet::ConnAck(connack), _))) = decode(&heard, V5_0, 1000) else {
        panic!("{heard:02X?}");
    };
    // [5:MQTT-3.2.2-9] [5:MQTT-3.2.2-21]
    let expected = ConnAckProperties {
        packet_size_max: NonZeroU32::new(2000),
        receive_maximum: NonZeroU16::new(7),
        maximum_qos: Some(MaximumQoS::AtLeastOnce),
        retain_available: Some(false),
        wildcard_subscription_available: Some(false),
        subscription_id_available: Some(false),
        shared_subscription_available: Some(false),
        server_keep_alive_secs: Some(30),
        session_expiry_secs: Some(100),
        ..ConnAckProperties::default()
    };
    assert_eq!(connack.properties, expected);
}

#[test]
fn a_second_connect_ends_the_connection() {
    // [5:MQTT-3.1.0-2] [3:MQTT-3.1.0-2]
    for (version, expected) in [
        (V5_0, &["DISCONNECT 82", "close"][..]),
        (V3_1_1, &["close"]),
    ] {
        let (mut broker, connection) = broker_with(server::Config::default());
        let peer = Peer::new(version);
        let mut line = (&mut broker, connection);
        assert_eq!(peer.ask(&mut line, connect(version, "c")), ["CONNACK 00"]);
        assert_eq!(
            peer.ask(&mut line, connect(version, "c")),
            expected,
            "{version}"
        );
        let cause = CloseCause::ProtocolError(ProtocolError::SecondConnect);
        assert_eq!(closed_because(&mut broker), Some(cause));
    }
}

#[test]
fn what_follows_a_refused_connect_is_ignored() {
    // [5:MQTT-3.1.4-6] [3:MQTT-3.1.4-5]
    let mut world = World::new();
    let subscriber = world.subscribed("subscriber", V5_0, "#", QoS::AtMostOnce);
    let connection = world
        .broker
        .accept(world.now, broker::Peer::default())
        .unwrap();
    let mut refused = connect_bytes(connect(V3_1_1, "c"));
    refused[8] = 3;
    Packet::from(publish("t", "x", QoS::AtMostOnce, 0))
        .encode_to(V3_1_1, &mut refused)
        .unwrap();
    let consumed = world.broker.handle_input(world.now, connection, &refused);
    assert_eq!(consumed.bytes, refused.len());
    world.settle();
    assert_eq!(world.got(subscriber), [""; 0]);
}

#[test]
fn packets_that_follow_connect_at_once_are_served_after_it() {
    let (mut broker, connection) = broker_with(server::Config::default());
    let peer = Peer::new(V3_1_1);
    let mut bytes = connect_bytes(connect(V3_1_1, "c"));
    Packet::PingReq.encode_to(V3_1_1, &mut bytes).unwrap();
    Packet::from(publish("t", "x", QoS::AtLeastOnce, 1))
        .encode_to(V3_1_1, &mut bytes)
        .unwrap();
    let mut line = (&mut broker, connection);
    peer.say_bytes(&mut line, &bytes);
    assert_eq!(
        peer.hear(&mut line),
        ["CONNACK 00", "PINGRESP", "PUBACK 1 00"]
    );
}

#[test]
fn a_connection_without_connect_ends_in_time() {
    let (mut broker, connection) = broker_with(server::Config::default());
    let mut peer = Peer::new(V5_0);
    let timeout = broker.poll_timeout().unwrap();
    assert_eq!(timeout.reason, TimeoutReason::Connect);
    assert_eq!(timeout.at, peer.now + Duration::from_secs(10));
    // Half a CONNECT does not move the deadline.
    peer.now = Timestamp::from_secs(9);
    let _half = broker.handle_input(peer.now, connection, &[0x10, 0x20, 0x00]);
    assert_eq!(broker.poll_timeout(), Some(timeout));
    peer.now = timeout.at;
    broker.handle_timeout(peer.now);
    assert_eq!(peer.hear(&mut (&mut broker, connection)), ["close"]);
    assert_eq!(
        closed_because(&mut broker),
        Some(CloseCause::ConnectTimeout)
    );
}

#[test]
fn connections_and_sessions_have_a_limit() {
    let mut broker = Broker::new(broker::Config {
        connections_max: 3,
        sessions_max: 2,
        ..broker::Config::default()
    });
    let peer = Peer::new(V5_0);
    let all: Vec<_> = (0..3)
        .map(|_| broker.accept(peer.now, broker::Peer::default()).unwrap())
        .collect();
    assert_eq!(
        broker.accept(peer.now, broker::Peer::default()),
        Err(AcceptError::TooManyConnections)
    );
    for (connection, expected) in all.iter().zip([
        &["CONNACK 00"][..],
        &["CONNACK 00"],
        &["CONNACK 89", "close"],
    ]) {
        let client_id = format!("client-{connection}");
        let heard = peer.ask(&mut (&mut broker, *connection), connect(V5_0, &client_id));
        assert_eq!(heard, expected, "{client_id}");
    }
    assert!(
        broker.accept(peer.now, broker::Peer::default()).is_ok(),
        "one is gone"
    );
}

#[test]
fn a_connect_above_its_own_limit_is_refused_from_its_header() {
    let config = server::Config {
        connect_packet_size_max: 100,
        ..server::Config::default()
    };
    let (mut broker, connection) = broker_with(config);
    let peer = Peer::new(V5_0);
    let consumed = broker.handle_input(peer.now, connection, &[0x10, 99]);
    assert_eq!(consumed.bytes, 2);
    assert_eq!(peer.hear(&mut (&mut broker, connection)), ["close"]);
}

/// [5:MQTT-3.1.4-1] What is there of it may say its version, and so the form of the answer.
#[test]
fn a_connect_above_its_limit_is_told_so_where_it_says_its_version() {
    let start = [0x10, 99, 0, 4, b'M', b'Q', b'T', b'T', 5];
    let mut old = start;
    old[8] = 4;
    let rows = [
        ("5.0", &start[..], &["CONNACK 95", "close"][..]),
        ("5.0, cut in front of its level", &start[..8], &["close"]),
        ("3.1.1", &old[..], &["close"]),
        (
            "another packet",
            &[&[0x20], &start[1..]].concat(),
            &["close"],
        ),
    ];
    for (name, bytes, expected) in rows {
        let config = server::Config {
            connect_packet_size_max: 100,
            ..server::Config::default()
        };
        let (mut broker, connection) = broker_with(config);
        let peer = Peer::new(V5_0);
        let _consumed = broker.handle_input(peer.now, connection, bytes);
        let heard = peer.hear(&mut (&mut broker, connection));
        assert_eq!(heard, expected, "{name}");
    }
}

// The client.

fn client() -> (Client, Peer) {
    (Client::new(client::Config::default()), Peer::new(V5_0))
}

fn events(client: &mut Client) -> Vec<Event> {
    core::iter::from_fn(|| client.poll_event()).collect()
}

#[test]
fn a_client_that_is_refused_says_why() {
    let (mut client, peer) = client();
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    assert_eq!(peer.hear(&mut client), ["CONNECT c"]);
    assert_eq!(client.state(), State::Connecting);
    let pairs = ["value", "other"].map(|value| UserProperty {
        name: text("name"),
        value: text(value),
    });
    let refusal = ConnAck {
        outcome: ConnAckOutcome::Refused(ConnectReason::ServerMoved),
        properties: ConnAckProperties {
            reason_string: Some(text("gone")),
            user_properties: UserProperties::new(&pairs),
            server_reference: Some(text("elsewhere:1883")),
            ..ConnAckProperties::default()
        },
    };
    assert_eq!(peer.ask(&mut client, refusal), ["close"]);
    let [
        Event::Closed {
            cause,
            diagnostics,
            server_reference,
        },
    ] = &events(&mut client)[..]
    else {
        panic!("nothing else happened");
    };
    assert_eq!(*cause, CloseCause::Refused(ConnectReason::ServerMoved));
    assert_eq!(diagnostics.reason_string(), Some("gone"));
    let said: Vec<_> = diagnostics.user_properties().collect();
    assert_eq!(said, [("name", "value"), ("name", "other")]);
    assert_eq!(server_reference.as_deref(), Some("elsewhere:1883"));
    assert_eq!(client.state(), State::Disconnected);
    assert!(
        client.connect(peer.now, &connect(V5_0, "c")).is_ok(),
        "again"
    );
}

/// A server that does not know the version of a CONNECT answers in one that it knows.
#[test]
fn a_client_understands_a_refusal_of_its_version_in_the_other_one() {
    let refused = CloseCause::Refused(ConnectReason::UnsupportedProtocolVersion);
    let rows = [
        // [3:MQTT-3.1.2-2]
        ("5.0 at one for 3.1.1", V5_0, &[0x20, 2, 0, 1][..], true),
        // [5:MQTT-3.1.2-2]
        ("3.1.1 at one for 5.0", V3_1_1, &[0x20, 3, 0, 0x84, 0], true),
        (
            "the same, in words",
            V3_1_1,
            &[0x20, 8, 0, 0x84, 5, 0x1F, 0, 2, b'n', b'o'],
            true,
        ),
        ("of its own", V5_0, &[0x20, 3, 0, 0x84, 0], true),
        ("of its own", V3_1_1, &[0x20, 2, 0, 1], true),
        // Whoever answers like this speaks neither version.
        ("taken in, in 3.1.1", V5_0, &[0x20, 2, 0, 0], false),
        ("for something else", V5_0, &[0x20, 2, 0, 5], false),
        ("for something else", V3_1_1, &[0x20, 3, 0, 0x87, 0], false),
        ("with a session", V5_0, &[0x20, 2, 1, 1], false),
        ("with a session", V3_1_1, &[0x20, 3, 1, 0x84, 0], false),
        ("with something behind", V5_0, &[0x20, 4, 0, 1, 0, 0], false),
    ];
    for (row, version, bytes, is_refusal) in rows {
        let (mut client, peer) = client();
        client.connect(peer.now, &connect(version, "c")).unwrap();
        assert_eq!(peer.hear(&mut client), ["CONNECT c"]);
        let consumed = client.handle_input(peer.now, bytes);
        assert_eq!(consumed.bytes, bytes.len(), "{version:?}, {row}");
        let [Event::Closed { cause, .. }] = &events(&mut client)[..] else {
            panic!("{version:?}, {row}: nothing else happened");
        };
        assert_eq!(*cause == refused, is_refusal, "{version:?}, {row}: {cause}");
        assert_eq!(peer.hear_bytes(&mut client), (vec![], true), "{row}");
    }
    // It is an answer to CONNECT and to nothing else.
    let (mut client, peer) = client();
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    assert_eq!(peer.hear(&mut client), ["CONNECT c"]);
    assert_eq!(peer.ask(&mut client, connack(false)), [""; 0]);
    let consumed = client.handle_input(peer.now, &[0x20, 2, 0, 1]);
    assert_eq!(consumed.bytes, 4);
    let last = events(&mut client).pop();
    assert!(
        matches!(
            &last,
            Some(Event::Closed {
                cause: CloseCause::ProtocolError(_),
                ..
            })
        ),
        "{last:?}"
    );
}

#[test]
fn a_client_does_not_take_a_session_it_never_had() {
    // [5:MQTT-3.2.2-4]
    let (mut client, peer) = client();
    let resuming = Connect {
        clean_start: false,
        ..Connect::new(V5_0, text("c"))
    };
    client.connect(peer.now, &resuming).unwrap();
    peer.hear(&mut client);
    assert_eq!(peer.ask(&mut client, connack(true)), ["close"]);
    let cause = CloseCause::ProtocolError(ProtocolError::UnknownSessionPresent);
    assert!(
        matches!(&events(&mut client)[..], [Event::Closed { cause: found, .. }] if *found == cause)
    );

    client.assume_session();
    client.connect(peer.now, &resuming).unwrap();
    peer.hear(&mut client);
    assert_eq!(peer.ask(&mut client, connack(true)), [""; 0]);
    assert_eq!(
        events(&mut client),
        [Event::Connected {
            session_present: true
        }]
    );
}

#[test]
fn a_client_takes_nothing_but_connack_first_and_only_once() {
    // [5:MQTT-3.2.0-1] [3:MQTT-3.2.0-1] [5:MQTT-3.2.0-2]
    let (mut client, peer) = client();
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    assert_eq!(peer.ask(&mut client, Packet::PingResp), ["close"]);

    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    assert_eq!(peer.ask(&mut client, connack(false)), [""; 0]);
    assert_eq!(
        peer.ask(&mut client, connack(false)),
        ["DISCONNECT 82", "close"]
    );
}

#[test]
fn a_client_waits_for_connack_so_long() {
    let (mut client, mut peer) = client();
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    let timeout = client.poll_timeout().unwrap();
    assert_eq!(timeout.reason, TimeoutReason::Connect);
    peer.now = timeout.at;
    client.handle_timeout(peer.now);
    assert_eq!(peer.hear(&mut client), ["close"]);
    assert!(matches!(
        &events(&mut client)[..],
        [Event::Closed {
            cause: CloseCause::ConnectTimeout,
            ..
        }]
    ));
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn nothing_is_published_before_connack_and_then_within_its_limits() {
    let (mut client, peer) = client();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let message = mqtt_codec::Message::new("t", "x").unwrap().with_qos(qos);
        client.publish(peer.now, message).unwrap();
    }
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    assert_eq!(peer.hear(&mut client), ["CONNECT c"]);
    let mut limited = connack(false);
    // [5:MQTT-3.2.2-11] [5:MQTT-3.3.4-7]
    limited.properties.maximum_qos = Some(MaximumQoS::AtLeastOnce);
    limited.properties.receive_maximum = NonZeroU16::new(1);
    let heard = peer.ask(&mut client, limited);
    assert_eq!(heard, ["PUBLISH t=x q0", "PUBLISH t=x q1 id1"]);
    assert_eq!(peer.ask(&mut client, puback(1)), [""; 0]);
    let lost = events(&mut client).into_iter().any(|event| {
        matches!(
            event,
            Event::PublishLost {
                cause: client::LostCause::QoSNotSupported,
                ..
            }
        )
    });
    assert!(lost, "QoS 2 is told apart");

    let message = mqtt_codec::Message::new("t", "x")
        .unwrap()
        .with_qos(QoS::ExactlyOnce);
    let error = client.publish(peer.now, message).unwrap_err();
    let maximum = QoS::AtLeastOnce;
    assert_eq!(error.kind, PublishErrorKind::QoSNotSupported { maximum });
}

#[test]
fn commands_in_the_wrong_state_change_nothing() {
    let (mut client, peer) = client();
    assert!(client.subscribe(&[want("t", QoS::AtMostOnce)]).is_err());
    assert!(client.unsubscribe(&[filter("t")]).is_err());
    assert!(
        client
            .disconnect(peer.now, DisconnectReason::NormalDisconnection)
            .is_err()
    );
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    let again = client.connect(peer.now, &connect(V5_0, "c"));
    assert_eq!(again, Err(ConnectError::AlreadyConnected));
    assert_eq!(peer.hear(&mut client), ["CONNECT c"], "once");
    assert!(
        client.subscribe(&[want("t", QoS::AtMostOnce)]).is_err(),
        "not accepted yet"
    );
    assert_eq!(events(&mut client), []);
}

#[test]
fn after_disconnect_nothing_goes_out_and_nothing_is_taken() {
    // [5:MQTT-3.14.4-1] [5:MQTT-3.14.4-2] [3:MQTT-3.14.4-1] [3:MQTT-3.14.4-2]
    let (mut client, peer) = client();
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    let message = mqtt_codec::Message::new("t", "x").unwrap();
    client
        .disconnect(peer.now, DisconnectReason::NormalDisconnection)
        .unwrap();
    client.publish(peer.now, message).unwrap();
    peer.say(&mut client, publish("t", "x", QoS::AtLeastOnce, 1));
    assert_eq!(peer.hear(&mut client), ["DISCONNECT 00", "close"]);
    let (bytes, _) = peer.hear_bytes(&mut client);
    assert!(bytes.is_empty(), "{bytes:?}");
    assert_eq!(client.waiting_len(), 1, "it waits for the next connection");
}

#[test]
fn a_server_connection_leaves_the_decision_to_its_owner() {
    let peer = Peer::new(V5_0);
    let mut connection = crate::recorded::Connection::new(peer.now, server::Config::default());
    peer.say(&mut connection, connect(V5_0, "c"));
    assert!(!connection.wants_input(), "until it is decided");
    assert_eq!(
        connection.handle_input(peer.now, &[0xC0, 0x00]).bytes,
        0,
        "kept by the driver"
    );
    assert_eq!(peer.hear(&mut connection), [""; 0]);
    connection
        .reject(peer.now, ConnectReason::NotAuthorized)
        .unwrap();
    assert_eq!(peer.hear(&mut connection), ["CONNACK 87", "close"]);
    assert!(
        connection
            .accept(peer.now, server::Acceptance::default())
            .is_err(),
        "too late"
    );
}

#[test]
fn a_server_connection_keeps_the_will_until_it_is_taken_back() {
    let will = Will::new(name("w"), Binary::new(b"gone").unwrap());
    let rows = [
        ("normal", DisconnectReason::NormalDisconnection, false),
        ("with will", DisconnectReason::DisconnectWithWill, true),
        ("error", DisconnectReason::UnspecifiedError, true),
    ];
    for (row, reason, expected) in rows {
        let peer = Peer::new(V5_0);
        let mut connection = crate::recorded::Connection::new(peer.now, server::Config::default());
        let packet = Connect {
            will: Some(will),
            ..connect(V5_0, "c")
        };
        peer.say(&mut connection, packet);
        connection
            .accept(peer.now, server::Acceptance::default())
            .unwrap();
        assert_eq!(
            peer.ask(&mut connection, disconnect(reason)),
            ["CONNACK 00", "close"]
        );
        let closed =
            core::iter::from_fn(|| connection.poll_event()).find_map(|event| match event {
                server::Event::Closed { will, .. } => Some(will),
                _ => None,
            });
        assert_eq!(closed.unwrap().is_some(), expected, "{row}");
    }
}

#[test]
fn the_last_packet_has_its_time_and_no_more() {
    let (mut broker, connection) = broker_with(server::Config::default());
    let mut peer = Peer::new(V5_0);
    peer.ask(&mut (&mut broker, connection), connect(V5_0, "c"));
    broker.disconnect(peer.now, connection, DisconnectReason::AdministrativeAction);
    // The peer does not read: nobody polls until the close timeout.
    let timeout = broker.poll_timeout().unwrap();
    assert_eq!(timeout.reason, TimeoutReason::Close);
    peer.now = timeout.at;
    broker.handle_timeout(peer.now);
    assert_eq!(broker.poll_ready(), Some(connection));
    let mut bytes = Vec::new();
    let transmit = broker.poll_transmit(peer.now, connection, 1000, &mut bytes);
    assert_eq!(
        (transmit, show_all(&bytes, V5_0)),
        (Transmit::Close, vec![])
    );
    assert_eq!(broker.stats().connections, 0);
}

#[test]
fn a_client_that_wants_no_problem_information_gets_none() {
    // [5:MQTT-3.1.2-29]
    use mqtt_codec::{Ack, AckProperties, PublishReason, UserProperties, UserProperty};

    let pairs = [UserProperty {
        name: text("k"),
        value: text("v"),
    }];
    let with_reason = AckProperties {
        reason_string: Some(text("why")),
        ..AckProperties::default()
    };
    let with_user = AckProperties {
        user_properties: UserProperties::new(&pairs),
        ..AckProperties::default()
    };
    let rows = [
        (Some(false), with_reason, &["DISCONNECT 82", "close"][..]),
        (Some(false), with_user, &["DISCONNECT 82", "close"]),
        (Some(false), AckProperties::default(), &[]),
        (Some(true), with_reason, &[]),
        (None, with_user, &[]),
    ];
    for (asked, properties, expected) in rows {
        let (mut client, peer) = client();
        let mut packet = connect(V5_0, "c");
        packet.properties.request_problem_information = asked;
        client.connect(peer.now, &packet).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        let message = mqtt_codec::Message::new("t", "x")
            .unwrap()
            .with_qos(QoS::AtLeastOnce);
        client.publish(peer.now, message).unwrap();
        peer.hear(&mut client);
        let ack = Ack {
            properties,
            ..Ack::new(crate::wire::id(1), PublishReason::Success)
        };
        let heard = peer.ask(&mut client, Packet::PubAck(ack));
        assert_eq!(heard, expected, "{asked:?} {properties:?}");
    }
}

#[test]
fn only_a_server_of_5_0_says_goodbye() {
    for (version, expected) in [
        (
            V5_0,
            CloseCause::DisconnectedByPeer(DisconnectReason::NormalDisconnection),
        ),
        (
            V3_1_1,
            CloseCause::ProtocolError(ProtocolError::UnexpectedPacket(
                mqtt_codec::PacketType::Disconnect,
            )),
        ),
    ] {
        let mut client = Client::new(client::Config::default());
        let peer = Peer::new(version);
        client.connect(peer.now, &connect(version, "c")).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        peer.say(
            &mut client,
            disconnect(DisconnectReason::NormalDisconnection),
        );
        let cause = events(&mut client)
            .into_iter()
            .find_map(|event| match event {
                Event::Closed { cause, .. } => Some(cause),
                _ => None,
            });
        assert_eq!(cause, Some(expected), "{version}");
    }
}

#[test]
fn an_answer_that_the_server_does_not_take_ends_the_connection() {
    // [5:MQTT-3.2.2-15] A server that takes three bytes takes no PUBACK.
    let (mut client, peer) = client();
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    let mut answer = connack(false);
    answer.properties.packet_size_max = NonZeroU32::new(3);
    peer.say(&mut client, answer);
    peer.say(&mut client, publish("t", "x", QoS::AtLeastOnce, 1));
    assert_eq!(peer.hear(&mut client), ["DISCONNECT 95", "close"]);
    let ended = events(&mut client).into_iter().any(|event| {
        matches!(
            event,
            Event::Closed {
                cause: CloseCause::AnswerTooLarge,
                ..
            }
        )
    });
    assert!(ended);
}

#[test]
fn a_client_announces_its_limits() {
    for (topic_alias_maximum, announced) in [(0, None), (7, Some(7))] {
        let mut client = Client::new(client::Config {
            packet_size_max: 5000,
            receive_maximum: 6,
            topic_alias_maximum,
            ..client::Config::default()
        });
        let peer = Peer::new(V5_0);
        client.connect(peer.now, &connect(V5_0, "c")).unwrap();
        let (bytes, _) = peer.hear_bytes(&mut client);
        let Ok(Parsed::Complete((Packet::Connect(connect), _))) = decode(&bytes, V5_0, 1000) else {
            panic!("{bytes:02X?}");
        };
        let properties = connect.properties;
        assert_eq!(properties.topic_alias_maximum, announced);
        assert_eq!(properties.receive_maximum, NonZeroU16::new(6));
        assert_eq!(properties.packet_size_max, NonZeroU32::new(5000));
    }
}

/// Some peers take no figure above the largest Remaining Length.
#[test]
fn both_roles_announce_no_limit_that_is_none() {
    for (packet_size_max, announced) in [
        (5_000, Some(5_000)),
        (268_435_455, Some(268_435_455)),
        (268_435_456, Some(268_435_455)),
        (268_435_459, Some(268_435_455)),
        (268_435_460, None),
        (u32::MAX, None),
    ] {
        let announced = announced.and_then(NonZeroU32::new);
        let peer = Peer::new(V5_0);
        let mut client = Client::new(client::Config {
            packet_size_max,
            ..client::Config::default()
        });
        client.connect(peer.now, &connect(V5_0, "c")).unwrap();
        let (bytes, _) = peer.hear_bytes(&mut client);
        let Ok(Parsed::Complete((Packet::Connect(said), _))) = decode(&bytes, V5_0, 1000) else {
            panic!("{bytes:02X?}");
        };
        assert_eq!(
            said.properties.packet_size_max, announced,
            "{packet_size_max}"
        );

        let (mut broker, connection) = broker_with(server::Config {
            packet_size_max,
            ..server::Config::default()
        });
        peer.say(&mut (&mut broker, connection), connect(V5_0, "c"));
        let (bytes, _) = peer.hear_bytes(&mut (&mut broker, connection));
        let Ok(Parsed::Complete((Packet::ConnAck(said), _))) = decode(&bytes, V5_0, 1000) else {
            panic!("{bytes:02X?}");
        };
        assert_eq!(
            said.properties.packet_size_max, announced,
            "{packet_size_max}"
        );
    }
}

#[test]
fn session_present_tells_whether_there_was_a_session() {
    // [5:MQTT-3.2.2-2] [5:MQTT-3.2.2-3] [3:MQTT-3.2.2-1] [3:MQTT-3.2.2-2] [3:MQTT-3.2.2-3]
    for version in [V3_1_1, V5_0] {
        let mut broker = Broker::new(broker::Config::default());
        let peer = Peer::new(version);
        for (clean_start, expected) in [
            (false, "CONNACK 00"),
            (false, "CONNACK 00 present"),
            (true, "CONNACK 00"),
            (true, "CONNACK 00"),
        ] {
            let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
            let mut packet = connect(version, "c");
            packet.clean_start = clean_start;
            if version == V5_0 {
                packet.properties.session_expiry_secs = Some(100);
            }
            let heard = peer.ask(&mut (&mut broker, connection), packet);
            assert_eq!(heard, [expected], "{version} {clean_start}");
            broker.handle_close(peer.now, connection);
        }
    }
}

#[test]
fn clean_start_decides_what_becomes_of_the_session() {
    // [5:MQTT-3.1.2-6] [5:MQTT-3.1.4-4] [3:MQTT-3.1.4-3]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let who = world.client("c");
        world.resume(who, version);
        assert_eq!(world.broker.stats().sessions, 1, "{version}: a new one");
        world.subscribe(who, &[want("t", QoS::AtLeastOnce)]);
        world.cut(who);
        world.resume(who, version);
        assert_eq!(
            world.broker.stats().subscriptions,
            1,
            "{version}: as it was"
        );
        world.cut(who);
        world.join(who, version);
        let stats = world.broker.stats();
        assert_eq!((stats.sessions, stats.subscriptions), (1, 0), "{version}");
    }
}

#[test]
fn a_session_belongs_to_its_client_identifier() {
    // Server: [5:MQTT-3.1.3-2] [3:MQTT-3.1.3-2]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let (a, b) = (world.client("a"), world.client("A"));
        world.resume(a, version);
        world.subscribe(a, &[want("t", QoS::AtLeastOnce)]);
        world.cut(a);
        world.resume(b, version);
        let fresh = Event::Connected {
            session_present: false,
        };
        assert_eq!(world.events(b), [fresh], "{version}: not that of another");
        world.events(a);
        world.resume(a, version);
        let known = Event::Connected {
            session_present: true,
        };
        assert_eq!(world.events(a), [known], "{version}");
    }
}

#[test]
fn a_client_that_takes_another_identifier_leaves_its_session_behind() {
    // Client: [5:MQTT-3.1.3-2] [3:MQTT-3.1.3-2]
    for version in [V3_1_1, V5_0] {
        let (mut client, mut peer) = client();
        peer.version = version;
        let named = |client_id| {
            let mut packet = Connect {
                clean_start: false,
                ..Connect::new(version, text(client_id))
            };
            if version == V5_0 {
                packet.properties.session_expiry_secs = Some(100);
            }
            packet
        };
        client.connect(peer.now, &named("a")).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        let message = mqtt_codec::Message::new("t", "x").unwrap();
        let message = message.with_qos(QoS::AtLeastOnce);
        client.publish(peer.now, message).unwrap();
        assert_eq!(peer.hear(&mut client), ["PUBLISH t=x q1 id1"]);
        client.handle_close(peer.now);
        client.connect(peer.now, &named("a")).unwrap();
        peer.hear(&mut client);
        let heard = peer.ask(&mut client, connack(true));
        assert_eq!(heard, ["PUBLISH t=x q1 id1 dup"], "{version}: its own");
        client.handle_close(peer.now);
        events(&mut client);
        client.connect(peer.now, &named("b")).unwrap();
        assert_eq!(client.in_flight_len(), 0, "{version}");
        let told = events(&mut client);
        let cause = client::LostCause::SessionLost;
        assert!(
            matches!(&told[..], [Event::PublishLost { cause: found, .. }] if *found == cause),
            "{version}: {told:?}"
        );
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        assert_eq!(peer.hear(&mut client), [""; 0], "{version}");
    }
}

#[test]
fn every_plain_identifier_is_accepted() {
    // [5:MQTT-3.1.3-5] [3:MQTT-3.1.3-5]
    const ALL: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in [V3_1_1, V5_0] {
        let mut broker = Broker::new(broker::Config::default());
        let peer = Peer::new(version);
        for len in 1..=23 {
            for start in 0..=ALL.len() - len {
                let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
                let packet = connect(version, &ALL[start..start + len]);
                let heard = peer.ask(&mut (&mut broker, connection), packet);
                assert_eq!(heard, ["CONNACK 00"], "{version} {start} {len}");
                broker.handle_close(peer.now, connection);
                while broker.poll_event().is_some() {}
            }
        }
    }
}

#[test]
fn an_identifier_that_is_not_wanted_is_refused() {
    // [5:MQTT-3.1.3-8] [3:MQTT-3.1.3-9]
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let mut broker = Broker::new(broker::Config {
            ask: broker::Ask {
                connect: true,
                ..broker::Ask::default()
            },
            ..broker::Config::default()
        });
        let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
        peer.say(&mut (&mut broker, connection), connect(version, "bad name"));
        let Some(broker::Event::Authenticate { decision, .. }) = broker.poll_event() else {
            panic!("nobody is asked");
        };
        let no = broker::ConnectAnswer::Refuse(ConnectReason::ClientIdNotValid);
        broker.decide_connect(peer.now, decision, no).unwrap();
        let (bytes, closed) = peer.hear_bytes(&mut (&mut broker, connection));
        let expected: &[u8] = match version {
            V5_0 => &[0x20, 3, 0, 0x85, 0],
            V3_1_1 => &[0x20, 2, 0, 2],
        };
        assert_eq!((&bytes[..], closed), (expected, true), "{version}");
    }
}

#[test]
fn a_client_without_a_name_has_a_session_of_its_own_in_3_1_1() {
    // [3:MQTT-3.1.3-6]
    let mut broker = Broker::new(broker::Config::default());
    let peer = Peer::new(V3_1_1);
    let connections = [(); 3].map(|()| {
        let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
        let heard = peer.ask(&mut (&mut broker, connection), connect(V3_1_1, ""));
        assert_eq!(heard, ["CONNACK 00"]);
        connection
    });
    assert_eq!(broker.stats().sessions, 3);
    for connection in connections {
        let pong = peer.ask(&mut (&mut broker, connection), Packet::PingReq);
        assert_eq!(pong, ["PINGRESP"], "none takes the place of another");
    }
}

#[test]
fn a_refusal_is_a_connack_and_then_the_end() {
    // [5:MQTT-3.1.4-2] [5:MQTT-3.2.2-7] [3:MQTT-3.2.2-5] [5:MQTT-3.2.0-2]
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let mut connection = crate::recorded::Connection::new(peer.now, server::Config::default());
        peer.say(&mut connection, connect(version, "c"));
        let no = ConnectReason::NotAuthorized;
        connection.reject(peer.now, no).unwrap();
        assert!(connection.reject(peer.now, no).is_err());
        let acceptance = server::Acceptance::default();
        assert!(connection.accept(peer.now, acceptance).is_err());
        // Whatever comes now.
        let _rest = connection.handle_input(peer.now, &[0xC0, 0x00]);
        assert_eq!(
            peer.hear(&mut connection),
            ["CONNACK 87", "close"],
            "{version}"
        );

        let mut connection = crate::recorded::Connection::new(peer.now, server::Config::default());
        peer.say(&mut connection, connect(version, "c"));
        for attempt in 0..3 {
            let accepted = connection.accept(peer.now, server::Acceptance::default());
            assert_eq!(accepted.is_ok(), attempt == 0, "once");
        }
        assert!(connection.reject(peer.now, no).is_err());
        assert_eq!(peer.hear(&mut connection), ["CONNACK 00"], "{version}");
    }
}

#[test]
fn before_connack_a_server_has_no_disconnect_to_say() {
    // [5:MQTT-3.14.0-1]
    let peer = Peer::new(V5_0);
    let mut connection = crate::recorded::Connection::new(peer.now, server::Config::default());
    peer.say(&mut connection, connect(V5_0, "c"));
    connection.disconnect(peer.now, DisconnectReason::ServerBusy);
    assert_eq!(peer.hear(&mut connection), ["CONNACK 89", "close"]);
    let mut connection = crate::recorded::Connection::new(peer.now, server::Config::default());
    connection.disconnect(peer.now, DisconnectReason::ServerBusy);
    assert_eq!(
        peer.hear(&mut connection),
        ["close"],
        "nor after nothing at all"
    );
}

#[test]
fn a_clean_start_of_a_client_leaves_nothing_of_the_session_before() {
    // Client: [5:MQTT-3.1.2-4] [3:MQTT-3.1.2-6]
    for version in [V3_1_1, V5_0] {
        let (mut client, mut peer) = client();
        peer.version = version;
        let mut resuming = connect(version, "c");
        resuming.clean_start = false;
        if version == V5_0 {
            resuming.properties.session_expiry_secs = Some(100);
        }
        client.connect(peer.now, &resuming).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        let message = mqtt_codec::Message::new("t", "x").unwrap();
        let message = message.with_qos(QoS::AtLeastOnce);
        client.publish(peer.now, message).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, publish("t", "in", QoS::ExactlyOnce, 9));
        client.handle_close(peer.now);
        events(&mut client);
        client.connect(peer.now, &connect(version, "c")).unwrap();
        peer.hear(&mut client);
        let told = events(&mut client);
        assert!(
            matches!(&told[..], [Event::PublishLost { .. }]),
            "{version}: {told:?}"
        );
        assert_eq!(peer.ask(&mut client, connack(false)), [""; 0], "{version}");
        let again = peer.ask(&mut client, publish("t", "in", QoS::ExactlyOnce, 9));
        assert_eq!(again, ["PUBREC 9 00"]);
        let new = events(&mut client).into_iter();
        let new = new.filter(|event| matches!(event, Event::Message { .. }));
        assert_eq!(new.count(), 1, "{version}: a new message");
    }
}

/// [5:MQTT-3.2.2-16] Also when a client has taken the name that would have been next.
#[test]
fn an_assigned_name_is_nobody_elses() {
    let assigned = |world: &mut World| {
        let who = world.client("");
        world.connect(who, &connect(V3_1_1, ""));
        world.settle();
        let names = world
            .broker_events()
            .into_iter()
            .filter_map(|event| match event {
                broker::Event::Connected { client_id, .. } => Some(client_id.to_string()),
                _ => None,
            });
        names.last().unwrap()
    };
    let mut world = World::new();
    let names = [assigned(&mut world), assigned(&mut world)];
    assert_ne!(names[0], names[1]);
    // The same seed, and somebody has the first name already.
    let mut world = World::new();
    let taken = world.client("taken");
    world.connect(taken, &connect(V5_0, &names[0]));
    world.settle();
    assert_eq!(assigned(&mut world), names[1]);
    assert_eq!(world.broker.stats().connections, 2, "nobody was taken over");
}

/// A session that lasts until the end of time has no deadline.
#[test]
fn what_is_due_at_the_end_of_time_never_is() {
    for (row, now, expected) in [
        ("early", Timestamp::from_secs(1000), true),
        ("late", Timestamp::MAX, false),
    ] {
        let mut world = World::new();
        world.now = now;
        let who = world.client("c");
        let mut connect = connect(V5_0, "c");
        connect.properties.session_expiry_secs = Some(10);
        world.connect(who, &connect);
        world.settle();
        world.cut(who);
        let due = world.broker.poll_timeout();
        assert_eq!(due.is_some(), expected, "{row}: {due:?}");
    }
}
