//! What was found for topics that come again and again.

use alloc::vec::Vec;

use crate::TopicName;
use crate::index::{Id, Seed, below};

/// Names one state of the filters: what is found depends on it alone.
///
/// The count is enough for one index. Copies of an index that have changed apart may have counted
/// alike; they differ in what was mixed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    changes: u64,
    history: u64,
}

/// What happened to the filters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'t> {
    Inserted {
        parent: Id,
        child: Id,
        level: &'t [u8],
    },
    Removed(Id),
    FirstSubscriber(Id),
    LastSubscriber(Id),
}

impl Version {
    pub(super) fn note(&mut self, change: Change<'_>) {
        let (id, what) = match change {
            Change::Inserted {
                parent,
                child,
                level,
            } => (child, below(parent.get(), Seed::new(1).text(level))),
            Change::Removed(id) => (id, 2),
            Change::FirstSubscriber(id) => (id, 3),
            Change::LastSubscriber(id) => (id, 4),
        };
        self.changes = self.changes.wrapping_add(1);
        self.history = below(id.get(), self.history.rotate_left(1) ^ what);
    }
}

/// The filters that match some topics. Each topic has one place, by its hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// A power of two, or none.
    places: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    version: Version,
    topic: Vec<u8>,
    hits: Vec<Id>,
}

/// Longer topics, and those with more filters, are looked up each time.
const TOPIC_MAX: usize = 256;
const HITS_MAX: usize = 64;

impl Recent {
    /// Room for at least so many topics.
    pub(super) fn with_places(topics: usize) -> Self {
        let len = match topics {
            0 => 0,
            some => some.min(1 << 20).next_power_of_two(),
        };
        Self {
            places: (0..len).map(|_| Place::default()).collect(),
        }
    }

    /// Where the topic is, if it can be; whether it is there, is not said.
    #[inline]
    pub(super) fn place_of(&self, topic: TopicName<'_>) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        let bytes = topic.as_bytes();
        if bytes.len() > TOPIC_MAX {
            return None;
        }
        let hash = Seed::new(0).text(bytes);
        Some(usize::try_from(hash >> 32).unwrap_or(0) & mask)
    }

    /// Whether a place has this topic, as it is now.
    #[inline]
    pub(super) fn holds(&self, place: usize, version: Version, topic: TopicName<'_>) -> bool {
        self.places
            .get(place)
            .is_some_and(|place| place.version == version && *place.topic == *topic.as_bytes())
    }

    #[inline]
    pub(super) fn hits(&self, place: usize) -> &[Id] {
        self.places.get(place).map_or(&[], |place| &place.hits)
    }

    /// Answers whether it was taken.
    pub(super) fn note(
        &mut self,
        place: usize,
        version: Version,
        topic: TopicName<'_>,
        hits: &[Id],
    ) -> bool {
        let Some(place) = self.places.get_mut(place) else {
            return false;
        };
        if hits.len() > HITS_MAX {
            return false;
        }
        place.version = version;
        place.topic.clear();
        place.topic.extend_from_slice(topic.as_bytes());
        place.hits.clear();
        place.hits.extend_from_slice(hits);
        true
    }
}
