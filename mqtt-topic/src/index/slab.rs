//! Entries with a number each, in pieces.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::cow::{Piece, Run, Shared, Unshare};

/// The number of an entry, as long as it is there; used again afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(NonZeroU32);

impl Id {
    /// What the first entry of a slab gets.
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);

    pub(crate) const fn get(self) -> u32 {
        self.0.get()
    }

    /// The next number, for going on behind this one. No entry has the last of all numbers, as a
    /// piece of which it were a part could not be named whole.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    #[inline]
    fn places(self) -> (usize, usize) {
        let place = usize::try_from(self.0.get().wrapping_sub(1)).unwrap_or(usize::MAX);
        (place / PIECE_LEN, place % PIECE_LEN)
    }

    fn at(piece: usize, place: usize) -> Option<Self> {
        let index = piece.checked_mul(PIECE_LEN)?.checked_add(place)?;
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(Self)
    }
}

/// Entries of one piece: enough to make the table of pieces small, few enough to copy.
const PIECE_LEN: usize = 512;

/// A place for an entry.
#[derive(Clone, Debug)]
pub(crate) enum Slot<T> {
    Used(T),
    /// Names the next free place of the same piece.
    Free(Option<u16>),
}

#[derive(Debug)]
struct Segment<T> {
    /// The empty one of the slab, when it holds nothing.
    slots: Shared<Piece<T>>,
    used: u16,
    free: Option<u16>,
    /// Whether it stands in the list of those with room.
    is_open: bool,
}

/// Entries, found by their numbers.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    segments: Vec<Segment<T>>,
    /// Segments with room.
    open: Vec<u32>,
    /// For all segments that hold nothing.
    empty: Shared<Piece<T>>,
    len: usize,
    bytes: usize,
}

/// A counted reference has two counters in front, and a vector in it.
const SHARED_LEN: usize = 5 * size_of::<usize>();

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            segments: Vec::new(),
            open: Vec::new(),
            empty: Shared::new(Run::new()),
            len: 0,
            bytes: SHARED_LEN,
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let (piece, place) = id.places();
        match self.segments.get(piece)?.slots.get(place)? {
            Slot::Used(entry) => Some(entry),
            Slot::Free(_) => None,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it holds, those of entries on the heap apart.
    pub(crate) const fn bytes(&self) -> usize {
        let segments = self
            .segments
            .capacity()
            .saturating_mul(size_of::<Segment<T>>());
        let open = self.open.capacity().saturating_mul(size_of::<u32>());
        self.bytes.saturating_add(segments).saturating_add(open)
    }

    /// All entries from a number on, in the order of their numbers.
    pub(crate) fn from(&self, id: Id) -> Slots<'_, T> {
        let (piece, place) = id.places();
        Slots {
            slab: self,
            piece,
            place,
        }
    }
}

impl<T: Unshare> Slab<T> {
    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let (piece, place) = id.places();
        let slots = &mut self.segments.get_mut(piece)?.slots;
        match T::unshare(slots)?.get_mut(place)? {
            Slot::Used(entry) => Some(entry),
            Slot::Free(_) => None,
        }
    }

    /// `None` when there is no number left.
    pub(crate) fn insert(&mut self, entry: T) -> Option<Id> {
        let piece = match self.open.last() {
            Some(piece) => usize::try_from(*piece).ok()?,
            None => {
                let piece = self.segments.len();
                Id::at(piece, PIECE_LEN)?;
                self.open.push(u32::try_from(piece).ok()?);
                self.segments.push(Segment {
                    slots: self.empty.clone(),
                    used: 0,
                    free: None,
                    is_open: true,
                });
                piece
            }
        };
        let segment = self.segments.get_mut(piece)?;
        if segment.used == 0 {
            segment.slots = Shared::new(Run::new());
            self.bytes = self.bytes.saturating_add(SHARED_LEN);
        }
        let slots = T::unshare(&mut segment.slots)?;
        let place = match segment.free {
            Some(free) => {
                let place = usize::from(free);
                let slot = slots.get_mut(place)?;
                let Slot::Free(next) = slot else { return None };
                segment.free = *next;
                *slot = Slot::Used(entry);
                place
            }
            None => {
                let before = slots.capacity();
                slots.push(Slot::Used(entry));
                let more = slots.capacity().saturating_sub(before);
                self.bytes = self
                    .bytes
                    .saturating_add(more.saturating_mul(size_of::<Slot<T>>()));
                slots.len().saturating_sub(1)
            }
        };
        segment.used = segment.used.saturating_add(1);
        self.len = self.len.saturating_add(1);
        if segment.free.is_none() && slots.len() >= PIECE_LEN {
            segment.is_open = false;
            self.open.pop();
        }
        Id::at(piece, place)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let (piece, place) = id.places();
        let segment = self.segments.get_mut(piece)?;
        let slots = T::unshare(&mut segment.slots)?;
        let slot = slots.get_mut(place)?;
        let entry = match core::mem::replace(slot, Slot::Free(segment.free)) {
            Slot::Used(entry) => entry,
            free => {
                *slot = free;
                return None;
            }
        };
        segment.free = u16::try_from(place).ok();
        segment.used = segment.used.saturating_sub(1);
        self.len = self.len.saturating_sub(1);
        if !segment.is_open {
            segment.is_open = true;
            self.open.push(u32::try_from(piece).ok()?);
        }
        if segment.used == 0 {
            let held = slots.capacity().saturating_mul(size_of::<Slot<T>>());
            self.bytes = self.bytes.saturating_sub(held.saturating_add(SHARED_LEN));
            segment.slots = self.empty.clone();
            segment.free = None;
            self.give_back();
        }
        Some(entry)
    }

    /// Cuts off empty segments at the end, when they are half of all.
    fn give_back(&mut self) {
        let is_used = |segment: &Segment<T>| segment.used > 0;
        let len = self
            .segments
            .iter()
            .rposition(is_used)
            .map_or(0, |at| at.saturating_add(1));
        if len > self.segments.len() / 2 {
            return;
        }
        self.segments.truncate(len);
        self.segments.shrink_to_fit();
        self.open
            .retain(|piece| usize::try_from(*piece).is_ok_and(|piece| piece < len));
        self.open.shrink_to_fit();
    }
}

