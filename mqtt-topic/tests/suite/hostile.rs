//! Shapes that a hostile peer would choose: the work stays bounded, and the call stack flat.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::ControlFlow;

use mqtt_topic::{
    Cursor, IndexConfig, IndexError, MergeScratch, Position, QueryProgress, Receiver,
    RetainedConfig, RetainedIndex, Scratch, SubscriptionIndex, TopicFilter, TopicName,
};

/// No recursion: everything happens on a stack on which 65,535 calls have no room.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(64 * 1024)
        .spawn(work);
    thread.unwrap().join().unwrap();
}

#[test]
fn filters_of_65535_levels_need_no_call_stack() {
    on_a_small_stack(|| {
        // 32,767 '+' with '/' between them, and "/#" behind: 65,535 bytes.
        let mut deep = vec!["+"; 32_767].join("/");
        deep.push_str("/#");
        assert_eq!(deep.len(), 65_535);
        let slashes = "/".repeat(65_535);
        let mut index = SubscriptionIndex::new(IndexConfig {
            levels_max: 65_536,
            ..IndexConfig::default()
        });
        for text in [&deep, &slashes] {
            index
                .insert(TopicFilter::new(text).unwrap(), 1, ())
                .unwrap();
        }
        let mut scratch = Scratch::default();
        let found = index
            .matches(TopicName::new(&slashes).unwrap(), &mut scratch)
            .count();
        assert_eq!(found, 2);
        let copy = index.clone();
        assert_eq!(index.remove_subscriber(1), 2);
        assert_eq!(index.nodes_len(), 1);
        drop(copy);

        let filter = TopicFilter::new(&deep).unwrap();
        assert!(filter.matches(TopicName::new(&slashes).unwrap()));
        assert!(filter.covers(filter) && filter.overlaps(filter));
    });
}

#[test]
fn retained_names_of_65535_levels_need_no_call_stack() {
    on_a_small_stack(|| {
        let slashes = "/".repeat(65_535);
        let mut index = RetainedIndex::new(RetainedConfig {
            levels_max: 65_536,
            ..RetainedConfig::default()
        });
        index.set(TopicName::new(&slashes).unwrap(), (), 0).unwrap();
        let mut seen = 0;
        let progress = index.query(
            TopicFilter::new("+/#").unwrap(),
            &mut Cursor::default(),
            65_538,
            |_, ()| {
                seen += 1;
                ControlFlow::Continue(())
            },
        );
        assert_eq!((seen, progress), (1, QueryProgress::Done));
    });
}

/// Branches double at each level, and so do the nodes; a node is visited once all the same.
#[test]
fn a_look_up_visits_each_node_at_most_once() {
    const LEVELS: usize = 12;
    let mut index = SubscriptionIndex::default();
    for bits in 0..1_u32 << LEVELS {
        let level = |place| if bits >> place & 1 == 1 { "+" } else { "a" };
        let filter = (0..LEVELS).map(level).collect::<Vec<_>>().join("/");
        index
            .insert(TopicFilter::new(&filter).unwrap(), bits, ())
            .unwrap();
    }
    let topic = ["a"; LEVELS].join("/");
    let mut scratch = Scratch::default();
    let found = index
        .matches(TopicName::new(&topic).unwrap(), &mut scratch)
        .count();
    assert_eq!(found, 1 << LEVELS);
    assert_eq!(index.nodes_len(), (1 << (LEVELS + 1)) - 1);
    assert!(scratch.steps() <= index.nodes_len(), "{}", scratch.steps());
}

#[test]
fn a_look_up_does_not_visit_what_cannot_match() {
    let mut index = SubscriptionIndex::default();
    for number in 0..50_000_u32 {
        let filter = format!("site/{}/+/sensor/{number}", number % 100);
        index
            .insert(TopicFilter::new(&filter).unwrap(), number, ())
            .unwrap();
    }
    let mut scratch = Scratch::default();
    let topic = TopicName::new("site/7/room/sensor/1107").unwrap();
    assert_eq!(index.matches(topic, &mut scratch).count(), 1);
    assert!(
        scratch.steps() <= 6,
        "one for each level and the root: {}",
        scratch.steps()
    );

    let other = TopicName::new("plant/7/room/sensor/1107").unwrap();
    assert_eq!(index.matches(other, &mut scratch).count(), 0);
    assert!(scratch.steps() <= 1, "{}", scratch.steps());
}

