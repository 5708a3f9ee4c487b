//! What is wrong with bytes that are no packet, and with packets that cannot be bytes.

mod display;
mod encode;
mod reply;
mod statement;

use mqtt_topic::{TopicError, TopicErrorKind};

pub use encode::{EncodeError, NotInVersion};
pub use reply::{Phase, Reply};

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
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DecodeError {
    kind: DecodeErrorKind,
    field: Field,
    offset: u32,
    packet_type: Option<PacketType>,
    version: Option<ProtocolVersion>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// A packet type that does not exist in this version.
    ReservedPacketType(u8),
    /// Another packet where only CONNECT can be.
    NotConnect,
    /// Another packet, where a PUBLISH was asked for. Not a fault of the peer.
    NotPublish,
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
    /// Connect flags with a will QoS or will retain, but without a will.
    WillFlagsWithoutWill(u8),
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
    /// A control character in a text, where these are refused.
    ControlCharacter,
    /// More properties than this side takes.
    TooManyProperties,
    /// More filters in one packet than this side takes.
    TooManyFilters,
}

/// The two classes of faults in MQTT 5.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(clippy::exhaustive_enums, reason = "the standard has these two")]
pub enum ErrorClass {
    /// The bytes cannot be parsed as the standard lays down.
    Malformed,
    /// The packet can be parsed, but its content is not allowed.
    ProtocolError,
}

/// A field of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
    /// in the form of 3.1.1, those above in the form of 5.0; the highest bit, which bridges set, is
    /// no part of it.
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
            | DecodeErrorKind::ControlCharacter
            | DecodeErrorKind::ReservedBits(_)
            | DecodeErrorKind::WillFlagsWithoutWill(_)
            | DecodeErrorKind::UnknownProperty(_)
            | DecodeErrorKind::MisplacedProperty => ErrorClass::Malformed,
            DecodeErrorKind::Topic(error) => match error.kind() {
                TopicErrorKind::NotUtf8 | TopicErrorKind::NullCharacter => ErrorClass::Malformed,
                _ => ErrorClass::ProtocolError,
            },
            DecodeErrorKind::NotConnect
            | DecodeErrorKind::NotPublish
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
            | DecodeErrorKind::DataWithoutMethod
            | DecodeErrorKind::TooManyProperties
            | DecodeErrorKind::TooManyFilters => ErrorClass::ProtocolError,
        }
    }

    /// The reason code to answer with, in 5.0.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        match (self.kind, self.field) {
            (DecodeErrorKind::PacketTooLarge { .. }, _) => ReasonCode::PacketTooLarge,
            (DecodeErrorKind::TooManyProperties | DecodeErrorKind::TooManyFilters, _) => {
                ReasonCode::QuotaExceeded
            }
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
}

impl core::error::Error for DecodeError {}
