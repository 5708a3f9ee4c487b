//! What has to wait, the questions about it, and their answers.

use alloc::boxed::Box;
use alloc::string::String;

use mqtt_codec::{Delivery, Message, PublishReason, Subscribe, Unsubscribe};

use super::{Filter, Goodbye, Packet};
use crate::broker::decision::{PublishAnswer, PublishDecision, SubscribeAnswer, SubscribeDecision};
use crate::broker::sessions::SessionKey;
use crate::broker::{Broker, ConnectionId};
use crate::{CloseCause, Timestamp};

impl Broker {
    /// Whether something before has to be decided, so that what comes now has to wait.
    pub(in crate::broker) fn is_holding(&self, id: ConnectionId) -> bool {
        self.connections
            .get(id)
            .is_some_and(|connection| connection.held.len() > 0)
    }

    /// Holds a message until it is decided on, or until its turn.
    pub(in crate::broker) fn hold_publish(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        delivery: Delivery,
        message: Message,
    ) -> Result<(), CloseCause> {
        let Some(client_id) = self.client_id_of(id) else {
            return Ok(());
        };
        let (mut decision, mut answer) = (None, Some(PublishAnswer::Allow));
        if self.config.ask.publish {
            decision = self.ask_publish(now, id, client_id, &message);
            answer = match decision {
                Some(_) => None,
                None => Some(PublishAnswer::Refuse(PublishReason::QuotaExceeded)),
            };
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.link.defer(delivery);
        }
        self.hold(
            now,
            id,
            Packet::Publish {
                delivery,
                message,
                at: now,
                decision,
                answer,
            },
        )
    }

    pub(in crate::broker) fn hold_subscribe(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), CloseCause> {
        let asks = self.config.ask.subscribe;
        let filters = subscribe.filters.iter().map(|entry| Filter {
            filter: entry.filter.as_str().into(),
            options: entry.options,
            decision: None,
            answer: (!asks).then_some(SubscribeAnswer::Allow),
        });
        let packet = Packet::Subscribe {
            id: subscribe.id,
            subscription_id: subscribe.properties.subscription_id,
            filters: filters.collect(),
        };
        self.hold(now, id, packet)
    }

    pub(in crate::broker) fn hold_unsubscribe(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), CloseCause> {
        let filters = unsubscribe.filters.iter();
        let packet = Packet::Unsubscribe {
            id: unsubscribe.id,
            filters: filters.map(|filter| filter.as_str().into()).collect(),
        };
        self.hold(now, id, packet)
    }

    pub(in crate::broker) fn hold_disconnect(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        goodbye: Goodbye,
    ) -> Result<(), CloseCause> {
        self.hold(now, id, Packet::Disconnect(goodbye))
    }

    /// What there is no room to ask about is decided at once, so it may be its turn already.
    fn hold(&mut self, now: Timestamp, id: ConnectionId, packet: Packet) -> Result<(), CloseCause> {
        if let Some(connection) = self.connections.get_mut(id) {
            self.decisions.note_held(packet.len_held());
            connection.held.push(packet);
        }
        self.ask_about_filters(now, id);
        self.carry_out_decided(now, id)
    }

    /// Asks about filters that wait for that, as far as their connection may have more questions.
    fn ask_about_filters(&mut self, now: Timestamp, id: ConnectionId) {
        let open_max = self.config.decisions_per_connection_max;
        while let Some(connection) = self.connections.get_mut(id)
            && !connection.held.asks_enough(open_max)
            && let Some(filter) = connection.held.unasked()
        {
            let (text, options) = (String::from(&*filter.filter), filter.options);
            let Some(client_id) = self.client_id_of(id) else {
                return;
            };
            let asked = self.ask_subscribe(now, id, client_id, text, options);
            if let Some(connection) = self.connections.get_mut(id) {
                connection.held.note_asked(asked);
            }
        }
    }

    /// Whether this decision is one about a message.
    pub(in crate::broker) fn holds_publish(
        &self,
        id: ConnectionId,
        wanted: PublishDecision,
    ) -> bool {
        let packets = self.connections.get(id).into_iter();
        { packets }
            .flat_map(|connection| connection.held.packets())
            .any(|packet| matches!(packet, Packet::Publish { decision, .. } if *decision == Some(wanted)))
    }

    pub(in crate::broker) fn answer_held_publish(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        wanted: PublishDecision,
        given: PublishAnswer,
    ) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.held.answer_publish(wanted, given);
        }
        self.advance_held(now, id);
    }

    pub(in crate::broker) fn answer_held_subscribe(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        wanted: SubscribeDecision,
        given: SubscribeAnswer,
    ) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.held.answer_subscribe(wanted, given);
        }
        self.advance_held(now, id);
    }

    /// After an answer: what may be asked, and carried out, now.
    pub(in crate::broker) fn advance_held(&mut self, now: Timestamp, id: ConnectionId) {
        self.ask_about_filters(now, id);
        let outcome = self.carry_out_decided(now, id);
        self.conclude(now, id, outcome);
    }

    fn client_id_of(&self, id: ConnectionId) -> Option<Box<str>> {
        let key = self.session_key(id)?;
        Some(self.sessions.get(key)?.client_id.clone())
    }

    pub(in crate::broker) fn session_key(&self, id: ConnectionId) -> Option<SessionKey> {
        self.connections.get(id)?.session
    }
}
