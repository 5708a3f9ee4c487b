//! A table whose keys never name a later tenant of the same place.

use alloc::vec::Vec;

/// A place in a [`Slab`], and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
}

/// Values found by [`Key`]. A key that outlived its value finds nothing.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// Bytes of one place.
    pub(super) const PLACE_SIZE: usize = size_of::<Slot<T>>();

    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// `None` when there are as many values as a key can name.
    pub(super) fn insert(&mut self, value: T) -> Option<Key> {
        if let Some(slot) = self.free.pop() {
            let place = self.slots.get_mut(usize::try_from(slot).ok()?)?;
            place.value = Some(value);
            return Some(Key {
                slot,
                generation: place.generation,
            });
        }
        let slot = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot {
            generation: 0,
            value: Some(value),
        });
        Some(Key {
            slot,
            generation: 0,
        })
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place_mut(key)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.slot);
        Some(value)
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let place = self.slots.get(usize::try_from(key.slot).ok()?)?;
        if place.generation == key.generation {
            place.value.as_ref()
        } else {
            None
        }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.place_mut(key)?.value.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len().saturating_sub(self.free.len())
    }

    /// Places, in use or free again.
    pub(super) fn places_len(&self) -> usize {
        self.slots.len()
    }

    /// The key of the value in a place, if there is one.
    pub(super) fn key_at(&self, place: usize) -> Option<Key> {
        let found = self.slots.get(place)?;
        found.value.as_ref()?;
        Some(Key {
            slot: u32::try_from(place).ok()?,
            generation: found.generation,
        })
    }

    fn place_mut(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let place = self.slots.get_mut(usize::try_from(key.slot).ok()?)?;
        (place.generation == key.generation).then_some(place)
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
}
