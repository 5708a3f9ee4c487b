//! PUBLISH in the server role: what a client may not publish, and what is on its way to it.

use mqtt_codec::{Message, Publish, ReasonCode};

use super::{Config, DeliveryToken, Event, Outbox};
use crate::link::{Outgoing, OutgoingIds, Settled, Store};
use crate::session::Held;
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

/// A message on its way to the client of one [`Connection`](super::Connection).
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

impl Store for Outbox {
    type Handle = OwnDelivery;

    fn outgoing<'s>(&'s self, handle: &'s OwnDelivery) -> Option<Outgoing<'s>> {
        Some(Outgoing {
            message: &handle.message,
            retain: handle.message.retain(),
            subscription_ids: OutgoingIds::OfMessage,
            expires_at: handle.expires_at,
        })
    }

    fn note_publish(&mut self, repeated: bool) {
        self.traffic.note_publish(repeated);
    }

    fn settle(&mut self, held: Held<OwnDelivery>, outcome: Settled) {
        let token = DeliveryToken(held.tag);
        self.events.push_back(match outcome {
            Settled::Sent => Event::Delivered {
                token,
                reason: ReasonCode::Success,
            },
            Settled::Expired
            | Settled::TooLarge
            | Settled::QoSNotSupported
            | Settled::RetainNotSupported => Event::DeliveryDropped {
                token,
                message: held.message.into_message(),
            },
        });
    }
}
