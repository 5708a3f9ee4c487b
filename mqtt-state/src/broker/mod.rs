//! The broker: many connections, and everything between them.
//!
//! A [`Broker`] takes the bytes of all connections and hands out the bytes for each. Sessions,
//! subscriptions, routing, retained messages, wills, shared subscriptions, take-over and expiry
//! are inside; sockets, clocks and threads are outside.
//!
//! ```
//! use mqtt_codec::{Connect, Packet, ProtocolVersion, Str};
//! use mqtt_state::broker::{Broker, Config, Peer};
//! use mqtt_state::{Timestamp, Transmit};
//!
//! let mut broker = Broker::new(Config::default());
//! let now = Timestamp::ZERO;
//! let connection = broker.accept(now, Peer::default())?;
//!
//! // Bytes that came from a socket, here a CONNECT.
//! let mut input = Vec::new();
//! let connect = Connect::new(ProtocolVersion::V5_0, Str::new("subscriber-1")?);
//! Packet::Connect(connect).encode_to(ProtocolVersion::V5_0, &mut input)?;
//! assert_eq!(broker.handle_input(now, connection, &input).bytes, input.len());
//!
//! // The broker says which connections have something to send, each once until it is drained.
//! assert_eq!(broker.poll_ready(), Some(connection));
//! let mut output = Vec::new();
//! assert_eq!(broker.poll_transmit(now, connection, 4096, &mut output), Transmit::Idle);
//! assert_eq!(output[0], 0x20, "CONNACK");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where to go from here:
//!
//! | to | look at |
//! |---|---|
//! | decide who may connect, publish and subscribe | [`Config::ask`], [`Broker::decide_connect`], [an example](#questions-and-a-store) |
//! | publish, subscribe and disconnect without a connection | [`Broker::publish`], [`Broker::subscribe_local`], [`Broker::disconnect_client`], [`Broker::drain`] |
//! | drive many connections in one loop | [`Broker::poll_ready_into`], [`Broker::handle_input_into`] |
//! | keep sessions and retained messages in a store | [`Config::journal`], [`Broker::poll_journal`], [`Restore`] |
//! | join brokers, of one machine or of many | [`join`] |
//! | bound memory | [`Config::total_bytes_max`], [`Config::memory_bound`] |
//! | see what it does | [`Event`], [`Broker::stats`], [`Broker::explain`] |
//!
//! # Questions and a store
//!
//! An embedder that says who may do what, and keeps what must not be forgotten. Both may take as long as they
//! like: whatever depends on them waits, and everything else goes on.
//!
//! ```
//! use std::collections::BTreeMap;
//! use mqtt_codec::{ConnectReason, Connect, Packet, ProtocolVersion, Str, SubscribeReason};
//! use mqtt_state::broker::{
//!     Ask, Broker, Config, ConnectAnswer, Event, Peer, PublishAnswer, StoreValue, SubscribeAnswer,
//! };
//! use mqtt_state::Timestamp;
//!
//! /// After any call, before output is polled.
//! fn follow(now: Timestamp, broker: &mut Broker, database: &mut BTreeMap<Vec<u8>, StoreValue>) {
//!     while let Some(event) = broker.poll_event() {
//!         let answered = match event {
//!             Event::Authenticate { decision, request, .. } => {
//!                 let is_known = request.user_name.as_deref() == Some("joe");
//!                 let is_right = request.password.as_deref() == Some(&b"secret"[..]);
//!                 let answer = if is_known && is_right {
//!                     ConnectAnswer::Allow
//!                 } else {
//!                     ConnectAnswer::Refuse(ConnectReason::BadUserNameOrPassword)
//!                 };
//!                 broker.decide_connect(now, decision, answer)
//!             }
//!             Event::AuthorizePublish { decision, .. } => {
//!                 broker.decide_publish(now, decision, PublishAnswer::Allow)
//!             }
//!             Event::AuthorizeSubscribe { decision, filter, .. } => {
//!                 let answer = if filter.starts_with("house/") {
//!                     SubscribeAnswer::Allow
//!                 } else {
//!                     SubscribeAnswer::Refuse(SubscribeReason::NotAuthorized)
//!                 };
//!                 broker.decide_subscribe(now, decision, answer)
//!             }
//!             _report => continue,
//!         };
//!         // Who has gone meanwhile hears no answer, and that is all.
//!         let _stale = answered.is_err();
//!     }
//!     let mut position = 0;
//!     while let Some(entry) = broker.poll_journal() {
//!         for change in entry.changes() {
//!             match change.value() {
//!                 Some(value) => database.insert(change.key().to_bytes(), value.clone()),
//!                 None => database.remove(&change.key().to_bytes()),
//!             };
//!         }
//!         position = entry.position();
//!     }
//!     // A real database commits here; what waits for that goes out from here on.
//!     broker.handle_stored(position);
//! }
//!
//! let ask = Ask { connect: true, publish: true, subscribe: true };
//! let mut broker = Broker::new(Config { ask, journal: true, ..Config::default() });
//! let (now, mut database) = (Timestamp::ZERO, BTreeMap::new());
//!
//! let mut connect = Connect::new(ProtocolVersion::V5_0, Str::new("meter-7")?);
//! connect.properties.session_expiry_secs = Some(3600);
//! for (user, code) in [("mallory", 0x86), ("joe", 0)] {
//!     connect.user_name = Some(Str::new(user)?);
//!     connect.password = Some(mqtt_codec::Binary::new(b"secret")?);
//!     let mut input = Vec::new();
//!     Packet::Connect(connect).encode_to(ProtocolVersion::V5_0, &mut input)?;
//!     let id = broker.accept(now, Peer::default())?;
//!     let _all = broker.handle_input(now, id, &input);
//!     let mut output = Vec::new();
//!     let _nothing_yet = broker.poll_transmit(now, id, 1024, &mut output);
//!     assert!(output.is_empty(), "the question is open");
//!     follow(now, &mut broker, &mut database);
//!     let _close_or_idle = broker.poll_transmit(now, id, 1024, &mut output);
//!     assert_eq!((output[0], output[3]), (0x20, code), "CONNACK");
//! }
//! assert!(!database.is_empty(), "the session that outlives its connection");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Restore`] goes on from such a store, and says what is kept.

