//! Topic aliases of one connection, one table for each direction. They die with the connection.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use mqtt_codec::{ProtocolVersion, PublishTopic, SharedTopic, TopicAlias, TopicName};

use crate::ProtocolError;

/// Aliases that the peer sets.
// [5:MQTT-3.3.2-7] New with every connection.
#[derive(Debug)]
pub(crate) struct InboundAliases {
    maximum: u16,
    topics: BTreeMap<TopicAlias, SharedTopic>,
}

/// The topic of a received PUBLISH, found in the packet or through its alias.
#[derive(Clone, Debug)]
pub(crate) enum Topic<'p> {
    Named(TopicName<'p>),
    Aliased(SharedTopic),
}

impl Topic<'_> {
    pub(crate) fn name(&self) -> TopicName<'_> {
        match self {
            Self::Named(name) => *name,
            Self::Aliased(topic) => topic.name(),
        }
    }
}

impl InboundAliases {
    pub(crate) fn new(maximum: u16) -> Self {
        Self {
            maximum,
            topics: BTreeMap::new(),
        }
    }

    /// The topic that was set for an alias.
    #[inline]
    pub(crate) fn known(&self, alias: TopicAlias) -> Option<&SharedTopic> {
        self.topics.get(&alias)
    }

    /// Finds the topic of a PUBLISH and remembers what the packet sets.
    pub(crate) fn resolve<'p>(
        &mut self,
        topic: PublishTopic<'p>,
    ) -> Result<Topic<'p>, ProtocolError> {
        let Some(alias) = topic.alias() else {
            return match topic {
                PublishTopic::Name(name) | PublishTopic::NameAndAlias(name, _) => {
                    Ok(Topic::Named(name))
                }
                PublishTopic::Alias(alias) => {
                    Err(ProtocolError::UnknownTopicAlias { alias: alias.get() })
                }
            };
        };
        // [5:MQTT-3.3.2-10] [5:MQTT-3.3.2-12] Every alias up to the announced maximum is taken, and none above.
        if alias.get() > self.maximum {
            return Err(ProtocolError::TopicAliasOutOfRange {
                alias: alias.get(),
                maximum: self.maximum,
            });
        }
        match topic.name() {
            Some(name) => {
                self.topics.insert(alias, name.into());
                Ok(Topic::Named(name))
            }
            None => match self.topics.get(&alias) {
                Some(topic) => Ok(Topic::Aliased(topic.clone())),
                None => Err(ProtocolError::UnknownTopicAlias { alias: alias.get() }),
            },
        }
    }
}

/// Aliases that this side sets: on its own for topics that repeat, and for those it was told to.
#[derive(Debug)]
pub(crate) struct OutboundAliases {
    maximum: u16,
    is_automatic: bool,
    /// Place `n` is alias `n + 1`. Few enough for a linear search.
    slots: Vec<Slot>,
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    topic: Bytes,
    last_used: u64,
    /// Never given to another topic.
    is_pinned: bool,
    /// The peer knows it.
    is_set: bool,
}

/// What an alias does for one PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AliasUse {
    None,
    Set(TopicAlias),
    Use(TopicAlias),
}

/// The property takes three bytes, so shorter topics gain nothing.
const PROPERTY_LEN: usize = 3;

impl OutboundAliases {
    /// `peer_maximum` is what the peer announced, `own_maximum` what this side wants to keep.
    // [5:MQTT-3.1.2-26] [5:MQTT-3.1.2-27] [5:MQTT-3.2.2-17] [5:MQTT-3.2.2-18] [5:MQTT-3.3.2-9] [5:MQTT-3.3.2-11]
    // Never above the peer's maximum, which is 0 when it announced none.
    pub(crate) fn new(
        version: ProtocolVersion,
        peer_maximum: u16,
        own_maximum: u16,
        is_automatic: bool,
    ) -> Self {
        let maximum = match version {
            ProtocolVersion::V3_1_1 => 0,
            ProtocolVersion::V5_0 => peer_maximum.min(own_maximum),
        };
        Self {
            maximum,
            is_automatic,
            slots: Vec::new(),
            clock: 0,
        }
    }

    /// Whether the peer takes any.
    #[inline]
    pub(crate) const fn are_possible(&self) -> bool {
        self.maximum > 0
    }

    /// Whether an alias would gain anything for a topic.
    fn may_use(&self, topic: TopicName<'_>) -> bool {
        self.are_possible() && topic.as_bytes().len() > PROPERTY_LEN
    }

