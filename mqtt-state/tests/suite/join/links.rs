//! Links that are cut and come back, and what is said over them that makes no sense.

use std::collections::BTreeMap;

use mqtt_codec::{Message, QoS, TopicName};
use mqtt_state::Timestamp;
use mqtt_state::broker::{self, Event, JoinConfig, JoinMessage};
use proptest::prelude::*;

use super::mesh::{Mesh, config, id, joined};
use crate::recorded::Broker;
use crate::wire::{V3_1_1, V5_0, want};
use crate::world::{Who, World};

const BROKERS: usize = 3;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Publish {
        at: usize,
        topic: u8,
        qos: QoS,
    },
    Retain {
        at: usize,
        topic: u8,
        clears: bool,
    },
    Carry {
        from: usize,
        to: usize,
        messages: usize,
    },
    Cut {
        one: usize,
        other: usize,
    },
    Heal {
        one: usize,
        other: usize,
    },
    /// One side alone notices, and opens the link anew.
    Reopen {
        one: usize,
        other: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pair = || (0..BROKERS, 1..BROKERS).prop_map(|(one, by)| (one, (one + by) % BROKERS));
    let qos = prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ];
    let step = prop_oneof![
        6 => (0..BROKERS, 0..2_u8, qos)
            .prop_map(|(at, topic, qos)| Step::Publish { at, topic, qos }),
        1 => (0..BROKERS, 0..2_u8, any::<bool>())
            .prop_map(|(at, topic, clears)| Step::Retain { at, topic, clears }),
        6 => (pair(), 0..5_usize)
            .prop_map(|((from, to), messages)| Step::Carry { from, to, messages }),
        2 => pair().prop_map(|(one, other)| Step::Cut { one, other }),
        2 => pair().prop_map(|(one, other)| Step::Heal { one, other }),
        1 => pair().prop_map(|(one, other)| Step::Reopen { one, other }),
    ];
    prop::collection::vec(step, 1..60)
}

