//! What stands in a store under a [`StoreKey`](super::StoreKey).

use alloc::boxed::Box;
use alloc::vec::Vec;

use mqtt_codec::{Message, PacketId, QoS, SubscriptionId, SubscriptionOptions};

use crate::Timestamp;
use crate::broker::Owner;
use crate::broker::join::Stamp;
use crate::broker::routing::Subscription;

/// One thing in a store. With the feature `serde` it can be written in any format; what comes back is
/// checked by [`Restore`](crate::broker::Restore), whoever wrote it. `Debug` shows no payload.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct StoreValue(pub(super) Value);

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Value {
    Message(StoredMessage),
    Session(Box<StoredSession>),
    Subscription(StoredSubscription),
    Delivery(StoredDelivery),
    /// Its key says it all: a retained message, or a QoS 2 message that was not released.
    Present,
    /// A retained message of joined brokers, and since when it is.
    Stamped(Stamp),
}

/// Times are those of the store, which go on when a broker begins again with another origin.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct StoredMessage {
    pub(super) message: Message,
    pub(super) expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct StoredSession {
    pub(super) client_id: Box<str>,
    /// In seconds from the end of the connection; `u32::MAX` is never.
    pub(super) expiry_secs: u32,
    pub(super) is_connected: bool,
    /// When it ends, once its client is away.
    pub(super) expires_at: Option<Timestamp>,
    /// Whose it is.
    pub(super) owner: Option<Owner>,
    pub(super) will: Option<StoredWill>,
    /// When the will is published, once the client is away.
    pub(super) will_at: Option<Timestamp>,
    /// Since when it is there, by the count of joined brokers.
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) since: u64,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct StoredWill {
    pub(super) message: Message,
    pub(super) delay_secs: u32,
}

/// A subscription apart from its filter, in a store and on its way to another broker.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(in crate::broker) struct StoredSubscription {
    /// The filter is a shared one, and not an ordinary one that looks like it.
    pub(in crate::broker) is_shared: bool,
    qos: QoS,
    no_local: bool,
    retain_as_published: bool,
    id: Option<SubscriptionId>,
    deny: Vec<Box<str>>,
}

impl StoredSubscription {
    pub(in crate::broker) fn of(is_shared: bool, subscription: &Subscription) -> Self {
        Self {
            is_shared,
            qos: subscription.qos,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            id: subscription.id,
            deny: subscription.denied().to_vec(),
        }
    }

    /// As the index keeps it.
    pub(in crate::broker) fn into_subscription(self, since: u64) -> Subscription {
        let options = SubscriptionOptions {
            qos: self.qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            ..SubscriptionOptions::default()
        };
        Subscription::new(options, self.id, since, self.deny.into_iter())
    }

    /// Bytes outside of itself.
    pub(in crate::broker) fn len_held(&self) -> usize {
        let places = size_of_val(self.deny.as_slice());
        { self.deny.iter() }.fold(places, |sum, filter| sum.saturating_add(filter.len()))
    }
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct StoredDelivery {
    pub(super) state: StoredState,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// A turn of a shared subscription.
    pub(super) is_turn: bool,
    pub(super) subscription_ids: Vec<SubscriptionId>,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum StoredState {
    /// Never sent.
    Waiting { message: u64 },
    /// It has its identifier, and may have been sent.
    Published { message: u64, id: PacketId },
    /// PUBREC has come, as the `order`th of all; PUBCOMP is missing.
    Released { id: PacketId, order: u64 },
}

impl Value {
    /// Bytes that it counts for, beside those of its own.
    pub(super) fn len_held(&self) -> usize {
        match self {
            Self::Message(stored) => stored.message.len_held(),
            Self::Session(stored) => {
                let will = stored.will.as_ref();
                let will = will.map_or(0, |will| will.message.len_held());
                let owner = stored.owner.as_ref().map_or(0, Owner::text_len);
                { will.saturating_add(owner) }.saturating_add(stored.client_id.len())
            }
            Self::Subscription(stored) => stored.len_held(),
            Self::Delivery(stored) => {
                let size = size_of::<SubscriptionId>();
                stored.subscription_ids.len().saturating_mul(size)
            }
            Self::Present | Self::Stamped(_) => 0,
        }
    }
}
