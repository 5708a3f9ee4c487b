//! What the limits of one server connection add up to.

use core::mem::size_of;

use mqtt_codec::PacketId;

use super::{Config, ConnectRequest, Event};
use crate::session::{Acknowledge, Inbound, Outbound, OwnMessage, Pending};
use crate::weights::{MAP_ENTRY, SHARED, TEXT_MAX, vec};

impl Config {
    /// How many bytes one [`Connection`](super::Connection) with these limits has on the heap at most,
    /// with its session, whatever its client sends and however slowly its owner fetches events and
    /// answers; beside them there are its own `size_of`, and what the owner says in its answers. A
    /// [`Broker`](crate::broker::Broker) has a
    /// [formula of its own](crate::broker::Config::memory_bound). It is the sum of
    ///
    /// | what | bytes |
    /// |---|---|
    /// | places of messages | 2 places × (2 × `waiting_len_max` + 2 × `in_flight_max`, as a PUBREL that is sent again holds no quota) |
    /// | messages, and those that were dropped in one call | 2 × `messages_bytes_max` + 64 for each |
    /// | identifiers received | 4 × the larger Receive Maximum, and 4 × twice that, but at least 16 and at most 65,535; 2 × 64 more for each where the owner acknowledges; 4 × 65,535 for requests |
    /// | events | 2 places × (`events_max` + what one call can add), 2 × (`events_bytes_max` + `packet_size_max`), as a message may share a buffer of twice its size, and 64 for each |
    /// | CONNECT | 4 × `connect_packet_size_max` |
    /// | answers | 2 × what `answers_bytes_max` allows |
    /// | topic aliases | (`topic_alias_maximum` + 2 × `outbound_topic_aliases_max`) × 65,663 |
    ///
    /// A place is the `size_of` an entry of a table; tables grow by factors of two.
    ///
    /// ```
    /// use mqtt_state::server::Config;
    ///
    /// let small = Config {
    ///     packet_size_max: 1024,
    ///     connect_packet_size_max: 1024,
    ///     receive_maximum: 4,
    ///     receive_maximum_v3: 4,
    ///     in_flight_max: 4,
    ///     waiting_len_max: 8,
    ///     messages_bytes_max: 4096,
    ///     topic_alias_maximum: 0,
    ///     outbound_topic_aliases_max: 0,
    ///     answers_bytes_max: 256,
    ///     events_max: 16,
    ///     events_bytes_max: 4096,
    ///     ..Config::default()
    /// };
    /// assert!(small.memory_bound() < 512 * 1024);
    /// ```
    #[must_use]
    pub fn memory_bound(&self) -> usize {
        let Self {
            waiting_len_max,
            messages_bytes_max,
            events_max,
            events_bytes_max,
            ..
        } = *self;
        let packet_size_max = usize::try_from(self.packet_size_max).unwrap_or(usize::MAX);
        let connect_size_max = usize::try_from(self.connect_packet_size_max).unwrap_or(usize::MAX);
        let in_flight_max = usize::from(self.in_flight_max.max(1));
        let received_max = self.receive_maximum.max(self.receive_maximum_v3).max(1);
        let receive_maximum = usize::from(received_max);
        let messages_max = waiting_len_max.saturating_add(in_flight_max);
        // Those that wait for PUBCOMP have a place, and no message any more.
        let in_flight_len_max = self.in_flight_len_max();
        let places_max = waiting_len_max.saturating_add(in_flight_len_max);
        // Everything that waits can be sent, or dropped, in one call.
        let events_len = { events_max.saturating_add(messages_max) }.saturating_add(8);
        let aliases = usize::from(self.outbound_topic_aliases_max).saturating_mul(2);
        let aliases = aliases.saturating_add(self.topic_alias_maximum.into());
        let receipts = match self.acknowledge {
            Acknowledge::Automatic => 0,
            Acknowledge::Manual => vec(receive_maximum, size_of::<Pending>()).saturating_mul(2),
        };
        let texts_of_events = { events_bytes_max.saturating_add(packet_size_max) };
        let filters = usize::from(self.counts.filters_max).saturating_mul(SHARED);
        [
            vec(places_max, Outbound::<OwnMessage>::PLACE_SIZE),
            vec(waiting_len_max, Outbound::<OwnMessage>::QOS0_SIZE),
            Outbound::<OwnMessage>::ids_bytes(in_flight_len_max).saturating_mul(2),
            messages_bytes_max.saturating_mul(2),
            messages_max.saturating_mul(SHARED),
            vec(receive_maximum, size_of::<PacketId>()),
            vec(Inbound::len_max(received_max), size_of::<PacketId>()),
            vec(TEXT_MAX, size_of::<PacketId>()),
            receipts,
            vec(events_len, size_of::<Event>()),
            texts_of_events.saturating_mul(2),
            events_len.saturating_mul(SHARED),
            filters,
            connect_size_max.saturating_mul(4),
            size_of::<ConnectRequest>(),
            vec(self.answers_len_max(), 1),
            aliases.saturating_mul(TEXT_MAX + MAP_ENTRY),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}
