//! What a server connection tells those who have something above it.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use mqtt_codec::{
    Connect, Message, PacketId, ProtocolVersion, PublishProperties, ReasonCode, SubscriptionId,
    SubscriptionIds, SubscriptionOptions,
};

use super::Config;
use super::connect::session_expiry_secs;
use super::receive::owned;
use crate::session::Receipt;
use crate::{AuthenticationData, CloseCause, Diagnostics};

/// Something that happened on a [`Connection`](super::Connection).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// CONNECT has come. Answer with [`accept`](super::Connection::accept) or
    /// [`reject`](super::Connection::reject); nothing else is taken before.
    Connect(Box<ConnectRequest>),
    /// The client's next step in an enhanced authentication (5.0), before it is accepted or on its
    /// live connection. [`ask`](super::Connection::ask) for more, or end it with
    /// [`accept`](super::Connection::accept),
    /// [`accept_authentication`](super::Connection::accept_authentication) or
    /// [`reject_authentication`](super::Connection::reject_authentication).
    Authenticate {
        /// What it said.
        data: Option<AuthenticationData>,
        /// The client authenticates again on its live connection, and this is its first step.
        is_new: bool,
    },
    /// A message of the client.
    Publish {
        /// Topic, payload, QoS, RETAIN flag and properties.
        message: Message,
        /// The client sent it before, perhaps in vain.
        dup: bool,
        /// To acknowledge it with; `None` where nothing is left to acknowledge.
        receipt: Option<Receipt>,
    },
    /// The client wants to subscribe. Answer with
    /// [`answer_subscribe`](super::Connection::answer_subscribe).
    Subscribe {
        /// Names the request in the answer.
        token: RequestToken,
        /// The filters, as in the packet, and their options.
        filters: Vec<(String, SubscriptionOptions)>,
        /// Of all these subscriptions.
        subscription_id: Option<SubscriptionId>,
        /// Of the request.
        user_properties: Vec<(String, String)>,
    },
    /// The client wants to unsubscribe. Answer with
    /// [`answer_unsubscribe`](super::Connection::answer_unsubscribe).
    Unsubscribe {
        /// Names the request in the answer.
        token: RequestToken,
        /// The filters, as in the packet.
        filters: Vec<String>,
        /// Of the request.
        user_properties: Vec<(String, String)>,
    },
    /// A delivery is complete: QoS 0 was handed to the transport, QoS 1 got PUBACK, QoS 2 PUBCOMP.
    Delivered {
        /// From `deliver`.
        token: DeliveryToken,
        /// What the client said; 0x80 and above means that it refused the message.
        reason: ReasonCode,
        /// What else it said about it.
        diagnostics: Diagnostics,
    },
    /// A delivery will never complete.
    // [5:MQTT-3.1.2-25] Too large counts as delivered.
    DeliveryDropped {
        /// From `deliver`.
        token: DeliveryToken,
        /// The message.
        message: Message,
        /// Why.
        cause: DropCause,
    },
    /// The connection is over. The session can be taken out now.
    Closed {
        /// Why.
        cause: CloseCause,
        /// The will to publish, if the client left one and did not take it back.
        will: Option<Box<WillRequest>>,
        /// How long the session is to be kept, in seconds; `u32::MAX` is for ever.
        session_expiry_secs: u32,
        /// What the client said in its DISCONNECT beside the reason.
        diagnostics: Diagnostics,
    },
}

/// Why a delivery was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropCause {
    /// Its expiry passed before it could be sent.
    Expired,
    /// It is larger than the client takes.
    TooLarge,
}

impl Event {
    /// Bytes of what it holds outside of itself.
    pub(super) fn len_held(&self) -> usize {
        let pairs = |pairs: &[(String, String)]| {
            let lens = pairs
                .iter()
                .map(|(name, value)| name.len().saturating_add(value.len()));
            lens.fold(0, usize::saturating_add)
        };
        match self {
            Self::Connect(request) => request.len_held(),
            Self::Authenticate { data, .. } => {
                data.as_ref().map_or(0, AuthenticationData::len_held)
            }
            Self::Publish { message, .. } | Self::DeliveryDropped { message, .. } => {
                message.len_held()
            }
            Self::Subscribe {
                filters,
                user_properties,
                ..
            } => {
                let lens = filters.iter().map(|(filter, _)| filter.len());
                lens.fold(pairs(user_properties), usize::saturating_add)
            }
            Self::Unsubscribe {
                filters,
                user_properties,
                ..
            } => {
                let lens = filters.iter().map(String::len);
                lens.fold(pairs(user_properties), usize::saturating_add)
            }
            Self::Delivered { diagnostics, .. } => diagnostics.len_held(),
            Self::Closed {
                will, diagnostics, ..
            } => {
                let will = will.as_ref().map_or(0, |will| will.message.len_held());
                will.saturating_add(diagnostics.len_held())
            }
        }
    }
}

/// Names one SUBSCRIBE or UNSUBSCRIBE of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestToken {
    pub(super) id: PacketId,
    pub(super) filters_len: usize,
    pub(super) subscribes: bool,
}

/// Names one `deliver`, for the life of the session that it went into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryToken(pub(super) u64);

