//! Shared subscriptions: several subscribers, of whom one gets each message.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Names a shared subscription while it has members; never used for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u64);

impl GroupId {
    pub(super) fn new(id: u64) -> Self {
        Self(id)
    }
}

#[derive(Clone, Debug)]
pub(super) struct GroupEntry<K, V> {
    id: GroupId,
    pub(super) name: Box<[u8]>,
    /// In the order of the keys.
    members: Vec<(K, V)>,
}

impl<K: Copy + Ord, V> GroupEntry<K, V> {
    pub(super) fn new(id: GroupId, name: &[u8]) -> Self {
        Self {
            id,
            name: name.into(),
            members: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.members.binary_search_by(|(held, _)| held.cmp(&key)) {
            Ok(place) => self
                .members
                .get_mut(place)
                .map(|(_, held)| core::mem::replace(held, value)),
            Err(place) => {
                self.members.insert(place, (key, value));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let place = self
            .members
            .binary_search_by(|(held, _)| held.cmp(&key))
            .ok()?;
        let (_, value) = self.members.remove(place);
        self.members.shrink_to(self.members.len().saturating_mul(2));
        Some(value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// One shared subscription and its members; there is at least one.
#[derive(Debug)]
pub struct Group<'i, K, V> {
    entry: &'i GroupEntry<K, V>,
}

impl<'i, K: Copy + Ord, V> Group<'i, K, V> {
    pub(super) fn new(entry: &'i GroupEntry<K, V>) -> Self {
        Self { entry }
    }

    /// A name for the caller's own notes about this group, such as whose turn it is.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.entry.id
    }

    /// The name in the filter.
    #[must_use]
    pub fn name_bytes(&self) -> &'i [u8] {
        &self.entry.name
    }

    /// How many members there are.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a group without members does not exist"
    )]
    pub fn len(&self) -> usize {
        self.entry.members.len()
    }

    /// A member by its place in the order of the keys.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<(K, &'i V)> {
        self.entry
            .members
            .get(place)
            .map(|(key, value)| (*key, value))
    }

    /// The value of one member.
    #[must_use]
    pub fn value_of(&self, key: K) -> Option<&'i V> {
        super::find(&self.entry.members, key)
    }

    /// All members, in the order of their keys.
    #[must_use]
    pub fn members(&self) -> GroupMembers<'i, K, V> {
        GroupMembers {
            members: self.entry.members.iter(),
        }
    }
}

impl<K, V> Clone for Group<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Group<'_, K, V> {}

/// The members of a [`Group`].
#[derive(Clone, Debug)]
pub struct GroupMembers<'i, K, V> {
    members: core::slice::Iter<'i, (K, V)>,
}

impl<'i, K: Copy, V> Iterator for GroupMembers<'i, K, V> {
    type Item = (K, &'i V);

    fn next(&mut self) -> Option<Self::Item> {
        self.members.next().map(|(key, value)| (*key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.members.size_hint()
    }
}

impl<K: Copy, V> ExactSizeIterator for GroupMembers<'_, K, V> {}
