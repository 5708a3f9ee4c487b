//! Packets as they arrive in a broker.

use alloc::string::String;

use bytes::BytesMut;
use mqtt_codec::{Delivery, Frame, Message, Packet, Parsed, PlainAck};

use super::held::Goodbye;
use super::routing::Accepted;
use super::sessions::SessionEntry;
use super::store::Deliveries;
use super::timers::Timer;
use super::{Broker, ConnectionId};
use crate::intake::{Intake, Origin, Step};
use crate::server::Action;
use crate::{AuthenticationData, CloseCause, ProtocolError, Timestamp};

impl Broker {
    pub(super) fn note_input(&mut self, now: Timestamp, id: ConnectionId, len: usize) -> Timestamp {
        let now = self.begin(now);
        if let Some(connection) = self.connections.get_mut(id)
            && connection.input_seen.note_offered(len)
        {
            connection.link.note_input(now);
        }
        now
    }

    fn carry_out(
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
                self.publish_from(id, key, &accepted, message)
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
    fn takes_plain_packets(&self) -> bool {
        !self.config.ask.publish && !self.config.has_rates() && !self.store.journal.is_on()
    }

    /// Takes the PUBLISH at the front of `input`, if it is a plain one; answers its size, or 0.
    #[inline(never)]
    fn take_plain_publish(&mut self, now: Timestamp, id: ConnectionId, input: &[u8]) -> usize {
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
        if connection.held.len() > 0
            || entry.fan_outs > 0
            || !connection.link.takes_at_once(delivery, &entry.session)
        {
            return 0;
        }
        self.traffic.note_received(size);
        self.counts.note_publish(delivery.qos());
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
        match self.publish_from(id, key, &accepted, message) {
            Ok(()) if delivery == Delivery::AtMostOnce => {}
            // There is an answer.
            Ok(()) => self.connections.mark_ready(id),
            Err(cause) => self.end_connection(now, id, cause, None),
        }
        size
    }

    /// Takes the plain acknowledgements at the front of `input`, as far as they can be; answers how many
    /// bytes they were.
    fn take_plain_acks(&mut self, now: Timestamp, id: ConnectionId, input: &[u8]) -> usize {
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
            && let Some(received) = link.receive_plain_ack(ack, session, &mut deliveries)
        {
            deliveries.traffic.note_received(ack.to_bytes().len());
            rest = behind;
            if let Err(error) = received {
                self.end_connection(now, id, error.into(), None);
                return input.len().saturating_sub(rest.len());
            }
        }
        // There may be answers, and room for what waited for acknowledgements.
        let may_send = !session.outbound.is_idle();
        if link.has_control_output() || (may_send && link.has_publish(session)) {
            queue.push(id, &mut connection.ready);
        }
        if !entry.rests() {
            self.settle(id);
        }
        input.len().saturating_sub(rest.len())
    }

    /// After input. Where all of it was plain, whoever took it has seen to nearly all of that.
    #[inline]
    pub(super) fn settle_input(&mut self, id: ConnectionId, is_plain: bool) {
        if !is_plain {
            self.settle(id);
        } else if self.asks_too_much() {
            // It was taken all the same, but no more is wanted: that is told, too, when it is over.
            self.decisions.note_refused(id);
        }
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

/// A broker, as the owner of one connection's input.
pub(super) struct Input<'b> {
    pub(super) broker: &'b mut Broker,
    pub(super) id: ConnectionId,
    pub(super) now: Timestamp,
    /// There was nothing but plain packets.
    pub(super) is_plain: bool,
}

impl<'b> Input<'b> {
    pub(super) fn new(broker: &'b mut Broker, id: ConnectionId, now: Timestamp) -> Self {
        Self {
            broker,
            id,
            now,
            is_plain: true,
        }
    }
}

impl Input<'_> {
    /// Nothing more is taken now: it is to be offered again, with so many bytes more.
    fn leave<'p>(&mut self, input: &[u8], needed: usize) -> Step<'p> {
        if let Some(connection) = self.broker.connections.get_mut(self.id) {
            connection.input_seen.note_left(input.len());
        }
        Step::Need(needed)
    }
}

impl Intake for Input<'_> {
    #[inline(always)]
    fn take_plain(&mut self, input: &[u8]) -> usize {
        let broker = &mut *self.broker;
        if !broker.takes_plain_packets() {
            return 0;
        }
        let mut taken = 0_usize;
        while broker.work.left() > 0
            && let Some(rest @ [first, ..]) = input.get(taken..)
        {
            // PUBLISH, and what acknowledges one.
            let size = match first >> 4 {
                3 => broker.take_plain_publish(self.now, self.id, rest),
                4 => match broker.take_ack_at_hand(self.id, rest) {
                    0 => broker.take_plain_acks(self.now, self.id, rest),
                    size => size,
                },
                5..8 => broker.take_plain_acks(self.now, self.id, rest),
                _ => 0,
            };
            if size == 0 {
                break;
            }
            taken = taken.wrapping_add(size);
        }
        taken
    }

