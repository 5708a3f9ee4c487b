//! Both indexes and their snapshots against plain lists, through whatever happens to them.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_topic::{
    Cursor, IndexConfig, Match, MergeScratch, QueryProgress, RetainedConfig, RetainedIndex,
    Scratch, SharedFilter, SubscriptionFilter, SubscriptionIndex, SubscriptionSnapshot, Sweep,
    TopicFilter, TopicName,
};

/// Few, so that they meet again and again.
const LEVELS: [&str; 7] = ["a", "b", "", "+", "$a", "longer than eight bytes", "#"];
const GROUPS: [&str; 2] = ["g", "a"];

/// Group, filter and subscriber of what is subscribed to.
type Model = BTreeMap<(Option<&'static str>, String, u8), u8>;
type Index = SubscriptionIndex<u8, u8>;

fuzz_target!(|data: &[u8]| {
    // An error says that the input is used up.
    let _end = run(&mut Unstructured::new(data));
});

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let config = IndexConfig {
        hash_seed: u.arbitrary()?,
        ..IndexConfig::default()
    };
    let (mut index, mut model) = (Index::new(config), Model::new());
    let (mut retained, mut kept) = (
        RetainedIndex::new(RetainedConfig::default()),
        BTreeMap::new(),
    );
    let mut snapshot = (index.snapshot(), model.clone());
    let mut open: Option<Query> = None;
    while !u.is_empty() {
        match u.int_in_range(0..=9_u8)? {
            0..=2 => insert(u, &mut index, &mut model)?,
            3 => remove(u, &mut index, &mut model)?,
            4 => {
                let key = key(u)?;
                let before = model.len();
                model.retain(|(_, _, held), _| *held != key);
                assert_eq!(index.remove_subscriber(key), before - model.len());
            }
            5 => {
                let name = name(u)?;
                check_matches(&index.snapshot(), &model, &name);
                check_matches(&snapshot.0, &snapshot.1, &name);
                if u.ratio(1, 4)? {
                    snapshot = (index.snapshot(), model.clone());
                }
            }
            6 => {
                let (name, message) = (name(u)?, u.arbitrary::<u8>()?);
                let before = retained.set(TopicName::new(&name).unwrap(), message, 1);
                assert_eq!(before, Ok(kept.insert(name, message)));
            }
            7 => {
                let name = name(u)?;
                let removed = retained.remove(TopicName::new(&name).unwrap());
                assert_eq!(removed, kept.remove(&name));
                if let Some(open) = &mut open {
                    open.gone.insert(name);
                }
            }
            8 => {
                let query = match &mut open {
                    Some(query) => query,
                    None => open.insert(Query::new(filter(u)?, &kept)),
                };
                if query.go_on(&retained, 1 + usize::from(u.arbitrary::<u8>()? % 8)) {
                    open = None;
                }
            }
            _ => {
                let odd = u.arbitrary::<u8>()? % 2;
                kept.retain(|name, message| {
                    let stays = *message % 2 != odd;
                    if let (false, Some(open)) = (stays, &mut open) {
                        open.gone.insert(name.clone());
                    }
                    stays
                });
                let progress = retained.sweep(&mut Sweep::default(), usize::MAX, |message| {
                    message % 2 == odd
                });
                assert_eq!(progress, QueryProgress::Done);
            }
        }
        assert_eq!((index.len(), retained.len()), (model.len(), kept.len()));
        let bytes: usize = kept.keys().map(|name| name.len() + 1).sum();
        assert_eq!(retained.bytes(), bytes);
    }
    check_lists(&index, &model);
    for key in 0..8 {
        index.remove_subscriber(key);
    }
    assert_eq!(
        (index.len(), index.nodes_len()),
        (0, 1),
        "only the root is left"
    );
    check_matches(&snapshot.0, &snapshot.1, "a/b");
    Ok(())
}

fn key(u: &mut Unstructured<'_>) -> Result<u8> {
    u.int_in_range(0..=7)
}

fn levels(u: &mut Unstructured<'_>, of: &[&str]) -> Result<String> {
    let mut levels = vec![*u.choose(of)?];
    while levels.len() < 5 && u.ratio(2, 3)? {
        levels.push(*u.choose(of)?);
    }
    Ok(levels.join("/"))
}

fn name(u: &mut Unstructured<'_>) -> Result<String> {
    let plain: Vec<_> = LEVELS
        .into_iter()
        .filter(|level| !matches!(*level, "+" | "#"))
        .collect();
    let name = levels(u, &plain)?;
    Ok(if name.is_empty() {
        "a".to_owned()
    } else {
        name
    })
}

fn filter(u: &mut Unstructured<'_>) -> Result<String> {
    let filter = levels(u, &LEVELS)?;
    // '#' in the middle ends it.
    let end = filter.find('#').map_or(filter.len(), |at| at + 1);
    let filter = &filter[..end];
    Ok(if filter.is_empty() {
        "+".to_owned()
    } else {
        filter.to_owned()
    })
}

fn shared(group: &str, filter: &str) -> String {
    format!("$share/{group}/{filter}")
}

