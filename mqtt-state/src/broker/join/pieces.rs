//! The pieces of a session that comes from another broker, put where they belong.

use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{Message, PacketId, QoS, TopicFilter};
use mqtt_topic::Cursor;

use super::message::{FilterKey, MovedDelivery, MovedSubscription, Piece, Stamp};
use crate::Timestamp;
use crate::broker::backlog::queue_limits;
use crate::broker::sessions::{Replay, SessionKey};
use crate::broker::store::Delivery;
use crate::broker::{Broker, DropCause, Event, MovedPart};
use crate::session::{Inbound, Release};

impl Broker {
    /// There are as many subscriptions as may be, or it has too many levels.
    pub(super) fn leave_out_subscription(&mut self, client_id: &str, moved: &MovedSubscription) {
        self.events.push(Event::NotMoved {
            client_id: client_id.into(),
            what: MovedPart::Subscription(String::from(&*moved.text)),
        });
    }

    pub(super) fn put_subscription(
        &mut self,
        key: SessionKey,
        client_id: &str,
        moved: MovedSubscription,
    ) {
        let MovedSubscription { text, subscription } = moved.clone();
        let is_shared = subscription.is_shared;
        let named = FilterKey { is_shared, text };
        let Ok(filter) = TopicFilter::new(&named.text) else {
            return;
        };
        let since = self.router.number_subscription();
        let subscription = subscription.into_subscription(since);
        let recorded = subscription.clone();
        let shared = named.as_shared().filter(|_| is_shared);
        if is_shared && shared.is_none() {
            return;
        }
        let was_there = self.put_into_index(key, filter, shared, subscription);
        if was_there.is_err() {
            self.leave_out_subscription(client_id, &moved);
        }
        if was_there == Ok(false) {
            self.record_subscribed(key, filter, is_shared, &recorded);
            self.note_interest(key, filter, is_shared, true);
            // It is said before `Moving`, however far going through all of them is.
            for other in self.joined.iter_mut().flat_map(|it| it.others.values_mut()) {
                if other.is_up() {
                    other.note_changed(&named);
                }
            }
            self.weigh_joined();
        }
    }

    /// Puts what has come of a session where it belongs.
    pub(super) fn put_piece(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        client_id: &str,
        stamp: Stamp,
        piece: Piece,
    ) {
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        match piece {
            Piece::Subscription(_) | Piece::Subscribed { .. } => {}
            Piece::Unreleased { id } => self.take_unreleased(key, client_id, id),
            Piece::Released { id } => {
                // However many there are: the client may hold its identifier.
                if !entry.session.outbound.holds(id) {
                    self.take_release(key, client_id, id, false);
                }
            }
            Piece::Published { id, delivery } => {
                self.take_in_flight(now, key, client_id, id, delivery);
            }
            Piece::Waiting(delivery) => self.take_waiting(now, client_id, stamp, delivery),
            Piece::Replay { filter, qos, id } => {
                let is_it = |replay: &Replay| *replay.filter == *filter.as_bytes();
                let is_new = !entry.replays.iter().any(is_it);
                let held = TopicFilter::new(&filter).ok();
                let held = held.and_then(|filter| self.subscriptions.get(filter, key));
                // There are never more of them than subscriptions.
                if is_new && held.is_some() {
                    entry.replays.push_back(Replay {
                        filter: String::from(filter).into_bytes().into(),
                        qos,
                        subscription_id: id,
                        cursor: Cursor::default(),
                        of_first: self.store.taken(),
                    });
                    self.sessions.weigh(key);
                }
            }
            Piece::Done => self.complete_arriving(key, client_id, stamp),
        }
    }

    /// A QoS 2 message of a session that comes was received, and is not released.
    fn take_unreleased(&mut self, key: SessionKey, client_id: &str, id: PacketId) {
        let len_max = Inbound::len_max(self.config.received_max());
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let inbound = &mut entry.session.inbound;
        if inbound.len() >= len_max && !inbound.is_known(id) {
            self.events.push(Event::NotMoved {
                client_id: client_id.into(),
                what: MovedPart::PacketId(id),
            });
        } else if inbound.remember(id) {
            let kept_as = entry.kept_as();
            self.store.record_received(kept_as, id);
        }
    }

    /// A message of a session that comes was sent, and is not acknowledged.
    fn take_in_flight(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        client_id: &str,
        id: PacketId,
        moved: MovedDelivery,
    ) {
        let Some(entry) = self.sessions.get(key) else {
            return;
        };
        let qos = moved.qos;
        if entry.session.outbound.holds(id) || qos == QoS::AtMostOnce {
            return;
        }
        let has_room = entry.session.in_flight_len() < self.config.server.in_flight_len_max();
        let has_place = has_room && self.has_bytes_for_id(key, id);
        if self.takes_moved(client_id, &moved, has_place)
            && let Some((delivery, bytes)) = self.take_delivery(now, moved)
            && let Some(entry) = self.sessions.get_mut(key)
        {
            let kept_as = entry.kept_as();
            let (number, _) = self.store.record_delivery(kept_as, &delivery);
            self.store.record_published(kept_as, number, &delivery, id);
            let outbound = &mut entry.session.outbound;
            let _is_free = outbound.restore_publish(id, qos, delivery, number, bytes);
        } else if qos == QoS::ExactlyOnce {
            // It is lost, and the client may hold its identifier.
            self.take_release(key, client_id, id, true);
        }
        self.sessions.weigh(key);
    }