mod at_hand;
mod at_once;
mod backlog;
mod config;
mod connect;
mod connections;
mod decision;
mod direct;
mod embed;
mod event;
mod fan_out;
mod held;
mod input;
pub mod join;
mod journal;
mod look;
mod memory;
mod outlet;
mod peer;
mod rate;
mod ready;
mod receive;
mod retained;
mod routing;
mod serving;
mod sessions;
mod shared;
mod slab;
mod store;
mod subscribe;
mod timers;
mod transmit;
mod work;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use mqtt_codec::{DisconnectReason, Message};
use mqtt_topic::{IndexConfig, MergeScratch, RetainedConfig, RetainedIndex, SubscriptionIndex};

pub use backlog::WhenFull;
pub use config::Config;
pub use connections::ConnectionId;
pub use decision::{
    Ask, ConnectAnswer, ConnectDecision, Grant, PublishAnswer, PublishDecision, Stale,
    SubscribeAnswer, SubscribeDecision,
};
pub use embed::{Drain, LocalSubscription, SessionInfo};
pub use event::{DropCause, Event, MovedPart};
pub use join::{BrokerId, JoinConfig, JoinError, JoinMessage, JoinedBroker};
pub use journal::{Change, Idle, JournalEntry, Restore, RestoreError, StoreKey, StoreValue};
pub use look::Stats;
pub use peer::{Owner, Peer};

use connections::Connections;
use decision::Decisions;
use event::EventQueue;
use join::Joined;
use journal::Journal;
use look::Counts;
use routing::{Router, Subscription};
use sessions::{SessionKey, Sessions};
pub use shared::SharedPolicy;
use store::{MessageRef, MessageStore};
use timers::{Timer, Timers};
use work::Work;

