//! What ends a connection: a peer's faults, and the other causes.

use core::fmt;

use mqtt_codec::{
    ConnectReason, DecodeError, DisconnectReason, PacketType, ProtocolVersion, QoS, ReasonCode,
};

/// A fault of the peer: bytes or packets that the standard forbids. Fatal for the connection.
///
/// Faults of the caller are other types, one for each command, and harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The bytes are no packet that the standard allows.
    Decode(DecodeError),
    /// The first packet of a connection was not CONNECT.
    FirstPacketNotConnect(PacketType),
    /// A second CONNECT on one connection.
    SecondConnect,
    /// A packet that this role does not take, or not in this state.
    UnexpectedPacket(PacketType),
    /// More QoS 1 and 2 PUBLISH packets unacknowledged than the Receive Maximum allows.
    ReceiveMaximumExceeded {
        /// The maximum that was announced.
        maximum: u16,
    },
    /// A topic alias above the announced maximum.
    TopicAliasOutOfRange {
        /// The alias in the packet.
        alias: u16,
        /// The maximum that was announced.
        maximum: u16,
    },
    /// A topic alias without a topic, and nothing was ever set for it on this connection.
    UnknownTopicAlias {
        /// The alias in the packet.
        alias: u16,
    },
    /// An acknowledgement for an identifier that belongs to another kind of flow.
    AcknowledgementOfOtherFlow(PacketType),
    /// SUBACK or UNSUBACK for an identifier with no such request.
    UnknownRequest(PacketType),
    /// SUBACK or UNSUBACK with another number of reason codes than the request had filters.
    ReasonCountMismatch {
        /// SUBACK or UNSUBACK.
        packet_type: PacketType,
        /// Filters in the request.
        expected: usize,
        /// Reason codes in the answer.
        found: usize,
    },
    /// A client's PUBLISH with a Subscription Identifier.
    SubscriptionIdFromClient,
    /// A PUBLISH above the announced Maximum QoS.
    QoSNotSupported(QoS),
    /// A PUBLISH with RETAIN although the server announced that it does not retain.
    RetainNotSupported,
    /// A wildcard subscription although the server announced that it takes none.
    WildcardSubscriptionsNotSupported,
    /// A Subscription Identifier although the server announced that it takes none.
    SubscriptionIdsNotSupported,
    /// A shared subscription although the server announced that it takes none.
    SharedSubscriptionsNotSupported,
    /// DISCONNECT with a Session Expiry Interval above 0 after CONNECT had 0.
    SessionExpiryRaised,
    /// DISCONNECT of a server with a Session Expiry Interval.
    SessionExpiryFromServer,
    /// A reason string or user property in a packet that may not have one, since the client said
    /// Request Problem Information 0.
    UnwantedProblemInformation(PacketType),
    /// CONNACK says that a session is present, and this client has none: a program that has begun again without
    /// what it had stored connects with a clean start, or says
    /// [`assume_session`](crate::client::Client::assume_session) before.
    UnknownSessionPresent,
    /// AUTH, or a reason code of AUTH, that does not belong where an enhanced authentication is, or
    /// where none goes on.
    UnexpectedAuthentication,
    /// AUTH, or a CONNACK that accepts, without the authentication method of CONNECT.
    OtherAuthenticationMethod,
    /// More AUTH packets in one authentication than this side takes.
    TooManyAuthenticationRounds {
        /// What this side takes.
        maximum: u16,
    },
}

