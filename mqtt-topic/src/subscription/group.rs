//! Shared subscriptions: several subscribers, of whom one gets each message.

use core::num::NonZeroU64;

use super::subscribers::{Slices, Subscribers};
use crate::index::Id;

/// Names a shared subscription while it has members; never used for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(NonZeroU64);

/// A shared subscription in the list of all of them, which is in the order of its numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupEntry {
    /// The node of the filter.
    pub(super) filter: Id,
    /// The node of the group, below it.
    pub(super) node: Id,
    pub(super) id: GroupId,
}

impl GroupEntry {
    /// Where it stands among the others.
    pub(super) const fn key(&self) -> (Id, Id) {
        (self.filter, self.node)
    }
}

impl GroupId {
    pub(super) const FIRST: Self = Self(NonZeroU64::MIN);

    pub(super) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// One shared subscription and its members; there is at least one.
#[derive(Debug)]
pub struct Group<'i, K, V> {
    id: GroupId,
    name: &'i [u8],
    members: &'i Subscribers<K, V>,
}

impl<'i, K: Copy + Ord, V> Group<'i, K, V> {
    pub(super) const fn new(id: GroupId, name: &'i [u8], members: &'i Subscribers<K, V>) -> Self {
        Self { id, name, members }
    }

    /// A name for the caller's own notes about this group, such as whose turn it is.
    #[must_use]
    pub const fn id(&self) -> GroupId {
        self.id
    }

    /// The name in the filter.
    #[must_use]
    pub const fn name_bytes(&self) -> &'i [u8] {
        self.name
    }

    /// How many members there are.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a group without members does not exist"
    )]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// A member by its place in the order of the keys.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<(K, &'i V)> {
        self.members.nth(place).map(|(key, value)| (*key, value))
    }

    /// The value of one member.
    #[must_use]
    pub fn value_of(&self, key: K) -> Option<&'i V> {
        self.members.get(key)
    }

    /// All members, in the order of their keys.
    #[must_use]
    pub fn members(&self) -> GroupMembers<'i, K, V> {
        GroupMembers {
            slice: [].iter(),
            slices: self.members.slices(),
            left: self.members.len(),
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
    slice: core::slice::Iter<'i, (K, V)>,
    slices: Slices<'i, K, V>,
    left: usize,
}

impl<'i, K: Copy, V> Iterator for GroupMembers<'i, K, V> {
    type Item = (K, &'i V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.slice.next() {
                self.left = self.left.saturating_sub(1);
                return Some((*key, value));
            }
            self.slice = self.slices.next()?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K: Copy, V> ExactSizeIterator for GroupMembers<'_, K, V> {}
