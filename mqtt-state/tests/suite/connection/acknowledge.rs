//! Messages that the owner acknowledges.

use core::time::Duration;

use mqtt_codec::{AckProperties, Delivery, Packet, Publish, PublishReason, QoS};
use mqtt_state::server::{Acceptance, AckError, Acknowledge, Config, Event, Receipt, Session};
use mqtt_state::{CloseCause, InputWaits, ProtocolError};

use super::{events, open};
use crate::recorded::Connection;
use crate::wire::{Peer, V3_1_1, V5_0, connect, publish, pubrel, text};

fn manual() -> Config {
    Config {
        acknowledge: Acknowledge::Manual,
        receive_maximum: 3,
        ..Config::default()
    }
}

fn served(peer: &Peer) -> Connection {
    let mut connection = open(peer, manual(), Some(Session::new()));
    peer.hear(&mut connection);
    connection
}

fn receipts(connection: &mut Connection) -> Vec<Receipt> {
    let events = events(connection).into_iter();
    events
        .filter_map(|event| match event {
            Event::Publish { receipt, .. } => receipt,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn again(qos: QoS, value: u16) -> Publish<'static> {
    let mut again = publish("t", "m", qos, value);
    again.delivery = match again.delivery {
        Delivery::ExactlyOnce { id, .. } => Delivery::ExactlyOnce { id, dup: true },
        Delivery::AtLeastOnce { id, .. } => Delivery::AtLeastOnce { id, dup: true },
        Delivery::AtMostOnce => Delivery::AtMostOnce,
    };
    again
}

#[test]
fn answers_go_out_in_the_order_of_the_messages() {
    // [5:MQTT-4.6.0-2] [3:MQTT-4.6.0-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3]
    for (qos, name) in [(QoS::AtLeastOnce, "PUBACK"), (QoS::ExactlyOnce, "PUBREC")] {
        for version in [V3_1_1, V5_0] {
            let peer = Peer::new(version);
            let mut connection = served(&peer);
            for value in [5, 6, 7] {
                assert_eq!(
                    peer.ask(&mut connection, publish("t", "m", qos, value)),
                    [""; 0]
                );
            }
            let [first, second, third] = receipts(&mut connection)[..] else {
                panic!("three messages");
            };
            connection.ack(peer.now, third).unwrap();
            assert_eq!(peer.hear(&mut connection), [""; 0], "{name} {version}");
            connection.ack(peer.now, first).unwrap();
            assert_eq!(peer.hear(&mut connection), [format!("{name} 5 00")]);
            assert_eq!(connection.session().unacknowledged_len(), 2);
            connection.ack(peer.now, second).unwrap();
            assert_eq!(
                peer.hear(&mut connection),
                [format!("{name} 6 00"), format!("{name} 7 00")]
            );
            assert_eq!(connection.ack(peer.now, first), Err(AckError::Stale));
        }
    }
}

#[test]
fn a_refusal_says_why_and_ends_the_flow() {
    // [5:MQTT-4.3.3-9] [5:MQTT-4.4.0-2]
    let peer = Peer::new(V5_0);
    let mut connection = served(&peer);
    let words = AckProperties {
        reason_string: Some(text("full")),
        ..AckProperties::default()
    };
    for (qos, value, packet) in [(QoS::AtLeastOnce, 5_u8, 0x40), (QoS::ExactlyOnce, 6, 0x50)] {
        peer.say(&mut connection, publish("t", "m", qos, value.into()));
        let [receipt] = receipts(&mut connection)[..] else {
            panic!("one message");
        };
        let success = PublishReason::Success;
        let none = connection.reject_publish(peer.now, receipt, success, words);
        assert_eq!(none, Err(AckError::NotARefusal));
        let reason = PublishReason::QuotaExceeded;
        connection
            .reject_publish(peer.now, receipt, reason, words)
            .unwrap();
        let (bytes, _) = peer.hear_bytes(&mut connection);
        let expected = [&[packet, 11, 0, value, 0x97, 7, 0x1F, 0, 4][..], b"full"].concat();
        assert_eq!(bytes, expected);
        // The identifier is free: the same one is a new message.
        peer.say(&mut connection, publish("t", "m", qos, value.into()));
        let [receipt] = receipts(&mut connection)[..] else {
            panic!("a new message");
        };
        connection.ack(peer.now, receipt).unwrap();
        peer.hear(&mut connection);
    }
}

#[test]
fn a_success_may_say_that_nobody_listens() {
    // [5:MQTT-3.4.2-1] [5:MQTT-3.5.2-1]
    for (version, expected) in [
        (V5_0, ["PUBACK 5 10", "PUBREC 6 10"]),
        (V3_1_1, ["PUBACK 5 00", "PUBREC 6 00"]),
    ] {
        let peer = Peer::new(version);
        let mut connection = served(&peer);
        peer.say(&mut connection, publish("t", "m", QoS::AtLeastOnce, 5));
        peer.say(&mut connection, publish("t", "m", QoS::ExactlyOnce, 6));
        let none = AckProperties::default();
        for receipt in receipts(&mut connection) {
            let refusal = PublishReason::NotAuthorized;
            let refused = connection.ack_with(peer.now, receipt, refusal, none);
            assert_eq!(refused, Err(AckError::NotASuccess));
            let reason = PublishReason::NoMatchingSubscribers;
            connection
                .ack_with(peer.now, receipt, reason, none)
                .unwrap();
        }
        assert_eq!(peer.hear(&mut connection), expected);
        // The second one is owned: its repetition is none of the owner's business.
        let again = peer.ask(&mut connection, again(QoS::ExactlyOnce, 6));
        assert_eq!(again, ["PUBREC 6 00"]);
        assert_eq!(events(&mut connection), []);
    }
}

#[test]
fn v3_knows_no_refusal() {
    let peer = Peer::new(V3_1_1);
    let mut connection = served(&peer);
    peer.say(&mut connection, publish("t", "m", QoS::AtLeastOnce, 5));
    let [receipt] = receipts(&mut connection)[..] else {
        panic!("one message");
    };
    let reason = PublishReason::NotAuthorized;
    let refused = connection.reject_publish(peer.now, receipt, reason, AckProperties::default());
    assert_eq!(refused, Err(AckError::NotInVersion));
    connection.ack(peer.now, receipt).unwrap();
    assert_eq!(peer.hear(&mut connection), ["PUBACK 5 00"]);
}

#[test]
fn a_qos_1_message_comes_again_and_a_qos_2_message_does_not() {
    // [5:MQTT-4.3.2-5] [3:MQTT-4.3.2-2] [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2]
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let mut first = served(&peer);
        peer.say(&mut first, publish("t", "m", QoS::AtLeastOnce, 5));
        peer.say(&mut first, publish("t", "m", QoS::ExactlyOnce, 6));
        peer.say(&mut first, publish("t", "m", QoS::ExactlyOnce, 7));
        let [once, twice, late] = receipts(&mut first)[..] else {
            panic!("three messages");
        };
        first.handle_close(peer.now);
        events(&mut first);
        assert_eq!(first.ack(peer.now, once), Err(AckError::Stale));
        // Whenever it is answered, with or without a connection.
        first.ack(peer.now, twice).unwrap();

        let mut second = open(&peer, manual(), first.into_session());
        peer.hear(&mut second);
        assert_eq!(peer.ask(&mut second, again(QoS::AtLeastOnce, 5)), [""; 0]);
        assert_eq!(receipts(&mut second).len(), 1, "QoS 1 comes again");
        assert_eq!(
            peer.ask(&mut second, again(QoS::ExactlyOnce, 6)),
            ["PUBREC 6 00"],
            "{version}"
        );
        assert_eq!(peer.ask(&mut second, again(QoS::ExactlyOnce, 7)), [""; 0]);
        assert_eq!(events(&mut second), [], "QoS 2 does not");
        second.ack(peer.now, late).unwrap();
        assert_eq!(peer.hear(&mut second), ["PUBREC 7 00"]);
        assert_eq!(peer.ask(&mut second, pubrel(7)), ["PUBCOMP 7 00"]);
    }
}

/// While its client is away, a message is answered in the session, in whatever words; they are said when it is
/// asked again.
#[test]
fn a_message_is_refused_while_its_client_is_away() {
    // [5:MQTT-4.3.3-9] [5:MQTT-4.4.0-2]
    type Said = Result<(), AckError>;
    type Say = fn(&mut Session, Receipt) -> Said;
    type Row = (&'static str, Say, Said, &'static [u8]);
    const REFUSAL: PublishReason = PublishReason::NotAuthorized;
    const TAKEN: &[u8] = &[0x50, 2, 0, 6];
    const REFUSED: &[u8] = &[0x50, 3, 0, 6, 0x87];
    const NONE: &[u8] = &[];
    let rows: [Row; 7] = [
        ("taken", |it, of| it.ack(of), Ok(()), TAKEN),
        (
            "taken by nobody",
            |it, of| {
                let reason = PublishReason::NoMatchingSubscribers;
                it.ack_with(of, reason, AckProperties::default())
            },
            Ok(()),
            &[0x50, 3, 0, 6, 0x10],
        ),
        (
            "refused",
            |it, of| it.reject_publish(of, REFUSAL, AckProperties::default()),
            Ok(()),
            REFUSED,
        ),
        (
            "refused, and why",
            |it, of| {
                let properties = AckProperties {
                    reason_string: Some(text("no")),
                    ..AckProperties::default()
                };
                it.reject_publish(of, REFUSAL, properties)
            },
            Ok(()),
            b"\x50\x09\0\x06\x87\x05\x1f\0\x02no",
        ),
        (
            "refused with a success",
            |it, of| it.reject_publish(of, PublishReason::Success, AckProperties::default()),
            Err(AckError::NotARefusal),
            NONE,
        ),
        (
            "taken with a refusal",
            |it, of| it.ack_with(of, REFUSAL, AckProperties::default()),
            Err(AckError::NotASuccess),
            NONE,
        ),
        (
            "answered twice",
            |it, of| {
                it.reject_publish(of, REFUSAL, AckProperties::default())?;
                it.ack(of)
            },
            Err(AckError::Stale),
            REFUSED,
        ),
    ];
    for (row, say, expected, in_5) in rows {
        // 3.1.1 has no words, and knows no refusal.
        let in_3 = if in_5.is_empty() { NONE } else { TAKEN };
        for (version, pubrec) in [(V5_0, in_5), (V3_1_1, in_3)] {
            let peer = Peer::new(version);
            let mut first = served(&peer);
            peer.say(&mut first, publish("t", "m", QoS::ExactlyOnce, 6));
            let [receipt] = receipts(&mut first)[..] else {
                panic!("one message");
            };
            first.handle_close(peer.now);
            events(&mut first);
            let mut session = first.into_session().unwrap();
            assert_eq!(say(&mut session, receipt), expected, "{row}");

            let mut second = open(&peer, manual(), Some(session));
            peer.hear(&mut second);
            peer.say(&mut second, again(QoS::ExactlyOnce, 6));
            assert_eq!(peer.hear_bytes(&mut second).0, pubrec, "{row}, {version}");
            assert_eq!(events(&mut second), [], "{row}, {version}: not twice");
            if pubrec.get(4).is_some_and(|reason| *reason >= 0x80) {
                // It is over, and its identifier is a new message.
                peer.say(&mut second, publish("t", "m", QoS::ExactlyOnce, 6));
                assert_eq!(receipts(&mut second).len(), 1, "{row}");
            } else if !pubrec.is_empty() {
                assert_eq!(peer.ask(&mut second, pubrel(6)), ["PUBCOMP 6 00"], "{row}");
            }
        }
    }
}

#[test]
fn who_does_not_wait_for_answers_breaks_the_receive_maximum() {
    // [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9]
    let peer = Peer::new(V5_0);
    let mut connection = served(&peer);
    for value in 1..=3 {
        peer.say(&mut connection, publish("t", "m", QoS::AtLeastOnce, value));
    }
    receipts(&mut connection);
    assert_eq!(
        peer.ask(&mut connection, publish("t", "m", QoS::AtLeastOnce, 4)),
        ["DISCONNECT 93", "close"]
    );
    let [Event::Closed { cause, .. }] = &events(&mut connection)[..] else {
        panic!("closed");
    };
    let error = ProtocolError::ReceiveMaximumExceeded { maximum: 3 };
    assert_eq!(*cause, CloseCause::ProtocolError(error));
}

#[test]
fn a_3_1_1_client_cannot_be_told_and_has_to_wait() {
    let peer = Peer::new(V3_1_1);
    let mut connection = served(&peer);
    for value in 1..=3 {
        peer.say(&mut connection, publish("t", "m", QoS::AtLeastOnce, value));
    }
    let receipts = receipts(&mut connection);
    assert!(!connection.wants_input());
    let waits = connection.explain().input;
    assert_eq!(waits, Some(InputWaits::ForAcknowledgement));
    let taken = connection.handle_input(peer.now, &[0xC0, 0]);
    assert_eq!(taken.bytes, 0);
    // Any of them makes room, whether or not it is its turn.
    connection.ack(peer.now, receipts[1]).unwrap();
    assert!(connection.wants_input());
    connection.ack(peer.now, receipts[0]).unwrap();
    assert_eq!(peer.hear(&mut connection), ["PUBACK 1 00", "PUBACK 2 00"]);
}

#[test]
fn a_payload_above_the_limit_is_refused_by_itself() {
    for acknowledge in [Acknowledge::Automatic, Acknowledge::Manual] {
        for (version, qos, expected) in [
            (V5_0, QoS::AtMostOnce, None),
            (V5_0, QoS::AtLeastOnce, Some("PUBACK 5 97")),
            (V5_0, QoS::ExactlyOnce, Some("PUBREC 5 97")),
            (V3_1_1, QoS::AtLeastOnce, Some("PUBACK 5 00")),
            (V3_1_1, QoS::ExactlyOnce, Some("PUBREC 5 00")),
        ] {
            let peer = Peer::new(version);
            let config = Config {
                acknowledge,
                payload_size_max: Some(3),
                ..Config::default()
            };
            let mut connection = open(&peer, config, None);
            peer.hear(&mut connection);
            let heard = peer.ask(&mut connection, publish("t", "four", qos, 5));
            assert_eq!(heard, Vec::from_iter(expected), "{version} {qos:?}");
            assert_eq!(events(&mut connection), []);
            peer.say(&mut connection, publish("t", "two", qos, 6));
            assert_eq!(events(&mut connection).len(), 1);
        }
    }
}

#[test]
fn an_identifier_that_is_in_use_is_refused() {
    // Section 7.6: QoS 1 with the identifier of a QoS 2 message that is not released.
    let peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), None);
    peer.hear(&mut connection);
    peer.ask(&mut connection, publish("t", "two", QoS::ExactlyOnce, 9));
    events(&mut connection);
    assert_eq!(
        peer.ask(&mut connection, publish("t", "one", QoS::AtLeastOnce, 9)),
        ["PUBACK 9 91"]
    );
    assert_eq!(events(&mut connection), []);
    assert_eq!(peer.ask(&mut connection, pubrel(9)), ["PUBCOMP 9 00"]);
}

