//! Numbers that are never zero: packet identifiers, topic aliases, subscription identifiers.

use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

use crate::wire::VAR_INT_MAX;

/// A packet identifier, 1 to 65,535.
// [5:MQTT-2.2.1-3] [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-1] Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The lowest identifier, 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);

    /// `None` for 0.
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic alias, 1 to 65,535 (5.0).
// [5:MQTT-3.3.2-8] Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TopicAlias(NonZeroU16);

impl TopicAlias {
    /// The lowest alias, 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);

    /// `None` for 0.
    #[must_use]
    pub const fn new(alias: u16) -> Option<Self> {
        match NonZeroU16::new(alias) {
            Some(alias) => Some(Self(alias)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for TopicAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A subscription identifier, 1 to 268,435,455 (5.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The lowest identifier, 1.
    pub const MIN: Self = Self(NonZeroU32::MIN);

    /// `None` for 0 and above 268,435,455.
    #[must_use]
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) if id.get() <= VAR_INT_MAX => Some(Self(id)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
