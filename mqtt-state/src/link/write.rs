//! One PUBLISH as bytes, if it may go: as it is where it has no properties, or with what it gets on its way.

use alloc::vec::Vec;
use core::time::Duration;

use mqtt_codec::{Delivery, Message, PacketId, Publish, PublishTopic, QoS, SubscriptionIds};

use super::alias::AliasUse;
use super::{Link, Outgoing, OutgoingIds, Phase, Settled, Written};
use crate::Timestamp;
use crate::pieces::Output;
use crate::session::Next;

/// Why a PUBLISH was not written.
pub(super) enum Refused {
    /// There is no room behind what was written before.
    ForRoom,
    /// It will not be sent.
    Now(Settled),
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
            && link.write_found(
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
    #[inline(always)]
    pub(super) fn writer<'l, O>(&'l mut self, room: usize, out: &'l mut O) -> Writer<'l, O> {
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

    /// The same in a call of its own, for those who have looked the message up and keep what they found.
    #[inline(never)]
    fn write_found(
        &mut self,
        message: &Message,
        how: (Delivery, bool),
        size_max: usize,
        buf: &mut Vec<u8>,
    ) -> bool {
        self.write_plain(message, how, size_max, buf)
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

    /// Whether a message of so many bytes goes as it is, if it has no properties.
    #[inline]
    pub(crate) fn sends_as_it_is(&self, bytes: usize) -> bool {
        let has_room = self.send.packet_size_max >= bytes.saturating_add(HEAD_MAX);
        has_room && self.phase == Phase::Open && !self.send.aliases.are_possible()
    }

    /// Appends a message without properties, while [`sends_as_it_is`](Self::sends_as_it_is). Answers whether
    /// it did.
    #[inline(always)]
    pub(crate) fn write_as_it_is<O: Output>(
        &mut self,
        message: &Message,
        how: (Delivery, bool),
        out: &mut O,
    ) -> bool {
        let size_max = self.send.packet_size_max;
        self.write_found(message, how, size_max, out.copied())
    }

    /// The same for a message that many get, and that is known by this number.
    #[inline(always)]
    pub(crate) fn copy_as_it_is<O: Output>(
        &self,
        numbered: (u64, &Message),
        how: (Delivery, bool),
        written: &mut Written,
        out: &mut O,
    ) -> bool {
        written.write(numbered, self.version, how, usize::MAX, out.copied())
    }

    pub(super) fn write_with_properties<M, O: Output>(
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
    pub(super) fn check_flags(&self, qos: QoS, retain: bool) -> Result<(), Settled> {
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
