//! AUTH: a step of an enhanced authentication (5.0).
//!
//! ```text
//! | reason code (may be left out) | properties (may be left out) |
//! ```

use super::{Body, Lengths};
use crate::error::NotInVersion;
use crate::packet::ack::{AckProperties, read_reason};
use crate::property::{Block5, PropertySink, Slot, block_len, read_block, write_block};
use crate::text::{Binary, Str};
use crate::wire::{Header, Reader, Sink};
use crate::{
    AuthReason, DecodeError, DecodeErrorKind, EncodeError, Field, PropertyId, ProtocolVersion,
    ReasonCode,
};

/// AUTH: one side of a dialogue about who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct Auth<'a> {
    /// Where the dialogue stands.
    pub reason: AuthReason,
    /// The standard asks for it in every AUTH, and allows an encoding without it; a connection
    /// takes none without.
    pub authentication: Option<Authentication<'a>>,
    /// Reason string and user properties.
    pub properties: AckProperties<'a>,
}

/// A method of authentication, and what one side has to say in it.
///
/// `Debug` shows the length of the data, not the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the standard has these two")]
pub struct Authentication<'a> {
    /// The name of the method; the same during one connection.
    pub method: Str<'a>,
    /// Data of the method.
    pub data: Option<Binary<'a>>,
}

impl<'a> Authentication<'a> {
    /// Data without a method is a fault.
    pub(crate) fn from_parts(
        reader: &Reader<'_>,
        method: Option<Str<'a>>,
        data: Option<Binary<'a>>,
    ) -> Result<Option<Self>, DecodeError> {
        match (method, data) {
            (Some(method), data) => Ok(Some(Self { method, data })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let field = Field::Property(PropertyId::AuthenticationData);
                Err(reader.error(DecodeErrorKind::DataWithoutMethod, field))
            }
        }
    }

    pub(crate) fn write<S: Sink>(authentication: Option<Self>, out: &mut S) {
        out.bytes_property(
            PropertyId::AuthenticationMethod,
            authentication.map(|parts| parts.method.as_bytes()),
        );
        let data = authentication.and_then(|parts| parts.data);
        out.bytes_property(PropertyId::AuthenticationData, data.map(Binary::as_bytes));
    }
}

impl<'a> Auth<'a> {
    /// A step of a method.
    #[must_use]
    pub fn new(reason: AuthReason, authentication: Authentication<'a>) -> Self {
        Self {
            reason,
            authentication: Some(authentication),
            properties: AckProperties::default(),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut auth = Self {
            reason: AuthReason::Success,
            authentication: None,
            properties: AckProperties::default(),
        };
        if reader.is_empty() {
            return Ok(auth);
        }
        auth.reason = read_reason(reader)?;
        let (mut method, mut data) = (None, None);
        let block = read_block(reader, Slot::Auth, ProtocolVersion::V5_0, |id, reader| {
            let field = Field::Property(id);
            match id {
                PropertyId::AuthenticationMethod => method = Some(reader.str(field)?),
                PropertyId::AuthenticationData => data = Some(reader.binary(field)?),
                PropertyId::ReasonString => {
                    auth.properties.reason_string = Some(reader.str(field)?)
                }
                _ => return Err(reader.misplaced(id)),
            }
            Ok(())
        })?;
        auth.authentication = Authentication::from_parts(reader, method, data)?;
        auth.properties.user_properties = block.user_properties();
        Ok(auth)
    }
}

impl Body for Auth<'_> {
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        match version {
            ProtocolVersion::V3_1_1 => Err(EncodeError::NotInVersion(NotInVersion::Auth)),
            ProtocolVersion::V5_0 => Ok(()),
        }
    }

    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        let block = AuthBlock {
            authentication: self.authentication,
            properties: self.properties,
        };
        out.header(header);
        let has_properties = block_len(&block) > 0;
        if self.reason != AuthReason::Success || has_properties {
            out.u8(ReasonCode::from(self.reason).value());
            // Length 1 is not among the forms that the standard allows.
            write_block(version, out, &block);
        }
    }
}

struct AuthBlock<'a> {
    authentication: Option<Authentication<'a>>,
    properties: AckProperties<'a>,
}

impl Block5 for AuthBlock<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        Authentication::write(self.authentication, out);
        self.properties.write(out);
    }
}
