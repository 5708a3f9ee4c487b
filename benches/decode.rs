//! D1 to D4: a stream of packets, decoded one after the other.

#![expect(
    clippy::expect_used,
    reason = "a bench on other bytes than it means has to stop"
)]

use core::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use mqtt_benches::{VERSIONS, Workload, decode_all, stream};
use mqtt_codec::{Parsed, ProtocolVersion, decode};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decode_streams(&mut criterion);
    criterion.final_summary();
}

fn decode_streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (number, workload) in Workload::ALL {
        for (name, version) in VERSIONS {
            if !workload.is_in(version) {
                continue;
            }
            let bytes = stream(workload, version);
            let packets = decode_all(&bytes, version).len();
            group.throughput(Throughput::Elements(packets.try_into().unwrap_or(u64::MAX)));
            group.bench_with_input(
                BenchmarkId::new(format!("D{number}"), name),
                &*bytes,
                |bencher, bytes| {
                    bencher.iter(|| decode_stream(bytes, version));
                },
            );
        }
    }
    group.finish();
}

/// Drops each packet at once.
fn decode_stream(bytes: &[u8], version: ProtocolVersion) {
    let mut rest = bytes;
    while let Parsed::Complete((packet, size)) =
        decode(rest, version, u32::MAX).expect("valid packets")
    {
        black_box(packet);
        rest = rest.get(size..).unwrap_or_default();
    }
}
