//! Packets as a watcher sees them, and packets that nobody asked for.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use mqtt_codec::{
    Ack, AckProperties, Auth, AuthReason, Authentication, ConnAck, ConnAckOutcome, Connect,
    Delivery, Disconnect, DisconnectReason, Packet, PacketId, PacketType, ProtocolVersion, Publish,
    PublishReason, PublishTopic, QoS, ReasonCode, ReleaseReason, Str, SubAck, SubAckReasons,
    Subscribe, SubscribeFilter, SubscribeFilters, SubscribeProperties, SubscribeReason, TopicAlias,
    TopicFilter, TopicName, UnsubAck, UnsubAckReasons, Unsubscribe, UnsubscribeFilters,
    UnsubscribeReason,
};

use super::random::Random;

/// What one side told the other about what it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) receive_maximum: u16,
    pub(super) packet_size_max: u32,
    pub(super) topic_alias_maximum: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            receive_maximum: u16::MAX,
            packet_size_max: u32::MAX,
            topic_alias_maximum: 0,
        }
    }
}

/// An acknowledgement's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the names of the standard")]
pub(super) enum AckKind {
    PubAck,
    PubRec,
    PubRel,
    PubComp,
}

/// A packet without what nobody here looks at.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Connect {
        limits: Limits,
        clean_start: bool,
        has_method: bool,
    },
    ConnAck {
        refusal: Option<ReasonCode>,
        session_present: bool,
        limits: Limits,
    },
    Publish {
        id: Option<PacketId>,
        qos: QoS,
        dup: bool,
        topic: Option<String>,
        alias: Option<u16>,
        number: Option<u32>,
        expiry_secs: Option<u32>,
    },
    Ack {
        kind: AckKind,
        id: PacketId,
        reason: ReasonCode,
        /// It says something beside the reason.
        has_words: bool,
    },
    Subscribe {
        id: PacketId,
        filters: Vec<(String, QoS, bool)>,
    },
    SubAck {
        id: PacketId,
        granted: Vec<Option<QoS>>,
    },
    Unsubscribe {
        id: PacketId,
        filters: Vec<String>,
    },
    UnsubAck {
        id: PacketId,
    },
    Disconnect {
        reason: ReasonCode,
    },
    Auth {
        said: Said,
        method: String,
    },
    Other,
}

/// What AUTH is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Done,
    GoOn,
    Again,
}

/// The number at the front of a payload.
pub(super) fn number_of(payload: &[u8]) -> Option<u32> {
    let end = payload.iter().position(|byte| *byte == b' ')?;
    core::str::from_utf8(payload.get(..end)?).ok()?.parse().ok()
}

fn ack<R: Copy + Into<ReasonCode>>(kind: AckKind, it: &Ack<'_, R>) -> Seen {
    Seen::Ack {
        kind,
        id: it.id,
        reason: it.reason.into(),
        has_words: it.properties != AckProperties::default(),
    }
}

impl Seen {
    pub(super) fn of(packet: &Packet<'_>) -> Self {
        match packet {
            Packet::Connect(connect) => {
                let properties = &connect.properties;
                Self::Connect {
                    limits: Limits {
                        receive_maximum: properties.receive_maximum.map_or(u16::MAX, Into::into),
                        packet_size_max: properties.packet_size_max.map_or(u32::MAX, Into::into),
                        topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
                    },
                    clean_start: connect.clean_start,
                    has_method: properties.authentication.is_some(),
                }
            }
            Packet::ConnAck(connack) => {
                let properties = &connack.properties;
                Self::ConnAck {
                    refusal: match connack.outcome {
                        ConnAckOutcome::Accepted { .. } => None,
                        ConnAckOutcome::Refused(reason) => Some(reason.into()),
                    },
                    session_present: connack.outcome
                        == ConnAckOutcome::Accepted {
                            session_present: true,
                        },
                    limits: Limits {
                        receive_maximum: properties.receive_maximum.map_or(u16::MAX, Into::into),
                        packet_size_max: properties.packet_size_max.map_or(u32::MAX, Into::into),
                        topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
                    },
                }
            }
            Packet::Publish(publish) => Self::Publish {
                id: publish.delivery.id(),
                qos: publish.delivery.qos(),
                dup: publish.delivery.dup(),
                topic: publish.topic.name().map(|name| name.as_str().to_string()),
                alias: publish.topic.alias().map(TopicAlias::get),
                number: number_of(publish.payload),
                expiry_secs: publish.properties.message_expiry_secs,
            },
            Packet::PubAck(it) => ack(AckKind::PubAck, it),
            Packet::PubRec(it) => ack(AckKind::PubRec, it),
            Packet::PubRel(it) => ack(AckKind::PubRel, it),
            Packet::PubComp(it) => ack(AckKind::PubComp, it),
            Packet::Subscribe(subscribe) => Self::Subscribe {
                id: subscribe.id,
                filters: { subscribe.filters.iter() }
                    .map(|entry| {
                        let filter = entry.filter.as_str().to_string();
                        (filter, entry.options.qos, entry.options.no_local)
                    })
                    .collect(),
            },
            Packet::SubAck(suback) => Self::SubAck {
                id: suback.id,
                granted: suback.reasons.iter().map(granted).collect(),
            },
            Packet::Unsubscribe(unsubscribe) => Self::Unsubscribe {
                id: unsubscribe.id,
                filters: { unsubscribe.filters.iter() }
                    .map(|filter| filter.as_str().to_string())
                    .collect(),
            },
            Packet::UnsubAck(unsuback) => Self::UnsubAck { id: unsuback.id },
            Packet::Disconnect(disconnect) => Self::Disconnect {
                reason: disconnect.reason.into(),
            },
            Packet::Auth(auth) => Self::Auth {
                said: match auth.reason {
                    AuthReason::ContinueAuthentication => Said::GoOn,
                    AuthReason::ReAuthenticate => Said::Again,
                    _ => Said::Done,
                },
                method: { auth.authentication }
                    .map(|it| it.method.as_str().to_string())
                    .unwrap_or_default(),
            },
            Packet::PingReq | Packet::PingResp => Self::Other,
        }
    }
}

