//! What every subject is asked to do.

use mqtt_topic::{TopicFilter, TopicName};

/// A crate, or ours, or a scan.
pub(crate) trait Subject {
    fn name(&self) -> &'static str;

    /// Whether it takes part in a workload.
    fn takes(&self, workload: &str) -> bool;

    /// Matches 16 texts against 16 others, as they are; answers how many match.
    fn match_raw(&self, pairs: &[(&str, &str)]) -> usize {
        let _unused = pairs;
        0
    }

    /// Something that does the same with what was parsed before.
    fn parsed(&self, pairs: &[(&str, &str)]) -> Option<Box<dyn Fn() -> usize>> {
        let _unused = pairs;
        None
    }

    /// An index without subscriptions.
    fn index(&self) -> Option<Box<dyn Index>> {
        None
    }

    /// A store without retained topics.
    fn store(&self) -> Option<Box<dyn Store>> {
        None
    }

    /// Whether it answers as the standard says, where that is easy to miss.
    fn is_right(&self) -> bool {
        let cases = [
            ("$SYS/#", "$SYS/a", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("a/#", "a", true),
            ("a/+", "a", false),
            ("a//b", "a//b", true),
            ("a/+/b", "a//b", true),
            ("+", "/a", false),
        ];
        cases.iter().all(|&(filter, topic, expected)| {
            let ours = || {
                let filter = TopicFilter::new(filter).expect("a filter");
                filter.matches(TopicName::new(topic).expect("a name"))
            };
            assert_eq!(ours(), expected, "{filter} {topic}");
            let one = [(filter, topic)];
            let found = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
                if let Some(mut index) = self.index() {
                    index.insert(filter, 1);
                    let mut found = Vec::new();
                    index.matches(topic, &mut found);
                    return found.len() == 1;
                }
                match self.parsed(&one) {
                    Some(run) => run() == 1,
                    None => self.match_raw(&one) == 1,
                }
            }));
            found.is_ok_and(|found| found == expected)
        })
    }
}

/// Subscriptions; each subscriber has one.
pub(crate) trait Index {
    fn insert(&mut self, filter: &str, subscriber: u32);
    fn remove(&mut self, filter: &str, subscriber: u32);
    /// Adds all who want a topic.
    fn matches(&mut self, topic: &str, found: &mut Vec<u32>);
}

/// Retained topics with a number each.
pub(crate) trait Store {
    fn set(&mut self, topic: &str, message: u32);
    /// Shows what a filter matches, at most so many; answers the sum of the lengths of the topics.
    fn query(&mut self, filter: &str, limit: usize, found: &mut Vec<u32>) -> usize;
}
