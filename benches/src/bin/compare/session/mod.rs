//! A broker at work. S1: one message after the other from a publisher through a broker to a
//! subscriber, all of them machines that see only bytes, everything acknowledged; with what can go at once handed out
//! so, and with a driver that polls everything; without aliases, which
//! the peer does not set by itself, and as the defaults make it. B16: the same with sixteen messages at once.
//! F: one message to many subscribers of both versions, each drained and acknowledged at once. Beside S1 and F what
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
    /// Carries messages through that are sent at once, with all their acknowledgements. Answers how many are
    /// there as they were; none where the publisher does not know of each.
    fn messages(&mut self, at_once: usize) -> usize;
}

impl Joined for Line {
    fn messages(&mut self, at_once: usize) -> usize {
        self.burst(at_once)
    }
}

fn add<J: Joined + 'static>(
    cases: &mut Vec<Case>,
    workload: &'static str,
    subject: (&'static str, Kind),
    at_once: usize,
    joined: J,
) {
    let rounds = MESSAGES / at_once;
    let run = move |joined: &mut J| (0..rounds).map(|_| joined.messages(at_once)).sum::<usize>();
    let messages = rounds * at_once;
    cases.push(Case::new(workload, subject, messages, joined, |_| {}, run));
}

/// The same with so many messages at once, as a busy connection brings them. For these there are no bars.
const AT_ONCE: usize = 16;
const BURSTS: [(&str, ProtocolVersion, QoS); 6] = [
    ("B16-v3-qos0", ProtocolVersion::V3_1_1, QoS::AtMostOnce),
    ("B16-v3-qos1", ProtocolVersion::V3_1_1, QoS::AtLeastOnce),
    ("B16-v3-qos2", ProtocolVersion::V3_1_1, QoS::ExactlyOnce),
    ("B16-v5-qos0", ProtocolVersion::V5_0, QoS::AtMostOnce),
    ("B16-v5-qos1", ProtocolVersion::V5_0, QoS::AtLeastOnce),
    ("B16-v5-qos2", ProtocolVersion::V5_0, QoS::ExactlyOnce),
];

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
        add(&mut all, workload, ("ours", Kind::Ours), 1, ours);
        let polled = Line::polled(version, qos, len);
        add(&mut all, workload, ("ours, polled", Kind::Ours), 1, polled);
        if version == ProtocolVersion::V5_0 {
            let ours = Line::with_aliases(version, qos, len);
            add(&mut all, workload, ("ours, aliases", Kind::Ours), 1, ours);
        }
        #[cfg(feature = "peers")]
        {
            let core = peers::Core::new(version, qos, &vec![0x55; len]);
            add(
                &mut all,
                workload,
                ("mqtt-protocol-core", Kind::Peer),
                1,
                core,
            );
        }
    }
    for (workload, version, qos) in BURSTS {
        let ours = Line::new(version, qos, 64);
        add(&mut all, workload, ("ours", Kind::Ours), AT_ONCE, ours);
        let polled = Line::polled(version, qos, 64);
        let subject = ("ours, polled", Kind::Ours);
        add(&mut all, workload, subject, AT_ONCE, polled);
        #[cfg(feature = "peers")]
        {
            let core = peers::Core::new(version, qos, &[0x55; 64]);
            let subject = ("mqtt-protocol-core", Kind::Peer);
            add(&mut all, workload, subject, AT_ONCE, core);
        }
    }
    fan_out::add_all(&mut all);
    all
}
