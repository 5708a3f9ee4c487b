//! The subscription index: who wants this topic?
//!
//! Filters stand in a tree, one node for each level, so a look-up visits only branches that can
//! match. Nodes live in one table and name each other by their place in it: nothing recurses, not
//! even when the index is dropped.

mod group;
mod matches;
mod tree;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

pub use group::{Group, GroupId, GroupMembers};
pub use matches::{Match, Matches, Scratch};

use group::GroupEntry;
use tree::{NodeId, Tree};

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
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self { levels_max: 128 }
    }
}

/// Why a subscription was not taken. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexError {
    /// The filter has more levels than [`IndexConfig::levels_max`].
    TooManyLevels,
    /// The tree has as many nodes as it can name.
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
#[derive(Clone, Debug)]
pub struct SubscriptionIndex<K, V> {
    config: IndexConfig,
    tree: Tree<Subscribers<K, V>>,
    /// What each subscriber has, so that all of it can be removed.
    by_subscriber: BTreeMap<K, BTreeSet<Held>>,
    len: usize,
    next_group: u64,
}

/// Who subscribed to one filter.
#[derive(Clone, Debug)]
struct Subscribers<K, V> {
    /// In the order of the keys.
    plain: Vec<(K, V)>,
    /// In the order of their names.
    groups: Vec<GroupEntry<K, V>>,
}

impl<K, V> Default for Subscribers<K, V> {
    fn default() -> Self {
        Self {
            plain: Vec::new(),
            groups: Vec::new(),
        }
    }
}

impl<K, V> Subscribers<K, V> {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }
}

