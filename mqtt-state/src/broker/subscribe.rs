//! SUBSCRIBE and UNSUBSCRIBE: the index of who wants what.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{
    AckProperties, Packet, ProtocolVersion, QoS, RetainHandling, SubAck, SubAckReasons, Subscribe,
    SubscribeFilter, SubscribeReason, SubscriptionId, TopicFilter, UnsubAck, UnsubAckReasons,
    Unsubscribe, UnsubscribeReason,
};
use mqtt_topic::{Cursor, SharedFilter, SubscriptionFilter};

use super::event::Event;
use super::routing::Subscription;
use super::sessions::{Replay, SessionKey};
use super::{Broker, ConnectionId};
use crate::{CloseCause, Timestamp};

impl Broker {
    /// A client's SUBSCRIBE.
    // [5:MQTT-3.8.4-5] [3:MQTT-3.8.4-4] Each filter as if it came alone, then one SUBACK.
    pub(super) fn subscribe(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), CloseCause> {
        let Some((key, version)) = self.session_of(id) else {
            return Ok(());
        };
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        for entry in subscribe.filters.iter() {
            let reason =
                self.subscribe_one(key, version, &entry, subscribe.properties.subscription_id);
            if let Some(session) = self.sessions.get(key) {
                self.events.push(Event::Subscribed {
                    client_id: session.client_id.clone(),
                    filter: String::from(entry.filter.as_str()),
                    reason,
                });
            }
            reasons.push(reason);
        }
        // [5:MQTT-3.8.4-1] [5:MQTT-3.8.4-2] [5:MQTT-3.8.4-6] [5:MQTT-3.8.4-7] [5:MQTT-3.9.3-1] [5:MQTT-2.2.1-6]
        // [3:MQTT-3.8.4-1] [3:MQTT-3.8.4-2] [3:MQTT-3.8.4-5] [3:MQTT-3.9.3-1] [3:MQTT-2.3.1-7]
        // One SUBACK, the same identifier, one code for each filter in its place.
        if let (Some(connection), Ok(reasons)) =
            (self.connections.get_mut(id), SubAckReasons::new(&reasons))
        {
            let suback = SubAck {
                id: subscribe.id,
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
        version: ProtocolVersion,
        entry: &SubscribeFilter<'_>,
        id: Option<SubscriptionId>,
    ) -> SubscribeReason {
        let SubscribeFilter {
            filter, options, ..
        } = *entry;
        let Ok(shared) = self.shared_form(filter, version) else {
            return SubscribeReason::TopicFilterInvalid;
        };
        let plain = shared.map_or(filter, |shared| shared.filter());
        // [3:MQTT-3.8.3-2] 5.0 clients were told, and disconnected for it.
        if plain.has_wildcards() && !self.config.server.wildcard_subscription_available {
            return SubscribeReason::WildcardSubscriptionsNotSupported;
        }
        let held = match shared {
            Some(shared) => self.subscriptions.get_shared(shared, key).is_some(),
            None => self.subscriptions.get(filter, key).is_some(),
        };
        if !held
            && self.subscriptions.subscriptions_len(key)
                >= self.config.subscriptions_per_session_max
        {
            return SubscribeReason::QuotaExceeded;
        }
        let subscription = Subscription {
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            id,
        };
        // [5:MQTT-3.8.4-3] [3:MQTT-3.8.4-3] The same filter again replaces; nothing that waits is lost.
        let inserted = match shared {
            Some(shared) => self.subscriptions.insert_shared(shared, key, subscription),
            None => self.subscriptions.insert(filter, key, subscription),
        };
        if inserted.is_err() {
            return SubscribeReason::TopicFilterInvalid;
        }
        // [5:MQTT-3.3.1-9] [5:MQTT-3.3.1-10] [5:MQTT-3.3.1-11] [5:MQTT-3.8.4-4] [3:MQTT-3.3.1-6]
        // A shared subscription never gets retained messages.
        let greets = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => !held,
            RetainHandling::DoNotSend => false,
        };
        if greets && shared.is_none() {
            self.start_replay(key, filter, options.qos, id);
        }
        // [5:MQTT-3.2.2-10] Any QoS is granted; delivery never exceeds what was published.
        match options.qos {
            QoS::AtMostOnce => SubscribeReason::GrantedQoS0,
            QoS::AtLeastOnce => SubscribeReason::GrantedQoS1,
            QoS::ExactlyOnce => SubscribeReason::GrantedQoS2,
        }
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
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        // A replay of the same filter that is still going on begins again, so that there are never
        // more of them than subscriptions.
        entry
            .replays
            .retain(|replay| *replay.filter != *filter.as_bytes());
        let replay = Replay {
            filter: Box::from(filter.as_bytes()),
            qos,
            subscription_id: id,
            cursor: Cursor::default(),
        };
        entry.replays.push_back(replay);
    }

    /// A client's UNSUBSCRIBE.
    // [5:MQTT-3.10.4-6] [3:MQTT-3.10.4-6] Each filter as if it came alone, then one UNSUBACK.
    pub(super) fn unsubscribe(
        &mut self,
        id: ConnectionId,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), CloseCause> {
        let Some((key, version)) = self.session_of(id) else {
            return Ok(());
        };
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in unsubscribe.filters.iter() {
            let existed = self.unsubscribe_one(key, version, filter);
            if let Some(entry) = self.sessions.get_mut(key) {
                entry
                    .replays
                    .retain(|replay| *replay.filter != *filter.as_bytes());
                self.events.push(Event::Unsubscribed {
                    client_id: entry.client_id.clone(),
                    filter: String::from(filter.as_str()),
                    existed,
                });
            }
            reasons.push(if existed {
                UnsubscribeReason::Success
            } else {
                UnsubscribeReason::NoSubscriptionExisted
            });
        }
        // [5:MQTT-3.10.4-4] [5:MQTT-3.10.4-5] [5:MQTT-3.11.3-1] [3:MQTT-3.10.4-4] [3:MQTT-3.10.4-5] Answered in any case.
        if let Some(connection) = self.connections.get_mut(id) {
            let reasons = UnsubAckReasons::new(&reasons);
            let unsuback = UnsubAck {
                id: unsubscribe.id,
                reasons,
                properties: AckProperties::default(),
            };
            connection
                .link
                .send(&Packet::UnsubAck(unsuback))
                .map_err(|_| CloseCause::AnswerTooLarge)?;
        }
        Ok(())
    }

    // [5:MQTT-3.10.4-1] [3:MQTT-3.10.4-1] Only the same filter, character by character.
    // [5:MQTT-3.10.4-2] [3:MQTT-3.10.4-2] Routing finds it no more, [5:MQTT-3.10.4-3] what is in flight goes on.
    fn unsubscribe_one(
        &mut self,
        key: SessionKey,
        version: ProtocolVersion,
        filter: TopicFilter<'_>,
    ) -> bool {
        match self.shared_form(filter, version) {
            Ok(None) => self.subscriptions.remove(filter, key).is_some(),
            Ok(Some(shared)) => {
                let group = self.subscriptions.group(shared).map(|group| group.id());
                let existed = self.subscriptions.remove_shared(shared, key).is_some();
                if let Some(group) = group
                    && self.subscriptions.group(shared).is_none()
                {
                    self.router.forget_group(group);
                }
                existed
            }
            Err(()) => false,
        }
    }

    /// Removes all subscriptions of a session that ends.
    pub(super) fn drop_subscriptions(&mut self, key: SessionKey) {
        let mut groups = Vec::new();
        self.subscriptions.for_each_of(key, |filter, _| {
            if let SubscriptionFilter::Shared { group, filter } = filter {
                groups.extend(
                    self.subscriptions
                        .group_named(group, filter)
                        .filter(|group| group.len() == 1),
                );
            }
        });
        let groups: Vec<_> = groups.into_iter().map(|group| group.id()).collect();
        self.subscriptions.remove_subscriber(key);
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
