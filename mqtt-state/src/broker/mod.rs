//! The broker: many connections, and everything between them.
//!
//! A [`Broker`] takes the bytes of all connections and hands out the bytes for each. Sessions,
//! subscriptions, routing, retained messages, wills, shared subscriptions, take-over and expiry
//! are inside; sockets, clocks and threads are outside.
//!
//! ```
//! use mqtt_codec::{Connect, Packet, ProtocolVersion, Str};
//! use mqtt_state::broker::{Broker, Config};
//! use mqtt_state::{Timestamp, Transmit};
//!
//! let mut broker = Broker::new(Config::default());
//! let now = Timestamp::ZERO;
//! let connection = broker.accept(now)?;
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

mod config;
mod connect;
mod connections;
mod event;
mod retained;
mod routing;
mod sessions;
mod slab;
mod store;
mod subscribe;
mod timers;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::BytesMut;
use mqtt_codec::{DecodeError, DisconnectReason, Frame, Message, Packet, Parsed};
use mqtt_topic::{IndexConfig, RetainedConfig, RetainedIndex, SubscriptionIndex};

pub use config::Config;
pub use connections::ConnectionId;
pub use event::{DropCause, Event};

use connections::Connections;
use event::EventQueue;
use routing::{Router, Subscription};
use sessions::{SessionKey, Sessions};
use store::{Deliveries, MessageRef, MessageStore};
use timers::{Timer, Timers};

use crate::link::{Origin, split_frame};
use crate::server::{Action, ServerLink};
use crate::time::Clock;
use crate::{
    CloseCause, Consumed, Explanation, Timeout, TimeoutReason, Timestamp, Traffic, Transmit,
};

/// A broker.
///
/// After any call that takes `&mut self`, drain [`poll_event`](Self::poll_event) and
/// [`poll_ready`](Self::poll_ready), write out [`poll_transmit`](Self::poll_transmit) for each
/// connection that was handed out, then wait for bytes or for
/// [`poll_timeout`](Self::poll_timeout).
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
    events: EventQueue,
    traffic: Traffic,
    /// Client identifiers assigned so far.
    assigned: u64,
}

/// Why a connection was not accepted. Close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptError {
    /// As many connections are open as [`Config::connections_max`] allows.
    TooManyConnections,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many connections")
    }
}

impl core::error::Error for AcceptError {}

/// Figures about a broker at one moment, from [`Broker::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Open connections, accepted or still before CONNECT.
    pub connections: usize,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Messages kept for sessions and as retained messages, each counted once.
    pub messages: usize,
    /// Deadlines.
    pub timers: usize,
    /// Events that nobody fetched in time.
    pub events_dropped: u64,
    /// What went through, over all connections.
    pub traffic: Traffic,
}

