//! Control characters in topics, where they are asked for: a look at a packet that has been decoded, so that
//! who does not ask pays nothing.

use crate::decoder::{Rule, Strictness};
use crate::wire::first_control_character;
use crate::{DecodeError, DecodeErrorKind, Field, Packet, PropertyId, ProtocolVersion};

/// Looks at the topics of a packet that was decoded from these bytes, which begin so many bytes behind its
/// first one.
#[inline]
pub(crate) fn check_topics(
    packet: &Packet<'_>,
    (bytes, start): (&[u8], usize),
    version: ProtocolVersion,
    strictness: Strictness,
) -> Result<(), DecodeError> {
    if strictness.tolerates(Rule::ControlCharacters) {
        return Ok(());
    }
    match first_fault(packet) {
        None => Ok(()),
        Some((topic, at, field)) => {
            let place = topic.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
            let offset = start.wrapping_add(place).wrapping_add(at);
            let kind = DecodeErrorKind::ControlCharacter;
            let packet_type = Some(packet.packet_type());
            Err(DecodeError::new(
                kind,
                field,
                offset,
                packet_type,
                Some(version),
            ))
        }
    }
}

/// The first topic with one, where in it, and which field it is.
#[cold]
fn first_fault<'a>(packet: &Packet<'a>) -> Option<(&'a [u8], usize, Field)> {
    let find = |topic: &'a [u8], field| {
        let at = first_control_character(core::str::from_utf8(topic).ok()?)?;
        Some((topic, at, field))
    };
    let response_topic = Field::Property(PropertyId::ResponseTopic);
    match packet {
        Packet::Publish(publish) => {
            let name = publish.topic.name();
            name.and_then(|name| find(name.as_bytes(), Field::TopicName))
                .or_else(|| {
                    find(
                        publish.properties.response_topic?.as_bytes(),
                        response_topic,
                    )
                })
        }
        Packet::Connect(connect) => {
            let will = connect.will?;
            let response = will.properties.response_topic;
            response
                .and_then(|name| find(name.as_bytes(), response_topic))
                .or_else(|| find(will.topic.as_bytes(), Field::WillTopic))
        }
        Packet::Subscribe(subscribe) => {
            let mut filters = subscribe.filters.iter();
            filters.find_map(|entry| find(entry.filter.as_bytes(), Field::TopicFilter))
        }
        Packet::Unsubscribe(unsubscribe) => {
            let mut filters = unsubscribe.filters.iter();
            filters.find_map(|filter| find(filter.as_bytes(), Field::TopicFilter))
        }
        _ => None,
    }
}
