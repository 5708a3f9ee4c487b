//! Other people's codecs, as they are: what they do not check, they do not pay for.
//!
//! | crate | versions | what it does not check, among other things |
//! |---|---|---|
//! | mqtt-proto | both | repeated properties |
//! | mqtt-protocol-core | both, PUBLISH alone | wildcards in topics |
//! | mqttbytes | both | filters, flags, wildcards in topics |
//! | mqttrs | 3.1.1 | flags, wildcards in topics; it borrows |
//! | rmqtt-codec | both | filters, wildcards in topics |
//! | rumqttc | both | flags, repeated properties; UTF-8 of topics in 5.0 |
//! | rumqttd | both | UTF-8 of topics, flags, repeated properties |
//!
//! ntex-mqtt 9.0.0 does not build with the `ntex-io` that its requirements choose today.

use core::hint::black_box;

use bytes::{Buf as _, BytesMut};
use mqtt_benches::{Workload, stream};
use mqtt_codec::ProtocolVersion;
use mqtt_protocol_core::mqtt::packet::{v3_1_1 as core_v3, v5_0 as core_v5};
use rumqttd::protocol::Protocol as _;
use tokio_util::codec::{Decoder as _, Encoder as _};

use crate::case::{Case, Kind};
use crate::floor::header;

const V3: ProtocolVersion = ProtocolVersion::V3_1_1;
const V5: ProtocolVersion = ProtocolVersion::V5_0;

const WORKLOADS: [(&str, &str, Workload, ProtocolVersion); 7] = [
    ("D1-v3", "E1-v3", Workload::Telemetry, V3),
    ("D1-v5", "E1-v5", Workload::Telemetry, V5),
    ("D2-v3", "E2-v3", Workload::Acknowledged, V3),
    ("D2-v5", "E2-v5", Workload::Acknowledged, V5),
    ("D3-v5", "E3-v5", Workload::Properties, V5),
    ("D4-v3", "E4-v3", Workload::Control, V3),
    ("D4-v5", "E4-v5", Workload::Control, V5),
];

pub(crate) fn add(all: &mut Vec<Case>) {
    pieces(all);
    for (decode, encode, workload, version) in WORKLOADS {
        let bytes = stream(workload, version);
        let packets = crate::floor::count(&bytes);
        let mut owned = |subject, read: fn(&mut BytesMut) -> bool| {
            all.push(Case::new(
                decode,
                (subject, Kind::Peer),
                packets,
                (bytes.clone(), BytesMut::new()),
                |(bytes, input)| *input = BytesMut::from(&**bytes),
                move |(_, input)| {
                    let mut packets = 0;
                    while read(input) {
                        packets += 1;
                    }
                    packets
                },
            ));
        };
        match version {
            ProtocolVersion::V3_1_1 => {
                owned("mqttbytes", |input| {
                    black_box(mqttbytes::v4::read(input, usize::MAX)).is_ok()
                });
                owned("rumqttc", |input| {
                    black_box(rumqttc::mqttbytes::v4::Packet::read(input, usize::MAX)).is_ok()
                });
                owned("rmqtt-codec", {
                    |input| black_box(rmqtt_v3().decode(input)).is_ok_and(|packet| packet.is_some())
                });
                owned("rumqttd", |input| {
                    let mut protocol = rumqttd::protocol::v4::V4;
                    black_box(protocol.read_mut(input, usize::MAX)).is_ok()
                });
                sliced(all, decode, "mqtt-proto", &bytes, packets, |packet| {
                    black_box(mqtt_proto::v3::Packet::decode(packet)).is_ok_and(|it| it.is_some())
                });
                if workload != Workload::Control {
                    sliced(
                        all,
                        decode,
                        "mqtt-protocol-core",
                        &bytes,
                        packets,
                        |packet| {
                            let Some((header_len, _)) = header(packet) else {
                                return false;
                            };
                            let body = packet[header_len..].into();
                            black_box(core_v3::Publish::parse(packet[0] & 0x0F, body)).is_ok()
                        },
                    );
                }
                encode_rmqtt_v3(all, encode, &bytes, packets);
                encode_proto_v3(all, encode, &bytes, packets);
                encode_rumqttd_v4(all, encode, &bytes, packets);
                mqttrs(all, decode, encode, bytes.clone(), packets);
                encode_rumqttc_v4(all, encode, &bytes, packets);
                encode_mqttbytes_v4(all, encode, &bytes, packets);
            }
            ProtocolVersion::V5_0 => {
                owned("mqttbytes", |input| {
                    black_box(mqttbytes::v5::read(input, usize::MAX)).is_ok()
                });
                owned("rumqttc", |input| {
                    black_box(rumqttc::v5::mqttbytes::v5::Packet::read(input, None)).is_ok()
                });
                owned("rmqtt-codec", {
                    |input| black_box(rmqtt_v5().decode(input)).is_ok_and(|packet| packet.is_some())
                });
                owned("rumqttd", |input| {
                    let mut protocol = rumqttd::protocol::v5::V5;
                    black_box(protocol.read_mut(input, usize::MAX)).is_ok()
                });
                sliced(all, decode, "mqtt-proto", &bytes, packets, |packet| {
                    black_box(mqtt_proto::v5::Packet::decode(packet)).is_ok_and(|it| it.is_some())
                });
                if workload != Workload::Control {
                    sliced(
                        all,
                        decode,
                        "mqtt-protocol-core",
                        &bytes,
                        packets,
                        |packet| {
                            let Some((header_len, _)) = header(packet) else {
                                return false;
                            };
                            let body = packet[header_len..].into();
                            black_box(core_v5::Publish::parse(packet[0] & 0x0F, body)).is_ok()
                        },
                    );
                }
                encode_mqttbytes_v5(all, encode, &bytes, packets);
                encode_rmqtt_v5(all, encode, &bytes, packets);
                encode_proto_v5(all, encode, &bytes, packets);
                // Its decoder panics on a CONNACK.
                if workload != Workload::Control {
                    encode_rumqttd_v5(all, encode, &bytes, packets);
                }
                encode_rumqttc_v5(all, encode, &bytes, packets);
            }
        }
    }
}

