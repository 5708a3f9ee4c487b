//! Who holds messages, and one of them on its way to one receiver.

use mqtt_codec::{Delivery, Message, PacketId, SubscriptionId};

use super::Writer;
use crate::Timestamp;
use crate::pieces::Output;

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
    pub(super) fn is_plain(&self) -> bool {
        let has_ids = match self.subscription_ids {
            OutgoingIds::OfMessage => false,
            OutgoingIds::These(ids) => !ids.is_empty(),
        };
        !has_ids && self.expires_at.is_none() && !self.message.has_properties()
    }
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
