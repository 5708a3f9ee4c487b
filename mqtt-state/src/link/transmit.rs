//! Bytes on their way out: answers first, then the PUBLISH packets that quota and room allow.

use alloc::vec::Vec;
use core::time::Duration;

use mqtt_codec::{
    Delivery, Message, PacketId, PlainAck, Publish, PublishTopic, QoS, SubscriptionId,
    SubscriptionIds,
};

use super::alias::AliasUse;
use super::{Link, Phase, Written};
use crate::pieces::Output;
use crate::session::{Next, Session, Turn};
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

    /// A QoS 0 message has been handed out, and is done with. Whatever is left in `message` is dropped.
    fn sent(&mut self, tag: u64, message: &mut Option<Self::Handle>);

    /// Looks a message up and gives it to `writer`. Answers whether that handed it out.
    #[inline(always)]
    fn write<O: Output>(
        &mut self,
        handle: &Self::Handle,
        was_sent: bool,
        delivery: Delivery,
        writer: &mut Writer<'_, O>,
    ) -> bool {
        let outgoing = self.outgoing(handle, was_sent);
        outgoing.is_some_and(|outgoing| writer.write(&outgoing, delivery))
    }

    /// Looks a QoS 0 message up and gives it to `writer`; if that hands it out, it is done with. Answers
    /// whether it did. The same as [`outgoing`](Self::outgoing) and [`sent`](Self::sent), in one look.
    #[inline(always)]
    fn send<O: Output>(
        &mut self,
        tag: u64,
        message: &mut Option<Self::Handle>,
        writer: &mut Writer<'_, O>,
    ) -> bool {
        if let Some(handle) = message
            && let Some(outgoing) = self.outgoing(handle, false)
            && writer.write(&outgoing, Delivery::AtMostOnce)
        {
            self.sent(tag, message);
            return true;
        }
        false
    }

    /// The session will not send a message. Whatever is left in `message` is dropped. The receiver may
    /// hold the identifier `held` for it, which is not done with then. Answers how far the journal has to be
    /// stored before it cannot come again; 0 without one.
    fn settle(
        &mut self,
        tag: u64,
        held: Option<PacketId>,
        message: &mut Option<Self::Handle>,
        outcome: Settled,
    ) -> u64;

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

/// Where a PUBLISH goes.
pub(crate) struct Writer<'l, O> {
    link: &'l mut Link,
    /// It may have so many bytes at most.
    room: usize,
    out: &'l mut O,
}

impl<O: Output> Writer<'_, O> {
    /// Appends it if it has no properties and nothing keeps it from going. Answers whether it did.
    #[inline(always)]
    pub(crate) fn write(&mut self, outgoing: &Outgoing<'_>, delivery: Delivery) -> bool {
        let link = &mut *self.link;
        let size_max = link.send.packet_size_max.min(self.room);
        outgoing.is_plain()
            && !self.out.shares(outgoing.message)
            && link.check_flags(delivery.qos(), outgoing.retain).is_ok()
            && link.write_plain(
                outgoing.message,
                (delivery, outgoing.retain),
                size_max,
                self.out.copied(),
            )
    }

    /// The same for a message that many get, and that is known by this number.
    #[inline(always)]
    pub(crate) fn write_for_many(
        &mut self,
        outgoing: &Outgoing<'_>,
        delivery: Delivery,
        number: u64,
        written: &mut Written,
    ) -> bool {
        let link = &mut *self.link;
        let size_max = link.send.packet_size_max.min(self.room);
        let is_copied = outgoing.is_plain()
            && !self.out.shares(outgoing.message)
            && link.check_flags(delivery.qos(), outgoing.retain).is_ok()
            && !link.send.aliases.are_possible()
            && written.write(
                (number, outgoing.message),
                link.version,
                (delivery, outgoing.retain),
                size_max,
                self.out.copied(),
            );
        is_copied || self.write(outgoing, delivery)
    }
}

impl Link {
    /// Appends what can go now to `out`, until there are `end` bytes in it; or one packet where that is
    /// larger.
    #[inline(always)]
    pub(crate) fn transmit<S: Store, O: Output>(
        &mut self,
        now: Timestamp,
        end: usize,
        out: &mut O,
        session: Option<&mut Session<S::Handle>>,
        store: &mut S,
    ) -> Transmit {
        if !self.outbox.is_empty() || self.phase != Phase::Open {
            store.note_control(self.outbox.take_pushed());
            let room = end.saturating_sub(out.len()).max(1);
            let is_open = self.phase == Phase::Open;
            if !(is_open && self.outbox.take_all(room, out.copied()))
                && let Some(transmit) = self.transmit_control(room, out.copied())
            {
                return transmit;
            }
        }
        match session {
            Some(session) if !session.outbound.is_idle() => {
                self.transmit_publishes(now, end, out, session, store)
            }
            _ => Transmit::Idle,
        }
    }

