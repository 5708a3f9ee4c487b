//! Several brokers joined: what they say to each other is on its way for a while, and links are cut.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use mqtt_codec::TopicName;

use super::actions::RETAINED;
use super::coverage::Fault;
use super::random::Random;
use super::world::World;
use crate::broker::{self, BrokerId, JoinConfig, JoinMessage};

/// Messages of one link that arrive in a round.
const IN_A_ROUND: usize = 3;

/// The links of all brokers, by the place of the one that speaks and the one that hears.
#[derive(Debug, Default)]
pub(super) struct Mesh {
    links: BTreeMap<(usize, usize), VecDeque<JoinMessage>>,
    /// Links that carry nothing, both ways.
    cut: BTreeSet<(usize, usize)>,
}

fn id(place: usize) -> BrokerId {
    BrokerId::new(u32::try_from(place).unwrap_or(u32::MAX))
}

/// The settings of one of several brokers, with room for all that the others want, or unlike the others and for little
/// of it.
pub(super) fn config(
    place: usize,
    base: &broker::Config,
    has_store: bool,
    is_small: bool,
) -> broker::Config {
    let mut config = broker::Config {
        join: Some(JoinConfig {
            id: id(place),
            // Who is not cut off answers some day.
            claim_timeout: Duration::from_secs(100_000_000),
            ..JoinConfig::default()
        }),
        journal: base.journal && has_store,
        ..base.clone()
    };
    if is_small {
        config.subscriptions_per_session_max = if place == 0 { 4 } else { 1 };
        if let Some(join) = &mut config.join {
            join.interests_max = 2;
        }
    }
    config
}

impl Mesh {
    /// Whether no link is cut.
    pub(super) fn is_whole(&self) -> bool {
        self.cut.is_empty()
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    /// Whether nothing is on its way.
    fn is_empty(&self) -> bool {
        self.links.values().all(VecDeque::is_empty)
    }
}

impl World<'_> {
    pub(super) fn is_joined(&self) -> bool {
        self.nodes.len() > 1
    }

    /// Whether each broker hears each other one.
    pub(super) fn is_whole(&self) -> bool {
        let mut others = self.nodes.iter().flat_map(|node| node.broker.joined());
        self.mesh.is_whole() && others.all(|other| other.is_up)
    }

    /// Whether all brokers know what the others know, as far as they tell.
    pub(super) fn is_quiet(&self) -> bool {
        let now = self.now;
        self.is_whole()
            && self.mesh.is_empty()
            && self.nodes.iter().all(|node| {
                let is_due = node.broker.poll_timeout().is_some_and(|due| due.at <= now);
                // Others keep what a store is behind with.
                let mut joined = node.broker.joined();
                let is_kept = node.behind.is_empty() && joined.all(|it| it.forwards_len == 0);
                let goes_on = node.failure.is_none();
                goes_on && node.questions.is_empty() && !is_due && (is_kept || !self.plan.stores)
            })
    }

    /// All brokers are joined with all others.
    pub(super) fn join_all(&mut self) {
        for one in 0..self.nodes.len() {
            for other in 0..one {
                self.mesh.cut.insert((other, one));
                self.heal_link(other, one);
            }
        }
    }

    /// Takes what a broker has to say to the others.
    pub(super) fn collect(&mut self) {
        let from = self.at;
        while let Some((to, message)) = self.nodes[from].broker.poll_joined(self.now) {
            let to = to.get() as usize;
            if !self.mesh.is_cut(from, to) {
                self.mesh
                    .links
                    .entry((from, to))
                    .or_default()
                    .push_back(message);
            }
        }
    }

    /// So many messages of each link arrive. Answers whether there were some.
    pub(super) fn carry_all(&mut self, len: usize) -> bool {
        let mut some = false;
        let links: Vec<_> = self.mesh.links.keys().copied().collect();
        for (from, to) in links {
            some |= self.carry(from, to, len);
        }
        some
    }

    /// Some of one link arrives in each round.
    pub(super) fn carry_round(&mut self) -> bool {
        self.carry_all(IN_A_ROUND)
    }

    pub(super) fn carry_some(&mut self, random: &mut Random) {
        let links: Vec<_> = self.mesh.links.keys().copied().collect();
        if !links.is_empty() {
            let (from, to) = random.pick(&links);
            self.carry(from, to, 1 + random.below(20));
        }
    }

