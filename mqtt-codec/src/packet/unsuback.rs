//! UNSUBACK: the server's answer to UNSUBSCRIBE.
//!
//! ```text
//! | packet identifier | properties (5.0) | reason code x n (5.0) |
//! ```

use super::{Body, Lengths};
use crate::error::NotInVersion;
use crate::list::{Item, List, sealed, take_byte};
use crate::packet::ack::{AckProperties, read_reason};
use crate::property::{Slot, write_block};
use crate::reason::Reason;
use crate::wire::{Header, Reader, Sink};
use crate::{
    DecodeError, DecodeErrorKind, EncodeError, Field, PacketId, ProtocolVersion, ReasonCode,
    UnsubscribeReason,
};

/// UNSUBACK: what became of each filter of an UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct UnsubAck<'a> {
    /// Of the UNSUBSCRIBE.
    pub id: PacketId,
    /// One for each filter, in their order; 3.1.1 has none.
    pub reasons: UnsubAckReasons<'a>,
    /// 5.0 only.
    pub properties: AckProperties<'a>,
}

/// The reason codes of an UNSUBACK.
pub type UnsubAckReasons<'a> = List<'a, UnsubscribeReason>;

impl<'a> List<'a, UnsubscribeReason> {
    /// These reason codes; none is enough for 3.1.1 alone.
    #[must_use]
    pub const fn new(reasons: &'a [UnsubscribeReason]) -> Self {
        Self::from_slice(reasons)
    }
}

/// No reason codes. Lists that need an entry, such as the filters of a SUBSCRIBE, have no default.
impl Default for List<'_, UnsubscribeReason> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl sealed::Sealed for UnsubscribeReason {}

impl<'a> Item<'a> for UnsubscribeReason {
    fn next(rest: &mut &'a [u8]) -> Option<Self> {
        Self::read(take_byte(rest)?)
    }
}

impl<'a> UnsubAck<'a> {
    pub(crate) fn decode(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let properties = AckProperties::decode(reader, Slot::UnsubAck, version)?;
        if version == ProtocolVersion::V3_1_1 {
            reader.finish()?;
            return Ok(Self {
                id,
                reasons: UnsubAckReasons::default(),
                properties,
            });
        }
        let reasons = UnsubAckReasons::from_run(reader.rest());
        if reader.is_empty() {
            return Err(reader.error(DecodeErrorKind::NoReasonCodes, Field::ReasonCode));
        }
        while !reader.is_empty() {
            read_reason::<UnsubscribeReason>(reader)?;
        }
        Ok(Self {
            id,
            reasons,
            properties,
        })
    }
}

impl Body for UnsubAck<'_> {
    #[inline]
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if version == ProtocolVersion::V5_0 && self.reasons.is_empty() {
            return Err(EncodeError::NotInVersion(NotInVersion::NoReasonCodes));
        }
        Ok(())
    }

    #[inline]
    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        out.start(header, self.id.get().to_be_bytes());
        write_block(version, out, &self.properties);
        match (self.reasons.as_run(), version) {
            (_, ProtocolVersion::V3_1_1) => {}
            (Some(bytes), ProtocolVersion::V5_0) => out.put(bytes),
            (None, ProtocolVersion::V5_0) => {
                for reason in self.reasons.iter() {
                    out.u8(ReasonCode::from(reason).value());
                }
            }
        }
    }
}
