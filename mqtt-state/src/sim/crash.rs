//! A broker's program ends without a warning, and another one goes on.

use alloc::format;
use alloc::vec::Vec;

use super::coverage::Fault;
use super::embed::Embedder;
use super::world::World;
use crate::broker::{Broker, BrokerId, Idle, Restore, StoreKey};

/// Steps after which one that has begun anew with the incarnation of before begins once more, unless others tell of it.
const TOO_LOW_STEPS: usize = 10;

impl World<'_> {
    /// The broker's program ends without a warning, and another goes on with what was stored.
    pub(super) fn crash_broker(&mut self) {
        let at = self.at;
        let has_store = self.nodes[at].config.journal;
        for place in 0..self.lines.len() {
            if self.lines[place].node == at {
                self.lines[place].broker_gone = true;
                self.client_loses(place);
            }
        }
        self.lines.retain(|line| line.node != at);
        if at == 0 {
            self.strangers.forget_lines();
        }
        self.nodes[self.at].ready.clear();
        self.nodes[self.at].behind.clear();
        self.nodes[self.at].questions.clear();
        let epochs = |world: &Self| -> Vec<_> {
            let sessions = world.sessions.iter();
            sessions.map(|session| session.epoch).collect()
        };
        let before = epochs(self);
        let failed = self.nodes[at].failure.take();
        let has_failed = failed.is_some();
        if let Some(failure) = failed {
            self.go_back(failure);
        }
        for session in self.sessions.iter_mut().filter(|it| it.home == at) {
            session.crash(has_store);
        }
        if epochs(self) != before {
            self.group.forget();
        }
        self.wills.crash(at, has_store);
        match self.is_joined() {
            true => self.crash_joined(),
            false => self.oracle.crash(),
        }
        for flights in &mut self.flights {
            flights.is_restored = true;
        }
        if !has_store {
            self.nodes[self.at].broker = Broker::new(self.nodes[self.at].config.clone());
            self.coverage.fault(Fault::CrashBrokerWithoutStore);
            self.renew_locals();
            return;
        }
        if !has_failed {
            self.coverage.fault(Fault::CrashBroker);
        }
        self.coverage.restores += 1;
        let idle = Idle {
            at: self.nodes[self.at].stored_at,
            elapsed: self.now.saturating_since(self.nodes[self.at].stored_at),
        };
        let mut restore = Restore::new(self.nodes[self.at].config.clone(), self.now, idle);
        let mut refused = None;
        let put = &mut |key: StoreKey, value| {
            let put = restore.put(key.clone(), value);
            if let Err(error) = put {
                refused.get_or_insert((key, error));
            }
        };
        match self.is_joined() {
            true => self.nodes[at].store.read(put),
            false => self.embedder.read(put),
        }
        self.nodes[self.at].broker = restore.finish();
        self.renew_locals();
        if let Some((key, error)) = refused {
            self.fail(
                "what was stored can be restored",
                format!("{key:?}: {error}"),
            );
        }
        self.find_older();
        self.drain_broker();
        self.part_all(at);
        self.fire();
    }

    /// What others have of it, or it of theirs, is on its way no more. What it had said and not heard to have come may
    /// be lost with it, and what it had heard and not stored comes once more.
    fn crash_joined(&mut self) {
        let at = self.at;
        self.coverage.restarts += 1;
        let joins = { self.nodes.iter() }.filter_map(|node| node.config.join.as_ref());
        let latest = joins.map(|join| join.incarnation).max().unwrap_or(0);
        let node = &mut self.nodes[at];
        let is_too_low =
            node.too_low.is_none() && (self.plan.seed / 16 + self.coverage.restarts) % 4 == 1;
        node.too_low = is_too_low.then_some(TOO_LOW_STEPS);
        if let Some(join) = &mut node.config.join
            && !is_too_low
        {
            // By more than a run counts, and behind the runs of the others, as they count together.
            join.incarnation = latest + 1_000_000;
        }
        self.lose_links();
        let lost = self.oracle.crash_at(at);
        for session in &mut self.sessions {
            session.note_unknown();
            if session.home != at {
                session.must.retain(|number| !lost.contains(number));
            }
        }
    }

    /// Whoever has seen that a broker has begun anew with an incarnation that is too low lets it begin once more.
    pub(super) fn begin_again(&mut self) {
        let at = self.at;
        for place in 0..self.nodes.len() {
            match &mut self.nodes[place].too_low {
                Some(0) => {
                    self.at = place;
                    self.crash_broker();
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
        self.at = at;
    }

    /// All have begun as they should.
    pub(super) fn end_too_low(&mut self) {
        for place in 0..self.nodes.len() {
            if self.nodes[place].too_low.is_some() {
                self.at = place;
                self.crash_broker();
            }
        }
    }

    /// Whether a broker counts once more what it has counted: nobody comes until it has begun as it should.
    pub(super) fn is_too_low(&self) -> bool {
        self.nodes.iter().any(|node| node.too_low.is_some())
    }

    /// A broker is told of another one.
    pub(super) fn told_too_low(&mut self, other: BrokerId) {
        self.coverage.too_low += 1;
        match self.nodes.get_mut(other.get() as usize) {
            Some(node) if node.too_low.is_some() => node.too_low = Some(0),
            _ => self.fail(
                "who begins anew as it should is joined",
                format!("{} is told of {other}", self.at),
            ),
        }
    }

    /// A session that had gone to another broker may be in the store.
    fn find_older(&mut self) {
        let broker = &self.nodes[self.at].broker;
        for (session, actor) in self.sessions.iter_mut().zip(&self.actors) {
            let is_elsewhere = session.home != self.at || session.roams;
            if self.plan.brokers > 1 && is_elsewhere && broker.session(&actor.name).is_some() {
                session.roams = true;
                session.split();
            }
        }
    }
}
