//! A client that connects to one broker while another one has its session: the session moves.
//!
//! The new broker claims the client identifier from all others before it answers CONNECT. The
//! owner ends its connection of that client and offers the session: first the subscriptions. Once
//! the new broker has them it tells all brokers, behind its interests. Each of them then says
//! `Switched` to both, in its place among its messages: what came before is for the session at the
//! owner, what comes after for the one at the new broker. When the owner has heard all of them its
//! session is complete, and follows. Those that the new broker cannot hear are told by the owner.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use mqtt_codec::{ConnectReason, DisconnectReason};

use super::claims::{Claim, Waiter};
use super::memory::{NOTES_BYTES, NOTES_MIN};
use super::message::{BrokerId, ClaimNote, Holds, Note, Piece, Stamp};
use super::moving::Leaving;
use super::queue::Item;
use crate::broker::sessions::SessionKey;
use crate::broker::timers::Timer;
use crate::broker::{Broker, ConnectionId};
use crate::server::ConnectRequest;
use crate::weights::{MAP_ENTRY, TEXT_MAX};
use crate::{AuthenticationData, CloseCause, Timestamp};

impl Note {
    pub(super) const fn is_void_without_link(&self) -> bool {
        match self {
            Self::Claim { what, .. } => !matches!(what, ClaimNote::Switched),
            Self::Forward(_) | Self::Returned(_) => false,
        }
    }
}

impl Broker {
    /// Claims the client identifier of a CONNECT from other brokers. Answers the CONNECT where
    /// there is nothing to wait for.
    pub(in crate::broker) fn claim(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        request: ConnectRequest,
        data: Option<AuthenticationData>,
    ) -> Option<(ConnectRequest, Option<AuthenticationData>)> {
        let has_memory = self.has_bytes_for(1);
        let Some(joined) = &mut self.joined else {
            return Some((request, data));
        };
        // One that is to be assigned is nobody's.
        if request.client_id.is_empty() {
            return Some((request, data));
        }
        let client_id: Box<str> = request.client_id.as_str().into();
        let waiter = Waiter {
            connection,
            request,
            data,
        };
        let of_waiter = waiter.len_held();
        if let Some(claim) = joined.claims.of_client(&client_id) {
            // [5:MQTT-3.1.4-3] [3:MQTT-3.1.4-2] The later one of two CONNECTs is the client.
            let older = match claim.waiter {
                Some(_) => claim.waiter.replace(waiter),
                // There is a later claim.
                None => Some(waiter),
            };
            joined.claims.weigh(&client_id, of_waiter);
            self.weigh_joined();
            self.refuse_waiter(now, older);
            return None;
        }
        let held = self.sessions.find(&client_id);
        let is_here = held.is_some_and(|key| !joined.claims.leaving.contains_key(&key));
        let up = joined.others.iter().filter(|(_, other)| other.is_up());
        let due: BTreeSet<_> = up.map(|(id, _)| *id).collect();
        if is_here || due.is_empty() {
            return Some((waiter.request, waiter.data));
        }
        if !has_memory {
            self.refuse_waiter(now, Some(waiter));
            return None;
        }
        let stamp = joined.stamps.next(joined.config.id);
        let deadline = now + joined.config.claim_timeout;
        let clean_start = waiter.request.clean_start;
        joined.claims.insert(Claim {
            client_id: client_id.clone(),
            stamp,
            waiter: Some(waiter),
            due: due.clone(),
            deadline,
            owner: None,
            pieces: Vec::new(),
            session: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            is_complete: false,
            is_partial: false,
            counted: 0,
            next: None,
        });
        let of_broker = MAP_ENTRY.saturating_mul(due.len());
        let of_claim = { client_id.len().saturating_mul(2) }
            .saturating_add(of_waiter)
            .saturating_add(of_broker)
            .saturating_add(size_of::<Claim>())
            .saturating_add(2 * MAP_ENTRY);
        joined.claims.weigh(&client_id, of_claim);
        self.weigh_joined();
        self.timers.set(deadline, Timer::Claim(stamp.count));
        for other in due {
            self.say_claim(other, &client_id, stamp, ClaimNote::Claim { clean_start });
        }
        None
    }

    /// Says something about a claim to a broker that can hear it. Where messages for a session go from here on
    /// is said to others too, in its place among those.
    pub(super) fn say_claim(
        &mut self,
        to: BrokerId,
        client_id: &str,
        stamp: Stamp,
        what: ClaimNote,
    ) {
        let _is_heard = self.tell_claim(to, client_id, stamp, what);
    }

