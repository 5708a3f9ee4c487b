//! What waits for one client: how much that may be, and what becomes of a client that does not read.

use alloc::string::String;

use mqtt_codec::{DisconnectReason, Message, QoS};

use super::connections::Connection;
use super::event::{DropCause, Event};
use super::outlet::Outlet;
use super::sessions::{SessionEntry, SessionKey};
use super::store::MessageRef;
use super::timers::Timer;
use super::{Broker, Config, ConnectionId};
use crate::session::QueueLimits;
use crate::{CloseCause, Timestamp};

/// What becomes of a QoS 1 or 2 message for which a session has no room, when no QoS 0 message is left
/// that could give way to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum WhenFull {
    /// It is dropped.
    #[default]
    DropNewest,
    /// It is dropped, and a client that is connected gets DISCONNECT with 0x97 Quota exceeded. What
    /// waits for it stays in its session.
    Disconnect,
}

impl SessionEntry {
    /// Whether one more message may wait, where so many are at hand. QoS 0 messages have a limit of their own
    /// beside.
    #[inline]
    pub(super) fn has_room(
        &mut self,
        qos: QoS,
        bytes: usize,
        at_hand: usize,
        config: &Config,
    ) -> bool {
        let limits = queue_limits(config);
        let outbound = &self.session.outbound;
        // It is told again only after half of it was gone.
        if self.is_full
            && outbound.waiting_len() <= limits.len_max / 2
            && outbound.messages_bytes() <= limits.bytes_max / 2
        {
            self.is_full = false;
        }
        let may_wait = qos != QoS::AtMostOnce
            || outbound.waiting_qos0_len().saturating_add(at_hand) < config.waiting_qos0_len_max;
        may_wait && outbound.has_room_beside(at_hand, bytes, limits)
    }
}

impl Outlet<'_> {
    /// There is no room: QoS 0 messages give way, the oldest first, to one that is none, or it is
    /// dropped.
    #[cold]
    #[inline(never)]
    pub(super) fn push_in(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        qos: QoS,
        bytes: usize,
    ) -> bool {
        let limits = queue_limits(self.config);
        self.note_full(key);
        // Whatever gives way, one that is too large alone has no room.
        let fits = qos != QoS::AtMostOnce && bytes <= limits.bytes_max;
        while fits && let Some(entry) = self.sessions.get_mut(key) {
            let connection = entry.connection.and_then(|id| self.connections.get_mut(id));
            let outbound = &mut entry.session.outbound;
            let at_hand = connection.as_ref().map_or(0, |it| it.past_session_len());
            if outbound.has_room_beside(at_hand, bytes, limits) {
                return true;
            }
            if let Some(oldest) = connection.and_then(Connection::take_at_hand) {
                self.tell_dropped(key, &oldest, DropCause::QueueFull);
                self.store.release(oldest);
                continue;
            }
            let Some(oldest) = outbound.drop_oldest_qos0() else {
                break;
            };
            if let Some(delivery) = oldest.message {
                self.tell_dropped(key, &delivery.message, DropCause::QueueFull);
                self.store.release_delivery(Some(delivery));
            }
        }
        self.tell_dropped(key, reference, DropCause::QueueFull);
        let entry = self.sessions.get(key);
        if qos != QoS::AtMostOnce
            && self.config.when_full == WhenFull::Disconnect
            && let Some(id) = entry.and_then(|entry| entry.connection)
        {
            // Not from here: it may have a will, which is for others.
            self.timers.set(self.now, Timer::TooSlow(id));
        }
        false
    }

    /// As much waits for a client as may: that is told once.
    fn note_full(&mut self, key: SessionKey) {
        if let Some(entry) = self.sessions.get_mut(key)
            && !entry.is_full
        {
            entry.is_full = true;
            let at_hand = self.connections.past_session_len(entry.connection);
            self.events.push(Event::QueueFull {
                client_id: entry.client_id.clone(),
                connection: entry.connection,
                waiting_len: { entry.session.waiting_len() }.saturating_add(at_hand),
                messages_bytes: entry.session.messages_bytes(),
            });
        }
    }

    /// A message will not reach a client.
    #[cold]
    pub(super) fn tell_dropped(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        cause: DropCause,
    ) {
        let topic = self.store.message(reference).map(Message::topic);
        let topic = topic.map(|topic| String::from(topic.as_str()));
        if let Some(entry) = self.sessions.get(key) {
            self.events.push(Event::Dropped {
                client_id: entry.client_id.clone(),
                topic: topic.unwrap_or_default(),
                cause,
            });
        }
    }
}

impl Broker {
    /// A client is too slow to be kept.
    pub(super) fn end_slow(&mut self, now: Timestamp, id: ConnectionId) {
        let cause = CloseCause::Disconnected(DisconnectReason::QuotaExceeded);
        self.end_connection(now, id, cause, None);
    }
}

pub(super) const fn queue_limits(config: &Config) -> QueueLimits {
    QueueLimits {
        len_max: config.server.waiting_len_max,
        bytes_max: config.server.messages_bytes_max,
    }
}
