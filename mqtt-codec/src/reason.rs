//! Reason codes: all of them, and for each packet those that it may carry.
//!
//! 3.1.1 knows few of these: its CONNACK return codes and its SUBACK failure map to them.

use core::fmt;

use crate::QoS;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// A reason code of MQTT 5.0, whatever packet it stands in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum ReasonCode {
            $(#[doc = $text] $name = $value,)*
        }

        impl ReasonCode {
            /// Every code, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number.
            #[must_use]
            pub const fn value(self) -> u8 {
                match self { $(Self::$name => $value),* }
            }

            /// The code with a number.
            #[must_use]
            pub const fn from_value(value: u8) -> Option<Self> {
                match value { $($value => Some(Self::$name),)* _ => None }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

reason_codes! {
    Success = 0x00, "Success";
    GrantedQoS1 = 0x01, "Granted QoS 1";
    GrantedQoS2 = 0x02, "Granted QoS 2";
    DisconnectWithWill = 0x04, "Disconnect with Will Message";
    NoMatchingSubscribers = 0x10, "No matching subscribers";
    NoSubscriptionExisted = 0x11, "No subscription existed";
    ContinueAuthentication = 0x18, "Continue authentication";
    ReAuthenticate = 0x19, "Re-authenticate";
    UnspecifiedError = 0x80, "Unspecified error";
    MalformedPacket = 0x81, "Malformed Packet";
    ProtocolError = 0x82, "Protocol Error";
    ImplementationSpecificError = 0x83, "Implementation specific error";
    UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version";
    ClientIdNotValid = 0x85, "Client Identifier not valid";
    BadUserNameOrPassword = 0x86, "Bad User Name or Password";
    NotAuthorized = 0x87, "Not authorized";
    ServerUnavailable = 0x88, "Server unavailable";
    ServerBusy = 0x89, "Server busy";
    Banned = 0x8A, "Banned";
    ServerShuttingDown = 0x8B, "Server shutting down";
    BadAuthenticationMethod = 0x8C, "Bad authentication method";
    KeepAliveTimeout = 0x8D, "Keep Alive timeout";
    SessionTakenOver = 0x8E, "Session taken over";
    TopicFilterInvalid = 0x8F, "Topic Filter invalid";
    TopicNameInvalid = 0x90, "Topic Name invalid";
    PacketIdInUse = 0x91, "Packet Identifier in use";
    PacketIdNotFound = 0x92, "Packet Identifier not found";
    ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded";
    TopicAliasInvalid = 0x94, "Topic Alias invalid";
    PacketTooLarge = 0x95, "Packet too large";
    MessageRateTooHigh = 0x96, "Message rate too high";
    QuotaExceeded = 0x97, "Quota exceeded";
    AdministrativeAction = 0x98, "Administrative action";
    PayloadFormatInvalid = 0x99, "Payload format invalid";
    RetainNotSupported = 0x9A, "Retain not supported";
    QoSNotSupported = 0x9B, "QoS not supported";
    UseAnotherServer = 0x9C, "Use another server";
    ServerMoved = 0x9D, "Server moved";
    SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported";
    ConnectionRateExceeded = 0x9F, "Connection rate exceeded";
    MaximumConnectTime = 0xA0, "Maximum connect time";
    SubscriptionIdsNotSupported = 0xA1, "Subscription Identifiers not supported";
    WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported";
}

impl ReasonCode {
    /// Whether the number is 0x80 or above.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.value() >= 0x80
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// A reason code that the packet in question may not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "nothing to add")]
pub struct InvalidReason;

impl fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the packet cannot carry this reason code")
    }
}

impl core::error::Error for InvalidReason {}

/// One packet's own reason codes, as a subset of all.
pub(crate) trait Reason: Copy + TryFrom<ReasonCode> + Into<ReasonCode> {
    fn read(value: u8) -> Option<Self> {
        ReasonCode::from_value(value).and_then(|code| Self::try_from(code).ok())
    }
}

macro_rules! reasons_of_a_packet {
    ($(#[$doc:meta])* $type:ident { $($name:ident => $code:ident $(as $text:literal)?,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum $type {
            $(
                #[doc = concat!("[`ReasonCode::", stringify!($code), "`].")]
                $name,
            )*
        }

        impl From<$type> for ReasonCode {
            fn from(reason: $type) -> Self {
                match reason { $($type::$name => Self::$code),* }
            }
        }

        impl TryFrom<ReasonCode> for $type {
            type Error = InvalidReason;

            fn try_from(code: ReasonCode) -> Result<Self, InvalidReason> {
                match code { $(ReasonCode::$code => Ok(Self::$name),)* _ => Err(InvalidReason) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // A code may have a name of its own in a packet.
                f.pad(match self {
                    $(Self::$name => None $(.or(Some($text)))?.unwrap_or(ReasonCode::$code.text()),)*
                })
            }
        }

        impl Reason for $type {}
    };
}

reasons_of_a_packet! {
    /// Why a server refuses a CONNECT. Success is not among these: it has a form of its own.
    // [5:MQTT-3.2.2-8]
    ConnectReason {
        UnspecifiedError => UnspecifiedError,
        MalformedPacket => MalformedPacket,
        ProtocolError => ProtocolError,
        ImplementationSpecificError => ImplementationSpecificError,
        UnsupportedProtocolVersion => UnsupportedProtocolVersion,
        ClientIdNotValid => ClientIdNotValid,
        BadUserNameOrPassword => BadUserNameOrPassword,
        NotAuthorized => NotAuthorized,
        ServerUnavailable => ServerUnavailable,
        ServerBusy => ServerBusy,
        Banned => Banned,
        BadAuthenticationMethod => BadAuthenticationMethod,
        TopicNameInvalid => TopicNameInvalid,
        PacketTooLarge => PacketTooLarge,
        QuotaExceeded => QuotaExceeded,
        PayloadFormatInvalid => PayloadFormatInvalid,
        RetainNotSupported => RetainNotSupported,
        QoSNotSupported => QoSNotSupported,
        UseAnotherServer => UseAnotherServer,
        ServerMoved => ServerMoved,
        ConnectionRateExceeded => ConnectionRateExceeded,
    }
}

reasons_of_a_packet! {
    /// What became of a PUBLISH, in PUBACK and PUBREC.
    // [5:MQTT-3.4.2-1] [5:MQTT-3.5.2-1]
    PublishReason {
        Success => Success,
        NoMatchingSubscribers => NoMatchingSubscribers,
        UnspecifiedError => UnspecifiedError,
        ImplementationSpecificError => ImplementationSpecificError,
        NotAuthorized => NotAuthorized,
        TopicNameInvalid => TopicNameInvalid,
        PacketIdInUse => PacketIdInUse,
        QuotaExceeded => QuotaExceeded,
        PayloadFormatInvalid => PayloadFormatInvalid,
    }
}

reasons_of_a_packet! {
    /// How the second half of a QoS 2 flow stands, in PUBREL and PUBCOMP.
    // [5:MQTT-3.6.2-1] [5:MQTT-3.7.2-1]
    ReleaseReason {
        Success => Success,
        PacketIdNotFound => PacketIdNotFound,
    }
}

reasons_of_a_packet! {
    /// What became of one filter of a SUBSCRIBE.
    // [5:MQTT-3.9.3-2] [3:MQTT-3.9.3-2] In 3.1.1 every failure is 0x80.
    SubscribeReason {
        GrantedQoS0 => Success as "Granted QoS 0",
        GrantedQoS1 => GrantedQoS1,
        GrantedQoS2 => GrantedQoS2,
        UnspecifiedError => UnspecifiedError,
        ImplementationSpecificError => ImplementationSpecificError,
        NotAuthorized => NotAuthorized,
        TopicFilterInvalid => TopicFilterInvalid,
        PacketIdInUse => PacketIdInUse,
        QuotaExceeded => QuotaExceeded,
        SharedSubscriptionsNotSupported => SharedSubscriptionsNotSupported,
        SubscriptionIdsNotSupported => SubscriptionIdsNotSupported,
        WildcardSubscriptionsNotSupported => WildcardSubscriptionsNotSupported,
    }
}

impl SubscribeReason {
    /// The QoS that was granted; `None` for a failure.
    #[must_use]
    pub const fn granted(self) -> Option<QoS> {
        match self {
            Self::GrantedQoS0 => Some(QoS::AtMostOnce),
            Self::GrantedQoS1 => Some(QoS::AtLeastOnce),
            Self::GrantedQoS2 => Some(QoS::ExactlyOnce),
            _failure => None,
        }
    }
}

/// Granted.
impl From<QoS> for SubscribeReason {
    fn from(granted: QoS) -> Self {
        match granted {
            QoS::AtMostOnce => Self::GrantedQoS0,
            QoS::AtLeastOnce => Self::GrantedQoS1,
            QoS::ExactlyOnce => Self::GrantedQoS2,
        }
    }
}

reasons_of_a_packet! {
    /// What became of one filter of an UNSUBSCRIBE.
    // [5:MQTT-3.11.3-2]
    UnsubscribeReason {
        Success => Success,
        NoSubscriptionExisted => NoSubscriptionExisted,
        UnspecifiedError => UnspecifiedError,
        ImplementationSpecificError => ImplementationSpecificError,
        NotAuthorized => NotAuthorized,
        TopicFilterInvalid => TopicFilterInvalid,
        PacketIdInUse => PacketIdInUse,
    }
}

reasons_of_a_packet! {
    /// Why one side ends a connection. Codes that only the other side should send are taken all
    /// the same.
    // [5:MQTT-3.14.2-1]
    DisconnectReason {
        NormalDisconnection => Success as "Normal disconnection",
        DisconnectWithWill => DisconnectWithWill,
        UnspecifiedError => UnspecifiedError,
        MalformedPacket => MalformedPacket,
        ProtocolError => ProtocolError,
        ImplementationSpecificError => ImplementationSpecificError,
        NotAuthorized => NotAuthorized,
        ServerBusy => ServerBusy,
        ServerShuttingDown => ServerShuttingDown,
        BadAuthenticationMethod => BadAuthenticationMethod,
        KeepAliveTimeout => KeepAliveTimeout,
        SessionTakenOver => SessionTakenOver,
        TopicFilterInvalid => TopicFilterInvalid,
        TopicNameInvalid => TopicNameInvalid,
        ReceiveMaximumExceeded => ReceiveMaximumExceeded,
        TopicAliasInvalid => TopicAliasInvalid,
        PacketTooLarge => PacketTooLarge,
        MessageRateTooHigh => MessageRateTooHigh,
        QuotaExceeded => QuotaExceeded,
        AdministrativeAction => AdministrativeAction,
        PayloadFormatInvalid => PayloadFormatInvalid,
        RetainNotSupported => RetainNotSupported,
        QoSNotSupported => QoSNotSupported,
        UseAnotherServer => UseAnotherServer,
        ServerMoved => ServerMoved,
        SharedSubscriptionsNotSupported => SharedSubscriptionsNotSupported,
        ConnectionRateExceeded => ConnectionRateExceeded,
        MaximumConnectTime => MaximumConnectTime,
        SubscriptionIdsNotSupported => SubscriptionIdsNotSupported,
        WildcardSubscriptionsNotSupported => WildcardSubscriptionsNotSupported,
    }
}

reasons_of_a_packet! {
    /// How an enhanced authentication stands, in AUTH.
    // [5:MQTT-3.15.2-1]
    AuthReason {
        Success => Success,
        ContinueAuthentication => ContinueAuthentication,
        ReAuthenticate => ReAuthenticate,
    }
}
