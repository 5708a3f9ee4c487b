//! Faults in words.

use core::fmt;

use super::{DecodeError, DecodeErrorKind, Field};

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.packet_type {
            Some(packet_type) => write!(f, "{packet_type}: ")?,
            None => f.write_str("packet: ")?,
        }
        match self.kind {
            DecodeErrorKind::ReservedPacketType(value) => {
                write!(f, "packet type {value} does not exist in this version")
            }
            DecodeErrorKind::NotConnect => f.write_str("the first packet has to be CONNECT"),
            DecodeErrorKind::Flags(flags) => {
                write!(f, "the flags {flags:04b} are not those of this packet")
            }
            DecodeErrorKind::QoS3 => f.write_str("QoS 3 does not exist"),
            DecodeErrorKind::DupAtQoS0 => f.write_str("DUP is set at QoS 0"),
            DecodeErrorKind::VarIntTooLong => {
                f.write_str("a variable byte integer has more than four bytes")
            }
            DecodeErrorKind::VarIntNotMinimal => {
                f.write_str("a variable byte integer has more bytes than it needs")
            }
            DecodeErrorKind::PacketTooLarge { size, maximum } => {
                return write!(
                    f,
                    "the packet has {size} bytes, and at most {maximum} are taken"
                );
            }
            DecodeErrorKind::CutShort => f.write_str("the packet ends before its last field"),
            DecodeErrorKind::TrailingBytes => {
                f.write_str("bytes are left over behind the last field")
            }
            DecodeErrorKind::NotUtf8 => f.write_str("a text is no well-formed UTF-8"),
            DecodeErrorKind::NullCharacter => f.write_str("a text holds U+0000"),
            DecodeErrorKind::Topic(error) => {
                let what = if self.field == Field::TopicFilter {
                    "topic filter"
                } else {
                    "topic name"
                };
                return write!(f, "invalid {what}: {error}");
            }
            DecodeErrorKind::PacketIdZero => f.write_str("the packet identifier is 0"),
            DecodeErrorKind::ProtocolName => f.write_str("the protocol name is not MQTT"),
            DecodeErrorKind::ProtocolLevel(level) => {
                write!(f, "protocol level {level} is not supported")
            }
            DecodeErrorKind::ReservedBits(bits) => {
                write!(f, "reserved bits are set in {bits:#010b}")
            }
            DecodeErrorKind::WillFlagsWithoutWill => {
                f.write_str("will QoS or will retain is set without a will")
            }
            DecodeErrorKind::PasswordWithoutUserName => {
                f.write_str("there is a password without a user name")
            }
            DecodeErrorKind::ReasonCode(value) => {
                write!(f, "this packet cannot carry reason code {value:#04x}")
            }
            DecodeErrorKind::SessionPresentInRefusal => {
                f.write_str("session present is set in a refusal")
            }
            DecodeErrorKind::UnknownProperty(id) => write!(f, "property {id:#04x} does not exist"),
            DecodeErrorKind::MisplacedProperty => f.write_str("this property cannot stand here"),
            DecodeErrorKind::RepeatedProperty => f.write_str("this property can stand only once"),
            DecodeErrorKind::PropertyValue(value) => {
                write!(f, "{value} is outside the range of this property")
            }
            DecodeErrorKind::NoTopic => f.write_str("there is neither a topic nor a topic alias"),
            DecodeErrorKind::NoFilters => f.write_str("there is no topic filter"),
            DecodeErrorKind::NoReasonCodes => f.write_str("there is no reason code"),
            DecodeErrorKind::RetainHandling3 => f.write_str("retain handling 3 does not exist"),
            DecodeErrorKind::NoLocalOnShared => {
                f.write_str("no local is set on a shared subscription")
            }
            DecodeErrorKind::DataWithoutMethod => {
                f.write_str("there is authentication data without a method")
            }
            DecodeErrorKind::ControlCharacter => f.write_str("a text holds a control character"),
            DecodeErrorKind::TooManyProperties => {
                f.write_str("there are more properties than are taken")
            }
            DecodeErrorKind::TooManyFilters => f.write_str("there are more filters than are taken"),
        }?;
        write!(f, " ({:?} at byte {})", self.field, self.offset)
    }
}
