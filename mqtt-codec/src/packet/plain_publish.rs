//! The PUBLISH that most are: with its topic or an alias in its place, and without other properties.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use mqtt_topic::TopicName;

use super::publish::{PublishProperties, PublishTopic};
use crate::{Delivery, PacketId, PropertyId, ProtocolVersion, Publish, TopicAlias};

/// A PUBLISH with its topic and without properties, or (5.0) with an alias in place of its topic and
/// without others: what most packets are, read in one go.
///
/// `Debug` shows the length of the payload, not the payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PlainPublish<'a> {
    pub(crate) delivery: Delivery,
    pub(crate) retain: bool,
    /// Never both.
    pub(crate) topic: PublishTopic<'a>,
    pub(crate) payload: &'a [u8],
    /// All of it.
    pub(crate) packet: &'a [u8],
    /// Where the topic is in it.
    pub(crate) topic_start: usize,
}

impl<'a> PlainPublish<'a> {
    /// The one at the front of some bytes, of at most `size_max` bytes with its header. `None` for
    /// whatever has to be [parsed](crate::Frame::parse) and decoded to be known, errors among it.
    ///
    /// ```
    /// use mqtt_codec::{Delivery, PlainPublish, ProtocolVersion};
    ///
    /// let v3 = ProtocolVersion::V3_1_1;
    /// let input = [0x30, 5, 0, 1, b't', b'o', b'n', 0xC0, 0];
    /// let publish = PlainPublish::first_of(&input, v3, 1024).ok_or("another packet")?;
    /// let topic = publish.topic().name().ok_or("an alias")?;
    /// assert_eq!((topic.as_str(), publish.payload()), ("t", &b"on"[..]));
    /// assert_eq!((publish.delivery(), publish.size()), (Delivery::AtMostOnce, 7));
    /// assert!(PlainPublish::first_of(&input[..6], v3, 1024).is_none(), "not all of it is there");
    /// assert!(PlainPublish::first_of(&input, v3, 6).is_none(), "too large");
    /// assert!(PlainPublish::first_of(&input[7..], v3, 1024).is_none(), "PINGREQ");
    /// # Ok::<(), &str>(())
    /// ```
    #[must_use]
    #[inline(always)]
    pub fn first_of(bytes: &'a [u8], version: ProtocolVersion, size_max: usize) -> Option<Self> {
        let (&first, rest) = bytes.split_first()?;
        // Longer ones gain nothing by the short way, and other lengths are not in the shortest form.
        let (remaining, header_len) = match *rest {
            [a, ..] if a < 0x80 => (usize::from(a), 2),
            [a, b @ 1..0x80, ..] => (usize::from(a & 0x7F) | (usize::from(b) << 7), 3),
            _ => return None,
        };
        let size = remaining.wrapping_add(header_len);
        if first >> 4 != 3 || size > size_max {
            return None;
        }
        let packet = bytes.get(..size)?;
        let body = packet.get(header_len..)?;
        let ([high, low], behind) = body.split_first_chunk::<2>()?;
        let topic_len = usize::from(u16::from_be_bytes([*high, *low]));
        let (topic, mut rest) = behind.split_at_checked(topic_len)?;
        let dup = first & DUP != 0;
        let delivery = match first & 0b0110 {
            0 if !dup => Delivery::AtMostOnce,
            0b0010 => Delivery::AtLeastOnce {
                id: take_id(&mut rest)?,
                dup,
            },
            0b0100 => Delivery::ExactlyOnce {
                id: take_id(&mut rest)?,
                dup,
            },
            _ => return None,
        };
        let (topic, payload) = match (version, rest) {
            (ProtocolVersion::V3_1_1, payload) | (ProtocolVersion::V5_0, [0, payload @ ..]) => (
                PublishTopic::Name(TopicName::from_bytes(topic).ok()?),
                payload,
            ),
            (ProtocolVersion::V5_0, [3, ALIAS, high, low, payload @ ..]) if topic.is_empty() => {
                // [5:MQTT-3.3.2-8]
                let alias = TopicAlias::new(u16::from_be_bytes([*high, *low]))?;
                (PublishTopic::Alias(alias), payload)
            }
            (ProtocolVersion::V5_0, _) => return None,
        };
        Some(Self {
            delivery,
            retain: first & 1 != 0,
            topic,
            payload,
            packet,
            topic_start: header_len.wrapping_add(2),
        })
    }

    /// QoS, packet identifier and DUP.
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// The RETAIN flag.
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// Where to: a name, or an alias, and never both.
    #[must_use]
    pub const fn topic(&self) -> PublishTopic<'a> {
        self.topic
    }

    /// What.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The length of the whole packet in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.packet.len()
    }

    /// The whole packet.
    #[must_use]
    pub const fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// Appends the same packet with another identifier and DUP, for somebody else who speaks the same version.
    /// Answers `false`, and appends nothing, for one with an alias, and at another QoS.
    ///
    /// ```
    /// use mqtt_codec::{Delivery, PacketId, PlainPublish, ProtocolVersion};
    ///
    /// let input = [0x3A, 7, 0, 1, b't', 0, 9, b'o', b'n'];
    /// let publish = PlainPublish::first_of(&input, ProtocolVersion::V3_1_1, 1024);
    /// let publish = publish.ok_or("another packet")?;
    /// let id = PacketId::new(300).ok_or("0 is none")?;
    /// let mut output = Vec::new();
    /// assert!(publish.append_as(Delivery::AtLeastOnce { id, dup: false }, &mut output));
    /// assert_eq!(output, [0x32, 7, 0, 1, b't', 1, 44, b'o', b'n']);
    /// assert!(!publish.append_as(Delivery::AtMostOnce, &mut output));
    /// # Ok::<(), &str>(())
    /// ```
    #[cfg(feature = "alloc")]
    #[inline]
    pub fn append_as(&self, delivery: Delivery, buf: &mut Vec<u8>) -> bool {
        let PublishTopic::Name(topic) = self.topic else {
            return false;
        };
        if delivery.qos() != self.delivery.qos() {
            return false;
        }
        let start = buf.len();
        buf.extend_from_slice(self.packet);
        let copied = buf.get_mut(start..).unwrap_or_default();
        if let Some(first) = copied.first_mut() {
            *first = (*first & !DUP) | if delivery.dup() { DUP } else { 0 };
        }
        let behind = self.topic_start.wrapping_add(topic.as_bytes().len());
        if let Some(id) = delivery.id()
            && let Some(place) = copied.get_mut(behind..)
            && let Some(place) = place.first_chunk_mut::<2>()
        {
            *place = id.get().to_be_bytes();
        }
        true
    }
}

/// The flag in the first byte.
const DUP: u8 = 0b1000;

/// The identifier of the property, as a byte.
const ALIAS: u8 = PropertyId::TopicAlias.value();

#[inline(always)]
fn take_id(rest: &mut &[u8]) -> Option<PacketId> {
    let ([high, low], behind) = rest.split_first_chunk::<2>()?;
    *rest = behind;
    PacketId::new(u16::from_be_bytes([*high, *low]))
}

impl<'a> From<PlainPublish<'a>> for Publish<'a> {
    fn from(plain: PlainPublish<'a>) -> Self {
        Self {
            delivery: plain.delivery,
            retain: plain.retain,
            topic: plain.topic,
            properties: PublishProperties::default(),
            payload: plain.payload,
        }
    }
}

impl core::fmt::Debug for PlainPublish<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PlainPublish")
            .field("delivery", &self.delivery)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .finish_non_exhaustive()
    }
}
