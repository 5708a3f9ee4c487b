//! Clients that go from broker to broker, and what they get: as if there were one.

use std::collections::BTreeMap;

use mqtt_codec::{Binary, Connect, Message, ProtocolVersion, QoS, TopicName, Will};
use mqtt_state::broker;
use mqtt_state::client::{self, Event};
use proptest::prelude::*;

use super::mesh::Mesh;
use crate::recorded::Client;
use crate::wire::{V3_1_1, V5_0, text, want};
use crate::world::{Who, World};

const BROKERS: usize = 3;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const FILTERS: [&str; 6] = ["t/#", "t/1", "t/+", "w/#", "$share/g/s/#", "$share/h/s/1"];

fn version(place: usize) -> ProtocolVersion {
    [V5_0, V3_1_1][place % 2]
}

fn qos(number: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(number % 3)]
}

/// One step of a history, by one of the clients.
#[derive(Clone, Debug)]
enum Step {
    /// At some broker; from wherever it was.
    Connect {
        at: usize,
        is_clean: bool,
        is_told: bool,
        will: bool,
    },
    Leave {
        says_goodbye: bool,
    },
    Subscribe {
        filter: usize,
        qos: u8,
        flags: u8,
    },
    Unsubscribe {
        filter: usize,
    },
    Publish {
        topic: usize,
        qos: u8,
        retain: bool,
        is_empty: bool,
    },
    Pass {
        secs: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        4 => (0..BROKERS, 0..6, any::<bool>(), any::<bool>()).prop_map(|(at, clean, is_told, will)| {
            Step::Connect { at, is_clean: clean == 0, is_told, will }
        }),
        1 => any::<bool>().prop_map(|says_goodbye| Step::Leave { says_goodbye }),
        4 => (0..FILTERS.len(), 0..3_u8, 0..4_u8)
            .prop_map(|(filter, qos, flags)| Step::Subscribe { filter, qos, flags }),
        1 => (0..FILTERS.len()).prop_map(|filter| Step::Unsubscribe { filter }),
        8 => (0..5_usize, 0..3_u8, 0..4, 0..3).prop_map(|(topic, qos, retain, empty)| {
            Step::Publish { topic, qos, retain: retain == 0, is_empty: empty == 0 }
        }),
        1 => (1..20_u64).prop_map(|secs| Step::Pass { secs }),
    ];
    prop::collection::vec((0..NAMES.len(), step), 1..60)
}

/// The same clients twice: once at three brokers, once at one.
struct Twice {
    mesh: Mesh,
    one: World,
    /// Where each client is, or was last.
    at: [usize; NAMES.len()],
    there: Vec<Vec<Who>>,
    here: Vec<Who>,
    next: usize,
}

impl Twice {
    fn new() -> Self {
        let base = broker::Config::default();
        let mut mesh = Mesh::with(BROKERS, &base);
        let mut one = World::with(base);
        let worlds = mesh.worlds.iter_mut();
        let there = worlds.map(|world| NAMES.map(|name| world.client(name)).to_vec());
        Self {
            there: there.collect(),
            here: NAMES.map(|name| one.client(name)).to_vec(),
            mesh,
            one,
            at: [0; NAMES.len()],
            next: 0,
        }
    }

    fn is_connected(&self, place: usize) -> bool {
        self.one.connection(self.here[place]).is_some()
    }

    /// Does the same to the client in both.
    fn both(&mut self, place: usize, mut act: impl FnMut(&mut World, Who)) {
        let at = self.at[place];
        act(&mut self.mesh.worlds[at], self.there[at][place]);
        act(&mut self.one, self.here[place]);
    }

