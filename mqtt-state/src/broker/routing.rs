//! From one message to all who get it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;

use bytes::BytesMut;
use mqtt_codec::{
    Message, PublishReason, QoS, SubscriptionId, SubscriptionOptions, TopicFilter, TopicName,
};
use mqtt_topic::{GroupId, MergeScratch, Position, Scratch};

use super::direct::Way;
use super::event::Event;
use super::fan_out::{FanOut, Progress};
use super::join::{Forwarded, Retains};
use super::serving::Making;
use super::sessions::SessionKey;
use super::store::{Ids, MessageRef};
use super::{Broker, ConnectionId};
use crate::link::Waiting;
use crate::{CloseCause, Timestamp};

/// One subscription, as the index keeps it.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) id: Option<SubscriptionId>,
    /// It has no identifier, denies nothing and takes what its own client publishes: one look for all three.
    pub(super) is_simple: bool,
    /// Counts the subscriptions: a message that was accepted before is not for this one.
    pub(super) since: u64,
    /// Filters of what is not delivered.
    deny: Option<Box<Deny>>,
}

/// Apart, because most subscriptions have none.
#[derive(Clone, Debug)]
struct Deny(Box<[Box<str>]>);

impl Subscription {
    pub(super) fn new(
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
        since: u64,
        deny: impl Iterator<Item = Box<str>>,
    ) -> Self {
        let deny: Box<[_]> = deny.collect();
        Self {
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            id,
            is_simple: deny.is_empty() && id.is_none() && !options.no_local,
            since,
            deny: (!deny.is_empty()).then(|| Box::new(Deny(deny))),
        }
    }

    /// Filters of what is not delivered.
    pub(super) fn denied(&self) -> &[Box<str>] {
        self.deny.as_ref().map_or(&[], |deny| &deny.0)
    }

    /// Bytes of it outside of itself.
    pub(super) fn len_held(&self) -> usize {
        let places = size_of_val(self.denied());
        { self.denied().iter() }.fold(places, |sum, filter| sum.saturating_add(filter.len()))
    }

    /// Whether a message with this topic may not be delivered.
    #[inline]
    pub(super) fn denies(&self, name: TopicName<'_>) -> bool {
        self.deny.is_some() && self.denies_one_of(name)
    }

    #[inline(never)]
    fn denies_one_of(&self, name: TopicName<'_>) -> bool {
        let filters = { self.denied().iter() }.filter_map(|filter| TopicFilter::new(filter).ok());
        { filters }.any(|filter| filter.matches(name))
    }
}

/// Memory that routing uses again and again, and what goes on in later calls.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) scratch: MergeScratch<SessionKey>,
    pub(super) group_scratch: Scratch,
    /// Whose turn it is in shared subscriptions.
    pub(super) turns: BTreeMap<GroupId, usize>,
    /// Messages that not all have got who are to get them, in the order in which they came.
    pub(super) fan_outs: VecDeque<FanOut>,
    /// Those of the embedder among them.
    pub(super) own_fan_outs: usize,
    /// Subscriptions made so far.
    subscribed: u64,
}

/// Topics whose receivers are remembered.
const REMEMBERED: usize = 128;

impl Router {
    pub(super) fn new() -> Self {
        Self {
            scratch: MergeScratch::remembering(REMEMBERED),
            group_scratch: Scratch::default(),
            turns: BTreeMap::new(),
            fan_outs: VecDeque::new(),
            own_fan_outs: 0,
            subscribed: 0,
        }
    }

    /// Groups that have had their first turn.
    pub(super) fn groups_len(&self) -> usize {
        self.turns.len()
    }

    /// The group has lost its last member.
    pub(super) fn forget_group(&mut self, group: GroupId) {
        self.turns.remove(&group);
    }

    /// Of the messages that not all have got, which was the first of all that this broker has taken.
    pub(super) fn first_fan_out(&self) -> Option<u64> {
        let first = self.fan_outs.front()?;
        Some(first.progress.part.reach.number)
    }

    /// The number of a new subscription.
    pub(super) fn number_subscription(&mut self) -> u64 {
        self.subscribed = self.subscribed.saturating_add(1);
        self.subscribed
    }

    /// The number of the latest subscription.
    pub(super) const fn subscribed(&self) -> u64 {
        self.subscribed
    }
}

