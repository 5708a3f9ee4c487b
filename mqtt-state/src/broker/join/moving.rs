//! A session on its way from one broker to another, piece by piece.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use mqtt_codec::TopicFilter;

use super::message::{
    BrokerId, ClaimNote, FilterKey, MovedDelivery, MovedSubscription, Piece, Stamp,
};
use super::retained::expires_in;
use super::{Joined, Reach};
use crate::Timestamp;
use crate::broker::journal::StoredSubscription;
use crate::broker::sessions::{SessionEntry, SessionKey};
use crate::broker::store::Delivery;
use crate::broker::{Broker, Event, Owner};
use crate::counted::Arc;

/// A session that another broker has claimed.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) to: BrokerId,
    pub(super) stamp: Stamp,
    /// Whose messages it gets no more, behind this many that this broker has taken.
    pub(super) switched: BTreeMap<BrokerId, u64>,
    /// Who has still to say so; nothing before the other broker has said who that is.
    pub(super) due: Option<BTreeSet<BrokerId>>,
    /// Who has one of the same client that is later than this one, should it not go.
    pub(super) later: Option<BrokerId>,
}

/// A session that was another broker's.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) stamp: Stamp,
    /// Who was told that it is here.
    pub(super) witnesses: BTreeSet<BrokerId>,
    /// Whose messages it does not get yet.
    pub(super) due: BTreeSet<BrokerId>,
    /// From where on it gets those of the others.
    pub(super) switched: BTreeMap<BrokerId, u64>,
    /// How often the owner has been told who was, and has not answered.
    pub(super) asked: u32,
    /// All of it is here.
    pub(super) is_complete: bool,
}

impl Joined {
    /// Whether a message reaches the session of this client at another broker.
    #[inline]
    pub(in crate::broker) fn is_elsewhere(&self, key: SessionKey, reach: &Reach) -> bool {
        let claims = &self.claims;
        if claims.leaving.is_empty() && claims.arriving.is_empty() {
            return false;
        }
        let leaving = claims.leaving.get(&key);
        let has_gone = leaving
            .and_then(|leaving| leaving.switched.get(&reach.origin))
            .is_some_and(|behind| reach.number > *behind);
        let has_not_come = claims.arriving.get(&key).is_some_and(|arriving| {
            let behind = arriving.switched.get(&reach.origin);
            arriving.due.contains(&reach.origin)
                || behind.is_some_and(|behind| reach.number <= *behind)
        });
        has_gone || has_not_come
    }
}

impl Broker {
    /// Offers a session to the broker that has claimed it.
    pub(super) fn begin_leaving(&mut self, key: SessionKey, to: BrokerId, stamp: Stamp) {
        let Some(entry) = self.sessions.get(key) else {
            return;
        };
        let (client_id, expiry_secs) = (entry.client_id.clone(), entry.expiry_secs);
        let whose = entry.owner.as_deref().cloned();
        let mut pieces = Vec::new();
        self.subscriptions.for_each_of(key, |filter, value| {
            let filter = FilterKey::of(filter).map(|filter| match &self.joined {
                // Its text is there already.
                Some(joined) => joined
                    .local
                    .get_key_value(&filter)
                    .map_or(filter, |it| it.0.clone()),
                None => filter,
            });
            pieces.extend(filter.map(|filter| {
                let subscription = StoredSubscription::of(filter.is_shared, value);
                let text = filter.text;
                Piece::Subscription(MovedSubscription { text, subscription })
            }));
        });
        pieces.push(Piece::Subscribed { expiry_secs, whose });
        let leaving = Leaving {
            to,
            stamp,
            switched: BTreeMap::new(),
            due: None,
            later: None,
        };
        self.with_joined(|joined| {
            joined.claims.leaving.insert(key, leaving);
        });
        self.say_pieces(to, &client_id, stamp, pieces);
    }

    fn say_pieces(&mut self, to: BrokerId, client_id: &str, stamp: Stamp, pieces: Vec<Piece>) {
        for piece in pieces {
            let what = ClaimNote::Piece(Box::new(piece));
            self.say_claim(to, client_id, stamp, what);
        }
    }

    /// The session that goes to this broker for this claim.
    pub(super) fn leaving_for(
        &self,
        to: BrokerId,
        client_id: &str,
        stamp: Stamp,
    ) -> Option<SessionKey> {
        let key = self.sessions.find(client_id)?;
        let leaving = self.joined.as_ref()?.claims.leaving.get(&key)?;
        (leaving.stamp == stamp && leaving.to == to).then_some(key)
    }

    /// A session does not go after all: it stays, or is over.
    pub(super) fn stop_leaving(&mut self, now: Timestamp, key: SessionKey, keeps: bool) {
        let mut leaving = None;
        self.with_joined(|joined| leaving = joined.claims.leaving.remove(&key));
        let Some(Leaving { to, later, .. }) = leaving else {
            return;
        };
        match later {
            Some(broker) if keeps => self.give_up_session(key, broker),
            None if keeps => {
                self.say_begun(key);
                self.let_rest(now, key);
            }
            // Its client has begun anew there.
            _ => self.give_up_session(key, to),
        }
    }

