//! Each subscriber once, however many of his filters match.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::filters::Filters;
use super::{Group, MatchSlice, MatchSlices, Matches, Scratch};
use crate::TopicName;
use crate::index::Id;

/// Memory for look-ups that merge, to be used again and again.
#[derive(Clone, Debug)]
pub struct MergeScratch<K> {
    pub(super) scratch: Scratch,
    /// Who, and the node of his filter; those of one subscriber together.
    pub(super) found: Vec<(K, Id)>,
    pub(super) queues: Queues<K>,
}

/// Memory for a merge that has to be fair to many filters: both are empty between two look-ups.
#[derive(Clone, Debug)]
pub(super) struct Queues<K> {
    /// Who, and the node of his filter; the lowest key first.
    pub(super) found: Vec<Reverse<(K, Id)>>,
    /// Filters with more subscribers behind a key.
    pub(super) more: Vec<Reverse<(K, Id)>>,
}

impl<K> Queues<K> {
    const fn new() -> Self {
        Self {
            found: Vec::new(),
            more: Vec::new(),
        }
    }
}

impl<K> Default for MergeScratch<K> {
    fn default() -> Self {
        Self {
            scratch: Scratch::default(),
            found: Vec::new(),
            queues: Queues::new(),
        }
    }
}

impl<K> MergeScratch<K> {
    /// As [`Scratch::remembering`].
    #[must_use]
    pub fn remembering(topics: usize) -> Self {
        Self {
            scratch: Scratch::remembering(topics),
            found: Vec::new(),
            queues: Queues::new(),
        }
    }

    /// Nodes visited by the last look-up: the work it took.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.scratch.steps()
    }
}

/// Everybody who wants a topic, from
/// [`SubscriptionIndex::overlaps`](super::SubscriptionIndex::overlaps).
///
/// ```
/// use mqtt_topic::{IndexConfig, MergeScratch, SubscriptionIndex, TopicFilter, TopicName};
///
/// // What this broker keeps for a subscription: QoS and identifier.
/// let mut index = SubscriptionIndex::new(IndexConfig::default());
/// index.insert(TopicFilter::new("house/+")?, "anna", (2, Some(7)))?;
/// index.insert(TopicFilter::new("house/#")?, "anna", (0, Some(8)))?;
/// index.insert(TopicFilter::new("#")?, "bert", (1, None))?;
///
/// let mut scratch = MergeScratch::default();
/// let overlaps = index.overlaps(TopicName::new("house/light")?, &mut scratch);
/// let mut copies = Vec::new();
/// for subscriber in overlaps.subscribers() {
///     let qos = subscriber.values().map(|(qos, _)| *qos).max();
///     let ids: Vec<u32> = subscriber.values().filter_map(|(_, id)| *id).collect();
///     copies.push((subscriber.key(), qos, ids));
/// }
/// assert_eq!(copies, [("anna", Some(2), vec![7, 8]), ("bert", Some(1), vec![])]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Overlaps<'i, K, V> {
    filters: &'i Filters<K, V>,
    found: &'i [(K, Id)],
    scratch: &'i Scratch,
}

impl<'i, K: Copy + Ord, V> Overlaps<'i, K, V> {
    /// Subscribers, in the order of their keys.
    #[must_use]
    pub fn subscribers(&self) -> SubscriberMatches<'i, K, V> {
        SubscriberMatches {
            filters: self.filters,
            found: self.found,
        }
    }

    /// Shared subscriptions: one member of each gets the message, beside what his own
    /// subscriptions bring.
    pub fn groups(&self) -> impl Iterator<Item = Group<'i, K, V>> + use<'i, K, V> {
        MatchSlices::new(self.filters, self.scratch).filter_map(|slice| match slice {
            MatchSlice::Group(group) => Some(group),
            MatchSlice::Subscribers(_) => None,
        })
    }
}

/// Subscribers, each once.
#[derive(Debug)]
pub struct SubscriberMatches<'i, K, V> {
    pub(super) filters: &'i Filters<K, V>,
    pub(super) found: &'i [(K, Id)],
}

impl<'i, K: Copy + Ord, V> Iterator for SubscriberMatches<'i, K, V> {
    type Item = SubscriberMatch<'i, K, V>;

    fn next(&mut self) -> Option<SubscriberMatch<'i, K, V>> {
        let key = self.found.first()?.0;
        let is_other = |(other, _): &(K, Id)| *other != key;
        let len = self
            .found
            .iter()
            .position(is_other)
            .unwrap_or(self.found.len());
        let (found, behind) = self.found.split_at_checked(len)?;
        self.found = behind;
        Some(SubscriberMatch {
            filters: self.filters,
            key,
            found,
        })
    }
}

/// A subscriber who wants a topic, by one or several of his subscriptions.
#[derive(Debug)]
pub struct SubscriberMatch<'i, K, V> {
    filters: &'i Filters<K, V>,
    key: K,
    found: &'i [(K, Id)],
}

impl<'i, K: Copy + Ord, V> SubscriberMatch<'i, K, V> {
    /// Who.
    #[must_use]
    pub const fn key(&self) -> K {
        self.key
    }

    /// What the caller keeps for each of the subscriptions; at least one.
    #[must_use]
    pub fn values(&self) -> SubscriberValues<'i, K, V> {
        SubscriberValues {
            filters: self.filters,
            found: self.found.iter(),
        }
    }
}

/// The values of the subscriptions of one subscriber.
#[derive(Debug)]
pub struct SubscriberValues<'i, K, V> {
    filters: &'i Filters<K, V>,
    found: core::slice::Iter<'i, (K, Id)>,
}

impl<'i, K: Copy + Ord, V> Iterator for SubscriberValues<'i, K, V> {
    type Item = &'i V;

    fn next(&mut self) -> Option<&'i V> {
        let (key, node) = self.found.next()?;
        self.filters.subscribers(*node)?.get(*key)
    }
}

impl<K: Copy + Ord, V> Filters<K, V> {
    pub(super) fn matches<'i>(
        &'i self,
        topic: TopicName<'_>,
        scratch: &'i mut Scratch,
    ) -> Matches<'i, K, V> {
        Matches::new(self.match_slices(topic, scratch))
    }

    pub(super) fn match_slices<'i>(
        &'i self,
        topic: TopicName<'_>,
        scratch: &'i mut Scratch,
    ) -> MatchSlices<'i, K, V> {
        scratch.walk(self, topic);
        MatchSlices::new(self, scratch)
    }

    pub(super) fn overlaps<'i>(
        &'i self,
        topic: TopicName<'_>,
        merge: &'i mut MergeScratch<K>,
    ) -> Overlaps<'i, K, V> {
        let MergeScratch { scratch, found, .. } = merge;
        found.clear();
        scratch.walk(self, topic);
        for node in scratch.hits() {
            let subscribers = self.subscribers(*node).into_iter();
            for slice in subscribers.flat_map(|subscribers| subscribers.slices()) {
                found.extend(slice.iter().map(|(key, _)| (*key, *node)));
            }
        }
        // One filter has its subscribers in order; of several, each may have the same ones.
        if scratch.hits().len() > 1 {
            found.sort_unstable();
        }
        Overlaps {
            filters: self,
            found,
            scratch,
        }
    }
}
