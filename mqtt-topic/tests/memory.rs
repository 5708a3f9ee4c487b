//! Memory, counted by an allocator: what an index says it holds, and what it gives back.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use mqtt_topic::{
    RetainedConfig, RetainedIndex, Scratch, SharedFilter, SubscriptionIndex, TopicFilter, TopicName,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// All in one test: other threads would be counted too.
#[test]
fn memory_is_counted_and_given_back() {
    subscriptions();
    subscriptions_with_copies();
    retained();
    look_ups_allocate_nothing();
}

fn live(region: &Region<'_, std::alloc::System>) -> usize {
    let change = region.change();
    change.bytes_allocated - change.bytes_deallocated
}

/// What it says is what there is, but for a few bytes of the tables' own.
fn assert_close(said: usize, live: usize, when: &str) {
    let bound = live / 50 + 2_048;
    assert!(
        said.abs_diff(live) <= bound,
        "{when}: {said} said, {live} live"
    );
}

fn filter_of(number: u32) -> String {
    match number % 10 {
        0 => format!("site/{}/+/sensor/{}", number % 100, number % 500),
        1 => format!("site/{}/#", number % 1_000),
        2 => "site/alarm".to_owned(),
        _ => format!("site/{}/room/sensor/{number}", number % 100),
    }
}

fn subscriptions() {
    const LEN: u32 = 60_000;
    let region = Region::new(ALLOCATOR);
    let mut index = SubscriptionIndex::<u32, ()>::default();
    let empty = live(&region);
    assert_close(index.memory(), empty, "empty");
    for number in 0..LEN {
        let filter = filter_of(number);
        index
            .insert(TopicFilter::new(&filter).unwrap(), number, ())
            .unwrap();
        if number % 1_000 == 0 {
            let shared = format!("$share/g{number}/{filter}");
            index
                .insert_shared(SharedFilter::new(&shared).unwrap(), number, ())
                .unwrap();
        }
        if number % 10_000 == 0 {
            assert_close(index.memory(), live(&region), "growing");
        }
    }
    assert_close(index.memory(), live(&region), "full");
    for number in 0..LEN {
        let filter = filter_of(number.wrapping_mul(7_919) % LEN);
        index
            .remove(
                TopicFilter::new(&filter).unwrap(),
                number.wrapping_mul(7_919) % LEN,
            )
            .unwrap();
        if number % 10_000 == 0 {
            assert_close(index.memory(), live(&region), "shrinking");
        }
    }
    for number in (0..LEN).step_by(1_000) {
        index.remove_subscriber(number);
    }
    assert!(index.is_empty());
    let left = live(&region);
    assert!(
        left <= empty + 4_096,
        "{left} bytes are left, {empty} when it was new"
    );
    assert_close(index.memory(), left, "empty again");
}

/// What a snapshot or a clone shares is copied when it changes: nothing of that is counted twice, or stays.
fn subscriptions_with_copies() {
    let region = Region::new(ALLOCATOR);
    let mut index = SubscriptionIndex::<u32, u32>::default();
    let empty = index.memory();
    for round in 0..20_u32 {
        for number in 0..3_000 {
            let filter = filter_of(number);
            let filter = TopicFilter::new(&filter).unwrap();
            index.insert(filter, number, round).unwrap();
        }
        let (snapshot, copy) = (index.snapshot(), index.clone());
        for number in 0..3_000 {
            let filter = filter_of(number);
            let filter = TopicFilter::new(&filter).unwrap();
            match number % 3 {
                0 => assert_eq!(index.remove(filter, number), Some(round)),
                1 => assert_eq!(index.insert(filter, number + 10_000, round), Ok(None)),
                _ => assert_eq!(index.insert(filter, number, round), Ok(Some(round))),
            }
        }
        drop((snapshot, copy));
        assert_close(index.memory(), live(&region), "after a snapshot");
        for number in 0..20_000 {
            index.remove_subscriber(number);
        }
        assert!(index.is_empty());
        let left = live(&region);
        assert_close(index.memory(), left, "empty again");
        assert_eq!(index.memory(), empty, "in round {round}");
    }
}

fn retained() {
    const LEN: u32 = 60_000;
    let region = Region::new(ALLOCATOR);
    let mut index = RetainedIndex::<u32>::new(RetainedConfig::default());
    let empty = live(&region);
    let topic_of =
        |number: u32| format!("site/{}/room/{}/sensor/{number}", number % 50, number % 7);
    for number in 0..LEN {
        index
            .set(TopicName::new(&topic_of(number)).unwrap(), number, 10)
            .unwrap();
    }
    assert_close(index.memory(), live(&region), "full");
    for number in 0..LEN {
        let number = number.wrapping_mul(7_919) % LEN;
        assert_eq!(
            index.remove(TopicName::new(&topic_of(number)).unwrap()),
            Some(number)
        );
    }
    let left = live(&region);
    assert!(
        left <= empty + 4_096,
        "{left} bytes are left, {empty} when it was new"
    );
    assert_eq!((index.len(), index.bytes(), index.nodes_len()), (0, 0, 1));
}

fn look_ups_allocate_nothing() {
    let mut index = SubscriptionIndex::<u32, ()>::default();
    for number in 0..20_000 {
        index
            .insert(TopicFilter::new(&filter_of(number)).unwrap(), number, ())
            .unwrap();
    }
    let topics: Vec<_> = (0..1_000_u32)
        .map(|number| format!("site/{}/room/sensor/{}", number % 100, number * 17))
        .collect();
    let (mut scratch, mut merge) = (Scratch::default(), mqtt_topic::MergeScratch::default());
    let mut look_up = |topics: &[String]| {
        let mut found = 0;
        for topic in topics {
            let topic = TopicName::new(topic).unwrap();
            found += index.matches(topic, &mut scratch).count();
            let overlaps = index.overlaps(topic, &mut merge);
            found += overlaps
                .subscribers()
                .map(|one| one.values().count())
                .sum::<usize>();
        }
        found
    };
    let warm = look_up(&topics);
    let region = Region::new(ALLOCATOR);
    assert_eq!(look_up(&topics), warm);
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
}
