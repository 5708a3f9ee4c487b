//! The one place where messages are kept, however many sessions wait for them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::BytesMut;
use mqtt_codec::{Message, PacketId, QoS, SubscriptionId};
use mqtt_topic::GroupId;

use super::at_hand::AtHand;
use super::event::{DropCause, Event, EventQueue};
use super::journal::{Journal, StoredAs};
use super::slab::{Key, Slab};
use crate::link::{Link, Outgoing, OutgoingIds, Settled, Store, Writer, Written};
use crate::pieces::Output;
use crate::{Timestamp, Traffic};

/// So many pieces of memory are kept for messages to come, each of so many bytes at most.
const SPARE_MAX: usize = 16;
const SPARE_BYTES_MAX: usize = 4096;

/// A message that more than so many refer to is written once for all of them.
const FEW: usize = 4;

/// Messages with a count of those who refer to them.
#[derive(Debug)]
pub(super) struct MessageStore {
    messages: Slab<Stored>,
    /// Memory of messages that are gone.
    spare: Vec<BytesMut>,
    /// The message that many get just now.
    written: Written,
    /// The packet that one gets just now.
    pub(super) packet: Vec<u8>,
    /// Of topics, properties and payloads, and of subscription identifiers.
    bytes: usize,
    /// Messages taken so far.
    taken: u64,
    /// What a store has to know of them, and of what refers to them.
    pub(super) journal: Journal,
}

#[derive(Debug)]
struct Stored {
    message: Message,
    expires_at: Option<Timestamp>,
    references: usize,
    /// Which message it was, of all that were taken.
    ordinal: u64,
    /// It was retained, and another message of its topic came after it.
    is_superseded: bool,
    /// Its name in the store; 0 while nothing stored refers to it.
    number: u64,
}

impl Stored {
    /// How it goes to one receiver, if it still does.
    #[inline]
    fn outgoing<'s>(&'s self, delivery: &'s Delivery, was_sent: bool) -> Option<Outgoing<'s>> {
        // What came after it may have overtaken it: the older value does not follow.
        if delivery.is_replay && self.is_superseded && !was_sent {
            return None;
        }
        Some(Outgoing {
            message: &self.message,
            retain: delivery.retain,
            subscription_ids: OutgoingIds::These(delivery.subscription_ids.as_slice()),
            expires_at: self.expires_at,
        })
    }

    /// Gives it to a writer, as it goes to one receiver. Answers whether that handed it out.
    #[inline(always)]
    fn write<O: Output>(
        &self,
        handle: &Delivery,
        was_sent: bool,
        delivery: mqtt_codec::Delivery,
        writer: &mut Writer<'_, O>,
        written: &mut Written,
    ) -> bool {
        let Some(outgoing) = self.outgoing(handle, was_sent) else {
            return false;
        };
        if self.references > FEW {
            return writer.write_for_many(&outgoing, delivery, self.ordinal, written);
        }
        writer.write(&outgoing, delivery)
    }

    /// One reference less. Answers whether it was the last.
    #[inline]
    fn give_back(&mut self) -> bool {
        let is_last = self.references <= 1;
        if !is_last {
            self.references = self.references.wrapping_sub(1);
        }
        is_last
    }
}

/// A counted reference to a stored message. It must end in [`MessageStore::release`].
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use = "a reference that is not released keeps its message for ever"]
pub(super) struct MessageRef(Key);

impl MessageRef {
    /// One more reference, which [`MessageStore::count`] has to count.
    #[inline]
    pub(super) const fn uncounted(&self) -> Self {
        Self(self.0)
    }

    /// The name of the message, which holds nothing.
    pub(super) fn name(&self) -> MessageName {
        MessageName(self.0)
    }
}

/// Names a stored message without keeping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MessageName(Key);

/// A message as one session gets it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) message: MessageRef,
    pub(super) retain: bool,
    /// It was retained when a subscription was made.
    pub(super) is_replay: bool,
    pub(super) qos: QoS,
    /// The shared subscription that it is a turn of.
    pub(super) group: Option<GroupId>,
    /// Of the matching subscriptions.
    pub(super) subscription_ids: Ids,
}