/// A CONNECT, as far as those above the connection need it.
///
/// `Debug` does not show the password.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ConnectRequest {
    /// The version the client speaks.
    pub version: ProtocolVersion,
    /// The client's identifier; empty when it wants one assigned.
    pub client_id: String,
    /// Start without the session that may be there.
    pub clean_start: bool,
    /// In seconds, before the server's own limit; 0 is off.
    pub keep_alive_secs: u16,
    /// How long the session is to be kept, in seconds, within the server's own limit.
    pub session_expiry_secs: u32,
    /// To be checked.
    pub user_name: Option<String>,
    /// To be checked.
    pub password: Option<Vec<u8>>,
    /// The method of an enhanced authentication (5.0), where
    /// [`Config::enhanced_authentication`](super::Config::enhanced_authentication) takes one.
    pub authentication_method: Option<String>,
    /// The client's first step in it.
    pub authentication_data: Option<AuthenticationData>,
    /// To be published when the client is gone without a DISCONNECT.
    pub will: Option<Box<WillRequest>>,
    /// QoS 1 and 2 PUBLISH packets that the client takes unacknowledged.
    pub receive_maximum: u16,
    /// The largest packet that the client takes, in bytes, where it set a limit.
    pub packet_size_max: Option<u32>,
    /// Topic aliases that the client takes.
    pub topic_alias_maximum: u16,
    /// Whether acknowledgements may have a reason string and user properties. Where not, they are
    /// left out by themselves.
    pub request_problem_information: bool,
    /// Whether the client asked for [`Acceptance::response_information`](super::Acceptance::response_information).
    pub request_response_information: bool,
    /// Of CONNECT.
    pub user_properties: Vec<(String, String)>,
}

/// A will, apart from its connection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WillRequest {
    /// With topic, payload, QoS, RETAIN flag and properties. A message expiry counts from its
    /// publication.
    pub message: Message,
    /// How long to wait for the client to come back, in seconds.
    pub delay_secs: u32,
}

impl ConnectRequest {
    pub(crate) fn new(connect: &Connect<'_>, config: &Config) -> Self {
        let properties = &connect.properties;
        Self {
            version: connect.version,
            client_id: connect.client_id.as_str().to_string(),
            clean_start: connect.clean_start,
            keep_alive_secs: connect.keep_alive_secs,
            session_expiry_secs: session_expiry_secs(connect, config),
            user_name: connect.user_name.map(|name| name.as_str().to_string()),
            password: connect
                .password
                .map(|password| password.as_bytes().to_vec()),
            authentication_method: connect
                .properties
                .authentication
                .map(|it| it.method.as_str().to_string()),
            authentication_data: connect
                .properties
                .authentication
                .as_ref()
                .and_then(AuthenticationData::of),
            will: connect
                .will
                .as_ref()
                .map(|will| Box::new(WillRequest::new(will))),
            receive_maximum: properties.receive_maximum.map_or(u16::MAX, Into::into),
            packet_size_max: properties.packet_size_max.map(Into::into),
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            request_problem_information: properties.request_problem_information.unwrap_or(true),
            request_response_information: properties.request_response_information.unwrap_or(false),
            user_properties: owned(properties.user_properties),
        }
    }

    /// Bytes of what it holds outside of itself.
    pub(crate) fn len_held(&self) -> usize {
        let texts = [
            Some(self.client_id.len()),
            self.user_name.as_ref().map(String::len),
            self.password.as_ref().map(Vec::len),
            self.authentication_method.as_ref().map(String::len),
            self.authentication_data
                .as_ref()
                .map(AuthenticationData::len_held),
            self.will.as_ref().map(|will| will.message.len_held()),
        ];
        let pairs = self.user_properties.iter();
        let pairs = pairs.map(|(name, value)| {
            let texts = name.len().saturating_add(value.len());
            texts.saturating_add(size_of::<(String, String)>())
        });
        let lens = texts.into_iter().flatten().chain(pairs);
        lens.fold(0, usize::saturating_add)
    }
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("session_expiry_secs", &self.session_expiry_secs)
            .field("user_name", &self.user_name)
            .field("has_password", &self.password.is_some())
            .field("authentication_method", &self.authentication_method)
            .field("will", &self.will)
            .finish_non_exhaustive()
    }
}

impl WillRequest {
    /// The message of a will, with all its properties but the delay.
    // [5:MQTT-3.1.3-10] User properties keep their order.
    pub(crate) fn new(will: &mqtt_codec::Will<'_>) -> Self {
        let properties = &will.properties;
        let message =
            Message::from_name(will.topic, Bytes::copy_from_slice(will.payload.as_bytes()))
                .with_qos(will.qos)
                .with_retain(will.retain);
        let message = message
            .clone()
            .with_properties(&PublishProperties {
                payload_format: properties.payload_format,
                message_expiry_secs: properties.message_expiry_secs,
                response_topic: properties.response_topic,
                correlation_data: properties.correlation_data,
                content_type: properties.content_type,
                subscription_ids: SubscriptionIds::default(),
                user_properties: properties.user_properties,
            })
            // They came in a CONNECT with other fields beside them, so they fit in a PUBLISH.
            .unwrap_or(message);
        Self {
            message,
            delay_secs: properties.delay_secs.unwrap_or(0),
        }
    }
}
