//! Decisions that belong to the embedder: who may connect, publish and subscribe.
//!
//! A question is an event with a name, and answered later by a method, so that whoever has to look
//! into a database can. What [`Ask`] does not name is not asked, allowed, and costs nothing.

mod answer;
mod ask;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use mqtt_codec::{ConnectReason, Message, PublishReason, QoS, SubscribeReason};

use super::ConnectionId;
use super::event::boxed;
use super::held::Left;
use super::sessions::SessionKey;
use super::slab::{Key, Slab};
use crate::server::ConnectRequest;
use crate::{AuthenticationData, Timestamp};

/// Which decisions are asked for. None.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Ask {
    /// [`Event::Authenticate`](super::Event::Authenticate) for each CONNECT. Needed for enhanced authentication.
    pub connect: bool,
    /// [`Event::AuthorizePublish`](super::Event::AuthorizePublish) for each PUBLISH and each will.
    pub publish: bool,
    /// [`Event::AuthorizeSubscribe`](super::Event::AuthorizeSubscribe) for each filter of a SUBSCRIBE.
    pub subscribe: bool,
}

impl Ask {
    /// Whether anything is asked at all.
    pub(super) const fn is_anything(self) -> bool {
        self.connect || self.publish || self.subscribe
    }
}

/// Names the question of one CONNECT, or of one step of an enhanced authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct ConnectDecision(Key);

/// Names the question of one PUBLISH or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct PublishDecision(Key);

/// Names the question of one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct SubscribeDecision(Key);

/// What becomes of a CONNECT or a step of an enhanced authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ConnectAnswer {
    /// It is accepted.
    Allow,
    /// It is accepted, with the last data of an enhanced authentication.
    AllowWith(AuthenticationData),
    /// The client is asked for the next step of its method. One whose CONNECT has no method cannot be
    /// asked, and is refused with 0x87 Not authorized.
    Ask(Option<AuthenticationData>),
    /// It is refused. On a live connection the client gets DISCONNECT 0x87.
    Refuse(ConnectReason),
}

/// What becomes of a PUBLISH or a will.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum PublishAnswer {
    /// It goes to who wants it.
    Allow,
    /// This one goes in its place: another topic, QoS, RETAIN or properties. The client hears nothing
    /// of that. One to `$SYS` or below is refused, as a message of the client's own would be.
    AllowAs(Message),
    /// The client is told, where QoS and version allow it; it goes to nobody.
    Refuse(PublishReason),
    /// It goes to nobody, and the client is not told.
    Drop,
}

/// What becomes of one filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SubscribeAnswer {
    /// It is granted as asked for.
    Allow,
    /// It is granted within limits.
    Grant(Grant),
    /// It is refused.
    Refuse(SubscribeReason),
}

/// Limits of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Grant {
    /// No higher QoS than this. 2.
    pub qos_max: QoS,
    /// What these filters match is not delivered, live or retained. At most 255 levels each; those
    /// that are no filters match nothing. None.
    pub deny: Vec<String>,
}

impl Default for Grant {
    fn default() -> Self {
        Self {
            qos_max: QoS::ExactlyOnce,
            deny: Vec::new(),
        }
    }
}

/// The answer comes too late: the connection is over, or the deadline has passed. Nothing has
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing more to say")]
pub struct Stale;

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the decision is not waited for any more")
    }
}

impl core::error::Error for Stale {}

/// Names what one connection has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftKey(Key);

/// Questions without an answer.
#[derive(Debug)]
pub(super) struct Decisions {
    open: Slab<Open>,
    /// What connections have left that are gone.
    left: Slab<Left>,
    /// Of what waits for an answer, and behind that.
    bytes: usize,
    /// Connections whose input was not taken because of that.
    refused: BTreeSet<ConnectionId>,
}

#[derive(Debug)]
struct Open {
    question: Question,
    /// When it counts as denied.
    deadline: Timestamp,
}

/// What an answer is about.
#[derive(Debug)]
pub(super) enum Question {
    Connect {
        connection: ConnectionId,
        request: Box<ConnectRequest>,
    },
    /// On a live connection.
    Reauthenticate { connection: ConnectionId },
    /// Something that the connection holds, in its order.
    Held { connection: ConnectionId },
    /// A QoS 0 message whose connection did not wait for the answer, and of which others.
    Left { left: LeftKey },
    Will {
        publisher: SessionKey,
        /// Whose session that is, or was.
        client_id: Box<str>,
        message: Message,
        /// When it was due: its expiry counts from then.
        at: Timestamp,
    },
    /// A subscription that there is already.
    Again {
        session: SessionKey,
        filter: Box<str>,
    },
}

impl Question {
    /// Bytes of what it holds outside of itself.
    fn len_held(&self) -> usize {
        match self {
            Self::Connect { request, .. } => boxed(request),
            Self::Reauthenticate { .. } | Self::Held { .. } | Self::Left { .. } => 0,
            Self::Will {
                client_id, message, ..
            } => client_id.len().saturating_add(message.len_held()),
            Self::Again { filter, .. } => filter.len(),
        }
    }
}

impl Decisions {
    pub(super) const PLACE_SIZE: usize = Slab::<Open>::PLACE_SIZE;
    /// Of what one connection has left: it has a question at least.
    pub(super) const LEFT_PLACE_SIZE: usize = Slab::<Left>::PLACE_SIZE;

    pub(super) fn new() -> Self {
        Self {
            open: Slab::new(),
            left: Slab::new(),
            bytes: 0,
            refused: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Bytes of what waits for an answer, and of what waits behind it.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// So much more waits.
    pub(super) fn note_held(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// So much waits no more.
    pub(super) fn note_done(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Input of this connection was not taken: it is told when that changes.
    #[cold]
    pub(super) fn note_refused(&mut self, id: ConnectionId) {
        self.refused.insert(id);
    }

    fn insert(&mut self, open: Open) -> Option<Key> {
        let bytes = open.question.len_held();
        let key = self.open.insert(open)?;
        self.note_held(bytes);
        Some(key)
    }

    fn take(&mut self, key: Key) -> Option<Open> {
        let open = self.open.remove(key)?;
        self.note_done(open.question.len_held());
        Some(open)
    }

    /// A connection is gone, and this is left of it. `None` when it cannot be named.
    pub(super) fn leave(&mut self, left: Left) -> Option<LeftKey> {
        self.left.insert(left).map(LeftKey)
    }

    /// A question is about something of that.
    pub(super) fn note_left(&mut self, decision: PublishDecision, left: LeftKey) {
        if let Some(open) = self.open.get_mut(decision.0) {
            // Its connection held that before, and the question nothing.
            open.question = Question::Left { left };
        }
    }

    pub(super) fn left_mut(&mut self, key: LeftKey) -> Option<&mut Left> {
        self.left.get_mut(key.0)
    }

    /// Nothing of it is left.
    pub(super) fn forget_left(&mut self, key: LeftKey) {
        self.left.remove(key.0);
    }
}

impl PublishDecision {
    pub(super) const fn key(self) -> Key {
        self.0
    }
}

impl SubscribeDecision {
    pub(super) const fn key(self) -> Key {
        self.0
    }
}
