//! MQTT 5.0 and 3.1.1 as state machines without I/O: a client, a server connection, a broker.
//!
//! Bytes and the time go in, bytes and events come out. There is no socket, no clock, no thread
//! and no randomness in here, so any runtime can wrap it, and a test can run hours of protocol in
//! a moment.
//!
//! # What it is not
//!
//! Not a broker to install and not a client with a network: those are examples, some hundred lines
//! each, in the `examples` folder of the repository.
//!
//! # The three types to know
//!
//! - [`client::Client`]: the client role, with the session that outlives its connections.
//! - [`broker::Broker`]: many connections, and everything between them.
//! - [`server::Connection`]: the server role for one connection, for those who have a broker, a
//!   gateway or a proxy of their own above it.
//!
//! # The contract
//!
//! **After any call that takes `&mut self`, drain `poll_event`, write out `poll_transmit`, then
//! wait for bytes or for `poll_timeout`.**
//!
//! A machine may leave whole packets of its input, while as many events or answers wait as may, or when one
//! call has done enough: then [`Consumed::need`] is 0. Offer them again behind all that, before you wait for
//! bytes, as none may come behind them.
//!
//! An event tells what was. By the time that it is fetched the connection may be over, as the other side asks
//! and goes in one breath: then a command that answers it comes too late, with an error that is harmless
//! ([`client::RequestError::NotConnected`], [`server::CommandError::Over`], [`session::AckError::Stale`],
//! [`broker::Stale`]). `Event::Closed` is behind it.
//!
//! Methods tell by their names what they are: `handle_*` take what comes from below, bare verbs
//! such as `publish` are commands from above, `poll_*` hand things out, everything else looks.
//! Time never runs backwards: a machine works with the latest time it was told.
//!
//! Here is the whole of it, a client and a broker joined by memory:
//!
//! ```
//! use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, Str, SubscribeFilter};
//! use mqtt_state::broker::{self, Broker, ConnectionId, Peer};
//! use mqtt_state::client::{self, Client, Event};
//! use mqtt_state::{Timestamp, Transmit};
//!
//! /// Carries bytes to and fro until both sides are silent.
//! fn run(now: Timestamp, client: &mut Client, broker: &mut Broker, connection: ConnectionId) {
//!     loop {
//!         let mut up = Vec::new();
//!         while client.poll_transmit(now, 1024, &mut up) == Transmit::More {}
//!         let taken = broker.handle_input(now, connection, &up);
//!         assert_eq!(taken.bytes, up.len(), "whole packets, and nothing holds the broker back");
//!
//!         let mut down = Vec::new();
//!         while let Some(ready) = broker.poll_ready() {
//!             while broker.poll_transmit(now, ready, 1024, &mut down) == Transmit::More {}
//!         }
//!         let _all = client.handle_input(now, &down);
//!         if up.is_empty() && down.is_empty() {
//!             return;
//!         }
//!     }
//! }
//!
//! let now = Timestamp::ZERO;
//! let mut broker = Broker::new(broker::Config::default());
//! let connection = broker.accept(now, Peer::default())?;
//! let mut client = Client::new(client::Config::default());
//!
//! client.connect(now, &Connect::new(ProtocolVersion::V5_0, Str::new("subscriber-1")?))?;
//! run(now, &mut client, &mut broker, connection);
//! assert_eq!(client.poll_event(), Some(Event::Connected { session_present: false }));
//!
//! client.subscribe(&[SubscribeFilter::new("house/#", QoS::AtLeastOnce)?])?;
//! run(now, &mut client, &mut broker, connection);
//! assert!(matches!(client.poll_event(), Some(Event::Subscribed { .. })));
//!
//! let token = client.publish(now, Message::new("house/light", "on")?.with_qos(QoS::AtLeastOnce))?;
//! run(now, &mut client, &mut broker, connection);
//! let events: Vec<_> = core::iter::from_fn(|| client.poll_event()).collect();
//! assert!(events.iter().any(|event| matches!(event, Event::Message { message, .. } if message.payload() == b"on")));
//! assert!(events.iter().any(|event| matches!(event, Event::Published { token: done, .. } if *done == token)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `std` (default) | forwards to the crates below; the code is the same. Without it the crate needs `alloc` |
//! | `serde` | what is kept of sessions, to store |
//! | `record` | a log of everything that a machine is told, to report a bug with |
//! | `sim` | a simulation of whole systems, for tests |
//! | `small` | for firmware: a third less code, for more instructions with each packet; nothing else changes |
//! | `extra-platforms` | for targets without compare-and-swap, such as thumbv6m: see the feature of [`mqtt_codec`]. What a broker shares between its parts and its events is an `Rc` there, so that it stays on its thread |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod broker;
pub mod client;
#[cfg(feature = "record")]
pub mod record;
pub mod server;
pub mod session;
#[cfg(feature = "sim")]
pub mod sim;

mod authentication;
mod counted;
mod diagnostics;
mod drive;
mod error;
mod intake;
mod link;
mod look;
mod pieces;
mod time;
mod weights;

/// The code in the README is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use authentication::AuthenticationData;
pub use diagnostics::Diagnostics;
pub use drive::{Consumed, Timeout, TimeoutReason, Transmit};
pub use error::{CloseCause, ProtocolError};
pub use look::{Explanation, InputWaits, OutputWaits, Traffic};
pub use pieces::Pieces;
pub use time::Timestamp;
