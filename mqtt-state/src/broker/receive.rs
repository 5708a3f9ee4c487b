//! Packets as they arrive in a broker.

use bytes::BytesMut;
use mqtt_codec::{Delivery, Message, Packet, PlainAck};

use super::at_once::AtOnce;
use super::direct::Direct;
use super::held::Goodbye;
use super::routing::Accepted;
use super::sessions::SessionEntry;
use super::store::Deliveries;
use super::{Broker, ConnectionId};
use crate::intake::Origin;
use crate::link::{Topic, Waiting};
use crate::server::Action;
use crate::{AuthenticationData, CloseCause, Timestamp};

impl Broker {
    pub(super) fn carry_out(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        packet: &Packet<'_>,
        origin: Origin<'_>,
    ) -> Result<(), CloseCause> {
        self.take_back(id);
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(());
        };
        let entry = connection
            .session
            .and_then(|key| self.sessions.get_mut(key));
        let (client_id, kept_as, session) = SessionEntry::parts(entry);
        let mut deliveries = Deliveries {
            store: &mut self.store,
            events: &mut self.events,
            traffic: &mut self.traffic,
            client_id,
            kept_as,
        };
        let config = &self.config.server;
        match connection
            .link
            .receive(now, packet, session, &mut deliveries, config)?
        {
            Action::Nothing => {
                if let Packet::PubRel(ack) = packet {
                    self.store.record_released(kept_as, ack.id);
                }
                Ok(())
            }
            // What else it means has been heard by the store.
            Action::Delivery(effect) => {
                let id = match packet {
                    Packet::PubAck(ack) | Packet::PubRec(ack) => ack.id,
                    Packet::PubComp(ack) => ack.id,
                    _other => return Ok(()),
                };
                self.store.record_effect(kept_as, id, effect);
                Ok(())
            }
            Action::Connect(connect) => self.connect(now, id, &connect),
            Action::Authenticate { data, .. } => {
                self.ask_step(now, id, data.map(AuthenticationData::from))
            }
            Action::Publish(publish, topic) => {
                self.counts.note_publish(publish.delivery.qos());
                if self.config.ask.publish || self.is_holding(id) {
                    let message = origin.message(&publish, &topic);
                    return self.hold_publish(now, id, publish.delivery, message);
                }
                let expiry_secs = publish.properties.message_expiry_secs;
                let accepted = Accepted {
                    delivery: publish.delivery,
                    retain: publish.retain,
                    name: topic.name(),
                    expires_at: expiry_secs.map(|secs| now.plus_secs(secs)),
                    payload: publish.payload,
                };
                let message = |memory| origin.message_in(memory, &publish, &topic);
                let Some(key) = self.session_key(id) else {
                    return Ok(());
                };
                self.publish_from(id, key, &accepted, message, &mut Waiting)
            }
            Action::Subscribe(subscribe) => {
                if self.config.ask.subscribe || self.is_holding(id) {
                    return self.hold_subscribe(now, id, &subscribe);
                }
                self.subscribe(now, id, &subscribe)
            }
            Action::Unsubscribe(unsubscribe) => {
                if self.is_holding(id) {
                    return self.hold_unsubscribe(now, id, &unsubscribe);
                }
                self.unsubscribe(id, &unsubscribe)
            }
            Action::Disconnect(disconnect) => {
                let goodbye = Goodbye {
                    reason: disconnect.reason,
                    session_expiry_secs: disconnect.properties.session_expiry_secs,
                };
                if self.is_holding(id) {
                    return self.hold_disconnect(now, id, goodbye);
                }
                self.client_disconnects(now, id, goodbye);
                Ok(())
            }
        }
    }

    /// Whether packets can be taken in the short way: nothing has to be asked, counted or stored first.
    #[inline]
    pub(super) fn takes_plain_packets(&self) -> bool {
        !self.config.ask.publish && !self.config.has_rates() && !self.store.journal.is_on()
    }

    /// Takes the PUBLISH at the front of `input`, if it is a plain one; answers its size, or 0.
    #[inline(never)]
    pub(super) fn take_plain_publish(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        input: &[u8],
        at_once: &mut AtOnce<'_>,
    ) -> usize {
        let Some(connection) = self.connections.get_mut(id) else {
            return 0;
        };
        let Some(key) = connection.session else {
            return 0;
        };
        let Some(publish) = connection.link.plain_publish(input, &self.config.server) else {
            return 0;
        };
        let Some(topic) = connection.link.topic_of(&publish) else {
            return 0;
        };
        let Some(entry) = self.sessions.get_mut(key) else {
            return 0;
        };
        let (delivery, size) = (publish.delivery(), publish.size());
        let version = connection.link.version();
        if connection.held.len() > 0
            || entry.fan_outs > 0
            || !connection.link.takes_at_once(delivery, &entry.session)
        {
            return 0;
        }
        self.traffic.note_received(size);
        self.counts.note_publish(delivery.qos());
        let mut direct = Direct::new(publish, version, at_once);
        if delivery == Delivery::AtMostOnce
            && let Topic::Named(name) = topic
            && self.copy_to_few(name, &mut direct)
        {
            return size;
        }
        let accepted = Accepted {
            delivery,
            retain: publish.retain(),
            name: topic.name(),
            expires_at: None,
            payload: publish.payload(),
        };
        let message = |memory: Option<BytesMut>| {
            Message::from_plain_in(memory.unwrap_or_default(), &publish, topic.name())
        };
        if let Err(cause) = self.publish_from(id, key, &accepted, message, &mut direct) {
            self.end_connection(now, id, cause, None);
        }
        size
    }

    /// Takes the plain acknowledgements at the front of `input`, as far as they can be; answers how many
    /// bytes they were.
    pub(super) fn take_plain_acks(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        input: &[u8],
        at_once: &mut AtOnce<'_>,
    ) -> usize {
        let Some((connection, queue)) = self.connections.get_with_queue(id) else {
            return 0;
        };
        // It may be meant, and is not where it is looked for here.
        if connection.has_lent() {
            return 0;
        }
        let Some(entry) = connection
            .session
            .and_then(|key| self.sessions.get_mut(key))
        else {
            return 0;
        };
        if connection.held.len() > 0 || entry.fan_outs > 0 {
            return 0;
        }
        let mut deliveries = Deliveries {
            store: &mut self.store,
            events: &mut self.events,
            traffic: &mut self.traffic,
            client_id: &entry.client_id,
            kept_as: None,
        };
        let (link, session) = (&mut connection.link, &mut entry.session);
        let mut rest = input;
        while let Some((ack, behind)) = PlainAck::split(rest)
            && let Some(received) = link.receive_plain_ack(ack, session, &mut deliveries, at_once)
        {
            deliveries.traffic.note_received(ack.to_bytes().len());
            rest = behind;
            if let Err(error) = received {
                self.end_connection(now, id, error.into(), None);
                return input.len().saturating_sub(rest.len());
            }
        }
        // There may be answers that wait, and room for what waited for acknowledgements.
        let may_send = !session.outbound.is_idle();
        if link.has_control_output() || (may_send && link.has_publish(session)) {
            queue.push(id, &mut connection.ready);
        }
        if !entry.rests() {
            self.settle(id);
        }
        input.len().saturating_sub(rest.len())
    }

    /// After input: is there output, and when is the connection due?
    pub(super) fn settle(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let key = connection.session;
        let entry = key.and_then(|key| self.sessions.get(key));
        let session = entry.map(|entry| &entry.session);
        let replays = entry.is_some_and(|entry| !entry.replays.is_empty());
        let is_oversized = session.is_some_and(|session| session.outbound.is_oversized());
        let is_armed = connection.is_armed();
        if replays || connection.link.has_output(session) {
            self.connections.mark_ready(id);
        }
        if is_oversized && let Some(key) = key {
            self.give_back(key);
        }
        self.wait_for_store(id);
        if !is_armed {
            self.arm(id);
        }
    }
}
