//! Retained messages: keeping them, and greeting new subscriptions with them.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use mqtt_codec::{Message, TopicFilter, TopicName};
use mqtt_topic::QueryProgress;

use super::Broker;
use super::event::Event;
use super::routing::Copy;
use super::sessions::SessionKey;
use super::store::{MessageName, MessageRef};
use super::timers::Timer;
use crate::Timestamp;

/// Messages of a replay that wait for a client at once; the rest stays in the index until there
/// is room again.
const REPLAY_WINDOW: usize = 64;

/// Topics looked at in one query of the index.
const REPLAY_BUDGET: usize = 1024;

impl Broker {
    /// Keeps a message for later subscribers, in place of the one before.
    // [5:MQTT-3.3.1-5] [3:MQTT-3.3.1-5] [3:MQTT-3.3.1-7]
    pub(super) fn retain(&mut self, name: TopicName<'_>, reference: &MessageRef) {
        // The one before goes in any case, even where there is no room for the new one.
        self.clear_retained(name);
        let bytes = self.store.message(reference).map_or(0, Message::len_held);
        let kept = self.store.share(reference);
        match self.retained.set(name, kept, bytes) {
            Ok(replaced) => {
                debug_assert!(replaced.is_none(), "cleared above");
                if let Some(replaced) = replaced {
                    self.store.release(replaced);
                }
                if let Some(at) = self.store.expires_at(reference) {
                    self.timers.set(at, Timer::Retained(reference.name()));
                }
                self.store.record_retained(reference);
            }
            Err(refused) => {
                self.store.release(refused.message);
                self.events.push(Event::NotRetained {
                    topic: String::from(name.as_str()),
                });
            }
        }
    }

    /// Forgets the retained message of a topic.
    pub(super) fn clear_retained(&mut self, name: TopicName<'_>) {
        if let Some(removed) = self.retained.remove(name) {
            if let Some(at) = self.store.expires_at(&removed) {
                self.timers.cancel(at, Timer::Retained(removed.name()));
            }
            self.store.record_not_retained(&removed);
            self.store.release(removed);
        }
    }

    /// The expiry of a retained message has passed: its topic has none any more.
    // [5:MQTT-3.3.2-5]
    pub(super) fn expire_retained(&mut self, expired: MessageName) {
        let Some(message) = self.store.named(expired) else {
            return;
        };
        let message = message.clone();
        if self
            .retained
            .get(message.topic())
            .is_some_and(|kept| kept.name() == expired)
        {
            self.clear_retained(message.topic());
        }
    }

    /// Goes on with the replays of a session while there is room. `true` when something was
    /// queued.
    pub(super) fn advance_replays(&mut self, now: Timestamp, key: SessionKey) -> bool {
        let window = REPLAY_WINDOW.min(self.config.server.waiting_len_max);
        let mut queued = false;
        loop {
            let Some(entry) = self.sessions.get_mut(key) else {
                return queued;
            };
            let room = window.saturating_sub(entry.session.waiting_len());
            let Some(mut replay) = (if room > 0 {
                entry.replays.pop_front()
            } else {
                None
            }) else {
                return queued;
            };
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
            let progress = retained.query(
                filter,
                &mut replay.cursor,
                REPLAY_BUDGET,
                |name, reference| {
                    if !denies(name) && store.expires_at(reference).is_none_or(|at| at > now) {
                        found.push(store.share(reference));
                    }
                    if found.len() < room {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                },
            );
            for reference in found {
                let published = self
                    .store
                    .message(&reference)
                    .map_or(replay.qos, Message::qos);
                let copy = Copy {
                    qos: published.min(replay.qos),
                    // [3:MQTT-3.3.1-8] Sent because of a new subscription: RETAIN 1.
                    retain: true,
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
        }
    }
}
