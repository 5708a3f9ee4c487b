//! SUBACK: the server's answer to SUBSCRIBE.
//!
//! ```text
//! | packet identifier | properties (5.0) | reason code x n |
//! ```

use super::{Body, Lengths};
use crate::list::{Item, List, sealed, take_byte};
use crate::packet::ack::{AckProperties, read_reason};
use crate::property::{Slot, write_block};
use crate::reason::Reason;
use crate::wire::{Counter, Header, Reader, Sink};
use crate::{
    DecodeError, DecodeErrorKind, EncodeError, Field, FiltersError, PacketId, ProtocolVersion,
    ReasonCode, SubscribeReason,
};

/// SUBACK: what became of each filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct SubAck<'a> {
    /// Of the SUBSCRIBE.
    pub id: PacketId,
    /// One for each filter, in their order.
    pub reasons: SubAckReasons<'a>,
    /// 5.0 only.
    pub properties: AckProperties<'a>,
}

/// The reason codes of a SUBACK, at least one.
pub type SubAckReasons<'a> = List<'a, SubscribeReason>;

impl<'a> List<'a, SubscribeReason> {
    /// These reason codes.
    ///
    /// # Errors
    ///
    /// [`FiltersError::Empty`] when there is none.
    pub const fn new(reasons: &'a [SubscribeReason]) -> Result<Self, FiltersError> {
        if reasons.is_empty() {
            Err(FiltersError::Empty)
        } else {
            Ok(Self::from_slice(reasons))
        }
    }
}

impl sealed::Sealed for SubscribeReason {}

impl<'a> Item<'a> for SubscribeReason {
    fn next(rest: &mut &'a [u8]) -> Option<Self> {
        Self::read(take_byte(rest)?)
    }
}

impl<'a> SubAck<'a> {
    pub(crate) fn decode(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let properties = AckProperties::decode(reader, Slot::SubAck, version)?;
        let reasons = SubAckReasons::from_run(reader.rest());
        if reader.is_empty() {
            return Err(reader.error(DecodeErrorKind::NoReasonCodes, Field::ReasonCode));
        }
        while let Some(value) = reader.rest().first() {
            // The codes that both versions have.
            if matches!(value, 0..=2 | 0x80) {
                reader.skip(1);
                continue;
            }
            let start = reader.offset();
            read_reason::<SubscribeReason>(reader)?;
            // [3:MQTT-3.9.3-2]
            if version == ProtocolVersion::V3_1_1 {
                let kind = DecodeErrorKind::ReasonCode(*value);
                return Err(reader.error_at(kind, Field::ReasonCode, start));
            }
        }
        Ok(Self {
            id,
            reasons,
            properties,
        })
    }
}

impl Body for SubAck<'_> {
    #[inline]
    fn lengths(&self, version: ProtocolVersion) -> Result<Lengths, EncodeError> {
        let codes = match self.reasons.as_run() {
            Some(bytes) => bytes.len(),
            None => self.reasons.len(),
        };
        let mut counter = Counter::default();
        write_block(version, &mut counter, &self.properties);
        let codes = u64::try_from(codes).unwrap_or(u64::MAX);
        // The identifier, and what is in memory.
        Lengths::new(counter.len.saturating_add(codes).saturating_add(2), 0)
    }

    #[inline]
    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        out.start(header, self.id.get().to_be_bytes());
        write_block(version, out, &self.properties);
        match (self.reasons.as_run(), version) {
            (Some(bytes), ProtocolVersion::V5_0) => out.put(bytes),
            // The codes that both versions have.
            (Some(bytes), ProtocolVersion::V3_1_1) if bytes.iter().all(|code| *code <= 0x80) => {
                out.put(bytes);
            }
            // [3:MQTT-3.9.3-2] Every failure is the one that 3.1.1 has.
            (Some(bytes), ProtocolVersion::V3_1_1) => {
                for &code in bytes {
                    out.u8(code.min(0x80));
                }
            }
            (None, ProtocolVersion::V5_0) => {
                for reason in self.reasons.iter() {
                    out.u8(ReasonCode::from(reason).value());
                }
            }
            (None, ProtocolVersion::V3_1_1) => {
                for reason in self.reasons.iter() {
                    out.u8(ReasonCode::from(reason).value().min(0x80));
                }
            }
        }
    }
}
