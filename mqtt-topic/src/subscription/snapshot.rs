//! What readers see while the index changes.

use super::filters::Filters;
use super::{MatchSlices, Matches, MergeScratch, Overlaps, Scratch};
use crate::TopicName;

/// The subscriptions of one moment, from
/// [`SubscriptionIndex::snapshot`](super::SubscriptionIndex::snapshot).
///
/// It never changes, and it can go to another thread (on targets that have threads). A snapshot
/// that is held keeps what has been changed since in memory.
///
/// ```
/// use mqtt_topic::{IndexConfig, Scratch, SubscriptionIndex, TopicFilter, TopicName};
///
/// let mut index = SubscriptionIndex::new(IndexConfig::default());
/// index.insert(TopicFilter::new("house/#")?, 1, ())?;
/// let snapshot = index.snapshot();
/// let reader = std::thread::spawn(move || {
///     let topic = TopicName::new("house/light").unwrap();
///     snapshot.matches(topic, &mut Scratch::default()).count()
/// });
/// index.insert(TopicFilter::new("+/light")?, 2, ())?;
/// assert_eq!(reader.join().unwrap(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SubscriptionSnapshot<K, V> {
    filters: Filters<K, V>,
}

impl<K: Copy + Ord, V> SubscriptionSnapshot<K, V> {
    pub(super) const fn new(filters: Filters<K, V>) -> Self {
        Self { filters }
    }

    /// As [`SubscriptionIndex::matches`](super::SubscriptionIndex::matches).
    pub fn matches<'i>(
        &'i self,
        topic: TopicName<'_>,
        scratch: &'i mut Scratch,
    ) -> Matches<'i, K, V> {
        self.filters.matches(topic, scratch)
    }

    /// As [`SubscriptionIndex::match_slices`](super::SubscriptionIndex::match_slices).
    pub fn match_slices<'i>(
        &'i self,
        topic: TopicName<'_>,
        scratch: &'i mut Scratch,
    ) -> MatchSlices<'i, K, V> {
        self.filters.match_slices(topic, scratch)
    }

    /// As [`SubscriptionIndex::overlaps`](super::SubscriptionIndex::overlaps).
    pub fn overlaps<'i>(
        &'i self,
        topic: TopicName<'_>,
        scratch: &'i mut MergeScratch<K>,
    ) -> Overlaps<'i, K, V> {
        self.filters.overlaps(topic, scratch)
    }

    /// Whether anybody wants a topic.
    pub fn any_match(&self, topic: TopicName<'_>, scratch: &mut Scratch) -> bool {
        self.matches(topic, scratch).next().is_some()
    }
}
