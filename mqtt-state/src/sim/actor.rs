//! One client, its application and its store.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use mqtt_codec::PacketId;

use super::inbox::Inbox;
use super::plan::ClientPlan;
use super::said::Said;
use super::watch::{Broken, Flights};
use crate::Timestamp;
use crate::client::{Client, Config, Event, LostCause, PublishToken, State};
use crate::session::{JournalEntry, Record, SessionSnapshot};

/// What became of a message that was taken by `publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    Told,
    /// A crash: it has never been taken, as far as anybody knows.
    Undone,
}

/// What has been stored of a client.
#[derive(Debug)]
struct Store {
    snapshot: SessionSnapshot,
    behind: VecDeque<JournalEntry>,
}

#[derive(Debug)]
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) plan: ClientPlan,
    pub(super) client: Client,
    /// The connection that the client knows of.
    pub(super) line: Option<u64>,
    pub(super) inbox: Inbox,
    /// Numbers of the messages that came last with these identifiers.
    pub(super) got: BTreeMap<PacketId, u32>,
    /// What the application has said of messages.
    pub(super) said: Said,
    /// Identifiers of the client.
    pub(super) flights: Flights,
    /// The broker must not find a session that this client does not know.
    pub(super) is_fresh: bool,
    /// Which of its sessions in the broker it knows of.
    epoch: u32,
    /// The one that it knows of when it is made from its store.
    stored_epoch: u32,
    /// Where its journal says that an older one is over.
    epochs: VecDeque<(u64, u32)>,
    store: Option<Store>,
    tokens: BTreeMap<PublishToken, (u32, Outcome)>,
    /// The store writes nothing by itself.
    pub(super) is_store_slow: bool,
    pub(super) reads_slowly: bool,
    /// It has to be ready to lose what is in flight.
    pub(super) may_lose: bool,
    /// The session is as long as the connection.
    pub(super) ends_with_connection: bool,
}

impl Actor {
    pub(super) fn new(name: String, plan: ClientPlan, now: Timestamp) -> Self {
        let client = Client::new(plan.config.clone());
        let mut actor = Self {
            name,
            client,
            line: None,
            inbox: Inbox::default(),
            got: BTreeMap::new(),
            said: Said::default(),
            flights: Flights::default(),
            is_fresh: true,
            epoch: 0,
            stored_epoch: 0,
            epochs: VecDeque::new(),
            store: None,
            tokens: BTreeMap::new(),
            is_store_slow: false,
            reads_slowly: false,
            may_lose: false,
            ends_with_connection: false,
            plan,
        };
        actor.begin_store(now);
        actor
    }

    /// A connection is over for the client.
    pub(super) fn end_line(&mut self, line: u64) {
        self.flights.end_line(line);
        if self.line == Some(line) {
            self.line = None;
            if self.ends_with_connection {
                self.flights.forget_all();
            }
        }
    }

    /// Which of its sessions in the broker it takes the one there for.
    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The broker has said that it has none of the older ones.
    pub(super) fn begin_epoch(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.inbox.end_session();
    }

    fn config(&self) -> Config {
        self.plan.config.clone()
    }

    fn begin_store(&mut self, now: Timestamp) {
        self.store = self.plan.config.journal.then(|| Store {
            snapshot: self.client.snapshot(now),
            behind: VecDeque::new(),
        });
    }

    pub(super) fn has_store(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn note_token(&mut self, token: PublishToken, number: u32) -> Result<(), Broken> {
        match self.tokens.insert(token, (number, Outcome::Open)) {
            // What was not stored has never been named.
            None | Some((_, Outcome::Undone)) => Ok(()),
            Some(before) => Err(("a token twice", format!("{token:?} was {before:?}"))),
        }
    }

    /// What became of a message. [5:MQTT-4.3.3-1] [3:MQTT-4.3.3-1]
    pub(super) fn note_outcome(&mut self, event: &Event) -> Result<(), Broken> {
        let token = match event {
            Event::Published { token, .. } => token,
            Event::PublishLost { token, cause, .. } => {
                let has_ended = self.ends_with_connection
                    && matches!(self.client.state(), State::Disconnected | State::Ending);
                if *cause == LostCause::SessionLost && !self.may_lose && !has_ended {
                    return Err((
                        "nothing is lost while the session lives",
                        format!("{event:?}"),
                    ));
                }
                token
            }
            _ => return Ok(()),
        };
        match self.tokens.get_mut(token) {
            Some((_, outcome @ Outcome::Open)) => {
                *outcome = Outcome::Told;
                Ok(())
            }
            other => Err((
                "one outcome for each message",
                format!("{event:?} of {other:?}"),
            )),
        }
    }

    /// The number of the message that this names.
    pub(super) fn number_of(&self, token: PublishToken) -> Option<u32> {
        self.tokens.get(&token).map(|(number, _)| *number)
    }

    /// Whether nothing has been said of a message.
    pub(super) fn is_open(&self, number: u32) -> bool {
        let mut tokens = self.tokens.values();
        tokens.any(|(of, outcome)| *of == number && *outcome == Outcome::Open)
    }

    /// Messages without an outcome.
    pub(super) fn open_len(&self) -> usize {
        let open = self.tokens.values();
        open.filter(|(_, outcome)| *outcome == Outcome::Open)
            .count()
    }

    /// Takes what the client has to say to its store. The QoS 2 messages that the application has got
    /// before are stored with what comes of them.
    pub(super) fn follow(&mut self) {
        let Some(store) = &mut self.store else { return };
        while let Some(entry) = self.client.poll_journal() {
            match entry.record {
                Record::Received { .. } => self.inbox.bind(entry.position()),
                Record::Lost => self.epochs.push_back((entry.position(), self.epoch)),
                _ => {}
            }
            store.behind.push_back(entry);
        }
        self.inbox.keep_unbound();
    }

    /// Entries that are not stored.
    pub(super) fn behind_len(&self) -> usize {
        self.store.as_ref().map_or(0, |store| store.behind.len())
    }

    pub(super) fn store(&mut self, len: usize) -> usize {
        let Some(store) = &mut self.store else {
            return 0;
        };
        let len = len.min(store.behind.len());
        for entry in store.behind.drain(..len) {
            let position = entry.position();
            store.snapshot.apply(entry);
            self.client.handle_stored(position);
            self.inbox.keep(position);
            while let Some((_, epoch)) = self.epochs.front().filter(|(at, _)| *at <= position) {
                self.stored_epoch = *epoch;
                self.epochs.pop_front();
            }
        }
        len
    }

    /// What is in the store is what the client says, once the store has all of it.
    pub(super) fn check_store(&self, now: Timestamp) -> Result<(), Broken> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let mut followed = store.snapshot.clone();
        for entry in store.behind.iter().cloned() {
            followed.apply(entry);
        }
        let mut snapshot = self.client.snapshot(now);
        // The time of the last entry is not the time of the snapshot.
        snapshot.at = followed.at;
        match followed == snapshot {
            true => Ok(()),
            false => Err((
                "the journal of a client says all",
                format!("{followed:?} is not {snapshot:?}"),
            )),
        }
    }

