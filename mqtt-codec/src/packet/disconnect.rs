//! DISCONNECT: the last packet of a connection.
//!
//! ```text
//! | reason code (5.0, may be left out) | properties (5.0, may be left out) |
//! ```

use super::{Body, Lengths};
use crate::packet::ack::read_reason;
use crate::property::{Block5, PropertySink, Slot, block_len, read_block, write_block};
use crate::text::Str;
use crate::wire::{Header, Reader, Sink};
use crate::{
    DecodeError, DisconnectReason, Field, PropertyId, ProtocolVersion, ReasonCode, UserProperties,
};

/// DISCONNECT: one side ends the connection, in 3.1.1 the client alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct Disconnect<'a> {
    /// Why; 5.0 only. In 3.1.1 every DISCONNECT is a normal one.
    pub reason: DisconnectReason,
    /// 5.0 only.
    pub properties: DisconnectProperties<'a>,
}

/// The properties of DISCONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct DisconnectProperties<'a> {
    /// In place of what CONNECT asked for, in seconds. From a client only.
    pub session_expiry_secs: Option<u32>,
    /// For people.
    pub reason_string: Option<Str<'a>>,
    /// Where else to go. From a server only.
    pub server_reference: Option<Str<'a>>,
    /// For the applications.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    #[must_use]
    pub fn new(reason: DisconnectReason) -> Self {
        Self {
            reason,
            properties: DisconnectProperties::default(),
        }
    }

    pub(crate) fn decode(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        if version == ProtocolVersion::V3_1_1 || reader.is_empty() {
            return Ok(Self::new(DisconnectReason::NormalDisconnection));
        }
        let reason = read_reason(reader)?;
        let mut properties = DisconnectProperties::default();
        if !reader.is_empty() {
            let block = read_block(reader, Slot::Disconnect, version, |id, reader| {
                let field = Field::Property(id);
                match id {
                    PropertyId::SessionExpiryInterval => {
                        properties.session_expiry_secs = Some(reader.u32(field)?)
                    }
                    PropertyId::ReasonString => properties.reason_string = Some(reader.str(field)?),
                    PropertyId::ServerReference => {
                        properties.server_reference = Some(reader.str(field)?)
                    }
                    _ => return Err(reader.misplaced(id)),
                }
                Ok(())
            })?;
            properties.user_properties = block.user_properties();
        }
        Ok(Self { reason, properties })
    }
}

impl Body for Disconnect<'_> {
    #[inline]
    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        out.header(header);
        if version == ProtocolVersion::V3_1_1 {
            return;
        }
        let has_properties = block_len(&self.properties) > 0;
        if self.reason != DisconnectReason::NormalDisconnection || has_properties {
            out.u8(ReasonCode::from(self.reason).value());
        }
        if has_properties {
            write_block(version, out, &self.properties);
        }
    }
}

impl Block5 for DisconnectProperties<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_secs);
        out.bytes_property(
            PropertyId::ReasonString,
            self.reason_string.map(Str::as_bytes),
        );
        out.bytes_property(
            PropertyId::ServerReference,
            self.server_reference.map(Str::as_bytes),
        );
        out.user_properties(self.user_properties);
    }
}
