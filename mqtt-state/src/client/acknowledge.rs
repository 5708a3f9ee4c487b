//! Acknowledgements that the application gives, in the client role.

use mqtt_codec::{AckProperties, Delivery, PublishReason};

use super::{Client, Phase};
use crate::Timestamp;
use crate::link::Link;
use crate::session::{AckError, Answer, Receipt, Record};

impl Client {
    /// Acknowledges a message, where [`Config::acknowledge`](super::Config::acknowledge) leaves it
    /// to the application. In any order: PUBACK and PUBREC go out in the order that the standard
    /// wants.
    ///
    /// # Errors
    ///
    /// [`AckError::Stale`], which is harmless: what was not acknowledged comes again.
    pub fn ack(&mut self, now: Timestamp, receipt: Receipt) -> Result<(), AckError> {
        self.answer(now, receipt, Answer::success())
    }

    /// Acknowledges a message, with something to say about it (5.0). 3.1.1 has no words, and a server of it is
    /// told that the message was taken.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn ack_with(
        &mut self,
        now: Timestamp,
        receipt: Receipt,
        properties: AckProperties<'_>,
    ) -> Result<(), AckError> {
        // 0x10 No matching subscribers is for servers to say.
        let answer = Answer::success_with(PublishReason::Success, properties)?;
        self.answer(now, receipt, answer)
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
        let version = self.link.as_ref().map(Link::version);
        let answer = Answer::refusal(version, reason, properties)?;
        self.answer(now, receipt, answer)
    }

    /// Messages that the application has not acknowledged, and those whose acknowledgement waits
    /// for theirs.
    #[must_use]
    pub fn unacknowledged_len(&self) -> usize {
        self.receipts.len()
    }

    fn answer(&mut self, now: Timestamp, receipt: Receipt, answer: Answer) -> Result<(), AckError> {
        let now = self.clock.advance(now);
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
            if link.answer(delivery, &answer, inbound).is_err() {
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