    /// The same. Answers whether the other broker will hear it.
    pub(super) fn tell_claim(
        &mut self,
        to: BrokerId,
        client_id: &str,
        stamp: Stamp,
        what: ClaimNote,
    ) -> bool {
        let has_memory = self.has_bytes_for(1);
        let is_place = matches!(what, ClaimNote::Switched);
        let joined = self.joined.as_mut();
        let notes_max = joined.as_ref().map_or(0, |it| it.config.forwards_len_max);
        if let Some(other) = joined.and_then(|it| it.others.get_mut(&to))
            && (other.is_open || is_place && other.queue.notes_len() < notes_max)
        {
            let has_room = match &what {
                ClaimNote::Piece(_) => true,
                // A session does not move, or is kept where nobody wants it, before this is said.
                ClaimNote::Switched | ClaimNote::Declined { .. } => {
                    other.queue.notes_bytes() < NOTES_BYTES
                }
                _ => false,
            };
            let client_id = client_id.into();
            let note = Note::Claim {
                client_id,
                stamp,
                what,
            };
            // Whoever does not listen gets no more answers than there is memory for.
            if has_memory || has_room || other.queue.notes_len() < NOTES_MIN {
                other.queue.push(Item::Note(Box::new(note)), true);
                self.weigh_joined();
                return true;
            }
        }
        false
    }

    /// The client behind a claim is told to come again.
    pub(super) fn refuse_waiter(&mut self, now: Timestamp, waiter: Option<Waiter>) {
        if let Some(waiter) = waiter {
            let cause = CloseCause::Refused(ConnectReason::ServerBusy);
            self.end_connection(now, waiter.connection, cause, None);
        }
    }

    /// Something that another broker says about a client identifier.
    pub(super) fn handle_claim_note(
        &mut self,
        now: Timestamp,
        from: BrokerId,
        client_id: &str,
        stamp: Stamp,
        what: ClaimNote,
    ) {
        if let Some(joined) = &mut self.joined {
            joined.stamps.note(stamp);
            let notes_max = { joined.config.forwards_len_max }
                .saturating_add(self.config.connections_max.saturating_mul(2));
            let other = joined.others.get(&from);
            let is_deaf = other.is_none_or(|other| other.queue.notes_len() > notes_max);
            if is_deaf || client_id.len() > TEXT_MAX {
                // It does not listen to answers, so it need not ask.
                return;
            }
        }
        match what {
            ClaimNote::Claim { clean_start } => {
                self.handle_claim(now, from, client_id, stamp, clean_start);
            }
            ClaimNote::Unclaimed => self.answered(now, from, client_id, stamp),
            ClaimNote::Superseded => {
                let claim = self.claim_of(client_id, stamp);
                let waiter = claim.and_then(|claim| claim.waiter.take());
                self.refuse_waiter(now, waiter);
                self.answered(now, from, client_id, stamp);
            }
            ClaimNote::Begun => {
                let (client_id, since) = (client_id.into(), stamp.count);
                self.handle_sessions(now, from, [Holds { client_id, since }].into());
            }
            ClaimNote::Piece(piece) => {
                let is_done = matches!(*piece, Piece::Done);
                if self.handle_piece(now, from, client_id, stamp, *piece) && is_done {
                    if let Some(claim) = self.claim_of(client_id, stamp) {
                        claim.is_complete = true;
                    }
                    self.answered(now, from, client_id, stamp);
                }
            }
            ClaimNote::Moving { owner, witnesses } => {
                self.handle_moving(from, client_id, stamp, owner, &witnesses);
            }
            ClaimNote::Switch { to } => {
                self.say_claim(from, client_id, stamp, ClaimNote::Switched);
                self.say_claim(to, client_id, stamp, ClaimNote::Switched);
            }
            ClaimNote::Told(told) => self.handle_told(from, client_id, stamp, &told),
            ClaimNote::Switched => self.handle_switched(from, client_id, stamp),
            ClaimNote::Declined { keeps } => {
                if let Some(key) = self.leaving_for(from, client_id, stamp) {
                    self.stop_leaving(now, key, keeps);
                }
            }
        }
    }

    /// More of a claim is here.
    pub(super) fn weigh_claim(&mut self, client_id: &str, bytes: usize) {
        self.with_joined(|joined| joined.claims.weigh(client_id, bytes));
    }

    pub(super) fn claim_of(&mut self, client_id: &str, stamp: Stamp) -> Option<&mut Claim> {
        self.joined.as_mut()?.claims.find(client_id, stamp)
    }

