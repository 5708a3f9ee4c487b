//! A broker, its clients, and the connections between them, with everything that looks at them.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::actor::Actor;
use super::coverage::Coverage;
use super::embed::Embedder;
use super::group::Group;
use super::line::Line;
use super::mesh::{self, Mesh};
use super::node::Node;
use super::oracle::Oracle;
use super::plan::Plan;
use super::sessions::Session;
use super::strangers::Strangers;
use super::watch::{Broken, Flights};
use super::wills::Wills;
use super::{Failure, Trace};
use crate::Timestamp;

pub(super) struct World<'e> {
    pub(super) embedder: &'e mut dyn Embedder,
    pub(super) plan: Plan,
    pub(super) now: Timestamp,
    /// One broker, or several that are joined.
    pub(super) nodes: Vec<Node>,
    /// The one that is looked at.
    pub(super) at: usize,
    pub(super) mesh: Mesh,
    /// Filters that a broker had no room for when another one told it of them.
    pub(super) refused: BTreeSet<String>,
    pub(super) actors: Vec<Actor>,
    pub(super) sessions: Vec<Session>,
    pub(super) wills: Wills,
    pub(super) oracle: Oracle,
    pub(super) group: Group,
    pub(super) lines: Vec<Line>,
    pub(super) next_line: u64,
    /// Identifiers of the broker, one space for each session.
    pub(super) flights: Vec<Flights>,
    /// Entries that were written, by whomever.
    pub(super) stored: usize,
    pub(super) strangers: Strangers,
    pub(super) coverage: Coverage,
    /// Faults have stopped.
    pub(super) is_ending: bool,
    pub(super) step: usize,
    pub(super) failure: Option<Failure>,
    pub(super) trace: Trace,
}

impl<'e> World<'e> {
    pub(super) fn new(plan: Plan, embedder: &'e mut dyn Embedder, trace: Trace) -> Self {
        let now = Timestamp::from_secs(1000);
        embedder.clear();
        let config = embedder.broker_config(plan.broker.clone());
        let mut actors = Vec::new();
        for (place, client) in plan.clients.iter().enumerate() {
            let mut client = client.clone();
            client.config = embedder.client_config(client.config);
            actors.push(Actor::new(format!("c{place}"), client, now));
        }
        let len = actors.len();
        let nodes = (0..plan.brokers).map(|place| match plan.brokers {
            1 => Node::new(config.clone(), now),
            _ => {
                let config = mesh::config(place, &config, plan.stores, plan.has_small_brokers);
                Node::new(config, now)
            }
        });
        let nodes: Vec<_> = nodes.collect();
        let mut world = Self {
            embedder,
            now,
            nodes,
            at: 0,
            mesh: Mesh::default(),
            refused: BTreeSet::new(),
            sessions: alloc::vec![Session::new(); len],
            flights: alloc::vec![Flights::default(); len],
            actors,
            wills: Wills::default(),
            oracle: Oracle::default(),
            group: Group::default(),
            lines: Vec::new(),
            next_line: 1,
            stored: 0,
            strangers: Strangers::new(plan.seed),
            coverage: Coverage::of_one_run(),
            is_ending: false,
            step: 0,
            failure: None,
            trace,
            plan,
        };
        world.oracle.is_joined = world.is_joined();
        world.join_all();
        world.begin_locals();
        world
    }

    pub(super) fn check(&mut self, result: Result<(), Broken>) {
        if let Err((rule, text)) = result {
            self.fail(rule, text);
        }
    }

    pub(super) fn fail(&mut self, rule: &'static str, text: String) {
        self.trace.note(|| format!("BROKEN {rule}: {text}"));
        let step = self.step;
        self.failure.get_or_insert(Failure { step, rule, text });
    }

    pub(super) fn line_of(&self, client: usize) -> Option<usize> {
        let number = self.actors[client].line?;
        self.lines.iter().position(|line| line.number == number)
    }

    /// Everything that is due is done.
    pub(super) fn fire(&mut self) {
        let at = self.at;
        for _ in 0..100_000 {
            let now = self.now;
            let mut fired = false;
            for at in 0..self.nodes.len() {
                self.at = at;
                let broker = &mut self.nodes[at].broker;
                if broker.poll_timeout().is_some_and(|due| due.at <= now) {
                    broker.handle_timeout(now);
                    self.drain_broker();
                    fired = true;
                }
            }
            for client in 0..self.actors.len() {
                let machine = &mut self.actors[client].client;
                if machine.poll_timeout().is_some_and(|due| due.at <= now) {
                    let before = machine.poll_timeout();
                    machine.handle_timeout(now);
                    fired |= machine.poll_timeout() != before;
                    self.drain_client(client);
                }
            }
            if !fired {
                self.check_questions();
                self.at = at;
                if !self.is_joined() && self.nodes[0].questions.is_empty() {
                    self.oracle.close_all();
                    self.settle_locals();
                } else if self.is_joined() && self.is_quiet() {
                    self.note_quiet();
                }
                return;
            }
        }
        self.at = at;
        let text = format!("{:?}", self.nodes[at].broker.poll_timeout());
        self.fail("deadlines come to an end", text);
    }

    /// The next deadline of anybody.
    pub(super) fn next_due(&self) -> impl Iterator<Item = Timestamp> {
        let clients = self.actors.iter().filter_map(|it| it.client.poll_timeout());
        let brokers = self.nodes.iter().filter_map(|it| it.broker.poll_timeout());
        clients.chain(brokers).map(|due| due.at)
    }

    /// After each step.
    pub(super) fn look(&mut self) {
        self.fire();
        self.sweep();
        self.check_failures();
        let result = self.wills.settle(self.now);
        self.check(result);
        for client in 0..self.actors.len() {
            if let Some(filter) = self.lacks(client) {
                let text = format!("c{client} has no {filter}: {:?}", self.sessions[client]);
                self.fail("a subscription that was granted stays", text);
            }
        }
    }

    /// A filter that a client is subscribed to for certain, and the broker knows nothing of.
    fn lacks(&self, client: usize) -> Option<String> {
        let session = &self.sessions[client];
        if session.roams || session.is_split {
            return None;
        }
        let mut sure = session.sure().peekable();
        sure.peek()?;
        let there = self.nodes[session.home]
            .broker
            .subscriptions(&self.actors[client].name);
        let is_there = |filter: &&str| there.iter().any(|(it, _)| it == filter);
        sure.find(|filter| !is_there(filter)).map(String::from)
    }
}
