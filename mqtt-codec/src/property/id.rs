//! The one table of properties: which there are, and which may stand where.

/// A property of MQTT 5.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the properties have the names that the standard gives them"
)]
pub enum PropertyId {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQoS = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifierAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

/// How the value of a property is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the standard has these forms")]
pub enum PropertyForm {
    /// One byte.
    Byte,
    /// A number of two bytes.
    TwoBytes,
    /// A number of four bytes.
    FourBytes,
    /// A variable byte integer.
    VarInt,
    /// A UTF-8 string with its length.
    Text,
    /// Binary data with its length.
    Binary,
    /// Two UTF-8 strings.
    Pair,
}

/// Where a property block stands: a packet, or the will in a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Connect,
    Will,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    Disconnect,
    Auth,
}

impl PropertyId {
    /// Every property, in the order of the numbers.
    pub const ALL: &[Self] = &[
        Self::PayloadFormatIndicator,
        Self::MessageExpiryInterval,
        Self::ContentType,
        Self::ResponseTopic,
        Self::CorrelationData,
        Self::SubscriptionIdentifier,
        Self::SessionExpiryInterval,
        Self::AssignedClientIdentifier,
        Self::ServerKeepAlive,
        Self::AuthenticationMethod,
        Self::AuthenticationData,
        Self::RequestProblemInformation,
        Self::WillDelayInterval,
        Self::RequestResponseInformation,
        Self::ResponseInformation,
        Self::ServerReference,
        Self::ReasonString,
        Self::ReceiveMaximum,
        Self::TopicAliasMaximum,
        Self::TopicAlias,
        Self::MaximumQoS,
        Self::RetainAvailable,
        Self::UserProperty,
        Self::MaximumPacketSize,
        Self::WildcardSubscriptionAvailable,
        Self::SubscriptionIdentifierAvailable,
        Self::SharedSubscriptionAvailable,
    ];

    /// The number.
    #[must_use]
    #[inline]
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// The property with a number.
    #[must_use]
    #[inline]
    pub const fn from_value(value: u8) -> Option<Self> {
        Some(match value {
            0x01 => Self::PayloadFormatIndicator,
            0x02 => Self::MessageExpiryInterval,
            0x03 => Self::ContentType,
            0x08 => Self::ResponseTopic,
            0x09 => Self::CorrelationData,
            0x0B => Self::SubscriptionIdentifier,
            0x11 => Self::SessionExpiryInterval,
            0x12 => Self::AssignedClientIdentifier,
            0x13 => Self::ServerKeepAlive,
            0x15 => Self::AuthenticationMethod,
            0x16 => Self::AuthenticationData,
            0x17 => Self::RequestProblemInformation,
            0x18 => Self::WillDelayInterval,
            0x19 => Self::RequestResponseInformation,
            0x1A => Self::ResponseInformation,
            0x1C => Self::ServerReference,
            0x1F => Self::ReasonString,
            0x21 => Self::ReceiveMaximum,
            0x22 => Self::TopicAliasMaximum,
            0x23 => Self::TopicAlias,
            0x24 => Self::MaximumQoS,
            0x25 => Self::RetainAvailable,
            0x26 => Self::UserProperty,
            0x27 => Self::MaximumPacketSize,
            0x28 => Self::WildcardSubscriptionAvailable,
            0x29 => Self::SubscriptionIdentifierAvailable,
            0x2A => Self::SharedSubscriptionAvailable,
            _ => return None,
        })
    }

    /// How its value is written.
    #[must_use]
    #[inline]
    pub const fn form(self) -> PropertyForm {
        match self {
            Self::PayloadFormatIndicator
            | Self::RequestProblemInformation
            | Self::RequestResponseInformation
            | Self::MaximumQoS
            | Self::RetainAvailable
            | Self::WildcardSubscriptionAvailable
            | Self::SubscriptionIdentifierAvailable
            | Self::SharedSubscriptionAvailable => PropertyForm::Byte,
            Self::ServerKeepAlive
            | Self::ReceiveMaximum
            | Self::TopicAliasMaximum
            | Self::TopicAlias => PropertyForm::TwoBytes,
            Self::MessageExpiryInterval
            | Self::SessionExpiryInterval
            | Self::WillDelayInterval
            | Self::MaximumPacketSize => PropertyForm::FourBytes,
            Self::SubscriptionIdentifier => PropertyForm::VarInt,
            Self::ContentType
            | Self::ResponseTopic
            | Self::AssignedClientIdentifier
            | Self::AuthenticationMethod
            | Self::ResponseInformation
            | Self::ServerReference
            | Self::ReasonString => PropertyForm::Text,
            Self::CorrelationData | Self::AuthenticationData => PropertyForm::Binary,
            Self::UserProperty => PropertyForm::Pair,
        }
    }

    /// A number of its own in a word of 64 bits.
    #[inline]
    pub(crate) const fn bit(self) -> u64 {
        1 << self.value()
    }

    /// Every property that may stand there, by its bit.
    pub(crate) const fn allowed_in(slot: Slot) -> u64 {
        let mut allowed = 0;
        let mut rest = Self::ALL;
        while let [first, behind @ ..] = rest {
            if first.stands_in(slot) {
                allowed |= first.bit();
            }
            rest = behind;
        }
        allowed
    }

    /// Whether the property may stand there.
    pub(crate) const fn stands_in(self, slot: Slot) -> bool {
        match self {
            Self::PayloadFormatIndicator
            | Self::MessageExpiryInterval
            | Self::ContentType
            | Self::ResponseTopic
            | Self::CorrelationData => matches!(slot, Slot::Publish | Slot::Will),
            Self::SubscriptionIdentifier => matches!(slot, Slot::Publish | Slot::Subscribe),
            Self::SessionExpiryInterval => {
                matches!(slot, Slot::Connect | Slot::ConnAck | Slot::Disconnect)
            }
            Self::AssignedClientIdentifier
            | Self::ServerKeepAlive
            | Self::ResponseInformation
            | Self::MaximumQoS
            | Self::RetainAvailable
            | Self::WildcardSubscriptionAvailable
            | Self::SubscriptionIdentifierAvailable
            | Self::SharedSubscriptionAvailable => matches!(slot, Slot::ConnAck),
            Self::AuthenticationMethod | Self::AuthenticationData => {
                matches!(slot, Slot::Connect | Slot::ConnAck | Slot::Auth)
            }
            Self::RequestProblemInformation | Self::RequestResponseInformation => {
                matches!(slot, Slot::Connect)
            }
            Self::WillDelayInterval => matches!(slot, Slot::Will),
            Self::ServerReference => matches!(slot, Slot::ConnAck | Slot::Disconnect),
            Self::ReasonString => matches!(
                slot,
                Slot::ConnAck
                    | Slot::PubAck
                    | Slot::PubRec
                    | Slot::PubRel
                    | Slot::PubComp
                    | Slot::SubAck
                    | Slot::UnsubAck
                    | Slot::Disconnect
                    | Slot::Auth
            ),
            Self::ReceiveMaximum | Self::TopicAliasMaximum | Self::MaximumPacketSize => {
                matches!(slot, Slot::Connect | Slot::ConnAck)
            }
            Self::TopicAlias => matches!(slot, Slot::Publish),
            // Every block takes user properties.
            Self::UserProperty => true,
        }
    }

    /// Whether the property may stand there more than once.
    pub(crate) const fn repeats_in(self, slot: Slot) -> bool {
        matches!(
            (self, slot),
            (Self::UserProperty, _) | (Self::SubscriptionIdentifier, Slot::Publish)
        )
    }
}