/// D6: the stream in pieces, an attempt after each.
fn pieces(all: &mut Vec<Case>) {
    type Read = fn(&mut BytesMut) -> bool;
    let v3: [(&str, Read); 4] = [
        ("mqttbytes", |input| {
            black_box(mqttbytes::v4::read(input, usize::MAX)).is_ok()
        }),
        ("mqttrs", |input| {
            if !matches!(black_box(mqttrs::decode_slice(input)), Ok(Some(_))) {
                return false;
            }
            // It does not say how long the packet was.
            let size = header(input).map_or(0, |(_, size)| size);
            input.advance(size);
            size > 0
        }),
        ("rumqttc", |input| {
            black_box(rumqttc::mqttbytes::v4::Packet::read(input, usize::MAX)).is_ok()
        }),
        ("rumqttd", |input| {
            black_box(rumqttd::protocol::v4::V4.read_mut(input, usize::MAX)).is_ok()
        }),
    ];
    let v5: [(&str, Read); 3] = [
        ("mqttbytes", |input| {
            black_box(mqttbytes::v5::read(input, usize::MAX)).is_ok()
        }),
        ("rumqttc", |input| {
            black_box(rumqttc::v5::mqttbytes::v5::Packet::read(input, None)).is_ok()
        }),
        ("rumqttd", |input| {
            black_box(rumqttd::protocol::v5::V5.read_mut(input, usize::MAX)).is_ok()
        }),
    ];
    let rows = [
        ("D6-v3-7", V3, 7, &v3[..]),
        ("D6-v3-1460", V3, 1460, &v3),
        ("D6-v5-7", V5, 7, &v5),
        ("D6-v5-1460", V5, 1460, &v5),
    ];
    for (name, version, piece, peers) in rows {
        let bytes = stream(Workload::Telemetry, version);
        let packets = crate::floor::count(&bytes);
        for &(subject, read) in peers {
            all.push(Case::new(
                name,
                (subject, Kind::Peer),
                packets,
                (bytes.clone(), BytesMut::new()),
                |(_, input)| *input = BytesMut::with_capacity(64 * 1024),
                move |(bytes, input)| {
                    let mut packets = 0;
                    for piece in bytes.chunks(piece) {
                        input.extend_from_slice(piece);
                        while read(input) {
                            packets += 1;
                        }
                    }
                    packets
                },
            ));
        }
    }
}

/// Its codec holds nothing but a place in the frame, which is whole here each time.
fn rmqtt_v3() -> rmqtt_codec::v3::Codec {
    rmqtt_codec::v3::Codec::new(0)
}

fn rmqtt_v5() -> rmqtt_codec::v5::Codec {
    rmqtt_codec::v5::Codec::new(0, 0)
}

/// A decoder that wants to be told where the packet ends.
fn sliced(
    all: &mut Vec<Case>,
    decode: &'static str,
    subject: &'static str,
    bytes: &[u8],
    packets: usize,
    read: fn(&[u8]) -> bool,
) {
    all.push(Case::new(
        decode,
        (subject, Kind::Peer),
        packets,
        bytes.to_vec(),
        |_| {},
        move |bytes| {
            let (mut rest, mut packets) = (&**bytes, 0);
            while let Some((_, size)) = header(rest) {
                if !read(&rest[..size]) {
                    break;
                }
                rest = &rest[size..];
                packets += 1;
            }
            packets
        },
    ));
}

