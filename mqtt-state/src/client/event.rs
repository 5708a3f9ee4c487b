//! What a client tells its application.

use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{Message, ProtocolVersion, QoS, ReasonCode, SubscribeReason, UnsubscribeReason};

use super::{AuthenticationData, Receipt};
use crate::{CloseCause, Diagnostics};

/// Names one `publish`, for the life of the session, through
/// [`restore`](super::Client::restore) as well; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PublishToken(pub(crate) u64);

/// Names one `subscribe` or `unsubscribe`; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub(super) u64);

/// Something that happened, from [`poll_event`](super::Client::poll_event).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The server accepted the connection; what was agreed is in
    /// [`negotiated`](super::Client::negotiated).
    Connected {
        /// The server still had the session.
        session_present: bool,
    },
    /// The server wants the next step of the authentication method:
    /// [`authenticate`](super::Client::authenticate) answers.
    Authenticate {
        /// What it said.
        data: Option<AuthenticationData>,
    },
    /// The authentication that [`reauthenticate`](super::Client::reauthenticate) began has
    /// succeeded.
    Reauthenticated {
        /// What the server said last.
        data: Option<AuthenticationData>,
    },
    /// A message for one of the subscriptions, unless it was [shown](super::Client::handle_input_with).
    Message {
        /// Topic, payload, QoS, RETAIN flag and properties.
        message: Message,
        /// The server sent it before, perhaps in vain.
        dup: bool,
        /// To acknowledge it with; `None` where nothing is left to acknowledge.
        receipt: Option<Receipt>,
    },
    /// A publish is complete: QoS 0 was handed to the transport, QoS 1 got PUBACK, QoS 2 PUBCOMP.
    Published {
        /// From `publish`.
        token: PublishToken,
        /// What the server said; 0x80 and above means that it refused the message.
        reason: ReasonCode,
        /// What else it said about it.
        diagnostics: Diagnostics,
    },
    /// A publish will never complete.
    PublishLost {
        /// From `publish`.
        token: PublishToken,
        /// The message, unless the server had confirmed with PUBREC that it owns it.
        message: Option<Message>,
        /// Why.
        cause: LostCause,
    },
    /// The server takes QoS 1 and 2 messages again, and none of this client's waits for it: comes
    /// after messages had to wait because the server had as many unacknowledged as it takes.
    QuotaAvailable,
    /// The server answered a `subscribe`.
    Subscribed {
        /// From `subscribe`.
        token: RequestToken,
        /// One for each filter, in their order.
        reasons: Vec<SubscribeReason>,
        /// What else the server said.
        diagnostics: Diagnostics,
    },
    /// The server answered an `unsubscribe`.
    Unsubscribed {
        /// From `unsubscribe`.
        token: RequestToken,
        /// One for each filter, in their order; empty in 3.1.1, which has none.
        reasons: Vec<UnsubscribeReason>,
        /// What else the server said.
        diagnostics: Diagnostics,
    },
    /// The connection ended before the server answered this `subscribe` or `unsubscribe`, or by an answer
    /// that does not fit it.
    RequestLost {
        /// From `subscribe` or `unsubscribe`.
        token: RequestToken,
    },
    /// The connection is over. Exactly one for each successful `connect`.
    Closed {
        /// Why.
        cause: CloseCause,
        /// What else the server said about it.
        diagnostics: Diagnostics,
        /// Where the server says to go instead, if it does.
        server_reference: Option<String>,
    },
}

impl Event {
    /// Bytes of what it holds outside of itself.
    pub(super) fn len_held(&self) -> usize {
        match self {
            Self::Message { message, .. } => message.len_held(),
            Self::PublishLost { message, .. } => message.as_ref().map_or(0, Message::len_held),
            Self::Published { diagnostics, .. } => diagnostics.len_held(),
            Self::Subscribed {
                reasons,
                diagnostics,
                ..
            } => reasons.len().saturating_add(diagnostics.len_held()),
            Self::Unsubscribed {
                reasons,
                diagnostics,
                ..
            } => reasons.len().saturating_add(diagnostics.len_held()),
            Self::Closed {
                diagnostics,
                server_reference,
                ..
            } => {
                let reference = server_reference.as_ref().map_or(0, String::len);
                reference.saturating_add(diagnostics.len_held())
            }
            Self::Authenticate { data } | Self::Reauthenticated { data } => {
                data.as_ref().map_or(0, AuthenticationData::len_held)
            }
            Self::Connected { .. } | Self::QuotaAvailable | Self::RequestLost { .. } => 0,
        }
    }
}

/// Why a publish will never complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostCause {
    /// The session ended while the message was in flight: the server may or may not have it.
    SessionLost,
    /// Its expiry passed before it was first sent.
    Expired,
    /// As many messages, or bytes, waited as [`Config`](super::Config) allows, and it gave way as
    /// [`WhenFull`](super::WhenFull) says.
    QueueFull,
    /// It is larger than this server takes.
    TooLarge,
    /// Its QoS is above the Maximum QoS of this server.
    QoSNotSupported,
    /// It has the RETAIN flag, and this server retains nothing.
    RetainNotSupported,
}

/// What client and server agreed on for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// The version of MQTT.
    pub version: ProtocolVersion,
    /// The client identifier: this client's own, or the one the server assigned.
    pub client_id: String,
    /// In seconds; 0 is off.
    pub keep_alive_secs: u16,
    /// How long the server keeps the session after the connection, in seconds; `u32::MAX` is for
    /// ever.
    pub session_expiry_secs: u32,
    /// QoS 1 and 2 PUBLISH packets the server takes unacknowledged.
    pub receive_maximum: u16,
    /// Largest packet the server takes, in bytes.
    pub packet_size_max: Option<u32>,
    /// Topic aliases the server takes.
    pub topic_alias_maximum: u16,
    /// Highest QoS the server takes in PUBLISH.
    pub maximum_qos: QoS,
    /// Whether the server takes RETAIN.
    pub retain_available: bool,
    /// Whether the server takes wildcard subscriptions.
    pub wildcard_subscription_available: bool,
    /// Whether the server takes subscription identifiers.
    pub subscription_id_available: bool,
    /// Whether the server takes shared subscriptions.
    pub shared_subscription_available: bool,
    /// What to build response topics from, if the server said so.
    pub response_information: Option<String>,
    /// Another server that can be used, if the server said so.
    pub server_reference: Option<String>,
    /// What the server said last in an enhanced authentication.
    pub authentication_data: Option<AuthenticationData>,
}
