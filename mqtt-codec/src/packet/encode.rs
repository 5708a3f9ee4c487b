//! Packets on their way out: how many bytes they are, and where they are written.

use super::ack;
#[cfg(feature = "alloc")]
use super::publish;
#[cfg(not(feature = "small"))]
use crate::wire::Counter;
#[cfg(feature = "small")]
use crate::wire::Pen;
#[cfg(feature = "alloc")]
use crate::wire::{Behind, Grown};
use crate::wire::{Front, Header, Room, Sink, VAR_INT_MAX};
use crate::{EncodeError, Packet, PacketType, ProtocolVersion, Publish};

/// The first byte, and a remaining length in four.
const HEADER_LEN_MAX: usize = 5;

/// Does the same with the body of whichever packet it is.
macro_rules! with_body {
    ($packet:expr, $header:ident, $body:ident => $step:expr) => {
        with_body!(@ $packet, $header, $body => $step;
            Connect ConnAck PubAck PubRec PubRel PubComp Subscribe SubAck Unsubscribe UnsubAck Disconnect Auth)
    };
    (@ $packet:expr, $header:ident, $body:ident => $step:expr; $($name:ident)*) => {
        match $packet {
            $(Self::$name($body) => {
                let $header = fixed_header(PacketType::$name);
                $step
            })*
            Self::Publish($body) => {
                let $header = $body.header_flags();
                $step
            }
            Self::PingReq => {
                let ($header, $body) = (fixed_header(PacketType::PingReq), &Ping);
                $step
            }
            Self::PingResp => {
                let ($header, $body) = (fixed_header(PacketType::PingResp), &Ping);
                $step
            }
        }
    };
}

#[inline(always)]
fn fixed_header(packet_type: PacketType) -> (PacketType, u8) {
    (packet_type, packet_type.fixed_flags().unwrap_or_default())
}

impl Packet<'_> {
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
        with_body!(self, _header, body => {
            body.check(version)?;
            body.lengths(version).map(|lengths| lengths.size)
        })
    }

    /// Writes the packet to the front of `buf`; answers how many bytes that were.
    ///
    /// # Errors
    ///
    /// As [`encoded_len`](Self::encoded_len), and [`EncodeError::BufferTooSmall`]. Nothing has
    /// been written then.
    #[inline(always)]
    pub fn encode(&self, version: ProtocolVersion, buf: &mut [u8]) -> Result<usize, EncodeError> {
        self.encode_into(version, &mut Front(buf))
    }

    /// Appends the packet to a buffer, such as a `Vec<u8>` or a `BytesMut`; answers how many bytes
    /// that were.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    #[cfg(feature = "alloc")]
    #[inline(always)]
    pub fn encode_to(
        &self,
        version: ProtocolVersion,
        buf: &mut impl bytes::BufMut,
    ) -> Result<usize, EncodeError> {
        self.encode_into(version, &mut Behind(buf))
    }

    /// Writes the packet where there is room for it.
    #[inline(always)]
    pub(crate) fn encode_into(
        &self,
        version: ProtocolVersion,
        room: &mut impl Room,
    ) -> Result<usize, EncodeError> {
        // By far the most frequent packet, a PUBLISH without properties, goes a way of its own; and
        // each version is named, so that it gets code of its own.
        let Self::Publish(packet) = self else {
            return self.encode_other(version, room);
        };
        match version {
            ProtocolVersion::V3_1_1 => encode_publish(packet, ProtocolVersion::V3_1_1, room),
            ProtocolVersion::V5_0 => encode_publish(packet, ProtocolVersion::V5_0, room),
        }
    }

    /// The others. What mostly is a few bytes is written as such.
    #[inline(never)]
    fn encode_other(
        &self,
        version: ProtocolVersion,
        room: &mut impl Room,
    ) -> Result<usize, EncodeError> {
        let short = match self {
            Self::PingReq => return encode_short([0xC0, 0], room),
            Self::PingResp => return encode_short([0xD0, 0], room),
            Self::Disconnect(_) if version == ProtocolVersion::V3_1_1 => {
                return encode_short([0xE0, 0], room);
            }
            Self::ConnAck(packet) => packet.short(version),
            Self::PubAck(packet) => ack::short(PacketType::PubAck, packet, version),
            Self::PubRec(packet) => ack::short(PacketType::PubRec, packet, version),
            Self::PubRel(packet) => ack::short(PacketType::PubRel, packet, version),
            Self::PubComp(packet) => ack::short(PacketType::PubComp, packet, version),
            _ => None,
        };
        match short {
            Some(bytes) => encode_short(bytes, room),
            None => with_body!(self, header, body => encode_apart(header, body, version, room)),
        }
    }
}

/// What a packet is behind its fixed header, on its way out.
pub(crate) trait Body {
    /// Whether this version can say it.
    #[inline]
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        let _any = version;
        Ok(())
    }

    /// How many bytes it takes.
    #[inline]
    fn lengths(&self, version: ProtocolVersion) -> Result<Lengths, EncodeError> {
        let none_yet = Lengths::default();
        #[cfg(feature = "small")]
        let mut counter = Pen::counting();
        #[cfg(feature = "small")]
        draw(self, version, none_yet, Header::NONE, &mut counter);
        #[cfg(not(feature = "small"))]
        let mut counter = Counter::default();
        #[cfg(not(feature = "small"))]
        self.write(version, none_yet, Header::NONE, &mut counter);
        Lengths::new(counter.len, 0)
    }

    /// Writes the header and the body. The body alone, when it is counted.
    fn write<S: Sink>(
        &self,
        version: ProtocolVersion,
        lengths: Lengths,
        header: Header,
        out: &mut S,
    );
}