    fn carry(&mut self, from: usize, to: usize, len: usize) -> bool {
        let mut some = false;
        for _ in 0..len {
            let link = self.mesh.links.get_mut(&(from, to));
            let Some(message) = link.and_then(VecDeque::pop_front) else {
                break;
            };
            some = true;
            self.coverage.carried += 1;
            self.trace
                .note(|| format!("from {from} to {to}: {message:?}"));
            self.at = to;
            self.nodes[to]
                .broker
                .handle_joined(self.now, id(from), message);
            self.drain_broker();
        }
        some
    }

    /// All arrives, and nobody looks at what comes of it.
    pub(super) fn carry_unseen(&mut self) -> bool {
        for at in 0..self.nodes.len() {
            self.at = at;
            self.collect();
        }
        let links = core::mem::take(&mut self.mesh.links);
        let some = links.values().any(|link| !link.is_empty());
        for ((from, to), link) in links {
            for message in link {
                self.nodes[to]
                    .broker
                    .handle_joined(self.now, id(from), message);
            }
        }
        some
    }

    /// What is on its way between two brokers is lost, and both hear of it.
    pub(super) fn cut_link(&mut self, random: &mut Random) {
        let one = random.below(self.nodes.len());
        let other = (one + 1 + random.below(self.nodes.len() - 1)) % self.nodes.len();
        let (one, other) = (one.min(other), one.max(other));
        if !self.mesh.cut.insert((one, other)) {
            return;
        }
        self.coverage.fault(Fault::LinkCut);
        self.lose_links();
        self.part(one, other);
    }

    /// Nothing is certain of what goes over a link.
    pub(super) fn lose_links(&mut self) {
        for session in &mut self.sessions {
            session.lose_link();
        }
        for line in &mut self.lines {
            line.was_whole = false;
        }
        self.group.forget();
        self.oracle.forget_turns();
        self.locals_lose_links();
    }

    fn part(&mut self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            self.mesh.links.remove(&(from, to));
            self.at = from;
            self.nodes[from].broker.part(self.now, id(to));
            self.drain_broker();
        }
    }

    /// The links of one broker are cut, until they are healed.
    pub(super) fn part_all(&mut self, one: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != one) {
            self.mesh.cut.insert((one.min(other), one.max(other)));
            self.part(one, other);
        }
        self.at = one;
    }

    fn heal_link(&mut self, one: usize, other: usize) {
        self.mesh.cut.remove(&(one, other));
        for (from, to) in [(one, other), (other, one)] {
            self.at = from;
            if let Err(error) = self.nodes[from].broker.join(self.now, id(to)) {
                self.fail("brokers can be joined", format!("{error}"));
            }
            self.drain_broker();
        }
    }

    /// A link that was cut carries again.
    pub(super) fn heal_some(&mut self, random: &mut Random) {
        let cut: Vec<_> = self.mesh.cut.iter().copied().collect();
        if !cut.is_empty() {
            let (one, other) = random.pick(&cut);
            self.heal_link(one, other);
            self.coverage.heals += 1;
        }
    }

    pub(super) fn heal_all(&mut self) {
        while let Some((one, other)) = self.mesh.cut.first().copied() {
            self.heal_link(one, other);
        }
    }

    /// In the end nothing waits for another broker, and all retain the same.
    pub(super) fn check_mesh(&mut self) {
        if !self.is_joined() || self.failure.is_some() {
            return;
        }
        for at in 0..self.nodes.len() {
            let joined: Vec<_> = self.nodes[at].broker.joined().collect();
            if joined.iter().any(|it| !it.is_up || it.forwards_len > 0) {
                self.fail(
                    "nothing waits for another broker",
                    format!("{at}: {joined:?}"),
                );
            }
        }
        for topic in RETAINED {
            let Ok(topic) = TopicName::new(topic) else {
                continue;
            };
            let kept = |place: usize| {
                let kept = self.nodes[place].broker.retained(topic);
                kept.and_then(|message| super::packets::number_of(message.payload()))
            };
            let all: Vec<_> = (0..self.nodes.len()).map(kept).collect();
            let (oracle, now) = (&self.oracle, self.now);
            let live = all.iter().flatten();
            let is_over = live.clone().any(|number| oracle.has_expired(*number, now));
            if all.iter().any(|it| *it != all[0]) && !is_over {
                let text = format!("{} is {all:?}", topic.as_str());
                self.fail("all brokers retain the same", text);
            }
        }
    }
}
