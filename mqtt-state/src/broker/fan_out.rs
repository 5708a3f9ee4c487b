//! One message to all who want it, some with each call.

use bytes::BytesMut;
use mqtt_codec::{Message, QoS};
use mqtt_topic::{GroupId, Position, Receiver};

use super::connections::Connections;
use super::event::{DropCause, EventQueue};
use super::join::{NoteName, Part};
use super::routing::{Copy, Router, Subscription, Summary, reason_for};
use super::sessions::{SessionEntry, SessionKey, Sessions};
use super::shared::Turn;
use super::store::{Delivery, Ids, MessageRef, MessageStore};
use super::timers::Timers;
use super::{Broker, Config, ConnectionId};
use crate::Timestamp;

/// A message that not all have got who are to get it.
///
/// Its publisher is answered when they have: what was acknowledged is then with all of them, in the
/// journal too, and the reason code is known. Until then nothing more of that client is taken.
#[derive(Debug)]
pub(super) struct FanOut {
    pub(super) message: MessageRef,
    pub(super) publisher: Option<SessionKey>,
    pub(super) progress: Progress,
    /// Where the publisher is, and what it waits for.
    pub(super) answer: Option<(ConnectionId, mqtt_codec::Delivery)>,
    /// From another broker.
    pub(super) is_forwarded: bool,
    /// What brought it from there and is acknowledged when all of it is stored.
    pub(super) note: Option<NoteName>,
}

/// How far a message has come.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) position: Position<SessionKey>,
    /// The latest subscription when it was accepted: it is not for later ones.
    pub(super) accepted: u64,
    pub(super) receivers: usize,
    /// Which subscriptions of this broker have a part in it.
    pub(super) part: Part,
}

/// A message that is made when the first one wants it.
pub(super) enum Making<F> {
    Not(F),
    Made(MessageRef),
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
            if let Some(reference) = store.insert(message, expires_at) {
                *self = Self::Made(reference);
            }
        }
    }
}

/// All that a message touches on its way into sessions: everything but who wants it.
pub(super) struct Outlet<'b> {
    pub(super) sessions: &'b mut Sessions,
    pub(super) connections: &'b mut Connections,
    pub(super) store: &'b mut MessageStore,
    pub(super) events: &'b mut EventQueue,
    pub(super) timers: &'b mut Timers,
    pub(super) config: &'b Config,
    pub(super) now: Timestamp,
    /// Bytes of all that is kept beside messages and sessions.
    pub(super) elsewhere: usize,
    /// References that were given out and are not counted yet.
    pub(super) uncounted: usize,
}

