//! When nothing goes wrong any more: everything comes to an end, and nothing is left.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::actor::Actor;
use super::random::Random;
use super::world::World;
use crate::broker::WhenFull;
use crate::client::State;

/// Rounds in which all of it has to be done.
const ROUNDS: usize = 20_000;

impl World<'_> {
    /// Faults stop. Everything that was accepted completes or is reported lost, and all queues are empty.
    pub(super) fn finish(&mut self) {
        self.trace.note(|| "faults stop".into());
        if self.plan.extras.lets_expire {
            // Nobody waits for what is not answered until then, and from here on all is.
            self.plan.extras.lets_expire = false;
            self.pass(self.plan.broker.decision_timeout);
        }
        self.end_dialogues();
        self.end_failures();
        self.end_too_low();
        self.heal_all();
        self.make_room();
        for node in &mut self.nodes {
            node.is_store_slow = false;
        }
        self.plan.lag = 0;
        self.plan.capacity = usize::MAX;
        for actor in &mut self.actors {
            actor.is_store_slow = false;
            actor.reads_slowly = false;
        }
        self.close_strangers();
        for line in &mut self.lines {
            line.up.not_before = self.now;
            line.down.not_before = self.now;
        }
        self.settle();
        if self.failure.is_some() {
            return;
        }
        // Half-open connections end by themselves, or by the client that comes back.
        for round in 0..100 {
            let all = self.actors.iter();
            let mut states = all.map(|actor| actor.client.state());
            if round > 1 && states.all(|state| state == State::Connected) {
                break;
            }
            for place in (0..self.lines.len()).rev() {
                let line = &self.lines[place];
                if line.client_gone || line.broker_gone {
                    self.client_loses(place);
                    self.broker_loses(place);
                }
            }
            self.sweep();
            let mut random = Random::new(self.plan.seed);
            for client in 0..self.actors.len() {
                self.connect(client, &mut random, false);
            }
            self.settle();
        }
        self.look();
        self.check_end();
        self.check_dialogues();
        self.check_mesh();
        self.rest();
    }

    /// All goes on until nothing does.
    fn settle(&mut self) {
        // What one side has stored in a round lets the other go on in the next.
        let mut idle = 0;
        for _ in 0..ROUNDS {
            let stored = self.stored;
            let mut some = self.round();
            some |= self.decide(usize::MAX);
            for at in 0..self.nodes.len() {
                self.at = at;
                let all = self.behind_len();
                some |= self.store(all);
            }
            for client in 0..self.actors.len() {
                let all = self.actors[client].behind_len();
                some |= self.actors[client].store(all) > 0;
                let random = &mut Random::new(self.plan.seed);
                some |= self.acknowledge(client, random, usize::MAX);
            }
            some |= self.stored > stored;
            idle = if some { 0 } else { idle + 1 };
            if self.failure.is_some() || idle > 2 {
                return;
            }
        }
        self.fail(
            "all comes to an end",
            format!("{ROUNDS} rounds were not enough"),
        );
    }

    fn check_end(&mut self) {
        for client in 0..self.actors.len() {
            let (oracle, now) = (&self.oracle, self.now);
            let must = &mut self.sessions[client].must;
            must.retain(|number| !oracle.has_expired(*number, now));
            let result = self.actors[client].check_store(self.now);
            self.check(result);
            let actor = &self.actors[client];
            let machine = &actor.client;
            // In a session that is not the one it takes it for, some of it is waited for in vain.
            let session = &self.sessions[client];
            let unacknowledged = match session.is_mixed || session.is_split {
                true => 0,
                false => machine.unacknowledged_len(),
            };
            let text = format!(
                "c{client} {:?}: {}; {} open, must get {:?}",
                machine.state(),
                machine.explain(),
                actor.open_len(),
                self.sessions[client].must,
            );
            if machine.state() != State::Connected && self.may_be_turned_away(client) {
                continue;
            } else if machine.state() != State::Connected && self.puts_out() {
                // What it sends itself fills its queue each time that it comes, and it is put out.
                return;
            } else if machine.state() != State::Connected {
                self.fail("everybody is connected in the end", text);
            } else if actor.open_len() > 0 || machine.waiting_len() + machine.in_flight_len() > 0 {
                self.fail("everything taken has an outcome", text);
            } else if actor.inbox.open_len() > 0 || unacknowledged > 0 {
                self.fail("everything is acknowledged in the end", text);
            } else if !self.sessions[client].must.is_empty() {
                self.fail("nothing acknowledged is lost", text);
            }
        }
        let result = self.group.check_end(self.now, &self.oracle);
        self.check(result);
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            let (retained, messages) = (node.broker.stats().retained, node.broker.stats().messages);
            if messages != retained {
                let sessions: Vec<_> = node.broker.sessions().collect();
                let lines = self.lines.iter().filter(|line| line.node == at);
                let waits: Vec<_> = lines.map(|line| node.broker.explain(line.id)).collect();
                let text = format!(
                    "{messages} messages, {retained} of them retained: {sessions:?} {waits:?}, ready {:?}",
                    node.ready
                );
                self.fail("nothing is kept for nobody", text);
            }
        }
    }

    /// Whether the broker ends connections of clients with very few messages that wait.
    fn puts_out(&self) -> bool {
        let config = &self.nodes[0].config;
        config.when_full == WhenFull::Disconnect && config.server.waiting_len_max <= 5
    }

    /// Whoever does nothing stays connected.
    fn rest(&mut self) {
        let is_out = |actor: &Actor| actor.client.state() != State::Connected;
        if self.failure.is_some() || self.actors.iter().any(is_out) {
            return;
        }
        let end = self.now + Duration::from_secs(300);
        for _ in 0..1_000 {
            let due = self.next_due().min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            self.now = self.now.max(due);
            self.fire();
            self.settle();
        }
        for client in 0..self.actors.len() {
            let state = self.actors[client].client.state();
            if state != State::Connected {
                let text = format!("c{client} is {state:?}");
                self.fail("who does nothing stays connected", text);
            }
        }
    }
}
