//! Whatever bytes are a name, a filter or a shared filter, and whether they match.

#![no_std]
#![no_main]

use mqtt_topic::{TopicFilter, TopicName};

no_panic::program!({
    let filter = TopicFilter::from_bytes(no_panic::any_bytes());
    let name = TopicName::from_bytes(no_panic::any_bytes());
    if let (Ok(filter), Ok(name)) = (filter, name) {
        core::hint::black_box(filter.matches(name));
        core::hint::black_box(filter.covers(filter));
        core::hint::black_box(filter.overlaps(filter));
        let _shared = core::hint::black_box(filter.shared());
    }
});
