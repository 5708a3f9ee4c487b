//! T1 to T4: single filters, the subscription index with its snapshots, and the retained index.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench on other topics than it means has to stop"
)]

use core::hint::black_box;
use core::ops::ControlFlow;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use mqtt_benches::{PAIRS, names, subscriptions};
use mqtt_topic::{
    Cursor, IndexConfig, MergeScratch, QueryProgress, RetainedConfig, RetainedIndex, Scratch,
    SubscriptionIndex, Sweep, TopicFilter, TopicName,
};

const VALID: &str = "a fixture is valid";

type Index = SubscriptionIndex<usize, ()>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    pairs(&mut criterion);
    subscription_index(&mut criterion);
    snapshots(&mut criterion);
    one_topic(&mut criterion);
    retained_index(&mut criterion);
    retained_changes(&mut criterion);
    criterion.final_summary();
}

fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("T1");
    for (id, filter, name) in PAIRS {
        group.bench_function(BenchmarkId::new("raw", id), |bencher| {
            bencher.iter(|| {
                let filter = TopicFilter::new(black_box(filter)).expect(VALID);
                filter.matches(TopicName::new(black_box(name)).expect(VALID))
            });
        });
        let (filter, name) = (filter_of(filter), name_of(name));
        group.bench_function(BenchmarkId::new("parsed", id), |bencher| {
            bencher.iter(|| black_box(filter).matches(black_box(name)));
        });
        let (_, other, _) = PAIRS[0];
        let other = filter_of(other);
        group.bench_function(BenchmarkId::new("covers", id), |bencher| {
            bencher.iter(|| black_box(filter).covers(black_box(other)));
        });
        group.bench_function(BenchmarkId::new("overlaps", id), |bencher| {
            bencher.iter(|| black_box(filter).overlaps(black_box(other)));
        });
    }
    group.finish();
}

