//! Everybody who wants a topic, a few at a time.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use super::filters::Filters;
use super::overlap::{SubscriberMatch, SubscriberMatches};
use super::{Group, MergeScratch};
use crate::TopicName;
use crate::index::Id;

/// Who wants a topic, from [`SubscriptionIndex::receivers`](super::SubscriptionIndex::receivers).
#[derive(Debug)]
#[non_exhaustive]
pub enum Receiver<'i, K, V> {
    /// Subscribers with one subscription each that matches, in their order: who, and what the caller
    /// keeps for the subscription.
    Each(&'i [(K, V)]),
    /// A subscriber who may have several.
    Several(SubscriberMatch<'i, K, V>),
    /// A shared subscription: one of its members gets the message, beside what his own
    /// subscriptions bring.
    Group(Group<'i, K, V>),
}

impl<K: Copy + Ord, V> Receiver<'_, K, V> {
    /// Which subscribers; none for a shared subscription.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        let (each, several) = match self {
            Self::Each(each) => (*each, None),
            Self::Several(subscriber) => (&[][..], Some(subscriber.key())),
            Self::Group(_) => (&[][..], None),
        };
        each.iter().map(|(key, _)| *key).chain(several)
    }
}

/// How far a walk over everybody who wants a topic has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<K>(At<K>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At<K> {
    Start,
    Behind(K),
    /// Behind this shared subscription: its filter, and itself.
    Groups(Id, Id),
    End,
}

impl<K> Default for Position<K> {
    fn default() -> Self {
        Self(At::Start)
    }
}

