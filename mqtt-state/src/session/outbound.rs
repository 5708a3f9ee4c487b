//! The sending half of a session: messages that wait, messages in flight, and their identifiers.

mod acknowledged;
mod flows;
mod ring;
mod stored;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use mqtt_codec::{Delivery, PacketId, QoS};

use self::flows::{Flow, Flows, Links, List, Size, State};
use self::ring::{Ring, Unnumbered};
use super::packet_id::PacketIds;

pub(crate) use self::flows::Place;

/// What one side of a session still has to send or to see acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Outbound<M> {
    flows: Flows<M>,
    ids: PacketIds<Place>,
    /// QoS 1 and 2, in the order of publishing: first those that have identifiers and wait for PUBACK
    /// or PUBREC, then those that never had one.
    publishes: List,
    /// The first of `publishes` without an identifier, and how many there are. It is never in front of
    /// `unsent`.
    waiting: Option<Place>,
    waiting_len: usize,
    /// The first of `publishes` that has not been sent on this connection.
    unsent: Option<Place>,
    /// How many of `publishes` have an identifier and have not been sent on this connection.
    unsent_len: usize,
    /// Waiting for PUBCOMP, in the order of the PUBRECs.
    releases: List,
    /// QoS 0. Apart from the others because no quota holds it back, and nothing is left of it once it
    /// is sent.
    qos0: Ring<M>,
    /// Restores the order between the two.
    next_sequence: u32,
    messages_bytes: usize,
    /// Counts the connections, from 1.
    connection: u32,
    /// Messages get their identifiers by `assign`, so that these are stored before they are used.
    assigns: bool,
    /// How far the journal is stored; `u64::MAX` when there is none.
    stored: u64,
    /// Whatever a connection lets go: no more than this is in flight over all of them.
    in_flight_max: usize,
}

/// Places that stay for the next messages when nothing is in them.
const PLACES_KEPT: usize = 64;

/// Which PUBLISH is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first at QoS 0.
    AtMostOnce,
    /// One that is acknowledged.
    Counted(Place),
}

/// A client's request that waits for its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Subscribe,
    Unsubscribe,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// Messages that were never sent.
    pub(crate) len_max: usize,
    /// Bytes of all messages, in flight or never sent.
    pub(crate) bytes_max: usize,
}

/// The PUBLISH to send next.
#[derive(Debug)]
pub(crate) struct Next<'s, M> {
    pub(crate) delivery: Delivery,
    pub(crate) message: &'s M,
    /// Some connection has carried it, in this run of the program or before.
    pub(crate) was_sent: bool,
}

/// An acknowledgement that does not fit the state of its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Nobody holds the identifier.
    Unknown,
    /// The identifier belongs to another kind of flow.
    OtherFlow,
}

/// What a PUBREC did, to the message with this tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The receiver has it: PUBREL is due.
    Now(u64),
    /// A repeated PUBREC: PUBREL is due once more.
    Before,
    /// The receiver refused it: the flow is over.
    Refused(Ended),
}

/// A flow that an acknowledgement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) tag: u64,
    /// Its PUBLISH went out on this connection, so the quota gets one back.
    pub(crate) counted: bool,
}

/// Something of a session that will not be completed.
#[derive(Debug)]
pub(crate) struct Lost<M> {
    pub(crate) tag: u64,
    /// Nothing when the receiver had acknowledged it with PUBREC, and only PUBCOMP was missing.
    pub(crate) message: Option<M>,
}

impl<M> Outbound<M> {
    /// Bytes that one message or request takes, beside what the message points to.
    pub(crate) const PLACE_SIZE: usize = size_of::<Flow<M>>() + PacketIds::<Place>::ENTRY_SIZE;

    /// Bytes that one waiting QoS 0 message takes, likewise.
    pub(crate) const QOS0_SIZE: usize = size_of::<Unnumbered<M>>();

    pub(crate) fn new() -> Self {
        Self {
            flows: Flows::new(),
            ids: PacketIds::new(),
            publishes: List::default(),
            waiting: None,
            waiting_len: 0,
            unsent: None,
            unsent_len: 0,
            releases: List::default(),
            qos0: Ring::new(),
            next_sequence: 0,
            messages_bytes: 0,
            connection: 1,
            assigns: false,
            stored: u64::MAX,
            in_flight_max: usize::MAX,
        }
    }

