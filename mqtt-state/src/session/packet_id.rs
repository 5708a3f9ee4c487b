//! Packet identifiers: who holds which, and in what order.
//!
//! An identifier is a place in a table, so finding one is an index and the table is as long as
//! the most identifiers that were ever in use together. Entries can stand in one ordered list
//! each (threaded through the table), which keeps the order of redelivery without a second map.

use alloc::vec::Vec;

use mqtt_codec::PacketId;

/// So many identifiers rest before one of them is used again: a late acknowledgement of a peer
/// that counts wrongly then hits nothing instead of the next message.
const REST: usize = 16;

/// The table of the identifiers one side has given out.
#[derive(Clone, Debug)]
pub(crate) struct PacketIds<T> {
    entries: Vec<Entry<T>>,
    /// Identifiers that were used and came back, the longest rested first.
    free: List,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    value: Option<T>,
    previous: Option<PacketId>,
    next: Option<PacketId>,
}

/// The ends of a list threaded through [`PacketIds`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct List {
    head: Option<PacketId>,
    tail: Option<PacketId>,
    len: usize,
}

impl List {
    pub(crate) fn head(&self) -> Option<PacketId> {
        self.head
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<T> PacketIds<T> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: List::default(),
        }
    }

    /// The identifier that the next [`insert`](Self::insert) gives out; `None` when all 65,535 are
    /// in use.
    pub(crate) fn next_id(&self) -> Option<PacketId> {
        let unused = u16::try_from(self.entries.len().saturating_add(1)).ok();
        match self.free.head {
            Some(rested) if self.free.len >= REST || unused.is_none() => Some(rested),
            _ => unused.and_then(PacketId::new),
        }
    }

    /// Gives out an identifier that is not in use.
    // [5:MQTT-2.2.1-3] [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-2] [3:MQTT-2.3.1-4] Only identifiers not in use are given out.
    // [5:MQTT-4.3.2-1] [5:MQTT-4.3.3-1] The sender of a new QoS 1 or 2 message takes an unused one.
    pub(crate) fn insert(&mut self, value: T) -> Option<PacketId> {
        let id = self.next_id()?;
        if self.free.head == Some(id) {
            let mut free = self.free;
            self.unlink(&mut free, id);
            self.free = free;
            let entry = self.entry_mut(id)?;
            entry.value = Some(value);
        } else {
            self.entries.push(Entry {
                value: Some(value),
                previous: None,
                next: None,
            });
        }
        Some(id)
    }

    /// Takes one certain identifier; `false` when it is in use.
    pub(crate) fn insert_at(&mut self, id: PacketId, value: T) -> bool {
        while self.entries.len() < usize::from(id.get()) {
            self.entries.push(Entry {
                value: None,
                previous: None,
                next: None,
            });
            let new = u16::try_from(self.entries.len()).ok();
            if let Some(new) = new.and_then(PacketId::new) {
                let mut free = self.free;
                self.push_back(&mut free, new);
                self.free = free;
            }
        }
        if self.get(id).is_some() {
            return false;
        }
        let mut free = self.free;
        self.unlink(&mut free, id);
        self.free = free;
        if let Some(entry) = self.entry_mut(id) {
            entry.value = Some(value);
        }
        true
    }

    /// Takes an identifier back. It must stand in no list any more.
    pub(crate) fn remove(&mut self, id: PacketId) -> Option<T> {
        let value = self.entry_mut(id)?.value.take()?;
        let mut free = self.free;
        self.push_back(&mut free, id);
        self.free = free;
        Some(value)
    }

    pub(crate) fn get(&self, id: PacketId) -> Option<&T> {
        self.entry(id)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: PacketId) -> Option<&mut T> {
        self.entry_mut(id)?.value.as_mut()
    }

    /// Identifiers in use.
    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.free.len)
    }

    /// The entries in use, lowest identifier first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PacketId, &T)> {
        self.entries
            .iter()
            .zip(1_u16..)
            .filter_map(|(entry, id)| Some((PacketId::new(id)?, entry.value.as_ref()?)))
    }

    /// Puts an entry at the end of a list.
    pub(crate) fn push_back(&mut self, list: &mut List, id: PacketId) {
        let tail = list.tail;
        if let Some(entry) = self.entry_mut(id) {
            entry.previous = tail;
            entry.next = None;
        }
        match tail.and_then(|tail| self.entry_mut(tail)) {
            Some(last) => last.next = Some(id),
            None => list.head = Some(id),
        }
        list.tail = Some(id);
        list.len = list.len.saturating_add(1);
    }

    /// Takes an entry out of the list it stands in.
    pub(crate) fn unlink(&mut self, list: &mut List, id: PacketId) {
        let Some(entry) = self.entry_mut(id) else {
            return;
        };
        let (previous, next) = (entry.previous.take(), entry.next.take());
        match previous.and_then(|previous| self.entry_mut(previous)) {
            Some(entry) => entry.next = next,
            None => list.head = next,
        }
        match next.and_then(|next| self.entry_mut(next)) {
            Some(entry) => entry.previous = previous,
            None => list.tail = previous,
        }
        list.len = list.len.saturating_sub(1);
    }

    /// The entry behind `id` in its list.
    pub(crate) fn next_in_list(&self, id: PacketId) -> Option<PacketId> {
        self.entry(id)?.next
    }

    fn entry(&self, id: PacketId) -> Option<&Entry<T>> {
        self.entries.get(usize::from(id.get()).checked_sub(1)?)
    }

    fn entry_mut(&mut self, id: PacketId) -> Option<&mut Entry<T>> {
        self.entries.get_mut(usize::from(id.get()).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec;

    fn ids<T>(table: &PacketIds<T>, list: &List) -> Vec<u16> {
        let mut found = Vec::new();
        let mut next = list.head();
        while let Some(id) = next {
            found.push(id.get());
            next = table.next_in_list(id);
        }
        found
    }

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
    fn lists_keep_the_order_and_survive_removal_anywhere() {
        let mut table = PacketIds::new();
        let mut list = List::default();
        let all: Vec<_> = (0..5).map(|value| table.insert(value).unwrap()).collect();
        for id in &all {
            table.push_back(&mut list, *id);
        }
        for (removed, rest) in [
            (2, vec![1, 2, 4, 5]),
            (0, vec![2, 4, 5]),
            (4, vec![2, 4]),
            (1, vec![4]),
            (3, vec![]),
        ] {
            table.unlink(&mut list, all[removed]);
            assert_eq!(table.remove(all[removed]), Some(removed));
            assert_eq!(ids(&table, &list), rest);
            assert_eq!(list.len(), rest.len());
        }
        assert_eq!(table.len(), 0);
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