/// Subscription identifiers. One takes no memory of its own.
#[derive(Debug)]
pub(super) enum Ids {
    None,
    One(SubscriptionId),
    Several(Box<Several>),
}

/// Apart, because few messages have so many.
#[derive(Debug)]
pub(super) struct Several(Vec<SubscriptionId>);

impl Ids {
    #[inline]
    pub(super) fn as_slice(&self) -> &[SubscriptionId] {
        match self {
            Self::None => &[],
            Self::One(id) => core::slice::from_ref(id),
            Self::Several(ids) => &ids.0,
        }
    }

    #[inline]
    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Bytes on the heap.
    fn len_held(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Several(ids) => { ids.0.capacity() }
                .saturating_mul(size_of::<SubscriptionId>())
                .saturating_add(size_of::<Several>()),
        }
    }

    /// These and one more.
    pub(super) fn and(self, id: SubscriptionId) -> Self {
        match self {
            Self::None => Self::One(id),
            Self::One(first) => Self::Several(Box::new(Several(vec![first, id]))),
            Self::Several(mut ids) => {
                ids.0.push(id);
                Self::Several(ids)
            }
        }
    }
}

impl FromIterator<SubscriptionId> for Ids {
    fn from_iter<I: IntoIterator<Item = SubscriptionId>>(ids: I) -> Self {
        ids.into_iter().fold(Self::None, Self::and)
    }
}

impl Delivery {
    /// Bytes of what it holds outside of itself, the message apart.
    fn len_held(&self) -> usize {
        self.subscription_ids.len_held()
    }
}

impl MessageStore {
    pub(super) const PLACE_SIZE: usize = Slab::<Stored>::PLACE_SIZE;

    pub(super) fn new(journal: Journal) -> Self {
        Self {
            messages: Slab::new(),
            spare: Vec::new(),
            written: Written::default(),
            packet: Vec::new(),
            bytes: 0,
            taken: 0,
            journal,
        }
    }

    /// Takes a message; `None` when no more can be named.
    #[inline(always)]
    pub(super) fn insert(
        &mut self,
        message: Message,
        expires_at: Option<Timestamp>,
    ) -> Option<MessageRef> {
        let bytes = message.len_held();
        self.taken = self.taken.saturating_add(1);
        let key = self.messages.insert(Stored {
            message,
            expires_at,
            references: 1,
            ordinal: self.taken,
            is_superseded: false,
            number: 0,
        })?;
        self.bytes = self.bytes.saturating_add(bytes);
        Some(MessageRef(key))
    }

    /// A delivery waits from here on, until it is released.
    #[inline]
    pub(super) fn note_delivery(&mut self, delivery: &Delivery) {
        self.bytes = self.bytes.saturating_add(delivery.len_held());
    }

    /// Bytes of the messages kept, each counted once, and of what their deliveries hold.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// One more reference to the same message.
    pub(super) fn share(&mut self, reference: &MessageRef) -> MessageRef {
        self.count(reference, 1);
        reference.uncounted()
    }

    /// Messages taken so far.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether a message is one of the first so many.
    pub(super) fn is_among(&self, reference: &MessageRef, first: u64) -> bool {
        let stored = self.messages.get(reference.0);
        stored.is_some_and(|stored| stored.ordinal <= first)
    }

    /// So many more references have been given out.
    #[inline]
    pub(super) fn count(&mut self, reference: &MessageRef, more: usize) {
        if let Some(stored) = self.messages.get_mut(reference.0) {
            stored.references = stored.references.saturating_add(more);
        }
    }

    /// Memory of a message that is gone, for the next one.
    #[inline]
    pub(super) fn spare_memory(&mut self) -> Option<BytesMut> {
        self.spare.pop()
    }

    /// Another message of its topic has come after this retained one.
    pub(super) fn supersede(&mut self, reference: &MessageRef) {
        if let Some(stored) = self.messages.get_mut(reference.0) {
            stored.is_superseded = true;
        }
    }

