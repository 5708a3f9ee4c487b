//! What is recorded, and when.

use alloc::vec::Vec;
use core::num::NonZeroU64;

use mqtt_codec::{Delivery as PacketDelivery, Message, PacketId, QoS, TopicFilter};

use super::key::Key;
use super::value::{
    StoredDelivery, StoredMessage, StoredSession, StoredState, StoredSubscription, StoredWill,
    Value,
};
use crate::broker::Broker;
use crate::broker::join::Stamp;
use crate::broker::routing::Subscription;
use crate::broker::sessions::SessionKey;
use crate::broker::store::{Delivery, MessageRef, MessageStore};
use crate::link::AckEffect;

/// The name of a session in the store; nothing for one that is not kept there.
pub(in crate::broker) type StoredAs = Option<NonZeroU64>;

impl MessageStore {
    /// The number of a message that something stored refers to; it is stored with the first such thing.
    fn record_message(&mut self, reference: &MessageRef) -> u64 {
        let number = self.number_of(reference);
        if number != 0 {
            return number;
        }
        let number = self.journal.number();
        let expires_at = self.expires_at(reference);
        let expires_at = expires_at.map(|at| self.journal.to_store(at));
        if let Some(message) = self.message(reference).cloned() {
            self.set_number(reference, number);
            let stored = StoredMessage {
                message,
                expires_at,
            };
            let key = Key::Message { message: number };
            self.journal.put(key, Value::Message(stored));
        }
        number
    }

    /// Nothing refers to a message any more.
    pub(in crate::broker) fn record_forgotten(&mut self, number: u64) {
        self.journal.remove(Key::Message { message: number });
    }

    /// A message waits for the client of a session. Answers the number of the delivery, and the
    /// position that has to be stored before it is sent: whatever comes of a QoS 2 message, once it is
    /// known that this message has come, and of a will, once it is known to be gone.
    pub(in crate::broker) fn record_delivery(
        &mut self,
        session: StoredAs,
        delivery: &Delivery,
    ) -> (u64, u64) {
        let published = self.message(&delivery.message).map(Message::qos);
        let is_dependent = self.journal.is_dependent || published == Some(QoS::ExactlyOnce);
        let position = match is_dependent {
            true => self.journal.position(),
            false => 0,
        };
        let (Some(session), true) = (session, delivery.qos != QoS::AtMostOnce) else {
            return (0, position);
        };
        let message = self.record_message(&delivery.message);
        let number = self.journal.number();
        let state = StoredState::Waiting { message };
        self.put_delivery(session, number, stored(delivery, state));
        (number, position)
    }

    /// A message has its packet identifier.
    pub(in crate::broker) fn record_published(
        &mut self,
        session: StoredAs,
        number: u64,
        delivery: &Delivery,
        id: PacketId,
    ) {
        let Some(session) = session else { return };
        let message = self.record_message(&delivery.message);
        let state = StoredState::Published { message, id };
        self.put_delivery(session, number, stored(delivery, state));
    }

    /// PUBCOMP is missing for a message of a session that comes from another broker. Answers the number
    /// of the delivery.
    pub(in crate::broker) fn record_moved_release(
        &mut self,
        session: StoredAs,
        id: PacketId,
    ) -> u64 {
        if session.is_none() {
            return 0;
        }
        let number = self.journal.number();
        self.record_release(session, number, id);
        number
    }

    /// The content of a message is gone, and PUBCOMP is missing for it.
    pub(in crate::broker) fn record_release(
        &mut self,
        session: StoredAs,
        number: u64,
        id: PacketId,
    ) {
        let Some(session) = session else { return };
        let order = self.journal.number();
        let delivery = StoredDelivery {
            state: StoredState::Released { id, order },
            qos: QoS::ExactlyOnce,
            retain: false,
            is_turn: false,
            subscription_ids: Vec::new(),
        };
        self.put_delivery(session, number, delivery);
    }

    /// What an acknowledgement with this identifier did.
    pub(in crate::broker) fn record_effect(
        &mut self,
        session: StoredAs,
        id: PacketId,
        effect: AckEffect,
    ) {
        match effect {
            AckEffect::Nothing => {}
            AckEffect::Released { tag: number } => self.record_release(session, number, id),
            AckEffect::Completed { tag: number, .. } | AckEffect::Freed { tag: number } => {
                self.record_ended(session, number);
            }
        }
    }

    /// A delivery is done with, whatever became of it.
    #[inline]
    pub(in crate::broker) fn record_ended(&mut self, session: StoredAs, number: u64) {
        if let Some(session) = session
            && number != 0
        {
            self.record_ended_of(session, number);
        }
    }

    #[inline(never)]
    fn record_ended_of(&mut self, session: NonZeroU64, number: u64) {
        let session = session.get();
        self.journal.remove(Key::Delivery { session, number });
    }

    /// A QoS 2 message of the client has come, and must not be taken twice.
    pub(in crate::broker) fn record_received(&mut self, session: StoredAs, id: PacketId) {
        if let Some(session) = session {
            let session = session.get();
            self.journal
                .put(Key::Unreleased { session, id }, Value::Present);
        }
    }

