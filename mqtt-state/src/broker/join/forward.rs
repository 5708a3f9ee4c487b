//! Messages from broker to broker.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::TopicName;

use super::choice::Forwarded;
use super::message::{Body, BrokerId, FilterKey, Forward, Note};
use super::queue::{Entry, Item, Outgoing};
use super::retained::expires_in;
use super::{expires_at, is_ours};
use crate::Timestamp;
use crate::broker::store::MessageStore;
use crate::broker::{Broker, Event};

/// What is said of one thing that waits. Nothing when its message has expired and is nobody's loss.
pub(super) fn body(now: Timestamp, entry: &Entry, store: &MessageStore) -> Body {
    let note = match &entry.item {
        Item::Message(outgoing) => {
            let Some(forward) = forward(now, outgoing, store) else {
                return Body::Acknowledge;
            };
            match (outgoing.is_returned, entry.sequence) {
                (false, None) => return Body::Passing(forward),
                (false, Some(_)) => Note::Forward(forward),
                (true, _) => Note::Returned(forward),
            }
        }
        Item::Note(note) => Note::clone(note),
    };
    match entry.sequence {
        Some(sequence) => Body::Note { sequence, note },
        None => Body::Acknowledge,
    }
}

fn forward(now: Timestamp, outgoing: &Outgoing, store: &MessageStore) -> Option<Forward> {
    Some(Forward {
        message: store.message(&outgoing.message)?.clone(),
        publisher: outgoing.publisher.clone(),
        expires_in: expires_in(now, store.expires_at(&outgoing.message)),
        is_plain: outgoing.is_plain,
        groups: outgoing.groups.clone(),
        passed: outgoing.passed.as_slice().into(),
        stamp: outgoing.stamp,
    })
}

impl Broker {
    /// A message of another broker's clients.
    pub(super) fn handle_forward(&mut self, now: Timestamp, from: BrokerId, forward: Forward) {
        let Forward {
            message,
            publisher,
            expires_in,
            is_plain,
            groups,
            passed,
            stamp,
        } = forward;
        let passed = self.known_of(passed);
        if is_ours(message.topic().as_bytes()) {
            return;
        }
        if expires_in == Some(0) {
            if message.retain()
                && let Some(stamp) = stamp
            {
                self.retain_nothing(message.topic(), stamp);
            }
            return;
        }
        if !self.has_room_for(message.len_held(), message.payload().len()) {
            return self.drop_forward(from, message.topic());
        }
        // Turns that nobody here can take.
        let joined = self.joined.as_ref();
        let is_here = |filter: &_| joined.is_some_and(|joined| joined.local.contains_key(filter));
        let (here, gone): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_here);
        let at = expires_at(now, expires_in, &message);
        if !gone.is_empty()
            && let Some(reference) = self.store.insert(message.clone(), at)
        {
            for filter in gone {
                if filter.as_shared().is_some() {
                    self.return_turn(from, filter, &reference, publisher.clone(), passed.clone());
                }
            }
            self.store.release(reference);
        }
        let publisher = publisher.and_then(|client_id| self.sessions.find(&client_id));
        let forwarded = Forwarded {
            publisher,
            from,
            is_plain,
            groups: &here,
            passed: &passed,
            stamp,
        };
        self.route_forwarded(message, at, &forwarded);
    }

    /// A turn comes back: the other broker has no member any more, or none that may have it. Where it still says that
    /// there are some it is not asked again.
    pub(super) fn handle_returned(&mut self, now: Timestamp, from: BrokerId, forward: Forward) {
        let Forward {
            message,
            expires_in,
            groups,
            passed,
            ..
        } = forward;
        let passed = self.known_of(passed);
        if is_ours(message.topic().as_bytes()) || expires_in == Some(0) {
            return;
        }
        if !self.has_room_for(message.len_held(), message.payload().len()) {
            return self.drop_forward(from, message.topic());
        }
        let at = expires_at(now, expires_in, &message);
        let Some(reference) = self.store.insert(message, at) else {
            return;
        };
        for filter in groups {
            let mut passed = passed.clone();
            passed.extend(self.announces(from, &filter).then_some(from));
            self.give_turn(&filter, &reference, passed);
        }
        self.store.release(reference);
    }

    /// Whether another broker has members of a shared subscription, as it says.
    fn announces(&self, broker: BrokerId, filter: &FilterKey) -> bool {
        let shared = filter.as_shared();
        let joined = self.joined.as_ref().zip(shared);
        joined.is_some_and(|(joined, shared)| joined.interests.get_shared(shared, broker).is_some())
    }

    /// Each of these brokers once, and none that this one does not know.
    fn known_of(&self, brokers: Box<[BrokerId]>) -> Vec<BrokerId> {
        let mut brokers = brokers.into_vec();
        brokers.sort_unstable();
        brokers.dedup();
        let joined = self.joined.as_ref();
        brokers.retain(|id| {
            joined.is_some_and(|it| *id == it.config.id || it.others.contains_key(id))
        });
        brokers
    }

    fn drop_forward(&mut self, from: BrokerId, topic: TopicName<'_>) {
        self.events.push(Event::NotTaken {
            broker: from,
            topic: String::from(topic.as_str()),
        });
    }

    /// Messages that wait for a broker that is gone for good: the turns among them go to others.
    pub(super) fn release_outgoing(&mut self, items: Vec<Item>, except: Option<BrokerId>) {
        for item in items {
            let Item::Message(outgoing) = item else {
                continue;
            };
            if let Some(except) = except {
                for filter in &outgoing.groups {
                    let mut passed = outgoing.passed.clone();
                    passed.push(except);
                    self.give_turn(filter, &outgoing.message, passed);
                }
            }
            self.store.release(outgoing.message);
        }
    }
}
