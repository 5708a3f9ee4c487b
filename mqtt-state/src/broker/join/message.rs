//! What joined brokers say to each other.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use mqtt_codec::{Message, PacketId, QoS, SubscriptionId};

use crate::broker::Owner;
use crate::broker::journal::StoredSubscription;
use crate::counted::Arc;

/// Names one of the brokers that are joined; each has another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct BrokerId(u32);

impl BrokerId {
    /// The broker with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One thing that a broker says to another one it is joined with, from
/// [`Broker::poll_joined`](crate::broker::Broker::poll_joined), for
/// [`Broker::handle_joined`](crate::broker::Broker::handle_joined) of the other.
///
/// It is plain owned data, to be carried by whatever there is: a channel, or, with the feature
/// `serde`, any format and any transport. `Debug` shows no payload.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct JoinMessage {
    /// The sender's link.
    pub(super) from: Tag,
    /// The receiver's link, if the sender knows of it.
    pub(super) to: Option<Tag>,
    /// Counts what is said on this pair of links, so that a gap shows.
    pub(super) number: u64,
    /// All notes up to this one have arrived, of the receiver's.
    pub(super) received: u64,
    pub(super) body: Body,
}

/// One link of one run of a broker. A later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct Tag {
    pub(super) incarnation: u64,
    pub(super) link: u64,
}

/// When something became so, among all brokers: later is greater, and no two are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(in crate::broker) struct Stamp {
    pub(super) count: u64,
    pub(super) broker: BrokerId,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) enum Body {
    /// The sender has opened a link.
    Hello,
    /// The sender knows the receiver's link, and goes on from what it says has arrived.
    Welcome {
        /// The greatest count of a stamp that it knows.
        count: u64,
        /// The first link of this run of the receiver's that this run of the sender has heard of.
        #[cfg_attr(feature = "serde", serde(default))]
        first: Option<Tag>,
    },
    /// There is nothing to say but what has arrived.
    Acknowledge,
    /// What the sender's subscribers want.
    Interests {
        changes: Vec<Interest>,
        /// With this everything has been said, since the link is there.
        is_last: bool,
    },
    /// Clients whose sessions the sender has, after the link is there.
    Sessions(Vec<Holds>),
    /// What the sender keeps as retained, after the link is there.
    Retained(Retained),
    /// A message at QoS 0, which may be lost.
    Passing(Forward),
    /// What may not be lost, with its number over all links.
    Note { sequence: u64, note: Note },
}

/// Who wants messages by one filter, behind one broker.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct Interest {
    pub(super) filter: FilterKey,
    /// Members of a shared subscription; of an ordinary one 1. 0: nobody any more.
    pub(super) members: u32,
    /// Those of them that are connected.
    pub(super) connected: u32,
}

/// A session, and since when its broker has it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct Holds {
    pub(super) client_id: Box<str>,
    pub(super) since: u64,
}

/// A filter as it is announced. There may be many of one, so they share its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct FilterKey {
    /// `$share/` in front means a shared subscription: in 3.1.1 it need not.
    pub(super) is_shared: bool,
    #[cfg_attr(feature = "serde", serde(with = "shared"))]
    pub(super) text: Arc<str>,
}

/// A text that is shared, as any text.
#[cfg(feature = "serde")]
mod shared {
    use crate::counted::Arc;
    use alloc::boxed::Box;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        text: &Arc<str>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        str::serialize(text, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<str>, D::Error> {
        Box::<str>::deserialize(deserializer).map(Arc::from)
    }
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct Retained {
    pub(super) topic: String,
    pub(super) stamp: Stamp,
    /// Nothing: it was cleared.
    pub(super) message: Option<Message>,
    /// Nanoseconds until it expires.
    pub(super) expires_in: Option<u64>,
}

/// A message that the sender's clients published.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct Forward {
    pub(super) message: Message,
    /// The publisher's client identifier.
    pub(super) publisher: Option<Box<str>>,
    /// Nanoseconds until it expires.
    pub(super) expires_in: Option<u64>,
    /// It is for the ordinary subscriptions of the receiver.
    pub(super) is_plain: bool,
    /// The shared subscriptions whose turn the receiver has.
    pub(super) groups: Vec<FilterKey>,
    /// Brokers at which no member may have it, as far as it has been there.
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) passed: Box<[BrokerId]>,
    /// It sets or clears the retained message of its topic.
    pub(super) stamp: Option<Stamp>,
}

/// What may not be lost.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) enum Note {
    Forward(Forward),
    /// A shared subscription has no member any more at the broker that was to give one the message, or none that
    /// may have it.
    Returned(Forward),
    /// About a client identifier that one broker takes over from another.
    Claim {
        client_id: Box<str>,
        /// When it was claimed; what is said about this claim has it too.
        stamp: Stamp,
        what: ClaimNote,
    },
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum ClaimNote {
    /// To all: the client has connected to the sender.
    Claim { clean_start: bool },
    /// The sender has no session of this client, or none any more.
    Unclaimed,
    /// There is a later claim.
    Superseded,
    /// To all: the client has begun anew at the sender, which had its session, or has one there that nobody was
    /// told of while it moved. An older one is nobody's.
    Begun,
    /// The sender has one, and this is a piece of it.
    Piece(Box<Piece>),
    /// To all: the sender's subscribers have those of this client among them from here on, and
    /// `owner` had them before.
    Moving {
        owner: BrokerId,
        /// Who is told this.
        witnesses: Vec<BrokerId>,
    },
    /// From the owner, to who cannot hear the new one: as `Moving`.
    Switch {
        /// The new one.
        to: BrokerId,
    },
    /// From the owner, to the new one: who else was told, by the owner itself. No others are waited for.
    Told(Vec<BrokerId>),
    /// To the owner and to the new one: what the sender says before this is for the first one, what it
    /// says after it for the other.
    Switched,
    /// To the owner: the session is not wanted. It keeps it, or lets go of it.
    Declined { keeps: bool },
}

/// A part of a session on its way from one broker to another.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Piece {
    Subscription(MovedSubscription),
    /// That were the subscriptions. The rest follows when everybody knows where they are.
    Subscribed {
        /// As for the session at the end of its connection.
        expiry_secs: u32,
        /// Whose it is.
        whose: Option<Owner>,
    },
    /// Sent, and not acknowledged.
    Published {
        id: PacketId,
        delivery: MovedDelivery,
    },
    /// PUBCOMP is missing.
    Released {
        id: PacketId,
    },
    /// Received, and not released.
    Unreleased {
        id: PacketId,
    },
    /// Never sent.
    Waiting(MovedDelivery),
    /// Retained messages for this filter were still to come.
    Replay {
        filter: Box<str>,
        qos: QoS,
        id: Option<SubscriptionId>,
    },
    /// That was all.
    Done,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct MovedSubscription {
    /// Its filter.
    #[cfg_attr(feature = "serde", serde(with = "shared"))]
    pub(super) text: Arc<str>,
    pub(super) subscription: StoredSubscription,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(super) struct MovedDelivery {
    pub(super) message: Message,
    /// Nanoseconds until it expires.
    pub(super) expires_in: Option<u64>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) is_replay: bool,
    /// The shared subscription that it is a turn of.
    pub(super) group: Option<FilterKey>,
    pub(super) subscription_ids: Vec<SubscriptionId>,
}
