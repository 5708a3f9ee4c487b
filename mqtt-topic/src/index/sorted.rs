//! Many entries in order, in pieces.

use core::cmp::Ordering;

use super::cow::{Run, Shared};

/// Entries of one piece: as many are moved by a change at most.
const PIECE_LEN: usize = 256;

/// Entries in the order that the caller's comparisons give them. No piece is empty.
#[derive(Debug)]
pub(crate) struct Sorted<T> {
    pieces: Run<Shared<Run<T>>>,
    len: usize,
    bytes: usize,
}

/// Where an entry is, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    piece: usize,
    at: usize,
}

/// A counted reference has two counters in front, and a vector in it.
const SHARED_LEN: usize = 5 * size_of::<usize>();

impl<T> Sorted<T> {
    pub(crate) const fn new() -> Self {
        Self {
            pieces: Run::new(),
            len: 0,
            bytes: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it holds, those of entries on the heap apart.
    pub(crate) const fn bytes(&self) -> usize {
        let pieces = self
            .pieces
            .capacity()
            .saturating_mul(size_of::<Shared<()>>());
        self.bytes.saturating_add(pieces)
    }

    /// The place of the entry that compares as equal, or where it would be.
    pub(crate) fn search(&self, mut compare: impl FnMut(&T) -> Ordering) -> Result<Place, Place> {
        // The last piece that does not begin behind it.
        let behind = self.pieces.partition_point(|piece| {
            piece
                .first()
                .is_some_and(|first| compare(first) != Ordering::Greater)
        });
        let piece = behind.saturating_sub(1);
        let entries = self
            .pieces
            .get(piece)
            .map_or(&[][..], |piece| piece.as_slice());
        match entries.binary_search_by(compare) {
            Ok(at) => Ok(Place { piece, at }),
            Err(at) => Err(Place { piece, at }),
        }
    }

    pub(crate) fn get(&self, place: Place) -> Option<&T> {
        self.pieces.get(place.piece)?.get(place.at)
    }

    /// The entry with so many in front of it. Counts by pieces.
    pub(crate) fn nth(&self, mut nth: usize) -> Option<&T> {
        for piece in self.pieces.iter() {
            match piece.get(nth) {
                Some(entry) => return Some(entry),
                None => nth = nth.checked_sub(piece.len())?,
            }
        }
        None
    }

    /// All entries, as slices.
    pub(crate) fn slices(&self) -> Slices<'_, T> {
        Slices {
            pieces: self.pieces.iter(),
        }
    }

    /// Entries from the first that does not compare as less.
    pub(crate) fn from(&self, mut compare: impl FnMut(&T) -> Ordering) -> From<'_, T> {
        // Never equal, so that the place is in front of all that are not less.
        let found = self.search(|entry| match compare(entry) {
            Ordering::Less => Ordering::Less,
            Ordering::Equal | Ordering::Greater => Ordering::Greater,
        });
        let Place { piece, at } = found.unwrap_or_else(|place| place);
        let entries = self.pieces.get(piece).and_then(|piece| piece.get(at..));
        From {
            entries: entries.unwrap_or_default().iter(),
            pieces: self
                .pieces
                .get(piece.saturating_add(1)..)
                .unwrap_or_default()
                .iter(),
        }
    }
}

impl<T> Sorted<T> {
    /// Entries from the first on that is not `before`, as slices: what is left of its piece, and the
    /// pieces behind.
    pub(crate) fn slices_from(&self, before: impl Fn(&T) -> bool) -> (&[T], Slices<'_, T>) {
        let is_before = |piece: &Shared<Run<T>>| piece.last().is_some_and(&before);
        let piece = self.pieces.partition_point(is_before);
        let mut pieces = self.pieces.get(piece..).unwrap_or_default().iter();
        let entries = pieces.next().map_or(&[][..], |piece| piece.as_slice());
        let first = entries.get(entries.partition_point(before)..);
        (first.unwrap_or_default(), Slices { pieces })
    }
}

impl<T: Clone> Sorted<T> {
    /// Puts an entry that is not there where `compare` says.
    pub(crate) fn put(&mut self, entry: T, compare: impl FnMut(&T) -> Ordering) {
        let place = self.search(compare).unwrap_or_else(|place| place);
        self.insert(place, entry);
    }

    /// Takes the entry out that compares as equal.
    pub(crate) fn take(&mut self, compare: impl FnMut(&T) -> Ordering) -> Option<T> {
        let place = self.search(compare).ok()?;
        self.remove(place)
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        Shared::make_mut(self.pieces.get_mut(place.piece)?).get_mut(place.at)
    }

