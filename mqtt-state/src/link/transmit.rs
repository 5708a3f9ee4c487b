//! Bytes on their way out: answers first, then the PUBLISH packets that quota and room allow.

use alloc::vec::Vec;
use core::time::Duration;

use mqtt_codec::{
    Delivery, Message, PacketId, Publish, PublishTopic, QoS, SubscriptionId, SubscriptionIds,
};

use super::alias::AliasUse;
use super::{Link, Phase};
use crate::session::{Held, Place, Session};
use crate::{OutputWaits, Timestamp, Transmit};

/// Who holds the messages of a session, and hears what becomes of them.
pub(crate) trait Store {
    /// What a session keeps of a message.
    type Handle;

    /// The message behind a handle; `None` drops the delivery.
    fn outgoing<'s>(&'s self, handle: &'s Self::Handle) -> Option<Outgoing<'s>>;

    /// So many other packets have been queued.
    fn note_control(&mut self, packets: u64);

    /// A PUBLISH has been handed out, for the first time or again.
    fn note_publish(&mut self, repeated: bool);

    /// The session is done with a message that needed no acknowledgement, or will not send it.
    fn settle(&mut self, held: Held<Self::Handle>, outcome: Settled);
}

/// One message as one receiver gets it.
#[derive(Debug)]
pub(crate) struct Outgoing<'s> {
    pub(crate) message: &'s Message,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: OutgoingIds<'s>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Which subscription identifiers go with a message.
#[derive(Debug)]
pub(crate) enum OutgoingIds<'s> {
    /// Those that the message has.
    OfMessage,
    /// Those of the matching subscriptions.
    These(&'s [SubscriptionId]),
}

/// How a message left the session without an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// QoS 0: handed to the transport.
    Sent,
    /// Its expiry passed before it was first sent.
    Expired,
    /// Larger than the peer takes.
    TooLarge,
    /// Above the Maximum QoS of the peer.
    QoSNotSupported,
    /// With RETAIN, to a peer that retains nothing.
    RetainNotSupported,
}

impl Link {
    /// Appends what can go now to `buf`: at most `max_bytes`, or one packet where that is larger.
    pub(crate) fn transmit<S: Store>(
        &mut self,
        now: Timestamp,
        max_bytes: usize,
        buf: &mut Vec<u8>,
        session: Option<&mut Session<S::Handle>>,
        store: &mut S,
    ) -> Transmit {
        let max_bytes = max_bytes.max(1);
        let end = buf.len().saturating_add(max_bytes);
        store.note_control(self.outbox.take_pushed());
        self.outbox.take(max_bytes, buf);
        if !self.outbox.is_empty() {
            return Transmit::More;
        }
        if self.phase != Phase::Open {
            self.phase = Phase::Closed;
            return Transmit::Close;
        }
        let Some(session) = session else {
            return Transmit::Idle;
        };
        self.transmit_publishes(now, end, buf, session, store)
    }

    /// Whether [`transmit`](Self::transmit) would find a PUBLISH to send.
    pub(crate) fn has_publish<M>(&self, session: &Session<M>) -> bool {
        self.phase == Phase::Open && session.outbound.next(self.send.quota > 0).is_some()
    }

    /// Why messages of the session wait, if they do.
    pub(crate) fn output_waits<M>(&self, session: &Session<M>) -> Option<OutputWaits> {
        if self.has_control_output() || self.has_publish(session) {
            Some(OutputWaits::ForPoll)
        } else if session.waiting_len() > 0 {
            Some(OutputWaits::ForAcknowledgement)
        } else {
            None
        }
    }

