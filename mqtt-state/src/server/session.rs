//! What is kept for a client while it is away, for those who have their own broker.

use core::time::Duration;

use mqtt_codec::{AckProperties, Message, PublishReason};

use super::{Config, DeliveryToken};
use crate::Timestamp;
use crate::session::{
    self, AckError, Answer, OwnMessage, QueueLimits, Receipt, Receipts, RestoreError, Restoring,
    SessionSnapshot,
};

/// The session of one client: messages that wait for it, messages in flight in both directions, and
/// which of its messages the owner has not acknowledged. What the client is subscribed to is its
/// owner's.
///
/// It goes from one connection to the next: [`Connection::into_session`](super::Connection::into_session)
/// takes it out, [`Acceptance::session`](super::Acceptance::session) puts it in. While no program
/// holds it, it is a [`SessionSnapshot`].
///
/// ```
/// use core::time::Duration;
/// use mqtt_state::Timestamp;
/// use mqtt_state::server::{Config, Session};
///
/// let stored = Session::new().snapshot(Timestamp::from_secs(5));
/// // Later, in another program that counts its time from another moment.
/// let config = Config::default();
/// let session = Session::restore(Timestamp::ZERO, Duration::from_secs(60), &config, stored)?;
/// assert_eq!(session.waiting_len(), 0);
/// # Ok::<(), mqtt_state::server::RestoreError>(())
/// ```
// [5:MQTT-4.1.0-1] [3:MQTT-4.1.0-1] It is never discarded while a connection uses it.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) core: session::Session<OwnMessage>,
    pub(super) receipts: Receipts,
    pub(super) next_token: u64,
}

impl Session {
    /// A session without any history.
    #[must_use]
    pub fn new() -> Self {
        Self {
            core: session::Session::new(),
            receipts: Receipts::default(),
            next_token: 1,
        }
    }

    /// QoS 1 and 2 messages that were sent and are not fully acknowledged.
    #[must_use]
    pub fn in_flight_len(&self) -> usize {
        self.core.in_flight_len()
    }

    /// Messages that wait for their first sending.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.core.waiting_len()
    }

    /// The bytes of the messages in flight and of those that wait: topic, properties and payload.
    #[must_use]
    pub fn messages_bytes(&self) -> usize {
        self.core.messages_bytes()
    }

    /// QoS 2 messages of the client that were taken and whose PUBREL has not come.
    #[must_use]
    pub fn unreleased_len(&self) -> usize {
        self.core.unreleased_len()
    }

    /// Packet identifiers in use towards the client.
    #[must_use]
    pub fn packet_ids_in_use(&self) -> usize {
        self.core.packet_ids_in_use()
    }

    /// Messages of the client that the owner has not acknowledged, and those whose acknowledgement
    /// waits for theirs.
    #[must_use]
    pub fn unacknowledged_len(&self) -> usize {
        self.receipts.len()
    }

    /// Acknowledges a QoS 2 message while the client is away; it is told when it asks again.
    ///
    /// # Errors
    ///
    /// [`AckError::Stale`], which is harmless: what was not acknowledged comes again.
    pub fn ack(&mut self, receipt: Receipt) -> Result<(), AckError> {
        self.receipts.answer(receipt, Answer::success())
    }

    /// The same with 0x10 No matching subscribers, or with something to say beside the reason (5.0). A client that
    /// comes back with 3.1.1, which has neither, is told that the message was taken.
    ///
    /// # Errors
    ///
    /// [`AckError`]; nothing has changed then.
    pub fn ack_with(
        &mut self,
        receipt: Receipt,
        reason: PublishReason,
        properties: AckProperties<'_>,
    ) -> Result<(), AckError> {
        let answer = Answer::success_with(reason, properties)?;
        self.receipts.answer(receipt, answer)
    }

    /// Refuses a QoS 2 message while the client is away, with what else there is to say about it (5.0): it is told
    /// when it asks again, and does not send it once more.
    ///
    /// Which version it comes back with nobody knows. 3.1.1 knows no refusal, and there it is told that the message was
    /// taken.
    ///
    /// ```
    /// use mqtt_codec::{AckProperties, PublishReason};
    /// use mqtt_state::server::{AckError, Receipt, Session};
    ///
    /// /// Looks at a message for longer than its client stayed.
    /// fn examine(session: &mut Session, receipt: Receipt, is_good: bool) -> Result<(), AckError> {
    ///     match is_good {
    ///         true => session.ack(receipt),
    ///         false => {
    ///             let reason = PublishReason::PayloadFormatInvalid;
    ///             session.reject_publish(receipt, reason, AckProperties::default())
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AckError`]; nothing has changed then. [`AckError::Stale`] is harmless: what was not acknowledged comes
    /// again.
    // [5:MQTT-4.3.3-9]
    pub fn reject_publish(
        &mut self,
        receipt: Receipt,
        reason: PublishReason,
        properties: AckProperties<'_>,
    ) -> Result<(), AckError> {
        let answer = Answer::refusal(None, reason, properties)?;
        self.receipts.answer(receipt, answer)
    }

    /// The deliveries whose outcome has not been told. A message is missing once the client has
    /// confirmed with PUBREC that it has it. When a session ends, these are for whoever else may want
    /// them: a member of the same shared subscription, perhaps.
    pub fn open_deliveries(&self) -> impl Iterator<Item = (DeliveryToken, Option<&Message>)> {
        let outbound = &self.core.outbound;
        let released = outbound
            .open_releases()
            .map(|tag| (DeliveryToken(tag), None));
        let sent = outbound.publishes().map(|(_, kept)| kept);
        let others = sent.chain(outbound.waiting());
        let others = others.map(|kept| (DeliveryToken(kept.tag), Some(&kept.message.message)));
        released.chain(others)
    }

    /// The session as plain data. Messages share their bytes with it. What the owner has not
    /// acknowledged is not in it: the client sends that again.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> SessionSnapshot {
        SessionSnapshot::of(&self.core, now, self.next_token, |_all| true)
    }

    /// A session that was stored, `elapsed` ago: expiry goes on through that time. The tokens of its
    /// deliveries are those that `deliver` gave out before.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]: nothing in a snapshot is believed.
    pub fn restore(
        now: Timestamp,
        elapsed: Duration,
        config: &Config,
        mut snapshot: SessionSnapshot,
    ) -> Result<Self, RestoreError> {
        let mut session = Self::new();
        let restoring = Restoring {
            now,
            elapsed,
            limits: config.queue_limits(),
            check: &|_any| Ok(()),
        };
        snapshot.restore_into(&mut session.core, &restoring)?;
        if !snapshot.subscriptions.is_empty() {
            return Err(RestoreError::Subscriptions);
        }
        session.next_token = snapshot.next_token;
        Ok(session)
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    pub(super) const fn queue_limits(&self) -> QueueLimits {
        QueueLimits {
            len_max: self.waiting_len_max,
            bytes_max: self.messages_bytes_max,
        }
    }
}