use crate::counted::Arc;
use crate::server::ServerLink;
use crate::time::Clock;
use crate::{CloseCause, Pieces, Timeout, TimeoutReason, Timestamp, Traffic, Transmit};

/// A broker.
///
/// After any call that takes `&mut self`, drain [`poll_event`](Self::poll_event) and
/// [`poll_ready`](Self::poll_ready), write out [`poll_transmit`](Self::poll_transmit) for each
/// connection that was handed out, then wait for bytes or for
/// [`poll_timeout`](Self::poll_timeout). With [`Config::journal`] drain
/// [`poll_journal`](Self::poll_journal) as well, and with [`Config::join`]
/// [`poll_joined`](Self::poll_joined): what nobody fetches is kept.
#[derive(Debug)]
pub struct Broker {
    config: Config,
    clock: Clock,
    connections: Connections,
    sessions: Sessions,
    subscriptions: SubscriptionIndex<SessionKey, Subscription>,
    retained: RetainedIndex<MessageRef>,
    store: MessageStore,
    router: Router,
    timers: Timers,
    work: Work,
    events: EventQueue,
    decisions: Decisions,
    /// The embedder's own subscriptions.
    local: SubscriptionIndex<LocalSubscription, ()>,
    local_scratch: MergeScratch<LocalSubscription>,
    next_local: u64,
    draining: Option<Drain>,
    /// Places of connections that have been told.
    drained: usize,
    /// A peer of whom nothing is known.
    nobody: Arc<Peer>,
    /// What it knows of others that it is joined with.
    joined: Option<Box<Joined>>,
    traffic: Traffic,
    counts: Counts,
    /// What the tables hold that nobody has put anything in.
    empty_bytes: usize,
    /// Of the indexes of subscriptions and retained messages.
    indexes_bytes: usize,
    /// Of what subscriptions hold outside of their index.
    denied_bytes: usize,
    /// Client identifiers assigned so far.
    assigned: u64,
}

/// Why a connection was not accepted. Close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptError {
    /// As many connections are open as [`Config::connections_max`] allows.
    TooManyConnections,
    /// [`Peer::identity`] is longer than [`Config::identity_len_max`] allows.
    IdentityTooLong,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyConnections => "too many connections",
            Self::IdentityTooLong => "the identity of the peer is too long",
        })
    }
}

impl core::error::Error for AcceptError {}