fn granted(reason: SubscribeReason) -> Option<QoS> {
    match reason {
        SubscribeReason::GrantedQoS0 => Some(QoS::AtMostOnce),
        SubscribeReason::GrantedQoS1 => Some(QoS::AtLeastOnce),
        SubscribeReason::GrantedQoS2 => Some(QoS::ExactlyOnce),
        _ => None,
    }
}

pub(super) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A valid packet of a type that nobody waits for, in bytes.
pub(super) fn any_packet(
    random: &mut Random,
    packet_type: PacketType,
    version: ProtocolVersion,
    client_id: &str,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let id = PacketId::new(random.pick(&[1, 2, 3, 65_535])).unwrap_or(PacketId::MIN);
    let mut put = |packet: Packet<'_>| {
        if packet.encode_to(version, &mut bytes).is_err() {
            // What 3.1.1 does not have.
            let _all = packet.encode_to(ProtocolVersion::V5_0, &mut bytes);
        }
    };
    let text = |text| Str::new(text).unwrap_or_default();
    match packet_type {
        PacketType::Connect => {
            let mut connect = Connect::new(version, text(client_id));
            // In 3.1.1 a session would be left for good otherwise.
            connect.clean_start = version == ProtocolVersion::V3_1_1 || random.chance(50);
            put(connect.into());
        }
        PacketType::ConnAck => {
            let session_present = random.chance(10);
            put(ConnAck::new(ConnAckOutcome::Accepted { session_present }).into());
        }
        PacketType::Publish => {
            let dup = random.chance(10);
            let delivery = match random.below(3) {
                0 => Delivery::AtMostOnce,
                1 => Delivery::AtLeastOnce { id, dup },
                _ => Delivery::ExactlyOnce { id, dup },
            };
            let Ok(topic) = TopicName::new("x/1") else {
                return bytes;
            };
            let mut publish = Publish::new(topic, b"x");
            publish.delivery = delivery;
            if version == ProtocolVersion::V5_0
                && random.chance(10)
                && let Some(alias) = TopicAlias::new(random.pick(&[1, 2, 10, 11, 65_535]))
            {
                publish.topic = PublishTopic::Alias(alias);
            }
            put(publish.into());
        }
        PacketType::PubAck => put(Packet::PubAck(Ack::new(id, PublishReason::Success))),
        PacketType::PubRec => put(Packet::PubRec(Ack::new(id, PublishReason::Success))),
        PacketType::PubRel => put(Packet::PubRel(Ack::new(id, ReleaseReason::Success))),
        PacketType::PubComp => put(Packet::PubComp(Ack::new(id, ReleaseReason::Success))),
        PacketType::Subscribe => {
            let Ok(filter) = SubscribeFilter::new("x/#", random.pick(&QOS)) else {
                return bytes;
            };
            if let Ok(filters) = SubscribeFilters::new(&[filter]) {
                let properties = SubscribeProperties::default();
                put(Packet::Subscribe(Subscribe {
                    id,
                    filters,
                    properties,
                }));
            }
        }
        PacketType::SubAck => {
            if let Ok(reasons) = SubAckReasons::new(&[SubscribeReason::GrantedQoS1]) {
                let properties = Default::default();
                put(Packet::SubAck(SubAck {
                    id,
                    reasons,
                    properties,
                }));
            }
        }
        PacketType::Unsubscribe => {
            let Ok(filter) = TopicFilter::new("x/#") else {
                return bytes;
            };
            if let Ok(filters) = UnsubscribeFilters::new(&[filter]) {
                put(Packet::Unsubscribe(Unsubscribe {
                    id,
                    filters,
                    user_properties: Default::default(),
                }));
            }
        }
        PacketType::UnsubAck => {
            let reasons = match version {
                ProtocolVersion::V5_0 => UnsubAckReasons::new(&[UnsubscribeReason::Success]),
                ProtocolVersion::V3_1_1 => UnsubAckReasons::default(),
            };
            let properties = Default::default();
            put(Packet::UnsubAck(UnsubAck {
                id,
                reasons,
                properties,
            }));
        }
        PacketType::PingReq => put(Packet::PingReq),
        PacketType::PingResp => put(Packet::PingResp),
        PacketType::Disconnect => {
            put(Disconnect::new(DisconnectReason::NormalDisconnection).into());
        }
        PacketType::Auth => {
            let authentication = Authentication {
                method: text("m"),
                data: None,
            };
            put(Auth::new(AuthReason::ContinueAuthentication, authentication).into());
        }
    }
    bytes
}
