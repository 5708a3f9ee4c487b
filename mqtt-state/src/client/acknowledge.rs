//! Acknowledgements that the application gives.
//!
//! The standard wants PUBACK packets in the order of the messages, and PUBREC packets likewise; the
//! application may answer in any order. An answer waits here until those before it have gone.

use alloc::collections::VecDeque;
use core::fmt;

use mqtt_codec::{AckProperties, Delivery, PacketId, ProtocolVersion, PublishReason, QoS};

use super::{Client, Phase};
use crate::link::Link;
use crate::session::{Inbound, Record};
use crate::{Diagnostics, Timestamp};

/// Who acknowledges QoS 1 and 2 messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acknowledge {
    /// The client, when the message arrives: the message is then in its queue of events, and in the
    /// application's hands with the next [`poll_event`](Client::poll_event).
    #[default]
    Automatic,
    /// The application, message by message, with [`ack`](Client::ack) or [`reject`](Client::reject).
    /// As many as [`Config::receive_maximum`](super::Config::receive_maximum) may be without an
    /// answer; then the server has to wait.
    Manual,
}

/// Names a message that the application has to acknowledge; never used again.
///
/// For QoS 1 it is good until the connection ends: the server then sends the message again, and it
/// comes with another receipt. For QoS 2 it is good until the session ends: the server sends the
/// message again, and the application does not get it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(u64);

/// Why a message was not acknowledged. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckError {
    /// The message was acknowledged before, or what could carry the acknowledgement has ended.
    Stale,
    /// 3.1.1 knows no refusal of a message.
    NotInVersion,
    /// The reason is none of a refusal.
    NotARefusal,
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "the message is not waiting for an acknowledgement",
            Self::NotInVersion => "3.1.1 knows no refusal of a message",
            Self::NotARefusal => "the reason code is a success",
        })
    }
}

impl core::error::Error for AckError {}

/// Messages that wait for the application, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    last: u64,
    at_least_once: VecDeque<Pending>,
    exactly_once: VecDeque<Pending>,
}

#[derive(Clone, Debug)]
pub(super) struct Pending {
    receipt: Receipt,
    id: PacketId,
    /// Whether it came, or came again, on the connection that there is.
    is_here: bool,
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
struct Answer {
    reason: PublishReason,
    diagnostics: Diagnostics,
}

impl Receipts {
    /// Whether a QoS 2 message is with the application. If it is, it came again: its answer goes
    /// behind those of what came before it this time.
    // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3]
    pub(super) fn came_again(&mut self, id: PacketId) -> bool {
        let place = self
            .exactly_once
            .iter()
            .position(|pending| pending.id == id);
        let Some(mut pending) = place.and_then(|place| self.exactly_once.remove(place)) else {
            return false;
        };
        pending.is_here = true;
        self.exactly_once.push_back(pending);
        true
    }

    /// A new message waits; `None` at QoS 0.
    pub(super) fn add(&mut self, delivery: Delivery) -> Option<Receipt> {
        let id = delivery.id()?;
        self.last = self.last.saturating_add(1);
        let receipt = Receipt(self.last);
        let pending = Pending {
            receipt,
            id,
            is_here: true,
            answer: None,
        };
        match delivery.qos() {
            QoS::AtMostOnce | QoS::AtLeastOnce => self.at_least_once.push_back(pending),
            QoS::ExactlyOnce => self.exactly_once.push_back(pending),
        }
        Some(receipt)
    }

    /// The connection ended: the server sends everything again.
    pub(super) fn end_connection(&mut self) {
        self.at_least_once.clear();
        for pending in &mut self.exactly_once {
            pending.is_here = false;
        }
    }

    /// The session ended.
    pub(super) fn end_session(&mut self) {
        self.at_least_once.clear();
        self.exactly_once.clear();
    }

    /// Messages without an answer, or whose answer waits for others.
    pub(super) fn len(&self) -> usize {
        self.at_least_once
            .len()
            .saturating_add(self.exactly_once.len())
    }

    fn answer(&mut self, receipt: Receipt, answer: Answer) -> Result<(), AckError> {
        let mut all = self.at_least_once.iter_mut().chain(&mut self.exactly_once);
        let pending = all.find(|pending| pending.receipt == receipt);
        let pending = pending.filter(|pending| pending.answer.is_none());
        pending.ok_or(AckError::Stale)?.answer = Some(answer);
        Ok(())
    }

