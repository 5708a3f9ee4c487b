//! The short way to a client for whom nothing else waits: a QoS 0 message that goes to it as it is
//! stands with its connection, not in its session, until it is handed out.
//!
//! It goes before whatever comes behind it. It counts as on its way: for all that a broker keeps, but not for
//! what waits in its session.

use mqtt_codec::QoS;

use super::connections::Connection;
use super::outlet::Outlet;
use super::routing::{Subscription, Summary};
use super::sessions::{SessionEntry, SessionKey};
use super::store::{MessageRef, MessageStore};
use super::{Broker, ConnectionId};
use crate::link::Written;
use crate::pieces::{Output, SHARED_MIN};
use crate::{Traffic, Transmit};

/// Messages of more bytes take the long way: some are not copied there. So do all to a client that may not
/// take so many.
pub(super) const BYTES_MAX: usize = Written::LEN_MAX;
const _: () = assert!(BYTES_MAX <= SHARED_MIN, "none of them is shared");

/// The one message that is at hand for a connection.
#[derive(Debug)]
pub(super) struct AtHand {
    pub(super) message: MessageRef,
    pub(super) retain: bool,
}

impl Outlet<'_> {
    /// Whether a message may go on this way, to those who have nothing else and get it as it is.
    #[inline]
    pub(super) fn may_hand(
        &self,
        reference: &MessageRef,
        bytes: usize,
        summary: &Summary<'_>,
    ) -> bool {
        let config = &self.config.server;
        let len_max = config.waiting_len_max.min(self.config.waiting_qos0_len_max);
        !cfg!(feature = "small")
            && summary.qos == QoS::AtMostOnce
            && len_max > 0
            && bytes <= BYTES_MAX.min(config.messages_bytes_max)
            && !self.store.journal.is_on()
            && self.store.goes_as_it_is(reference)
    }

    /// Gives such a message to one session. Answers whether that could be: its reference has to be
    /// counted then.
    #[inline(always)]
    pub(super) fn hand(
        &mut self,
        key: SessionKey,
        subscription: &Subscription,
        reference: &MessageRef,
        retain: bool,
    ) -> bool {
        // Whether it is simple has been looked at before: mostly that is all.
        if !subscription.is_simple && subscription.id.is_some() {
            return false;
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        let Some(id) = entry.connection.filter(|_| entry.has_nothing()) else {
            return false;
        };
        let Some((connection, queue)) = self.connections.get_with_queue(id) else {
            return false;
        };
        if !connection.ready.rests() {
            return false;
        }
        let message = reference.uncounted();
        connection.at_hand = Some(AtHand { message, retain });
        queue.push_at_hand(id, &mut connection.ready);
        true
    }
}

impl SessionEntry {
    /// Whether nothing of it waits or is in flight, and nothing is to be told when something does.
    #[inline]
    fn has_nothing(&self) -> bool {
        self.session.outbound.messages_bytes() == 0 && !self.is_full
    }
}

impl Connection {
    /// Writes what is at hand. Answers whether there is more behind it.
    #[inline(always)]
    pub(super) fn write_at_hand<O: Output>(
        &mut self,
        store: &mut MessageStore,
        traffic: &mut Traffic,
        out: &mut O,
    ) -> Transmit {
        let before = out.len();
        if let Some(at_hand) = &self.at_hand {
            store.hand_over(at_hand, self.link.both_roles(), out);
            self.at_hand = None;
        }
        traffic.note_publish_sent(out.len().wrapping_sub(before));
        if self.ready.drain_at_hand() {
            Transmit::Idle
        } else {
            Transmit::More
        }
    }
}

impl Broker {
    /// Nobody will be given what is at hand.
    pub(super) fn drop_at_hand(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(id);
        if let Some(at_hand) = connection.and_then(|connection| connection.at_hand.take()) {
            self.store.release(at_hand.message);
        }
    }
}
