//! The client role: one connection after another, and the session that outlives them.
//!
//! ```
//! use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, Str};
//! use mqtt_state::client::{Client, Config};
//! use mqtt_state::{Timestamp, Transmit};
//!
//! let mut client = Client::new(Config::default());
//! let now = Timestamp::ZERO;
//! client.connect(now, &Connect::new(ProtocolVersion::V5_0, Str::new("publisher-1")?))?;
//!
//! // Taken at once; it goes out when the server has accepted the connection.
//! let token = client.publish(now, Message::new("house/light", "on")?.with_qos(QoS::AtLeastOnce))?;
//!
//! let mut out = Vec::new();
//! assert_eq!(client.poll_transmit(now, 1024, &mut out), Transmit::Idle);
//! assert_eq!(out[0], 0x10, "CONNECT, and nothing else before CONNACK");
//! # let _ = token;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where to go from here:
//!
//! | to | look at |
//! |---|---|
//! | know what became of a message | [`Event::Published`], [`Event::PublishLost`], [`Client::open_publishes`] |
//! | subscribe, and again after a lost session | [`Client::subscribe`], [`Client::resubscribe`] |
//! | drive it on a socket | [on a blocking socket](#on-a-blocking-socket) |
//! | acknowledge by hand | [`Config::acknowledge`], [`Client::ack`], [`Client::reject`] |
//! | read messages where they came in | [`Client::handle_input_with`] |
//! | carry messages from one server to another | [a bridge](#a-bridge) |
//! | know what the server can do | [`Client::negotiated`] |
//! | come again after a lost connection | [`Backoff`] |
//! | authenticate in several steps | [`Client::authenticate`], [`Client::reauthenticate`] |
//! | keep the session in a store | [`Client::snapshot`], [`Client::restore`]; [`Config::journal`], [`Client::poll_journal`] |
//! | bound memory | [`Config::waiting_len_max`] and what is beside it, [`Config::memory_bound`] |
//! | see what it does and waits for | [`Client::stats`], [`Client::explain`] |
//!
//! # On a blocking socket
//!
//! With `std::net` and one thread. A timeout of the socket stands in for what waits for bytes and for a
//! deadline at once:
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::time::{Duration, Instant};
//!
//! use mqtt_codec::{Connect, ProtocolVersion, QoS, Str, SubscribeFilter};
//! use mqtt_state::client::{Client, Config, Event};
//! use mqtt_state::{Timestamp, Transmit};
//!
//! let mut stream = TcpStream::connect("127.0.0.1:1883")?;
//! let origin = Instant::now();
//! let now = || Timestamp::ZERO + origin.elapsed();
//! let mut client = Client::new(Config::default());
//! client.connect(now(), &Connect::new(ProtocolVersion::V5_0, Str::new("subscriber-1")?))?;
//! let (mut input, mut output, mut piece) = (Vec::new(), Vec::new(), [0; 4096]);
//! loop {
//!     while let Some(event) = client.poll_event() {
//!         match event {
//!             Event::Connected { .. } => {
//!                 // Where the connection is over already, `Event::Closed` is next.
//!                 let _over = client.subscribe(&[SubscribeFilter::new("house/#", QoS::AtLeastOnce)?]);
//!             }
//!             Event::Message { message, .. } => println!("{}", message.topic()),
//!             other => println!("{other:?}"),
//!         }
//!     }
//!     let transmit = client.poll_transmit(now(), 64 * 1024, &mut output);
//!     stream.write_all(&output)?;
//!     output.clear();
//!     match transmit {
//!         Transmit::More => continue,
//!         Transmit::Close => break,
//!         Transmit::Idle => {}
//!     }
//!     // What was left goes first: nothing may come behind it.
//!     let taken = client.handle_input(now(), &input).bytes;
//!     if taken > 0 {
//!         input.drain(..taken);
//!         continue;
//!     }
//!     let due = client.poll_timeout().map(|timeout| timeout.at.saturating_since(now()));
//!     // 0 would be for ever.
//!     stream.set_read_timeout(due.map(|due| due.max(Duration::from_millis(1))))?;
//!     match stream.read(&mut piece) {
//!         Ok(0) => client.handle_close(now()),
//!         Ok(len) => input.extend_from_slice(&piece[..len]),
//!         Err(_no_bytes_in_time) => client.handle_timeout(now()),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A bridge
//!
//! Two clients carry messages from one server to another, and no message is acknowledged before it is the
//! other client's. While that one has no room the first server keeps its messages, and stops when as many are
//! unacknowledged as it may have:
//!
//! ```
//! use std::collections::VecDeque;
//! use mqtt_codec::{Connect, Message, ProtocolVersion, Str};
//! use mqtt_state::Timestamp;
//! use mqtt_state::client::{Acknowledge, Client, Config, Event, Receipt};
//!
//! /// Messages that were fetched from one client, on their way to the other one.
//! type Held = VecDeque<(Message, Option<Receipt>)>;
//!
//! fn carry(now: Timestamp, from: &mut Client, to: &mut Client, held: &mut Held) {
//!     while let Some(event) = from.poll_event() {
//!         match event {
//!             Event::Message { message, receipt, .. } => held.push_back((message, receipt)),
//!             // They come again, and their receipts are worth nothing any more.
//!             Event::Closed { .. } => held.retain(|(_, receipt)| receipt.is_none()),
//!             _ => {}
//!         }
//!     }
//!     while let Some((message, receipt)) = held.pop_front() {
//!         if let Err(error) = to.publish(now, message) {
//!             // There may be room behind its next events.
//!             return held.push_front((error.message, receipt));
//!         }
//!         let _done = receipt.map(|receipt| from.ack(now, receipt));
//!     }
//! }
//!
//! let now = Timestamp::ZERO;
//! let by_hand = Config { acknowledge: Acknowledge::Manual, waiting_len_max: 1, ..Config::default() };
//! let mut near = Client::new(by_hand.clone());
//! let mut far = Client::new(by_hand);
//! near.connect(now, &Connect::new(ProtocolVersion::V3_1_1, Str::new("bridge")?))?;
//! let _connect = near.poll_transmit(now, 1024, &mut Vec::new());
//! // CONNACK, and two messages at QoS 1.
//! let _all = near.handle_input(now, b"\x20\x02\0\0\x32\x06\0\x01t\0\x01a\x32\x06\0\x01t\0\x02b");
//!
//! let mut held = Held::new();
//! carry(now, &mut near, &mut far, &mut held);
//! let mut answers = Vec::new();
//! let _idle = near.poll_transmit(now, 1024, &mut answers);
//! assert_eq!(answers, b"\x40\x02\0\x01", "PUBACK for the first one, for which there was room");
//! assert_eq!(held.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Messages are held beside the events, not left in them: behind them may be what makes room for the other
//!   direction, and two directions would wait for each other. As many come as
//!   [`Config::receive_maximum`] allows.
//! - Fetch the events of a client before `carry` whenever its connection may have ended, as here: a message
//!   whose receipt is stale comes once more.
//! - In 5.0 No Local ([`SubscriptionOptions::no_local`](mqtt_codec::SubscriptionOptions)) keeps the bridge's own
//!   messages from coming back.
//! - [`Event::PublishLost`] hands a message back when a server has lost the session: publish it again.
//! - With [`Config::journal`] in both, whoever stores what [`Client::poll_journal`] of *both* hands out behind `carry`
//!   as one, all or nothing, and only then calls [`Client::handle_stored`] has each QoS 2 message once, whenever
//!   the program ends.
//!
//! # What does not compile
//!
//! A message is the client's once it has been taken:
//!
//! ```compile_fail,E0382
//! # use mqtt_codec::Message;
//! # use mqtt_state::{Timestamp, client::{Client, Config}};
//! # let mut client = Client::new(Config::default());
//! let message = Message::new("house/light", "on").unwrap();
//! client.publish(Timestamp::ZERO, message).unwrap();
//! assert_eq!(message.payload(), b"on");
//! ```
//!
//! What names a message of this client does not acknowledge one of the server:
//!
//! ```compile_fail,E0308
//! # use mqtt_codec::Message;
//! # use mqtt_state::{Timestamp, client::{Client, Config}};
//! # let mut client = Client::new(Config::default());
//! let token = client.publish(Timestamp::ZERO, Message::new("house/light", "on").unwrap()).unwrap();
//! client.ack(Timestamp::ZERO, token).unwrap();
//! ```
//!
//! A filter is not a topic, and nobody publishes to one:
//!
//! ```compile_fail,E0308
//! # use mqtt_codec::{Message, TopicFilter};
//! let filter = TopicFilter::new("house/#").unwrap();
//! let message = Message::from_name(filter, "on");
//! ```

