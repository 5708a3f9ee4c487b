//! PUBLISH, a message on its way.
//!
//! ```text
//! flags: DUP, QoS (2), RETAIN
//! | topic name | packet identifier (QoS 1 and 2) | properties (5.0) | payload |
//! ```

mod properties;

use core::fmt;

use mqtt_topic::TopicName;

pub(crate) use self::properties::WithAlias;
pub use self::properties::{PayloadFormat, PublishProperties};
use super::{Body, Lengths};
#[cfg(feature = "alloc")]
use crate::PropertyId;
use crate::error::NotInVersion;
use crate::property::{Block5, block_len};
use crate::wire::{Header, Reader, Sink, length, var_int_len};
use crate::{
    DecodeError, DecodeErrorKind, Delivery, EncodeError, Field, PacketId, PacketType,
    ProtocolVersion, TopicAlias,
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
