//! Bytes on their way out: answers first, then the PUBLISH packets that quota and room allow.

use alloc::vec::Vec;

use mqtt_codec::PlainAck;

use super::write::Refused;
use super::{Link, Phase, Settled, Store};
use crate::pieces::Output;
use crate::session::{Session, Turn};
use crate::{OutputWaits, Timestamp, Transmit};

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

    /// Bytes of the answers, if all of them may go, and before whatever else does.
    #[inline]
    pub(crate) fn answers_len(&self) -> Option<usize> {
        let len = self.outbox.len();
        (self.phase == Phase::Open && self.outbox.may_take_all()).then_some(len)
    }

    /// Appends the answers, which [may go](Self::answers_len). Answers how many they are.
    #[inline]
    pub(crate) fn take_answers(&mut self, buf: &mut Vec<u8>) -> u64 {
        let _all = self.outbox.take_all(usize::MAX, buf);
        self.outbox.take_pushed()
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
                    self.take_quota();
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

    /// A PUBLISH at QoS 1 or 2 is sent: one less may go.
    #[inline]
    pub(crate) fn take_quota(&mut self) {
        self.send.quota = self.send.quota.saturating_sub(1);
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
}
