//! CONNECT, the first packet of a client.
//!
//! ```text
//! | protocol name | level | flags | keep alive | properties (5.0) |
//! | client id | will properties (5.0) | will topic | will payload | user name | password |
//! ```

use core::num::{NonZeroU16, NonZeroU32};

use mqtt_topic::TopicName;

use super::{Body, Lengths};
use crate::decoder::Rule;
use crate::error::NotInVersion;
use crate::packet::auth::Authentication;
use crate::packet::publish::PayloadFormat;
use crate::property::{Block5, PropertySink, Slot, read_block, write_block};
use crate::text::{Binary, Str};
use crate::wire::{Header, Reader, Sink, length};
use crate::{
    DecodeError, DecodeErrorKind, EncodeError, Field, PropertyId, ProtocolVersion, QoS,
    UserProperties,
};

const PROTOCOL_NAME: &[u8; 4] = b"MQTT";

const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
pub(crate) const WILL_QOS: u8 = 0b0001_1000;
const WILL_QOS_SHIFT: u32 = 3;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// CONNECT: a client asks for a connection.
///
/// ```
/// use mqtt_codec::{Connect, ProtocolVersion, Str};
///
/// let connect = Connect {
///     keep_alive_secs: 30,
///     clean_start: false,
///     ..Connect::new(ProtocolVersion::V5_0, Str::new("subscriber-1")?)
/// };
/// # assert_eq!(connect.client_id, "subscriber-1");
/// # Ok::<(), mqtt_codec::StrError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct Connect<'a> {
    /// The version that the whole connection speaks.
    pub version: ProtocolVersion,
    /// Start without the session that the server may have. In 3.1.1 (Clean Session) also: keep
    /// none afterwards.
    pub clean_start: bool,
    /// Longest silence of the client, in seconds; 0 is no limit.
    pub keep_alive_secs: u16,
    /// The name of the session. Empty: the server assigns one.
    pub client_id: Str<'a>,
    /// What the server publishes when the client is gone without a DISCONNECT.
    pub will: Option<Will<'a>>,
    /// For the server to check.
    pub user_name: Option<Str<'a>>,
    /// For the server to check.
    pub password: Option<Binary<'a>>,
    /// 5.0 only.
    pub properties: ConnectProperties<'a>,
}

/// The properties of CONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct ConnectProperties<'a> {
    /// How long the server keeps the session afterwards, in seconds; absent is 0, `u32::MAX` for
    /// ever.
    pub session_expiry_secs: Option<u32>,
    /// QoS 1 and 2 PUBLISH packets the client takes unacknowledged; absent is 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Largest packet the client takes, in bytes; absent is no limit.
    pub packet_size_max: Option<NonZeroU32>,
    /// Topic aliases the client takes; absent is 0.
    pub topic_alias_maximum: Option<u16>,
    /// Whether the server should send Response Information; absent is no.
    pub request_response_information: Option<bool>,
    /// Whether the server may explain failures; absent is yes.
    pub request_problem_information: Option<bool>,
    /// Begins an enhanced authentication.
    pub authentication: Option<Authentication<'a>>,
    /// For the applications.
    pub user_properties: UserProperties<'a>,
}

/// A message that the server publishes when the client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct Will<'a> {
    /// Where to.
    pub topic: TopicName<'a>,
    /// What.
    pub payload: Binary<'a>,
    /// At which QoS.
    pub qos: QoS,
    /// Whether the server keeps it for later subscribers.
    pub retain: bool,
    /// 5.0 only.
    pub properties: WillProperties<'a>,
}

