//! A table whose keys never name a later tenant of the same place.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// A place in a [`Slab`], and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    pub(super) fn slot(self) -> u32 {
        self.slot
    }

    pub(super) fn generation(self) -> u32 {
        self.generation
    }

    pub(super) const fn to_bits(self) -> u64 {
        let [a, b, c, d] = self.generation.to_be_bytes();
        let [e, f, g, h] = self.slot.to_be_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
        Self {
            slot: u32::from_be_bytes([e, f, g, h]),
            generation: u32::from_be_bytes([a, b, c, d]),
        }
    }
}

/// Values found by [`Key`]. A key that outlived its value finds nothing.
///
/// They stand in pieces of a fixed length, so that one more never moves all of them, and finding one takes
/// one look at a length.
#[derive(Debug)]
pub(super) struct Slab<T> {
    pieces: Vec<Box<[Slot<T>; PIECE]>>,
    /// Places that were used before and are empty.
    free: Vec<u32>,
    /// Places, in use or free again.
    len: usize,
}

/// Places of one piece: few, as the first one is held in advance.
pub(super) const PIECE: usize = 16;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// Bytes of one place.
    pub(super) const PLACE_SIZE: usize = size_of::<Slot<T>>();

    pub(super) const fn new() -> Self {
        Self {
            pieces: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }

    /// `None` when there are as many values as a key can name.
    #[inline(always)]
    pub(super) fn insert(&mut self, value: T) -> Option<Key> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.grow()?,
        };
        let place = self.slot_mut(slot)?;
        // Nothing is there, so there is nothing to drop.
        core::mem::forget(place.value.replace(value));
        Some(Key {
            slot,
            generation: place.generation,
        })
    }

    /// One more place, that nobody has had.
    #[inline(never)]
    fn grow(&mut self) -> Option<u32> {
        let slot = u32::try_from(self.len).ok()?;
        if self.len.is_multiple_of(PIECE) {
            let empty = || Slot {
                generation: 0,
                value: None,
            };
            let piece: Box<[_]> = core::iter::repeat_with(empty).take(PIECE).collect();
            self.pieces.push(piece.try_into().ok()?);
        }
        self.len = self.len.saturating_add(1);
        Some(slot)
    }

    #[inline]
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place_mut(key)?;
        // Looked at where it is, so that it is moved once.
        place.value.as_ref()?;
        place.generation = place.generation.wrapping_add(1);
        let value = place.value.take();
        self.free.push(key.slot);
        value
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let place = self.slot(key.slot)?;
        if place.generation == key.generation {
            place.value.as_ref()
        } else {
            None
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.place_mut(key)?.value.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.len.saturating_sub(self.free.len())
    }

    /// Places, in use or free again.
    pub(super) const fn places_len(&self) -> usize {
        self.len
    }

    /// The key of the value in a place, if there is one.
    pub(super) fn key_at(&self, place: usize) -> Option<Key> {
        let slot = u32::try_from(place).ok()?;
        let found = self.slot(slot)?;
        found.value.as_ref()?;
        Some(Key {
            slot,
            generation: found.generation,
        })
    }

    #[inline]
    fn place_mut(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let place = self.slot_mut(key.slot)?;
        (place.generation == key.generation).then_some(place)
    }

    #[inline]
    fn slot(&self, slot: u32) -> Option<&Slot<T>> {
        let slot = usize::try_from(slot).ok()?;
        self.pieces.get(slot / PIECE)?.get(slot % PIECE)
    }

    #[inline]
    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot<T>> {
        let slot = usize::try_from(slot).ok()?;
        self.pieces.get_mut(slot / PIECE)?.get_mut(slot % PIECE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_nothing_after_its_value_is_gone() {
        let mut slab = Slab::new();
        let first = slab.insert('a').unwrap();
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b').unwrap();
        assert_eq!(second.slot(), first.slot(), "the place is used again");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn values_stay_where_they_are_as_more_come() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..1000).map(|n| slab.insert(n).unwrap()).collect();
        let first = core::ptr::from_ref(slab.get(keys[PIECE - 1]).unwrap());
        for key in keys.iter().step_by(3) {
            slab.remove(*key);
        }
        let more: Vec<_> = (1000..2000).map(|n| slab.insert(n).unwrap()).collect();
        assert_eq!(slab.len(), 1666);
        for (n, key) in keys.iter().enumerate() {
            let expected = (n % 3 != 0).then_some(n);
            assert_eq!(slab.get(*key).copied(), expected);
        }
        for (n, key) in (1000..).zip(&more) {
            assert_eq!(slab.get_mut(*key).copied(), Some(n));
            assert_eq!(slab.key_at(key.slot().try_into().unwrap()), Some(*key));
        }
        assert_eq!(PIECE % 3, 1, "the last of the first piece was taken out");
        let last = keys[PIECE - 1].slot();
        let again = core::ptr::from_ref(slab.slot(last).unwrap().value.as_ref().unwrap());
        assert_eq!(again, first);
        assert_eq!(slab.key_at(slab.places_len()), None);
    }
}
