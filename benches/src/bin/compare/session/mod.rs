//! A broker at work. S1: one message after the other from a publisher through a broker to a
//! subscriber, all of them machines that see only bytes, everything acknowledged; without aliases, which
//! the peer does not set by itself, and as the defaults make it. F: one message to
//! many subscribers of both versions, each drained and acknowledged at once. Beside both what
//! packets and index alone take. And up to a million connected sessions.

mod fan_out;
mod floor;
#[cfg(feature = "peers")]
mod peers;
pub(crate) mod sessions;

use mqtt_benches::Line;
use mqtt_codec::{ProtocolVersion, QoS};

use crate::case::{Case, Kind};

const MESSAGES: usize = 1000;

/// Publisher and subscriber, with whatever stands between them.
trait Joined {
    /// Carries one message through, with all its acknowledgements. Answers whether it is there, once
    /// and as it was, and the publisher knows.
    fn message(&mut self) -> bool;
}

impl Joined for Line {
    fn message(&mut self) -> bool {
        self.pass(1) == 1
    }
}

fn add<J: Joined + 'static>(
    cases: &mut Vec<Case>,
    workload: &'static str,
    subject: (&'static str, Kind),
    joined: J,
) {
    let run = |joined: &mut J| (0..MESSAGES).filter(|_| joined.message()).count();
    cases.push(Case::new(workload, subject, MESSAGES, joined, |_| {}, run));
}

/// Each workload with its version, QoS and bytes of payload.
const WORKLOADS: [(&str, ProtocolVersion, QoS, usize); 8] = [
    ("S1-v3-qos0", ProtocolVersion::V3_1_1, QoS::AtMostOnce, 64),
    ("S1-v3-qos1", ProtocolVersion::V3_1_1, QoS::AtLeastOnce, 64),
    ("S1-v3-qos2", ProtocolVersion::V3_1_1, QoS::ExactlyOnce, 64),
    ("S1-v5-qos0", ProtocolVersion::V5_0, QoS::AtMostOnce, 64),
    ("S1-v5-qos1", ProtocolVersion::V5_0, QoS::AtLeastOnce, 64),
    ("S1-v5-qos2", ProtocolVersion::V5_0, QoS::ExactlyOnce, 64),
    ("S1-v5-q0-1k", ProtocolVersion::V5_0, QoS::AtMostOnce, 1024),
    ("S1-v5-q2-1k", ProtocolVersion::V5_0, QoS::ExactlyOnce, 1024),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (workload, version, qos, len) in WORKLOADS {
        floor::add_s1(&mut all, workload, (version, qos, len));
        let ours = Line::new(version, qos, len);
        add(&mut all, workload, ("ours", Kind::Ours), ours);
        if version == ProtocolVersion::V5_0 {
            let ours = Line::with_aliases(version, qos, len);
            add(&mut all, workload, ("ours, aliases", Kind::Ours), ours);
        }
        #[cfg(feature = "peers")]
        {
            let core = peers::Core::new(version, qos, &vec![0x55; len]);
            add(&mut all, workload, ("mqtt-protocol-core", Kind::Peer), core);
        }
    }
    fan_out::add_all(&mut all);
    all
}
