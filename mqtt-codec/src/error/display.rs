//! Faults in words.

use core::fmt;

use super::{DecodeError, DecodeErrorKind, Field};
use crate::PropertyId;

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
            DecodeErrorKind::NotPublish => f.write_str("this packet is no PUBLISH"),
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
            DecodeErrorKind::WillFlagsWithoutWill(_) => {
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
        write!(f, " ({} at byte {})", self.field, self.offset)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FixedHeader => "fixed header",
            Self::RemainingLength => "remaining length",
            Self::ProtocolName => "protocol name",
            Self::ProtocolLevel => "protocol level",
            Self::ConnectFlags => "connect flags",
            Self::KeepAlive => "keep alive",
            Self::ClientId => "client identifier",
            Self::WillTopic => "will topic",
            Self::WillPayload => "will payload",
            Self::UserName => "user name",
            Self::Password => "password",
            Self::AcknowledgeFlags => "acknowledge flags",
            Self::ReasonCode => "reason code",
            Self::TopicName => "topic name",
            Self::PacketId => "packet identifier",
            Self::TopicFilter => "topic filter",
            Self::SubscriptionOptions => "subscription options",
            Self::PropertyLength => "property length",
            Self::PropertyId => "property identifier",
            Self::Property(id) => return write!(f, "property {id}"),
            Self::End => "end of the packet",
        })
    }
}

/// The name that the standard gives it.
impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PayloadFormatIndicator => "Payload Format Indicator",
            Self::MessageExpiryInterval => "Message Expiry Interval",
            Self::ContentType => "Content Type",
            Self::ResponseTopic => "Response Topic",
            Self::CorrelationData => "Correlation Data",
            Self::SubscriptionIdentifier => "Subscription Identifier",
            Self::SessionExpiryInterval => "Session Expiry Interval",
            Self::AssignedClientIdentifier => "Assigned Client Identifier",
            Self::ServerKeepAlive => "Server Keep Alive",
            Self::AuthenticationMethod => "Authentication Method",
            Self::AuthenticationData => "Authentication Data",
            Self::RequestProblemInformation => "Request Problem Information",
            Self::WillDelayInterval => "Will Delay Interval",
            Self::RequestResponseInformation => "Request Response Information",
            Self::ResponseInformation => "Response Information",
            Self::ServerReference => "Server Reference",
            Self::ReasonString => "Reason String",
            Self::ReceiveMaximum => "Receive Maximum",
            Self::TopicAliasMaximum => "Topic Alias Maximum",
            Self::TopicAlias => "Topic Alias",
            Self::MaximumQoS => "Maximum QoS",
            Self::RetainAvailable => "Retain Available",
            Self::UserProperty => "User Property",
            Self::MaximumPacketSize => "Maximum Packet Size",
            Self::WildcardSubscriptionAvailable => "Wildcard Subscription Available",
            Self::SubscriptionIdentifierAvailable => "Subscription Identifier Available",
            Self::SharedSubscriptionAvailable => "Shared Subscription Available",
        })
    }
}
