//! A linear scan: right, and as slow as it gets.

use mqtt_topic::{TopicFilter, TopicName};

use super::subject::{Index, Subject};

pub(crate) fn subjects() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Scan)]
}

struct Scan;

impl Subject for Scan {
    fn name(&self) -> &'static str {
        "linear scan"
    }

    fn takes(&self, workload: &str) -> bool {
        matches!(workload, "T2-1k" | "T2-10k" | "T3")
    }

    fn index(&self) -> Option<Box<dyn Index>> {
        Some(Box::new(List(Vec::new())))
    }
}

struct List(Vec<(String, u32)>);

impl Index for List {
    fn insert(&mut self, filter: &str, subscriber: u32) {
        self.0.push((filter.to_owned(), subscriber));
    }

    fn remove(&mut self, filter: &str, subscriber: u32) {
        let is_it = |held: &(String, u32)| held.0 == filter && held.1 == subscriber;
        let place = self.0.iter().position(is_it).expect("it was there");
        self.0.remove(place);
    }

    fn matches(&mut self, topic: &str, found: &mut Vec<u32>) {
        let topic = TopicName::new(topic).expect("a valid name");
        found.extend(self.0.iter().filter_map(|(filter, subscriber)| {
            let filter = TopicFilter::assume_valid(filter.as_bytes());
            filter.matches(topic).then_some(*subscriber)
        }));
    }
}
