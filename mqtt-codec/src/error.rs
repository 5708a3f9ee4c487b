//! What is wrong with bytes that are no packet, and with packets that cannot be bytes.

use core::fmt;

use mqtt_topic::{TopicError, TopicErrorKind};

use crate::property::PropertyId;
use crate::{Frame, PacketType, ProtocolVersion, ReasonCode};

/// Why bytes are no packet that the standard allows. Fatal for the connection they came in on.
///
/// ```
/// use mqtt_codec::{decode, ProtocolVersion, ReasonCode};
///
/// // SUBSCRIBE with the filter `a#`.
/// let bytes = [0x82, 0x08, 0x00, 0x0A, 0x00, 0x00, 0x02, b'a', b'#', 0x00];
/// let error = decode(&bytes, ProtocolVersion::V5_0, 1024).unwrap_err();
/// assert_eq!(error.offset(), 8);
/// assert_eq!(error.statement(), Some("MQTT-4.7.1-1"));
/// assert_eq!(error.reason_code(), ReasonCode::ProtocolError);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    field: Field,
    offset: u32,
    packet_type: Option<PacketType>,
    version: Option<ProtocolVersion>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// A packet type that does not exist in this version.
    ReservedPacketType(u8),
    /// Another packet where only CONNECT can be.
    NotConnect,
    /// Flags of the fixed header that this packet type does not have.
    Flags(u8),
    /// QoS 3.
    QoS3,
    /// DUP in a PUBLISH at QoS 0.
    DupAtQoS0,
    /// A variable byte integer of more than four bytes.
    VarIntTooLong,
    /// A variable byte integer with more bytes than its value needs.
    VarIntNotMinimal,
    /// A packet larger than this side takes.
    PacketTooLarge {
        /// In bytes, with the header, as the header says.
        size: u32,
        /// In bytes.
        maximum: u32,
    },
    /// A field that goes on behind the end of its packet or property block.
    CutShort,
    /// Bytes behind the last field.
    TrailingBytes,
    /// Text that is no well-formed UTF-8.
    NotUtf8,
    /// U+0000 in a text.
    NullCharacter,
    /// A text that is no topic name or filter.
    Topic(TopicError),
    /// Packet identifier 0.
    PacketIdZero,
    /// A protocol name other than `MQTT`.
    ProtocolName,
    /// A protocol level that this codec does not know.
    ProtocolLevel(u8),
    /// Reserved bits that are set.
    ReservedBits(u8),
    /// Will QoS or will retain without a will.
    WillFlagsWithoutWill,
    /// A password without a user name (3.1.1).
    PasswordWithoutUserName,
    /// A reason or return code that this packet cannot carry.
    ReasonCode(u8),
    /// Session present in a CONNACK that refuses.
    SessionPresentInRefusal,
    /// A property identifier that does not exist.
    UnknownProperty(u32),
    /// A property that cannot stand in this packet.
    MisplacedProperty,
    /// A property that can stand only once.
    RepeatedProperty,
    /// A property with a value outside its range.
    PropertyValue(u32),
    /// A PUBLISH with neither topic nor alias.
    NoTopic,
    /// SUBSCRIBE or UNSUBSCRIBE without a filter.
    NoFilters,
    /// SUBACK or UNSUBACK without a reason code.
    NoReasonCodes,
    /// Retain Handling 3.
    RetainHandling3,
    /// No Local on a shared subscription.
    NoLocalOnShared,
    /// Authentication data without an authentication method.
    DataWithoutMethod,
}

/// The two classes of faults in MQTT 5.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the standard has these two")]
pub enum ErrorClass {
    /// The bytes cannot be parsed as the standard lays down.
    Malformed,
    /// The packet can be parsed, but its content is not allowed.
    ProtocolError,
}

/// A field of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields have the names that the standard gives them"
)]
pub enum Field {
    FixedHeader,
    RemainingLength,
    ProtocolName,
    ProtocolLevel,
    ConnectFlags,
    KeepAlive,
    ClientId,
    WillTopic,
    WillPayload,
    UserName,
    Password,
    AcknowledgeFlags,
    ReasonCode,
    TopicName,
    PacketId,
    TopicFilter,
    SubscriptionOptions,
    PropertyLength,
    PropertyId,
    Property(PropertyId),
    /// The end of the packet.
    End,
}

