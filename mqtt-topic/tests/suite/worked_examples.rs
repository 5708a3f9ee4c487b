//! The examples by which the standards explain names, filters and matching, one row each.

use core::ops::ControlFlow;

use mqtt_topic::{
    Cursor, IndexConfig, Match, QueryProgress, RetainedConfig, RetainedIndex, Scratch,
    SharedFilter, SubscriptionIndex, TopicError, TopicErrorKind, TopicFilter, TopicName,
};

use TopicErrorKind::{
    Empty, HashNotAlone, HashNotLast, NotUtf8, NullCharacter, PlusNotAlone, SharedGroupEmpty,
    SharedGroupWildcard, SharedWithoutFilter, TooLong, WildcardInName,
};

/// The kind of a fault and its place.
type Fault = (TopicErrorKind, usize);

/// Filter, name, whether the filter matches the name.
const MATCHES: &[(&str, &str, bool)] = &[
    // [5:MQTT-4.7.1-1] [3:MQTT-4.7.1-2]
    ("sport/tennis/player1/#", "sport/tennis/player1", true),
    (
        "sport/tennis/player1/#",
        "sport/tennis/player1/ranking",
        true,
    ),
    (
        "sport/tennis/player1/#",
        "sport/tennis/player1/score/wimbledon",
        true,
    ),
    ("sport/tennis/player1/#", "sport/tennis/player12", false),
    ("sport/#", "sport", true),
    ("sport/#", "sport/", true),
    ("sport/#", "sports", false),
    ("#", "a/b/c", true),
    ("#", "/", true),
    ("#", "/finance", true),
    ("#", "$SYS/x", false), // [5:MQTT-4.7.2-1] [3:MQTT-4.7.2-1]
    ("#", "$x", false),
    ("/#", "/", true),
    ("/#", "/a", true),
    ("/#", "/a/b", true),
    ("/#", "a", false),
    ("/#", "a/b", false),
    // [5:MQTT-4.7.1-2] [3:MQTT-4.7.1-3]
    ("sport/tennis/+", "sport/tennis/player1", true),
    ("sport/tennis/+", "sport/tennis/player1/ranking", false),
    ("sport/+", "sport", false),
    ("sport/+", "sport/", true),
    ("+/+", "/finance", true),
    ("/+", "/finance", true),
    ("+", "/finance", false),
    ("+", "finance", true),
    ("+", "$SYS", false),
    ("+/monitor/Clients", "$SYS/monitor/Clients", false),
    ("+/#", "a", true),
    ("+/#", "a/b", true),
    ("+/#", "/", true),
    ("+/#", "$SYS/a", false),
    ("$SYS/#", "$SYS/x/y", true),
    ("$SYS/#", "$SYS/", true),
    ("$SYS/#", "$SYS", true),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
    ("a/$x/#", "a/$x/b", true),
    ("a/+/c", "a/$x/c", true),
    ("a/+/c", "a//c", true),
    ("a/b", "a/b/", false),
    ("a/b", "/a/b", false),
    ("a/b", "A/b", false), // [5:MQTT-4.7.3-4] [3:MQTT-4.7.3-4] byte by byte, no normalization
    ("a//b", "a/b", false),
    ("+/b/#", "a/b", true),
    ("+/b/#", "a/b/c/d", true),
    ("+/b/#", "/b", true),
    ("+/+/#", "a", false),
    ("+/+/#", "a/", true),
    ("home/+/temperature", "home/kitchen/temperature", true),
    ("home/+/temperature", "home/kitchen/humidity", false),
    ("home/#", "home/dining-room/temperature", true),
    ("school/class-1/#", "school/class-1/group-2/audio", true),
    ("school/class-1/#", "school/class-2/group-2/audio", false),
    (
        "school/+/group-1/audio",
        "school/class-2/group-1/audio",
        true,
    ),
    (
        "school/+/group-1/audio",
        "school/class-2/group-2/audio",
        false,
    ),
    ("caf\u{E9}", "cafe\u{301}", false),
];

#[test]
fn a_filter_matches_what_the_standards_say() {
    for &(filter, name, expected) in MATCHES {
        assert_eq!(
            filter_of(filter).matches(name_of(name)),
            expected,
            "{filter} on {name}"
        );
    }
}

