//! Bytes on their way out of a broker.

use super::retained::Replays;
use super::sessions::SessionEntry;
use super::store::Deliveries;
use super::{Broker, ConnectionId};
use crate::pieces::Output;
use crate::{Timestamp, Transmit};

impl Broker {
    pub(super) fn transmit<O: Output>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        max_bytes: usize,
        out: &mut O,
    ) -> Transmit {
        let now = self.begin(now);
        let end = out.len().saturating_add(max_bytes.max(1));
        let transmit = loop {
            self.follow_store(id);
            let room = end.saturating_sub(out.len());
            if room == 0 {
                break Transmit::More;
            }
            let Some(connection) = self.connections.get_mut(id) else {
                return Transmit::Close;
            };
            let key = connection.session;
            let mut entry = key.and_then(|key| self.sessions.get_mut(key));
            let (client_id, kept_as, session) = SessionEntry::parts(entry.as_deref_mut());
            let mut deliveries = Deliveries {
                store: &mut self.store,
                events: &mut self.events,
                traffic: &mut self.traffic,
                client_id,
                kept_as,
            };
            let before = out.len();
            let transmit = connection
                .link
                .transmit(now, room, out, session, &mut deliveries);
            self.traffic.note_sent(out.len().saturating_sub(before));
            // Mostly that is all.
            let rests = entry.is_none_or(|entry| entry.rests());
            if transmit == Transmit::Idle && rests && !self.store.journal.is_on() {
                if connection.note_drained() {
                    self.connections.mark_ready(id);
                }
                return transmit;
            }
            // Retained messages that a new subscription still has to get follow in slices.
            let replays = match key {
                Some(key) if transmit == Transmit::Idle => self.advance_replays(now, key),
                _ => Replays::Wait,
            };
            match replays {
                Replays::Queued => {}
                // Some were given up, and the next have no identifiers yet.
                Replays::Wait if transmit == Transmit::Idle && self.may_assign(id) => {}
                Replays::Wait => break transmit,
                // The next call has steps again.
                Replays::OutOfSteps => break Transmit::More,
            }
        };
        match transmit {
            Transmit::Idle => {
                if let Some(key) = self.session_key(id) {
                    self.give_back(key);
                }
                self.connections.mark_drained(id);
                self.wait_for_store(id);
            }
            Transmit::More => {}
            Transmit::Close => self.forget(id),
        }
        transmit
    }
}