    fn transmit_publishes<S: Store>(
        &mut self,
        now: Timestamp,
        end: usize,
        buf: &mut Vec<u8>,
        session: &mut Session<S::Handle>,
        store: &mut S,
    ) -> Transmit {
        let start = buf.len();
        // [5:MQTT-4.9.0-2] [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9] At quota 0 no PUBLISH above QoS 0 goes;
        // [5:MQTT-3.3.4-8] [5:MQTT-3.3.4-10] [5:MQTT-4.9.0-3] everything else did, in `transmit`.
        while let Some(next) = session.outbound.next(self.send.quota > 0) {
            if buf.len() >= end {
                return Transmit::More;
            }
            let place = next.place;
            let Some(outgoing) = store.outgoing(&next.held.message) else {
                session.outbound.discard(place);
                continue;
            };
            // [5:MQTT-3.3.2-5] Expired before the first sending: dropped.
            // [5:MQTT-4.3.3-7] [5:MQTT-4.3.3-13] After the first sending expiry stops nothing.
            if !matches!(place, Place::Again(_)) && outgoing.expires_at.is_some_and(|at| at <= now)
            {
                if let Some(held) = session.outbound.discard(place) {
                    store.settle(held, Settled::Expired);
                }
                continue;
            }
            let topic = outgoing.message.topic();
            let alias = self.send.aliases.choose(topic);
            let mut publish = outgoing.message.publish(next.delivery);
            publish.retain = outgoing.retain;
            // [5:MQTT-3.3.2-6] What was received, less the whole seconds waited.
            if let Some(at) = outgoing.expires_at {
                let left = whole_secs_up(at.saturating_since(now));
                publish.properties.message_expiry_secs = Some(left);
            }
            let ids_len = match outgoing.subscription_ids {
                OutgoingIds::OfMessage => 0,
                OutgoingIds::These(ids) => {
                    publish.properties.subscription_ids = SubscriptionIds::new(ids);
                    ids.len().saturating_mul(SUBSCRIPTION_ID_MAX)
                }
            };
            match alias {
                AliasUse::None => {}
                AliasUse::Set(alias) => publish.topic = PublishTopic::NameAndAlias(topic, alias),
                AliasUse::Use(alias) => publish.topic = PublishTopic::Alias(alias),
            }
            let at_most = outgoing.message.len_held().saturating_add(ids_len);
            let size = self.check(
                &publish,
                at_most.saturating_add(HEAD_MAX),
                end.saturating_sub(buf.len()),
            );
            let size = match size {
                Ok(size) => size,
                Err(outcome) => {
                    if let Some(held) = session.outbound.discard(place) {
                        store.settle(held, outcome);
                    }
                    continue;
                }
            };
            if buf.len() > start && buf.len().saturating_add(size) > end {
                return Transmit::More;
            }
            let counts = publish.delivery.id().is_some();
            if publish.encode_to(self.version, buf).is_err() {
                // Cannot happen after `check`; a message that cannot be encoded must not block the rest.
                if let Some(held) = session.outbound.discard(place) {
                    store.settle(held, Settled::TooLarge);
                }
                continue;
            }
            let repeated = publish.delivery.dup();
            self.send.aliases.commit(alias, topic);
            if counts {
                self.send.quota = self.send.quota.saturating_sub(1);
            }
            store.note_publish(repeated);
            if let Some(held) = session.outbound.sent(place) {
                store.settle(held, Settled::Sent);
            }
        }
        Transmit::Idle
    }

    /// The size of a PUBLISH, or why the peer does not take it. It has no more than `at_most` bytes,
    /// which is the answer where that is small enough for the peer and for `room`.
    #[inline]
    fn check(&self, publish: &Publish<'_>, at_most: usize, room: usize) -> Result<usize, Settled> {
        self.check_flags(publish.delivery.qos(), publish.retain)?;
        if at_most <= room && at_most <= self.send.packet_size_max {
            return Ok(at_most);
        }
        self.check_size(publish)
    }

    /// Whether the peer takes a message, as far as can be known before it is its turn.
    pub(crate) fn check_message(&self, message: &Message) -> Result<(), Settled> {
        self.check_flags(message.qos(), message.retain())?;
        let at_most = message.len_held().saturating_add(HEAD_MAX);
        if at_most <= self.send.packet_size_max {
            return Ok(());
        }
        // Any identifier has the same size.
        let id = PacketId::MIN;
        let delivery = match message.qos() {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
        };
        self.check_size(&message.publish(delivery)).map(|_| ())
    }

    #[inline]
    fn check_flags(&self, qos: QoS, retain: bool) -> Result<(), Settled> {
        // [5:MQTT-3.2.2-11]
        if qos > self.send.maximum_qos {
            return Err(Settled::QoSNotSupported);
        }
        // [5:MQTT-3.2.2-14]
        if retain && !self.send.retain_available {
            return Err(Settled::RetainNotSupported);
        }
        Ok(())
    }

    fn check_size(&self, publish: &Publish<'_>) -> Result<usize, Settled> {
        // [5:MQTT-3.1.2-24] [5:MQTT-3.1.2-25] [5:MQTT-3.2.2-15] Too large for the peer: not sent, and done with.
        match publish.encoded_len(self.version) {
            Ok(size) if size <= self.send.packet_size_max => Ok(size),
            Ok(_) | Err(_) => Err(Settled::TooLarge),
        }
    }
}

/// Bytes of a PUBLISH beside its topic, properties and payload at most: the fixed header, lengths of
/// topic and properties, the packet identifier, and an expiry and an alias that the message has not.
const HEAD_MAX: usize = 5 + 2 + 4 + 2 + 5 + 3;

/// Bytes of one Subscription Identifier at most, with its own identifier.
const SUBSCRIPTION_ID_MAX: usize = 5;

/// Seconds, begun ones counted as whole.
fn whole_secs_up(duration: Duration) -> u32 {
    let begun = u64::from(duration.subsec_nanos() > 0);
    u32::try_from(duration.as_secs().saturating_add(begun)).unwrap_or(u32::MAX)
}
