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
    /// Reads the body of every packet but CONNECT.
    pub(crate) fn decode(
        packet_type: PacketType,
        flags: u8,
        mut reader: Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let reader = &mut reader;
        let packet = match packet_type {
            PacketType::Connect => Self::Connect(Connect::decode(reader.clone())?),
            PacketType::ConnAck => Self::ConnAck(ConnAck::decode(reader, version)?),
            PacketType::Publish => {
                return Publish::decode(flags, reader, version).map(Self::Publish);
            }
            PacketType::PubAck => Self::PubAck(ack::decode(packet_type, reader, version)?),
            PacketType::PubRec => Self::PubRec(ack::decode(packet_type, reader, version)?),
            PacketType::PubRel => Self::PubRel(ack::decode(packet_type, reader, version)?),
            PacketType::PubComp => Self::PubComp(ack::decode(packet_type, reader, version)?),
            PacketType::Subscribe => {
                return Subscribe::decode(reader, version).map(Self::Subscribe);
            }
            PacketType::SubAck => return SubAck::decode(reader, version).map(Self::SubAck),
            PacketType::Unsubscribe => {
                return Unsubscribe::decode(reader, version).map(Self::Unsubscribe);
            }
            PacketType::UnsubAck => return UnsubAck::decode(reader, version).map(Self::UnsubAck),
            PacketType::PingReq => Self::PingReq,
            PacketType::PingResp => Self::PingResp,
            PacketType::Disconnect => Self::Disconnect(Disconnect::decode(reader, version)?),
            PacketType::Auth => Self::Auth(Auth::decode(reader)?),
        };
        if packet_type != PacketType::Connect {
            reader.finish()?;
        }
        Ok(packet)
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
        self.lengths(version).map(|(_, size)| size)
    }

    /// Writes the packet to the front of `buf`; answers how many bytes that were.
    ///
    /// # Errors
    ///
    /// As [`encoded_len`](Self::encoded_len), and [`EncodeError::BufferTooSmall`]. Nothing has
    /// been written then.
    pub fn encode(&self, version: ProtocolVersion, buf: &mut [u8]) -> Result<usize, EncodeError> {
        let (remaining, needed) = self.lengths(version)?;
        let available = buf.len();
        let room = buf
            .get_mut(..needed)
            .ok_or(EncodeError::BufferTooSmall { needed, available })?;
        self.write(version, remaining, &mut SliceWriter::new(room));
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
        let (remaining, needed) = self.lengths(version)?;
        let available = buf.remaining_mut();
        if available < needed {
            return Err(EncodeError::BufferTooSmall { needed, available });
        }
        self.write(version, remaining, &mut crate::wire::BufWriter(buf));
        Ok(needed)
    }

    /// The remaining length, and the length of the whole packet.
    fn lengths(&self, version: ProtocolVersion) -> Result<(u32, usize), EncodeError> {
        self.check(version)?;
        let mut counter = Counter::default();
        self.write_body(version, &mut counter);
        let remaining = u32::try_from(counter.len)
            .ok()
            .filter(|&len| len <= VAR_INT_MAX);
        let remaining = remaining.ok_or_else(|| EncodeError::PacketTooLarge {
            size: counter.len.saturating_add(HEADER_LEN_MAX),
        })?;
        let header = var_int_len(remaining).saturating_add(1);
        Ok((remaining, counter.len.saturating_add(header)))
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

    fn write<S: Sink>(&self, version: ProtocolVersion, remaining: u32, out: &mut S) {
        let packet_type = self.packet_type();
        let flags = match self {
            Self::Publish(publish) => publish.flags(),
            _fixed => packet_type.fixed_flags().unwrap_or_default(),
        };
        out.u8((packet_type.value() << 4) | flags);
        out.var_int(remaining);
        self.write_body(version, out);
    }

    fn write_body<S: Sink>(&self, version: ProtocolVersion, out: &mut S) {
        match self {
            Self::Connect(packet) => packet.write(out),
            Self::ConnAck(packet) => packet.write(version, out),
            Self::Publish(packet) => packet.write(version, out),
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