mod acknowledge;
mod authenticate;
mod backoff;
mod config;
mod connect;
mod event;
mod event_queue;
mod incoming;
mod journal;
mod keep_alive;
mod look;
mod memory;
mod publish;
mod receive;
mod snapshot;
mod subscribe;
mod subscriptions;
mod transmit;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};
use mqtt_codec::{Decoder, Packet};

pub use authenticate::AuthenticateError;

pub use crate::AuthenticationData;
pub use crate::session::{AckError, Acknowledge, Receipt, RestoreError};
pub use backoff::{Backoff, BackoffConfig};
pub use config::{Config, WhenFull};
pub use connect::{ConnectError, DisconnectError};
pub use event::{Event, LostCause, Negotiated, PublishToken, RequestToken};
pub use incoming::Incoming;
pub use publish::{PublishError, PublishErrorKind};
pub use subscribe::RequestError;
pub use subscriptions::Subscription;

use authenticate::Dialogue;
use connect::{Offer, Parting};
use event_queue::Events;
use incoming::Show;
use keep_alive::{Due, KeepAlive};
use receive::Input;
use subscriptions::Subscriptions;

use crate::intake::{InputSeen, take, take_shared};
use crate::link::Link;
use crate::session::{OwnMessage, Receipts, Session};
use crate::time::Clock;
use crate::{
    CloseCause, Consumed, Pieces, ProtocolError, Timeout, TimeoutReason, Timestamp, Transmit,
};