    fn act(&mut self, place: usize, step: &Step) {
        match *step {
            Step::Connect {
                at,
                is_clean,
                is_told,
                will,
            } => {
                let was_connected = self.is_connected(place);
                if was_connected && is_told {
                    self.both(place, World::cut);
                    self.settle();
                } else if was_connected {
                    self.both(place, |world, who| {
                        world.vanish(who);
                    });
                }
                let (from, there) = (self.at[place], &self.there);
                if from != at {
                    let nobody = Client::new(client::Config::default());
                    let client = self.mesh.worlds[from].replace(there[from][place], nobody);
                    self.mesh.worlds[at].replace(there[at][place], client);
                }
                self.at[place] = at;
                let version = version(place);
                let topic = format!("w/{place}");
                let mut connect = Connect {
                    clean_start: is_clean,
                    ..Connect::new(version, text(NAMES[place]))
                };
                if version == V5_0 && !is_clean {
                    connect.properties.session_expiry_secs = Some(60);
                }
                if will {
                    let payload = Binary::new(b"gone").unwrap();
                    let mut will = Will::new(TopicName::new(&topic).unwrap(), payload);
                    will.qos = QoS::AtLeastOnce;
                    if version == V5_0 {
                        will.properties.delay_secs = Some(10);
                    }
                    connect.will = Some(will);
                }
                self.both(place, |world, who| world.connect(who, &connect));
            }
            Step::Pass { secs } => {
                self.mesh.pass_secs(secs);
                self.one.pass_secs(secs);
            }
            _ if !self.is_connected(place) => {}
            Step::Leave { says_goodbye: true } => self.both(place, World::disconnect),
            Step::Leave {
                says_goodbye: false,
            } => self.both(place, World::cut),
            Step::Subscribe {
                filter,
                qos: granted,
                flags,
            } => {
                let mut entry = want(FILTERS[filter], qos(granted));
                let is_shared = FILTERS[filter].starts_with('$');
                if version(place) == V5_0 {
                    entry.options.no_local = flags & 1 != 0 && !is_shared;
                    entry.options.retain_as_published = flags & 2 != 0;
                }
                self.both(place, |world, who| world.subscribe(who, &[entry]));
            }
            Step::Unsubscribe { filter } => {
                let filter = mqtt_codec::TopicFilter::new(FILTERS[filter]).unwrap();
                self.both(place, |world, who| {
                    world.of(who).unsubscribe(&[filter]).unwrap();
                });
            }
            Step::Publish {
                topic,
                qos: at,
                retain,
                is_empty,
            } => {
                let topic = ["t/1", "t/2", "t/1/2", "s/1", "s/2"][topic];
                let payload = if is_empty {
                    String::new()
                } else {
                    self.next.to_string()
                };
                self.next += 1;
                // What a new subscriber of all gets of several retained ones has no order.
                let message = Message::new(topic, payload).unwrap();
                let message = message.with_qos(qos(at)).with_retain(retain);
                self.both(place, |world, who| {
                    world.send(who, message.clone());
                });
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.mesh.settle();
        self.one.settle();
    }

    /// What all clients got of this step, those of shared subscriptions apart: whose turn it is may
    /// differ.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        for (place, name) in NAMES.iter().enumerate() {
            let at = self.at[place];
            let who = self.there[at][place];
            let mut there = self.mesh.worlds[at].got(who);
            let mut here = self.one.got(self.here[place]);
            for got in [&mut there, &mut here] {
                got.retain(|message| !message.starts_with("s/"));
                got.sort();
            }
            prop_assert_eq!(there, here, "client {}", name);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Three brokers are one for their clients, wherever these are.
    #[test]
    fn three_brokers_behave_as_one(steps in steps()) {
        let mut twice = Twice::new();
        for (number, (place, step)) in steps.iter().enumerate() {
            twice.act(*place, step);
            let compared = twice.compare();
            prop_assert!(compared.is_ok(), "step {}: {:?}", number, compared);
        }
        let there: usize = twice.mesh.worlds.iter().map(|it| it.broker.stats().sessions).sum();
        prop_assert_eq!(there, twice.one.broker.stats().sessions);
        prop_assert_eq!(twice.mesh.forwards_len(), 0);
    }
}

#[derive(Clone, Debug)]
enum Load {
    Publish {
        at: usize,
        qos: u8,
    },
    Carry {
        from: usize,
        to: usize,
        messages: usize,
    },
    Packets {
        at: usize,
        packets: usize,
    },
    Roam {
        who: usize,
        at: usize,
        is_told: bool,
    },
    /// What is done in pieces goes on.
    Work,
}

fn load() -> impl Strategy<Value = Vec<Load>> {
    let pair = (0..BROKERS, 1..BROKERS).prop_map(|(one, by)| (one, (one + by) % BROKERS));
    let step = prop_oneof![
        6 => (0..BROKERS, 1..3_u8).prop_map(|(at, qos)| Load::Publish { at, qos }),
        6 => (pair, 1..6_usize)
            .prop_map(|((from, to), messages)| Load::Carry { from, to, messages }),
        4 => (0..BROKERS, 1..8_usize).prop_map(|(at, packets)| Load::Packets { at, packets }),
        2 => (0..2_usize, 0..BROKERS, any::<bool>())
            .prop_map(|(who, at, is_told)| Load::Roam { who, at, is_told }),
        2 => Just(Load::Work),
    ];
    prop::collection::vec(step, 1..120)
}

/// Two clients that roam, in the middle of what is published at all brokers.
fn move_under_load(steps: &[Load], work_per_call: usize) -> Result<(), TestCaseError> {
    let names = ["a", "b"];
    let base = broker::Config {
        work_per_call,
        ..broker::Config::default()
    };
    let mut mesh = Mesh::with(BROKERS, &base);
    let worlds = mesh.worlds.iter_mut();
    let there = worlds.map(|world| names.map(|name| world.client(name)));
    let there: Vec<_> = there.collect();
    // Others who want the same, and are served before.
    for at in 0..BROKERS {
        for name in [["c0", "c1"], ["d0", "d1"], ["e0", "e1"]][at] {
            mesh.subscribed(at, name, V5_0, "t", QoS::AtLeastOnce);
        }
    }
    let mut at = [0, 1];
    for (who, there) in there.iter().enumerate().take(2) {
        mesh.worlds[who].begin_resume(there[who], V5_0);
        mesh.settle();
        let filters = [
            want("t", QoS::ExactlyOnce),
            want("$share/g/s", QoS::ExactlyOnce),
        ];
        mesh.worlds[who].subscribe(there[who], &filters);
    }
    mesh.settle();
    let mut published = vec![Vec::new(); BROKERS];
    let mut got: [Vec<String>; 2] = Default::default();
    let mut listen = |mesh: &mut Mesh, who: usize, at: usize| {
        for event in mesh.worlds[at].events(there[at][who]) {
            if let Event::Message { message, .. } = event {
                got[who].push(String::from_utf8(message.payload().to_vec()).unwrap());
            }
        }
    };
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Load::Publish { at, qos: level } => {
                let payload = format!("{at}-{level}-{number}");
                mesh.publish(at, "t", &payload, qos(level));
                mesh.publish(at, "s", &format!("turn {payload}"), qos(level));
                published[at].push(payload);
            }
            Load::Carry { from, to, messages } => {
                for _ in 0..messages {
                    mesh.carry_from(from, to);
                }
            }
            Load::Work => {
                mesh.work();
            }
            Load::Packets { at, packets } => mesh.worlds[at].settle_for(packets),
            Load::Roam {
                who,
                at: to,
                is_told,
            } => {
                let from = at[who];
                listen(&mut mesh, who, from);
                if from == to {
                    mesh.worlds[from].cut(there[from][who]);
                } else {
                    mesh.roam((from, there[from][who]), (to, there[to][who]), is_told);
                }
                at[who] = to;
                mesh.worlds[to].begin_resume(there[to][who], V5_0);
            }
        }
    }
    mesh.settle();
    for (who, at) in at.iter_mut().enumerate() {
        // A connection that was refused, as a claim was in its way, comes again.
        if mesh.worlds[*at].connection(there[*at][who]).is_none() {
            mesh.worlds[*at].begin_resume(there[*at][who], V5_0);
            mesh.settle();
        }
        listen(&mut mesh, who, *at);
    }
    let mut turns: BTreeMap<String, usize> = BTreeMap::new();
    for (who, got) in got.iter().enumerate() {
        let mut times: BTreeMap<&String, usize> = BTreeMap::new();
        for message in got {
            *times.entry(message).or_default() += 1;
        }
        for payload in published.iter().flatten() {
            let plain = times.get(payload).copied().unwrap_or_default();
            let turn = format!("turn {payload}");
            let turn = times.get(&turn).copied().unwrap_or_default();
            let turns = turns.entry(payload.clone()).or_default();
            if payload.contains("-2-") {
                prop_assert_eq!(plain, 1, "{} gets {}", who, payload);
                *turns += turn;
            } else {
                prop_assert!(plain > 0, "{} misses {}", who, payload);
                *turns += turn.min(1);
            }
        }
        for (publisher, published) in published.iter().enumerate() {
            for level in ["-1-", "-2-"] {
                let mark = format!("{publisher}{level}");
                let mut seen: Vec<&String> = Vec::new();
                for message in got.iter().filter(|it| it.starts_with(&mark)) {
                    if !seen.contains(&message) {
                        seen.push(message);
                    }
                }
                let all: Vec<_> = { published.iter() }
                    .filter(|it| it.contains(level))
                    .collect();
                prop_assert_eq!(seen, all, "{} of {}", who, publisher);
            }
        }
    }
    for (payload, turns) in turns {
        prop_assert_eq!(turns, 1, "the turn of {}", payload);
    }
    prop_assert_eq!(mesh.forwards_len(), 0);
    let kept: usize = mesh
        .worlds
        .iter()
        .map(|world| world.broker.stats().messages)
        .sum();
    prop_assert_eq!(kept, 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Sessions that move in the middle of traffic lose and double nothing, and keep each publisher's
    /// order; each turn of a shared subscription is one member's.
    #[test]
    fn sessions_move_while_messages_are_on_their_way(
        steps in load(),
        work_per_call in prop_oneof![Just(1_usize), Just(2), Just(4096)],
    ) {
        move_under_load(&steps, work_per_call)?;
    }
}
