//! PUBLISH, a message on its way.
//!
//! ```text
//! flags: DUP, QoS (2), RETAIN
//! | topic name | packet identifier (QoS 1 and 2) | properties (5.0) | payload |
//! ```

use core::fmt;

use mqtt_topic::TopicName;

use super::{Body, Lengths, plain_properties};
use crate::error::NotInVersion;
#[cfg(feature = "alloc")]
use crate::property::{Block, next_property, read_properties};
use crate::property::{Block5, PropertySink, Slot, SubscriptionIds, block_len, read_block};
use crate::text::{Binary, Str};
#[cfg(feature = "alloc")]
use crate::wire::Context;
use crate::wire::{Header, Reader, Sink, length, var_int_len};
use crate::{
    DecodeError, DecodeErrorKind, Delivery, EncodeError, Field, PacketId, PacketType, PropertyId,
    ProtocolVersion, TopicAlias, UserProperties,
};

/// PUBLISH: one message.
///
/// `Debug` shows the length of the payload, not the payload.
#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct Publish<'a> {
    /// QoS, packet identifier and DUP.
    pub delivery: Delivery,
    /// To a server: keep it for later subscribers. To a client: it had been kept.
    pub retain: bool,
    /// Where to.
    pub topic: PublishTopic<'a>,
    /// 5.0 only.
    pub properties: PublishProperties<'a>,
    /// What.
    pub payload: &'a [u8],
}

/// The topic of a PUBLISH, a number for it, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a PUBLISH with neither does not exist"
)]
pub enum PublishTopic<'a> {
    /// The topic.
    Name(TopicName<'a>),
    /// The topic, and from now on on this connection the alias for it (5.0).
    NameAndAlias(TopicName<'a>, TopicAlias),
    /// The topic that an earlier PUBLISH on this connection set the alias for (5.0).
    Alias(TopicAlias),
}

impl<'a> PublishTopic<'a> {
    /// The topic, if it is in the packet.
    #[must_use]
    pub const fn name(self) -> Option<TopicName<'a>> {
        match self {
            Self::Name(name) | Self::NameAndAlias(name, _) => Some(name),
            Self::Alias(_) => None,
        }
    }

    /// The alias, if there is one.
    #[must_use]
    pub const fn alias(self) -> Option<TopicAlias> {
        match self {
            Self::Name(_) => None,
            Self::NameAndAlias(_, alias) | Self::Alias(alias) => Some(alias),
        }
    }
}

/// The properties of PUBLISH, but for the alias, which is a form of the topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct PublishProperties<'a> {
    /// Whether the payload is text.
    pub payload_format: Option<PayloadFormat>,
    /// How long the message is worth delivering, in seconds; absent is for ever.
    pub message_expiry_secs: Option<u32>,
    /// Where an answer should go.
    pub response_topic: Option<TopicName<'a>>,
    /// What an answer should carry.
    pub correlation_data: Option<Binary<'a>>,
    /// What the payload is.
    pub content_type: Option<Str<'a>>,
    /// The identifiers of the subscriptions that matched. Only from a server.
    pub subscription_ids: SubscriptionIds<'a>,
    /// For the applications.
    pub user_properties: UserProperties<'a>,
}

/// What a payload is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the standard has these two")]
pub enum PayloadFormat {
    /// Bytes.
    Unspecified,
    /// UTF-8.
    Utf8,
}

impl PayloadFormat {
    pub(crate) const fn value(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::Utf8 => 1,
        }
    }

    #[cfg(feature = "serde")]
    pub(crate) const fn from_value(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Unspecified),
            1 => Some(Self::Utf8),
            _ => None,
        }
    }

    // Silent in the standard for a value above 1; a protocol error here.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if reader.flag(PropertyId::PayloadFormatIndicator)? {
            Self::Utf8
        } else {
            Self::Unspecified
        })
    }
}

