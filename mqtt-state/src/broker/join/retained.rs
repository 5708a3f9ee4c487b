//! Retained messages of joined brokers: each has all of them, and of two for one topic the newer
//! one stays.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use mqtt_codec::{Message, QoS, TopicName};

use super::choice::Forwarded;
use super::message::{Body, BrokerId, Retained, Stamp};
use super::other::Sync;
use super::queue::Outgoing;
use super::{Joined, is_ours};
use crate::Timestamp;
use crate::broker::Broker;
use crate::weights::MAP_ENTRY;

/// What a message does to the retained message of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Retains {
    Nothing,
    /// It takes its place.
    Sets(Option<Stamp>),
    /// There is none from here on.
    Clears(Option<Stamp>),
}

impl Retains {
    pub(in crate::broker) fn stamp(self) -> Option<Stamp> {
        match self {
            Self::Nothing => None,
            Self::Sets(stamp) | Self::Clears(stamp) => stamp,
        }
    }
}

/// When each topic got or lost its retained message.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    topics: BTreeMap<Box<[u8]>, Stamped>,
    /// Topics that were cleared, oldest first; some have a message again.
    cleared: VecDeque<(Box<[u8]>, Stamp)>,
    /// The greatest count that was seen.
    count: u64,
    /// Of the topics in both.
    texts: usize,
}

#[derive(Clone, Copy, Debug)]
struct Stamped {
    stamp: Stamp,
    is_cleared: bool,
}

impl Stamps {
    /// Counts go on from there.
    pub(super) fn new(count: u64) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }

    /// A moment after all that are known.
    pub(super) fn next(&mut self, broker: BrokerId) -> Stamp {
        self.count = self.count.saturating_add(1);
        Stamp {
            count: self.count,
            broker,
        }
    }

    /// The greatest count that is known.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn note(&mut self, stamp: Stamp) {
        // Whatever is said, there are counts behind it.
        self.count = self.count.max(stamp.count.min(u64::MAX / 2));
    }

    /// Bytes of it all.
    pub(super) fn bytes(&self) -> usize {
        let places = { self.cleared.capacity() }.saturating_mul(size_of::<(Box<[u8]>, Stamp)>());
        { self.topics.len().saturating_mul(MAP_ENTRY) }
            .saturating_add(places)
            .saturating_add(self.texts)
    }

    fn remove(&mut self, topic: &[u8]) {
        if self.topics.remove(topic).is_some() {
            self.texts = self.texts.saturating_sub(topic.len());
        }
    }

    fn is_newer(&self, topic: &[u8], stamp: Stamp) -> bool {
        let held = self.topics.get(topic);
        held.is_none_or(|held| held.stamp < stamp)
    }

    fn set(&mut self, topic: &[u8], stamp: Stamp, is_cleared: bool, cleared_max: usize) {
        self.note(stamp);
        let stamped = Stamped { stamp, is_cleared };
        match self.topics.get_mut(topic) {
            Some(held) => *held = stamped,
            None => {
                self.topics.insert(topic.into(), stamped);
                self.texts = self.texts.saturating_add(topic.len());
            }
        }
        if !is_cleared {
            return;
        }
        self.cleared.push_back((topic.into(), stamp));
        self.texts = self.texts.saturating_add(topic.len());
        while self.cleared.len() > cleared_max
            && let Some((topic, stamp)) = self.cleared.pop_front()
        {
            self.texts = self.texts.saturating_sub(topic.len());
            let held = self.topics.get(&topic);
            if held.is_some_and(|held| held.is_cleared && held.stamp == stamp) {
                self.remove(&topic);
            }
        }
    }
}

impl Broker {
    /// What a message does to the retained message of its topic, and notes that it does.
    #[inline(always)]
    pub(in crate::broker) fn retains(
        &mut self,
        name: TopicName<'_>,
        retain: bool,
        is_empty: bool,
        forwarded: Option<&Forwarded<'_>>,
    ) -> Retains {
        // [5:MQTT-3.3.1-8] [3:MQTT-3.3.1-12]
        if !retain {
            return Retains::Nothing;
        }
        self.retains_it(name, is_empty, forwarded)
    }

