//! Bytes on their way out: answers first, then the PUBLISH packets that quota and room allow.

use alloc::vec::Vec;
use core::time::Duration;

use mqtt_codec::{
    Delivery, Message, PacketId, Publish, PublishTopic, QoS, SubscriptionId, SubscriptionIds,
};

use super::alias::AliasUse;
use super::{Link, Phase};
use crate::session::{Next, Sent, Session};
use crate::{OutputWaits, Timestamp, Transmit};

/// Who holds the messages of a session, and hears what becomes of them.
pub(crate) trait Store {
    /// What a session keeps of a message.
    type Handle;

    /// The message behind a handle; `None` drops the delivery. `was_sent` is whether some connection has
    /// carried it.
    fn outgoing<'s>(&'s self, handle: &'s Self::Handle, was_sent: bool) -> Option<Outgoing<'s>>;

    /// So many other packets have been queued.
    fn note_control(&mut self, packets: u64);

    /// A PUBLISH has been handed out, for the first time or again.
    fn note_publish(&mut self, repeated: bool);

    /// The session will not send a message, or has done with it what was to be done at QoS 0. Whatever
    /// is left in `message` is dropped.
    fn settle(&mut self, tag: u64, message: &mut Option<Self::Handle>, outcome: Settled);

    /// The content of a message is not needed any more: the receiver has it, or refused it. Whatever
    /// is left in `message` is dropped.
    fn release(&mut self, message: &mut Option<Self::Handle>);
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

impl Outgoing<'_> {
    /// Whether it goes as it is, without properties.
    #[inline]
    fn is_plain(&self) -> bool {
        let has_ids = match self.subscription_ids {
            OutgoingIds::OfMessage => false,
            OutgoingIds::These(ids) => !ids.is_empty(),
        };
        !has_ids && self.expires_at.is_none() && !self.message.has_properties()
    }
}

