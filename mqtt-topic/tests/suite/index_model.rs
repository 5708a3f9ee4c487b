//! The subscription index against a plain list of subscriptions.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_topic::{
    IndexConfig, IndexError, Match, Scratch, SharedFilter, SubscriptionFilter, SubscriptionIndex,
    TopicFilter, TopicName,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::naive;

/// Subscriptions by whole text and subscriber.
type Model = BTreeMap<(String, u8), u32>;

#[derive(Clone, Debug)]
enum Step {
    Insert(String, u8, u32),
    Remove(String, u8),
    RemoveSubscriber(u8),
    Match(String),
}

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just(""), Just("$a"), Just("ab")]
}

fn filter_level() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => level(), 1 => Just("+")]
}

fn name() -> impl Strategy<Value = String> {
    vec(level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a name has a character", |name| !name.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    (
        vec(filter_level(), 0..4),
        any::<bool>(),
        prop_oneof![3 => Just(""), 1 => Just("$share/g/"), 1 => Just("$share/h/")],
    )
        .prop_map(|(mut levels, hash, prefix)| {
            if hash {
                levels.push("#");
            }
            format!("{prefix}{}", levels.join("/"))
        })
        .prop_filter("no filter", |text| {
            TopicFilter::new(text).and_then(TopicFilter::shared).is_ok()
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (filter(), 0..4_u8, any::<u32>()).prop_map(|(filter, key, value)| Step::Insert(filter, key, value)),
        2 => (filter(), 0..4_u8).prop_map(|(filter, key)| Step::Remove(filter, key)),
        1 => (0..4_u8).prop_map(Step::RemoveSubscriber),
        4 => name().prop_map(Step::Match),
    ]
}

fn shared_of(text: &str) -> Option<SharedFilter<'_>> {
    TopicFilter::new(text).unwrap().shared().unwrap()
}

/// Subscribers with their values.
type Members = Vec<(u8, u32)>;
/// Who wants a topic: subscribers, and groups by name with their members.
type Found = (Members, Vec<(String, Members)>);

fn found_by_index(index: &SubscriptionIndex<u8, u32>, topic: &str, scratch: &mut Scratch) -> Found {
    let (mut plain, mut groups) = (Vec::new(), Vec::new());
    for found in index.matches(TopicName::new(topic).unwrap(), scratch) {
        match found {
            Match::Subscriber { key, value } => plain.push((key, *value)),
            Match::Group(group) => {
                let members: Members = group.members().map(|(key, value)| (key, *value)).collect();
                assert_eq!(members.len(), group.len());
                groups.push((text_of(group.name_bytes()), members));
            }
            other => panic!("{other:?}"),
        }
    }
    plain.sort_unstable();
    groups.sort_unstable();
    (plain, groups)
}

