//! How a PUBLISH is delivered: QoS, packet identifier and DUP, which depend on each other.

use crate::wire::Reader;
use crate::{DecodeError, PacketId, QoS};

/// How a PUBLISH is delivered. A packet identifier and DUP exist only above QoS 0.
// [5:MQTT-2.2.1-2] [3:MQTT-2.3.1-5] [5:MQTT-3.3.1-2] [3:MQTT-3.3.1-2]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(clippy::exhaustive_enums, reason = "the standard has these three")]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// Comes back in PUBACK.
        id: PacketId,
        /// Sent before.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// Comes back in PUBREC.
        id: PacketId,
        /// Sent before.
        dup: bool,
    },
}

impl Delivery {
    /// The QoS.
    #[must_use]
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// The packet identifier; `None` at QoS 0.
    #[must_use]
    pub const fn id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { id, .. } | Self::ExactlyOnce { id, .. } => Some(id),
        }
    }

    /// Reads the packet identifier that the flags in the first byte announce.
    #[inline(always)]
    pub(crate) fn read(flags: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dup = flags & 0b1000 != 0;
        Ok(match flags & 0b0110 {
            0 => Self::AtMostOnce,
            0b0010 => Self::AtLeastOnce {
                id: reader.packet_id()?,
                dup,
            },
            // QoS 3 was refused with the first byte.
            _ => Self::ExactlyOnce {
                id: reader.packet_id()?,
                dup,
            },
        })
    }

    /// Whether it was sent before.
    #[must_use]
    pub const fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }
}
