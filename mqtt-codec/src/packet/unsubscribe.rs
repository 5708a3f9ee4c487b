//! UNSUBSCRIBE: a client wants no more of it.
//!
//! ```text
//! | packet identifier | properties (5.0) | topic filter x n |
//! ```

use mqtt_topic::TopicFilter;

use super::subscribe::check_shared;
use super::{Body, Lengths};
use crate::list::{Item, List, sealed, take_bytes};
use crate::property::{Block5, PropertySink, Slot, read_block, write_block};
use crate::wire::{Header, Reader, Sink};
use crate::{
    DecodeError, DecodeErrorKind, EncodeError, Field, FiltersError, PacketId, ProtocolVersion,
    UserProperties,
};

/// UNSUBSCRIBE: filters that were subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct Unsubscribe<'a> {
    /// Comes back in UNSUBACK.
    pub id: PacketId,
    /// At least one.
    pub filters: UnsubscribeFilters<'a>,
    /// For the applications (5.0).
    pub user_properties: UserProperties<'a>,
}

/// The filters of an UNSUBSCRIBE, in their order.
pub type UnsubscribeFilters<'a> = List<'a, TopicFilter<'a>>;

impl<'a> List<'a, TopicFilter<'a>> {
    /// These filters.
    ///
    /// # Errors
    ///
    /// [`FiltersError::Empty`] when there is none.
    // [5:MQTT-3.10.3-2] [3:MQTT-3.10.3-2]
    pub const fn new(filters: &'a [TopicFilter<'a>]) -> Result<Self, FiltersError> {
        if filters.is_empty() {
            Err(FiltersError::Empty)
        } else {
            Ok(Self::from_slice(filters))
        }
    }
}

impl sealed::Sealed for TopicFilter<'_> {}

impl<'a> Item<'a> for TopicFilter<'a> {
    fn next(rest: &mut &'a [u8]) -> Option<Self> {
        Some(Self::assume_valid(take_bytes(rest)?))
    }
}

impl<'a> Unsubscribe<'a> {
    pub(crate) fn decode(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let block = read_block(reader, Slot::Unsubscribe, version, |id, reader| {
            Err(reader.misplaced(id))
        })?;
        let filters = UnsubscribeFilters::from_run(reader.rest());
        // [5:MQTT-3.10.3-2] [3:MQTT-3.10.3-2]
        if reader.is_empty() {
            return Err(reader.error(DecodeErrorKind::NoFilters, Field::TopicFilter));
        }
        for _ in 0..reader.counts().filters_max {
            if reader.is_empty() {
                break;
            }
            // [5:MQTT-3.10.3-1] [3:MQTT-3.10.3-1]
            reader.topic_filter()?;
        }
        reader.no_more_filters()?;
        Ok(Self {
            id,
            filters,
            user_properties: block.user_properties(),
        })
    }
}

impl Body for Unsubscribe<'_> {
    #[inline]
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        match version {
            ProtocolVersion::V3_1_1 => Ok(()),
            ProtocolVersion::V5_0 => check_shared(self.filters.iter()),
        }
    }

    #[inline]
    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        out.start(header, self.id.get().to_be_bytes());
        write_block(version, out, &Users(self.user_properties));
        if let Some(bytes) = self.filters.as_run() {
            return out.put(bytes);
        }
        for filter in self.filters.iter() {
            out.bytes(filter.as_bytes());
        }
    }
}

struct Users<'a>(UserProperties<'a>);

impl Block5 for Users<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        out.user_properties(self.0);
    }
}