impl<'a> Publish<'a> {
    /// A message at QoS 0 without properties.
    #[must_use]
    pub fn new(topic: TopicName<'a>, payload: &'a [u8]) -> Self {
        Self {
            delivery: Delivery::AtMostOnce,
            retain: false,
            topic: PublishTopic::Name(topic),
            properties: PublishProperties::default(),
            payload,
        }
    }

    // The packet is large, so it is built where it is wanted: `done` says what is around it.
    #[inline(always)]
    pub(crate) fn decode<T>(
        flags: u8,
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
        done: impl Fn(Self) -> T,
    ) -> Result<T, DecodeError> {
        // [5:MQTT-3.3.2-1] [3:MQTT-3.3.2-1] The topic is first.
        let topic = reader.bytes(Field::TopicName)?;
        // An empty one can be made good by an alias, in 5.0.
        if topic.is_empty() && version == ProtocolVersion::V5_0 {
            let missing_at = reader.offset();
            let delivery = Delivery::read(flags, reader)?;
            return Self::decode_apart(flags, Err(missing_at), delivery, reader).map(done);
        }
        let name = reader.parse_topic_name(topic, Field::TopicName)?;
        let delivery = Delivery::read(flags, reader)?;
        if version == ProtocolVersion::V5_0 && !reader.skip_zero() {
            return Self::decode_apart(flags, Ok(name), delivery, reader).map(done);
        }
        Ok(done(Self {
            delivery,
            retain: flags & 1 != 0,
            topic: PublishTopic::Name(name),
            properties: PublishProperties::default(),
            payload: reader.take_rest(),
        }))
    }

    /// As [`decode_block`](Self::decode_block), which takes the address of its reader: of another
    /// one, so that the one of all other packets stays in registers.
    #[inline(always)]
    fn decode_apart(
        flags: u8,
        name: Result<TopicName<'a>, usize>,
        delivery: Delivery,
        reader: &mut Reader<'a>,
    ) -> Result<Self, DecodeError> {
        let mut apart = reader.clone();
        let publish = Self::decode_block(flags, name, delivery, &mut apart);
        *reader = apart;
        publish
    }

    /// The rest, behind the packet identifier. Without a name it is told where that would be.
    #[inline(never)]
    fn decode_block(
        flags: u8,
        name: Result<TopicName<'a>, usize>,
        delivery: Delivery,
        reader: &mut Reader<'a>,
    ) -> Result<Self, DecodeError> {
        let mut properties = PublishProperties::default();
        let alias = properties.decode(reader)?;
        let topic = match (name, alias) {
            (Ok(name), None) => PublishTopic::Name(name),
            (Ok(name), Some(alias)) => PublishTopic::NameAndAlias(name, alias),
            (Err(_), Some(alias)) => PublishTopic::Alias(alias),
            (Err(missing_at), None) => {
                let kind = DecodeErrorKind::NoTopic;
                return Err(reader.error_at(kind, Field::TopicName, missing_at));
            }
        };
        Ok(Self {
            delivery,
            retain: flags & 1 != 0,
            topic,
            properties,
            payload: reader.take_rest(),
        })
    }

    #[inline]
    pub(crate) fn header_flags(&self) -> (PacketType, u8) {
        header_flags(self.delivery, self.retain)
    }

    /// With a payload of so many bytes, less than 2^63.
    #[inline(always)]
    pub(crate) fn lengths_for(
        &self,
        version: ProtocolVersion,
        payload_len: usize,
    ) -> Result<Lengths, EncodeError> {
        let wide = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let id_len = if self.delivery.id().is_some() { 2 } else { 0 };
        let (block, block_len) = match version {
            ProtocolVersion::V3_1_1 => (0, 0),
            ProtocolVersion::V5_0 => {
                let block = block_len(&self.block());
                let narrow = u32::try_from(block).unwrap_or(u32::MAX);
                (narrow, block.saturating_add(wide(var_int_len(narrow))))
            }
        };
        // All of it is in memory, but for a payload of which only the length is known.
        let head = wide(self.topic_bytes().len())
            .wrapping_add(id_len)
            .wrapping_add(2);
        let len = head.wrapping_add(block_len).wrapping_add(wide(payload_len));
        Lengths::new(len, block)
    }

