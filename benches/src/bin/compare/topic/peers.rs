//! The other crates.

use alloc::collections::BTreeMap;

use mqtt_topic_engine::topic_pattern_path::TopicPatternPath;
use mqtt_topic_engine::{CacheStrategy, QoS, SubscriptionId, TopicPath, TopicRouter};
use rmqtt::retain::RetainTree;
use rmqtt::topic::Topic;
use rmqtt::trie::{TopicTree, VecToString as _};

use super::subject::{Index, Store, Subject};

pub(crate) fn subjects() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Rmqtt),
        Box::new(Engine),
        Box::new(Quill),
        Box::new(Raw("mqttbytes", |filter, name| {
            mqttbytes::matches(name, filter)
        })),
        Box::new(Raw("rumqttc", |filter, name| {
            rumqttc::mqttbytes::matches(name, filter)
        })),
        Box::new(Raw("rumqttd", |filter, name| {
            rumqttd::protocol::matches(name, filter)
        })),
        Box::new(Raw("mqtt-protocol", |filter, name| {
            let filter = mqtt::TopicFilter::new(filter).expect("a valid filter");
            let name = mqtt::TopicNameRef::new(name).expect("a valid name");
            filter.get_matcher().is_match(name)
        })),
    ]
}

/// A function over two texts.
struct Raw(&'static str, fn(&str, &str) -> bool);

impl Subject for Raw {
    fn name(&self) -> &'static str {
        self.0
    }

    fn takes(&self, workload: &str) -> bool {
        workload == "T1-raw"
    }

    fn match_raw(&self, pairs: &[(&str, &str)]) -> usize {
        pairs
            .iter()
            .filter(|(filter, name)| (self.1)(filter, name))
            .count()
    }
}

struct Rmqtt;

fn topic_of(text: &str) -> Topic {
    text.parse().expect("a valid topic")
}

impl Subject for Rmqtt {
    fn name(&self) -> &'static str {
        "rmqtt"
    }

    fn takes(&self, workload: &str) -> bool {
        // Its store has no limit.
        workload != "T4-first-100"
    }

    fn match_raw(&self, pairs: &[(&str, &str)]) -> usize {
        let is_match = |&&(filter, name): &&(&str, &str)| topic_of(filter).matches(&topic_of(name));
        pairs.iter().filter(is_match).count()
    }

    fn parsed(&self, pairs: &[(&str, &str)]) -> Option<Box<dyn Fn() -> usize>> {
        let pairs = pairs
            .iter()
            .map(|(filter, name)| (topic_of(filter), topic_of(name)));
        let pairs: Vec<_> = pairs.collect();
        Some(Box::new(move || {
            pairs
                .iter()
                .filter(|(filter, name)| filter.matches(name))
                .count()
        }))
    }

    fn index(&self) -> Option<Box<dyn Index>> {
        Some(Box::new(Trie(TopicTree::default())))
    }

    fn store(&self) -> Option<Box<dyn Store>> {
        Some(Box::new(Retained(RetainTree::default())))
    }
}

struct Trie(TopicTree<u32>);

impl Index for Trie {
    fn insert(&mut self, filter: &str, subscriber: u32) {
        self.0.insert(&topic_of(filter), subscriber);
    }

    fn remove(&mut self, filter: &str, subscriber: u32) {
        assert!(
            self.0.remove(&topic_of(filter), &subscriber),
            "it was there"
        );
    }

    fn matches(&mut self, topic: &str, found: &mut Vec<u32>) {
        let topic = topic_of(topic);
        for (_levels, subscribers) in self.0.matches(&topic).iter() {
            found.extend(subscribers);
        }
    }
}

struct Retained(RetainTree<u32>);

impl Store for Retained {
    fn set(&mut self, topic: &str, message: u32) {
        self.0.insert(&topic_of(topic), message);
    }

    fn query(&mut self, filter: &str, _limit: usize, found: &mut Vec<u32>) -> usize {
        let all = self.0.matches(&topic_of(filter));
        found.extend(all.iter().map(|(_, message)| *message));
        // The topics as texts, as the others have them.
        let text = |topic: &Topic| {
            let levels: Vec<_> = topic.levels().iter().collect();
            levels.to_string().len()
        };
        all.iter()
            .map(|(topic, _)| if found.is_empty() { text(topic) } else { 1 })
            .sum()
    }
}

struct Engine;

fn pattern_of(text: &str) -> TopicPatternPath {
    TopicPatternPath::new_from_string(text, CacheStrategy::NoCache).expect("a valid filter")
}

impl Subject for Engine {
    fn name(&self) -> &'static str {
        "mqtt-topic-engine"
    }

    fn takes(&self, workload: &str) -> bool {
        workload == "T3" || workload.starts_with("T2-")
    }

    fn index(&self) -> Option<Box<dyn Index>> {
        Some(Box::new(Router {
            router: TopicRouter::new(),
            ids: BTreeMap::new(),
        }))
    }
}

struct Router {
    router: TopicRouter<u32>,
    /// Its own numbers, by which it removes.
    ids: BTreeMap<u32, SubscriptionId>,
}

impl Index for Router {
    fn insert(&mut self, filter: &str, subscriber: u32) {
        let (_, id) = self
            .router
            .add_subscription(pattern_of(filter), QoS::AtMostOnce, subscriber);
        self.ids.insert(subscriber, id);
    }

    fn remove(&mut self, _filter: &str, subscriber: u32) {
        let id = self.ids.remove(&subscriber).expect("it was there");
        let _outcome = self.router.unsubscribe(&id);
    }

    fn matches(&mut self, topic: &str, found: &mut Vec<u32>) {
        let topic = TopicPath::new(topic).expect("a valid name");
        let all = self.router.get_subscribers(&topic);
        found.extend(all.iter().map(|(_, _, subscriber)| **subscriber));
    }
}

struct Quill;

impl Subject for Quill {
    fn name(&self) -> &'static str {
        "quill-pubsub"
    }

    fn takes(&self, workload: &str) -> bool {
        matches!(workload, "T1-parsed" | "T3") || workload.starts_with("T2-")
    }

    fn parsed(&self, pairs: &[(&str, &str)]) -> Option<Box<dyn Fn() -> usize>> {
        let pairs = pairs.iter().map(|(filter, name)| {
            let filter = quill::Pattern::parse(filter).expect("a valid filter");
            (filter, quill::Topic::parse(name).expect("a valid name"))
        });
        let pairs: Vec<_> = pairs.collect();
        Some(Box::new(move || {
            pairs
                .iter()
                .filter(|(filter, name)| filter.matches(name))
                .count()
        }))
    }

    fn index(&self) -> Option<Box<dyn Index>> {
        Some(Box::new(Registry(quill::Registry::new())))
    }
}

struct Registry(quill::Registry<u32>);

impl Index for Registry {
    fn insert(&mut self, filter: &str, subscriber: u32) {
        self.0.subscribe(
            quill::Pattern::parse(filter).expect("a valid filter"),
            subscriber,
        );
    }

    fn remove(&mut self, filter: &str, subscriber: u32) {
        let pattern = quill::Pattern::parse(filter).expect("a valid filter");
        assert!(self.0.unsubscribe(&pattern, &subscriber), "it was there");
    }

    fn matches(&mut self, topic: &str, found: &mut Vec<u32>) {
        let topic = quill::Topic::parse(topic).expect("a valid name");
        found.extend(self.0.matching(&topic));
    }
}
