//! Whole systems under a random schedule: clients that publish, subscribe, vanish and come back,
//! while time passes. The seed decides everything, and a failure names it.

use std::collections::BTreeMap;

use mqtt_codec::{ProtocolVersion, QoS};
use mqtt_state::broker;
use mqtt_state::client::Event;

use crate::wire::{V3_1_1, V5_0, want};
use crate::world::{Who, World};

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

const PUBLISHERS: usize = 2;
const SUBSCRIBERS: usize = 3;
const NAMES: [&str; PUBLISHERS + SUBSCRIBERS] = [
    "publisher-0",
    "publisher-1",
    "subscriber-0",
    "subscriber-1",
    "subscriber-2",
];
const TOPICS: [&str; 2] = ["t/0", "t/1"];

/// One client, and what it has seen.
struct Player {
    who: Who,
    version: ProtocolVersion,
    /// Payloads by topic and QoS, in the order of arrival.
    got: BTreeMap<(String, u8), Vec<u32>>,
    /// QoS 1 and 2 publishes that were reported as complete.
    completed: usize,
}

struct Run {
    world: World,
    random: Random,
    players: Vec<Player>,
    /// The next payload, for each publisher.
    next: [u32; PUBLISHERS],
    /// QoS 1 and 2 messages taken by `publish`, for each publisher.
    taken: [usize; PUBLISHERS],
    trace: String,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut world = World::with(broker::Config {
            seed,
            ..broker::Config::default()
        });
        world.chunk = [1, 20, 64, 4096][usize::try_from(random.below(4)).unwrap()];
        world.shared = random.chance(50);
        let mut players = Vec::new();
        for name in NAMES {
            let version = if random.chance(50) { V3_1_1 } else { V5_0 };
            let who = world.client(name);
            world.resume(who, version);
            players.push(Player {
                who,
                version,
                got: BTreeMap::new(),
                completed: 0,
            });
        }
        for player in &players[PUBLISHERS..] {
            world.subscribe(player.who, &[want("t/#", QoS::ExactlyOnce)]);
        }
        Self {
            world,
            random,
            players,
            next: [0; PUBLISHERS],
            taken: [0; PUBLISHERS],
            trace: String::new(),
        }
    }

    fn act(&mut self) {
        let place = usize::try_from(self.random.below(self.players.len() as u64)).unwrap();
        let (who, version) = (self.players[place].who, self.players[place].version);
        match self.random.below(100) {
            0..40 if place < PUBLISHERS => self.publish(place),
            40..80 => {
                let packets = self.random.below(8);
                self.world.settle_for(usize::try_from(packets).unwrap());
            }
            80..86 => self.world.cut(who),
            86..88 => {
                self.world.vanish(who);
            }
            88..96 if self.world.connection(who).is_none() => {
                self.world.begin_resume(who, version);
            }
            96..98 => self.world.pass_secs(30),
            _ => {
                self.world.step();
            }
        }
        self.look();
    }

    fn publish(&mut self, place: usize) {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        let qos = qos[usize::try_from(self.random.below(3)).unwrap()];
        let topic = TOPICS[usize::try_from(self.random.below(2)).unwrap()];
        // Publishers have numbers of their own, so that a receiver can tell them apart.
        let number = self.next[place] * 10 + u32::try_from(place).unwrap();
        self.next[place] += 1;
        self.world
            .publish(self.players[place].who, topic, &number.to_string(), qos);
        self.taken[place] += usize::from(qos != QoS::AtMostOnce);
    }

    /// Notes what the clients were told.
    fn look(&mut self) {
        for (place, player) in self.players.iter_mut().enumerate() {
            for event in self.world.events(player.who) {
                self.trace.push_str(&format!("{place} {event:?}\n"));
                match event {
                    Event::Message { message, .. } => {
                        let number: u32 = core::str::from_utf8(message.payload())
                            .unwrap()
                            .parse()
                            .unwrap();
                        let key = (message.topic().to_string(), u8::from(message.qos()));
                        player.got.entry(key).or_default().push(number);
                    }
                    Event::Published { .. } => player.completed += 1,
                    Event::PublishLost { .. } => panic!("sessions are kept: {event:?}"),
                    _ => {}
                }
            }
        }
    }

    /// Everybody comes back, and everything is delivered.
    fn finish(&mut self) {
        for place in 0..self.players.len() {
            let (who, version) = (self.players[place].who, self.players[place].version);
            if self.world.connection(who).is_none() {
                self.world.begin_resume(who, version);
            }
        }
        self.world.settle();
        self.look();
    }

    fn check(&self, seed: u64) {
        let mut complete = 0;
        for (place, player) in self.players.iter().enumerate() {
            let row = format!("seed {seed}, {}", NAMES[place]);
            for ((topic, qos), numbers) in &player.got {
                for publisher in 0..PUBLISHERS {
                    let of_publisher = numbers
                        .iter()
                        .filter(|number| **number as usize % 10 == publisher);
                    let mut seen: Vec<u32> = Vec::new();
                    for number in of_publisher {
                        let first = !seen.contains(number);
                        // [5:MQTT-4.3.3-1] [3:MQTT-4.3.3-1] Exactly once; QoS 0 at most once.
                        assert!(
                            first || *qos == 1,
                            "{row}: {number} twice at QoS {qos} on {topic}"
                        );
                        if first {
                            // [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-6] In the order published.
                            let ordered = seen.last().is_none_or(|last| last < number);
                            assert!(
                                ordered,
                                "{row}: {number} after {seen:?} at QoS {qos} on {topic}"
                            );
                            seen.push(*number);
                        }
                    }
                    complete += usize::from(*qos > 0) * seen.len();
                }
            }
        }
        let taken: usize = self.taken.iter().sum();
        assert_eq!(
            complete,
            taken * SUBSCRIBERS,
            "seed {seed}: QoS 1 and 2 reach all"
        );
        assert_eq!(
            self.world.broker.stats().messages,
            0,
            "seed {seed}: nothing is kept"
        );
    }
}

fn run(seed: u64) -> Run {
    let mut run = Run::new(seed);
    for _ in 0..300 {
        run.act();
    }
    run.finish();
    run
}

#[test]
fn whatever_happens_messages_arrive_once_and_in_order() {
    for seed in 0..200 {
        run(seed).check(seed);
    }
}

#[test]
fn the_same_calls_have_the_same_outcome() {
    for seed in 0..20 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(
            format!("{:?}", first.world),
            format!("{:?}", second.world),
            "seed {seed}"
        );
    }
}