    /// Inserts at a place where [`search`](Self::search) did not find it.
    pub(crate) fn insert(&mut self, place: Place, entry: T) {
        let Place { mut piece, mut at } = place;
        let is_last = piece.saturating_add(1) >= self.pieces.len();
        match self.pieces.get_mut(piece) {
            Some(full) if full.len() >= PIECE_LEN => {
                // Entries that come in order fill their pieces; the others halve them.
                let split_at = if is_last && at >= PIECE_LEN {
                    at
                } else {
                    PIECE_LEN / 2
                };
                let entries = &mut **Shared::make_mut(full);
                let before = entries.capacity();
                let behind = entries.split_off(split_at.min(entries.len()));
                entries.shrink_to_fit();
                let less = before.saturating_sub(entries.capacity());
                let more = behind.capacity();
                let next = piece.saturating_add(1);
                self.pieces.insert(next, Shared::new(behind.into()));
                self.count(more, less);
                self.bytes = self.bytes.saturating_add(SHARED_LEN);
                if at >= split_at {
                    (piece, at) = (next, at.saturating_sub(split_at));
                }
            }
            Some(_) => {}
            None => {
                piece = self.pieces.len();
                self.pieces.push(Shared::new(Run::new()));
                self.bytes = self.bytes.saturating_add(SHARED_LEN);
            }
        }
        if let Some(entries) = self.pieces.get_mut(piece) {
            let entries = &mut **Shared::make_mut(entries);
            let before = entries.capacity();
            entries.insert(at.min(entries.len()), entry);
            let after = entries.capacity();
            self.count(after, before);
            self.len = self.len.saturating_add(1);
        }
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        let entries = &mut **Shared::make_mut(self.pieces.get_mut(place.piece)?);
        if place.at >= entries.len() {
            return None;
        }
        let entry = entries.remove(place.at);
        self.len = self.len.saturating_sub(1);
        let (len, before) = (entries.len(), entries.capacity());
        // To half of where it would happen again, so that few calls move the memory.
        if len < before / 4 {
            entries.shrink_to(len.saturating_mul(2));
            let after = entries.capacity();
            self.count(after, before);
        }
        if len < PIECE_LEN / 4 {
            self.join(place.piece, len);
        }
        Some(entry)
    }

    /// Joins a piece that has become short to the one behind it.
    fn join(&mut self, piece: usize, len: usize) {
        let next = piece.saturating_add(1);
        let next_len = self.pieces.get(next).map(|piece| piece.len());
        let fits = next_len.is_some_and(|next| next.saturating_add(len) <= PIECE_LEN / 2);
        if len > 0 && !fits {
            return;
        }
        let removed = if len == 0 { piece } else { next };
        let behind = self.pieces.remove(removed);
        self.count(0, behind.capacity());
        self.bytes = self.bytes.saturating_sub(SHARED_LEN);
        if len > 0
            && let Some(entries) = self.pieces.get_mut(piece)
        {
            let entries = &mut **Shared::make_mut(entries);
            let before = entries.capacity();
            entries.extend(behind.iter().cloned());
            let after = entries.capacity();
            self.count(after, before);
        }
        if self.pieces.len() <= self.pieces.capacity() / 4 {
            self.pieces.shrink_to_fit();
        }
    }

    fn count(&mut self, more: usize, less: usize) {
        let bytes = |entries: usize| entries.saturating_mul(size_of::<T>());
        self.bytes = self
            .bytes
            .saturating_add(bytes(more))
            .saturating_sub(bytes(less));
    }
}

impl<T> Clone for Sorted<T> {
    /// Shares all pieces.
    fn clone(&self) -> Self {
        Self {
            pieces: self.pieces.clone(),
            len: self.len,
            bytes: self.bytes,
        }
    }
}

/// Entries as slices.
#[derive(Debug)]
pub(crate) struct Slices<'s, T> {
    pieces: core::slice::Iter<'s, Shared<Run<T>>>,
}

impl<T> Slices<'_, T> {
    pub(crate) fn none() -> Self {
        Self { pieces: [].iter() }
    }
}

impl<T> Clone for Slices<'_, T> {
    fn clone(&self) -> Self {
        Self {
            pieces: self.pieces.clone(),
        }
    }
}

impl<'s, T> Iterator for Slices<'s, T> {
    type Item = &'s [T];

    fn next(&mut self) -> Option<&'s [T]> {
        self.pieces.next().map(|piece| piece.as_slice())
    }
}

