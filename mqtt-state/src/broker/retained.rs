//! Retained messages: keeping them, and greeting new subscriptions with them.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use mqtt_codec::{Message, QoS, TopicFilter, TopicName};
use mqtt_topic::QueryProgress;

use super::Broker;
use super::routing::Copy;
use super::sessions::SessionKey;
use super::store::{MessageName, MessageRef};
use super::timers::Timer;
use crate::Timestamp;

/// Messages of a replay that wait for a client at once; the rest stays in the index until there
/// is room again.
const REPLAY_WINDOW: usize = 64;

/// Topics looked at in one query of the index.
const REPLAY_BUDGET: usize = 256;

/// What became of the replays of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replays {
    /// There are none, or there is no room now.
    Wait,
    /// Messages wait for the client that did not before.
    Queued,
    /// This call has no steps left.
    OutOfSteps,
}

impl Broker {
    /// Keeps a message for later subscribers, in place of the one before.
    // [5:MQTT-3.3.1-5] [3:MQTT-3.3.1-5] [3:MQTT-3.3.1-7]
    pub(super) fn retain(&mut self, name: TopicName<'_>, reference: &MessageRef) {
        let bytes = self.store.message(reference).map_or(0, Message::len_held);
        let kept = self.store.share(reference);
        match self.retained.set(name, kept, bytes) {
            Ok(replaced) => {
                if let Some(before) = replaced {
                    self.store.supersede(&before);
                    self.not_kept(before);
                }
                if let Some(at) = self.store.expires_at(reference) {
                    self.timers.set(at, Timer::Retained(reference.name()));
                }
                let stamp = self.stamp_of(name);
                self.store.record_retained(reference, stamp);
            }
            Err(refused) => {
                self.store.release(refused.message);
                // The one before goes all the same.
                self.clear_retained(name);
                self.not_retained(name);
            }
        }
        self.weigh_indexes();
    }

    /// Forgets the retained message of a topic, as a newer one has come. A replay of it that still
    /// waits somewhere is void: at QoS 1 it could come after the newer one at QoS 0.
    pub(super) fn clear_retained(&mut self, name: TopicName<'_>) {
        if let Some(reference) = self.retained.get(name) {
            self.store.supersede(reference);
        }
        self.forget_retained(name);
    }

    /// Forgets the retained message of a topic. Who waits for it still gets it.
    pub(super) fn forget_retained(&mut self, name: TopicName<'_>) {
        if let Some(removed) = self.retained.remove(name) {
            self.not_kept(removed);
            self.weigh_indexes();
        }
    }

    /// A message is no longer the retained one of its topic, and does not expire as such.
    fn not_kept(&mut self, reference: MessageRef) {
        if let Some(at) = self.store.expires_at(&reference) {
            self.timers.cancel(at, Timer::Retained(reference.name()));
        }
        self.store.record_not_retained(&reference);
        self.store.release(reference);
    }

    /// The expiry of a retained message has passed: its topic has none any more.
    // [5:MQTT-3.3.2-5]
    pub(super) fn expire_retained(&mut self, expired: MessageName) {
        // It is retained still: who is not has no such deadline.
        if let Some(message) = self.store.named(expired).cloned() {
            self.forget_retained(message.topic());
            self.note_expired(message.topic());
        }
    }

    /// There is no subscription any more that a replay would be for.
    pub(super) fn drop_replay(&mut self, key: SessionKey, filter: TopicFilter<'_>) {
        if let Some(entry) = self.sessions.get_mut(key) {
            let replays = &mut entry.replays;
            replays.retain(|replay| *replay.filter != *filter.as_bytes());
            self.sessions.weigh(key);
        }
    }

    /// What is still to come of a replay comes at no higher QoS than this.
    pub(super) fn lower_replay(&mut self, key: SessionKey, filter: TopicFilter<'_>, qos_max: QoS) {
        let replays = { self.sessions.get_mut(key).into_iter() };
        for replay in replays.flat_map(|entry| entry.replays.iter_mut()) {
            if *replay.filter == *filter.as_bytes() {
                replay.qos = replay.qos.min(qos_max);
            }
        }
    }

    /// Goes on with the replays of a session while there is room for their messages, and there are
    /// steps for the topics that have to be looked at.
    pub(super) fn advance_replays(&mut self, now: Timestamp, key: SessionKey) -> Replays {
        let config = &self.config;
        let window = REPLAY_WINDOW
            .min(config.server.waiting_len_max)
            .min(config.waiting_qos0_len_max)
            // What there is no room for is dropped one by one.
            .max(1);
        // What is live has the other half.
        let bytes_max = config.server.messages_bytes_max / 2;
        let mut queued = false;
        loop {
            let done = |otherwise| if queued { Replays::Queued } else { otherwise };
            let Some(entry) = self.sessions.get_mut(key) else {
                return done(Replays::Wait);
            };
            let at_hand = self.connections.past_session_len(entry.connection);
            let waiting_len = { entry.session.waiting_len() }.saturating_add(at_hand);
            let room = window.saturating_sub(waiting_len);
            let mut bytes = entry.session.messages_bytes();
            if room == 0 || bytes > bytes_max {
                return done(Replays::Wait);
            }
            let steps = REPLAY_BUDGET.min(self.work.left());
            if steps == 0 && !entry.replays.is_empty() {
                return done(Replays::OutOfSteps);
            }
            let Some(mut replay) = entry.replays.pop_front() else {
                return done(Replays::Wait);
            };
            self.work.spend(steps);
            let mut found = Vec::new();
            let Self {
                store,
                retained,
                subscriptions,
                ..
            } = &mut *self;
            let filter = TopicFilter::assume_valid(&replay.filter);
            let subscription = subscriptions.get(filter, key);
            let denies = |name: TopicName<'_>| subscription.is_some_and(|held| held.denies(name));
            let progress = retained.query(filter, &mut replay.cursor, steps, |name, reference| {
                let is_alive = store.expires_at(reference).is_none_or(|at| at > now);
                if store.is_among(reference, replay.of_first) && is_alive && !denies(name) {
                    let size = store.message(reference).map_or(0, Message::len_held);
                    bytes = bytes.saturating_add(size);
                    found.push(store.share(reference));
                }
                if found.len() < room && bytes <= bytes_max {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            for reference in found {
                let published = self
                    .store
                    .message(&reference)
                    .map_or(replay.qos, Message::qos);
                let copy = Copy {
                    // [5:MQTT-3.8.4-8] [3:MQTT-3.8.4-6]
                    qos: published.min(replay.qos),
                    // [3:MQTT-3.3.1-8] Sent because of a new subscription: RETAIN 1.
                    retain: true,
                    is_replay: true,
                    group: None,
                    subscription_ids: replay.subscription_id.into_iter().collect(),
                };
                queued |= self.deliver(key, &reference, copy);
                self.store.release(reference);
            }
            if progress == QueryProgress::More
                && let Some(entry) = self.sessions.get_mut(key)
            {
                entry.replays.push_front(replay);
            }
            self.sessions.weigh(key);
        }
    }
}
