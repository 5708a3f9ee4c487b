//! Numbers found by a hash: a table that grows and shrinks one piece at a time.

use alloc::vec::Vec;

use hashbrown::HashTable;

use super::cow::Shared;
use super::slab::Id;

/// Numbers in a piece, on average, before one more piece is made.
const PIECE_LEN: usize = 384;

/// Numbers of entries that somebody else holds, found by the hash of the entry.
///
/// The pieces are filled by linear hashing: one more piece takes over half of the numbers of one
/// other, so that no call moves more than those. Which number is in which piece is nobody's
/// business: nothing that a caller sees depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdTable {
    pieces: Vec<Shared<HashTable<Id>>>,
    /// One less than the next power of two of the number of pieces.
    mask: usize,
    len: usize,
    bytes: usize,
}

/// A counted reference has two counters in front, and a table in it.
const SHARED_LEN: usize = 2 * size_of::<usize>() + size_of::<HashTable<Id>>();

impl IdTable {
    pub(crate) const fn new() -> Self {
        Self {
            pieces: Vec::new(),
            mask: 0,
            len: 0,
            bytes: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Id) -> bool) -> Option<Id> {
        let piece = self.pieces.get(self.piece_of(hash))?;
        piece.find(hash, |id| is_it(*id)).copied()
    }

    /// Inserts a number that is not there; `hash_of` gives the hash of each that is.
    pub(crate) fn insert(&mut self, hash: u64, id: Id, hash_of: impl Fn(Id) -> u64) {
        if self.len >= self.pieces.len().saturating_mul(PIECE_LEN) {
            self.split(&hash_of);
        }
        self.put(hash, id, &hash_of);
    }

    pub(crate) fn remove(&mut self, hash: u64, id: Id, hash_of: impl Fn(Id) -> u64) {
        let at = self.piece_of(hash);
        let Some(piece) = self.pieces.get_mut(at) else {
            return;
        };
        let piece = Shared::make_mut(piece);
        let Ok(found) = piece.find_entry(hash, |found| *found == id) else {
            return;
        };
        found.remove();
        self.len = self.len.saturating_sub(1);
        if piece.len() < piece.capacity() / 4 {
            let before = piece.allocation_size();
            piece.shrink_to(piece.len(), |id| hash_of(*id));
            let less = before.saturating_sub(piece.allocation_size());
            self.bytes = self.bytes.saturating_sub(less);
        }
        // Well below where the last piece was made, so that it is not made again at once.
        let fewer = self.pieces.len().saturating_sub(1);
        if self.len <= fewer.saturating_mul(PIECE_LEN) / 2 {
            self.merge(&hash_of);
        }
    }

    /// Bytes that it holds.
    pub(crate) const fn bytes(&self) -> usize {
        let pieces = self
            .pieces
            .capacity()
            .saturating_mul(size_of::<Shared<()>>());
        self.bytes.saturating_add(pieces)
    }

    /// The piece for a hash: by bits that the pieces themselves do not use.
    #[inline]
    fn piece_of(&self, hash: u64) -> usize {
        let [_, _, a, b, c, d, ..] = hash.to_le_bytes();
        let bits = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(0);
        let place = bits & self.mask;
        if place < self.pieces.len() {
            place
        } else {
            place & (self.mask >> 1)
        }
    }

    fn set_mask(&mut self) {
        self.mask = self.pieces.len().next_power_of_two().wrapping_sub(1);
    }

    /// Makes one more piece, of half of another one.
    fn split(&mut self, hash_of: &impl Fn(Id) -> u64) {
        let new = self.pieces.len();
        self.pieces.push(Shared::new(HashTable::new()));
        self.bytes = self.bytes.saturating_add(SHARED_LEN);
        self.set_mask();
        if let Some(other) = buddy(new) {
            self.refill(other, hash_of);
        }
    }

    /// Gives the numbers of the last piece back to where they came from.
    fn merge(&mut self, hash_of: &impl Fn(Id) -> u64) {
        let Some(last) = self.pieces.pop() else {
            return;
        };
        self.set_mask();
        self.bytes = self
            .bytes
            .saturating_sub(SHARED_LEN.saturating_add(last.allocation_size()));
        for id in last.iter() {
            self.len = self.len.saturating_sub(1);
            self.put(hash_of(*id), *id, hash_of);
        }
        if self.pieces.len() <= self.pieces.capacity() / 4 {
            self.pieces.shrink_to_fit();
        }
    }

