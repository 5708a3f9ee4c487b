//! What a broker must not forget, change by change, so that a store can follow it.
//!
//! With [`Config::journal`](super::Config::journal) a broker says what changes of its sessions,
//! subscriptions, retained messages and messages on their way, and sends nothing that depends on a
//! change before it has been told that the change is stored. What is stored is a table of keys and
//! values, so that any database will do, and there is nothing to compact. [`Restore`] shows all of it.

mod key;
mod record;
mod restore;
mod value;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

pub use key::StoreKey;
pub use restore::{Idle, Restore, RestoreError};
pub use value::StoreValue;

pub(super) use value::StoredSubscription;

use key::Key;
use value::Value;

pub(super) use record::StoredAs;

use super::{Broker, Config, ConnectionId};
use crate::Timestamp;

/// What happened since the entry before. It is stored whole, or not at all, and after those before it.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalEntry {
    position: u64,
    at: Timestamp,
    changes: Vec<Change>,
}

impl JournalEntry {
    /// Where it stands: 1 for the first of a broker, and one more for each that follows.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// When it was handed out, in the time of the store: that goes on where the store was left, when a
    /// broker is restored.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// What to do to the store, in this order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// One thing that a store has to put, replace or remove.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    key: StoreKey,
    value: Option<StoreValue>,
}

impl Change {
    /// What it is about.
    #[must_use]
    pub const fn key(&self) -> &StoreKey {
        &self.key
    }

    /// What stands there from now on; `None` when nothing does.
    #[must_use]
    pub const fn value(&self) -> Option<&StoreValue> {
        self.value.as_ref()
    }
}

/// Changes on their way to a store, how far that has come, and who waits for it.
#[derive(Debug)]
pub(super) struct Journal {
    is_on: bool,
    /// The entry that is not handed out yet.
    changes: Vec<Change>,
    /// Of messages and texts in it.
    bytes: usize,
    /// The last entry that was.
    handed_out: u64,
    stored: u64,
    /// Nothing more will be stored.
    has_failed: bool,
    /// Of messages, sessions and deliveries; never used again.
    next_number: u64,
    /// The same moment by the clock of this broker and in the time of the store.
    origin: (Timestamp, Timestamp),
    /// What is routed now depends on what has been changed, whatever its QoS.
    is_dependent: bool,
    /// Connections whose output waits, and for which position.
    waiting: BTreeSet<(u64, ConnectionId)>,
    /// Connections whose input was not taken because too many changes wait.
    refused: BTreeSet<ConnectionId>,
}

impl Journal {
    pub(super) const fn new(is_on: bool) -> Self {
        Self {
            is_on,
            changes: Vec::new(),
            bytes: 0,
            handed_out: 0,
            stored: 0,
            has_failed: false,
            next_number: 1,
            origin: (Timestamp::ZERO, Timestamp::ZERO),
            is_dependent: false,
            waiting: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// The position that what is changed now will have.
    pub(super) const fn open_position(&self) -> u64 {
        self.handed_out.saturating_add(1)
    }

    /// The position up to which has to be stored what was changed so far.
    pub(super) fn position(&self) -> u64 {
        if self.changes.is_empty() {
            self.handed_out
        } else {
            self.open_position()
        }
    }

    /// Whether what is routed from here on waits for what has been changed.
    pub(super) const fn set_dependent(&mut self, is_dependent: bool) {
        self.is_dependent = is_dependent;
    }

    /// Changes that nobody has fetched.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(super) const fn stored(&self) -> u64 {
        self.stored
    }

    /// The connection has output that waits for this position.
    pub(super) fn wait(&mut self, position: u64, id: ConnectionId) {
        self.waiting.insert((position, id));
    }

    /// Nothing has a number in the store where there is no journal, so nothing comes here then.
    fn put(&mut self, key: Key, value: Value) {
        debug_assert!(self.is_on, "{key:?}");
        self.change(key, Some(value));
    }

    fn remove(&mut self, key: Key) {
        if self.is_on {
            self.change(key, None);
        }
    }

    fn change(&mut self, key: Key, value: Option<Value>) {
        let bytes = value.as_ref().map_or(0, Value::len_held);
        self.bytes = self.bytes.saturating_add(bytes);
        self.changes.push(Change {
            key: StoreKey(key),
            value: value.map(StoreValue),
        });
    }

    fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        number
    }