    /// A store follows this session: identifiers are given out by [`assign`](Self::assign).
    pub(crate) fn follow(&mut self) {
        self.assigns = true;
        self.stored = 0;
    }

    /// Whether a store follows this session.
    #[inline]
    pub(crate) const fn is_followed(&self) -> bool {
        self.assigns
    }

    /// No more than so many are in flight from here on.
    pub(crate) fn limit_in_flight(&mut self, maximum: usize) {
        self.in_flight_max = maximum;
    }

    /// Whether one more message of so many bytes may wait.
    #[inline]
    pub(crate) fn has_room(&self, bytes: usize, limits: QueueLimits) -> bool {
        self.waiting_len() < limits.len_max
            && self.messages_bytes.saturating_add(bytes) <= limits.bytes_max
    }

    /// Puts a message behind those that wait. `position` in the journal has to be stored before it
    /// is sent.
    #[inline(always)]
    // [5:MQTT-4.6.0-5] [5:MQTT-4.6.0-6] [3:MQTT-4.6.0-5] [3:MQTT-4.6.0-6] At the end: order is kept for all topics.
    pub(crate) fn enqueue(&mut self, qos: QoS, message: M, tag: u64, bytes: usize, position: u64) {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.messages_bytes = self.messages_bytes.saturating_add(bytes);
        if qos == QoS::AtMostOnce {
            if let Some(place) = self.qos0.push_back() {
                place.message = Some(message);
                place.tag = tag;
                place.position = position;
                place.size = Size::new(bytes);
                place.sequence = sequence;
            }
            return;
        }
        let place = self.flows.insert(Flow {
            message: Some(message),
            tag,
            position,
            size: Size::new(bytes),
            sequence,
            sent_on: 0,
            id: None,
            qos,
            state: State::Waiting,
            links: Links::default(),
        });
        // A limit of four billion messages does not come before one of memory.
        let Some(place) = place else { return };
        self.flows.push_back(&mut self.publishes, place);
        self.waiting.get_or_insert(place);
        self.waiting_len = self.waiting_len.saturating_add(1);
        self.unsent.get_or_insert(place);
    }

    /// How a message at this QoS goes that is sent at once, if it may.
    #[inline(always)]
    pub(crate) fn next_delivery(&self, qos: QoS) -> Option<Delivery> {
        if qos == QoS::AtMostOnce {
            return Some(Delivery::AtMostOnce);
        }
        let (id, dup) = (self.ids.next_id().filter(|_| self.may_start())?, false);
        Some(match qos {
            QoS::AtMostOnce | QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
        })
    }

    /// A QoS 1 or 2 message has been sent at once, as [`next_delivery`](Self::next_delivery) said.
    #[inline(always)]
    pub(crate) fn insert_sent(&mut self, qos: QoS, message: M, tag: u64, bytes: usize) {
        let place = self.flows.insert(Flow {
            message: Some(message),
            tag,
            position: 0,
            size: Size::new(bytes),
            sequence: 0,
            sent_on: self.connection,
            id: self.ids.next_id(),
            qos,
            state: State::Published,
            links: Links::default(),
        });
        if let Some(place) = place {
            self.ids.insert(place);
            self.messages_bytes = self.messages_bytes.saturating_add(bytes);
            self.flows.push_back(&mut self.publishes, place);
        }
    }

    /// Takes out the message that has waited longest.
    pub(crate) fn drop_oldest(&mut self) -> Option<Lost<M>> {
        match (self.waiting, self.qos0.front()) {
            (Some(place), Some(other)) if self.is_before(other.sequence, place) => {}
            (Some(place), _) => return Some(self.take(place)),
            (None, _) => {}
        }
        self.drop_oldest_qos0()
    }

    /// Takes out the QoS 0 message that has waited longest.
    pub(crate) fn drop_oldest_qos0(&mut self) -> Option<Lost<M>> {
        let mut lost = None;
        self.finish_qos0(|tag, message| {
            let message = message.take();
            lost = Some(Lost { tag, message });
        });
        lost
    }

    /// A connection took the session up: everything in flight is due again, in order. Answers the
    /// identifiers for which PUBREL is due at once.
    // [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] Unacknowledged PUBLISH and PUBREL are sent again, with their identifiers.
    // [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] ... PUBLISH in the order first sent.
    // [5:MQTT-4.8.2-4] ... to the same receiver, whoever else could have been chosen.
    // [5:MQTT-4.6.0-4] [3:MQTT-4.6.0-4] ... PUBREL in the order of the PUBRECs.
    pub(crate) fn resume(&mut self) -> impl Iterator<Item = PacketId> {
        self.connection = self.connection.checked_add(1).unwrap_or(1);
        self.unsent = self.publishes.head();
        self.unsent_len = self.publishes_len();
        self.flows.listed(&self.releases).filter_map(|flow| flow.id)
    }

