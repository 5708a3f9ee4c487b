//! The sending half of a session: messages that wait, messages in flight, and their identifiers.

mod acknowledged;
mod extent;
mod flows;
mod lent;
mod ring;
mod sending;
mod stored;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use mqtt_codec::QoS;

use self::flows::{Flow, Flows, Links, List, Size, State};
use self::lent::Lent;
use self::ring::{Ring, Unnumbered};
use super::packet_id::PacketIds;

pub(crate) use self::acknowledged::{Ended, Mismatch, Received};
pub(crate) use self::extent::QueueLimits;
pub(crate) use self::flows::Place;
pub(crate) use self::sending::{Next, Turn};
pub(crate) use self::stored::Release;

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
    /// Waiting for PUBCOMP, in the order of the PUBRECs, or of when they were given up.
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
    /// Whether the only message is with whoever has the connection.
    lent: Lent,
    /// How far the journal is stored; `u64::MAX` when there is none.
    stored: u64,
    /// Whatever a connection lets go: no more than this is in flight over all of them.
    in_flight_max: usize,
}

/// A client's request that waits for its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Subscribe,
    Unsubscribe,
}

/// Something of a session that will not be completed.
#[derive(Debug)]
pub(crate) struct Lost<M> {
    pub(crate) tag: u64,
    /// Nothing when the receiver had acknowledged it with PUBREC, and only PUBCOMP was missing.
    pub(crate) message: Option<M>,
    /// It had been given up before: its owner has heard that.
    pub(crate) was_told: bool,
}

impl<M> Outbound<M> {
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
            lent: Lent::Nothing,
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

    /// Puts a message behind those that wait. `position` in the journal has to be stored before it
    /// is sent.
    #[inline(always)]
    // [5:MQTT-4.6.0-5] [5:MQTT-4.6.0-6] [3:MQTT-4.6.0-5] [3:MQTT-4.6.0-6] At the end: order is kept for all topics.
    pub(crate) fn enqueue(&mut self, qos: QoS, message: M, tag: u64, bytes: usize, position: u64) {
        debug_assert!(!self.is_lent(), "it goes before");
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.messages_bytes = self.messages_bytes.saturating_add(bytes);
        if qos == QoS::AtMostOnce {
            return self.qos0.push_back(Unnumbered {
                message: Some(message),
                tag,
                position,
                size: Size::new(bytes),
                sequence,
            });
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

    /// Takes out the message that has waited longest.
    pub(crate) fn drop_oldest(&mut self) -> Option<Lost<M>> {
        match (self.waiting, self.qos0.front()) {
            (Some(place), Some(other)) if self.is_before(other.sequence, place) => {}
            (Some(place), _) => return Some(self.take(place)),
            (None, _) => {}
        }
        self.drop_oldest_qos0()
    }

    /// The same, if it is one that is not worth waiting any more.
    pub(crate) fn drop_oldest_if(&mut self, is_over: impl FnOnce(&M) -> bool) -> Option<Lost<M>> {
        let oldest = self.waiting().next()?;
        is_over(oldest.message).then(|| self.drop_oldest())?
    }

    /// Takes out the QoS 0 message that has waited longest.
    pub(crate) fn drop_oldest_qos0(&mut self) -> Option<Lost<M>> {
        let mut lost = None;
        self.finish_qos0(|tag, message| {
            let message = message.take();
            lost = Some(Lost {
                tag,
                message,
                was_told: false,
            });
        });
        lost
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
            State::Released | State::Withdrawn => {
                self.flows.remove_from(&mut self.releases, place);
            }
            State::Request(_) => self.flows.remove(place),
            State::Free => return,
        }
        if let Some(id) = id {
            self.ids.remove(id);
        }
    }

    /// The session ended: what was in flight is lost, PUBRELs first. Messages never sent stay.
    pub(crate) fn take_in_flight(&mut self) -> Vec<Lost<M>> {
        debug_assert!(!self.is_lent(), "it is not there");
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

    fn first_published(&self) -> Option<Place> {
        self.publishes.head().filter(|_| self.publishes_len() > 0)
    }

    fn take(&mut self, place: Place) -> Lost<M> {
        let flow = self.flows.get(place);
        let was_told = flow.is_some_and(|flow| flow.state == State::Withdrawn);
        let mut lost = Lost {
            tag: 0,
            message: None,
            was_told,
        };
        self.finish(place, |tag, message| {
            lost = Lost {
                tag,
                message: message.take(),
                was_told,
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
