//! Lines of text, each tried as a filter, a shared filter and a name, against naive versions of
//! everything that the library says about them.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use mqtt_topic::{
    Cursor, IndexConfig, Match, QueryProgress, RetainedConfig, RetainedIndex, Scratch,
    SharedFilter, SubscriptionFilter, SubscriptionIndex, TopicError, TopicFilter, TopicName,
};

/// More would square the work without telling more.
const LINES_MAX: usize = 16;

fuzz_target!(|data: &[u8]| {
    let (mut filters, mut names) = (Vec::new(), Vec::new());
    for line in data.split(|&byte| byte == b'\n').take(LINES_MAX) {
        check_valid(
            TopicFilter::from_bytes(line).map(|_| ()),
            naive::is_filter(line),
            line,
        );
        check_valid(
            TopicName::from_bytes(line).map(|_| ()),
            naive::is_name(line),
            line,
        );
        if let Ok(filter) = TopicFilter::from_bytes(line) {
            check_filter(filter, line);
            filters.push(filter);
        }
        if let Ok(name) = TopicName::from_bytes(line) {
            check_name(name, line);
            names.push(name);
        }
    }
    let matched: Vec<_> = filters.iter().copied().filter_map(matched_by).collect();
    for &filter in &matched {
        for &name in &names {
            assert_eq!(
                filter.matches(name),
                naive::matches(filter, name),
                "{filter} {name}"
            );
        }
    }
    for (place, &filter) in matched.iter().enumerate() {
        // Itself and the next one: all pairs would square the work.
        for &other in matched.iter().skip(place).take(2) {
            check_pair(filter, other);
            check_pair(other, filter);
        }
    }
    check_subscriptions(&filters, &names);
    check_retained(&matched, &names);
});