impl Broker {
    /// A client's PUBLISH.
    #[inline(always)]
    pub(super) fn publish_from(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        accepted: &Accepted<'_>,
        message: impl Fn(Option<BytesMut>) -> Message,
        way: &mut impl Way,
    ) -> Result<(), CloseCause> {
        let Accepted {
            delivery,
            name,
            payload,
            ..
        } = *accepted;
        let bytes = name.as_bytes().len().saturating_add(payload.len());
        let reason = if is_reserved(name) {
            // The broker speaks there, its clients do not.
            PublishReason::NotAuthorized
        } else if !self.has_room_for(bytes, payload.len())
            && !self.makes_room(name, accepted.retain, payload)
        {
            self.refuse_message(key, name);
            PublishReason::QuotaExceeded
        } else {
            let summary = Summary {
                name,
                qos: delivery.qos(),
                retain: accepted.retain,
                expires_at: accepted.expires_at,
                forwarded: None,
            };
            self.record_accepted(key, delivery);
            let answer = Some((id, delivery));
            let routed = match way.route(self, &summary, &message) {
                Some(receivers) => Routed::ToAll(receivers),
                None => self.route(Some(key), &summary, payload, answer, message),
            };
            match routed {
                Routed::ToAll(receivers) => reason_for(receivers),
                // The answer follows, and until then nothing more is taken.
                Routed::GoesOn(_) => {
                    if let Some(connection) = self.connections.get_mut(id) {
                        connection.link.defer(delivery);
                    }
                    return Ok(());
                }
            }
        };
        if delivery == mqtt_codec::Delivery::AtMostOnce {
            return Ok(());
        }
        let (Some((connection, queue)), Some(entry)) = (
            self.connections.get_with_queue(id),
            self.sessions.get_mut(key),
        ) else {
            return Ok(());
        };
        let link = &mut connection.link;
        let acknowledged = link.acknowledge(delivery, reason, &mut entry.session, way);
        if link.has_control_output() {
            queue.push(id, &mut connection.ready);
        }
        self.record_answered(key, delivery);
        acknowledged.map_err(|_| CloseCause::AnswerTooLarge)
    }

    /// Whether a message may be kept: by its payload, and by all that is kept already.
    #[inline(always)]
    pub(super) fn has_room_for(&self, bytes: usize, payload_len: usize) -> bool {
        let payload_max = self.config.server.payload_size_max.unwrap_or(usize::MAX);
        payload_len <= payload_max
            && self.store.len() < self.config.messages_len_max
            && self.has_bytes_for(bytes)
    }

    /// Whether a message removes a retained one: that is taken whatever is kept.
    pub(super) fn makes_room(&self, name: TopicName<'_>, retain: bool, payload: &[u8]) -> bool {
        retain && payload.is_empty() && self.retained.get(name).is_some()
    }

    /// Whether a message of the embedder or a will may be kept.
    pub(super) fn has_room_to_route(&self, message: &Message) -> bool {
        self.has_room_for(message.len_held(), 0)
            || self.makes_room(message.topic(), message.retain(), message.payload())
    }

    /// A message for which there is no room.
    pub(super) fn refuse_message(&mut self, key: SessionKey, name: TopicName<'_>) {
        if let Some(entry) = self.sessions.get(key) {
            self.events.push(Event::Refused {
                client_id: entry.client_id.clone(),
                topic: String::from(name.as_str()),
            });
        }
    }

