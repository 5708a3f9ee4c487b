//! What a PUBLISH says about its message in 5.0.

use mqtt_topic::TopicName;

use crate::packet::plain_properties;
#[cfg(feature = "alloc")]
use crate::property::{Block, next_property, read_properties};
use crate::property::{Block5, PropertySink, Slot, SubscriptionIds, read_block};
use crate::text::{Binary, Str};
#[cfg(feature = "alloc")]
use crate::wire::Context;
use crate::wire::{Reader, Sink};
use crate::{DecodeError, Field, PropertyId, ProtocolVersion, TopicAlias, UserProperties};
#[cfg(feature = "alloc")]
use crate::{DecodeErrorKind, PacketType};

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

impl<'a> PublishProperties<'a> {
    /// A block that is there.
    #[inline(always)]
    pub(super) fn decode(
        &mut self,
        reader: &mut Reader<'a>,
    ) -> Result<Option<TopicAlias>, DecodeError> {
        // The careful way does without.
        if !cfg!(feature = "small") && reader.is_as_usual() {
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
