//! The subscription index: who wants this topic?
//!
//! Filters stand in a tree, one node for each level, so a look-up visits only branches that can
//! match.

mod filters;
mod group;
mod matches;
mod overlap;
mod receivers;
mod recent;
#[cfg(feature = "serde")]
mod serde;
mod snapshot;
mod subscribers;

use alloc::vec::Vec;
use core::fmt;

pub use group::{Group, GroupId, GroupMembers};
pub use matches::{Match, MatchSlice, MatchSlices, Matches, Scratch};
pub use overlap::{MergeScratch, Overlaps, SubscriberMatch, SubscriberMatches, SubscriberValues};
pub use receivers::{Position, Receiver};
pub use snapshot::SubscriptionSnapshot;

use filters::Filters;

use crate::index::{Id, Seed, Sorted};
use crate::{SharedFilter, TopicFilter, TopicName};

/// Limits of a [`SubscriptionIndex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct IndexConfig {
    /// Levels of a filter. 128.
    pub levels_max: usize,
    /// Bytes that the index holds, as [`SubscriptionIndex::memory`] counts them; at the limit only
    /// subscriptions that are there already are taken. All there are.
    pub bytes_max: usize,
    /// Where hashing starts; results do not depend on it. 0. A number that peers cannot guess
    /// keeps them from choosing levels that collide.
    pub hash_seed: u64,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            levels_max: 128,
            bytes_max: usize::MAX,
            hash_seed: 0,
        }
    }
}

/// Why a subscription was not taken. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexError {
    /// The filter has more levels than [`IndexConfig::levels_max`].
    TooManyLevels,
    /// The index holds as many bytes as [`IndexConfig::bytes_max`] says, or as many nodes as can be
    /// named: some four billion.
    Full,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyLevels => "the filter has too many levels",
            Self::Full => "the index is full",
        })
    }
}

impl core::error::Error for IndexError {}

/// Subscriptions, found by topic name.
///
/// `K` names a subscriber; `V` is what the caller keeps for one subscription. A subscriber has at
/// most one subscription for each filter, and apart from that one in each shared subscription.
///
/// ```
/// use mqtt_topic::{IndexConfig, Match, Scratch, SubscriptionIndex, TopicFilter, TopicName};
///
/// let mut index = SubscriptionIndex::new(IndexConfig::default());
/// index.insert(TopicFilter::new("home/+/temperature")?, 1, "QoS 1")?;
/// index.insert(TopicFilter::new("home/#")?, 2, "QoS 0")?;
///
/// let mut scratch = Scratch::default();
/// let found: Vec<_> = index
///     .matches(TopicName::new("home/kitchen/temperature")?, &mut scratch)
///     .map(|found| match found {
///         Match::Subscriber { key, value } => (key, *value),
///         _shared => unreachable!(),
///     })
///     .collect();
/// assert_eq!(found, [(2, "QoS 0"), (1, "QoS 1")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A clone shares everything with the original until one of the two changes.
#[derive(Clone, Debug)]
pub struct SubscriptionIndex<K, V> {
    config: IndexConfig,
    filters: Filters<K, V>,
    /// What each subscriber has, so that all of it can be removed: nodes of filters and of groups.
    held: Sorted<(K, Id)>,
}

/// The filter of a subscription, as [`SubscriptionIndex::for_each_of`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionFilter<'a> {
    /// An ordinary filter.
    Plain(TopicFilter<'a>),
    /// A shared filter, by its parts.
    Shared {
        /// The name of the group.
        group: &'a [u8],
        /// What is matched.
        filter: TopicFilter<'a>,
    },
}

impl<K: Copy + Ord, V> SubscriptionIndex<K, V> {
    /// The value of one subscription.
    #[must_use]
    pub fn get(&self, filter: TopicFilter<'_>, key: K) -> Option<&V> {
        self.filters
            .subscribers(self.filters.find(filter)?)?
            .get(key)
    }

    /// The value of one member of a shared subscription.
    #[must_use]
    pub fn get_shared(&self, shared: SharedFilter<'_>, key: K) -> Option<&V> {
        self.group(shared)?.value_of(key)
    }