    #[inline(never)]
    fn retains_it(
        &mut self,
        name: TopicName<'_>,
        is_empty: bool,
        forwarded: Option<&Forwarded<'_>>,
    ) -> Retains {
        let retains = |stamp| match is_empty {
            // [5:MQTT-3.3.1-6] [5:MQTT-3.3.1-7] [3:MQTT-3.3.1-10] [3:MQTT-3.3.1-11]
            true => Retains::Clears(stamp),
            false => Retains::Sets(stamp),
        };
        let remembers = self.has_bytes_for(1);
        let Some(joined) = &mut self.joined else {
            return retains(None);
        };
        let stamp = match forwarded {
            None if is_ours(name.as_bytes()) => return retains(None),
            None => joined.stamps.next(joined.config.id),
            Some(forwarded) => match forwarded.stamp {
                Some(stamp) if joined.stamps.is_newer(name.as_bytes(), stamp) => stamp,
                _older => return Retains::Nothing,
            },
        };
        let cleared_max = joined.cleared_max(remembers);
        joined
            .stamps
            .set(name.as_bytes(), stamp, is_empty, cleared_max);
        self.weigh_joined();
        retains(Some(stamp))
    }

    /// When the topic got its retained message.
    pub(in crate::broker) fn stamp_of(&self, name: TopicName<'_>) -> Option<Stamp> {
        let stamped = self.joined.as_ref()?.stamps.topics.get(name.as_bytes());
        stamped.map(|stamped| stamped.stamp)
    }

    /// A run before has counted so far.
    pub(in crate::broker) fn count_on(&mut self, count: u64) {
        if let Some(joined) = &mut self.joined {
            let broker = joined.config.id;
            joined.stamps.note(Stamp { count, broker });
        }
    }

    /// A retained message comes out of a store: whatever others have is newer, if nothing says when it came there.
    pub(in crate::broker) fn note_restored(&mut self, name: TopicName<'_>, stamp: Option<Stamp>) {
        self.with_joined(|joined| {
            let stamp = stamp.unwrap_or(Stamp {
                count: 0,
                broker: joined.config.id,
            });
            joined.stamps.set(name.as_bytes(), stamp, false, 0);
        });
    }

    /// A retained message has expired, at each broker by itself. Whatever is older stays away all the same.
    pub(in crate::broker) fn note_expired(&mut self, name: TopicName<'_>) {
        let remembers = self.has_bytes_for(1);
        if let Some(joined) = &mut self.joined
            && let Some(stamped) = joined.stamps.topics.get(name.as_bytes()).copied()
        {
            let cleared_max = joined.cleared_max(remembers);
            let stamps = &mut joined.stamps;
            stamps.set(name.as_bytes(), stamped.stamp, true, cleared_max);
            self.weigh_joined();
        }
    }

    /// There was no room for a retained message: another broker may say it again.
    fn forget_stamp(&mut self, name: TopicName<'_>) {
        self.with_joined(|joined| joined.stamps.remove(name.as_bytes()));
    }

    /// What was to be retained has expired on its way: it takes the place of an older one all the same.
    pub(super) fn retain_nothing(&mut self, name: TopicName<'_>, stamp: Stamp) {
        let remembers = self.has_bytes_for(1);
        if let Some(joined) = &mut self.joined
            && joined.stamps.is_newer(name.as_bytes(), stamp)
        {
            let cleared_max = joined.cleared_max(remembers);
            joined.stamps.set(name.as_bytes(), stamp, true, cleared_max);
            self.weigh_joined();
            self.forget_retained(name);
        }
    }

    /// The next retained message that another broker may not have.
    pub(super) fn next_retained(&mut self, now: Timestamp, id: BrokerId) -> Option<Body> {
        use core::ops::Bound::{Excluded, Unbounded};

        let joined = self.joined.as_mut()?;
        let other = joined.others.get_mut(&id)?;
        let from = match &other.retained {
            Sync::Start => Unbounded,
            Sync::Behind(last) => Excluded(last.clone()),
            Sync::Done => return None,
        };
        let mut rest = joined.stamps.topics.range((from, Unbounded));
        let found = rest.next().map(|(topic, stamped)| {
            let name = TopicName::assume_valid(topic);
            let reference = self.retained.get(name);
            let message = reference.and_then(|reference| self.store.message(reference));
            let expires_at = reference.and_then(|reference| self.store.expires_at(reference));
            let is_nothing = expires_at.is_some_and(|at| at <= now);
            let retained = Retained {
                topic: String::from(name.as_str()),
                stamp: stamped.stamp,
                message: message.filter(|_| !is_nothing).cloned(),
                expires_in: expires_in(now, expires_at).filter(|_| !is_nothing),
            };
            (topic.clone(), retained)
        });
        let Some((topic, retained)) = found else {
            other.retained = Sync::Done;
            return None;
        };
        other.retained = Sync::Behind(topic);
        Some(Body::Retained(retained))
    }

