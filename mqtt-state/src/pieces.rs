//! Output in pieces, so that a large payload goes to the transport from where it is.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};
use mqtt_codec::Message;

/// A payload of so many bytes or more is handed out as it is; copying less costs less than one more
/// piece.
pub(crate) const SHARED_MIN: usize = 4096;

/// What [`poll_transmit_vectored`](crate::client::Client::poll_transmit_vectored) hands out: small
/// packets and the heads of large ones in a buffer, and between them the payloads of 4,096 bytes and
/// more, which are shared instead of copied.
///
/// The caller owns it, writes from it with [`Buf`], and uses it again: emptied, it keeps its room.
/// With the feature `std` its [`chunks_vectored`](Buf::chunks_vectored) shows all pieces, so that a
/// transport with gather writes takes many in one call; `AsyncWriteExt::write_buf` of tokio does that
/// by itself.
///
/// ```
/// use bytes::Buf as _;
/// use mqtt_codec::{Connect, Message, ProtocolVersion, Str};
/// use mqtt_state::client::{Client, Config};
/// use mqtt_state::{Pieces, Timestamp};
///
/// let (now, mut client) = (Timestamp::ZERO, Client::new(Config::default()));
/// client.connect(now, &Connect::new(ProtocolVersion::V3_1_1, Str::new("camera")?))?;
/// let mut output = Pieces::new();
/// let _idle = client.poll_transmit_vectored(now, usize::MAX, &mut output);
/// output.advance(output.remaining());
/// let _all = client.handle_input(now, &[0x20, 2, 0, 0]);
///
/// let picture = bytes::Bytes::from(vec![7; 100_000]);
/// client.publish(now, Message::new("door/picture", picture.clone())?)?;
/// let _idle = client.poll_transmit_vectored(now, usize::MAX, &mut output);
///
/// let pieces: Vec<&[u8]> = output.chunks().collect();
/// assert_eq!(pieces[0], b"\x30\xAE\x8D\x06\0\x0Cdoor/picture");
/// assert_eq!(pieces[1].as_ptr(), picture.as_ptr(), "not a copy");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `Debug` shows how much there is, not what.
#[derive(Clone, Default)]
pub struct Pieces {
    /// Whatever is copied. The first `start` bytes are gone.
    bytes: Vec<u8>,
    start: usize,
    shared: VecDeque<Shared>,
    /// Of the payloads in `shared`.
    shared_len: usize,
}

/// A payload that stands in front of the byte with this number of `bytes`.
#[derive(Clone)]
struct Shared {
    at: usize,
    payload: Bytes,
}

impl Pieces {
    /// Without any; it allocates nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            shared: VecDeque::new(),
            shared_len: 0,
        }
    }

    /// How many bytes are left, in all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        let copied = self.bytes.len().saturating_sub(self.start);
        copied.saturating_add(self.shared_len)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces that are left, in order; none of them is empty.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let behind = self.shared.iter().skip(1).map(|shared| shared.at);
        let starts = { self.shared.iter() }.map(|shared| shared.at);
        let ends = behind.chain([self.bytes.len()]);
        let first_end = self.shared.front().map_or(self.bytes.len(), |it| it.at);
        let first = self.bytes.get(self.start..first_end).unwrap_or_default();
        let others = { self.shared.iter() }.zip(starts.zip(ends));
        let others = others.flat_map(|(shared, (start, end))| {
            let copied = self.bytes.get(start..end).unwrap_or_default();
            [&*shared.payload, copied]
        });
        [first]
            .into_iter()
            .chain(others)
            .filter(|piece| !piece.is_empty())
    }

    /// Throws away what is left.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
        (self.start, self.shared_len) = (0, 0);
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        let end = self.shared.front().map_or(self.bytes.len(), |it| it.at);
        match (self.bytes.get(self.start..end), self.shared.front()) {
            (Some([]) | None, Some(shared)) => &shared.payload,
            (copied, _) => copied.unwrap_or_default(),
        }
    }

    /// So many bytes are written; at most as many as there are.
    fn advance(&mut self, count: usize) {
        let mut left = count;
        while let Some(first) = self.shared.front_mut() {
            let copied = first.at.saturating_sub(self.start).min(left);
            self.start = self.start.saturating_add(copied);
            left = left.saturating_sub(copied);
            if self.start < first.at {
                return;
            }
            let taken = first.payload.len().min(left);
            first.payload.advance(taken);
            self.shared_len = self.shared_len.saturating_sub(taken);
            left = left.saturating_sub(taken);
            if !first.payload.is_empty() {
                return;
            }
            self.shared.pop_front();
        }
        self.start = self.start.saturating_add(left).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, room: &mut [std::io::IoSlice<'a>]) -> usize {
        let pieces = self.chunks().zip(room.iter_mut());
        pieces
            .map(|(piece, place)| *place = std::io::IoSlice::new(piece))
            .count()
    }
}

