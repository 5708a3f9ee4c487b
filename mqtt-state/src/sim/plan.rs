//! What a seed decides: settings, and a list of actions.
//!
//! Each action carries its own random number, so that a list with some left out means the same for the
//! others: that is how a failure is made small.

use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use mqtt_codec::{ProtocolVersion, QoS};

use super::extras::Extras;
use super::random::Random;
use crate::broker::{self, Ask, SharedPolicy};
use crate::{client, server};

/// What happens in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    Subscribe,
    Unsubscribe,
    Connect,
    Disconnect,
    /// Some bytes of one connection go on.
    Move,
    /// All connections go on.
    Round,
    Cut,
    HalfOpenClient,
    HalfOpenBroker,
    Delay,
    SlowReader,
    SlowStore,
    /// The broker's store fails for good.
    FailStore,
    Store,
    /// An application acknowledges some messages, where that is left to it.
    Acknowledge,
    CrashBroker,
    CrashClient,
    RestartClient,
    Pass,
    ClockJump,
    ClockBack,
    Kick,
    PublishByBroker,
    StrangeClient,
    StrangeServer,
    /// Between two brokers.
    CutLink,
    HealLink,
    Carry,
    /// The embedder subscribes, or no more.
    SubscribeLocal,
    /// It takes a subscription of a client away.
    Revoke,
    /// It wants to be asked again about all of them.
    Reauthorize,
    Reauthenticate,
}

/// How often each kind is chosen, out of the sum of all.
const WEIGHTS: [(Kind, usize); 25] = [
    (Kind::Publish, 230),
    (Kind::Subscribe, 50),
    (Kind::Unsubscribe, 8),
    (Kind::Connect, 150),
    (Kind::Disconnect, 8),
    (Kind::Move, 150),
    (Kind::Round, 420),
    (Kind::Cut, 22),
    (Kind::HalfOpenClient, 8),
    (Kind::HalfOpenBroker, 5),
    (Kind::Delay, 8),
    (Kind::SlowReader, 6),
    (Kind::SlowStore, 6),
    (Kind::Store, 60),
    (Kind::Acknowledge, 90),
    (Kind::CrashBroker, 4),
    (Kind::CrashClient, 6),
    (Kind::RestartClient, 5),
    (Kind::Pass, 25),
    (Kind::ClockJump, 3),
    (Kind::ClockBack, 3),
    (Kind::Kick, 3),
    (Kind::PublishByBroker, 8),
    (Kind::StrangeClient, 30),
    (Kind::StrangeServer, 25),
];

/// How each run begins, so that there is something to break.
pub(super) const PRELUDE: [Kind; 18] = [
    Kind::Connect,
    Kind::Connect,
    Kind::Connect,
    Kind::Round,
    Kind::Connect,
    Kind::Store,
    Kind::Round,
    Kind::Round,
    Kind::Subscribe,
    Kind::Subscribe,
    Kind::Subscribe,
    Kind::Store,
    Kind::Round,
    Kind::Subscribe,
    Kind::Store,
    Kind::Round,
    Kind::Round,
    Kind::Publish,
];

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) kind: Kind,
    /// Decides everything else about it.
    pub(super) arg: u64,
}

/// What is chosen for one client.
#[derive(Clone, Debug)]
pub(super) struct ClientPlan {
    pub(super) version: ProtocolVersion,
    pub(super) config: client::Config,
    pub(super) keep_alive_secs: u16,
    /// For ever is `u32::MAX`.
    pub(super) expiry_secs: u32,
    /// In percent, how often it starts clean.
    pub(super) clean: usize,
    pub(super) will: Option<WillPlan>,
    /// Its CONNECT has an authentication method.
    pub(super) has_method: bool,
}