impl<K: Copy + Ord, V> Filters<K, V> {
    #[inline]
    pub(super) fn receivers(
        &self,
        topic: TopicName<'_>,
        merge: &mut MergeScratch<K>,
        position: &mut Position<K>,
        budget: usize,
        visit: &mut impl FnMut(Receiver<'_, K, V>),
    ) -> bool {
        merge.scratch.walk(self, topic);
        let mut left = budget.max(1);
        // The first number is the root's, which is no group.
        let (behind, group) = match position.0 {
            At::Start => (Some(None), (Id::FIRST, Id::FIRST)),
            At::Behind(key) => (Some(Some(key)), (Id::FIRST, Id::FIRST)),
            At::Groups(filter, node) => (None, (filter, node)),
            At::End => return false,
        };
        if let Some(behind) = behind {
            let last = match merge.scratch.hits() {
                [] => None,
                [node] => self.of_one(*node, behind, &mut left, visit),
                _ => self.of_several(merge, behind, &mut left, visit),
            };
            if let Some(last) = last {
                position.0 = At::Behind(last);
                return true;
            }
        }
        let is_marked = |id: &Id| self.tree.node(*id).is_some_and(|node| node.is_marked());
        if merge.scratch.hits().iter().any(is_marked) {
            position.0 = self.of_groups(merge.scratch.hits(), group, left, visit);
            return position.0 != At::End;
        }
        position.0 = At::End;
        false
    }

    /// Everybody who wants a topic, where they are few and stand together.
    #[inline]
    pub(super) fn few(
        &self,
        topic: TopicName<'_>,
        merge: &mut MergeScratch<K>,
    ) -> Option<&[(K, V)]> {
        merge.scratch.walk(self, topic);
        match *merge.scratch.hits() {
            [] => Some(&[]),
            [node] => {
                let node = self.tree.node(node).filter(|node| !node.is_marked())?;
                node.value.subscribers.few()
            }
            _ => None,
        }
    }

    /// The subscribers of one filter; answers the last one met, if there are more.
    #[inline]
    fn of_one(
        &self,
        node: Id,
        behind: Option<K>,
        left: &mut usize,
        visit: &mut impl FnMut(Receiver<'_, K, V>),
    ) -> Option<K> {
        let mut last = behind;
        let subscribers = self.subscribers(node)?;
        for slice in subscribers.slices_behind(behind) {
            let some = slice.get(..*left).unwrap_or(slice);
            if !some.is_empty() {
                visit(Receiver::Each(some));
            }
            *left = left.saturating_sub(some.len());
            last = some.last().map_or(last, |(key, _)| Some(*key));
            if some.len() < slice.len() {
                return last;
            }
        }
        None
    }

    /// The subscribers of several filters, merged: at first those that a fair share of each has.
    #[inline(never)]
    fn of_several(
        &self,
        merge: &mut MergeScratch<K>,
        behind: Option<K>,
        left: &mut usize,
        visit: &mut impl FnMut(Receiver<'_, K, V>),
    ) -> Option<K> {
        let mut last = behind;
        let MergeScratch { scratch, found, .. } = merge;
        let hits = scratch.hits();
        found.clear();
        let each = left.checked_div(hits.len()).unwrap_or(0).max(1);
        // Up to here all of them are complete.
        let mut end: Option<K> = None;
        for node in hits {
            let stop = self.take_some(*node, last, each, |some| {
                found.extend(some.iter().map(|(key, _)| (*key, *node)));
            });
            if let Some(stop) = stop {
                end = Some(end.map_or(stop, |end| stop.min(end)));
            }
        }
        found.sort_unstable();
        let subscribers = SubscriberMatches {
            filters: self,
            found,
        };
        for subscriber in subscribers {
            if end.is_some_and(|end| subscriber.key() > end) {
                break;
            }
            if *left == 0 {
                return last;
            }
            *left = left.saturating_sub(1);
            last = Some(subscriber.key());
            visit(Receiver::Several(subscriber));
        }
        // Without an end all are complete.
        end?;
        if *left == 0 {
            return last;
        }
        self.of_many(merge, last, left, visit)
    }

    /// The same one by one, for what is left of the budget: whoever has been looked at is kept until
    /// it is his turn, so that the work does not depend on how the filters share the keys.
    #[cold]
    #[inline(never)]
    fn of_many(
        &self,
        merge: &mut MergeScratch<K>,
        behind: Option<K>,
        left: &mut usize,
        visit: &mut impl FnMut(Receiver<'_, K, V>),
    ) -> Option<K> {
        let MergeScratch {
            scratch,
            found,
            queues,
        } = merge;
        let hits = scratch.hits();
        let each = left.checked_div(hits.len()).unwrap_or(0).max(1);
        queues.found.clear();
        queues.more.clear();
        let mut queue = BinaryHeap::from(core::mem::take(&mut queues.found));
        let mut more = BinaryHeap::from(core::mem::take(&mut queues.more));
        for node in hits {
            let stop = self.take_some(*node, behind, each, |some| {
                queue.extend(some.iter().map(|(key, _)| Reverse((*key, *node))));
            });
            more.extend(stop.map(|stop| Reverse((stop, *node))));
        }
        let mut last = behind;
        let goes_on = loop {
            // Up to here all of them are complete.
            let end = more.peek().map(|Reverse((stop, _))| *stop);
            while let Some(Reverse((key, _))) = queue.peek()
                && end.is_none_or(|end| *key <= end)
                && *left > 0
            {
                let key = *key;
                found.clear();
                while let Some(Reverse(entry)) = pop_if(&mut queue, |other| other == key) {
                    found.push(entry);
                }
                *left = left.saturating_sub(1);
                last = Some(key);
                let mut subscriber = SubscriberMatches {
                    filters: self,
                    found,
                };
                subscriber
                    .by_ref()
                    .map(Receiver::Several)
                    .for_each(&mut *visit);
            }
            if *left == 0 {
                break end.is_some() || !queue.is_empty();
            }
            let Some(end) = end else {
                break false;
            };
            while let Some(Reverse((stop, node))) = pop_if(&mut more, |stop| stop <= end) {
                let stop = self.take_some(node, Some(stop), each, |some| {
                    queue.extend(some.iter().map(|(key, _)| Reverse((*key, node))));
                });
                more.extend(stop.map(|stop| Reverse((stop, node))));
            }
        };
        queues.found = queue.into_vec();
        queues.more = more.into_vec();
        last.filter(|_| goes_on)
    }

    /// Takes so many subscribers of a filter behind a key; answers the last of them, if there are more.
    #[inline(always)]
    fn take_some(
        &self,
        node: Id,
        behind: Option<K>,
        mut room: usize,
        mut take: impl FnMut(&[(K, V)]),
    ) -> Option<K> {
        let mut last = behind;
        let subscribers = self.subscribers(node)?;
        for slice in subscribers.slices_behind(behind) {
            let some = slice.get(..room).unwrap_or(slice);
            take(some);
            room = room.saturating_sub(some.len());
            last = some.last().map_or(last, |(key, _)| Some(*key));
            if some.len() < slice.len() {
                return last;
            }
        }
        None
    }

    /// Shared subscriptions behind one, in the order of their filters and names' numbers; answers
    /// where it goes on.
    #[inline(never)]
    fn of_groups(
        &self,
        hits: &[Id],
        (mut filter, mut behind): (Id, Id),
        budget: usize,
        visit: &mut impl FnMut(Receiver<'_, K, V>),
    ) -> At<K> {
        let mut left = budget;
        loop {
            let next = hits.iter().copied().filter(|hit| *hit >= filter).min();
            let Some(hit) = next else {
                return At::End;
            };
            if hit != filter {
                (filter, behind) = (hit, Id::FIRST);
            }
            let groups = self.groups_behind(filter, behind);
            for group in groups.take_while(|group| group.filter == filter) {
                if left == 0 {
                    return At::Groups(filter, behind);
                }
                left = left.saturating_sub(1);
                behind = group.node;
                if let Some(group) = self.group_of(group) {
                    visit(Receiver::Group(group));
                }
            }
            (filter, behind) = (filter.next(), Id::FIRST);
        }
    }
}

/// Takes the entry with the lowest key, if it is one of these.
fn pop_if<K: Copy + Ord>(
    queue: &mut BinaryHeap<Reverse<(K, Id)>>,
    is_one: impl FnOnce(K) -> bool,
) -> Option<Reverse<(K, Id)>> {
    let Reverse((key, _)) = queue.peek()?;
    if is_one(*key) { queue.pop() } else { None }
}
