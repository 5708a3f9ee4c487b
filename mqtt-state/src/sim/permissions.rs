//! Subscriptions that are taken away from clients, or looked at once more.

use alloc::format;
use alloc::string::String;

use mqtt_codec::TopicFilter;

use super::random::Random;
use super::world::World;
use crate::broker::SubscribeAnswer;

impl World<'_> {
    /// Takes one of a client's subscriptions away.
    pub(super) fn revoke(&mut self, client: usize, random: &mut Random) {
        let Some(held) = self.subscriptions_at_home(client) else {
            return;
        };
        if held.is_empty() {
            return;
        }
        let filter = &held[random.below(held.len())];
        let Ok(parsed) = TopicFilter::new(filter) else {
            return;
        };
        let name = &self.actors[client].name;
        let existed = self.nodes[self.at].broker.revoke(name, parsed);
        let epoch = self.sessions[client].epoch;
        self.coverage.revoked += 1;
        self.take_away(client, epoch, filter);
        if !existed {
            let text = format!("{filter} of c{client}");
            self.fail("what is there can be taken away", text);
        }
        self.drain_broker();
    }

    /// Wants to be asked once more about all subscriptions of a client.
    pub(super) fn reauthorize(&mut self, client: usize) {
        let Some(held) = self.subscriptions_at_home(client) else {
            return;
        };
        let (now, at) = (self.now, self.at);
        let name = &self.actors[client].name;
        let asked = self.nodes[at].broker.reauthorize(now, name);
        if asked != held.len() {
            let text = format!("{asked} questions, and {held:?}");
            self.fail("all subscriptions are asked about again", text);
        }
        self.nodes[at].reauthorizes = true;
        self.drain_broker();
        self.nodes[at].reauthorizes = false;
    }

    /// Looks at the broker that a client's session is at for certain, and at what it holds there.
    fn subscriptions_at_home(&mut self, client: usize) -> Option<alloc::vec::Vec<String>> {
        let session = &self.sessions[client];
        if session.roams || session.is_split || session.may_be_over {
            return None;
        }
        self.at = session.home;
        let broker = &self.nodes[self.at].broker;
        let held = broker.subscriptions(&self.actors[client].name);
        Some(held.into_iter().map(|(filter, _)| filter).collect())
    }

    /// What was thought of a subscription when it was looked at once more, in this session.
    pub(super) fn decided_again(
        &mut self,
        client: usize,
        epoch: u32,
        filter: &str,
        answer: &SubscribeAnswer,
    ) {
        self.coverage.reconsidered += 1;
        match answer {
            SubscribeAnswer::Refuse(_) => self.take_away(client, epoch, filter),
            SubscribeAnswer::Grant(grant) if self.is_same(client, epoch) => {
                // What is not with everybody yet comes as it is now.
                let session = &mut self.sessions[client];
                self.oracle.subscribe(client, filter, session);
                session.lower(filter, grant.qos_max);
            }
            _ => {}
        }
    }

    /// Whether the broker that is looked at still has this session.
    fn is_same(&self, client: usize, epoch: u32) -> bool {
        let session = &self.sessions[client];
        let is_here = session.home == self.at && !session.roams && !session.is_split;
        is_here && session.epoch == epoch
    }

    /// A subscription is gone, and its client hears nothing of that. What waits for it stays.
    fn take_away(&mut self, client: usize, epoch: u32, filter: &str) {
        if !self.is_same(client, epoch) {
            return;
        }
        let broker = &self.nodes[self.at].broker;
        let held = broker.subscriptions(&self.actors[client].name);
        // A SUBSCRIBE that waited may have been carried out behind it.
        let is_new = !self.sessions[client].is_answered(filter);
        if !is_new && held.iter().any(|(it, _)| it == filter) {
            let text = format!("{filter} of c{client}");
            self.fail("what is taken away is gone", text);
        }
        let session = &mut self.sessions[client];
        self.oracle.unsubscribe(client, filter, session);
        session.take_away(filter);
    }
}
