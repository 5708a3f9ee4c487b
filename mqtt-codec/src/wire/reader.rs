//! A reader that cannot leave its packet and knows where it is.

use mqtt_topic::{TopicError, TopicErrorKind, TopicFilter, TopicName};

use crate::text::{Binary, Str, StrError};
use crate::{DecodeError, DecodeErrorKind, Field, PacketId, PacketType, ProtocolVersion};

/// What an error says about the packet it was found in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) packet_type: PacketType,
    pub(crate) version: Option<ProtocolVersion>,
}

/// The rest of a packet, or of a property block in it.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Of the first byte of `rest`, from the first byte of the packet.
    offset: usize,
    context: Context,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], offset: usize, context: Context) -> Self {
        Self {
            rest: bytes,
            offset,
            context,
        }
    }

    pub(crate) fn set_version(&mut self, version: ProtocolVersion) {
        self.context.version = Some(version);
    }

    pub(crate) fn error(&self, kind: DecodeErrorKind, field: Field) -> DecodeError {
        self.error_at(kind, field, self.offset)
    }

    pub(crate) fn error_at(
        &self,
        kind: DecodeErrorKind,
        field: Field,
        offset: usize,
    ) -> DecodeError {
        DecodeError::new(
            kind,
            field,
            offset,
            Some(self.context.packet_type),
            self.context.version,
        )
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, len: usize, field: Field) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.error(DecodeErrorKind::CutShort, field));
        };
        self.rest = rest;
        self.offset = self.offset.saturating_add(len);
        Ok(taken)
    }

    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.offset = self.offset.saturating_add(rest.len());
        self.rest = &[];
        rest
    }

    pub(crate) fn u8(&mut self, field: Field) -> Result<u8, DecodeError> {
        Ok(self.take(1, field)?.first().copied().unwrap_or_default())
    }

    pub(crate) fn u16(&mut self, field: Field) -> Result<u16, DecodeError> {
        let bytes = self.take(2, field)?;
        Ok(<[u8; 2]>::try_from(bytes)
            .map(u16::from_be_bytes)
            .unwrap_or_default())
    }

    pub(crate) fn u32(&mut self, field: Field) -> Result<u32, DecodeError> {
        let bytes = self.take(4, field)?;
        Ok(<[u8; 4]>::try_from(bytes)
            .map(u32::from_be_bytes)
            .unwrap_or_default())
    }

    /// A variable byte integer inside a packet: cut short is malformed here.
    // [5:MQTT-1.5.5-1] Only the shortest form is taken.
    pub(crate) fn var_int(&mut self, field: Field) -> Result<u32, DecodeError> {
        let start = self.offset;
        let mut value = 0_u32;
        for shift in [0_u32, 7, 14, 21] {
            let byte = self.u8(field)?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.error_at(DecodeErrorKind::VarIntNotMinimal, field, start));
                }
                return Ok(value);
            }
        }
        Err(self.error_at(DecodeErrorKind::VarIntTooLong, field, start))
    }

    // [5:MQTT-2.2.1-3] [3:MQTT-2.3.1-1]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        let start = self.offset;
        let id = self.u16(Field::PacketId)?;
        PacketId::new(id)
            .ok_or_else(|| self.error_at(DecodeErrorKind::PacketIdZero, Field::PacketId, start))
    }

    /// Bytes with their length in front.
    pub(crate) fn bytes(&mut self, field: Field) -> Result<&'a [u8], DecodeError> {
        let len = self.u16(field)?;
        self.take(len.into(), field)
    }

    pub(crate) fn binary(&mut self, field: Field) -> Result<Binary<'a>, DecodeError> {
        let bytes = self.bytes(field)?;
        // A length of two bytes cannot say more than binary data may have.
        Binary::new(bytes).map_err(|_| self.error(DecodeErrorKind::CutShort, field))
    }

    pub(crate) fn str(&mut self, field: Field) -> Result<Str<'a>, DecodeError> {
        let bytes = self.bytes(field)?;
        let start = self.start_of(bytes);
        Str::from_bytes(bytes).map_err(|error| match error {
            StrError::NotUtf8 { offset } => self.error_at(
                DecodeErrorKind::NotUtf8,
                field,
                start.saturating_add(offset),
            ),
            StrError::NullCharacter { offset } => self.error_at(
                DecodeErrorKind::NullCharacter,
                field,
                start.saturating_add(offset),
            ),
            StrError::TooLong => self.error_at(DecodeErrorKind::CutShort, field, start),
        })
    }

    pub(crate) fn topic_name(&mut self, field: Field) -> Result<TopicName<'a>, DecodeError> {
        let bytes = self.bytes(field)?;
        self.parse_topic_name(bytes, field)
    }

    /// Checks a name that has just been taken.
    pub(crate) fn parse_topic_name(
        &self,
        bytes: &'a [u8],
        field: Field,
    ) -> Result<TopicName<'a>, DecodeError> {
        TopicName::from_bytes(bytes).map_err(|error| self.topic_error(error, bytes, field))
    }

    pub(crate) fn topic_filter(&mut self) -> Result<TopicFilter<'a>, DecodeError> {
        let bytes = self.bytes(Field::TopicFilter)?;
        let filter = TopicFilter::from_bytes(bytes)
            .map_err(|error| self.topic_error(error, bytes, Field::TopicFilter))?;
        // [5:MQTT-4.8.2-1] [5:MQTT-4.8.2-2] In 3.1.1 a filter with `$share/` in front is an ordinary one.
        if self.context.version == Some(ProtocolVersion::V5_0) {
            filter
                .shared()
                .map_err(|error| self.topic_error(error, bytes, Field::TopicFilter))?;
        }
        Ok(filter)
    }

    fn topic_error(&self, error: TopicError, bytes: &[u8], field: Field) -> DecodeError {
        let offset = self.start_of(bytes).saturating_add(error.offset());
        let kind = match error.kind() {
            TopicErrorKind::NotUtf8 => DecodeErrorKind::NotUtf8,
            TopicErrorKind::NullCharacter => DecodeErrorKind::NullCharacter,
            _ => DecodeErrorKind::Topic(error),
        };
        self.error_at(kind, field, offset)
    }

    /// Where bytes that have just been taken start.
    fn start_of(&self, taken: &[u8]) -> usize {
        self.offset.saturating_sub(taken.len())
    }

    /// Keeps the place, but ends with `bytes`, which start there.
    pub(crate) fn narrow_to(&mut self, bytes: &'a [u8]) {
        self.rest = bytes;
    }

    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error(DecodeErrorKind::TrailingBytes, Field::End))
        }
    }
}