    /// The program ends, and another one goes on.
    pub(super) fn restart(
        &mut self,
        now: Timestamp,
        session: &mut super::sessions::Session,
    ) -> Result<usize, Broken> {
        // What the application has not acknowledged comes again.
        let snapshot = self.client.snapshot(now);
        for id in &snapshot.unreleased {
            if let Some(number) = self.got.get(id) {
                self.inbox.keep_known(*number);
            }
        }
        let again = self.inbox.crash(session);
        self.said.crash();
        // With a journal QoS 0 messages are nowhere.
        self.go_on_with(now, snapshot)?;
        Ok(again)
    }

    /// The program ends without a warning.
    pub(super) fn crash(
        &mut self,
        now: Timestamp,
        session: &mut super::sessions::Session,
    ) -> Result<usize, Broken> {
        self.said.crash();
        let Some(store) = self.store.take() else {
            self.client = Client::new(self.config());
            self.is_fresh = true;
            self.flights.forget_all();
            for (_, outcome) in self.tokens.values_mut() {
                if *outcome == Outcome::Open {
                    *outcome = Outcome::Undone;
                }
            }
            // Names begin anew.
            self.tokens.clear();
            self.inbox.end_session();
            return Ok(0);
        };
        let again = self.inbox.crash(session);
        // That a session is lost may have been noted nowhere: it takes the next one for it.
        self.epoch = self.stored_epoch;
        self.epochs.clear();
        // What was named since is not known to the store, and named again.
        let next = store.snapshot.next_token;
        self.tokens.retain(|token, _| token.0 < next);
        self.go_on_with(now, store.snapshot)?;
        Ok(again)
    }

    fn go_on_with(&mut self, now: Timestamp, snapshot: SessionSnapshot) -> Result<(), Broken> {
        let elapsed = now.saturating_since(snapshot.at);
        let is_known = snapshot.is_known;
        let restored = Client::restore(now, elapsed.max(Duration::ZERO), self.config(), snapshot);
        self.client =
            restored.map_err(|error| ("what was stored can be restored", format!("{error:?}")))?;
        self.flights.is_restored = true;
        if !is_known {
            self.is_fresh = true;
        }
        let open: alloc::collections::BTreeSet<_> = self
            .client
            .open_publishes()
            .map(|(token, _)| token)
            .collect();
        for (token, (_, outcome)) in &mut self.tokens {
            *outcome = match (open.contains(token), *outcome) {
                (true, _) => Outcome::Open,
                (false, Outcome::Open) => Outcome::Undone,
                (false, told) => told,
            };
        }
        self.begin_store(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::{Connect, ProtocolVersion, Str};

    use super::*;
    use crate::sim::sessions::Session;

    #[test]
    fn a_crash_before_it_is_stored_that_a_session_is_lost_leaves_the_older_one() {
        let now = Timestamp::from_secs(1);
        for is_stored in [false, true] {
            let plan = ClientPlan {
                config: Config {
                    journal: true,
                    ..Config::default()
                },
                ..ClientPlan::default()
            };
            let mut actor = Actor::new("c0".into(), plan, now);
            let connect = Connect::new(ProtocolVersion::V5_0, Str::new("c0").unwrap());
            actor.client.connect(now, &connect).unwrap();
            let _close = actor.client.poll_transmit(now, 1000, &mut alloc::vec![]);
            // CONNACK, without a session.
            let connack = [0x20, 3, 0, 0, 0];
            assert_eq!(actor.client.handle_input(now, &connack).bytes, 5);
            actor.begin_epoch(1);
            actor.follow();
            let all = actor.behind_len();
            actor.store(if is_stored { all } else { 0 });
            actor.crash(now, &mut Session::new()).unwrap();
            assert_eq!(actor.epoch(), u32::from(is_stored));
        }
    }
}
