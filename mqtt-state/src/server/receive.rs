//! Packets as they arrive in the server role.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use mqtt_codec::{
    AckProperties, Delivery, Disconnect, DisconnectReason, Frame, Packet, Parsed, Publish,
    PublishReason, Subscribe, SubscribeReason, Unsubscribe, UnsubscribeReason, UserProperties,
};

use super::link::Action;
use super::{ConnectRequest, Connection, DeliveryToken, Event, RequestToken, check_connect};
use crate::intake::{Intake, Origin, Step};
use crate::link::Waiting;
use crate::link::{AckEffect, Topic};
use crate::session::{Acknowledge, Answer};
use crate::{AuthenticationData, CloseCause, Diagnostics, Timestamp};

impl Connection {
    fn carry_out(
        &mut self,
        now: Timestamp,
        packet: &Packet<'_>,
        origin: Origin<'_>,
    ) -> Result<(), CloseCause> {
        if let Packet::Publish(publish) = packet
            && self.repeats(publish)?
        {
            return Ok(());
        }
        let session = self.link.is_connected().then_some(&mut self.session.core);
        match self
            .link
            .receive(now, packet, session, &mut self.events, &self.config)?
        {
            Action::Nothing => {}
            Action::Connect(connect) => {
                check_connect(&connect, &self.config).map_err(CloseCause::Refused)?;
                let request = ConnectRequest::new(&connect, &self.config);
                self.session_expiry_secs = request.session_expiry_secs;
                self.clean_start = request.clean_start;
                self.version = Some(request.version);
                self.will.clone_from(&request.will);
                self.events.push(Event::Connect(request.into()));
            }
            Action::Authenticate { data, is_new } => {
                let data = data.map(AuthenticationData::from);
                self.events.push(Event::Authenticate { data, is_new });
            }
            Action::Publish(publish, topic) => {
                self.take_publish(&publish, topic, origin)?;
            }
            Action::Delivery(AckEffect::Completed { tag, reason }) => {
                self.events.push(Event::Delivered {
                    token: DeliveryToken(tag),
                    reason,
                    diagnostics: diagnostics(packet),
                });
            }
            Action::Delivery(
                AckEffect::Nothing | AckEffect::Released { .. } | AckEffect::Freed { .. },
            ) => {}
            Action::Subscribe(subscribe) => self.take_subscribe(&subscribe)?,
            Action::Unsubscribe(unsubscribe) => self.take_unsubscribe(&unsubscribe)?,
            Action::Disconnect(disconnect) => self.take_disconnect(now, &disconnect),
        }
        Ok(())
    }

    /// Whether a QoS 2 message is with the owner already, who has not acknowledged it.
    // The duplicate test comes before every other. [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2]
    fn repeats(&mut self, publish: &Publish<'_>) -> Result<bool, CloseCause> {
        let Delivery::ExactlyOnce { id, .. } = publish.delivery else {
            return Ok(false);
        };
        if !self.link.is_connected() || !self.session.receipts.came_again(id) {
            return Ok(false);
        }
        let repeated = self.link.link.receive_repeated(publish);
        repeated.map_err(CloseCause::ProtocolError)?;
        self.flush_receipts()
            .map_err(|_| CloseCause::AnswerTooLarge)?;
        Ok(true)
    }

    fn take_publish(
        &mut self,
        publish: &Publish<'_>,
        topic: Topic<'_>,
        origin: Origin<'_>,
    ) -> Result<(), CloseCause> {
        let delivery = publish.delivery;
        let payload_max = self.config.payload_size_max.unwrap_or(usize::MAX);
        let is_too_large = publish.payload.len() > payload_max;
        // A message is the owner's whether or not the client takes the answer.
        let mut answered = Ok(());
        let receipt = if self.config.acknowledge == Acknowledge::Manual {
            let super::Session { core, receipts, .. } = &mut self.session;
            self.link
                .link
                .hand_over(delivery, receipts.exactly_once_len(), &core.inbound)
                .map_err(CloseCause::ProtocolError)?;
            receipts.add(delivery)
        } else {
            let reason = match is_too_large {
                false => PublishReason::Success,
                true => PublishReason::QuotaExceeded,
            };
            answered =
                self.link
                    .acknowledge(delivery, reason, &mut self.session.core, &mut Waiting);
            None
        };
        // [5:MQTT-4.6.0-2] [3:MQTT-4.6.0-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3] Behind those that its owner has.
        if is_too_large && let Some(receipt) = receipt {
            let refusal = Answer::refused(PublishReason::QuotaExceeded);
            // It was added just now.
            let _is_there = self.session.receipts.answer(receipt, refusal);
            answered = self.flush_receipts();
        }
        if !is_too_large {
            self.events.push(Event::Publish {
                message: origin.message(publish, &topic),
                dup: delivery.dup(),
                receipt,
            });
        }
        answered.map_err(|_| CloseCause::AnswerTooLarge)
    }

