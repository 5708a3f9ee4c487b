//! Everybody who wants a topic, a few at a time, against all of them at once.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_topic::{
    IndexConfig, MergeScratch, Position, Receiver, SharedFilter, SubscriptionIndex, TopicFilter,
    TopicName,
};
use proptest::prelude::*;

const FILTERS: [&str; 6] = ["a/b", "a/+", "+/b", "#", "a/#", "x"];
const TOPICS: [&str; 4] = ["a/b", "a", "x", "y/b"];

type Index = SubscriptionIndex<u16, u32>;

fn index(subscriptions: &[(usize, u16, Option<u8>)]) -> Index {
    let mut index = Index::new(IndexConfig::default());
    for (filter, key, group) in subscriptions {
        let filter = FILTERS[*filter];
        let value = 0;
        match group {
            None => index.insert(TopicFilter::new(filter).unwrap(), *key, value),
            Some(group) => {
                let text = format!("$share/{group}/{filter}");
                index.insert_shared(SharedFilter::new(&text).unwrap(), *key, value)
            }
        }
        .unwrap();
    }
    index
}

/// Subscribers with how many of their subscriptions match, and groups, as the walk shows them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Met {
    subscribers: Vec<(u16, usize)>,
    groups: Vec<mqtt_topic::GroupId>,
}

impl Met {
    fn see(&mut self, receiver: &Receiver<'_, u16, u32>) {
        match receiver {
            Receiver::Each(each) => self
                .subscribers
                .extend(each.iter().map(|(key, _)| (*key, 1))),
            Receiver::Several(found) => {
                self.subscribers.push((found.key(), found.values().count()));
            }
            Receiver::Group(group) => self.groups.push(group.id()),
            other => panic!("{other:?}"),
        }
    }
}

fn at_once(index: &Index, topic: TopicName<'_>) -> Met {
    let mut scratch = MergeScratch::default();
    let all = index.overlaps(topic, &mut scratch);
    Met {
        subscribers: { all.subscribers() }
            .map(|found| (found.key(), found.values().count()))
            .collect(),
        groups: all.groups().map(|group| group.id()).collect(),
    }
}

/// Filters, with how many have subscribed to each, and how many of them are met where they are few.
type Few<'r> = (&'r str, &'r [(&'r str, u16)], Option<usize>);

#[test]
fn few_who_stand_together_are_met_at_once() {
    let rows: [Few<'_>; 8] = [
        ("nobody", &[], Some(0)),
        ("nobody for this topic", &[("x", 1)], Some(0)),
        ("one", &[("a/+", 1)], Some(1)),
        ("one, and others", &[("a/b", 1), ("a", 3)], Some(1)),
        ("sixteen", &[("#", 16)], Some(16)),
        ("seventeen", &[("#", 17)], None),
        ("two filters", &[("a/b", 1), ("#", 1)], None),
        ("a shared subscription", &[("$share/g/a/b", 1)], None),
    ];
    let topic = TopicName::new("a/b").unwrap();
    for (row, filters, expected) in rows {
        let mut index = Index::new(IndexConfig::default());
        for (filter, len) in filters {
            for key in 0..*len {
                match SharedFilter::new(filter) {
                    Ok(shared) => index.insert_shared(shared, key, 9),
                    Err(_) => index.insert(TopicFilter::new(filter).unwrap(), key, 9),
                }
                .unwrap();
            }
        }
        // And once more out of what is remembered.
        let mut scratch = MergeScratch::remembering(4);
        for _ in 0..2 {
            let few = index.few_receivers(topic, &mut scratch);
            let keys = few.map(|few| few.iter().map(|(key, _)| *key).collect::<Vec<_>>());
            let expected = expected.map(|len| (0..u16::try_from(len).unwrap()).collect());
            assert_eq!(keys, expected, "{row}");
        }
    }
}