#[test]
fn the_subscription_index_finds_what_matches() {
    for &(filter, name, expected) in MATCHES {
        let mut index = SubscriptionIndex::new(IndexConfig::default());
        index.insert(filter_of(filter), 1, "one").unwrap();
        let found: Vec<_> = index
            .matches(name_of(name), &mut Scratch::default())
            .map(|found| match found {
                Match::Subscriber { key, value } => (key, *value),
                other => panic!("{other:?}"),
            })
            .collect();
        let wanted = if expected { vec![(1, "one")] } else { vec![] };
        assert_eq!(found, wanted, "{filter} on {name}");
    }
}

#[test]
fn the_retained_index_finds_what_matches() {
    for &(filter, name, expected) in MATCHES {
        let mut index = RetainedIndex::new(RetainedConfig::default());
        index.set(name_of(name), "one", 3).unwrap();
        let mut found = Vec::new();
        let progress = index.query(
            filter_of(filter),
            &mut Cursor::default(),
            100,
            |topic, message| {
                found.push((topic.to_string(), *message));
                ControlFlow::Continue(())
            },
        );
        assert_eq!(progress, QueryProgress::Done, "{filter} on {name}");
        let wanted = if expected {
            vec![(name.to_owned(), "one")]
        } else {
            vec![]
        };
        assert_eq!(found, wanted, "{filter} on {name}");
    }
}

#[test]
fn filters_are_taken_or_refused_with_the_place_of_the_fault() {
    let longest = "x".repeat(65_535);
    let too_long = "x".repeat(65_536);
    let rows: &[(&str, Result<(), Fault>)] = &[
        ("#", Ok(())),
        ("+", Ok(())),
        ("/", Ok(())),
        ("/#", Ok(())),
        ("+/+", Ok(())),
        ("+/tennis/#", Ok(())),
        ("sport/+/player1", Ok(())),
        ("sport/tennis/#", Ok(())),
        ("a//b", Ok(())),
        ("/+", Ok(())),
        ("+/", Ok(())),
        ("$SYS/#", Ok(())),
        (" ", Ok(())),
        (&longest, Ok(())),
        ("", Err((Empty, 0))), // [5:MQTT-4.7.3-1] [3:MQTT-4.7.3-1]
        ("sport/tennis#", Err((HashNotAlone, 12))), // [5:MQTT-4.7.1-1] [3:MQTT-4.7.1-2]
        ("sport/tennis/#/ranking", Err((HashNotLast, 14))),
        ("school/#/group-1/#", Err((HashNotLast, 8))),
        ("#/a", Err((HashNotLast, 1))),
        ("##", Err((HashNotAlone, 0))),
        ("sport+", Err((PlusNotAlone, 5))), // [5:MQTT-4.7.1-2] [3:MQTT-4.7.1-3]
        ("+sport", Err((PlusNotAlone, 0))),
        ("a/b+/c", Err((PlusNotAlone, 3))),
        ("a/+b", Err((PlusNotAlone, 2))),
        ("a/#b", Err((HashNotAlone, 2))),
        ("$+/x", Err((PlusNotAlone, 1))),
        ("a/b\0", Err((NullCharacter, 3))), // [5:MQTT-4.7.3-2] [3:MQTT-4.7.3-2]
        (&too_long, Err((TooLong, 65_535))), // [5:MQTT-4.7.3-3] [3:MQTT-4.7.3-3]
    ];
    for (filter, expected) in rows {
        let row = filter.get(..20).unwrap_or(filter);
        assert_eq!(
            TopicFilter::new(filter).map(drop).map_err(parts),
            *expected,
            "{row:?}"
        );
    }
}

/// [5:MQTT-3.3.2-2] [3:MQTT-3.3.2-2] [5:MQTT-4.7.0-1] [3:MQTT-4.7.1-1] no wildcards in a topic
#[test]
fn names_are_taken_or_refused_with_the_place_of_the_fault() {
    let longest = "x".repeat(65_535);
    let too_long = "x".repeat(65_536);
    let rows: &[(&[u8], Result<(), Fault>)] = &[
        (b"/", Ok(())),
        (b"$SYS/x", Ok(())),
        (b"a b", Ok(())),
        ("\u{FEFF}\u{FFFF}".as_bytes(), Ok(())),
        (longest.as_bytes(), Ok(())),
        (b"", Err((Empty, 0))),
        (b"a/+", Err((WildcardInName, 2))),
        (b"a#", Err((WildcardInName, 1))),
        (b"a\0b", Err((NullCharacter, 1))),
        (b"ab\xFF", Err((NotUtf8, 2))),
        (b"\xED\xA0\x80", Err((NotUtf8, 0))), // a surrogate
        (b"\xC0\x80", Err((NotUtf8, 0))),     // U+0000 in two bytes
        (too_long.as_bytes(), Err((TooLong, 65_535))),
    ];
    for (name, expected) in rows {
        let row = String::from_utf8_lossy(name.get(..20).unwrap_or(name)).into_owned();
        assert_eq!(
            TopicName::from_bytes(name).map(drop).map_err(parts),
            *expected,
            "{row:?}"
        );
    }
}

