//! Where encoded bytes go. The same code first counts them and then writes them, so that the
//! predicted length and the bytes cannot drift apart.

use crate::PacketType;
use crate::property::{Block5, block_len};

/// A fixed header, which is written together with what is behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(super) first: u8,
    pub(super) remaining: u32,
}

impl Header {
    #[inline]
    pub(crate) const fn new(packet_type: PacketType, flags: u8, remaining: u32) -> Self {
        Self {
            first: (packet_type.value() << 4) | flags,
            remaining,
        }
    }

    /// For counting, which leaves it out.
    pub(crate) const NONE: Self = Self {
        first: 0,
        remaining: 0,
    };
}

/// Something that takes bytes. It has room for all that was counted before.
///
/// A growing buffer looks at its room with every piece, so what has a fixed length goes in one
/// piece with its neighbours.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    /// As [`put`](Self::put), for what is often short: a topic, a name.
    #[inline(always)]
    fn put_short(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }

    #[inline(always)]
    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// The fixed header of a packet that may have nothing behind it.
    #[inline(always)]
    fn header(&mut self, header: Header) {
        let Header { first, remaining } = header;
        let [a, ..] = remaining.to_le_bytes();
        if remaining < 0x80 {
            return self.put(&[first, a]);
        }
        self.u8(first);
        self.var_int(remaining);
    }

    /// The fixed header and the first two bytes behind it.
    #[inline(always)]
    fn start(&mut self, header: Header, [c, d]: [u8; 2]) {
        let Header { first, remaining } = header;
        let [a, ..] = remaining.to_le_bytes();
        let [b, ..] = (remaining >> 7).to_le_bytes();
        // What nearly all packets are is one piece.
        if remaining < 0x80 {
            return self.put(&[first, a, c, d]);
        }
        if remaining < 0x4000 {
            return self.put(&[first, a | 0x80, b, c, d]);
        }
        let last = if remaining < 0x20_0000 {
            let [high, ..] = (remaining >> 14).to_le_bytes();
            self.u8(first);
            self.u8(a | 0x80);
            [b | 0x80, high, c, d]
        } else {
            let [[third, ..], [high, ..]] =
                [remaining >> 14, remaining >> 21].map(u32::to_le_bytes);
            self.u8(first);
            self.u8(a | 0x80);
            self.u8(b | 0x80);
            [third | 0x80, high, c, d]
        };
        self.put(&last);
    }

    /// Always in the shortest form. The caller has checked the range.
    // [5:MQTT-1.5.5-1]
    #[inline]
    fn var_int(&mut self, value: u32) {
        // Seven bits in each byte; the eighth says that there is another.
        let [[a, ..], [b, ..], [c, ..], [d, ..]] =
            [value, value >> 7, value >> 14, value >> 21].map(u32::to_le_bytes);
        match value {
            0..0x80 => self.put(&[a]),
            0x80..0x4000 => self.put(&[a | 0x80, b]),
            0x4000..0x20_0000 => self.put(&[a | 0x80, b | 0x80, c]),
            _ => self.put(&[a | 0x80, b | 0x80, c | 0x80, d]),
        }
    }

    /// A property block with its length in front.
    #[inline]
    fn block(&mut self, block: &impl Block5)
    where
        Self: Sized,
    {
        self.var_int(u32::try_from(block_len(block)).unwrap_or(u32::MAX));
        block.write(self);
    }

    /// Bytes with their length in front. Types see to it that they are at most 65,535.
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.put(&length(bytes));
        self.put_short(bytes);
    }
}

/// The length in front of bytes, of which the types allow at most 65,535.
#[inline]
pub(crate) fn length(bytes: &[u8]) -> [u8; 2] {
    debug_assert!(u16::try_from(bytes.len()).is_ok(), "too long for its type");
    let [low, high, ..] = bytes.len().to_le_bytes();
    [high, low]
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

/// Counts everything but the fixed header.
///
/// Every byte that is counted is in memory, but a list may name the same bytes for each of its
/// entries: 64 bits are enough for whatever fits into an address space.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    pub(crate) len: u64,
}

impl Counter {
    #[inline]
    fn add(&mut self, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.len = self.len.wrapping_add(len);
    }
}

impl Sink for Counter {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        self.add(bytes.len());
    }

    #[inline(always)]
    fn header(&mut self, _header: Header) {}

    #[inline(always)]
    fn start(&mut self, _header: Header, then: [u8; 2]) {
        self.put(&then);
    }

    #[inline]
    fn var_int(&mut self, value: u32) {
        self.add(var_int_len(value));
    }

    /// Counted once, for its length and for itself.
    #[inline]
    fn block(&mut self, block: &impl Block5) {
        let len = block_len(block);
        self.var_int(u32::try_from(len).unwrap_or(u32::MAX));
        self.len = self.len.wrapping_add(len);
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

impl<'b> SliceWriter<'b> {
    #[inline(always)]
    fn room(&mut self, len: usize) -> Option<&'b mut [u8]> {
        let (room, rest) = core::mem::take(&mut self.rest).split_at_mut_checked(len)?;
        self.rest = rest;
        Some(room)
    }
}

impl Sink for SliceWriter<'_> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    #[inline(always)]
    fn put_short(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len()) {
            let is_copied = bytes.len() <= 32 && copy_ends::<16>(room, bytes);
            if !is_copied && room.len() == bytes.len() {
                room.copy_from_slice(bytes);
            }
        }
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        let room = self.room(bytes.len().saturating_add(2));
        let Some((front, behind)) = room.and_then(<[u8]>::split_first_chunk_mut) else {
            return;
        };
        *front = length(bytes);
        let is_copied =
            bytes.len() <= 32 && (copy_ends::<16>(behind, bytes) || copy_ends::<8>(behind, bytes));
        if !is_copied && behind.len() == bytes.len() {
            behind.copy_from_slice(bytes);
        }
    }
}

/// Copies the first and the last `N` bytes, which may overlap: up to twice as many, that costs less
/// than a call. Answers whether there are so many.
#[inline(always)]
fn copy_ends<const N: usize>(room: &mut [u8], bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
        return false;
    };
    if let Some(front) = room.first_chunk_mut() {
        *front = *first;
    }
    if let Some(back) = room.last_chunk_mut() {
        *back = *last;
    }
    true
}

/// Writes behind what a vector has, where there is room.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub(crate) struct VecWriter<'b>(pub(crate) &'b mut alloc::vec::Vec<u8>);

#[cfg(feature = "alloc")]
impl Sink for VecWriter<'_> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
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