/// The properties of a will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct WillProperties<'a> {
    /// How long the server waits for the client to come back, in seconds; absent is 0.
    pub delay_secs: Option<u32>,
    /// Whether the payload is text.
    pub payload_format: Option<PayloadFormat>,
    /// How long the message is worth delivering, in seconds from its publication.
    pub message_expiry_secs: Option<u32>,
    /// What the payload is.
    pub content_type: Option<Str<'a>>,
    /// Where an answer should go.
    pub response_topic: Option<TopicName<'a>>,
    /// What an answer should carry.
    pub correlation_data: Option<Binary<'a>>,
    /// For the applications.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Connect<'a> {
    /// A clean start with a keep alive of 60 seconds and nothing else.
    #[must_use]
    pub fn new(version: ProtocolVersion, client_id: Str<'a>) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive_secs: 60,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let version = read_version(reader)?;
        reader.set_version(version);
        let flags_at = reader.offset();
        let flags = reader.u8(Field::ConnectFlags)?;
        let fault =
            |reader: &Reader<'_>, kind| reader.error_at(kind, Field::ConnectFlags, flags_at);
        // [5:MQTT-3.1.2-3] [3:MQTT-3.1.2-3]
        if flags & 1 != 0 && !reader.tolerates(Rule::ReservedConnectFlag) {
            return Err(fault(reader, DecodeErrorKind::ReservedBits(flags)));
        }
        // [5:MQTT-3.1.2-11] [5:MQTT-3.1.2-13] [3:MQTT-3.1.2-11] [3:MQTT-3.1.2-13] [3:MQTT-3.1.2-15]
        let mut will_qos = QoS::AtMostOnce;
        if flags & (WILL | WILL_QOS | WILL_RETAIN) != 0 {
            if flags & WILL == 0 && !reader.tolerates(Rule::WillFlagsWithoutWill) {
                return Err(fault(reader, DecodeErrorKind::WillFlagsWithoutWill(flags)));
            }
            // [5:MQTT-3.1.2-12] [3:MQTT-3.1.2-14]
            will_qos = match QoS::try_from((flags & WILL_QOS) >> WILL_QOS_SHIFT) {
                Err(_) if flags & WILL != 0 => return Err(fault(reader, DecodeErrorKind::QoS3)),
                qos => qos.unwrap_or_default(),
            };
        }
        // [3:MQTT-3.1.2-22] Allowed in 5.0.
        if version == ProtocolVersion::V3_1_1
            && flags & (USER_NAME | PASSWORD) == PASSWORD
            && !reader.tolerates(Rule::PasswordWithoutUserName)
        {
            return Err(fault(reader, DecodeErrorKind::PasswordWithoutUserName));
        }
        let keep_alive_secs = reader.u16(Field::KeepAlive)?;
        let properties = ConnectProperties::decode(reader, version)?;
        // [5:MQTT-3.1.3-1] [3:MQTT-3.1.3-1] In this order; [5:MQTT-3.1.3-3] [3:MQTT-3.1.3-3] the client identifier always.
        // [5:MQTT-3.1.3-4] [5:MQTT-3.1.3-11] [5:MQTT-3.1.3-12] [3:MQTT-3.1.3-4] [3:MQTT-3.1.3-10] [3:MQTT-3.1.3-11]
        let client_id = reader.str(Field::ClientId)?;
        // [5:MQTT-3.1.2-9] [3:MQTT-3.1.2-9]
        let will = if flags & WILL != 0 {
            let retain = flags & WILL_RETAIN != 0;
            Some(Will::decode(reader, version, will_qos, retain)?)
        } else {
            None
        };
        // [5:MQTT-3.1.2-16] [5:MQTT-3.1.2-17] [5:MQTT-3.1.2-18] [5:MQTT-3.1.2-19]
        // [3:MQTT-3.1.2-18] [3:MQTT-3.1.2-19] [3:MQTT-3.1.2-20] [3:MQTT-3.1.2-21] As the flags say, and nothing behind.
        let user_name = if flags & USER_NAME != 0 {
            Some(reader.str(Field::UserName)?)
        } else {
            None
        };
        let password = if flags & PASSWORD != 0 {
            Some(reader.binary(Field::Password)?)
        } else {
            None
        };
        reader.finish()?;
        Ok(Self {
            version,
            clean_start: flags & CLEAN_START != 0,
            keep_alive_secs,
            client_id,
            will,
            user_name,
            password,
            properties,
        })
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let will = self.will.as_ref().map_or(0, |will| {
            WILL | (u8::from(will.qos) << WILL_QOS_SHIFT) | flag(will.retain, WILL_RETAIN)
        });
        will | flag(self.clean_start, CLEAN_START)
            | flag(self.password.is_some(), PASSWORD)
            | flag(self.user_name.is_some(), USER_NAME)
    }
}

impl Body for Connect<'_> {
    #[inline]
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if self.version != version {
            return Err(EncodeError::NotInVersion(NotInVersion::Connect));
        }
        if version == ProtocolVersion::V3_1_1 {
            if self.password.is_some() && self.user_name.is_none() {
                return Err(EncodeError::NotInVersion(
                    NotInVersion::PasswordWithoutUserName,
                ));
            }
            // [3:MQTT-3.1.3-7]
            if self.client_id.is_empty() && !self.clean_start {
                return Err(EncodeError::NotInVersion(NotInVersion::EmptyClientId));
            }
        }
        Ok(())
    }

    #[inline]
    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        let [high, low] = self.keep_alive_secs.to_be_bytes();
        out.start(header, length(PROTOCOL_NAME));
        let [m, q, t, u] = *PROTOCOL_NAME;
        out.put(&[m, q, t, u, version.level(), self.flags(), high, low]);
        write_block(version, out, &self.properties);
        out.bytes(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            write_block(version, out, &will.properties);
            out.bytes(will.topic.as_bytes());
            out.bytes(will.payload.as_bytes());
        }
        if let Some(user_name) = self.user_name {
            out.bytes(user_name.as_bytes());
        }
        if let Some(password) = self.password {
            out.bytes(password.as_bytes());
        }
    }
}

/// Level 4, with the bit by which bridges tell that they are some.
const BRIDGE_LEVEL: u8 = 0x84;

