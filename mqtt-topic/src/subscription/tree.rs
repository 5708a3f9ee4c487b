//! Filters as a tree of levels, in one table.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::TopicFilter;

/// The place of a node in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

#[derive(Clone, Debug)]
pub(super) struct Tree<T> {
    nodes: Vec<Option<Node<T>>>,
    free: Vec<NodeId>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    /// `None` in the root.
    parent: Option<NodeId>,
    level: Box<[u8]>,
    plus: Option<NodeId>,
    hash: Option<NodeId>,
    literal: BTreeMap<Box<[u8]>, NodeId>,
    value: T,
}

impl<T: Default> Tree<T> {
    pub(super) const ROOT: NodeId = NodeId(0);

    pub(super) fn new() -> Self {
        let root = Node {
            parent: None,
            level: Box::default(),
            plus: None,
            hash: None,
            literal: BTreeMap::new(),
            value: T::default(),
        };
        Self {
            nodes: Vec::from([Some(root)]),
            free: Vec::new(),
        }
    }

    pub(super) fn find(&self, filter: TopicFilter<'_>) -> Option<NodeId> {
        filter
            .levels()
            .try_fold(Self::ROOT, |node, level| self.child(node, level))
    }

    /// `None` when the table has no place left.
    pub(super) fn find_or_insert(&mut self, filter: TopicFilter<'_>) -> Option<NodeId> {
        let mut at = Self::ROOT;
        for level in filter.levels() {
            at = match self.child(at, level) {
                Some(child) => child,
                None => self.insert_child(at, level)?,
            };
        }
        Some(at)
    }

    /// Removes a node that holds nothing, and every node above it that then holds nothing.
    pub(super) fn prune(&mut self, node: NodeId, is_empty: impl Fn(&T) -> bool) {
        let mut at = node;
        while let Some(found) = self.node(at) {
            let Some(parent) = found.parent else { return };
            let leaf = found.plus.is_none() && found.hash.is_none() && found.literal.is_empty();
            if !leaf || !is_empty(&found.value) {
                return;
            }
            let Some(removed) = self.place_mut(at).and_then(Option::take) else {
                return;
            };
            self.free.push(at);
            if let Some(above) = self.node_mut(parent) {
                match &*removed.level {
                    b"+" => above.plus = None,
                    b"#" => above.hash = None,
                    level => {
                        above.literal.remove(level);
                    }
                }
            }
            at = parent;
        }
        self.give_back();
    }

    /// The text that leads to a node.
    pub(super) fn text(&self, node: NodeId, text: &mut Vec<u8>) {
        text.clear();
        let mut at = node;
        while let Some(found) = self.node(at) {
            let Some(parent) = found.parent else { break };
            if !text.is_empty() || at != node {
                text.push(b'/');
            }
            // Backwards, since the tree is walked upwards; turned round at the end.
            text.extend(found.level.iter().rev());
            at = parent;
        }
        text.reverse();
    }

    pub(super) fn child(&self, node: NodeId, level: &[u8]) -> Option<NodeId> {
        match level {
            b"+" => self.plus(node),
            b"#" => self.hash(node),
            literal => self.literal(node, literal),
        }
    }

    pub(super) fn plus(&self, node: NodeId) -> Option<NodeId> {
        self.node(node)?.plus
    }

    pub(super) fn hash(&self, node: NodeId) -> Option<NodeId> {
        self.node(node)?.hash
    }

    pub(super) fn literal(&self, node: NodeId, level: &[u8]) -> Option<NodeId> {
        self.node(node)?.literal.get(level).copied()
    }

    pub(super) fn value(&self, node: NodeId) -> Option<&T> {
        self.node(node).map(|node| &node.value)
    }

    pub(super) fn value_mut(&mut self, node: NodeId) -> Option<&mut T> {
        self.node_mut(node).map(|node| &mut node.value)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len().saturating_sub(self.free.len())
    }

    fn insert_child(&mut self, parent: NodeId, level: &[u8]) -> Option<NodeId> {
        let node = Node {
            parent: Some(parent),
            level: level.into(),
            plus: None,
            hash: None,
            literal: BTreeMap::new(),
            value: T::default(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                *self.place_mut(id)? = Some(node);
                id
            }
            None => {
                let id = NodeId(u32::try_from(self.nodes.len()).ok()?);
                self.nodes.push(Some(node));
                id
            }
        };
        let above = self.node_mut(parent)?;
        match level {
            b"+" => above.plus = Some(id),
            b"#" => above.hash = Some(id),
            literal => {
                above.literal.insert(literal.into(), id);
            }
        }
        Some(id)
    }

    /// Gives memory back when most of the table is free. The end of the table is cut off; a place
    /// in the middle waits for its next use.
    fn give_back(&mut self) {
        if self.free.len().saturating_mul(2) < self.nodes.len() {
            return;
        }
        while let Some(None) = self.nodes.last() {
            self.nodes.pop();
        }
        let len = self.nodes.len();
        self.free
            .retain(|id| usize::try_from(id.0).is_ok_and(|place| place < len));
        self.nodes.shrink_to(len.saturating_mul(2));
        self.free.shrink_to(self.free.len().saturating_mul(2));
    }

    fn node(&self, id: NodeId) -> Option<&Node<T>> {
        self.nodes.get(usize::try_from(id.0).ok()?)?.as_ref()
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node<T>> {
        self.place_mut(id)?.as_mut()
    }

    fn place_mut(&mut self, id: NodeId) -> Option<&mut Option<Node<T>>> {
        self.nodes.get_mut(usize::try_from(id.0).ok()?)
    }
}
