//! What people read: errors and causes, in words.

use mqtt_codec::{DisconnectReason, Message, PacketType, ProtocolVersion, QoS, SubscribeFilter};
use mqtt_state::broker::{self, AcceptError, Broker, Config as BrokerConfig};
use mqtt_state::client::{Client, Config};
use mqtt_state::server::{Acceptance, CommandError, Config as ServerConfig, Connection};
use mqtt_state::{CloseCause, ProtocolError, Timestamp};

use crate::wire::{V3_1_1, V5_0, connect};

#[test]
fn commands_say_why_they_fail() {
    let now = Timestamp::from_millis(1500);
    let mut client = Client::new(Config {
        waiting_len_max: 0,
        ..Config::default()
    });
    let filters = [SubscribeFilter::new("t", QoS::AtMostOnce).unwrap()];
    let message = Message::new("house/light", "on").unwrap();
    let not_queued = client.publish(now, message.clone()).unwrap_err();
    let not_subscribed = client.subscribe(&filters).unwrap_err();
    let not_disconnected = client
        .disconnect(now, DisconnectReason::NormalDisconnection)
        .unwrap_err();
    client.connect(now, &connect(V5_0, "c")).unwrap();
    let not_connected = client.connect(now, &connect(V5_0, "c")).unwrap_err();
    let mut connection = Connection::new(
        now,
        ServerConfig {
            waiting_len_max: 0,
            ..ServerConfig::default()
        },
    );
    let too_early = connection.deliver(now, message.clone()).unwrap_err();
    let mut bytes = Vec::new();
    let packet = mqtt_codec::Packet::from(connect(V5_0, "c"));
    packet.encode_to(V5_0, &mut bytes).unwrap();
    let _all = connection.handle_input(now, &bytes);
    connection.accept(now, Acceptance::default()).unwrap();
    let not_delivered = connection.deliver(now, message).unwrap_err();
    let mut broker = Broker::new(BrokerConfig {
        connections_max: 0,
        ..BrokerConfig::default()
    });
    let rows = [
        (
            not_queued.to_string(),
            "cannot publish to house/light: the queue of waiting messages is full",
        ),
        (not_subscribed.to_string(), "not connected"),
        (not_disconnected.to_string(), "there is no connection"),
        (not_connected.to_string(), "a connection exists already"),
        (
            too_early.to_string(),
            "cannot deliver house/light: the client has not been accepted",
        ),
        (
            not_delivered.to_string(),
            "cannot deliver house/light: too much waits for this client",
        ),
        (
            broker
                .accept(now, broker::Peer::default())
                .unwrap_err()
                .to_string(),
            "too many connections",
        ),
        (
            AcceptError::TooManyConnections.to_string(),
            "too many connections",
        ),
        (
            CommandError::Reasons.to_string(),
            "the reason codes do not fit the request",
        ),
        (now.to_string(), "1.500s"),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
}

#[test]
fn causes_name_the_reason_and_its_code() {
    let taken_over = CloseCause::DisconnectedByPeer(DisconnectReason::SessionTakenOver);
    let second = CloseCause::ProtocolError(ProtocolError::SecondConnect);
    let rows = [
        (
            taken_over,
            "the peer disconnected: Session taken over (0x8E)",
        ),
        (
            second,
            "a second CONNECT on one connection; Protocol Error (0x82)",
        ),
        (CloseCause::ConnectionLost, "connection lost"),
    ];
    for (cause, expected) in rows {
        assert_eq!(cause.to_string(), expected);
    }
}

/// Faults, and the statements they break in 3.1.1 and in 5.0.
#[test]
fn faults_name_the_statement_in_each_numbering() {
    let rows = [
        (
            ProtocolError::SecondConnect,
            Some("MQTT-3.1.0-2"),
            Some("MQTT-3.1.0-2"),
        ),
        (
            ProtocolError::ReceiveMaximumExceeded { maximum: 1 },
            None,
            Some("MQTT-3.3.4-7"),
        ),
        (
            ProtocolError::UnexpectedPacket(PacketType::SubAck),
            None,
            None,
        ),
    ];
    for (error, v3, v5) in rows {
        let statements = [V3_1_1, V5_0].map(|version: ProtocolVersion| error.statement(version));
        assert_eq!(statements, [v3, v5], "{error}");
    }
    let error = mqtt_codec::decode(&[0xC0, 0x80, 0x00], V5_0, 100).unwrap_err();
    let of_codec = ProtocolError::from(error);
    assert_eq!(of_codec.statement(V5_0), Some("MQTT-1.5.5-1"));
    let source = core::error::Error::source(&of_codec).map(ToString::to_string);
    assert_eq!(source, Some(error.to_string()));
}
