//! This crate.

use core::hint::black_box;
use core::ops::ControlFlow;

use mqtt_topic::{
    Cursor, IndexConfig, MatchSlice, RetainedConfig, RetainedIndex, Scratch, SubscriptionIndex,
    TopicFilter, TopicName,
};

use super::subject::{Index, Store, Subject};

pub(crate) fn subjects() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Ours)]
}

struct Ours;

fn filter_of(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).expect("a valid filter")
}

fn name_of(text: &str) -> TopicName<'_> {
    TopicName::new(text).expect("a valid name")
}

impl Subject for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn takes(&self, _workload: &str) -> bool {
        true
    }

    fn match_raw(&self, pairs: &[(&str, &str)]) -> usize {
        let is_match = |&&(filter, name): &&(&str, &str)| filter_of(filter).matches(name_of(name));
        pairs.iter().filter(is_match).count()
    }

    fn parsed(&self, pairs: &[(&str, &str)]) -> Option<Box<dyn Fn() -> usize>> {
        let leak = |text: &str| -> &'static str { text.to_owned().leak() };
        let pairs = pairs
            .iter()
            .map(|&(filter, name)| (filter_of(leak(filter)), name_of(leak(name))));
        let pairs: Vec<_> = pairs.collect();
        Some(Box::new(move || {
            let pairs = black_box(&pairs).iter();
            pairs.filter(|(filter, name)| filter.matches(*name)).count()
        }))
    }

    fn index(&self) -> Option<Box<dyn Index>> {
        Some(Box::new(OurIndex {
            index: SubscriptionIndex::new(IndexConfig::default()),
            scratch: Scratch::default(),
        }))
    }

    fn store(&self) -> Option<Box<dyn Store>> {
        let config = RetainedConfig {
            topics_max: usize::MAX,
            ..RetainedConfig::default()
        };
        Some(Box::new(OurStore {
            index: RetainedIndex::new(config),
            cursor: Cursor::default(),
        }))
    }
}

struct OurIndex {
    index: SubscriptionIndex<u32, ()>,
    scratch: Scratch,
}

impl Index for OurIndex {
    fn insert(&mut self, filter: &str, subscriber: u32) {
        self.index
            .insert(filter_of(filter), subscriber, ())
            .expect("room");
    }

    fn remove(&mut self, filter: &str, subscriber: u32) {
        self.index
            .remove(filter_of(filter), subscriber)
            .expect("it was there");
    }

    fn matches(&mut self, topic: &str, found: &mut Vec<u32>) {
        for slice in self.index.match_slices(name_of(topic), &mut self.scratch) {
            if let MatchSlice::Subscribers(subscribers) = slice {
                found.extend(subscribers.iter().map(|(subscriber, ())| *subscriber));
            }
        }
    }
}

struct OurStore {
    index: RetainedIndex<u32>,
    cursor: Cursor,
}

impl Store for OurStore {
    fn set(&mut self, topic: &str, message: u32) {
        self.index.set(name_of(topic), message, 0).expect("room");
    }

    fn query(&mut self, filter: &str, limit: usize, found: &mut Vec<u32>) -> usize {
        self.cursor.restart();
        let mut bytes = 0;
        let _progress = self.index.query(
            filter_of(filter),
            &mut self.cursor,
            usize::MAX,
            |topic, message| {
                found.push(*message);
                bytes += topic.as_bytes().len();
                if found.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        );
        bytes
    }
}
