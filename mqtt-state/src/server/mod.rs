//! The server role for one connection: for those who have a broker, a gateway or a proxy of their
//! own above it.
//!
//! A [`Connection`] does everything of the standard that concerns one connection, and leaves to
//! its owner what concerns several: who may connect, which session a client finds, who gets a
//! message.
//!
//! ```
//! use mqtt_codec::{Connect, Packet, ProtocolVersion, Str};
//! use mqtt_state::server::{Acceptance, Config, Connection, Event};
//! use mqtt_state::{Timestamp, Transmit};
//!
//! let now = Timestamp::ZERO;
//! let mut connection = Connection::new(now, Config::default());
//!
//! // Bytes that came from a socket, here a CONNECT.
//! let mut input = Vec::new();
//! let connect = Connect::new(ProtocolVersion::V5_0, Str::new("sensor-7")?);
//! Packet::Connect(connect).encode_to(ProtocolVersion::V5_0, &mut input)?;
//! assert_eq!(connection.handle_input(now, &input).bytes, input.len());
//!
//! let Some(Event::Connect(request)) = connection.poll_event() else { unreachable!() };
//! assert_eq!(request.client_id, "sensor-7");
//! connection.accept(now, Acceptance::default())?;
//!
//! let mut output = Vec::new();
//! assert_eq!(connection.poll_transmit(now, 4096, &mut output), Transmit::Idle);
//! assert_eq!(output[0], 0x20, "CONNACK");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A proxy answers when the other side has: with [`Acknowledge::Manual`] a message is acknowledged
//! by [`ack`](Connection::ack) or refused by [`reject_publish`](Connection::reject_publish), and a
//! SUBSCRIBE always is its owner's to answer.
//!
//! ```
//! use mqtt_codec::{
//!     AckProperties, Connect, Delivery, Message, Packet, PacketId, ProtocolVersion, Publish,
//!     PublishReason, QoS, Str, Subscribe, SubscribeFilter, SubscribeFilters, SubscribeProperties,
//!     SubscribeReason, TopicName,
//! };
//! use mqtt_state::Timestamp;
//! use mqtt_state::server::{Acceptance, Acknowledge, Config, Connection, Event};
//!
//! let now = Timestamp::ZERO;
//! let config = Config { acknowledge: Acknowledge::Manual, ..Config::default() };
//! let mut connection = Connection::new(now, config);
//!
//! // What a client sends at once: CONNECT, SUBSCRIBE, and a message.
//! let mut input = Vec::new();
//! let version = ProtocolVersion::V5_0;
//! Packet::from(Connect::new(version, Str::new("sensor-7")?)).encode_to(version, &mut input)?;
//! let id = PacketId::MIN;
//! let filters = [SubscribeFilter::new("command/#", QoS::AtLeastOnce)?];
//! let subscribe = Subscribe {
//!     id,
//!     filters: SubscribeFilters::new(&filters)?,
//!     properties: SubscribeProperties::default(),
//! };
//! Packet::from(subscribe).encode_to(version, &mut input)?;
//! let publish = Publish {
//!     delivery: Delivery::AtLeastOnce { id, dup: false },
//!     ..Publish::new(TopicName::new("reading")?, b"21.5")
//! };
//! Packet::from(publish).encode_to(version, &mut input)?;
//!
//! let mut taken = 0;
//! let mut seen = Vec::new();
//! while taken < input.len() {
//!     taken += connection.handle_input(now, &input[taken..]).bytes;
//!     while let Some(event) = connection.poll_event() {
//!         match event {
//!             Event::Connect(_) => {
//!                 seen.push("connect");
//!                 connection.accept(now, Acceptance::default())?;
//!             }
//!             Event::Subscribe { token, .. } => {
//!                 seen.push("subscribe");
//!                 connection.answer_subscribe(now, token, &[SubscribeReason::GrantedQoS1])?;
//!                 let message = Message::new("command/blink", "3")?.with_qos(QoS::AtLeastOnce);
//!                 connection.deliver(now, message)?;
//!             }
//!             Event::Publish { receipt: Some(receipt), .. } => {
//!                 seen.push("publish");
//!                 let reason = PublishReason::QuotaExceeded;
//!                 connection.reject_publish(now, receipt, reason, AckProperties::default())?;
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(seen, ["connect", "subscribe", "publish"]);
//!
//! // The connection is over; the next one of this client gets its session, and sends again.
//! connection.handle_close(now);
//! let session = connection.into_session();
//! assert_eq!(session.as_ref().map(|session| session.waiting_len()), Some(1));
//! let acceptance = Acceptance { session, ..Acceptance::default() };
//! # let _ = acceptance;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where to go from here:
//!
//! | to | look at |
//! |---|---|
//! | refuse a client, with words or to another server | [`Connection::reject`], [`Connection::reject_with`] |
//! | send a message and know what became of it | [`Connection::deliver`], [`Event::Delivered`], [`Session::open_deliveries`] |
//! | authenticate in several steps | [`Config::enhanced_authentication`], [`Connection::ask`], [`Connection::accept_authentication`] |
//! | keep a session, here or in a store | [`Connection::into_session`], [`Session::snapshot`], [`Session::restore`] |
//! | say goodbye | [`Connection::disconnect`], [`Connection::disconnect_with`] |
//! | bound memory | [`Config::connect_packet_size_max`] and what is beside it, [`Config::memory_bound`] |
//! | see what it does and waits for | [`Connection::stats`], [`Connection::explain`] |

