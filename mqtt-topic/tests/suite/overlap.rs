//! Each subscriber once, with all of his subscriptions that match, against a plain list.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_topic::{MergeScratch, SharedFilter, SubscriptionIndex, TopicFilter, TopicName};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::naive;

const FILTERS: [&str; 8] = ["a", "a/b", "+", "#", "a/+", "a/#", "+/b", "$share/g/a/#"];
const TOPICS: [&str; 4] = ["a", "a/b", "b", "a/b/c"];

fn matched(filter: &str) -> (Option<&str>, &str) {
    match filter.strip_prefix("$share/g/") {
        Some(rest) => (Some("g"), rest),
        None => (None, filter),
    }
}

proptest! {
    // [5:MQTT-3.3.4-2] [3:MQTT-3.3.5-1] [5:MQTT-3.3.4-3] [5:MQTT-3.3.4-4]
    #[test]
    fn each_subscriber_comes_once_with_all_that_match(
        subscriptions in vec((0..FILTERS.len(), 0..30_u8), 0..60),
    ) {
        let mut index = SubscriptionIndex::default();
        let mut model: BTreeMap<(&str, u8), usize> = BTreeMap::new();
        for (value, (filter, key)) in subscriptions.into_iter().enumerate() {
            let filter = FILTERS[filter];
            let held = match SharedFilter::new(filter) {
                Ok(shared) => index.insert_shared(shared, key, value),
                Err(_) => index.insert(TopicFilter::new(filter).unwrap(), key, value),
            };
            prop_assert_eq!(held, Ok(model.insert((filter, key), value)));
        }
        let mut scratch = MergeScratch::default();
        for topic in TOPICS {
            let mut expected: BTreeMap<u8, BTreeSet<usize>> = BTreeMap::new();
            let mut members = BTreeSet::new();
            for ((filter, key), value) in &model {
                match matched(filter) {
                    (None, filter) if naive::matches(filter, topic) => {
                        expected.entry(*key).or_default().insert(*value);
                    }
                    (Some(_), filter) if naive::matches(filter, topic) => {
                        members.insert(*key);
                    }
                    _ => {}
                }
            }
            let name = TopicName::new(topic).unwrap();
            let overlaps = index.overlaps(name, &mut scratch);
            let found: Vec<_> = overlaps
                .subscribers()
                .map(|subscriber| {
                    let values: BTreeSet<_> = subscriber.values().copied().collect();
                    assert_eq!(values.len(), subscriber.values().count(), "none twice");
                    (subscriber.key(), values)
                })
                .collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{}", topic);
            let in_groups: BTreeSet<_> = overlaps
                .groups()
                .flat_map(|group| group.members())
                .map(|(key, _)| key)
                .collect();
            prop_assert_eq!(in_groups, members, "{}", topic);
            prop_assert!(scratch.steps() > 0 && scratch.steps() <= index.nodes_len());
        }
    }
}
