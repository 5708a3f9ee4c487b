//! T1, T2 and T4: single filters, the subscription index and the retained index.

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
    Cursor, IndexConfig, QueryProgress, RetainedConfig, RetainedIndex, Scratch, SubscriptionIndex,
    TopicFilter, TopicName,
};

const VALID: &str = "a fixture is valid";

type Index = SubscriptionIndex<usize, ()>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    pairs(&mut criterion);
    subscription_index(&mut criterion);
    retained_index(&mut criterion);
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
