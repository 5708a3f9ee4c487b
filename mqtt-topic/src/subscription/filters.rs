//! Filters as a tree, with who has subscribed to each: all that matching needs.

use core::cmp::Ordering;

use super::group::{Group, GroupEntry, GroupId};
use super::recent::{Change, Version};
use super::subscribers::Subscribers;
use crate::TopicFilter;
use crate::index::{From, Id, Node, Piece, Seed, Shared, Sorted, Tree, Unshare, unshare_by_copy};

/// What a node of the tree has beside its edge. It is marked when there are shared subscriptions to
/// its filter.
#[derive(Debug)]
pub(super) struct FilterNode<K, V> {
    pub(super) plus: Option<Id>,
    pub(super) hash: Option<Id>,
    pub(super) subscribers: Subscribers<K, V>,
}

impl<K, V> FilterNode<K, V> {
    pub(super) const EMPTY: Self = Self {
        plus: None,
        hash: None,
        subscribers: Subscribers::None,
    };
}

impl<K: Copy + Ord, V> FilterNode<K, V> {
    #[inline]
    pub(super) const fn holds_any(&self) -> bool {
        !self.subscribers.is_empty()
    }
}

impl<K: Copy, V: Clone> Clone for FilterNode<K, V> {
    fn clone(&self) -> Self {
        Self {
            subscribers: self.subscribers.clone(),
            ..*self
        }
    }
}

impl<K: Copy, V: Clone> Unshare for Node<FilterNode<K, V>> {
    fn unshare(piece: &mut Shared<Piece<Self>>) -> Option<&mut Piece<Self>> {
        unshare_by_copy(piece)
    }
}

/// Filters and their subscribers. A copy shares everything until one of the two changes.
#[derive(Debug)]
pub(super) struct Filters<K, V> {
    pub(super) tree: Tree<FilterNode<K, V>>,
    /// All shared subscriptions, those of one filter together. The group is a node below its
    /// filter, of a level that no topic has: its name with a '/' in front.
    groups: Sorted<GroupEntry>,
    /// Of the subscribers.
    heap_bytes: usize,
    next_group: GroupId,
    /// Changes when the nodes that a topic finds may.
    pub(super) version: Version,
}

impl<K, V> Clone for Filters<K, V> {
    fn clone(&self) -> Self {
        Self {
            tree: self.tree.clone(),
            groups: self.groups.clone(),
            ..*self
        }
    }
}

impl<K: Copy + Ord, V> Filters<K, V> {
    pub(super) const ROOT: Id = Tree::<FilterNode<K, V>>::ROOT;

    #[inline(always)]
    pub(super) fn find(&self, filter: TopicFilter<'_>) -> Option<Id> {
        // A loop of its own: as `try_fold` it becomes a call.
        let mut found = (Self::ROOT, self.tree.node(Self::ROOT)?);
        for level in filter.levels() {
            found = self.child(found, level)?;
        }
        Some(found.0)
    }

    fn child_named(&self, parent: Id, level: &[u8]) -> Option<Id> {
        let (child, _) = self.child((parent, self.tree.node(parent)?), level)?;
        Some(child)
    }

    /// The child of a node with some level: wildcards are known to it.
    #[inline(always)]
    fn child<'n>(
        &'n self,
        (id, node): (Id, &'n Node<FilterNode<K, V>>),
        level: &[u8],
    ) -> Option<(Id, &'n Node<FilterNode<K, V>>)> {
        let wildcard = match level {
            b"+" => node.value.plus?,
            b"#" => node.value.hash?,
            _ => return self.tree.child((id, node), level),
        };
        Some((wildcard, self.tree.node(wildcard)?))
    }

    pub(super) fn subscribers(&self, node: Id) -> Option<&Subscribers<K, V>> {
        self.tree.node(node).map(|node| &node.value.subscribers)
    }

    pub(super) fn groups_from(&self, filter: Id) -> From<'_, GroupEntry> {
        self.groups
            .from(|group| compare(group, (filter, Id::FIRST)))
    }

    /// The groups behind one of a filter.
    pub(super) fn groups_behind(&self, filter: Id, node: Id) -> From<'_, GroupEntry> {
        self.groups
            .from(|group| compare(group, (filter, node.next())))
    }

    pub(super) fn group_of(&self, entry: &GroupEntry) -> Option<Group<'_, K, V>> {
        let members = self.subscribers(entry.node)?;
        Some(Group::new(entry.id, self.group_name(entry.node)?, members))
    }

    pub(super) fn group_at(&self, node: Id) -> Option<Group<'_, K, V>> {
        let filter = self.tree.node(node)?.parent()?;
        let place = self
            .groups
            .search(|group| compare(group, (filter, node)))
            .ok()?;
        self.group_of(self.groups.get(place)?)
    }

    /// The name of the group whose node this is; `None` for the node of a filter.
    pub(super) fn group_name(&self, node: Id) -> Option<&[u8]> {
        self.tree.level_text(node).strip_prefix(b"/")
    }

    pub(super) const fn bytes(&self) -> usize {
        self.tree
            .bytes()
            .saturating_add(self.groups.bytes())
            .saturating_add(self.heap_bytes)
    }
}

