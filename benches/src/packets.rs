//! Packets, as the bytes of one stream.

use core::num::NonZeroU16;

use mqtt_codec::{
    Ack, AckProperties, Binary, ConnAck, ConnAckOutcome, ConnAckProperties, Connect,
    ConnectProperties, Delivery, Disconnect, DisconnectReason, Packet, PacketId, Parsed,
    ProtocolVersion, Publish, PublishProperties, PublishReason, QoS, ReleaseReason, Str, SubAck,
    SubAckReasons, Subscribe, SubscribeFilter, SubscribeFilters, SubscribeProperties,
    SubscribeReason, TopicName, UserProperties, UserProperty, Will, WillProperties, decode,
};

use crate::random::Random;

const VALID: &str = "a fixture is valid";

/// What a stream consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the benches name each of them")]
pub enum Workload {
    /// 10,000 PUBLISH at QoS 0, topics of 20 bytes, 64 bytes of payload.
    Telemetry,
    /// 2,000 PUBLISH at QoS 1, 1 KiB of payload.
    Acknowledged,
    /// 10,000 PUBLISH at QoS 0, 64 bytes of payload, five properties. 5.0 only.
    Properties,
    /// 1,000 times CONNECT with a will, CONNACK, SUBSCRIBE and SUBACK for four filters, the four
    /// acknowledgements, PINGREQ, PINGRESP and DISCONNECT.
    Control,
}

impl Workload {
    /// Every workload, with the number in its name.
    pub const ALL: [(u8, Self); 4] = [
        (1, Self::Telemetry),
        (2, Self::Acknowledged),
        (3, Self::Properties),
        (4, Self::Control),
    ];

    /// Whether the version has it.
    #[must_use]
    pub fn is_in(self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::V5_0 || self != Self::Properties
    }
}

/// The bytes of a workload.
///
/// # Panics
///
/// When a packet of it cannot be encoded in this version.
#[must_use]
pub fn stream(workload: Workload, version: ProtocolVersion) -> Vec<u8> {
    let (mut stream, mut random) = (Vec::new(), Random::new(0xD1CE));
    let mut put = |packet: Packet<'_>| match (packet, version) {
        // The long form of "with will message": other people's codecs do not read the short one.
        (Packet::Disconnect(_), ProtocolVersion::V5_0) => stream.extend([0xE0, 2, 0x04, 0]),
        _ => {
            packet.encode_to(version, &mut stream).expect(VALID);
        }
    };
    match workload {
        Workload::Telemetry => {
            publishes(10_000, 64, &mut random, |publish, _| put(publish.into()));
        }
        Workload::Acknowledged => publishes(2_000, 1024, &mut random, |publish, number| {
            let id = PacketId::new(number).expect(VALID);
            let delivery = Delivery::AtLeastOnce { id, dup: false };
            put(Publish {
                delivery,
                ..publish
            }
            .into());
        }),
        Workload::Properties => {
            let correlation = random.bytes(16);
            let pairs = [
                pair("tenant", "north-7"),
                pair("trace-id", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ];
            let properties = PublishProperties {
                message_expiry_secs: Some(3600),
                content_type: Some(text("application/json")),
                correlation_data: Binary::new(&correlation).ok(),
                user_properties: UserProperties::new(&pairs),
                ..PublishProperties::default()
            };
            publishes(10_000, 64, &mut random, |publish, _| {
                put(Publish {
                    properties,
                    ..publish
                }
                .into());
            });
        }
        Workload::Control => (1..=1000).for_each(|number| control(number, version, &mut put)),
    }
    stream
}

/// The packets of a stream, borrowed from it.
///
/// # Panics
///
/// When the stream holds anything but whole packets of this version.
#[must_use]
pub fn decode_all(stream: &[u8], version: ProtocolVersion) -> Vec<Packet<'_>> {
    let (mut packets, mut rest) = (Vec::new(), stream);
    while let Parsed::Complete((packet, size)) = decode(rest, version, u32::MAX).expect(VALID) {
        packets.push(packet);
        rest = rest.split_at_checked(size).expect(VALID).1;
    }
    assert!(rest.is_empty(), "whole packets");
    packets
}