    /// Takes a piece of a session that comes. `false` when it is not wanted.
    pub(super) fn handle_piece(
        &mut self,
        now: Timestamp,
        from: BrokerId,
        client_id: &str,
        stamp: Stamp,
        piece: Piece,
    ) -> bool {
        let maximum = self.config.subscriptions_per_session_max;
        let has_memory = self.has_bytes_for(1);
        let is_last_subscription = matches!(piece, Piece::Subscribed { .. });
        let Some(claim) = self.claim_of(client_id, stamp) else {
            if is_last_subscription {
                // Nobody waits for it any more: the client has begun anew.
                let what = ClaimNote::Declined { keeps: false };
                self.say_claim(from, client_id, stamp, what);
            }
            return false;
        };
        if *claim.owner.get_or_insert(from) != from {
            // Two brokers have one, after a time apart. The first answer counts.
            if is_last_subscription {
                let what = ClaimNote::Declined { keeps: false };
                self.say_claim(from, client_id, stamp, what);
                self.answered(now, from, client_id, stamp);
            }
            return false;
        }
        let session = claim.session;
        self.extend_claim(now, client_id, stamp);
        let Some(claim) = self.claim_of(client_id, stamp) else {
            return false;
        };
        match (piece, session) {
            (Piece::Subscription(subscription), None) => {
                if !has_memory {
                    claim.is_partial = true;
                } else if claim.pieces.len() < maximum {
                    let bytes = subscription.len_held();
                    claim.pieces.push(subscription);
                    self.weigh_claim(client_id, bytes);
                } else {
                    self.leave_out_subscription(client_id, &subscription);
                }
                true
            }
            (Piece::Subscribed { expiry_secs, whose }, None) => {
                self.begin_arriving(now, from, client_id, stamp, (expiry_secs, whose))
            }
            (Piece::Subscription(_) | Piece::Subscribed { .. }, Some(_)) | (_, None) => false,
            (piece, Some(key)) => {
                self.put_piece(now, key, client_id, stamp, piece);
                true
            }
        }
    }

    /// The subscriptions are here: from now on everybody else's messages come here too.
    fn begin_arriving(
        &mut self,
        now: Timestamp,
        owner: BrokerId,
        client_id: &str,
        stamp: Stamp,
        (expiry_secs, whose): (u32, Option<Owner>),
    ) -> bool {
        let is_whole = { self.claim_of(client_id, stamp) }.is_some_and(|claim| !claim.is_partial);
        let has_room = is_whole
            && self.has_bytes_for(1)
            && self.sessions.len() < self.config.sessions_max
            && self.sessions.find(client_id).is_none();
        let created = has_room.then(|| self.sessions.create(client_id)).flatten();
        let Some(key) = created else {
            // It stays where it is. Its client does not begin anew beside it.
            let waiter = self.claim_of(client_id, stamp).and_then(|claim| {
                claim.owner = None;
                claim.waiter.take()
            });
            self.refuse_waiter(now, waiter);
            let what = ClaimNote::Declined { keeps: true };
            self.say_claim(owner, client_id, stamp, what);
            self.answered(now, owner, client_id, stamp);
            return false;
        };
        if let Some(entry) = self.sessions.get_mut(key) {
            let in_flight_max = self.config.server.in_flight_len_max();
            entry.session.outbound.limit_in_flight(in_flight_max);
            let expiry_max_secs = self.config.server.session_expiry_max_secs;
            entry.expiry_secs = expiry_secs.min(expiry_max_secs.unwrap_or(u32::MAX));
            entry.owner = whose.map(Arc::new);
            entry.since = stamp.count;
        }
        self.sessions.weigh(key);
        self.begin_record(key);
        let claim = self.claim_of(client_id, stamp);
        let pieces = claim.map(|claim| {
            claim.session = Some(key);
            core::mem::take(&mut claim.pieces)
        });
        for subscription in pieces.unwrap_or_default() {
            self.put_subscription(key, client_id, subscription);
        }
        let Some(joined) = &mut self.joined else {
            return false;
        };
        let up = joined.others.iter().filter(|(_, other)| other.is_up());
        let mut witnesses: BTreeSet<_> = up.map(|(id, _)| *id).collect();
        let moving = |witnesses: &BTreeSet<BrokerId>| ClaimNote::Moving {
            owner,
            witnesses: witnesses.iter().copied().collect(),
        };
        let what = moving(&witnesses);
        // Whoever cannot be told, as there is no memory for that, will not say that it has switched: the owner, which
        // hears it last, tells those itself.
        witnesses.retain(|to| *to == owner || self.tell_claim(*to, client_id, stamp, what.clone()));
        self.say_claim(owner, client_id, stamp, moving(&witnesses));
        let arriving = Arriving {
            stamp,
            due: witnesses.clone(),
            switched: BTreeMap::new(),
            asked: 1,
            is_complete: false,
            witnesses,
        };
        self.with_joined(|joined| {
            joined.claims.arriving.insert(key, arriving);
        });
        true
    }

