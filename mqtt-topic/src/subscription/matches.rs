//! The walk from a topic to everybody who wants it.

use alloc::vec::Vec;

use super::filters::Filters;
use super::group::{Group, GroupEntry};
use super::recent::Recent;
use super::subscribers::Slices;
use crate::TopicName;
use crate::index::{From, Id, Wanted};

/// Memory for look-ups, to be used again and again.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// Nodes that match so many levels of the topic, and those that match one more.
    reached: Vec<Id>,
    next: Vec<Id>,
    /// Nodes whose filters match.
    hits: Vec<Id>,
    steps: usize,
    recent: Recent,
    /// Where the hits are, if that is not in `hits`.
    remembered: Option<usize>,
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

/// Some who want a topic.
#[derive(Debug)]
#[non_exhaustive]
pub enum MatchSlice<'i, K, V> {
    /// Subscribers to one filter, in the order of their keys. A filter with many has several
    /// slices.
    Subscribers(&'i [(K, V)]),
    /// A shared subscription: one of its members gets the message.
    Group(Group<'i, K, V>),
}

/// Everybody who wants a topic, from [`SubscriptionIndex::matches`](super::SubscriptionIndex::matches).
#[derive(Debug)]
#[must_use = "iterators do nothing until they are asked"]
pub struct Matches<'i, K, V> {
    slices: MatchSlices<'i, K, V>,
    slice: core::slice::Iter<'i, (K, V)>,
}

/// The same in slices, from
/// [`SubscriptionIndex::match_slices`](super::SubscriptionIndex::match_slices).
#[derive(Debug)]
#[must_use = "iterators do nothing until they are asked"]
pub struct MatchSlices<'i, K, V> {
    filters: &'i Filters<K, V>,
    hits: core::slice::Iter<'i, Id>,
    slices: Slices<'i, K, V>,
    groups: Option<(Id, From<'i, GroupEntry>)>,
}

impl Scratch {
    /// Remembers what was found for so many topics: a topic that comes again while no filter has
    /// come or gone costs next to nothing. Each takes some hundred bytes at most.
    #[must_use]
    pub fn remembering(topics: usize) -> Self {
        Self {
            recent: Recent::with_places(topics),
            ..Self::default()
        }
    }

    /// Nodes visited by the last look-up: the work it took.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn hits(&self) -> &[Id] {
        match self.remembered {
            None => &self.hits,
            Some(place) => self.recent.hits(place),
        }
    }

    /// Finds the nodes whose filters match.
    #[inline]
    pub(super) fn walk<K: Copy + Ord, V>(&mut self, filters: &Filters<K, V>, topic: TopicName<'_>) {
        let version = filters.version;
        self.remembered = self.recent.place_of(topic);
        if let Some(place) = self.remembered {
            if self.recent.holds(place, version, topic) {
                self.steps = 1;
                return;
            }
            self.walk_tree(filters, topic);
            if !self.recent.note(place, version, topic, &self.hits) {
                self.remembered = None;
            }
            return;
        }
        self.walk_tree(filters, topic);
    }

    /// Each node stands at one depth, so it is visited at
    /// most once, however many wildcards there are; and when no node is left, neither is work.
    fn walk_tree<K: Copy + Ord, V>(&mut self, filters: &Filters<K, V>, topic: TopicName<'_>) {
        let Self {
            reached,
            next,
            hits,
            steps,
            ..
        } = self;
        let tree = &filters.tree;
        reached.clear();
        hits.clear();
        *steps = 0;
        reached.push(Filters::<K, V>::ROOT);
        // [5:MQTT-4.7.2-1] [3:MQTT-4.7.2-1] A leading wildcard matches no name that starts with '$'.
        let mut wildcards = !topic.starts_with_dollar();
        for text in topic.levels() {
            *steps = steps.saturating_add(reached.len());
            let mut wanted = Wanted::new(text);
            next.clear();
            for &id in &*reached {
                let Some(node) = tree.node(id) else { continue };
                if !node.has_children() {
                    continue;
                }
                if wildcards {
                    // '#' stands for what is below this node.
                    push(hits, node.value.hash);
                    push(next, node.value.plus);
                }
                let child = tree.child_of((id, node), &mut wanted);
                push(next, child.map(|(child, _)| child));
            }
            core::mem::swap(reached, next);
            if reached.is_empty() {
                return;
            }
            wildcards = true;
        }
        *steps = steps.saturating_add(reached.len());
        for &id in &*reached {
            let Some(node) = tree.node(id) else { continue };
            // And for this node, its parent, too.
            push(hits, node.value.hash);
            if node.value.holds_any() || node.is_marked() {
                hits.push(id);
            }
        }
    }
}

/// Pushes what is there: less work than `extend`, which is made for more.
#[inline(always)]
fn push(all: &mut Vec<Id>, one: Option<Id>) {
    if let Some(id) = one {
        all.push(id);
    }
}

impl<'i, K: Copy + Ord, V> MatchSlices<'i, K, V> {
    pub(super) fn new(filters: &'i Filters<K, V>, scratch: &'i Scratch) -> Self {
        Self {
            filters,
            hits: scratch.hits().iter(),
            slices: Slices::none(),
            groups: None,
        }
    }
}

impl<'i, K: Copy + Ord, V> Iterator for MatchSlices<'i, K, V> {
    type Item = MatchSlice<'i, K, V>;

    #[inline]
    fn next(&mut self) -> Option<MatchSlice<'i, K, V>> {
        loop {
            if let Some(slice) = self.slices.next() {
                return Some(MatchSlice::Subscribers(slice));
            }
            if let Some((filter, groups)) = &mut self.groups {
                let group = groups.next().filter(|group| group.filter == *filter);
                if let Some(group) = group.and_then(|group| self.filters.group_of(group)) {
                    return Some(MatchSlice::Group(group));
                }
                self.groups = None;
            }
            let id = *self.hits.next()?;
            let node = self.filters.tree.node(id)?;
            self.slices = node.value.subscribers.slices();
            if node.is_marked() {
                self.groups = Some((id, self.filters.groups_from(id)));
            }
        }
    }
}

impl<'i, K: Copy + Ord, V> Matches<'i, K, V> {
    pub(super) fn new(slices: MatchSlices<'i, K, V>) -> Self {
        Self {
            slices,
            slice: [].iter(),
        }
    }
}

impl<'i, K: Copy + Ord, V> Iterator for Matches<'i, K, V> {
    type Item = Match<'i, K, V>;

    #[inline]
    fn next(&mut self) -> Option<Match<'i, K, V>> {
        loop {
            if let Some((key, value)) = self.slice.next() {
                return Some(Match::Subscriber { key: *key, value });
            }
            match self.slices.next()? {
                MatchSlice::Subscribers(slice) => self.slice = slice.iter(),
                MatchSlice::Group(group) => return Some(Match::Group(group)),
            }
        }
    }

    /// Slice by slice, for `for_each` and the like.
    fn fold<A, F: FnMut(A, Self::Item) -> A>(self, start: A, mut step: F) -> A {
        let mut all = start;
        for (key, value) in self.slice {
            all = step(all, Match::Subscriber { key: *key, value });
        }
        for slice in self.slices {
            match slice {
                MatchSlice::Subscribers(slice) => {
                    for (key, value) in slice {
                        all = step(all, Match::Subscriber { key: *key, value });
                    }
                }
                MatchSlice::Group(group) => all = step(all, Match::Group(group)),
            }
        }
        all
    }
}
