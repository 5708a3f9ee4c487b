//! Lines of text, each tried as a filter, a shared filter and a name, against naive versions of
//! everything that the library says about them alone and in pairs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_topic::{SharedFilter, TopicError, TopicFilter, TopicName};

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
