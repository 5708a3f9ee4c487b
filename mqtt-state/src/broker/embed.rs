//! What the embedder does without a connection: local subscriptions, saying goodbye to clients, looking
//! at sessions.

use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{
    Disconnect, DisconnectReason, Message, Str, SubscriptionOptions, TopicFilter, TopicName,
};
use mqtt_topic::IndexError;

use super::sessions::SessionEntry;
use super::timers::Timer;
use super::{Broker, ConnectionId, Event, Owner};
use crate::{CloseCause, Timestamp};

/// Names one subscription of the embedder's own; never a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct LocalSubscription(u64);

/// One session, from [`Broker::sessions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo<'b> {
    /// Whose.
    pub client_id: &'b str,
    /// The connection that uses it; `None` while the client is away.
    pub connection: Option<ConnectionId>,
    /// Whose it is, as far as that is kept.
    pub owner: Option<&'b Owner>,
    /// When it ends, while its client is away; `None` is never, or not before the client is gone.
    pub expires_at: Option<Timestamp>,
    /// Messages that were never sent.
    pub waiting_len: usize,
    /// QoS 1 and 2 messages sent and not fully acknowledged.
    pub in_flight_len: usize,
    /// Bytes of these messages, each counted for this session alone.
    pub messages_bytes: usize,
}

/// How a broker leaves its clients, from [`Broker::drain`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Drain {
    /// What clients are told: 0x8B Server shutting down, 0x9C Use another server or 0x9D Server
    /// moved. 0x8B.
    pub reason: DisconnectReason,
    /// Where to go instead (5.0). None.
    pub server_reference: Option<String>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            reason: DisconnectReason::ServerShuttingDown,
            server_reference: None,
        }
    }
}

impl Broker {
    /// Subscribes the embedder itself: each message that matches is an [`Event::Local`]. What is
    /// retained is had from [`retained`](Self::retained).
    ///
    /// # Errors
    ///
    /// [`IndexError`]; nothing has changed then.
    pub fn subscribe_local(
        &mut self,
        filter: TopicFilter<'_>,
    ) -> Result<LocalSubscription, IndexError> {
        let subscription = LocalSubscription(self.next_local);
        self.local.insert(filter, subscription, ())?;
        self.weigh_indexes();
        self.next_local = self.next_local.saturating_add(1);
        self.note_local_interest(filter);
        Ok(subscription)
    }

    /// Ends a subscription of the embedder's own. Answers whether there was one.
    pub fn unsubscribe_local(&mut self, subscription: LocalSubscription) -> bool {
        self.note_local_gone(subscription);
        let removed = self.local.remove_subscriber(subscription);
        self.weigh_indexes();
        removed > 0
    }

    /// The retained message of a topic.
    #[must_use]
    pub fn retained(&self, topic: TopicName<'_>) -> Option<&Message> {
        self.store.message(self.retained.get(topic)?)
    }

    /// Ends the connection of a client for a reason of the embedder's, with DISCONNECT where the
    /// version has one, and says where to go instead, if there is such a place. Its will is
    /// published. Answers whether the client was connected.
    pub fn disconnect_client(
        &mut self,
        now: Timestamp,
        client_id: &str,
        reason: DisconnectReason,
        server_reference: Option<Str<'_>>,
    ) -> bool {
        let now = self.begin(now);
        let key = self.sessions.find(client_id);
        let entry = key.and_then(|key| self.sessions.get(key));
        let Some(id) = entry.and_then(|entry| entry.connection) else {
            return false;
        };
        self.say_goodbye(now, id, reason, server_reference);
        true
    }

    /// Ends all connections, some with each call of [`handle_timeout`](Self::handle_timeout), and
    /// takes no new ones: each CONNECT is refused with the same reason. Sessions stay.
    pub fn drain(&mut self, now: Timestamp, drain: Drain) {
        let now = self.begin(now);
        self.draining = Some(drain);
        self.drained = 0;
        self.timers.set(now, Timer::Drain);
        self.fire_due(now);
    }

    /// Whether [`drain`](Self::drain) has been called.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// All sessions, in the order of their client identifiers.
    pub fn sessions(&self) -> impl Iterator<Item = SessionInfo<'_>> {
        self.sessions.iter().map(|entry| self.info(entry))
    }

    /// The session of a client.
    #[must_use]
    pub fn session(&self, client_id: &str) -> Option<SessionInfo<'_>> {
        let key = self.sessions.find(client_id)?;
        self.sessions.get(key).map(|entry| self.info(entry))
    }

    /// What a client is subscribed to, with the options that are in force.
    #[must_use]
    pub fn subscriptions(&self, client_id: &str) -> Vec<(String, SubscriptionOptions)> {
        let key = self.sessions.find(client_id);
        key.map(|key| self.subscriptions_of(key))
            .unwrap_or_default()
    }

    /// Says goodbye to as many clients as this call has steps for. Answers whether there are more.
    pub(super) fn drain_some(&mut self, now: Timestamp) -> bool {
        let Some(drain) = self.draining.clone() else {
            return false;
        };
        let reference = drain.server_reference.as_deref();
        let reference = reference.and_then(|text| Str::new(text).ok());
        while self.drained < self.connections.places_len() {
            let id = self.connections.open_at(self.drained);
            let cost = id.map_or(1, |id| self.cost_of_leaving(id));
            if !self.work.allows(cost) {
                self.timers.set(now, Timer::Drain);
                return true;
            }
            self.work.spend(1);
            self.drained = self.drained.saturating_add(1);
            if let Some(id) = id {
                self.say_goodbye(now, id, drain.reason, reference);
            }
        }
        false
    }

    fn say_goodbye(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        reason: DisconnectReason,
        server_reference: Option<Str<'_>>,
    ) {
        self.give_up_unstored(id);
        if let Some(connection) = self.connections.get_mut(id) {
            let mut goodbye = Disconnect::new(reason);
            goodbye.properties.server_reference = server_reference;
            connection.link.say_goodbye(&goodbye);
        }
        self.end_connection(now, id, CloseCause::Disconnected(reason), None);
    }

    /// Tells the embedder of a message that its own subscriptions match.
    pub(super) fn tell_local(&mut self, name: TopicName<'_>, message: &Message) {
        for subscriber in self
            .local
            .overlaps(name, &mut self.local_scratch)
            .subscribers()
        {
            self.events.push(Event::Local {
                subscription: subscriber.key(),
                message: message.clone(),
            });
        }
    }
}

impl Broker {
    fn info<'b>(&'b self, entry: &'b SessionEntry) -> SessionInfo<'b> {
        let connection = entry.connection.and_then(|id| self.connections.get(id));
        let past_session_len = self.connections.past_session_len(entry.connection);
        let at_hand = connection.and_then(|connection| connection.at_hand.as_ref());
        let bytes = at_hand.map_or(0, |at_hand| self.store.len_held(&at_hand.message));
        SessionInfo {
            client_id: &entry.client_id,
            connection: entry.connection,
            owner: entry.owner.as_deref(),
            expires_at: entry.expires_at.at(),
            waiting_len: { entry.session.waiting_len() }.saturating_add(past_session_len),
            in_flight_len: entry.session.in_flight_len(),
            messages_bytes: { entry.session.messages_bytes() }.saturating_add(bytes),
        }
    }
}
