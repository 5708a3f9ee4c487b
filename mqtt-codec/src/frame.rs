//! Framing: the fixed header, and how much of a packet is there.

use core::fmt;

use crate::decoder::{DecodeConfig, Rule, RuleSet, Strictness, check_topics};
use crate::packet::{Anybody, Packet, Sender};
use crate::packet_type::{InvalidPacketType, PacketType};
use crate::wire::{Context, Reader};
use crate::{Connect, DecodeError, DecodeErrorKind, Field, ProtocolVersion, Publish};

/// What is at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers match both")]
pub enum Parsed<T> {
    /// Not all of it yet. Not an error.
    Partial {
        /// At least so many more bytes are needed. A peer's claim: a hint for reading, never a
        /// reason to reserve memory.
        needed: usize,
    },
    /// All of it.
    Complete(T),
}

/// One packet with its fixed header read and nothing else.
///
/// ```
/// use mqtt_codec::{Frame, PacketType, Parsed, ProtocolVersion};
///
/// let bytes = [0xC0, 0x00, 0x30]; // PINGREQ, and the first byte of a PUBLISH
/// let Parsed::Complete(frame) = Frame::parse(&bytes, Some(ProtocolVersion::V5_0), 1024)? else { unreachable!() };
/// assert_eq!((frame.packet_type(), frame.size()), (PacketType::PingReq, 2));
/// assert_eq!(Frame::parse(&bytes[2..], Some(ProtocolVersion::V5_0), 1024)?, Parsed::Partial { needed: 1 });
/// # Ok::<(), mqtt_codec::DecodeError>(())
/// ```
///
/// `Debug` shows the length of the body, not the body: there are passwords and payloads in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    packet_type: PacketType,
    flags: u8,
    header_len: u8,
    /// The remaining length had the shortest form.
    minimal: bool,
    /// What the header was let go.
    tolerated: RuleSet,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the fixed header at the front of `input`.
    ///
    /// Wrong flags are found with the first byte, and a packet larger than `packet_size_max` (in
    /// bytes, with its header) as soon as the header is complete, before its body has come.
    /// `version` is `None` before CONNECT has said it.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the connection cannot go on then.
    #[inline(always)]
    pub fn parse(
        input: &'a [u8],
        version: Option<ProtocolVersion>,
        packet_size_max: u32,
    ) -> Result<Parsed<Self>, DecodeError> {
        Self::parse_with(input, version, packet_size_max, Strictness::STRICT)
    }

    #[inline(always)]
    pub(crate) fn parse_with(
        input: &'a [u8],
        version: Option<ProtocolVersion>,
        packet_size_max: u32,
        strictness: Strictness,
    ) -> Result<Parsed<Self>, DecodeError> {
        let start = match Self::parse_start(input, version, packet_size_max, strictness) {
            Ok(Parsed::Complete(start)) => start,
            Ok(Parsed::Partial { needed }) => return Ok(Parsed::Partial { needed }),
            Err(error) => return Err(error),
        };
        let end = usize::try_from(start.size).unwrap_or(usize::MAX);
        let Some(whole) = input.get(..end) else {
            // More than there is, as it was not found.
            let needed = end.wrapping_sub(input.len());
            return Ok(Parsed::Partial { needed });
        };
        Ok(Parsed::Complete(Self {
            packet_type: start.packet_type,
            flags: start.flags,
            header_len: start.header_len,
            minimal: start.minimal,
            tolerated: start.tolerated,
            // The size was made of this length and what is behind it.
            body: whole.get(start.header_len.into()..).unwrap_or_default(),
        }))
    }

    /// Reads the fixed header, whether the rest is there or not.
    #[inline(always)]
    pub(crate) fn parse_start(
        input: &[u8],
        version: Option<ProtocolVersion>,
        packet_size_max: u32,
        strictness: Strictness,
    ) -> Result<Parsed<FrameStart>, DecodeError> {
        let Some((&first, rest)) = input.split_first() else {
            return Ok(Parsed::Partial { needed: 2 });
        };
        let (packet_type, flags, tolerated) = first_byte(first, version, strictness)?;
        let (remaining, header_len, minimal) = match *rest {
            [a, ..] if a < 0x80 => (u32::from(a), 2_u8, true),
            [a, b, ..] if b < 0x80 => {
                let remaining = u32::from(a & 0x7F) | (u32::from(b) << 7);
                (remaining, 3, b != 0)
            }
            _ => match long_length(rest) {
                Ok(Parsed::Complete(length)) => length,
                Ok(Parsed::Partial { needed }) => return Ok(Parsed::Partial { needed }),
                Err(kind) => return Err(length_fault(kind, packet_type, version)),
            },
        };
        // [5:MQTT-1.5.5-1] 3.1.1 does not ask for the shortest form.
        if !minimal
            && version == Some(ProtocolVersion::V5_0)
            && !strictness.tolerates(Rule::RemainingLengthForm)
        {
            let kind = DecodeErrorKind::VarIntNotMinimal;
            return Err(length_fault(kind, packet_type, version));
        }
        // At most 268,435,455 and 5.
        let size = remaining.wrapping_add(header_len.into());
        if size > packet_size_max {
            let maximum = packet_size_max;
            let kind = DecodeErrorKind::PacketTooLarge { size, maximum };
            let version = version.or_else(|| version_at_hand(packet_type, header_len, input));
            return Err(length_fault(kind, packet_type, version));
        }
        Ok(Parsed::Complete(FrameStart {
            packet_type,
            flags,
            header_len,
            size,
            minimal,
            tolerated,
        }))
    }

    /// Reads the packet, once and completely, without allocating.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for whatever the standard forbids.
    pub fn decode(&self, version: ProtocolVersion) -> Result<Packet<'a>, DecodeError> {
        self.decode_strictly_as::<Anybody, _>(version, |packet| packet)
    }

    /// Reads the packet; notes in `tolerated` which rules it was let go.
    #[inline(always)]
    pub(crate) fn decode_with<S: Sender>(
        &self,
        version: ProtocolVersion,
        config: &DecodeConfig,
        tolerated: &mut RuleSet,
    ) -> Result<Packet<'a>, DecodeError> {
        let packet = self.decode_as::<S, _>(version, config, tolerated, |packet| packet)?;
        let place = (self.body, self.header_len());
        check_topics(&packet, place, version, config.strictness)?;
        Ok(packet)
    }

    /// The packet, in what `done` puts around it.
    #[inline(always)]
    fn decode_as<S: Sender, T>(
        &self,
        version: ProtocolVersion,
        config: &DecodeConfig,
        tolerated: &mut RuleSet,
        done: impl Fn(Packet<'a>) -> T,
    ) -> Result<T, DecodeError> {
        if S::IS_CLIENT && self.packet_type == PacketType::Connect {
            return self
                .decode_connect_with(config, tolerated)
                .map(|it| done(Packet::Connect(it)));
        }
        // Known only now, if `parse` was not told the version.
        let of_header = self.check_in(version, config.strictness)?;
        let mut reader = self.reader(Some(version), config);
        let packet =
            Packet::decode::<S, _>(self.packet_type, self.flags, &mut reader, version, done);
        *tolerated = reader.tolerated().and(of_header);
        packet
    }

    /// The same, strictly: nothing is left to do behind it, so that it is built in place.
    #[inline(always)]
    pub(crate) fn decode_strictly_as<S: Sender, T>(
        &self,
        version: ProtocolVersion,
        done: impl Fn(Packet<'a>) -> T,
    ) -> Result<T, DecodeError> {
        if S::IS_CLIENT && self.packet_type == PacketType::Connect {
            if !self.minimal {
                return self.decode_connect().map(|it| done(Packet::Connect(it)));
            }
            // It says its version itself.
            let mut reader = self.reader(None, &DecodeConfig::STRICT);
            return Packet::decode::<S, _>(
                self.packet_type,
                self.flags,
                &mut reader,
                version,
                done,
            );
        }
        self.check_in(version, Strictness::STRICT)?;
        let mut reader = self.reader(Some(version), &DecodeConfig::STRICT);
        Packet::decode::<S, _>(self.packet_type, self.flags, &mut reader, version, done)
    }

    /// Reads a CONNECT, which says its version itself.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; of kind [`DecodeErrorKind::NotConnect`] when it is another packet.
    pub fn decode_connect(&self) -> Result<Connect<'a>, DecodeError> {
        let mut tolerated = RuleSet::NONE;
        self.decode_connect_with(&DecodeConfig::STRICT, &mut tolerated)
    }

    pub(crate) fn decode_connect_with(
        &self,
        config: &DecodeConfig,
        tolerated: &mut RuleSet,
    ) -> Result<Connect<'a>, DecodeError> {
        let mut reader = self.reader(None, config);
        if self.packet_type != PacketType::Connect {
            return Err(reader.error_at(DecodeErrorKind::NotConnect, Field::FixedHeader, 0));
        }
        let connect = Connect::decode(&mut reader)?;
        let of_header = self.check_in(connect.version, config.strictness)?;
        *tolerated = reader.tolerated().and(of_header);
        let place = (self.body, self.header_len());
        let packet = Packet::Connect(connect);
        check_topics(&packet, place, connect.version, config.strictness)?;
        Ok(connect)
    }

    /// Reads a PUBLISH.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; of kind [`DecodeErrorKind::NotPublish`] when it is another packet.
    #[inline(always)]
    pub fn decode_publish(&self, version: ProtocolVersion) -> Result<Publish<'a>, DecodeError> {
        self.decode_publish_as(version, |publish| publish)
    }

    #[inline(always)]
    pub(crate) fn decode_publish_as<T>(
        &self,
        version: ProtocolVersion,
        done: impl Fn(Publish<'a>) -> T,
    ) -> Result<T, DecodeError> {
        // Known only now, if `parse` was not told the version.
        if self.packet_type != PacketType::Publish || !self.minimal {
            let apart = *self;
            return apart.decode_publish_slowly(version).map(done);
        }
        let mut reader = self.reader(Some(version), &DecodeConfig::STRICT);
        Publish::decode(self.flags, &mut reader, version, done)
    }

    #[cold]
    fn decode_publish_slowly(&self, version: ProtocolVersion) -> Result<Publish<'a>, DecodeError> {
        match self.decode(version)? {
            Packet::Publish(publish) => Ok(publish),
            _ => {
                let reader = self.reader(Some(version), &DecodeConfig::STRICT);
                Err(reader.error_at(DecodeErrorKind::NotPublish, Field::FixedHeader, 0))
            }
        }
    }

    /// Checks what depends on the version in the header; answers what the header was let go.
    #[inline]
    fn check_in(
        &self,
        version: ProtocolVersion,
        strictness: Strictness,
    ) -> Result<RuleSet, DecodeError> {
        if self.packet_type == PacketType::Auth && version == ProtocolVersion::V3_1_1 {
            let kind = DecodeErrorKind::ReservedPacketType(self.packet_type.value());
            return Err(DecodeError::new(
                kind,
                Field::FixedHeader,
                0,
                None,
                Some(version),
            ));
        }
        if self.minimal || version == ProtocolVersion::V3_1_1 {
            return Ok(self.tolerated);
        }
        if strictness.tolerates(Rule::RemainingLengthForm) {
            return Ok(self.tolerated.with(Rule::RemainingLengthForm));
        }
        let kind = DecodeErrorKind::VarIntNotMinimal;
        Err(length_fault(kind, self.packet_type, Some(version)))
    }

    /// The type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        self.packet_type
    }

    /// The lower four bits of the first byte.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Everything behind the fixed header.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The length of the fixed header, 2 to 5 bytes.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.header_len as usize
    }

    /// The length of the whole packet in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.body.len().saturating_add(self.header_len())
    }

    #[inline]
    fn reader(&self, version: Option<ProtocolVersion>, config: &DecodeConfig) -> Reader<'a> {
        Reader::new(
            self.body,
            self.header_len(),
            Context {
                packet_type: self.packet_type,
                version,
                counts: config.limits.counts,
                strictness: config.strictness,
            },
        )
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("packet_type", &self.packet_type)
            .field("flags", &self.flags)
            .field("header_len", &self.header_len)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A fixed header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameStart {
    pub(crate) packet_type: PacketType,
    pub(crate) flags: u8,
    pub(crate) header_len: u8,
    /// Of the whole packet.
    pub(crate) size: u32,
    minimal: bool,
    tolerated: RuleSet,
}