    fn next_frame<'p>(&mut self, input: &'p [u8]) -> Step<'p> {
        self.is_plain = false;
        let broker = &mut *self.broker;
        let Some(connection) = broker.connections.get(self.id) else {
            return Step::Ignore;
        };
        // [5:MQTT-3.1.4-6] [3:MQTT-3.1.4-5] Also after a refusal.
        if connection.link.is_ended() {
            return Step::Ignore;
        }
        if broker.work.left() == 0 {
            // The next call has steps again.
            broker.connections.mark_open(self.id);
            return self.leave(input, 0);
        }
        if !broker.wants_input(self.id) {
            // It is told when that is over.
            if broker.journal_is_full() {
                broker.note_refused(self.id);
            }
            if broker.asks_too_much() {
                broker.decisions.note_refused(self.id);
            }
            return self.leave(input, 0);
        }
        // [5:MQTT-3.14.4-1] [3:MQTT-3.14.4-2] Nothing comes behind a DISCONNECT, also while that waits its turn.
        if connection.held.goodbye().is_some() {
            return Step::Ignore;
        }
        match connection.link.parse(input) {
            Ok(Parsed::Complete(frame)) => Step::Frame(frame),
            Ok(Parsed::Partial { needed }) => self.leave(input, needed),
            Err(error) => {
                let cause = CloseCause::ProtocolError(error);
                broker.end_connection(self.now, self.id, cause, None);
                Step::Ignore
            }
        }
    }

    fn handle_frame(&mut self, frame: &Frame<'_>, origin: Origin<'_>) {
        let broker = &mut *self.broker;
        broker.traffic.note_received(frame.size());
        let Some(connection) = broker.connections.get_mut(self.id) else {
            return;
        };
        if broker.config.has_rates() {
            let rates = &mut connection.rates;
            rates.note(self.now, frame.size(), &broker.config);
            if let Some(at) = rates.blocked_until(self.now) {
                broker.timers.set(at, Timer::Rate(self.id));
            }
        }
        let (cause, text) = match connection.link.decode(frame) {
            Ok(packet) => {
                let action =
                    |broker: &mut Broker| broker.carry_out(self.now, self.id, &packet, origin);
                // CONNACK says that no older session is there, so the end of that has to be stored,
                // whichever connection brought it about.
                let answered = match packet {
                    Packet::Connect(_) => broker.answering_for_all(self.id, action),
                    _ => broker.answering(self.id, action),
                };
                match answered {
                    Ok(()) => return,
                    Err(cause) => (cause, None),
                }
            }
            Err(error) => {
                let text = text_at_fault(&error, frame);
                (CloseCause::ProtocolError(error), text)
            }
        };
        broker.end_connection(self.now, self.id, cause, text);
    }
}

/// The topic name or filter that a decoder refused, for the log.
fn text_at_fault(error: &ProtocolError, frame: &Frame<'_>) -> Option<String> {
    let ProtocolError::Decode(error) = error else {
        return None;
    };
    error.topic_error()?;
    error.text_in(frame).map(String::from)
}
