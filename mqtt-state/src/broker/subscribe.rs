//! SUBSCRIBE and UNSUBSCRIBE: the index of who wants what.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{
    AckProperties, Packet, PacketId, ProtocolVersion, QoS, RetainHandling, SubAck, SubAckReasons,
    Subscribe, SubscribeFilter, SubscribeReason, SubscriptionId, SubscriptionOptions, TopicFilter,
    UnsubAck, UnsubAckReasons, Unsubscribe, UnsubscribeReason,
};
use mqtt_topic::{Cursor, IndexError, SharedFilter, SubscriptionFilter};

use super::decision::{Grant, SubscribeAnswer};
use super::event::Event;
use super::routing::Subscription;
use super::sessions::{Replay, SessionKey};
use super::{Broker, ConnectionId};
use crate::{CloseCause, Timestamp};

impl Broker {
    /// A client's SUBSCRIBE that nobody is asked about.
    pub(super) fn subscribe(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), CloseCause> {
        let filters = subscribe.filters.iter();
        let filters = filters.map(|entry| (entry, Some(&SubscribeAnswer::Allow)));
        let subscription_id = subscribe.properties.subscription_id;
        self.subscribe_decided(now, id, subscribe.id, subscription_id, filters)
    }

    /// A SUBSCRIBE, with what was decided about each filter.
    // [5:MQTT-3.8.4-5] [3:MQTT-3.8.4-4] Each filter as if it came alone, then one SUBACK.
    pub(super) fn subscribe_decided<'a>(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        packet_id: PacketId,
        subscription_id: Option<SubscriptionId>,
        filters: impl Iterator<Item = (SubscribeFilter<'a>, Option<&'a SubscribeAnswer>)>,
    ) -> Result<(), CloseCause> {
        let Some((key, version)) = self.session_of(id) else {
            return Ok(());
        };
        let mut reasons = Vec::with_capacity(filters.size_hint().0);
        for (entry, answer) in filters {
            let reason = match (grant_of(answer), self.shared_form(entry.filter, version)) {
                (Ok(grant), Ok(shared)) => {
                    self.subscribe_one(key, shared, &entry, subscription_id, grant)
                }
                (Ok(_), Err(())) => SubscribeReason::TopicFilterInvalid,
                (Err(reason), _) => reason,
            };
            self.events.push(Event::Subscribed {
                client_id: self.sessions.client_id(Some(key)),
                filter: String::from(entry.filter.as_str()),
                reason,
            });
            reasons.push(reason);
        }
        // [5:MQTT-3.8.4-1] [5:MQTT-3.8.4-2] [5:MQTT-3.8.4-6] [5:MQTT-3.8.4-7] [5:MQTT-3.9.3-1] [5:MQTT-2.2.1-6]
        // [3:MQTT-3.8.4-1] [3:MQTT-3.8.4-2] [3:MQTT-3.8.4-5] [3:MQTT-3.9.3-1] [3:MQTT-2.3.1-7]
        // One SUBACK, the same identifier, one code for each filter in its place.
        if let (Some(connection), Ok(reasons)) =
            (self.connections.get_mut(id), SubAckReasons::new(&reasons))
        {
            let suback = SubAck {
                id: packet_id,
                reasons,
                properties: AckProperties::default(),
            };
            connection
                .link
                .send(&Packet::SubAck(suback))
                .map_err(|_| CloseCause::AnswerTooLarge)?;
        }
        self.advance_replays(now, key);
        Ok(())
    }

    fn subscribe_one(
        &mut self,
        key: SessionKey,
        shared: Option<SharedFilter<'_>>,
        entry: &SubscribeFilter<'_>,
        id: Option<SubscriptionId>,
        grant: Option<&Grant>,
    ) -> SubscribeReason {
        let SubscribeFilter {
            filter, options, ..
        } = *entry;
        let plain = shared.map_or(filter, |shared| shared.filter());
        // [3:MQTT-3.8.3-2] 5.0 clients were told, and disconnected for it.
        if plain.has_wildcards() && !self.config.server.wildcard_subscription_available {
            return SubscribeReason::WildcardSubscriptionsNotSupported;
        }
        if shared.is_some() && !self.config.server.shared_subscription_available {
            return SubscribeReason::SharedSubscriptionsNotSupported;
        }
        let before = match shared {
            Some(shared) => self.subscriptions.get_shared(shared, key),
            None => self.subscriptions.get(filter, key),
        };
        // One that replaces another is as old as that.
        let since = before.map(|before| before.since);
        let held = since.is_some();
        if !held
            && self.subscriptions.subscriptions_len(key)
                >= self.config.subscriptions_per_session_max
        {
            return SubscribeReason::QuotaExceeded;
        }
        if !held && self.is_full() {
            return SubscribeReason::QuotaExceeded;
        }
        // [5:MQTT-3.2.2-10] Whatever the Maximum QoS, it is accepted, and granted as far as it goes.
        let qos = options.qos.min(self.config.server.maximum_qos);
        let qos = grant.map_or(qos, |grant| qos.min(grant.qos_max));
        let deny = grant.map_or(&[][..], |grant| &grant.deny);
        let since = since.unwrap_or_else(|| self.router.number_subscription());
        let deny = deny.iter().map(|filter| filter.as_str().into());
        let granted = SubscriptionOptions { qos, ..options };
        let subscription = Subscription::new(granted, id, since, deny);
        // [5:MQTT-3.8.4-3] [3:MQTT-3.8.4-3] The same filter again replaces; nothing that waits is lost.
        let kept = self.store.journal.is_on().then(|| subscription.clone());
        if self
            .put_into_index(key, filter, shared, subscription)
            .is_err()
        {
            return SubscribeReason::TopicFilterInvalid;
        }
        if let Some(subscription) = kept {
            self.record_subscribed(key, filter, shared.is_some(), &subscription);
        }
        if !held {
            self.note_interest(key, filter, shared.is_some(), true);
        }
        // [5:MQTT-3.3.1-9] [5:MQTT-3.3.1-10] [5:MQTT-3.3.1-11] [5:MQTT-3.8.4-4] [3:MQTT-3.3.1-6]
        // A shared subscription never gets retained messages.
        let greets = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => !held,
            RetainHandling::DoNotSend => false,
        };
        if greets && shared.is_none() {
            self.start_replay(key, filter, qos, id);
        }
        // [5:MQTT-3.2.2-10] Any QoS is granted; delivery never exceeds what was published.
        // [5:MQTT-3.8.4-7] It may be less than what was asked for.
        qos.into()
    }

    /// Puts a subscription into the index, in the place of the one before. Answers whether there was one.
    pub(super) fn put_into_index(
        &mut self,
        key: SessionKey,
        filter: TopicFilter<'_>,
        shared: Option<SharedFilter<'_>>,
        subscription: Subscription,
    ) -> Result<bool, IndexError> {
        let bytes = subscription.len_held();
        let inserted = match shared {
            Some(shared) => self.subscriptions.insert_shared(shared, key, subscription),
            None => self.subscriptions.insert(filter, key, subscription),
        };
        if inserted.is_ok() {
            self.denied_bytes = self.denied_bytes.saturating_add(bytes);
        }
        let inserted = inserted.map(|before| self.note_removed(before));
        self.weigh_indexes();
        inserted
    }

    /// What a subscription that was in the index has held is not counted any more. Answers whether there was one.
    fn note_removed(&mut self, removed: Option<Subscription>) -> bool {
        let bytes = removed.as_ref().map_or(0, Subscription::len_held);
        self.denied_bytes = self.denied_bytes.saturating_sub(bytes);
        removed.is_some()
    }

    fn start_replay(
        &mut self,
        key: SessionKey,
        filter: TopicFilter<'_>,
        qos: QoS,
        id: Option<SubscriptionId>,
    ) {
        if self.retained.is_empty() {
            return;
        }
        // A replay of the same filter that is still going on begins again, so that there are never
        // more of them than subscriptions.
        self.drop_replay(key, filter);
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let replay = Replay {
            filter: Box::from(filter.as_bytes()),
            qos,
            subscription_id: id,
            of_first: self.store.taken(),
            cursor: Cursor::default(),
        };
        entry.replays.push_back(replay);
        self.sessions.weigh(key);
    }

    /// A client's UNSUBSCRIBE.
    // [5:MQTT-3.10.4-6] [3:MQTT-3.10.4-6] Each filter as if it came alone, then one UNSUBACK.
    pub(super) fn unsubscribe(
        &mut self,
        id: ConnectionId,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), CloseCause> {
        self.unsubscribe_all(id, unsubscribe.id, unsubscribe.filters.iter())
    }

    pub(super) fn unsubscribe_all<'a>(
        &mut self,
        id: ConnectionId,
        packet_id: PacketId,
        filters: impl Iterator<Item = TopicFilter<'a>>,
    ) -> Result<(), CloseCause> {
        let Some((key, version)) = self.session_of(id) else {
            return Ok(());
        };
        let mut reasons = Vec::with_capacity(filters.size_hint().0);
        for filter in filters {
            let existed = self.unsubscribe_one(key, version, filter);
            self.drop_replay(key, filter);
            self.events.push(Event::Unsubscribed {
                client_id: self.sessions.client_id(Some(key)),
                filter: String::from(filter.as_str()),
                existed,
            });
            reasons.push(if existed {
                UnsubscribeReason::Success
            } else {
                UnsubscribeReason::NoSubscriptionExisted
            });
        }
        // One that the embedder has taken away comes back, should this broker end before that is stored.
        if reasons.contains(&UnsubscribeReason::NoSubscriptionExisted) {
            self.answering_for_all(id, |broker| broker.send_unsuback(id, packet_id, &reasons))
        } else {
            self.send_unsuback(id, packet_id, &reasons)
        }
    }

    // [5:MQTT-3.10.4-4] [5:MQTT-3.10.4-5] [5:MQTT-3.11.3-1] [3:MQTT-3.10.4-4] [3:MQTT-3.10.4-5] Answered in any case.
    fn send_unsuback(
        &mut self,
        id: ConnectionId,
        packet_id: PacketId,
        reasons: &[UnsubscribeReason],
    ) -> Result<(), CloseCause> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(());
        };
        let unsuback = UnsubAck {
            id: packet_id,
            reasons: UnsubAckReasons::new(reasons),
            properties: AckProperties::default(),
        };
        connection
            .link
            .send(&Packet::UnsubAck(unsuback))
            .map_err(|_| CloseCause::AnswerTooLarge)
    }

    // [5:MQTT-3.10.4-1] [3:MQTT-3.10.4-1] Only the same filter, character by character.
    // [5:MQTT-3.10.4-2] [3:MQTT-3.10.4-2] Routing finds it no more, [5:MQTT-3.10.4-3] [3:MQTT-3.10.4-3] what is in
    // flight goes on.
    fn unsubscribe_one(
        &mut self,
        key: SessionKey,
        version: ProtocolVersion,
        filter: TopicFilter<'_>,
    ) -> bool {
        let Ok(shared) = self.shared_form(filter, version) else {
            return false;
        };
        let removed = match shared {
            None => self.subscriptions.remove(filter, key),
            Some(shared) => {
                let group = self.subscriptions.group(shared).map(|group| group.id());
                let removed = self.subscriptions.remove_shared(shared, key);
                if let Some(group) = group
                    && self.subscriptions.group(shared).is_none()
                {
                    self.router.forget_group(group);
                }
                removed
            }
        };
        let existed = self.note_removed(removed);
        if existed {
            self.weigh_indexes();
            self.record_unsubscribed(key, filter.as_str());
            self.note_interest(key, filter, shared.is_some(), false);
        }
        existed
    }

    /// Takes away what a session is subscribed to by one filter. Answers whether it was.
    pub(super) fn remove_subscription(&mut self, key: SessionKey, filter: TopicFilter<'_>) -> bool {
        // As a shared one where it can be one; a 3.1.1 client may have it as an ordinary one, and one that
        // has spoken both as both.
        let was_shared = self.unsubscribe_one(key, ProtocolVersion::V5_0, filter);
        let existed = self.remove_plain(key, filter) || was_shared;
        self.drop_replay(key, filter);
        if existed {
            self.events.push(Event::Unsubscribed {
                client_id: self.sessions.client_id(Some(key)),
                filter: String::from(filter.as_str()),
                existed,
            });
        }
        existed
    }

    fn remove_plain(&mut self, key: SessionKey, filter: TopicFilter<'_>) -> bool {
        let removed = self.subscriptions.remove(filter, key);
        let existed = self.note_removed(removed);
        if existed {
            self.weigh_indexes();
            self.record_unsubscribed(key, filter.as_str());
            self.note_interest(key, filter, false, false);
        }
        existed
    }

    /// The filters of a session, as its packets had them, and what it asked for.
    pub(super) fn subscriptions_of(&self, key: SessionKey) -> Vec<(String, SubscriptionOptions)> {
        let mut all = Vec::new();
        self.subscriptions.for_each_of(key, |filter, value| {
            let text = match filter {
                SubscriptionFilter::Plain(filter) => String::from(filter.as_str()),
                SubscriptionFilter::Shared { group, filter } => {
                    let group = String::from_utf8_lossy(group);
                    format!("$share/{group}/{}", filter.as_str())
                }
                _other => return,
            };
            all.push((text, options_of(value)));
        });
        all
    }

    /// What an answer to [`reauthorize`](Broker::reauthorize) does to a subscription.
    pub(super) fn answer_again(&mut self, key: SessionKey, filter: &str, answer: SubscribeAnswer) {
        // It was taken out of the index.
        let filter = TopicFilter::assume_valid(filter.as_bytes());
        let grant = match &answer {
            SubscribeAnswer::Allow => return,
            SubscribeAnswer::Grant(grant) => grant,
            SubscribeAnswer::Refuse(_) => {
                self.remove_subscription(key, filter);
                return;
            }
        };
        // In whichever form there is one: what looks like a shared one may be an ordinary one in 3.1.1.
        let shared = filter.shared().ok().flatten().map(Some);
        for shared in [None].into_iter().chain(shared) {
            let held = match shared {
                Some(shared) => self.subscriptions.get_shared(shared, key),
                None => self.subscriptions.get(filter, key),
            };
            if let Some(held) = held {
                let (options, id) = (options_of(held), held.id);
                let entry = SubscribeFilter { filter, options };
                self.subscribe_one(key, shared, &entry, id, Some(grant));
            }
        }
        self.lower_replay(key, filter, grant.qos_max);
    }

    /// Removes all subscriptions of a session that ends.
    pub(super) fn drop_subscriptions(&mut self, key: SessionKey) {
        if self.store.journal.is_on() {
            for (filter, _) in self.subscriptions_of(key) {
                self.record_unsubscribed(key, &filter);
            }
        }
        let (mut groups, mut bytes) = (Vec::new(), 0_usize);
        self.subscriptions.for_each_of(key, |filter, subscription| {
            bytes = bytes.saturating_add(subscription.len_held());
            if let SubscriptionFilter::Shared { group, filter } = filter {
                groups.extend(
                    self.subscriptions
                        .group_named(group, filter)
                        .filter(|group| group.len() == 1),
                );
            }
        });
        let groups: Vec<_> = groups.into_iter().map(|group| group.id()).collect();
        self.note_no_interest(key);
        self.subscriptions.remove_subscriber(key);
        self.denied_bytes = self.denied_bytes.saturating_sub(bytes);
        self.weigh_indexes();
        for group in groups {
            self.router.forget_group(group);
        }
    }

    /// The filter as a shared one, where it is. `Err` for `$share/` with something wrong behind
    /// it, which only a 3.1.1 packet can hold.
    fn shared_form<'f>(
        &self,
        filter: TopicFilter<'f>,
        version: ProtocolVersion,
    ) -> Result<Option<SharedFilter<'f>>, ()> {
        if version == ProtocolVersion::V3_1_1 && !self.config.shared_subscriptions_in_3_1_1 {
            return Ok(None);
        }
        filter.shared().map_err(|_| ())
    }

    fn session_of(&self, id: ConnectionId) -> Option<(SessionKey, ProtocolVersion)> {
        let connection = self.connections.get(id)?;
        Some((connection.session?, connection.link.version()))
    }
}

/// What a subscription has been granted.
const fn options_of(subscription: &Subscription) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: subscription.qos,
        no_local: subscription.no_local,
        retain_as_published: subscription.retain_as_published,
        retain_handling: RetainHandling::DoNotSend,
    }
}

/// The limits of an answer that grants.
fn grant_of(answer: Option<&SubscribeAnswer>) -> Result<Option<&Grant>, SubscribeReason> {
    match answer {
        Some(SubscribeAnswer::Allow) => Ok(None),
        Some(SubscribeAnswer::Grant(grant)) => Ok(Some(grant)),
        Some(SubscribeAnswer::Refuse(reason)) => Err(*reason),
        None => Err(SubscribeReason::NotAuthorized),
    }
}
