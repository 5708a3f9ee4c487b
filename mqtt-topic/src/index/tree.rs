//! A tree of levels.

use alloc::vec::Vec;

use crate::scan;

use super::cow::Unshare;
use super::hash::{Seed, below};
use super::ids::IdTable;
use super::levels::Levels;
use super::slab::{Id, Slab, Slots};

/// A node: one level below another one.
#[derive(Clone, Debug)]
pub(crate) struct Node<T> {
    /// Of the level and of the node above; `None` in the root.
    edge: Option<(Id, Id)>,
    /// Twice as many, and one for the mark.
    children: u32,
    /// One of the children, to be looked at first: most nodes have no other.
    first: Option<Id>,
    pub(crate) value: T,
}

impl<T> Node<T> {
    const fn new(edge: Option<(Id, Id)>, value: T) -> Self {
        Self {
            edge,
            children: 0,
            first: None,
            value,
        }
    }

    /// The node above; `None` for the root.
    pub(crate) fn parent(&self) -> Option<Id> {
        self.edge.map(|(_, parent)| parent)
    }

    #[inline]
    pub(crate) const fn has_children(&self) -> bool {
        self.children > 1
    }

    #[inline]
    const fn has_one_child(&self) -> bool {
        self.children >> 1 == 1
    }

    /// One, or one beside a wildcard: then the first is likely to be the one that is looked for.
    #[inline]
    const fn has_few_children(&self) -> bool {
        self.children >> 1 <= 2
    }

    /// What the owner of the tree has noted about the node.
    #[inline]
    pub(crate) const fn is_marked(&self) -> bool {
        self.children & 1 != 0
    }
}

/// A level that is looked for at several nodes. What is found out about it is not asked twice.
#[derive(Debug)]
pub(crate) struct Wanted<'t> {
    text: &'t [u8],
    hash: Option<u64>,
    level: Option<Id>,
}

impl<'t> Wanted<'t> {
    pub(crate) const fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            hash: None,
            level: None,
        }
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

    pub(crate) fn child_named(&self, parent: Id, text: &[u8]) -> Option<Id> {
        let (child, _) = self.child((parent, self.node(parent)?), text)?;
        Some(child)
    }

    /// The child of a node with a level.
    #[inline(always)]
    pub(crate) fn child<'n>(
        &'n self,
        parent: (Id, &Node<T>),
        text: &[u8],
    ) -> Option<(Id, &'n Node<T>)> {
        let is_it = |level| scan::is_same(self.levels.text(level), text);
        self.child_where(parent, || self.seed.text(text), is_it)
    }

    /// The child of a node with the wanted level.
    #[inline(always)]
    pub(crate) fn child_of<'n>(
        &'n self,
        parent: (Id, &Node<T>),
        wanted: &mut Wanted<'_>,
    ) -> Option<(Id, &'n Node<T>)> {
        let Wanted { text, hash, level } = wanted;
        let hash = || *hash.get_or_insert_with(|| self.seed.text(text));
        let known = *level;
        let found = self.child_where(parent, hash, |level| match known {
            Some(known) => known == level,
            None => scan::is_same(self.levels.text(level), text),
        })?;
        *level = found.1.edge.map(|(level, _)| level);
        Some(found)
    }

    /// The child of a node whose level is the one; `hash` is asked for the hash of its text.
    #[inline(always)]
    fn child_where<'n>(
        &'n self,
        (id, node): (Id, &Node<T>),
        hash: impl FnOnce() -> u64,
        is_it: impl Fn(Id) -> bool,
    ) -> Option<(Id, &'n Node<T>)> {
        if node.has_few_children()
            && let Some(first) = node.first
        {
            let child = self.node(first)?;
            let (level, _) = child.edge?;
            if is_it(level) {
                return Some((first, child));
            }
            if node.has_one_child() {
                return None;
            }
        }
        let child = self.edges.find(below(id.get(), hash()), |child| {
            let edge = self.node(child).and_then(|child| child.edge);
            edge.is_some_and(|(level, parent)| parent == id && is_it(level))
        })?;
        Some((child, self.node(child)?))
    }

    /// The node that levels lead to.
    pub(crate) fn find<'a>(&self, mut levels: impl Iterator<Item = &'a [u8]>) -> Option<Id> {
        let root = (Self::ROOT, self.node(Self::ROOT)?);
        let (found, _) = levels.try_fold(root, |at, level| self.child(at, level))?;
        Some(found)
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

    fn hash_of(nodes: &Slab<Node<T>>, levels: &Levels, seed: Seed, id: Id) -> u64 {
        match nodes.get(id).and_then(|node| node.edge) {
            Some((level, parent)) => below(parent.get(), seed.text(levels.text(level))),
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
        let root = nodes.insert(Node::new(None, root));
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

    pub(crate) fn mark(&mut self, id: Id, is_marked: bool) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.children = (node.children & !1) | u32::from(is_marked);
        }
    }

    /// Adds a node that is not there, and lets the one above note its number; `None` when there is
    /// no number left.
    pub(crate) fn insert_child(
        &mut self,
        parent: Id,
        text: &[u8],
        value: T,
        note: impl FnOnce(&mut T, Id),
    ) -> Option<Id> {
        let level = self.levels.acquire(self.seed, text)?;
        let node = Node::new(Some((level, parent)), value);
        let has_room = self
            .node(parent)
            .is_some_and(|above| above.children < u32::MAX - 1);
        let Some(id) = has_room.then(|| self.nodes.insert(node)).flatten() else {
            self.levels.release(self.seed, level);
            return None;
        };
        if let Some(above) = self.nodes.get_mut(parent) {
            above.children = above.children.saturating_add(2);
            // A wildcard is looked for in other ways.
            if !matches!(text, b"+" | b"#") {
                above.first = above.first.or(Some(id));
            }
            note(&mut above.value, id);
        }
        let (nodes, levels, seed) = (&self.nodes, &self.levels, self.seed);
        let hash = below(parent.get(), seed.text(text));
        self.edges
            .insert(hash, id, |id| Self::hash_of(nodes, levels, seed, id));
        Some(id)
    }

    /// Removes a node without children that is `over`; answers the number of the one above, which is
    /// shown what the node had. Neither the root is a leaf, nor what has children.
    #[inline]
    pub(crate) fn remove_leaf(
        &mut self,
        id: Id,
        over: impl FnOnce(&T) -> bool,
        show: impl FnOnce(&mut Node<T>, T),
    ) -> Option<Id> {
        let node = self.node(id)?;
        let (level, parent) = node.edge?;
        if node.has_children() || !over(&node.value) {
            return None;
        }
        let (nodes, levels, seed) = (&self.nodes, &self.levels, self.seed);
        let hash = below(parent.get(), seed.text(levels.text(level)));
        self.edges
            .remove(hash, id, |id| Self::hash_of(nodes, levels, seed, id));
        let removed = self.nodes.remove(id)?;
        self.levels.release(self.seed, level);
        if let Some(above) = self.nodes.get_mut(parent) {
            above.children = above.children.saturating_sub(2);
            above.first = above.first.filter(|first| *first != id);
            show(above, removed.value);
        }
        if self.len() == 1 {
            self.give_back();
        }
        Some(parent)
    }
}

impl<T> Tree<T>
where
    Node<T>: Unshare,
{
    /// The root, which alone is left, moves to a place of its own size.
    fn give_back(&mut self) {
        if let Some(root) = self.nodes.remove(Self::ROOT) {
            self.nodes = Slab::new();
            self.nodes.insert(root);
        }
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