    #[inline(always)]
    pub(crate) fn write_head<S: Sink>(
        &self,
        version: ProtocolVersion,
        lengths: Lengths,
        header: Header,
        out: &mut S,
    ) {
        let topic = self.topic_bytes();
        out.start(header, length(topic));
        out.put_short(topic);
        if let Some(id) = self.delivery.id() {
            out.put(&id.get().to_be_bytes());
        }
        if version == ProtocolVersion::V5_0 {
            out.var_int(lengths.block);
            if lengths.block > 0 {
                self.block().write(out);
            }
        }
    }

    /// All there is, if the packet has neither alias nor properties.
    #[inline(always)]
    pub(crate) fn plain(&self, version: ProtocolVersion) -> Option<Plain<'a>> {
        let PublishTopic::Name(topic) = self.topic else {
            return None;
        };
        if version == ProtocolVersion::V5_0 && !self.block().is_empty() {
            return None;
        }
        Some(Plain {
            topic: topic.as_bytes(),
            id: self.delivery.id(),
            payload: self.payload,
        })
    }

    #[inline]
    fn topic_bytes(&self) -> &'a [u8] {
        let name = self.topic.name();
        name.map(TopicName::as_bytes).unwrap_or_default()
    }

    #[inline]
    fn block(&self) -> WithAlias<'_, 'a> {
        WithAlias {
            properties: &self.properties,
            alias: self.topic.alias(),
        }
    }
}

#[inline]
pub(crate) fn header_flags(delivery: Delivery, retain: bool) -> (PacketType, u8) {
    let of_delivery = match delivery {
        Delivery::AtMostOnce => 0b0000,
        Delivery::AtLeastOnce { dup: false, .. } => 0b0010,
        Delivery::AtLeastOnce { dup: true, .. } => 0b1010,
        Delivery::ExactlyOnce { dup: false, .. } => 0b0100,
        Delivery::ExactlyOnce { dup: true, .. } => 0b1100,
    };
    (PacketType::Publish, of_delivery | u8::from(retain))
}

/// A PUBLISH without properties.
pub(crate) struct Plain<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) id: Option<PacketId>,
    pub(crate) payload: &'a [u8],
}

impl Body for Plain<'_> {
    #[inline(always)]
    fn lengths(&self, version: ProtocolVersion) -> Result<Lengths, EncodeError> {
        let wide = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let middle_len = match (self.id, version) {
            (None, ProtocolVersion::V3_1_1) => 2,
            (None, ProtocolVersion::V5_0) => 3,
            (Some(_), ProtocolVersion::V3_1_1) => 4,
            (Some(_), ProtocolVersion::V5_0) => 5,
        };
        // All of it is in memory.
        let len = wide(self.topic.len()).wrapping_add(wide(self.payload.len()));
        Lengths::new(len.wrapping_add(middle_len), 0)
    }

    #[inline(always)]
    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        out.start(header, length(self.topic));
        out.put_short(self.topic);
        match (self.id.map(|id| id.get().to_be_bytes()), version) {
            (None, ProtocolVersion::V3_1_1) => {}
            (Some(id), ProtocolVersion::V3_1_1) => out.put(&id),
            (None, ProtocolVersion::V5_0) => out.u8(0),
            (Some([high, low]), ProtocolVersion::V5_0) => out.put(&[high, low, 0]),
        }
        out.put(self.payload);
    }
}

/// A PUBLISH with an alias in place of its topic, and no other property.
#[cfg(feature = "alloc")]
pub(crate) struct PlainAliased<'a> {
    pub(crate) alias: TopicAlias,
    pub(crate) id: Option<PacketId>,
    pub(crate) payload: &'a [u8],
}

