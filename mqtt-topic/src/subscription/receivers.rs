//! Everybody who wants a topic, a few at a time.

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

    /// The subscribers of several filters, merged a stretch at a time.
    #[inline(never)]
    fn of_several(
        &self,
        merge: &mut MergeScratch<K>,
        behind: Option<K>,
        left: &mut usize,
        visit: &mut impl FnMut(Receiver<'_, K, V>),
    ) -> Option<K> {
        let mut last = behind;
        loop {
            let MergeScratch { scratch, found } = merge;
            let hits = scratch.hits();
            found.clear();
            let each = left.checked_div(hits.len()).unwrap_or(0).max(1);
            // Up to here all of them are complete.
            let mut end: Option<K> = None;
            for node in hits {
                let mut room = each;
                let subscribers = self.subscribers(*node).into_iter();
                for slice in subscribers.flat_map(|it| it.slices_behind(last)) {
                    let some = slice.get(..room).unwrap_or(slice);
                    found.extend(some.iter().map(|(key, _)| (*key, *node)));
                    room = room.saturating_sub(some.len());
                    if some.len() < slice.len() {
                        let stop = found.last().map(|(key, _)| *key);
                        end = end.map_or(stop, |end| stop.map(|stop| stop.min(end)));
                        break;
                    }
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
        }
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
