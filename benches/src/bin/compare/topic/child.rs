//! What runs in a process of its own: the phases of one workload for one subject.

use core::hint::black_box;
use std::time::Instant;

use mqtt_benches::{PAIRS, names, subscriptions};
use stats_alloc::Region;

use super::subject::Subject;
use crate::callgrind;

/// One measured phase, as the process says it.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) units: f64,
    pub(crate) nanos: f64,
    pub(crate) allocations: f64,
    pub(crate) found: f64,
    pub(crate) bytes: f64,
}

/// Topics looked up, and subscriptions that come and go, in a measured phase.
const SOME: usize = 1000;

/// Runs a phase once for measuring, and says what came of it.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn phase(name: &str, units: usize, bytes: f64, mut run: impl FnMut() -> usize) {
    let region = Region::new(crate::ALLOCATOR);
    let start = Instant::now();
    let mut found = 0;
    callgrind::measured(&mut || found = black_box(run()));
    let nanos = start.elapsed().as_nanos();
    let change = region.change();
    let allocations = change.allocations + change.reallocations;
    println!(
        "{name} {units} {nanos} {allocations} {found} {}",
        bytes / units as f64
    );
}

/// What the processes printed.
pub(crate) fn read(text: &str) -> Result<Vec<Phase>, String> {
    let phase = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        let mut figure = || words.next()?.parse().ok();
        Some(Phase {
            name,
            units: figure()?,
            nanos: figure()?,
            allocations: figure()?,
            found: figure()?,
            bytes: figure()?,
        })
    };
    text.lines()
        .map(|line| phase(line).ok_or_else(|| format!("what is {line:?}?")))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn live(region: &Region<'_, std::alloc::System>) -> f64 {
    let change = region.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

pub(crate) fn run(workload: &str, subject: &dyn Subject) {
    let pairs = PAIRS.map(|(_, filter, name)| (filter, name));
    match workload {
        "T1-raw" => {
            subject.match_raw(&pairs);
            phase(workload, pairs.len(), 0.0, || subject.match_raw(&pairs));
        }
        "T1-parsed" => {
            let run = subject.parsed(&pairs).expect("it takes part");
            run();
            phase(workload, pairs.len(), 0.0, run);
        }
        "T2-1k" => index(workload, subject, 1_000),
        "T2-10k" => index(workload, subject, 10_000),
        "T2-100k" => index(workload, subject, 100_000),
        "T2-1M" => index(workload, subject, 1_000_000),
        "T3" => one_topic(subject),
        "T4" => store(subject),
        _ => panic!("{workload} is no workload"),
    }
}

/// `len` subscriptions: some topics are looked up, some more subscriptions come and go.
fn index(workload: &str, subject: &dyn Subject, len: usize) {
    let filters = subscriptions(len + SOME);
    let all = names(len.max(10_000));
    let topics: Vec<_> = all
        .iter()
        .step_by(all.len() / SOME)
        .take(SOME)
        .cloned()
        .collect();
    drop(all);
    let id = |place: usize| u32::try_from(place).expect("few");
    let region = Region::new(crate::ALLOCATOR);
    let mut index = subject.index().expect("it takes part");
    for (place, filter) in filters.iter().take(len).enumerate() {
        index.insert(filter, id(place));
    }
    let bytes = live(&region);
    let mut found = Vec::with_capacity(1_000_000);
    let look_up = |index: &mut dyn super::subject::Index, found: &mut Vec<u32>| {
        found.clear();
        for topic in &topics {
            index.matches(topic, found);
        }
        found.len()
    };
    look_up(index.as_mut(), &mut found);
    let count = topics.len();
    phase(&format!("{workload}-match"), count, 0.0, || {
        look_up(index.as_mut(), &mut found)
    });
    let some = || filters.iter().enumerate().skip(len);
    phase(&format!("{workload}-insert"), SOME, 0.0, || {
        some().for_each(|(place, filter)| index.insert(filter, id(place)));
        0
    });
    phase(&format!("{workload}-remove"), SOME, 0.0, || {
        some().for_each(|(place, filter)| index.remove(filter, id(place)));
        0
    });
    phase(&format!("{workload}-memory"), len, bytes, || 0);
}

/// 10,000 subscribers of one topic, and 1,000 others.
fn one_topic(subject: &dyn Subject) {
    const SUBSCRIBERS: u32 = 10_000;
    let mut index = subject.index().expect("it takes part");
    for subscriber in 0..SUBSCRIBERS {
        index.insert("site/7/building/3/alarm", subscriber);
    }
    for (filter, subscriber) in subscriptions(1_000).iter().zip(SUBSCRIBERS..) {
        index.insert(filter, subscriber);
    }
    let mut found = Vec::with_capacity(20_000);
    let mut publish = move || {
        found.clear();
        index.matches("site/7/building/3/alarm", &mut found);
        found.len()
    };
    publish();
    phase("T3", 1, 0.0, publish);
}

/// A million retained topics, and six kinds of query.
fn store(subject: &dyn Subject) {
    const QUERIES: [(&str, &str, usize); 7] = [
        (
            "T4-exact",
            "site/7/building/3/room/12/sensor/41",
            usize::MAX,
        ),
        (
            "T4-sensors",
            "site/7/building/3/room/12/sensor/+",
            usize::MAX,
        ),
        (
            "T4-buildings",
            "site/7/building/+/room/12/sensor/41",
            usize::MAX,
        ),
        (
            "T4-sites",
            "site/+/building/3/room/12/sensor/41",
            usize::MAX,
        ),
        ("T4-building", "site/7/building/3/#", usize::MAX),
        ("T4-miss", "plant/7/building/3/#", usize::MAX),
        ("T4-first-100", "#", 100),
    ];
    let topics = names(1_000_000);
    let region = Region::new(crate::ALLOCATOR);
    let mut store = subject.store().expect("it takes part");
    for (topic, message) in topics.iter().zip(0..) {
        store.set(topic, message);
    }
    let bytes = live(&region);
    let mut found = Vec::with_capacity(10_000);
    for (name, filter, limit) in QUERIES {
        // Who has no limit would show a million.
        if limit < 1000 && !subject.takes("T4-first-100") {
            continue;
        }
        let mut query = |found: &mut Vec<u32>| {
            found.clear();
            black_box(store.query(filter, limit, found));
            found.len()
        };
        query(&mut found);
        phase(name, 1, 0.0, || query(&mut found));
    }
    phase("T4-memory", topics.len(), bytes, || 0);
}