fn mqttrs(
    all: &mut Vec<Case>,
    decode: &'static str,
    encode: &'static str,
    bytes: Vec<u8>,
    count: usize,
) {
    all.push(Case::new(
        decode,
        ("mqttrs", Kind::Peer),
        count,
        bytes.clone(),
        |_| {},
        |bytes| {
            let (mut rest, mut packets) = (&**bytes, 0);
            // It does not say how long the packet was.
            while let Some((_, size)) = header(rest) {
                if !matches!(black_box(mqttrs::decode_slice(rest)), Ok(Some(_))) {
                    break;
                }
                rest = &rest[size..];
                packets += 1;
            }
            packets
        },
    ));
    let bytes: &'static [u8] = bytes.leak();
    let (mut packets, mut rest) = (Vec::new(), bytes);
    while let Some((_, size)) = header(rest) {
        let Ok(Some(packet)) = mqttrs::decode_slice(rest) else {
            return;
        };
        packets.push(packet);
        rest = &rest[size..];
    }
    all.push(Case::new(
        encode,
        ("mqttrs", Kind::Peer),
        count,
        (packets, vec![0; bytes.len()]),
        |_| {},
        move |(packets, out)| {
            let mut place = 0;
            for packet in &*packets {
                match mqttrs::encode_slice(packet, &mut out[place..]) {
                    Ok(size) => place += size,
                    Err(_) => return 0,
                }
            }
            if place == bytes.len() {
                packets.len()
            } else {
                0
            }
        },
    ));
}

/// A case that encodes what the same crate decoded; `None` where it cannot decode it.
macro_rules! encode {
    ($name:ident, $subject:literal, $read:expr, $write:expr) => {
        fn $name(all: &mut Vec<Case>, encode: &'static str, bytes: &[u8], count: usize) {
            let (mut packets, mut input) = (Vec::new(), BytesMut::from(bytes));
            while let Ok(packet) = $read(&mut input) {
                packets.push(packet);
            }
            let len = bytes.len();
            all.push(Case::new(
                encode,
                ($subject, Kind::Peer),
                count,
                (packets, BytesMut::new()),
                move |(_, out)| *out = BytesMut::with_capacity(len),
                move |(packets, out)| {
                    for packet in &*packets {
                        if !$write(packet, out) {
                            return 0;
                        }
                    }
                    if out.len() == len { packets.len() } else { 0 }
                },
            ));
        }
    };
}

/// The same for a crate that takes its packets by value: they are cloned before.
macro_rules! encode_by_value {
    ($name:ident, $subject:literal, $read:expr, $write:expr) => {
        fn $name(all: &mut Vec<Case>, encode: &'static str, bytes: &[u8], count: usize) {
            let (mut packets, mut input) = (Vec::new(), BytesMut::from(bytes));
            while let Ok(packet) = $read(&mut input) {
                packets.push(packet);
            }
            let len = bytes.len();
            all.push(Case::new(
                encode,
                ($subject, Kind::Peer),
                count,
                (packets, Vec::new(), BytesMut::new()),
                move |(packets, clones, out)| {
                    clones.clone_from(packets);
                    *out = BytesMut::with_capacity(len);
                },
                move |(packets, clones, out)| {
                    for packet in clones.drain(..) {
                        if !$write(packet, out) {
                            return 0;
                        }
                    }
                    if out.len() == len { packets.len() } else { 0 }
                },
            ));
        }
    };
}

/// As a `Result`, for the macro.
fn whole<P, E>(packet: Result<Option<P>, E>) -> Result<P, ()> {
    packet.map_err(drop)?.ok_or(())
}

/// A packet that takes the whole buffer in front of it.
fn front(input: &mut BytesMut) -> Result<BytesMut, ()> {
    let (_, size) = header(input).ok_or(())?;
    Ok(input.split_to(size))
}

