//! Acknowledgements that the application gives.
//!
//! The standard wants PUBACK packets in the order of the messages, and PUBREC packets likewise; the
//! application may answer in any order. An answer waits here until those before it have gone.

use alloc::collections::VecDeque;
use core::fmt;

use mqtt_codec::{
    AckProperties, Delivery, PacketId, ProtocolVersion, PublishReason, QoS, ReasonCode,
};

use crate::Diagnostics;

/// Who acknowledges QoS 1 and 2 messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Acknowledge {
    /// The machine, when the message arrives: the message is then in its queue of events, and in the
    /// application's hands with the next `poll_event`.
    #[default]
    Automatic,
    /// The application, message by message, with `ack`, or `reject` in a client and `reject_publish` in
    /// a server. As many as `Config::receive_maximum` may be without an answer; then the peer has to
    /// wait.
    Manual,
}

/// Names a message that the application has to acknowledge; never used again in one session.
///
/// For QoS 1 it is good until the connection ends: the peer then sends the message again, and it
/// comes with another receipt. For QoS 2 it is good until the session ends: the peer sends the
/// message again, and the application does not get it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Receipt(pub(crate) u64);

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
    /// The reason is that of a refusal.
    NotASuccess,
    /// The client of this server connection has not been accepted: its session is elsewhere.
    NotAccepted,
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "the message is not waiting for an acknowledgement",
            Self::NotInVersion => "3.1.1 knows no refusal of a message",
            Self::NotARefusal => "the reason code is a success",
            Self::NotASuccess => "the reason code is that of a refusal",
            Self::NotAccepted => "the client has not been accepted",
        })
    }
}

impl core::error::Error for AckError {}

/// Messages that wait for the application, in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Receipts {
    last: u64,
    at_least_once: VecDeque<Pending>,
    exactly_once: VecDeque<Pending>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pending {
    receipt: Receipt,
    id: PacketId,
    /// Whether it came, or came again, on the connection that there is.
    is_here: bool,
    answer: Option<Answer>,
}

/// What the application said to a message.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) reason: PublishReason,
    pub(crate) diagnostics: Diagnostics,
}

impl Answer {
    pub(crate) fn success() -> Self {
        Self {
            reason: PublishReason::Success,
            diagnostics: Diagnostics::default(),
        }
    }

    /// A refusal of this side's own, whatever the version: where there is none, it counts as taken.
    pub(crate) fn refused(reason: PublishReason) -> Self {
        Self {
            reason,
            diagnostics: Diagnostics::default(),
        }
    }

    /// A success with something to say about it.
    pub(crate) fn success_with(
        reason: PublishReason,
        properties: AckProperties<'_>,
    ) -> Result<Self, AckError> {
        if ReasonCode::from(reason).value() >= 0x80 {
            return Err(AckError::NotASuccess);
        }
        Ok(Self {
            reason,
            diagnostics: properties.into(),
        })
    }

    /// A refusal to a peer that speaks `version`, if that is known.
    pub(crate) fn refusal(
        version: Option<ProtocolVersion>,
        reason: PublishReason,
        properties: AckProperties<'_>,
    ) -> Result<Self, AckError> {
        if ReasonCode::from(reason).value() < 0x80 {
            return Err(AckError::NotARefusal);
        }
        if version == Some(ProtocolVersion::V3_1_1) {
            return Err(AckError::NotInVersion);
        }
        Ok(Self {
            reason,
            diagnostics: properties.into(),
        })
    }
}

impl Receipts {
    /// Whether a QoS 2 message is with the application. If it is, it came again: its answer goes
    /// behind those of what came before it this time.
    // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3]
    pub(crate) fn came_again(&mut self, id: PacketId) -> bool {
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
    pub(crate) fn add(&mut self, delivery: Delivery) -> Option<Receipt> {
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

    /// The connection ended: the peer sends everything again.
    pub(crate) fn end_connection(&mut self) {
        self.at_least_once.clear();
        for pending in &mut self.exactly_once {
            pending.is_here = false;
        }
    }

    /// The session ended.
    pub(crate) fn end_session(&mut self) {
        self.at_least_once.clear();
        self.exactly_once.clear();
    }

    /// Messages without an answer, or whose answer waits for others.
    pub(crate) fn len(&self) -> usize {
        self.at_least_once
            .len()
            .saturating_add(self.exactly_once.len())
    }

    /// QoS 2 messages among them.
    pub(crate) fn exactly_once_len(&self) -> usize {
        self.exactly_once.len()
    }

    /// Messages that the application has said nothing about.
    pub(crate) fn unanswered_len(&self) -> usize {
        let all = self.at_least_once.iter().chain(&self.exactly_once);
        all.filter(|pending| pending.answer.is_none()).count()
    }

    pub(crate) fn answer(&mut self, receipt: Receipt, answer: Answer) -> Result<(), AckError> {
        let mut all = self.at_least_once.iter_mut().chain(&mut self.exactly_once);
        let pending = all.find(|pending| pending.receipt == receipt);
        let pending = pending.filter(|pending| pending.answer.is_none());
        pending.ok_or(AckError::Stale)?.answer = Some(answer);
        Ok(())
    }

    /// The next answer whose turn it is.
    // [5:MQTT-4.6.0-2] [3:MQTT-4.6.0-2] [5:MQTT-4.6.0-3] [3:MQTT-4.6.0-3]
    pub(crate) fn next_answer(&mut self) -> Option<(Delivery, Answer)> {
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