#[cfg(feature = "alloc")]
impl Body for PlainAliased<'_> {
    #[inline(always)]
    fn lengths(&self, _: ProtocolVersion) -> Result<Lengths, EncodeError> {
        // The length of the topic, which is 0, the properties with their length, and the identifier.
        let head = if self.id.is_some() { 8 } else { 6 };
        let payload_len = u64::try_from(self.payload.len()).unwrap_or(u64::MAX);
        Lengths::new(payload_len.wrapping_add(head), 0)
    }

    #[inline(always)]
    fn write<S: Sink>(&self, _: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        let [high, low] = self.alias.get().to_be_bytes();
        out.start(header, [0, 0]);
        if let Some(id) = self.id {
            out.put(&id.get().to_be_bytes());
        }
        out.put(&[3, PropertyId::TopicAlias.value(), high, low]);
        out.put(self.payload);
    }
}

impl Body for Publish<'_> {
    #[inline(always)]
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        match (self.topic, version) {
            (PublishTopic::Alias(_), ProtocolVersion::V3_1_1) => {
                Err(EncodeError::NotInVersion(NotInVersion::TopicAlias))
            }
            (
                PublishTopic::Alias(_) | PublishTopic::Name(_) | PublishTopic::NameAndAlias(..),
                _,
            ) => Ok(()),
        }
    }

    #[inline(always)]
    fn lengths(&self, version: ProtocolVersion) -> Result<Lengths, EncodeError> {
        self.lengths_for(version, self.payload.len())
    }

    #[inline(always)]
    fn write<S: Sink>(
        &self,
        version: ProtocolVersion,
        lengths: Lengths,
        header: Header,
        out: &mut S,
    ) {
        self.write_head(version, lengths, header, out);
        out.put(self.payload);
    }
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("delivery", &self.delivery)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("properties", &self.properties)
            .field("payload_len", &self.payload.len())
            .finish()
    }
}

impl<'a> PublishProperties<'a> {
    /// A block that is there.
    #[inline(always)]
    fn decode(&mut self, reader: &mut Reader<'a>) -> Result<Option<TopicAlias>, DecodeError> {
        if reader.is_as_usual() {
            if let Some(behind) = plain_properties::read(self, reader.rest()) {
                reader.skip_to(behind);
                return Ok(None);
            }
            *self = Self::default();
        }
        self.decode_carefully(reader)
    }

    #[inline(never)]
    fn decode_carefully(
        &mut self,
        reader: &mut Reader<'a>,
    ) -> Result<Option<TopicAlias>, DecodeError> {
        let mut alias = None;
        let block = read_block(
            reader,
            Slot::Publish,
            ProtocolVersion::V5_0,
            |id, reader| self.read(id, reader, &mut alias),
        )?;
        self.user_properties = block.user_properties();
        self.subscription_ids = block.subscription_ids();
        Ok(alias)
    }

    /// Reads a block, without its length, that was part of a packet before.
    #[cfg(feature = "alloc")]
    pub(crate) fn from_block(bytes: &'a [u8]) -> Self {
        let mut properties = Self::default();
        match properties.read_checked(bytes) {
            Ok(block) => {
                properties.user_properties = block.user_properties();
                properties.subscription_ids = block.subscription_ids();
            }
            Err(error) if error.kind() == DecodeErrorKind::TooManyProperties => {
                return Self::from_long_block(bytes);
            }
            Err(_) => debug_assert!(false, "the block was checked when it was decoded"),
        }
        properties
    }