    /// Whether a message goes as it is, to whoever gets no properties of his own.
    pub(super) fn goes_as_it_is(&self, reference: &MessageRef) -> bool {
        let stored = self.messages.get(reference.0);
        stored.is_some_and(|it| it.expires_at.is_none() && !it.message.has_properties())
    }

    /// Writes a message that is at hand. At QoS 0 that gives the reference back.
    #[inline(always)]
    pub(super) fn hand_over<O: Output>(
        &mut self,
        at_hand: &AtHand,
        delivery: mqtt_codec::Delivery,
        link: &mut Link,
        out: &mut O,
    ) {
        let Some(stored) = self.messages.get_mut(at_hand.message.0) else {
            return;
        };
        let (message, how) = (&stored.message, (delivery, at_hand.retain));
        let is_written = if stored.references > FEW {
            link.copy_as_it_is((stored.ordinal, message), how, &mut self.written, out)
        } else {
            link.write_as_it_is(message, how, out)
        };
        debug_assert!(is_written, "that it fits was looked at before");
        if delivery == mqtt_codec::Delivery::AtMostOnce && stored.give_back() {
            self.free(at_hand.message.uncounted());
        }
    }

    /// Writes a message that goes as it is to `packet`.
    #[inline]
    pub(super) fn write(
        &mut self,
        reference: &MessageRef,
        delivery: mqtt_codec::Delivery,
        link: &mut Link,
    ) {
        if let Some(stored) = self.messages.get(reference.0) {
            let how = (delivery, false);
            let is_written = link.write_as_it_is(&stored.message, how, &mut self.packet);
            debug_assert!(is_written, "that it fits was looked at before");
        }
    }

    /// Gives a reference back; the last one frees the message.
    #[inline]
    pub(super) fn release(&mut self, reference: MessageRef) {
        let Some(stored) = self.messages.get_mut(reference.0) else {
            return;
        };
        if stored.give_back() {
            self.free(reference);
        }
    }

    /// Nobody refers to it any more.
    #[inline(never)]
    fn free(&mut self, reference: MessageRef) {
        if let Some(stored) = self.messages.remove(reference.0) {
            self.bytes = self.bytes.saturating_sub(stored.message.len_held());
            if self.spare.len() < SPARE_MAX
                && let Some(memory) = stored.message.into_memory(SPARE_BYTES_MAX)
            {
                self.spare.push(memory);
            }
            if stored.number != 0 {
                self.record_forgotten(stored.number);
            }
        }
    }

    /// Gives back what a delivery refers to, if there is one.
    #[inline]
    pub(super) fn release_delivery(&mut self, delivery: Option<Delivery>) {
        if let Some(delivery) = delivery {
            self.release_held(&delivery);
        }
    }

    /// Gives back what a delivery refers to that is dropped afterwards.
    #[inline]
    fn release_held(&mut self, delivery: &Delivery) {
        self.note_released(delivery);
        self.release(delivery.message.uncounted());
    }

    /// A delivery does not wait any more.
    #[inline]
    fn note_released(&mut self, delivery: &Delivery) {
        self.bytes = self.bytes.saturating_sub(delivery.len_held());
    }

    pub(super) fn message(&self, reference: &MessageRef) -> Option<&Message> {
        self.messages.get(reference.0).map(|stored| &stored.message)
    }

    /// The bytes that a message counts for.
    pub(super) fn len_held(&self, reference: &MessageRef) -> usize {
        self.message(reference).map_or(0, Message::len_held)
    }

    pub(super) fn expires_at(&self, reference: &MessageRef) -> Option<Timestamp> {
        self.messages.get(reference.0)?.expires_at
    }

    /// Its name in the store; 0 while nothing stored refers to it.
    pub(super) fn number_of(&self, reference: &MessageRef) -> u64 {
        self.messages
            .get(reference.0)
            .map_or(0, |stored| stored.number)
    }

    pub(super) fn set_number(&mut self, reference: &MessageRef, number: u64) {
        if let Some(stored) = self.messages.get_mut(reference.0) {
            stored.number = number;
        }
    }

    /// The message that a name meant, while somebody still refers to it.
    pub(super) fn named(&self, name: MessageName) -> Option<&Message> {
        self.messages.get(name.0).map(|stored| &stored.message)
    }

