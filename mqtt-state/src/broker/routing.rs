//! From one message to all who get it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{Message, Publish, PublishReason, QoS, SubscriptionId, TopicFilter, TopicName};
use mqtt_topic::{Group, GroupId, Match, Scratch};

use super::event::{DropCause, Event};
use super::join::{Forwarded, Retains};
use super::sessions::{SessionKey, Sessions};
use super::store::{Delivery, MessageRef};
use super::{Broker, ConnectionId};
use crate::intake::Origin;
use crate::link::Topic;
use crate::{CloseCause, Timestamp};

/// One subscription, as the index keeps it.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) id: Option<SubscriptionId>,
    /// Filters of what is not delivered. Most have none.
    pub(super) deny: Option<Box<[Box<str>]>>,
}

impl Subscription {
    /// Whether a message with this topic may not be delivered.
    pub(super) fn denies(&self, name: TopicName<'_>) -> bool {
        let Some(deny) = &self.deny else {
            return false;
        };
        let mut filters = deny
            .iter()
            .filter_map(|filter| TopicFilter::new(filter).ok());
        filters.any(|filter| filter.matches(name))
    }
}

/// What one session gets of a message.
#[derive(Debug)]
struct Plan {
    session: SessionKey,
    /// Its turn in a shared subscription, apart from what its own subscriptions bring.
    group: Option<GroupId>,
    qos: QoS,
    retain_as_published: bool,
    subscription_ids: Vec<SubscriptionId>,
}

/// Memory that routing uses again and again, and whose turn it is in shared subscriptions.
#[derive(Debug, Default)]
pub(super) struct Router {
    scratch: Scratch,
    plans: Vec<Plan>,
    turns: BTreeMap<GroupId, usize>,
}

impl Router {
    /// Groups that have had their first turn.
    pub(super) fn groups_len(&self) -> usize {
        self.turns.len()
    }

    /// The group has lost its last member.
    pub(super) fn forget_group(&mut self, group: GroupId) {
        self.turns.remove(&group);
    }

    /// Adds what one matching subscription brings.
    fn plan(&mut self, session: SessionKey, group: Option<GroupId>, subscription: &Subscription) {
        self.plans.push(Plan {
            session,
            group,
            qos: subscription.qos,
            retain_as_published: subscription.retain_as_published,
            subscription_ids: subscription.id.into_iter().collect(),
        });
    }

    /// One copy for each session: the highest QoS, all identifiers. A turn in a shared
    /// subscription is a copy of its own.
    // [5:MQTT-3.3.4-2] [3:MQTT-3.3.5-1] [5:MQTT-3.3.4-3] [5:MQTT-3.3.4-4]
    fn merge(&mut self) {
        self.plans.sort_by_key(|plan| (plan.session, plan.group));
        self.plans.dedup_by(|later, earlier| {
            let same = later.session == earlier.session && later.group == earlier.group;
            if same {
                earlier.qos = earlier.qos.max(later.qos);
                earlier.retain_as_published |= later.retain_as_published;
                earlier.subscription_ids.append(&mut later.subscription_ids);
            }
            same
        });
    }
}

/// Which member of a shared subscription gets a message. In any case one that is connected, while
/// there is one; and the messages that one member gets are in their order, those of the group are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedPolicy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The same for all messages of one publisher, as long as the members stay the same.
    ByPublisher,
    /// The one with the fewest messages waiting or in flight.
    LeastBusy,
}

/// Who asks for a member of a group, and what for.
struct Turn<'a> {
    policy: SharedPolicy,
    sessions: &'a Sessions,
    publisher: Option<SessionKey>,
    name: TopicName<'a>,
    /// A member whose session has ended.
    except: Option<SessionKey>,
}

