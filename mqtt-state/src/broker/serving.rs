//! One message on its way to those who want it: what it is for each of them.

use alloc::collections::BTreeMap;

use bytes::BytesMut;
use mqtt_codec::{Message, QoS, TopicName};
use mqtt_topic::{Group, GroupId, SubscriberMatch};

use super::join::{Joined, Reach, Shared};
use super::outlet::Outlet;
use super::routing::{Copy, Subscription, Summary};
use super::sessions::SessionKey;
use super::shared::Turn;
use super::store::{Ids, MessageRef, MessageStore};
use crate::Timestamp;

/// A message that is made when the first one wants it.
pub(super) enum Making<F> {
    Not(F),
    /// And it counts for so many bytes.
    Made(MessageRef, usize),
    /// No more messages can be named.
    Failed,
}

impl<F: FnOnce(Option<BytesMut>) -> Message> Making<F> {
    /// Makes the message, if that has not happened.
    #[inline]
    pub(super) fn make(&mut self, store: &mut MessageStore, expires_at: Option<Timestamp>) {
        if let Self::Not(_) = self
            && let Self::Not(message) = core::mem::replace(self, Self::Failed)
        {
            let message = message(store.spare_memory());
            let bytes = message.len_held();
            if let Some(reference) = store.insert(message, expires_at) {
                *self = Self::Made(reference, bytes);
            }
        }
    }
}

/// What the subscriptions of one session bring, together.
pub(super) struct Wish {
    qos: QoS,
    retain_as_published: bool,
    group: Option<GroupId>,
    ids: Ids,
}

impl Wish {
    /// How a message is for them.
    #[inline]
    pub(super) fn copy(self, summary: &Summary<'_>) -> Copy {
        Copy {
            // [5:MQTT-3.8.4-8] [3:MQTT-3.8.4-6] The lower of published and granted QoS.
            qos: summary.qos.min(self.qos),
            // [5:MQTT-3.3.1-12] [5:MQTT-3.3.1-13] [3:MQTT-3.3.1-9]
            retain: summary.retain && self.retain_as_published,
            is_replay: false,
            group: self.group,
            subscription_ids: self.ids,
        }
    }

    #[inline]
    pub(super) fn of(subscription: &Subscription, group: Option<GroupId>) -> Self {
        Self {
            qos: subscription.qos,
            retain_as_published: subscription.retain_as_published,
            group,
            ids: subscription.id.map_or(Ids::None, Ids::One),
        }
    }

    /// One copy for each session: the highest QoS, all identifiers.
    // [5:MQTT-3.3.4-2] [3:MQTT-3.3.5-1] [5:MQTT-3.3.4-3] [5:MQTT-3.3.4-4]
    // [5:MQTT-3.3.4-5] A turn in a shared subscription is a copy of its own.
    fn of_several<'s>(mut subscriptions: impl Iterator<Item = &'s Subscription>) -> Option<Self> {
        let mut wish = Self::of(subscriptions.next()?, None);
        for subscription in subscriptions {
            wish.qos = wish.qos.max(subscription.qos);
            wish.retain_as_published |= subscription.retain_as_published;
            if let Some(id) = subscription.id {
                wish.ids = wish.ids.and(id);
            }
        }
        Some(wish)
    }
}

/// Which subscriptions have a part in a message.
#[derive(Clone, Copy)]
pub(super) struct Audience<'b> {
    pub(super) name: TopicName<'b>,
    pub(super) publisher: Option<SessionKey>,
    /// The latest subscription that counts.
    pub(super) accepted: u64,
    pub(super) reach: &'b Reach,
    pub(super) joined: Option<&'b Joined>,
}

impl Audience<'_> {
    /// Whether an ordinary subscription has one.
    #[inline(always)]
    fn has(self, key: SessionKey, subscription: &Subscription) -> bool {
        subscription.since <= self.accepted
            && self.reach.takes_plain()
            && !{ self.joined }.is_some_and(|joined| joined.is_elsewhere(key, self.reach))
            && (subscription.is_simple || self.is_wanted(key, subscription))
    }

    /// Whether the subscription itself wants it.
    fn is_wanted(self, key: SessionKey, subscription: &Subscription) -> bool {
        // [5:MQTT-3.8.3-3] Not back to the client that published it.
        let is_own = subscription.no_local && self.publisher == Some(key);
        !is_own && !subscription.denies(self.name)
    }
}

/// A message, and all that it touches while it is given to those who want it.
pub(super) struct Serving<'b, F> {
    pub(super) outlet: Outlet<'b>,
    pub(super) making: &'b mut Making<F>,
    pub(super) summary: &'b Summary<'b>,
    pub(super) audience: Audience<'b>,
    /// Subscribers and groups met.
    pub(super) steps: usize,
    pub(super) receivers: usize,
}

