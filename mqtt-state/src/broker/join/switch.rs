//! From where on the messages of each broker are for a session at its new place, and who has said so.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::message::{BrokerId, ClaimNote, Stamp};
use super::moving::Arriving;
use crate::broker::Broker;

impl Broker {
    /// Some broker's subscribers have those of a session among them from here on.
    pub(super) fn handle_moving(
        &mut self,
        to: BrokerId,
        client_id: &str,
        stamp: Stamp,
        owner: BrokerId,
        witnesses: &[BrokerId],
    ) {
        let Some(joined) = &mut self.joined else {
            return;
        };
        let own = joined.config.id;
        if owner != own {
            self.say_claim(owner, client_id, stamp, ClaimNote::Switched);
            return self.say_claim(to, client_id, stamp, ClaimNote::Switched);
        }
        let taken = joined.taken;
        let key = self.leaving_for(to, client_id, stamp);
        let joined = self.joined.as_mut();
        let parts = joined.and_then(|it| Some((it.claims.leaving_mut(key?)?, &it.others)));
        let Some((leaving, others)) = parts else {
            return;
        };
        for origin in [own, to] {
            leaving.switched.entry(origin).or_insert(taken);
        }
        let up = { others.iter() }.filter(|(id, other)| other.is_up() && **id != to);
        let (mut due, mut told) = (BTreeSet::new(), Vec::new());
        for (id, _) in up {
            if !witnesses.contains(id) {
                // The new one cannot be heard there.
                told.push(*id);
            }
            if !leaving.switched.contains_key(id) {
                due.insert(*id);
            }
        }
        leaving.due = Some(due);
        for other in &told {
            self.say_claim(*other, client_id, stamp, ClaimNote::Switch { to });
        }
        self.say_claim(to, client_id, stamp, ClaimNote::Told(told));
        self.say_claim(to, client_id, stamp, ClaimNote::Switched);
        self.finish_moving();
    }

    /// The owner has told others itself: it waits for them too, and for nobody else.
    pub(super) fn handle_told(
        &mut self,
        from: BrokerId,
        client_id: &str,
        stamp: Stamp,
        told: &[BrokerId],
    ) {
        let key = self.sessions.find(client_id);
        let (Some(joined), Some(key)) = (&mut self.joined, key) else {
            return;
        };
        if let Some(arriving) = joined.claims.arriving_mut(key)
            && arriving.stamp == stamp
        {
            let Arriving {
                due,
                switched,
                witnesses,
                asked,
                ..
            } = arriving;
            *asked = asked.saturating_sub(1);
            if *asked == 0 {
                due.retain(|id| witnesses.contains(id) || told.contains(id));
            }
            let others = told.iter().filter(|id| !switched.contains_key(id));
            due.extend(others.filter(|id| joined.others.contains_key(id) && **id != from));
        }
    }

    /// What another broker says from here on is for the session at its new place.
    pub(super) fn handle_switched(&mut self, from: BrokerId, client_id: &str, stamp: Stamp) {
        let key = self.sessions.find(client_id);
        let (Some(joined), Some(key)) = (&mut self.joined, key) else {
            return;
        };
        let taken = joined.taken;
        let claims = &mut joined.claims;
        if let Some(arriving) = claims.arriving_mut(key)
            && arriving.stamp == stamp
            && arriving.due.remove(&from)
        {
            arriving.switched.insert(from, taken);
        }
        if let Some(leaving) = claims.leaving_mut(key)
            && leaving.stamp == stamp
        {
            leaving.switched.entry(from).or_insert(taken);
            if let Some(due) = &mut leaving.due {
                due.remove(&from);
            }
        }
        self.finish_moving();
    }

    /// The link to another broker has come up: it has not been asked about sessions that are on their way
    /// here, and has had none of its messages for them heard here.
    pub(super) fn ask_to_switch(&mut self, other: BrokerId) {
        let Some(joined) = &mut self.joined else {
            return;
        };
        let claims = &mut joined.claims;
        let mut told = Vec::new();
        for claim in { claims.open.values() }.filter(|claim| !claim.is_complete) {
            let key = claim.session;
            if let (Some(key), Some(owner)) = (key, claim.owner.filter(|owner| *owner != other))
                && let Some(arriving) = claims.arriving.get_mut(&key)
                && !arriving.switched.contains_key(&other)
            {
                // Until the owner says otherwise.
                arriving.due.insert(other);
                arriving.asked = arriving.asked.saturating_add(1);
                let witnesses = arriving.witnesses.iter().copied().collect();
                let what = ClaimNote::Moving { owner, witnesses };
                told.push((key, owner, claim.client_id.clone(), claim.stamp, what));
            }
        }
        for (key, owner, client_id, stamp, what) in told {
            for filter in self.filters_of(key, false) {
                let joined = self.joined.as_mut();
                if let Some(other) = joined.and_then(|it| it.others.get_mut(&other)) {
                    other.note_changed(&filter);
                }
            }
            self.say_claim(owner, &client_id, stamp, what.clone());
            self.say_claim(other, &client_id, stamp, what);
        }
    }

    /// A broker that nothing is heard of any more has switched.
    pub(super) fn switched_without(&mut self, gone: BrokerId) {
        let Some(joined) = &mut self.joined else {
            return;
        };
        let claims = &mut joined.claims;
        for (key, arriving) in &mut claims.arriving {
            arriving.due.remove(&gone);
            arriving.witnesses.remove(&gone);
            claims.unsettled.insert(*key);
        }
        // Owners do not wait for what they may not have been told.
        let mut told = Vec::new();
        for claim in claims.open.values() {
            let arriving = claim.session.and_then(|key| claims.arriving.get_mut(&key));
            if let (Some(owner), Some(arriving)) = (claim.owner, arriving) {
                arriving.asked = arriving.asked.saturating_add(1);
                let witnesses = arriving.witnesses.iter().copied().collect();
                let what = ClaimNote::Moving { owner, witnesses };
                told.push((owner, claim.client_id.clone(), claim.stamp, what));
            }
        }
        claims
            .arriving
            .retain(|_, arriving| !arriving.due.is_empty() || !arriving.is_complete);
        for (key, leaving) in &mut claims.leaving {
            if let Some(due) = &mut leaving.due {
                due.remove(&gone);
                claims.unsettled.insert(*key);
            }
        }
        self.weigh_joined();
        for (owner, client_id, stamp, what) in told {
            self.say_claim(owner, &client_id, stamp, what);
        }
        self.finish_moving();
    }
}
