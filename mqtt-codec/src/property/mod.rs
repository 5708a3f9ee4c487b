//! Properties of MQTT 5.0: which there are, where they may stand, and how a block is read.

mod id;
mod user;

pub use id::{PropertyForm, PropertyId};
pub use user::{SubscriptionIds, UserProperties, UserProperty};

pub(crate) use id::Slot;
#[cfg(feature = "alloc")]
pub(crate) use user::next_property;
pub(crate) use user::read_subscription_id;

use crate::list::{Item, List};
use crate::wire::{Counter, Reader, Sink, length};
use crate::{DecodeError, DecodeErrorKind, Field, ProtocolVersion};

/// What is left of a property block after its single values were taken out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block<'a> {
    user_properties: Stretch<'a>,
    subscription_ids: Stretch<'a>,
}

/// From the first property of a kind to the last one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stretch<'a> {
    /// From the first one to the end of the block.
    from: &'a [u8],
    /// What is behind the last one.
    behind: usize,
    /// Others stand between them.
    is_mixed: bool,
}

impl<'a> Stretch<'a> {
    /// One more property, from the front of `from` to where `behind` is left.
    #[inline(always)]
    pub(crate) fn add(&mut self, from: &'a [u8], behind: &[u8]) {
        if self.from.is_empty() {
            self.from = from;
        } else {
            self.is_mixed |= self.behind != from.len();
        }
        self.behind = behind.len();
    }

    #[inline(always)]
    pub(crate) fn list<T: Item<'a>>(&self) -> List<'a, T> {
        let len = self.from.len().saturating_sub(self.behind);
        let bytes = self.from.get(..len).unwrap_or_default();
        if bytes.is_empty() {
            List::from_slice(&[])
        } else if self.is_mixed {
            List::from_mixed(bytes)
        } else {
            List::from_run(bytes)
        }
    }
}

impl<'a> Block<'a> {
    #[inline]
    pub(crate) fn user_properties(&self) -> UserProperties<'a> {
        self.user_properties.list()
    }

    #[inline]
    pub(crate) fn subscription_ids(&self) -> SubscriptionIds<'a> {
        self.subscription_ids.list()
    }
}

/// Reads a property block with its length in front, in one walk.
///
/// `each` takes the value of every property that can stand only once. Repeated ones are checked
/// and stay in the block. In 3.1.1 there is no block.
#[inline]
pub(crate) fn read_block<'a>(
    reader: &mut Reader<'a>,
    slot: Slot,
    version: ProtocolVersion,
    each: impl FnMut(PropertyId, &mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<Block<'a>, DecodeError> {
    if version == ProtocolVersion::V3_1_1 || reader.skip_zero() {
        return Ok(Block::default());
    }
    let length = reader.var_int(Field::PropertyLength)?;
    let mut block = reader.clone();
    let bytes = reader.take(
        usize::try_from(length).unwrap_or(usize::MAX),
        Field::PropertyLength,
    )?;
    block.narrow_to(bytes);
    read_properties(block, slot, each)
}

/// Reads the properties of a block without its length.
#[cfg(feature = "small")]
pub(crate) fn read_properties<'a>(
    reader: Reader<'a>,
    slot: Slot,
    mut each: impl FnMut(PropertyId, &mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<Block<'a>, DecodeError> {
    walk(reader, slot, &mut each as Each<'_, 'a>)
}

#[cfg(not(feature = "small"))]
pub(crate) use self::walk as read_properties;

/// What takes a property, for all packets in one form.
#[cfg(feature = "small")]
type Each<'e, 'a> = &'e mut dyn FnMut(PropertyId, &mut Reader<'a>) -> Result<(), DecodeError>;

/// Reads the properties of a block without its length.
#[cfg_attr(not(feature = "small"), inline)]
#[cfg_attr(feature = "small", inline(never))]
pub(crate) fn walk<'a>(
    mut reader: Reader<'a>,
    slot: Slot,
    mut each: impl FnMut(PropertyId, &mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<Block<'a>, DecodeError> {
    let (mut once, allowed) = (PropertyId::allowed_in(slot), PropertyId::allowed_in(slot));
    let repeats_subscription_ids = PropertyId::SubscriptionIdentifier.repeats_in(slot);
    let mut block = Block::default();
    let counts = reader.counts();
    let (mut properties_left, mut user_left) = (counts.properties_max, counts.user_properties_max);
    while let Some(&value) = reader.rest().first() {
        let may_stand = once.checked_shr(value.into()).unwrap_or_default() & 1 == 1;
        let id = match PropertyId::from_value(value) {
            Some(id) if may_stand => id,
            _ => {
                let mut apart = reader.clone();
                return Err(refused(&mut apart, allowed));
            }
        };
        take_one(&reader, &mut properties_left)?;
        let from = reader.rest();
        reader.skip(1);
        match id {
            // [5:MQTT-1.5.7-1] Name and value are strings like any other.
            PropertyId::UserProperty => {
                take_one(&reader, &mut user_left)?;
                let field = Field::Property(id);
                reader.str(field)?;
                reader.str(field)?;
                block.user_properties.add(from, reader.rest());
            }
            PropertyId::SubscriptionIdentifier if repeats_subscription_ids => {
                read_subscription_id(&mut reader)?;
                block.subscription_ids.add(from, reader.rest());
            }
            _ => {
                once &= !id.bit();
                each(id, &mut reader)?;
            }
        }
    }
    Ok(block)
}

/// One more property, if there may be one more.
#[inline(always)]
fn take_one(reader: &Reader<'_>, left: &mut u16) -> Result<(), DecodeError> {
    match left.checked_sub(1) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => Err(reader.error(DecodeErrorKind::TooManyProperties, Field::PropertyId)),
    }
}