#[cfg(test)]
impl Default for ClientPlan {
    fn default() -> Self {
        Self {
            version: ProtocolVersion::V5_0,
            config: client::Config::default(),
            keep_alive_secs: 0,
            expiry_secs: u32::MAX,
            clean: 0,
            will: None,
            has_method: false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct WillPlan {
    pub(super) qos: QoS,
    pub(super) delay_secs: u32,
}

/// What a seed decides.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) seed: u64,
    pub(super) clients: Vec<ClientPlan>,
    pub(super) broker: broker::Config,
    /// Bytes that a machine is asked for at once.
    pub(super) chunk: usize,
    /// Bytes that a transport takes before its reader has taken some.
    pub(super) capacity: usize,
    /// Packets come in by the door that may share their memory.
    pub(super) shared: bool,
    /// What input brings about is handed out at once, as far as there is room, and messages are shown to clients.
    pub(super) at_once: bool,
    /// Entries that a store may be behind by itself.
    pub(super) lag: usize,
    pub(super) actions: Vec<Action>,
    /// How many there are; several are joined.
    pub(super) brokers: usize,
    /// They have little room for what the others want, and unlike limits.
    pub(super) has_small_brokers: bool,
    /// Each of several has a store of its own, and may crash.
    pub(super) stores: bool,
    /// A program that begins again may take other sizes of packets than the one before.
    pub(super) changes_limits: bool,
    pub(super) extras: Extras,
}

impl Plan {
    /// What this seed decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Half of all runs have room for everything, so that nothing may be missing there.
        let tight = random.chance(50);
        let clients = 2 + random.below(3);
        let clients = (0..clients).map(|_| client_plan(&mut random, tight));
        let clients = clients.collect();
        let broker = broker_config(&mut random, seed, tight);
        let chunk = random.pick(&[1, 20, 64, 4096]);
        let capacity = random.pick(&[64, 400, 65_536]);
        let shared = random.chance(50);
        let lag = random.pick(&[0, 0, 3]);
        let sum: usize = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let len = 200 + random.below(120);
        let actions = (0..len)
            .map(|step| {
                let mut place = random.below(sum);
                let mut kind = Kind::Round;
                for (of, weight) in WEIGHTS {
                    if place < weight {
                        kind = of;
                        break;
                    }
                    place -= weight;
                }
                if let Some(first) = PRELUDE.get(step) {
                    kind = *first;
                }
                let arg = random.next();
                Action { kind, arg }
            })
            .collect();
        let mut plan = Self {
            seed,
            clients,
            broker,
            chunk,
            capacity,
            shared,
            at_once: seed % 5 == 2,
            lag,
            actions,
            brokers: 1,
            has_small_brokers: seed % 64 == 9,
            stores: false,
            changes_limits: tight && seed.is_multiple_of(3),
            extras: Extras::default(),
        };
        if plan.changes_limits {
            plan.change_limits();
        }
        if seed % 8 == 7 || seed.is_multiple_of(16) {
            // Of more than one filter only the first is asked about at once.
            plan.broker.decisions_per_connection_max = if seed % 16 == 7 { 2 } else { 1 };
        }
        if seed.is_multiple_of(8) || seed % 64 == 21 {
            plan.fail_stores();
        }
        // One in eight, and one in sixteen.
        if seed % 8 == 1 {
            plan.join(2 + usize::from(seed % 16 == 1), false);
        } else if seed % 16 == 5 {
            plan.join(2 + usize::from(seed % 32 == 5), true);
        }
        plan.add_extras();
        plan
    }

    /// All clients hear what the broker takes, and programs begin again more often.
    fn change_limits(&mut self) {
        for client in &mut self.clients {
            client.version = ProtocolVersion::V5_0;
        }
        for action in self.actions.iter_mut().skip(PRELUDE.len()) {
            action.kind = match (action.kind, action.arg % 3) {
                (Kind::StrangeServer, 0) => Kind::RestartClient,
                (Kind::StrangeServer, 1) => Kind::CrashBroker,
                (kind, _) => kind,
            };
        }
    }

    /// Stores fail for good, and are always a little behind.
    fn fail_stores(&mut self) {
        self.lag = 3;
        for action in self.actions.iter_mut().skip(PRELUDE.len()) {
            action.kind = match (action.kind, action.arg % 6) {
                (Kind::SlowStore, 0..=2) | (Kind::StrangeServer, 5) => Kind::FailStore,
                (kind, _) => kind,
            };
        }
    }

    /// The same with several brokers. Where they have no store, none of them crashes: nothing of it would be promised.
    fn join(&mut self, brokers: usize, stores: bool) {
        self.brokers = brokers;
        self.stores = stores;
        self.broker.journal = stores;
        for action in self.actions.iter_mut().skip(PRELUDE.len()) {
            action.kind = match (action.kind, action.arg % 4) {
                (Kind::CrashBroker, _) if stores => Kind::CrashBroker,
                (Kind::CrashBroker, _) | (Kind::SlowStore | Kind::Store, 0) => Kind::CutLink,
                (Kind::SlowStore | Kind::Store, 1) | (Kind::StrangeServer, 0) => Kind::HealLink,
                (Kind::StrangeServer, 1) => Kind::Carry,
                (kind, _) => kind,
            };
        }
    }

    /// The seed that it was made from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// How many steps it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// Whether nothing happens in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// The same without some of its steps.
    pub(super) fn without(&self, from: usize, len: usize) -> Self {
        let mut plan = self.clone();
        let end = from.saturating_add(len).min(plan.actions.len());
        plan.actions.drain(from.min(end)..end);
        plan
    }
}

fn client_plan(random: &mut Random, tight: bool) -> ClientPlan {
    let version = match random.chance(50) {
        true => ProtocolVersion::V5_0,
        false => ProtocolVersion::V3_1_1,
    };
    let mut config = client::Config {
        receive_maximum: random.pick(&[1, 2, 5, u16::MAX]),
        in_flight_max: random.pick(&[1, 2, 3, 100]),
        in_flight_max_v3: random.pick(&[1, 2, 20]),
        topic_alias_maximum: random.pick(&[0, 1, 10]),
        outbound_topic_aliases_max: random.pick(&[0, 1, 10]),
        journal: random.chance(50),
        acknowledge: match random.chance(35) {
            true => client::Acknowledge::Manual,
            false => client::Acknowledge::Automatic,
        },
        ..client::Config::default()
    };
    if tight {
        config.waiting_len_max = random.pick(&[2, 10, 1000]);
        config.when_full = random.pick(&[
            client::WhenFull::Refuse,
            client::WhenFull::DropOldest,
            client::WhenFull::DropNewest,
        ]);
        config.packet_size_max = random.pick(&[120, 300, 1024 * 1024]);
        config.answers_bytes_max = random.pick(&[16, 65_536]);
        config.events_max = random.pick(&[2, 1000]);
    }
    let expiry_secs = match version {
        ProtocolVersion::V5_0 => random.pick(&[0, 30, 1000, u32::MAX, u32::MAX]),
        // Clean Session, or none.
        ProtocolVersion::V3_1_1 => random.pick(&[0, u32::MAX, u32::MAX]),
    };
    let will = random.chance(50).then(|| WillPlan {
        qos: random.pick(&super::packets::QOS),
        delay_secs: match version {
            ProtocolVersion::V5_0 => random.pick(&[0, 0, 20, 60]),
            ProtocolVersion::V3_1_1 => 0,
        },
    });
    ClientPlan {
        version,
        config,
        keep_alive_secs: random.pick(&[0, 10, 60]),
        expiry_secs,
        clean: random.pick(&[0, 0, 5, 30]),
        will,
        has_method: false,
    }
}

fn broker_config(random: &mut Random, seed: u64, tight: bool) -> broker::Config {
    let mut config = broker::Config {
        server: server::Config {
            receive_maximum: random.pick(&[1, 2, 20]),
            in_flight_max: random.pick(&[1, 2, 20]),
            topic_alias_maximum: random.pick(&[0, 1, 10]),
            outbound_topic_aliases_max: random.pick(&[0, 1, 10]),
            keep_alive_max_secs: random.pick(&[None, None, NonZeroU16::new(60)]),
            session_expiry_max_secs: random.pick(&[None, None, Some(600)]),
            ..server::Config::default()
        },
        journal: random.chance(70),
        ask: Ask {
            connect: random.chance(25),
            publish: random.chance(25),
            subscribe: random.chance(25),
        },
        held_max: random.pick(&[1, 3, 16]),
        shared_policy: random.pick(&[
            SharedPolicy::RoundRobin,
            SharedPolicy::ByPublisher,
            SharedPolicy::LeastBusy,
        ]),
        work_per_call: random.pick(&[1, 3, 4096]),
        // A question that is not answered counts as denied, and answers come when they come.
        decision_timeout: Duration::from_secs(100_000_000),
        seed,
        ..broker::Config::default()
    };
    if tight {
        config.server.waiting_len_max = random.pick(&[1, 5, 1000]);
        config.waiting_qos0_len_max = random.pick(&[1, 1000]);
        config.server.packet_size_max = random.pick(&[150, 1024 * 1024]);
        config.server.answers_bytes_max = random.pick(&[16, 65_536]);
        config.when_full =
            random.pick(&[broker::WhenFull::DropNewest, broker::WhenFull::Disconnect]);
        config.journal_len_max = random.pick(&[2, 10_000]);
    }
    config
}
