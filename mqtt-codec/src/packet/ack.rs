//! PUBACK, PUBREC, PUBREL and PUBCOMP: one shape, four names.
//!
//! ```text
//! | packet identifier | reason code (5.0, may be left out) | properties (5.0, may be left out) |
//! ```

use super::{Body, Lengths};
use crate::property::{Block5, PropertySink, Slot, read_block, write_block};
use crate::reason::Reason;
use crate::text::Str;
use crate::wire::{Header, Reader, Sink};
use crate::{
    DecodeError, DecodeErrorKind, Field, PacketId, PacketType, PropertyId, ProtocolVersion,
    PublishReason, ReasonCode, ReleaseReason, UserProperties,
};

/// An acknowledgement. Which of the four it is says the [`Packet`](crate::Packet) around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct Ack<'a, R> {
    /// Of the PUBLISH.
    pub id: PacketId,
    /// 5.0 only; 3.1.1 knows nothing but success.
    pub reason: R,
    /// 5.0 only.
    pub properties: AckProperties<'a>,
}

/// An acknowledgement with nothing but an identifier, as nearly all are: four bytes, which say success
/// in both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there are these four")]
pub enum PlainAck {
    /// A QoS 1 message has arrived.
    PubAck(PacketId),
    /// A QoS 2 message has arrived.
    PubRec(PacketId),
    /// The identifier is given back.
    PubRel(PacketId),
    /// The identifier is free.
    PubComp(PacketId),
}

impl PlainAck {
    /// The one at the front of some bytes, and what is behind it. `None` for whatever has to be
    /// [parsed](crate::Frame::parse) and decoded to be known, errors among it.
    ///
    /// ```
    /// use mqtt_codec::{PacketId, PlainAck};
    ///
    /// let (ack, rest) = PlainAck::split(&[0x40, 2, 0, 7, 0xD0, 0]).ok_or("another packet")?;
    /// assert_eq!(Some(ack), PacketId::new(7).map(PlainAck::PubAck));
    /// assert_eq!(rest, [0xD0, 0]);
    /// assert_eq!(PlainAck::split(&[0x40, 3, 0, 7, 0x10]), None);
    /// # Ok::<(), &str>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&[first, 2, high, low], rest) = bytes.split_first_chunk::<4>()? else {
            return None;
        };
        let id = PacketId::new(u16::from_be_bytes([high, low]))?;
        let ack = match first {
            0x40 => Self::PubAck(id),
            0x50 => Self::PubRec(id),
            0x62 => Self::PubRel(id),
            0x70 => Self::PubComp(id),
            _other => return None,
        };
        Some((ack, rest))
    }

    /// The packet.
    // [5:MQTT-3.6.1-1] [3:MQTT-3.6.1-1] The reserved flags of PUBREL are 0010.
    #[must_use]
    #[inline]
    pub const fn to_bytes(self) -> [u8; 4] {
        let (first, id) = match self {
            Self::PubAck(id) => (0x40, id),
            Self::PubRec(id) => (0x50, id),
            Self::PubRel(id) => (0x62, id),
            Self::PubComp(id) => (0x70, id),
        };
        let [high, low] = id.get().to_be_bytes();
        [first, 2, high, low]
    }
}

/// PUBACK: a QoS 1 message has arrived.
pub type PubAck<'a> = Ack<'a, PublishReason>;
/// PUBREC: a QoS 2 message has arrived.
pub type PubRec<'a> = Ack<'a, PublishReason>;
/// PUBREL: a QoS 2 message may be forgotten.
pub type PubRel<'a> = Ack<'a, ReleaseReason>;
/// PUBCOMP: a QoS 2 message is forgotten.
pub type PubComp<'a> = Ack<'a, ReleaseReason>;

/// The properties of an acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct AckProperties<'a> {
    /// For people.
    pub reason_string: Option<Str<'a>>,
    /// For the applications.
    pub user_properties: UserProperties<'a>,
}

impl<R> Ack<'_, R> {
    /// An acknowledgement without properties.
    #[must_use]
    pub fn new(id: PacketId, reason: R) -> Self {
        Self {
            id,
            reason,
            properties: AckProperties::default(),
        }
    }
}

/// Writes the shortest form.
// [5:MQTT-2.2.2-1] Only here, in DISCONNECT and in AUTH may the property length be left out.
impl<R: Reason> Body for Ack<'_, R> {
    #[inline]
    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        out.start(header, self.id.get().to_be_bytes());
        if version == ProtocolVersion::V3_1_1 {
            return;
        }
        let reason: ReasonCode = self.reason.into();
        let has_properties = !self.properties.is_empty();
        if reason != ReasonCode::Success || has_properties {
            out.u8(reason.value());
        }
        if has_properties {
            write_block(version, out, &self.properties);
        }
    }
}

/// The whole packet, if it has no reason code and no properties: mostly.
#[inline(always)]
pub(crate) fn short<R: Reason>(
    packet_type: PacketType,
    ack: &Ack<'_, R>,
    version: ProtocolVersion,
) -> Option<[u8; 4]> {
    let is_short = version == ProtocolVersion::V3_1_1
        || ack.reason.into() == ReasonCode::Success && ack.properties.is_empty();
    let [high, low] = ack.id.get().to_be_bytes();
    let first = (packet_type.value() << 4) | packet_type.fixed_flags().unwrap_or_default();
    is_short.then_some([first, 2, high, low])
}

pub(crate) fn decode<'a, R: Reason>(
    packet_type: PacketType,
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<Ack<'a, R>, DecodeError> {
    let id = reader.packet_id()?;
    let success = R::read(0)
        .ok_or_else(|| reader.error(DecodeErrorKind::ReasonCode(0), Field::ReasonCode))?;
    if version == ProtocolVersion::V3_1_1 || reader.is_empty() {
        return Ok(Ack::new(id, success));
    }
    let reason = read_reason(reader)?;
    let properties = if reader.is_empty() {
        AckProperties::default()
    } else {
        AckProperties::decode(reader, slot(packet_type), version)?
    };
    Ok(Ack {
        id,
        reason,
        properties,
    })
}

/// Reads a reason code that the packet may carry.
pub(crate) fn read_reason<R: Reason>(reader: &mut Reader<'_>) -> Result<R, DecodeError> {
    let start = reader.offset();
    let value = reader.u8(Field::ReasonCode)?;
    R::read(value).ok_or_else(|| {
        reader.error_at(DecodeErrorKind::ReasonCode(value), Field::ReasonCode, start)
    })
}

const fn slot(packet_type: PacketType) -> Slot {
    match packet_type {
        PacketType::PubRec => Slot::PubRec,
        PacketType::PubRel => Slot::PubRel,
        PacketType::PubComp => Slot::PubComp,
        _ => Slot::PubAck,
    }
}

impl<'a> AckProperties<'a> {
    pub(crate) fn decode(
        reader: &mut Reader<'a>,
        slot: Slot,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let mut reason_string = None;
        let block = read_block(reader, slot, version, |id, reader| {
            if id != PropertyId::ReasonString {
                return Err(reader.misplaced(id));
            }
            reason_string = Some(reader.str(Field::Property(id))?);
            Ok(())
        })?;
        Ok(Self {
            reason_string,
            user_properties: block.user_properties(),
        })
    }
}

impl Block5 for AckProperties<'_> {
    #[inline]
    fn write<S: Sink>(&self, out: &mut S) {
        out.bytes_property(
            PropertyId::ReasonString,
            self.reason_string.map(Str::as_bytes),
        );
        out.user_properties(self.user_properties);
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user_properties.is_unset()
    }
}
