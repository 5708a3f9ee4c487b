//! PUBLISH in the server role: what a client may not publish, and what is on its way to it.

use core::fmt;
use mqtt_codec::{Message, Publish, ReasonCode};

use super::{Config, Connection, DeliveryToken, Event, Outbox};
use crate::link::{Outgoing, OutgoingIds, Settled, Store};
use crate::session::QueueLimits;
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

/// A message on its way to the client of one [`Connection`].
#[derive(Clone, Debug)]
pub struct OwnDelivery {
    message: Message,
    expires_at: Option<Timestamp>,
}

impl OwnDelivery {
    pub(super) fn new(now: Timestamp, message: Message) -> Self {
        let expires_at = message
            .properties()
            .message_expiry_secs
            .map(|secs| now.plus_secs(secs));
        Self {
            message,
            expires_at,
        }
    }

    pub(super) fn into_message(self) -> Message {
        self.message
    }
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
        let limits = QueueLimits {
            len_max: self.config.waiting_len_max,
            bytes_max: self.config.messages_bytes_max,
        };
        let (qos, bytes, tag) = (message.qos(), message.len_held(), self.next_token);
        let outbound = &mut self.session.outbound;
        if !outbound.has_room(bytes, limits) {
            return Err(DeliverError { message });
        }
        outbound.enqueue(qos, OwnDelivery::new(now, message), tag, bytes, 0);
        self.next_token = tag.saturating_add(1);
        Ok(DeliveryToken(tag))
    }
}

impl Store for Outbox {
    type Handle = OwnDelivery;

    fn outgoing<'s>(&'s self, handle: &'s OwnDelivery, _: bool) -> Option<Outgoing<'s>> {
        Some(Outgoing {
            message: &handle.message,
            retain: handle.message.retain(),
            subscription_ids: OutgoingIds::OfMessage,
            expires_at: handle.expires_at,
        })
    }

    fn note_control(&mut self, packets: u64) {
        self.traffic.note_packets(packets);
    }

    fn note_publish(&mut self, repeated: bool) {
        self.traffic.note_publish(repeated);
    }

    fn settle(&mut self, tag: u64, message: &mut Option<OwnDelivery>, outcome: Settled) {
        let token = DeliveryToken(tag);
        if outcome == Settled::Sent {
            let reason = ReasonCode::Success;
            return self.events.push_back(Event::Delivered { token, reason });
        }
        if let Some(message) = message.take() {
            let message = message.into_message();
            self.events
                .push_back(Event::DeliveryDropped { token, message });
        }
    }

    fn release(&mut self, _dropped: &mut Option<OwnDelivery>) {}
}