impl DecodeError {
    pub(crate) fn new(
        kind: DecodeErrorKind,
        field: Field,
        offset: usize,
        packet_type: Option<PacketType>,
        version: Option<ProtocolVersion>,
    ) -> Self {
        Self {
            kind,
            field,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            packet_type,
            version,
        }
    }

    /// What was found.
    #[must_use]
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// In which field.
    #[must_use]
    pub const fn field(&self) -> Field {
        self.field
    }

    /// Where, in bytes from the first byte of the packet.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset as usize
    }

    /// The type of the packet, where it is known.
    #[must_use]
    pub const fn packet_type(&self) -> Option<PacketType> {
        self.packet_type
    }

    /// The version of the packet, where it is known: a faulty CONNECT may not say it.
    #[must_use]
    pub const fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// The level of a CONNECT that no version of this codec has. Levels below 5 understand CONNACK
    /// in the form of 3.1.1, those above in the form of 5.0.
    #[must_use]
    pub const fn unsupported_level(&self) -> Option<u8> {
        match self.kind {
            DecodeErrorKind::ProtocolLevel(level) => Some(level),
            _ => None,
        }
    }

    /// What is wrong with a topic name or filter, where that is the fault.
    #[must_use]
    pub const fn topic_error(&self) -> Option<TopicError> {
        match self.kind {
            DecodeErrorKind::Topic(error) => Some(error),
            _ => None,
        }
    }

    /// The topic name or filter that is at fault, out of the frame that was decoded; for logs.
    #[must_use]
    pub fn text_in<'a>(&self, frame: &Frame<'a>) -> Option<&'a str> {
        let start = self
            .offset()
            .checked_sub(self.topic_error()?.offset())?
            .checked_sub(frame.header_len())?;
        let length = frame.body().get(start.checked_sub(2)?..start)?;
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        core::str::from_utf8(frame.body().get(start..start.checked_add(length)?)?).ok()
    }

    /// Which of the two classes of MQTT 5.0 the fault belongs to.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self.kind {
            // In the options of 5.0, QoS 3 is in one class with Retain Handling 3.
            DecodeErrorKind::QoS3
                if matches!(self.field, Field::SubscriptionOptions)
                    && matches!(self.version, Some(ProtocolVersion::V5_0)) =>
            {
                ErrorClass::ProtocolError
            }
            DecodeErrorKind::ReservedPacketType(_)
            | DecodeErrorKind::Flags(_)
            | DecodeErrorKind::QoS3
            | DecodeErrorKind::DupAtQoS0
            | DecodeErrorKind::VarIntTooLong
            | DecodeErrorKind::VarIntNotMinimal
            | DecodeErrorKind::CutShort
            | DecodeErrorKind::TrailingBytes
            | DecodeErrorKind::NotUtf8
            | DecodeErrorKind::NullCharacter
            | DecodeErrorKind::ReservedBits(_)
            | DecodeErrorKind::WillFlagsWithoutWill
            | DecodeErrorKind::UnknownProperty(_)
            | DecodeErrorKind::MisplacedProperty => ErrorClass::Malformed,
            DecodeErrorKind::Topic(error) => match error.kind() {
                TopicErrorKind::NotUtf8 | TopicErrorKind::NullCharacter => ErrorClass::Malformed,
                _ => ErrorClass::ProtocolError,
            },
            DecodeErrorKind::NotConnect
            | DecodeErrorKind::PacketTooLarge { .. }
            | DecodeErrorKind::PacketIdZero
            | DecodeErrorKind::ProtocolName
            | DecodeErrorKind::ProtocolLevel(_)
            | DecodeErrorKind::PasswordWithoutUserName
            | DecodeErrorKind::ReasonCode(_)
            | DecodeErrorKind::SessionPresentInRefusal
            | DecodeErrorKind::RepeatedProperty
            | DecodeErrorKind::PropertyValue(_)
            | DecodeErrorKind::NoTopic
            | DecodeErrorKind::NoFilters
            | DecodeErrorKind::NoReasonCodes
            | DecodeErrorKind::RetainHandling3
            | DecodeErrorKind::NoLocalOnShared
            | DecodeErrorKind::DataWithoutMethod => ErrorClass::ProtocolError,
        }
    }

    /// The reason code to answer with, in 5.0.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        match (self.kind, self.field) {
            (DecodeErrorKind::PacketTooLarge { .. }, _) => ReasonCode::PacketTooLarge,
            (DecodeErrorKind::ProtocolName | DecodeErrorKind::ProtocolLevel(_), _) => {
                ReasonCode::UnsupportedProtocolVersion
            }
            (DecodeErrorKind::PropertyValue(_), Field::Property(PropertyId::TopicAlias)) => {
                ReasonCode::TopicAliasInvalid
            }
            _ => match self.class() {
                ErrorClass::Malformed => ReasonCode::MalformedPacket,
                ErrorClass::ProtocolError => ReasonCode::ProtocolError,
            },
        }
    }

    /// The normative statement that the bytes break, without its version, where there is one.
    ///
    /// The same number often means different things in the two versions: it belongs to
    /// [`version`](Self::version), and to 5.0 where that is not known.
    #[must_use]
    pub fn statement(&self) -> Option<&'static str> {
        match self.version {
            Some(ProtocolVersion::V3_1_1) => self.statement_v3(),
            Some(ProtocolVersion::V5_0) | None => self.statement_v5(),
        }
    }

    fn statement_v5(&self) -> Option<&'static str> {
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
            (DecodeErrorKind::WillFlagsWithoutWill, _, _) => "MQTT-3.1.2-11",
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

    fn statement_v3(&self) -> Option<&'static str> {
        Some(match (self.kind, self.packet_type?) {
            (DecodeErrorKind::NotConnect, _) => "MQTT-3.1.0-1",
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
            (DecodeErrorKind::WillFlagsWithoutWill, _) => "MQTT-3.1.2-11",
            (DecodeErrorKind::PasswordWithoutUserName, _) => "MQTT-3.1.2-22",
            (DecodeErrorKind::SessionPresentInRefusal, _) => "MQTT-3.2.2-4",
            (DecodeErrorKind::ReasonCode(_), PacketType::SubAck) => "MQTT-3.9.3-2",
            (DecodeErrorKind::NoFilters, PacketType::Subscribe) => "MQTT-3.8.3-3",
            (DecodeErrorKind::NoFilters, PacketType::Unsubscribe) => "MQTT-3.10.3-2",
            _ => return None,
        })
    }
}

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
        }?;
        write!(f, " ({:?} at byte {})", self.field, self.offset)
    }
}

