//! Every filter with every name, and every filter with every other.

use mqtt_topic::{TopicFilter, TopicName};

use crate::naive;

/// Two letters, and all characters that mean something.
const ALPHABET: [char; 6] = ['a', 'b', '/', '+', '#', '$'];

/// All texts of up to so many characters, the empty one first.
fn texts(len_max: u32) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut start = 0;
    for _ in 0..len_max {
        let end = all.len();
        let longer: Vec<_> = all
            .iter()
            .skip(start)
            .flat_map(|text| ALPHABET.map(|letter| format!("{text}{letter}")))
            .collect();
        all.extend(longer);
        start = end;
    }
    all
}

/// The valid ones among some texts; valid is what the plain rules call so.
fn valid<'t, T>(
    texts: &'t [String],
    is_valid: fn(&str) -> bool,
    parse: impl Fn(&'t str) -> Option<T>,
) -> Vec<T> {
    let parsed = texts.iter().filter_map(|text| {
        let parsed = parse(text);
        assert_eq!(parsed.is_some(), is_valid(text), "{text:?}");
        parsed
    });
    parsed.collect()
}

fn filters(texts: &[String]) -> Vec<TopicFilter<'_>> {
    valid(texts, naive::is_filter, |text| TopicFilter::new(text).ok())
}

fn names(texts: &[String]) -> Vec<TopicName<'_>> {
    valid(texts, naive::is_name, |text| TopicName::new(text).ok())
}

#[test]
fn every_filter_matches_what_the_plain_rules_say() {
    let texts = texts(5);
    assert_eq!(texts.len(), 9_331);
    let (filters, names) = (filters(&texts), names(&texts));
    assert_eq!((filters.len(), names.len()), (1_711, 1_364));
    let mut matching = 0_u32;
    for filter in &filters {
        for name in &names {
            let is_match = filter.matches(*name);
            let expected = naive::matches(filter.as_str(), name.as_str());
            assert_eq!(is_match, expected, "{filter} on {name}");
            matching += u32::from(is_match);
        }
    }
    assert!(matching > 10_000, "{matching}");
}

/// Longer names than the filters, so that a difference has a name to show itself.
#[test]
fn covers_and_overlaps_say_what_the_names_say() {
    let (short, long) = (texts(4), texts(6));
    let (filters, names) = (filters(&short), names(&long));
    // A bit for each name.
    let matched: Vec<Vec<u64>> = filters
        .iter()
        .map(|filter| {
            let words = names.chunks(64).map(|names| {
                let bits = names.iter().map(|name| u64::from(filter.matches(*name)));
                bits.fold(0, |word, bit| (word << 1) | bit)
            });
            words.collect()
        })
        .collect();
    for (left, left_names) in filters.iter().zip(&matched) {
        for (right, right_names) in filters.iter().zip(&matched) {
            let both = || left_names.iter().zip(right_names);
            let covers = both().all(|(left, right)| right & !left == 0);
            assert_eq!(left.covers(*right), covers, "{left} covers {right}");
            let overlaps = both().any(|(left, right)| left & right != 0);
            assert_eq!(left.overlaps(*right), overlaps, "{left} overlaps {right}");
        }
    }
}