impl<F: FnOnce(Option<BytesMut>) -> Message> Serving<'_, F> {
    /// To each of them who may have it, for his one subscription.
    #[inline(always)]
    pub(super) fn give_each(&mut self, each: &[(SessionKey, Subscription)]) {
        self.steps = self.steps.saturating_add(each.len());
        let audience = self.audience;
        let first = { each.iter() }.position(|(key, it)| audience.has(*key, it));
        let Some(rest) = first.and_then(|first| each.get(first..)) else {
            return;
        };
        self.make();
        let Making::Made(reference, bytes) = &*self.making else {
            return;
        };
        if self.outlet.may_hand(reference, *bytes, self.summary.qos) {
            return match self.summary.qos {
                QoS::AtMostOnce => self.hand_each::<false>(rest),
                QoS::AtLeastOnce | QoS::ExactlyOnce => self.hand_each::<true>(rest),
            };
        }
        let (summary, mut receivers) = (self.summary, self.receivers);
        for (key, subscription) in rest {
            if audience.has(*key, subscription) {
                let copy = Wish::of(subscription, None).copy(summary);
                let is_taken = self.outlet.deliver(*key, reference, *bytes, copy);
                receivers = receivers.saturating_add(usize::from(is_taken));
            }
        }
        self.receivers = receivers;
    }

    /// The same for a message that goes on the short way, where that is open.
    #[inline(always)]
    fn hand_each<const COUNTED: bool>(&mut self, each: &[(SessionKey, Subscription)]) {
        let Making::Made(reference, bytes) = &*self.making else {
            return;
        };
        let (summary, audience) = (self.summary, self.audience);
        let is_retained = summary.retain;
        let (mut handed, mut delivered) = (0_usize, 0_usize);
        for (key, subscription) in each {
            if audience.has(*key, subscription) {
                let retain = is_retained & subscription.retain_as_published;
                // Whether it is simple has been looked at before: mostly that is all.
                let has_id = !subscription.is_simple && subscription.id.is_some();
                let outlet = &mut self.outlet;
                if !has_id && outlet.hand::<COUNTED>(*key, reference, subscription.qos, retain) {
                    handed = handed.wrapping_add(1);
                    continue;
                }
                let copy = Wish::of(subscription, None).copy(summary);
                let is_taken = self.outlet.deliver_apart(*key, reference, *bytes, copy);
                delivered = delivered.wrapping_add(usize::from(is_taken));
            }
        }
        self.outlet.note_handed(handed);
        let receivers = handed.saturating_add(delivered);
        self.receivers = self.receivers.saturating_add(receivers);
    }

    /// To one, for all of his subscriptions that may have it.
    #[inline(never)]
    pub(super) fn give_once(&mut self, found: &SubscriberMatch<'_, SessionKey, Subscription>) {
        self.steps = self.steps.saturating_add(1);
        let key = found.key();
        let audience = self.audience;
        let values = { found.values() }.filter(|value| audience.has(key, value));
        if let Some(wish) = Wish::of_several(values) {
            self.give(key, wish);
        }
    }

    /// To the member of a shared subscription whose turn it is.
    #[inline(never)]
    pub(super) fn give_turn(
        &mut self,
        group: &Group<'_, SessionKey, Subscription>,
        turns: &mut BTreeMap<GroupId, usize>,
        shared: &mut Shared,
    ) {
        self.steps = self.steps.saturating_add(1);
        if !shared.takes_turn(group.id()) {
            return;
        }
        let Some(chosen) = self.turn(0).choose(turns, group) else {
            return;
        };
        shared.took_turn(group.id());
        self.make();
        let bytes = match self.making {
            Making::Made(_, bytes) => *bytes,
            Making::Not(_) | Making::Failed => 0,
        };
        let turn = self.turn(bytes);
        let (key, subscription) = match turn.takes(chosen.0) {
            true => chosen,
            false => turn.choose(turns, group).unwrap_or(chosen),
        };
        // [5:MQTT-4.8.2-3] At the QoS of this member.
        self.give(key, Wish::of(&subscription, Some(group.id())));
    }

    /// Asks for a member for a message of so many bytes.
    fn turn(&self, bytes: usize) -> Turn<'_> {
        Turn {
            config: self.outlet.config,
            sessions: self.outlet.sessions,
            connections: self.outlet.connections,
            bytes,
            publisher: self.audience.publisher,
            name: self.summary.name,
            except: None,
            accepted: self.audience.accepted,
        }
    }

    /// Makes the message, if that has not happened.
    #[inline]
    pub(super) fn make(&mut self) {
        self.making.make(self.outlet.store, self.summary.expires_at);
    }

    /// Counts the references that were given out.
    pub(super) fn count(&mut self) {
        if let Making::Made(reference, _) = self.making {
            self.outlet.count(reference);
        }
    }

    fn give(&mut self, key: SessionKey, wish: Wish) {
        self.make();
        if let Making::Made(reference, bytes) = self.making {
            let copy = wish.copy(self.summary);
            let is_taken = self.outlet.keep(key, reference, *bytes, copy);
            self.receivers = self.receivers.saturating_add(usize::from(is_taken));
        }
    }
}
