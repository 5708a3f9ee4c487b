//! What a client sent while a decision about something before was missing: it waits its turn, so that
//! effects happen in the order of arrival.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{
    Delivery, DisconnectReason, Message, PacketId, PublishReason, QoS, Subscribe, SubscribeFilter,
    SubscribeReason, SubscriptionId, SubscriptionOptions, TopicFilter, Unsubscribe,
};

use super::decision::{Grant, PublishAnswer, PublishDecision, SubscribeAnswer, SubscribeDecision};
use super::routing::{Routed, reason_for};
use super::sessions::SessionKey;
use super::{Broker, ConnectionId};
use crate::{CloseCause, Timestamp};

/// The packets of one connection that wait, in their order. Mostly there are none.
#[derive(Debug, Default)]
pub(super) struct Held(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<Packet>,
    /// Of all of them.
    bytes: usize,
    /// Questions about them without an answer.
    open: usize,
    /// Filters at the end of the last packet that nobody was asked about yet, as there are as many
    /// questions as may be. No packet comes behind them, for no input is taken meanwhile.
    unasked: usize,
}

#[derive(Debug)]
enum Packet {
    Publish {
        delivery: Delivery,
        message: Message,
        /// When it came: its expiry counts from then.
        at: Timestamp,
        decision: Option<PublishDecision>,
        answer: Option<PublishAnswer>,
    },
    Subscribe {
        id: PacketId,
        subscription_id: Option<SubscriptionId>,
        filters: Vec<Filter>,
    },
    Unsubscribe {
        id: PacketId,
        filters: Vec<Box<str>>,
    },
    Disconnect(Goodbye),
}

/// What a client says in its DISCONNECT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goodbye {
    pub(super) reason: DisconnectReason,
    pub(super) session_expiry_secs: Option<u32>,
}

#[derive(Debug)]
struct Filter {
    filter: Box<str>,
    options: SubscriptionOptions,
    /// With neither of these nobody was asked yet.
    decision: Option<SubscribeDecision>,
    answer: Option<SubscribeAnswer>,
}

impl Filter {
    fn is_unasked(&self) -> bool {
        self.decision.is_none() && self.answer.is_none()
    }
}

impl Packet {
    /// Bytes of it and of what it holds.
    fn len_held(&self) -> usize {
        let more = match self {
            Self::Publish { message, .. } => message.len_held(),
            Self::Subscribe { filters, .. } => sum(filters
                .iter()
                .map(|it| it.filter.len().saturating_add(size_of::<Filter>()))),
            Self::Unsubscribe { filters, .. } => sum(filters
                .iter()
                .map(|it| it.len().saturating_add(size_of::<Box<str>>()))),
            Self::Disconnect(_) => 0,
        };
        more.saturating_add(size_of::<Self>())
    }

    /// Whether all answers are there.
    fn is_decided(&self) -> bool {
        match self {
            Self::Publish { answer, .. } => answer.is_some(),
            Self::Subscribe { filters, .. } => filters.iter().all(|it| it.answer.is_some()),
            Self::Unsubscribe { .. } | Self::Disconnect(_) => true,
        }
    }
}

impl Held {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.packets.len())
    }

    fn push(&mut self, packet: Packet) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes = waiting.bytes.saturating_add(packet.len_held());
        match &packet {
            Packet::Publish { decision, .. } => {
                waiting.open = waiting.open.saturating_add(decision.is_some().into());
            }
            Packet::Subscribe { filters, .. } => {
                waiting.unasked = filters.iter().filter(|it| it.is_unasked()).count();
            }
            Packet::Unsubscribe { .. } | Packet::Disconnect(_) => {}
        }
        waiting.packets.push_back(packet);
    }

    /// Whether as many questions as may be have no answer.
    pub(super) fn asks_enough(&self, open_max: usize) -> bool {
        { self.0.as_ref() }.is_some_and(|waiting| waiting.open >= open_max.max(1))
    }

    /// The next filter to ask about.
    fn unasked(&mut self) -> Option<&mut Filter> {
        let waiting = self.0.as_mut()?;
        match waiting.packets.back_mut()? {
            Packet::Subscribe { filters, .. } => {
                let at = filters.len().checked_sub(waiting.unasked)?;
                filters.get_mut(at)
            }
            Packet::Publish { .. } | Packet::Unsubscribe { .. } | Packet::Disconnect(_) => None,
        }
    }

    /// That filter was asked about, or there is no room for the question.
    fn note_asked(&mut self, asked: Option<SubscribeDecision>) {
        if let Some(filter) = self.unasked() {
            filter.decision = asked;
            if asked.is_none() {
                filter.answer = Some(SubscribeAnswer::Refuse(SubscribeReason::QuotaExceeded));
            }
        }
        if let Some(waiting) = &mut self.0 {
            waiting.open = waiting.open.saturating_add(asked.is_some().into());
            waiting.unasked = waiting.unasked.saturating_sub(1);
        }
    }

    fn note_answered(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.open = waiting.open.saturating_sub(1);
        }
    }

    /// Bytes of the packets that wait.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// What the client has said at last, if that waits: nothing comes behind it.
    pub(super) fn goodbye(&self) -> Option<Goodbye> {
        match self.0.as_ref()?.packets.back()? {
            Packet::Disconnect(goodbye) => Some(*goodbye),
            Packet::Publish { .. } | Packet::Subscribe { .. } | Packet::Unsubscribe { .. } => None,
        }
    }

    fn packets(&self) -> impl Iterator<Item = &Packet> {
        { self.0.iter() }.flat_map(|waiting| &waiting.packets)
    }

    fn packets_mut(&mut self) -> impl Iterator<Item = &mut Packet> {
        { self.0.iter_mut() }.flat_map(|waiting| &mut waiting.packets)
    }

    fn take_decided(&mut self) -> Option<Packet> {
        let waiting = self.0.as_mut()?;
        if !waiting.packets.front().is_some_and(Packet::is_decided) {
            return None;
        }
        let packet = waiting.packets.pop_front()?;
        waiting.bytes = waiting.bytes.saturating_sub(packet.len_held());
        if waiting.packets.is_empty() {
            self.0 = None;
        }
        Some(packet)
    }
}

