//! The versions of MQTT.

use core::fmt;

/// A version of MQTT. Which one is data: there is one packet model for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(
    clippy::exhaustive_enums,
    reason = "every rule of the core depends on which of the two it is"
)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1.
    V3_1_1,
    /// MQTT 5.0.
    V5_0,
}

impl ProtocolVersion {
    /// The level byte of CONNECT: 4 or 5.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::V3_1_1 => 4,
            Self::V5_0 => 5,
        }
    }

    /// The version with a level byte.
    #[must_use]
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            4 => Some(Self::V3_1_1),
            5 => Some(Self::V5_0),
            _ => None,
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5_0 => "5.0",
        })
    }
}
