//! What was written for one receiver, for others who get the same.

use alloc::vec::Vec;

use mqtt_codec::{Delivery, Message, ProtocolVersion, Stencil};

/// The last message that many got, as the packets that there are of it.
#[derive(Debug, Default)]
pub(crate) struct Written {
    v3: Cut,
    v3_counted: Cut,
    v5: Cut,
    v5_counted: Cut,
}

/// One packet.
#[derive(Debug, Default)]
struct Cut {
    /// The number of its message; 0 is none.
    of: u64,
    stencil: Stencil,
}

impl Written {
    /// A packet is kept of a message up to so many bytes: with larger ones it is the copying that takes the
    /// time.
    pub(crate) const LEN_MAX: usize = 4096;

    /// Appends the PUBLISH of a message that is known by this number, as long as it is kept, and has no
    /// properties; if it has at most so many bytes. Answers whether it did.
    #[inline(always)]
    pub(super) fn write(
        &mut self,
        (number, message): (u64, &Message),
        version: ProtocolVersion,
        (delivery, retain): (Delivery, bool),
        size_max: usize,
        buf: &mut Vec<u8>,
    ) -> bool {
        let is_counted = delivery.id().is_some();
        let cut = match (version, is_counted) {
            (ProtocolVersion::V3_1_1, false) => &mut self.v3,
            (ProtocolVersion::V3_1_1, true) => &mut self.v3_counted,
            (ProtocolVersion::V5_0, false) => &mut self.v5,
            (ProtocolVersion::V5_0, true) => &mut self.v5_counted,
        };
        if cut.of != number && !cut.anew(number, message, version, is_counted) {
            return false;
        }
        cut.stencil.copy_within(delivery, retain, size_max, buf)
    }
}

impl Cut {
    /// Another message. Answers whether its packet can be kept.
    #[cold]
    #[inline(never)]
    fn anew(
        &mut self,
        number: u64,
        message: &Message,
        version: ProtocolVersion,
        is_counted: bool,
    ) -> bool {
        self.of = 0;
        let is_kept = message.len_held() <= Written::LEN_MAX
            && self.stencil.cut(message, version, is_counted).is_ok();
        if is_kept {
            self.of = number;
        }
        is_kept
    }
}
