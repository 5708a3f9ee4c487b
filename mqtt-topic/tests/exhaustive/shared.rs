//! Every text made of the pieces that shared filters have.

use mqtt_topic::{SharedFilter, TopicFilter, TopicName};

use crate::naive;

const PIECES: [&str; 7] = ["$share", "/", "a", "group", "+", "#", "$"];
const LEN_MAX: u32 = 6;

/// Group and filter, taken apart as the standard describes it.
// [5:MQTT-4.8.2-1] [5:MQTT-4.8.2-2]
fn parts(text: &str) -> Option<(&str, &str)> {
    let (group, filter) = text.strip_prefix("$share/")?.split_once('/')?;
    let is_group = !group.is_empty() && !group.contains(['+', '#']);
    (is_group && naive::is_filter(text) && naive::is_filter(filter)).then_some((group, filter))
}

#[test]
fn every_form_is_taken_apart_as_the_plain_rules_say() {
    let names: Vec<_> = ["a", "group", "a/a", "/", "$share/group/a", "$", "group/a"]
        .map(|name| (name, TopicName::new(name).unwrap()))
        .into();
    let (mut taken, mut refused) = (0_u32, 0_u32);
    let mut level = vec![String::new()];
    for _ in 0..LEN_MAX {
        level = level
            .iter()
            .flat_map(|text| PIECES.map(|piece| format!("{text}{piece}")))
            .collect();
        for text in &level {
            let found = SharedFilter::new(text);
            let Some((group, filter)) = parts(text) else {
                assert!(found.is_err(), "{text:?}");
                refused += 1;
                continue;
            };
            taken += 1;
            let found = found.unwrap();
            assert_eq!(found.group_bytes(), group.as_bytes(), "{text:?}");
            assert_eq!(found.filter().as_str(), filter, "{text:?}");
            // Group and prefix take no part in matching.
            for (plain, name) in &names {
                let expected = naive::matches(filter, plain);
                assert_eq!(
                    found.filter().matches(*name),
                    expected,
                    "{text:?} on {plain}"
                );
            }
            let whole = TopicFilter::new(text).unwrap();
            assert_eq!(whole.shared(), Ok(Some(found)), "{text:?}");
        }
    }
    assert_eq!((taken, refused), (252, 137_004));
}