proptest! {
    #[test]
    fn slices_of_any_size_meet_everybody_once(
        subscriptions in prop::collection::vec(
            (0..FILTERS.len(), 0..700_u16, prop::option::weighted(0.2, 0..4_u8)), 0..900),
        budget in 0..400_usize,
        remembered in prop::bool::ANY,
    ) {
        let index = index(&subscriptions);
        let mut scratch = MergeScratch::remembering(if remembered { 2 } else { 0 });
        for topic in TOPICS {
            let topic = TopicName::new(topic).unwrap();
            let mut expected = at_once(&index, topic);
            expected.groups.sort_unstable();
            let (mut met, mut position) = (Met::default(), Position::default());
            loop {
                let before = met.subscribers.len() + met.groups.len();
                let more = index.receivers(topic, &mut scratch, &mut position, budget, &mut |it| {
                    met.see(&it);
                });
                let seen = met.subscribers.len() + met.groups.len() - before;
                prop_assert!(seen <= budget.max(1));
                if !more {
                    break;
                }
                prop_assert!(seen == budget.max(1), "{seen} of {budget}");
            }
            met.groups.sort_unstable();
            prop_assert_eq!(&met, &expected);
        }
    }

    /// Others come and go between the slices: whoever stays is met once, whoever goes before his
    /// turn is not.
    #[test]
    fn who_stays_is_met_once(
        subscriptions in prop::collection::vec((0..FILTERS.len(), 0..300_u16), 1..600),
        changes in prop::collection::vec((0..FILTERS.len(), 0..300_u16, prop::bool::ANY), 0..200),
        budget in 1..50_usize,
    ) {
        let topic = TopicName::new("a/b").unwrap();
        let all: Vec<_> = subscriptions.iter().map(|(filter, key)| (*filter, *key, None)).collect();
        let mut index = index(&all);
        let wants = |index: &Index| -> BTreeSet<u16> {
            at_once(index, topic).subscribers.iter().map(|(key, _)| *key).collect()
        };
        let mut always = wants(&index);
        let mut scratch = MergeScratch::remembering(8);
        let (mut met, mut position) = (BTreeMap::new(), Position::default());
        let mut changes = changes.iter();
        while index.receivers(topic, &mut scratch, &mut position, budget, &mut |it| {
            for key in it.keys() {
                *met.entry(key).or_insert(0) += 1;
            }
        }) {
            for (filter, key, comes) in changes.by_ref().take(10) {
                let filter = TopicFilter::new(FILTERS[*filter]).unwrap();
                if *comes {
                    index.insert(filter, *key, 1).unwrap();
                } else {
                    index.remove(filter, *key);
                }
            }
            always = always.intersection(&wants(&index)).copied().collect();
        }
        prop_assert!(met.values().all(|times| *times == 1), "{met:?}");
        prop_assert!(always.iter().all(|key| met.contains_key(key)), "{always:?} {met:?}");
    }

    /// One scratch for an index and its copies, which change apart: what is remembered of one is
    /// never taken for another.
    #[test]
    fn what_is_remembered_is_right(
        steps in prop::collection::vec((0..3_usize, 0..FILTERS.len(), 0..4_u16, prop::bool::ANY), 0..120),
    ) {
        let mut scratch = MergeScratch::remembering(2);
        let first = Index::new(IndexConfig::default());
        let mut indexes = [first.clone(), first.clone(), first];
        for (which, filter, key, comes) in steps {
            let filter = TopicFilter::new(FILTERS[filter]).unwrap();
            if comes {
                indexes[which].insert(filter, key, 0).unwrap();
            } else {
                indexes[which].remove(filter, key);
            }
            for index in &indexes {
                for topic in TOPICS {
                    let topic = TopicName::new(topic).unwrap();
                    let remembered: Vec<_> = { index.overlaps(topic, &mut scratch).subscribers() }
                        .map(|found| (found.key(), found.values().count()))
                        .collect();
                    prop_assert_eq!(remembered, at_once(index, topic).subscribers);
                }
            }
        }
    }
}

