//! The sending half of a session: messages that wait, messages in flight, and their identifiers.

mod stored;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use mqtt_codec::{Delivery, PacketId, QoS};

use super::packet_id::{List, PacketIds};

/// What one side of a session still has to send or to see acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Outbound<M> {
    ids: PacketIds<Entry<M>>,
    /// Sent and waiting for PUBACK or PUBREC, in the order first sent.
    publishes: List,
    /// Waiting for PUBCOMP, in the order of the PUBRECs.
    releases: List,
    /// The first of `publishes` that has not been sent again on this connection.
    unsent: Option<PacketId>,
    /// QoS 1 and 2, never sent.
    waiting: VecDeque<Waiting<M>>,
    /// QoS 0. Apart from the others because no quota holds it back.
    waiting_qos0: VecDeque<Waiting<M>>,
    /// Restores the order between the two queues.
    next_sequence: u64,
    waiting_bytes: usize,
}

/// A message and what its owner wants to know about it later.
#[derive(Clone, Debug)]
pub(crate) struct Held<M> {
    pub(crate) message: M,
    /// The owner's name for this delivery; comes back with every outcome.
    pub(crate) tag: u64,
    /// Bytes this message counts for, in the limits of the queue.
    pub(crate) bytes: usize,
}

#[derive(Clone, Debug)]
struct Waiting<M> {
    sequence: u64,
    qos: QoS,
    held: Held<M>,
}

/// Who holds a packet identifier. Publishing, subscribing and unsubscribing share one space.
#[derive(Clone, Debug)]
enum Entry<M> {
    Publish {
        qos: QoS,
        held: Held<M>,
    },
    Release {
        tag: u64,
    },
    Request {
        kind: RequestKind,
        tag: u64,
        filters_len: usize,
    },
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
    pub(crate) len_max: usize,
    pub(crate) bytes_max: usize,
}

/// The PUBLISH to send next.
#[derive(Debug)]
pub(crate) struct Next<'s, M> {
    pub(crate) place: Place,
    pub(crate) delivery: Delivery,
    pub(crate) held: &'s Held<M>,
}

/// Where [`Next`] was found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Again(PacketId),
    Waiting,
    WaitingQos0,
}

/// An acknowledgement that does not fit the state of its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Nobody holds the identifier.
    Unknown,
    /// The identifier belongs to another kind of flow.
    OtherFlow,
}

/// What a PUBREC did.
#[derive(Debug)]
pub(crate) enum Received<M> {
    /// The receiver has it: PUBREL is due, the message is not needed any more.
    Now(Held<M>),
    /// A repeated PUBREC: PUBREL is due once more.
    Before,
    /// The receiver refused it: the flow is over.
    Refused(Held<M>),
}

/// Something of a session that will not be completed.
#[derive(Debug)]
pub(crate) enum Lost<M> {
    Message(Held<M>),
    /// The receiver had acknowledged it with PUBREC; only PUBCOMP was missing.
    Release {
        tag: u64,
    },
}

impl<M> Outbound<M> {
    pub(crate) fn new() -> Self {
        Self {
            ids: PacketIds::new(),
            publishes: List::default(),
            releases: List::default(),
            unsent: None,
            waiting: VecDeque::new(),
            waiting_qos0: VecDeque::new(),
            next_sequence: 0,
            waiting_bytes: 0,
        }
    }

    /// Puts a message behind those that wait; a full queue hands it back.
    pub(crate) fn enqueue(
        &mut self,
        qos: QoS,
        held: Held<M>,
        limits: QueueLimits,
    ) -> Result<(), Held<M>> {
        let bytes = self.waiting_bytes.saturating_add(held.bytes);
        if self.waiting_len() >= limits.len_max || bytes > limits.bytes_max {
            return Err(held);
        }
        self.waiting_bytes = bytes;
        let waiting = Waiting {
            sequence: self.next_sequence,
            qos,
            held,
        };
        self.next_sequence = self.next_sequence.wrapping_add(1);
        match qos {
            QoS::AtMostOnce => self.waiting_qos0.push_back(waiting),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.waiting.push_back(waiting),
        }
        Ok(())
    }

