//! What the limits of one client add up to.

use core::mem::size_of;

use mqtt_codec::PacketId;

use super::event_queue::Completed;
use super::{Acknowledge, Config, Event, Subscription};
use crate::session::{Inbound, JournalEntry, Outbound, OwnMessage, Pending};
use crate::weights::{MAP_ENTRY, SHARED, TEXT_MAX, vec};

impl Config {
    /// How many bytes one [`Client`](super::Client) with these limits has on the heap at most, whatever
    /// its server sends and however slowly its application is; beside them there are its own
    /// `size_of`, the packets of the application's own (CONNECT, SUBSCRIBE, AUTH and DISCONNECT)
    /// that are larger than [`packet_size_max`](Self::packet_size_max), of such a CONNECT once more the authentication
    /// method and twice the client identifier, and what the application says in
    /// [`Client::ack_with`](super::Client::ack_with) and [`Client::reject`](super::Client::reject). It is the sum of
    ///
    /// | what | bytes |
    /// |---|---|
    /// | places of messages and requests | 2 × (`waiting_len_max` + 2 × `in_flight_max` + `requests_max`) × 152 |
    /// | places of messages at QoS 0 | 2 × `waiting_len_max` × 128 |
    /// | messages, and those lost with a session | 2 × `messages_bytes_max` + 64 for each |
    /// | identifiers received | 4 × the larger of both Receive Maximums, and 4 × twice that, but at least 16 and at most 65,535; 2 × 64 more for each where the application acknowledges |
    /// | events | 2 × (`events_max` + what one call can add) × 144, and twice `events_bytes_max` + `packet_size_max`, as a message may share a buffer of twice its size |
    /// | answers | 2 × (`answers_bytes_max` + `packet_size_max` + 8 × `in_flight_max`, as all PUBRELs come at once when a session is resumed) |
    /// | subscriptions | 2 × `subscriptions_max` × 48, 2 × `subscriptions_bytes_max` |
    /// | requests | `requests_max` × 128 |
    /// | topic aliases | (`topic_alias_maximum` + 2 × `outbound_topic_aliases_max`) × 65,663 |
    /// | the handshake | `packet_size_max`, and 3 × the smaller of that and 65,535 for the client identifier, twice, and the authentication method |
    /// | the journal, where there is one | 2 × `events_max` × 208, `messages_bytes_max` |
    ///
    /// The factors of two are those by which vectors grow.
    ///
    /// ```
    /// use mqtt_state::client::Config;
    ///
    /// let small = Config {
    ///     packet_size_max: 1024,
    ///     messages_bytes_max: 4096,
    ///     waiting_len_max: 8,
    ///     in_flight_max: 4,
    ///     receive_maximum: 4,
    ///     receive_maximum_v3: 4,
    ///     events_max: 16,
    ///     events_bytes_max: 4096,
    ///     answers_bytes_max: 256,
    ///     subscriptions_max: 4,
    ///     subscriptions_bytes_max: 256,
    ///     requests_max: 4,
    ///     topic_alias_maximum: 0,
    ///     outbound_topic_aliases_max: 0,
    ///     ..Config::default()
    /// };
    /// assert!(small.memory_bound() < 256 * 1024);
    /// ```
    #[must_use]
    pub fn memory_bound(&self) -> usize {
        let Self {
            waiting_len_max,
            requests_max,
            messages_bytes_max,
            events_max,
            events_bytes_max,
            answers_bytes_max,
            subscriptions_max,
            subscriptions_bytes_max,
            ..
        } = *self;
        let packet_size_max = usize::try_from(self.packet_size_max).unwrap_or(usize::MAX);
        let in_flight_max = self.in_flight_len_max();
        let received_max = self.receive_maximum.max(self.receive_maximum_v3).max(1);
        let receive_maximum = usize::from(received_max);
        let messages_max = waiting_len_max.saturating_add(in_flight_max);
        let flows_max = messages_max.saturating_add(requests_max);
        // All of them can end in one call.
        let events_len = events_max.saturating_add(flows_max).saturating_add(8);
        let answers_len = { answers_bytes_max.saturating_add(packet_size_max) }
            .saturating_add(in_flight_max.saturating_mul(4));
        let aliases = usize::from(self.outbound_topic_aliases_max).saturating_mul(2);
        let aliases = aliases.saturating_add(self.topic_alias_maximum.into());
        // Each has come in a packet, or went out in one.
        let texts_of_handshake = packet_size_max.min(TEXT_MAX).saturating_mul(3);
        let receipts = match self.acknowledge {
            Acknowledge::Automatic => 0,
            Acknowledge::Manual => vec(receive_maximum, size_of::<Pending>()).saturating_mul(2),
        };
        let journal = match self.journal {
            false => 0,
            true => vec(events_len, size_of::<JournalEntry>()).saturating_add(messages_bytes_max),
        };
        [
            vec(flows_max, Outbound::<OwnMessage>::PLACE_SIZE),
            vec(waiting_len_max, Outbound::<OwnMessage>::QOS0_SIZE),
            messages_bytes_max.saturating_mul(2),
            messages_max.saturating_mul(2 * SHARED),
            vec(receive_maximum, size_of::<PacketId>()),
            vec(Inbound::len_max(received_max), size_of::<PacketId>()),
            receipts,
            vec(events_len, size_of::<Event>()),
            vec(events_len, size_of::<Completed>()),
            events_bytes_max.saturating_mul(2),
            events_len.saturating_mul(SHARED),
            packet_size_max.saturating_mul(2),
            vec(answers_len, 1),
            vec(subscriptions_max, size_of::<Subscription>()),
            subscriptions_bytes_max.saturating_mul(2),
            subscriptions_max.saturating_mul(SHARED),
            requests_max.saturating_mul(MAP_ENTRY),
            aliases.saturating_mul(TEXT_MAX + MAP_ENTRY),
            packet_size_max.saturating_add(texts_of_handshake),
            journal,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}
