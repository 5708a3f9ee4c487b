//! Every short text: the library and the plain rules agree on all of them.

use mqtt_topic::{TopicFilter, TopicName};

use crate::naive;

/// Enough to build every kind of level, an empty one and one with '$' in front among them.
const ALPHABET: [char; 5] = ['/', '+', '#', '$', 'a'];
const LEN_MAX: u32 = 6;
/// Pairs are many more than texts.
const PAIR_LEN_MAX: u32 = 4;

fn texts(len_max: u32) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut start = 0;
    for _ in 0..len_max {
        let end = all.len();
        for place in start..end {
            for letter in ALPHABET {
                let mut text = all[place].clone();
                text.push(letter);
                all.push(text);
            }
        }
        start = end;
    }
    all
}

#[test]
fn names_and_filters_are_valid_as_the_plain_rules_say() {
    let all = texts(LEN_MAX);
    assert_eq!(all.len(), 19_531);
    for text in all {
        assert_eq!(
            TopicName::new(&text).is_ok(),
            naive::is_name(&text),
            "{text:?}"
        );
        assert_eq!(
            TopicFilter::new(&text).is_ok(),
            naive::is_filter(&text),
            "{text:?}"
        );
    }
}

#[test]
fn matches_is_what_the_plain_rules_say() {
    let all = texts(PAIR_LEN_MAX);
    let filters: Vec<_> = all
        .iter()
        .filter_map(|text| TopicFilter::new(text).ok())
        .collect();
    let names: Vec<_> = all
        .iter()
        .filter_map(|text| TopicName::new(text).ok())
        .collect();
    for filter in &filters {
        for name in &names {
            assert_eq!(
                filter.matches(*name),
                naive::matches(filter.as_str(), name.as_str()),
                "{filter} on {name}"
            );
        }
    }
}

/// Longer names than the filters, so that a difference has a name to show itself.
#[test]
fn covers_and_overlaps_say_what_the_names_say() {
    let all = texts(3);
    let filters: Vec<_> = all
        .iter()
        .filter_map(|text| TopicFilter::new(text).ok())
        .collect();
    let texts = texts(5);
    let names: Vec<_> = texts
        .iter()
        .filter_map(|text| TopicName::new(text).ok())
        .collect();
    let matched: Vec<Vec<bool>> = filters
        .iter()
        .map(|filter| names.iter().map(|name| filter.matches(*name)).collect())
        .collect();
    for (left, left_names) in filters.iter().zip(&matched) {
        for (right, right_names) in filters.iter().zip(&matched) {
            let both = || left_names.iter().zip(right_names);
            let covers = both().all(|(left, right)| *left || !*right);
            assert_eq!(left.covers(*right), covers, "{left} covers {right}");
            let overlaps = both().any(|(left, right)| *left && *right);
            assert_eq!(left.overlaps(*right), overlaps, "{left} overlaps {right}");
        }
    }
}
