//! SUBSCRIBE: a client asks for messages.
//!
//! ```text
//! | packet identifier | properties (5.0) | (topic filter | options) x n |
//! ```

use core::fmt;

use mqtt_topic::TopicFilter;

use super::{Body, Lengths};
use crate::error::NotInVersion;
use crate::list::{Item, List, sealed, take_byte, take_bytes};
use crate::property::{Block5, PropertySink, Slot, read_block, write_block};
use crate::wire::{Header, Reader, Sink};
use crate::{
    DecodeError, DecodeErrorKind, EncodeError, Field, PacketId, PropertyId, ProtocolVersion, QoS,
    SubscriptionId, UserProperties,
};

const QOS: u8 = 0b0000_0011;
const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u32 = 4;

/// SUBSCRIBE: filters, and how to deliver what they match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct Subscribe<'a> {
    /// Comes back in SUBACK.
    pub id: PacketId,
    /// At least one.
    pub filters: SubscribeFilters<'a>,
    /// 5.0 only.
    pub properties: SubscribeProperties<'a>,
}

/// The properties of SUBSCRIBE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct SubscribeProperties<'a> {
    /// Comes back with every message that one of the filters matched.
    pub subscription_id: Option<SubscriptionId>,
    /// For the applications.
    pub user_properties: UserProperties<'a>,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a pair, as the standard has it")]
pub struct SubscribeFilter<'a> {
    /// What to match.
    pub filter: TopicFilter<'a>,
    /// How to deliver it.
    pub options: SubscriptionOptions,
}

/// How a subscription wants its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update; the standard fixes the fields"
)]
pub struct SubscriptionOptions {
    /// The highest QoS.
    pub qos: QoS,
    /// Not what this client published itself (5.0).
    pub no_local: bool,
    /// With the RETAIN flag that the message was published with (5.0).
    pub retain_as_published: bool,
    /// Which retained messages come at once (5.0).
    pub retain_handling: RetainHandling,
}

/// Which retained messages a new subscription gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the standard has these three")]
pub enum RetainHandling {
    /// Those that match, at every SUBSCRIBE.
    #[default]
    Send,
    /// Those that match, if the subscription did not exist before.
    SendIfNew,
    /// None.
    DoNotSend,
}

/// The filters of a SUBSCRIBE, in their order.
pub type SubscribeFilters<'a> = List<'a, SubscribeFilter<'a>>;

/// Why filters make no SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FiltersError {
    /// There is none.
    Empty,
    /// A shared subscription with No Local.
    NoLocalOnShared,
}

impl fmt::Display for FiltersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "at least one filter is needed",
            Self::NoLocalOnShared => "a shared subscription cannot have No Local",
        })
    }
}

impl core::error::Error for FiltersError {}

impl SubscriptionOptions {
    /// These options with a QoS, and otherwise as in 3.1.1.
    #[must_use]
    pub fn new(qos: QoS) -> Self {
        Self {
            qos,
            ..Self::default()
        }
    }

    pub(crate) fn value(self) -> u8 {
        let handling = match self.retain_handling {
            RetainHandling::Send => 0_u8,
            RetainHandling::SendIfNew => 1,
            RetainHandling::DoNotSend => 2,
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        u8::from(self.qos)
            | flag(self.no_local, NO_LOCAL)
            | flag(self.retain_as_published, RETAIN_AS_PUBLISHED)
            | (handling << RETAIN_HANDLING_SHIFT)
    }

    pub(crate) fn from_value(value: u8) -> Result<Self, DecodeErrorKind> {
        Ok(Self {
            qos: QoS::try_from(value & 0b11).map_err(|_| DecodeErrorKind::QoS3)?,
            no_local: value & NO_LOCAL != 0,
            retain_as_published: value & RETAIN_AS_PUBLISHED != 0,
            retain_handling: match (value >> RETAIN_HANDLING_SHIFT) & 0b11 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(DecodeErrorKind::RetainHandling3),
            },
        })
    }
}

impl<'a> SubscribeFilter<'a> {
    /// A filter with a QoS, and otherwise as in 3.1.1.
    ///
    /// # Errors
    ///
    /// [`TopicError`](crate::TopicError) says what is wrong with the filter and where.
    pub fn new(filter: &'a str, qos: QoS) -> Result<Self, crate::TopicError> {
        Ok(Self {
            filter: TopicFilter::new(filter)?,
            options: SubscriptionOptions::new(qos),
        })
    }
}

impl<'a> List<'a, SubscribeFilter<'a>> {
    /// These filters.
    ///
    /// # Errors
    ///
    /// [`FiltersError`].
    // [5:MQTT-3.8.3-2] [3:MQTT-3.8.3-3] [5:MQTT-3.8.3-4]
    pub fn new(filters: &'a [SubscribeFilter<'a>]) -> Result<Self, FiltersError> {
        if filters.is_empty() {
            return Err(FiltersError::Empty);
        }
        let shared = |filter: TopicFilter<'_>| filter.as_bytes().starts_with(b"$share/");
        if filters
            .iter()
            .any(|entry| entry.options.no_local && shared(entry.filter))
        {
            return Err(FiltersError::NoLocalOnShared);
        }
        Ok(Self::from_slice(filters))
    }
}

impl sealed::Sealed for SubscribeFilter<'_> {}

