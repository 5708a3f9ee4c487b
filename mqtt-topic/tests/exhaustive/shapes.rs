//! Hostile shapes in the size of a large broker: work is linear in what can match.

use std::ops::ControlFlow;

use mqtt_topic::{
    Cursor, IndexConfig, QueryProgress, RetainedConfig, RetainedIndex, Scratch, SubscriptionIndex,
    TopicFilter, TopicName,
};

const MILLION: u32 = 1_000_000;

type Index = SubscriptionIndex<u32, ()>;

fn insert(index: &mut Index, filter: &str, key: u32) {
    let filter = TopicFilter::new(filter).unwrap();
    assert_eq!(index.insert(filter, key, ()), Ok(None));
}

/// Who gets a topic, how many at most ten, and how many nodes were visited.
fn look_up(index: &Index, topic: &str) -> (usize, usize) {
    let mut scratch = Scratch::default();
    let found = index
        .matches(TopicName::new(topic).unwrap(), &mut scratch)
        .count();
    (found, scratch.steps())
}

fn assert_nothing_is_left(index: &Index) {
    assert_eq!((index.len(), index.nodes_len()), (0, 1));
    let empty = Index::default().memory();
    assert!(
        index.memory() <= empty + 4096,
        "{} bytes, {empty} of an empty one",
        index.memory()
    );
}

#[test]
fn a_million_first_levels() {
    let mut index = Index::default();
    for number in 0..MILLION {
        insert(&mut index, &format!("first-{number}"), number);
    }
    assert_eq!(look_up(&index, "first-777777"), (1, 2));
    assert_eq!(look_up(&index, "first-x"), (0, 1));
    insert(&mut index, "+", 7);
    insert(&mut index, "#", 8);
    assert_eq!(look_up(&index, "first-777777"), (3, 3));
    for number in 0..MILLION {
        assert!(index.remove_subscriber(number) > 0);
    }
    assert_nothing_is_left(&index);
}

#[test]
fn a_million_wildcard_branches() {
    let mut index = Index::default();
    for number in 0..MILLION {
        insert(&mut index, &format!("+/{number}/+"), number);
    }
    // The root, '+', the number, '+'.
    assert_eq!(look_up(&index, "a/5/c"), (1, 4));
    for number in (0..MILLION).rev() {
        assert_eq!(index.remove_subscriber(number), 1);
    }
    assert_nothing_is_left(&index);
}

#[test]
fn a_million_subscribers_of_one_filter() {
    // In the order of their keys, against it, and in none.
    let orders: [fn(u32) -> u32; 3] = [|n| n, |n| u32::MAX - n, |n| n.wrapping_mul(2_654_435_761)];
    for order in orders {
        let mut index = Index::default();
        for number in 0..MILLION {
            insert(&mut index, "a/+", order(number));
        }
        assert_eq!(look_up(&index, "a/b"), (1_000_000, 3));
        for number in 0..MILLION {
            let filter = TopicFilter::new("a/+").unwrap();
            assert_eq!(index.remove(filter, order(number)), Some(()));
        }
        assert_nothing_is_left(&index);
    }
}

#[test]
fn a_million_subscriptions_of_one_subscriber() {
    let mut index = Index::default();
    for number in 0..MILLION {
        insert(&mut index, &format!("a/{}/b/{number}", number % 1000), 1);
    }
    assert_eq!(look_up(&index, "a/77/b/5077"), (1, 5));
    assert_eq!(index.remove_subscriber(1), 1_000_000);
    assert_nothing_is_left(&index);
}

/// 65,535 levels: more than any call stack would hold, and a thousand of them share nothing but
/// their front.
#[test]
fn deep_filters_with_many_ends() {
    const ENDS: u32 = 1000;
    let work = || {
        let mut index = Index::new(IndexConfig {
            levels_max: 65_536,
            ..IndexConfig::default()
        });
        let front = "+/".repeat(32_000);
        for number in 0..ENDS {
            insert(&mut index, &format!("{front}{number}/#"), number);
        }
        let topic = format!("{}7/b", "a/".repeat(32_000));
        let (found, steps) = look_up(&index, &topic);
        assert_eq!(found, 1);
        assert!(steps <= 32_004, "{steps}");
        for number in 0..ENDS {
            assert_eq!(index.remove_subscriber(number), 1);
        }
        assert_nothing_is_left(&index);
    };
    let thread = std::thread::Builder::new().stack_size(64 * 1024);
    thread.spawn(work).unwrap().join().unwrap();
}

#[test]
fn a_million_retained_first_levels() {
    let mut index = RetainedIndex::new(RetainedConfig {
        topics_max: usize::MAX,
        bytes_max: usize::MAX,
        ..RetainedConfig::default()
    });
    let empty = index.memory();
    for number in 0..MILLION {
        let name = format!("first-{number}");
        assert_eq!(
            index.set(TopicName::new(&name).unwrap(), number, 0),
            Ok(None)
        );
    }
    let query = |filter, budget| {
        let mut seen = 0_u32;
        let filter = TopicFilter::new(filter).unwrap();
        let progress = index.query(filter, &mut Cursor::default(), budget, |_, _| {
            seen += 1;
            ControlFlow::Continue(())
        });
        (seen, progress)
    };
    // What is spelled out is found at once, what a wildcard stands for is looked at once.
    assert_eq!(query("first-77", 2), (1, QueryProgress::Done));
    assert_eq!(query("other/#", 2), (0, QueryProgress::Done));
    assert_eq!(query("+", 1_000_001), (MILLION, QueryProgress::Done));
    assert_eq!(query("#", 101), (100, QueryProgress::More));
    for number in 0..MILLION {
        let name = format!("first-{number}");
        assert_eq!(index.remove(TopicName::new(&name).unwrap()), Some(number));
    }
    assert!(index.memory() <= empty + 4096, "{}", index.memory());
}