/// A client that forgets what it has sent gets no more room with each connection.
#[test]
fn what_waits_to_be_sent_again_is_bounded_over_all_connections() {
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let (mut session, mut ids, mut cause) = (Some(Session::new()), 1.., None);
        for _ in 0..20 {
            let config = Config {
                receive_maximum_v3: 3,
                ..manual()
            };
            let mut connection = open(&peer, config, session);
            peer.hear(&mut connection);
            for value in ids.by_ref().take(3) {
                peer.say(&mut connection, publish("t", "m", QoS::ExactlyOnce, value));
            }
            connection.handle_close(peer.now);
            for event in events(&mut connection) {
                match event {
                    Event::Publish { receipt, .. } => {
                        let acknowledged = connection.ack(peer.now, receipt.unwrap());
                        assert_eq!(acknowledged, Ok(()), "kept until it comes again");
                    }
                    Event::Closed { cause: why, .. } => cause = Some(why),
                    other => panic!("{other:?}"),
                }
            }
            session = connection.into_session();
            if cause != Some(CloseCause::ConnectionLost) {
                break;
            }
        }
        let maximum = ProtocolError::ReceiveMaximumExceeded { maximum: 3 };
        assert_eq!(cause, Some(CloseCause::ProtocolError(maximum)), "{version}");
        let len = session.map(|session| session.unacknowledged_len());
        assert_eq!(len, Some(16), "{version}");
    }
}