    /// Whether nothing is to be sent, whatever may go.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.unsent.is_none() && self.qos0.is_empty()
    }

    /// Which PUBLISH is sent next, if any may go. Without `quota` only QoS 0 may.
    #[inline(always)]
    pub(crate) fn next(&self, quota: bool) -> Option<Turn> {
        // Nothing new at QoS 1 or 2 goes before what has to be sent again.
        if let Some(place) = self.unsent
            && quota
            && let Some(flow) = self.flows.get(place)
            && flow.position <= self.stored
            && (flow.state == State::Published || self.may_start())
            && !(flow.state == State::Waiting && self.qos0_is_before(place))
        {
            return Some(Turn::Counted(place));
        }
        let first = self.qos0.front()?;
        (first.position <= self.stored).then_some(Turn::AtMostOnce)
    }

    /// Whether one more may be given an identifier with its first sending. With a journal it first
    /// gets that by [`assign`](Self::assign).
    #[inline]
    fn may_start(&self) -> bool {
        !self.assigns && self.in_flight_len() < self.in_flight_max && self.ids.next_id().is_some()
    }

    /// Whether a QoS 0 message that may go came before this one, which waits.
    #[inline]
    fn qos0_is_before(&self, place: Place) -> bool {
        let Some(first) = self.qos0.front() else {
            return false;
        };
        first.position <= self.stored && self.is_before(first.sequence, place)
    }

    #[inline(never)]
    fn is_before(&self, sequence: u32, place: Place) -> bool {
        let other = self.flows.get(place).map_or(0, |flow| flow.sequence);
        // Among those that wait together none is two billion behind another.
        other.wrapping_sub(sequence) < u32::MAX / 2
    }

    /// The PUBLISH that [`next`](Self::next) found.
    #[inline(always)]
    pub(crate) fn look(&self, turn: Turn) -> Option<Next<'_, M>> {
        match turn {
            Turn::AtMostOnce => self.look_at_qos0(),
            Turn::Counted(place) => self.look_at(place),
        }
    }

    /// The first at QoS 0.
    #[inline(always)]
    fn look_at_qos0(&self) -> Option<Next<'_, M>> {
        Some(Next {
            // [5:MQTT-4.3.1-1] [3:MQTT-4.3.1-1] QoS 0 has neither identifier nor DUP.
            delivery: Delivery::AtMostOnce,
            message: self.qos0.front()?.message.as_ref()?,
            was_sent: false,
        })
    }

    /// The same for one that is acknowledged.
    #[inline]
    pub(crate) fn look_at(&self, place: Place) -> Option<Next<'_, M>> {
        let flow = self.flows.get(place)?;
        let (id, dup) = match flow.id {
            // [5:MQTT-3.3.1-1] [3:MQTT-3.3.1-1] A PUBLISH that is sent again has DUP 1,
            // [5:MQTT-3.3.1-3] [3:MQTT-3.3.1-3] and nothing else has.
            Some(id) => (id, flow.sent_on != 0),
            // [5:MQTT-4.3.2-2] [5:MQTT-4.3.3-2] [3:MQTT-4.3.2-1] [3:MQTT-4.3.3-1] The first PUBLISH has DUP 0.
            None => (self.ids.next_id()?, false),
        };
        Some(Next {
            delivery: match flow.qos {
                QoS::AtMostOnce => return None,
                QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
                QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
            },
            message: flow.message.as_ref()?,
            was_sent: flow.sent_on != 0,
        })
    }

    /// The first at QoS 0 has been sent, or will never be: it is done with. `done` may take the message
    /// out; if not, it is dropped where it is.
    #[inline(always)]
    pub(crate) fn finish_qos0(&mut self, done: impl FnOnce(u64, &mut Option<M>)) {
        let size = self.qos0.pop_front(|first| {
            done(first.tag, &mut first.message);
            first.size.get()
        });
        let bytes = self.messages_bytes;
        self.messages_bytes = bytes.saturating_sub(size.unwrap_or_default());
    }

    /// One that is acknowledged has been sent. Answers whether it had been before.
    #[inline]
    pub(crate) fn sent(&mut self, place: Place) -> bool {
        let Some(flow) = self.flows.get_mut(place) else {
            return false;
        };
        let before = core::mem::replace(&mut flow.sent_on, self.connection);
        if flow.state == State::Published {
            self.unsent = flow.links.next;
            self.unsent_len = self.unsent_len.saturating_sub(1);
        } else if let Some(id) = self.ids.insert(place) {
            // [5:MQTT-4.3.2-3] [5:MQTT-4.3.3-3] It counts as unacknowledged from here on.
            flow.start(id);
            self.unsent = flow.links.next;
            self.waiting = flow.links.next;
            self.waiting_len = self.waiting_len.saturating_sub(1);
        }
        before != 0
    }

    /// Gives the first that waits its identifier, so that this can be stored before it is sent;
    /// `None` when no more than `quota` of those that have one may go.
    pub(crate) fn assign(&mut self, quota: u16) -> Option<(Place, u64, PacketId)> {
        if !self.may_assign(quota) {
            return None;
        }
        let place = self.waiting?;
        let id = self.ids.insert(place)?;
        let flow = self.flows.get_mut(place)?;
        flow.start(id);
        self.waiting = flow.links.next;
        self.waiting_len = self.waiting_len.saturating_sub(1);
        self.unsent_len = self.unsent_len.saturating_add(1);
        Some((place, flow.tag, id))
    }

    /// Whether [`assign`](Self::assign) would find something, and there is a journal at all.
    pub(crate) fn may_assign(&self, quota: u16) -> bool {
        self.assigns
            && self.waiting.is_some()
            && self.unsent_len < usize::from(quota)
            && self.in_flight_len() < self.in_flight_max
    }

    /// How far the journal has to be stored before more can be sent, if that is what it waits for.
    /// Without `quota` only QoS 0 can be sent.
    pub(crate) fn held_position(&self, quota: bool) -> Option<u64> {
        let counted = self.unsent.and_then(|place| self.flows.get(place));
        let counted = counted
            .filter(|flow| quota && !(self.assigns && flow.state == State::Waiting))
            .map(|flow| flow.position);
        let qos0 = self.qos0.front().map(|first| first.position);
        { counted.into_iter() }
            .chain(qos0)
            .filter(|position| *position > self.stored)
            .min()
    }

    /// What [`assign`](Self::assign) found is sent when this much of the journal is stored.
    pub(crate) fn hold(&mut self, place: Place, position: u64) {
        if let Some(flow) = self.flows.get_mut(place) {
            flow.position = position;
        }
    }

    /// So much of the journal is stored.
    pub(crate) fn note_stored(&mut self, position: u64) {
        self.stored = position;
    }

    /// What [`next`](Self::next) found will not be sent. `done` may take the message out; if not, it is
    /// dropped where it is. It answers how far the journal has to be stored before that is certain.
    // [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] What has its identifier in a store counts as sent for whoever goes on
    // with that: it would come again, behind what went out in its place.
    pub(crate) fn give_up(&mut self, turn: Turn, done: impl FnOnce(u64, &mut Option<M>) -> u64) {
        let mut position = 0;
        let done = |tag, message: &mut _| position = done(tag, message);
        match turn {
            Turn::AtMostOnce => return self.finish_qos0(done),
            Turn::Counted(place) => self.finish(place, done),
        }
        if self.assigns
            && let Some(next) = self.unsent.and_then(|place| self.flows.get_mut(place))
        {
            next.position = next.position.max(position);
        }
    }

    /// A flow is over, or will never be. `done` may take the message out; if not, it is dropped where
    /// it is.
    #[inline]
    fn finish(&mut self, place: Place, done: impl FnOnce(u64, &mut Option<M>)) {
        let Some(flow) = self.flows.get_mut(place) else {
            return;
        };
        done(flow.tag, &mut flow.message);
        let (id, size, state) = (flow.id, flow.size, flow.state);
        match state {
            State::Waiting | State::Published => {
                self.messages_bytes = self.messages_bytes.saturating_sub(size.get());
                self.pass(place);
                self.flows.remove_from(&mut self.publishes, place);
            }
            State::Released => self.flows.remove_from(&mut self.releases, place),
            State::Request(_) => self.flows.remove(place),
            State::Free => return,
        }
        if let Some(id) = id {
            self.ids.remove(id);
        }
    }

    /// The session ended: what was in flight is lost, PUBRELs first. Messages never sent stay.
    pub(crate) fn take_in_flight(&mut self) -> Vec<Lost<M>> {
        let mut lost = Vec::with_capacity(self.in_flight_len());
        while let Some(place) = self.releases.head().or_else(|| self.first_published()) {
            lost.push(self.take(place));
        }
        lost
    }

    /// Takes out what was never sent, in order.
    pub(crate) fn take_waiting(&mut self) -> Vec<Lost<M>> {
        core::iter::from_fn(|| self.drop_oldest()).collect()
    }

    /// Takes out the QoS 0 messages that wait.
    pub(crate) fn take_waiting_qos0(&mut self) -> Vec<Lost<M>> {
        core::iter::from_fn(|| self.drop_oldest_qos0()).collect()
    }

    /// Gives memory back that nothing is kept in.
    pub(crate) fn shrink(&mut self) {
        self.flows.shrink();
        if self.qos0.is_empty() {
            self.qos0 = Ring::new();
        }
    }

    /// Bytes of the table of identifiers when so many have been in flight.
    pub(crate) const fn ids_bytes(in_flight_len: usize) -> usize {
        PacketIds::<Place>::bytes(in_flight_len)
    }

    /// Bytes of the places that messages are or have been in.
    pub(crate) fn places_bytes(&self) -> usize {
        let qos0 = self.qos0.capacity().saturating_mul(Self::QOS0_SIZE);
        self.flows.bytes().saturating_add(qos0)
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

    /// Whether there are many places, and nothing in them.
    #[inline]
    pub(crate) fn is_oversized(&self) -> bool {
        let places = self.flows.places_len().max(self.qos0.capacity());
        places > PLACES_KEPT && self.waiting_len() == 0 && self.in_flight_len() == 0
    }

    /// Those with an identifier that wait for PUBACK or PUBREC.
    #[inline]
    const fn publishes_len(&self) -> usize {
        self.publishes.len().saturating_sub(self.waiting_len)
    }

    fn first_published(&self) -> Option<Place> {
        self.publishes.head().filter(|_| self.publishes_len() > 0)
    }

    /// QoS 1 and 2 messages sent and not fully acknowledged.
    pub(crate) const fn in_flight_len(&self) -> usize {
        self.publishes_len().saturating_add(self.releases.len())
    }

    /// Messages that were never sent.
    #[inline]
    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting_len.saturating_add(self.qos0.len())
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

    /// Identifiers in use, for tests and for [`Session::packet_ids_in_use`](super::Session::packet_ids_in_use).
    pub(crate) fn ids_len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of the messages in flight.
    pub(crate) fn in_flight_bytes(&self) -> usize {
        let flows = self.published();
        flows.fold(0, |bytes, flow| bytes.saturating_add(flow.size.get()))
    }

    fn take(&mut self, place: Place) -> Lost<M> {
        let mut lost = Lost {
            tag: 0,
            message: None,
        };
        self.finish(place, |tag, message| {
            lost = Lost {
                tag,
                message: message.take(),
            };
        });
        lost
    }

    /// Those with an identifier that wait for PUBACK or PUBREC, in the order first sent.
    fn published(&self) -> impl Iterator<Item = &Flow<M>> {
        let flows = self.flows.listed(&self.publishes);
        flows.take(self.publishes_len())
    }

    /// One of `publishes` leaves them: the places to go on from move past it.
    #[inline(always)]
    fn pass(&mut self, place: Place) {
        if self.unsent.is_some() {
            self.pass_slowly(place);
        }
    }

    #[inline(never)]
    fn pass_slowly(&mut self, place: Place) {
        let Some(flow) = self.flows.get(place) else {
            return;
        };
        let next = flow.links.next;
        if self.unsent == Some(place) {
            self.unsent = next;
        }
        if self.waiting == Some(place) {
            self.waiting = next;
        }
        if flow.id.is_none() {
            self.waiting_len = self.waiting_len.saturating_sub(1);
        } else if flow.sent_on != self.connection {
            self.unsent_len = self.unsent_len.saturating_sub(1);
        }
    }
}

impl<M> Flow<M> {
    /// What an acknowledgement ends, on the connection with this number.
    #[inline(always)]
    fn ended(&self, connection: u32) -> Ended {
        Ended {
            tag: self.tag,
            counted: self.sent_on == connection,
        }
    }
}
