//! The retained index against a plain map, with queries in slices and changes between them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use mqtt_topic::{
    Cursor, QueryProgress, RetainedConfig, RetainedErrorKind, RetainedIndex, TopicFilter, TopicName,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::naive;

/// Characters before and behind '/' in the order of bytes, which must not show.
fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just(""),
        Just("$a"),
        Just("a!"),
        Just("\u{1}"),
        Just("\u{10FFFF}")
    ]
}

fn name() -> impl Strategy<Value = String> {
    vec(level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a name has a character", |name| !name.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    (
        vec(prop_oneof![2 => level(), 1 => Just("+")], 0..4),
        any::<bool>(),
    )
        .prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("a filter has a character", |filter| !filter.is_empty())
}

fn name_of(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

/// One slice of a query; answers what it showed and whether more is to come.
fn slice(
    index: &RetainedIndex<u32>,
    filter: &str,
    cursor: &mut Cursor,
    budget: usize,
) -> (Vec<(String, u32)>, QueryProgress) {
    let mut seen = Vec::new();
    let filter = TopicFilter::new(filter).unwrap();
    let progress = index.query(filter, cursor, budget, |topic, message| {
        seen.push((topic.to_string(), *message));
        ControlFlow::Continue(())
    });
    (seen, progress)
}

proptest! {
    #[test]
    fn a_query_in_slices_shows_what_matches_once(
        names in vec(name(), 0..40),
        filters in vec(filter(), 1..6),
        budget in 1..5_usize,
    ) {
        let mut index = RetainedIndex::new(RetainedConfig::default());
        let mut model = BTreeMap::new();
        for (message, name) in (0_u32..).zip(&names) {
            prop_assert_eq!(index.set(name_of(name), message, 10).unwrap(), model.insert(name.clone(), message));
        }
        prop_assert_eq!(index.len(), model.len());
        prop_assert_eq!(index.bytes(), model.keys().map(|name| name.len() + 10).sum::<usize>());
        for filter in &filters {
            let mut cursor = Cursor::default();
            let mut all = Vec::new();
            let mut slices = 0;
            loop {
                let (seen, progress) = slice(&index, filter, &mut cursor, budget);
                prop_assert!(seen.len() <= budget);
                all.extend(seen);
                slices += 1;
                // Each look passes a node.
                prop_assert!(slices <= index.nodes_len() + 1, "it ends");
                if progress == QueryProgress::Done {
                    break;
                }
            }
            let again = slice(&index, filter, &mut cursor, budget);
            prop_assert_eq!(again, (vec![], QueryProgress::Done), "done is done");

            let in_order: BTreeMap<_, _> = all.iter().cloned().collect();
            prop_assert_eq!(in_order.len(), all.len(), "each is shown once");
            let expected: BTreeMap<_, _> = model
                .iter()
                .filter(|(name, _)| naive::matches(filter, name))
                .map(|(name, message)| (name.clone(), *message))
                .collect();
            prop_assert_eq!(in_order, expected);
        }
    }

    #[test]
    fn changes_during_a_query_hide_and_repeat_nothing(
        staying in vec(name(), 1..20),
        changes in vec((any::<bool>(), name()), 1..40),
        filter in filter(),
    ) {
        let mut index = RetainedIndex::new(RetainedConfig::default());
        let staying: BTreeSet<_> = staying.into_iter().collect();
        for name in &staying {
            index.set(name_of(name), 0, 0).unwrap();
        }
        let (mut cursor, mut shown) = (Cursor::default(), Vec::new());
        let mut changes = changes.into_iter().cycle();
        let mut removed = BTreeSet::new();
        for _ in 0..1000 {
            let (seen, progress) = slice(&index, &filter, &mut cursor, 1);
            shown.extend(seen.into_iter().map(|(name, _)| name));
            if progress == QueryProgress::Done {
                break;
            }
            if let Some((set, name)) = changes.next().filter(|(_, name)| !staying.contains(name)) {
                if set {
                    index.set(name_of(&name), 1, 0).unwrap();
                } else {
                    index.remove(name_of(&name));
                    removed.insert(name);
                }
            }
        }
        let once: BTreeSet<_> = shown.iter().cloned().collect();
        // What is removed and set again is another one, which may come behind.
        shown.retain(|name| !removed.contains(name));
        let again = shown.iter().collect::<BTreeSet<_>>().len();
        prop_assert_eq!(again, shown.len(), "none twice");
        prop_assert!(shown.iter().all(|name| naive::matches(&filter, name)));
        let missing: Vec<_> = staying
            .iter()
            .filter(|name| naive::matches(&filter, name) && !once.contains(*name))
            .collect();
        prop_assert!(missing.is_empty(), "never shown: {missing:?}");
    }
}

/// Found by the fuzz target `index_model`: a cursor stood below a first level whose place then
/// became that of a level with a '$'.
#[test]
fn a_query_does_not_go_on_below_a_dollar_that_took_the_place() {
    // [5:MQTT-4.7.2-1] [3:MQTT-4.7.2-1]
    let mut index = RetainedIndex::default();
    for name in ["a/1", "a/2"] {
        assert_eq!(index.set(name_of(name), (), 0), Ok(None));
    }
    let (filter, mut cursor) = (TopicFilter::new("#").unwrap(), Cursor::default());
    let mut seen = Vec::new();
    let mut query = |index: &RetainedIndex<()>, budget| {
        index.query(filter, &mut cursor, budget, |topic, ()| {
            seen.push(topic.as_str().to_owned());
            ControlFlow::Continue(())
        })
    };
    assert_eq!(query(&index, 3), QueryProgress::More);
    for gone in ["a/1", "a/2"] {
        assert_eq!(index.remove(name_of(gone)), Some(()));
    }
    for new in ["$a/1", "$a/2"] {
        assert_eq!(index.set(name_of(new), (), 0), Ok(None));
    }
    assert_eq!(query(&index, 100), QueryProgress::Done);
    assert_eq!(seen, ["a/1"]);
}

/// A cursor stands below a level whose place then becomes that of one that stands elsewhere.
#[test]
fn a_query_does_not_go_on_below_a_level_that_took_the_place_elsewhere() {
    let mut index = RetainedIndex::default();
    for (name, message) in [("a/1", 1), ("a/2", 2), ("b/1", 3)] {
        index.set(name_of(name), message, 0).unwrap();
    }
    let mut cursor = Cursor::default();
    let (seen, progress) = slice(&index, "#", &mut cursor, 3);
    assert_eq!(seen, [("a/1".to_owned(), 1)]);
    assert_eq!(progress, QueryProgress::More);
    for gone in ["a/1", "a/2"] {
        index.remove(name_of(gone));
    }
    // What was the place of `a` is now that of a level below `b`.
    for (name, message) in [("b/a/1", 4), ("b/a/2", 5)] {
        index.set(name_of(name), message, 0).unwrap();
    }
    let (seen, progress) = slice(&index, "#", &mut cursor, 100);
    let seen: BTreeMap<_, _> = seen.into_iter().collect();
    let names: Vec<_> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, ["b/1", "b/a/1", "b/a/2"]);
    assert_eq!(progress, QueryProgress::Done);
}

