//! Where messages go into sessions, each within the limits of its own.

use mqtt_codec::QoS;

use super::connections::Connections;
use super::event::{DropCause, EventQueue};
use super::routing::Copy;
use super::sessions::{SessionEntry, SessionKey, Sessions};
use super::store::{Delivery, MessageRef, MessageStore};
use super::timers::Timers;
use super::{Broker, Config};
use crate::Timestamp;

/// All that a message touches on its way into sessions: everything but who wants it.
pub(super) struct Outlet<'b> {
    pub(super) sessions: &'b mut Sessions,
    pub(super) connections: &'b mut Connections,
    pub(super) store: &'b mut MessageStore,
    pub(super) events: &'b mut EventQueue,
    pub(super) timers: &'b mut Timers,
    pub(super) config: &'b Config,
    pub(super) now: Timestamp,
    /// Bytes of all that is kept beside messages and sessions.
    pub(super) elsewhere: usize,
    /// References that were given out and are not counted yet.
    pub(super) uncounted: usize,
}

impl Outlet<'_> {
    /// Gives a message of so many bytes to one session. `false` when it is dropped.
    /// [`count`](Self::count) has to follow.
    #[inline(always)]
    pub(super) fn deliver(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        bytes: usize,
        copy: Copy,
    ) -> bool {
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        if entry.connection.is_none() && copy.qos == QoS::AtMostOnce {
            // [3:MQTT-3.1.2-5] Only QoS 1 and 2 wait for a client that is away.
            return false;
        }
        let outbound = &entry.session.outbound;
        if outbound.is_lent()
            || outbound.growth(copy.qos) > 0
            // One may be at hand, which is looked at where it matters.
            || !entry.has_room(copy.qos, bytes, 1, self.config)
        {
            return self.deliver_with_care(key, reference, bytes, copy);
        }
        self.uncounted = self.uncounted.wrapping_add(1);
        put(entry, self.store, self.connections, reference, bytes, copy);
        true
    }

    /// The same in a call of its own, for those who have a shorter way mostly.
    #[inline(never)]
    pub(super) fn deliver_apart(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        bytes: usize,
        copy: Copy,
    ) -> bool {
        self.deliver(key, reference, bytes, copy)
    }

    /// The same where something has to give way, or memory to grow.
    #[cold]
    #[inline(never)]
    fn deliver_with_care(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        bytes: usize,
        copy: Copy,
    ) -> bool {
        self.take_back(key);
        let id = self.sessions.get(key).and_then(|entry| entry.connection);
        let at_hand = self.connections.past_session_len(id);
        let has_room =
            |entry: &mut SessionEntry| entry.has_room(copy.qos, bytes, at_hand, self.config);
        if !self.sessions.get_mut(key).is_some_and(has_room) {
            // What gives way may be a reference to this very message.
            self.count(reference);
            if !self.push_in(key, reference, copy.qos, bytes) {
                return false;
            }
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        let growth = entry.session.outbound.growth(copy.qos);
        if growth > 0 && !self.has_bytes_for(growth) {
            self.tell_dropped(key, reference, DropCause::BrokerFull);
            return false;
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        self.uncounted = self.uncounted.wrapping_add(1);
        put(entry, self.store, self.connections, reference, bytes, copy);
        self.sessions.weigh(key);
        true
    }

    /// Whether so many bytes more may be kept.
    fn has_bytes_for(&self, bytes: usize) -> bool {
        { self.elsewhere.saturating_add(self.store.bytes()) }
            .saturating_add(self.sessions.bytes())
            .saturating_add(bytes)
            <= self.config.total_bytes_max
    }

    /// So many references were given out on the short way.
    #[inline]
    pub(super) fn note_handed(&mut self, handed: usize) {
        self.uncounted = self.uncounted.wrapping_add(handed);
    }

    /// Counts the references that were given out.
    #[inline]
    pub(super) fn count(&mut self, reference: &MessageRef) {
        let uncounted = core::mem::take(&mut self.uncounted);
        self.store.count(reference, uncounted);
    }
}

/// Puts a message for which there is room into a session.
#[inline(always)]
fn put(
    entry: &mut SessionEntry,
    store: &mut MessageStore,
    connections: &mut Connections,
    reference: &MessageRef,
    bytes: usize,
    copy: Copy,
) {
    let Copy {
        qos,
        retain,
        is_replay,
        group,
        subscription_ids,
    } = copy;
    let delivery = Delivery {
        message: reference.uncounted(),
        retain,
        is_replay,
        qos,
        group,
        subscription_ids,
    };
    store.note_delivery(&delivery);
    if store.journal.is_on() {
        enqueue_recorded(entry, store, delivery, bytes);
    } else {
        let outbound = &mut entry.session.outbound;
        outbound.enqueue(qos, delivery, 0, bytes, 0);
    }
    if let Some(connection) = entry.connection {
        connections.mark_ready(connection);
    }
}

/// Puts a delivery behind what waits in a session, where a store has to know of it.
#[cold]
#[inline(never)]
fn enqueue_recorded(
    entry: &mut SessionEntry,
    store: &mut MessageStore,
    delivery: Delivery,
    bytes: usize,
) {
    let (number, position) = store.record_delivery(entry.kept_as(), &delivery);
    let outbound = &mut entry.session.outbound;
    outbound.enqueue(delivery.qos, delivery, number, bytes, position);
}

/// Everything but who wants a message, of a broker whose subscriptions are looked at meanwhile: a method would borrow
/// these as well.
macro_rules! outlet {
    ($broker:ident, $elsewhere:ident) => {
        $crate::broker::outlet::Outlet {
            elsewhere: $elsewhere,
            sessions: &mut $broker.sessions,
            connections: &mut $broker.connections,
            store: &mut $broker.store,
            events: &mut $broker.events,
            timers: &mut $broker.timers,
            config: &$broker.config,
            now: $broker.clock.latest(),
            uncounted: 0,
        }
    };
}
pub(super) use outlet;

impl Broker {
    /// Everything but who wants a message.
    pub(super) fn outlet(&mut self) -> Outlet<'_> {
        let elsewhere = self.kept_elsewhere();
        outlet!(self, elsewhere)
    }
}
