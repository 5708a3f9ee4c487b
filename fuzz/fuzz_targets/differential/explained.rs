//! The differences that are known, with what the standard says about them. A difference that is
//! in neither list is a bug, ours or theirs.

use mqtt_codec::{
    DecodeErrorKind as Kind, Packet, PacketType, PayloadFormat, ProtocolVersion,
    TopicErrorKind as Topic, TopicFilter,
};

use crate::{Case, Peer};

use Peer::{MqttProto, Rmqtt};

/// Packets that one peer takes and we refuse.
pub struct Refused {
    pub peers: &'static [Peer],
    pub rule: &'static str,
    pub kind: fn(&Kind) -> bool,
}

/// Packets that we take and one peer refuses.
pub struct Taken {
    pub peers: &'static [Peer],
    pub rule: &'static str,
    pub case: fn(&Case<'_>, &Packet<'_>) -> bool,
}

const BOTH: &[Peer] = &[MqttProto, Rmqtt];

pub const REFUSED: &[Refused] = &[
    Refused {
        peers: BOTH,
        rule: "5.0, 3.1.2.11.10 and 3.15.2.2.3: authentication data without a method is a Protocol Error",
        kind: |kind| *kind == Kind::DataWithoutMethod,
    },
    Refused {
        peers: BOTH,
        rule: "[5:MQTT-3.3.1-2] [3:MQTT-3.3.1-2]",
        kind: |kind| *kind == Kind::DupAtQoS0,
    },
    Refused {
        peers: BOTH,
        rule: "[5:MQTT-3.8.3-4]",
        kind: |kind| *kind == Kind::NoLocalOnShared,
    },
    Refused {
        peers: BOTH,
        rule: "3.9.3 and 3.11.3: a code for each filter, and there is at least one filter",
        kind: |kind| *kind == Kind::NoReasonCodes,
    },
    Refused {
        peers: BOTH,
        rule: "5.0, 3.3.2.1: an empty topic without an alias is a Protocol Error",
        kind: |kind| *kind == Kind::NoTopic,
    },
    Refused {
        peers: BOTH,
        rule: "[5:MQTT-1.5.4-2] [3:MQTT-1.5.3-2]",
        kind: |kind| *kind == Kind::NullCharacter,
    },
    Refused {
        peers: BOTH,
        rule: "[3:MQTT-3.1.2-22]",
        kind: |kind| *kind == Kind::PasswordWithoutUserName,
    },
    Refused {
        peers: BOTH,
        rule: "3.1.2.11 and 3.2.2.3: values that are Protocol Errors; [5:MQTT-3.3.2-8] for the alias",
        kind: |kind| matches!(kind, Kind::PropertyValue(_)),
    },
    Refused {
        peers: BOTH,
        rule: "[3:MQTT-3.1.2-2] [5:MQTT-3.1.2-2]: `MQIsdp` and level 3 are MQTT 3.1",
        kind: |kind| matches!(kind, Kind::ProtocolLevel(_)),
    },
    Refused {
        peers: BOTH,
        rule: "[5:MQTT-3.2.2-6] [3:MQTT-3.2.2-4]",
        kind: |kind| *kind == Kind::SessionPresentInRefusal,
    },
    Refused {
        peers: BOTH,
        rule: "[5:MQTT-4.7.3-1] [3:MQTT-4.7.3-1]",
        kind: |kind| is_topic(kind, &[Topic::Empty]),
    },
    Refused {
        peers: BOTH,
        rule: "[5:MQTT-4.7.1-2] [3:MQTT-4.7.1-3]",
        kind: |kind| is_topic(kind, &[Topic::PlusNotAlone]),
    },
    Refused {
        peers: &[Rmqtt],
        rule: "[5:MQTT-4.7.1-1] [3:MQTT-4.7.1-2]",
        kind: |kind| is_topic(kind, &[Topic::HashNotAlone, Topic::HashNotLast]),
    },
    Refused {
        peers: &[Rmqtt],
        rule: "[5:MQTT-4.8.2-1] [5:MQTT-4.8.2-2]",
        kind: |kind| {
            let shared = [
                Topic::SharedGroupEmpty,
                Topic::SharedGroupWildcard,
                Topic::SharedWithoutFilter,
            ];
            is_topic(kind, &shared)
        },
    },
    Refused {
        peers: &[Rmqtt],
        rule: "[5:MQTT-3.3.2-2] [5:MQTT-3.3.2-14] [5:MQTT-4.7.0-1] [3:MQTT-3.3.2-2] [3:MQTT-4.7.1-1]",
        kind: |kind| is_topic(kind, &[Topic::WildcardInName]),
    },
    Refused {
        peers: BOTH,
        rule: "2.1.4: the remaining length counts what the packet has, and these have nothing more",
        kind: |kind| *kind == Kind::TrailingBytes,
    },
    Refused {
        peers: BOTH,
        rule: "[5:MQTT-1.5.5-1]",
        kind: |kind| *kind == Kind::VarIntNotMinimal,
    },
    Refused {
        peers: BOTH,
        rule: "[5:MQTT-3.1.2-11] [5:MQTT-3.1.2-13] [3:MQTT-3.1.2-11] [3:MQTT-3.1.2-13] [3:MQTT-3.1.2-15]",
        kind: |kind| matches!(kind, Kind::WillFlagsWithoutWill(_)),
    },
    Refused {
        peers: &[Rmqtt],
        rule: "5.0, 3.15.2.1: reason code and properties of AUTH are left out together",
        kind: |kind| *kind == Kind::CutShort,
    },
    Refused {
        peers: &[Rmqtt],
        rule: "[5:MQTT-3.1.2-12] [3:MQTT-3.1.2-14]",
        kind: |kind| *kind == Kind::QoS3,
    },
    Refused {
        peers: &[Rmqtt],
        rule: "[3:MQTT-3.8.3-4]",
        kind: |kind| matches!(kind, Kind::ReservedBits(_)),
    },
    Refused {
        peers: &[Rmqtt],
        rule: "3.1.1, table 3.1: return codes above 5 are reserved",
        kind: |kind| matches!(kind, Kind::ReasonCode(_)),
    },
];