    /// Answers, and the end. `None` when PUBLISH packets may follow.
    #[inline(never)]
    fn transmit_control(&mut self, max_bytes: usize, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.outbox.take(max_bytes, buf);
        if !self.outbox.is_idle() {
            return Some(Transmit::More);
        }
        match self.phase {
            // Nothing goes before the first packet of a connection.
            Phase::Open if self.outbox.holds_greeting() => Some(Transmit::Idle),
            Phase::Open => None,
            Phase::Closing | Phase::Closed if !self.outbox.is_empty() => Some(Transmit::Idle),
            Phase::Closing | Phase::Closed => {
                self.phase = Phase::Closed;
                Some(Transmit::Close)
            }
        }
    }

    /// Whether [`transmit`](Self::transmit) has nothing to do, whatever may go.
    #[inline]
    pub(crate) fn is_idle<M>(&self, session: &Session<M>) -> bool {
        self.outbox.is_empty() && self.phase == Phase::Open && session.outbound.is_idle()
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

    #[inline(always)]
    fn transmit_publishes<S: Store, O: Output>(
        &mut self,
        now: Timestamp,
        end: usize,
        out: &mut O,
        session: &mut Session<S::Handle>,
        store: &mut S,
    ) -> Transmit {
        // The first packet goes whatever its size.
        let mut room = usize::MAX;
        // [5:MQTT-4.9.0-2] [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9] At quota 0 no PUBLISH above QoS 0 goes;
        // [5:MQTT-3.3.4-8] [5:MQTT-3.3.4-10] [5:MQTT-4.9.0-3] everything else did, in `transmit`.
        while let Some(turn) = session.outbound.next(self.send.quota > 0) {
            if out.len() >= end {
                return Transmit::More;
            }
            if turn == Turn::AtMostOnce && self.send_qos0(session, store, room, out) {
                store.note_publish(false);
                room = end.saturating_sub(out.len());
                continue;
            }
            match (self.write(now, turn, session, store, room, out), turn) {
                (Ok(()), Turn::AtMostOnce) => {
                    let sent = |tag, message: &mut _| store.sent(tag, message);
                    session.outbound.finish_qos0(sent);
                    store.note_publish(false);
                }
                (Ok(()), Turn::Counted(place)) => {
                    let again = session.outbound.sent(place);
                    self.send.quota = self.send.quota.saturating_sub(1);
                    store.note_publish(again);
                }
                (Err(Refused::ForRoom), _) => return Transmit::More,
                (Err(Refused::Now(outcome)), _) => {
                    self.give_up(turn, session, store, outcome);
                    continue;
                }
            }
            room = end.saturating_sub(out.len());
        }
        // What was given up may have left a PUBREL.
        match self.outbox.is_idle() {
            true => Transmit::Idle,
            false => Transmit::More,
        }
    }

    /// What was to be sent will not be.
    // [5:MQTT-4.3.3-4] [3:MQTT-4.3.3-1] PUBREL answers a PUBREC that came on none of the connections so far:
    // with its content gone nothing else brings the flow to its end. A receiver that has never got the message
    // says so with PUBCOMP.
    #[cold]
    fn give_up<S: Store>(
        &mut self,
        turn: Turn,
        session: &mut Session<S::Handle>,
        store: &mut S,
        outcome: Settled,
    ) {
        let settle = |tag, held, message: &mut _| store.settle(tag, held, message, outcome);
        if let Some((id, position)) = session.outbound.give_up(turn, settle) {
            let mark = self.mark();
            // A peer that takes not even that gets it on no connection.
            let _too_large = self
                .outbox
                .push_ack(PlainAck::PubRel(id), self.send.packet_size_max);
            self.hold(mark, position);
        }
    }

    /// Appends one PUBLISH of at most `room` bytes, if it may go.
    #[inline(always)]
    fn write<S: Store, O: Output>(
        &mut self,
        now: Timestamp,
        turn: Turn,
        session: &Session<S::Handle>,
        store: &mut S,
        room: usize,
        out: &mut O,
    ) -> Result<(), Refused> {
        if let Turn::Counted(place) = turn
            && let Some(next) = session.outbound.look_at(place)
            && store.write(
                next.message,
                next.was_sent,
                next.delivery,
                &mut self.writer(room, out),
            )
        {
            return Ok(());
        }
        self.write_slowly(now, turn, session, store, room, out)
    }

    /// Sends the first QoS 0 message, if it goes as it is. Answers whether it did.
    #[inline(always)]
    fn send_qos0<S: Store, O: Output>(
        &mut self,
        session: &mut Session<S::Handle>,
        store: &mut S,
        room: usize,
        out: &mut O,
    ) -> bool {
        let Some((tag, message)) = session.outbound.first_qos0() else {
            return false;
        };
        if !store.send(tag, message, &mut self.writer(room, out)) {
            return false;
        }
        session.outbound.finish_qos0(|_, _| {});
        true
    }

    #[inline(always)]
    fn writer<'l, O>(&'l mut self, room: usize, out: &'l mut O) -> Writer<'l, O> {
        Writer {
            link: self,
            room,
            out,
        }
    }

    /// Appends the PUBLISH of a message without properties, if it has at most so many bytes and sets no
    /// alias. Answers whether it did.
    #[inline(always)]
    fn write_plain(
        &mut self,
        message: &Message,
        (delivery, retain): (Delivery, bool),
        size_max: usize,
        buf: &mut Vec<u8>,
    ) -> bool {
        if self.send.aliases.are_possible() {
            return self.write_aliased(message, (delivery, retain), size_max, buf);
        }
        let encoded = message.encode_within(self.version, delivery, retain, size_max, buf);
        encoded.is_ok()
    }

    /// The same on a connection with aliases.
    #[inline(never)]
    fn write_aliased(
        &mut self,
        message: &Message,
        (delivery, retain): (Delivery, bool),
        size_max: usize,
        buf: &mut Vec<u8>,
    ) -> bool {
        let topic = message.topic();
        let choice = self.send.aliases.choose(topic);
        let encoded = match choice {
            AliasUse::Use(alias) => {
                message.encode_aliased_within(delivery, retain, alias, size_max, buf)
            }
            AliasUse::None => message.encode_within(self.version, delivery, retain, size_max, buf),
            // Once for each topic.
            AliasUse::Set(_) => return false,
        };
        if encoded.is_ok() {
            self.send.aliases.commit(choice, topic);
        }
        encoded.is_ok()
    }

    /// The same for a message that has properties, or gets some, or whose payload is shared, or that may
    /// not go. It looks at everything once more, so that the short way keeps nothing for it.
    #[cold]
    #[inline(never)]
    fn write_slowly<S: Store, O: Output>(
        &mut self,
        now: Timestamp,
        turn: Turn,
        session: &Session<S::Handle>,
        store: &S,
        room: usize,
        out: &mut O,
    ) -> Result<(), Refused> {
        let next = session.outbound.look(turn);
        let next = next.ok_or(Refused::Now(Settled::Gone))?;
        let outgoing = store.outgoing(next.message, next.was_sent);
        let outgoing = outgoing.ok_or(Refused::Now(Settled::Gone))?;
        self.check_flags(next.delivery.qos(), outgoing.retain)
            .map_err(Refused::Now)?;
        self.write_with_properties(now, &next, &outgoing, room, out)
    }

    fn write_with_properties<M, O: Output>(
        &mut self,
        now: Timestamp,
        next: &Next<'_, M>,
        outgoing: &Outgoing<'_>,
        room: usize,
        out: &mut O,
    ) -> Result<(), Refused> {
        // [5:MQTT-3.3.2-5] Expired before the first sending: dropped.
        // [5:MQTT-4.3.3-7] [5:MQTT-4.3.3-13] After the first sending expiry stops nothing.
        if !next.was_sent && outgoing.expires_at.is_some_and(|at| at <= now) {
            return Err(Refused::Now(Settled::Expired));
        }
        let topic = outgoing.message.topic();
        // [5:MQTT-3.3.2-4] [5:MQTT-3.3.2-15] [5:MQTT-3.3.2-16] [5:MQTT-3.3.2-17] [5:MQTT-3.3.2-18] [5:MQTT-3.3.2-20]
        // Its properties are those that came, in their order.
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
        let mut alias = self.send.aliases.choose(topic);
        match alias {
            AliasUse::None => {}
            AliasUse::Set(alias) => publish.topic = PublishTopic::NameAndAlias(topic, alias),
            AliasUse::Use(alias) => publish.topic = PublishTopic::Alias(alias),
        }
        if at_most > self.send.packet_size_max.min(room) {
            let mut size = self.check_size(&publish);
            // The property that sets an alias may be all that is too much.
            if size.is_err() && matches!(alias, AliasUse::Set(_)) {
                (alias, publish.topic) = (AliasUse::None, PublishTopic::Name(topic));
                size = self.check_size(&publish);
            }
            if size.map_err(Refused::Now)? > room {
                return Err(Refused::ForRoom);
            }
        }
        let encoded = if out.shares(outgoing.message) {
            let encoded = publish.encode_head_to(self.version, out.copied());
            encoded.map(|_size| out.share(outgoing.message.payload_bytes()))
        } else {
            let encoded = publish.encode_to(self.version, out.copied());
            encoded.map(|_size| ())
        };
        // There is room for it. If it cannot be said at all, it must not block the rest.
        encoded.map_err(|_error| Refused::Now(Settled::TooLarge))?;
        self.send.aliases.commit(alias, topic);
        Ok(())
    }

    /// Appends a PUBLISH without properties to `buf`, from where the message is, when no answer goes
    /// before it and it may go. Answers whether it did.
    #[inline(always)]
    pub(crate) fn write_at_once(
        &mut self,
        message: &Message,
        delivery: Delivery,
        buf: &mut Vec<u8>,
    ) -> bool {
        let retain = message.retain();
        let is_counted = delivery != Delivery::AtMostOnce;
        if self.phase != Phase::Open
            || !self.outbox.is_empty()
            || (is_counted && self.send.quota == 0)
            || self.check_flags(delivery.qos(), retain).is_err()
        {
            return false;
        }
        let size_max = self.send.packet_size_max;
        if !self.write_plain(message, (delivery, retain), size_max, buf) {
            return false;
        }
        // [5:MQTT-4.9.0-2]
        let quota = u16::from(is_counted);
        self.send.quota = self.send.quota.saturating_sub(quota);
        true
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