    /// This number has been used.
    fn note_number(&mut self, number: u64) {
        self.next_number = self.next_number.max(number.saturating_add(1));
    }

    /// The same moment by the clock of this broker and in the time of the store.
    fn begin(&mut self, ours: Timestamp, stored: Timestamp) {
        self.origin = (ours, stored);
    }

    /// A moment in the time of the store, by the clock of this broker; what has passed is now.
    fn by_our_clock(&self, at: Timestamp) -> Timestamp {
        let (ours, stored) = self.origin;
        ours + at.saturating_since(stored)
    }

    /// A moment of this broker's clock, in the time of the store.
    fn to_store(&self, at: Timestamp) -> Timestamp {
        let (ours, stored) = self.origin;
        stored + at.saturating_since(ours)
    }

    fn is_full(&self, config: &Config) -> bool {
        self.changes.len() >= config.journal_len_max.max(1)
            || self.bytes >= config.journal_bytes_max.max(1)
    }
}

impl Broker {
    /// The next entry for a store that follows this broker, where
    /// [`Config::journal`](super::Config::journal) says that there is one: everything that has changed
    /// since the last call. Call after any call that takes `&mut self`, or less often to store more
    /// at once: what depends on it waits so long.
    pub fn poll_journal(&mut self) -> Option<JournalEntry> {
        let journal = &mut self.store.journal;
        if journal.changes.is_empty() {
            return None;
        }
        let at = journal.to_store(self.clock.latest());
        journal.handed_out = journal.handed_out.saturating_add(1);
        journal.bytes = 0;
        let entry = JournalEntry {
            position: journal.handed_out,
            at,
            changes: core::mem::take(&mut journal.changes),
        };
        for id in core::mem::take(&mut journal.refused) {
            self.connections.mark_open(id);
        }
        Some(entry)
    }

    /// Everything up to this position of the journal is safe:
    /// [`poll_ready`](Self::poll_ready) names the connections that waited for it. Positions need not be
    /// told one by one, nor at once; those that were not handed out yet count for nothing.
    ///
    /// CONNACK, SUBACK, UNSUBACK, PUBACK, PUBREC, PUBREL and PUBCOMP wait until what they say is
    /// stored, a QoS 1 or 2 message to a session that is kept until it and its packet identifier are,
    /// and whatever comes of a QoS 2 message or a will until it cannot come again.
    pub fn handle_stored(&mut self, position: u64) {
        let journal = &mut self.store.journal;
        journal.stored = journal.stored.max(position.min(journal.handed_out));
        while let Some((position, id)) = journal.waiting.first().copied()
            && position <= journal.stored
        {
            journal.waiting.pop_first();
            self.connections.mark_ready(id);
        }
    }

    /// The store has failed: nothing more is stored than [`handle_stored`](Self::handle_stored) was told of, and
    /// what waits for more is never sent. This is a [`drain`](Self::drain) with 0x8B Server shutting down, or goes on with
    /// the one there is: each connection hears DISCONNECT in place of what waits for it, or CONNACK with
    /// 0x88 Server unavailable where its CONNACK is among that, and nobody new is let in. A connection that had ended
    /// before, with its last words behind something that waits, is closed without them after
    /// [`close_timeout`](crate::server::Config::close_timeout).
    ///
    /// This broker is of no more use then, as it has gone on from what the store has: another one goes on with
    /// [`Restore`]. Clients send again what was not acknowledged. Without a journal nothing happens.
    pub fn handle_store_failed(&mut self, now: Timestamp) {
        if !self.store.journal.is_on() {
            return;
        }
        self.store.journal.has_failed = true;
        let drain = self.draining.clone().unwrap_or_default();
        self.drain(now, drain);
    }

    /// Where the store has failed, a connection that ends does not wait for it.
    pub(super) fn give_up_unstored(&mut self, id: ConnectionId) {
        if self.store.journal.has_failed
            && let Some(connection) = self.connections.get_mut(id)
        {
            // What was stored may go.
            connection.link.note_stored(self.store.journal.stored);
            connection.link.give_up_held();
        }
    }

    /// Routes what depends on what has been changed: nothing of it goes out before that is stored.
    pub(super) fn depending<T>(&mut self, route: impl FnOnce(&mut Self) -> T) -> T {
        self.store.journal.set_dependent(true);
        let routed = route(self);
        self.store.journal.set_dependent(false);
        routed
    }