impl Broker {
    /// A broker without connections and sessions.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut broker = Self {
            clock: Clock::default(),
            connections: Connections::new(),
            sessions: Sessions::new(),
            subscriptions: SubscriptionIndex::new(IndexConfig {
                levels_max: config.levels_max,
                hash_seed: config.seed,
                ..IndexConfig::default()
            }),
            retained: RetainedIndex::new(RetainedConfig {
                topics_max: config.retained_len_max,
                bytes_max: config.retained_bytes_max,
                levels_max: config.levels_max,
                hash_seed: config.seed,
            }),
            store: MessageStore::new(Journal::new(config.journal)),
            router: Router::new(),
            timers: Timers::default(),
            work: Work::default(),
            events: EventQueue::new(&config),
            decisions: Decisions::new(),
            local: SubscriptionIndex::new(IndexConfig {
                levels_max: config.levels_max,
                hash_seed: config.seed,
                ..IndexConfig::default()
            }),
            local_scratch: MergeScratch::default(),
            next_local: 0,
            draining: None,
            drained: 0,
            nobody: Arc::default(),
            joined: Joined::new(&config),
            traffic: Traffic::default(),
            counts: Counts::default(),
            empty_bytes: 0,
            indexes_bytes: 0,
            denied_bytes: 0,
            assigned: 0,
            config,
        };
        broker.weigh_indexes();
        broker.empty_bytes = broker.kept_bytes();
        broker
    }

    /// A transport has been opened by a client. [`Peer::default`] is one of whom nothing is known;
    /// [`identify`](Self::identify) says more later.
    ///
    /// # Errors
    ///
    /// [`AcceptError`]; close the transport then.
    pub fn accept(&mut self, now: Timestamp, peer: Peer) -> Result<ConnectionId, AcceptError> {
        let now = self.begin(now);
        if self.connections.len() >= self.config.connections_max {
            return Err(AcceptError::TooManyConnections);
        }
        let peer = self.known(peer)?;
        let link = ServerLink::new(now, &self.config.server);
        let id = self
            .connections
            .insert(link, peer)
            .ok_or(AcceptError::TooManyConnections)?;
        self.counts.note_connection(self.connections.len());
        self.arm(id);
        Ok(id)
    }

    /// The transport of a connection has ended, from whichever side; the broker has forgotten the connection
    /// then. A late call, for a connection that is gone, does nothing.
    pub fn handle_close(&mut self, now: Timestamp, id: ConnectionId) {
        let now = self.begin(now);
        self.end_connection(now, id, CloseCause::ConnectionLost, None);
        self.forget(id);
    }

    /// A deadline of [`poll_timeout`](Self::poll_timeout) may have come. Early and repeated calls
    /// do nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.begin(now);
        self.advance_fan_outs(now);
        self.fire_due(now);
    }

    /// Publishes a message of the embedder's own, to whatever topic. Answers how many sessions and other
    /// brokers it goes to; those that [`Config::work_per_call`] left for later calls are not among them, and
    /// [local subscriptions](Self::subscribe_local) neither. One that there is no room for goes to
    /// nobody, with an [`Event::Refused`].
    pub fn publish(&mut self, now: Timestamp, message: Message) -> usize {
        let now = self.begin(now);
        self.route_message(now, None, message, None).receivers()
    }

    /// Ends a connection for a reason of the embedder's, with DISCONNECT where the version has
    /// one. Its will is published.
    pub fn disconnect(&mut self, now: Timestamp, id: ConnectionId, reason: DisconnectReason) {
        let now = self.begin(now);
        self.end_connection(now, id, CloseCause::Disconnected(reason), None);
    }

    /// Ends all connections, with 0x8B Server shutting down: a [`drain`](Self::drain) with nothing
    /// more to say. Sessions stay.
    pub fn shutdown(&mut self, now: Timestamp) {
        self.drain(now, Drain::default());
    }

    /// The next thing that happened. Call until it answers `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// The next connection that has output, once until it is drained: from here on the caller
    /// calls [`poll_transmit`](Self::poll_transmit) for it, whenever its transport has room, until
    /// that answers `Idle` or `Close`. One that has ended and whose client does not read what is left is named
    /// once more after [`close_timeout`](crate::server::Config::close_timeout): `poll_transmit` answers `Close`
    /// then, and the transport is to be closed whether or not it has room. Who keeps bytes that a transport had no
    /// room for calls `poll_transmit` all the same then: [`Event::Closed`] has told that the connection is over.
    pub fn poll_ready(&mut self) -> Option<ConnectionId> {
        let (id, _) = self.connections.hand_out()?;
        Some(id)
    }

    /// Does what [`poll_ready`](Self::poll_ready) does, and then what [`poll_transmit`](Self::poll_transmit) does with
    /// the buffer of that connection and so many bytes at most, which `room` names: one call where a driver would
    /// make two. Where the transport has no room, `room` answers `None`; nothing is polled then, and
    /// [`Transmit::More`] says that `poll_transmit` is to be called once there is.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use mqtt_codec::{Connect, Packet, ProtocolVersion, Str};
    /// use mqtt_state::broker::{Broker, Config, Peer};
    /// use mqtt_state::{Timestamp, Transmit};
    ///
    /// let (now, mut broker) = (Timestamp::ZERO, Broker::new(Config::default()));
    /// let id = broker.accept(now, Peer::default())?;
    /// let mut outputs = BTreeMap::from([(id, Vec::new())]);
    /// let connect = Connect::new(ProtocolVersion::V3_1_1, Str::new("meter")?);
    /// let mut input = Vec::new();
    /// Packet::Connect(connect).encode_to(ProtocolVersion::V3_1_1, &mut input)?;
    /// let _all = broker.handle_input(now, id, &input);
    ///
    /// let polled = broker.poll_ready_into(now, |id| Some((outputs.get_mut(&id)?, 4096)));
    /// assert_eq!(polled, Some((id, Transmit::Idle)));
    /// assert_eq!(outputs[&id], [0x20, 2, 0, 0], "CONNACK");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn poll_ready_into<'o>(
        &mut self,
        now: Timestamp,
        room: impl FnOnce(ConnectionId) -> Option<(&'o mut Vec<u8>, usize)>,
    ) -> Option<(ConnectionId, Transmit)> {
        self.transmit_next(now, room)
    }

    /// Appends bytes for the transport of a connection to `buf`: whole PUBLISH packets, about
    /// `max_bytes` in all, and more only where a single packet is larger.
    ///
    /// With [`Transmit::Close`] the last byte of the connection has been handed out, and the
    /// broker has forgotten it. For one that is gone that is the answer as well.
    pub fn poll_transmit(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        max_bytes: usize,
        buf: &mut Vec<u8>,
    ) -> Transmit {
        self.transmit(now, id, max_bytes, buf)
    }

    /// As [`poll_transmit`](Self::poll_transmit), for a transport with gather writes: the same bytes, but
    /// payloads of 4,096 bytes and more are handed out as they are instead of being copied. They count
    /// for `max_bytes` too. See [`Pieces`].
    pub fn poll_transmit_vectored(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        max_bytes: usize,
        pieces: &mut Pieces,
    ) -> Transmit {
        self.transmit(now, id, max_bytes, pieces)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before. May
    /// be early.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timeout> {
        if !self.router.fan_outs.is_empty() {
            return Some(Timeout {
                at: self.clock.latest(),
                reason: TimeoutReason::Work,
            });
        }
        let (at, timer) = self.timers.next()?;
        let is_left = self.timers.is_behind() && at <= self.clock.latest();
        let reason = match timer {
            _ if is_left => TimeoutReason::Work,
            Timer::Connection(id) => self
                .connections
                .get(id)
                .and_then(|connection| connection.link.deadline())
                .map_or(TimeoutReason::KeepAlive, |timeout| timeout.reason),
            Timer::Will(_) => TimeoutReason::WillDelay,
            Timer::Session(_) => TimeoutReason::SessionExpiry,
            Timer::Retained(_) => TimeoutReason::RetainedExpiry,
            Timer::Decision(_) => TimeoutReason::Decision,
            Timer::Claim(_) => TimeoutReason::Claim,
            Timer::Rate(_) | Timer::TooSlow(_) | Timer::Drain => TimeoutReason::Work,
        };
        Some(Timeout { at, reason })
    }

    /// Whether input of a connection is taken now. No means: send its output first, or wait for what
    /// [`explain`](Self::explain) says. Offer the input again when
    /// [`poll_ready`](Self::poll_ready) names the connection. Yes does not say that the last call took all.
    ///
    /// Ask right behind [`handle_input`](Self::handle_input): only a connection whose last input was followed by a no is named
    /// when that becomes a yes. At other moments a no may be of other connections' making: read then, and offer.
    #[must_use]
    pub fn wants_input(&self, id: ConnectionId) -> bool {
        self.connections.get(id).is_none_or(|connection| {
            let is_ended = connection.link.is_ended();
            connection.link.wants_input() && (is_ended || self.input_waits(connection).is_none())
        })
    }

    /// A call begins: time goes on, and some work may be done.
    fn begin(&mut self, now: Timestamp) -> Timestamp {
        debug_assert_eq!(self.indexes_bytes, self.weight_of_indexes());
        self.work.begin(self.config.work_per_call);
        self.clock.advance(now)
    }

    fn forget(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(id) else {
            return;
        };
        debug_assert!(connection.at_hand.is_none());
        if let Some(at) = connection.timer_at.at() {
            self.timers.cancel(at, Timer::Connection(id));
        }
    }
}