    fn take_subscribe(&mut self, subscribe: &Subscribe<'_>) -> Result<(), CloseCause> {
        let filters: Vec<_> = subscribe
            .filters
            .iter()
            .map(|entry| (entry.filter.as_str().to_string(), entry.options))
            .collect();
        let token = RequestToken {
            id: subscribe.id,
            filters_len: filters.len(),
            subscribes: true,
        };
        if !self.requests.insert(subscribe.id) {
            let reasons: Vec<_> = filters
                .iter()
                .map(|_| SubscribeReason::PacketIdInUse)
                .collect();
            let refused = self.send_suback(token, &reasons, AckProperties::default());
            return refused.map_err(|_| CloseCause::AnswerTooLarge);
        }
        self.events.push(Event::Subscribe {
            token,
            filters,
            subscription_id: subscribe.properties.subscription_id,
            user_properties: owned(subscribe.properties.user_properties),
        });
        Ok(())
    }

    fn take_unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>) -> Result<(), CloseCause> {
        let filters: Vec<_> = unsubscribe
            .filters
            .iter()
            .map(|filter| filter.as_str().to_string())
            .collect();
        let token = RequestToken {
            id: unsubscribe.id,
            filters_len: filters.len(),
            subscribes: false,
        };
        if !self.requests.insert(unsubscribe.id) {
            let reasons: Vec<_> = filters
                .iter()
                .map(|_| UnsubscribeReason::PacketIdInUse)
                .collect();
            let refused = self.send_unsuback(token, &reasons, AckProperties::default());
            return refused.map_err(|_| CloseCause::AnswerTooLarge);
        }
        self.events.push(Event::Unsubscribe {
            token,
            filters,
            user_properties: owned(unsubscribe.user_properties),
        });
        Ok(())
    }

    fn take_disconnect(&mut self, now: Timestamp, disconnect: &Disconnect<'_>) {
        let properties = &disconnect.properties;
        if let Some(asked) = properties.session_expiry_secs {
            self.session_expiry_secs =
                asked.min(self.config.session_expiry_max_secs.unwrap_or(u32::MAX));
        }
        // [5:MQTT-3.14.4-3] [3:MQTT-3.14.4-3]
        if disconnect.reason == DisconnectReason::NormalDisconnection {
            self.will = None;
        }
        let diagnostics = Diagnostics::new(properties.reason_string, properties.user_properties);
        let cause = CloseCause::DisconnectedByPeer(disconnect.reason);
        self.end_with(now, cause, diagnostics);
    }
}

/// What an acknowledgement says beside its reason code.
fn diagnostics(packet: &Packet<'_>) -> Diagnostics {
    match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) => ack.properties.into(),
        Packet::PubComp(ack) => ack.properties.into(),
        _other => Diagnostics::default(),
    }
}

/// User properties, in their order.
pub(super) fn owned(properties: UserProperties<'_>) -> Vec<(String, String)> {
    let pairs = properties.iter();
    pairs
        .map(|pair| {
            (
                pair.name.as_str().to_string(),
                pair.value.as_str().to_string(),
            )
        })
        .collect()
}

/// A connection, as the owner of its input.
pub(super) struct Input<'c> {
    pub(super) connection: &'c mut Connection,
    pub(super) now: Timestamp,
}

impl Intake for Input<'_> {
    fn next_frame<'p>(&mut self, input: &'p [u8]) -> Step<'p> {
        let connection = &mut *self.connection;
        connection.input_seen.note_left(input.len());
        // [5:MQTT-3.1.4-6] [3:MQTT-3.1.4-5] Also after a refusal.
        if connection.link.is_ended() {
            return Step::Ignore;
        }
        if !connection.wants_input() {
            return Step::Need(0);
        }
        match connection.link.parse(input) {
            Ok(Parsed::Complete(frame)) => Step::Frame(frame),
            Ok(Parsed::Partial { needed }) => Step::Need(needed),
            Err(error) => {
                connection.end(self.now, CloseCause::ProtocolError(error));
                Step::Ignore
            }
        }
    }

    fn handle_frame(&mut self, frame: &Frame<'_>, origin: Origin<'_>) {
        let connection = &mut *self.connection;
        connection.events.traffic.note_received(frame.size());
        let packet = connection.link.decode(frame);
        let handled = packet.map_err(CloseCause::ProtocolError);
        let handled = handled.and_then(|packet| connection.carry_out(self.now, &packet, origin));
        if let Err(cause) = handled {
            connection.end(self.now, cause);
        }
    }
}