/// [5:MQTT-4.8.2-1] [5:MQTT-4.8.2-2] the form of a shared filter
#[test]
fn shared_filters_are_taken_apart_or_refused() {
    type Parts<'a> = Option<(&'a str, &'a str)>;
    let rows: &[(&str, Result<Parts<'_>, Fault>)] = &[
        (
            "$share/consumer1/sport/tennis/+",
            Ok(Some(("consumer1", "sport/tennis/+"))),
        ),
        (
            "$share/consumer1//finance",
            Ok(Some(("consumer1", "/finance"))),
        ),
        ("$share/g/#", Ok(Some(("g", "#")))),
        ("$share/g/$SYS/#", Ok(Some(("g", "$SYS/#")))),
        ("$share/g/", Err((SharedWithoutFilter, 8))),
        ("$share/g", Err((SharedWithoutFilter, 8))),
        ("$share//a", Err((SharedGroupEmpty, 7))),
        ("$share/+/a", Err((SharedGroupWildcard, 7))),
        ("$share/g#/a", Err((HashNotAlone, 8))), // no filter in 3.1.1 either
        ("$share", Ok(None)),
        ("$shared/g/a", Ok(None)),
        ("$SHARE/g/a", Ok(None)),
        ("a/$share/g/a", Ok(None)),
    ];
    for (text, expected) in rows {
        let shared = TopicFilter::new(text).and_then(TopicFilter::shared);
        let found = shared.map(|shared| {
            shared.map(|shared| {
                let group = core::str::from_utf8(shared.group_bytes()).unwrap();
                (group, shared.filter().as_str())
            })
        });
        assert_eq!(found.map_err(parts), *expected, "{text}");
        assert_eq!(
            SharedFilter::new(text).is_ok(),
            matches!(expected, Ok(Some(_))),
            "{text}"
        );
    }
}

#[test]
fn a_shared_filter_matches_as_the_filter_in_it() {
    let rows = [
        (
            "$share/consumer1/sport/tennis/+",
            "sport/tennis/player1",
            true,
        ),
        ("$share/consumer1//finance", "/finance", true),
        ("$share/consumer1//finance", "finance", false),
        ("$share/g/#", "a/b", true),
        ("$share/g/#", "$SYS/x", false),
        ("$share/g/$SYS/#", "$SYS/x", true),
    ];
    for (text, name, expected) in rows {
        let shared = SharedFilter::new(text).unwrap();
        assert_eq!(
            shared.filter().matches(name_of(name)),
            expected,
            "{text} on {name}"
        );

        let mut index = SubscriptionIndex::new(IndexConfig::default());
        index.insert_shared(shared, 1, ()).unwrap();
        let found = index.any_match(name_of(name), &mut Scratch::default());
        assert_eq!(found, expected, "{text} on {name}, in the index");
    }
}

#[test]
fn errors_say_which_statement_is_broken() {
    let rows = [
        (TopicFilter::new(""), "MQTT-4.7.3-1", Some("MQTT-4.7.3-1")),
        (
            TopicFilter::new("a\0"),
            "MQTT-4.7.3-2",
            Some("MQTT-4.7.3-2"),
        ),
        (
            TopicFilter::new("a/#/b"),
            "MQTT-4.7.1-1",
            Some("MQTT-4.7.1-2"),
        ),
        (TopicFilter::new("a+"), "MQTT-4.7.1-2", Some("MQTT-4.7.1-3")),
        (
            SharedFilter::new("$share//a").map(SharedFilter::whole),
            "MQTT-4.8.2-1",
            None,
        ),
    ];
    for (result, v5, v3) in rows {
        let error = result.unwrap_err();
        assert_eq!(
            (error.statement_v5(), error.statement_v3()),
            (v5, v3),
            "{error}"
        );
    }
}

fn parts(error: TopicError) -> Fault {
    (error.kind(), error.offset())
}

fn filter_of(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

fn name_of(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}