impl<K: Copy + Ord, V: Clone> Filters<K, V> {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            tree: Tree::new(seed, FilterNode::EMPTY),
            groups: Sorted::new(),
            heap_bytes: 0,
            next_group: GroupId::FIRST,
            version: Version::default(),
        }
    }

    /// The node of a filter; `None` when there is no number left.
    pub(super) fn find_or_insert(&mut self, filter: TopicFilter<'_>) -> Option<Id> {
        let mut at = Self::ROOT;
        for level in filter.levels() {
            at = match self.child_named(at, level) {
                Some(child) => child,
                None => match self.insert_child(at, level) {
                    Some(child) => child,
                    None => {
                        self.prune(at);
                        return None;
                    }
                },
            };
        }
        Some(at)
    }

    fn insert_child(&mut self, parent: Id, level: &[u8]) -> Option<Id> {
        let child =
            self.tree.insert_child(
                parent,
                level,
                FilterNode::EMPTY,
                |above, child| match level {
                    b"+" => above.plus = Some(child),
                    b"#" => above.hash = Some(child),
                    _ => {}
                },
            )?;
        self.version.note(Change::Inserted {
            parent,
            child,
            level,
        });
        Some(child)
    }

    /// The node of a shared subscription, by the '/' and the name of its group.
    pub(super) fn find_or_insert_group(&mut self, filter: Id, name: &[u8]) -> Option<Id> {
        if let Some(node) = self.tree.child_named(filter, name) {
            return Some(node);
        }
        let node = self
            .tree
            .insert_child(filter, name, FilterNode::EMPTY, |_, _| {})?;
        self.version.note(Change::Inserted {
            parent: filter,
            child: node,
            level: name,
        });
        let id = self.next_group;
        self.next_group = id.next();
        let entry = GroupEntry { filter, node, id };
        self.groups.put(entry, |group| compare(group, entry.key()));
        self.tree.mark(filter, true);
        Some(node)
    }

    pub(super) fn subscribe(&mut self, node: Id, key: K, value: V) -> Option<V> {
        let subscribers = &mut self.tree.value_mut(node)?.subscribers;
        let before = subscribers.bytes();
        if subscribers.is_empty() {
            self.version.note(Change::FirstSubscriber(node));
        }
        let replaced = subscribers.insert(key, value);
        let after = subscribers.bytes();
        self.heap_bytes = self.heap_bytes.saturating_add(after).saturating_sub(before);
        replaced
    }

    pub(super) fn unsubscribe(&mut self, node: Id, key: K) -> Option<V> {
        // Mostly he is the only one, and goes with the node.
        if let Some((parent, removed)) = self.remove_leaf(node, |it| it.subscribers.is_only(key)) {
            self.prune(parent);
            return removed;
        }
        let subscribers = &mut self.tree.value_mut(node)?.subscribers;
        let before = subscribers.bytes();
        let removed = subscribers.remove(key);
        if subscribers.is_empty() {
            self.version.note(Change::LastSubscriber(node));
        }
        let after = subscribers.bytes();
        self.heap_bytes = self.heap_bytes.saturating_add(after).saturating_sub(before);
        removed
    }

    /// Removes a node that holds nothing, and every node above it that then holds nothing.
    pub(super) fn prune(&mut self, node: Id) {
        let mut at = node;
        while let Some((parent, _)) = self.remove_leaf(at, |it| !it.holds_any()) {
            at = parent;
        }
    }

    /// Removes a node without children that is `over`; answers the number of the one above, and what the
    /// only subscriber had.
    #[inline]
    fn remove_leaf(
        &mut self,
        node: Id,
        over: impl FnOnce(&FilterNode<K, V>) -> bool,
    ) -> Option<(Id, Option<V>)> {
        let (mut value, mut has_groups) = (None, false);
        let filter = self.tree.remove_leaf(node, over, |above, removed| {
            has_groups = above.is_marked();
            let above = &mut above.value;
            above.plus = above.plus.filter(|plus| *plus != node);
            above.hash = above.hash.filter(|hash| *hash != node);
            value = removed.subscribers.into_one();
        })?;
        self.version.note(Change::Removed(node));
        if has_groups && let Ok(place) = self.groups.search(|group| compare(group, (filter, node)))
        {
            self.groups.remove(place);
            let next = self.groups_from(filter).next();
            let has_more = next.is_some_and(|group| group.filter == filter);
            self.tree.mark(filter, has_more);
        }
        Some((filter, value))
    }
}

fn compare(group: &GroupEntry, key: (Id, Id)) -> Ordering {
    group.key().cmp(&key)
}