    /// Whether so many changes wait for the store that nothing more is taken.
    pub(super) fn journal_is_full(&self) -> bool {
        self.store.journal.is_full(&self.config)
    }

    /// Input of this connection was not taken because of that.
    #[cold]
    pub(super) fn note_refused(&mut self, id: ConnectionId) {
        self.store.journal.refused.insert(id);
    }

    /// Does what may change something, and lets the answers of a connection wait until that is stored.
    pub(super) fn answering<T>(
        &mut self,
        id: ConnectionId,
        action: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if !self.store.journal.is_on() {
            return action(self);
        }
        let mark = self.mark(id);
        let before = self.store.journal.len();
        let result = action(self);
        if self.store.journal.len() > before {
            self.hold_answers(id, mark, self.store.journal.open_position());
        }
        result
    }

    /// Answers of a connection wait until all that was changed so far is stored.
    pub(super) fn answering_for_all<T>(
        &mut self,
        id: ConnectionId,
        action: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mark = self.mark(id);
        let result = action(self);
        if self.store.journal.is_on() {
            self.hold_answers(id, mark, self.store.journal.position());
        }
        result
    }

    /// Where the answers to what comes now will begin.
    fn mark(&self, id: ConnectionId) -> u64 {
        let connection = self.connections.get(id);
        connection.map_or(0, |connection| connection.link.mark())
    }

    /// Answers since `mark` wait until that much is stored.
    fn hold_answers(&mut self, id: ConnectionId, mark: u64, position: u64) {
        let stored = self.store.journal.stored();
        if let Some(connection) = self.connections.get_mut(id) {
            connection.link.note_stored(stored);
            connection.link.hold(mark, position);
        }
    }

    /// Tells a connection and its session how far the store has come, and gives messages the
    /// identifiers that have to be stored before they are used.
    pub(super) fn follow_store(&mut self, id: ConnectionId) {
        if self.store.journal.is_on() {
            self.follow_store_on(id);
        }
    }

    #[cold]
    fn follow_store_on(&mut self, id: ConnectionId) {
        let stored = self.store.journal.stored();
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.link.note_stored(stored);
        let key = connection.session;
        let Some(entry) = key.and_then(|key| self.sessions.get_mut(key)) else {
            return;
        };
        entry.session.outbound.note_stored(stored);
        let quota = connection.link.send_quota();
        while !self.store.journal.is_full(&self.config)
            && let Some((place, number, packet_id)) = entry.session.outbound.assign(quota)
        {
            let position = self.store.journal.open_position();
            if let Some(next) = entry.session.outbound.look_at(place) {
                let session = entry.stored_as;
                self.store
                    .record_published(session, number, next.message, packet_id);
            }
            entry.session.outbound.hold(place, position);
        }
        if entry.session.outbound.may_assign(quota) {
            // It goes on when the store has fetched what there is.
            self.store.journal.refused.insert(id);
        }
    }

    /// Whether more messages of a connection could get their identifiers now. When only the journal is
    /// too full for that, they get them as soon as the store has fetched what there is.
    pub(super) fn may_assign(&mut self, id: ConnectionId) -> bool {
        if !self.store.journal.is_on() {
            return false;
        }
        let Some(connection) = self.connections.get(id) else {
            return false;
        };
        let entry = connection.session.and_then(|key| self.sessions.get(key));
        let quota = connection.link.send_quota();
        if !entry.is_some_and(|entry| entry.session.outbound.may_assign(quota)) {
            return false;
        }
        let is_full = self.journal_is_full();
        if is_full {
            self.store.journal.refused.insert(id);
        }
        !is_full
    }

    /// Whether the connection has output that waits for the store; if so, it is named when it
    /// can go on.
    pub(super) fn wait_for_store(&mut self, id: ConnectionId) {
        if !self.store.journal.is_on() {
            return;
        }
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let key = connection.session;
        let session = key.and_then(|key| self.sessions.get(key));
        let session = session.map(|entry| &entry.session);
        match connection.link.held_position(session) {
            // It was stored while there was no room to send it, and the session has not been told.
            Some(position) if position <= self.store.journal.stored() => {
                self.connections.mark_ready(id);
            }
            Some(position) => self.store.journal.wait(position, id),
            None => {}
        }
    }
}