    /// A shared subscription, while it has a member.
    #[must_use]
    pub fn group(&self, shared: SharedFilter<'_>) -> Option<Group<'_, K, V>> {
        let filter = self.filters.find(shared.filter())?;
        let node = self
            .filters
            .tree
            .child_named(filter, shared.slash_and_group())?;
        self.filters.group_at(node)
    }

    /// A shared subscription by its parts, while it has a member.
    #[must_use]
    pub fn group_named(&self, name: &[u8], filter: TopicFilter<'_>) -> Option<Group<'_, K, V>> {
        let filter = self.filters.find(filter)?;
        let node = self
            .filters
            .tree
            .child_named(filter, &[b"/", name].concat())?;
        self.filters.group_at(node)
    }

    /// Subscribers of exactly this filter, those of shared subscriptions apart.
    #[must_use]
    pub fn subscribers_len(&self, filter: TopicFilter<'_>) -> usize {
        let node = self.filters.find(filter);
        let subscribers = node.and_then(|node| self.filters.subscribers(node));
        subscribers.map_or(0, |subscribers| subscribers.len())
    }

    /// Shows every subscription of one subscriber, in an order that depends on nothing but the
    /// history of the index.
    pub fn for_each_of(&self, key: K, mut visit: impl FnMut(SubscriptionFilter<'_>, &V)) {
        let mut text = Vec::new();
        for (_, node) in self.held_by(key) {
            self.show(key, *node, &mut text, |filter, value| visit(filter, value));
        }
    }

    /// Shows every subscription: those of one subscriber together, subscribers in their order.
    pub fn for_each(&self, mut visit: impl FnMut(K, SubscriptionFilter<'_>, &V)) {
        let mut text = Vec::new();
        for (key, node) in self.held.slices().flatten() {
            self.show(*key, *node, &mut text, |filter, value| {
                visit(*key, filter, value)
            });
        }
    }

    /// Everybody who wants a topic. Allocates nothing once `scratch` has grown to what the topic
    /// with the most matching filters needs.
    ///
    /// The order depends on filters and keys alone: filters that end with `#` first, the shorter
    /// ones before the longer ones, then those of as many levels as the topic, `+` before the level
    /// itself; for one filter in the order of the keys, and then its groups, in an order that
    /// depends on the history of the index.
    pub fn matches<'i>(
        &'i self,
        topic: TopicName<'_>,
        scratch: &'i mut Scratch,
    ) -> Matches<'i, K, V> {
        self.filters.matches(topic, scratch)
    }

    /// The same in slices, the fastest way to those with many subscribers.
    pub fn match_slices<'i>(
        &'i self,
        topic: TopicName<'_>,
        scratch: &'i mut Scratch,
    ) -> MatchSlices<'i, K, V> {
        self.filters.match_slices(topic, scratch)
    }