impl<'a> Item<'a> for SubscribeFilter<'a> {
    fn next(rest: &mut &'a [u8]) -> Option<Self> {
        let filter = TopicFilter::assume_valid(take_bytes(rest)?);
        let options = SubscriptionOptions::from_value(take_byte(rest)?).ok()?;
        Some(Self { filter, options })
    }
}

impl<'a> Subscribe<'a> {
    pub(crate) fn decode(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let id = reader.packet_id()?;
        let mut subscription_id = None;
        let block = read_block(reader, Slot::Subscribe, version, |id, reader| {
            if id != PropertyId::SubscriptionIdentifier {
                return Err(reader.misplaced(id));
            }
            subscription_id = Some(crate::property::read_subscription_id(reader)?);
            Ok(())
        })?;
        let filters = SubscribeFilters::from_run(reader.rest());
        // [5:MQTT-3.8.3-2] [3:MQTT-3.8.3-3]
        if reader.is_empty() {
            return Err(reader.error(DecodeErrorKind::NoFilters, Field::TopicFilter));
        }
        for _ in 0..reader.counts().filters_max {
            if reader.is_empty() {
                break;
            }
            read_filter(reader, version)?;
        }
        reader.no_more_filters()?;
        let properties = SubscribeProperties {
            subscription_id,
            user_properties: block.user_properties(),
        };
        Ok(Self {
            id,
            filters,
            properties,
        })
    }
}

impl Body for Subscribe<'_> {
    #[inline]
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        match version {
            ProtocolVersion::V3_1_1 if self.has_plain_options() => Ok(()),
            ProtocolVersion::V3_1_1 => {
                Err(EncodeError::NotInVersion(NotInVersion::SubscriptionOptions))
            }
            ProtocolVersion::V5_0 => {
                let filters = self.filters.iter().map(|entry| entry.filter);
                check_shared(filters)
            }
        }
    }

    #[inline]
    fn write<S: Sink>(&self, version: ProtocolVersion, _: Lengths, header: Header, out: &mut S) {
        out.start(header, self.id.get().to_be_bytes());
        write_block(version, out, &self.properties);
        // What 3.1.1 cannot say was refused, and what it can say looks the same in 5.0.
        if let Some(bytes) = self.filters.as_run() {
            return out.put(bytes);
        }
        for entry in self.filters.iter() {
            out.bytes(entry.filter.as_bytes());
            out.u8(entry.options.value());
        }
    }
}

/// Checks one filter and its options.
impl Subscribe<'_> {
    /// Whether all options are the QoS alone.
    fn has_plain_options(&self) -> bool {
        let plain = |options: SubscriptionOptions| options == SubscriptionOptions::new(options.qos);
        match self.filters.as_run() {
            Some(bytes) => run_has_plain_options(bytes),
            None => self.filters.iter().all(|entry| plain(entry.options)),
        }
    }
}

/// Whether those filters that 5.0 takes for shared ones are some. In 3.1.1 they are ordinary ones.
// [5:MQTT-4.8.2-1] [5:MQTT-4.8.2-2]
pub(super) fn check_shared<'a>(
    mut filters: impl Iterator<Item = TopicFilter<'a>>,
) -> Result<(), EncodeError> {
    if filters.all(|filter| filter.shared().is_ok()) {
        return Ok(());
    }
    Err(EncodeError::NotInVersion(NotInVersion::SharedFilter))
}

/// The same for entries as they are written, which were checked before.
fn run_has_plain_options(mut bytes: &[u8]) -> bool {
    while let Some((length, behind)) = bytes.split_first_chunk() {
        let options_at = usize::from(u16::from_be_bytes(*length));
        let Some((&options, rest)) = behind.get(options_at..).and_then(<[u8]>::split_first) else {
            return false;
        };
        if options & !QOS != 0 {
            return false;
        }
        bytes = rest;
    }
    true
}

#[inline(always)]
fn read_filter(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<(), DecodeError> {
    // [5:MQTT-3.8.3-1] [3:MQTT-3.8.3-1]
    let filter = reader.topic_filter()?;
    let value = reader.u8(Field::SubscriptionOptions)?;
    // The three QoS alone: all there is in 3.1.1, and most of what there is in 5.0.
    if value < 3 {
        return Ok(());
    }
    check_options(value, filter, version).map_err(|kind| {
        let start = reader.offset().saturating_sub(1);
        reader.error_at(kind, Field::SubscriptionOptions, start)
    })
}

#[inline(never)]
fn check_options(
    value: u8,
    filter: TopicFilter<'_>,
    version: ProtocolVersion,
) -> Result<(), DecodeErrorKind> {
    let reserved = match version {
        // [3:MQTT-3.8.3-4]
        ProtocolVersion::V3_1_1 => 0b1111_1100,
        // [5:MQTT-3.8.3-5]
        ProtocolVersion::V5_0 => 0b1100_0000,
    };
    if value & reserved != 0 {
        return Err(DecodeErrorKind::ReservedBits(value));
    }
    let options = SubscriptionOptions::from_value(value)?;
    // [5:MQTT-3.8.3-4]
    if options.no_local && filter.shared().is_ok_and(|shared| shared.is_some()) {
        return Err(DecodeErrorKind::NoLocalOnShared);
    }
    Ok(())
}

impl Block5 for SubscribeProperties<'_> {
    fn write<S: Sink>(&self, out: &mut S) {
        if let Some(id) = self.subscription_id {
            out.u8(PropertyId::SubscriptionIdentifier.value());
            out.var_int(id.get());
        }
        out.user_properties(self.user_properties);
    }
}
