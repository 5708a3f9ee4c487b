//! An application message that owns its bytes.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bytes::Bytes;
use mqtt_topic::{TopicError, TopicName};

use crate::packet::publish::WithAlias;
use crate::property::{Block5, block_len};
use crate::wire::{BufWriter, VAR_INT_MAX};
use crate::{Delivery, EncodeError, Publish, PublishProperties, PublishTopic, QoS};

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
    /// Holds the topic and the properties.
    head: Bytes,
    topic: Range<usize>,
    /// A property block of PUBLISH, without its length.
    properties: Range<usize>,
    payload: Bytes,
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
        let head = Bytes::copy_from_slice(topic.as_bytes());
        let end = head.len();
        Self {
            head,
            topic: 0..end,
            properties: end..end,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
        }
    }

    /// Copies a PUBLISH. The topic is given apart, since the packet may have an alias instead.
    #[must_use]
    pub fn from_publish(publish: &Publish<'_>, topic: TopicName<'_>) -> Self {
        let block = WithAlias {
            properties: &publish.properties,
            alias: None,
        };
        let topic_len = topic.as_bytes().len();
        let properties_end = topic_len.saturating_add(block_len(&block));
        let mut bytes = Vec::with_capacity(properties_end.saturating_add(publish.payload.len()));
        bytes.extend_from_slice(topic.as_bytes());
        block.write(&mut BufWriter(&mut bytes));
        bytes.extend_from_slice(publish.payload);
        let mut head = Bytes::from(bytes);
        let payload = head.split_off(properties_end.min(head.len()));
        Self {
            head,
            topic: 0..topic_len,
            properties: topic_len..properties_end,
            payload,
            qos: publish.delivery.qos(),
            retain: publish.retain,
        }
    }

    /// Shares the payload of a PUBLISH that was decoded from `frame`, and copies the rest, which
    /// is small.
    ///
    /// The message keeps the memory of `frame` alive. For a payload that is not a part of `frame`
    /// it is [`from_publish`](Self::from_publish).
    #[must_use]
    pub fn from_frame(frame: &Bytes, publish: &Publish<'_>, topic: TopicName<'_>) -> Self {
        let start = frame.len().saturating_sub(publish.payload.len());
        let payload = frame.slice(start..);
        // The payload is the end of the packet.
        if !core::ptr::eq::<[u8]>(payload.as_ref(), publish.payload) {
            return Self::from_publish(publish, topic);
        }
        let mut message = Self::from_publish(
            &Publish {
                payload: &[],
                ..*publish
            },
            topic,
        );
        message.payload = payload;
        message
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
        let len = block_len(&block);
        if u32::try_from(len).map_or(true, |len| len > VAR_INT_MAX) {
            return Err(EncodeError::PacketTooLarge { size: len });
        }
        let topic = self.topic();
        let topic_len = topic.as_bytes().len();
        let mut head = Vec::with_capacity(topic_len.saturating_add(len));
        head.extend_from_slice(topic.as_bytes());
        block.write(&mut BufWriter(&mut head));
        let end = head.len();
        Ok(Self {
            head: Bytes::from(head),
            topic: 0..topic_len,
            properties: topic_len..end,
            ..self
        })
    }

    /// Where to.
    #[must_use]
    pub fn topic(&self) -> TopicName<'_> {
        TopicName::assume_valid(self.head.get(self.topic.clone()).unwrap_or_default())
    }

    /// What.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What, to be shared.
    #[must_use]
    pub fn payload_bytes(&self) -> &Bytes {
        &self.payload
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
    pub fn properties(&self) -> PublishProperties<'_> {
        PublishProperties::from_block(self.head.get(self.properties.clone()).unwrap_or_default())
    }

    /// The packet that carries this message. Its QoS need not be the message's own.
    #[must_use]
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
    pub fn len_held(&self) -> usize {
        self.head.len().saturating_add(self.payload.len())
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

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties())
            .field("payload_len", &self.payload.len())
            .finish()
    }
}
