//! A packet that was written once, for all who get the same.

use alloc::vec::Vec;
use core::fmt;

use crate::packet::publish::header_flags;
use crate::{Delivery, EncodeError, Message, PacketId, ProtocolVersion};

/// The PUBLISH of one message, written once and copied for each receiver of its version who has nothing of
/// his own in it: of a copy only the first byte and the packet identifier are written anew.
///
/// Unlike [`FanOut`](crate::FanOut) it owns its bytes, payload included, and uses their memory again for the
/// next message.
///
/// ```
/// use mqtt_codec::{Delivery, Message, PacketId, ProtocolVersion, Stencil};
///
/// let v3 = ProtocolVersion::V3_1_1;
/// let (mut stencil, mut output) = (Stencil::new(), Vec::new());
/// let message = Message::new("t", "on")?;
/// stencil.cut(&message, v3, true)?;
/// for (id, dup) in [(1, false), (0x102, true)] {
///     let id = PacketId::new(id).ok_or("0 is none")?;
///     stencil.copy_within(Delivery::AtLeastOnce { id, dup }, false, 1024, &mut output);
/// }
/// assert_eq!(output, b"\x32\x07\0\x01t\0\x01on\x3A\x07\0\x01t\x01\x02on");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `Debug` shows the length of the packet, not the packet.
#[derive(Clone, Default)]
pub struct Stencil {
    /// A whole packet, or nothing.
    bytes: Vec<u8>,
    /// Where it has its packet identifier; 0 when it has none.
    id_at: usize,
}

impl Stencil {
    /// One that has nothing to copy.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            id_at: 0,
        }
    }

    /// Writes the packet that is to be copied, `counted` for receivers above QoS 0.
    ///
    /// # Errors
    ///
    /// [`EncodeError::PacketTooLarge`] when no packet can hold the message. It has nothing to copy then.
    pub fn cut(
        &mut self,
        message: &Message,
        version: ProtocolVersion,
        counted: bool,
    ) -> Result<(), EncodeError> {
        self.bytes.clear();
        self.id_at = 0;
        let (id, dup) = (PacketId::MIN, false);
        let delivery = if counted {
            Delivery::AtLeastOnce { id, dup }
        } else {
            Delivery::AtMostOnce
        };
        message.encode_to(version, delivery, false, &mut self.bytes)?;
        if counted {
            let is_long = |byte: &&u8| **byte >= 0x80;
            let remaining = self.bytes.get(1..).unwrap_or_default();
            let header_len = remaining
                .iter()
                .take_while(is_long)
                .count()
                .saturating_add(2);
            let topic_len = message.topic().as_bytes().len();
            self.id_at = header_len.saturating_add(2).saturating_add(topic_len);
        }
        Ok(())
    }

    /// Appends a copy, if it has at most so many bytes and is of this kind: counted or not. Answers whether
    /// it did.
    #[must_use]
    #[inline]
    pub fn copy_within(
        &mut self,
        delivery: Delivery,
        retain: bool,
        size_max: usize,
        buf: &mut Vec<u8>,
    ) -> bool {
        let id = delivery.id();
        if self.bytes.len() > size_max || id.is_some() != (self.id_at > 0) {
            return false;
        }
        let Some(first) = self.bytes.first_mut() else {
            return false;
        };
        let (packet_type, flags) = header_flags(delivery, retain);
        *first = (packet_type.value() << 4) | flags;
        if let Some(id) = id
            && let Some(place) = self.bytes.get_mut(self.id_at..)
            && let Some(place) = place.first_chunk_mut()
        {
            *place = id.get().to_be_bytes();
        }
        buf.extend_from_slice(&self.bytes);
        true
    }
}

impl fmt::Debug for Stencil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stencil")
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
