//! Packets of the QoS flows as they arrive: what is checked, what is answered, what it means.

use mqtt_codec::{
    Ack, AckProperties, Delivery, EncodeError, Packet, PacketId, PacketType, PlainAck,
    PlainPublish, ProtocolVersion, Publish, PublishReason, PublishTopic, QoS, ReasonCode,
    ReleaseReason,
};

use super::{Acks, Link, Phase, Store, Topic, Waiting};
use crate::ProtocolError;
use crate::session::{Answer, Ended, Inbound, Mismatch, Received, Session};

/// What a PUBLISH turned out to be.
#[derive(Debug)]
pub(crate) enum Arrival<'p> {
    /// A new message. Nothing is answered before [`Link::acknowledge`].
    New(Topic<'p>),
    /// Not a new message: one that this side owns already, or one whose identifier is in use. It has
    /// been answered.
    Answered,
}

/// What an acknowledgement did, to the message with this tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckEffect {
    /// Nothing that the owner of the message has to know.
    Nothing,
    /// The receiver owns a QoS 2 message.
    Released { tag: u64 },
    /// The receiver has let go of the identifier of a QoS 2 message that was given up.
    Freed { tag: u64 },
    /// The flow is over.
    Completed { tag: u64, reason: ReasonCode },
}

/// Either side of a failed reception: the peer's fault, or an answer that does not fit.
#[derive(Debug)]
pub(crate) enum ReceiveError {
    Protocol(ProtocolError),
    AnswerTooLarge,
}

impl From<ProtocolError> for ReceiveError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<EncodeError> for ReceiveError {
    fn from(_: EncodeError) -> Self {
        Self::AnswerTooLarge
    }
}

