//! A broker that has no memory left: what it does not take then, and that it takes all else.

use alloc::format;

use mqtt_codec::ReasonCode;

use super::oracle::{From, Oracle};
use super::packets::Seen;
use super::world::World;

/// Bytes that come and go in one call at most: messages, and the places of a session, which grow by factors of two.
const ONE: usize = 2048;

/// Bytes by which what is let in at the edge may go beyond: a session, or a branch of an index.
const BEYOND: usize = 3072;

impl World<'_> {
    /// Whether the broker that is looked at has no room for one thing more, now or before what it was told last.
    fn is_full(&self) -> bool {
        let node = &self.nodes[self.at];
        let stats = node.broker.stats();
        let kept = stats.kept_bytes.max(node.kept_before);
        let messages = stats.messages.max(node.messages_before);
        kept.saturating_add(ONE) > node.config.total_bytes_max
            || messages >= node.config.messages_len_max
    }

    /// All that the broker has to say is heard: what it keeps is within its limit.
    pub(super) fn weigh(&mut self) {
        if !self.plan.extras.is_full {
            return;
        }
        let node = &mut self.nodes[self.at];
        let stats = node.broker.stats();
        (node.kept_before, node.messages_before) = (stats.kept_bytes, stats.messages);
        let config = &node.config;
        let most = config.total_bytes_max.saturating_add(BEYOND);
        if stats.kept_bytes > most || stats.messages > config.messages_len_max {
            let text = format!("{} bytes, {} messages", stats.kept_bytes, stats.messages);
            self.fail("what is kept stays within its limit", text);
        }
    }

    /// The broker says that it has no room for a message. That goes to nobody, and may come again.
    pub(super) fn turn_away(&mut self, client_id: &str, topic: &str) {
        self.excuse_locals(|it, _| it == topic);
        let client = self.client_named(client_id);
        self.oracle.turn_away(topic, |from| match from {
            From::Client(of) => client == Some(of),
            From::Broker => client_id.is_empty(),
            From::Will => false,
        });
        // Where it was asked for, what counts is when.
        if topic.starts_with("w/") && !self.nodes[self.at].config.ask.publish {
            let result = self.wills.publish(self.now, topic);
            self.check(result);
        }
        self.coverage.no_room[0] += 1;
        self.check_full("a message that there is room for is taken", topic);
    }

    /// A message is dropped for one of its receivers, as its session would have to grow.
    pub(super) fn note_dropped_when_full(&mut self, topic: &str) {
        self.coverage.no_room[1] += 1;
        self.check_full("a message that there is room for is kept", topic);
    }

    /// The broker says no on a connection.
    pub(super) fn note_no(&mut self, place: usize, seen: &Seen) {
        match seen {
            Seen::ConnAck {
                refusal: Some(ReasonCode::ServerBusy | ReasonCode::ServerUnavailable),
                ..
            } if self.plan.extras.is_full && self.nodes[self.at].failure.is_none() => {
                self.coverage.no_room[2] += 1;
                if self.lines[place].comes_back {
                    let client = self.lines[place].client;
                    let text = format!("c{client}: {:?}", self.sessions[client]);
                    self.fail("who comes for its session is let in", text);
                }
            }
            Seen::SubAck { granted, .. } if self.plan.extras.is_full => {
                let refused = granted.iter().filter(|granted| granted.is_none());
                self.coverage.no_room[3] += refused.count() as u64;
            }
            _ => {}
        }
    }

    /// CONNECT comes: whether it is for a session that is there for certain, and brings nothing to keep.
    pub(super) fn note_coming(&mut self, place: usize, clean_start: bool) {
        let line = &mut self.lines[place];
        let client = line.client;
        let session = &self.sessions[client];
        line.comes_back = !clean_start && line.will.is_none() && session.is_there(self.now);
    }

    fn check_full(&mut self, rule: &'static str, topic: &str) {
        if !self.is_full() {
            let stats = self.nodes[self.at].broker.stats();
            let text = format!(
                "{topic}: {} bytes, {} messages",
                stats.kept_bytes, stats.messages
            );
            self.fail(rule, text);
        }
    }

    /// Whoever was turned away brings no will when it comes once more.
    pub(super) fn make_room(&mut self) {
        if self.plan.extras.is_full {
            for actor in &mut self.actors {
                actor.plan.will = None;
            }
        }
    }

    /// Whether a client that has no session is out for good, as all that is there fills the broker.
    pub(super) fn may_be_turned_away(&self, client: usize) -> bool {
        let node = &self.nodes[self.sessions[client].home];
        let (stats, config) = (node.broker.stats(), &node.config);
        let is_full =
            stats.kept_bytes >= config.total_bytes_max || stats.messages >= config.messages_len_max;
        is_full && !self.sessions[client].is_there(self.now)
    }
}

impl Oracle {
    /// There was no room for what has come last with this topic, from whomever.
    fn turn_away(&mut self, topic: &str, is_it: impl Fn(From) -> bool) {
        for known in &mut self.messages {
            if known.topic == topic && is_it(known.from) && !known.is_acknowledged {
                known.forget();
                known.was_left = true;
            }
        }
    }
}