#[test]
fn a_visitor_that_stops_goes_on_behind_what_it_has_seen() {
    let mut index = RetainedIndex::default();
    for name in ["a/1", "a/2", "a/3"] {
        index.set(name_of(name), (), 0).unwrap();
    }
    let (mut cursor, mut seen) = (Cursor::default(), Vec::new());
    for _ in 0..3 {
        let progress = index.query(
            TopicFilter::new("a/+").unwrap(),
            &mut cursor,
            100,
            |topic, ()| {
                seen.push(topic.to_string());
                ControlFlow::Break(())
            },
        );
        assert_eq!(progress, QueryProgress::More);
    }
    assert_eq!(seen, ["a/1", "a/2", "a/3"]);
}

#[test]
fn at_a_limit_the_message_comes_back_and_the_old_one_stays() {
    let config = RetainedConfig {
        topics_max: 2,
        bytes_max: 30,
        levels_max: 3,
        ..RetainedConfig::default()
    };
    let mut index = RetainedIndex::new(config);
    index.set(name_of("a"), "old", 9).unwrap();
    index.set(name_of("b"), "b", 9).unwrap();
    assert_eq!(index.bytes(), 20);

    let error = index.set(name_of("c"), "c", 0).unwrap_err();
    assert_eq!(
        (error.message, error.kind),
        ("c", RetainedErrorKind::TooManyTopics)
    );
    let error = index.set(name_of("a"), "new", 20).unwrap_err();
    assert_eq!(
        (error.message, error.kind),
        ("new", RetainedErrorKind::TooManyBytes)
    );
    let error = index.set(name_of("a"), "new", usize::MAX).unwrap_err();
    assert_eq!(error.kind, RetainedErrorKind::TooManyBytes);
    let error = index.set(name_of("a/b/c/d"), "deep", 0).unwrap_err();
    assert_eq!(error.kind, RetainedErrorKind::TooManyTopics);
    index.remove(name_of("b"));
    let error = index.set(name_of("a/b/c/d"), "deep", 0).unwrap_err();
    assert_eq!(error.kind, RetainedErrorKind::TooManyLevels);
    assert_eq!(index.nodes_len(), 2, "nothing is left of what was refused");
    index.set(name_of("b"), "b", 9).unwrap();
    assert_eq!(index.get(name_of("a")), Some(&"old"));

    assert_eq!(
        index.set(name_of("a"), "new", 19),
        Ok(Some("old")),
        "the limit itself is allowed"
    );
    assert_eq!(index.remove(name_of("b")), Some("b"));
    assert_eq!((index.len(), index.bytes()), (1, 20));
    assert_eq!(index.remove(name_of("b")), None);
}

