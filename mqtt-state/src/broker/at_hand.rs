//! The short way to a client for whom nothing else waits: a message that goes to it as it is stands with its
//! connection, not in its session; at QoS 0 until it is handed out, at QoS 1 until PUBACK has come.
//!
//! It goes before whatever comes behind it, and counts as one that waits. One at QoS 1 is lent by its session, and goes
//! back to it as soon as anything but that PUBACK comes, so that no rule is said twice.

use mqtt_codec::{Delivery as How, PacketId, PlainAck, QoS};

use super::connections::{Connection, Connections};
use super::outlet::Outlet;
use super::ready::Ready;
use super::routing::Copy;
use super::sessions::{SessionEntry, SessionKey, Sessions};
use super::store::{Delivery, Ids, MessageRef, MessageStore};
use super::{Broker, ConnectionId};
use crate::Traffic;
use crate::link::Written;
use crate::pieces::{Output, SHARED_MIN};

/// Small programs do without: nothing is ever at hand there.
pub(super) const IS_OPEN: bool = !cfg!(feature = "small");

/// Messages of more bytes take the long way: some are not copied there. So do all to a client that may not
/// take so many.
pub(super) const BYTES_MAX: usize = Written::LEN_MAX;
const _: () = assert!(BYTES_MAX <= SHARED_MIN, "none of them is shared");

/// The one message that is at hand for a connection.
#[derive(Debug)]
pub(super) struct AtHand {
    pub(super) message: MessageRef,
    pub(super) retain: bool,
    /// At QoS 1: its session has lent it.
    is_lent: bool,
    /// It was sent, and PUBACK has not come.
    sent_as: Option<PacketId>,
}

impl AtHand {
    /// Whether it is still to be sent.
    #[inline]
    pub(super) const fn waits(&self) -> bool {
        self.sent_as.is_none()
    }
}

impl Outlet<'_> {
    /// Whether a message that is published at this QoS may go on this way, to those who have nothing else and
    /// get it as it is.
    #[inline]
    pub(super) fn may_hand(&self, reference: &MessageRef, bytes: usize, qos: QoS) -> bool {
        let config = &self.config.server;
        let len_max = config.waiting_len_max.min(self.config.waiting_qos0_len_max);
        IS_OPEN
            && qos != QoS::ExactlyOnce
            && len_max > 0
            && bytes <= BYTES_MAX.min(config.messages_bytes_max)
            && !self.store.journal.is_on()
            && self.store.goes_as_it_is(reference)
    }

    /// Gives a message to one session: on this way if it may go so, or to wait there. `false` when it is dropped.
    #[inline]
    pub(super) fn keep(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        bytes: usize,
        copy: Copy,
    ) -> bool {
        let is_plain = copy.group.is_none() && copy.subscription_ids.is_none();
        if is_plain
            && self.may_hand(reference, bytes, copy.qos)
            && self.hand::<true>(key, reference, copy.qos, copy.retain)
        {
            self.note_handed(1);
            return true;
        }
        self.deliver(key, reference, bytes, copy)
    }

    /// Gives such a message to one session, without a subscription identifier, at QoS 0 or, where it may be
    /// `COUNTED`, at this one. Answers whether that could be: its reference has to be counted then.
    #[inline(always)]
    pub(super) fn hand<const COUNTED: bool>(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        qos: QoS,
        retain: bool,
    ) -> bool {
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        let Some(id) = entry.connection.filter(|_| entry.has_nothing()) else {
            return false;
        };
        let Some((connection, queue)) = self.connections.get_with_queue(id) else {
            return false;
        };
        if !connection.ready.rests() {
            return false;
        }
        let is_lent = COUNTED && qos != QoS::AtMostOnce;
        if is_lent {
            let outbound = &mut entry.session.outbound;
            if !outbound.may_lend() {
                return false;
            }
            // [5:MQTT-4.9.0-2] Nothing is in flight, so one may be.
            debug_assert!(connection.link.send_quota() > 0);
            outbound.lend();
        }
        debug_assert!(connection.at_hand.is_none(), "it rests");
        connection.at_hand = Some(AtHand {
            message: reference.uncounted(),
            retain,
            is_lent,
            sent_as: None,
        });
        queue.push_at_hand(id, &mut connection.ready);
        true
    }

    /// A session gets back what it has lent, if it has.
    #[cold]
    #[inline(never)]
    pub(super) fn take_back(&mut self, key: SessionKey) {
        let entry = self.sessions.get_mut(key);
        let Some(entry) = entry.filter(|entry| entry.session.outbound.is_lent()) else {
            return;
        };
        let connection = entry.connection.and_then(|id| self.connections.get_mut(id));
        let Some(connection) = connection else { return };
        let Some(at_hand) = connection.at_hand.take_if(|at_hand| at_hand.is_lent) else {
            return;
        };
        connection.ready.take_back();
        let bytes = self.store.len_held(&at_hand.message);
        let delivery = Delivery {
            message: at_hand.message,
            retain: at_hand.retain,
            is_replay: false,
            qos: QoS::AtLeastOnce,
            group: None,
            subscription_ids: Ids::None,
        };
        self.store.note_delivery(&delivery);
        let outbound = &mut entry.session.outbound;
        outbound.take_back(at_hand.sent_as, delivery, bytes);
    }
}

