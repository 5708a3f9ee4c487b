//! The broker with a store, killed without a warning in the middle of traffic, again and again: whatever
//! was acknowledged has come, at QoS 2 once and in order.

#![cfg(feature = "interop")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use mqtt_codec::{Message, ProtocolVersion, QoS, SubscribeFilter};
use mqtt_examples::drive::blocking::Driver;
use mqtt_examples::settings::Settings;
use mqtt_state::client::{Client, Config, Event};

use support::{OurBroker, PATIENCE, Program, folder, free_port};

/// How often the broker is killed, for each version.
const KILLS: u32 = 100;
/// How often with other people's clients, which wait longer before they come back.
const PAHO_KILLS: u32 = 20;
/// Messages that are not acknowledged yet, at most.
const WINDOW: u32 = 30;
/// A subscriber that is away for so many kills, and then there for as many.
const AWAY: u32 = 5;

/// The finalizer of `SplitMix64`.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value ^ (value >> 31)
}

/// A broker that can be killed and started again in the same place.
struct Mortal {
    bind: String,
    store: String,
    running: Option<OurBroker>,
}

impl Mortal {
    fn new(name: &str) -> Self {
        let store = folder(name).join("store.redb");
        Self {
            bind: format!("127.0.0.1:{}", free_port()),
            store: store.to_str().unwrap().to_owned(),
            running: None,
        }
    }

    fn start(&mut self) {
        // Nothing is dropped for want of room.
        let options = [
            "--bind",
            &self.bind,
            "--store",
            &self.store,
            "--max-queued",
            "1000000",
        ];
        self.running = Some(OurBroker::quiet(&options));
    }

    fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.program.kill();
        }
    }
}

/// Other people's clients through the same: a script that publishes and subscribes, and says what has
/// come.
fn paho_survives(version: &str, seed: u64) {
    let mut mortal = Mortal::new(&format!("kill-paho-{version}"));
    mortal.start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/paho/survive.py");
    let port = mortal.bind.rsplit(':').next().unwrap();
    let arguments = [script.to_str().unwrap(), port, version, "1500"];
    let mut script = Program::start("python3", &arguments);
    script.wait_for("ready");
    for kill in 0..PAHO_KILLS {
        for _ in 0..=mix(seed ^ u64::from(kill)) % 60 {
            script.wait_for("got");
        }
        mortal.kill();
        mortal.start();
    }
    script.wait_for("done");
    script.succeed();
}

#[test]
fn acknowledged_messages_of_paho_survive_in_5_0() {
    paho_survives("5", 3);
}

#[test]
fn acknowledged_messages_of_paho_survive_in_3_1_1() {
    paho_survives("4", 4);
}

/// Every other message has QoS 2.
fn qos_of(number: u32) -> QoS {
    if number.is_multiple_of(2) {
        QoS::ExactlyOnce
    } else {
        QoS::AtLeastOnce
    }
}

/// A client that comes back to its session.
struct Player {
    driver: Driver,
    is_open: bool,
    /// How often each message came.
    came: BTreeMap<u32, u32>,
    /// The QoS 2 messages in their order.
    order: Vec<u32>,
    acknowledged: u32,
    has_subscribed: bool,
}

impl Player {
    fn new(mortal: &Mortal, version: ProtocolVersion, name: &str) -> Self {
        let mut settings = Settings::new(mortal.bind.clone(), version, name);
        settings.clean_start = false;
        settings.session_expiry_secs = Some(10_000);
        Self {
            driver: Driver::new(Client::new(Config::default()), settings),
            is_open: false,
            came: BTreeMap::new(),
            order: Vec::new(),
            acknowledged: 0,
            has_subscribed: false,
        }
    }

