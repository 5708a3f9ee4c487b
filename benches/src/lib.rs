//! What the benches work on: packets, topics, subscriptions and connections, the same in every
//! run.
//!
//! The topics are those of a plant, `site/{s}/building/{b}/room/{r}/sensor/{k}`. Workloads have
//! short names, which the benches show:
//!
//! | name | what |
//! |---|---|
//! | D1, E1 | PUBLISH at QoS 0 with 64 bytes of payload: telemetry |
//! | D2, E2 | PUBLISH at QoS 1 with 1 KiB of payload |
//! | D3, E3 | PUBLISH at QoS 0 with 64 bytes of payload and five properties (5.0) |
//! | D4, E4 | one packet of every other type, again and again |
//! | T1 | single pairs of filter and name |
//! | T2 | the subscription index with 1,000 and 100,000 filters |
//! | T4 | the retained index with 100,000 topics |
//! | S1 | publisher, broker and subscriber, joined by memory |

#![expect(
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "fixtures are right or the bench is wrong, and then it has to stop"
)]

mod line;
mod packets;
mod random;
mod topics;

pub use line::{FILTER, Line, TOPIC};
pub use packets::{Workload, decode_all, stream};
pub use topics::{PAIRS, names, subscriptions};

use mqtt_codec::ProtocolVersion;

/// Both versions, with the names that the benches show.
pub const VERSIONS: [(&str, ProtocolVersion); 2] = [
    ("v3", ProtocolVersion::V3_1_1),
    ("v5", ProtocolVersion::V5_0),
];