    /// Another broker says what it keeps: nobody is sent that, it was when it was new.
    pub(super) fn handle_retained(&mut self, now: Timestamp, from: BrokerId, retained: Retained) {
        let Retained {
            topic,
            stamp,
            message,
            expires_in,
        } = retained;
        let Ok(name) = TopicName::new(&topic) else {
            return;
        };
        let remembers = self.has_bytes_for(1);
        let Some(joined) = &mut self.joined else {
            return;
        };
        let is_fit = message.as_ref().is_none_or(|message| {
            message.topic() == name && message.retain() && !message.payload().is_empty()
        });
        if is_ours(name.as_bytes()) || !is_fit || !joined.stamps.is_newer(name.as_bytes(), stamp) {
            return;
        }
        let is_own = stamp.broker == joined.config.id;
        if expires_in == Some(0) {
            self.retain_nothing(name, stamp);
            if is_own {
                self.retain_elsewhere(from, name, stamp);
            }
            return;
        }
        let cleared_max = joined.cleared_max(remembers);
        joined
            .stamps
            .set(name.as_bytes(), stamp, message.is_none(), cleared_max);
        self.weigh_joined();
        // Nobody is sent the newer one, so nobody loses the older one.
        self.forget_retained(name);
        let Some(message) = message else {
            if is_own {
                self.retain_elsewhere(from, name, stamp);
            }
            return;
        };
        let has_room = self.has_room_for(message.len_held(), message.payload().len());
        let reference = if has_room {
            let at = super::expires_at(now, expires_in, &message);
            self.store.insert(message, at)
        } else {
            None
        };
        match reference {
            Some(reference) => {
                self.retain(name, &reference);
                self.store.release(reference);
                if is_own {
                    self.retain_elsewhere(from, name, stamp);
                }
            }
            None => self.not_retained(name),
        }
    }

    /// One of this broker's own has come back from another one, as a run before has lost it: nobody else tells the
    /// others, to which it may not have come.
    fn retain_elsewhere(&mut self, from: BrokerId, name: TopicName<'_>, stamp: Stamp) {
        let held = self.retained.get(name);
        let held = held.map(|reference| self.store.share(reference));
        let reference = held.or_else(|| {
            let cleared = Message::new(name.as_str(), Bytes::new()).ok()?;
            self.store.insert(cleared.with_retain(true), None)
        });
        let (Some(reference), Some(joined)) = (reference, &self.joined) else {
            return;
        };
        let message = self.store.message(&reference);
        let qos = message.map_or(QoS::AtMostOnce, Message::qos);
        let up = joined.others.iter().filter(|(_, other)| other.is_up());
        let others: Vec<_> = up.map(|(id, _)| *id).filter(|id| *id != from).collect();
        for to in others {
            let outgoing = Outgoing {
                stamp: Some(stamp),
                ..Outgoing::new(self.store.share(&reference))
            };
            self.push_outgoing(to, outgoing, qos);
        }
        self.store.release(reference);
    }

    /// There is no room for a retained message.
    pub(in crate::broker) fn not_retained(&mut self, name: TopicName<'_>) {
        self.forget_stamp(name);
        self.events.push(crate::broker::Event::NotRetained {
            topic: String::from(name.as_str()),
        });
    }
}

impl Joined {
    /// Topics without a retained message that are remembered, while there is memory.
    fn cleared_max(&self, has_memory: bool) -> usize {
        if has_memory {
            self.config.cleared_max
        } else {
            0
        }
    }

    /// Whether anything of what is retained has to be said.
    pub(super) fn retained_is_due(&self, id: BrokerId) -> bool {
        let other = self.others.get(&id);
        other.is_some_and(|other| other.retained != Sync::Done)
    }
}

/// Nanoseconds until a message expires.
pub(super) fn expires_in(now: Timestamp, at: Option<Timestamp>) -> Option<u64> {
    let left = at?.saturating_since(now).as_nanos();
    Some(u64::try_from(left).unwrap_or(u64::MAX))
}