/// Why the property at the front is none that may stand here now.
#[cold]
fn refused(reader: &mut Reader<'_>, allowed: u64) -> DecodeError {
    let start = reader.offset();
    let value = match reader.var_int(Field::PropertyId) {
        Ok(value) => value,
        Err(error) => return error,
    };
    let id = u8::try_from(value).ok().and_then(PropertyId::from_value);
    let (kind, field) = match id {
        None => (DecodeErrorKind::UnknownProperty(value), Field::PropertyId),
        Some(id) if id.bit() & allowed == 0 => {
            (DecodeErrorKind::MisplacedProperty, Field::Property(id))
        }
        Some(id) => (DecodeErrorKind::RepeatedProperty, Field::Property(id)),
    };
    reader.error_at(kind, field, start)
}

/// Writes a property block with its length in front. In 3.1.1 there is none.
#[inline(always)]
pub(crate) fn write_block<S: Sink>(version: ProtocolVersion, out: &mut S, block: &impl Block5) {
    match version {
        ProtocolVersion::V3_1_1 => {}
        // [5:MQTT-2.2.2-1]
        ProtocolVersion::V5_0 if block.is_empty() => out.u8(0),
        ProtocolVersion::V5_0 => out.block(block),
    }
}

/// The length of a property block, without the length in front.
#[inline]
pub(crate) fn block_len(block: &impl Block5) -> u64 {
    let mut counter = Counter::default();
    block.write(&mut counter);
    counter.len
}

/// Properties that can write themselves.
pub(crate) trait Block5 {
    fn write<S: Sink>(&self, out: &mut S);

    /// Whether there is certainly nothing to write.
    fn is_empty(&self) -> bool {
        false
    }
}

/// Properties as they are written.
pub(crate) trait PropertySink: Sink {
    #[inline]
    fn byte_property(&mut self, id: PropertyId, value: Option<u8>) {
        if let Some(value) = value {
            self.put(&[id.value(), value]);
        }
    }

    #[inline]
    fn flag_property(&mut self, id: PropertyId, value: Option<bool>) {
        self.byte_property(id, value.map(u8::from));
    }

    #[inline]
    fn u16_property(&mut self, id: PropertyId, value: Option<u16>) {
        if let Some(value) = value {
            let [a, b] = value.to_be_bytes();
            self.put(&[id.value(), a, b]);
        }
    }

    #[inline]
    fn u32_property(&mut self, id: PropertyId, value: Option<u32>) {
        if let Some(value) = value {
            let [a, b, c, d] = value.to_be_bytes();
            self.put(&[id.value(), a, b, c, d]);
        }
    }

    #[inline]
    fn bytes_property(&mut self, id: PropertyId, value: Option<&[u8]>) {
        if let Some(value) = value {
            let [a, b] = length(value);
            self.put(&[id.value(), a, b]);
            self.put_short(value);
        }
    }

    #[inline(always)]
    fn user_properties(&mut self, properties: UserProperties<'_>) {
        match properties.as_run() {
            Some([]) => {}
            Some(bytes) => self.put(bytes),
            None => self.each_user_property(properties),
        }
    }

    #[inline(never)]
    fn each_user_property(&mut self, properties: UserProperties<'_>) {
        for property in properties.iter() {
            let name = Some(property.name.as_bytes());
            self.bytes_property(PropertyId::UserProperty, name);
            self.bytes(property.value.as_bytes());
        }
    }

    #[inline(always)]
    fn subscription_ids(&mut self, ids: SubscriptionIds<'_>) {
        match ids.as_run() {
            Some([]) => {}
            Some(bytes) => self.put(bytes),
            None => self.each_subscription_id(ids),
        }
    }

    #[inline(never)]
    fn each_subscription_id(&mut self, ids: SubscriptionIds<'_>) {
        for id in ids.iter() {
            self.u8(PropertyId::SubscriptionIdentifier.value());
            self.var_int(id.get());
        }
    }
}

impl<S: Sink> PropertySink for S {}

/// Values that more than one packet has.
impl<'a> Reader<'a> {
    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self, id: PropertyId) -> Result<bool, DecodeError> {
        let field = Field::Property(id);
        let start = self.offset();
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(self.error_at(DecodeErrorKind::PropertyValue(value.into()), field, start)),
        }
    }

    /// A number of two bytes that is not 0.
    pub(crate) fn non_zero_u16(
        &mut self,
        id: PropertyId,
    ) -> Result<core::num::NonZeroU16, DecodeError> {
        let field = Field::Property(id);
        let start = self.offset();
        let value = self.u16(field)?;
        core::num::NonZeroU16::new(value)
            .ok_or_else(|| self.error_at(DecodeErrorKind::PropertyValue(0), field, start))
    }

    /// A number of four bytes that is not 0.
    pub(crate) fn non_zero_u32(
        &mut self,
        id: PropertyId,
    ) -> Result<core::num::NonZeroU32, DecodeError> {
        let field = Field::Property(id);
        let start = self.offset();
        let value = self.u32(field)?;
        core::num::NonZeroU32::new(value)
            .ok_or_else(|| self.error_at(DecodeErrorKind::PropertyValue(0), field, start))
    }

    /// A property that the table lets stand here, but the packet has no place for: cannot happen
    /// while the table and the packets agree, and the tests walk through all pairs.
    pub(crate) fn misplaced(&self, id: PropertyId) -> DecodeError {
        self.error(DecodeErrorKind::MisplacedProperty, Field::Property(id))
    }
}
