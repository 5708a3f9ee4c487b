//! Topic, properties and payload in memory of their own.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use mqtt_topic::TopicName;

use super::parts::{Place, Places};
use crate::PublishProperties;
use crate::packet::publish::WithAlias;
use crate::property::{Block5, block_len};
use crate::wire::BufWriter;

pub(super) fn block_size(block: &impl Block5) -> usize {
    usize::try_from(block_len(block)).unwrap_or(usize::MAX)
}

/// Topic, properties and payload in one piece of memory.
pub(super) fn copy(
    topic: TopicName<'_>,
    properties: &PublishProperties<'_>,
    payload: &[u8],
) -> (Bytes, Places) {
    let block = WithAlias {
        properties,
        alias: None,
    };
    let topic_end = topic.as_bytes().len();
    let properties_end = topic_end.saturating_add(block_size(&block));
    let end = properties_end.saturating_add(payload.len());
    let mut bytes = Vec::with_capacity(end);
    bytes.extend_from_slice(topic.as_bytes());
    block.write(&mut BufWriter(&mut bytes));
    bytes.extend_from_slice(payload);
    let places = Places {
        topic: Place::new(0, topic_end),
        properties: Place::new(topic_end, properties_end),
        payload: Place::new(properties_end, end),
    };
    (Bytes::from(bytes), places)
}

/// Empty memory for so many bytes: this one, where it fits.
#[inline]
pub(super) fn with_room(memory: BytesMut, len: usize) -> BytesMut {
    let capacity = memory.capacity();
    if capacity >= len && capacity <= len.saturating_mul(2).saturating_add(128) {
        return memory;
    }
    let mut memory = BytesMut::with_capacity(len);
    // Counted from the start, so that it can be used again however long the next message is.
    let _counted = memory.split_off(len);
    memory
}

/// The same in memory that was used before, where it fits.
pub(super) fn copy_into(
    memory: BytesMut,
    topic: TopicName<'_>,
    properties: &PublishProperties<'_>,
    payload: &[u8],
) -> (Bytes, Places) {
    let block = WithAlias {
        properties,
        alias: None,
    };
    let is_plain = block.is_empty();
    let block_len = if is_plain { 0 } else { block_size(&block) };
    let topic_end = topic.as_bytes().len();
    let properties_end = topic_end.saturating_add(block_len);
    let end = properties_end.saturating_add(payload.len());
    let mut memory = with_room(memory, end);
    memory.extend_from_slice(topic.as_bytes());
    if !is_plain {
        block.write(&mut BufWriter(&mut memory));
    }
    memory.extend_from_slice(payload);
    let places = Places {
        topic: Place::new(0, topic_end),
        properties: Place::new(topic_end, properties_end),
        payload: Place::new(properties_end, end),
    };
    (memory.freeze(), places)
}