/// The protocol name and level.
// [5:MQTT-3.1.2-1] [3:MQTT-3.1.2-1]
fn read_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, DecodeError> {
    let name_at = reader.offset();
    let name = reader.bytes(Field::ProtocolName)?;
    let level_at = reader.offset();
    let level = reader.u8(Field::ProtocolLevel)?;
    let is_name = name == PROTOCOL_NAME;
    match (name, ProtocolVersion::from_level(level)) {
        (_, Some(version)) if is_name => Ok(version),
        (_, None) if is_name && level == BRIDGE_LEVEL && reader.tolerates(Rule::BridgeLevel) => {
            Ok(ProtocolVersion::V3_1_1)
        }
        // `MQIsdp` is the name of version 3.1, which has level 3; one of its bridges has 0x83.
        (b"MQTT" | b"MQIsdp", None) if is_name || level & 0x7F == 3 => Err(reader.error_at(
            DecodeErrorKind::ProtocolLevel(level),
            Field::ProtocolLevel,
            level_at,
        )),
        (_, _) => Err(reader.error_at(DecodeErrorKind::ProtocolName, Field::ProtocolName, name_at)),
    }
}

impl<'a> ConnectProperties<'a> {
    fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        let (mut method, mut data) = (None, None);
        let block = read_block(reader, Slot::Connect, version, |id, reader| {
            let field = Field::Property(id);
            match id {
                PropertyId::SessionExpiryInterval => {
                    properties.session_expiry_secs = Some(reader.u32(field)?)
                }
                PropertyId::ReceiveMaximum => {
                    properties.receive_maximum = Some(reader.non_zero_u16(id)?)
                }
                PropertyId::MaximumPacketSize => {
                    properties.packet_size_max = Some(reader.non_zero_u32(id)?)
                }
                PropertyId::TopicAliasMaximum => {
                    properties.topic_alias_maximum = Some(reader.u16(field)?)
                }
                PropertyId::RequestResponseInformation => {
                    properties.request_response_information = Some(reader.flag(id)?);
                }
                PropertyId::RequestProblemInformation => {
                    properties.request_problem_information = Some(reader.flag(id)?);
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

impl Block5 for ConnectProperties<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_secs);
        out.u16_property(
            PropertyId::ReceiveMaximum,
            self.receive_maximum.map(Into::into),
        );
        out.u32_property(
            PropertyId::MaximumPacketSize,
            self.packet_size_max.map(Into::into),
        );
        out.u16_property(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        out.flag_property(
            PropertyId::RequestResponseInformation,
            self.request_response_information,
        );
        out.flag_property(
            PropertyId::RequestProblemInformation,
            self.request_problem_information,
        );
        Authentication::write(self.authentication, out);
        out.user_properties(self.user_properties);
    }
}

impl<'a> Will<'a> {
    /// A will at QoS 0 that is not retained.
    #[must_use]
    pub fn new(topic: TopicName<'a>, payload: Binary<'a>) -> Self {
        Self {
            topic,
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            properties: WillProperties::default(),
        }
    }

    fn decode(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
        qos: QoS,
        retain: bool,
    ) -> Result<Self, DecodeError> {
        let properties = WillProperties::decode(reader, version)?;
        let topic = reader.topic_name(Field::WillTopic)?;
        let payload = reader.binary(Field::WillPayload)?;
        Ok(Self {
            topic,
            payload,
            qos,
            retain,
            properties,
        })
    }
}

impl<'a> WillProperties<'a> {
    fn decode(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        let block = read_block(reader, Slot::Will, version, |id, reader| {
            let field = Field::Property(id);
            match id {
                PropertyId::WillDelayInterval => properties.delay_secs = Some(reader.u32(field)?),
                PropertyId::PayloadFormatIndicator => {
                    properties.payload_format = Some(PayloadFormat::read(reader)?)
                }
                PropertyId::MessageExpiryInterval => {
                    properties.message_expiry_secs = Some(reader.u32(field)?)
                }
                PropertyId::ContentType => properties.content_type = Some(reader.str(field)?),
                PropertyId::ResponseTopic => {
                    properties.response_topic = Some(reader.topic_name(field)?)
                }
                PropertyId::CorrelationData => {
                    properties.correlation_data = Some(reader.binary(field)?)
                }
                _ => return Err(reader.misplaced(id)),
            }
            Ok(())
        })?;
        properties.user_properties = block.user_properties();
        Ok(properties)
    }
}

impl Block5 for WillProperties<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        out.u32_property(PropertyId::WillDelayInterval, self.delay_secs);
        out.byte_property(
            PropertyId::PayloadFormatIndicator,
            self.payload_format.map(PayloadFormat::value),
        );
        out.u32_property(PropertyId::MessageExpiryInterval, self.message_expiry_secs);
        out.bytes_property(
            PropertyId::ContentType,
            self.content_type.map(Str::as_bytes),
        );
        out.bytes_property(
            PropertyId::ResponseTopic,
            self.response_topic.map(TopicName::as_bytes),
        );
        out.bytes_property(
            PropertyId::CorrelationData,
            self.correlation_data.map(Binary::as_bytes),
        );
        out.user_properties(self.user_properties);
    }
}
