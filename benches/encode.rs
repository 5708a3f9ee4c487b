//! E1 to E4: the packets of D1 to D4, encoded into one buffer that has room for all.

#![expect(
    clippy::expect_used,
    reason = "a bench that encodes nothing has to stop"
)]

use criterion::{BenchmarkId, Criterion, Throughput};
use mqtt_benches::{VERSIONS, Workload, decode_all, stream};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    encode_streams(&mut criterion);
    criterion.final_summary();
}

fn encode_streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for (number, workload) in Workload::ALL {
        for (name, version) in VERSIONS {
            if !workload.is_in(version) {
                continue;
            }
            let bytes = stream(workload, version);
            let packets = decode_all(&bytes, version);
            group.throughput(Throughput::Elements(
                packets.len().try_into().unwrap_or(u64::MAX),
            ));
            let mut out = Vec::with_capacity(bytes.len());
            group.bench_function(BenchmarkId::new(format!("E{number}"), name), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    for packet in &packets {
                        packet.encode_to(version, &mut out).expect("valid packets");
                    }
                });
            });
            assert!(
                out.is_empty() || decode_all(&out, version) == packets,
                "what was decoded comes out again"
            );
        }
    }
    group.finish();
}
