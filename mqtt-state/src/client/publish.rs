//! Messages in both directions, in the client role.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use mqtt_codec::{Delivery, Message, Publish, QoS, TopicName};

use super::incoming::{Incoming, Show};
use super::{Acknowledge, Client, Config, Event, LostCause, Phase, PublishToken, WhenFull};
use crate::intake::Origin;
use crate::link::{AckEffect, Arrival, ReceiveError, Settled, Store as _, Waiting};
use crate::session::{Lost, OwnMessage, QueueLimits, Record};
use crate::{Diagnostics, Timestamp, Transmit};

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
    /// As many messages, or bytes, wait as [`Config`] allows. There may be room again after each
    /// [`Event::Published`] and [`Event::PublishLost`].
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

impl core::error::Error for PublishErrorKind {}

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
        let bytes = message.len_held();
        if !message.has_properties()
            && !self.has_journal()
            && self
                .session
                .outbound
                .has_room(bytes, queue_limits(&self.config))
            && self.check_publish(&message, bytes).is_ok()
        {
            let (token, qos) = (self.next_token(), message.qos());
            let message = OwnMessage {
                message,
                expires_at: None.into(),
            };
            self.session.outbound.enqueue(qos, message, token, bytes, 0);
            return Ok(PublishToken(token));
        }
        self.publish_carefully(now, message, bytes)
    }

    /// Does what [`publish`](Self::publish) does with a clone of the message, and then what
    /// [`poll_transmit`](Self::poll_transmit) does: the shortest way for a driver whose transport has
    /// room. Where nothing goes before it, a message without properties is written from where it is,
    /// and only cloned where it has to be kept: at QoS 1 and 2.
    ///
    /// ```
    /// use mqtt_codec::{Connect, Message, ProtocolVersion, Str};
    /// use mqtt_state::client::{Client, Config, Event};
    /// use mqtt_state::{Timestamp, Transmit};
    ///
    /// let (now, mut client) = (Timestamp::ZERO, Client::new(Config::default()));
    /// client.connect(now, &Connect::new(ProtocolVersion::V3_1_1, Str::new("meter")?))?;
    /// let mut output = Vec::new();
    /// let _idle = client.poll_transmit(now, 4096, &mut output);
    /// let _all = client.handle_input(now, &[0x20, 2, 0, 0]);
    /// client.poll_event();
    ///
    /// output.clear();
    /// let reading = Message::new("meter", "17")?;
    /// let (token, transmit) = client.publish_into(now, &reading, 4096, &mut output)?;
    /// assert_eq!((&output[..], transmit), (&b"\x30\x09\0\x05meter17"[..], Transmit::Idle));
    /// assert!(matches!(client.poll_event(), Some(Event::Published { token: sent, .. }) if sent == token));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PublishErrorKind`], as `publish` has it. Nothing is written then.
    pub fn publish_into(
        &mut self,
        now: Timestamp,
        message: &Message,
        max_bytes: usize,
        buf: &mut Vec<u8>,
    ) -> Result<(PublishToken, Transmit), PublishErrorKind> {
        let before = buf.len();
        let bytes = message.len_held();
        let outbound = &mut self.session.outbound;
        if let (Phase::Connected { .. }, Some(link)) = (&self.phase, &mut self.link)
            && !message.has_properties()
            && !self.events.is_full(&self.config)
            && !self.events.journal.is_on()
            // If there is quota again, that is told when it is asked what there is to send.
            && !self.quota_exhausted
            && outbound.is_idle()
            // What could never wait is not taken either way.
            && outbound.has_room(bytes, queue_limits(&self.config))
            && let Some(delivery) = outbound.next_delivery(message.qos())
            && link.write_at_once(message, delivery, buf)
        {
            let now = self.clock.advance(now);
            let token = self.next_token();
            match delivery {
                Delivery::AtMostOnce => self.events.sent(token, &mut None),
                Delivery::AtLeastOnce { .. } | Delivery::ExactlyOnce { .. } => {
                    let message = OwnMessage {
                        message: message.clone(),
                        expires_at: None.into(),
                    };
                    let outbound = &mut self.session.outbound;
                    outbound.insert_sent(delivery.qos(), message, token, bytes);
                }
            }
            self.events.note_publish(false);
            self.note_transmitted(now, buf.len().saturating_sub(before));
            return Ok((PublishToken(token), Transmit::Idle));
        }
        self.publish_and_transmit(now, message, max_bytes, buf)
    }

    #[cold]
    #[inline(never)]
    fn publish_and_transmit(
        &mut self,
        now: Timestamp,
        message: &Message,
        max_bytes: usize,
        buf: &mut Vec<u8>,
    ) -> Result<(PublishToken, Transmit), PublishErrorKind> {
        let taken = self.publish(now, message.clone());
        let token = taken.map_err(|PublishError { kind, .. }| kind)?;
        Ok((token, self.poll_transmit(now, max_bytes, buf)))
    }

    /// A message with properties, or one that is not taken at once.
    #[cold]
    #[inline(never)]
    fn publish_carefully(
        &mut self,
        now: Timestamp,
        message: Message,
        bytes: usize,
    ) -> Result<PublishToken, PublishError> {
        if let Err(kind) = self.check_publish(&message, bytes) {
            return Err(PublishError { kind, message });
        }
        let limits = queue_limits(&self.config);
        let qos = message.qos();
        let expiry_secs = message.properties().message_expiry_secs;
        let expires_at = expiry_secs.map(|secs| now.plus_secs(secs));
        let journal_is_full = self.has_journal() && !self.journal_has_room(bytes);
        if journal_is_full || !self.session.outbound.has_room(bytes, limits) {
            match self.make_room(now, bytes, limits) {
                Room::Made => {}
                Room::OfNewest => {
                    let token = PublishToken(self.next_token());
                    let cause = LostCause::QueueFull;
                    self.events.lose(token.0, Some(message), cause);
                    return Ok(token);
                }
                Room::None => {
                    let kind = PublishErrorKind::QueueFull;
                    return Err(PublishError { kind, message });
                }
            }
        }
        let token = self.next_token();
        let mut position = 0;
        if self.has_journal() && qos != QoS::AtMostOnce {
            let message = &message;
            self.record(|| Record::Published {
                token,
                message: message.clone(),
                expires_at,
            });
            position = self.events.journal.last();
        }
        let message = OwnMessage {
            message,
            expires_at: expires_at.into(),
        };
        let outbound = &mut self.session.outbound;
        outbound.enqueue(qos, message, token, bytes, position);
        Ok(PublishToken(token))
    }

    /// The messages whose outcome has not been told, with their names: what a program that begins
    /// again finds in its session. A message is missing once the server has confirmed that it has it.
    pub fn open_publishes(&self) -> impl Iterator<Item = (PublishToken, Option<&Message>)> {
        let outbound = &self.session.outbound;
        let released = outbound
            .open_releases()
            .map(|tag| (PublishToken(tag), None));
        let sent = outbound.publishes().map(|(_, kept)| kept);
        let others = sent.chain(outbound.waiting());
        let others = others.map(|kept| (PublishToken(kept.tag), Some(&kept.message.message)));
        released.chain(others)
    }

    /// The queue is full. What gives way is told by an event, so there has to be room for that.
    #[cold]
    fn make_room(&mut self, now: Timestamp, bytes: usize, limits: QueueLimits) -> Room {
        if self.events.is_full(&self.config) || !self.journal_has_room(bytes) {
            return Room::None;
        }
        // [5:MQTT-3.3.2-5] What would not be sent any more.
        let is_over = |held: &OwnMessage| held.expires_at.at().is_some_and(|at| at <= now);
        while !self.session.outbound.has_room(bytes, limits) {
            let Some(lost) = self.session.outbound.drop_oldest_if(is_over) else {
                break;
            };
            self.lose_waiting(lost, LostCause::Expired);
        }
        if self.session.outbound.has_room(bytes, limits) {
            return Room::Made;
        }
        match self.config.when_full {
            WhenFull::Refuse => Room::None,
            WhenFull::DropNewest => Room::OfNewest,
            WhenFull::DropOldest => {
                // What is in flight gives way to nothing.
                let in_flight = self.session.outbound.in_flight_bytes();
                if in_flight.saturating_add(bytes) > limits.bytes_max || limits.len_max == 0 {
                    return Room::None;
                }
                while !self.session.outbound.has_room(bytes, limits) {
                    let Some(lost) = self.session.outbound.drop_oldest() else {
                        return Room::None;
                    };
                    self.lose_waiting(lost, LostCause::QueueFull);
                }
                Room::Made
            }
        }
    }

    /// A message that was never sent will not be.
    fn lose_waiting(&mut self, Lost { tag, message, .. }: Lost<OwnMessage>, cause: LostCause) {
        let message = message.map(|held| held.message);
        if message
            .as_ref()
            .is_some_and(|it| it.qos() != QoS::AtMostOnce)
        {
            self.record(|| Record::Ended { token: tag });
        }
        self.events.lose(tag, message, cause);
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

    #[inline]
    fn check_publish(&self, message: &Message, bytes: usize) -> Result<(), PublishErrorKind> {
        if message.has_properties() && !message.properties().subscription_ids.is_empty() {
            return Err(PublishErrorKind::SubscriptionIds);
        }
        let (Phase::Connected { negotiated, .. }, Some(link)) = (&self.phase, &self.link) else {
            return Ok(());
        };
        match link.check_message(message, bytes) {
            Ok(()) => Ok(()),
            Err(Settled::QoSNotSupported) => Err(PublishErrorKind::QoSNotSupported {
                maximum: negotiated.maximum_qos,
            }),
            Err(Settled::RetainNotSupported) => Err(PublishErrorKind::RetainNotSupported),
            Err(Settled::TooLarge | Settled::Gone | Settled::Expired) => {
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
        show: &mut Show<'_>,
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
            Arrival::Answered => return Ok(()),
        };
        if let Some(show) = show
            && self.config.acknowledge == Acknowledge::Automatic
            && self.events.may_show()
        {
            show(Incoming {
                delivery: publish.delivery,
                retain: publish.retain,
                topic: topic.name(),
                properties: Some(&publish.properties),
                payload: publish.payload,
            });
            return self.accept(publish.delivery);
        }
        let message = origin.message(publish, &topic);
        // A message is the application's whether or not the server takes the answer.
        let mut answered = Ok(());
        let receipt = match self.config.acknowledge {
            Acknowledge::Automatic => {
                answered = self.accept(publish.delivery);
                None
            }
            Acknowledge::Manual => {
                let held_len = self.receipts.exactly_once_len();
                link.hand_over(publish.delivery, held_len, &self.session.inbound)?;
                self.receipts.add(publish.delivery)
            }
        };
        self.events.push(Event::Message {
            message,
            dup: publish.delivery.dup(),
            receipt,
        });
        answered
    }

    /// A message is the application's, and is answered by its QoS, whatever that does with it.
    // [5:MQTT-4.5.0-2] [3:MQTT-4.5.0-2]
    fn accept(&mut self, delivery: Delivery) -> Result<(), ReceiveError> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let answered = link.accept(delivery, &mut self.session.inbound, &mut Waiting);
        if let Delivery::ExactlyOnce { id, .. } = delivery {
            self.record(|| Record::Received { id });
        }
        Ok(answered?)
    }

    pub(super) fn note_delivery(&mut self, effect: AckEffect, diagnostics: Diagnostics) {
        if self.has_journal() {
            self.record_effect(effect);
        }
        match effect {
            // A QoS 2 message is published when PUBCOMP has come, not before.
            AckEffect::Nothing | AckEffect::Released { .. } | AckEffect::Freed { .. } => {}
            AckEffect::Completed { tag, reason } => {
                self.events.complete_with(tag, reason, diagnostics);
            }
        }
        self.note_quota();
    }
}

#[inline]
fn queue_limits(config: &Config) -> QueueLimits {
    QueueLimits {
        len_max: config.waiting_len_max,
        bytes_max: config.messages_bytes_max,
    }
}

/// How a full queue takes one more message.
enum Room {
    /// Others have given way.
    Made,
    /// It is the new one that is lost.
    OfNewest,
    None,
}