impl ProtocolError {
    /// The reason code to answer with, in 5.0.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason_code(),
            Self::ReceiveMaximumExceeded { .. } => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAliasOutOfRange { .. } => ReasonCode::TopicAliasInvalid,
            Self::QoSNotSupported(_) => ReasonCode::QoSNotSupported,
            Self::RetainNotSupported => ReasonCode::RetainNotSupported,
            Self::WildcardSubscriptionsNotSupported => {
                ReasonCode::WildcardSubscriptionsNotSupported
            }
            Self::SubscriptionIdsNotSupported => ReasonCode::SubscriptionIdsNotSupported,
            Self::SharedSubscriptionsNotSupported => ReasonCode::SharedSubscriptionsNotSupported,
            Self::FirstPacketNotConnect(_)
            | Self::SecondConnect
            | Self::UnexpectedPacket(_)
            | Self::UnknownTopicAlias { .. }
            | Self::AcknowledgementOfOtherFlow(_)
            | Self::UnknownRequest(_)
            | Self::ReasonCountMismatch { .. }
            | Self::SubscriptionIdFromClient
            | Self::SessionExpiryRaised
            | Self::SessionExpiryFromServer
            | Self::UnwantedProblemInformation(_)
            | Self::UnknownSessionPresent
            | Self::UnexpectedAuthentication
            | Self::OtherAuthenticationMethod => ReasonCode::ProtocolError,
            Self::TooManyAuthenticationRounds { .. } => ReasonCode::ImplementationSpecificError,
        }
    }

    /// The normative statement that the peer broke, where there is one.
    #[must_use]
    pub fn statement(&self, version: ProtocolVersion) -> Option<&'static str> {
        let (v3, v5) = match self {
            Self::Decode(error) => return error.statement(),
            Self::FirstPacketNotConnect(_) => (Some("MQTT-3.1.0-1"), Some("MQTT-3.1.0-1")),
            Self::SecondConnect => (Some("MQTT-3.1.0-2"), Some("MQTT-3.1.0-2")),
            Self::ReceiveMaximumExceeded { .. } => (None, Some("MQTT-3.3.4-7")),
            Self::TopicAliasOutOfRange { .. } => (None, Some("MQTT-3.3.2-9")),
            Self::SubscriptionIdFromClient => (None, Some("MQTT-3.3.4-6")),
            Self::QoSNotSupported(_) => (None, Some("MQTT-3.2.2-11")),
            Self::RetainNotSupported => (None, Some("MQTT-3.2.2-14")),
            Self::SessionExpiryFromServer => (None, Some("MQTT-3.14.2-2")),
            Self::UnwantedProblemInformation(_) => (None, Some("MQTT-3.1.2-29")),
            Self::UnknownSessionPresent => (None, Some("MQTT-3.2.2-4")),
            Self::UnexpectedAuthentication => (None, Some("MQTT-4.12.0-6")),
            Self::OtherAuthenticationMethod => (None, Some("MQTT-4.12.0-5")),
            Self::UnexpectedPacket(_)
            | Self::UnknownTopicAlias { .. }
            | Self::AcknowledgementOfOtherFlow(_)
            | Self::UnknownRequest(_)
            | Self::ReasonCountMismatch { .. }
            | Self::TooManyAuthenticationRounds { .. }
            | Self::WildcardSubscriptionsNotSupported
            | Self::SubscriptionIdsNotSupported
            | Self::SharedSubscriptionsNotSupported
            | Self::SessionExpiryRaised => (None, None),
        };
        match version {
            ProtocolVersion::V3_1_1 => v3,
            ProtocolVersion::V5_0 => v5,
        }
    }

    /// The reason for a DISCONNECT that answers this fault.
    pub(crate) fn disconnect_reason(&self) -> DisconnectReason {
        DisconnectReason::try_from(self.reason_code()).unwrap_or(DisconnectReason::ProtocolError)
    }
}

