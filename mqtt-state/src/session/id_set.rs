//! Some packet identifiers, in memory that is used again.

use alloc::vec::Vec;

use mqtt_codec::PacketId;

/// A set of packet identifiers, in order. Few at a time, so a list is smaller and faster than a
/// tree, and takes no memory for each one that comes and goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdSet {
    ids: Vec<PacketId>,
}

impl IdSet {
    pub(crate) const fn new() -> Self {
        Self { ids: Vec::new() }
    }

    pub(crate) fn contains(&self, id: PacketId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// Answers whether it was new.
    pub(crate) fn insert(&mut self, id: PacketId) -> bool {
        match self.ids.binary_search(&id) {
            Ok(_) => false,
            Err(place) => {
                self.ids.insert(place, id);
                true
            }
        }
    }

    /// Answers whether it was there.
    pub(crate) fn remove(&mut self, id: PacketId) -> bool {
        match self.ids.binary_search(&id) {
            Ok(place) => {
                self.ids.remove(place);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = PacketId> {
        self.ids.iter().copied()
    }

    pub(crate) fn clear(&mut self) {
        self.ids.clear();
    }

    pub(crate) const fn len(&self) -> usize {
        self.ids.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set() {
        let id = |value| PacketId::new(value).unwrap();
        let mut set = IdSet::new();
        for value in [7, 3, 65_535, 1] {
            assert!(set.insert(id(value)));
            assert!(!set.insert(id(value)), "{value} twice");
        }
        assert_eq!(set.ids, [1, 3, 7, 65_535].map(id));
        assert!(set.remove(id(3)) && !set.remove(id(3)));
        assert!(set.contains(id(7)) && !set.contains(id(3)));
        assert_eq!(set.len(), 3);
        set.clear();
        assert_eq!(set.len(), 0);
    }
}