    /// What to do for a topic. Nothing is remembered before [`commit`](Self::commit).
    pub(crate) fn choose(&self, topic: TopicName<'_>) -> AliasUse {
        if !self.may_use(topic) {
            return AliasUse::None;
        }
        if let Some(place) = self
            .slots
            .iter()
            .position(|slot| slot.topic == topic.as_bytes())
        {
            let is_set = self.slots.get(place).is_some_and(|slot| slot.is_set);
            let choice = if is_set { AliasUse::Use } else { AliasUse::Set };
            return alias_at(place).map_or(AliasUse::None, choice);
        }
        if !self.is_automatic {
            return AliasUse::None;
        }
        if self.slots.len() < usize::from(self.maximum) {
            return alias_at(self.slots.len()).map_or(AliasUse::None, AliasUse::Set);
        }
        // A mapping in use is not thrown out for a topic that may never come again.
        let stale =
            |slot: &Slot| self.clock.saturating_sub(slot.last_used) > u64::from(self.maximum);
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| stale(slot) && !slot.is_pinned)
            .min_by_key(|(_, slot)| slot.last_used)
            .and_then(|(place, _)| alias_at(place))
            .map_or(AliasUse::None, AliasUse::Set)
    }

    /// The PUBLISH with this choice is on its way.
    pub(crate) fn commit(&mut self, choice: AliasUse, topic: TopicName<'_>) {
        self.clock = self.clock.saturating_add(1);
        let (AliasUse::Set(alias) | AliasUse::Use(alias)) = choice else {
            return;
        };
        let place = usize::from(alias.get()).saturating_sub(1);
        match self.slots.get_mut(place) {
            Some(slot) if choice == AliasUse::Use(alias) => slot.last_used = self.clock,
            Some(slot) => {
                slot.last_used = self.clock;
                slot.is_set = true;
                if slot.topic != topic.as_bytes() {
                    slot.topic = Bytes::copy_from_slice(topic.as_bytes());
                }
            }
            None => self.slots.push(Slot {
                topic: Bytes::copy_from_slice(topic.as_bytes()),
                last_used: self.clock,
                is_pinned: false,
                is_set: true,
            }),
        }
    }

    /// The topic gets an alias with its next PUBLISH, and keeps it; nothing, if all of them are
    /// pinned to others.
    pub(crate) fn pin(&mut self, topic: &Bytes) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.topic == *topic) {
            slot.is_pinned = true;
            return;
        }
        let slot = Slot {
            topic: topic.clone(),
            last_used: self.clock,
            is_pinned: true,
            is_set: false,
        };
        if self.slots.len() < usize::from(self.maximum) {
            self.slots.push(slot);
            return;
        }
        let others = self.slots.iter_mut().filter(|slot| !slot.is_pinned);
        if let Some(oldest) = others.min_by_key(|slot| slot.last_used) {
            *oldest = slot;
        }
    }

    /// The topic's alias may be given to another one again.
    pub(crate) fn unpin(&mut self, topic: &[u8]) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.topic == topic) {
            slot.is_pinned = false;
        }
    }
}