impl From<DecodeError> for ProtocolError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => write!(f, "{error}"),
            Self::FirstPacketNotConnect(packet) => {
                write!(f, "the first packet was {packet}, not CONNECT")
            }
            Self::SecondConnect => f.write_str("a second CONNECT on one connection"),
            Self::UnexpectedPacket(packet) => write!(f, "{packet} is not allowed here"),
            Self::ReceiveMaximumExceeded { maximum } => {
                write!(
                    f,
                    "more than {maximum} unacknowledged PUBLISH packets, the Receive Maximum"
                )
            }
            Self::TopicAliasOutOfRange { alias, maximum } => {
                write!(f, "topic alias {alias} is above the maximum of {maximum}")
            }
            Self::UnknownTopicAlias { alias } => {
                write!(f, "topic alias {alias} was never set on this connection")
            }
            Self::AcknowledgementOfOtherFlow(packet) => {
                write!(
                    f,
                    "{packet} for a packet identifier that is in use for something else"
                )
            }
            Self::UnknownRequest(packet) => {
                write!(f, "{packet} for a packet identifier without such a request")
            }
            Self::ReasonCountMismatch {
                packet_type,
                expected,
                found,
            } => {
                write!(
                    f,
                    "{packet_type} with {found} reason codes for {expected} filters"
                )
            }
            Self::SubscriptionIdFromClient => {
                f.write_str("a Subscription Identifier in a client's PUBLISH")
            }
            Self::QoSNotSupported(qos) => write!(
                f,
                "a PUBLISH with QoS {}, above the Maximum QoS",
                u8::from(*qos)
            ),
            Self::RetainNotSupported => f.write_str("RETAIN, which this server does not support"),
            Self::WildcardSubscriptionsNotSupported => {
                f.write_str("a wildcard subscription, which this server does not support")
            }
            Self::SubscriptionIdsNotSupported => {
                f.write_str("a Subscription Identifier, which this server does not support")
            }
            Self::SharedSubscriptionsNotSupported => {
                f.write_str("a shared subscription, which this server does not support")
            }
            Self::SessionExpiryRaised => {
                f.write_str("DISCONNECT sets a Session Expiry Interval, but CONNECT had none")
            }
            Self::SessionExpiryFromServer => {
                f.write_str("a Session Expiry Interval in a server's DISCONNECT")
            }
            Self::UnwantedProblemInformation(packet) => {
                write!(
                    f,
                    "{packet} with a reason string or user property that the client asked not to get"
                )
            }
            Self::UnknownSessionPresent => {
                f.write_str("Session Present, but this client has no such session")
            }
            Self::UnexpectedAuthentication => f.write_str("AUTH that does not belong here"),
            Self::OtherAuthenticationMethod => {
                f.write_str("another authentication method than that of CONNECT")
            }
            Self::TooManyAuthenticationRounds { maximum } => {
                write!(f, "more than {maximum} rounds of authentication")
            }
        }
    }
}

impl core::error::Error for ProtocolError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Decode(error) => Some(error),
            _other => None,
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// The transport ended without a DISCONNECT.
    ConnectionLost,
    /// The peer sent DISCONNECT.
    DisconnectedByPeer(DisconnectReason),
    /// This side sent DISCONNECT, or would have where the version has none.
    Disconnected(DisconnectReason),
    /// The server refused the CONNECT. One that does not know its version may say so in the way of the other
    /// version, and means [`ConnectReason::UnsupportedProtocolVersion`].
    Refused(ConnectReason),
    /// The peer broke the rules.
    ProtocolError(ProtocolError),
    /// CONNECT, or CONNACK, did not come in time.
    ConnectTimeout,
    /// A re-authentication took too long: at a client all of it, at a server an answer of the client's.
    AuthenticationTimeout,
    /// PINGRESP did not come in time.
    PingTimeout,
    /// Nothing came for one and a half times the keep alive.
    KeepAliveTimeout,
    /// A packet that had to go out was larger than the peer takes, whatever was left out of it.
    AnswerTooLarge,
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionLost => f.write_str("connection lost"),
            // By the names that codes have in these packets.
            Self::DisconnectedByPeer(reason) => {
                let code = ReasonCode::from(*reason).value();
                write!(f, "the peer disconnected: {reason} (0x{code:02X})")
            }
            Self::Disconnected(reason) => {
                let code = ReasonCode::from(*reason).value();
                write!(f, "disconnected: {reason} (0x{code:02X})")
            }
            Self::Refused(reason) => {
                let code = ReasonCode::from(*reason).value();
                write!(f, "connection refused: {reason} (0x{code:02X})")
            }
            Self::ProtocolError(error) => {
                let reason = error.reason_code();
                write!(f, "{error}; {reason} (0x{:02X})", reason.value())
            }
            Self::ConnectTimeout => f.write_str("the handshake took too long"),
            Self::AuthenticationTimeout => f.write_str("the authentication took too long"),
            Self::PingTimeout => f.write_str("no answer to PINGREQ"),
            Self::KeepAliveTimeout => f.write_str("keep alive timeout"),
            Self::AnswerTooLarge => f.write_str("an answer is larger than the peer takes"),
        }
    }
}

impl core::error::Error for CloseCause {}
