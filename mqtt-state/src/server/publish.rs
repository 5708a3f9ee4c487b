//! PUBLISH in the server role: what a client may not publish, and what is on its way to it.

use core::fmt;

use mqtt_codec::{Message, Publish};

use super::{Config, Connection, DeliveryToken, Session};
use crate::session::OwnMessage;
use crate::{ProtocolError, Timestamp};

/// Checks a client's PUBLISH against what the server has announced.
pub(super) fn check(publish: &Publish<'_>, config: &Config) -> Result<(), ProtocolError> {
    // [5:MQTT-3.3.4-6]
    if publish.properties.subscription_ids.iter().next().is_some() {
        return Err(ProtocolError::SubscriptionIdFromClient);
    }
    let qos = publish.delivery.qos();
    if qos > config.maximum_qos {
        return Err(ProtocolError::QoSNotSupported(qos));
    }
    if publish.retain && !config.retain_available {
        return Err(ProtocolError::RetainNotSupported);
    }
    Ok(())
}

/// A `deliver` that was not accepted; the message comes back.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the message and the reason, nothing else"
)]
pub struct DeliverError {
    /// Why.
    pub kind: DeliverErrorKind,
    /// The message, unchanged.
    pub message: Message,
}

/// Why a `deliver` was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliverErrorKind {
    /// As many messages, or bytes, wait as [`Config`] allows.
    QueueFull,
    /// The client has not been accepted, so it is not known which session this is for.
    NotAccepted,
}

impl fmt::Display for DeliverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            DeliverErrorKind::QueueFull => "too much waits for this client",
            DeliverErrorKind::NotAccepted => "the client has not been accepted",
        };
        write!(f, "cannot deliver {}: {why}", self.message.topic())
    }
}

impl core::error::Error for DeliverError {}

impl Connection {
    /// Takes a message for delivery to the client, at the message's own QoS and with its RETAIN
    /// flag and subscription identifiers. A Message Expiry Interval counts from `now`. When the
    /// connection is over, it waits in the session; once that has been taken out,
    /// [`Session::deliver`](super::Session::deliver) takes more.
    ///
    /// # Errors
    ///
    /// [`DeliverError`] with the message.
    pub fn deliver(
        &mut self,
        now: Timestamp,
        message: Message,
    ) -> Result<DeliveryToken, DeliverError> {
        let now = self.clock.advance(now);
        if !self.is_accepted {
            let kind = DeliverErrorKind::NotAccepted;
            return Err(DeliverError { kind, message });
        }
        self.session.deliver(now, &self.config, message)
    }
}

impl Session {
    /// Takes a message for a client that is away, as [`Connection::deliver`](super::Connection::deliver) does
    /// for one that is there: it goes out when the session is part of an
    /// [`Acceptance`](super::Acceptance). `config` is that of the connections of this client, of which
    /// [`waiting_len_max`](Config::waiting_len_max) and [`messages_bytes_max`](Config::messages_bytes_max)
    /// hold. Whether a message of QoS 0 is to wait for a client that is away is its owner's choice.
    ///
    /// ```
    /// use mqtt_codec::{Message, QoS};
    /// use mqtt_state::Timestamp;
    /// use mqtt_state::server::{Acceptance, Config, Session};
    ///
    /// # let mut session = Session::new();
    /// // `session` is what `Connection::into_session` has left.
    /// let message = Message::new("command/blink", "3")?.with_qos(QoS::AtLeastOnce);
    /// session.deliver(Timestamp::ZERO, &Config::default(), message)?;
    /// assert_eq!(session.waiting_len(), 1);
    /// let acceptance = Acceptance { session: Some(session), ..Acceptance::default() };
    /// # let _ = acceptance;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DeliverErrorKind::QueueFull`] with the message.
    pub fn deliver(
        &mut self,
        now: Timestamp,
        config: &Config,
        message: Message,
    ) -> Result<DeliveryToken, DeliverError> {
        let (qos, bytes, tag) = (message.qos(), message.len_held(), self.next_token);
        let outbound = &mut self.core.outbound;
        if !outbound.has_room(bytes, config.queue_limits()) {
            let kind = DeliverErrorKind::QueueFull;
            return Err(DeliverError { kind, message });
        }
        outbound.enqueue(qos, OwnMessage::new(now, message), tag, bytes, 0);
        self.next_token = tag.saturating_add(1);
        Ok(DeliveryToken(tag))
    }
}