impl core::error::Error for DecodeError {}

/// Why a packet cannot be written. Nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The buffer has too little room.
    BufferTooSmall {
        /// Bytes that the packet takes.
        needed: usize,
        /// Bytes that the buffer has.
        available: usize,
    },
    /// The packet is larger than the protocol, or the receiver, allows.
    PacketTooLarge {
        /// In bytes, with its header.
        size: usize,
    },
    /// The packet says something that this version cannot say.
    NotInVersion(NotInVersion),
}

/// What a version cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotInVersion {
    /// AUTH, in 3.1.1.
    Auth,
    /// A topic alias in place of a topic, in 3.1.1.
    TopicAlias,
    /// Subscription options other than the QoS, in 3.1.1.
    SubscriptionOptions,
    /// A password without a user name, in 3.1.1.
    PasswordWithoutUserName,
    /// An empty client identifier without a clean session, in 3.1.1.
    EmptyClientId,
    /// A reason that has no return code, in the CONNACK of 3.1.1.
    ConnectReason,
    /// A CONNECT of another version.
    Connect,
    /// An UNSUBACK without reason codes, in 5.0.
    NoReasonCodes,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { needed, available } => {
                write!(
                    f,
                    "the packet takes {needed} bytes, and the buffer has {available}"
                )
            }
            Self::PacketTooLarge { size } => write!(f, "a packet of {size} bytes is too large"),
            Self::NotInVersion(what) => f.write_str(match what {
                NotInVersion::Auth => "MQTT 3.1.1 has no AUTH",
                NotInVersion::TopicAlias => "MQTT 3.1.1 has no topic aliases",
                NotInVersion::SubscriptionOptions => {
                    "MQTT 3.1.1 has no subscription options but the QoS"
                }
                NotInVersion::PasswordWithoutUserName => {
                    "MQTT 3.1.1 has no password without a user name"
                }
                NotInVersion::EmptyClientId => {
                    "MQTT 3.1.1 has no empty client identifier without a clean session"
                }
                NotInVersion::ConnectReason => "MQTT 3.1.1 has no return code for this reason",
                NotInVersion::Connect => "the CONNECT is one of another version",
                NotInVersion::NoReasonCodes => "MQTT 5.0 has a reason code for each filter",
            }),
        }
    }
}

impl core::error::Error for EncodeError {}