/// Entries from one on.
#[derive(Debug)]
pub(crate) struct From<'s, T> {
    entries: core::slice::Iter<'s, T>,
    pieces: core::slice::Iter<'s, Shared<Run<T>>>,
}

impl<'s, T> Iterator for From<'s, T> {
    type Item = &'s T;

    fn next(&mut self) -> Option<&'s T> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(entry);
            }
            self.entries = self.pieces.next()?.iter();
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    /// Some pieces, also where each step takes long.
    const LEN: u32 = if cfg!(miri) { 700 } else { 5_000 };

    /// Against a set, in ascending, descending and mixed order, with removals in between.
    #[test]
    fn it_is_a_set_in_order() {
        type Order = fn(u32) -> u32;
        let orders: [(&str, Order); 3] = [
            ("ascending", |n| n),
            ("descending", |n| u32::MAX - n),
            ("mixed", |n| n.wrapping_mul(2_654_435_761)),
        ];
        for (name, of) in orders {
            let (mut sorted, mut set) = (Sorted::new(), BTreeSet::new());
            for n in 0..LEN {
                let entry = of(n);
                let place = sorted.search(|held: &u32| held.cmp(&entry)).unwrap_err();
                sorted.insert(place, entry);
                set.insert(entry);
                if n % 3 == 0 {
                    let other = of(n / 2);
                    let found = sorted.search(|held| held.cmp(&other));
                    assert_eq!(found.is_ok(), set.remove(&other), "{name} {n}");
                    if let Ok(place) = found {
                        assert_eq!(sorted.remove(place), Some(other));
                    }
                }
            }
            assert!(sorted.slices().flatten().eq(&set), "{name}");
            assert!(sorted.slices().all(|slice| !slice.is_empty()));
            for start in [0, 1, of(77), u32::MAX] {
                let found = sorted.from(|held| held.cmp(&start));
                assert!(found.eq(set.range(start..)), "{name} from {start}");
            }
            for (nth, entry) in set.iter().enumerate().step_by(97) {
                assert_eq!(sorted.nth(nth), Some(entry));
            }
            assert_eq!((sorted.nth(set.len()), sorted.len()), (None, set.len()));
            while let Some(entry) = set.pop_last() {
                let place = sorted.search(|held| held.cmp(&entry)).unwrap();
                sorted.remove(place);
            }
            assert_eq!(
                (sorted.len(), sorted.bytes()),
                (0, 0),
                "{name}: all is given back"
            );
        }
    }

    /// What the pieces hold, counted.
    fn held(sorted: &Sorted<u32>) -> usize {
        let pieces = sorted.pieces.iter();
        pieces.map(|piece| SHARED_LEN + piece.capacity() * 4).sum()
    }

    /// Pieces that have become short are joined, and not before; memory follows.
    #[test]
    fn pieces_stay_neither_short_nor_many() {
        const LEN: u32 = 8 * 256;
        let mut sorted = Sorted::new();
        for n in 0..LEN {
            let place = sorted.search(|held: &u32| held.cmp(&n)).unwrap_err();
            sorted.insert(place, n);
            assert_eq!(sorted.bytes, held(&sorted), "{n} inserted");
        }
        assert_eq!(sorted.pieces.len(), 8, "each is full");
        // Of each eight in a row one stays, so that all pieces become short together.
        let gone = (0..8)
            .flat_map(|first| (first..LEN).step_by(8))
            .filter(|n| n % 8 != 3);
        for n in gone {
            let place = sorted.search(|held| held.cmp(&n)).unwrap();
            assert_eq!(sorted.remove(place), Some(n));
            assert_eq!(sorted.bytes, held(&sorted), "{n} removed");
            let room: usize = sorted.pieces.iter().map(|piece| piece.capacity()).sum();
            let bound = 4 * sorted.len() + PIECE_LEN;
            assert!(room <= bound, "{room} for {}", sorted.len());
        }
        assert_eq!(sorted.len(), 256);
        assert!(sorted.pieces.len() <= 4, "{} pieces", sorted.pieces.len());
        assert!(
            sorted
                .slices()
                .flatten()
                .copied()
                .eq((0..LEN).filter(|n| n % 8 == 3))
        );
    }

    #[test]
    fn entries_in_order_fill_their_pieces() {
        let mut sorted = Sorted::new();
        for n in 0..20 * LEN {
            let place = sorted.search(|held: &u32| held.cmp(&n)).unwrap_err();
            sorted.insert(place, n);
        }
        // Of four bytes each, and one for their pieces.
        let bound = usize::try_from(5 * 20 * LEN).unwrap();
        assert!(sorted.bytes() < bound, "{} bytes", sorted.bytes());
    }
}