fn alias_at(place: usize) -> Option<TopicAlias> {
    TopicAlias::new(u16::try_from(place.checked_add(1)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName<'_> {
        TopicName::new(text).unwrap()
    }

    fn alias(value: u16) -> TopicAlias {
        TopicAlias::new(value).unwrap()
    }

    #[test]
    fn inbound_follows_the_table_of_the_standard() {
        // [5:MQTT-3.3.2-10] [5:MQTT-3.3.2-12] [5:MQTT-3.3.2-7]
        let mut aliases = InboundAliases::new(2);
        let unknown = aliases.resolve(PublishTopic::Alias(alias(1))).unwrap_err();
        assert_eq!(unknown, ProtocolError::UnknownTopicAlias { alias: 1 });
        assert_eq!(
            aliases
                .resolve(PublishTopic::NameAndAlias(name("a"), alias(2)))
                .unwrap()
                .name(),
            name("a")
        );
        assert_eq!(
            aliases
                .resolve(PublishTopic::Alias(alias(2)))
                .unwrap()
                .name(),
            name("a")
        );
        assert_eq!(
            aliases
                .resolve(PublishTopic::NameAndAlias(name("b"), alias(2)))
                .unwrap()
                .name(),
            name("b")
        );
        assert_eq!(
            aliases
                .resolve(PublishTopic::Alias(alias(2)))
                .unwrap()
                .name(),
            name("b"),
            "replaced"
        );
        let above = aliases
            .resolve(PublishTopic::NameAndAlias(name("c"), alias(3)))
            .unwrap_err();
        assert_eq!(
            above,
            ProtocolError::TopicAliasOutOfRange {
                alias: 3,
                maximum: 2
            }
        );
    }

    #[test]
    fn outbound_sets_once_then_uses() {
        let mut aliases = OutboundAliases::new(ProtocolVersion::V5_0, 2, 10, true);
        let mut send = |text| {
            let choice = aliases.choose(name(text));
            aliases.commit(choice, name(text));
            choice
        };
        assert_eq!(send("house/light"), AliasUse::Set(alias(1)));
        assert_eq!(send("house/light"), AliasUse::Use(alias(1)));
        assert_eq!(send("a"), AliasUse::None, "shorter than the property");
        assert_eq!(send("house/door"), AliasUse::Set(alias(2)));
        assert_eq!(
            send("house/window"),
            AliasUse::None,
            "both aliases are in use"
        );
        for _ in 0..3 {
            assert_eq!(send("house/door"), AliasUse::Use(alias(2)));
        }
        assert_eq!(
            send("house/window"),
            AliasUse::Set(alias(1)),
            "the one not used for long is replaced"
        );
        assert_eq!(send("house/light"), AliasUse::None);
    }

    #[test]
    fn a_pinned_topic_gets_an_alias_and_keeps_it() {
        let mut aliases = OutboundAliases::new(ProtocolVersion::V5_0, 2, 10, false);
        let pinned = Bytes::from_static(b"house/light");
        aliases.pin(&pinned);
        let send = |aliases: &mut OutboundAliases, text| {
            let choice = aliases.choose(name(text));
            aliases.commit(choice, name(text));
            choice
        };
        assert_eq!(
            send(&mut aliases, "house/door"),
            AliasUse::None,
            "not by itself"
        );
        assert_eq!(send(&mut aliases, "house/light"), AliasUse::Set(alias(1)));
        assert_eq!(send(&mut aliases, "house/light"), AliasUse::Use(alias(1)));
        aliases.is_automatic = true;
        for text in ["house/door", "house/window", "house/roof"] {
            for _ in 0..5 {
                assert_ne!(send(&mut aliases, text), AliasUse::Set(alias(1)), "{text}");
            }
        }
        assert_eq!(send(&mut aliases, "house/light"), AliasUse::Use(alias(1)));
        aliases.unpin(&pinned);
        let mut taken = (0..9).map(|n| send(&mut aliases, ["house/hall", "house/attic"][n % 2]));
        assert!(taken.any(|choice| choice == AliasUse::Set(alias(1))));
    }

    #[test]
    fn a_topic_keeps_the_alias_that_it_has_when_it_is_pinned() {
        let mut aliases = OutboundAliases::new(ProtocolVersion::V5_0, 2, 10, true);
        let topics = ["house/light", "house/door"].map(|text| Bytes::from_static(text.as_bytes()));
        for topic in &topics {
            let text = str::from_utf8(topic).unwrap();
            let choice = aliases.choose(name(text));
            aliases.commit(choice, name(text));
            aliases.pin(topic);
        }
        // Both are taken for good, until one is given free.
        let other = Bytes::from_static(b"house/window");
        aliases.pin(&other);
        aliases.unpin(b"house/roof");
        assert_eq!(aliases.choose(name("house/light")), AliasUse::Use(alias(1)));
        assert_eq!(aliases.choose(name("house/door")), AliasUse::Use(alias(2)));
        assert_eq!(aliases.choose(name("house/window")), AliasUse::None);
        aliases.unpin(&topics[1]);
        aliases.pin(&other);
        assert_eq!(
            aliases.choose(name("house/window")),
            AliasUse::Set(alias(2))
        );
    }

    #[test]
    fn outbound_stays_below_both_maxima_and_out_of_3_1_1() {
        // [5:MQTT-3.1.2-26] [5:MQTT-3.1.2-27] [5:MQTT-3.2.2-17] [5:MQTT-3.2.2-18]
        for (version, peer, own) in [
            (ProtocolVersion::V5_0, 0, 10),
            (ProtocolVersion::V5_0, 10, 0),
            (ProtocolVersion::V3_1_1, 10, 10),
        ] {
            let aliases = OutboundAliases::new(version, peer, own, true);
            assert_eq!(
                aliases.choose(name("house/light")),
                AliasUse::None,
                "{version} {peer} {own}"
            );
        }
    }
}
