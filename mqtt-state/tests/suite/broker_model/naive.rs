//! What matches, as plainly as it can be said. Nothing here is shared with the library.

/// Whether an ordinary filter matches a topic name.
// [5:MQTT-4.7.1-1] [5:MQTT-4.7.2-1] [3:MQTT-4.7.1-2] [3:MQTT-4.7.2-1]
pub(super) fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    levels_match(&filter, &name)
}

/// The group and the filter of a shared subscription.
pub(super) fn shared(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix("$share/")?.split_once('/')
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