impl Broker {
    /// Whether something before has to be decided, so that what comes now has to wait.
    pub(super) fn is_holding(&self, id: ConnectionId) -> bool {
        self.connections
            .get(id)
            .is_some_and(|connection| connection.held.len() > 0)
    }

    /// Holds a message until it is decided on, or until its turn.
    pub(super) fn hold_publish(
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

    pub(super) fn hold_subscribe(
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

    pub(super) fn hold_unsubscribe(
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

    pub(super) fn hold_disconnect(
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
    pub(super) fn holds_publish(&self, id: ConnectionId, wanted: PublishDecision) -> bool {
        let packets = self.connections.get(id).into_iter();
        { packets }
            .flat_map(|connection| connection.held.packets())
            .any(|packet| matches!(packet, Packet::Publish { decision, .. } if *decision == Some(wanted)))
    }

    pub(super) fn answer_held_publish(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        wanted: PublishDecision,
        given: PublishAnswer,
    ) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.held.note_answered();
        }
        let packets = self.connections.get_mut(id).into_iter();
        for packet in { packets }.flat_map(|connection| connection.held.packets_mut()) {
            if let Packet::Publish {
                decision, answer, ..
            } = packet
                && *decision == Some(wanted)
            {
                *answer = Some(given);
                break;
            }
        }
        self.advance_held(now, id);
    }

    pub(super) fn answer_held_subscribe(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        wanted: SubscribeDecision,
        given: SubscribeAnswer,
    ) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.held.note_answered();
        }
        let packets = self.connections.get_mut(id).into_iter();
        let packets = { packets }.flat_map(|connection| connection.held.packets_mut());
        let filters = packets.filter_map(|packet| match packet {
            Packet::Subscribe { filters, .. } => Some(filters),
            Packet::Publish { .. } | Packet::Unsubscribe { .. } | Packet::Disconnect(_) => None,
        });
        if let Some(filter) = { filters }
            .flatten()
            .find(|filter| filter.decision == Some(wanted))
        {
            filter.answer = Some(given);
        }
        self.advance_held(now, id);
    }

    /// After an answer: what may be asked, and carried out, now.
    pub(super) fn advance_held(&mut self, now: Timestamp, id: ConnectionId) {
        self.ask_about_filters(now, id);
        let outcome = self.carry_out_decided(now, id);
        self.conclude(now, id, outcome);
    }

    /// Carries out what is decided, as far as nothing before it is open.
    fn carry_out_decided(&mut self, now: Timestamp, id: ConnectionId) -> Result<(), CloseCause> {
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
            let reserved = super::routing::is_reserved(message.topic());
            if reserved {
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
    pub(super) fn drop_held(&mut self, id: ConnectionId, key: Option<SessionKey>) {
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
                    match (delivery.qos(), open) {
                        (QoS::AtMostOnce, Some(decision)) if self.may_detach() => {
                            self.detach(decision, key, message, at);
                        }
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
    }

    /// Whether a question may stay when its connection is gone: who connects again and again must not
    /// take the room of those who are here.
    fn may_detach(&self) -> bool {
        self.decisions.len() <= self.config.decisions_max / 2
    }

    fn client_id_of(&self, id: ConnectionId) -> Option<Box<str>> {
        let key = self.session_key(id)?;
        Some(self.sessions.get(key)?.client_id.clone())
    }

    pub(super) fn session_key(&self, id: ConnectionId) -> Option<SessionKey> {
        self.connections.get(id)?.session
    }
}

/// The limits of an answer that grants.
pub(super) fn grant_of(
    answer: Option<&SubscribeAnswer>,
) -> Result<Option<&Grant>, SubscribeReason> {
    match answer {
        Some(SubscribeAnswer::Allow) => Ok(None),
        Some(SubscribeAnswer::Grant(grant)) => Ok(Some(grant)),
        Some(SubscribeAnswer::Refuse(reason)) => Err(*reason),
        None => Err(SubscribeReason::NotAuthorized),
    }
}

fn sum(bytes: impl Iterator<Item = usize>) -> usize {
    bytes.fold(0, usize::saturating_add)
}
