//! Packets of the QoS flows as they arrive: what is checked, what is answered, what it means.

use mqtt_codec::{
    Ack, AckProperties, Delivery, EncodeError, Packet, PacketId, PacketType, ProtocolVersion,
    PubAck, PubComp, PubRec, PubRel, Publish, PublishReason, ReasonCode, ReleaseReason,
};

use super::{Link, Topic};
use crate::ProtocolError;
use crate::session::{Held, Inbound, Mismatch, Received, Session};

/// What a PUBLISH turned out to be.
#[derive(Debug)]
pub(crate) enum Arrival<'p> {
    /// A new message. Nothing is answered before [`Link::acknowledge`].
    New(Topic<'p>),
    /// A QoS 2 message that this side owns already; it has been answered.
    Repeated,
}

/// What an acknowledgement did.
#[derive(Debug)]
pub(crate) enum AckEffect<M> {
    /// Nothing that the owner of the message has to know.
    Nothing,
    /// The receiver owns a QoS 2 message: its content is not needed any more.
    Released(Held<M>),
    /// The flow is over. The message comes back unless it was released before.
    Completed {
        tag: u64,
        held: Option<Held<M>>,
        reason: ReasonCode,
    },
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
            self.send(&Packet::PubRec(Ack::new(id, PublishReason::Success)))?;
            return Ok(Arrival::Repeated);
        }
        // [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9] What the peer has open stays within the Receive Maximum.
        let maximum = self.receive.receive_maximum;
        if publish.delivery.id().is_some() && self.receive.open.len() >= usize::from(maximum) {
            return Err(ProtocolError::ReceiveMaximumExceeded { maximum }.into());
        }
        Ok(Arrival::New(self.receive.aliases.resolve(publish.topic)?))
    }

    /// A QoS 2 message has come once more.
    pub(crate) fn receive_repeated(&mut self, publish: &Publish<'_>) -> Result<(), ProtocolError> {
        self.receive.aliases.resolve(publish.topic)?;
        self.defer(publish.delivery);
        Ok(())
    }

    /// A PUBLISH is answered later: until then it counts for the Receive Maximum.
    pub(crate) fn defer(&mut self, delivery: Delivery) {
        if let Some(id) = delivery.id() {
            self.receive.open.insert(id);
        }
    }

    /// Answers a PUBLISH by its QoS. With a success this side owns the message.
    // [5:MQTT-3.3.4-1] [3:MQTT-3.3.4-1] QoS 0 nothing, QoS 1 PUBACK, QoS 2 PUBREC.
    pub(crate) fn acknowledge(
        &mut self,
        delivery: Delivery,
        reason: PublishReason,
        properties: AckProperties<'_>,
        inbound: &mut Inbound,
    ) -> Result<(), EncodeError> {
        let answer = |id, properties| Ack {
            properties,
            ..Ack::new(id, reason)
        };
        match delivery {
            Delivery::AtMostOnce => Ok(()),
            // [5:MQTT-4.3.2-4] [3:MQTT-4.3.2-2] The same identifier, and nothing is remembered.
            // [5:MQTT-4.6.0-2] [3:MQTT-4.6.0-2] Answered at once, so in the order of arrival.
            Delivery::AtLeastOnce { id, .. } => {
                self.receive.open.remove(id);
                self.send_short(properties, |properties| {
                    Packet::PubAck(answer(id, properties))
                })
            }
            // [5:MQTT-4.3.3-8] [3:MQTT-4.3.3-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3]
            Delivery::ExactlyOnce { id, .. } => {
                // [5:MQTT-4.3.3-9] After a refusal the identifier is a new message.
                if !is_failure(reason.into()) || self.version == ProtocolVersion::V3_1_1 {
                    inbound.remember(id);
                    self.receive.open.insert(id);
                } else {
                    self.receive.open.remove(id);
                }
                self.send_short(properties, |properties| {
                    Packet::PubRec(answer(id, properties))
                })
            }
        }
    }

    /// Sends an acknowledgement; without its properties, if the peer does not take it with them.
    // [5:MQTT-3.4.2-2] [5:MQTT-3.4.2-3] [5:MQTT-3.5.2-2] [5:MQTT-3.5.2-3]
    fn send_short<'p>(
        &mut self,
        properties: AckProperties<'p>,
        packet: impl Fn(AckProperties<'p>) -> Packet<'p>,
    ) -> Result<(), EncodeError> {
        match self.send(&packet(properties)) {
            Err(EncodeError::PacketTooLarge { .. }) => self.send(&packet(AckProperties::default())),
            sent => sent,
        }
    }

    /// PUBACK has come.
    pub(crate) fn receive_puback<M>(
        &mut self,
        ack: &PubAck<'_>,
        session: &mut Session<M>,
    ) -> Result<AckEffect<M>, ReceiveError> {
        match session.outbound.handle_puback(ack.id) {
            // [5:MQTT-4.4.0-2] Whatever the reason, it is acknowledged and never sent again.
            Ok(held) => Ok(self.completed(held, ack.reason.into())),
            // Silent in both standards: an acknowledgement for nothing is ignored.
            Err(Mismatch::Unknown) => Ok(AckEffect::Nothing),
            Err(Mismatch::OtherFlow) => {
                Err(ProtocolError::AcknowledgementOfOtherFlow(PacketType::PubAck).into())
            }
        }
    }

    /// PUBREC has come.
    pub(crate) fn receive_pubrec<M>(
        &mut self,
        ack: &PubRec<'_>,
        session: &mut Session<M>,
    ) -> Result<AckEffect<M>, ReceiveError> {
        let reason = ReasonCode::from(ack.reason);
        match session.outbound.handle_pubrec(ack.id, is_failure(reason)) {
            Ok(Received::Now(held)) => {
                // [5:MQTT-4.3.3-4] [3:MQTT-4.3.3-1] Answered by PUBREL with the same identifier.
                self.release(ack.id, ReleaseReason::Success)?;
                Ok(AckEffect::Released(held))
            }
            Ok(Received::Before) => {
                self.release(ack.id, ReleaseReason::Success)?;
                Ok(AckEffect::Nothing)
            }
            Ok(Received::Refused(held)) => Ok(self.completed(held, reason)),
            Err(Mismatch::Unknown) => {
                // In 3.1.1 the code is left out: PUBREL lets the peer finish.
                if !is_failure(reason) {
                    self.release(ack.id, ReleaseReason::PacketIdNotFound)?;
                }
                Ok(AckEffect::Nothing)
            }
            Err(Mismatch::OtherFlow) => {
                Err(ProtocolError::AcknowledgementOfOtherFlow(PacketType::PubRec).into())
            }
        }
    }

    /// PUBREL has come.
    // [5:MQTT-4.3.3-11] [3:MQTT-4.3.3-2] Answered by PUBCOMP with the same identifier.
    pub(crate) fn receive_pubrel(
        &mut self,
        ack: &PubRel<'_>,
        inbound: &mut Inbound,
    ) -> Result<(), ReceiveError> {
        let reason = if inbound.release(ack.id) {
            ReleaseReason::Success
        } else {
            ReleaseReason::PacketIdNotFound
        };
        self.receive.open.remove(ack.id);
        self.send(&Packet::PubComp(Ack::new(ack.id, reason)))?;
        Ok(())
    }

    /// PUBCOMP has come.
    pub(crate) fn receive_pubcomp<M>(
        &mut self,
        ack: &PubComp<'_>,
        session: &mut Session<M>,
    ) -> Result<AckEffect<M>, ReceiveError> {
        match session.outbound.handle_pubcomp(ack.id) {
            Ok(tag) => {
                self.return_quota();
                // The receiver took the message with PUBREC. That it has forgotten the identifier
                // (0x92) means that an earlier PUBCOMP was lost, and not that the message was.
                Ok(AckEffect::Completed {
                    tag,
                    held: None,
                    reason: ReasonCode::Success,
                })
            }
            // A repeated PUBREC after a reconnect can cause a second PUBCOMP.
            Err(Mismatch::Unknown) => Ok(AckEffect::Nothing),
            Err(Mismatch::OtherFlow) => {
                Err(ProtocolError::AcknowledgementOfOtherFlow(PacketType::PubComp).into())
            }
        }
    }

    // [5:MQTT-2.2.1-5] [3:MQTT-2.3.1-6] Every packet of a flow repeats the identifier of its PUBLISH.
    fn release(&mut self, id: PacketId, reason: ReleaseReason) -> Result<(), EncodeError> {
        self.send(&Packet::PubRel(Ack::new(id, reason)))
    }

    fn completed<M>(&mut self, held: Held<M>, reason: ReasonCode) -> AckEffect<M> {
        self.return_quota();
        AckEffect::Completed {
            tag: held.tag,
            held: Some(held),
            reason,
        }
    }

    /// One more PUBLISH may go. Never above the start value: a PUBREL sent again holds no quota,
    /// yet its PUBCOMP would add one.
    fn return_quota(&mut self) {
        self.send.quota = self.send.quota.saturating_add(1).min(self.send.quota_max);
    }
}

fn is_failure(reason: ReasonCode) -> bool {
    reason.value() >= 0x80
}
