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
use crate::{AuthenticationData, CloseCause};

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
    /// A message of the client. It has been acknowledged already.
    Publish {
        /// Topic, payload, QoS, RETAIN flag and properties.
        message: Message,
        /// The client sent it before, perhaps in vain.
        dup: bool,
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
    },
    /// The client wants to unsubscribe. Answer with
    /// [`answer_unsubscribe`](super::Connection::answer_unsubscribe).
    Unsubscribe {
        /// Names the request in the answer.
        token: RequestToken,
        /// The filters, as in the packet.
        filters: Vec<String>,
    },
    /// A delivery is complete: QoS 0 was handed to the transport, QoS 1 got PUBACK, QoS 2 PUBCOMP.
    Delivered {
        /// From `deliver`.
        token: DeliveryToken,
        /// What the client said.
        reason: ReasonCode,
    },
    /// A delivery will never complete: its expiry passed, or the client does not take so large a
    /// packet.
    DeliveryDropped {
        /// From `deliver`.
        token: DeliveryToken,
        /// The message.
        message: Message,
    },
    /// The connection is over. The session can be taken out now.
    Closed {
        /// Why.
        cause: CloseCause,
        /// The will to publish, if the client left one and did not take it back.
        will: Option<Box<WillRequest>>,
        /// How long the session is to be kept, in seconds; `u32::MAX` is for ever.
        session_expiry_secs: u32,
    },
}

/// Names one SUBSCRIBE or UNSUBSCRIBE of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        }
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
            .finish()
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
