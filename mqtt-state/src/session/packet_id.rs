//! Packet identifiers: who holds which.
//!
//! An identifier is a place in a table, so finding one is an index and the table is as long as
//! the most identifiers that were ever in use together.

use alloc::vec::Vec;

use mqtt_codec::PacketId;

/// So many identifiers rest before one of them is used again: a late acknowledgement of a peer
/// that counts wrongly then hits nothing instead of the next message.
const REST: usize = 16;

/// The table of the identifiers one side has given out, with what each one stands for.
#[derive(Clone, Debug)]
pub(crate) struct PacketIds<T> {
    entries: Vec<Entry<T>>,
    /// Identifiers that were used and came back, the longest rested first.
    free_head: Option<PacketId>,
    free_tail: Option<PacketId>,
    free_len: usize,
}

#[derive(Clone, Copy, Debug)]
enum Entry<T> {
    Used(T),
    Free { next: Option<PacketId> },
}

impl<T: Copy> PacketIds<T> {
    /// Bytes of one identifier.
    pub(crate) const ENTRY_SIZE: usize = size_of::<Entry<T>>();

    /// Bytes of the table when so many have been in use together.
    pub(crate) const fn bytes(len: usize) -> usize {
        len.saturating_add(REST).saturating_mul(Self::ENTRY_SIZE)
    }