#[test]
fn a_retained_query_does_not_look_at_what_cannot_match() {
    let mut index = RetainedIndex::default();
    for number in 0..50_000_u32 {
        let name = format!("site/{}/sensor/{number}", number % 100);
        index.set(TopicName::new(&name).unwrap(), (), 0).unwrap();
    }
    // Budget is what it may look at: it is done within a few.
    let rows = [
        ("site/7/sensor/1107", 1, 6),
        ("site/7/sensor/1108", 0, 6),
        ("site/7/#", 500, 506),
        ("site/+/sensor/1107", 1, 310),
        ("plant/#", 0, 2),
        ("+", 0, 3),
    ];
    for (filter, expected, budget) in rows {
        let mut seen = 0;
        let query = TopicFilter::new(filter).unwrap();
        let progress = index.query(query, &mut Cursor::default(), budget, |_, ()| {
            seen += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(
            (seen, progress),
            (expected, QueryProgress::Done),
            "{filter}"
        );
    }
}

#[test]
fn an_index_holds_no_more_bytes_than_it_may() {
    const BYTES_MAX: usize = 64 * 1024;
    let mut index = SubscriptionIndex::new(IndexConfig {
        bytes_max: BYTES_MAX,
        ..IndexConfig::default()
    });
    let texts: Vec<_> = (0..5_000).map(|number| format!("level/{number}")).collect();
    let filters = texts.iter().map(|text| TopicFilter::new(text).unwrap());
    let taken = filters
        .clone()
        .take_while(|filter| index.insert(*filter, 1, ()).is_ok());
    let taken = taken.count();
    assert!((500..5_000).contains(&taken), "{taken}");
    // One more piece of memory at most.
    assert!(index.memory() < BYTES_MAX + 64 * 1024, "{}", index.memory());
    let shared = "$share/g/a";
    let shared = mqtt_topic::SharedFilter::new(shared).unwrap();
    assert_eq!(index.insert_shared(shared, 1, ()), Err(IndexError::Full));
    let first = filters.clone().next().unwrap();
    assert_eq!(
        index.insert(first, 1, ()),
        Ok(Some(())),
        "what is there is replaced"
    );
    for filter in filters.take(taken) {
        assert_eq!(index.remove(filter, 1), Some(()));
    }
    assert_eq!(
        index.insert_shared(shared, 1, ()),
        Ok(None),
        "there is room again"
    );
}

thread_local! {
    static COMPARISONS: Cell<usize> = const { Cell::new(0) };
}

/// A key that counts how often it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted(u32);

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> Ordering {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A thousand filters match, and the budget has not even one subscriber for each; or one of them has
/// all of the lowest keys. Either way a receiver costs what a place in a queue costs.
#[test]
fn who_wants_a_topic_is_met_without_meeting_the_others_again() {
    const LEVELS: u32 = 10;
    const FILTERS: u32 = 1 << LEVELS;
    type KeyOf = fn(u32, u32) -> u32;
    let filter = |wildcards: u32| -> String {
        let level = |at: u32| if wildcards >> at & 1 == 1 { "+" } else { "a" };
        (0..LEVELS).map(level).collect::<Vec<_>>().join("/")
    };
    let rows: [(&str, u32, u32, KeyOf); 4] = [
        ("in turn", 0, 4, |filter, nth| nth * FILTERS + filter),
        ("one after the other", 0, 4, |filter, nth| filter * 4 + nth),
        ("the same", 0, 4, |_, nth| nth),
        ("one first", 4_000, 2, |filter, nth| {
            10_000 + nth * FILTERS + filter
        }),
    ];
    for (row, of_first, of_each, key) in rows {
        let mut index = SubscriptionIndex::new(IndexConfig::default());
        for number in 0..FILTERS {
            let text = filter(number);
            for nth in 0..of_each {
                let key = Counted(key(number, nth));
                index
                    .insert(TopicFilter::new(&text).unwrap(), key, ())
                    .unwrap();
            }
        }
        let first = filter(0);
        for key in 0..of_first {
            index
                .insert(TopicFilter::new(&first).unwrap(), Counted(key), ())
                .unwrap();
        }
        let entries = index.len();
        let topic = TopicName::new(&first).unwrap();
        for budget in [1_000, 1_500, 100_000] {
            let (mut scratch, mut position) = (MergeScratch::default(), Position::default());
            let (mut calls, mut entries_met) = (0, 0);
            COMPARISONS.set(0);
            let mut is_more = true;
            while is_more {
                calls += 1;
                let mut see = |receiver: Receiver<'_, Counted, ()>| match receiver {
                    Receiver::Several(subscriber) => entries_met += subscriber.values().count(),
                    other => panic!("{other:?}"),
                };
                is_more = index.receivers(topic, &mut scratch, &mut position, budget, &mut see);
            }
            assert_eq!(entries_met, entries, "{row}, {budget}");
            // Each call looks at each filter once, and each entry goes in and out of a queue.
            let looks = entries + calls * FILTERS as usize;
            let work = COMPARISONS.get();
            assert!(
                work < 40 * looks,
                "{row}, {budget}: {work} for {looks} in {calls} calls"
            );
        }
    }
}
