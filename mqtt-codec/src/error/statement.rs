//! Which normative statement a fault breaks, in each of the two numberings.

use mqtt_topic::TopicErrorKind;

use super::{DecodeError, DecodeErrorKind, Field};
use crate::PacketType;
use crate::packet::connect::WILL_QOS;
use crate::property::PropertyId;

impl DecodeError {
    pub(super) fn statement_v5(&self) -> Option<&'static str> {
        Some(match (self.kind, self.packet_type?, self.field) {
            (DecodeErrorKind::NotConnect, _, _) => "MQTT-3.1.0-1",
            (DecodeErrorKind::Flags(_), PacketType::PubRel, _) => "MQTT-3.6.1-1",
            (DecodeErrorKind::Flags(_), PacketType::Subscribe, _) => "MQTT-3.8.1-1",
            (DecodeErrorKind::Flags(_), PacketType::Unsubscribe, _) => "MQTT-3.10.1-1",
            (DecodeErrorKind::Flags(_), PacketType::Disconnect, _) => "MQTT-3.14.1-1",
            (DecodeErrorKind::Flags(_), PacketType::Auth, _) => "MQTT-3.15.1-1",
            (DecodeErrorKind::Flags(_), _, _) => "MQTT-2.1.3-1",
            (DecodeErrorKind::QoS3, PacketType::Publish, _) => "MQTT-3.3.1-4",
            (DecodeErrorKind::QoS3, PacketType::Connect, _) => "MQTT-3.1.2-12",
            (DecodeErrorKind::DupAtQoS0, _, _) => "MQTT-3.3.1-2",
            (DecodeErrorKind::VarIntNotMinimal, _, _) => "MQTT-1.5.5-1",
            (DecodeErrorKind::NotUtf8, _, _) => "MQTT-1.5.4-1",
            (DecodeErrorKind::NullCharacter, _, _) => "MQTT-1.5.4-2",
            (
                DecodeErrorKind::Topic(error),
                PacketType::Publish,
                Field::Property(PropertyId::ResponseTopic),
            ) if error.kind() == TopicErrorKind::WildcardInName => "MQTT-3.3.2-14",
            (DecodeErrorKind::Topic(error), PacketType::Connect, _)
                if error.kind() == TopicErrorKind::WildcardInName =>
            {
                "MQTT-4.7.0-1"
            }
            (DecodeErrorKind::Topic(error), _, _) => error.statement_v5(),
            (
                DecodeErrorKind::PacketIdZero,
                PacketType::Publish | PacketType::Subscribe | PacketType::Unsubscribe,
                _,
            ) => "MQTT-2.2.1-3",
            (DecodeErrorKind::ProtocolName, _, _) => "MQTT-3.1.2-1",
            (DecodeErrorKind::ProtocolLevel(_), _, _) => "MQTT-3.1.2-2",
            (DecodeErrorKind::ReservedBits(_), PacketType::Connect, _) => "MQTT-3.1.2-3",
            (DecodeErrorKind::ReservedBits(_), PacketType::ConnAck, _) => "MQTT-3.2.2-1",
            (DecodeErrorKind::ReservedBits(_), PacketType::Subscribe, _) => "MQTT-3.8.3-5",
            (DecodeErrorKind::WillFlagsWithoutWill(flags), _, _) => {
                if flags & WILL_QOS == 0 {
                    "MQTT-3.1.2-13"
                } else {
                    "MQTT-3.1.2-11"
                }
            }
            (DecodeErrorKind::SessionPresentInRefusal, _, _) => "MQTT-3.2.2-6",
            (DecodeErrorKind::ReasonCode(_), packet_type, _) => match packet_type {
                PacketType::ConnAck => "MQTT-3.2.2-8",
                PacketType::PubAck => "MQTT-3.4.2-1",
                PacketType::PubRec => "MQTT-3.5.2-1",
                PacketType::PubRel => "MQTT-3.6.2-1",
                PacketType::PubComp => "MQTT-3.7.2-1",
                PacketType::SubAck => "MQTT-3.9.3-2",
                PacketType::UnsubAck => "MQTT-3.11.3-2",
                PacketType::Disconnect => "MQTT-3.14.2-1",
                PacketType::Auth => "MQTT-3.15.2-1",
                _ => return None,
            },
            (DecodeErrorKind::PropertyValue(0), _, Field::Property(PropertyId::TopicAlias)) => {
                "MQTT-3.3.2-8"
            }
            (DecodeErrorKind::NoFilters, PacketType::Subscribe, _) => "MQTT-3.8.3-2",
            (DecodeErrorKind::NoFilters, PacketType::Unsubscribe, _) => "MQTT-3.10.3-2",
            (DecodeErrorKind::NoLocalOnShared, _, _) => "MQTT-3.8.3-4",
            (DecodeErrorKind::NoTopic, _, _) => "MQTT-4.7.3-1",
            _ => return None,
        })
    }

    pub(super) fn statement_v3(&self) -> Option<&'static str> {
        Some(match (self.kind, self.packet_type?) {
            (DecodeErrorKind::Flags(_), PacketType::PubRel) => "MQTT-3.6.1-1",
            (DecodeErrorKind::Flags(_), PacketType::Subscribe) => "MQTT-3.8.1-1",
            (DecodeErrorKind::Flags(_), PacketType::Unsubscribe) => "MQTT-3.10.1-1",
            (DecodeErrorKind::Flags(_), PacketType::Disconnect) => "MQTT-3.14.1-1",
            (DecodeErrorKind::Flags(_), _) => "MQTT-2.2.2-2",
            (DecodeErrorKind::QoS3, PacketType::Publish) => "MQTT-3.3.1-4",
            (DecodeErrorKind::QoS3, PacketType::Connect) => "MQTT-3.1.2-14",
            (DecodeErrorKind::QoS3, PacketType::Subscribe) => "MQTT-3.8.3-4",
            (DecodeErrorKind::DupAtQoS0, _) => "MQTT-3.3.1-2",
            (DecodeErrorKind::NotUtf8, _) => "MQTT-1.5.3-1",
            (DecodeErrorKind::NullCharacter, _) => "MQTT-1.5.3-2",
            (DecodeErrorKind::Topic(error), PacketType::Connect)
                if error.kind() == TopicErrorKind::WildcardInName =>
            {
                "MQTT-4.7.1-1"
            }
            (DecodeErrorKind::Topic(error), _) => return error.statement_v3(),
            (
                DecodeErrorKind::PacketIdZero,
                PacketType::Publish | PacketType::Subscribe | PacketType::Unsubscribe,
            ) => "MQTT-2.3.1-1",
            (DecodeErrorKind::ReservedBits(_), PacketType::Connect) => "MQTT-3.1.2-3",
            (DecodeErrorKind::ReservedBits(_), PacketType::Subscribe) => "MQTT-3.8.3-4",
            (DecodeErrorKind::WillFlagsWithoutWill(_), _) => "MQTT-3.1.2-11",
            (DecodeErrorKind::PasswordWithoutUserName, _) => "MQTT-3.1.2-22",
            (DecodeErrorKind::SessionPresentInRefusal, _) => "MQTT-3.2.2-4",
            (DecodeErrorKind::ReasonCode(_), PacketType::SubAck) => "MQTT-3.9.3-2",
            (DecodeErrorKind::NoFilters, PacketType::Subscribe) => "MQTT-3.8.3-3",
            (DecodeErrorKind::NoFilters, PacketType::Unsubscribe) => "MQTT-3.10.3-2",
            _ => return None,
        })
    }
}