fn found_by_model(model: &Model, topic: &str) -> Found {
    let mut plain = Vec::new();
    let mut groups: BTreeMap<&str, Members> = BTreeMap::new();
    for ((text, key), value) in model {
        match shared_of(text) {
            None if naive::matches(text, topic) => plain.push((*key, *value)),
            Some(shared) if naive::matches(shared.filter().as_str(), topic) => {
                groups.entry(text).or_default().push((*key, *value));
            }
            _ => {}
        }
    }
    // Two groups of one name with different filters are two groups.
    let mut groups: Vec<_> = groups
        .into_iter()
        .map(|(text, members)| (text_of(shared_of(text).unwrap().group_bytes()), members))
        .collect();
    plain.sort_unstable();
    groups.sort_unstable();
    (plain, groups)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Levels of all filters, as nodes of one tree; the root is one too.
fn nodes_of(model: &Model) -> usize {
    let mut nodes = BTreeSet::new();
    for (text, _) in model.keys() {
        let filter = shared_of(text).map_or(text.as_str(), |shared| shared.filter().as_str());
        let mut path = String::new();
        for level in filter.split('/') {
            path.push('/');
            path.push_str(level);
            nodes.insert(path.clone());
        }
        // A group is a node below its filter.
        if let Some(shared) = shared_of(text) {
            nodes.insert(format!("{path} {}", text_of(shared.group_bytes())));
        }
    }
    nodes.len() + 1
}

fn check_subscriber(index: &SubscriptionIndex<u8, u32>, model: &Model, subscriber: u8) {
    let mut listed = BTreeMap::new();
    index.for_each_of(subscriber, |filter, value| {
        let text = match filter {
            SubscriptionFilter::Plain(filter) => filter.to_string(),
            SubscriptionFilter::Shared { group, filter } => {
                format!("$share/{}/{filter}", String::from_utf8_lossy(group))
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(listed.insert(text, *value), None, "each is shown once");
    });
    let expected: BTreeMap<_, _> = model
        .iter()
        .filter(|((_, key), _)| *key == subscriber)
        .map(|((text, _), value)| (text.clone(), *value))
        .collect();
    assert_eq!(listed, expected);
    assert_eq!(index.subscriptions_len(subscriber), expected.len());
}

proptest! {
    #[test]
    fn the_index_is_the_list(steps in vec(step(), 1..60)) {
        let mut index = SubscriptionIndex::new(IndexConfig::default());
        let mut model = Model::new();
        let mut scratch = Scratch::default();
        for step in steps {
            match step {
                Step::Insert(text, key, value) => {
                    let before = match shared_of(&text) {
                        None => index.insert(TopicFilter::new(&text).unwrap(), key, value),
                        Some(shared) => index.insert_shared(shared, key, value),
                    };
                    prop_assert_eq!(before.unwrap(), model.insert((text.clone(), key), value));
                    let got = match shared_of(&text) {
                        None => index.get(TopicFilter::new(&text).unwrap(), key),
                        Some(shared) => index.get_shared(shared, key),
                    };
                    prop_assert_eq!(got, Some(&value));
                }
                Step::Remove(text, key) => {
                    let removed = match shared_of(&text) {
                        None => index.remove(TopicFilter::new(&text).unwrap(), key),
                        Some(shared) => index.remove_shared(shared, key),
                    };
                    prop_assert_eq!(removed, model.remove(&(text, key)));
                }
                Step::RemoveSubscriber(subscriber) => {
                    let before = model.len();
                    model.retain(|(_, key), _| *key != subscriber);
                    prop_assert_eq!(index.remove_subscriber(subscriber), before - model.len());
                }
                Step::Match(topic) => {
                    prop_assert_eq!(
                        found_by_index(&index, &topic, &mut scratch),
                        found_by_model(&model, &topic)
                    );
                }
            }
            prop_assert_eq!(index.len(), model.len());
            prop_assert_eq!(index.is_empty(), model.is_empty());
            prop_assert_eq!(index.nodes_len(), nodes_of(&model));
        }
        for subscriber in 0..4 {
            check_subscriber(&index, &model, subscriber);
            index.remove_subscriber(subscriber);
        }
        prop_assert_eq!(index.nodes_len(), 1, "memory comes back");
    }
}

#[test]
fn a_group_has_a_new_name_when_it_is_another_group() {
    let shared = SharedFilter::new("$share/g/a").unwrap();
    let mut index = SubscriptionIndex::default();
    index.insert_shared(shared, 1, ()).unwrap();
    let first = index.group(shared).unwrap().id();
    index.insert_shared(shared, 2, ()).unwrap();
    assert_eq!(index.group(shared).unwrap().id(), first);
    index.remove_subscriber(1);
    index.remove_subscriber(2);
    assert!(index.group(shared).is_none(), "ended with its last member");
    index.insert_shared(shared, 1, ()).unwrap();
    assert_ne!(index.group(shared).unwrap().id(), first);
}

#[test]
fn the_order_of_matches_depends_on_filters_and_keys_alone() {
    let subscriptions = [
        ("a/b", 1),
        ("a/#", 2),
        ("+/b", 4),
        ("+/b", 3),
        ("#", 5),
        ("a/+", 6),
    ];
    let expected = [5, 2, 3, 4, 6, 1];
    let topic = TopicName::new("a/b").unwrap();
    for turn in 0..subscriptions.len() {
        let mut index = SubscriptionIndex::default();
        for (filter, key) in subscriptions
            .iter()
            .cycle()
            .skip(turn)
            .take(subscriptions.len())
        {
            index
                .insert(TopicFilter::new(filter).unwrap(), *key, ())
                .unwrap();
        }
        let mut scratch = Scratch::default();
        let order: Vec<_> = index
            .matches(topic, &mut scratch)
            .map(|found| match found {
                Match::Subscriber { key, .. } => key,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, expected, "from {turn} on");
    }
}

#[test]
fn a_filter_with_too_many_levels_changes_nothing() {
    let mut index = SubscriptionIndex::new(IndexConfig {
        levels_max: 3,
        ..IndexConfig::default()
    });
    index
        .insert(TopicFilter::new("a/b/c").unwrap(), 1, ())
        .unwrap();
    for text in ["a/b/c/d", "a/b/c/#"] {
        let filter = TopicFilter::new(text).unwrap();
        assert_eq!(
            index.insert(filter, 2, ()),
            Err(IndexError::TooManyLevels),
            "{text}"
        );
        assert_eq!((index.len(), index.nodes_len()), (1, 4), "{text}");
    }
}
