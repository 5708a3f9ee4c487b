//! What a server allows on one connection.

use core::num::NonZeroU16;
use core::time::Duration;

use mqtt_codec::{Counts, DecodeConfig, Limits, QoS, Strictness};

use crate::session::Acknowledge;

/// Limits and capabilities of one connection in the server role.
///
/// ```
/// use mqtt_state::server::Config;
///
/// let config = Config { packet_size_max: 64 * 1024, ..Config::default() };
/// assert!(config.retain_available);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(default, deny_unknown_fields))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Config {
    /// Largest packet taken, in bytes with its header; announced in CONNACK, unless no packet is larger
    /// than that: from 268,435,460 on. 1 MiB.
    pub packet_size_max: u32,
    /// Properties and filters of one packet. 256, 128 of them user properties, and 1,024.
    pub counts: Counts,
    /// Which rules of the standard a peer may break. None.
    pub strictness: Strictness,
    /// Largest CONNECT taken, in bytes with its header: what anybody can make this side hold.
    /// 32 KiB.
    pub connect_packet_size_max: u32,
    /// QoS 1 and 2 PUBLISH packets a client may have unacknowledged; announced in CONNACK. At
    /// least 1. 20.
    ///
    /// Of QoS 2 messages that a client never releases, twice as many are remembered over all its
    /// connections, and at least 16; above that its connection ends, too.
    pub receive_maximum: u16,
    /// The same for 3.1.1 clients, which cannot be told: the connection of one that has more ends. What a
    /// client never releases is kept, two bytes each. 65,535, which is all there are.
    pub receive_maximum_v3: u16,
    /// QoS 1 and 2 PUBLISH packets unacknowledged towards a client, besides the client's own
    /// Receive Maximum. At least 1. 20.
    pub in_flight_max: u16,
    /// Topic aliases a client may set; announced in CONNACK. 10.
    pub topic_alias_maximum: u16,
    /// Topic aliases used towards a client, besides the client's own maximum. 10.
    pub outbound_topic_aliases_max: u16,
    /// Highest QoS a client may publish with; announced in CONNACK. 2.
    pub maximum_qos: QoS,
    /// Whether messages are retained; announced in CONNACK. True.
    pub retain_available: bool,
    /// Whether filters may hold wildcards; announced in CONNACK. True.
    pub wildcard_subscription_available: bool,
    /// Whether subscriptions may have identifiers; announced in CONNACK. True.
    pub subscription_id_available: bool,
    /// Whether shared subscriptions are served; announced in CONNACK. True.
    pub shared_subscription_available: bool,
    /// Longest keep alive, in seconds. A 5.0 client that asks for more, or for none, gets this as
    /// Server Keep Alive. A 3.1.1 client cannot be told: one that asks for more is refused with return
    /// code 2, and one that asks for none has none. None.
    pub keep_alive_max_secs: Option<NonZeroU16>,
    /// Largest payload of a PUBLISH, in bytes, besides the limit of packets. A larger one is not
    /// delivered, and answered with 0x97 Quota exceeded where QoS and version allow it; a will with a
    /// larger one refuses its CONNECT. With 0 only empty ones are delivered. None.
    pub payload_size_max: Option<usize>,
    /// Longest session expiry, in seconds; a client that asks for more gets this. With 0 every session
    /// ends with its connection. None.
    pub session_expiry_max_secs: Option<u32>,
    /// Whether a CONNECT with an authentication method is taken; without, it gets 0x8C. False.
    pub enhanced_authentication: bool,
    /// Who acknowledges the QoS 1 and 2 messages of a [`Connection`](super::Connection). The
    /// connection.
    pub acknowledge: Acknowledge,
    /// Times that a client may be asked in one authentication. 10.
    pub authentication_rounds_max: u16,
    /// CONNECT has to be there so long after the connection was opened, and the client's answer so long
    /// after each time that it is asked in an authentication, also in a new one on a live connection. With 0 it has
    /// to be there before the next `handle_timeout`. 10 s.
    pub connect_timeout: Duration,
    /// The last bytes of a connection that ends have to be gone after so long. With 0 there are none: no client
    /// hears why it is closed. 5 s.
    pub close_timeout: Duration,
    /// Answers that wait because the peer does not read them, in bytes. Above it no more input is
    /// taken. At least 1. 64 KiB.
    pub answers_bytes_max: usize,
    /// Messages that wait for one client. 1,000.
    pub waiting_len_max: usize,
    /// Bytes of the messages that wait: topic, properties and payload. 16 MiB.
    pub messages_bytes_max: usize,
    /// Events of a [`Connection`](super::Connection) that wait for its owner. Above it no more
    /// input is taken, and no PUBLISH is handed out. At least 1. 1,000.
    pub events_max: usize,
    /// Bytes of the messages and texts in them, likewise. 16 MiB.
    pub events_bytes_max: usize,
}

impl Config {
    /// How many may be in flight to one client over all its connections. A PUBREL that is sent again holds
    /// no quota, so that beside as many as one connection lets go there are those before it.
    pub(crate) fn in_flight_len_max(&self) -> usize {
        usize::from(self.in_flight_max.max(1)).saturating_mul(2)
    }

    /// Bytes of answers that may wait at once: the limit is soft by one of them, and when a session is
    /// resumed, all PUBRELs come on top, those among them for what is given up then.
    pub(crate) fn answers_len_max(&self) -> usize {
        let releases = self.in_flight_len_max().saturating_mul(4);
        // SUBACK and UNSUBACK have a byte for each filter; CONNACK tells an identifier.
        let largest = usize::from(self.counts.filters_max).max(512);
        { self.answers_bytes_max }
            .saturating_add(releases)
            .saturating_add(largest)
            .saturating_add(64)
    }

    /// What packets may be.
    pub(super) fn decoding(&self) -> DecodeConfig {
        DecodeConfig {
            limits: Limits {
                packet_size_max: self.packet_size_max,
                connect_size_max: self.connect_packet_size_max,
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
            connect_packet_size_max: 32 * 1024,
            receive_maximum: 20,
            receive_maximum_v3: u16::MAX,
            in_flight_max: 20,
            topic_alias_maximum: 10,
            outbound_topic_aliases_max: 10,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            subscription_id_available: true,
            shared_subscription_available: true,
            keep_alive_max_secs: None,
            payload_size_max: None,
            session_expiry_max_secs: None,
            enhanced_authentication: false,
            acknowledge: Acknowledge::Automatic,
            authentication_rounds_max: 10,
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            answers_bytes_max: 64 * 1024,
            waiting_len_max: 1000,
            messages_bytes_max: 16 * 1024 * 1024,
            events_max: 1000,
            events_bytes_max: 16 * 1024 * 1024,
        }
    }
}