    /// Takes out the message that has waited longest.
    pub(crate) fn drop_oldest(&mut self) -> Option<Held<M>> {
        let sequence = |queue: &VecDeque<Waiting<M>>| queue.front().map(|first| first.sequence);
        let place = match (sequence(&self.waiting), sequence(&self.waiting_qos0)) {
            (Some(first), Some(other)) if other < first => Place::WaitingQos0,
            (Some(_), _) => Place::Waiting,
            (None, _) => Place::WaitingQos0,
        };
        self.discard(place)
    }

    /// A connection took the session up: everything in flight is due again, in order. Answers the
    /// identifiers for which PUBREL is due at once.
    // [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] Unacknowledged PUBLISH and PUBREL are sent again, with their identifiers.
    // [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] ... PUBLISH in the order first sent.
    // [5:MQTT-4.6.0-4] [3:MQTT-4.6.0-4] ... PUBREL in the order of the PUBRECs.
    pub(crate) fn resume(&mut self) -> impl Iterator<Item = PacketId> {
        self.unsent = self.publishes.head();
        let mut next = self.releases.head();
        core::iter::from_fn(move || {
            let id = next?;
            next = self.ids.next_in_list(id);
            Some(id)
        })
    }

    /// The PUBLISH to send next, if any may go. Without `quota` only QoS 0 may.
    pub(crate) fn next(&self, quota: bool) -> Option<Next<'_, M>> {
        if quota
            && let Some(id) = self.unsent
            && let Some(Entry::Publish { qos, held }) = self.ids.get(id)
        {
            // [5:MQTT-3.3.1-1] [3:MQTT-3.3.1-1] A PUBLISH that is sent again has DUP 1.
            return Some(Next {
                place: Place::Again(id),
                delivery: delivery(*qos, id, true),
                held,
            });
        }
        // Nothing new at QoS 1 or 2 goes before what has to be sent again.
        let waiting = if quota && self.unsent.is_none() {
            self.waiting.front()
        } else {
            None
        };
        let waiting = waiting.zip(self.ids.next_id());
        let waiting_qos0 = self.waiting_qos0.front();
        match (waiting, waiting_qos0) {
            (Some((first, id)), other)
                if other.is_none_or(|other| first.sequence < other.sequence) =>
            {
                // [5:MQTT-4.3.2-2] [5:MQTT-4.3.3-2] [3:MQTT-4.3.2-1] [3:MQTT-4.3.3-1] The first PUBLISH has DUP 0.
                Some(Next {
                    place: Place::Waiting,
                    delivery: delivery(first.qos, id, false),
                    held: &first.held,
                })
            }
            (_, Some(first)) => {
                // [5:MQTT-4.3.1-1] [3:MQTT-4.3.1-1] QoS 0 has neither identifier nor DUP.
                Some(Next {
                    place: Place::WaitingQos0,
                    delivery: Delivery::AtMostOnce,
                    held: &first.held,
                })
            }
            (_, None) => None,
        }
    }

    /// [`Next`] has been sent. A QoS 0 message is done with that and comes back.
    pub(crate) fn sent(&mut self, place: Place) -> Option<Held<M>> {
        match place {
            Place::Again(id) => {
                self.unsent = self.ids.next_in_list(id);
                None
            }
            Place::Waiting => {
                let Waiting { qos, held, .. } = self.waiting.pop_front()?;
                self.waiting_bytes = self.waiting_bytes.saturating_sub(held.bytes);
                // `next` answered only because an identifier was free.
                let id = self.ids.insert(Entry::Publish { qos, held })?;
                // [5:MQTT-4.3.2-3] [5:MQTT-4.3.3-3] It counts as unacknowledged from here on.
                self.ids.push_back(&mut self.publishes, id);
                None
            }
            Place::WaitingQos0 => self.pop_qos0(),
        }
    }

    /// [`Next`] will not be sent, now or ever; the message comes back.
    pub(crate) fn discard(&mut self, place: Place) -> Option<Held<M>> {
        match place {
            Place::Again(id) => self.take_publish(id),
            Place::Waiting => {
                let held = self.waiting.pop_front()?.held;
                self.waiting_bytes = self.waiting_bytes.saturating_sub(held.bytes);
                Some(held)
            }
            Place::WaitingQos0 => self.pop_qos0(),
        }
    }

    /// PUBACK has come.
    pub(crate) fn handle_puback(&mut self, id: PacketId) -> Result<Held<M>, Mismatch> {
        match self.ids.get(id) {
            Some(Entry::Publish {
                qos: QoS::AtLeastOnce,
                ..
            }) => self.take_publish(id).ok_or(Mismatch::Unknown),
            Some(_) => Err(Mismatch::OtherFlow),
            None => Err(Mismatch::Unknown),
        }
    }

    /// PUBREC has come; `refused` when its reason is 0x80 or above.
    pub(crate) fn handle_pubrec(
        &mut self,
        id: PacketId,
        refused: bool,
    ) -> Result<Received<M>, Mismatch> {
        match self.ids.get(id) {
            Some(Entry::Publish {
                qos: QoS::ExactlyOnce,
                ..
            }) => {}
            // A release is not undone by a late refusal: the receiver had taken the message.
            Some(Entry::Release { .. }) => return Ok(Received::Before),
            Some(_) => return Err(Mismatch::OtherFlow),
            None => return Err(Mismatch::Unknown),
        }
        if refused {
            return self
                .take_publish(id)
                .map(Received::Refused)
                .ok_or(Mismatch::Unknown);
        }
        self.unlink_publish(id);
        let Some(entry) = self.ids.get_mut(id) else {
            return Err(Mismatch::Unknown);
        };
        let tag = match entry {
            Entry::Publish { held, .. } => held.tag,
            Entry::Release { tag } | Entry::Request { tag, .. } => *tag,
        };
        // [5:MQTT-4.3.3-5] PUBREL counts as unacknowledged until PUBCOMP.
        // [5:MQTT-4.3.3-6] [3:MQTT-4.3.3-1] The message is gone from here, so PUBLISH cannot follow PUBREL.
        let before = core::mem::replace(entry, Entry::Release { tag });
        self.ids.push_back(&mut self.releases, id);
        match before {
            Entry::Publish { held, .. } => Ok(Received::Now(held)),
            Entry::Release { .. } | Entry::Request { .. } => Err(Mismatch::OtherFlow),
        }
    }

    /// PUBCOMP has come: the identifier is free. Answers the tag of the message.
    pub(crate) fn handle_pubcomp(&mut self, id: PacketId) -> Result<u64, Mismatch> {
        match self.ids.get(id) {
            Some(&Entry::Release { tag }) => {
                self.ids.unlink(&mut self.releases, id);
                self.ids.remove(id);
                Ok(tag)
            }
            Some(_) => Err(Mismatch::OtherFlow),
            None => Err(Mismatch::Unknown),
        }
    }

    /// Takes an identifier for a SUBSCRIBE or UNSUBSCRIBE; `None` when none is free.
    pub(crate) fn start_request(
        &mut self,
        kind: RequestKind,
        tag: u64,
        filters_len: usize,
    ) -> Option<PacketId> {
        self.ids.insert(Entry::Request {
            kind,
            tag,
            filters_len,
        })
    }

    /// SUBACK or UNSUBACK has come: the request's tag and how many filters it had.
    pub(crate) fn finish_request(
        &mut self,
        kind: RequestKind,
        id: PacketId,
    ) -> Result<(u64, usize), Mismatch> {
        match self.ids.get(id) {
            Some(&Entry::Request {
                kind: held,
                tag,
                filters_len,
            }) if held == kind => {
                self.ids.remove(id);
                Ok((tag, filters_len))
            }
            Some(_) => Err(Mismatch::OtherFlow),
            None => Err(Mismatch::Unknown),
        }
    }

    /// Requests end with their connection; answers their tags, oldest first.
    pub(crate) fn take_requests(&mut self) -> Vec<u64> {
        let mut open: Vec<_> = self
            .ids
            .iter()
            .filter_map(|(id, entry)| match entry {
                Entry::Request { tag, .. } => Some((*tag, id)),
                Entry::Publish { .. } | Entry::Release { .. } => None,
            })
            .collect();
        open.sort_unstable();
        open.into_iter()
            .map(|(tag, id)| {
                self.ids.remove(id);
                tag
            })
            .collect()
    }

    /// The session ended: what was in flight is lost. Messages never sent stay.
    pub(crate) fn take_in_flight(&mut self) -> Vec<Lost<M>> {
        let mut lost = Vec::with_capacity(self.in_flight_len());
        while let Some(id) = self.releases.head() {
            if let Ok(tag) = self.handle_pubcomp(id) {
                lost.push(Lost::Release { tag });
            }
        }
        while let Some(id) = self.publishes.head() {
            lost.extend(self.take_publish(id).map(Lost::Message));
        }
        lost
    }

    /// Takes out what was never sent, in order.
    pub(crate) fn take_waiting(&mut self) -> Vec<Held<M>> {
        let mut all: Vec<_> = self
            .waiting
            .drain(..)
            .chain(self.waiting_qos0.drain(..))
            .collect();
        all.sort_unstable_by_key(|waiting| waiting.sequence);
        self.waiting_bytes = 0;
        all.into_iter().map(|waiting| waiting.held).collect()
    }

    /// Takes out the QoS 0 messages that wait.
    pub(crate) fn take_waiting_qos0(&mut self) -> Vec<Held<M>> {
        let mut taken = Vec::with_capacity(self.waiting_qos0.len());
        while let Some(held) = self.pop_qos0() {
            taken.push(held);
        }
        taken
    }

    /// QoS 1 and 2 messages sent and not fully acknowledged.
    pub(crate) fn in_flight_len(&self) -> usize {
        self.publishes.len().saturating_add(self.releases.len())
    }

    /// Messages that were never sent.
    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting.len().saturating_add(self.waiting_qos0.len())
    }

    /// Messages at QoS 1 and 2 that were never sent: those that a quota can hold back.
    pub(crate) fn held_back_len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Identifiers in use, for tests and for [`Session::packet_ids_in_use`](super::Session::packet_ids_in_use).
    pub(crate) fn ids_len(&self) -> usize {
        self.ids.len()
    }

    fn pop_qos0(&mut self) -> Option<Held<M>> {
        let held = self.waiting_qos0.pop_front()?.held;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(held.bytes);
        Some(held)
    }

    fn take_publish(&mut self, id: PacketId) -> Option<Held<M>> {
        self.unlink_publish(id);
        match self.ids.remove(id)? {
            Entry::Publish { held, .. } => Some(held),
            Entry::Release { .. } | Entry::Request { .. } => None,
        }
    }

    /// Takes an entry out of the list of publishes; the place to go on from moves past it.
    fn unlink_publish(&mut self, id: PacketId) {
        if self.unsent == Some(id) {
            self.unsent = self.ids.next_in_list(id);
        }
        self.ids.unlink(&mut self.publishes, id);
    }
}

