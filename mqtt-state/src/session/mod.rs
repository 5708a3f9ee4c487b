//! What outlives a connection: packet identifiers, messages in flight in both directions, and
//! messages that wait.
//!
//! One [`Session`] serves both roles. It does not know how a message is held: a client holds
//! messages of its own, the broker holds references into its one store. Nothing here knows a
//! socket, a version or a time; what belongs to one connection (quotas, aliases, limits) lives in
//! the link and dies with it.

mod id_set;
mod inbound;
mod journal;
mod outbound;
mod own;
mod packet_id;
mod receipts;
mod restore;
mod snapshot;

pub(crate) use id_set::IdSet;
pub(crate) use inbound::Inbound;
pub use journal::JournalEntry;
pub(crate) use journal::{Journal, Record};
pub(crate) use outbound::{
    Ended, Lost, Mismatch, Next, Outbound, QueueLimits, Received, Release, RequestKind, Turn,
};
pub(crate) use own::OwnMessage;
pub use receipts::{AckError, Acknowledge, Receipt};
pub(crate) use receipts::{Answer, Pending, Receipts};
pub use restore::RestoreError;
pub(crate) use restore::Restoring;
pub use snapshot::SessionSnapshot;
pub(crate) use snapshot::{StoredPublish, StoredRelease, StoredSubscription, StoredWaiting};

/// The state that a client and a server keep for each other under one client identifier.
///
/// `M` is how a message is held.
// [5:MQTT-4.1.0-1] [3:MQTT-4.1.0-1] [3:MQTT-4.1.0-2] It is never discarded while a connection uses it.
#[derive(Clone, Debug)]
pub struct Session<M> {
    pub(crate) outbound: Outbound<M>,
    pub(crate) inbound: Inbound,
}

impl<M> Session<M> {
    /// A session without any history.
    #[must_use]
    pub fn new() -> Self {
        Self {
            outbound: Outbound::new(),
            inbound: Inbound::default(),
        }
    }

    /// QoS 1 and 2 messages that were sent and are not fully acknowledged, those among them that were given up.
    #[must_use]
    pub fn in_flight_len(&self) -> usize {
        self.outbound.in_flight_len()
    }

    /// Messages that wait for their first sending.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.outbound.waiting_len()
    }

    /// The bytes of the messages in flight and of those that wait: topic, properties and payload.
    #[must_use]
    pub fn messages_bytes(&self) -> usize {
        self.outbound.messages_bytes()
    }

    /// QoS 2 messages that were received and whose PUBREL has not come.
    #[must_use]
    pub fn unreleased_len(&self) -> usize {
        self.inbound.len()
    }

    /// Packet identifiers this side has in use, for messages and for requests.
    #[must_use]
    pub fn packet_ids_in_use(&self) -> usize {
        self.outbound.ids_len()
    }
}

impl<M> Default for Session<M> {
    fn default() -> Self {
        Self::new()
    }
}
