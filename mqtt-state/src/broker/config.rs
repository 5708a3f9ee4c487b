//! How much a broker serves and keeps.

use core::time::Duration;

use super::{Ask, JoinConfig, SharedPolicy, WhenFull};
use crate::server;

/// Limits and choices of one [`Broker`](super::Broker).
///
/// ```
/// use mqtt_state::broker::Config;
///
/// let config = Config { connections_max: 100, ..Config::default() };
/// assert_eq!(config.server.receive_maximum, 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(default, deny_unknown_fields))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Config {
    /// What holds for each connection, and for what waits for each session: one message above it
    /// is dropped, with an event.
    pub server: server::Config,
    /// Connections at once, accepted or still before CONNECT. 10,000.
    pub connections_max: usize,
    /// Bytes of [`Peer::identity`](super::Peer::identity): it comes out of a certificate of the
    /// client's. 1 KiB.
    pub identity_len_max: usize,
    /// Sessions, connected or not. A CONNECT above it gets 0x89 Server busy. 100,000.
    pub sessions_max: usize,
    /// Subscriptions of one session. One above it gets 0x97 Quota exceeded. 1,000.
    pub subscriptions_per_session_max: usize,
    /// Retained messages. 100,000.
    pub retained_len_max: usize,
    /// Bytes of the retained messages. 256 MiB.
    pub retained_bytes_max: usize,
    /// Levels of a topic filter. One with more gets 0x8F Topic Filter invalid. 128.
    pub levels_max: usize,
    /// Messages kept, for sessions and as retained ones, each counted once. At this many it is as
    /// above `total_bytes_max`. 1,000,000.
    pub messages_len_max: usize,
    /// Bytes of everything kept for clients: topics, properties and payloads of messages, each counted
    /// once; the places of messages in sessions; wills; client identifiers; subscriptions; the tree of
    /// retained topics, and where replays of them stand; what is kept for brokers that this one is
    /// [joined](super::join) with. Above it QoS 0 messages are dropped, others
    /// and subscriptions refused with 0x97 Quota exceeded, and clients with 0x89 Server busy, but for one
    /// that comes for its session, to get what waits for it, and leaves no will; a message that is accepted
    /// is dropped, with an event, for a session whose places would have to grow. 1 GiB.
    pub total_bytes_max: usize,
    /// QoS 0 messages that wait for one client that is connected, within
    /// [`server::Config::waiting_len_max`]. One above it is dropped, with an event. 1,000.
    pub waiting_qos0_len_max: usize,
    /// What becomes of a QoS 1 or 2 message when the limits of `server` leave no room for it in a
    /// session, and of the client. It is dropped.
    pub when_full: WhenFull,
    /// Packets that one client may send in a second; more wait until it is their turn. At least 1. None.
    pub packets_per_sec_max: Option<u32>,
    /// Bytes, likewise. At least 1. None.
    pub bytes_per_sec_max: Option<u32>,
    /// Steps of one call: receivers that get a message, sessions that end, messages that are taken up
    /// again, retained topics that are looked at, deadlines. What is left goes on in
    /// [`handle_timeout`](super::Broker::handle_timeout), which is due until all is done, or in
    /// [`poll_transmit`](super::Broker::poll_transmit), which says so. The end of one session is one
    /// piece, so that it is stored as a whole: one step, and one for each of its subscriptions and
    /// messages. At least 1. 4,096.
    pub work_per_call: usize,
    /// Events that wait for the embedder. Those above it are dropped and counted: events only
    /// report. 10,000.
    pub events_max: usize,
    /// Bytes of the messages and texts in them, likewise. 16 MiB.
    pub events_bytes_max: usize,
    /// Whether each message is an event. False: what is not asked costs nothing.
    pub message_events: bool,
    /// Whether `$share/{group}/{filter}` is a shared subscription for 3.1.1 clients too, as in the
    /// brokers people know. The standard has it as an ordinary filter there. True.
    pub shared_subscriptions_in_3_1_1: bool,
    /// Which member of a shared subscription gets a message. One after the other.
    pub shared_policy: SharedPolicy,
    /// Which decisions are the embedder's. None: everything is allowed.
    pub ask: Ask,
    /// Packets of one connection that wait while something before them is not decided. Above it no
    /// more of its input is taken. At least 1. 16.
    pub held_max: usize,
    /// Bytes of what waits for answers, over all connections: messages and CONNECT packets that are
    /// asked about, and what came behind them. Above it no input is taken of anybody who may have to be
    /// asked about. 16 MiB.
    pub held_bytes_max: usize,
    /// Questions without an answer. One above it is not asked: a CONNECT gets 0x89 Server busy,
    /// a PUBLISH and a filter 0x97 Quota exceeded, a will goes nowhere. At more than half of it the QoS 0 message
    /// of a client that is gone is not decided on any more, and goes nowhere. 100,000.
    pub decisions_max: usize,
    /// Questions without an answer about what one connection has sent, so that no client has them all. With
    /// so many no more of its input is taken, and nobody is asked yet about more filters of a SUBSCRIBE. At
    /// least 1. 100.
    pub decisions_per_connection_max: usize,
    /// A question without an answer after so long counts as denied. With 0 answers count until the next
    /// [`handle_timeout`](super::Broker::handle_timeout). 10 s.
    pub decision_timeout: Duration,
    /// Whether a store follows: every change that must not be forgotten goes through
    /// [`poll_journal`](super::Broker::poll_journal), and nothing that depends on one is sent before
    /// [`handle_stored`](super::Broker::handle_stored). A store that fails is told of with
    /// [`handle_store_failed`](super::Broker::handle_store_failed). False.
    pub journal: bool,
    /// Changes that wait for [`poll_journal`](super::Broker::poll_journal). Above it no input is taken;
    /// what one packet changes may go beyond. At least 1. 10,000.
    pub journal_len_max: usize,
    /// Bytes of the messages and texts in them, likewise. 16 MiB.
    pub journal_bytes_max: usize,
    /// What joins this broker with others. None: it is alone, and that costs one comparison for each
    /// message.
    pub join: Option<JoinConfig>,
    /// Source of everything random, which is the client identifiers that are assigned. Different
    /// for each run, unless runs have to be repeatable: with the same one the next run gives the same identifiers to
    /// other clients, but for those whose sessions it has. Brokers that are [joined](super::join) have other ones
    /// each, and in each [incarnation](JoinConfig::incarnation), whatever stands here. 0.
    pub seed: u64,
}

