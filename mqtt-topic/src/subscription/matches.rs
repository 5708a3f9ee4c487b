//! The walk from a topic to everybody who wants it.

use alloc::vec::Vec;

use super::group::Group;
use super::tree::{NodeId, Tree};
use super::{GroupEntry, Subscribers};
use crate::TopicName;

/// Memory for look-ups, to be used again and again.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// Where each level of the topic starts and ends.
    levels: Vec<(usize, usize)>,
    /// Nodes still to visit, and how many levels lead to them.
    stack: Vec<(NodeId, usize)>,
    /// Nodes whose filters match.
    hits: Vec<NodeId>,
    steps: usize,
}

/// One who wants a topic.
#[derive(Debug)]
#[non_exhaustive]
pub enum Match<'i, K, V> {
    /// A subscriber with a subscription of its own.
    Subscriber {
        /// Who.
        key: K,
        /// What the caller keeps for the subscription.
        value: &'i V,
    },
    /// A shared subscription: one of its members gets the message.
    Group(Group<'i, K, V>),
}

/// Everybody who wants a topic, from [`SubscriptionIndex::matches`](super::SubscriptionIndex::matches).
#[derive(Debug)]
pub struct Matches<'i, K, V> {
    tree: &'i Tree<Subscribers<K, V>>,
    hits: core::slice::Iter<'i, NodeId>,
    plain: core::slice::Iter<'i, (K, V)>,
    groups: core::slice::Iter<'i, GroupEntry<K, V>>,
}

impl Scratch {
    /// Nodes visited by the last look-up: the work it took.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Finds the nodes whose filters match. Each node stands at one depth, so it is visited at
    /// most once, however many wildcards there are.
    pub(super) fn walk<T: Default>(
        &mut self,
        tree: &Tree<T>,
        topic: TopicName<'_>,
        holds: impl Fn(&T) -> bool,
    ) {
        let Self {
            levels,
            stack,
            hits,
            steps,
        } = self;
        let bytes = topic.as_bytes();
        levels.clear();
        stack.clear();
        hits.clear();
        *steps = 0;
        let mut start = 0_usize;
        for level in topic.levels() {
            let end = start.saturating_add(level.len());
            levels.push((start, end));
            start = end.saturating_add(1);
        }
        let mut hit = |node: NodeId| {
            if tree.value(node).is_some_and(&holds) {
                hits.push(node);
            }
        };
        stack.push((Tree::<T>::ROOT, 0));
        while let Some((node, depth)) = stack.pop() {
            *steps = steps.saturating_add(1);
            // [5:MQTT-4.7.2-1] [3:MQTT-4.7.2-1] A leading wildcard matches no name that starts with '$'.
            let wildcards = depth > 0 || !topic.starts_with_dollar();
            // '#' stands for what is below this node, and for this node, its parent, too.
            if wildcards && let Some(hash) = tree.hash(node) {
                hit(hash);
            }
            let Some(&(start, end)) = levels.get(depth) else {
                hit(node);
                continue;
            };
            let below = depth.saturating_add(1);
            // The stack turns the order round: '+' is visited first.
            let level = bytes.get(start..end).unwrap_or_default();
            if let Some(literal) = tree.literal(node, level) {
                stack.push((literal, below));
            }
            if wildcards && let Some(plus) = tree.plus(node) {
                stack.push((plus, below));
            }
        }
    }
}

impl<'i, K, V> Matches<'i, K, V> {
    pub(super) fn new(tree: &'i Tree<Subscribers<K, V>>, scratch: &'i Scratch) -> Self {
        Self {
            tree,
            hits: scratch.hits.iter(),
            plain: [].iter(),
            groups: [].iter(),
        }
    }
}

impl<'i, K: Copy + Ord, V> Iterator for Matches<'i, K, V> {
    type Item = Match<'i, K, V>;

    fn next(&mut self) -> Option<Match<'i, K, V>> {
        loop {
            if let Some((key, value)) = self.plain.next() {
                return Some(Match::Subscriber { key: *key, value });
            }
            if let Some(group) = self.groups.next() {
                return Some(Match::Group(Group::new(group)));
            }
            let subscribers = self.tree.value(*self.hits.next()?)?;
            self.plain = subscribers.plain.iter();
            self.groups = subscribers.groups.iter();
        }
    }
}