mod acknowledge;
mod authenticate;
mod config;
mod connect;
mod error;
mod event;
mod event_queue;
mod keep_alive;
mod link;
mod look;
mod memory;
mod publish;
mod receive;
mod session;
mod subscribe;
mod transmit;

use alloc::vec::Vec;

use bytes::BytesMut;
use mqtt_codec::{Disconnect, DisconnectReason, ProtocolVersion};

pub use crate::AuthenticationData;
pub use crate::session::{AckError, Acknowledge, Receipt, RestoreError};
pub use config::Config;
pub use connect::Acceptance;
pub use error::{AcceptError, CommandError};
pub use event::{ConnectRequest, DeliveryToken, DropCause, Event, RequestToken, WillRequest};
pub use publish::{DeliverError, DeliverErrorKind};
pub use session::Session;

pub(crate) use connect::{Welcome, check as check_connect};
pub(crate) use link::{Action, ServerLink};

use event_queue::Events;
use receive::Input;

use crate::intake::{InputSeen, take, take_shared};
use crate::session::IdSet;
use crate::time::Clock;
use crate::{CloseCause, Consumed, Diagnostics, Pieces, Timeout, Timestamp, Transmit};

/// One connection in the server role.
///
/// After any call that takes `&mut self`, drain [`poll_event`](Self::poll_event), write out
/// [`poll_transmit`](Self::poll_transmit), then wait for bytes or for
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Connection {
    config: Config,
    clock: Clock,
    link: ServerLink,
    session: Session,
    will: Option<alloc::boxed::Box<WillRequest>>,
    session_expiry_secs: u32,
    clean_start: bool,
    /// The session is that of the client.
    is_accepted: bool,
    version: Option<ProtocolVersion>,
    /// Identifiers of SUBSCRIBE and UNSUBSCRIBE packets that the owner has not answered.
    requests: IdSet,
    events: Events,
    input_seen: InputSeen,
}

impl Connection {
    /// A transport has been opened by a client.
    #[must_use]
    pub fn new(now: Timestamp, config: Config) -> Self {
        let mut clock = Clock::default();
        let now = clock.advance(now);
        Self {
            link: ServerLink::new(now, &config),
            config,
            clock,
            session: Session::new(),
            will: None,
            session_expiry_secs: 0,
            clean_start: false,
            is_accepted: false,
            version: None,
            requests: IdSet::new(),
            events: Events::default(),
            input_seen: InputSeen::default(),
        }
    }

    /// Ends the connection, with DISCONNECT where the version has one for a server.
    pub fn disconnect(&mut self, now: Timestamp, reason: DisconnectReason) {
        let now = self.clock.advance(now);
        self.end(now, CloseCause::Disconnected(reason));
    }

    /// Ends the connection with a DISCONNECT that carries properties (5.0): a reason string, user
    /// properties, and a server reference with 0x9C and 0x9D. A Session Expiry Interval is left out:
    /// a server has none to send.
    // [5:MQTT-3.14.2-2]
    pub fn disconnect_with(&mut self, now: Timestamp, disconnect: &Disconnect<'_>) {
        let mut goodbye = *disconnect;
        goodbye.properties.session_expiry_secs = None;
        self.link.say_goodbye(&goodbye);
        self.disconnect(now, disconnect.reason);
    }

