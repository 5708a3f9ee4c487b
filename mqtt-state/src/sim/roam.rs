//! Clients that go from one of several brokers to another, and their sessions that follow.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::coverage::Stage;
use super::random::Random;
use super::world::World;
use crate::broker::MovedPart;

impl World<'_> {
    /// Where a client connects: mostly where it was.
    pub(super) fn choose_node(&self, client: usize, random: &mut Random) -> usize {
        let home = self.sessions[client].home;
        match self.is_joined() && random.chance(40) {
            true => random.below(self.nodes.len()),
            false => home,
        }
    }

    /// A client begins a connection.
    pub(super) fn begin_at(&mut self, client: usize, node: usize) {
        let is_whole = self.is_whole();
        let session = &mut self.sessions[client];
        if node == session.home && !session.roams {
            return;
        }
        session.roams = true;
        if !is_whole {
            session.split();
        }
        self.wills.doubt(client, None);
        self.group.forget();
        self.oracle.forget_turns();
    }

    /// A connection ends before it is accepted: who knows where the session is.
    pub(super) fn lose_connecting(&mut self, place: usize) {
        let line = &self.lines[place];
        let session = &mut self.sessions[line.client];
        if line.stage == Stage::Connecting && session.roams {
            session.split();
            session.has_stray = true;
        }
    }

    /// Whether another broker may take a client's session for a connection that began before this
    /// moment: whatever has come to be at this one since has no part in that.
    pub(super) fn may_be_claimed(&self, client: usize) -> bool {
        let mut lines = self.lines.iter();
        let is_begun = lines.any(|line| {
            line.client == client && line.node != self.at && line.stage == Stage::Connecting
        });
        is_begun || self.sessions[client].has_stray
    }

    /// Whether a group is known to have a member wherever one publishes.
    pub(super) fn is_sure(&self) -> bool {
        let mut refused = self.refused.iter();
        let is_known = !refused.any(|filter| is_of_group(filter));
        !self.is_joined() || is_known && self.is_quiet()
    }

    /// A broker has no room for what somebody at another one wants: it is not known to all, and will not be.
    pub(super) fn refuse_interest(&mut self, filter: String) {
        if is_of_group(&filter) {
            self.group.forget();
            self.oracle.forget_turns();
        }
        for session in &mut self.sessions {
            session.note_refused(&filter);
        }
        self.refused.insert(filter);
    }

    /// There is no room for something of a session where that has come to.
    pub(super) fn leave_behind(&mut self, client_id: &str, what: &MovedPart) {
        self.coverage.not_moved += 1;
        let MovedPart::Subscription(filter) = what else {
            return self.fail("there is room for all identifiers", format!("{what:?}"));
        };
        let Some(client) = self.client_named(client_id) else {
            return;
        };
        let session = &mut self.sessions[client];
        self.oracle.unsubscribe(client, filter, session);
        session.unsubscribe(filter);
        if is_of_group(filter) {
            self.group.forget();
            self.oracle.forget_turns();
        }
    }

    /// The broker that is looked at has a client's session from here on.
    pub(super) fn settle_at(&mut self, client: usize, present: bool, was_whole: bool) {
        let (at, is_joined) = (self.at, self.is_joined());
        let session = &mut self.sessions[client];
        if is_joined && at != session.home && present && !session.is_split {
            self.coverage.moves += 1;
            // One that has its identifier and waits for the store to be sent goes along as one that was sent.
            self.flights[client].is_restored |= self.plan.stores;
        }
        session.has_moved |= at != session.home || session.is_split;
        session.home = at;
        if session.is_split {
            self.flights[client].forget_all();
            self.flights[client].is_restored = true;
            session.is_split = present || !was_whole || session.has_stray;
        }
        if !present && !session.is_split {
            session.forget_older();
        }
    }

    /// Nothing is on its way between brokers: each session is in one place, and all know what its client
    /// wants.
    pub(super) fn note_quiet(&mut self) {
        self.oracle.close_all();
        self.settle_locals();
        for client in 0..self.actors.len() {
            self.sessions[client].note_known(&self.refused);
            self.sessions[client].has_stray = false;
            let of_client = |line: &&super::line::Line| line.client == client;
            let mut lines = self.lines.iter().filter(of_client);
            if lines.any(|line| line.stage == Stage::Connecting) {
                continue;
            }
            let name = &self.actors[client].name;
            let holds = |at: &usize| self.nodes[*at].broker.session(name).is_some();
            let holders: Vec<_> = (0..self.nodes.len()).filter(holds).collect();
            if holders.len() > 1 {
                let text = format!("{name} at {holders:?}");
                self.fail("a client has one session, whichever broker it is at", text);
                return;
            }
            let now = self.now;
            let session = &mut self.sessions[client];
            if !session.roams && !session.is_split {
                continue;
            }
            match holders.first() {
                Some(home) => {
                    session.has_moved = true;
                    session.home = *home;
                }
                None if session.is_lost(now) => {
                    let text = format!("{name}: {session:?}");
                    self.fail("a session goes where its client is", text);
                    return;
                }
                None => session.forget(),
            }
            self.sessions[client].roams = false;
        }
    }
}

/// Whether brokers say this of a group, with its name or without it.
fn is_of_group(filter: &str) -> bool {
    filter.ends_with("s/#")
}