    /// Everybody who wants a topic, each subscriber once with all of his subscriptions that match:
    /// for brokers that send one copy, with the highest QoS and all identifiers.
    // [5:MQTT-3.3.4-2] [3:MQTT-3.3.5-1] [5:MQTT-3.3.4-3] [5:MQTT-3.3.4-4]
    pub fn overlaps<'i>(
        &'i self,
        topic: TopicName<'_>,
        scratch: &'i mut MergeScratch<K>,
    ) -> Overlaps<'i, K, V> {
        self.filters.overlaps(topic, scratch)
    }

    /// Shows everybody who wants a topic, from a position on and no more than `budget` of
    /// them, but at least one:
    /// each subscriber once, in the order of their keys, then the shared subscriptions. Answers
    /// whether there are more, and leaves the position behind the last one.
    ///
    /// Whoever comes or goes between two calls is met or not by the order of the keys alone; all
    /// others are met once.
    ///
    /// ```
    /// use mqtt_topic::{
    ///     IndexConfig, MergeScratch, Position, Receiver, SubscriptionIndex, TopicFilter, TopicName,
    /// };
    ///
    /// let mut index = SubscriptionIndex::new(IndexConfig::default());
    /// for key in 0..5 {
    ///     index.insert(TopicFilter::new("house/+")?, key, ())?;
    /// }
    /// let topic = TopicName::new("house/light")?;
    /// let (mut scratch, mut position) = (MergeScratch::default(), Position::default());
    /// let mut met = Vec::new();
    /// let mut see = |receiver: Receiver<'_, _, _>| met.extend(receiver.keys());
    /// assert!(index.receivers(topic, &mut scratch, &mut position, 3, &mut see));
    /// index.remove(TopicFilter::new("house/+")?, 3);
    /// assert!(!index.receivers(topic, &mut scratch, &mut position, 3, &mut see));
    /// assert_eq!(met, [0, 1, 2, 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    // [5:MQTT-3.3.4-2] [3:MQTT-3.3.5-1] [5:MQTT-3.3.4-3] [5:MQTT-3.3.4-4]
    #[must_use = "there may be more receivers"]
    pub fn receivers(
        &self,
        topic: TopicName<'_>,
        scratch: &mut MergeScratch<K>,
        position: &mut Position<K>,
        budget: usize,
        visit: &mut impl FnMut(Receiver<'_, K, V>),
    ) -> bool {
        self.filters
            .receivers(topic, scratch, position, budget, visit)
    }

    /// Everybody who wants a topic, where that is soon said: no more than one filter matches, it has no shared
    /// subscription, and no more than 16 have subscribed to it. `None` where [`receivers`](Self::receivers) has
    /// to be asked.
    ///
    /// ```
    /// use mqtt_topic::{IndexConfig, MergeScratch, SubscriptionIndex, TopicFilter, TopicName};
    ///
    /// let mut index = SubscriptionIndex::new(IndexConfig::default());
    /// index.insert(TopicFilter::new("house/+")?, 7, "QoS 0")?;
    /// let mut scratch = MergeScratch::default();
    /// let light = TopicName::new("house/light")?;
    /// assert_eq!(index.few_receivers(light, &mut scratch), Some(&[(7, "QoS 0")][..]));
    /// index.insert(TopicFilter::new("#")?, 8, "QoS 1")?;
    /// assert_eq!(index.few_receivers(light, &mut scratch), None, "two filters");
    /// let road = TopicName::new("road")?;
    /// assert_eq!(index.few_receivers(road, &mut scratch), Some(&[(8, "QoS 1")][..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn few_receivers(
        &self,
        topic: TopicName<'_>,
        scratch: &mut MergeScratch<K>,
    ) -> Option<&[(K, V)]> {
        self.filters.few(topic, scratch)
    }

    /// Whether anybody wants a topic.
    pub fn any_match(&self, topic: TopicName<'_>, scratch: &mut Scratch) -> bool {
        self.matches(topic, scratch).next().is_some()
    }

    /// What readers need, to match while this index changes: it stays as it is now.
    ///
    /// It costs a counter for some hundred nodes each, and the first change to those nodes
    /// afterwards a copy of them.
    #[must_use]
    pub fn snapshot(&self) -> SubscriptionSnapshot<K, V> {
        SubscriptionSnapshot::new(self.filters.clone())
    }

    /// Subscriptions of one subscriber. Counts them.
    #[must_use]
    pub fn subscriptions_len(&self, key: K) -> usize {
        self.held_by(key).count()
    }

    /// Subscriptions of all subscribers.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is no subscription.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nodes of the tree, the root included: what the index has to hold beside the subscriptions.
    #[must_use]
    pub const fn nodes_len(&self) -> usize {
        self.filters.tree.len()
    }

    /// Bytes on the heap that it holds. What values hold there, and what the allocator needs for
    /// itself, comes on top; what a clone or a snapshot shares is counted for each of them.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.filters.bytes().saturating_add(self.held.bytes())
    }

    fn held_by(&self, key: K) -> impl Iterator<Item = &(K, Id)> {
        self.held
            .from(move |held| held.cmp(&(key, Id::FIRST)))
            .take_while(move |(held, _)| *held == key)
    }

    fn show(
        &self,
        key: K,
        node: Id,
        text: &mut Vec<u8>,
        visit: impl FnOnce(SubscriptionFilter<'_>, &V),
    ) {
        let Some(found) = self.filters.tree.node(node) else {
            return;
        };
        let Some(value) = found.value.subscribers.get(key) else {
            return;
        };
        let group = self.filters.group_name(node);
        let filter = if group.is_some() {
            found.parent()
        } else {
            Some(node)
        };
        self.filters.tree.text(filter.unwrap_or(node), text);
        let filter = TopicFilter::assume_valid(text);
        visit(
            match group {
                None => SubscriptionFilter::Plain(filter),
                Some(group) => SubscriptionFilter::Shared { group, filter },
            },
            value,
        );
    }
}