/// More filters than are remembered of a topic, and a topic that is too long: looked up each time.
#[test]
fn what_is_too_much_to_be_remembered_is_found_all_the_same() {
    let mut index = Index::new(IndexConfig::default());
    // Every choice of '+' for a level: 128 filters on one topic.
    let topic = "a/a/a/a/a/a/a";
    for wildcards in 0..128_u16 {
        let level = |at: u16| if wildcards >> at & 1 == 1 { "+" } else { "a" };
        let filter = (0..7_u16).map(level).collect::<Vec<_>>().join("/");
        let filter = TopicFilter::new(&filter).unwrap();
        index.insert(filter, wildcards, 0).unwrap();
    }
    let long = format!("{topic}/{}", "x".repeat(300));
    let all = TopicFilter::new("a/+/+/+/+/+/+/+").unwrap();
    index.insert(all, 500, 0).unwrap();
    let mut scratch = MergeScratch::remembering(8);
    for round in 0..3 {
        for (topic, expected) in [(topic, 128), (&*long, 1)] {
            let name = TopicName::new(topic).unwrap();
            let found = index.overlaps(name, &mut scratch).subscribers().count();
            assert_eq!(found, expected, "{topic} in round {round}");
        }
    }
    // And what is gone is not remembered.
    let first = TopicFilter::new(topic).unwrap();
    index.remove(first, 0).unwrap();
    let name = TopicName::new(topic).unwrap();
    let left = index.overlaps(name, &mut scratch).subscribers().count();
    assert_eq!(left, 127);
}

/// At the end there is nothing more, however often it is asked; and each receiver says who it is.
#[test]
fn a_walk_has_an_end() {
    let index = index(&[(0, 7, None), (1, 7, None), (0, 8, None), (2, 9, Some(1))]);
    let topic = TopicName::new("a/b").unwrap();
    let (mut scratch, mut position) = (MergeScratch::default(), Position::default());
    let mut keys = Vec::new();
    while index.receivers(topic, &mut scratch, &mut position, 1, &mut |receiver| {
        keys.push(receiver.keys().next());
    }) {}
    assert_eq!(keys, [Some(7), Some(8), None], "a group is nobody");
    let before = position;
    for _ in 0..2 {
        let mut seen = 0;
        let more = index.receivers(topic, &mut scratch, &mut position, 1, &mut |_| seen += 1);
        assert_eq!((more, seen, position), (false, 0, before));
    }
}

/// What is left of the matches is the same, one by one or all at once.
#[test]
fn matches_are_folded_from_where_they_are() {
    let index = index(&[
        (0, 1, None),
        (0, 2, None),
        (0, 3, None),
        (1, 4, Some(1)),
        (1, 5, None),
        (3, 6, Some(2)),
    ]);
    let topic = TopicName::new("a/b").unwrap();
    let mut scratch = mqtt_topic::Scratch::default();
    let show = |found: mqtt_topic::Match<'_, u16, u32>| match found {
        mqtt_topic::Match::Subscriber { key, .. } => format!("subscriber {key}"),
        mqtt_topic::Match::Group(group) => format!("group of {}", group.len()),
        other => panic!("{other:?}"),
    };
    let mut matches = index.matches(topic, &mut scratch);
    let one_by_one = core::iter::from_fn(|| matches.next());
    let all: Vec<_> = one_by_one.map(show).collect();
    assert_eq!(all.len(), 6);
    for start in 0..=all.len() {
        let mut matches = index.matches(topic, &mut scratch);
        let mut seen: Vec<_> = matches.by_ref().take(start).map(show).collect();
        matches.for_each(|found| seen.push(show(found)));
        assert_eq!(seen, all, "{start}");
    }
}

/// A group and its members may be held twice, and each goes on by itself.
#[test]
fn members_of_a_group_are_held_twice() {
    fn twice<T: Clone>(one: &T) -> (T, T) {
        (one.clone(), one.clone())
    }
    let subscriptions: Vec<_> = (0..600).map(|key| (0, key, Some(1))).collect();
    let index = index(&subscriptions);
    let (one, other) = twice(
        &index
            .group(SharedFilter::new("$share/1/a/b").unwrap())
            .unwrap(),
    );
    assert_eq!(one.id(), other.id());
    let mut members = one.members();
    for start in 0..600 {
        let (left, same) = twice(&members);
        let left: Vec<_> = left.map(|(key, _)| key).collect();
        assert_eq!(left, (start..600).collect::<Vec<u16>>());
        assert_eq!(same.count(), left.len());
        assert_eq!(members.next().map(|(key, _)| key), Some(start));
    }
    assert_eq!(other.len(), 600);
}