    /// A client has connected to another broker.
    fn handle_claim(
        &mut self,
        now: Timestamp,
        from: BrokerId,
        client_id: &str,
        stamp: Stamp,
        clean_start: bool,
    ) {
        let Some(joined) = &mut self.joined else {
            return;
        };
        if let Some(claim) = joined.claims.of_client(client_id) {
            if claim.stamp > stamp {
                return self.say_claim(from, client_id, stamp, ClaimNote::Superseded);
            }
            // The client is elsewhere by now. What this claim brings goes on to there.
            let passed_over = match claim.next {
                Some((_, later, _)) if later > stamp => Some((from, stamp, clean_start)),
                _ => claim.next.replace((from, stamp, clean_start)),
            };
            let waiter = claim.waiter.take();
            self.refuse_waiter(now, waiter);
            if let Some((to, stamp, _)) = passed_over {
                self.say_claim(to, client_id, stamp, ClaimNote::Superseded);
            }
            return;
        }
        let key = self.sessions.find(client_id);
        if let Some(leaving) = key.and_then(|key| self.leaving(key)) {
            // Who has claimed it before answers for it: to a later claim, as it cannot have answered
            // that one before it made its own. It may have answered an older one, which is void.
            let what = if leaving.stamp > stamp {
                ClaimNote::Superseded
            } else {
                ClaimNote::Unclaimed
            };
            return self.say_claim(from, client_id, stamp, what);
        }
        if key.is_some() && !self.has_bytes_for(1) {
            // A session is told before it goes; there is no memory to tell it.
            return self.say_claim(from, client_id, stamp, ClaimNote::Superseded);
        }
        if let Some(key) = self.take_over(now, client_id, clean_start) {
            return self.begin_leaving(key, from, stamp);
        }
        self.say_claim(from, client_id, stamp, ClaimNote::Unclaimed);
    }

    /// Ends what this broker has of a client that is elsewhere, as far as its session does not live on.
    fn take_over(
        &mut self,
        now: Timestamp,
        client_id: &str,
        clean_start: bool,
    ) -> Option<SessionKey> {
        let key = self.sessions.find(client_id)?;
        let entry = self.sessions.get(key)?;
        if let Some(older) = entry.connection {
            // [5:MQTT-3.1.4-3] [3:MQTT-3.1.4-2] The older connection of the same client ends.
            let cause = CloseCause::Disconnected(DisconnectReason::SessionTakenOver);
            self.end_connection(now, older, cause, None);
        }
        let entry = self.sessions.get(key)?;
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if clean_start || is_due(entry.expires_at.at()) {
            self.end_session(now, key);
            return None;
        }
        if is_due(entry.will_at.at()) {
            self.publish_will(now, key);
        }
        // [5:MQTT-3.1.3-9] The client is back before the delay of its will was over.
        self.cancel_timers(key);
        let entry = self.sessions.get_mut(key)?;
        (entry.will, entry.will_peer) = (None, None);
        self.record_session(key);
        Some(key)
    }

    fn leaving(&self, key: SessionKey) -> Option<&Leaving> {
        self.joined.as_ref()?.claims.leaving.get(&key)
    }

