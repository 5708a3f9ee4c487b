//! The deadlines of a whole broker, in one order, and what happens when one has come.

use alloc::collections::BTreeSet;

use super::sessions::SessionKey;
use super::slab::Key;
use super::store::MessageName;
use super::{Broker, ConnectionId};
use crate::time::Deadline;
use crate::{CloseCause, Timestamp};

/// Something that is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A connection that sent too fast may go on.
    Rate(ConnectionId),
    /// Connect deadline, keep alive, or the end of an ended connection. May be early: a keep alive
    /// moves with every packet, its timer only when it fires.
    Connection(ConnectionId),
    /// The will of a client that went away is published.
    Will(SessionKey),
    /// The session of a client that went away ends.
    Session(SessionKey),
    /// A retained message expires.
    Retained(MessageName),
    /// A question counts as denied.
    Decision(Key),
    /// A client that does not read is told goodbye.
    TooSlow(ConnectionId),
    /// Some more connections are told goodbye.
    Drain,
    /// Other brokers have had their time to say whether they have a session.
    Claim(u64),
}

/// All timers; the next one is found without looking at the others.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Timestamp, Timer)>,
    /// The first of them: known without a look at the tree, which is deep when there are many.
    first: Option<(Timestamp, Timer)>,
    /// The last call had no time for all that was due.
    is_behind: bool,
}

impl Timers {
    pub(super) fn set(&mut self, at: Timestamp, timer: Timer) {
        // What is due at the end of time never is.
        if at < Timestamp::MAX {
            self.order.insert((at, timer));
            if self.first.is_none_or(|first| (at, timer) < first) {
                self.first = Some((at, timer));
            }
        }
    }

    pub(super) fn cancel(&mut self, at: Timestamp, timer: Timer) {
        self.order.remove(&(at, timer));
        if self.first == Some((at, timer)) {
            self.first = self.order.first().copied();
        }
    }

    pub(super) fn next(&self) -> Option<(Timestamp, Timer)> {
        self.first
    }

    fn pop_first(&mut self) {
        self.order.pop_first();
        self.first = self.order.first().copied();
    }

    /// The next timer that is due.
    fn due(&self, now: Timestamp) -> Option<Timer> {
        let (at, timer) = self.next()?;
        (at <= now).then_some(timer)
    }

    /// Whether something that was due was left for the next call.
    pub(super) const fn is_behind(&self) -> bool {
        self.is_behind
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

impl Broker {
    /// Carries out the deadlines that have passed, as many as this call has steps for.
    pub(super) fn fire_due(&mut self, now: Timestamp) {
        self.timers.is_behind = false;
        while let Some(timer) = self.timers.due(now) {
            if !self.work.allows(self.cost_of(timer)) {
                self.timers.is_behind = true;
                return;
            }
            self.timers.pop_first();
            // The end of a session takes its own, and so does each goodbye.
            if !matches!(timer, Timer::Session(_) | Timer::Drain) {
                self.work.spend(1);
            }
            match timer {
                Timer::Rate(id) => self.end_waiting(now, id),
                Timer::TooSlow(id) => self.end_slow(now, id),
                Timer::Drain => {
                    if self.drain_some(now) {
                        self.timers.is_behind = true;
                        return;
                    }
                }
                Timer::Connection(id) => self.connection_timer(now, id),
                Timer::Will(key) => self.publish_will(now, key),
                Timer::Session(key) => self.end_session_in_turn(now, key),
                Timer::Retained(name) => self.expire_retained(name),
                Timer::Decision(key) => self.question_expired(now, key),
                Timer::Claim(count) => self.claim_expired(now, count),
            }
        }
    }

    /// Steps that this takes in one piece.
    fn cost_of(&self, timer: Timer) -> usize {
        match timer {
            Timer::Session(key) => self.cost_of_ending(key),
            Timer::Connection(id) | Timer::TooSlow(id) => self.cost_of_leaving(id),
            Timer::Will(_)
            | Timer::Retained(_)
            | Timer::Decision(_)
            | Timer::Rate(_)
            | Timer::Claim(_)
            | Timer::Drain => 1,
        }
    }

    /// Sets the timer of a connection. One that fires too early is left alone: it is set anew when
    /// it fires, so that a packet costs no timer.
    pub(super) fn arm(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(deadline) = connection.link.deadline() else {
            return;
        };
        match connection.timer_at.at() {
            Some(at) if at <= deadline.at => return,
            Some(at) => self.timers.cancel(at, Timer::Connection(id)),
            None => {}
        }
        connection.timer_at = deadline.at.into();
        self.timers.set(deadline.at, Timer::Connection(id));
    }

    fn connection_timer(&mut self, now: Timestamp, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.timer_at = Deadline::NEVER;
        if connection.link.is_ended() {
            // Its last bytes have had their time: the next poll answers `Close`.
            if connection
                .link
                .deadline()
                .is_some_and(|deadline| deadline.at <= now)
            {
                self.connections.mark_over(id);
                return;
            }
        } else if let Some(cause) = connection.link.expired(now) {
            if cause != CloseCause::KeepAliveTimeout || !self.is_kept_waiting(id) {
                return self.end_connection(now, id, cause, None);
            }
            self.note_alive(now, id);
        }
        self.arm(id);
    }

    /// A connection that sent too fast may go on: its silence begins here.
    fn end_waiting(&mut self, now: Timestamp, id: ConnectionId) {
        self.note_alive(now, id);
        self.connections.mark_open(id);
    }

    /// Whether input of a connection is not taken for a reason that is not its client's, so that nobody
    /// knows whether that is silent.
    fn is_kept_waiting(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id);
        connection.is_some_and(|connection| self.input_waits(connection).is_some())
    }

    fn note_alive(&mut self, now: Timestamp, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.link.note_input(now);
        }
    }
}
