//! Messages that the application acknowledges, in any order and across connections.

use mqtt_codec::{
    AckProperties, Connect, Delivery, Packet, ProtocolVersion, Publish, PublishReason, QoS,
    UserProperties,
};
use mqtt_state::client::{AckError, Acknowledge, Config, Event, Receipt};
use mqtt_state::{CloseCause, ProtocolError};

use crate::recorded::Client;
use crate::wire::{Peer, V3_1_1, V5_0, connack, name, publish, pubrel, text};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];
const QOS1: QoS = QoS::AtLeastOnce;
const QOS2: QoS = QoS::ExactlyOnce;

/// A client that keeps its session, and leaves acknowledging to the application.
fn manual(version: ProtocolVersion) -> (Client, Peer) {
    let config = Config {
        acknowledge: Acknowledge::Manual,
        receive_maximum: 3,
        ..Config::default()
    };
    let (mut client, peer) = (Client::new(config), Peer::new(version));
    reconnect(&mut client, &peer, false);
    (client, peer)
}

fn reconnect(client: &mut Client, peer: &Peer, session_present: bool) {
    client.handle_close(peer.now);
    let mut connect = Connect::new(peer.version, text("c"));
    connect.clean_start = false;
    if peer.version == V5_0 {
        connect.properties.session_expiry_secs = Some(1000);
    }
    client.connect(peer.now, &connect).unwrap();
    peer.hear(client);
    peer.say(client, connack(session_present));
    while client.poll_event().is_some() {}
}

/// The receipts of the messages among the events, with their payloads.
fn receipts(client: &mut Client) -> Vec<(String, Receipt)> {
    core::iter::from_fn(|| client.poll_event())
        .filter_map(|event| match event {
            Event::Message {
                message, receipt, ..
            } => {
                let payload = String::from_utf8_lossy(message.payload()).into_owned();
                Some((payload, receipt.unwrap()))
            }
            _ => None,
        })
        .collect()
}

fn again<'p>(payload: &'p str, qos: QoS, id: u16) -> Publish<'p> {
    let mut publish = publish("t", payload, qos, id);
    match &mut publish.delivery {
        Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => *dup = true,
        Delivery::AtMostOnce => {}
    }
    publish
}

#[test]
fn answers_go_out_in_the_order_of_the_messages() {
    // [5:MQTT-4.6.0-2] [3:MQTT-4.6.0-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3]
    for version in VERSIONS {
        for (qos, answer) in [(QOS1, "PUBACK"), (QOS2, "PUBREC")] {
            let (mut client, peer) = manual(version);
            for id in 1..=3 {
                assert_eq!(
                    peer.ask(&mut client, publish("t", "m", qos, id)),
                    [""; 0],
                    "nothing before the application has spoken"
                );
            }
            let receipts = receipts(&mut client);
            let mut ack = |place: usize| {
                let (_, receipt) = receipts[place];
                client.ack(peer.now, receipt).unwrap();
                (peer.hear(&mut client), client.unacknowledged_len())
            };
            assert_eq!(ack(2), (vec![], 3), "{version}: two are before it");
            assert_eq!(ack(0), (vec![format!("{answer} 1 00")], 2), "{version}");
            let rest = vec![format!("{answer} 2 00"), format!("{answer} 3 00")];
            assert_eq!(ack(1), (rest, 0), "{version}");
        }
    }
}

#[test]
fn each_qos_has_an_order_of_its_own_and_qos_0_needs_no_answer() {
    let (mut client, peer) = manual(V5_0);
    peer.say(&mut client, publish("t", "0", QoS::AtMostOnce, 0));
    let event = client.poll_event();
    assert!(matches!(event, Some(Event::Message { receipt: None, .. })));
    peer.say(&mut client, publish("t", "2", QOS2, 1));
    peer.say(&mut client, publish("t", "1", QOS1, 2));
    let receipts = receipts(&mut client);
    client.ack(peer.now, receipts[1].1).unwrap();
    assert_eq!(peer.hear(&mut client), ["PUBACK 2 00"]);
    client.ack(peer.now, receipts[0].1).unwrap();
    assert_eq!(peer.hear(&mut client), ["PUBREC 1 00"]);
    assert_eq!(peer.ask(&mut client, pubrel(1)), ["PUBCOMP 1 00"]);
}

