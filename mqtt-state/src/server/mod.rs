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

mod authenticate;
mod config;
mod connect;
mod error;
mod event;
mod keep_alive;
mod link;
mod publish;
mod subscribe;

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::BytesMut;
use mqtt_codec::{DisconnectReason, Frame, Packet, Parsed, PublishReason, Rule};

pub use config::Config;
pub use connect::Acceptance;
pub use error::CommandError;
pub use event::{ConnectRequest, DeliveryToken, Event, RequestToken, WillRequest};
pub use publish::{DeliverError, OwnDelivery};

pub(crate) use connect::{Welcome, check as check_connect};
pub(crate) use link::{Action, ServerLink};

use crate::intake::{BufferSeen, Intake, Origin, Step, take, take_shared};
use crate::link::AckEffect;
use crate::time::Clock;
use crate::{
    AuthenticationData, CloseCause, Consumed, Explanation, InputWaits, Timeout, Timestamp, Traffic,
    Transmit,
};

/// The session of one client, to be kept while it is away.
pub type Session = crate::session::Session<OwnDelivery>;

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
    outbox: Outbox,
    buffer_seen: BufferSeen,
    next_token: u64,
}

/// Events, and what becomes of deliveries that no acknowledgement will tell about.
#[derive(Debug, Default)]
struct Outbox {
    events: VecDeque<Event>,
    traffic: Traffic,
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
            outbox: Outbox::default(),
            buffer_seen: BufferSeen::default(),
            next_token: 1,
        }
    }

    /// Ends the connection, with DISCONNECT where the version has one for a server.
    pub fn disconnect(&mut self, now: Timestamp, reason: DisconnectReason) {
        let now = self.clock.advance(now);
        self.end(now, CloseCause::Disconnected(reason));
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
        self.buffer_seen.note(input);
        let (seen, connection) = (self.buffer_seen, self);
        take_shared(&mut Input { connection, now }, seen, input)
    }

    /// A deadline of [`poll_timeout`](Self::poll_timeout) may have come. Early and repeated calls
    /// do nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.clock.advance(now);
        if let Some(cause) = self.link.expired(now) {
            self.end(now, cause);
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
        self.outbox.events.pop_front()
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
        let now = self.clock.advance(now);
        let session = self.link.is_connected().then_some(&mut self.session);
        let before = buf.len();
        let transmit = self
            .link
            .transmit(now, max_bytes, buf, session, &mut self.outbox);
        self.outbox
            .traffic
            .note_sent(buf.len().saturating_sub(before));
        transmit
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timeout> {
        self.link.deadline()
    }

    /// Whether input is taken now. No means: drain events, send output, or answer CONNECT, first.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.link.wants_input()
            && (self.link.is_ended() || self.outbox.events.len() < self.config.events_max)
    }

    /// Whether the client has been accepted and the connection is not over.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// What went through this connection.
    #[must_use]
    pub fn stats(&self) -> Traffic {
        self.outbox.traffic
    }

    /// What this connection and its session wait for.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let explanation = self.link.explain(Some(&self.session));
        let events = (!self.wants_input()).then_some(InputWaits::ForEvents);
        Explanation {
            input: explanation.input.or(events),
            ..explanation
        }
    }

    /// Which rules the client broke and was let go by [`Config::strictness`], and in how many
    /// packets.
    pub fn tolerated(&self) -> impl Iterator<Item = (Rule, u32)> {
        self.link.tolerated()
    }

    /// The session; of use when the connection is over.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.session
    }

    fn note_input(&mut self, now: Timestamp, len: usize) -> Timestamp {
        let now = self.clock.advance(now);
        if len > 0 {
            self.link.note_input(now);
        }
        now
    }

    fn carry_out(
        &mut self,
        now: Timestamp,
        packet: &Packet<'_>,
        origin: Origin<'_>,
    ) -> Result<(), CloseCause> {
        let session = self.link.is_connected().then_some(&mut self.session);
        match self
            .link
            .receive(now, packet, session, &mut self.outbox, &self.config)?
        {
            Action::Nothing => {}
            Action::Connect(connect) => {
                check_connect(&connect, &self.config).map_err(CloseCause::Refused)?;
                let request = ConnectRequest::new(&connect, &self.config);
                self.session_expiry_secs = request.session_expiry_secs;
                self.will.clone_from(&request.will);
                self.push(Event::Connect(request.into()));
            }
            Action::Authenticate { data, is_new } => {
                let data = data.map(AuthenticationData::from);
                self.push(Event::Authenticate { data, is_new });
            }
            Action::Publish(publish, topic) => {
                let message = origin.message(&publish, topic.name());
                self.link
                    .acknowledge(publish.delivery, PublishReason::Success, &mut self.session)
                    .map_err(|_| CloseCause::AnswerTooLarge)?;
                self.push(Event::Publish {
                    message,
                    dup: publish.delivery.dup(),
                });
            }
            Action::Delivery(AckEffect::Completed { tag, reason }) => {
                self.push(Event::Delivered {
                    token: DeliveryToken(tag),
                    reason,
                });
            }
            Action::Delivery(AckEffect::Nothing | AckEffect::Released { .. }) => {}
            Action::Subscribe(subscribe) => {
                let filters: Vec<_> = subscribe
                    .filters
                    .iter()
                    .map(|entry| (entry.filter.as_str().to_string(), entry.options))
                    .collect();
                let token = RequestToken {
                    id: subscribe.id,
                    filters_len: filters.len(),
                    subscribes: true,
                };
                let subscription_id = subscribe.properties.subscription_id;
                self.push(Event::Subscribe {
                    token,
                    filters,
                    subscription_id,
                });
            }
            Action::Unsubscribe(unsubscribe) => {
                let filters: Vec<_> = unsubscribe
                    .filters
                    .iter()
                    .map(|filter| filter.as_str().to_string())
                    .collect();
                let token = RequestToken {
                    id: unsubscribe.id,
                    filters_len: filters.len(),
                    subscribes: false,
                };
                self.push(Event::Unsubscribe { token, filters });
            }
            Action::Disconnect(disconnect) => {
                if let Some(asked) = disconnect.properties.session_expiry_secs {
                    self.session_expiry_secs =
                        asked.min(self.config.session_expiry_max_secs.unwrap_or(u32::MAX));
                }
                // [5:MQTT-3.14.4-3] [3:MQTT-3.14.4-3]
                if disconnect.reason == DisconnectReason::NormalDisconnection {
                    self.will = None;
                }
                self.end(now, CloseCause::DisconnectedByPeer(disconnect.reason));
            }
        }
        Ok(())
    }

    fn end(&mut self, now: Timestamp, cause: CloseCause) {
        if self.link.is_ended() {
            return;
        }
        if matches!(cause, CloseCause::ProtocolError(_)) {
            self.outbox.traffic.note_violation();
        }
        // The will is part of an accepted connection only.
        let will = if self.link.is_connected() {
            self.will.take()
        } else {
            None
        };
        self.link.end(now, cause, &self.config);
        self.push(Event::Closed {
            cause,
            will,
            session_expiry_secs: self.session_expiry_secs,
        });
    }

    fn push(&mut self, event: Event) {
        self.outbox.events.push_back(event);
    }
}

/// A connection, as the owner of its input.
struct Input<'c> {
    connection: &'c mut Connection,
    now: Timestamp,
}

impl Intake for Input<'_> {
    fn next_frame<'p>(&mut self, input: &'p [u8]) -> Step<'p> {
        let connection = &mut *self.connection;
        if connection.link.is_ended() {
            return Step::Ignore;
        }
        if !connection.wants_input() {
            return Step::Need(0);
        }
        match connection.link.parse(input) {
            Ok(Parsed::Complete(frame)) => Step::Frame(frame),
            Ok(Parsed::Partial { needed }) => Step::Need(needed),
            Err(error) => {
                connection.end(self.now, CloseCause::ProtocolError(error));
                Step::Ignore
            }
        }
    }

    fn handle_frame(&mut self, frame: &Frame<'_>, origin: Origin<'_>) {
        let connection = &mut *self.connection;
        connection.outbox.traffic.note_received(frame.size());
        let packet = connection.link.decode(frame);
        let handled = packet.map_err(|error| CloseCause::ProtocolError(error.into()));
        let handled = handled.and_then(|packet| connection.carry_out(self.now, &packet, origin));
        if let Err(cause) = handled {
            connection.end(self.now, cause);
        }
    }
}