/// A message that is too large is refused in its turn.
#[test]
fn what_is_too_large_is_answered_behind_what_came_before() {
    // Server: [5:MQTT-4.6.0-2] [3:MQTT-4.6.0-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3]
    let config = Config {
        payload_size_max: Some(1),
        ..manual()
    };
    for (qos, name) in [(QoS::AtLeastOnce, "PUBACK"), (QoS::ExactlyOnce, "PUBREC")] {
        for (version, refused) in [(V3_1_1, "00"), (V5_0, "97")] {
            let peer = Peer::new(version);
            let mut connection = open(&peer, config.clone(), Some(Session::new()));
            peer.hear(&mut connection);
            peer.say(&mut connection, publish("t", "m", qos, 1));
            let heard = peer.ask(&mut connection, publish("t", "mm", qos, 2));
            assert_eq!(heard, [""; 0], "{version} {name}: the first has no answer");
            let [first] = receipts(&mut connection)[..] else {
                panic!("one message");
            };
            connection.ack(peer.now, first).unwrap();
            let expected = [format!("{name} 1 00"), format!("{name} 2 {refused}")];
            assert_eq!(peer.hear(&mut connection), expected, "{version}");
            let heard = peer.ask(&mut connection, publish("t", "mm", qos, 3));
            assert_eq!(heard, [format!("{name} 3 {refused}")], "{version}");
            assert_eq!(connection.session().unacknowledged_len(), 0, "{version}");
        }
    }
}