    /// Takes all numbers out of a piece and puts them where they belong now.
    fn refill(&mut self, at: usize, hash_of: &impl Fn(Id) -> u64) {
        let Some(piece) = self.pieces.get_mut(at) else {
            return;
        };
        let old = core::mem::replace(piece, Shared::new(HashTable::new()));
        self.bytes = self.bytes.saturating_sub(old.allocation_size());
        for id in old.iter() {
            self.len = self.len.saturating_sub(1);
            self.put(hash_of(*id), *id, hash_of);
        }
    }

    fn put(&mut self, hash: u64, id: Id, hash_of: &impl Fn(Id) -> u64) {
        let at = self.piece_of(hash);
        if let Some(piece) = self.pieces.get_mut(at) {
            let piece = Shared::make_mut(piece);
            let before = piece.allocation_size();
            piece.insert_unique(hash, id, |id| hash_of(*id));
            let more = piece.allocation_size().saturating_sub(before);
            self.bytes = self.bytes.saturating_add(more);
            self.len = self.len.saturating_add(1);
        }
    }
}

/// The piece that a new one takes its numbers from.
fn buddy(new: usize) -> Option<usize> {
    let highest = 1_usize.checked_shl(new.checked_ilog2()?)?;
    new.checked_sub(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(id: Id) -> u64 {
        u64::from(id.get()).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn ids(len: u32) -> impl Iterator<Item = Id> + Clone {
        let mut next = Id::FIRST;
        (0..len).map(move |_| {
            let id = next;
            next = next.next();
            id
        })
    }

    /// No piece ever has more than a few times the others, and memory follows the number.
    #[test]
    fn it_grows_and_shrinks_piece_by_piece() {
        const LEN: u32 = if cfg!(miri) { 2_000 } else { 20_000 };
        let mut table = IdTable::new();
        for id in ids(LEN) {
            assert_eq!(table.find(hash(id), |held| held == id), None);
            table.insert(hash(id), id, hash);
            assert_eq!(table.find(hash(id), |held| held == id), Some(id));
        }
        let len = usize::try_from(LEN).unwrap();
        assert_eq!(
            (table.len, table.pieces.len()),
            (len, len.div_ceil(PIECE_LEN))
        );
        let lens: Vec<_> = table.pieces.iter().map(|piece| piece.len()).collect();
        assert!(lens.iter().all(|len| *len < 4 * PIECE_LEN), "{lens:?}");
        assert_eq!(lens.iter().sum::<usize>(), len);
        let held = |table: &IdTable| -> usize {
            let pieces = table.pieces.iter();
            pieces
                .map(|piece| piece.allocation_size() + SHARED_LEN)
                .sum()
        };
        assert_eq!(table.bytes, held(&table));
        assert!(table.bytes() >= table.bytes + 8 * table.pieces.len());

        let (mut left, full) = (len, table.bytes());
        for id in ids(LEN) {
            assert_eq!(table.find(hash(id), |held| held == id), Some(id));
            table.remove(hash(id), id, hash);
            table.remove(hash(id), id, hash);
            left -= 1;
            assert_eq!(table.len, left, "removed once");
            assert_eq!(table.bytes, held(&table));
            if left == len / 4 {
                assert!(table.bytes() < full / 2, "{} of {full}", table.bytes());
            }
        }
        assert_eq!((table.pieces.len(), table.bytes()), (0, 0));
    }

    /// At the border between two sizes, nothing is made and thrown away at each call.
    #[test]
    fn it_does_not_waver() {
        let mut table = IdTable::new();
        let many = u32::try_from(3 * PIECE_LEN).unwrap();
        ids(many + 1).for_each(|id| table.insert(hash(id), id, hash));
        let pieces = table.pieces.len();
        let last = ids(many + 1).last().unwrap();
        for _ in 0..5 {
            table.remove(hash(last), last, hash);
            assert_eq!(table.pieces.len(), pieces);
            table.insert(hash(last), last, hash);
            assert_eq!(table.pieces.len(), pieces);
        }
    }
}
