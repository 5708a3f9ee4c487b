//! S2: one client machine that publishes, against a scripted broker that sees only bytes. One
//! message in flight, 64 bytes of payload, everything acknowledged.

mod ours;
#[cfg(feature = "peers")]
mod peers;

use mqtt_codec::{ProtocolVersion, QoS};

use crate::case::{Case, Kind};

const MESSAGES: usize = 1000;
const TOPIC: &str = "site/7/building/3/room/12/sensor/41";
const PAYLOAD: [u8; 64] = [0x55; 64];

/// CONNACK that accepts, without properties.
fn connack(version: ProtocolVersion) -> &'static [u8] {
    match version {
        ProtocolVersion::V3_1_1 => &[0x20, 2, 0, 0],
        ProtocolVersion::V5_0 => &[0x20, 3, 0, 0, 0],
    }
}

/// A connected client machine, with the buffers of its kind.
trait Machine {
    /// Publishes one message.
    fn publish(&mut self);

    /// Takes bytes of the broker.
    fn input(&mut self, bytes: &[u8]);

    /// What it has to send.
    fn output(&self) -> &[u8];

    /// All of that was sent.
    fn clear_output(&mut self);

    /// Messages completed since the last call.
    fn completed(&mut self) -> usize;
}

/// What a broker answers to one packet, from its bytes alone.
fn answer(packet: &[u8]) -> Option<[u8; 4]> {
    let id_at = |at: usize| Some((*packet.get(at)?, *packet.get(at + 1)?));
    // Behind a header of two bytes and the topic.
    let behind_topic = || {
        let (high, low) = id_at(2)?;
        id_at(4 + usize::from(u16::from_be_bytes([high, low])))
    };
    let (first, (high, low)) = match packet.first()? {
        0x32 => (0x40, behind_topic()?),
        0x34 => (0x50, behind_topic()?),
        0x62 => (0x70, id_at(2)?),
        _ => return None,
    };
    Some([first, 2, high, low])
}

/// A thousand messages, one after the other; answers how many were completed.
fn pass(machine: &mut impl Machine) -> usize {
    let mut completed = 0;
    for _ in 0..MESSAGES {
        machine.publish();
        while let Some(answer) = answer(machine.output()) {
            machine.clear_output();
            machine.input(&answer);
        }
        machine.clear_output();
        completed += machine.completed();
    }
    completed
}

fn add<M: Machine + 'static>(
    cases: &mut Vec<Case>,
    workload: &'static str,
    subject: (&'static str, Kind),
    machine: M,
) {
    let run = |machine: &mut M| pass(machine);
    cases.push(Case::new(workload, subject, MESSAGES, machine, |_| {}, run));
}

/// Each workload with its version and QoS.
const WORKLOADS: [(&str, ProtocolVersion, QoS); 6] = [
    ("S2-v3-qos0", ProtocolVersion::V3_1_1, QoS::AtMostOnce),
    ("S2-v3-qos1", ProtocolVersion::V3_1_1, QoS::AtLeastOnce),
    ("S2-v3-qos2", ProtocolVersion::V3_1_1, QoS::ExactlyOnce),
    ("S2-v5-qos0", ProtocolVersion::V5_0, QoS::AtMostOnce),
    ("S2-v5-qos1", ProtocolVersion::V5_0, QoS::AtLeastOnce),
    ("S2-v5-qos2", ProtocolVersion::V5_0, QoS::ExactlyOnce),
];

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (workload, version, qos) in WORKLOADS {
        let ours = ours::Ours::new(version, qos);
        add(&mut all, workload, ("ours", Kind::Ours), ours);
        #[cfg(feature = "peers")]
        peers::add_all(&mut all, workload, version, qos);
    }
    all
}
