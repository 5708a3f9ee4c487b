//! MQTT 5.0 and 3.1.1 packets: bytes to packets and back.
//!
//! One packet model serves both versions: which one is spoken is an argument
//! ([`ProtocolVersion`]), and a 3.1.1 packet is the same value without properties. Decoding
//! borrows, allocates nothing and checks everything once, as strictly as the standard says.
//! Encoding knows its exact length before it writes the first byte.
//!
//! This crate knows nothing of connections: whether a packet may come now is for `mqtt-state` to
//! say.
//!
//! - [`Frame::parse`]: the fixed header, and whether the packet is there; a size limit is looked
//!   at before the body has come.
//! - [`Decoder`]: the same with limits and a strictness of its own.
//! - [`Packet`]: [`decode()`] and [`Frame::decode`] read it, [`Packet::encode`] and
//!   [`Packet::encode_to`] write it.
//! - [`PacketBuf`]: a buffer of encoded packets that grows.
//! - [`PublishStart`], [`Publish::encode_head`]: payloads in pieces, and heads apart.
//! - [`FanOut`], [`Stencil`]: one message to many receivers.
//! - [`Message`]: an application message that owns its bytes (feature `alloc`).
//!
//! ```
//! use mqtt_codec::{decode, Packet, Parsed, ProtocolVersion, Publish, TopicName};
//!
//! let publish = Publish::new(TopicName::new("house/light")?, b"on");
//! let mut buf = [0; 64];
//! let len = Packet::from(publish).encode(ProtocolVersion::V5_0, &mut buf)?;
//!
//! // One byte is missing: not an error, but a reason to read on.
//! assert_eq!(decode(&buf[..len - 1], ProtocolVersion::V5_0, 1024)?, Parsed::Partial { needed: 1 });
//!
//! let Parsed::Complete((packet, size)) = decode(&buf[..len], ProtocolVersion::V5_0, 1024)? else { unreachable!() };
//! assert_eq!(packet, Packet::Publish(publish));
//! assert_eq!(size, len);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `std` (default) | forwards to `bytes`; the code is the same |
//! | `alloc` | [`Message`], [`Packet::encode_to`], [`PacketBuf`]; needs `bytes` |
//! | `serde` | numbers, texts and [`Message`] to store; what comes back is checked |
//! | `defmt` | small values and errors on a microcontroller's debug link |
//! | `arbitrary` | valid packets for fuzzers, and packets that break one rule each |
//! | `small` | for firmware: what is inlined for speed is called, and packets are counted and written by the same code; nothing else changes |
//! | `extra-platforms` | `alloc` on targets without compare-and-swap, such as thumbv6m; what stands in for that is said to `portable-atomic`, by its feature `critical-section` or `--cfg portable_atomic_unsafe_assume_single_core` |
//!
//! Without `std` and `alloc`, borrowed decoding and encoding into a slice need no allocator. That is all a device
//! with fixed buffers has to have; the rules of a connection are its own then, as `mqtt-state` allocates:
//!
//! ```
//! use mqtt_codec::{Delivery, Packet, Parsed, Phase, PlainAck, ProtocolVersion, decode};
//!
//! const V: ProtocolVersion = ProtocolVersion::V5_0;
//!
//! /// What has arrived, up to one packet of the largest size that CONNECT has announced.
//! struct Inbox {
//!     bytes: [u8; 64],
//!     len: usize,
//! }
//!
//! impl Inbox {
//!     /// Takes what the radio has got: as much as there is room for. Calls `act` for each packet, and
//!     /// answers what is to be sent last when the broker breaks a rule.
//!     fn receive(&mut self, arrived: &[u8], mut act: impl FnMut(&Packet<'_>)) -> Result<usize, mqtt_codec::Reply> {
//!         let room = &mut self.bytes[self.len..];
//!         let taken = room.len().min(arrived.len());
//!         room[..taken].copy_from_slice(&arrived[..taken]);
//!         self.len += taken;
//!         loop {
//!             match decode(&self.bytes[..self.len], V, 64) {
//!                 Ok(Parsed::Complete((packet, size))) => {
//!                     act(&packet);
//!                     self.bytes.copy_within(size..self.len, 0);
//!                     self.len -= size;
//!                 }
//!                 Ok(Parsed::Partial { .. }) => return Ok(taken),
//!                 Err(error) => return Err(error.reply(Some(V), Phase::Connected)),
//!             }
//!         }
//!     }
//! }
//!
//! let mut inbox = Inbox { bytes: [0; 64], len: 0 };
//! let mut answers = Vec::new(); // the way out; on the device, another fixed buffer
//! // A PUBLISH at QoS 1 comes in two parts.
//! for part in [&b"\x32\x08\x00\x01"[..], b"a\x00\x07\x00hi"] {
//!     let taken = inbox.receive(part, |packet| {
//!         if let Packet::Publish(publish) = packet
//!             && let Delivery::AtLeastOnce { id, .. } = publish.delivery
//!         {
//!             assert_eq!(publish.payload, b"hi");
//!             answers.extend(PlainAck::PubAck(id).to_bytes());
//!         }
//!     });
//!     assert_eq!(taken, Ok(part.len()));
//! }
//! assert_eq!(answers, [0x40, 2, 0, 7]);
//! ```

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "arbitrary")]
pub mod arbitrary;
mod chunks;
mod decode;
mod decoder;
mod error;
#[cfg(feature = "alloc")]
mod fan_out;
mod frame;
mod id;
mod list;
#[cfg(feature = "alloc")]
mod message;
mod packet;
#[cfg(feature = "alloc")]
mod packet_buf;
mod packet_type;
mod property;
mod qos;
mod reason;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "alloc")]
mod shared_topic;
mod text;
mod version;
mod wire;

