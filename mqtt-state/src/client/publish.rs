//! Messages in both directions, in the client role.

use alloc::collections::VecDeque;
use core::fmt;

use bytes::Bytes;
use mqtt_codec::{
    AckProperties, Delivery, Message, Publish, PublishReason, QoS, ReasonCode, TopicName,
};

use super::{Acknowledge, Client, Event, LostCause, Phase, PublishToken, WhenFull};
use crate::intake::Origin;
use crate::link::{AckEffect, Arrival, Outgoing, OutgoingIds, ReceiveError, Settled, Store};
use crate::session::{Held, QueueLimits};
use crate::{Diagnostics, Timestamp, Traffic};

/// A message of this client on its way to the server.
#[derive(Clone, Debug)]
pub(super) struct OwnMessage {
    pub(super) message: Message,
    pub(super) expires_at: Option<Timestamp>,
}

/// A `publish` that was not accepted; the message comes back.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the message and the reason, nothing else"
)]
pub struct PublishError {
    /// Why.
    pub kind: PublishErrorKind,
    /// The message, unchanged.
    pub message: Message,
}

/// Why a `publish` was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishErrorKind {
    /// As many messages, or bytes, wait as [`Config`](super::Config) allows.
    QueueFull,
    /// The packet would be larger than this server takes.
    TooLarge {
        /// What the server takes, in bytes.
        packet_size_max: usize,
    },
    /// The QoS is above the Maximum QoS of this server.
    QoSNotSupported {
        /// What the server takes.
        maximum: QoS,
    },
    /// The message has the RETAIN flag, and this server retains nothing.
    RetainNotSupported,
    /// The message has subscription identifiers, which only a server may send.
    SubscriptionIds,
}

impl fmt::Display for PublishErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("the queue of waiting messages is full"),
            Self::TooLarge { packet_size_max } => {
                write!(
                    f,
                    "the packet would be larger than the {packet_size_max} bytes that the server takes"
                )
            }
            Self::QoSNotSupported { maximum } => {
                write!(f, "the server takes at most QoS {}", u8::from(*maximum))
            }
            Self::RetainNotSupported => f.write_str("the server does not retain messages"),
            Self::SubscriptionIds => f.write_str("only a server may send subscription identifiers"),
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot publish to {}: {}",
            self.message.topic(),
            self.kind
        )
    }
}

impl core::error::Error for PublishError {}

impl Client {
    /// Takes a message for delivery. From here on it belongs to the session, connected or not, and
    /// exactly one [`Event::Published`] or [`Event::PublishLost`] tells what became of it.
    ///
    /// It waits for its turn and for the server's Receive Maximum; that is no error. A Message
    /// Expiry Interval counts from `now`.
    ///
    /// # Errors
    ///
    /// [`PublishError`] with the message, when the queue is full or this server would not take it.
    pub fn publish(
        &mut self,
        now: Timestamp,
        message: Message,
    ) -> Result<PublishToken, PublishError> {
        let now = self.clock.advance(now);
        if let Err(kind) = self.check_publish(&message) {
            return Err(PublishError { kind, message });
        }
        let limits = QueueLimits {
            len_max: self.config.waiting_len_max,
            bytes_max: self.config.waiting_bytes_max,
        };
        let qos = message.qos();
        let bytes = message.len_held();
        let expiry_secs = match message.has_properties() {
            true => message.properties().message_expiry_secs,
            false => None,
        };
        let expires_at = expiry_secs.map(|secs| now.plus_secs(secs));
        let tag = self.next_token();
        let held = Held {
            message: OwnMessage {
                message,
                expires_at,
            },
            tag,
            bytes,
        };
        let token = PublishToken(tag);
        let Err(held) = self.session.outbound.enqueue(qos, held, limits) else {
            return Ok(token);
        };
        self.make_room(token, qos, held, limits)
    }

    /// The queue is full. What gives way is told by an event, so there has to be room for that.
    fn make_room(
        &mut self,
        token: PublishToken,
        qos: QoS,
        held: Held<OwnMessage>,
        limits: QueueLimits,
    ) -> Result<PublishToken, PublishError> {
        let has_room = held.bytes <= limits.bytes_max && limits.len_max > 0;
        let may_tell = self.events.len() < self.config.events_max;
        match self.config.when_full {
            WhenFull::DropNewest if may_tell => {
                self.events.lose(held, LostCause::QueueFull);
                Ok(token)
            }
            WhenFull::DropOldest if may_tell && has_room => {
                let mut refused = Some(held);
                while let Some(held) = refused.take() {
                    if let Some(oldest) = self.session.outbound.drop_oldest() {
                        self.events.lose(oldest, LostCause::QueueFull);
                    }
                    refused = self.session.outbound.enqueue(qos, held, limits).err();
                }
                Ok(token)
            }
            WhenFull::Refuse | WhenFull::DropNewest | WhenFull::DropOldest => Err(PublishError {
                kind: PublishErrorKind::QueueFull,
                message: held.message.message,
            }),
        }
    }

