//! What a broker keeps, and what the limits of one add up to.

use core::mem::size_of;

use mqtt_codec::PacketId;

use super::connections::Connections;
use super::decision::Decisions;
use super::fan_out::FanOut;
use super::sessions::{SessionKey, Sessions};
use super::slab::PIECE;
use super::store::{Delivery, MessageStore};
use super::{Broker, Change, Config, ConnectionId, Event, Peer};
use crate::session::{Inbound, Outbound};
use crate::weights::{MAP_ENTRY, SHARED, TEXT_MAX, vec};

impl Broker {
    /// Bytes of everything that is kept for clients and grows with what they do, as
    /// [`Config::total_bytes_max`] counts them.
    #[inline]
    pub(super) fn kept_bytes(&self) -> usize {
        { self.kept_elsewhere() }
            .saturating_add(self.store.bytes())
            .saturating_add(self.sessions.bytes())
    }

    /// The same beside messages and sessions.
    #[inline]
    pub(super) fn kept_elsewhere(&self) -> usize {
        { self.indexes_bytes }
            .saturating_add(self.router.groups_len().saturating_mul(MAP_ENTRY))
            .saturating_sub(self.empty_bytes)
    }

    /// Subscriptions or retained messages have come or gone: they are weighed anew.
    pub(super) fn weigh_indexes(&mut self) {
        self.indexes_bytes = self.weight_of_indexes();
    }