    /// Goes on for a moment, with a new connection if there is none. Answers whether anything
    /// happened.
    fn step(&mut self) -> bool {
        if !self.is_open {
            self.is_open = self.driver.open().is_ok();
        }
        self.is_open = self.is_open && self.driver.step(Duration::from_millis(1));
        let mut happened = false;
        while let Some(event) = self.driver.client.poll_event() {
            happened = true;
            match event {
                Event::Connected { session_present } => {
                    assert!(
                        session_present || !self.has_subscribed,
                        "an acknowledged session is kept"
                    );
                }
                Event::Subscribed { .. } => self.has_subscribed = true,
                Event::Message { message, .. } => {
                    let text = String::from_utf8_lossy(message.payload());
                    let number = text.parse().unwrap();
                    *self.came.entry(number).or_default() += 1;
                    if qos_of(number) == QoS::ExactlyOnce {
                        self.order.push(number);
                    }
                }
                Event::Published { reason, .. } => {
                    assert!(!reason.is_error(), "{reason}");
                    self.acknowledged += 1;
                }
                Event::PublishLost { cause, .. } => panic!("{cause:?}"),
                _ => {}
            }
        }
        happened
    }

    fn step_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !done(self) {
            self.step();
            assert!(
                since.elapsed() < PATIENCE,
                "{what}: {} came, {} acknowledged, {:?}",
                self.came.len(),
                self.acknowledged,
                self.driver.client.explain()
            );
        }
    }

    fn leave(&mut self) {
        self.driver.close();
        self.is_open = false;
    }
}

fn survives(version: ProtocolVersion, seed: u64) {
    let mut mortal = Mortal::new(&format!("kill-{}", version.level()));
    mortal.start();
    let mut publisher = Player::new(&mortal, version, "publisher");
    let mut reader = Player::new(&mortal, version, "reader");
    let mut guest = Player::new(&mortal, version, "guest");
    for player in [&mut reader, &mut guest] {
        player.step_until("connected", |player| player.is_open);
        let filter = SubscribeFilter::new("load/#", QoS::ExactlyOnce).unwrap();
        while player.driver.client.subscribe(&[filter]).is_err() {
            player.step();
        }
        player.step_until("subscribed", |player| player.has_subscribed);
    }
    let mut sent = 0;
    for kill in 0..KILLS {
        // So much happens before the end comes.
        let mut left = mix(seed ^ u64::from(kill)) % 120;
        let is_there = (kill / AWAY).is_multiple_of(2);
        if !is_there && guest.is_open {
            guest.leave();
        }
        let since = Instant::now();
        while left > 0 {
            while sent - publisher.acknowledged < WINDOW {
                let message = Message::new(&format!("load/{}", sent % 7), sent.to_string());
                let message = message.unwrap().with_qos(qos_of(sent));
                let now = publisher.driver.now();
                publisher.driver.client.publish(now, message).unwrap();
                sent += 1;
            }
            let mut happened = publisher.step() | reader.step();
            if is_there {
                happened |= guest.step();
            }
            left -= u64::from(happened).min(left);
            assert!(
                since.elapsed() < PATIENCE,
                "seed {seed}, kill {kill}: it goes on"
            );
        }
        mortal.kill();
        mortal.start();
    }
    let all = |player: &Player| player.came.len() == usize::try_from(sent).unwrap();
    publisher.step_until("all is acknowledged", |player| player.acknowledged == sent);
    reader.step_until("all came to the reader", all);
    guest.step_until("all came to the guest", all);
    for (name, player) in [("reader", &mut reader), ("guest", &mut guest)] {
        // What still comes would come now.
        for _ in 0..20 {
            player.step();
        }
        let doubled = player
            .came
            .iter()
            .filter(|(number, times)| qos_of(**number) == QoS::ExactlyOnce && **times > 1);
        let doubled: Vec<_> = doubled.collect();
        assert!(doubled.is_empty(), "seed {seed}, {name}: {doubled:?}");
        assert!(
            player.order.is_sorted(),
            "seed {seed}, {name}: in order at QoS 2"
        );
    }
    assert!(sent > KILLS, "there was traffic: {sent}");
}

#[test]
fn acknowledged_messages_survive_a_hundred_kills_in_5_0() {
    survives(ProtocolVersion::V5_0, 1);
}

#[test]
fn acknowledged_messages_survive_a_hundred_kills_in_3_1_1() {
    survives(ProtocolVersion::V3_1_1, 2);
}
