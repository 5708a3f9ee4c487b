//! S1: messages from a publisher through a broker to a subscriber, one in flight, with all
//! acknowledgements.

use criterion::{BenchmarkId, Criterion, Throughput};
use mqtt_benches::{Line, VERSIONS};
use mqtt_codec::QoS;

const MESSAGES: usize = 1000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    one_to_one(&mut criterion);
    criterion.final_summary();
}

fn one_to_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("S1");
    group.throughput(Throughput::Elements(
        MESSAGES.try_into().unwrap_or(u64::MAX),
    ));
    for (name, version) in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut line = Line::new(version, qos, 64);
            group.bench_function(BenchmarkId::new(name, format!("qos{qos}")), |bencher| {
                bencher.iter(|| assert_eq!(line.pass(MESSAGES), MESSAGES, "all arrive"));
            });
        }
    }
    group.finish();
}
