//! This crate.

use core::hint::black_box;

use bytes::BytesMut;
use mqtt_benches::{Workload, stream};
use mqtt_codec::{Message, Packet, Parsed, ProtocolVersion, PublishParts, decode};

use crate::case::{Case, Kind};

const V3: ProtocolVersion = ProtocolVersion::V3_1_1;
const V5: ProtocolVersion = ProtocolVersion::V5_0;

const DECODE: [(&str, Workload, ProtocolVersion); 7] = [
    ("D1-v3", Workload::Telemetry, V3),
    ("D1-v5", Workload::Telemetry, V5),
    ("D2-v3", Workload::Acknowledged, V3),
    ("D2-v5", Workload::Acknowledged, V5),
    ("D3-v5", Workload::Properties, V5),
    ("D4-v3", Workload::Control, V3),
    ("D4-v5", Workload::Control, V5),
];

pub(crate) fn add(all: &mut Vec<Case>) {
    for (name, workload, version) in DECODE {
        let bytes = stream(workload, version);
        let packets = borrowed(&bytes, version);
        all.push(Case::new(
            name,
            ("ours, borrowed", Kind::Ours),
            packets,
            bytes.clone(),
            |_| {},
            move |bytes| borrowed(bytes, version),
        ));
        if workload != Workload::Control {
            all.push(Case::new(
                name,
                ("ours, owned", Kind::Ours),
                packets,
                (bytes, BytesMut::new()),
                |(bytes, input)| *input = BytesMut::from(&**bytes),
                move |(_, input)| owned(input, version),
            ));
        }
    }
    encode(all);
}

fn borrowed(bytes: &[u8], version: ProtocolVersion) -> usize {
    let (mut rest, mut packets) = (bytes, 0);
    loop {
        let decoded = decode(rest, version, u32::MAX);
        // Looked at where it is: a packet has no reason to be moved.
        let Ok(Parsed::Complete((_, size))) = black_box(&decoded) else {
            return packets;
        };
        rest = &rest[*size..];
        packets += 1;
    }
}

fn owned(input: &mut BytesMut, version: ProtocolVersion) -> usize {
    let mut packets = 0;
    while let Some(message) = take_message(input, version) {
        black_box(&message);
        packets += 1;
    }
    packets
}

fn take_message(input: &mut BytesMut, version: ProtocolVersion) -> Option<Message> {
    let decoded = decode(input, version, u32::MAX);
    let Ok(Parsed::Complete((Packet::Publish(publish), size))) = &decoded else {
        return None;
    };
    let (parts, size) = (PublishParts::new(input, publish)?, *size);
    Some(Message::from_parts(input.split_to(size).freeze(), parts))
}

const ENCODE: [(&str, Workload, ProtocolVersion); 7] = [
    ("E1-v3", Workload::Telemetry, V3),
    ("E1-v5", Workload::Telemetry, V5),
    ("E2-v3", Workload::Acknowledged, V3),
    ("E2-v5", Workload::Acknowledged, V5),
    ("E3-v5", Workload::Properties, V5),
    ("E4-v3", Workload::Control, V3),
    ("E4-v5", Workload::Control, V5),
];

fn encode(all: &mut Vec<Case>) {
    for (name, workload, version) in ENCODE {
        // Packets borrow from the stream, which lives as long as this program.
        let bytes: &'static [u8] = stream(workload, version).leak();
        let packets = mqtt_benches::decode_all(bytes, version);
        let count = packets.len();
        all.push(Case::new(
            name,
            ("ours", Kind::Ours),
            count,
            (packets, Vec::<u8>::new()),
            move |(_, out)| {
                out.clear();
                out.reserve(bytes.len());
            },
            move |(packets, out)| {
                for packet in &*packets {
                    packet.encode_to(version, out).expect("valid packets");
                }
                if out.len() == bytes.len() {
                    packets.len()
                } else {
                    0
                }
            },
        ));
    }
}