/// The code in the README is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use mqtt_topic::{SharedFilter, TopicError, TopicErrorKind, TopicFilter, TopicName};

pub use chunks::{PayloadChunks, PublishStart};
pub use decode::decode;
pub use decoder::{Counts, DecodeConfig, Decoder, Limits, Rule, RuleSet, Strictness};
pub use error::{
    DecodeError, DecodeErrorKind, EncodeError, ErrorClass, Field, NotInVersion, Phase, Reply,
};
#[cfg(feature = "alloc")]
pub use fan_out::{FanOut, Receiver, ReceiverAlias};
pub use frame::{Frame, Parsed};
pub use id::{PacketId, SubscriptionId, TopicAlias};
pub use list::{Item, List, ListIter};
#[cfg(feature = "alloc")]
pub use message::{Message, PublishParts, Stencil};
pub use packet::Packet;
pub use packet::ack::{Ack, AckProperties, PlainAck, PubAck, PubComp, PubRec, PubRel};
pub use packet::auth::{Auth, Authentication};
pub use packet::connack::{ConnAck, ConnAckOutcome, ConnAckProperties, MaximumQoS};
pub use packet::connect::{Connect, ConnectProperties, Will, WillProperties};
pub use packet::delivery::Delivery;
pub use packet::disconnect::{Disconnect, DisconnectProperties};
pub use packet::plain_publish::PlainPublish;
pub use packet::publish::{PayloadFormat, Publish, PublishProperties, PublishTopic};
pub use packet::suback::{SubAck, SubAckReasons};
pub use packet::subscribe::{
    FiltersError, RetainHandling, Subscribe, SubscribeFilter, SubscribeFilters,
    SubscribeProperties, SubscriptionOptions,
};
pub use packet::unsuback::{UnsubAck, UnsubAckReasons};
pub use packet::unsubscribe::{Unsubscribe, UnsubscribeFilters};
#[cfg(feature = "alloc")]
pub use packet_buf::PacketBuf;
pub use packet_type::{InvalidPacketType, PacketType};
pub use property::{PropertyForm, PropertyId, SubscriptionIds, UserProperties, UserProperty};
pub use qos::{InvalidQoS, QoS};
pub use reason::{
    AuthReason, ConnectReason, DisconnectReason, InvalidReason, PublishReason, ReasonCode,
    ReleaseReason, SubscribeReason, UnsubscribeReason,
};
#[cfg(feature = "alloc")]
pub use shared_topic::SharedTopic;
pub use text::{Binary, BinaryTooLong, Str, StrError};
pub use version::ProtocolVersion;
