//! One message to many receivers: what is the same for all is prepared once.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use bytes::BufMut;
use mqtt_topic::TopicName;

use crate::packet::Lengths;
use crate::packet::publish::WithAlias;
use crate::property::{Block5, PropertySink};
use crate::wire::{BufWriter, Header, Sink, length, var_int_len};
use crate::{
    Delivery, EncodeError, Message, PacketId, PacketType, PropertyId, ProtocolVersion,
    PublishProperties, SubscriptionId, SubscriptionIds, TopicAlias,
};

/// A message on its way to many receivers of one version.
///
/// Each gets a small head of its own; the properties are copied as they are, and the payload is
/// never touched.
///
/// ```
/// use mqtt_codec::{Delivery, FanOut, Message, PacketId, ProtocolVersion, Receiver};
///
/// let message = Message::new("house/light", "on")?;
/// let fan_out = FanOut::new(&message, ProtocolVersion::V5_0);
/// let mut out = Vec::new();
/// for id in 1..=3 {
///     let id = PacketId::new(id).ok_or("not 0")?;
///     let receiver = Receiver::new(Delivery::AtLeastOnce { id, dup: false });
///     fan_out.encode_head_to(&receiver, &mut out)?;
///     out.extend_from_slice(fan_out.payload());
/// }
/// assert_eq!(out.len(), 3 * (2 + 2 + 11 + 2 + 1 + 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `Debug` shows the length of the payload, not the payload.
#[derive(Clone)]
pub struct FanOut<'m> {
    version: ProtocolVersion,
    topic: &'m [u8],
    /// What all receivers get, as bytes.
    properties: Cow<'m, [u8]>,
    payload: &'m [u8],
    /// `None` where the packet is too large.
    plain: Option<PlainHeads>,
}

/// The heads for receivers that have nothing of their own but the packet identifier: at QoS 0 with
/// the first byte for messages that were not retained, above without it.
#[derive(Clone)]
struct PlainHeads {
    at_most_once: Vec<u8>,
    /// In front of the packet identifier, and behind it.
    front: Vec<u8>,
    behind: Vec<u8>,
}

/// What is different for each receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from `new`"
)]
pub struct Receiver<'r> {
    /// QoS, packet identifier and DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// An alias for the topic (5.0).
    pub alias: ReceiverAlias,
    /// What is left of the message's life, in seconds (5.0).
    pub message_expiry_secs: Option<u32>,
    /// The identifiers of the subscriptions that matched (5.0).
    pub subscription_ids: &'r [SubscriptionId],
}

/// How a topic alias is used towards one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are these three ways")]
pub enum ReceiverAlias {
    /// Not at all.
    None,
    /// The topic is sent, and from now on the alias stands for it.
    Set(TopicAlias),
    /// The alias alone is sent.
    Use(TopicAlias),
}

impl Receiver<'_> {
    /// Without RETAIN, alias, expiry and identifiers.
    #[must_use]
    pub const fn new(delivery: Delivery) -> Self {
        Self {
            delivery,
            retain: false,
            alias: ReceiverAlias::None,
            message_expiry_secs: None,
            subscription_ids: &[],
        }
    }

    #[inline]
    const fn is_plain(&self) -> bool {
        matches!(
            self,
            Receiver {
                alias: ReceiverAlias::None,
                message_expiry_secs: None,
                subscription_ids: [],
                ..
            }
        )
    }

    #[inline]
    fn flags(&self) -> u8 {
        let qos = u8::from(self.delivery.qos());
        let dup = u8::from(self.delivery.dup());
        (dup << 3) | (qos << 1) | u8::from(self.retain)
    }
}

impl PlainHeads {
    #[inline(always)]
    fn encode_to(
        &self,
        receiver: &Receiver<'_>,
        buf: &mut impl BufMut,
    ) -> Result<usize, EncodeError> {
        let available = buf.remaining_mut();
        let Some(id) = receiver.delivery.id() else {
            let needed = self.at_most_once.len();
            if available < needed {
                return Err(EncodeError::BufferTooSmall { needed, available });
            }
            if !receiver.retain {
                buf.put_slice(&self.at_most_once);
            } else if let [first, rest @ ..] = self.at_most_once.as_slice() {
                buf.put_slice(&[first | 1]);
                buf.put_slice(rest);
            }
            return Ok(needed);
        };
        let (front, behind) = (self.front.as_slice(), self.behind.as_slice());
        let needed = front.len().saturating_add(behind.len()).saturating_add(3);
        if available < needed {
            return Err(EncodeError::BufferTooSmall { needed, available });
        }
        let first = (PacketType::Publish.value() << 4) | receiver.flags();
        let [high, low] = id.get().to_be_bytes();
        buf.put_slice(&[first]);
        buf.put_slice(front);
        match behind {
            // 3.1.1
            [] => buf.put_slice(&[high, low]),
            // No properties.
            [zero] => buf.put_slice(&[high, low, *zero]),
            _ => {
                buf.put_slice(&[high, low]);
                buf.put_slice(behind);
            }
        }
        Ok(needed)
    }
}

