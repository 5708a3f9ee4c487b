//! What a snapshot shows is what was there when it was taken; a clone goes its own way.

use std::collections::BTreeMap;

use mqtt_topic::{
    IndexConfig, Match, MatchSlice, MergeScratch, Scratch, SharedFilter, SubscriptionIndex,
    SubscriptionSnapshot, TopicFilter, TopicName,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::naive;

type Model = BTreeMap<(String, u8), u32>;

#[derive(Clone, Debug)]
enum Step {
    Insert(String, u8, u32),
    Remove(String, u8),
    RemoveSubscriber(u8),
    Snapshot,
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![4 => Just("a"), 3 => Just("b"), 2 => Just("+"), 1 => Just("c")];
    (vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (filter(), 0..40_u8, any::<u32>()).prop_map(|(filter, key, value)| Step::Insert(filter, key, value)),
        3 => (filter(), 0..40_u8).prop_map(|(filter, key)| Step::Remove(filter, key)),
        1 => (0..40_u8).prop_map(Step::RemoveSubscriber),
        1 => Just(Step::Snapshot),
    ]
}

const TOPICS: [&str; 6] = ["a", "a/b", "a/a/a", "b/c", "c", "a/b/c"];

fn check(snapshot: &SubscriptionSnapshot<u8, u32>, model: &Model, scratch: &mut Scratch) {
    for topic in TOPICS {
        let name = TopicName::new(topic).unwrap();
        let mut found: Vec<_> = snapshot
            .matches(name, scratch)
            .map(|found| match found {
                Match::Subscriber { key, value } => (key, *value),
                other => panic!("{other:?}"),
            })
            .collect();
        found.sort_unstable();
        let mut expected: Vec<_> = model
            .iter()
            .filter(|((filter, _), _)| naive::matches(filter, topic))
            .map(|((_, key), value)| (*key, *value))
            .collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{topic}");
        assert_eq!(snapshot.any_match(name, scratch), !expected.is_empty());
        // The other ways to ask say the same.
        let mut in_slices = Vec::new();
        for slice in snapshot.match_slices(name, scratch) {
            match slice {
                MatchSlice::Subscribers(slice) => in_slices.extend_from_slice(slice),
                other => panic!("{other:?}"),
            }
        }
        in_slices.sort_unstable();
        assert_eq!(in_slices, expected, "{topic}");
        let mut once = Vec::new();
        let mut merge = MergeScratch::default();
        for subscriber in snapshot.overlaps(name, &mut merge).subscribers() {
            once.extend(subscriber.values().map(|value| (subscriber.key(), *value)));
        }
        once.sort_unstable();
        assert_eq!(once, expected, "{topic}");
    }
}

proptest! {
    #[test]
    fn a_snapshot_stays_as_it_was(steps in vec(step(), 1..120)) {
        let mut index = SubscriptionIndex::new(IndexConfig::default());
        let mut model = Model::new();
        let (mut snapshots, mut scratch) = (Vec::new(), Scratch::default());
        for step in steps {
            match step {
                Step::Insert(text, key, value) => {
                    let filter = TopicFilter::new(&text).unwrap();
                    let before = index.insert(filter, key, value).unwrap();
                    prop_assert_eq!(before, model.insert((text, key), value));
                }
                Step::Remove(text, key) => {
                    let removed = index.remove(TopicFilter::new(&text).unwrap(), key);
                    prop_assert_eq!(removed, model.remove(&(text, key)));
                }
                Step::RemoveSubscriber(key) => {
                    index.remove_subscriber(key);
                    model.retain(|(_, held), _| *held != key);
                }
                Step::Snapshot => snapshots.push((index.snapshot(), model.clone())),
            }
        }
        snapshots.push((index.snapshot(), model));
        for (snapshot, model) in &snapshots {
            check(snapshot, model, &mut scratch);
        }
    }
}

#[test]
fn a_clone_and_its_original_do_not_see_each_other() {
    let filter = |text| TopicFilter::new(text).unwrap();
    let shared = |text| SharedFilter::new(text).unwrap();
    let mut one = SubscriptionIndex::default();
    for key in 0..2_000 {
        one.insert(filter("a/b"), key, key).unwrap();
    }
    one.insert_shared(shared("$share/g/a/b"), 1, 1).unwrap();
    let mut other = one.clone();
    one.insert(filter("a/b"), 7, 70).unwrap();
    one.remove_shared(shared("$share/g/a/b"), 1).unwrap();
    other.remove(filter("a/b"), 8).unwrap();
    other.insert_shared(shared("$share/h/a/b"), 2, 2).unwrap();
    assert_eq!((one.len(), other.len()), (2_000, 2_001));
    assert_eq!(one.get(filter("a/b"), 7), Some(&70));
    assert_eq!(other.get(filter("a/b"), 7), Some(&7));
    assert_eq!(
        (one.get(filter("a/b"), 8), other.get(filter("a/b"), 8)),
        (Some(&8), None)
    );
    assert!(one.group(shared("$share/g/a/b")).is_none());
    assert!(one.group(shared("$share/h/a/b")).is_none());
    assert!(other.group(shared("$share/g/a/b")).is_some());
}

#[test]
fn several_threads_match_while_one_changes() {
    let mut index = SubscriptionIndex::default();
    for number in 0..3_000_u32 {
        let text = format!("site/{}/+/{number}", number % 50);
        index
            .insert(TopicFilter::new(&text).unwrap(), number, ())
            .unwrap();
    }
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let snapshot = index.snapshot();
            let work = move || {
                let mut scratch = Scratch::default();
                (0..3_000_u32)
                    .map(|number| {
                        let topic = format!("site/{}/room/{number}", number % 50);
                        let topic = TopicName::new(&topic).unwrap();
                        snapshot.matches(topic, &mut scratch).count()
                    })
                    .sum::<usize>()
            };
            std::thread::Builder::new().spawn(work).unwrap()
        })
        .collect();
    for number in 0..3_000_u32 {
        index.remove_subscriber(number);
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 3_000);
    }
    assert!(index.is_empty());
}
