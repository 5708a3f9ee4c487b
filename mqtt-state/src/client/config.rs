//! What a client allows its server, and how much it keeps.

use core::time::Duration;

use super::Acknowledge;
use mqtt_codec::{Counts, DecodeConfig, Limits, Strictness};

/// Limits of one [`Client`](super::Client).
///
/// ```
/// use mqtt_state::client::Config;
///
/// let config = Config { waiting_len_max: 10, ..Config::default() };
/// assert!(config.receive_maximum > 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(default, deny_unknown_fields))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Config {
    /// Largest packet taken, in bytes with its header; announced in CONNECT, unless no packet is larger
    /// than that: from 268,435,460 on. 1 MiB.
    pub packet_size_max: u32,
    /// Properties and filters of one packet. 256, 128 of them user properties, and 1,024.
    pub counts: Counts,
    /// Which rules of the standard a peer may break. None.
    pub strictness: Strictness,
    /// QoS 1 and 2 PUBLISH packets the server may have unacknowledged; announced in CONNECT. At
    /// least 1. 65,535, which is what holds without a word.
    ///
    /// A server that sends more has broken a rule, and its connection ends. mosquitto 2.0 does so
    /// after a reconnect, as it counts what it sends again for nothing: towards that one only the
    /// default is safe. What this client holds is bounded all the same, by
    /// [`events_max`](Self::events_max).
    ///
    /// Of QoS 2 messages that the server never releases, twice as many are remembered over all its
    /// connections, and at least 16; it ends with the same error above that.
    pub receive_maximum: u16,
    /// The same for servers of 3.1.1, which cannot be told: the connection to one that has more ends.
    /// At least 1. 65,535, which is all there are.
    pub receive_maximum_v3: u16,
    /// QoS 1 and 2 PUBLISH packets unacknowledged towards the server, besides the server's own
    /// Receive Maximum. At least 1. 100.
    pub in_flight_max: u16,
    /// The same towards a server of 3.1.1, which cannot say how many it takes. Those that people run
    /// have a limit all the same, often of 20, and cut the connection of who exceeds it. At least 1. 20.
    pub in_flight_max_v3: u16,
    /// Who acknowledges QoS 1 and 2 messages. The client.
    pub acknowledge: Acknowledge,
    /// Topic aliases the server may set; announced in CONNECT. 10.
    pub topic_alias_maximum: u16,
    /// Topic aliases used towards the server, besides the server's own maximum. 10.
    pub outbound_topic_aliases_max: u16,
    /// Whether topics that repeat get an alias by themselves, where that saves bytes; others only
    /// get one by [`Client::pin_topic`](super::Client::pin_topic). They do.
    pub automatic_topic_aliases: bool,
    /// Subscriptions that this client has and asks for at the same time; they are kept for
    /// [`Client::resubscribe`](super::Client::resubscribe). 1,000.
    pub subscriptions_max: usize,
    /// Bytes of their filters. 1 MiB.
    pub subscriptions_bytes_max: usize,
    /// SUBSCRIBE and UNSUBSCRIBE packets that the server has not answered. 100.
    pub requests_max: usize,
    /// Messages that wait for their first sending. 1,000.
    pub waiting_len_max: usize,
    /// Bytes of the messages that wait or are in flight: topic, properties and payload. 16 MiB.
    pub messages_bytes_max: usize,
    /// What happens to a message that has no room among those that wait. It is refused.
    pub when_full: WhenFull,
    /// Whether a store follows the session: then nothing is sent before
    /// [`handle_stored`](super::Client::handle_stored) says that what it depends on is safe. It does
    /// not.
    pub journal: bool,
    /// Events that wait for the application, and entries of the journal that wait for the store. Above
    /// it no more input is taken, no PUBLISH is handed out, and no connection begins. At least 1. 1,000.
    pub events_max: usize,
    /// Bytes of the messages and texts in events, likewise. 16 MiB.
    pub events_bytes_max: usize,
    /// Answers that wait because the server does not read them, in bytes. Above it no more input
    /// is taken. At least 1. 64 KiB.
    pub answers_bytes_max: usize,
    /// CONNACK has to be there so long after CONNECT. With 0 it has to be before the next
    /// [`handle_timeout`](super::Client::handle_timeout). 20 s.
    pub connect_timeout: Duration,
    /// So long may nothing come after PINGREQ was handed out. With 0 something has to come before the next
    /// [`handle_timeout`](super::Client::handle_timeout). 10 s.
    ///
    /// A PINGREQ that waits until `poll_transmit` is called again does not count: what was handed out before it
    /// may be large and on its way. Whether a transport takes anything at all only its driver can see, and
    /// has to see to it that a write does not last for ever.
    pub ping_timeout: Duration,
    /// A re-authentication has to end so long after it began. With 0 it has to before the next
    /// [`handle_timeout`](super::Client::handle_timeout). 20 s.
    pub authentication_timeout: Duration,
    /// Times that the server may ask in one authentication. 10.
    pub authentication_rounds_max: u16,
    /// The last bytes of a connection that ends have to be gone after so long. With 0 there are none, no
    /// DISCONNECT neither: the server publishes the will. 5 s.
    pub close_timeout: Duration,
}

/// What happens when as many messages, or bytes, wait as [`Config`] allows, and those that have waited longest
/// have not expired: else they make room first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum WhenFull {
    /// `publish` hands the message back.
    #[default]
    Refuse,
    /// Those that have waited longest are lost, with an event for each.
    DropOldest,
    /// The new one is lost, with an event.
    DropNewest,
}

impl Config {
    /// How many may be in flight over all connections. A PUBREL that is sent again holds no quota, so
    /// that beside as many as one connection lets go there are those before it.
    pub(super) fn in_flight_len_max(&self) -> usize {
        usize::from(self.in_flight_max.max(1)).saturating_mul(2)
    }

    /// What packets may be.
    pub(super) fn decoding(&self) -> DecodeConfig {
        DecodeConfig {
            limits: Limits {
                packet_size_max: self.packet_size_max,
                connect_size_max: self.packet_size_max,
                counts: self.counts,
            },
            strictness: self.strictness,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            packet_size_max: 1024 * 1024,
            counts: Counts::DEFAULT,
            strictness: Strictness::STRICT,
            receive_maximum: u16::MAX,
            receive_maximum_v3: u16::MAX,
            in_flight_max: 100,
            in_flight_max_v3: 20,
            acknowledge: Acknowledge::Automatic,
            topic_alias_maximum: 10,
            outbound_topic_aliases_max: 10,
            automatic_topic_aliases: true,
            subscriptions_max: 1000,
            subscriptions_bytes_max: 1024 * 1024,
            requests_max: 100,
            waiting_len_max: 1000,
            messages_bytes_max: 16 * 1024 * 1024,
            when_full: WhenFull::Refuse,
            journal: false,
            events_max: 1000,
            events_bytes_max: 16 * 1024 * 1024,
            answers_bytes_max: 64 * 1024,
            connect_timeout: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            authentication_timeout: Duration::from_secs(20),
            authentication_rounds_max: 10,
            close_timeout: Duration::from_secs(5),
        }
    }
}
