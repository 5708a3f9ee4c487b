//! An application message that owns its bytes.

mod copy;
mod encode;
mod parts;
mod stencil;

use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};
use mqtt_topic::{TopicError, TopicName};

use copy::{block_size, copy, copy_into, with_room};
pub use parts::PublishParts;
use parts::{Place, Places, place_in, places_in};
pub use stencil::Stencil;

use crate::packet::publish::WithAlias;
use crate::property::{Block5, next_property};
use crate::wire::VAR_INT_MAX;
use crate::{
    Delivery, EncodeError, PlainPublish, PropertyId, Publish, PublishProperties, PublishTopic, QoS,
    SharedTopic,
};

/// A message, apart from any connection: no packet identifier, no DUP, no topic alias.
///
/// Cloning is cheap: the bytes are shared. `Debug` shows the length of the payload, not the
/// payload.
///
/// ```
/// use mqtt_codec::{Message, QoS};
///
/// let message = Message::new("house/light", "on")?.with_qos(QoS::AtLeastOnce).with_retain(true);
/// assert_eq!(message.topic(), "house/light");
/// assert_eq!(message.payload(), b"on");
/// # Ok::<(), mqtt_codec::TopicError>(())
/// ```
#[derive(Clone)]
pub struct Message {
    /// Holds the topic, the properties and, unless that is apart, the payload: often the frame that
    /// brought the message.
    bytes: Bytes,
    places: Places,
    /// A payload that is not in `bytes`.
    apart: Option<Bytes>,
    qos: QoS,
    retain: bool,
}

impl Message {
    /// A message at QoS 0 without properties.
    ///
    /// # Errors
    ///
    /// [`TopicError`] says what is wrong with the topic and where.
    pub fn new(topic: &str, payload: impl Into<Bytes>) -> Result<Self, TopicError> {
        Ok(Self::from_name(TopicName::new(topic)?, payload))
    }

    /// A message at QoS 0 without properties.
    #[must_use]
    pub fn from_name(topic: TopicName<'_>, payload: impl Into<Bytes>) -> Self {
        Self::from_shared(topic.into(), payload.into())
    }

    /// A message at QoS 0 without properties whose payload is copied: both parts in one allocation.
    ///
    /// ```
    /// use mqtt_codec::Message;
    ///
    /// let reading = [0x17, 0x2A];
    /// assert_eq!(Message::from_slice("house/meter", &reading)?.payload(), reading);
    /// # Ok::<(), mqtt_codec::TopicError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TopicError`] says what is wrong with the topic and where.
    pub fn from_slice(topic: &str, payload: &[u8]) -> Result<Self, TopicError> {
        let topic = TopicName::new(topic)?;
        let (bytes, places) = copy(topic, &PublishProperties::default(), payload);
        Ok(Self {
            bytes,
            places,
            apart: None,
            qos: QoS::AtMostOnce,
            retain: false,
        })
    }

    /// Copies a PUBLISH. The topic is given apart, since the packet may have an alias instead.
    #[must_use]
    pub fn from_publish(publish: &Publish<'_>, topic: TopicName<'_>) -> Self {
        let (bytes, places) = copy(topic, &publish.properties, publish.payload);
        Self {
            bytes,
            places,
            apart: None,
            qos: publish.delivery.qos(),
            retain: publish.retain,
        }
    }