/// One subscription, from the subscriber's side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    node: NodeId,
    group: Option<Box<[u8]>>,
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
    /// An index without subscriptions.
    #[must_use]
    pub fn new(config: IndexConfig) -> Self {
        Self {
            config,
            tree: Tree::new(),
            by_subscriber: BTreeMap::new(),
            len: 0,
            next_group: 0,
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
        let node = self.node_for(filter)?;
        let subscribers = self.tree.value_mut(node).ok_or(IndexError::Full)?;
        match subscribers
            .plain
            .binary_search_by(|(held, _)| held.cmp(&key))
        {
            Ok(place) => Ok(subscribers
                .plain
                .get_mut(place)
                .map(|(_, held)| core::mem::replace(held, value))),
            Err(place) => {
                subscribers.plain.insert(place, (key, value));
                self.note(key, Held { node, group: None });
                Ok(None)
            }
        }
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
        let node = self.node_for(shared.filter())?;
        let name = shared.group_bytes();
        let next_group = self.next_group;
        let subscribers = self.tree.value_mut(node).ok_or(IndexError::Full)?;
        let place = subscribers
            .groups
            .binary_search_by(|group| (*group.name).cmp(name));
        let place = match place {
            Ok(place) => place,
            Err(place) => {
                subscribers
                    .groups
                    .insert(place, GroupEntry::new(GroupId::new(next_group), name));
                self.next_group = next_group.wrapping_add(1);
                place
            }
        };
        let before = subscribers
            .groups
            .get_mut(place)
            .and_then(|group| group.insert(key, value));
        if before.is_none() {
            self.note(
                key,
                Held {
                    node,
                    group: Some(name.into()),
                },
            );
        }
        Ok(before)
    }

    /// Unsubscribes from exactly this filter.
    // [5:MQTT-3.10.4-1] [3:MQTT-3.10.4-1] Compared character by character, never matched.
    pub fn remove(&mut self, filter: TopicFilter<'_>, key: K) -> Option<V> {
        let held = Held {
            node: self.tree.find(filter)?,
            group: None,
        };
        self.take(key, &held)
    }

    /// Leaves exactly this shared subscription. Its last member ends it.
    pub fn remove_shared(&mut self, shared: SharedFilter<'_>, key: K) -> Option<V> {
        let held = Held {
            node: self.tree.find(shared.filter())?,
            group: Some(shared.group_bytes().into()),
        };
        self.take(key, &held)
    }

    /// Removes everything of one subscriber; answers how many subscriptions that were. The work
    /// depends on these alone.
    pub fn remove_subscriber(&mut self, key: K) -> usize {
        let mut removed = 0_usize;
        while let Some(held) = self
            .by_subscriber
            .get(&key)
            .and_then(BTreeSet::first)
            .cloned()
        {
            if self.take(key, &held).is_none() {
                break;
            }
            removed = removed.saturating_add(1);
        }
        removed
    }

    /// The value of one subscription.
    #[must_use]
    pub fn get(&self, filter: TopicFilter<'_>, key: K) -> Option<&V> {
        let subscribers = self.tree.value(self.tree.find(filter)?)?;
        find(&subscribers.plain, key)
    }

    /// The value of one member of a shared subscription.
    #[must_use]
    pub fn get_shared(&self, shared: SharedFilter<'_>, key: K) -> Option<&V> {
        self.group(shared)?.value_of(key)
    }

    /// A shared subscription, while it has a member.
    #[must_use]
    pub fn group(&self, shared: SharedFilter<'_>) -> Option<Group<'_, K, V>> {
        self.group_named(shared.group_bytes(), shared.filter())
    }

    /// A shared subscription by its parts, while it has a member.
    #[must_use]
    pub fn group_named(&self, name: &[u8], filter: TopicFilter<'_>) -> Option<Group<'_, K, V>> {
        let subscribers = self.tree.value(self.tree.find(filter)?)?;
        let place = subscribers
            .groups
            .binary_search_by(|group| (*group.name).cmp(name))
            .ok()?;
        subscribers.groups.get(place).map(Group::new)
    }

    /// Shows every subscription of one subscriber, in an order that depends on nothing but the
    /// history of the index.
    pub fn for_each_of(&self, key: K, mut visit: impl FnMut(SubscriptionFilter<'_>, &V)) {
        let mut text = Vec::new();
        for held in self.by_subscriber.get(&key).into_iter().flatten() {
            let Some(subscribers) = self.tree.value(held.node) else {
                continue;
            };
            self.tree.text(held.node, &mut text);
            let filter = TopicFilter::assume_valid(&text);
            match &held.group {
                None => {
                    if let Some(value) = find(&subscribers.plain, key) {
                        visit(SubscriptionFilter::Plain(filter), value);
                    }
                }
                Some(name) => {
                    let group = subscribers.groups.iter().find(|group| group.name == *name);
                    if let Some(value) = group.and_then(|group| Group::new(group).value_of(key)) {
                        visit(
                            SubscriptionFilter::Shared {
                                group: name,
                                filter,
                            },
                            value,
                        );
                    }
                }
            }
        }
    }

    /// Everybody who wants a topic. Allocates nothing once `scratch` has grown to what the longest
    /// topic and the most matching filters need.
    ///
    /// The order depends on the filters alone: at each level first `#`, then `+`, then the level
    /// itself; for one filter in the order of the keys, and then the groups in the order of their
    /// names.
    pub fn matches<'i>(
        &'i self,
        topic: TopicName<'_>,
        scratch: &'i mut Scratch,
    ) -> Matches<'i, K, V> {
        scratch.walk(&self.tree, topic, |subscribers| !subscribers.is_empty());
        Matches::new(&self.tree, scratch)
    }

    /// Whether anybody wants a topic.
    pub fn any_match(&self, topic: TopicName<'_>, scratch: &mut Scratch) -> bool {
        self.matches(topic, scratch).next().is_some()
    }

    /// Subscriptions of one subscriber.
    #[must_use]
    pub fn subscriptions_len(&self, key: K) -> usize {
        self.by_subscriber.get(&key).map_or(0, BTreeSet::len)
    }

    /// Subscriptions of all subscribers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no subscription.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Nodes of the tree, the root included: what the index has to hold beside the subscriptions.
    #[must_use]
    pub fn nodes_len(&self) -> usize {
        self.tree.len()
    }

    fn node_for(&mut self, filter: TopicFilter<'_>) -> Result<NodeId, IndexError> {
        if filter.levels().count() > self.config.levels_max {
            return Err(IndexError::TooManyLevels);
        }
        self.tree.find_or_insert(filter).ok_or(IndexError::Full)
    }

    fn note(&mut self, key: K, held: Held) {
        self.by_subscriber.entry(key).or_default().insert(held);
        self.len = self.len.saturating_add(1);
    }

    fn take(&mut self, key: K, held: &Held) -> Option<V> {
        let subscribers = self.tree.value_mut(held.node)?;
        let value = match &held.group {
            None => {
                let place = subscribers
                    .plain
                    .binary_search_by(|(found, _)| found.cmp(&key))
                    .ok()?;
                let (_, value) = subscribers.plain.remove(place);
                subscribers
                    .plain
                    .shrink_to(subscribers.plain.len().saturating_mul(2));
                value
            }
            Some(name) => {
                let place = subscribers
                    .groups
                    .binary_search_by(|group| group.name.cmp(name))
                    .ok()?;
                let group = subscribers.groups.get_mut(place)?;
                let value = group.remove(key)?;
                if group.is_empty() {
                    subscribers.groups.remove(place);
                }
                value
            }
        };
        if subscribers.is_empty() {
            self.tree.prune(held.node, Subscribers::is_empty);
        }
        if let Some(all) = self.by_subscriber.get_mut(&key) {
            all.remove(held);
            if all.is_empty() {
                self.by_subscriber.remove(&key);
            }
        }
        self.len = self.len.saturating_sub(1);
        Some(value)
    }
}

impl<K: Copy + Ord, V> Default for SubscriptionIndex<K, V> {
    fn default() -> Self {
        Self::new(IndexConfig::default())
    }
}

fn find<K: Copy + Ord, V>(sorted: &[(K, V)], key: K) -> Option<&V> {
    let place = sorted.binary_search_by(|(held, _)| held.cmp(&key)).ok()?;
    sorted.get(place).map(|(_, value)| value)
}
