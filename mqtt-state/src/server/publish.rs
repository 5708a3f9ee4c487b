//! PUBLISH in the server role: what a client may not publish, and what is on its way to it.

use core::fmt;

use mqtt_codec::{Message, Publish};

use super::{Config, Connection, DeliveryToken};
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

/// A `deliver` that was not accepted: as much waits as [`Config`] allows. The message comes back.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is one reason")]
pub struct DeliverError {
    /// The message, unchanged.
    pub message: Message,
}

impl fmt::Display for DeliverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot deliver {}: too much waits for this client",
            self.message.topic()
        )
    }
}

impl core::error::Error for DeliverError {}

impl Connection {
    /// Takes a message for delivery to the client, at the message's own QoS and with its RETAIN
    /// flag and subscription identifiers. A Message Expiry Interval counts from `now`.
    ///
    /// # Errors
    ///
    /// [`DeliverError`] with the message, when as much waits as [`Config`] allows.
    pub fn deliver(
        &mut self,
        now: Timestamp,
        message: Message,
    ) -> Result<DeliveryToken, DeliverError> {
        let now = self.clock.advance(now);
        let limits = self.config.queue_limits();
        let session = &mut self.session;
        let (qos, bytes, tag) = (message.qos(), message.len_held(), session.next_token);
        let outbound = &mut session.core.outbound;
        if !outbound.has_room(bytes, limits) {
            return Err(DeliverError { message });
        }
        outbound.enqueue(qos, OwnMessage::new(now, message), tag, bytes, 0);
        session.next_token = tag.saturating_add(1);
        Ok(DeliveryToken(tag))
    }
}