/// Nobody knows whether a client is silent whose input is not taken.
#[test]
fn who_is_kept_waiting_by_the_owner_is_not_silent() {
    for (row, config) in [
        (
            "events wait",
            Config {
                events_max: 3,
                ..Config::default()
            },
        ),
        (
            "answers wait",
            Config {
                receive_maximum_v3: 3,
                ..manual()
            },
        ),
    ] {
        let is_manual = row == "answers wait";
        let mut peer = Peer::new(V3_1_1);
        let mut connection = Connection::new(peer.now, config);
        let mut packet = connect(V3_1_1, "c");
        packet.keep_alive_secs = 10;
        peer.say(&mut connection, packet);
        connection.accept(peer.now, Acceptance::default()).unwrap();
        peer.hear(&mut connection);
        events(&mut connection);
        for value in 1..=3 {
            peer.say(&mut connection, publish("t", "m", QoS::AtLeastOnce, value));
        }
        let held = if is_manual {
            receipts(&mut connection)
        } else {
            Vec::new()
        };
        assert!(!connection.wants_input(), "{row}");
        let start = peer.now;
        for secs in 1..50 {
            peer.now = start + Duration::from_secs(secs);
            let taken = connection.handle_input(peer.now, &[0xC0, 0]);
            assert_eq!(taken.bytes, 0, "{row}");
            connection.handle_timeout(peer.now);
            let due = connection.poll_timeout().map(|due| due.at);
            assert!(due.is_some_and(|due| due > peer.now), "{row}, {secs} s");
        }
        for receipt in held {
            connection.ack(peer.now, receipt).unwrap();
        }
        events(&mut connection);
        peer.hear(&mut connection);
        assert_eq!(peer.ask(&mut connection, Packet::PingReq), ["PINGRESP"]);
        peer.now = peer.now + Duration::from_secs(15);
        connection.handle_timeout(peer.now);
        assert_eq!(peer.hear(&mut connection), ["close"], "{row}: now it is");
    }
}