/// An MQTT client: commands from above, bytes from below.
///
/// After any call that takes `&mut self`, drain [`poll_event`](Self::poll_event), write out
/// [`poll_transmit`](Self::poll_transmit), then wait for bytes or for
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Client {
    config: Config,
    clock: Clock,
    session: Session<OwnMessage>,
    /// The client identifier that the session belongs to, once there was one.
    session_of: Option<Box<str>>,
    /// The server may have this session.
    session_known: bool,
    /// What the journal says about that.
    recorded_known: bool,
    /// The session outlives the connection.
    session_survives: bool,
    /// From `connect` until `Close` was handed out or the transport ended.
    link: Option<Link>,
    phase: Phase,
    keep_alive: KeepAlive,
    /// Where CONNECT had an authentication method.
    dialogue: Option<Dialogue>,
    receipts: Receipts,
    subscriptions: Subscriptions,
    /// Topics that get an alias on every connection.
    pinned_topics: Vec<Bytes>,
    /// Messages had to wait for acknowledgements.
    quota_exhausted: bool,
    events: Events,
    input_seen: InputSeen,
    decoder: Decoder,
    next_token: u64,
    /// Below this one all have been given out, as far as the journal says.
    recorded_token: u64,
}

#[derive(Debug)]
enum Phase {
    Disconnected,
    Connecting {
        deadline: Timestamp,
        offer: Offer,
    },
    Connected {
        negotiated: Negotiated,
        /// As in CONNECT: the check of DISCONNECT uses the value as written.
        session_expiry_asked_secs: u32,
        request_problem_information: bool,
    },
    Ending {
        deadline: Timestamp,
    },
}

fn new_session(config: &Config) -> Session<OwnMessage> {
    let mut session = Session::new();
    session.outbound.limit_in_flight(config.in_flight_len_max());
    if config.journal {
        session.outbound.follow();
    }
    session
}

/// Where a client is, from [`state`](Client::state).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No connection; `connect` begins one.
    Disconnected,
    /// CONNECT is on its way, or CONNACK is.
    Connecting,
    /// The server accepted the connection.
    Connected,
    /// The connection is over; its last bytes may still have to go out.
    Ending,
}