impl Turn<'_> {
    /// The member that gets the message.
    fn choose(
        &self,
        turns: &mut BTreeMap<GroupId, usize>,
        group: &Group<'_, SessionKey, Subscription>,
    ) -> Option<(SessionKey, Subscription)> {
        let turn = turns.entry(group.id()).or_default();
        let len = group.len();
        let first = match self.policy {
            SharedPolicy::RoundRobin | SharedPolicy::LeastBusy => *turn,
            SharedPolicy::ByPublisher => self
                .publisher
                .map_or(0, |key| usize::try_from(key.slot()).unwrap_or(usize::MAX)),
        };
        // In their order from there on, those who may have it.
        let members = (0..len).filter_map(|step| {
            let place = first.wrapping_add(step).checked_rem(len)?;
            let (session, subscription) = group.get(place)?;
            let may_have = self.except != Some(session) && !subscription.denies(self.name);
            may_have.then_some((place, session, subscription))
        });
        let mut connected =
            { members.clone() }.filter(|(_, session, _)| self.is_connected(*session));
        let chosen = match self.policy {
            SharedPolicy::RoundRobin | SharedPolicy::ByPublisher => connected.next(),
            SharedPolicy::LeastBusy => connected.min_by_key(|(_, session, _)| self.load(*session)),
        };
        let (place, session, subscription) = chosen.or_else(|| { members }.next())?;
        *turn = place.saturating_add(1);
        Some((session, subscription.clone()))
    }

    fn is_connected(&self, session: SessionKey) -> bool {
        let entry = self.sessions.get(session);
        entry.is_some_and(|entry| entry.connection.is_some())
    }

    fn load(&self, session: SessionKey) -> usize {
        self.sessions.get(session).map_or(usize::MAX, |entry| {
            let in_flight = entry.session.in_flight_len();
            entry.session.waiting_len().saturating_add(in_flight)
        })
    }
}

impl Broker {
    /// A client's PUBLISH.
    pub(super) fn publish_from(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        publish: &Publish<'_>,
        topic: &Topic<'_>,
        origin: Origin<'_>,
    ) -> Result<(), CloseCause> {
        let Some(key) = self
            .connections
            .get(id)
            .and_then(|connection| connection.session)
        else {
            return Ok(());
        };
        let name = topic.name();
        let bytes = name.as_bytes().len().saturating_add(publish.payload.len());
        let reason = if is_reserved(name) {
            // The broker speaks there, its clients do not.
            PublishReason::NotAuthorized
        } else if !self.has_room_for(bytes, publish.payload.len())
            && !self.makes_room(name, publish.retain, publish.payload)
        {
            self.refuse_message(key, name);
            PublishReason::QuotaExceeded
        } else {
            let expires_at = publish
                .properties
                .message_expiry_secs
                .map(|secs| now.plus_secs(secs));
            let summary = Summary {
                name,
                qos: publish.delivery.qos(),
                retain: publish.retain,
                expires_at,
                forwarded: None,
            };
            self.record_accepted(key, publish.delivery);
            let receivers = self.route(Some(key), &summary, publish.payload, || {
                origin.message(publish, name)
            });
            if receivers == 0 {
                PublishReason::NoMatchingSubscribers
            } else {
                PublishReason::Success
            }
        };
        let (Some(connection), Some(entry)) =
            (self.connections.get_mut(id), self.sessions.get_mut(key))
        else {
            return Ok(());
        };
        let acknowledged =
            connection
                .link
                .acknowledge(publish.delivery, reason, &mut entry.session);
        self.record_answered(key, publish.delivery);
        acknowledged.map_err(|_| CloseCause::AnswerTooLarge)
    }