impl Config {
    /// Whether clients may be too fast.
    #[inline]
    pub(super) const fn has_rates(&self) -> bool {
        self.packets_per_sec_max.is_some() || self.bytes_per_sec_max.is_some()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: server::Config::default(),
            connections_max: 10_000,
            identity_len_max: 1024,
            sessions_max: 100_000,
            subscriptions_per_session_max: 1000,
            retained_len_max: 100_000,
            retained_bytes_max: 256 * 1024 * 1024,
            levels_max: 128,
            messages_len_max: 1_000_000,
            total_bytes_max: 1024 * 1024 * 1024,
            waiting_qos0_len_max: 1000,
            when_full: WhenFull::DropNewest,
            packets_per_sec_max: None,
            bytes_per_sec_max: None,
            work_per_call: 4096,
            events_max: 10_000,
            events_bytes_max: 16 * 1024 * 1024,
            message_events: false,
            shared_subscriptions_in_3_1_1: true,
            shared_policy: SharedPolicy::RoundRobin,
            ask: Ask::default(),
            held_max: 16,
            held_bytes_max: 16 * 1024 * 1024,
            decisions_max: 100_000,
            decisions_per_connection_max: 100,
            decision_timeout: Duration::from_secs(10),
            journal: false,
            journal_len_max: 10_000,
            journal_bytes_max: 16 * 1024 * 1024,
            join: None,
            seed: 0,
        }
    }
}