impl Connections {
    /// Messages at hand for a connection that its session knows nothing of.
    pub(super) fn past_session_len(&self, id: Option<ConnectionId>) -> usize {
        let connection = id.and_then(|id| self.get(id));
        connection.map_or(0, Connection::past_session_len)
    }
}

impl SessionEntry {
    /// Whether nothing of it waits or is in flight, and nothing is to be told when something does.
    #[inline]
    fn has_nothing(&self) -> bool {
        self.session.outbound.messages_bytes() == 0 && !self.is_full
    }
}

impl Connection {
    /// Whether a message is at hand that is still to be sent.
    #[inline]
    pub(super) fn has_at_hand(&self) -> bool {
        IS_OPEN && self.at_hand.as_ref().is_some_and(AtHand::waits)
    }

    /// Messages that its session knows nothing of.
    pub(super) fn past_session_len(&self) -> usize {
        { self.at_hand.as_ref() }.map_or(0, |at_hand| usize::from(!at_hand.is_lent))
    }

    /// Takes away what is at hand at QoS 0.
    pub(super) fn take_at_hand(&mut self) -> Option<MessageRef> {
        let at_hand = self.at_hand.take_if(|at_hand| !at_hand.is_lent)?;
        self.ready.take_back();
        Some(at_hand.message)
    }

    /// Whether what is at hand is lent by the session.
    #[inline]
    pub(super) fn has_lent(&self) -> bool {
        IS_OPEN && self.at_hand.as_ref().is_some_and(|at_hand| at_hand.is_lent)
    }

    /// A message that was sent at QoS 1, as nothing else waits, is lent by its session from here on. Answers whether
    /// that could be.
    #[inline]
    pub(super) fn lend_sent(
        &mut self,
        entry: &mut SessionEntry,
        how: How,
        message: &MessageRef,
    ) -> bool {
        let How::AtLeastOnce { .. } = how else {
            return false;
        };
        if !entry.has_nothing() || !entry.session.outbound.may_lend() {
            return false;
        }
        entry.session.outbound.lend();
        self.at_hand = Some(AtHand {
            message: message.uncounted(),
            retain: false,
            is_lent: true,
            sent_as: entry.session.outbound.number_lent(),
        });
        self.ready.await_ack();
        true
    }

    /// Writes what is at hand. Answers what the connection is then, if that was all.
    #[inline(always)]
    pub(super) fn write_at_hand<O: Output>(
        &mut self,
        sessions: &mut Sessions,
        store: &mut MessageStore,
        traffic: &mut Traffic,
        out: &mut O,
    ) -> Ready {
        let before = out.len();
        let mut rests = Ready::Rests;
        if let Some(at_hand) = &mut self.at_hand {
            let link = self.link.both_roles();
            if !at_hand.is_lent {
                store.hand_over(at_hand, How::AtMostOnce, link, out);
                self.at_hand = None;
            } else if let Some(entry) = self.session.and_then(|key| sessions.get_mut(key))
                && let Some(id) = entry.session.outbound.number_lent()
            {
                // [5:MQTT-4.3.2-2] [3:MQTT-4.3.2-1] The first PUBLISH has DUP 0.
                store.hand_over(at_hand, How::AtLeastOnce { id, dup: false }, link, out);
                link.take_quota();
                at_hand.sent_as = Some(id);
                rests = Ready::Awaits;
            }
        }
        traffic.note_publish_sent(out.len().wrapping_sub(before));
        rests
    }
}

impl Broker {
    /// Takes the PUBACK at the front of `input`, if it is for what is at hand; answers its size, or 0.
    #[inline(never)]
    pub(super) fn take_ack_at_hand(&mut self, id: ConnectionId, input: &[u8]) -> usize {
        if !IS_OPEN {
            return 0;
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return 0;
        };
        let sent = connection.at_hand.as_ref();
        let Some((message, packet_id)) =
            sent.and_then(|it| Some((it.message.uncounted(), it.sent_as?)))
        else {
            return 0;
        };
        let ack = PlainAck::PubAck(packet_id).to_bytes();
        if !input.starts_with(&ack) {
            return 0;
        }
        let key = connection.session;
        let Some(entry) = key.and_then(|key| self.sessions.get_mut(key)) else {
            return 0;
        };
        entry.session.outbound.finish_lent(packet_id);
        connection.link.both_roles().give_quota();
        connection.ready.acknowledge();
        connection.at_hand = None;
        self.store.release(message);
        self.traffic.note_received(ack.len());
        ack.len()
    }

    /// The session of a connection gets back what it has lent, if it has.
    #[inline]
    pub(super) fn take_back(&mut self, id: ConnectionId) {
        let connection = self.connections.get(id);
        if connection.is_some_and(Connection::has_lent)
            && let Some(key) = self.session_key(id)
        {
            self.outlet().take_back(key);
        }
    }

    /// What is at hand at QoS 0 goes to nobody.
    // [3:MQTT-3.1.2-5] Only QoS 1 and 2 wait for a client that is away.
    pub(super) fn drop_at_hand(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(id);
        if let Some(message) = connection.and_then(Connection::take_at_hand) {
            self.store.release(message);
        }
    }
}
