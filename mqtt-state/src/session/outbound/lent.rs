//! The only message of a session, where its owner keeps that beside it: with the connection, where it is at hand.
//!
//! What is lent stands in no list here, and its bytes do not count. But it is one more that waits or is in flight, and
//! its identifier is in use.

use mqtt_codec::{PacketId, QoS};

use super::Outbound;
use super::flows::{Flow, Place};

/// What is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lent {
    Nothing,
    /// A message that was not sent.
    Waiting,
    /// One that has its identifier, and waits for PUBACK.
    Published,
}

impl Lent {
    pub(super) const fn waiting_len(self) -> usize {
        matches!(self, Self::Waiting) as usize
    }

    pub(super) const fn in_flight_len(self) -> usize {
        matches!(self, Self::Published) as usize
    }
}

impl<M> Outbound<M> {
    /// Whether a QoS 1 message may go past this queue: nothing is in it, and there would be a place for it if
    /// it had to come here after all.
    #[inline]
    pub(crate) fn may_lend(&self) -> bool {
        let is_empty =
            self.publishes.len() == 0 && self.releases.len() == 0 && self.qos0.is_empty();
        is_empty && self.flows.has_free() && !self.assigns && self.in_flight_max > 0
    }

    /// A QoS 1 message goes past this queue. Whatever comes behind it, or happens to it other than its PUBACK,
    /// needs it here: [`take_back`](Self::take_back).
    #[inline]
    pub(crate) fn lend(&mut self) {
        self.lent = Lent::Waiting;
    }

    #[inline]
    pub(crate) const fn is_lent(&self) -> bool {
        !matches!(self.lent, Lent::Nothing)
    }

    /// The message that is lent is sent, with this identifier.
    // [5:MQTT-4.3.2-1] [3:MQTT-4.3.2-1] One that is not in use, until PUBACK has come.
    #[inline]
    pub(crate) fn number_lent(&mut self) -> Option<PacketId> {
        self.lent = Lent::Published;
        self.ids.insert(Place::ELSEWHERE)
    }

    /// PUBACK has come for the message that is lent.
    #[inline]
    pub(crate) fn finish_lent(&mut self, id: PacketId) {
        self.lent = Lent::Nothing;
        self.ids.rest(id);
    }

    /// The message that was lent waits here, or is in flight with this identifier, like any other.
    #[cold]
    pub(crate) fn take_back(&mut self, id: Option<PacketId>, message: M, bytes: usize) {
        self.lent = Lent::Nothing;
        let Some(id) = id else {
            return self.enqueue(QoS::AtLeastOnce, message, 0, bytes, 0);
        };
        let how = (Some(id), QoS::AtLeastOnce);
        let flow = Flow::published(how, self.connection, message, 0, bytes);
        let place = self.flows.insert(flow);
        if let Some(place) = place {
            self.messages_bytes = self.messages_bytes.saturating_add(bytes);
            self.flows.push_back(&mut self.publishes, place);
            self.ids.replace(id, place);
        }
    }
}