    #[cfg(feature = "alloc")]
    #[inline]
    fn read_checked(&mut self, bytes: &'a [u8]) -> Result<Block<'a>, DecodeError> {
        let context = Context::checked(PacketType::Publish, ProtocolVersion::V5_0);
        let mut alias = None;
        let reader = Reader::new(bytes, 0, context);
        read_properties(reader, Slot::Publish, |id, reader| {
            self.read(id, reader, &mut alias)
        })
    }

    /// Reads a block with more properties than can be counted at once, piece by piece. No decoder
    /// takes so many, but a message can be made of them.
    #[cfg(feature = "alloc")]
    #[cold]
    fn from_long_block(bytes: &'a [u8]) -> Self {
        let mut properties = Self::default();
        let (mut has_users, mut has_ids) = (false, false);
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut behind = rest;
            for _ in 0..u16::MAX {
                if next_property(&mut behind).is_none() {
                    break;
                }
            }
            let len = rest.len().saturating_sub(behind.len());
            match rest.get(..len).map(|piece| properties.read_checked(piece)) {
                Some(Ok(block)) if len > 0 => {
                    has_users |= !block.user_properties().is_unset();
                    has_ids |= !block.subscription_ids().is_unset();
                }
                _ => {
                    debug_assert!(false, "the block was checked when it was decoded");
                    break;
                }
            }
            rest = behind;
        }
        if has_users {
            properties.user_properties = UserProperties::from_mixed(bytes);
        }
        if has_ids {
            properties.subscription_ids = SubscriptionIds::from_mixed(bytes);
        }
        properties
    }

    #[inline(always)]
    fn read(
        &mut self,
        id: PropertyId,
        reader: &mut Reader<'a>,
        alias: &mut Option<TopicAlias>,
    ) -> Result<(), DecodeError> {
        let field = Field::Property(id);
        match id {
            PropertyId::PayloadFormatIndicator => {
                self.payload_format = Some(PayloadFormat::read(reader)?)
            }
            PropertyId::MessageExpiryInterval => {
                self.message_expiry_secs = Some(reader.u32(field)?)
            }
            // [5:MQTT-3.3.2-13] [5:MQTT-3.3.2-14]
            PropertyId::ResponseTopic => self.response_topic = Some(reader.topic_name(field)?),
            PropertyId::CorrelationData => self.correlation_data = Some(reader.binary(field)?),
            // [5:MQTT-3.3.2-19]
            PropertyId::ContentType => self.content_type = Some(reader.str(field)?),
            // [5:MQTT-3.3.2-8]
            PropertyId::TopicAlias => *alias = TopicAlias::new(reader.non_zero_u16(id)?.get()),
            _ => return Err(reader.misplaced(id)),
        }
        Ok(())
    }
}

/// The properties as they are written: the alias is one of them there.
pub(crate) struct WithAlias<'p, 'a> {
    pub(crate) properties: &'p PublishProperties<'a>,
    pub(crate) alias: Option<TopicAlias>,
}

impl Block5 for WithAlias<'_, '_> {
    #[inline]
    fn is_empty(&self) -> bool {
        let properties = self.properties;
        self.alias.is_none()
            && properties.payload_format.is_none()
            && properties.message_expiry_secs.is_none()
            && properties.response_topic.is_none()
            && properties.correlation_data.is_none()
            && properties.content_type.is_none()
            && properties.subscription_ids.is_unset()
            && properties.user_properties.is_unset()
    }

    #[inline]
    fn write<S: Sink>(&self, out: &mut S) {
        let properties = self.properties;
        out.byte_property(
            PropertyId::PayloadFormatIndicator,
            properties.payload_format.map(PayloadFormat::value),
        );
        out.u32_property(
            PropertyId::MessageExpiryInterval,
            properties.message_expiry_secs,
        );
        out.u16_property(PropertyId::TopicAlias, self.alias.map(TopicAlias::get));
        out.bytes_property(
            PropertyId::ResponseTopic,
            properties.response_topic.map(TopicName::as_bytes),
        );
        out.bytes_property(
            PropertyId::CorrelationData,
            properties.correlation_data.map(Binary::as_bytes),
        );
        out.bytes_property(
            PropertyId::ContentType,
            properties.content_type.map(Str::as_bytes),
        );
        out.subscription_ids(properties.subscription_ids);
        out.user_properties(properties.user_properties);
    }
}