    /// It was released, or is not taken after all.
    pub(in crate::broker) fn record_released(&mut self, session: StoredAs, id: PacketId) {
        if let Some(session) = session {
            let session = session.get();
            self.journal.remove(Key::Unreleased { session, id });
        }
    }

    /// A message is retained.
    pub(in crate::broker) fn record_retained(
        &mut self,
        reference: &MessageRef,
        stamp: Option<Stamp>,
    ) {
        if self.journal.is_on() {
            let message = self.record_message(reference);
            let value = stamp.map_or(Value::Present, Value::Stamped);
            self.journal.put(Key::Retained { message }, value);
        }
    }

    /// It is retained no more.
    pub(in crate::broker) fn record_not_retained(&mut self, reference: &MessageRef) {
        if self.journal.is_on() {
            let message = self.number_of(reference);
            self.journal.remove(Key::Retained { message });
        }
    }

    fn put_delivery(&mut self, session: NonZeroU64, number: u64, delivery: StoredDelivery) {
        let session = session.get();
        let key = Key::Delivery { session, number };
        self.journal.put(key, Value::Delivery(delivery));
    }
}

fn stored(delivery: &Delivery, state: StoredState) -> StoredDelivery {
    StoredDelivery {
        state,
        qos: delivery.qos,
        retain: delivery.retain,
        is_turn: delivery.group.is_some(),
        subscription_ids: delivery.subscription_ids.as_slice().to_vec(),
    }
}

impl Broker {
    /// A session that outlives its connection begins, or one that leaves a will behind.
    pub(in crate::broker) fn begin_record(&mut self, key: SessionKey) {
        if !self.store.journal.is_on() {
            return;
        }
        if let Some(entry) = self.sessions.get_mut(key) {
            let is_kept = entry.expiry_secs > 0;
            if entry.stored_as.is_none() && (is_kept || entry.will.is_some()) {
                entry.stored_as = NonZeroU64::new(self.store.journal.number());
                if is_kept {
                    entry.session.outbound.follow();
                }
            }
        }
        self.record_session(key);
    }

    /// What is to be known of a session and its client has changed.
    pub(in crate::broker) fn record_session(&mut self, key: SessionKey) {
        let Some(entry) = self.sessions.get(key) else {
            return;
        };
        let Some(session) = entry.stored_as else {
            return;
        };
        let journal = &mut self.store.journal;
        let will = entry.will.as_ref().map(|will| StoredWill {
            message: will.message.clone(),
            delay_secs: will.delay_secs,
        });
        let stored = StoredSession {
            client_id: entry.client_id.clone(),
            expiry_secs: entry.expiry_secs,
            is_connected: entry.connection.is_some(),
            expires_at: entry.expires_at.at().map(|at| journal.to_store(at)),
            owner: entry.owner.as_deref().cloned(),
            will,
            will_at: entry.will_at.at().map(|at| journal.to_store(at)),
            since: entry.since,
        };
        let session = session.get();
        journal.put(Key::Session { session }, Value::Session(stored.into()));
    }

    /// A session has ended.
    pub(in crate::broker) fn record_session_ended(&mut self, session: StoredAs) {
        if let Some(session) = session {
            let session = session.get();
            self.store.journal.remove(Key::Session { session });
        }
    }

    /// A client has subscribed; `filter` as in its packet.
    pub(in crate::broker) fn record_subscribed(
        &mut self,
        key: SessionKey,
        filter: TopicFilter<'_>,
        is_shared: bool,
        subscription: &Subscription,
    ) {
        let Some(session) = self.kept_as(key) else {
            return;
        };
        let stored = StoredSubscription::of(is_shared, subscription);
        let key = Key::Subscription {
            session: session.get(),
            filter: filter.as_str().into(),
        };
        self.store.journal.put(key, Value::Subscription(stored));
    }

    /// A subscription is gone.
    pub(in crate::broker) fn record_unsubscribed(&mut self, key: SessionKey, filter: &str) {
        if let Some(session) = self.kept_as(key) {
            let key = Key::Subscription {
                session: session.get(),
                filter: filter.into(),
            };
            self.store.journal.remove(key);
        }
    }

    /// A message of the client is accepted: nothing of it goes out before it is known that it has
    /// come.
    pub(in crate::broker) fn record_accepted(&mut self, key: SessionKey, delivery: PacketDelivery) {
        if let PacketDelivery::ExactlyOnce { id, .. } = delivery {
            let session = self.kept_as(key);
            self.store.record_received(session, id);
        }
    }

    /// After the answer: a message that was refused may come again.
    pub(in crate::broker) fn record_answered(&mut self, key: SessionKey, delivery: PacketDelivery) {
        if let PacketDelivery::ExactlyOnce { id, .. } = delivery
            && let Some(session) = self.kept_as(key)
            && let Some(entry) = self.sessions.get(key)
            && !entry.session.inbound.is_known(id)
        {
            self.store.record_released(Some(session), id);
        }
    }

    /// The name of a session in the store, if more than its will is kept.
    fn kept_as(&self, key: SessionKey) -> StoredAs {
        self.sessions.get(key)?.kept_as()
    }
}