    /// One of those whose answers are waited for has nothing more to say.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        from: BrokerId,
        client_id: &str,
        stamp: Stamp,
    ) {
        let Some(claim) = self.claim_of(client_id, stamp) else {
            return;
        };
        claim.due.remove(&from);
        if claim.due.is_empty() {
            self.settle_claim(now, stamp.count);
        }
    }

    /// Some of a session has come: the rest of it is waited for as long as that was.
    pub(super) fn extend_claim(&mut self, now: Timestamp, client_id: &str, stamp: Stamp) {
        let Some(joined) = &mut self.joined else {
            return;
        };
        let deadline = now + joined.config.claim_timeout;
        if let Some(claim) = joined.claims.find(client_id, stamp) {
            let before = core::mem::replace(&mut claim.deadline, deadline);
            self.timers.cancel(before, Timer::Claim(stamp.count));
            self.timers.set(deadline, Timer::Claim(stamp.count));
        }
    }

    /// A claim has taken too long.
    pub(in crate::broker) fn claim_expired(&mut self, now: Timestamp, count: u64) {
        self.settle_claim(now, count);
    }

    /// Everybody has answered, or will not.
    fn settle_claim(&mut self, now: Timestamp, count: u64) {
        let claim = self.joined.as_mut().and_then(|it| it.claims.remove(count));
        self.weigh_joined();
        let Some(claim) = claim else { return };
        let Claim {
            client_id,
            stamp,
            waiter,
            deadline,
            owner,
            session,
            waiting,
            is_complete,
            next,
            ..
        } = claim;
        self.timers.cancel(deadline, Timer::Claim(count));
        // Some of it has come, and its owner may have gone on without being heard.
        let is_broken_off = !is_complete && owner.is_some();
        if !is_complete && let Some(owner) = owner {
            let what = ClaimNote::Declined { keeps: false };
            self.say_claim(owner, &client_id, stamp, what);
            if let Some(key) = session {
                self.remove_session(key, false);
            }
        }
        for delivery in waiting {
            match session {
                Some(key) if !is_complete => self.dispatch_again(key, delivery, false),
                // It has come behind the last of all.
                _ => self.store.release_delivery(Some(delivery)),
            }
        }
        // It may be on its way to another broker, and none of this one's.
        let held = self.sessions.find(&client_id);
        let is_leaving = held.is_some_and(|key| self.leaving(key).is_some());
        let waiter = if is_leaving {
            self.refuse_waiter(now, waiter);
            None
        } else {
            waiter
        };
        let waiter = waiter.filter(|waiter| {
            let connection = self.connections.get(waiter.connection);
            connection.is_some_and(|connection| connection.link.awaits_decision())
        });
        let waiter = waiter.filter(|waiter| {
            let outcome = self.refuse_while_draining(waiter.connection);
            let is_let_in = outcome.is_ok();
            if !is_let_in {
                self.conclude(now, waiter.connection, outcome);
            }
            is_let_in
        });
        match (waiter, session) {
            (Some(waiter), _) => {
                let Waiter {
                    connection,
                    request,
                    data,
                } = waiter;
                let outcome = self.answering_for_all(connection, |broker| {
                    broker.admit_claimed(now, connection, request, data, true)
                });
                // All brokers have heard of this moment, but of none since.
                if let Some(key) = self.sessions.find(&client_id)
                    && let Some(entry) = self.sessions.get_mut(key)
                {
                    entry.since = stamp.count;
                    self.record_session(key);
                    if is_broken_off {
                        self.say_begun(key);
                    }
                }
                self.conclude(now, connection, outcome);
            }
            (None, Some(key)) => {
                self.say_begun(key);
                self.let_rest(now, key);
            }
            (None, None) => {}
        }
        if let Some((from, stamp, clean_start)) = next {
            self.handle_claim(now, from, &client_id, stamp, clean_start);
        }
    }

    /// Another broker can be heard again. What it is told of this one's sessions has none in it that a
    /// claim brings about later, and what it tells of its own is heard before: so it is asked as those
    /// are that could be heard when the claim was made.
    pub(super) fn claims_with(&mut self, broker: BrokerId) {
        let Some(joined) = &mut self.joined else {
            return;
        };
        let mut asks = Vec::new();
        for claim in joined.claims.open.values_mut() {
            // One that was to hand a session over and could not be heard has stopped that.
            if let Some(waiter) = &claim.waiter
                && claim.owner != Some(broker)
                && claim.due.insert(broker)
            {
                let clean_start = waiter.request.clean_start;
                asks.push((claim.client_id.clone(), claim.stamp, clean_start));
            }
        }
        for (client_id, stamp, clean_start) in asks {
            self.weigh_claim(&client_id, MAP_ENTRY);
            self.say_claim(broker, &client_id, stamp, ClaimNote::Claim { clean_start });
        }
    }

    /// Another broker cannot be heard any more, or has forgotten everything: nobody waits for what it
    /// would have said.
    pub(super) fn claims_without(&mut self, now: Timestamp, gone: BrokerId) {
        let Some(joined) = &mut self.joined else {
            return;
        };
        if let Some(other) = joined.others.get_mut(&gone) {
            other.queue.forget_claims();
        }
        let claims = &mut joined.claims;
        let mut settled = Vec::new();
        for (count, claim) in &mut claims.open {
            claim.next = claim.next.filter(|(from, ..)| *from != gone);
            claim.due.remove(&gone);
            if claim.due.is_empty() {
                settled.push(*count);
            }
        }
        let mut stopped = Vec::new();
        for (key, leaving) in &claims.leaving {
            if leaving.to == gone {
                stopped.push(*key);
            }
        }
        for count in settled {
            self.settle_claim(now, count);
        }
        for key in stopped {
            self.stop_leaving(now, key, true);
        }
        self.switched_without(gone);
    }
}