impl<T> Clone for Slab<T> {
    /// Shares all pieces.
    fn clone(&self) -> Self {
        Self {
            segments: self.segments.clone(),
            open: self.open.clone(),
            empty: self.empty.clone(),
            len: self.len,
            bytes: self.bytes,
        }
    }
}

impl<T> Clone for Segment<T> {
    fn clone(&self) -> Self {
        Self {
            slots: self.slots.clone(),
            ..*self
        }
    }
}

/// Entries with their numbers.
#[derive(Debug)]
pub(crate) struct Slots<'s, T> {
    slab: &'s Slab<T>,
    piece: usize,
    place: usize,
}

impl<'s, T> Iterator for Slots<'s, T> {
    type Item = (Id, &'s T);

    fn next(&mut self) -> Option<(Id, &'s T)> {
        loop {
            let segment = self.slab.segments.get(self.piece)?;
            let Some(slot) = segment.slots.get(self.place) else {
                self.piece = self.piece.saturating_add(1);
                self.place = 0;
                continue;
            };
            let id = Id::at(self.piece, self.place)?;
            self.place = self.place.saturating_add(1);
            if let Slot::Used(entry) = slot {
                return Some((id, entry));
            }
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

    #[derive(Clone, Debug, PartialEq)]
    struct Entry(usize);

    impl Unshare for Entry {
        fn unshare(piece: &mut Shared<Piece<Self>>) -> Option<&mut Piece<Self>> {
            crate::index::unshare_by_copy(piece)
        }
    }

    /// What the pieces hold, counted.
    fn held(slab: &Slab<Entry>) -> usize {
        let pieces = slab.segments.iter().filter(|segment| segment.used > 0);
        let held =
            pieces.map(|segment| SHARED_LEN + segment.slots.capacity() * size_of::<Slot<Entry>>());
        SHARED_LEN + held.sum::<usize>()
    }

    #[test]
    fn numbers_are_used_again_and_memory_is_given_back() {
        const LEN: usize = 3 * PIECE_LEN + 10;
        let mut slab = Slab::new();
        let ids: Vec<_> = (0..LEN).map(|n| slab.insert(Entry(n)).unwrap()).collect();
        assert_eq!(
            (slab.len(), slab.segments.len(), slab.bytes),
            (LEN, 4, held(&slab))
        );
        assert!(slab.bytes() > slab.bytes, "the list of pieces too");
        assert!(
            ids.windows(2).all(|pair| pair[0] < pair[1]),
            "in their order"
        );
        assert!(
            slab.from(ids[700])
                .map(|(id, _)| id)
                .eq(ids[700..].iter().copied())
        );

        // What has gone is used again before there are more pieces.
        for place in [5, 600, 7] {
            assert_eq!(slab.remove(ids[place]), Some(Entry(place)));
            assert_eq!(slab.remove(ids[place]), None);
            assert_eq!(slab.get(ids[place]), None);
        }
        let mut again: Vec<_> = (0..3).map(|n| slab.insert(Entry(n)).unwrap()).collect();
        again.sort_unstable();
        assert_eq!(again, [ids[5], ids[7], ids[600]]);
        assert_eq!((slab.segments.len(), slab.open.len()), (4, 1));

        // From the end: pieces at the end go when they are half of all.
        for (left, id) in ids.iter().enumerate().rev() {
            assert!(slab.remove(*id).is_some());
            assert_eq!((slab.len(), slab.bytes), (left, held(&slab)));
            let used = left.div_ceil(PIECE_LEN);
            assert!(
                slab.segments.len() <= 2 * used + 1,
                "{left}: {}",
                slab.segments.len()
            );
            assert!(
                slab.open
                    .iter()
                    .all(|piece| (*piece as usize) < slab.segments.len())
            );
        }
        assert_eq!((slab.segments.capacity(), slab.open.capacity()), (0, 0));
        assert_eq!(slab.bytes(), SHARED_LEN);
    }

    #[test]
    fn a_clone_keeps_what_the_other_changes() {
        let mut slab = Slab::new();
        let ids: Vec<_> = (0..10).map(|n| slab.insert(Entry(n)).unwrap()).collect();
        let copy = slab.clone();
        slab.get_mut(ids[3]).unwrap().0 = 33;
        slab.remove(ids[4]);
        assert_eq!(
            (copy.get(ids[3]), copy.get(ids[4])),
            (Some(&Entry(3)), Some(&Entry(4)))
        );
        assert_eq!(
            (slab.get(ids[3]), slab.get(ids[4])),
            (Some(&Entry(33)), None)
        );
    }
}