    /// A message of a session that comes waits, until all of the session is here.
    fn take_waiting(
        &mut self,
        now: Timestamp,
        client_id: &str,
        stamp: Stamp,
        moved: MovedDelivery,
    ) {
        let limits = queue_limits(&self.config);
        let bytes = moved.message.len_held();
        let has_room = self.claim_of(client_id, stamp).is_some_and(|claim| {
            claim.waiting.len() < limits.len_max
                && claim.waiting_bytes.saturating_add(bytes) <= limits.bytes_max
        });
        if moved.qos > QoS::AtMostOnce
            && self.takes_moved(client_id, &moved, has_room)
            && let Some((delivery, bytes)) = self.take_delivery(now, moved)
        {
            match self.claim_of(client_id, stamp) {
                Some(claim) => {
                    claim.waiting_bytes = claim.waiting_bytes.saturating_add(bytes);
                    claim.waiting.push(delivery);
                    self.weigh_claim(client_id, size_of::<Delivery>());
                }
                None => self.store.release_delivery(Some(delivery)),
            }
        }
    }

    /// PUBCOMP is missing for a message of a session that comes.
    fn take_release(&mut self, key: SessionKey, client_id: &str, id: PacketId, was_told: bool) {
        if !self.has_bytes_for_id(key, id) {
            self.events.push(Event::NotMoved {
                client_id: client_id.into(),
                what: MovedPart::PacketId(id),
            });
            return;
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        let tag = self.store.record_moved_release(entry.kept_as(), id);
        let release = Release { id, tag, was_told };
        let _is_free = entry.session.outbound.restore_release(release);
        self.sessions.weigh(key);
    }

    /// What has come waits before what has come here since.
    fn complete_arriving(&mut self, key: SessionKey, client_id: &str, stamp: Stamp) {
        let claim = self.claim_of(client_id, stamp);
        let moved = claim.map(|claim| core::mem::take(&mut claim.waiting));
        let arriving = { self.joined.as_mut() }.and_then(|it| it.claims.arriving_mut(key));
        if let Some(arriving) = arriving {
            arriving.is_complete = true;
        }
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        entry.session.outbound.restored();
        let kept_as = entry.kept_as();
        let since = entry.session.outbound.take_waiting();
        let since = since.into_iter().filter_map(|lost| {
            self.store.record_ended(kept_as, lost.tag);
            lost.message
        });
        let since: Vec<_> = since.collect();
        for delivery in moved.unwrap_or_default().into_iter().chain(since) {
            let bytes = self.store.message(&delivery.message);
            let bytes = bytes.map_or(0, Message::len_held);
            let (mut number, mut position) = (0, 0);
            if self.store.journal.is_on() {
                (number, position) = self.store.record_delivery(kept_as, &delivery);
            }
            let outbound = &mut entry.session.outbound;
            outbound.enqueue(delivery.qos, delivery, number, bytes, position);
        }
        self.sessions.weigh(key);
    }

    /// Whether there is room for a message of a session that comes. It is dropped like any other one above a
    /// limit, and that is told.
    fn takes_moved(&mut self, client_id: &str, moved: &MovedDelivery, has_room: bool) -> bool {
        let cause = match has_room {
            false => DropCause::QueueFull,
            true if self.has_room_for(moved.message.len_held(), 0) => return true,
            true => DropCause::BrokerFull,
        };
        self.events.push(Event::Dropped {
            client_id: client_id.into(),
            topic: String::from(moved.message.topic().as_str()),
            cause,
        });
        false
    }

    /// A message of a session that comes, in this broker's store.
    fn take_delivery(&mut self, now: Timestamp, moved: MovedDelivery) -> Option<(Delivery, usize)> {
        let MovedDelivery {
            message,
            expires_in,
            qos,
            retain,
            is_replay,
            group,
            subscription_ids,
        } = moved;
        let bytes = message.len_held();
        let at = super::expires_at(now, expires_in, &message);
        let joined = self.joined.as_ref()?;
        let group = group.and_then(|filter| joined.local.get(&filter)?.group);
        let delivery = Delivery {
            message: self.store.insert(message, at)?,
            retain,
            is_replay,
            qos,
            group,
            subscription_ids: subscription_ids.into_iter().collect(),
        };
        self.store.note_delivery(&delivery);
        Some((delivery, bytes))
    }
}