impl Link {
    /// PUBLISH has come.
    pub(crate) fn receive_publish<'p>(
        &mut self,
        publish: &Publish<'p>,
        inbound: &Inbound,
    ) -> Result<Arrival<'p>, ReceiveError> {
        // The duplicate test comes before every other: a repetition is no new use of the quota.
        // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2] A repeated PUBLISH gets PUBREC again and is not delivered twice.
        if let Delivery::ExactlyOnce { id, .. } = publish.delivery
            && inbound.is_known(id)
        {
            self.receive_repeated(publish)?;
            self.send_ack(PlainAck::PubRec(id), &mut Waiting)?;
            return Ok(Arrival::Answered);
        }
        if let Delivery::AtLeastOnce { id, .. } = publish.delivery
            && inbound.is_known(id)
            && self.version == ProtocolVersion::V5_0
        {
            return self.refuse_id_in_use(publish, id);
        }
        if !self.has_room_for(publish.delivery, inbound) {
            let maximum = self.receive.receive_maximum;
            return Err(ProtocolError::ReceiveMaximumExceeded { maximum }.into());
        }
        Ok(Arrival::New(self.receive.aliases.resolve(publish.topic)?))
    }

    /// The topic of a plain PUBLISH. `None` for one with an alias that is not known.
    #[inline(always)]
    pub(crate) fn topic_of<'p>(&self, publish: &PlainPublish<'p>) -> Option<Topic<'p>> {
        match publish.topic() {
            PublishTopic::Name(name) | PublishTopic::NameAndAlias(name, _) => {
                Some(Topic::Named(name))
            }
            // [5:MQTT-3.3.2-7] On this connection.
            PublishTopic::Alias(alias) => {
                let topic = self.receive.aliases.known(alias)?;
                Some(Topic::Aliased(topic.clone()))
            }
        }
    }

    /// Whether a PUBLISH is a new message for which there is room: nothing else has to be known of one
    /// that sets no alias.
    #[inline]
    pub(crate) fn takes_at_once(&self, delivery: Delivery, inbound: &Inbound) -> bool {
        match delivery.id() {
            None => true,
            Some(id) => !inbound.is_known(id) && self.has_room_for(delivery, inbound),
        }
    }

    /// What the peer has open stays within the Receive Maximum; what it has left open on connections
    /// before, and never releases, within twice that.
    // [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9]
    #[inline]
    fn has_room_for(&self, delivery: Delivery, inbound: &Inbound) -> bool {
        let maximum = self.receive.receive_maximum;
        let is_within = self.receive.open.len() < usize::from(maximum);
        match delivery {
            Delivery::AtMostOnce => true,
            Delivery::AtLeastOnce { .. } => is_within,
            Delivery::ExactlyOnce { .. } => is_within && inbound.len() < Inbound::len_max(maximum),
        }
    }

    /// A QoS 1 message has the identifier of a QoS 2 message that is not released.
    ///
    /// 3.1.1 has no answer to that. There the peer may have lost its session without a word, and a
    /// receiver of QoS 1 needs no identifier: it is taken as a new message.
    #[cold]
    fn refuse_id_in_use<'p>(
        &mut self,
        publish: &Publish<'p>,
        id: PacketId,
    ) -> Result<Arrival<'p>, ReceiveError> {
        self.receive.aliases.resolve(publish.topic)?;
        let refusal = Ack::new(id, PublishReason::PacketIdInUse);
        self.send(&Packet::PubAck(refusal))?;
        Ok(Arrival::Answered)
    }

    /// A QoS 2 message has come once more.
    pub(crate) fn receive_repeated(&mut self, publish: &Publish<'_>) -> Result<(), ProtocolError> {
        self.receive.aliases.resolve(publish.topic)?;
        self.defer(publish.delivery);
        Ok(())
    }

    /// A new PUBLISH is left to an application that has so many QoS 2 messages already, from whatever
    /// connection: they count like those that are not released.
    // [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9]
    pub(crate) fn hand_over(
        &mut self,
        delivery: Delivery,
        held_len: usize,
        inbound: &Inbound,
    ) -> Result<(), ProtocolError> {
        let maximum = self.receive.receive_maximum;
        let len = inbound.len().saturating_add(held_len);
        if delivery.qos() == QoS::ExactlyOnce && len >= Inbound::len_max(maximum) {
            return Err(ProtocolError::ReceiveMaximumExceeded { maximum });
        }
        self.defer(delivery);
        Ok(())
    }

    /// A PUBLISH is answered later: until then it counts for the Receive Maximum.
    pub(crate) fn defer(&mut self, delivery: Delivery) {
        if let Some(id) = delivery.id() {
            self.receive.open.insert(id);
        }
    }

    /// Answers a PUBLISH by its QoS with a success: this side owns the message.
    // [5:MQTT-3.3.4-1] [3:MQTT-3.3.4-1] QoS 0 nothing, QoS 1 PUBACK, QoS 2 PUBREC.
    #[inline]
    pub(crate) fn accept(
        &mut self,
        delivery: Delivery,
        inbound: &mut Inbound,
        acks: &mut impl Acks,
    ) -> Result<(), EncodeError> {
        match delivery {
            Delivery::AtMostOnce => Ok(()),
            // [5:MQTT-4.3.2-4] [3:MQTT-4.3.2-2] [5:MQTT-4.3.2-5] The same identifier, and nothing is remembered.
            // [5:MQTT-4.6.0-2] [3:MQTT-4.6.0-2] Answered at once, so in the order of arrival.
            Delivery::AtLeastOnce { id, .. } => {
                self.receive.open.remove(id);
                self.send_ack(PlainAck::PubAck(id), acks)
            }
            // [5:MQTT-4.3.3-8] [3:MQTT-4.3.3-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3]
            Delivery::ExactlyOnce { id, .. } => {
                inbound.remember(id);
                self.receive.open.insert(id);
                self.send_ack(PlainAck::PubRec(id), acks)
            }
        }
    }

    /// Answers a PUBLISH by its QoS, with what there is to say about it.
    // [5:MQTT-3.3.4-1] [3:MQTT-3.3.4-1] QoS 0 nothing, QoS 1 PUBACK, QoS 2 PUBREC.
    pub(crate) fn acknowledge(
        &mut self,
        delivery: Delivery,
        reason: PublishReason,
        properties: AckProperties<'_>,
        inbound: &mut Inbound,
        acks: &mut impl Acks,
    ) -> Result<(), EncodeError> {
        // 3.1.1 has no other answer.
        let is_plain =
            || reason == PublishReason::Success && properties == AckProperties::default();
        if self.version == ProtocolVersion::V3_1_1 || is_plain() {
            return self.accept(delivery, inbound, acks);
        }
        let answer = |id| Ack {
            properties,
            ..Ack::new(id, reason)
        };
        match delivery {
            Delivery::AtMostOnce => Ok(()),
            Delivery::AtLeastOnce { id, .. } => {
                self.receive.open.remove(id);
                self.send(&Packet::PubAck(answer(id)))
            }
            Delivery::ExactlyOnce { id, .. } => {
                // [5:MQTT-4.3.3-9] After a refusal the identifier is a new message.
                if !is_failure(reason.into()) {
                    inbound.remember(id);
                    self.receive.open.insert(id);
                } else {
                    self.receive.open.remove(id);
                }
                self.send(&Packet::PubRec(answer(id)))
            }
        }
    }

    /// Answers a PUBLISH as the application wants.
    pub(crate) fn answer(
        &mut self,
        delivery: Delivery,
        answer: &Answer,
        inbound: &mut Inbound,
    ) -> Result<(), EncodeError> {
        if answer.diagnostics.is_empty() {
            let properties = AckProperties::default();
            return self.acknowledge(delivery, answer.reason, properties, inbound, &mut Waiting);
        }
        answer.diagnostics.with_properties(|properties| {
            self.acknowledge(delivery, answer.reason, properties, inbound, &mut Waiting)
        })
    }

    /// PUBACK has come.
    #[inline]
    pub(crate) fn receive_puback<S: Store>(
        &mut self,
        id: PacketId,
        reason: PublishReason,
        session: &mut Session<S::Handle>,
        store: &mut S,
    ) -> Result<AckEffect, ReceiveError> {
        let release = |message: &mut _| store.release(message);
        match session.outbound.handle_puback(id, release) {
            // [5:MQTT-4.4.0-2] Whatever the reason, it is acknowledged and never sent again,
            // [5:MQTT-4.8.2-6] to this receiver or another.
            Ok(ended) => Ok(self.completed(ended, reason.into())),
            // Silent in both standards: an acknowledgement for nothing is ignored.
            Err(Mismatch::Unknown) => Ok(AckEffect::Nothing),
            Err(Mismatch::OtherFlow) => {
                Err(ProtocolError::AcknowledgementOfOtherFlow(PacketType::PubAck).into())
            }
        }
    }

    /// PUBREC has come.
    #[inline]
    pub(crate) fn receive_pubrec<S: Store>(
        &mut self,
        id: PacketId,
        reason: PublishReason,
        session: &mut Session<S::Handle>,
        store: &mut S,
        acks: &mut impl Acks,
    ) -> Result<AckEffect, ReceiveError> {
        let reason = ReasonCode::from(reason);
        let release = |message: &mut _| store.release(message);
        match session
            .outbound
            .handle_pubrec(id, is_failure(reason), release)
        {
            Ok(Received::Now(tag)) => {
                // [5:MQTT-4.3.3-4] [3:MQTT-4.3.3-1] Answered by PUBREL with the same identifier.
                self.send_ack(PlainAck::PubRel(id), acks)?;
                Ok(AckEffect::Released { tag })
            }
            Ok(Received::Before) => {
                self.send_ack(PlainAck::PubRel(id), acks)?;
                Ok(AckEffect::Nothing)
            }
            Ok(Received::Refused(ended)) => Ok(self.completed(ended, reason)),
            Err(Mismatch::Unknown) => {
                // In 3.1.1 the code is left out: PUBREL lets the peer finish.
                if !is_failure(reason) {
                    let unknown = Ack::new(id, ReleaseReason::PacketIdNotFound);
                    self.send(&Packet::PubRel(unknown))?;
                }
                Ok(AckEffect::Nothing)
            }
            Err(Mismatch::OtherFlow) => {
                Err(ProtocolError::AcknowledgementOfOtherFlow(PacketType::PubRec).into())
            }
        }
    }

    /// PUBREL has come. Answers whether it was known.
    // [5:MQTT-4.3.3-11] [3:MQTT-4.3.3-2] Answered by PUBCOMP with the same identifier.
    pub(crate) fn receive_pubrel(
        &mut self,
        id: PacketId,
        inbound: &mut Inbound,
        acks: &mut impl Acks,
    ) -> Result<bool, ReceiveError> {
        let is_known = inbound.release(id);
        self.receive.open.remove(id);
        if is_known || self.version == ProtocolVersion::V3_1_1 {
            self.send_ack(PlainAck::PubComp(id), acks)?;
        } else {
            let unknown = Ack::new(id, ReleaseReason::PacketIdNotFound);
            self.send(&Packet::PubComp(unknown))?;
        }
        Ok(is_known)
    }

    /// PUBCOMP has come.
    #[inline]
    pub(crate) fn receive_pubcomp<M>(
        &mut self,
        id: PacketId,
        session: &mut Session<M>,
    ) -> Result<AckEffect, ReceiveError> {
        match session.outbound.handle_pubcomp(id) {
            // The receiver took the message with PUBREC. That it has forgotten the identifier
            // (0x92) means that an earlier PUBCOMP was lost, and not that the message was.
            Ok(ended) => Ok(self.completed(ended, ReasonCode::Success)),
            // A repeated PUBREC after a reconnect can cause a second PUBCOMP.
            Err(Mismatch::Unknown) => Ok(AckEffect::Nothing),
            Err(Mismatch::OtherFlow) => {
                Err(ProtocolError::AcknowledgementOfOtherFlow(PacketType::PubComp).into())
            }
        }
    }

    // [5:MQTT-2.2.1-5] [3:MQTT-2.3.1-6] Every packet of a flow repeats the identifier of its PUBLISH.
    #[inline]
    fn send_ack(&mut self, ack: PlainAck, acks: &mut impl Acks) -> Result<(), EncodeError> {
        if self.phase != Phase::Open {
            return Ok(());
        }
        let fits = ack.to_bytes().len() <= self.send.packet_size_max;
        if fits && self.outbox.is_empty() && acks.take(ack) {
            return Ok(());
        }
        self.outbox.push_ack(ack, self.send.packet_size_max)
    }

    /// A PUBLISH of this connection counts no more against what the peer takes.
    #[inline]
    pub(crate) fn give_quota(&mut self) {
        self.send.quota = self.send.quota.saturating_add(1).min(self.send.quota_max);
    }

    #[inline]
    fn completed(&mut self, ended: Ended, reason: ReasonCode) -> AckEffect {
        // [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9] What was sent on an earlier connection took nothing from
        // this quota. If its acknowledgement gave one, more would be open than the peer takes.
        if ended.counted {
            self.give_quota();
        }
        let tag = ended.tag;
        if ended.was_told {
            return AckEffect::Freed { tag };
        }
        AckEffect::Completed { tag, reason }
    }
}

fn is_failure(reason: ReasonCode) -> bool {
    reason.value() >= 0x80
}
