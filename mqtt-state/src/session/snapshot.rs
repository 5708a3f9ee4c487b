//! A session as plain data, to be stored.

use alloc::vec::Vec;

use mqtt_codec::{Message, PacketId, SubscriptionId, SubscriptionOptions};

/// What a client has to keep of its session while its program is not running: messages that wait,
/// messages in flight in both directions, and what it is subscribed to.
///
/// From [`Client::snapshot`](crate::client::Client::snapshot), for
/// [`Client::restore`](crate::client::Client::restore). With the feature `serde` it can be written in
/// any format; what comes back is checked, whoever wrote it. Times are kept as what is left of them.
/// `Debug` shows no payload.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct SessionSnapshot {
    pub(crate) form: u16,
    /// The name that the next `publish` or request gets; all others are below it.
    pub(crate) next_token: u64,
    /// The server may have this session.
    pub(crate) is_known: bool,
    /// Sent and not acknowledged, in the order first sent.
    pub(crate) publishes: Vec<StoredPublish>,
    /// PUBCOMP is missing, in the order of the PUBRECs.
    pub(crate) releases: Vec<StoredRelease>,
    /// QoS 2 messages received and not released.
    pub(crate) unreleased: Vec<PacketId>,
    /// Never sent, in their order.
    pub(crate) waiting: Vec<StoredWaiting>,
    pub(crate) subscriptions: Vec<StoredSubscription>,
}

impl SessionSnapshot {
    /// The form in which sessions are stored. A reader knows none but its own and those before it.
    pub(crate) const FORM: u16 = 1;
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct StoredPublish {
    pub(crate) id: PacketId,
    pub(crate) token: u64,
    pub(crate) message: Message,
    /// Nanoseconds until the message expires.
    pub(crate) expires_in: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct StoredRelease {
    pub(crate) id: PacketId,
    pub(crate) token: u64,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct StoredWaiting {
    pub(crate) token: u64,
    pub(crate) message: Message,
    /// Nanoseconds until the message expires.
    pub(crate) expires_in: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct StoredSubscription {
    pub(crate) filter: alloc::string::String,
    pub(crate) options: SubscriptionOptions,
    pub(crate) id: Option<SubscriptionId>,
}