pub const TAKEN: &[Taken] = &[
    Taken {
        peers: BOTH,
        rule: "a CONNECT says its version itself; which one may come is for the connection to say",
        case: |case, packet| matches!(packet, Packet::Connect(connect) if connect.version != case.version),
    },
    Taken {
        peers: BOTH,
        rule: "[5:MQTT-3.1.3-6] an empty client identifier is allowed; [3:MQTT-3.1.3-8] without a clean session it is answered, so it is read",
        case: |_, packet| {
            matches!(packet, Packet::Connect(connect)
                if connect.client_id.is_empty() && !connect.clean_start)
        },
    },
    Taken {
        peers: &[MqttProto],
        rule: "5.0, 4.8.2: shared subscriptions came with 5.0; in 3.1.1 `$share` is a level like any other",
        case: |case, packet| {
            let is_shared = |filter: TopicFilter<'_>| filter.as_bytes().starts_with(b"$share");
            case.version == ProtocolVersion::V3_1_1
                && match packet {
                    Packet::Subscribe(it) => it.filters.iter().any(|it| is_shared(it.filter)),
                    Packet::Unsubscribe(it) => it.filters.iter().any(is_shared),
                    _ => false,
                }
        },
    },
    Taken {
        peers: &[MqttProto],
        rule: "5.0, table 2.6: 0x8C is a reason code of DISCONNECT, though table 3.10 lacks it",
        case: |_, packet| packet.packet_type() == PacketType::Disconnect,
    },
    Taken {
        peers: &[MqttProto],
        rule: "5.0, 3.3.2.3.2 and 3.1.3.2.3: whether a payload is the text it says it is may be checked, or not",
        case: |_, packet| match packet {
            Packet::Publish(publish) => {
                publish.properties.payload_format == Some(PayloadFormat::Utf8)
            }
            Packet::Connect(connect) => connect
                .will
                .is_some_and(|will| will.properties.payload_format == Some(PayloadFormat::Utf8)),
            _ => false,
        },
    },
    Taken {
        peers: &[MqttProto],
        rule: "5.0, 3.3.2.3.8: a PUBLISH may have several subscription identifiers",
        case: |_, packet| {
            matches!(packet, Packet::Publish(publish)
                if publish.properties.subscription_ids.len() > 1)
        },
    },
    Taken {
        peers: &[Rmqtt],
        rule: "5.0, 3.3.2.3.3: an expiry interval is any number of four bytes, 0 among them",
        case: |_, packet| match packet {
            Packet::Publish(publish) => publish.properties.message_expiry_secs == Some(0),
            Packet::Connect(connect) => connect
                .will
                .is_some_and(|will| will.properties.message_expiry_secs == Some(0)),
            _ => false,
        },
    },
];

fn is_topic(kind: &Kind, kinds: &[Topic]) -> bool {
    matches!(kind, Kind::Topic(error) if kinds.contains(&error.kind()))
}