encode_by_value!(
    encode_rmqtt_v3,
    "rmqtt-codec",
    |input: &mut BytesMut| whole(rmqtt_v3().decode(input)),
    |(packet, _): (rmqtt_codec::v3::Packet, u32), out: &mut BytesMut| {
        rmqtt_v3().encode(packet, out).is_ok()
    }
);
encode_by_value!(
    encode_rmqtt_v5,
    "rmqtt-codec",
    |input: &mut BytesMut| whole(rmqtt_v5().decode(input)),
    |(packet, _): (rmqtt_codec::v5::Packet, u32), out: &mut BytesMut| {
        rmqtt_v5().encode(packet, out).is_ok()
    }
);
encode!(
    encode_proto_v3,
    "mqtt-proto",
    |input: &mut BytesMut| whole(mqtt_proto::v3::Packet::decode(&front(input)?)),
    |packet: &mqtt_proto::v3::Packet, out: &mut BytesMut| {
        packet
            .encode()
            .map(|bytes| out.extend_from_slice(bytes.as_ref()))
            .is_ok()
    }
);
encode!(
    encode_proto_v5,
    "mqtt-proto",
    |input: &mut BytesMut| whole(mqtt_proto::v5::Packet::decode(&front(input)?)),
    |packet: &mqtt_proto::v5::Packet, out: &mut BytesMut| {
        packet
            .encode()
            .map(|bytes| out.extend_from_slice(bytes.as_ref()))
            .is_ok()
    }
);
encode_by_value!(
    encode_rumqttd_v4,
    "rumqttd",
    |input: &mut BytesMut| rumqttd::protocol::v4::V4.read_mut(input, usize::MAX),
    |packet: rumqttd::protocol::Packet, out: &mut BytesMut| {
        rumqttd::protocol::v4::V4.write(packet, out).is_ok()
    }
);
encode_by_value!(
    encode_rumqttd_v5,
    "rumqttd",
    |input: &mut BytesMut| rumqttd::protocol::v5::V5.read_mut(input, usize::MAX),
    |packet: rumqttd::protocol::Packet, out: &mut BytesMut| {
        rumqttd::protocol::v5::V5.write(packet, out).is_ok()
    }
);
encode!(
    encode_rumqttc_v4,
    "rumqttc",
    |input: &mut BytesMut| rumqttc::mqttbytes::v4::Packet::read(input, usize::MAX),
    |packet: &rumqttc::mqttbytes::v4::Packet, out: &mut BytesMut| packet
        .write(out, usize::MAX)
        .is_ok()
);
encode!(
    encode_rumqttc_v5,
    "rumqttc",
    |input: &mut BytesMut| rumqttc::v5::mqttbytes::v5::Packet::read(input, None),
    |packet: &rumqttc::v5::mqttbytes::v5::Packet, out: &mut BytesMut| packet
        .write(out, None)
        .is_ok()
);
encode!(
    encode_mqttbytes_v4,
    "mqttbytes",
    |input: &mut BytesMut| mqttbytes::v4::read(input, usize::MAX),
    |packet: &mqttbytes::v4::Packet, out: &mut BytesMut| {
        use mqttbytes::v4::Packet::{
            ConnAck, Connect, Disconnect, PingReq, PingResp, PubAck, PubComp, PubRec, PubRel,
            Publish, SubAck, Subscribe, UnsubAck, Unsubscribe,
        };
        match packet {
            Connect(packet) => packet.write(out),
            ConnAck(packet) => packet.write(out),
            Publish(packet) => packet.write(out),
            PubAck(packet) => packet.write(out),
            PubRec(packet) => packet.write(out),
            PubRel(packet) => packet.write(out),
            PubComp(packet) => packet.write(out),
            Subscribe(packet) => packet.write(out),
            SubAck(packet) => packet.write(out),
            Unsubscribe(packet) => packet.write(out),
            UnsubAck(packet) => packet.write(out),
            PingReq => mqttbytes::v4::PingReq.write(out),
            PingResp => mqttbytes::v4::PingResp.write(out),
            Disconnect => mqttbytes::v4::Disconnect.write(out),
        }
        .is_ok()
    }
);
encode!(
    encode_mqttbytes_v5,
    "mqttbytes",
    |input: &mut BytesMut| mqttbytes::v5::read(input, usize::MAX),
    |packet: &mqttbytes::v5::Packet, out: &mut BytesMut| {
        use mqttbytes::v5::Packet::{
            ConnAck, Connect, Disconnect, PingReq, PingResp, PubAck, PubComp, PubRec, PubRel,
            Publish, SubAck, Subscribe, UnsubAck, Unsubscribe,
        };
        match packet {
            Connect(packet) => packet.write(out),
            ConnAck(packet) => packet.write(out),
            Publish(packet) => packet.write(out),
            PubAck(packet) => packet.write(out),
            PubRec(packet) => packet.write(out),
            PubRel(packet) => packet.write(out),
            PubComp(packet) => packet.write(out),
            Subscribe(packet) => packet.write(out),
            SubAck(packet) => packet.write(out),
            Unsubscribe(packet) => packet.write(out),
            UnsubAck(packet) => packet.write(out),
            PingReq => mqttbytes::v5::PingReq.write(out),
            PingResp => mqttbytes::v5::PingResp.write(out),
            Disconnect(packet) => packet.write(out),
        }
        .is_ok()
    }
);
