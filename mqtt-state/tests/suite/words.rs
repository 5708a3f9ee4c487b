//! What people read: errors and causes, in words.

use mqtt_codec::{
    ConnectReason, DisconnectReason, Message, PacketType, ProtocolVersion, QoS, SubscribeFilter,
};
use mqtt_state::broker::{self, AcceptError, Config as BrokerConfig, JoinError};
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
        (
            not_subscribed.to_string(),
            "not connected: requests do not wait for a connection",
        ),
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
        (
            JoinError::NotConfigured.to_string(),
            "this broker is not made to be joined",
        ),
        (
            JoinError::SameBroker.to_string(),
            "the other broker has the same name",
        ),
        (JoinError::TooManyBrokers.to_string(), "too many brokers"),
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
            CloseCause::Disconnected(DisconnectReason::NormalDisconnection),
            "disconnected: Normal disconnection (0x00)",
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

/// Why a command was not carried out, for each command and each reason.
#[test]
fn every_refusal_of_a_command_is_a_sentence() {
    use mqtt_codec::EncodeError::PacketTooLarge;
    use mqtt_state::client::{
        AckError, AuthenticateError, ConnectError, DisconnectError, PublishErrorKind, RequestError,
        RestoreError,
    };
    let too_large = PacketTooLarge { size: 7 };
    let not_shared = mqtt_codec::TopicFilter::new("$share/g").unwrap();
    let not_shared = not_shared.shared().unwrap_err();
    #[rustfmt::skip]
    let rows: [(&dyn core::fmt::Display, &str); 53] = [
        (&ConnectError::AlreadyConnected, "a connection exists already"),
        (&ConnectError::EventsFull, "too many events wait to be fetched"),
        (&ConnectError::Encode(too_large), "CONNECT: a packet of 7 bytes is too large"),
        (&DisconnectError::NotConnected, "there is no connection"),
        (&DisconnectError::SessionExpiryRaised, "the session expiry cannot be raised after CONNECT had none"),
        (&AuthenticateError::NoMethod, "CONNECT had no authentication method"),
        (&AuthenticateError::NotAsked, "the server has not asked"),
        (&AuthenticateError::Busy, "an authentication goes on already"),
        (&AuthenticateError::NotConnected, "not connected"),
        (&AuthenticateError::Encode(too_large), "AUTH: a packet of 7 bytes is too large"),
        (&PublishErrorKind::QueueFull, "the queue of waiting messages is full"),
        (&PublishErrorKind::TooLarge { packet_size_max: 9 }, "the packet would be larger than the 9 bytes that the server takes"),
        (&PublishErrorKind::QoSNotSupported { maximum: QoS::AtLeastOnce }, "the server takes at most QoS 1"),
        (&PublishErrorKind::RetainNotSupported, "the server does not retain messages"),
        (&PublishErrorKind::SubscriptionIds, "only a server may send subscription identifiers"),
        (&RequestError::NotConnected, "not connected: requests do not wait for a connection"),
        (&RequestError::Filters, "the request has no filter"),
        (&RequestError::SharedFilter(not_shared), "the name of a group must be followed by '/' and a filter, but none stands at byte 8"),
        (&RequestError::SharedWithNoLocal, "a shared subscription cannot have No Local"),
        (&RequestError::WildcardSubscriptionsNotSupported, "the server takes no wildcard subscriptions"),
        (&RequestError::SubscriptionIdsNotSupported, "the server takes no subscription identifiers"),
        (&RequestError::SharedSubscriptionsNotSupported, "the server takes no shared subscriptions"),
        (&RequestError::TooManySubscriptions, "more subscriptions than this client keeps"),
        (&RequestError::PacketIdsExhausted, "all packet identifiers are in use"),
        (&RequestError::Busy, "too much waits for the server to read or to answer"),
        (&RequestError::Encode(too_large), "a packet of 7 bytes is too large"),
        (&RestoreError::UnknownForm { form: 9 }, "form 9 of a session is not known"),
        (&RestoreError::PacketIdTwice, "a packet identifier stands twice"),
        (&RestoreError::Token, "a token stands twice or was never given out"),
        (&RestoreError::QoS0InFlight, "a message in flight has QoS 0"),
        (&RestoreError::TooMuch, "more messages than are kept"),
        (&RestoreError::Subscriptions, "an invalid filter, or one twice, or too many of them"),
        (&RestoreError::SubscriptionIds, "a message has subscription identifiers, which only a server may send"),
        (&AckError::Stale, "the message is not waiting for an acknowledgement"),
        (&AckError::NotInVersion, "3.1.1 knows no refusal of a message"),
        (&AckError::NotARefusal, "the reason code is a success"),
        (&AckError::NotASuccess, "the reason code is that of a refusal"),
        (&AckError::NotAccepted, "the client has not been accepted"),
        (&CommandError::WrongState, "the connection is not in a state for this command"),
        (&CommandError::Over, "the connection is over"),
        (&CommandError::ClientId, "the assigned client identifier is no string of MQTT"),
        (&CommandError::Text, "a text is no string of MQTT"),
        (&CommandError::Answered, "the request was answered before"),
        (&CommandError::Reasons, "the reason codes do not fit the request"),
        (&CommandError::AnswerTooLarge, "the answer is larger than the client takes"),
        (&broker::RestoreError::OtherKind, "the value is none that its key can have"),
        (&broker::RestoreError::Missing, "it refers to something that is not there"),
        (&broker::RestoreError::Twice, "it stands twice"),
        (&broker::RestoreError::Limit, "there is no room for it"),
        (&broker::RestoreError::Filter, "its filter is none"),
        (&broker::RestoreError::State, "its state does not go with its QoS"),
        (&broker::Stale, "the decision is not waited for any more"),
        (&AcceptError::TooManyConnections, "too many connections"),
    ];
    for (error, expected) in rows {
        assert_eq!(error.to_string(), expected);
    }
    let mut connection = Connection::new(Timestamp::ZERO, ServerConfig::default());
    let refused = connection.accept(Timestamp::ZERO, Acceptance::default());
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the connection is not in a state for this command"
    );
}

