//! The packets, one file each.

pub(crate) mod ack;
pub(crate) mod auth;
pub(crate) mod connack;
pub(crate) mod connect;
pub(crate) mod disconnect;
pub(crate) mod publish;
pub(crate) mod suback;
pub(crate) mod subscribe;
pub(crate) mod unsuback;
pub(crate) mod unsubscribe;

use crate::wire::{Counter, Reader, Sink, SliceWriter, VAR_INT_MAX, var_int_len};
use crate::{
    Auth, ConnAck, Connect, DecodeError, Disconnect, EncodeError, PacketType, ProtocolVersion,
    PubAck, PubComp, PubRec, PubRel, Publish, SubAck, Subscribe, UnsubAck, Unsubscribe,
};

/// The first byte, and a remaining length in four.
const HEADER_LEN_MAX: usize = 5;

/// A packet of MQTT, borrowed from the bytes it was decoded from or from the caller's values.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "the packets have the names that the standard gives them"
)]
#[expect(clippy::exhaustive_enums, reason = "four bits, and all are given out")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(PubAck<'a>),
    PubRec(PubRec<'a>),
    PubRel(PubRel<'a>),
    PubComp(PubComp<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Reads the body of a packet; answers what `done` makes of it.
    ///
    /// A packet is large, so each is put where it belongs at once: `done` says what is around it.
    #[inline(always)]
    pub(crate) fn decode<T>(
        packet_type: PacketType,
        flags: u8,
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
        done: impl Fn(Self) -> T,
    ) -> Result<T, DecodeError> {
        // The lists and the payload are whatever is left, so nothing can be left behind them.
        match packet_type {
            PacketType::Connect => Connect::decode(reader).map(|it| done(Self::Connect(it))),
            PacketType::Publish => {
                Publish::decode(flags, reader, version).map(|it| done(Self::Publish(it)))
            }
            PacketType::Subscribe => {
                Subscribe::decode(reader, version).map(|it| done(Self::Subscribe(it)))
            }
            PacketType::SubAck => SubAck::decode(reader, version).map(|it| done(Self::SubAck(it))),
            PacketType::Unsubscribe => {
                Unsubscribe::decode(reader, version).map(|it| done(Self::Unsubscribe(it)))
            }
            PacketType::UnsubAck => {
                UnsubAck::decode(reader, version).map(|it| done(Self::UnsubAck(it)))
            }
            PacketType::ConnAck => {
                let packet = ConnAck::decode(reader, version)?;
                reader.finish().map(|()| done(Self::ConnAck(packet)))
            }
            PacketType::PubAck => {
                let packet = ack::decode(packet_type, reader, version)?;
                reader.finish().map(|()| done(Self::PubAck(packet)))
            }
            PacketType::PubRec => {
                let packet = ack::decode(packet_type, reader, version)?;
                reader.finish().map(|()| done(Self::PubRec(packet)))
            }
            PacketType::PubRel => {
                let packet = ack::decode(packet_type, reader, version)?;
                reader.finish().map(|()| done(Self::PubRel(packet)))
            }
            PacketType::PubComp => {
                let packet = ack::decode(packet_type, reader, version)?;
                reader.finish().map(|()| done(Self::PubComp(packet)))
            }
            PacketType::PingReq => reader.finish().map(|()| done(Self::PingReq)),
            PacketType::PingResp => reader.finish().map(|()| done(Self::PingResp)),
            PacketType::Disconnect => {
                let packet = Disconnect::decode(reader, version)?;
                reader.finish().map(|()| done(Self::Disconnect(packet)))
            }
            PacketType::Auth => {
                let packet = Auth::decode(reader)?;
                reader.finish().map(|()| done(Self::Auth(packet)))
            }
        }
    }

    /// The type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// The exact length of the whole packet, in bytes.
    ///
    /// For 3.1.1 what that version has no field for is left out, where that changes nothing for
    /// the receiver: properties, reason codes of acknowledgements and of DISCONNECT.
    ///
    /// # Errors
    ///
    /// [`EncodeError::PacketTooLarge`], and [`EncodeError::NotInVersion`] where leaving something
    /// out would change the meaning.
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.lengths(version).map(|lengths| lengths.size)
    }

    /// Writes the packet to the front of `buf`; answers how many bytes that were.
    ///
    /// # Errors
    ///
    /// As [`encoded_len`](Self::encoded_len), and [`EncodeError::BufferTooSmall`]. Nothing has
    /// been written then.
    pub fn encode(&self, version: ProtocolVersion, buf: &mut [u8]) -> Result<usize, EncodeError> {
        let lengths = self.lengths(version)?;
        let (needed, available) = (lengths.size, buf.len());
        let room = buf
            .get_mut(..needed)
            .ok_or(EncodeError::BufferTooSmall { needed, available })?;
        self.write(version, lengths, &mut SliceWriter::new(room));
        Ok(needed)
    }

    /// Appends the packet to a buffer, such as a `Vec<u8>` or a `BytesMut`; answers how many bytes
    /// that were.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    #[cfg(feature = "alloc")]
    pub fn encode_to(
        &self,
        version: ProtocolVersion,
        buf: &mut impl bytes::BufMut,
    ) -> Result<usize, EncodeError> {
        let lengths = self.lengths(version)?;
        let (needed, available) = (lengths.size, buf.remaining_mut());
        if available < needed {
            return Err(EncodeError::BufferTooSmall { needed, available });
        }
        self.write(version, lengths, &mut crate::wire::BufWriter(buf));
        Ok(needed)
    }

    #[inline]
    fn lengths(&self, version: ProtocolVersion) -> Result<Lengths, EncodeError> {
        if let Self::Publish(publish) = self {
            publish.check(version)?;
            return publish.lengths(version);
        }
        self.check(version)?;
        let mut counter = Counter::default();
        self.write_body(version, &mut counter);
        Lengths::new(counter.len, 0)
    }

    /// Whether this version can say it.
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.check(version),
            Self::ConnAck(packet) => packet.check(version),
            Self::Publish(packet) => packet.check(version),
            Self::Subscribe(packet) => packet.check(version),
            Self::UnsubAck(packet) => packet.check(version),
            Self::Auth(_) => auth::check(version),
            Self::PubAck(_)
            | Self::PubRec(_)
            | Self::PubRel(_)
            | Self::PubComp(_)
            | Self::SubAck(_)
            | Self::Unsubscribe(_)
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect(_) => Ok(()),
        }
    }

    #[inline]
    fn write<S: Sink>(&self, version: ProtocolVersion, lengths: Lengths, out: &mut S) {
        if let Self::Publish(publish) = self {
            return publish.write(lengths, out);
        }
        let packet_type = self.packet_type();
        let flags = packet_type.fixed_flags().unwrap_or_default();
        out.u8((packet_type.value() << 4) | flags);
        out.var_int(lengths.remaining);
        self.write_body(version, out);
    }

    /// Every body but that of PUBLISH, which has a way of its own.
    fn write_body<S: Sink>(&self, version: ProtocolVersion, out: &mut S) {
        match self {
            Self::Connect(packet) => packet.write(out),
            Self::ConnAck(packet) => packet.write(version, out),
            Self::Publish(_) => {}
            Self::PubAck(packet) | Self::PubRec(packet) => ack::write(packet, version, out),
            Self::PubRel(packet) | Self::PubComp(packet) => ack::write(packet, version, out),
            Self::Subscribe(packet) => packet.write(version, out),
            Self::SubAck(packet) => packet.write(version, out),
            Self::Unsubscribe(packet) => packet.write(version, out),
            Self::UnsubAck(packet) => packet.write(version, out),
            Self::PingReq | Self::PingResp => {}
            Self::Disconnect(packet) => packet.write(version, out),
            Self::Auth(packet) => packet.write(version, out),
        }
    }
}

/// What is known before the first byte is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    pub(crate) remaining: u32,
    /// Of the whole packet.
    pub(crate) size: usize,
    /// Of the property block of a PUBLISH, with the length in front of it.
    pub(crate) block_len: usize,
}

impl Lengths {
    #[inline]
    pub(crate) fn new(len: usize, block_len: usize) -> Result<Self, EncodeError> {
        match u32::try_from(len) {
            Ok(remaining) if remaining <= VAR_INT_MAX => {
                let header_len = var_int_len(remaining).saturating_add(1);
                Ok(Self {
                    remaining,
                    size: len.saturating_add(header_len),
                    block_len,
                })
            }
            _ => Err(EncodeError::PacketTooLarge {
                size: len.saturating_add(HEADER_LEN_MAX),
            }),
        }
    }
}

macro_rules! from_packets {
    ($($name:ident)*) => {
        $(impl<'a> From<$name<'a>> for Packet<'a> {
            fn from(packet: $name<'a>) -> Self {
                Self::$name(packet)
            }
        })*
    };
}

from_packets! { Connect ConnAck Publish Subscribe SubAck Unsubscribe UnsubAck Disconnect Auth }
