//! Packets on their way to a transport.

use alloc::vec::Vec;
use core::fmt;

use crate::wire::{Room, Sink as _, SliceWriter, Within};
use crate::{EncodeError, Packet, PlainAck, ProtocolVersion, Publish};

/// Encoded packets, one behind the other, until a transport has taken them.
///
/// It grows as a `Vec<u8>` does and keeps its room in the same way, but it looks at that room once
/// for each packet and not with each of its pieces, which makes it the fastest place to encode to
/// that grows.
///
/// ```
/// use mqtt_codec::{Packet, PacketBuf, ProtocolVersion};
///
/// let mut output = PacketBuf::new();
/// output.push(&Packet::PingReq, ProtocolVersion::V5_0)?;
/// output.push(&Packet::PingReq, ProtocolVersion::V5_0)?;
/// assert_eq!(output.as_bytes(), [0xC0, 0, 0xC0, 0]);
///
/// // The transport has taken three bytes.
/// output.consume(3);
/// assert_eq!(output.as_bytes(), [0]);
/// # Ok::<(), mqtt_codec::EncodeError>(())
/// ```
///
/// `Debug` shows how much there is, not what: a CONNECT has a password in it.
#[derive(Clone, Default)]
pub struct PacketBuf {
    /// Bytes that wait from `start` to `end`; whatever is behind them was written once, or is zero.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl PacketBuf {
    /// An empty one, which allocates nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            end: 0,
        }
    }

    /// An empty one with room for so many bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: alloc::vec![0; capacity],
            ..Self::new()
        }
    }

    /// Appends a packet; answers how many bytes that were.
    ///
    /// # Errors
    ///
    /// As [`Packet::encoded_len`]. Nothing has been written then.
    #[inline(always)]
    pub fn push(
        &mut self,
        packet: &Packet<'_>,
        version: ProtocolVersion,
    ) -> Result<usize, EncodeError> {
        self.push_within(packet, version, usize::MAX)
    }

    /// Appends a packet of at most so many bytes; answers how many they were.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and [`EncodeError::PacketTooLarge`] for one that has more.
    #[inline(always)]
    pub fn push_within(
        &mut self,
        packet: &Packet<'_>,
        version: ProtocolVersion,
        size_max: usize,
    ) -> Result<usize, EncodeError> {
        let room = self;
        packet.encode_into(version, &mut Within { room, size_max })
    }

    /// Appends an acknowledgement.
    #[inline]
    pub fn push_ack(&mut self, ack: PlainAck) {
        // Room for four bytes is there or is made.
        if let Ok(mut room) = self.take(4) {
            room.put(&ack.to_bytes());
        }
    }

    /// Appends everything in front of the payload of a PUBLISH; answers how many bytes that were.
    /// The payload is the caller's to send behind it.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_head(
        &mut self,
        publish: &Publish<'_>,
        version: ProtocolVersion,
    ) -> Result<usize, EncodeError> {
        publish.encode_head_into(version, publish.payload.len(), self)
    }

    /// What waits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether no bytes wait.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes away so many bytes from the front, or all there are.
    pub fn consume(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes away bytes from the end, so that no more than `len` wait.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start.saturating_add(len));
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes away all bytes, and keeps their room.
    pub const fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// How many bytes it has room for, with those that wait.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives room back, down to `capacity` bytes or what is needed for those that wait.
    #[inline]
    pub fn shrink_to(&mut self, capacity: usize) {
        if self.bytes.capacity() > capacity {
            self.shrink(capacity);
        }
    }

    #[cold]
    fn shrink(&mut self, capacity: usize) {
        self.move_to_front();
        self.bytes.truncate(capacity.max(self.end));
        self.bytes.shrink_to(capacity);
    }

    fn move_to_front(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end = self.len();
            self.start = 0;
        }
    }

    /// Room that is there.
    #[inline(always)]
    fn take_spare(&mut self, needed: usize) -> SliceWriter<'_> {
        let spare = self.bytes.get_mut(self.end..).unwrap_or_default();
        let room = spare.get_mut(..needed).unwrap_or_default();
        // No more than the length of the room that was found.
        self.end = self.end.wrapping_add(room.len());
        SliceWriter::new(room)
    }

    /// Room that has to be made.
    #[cold]
    #[inline(never)]
    fn take_grown(&mut self, needed: usize) -> SliceWriter<'_> {
        self.move_to_front();
        let len = self.end.saturating_add(needed);
        let twice = self.bytes.len().saturating_mul(2);
        // What was moved to the front is less than half of the room, or else there is more room
        // now: either way nothing is moved again before as much has been written.
        if len > self.bytes.len() / 2 {
            self.bytes.resize(len.max(twice), 0);
        }
        self.take_spare(needed)
    }
}

impl Room for PacketBuf {
    type Out<'r> = SliceWriter<'r>;

    #[inline(always)]
    fn take(&mut self, needed: usize) -> Result<SliceWriter<'_>, EncodeError> {
        let spare = self.bytes.len().checked_sub(self.end);
        if spare.is_none_or(|spare| spare < needed) {
            return Ok(self.take_grown(needed));
        }
        Ok(self.take_spare(needed))
    }
}

impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketBuf")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish()
    }
}
