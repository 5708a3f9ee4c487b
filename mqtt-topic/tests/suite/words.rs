//! What people read: why a text is no topic, where, and by which statement; why an index is full.

use mqtt_topic::{
    IndexConfig, IndexError, RetainedConfig, RetainedIndex, SharedFilter, SubscriptionIndex,
    TopicFilter, TopicName,
};

/// For each fault what it says, and the statements of 5.0 and 3.1.1 that the text breaks.
#[test]
fn every_fault_has_a_sentence_and_its_statements() {
    let too_long = "x".repeat(65_536);
    let name = TopicName::from_bytes;
    let filter = TopicFilter::from_bytes;
    let shared = |text| SharedFilter::new(text).map(SharedFilter::whole);
    let rows = [
        (
            name(b"").unwrap_err(),
            "a topic needs at least one character",
            "MQTT-4.7.3-1",
            Some("MQTT-4.7.3-1"),
        ),
        (
            name(too_long.as_bytes()).unwrap_err(),
            "a topic has at most 65535 bytes",
            "MQTT-4.7.3-3",
            Some("MQTT-4.7.3-3"),
        ),
        (
            name(b"a/\xFF").unwrap_err(),
            "the text is no well-formed UTF-8 at byte 2",
            "MQTT-1.5.4-1",
            Some("MQTT-1.5.3-1"),
        ),
        (
            filter(b"ab\0").unwrap_err(),
            "U+0000 is not allowed, but stands at byte 2",
            "MQTT-4.7.3-2",
            Some("MQTT-4.7.3-2"),
        ),
        (
            name(b"a/+").unwrap_err(),
            "a topic name has no wildcards, but one stands at byte 2",
            "MQTT-3.3.2-2",
            Some("MQTT-3.3.2-2"),
        ),
        (
            filter(b"#/a").unwrap_err(),
            "'#' must be the last level, but more follows at byte 1",
            "MQTT-4.7.1-1",
            Some("MQTT-4.7.1-2"),
        ),
        (
            filter(b"a/b#").unwrap_err(),
            "'#' must be a whole level, but stands beside other characters at byte 3",
            "MQTT-4.7.1-1",
            Some("MQTT-4.7.1-2"),
        ),
        (
            filter(b"a/+b").unwrap_err(),
            "'+' must be a whole level, but stands beside other characters at byte 2",
            "MQTT-4.7.1-2",
            Some("MQTT-4.7.1-3"),
        ),
        (
            shared("$share//a").unwrap_err(),
            "'$share/' must be followed by the name of a group, but none stands at byte 7",
            "MQTT-4.8.2-1",
            None,
        ),
        (
            shared("$share/+/a").unwrap_err(),
            "the name of a group has no wildcards, but one stands at byte 7",
            "MQTT-4.8.2-2",
            None,
        ),
        (
            shared("$share/g").unwrap_err(),
            "the name of a group must be followed by '/' and a filter, but none stands at byte 8",
            "MQTT-4.8.2-2",
            None,
        ),
    ];
    for (error, sentence, v5, v3) in rows {
        assert_eq!(error.to_string(), sentence);
        let statements = (error.statement_v5(), error.statement_v3());
        assert_eq!(statements, (v5, v3), "{sentence}");
    }
}

#[test]
fn a_full_index_says_what_there_is_too_much_of() {
    let filter = TopicFilter::new("a/b/c").unwrap();
    let mut shallow = SubscriptionIndex::new(IndexConfig {
        levels_max: 2,
        ..IndexConfig::default()
    });
    let mut small = SubscriptionIndex::new(IndexConfig {
        bytes_max: 0,
        ..IndexConfig::default()
    });
    let name = TopicName::new("a/b/c").unwrap();
    let retained = |topics_max, bytes_max, levels_max| {
        let config = RetainedConfig {
            topics_max,
            bytes_max,
            levels_max,
            ..RetainedConfig::default()
        };
        let error = RetainedIndex::new(config).set(name, "m", 1).unwrap_err();
        error.to_string()
    };
    let rows = [
        (
            shallow.insert(filter, 1, ()).unwrap_err().to_string(),
            "the filter has too many levels",
        ),
        (
            small.insert(filter, 1, ()).unwrap_err().to_string(),
            "the index is full",
        ),
        (retained(0, 9, 9), "too many retained messages"),
        (retained(9, 5, 9), "too many bytes of retained messages"),
        (retained(9, 9, 2), "the topic has too many levels"),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
    assert!(shallow.is_empty() && small.is_empty());
    assert_eq!(IndexError::Full.to_string(), "the index is full");
}
