//! Shared subscriptions: which member of a group gets a message, and who gets what one leaves behind.

use alloc::collections::BTreeMap;

use mqtt_codec::{QoS, TopicName};
use mqtt_topic::{Group, GroupId, MatchSlice};

use super::backlog::queue_limits;
use super::connections::Connections;
use super::routing::{Copy, Router, Subscription};
use super::sessions::{SessionKey, Sessions};
use super::store::{Delivery, MessageRef};
use super::{Broker, Config};

/// Which member of a shared subscription gets a message. In any case one that is connected, while
/// there is one, and whose client takes packets so large, while there is one; and the messages that one member gets are in their order, those of the group are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SharedPolicy {
    /// One after the other. One for whom as much waits as may is passed over while another one has room.
    #[default]
    RoundRobin,
    /// The same for all messages of one publisher, as long as the members stay the same.
    ByPublisher,
    /// The one with the fewest messages waiting or in flight.
    LeastBusy,
}

/// Bytes of a PUBLISH beside topic, properties and payload, at most: the fixed header, the lengths of the topic and of
/// the properties, the packet identifier, and what a subscriber gets of its own, an alias and an identifier.
const AROUND: usize = 5 + 2 + 4 + 2 + 3 + 5;

/// Who asks for a member of a group, and what for.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) config: &'a Config,
    pub(super) sessions: &'a Sessions,
    pub(super) connections: &'a Connections,
    /// Of the message. With 0 it is small enough for everybody.
    pub(super) bytes: usize,
    pub(super) publisher: Option<SessionKey>,
    pub(super) name: TopicName<'a>,
    /// A member whose session has ended.
    pub(super) except: Option<SessionKey>,
    /// The latest subscription that counts.
    pub(super) accepted: u64,
}

impl Turn<'_> {
    /// The member that gets the message.
    pub(super) fn choose(
        &self,
        turns: &mut BTreeMap<GroupId, usize>,
        group: &Group<'_, SessionKey, Subscription>,
    ) -> Option<(SessionKey, Subscription)> {
        let turn = turns.entry(group.id()).or_default();
        let len = group.len();
        let policy = self.config.shared_policy;
        let first = match policy {
            SharedPolicy::RoundRobin | SharedPolicy::LeastBusy => *turn,
            SharedPolicy::ByPublisher => self
                .publisher
                .map_or(0, |key| usize::try_from(key.slot()).unwrap_or(usize::MAX)),
        };
        // In their order from there on, those who may have it.
        let members = (0..len).filter_map(|step| {
            let place = first.wrapping_add(step).checked_rem(len)?;
            let (session, subscription) = group.get(place)?;
            let may_have = self.except != Some(session)
                && subscription.since <= self.accepted
                && !subscription.denies(self.name)
                && self.takes(session);
            may_have.then_some((place, session, subscription))
        });
        let mut connected =
            { members.clone() }.filter(|(_, session, _)| self.is_connected(*session));
        let has_room = |(_, session, _): &(_, SessionKey, _)| self.has_room(*session);
        let chosen = match policy {
            SharedPolicy::RoundRobin => { connected.clone() }
                .find(has_room)
                .or_else(|| connected.next())
                .or_else(|| { members.clone() }.find(has_room)),
            SharedPolicy::ByPublisher => connected.next(),
            SharedPolicy::LeastBusy => connected.min_by_key(|(_, session, _)| self.load(*session)),
        };
        let (place, session, subscription) = chosen.or_else(|| { members }.next())?;
        *turn = place.saturating_add(1);
        Some((session, subscription.clone()))
    }

    /// Whether the client of a member takes so large a message. One that is away may take any when it is back.
    pub(super) fn takes(&self, session: SessionKey) -> bool {
        let connection = self.sessions.get(session).and_then(|it| it.connection);
        let connection = connection.and_then(|id| self.connections.get(id));
        connection.is_none_or(|connection| {
            let size_max = connection.link.packet_size_max();
            self.bytes == 0 || self.bytes.saturating_add(AROUND) <= size_max
        })
    }

    fn is_connected(&self, session: SessionKey) -> bool {
        let entry = self.sessions.get(session);
        entry.is_some_and(|entry| entry.connection.is_some())
    }

    /// Whether less waits for a member than may.
    fn has_room(&self, session: SessionKey) -> bool {
        let limits = queue_limits(self.config);
        let entry = self.sessions.get(session);
        entry.is_some_and(|entry| {
            let outbound = &entry.session.outbound;
            let at_hand = self.connections.past_session_len(entry.connection);
            let waiting_qos0_len = outbound.waiting_qos0_len().saturating_add(at_hand);
            waiting_qos0_len < self.config.waiting_qos0_len_max
                && outbound.has_room_beside(at_hand, 1, limits)
        })
    }

    fn load(&self, session: SessionKey) -> usize {
        self.sessions.get(session).map_or(usize::MAX, |entry| {
            let at_hand = self.connections.past_session_len(entry.connection);
            let in_flight = entry.session.in_flight_len();
            { entry.session.waiting_len().saturating_add(in_flight) }.saturating_add(at_hand)
        })
    }
}

/// What becomes of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Taken,
    /// The member whose turn it was had no room, or is away.
    Dropped,
    /// No member may have it.
    Nobody,
}

impl Broker {
    /// A member of shared subscriptions is gone for good: what it was to get goes to another one.
    // [5:MQTT-4.8.2-5] But for a QoS 2 message that has been sent.
    pub(super) fn dispatch_again(&mut self, gone: SessionKey, delivery: Delivery, was_sent: bool) {
        let Some(wanted) = delivery.group else {
            return self.store.release_delivery(Some(delivery));
        };
        if was_sent && delivery.qos == QoS::ExactlyOnce {
            return self.store.release_delivery(Some(delivery));
        }
        let given = self.give_to_group(&delivery.message, wanted, Some(gone));
        if given != Given::Taken {
            self.give_away(wanted, &delivery.message);
        }
        self.store.release_delivery(Some(delivery));
    }

    /// Gives a message to a member of a shared subscription.
    pub(super) fn give_to_group(
        &mut self,
        reference: &MessageRef,
        wanted: GroupId,
        except: Option<SessionKey>,
    ) -> Given {
        let Some(message) = self.store.message(reference).cloned() else {
            return Given::Nobody;
        };
        let Self {
            router,
            subscriptions,
            sessions,
            connections,
            config,
            ..
        } = &mut *self;
        let turn = Turn {
            config,
            sessions,
            connections,
            bytes: message.len_held(),
            publisher: None,
            name: message.topic(),
            except,
            accepted: u64::MAX,
        };
        // If nobody takes it, it is dropped where it was.
        let anybody = Turn { bytes: 0, ..turn };
        let Router {
            group_scratch,
            turns,
            ..
        } = router;
        let mut matches = subscriptions.match_slices(message.topic(), group_scratch);
        let next = matches.find_map(|found| match found {
            MatchSlice::Group(group) if group.id() == wanted => {
                { turn.choose(turns, &group) }.or_else(|| anybody.choose(turns, &group))
            }
            _ => None,
        });
        let Some((key, subscription)) = next else {
            return Given::Nobody;
        };
        let copy = Copy {
            qos: message.qos().min(subscription.qos),
            // [5:MQTT-3.3.1-12] [5:MQTT-3.3.1-13] As this member asked for.
            retain: message.retain() && subscription.retain_as_published,
            is_replay: false,
            group: Some(wanted),
            subscription_ids: subscription.id.into_iter().collect(),
        };
        match self.deliver(key, reference, copy) {
            true => Given::Taken,
            false => Given::Dropped,
        }
    }
}
