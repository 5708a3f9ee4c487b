//! CONNACK, the server's answer to CONNECT.
//!
//! ```text
//! | acknowledge flags | return code (3.1.1) or reason code (5.0) | properties (5.0) |
//! ```

use core::num::{NonZeroU16, NonZeroU32};

use super::{Body, Lengths};
use crate::error::NotInVersion;
use crate::packet::auth::Authentication;
use crate::property::{Block5, PropertySink, Slot, read_block, write_block};
use crate::reason::Reason;
use crate::text::Str;
use crate::wire::{Header, Reader, Sink};
use crate::{
    ConnectReason, DecodeError, DecodeErrorKind, EncodeError, Field, PacketType, PropertyId,
    ProtocolVersion, QoS, ReasonCode, UserProperties,
};

/// CONNACK: the server accepts or refuses a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct ConnAck<'a> {
    /// The answer.
    pub outcome: ConnAckOutcome,
    /// 5.0 only.
    pub properties: ConnAckProperties<'a>,
}

/// The server's answer. Session present together with a refusal cannot be written.
// [5:MQTT-3.2.2-6] [3:MQTT-3.2.2-4]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "callers match both")]
pub enum ConnAckOutcome {
    /// The connection is open.
    Accepted {
        /// The server still had the session.
        session_present: bool,
    },
    /// The connection is closed after this packet.
    Refused(ConnectReason),
}

/// The highest QoS of a server that does not take them all. A server that does has no such
/// property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "QoS 2 is not a legal value")]
pub enum MaximumQoS {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
}