fn subscription_index(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("T2");
    group.sample_size(10);
    for len in [1_000, 100_000] {
        let texts = subscriptions(len);
        let filters: Vec<_> = texts.iter().map(|text| filter_of(text)).collect();
        let topics = names(len.max(10_000));
        let mut scratch = Scratch::default();
        let full = index_of(&filters);

        group.throughput(Throughput::Elements(1));
        let mut places = (0..topics.len()).step_by(7).cycle();
        group.bench_function(BenchmarkId::new("match", len), |bencher| {
            bencher.iter(|| {
                let place = places.next().unwrap_or_default();
                full.matches(name_of(&topics[place]), &mut scratch).count()
            });
        });
        group.bench_function(BenchmarkId::new("any_match", len), |bencher| {
            bencher.iter(|| {
                let place = places.next().unwrap_or_default();
                full.any_match(name_of(&topics[place]), &mut scratch)
            });
        });
        let mut merge = MergeScratch::default();
        group.bench_function(BenchmarkId::new("overlaps", len), |bencher| {
            bencher.iter(|| {
                let place = places.next().unwrap_or_default();
                let found = full.overlaps(name_of(&topics[place]), &mut merge);
                found.subscribers().count()
            });
        });
        group.throughput(Throughput::Elements(len.try_into().unwrap_or(u64::MAX)));
        group.bench_function(BenchmarkId::new("insert", len), |bencher| {
            bencher.iter_with_large_drop(|| index_of(&filters));
        });
        group.bench_function(BenchmarkId::new("remove", len), |bencher| {
            let empty = |mut index: Index| {
                for (key, filter) in filters.iter().enumerate() {
                    index.remove(*filter, key);
                }
                assert!(index.is_empty(), "all are gone");
            };
            bencher.iter_batched(|| full.clone(), empty, BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// What it costs to let others read: the snapshot itself, and the first change behind it.
fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    for len in [1_000, 100_000] {
        let texts = subscriptions(len);
        let filters: Vec<_> = texts.iter().map(|text| filter_of(text)).collect();
        let mut index = index_of(&filters);
        group.bench_function(BenchmarkId::new("take", len), |bencher| {
            bencher.iter(|| index.snapshot());
        });
        let filter = filter_of("site/7/building/3/room/12/a/new/one");
        group.bench_function(BenchmarkId::new("take_and_change", len), |bencher| {
            bencher.iter(|| {
                let snapshot = index.snapshot();
                index.insert(filter, len, ()).expect("room");
                index.remove(filter, len).expect("it was there");
                snapshot
            });
        });
        group.bench_function(BenchmarkId::new("change_alone", len), |bencher| {
            bencher.iter(|| {
                index.insert(filter, len, ()).expect("room");
                index.remove(filter, len).expect("it was there");
            });
        });
    }
    group.finish();
}

/// Many subscribers of one filter.
fn one_topic(criterion: &mut Criterion) {
    const LEN: usize = 10_000;
    let filters = [filter_of("site/7/building/3/alarm"); LEN];
    let index = index_of(&filters);
    let topic = name_of("site/7/building/3/alarm");
    let mut scratch = Scratch::default();
    let mut group = criterion.benchmark_group("T3");
    group.throughput(Throughput::Elements(LEN.try_into().unwrap_or(u64::MAX)));
    group.bench_function("match", |bencher| {
        bencher.iter(|| {
            let found = index.matches(black_box(topic), &mut scratch);
            found.fold(0_usize, |all, _| all.saturating_add(1))
        });
    });
    group.finish();
}

fn retained_index(criterion: &mut Criterion) {
    const LEN: usize = 100_000;
    const FILTERS: [(&str, &str); 5] = [
        ("exact", "site/7/building/3/room/12/sensor/41"),
        ("room", "site/7/building/3/room/12/+"),
        ("hash", "site/7/building/3/room/12/#"),
        ("one_in_each_room", "site/7/building/3/room/+/sensor/41"),
        ("nothing", "site/7/building/3/room/+/valve/41"),
    ];
    let mut index = RetainedIndex::new(RetainedConfig::default());
    for name in names(LEN) {
        index.set(name_of(&name), (), 64).expect("room for all");
    }
    let mut group = criterion.benchmark_group("T4");
    for (id, filter) in FILTERS {
        let filter = filter_of(filter);
        group.bench_function(BenchmarkId::new(id, LEN), |bencher| {
            bencher.iter(|| {
                let (mut cursor, mut found) = (Cursor::default(), 0_usize);
                let progress = index.query(filter, &mut cursor, usize::MAX, |_, ()| {
                    found = found.saturating_add(1);
                    ControlFlow::Continue(())
                });
                assert_eq!(progress, QueryProgress::Done);
                found
            });
        });
    }
    group.finish();
}

fn retained_changes(criterion: &mut Criterion) {
    const LEN: usize = 100_000;
    let texts = names(LEN);
    let full = || {
        let mut index = RetainedIndex::new(RetainedConfig::default());
        for (name, number) in texts.iter().zip(0_u32..) {
            index.set(name_of(name), number, 64).expect("room for all");
        }
        index
    };
    let mut group = criterion.benchmark_group("T4");
    group.sample_size(10);
    group.throughput(Throughput::Elements(LEN.try_into().unwrap_or(u64::MAX)));
    group.bench_function(BenchmarkId::new("set", LEN), |bencher| {
        bencher.iter_with_large_drop(full);
    });
    // One in ten has expired.
    group.bench_function(BenchmarkId::new("sweep", LEN), |bencher| {
        let sweep = |mut index: RetainedIndex<u32>| {
            let progress = index.sweep(&mut Sweep::default(), usize::MAX, |n| n % 10 == 0);
            assert_eq!(progress, QueryProgress::Done);
            index
        };
        bencher.iter_batched(full, sweep, BatchSize::PerIteration);
    });
    group.finish();
}

fn index_of(filters: &[TopicFilter<'_>]) -> Index {
    let mut index = Index::new(IndexConfig::default());
    for (key, filter) in filters.iter().enumerate() {
        index.insert(*filter, key, ()).expect("room for all");
    }
    index
}

fn filter_of(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).expect(VALID)
}

fn name_of(text: &str) -> TopicName<'_> {
    TopicName::new(text).expect(VALID)
}
