//! A tree of levels.

use alloc::vec::Vec;

use super::cow::Unshare;
use super::hash::Seed;
use super::ids::IdTable;
use super::levels::Levels;
use super::slab::{Id, Slab, Slots};

/// A node: one level below another one.
#[derive(Clone, Debug)]
pub(crate) struct Node<T> {
    /// Of the level and of the node above; `None` in the root.
    edge: Option<(Id, Id)>,
    children: u32,
    pub(crate) value: T,
}

impl<T> Node<T> {
    /// The node above; `None` for the root.
    pub(crate) fn parent(&self) -> Option<Id> {
        self.edge.map(|(_, parent)| parent)
    }

    #[inline]
    pub(crate) const fn has_children(&self) -> bool {
        self.children > 0
    }
}

/// Nodes below one root. Each level of each is kept once, and all edges in one table.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    seed: Seed,
    levels: Levels,
    nodes: Slab<Node<T>>,
    edges: IdTable,
}

impl<T> Tree<T> {
    pub(crate) const ROOT: Id = Id::FIRST;

    #[inline]
    pub(crate) fn node(&self, id: Id) -> Option<&Node<T>> {
        self.nodes.get(id)
    }

    /// Nodes, the root included.
    pub(crate) const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes that it holds, those of values on the heap apart.
    pub(crate) const fn bytes(&self) -> usize {
        self.nodes
            .bytes()
            .saturating_add(self.edges.bytes())
            .saturating_add(self.levels.bytes())
    }

    /// The number of the text of a level, if any node has it.
    #[inline]
    pub(crate) fn level(&self, text: &[u8]) -> Option<Id> {
        self.levels.find(self.seed, text)
    }

    #[inline]
    pub(crate) fn child(&self, parent: Id, level: Id) -> Option<Id> {
        let hash = self.seed.pair(parent.get(), level.get());
        let edge = Some((level, parent));
        let is_it = |id| self.node(id).is_some_and(|node| node.edge == edge);
        self.edges.find(hash, is_it)
    }

    pub(crate) fn child_named(&self, parent: Id, text: &[u8]) -> Option<Id> {
        self.child(parent, self.level(text)?)
    }

    /// The node that levels lead to.
    pub(crate) fn find<'a>(&self, mut levels: impl Iterator<Item = &'a [u8]>) -> Option<Id> {
        levels.try_fold(Self::ROOT, |node, level| self.child_named(node, level))
    }

    /// The text of the level of a node; empty for the root.
    pub(crate) fn level_text(&self, id: Id) -> &[u8] {
        let level = self.node(id).and_then(|node| node.edge);
        level.map_or(&[], |(level, _)| self.levels.text(level))
    }

    /// The text that leads to a node.
    pub(crate) fn text(&self, node: Id, text: &mut Vec<u8>) {
        text.clear();
        let mut at = node;
        while let Some(found) = self.node(at) {
            let Some((level, parent)) = found.edge else {
                break;
            };
            if at != node {
                text.push(b'/');
            }
            // Backwards, since the tree is walked upwards; turned round at the end.
            text.extend(self.levels.text(level).iter().rev());
            at = parent;
        }
        text.reverse();
    }

    /// All nodes from a number on, in the order of their numbers.
    pub(crate) fn from(&self, id: Id) -> Slots<'_, Node<T>> {
        self.nodes.from(id)
    }

    fn hash_of(nodes: &Slab<Node<T>>, seed: Seed, id: Id) -> u64 {
        match nodes.get(id).and_then(|node| node.edge) {
            Some((level, parent)) => seed.pair(parent.get(), level.get()),
            None => 0,
        }
    }
}

impl<T> Tree<T>
where
    Node<T>: Unshare,
{
    pub(crate) fn new(seed: Seed, root: T) -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node {
            edge: None,
            children: 0,
            value: root,
        });
        debug_assert_eq!(root, Some(Self::ROOT), "the first number");
        Self {
            seed,
            levels: Levels::new(),
            nodes,
            edges: IdTable::new(),
        }
    }

    #[inline]
    pub(crate) fn value_mut(&mut self, id: Id) -> Option<&mut T> {
        self.nodes.get_mut(id).map(|node| &mut node.value)
    }

    /// Adds a node that is not there; `None` when there is no number left.
    pub(crate) fn insert_child(&mut self, parent: Id, text: &[u8], value: T) -> Option<Id> {
        let level = self.levels.acquire(self.seed, text)?;
        let node = Node {
            edge: Some((level, parent)),
            children: 0,
            value,
        };
        let Some(id) = self.nodes.insert(node) else {
            self.levels.release(self.seed, level);
            return None;
        };
        if let Some(above) = self.nodes.get_mut(parent) {
            above.children = above.children.saturating_add(1);
        }
        let (nodes, seed) = (&self.nodes, self.seed);
        let hash = seed.pair(parent.get(), level.get());
        self.edges
            .insert(hash, id, |id| Self::hash_of(nodes, seed, id));
        Some(id)
    }

    /// Removes a node without children; answers the one above.
    pub(crate) fn remove_leaf(&mut self, id: Id) -> Option<Id> {
        let node = self.node(id)?;
        let (level, parent) = node.edge?;
        if node.has_children() {
            return None;
        }
        let (nodes, seed) = (&self.nodes, self.seed);
        let hash = seed.pair(parent.get(), level.get());
        self.edges
            .remove(hash, id, |id| Self::hash_of(nodes, seed, id));
        self.nodes.remove(id);
        self.levels.release(self.seed, level);
        if let Some(above) = self.nodes.get_mut(parent) {
            above.children = above.children.saturating_sub(1);
        }
        Some(parent)
    }
}

impl<T> Clone for Tree<T> {
    /// Shares everything until one of the two changes.
    fn clone(&self) -> Self {
        Self {
            seed: self.seed,
            levels: self.levels.clone(),
            nodes: self.nodes.clone(),
            edges: self.edges.clone(),
        }
    }
}