    /// Copies a PUBLISH, into memory that may have been used before: that of
    /// [`into_memory`](Self::into_memory), if it is large enough and not more than twice as large.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use mqtt_codec::{Message, Publish, TopicName};
    ///
    /// let topic = TopicName::new("house/light")?;
    /// let first = Message::from_publish_in(BytesMut::new(), &Publish::new(topic, b"on"), topic);
    /// let place = first.payload().as_ptr();
    /// let memory = first.into_memory(1024).ok_or("nobody else has it")?;
    /// let second = Message::from_publish_in(memory, &Publish::new(topic, b"of"), topic);
    /// assert_eq!(second.payload().as_ptr(), place, "nothing was allocated");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_publish_in(memory: BytesMut, publish: &Publish<'_>, topic: TopicName<'_>) -> Self {
        let (bytes, places) = copy_into(memory, topic, &publish.properties, publish.payload);
        Self {
            bytes,
            places,
            apart: None,
            qos: publish.delivery.qos(),
            retain: publish.retain,
        }
    }

    /// Copies a plain PUBLISH, in one allocation.
    #[must_use]
    #[inline]
    pub fn from_plain(publish: &PlainPublish<'_>, topic: TopicName<'_>) -> Self {
        let len = topic.as_bytes().len().saturating_add(publish.payload.len());
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(topic.as_bytes());
        bytes.extend_from_slice(publish.payload);
        Self::of_plain(bytes.into(), publish, topic)
    }

    /// The same, into memory that may have been used before, as [`from_publish_in`](Self::from_publish_in) does it.
    #[must_use]
    #[inline]
    pub fn from_plain_in(
        memory: BytesMut,
        publish: &PlainPublish<'_>,
        topic: TopicName<'_>,
    ) -> Self {
        let len = topic.as_bytes().len().saturating_add(publish.payload.len());
        let mut memory = with_room(memory, len);
        memory.extend_from_slice(topic.as_bytes());
        memory.extend_from_slice(publish.payload);
        Self::of_plain(memory.freeze(), publish, topic)
    }

    /// Topic and payload, one behind the other.
    #[inline]
    fn of_plain(bytes: Bytes, publish: &PlainPublish<'_>, topic: TopicName<'_>) -> Self {
        let (topic_end, end) = (topic.as_bytes().len(), bytes.len());
        Self {
            bytes,
            places: Places {
                topic: Place::new(0, topic_end),
                properties: Place::default(),
                payload: Place::new(topic_end, end),
            },
            apart: None,
            qos: publish.delivery.qos(),
            retain: publish.retain,
        }
    }

    /// The memory of a message that is not needed any more, if nothing else uses it and it has no
    /// more than `bytes_max` bytes.
    #[must_use]
    #[inline]
    pub fn into_memory(self, bytes_max: usize) -> Option<BytesMut> {
        if self.apart.is_some() || self.bytes.len() > bytes_max {
            return None;
        }
        let mut memory = self.bytes.try_into_mut().ok()?;
        memory.clear();
        (memory.capacity() <= bytes_max).then_some(memory)
    }

    /// Shares the frame that a PUBLISH was decoded from: nothing is copied, but for the topic and
    /// the properties where the packet has an alias instead of the topic.
    ///
    /// The message keeps the memory of `frame` alive; [`detach`](Self::detach) lets go of it. For a
    /// PUBLISH that is not in `frame` it is [`from_publish`](Self::from_publish), which is also for one
    /// whose properties were changed since it was decoded: here they are those of the frame. The payload may
    /// have become a part of itself.
    #[must_use]
    pub fn from_frame(frame: &Bytes, publish: &Publish<'_>, topic: TopicName<'_>) -> Self {
        let Some(payload) = place_in(frame, publish.payload) else {
            return Self::from_publish(publish, topic);
        };
        if let Some(places) = places_in(frame, publish)
            && publish.topic.name() == Some(topic)
        {
            return Self {
                bytes: frame.clone(),
                places,
                apart: None,
                qos: publish.delivery.qos(),
                retain: publish.retain,
            };
        }
        let (bytes, places) = copy(topic, &publish.properties, &[]);
        Self {
            bytes,
            places,
            apart: Some(frame.slice(payload.range())),
            qos: publish.delivery.qos(),
            retain: publish.retain,
        }
    }

    /// As [`from_frame`](Self::from_frame), for a PUBLISH with an alias in place of its topic, which
    /// `topic` is: it is shared as well, where the packet has no other property.
    #[must_use]
    pub fn from_frame_with_topic(
        frame: &Bytes,
        publish: &Publish<'_>,
        topic: &SharedTopic,
    ) -> Self {
        let others = WithAlias {
            properties: &publish.properties,
            alias: None,
        };
        let payload = place_in(frame, publish.payload).filter(|_| others.is_empty());
        let Some(payload) = payload else {
            return Self::from_frame(frame, publish, topic.name());
        };
        Self {
            qos: publish.delivery.qos(),
            retain: publish.retain,
            ..Self::from_shared(topic.clone(), frame.slice(payload.range()))
        }
    }

    /// A message at QoS 0 without properties, of which nothing is copied.
    #[must_use]
    #[inline]
    pub fn from_shared(topic: SharedTopic, payload: Bytes) -> Self {
        let bytes = topic.into_bytes();
        let end = bytes.len();
        Self {
            bytes,
            places: Places {
                topic: Place::new(0, end),
                properties: Place::default(),
                payload: Place::default(),
            },
            apart: Some(payload),
            qos: QoS::AtMostOnce,
            retain: false,
        }
    }

    /// The message in the frame that these parts were decoded from: nothing is copied, allocated or
    /// counted.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use mqtt_codec::{Frame, Message, Parsed, ProtocolVersion, PublishParts};
    ///
    /// let v3 = ProtocolVersion::V3_1_1;
    /// let mut input = BytesMut::from(&[0x30, 0x04, 0x00, 0x01, b't', b'x'][..]);
    /// let Parsed::Complete(frame) = Frame::parse(&input, Some(v3), 1024)? else { unreachable!() };
    /// let (parts, size) = (PublishParts::decode(&frame, v3)?.ok_or("an alias alone")?, frame.size());
    /// let message = Message::from_parts(input.split_to(size).freeze(), parts);
    /// assert_eq!((message.topic().as_str(), message.payload()), ("t", &b"x"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn from_parts(frame: Bytes, parts: PublishParts) -> Self {
        Self {
            bytes: frame,
            places: parts.places,
            apart: None,
            qos: parts.delivery.qos(),
            retain: parts.retain,
        }
    }

    /// The same message in memory of its own, if keeping it pins more than twice its length.
    /// `pinned` is how much memory stands behind the frame it came in, in bytes.
    #[must_use]
    pub fn detach(self, pinned: usize) -> Self {
        if pinned <= self.len_held().saturating_mul(2) {
            return self;
        }
        let (bytes, places) = copy(self.topic(), &self.properties(), self.payload());
        Self {
            bytes,
            places,
            apart: None,
            ..self
        }
    }

    /// The same message at a QoS.
    #[must_use]
    pub fn with_qos(self, qos: QoS) -> Self {
        Self { qos, ..self }
    }

    /// The same message with the RETAIN flag set or not.
    #[must_use]
    pub fn with_retain(self, retain: bool) -> Self {
        Self { retain, ..self }
    }

    /// The same message with these properties in place of its own.
    ///
    /// # Errors
    ///
    /// [`EncodeError::PacketTooLarge`] when no packet could hold them.
    pub fn with_properties(self, properties: &PublishProperties<'_>) -> Result<Self, EncodeError> {
        let block = WithAlias {
            properties,
            alias: None,
        };
        let len = block_size(&block);
        if u32::try_from(len).map_or(true, |len| len > VAR_INT_MAX) {
            return Err(EncodeError::PacketTooLarge { size: len });
        }
        let (bytes, places) = copy(self.topic(), properties, &[]);
        Ok(Self {
            apart: Some(self.payload_bytes()),
            bytes,
            places,
            qos: self.qos,
            retain: self.retain,
        })
    }

    /// Where to.
    #[must_use]
    pub fn topic(&self) -> TopicName<'_> {
        TopicName::assume_valid(self.places.topic.of(&self.bytes))
    }

    /// What.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.apart {
            Some(payload) => payload,
            None => self.places.payload.of(&self.bytes),
        }
    }

    /// What, to be shared.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        match &self.apart {
            Some(payload) => payload.clone(),
            None => self.bytes.slice_ref(self.places.payload.of(&self.bytes)),
        }
    }

    /// At which QoS.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// The RETAIN flag.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// The properties, read from the bytes that hold them.
    #[must_use]
    #[inline]
    pub fn properties(&self) -> PublishProperties<'_> {
        if self.has_properties() {
            PublishProperties::from_block(self.property_bytes())
        } else {
            PublishProperties::default()
        }
    }

    /// Whether there is any property. Known without a look at them.
    #[must_use]
    #[inline]
    pub const fn has_properties(&self) -> bool {
        !self.places.properties.is_empty()
    }

    /// The property block as it came, without its length.
    #[inline]
    pub(crate) fn property_bytes(&self) -> &[u8] {
        self.places.properties.of(&self.bytes)
    }

    /// Whether the properties hold an alias, an expiry or subscription identifiers, which are each
    /// receiver's own.
    pub(crate) fn has_properties_of_receivers(&self) -> bool {
        let mut rest = self.property_bytes();
        while let Some(id) = next_property(&mut rest) {
            if matches!(
                id,
                PropertyId::TopicAlias
                    | PropertyId::MessageExpiryInterval
                    | PropertyId::SubscriptionIdentifier
            ) {
                return true;
            }
        }
        false
    }

    /// The packet that carries this message. Its QoS need not be the message's own.
    #[must_use]
    #[inline]
    pub fn publish(&self, delivery: Delivery) -> Publish<'_> {
        Publish {
            delivery,
            retain: self.retain,
            topic: PublishTopic::Name(self.topic()),
            properties: self.properties(),
            payload: self.payload(),
        }
    }

    /// Bytes of topic, properties and payload: what the message counts for in limits.
    #[must_use]
    #[inline]
    pub fn len_held(&self) -> usize {
        let Places {
            topic,
            properties,
            payload,
        } = self.places;
        let payload = self.apart.as_ref().map_or(payload.len(), Bytes::len);
        let head = topic.len().saturating_add(properties.len());
        head.saturating_add(payload)
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        (
            self.topic(),
            self.properties(),
            self.payload(),
            self.qos,
            self.retain,
        ) == (
            other.topic(),
            other.properties(),
            other.payload(),
            other.qos,
            other.retain,
        )
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Packet, Parsed, ProtocolVersion, decode};

    /// What shares its frame looks like a copy: this says that it is none.
    #[test]
    fn a_message_of_a_frame_holds_nothing_else() {
        for (row, version, input) in [
            ("3.1.1", ProtocolVersion::V3_1_1, &b"\x30\x04\0\x01tm"[..]),
            (
                "no properties",
                ProtocolVersion::V5_0,
                b"\x30\x05\0\x01t\0m",
            ),
            (
                "QoS 1, a property",
                ProtocolVersion::V5_0,
                b"\x32\x09\0\x01t\0\x07\x02\x01\x01m",
            ),
        ] {
            let frame = Bytes::from_static(input);
            let parsed = decode(&frame, version, u32::MAX).unwrap();
            let Parsed::Complete((Packet::Publish(publish), _)) = parsed else {
                panic!("{row}: {parsed:?}");
            };
            let message = Message::from_frame(&frame, &publish, publish.topic.name().unwrap());
            assert!(message.apart.is_none(), "{row}");
            assert_eq!(message.bytes.as_ptr(), frame.as_ptr(), "{row}");
            assert_eq!(message.payload(), b"m", "{row}");
        }
    }
}