    /// Answers a PUBLISH that was held.
    pub(super) fn acknowledge(
        &mut self,
        id: ConnectionId,
        delivery: mqtt_codec::Delivery,
        reason: PublishReason,
    ) -> Result<(), CloseCause> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(());
        };
        let entry = connection
            .session
            .and_then(|key| self.sessions.get_mut(key));
        let Some(entry) = entry else { return Ok(()) };
        let acknowledged =
            connection
                .link
                .acknowledge(delivery, reason, &mut entry.session, &mut Waiting);
        acknowledged.map_err(|_| CloseCause::AnswerTooLarge)
    }

    /// A message of the embedder or a will, or one that was held and has its answer to give.
    pub(super) fn route_message(
        &mut self,
        now: Timestamp,
        publisher: Option<SessionKey>,
        message: Message,
        answer: Option<(ConnectionId, mqtt_codec::Delivery)>,
    ) -> Routed {
        let expires_at = message
            .properties()
            .message_expiry_secs
            .map(|secs| now.plus_secs(secs));
        if !self.has_room_to_route(&message) {
            let key = publisher.and_then(|key| self.sessions.get(key));
            let client_id = key.map_or_else(Box::default, |entry| entry.client_id.clone());
            let topic = String::from(message.topic().as_str());
            self.events.push(Event::Refused { client_id, topic });
            return Routed::ToAll(0);
        }
        // The message is moved into the store; what routing reads of it is small.
        let copy = message.clone();
        let summary = Summary {
            name: copy.topic(),
            qos: copy.qos(),
            retain: copy.retain(),
            expires_at,
            forwarded: None,
        };
        self.route(publisher, &summary, copy.payload(), answer, |_| message)
    }

    /// A message that another broker has sent on.
    pub(super) fn route_forwarded(
        &mut self,
        message: Message,
        expires_at: Option<Timestamp>,
        forwarded: &Forwarded<'_>,
    ) {
        let copy = message.clone();
        let summary = Summary {
            name: copy.topic(),
            qos: copy.qos(),
            retain: copy.retain(),
            expires_at,
            forwarded: Some(forwarded),
        };
        let publisher = forwarded.publisher;
        self.route(publisher, &summary, copy.payload(), None, |_| message);
    }

    /// Gives a message to the retained messages and to all who want it: as many as this call has
    /// steps for, and the rest goes on in later ones. The message is made only when somebody wants
    /// it.
    // [5:MQTT-4.5.0-1] [3:MQTT-4.5.0-1]
    fn route(
        &mut self,
        publisher: Option<SessionKey>,
        summary: &Summary<'_>,
        payload: &[u8],
        answer: Option<(ConnectionId, mqtt_codec::Delivery)>,
        message: impl FnOnce(Option<BytesMut>) -> Message,
    ) -> Routed {
        let (name, forwarded) = (summary.name, summary.forwarded);
        let retains = self.retains(name, summary.retain, payload.is_empty(), forwarded);
        let part = self.choose_brokers(publisher, name, forwarded, retains != Retains::Nothing);
        let mut making = Making::Not(message);
        let keeps = matches!(retains, Retains::Sets(_));
        if let Retains::Clears(_) = retains {
            self.clear_retained(name);
        }
        // Messages of one publisher keep their order.
        let waits = !self.router.fan_outs.is_empty() && self.has_fan_out(publisher);
        let mut forwards = 0;
        if keeps || waits || !self.local.is_empty() || self.is_forwarded() {
            making.make(&mut self.store, summary.expires_at);
            if let Making::Made(reference, _) = &making {
                if !self.local.is_empty()
                    && part.reach.takes_plain()
                    && let Some(message) = self.store.message(reference).cloned()
                {
                    self.tell_local(summary.name, &message);
                }
                if keeps {
                    self.retain(summary.name, reference);
                }
                forwards = self.forward(publisher, reference, summary.qos, retains.stamp());
            }
        }
        let mut progress = Progress {
            position: Position::default(),
            accepted: self.router.subscribed(),
            receivers: forwards,
            part,
        };
        let has_more = waits || self.serve(publisher, summary, &mut making, &mut progress);
        if !has_more && progress.part.shared.left().next().is_some() {
            making.make(&mut self.store, summary.expires_at);
            if let Making::Made(reference, _) = &making {
                let given = self.give_turns(&progress.part, reference);
                progress.receivers = progress.receivers.saturating_add(given);
            }
        }
        let receivers = progress.receivers;
        if has_more && let Making::Made(message, _) = making {
            self.go_on_later(FanOut {
                message,
                publisher,
                progress,
                answer,
                is_forwarded: forwarded.is_some(),
                note: None,
            });
            return Routed::GoesOn(receivers);
        }
        if let Making::Made(reference, _) = making {
            self.store.release(reference);
        }
        if self.config.message_events && forwarded.is_none() {
            self.tell_published(publisher, summary, payload.len(), receivers);
        }
        Routed::ToAll(receivers)
    }

    pub(super) fn tell_published(
        &mut self,
        publisher: Option<SessionKey>,
        summary: &Summary<'_>,
        payload_len: usize,
        receivers: usize,
    ) {
        let client_id = publisher.map(|key| self.sessions.client_id(Some(key)));
        self.events.push(Event::Published {
            client_id,
            topic: String::from(summary.name.as_str()),
            qos: summary.qos,
            retain: summary.retain,
            payload_len,
            receivers,
        });
    }

    /// Gives a message to one session. `false` when it is dropped.
    pub(super) fn deliver(&mut self, key: SessionKey, reference: &MessageRef, copy: Copy) -> bool {
        let bytes = self.store.message(reference).map_or(0, Message::len_held);
        let mut outlet = self.outlet();
        let is_taken = outlet.deliver(key, reference, bytes, copy);
        outlet.count(reference);
        is_taken
    }
}

/// A message as one session gets it.
pub(super) struct Copy {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// It was retained when a subscription was made.
    pub(super) is_replay: bool,
    /// Its turn in a shared subscription.
    pub(super) group: Option<GroupId>,
    pub(super) subscription_ids: Ids,
}

/// A client's PUBLISH that has been received.
pub(super) struct Accepted<'a> {
    pub(super) delivery: mqtt_codec::Delivery,
    pub(super) retain: bool,
    pub(super) name: TopicName<'a>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) payload: &'a [u8],
}

/// What routing has to know of a message before there is one.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    pub(super) name: TopicName<'a>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) expires_at: Option<Timestamp>,
    /// From another broker.
    pub(super) forwarded: Option<&'a Forwarded<'a>>,
}

/// To how many sessions a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Routed {
    ToAll(usize),
    /// There are more, and whoever is to be answered is answered later.
    GoesOn(usize),
}

impl Routed {
    pub(super) const fn receivers(self) -> usize {
        match self {
            Self::ToAll(receivers) | Self::GoesOn(receivers) => receivers,
        }
    }
}

/// What a publisher is told.
pub(super) const fn reason_for(receivers: usize) -> PublishReason {
    match receivers {
        0 => PublishReason::NoMatchingSubscribers,
        _ => PublishReason::Success,
    }
}

/// Topics that belong to the broker itself.
pub(super) fn is_reserved(name: TopicName<'_>) -> bool {
    is_below_sys(name.as_bytes())
}

/// The same of the text of a topic or filter.
pub(super) fn is_below_sys(text: &[u8]) -> bool {
    text == b"$SYS" || text.starts_with(b"$SYS/")
}
