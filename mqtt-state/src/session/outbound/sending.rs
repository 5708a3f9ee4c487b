//! What goes out next: whose turn it is, what it needs for that, and what becomes of it.

use mqtt_codec::{Delivery, PacketId, QoS};

use super::Outbound;
use super::flows::{Flow, Place, Size, State};

/// Which PUBLISH is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first at QoS 0.
    AtMostOnce,
    /// One that is acknowledged.
    Counted(Place),
}

/// The PUBLISH to send next.
#[derive(Debug)]
pub(crate) struct Next<'s, M> {
    pub(crate) delivery: Delivery,
    pub(crate) message: &'s M,
    /// Some connection has carried it, in this run of the program or before.
    pub(crate) was_sent: bool,
}

impl<M> Outbound<M> {
    /// A connection took the session up: everything in flight is due again, in order. Answers the
    /// identifiers for which PUBREL is due at once.
    // [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] Unacknowledged PUBLISH and PUBREL are sent again, with their identifiers.
    // [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] ... PUBLISH in the order first sent.
    // [5:MQTT-4.8.2-4] ... to the same receiver, whoever else could have been chosen.
    // [5:MQTT-4.6.0-4] [3:MQTT-4.6.0-4] ... PUBREL in the order of the PUBRECs.
    pub(crate) fn resume(&mut self) -> impl Iterator<Item = PacketId> {
        debug_assert!(!self.is_lent(), "it is not with the connection before");
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
    pub(super) fn may_start(&self) -> bool {
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
    pub(super) fn is_before(&self, sequence: u32, place: Place) -> bool {
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

    /// The first at QoS 0, with its tag. Whatever is left of it [`finish_qos0`](Self::finish_qos0) drops.
    #[inline(always)]
    pub(crate) fn first_qos0(&mut self) -> Option<(u64, &mut Option<M>)> {
        let first = self.qos0.front_mut()?;
        Some((first.tag, &mut first.message))
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
            && self.ids.next_id().is_some()
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
    /// dropped where it is. It is told which identifier the receiver may hold for it, and answers how far
    /// the journal has to be stored before all that is certain.
    ///
    /// Answers that identifier, for which PUBREL is due when so much of the journal is stored.
    // [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] What has its identifier in a store counts as sent for whoever goes on
    // with that: it would come again, behind what went out in its place.
    // [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-4] An identifier is in use until the receiver has let go of it, too: it
    // would take the next message with it for a repetition.
    pub(crate) fn give_up(
        &mut self,
        turn: Turn,
        done: impl FnOnce(u64, Option<PacketId>, &mut Option<M>) -> u64,
    ) -> Option<(PacketId, u64)> {
        let held = self.held_by_receiver(turn);
        let mut position = 0;
        let done = |tag, message: &mut _| position = done(tag, held, message);
        match turn {
            Turn::AtMostOnce => self.finish_qos0(done),
            Turn::Counted(place) if held.is_some() => self.let_go(place, State::Withdrawn, done),
            Turn::Counted(place) => self.finish(place, done),
        }
        if !self.assigns {
            return held.map(|id| (id, 0));
        }
        if turn != Turn::AtMostOnce
            && let Some(next) = self.unsent.and_then(|place| self.flows.get_mut(place))
        {
            next.position = next.position.max(position);
        }
        held.map(|id| (id, position))
    }

    /// The identifier that the receiver of a QoS 2 message remembers if it has got that. At QoS 1 it
    /// remembers none.
    fn held_by_receiver(&self, turn: Turn) -> Option<PacketId> {
        let Turn::Counted(place) = turn else {
            return None;
        };
        let flow = self.flows.get(place)?;
        let may_have_come = flow.qos == QoS::ExactlyOnce && flow.sent_on != 0;
        flow.id.filter(|_| may_have_come)
    }

    /// The content of a message goes, and its identifier stays in use until PUBCOMP. `done` may take the
    /// message out; if not, it is dropped where it is.
    #[inline]
    pub(super) fn let_go(
        &mut self,
        place: Place,
        state: State,
        done: impl FnOnce(u64, &mut Option<M>),
    ) {
        let Some(flow) = self.flows.get_mut(place) else {
            return;
        };
        flow.state = state;
        self.messages_bytes = self.messages_bytes.saturating_sub(flow.size.get());
        flow.size = Size::default();
        done(flow.tag, &mut flow.message);
        flow.message = None;
        self.pass(place);
        self.flows.unlink(&mut self.publishes, place);
        self.flows.push_back(&mut self.releases, place);
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
        let how = (self.ids.next_id(), qos);
        let flow = Flow::published(how, self.connection, message, tag, bytes);
        let place = self.flows.insert(flow);
        if let Some(place) = place {
            self.ids.insert(place);
            self.messages_bytes = self.messages_bytes.saturating_add(bytes);
            self.flows.push_back(&mut self.publishes, place);
        }
    }
}