/// Reads a remaining length that may have more than two bytes: its value, the length of the header
/// with it, and whether it has the shortest form.
#[cold]
fn long_length(bytes: &[u8]) -> Result<Parsed<(u32, u8, bool)>, DecodeErrorKind> {
    let mut value = 0_u32;
    for ((&byte, shift), header_len) in bytes.iter().zip([0_u32, 7, 14, 21]).zip(2_u8..) {
        value |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(Parsed::Complete((value, header_len, byte != 0)));
        }
    }
    if bytes.len() < 4 {
        return Ok(Parsed::Partial { needed: 1 });
    }
    Err(DecodeErrorKind::VarIntTooLong)
}

/// The version that the beginning of a CONNECT says, as far as that is there: who sends one that is too
/// large can be told in that version. Nobody waits for it.
#[cold]
fn version_at_hand(
    packet_type: PacketType,
    header_len: u8,
    input: &[u8],
) -> Option<ProtocolVersion> {
    if packet_type != PacketType::Connect {
        return None;
    }
    match input.get(header_len.into()..)? {
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Some(ProtocolVersion::V5_0),
        [0, 4, b'M', b'Q', b'T', b'T', 4, ..] => Some(ProtocolVersion::V3_1_1),
        _ => None,
    }
}

#[cold]
fn length_fault(
    kind: DecodeErrorKind,
    packet_type: PacketType,
    version: Option<ProtocolVersion>,
) -> DecodeError {
    DecodeError::new(kind, Field::RemainingLength, 1, Some(packet_type), version)
}