impl From<MaximumQoS> for QoS {
    fn from(maximum: MaximumQoS) -> Self {
        match maximum {
            MaximumQoS::AtMostOnce => Self::AtMostOnce,
            MaximumQoS::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

/// The properties of CONNACK: what the server allows, and what it has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct ConnAckProperties<'a> {
    /// In place of what CONNECT asked for, in seconds.
    pub session_expiry_secs: Option<u32>,
    /// QoS 1 and 2 PUBLISH packets the server takes unacknowledged; absent is 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Absent is 2.
    pub maximum_qos: Option<MaximumQoS>,
    /// Absent is yes.
    pub retain_available: Option<bool>,
    /// Largest packet the server takes, in bytes; absent is no limit.
    pub packet_size_max: Option<NonZeroU32>,
    /// For a client that left its identifier empty.
    pub assigned_client_id: Option<Str<'a>>,
    /// Topic aliases the server takes; absent is 0.
    pub topic_alias_maximum: Option<u16>,
    /// For people.
    pub reason_string: Option<Str<'a>>,
    /// For the applications.
    pub user_properties: UserProperties<'a>,
    /// Absent is yes.
    pub wildcard_subscription_available: Option<bool>,
    /// Absent is yes.
    pub subscription_id_available: Option<bool>,
    /// Absent is yes.
    pub shared_subscription_available: Option<bool>,
    /// In place of the client's keep alive, in seconds.
    pub server_keep_alive_secs: Option<u16>,
    /// What to build response topics from.
    pub response_information: Option<Str<'a>>,
    /// Where else to go.
    pub server_reference: Option<Str<'a>>,
    /// Ends an enhanced authentication.
    pub authentication: Option<Authentication<'a>>,
}

impl<'a> ConnAck<'a> {
    /// An answer without properties.
    #[must_use]
    pub fn new(outcome: ConnAckOutcome) -> Self {
        Self {
            outcome,
            properties: ConnAckProperties::default(),
        }
    }

    pub(crate) fn decode(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let flags_at = reader.offset();
        let flags = reader.u8(Field::AcknowledgeFlags)?;
        // [5:MQTT-3.2.2-1]
        if flags & !1 != 0 {
            return Err(reader.error_at(
                DecodeErrorKind::ReservedBits(flags),
                Field::AcknowledgeFlags,
                flags_at,
            ));
        }
        let session_present = flags != 0;
        let code_at = reader.offset();
        let code = reader.u8(Field::ReasonCode)?;
        let reason = match (code, version) {
            (0, _) => None,
            (code, ProtocolVersion::V3_1_1) => Some(from_return_code(code)),
            (code, ProtocolVersion::V5_0) => Some(ConnectReason::read(code)),
        };
        let outcome = match reason {
            None => ConnAckOutcome::Accepted { session_present },
            // [5:MQTT-3.2.2-6] [3:MQTT-3.2.2-4]
            Some(Some(_)) if session_present => {
                let field = Field::AcknowledgeFlags;
                return Err(reader.error_at(
                    DecodeErrorKind::SessionPresentInRefusal,
                    field,
                    flags_at,
                ));
            }
            Some(Some(reason)) => ConnAckOutcome::Refused(reason),
            // [5:MQTT-3.2.2-8]
            Some(None) => {
                return Err(reader.error_at(
                    DecodeErrorKind::ReasonCode(code),
                    Field::ReasonCode,
                    code_at,
                ));
            }
        };
        Ok(Self {
            outcome,
            properties: ConnAckProperties::decode(reader, version)?,
        })
    }
}

impl ConnAck<'_> {
    /// The whole packet, where it has no properties: a good answer in 3.1.1.
    #[inline(always)]
    pub(crate) fn short(&self, version: ProtocolVersion) -> Option<[u8; 4]> {
        match (self.outcome, version) {
            (ConnAckOutcome::Accepted { session_present }, ProtocolVersion::V3_1_1) => {
                let first = PacketType::ConnAck.value() << 4;
                Some([first, 2, session_present.into(), 0])
            }
            (ConnAckOutcome::Accepted { .. } | ConnAckOutcome::Refused(_), _) => None,
        }
    }
}

impl Body for ConnAck<'_> {
    #[inline]
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        match (self.outcome, version) {
            (ConnAckOutcome::Refused(reason), ProtocolVersion::V3_1_1)
                if return_code(reason).is_none() =>
            {
                Err(EncodeError::NotInVersion(NotInVersion::ConnectReason))
            }
            (ConnAckOutcome::Accepted { .. } | ConnAckOutcome::Refused(_), _) => Ok(()),
        }
    }

    #[inline]
    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        let (session_present, code) = match (self.outcome, version) {
            (ConnAckOutcome::Accepted { session_present }, _) => (session_present, 0),
            (ConnAckOutcome::Refused(reason), ProtocolVersion::V3_1_1) => {
                (false, return_code(reason).unwrap_or_default())
            }
            (ConnAckOutcome::Refused(reason), ProtocolVersion::V5_0) => {
                (false, ReasonCode::from(reason).value())
            }
        };
        out.start(header, [session_present.into(), code]);
        write_block(version, out, &self.properties);
    }
}

/// The reason for a return code of 3.1.1.
fn from_return_code(code: u8) -> Option<ConnectReason> {
    Some(match code {
        1 => ConnectReason::UnsupportedProtocolVersion,
        2 => ConnectReason::ClientIdNotValid,
        3 => ConnectReason::ServerUnavailable,
        4 => ConnectReason::BadUserNameOrPassword,
        5 => ConnectReason::NotAuthorized,
        _ => return None,
    })
}

/// The return code of 3.1.1 for a reason. Where none fits, the server closes without CONNACK.
// [3:MQTT-3.2.2-6]
fn return_code(reason: ConnectReason) -> Option<u8> {
    Some(match reason {
        ConnectReason::UnsupportedProtocolVersion => 1,
        ConnectReason::ClientIdNotValid => 2,
        ConnectReason::ServerUnavailable | ConnectReason::ServerBusy => 3,
        ConnectReason::BadUserNameOrPassword => 4,
        ConnectReason::NotAuthorized
        | ConnectReason::Banned
        | ConnectReason::BadAuthenticationMethod => 5,
        _ => return None,
    })
}

