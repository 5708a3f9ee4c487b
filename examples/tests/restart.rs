//! Our clients through a real broker that is killed and comes back in the middle: nothing is lost at
//! QoS 1, nothing is lost or doubled at QoS 2.

#![cfg(feature = "interop")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use mqtt_codec::{Message, ProtocolVersion, QoS, SubscribeFilter};
use mqtt_examples::drive::blocking::Driver;
use mqtt_examples::settings::Settings;
use mqtt_state::client::{Client, Config, Event};

use support::{PATIENCE, Program, free_port};

const MESSAGES: u32 = 10_000;
/// How many have come when the broker goes.
const BEFORE: u32 = 3_000;

/// A broker that keeps what it has in a folder of its own.
struct Mosquitto {
    port: String,
    config: PathBuf,
}

impl Mosquitto {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _was_not_there = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (port, config) = (free_port(), folder.join("mosquitto.conf"));
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
             persistence_location {}/\nmax_queued_messages 0\nuser root\n",
            folder.display()
        );
        std::fs::write(&config, text).unwrap();
        Self { port, config }
    }

    fn start(&self) -> Program {
        let config = self.config.to_str().unwrap();
        let mut program = Program::start("mosquitto", &["-c", config, "-v"]);
        program.wait_until_running();
        program
    }

    /// A client that comes back to its session whenever it is cut off.
    fn driver(&self, version: ProtocolVersion, name: &str) -> Driver {
        let mut settings = Settings::new(format!("127.0.0.1:{}", self.port), version, name);
        settings.clean_start = false;
        settings.session_expiry_secs = Some(1_000);
        let config = Config {
            waiting_len_max: usize::try_from(MESSAGES).unwrap(),
            ..Config::default()
        };
        Driver::new(Client::new(config), settings)
    }
}

/// What the clients tell the test.
enum Told {
    Subscribed,
    Arrived(u32),
    Published,
}

/// Every other message has QoS 2.
fn qos_of(number: u32) -> QoS {
    if number.is_multiple_of(2) {
        QoS::ExactlyOnce
    } else {
        QoS::AtLeastOnce
    }
}

fn survives(version: ProtocolVersion) {
    let mosquitto = Mosquitto::new(&format!("restart-{}", version.level()));
    let (mut first_run, mut second_run) = (Some(mosquitto.start()), None);
    let mut log = Vec::new();
    let (sender, told) = mpsc::channel();
    let tell = sender.clone();
    let subscriber =
        mosquitto
            .driver(version, "subscriber")
            .spawn(move |client, event| match event {
                Event::Connected {
                    session_present: false,
                } => {
                    let filter = SubscribeFilter::new("load/#", QoS::ExactlyOnce).unwrap();
                    client.subscribe(&[filter]).unwrap();
                }
                Event::Subscribed { .. } => tell.send(Told::Subscribed).unwrap(),
                Event::Message { message, .. } => {
                    let number = String::from_utf8_lossy(message.payload()).parse().unwrap();
                    tell.send(Told::Arrived(number)).unwrap();
                }
                _ => {}
            });
    let first = told.recv_timeout(PATIENCE).expect("an answer");
    assert!(matches!(first, Told::Subscribed));
    let publisher = mosquitto
        .driver(version, "publisher")
        .spawn(move |_, event| match event {
            Event::Published { reason, .. } => {
                assert!(!reason.is_error(), "{reason}");
                sender.send(Told::Published).unwrap();
            }
            Event::PublishLost { cause, .. } => panic!("{cause:?}"),
            _ => {}
        });
    let sends = publisher.call(|client, now| {
        for number in 0..MESSAGES {
            let message = Message::new(&format!("load/{number}"), number.to_string()).unwrap();
            client
                .publish(now, message.with_qos(qos_of(number)))
                .unwrap();
        }
    });
    assert!(sends);

    let (mut arrived, mut published) = (BTreeMap::<u32, u32>::new(), 0);
    let has_all = |arrived: &BTreeMap<u32, u32>| arrived.len() == MESSAGES as usize;
    while !has_all(&arrived) || published < MESSAGES {
        match told.recv_timeout(PATIENCE).expect("it goes on") {
            Told::Arrived(number) => *arrived.entry(number).or_default() += 1,
            Told::Published => published += 1,
            Told::Subscribed => panic!("the session was lost"),
        }
        if arrived.len() == BEFORE as usize
            && let Some(running) = first_run.take()
        {
            // It writes down what it has, and is gone at once.
            log.extend(running.interrupt().1);
            second_run = Some(mosquitto.start());
        }
    }
    publisher.stop();
    subscriber.stop();
    // What still comes would come before the goodbye.
    while let Ok(Told::Arrived(number)) = told.try_recv() {
        *arrived.entry(number).or_default() += 1;
    }
    let second_run = second_run.expect("it was restarted");
    log.extend(second_run.interrupt().1);
    assert_eq!(published, MESSAGES, "each is told once");
    let excused = sent_after_release(&log);
    let doubled = arrived.iter().filter(|(number, times)| {
        qos_of(**number) == QoS::ExactlyOnce && **times > 1 && !excused.contains(number)
    });
    let doubled: Vec<_> = doubled.collect();
    assert!(doubled.is_empty(), "QoS 2 comes exactly once: {doubled:?}");
}

/// Which messages mosquitto sent again after it had sent their PUBREL. 2.0.11 does that for some of
/// those that it restores from its file, although the standard forbids it, and whoever has answered the
/// PUBREL takes them for new ones.
// [5:MQTT-4.3.3-6] [3:MQTT-4.3.3-1]
fn sent_after_release(log: &[String]) -> BTreeSet<u32> {
    let id_of = |line: &str| {
        let digits = line.split_once("(m").or_else(|| line.split_once(", m"))?.1;
        let end = digits.find(|it: char| !it.is_ascii_digit())?;
        digits.get(..end)?.parse::<u16>().ok()
    };
    let number_of = |line: &str| {
        let digits = line.split_once("'load/")?.1;
        digits.split_once('\'')?.0.parse::<u32>().ok()
    };
    let (mut released, mut found) = (BTreeSet::new(), BTreeSet::new());
    for line in log.iter().filter(|line| line.contains("to subscriber (")) {
        let Some(id) = id_of(line) else { continue };
        if line.contains("Sending PUBREL") {
            released.insert(id);
        } else if line.contains("(d0,") {
            released.remove(&id);
        } else if line.contains("(d1,") && released.contains(&id) {
            found.extend(number_of(line));
        }
    }
    found
}

#[test]
fn ten_thousand_messages_survive_a_restart_of_the_broker_in_5_0() {
    survives(ProtocolVersion::V5_0);
}

#[test]
fn ten_thousand_messages_survive_a_restart_of_the_broker_in_3_1_1() {
    survives(ProtocolVersion::V3_1_1);
}