    /// Takes whole packets from the front of `input`. What is not consumed has to be offered
    /// again, with what has come since. Stops at a packet boundary while
    /// [`wants_input`](Self::wants_input) says no.
    pub fn handle_input(&mut self, now: Timestamp, input: &[u8]) -> Consumed {
        let now = self.note_input(now, input.len());
        let connection = self;
        take(&mut Input { connection, now }, input)
    }

    /// Like [`handle_input`](Self::handle_input), but takes the bytes out of a buffer whose memory
    /// messages may share instead of being copied. A message shares it only where it is most of
    /// the buffer, so that a small one never pins a large one; for that the buffer has to be a
    /// whole one, not a part split off another.
    pub fn handle_input_shared(&mut self, now: Timestamp, input: &mut BytesMut) -> Consumed {
        let now = self.note_input(now, input.len());
        self.input_seen.note_buffer(input);
        let (seen, connection) = (self.input_seen, self);
        take_shared(&mut Input { connection, now }, seen, input)
    }

    /// A deadline of [`poll_timeout`](Self::poll_timeout) may have come. Early and repeated calls
    /// do nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.clock.advance(now);
        match self.link.expired(now) {
            // Nobody knows whether a client is silent whose input is not taken, as the owner is slow.
            Some(CloseCause::KeepAliveTimeout) if !self.has_room() => self.link.note_input(now),
            Some(cause) => self.end(now, cause),
            None => {}
        }
    }

    /// The transport has ended, from whichever side.
    pub fn handle_close(&mut self, now: Timestamp) {
        let now = self.clock.advance(now);
        self.end(now, CloseCause::ConnectionLost);
        self.link.abort();
    }

    /// The next thing that happened. Call until it answers `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Appends bytes for the transport to `buf`: whole PUBLISH packets, about `max_bytes` in all,
    /// and more only where a single packet is larger.
    ///
    /// With [`Transmit::Close`] the last byte of the connection has been handed out.
    pub fn poll_transmit(
        &mut self,
        now: Timestamp,
        max_bytes: usize,
        buf: &mut Vec<u8>,
    ) -> Transmit {
        self.transmit(now, max_bytes, buf)
    }

    /// As [`poll_transmit`](Self::poll_transmit), for a transport with gather writes: the same bytes, but
    /// payloads of 4,096 bytes and more are handed out as they are instead of being copied. They count
    /// for `max_bytes` too. See [`Pieces`].
    pub fn poll_transmit_vectored(
        &mut self,
        now: Timestamp,
        max_bytes: usize,
        pieces: &mut Pieces,
    ) -> Transmit {
        self.transmit(now, max_bytes, pieces)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timeout> {
        self.link.deadline()
    }

    /// Whether input is taken now. No means: drain events, send output, answer CONNECT, or acknowledge
    /// messages, first.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.link.wants_input() && (self.link.is_ended() || self.has_room())
    }

    /// Whether the owner has fetched and answered enough for more to be taken.
    fn has_room(&self) -> bool {
        !self.events.is_full(&self.config) && !self.has_too_many_receipts()
    }

    /// What is kept for the client, as it is now.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The session; of use when the connection is over. `None` where the client was never accepted, so
    /// that nothing takes the place of the session that is kept for it.
    #[must_use]
    pub fn into_session(self) -> Option<Session> {
        self.is_accepted.then_some(self.session)
    }

    fn note_input(&mut self, now: Timestamp, len: usize) -> Timestamp {
        let now = self.clock.advance(now);
        if self.input_seen.note_offered(len) {
            self.link.note_input(now);
        }
        now
    }

    fn end(&mut self, now: Timestamp, cause: CloseCause) {
        self.end_with(now, cause, Diagnostics::default());
    }

    fn end_with(&mut self, now: Timestamp, cause: CloseCause, diagnostics: Diagnostics) {
        if self.link.is_ended() {
            return;
        }
        if matches!(cause, CloseCause::ProtocolError(_)) {
            self.events.traffic.note_violation();
        }
        // The will is part of an accepted connection only.
        let will = if self.link.is_connected() {
            self.will.take()
        } else {
            None
        };
        self.link.end(now, cause, &self.config);
        self.session.receipts.end_connection();
        self.requests.clear();
        self.events.push(Event::Closed {
            cause,
            will,
            session_expiry_secs: self.session_expiry_secs,
            diagnostics,
        });
    }
}