impl<K: Copy + Ord, V: Clone> SubscriptionIndex<K, V> {
    /// An index without subscriptions.
    #[must_use]
    pub fn new(config: IndexConfig) -> Self {
        Self {
            config,
            filters: Filters::new(Seed::new(config.hash_seed)),
            held: Sorted::new(),
        }
    }

    /// Subscribes; answers the value that was there for the same filter and subscriber.
    ///
    /// # Errors
    ///
    /// [`IndexError`]; nothing has changed then.
    pub fn insert(
        &mut self,
        filter: TopicFilter<'_>,
        key: K,
        value: V,
    ) -> Result<Option<V>, IndexError> {
        if self.is_at_limit() {
            self.check_known(filter, key)?;
        }
        let node = self.node_for(filter)?;
        Ok(self.subscribe(node, key, value))
    }

    /// Joins a shared subscription; answers the value that was there for the same text and
    /// subscriber.
    ///
    /// # Errors
    ///
    /// [`IndexError`]; nothing has changed then.
    pub fn insert_shared(
        &mut self,
        shared: SharedFilter<'_>,
        key: K,
        value: V,
    ) -> Result<Option<V>, IndexError> {
        if self.is_at_limit() {
            self.check_known_shared(shared, key)?;
        }
        let filter = self.node_for(shared.filter())?;
        let name = shared.slash_and_group();
        let Some(node) = self.filters.find_or_insert_group(filter, name) else {
            self.filters.prune(filter);
            return Err(IndexError::Full);
        };
        Ok(self.subscribe(node, key, value))
    }

    /// Unsubscribes from exactly this filter.
    // [5:MQTT-3.10.4-1] [3:MQTT-3.10.4-1] Compared character by character, never matched.
    pub fn remove(&mut self, filter: TopicFilter<'_>, key: K) -> Option<V> {
        let node = self.filters.find(filter)?;
        self.unsubscribe(node, key)
    }

    /// Leaves exactly this shared subscription. Its last member ends it.
    pub fn remove_shared(&mut self, shared: SharedFilter<'_>, key: K) -> Option<V> {
        let filter = self.filters.find(shared.filter())?;
        let node = self
            .filters
            .tree
            .child_named(filter, shared.slash_and_group())?;
        self.unsubscribe(node, key)
    }

    /// Removes everything of one subscriber; answers how many subscriptions that were. The work
    /// depends on these alone.
    pub fn remove_subscriber(&mut self, key: K) -> usize {
        let mut removed = 0_usize;
        loop {
            let first = self.held_by(key).next().copied();
            let Some((_, node)) = first else {
                return removed;
            };
            self.held.take(|held| held.cmp(&(key, node)));
            self.filters.unsubscribe(node, key);
            removed = removed.saturating_add(1);
        }
    }

    const fn is_at_limit(&self) -> bool {
        self.memory() >= self.config.bytes_max
    }

    /// At the limit only what is there is taken.
    #[cold]
    #[inline(never)]
    fn check_known(&self, filter: TopicFilter<'_>, key: K) -> Result<(), IndexError> {
        self.get(filter, key).map(|_| ()).ok_or(IndexError::Full)
    }

    #[cold]
    #[inline(never)]
    fn check_known_shared(&self, shared: SharedFilter<'_>, key: K) -> Result<(), IndexError> {
        let held = self.get_shared(shared, key);
        held.map(|_| ()).ok_or(IndexError::Full)
    }

    fn node_for(&mut self, filter: TopicFilter<'_>) -> Result<Id, IndexError> {
        if filter.levels().count() > self.config.levels_max {
            return Err(IndexError::TooManyLevels);
        }
        self.filters.find_or_insert(filter).ok_or(IndexError::Full)
    }

    fn subscribe(&mut self, node: Id, key: K, value: V) -> Option<V> {
        let before = self.filters.subscribe(node, key, value);
        if before.is_none() {
            self.held.put((key, node), |held| held.cmp(&(key, node)));
        }
        before
    }

    fn unsubscribe(&mut self, node: Id, key: K) -> Option<V> {
        let removed = self.filters.unsubscribe(node, key)?;
        self.held.take(|held| held.cmp(&(key, node)));
        Some(removed)
    }
}

impl<K: Copy + Ord, V: Clone> Default for SubscriptionIndex<K, V> {
    fn default() -> Self {
        Self::new(IndexConfig::default())
    }
}