/// Why a PUBLISH was not written.
enum Refused {
    /// There is no room behind what was written before.
    ForRoom,
    /// It will not be sent.
    Now(Settled),
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
    /// It is not there any more.
    Gone,
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
        if !self.outbox.is_empty() {
            store.note_control(self.outbox.take_pushed());
            self.outbox.take(max_bytes, buf);
            if !self.outbox.is_idle() {
                return Transmit::More;
            }
        }
        if self.phase != Phase::Open {
            if !self.outbox.is_empty() {
                return Transmit::Idle;
            }
            self.phase = Phase::Closed;
            return Transmit::Close;
        }
        let Some(session) = session else {
            return Transmit::Idle;
        };
        if session.outbound.is_idle() || self.outbox.holds_greeting() {
            return Transmit::Idle;
        }
        self.transmit_publishes(now, end, buf, session, store)
    }

    /// Whether [`transmit`](Self::transmit) would find a PUBLISH to send.
    pub(crate) fn has_publish<M>(&self, session: &Session<M>) -> bool {
        self.phase == Phase::Open
            && !self.outbox.holds_greeting()
            && session.outbound.next(self.send.quota > 0).is_some()
    }

    /// Why messages of the session wait, if they do.
    pub(crate) fn output_waits<M>(&self, session: &Session<M>) -> Option<OutputWaits> {
        let quota = self.send.quota;
        let may_assign = session.outbound.may_assign(quota);
        if self.has_control_output() || self.has_publish(session) || may_assign {
            Some(OutputWaits::ForPoll)
        } else if self.held_position(Some(session)).is_some() {
            Some(OutputWaits::ForStore)
        } else if session.waiting_len() > 0 {
            Some(OutputWaits::ForAcknowledgement)
        } else {
            None
        }
    }

    #[inline(never)]
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
        while let Some(turn) = session.outbound.next(self.send.quota > 0) {
            if buf.len() >= end {
                return Transmit::More;
            }
            let room = (buf.len() > start).then(|| end.saturating_sub(buf.len()));
            let next = session.outbound.look(turn);
            let written = match next
                .as_ref()
                .map(|next| (next, store.outgoing(next.message, next.was_sent)))
            {
                Some((next, Some(outgoing))) => self.write(now, next, &outgoing, room, buf),
                Some((_, None)) | None => Err(Refused::Now(Settled::Gone)),
            };
            match written {
                Ok(()) => {}
                Err(Refused::ForRoom) => return Transmit::More,
                Err(Refused::Now(outcome)) => {
                    let settle = |tag, message: &mut _| store.settle(tag, message, outcome);
                    session.outbound.give_up(turn, settle);
                    continue;
                }
            }
            let settle = |tag, message: &mut _| store.settle(tag, message, Settled::Sent);
            match session.outbound.sent(turn, settle) {
                Sent::AtMostOnce => store.note_publish(false),
                Sent::Counted { again } => {
                    self.send.quota = self.send.quota.saturating_sub(1);
                    store.note_publish(again);
                }
            }
        }
        Transmit::Idle
    }

    /// Appends one PUBLISH, if it may go. `room` is what is left where something was written before.
    #[inline(always)]
    fn write<M>(
        &mut self,
        now: Timestamp,
        next: &Next<'_, M>,
        outgoing: &Outgoing<'_>,
        room: Option<usize>,
        buf: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let message = outgoing.message;
        self.check_flags(next.delivery.qos(), outgoing.retain)
            .map_err(Refused::Now)?;
        let at_most = message.len_held().saturating_add(HEAD_MAX);
        let is_small =
            at_most <= self.send.packet_size_max && room.is_none_or(|room| at_most <= room);
        if is_small && outgoing.is_plain() && !self.send.aliases.may_use(message.topic()) {
            let encoded = message.encode_to(self.version, next.delivery, outgoing.retain, buf);
            return match encoded {
                Ok(_size) => Ok(()),
                Err(_) => Err(Refused::Now(Settled::TooLarge)),
            };
        }
        self.write_with_properties(now, next, outgoing, room, buf)
    }

    /// The same for a message that has properties, or gets some.
    #[inline(never)]
    fn write_with_properties<M>(
        &mut self,
        now: Timestamp,
        next: &Next<'_, M>,
        outgoing: &Outgoing<'_>,
        room: Option<usize>,
        buf: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        // [5:MQTT-3.3.2-5] Expired before the first sending: dropped.
        // [5:MQTT-4.3.3-7] [5:MQTT-4.3.3-13] After the first sending expiry stops nothing.
        if !next.was_sent && outgoing.expires_at.is_some_and(|at| at <= now) {
            return Err(Refused::Now(Settled::Expired));
        }
        let topic = outgoing.message.topic();
        let mut publish = outgoing.message.publish(next.delivery);
        publish.retain = outgoing.retain;
        // [5:MQTT-3.3.2-6] What was received, less the whole seconds waited.
        if let Some(at) = outgoing.expires_at {
            let left = whole_secs_up(at.saturating_since(now));
            publish.properties.message_expiry_secs = Some(left);
        }
        let mut at_most = outgoing.message.len_held().saturating_add(HEAD_MAX);
        if let OutgoingIds::These(ids) = outgoing.subscription_ids {
            publish.properties.subscription_ids = SubscriptionIds::new(ids);
            at_most = at_most.saturating_add(ids.len().saturating_mul(SUBSCRIPTION_ID_MAX));
        }
        let alias = self.send.aliases.choose(topic);
        match alias {
            AliasUse::None => {}
            AliasUse::Set(alias) => publish.topic = PublishTopic::NameAndAlias(topic, alias),
            AliasUse::Use(alias) => publish.topic = PublishTopic::Alias(alias),
        }
        let fits = |size: usize| size <= room.unwrap_or(usize::MAX);
        if at_most > self.send.packet_size_max || !fits(at_most) {
            let size = self.check_size(&publish).map_err(Refused::Now)?;
            if !fits(size) {
                return Err(Refused::ForRoom);
            }
        }
        // If this fails, the message must not block the rest.
        let encoded = publish.encode_to(self.version, buf);
        encoded.map_err(|_| Refused::Now(Settled::TooLarge))?;
        self.send.aliases.commit(alias, topic);
        Ok(())
    }

    /// Whether the peer takes a message of so many bytes, as far as can be known before it is its turn.
    #[inline]
    pub(crate) fn check_message(&self, message: &Message, bytes: usize) -> Result<(), Settled> {
        self.check_flags(message.qos(), message.retain())?;
        if bytes.saturating_add(HEAD_MAX) <= self.send.packet_size_max {
            return Ok(());
        }
        self.check_large(message)
    }

    #[inline(never)]
    fn check_large(&self, message: &Message) -> Result<(), Settled> {
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
