//! The rules of names, filters and matching once more, as plain as they can be said.
//!
//! Nothing here is fast and nothing is shared with the library: what both say is right.

pub(crate) fn is_name(text: &str) -> bool {
    is_text(text) && !text.contains(['+', '#'])
}

pub(crate) fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    is_text(text)
        && levels
            .iter()
            .enumerate()
            .all(|(place, level)| match *level {
                "#" => place + 1 == levels.len(),
                "+" => true,
                other => !other.contains(['+', '#']),
            })
}

pub(crate) fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    levels_match(&filter, &name)
}

fn is_text(text: &str) -> bool {
    (1..=65_535).contains(&text.len()) && !text.contains('\0')
}

fn levels_match(filter: &[&str], name: &[&str]) -> bool {
    match (filter.split_first(), name.split_first()) {
        (Some((&"#", _)), _) => true,
        (None, None) => true,
        (Some((&"+", filter)), Some((_, name))) => levels_match(filter, name),
        (Some((wanted, filter)), Some((found, name))) => {
            wanted == found && levels_match(filter, name)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}