/// What a machine waits for, in one sentence.
#[test]
fn explanations_say_what_is_waited_for() {
    use mqtt_state::{InputWaits as Input, OutputWaits as Output};
    let mut explanation = Client::new(Config::default()).explain();
    (explanation.waiting_len, explanation.in_flight_len) = (3, 2);
    explanation.send_quota = 4;
    explanation.timeout = None;
    let front = "3 messages wait, 2 are in flight, 4 more may go";
    #[rustfmt::skip]
    let rows = [
        (None, None, ""),
        (Some(Output::ForConnection), None, "; there is no connection"),
        (Some(Output::ForAcknowledgement), None, "; the peer has to acknowledge first"),
        (Some(Output::ForPoll), None, "; output has to be polled"),
        (Some(Output::ForStore), None, "; the journal has to be stored first"),
        (Some(Output::ForEvents), None, "; events have to be fetched first"),
        (None, Some(Input::ForEvents), "; no input is taken until events are fetched"),
        (None, Some(Input::ForJournal), "; no input is taken until the journal is fetched"),
        (None, Some(Input::ForAnswers), "; no input is taken until the peer reads its answers"),
        (None, Some(Input::ForDecision), "; no input is taken until what was asked is decided"),
        (None, Some(Input::ForTime), "; no input is taken because it came too fast"),
        (None, Some(Input::ForAcknowledgement), "; no input is taken until messages are acknowledged"),
        (None, Some(Input::ForReceivers), "; no input is taken until a message has reached all who get it"),
        (Some(Output::ForPoll), Some(Input::ForEvents), "; output has to be polled; no input is taken until events are fetched"),
    ];
    for (output, input, expected) in rows {
        (explanation.output, explanation.input) = (output, input);
        assert_eq!(
            explanation.to_string(),
            format!("{front}{expected}; no deadline")
        );
    }
}