/// A bit for each value of the flags of PUBLISH: no QoS 3, and no DUP at QoS 0.
const VALID_PUBLISH_FLAGS: u16 = 0b0011_1100_0011_1111;

/// Checks what the first byte alone can tell.
#[inline]
fn first_byte(
    byte: u8,
    version: Option<ProtocolVersion>,
    strictness: Strictness,
) -> Result<(PacketType, u8, RuleSet), DecodeError> {
    let (value, flags) = (byte >> 4, byte & 0x0F);
    let fault =
        |kind, packet_type| DecodeError::new(kind, Field::FixedHeader, 0, packet_type, version);
    if value == PacketType::Publish.value() {
        if VALID_PUBLISH_FLAGS >> flags & 1 == 1 {
            return Ok((PacketType::Publish, flags, RuleSet::NONE));
        }
        // [5:MQTT-3.3.1-4] [3:MQTT-3.3.1-4] QoS 3; [5:MQTT-3.3.1-2] [3:MQTT-3.3.1-2] DUP at QoS 0
        let kind = match flags & 0b0110 {
            0b0110 => DecodeErrorKind::QoS3,
            _ if strictness.tolerates(Rule::DupAtQoS0) => {
                let tolerated = RuleSet::NONE.with(Rule::DupAtQoS0);
                return Ok((PacketType::Publish, flags, tolerated));
            }
            _ => DecodeErrorKind::DupAtQoS0,
        };
        return Err(fault(kind, Some(PacketType::Publish)));
    }
    let packet_type = match PacketType::try_from(value) {
        Ok(PacketType::Auth) if version == Some(ProtocolVersion::V3_1_1) => None,
        Ok(packet_type) => Some(packet_type),
        Err(InvalidPacketType) => None,
    };
    let Some(packet_type) = packet_type else {
        return Err(fault(DecodeErrorKind::ReservedPacketType(value), None));
    };
    // [5:MQTT-2.1.3-1] [3:MQTT-2.2.2-1] [3:MQTT-2.2.2-2] DISCONNECT and AUTH have 0:
    // [5:MQTT-3.14.1-1] [5:MQTT-3.15.1-1] [3:MQTT-3.14.1-1].
    let expected = if TYPES_WITH_FLAGS_2 >> value & 1 == 1 {
        2
    } else {
        0
    };
    if flags == expected {
        return Ok((packet_type, flags, RuleSet::NONE));
    }
    if strictness.tolerates(Rule::HeaderFlags) {
        let tolerated = RuleSet::NONE.with(Rule::HeaderFlags);
        return Ok((packet_type, flags, tolerated));
    }
    Err(fault(DecodeErrorKind::Flags(flags), Some(packet_type)))
}

/// A bit for each packet type with the flags 0010: PUBREL, SUBSCRIBE and UNSUBSCRIBE.
// [5:MQTT-3.6.1-1] [5:MQTT-3.8.1-1] [5:MQTT-3.10.1-1] [3:MQTT-3.6.1-1] [3:MQTT-3.8.1-1] [3:MQTT-3.10.1-1]
const TYPES_WITH_FLAGS_2: u16 = 1 << 6 | 1 << 8 | 1 << 10;
