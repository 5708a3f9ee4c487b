//! The deadlines of a whole broker, in one order.

use alloc::collections::BTreeSet;

use super::ConnectionId;
use super::sessions::SessionKey;
use super::store::MessageName;
use crate::Timestamp;

/// Something that is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Connect deadline, keep alive, or the end of an ended connection. May be early: a keep alive
    /// moves with every packet, its timer only when it fires.
    Connection(ConnectionId),
    /// The will of a client that went away is published.
    Will(SessionKey),
    /// The session of a client that went away ends.
    Session(SessionKey),
    /// A retained message expires.
    Retained(MessageName),
}

/// All timers; the next one is found without looking at the others.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Timestamp, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.order.insert((at, timer));
    }

    pub(super) fn cancel(&mut self, at: Timestamp, timer: Timer) {
        self.order.remove(&(at, timer));
    }

    pub(super) fn next(&self) -> Option<(Timestamp, Timer)> {
        self.order.first().copied()
    }

    /// Takes out the next timer that is due.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let (at, timer) = self.next()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        Some(timer)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