    /// Sessions that nothing more is to be waited for go. Called whenever something may have come
    /// that they wait for.
    pub(in crate::broker) fn finish_moving(&mut self) {
        let Some(joined) = &mut self.joined else {
            return;
        };
        let claims = &mut joined.claims;
        // However many move.
        if claims.unsettled.is_empty() {
            return;
        }
        // Messages that are still on their way to sessions here.
        let first = self.router.first_fan_out();
        let is_behind = |switched: &BTreeMap<BrokerId, u64>| {
            first.is_none_or(|first| switched.values().all(|behind| *behind < first))
        };
        let is_silent =
            |key| { self.sessions.get(key) }.is_none_or(|entry: &SessionEntry| entry.fan_outs == 0);
        let mut ready = Vec::new();
        for key in core::mem::take(&mut claims.unsettled) {
            if let Some(arriving) = claims.arriving.get(&key)
                && arriving.is_complete
                && arriving.due.is_empty()
            {
                if is_behind(&arriving.switched) {
                    claims.arriving.remove(&key);
                } else {
                    claims.unsettled.insert(key);
                }
            }
            if let Some(leaving) = claims.leaving.get(&key)
                && leaving.due.as_ref().is_some_and(BTreeSet::is_empty)
            {
                // Turns of later messages are remembered: the new place has members of the same shared subscriptions.
                if is_silent(key) && is_behind(&leaving.switched) {
                    ready.push(key);
                } else {
                    claims.unsettled.insert(key);
                }
            }
        }
        for key in ready {
            let may_go = self.may_go(key);
            let Some(joined) = &mut self.joined else {
                return;
            };
            if !may_go {
                joined.claims.unsettled.insert(key);
            } else if let Some(leaving) = joined.claims.leaving.remove(&key) {
                self.finish_leaving(key, &leaving);
            }
        }
        self.weigh_joined();
    }

    /// Whether there is memory for a session on its way; for one that is alone there is.
    fn may_go(&self, key: SessionKey) -> bool {
        let Some(joined) = &self.joined else {
            return false;
        };
        let leaving = joined.claims.leaving.get(&key);
        let other = leaving.and_then(|leaving| joined.others.get(&leaving.to));
        let is_alone = other.is_none_or(|other| other.queue.notes_len() == 0);
        let pieces = { self.sessions.get(key) }.map_or(0, |entry| {
            { entry.session.in_flight_len() }.saturating_add(entry.session.waiting_len())
        });
        is_alone || self.has_bytes_for(pieces.saturating_mul(super::memory::PIECE))
    }

    /// The session is complete, and goes.
    fn finish_leaving(&mut self, key: SessionKey, leaving: &Leaving) {
        let Some(entry) = self.sessions.get(key) else {
            return;
        };
        let now = self.clock.latest();
        let client_id = entry.client_id.clone();
        let moved = |delivery: &Delivery| {
            let joined = self.joined.as_ref()?;
            let message = self.store.message(&delivery.message)?.clone();
            let group = delivery.group.and_then(|group| joined.groups.name(group));
            Some(MovedDelivery {
                message,
                expires_in: expires_in(now, self.store.expires_at(&delivery.message)),
                qos: delivery.qos,
                retain: delivery.retain,
                is_replay: delivery.is_replay,
                group: group.cloned(),
                subscription_ids: delivery.subscription_ids.as_slice().to_vec(),
            })
        };
        let outbound = &entry.session.outbound;
        let mut pieces = Vec::new();
        pieces.extend({ outbound.releases() }.map(|release| Piece::Released { id: release.id }));
        pieces.extend({ outbound.publishes() }.filter_map(|(id, kept)| {
            let delivery = moved(kept.message)?;
            Some(Piece::Published { id, delivery })
        }));
        pieces.extend({ entry.session.inbound.unreleased() }.map(|id| Piece::Unreleased { id }));
        let waiting = outbound.waiting();
        pieces.extend({ waiting }.filter_map(|kept| Some(Piece::Waiting(moved(kept.message)?))));
        pieces.extend(entry.replays.iter().filter_map(|replay| {
            let filter = TopicFilter::from_bytes(&replay.filter).ok()?;
            Some(Piece::Replay {
                filter: filter.as_str().into(),
                qos: replay.qos,
                id: replay.subscription_id,
            })
        }));
        pieces.push(Piece::Done);
        // No will, and nobody else gets what it had.
        self.remove_session(key, true);
        self.say_pieces(leaving.to, &client_id, leaving.stamp, pieces);
        self.events.push(Event::SessionMoved {
            client_id,
            broker: leaving.to,
        });
    }

    /// A session is gone from here: nobody is waited for.
    pub(in crate::broker) fn forget_moving(&mut self, key: SessionKey) {
        self.with_joined(|joined| joined.claims.forget_moving(key));
    }
}
