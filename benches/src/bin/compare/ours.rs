//! This crate.

use core::hint::black_box;

use bytes::BytesMut;
use mqtt_benches::{Workload, stream};
use mqtt_codec::{
    Delivery, FanOut, Frame, Message, Packet, PacketBuf, PacketId, Parsed, ProtocolVersion,
    Publish, PublishParts, QoS, Receiver, TopicName, decode,
};

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
    large(all);
    pieces(all);
    encode(all);
    fan_out(all);
}

/// D5: payloads of 256 KiB, and D5s: of 16 KiB. E5: their heads, the payload apart.
fn large(all: &mut Vec<Case>) {
    const PACKETS: usize = 64;
    for (name, payload_len) in [("D5-v3", 256 * 1024), ("D5s-v3", 16 * 1024)] {
        let payload = vec![0x55; payload_len];
        let topic = TopicName::new("site/07/room/012/tmp").expect("a valid topic");
        let mut bytes = Vec::new();
        for _ in 0..PACKETS {
            let packet = Packet::from(Publish::new(topic, &payload));
            packet.encode_to(V3, &mut bytes).expect("room");
        }
        all.push(Case::new(
            name,
            ("ours, owned", Kind::Ours),
            PACKETS,
            (bytes, BytesMut::new()),
            |(bytes, input)| *input = BytesMut::from(&**bytes),
            move |(_, input)| owned(input, V3),
        ));
    }
    let payload: &'static [u8] = vec![0x55; 256 * 1024].leak();
    let topic = TopicName::new("site/07/room/012/tmp").expect("a valid topic");
    all.push(Case::new(
        "E5-v3",
        ("ours, head apart", Kind::Ours),
        PACKETS,
        Vec::<u8>::with_capacity(PACKETS * 32),
        Vec::clear,
        move |out| {
            let publish = Publish::new(topic, payload);
            for _ in 0..PACKETS {
                black_box(&publish).encode_head_to(V3, out).expect("room");
            }
            PACKETS
        },
    ));
}

/// No packet is shorter.
const HEADER_LEN_MIN: usize = 2;

/// D6: the stream of D1 in pieces, with an attempt after each that may have completed a packet.
fn pieces(all: &mut Vec<Case>) {
    let rows = [
        ("D6-v3-7", V3, 7),
        ("D6-v3-1460", V3, 1460),
        ("D6-v5-7", V5, 7),
        ("D6-v5-1460", V5, 1460),
    ];
    for (name, version, piece) in rows {
        let bytes = stream(Workload::Telemetry, version);
        let packets = borrowed(&bytes, version);
        all.push(Case::new(
            name,
            ("ours, owned", Kind::Ours),
            packets,
            (bytes, BytesMut::new()),
            |(_, input)| *input = BytesMut::with_capacity(64 * 1024),
            move |(bytes, input)| {
                let (mut packets, mut missing) = (0, HEADER_LEN_MIN);
                for piece in bytes.chunks(piece) {
                    input.extend_from_slice(piece);
                    // The last attempt said how much was missing.
                    if piece.len() < missing {
                        missing -= piece.len();
                        continue;
                    }
                    missing = drain(input, version, &mut packets);
                }
                packets
            },
        ));
    }
}

/// Takes all messages that are there; answers how many bytes the next one lacks.
#[inline(never)]
fn drain(input: &mut BytesMut, version: ProtocolVersion, packets: &mut usize) -> usize {
    // As the peers, which have a module for each version: the code of one.
    match version {
        V3 => drain_as::<4>(input, packets),
        V5 => drain_as::<5>(input, packets),
    }
}

#[inline(always)]
fn drain_as<const LEVEL: u8>(input: &mut BytesMut, packets: &mut usize) -> usize {
    loop {
        // Looked at where it is: a message has no reason to be moved.
        match black_box(&take_message::<LEVEL>(input)) {
            Ok(_) => *packets += 1,
            Err(missing) => return *missing,
        }
        if input.len() < HEADER_LEN_MIN {
            return HEADER_LEN_MIN - input.len();
        }
    }
}

/// F: one message to 1,000 receivers.
fn fan_out(all: &mut Vec<Case>) {
    const RECEIVERS: u16 = 1000;
    let rows = [
        ("F-qos0-v5", QoS::AtMostOnce),
        ("F-qos1-v5", QoS::AtLeastOnce),
    ];
    for (name, qos) in rows {
        let message = Message::new("site/07/room/012/tmp", vec![0x55; 64]).expect("a valid topic");
        let receivers: Vec<_> = (1..=RECEIVERS)
            .map(|id| {
                let id = PacketId::new(id).expect("not 0");
                Receiver::new(match qos {
                    QoS::AtMostOnce => Delivery::AtMostOnce,
                    _ => Delivery::AtLeastOnce { id, dup: false },
                })
            })
            .collect();
        all.push(Case::new(
            name,
            ("ours", Kind::Ours),
            RECEIVERS.into(),
            (message, receivers, Vec::<u8>::with_capacity(64 * 1024)),
            |(_, _, out)| out.clear(),
            move |(message, receivers, out)| {
                let fan_out = FanOut::new(message, V5);
                for receiver in &*receivers {
                    fan_out.encode_head_to(receiver, out).expect("room");
                }
                receivers.len()
            },
        ));
    }
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
    drain(input, version, &mut packets);
    packets
}

/// A message, or how many bytes it lacks.
#[inline(never)]
fn take_message<const LEVEL: u8>(input: &mut BytesMut) -> Result<Message, usize> {
    let version = if LEVEL == 5 { V5 } else { V3 };
    let parsed = Frame::parse(input, Some(version), u32::MAX);
    let frame = match parsed {
        Ok(Parsed::Complete(frame)) => frame,
        Ok(Parsed::Partial { needed }) => return Err(needed),
        Err(error) => panic!("{error}"),
    };
    let parts = match PublishParts::decode(&frame, version) {
        Ok(Some(parts)) => parts,
        other => panic!("PUBLISH and nothing else: {other:?}"),
    };
    let size = frame.size();
    Ok(Message::from_parts(input.split_to(size).freeze(), parts))
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
        // Ours are the shortest forms; the stream has a longer one here and there.
        let lens = packets.iter().map(|packet| packet.encoded_len(version));
        let len: usize = lens.map(|len| len.expect("valid packets")).sum();
        all.push(Case::new(
            name,
            ("ours, BufMut", Kind::Ours),
            count,
            (packets.clone(), Vec::<u8>::new()),
            move |(_, out)| {
                out.clear();
                out.reserve(bytes.len());
            },
            move |(packets, out)| {
                for packet in &*packets {
                    packet.encode_to(version, out).expect("valid packets");
                }
                if out.len() == len { packets.len() } else { 0 }
            },
        ));
        all.push(Case::new(
            name,
            ("ours, PacketBuf", Kind::Ours),
            count,
            (packets.clone(), PacketBuf::with_capacity(bytes.len())),
            |(_, out)| out.clear(),
            move |(packets, out)| {
                for packet in &*packets {
                    out.push(packet, version).expect("valid packets");
                }
                if out.len() == len { packets.len() } else { 0 }
            },
        ));
        all.push(Case::new(
            name,
            ("ours, slice", Kind::Ours),
            count,
            (packets, vec![0; len]),
            |_| {},
            move |(packets, out)| {
                let mut rest = &mut **out;
                for packet in &*packets {
                    let len = packet.encode(version, rest).expect("valid packets");
                    rest = &mut rest[len..];
                }
                if rest.is_empty() { packets.len() } else { 0 }
            },
        ));
    }
}