/// Bytes of one head, before any is written.
struct HeadLengths {
    remaining: u32,
    head: usize,
    properties: u32,
}

impl<'m> FanOut<'m> {
    /// Prepares a message, once for all receivers.
    #[must_use]
    pub fn new(message: &'m Message, version: ProtocolVersion) -> Self {
        let mut fan_out = Self {
            version,
            topic: message.topic().as_bytes(),
            properties: match version {
                ProtocolVersion::V3_1_1 => Cow::Borrowed(&[]),
                ProtocolVersion::V5_0 => shared(message),
            },
            payload: message.payload(),
            plain: None,
        };
        fan_out.plain = fan_out.plain_heads();
        fan_out
    }

    fn plain_heads(&self) -> Option<PlainHeads> {
        let at_most_once = Receiver::new(Delivery::AtMostOnce);
        let at_least_once = Receiver::new(Delivery::AtLeastOnce {
            id: PacketId::MIN,
            dup: false,
        });
        let mut heads = PlainHeads {
            at_most_once: vec![PacketType::Publish.value() << 4],
            front: Vec::new(),
            behind: Vec::new(),
        };
        self.write_front(&at_most_once, &mut heads.at_most_once)?;
        self.write_behind(&at_most_once, &mut heads.at_most_once)?;
        self.write_front(&at_least_once, &mut heads.front)?;
        self.write_behind(&at_least_once, &mut heads.behind)?;
        Some(heads)
    }

    /// Behind the first byte, up to the packet identifier.
    fn write_front(&self, receiver: &Receiver<'_>, bytes: &mut Vec<u8>) -> Option<()> {
        let lengths = self.lengths(receiver).ok()?;
        let out = &mut BufWriter(bytes);
        out.var_int(lengths.remaining);
        out.bytes(self.topic_for(receiver));
        Some(())
    }

    /// Behind the packet identifier, up to the payload.
    fn write_behind(&self, receiver: &Receiver<'_>, bytes: &mut Vec<u8>) -> Option<()> {
        let lengths = self.lengths(receiver).ok()?;
        let out = &mut BufWriter(bytes);
        if self.version == ProtocolVersion::V5_0 {
            out.var_int(lengths.properties);
            out.put(&self.properties);
        }
        Some(())
    }

    /// What stands behind each head.
    #[must_use]
    pub const fn payload(&self) -> &'m [u8] {
        self.payload
    }

    /// The length of the whole packet for a receiver, in bytes.
    ///
    /// # Errors
    ///
    /// As [`encode_head_to`](Self::encode_head_to).
    pub fn encoded_len(&self, receiver: &Receiver<'_>) -> Result<usize, EncodeError> {
        let lengths = self.lengths(receiver)?;
        Ok(lengths.head.saturating_add(self.payload.len()))
    }

    /// Appends everything in front of the payload; answers how many bytes that were.
    ///
    /// # Errors
    ///
    /// As [`Packet::encode_to`](crate::Packet::encode_to). Nothing has been written then.
    #[inline(always)]
    pub fn encode_head_to(
        &self,
        receiver: &Receiver<'_>,
        buf: &mut impl BufMut,
    ) -> Result<usize, EncodeError> {
        match (&self.plain, receiver.is_plain()) {
            (Some(plain), true) => plain.encode_to(receiver, buf),
            _ => self.encode_own_to(receiver, buf),
        }
    }

    /// The head for a receiver that has more than a packet identifier of its own.
    #[inline(never)]
    fn encode_own_to(
        &self,
        receiver: &Receiver<'_>,
        buf: &mut impl BufMut,
    ) -> Result<usize, EncodeError> {
        let lengths = self.lengths(receiver)?;
        let (needed, available) = (lengths.head, buf.remaining_mut());
        if available < needed {
            return Err(EncodeError::BufferTooSmall { needed, available });
        }
        let out = &mut BufWriter(buf);
        let header = Header::new(PacketType::Publish, receiver.flags(), lengths.remaining);
        let topic = self.topic_for(receiver);
        out.start(header, length(topic));
        out.put(topic);
        if let Some(id) = receiver.delivery.id() {
            out.put(&id.get().to_be_bytes());
        }
        if self.version == ProtocolVersion::V5_0 {
            out.var_int(lengths.properties);
            self.write_own(receiver, out);
            out.put(&self.properties);
        }
        Ok(needed)
    }

    #[inline]
    fn lengths(&self, receiver: &Receiver<'_>) -> Result<HeadLengths, EncodeError> {
        let id_len = if receiver.delivery.id().is_some() {
            2
        } else {
            0
        };
        let own_len = own_len(receiver);
        let (properties, block_len) = match self.version {
            ProtocolVersion::V3_1_1 if matches!(receiver.alias, ReceiverAlias::Use(_)) => {
                let what = crate::NotInVersion::TopicAlias;
                return Err(EncodeError::NotInVersion(what));
            }
            ProtocolVersion::V3_1_1 => (0, 0),
            ProtocolVersion::V5_0 => {
                let len = own_len.saturating_add(self.properties.len());
                let properties = u32::try_from(len).unwrap_or(u32::MAX);
                (properties, len.saturating_add(var_int_len(properties)))
            }
        };
        let body = self
            .topic_for(receiver)
            .len()
            .saturating_add(2)
            .saturating_add(id_len)
            .saturating_add(block_len);
        let lengths = {
            let len = body.saturating_add(self.payload.len());
            Lengths::new(u64::try_from(len).unwrap_or(u64::MAX), 0)?
        };
        Ok(HeadLengths {
            remaining: lengths.remaining,
            head: lengths.size.saturating_sub(self.payload.len()),
            properties,
        })
    }

    #[inline]
    fn topic_for(&self, receiver: &Receiver<'_>) -> &'m [u8] {
        match receiver.alias {
            ReceiverAlias::None | ReceiverAlias::Set(_) => self.topic,
            ReceiverAlias::Use(_) => &[],
        }
    }

    #[inline]
    fn write_own<S: Sink>(&self, receiver: &Receiver<'_>, out: &mut S) {
        out.u32_property(
            PropertyId::MessageExpiryInterval,
            receiver.message_expiry_secs,
        );
        let alias = match receiver.alias {
            ReceiverAlias::None => None,
            ReceiverAlias::Set(alias) | ReceiverAlias::Use(alias) => Some(alias.get()),
        };
        out.u16_property(PropertyId::TopicAlias, alias);
        out.subscription_ids(SubscriptionIds::new(receiver.subscription_ids));
    }
}

