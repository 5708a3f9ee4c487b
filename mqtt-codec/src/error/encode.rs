//! Packets that cannot be bytes.

use core::fmt;

/// Why a packet cannot be written. Nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
    /// A filter that starts with `$share/` and has no valid group and filter behind it, in 5.0. In
    /// 3.1.1 it is one like any other.
    SharedFilter,
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
                NotInVersion::SharedFilter => "MQTT 5.0 has a group and a filter behind '$share/'",
            }),
        }
    }
}

impl core::error::Error for EncodeError {}
