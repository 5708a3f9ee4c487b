//! Where encoded bytes go. The same code first counts them and then writes them, so that the
//! predicted length and the bytes cannot drift apart.

use crate::PacketType;
use crate::property::{Block5, block_len};

/// Something that takes bytes. It has room for all that was counted before.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Always in the shortest form. The caller has checked the range.
    // [5:MQTT-1.5.5-1]
    fn var_int(&mut self, value: u32) {
        let mut rest = value;
        loop {
            let [low, ..] = (rest & 0x7F).to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                return self.u8(low);
            }
            self.u8(low | 0x80);
        }
    }

    /// The fixed header of a PUBLISH and its topic, in few pieces.
    #[inline(always)]
    fn start(&mut self, packet_type: PacketType, flags: u8, remaining: u32, topic: &[u8]) {
        let first = (packet_type.value() << 4) | flags;
        // A topic has at most 65,535 bytes.
        let [high, low] = u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes();
        let [a, b, ..] = remaining.to_le_bytes();
        if remaining < 0x80 {
            self.put(&[first, a, high, low]);
        } else if remaining < 0x4000 {
            let b = (b << 1) | (a >> 7);
            self.put(&[first, a | 0x80, b, high, low]);
        } else {
            self.u8(first);
            self.var_int(remaining);
            self.put(&[high, low]);
        }
        self.put(topic);
    }

    /// A property block with its length in front.
    fn block(&mut self, block: &impl Block5)
    where
        Self: Sized,
    {
        self.var_int(u32::try_from(block_len(block)).unwrap_or(u32::MAX));
        block.write(self);
    }

    /// Bytes with their length in front. Types see to it that they are at most 65,535.
    fn bytes(&mut self, bytes: &[u8]) {
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.u16(len);
        self.put(bytes.get(..len.into()).unwrap_or_default());
    }
}

/// Bytes of a variable byte integer.
pub(crate) const fn var_int_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    pub(crate) len: usize,
}

impl Sink for Counter {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len());
    }

    fn var_int(&mut self, value: u32) {
        self.len = self.len.saturating_add(var_int_len(value));
    }

    /// Counted once, for its length and for itself.
    fn block(&mut self, block: &impl Block5) {
        let len = block_len(block);
        self.var_int(u32::try_from(len).unwrap_or(u32::MAX));
        self.len = self.len.saturating_add(len);
    }
}

/// Writes into a slice.
#[derive(Debug)]
pub(crate) struct SliceWriter<'b> {
    rest: &'b mut [u8],
}

impl<'b> SliceWriter<'b> {
    pub(crate) fn new(buf: &'b mut [u8]) -> Self {
        Self { rest: buf }
    }
}

impl Sink for SliceWriter<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let rest = core::mem::take(&mut self.rest);
        if let Some((room, rest)) = rest.split_at_mut_checked(bytes.len()) {
            room.copy_from_slice(bytes);
            self.rest = rest;
        }
    }
}

/// Writes into a growable buffer, or one with room for what was counted.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub(crate) struct BufWriter<'b, B>(pub(crate) &'b mut B);

#[cfg(feature = "alloc")]
impl<B: bytes::BufMut> Sink for BufWriter<'_, B> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }
}
