//! Whatever bytes are a name, a filter or a shared filter, and whether they match.

#![no_std]
#![no_main]

use mqtt_topic::{TopicFilter, TopicName};

no_panic::program!({
    let filter = TopicFilter::from_bytes(no_panic::any_bytes());
    let other = TopicFilter::from_bytes(no_panic::any_bytes());
    let name = TopicName::from_bytes(no_panic::any_bytes());
    if let (Ok(filter), Ok(other), Ok(name)) = (filter, other, name) {
        core::hint::black_box(filter.matches(name));
        core::hint::black_box(filter.covers(other));
        core::hint::black_box(filter.overlaps(other));
        core::hint::black_box(filter.has_wildcards());
        if let Ok(Some(shared)) = core::hint::black_box(filter.shared()) {
            core::hint::black_box((shared.group_bytes(), shared.filter().matches(name)));
        }
        for level in name.levels() {
            core::hint::black_box(level);
        }
    }
});
