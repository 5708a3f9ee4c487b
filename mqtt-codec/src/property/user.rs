//! The properties that may stand more than once.

use super::{PropertyForm, PropertyId};
use crate::list::{Item, List, sealed, take_byte, take_bytes};
use crate::text::Str;
use crate::wire::Reader;
use crate::{DecodeError, DecodeErrorKind, Field, SubscriptionId};

/// A name and a value that mean something to the applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a pair, as the standard has it")]
pub struct UserProperty<'a> {
    /// The name; may stand more than once.
    pub name: Str<'a>,
    /// The value.
    pub value: Str<'a>,
}

/// User properties, in their order.
///
/// ```
/// use mqtt_codec::{Str, UserProperties, UserProperty};
///
/// let pairs = [UserProperty { name: Str::new("unit")?, value: Str::new("celsius")? }];
/// assert_eq!(UserProperties::new(&pairs).iter().next(), Some(pairs[0]));
/// # Ok::<(), mqtt_codec::StrError>(())
/// ```
pub type UserProperties<'a> = List<'a, UserProperty<'a>>;

/// The identifiers of the subscriptions that a message matched.
pub type SubscriptionIds<'a> = List<'a, SubscriptionId>;

impl<'a> List<'a, UserProperty<'a>> {
    /// These user properties.
    #[must_use]
    pub const fn new(pairs: &'a [UserProperty<'a>]) -> Self {
        Self::from_slice(pairs)
    }
}

/// No user properties.
impl<'a> Default for List<'a, UserProperty<'a>> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<'a> List<'a, SubscriptionId> {
    /// These identifiers.
    #[must_use]
    pub const fn new(ids: &'a [SubscriptionId]) -> Self {
        Self::from_slice(ids)
    }
}

/// No identifiers.
impl Default for List<'_, SubscriptionId> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl sealed::Sealed for UserProperty<'_> {}

impl<'a> Item<'a> for UserProperty<'a> {
    fn next(rest: &mut &'a [u8]) -> Option<Self> {
        loop {
            let id = PropertyId::from_value(take_byte(rest)?)?;
            if id == PropertyId::UserProperty {
                let (name, value) = (take_bytes(rest)?, take_bytes(rest)?);
                return Some(UserProperty {
                    name: Str::assume_valid(name),
                    value: Str::assume_valid(value),
                });
            }
            skip_value(id, rest)?;
        }
    }
}

impl sealed::Sealed for SubscriptionId {}

impl<'a> Item<'a> for SubscriptionId {
    fn next(rest: &mut &'a [u8]) -> Option<Self> {
        loop {
            let id = PropertyId::from_value(take_byte(rest)?)?;
            if id == PropertyId::SubscriptionIdentifier {
                return Self::new(take_var_int(rest)?);
            }
            skip_value(id, rest)?;
        }
    }
}

/// Reads and checks one subscription identifier.
pub(crate) fn read_subscription_id(reader: &mut Reader<'_>) -> Result<SubscriptionId, DecodeError> {
    let field = Field::Property(PropertyId::SubscriptionIdentifier);
    let start = reader.offset();
    let value = reader.var_int(field)?;
    SubscriptionId::new(value)
        .ok_or_else(|| reader.error_at(DecodeErrorKind::PropertyValue(value), field, start))
}

/// The next property of a block that was checked before; jumps over its value.
#[cfg(feature = "alloc")]
pub(crate) fn next_property(rest: &mut &[u8]) -> Option<PropertyId> {
    let id = PropertyId::from_value(take_byte(rest)?)?;
    skip_value(id, rest)?;
    Some(id)
}

/// Jumps over a value in a block that was checked before.
fn skip_value(id: PropertyId, rest: &mut &[u8]) -> Option<()> {
    let len = match id.form() {
        PropertyForm::Byte => 1,
        PropertyForm::TwoBytes => 2,
        PropertyForm::FourBytes => 4,
        PropertyForm::VarInt => take_var_int(rest).map(|_| 0)?,
        PropertyForm::Text | PropertyForm::Binary => take_bytes(rest).map(|_| 0)?,
        PropertyForm::Pair => take_bytes(rest).and_then(|_| take_bytes(rest)).map(|_| 0)?,
    };
    *rest = rest.get(len..)?;
    Some(())
}

fn take_var_int(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for shift in [0_u32, 7, 14, 21] {
        let byte = take_byte(rest)?;
        value |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