    /// Bytes of the table as it is.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.entries.capacity().saturating_mul(Self::ENTRY_SIZE)
    }

    /// The same when this identifier is in it.
    pub(crate) fn bytes_with(&self, id: PacketId) -> usize {
        let (len, capacity) = (usize::from(id.get()), self.entries.capacity());
        if len <= capacity {
            return self.capacity_bytes();
        }
        len.max(capacity.saturating_mul(2))
            .saturating_mul(Self::ENTRY_SIZE)
    }

    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free_head: None,
            free_tail: None,
            free_len: 0,
        }
    }

    /// The identifier that the next [`insert`](Self::insert) gives out; `None` when all 65,535 are
    /// in use.
    #[inline]
    pub(crate) fn next_id(&self) -> Option<PacketId> {
        if self.free_len >= REST {
            return self.free_head;
        }
        let unused = u16::try_from(self.entries.len().saturating_add(1)).ok();
        unused.map_or(self.free_head, PacketId::new)
    }

    /// Gives out an identifier that is not in use.
    // [5:MQTT-2.2.1-3] [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-2] [3:MQTT-2.3.1-4] Only identifiers not in use are given out.
    // [5:MQTT-4.3.2-1] [5:MQTT-4.3.3-1] The sender of a new QoS 1 or 2 message takes an unused one.
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Option<PacketId> {
        let id = self.next_id()?;
        match self.entry_mut(id) {
            Some(entry) => {
                let before = core::mem::replace(entry, Entry::Used(value));
                if let Entry::Free { next } = before {
                    self.free_head = next;
                    self.free_len = self.free_len.saturating_sub(1);
                }
            }
            None => self.append(value),
        }
        Some(id)
    }

    /// The first one takes the memory for all that rest.
    #[inline(never)]
    fn append(&mut self, value: T) {
        if self.entries.is_empty() {
            self.entries.reserve_exact(REST.saturating_add(1));
        }
        self.entries.push(Entry::Used(value));
    }

    /// Takes one certain identifier; `false` when it is in use. [`rest_others`](Self::rest_others)
    /// has to follow.
    pub(crate) fn insert_at(&mut self, id: PacketId, value: T) -> bool {
        let len = usize::from(id.get());
        if self.entries.len() < len {
            self.entries.resize(len, Entry::Free { next: None });
        }
        match self.entry_mut(id) {
            Some(entry @ Entry::Free { .. }) => {
                *entry = Entry::Used(value);
                true
            }
            Some(Entry::Used(_)) | None => false,
        }
    }

    /// After [`insert_at`](Self::insert_at): whatever is not in use can be given out.
    pub(crate) fn rest_others(&mut self) {
        (self.free_head, self.free_tail, self.free_len) = (None, None, 0);
        let ids = (1..=u16::MAX).filter_map(PacketId::new);
        for id in ids.take(self.entries.len()) {
            if self.get(id).is_none() {
                self.rest(id);
            }
        }
    }

    /// An identifier that is in use stands for something else from here on.
    pub(crate) fn replace(&mut self, id: PacketId, value: T) {
        if let Some(entry @ Entry::Used(_)) = self.entry_mut(id) {
            *entry = Entry::Used(value);
        }
    }

    /// Takes an identifier back.
    #[inline]
    pub(crate) fn remove(&mut self, id: PacketId) -> Option<T> {
        let value = self.get(id)?;
        self.rest(id);
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, id: PacketId) -> Option<T> {
        match self.entries.get(usize::from(id.get()).checked_sub(1)?)? {
            Entry::Used(value) => Some(*value),
            Entry::Free { .. } => None,
        }
    }

    /// Identifiers in use.
    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.free_len)
    }

    /// What is in use, lowest identifier first.
    pub(crate) fn values(&self) -> impl Iterator<Item = T> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Used(value) => Some(*value),
            Entry::Free { .. } => None,
        })
    }

    /// Puts an identifier that is in use behind those that rest.
    #[inline]
    pub(crate) fn rest(&mut self, id: PacketId) {
        if let Some(entry) = self.entry_mut(id) {
            *entry = Entry::Free { next: None };
        }
        match self.free_tail.and_then(|tail| self.entry_mut(tail)) {
            Some(last) => *last = Entry::Free { next: Some(id) },
            None => self.free_head = Some(id),
        }
        self.free_tail = Some(id);
        self.free_len = self.free_len.saturating_add(1);
    }

    #[inline]
    fn entry_mut(&mut self, id: PacketId) -> Option<&mut Entry<T>> {
        self.entries.get_mut(usize::from(id.get()).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec;

    #[test]
    fn an_identifier_in_use_is_never_given_out_again() {
        // [5:MQTT-2.2.1-3] [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-2] [3:MQTT-2.3.1-4]
        let mut table = PacketIds::new();
        let mut used = BTreeSet::new();
        for _ in 0..65_535 {
            assert!(used.insert(table.insert(()).expect("not exhausted")));
        }
        assert_eq!(table.insert(()), None, "all 65,535 are in use");
        let freed = PacketId::new(777).unwrap();
        assert_eq!(table.remove(freed), Some(()));
        assert_eq!(table.insert(()), Some(freed));
        assert_eq!(table.insert(()), None);
    }

    #[test]
    fn a_returned_identifier_rests_before_it_is_used_again() {
        let mut table = PacketIds::new();
        let first = table.insert(0).unwrap();
        table.remove(first);
        let next: Vec<_> = (1..=REST)
            .map(|_| {
                let id = table.insert(0).unwrap();
                table.remove(id);
                id
            })
            .collect();
        assert!(!next[..REST - 1].contains(&first));
        assert!(
            table.entries.len() <= REST + 1,
            "the table stays small: {}",
            table.entries.len()
        );
    }

    #[test]
    fn certain_identifiers_are_taken_and_the_others_given_out() {
        let id = |value| PacketId::new(value).unwrap();
        let mut table = PacketIds::new();
        assert!(table.insert_at(id(20), 'a'));
        assert!(table.insert_at(id(3), 'b'));
        assert!(!table.insert_at(id(20), 'c'), "in use");
        table.rest_others();
        assert_eq!((table.len(), table.get(id(20))), (2, Some('a')));
        assert_eq!(table.values().collect::<Vec<_>>(), vec!['b', 'a']);
        let given: BTreeSet<_> = (0..40).filter_map(|_| table.insert('d')).collect();
        assert_eq!(given.len(), 40);
        assert!(!given.contains(&id(3)) && !given.contains(&id(20)));
    }

    #[test]
    fn removing_an_unknown_identifier_changes_nothing() {
        let mut table = PacketIds::<u8>::new();
        assert_eq!(table.remove(PacketId::new(9).unwrap()), None);
        assert_eq!(table.get(PacketId::new(1).unwrap()), None);
        let id = table.insert(1).unwrap();
        assert_eq!(table.remove(id), Some(1));
        assert_eq!(table.remove(id), None, "a second removal finds nothing");
        assert_eq!(table.len(), 0);
    }
}
