//! Bytes on their way out of a broker.

use alloc::vec::Vec;

use super::retained::Replays;
use super::store::Deliveries;
use super::{Broker, ConnectionId};
use crate::pieces::Output;
use crate::{Timestamp, Transmit};

/// What one look at a connection has brought.
struct Looked {
    transmit: Transmit,
    /// Nothing else can be done for it now.
    is_settled: bool,
}

impl Broker {
    /// What the next connection with output has, for where there is room for it.
    #[inline(always)]
    pub(super) fn transmit_next<'o>(
        &mut self,
        now: Timestamp,
        room: impl FnOnce(ConnectionId) -> Option<(&'o mut Vec<u8>, usize)>,
    ) -> Option<(ConnectionId, Transmit)> {
        let (id, connection) = self.connections.hand_out()?;
        let Some((out, max_bytes)) = room(id) else {
            return Some((id, Transmit::More));
        };
        if connection.ready.has_only_at_hand() {
            let (sessions, store) = (&mut self.sessions, &mut self.store);
            connection.ready = connection.write_at_hand(sessions, store, &mut self.traffic, out);
            return Some((id, Transmit::Idle));
        }
        Some((id, self.poll_transmit(now, id, max_bytes, out)))
    }

    #[inline(always)]
    pub(super) fn transmit<O: Output>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        max_bytes: usize,
        out: &mut O,
    ) -> Transmit {
        let now = self.begin(now);
        let end = out.len().saturating_add(max_bytes.max(1));
        self.follow_store(id);
        let looked = self.look(now, id, end, out);
        // Mostly that is all.
        if looked.is_settled {
            return looked.transmit;
        }
        self.transmit_more(now, id, end, out, looked.transmit)
    }

    /// Appends what is at hand and what its link has to send, until there are `end` bytes in `out`.
    #[inline(always)]
    fn look<O: Output>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        end: usize,
        out: &mut O,
    ) -> Looked {
        let Some(connection) = self.connections.get_mut(id) else {
            return Looked {
                transmit: Transmit::Close,
                is_settled: true,
            };
        };
        if connection.has_at_hand() {
            let (sessions, store) = (&mut self.sessions, &mut self.store);
            let rests = connection.write_at_hand(sessions, store, &mut self.traffic, out);
            let was_all = connection.ready.drain_at_hand(rests);
            return Looked {
                transmit: if was_all {
                    Transmit::Idle
                } else {
                    Transmit::More
                },
                is_settled: true,
            };
        }
        let before = out.len();
        let Some(key) = connection.session else {
            return self.look_before_session(now, id, end, out);
        };
        let Some(entry) = self.sessions.get_mut(key) else {
            return self.look_before_session(now, id, end, out);
        };
        let is_stored = self.store.journal.is_on();
        let mut deliveries = Deliveries {
            kept_as: if is_stored { entry.kept_as() } else { None },
            store: &mut self.store,
            events: &mut self.events,
            traffic: &mut self.traffic,
            client_id: &entry.client_id,
        };
        let session = Some(&mut entry.session);
        let transmit = connection
            .link
            .transmit(now, end, out, session, &mut deliveries);
        self.traffic.note_sent(out.len().saturating_sub(before));
        let is_settled = transmit == Transmit::Idle && entry.rests() && !is_stored;
        if is_settled {
            if connection.ready.drain() {
                self.connections.mark_ready(id);
            } else {
                connection.note_rest();
            }
        }
        Looked {
            transmit,
            is_settled,
        }
    }

    /// The same for a connection that has no session: what it sends ends the handshake, or it.
    #[inline(never)]
    fn look_before_session<O: Output>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        end: usize,
        out: &mut O,
    ) -> Looked {
        let mut transmit = Transmit::Close;
        if let Some(connection) = self.connections.get_mut(id) {
            let mut deliveries = Deliveries {
                store: &mut self.store,
                events: &mut self.events,
                traffic: &mut self.traffic,
                client_id: "",
                kept_as: None,
            };
            let before = out.len();
            transmit = connection
                .link
                .transmit(now, end, out, None, &mut deliveries);
            self.traffic.note_sent(out.len().saturating_sub(before));
        }
        Looked {
            transmit,
            is_settled: false,
        }
    }

    /// Goes on where one look was not all.
    #[inline(never)]
    fn transmit_more<O: Output>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        end: usize,
        out: &mut O,
        mut transmit: Transmit,
    ) -> Transmit {
        let transmit = loop {
            // Retained messages that a new subscription still has to get follow in slices.
            let replays = match self.session_key(id) {
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
            self.follow_store(id);
            if out.len() >= end {
                break Transmit::More;
            }
            let looked = self.look(now, id, end, out);
            if looked.is_settled {
                return looked.transmit;
            }
            transmit = looked.transmit;
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
