//! What waited, in its turn; and what is left of it when its connection is over.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use mqtt_codec::{Delivery, Message, PublishReason, QoS, SubscribeFilter, TopicFilter};

use super::Packet;
use super::left::{Left, LeftMessage};
use crate::broker::decision::PublishAnswer;
use crate::broker::routing::{Routed, is_reserved, reason_for};
use crate::broker::sessions::SessionKey;
use crate::broker::{Broker, ConnectionId};
use crate::{CloseCause, Timestamp};

impl Broker {
    /// Carries out what is decided, as far as nothing before it is open.
    pub(super) fn carry_out_decided(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
    ) -> Result<(), CloseCause> {
        let mut outcome = Ok(());
        while outcome.is_ok()
            && !self.is_fanning_out(self.session_key(id))
            && let Some(connection) = self.connections.get_mut(id)
            && let Some(packet) = connection.held.take_decided()
        {
            self.decisions.note_done(packet.len_held());
            outcome = self.answering(id, |broker| broker.carry_out_held(now, id, packet));
        }
        outcome
    }

    fn carry_out_held(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        packet: Packet,
    ) -> Result<(), CloseCause> {
        match packet {
            Packet::Publish {
                delivery,
                message,
                at,
                answer,
                ..
            } => {
                let key = self.session_key(id);
                if let Some(key) = key {
                    self.record_accepted(key, delivery);
                }
                let to_answer = Some((id, delivery));
                let decided = self.publish_decided(at, key, message, answer, to_answer);
                let Some(reason) = decided else {
                    // The answer follows when all have it.
                    return Ok(());
                };
                let acknowledged = self.acknowledge(id, delivery, reason);
                if let Some(key) = key {
                    self.record_answered(key, delivery);
                }
                acknowledged
            }
            Packet::Subscribe {
                id: packet_id,
                subscription_id,
                filters,
            } => {
                let mut decided = Vec::with_capacity(filters.len());
                for held in &filters {
                    // It came out of a packet.
                    if let Ok(filter) = TopicFilter::new(&held.filter) {
                        let options = held.options;
                        let answer = held.answer.as_ref();
                        decided.push((SubscribeFilter { filter, options }, answer));
                    }
                }
                let filters = decided.into_iter();
                self.subscribe_decided(now, id, packet_id, subscription_id, filters)
            }
            Packet::Unsubscribe {
                id: packet_id,
                filters,
            } => {
                let filters = filters.iter();
                let filters = filters.filter_map(|filter| TopicFilter::new(filter).ok());
                self.unsubscribe_all(id, packet_id, filters)
            }
            Packet::Disconnect(goodbye) => {
                self.client_disconnects(now, id, goodbye);
                Ok(())
            }
        }
    }

    /// What a decided message comes to: it is routed, or not, and this is what the client hears;
    /// `None` where it hears that later.
    fn publish_decided(
        &mut self,
        at: Timestamp,
        key: Option<SessionKey>,
        message: Message,
        answer: Option<PublishAnswer>,
        to_answer: Option<(ConnectionId, Delivery)>,
    ) -> Option<PublishReason> {
        let message = match answer {
            Some(PublishAnswer::Allow) => message,
            Some(PublishAnswer::AllowAs(message)) => message,
            Some(PublishAnswer::Refuse(reason)) => return Some(reason),
            Some(PublishAnswer::Drop) => return Some(PublishReason::Success),
            None => return Some(PublishReason::NotAuthorized),
        };
        if let Some(key) = key {
            if is_reserved(message.topic()) {
                return Some(PublishReason::NotAuthorized);
            }
            if !self.has_room_for(message.len_held(), message.payload().len())
                && !self.makes_room(message.topic(), message.retain(), message.payload())
            {
                self.refuse_message(key, message.topic());
                return Some(PublishReason::QuotaExceeded);
            }
        }
        match self.route_message(at, key, message, to_answer) {
            Routed::ToAll(receivers) => Some(reason_for(receivers)),
            Routed::GoesOn(_) => None,
        }
    }

    /// The connection is over: what it still held. A QoS 0 message that nobody will send again is
    /// decided on all the same; the others come again, or were given up by their client.
    pub(in crate::broker) fn drop_held(&mut self, id: ConnectionId, key: Option<SessionKey>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.request = None;
        let held = core::mem::take(&mut connection.held);
        self.decisions.note_done(held.bytes());
        let packets = held.0.map_or_else(VecDeque::new, |waiting| waiting.packets);
        if let Some(question) = connection.question.take() {
            self.forget_question(question);
        }
        let mut left = Left::new(key);
        for packet in packets {
            match packet {
                Packet::Publish {
                    delivery,
                    message,
                    decision,
                    answer,
                    at,
                } => {
                    let open = decision.filter(|_| answer.is_none());
                    // [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-6] What is decided waits behind what is not.
                    let is_left = match open {
                        Some(_) => self.may_leave(),
                        None => !left.is_empty(),
                    };
                    match (delivery.qos(), open) {
                        (QoS::AtMostOnce, _) if is_left => left.push(LeftMessage {
                            message,
                            at,
                            decision,
                            answer,
                        }),
                        (QoS::AtMostOnce, Some(decision)) => {
                            self.forget_question(decision.key());
                            if let Some(key) = key {
                                self.refuse_message(key, message.topic());
                            }
                        }
                        (QoS::AtMostOnce, None) => {
                            self.publish_decided(at, key, message, answer, None);
                        }
                        (_, Some(decision)) => self.forget_question(decision.key()),
                        (_, None) => {}
                    }
                }
                Packet::Subscribe { filters, .. } => {
                    let open = filters.iter().filter(|filter| filter.answer.is_none());
                    for decision in open.filter_map(|filter| filter.decision) {
                        self.forget_question(decision.key());
                    }
                }
                Packet::Unsubscribe { .. } | Packet::Disconnect(_) => {}
            }
        }
        if !left.is_empty() {
            self.leave(left);
        }
    }

    /// Whether a question may stay when its connection is gone: who connects again and again must not
    /// take the room of those who are here.
    fn may_leave(&self) -> bool {
        self.decisions.len() <= self.config.decisions_max / 2
    }
}
