//! How much there is: what a session counts for, and whether that may be more.

use mqtt_codec::{PacketId, QoS};

use super::Outbound;
use super::flows::{Flow, Place};
use super::ring::{Ring, Unnumbered};
use crate::session::packet_id::PacketIds;

/// Places that stay for the next messages when nothing is in them.
const PLACES_KEPT: usize = 64;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// Messages that were never sent.
    pub(crate) len_max: usize,
    /// Bytes of all messages, in flight or never sent.
    pub(crate) bytes_max: usize,
}

impl<M> Outbound<M> {
    /// Bytes that one message or request takes, beside what the message points to.
    pub(crate) const PLACE_SIZE: usize = size_of::<Flow<M>>() + PacketIds::<Place>::ENTRY_SIZE;

    /// Bytes that one waiting QoS 0 message takes, likewise.
    pub(crate) const QOS0_SIZE: usize = size_of::<Unnumbered<M>>();

    /// Whether one more message of so many bytes may wait.
    #[inline]
    pub(crate) fn has_room(&self, bytes: usize, limits: QueueLimits) -> bool {
        self.has_room_beside(0, bytes, limits)
    }

    /// The same where so many wait elsewhere.
    #[inline]
    pub(crate) fn has_room_beside(&self, others: usize, bytes: usize, limits: QueueLimits) -> bool {
        self.waiting_len().saturating_add(others) < limits.len_max
            && self.messages_bytes.saturating_add(bytes) <= limits.bytes_max
    }

    /// Bytes by which the places grow when one more message comes; mostly none.
    #[inline]
    pub(crate) fn growth(&self, qos: QoS) -> usize {
        match qos {
            QoS::AtMostOnce if self.qos0.len() < self.qos0.capacity() => 0,
            QoS::AtMostOnce => self.qos0.len().max(4).saturating_mul(Self::QOS0_SIZE),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.flows.growth(),
        }
    }

    /// Gives memory back that nothing is kept in.
    pub(crate) fn shrink(&mut self) {
        self.flows.shrink();
        if self.qos0.is_empty() {
            self.qos0 = Ring::new();
        }
    }

    /// Whether there are many places, and nothing in them.
    #[inline]
    pub(crate) fn is_oversized(&self) -> bool {
        let places = self.flows.places_len().max(self.qos0.capacity());
        places > PLACES_KEPT && self.waiting_len() == 0 && self.in_flight_len() == 0
    }

    /// Bytes of the table of identifiers when so many have been in flight.
    pub(crate) const fn ids_bytes(in_flight_len: usize) -> usize {
        PacketIds::<Place>::bytes(in_flight_len)
    }

    /// Bytes of the table of identifiers beyond what it has where nobody but this side has given them out, as
    /// far as the limit of that is known.
    pub(crate) fn ids_beyond_bytes(&self) -> usize {
        self.beyond(self.ids.capacity_bytes())
    }

    /// By how much these grow when this identifier is put into it.
    pub(crate) fn bytes_for_id(&self, id: PacketId) -> usize {
        let grown = self.beyond(self.ids.bytes_with(id));
        grown.saturating_sub(self.ids_beyond_bytes())
    }

    fn beyond(&self, bytes: usize) -> usize {
        bytes.saturating_sub(Self::ids_bytes(self.in_flight_max).saturating_mul(2))
    }

    /// Bytes of the places that messages are or have been in.
    pub(crate) fn places_bytes(&self) -> usize {
        let qos0 = self.qos0.capacity().saturating_mul(Self::QOS0_SIZE);
        self.flows.bytes().saturating_add(qos0)
    }

    /// Those with an identifier that wait for PUBACK or PUBREC.
    #[inline]
    pub(super) const fn publishes_len(&self) -> usize {
        self.publishes.len().saturating_sub(self.waiting_len)
    }

    /// QoS 1 and 2 messages sent and not fully acknowledged.
    #[inline]
    pub(crate) const fn in_flight_len(&self) -> usize {
        { self.publishes_len().saturating_add(self.releases.len()) }
            .saturating_add(self.lent.in_flight_len())
    }

    /// Messages that were never sent.
    #[inline]
    pub(crate) fn waiting_len(&self) -> usize {
        { self.waiting_len.saturating_add(self.qos0.len()) }.saturating_add(self.lent.waiting_len())
    }

    /// QoS 0 messages that wait.
    #[inline]
    pub(crate) fn waiting_qos0_len(&self) -> usize {
        self.qos0.len()
    }

    /// Messages at QoS 1 and 2 that were never sent: those that a quota can hold back.
    #[inline]
    pub(crate) const fn held_back_len(&self) -> usize {
        self.waiting_len
    }

    /// Bytes of the messages, in flight or never sent.
    pub(crate) const fn messages_bytes(&self) -> usize {
        self.messages_bytes
    }

    /// Identifiers in use, for tests and for [`Session::packet_ids_in_use`](crate::session::Session::packet_ids_in_use).
    pub(crate) fn ids_len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of the messages in flight.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        let flows = self.published();
        flows.fold(0, |bytes, flow| bytes.saturating_add(flow.size.get()))
    }
}