    pub(super) fn weight_of_indexes(&self) -> usize {
        [
            self.subscriptions.memory(),
            self.denied_bytes,
            self.local.memory(),
            self.retained.memory(),
            self.joined_bytes(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// How many bytes more may be kept.
    pub(super) fn bytes_left(&self) -> usize {
        { self.config.total_bytes_max }.saturating_sub(self.kept_bytes())
    }

    /// Whether so many bytes more may be kept.
    #[inline]
    pub(super) fn has_bytes_for(&self, bytes: usize) -> bool {
        self.kept_bytes().saturating_add(bytes) <= self.config.total_bytes_max
    }

    /// Whether a session may have this identifier, which it brings along: the table of them is as long as the
    /// highest one, and what other limits have given out, or nobody, may be any.
    pub(super) fn has_bytes_for_id(&self, key: SessionKey, id: PacketId) -> bool {
        let entry = self.sessions.get(key);
        let bytes = entry.map_or(0, |entry| entry.session.outbound.bytes_for_id(id));
        bytes == 0 || self.has_bytes_for(bytes)
    }

    /// Whether nothing more may be kept.
    pub(super) fn is_full(&self) -> bool {
        !self.has_bytes_for(1) || self.store.len() >= self.config.messages_len_max
    }

    /// Gives memory of a session back in which nothing is kept now, if it is much.
    #[inline]
    pub(super) fn give_back(&mut self, key: SessionKey) {
        if let Some(entry) = self.sessions.get_mut(key)
            && entry.session.outbound.is_oversized()
        {
            entry.session.outbound.shrink();
            self.sessions.weigh(key);
        }
    }
}

/// Bytes of one deadline in their order, which is full by half at least.
const TIMER: usize = 64;

/// Tables that nobody has put anything in, and memory that routing uses again and again.
const EMPTY: usize = 256 * 1024;

/// Bytes that a message may pin beside twice its size where its memory is used again.
const USED_AGAIN: usize = 128;

/// Bytes that routing uses for each filter that matches, and for each of its subscribers in one
/// stretch.
const MATCH: usize = 48;

/// Bytes in the index that one subscription takes at least.
pub(super) const SUBSCRIPTION_MIN: usize = 64;

impl Config {
    /// How many bytes one [`Broker`] with these limits has on the heap at most, whatever its clients
    /// send and however slowly they read, while its embedder fetches events, connections that are ready
    /// and entries of the journal after each call, and whatever brokers it is joined with say; beside them
    /// there are its own `size_of` and what embedders themselves say in answers. It is the sum of
    ///
    /// | what | bytes |
    /// |---|---|
    /// | everything that [`total_bytes_max`](Self::total_bytes_max) counts | twice that, as a message may share a buffer of twice its size; one packet more |
    /// | messages | `messages_len_max` × (3 places + 192) |
    /// | sessions | `sessions_max` × (1 place + 144; identifiers: 16 × (2 × `in_flight_max` + 16) and 4 × twice the larger Receive Maximum, but at least 16 and at most 65,535) |
    /// | connections | `connections_max` × (1 place + 32; 2 × what `answers_bytes_max` allows; 65,663 for each topic alias in and twice that out; 4 × the larger Receive Maximum; `identity_len_max` + 128) |
    /// | enhanced authentication, where it is on | `connections_max` × 4 × `connect_packet_size_max` |
    /// | deadlines | 64 × (3 × `connections_max` + 2 × `sessions_max` + `retained_len_max` + `decisions_max`) |
    /// | events | 2 places × (`events_max` + `decisions_max`), 2 × `events_bytes_max` and 64 for each |
    /// | questions, where some are asked | 2 places × `decisions_max`, 4 × (`held_bytes_max` + `packet_size_max`) |
    /// | routing | 48 for each subscription that there can be; 256 KiB |
    /// | other brokers, where it may be joined | for each of `brokers_max`: 4 KiB, 16 × (66 KiB + 48 × `brokers_max`), 1 KiB × (2 × `in_flight_max` + `waiting_len_max` + `subscriptions_per_session_max`); 1 MiB; 16 for each of their interests that there can be |
    /// | the journal, where there is one | 2 places × (`journal_len_max` + what one call adds), 2 × `journal_bytes_max`, and 8 × `answers_bytes_max` + 128 for each connection |
    ///
    /// A place is the `size_of` an entry of a table; tables of messages, sessions and connections grow by
    /// pieces of 16, others by factors of two.
    ///
    /// ```
    /// use mqtt_state::{broker, server};
    ///
    /// let small = broker::Config {
    ///     server: server::Config {
    ///         packet_size_max: 16 * 1024,
    ///         connect_packet_size_max: 4 * 1024,
    ///         receive_maximum_v3: 20,
    ///         topic_alias_maximum: 0,
    ///         outbound_topic_aliases_max: 0,
    ///         answers_bytes_max: 1024,
    ///         ..server::Config::default()
    ///     },
    ///     connections_max: 100,
    ///     sessions_max: 200,
    ///     messages_len_max: 2_000,
    ///     retained_len_max: 500,
    ///     events_max: 100,
    ///     events_bytes_max: 64 * 1024,
    ///     decisions_max: 100,
    ///     total_bytes_max: 1024 * 1024,
    ///     ..broker::Config::default()
    /// };
    /// assert!(small.memory_bound() < 8 * 1024 * 1024);
    /// ```
    #[must_use]
    pub fn memory_bound(&self) -> usize {
        let Self {
            connections_max,
            sessions_max,
            messages_len_max,
            decisions_max,
            events_max,
            ..
        } = *self;
        // Without questions only `reauthorize` has some.
        let packet_size_max = usize::try_from(self.server.packet_size_max).unwrap_or(usize::MAX);
        let kept = { self.total_bytes_max }.saturating_add(packet_size_max);
        let held = { self.held_bytes_max }.saturating_add(packet_size_max);
        let subscriptions_max = { self.total_bytes_max / SUBSCRIPTION_MIN }
            .min(sessions_max.saturating_mul(self.subscriptions_per_session_max));
        let timers = { connections_max.saturating_mul(3) }
            .saturating_add(sessions_max.saturating_mul(2))
            .saturating_add(self.retained_len_max)
            .saturating_add(decisions_max);
        let journal_len = { self.journal_len_max }.saturating_add(self.changes_of_call_max());
        [
            kept.saturating_mul(2).saturating_add(2 * TEXT_MAX),
            table(messages_len_max.saturating_add(1), MessageStore::PLACE_SIZE),
            messages_len_max.saturating_mul(SHARED + USED_AGAIN),
            table(sessions_max, Sessions::PLACE_SIZE),
            sessions_max.saturating_mul(self.of_session()),
            table(connections_max, Connections::PLACE_SIZE),
            connections_max.saturating_mul(self.of_connection()),
            timers.saturating_mul(TIMER),
            vec(events_max.saturating_add(decisions_max), size_of::<Event>()),
            self.events_bytes_max.saturating_mul(2),
            events_max.saturating_mul(SHARED),
            if self.ask.is_anything() {
                held.saturating_mul(4)
            } else {
                0
            },
            table(decisions_max, Decisions::PLACE_SIZE),
            table(decisions_max, Decisions::LEFT_PLACE_SIZE),
            subscriptions_max.saturating_mul(MATCH),
            vec(messages_len_max, size_of::<FanOut>()),
            self.join.as_ref().map_or(0, |join| join.memory_bound(self)),
            if self.journal {
                let bytes = self.journal_bytes_max.saturating_mul(2);
                vec(journal_len, size_of::<Change>()).saturating_add(bytes)
            } else {
                0
            },
            EMPTY,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// What one session has, beside its place.
    fn of_session(&self) -> usize {
        let ids = Outbound::<Delivery>::ids_bytes(self.server.in_flight_len_max());
        let unreleased = vec(Inbound::len_max(self.received_max()), size_of::<PacketId>());
        [MAP_ENTRY, ids.saturating_mul(2), unreleased]
            .into_iter()
            .fold(0, usize::saturating_add)
    }

    /// Messages at QoS 1 and 2 that a client may have open on one connection.
    pub(super) fn received_max(&self) -> u16 {
        let v3 = self.server.receive_maximum_v3;
        self.server.receive_maximum.max(v3).max(1)
    }

    /// What one connection has, beside its place.
    fn of_connection(&self) -> usize {
        let server = &self.server;
        let aliases = usize::from(server.outbound_topic_aliases_max).saturating_mul(2);
        let aliases = aliases.saturating_add(server.topic_alias_maximum.into());
        let connect = usize::try_from(server.connect_packet_size_max).unwrap_or(usize::MAX);
        let dialogue = if server.enhanced_authentication {
            connect.saturating_mul(4)
        } else {
            0
        };
        let holds = if self.journal {
            server
                .answers_bytes_max
                .saturating_mul(8)
                .saturating_add(2 * TIMER)
        } else {
            0
        };
        [
            // In the queue of those that are ready.
            size_of::<[ConnectionId; 4]>(),
            vec(server.answers_len_max(), 1),
            aliases.saturating_mul(TEXT_MAX + MAP_ENTRY),
            vec(self.received_max().into(), size_of::<PacketId>()),
            self.identity_len_max,
            size_of::<Peer>(),
            SHARED,
            dialogue,
            holds,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// What one packet or one call changes at most.
    fn changes_of_call_max(&self) -> usize {
        let of_session = { self.subscriptions_per_session_max }
            .saturating_add(self.server.waiting_len_max)
            .saturating_add(self.server.in_flight_max.into());
        self.work_per_call.max(of_session).saturating_mul(4)
    }
}

/// A table whose places are used again, in pieces, with the list of these and of the places that are
/// free. Two pieces may be there beside those that are full: the last one, before and after it grows.
const fn table(len: usize, size: usize) -> usize {
    let places = len.saturating_add(2 * PIECE).saturating_mul(size);
    let pieces = vec(len / PIECE, size_of::<usize>());
    places
        .saturating_add(pieces)
        .saturating_add(vec(len, size_of::<u32>()))
}
