//! What a broker says of itself and of its connections.

use mqtt_codec::{QoS, Rule};

use super::connections::Connection;
use super::{Broker, ConnectionId};
use crate::{Explanation, InputWaits, OutputWaits, Traffic};

/// Figures about a broker at one moment, from [`Broker::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Open connections, accepted or still before CONNECT.
    pub connections: usize,
    /// The most that were open together.
    pub connections_most: usize,
    /// Those that [`Broker::accept`] has taken.
    pub connections_taken: u64,
    /// Clients whose CONNECT was accepted and that are connected: as many sessions are in use.
    pub clients: usize,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Messages kept for sessions and as retained messages, each counted once.
    pub messages: usize,
    /// Bytes of these messages.
    pub messages_bytes: usize,
    /// Bytes of everything kept, as [`Config::total_bytes_max`](super::Config::total_bytes_max) counts them.
    pub kept_bytes: usize,
    /// Deadlines.
    pub timers: usize,
    /// The most steps that one call has taken, in the sense of [`Config::work_per_call`](super::Config::work_per_call).
    pub work_of_call_max: usize,
    /// Events that nobody fetched in time.
    pub events_dropped: u64,
    /// PUBLISH packets taken, by QoS.
    pub publishes_received: [u64; 3],
    /// Times that a message did not reach a client ([`Event::Dropped`](super::Event::Dropped)).
    pub messages_dropped: u64,
    /// Messages that were not taken ([`Event::Refused`](super::Event::Refused)).
    pub messages_refused: u64,
    /// What went through, over all connections.
    pub traffic: Traffic,
}

/// What is counted for [`Stats`] and found nowhere else.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) connections_most: usize,
    pub(super) connections_taken: u64,
    pub(super) clients: usize,
    pub(super) publishes_received: [u64; 3],
}

impl Counts {
    pub(super) fn note_connection(&mut self, open: usize) {
        self.connections_taken = self.connections_taken.saturating_add(1);
        self.connections_most = self.connections_most.max(open);
    }

    #[inline]
    pub(super) fn note_publish(&mut self, qos: QoS) {
        let [at_most_once, at_least_once, exactly_once] = &mut self.publishes_received;
        let count = match qos {
            QoS::AtMostOnce => at_most_once,
            QoS::AtLeastOnce => at_least_once,
            QoS::ExactlyOnce => exactly_once,
        };
        *count = count.wrapping_add(1);
    }
}

impl Broker {
    /// Figures at this moment. Costs nothing that grows with the broker.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.len(),
            connections_most: self.counts.connections_most,
            connections_taken: self.counts.connections_taken,
            clients: self.counts.clients,
            sessions: self.sessions.len(),
            subscriptions: self.subscriptions.len(),
            retained: self.retained.len(),
            messages: self.store.len(),
            messages_bytes: self.store.bytes(),
            kept_bytes: self.kept_bytes(),
            timers: self.timers.len(),
            work_of_call_max: self.work.most(),
            events_dropped: self.events.dropped(),
            publishes_received: self.counts.publishes_received,
            messages_dropped: self.events.messages_dropped(),
            messages_refused: self.events.messages_refused(),
            traffic: self.traffic,
        }
    }

    /// Questions without an answer.
    #[must_use]
    pub fn undecided_len(&self) -> usize {
        self.decisions.len()
    }

    /// What a connection and its session wait for; `None` for a connection that is gone.
    #[must_use]
    pub fn explain(&self, id: ConnectionId) -> Option<Explanation> {
        let connection = self.connections.get(id)?;
        let session = connection.session.and_then(|key| self.sessions.get(key));
        let explanation = connection.link.explain(session.map(|entry| &entry.session));
        Some(Explanation {
            waiting_len: { explanation.waiting_len }.saturating_add(connection.past_session_len()),
            is_at_hand: connection.has_at_hand(),
            input: { explanation.input }.or_else(|| self.input_waits(connection)),
            output: if connection.has_at_hand() {
                Some(OutputWaits::ForPoll)
            } else {
                explanation.output
            },
            held_len: connection.held.len(),
            replays_len: session.map_or(0, |entry| entry.replays.len()),
            ..explanation
        })
    }

    /// Which rules the client of a connection broke and was let go by the strictness of
    /// [`Config::server`](super::Config::server), and in how many packets.
    pub fn tolerated(&self, id: ConnectionId) -> impl Iterator<Item = (Rule, u32)> {
        let connection = self.connections.get(id);
        connection
            .into_iter()
            .flat_map(|connection| connection.link.tolerated())
    }

    /// Why no input of a connection is taken, apart from what its link says.
    pub(super) fn input_waits(&self, connection: &Connection) -> Option<InputWaits> {
        let held = &connection.held;
        let open_max = self.config.decisions_per_connection_max;
        if held.len() >= self.config.held_max.max(1)
            || held.asks_enough(open_max)
            || self.asks_too_much()
        {
            Some(InputWaits::ForDecision)
        } else if self.is_too_fast(connection) {
            Some(InputWaits::ForTime)
        } else if self.journal_is_full() {
            Some(InputWaits::ForJournal)
        } else if self.is_fanning_out(connection.session) {
            Some(InputWaits::ForReceivers)
        } else {
            None
        }
    }

    pub(super) fn is_too_fast(&self, connection: &Connection) -> bool {
        let has_rates = self.config.has_rates();
        has_rates && { connection.rates.blocked_until(self.clock.latest()) }.is_some()
    }
}
