//! A store that fails for good: the broker is told, everybody hears of it, and another program goes on with what
//! the store has.

use alloc::format;
use alloc::vec::Vec;

use mqtt_codec::{DisconnectReason, ProtocolVersion, ReasonCode};

use super::coverage::{Fault, Stage};
use super::line::Line;
use super::packets::Seen;
use super::random::Random;
use super::sessions::Session;
use super::world::World;
use crate::{CloseCause, Timestamp};

/// What was so when a store has failed.
#[derive(Debug)]
pub(super) struct StoreFailure {
    /// Until another program goes on.
    steps_left: usize,
    at: Timestamp,
    /// Connections from this one on have begun since.
    next_line: u64,
    /// The sessions, as the store has them.
    sessions: Vec<Session>,
}

/// What a broker has said on a connection, and what it owes it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// CONNACK, with its refusal if it is one.
    connack: Option<Option<ReasonCode>>,
    goodbye: Option<ReasonCode>,
    /// It has ended because the store has failed, and whether its client was in.
    was_in: Option<bool>,
}

impl Line {
    /// The broker hands out a packet.
    pub(super) fn note_last_words(&mut self, seen: &Seen) {
        match seen {
            Seen::ConnAck { refusal, .. } => self.told.connack = Some(*refusal),
            Seen::Disconnect { reason } => self.told.goodbye = Some(*reason),
            _ => {}
        }
    }

    /// The broker says that it is over, and why.
    pub(super) fn note_failure(&mut self, cause: &CloseCause) {
        if *cause == CloseCause::Disconnected(DisconnectReason::ServerShuttingDown) {
            self.told.was_in = Some(self.stage == Stage::Connected);
        }
    }
}

impl World<'_> {
    /// The store of the broker that is looked at fails for good.
    pub(super) fn fail_store(&mut self, random: &mut Random) {
        let (at, now) = (self.at, self.now);
        let steps_left = 2 + random.below(12);
        if self.nodes[at].failure.is_some() {
            return;
        }
        if self.nodes[at].config.journal {
            self.coverage.fault(Fault::StoreFails);
            self.nodes[at].failure = Some(StoreFailure {
                steps_left,
                at: now,
                next_line: self.next_line(),
                sessions: self.sessions.clone(),
            });
        }
        self.nodes[at].broker.handle_store_failed(now);
        if self.nodes[at].broker.is_draining() != self.nodes[at].config.journal {
            self.fail("who has no store goes on", format!("{at}"));
        }
        self.drain_broker();
    }

    /// One more step is done: another program goes on where it is time.
    pub(super) fn go_on_after_failures(&mut self) {
        let at = self.at;
        for place in 0..self.nodes.len() {
            let Some(failure) = &mut self.nodes[place].failure else {
                continue;
            };
            if failure.steps_left > 0 {
                failure.steps_left -= 1;
            } else {
                self.at = place;
                self.crash_broker();
            }
        }
        self.at = at;
    }

    /// Another program goes on wherever a store has failed.
    pub(super) fn end_failures(&mut self) {
        for place in 0..self.nodes.len() {
            if self.nodes[place].failure.is_some() {
                self.at = place;
                self.crash_broker();
            }
        }
    }

    /// What a broker has done since its store has failed, nobody knows of: its sessions are what they were. What
    /// their clients have got meanwhile they have got.
    pub(super) fn go_back(&mut self, failure: StoreFailure) {
        for (place, mut before) in failure.sessions.into_iter().enumerate() {
            let session = &self.sessions[place];
            let is_here = |it: &Session| it.home == self.at && !it.roams && !it.is_split;
            if is_here(session) && is_here(&before) {
                before.go_on_from(session, &self.actors[place].inbox);
                self.sessions[place] = before;
            }
        }
    }

    /// All connections of a broker whose store has failed are over, whatever waits for the store.
    pub(super) fn check_failures(&mut self) {
        for at in 0..self.nodes.len() {
            let Some(failure) = &self.nodes[at].failure else {
                continue;
            };
            let left = self.lines.iter().find(|line| {
                let is_there = line.node == at && !line.broker_gone && line.stage != Stage::Ending;
                is_there && line.number < failure.next_line
            });
            if let Some(line) = left {
                let text = format!("line {} of c{} at {at}", line.number, line.client);
                self.fail("all connections end when the store has failed", text);
            }
        }
    }

    /// The broker has handed out the last byte: whoever has to hear why has heard it.
    pub(super) fn check_last_words(&mut self, place: usize) {
        use ReasonCode::{ServerShuttingDown, ServerUnavailable};
        let line = &self.lines[place];
        let failure = self.nodes[line.node].failure.as_ref();
        let is_new = failure.is_some_and(|it| line.number >= it.next_line);
        // Who does not read in time hears nothing more.
        let time = self.nodes[line.node].config.server.close_timeout;
        if failure.is_some_and(|it| it.at + time <= self.now) {
            return;
        }
        let Told {
            connack,
            goodbye,
            was_in,
        } = line.told;
        let heard = match (was_in, connack, goodbye) {
            (None, Some(Some(ServerUnavailable)), None) if is_new => 3,
            (None, ..) if !is_new => return,
            (None, None, None) => return,
            (Some(true), Some(None), Some(ServerShuttingDown)) => 0,
            (Some(true), Some(None), None) if line.version == ProtocolVersion::V3_1_1 => 2,
            (Some(true), Some(Some(ServerUnavailable)), None) => 1,
            (Some(false), None, None) => 2,
            _ => {
                let text = format!("line {} of c{}: {:?}", line.number, line.client, line.told);
                return self.fail("all hear that the store has failed", text);
            }
        };
        self.coverage.told_of_failure[heard] += 1;
    }
}
