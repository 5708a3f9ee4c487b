//! Names and filters as values: what they equal, and how they look.

use mqtt_topic::{
    RetainedConfig, RetainedIndex, SharedFilter, SubscriptionIndex, TopicFilter, TopicName,
};

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

#[test]
fn they_compare_with_texts() {
    assert!(filter("a/+") == "a/+" && filter("a/+") == *"a/+");
    assert!(filter("a/+") != "a/#" && filter("a/+") != *"a/#");
    assert!(name("a/b") == "a/b" && name("a/b") == *"a/b");
    assert!(name("a/b") != "a/c" && name("a/b") != *"a/c");
}

#[test]
fn they_look_like_their_texts() {
    let shared = SharedFilter::new("$share/g/a").unwrap();
    let rows = [
        (
            format!("{}|{:>5}|{:?}", filter("a/+"), filter("a/+"), filter("a/+")),
            "a/+|  a/+|\"a/+\"",
        ),
        (
            format!("{}|{:>5}|{:?}", name("a/b"), name("a/b"), name("a/b")),
            "a/b|  a/b|\"a/b\"",
        ),
        (format!("{shared}|{shared:?}"), "$share/g/a|\"$share/g/a\""),
    ];
    for (shown, expected) in rows {
        assert_eq!(shown, expected);
    }
    let config = RetainedConfig {
        topics_max: 1,
        ..RetainedConfig::default()
    };
    let mut index = RetainedIndex::new(config);
    assert!(index.is_empty());
    index.set(name("a"), 1, 0).unwrap();
    assert!(!index.is_empty());
    let error = index.set(name("b"), 2, 0).unwrap_err();
    assert_eq!(error.to_string(), "too many retained messages");
}

/// Names and filters come from texts, and a name is a filter that matches itself alone.
#[test]
fn they_are_made_of_texts() {
    assert_eq!(TopicName::try_from("a/b"), TopicName::new("a/b"));
    assert_eq!(TopicName::try_from("a/+"), TopicName::new("a/+"));
    assert_eq!(TopicFilter::try_from("a/+"), TopicFilter::new("a/+"));
    assert_eq!(TopicFilter::try_from("a+"), TopicFilter::new("a+"));
    let of_name = TopicFilter::from(name("$a/b"));
    assert!(of_name == "$a/b" && !of_name.has_wildcards());
    assert!(of_name.matches(name("$a/b")) && !of_name.matches(name("$a")));
    let shared = SharedFilter::new("$share/g/a/+").unwrap();
    assert_eq!(
        (shared.whole(), shared.filter()),
        (filter("$share/g/a/+"), filter("a/+"))
    );
}

/// Subscribers of a filter by itself, not of what it matches, and without those of its groups.
#[test]
fn an_index_counts_the_subscribers_of_a_filter() {
    let mut index = SubscriptionIndex::<u32, ()>::default();
    let shared = SharedFilter::new("$share/g/a/+").unwrap();
    index.insert_shared(shared, 1, ()).unwrap();
    index.insert(filter("a/b/c"), 1, ()).unwrap();
    assert_eq!(index.subscribers_len(filter("a/+")), 0);
    for number in 0..40 {
        assert_eq!(index.subscribers_len(filter("a/+")), number as usize);
        index.insert(filter("a/+"), number, ()).unwrap();
        index.insert(filter("a/+"), number, ()).unwrap();
    }
    let rows = [("a/+", 40), ("a/b", 0), ("a/b/c", 1), ("a", 0), ("x", 0)];
    for (text, expected) in rows {
        assert_eq!(index.subscribers_len(filter(text)), expected, "{text}");
    }
    for number in 0..40 {
        index.remove(filter("a/+"), number).unwrap();
        assert_eq!(index.subscribers_len(filter("a/+")), 39 - number as usize);
    }
}

#[test]
fn a_filter_knows_its_wildcards() {
    let rows = [
        ("a/b", false),
        ("+", true),
        ("#", true),
        ("a/+/b", true),
        ("a/b/#", true),
        ("$share/g/a", false),
    ];
    for (text, expected) in rows {
        assert_eq!(filter(text).has_wildcards(), expected, "{text}");
    }
}

/// Just as long as the standard allows, with characters that take the careful way.
#[test]
fn the_longest_texts_are_taken() {
    // [5:MQTT-4.7.3-3] [3:MQTT-4.7.3-3]
    for letter in ["a", "\u{e4}"] {
        let mut text = letter.repeat(65_535 / letter.len());
        text.push_str(&"b".repeat(65_535 - text.len()));
        assert!(
            TopicName::new(&text).is_ok() && TopicFilter::new(&text).is_ok(),
            "{letter}"
        );
        text.push('b');
        assert!(
            TopicName::new(&text).is_err() && TopicFilter::new(&text).is_err(),
            "{letter}"
        );
    }
}

#[test]
fn a_group_shows_its_members_in_order() {
    let mut index = SubscriptionIndex::<u32, &str>::default();
    let shared = SharedFilter::new("$share/g/a/+").unwrap();
    for number in (0..40).rev() {
        assert_eq!(index.insert_shared(shared, number, "before"), Ok(None));
        let again = index.insert_shared(shared, number, "now");
        assert_eq!(again, Ok(Some("before")));
    }
    let group = index.group(shared).unwrap();
    let named = index.group_named(b"g", filter("a/+")).unwrap();
    assert_eq!((group.len(), named.len()), (40, 40));
    assert!(index.group_named(b"h", filter("a/+")).is_none());
    assert!(index.group_named(b"g", filter("a/b")).is_none());
    let mut members = group.members();
    for number in 0..40 {
        assert_eq!(group.get(number as usize), Some((number, &"now")));
        assert_eq!(members.len(), 40 - number as usize);
        assert_eq!(members.next(), Some((number, &"now")));
    }
    assert_eq!(
        (members.len(), members.next(), group.get(40)),
        (0, None, None)
    );
}

#[test]
fn filters_cover_each_other_across_wildcards() {
    let rows = [
        ("+/#", "#", true),
        ("+/#", "$a", false),
        ("+/#", "a", true),
        ("/+/#", "/#", true),
        ("+/+/#", "/#", true),
        ("/+/#", "a/b/#", false),
        ("+/+/#", "a", false),
        ("a/+/#", "a/#", false),
    ];
    for (outer, inner, expected) in rows {
        let covers = filter(outer).covers(filter(inner));
        assert_eq!(covers, expected, "{outer} covers {inner}");
    }
}
