//! Where the parts of a message are in its bytes.

use core::ops::Range;

use super::copy::block_size;
use crate::packet::publish::WithAlias;
use crate::property::Block5 as _;
use crate::{DecodeError, Delivery, Frame, PlainPublish, ProtocolVersion, Publish, TopicAlias};

/// Where the parts of a message are. A frame has at most 268,435,460 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) topic: Place,
    /// A property block of PUBLISH, without its length. A topic alias in it means nothing here.
    pub(super) properties: Place,
    pub(super) payload: Place,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    start: u32,
    end: u32,
}

impl Place {
    pub(super) fn new(start: usize, end: usize) -> Self {
        let place = |value| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            start: place(start),
            end: place(end),
        }
    }

    pub(super) fn range(self) -> Range<usize> {
        let place = |value| usize::try_from(value).unwrap_or(usize::MAX);
        place(self.start)..place(self.end)
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        // No place ends before it starts.
        usize::try_from(self.end.wrapping_sub(self.start)).unwrap_or(usize::MAX)
    }

    #[inline]
    pub(super) const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }
}

/// Where the parts of a PUBLISH are in the frame it was decoded from, and its flags.
///
/// Borrows nothing, so that the frame can be split off its buffer.
#[derive(Clone, Copy, Debug)]
pub struct PublishParts {
    pub(super) places: Places,
    pub(super) delivery: Delivery,
    pub(super) retain: bool,
    alias: Option<TopicAlias>,
}

impl PlainPublish<'_> {
    /// Where its parts are: what [`Message::from_parts`](crate::Message::from_parts) takes, with the whole packet.
    /// `None` for one with an alias in place of the topic.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use mqtt_codec::{Message, PlainPublish, ProtocolVersion};
    ///
    /// let frame = Bytes::from_static(&[0x30, 0x04, 0x00, 0x01, b't', b'x']);
    /// let plain = PlainPublish::first_of(&frame, ProtocolVersion::V3_1_1, 1024);
    /// let parts = plain.ok_or("another packet")?.parts().ok_or("an alias")?;
    /// assert_eq!(Message::from_parts(frame, parts).payload(), b"x");
    /// # Ok::<(), &str>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn parts(&self) -> Option<PublishParts> {
        let topic = self.topic.name()?;
        let topic_end = self.topic_start.wrapping_add(topic.as_bytes().len());
        let payload_start = self.size().saturating_sub(self.payload.len());
        Some(PublishParts {
            places: Places {
                topic: Place::new(self.topic_start, topic_end),
                properties: Place::default(),
                payload: Place::new(payload_start, self.size()),
            },
            delivery: self.delivery,
            retain: self.retain,
            alias: None,
        })
    }
}

impl PublishParts {
    /// Decodes a PUBLISH, and keeps nothing but the places: the shortest way to a [`Message`](crate::Message).
    /// `None` for one with an alias in place of the topic, which [`Frame::decode`] reads.
    ///
    /// # Errors
    ///
    /// As [`Frame::decode`]; of kind
    /// [`DecodeErrorKind::NotPublish`](crate::DecodeErrorKind::NotPublish) for other packets.
    #[inline(always)]
    pub fn decode(
        frame: &Frame<'_>,
        version: ProtocolVersion,
    ) -> Result<Option<Self>, DecodeError> {
        frame.decode_publish_as(version, |publish| Self::in_frame(frame, &publish))
    }

    /// The parts of a packet that was decoded from this frame.
    #[inline(always)]
    fn in_frame(frame: &Frame<'_>, publish: &Publish<'_>) -> Option<Self> {
        let topic = publish.topic.name()?;
        // Behind the header and the length of the topic.
        let topic_start = frame.header_len().wrapping_add(2);
        let topic_end = topic_start.wrapping_add(topic.as_bytes().len());
        let id_len = if publish.delivery.id().is_some() {
            2
        } else {
            0
        };
        let block_start = topic_end.wrapping_add(id_len);
        let payload_end = frame.size();
        let payload_start = payload_end.saturating_sub(publish.payload.len());
        let block = payload_start.saturating_sub(block_start);
        let places = Places {
            topic: Place::new(topic_start, topic_end),
            // In 3.1.1 there is no block, in 5.0 often an empty one.
            properties: match block {
                0 | 1 => Place::default(),
                _ => Place::new(
                    payload_start.saturating_sub(without_length(block)),
                    payload_start,
                ),
            },
            payload: Place::new(payload_start, payload_end),
        };
        Some(Self {
            places,
            delivery: publish.delivery,
            retain: publish.retain,
            alias: publish.topic.alias(),
        })
    }

    /// The QoS, the packet identifier and DUP.
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// The alias that the packet sets for its topic (5.0).
    #[must_use]
    pub const fn alias(&self) -> Option<TopicAlias> {
        self.alias
    }
}

/// The length of a property block that has so many bytes with its length in front.
const fn without_length(block: usize) -> usize {
    match block {
        0..=0x80 => block.saturating_sub(1),
        0x81..=0x4001 => block.saturating_sub(2),
        0x4002..=0x20_0002 => block.saturating_sub(3),
        _ => block.saturating_sub(4),
    }
}

/// Where the parts of a PUBLISH are in some bytes, if they are there.
pub(super) fn places_in(frame: &[u8], publish: &Publish<'_>) -> Option<Places> {
    let topic = place_in(frame, publish.topic.name()?.as_bytes())?;
    let payload = place_in(frame, publish.payload)?;
    let id_len = if publish.delivery.id().is_some() {
        2
    } else {
        0
    };
    let start = topic.range().end.checked_add(id_len)?;
    let end = payload.range().start;
    let block = WithAlias {
        properties: &publish.properties,
        alias: publish.topic.alias(),
    };
    let expected = if block.is_empty() {
        0
    } else {
        block_size(&block)
    };
    // A payload that begins elsewhere, or other properties: what is between is no block then.
    let properties = match (end.checked_sub(start)?, expected) {
        (0 | 1, 0) => Place::default(),
        (len, 1..) if without_length(len) == expected => {
            Place::new(end.checked_sub(expected)?, end)
        }
        _ => return None,
    };
    Some(Places {
        topic,
        properties,
        payload,
    })
}

/// Where a part of some bytes is, if it is one.
#[inline]
pub(super) fn place_in(whole: &[u8], part: &[u8]) -> Option<Place> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then(|| Place::new(start, end))
}