#[test]
fn who_takes_a_message_may_say_something_about_it() {
    for (qos, answer) in [(QOS1, "PUBACK 1 00"), (QOS2, "PUBREC 1 00")] {
        for version in VERSIONS {
            let (mut client, peer) = manual(version);
            peer.say(&mut client, publish("t", "m", qos, 1));
            let (_, receipt) = receipts(&mut client)[0];
            let properties = AckProperties {
                reason_string: Some(text("thanks")),
                user_properties: UserProperties::default(),
            };
            client.ack_with(peer.now, receipt, properties).unwrap();
            let (bytes, _) = peer.hear_bytes(&mut client);
            assert_eq!(bytes.ends_with(b"thanks"), version == V5_0, "{bytes:?}");
            assert_eq!(crate::wire::show_all(&bytes, version), [answer]);
            let twice = client.ack_with(peer.now, receipt, properties);
            assert_eq!(twice, Err(AckError::Stale), "{version}");
        }
    }
}

#[test]
fn a_refusal_says_why_and_ends_the_flow() {
    for (qos, answer) in [(QOS1, "PUBACK 1 97"), (QOS2, "PUBREC 1 97")] {
        let (mut client, peer) = manual(V5_0);
        peer.say(&mut client, publish("t", "m", qos, 1));
        let (_, receipt) = receipts(&mut client)[0];
        let properties = AckProperties {
            reason_string: Some(text("full")),
            user_properties: UserProperties::default(),
        };
        let reason = PublishReason::QuotaExceeded;
        client
            .reject(peer.now, receipt, reason, properties)
            .unwrap();
        let (bytes, _) = peer.hear_bytes(&mut client);
        assert!(bytes.ends_with(b"full"), "{bytes:?}");
        assert_eq!(crate::wire::show_all(&bytes, V5_0), [answer]);
        // Client: [5:MQTT-4.3.3-9] The identifier is a new message from now on.
        peer.say(&mut client, publish("t", "n", qos, 1));
        assert_eq!(receipts(&mut client)[0].0, "n", "{qos}");
    }
}

#[test]
fn what_cannot_be_answered_is_said() {
    let (mut client, peer) = manual(V3_1_1);
    peer.say(&mut client, publish("t", "m", QOS1, 1));
    let (_, receipt) = receipts(&mut client)[0];
    let mut reject = |reason| client.reject(peer.now, receipt, reason, AckProperties::default());
    assert_eq!(
        reject(PublishReason::QuotaExceeded),
        Err(AckError::NotInVersion)
    );
    assert_eq!(reject(PublishReason::Success), Err(AckError::NotARefusal));
    client.ack(peer.now, receipt).unwrap();
    assert_eq!(client.ack(peer.now, receipt), Err(AckError::Stale), "twice");
}

#[test]
fn a_qos_1_message_comes_again_after_a_reconnect() {
    for version in VERSIONS {
        let (mut client, peer) = manual(version);
        peer.say(&mut client, publish("t", "m", QOS1, 1));
        let (_, old) = receipts(&mut client)[0];
        reconnect(&mut client, &peer, true);
        assert_eq!(client.ack(peer.now, old), Err(AckError::Stale), "{version}");
        peer.say(&mut client, again("m", QOS1, 1));
        let (payload, new) = receipts(&mut client).remove(0);
        assert!(payload == "m" && new != old);
        client.ack(peer.now, new).unwrap();
        assert_eq!(peer.hear(&mut client), ["PUBACK 1 00"], "{version}");
    }
}

#[test]
fn a_qos_2_message_is_shown_once_whenever_its_answer_comes() {
    // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2]
    for version in VERSIONS {
        for answer in ["before the end", "while offline", "when it has come again"] {
            let (mut client, peer) = manual(version);
            // The first one keeps the answer to the second back.
            peer.say(&mut client, publish("t", "first", QOS2, 1));
            peer.say(&mut client, publish("t", "second", QOS2, 2));
            let receipts_of = receipts(&mut client);
            let (first, second) = (receipts_of[0].1, receipts_of[1].1);
            let row = format!("{version}, {answer}");
            if answer == "before the end" {
                client.ack(peer.now, second).unwrap();
            }
            client.handle_close(peer.now);
            if answer == "while offline" {
                client.ack(peer.now, second).unwrap();
            }
            reconnect(&mut client, &peer, true);
            assert_eq!(
                peer.ask(&mut client, again("first", QOS2, 1)),
                [""; 0],
                "{row}"
            );
            assert_eq!(
                peer.ask(&mut client, again("second", QOS2, 2)),
                [""; 0],
                "{row}"
            );
            assert_eq!(receipts(&mut client), [], "{row}: not shown again");
            if answer == "when it has come again" {
                client.ack(peer.now, second).unwrap();
            }
            client.ack(peer.now, first).unwrap();
            assert_eq!(
                peer.hear(&mut client),
                ["PUBREC 1 00", "PUBREC 2 00"],
                "{row}"
            );
            assert_eq!(peer.ask(&mut client, pubrel(2)), ["PUBCOMP 2 00"], "{row}");
        }
    }
}