fn insert(u: &mut Unstructured<'_>, index: &mut Index, model: &mut Model) -> Result<()> {
    let (filter, key, value) = (filter(u)?, key(u)?, u.arbitrary()?);
    let group = if u.ratio(1, 4)? {
        Some(*u.choose(&GROUPS)?)
    } else {
        None
    };
    let before = match group {
        Some(group) => {
            let whole = shared(group, &filter);
            index.insert_shared(SharedFilter::new(&whole).unwrap(), key, value)
        }
        None => index.insert(TopicFilter::new(&filter).unwrap(), key, value),
    };
    assert_eq!(before, Ok(model.insert((group, filter, key), value)));
    Ok(())
}

fn remove(u: &mut Unstructured<'_>, index: &mut Index, model: &mut Model) -> Result<()> {
    // Mostly something that is there.
    let place = u.choose_index(model.len().max(1))?;
    let held = match model.keys().nth(place) {
        Some(held) if u.ratio(3, 4)? => held.clone(),
        _ => (None, filter(u)?, key(u)?),
    };
    let (group, filter, key) = &held;
    let removed = match group {
        Some(group) => {
            index.remove_shared(SharedFilter::new(&shared(group, filter)).unwrap(), *key)
        }
        None => index.remove(TopicFilter::new(filter).unwrap(), *key),
    };
    assert_eq!(removed, model.remove(&held));
    Ok(())
}

/// Everybody who wants a topic, one by one, in slices and merged.
fn check_matches(snapshot: &SubscriptionSnapshot<u8, u8>, model: &Model, name: &str) {
    let topic = TopicName::new(name).unwrap();
    let wanted = || {
        model
            .iter()
            .filter(|((_, filter, _), _)| TopicFilter::new(filter).unwrap().matches(topic))
    };
    let mut expected: Vec<_> = wanted()
        .map(|((group, _, key), value)| (*group, *key, *value))
        .collect();
    expected.sort_unstable();

    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    for hit in snapshot.matches(topic, &mut scratch) {
        match hit {
            Match::Subscriber { key, value } => found.push((None, key, *value)),
            Match::Group(group) => {
                let name = GROUPS
                    .into_iter()
                    .find(|name| name.as_bytes() == group.name_bytes());
                assert_eq!(group.len(), group.members().count());
                found.extend(group.members().map(|(key, value)| (name, key, *value)));
            }
            _ => panic!("nothing else is known"),
        }
    }
    found.sort_unstable();
    assert_eq!(found, expected, "{name}");
    assert_eq!(
        snapshot.any_match(topic, &mut scratch),
        !expected.is_empty()
    );

    let mut merge = MergeScratch::default();
    let overlaps = snapshot.overlaps(topic, &mut merge);
    let mut merged = BTreeMap::new();
    for subscriber in overlaps.subscribers() {
        let mut values: Vec<_> = subscriber.values().copied().collect();
        values.sort_unstable();
        assert_eq!(merged.insert(subscriber.key(), values), None, "each once");
    }
    let mut plain: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for (group, key, value) in expected {
        if group.is_none() {
            plain.entry(key).or_default().push(value);
        }
    }
    assert_eq!(merged, plain, "{name}");
    let groups: BTreeSet<_> = wanted()
        .filter_map(|((group, filter, _), _)| group.map(|group| (group, filter)))
        .collect();
    assert_eq!(overlaps.groups().count(), groups.len());
}

/// Everything, as it is listed.
fn check_lists(index: &Index, model: &Model) {
    let mut listed = Model::new();
    index.for_each(|key, filter, value| {
        let (group, filter) = match filter {
            SubscriptionFilter::Plain(filter) => (None, filter),
            SubscriptionFilter::Shared { group, filter } => (
                GROUPS.into_iter().find(|name| name.as_bytes() == group),
                filter,
            ),
            _ => panic!("nothing else is known"),
        };
        let before = listed.insert((group, filter.as_str().to_owned(), key), *value);
        assert_eq!(before, None, "none twice");
    });
    assert_eq!(&listed, model);
    for key in 0..8 {
        let len = model.keys().filter(|(_, _, held)| *held == key).count();
        assert_eq!(index.subscriptions_len(key), len);
    }
}

/// A query that goes on while the index changes.
struct Query {
    filter: String,
    cursor: Cursor,
    /// What was there when it began, and has been removed since.
    there: BTreeSet<String>,
    gone: BTreeSet<String>,
    seen: Vec<String>,
}

impl Query {
    fn new(filter: String, kept: &BTreeMap<String, u8>) -> Self {
        Self {
            filter,
            cursor: Cursor::default(),
            there: kept.keys().cloned().collect(),
            gone: BTreeSet::new(),
            seen: Vec::new(),
        }
    }

    /// Answers whether it is done.
    fn go_on(&mut self, retained: &RetainedIndex<u8>, budget: usize) -> bool {
        let filter = TopicFilter::new(&self.filter).unwrap();
        let before = self.seen.len();
        let progress = retained.query(filter, &mut self.cursor, budget, |topic, message| {
            assert!(filter.matches(topic), "{filter} {topic}");
            assert_eq!(retained.get(topic), Some(message));
            self.seen.push(topic.as_str().to_owned());
            ControlFlow::Continue(())
        });
        assert!(self.seen.len() - before <= budget);
        if progress == QueryProgress::More {
            return false;
        }
        let staying: BTreeSet<_> = self.there.difference(&self.gone).collect();
        for name in &staying {
            let times = self.seen.iter().filter(|seen| seen == name).count();
            let matches = filter.matches(TopicName::new(name).unwrap());
            assert_eq!(times, usize::from(matches), "{filter} {name}");
        }
        true
    }
}