impl fmt::Debug for FanOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOut")
            .field("version", &self.version)
            .field("topic", &TopicName::assume_valid(self.topic))
            .field("properties_len", &self.properties.len())
            .field("payload_len", &self.payload.len())
            .finish_non_exhaustive()
    }
}

fn own_len(receiver: &Receiver<'_>) -> usize {
    let expiry = if receiver.message_expiry_secs.is_some() {
        5
    } else {
        0_usize
    };
    let alias = match receiver.alias {
        ReceiverAlias::None => 0,
        ReceiverAlias::Set(_) | ReceiverAlias::Use(_) => 3,
    };
    let ids = receiver
        .subscription_ids
        .iter()
        .map(|id| var_int_len(id.get()).saturating_add(1));
    ids.fold(expiry.saturating_add(alias), usize::saturating_add)
}

/// The properties that all receivers get.
fn shared(message: &Message) -> Cow<'_, [u8]> {
    if !message.has_properties_of_receivers() {
        return Cow::Borrowed(message.property_bytes());
    }
    let properties = PublishProperties {
        message_expiry_secs: None,
        subscription_ids: SubscriptionIds::default(),
        ..message.properties()
    };
    let block = WithAlias {
        properties: &properties,
        alias: None,
    };
    let mut bytes = Vec::new();
    block.write(&mut BufWriter(&mut bytes));
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicAlias;

    /// The bytes are the same without prepared heads: these say that they are used.
    #[test]
    fn a_receiver_without_anything_of_its_own_gets_a_prepared_head() {
        let message = Message::new("t", "m").unwrap();
        for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
            let fan_out = FanOut::new(&message, version);
            let heads = fan_out.plain.unwrap();
            let properties: &[u8] = match version {
                ProtocolVersion::V3_1_1 => &[],
                ProtocolVersion::V5_0 => &[0],
            };
            assert_eq!(heads.behind, properties);
            assert_eq!(heads.at_most_once.first(), Some(&0x30));
            assert!(
                heads
                    .at_most_once
                    .ends_with(&[&[0, 1, b't'], properties].concat())
            );
            assert!(heads.front.ends_with(&[0, 1, b't']));
        }
        let plain = Receiver::new(Delivery::AtMostOnce);
        assert!(plain.is_plain());
        let own = [
            Receiver {
                message_expiry_secs: Some(1),
                ..plain
            },
            Receiver {
                alias: ReceiverAlias::Use(TopicAlias::new(1).unwrap()),
                ..plain
            },
            Receiver {
                subscription_ids: &[SubscriptionId::MIN],
                ..plain
            },
        ];
        for receiver in own {
            assert!(!receiver.is_plain(), "{receiver:?}");
        }
    }
}