impl Broker {
    /// A broker without connections and sessions.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            clock: Clock::default(),
            connections: Connections::new(),
            sessions: Sessions::new(),
            subscriptions: SubscriptionIndex::new(IndexConfig {
                levels_max: config.levels_max,
            }),
            retained: RetainedIndex::new(RetainedConfig {
                topics_max: config.retained_len_max,
                bytes_max: config.retained_bytes_max,
            }),
            store: MessageStore::new(),
            router: Router::default(),
            timers: Timers::default(),
            events: EventQueue::new(config.events_max),
            traffic: Traffic::default(),
            assigned: 0,
            config,
        }
    }

    /// A transport has been opened by a client.
    ///
    /// # Errors
    ///
    /// [`AcceptError::TooManyConnections`].
    pub fn accept(&mut self, now: Timestamp) -> Result<ConnectionId, AcceptError> {
        let now = self.clock.advance(now);
        if self.connections.len() >= self.config.connections_max {
            return Err(AcceptError::TooManyConnections);
        }
        let link = ServerLink::new(now, &self.config.server);
        let id = self
            .connections
            .insert(link)
            .ok_or(AcceptError::TooManyConnections)?;
        self.arm(id);
        Ok(id)
    }

    /// Takes whole packets of a connection from the front of `input`. What is not consumed has to
    /// be offered again, with what has come since. Stops at a packet boundary while
    /// [`wants_input`](Self::wants_input) says no. For a connection that is gone it takes
    /// everything and ignores it.
    pub fn handle_input(&mut self, now: Timestamp, id: ConnectionId, input: &[u8]) -> Consumed {
        let now = self.note_input(now, id, input.len());
        let mut bytes = 0_usize;
        let consumed = loop {
            let rest = input.get(bytes..).unwrap_or_default();
            match self.next_frame(now, id, rest) {
                Step::Frame { size } => {
                    let Some(frame) = rest.get(..size) else {
                        break Consumed { bytes, need: 0 };
                    };
                    self.handle_frame(now, id, frame, Origin::Borrowed);
                    bytes = bytes.saturating_add(size);
                }
                Step::Need(need) => break Consumed { bytes, need },
                Step::Ignore => {
                    break Consumed {
                        bytes: input.len(),
                        need: 0,
                    };
                }
            }
        };
        self.settle(id);
        consumed
    }

    /// Like [`handle_input`](Self::handle_input), but takes the bytes out of a buffer whose memory
    /// messages may share instead of being copied. A message shares it only where it is most of
    /// the buffer, so that a small one never pins a large one.
    pub fn handle_input_shared(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        input: &mut BytesMut,
    ) -> Consumed {
        let now = self.note_input(now, id, input.len());
        let mut bytes = 0_usize;
        let consumed = loop {
            match self.next_frame(now, id, input) {
                Step::Frame { size } => {
                    let (frame, may_share) = split_frame(input, size);
                    let origin = if may_share {
                        Origin::Shared(&frame)
                    } else {
                        Origin::Borrowed
                    };
                    self.handle_frame(now, id, &frame, origin);
                    bytes = bytes.saturating_add(size);
                }
                Step::Need(need) => break Consumed { bytes, need },
                Step::Ignore => {
                    bytes = bytes.saturating_add(input.len());
                    input.clear();
                    break Consumed { bytes, need: 0 };
                }
            }
        };
        self.settle(id);
        consumed
    }

    /// The transport of a connection has ended, from whichever side. A late call, for a connection
    /// that is gone, does nothing.
    pub fn handle_close(&mut self, now: Timestamp, id: ConnectionId) {
        let now = self.clock.advance(now);
        self.end_connection(now, id, CloseCause::ConnectionLost, None);
        self.forget(id);
    }

    /// A deadline of [`poll_timeout`](Self::poll_timeout) may have come. Early and repeated calls
    /// do nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.clock.advance(now);
        self.fire_due(now);
    }

    /// Publishes a message of the embedder's own, to whatever topic. Answers how many sessions it
    /// goes to.
    pub fn publish(&mut self, now: Timestamp, message: Message) -> usize {
        let now = self.clock.advance(now);
        self.route_message(now, None, message)
    }

    /// Ends a connection for a reason of the embedder's, with DISCONNECT where the version has
    /// one. Its will is published.
    pub fn disconnect(&mut self, now: Timestamp, id: ConnectionId, reason: DisconnectReason) {
        let now = self.clock.advance(now);
        self.end_connection(now, id, CloseCause::Disconnected(reason), None);
    }

    /// Ends all connections, with 0x8B Server shutting down. Sessions stay.
    pub fn shutdown(&mut self, now: Timestamp) {
        let now = self.clock.advance(now);
        let all: Vec<_> = self.connections.ids().collect();
        for id in all {
            self.end_connection(
                now,
                id,
                CloseCause::Disconnected(DisconnectReason::ServerShuttingDown),
                None,
            );
        }
    }

    /// The next thing that happened. Call until it answers `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// The next connection that has output, once until it is drained: from here on the caller
    /// calls [`poll_transmit`](Self::poll_transmit) for it, whenever its transport has room, until
    /// that answers `Idle` or `Close`.
    pub fn poll_ready(&mut self) -> Option<ConnectionId> {
        self.connections.pop_ready()
    }

    /// Appends bytes for the transport of a connection to `buf`: whole PUBLISH packets, about
    /// `max_bytes` in all, and more only where a single packet is larger.
    ///
    /// With [`Transmit::Close`] the last byte of the connection has been handed out, and the
    /// broker has forgotten it.
    pub fn poll_transmit(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        max_bytes: usize,
        buf: &mut Vec<u8>,
    ) -> Transmit {
        let now = self.clock.advance(now);
        let end = buf.len().saturating_add(max_bytes.max(1));
        let transmit = loop {
            let room = end.saturating_sub(buf.len());
            if room == 0 {
                break Transmit::More;
            }
            let Some(connection) = self.connections.get_mut(id) else {
                return Transmit::Close;
            };
            let key = connection.session;
            let entry = key.and_then(|key| self.sessions.get_mut(key));
            let (client_id, session) = match entry {
                Some(entry) => (&*entry.client_id, Some(&mut entry.session)),
                None => ("", None),
            };
            let mut deliveries = Deliveries {
                store: &mut self.store,
                events: &mut self.events,
                traffic: &mut self.traffic,
                client_id,
            };
            let before = buf.len();
            let transmit = connection
                .link
                .transmit(now, room, buf, session, &mut deliveries);
            self.traffic.note_sent(buf.len().saturating_sub(before));
            // Retained messages that a new subscription still has to get follow in slices.
            let goes_on =
                transmit == Transmit::Idle && key.is_some_and(|key| self.advance_replays(now, key));
            if !goes_on {
                break transmit;
            }
        };
        match transmit {
            Transmit::Idle => self.connections.mark_drained(id),
            Transmit::More => {}
            Transmit::Close => self.forget(id),
        }
        transmit
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before. May
    /// be early.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timeout> {
        let (at, timer) = self.timers.next()?;
        let reason = match timer {
            Timer::Connection(id) => self
                .connections
                .get(id)
                .and_then(|connection| connection.link.deadline())
                .map_or(TimeoutReason::KeepAlive, |timeout| timeout.reason),
            Timer::Will(_) => TimeoutReason::WillDelay,
            Timer::Session(_) => TimeoutReason::SessionExpiry,
            Timer::Retained(_) => TimeoutReason::RetainedExpiry,
        };
        Some(Timeout { at, reason })
    }

    /// Whether input of a connection is taken now. No means: send its output first.
    #[must_use]
    pub fn wants_input(&self, id: ConnectionId) -> bool {
        self.connections
            .get(id)
            .is_none_or(|connection| connection.link.wants_input())
    }

    /// Figures at this moment. Costs nothing that grows with the broker.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.len(),
            sessions: self.sessions.len(),
            subscriptions: self.subscriptions.len(),
            retained: self.retained.len(),
            messages: self.store.len(),
            timers: self.timers.len(),
            events_dropped: self.events.dropped(),
            traffic: self.traffic,
        }
    }

    /// What a connection and its session wait for; `None` for a connection that is gone.
    #[must_use]
    pub fn explain(&self, id: ConnectionId) -> Option<Explanation> {
        let connection = self.connections.get(id)?;
        let session = connection.session.and_then(|key| self.sessions.get(key));
        Some(connection.link.explain(session.map(|entry| &entry.session)))
    }

    /// Carries out every deadline that has passed.
    fn fire_due(&mut self, now: Timestamp) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Connection(id) => self.connection_timer(now, id),
                Timer::Will(key) => {
                    if let Some(entry) = self.sessions.get_mut(key) {
                        entry.will_at = None;
                    }
                    self.publish_will(now, key);
                }
                Timer::Session(key) => {
                    if let Some(entry) = self.sessions.get_mut(key) {
                        entry.expires_at = None;
                    }
                    self.end_session(now, key);
                }
                Timer::Retained(name) => self.expire_retained(name),
            }
        }
    }

    fn note_input(&mut self, now: Timestamp, id: ConnectionId, len: usize) -> Timestamp {
        let now = self.clock.advance(now);
        if len > 0
            && let Some(connection) = self.connections.get_mut(id)
        {
            connection.link.note_input(now);
        }
        now
    }

    /// Looks at the front of a connection's input.
    fn next_frame(&mut self, now: Timestamp, id: ConnectionId, input: &[u8]) -> Step {
        let Some(connection) = self.connections.get(id) else {
            return Step::Ignore;
        };
        if connection.link.is_ended() {
            return Step::Ignore;
        }
        if !connection.link.wants_input() {
            return Step::Need(0);
        }
        match connection.link.parse(input, &self.config.server) {
            Ok(Parsed::Complete(frame)) => Step::Frame { size: frame.size() },
            Ok(Parsed::Partial { needed }) => Step::Need(needed),
            Err(error) => {
                self.end_connection(now, id, CloseCause::ProtocolError(error), None);
                Step::Ignore
            }
        }
    }

    fn handle_frame(&mut self, now: Timestamp, id: ConnectionId, bytes: &[u8], origin: Origin<'_>) {
        self.traffic.note_received(bytes.len());
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let frame = match connection.link.parse(bytes, &self.config.server) {
            Ok(Parsed::Complete(frame)) => frame,
            Ok(Parsed::Partial { .. }) => return,
            Err(error) => {
                return self.end_connection(now, id, CloseCause::ProtocolError(error), None);
            }
        };
        match connection.link.decode(&frame) {
            Ok(packet) => {
                if let Err(cause) = self.carry_out(now, id, &packet, origin) {
                    self.end_connection(now, id, cause, None);
                }
            }
            Err(error) => {
                let text = text_at_fault(&error, &frame);
                self.end_connection(now, id, CloseCause::ProtocolError(error.into()), text);
            }
        }
    }

    fn carry_out(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        packet: &Packet<'_>,
        origin: Origin<'_>,
    ) -> Result<(), CloseCause> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(());
        };
        let session = connection
            .session
            .and_then(|key| self.sessions.get_mut(key))
            .map(|entry| &mut entry.session);
        match connection
            .link
            .receive(now, packet, session, &self.config.server)?
        {
            Action::Nothing => Ok(()),
            Action::Connect(connect) => self.connect(now, id, &connect),
            Action::Publish(publish, topic) => self.publish_from(now, id, &publish, &topic, origin),
            Action::Delivery(effect) => {
                self.note_delivery(effect);
                Ok(())
            }
            Action::Subscribe(subscribe) => self.subscribe(now, id, &subscribe),
            Action::Unsubscribe(unsubscribe) => self.unsubscribe(id, &unsubscribe),
            Action::Disconnect(disconnect) => {
                self.client_disconnects(now, id, &disconnect);
                Ok(())
            }
        }
    }

    /// After input: is there output, and when is the connection due?
    fn settle(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let session = connection
            .session
            .and_then(|key| self.sessions.get(key))
            .map(|entry| &entry.session);
        if connection.link.has_output(session) {
            self.connections.mark_ready(id);
        }
        self.arm(id);
    }

    /// Sets the timer of a connection. One that fires too early is left alone: it is set anew when
    /// it fires, so that a packet costs no timer.
    fn arm(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(deadline) = connection.link.deadline() else {
            return;
        };
        match connection.timer_at {
            Some(at) if at <= deadline.at => return,
            Some(at) => self.timers.cancel(at, Timer::Connection(id)),
            None => {}
        }
        connection.timer_at = Some(deadline.at);
        self.timers.set(deadline.at, Timer::Connection(id));
    }

    fn connection_timer(&mut self, now: Timestamp, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.timer_at = None;
        if connection.link.is_ended() {
            // Its last bytes have had their time: the next poll answers `Close`.
            if connection
                .link
                .deadline()
                .is_some_and(|deadline| deadline.at <= now)
            {
                self.connections.mark_ready(id);
                return;
            }
        } else if let Some(cause) = connection.link.expired(now) {
            return self.end_connection(now, id, cause, None);
        }
        self.arm(id);
    }

    fn forget(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(id)
            && let Some(at) = connection.timer_at
        {
            self.timers.cancel(at, Timer::Connection(id));
        }
    }
}

/// What is at the front of the input.
enum Step {
    Frame {
        size: usize,
    },
    Need(usize),
    /// The connection is over; whatever comes is thrown away.
    Ignore,
}

/// The topic name or filter that a decoder refused, for the log.
fn text_at_fault(error: &DecodeError, frame: &Frame<'_>) -> Option<String> {
    error.topic_error()?;
    error.text_in(frame).map(String::from)
}