    /// The next answer whose turn it is.
    // [5:MQTT-4.6.0-2] [3:MQTT-4.6.0-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3]
    fn next_answer(&mut self) -> Option<(Delivery, Answer)> {
        if let Some((id, answer)) = take_ready(&mut self.at_least_once) {
            return Some((Delivery::AtLeastOnce { id, dup: false }, answer));
        }
        let (id, answer) = take_ready(&mut self.exactly_once)?;
        Some((Delivery::ExactlyOnce { id, dup: false }, answer))
    }
}

/// The first of those on this connection, if it has its answer.
fn take_ready(queue: &mut VecDeque<Pending>) -> Option<(PacketId, Answer)> {
    let place = queue.iter().position(|pending| pending.is_here)?;
    let pending = queue.get_mut(place)?;
    let (id, answer) = (pending.id, pending.answer.take()?);
    queue.remove(place);
    Some((id, answer))
}

fn send(
    link: &mut Link,
    inbound: &mut Inbound,
    delivery: Delivery,
    answer: &Answer,
) -> Result<(), mqtt_codec::EncodeError> {
    if answer.diagnostics.is_empty() {
        return link.acknowledge(delivery, answer.reason, AckProperties::default(), inbound);
    }
    answer.diagnostics.with_properties(|properties| {
        link.acknowledge(delivery, answer.reason, properties, inbound)
    })
}

impl Client {
    /// Acknowledges a message, where [`Config::acknowledge`](super::Config::acknowledge) leaves it
    /// to the application. In any order: PUBACK and PUBREC go out in the order that the standard
    /// wants.
    ///
    /// # Errors
    ///
    /// [`AckError::Stale`], which is harmless: what was not acknowledged comes again.
    pub fn ack(&mut self, now: Timestamp, receipt: Receipt) -> Result<(), AckError> {
        self.answer(
            now,
            receipt,
            PublishReason::Success,
            AckProperties::default(),
        )
    }

    /// Refuses a message (5.0), with what else there is to say about it. The server does not send it
    /// again.
    ///
    /// # Errors
    ///
    /// [`AckError`]; nothing has changed then.
    pub fn reject(
        &mut self,
        now: Timestamp,
        receipt: Receipt,
        reason: PublishReason,
        properties: AckProperties<'_>,
    ) -> Result<(), AckError> {
        if mqtt_codec::ReasonCode::from(reason).value() < 0x80 {
            return Err(AckError::NotARefusal);
        }
        let version = self.link.as_ref().map(Link::version);
        if version == Some(ProtocolVersion::V3_1_1) {
            return Err(AckError::NotInVersion);
        }
        self.answer(now, receipt, reason, properties)
    }

    /// Messages that the application has not acknowledged, and those whose acknowledgement waits
    /// for theirs.
    #[must_use]
    pub fn unacknowledged_len(&self) -> usize {
        self.receipts.len()
    }

    fn answer(
        &mut self,
        now: Timestamp,
        receipt: Receipt,
        reason: PublishReason,
        properties: AckProperties<'_>,
    ) -> Result<(), AckError> {
        let now = self.clock.advance(now);
        let answer = Answer {
            reason,
            diagnostics: properties.into(),
        };
        self.receipts.answer(receipt, answer)?;
        self.flush_receipts(now);
        Ok(())
    }

    pub(super) fn flush_receipts(&mut self, now: Timestamp) {
        let (Phase::Connected { .. }, Some(link)) = (&self.phase, &mut self.link) else {
            return;
        };
        while let Some((delivery, answer)) = self.receipts.next_answer() {
            let mark = link.mark();
            let inbound = &mut self.session.inbound;
            if send(link, inbound, delivery, &answer).is_err() {
                return self.end_with_answer_too_large(now);
            }
            if let Delivery::ExactlyOnce { id, .. } = delivery
                && inbound.is_known(id)
            {
                self.events.journal.set_now(now);
                self.events.journal.add(|| Record::Received { id });
                if self.events.journal.is_behind() {
                    link.hold(mark, self.events.journal.last());
                }
            }
        }
    }
}