impl Outlet<'_> {
    /// Gives a message of so many bytes to one session. `false` when it is dropped.
    /// [`count`](Self::count) has to follow.
    #[inline(always)]
    pub(super) fn deliver(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        bytes: usize,
        copy: Copy,
    ) -> bool {
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        if entry.connection.is_none() && copy.qos == QoS::AtMostOnce {
            // [3:MQTT-3.1.2-5] Only QoS 1 and 2 wait for a client that is away.
            return false;
        }
        if !entry.has_room(copy.qos, bytes, self.config)
            || entry.session.outbound.growth(copy.qos) > 0
        {
            return self.deliver_with_care(key, reference, bytes, copy);
        }
        self.uncounted = self.uncounted.wrapping_add(1);
        put(entry, self.store, self.connections, reference, bytes, copy);
        true
    }

    /// The same where something has to give way, or memory to grow.
    #[cold]
    #[inline(never)]
    fn deliver_with_care(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        bytes: usize,
        copy: Copy,
    ) -> bool {
        let has_room = |entry: &mut SessionEntry| entry.has_room(copy.qos, bytes, self.config);
        if !self.sessions.get_mut(key).is_some_and(has_room) {
            // What gives way may be a reference to this very message.
            self.count(reference);
            if !self.push_in(key, reference, copy.qos, bytes) {
                return false;
            }
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        let growth = entry.session.outbound.growth(copy.qos);
        if growth > 0 && !self.has_bytes_for(growth) {
            self.tell_dropped(key, reference, DropCause::BrokerFull);
            return false;
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        self.uncounted = self.uncounted.wrapping_add(1);
        put(entry, self.store, self.connections, reference, bytes, copy);
        self.sessions.weigh(key);
        true
    }

    /// Whether so many bytes more may be kept.
    fn has_bytes_for(&self, bytes: usize) -> bool {
        { self.elsewhere.saturating_add(self.store.bytes()) }
            .saturating_add(self.sessions.bytes())
            .saturating_add(bytes)
            <= self.config.total_bytes_max
    }

    /// Counts the references that were given out.
    #[inline]
    pub(super) fn count(&mut self, reference: &MessageRef) {
        let uncounted = core::mem::take(&mut self.uncounted);
        self.store.count(reference, uncounted);
    }
}

/// Puts a message for which there is room into a session.
#[inline(always)]
fn put(
    entry: &mut SessionEntry,
    store: &mut MessageStore,
    connections: &mut Connections,
    reference: &MessageRef,
    bytes: usize,
    copy: Copy,
) {
    let Copy {
        qos,
        retain,
        is_replay,
        group,
        subscription_ids,
    } = copy;
    let delivery = Delivery {
        message: reference.uncounted(),
        retain,
        is_replay,
        qos,
        group,
        subscription_ids,
    };
    store.note_delivery(&delivery);
    if store.journal.is_on() {
        enqueue_recorded(entry, store, delivery, bytes);
    } else {
        let outbound = &mut entry.session.outbound;
        outbound.enqueue(qos, delivery, 0, bytes, 0);
    }
    if let Some(connection) = entry.connection {
        connections.mark_ready(connection);
    }
}

/// Puts a delivery behind what waits in a session, where a store has to know of it.
#[cold]
#[inline(never)]
fn enqueue_recorded(
    entry: &mut SessionEntry,
    store: &mut MessageStore,
    delivery: Delivery,
    bytes: usize,
) {
    let (number, position) = store.record_delivery(entry.kept_as(), &delivery);
    let outbound = &mut entry.session.outbound;
    outbound.enqueue(delivery.qos, delivery, number, bytes, position);
}

/// What the subscriptions of one session bring, together.
struct Wish {
    qos: QoS,
    retain_as_published: bool,
    group: Option<GroupId>,
    ids: Ids,
}

impl Wish {
    /// How a message is for them.
    #[inline]
    fn copy(self, summary: &Summary<'_>) -> Copy {
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
    fn of(subscription: &Subscription, group: Option<GroupId>) -> Self {
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

/// A message on its way to whoever wants it.
struct Giving<'m, F> {
    summary: &'m Summary<'m>,
    making: &'m mut Making<F>,
    /// What it counts for, once it is made.
    bytes: usize,
    receivers: usize,
}

impl<F: FnOnce(Option<BytesMut>) -> Message> Giving<'_, F> {
    /// Gives it to one.
    #[inline(never)]
    fn give(&mut self, outlet: &mut Outlet<'_>, key: SessionKey, wish: Wish) {
        let copy = wish.copy(self.summary);
        if let Some((reference, bytes)) = self.made(outlet.store) {
            let is_taken = outlet.deliver(key, reference, bytes, copy);
            self.receivers = self.receivers.saturating_add(usize::from(is_taken));
        }
    }

    /// Gives it to each who wants it; the first one does.
    #[inline(always)]
    fn give_each(
        &mut self,
        outlet: &mut Outlet<'_>,
        each: &[(SessionKey, Subscription)],
        wants: impl Fn(&(SessionKey, Subscription)) -> bool,
    ) {
        let (summary, mut receivers) = (self.summary, self.receivers);
        if !each.is_empty()
            && let Some((reference, bytes)) = self.made(outlet.store)
        {
            for it in each {
                if wants(it) {
                    let copy = Wish::of(&it.1, None).copy(summary);
                    let is_taken = outlet.deliver(it.0, reference, bytes, copy);
                    receivers = receivers.saturating_add(usize::from(is_taken));
                }
            }
        }
        self.receivers = receivers;
    }

    /// The message, which is made if that has not happened, and what it counts for.
    #[inline]
    fn made(&mut self, store: &mut MessageStore) -> Option<(&MessageRef, usize)> {
        self.making.make(store, self.summary.expires_at);
        let Making::Made(reference) = &*self.making else {
            return None;
        };
        if self.bytes == 0 {
            let message = store.message(reference);
            self.bytes = message.map_or(0, Message::len_held);
        }
        Some((reference, self.bytes))
    }
}

impl Broker {
    /// Everything but who wants a message.
    pub(super) fn outlet(&mut self) -> Outlet<'_> {
        let elsewhere = self.kept_elsewhere();
        Outlet {
            elsewhere,
            sessions: &mut self.sessions,
            connections: &mut self.connections,
            store: &mut self.store,
            events: &mut self.events,
            timers: &mut self.timers,
            config: &self.config,
            now: self.clock.latest(),
            uncounted: 0,
        }
    }

    /// Gives a message to as many as this call has steps for. Answers whether there are more.
    // [5:MQTT-3.3.2-3] [3:MQTT-3.3.2-3] To those whose filters match.
    pub(super) fn serve<F: FnOnce(Option<BytesMut>) -> Message>(
        &mut self,
        publisher: Option<SessionKey>,
        summary: &Summary<'_>,
        making: &mut Making<F>,
        progress: &mut Progress,
    ) -> bool {
        let Progress {
            position,
            accepted,
            receivers,
            part: Part { reach, shared },
        } = progress;
        let (name, accepted) = (summary.name, *accepted);
        // That a QoS 2 message has come is stored with all its effects, or not at all.
        let is_whole = self.store.journal.is_on() && summary.qos == QoS::ExactlyOnce;
        let budget = if is_whole {
            usize::MAX
        } else {
            self.work.left()
        };
        let elsewhere = self.kept_elsewhere();
        let (subscriptions, work) = (&self.subscriptions, &mut self.work);
        let joined = self.joined.as_deref();
        let Router { scratch, turns, .. } = &mut self.router;
        let mut outlet = Outlet {
            sessions: &mut self.sessions,
            connections: &mut self.connections,
            store: &mut self.store,
            events: &mut self.events,
            timers: &mut self.timers,
            config: &self.config,
            now: self.clock.latest(),
            elsewhere,
            uncounted: 0,
        };
        let mut giving = Giving {
            summary,
            making,
            bytes: 0,
            receivers: 0,
        };
        let mut steps = 0_usize;
        let reach = &*reach;
        // [5:MQTT-3.8.3-3] Not back to the client that published it.
        let may_have = move |key, subscription: &Subscription| {
            let is_own = subscription.no_local && publisher == Some(key);
            !is_own
                && subscription.since <= accepted
                && !joined.is_some_and(|joined| joined.is_elsewhere(key, reach))
                && !subscription.denies(name)
        };
        let takes_plain = reach.takes_plain();
        let has_more = subscriptions.receivers(name, scratch, position, budget, &mut |receiver| {
            match receiver {
                Receiver::Each(each) => {
                    steps = steps.saturating_add(each.len());
                    let each = if takes_plain { each } else { &[] };
                    let wants = |(key, subscription): &_| may_have(*key, subscription);
                    let first = each.iter().position(wants);
                    let rest = first.and_then(|first| each.get(first..));
                    giving.give_each(&mut outlet, rest.unwrap_or_default(), wants);
                }
                Receiver::Several(found) => {
                    steps = steps.saturating_add(1);
                    let key = found.key();
                    let values =
                        { found.values() }.filter(|value| takes_plain && may_have(key, value));
                    if let Some(wish) = Wish::of_several(values) {
                        giving.give(&mut outlet, key, wish);
                    }
                }
                Receiver::Group(group) => {
                    steps = steps.saturating_add(1);
                    if !shared.takes_turn(group.id()) {
                        return;
                    }
                    let turn = Turn {
                        config: outlet.config,
                        sessions: outlet.sessions,
                        publisher,
                        name,
                        except: None,
                        accepted,
                    };
                    if let Some((key, subscription)) = turn.choose(turns, &group) {
                        shared.took_turn(group.id());
                        // [5:MQTT-4.8.2-3] At the QoS of this member.
                        let wish = Wish::of(&subscription, Some(group.id()));
                        giving.give(&mut outlet, key, wish);
                    }
                }
                _none => {}
            }
        });
        *receivers = receivers.saturating_add(giving.receivers);
        if has_more {
            // Whoever comes next wants it, and it has to be kept until then.
            making.make(outlet.store, summary.expires_at);
        }
        if let Making::Made(reference) = making {
            outlet.count(reference);
        }
        work.spend(steps);
        has_more
    }

    /// Whether a message of this publisher is still on its way.
    pub(super) fn has_fan_out(&self, publisher: Option<SessionKey>) -> bool {
        match publisher {
            None => self.router.own_fan_outs > 0,
            Some(key) => self
                .sessions
                .get(key)
                .is_some_and(|entry| entry.fan_outs > 0),
        }
    }

    /// Whether a message of the client of this session is still on its way.
    pub(super) fn is_fanning_out(&self, session: Option<SessionKey>) -> bool {
        !self.router.fan_outs.is_empty() && session.is_some() && self.has_fan_out(session)
    }

    /// A message goes on in later calls.
    pub(super) fn go_on_later(&mut self, fan_out: FanOut) {
        self.weigh_part(&fan_out.progress.part, true);
        match fan_out.publisher {
            None => self.router.own_fan_outs = self.router.own_fan_outs.saturating_add(1),
            Some(key) => {
                if let Some(entry) = self.sessions.get_mut(key) {
                    entry.fan_outs = entry.fan_outs.saturating_add(1);
                }
            }
        }
        self.router.fan_outs.push_back(fan_out);
    }

    /// Goes on with messages, as far as this call has steps.
    pub(super) fn advance_fan_outs(&mut self, now: Timestamp) {
        self.go_on(now);
        self.finish_moving();
    }

    fn go_on(&mut self, now: Timestamp) {
        while self.work.left() > 0
            && let Some(mut fan_out) = self.router.fan_outs.pop_front()
        {
            let Some(message) = self.store.message(&fan_out.message).cloned() else {
                continue;
            };
            let summary = Summary {
                name: message.topic(),
                qos: message.qos(),
                retain: message.retain(),
                expires_at: None,
                forwarded: None,
            };
            let mut making: Making<fn(Option<BytesMut>) -> Message> = Making::Made(fan_out.message);
            // It may be a will; others lose nothing by waiting a little.
            let may_depend = fan_out.answer.is_none();
            self.store.journal.set_dependent(may_depend);
            let has_more = self.serve(
                fan_out.publisher,
                &summary,
                &mut making,
                &mut fan_out.progress,
            );
            let Making::Made(reference) = making else {
                self.store.journal.set_dependent(false);
                continue;
            };
            if !has_more {
                let progress = &mut fan_out.progress;
                let given = self.give_turns(&progress.part, &reference);
                progress.receivers = progress.receivers.saturating_add(given);
            }
            self.store.journal.set_dependent(false);
            fan_out.message = reference;
            if has_more {
                self.router.fan_outs.push_front(fan_out);
                return;
            }
            if self.config.message_events && !fan_out.is_forwarded {
                let (len, receivers) = (message.payload().len(), fan_out.progress.receivers);
                self.tell_published(fan_out.publisher, &summary, len, receivers);
            }
            self.conclude_fan_out(now, fan_out);
        }
    }

    /// All have it: the publisher is answered, and may go on.
    fn conclude_fan_out(&mut self, now: Timestamp, fan_out: FanOut) {
        let FanOut {
            message,
            publisher,
            progress,
            answer,
            is_forwarded: _,
            note,
        } = fan_out;
        if let Some(note) = note {
            self.note_is_with_all(&note);
        }
        self.store.release(message);
        self.weigh_part(&progress.part, false);
        let Some(key) = publisher else {
            self.router.own_fan_outs = self.router.own_fan_outs.saturating_sub(1);
            return;
        };
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        entry.fan_outs = entry.fan_outs.saturating_sub(1);
        let current = entry.connection;
        if let Some((id, delivery)) = answer {
            if current == Some(id) {
                let reason = reason_for(progress.receivers);
                let outcome = self.answering_for_all(id, |broker| {
                    let outcome = broker.acknowledge(id, delivery, reason);
                    broker.record_answered(key, delivery);
                    outcome
                });
                self.conclude(now, id, outcome);
            } else if let mqtt_codec::Delivery::ExactlyOnce { id, .. } = delivery {
                // It is with all of them: sent again, it is a repetition.
                if let Some(entry) = self.sessions.get_mut(key) {
                    entry.session.inbound.remember(id);
                }
            }
        }
        if let Some(id) = current {
            self.advance_held(now, id);
            // More of its input is taken.
            self.connections.mark_open(id);
        }
    }
}