impl core::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pieces")
            .field("len", &self.len())
            .field("shared", &self.shared.len())
            .finish()
    }
}

/// Where output goes.
pub(crate) trait Output {
    /// Bytes that are there.
    fn len(&self) -> usize;

    /// Whether the payload of a message is taken as it is.
    fn shares(&self, message: &Message) -> bool;

    /// Where all that is copied goes.
    fn copied(&mut self) -> &mut Vec<u8>;

    /// Takes a payload, behind what was copied before.
    fn share(&mut self, payload: Bytes);
}

impl Output for Vec<u8> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn shares(&self, _message: &Message) -> bool {
        false
    }

    #[inline(always)]
    fn copied(&mut self) -> &mut Self {
        self
    }

    fn share(&mut self, payload: Bytes) {
        self.extend_from_slice(&payload);
    }
}

impl Output for Pieces {
    #[inline]
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn shares(&self, message: &Message) -> bool {
        message.payload().len() >= SHARED_MIN
    }

    #[inline]
    fn copied(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    fn share(&mut self, payload: Bytes) {
        self.shared_len = self.shared_len.saturating_add(payload.len());
        let at = self.bytes.len();
        self.shared.push_back(Shared { at, payload });
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use std::format;

    use super::*;

    fn pieces() -> Pieces {
        let mut pieces = Pieces::new();
        pieces.copied().extend_from_slice(b"ab");
        pieces.share(Bytes::from_static(b"CDE"));
        pieces.share(Bytes::from_static(b"F"));
        pieces.copied().extend_from_slice(b"g");
        pieces.share(Bytes::from_static(b"H"));
        pieces
    }

    #[test]
    fn bytes_come_in_order_whatever_is_taken_at_a_time() {
        for step in 1..=9 {
            let mut pieces = pieces();
            let mut taken = Vec::new();
            while pieces.has_remaining() {
                let all: Vec<u8> = pieces.chunks().flatten().copied().collect();
                assert_eq!((all.len(), &all[0]), (pieces.len(), &pieces.chunk()[0]));
                let count = step.min(all.len());
                taken.extend_from_slice(&all[..count]);
                pieces.advance(count);
            }
            assert_eq!(taken, b"abCDEFgH", "{step} at a time");
            assert_eq!((pieces.start, pieces.bytes.len()), (0, 0), "room is kept");
        }
    }

    #[test]
    fn there_are_as_many_pieces_as_were_put_in() {
        let pieces = pieces();
        let all: Vec<_> = pieces.chunks().collect();
        assert_eq!(all, [&b"ab"[..], b"CDE", b"F", b"g", b"H"]);
        let mut begun = pieces.clone();
        begun.advance(3);
        assert_eq!(begun.chunks().next(), Some(&b"DE"[..]));
        begun.clear();
        assert!(begun.is_empty() && begun.chunks().next().is_none());
    }

    #[test]
    fn more_can_be_put_behind_what_is_half_written() {
        let mut pieces = pieces();
        pieces.advance(6);
        pieces.copied().extend_from_slice(b"i");
        assert_eq!(pieces.chunks().collect::<Vec<_>>().concat(), b"gHi");
        pieces.advance(99);
        assert!(pieces.is_empty(), "no more than there is");
    }

    #[test]
    fn what_is_written_at_once_is_every_piece_that_has_room() {
        let pieces = pieces();
        for room in 0..=7 {
            let mut places = vec![std::io::IoSlice::new(&[]); room];
            let count = pieces.chunks_vectored(&mut places);
            assert_eq!(count, room.min(5));
            let all: Vec<u8> = places.iter().flat_map(|place| place.to_vec()).collect();
            let expected: Vec<u8> = pieces.chunks().take(room).flatten().copied().collect();
            assert_eq!(all, expected, "{room}");
        }
        assert_eq!(format!("{pieces:?}"), "Pieces { len: 8, shared: 3 }");
    }
}