    /// Messages kept.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// The store as the link of one session sees it.
#[derive(Debug)]
pub(super) struct Deliveries<'b> {
    pub(super) store: &'b mut MessageStore,
    pub(super) events: &'b mut EventQueue,
    pub(super) traffic: &'b mut Traffic,
    pub(super) client_id: &'b str,
    /// The session's name in the store, if it is kept there.
    pub(super) kept_as: StoredAs,
}

impl Store for Deliveries<'_> {
    type Handle = Delivery;

    fn outgoing<'s>(&'s self, handle: &'s Delivery, was_sent: bool) -> Option<Outgoing<'s>> {
        let stored = self.store.messages.get(handle.message.0)?;
        stored.outgoing(handle, was_sent)
    }

    fn note_control(&mut self, packets: u64) {
        self.traffic.note_packets(packets);
    }

    fn note_publish(&mut self, repeated: bool) {
        self.traffic.note_publish(repeated);
    }

    fn sent(&mut self, tag: u64, delivery: &mut Option<Delivery>) {
        self.store.record_ended(self.kept_as, tag);
        self.release(delivery);
    }

    #[inline(always)]
    fn write<O: Output>(
        &mut self,
        handle: &Delivery,
        was_sent: bool,
        delivery: mqtt_codec::Delivery,
        writer: &mut Writer<'_, O>,
    ) -> bool {
        let MessageStore {
            messages, written, ..
        } = &mut *self.store;
        let stored = messages.get(handle.message.0);
        stored.is_some_and(|stored| stored.write(handle, was_sent, delivery, writer, written))
    }

    #[inline(always)]
    fn send<O: Output>(
        &mut self,
        tag: u64,
        delivery: &mut Option<Delivery>,
        writer: &mut Writer<'_, O>,
    ) -> bool {
        let MessageStore {
            messages, written, ..
        } = &mut *self.store;
        let qos0 = mqtt_codec::Delivery::AtMostOnce;
        if let Some(delivery) = delivery
            && let Some(stored) = messages.get_mut(delivery.message.0)
            && stored.write(delivery, false, qos0, writer, written)
        {
            let is_last = stored.give_back();
            self.store.record_ended(self.kept_as, tag);
            self.store.note_released(delivery);
            if is_last {
                self.store.free(delivery.message.uncounted());
            }
            return true;
        }
        false
    }

    fn settle(
        &mut self,
        tag: u64,
        held: Option<PacketId>,
        delivery: &mut Option<Delivery>,
        outcome: Settled,
    ) -> u64 {
        let cause = match outcome {
            Settled::Gone => None,
            Settled::Expired => Some(DropCause::Expired),
            Settled::TooLarge | Settled::QoSNotSupported | Settled::RetainNotSupported => {
                Some(DropCause::TooLarge)
            }
        };
        if let Some(cause) = cause
            && let Some(delivery) = delivery
            && let Some(message) = self.store.message(&delivery.message)
        {
            self.events.push(Event::Dropped {
                client_id: self.client_id.into(),
                topic: String::from(message.topic().as_str()),
                cause,
            });
        }
        match held {
            // For whoever goes on with the store there is no difference: PUBREL, and PUBCOMP.
            Some(id) => self.store.record_release(self.kept_as, tag, id),
            None => self.store.record_ended(self.kept_as, tag),
        }
        self.release(delivery);
        self.store.journal.position()
    }

    #[inline]
    fn release(&mut self, delivery: &mut Option<Delivery>) {
        // Where it is: it is dropped there.
        if let Some(delivery) = delivery {
            self.store.release_held(delivery);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_lives_as_long_as_its_last_reference() {
        let mut store = MessageStore::new(Journal::new(false));
        let first = store
            .insert(Message::new("a", "payload").unwrap(), None)
            .unwrap();
        let second = store.share(&first);
        let name = first.name();
        store.release(first);
        assert_eq!(store.message(&second).unwrap().payload(), b"payload");
        store.release(second);
        assert!(store.named(name).is_none());
        assert_eq!(store.len(), 0);
    }
}
