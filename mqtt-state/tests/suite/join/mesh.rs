//! Brokers joined by memory, each with clients of its own. Links can be cut between any two messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqtt_codec::{Message, ProtocolVersion, QoS};
use mqtt_state::broker::{self, BrokerId, Event, JoinConfig, JoinMessage};
use mqtt_state::client::{self};

use crate::recorded::Client;
use crate::wire::want;
use crate::world::{Who, World};

/// A broker of the mesh, by its place.
pub(crate) type At = usize;

#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) worlds: Vec<World>,
    /// What is on its way, from one to the other.
    links: BTreeMap<(At, At), VecDeque<JoinMessage>>,
    cut: BTreeSet<(At, At)>,
    /// Messages that have travelled between brokers.
    pub(crate) carried: usize,
    pub(crate) events: Vec<(At, Event)>,
}

pub(crate) fn id(at: At) -> BrokerId {
    BrokerId::new(u32::try_from(at).unwrap())
}

fn at(id: BrokerId) -> At {
    usize::try_from(id.get()).unwrap()
}

/// A broker that is joined like this, and is otherwise as any.
pub(crate) fn joined(join: JoinConfig) -> broker::Config {
    broker::Config {
        join: Some(join),
        ..broker::Config::default()
    }
}

pub(crate) fn config(at: At, base: &broker::Config) -> broker::Config {
    let join = JoinConfig {
        id: id(at),
        ..base.join.clone().unwrap_or_default()
    };
    broker::Config {
        join: Some(join),
        ..base.clone()
    }
}

impl Mesh {
    /// So many brokers, all joined.
    pub(crate) fn new(brokers: usize) -> Self {
        Self::with(brokers, &broker::Config::default())
    }

    pub(crate) fn with(brokers: usize, base: &broker::Config) -> Self {
        let mut mesh = Self::apart(brokers, base);
        for one in 0..brokers {
            for other in 0..one {
                mesh.heal(one, other);
            }
        }
        mesh.settle();
        mesh
    }

    /// So many brokers, none joined.
    pub(crate) fn apart(brokers: usize, base: &broker::Config) -> Self {
        let worlds = (0..brokers).map(|at| World::with(config(at, base)));
        let all = (0..brokers).flat_map(|one| (0..brokers).map(move |other| (one, other)));
        Self {
            worlds: worlds.collect(),
            links: BTreeMap::new(),
            cut: all.collect(),
            carried: 0,
            events: Vec::new(),
        }
    }

    /// What is on its way between two brokers is lost, and both hear of it.
    pub(crate) fn cut(&mut self, one: At, other: At) {
        for (from, to) in [(one, other), (other, one)] {
            self.links.remove(&(from, to));
            self.cut.insert((from, to));
            let now = self.worlds[from].now;
            self.worlds[from].broker.part(now, id(to));
        }
    }

    pub(crate) fn is_cut(&self, one: At, other: At) -> bool {
        self.cut.contains(&(one, other))
    }

    pub(crate) fn heal(&mut self, one: At, other: At) {
        for (from, to) in [(one, other), (other, one)] {
            self.cut.remove(&(from, to));
            let now = self.worlds[from].now;
            self.worlds[from].broker.join(now, id(to)).unwrap();
        }
    }

    /// Moves one message between brokers.
    pub(crate) fn carry(&mut self) -> bool {
        self.collect();
        let Some((&(from, to), _)) = self.links.iter().find(|(_, waiting)| !waiting.is_empty())
        else {
            return false;
        };
        self.carry_from(from, to)
    }

    pub(crate) fn carry_from(&mut self, from: At, to: At) -> bool {
        self.collect();
        let link = self.links.entry((from, to)).or_default();
        let Some(message) = link.pop_front() else {
            return false;
        };
        self.carried += 1;
        let world = &mut self.worlds[to];
        world.broker.handle_joined(world.now, id(from), message);
        true
    }

    /// What is on its way from one to the other.
    pub(crate) fn link(&mut self, from: At, to: At) -> &mut VecDeque<JoinMessage> {
        self.collect();
        self.links.entry((from, to)).or_default()
    }

    fn collect(&mut self) {
        for from in 0..self.worlds.len() {
            let world = &mut self.worlds[from];
            while let Some((to, message)) = world.broker.poll_joined(world.now) {
                let to = at(to);
                if !self.cut.contains(&(from, to)) {
                    self.links.entry((from, to)).or_default().push_back(message);
                }
            }
            let events = world.broker_events();
            self.events
                .extend(events.into_iter().map(|event| (from, event)));
        }
    }

    /// Moves everything until nothing moves any more.
    pub(crate) fn settle(&mut self) {
        loop {
            for world in &mut self.worlds {
                world.settle();
            }
            if !self.carry() && !self.work() {
                return;
            }
        }
    }

    /// Goes on with what is done in pieces.
    pub(crate) fn work(&mut self) -> bool {
        let mut worked = false;
        for world in &mut self.worlds {
            let due = world.broker.poll_timeout();
            if due.is_some_and(|due| due.at <= world.now) {
                world.broker.handle_timeout(world.now);
                worked = true;
            }
        }
        worked
    }

    pub(crate) fn pass_secs(&mut self, secs: u64) {
        self.settle();
        for world in &mut self.worlds {
            world.pass_secs(secs);
        }
        self.settle();
    }

    /// A client that is connected and subscribed.
    pub(crate) fn subscribed(
        &mut self,
        at: At,
        name: &'static str,
        version: ProtocolVersion,
        filter: &str,
        qos: QoS,
    ) -> Who {
        let who = self.worlds[at].client(name);
        self.worlds[at].begin_resume(who, version);
        self.settle();
        self.worlds[at].subscribe(who, &[want(filter, qos)]);
        self.settle();
        self.worlds[at].events(who);
        who
    }

    pub(crate) fn joined(&mut self, at: At, name: &'static str, version: ProtocolVersion) -> Who {
        let who = self.worlds[at].client(name);
        self.worlds[at].begin_resume(who, version);
        self.settle();
        self.worlds[at].events(who);
        who
    }

    /// A client goes from one broker to another. The first one hears of that, or not.
    pub(crate) fn roam(&mut self, from: (At, Who), to: (At, Who), is_told: bool) {
        if is_told {
            self.worlds[from.0].cut(from.1);
        } else {
            self.worlds[from.0].vanish(from.1);
        }
        let nobody = Client::new(client::Config::default());
        let client = self.worlds[from.0].replace(from.1, nobody);
        self.worlds[to.0].replace(to.1, client);
    }

    /// The embedder of a broker publishes.
    pub(crate) fn publish(&mut self, at: At, topic: &str, payload: &str, qos: QoS) -> usize {
        let message = Message::new(topic, payload.to_owned()).unwrap();
        self.send(at, message.with_qos(qos))
    }

    pub(crate) fn send(&mut self, at: At, message: Message) -> usize {
        let world = &mut self.worlds[at];
        world.broker.publish(world.now, message)
    }

    pub(crate) fn got(&mut self, at: At, who: Who) -> Vec<String> {
        self.worlds[at].got(who)
    }

    /// Messages that wait for other brokers.
    pub(crate) fn forwards_len(&self) -> usize {
        let brokers = self.worlds.iter().map(|world| &world.broker);
        brokers
            .flat_map(|it| it.joined())
            .map(|it| it.forwards_len)
            .sum()
    }
}
