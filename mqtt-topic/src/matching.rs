//! What matches what. Each function walks its arguments once and allocates nothing.

use crate::{TopicFilter, TopicName, scan};

const PLUS: &[u8] = b"+";
const HASH: &[u8] = b"#";

/// Whether a filter matches a name.
///
/// A name has no wildcards, so the two differ first where the filter has one, or where they do not
/// match: what is before that is compared eight bytes at a time.
// [5:MQTT-4.7.3-4] [3:MQTT-4.7.3-4] Levels are compared byte by byte.
#[inline]
pub(crate) fn matches(filter: TopicFilter<'_>, name: TopicName<'_>) -> bool {
    let (mut filter, mut name) = (filter.as_bytes(), name.as_bytes());
    // [5:MQTT-4.7.2-1] [3:MQTT-4.7.2-1] A leading wildcard matches no name that starts with '$'.
    if let ([b'+' | b'#', ..], [b'$', ..]) = (filter, name) {
        return false;
    }
    loop {
        let same = scan::same_len(filter, name);
        let (_, filter_rest) = filter.split_at_checked(same).unwrap_or((filter, &[]));
        let (_, name_rest) = name.split_at_checked(same).unwrap_or((name, &[]));
        match *filter_rest {
            [] => return name_rest.is_empty(),
            [b'#', ..] => return true,
            [b'+', ref behind @ ..] => {
                filter = behind;
                name = scan::from_slash(name_rest);
            }
            // '#' stands for the parent too.
            [b'/', b'#'] => return name_rest.is_empty(),
            _ => return false,
        }
    }
}

/// Whether every name that `inner` matches is matched by `outer` too.
pub(crate) fn covers(outer: TopicFilter<'_>, inner: TopicFilter<'_>) -> bool {
    // Every name has a first level, so these two mean the same.
    if (outer == "+/#" && inner == "#") || (inner == "/#" && (outer == "/+/#" || outer == "+/+/#"))
    {
        return true;
    }
    let mut inners = inner.levels();
    for (place, level) in outer.levels().enumerate() {
        let other = inners.next();
        if place == 0
            && is_wildcard(level)
            && other.is_some_and(|other| other.first() == Some(&b'$'))
        {
            return false;
        }
        if level == HASH {
            return true;
        }
        match other {
            // '#' is more than any one level; of literal and '+' only the same literal is less.
            Some(HASH) | None => return false,
            Some(other) if level == PLUS || level == other => {}
            Some(_) => return false,
        }
    }
    // `a/b/#` matches the parent, but also more than `a/b`.
    inners.next().is_none()
}

/// Whether some name is matched by both.
pub(crate) fn overlaps(left: TopicFilter<'_>, right: TopicFilter<'_>) -> bool {
    if let ([b'+' | b'#', ..], [b'$', ..]) | ([b'$', ..], [b'+' | b'#', ..]) =
        (left.as_bytes(), right.as_bytes())
    {
        return false;
    }
    let (mut lefts, mut rights) = (left.levels(), right.levels());
    loop {
        match (lefts.next(), rights.next()) {
            (None, None) => return true,
            // The rest of the other filter can be anything, or nothing.
            // `/#` without a level below it is the empty text, which is no name.
            (Some(HASH), rest) | (rest, Some(HASH)) => {
                return rest.is_some() || !(left == "/#" || right == "/#");
            }
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(one), Some(other)) if one == PLUS || other == PLUS || one == other => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

fn is_wildcard(level: &[u8]) -> bool {
    level == PLUS || level == HASH
}