/// PINGREQ and PINGRESP have none.
struct Ping;

impl Body for Ping {
    #[inline]
    fn write<S: Sink>(&self, _: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        out.header(header);
    }
}

#[inline(always)]
fn encode_publish(
    packet: &Publish<'_>,
    version: ProtocolVersion,
    room: &mut impl Room,
) -> Result<usize, EncodeError> {
    let header = packet.header_flags();
    match packet.plain(version) {
        Some(plain) => encode_body(header, &plain, version, room),
        None => encode_apart(header, packet, version, room),
    }
}

/// A PUBLISH whose message has no properties, with the topic or an alias.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn encode_plain(
    plain: &impl Body,
    (delivery, retain): (crate::Delivery, bool),
    version: ProtocolVersion,
    size_max: usize,
    buf: &mut alloc::vec::Vec<u8>,
) -> Result<usize, EncodeError> {
    let lengths = plain.lengths(version)?;
    if lengths.size > size_max {
        return Err(EncodeError::PacketTooLarge { size: lengths.size });
    }
    let mut room = Grown(buf);
    let mut out = room.take(lengths.size)?;
    let (packet_type, flags) = publish::header_flags(delivery, retain);
    let header = Header::new(packet_type, flags, lengths.remaining);
    plain.write(version, lengths, header, &mut out);
    Ok(lengths.size)
}

impl Publish<'_> {
    /// The exact length of the whole packet, as [`Packet::encoded_len`] says it.
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        match self.plain(version) {
            Some(plain) => plain.lengths(version).map(|lengths| lengths.size),
            None => {
                self.check(version)?;
                self.lengths(version).map(|lengths| lengths.size)
            }
        }
    }

    /// Appends the packet to a buffer, as [`Packet::encode_to`] does.
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(feature = "alloc")]
    #[inline(always)]
    pub fn encode_to(
        &self,
        version: ProtocolVersion,
        buf: &mut impl bytes::BufMut,
    ) -> Result<usize, EncodeError> {
        encode_publish(self, version, &mut Behind(buf))
    }
}

/// A whole packet.
#[inline(always)]
fn encode_short<const N: usize>(
    packet: [u8; N],
    room: &mut impl Room,
) -> Result<usize, EncodeError> {
    room.take(N)?.put(&packet);
    Ok(N)
}

#[inline(always)]
fn encode_body(
    (packet_type, flags): (PacketType, u8),
    body: &impl Body,
    version: ProtocolVersion,
    room: &mut impl Room,
) -> Result<usize, EncodeError> {
    body.check(version)?;
    let lengths = body.lengths(version)?;
    let mut out = room.take(lengths.size)?;
    let header = Header::new(packet_type, flags, lengths.remaining);
    #[cfg(feature = "small")]
    draw(body, version, lengths, header, &mut Pen::writing(&mut out));
    #[cfg(not(feature = "small"))]
    body.write(version, lengths, header, &mut out);
    Ok(lengths.size)
}

/// The same, as a call.
#[inline(never)]
fn encode_apart(
    header: (PacketType, u8),
    body: &impl Body,
    version: ProtocolVersion,
    room: &mut impl Room,
) -> Result<usize, EncodeError> {
    encode_body(header, body, version, room)
}

/// A call, so that it is there once for counting and for writing.
#[cfg(feature = "small")]
#[inline(never)]
fn draw<B: Body + ?Sized>(
    body: &B,
    version: ProtocolVersion,
    lengths: Lengths,
    header: Header,
    out: &mut Pen<'_>,
) {
    body.write(version, lengths, header, out);
}

/// What is known before the first byte is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lengths {
    pub(crate) remaining: u32,
    /// Of the whole packet.
    pub(crate) size: usize,
    /// Of the properties of a PUBLISH, without the length in front of them.
    pub(crate) block: u32,
}

impl Lengths {
    #[inline]
    pub(crate) fn new(len: u64, block: u32) -> Result<Self, EncodeError> {
        if len > u64::from(VAR_INT_MAX) {
            let size = usize::try_from(len).unwrap_or(usize::MAX);
            return Err(EncodeError::PacketTooLarge {
                size: size.saturating_add(HEADER_LEN_MAX),
            });
        }
        // Four bytes hold what has just been seen to fit into 28 bits.
        let [a, b, c, d, ..] = len.to_le_bytes();
        let remaining = u32::from_le_bytes([a, b, c, d]);
        // 28 bits, and 5.
        let size = remaining.wrapping_add(header_len(remaining));
        Ok(Self {
            remaining,
            size: usize::try_from(size).unwrap_or(usize::MAX),
            block,
        })
    }
}

#[inline(always)]
fn header_len(remaining: u32) -> u32 {
    match remaining {
        0..=0x7F => 2,
        0x80..=0x3FFF => 3,
        _ => long_header_len(remaining),
    }
}

/// A call, so that the frequent cases are branches, which are those of writing the header too.
#[cold]
#[inline(never)]
fn long_header_len(remaining: u32) -> u32 {
    if remaining < 0x20_0000 { 4 } else { 5 }
}
