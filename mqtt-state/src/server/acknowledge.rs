//! Acknowledgements that the owner gives, in the server role.

use mqtt_codec::{AckProperties, EncodeError, ProtocolVersion, PublishReason};

use super::Connection;
use crate::session::{AckError, Acknowledge, Answer, Receipt};
use crate::{CloseCause, Timestamp};

impl Connection {
    /// Acknowledges a message, where [`Config::acknowledge`](super::Config::acknowledge) leaves it
    /// to the owner. In any order: PUBACK and PUBREC go out in the order that the standard wants.
    ///
    /// # Errors
    ///
    /// [`AckError::Stale`], which is harmless: what was not acknowledged comes again.
    /// [`AckError::NotAccepted`]: while the client is away, [`Session::ack`](super::Session::ack) does
    /// it.
    pub fn ack(&mut self, now: Timestamp, receipt: Receipt) -> Result<(), AckError> {
        self.answer_publish(now, receipt, Answer::success())
    }

    /// Acknowledges a message with 0x10 No matching subscribers, or with something to say beside the
    /// reason (5.0). 3.1.1 has neither, and is told that the message was taken.
    ///
    /// # Errors
    ///
    /// [`AckError`]; nothing has changed then. While the client is away,
    /// [`Session::ack_with`](super::Session::ack_with) does it.
    pub fn ack_with(
        &mut self,
        now: Timestamp,
        receipt: Receipt,
        reason: PublishReason,
        properties: AckProperties<'_>,
    ) -> Result<(), AckError> {
        let answer = Answer::success_with(reason, properties)?;
        self.answer_publish(now, receipt, answer)
    }

    /// Refuses a message, with what else there is to say about it (5.0). The client does not send it
    /// again.
    ///
    /// 3.1.1 knows no refusal. There, [`ack`](Self::ack) a message that is not wanted and forget it,
    /// or [`disconnect`](Self::disconnect).
    ///
    /// # Errors
    ///
    /// [`AckError`]; nothing has changed then. While the client is away,
    /// [`Session::reject_publish`](super::Session::reject_publish) does it.
    // [3:MQTT-3.3.5-2]
    pub fn reject_publish(
        &mut self,
        now: Timestamp,
        receipt: Receipt,
        reason: PublishReason,
        properties: AckProperties<'_>,
    ) -> Result<(), AckError> {
        let answer = Answer::refusal(Some(self.link.version()), reason, properties)?;
        self.answer_publish(now, receipt, answer)
    }

    fn answer_publish(
        &mut self,
        now: Timestamp,
        receipt: Receipt,
        answer: Answer,
    ) -> Result<(), AckError> {
        let now = self.clock.advance(now);
        if !self.is_accepted {
            return Err(AckError::NotAccepted);
        }
        self.session.receipts.answer(receipt, answer)?;
        if self.flush_receipts().is_err() {
            self.end(now, CloseCause::AnswerTooLarge);
        }
        Ok(())
    }

    /// Sends the answers whose turn it is.
    pub(super) fn flush_receipts(&mut self) -> Result<(), EncodeError> {
        if !self.link.is_connected() {
            return Ok(());
        }
        let session = &mut self.session;
        while let Some((delivery, answer)) = session.receipts.next_answer() {
            let inbound = &mut session.core.inbound;
            self.link.link.answer(delivery, &answer, inbound)?;
        }
        Ok(())
    }

    /// Whether as many messages are without an answer as may be. A 5.0 client keeps to that, or ends
    /// its connection; a 3.1.1 client cannot be told, and has to wait.
    pub(super) fn has_too_many_receipts(&self) -> bool {
        self.config.acknowledge == Acknowledge::Manual
            && self.link.version() == ProtocolVersion::V3_1_1
            && self.session.receipts.unanswered_len()
                >= usize::from(self.config.receive_maximum.max(1))
    }
}
