//! A message as the packet that carries it, written from where the message is.

use alloc::vec::Vec;

use crate::packet::encode_plain;
use crate::packet::publish::{Plain, PlainAliased};
use crate::{Delivery, EncodeError, Message, ProtocolVersion, Publish, PublishTopic, TopicAlias};

impl Message {
    /// Appends the PUBLISH that carries this message; answers how many bytes that were. The QoS and
    /// RETAIN need not be the message's own.
    ///
    /// ```
    /// use mqtt_codec::{Delivery, Message, ProtocolVersion};
    ///
    /// let mut output = Vec::new();
    /// let message = Message::new("a/b", "on")?;
    /// let size = message.encode_to(ProtocolVersion::V3_1_1, Delivery::AtMostOnce, false, &mut output)?;
    /// assert_eq!((size, &output[..]), (9, &b"\x30\x07\0\x03a/bon"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`EncodeError::PacketTooLarge`] when no packet can hold it. Nothing has been written then.
    #[inline]
    pub fn encode_to(
        &self,
        version: ProtocolVersion,
        delivery: Delivery,
        retain: bool,
        buf: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        self.encode_within(version, delivery, retain, usize::MAX, buf)
    }

    /// As [`encode_to`](Self::encode_to), for a receiver that takes at most `size_max` bytes.
    ///
    /// ```
    /// use mqtt_codec::{Delivery, EncodeError, Message, ProtocolVersion};
    ///
    /// let (v3, qos0) = (ProtocolVersion::V3_1_1, Delivery::AtMostOnce);
    /// let (message, mut output) = (Message::new("a/b", "on")?, Vec::new());
    /// let refused = message.encode_within(v3, qos0, false, 8, &mut output);
    /// assert_eq!(refused, Err(EncodeError::PacketTooLarge { size: 9 }));
    /// assert_eq!(message.encode_within(v3, qos0, false, 9, &mut output), Ok(9));
    /// assert_eq!(output.len(), 9);
    /// # Ok::<(), mqtt_codec::TopicError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`EncodeError::PacketTooLarge`] when the packet has more bytes, or when none can hold the
    /// message. Nothing has been written then.
    // It is what sending a message is: a compiler that counts callers makes it a call.
    #[inline(always)]
    pub fn encode_within(
        &self,
        version: ProtocolVersion,
        delivery: Delivery,
        retain: bool,
        size_max: usize,
        buf: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        if !self.has_properties() {
            let plain = Plain {
                topic: self.topic().as_bytes(),
                id: delivery.id(),
                payload: self.payload(),
            };
            return encode_plain(&plain, (delivery, retain), version, size_max, buf);
        }
        self.encode_with_properties(version, delivery, retain, size_max, buf)
    }

    /// As [`encode_within`](Self::encode_within), with an alias in place of the topic, which only 5.0 has.
    ///
    /// ```
    /// use mqtt_codec::{Delivery, Message, TopicAlias};
    ///
    /// let (message, mut output) = (Message::new("a/b", "on")?, Vec::new());
    /// let alias = TopicAlias::new(7).ok_or("0 is none")?;
    /// message.encode_aliased_within(Delivery::AtMostOnce, false, alias, 20, &mut output)?;
    /// assert_eq!(output, b"\x30\x08\0\0\x03\x23\0\x07on");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn encode_aliased_within(
        &self,
        delivery: Delivery,
        retain: bool,
        alias: TopicAlias,
        size_max: usize,
        buf: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        if !self.has_properties() {
            let plain = PlainAliased {
                alias,
                id: delivery.id(),
                payload: self.payload(),
            };
            let version = ProtocolVersion::V5_0;
            return encode_plain(&plain, (delivery, retain), version, size_max, buf);
        }
        let publish = Publish {
            retain,
            topic: PublishTopic::Alias(alias),
            ..self.publish(delivery)
        };
        encode_publish_within(&publish, ProtocolVersion::V5_0, size_max, buf)
    }

    #[inline(never)]
    fn encode_with_properties(
        &self,
        version: ProtocolVersion,
        delivery: Delivery,
        retain: bool,
        size_max: usize,
        buf: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        let publish = Publish {
            retain,
            ..self.publish(delivery)
        };
        encode_publish_within(&publish, version, size_max, buf)
    }
}

#[inline(never)]
fn encode_publish_within(
    publish: &Publish<'_>,
    version: ProtocolVersion,
    size_max: usize,
    buf: &mut Vec<u8>,
) -> Result<usize, EncodeError> {
    let size = publish.encoded_len(version)?;
    if size > size_max {
        return Err(EncodeError::PacketTooLarge { size });
    }
    publish.encode_to(version, buf)
}
