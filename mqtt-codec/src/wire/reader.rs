//! A reader that cannot leave its packet and knows where it is.

use mqtt_topic::{TopicError, TopicErrorKind, TopicFilter, TopicName};

use crate::decoder::{Counts, Rule, RuleSet, Strictness};
use crate::text::{Binary, Str, StrError, is_plain};
use crate::{DecodeError, DecodeErrorKind, Field, PacketId, PacketType, ProtocolVersion};

/// What an error says about the packet it was found in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) packet_type: PacketType,
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) counts: Counts,
    pub(crate) strictness: Strictness,
}

impl Context {
    /// For bytes that were checked before: nothing more is asked of them.
    #[cfg(feature = "alloc")]
    pub(crate) const fn checked(packet_type: PacketType, version: ProtocolVersion) -> Self {
        Self {
            packet_type,
            version: Some(version),
            counts: Counts {
                properties_max: u16::MAX,
                user_properties_max: u16::MAX,
                filters_max: u16::MAX,
            },
            strictness: Strictness::LENIENT,
        }
    }
}

/// The rest of a packet, or of a property block in it.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Where `rest` ends, from the first byte of the packet: so taking bytes moves one thing only.
    end: usize,
    context: Context,
    tolerated: RuleSet,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], offset: usize, context: Context) -> Self {
        Self {
            rest: bytes,
            end: offset.saturating_add(bytes.len()),
            context,
            tolerated: RuleSet::NONE,
        }
    }

    /// Whether a rule that is broken here is let go; notes it if so.
    #[cold]
    pub(crate) fn tolerates(&mut self, rule: Rule) -> bool {
        let tolerates = self.context.strictness.tolerates(rule);
        if tolerates {
            self.tolerated = self.tolerated.with(rule);
        }
        tolerates
    }

    #[inline]
    pub(crate) fn tolerated(&self) -> RuleSet {
        self.tolerated
    }

    #[inline]
    pub(crate) fn counts(&self) -> Counts {
        self.context.counts
    }

    #[inline]
    pub(crate) fn set_version(&mut self, version: ProtocolVersion) {
        self.context.version = Some(version);
    }

    #[inline(always)]
    pub(crate) fn error(&self, kind: DecodeErrorKind, field: Field) -> DecodeError {
        self.error_at(kind, field, self.offset())
    }

    // What is cold takes values: a reader whose address nobody takes stays in registers.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn error_at(
        &self,
        kind: DecodeErrorKind,
        field: Field,
        offset: usize,
    ) -> DecodeError {
        let Context {
            packet_type,
            version,
            ..
        } = self.context;
        error_of(kind, field, offset, packet_type, version)
    }

    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn take(&mut self, len: usize, field: Field) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.error(DecodeErrorKind::CutShort, field));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// Jumps over bytes that were seen to be there.
    #[inline]
    pub(crate) fn skip(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
    }

    /// Whether nothing was asked for but what the standard asks.
    #[inline]
    pub(crate) fn is_as_usual(&self) -> bool {
        self.context.counts == Counts::DEFAULT && self.context.strictness == Strictness::STRICT
    }

    /// Jumps over what has been read; this is what is behind it.
    #[inline]
    pub(crate) fn skip_to(&mut self, rest: &'a [u8]) {
        self.rest = rest;
    }

    /// Jumps over one byte if it is 0; answers whether it was.
    #[inline]
    pub(crate) fn skip_zero(&mut self) -> bool {
        let is_zero = self.rest.first() == Some(&0);
        if is_zero {
            self.skip(1);
        }
        is_zero
    }

    #[inline]
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn u8(&mut self, field: Field) -> Result<u8, DecodeError> {
        let Some((&first, rest)) = self.rest.split_first() else {
            return Err(self.error(DecodeErrorKind::CutShort, field));
        };
        self.rest = rest;
        Ok(first)
    }

    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn u16(&mut self, field: Field) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn u32(&mut self, field: Field) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: Field) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.error(DecodeErrorKind::CutShort, field));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// A variable byte integer inside a packet: cut short is malformed here.
    // [5:MQTT-1.5.5-1] Only the shortest form is taken.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn var_int(&mut self, field: Field) -> Result<u32, DecodeError> {
        if let Some((&first @ 0..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(first.into());
        }
        let mut apart = self.clone();
        let value = apart.long_var_int(field);
        *self = apart;
        value
    }

    /// One whose first byte is not its last.
    #[inline(never)]
    fn long_var_int(&mut self, field: Field) -> Result<u32, DecodeError> {
        let start = self.offset();
        let mut value = 0_u32;
        for shift in [0_u32, 7, 14, 21] {
            let byte = self.u8(field)?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 {
                    return Err(self.error_at(DecodeErrorKind::VarIntNotMinimal, field, start));
                }
                return Ok(value);
            }
        }
        Err(self.error_at(DecodeErrorKind::VarIntTooLong, field, start))
    }

    // [5:MQTT-2.2.1-3] [3:MQTT-2.3.1-1]
    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        let before = self.rest.len();
        let id = self.u16(Field::PacketId)?;
        PacketId::new(id).ok_or_else(|| {
            let start = self.end.saturating_sub(before);
            self.error_at(DecodeErrorKind::PacketIdZero, Field::PacketId, start)
        })
    }

    /// Bytes with their length in front.
    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn bytes(&mut self, field: Field) -> Result<&'a [u8], DecodeError> {
        let len = self.u16(field)?;
        self.take(len.into(), field)
    }

    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn binary(&mut self, field: Field) -> Result<Binary<'a>, DecodeError> {
        let bytes = self.bytes(field)?;
        // A length of two bytes cannot say more than binary data may have.
        Binary::new(bytes).map_err(|_| self.error(DecodeErrorKind::CutShort, field))
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn str(&mut self, field: Field) -> Result<Str<'a>, DecodeError> {
        let bytes = self.bytes(field)?;
        if is_plain(bytes) && self.context.strictness.tolerates(Rule::ControlCharacters) {
            return Ok(Str::assume_valid(bytes));
        }
        let apart = self.clone();
        apart.check_str(bytes, field)
    }

    /// A text that has just been taken, and is not plain.
    #[inline(never)]
    fn check_str(&self, bytes: &'a [u8], field: Field) -> Result<Str<'a>, DecodeError> {
        let text = Str::from_bytes(bytes).map_err(|error| self.str_error(error, bytes, field))?;
        if !self.context.strictness.tolerates(Rule::ControlCharacters) {
            self.check_control_characters(text, field)?;
        }
        Ok(text)
    }

    #[cold]
    fn check_control_characters(&self, text: Str<'_>, field: Field) -> Result<(), DecodeError> {
        let Some(at) = first_control_character(text.as_str()) else {
            return Ok(());
        };
        let offset = self.start_of(text.as_bytes()).saturating_add(at);
        Err(self.error_at(DecodeErrorKind::ControlCharacter, field, offset))
    }

    #[inline(always)]
    fn str_error(&self, error: StrError, bytes: &[u8], field: Field) -> DecodeError {
        let (kind, offset) = match error {
            StrError::NotUtf8 { offset } => (DecodeErrorKind::NotUtf8, offset),
            StrError::NullCharacter { offset } => (DecodeErrorKind::NullCharacter, offset),
            StrError::TooLong => (DecodeErrorKind::CutShort, 0),
        };
        self.error_at(kind, field, self.start_of(bytes).saturating_add(offset))
    }

    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub(crate) fn topic_name(&mut self, field: Field) -> Result<TopicName<'a>, DecodeError> {
        let bytes = self.bytes(field)?;
        self.parse_topic_name(bytes, field)
    }

    /// Checks a name that has just been taken.
    #[inline]
    pub(crate) fn parse_topic_name(
        &self,
        bytes: &'a [u8],
        field: Field,
    ) -> Result<TopicName<'a>, DecodeError> {
        TopicName::from_bytes(bytes).map_err(|error| self.topic_error(error, bytes, field))
    }

    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
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

    /// The filters that are allowed have been taken.
    pub(crate) fn no_more_filters(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.error(DecodeErrorKind::TooManyFilters, Field::TopicFilter))
    }

    #[inline(always)]
    fn topic_error(&self, error: TopicError, bytes: &[u8], field: Field) -> DecodeError {
        let offset = self.start_of(bytes).saturating_add(error.offset());
        self.error_at(topic_fault(error), field, offset)
    }

    /// Where bytes that have just been taken start.
    fn start_of(&self, taken: &[u8]) -> usize {
        self.offset().saturating_sub(taken.len())
    }

    /// Keeps the place, but ends with `bytes`, which start there.
    #[inline]
    pub(crate) fn narrow_to(&mut self, bytes: &'a [u8]) {
        self.end = self.offset().saturating_add(bytes.len());
        self.rest = bytes;
    }

    #[inline]
    pub(crate) fn finish(&mut self) -> Result<(), DecodeError> {
        if self.rest.is_empty() || self.tolerates(Rule::TrailingBytes) {
            Ok(())
        } else {
            Err(self.error(DecodeErrorKind::TrailingBytes, Field::End))
        }
    }
}

/// U+0001 to U+001F, U+007F to U+009F.
pub(crate) fn first_control_character(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    let (at, _) = characters.find(|(_, character)| character.is_control())?;
    Some(at)
}

#[cold]
#[inline(never)]
fn error_of(
    kind: DecodeErrorKind,
    field: Field,
    offset: usize,
    packet_type: PacketType,
    version: Option<ProtocolVersion>,
) -> DecodeError {
    DecodeError::new(kind, field, offset, Some(packet_type), version)
}

#[cold]
#[inline(never)]
fn topic_fault(error: TopicError) -> DecodeErrorKind {
    match error.kind() {
        TopicErrorKind::NotUtf8 => DecodeErrorKind::NotUtf8,
        TopicErrorKind::NullCharacter => DecodeErrorKind::NullCharacter,
        _ => DecodeErrorKind::Topic(error),
    }
}
