//! Who has which session, told after a link has come up: of two of one client the later one stays.

use alloc::vec::Vec;

use mqtt_codec::DisconnectReason;

use super::message::{Body, BrokerId, ClaimNote, Holds, Stamp};
use super::other::Sync;
use crate::broker::sessions::{SessionEntry, SessionKey};
use crate::broker::{Broker, Event};
use crate::{CloseCause, Timestamp};

/// Sessions in one message.
const BATCH: usize = 64;

impl Broker {
    /// The next sessions that another broker may have too, after the two were apart.
    pub(super) fn next_sessions(&mut self, id: BrokerId) -> Option<Body> {
        let joined = self.joined.as_mut()?;
        let other = joined.others.get_mut(&id)?;
        let from = match &other.sessions {
            Sync::Start => None,
            Sync::Behind(last) => Some(&**last),
            Sync::Done => return None,
        };
        let (mut sessions, mut last) = (Vec::new(), None);
        for (key, entry) in self.sessions.behind(from).take(BATCH) {
            last = Some(entry.client_id.clone());
            let claims = &joined.claims;
            if !claims.is_moving(key) {
                sessions.push(Holds {
                    client_id: entry.client_id.clone(),
                    since: entry.since,
                });
            }
        }
        other.sessions = last.map_or(Sync::Done, Sync::Behind);
        let is_done = other.sessions == Sync::Done;
        (!is_done).then_some(Body::Sessions(sessions))
    }

    /// Where two brokers have a session of the same client, the later one is the client's.
    pub(super) fn handle_sessions(&mut self, now: Timestamp, from: BrokerId, sessions: Vec<Holds>) {
        for Holds { client_id, since } in sessions {
            let held = self.sessions.find(&client_id);
            let (Some(key), Some(joined)) = (held, &mut self.joined) else {
                continue;
            };
            let theirs = Stamp {
                count: since,
                broker: from,
            };
            joined.stamps.note(theirs);
            let claims = &mut joined.claims;
            // What comes with a claim is later than what is said before the answer to it.
            let is_claimed = { claims.of_client(&client_id) }
                .is_some_and(|claim| claim.session == Some(key) && claim.due.contains(&from));
            let is_coming = is_claimed || claims.is_arriving(key);
            let entry = self.sessions.get(key).filter(|_| !is_coming);
            let is_older = |entry: &SessionEntry| {
                let ours = Stamp {
                    count: entry.since,
                    broker: joined.config.id,
                };
                ours < theirs
            };
            let Some(entry) = entry.filter(|entry| is_older(entry)) else {
                continue;
            };
            if let Some(leaving) = joined.claims.leaving.get_mut(&key) {
                // It goes all the same, and its new place hears of both. Should it stay, it is not the client's.
                leaving.later = Some(from);
                continue;
            }
            if let Some(older) = entry.connection {
                // [5:MQTT-3.1.4-3] [3:MQTT-3.1.4-2] The older connection of the same client ends.
                let cause = CloseCause::Disconnected(DisconnectReason::SessionTakenOver);
                self.end_connection(now, older, cause, None);
            }
            self.remove_session(key, false);
            let broker = from;
            self.events.push(Event::SessionMoved { client_id, broker });
        }
    }

    /// A session has begun anew in the place of one that was here, and no claim tells of it: others may have
    /// been told of the older one, and have one that is later than that. Or it began as the one that was to
    /// come did not, and whoever has that was told of this broker's sessions before. Or it stays here after all, or
    /// has come for a client that is elsewhere by now, and nobody was told of it while it moved.
    pub(in crate::broker) fn say_begun(&mut self, key: SessionKey) {
        let (Some(joined), Some(entry)) = (&self.joined, self.sessions.get(key)) else {
            return;
        };
        let stamp = Stamp {
            count: entry.since,
            broker: joined.config.id,
        };
        let client_id = entry.client_id.clone();
        // Whoever does not listen is told of no more than that.
        let notes_max = joined.config.forwards_len_max;
        let up = { joined.others.iter() }
            .filter(|(_, other)| other.is_up() && other.queue.notes_len() < notes_max);
        let told: Vec<_> = up.map(|(id, _)| *id).collect();
        for to in told {
            self.say_claim(to, &client_id, stamp, ClaimNote::Begun);
        }
    }

    /// Another broker has a later session of the same client.
    pub(super) fn give_up_session(&mut self, key: SessionKey, broker: BrokerId) {
        if let Some(client_id) = self.remove_session(key, false) {
            self.events.push(Event::SessionMoved { client_id, broker });
        }
    }
}