struct Run {
    mesh: Mesh,
    plain: Vec<(usize, Who)>,
    shared: Vec<(usize, Who)>,
    /// What each broker's embedder has published at QoS 1 and 2.
    published: Vec<Vec<String>>,
    next: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let base = broker::Config {
            seed,
            ..broker::Config::default()
        };
        let mut mesh = Mesh::with(BROKERS, &base);
        let (mut plain, mut shared) = (Vec::new(), Vec::new());
        for (at, (name, member)) in [("p0", "m0"), ("p1", "m1"), ("p2", "m2")]
            .into_iter()
            .enumerate()
        {
            let version = if at == 1 { V3_1_1 } else { V5_0 };
            plain.push((
                at,
                mesh.subscribed(at, name, version, "t/#", QoS::ExactlyOnce),
            ));
            let filter = "$share/g/t/#";
            shared.push((
                at,
                mesh.subscribed(at, member, version, filter, QoS::ExactlyOnce),
            ));
        }
        Self {
            mesh,
            plain,
            shared,
            published: vec![Vec::new(); BROKERS],
            next: 0,
        }
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Publish { at, topic, qos } => {
                let topic = format!("t/{topic}");
                let payload = format!("{at}-{}", self.next);
                self.next += 1;
                self.mesh.publish(at, &topic, &payload, qos);
                if qos > QoS::AtMostOnce {
                    self.published[at].push(format!("{topic}={payload} q{}", u8::from(qos)));
                }
            }
            Step::Retain { at, topic, clears } => {
                let payload = if clears {
                    String::new()
                } else {
                    self.next.to_string()
                };
                self.next += 1;
                let message = Message::new(&format!("r/{topic}"), payload).unwrap();
                self.mesh.send(at, message.with_retain(true));
            }
            Step::Carry { from, to, messages } => {
                for _ in 0..messages {
                    self.mesh.carry_from(from, to);
                }
            }
            Step::Cut { one, other } => self.mesh.cut(one, other),
            Step::Heal { one, other } => {
                if self.mesh.is_cut(one, other) {
                    self.mesh.heal(one, other);
                }
            }
            Step::Reopen { one, other } => {
                if !self.mesh.is_cut(one, other) {
                    let world = &mut self.mesh.worlds[one];
                    world.broker.join(world.now, id(other)).unwrap();
                }
            }
        }
    }

    fn finish(&mut self) {
        for one in 0..BROKERS {
            for other in 0..one {
                if self.mesh.is_cut(one, other) {
                    self.mesh.heal(one, other);
                }
            }
        }
        self.mesh.settle();
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let of = |got: &[String], at: usize| -> Vec<String> {
            let mark = format!("={at}-");
            let counted = |it: &&String| it.contains(&mark) && !it.ends_with("q0");
            got.iter().filter(counted).cloned().collect()
        };
        for (at, who) in self.plain.clone() {
            let got = self.mesh.got(at, who);
            for publisher in 0..BROKERS {
                prop_assert_eq!(
                    of(&got, publisher),
                    self.published[publisher].clone(),
                    "broker {}, from {}",
                    at,
                    publisher
                );
            }
        }
        let mut turns: Vec<String> = Vec::new();
        for (at, who) in self.shared.clone() {
            turns.extend(
                self.mesh
                    .got(at, who)
                    .into_iter()
                    .filter(|it| !it.ends_with("q0")),
            );
        }
        let mut all: Vec<String> = self.published.concat();
        turns.sort();
        all.sort();
        prop_assert_eq!(turns, all, "each turn once");
        prop_assert_eq!(self.mesh.forwards_len(), 0, "everything has arrived");
        for topic in ["r/0", "r/1"] {
            let name = TopicName::new(topic).unwrap();
            let kept = self.mesh.worlds.iter().map(|world| {
                let kept = world.broker.retained(name);
                kept.map(|message| message.payload().to_vec())
            });
            let kept: Vec<_> = kept.collect();
            prop_assert!(
                kept.windows(2).all(|pair| pair[0] == pair[1]),
                "{}: {:?}",
                topic,
                kept
            );
        }
        for world in &self.mesh.worlds {
            let stats = world.broker.stats();
            prop_assert_eq!(stats.messages, stats.retained, "nothing else is kept");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Wherever links are cut, nothing at QoS 1 and 2 is lost, doubled or out of order, each turn of
    /// a shared subscription is one member's, and all agree on what is retained.
    #[test]
    fn cut_links_lose_and_double_nothing(seed in any::<u64>(), steps in steps()) {
        let mut run = Run::new(seed);
        for step in &steps {
            run.act(step);
        }
        run.finish();
        run.check()?;
    }
}

/// The same, cut behind each message in turn.
#[test]
fn a_link_may_be_cut_behind_any_message() {
    for position in 0..60 {
        let mut run = Run::new(position);
        for number in 0..8 {
            let qos = if number % 2 == 0 {
                QoS::AtLeastOnce
            } else {
                QoS::ExactlyOnce
            };
            let topic = u8::try_from(number % 2).unwrap();
            for at in 0..2 {
                run.act(&Step::Publish { at, topic, qos });
            }
        }
        let position = usize::try_from(position).unwrap();
        for _ in 0..position {
            run.mesh.carry();
        }
        run.mesh.cut(0, 1);
        run.mesh.heal(0, 1);
        for _ in 0..position / 2 {
            run.mesh.carry();
        }
        run.mesh.cut(0, 1);
        run.finish();
        run.check().unwrap();
    }
}

/// A carrier that loses, repeats or swaps messages without saying so: the link begins anew.
#[test]
fn a_carrier_that_does_not_keep_its_word() {
    for fault in ["loses", "repeats", "swaps"] {
        for position in 0..24 {
            let mut run = Run::new(position);
            for number in 0..6 {
                let topic = u8::try_from(number % 2).unwrap();
                let qos = QoS::AtLeastOnce;
                run.act(&Step::Publish { at: 0, topic, qos });
                run.act(&Step::Publish { at: 1, topic, qos });
            }
            for _ in 0..position {
                run.mesh.carry();
            }
            let link = run.mesh.link(0, 1);
            match fault {
                "loses" => {
                    link.pop_front();
                }
                "repeats" => link.extend(link.clone()),
                _ if link.len() > 1 => link.swap(0, 1),
                _ => {}
            }
            run.mesh.settle();
            // The loss of the last one shows with the next one.
            let qos = QoS::ExactlyOnce;
            run.act(&Step::Publish {
                at: 0,
                topic: 0,
                qos,
            });
            run.act(&Step::Publish {
                at: 1,
                topic: 0,
                qos,
            });
            run.finish();
            let checked = run.check();
            assert!(checked.is_ok(), "{fault} at {position}: {checked:?}");
        }
    }
}

/// What two brokers said to each other while this and that happened.
fn conversation() -> Vec<JoinMessage> {
    let mut one = World::with(config(0, &broker::Config::default()));
    let mut other = World::with(config(1, &broker::Config::default()));
    let mut said = Vec::new();
    one.broker.join(one.now, id(1)).unwrap();
    other.broker.join(other.now, id(0)).unwrap();
    other.subscribed("s", V5_0, "t/#", QoS::ExactlyOnce);
    other.subscribed("m", V5_0, "$share/g/t/#", QoS::ExactlyOnce);
    for round in 0..3 {
        if round == 2 {
            // A session moves, with a message that waits.
            let who = one.client("s");
            one.begin_resume(who, V5_0);
        }
        loop {
            let mut moved = one.step() | other.step();
            while let Some((_, message)) = one.broker.poll_joined(one.now) {
                said.push(message.clone());
                other.broker.handle_joined(other.now, id(0), message);
                moved = true;
            }
            while let Some((_, message)) = other.broker.poll_joined(other.now) {
                said.push(message.clone());
                one.broker.handle_joined(one.now, id(1), message);
                moved = true;
            }
            if !moved {
                break;
            }
        }
        let message = Message::new("t/1", round.to_string()).unwrap();
        let message = message.with_qos(QoS::AtLeastOnce).with_retain(round == 1);
        one.broker.publish(one.now, message);
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever comes, in whatever order and however often: no panic, and nothing that grows.
    #[test]
    fn nonsense_does_no_harm(order in prop::collection::vec((0..1000_usize, 0..3_usize), 1..200)) {
        let said = conversation();
        let base = joined(JoinConfig {
            forwards_len_max: 2,
            ..JoinConfig::default()
        });
        let worlds = (0..3).map(|at| World::with(config(at, &base)));
        let mut worlds: Vec<_> = worlds.collect();
        worlds[1].subscribed("s", V5_0, "t/#", QoS::ExactlyOnce);
        for (at, world) in worlds.iter_mut().enumerate() {
            for other in 0..3 {
                if other != at {
                    world.broker.join(world.now, id(other)).unwrap();
                }
            }
        }
        for (place, at) in order {
            let message = said[place % said.len()].clone();
            let world = &mut worlds[at];
            world.broker.handle_joined(world.now, id((at + 1) % 3), message);
            let answers = core::iter::from_fn(|| world.broker.poll_joined(world.now));
            prop_assert!(answers.count() < 10, "no storm of answers");
        }
        for world in &worlds {
            // The retained one, turns that go back to two others, and what waits for a subscriber.
            prop_assert!(world.broker.stats().messages <= 1 + 2 * 2 + 3);
            prop_assert!(world.broker.stats().sessions <= 1, "none that nobody has claimed");
        }
    }
}

/// A message survives being written and read.
#[test]
fn what_is_said_can_be_carried_as_text() {
    let mut kinds = BTreeMap::new();
    for message in conversation() {
        let text = serde_json::to_string(&message).unwrap();
        let back: JoinMessage = serde_json::from_str(&text).unwrap();
        assert_eq!(back, message);
        let value = serde_json::to_value(&message).unwrap();
        let body = &value["body"];
        let kind = body.as_str().map_or_else(
            || body.as_object().unwrap().keys().next().unwrap().clone(),
            str::to_owned,
        );
        *kinds.entry(kind).or_insert(0) += 1;
    }
    let kinds: Vec<_> = kinds.into_keys().collect();
    assert_eq!(
        kinds,
        [
            "Acknowledge",
            "Hello",
            "Interests",
            "Note",
            "Sessions",
            "Welcome"
        ]
    );
}

/// A broker that begins anew gets what the one before had not acknowledged.
#[test]
fn a_broker_begins_anew() {
    let mut mesh = Mesh::new(2);
    mesh.subscribed(1, "before", V5_0, "t", QoS::AtLeastOnce);
    mesh.publish(0, "t", "arrived", QoS::AtLeastOnce);
    mesh.settle();
    mesh.cut(0, 1);
    mesh.publish(0, "t", "waits", QoS::AtLeastOnce);
    let base = joined(JoinConfig {
        incarnation: 1,
        ..JoinConfig::default()
    });
    mesh.worlds[1] = World::with(config(1, &base));
    let after = mesh.worlds[1].subscribed("after", V5_0, "t", QoS::AtLeastOnce);
    mesh.heal(0, 1);
    mesh.settle();
    assert_eq!(mesh.got(1, after), ["t=waits q1"]);
    mesh.publish(0, "t", "new", QoS::AtLeastOnce);
    mesh.publish(1, "u", "new", QoS::AtLeastOnce);
    mesh.settle();
    assert_eq!(mesh.got(1, after), ["t=new q1"]);
    assert_eq!(mesh.forwards_len(), 0);
    let other = mesh.worlds[0].broker.joined().next().unwrap();
    assert_eq!((other.is_up, other.interests), (true, 1));
}

/// A broker that is gone for good: what was its turn goes to others.
#[test]
fn a_broker_is_forgotten() {
    let mut mesh = Mesh::new(3);
    let here = mesh.subscribed(2, "here", V5_0, "$share/g/t", QoS::AtLeastOnce);
    mesh.subscribed(1, "lost", V5_0, "t", QoS::AtLeastOnce);
    mesh.subscribed(1, "member", V5_0, "$share/g/t", QoS::AtLeastOnce);
    for number in 0..6 {
        mesh.publish(0, "t", &number.to_string(), QoS::AtLeastOnce);
    }
    mesh.cut(0, 1);
    mesh.cut(2, 1);
    mesh.settle();
    let before = mesh.got(2, here).len();
    assert_eq!(before, 3, "half of the turns wait for the other broker");
    let now = mesh.worlds[0].now;
    mesh.worlds[0].broker.forget_joined(now, id(1));
    mesh.settle();
    assert_eq!(mesh.got(2, here).len(), 3, "now they have come");
    assert_eq!(mesh.forwards_len(), 0);
    assert_eq!(mesh.worlds[0].broker.joined().count(), 1);
    assert_eq!(mesh.worlds[0].broker.stats().messages, 0);
}

/// Above the limit filters are not noted, and counted.
#[test]
fn interests_are_bounded() {
    let base = joined(JoinConfig {
        interests_max: 2,
        ..JoinConfig::default()
    });
    let mut mesh = Mesh::with(2, &base);
    let who = mesh.joined(1, "s", V5_0);
    let filters = ["a", "b", "c"].map(|filter| want(filter, QoS::AtLeastOnce));
    mesh.worlds[1].subscribe(who, &filters);
    mesh.settle();
    let other = mesh.worlds[0].broker.joined().next().unwrap();
    assert_eq!((other.interests, other.interests_refused), (2, 1));
    assert_eq!(refused(&mesh), ["c"]);
}

/// What was told of interests that are not noted, by the first broker.
fn refused(mesh: &Mesh) -> Vec<String> {
    let told = mesh.events.iter().filter_map(|(at, event)| match event {
        Event::InterestRefused { broker, filter } => {
            assert_eq!((*at, *broker), (0, id(1)));
            Some(filter.clone())
        }
        _ => None,
    });
    told.collect()
}

/// One broker allows more levels than the other.
#[test]
fn interests_have_no_more_levels_than_there_may_be() {
    let mut mesh = Mesh::apart(2, &broker::Config::default());
    let shallow = broker::Config {
        levels_max: 2,
        ..broker::Config::default()
    };
    mesh.worlds[0] = World::with(config(0, &shallow));
    mesh.heal(0, 1);
    mesh.settle();
    let who = mesh.joined(1, "s", V5_0);
    let filters = ["a/b/c", "a/b", "$share/g/a/b/c"].map(|filter| want(filter, QoS::AtLeastOnce));
    mesh.worlds[1].subscribe(who, &filters);
    mesh.settle();
    let other = mesh.worlds[0].broker.joined().next().unwrap();
    assert_eq!((other.interests, other.interests_refused), (1, 2));
    let mut told = refused(&mesh);
    told.sort();
    assert_eq!(told, ["$share/g/a/b/c", "a/b/c"]);
}

/// A broker that begins anew has to have a higher incarnation. One that has not is not joined, and that is told, once
/// for each link, whether or not its end of the older one is known, and however many links it has opened itself.
#[test]
fn a_broker_that_begins_anew_as_before_is_told_of() {
    for (row, incarnation, is_noticed, links, expected) in [
        ("a higher one", 5, true, 1, 0),
        ("a higher one, unnoticed", 5, false, 1, 0),
        ("the same", 4, true, 1, 1),
        ("the same, unnoticed", 4, false, 1, 1),
        ("the same, with as many links", 4, true, 4, 1),
        ("the same, with as many links, unnoticed", 4, false, 4, 1),
        ("the same, with more links", 4, true, 9, 1),
        ("the same, with more links, unnoticed", 4, false, 9, 1),
        ("a lower one", 3, true, 1, 1),
        ("a lower one, unnoticed", 3, false, 1, 1),
        ("a lower one, with more links", 3, true, 9, 1),
        ("a lower one, with more links, unnoticed", 3, false, 9, 1),
    ] {
        let base = |incarnation| {
            joined(JoinConfig {
                incarnation,
                ..JoinConfig::default()
            })
        };
        let mut mesh = Mesh::with(2, &base(4));
        for _ in 0..3 {
            mesh.cut(0, 1);
            mesh.heal(0, 1);
            mesh.settle();
        }
        let mut begun = World::with(config(1, &base(incarnation)));
        for _ in 1..links {
            begun.broker.join(begun.now, id(0)).unwrap();
        }
        if is_noticed {
            mesh.cut(0, 1);
            mesh.worlds[1] = begun;
            mesh.heal(0, 1);
        } else {
            mesh.worlds[1] = begun;
            let now = mesh.worlds[1].now;
            mesh.worlds[1].broker.join(now, id(0)).unwrap();
        }
        mesh.settle();
        mesh.publish(0, "t", "m", QoS::AtLeastOnce);
        let kept = Message::new("t", "kept").unwrap().with_retain(true);
        mesh.send(1, kept.with_qos(QoS::AtLeastOnce));
        mesh.settle();
        let told = mesh.events.iter().filter(|(at, event)| {
            *at == 0 && matches!(event, Event::IncarnationTooLow { broker } if *broker == id(1))
        });
        assert_eq!(told.count(), expected, "{row}");
        let topic = TopicName::new("t").unwrap();
        let is_heard = mesh.worlds[0].broker.retained(topic).is_some();
        assert_eq!(is_heard, expected == 0, "{row}");
        // Nor does either of them take the other one for one that hears it: it would wait for it at each CONNECT.
        // However often the link is opened.
        for reopened in 0..4 {
            assert_eq!(are_up(&mesh), [expected == 0; 2], "{row}, {reopened}");
            let at = reopened % 2;
            let now = mesh.worlds[at].now;
            mesh.worlds[at].broker.join(now, id(1 - at)).unwrap();
            mesh.settle();
        }
    }
}

/// Whether each of two brokers takes the link for one that is up.
fn are_up(mesh: &Mesh) -> [bool; 2] {
    [0, 1].map(|at: usize| mesh.worlds[at].broker.joined().all(|other| other.is_up))
}

/// What a broker has forgotten of another one is gone: where that goes on with what it knows, it would take
/// what is new for what it has had.
#[test]
fn a_broker_that_was_forgotten_is_told_of_who_forgot_it() {
    for (row, links) in [("as many links", 1), ("more links", 9)] {
        let mut mesh = Mesh::new(2);
        let who = mesh.joined(1, "s", V5_0);
        mesh.worlds[1].subscribe(who, &[want("t", QoS::AtLeastOnce)]);
        mesh.settle();
        mesh.publish(0, "t", "before", QoS::AtLeastOnce);
        mesh.settle();
        mesh.cut(0, 1);
        let now = mesh.worlds[0].now;
        mesh.worlds[0].broker.forget_joined(now, id(1));
        for _ in 1..links {
            mesh.worlds[0].broker.join(now, id(1)).unwrap();
        }
        mesh.events.clear();
        mesh.heal(0, 1);
        mesh.settle();
        let told = mesh.events.iter().filter(|(at, event)| {
            *at == 1 && matches!(event, Event::IncarnationTooLow { broker } if *broker == id(0))
        });
        assert_eq!(told.count(), 1, "{row}");
        for reopened in 0..4 {
            assert_eq!(are_up(&mesh), [false; 2], "{row}, {reopened}");
            let at = reopened % 2;
            let now = mesh.worlds[at].now;
            mesh.worlds[at].broker.join(now, id(1 - at)).unwrap();
            mesh.settle();
        }
    }
}

/// The way to one of them is full: the others go on, and it gets what waited when there is room.
#[test]
fn what_is_for_one_broker_waits_without_the_others() {
    let mut mesh = Mesh::new(3);
    for (at, name) in [(1, "s1"), (2, "s2")] {
        let who = mesh.joined(at, name, V5_0);
        mesh.worlds[at].subscribe(who, &[want("t", QoS::AtLeastOnce)]);
    }
    mesh.settle();
    mesh.publish(0, "t", "m", QoS::AtLeastOnce);
    let world = &mut mesh.worlds[0];
    let now = world.now;
    let broker = &mut world.broker;
    let for_third: Vec<_> = core::iter::from_fn(|| broker.poll_joined_to(now, id(2))).collect();
    assert_eq!(for_third.len(), 1);
    assert_eq!(broker.poll_joined_to(now, id(7)), None, "nobody");
    let waits = |broker: &broker::Broker| {
        broker
            .joined()
            .map(|it| it.forwards_len)
            .collect::<Vec<_>>()
    };
    assert_eq!(waits(broker), [1, 1], "neither is acknowledged");
    let for_second = broker.poll_joined(now);
    assert_eq!(for_second.map(|(to, _)| to), Some(id(1)), "it has waited");
    assert_eq!(broker.poll_joined(now), None);
}

/// What a store does not know of yet is not acknowledged: a broker that comes back without it gets it
/// again.
#[test]
fn what_is_not_stored_is_not_acknowledged() {
    let base = broker::Config {
        journal: true,
        ..broker::Config::default()
    };
    let mut brokers = [0, 1].map(|at| Broker::new(config(at, &base)));
    let now = Timestamp::ZERO;
    let exchange = |[one, other]: &mut [Broker; 2]| {
        loop {
            let (up, down) = (one.poll_joined(now), other.poll_joined(now));
            if up.is_none() && down.is_none() {
                return;
            }
            if let Some((_, message)) = up {
                other.handle_joined(now, id(0), message);
            }
            if let Some((_, message)) = down {
                one.handle_joined(now, id(1), message);
            }
        }
    };
    brokers[0].join(now, id(1)).unwrap();
    brokers[1].join(now, id(0)).unwrap();
    exchange(&mut brokers);
    let message = Message::new("t", "m").unwrap().with_qos(QoS::AtLeastOnce);
    brokers[0].publish(now, message.with_retain(true));
    exchange(&mut brokers);
    let topic = TopicName::new("t").unwrap();
    assert!(brokers[1].retained(topic).is_some(), "it has arrived");
    let waiting = |brokers: &[Broker; 2]| brokers[0].joined().next().unwrap().forwards_len;
    assert_eq!(waiting(&brokers), 1, "and is not stored");
    let entry = brokers[1].poll_journal().unwrap();
    exchange(&mut brokers);
    assert_eq!(waiting(&brokers), 1, "still not");
    // Found by a simulation: a new link said that it had come, and a crash before it was stored lost it.
    brokers[0].join(now, id(1)).unwrap();
    brokers[1].join(now, id(0)).unwrap();
    exchange(&mut brokers);
    assert_eq!(waiting(&brokers), 1, "nor on a new link");
    brokers[1].handle_stored(entry.position());
    exchange(&mut brokers);
    assert_eq!(waiting(&brokers), 0);
}