    /// Whether a message may be kept: by its payload, and by all that is kept already.
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
        let acknowledged = connection
            .link
            .acknowledge(delivery, reason, &mut entry.session);
        acknowledged.map_err(|_| CloseCause::AnswerTooLarge)
    }

    /// A message of the embedder or a will.
    pub(super) fn route_message(
        &mut self,
        now: Timestamp,
        publisher: Option<SessionKey>,
        message: Message,
    ) -> usize {
        let expires_at = message
            .properties()
            .message_expiry_secs
            .map(|secs| now.plus_secs(secs));
        if !self.has_room_for(message.len_held(), 0)
            && !self.makes_room(message.topic(), message.retain(), message.payload())
        {
            let key = publisher.and_then(|key| self.sessions.get(key));
            let client_id = key.map_or_else(Box::default, |entry| entry.client_id.clone());
            let topic = String::from(message.topic().as_str());
            self.events.push(Event::Refused { client_id, topic });
            return 0;
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
        self.route(publisher, &summary, copy.payload(), || message)
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
        self.route(forwarded.publisher, &summary, copy.payload(), || message);
    }

    /// Gives a message to all who want it, and to the retained messages. Answers how many
    /// sessions it goes to. The message is made only when somebody wants it.
    // [5:MQTT-4.5.0-1] [3:MQTT-4.5.0-1]
    fn route(
        &mut self,
        publisher: Option<SessionKey>,
        summary: &Summary<'_>,
        payload: &[u8],
        message: impl FnOnce() -> Message,
    ) -> usize {
        let (name, forwarded) = (summary.name, summary.forwarded);
        let retains = self.retains(name, summary.retain, payload.is_empty(), forwarded);
        self.choose_brokers(publisher, name, forwarded, retains != Retains::Nothing);
        self.plan(publisher, name);
        let mut plans = core::mem::take(&mut self.router.plans);
        let keeps = matches!(retains, Retains::Sets(_));
        if let Retains::Clears(_) = retains {
            self.clear_retained(name);
        }
        let mut receivers = 0_usize;
        let wanted = keeps || !plans.is_empty() || !self.local.is_empty() || self.is_forwarded();
        let reference = if wanted {
            self.store.insert(message(), summary.expires_at)
        } else {
            None
        };
        if let Some(reference) = reference {
            if !self.local.is_empty()
                && self.takes_plain()
                && let Some(message) = self.store.message(&reference).cloned()
            {
                self.tell_local(summary.name, &message);
            }
            if keeps {
                self.retain(summary.name, &reference);
            }
            receivers = self.forward(publisher, &reference, summary.qos, retains.stamp());
            self.work.spend(plans.len());
            for plan in plans.drain(..) {
                // [5:MQTT-3.8.4-8] [3:MQTT-3.8.4-6] The lower of published and granted QoS.
                let qos = summary.qos.min(plan.qos);
                // [5:MQTT-3.3.1-12] [5:MQTT-3.3.1-13] [3:MQTT-3.3.1-9]
                let retain = summary.retain && plan.retain_as_published;
                let copy = Copy {
                    qos,
                    retain,
                    is_replay: false,
                    group: plan.group,
                    subscription_ids: plan.subscription_ids,
                };
                let delivered = self.deliver(plan.session, &reference, copy);
                receivers = receivers.saturating_add(usize::from(delivered));
            }
            self.store.release(reference);
        }
        plans.clear();
        self.router.plans = plans;
        if self.config.message_events && forwarded.is_none() {
            let client_id = publisher
                .and_then(|key| self.sessions.get(key))
                .map(|entry| entry.client_id.clone());
            self.events.push(Event::Published {
                client_id,
                topic: String::from(summary.name.as_str()),
                qos: summary.qos,
                retain: summary.retain,
                payload_len: payload.len(),
                receivers,
            });
        }
        receivers
    }

    /// Finds who gets a message.
    fn plan(&mut self, publisher: Option<SessionKey>, name: TopicName<'_>) {
        let takes_plain = self.takes_plain();
        let Self {
            router,
            subscriptions,
            sessions,
            joined,
            ..
        } = self;
        let joined = joined.as_deref();
        let turn = Turn {
            policy: self.config.shared_policy,
            sessions,
            publisher,
            name,
            except: None,
        };
        let mut scratch = core::mem::take(&mut router.scratch);
        for found in subscriptions.matches(name, &mut scratch) {
            match found {
                Match::Subscriber { .. } if !takes_plain => {}
                Match::Group(group) if !Self::takes_turn(joined, group.id()) => {}
                Match::Subscriber { key, value } => {
                    // [5:MQTT-3.8.3-3] Not back to the client that published it.
                    let is_own = publisher == Some(key) && value.no_local;
                    if !is_own && !value.denies(name) {
                        router.plan(key, None, value);
                    }
                }
                Match::Group(group) => {
                    if let Some((key, subscription)) = turn.choose(&mut router.turns, &group) {
                        router.plan(key, Some(group.id()), &subscription);
                    }
                }
                _other => {}
            }
        }
        router.scratch = scratch;
        router.merge();
    }

    /// A member of shared subscriptions is gone for good: what it was to get goes to another one.
    // [5:MQTT-4.8.2-5] But for a QoS 2 message that has been sent.
    pub(super) fn dispatch_again(&mut self, gone: SessionKey, delivery: Delivery, was_sent: bool) {
        let Some(wanted) = delivery.group else {
            return self.store.release_delivery(Some(delivery));
        };
        if was_sent && delivery.qos == QoS::ExactlyOnce {
            return self.store.release_delivery(Some(delivery));
        }
        if !self.give_to_group(&delivery.message, wanted, Some(gone), delivery.retain) {
            self.give_away(wanted, &delivery.message);
        }
        self.store.release_delivery(Some(delivery));
    }

    /// Gives a message to a member of a shared subscription. `false` when there is none, or no room.
    pub(super) fn give_to_group(
        &mut self,
        reference: &MessageRef,
        wanted: GroupId,
        except: Option<SessionKey>,
        retain: bool,
    ) -> bool {
        let Some(message) = self.store.message(reference).cloned() else {
            return false;
        };
        let policy = self.config.shared_policy;
        let Self {
            router,
            subscriptions,
            sessions,
            ..
        } = &mut *self;
        let turn = Turn {
            policy,
            sessions,
            publisher: None,
            name: message.topic(),
            except,
        };
        let mut scratch = core::mem::take(&mut router.scratch);
        let matches = subscriptions.matches(message.topic(), &mut scratch);
        let next = { matches }.find_map(|found| match found {
            Match::Group(group) if group.id() == wanted => turn.choose(&mut router.turns, &group),
            _ => None,
        });
        router.scratch = scratch;
        let Some((key, subscription)) = next else {
            return false;
        };
        let copy = Copy {
            qos: message.qos().min(subscription.qos),
            retain,
            is_replay: false,
            group: Some(wanted),
            subscription_ids: subscription.id.into_iter().collect(),
        };
        self.deliver(key, reference, copy)
    }

    /// Gives a message to one session. `false` when it is dropped.
    pub(super) fn deliver(&mut self, key: SessionKey, reference: &MessageRef, copy: Copy) -> bool {
        let Copy {
            qos,
            retain,
            is_replay,
            group,
            subscription_ids,
        } = copy;
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        if entry.connection.is_none() && qos == QoS::AtMostOnce {
            // [3:MQTT-3.1.2-5] Only QoS 1 and 2 wait for a client that is away.
            return false;
        }
        let bytes = self.store.message(reference).map_or(0, Message::len_held);
        let has_room = entry.has_room(qos, bytes, &self.config);
        let mut growth = entry.session.outbound.growth(qos);
        if !has_room {
            if !self.push_in(key, reference, qos, bytes) {
                return false;
            }
            let entry = self.sessions.get(key);
            growth = entry.map_or(0, |entry| entry.session.outbound.growth(qos));
        }
        if growth > 0 && !self.has_bytes_for(growth) {
            self.tell_dropped(key, reference, DropCause::BrokerFull);
            return false;
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        let delivery = Delivery {
            message: self.store.share(reference),
            retain,
            is_replay,
            qos,
            group,
            subscription_ids,
        };
        let (mut number, mut position) = (0, 0);
        if self.store.journal.is_on() {
            (number, position) = self.store.record_delivery(entry.kept_as(), &delivery);
        }
        let outbound = &mut entry.session.outbound;
        self.store.note_delivery(&delivery);
        outbound.enqueue(qos, delivery, number, bytes, position);
        if let Some(connection) = entry.connection {
            self.connections.mark_ready(connection);
        }
        if growth > 0 {
            self.sessions.weigh(key);
        }
        true
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
    pub(super) subscription_ids: Vec<SubscriptionId>,
}

/// What routing has to know of a message before there is one.
#[derive(Debug)]
struct Summary<'a> {
    name: TopicName<'a>,
    qos: QoS,
    retain: bool,
    expires_at: Option<Timestamp>,
    /// Another broker has sent it on.
    forwarded: Option<&'a Forwarded<'a>>,
}

/// Topics that belong to the broker itself.
pub(super) fn is_reserved(name: TopicName<'_>) -> bool {
    let bytes = name.as_bytes();
    bytes == b"$SYS" || bytes.starts_with(b"$SYS/")
}