/// What a subscription matches; `None` for a shared filter without its parts.
fn matched_by(filter: TopicFilter<'_>) -> Option<TopicFilter<'_>> {
    let shared = filter.shared().ok()?;
    Some(shared.map_or(filter, SharedFilter::filter))
}

fn check_valid(found: Result<(), TopicError>, valid: bool, line: &[u8]) {
    assert_eq!(found.is_ok(), valid, "{}", line.escape_ascii());
    if let Err(error) = found {
        assert!(error.offset() <= line.len(), "{error}");
        assert!(!error.to_string().is_empty() && !error.statement_v5().is_empty());
        assert!(error.statement_v3().is_some(), "a fault in both versions");
    }
}

fn check_filter(filter: TopicFilter<'_>, line: &[u8]) {
    assert_eq!(
        (filter.as_bytes(), filter.as_str().as_bytes()),
        (line, line)
    );
    assert!(filter.levels().eq(line.split(|&byte| byte == b'/')));
    assert_eq!(filter.has_wildcards(), !naive::is_name(line));

    let shared = filter.shared();
    match naive::shared(line) {
        None => assert_eq!(shared, Ok(None)),
        Some(None) => {
            let error = shared.unwrap_err();
            assert!(
                error.offset() <= line.len() && !error.to_string().is_empty(),
                "{error}"
            );
        }
        Some(Some((group, inner))) => {
            let shared = shared.unwrap().unwrap();
            assert_eq!(
                (shared.group_bytes(), shared.filter().as_bytes()),
                (group, inner)
            );
            assert_eq!(shared.whole(), filter);
        }
    }
    let whole = SharedFilter::new(filter.as_str()).ok();
    assert_eq!(whole, shared.ok().flatten());
}

fn check_name(name: TopicName<'_>, line: &[u8]) {
    assert_eq!((name.as_bytes(), name.as_str().as_bytes()), (line, line));
    assert!(name.levels().eq(line.split(|&byte| byte == b'/')));
    assert!(
        TopicFilter::from(name).matches(name),
        "a name matches itself"
    );
}

/// `covers` and `overlaps` against the names that can tell.
fn check_pair(one: TopicFilter<'_>, other: TopicFilter<'_>) {
    assert_eq!(one.overlaps(other), other.overlaps(one), "{one} {other}");
    let (Some(firsts), Some(seconds)) = (naive::examples(one, other), naive::examples(other, one))
    else {
        return;
    };
    let common = |text: &String| {
        let name = TopicName::new(text).unwrap();
        naive::matches(one, name) && naive::matches(other, name)
    };
    let in_common = firsts.iter().chain(&seconds).any(common);
    let merged = naive::merge(one, other);
    let overlaps = in_common || (naive::is_name(merged.as_bytes()) && common(&merged));
    assert_eq!(one.overlaps(other), overlaps, "{one} and {other} overlap");

    let covered = |text: &String| naive::matches(one, TopicName::new(text).unwrap());
    assert_eq!(
        one.covers(other),
        seconds.iter().all(covered),
        "{one} covers {other}"
    );
}

/// Who has subscribed to what, for comparison.
type Model = BTreeMap<(Option<Vec<u8>>, Vec<u8>, usize), usize>;

fn check_subscriptions(filters: &[TopicFilter<'_>], names: &[TopicName<'_>]) {
    let config = IndexConfig {
        levels_max: usize::MAX,
    };
    let (mut index, mut model) = (SubscriptionIndex::new(config), Model::new());
    for (value, &filter) in filters.iter().enumerate() {
        let (key, bytes) = (value % 3, filter.as_bytes().to_vec());
        let before = match filter.shared() {
            Ok(Some(shared)) => {
                let group = Some(shared.group_bytes().to_vec());
                let before = index.insert_shared(shared, key, value);
                let held = (group, shared.filter().as_bytes().to_vec(), key);
                (before, model.insert(held, value))
            }
            // An ordinary one in 3.1.1, where it may look as it likes.
            Ok(None) | Err(_) => {
                let before = index.insert(filter, key, value);
                (before, model.insert((None, bytes, key), value))
            }
        };
        assert_eq!(before.0, Ok(before.1), "{filter}");
    }
    check_index(&index, &model, names);

    // Every second one leaves, then one of the subscribers, then the rest.
    let left: Vec<_> = model.keys().step_by(2).cloned().collect();
    for held in left {
        let (group, filter, key) = &held;
        let filter = TopicFilter::from_bytes(filter).unwrap();
        let removed = match group {
            None => index.remove(filter, *key),
            Some(group) => {
                let whole = [b"$share/", &**group, b"/", filter.as_bytes()].concat();
                let whole = String::from_utf8(whole).unwrap();
                index.remove_shared(SharedFilter::new(&whole).unwrap(), *key)
            }
        };
        assert_eq!(removed, model.remove(&held), "{filter}");
        assert!(removed.is_some());
    }
    check_index(&index, &model, names);
    for key in 0..3 {
        let before = model.len();
        model.retain(|held, _| held.2 != key);
        assert_eq!(index.remove_subscriber(key), before - model.len());
        check_index(&index, &model, names);
    }
    assert!(index.is_empty());
    assert_eq!(index.nodes_len(), 1, "only the root is left");
}

fn check_index(index: &SubscriptionIndex<usize, usize>, model: &Model, names: &[TopicName<'_>]) {
    assert_eq!(index.len(), model.len());
    let mut scratch = Scratch::default();
    for &name in names {
        let mut found = BTreeSet::new();
        for hit in index.matches(name, &mut scratch) {
            match hit {
                Match::Subscriber { key, value } => assert!(found.insert((None, key, *value))),
                Match::Group(group) => {
                    assert_eq!(group.len(), group.members().count());
                    for (key, value) in group.members() {
                        assert!(found.insert((Some(group.name_bytes().to_vec()), key, *value)));
                    }
                }
                _ => panic!("nothing else is known"),
            }
        }
        let expected: BTreeSet<_> = model
            .iter()
            .filter(|((_, filter, _), _)| naive::matches_bytes(filter, name.as_bytes()))
            .map(|((group, _, key), &value)| (group.clone(), *key, value))
            .collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(index.any_match(name, &mut scratch), !expected.is_empty());
        let _all = index.matches(name, &mut scratch).count();
        assert!(scratch.steps() <= index.nodes_len(), "no node twice");
    }
    for key in 0..3 {
        let mut found = Model::new();
        index.for_each_of(key, |filter, &value| {
            let (group, filter) = match filter {
                SubscriptionFilter::Plain(filter) => (None, filter),
                SubscriptionFilter::Shared { group, filter } => (Some(group.to_vec()), filter),
                _ => panic!("nothing else is known"),
            };
            let before = found.insert((group, filter.as_bytes().to_vec(), key), value);
            assert_eq!(before, None, "none twice");
        });
        let expected: Model = model
            .iter()
            .filter(|(held, _)| held.2 == key)
            .map(|(held, &value)| (held.clone(), value))
            .collect();
        assert_eq!(index.subscriptions_len(key), expected.len());
        assert_eq!(found, expected);
    }
}

fn check_retained(filters: &[TopicFilter<'_>], names: &[TopicName<'_>]) {
    let (mut index, mut model) = (
        RetainedIndex::new(RetainedConfig::default()),
        BTreeMap::new(),
    );
    for (message, &name) in names.iter().enumerate() {
        let levels: Vec<_> = name.levels().collect();
        assert_eq!(
            index.set(name, message, 1).unwrap(),
            model.insert(levels, message)
        );
        assert_eq!(index.get(name), Some(&message));
    }
    assert_eq!(index.len(), model.len());
    for &filter in filters {
        let expected: Vec<_> = model
            .iter()
            .map(|(levels, &message)| (levels.join(&b'/'), message))
            .filter(|(name, _)| naive::matches_bytes(filter.as_bytes(), name))
            .collect();
        // The larger budget sees all at once; with the smaller one the query goes on again and again.
        for budget in [model.len() + 1, 1] {
            let (mut cursor, mut found, mut calls) = (Cursor::default(), Vec::new(), 0);
            loop {
                let progress = index.query(filter, &mut cursor, budget, |name, &message| {
                    found.push((name.as_bytes().to_vec(), message));
                    ControlFlow::Continue(())
                });
                calls += 1;
                assert!(calls * budget <= (model.len() + 1) * 2, "no topic twice");
                if progress == QueryProgress::Done {
                    break;
                }
            }
            assert_eq!(found, expected, "{filter}");
        }
    }
    for &name in names {
        let levels: Vec<_> = name.levels().collect();
        assert_eq!(index.remove(name), model.remove(&levels));
    }
    assert_eq!((index.len(), index.bytes()), (0, 0));
}

/// The rules once more, written down as they are read.
mod naive {
    use mqtt_topic::{TopicFilter, TopicName};

    /// A level that no filter spells out.
    const UNHEARD_OF: &str = "\u{10FFFF}";
    const SLASH: fn(&u8) -> bool = |&byte| byte == b'/';

    fn is_text(bytes: &[u8]) -> bool {
        (1..=65_535).contains(&bytes.len())
            && std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'))
    }

    pub(super) fn is_name(bytes: &[u8]) -> bool {
        is_text(bytes) && !bytes.contains(&b'+') && !bytes.contains(&b'#')
    }

    pub(super) fn is_filter(bytes: &[u8]) -> bool {
        let levels: Vec<_> = bytes.split(SLASH).collect();
        let last = levels.len() - 1;
        is_text(bytes)
            && levels
                .iter()
                .enumerate()
                .all(|(place, level)| match *level {
                    b"+" => true,
                    b"#" => place == last,
                    level => !level.contains(&b'+') && !level.contains(&b'#'),
                })
    }

    /// Group and filter of a filter that is valid; the inner `None` when a part is missing.
    pub(super) fn shared(bytes: &[u8]) -> Option<Option<(&[u8], &[u8])>> {
        let rest = bytes.strip_prefix(b"$share/")?;
        let Some(end) = rest.iter().position(SLASH) else {
            return Some(None);
        };
        let (group, filter) = (&rest[..end], &rest[end + 1..]);
        Some((is_name(group) && is_filter(filter)).then_some((group, filter)))
    }

    pub(super) fn matches(filter: TopicFilter<'_>, name: TopicName<'_>) -> bool {
        matches_bytes(filter.as_bytes(), name.as_bytes())
    }

    pub(super) fn matches_bytes(filter: &[u8], name: &[u8]) -> bool {
        if name[0] == b'$' && (filter[0] == b'+' || filter[0] == b'#') {
            return false;
        }
        let (filters, names) = (filter.split(SLASH), name.split(SLASH));
        let open = filter.ends_with(b"#");
        let fixed = filters.clone().count() - usize::from(open);
        let depth = names.clone().count();
        (depth == fixed || (open && depth > fixed))
            && filters
                .take(fixed)
                .zip(names)
                .all(|(filter, name)| filter == b"+" || filter == name)
    }

    /// Names that `filter` matches and that are as far as can be from what `other` spells out: any
    /// filter that does not match them all leaves one of these out.
    pub(super) fn examples(filter: TopicFilter<'_>, other: TopicFilter<'_>) -> Option<Vec<String>> {
        let (filter, other) = (filter.as_str(), other.as_str());
        let deepest = other.split('/').count() + 1;
        if filter.len() + other.len() > 80 || other.contains(UNHEARD_OF) {
            return None;
        }
        let mut fixed: Vec<_> = filter.split('/').collect();
        let open = fixed.pop_if(|level| *level == "#").is_some();
        for level in fixed.iter_mut().filter(|level| **level == "+") {
            *level = UNHEARD_OF;
        }
        let depths = if open { deepest } else { 0 };
        let names = (0..=depths).map(|depth| {
            let mut levels = fixed.clone();
            levels.extend(std::iter::repeat_n(UNHEARD_OF, depth));
            levels.join("/")
        });
        // Nothing at all is no name.
        Some(names.filter(|name| !name.is_empty()).collect())
    }

    /// A text that both match if any does, wildcards filled in from each other.
    pub(super) fn merge(one: TopicFilter<'_>, other: TopicFilter<'_>) -> String {
        let split = |filter: TopicFilter<'_>| -> (Vec<String>, bool) {
            let mut levels: Vec<_> = filter.as_str().split('/').map(String::from).collect();
            let open = levels.pop_if(|level| level == "#").is_some();
            (levels, open)
        };
        let ((one, one_open), (other, other_open)) = (split(one), split(other));
        let mut len = one.len().max(other.len());
        if one_open && other_open {
            len += 1;
        }
        let at = |levels: &[String], place: usize| {
            levels.get(place).filter(|level| *level != "+").cloned()
        };
        let levels: Vec<_> = (0..len)
            .map(|place| {
                at(&one, place)
                    .or_else(|| at(&other, place))
                    .unwrap_or_else(|| "x".into())
            })
            .collect();
        levels.join("/")
    }
}