fn publishes(
    len: u16,
    payload_len: usize,
    random: &mut Random,
    mut each: impl FnMut(Publish<'_>, u16),
) {
    for number in 1..=len {
        let (site, room) = (random.below(100), random.below(1000));
        let topic = format!("site/{site:02}/room/{room:03}/tmp");
        let payload = random.bytes(payload_len);
        each(
            Publish::new(TopicName::new(&topic).expect(VALID), &payload),
            number,
        );
    }
}

fn control(number: u16, version: ProtocolVersion, put: &mut impl FnMut(Packet<'_>)) {
    let is_v5 = version == ProtocolVersion::V5_0;
    let id = PacketId::new(number).expect(VALID);
    let client_id = format!("device-{number:05}");
    let connect = Connect {
        will: Some(Will {
            qos: QoS::AtLeastOnce,
            properties: WillProperties {
                delay_secs: is_v5.then_some(30),
                ..WillProperties::default()
            },
            ..Will::new(
                TopicName::new("site/07/state").expect(VALID),
                binary(b"offline"),
            )
        }),
        user_name: Some(text("device")),
        password: Some(binary(b"correct horse")),
        properties: ConnectProperties {
            session_expiry_secs: is_v5.then_some(3600),
            receive_maximum: NonZeroU16::new(20).filter(|_| is_v5),
            ..ConnectProperties::default()
        },
        ..Connect::new(version, text(&client_id))
    };
    let connack = ConnAck {
        outcome: ConnAckOutcome::Accepted {
            session_present: false,
        },
        properties: ConnAckProperties {
            topic_alias_maximum: is_v5.then_some(10),
            ..ConnAckProperties::default()
        },
    };
    let filters = [
        ("site/07/#", QoS::AtMostOnce),
        ("site/+/room/012/tmp", QoS::AtLeastOnce),
        ("command/device/+", QoS::ExactlyOnce),
        ("news", QoS::AtLeastOnce),
    ]
    .map(|(filter, qos)| SubscribeFilter::new(filter, qos).expect(VALID));
    let reasons = [
        SubscribeReason::GrantedQoS0,
        SubscribeReason::GrantedQoS1,
        SubscribeReason::GrantedQoS2,
        SubscribeReason::UnspecifiedError,
    ];
    let reason = if is_v5 {
        DisconnectReason::DisconnectWithWill
    } else {
        DisconnectReason::NormalDisconnection
    };

    put(connect.into());
    put(connack.into());
    put(Packet::Subscribe(Subscribe {
        id,
        filters: SubscribeFilters::new(&filters).expect(VALID),
        properties: SubscribeProperties::default(),
    }));
    put(Packet::SubAck(SubAck {
        id,
        reasons: SubAckReasons::new(&reasons).expect(VALID),
        properties: AckProperties::default(),
    }));
    put(Packet::PubAck(Ack::new(id, PublishReason::Success)));
    put(Packet::PubRec(Ack::new(id, PublishReason::Success)));
    put(Packet::PubRel(Ack::new(id, ReleaseReason::Success)));
    put(Packet::PubComp(Ack::new(id, ReleaseReason::Success)));
    put(Packet::PingReq);
    put(Packet::PingResp);
    put(Disconnect::new(reason).into());
}

fn text(text: &str) -> Str<'_> {
    Str::new(text).expect(VALID)
}

fn binary(bytes: &[u8]) -> Binary<'_> {
    Binary::new(bytes).expect(VALID)
}

fn pair<'a>(name: &'a str, value: &'a str) -> UserProperty<'a> {
    UserProperty {
        name: text(name),
        value: text(value),
    }
}