impl<'a> ConnAckProperties<'a> {
    fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        let (mut method, mut data) = (None, None);
        let block = read_block(reader, Slot::ConnAck, version, |id, reader| {
            let field = Field::Property(id);
            match id {
                PropertyId::SessionExpiryInterval => {
                    properties.session_expiry_secs = Some(reader.u32(field)?)
                }
                PropertyId::ReceiveMaximum => {
                    properties.receive_maximum = Some(reader.non_zero_u16(id)?)
                }
                PropertyId::MaximumQoS => {
                    properties.maximum_qos = Some(if reader.flag(id)? {
                        MaximumQoS::AtLeastOnce
                    } else {
                        MaximumQoS::AtMostOnce
                    });
                }
                PropertyId::RetainAvailable => properties.retain_available = Some(reader.flag(id)?),
                PropertyId::MaximumPacketSize => {
                    properties.packet_size_max = Some(reader.non_zero_u32(id)?)
                }
                PropertyId::AssignedClientIdentifier => {
                    properties.assigned_client_id = Some(reader.str(field)?)
                }
                PropertyId::TopicAliasMaximum => {
                    properties.topic_alias_maximum = Some(reader.u16(field)?)
                }
                PropertyId::ReasonString => properties.reason_string = Some(reader.str(field)?),
                PropertyId::WildcardSubscriptionAvailable => {
                    properties.wildcard_subscription_available = Some(reader.flag(id)?);
                }
                PropertyId::SubscriptionIdentifierAvailable => {
                    properties.subscription_id_available = Some(reader.flag(id)?);
                }
                PropertyId::SharedSubscriptionAvailable => {
                    properties.shared_subscription_available = Some(reader.flag(id)?);
                }
                PropertyId::ServerKeepAlive => {
                    properties.server_keep_alive_secs = Some(reader.u16(field)?)
                }
                PropertyId::ResponseInformation => {
                    properties.response_information = Some(reader.str(field)?)
                }
                PropertyId::ServerReference => {
                    properties.server_reference = Some(reader.str(field)?)
                }
                PropertyId::AuthenticationMethod => method = Some(reader.str(field)?),
                PropertyId::AuthenticationData => data = Some(reader.binary(field)?),
                _ => return Err(reader.misplaced(id)),
            }
            Ok(())
        })?;
        properties.authentication = Authentication::from_parts(reader, method, data)?;
        properties.user_properties = block.user_properties();
        Ok(properties)
    }
}

impl Block5 for ConnAckProperties<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_secs);
        out.u16_property(
            PropertyId::ReceiveMaximum,
            self.receive_maximum.map(Into::into),
        );
        out.byte_property(
            PropertyId::MaximumQoS,
            self.maximum_qos.map(|maximum| QoS::from(maximum).into()),
        );
        out.flag_property(PropertyId::RetainAvailable, self.retain_available);
        out.u32_property(
            PropertyId::MaximumPacketSize,
            self.packet_size_max.map(Into::into),
        );
        out.bytes_property(
            PropertyId::AssignedClientIdentifier,
            self.assigned_client_id.map(Str::as_bytes),
        );
        out.u16_property(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        out.bytes_property(
            PropertyId::ReasonString,
            self.reason_string.map(Str::as_bytes),
        );
        out.user_properties(self.user_properties);
        out.flag_property(
            PropertyId::WildcardSubscriptionAvailable,
            self.wildcard_subscription_available,
        );
        out.flag_property(
            PropertyId::SubscriptionIdentifierAvailable,
            self.subscription_id_available,
        );
        out.flag_property(
            PropertyId::SharedSubscriptionAvailable,
            self.shared_subscription_available,
        );
        out.u16_property(PropertyId::ServerKeepAlive, self.server_keep_alive_secs);
        out.bytes_property(
            PropertyId::ResponseInformation,
            self.response_information.map(Str::as_bytes),
        );
        out.bytes_property(
            PropertyId::ServerReference,
            self.server_reference.map(Str::as_bytes),
        );
        Authentication::write(self.authentication, out);
    }
}