    /// Gives a topic an alias of its own on this connection and those that follow (5.0), from its
    /// next message on; others do not replace it. Without room for it at the server, the topic goes
    /// without. Answers `false`, and does nothing, when
    /// [`Config::outbound_topic_aliases_max`](super::Config::outbound_topic_aliases_max) topics
    /// have one.
    pub fn pin_topic(&mut self, topic: TopicName<'_>) -> bool {
        let is_it = |held: &Bytes| *held == topic.as_bytes();
        if self.pinned_topics.iter().any(is_it) {
            return true;
        }
        if self.pinned_topics.len() >= usize::from(self.config.outbound_topic_aliases_max) {
            return false;
        }
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        if let Some(link) = &mut self.link {
            link.pin_topics(core::slice::from_ref(&topic));
        }
        self.pinned_topics.push(topic);
        true
    }

    /// The alias of a topic may be given to another one again.
    pub fn unpin_topic(&mut self, topic: TopicName<'_>) {
        self.pinned_topics.retain(|held| *held != topic.as_bytes());
        if let Some(link) = &mut self.link {
            link.unpin_topic(topic.as_bytes());
        }
    }

    fn check_publish(&self, message: &Message) -> Result<(), PublishErrorKind> {
        if message.has_properties() && !message.properties().subscription_ids.is_empty() {
            return Err(PublishErrorKind::SubscriptionIds);
        }
        let (Phase::Connected { negotiated, .. }, Some(link)) = (&self.phase, &self.link) else {
            return Ok(());
        };
        match link.check_message(message) {
            Ok(()) => Ok(()),
            Err(Settled::QoSNotSupported) => Err(PublishErrorKind::QoSNotSupported {
                maximum: negotiated.maximum_qos,
            }),
            Err(Settled::RetainNotSupported) => Err(PublishErrorKind::RetainNotSupported),
            Err(Settled::TooLarge | Settled::Expired | Settled::Sent) => {
                Err(PublishErrorKind::TooLarge {
                    packet_size_max: link.packet_size_max(),
                })
            }
        }
    }

    pub(super) fn handle_publish(
        &mut self,
        now: Timestamp,
        publish: &Publish<'_>,
        origin: Origin<'_>,
    ) -> Result<(), ReceiveError> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        // The duplicate test comes before every other.
        if let Delivery::ExactlyOnce { id, .. } = publish.delivery
            && self.receipts.came_again(id)
        {
            link.receive_repeated(publish)?;
            self.flush_receipts(now);
            return Ok(());
        }
        let topic = match link.receive_publish(publish, &self.session.inbound)? {
            Arrival::New(topic) => topic,
            Arrival::Repeated => return Ok(()),
        };
        let message = origin.message(publish, topic.name());
        let receipt = match self.config.acknowledge {
            // [5:MQTT-4.5.0-2] [3:MQTT-4.5.0-2] By its QoS, whatever the application does with it.
            Acknowledge::Automatic => {
                link.acknowledge(
                    publish.delivery,
                    PublishReason::Success,
                    AckProperties::default(),
                    &mut self.session.inbound,
                )?;
                None
            }
            Acknowledge::Manual => {
                link.defer(publish.delivery);
                self.receipts.add(publish.delivery)
            }
        };
        self.events.push(Event::Message {
            message,
            dup: publish.delivery.dup(),
            receipt,
        });
        Ok(())
    }

    pub(super) fn note_delivery(
        &mut self,
        effect: &AckEffect<OwnMessage>,
        properties: AckProperties<'_>,
    ) {
        match effect {
            // A QoS 2 message is published when PUBCOMP has come, not before.
            AckEffect::Nothing | AckEffect::Released(_) => {}
            AckEffect::Completed { tag, reason, .. } => {
                self.events.push(Event::Published {
                    token: PublishToken(*tag),
                    reason: *reason,
                    diagnostics: properties.into(),
                });
            }
        }
    }
}

/// The queue of events. It also hears from the link what became of messages that no
/// acknowledgement will tell about.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    pub(super) traffic: Traffic,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    fn lose(&mut self, held: Held<OwnMessage>, cause: LostCause) {
        self.push(Event::PublishLost {
            token: PublishToken(held.tag),
            message: Some(held.message.message),
            cause,
        });
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl Store for Events {
    type Handle = OwnMessage;

    fn outgoing<'s>(&'s self, handle: &'s OwnMessage) -> Option<Outgoing<'s>> {
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

    fn settle(&mut self, held: Held<OwnMessage>, outcome: Settled) {
        let token = PublishToken(held.tag);
        let cause = match outcome {
            Settled::Sent => {
                return self.push(Event::Published {
                    token,
                    reason: ReasonCode::Success,
                    diagnostics: Diagnostics::default(),
                });
            }
            Settled::Expired => LostCause::Expired,
            Settled::TooLarge => LostCause::TooLarge,
            Settled::QoSNotSupported => LostCause::QoSNotSupported,
            Settled::RetainNotSupported => LostCause::RetainNotSupported,
        };
        self.lose(held, cause);
    }
}
