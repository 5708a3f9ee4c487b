//! What people read: errors and causes, in words.

use mqtt_codec::{
    ConnectReason, DisconnectReason, Message, PacketType, ProtocolVersion, QoS, SubscribeFilter,
};
use mqtt_state::broker::{self, AcceptError, Config as BrokerConfig};
use mqtt_state::client::Config;
use mqtt_state::server::{Acceptance, CommandError, Config as ServerConfig};
use mqtt_state::{CloseCause, ProtocolError, Timestamp};

use crate::recorded::{Broker, Client, Connection};
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
        (
            CloseCause::Disconnected(DisconnectReason::ServerShuttingDown),
            "disconnected: Server shutting down (0x8B)",
        ),
        (
            CloseCause::Refused(ConnectReason::NotAuthorized),
            "connection refused: Not authorized (0x87)",
        ),
        (CloseCause::ConnectTimeout, "the handshake took too long"),
        (
            CloseCause::AuthenticationTimeout,
            "the authentication took too long",
        ),
        (CloseCause::PingTimeout, "no answer to PINGREQ"),
        (CloseCause::KeepAliveTimeout, "keep alive timeout"),
        (
            CloseCause::AnswerTooLarge,
            "an answer is larger than the peer takes",
        ),
    ];
    for (cause, expected) in rows {
        assert_eq!(cause.to_string(), expected);
    }
}

/// Every fault in a sentence, with the reason code of its answer in 5.0 and the statements it breaks
/// in 3.1.1 and in 5.0.
#[test]
fn faults_have_a_sentence_a_reason_code_and_their_statements() {
    use ProtocolError as Fault;
    let decode = mqtt_codec::decode(&[0xC0, 0x80, 0x00], V5_0, 100).unwrap_err();
    #[rustfmt::skip]
    let rows = [
        (Fault::Decode(decode), "PINGREQ: a variable byte integer has more bytes than it needs (remaining length at byte 1)", 0x81, Some("MQTT-1.5.5-1"), Some("MQTT-1.5.5-1")),
        (Fault::FirstPacketNotConnect(PacketType::PingReq), "the first packet was PINGREQ, not CONNECT", 0x82, Some("MQTT-3.1.0-1"), Some("MQTT-3.1.0-1")),
        (Fault::SecondConnect, "a second CONNECT on one connection", 0x82, Some("MQTT-3.1.0-2"), Some("MQTT-3.1.0-2")),
        (Fault::UnexpectedPacket(PacketType::SubAck), "SUBACK is not allowed here", 0x82, None, None),
        (Fault::ReceiveMaximumExceeded { maximum: 5 }, "more than 5 unacknowledged PUBLISH packets, the Receive Maximum", 0x93, None, Some("MQTT-3.3.4-7")),
        (Fault::TopicAliasOutOfRange { alias: 9, maximum: 8 }, "topic alias 9 is above the maximum of 8", 0x94, None, Some("MQTT-3.3.2-9")),
        (Fault::UnknownTopicAlias { alias: 9 }, "topic alias 9 was never set on this connection", 0x82, None, None),
        (Fault::AcknowledgementOfOtherFlow(PacketType::PubRec), "PUBREC for a packet identifier that is in use for something else", 0x82, None, None),
        (Fault::UnknownRequest(PacketType::UnsubAck), "UNSUBACK for a packet identifier without such a request", 0x82, None, None),
        (Fault::ReasonCountMismatch { packet_type: PacketType::SubAck, expected: 2, found: 3 }, "SUBACK with 3 reason codes for 2 filters", 0x82, None, None),
        (Fault::SubscriptionIdFromClient, "a Subscription Identifier in a client's PUBLISH", 0x82, None, Some("MQTT-3.3.4-6")),
        (Fault::QoSNotSupported(QoS::ExactlyOnce), "a PUBLISH with QoS 2, above the Maximum QoS", 0x9B, None, Some("MQTT-3.2.2-11")),
        (Fault::RetainNotSupported, "RETAIN, which this server does not support", 0x9A, None, Some("MQTT-3.2.2-14")),
        (Fault::WildcardSubscriptionsNotSupported, "a wildcard subscription, which this server does not support", 0xA2, None, None),
        (Fault::SubscriptionIdsNotSupported, "a Subscription Identifier, which this server does not support", 0xA1, None, None),
        (Fault::SharedSubscriptionsNotSupported, "a shared subscription, which this server does not support", 0x9E, None, None),
        (Fault::SessionExpiryRaised, "DISCONNECT sets a Session Expiry Interval, but CONNECT had none", 0x82, None, None),
        (Fault::SessionExpiryFromServer, "a Session Expiry Interval in a server's DISCONNECT", 0x82, None, Some("MQTT-3.14.2-2")),
        (Fault::UnwantedProblemInformation(PacketType::PubAck), "PUBACK with a reason string or user property that the client asked not to get", 0x82, None, Some("MQTT-3.1.2-29")),
        (Fault::UnknownSessionPresent, "Session Present, but this client has no such session", 0x82, None, Some("MQTT-3.2.2-4")),
        (Fault::UnexpectedAuthentication, "AUTH that does not belong here", 0x82, None, Some("MQTT-4.12.0-6")),
        (Fault::OtherAuthenticationMethod, "another authentication method than that of CONNECT", 0x82, None, Some("MQTT-4.12.0-5")),
        (Fault::TooManyAuthenticationRounds { maximum: 4 }, "more than 4 rounds of authentication", 0x83, None, None),
    ];
    for (fault, sentence, code, v3, v5) in rows {
        assert_eq!(fault.to_string(), sentence);
        assert_eq!(fault.reason_code().value(), code, "{sentence}");
        let statements = [V3_1_1, V5_0].map(|version: ProtocolVersion| fault.statement(version));
        assert_eq!(statements, [v3, v5], "{sentence}");
        let source = core::error::Error::source(&fault).map(ToString::to_string);
        let is_of_codec = fault == Fault::from(decode);
        assert_eq!(
            source,
            is_of_codec.then(|| decode.to_string()),
            "{sentence}"
        );
    }
}