#[test]
fn what_stands_above_a_removed_topic_stays() {
    let mut index = RetainedIndex::default();
    for name in ["a", "a/b/c"] {
        index.set(name_of(name), name, 0).unwrap();
    }
    assert_eq!(index.remove(name_of("a/b/c")), Some("a/b/c"));
    assert_eq!(index.get(name_of("a")), Some(&"a"));
    assert_eq!(index.nodes_len(), 2, "the root and the topic");
}

/// Nothing is seen for nothing, and a cursor that starts again is as good as a new one.
#[test]
fn a_cursor_goes_back_to_the_front_for_another_query() {
    let mut index = RetainedIndex::default();
    for name in ["a/1", "a/2", "b/1"] {
        index.set(name_of(name), (), 0).unwrap();
    }
    let slice = |cursor: &mut Cursor, filter, budget| {
        let mut seen = Vec::new();
        let filter = TopicFilter::new(filter).unwrap();
        let progress = index.query(filter, cursor, budget, |topic, ()| {
            seen.push(topic.to_string());
            ControlFlow::Continue(())
        });
        (progress, seen)
    };
    let mut cursor = Cursor::default();
    let nothing = (QueryProgress::More, Vec::new());
    assert_eq!(slice(&mut cursor, "a/+", 0), nothing);
    let (progress, seen) = slice(&mut cursor, "a/+", 2);
    assert_eq!((progress, seen.len()), (QueryProgress::More, 1));
    let memory = cursor.memory();
    cursor.restart();
    assert_eq!(cursor.memory(), memory, "its memory is kept");
    let all = slice(&mut cursor, "+/1", 100);
    assert_eq!(all, slice(&mut Cursor::default(), "+/1", 100));
    assert_eq!(all.1, ["a/1", "b/1"]);
}