#[test]
fn a_lost_session_ends_all_receipts() {
    let (mut client, peer) = manual(V5_0);
    peer.say(&mut client, publish("t", "m", QOS2, 1));
    let (_, old) = receipts(&mut client)[0];
    reconnect(&mut client, &peer, false);
    assert_eq!(client.ack(peer.now, old), Err(AckError::Stale));
    assert_eq!(client.unacknowledged_len(), 0);
    peer.say(&mut client, publish("t", "n", QOS2, 1));
    assert_eq!(
        receipts(&mut client)[0].0,
        "n",
        "the identifier is free again"
    );
}

#[test]
fn what_the_application_has_not_answered_counts_for_the_receive_maximum() {
    // [5:MQTT-3.3.4-9]
    let (mut client, peer) = manual(V5_0);
    for id in 1..=3 {
        peer.say(&mut client, publish("t", "m", QOS1, id));
    }
    let (_, first) = receipts(&mut client)[0];
    client.ack(peer.now, first).unwrap();
    peer.hear(&mut client);
    assert_eq!(peer.ask(&mut client, publish("t", "m", QOS1, 4)), [""; 0]);
    let over = peer.ask(&mut client, publish("t", "m", QOS1, 5));
    assert_eq!(over, ["DISCONNECT 93", "close"]);
    let closed = core::iter::from_fn(|| client.poll_event()).last();
    let exceeded = ProtocolError::ReceiveMaximumExceeded { maximum: 3 };
    assert!(matches!(
        closed,
        Some(Event::Closed { cause: CloseCause::ProtocolError(error), .. }) if error == exceeded
    ));
}

/// What an answer says beside its reason is left out where the server would not take it.
#[test]
fn a_refusal_too_large_for_the_server_goes_without_its_words() {
    // [5:MQTT-3.4.2-2]
    let (mut client, peer) = manual(V5_0);
    client.handle_close(peer.now);
    client
        .connect(peer.now, &Connect::new(V5_0, text("c")))
        .unwrap();
    peer.hear(&mut client);
    let mut small = connack(false);
    small.properties.packet_size_max = core::num::NonZeroU32::new(12);
    peer.say(&mut client, small);
    let publish = Publish {
        delivery: Delivery::AtLeastOnce {
            id: crate::wire::id(1),
            dup: false,
        },
        ..Publish::new(name("t"), b"m")
    };
    peer.say(&mut client, publish);
    let (_, receipt) = receipts(&mut client)[0];
    let properties = AckProperties {
        reason_string: Some(text("a long story")),
        ..AckProperties::default()
    };
    let reason = PublishReason::NotAuthorized;
    client
        .reject(peer.now, receipt, reason, properties)
        .unwrap();
    assert_eq!(peer.hear(&mut client), ["PUBACK 1 87"]);
}

/// The short way for what comes in a buffer that is shared is not for these.
#[test]
fn what_shares_its_buffer_waits_for_the_application_too() {
    for version in VERSIONS {
        for (qos, answer) in [(QOS1, "PUBACK 1 00"), (QOS2, "PUBREC 1 00")] {
            let (mut client, peer) = manual(version);
            let mut input = bytes::BytesMut::new();
            let packet = Packet::from(publish("t", "m", qos, 1));
            packet.encode_to(version, &mut input).unwrap();
            let size = input.len();
            let taken = client.handle_input_shared(peer.now, &mut input);
            assert_eq!(taken.bytes, size, "{version} {qos:?}");
            assert_eq!(peer.hear(&mut client), [""; 0], "{version} {qos:?}");
            let receipts = receipts(&mut client);
            assert_eq!(receipts.len(), 1, "{version} {qos:?}");
            for (_, receipt) in receipts {
                client.ack(peer.now, receipt).unwrap();
            }
            assert_eq!(peer.hear(&mut client), [answer], "{version} {qos:?}");
        }
    }
}