fn delivery(qos: QoS, id: PacketId, dup: bool) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QueueLimits = QueueLimits {
        len_max: 100,
        bytes_max: 1000,
    };

    fn held(tag: u64) -> Held<char> {
        Held {
            message: 'm',
            tag,
            bytes: 10,
        }
    }

    fn with(messages: &[(QoS, u64)]) -> Outbound<char> {
        let mut outbound = Outbound::new();
        for (qos, tag) in messages {
            outbound.enqueue(*qos, held(*tag), LIMITS).unwrap();
        }
        outbound
    }

    /// Sends all that may go; answers (tag, identifier or 0, DUP).
    fn send_all(outbound: &mut Outbound<char>, quota: &mut u16) -> Vec<(u64, u16, bool)> {
        let mut sent = Vec::new();
        while let Some(next) = outbound.next(*quota > 0) {
            sent.push((
                next.held.tag,
                next.delivery.id().map_or(0, PacketId::get),
                next.delivery.dup(),
            ));
            *quota = quota.saturating_sub(u16::from(next.delivery.id().is_some()));
            let place = next.place;
            outbound.sent(place);
        }
        sent
    }

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    #[test]
    fn sends_in_the_order_of_publishing_across_qos() {
        let mut outbound = with(&[
            (QoS::AtLeastOnce, 1),
            (QoS::AtMostOnce, 2),
            (QoS::ExactlyOnce, 3),
            (QoS::AtMostOnce, 4),
        ]);
        let sent = send_all(&mut outbound, &mut 10);
        assert_eq!(
            sent,
            [(1, 1, false), (2, 0, false), (3, 2, false), (4, 0, false)]
        );
        assert_eq!(
            (
                outbound.waiting_len(),
                outbound.waiting_bytes(),
                outbound.in_flight_len()
            ),
            (0, 0, 2)
        );
    }

    #[test]
    fn without_quota_only_qos_0_goes() {
        // [5:MQTT-4.9.0-2]
        let mut outbound = with(&[
            (QoS::AtLeastOnce, 1),
            (QoS::AtLeastOnce, 2),
            (QoS::AtMostOnce, 3),
        ]);
        assert_eq!(
            send_all(&mut outbound, &mut 1),
            [(1, 1, false), (3, 0, false)]
        );
        assert_eq!(send_all(&mut outbound, &mut 0), []);
        assert_eq!(send_all(&mut outbound, &mut 1), [(2, 2, false)]);
    }

    #[test]
    fn resumes_in_the_order_first_sent_with_dup_and_the_same_identifiers() {
        // [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] [5:MQTT-3.3.1-1]
        let mut outbound = with(&[
            (QoS::AtLeastOnce, 1),
            (QoS::ExactlyOnce, 2),
            (QoS::AtLeastOnce, 3),
            (QoS::AtLeastOnce, 4),
        ]);
        send_all(&mut outbound, &mut 3);
        outbound.handle_puback(id(1)).unwrap();
        assert_eq!(outbound.resume().count(), 0);
        assert_eq!(
            send_all(&mut outbound, &mut 1),
            [(2, 2, true)],
            "through the new, smaller quota"
        );
        assert_eq!(
            send_all(&mut outbound, &mut 5),
            [(3, 3, true), (4, 4, false)],
            "never sent means no DUP"
        );
    }

    #[test]
    fn an_acknowledgement_before_the_resend_skips_it() {
        let mut outbound = with(&[
            (QoS::AtLeastOnce, 1),
            (QoS::AtLeastOnce, 2),
            (QoS::AtLeastOnce, 3),
        ]);
        send_all(&mut outbound, &mut 3);
        assert_eq!(outbound.resume().count(), 0);
        outbound.handle_puback(id(1)).unwrap();
        outbound.handle_puback(id(3)).unwrap();
        assert_eq!(send_all(&mut outbound, &mut 3), [(2, 2, true)]);
    }

    #[test]
    fn pubrel_is_due_again_in_the_order_of_the_pubrecs() {
        // [5:MQTT-4.6.0-4] [3:MQTT-4.6.0-4] [5:MQTT-4.3.3-6]
        let mut outbound = with(&[
            (QoS::ExactlyOnce, 1),
            (QoS::ExactlyOnce, 2),
            (QoS::ExactlyOnce, 3),
        ]);
        send_all(&mut outbound, &mut 3);
        for value in [3, 1] {
            assert!(matches!(
                outbound.handle_pubrec(id(value), false),
                Ok(Received::Now(_))
            ));
        }
        assert_eq!(
            outbound.resume().map(PacketId::get).collect::<Vec<_>>(),
            [3, 1]
        );
        assert_eq!(
            send_all(&mut outbound, &mut 3),
            [(2, 2, true)],
            "no PUBLISH for the released ones"
        );
        assert_eq!(outbound.handle_pubcomp(id(3)), Ok(3));
        assert_eq!(outbound.in_flight_len(), 2);
    }

    #[test]
    fn a_repeated_pubrec_is_answered_again_and_a_refusal_ends_the_flow() {
        let mut outbound = with(&[(QoS::ExactlyOnce, 1), (QoS::ExactlyOnce, 2)]);
        send_all(&mut outbound, &mut 2);
        assert!(matches!(
            outbound.handle_pubrec(id(1), false),
            Ok(Received::Now(_))
        ));
        assert!(matches!(
            outbound.handle_pubrec(id(1), false),
            Ok(Received::Before)
        ));
        assert!(matches!(
            outbound.handle_pubrec(id(2), true),
            Ok(Received::Refused(_))
        ));
        assert_eq!(outbound.handle_pubcomp(id(2)), Err(Mismatch::Unknown));
        assert_eq!(outbound.ids_len(), 1);
    }

    #[test]
    fn an_acknowledgement_of_another_flow_is_told_apart_from_an_unknown_one() {
        let mut outbound = with(&[(QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 2)]);
        send_all(&mut outbound, &mut 2);
        let request = outbound
            .start_request(RequestKind::Subscribe, 9, 1)
            .unwrap();
        assert_eq!(
            outbound.handle_puback(id(2)).err(),
            Some(Mismatch::OtherFlow)
        );
        assert_eq!(
            outbound.handle_puback(request).err(),
            Some(Mismatch::OtherFlow)
        );
        assert_eq!(
            outbound.handle_pubrec(id(1), false).err(),
            Some(Mismatch::OtherFlow)
        );
        assert_eq!(outbound.handle_pubcomp(id(2)), Err(Mismatch::OtherFlow));
        assert_eq!(
            outbound.handle_puback(id(77)).err(),
            Some(Mismatch::Unknown)
        );
        assert_eq!(
            outbound.finish_request(RequestKind::Unsubscribe, request),
            Err(Mismatch::OtherFlow)
        );
        assert_eq!(
            outbound.finish_request(RequestKind::Subscribe, request),
            Ok((9, 1))
        );
    }

    #[test]
    fn a_full_queue_hands_the_message_back() {
        let mut outbound = Outbound::new();
        let limits = QueueLimits {
            len_max: 2,
            bytes_max: 25,
        };
        assert!(outbound.enqueue(QoS::AtLeastOnce, held(1), limits).is_ok());
        let large = Held {
            message: 'l',
            tag: 2,
            bytes: 16,
        };
        assert_eq!(
            outbound
                .enqueue(QoS::AtMostOnce, large, limits)
                .unwrap_err()
                .tag,
            2,
            "26 bytes"
        );
        assert!(outbound.enqueue(QoS::AtMostOnce, held(3), limits).is_ok());
        assert_eq!(
            outbound
                .enqueue(QoS::AtLeastOnce, held(4), limits)
                .unwrap_err()
                .tag,
            4,
            "3 messages"
        );
    }

    #[test]
    fn the_oldest_goes_first_whatever_its_qos() {
        let mut outbound = with(&[
            (QoS::AtMostOnce, 1),
            (QoS::AtLeastOnce, 2),
            (QoS::AtMostOnce, 3),
        ]);
        for tag in 1..=3 {
            assert_eq!(outbound.drop_oldest().map(|held| held.tag), Some(tag));
        }
        assert!(outbound.drop_oldest().is_none());
        assert_eq!((outbound.waiting_len(), outbound.waiting_bytes()), (0, 0));
    }

    #[test]
    fn a_lost_session_gives_back_everything_in_flight_and_keeps_what_waits() {
        let mut outbound = with(&[
            (QoS::AtLeastOnce, 1),
            (QoS::ExactlyOnce, 2),
            (QoS::AtLeastOnce, 3),
        ]);
        send_all(&mut outbound, &mut 2);
        outbound.handle_pubrec(id(2), false).unwrap();
        let lost: Vec<_> = outbound
            .take_in_flight()
            .into_iter()
            .map(|lost| match lost {
                Lost::Message(held) => (held.tag, true),
                Lost::Release { tag } => (tag, false),
            })
            .collect();
        assert_eq!(lost, [(2, false), (1, true)]);
        assert_eq!((outbound.ids_len(), outbound.waiting_len()), (0, 1));
    }
}
