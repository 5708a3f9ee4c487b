//! Nothing that a caller sees depends on where hashing starts.

use core::ops::ControlFlow;

use mqtt_topic::{
    Cursor, IndexConfig, Match, RetainedConfig, RetainedIndex, Scratch, SubscriptionFilter,
    SubscriptionIndex, TopicFilter, TopicName,
};

/// Everything an index shows on the way through some thousand changes.
fn subscriptions(hash_seed: u64) -> Vec<String> {
    let config = IndexConfig {
        hash_seed,
        ..IndexConfig::default()
    };
    let (mut index, mut scratch, mut shown) =
        (SubscriptionIndex::new(config), Scratch::default(), vec![]);
    let mut state = 1_u32;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for turn in 0..6_000 {
        let text = match next(4) {
            0 => format!("a/{}/#", next(30)),
            1 => format!("+/{}/c", next(30)),
            2 => format!("$share/g{}/a/{}/c", next(3), next(30)),
            _ => format!("a/{}/{}", next(30), next(30)),
        };
        let (filter, key) = (TopicFilter::new(&text).unwrap(), next(20));
        match (filter.shared().unwrap(), next(3)) {
            (Some(shared), 0) => drop(index.remove_shared(shared, key)),
            (Some(shared), _) => drop(index.insert_shared(shared, key, turn).unwrap()),
            (None, 0) => drop(index.remove(filter, key)),
            (None, _) => drop(index.insert(filter, key, turn).unwrap()),
        }
        if turn % 500 == 0 {
            index.remove_subscriber(next(20));
        }
        if turn % 50 == 0 {
            let topic = format!("a/{}/c", next(30));
            for found in index.matches(TopicName::new(&topic).unwrap(), &mut scratch) {
                shown.push(match found {
                    Match::Subscriber { key, value } => format!("{topic} {key} {value}"),
                    Match::Group(group) => format!(
                        "{topic} {:?} {:?}",
                        group.id(),
                        group.members().collect::<Vec<_>>()
                    ),
                    other => panic!("{other:?}"),
                });
            }
        }
    }
    index.for_each(|key, filter, value| {
        shown.push(match filter {
            SubscriptionFilter::Plain(filter) => format!("{key} {filter} {value}"),
            other => format!("{key} {other:?} {value}"),
        });
    });
    shown
}

fn retained(hash_seed: u64) -> Vec<String> {
    let mut index = RetainedIndex::new(RetainedConfig {
        hash_seed,
        ..RetainedConfig::default()
    });
    for number in 0..3_000_u32 {
        let text = format!("a/{}/{}", number.wrapping_mul(7) % 100, number % 13);
        index
            .set(TopicName::new(&text).unwrap(), number, 1)
            .unwrap();
        if number % 3 == 0 {
            let text = format!("a/{}/{}", number % 100, number % 7);
            index.remove(TopicName::new(&text).unwrap());
        }
    }
    let (mut cursor, mut shown) = (Cursor::default(), vec![]);
    let _done = index.query(
        TopicFilter::new("#").unwrap(),
        &mut cursor,
        usize::MAX,
        |topic, message| {
            shown.push(format!("{topic} {message}"));
            ControlFlow::Continue(())
        },
    );
    shown
}

#[test]
fn two_seeds_show_the_same() {
    let shown = subscriptions(0);
    assert!(shown.len() > 1_000, "{}", shown.len());
    for seed in [1, u64::MAX, 0x9E37_79B9_7F4A_7C15] {
        assert_eq!(subscriptions(seed), shown, "{seed}");
    }
    let shown = retained(0);
    assert!(shown.len() > 100, "{}", shown.len());
    assert_eq!(retained(99), shown);
}