impl Client {
    /// A client without a session.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            decoder: Decoder::new(config.decoding()),
            clock: Clock::default(),
            session: new_session(&config),
            session_of: None,
            session_known: false,
            recorded_known: false,
            session_survives: false,
            link: None,
            phase: Phase::Disconnected,
            keep_alive: KeepAlive::new(Timestamp::ZERO, 0),
            dialogue: None,
            receipts: Receipts::default(),
            subscriptions: Subscriptions::default(),
            pinned_topics: Vec::new(),
            quota_exhausted: false,
            events: Events::new(config.journal),
            config,
            input_seen: InputSeen::default(),
            next_token: 1,
            recorded_token: 1,
        }
    }

    /// Says that the server may hold a session for this client identifier in which nothing of this
    /// side is in flight, for instance from an earlier run of the program.
    ///
    /// Without it a 5.0 client that never had a session must close the connection when the server
    /// answers Session Present, and this one does.
    // [5:MQTT-3.2.2-4]
    pub fn assume_session(&mut self) {
        self.session_known = true;
        self.record_known();
    }

    /// Takes whole packets from the front of `input`. What is not consumed has to be offered
    /// again, with what has come since. Stops at a packet boundary while
    /// [`wants_input`](Self::wants_input) says no.
    pub fn handle_input(&mut self, now: Timestamp, input: &[u8]) -> Consumed {
        let now = self.note_input(now, input.len());
        let taken = self.take_plain_acks(now, input);
        let rest = input.get(taken..).unwrap_or_default();
        if rest.is_empty() && taken > 0 {
            return Consumed {
                bytes: taken,
                need: 2,
            };
        }
        self.take_packets(now, taken, rest, None)
    }

    /// What is behind the first `taken` bytes.
    #[inline(never)]
    fn take_packets<'c>(
        &'c mut self,
        now: Timestamp,
        taken: usize,
        rest: &[u8],
        show: Show<'c>,
    ) -> Consumed {
        let mut intake = Input {
            client: self,
            now,
            show,
        };
        let Consumed { bytes, need } = take(&mut intake, rest);
        Consumed {
            bytes: bytes.saturating_add(taken),
            need,
        }
    }

    /// Like [`handle_input`](Self::handle_input), but takes the bytes out of a buffer whose memory
    /// messages may share instead of being copied. A message shares it only where it is most of
    /// the buffer, so that a small one never pins a large one; for that the buffer has to be a
    /// whole one, not a part split off another.
    pub fn handle_input_shared(&mut self, now: Timestamp, input: &mut BytesMut) -> Consumed {
        let now = self.note_input(now, input.len());
        self.input_seen.note_buffer(input);
        let mut taken = 0_usize;
        loop {
            let acks = self.take_plain_acks(now, input);
            input.advance(acks);
            let size = acks.saturating_add(self.take_plain_publish(now, input));
            taken = taken.saturating_add(size);
            if input.is_empty() && taken > 0 {
                return Consumed {
                    bytes: taken,
                    need: 2,
                };
            }
            if size == 0 {
                return self.share_packets(now, taken, input);
            }
        }
    }

    /// What is behind the first `taken` bytes, which are not there any more.
    #[inline(never)]
    fn share_packets(&mut self, now: Timestamp, taken: usize, input: &mut BytesMut) -> Consumed {
        let seen = self.input_seen;
        let mut intake = Input {
            client: self,
            now,
            show: None,
        };
        let Consumed { bytes, need } = take_shared(&mut intake, seen, input);
        Consumed {
            bytes: bytes.saturating_add(taken),
            need,
        }
    }

    /// A deadline of [`poll_timeout`](Self::poll_timeout) may have come. Early and repeated calls
    /// do nothing.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.clock.advance(now);
        self.check_authentication(now);
        match &self.phase {
            Phase::Disconnected | Phase::Ending { .. } => {}
            Phase::Connecting { deadline, .. } => {
                if now >= *deadline {
                    self.with_link(Link::close);
                    self.end(now, CloseCause::ConnectTimeout, Parting::default());
                }
            }
            Phase::Connected { .. } => match self.due(now) {
                Some(Due::Ping) => self.ping(now),
                Some(Due::Silence) => {
                    self.with_link(Link::close);
                    self.end(now, CloseCause::PingTimeout, Parting::default());
                }
                None => {}
            },
        }
    }

    /// Queues PINGREQ, unless one waits to be handed out.
    fn ping(&mut self, now: Timestamp) {
        let Some(link) = &mut self.link else { return };
        if self.keep_alive.queued_to().is_some() {
            return self.keep_alive.put_off(now);
        }
        match link.send(&Packet::PingReq) {
            Ok(()) => self.keep_alive.note_ping(now, link.mark()),
            // Two bytes always fit what a server takes; if not, silence tells.
            Err(_too_large) => {
                self.keep_alive.put_off(now);
                self.keep_alive.note_ping_sent(now);
            }
        }
    }

    /// What keep alive asks for.
    fn due(&mut self, now: Timestamp) -> Option<Due> {
        // Who takes no input, as the application has not fetched what came before, does not know whether the
        // server is silent.
        if self.events.is_full(&self.config) {
            self.keep_alive.note_received(now);
        }
        self.keep_alive.due(now, self.config.ping_timeout)
    }

    /// The transport has ended, from whichever side. Without a connection this does nothing.
    pub fn handle_close(&mut self, now: Timestamp) {
        let now = self.clock.advance(now);
        self.link = None;
        match self.phase {
            Phase::Connecting { .. } | Phase::Connected { .. } => {
                self.end(now, CloseCause::ConnectionLost, Parting::default());
            }
            Phase::Disconnected | Phase::Ending { .. } => {}
        }
        self.phase = Phase::Disconnected;
    }

    /// The next thing that happened. Call until it answers `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Appends bytes for the transport to `buf`: whole PUBLISH packets, about `max_bytes` in all,
    /// and more only where a single packet is larger.
    ///
    /// No PUBLISH comes while as many events wait as may: [`Transmit::Idle`] then means until they are fetched.
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
        match &self.phase {
            Phase::Disconnected => None,
            Phase::Connecting { deadline, .. } => Some(Timeout {
                at: *deadline,
                reason: TimeoutReason::Connect,
            }),
            Phase::Connected { .. } => {
                let keep_alive = self.keep_alive.timeout(self.config.ping_timeout);
                let dialogue = self.dialogue.as_ref().and_then(Dialogue::timeout);
                let both = keep_alive.into_iter().chain(dialogue);
                both.min_by_key(|timeout| timeout.at)
            }
            Phase::Ending { deadline } => Some(Timeout {
                at: *deadline,
                reason: TimeoutReason::Close,
            }),
        }
    }

    /// Whether input is taken now. No means: drain events, or send output, first.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Disconnected | Phase::Ending { .. } => true,
            Phase::Connecting { .. } | Phase::Connected { .. } => {
                !self.events.is_full(&self.config)
                    && !self.link.as_ref().is_some_and(Link::is_blocked)
            }
        }
    }

    #[inline]
    fn next_token(&mut self) -> u64 {
        let token = self.next_token;
        self.next_token = token.saturating_add(1);
        if self.has_journal() {
            self.record_token();
        }
        token
    }

    fn note_input(&mut self, now: Timestamp, len: usize) -> Timestamp {
        let now = self.clock.advance(now);
        if self.input_seen.note_offered(len) {
            self.keep_alive.note_received(now);
        }
        now
    }

    /// The server broke the rules: from here on this client *is* that error.
    fn fail(&mut self, now: Timestamp, error: ProtocolError) {
        self.events.traffic.note_violation();
        match self.phase {
            // Before CONNACK the server is not known to speak this version at all.
            Phase::Connecting { .. } => self.with_link(Link::close),
            Phase::Disconnected | Phase::Connected { .. } | Phase::Ending { .. } => {
                self.with_link(|link| link.fail(&error));
            }
        }
        self.end(now, CloseCause::ProtocolError(error), Parting::default());
    }

    /// Does something with the connection, if there is one.
    fn with_link(&mut self, act: impl FnOnce(&mut Link)) {
        if let Some(link) = &mut self.link {
            act(link);
        }
    }
}
