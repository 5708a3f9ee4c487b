//! What a broker says, case by case through the sections of the reference, as scripts that were
//! written from the standard.
//!
//! A case has a name, its versions, its section and the statements behind it. Then comes what happens,
//! line by line; behind each step stands everything that anybody hears of it, and nothing else may be
//! heard:
//!
//! ```text
//! set KEY=VALUE ...         the configuration of the broker
//! NAME speaks VERSION       where not all speak the same
//! NAME joins OPTIONS        CONNECT with this name, answered by CONNACK 00 (`joins again`: present)
//! NAME wants FILTER:qN ...  SUBSCRIBE, answered by SUBACK with these QoS
//! NAME > PACKET             a packet of the client; the first one opens a connection
//! NAME < PACKET             what the client hears; `close` is the end of the connection
//! NAME cut                  the network fails
//! wait SECONDS              time passes
//! embedder > PUBLISH ...    a message of the broker's own
//! decide ask|allow|refuse   what the embedder says to an authentication
//! drain CODE PLACE          the broker sends everybody away
//! [5] ... and [3] ...       a line for one version
//! ```
//!
//! Packets are in the notation of `wire`, with their properties behind; `HEX 10 0C ...` are bytes.

mod packets;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use mqtt_codec::{ConnectReason, ProtocolVersion, QoS, ReasonCode};
use mqtt_state::broker::{self, Ask, Config, ConnectAnswer, ConnectionId, Event};
use mqtt_state::{Timestamp, Transmit};

use crate::recorded::Broker;
use crate::wire::{V3_1_1, V5_0, shared};

const ALL: [(&str, &str); 8] = [
    ("07-qos.txt", include_str!("07-qos.txt")),
    ("08-sessions.txt", include_str!("08-sessions.txt")),
    ("09-life-cycle.txt", include_str!("09-life-cycle.txt")),
    ("10-limits.txt", include_str!("10-limits.txt")),
    ("11-subscriptions.txt", include_str!("11-subscriptions.txt")),
    (
        "12-authentication.txt",
        include_str!("12-authentication.txt"),
    ),
    ("13-errors.txt", include_str!("13-errors.txt")),
    ("14-versions.txt", include_str!("14-versions.txt")),
];

/// Sections that are about a broker.
const SECTIONS: [&str; 30] = [
    "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "7.7", "7.8", "7.9", "8.1", "8.2", "8.3", "9.1",
    "9.2", "9.3", "9.4", "9.5", "10.1", "10.2", "10.3", "10.4", "10.5", "10.6", "10.7", "10.8",
    "11.1", "11.2", "11.3", "11.4", "11.5",
];
const MORE_SECTIONS: [&str; 5] = ["11.6", "12", "13.1", "13.2", "14"];

struct Case<'t> {
    file: &'t str,
    name: &'t str,
    versions: Vec<ProtocolVersion>,
    section: &'t str,
    steps: Vec<(usize, &'t str)>,
}

fn cases() -> Vec<Case<'static>> {
    let mut all: Vec<Case<'static>> = Vec::new();
    for (file, text) in ALL {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(head) = line.strip_prefix("case ") {
                let fields: Vec<_> = head.split('|').map(str::trim).collect();
                let [name, versions, section, rules] = fields[..] else {
                    panic!("{file}: {line}");
                };
                let versions = match versions {
                    "both" => vec![V5_0, V3_1_1],
                    "5.0" => vec![V5_0],
                    "3.1.1" => vec![V3_1_1],
                    other => panic!("{file}: {other}"),
                };
                assert!(
                    rules == "silent"
                        || rules.starts_with("[5:MQTT-")
                        || rules.starts_with("[3:MQTT-"),
                    "{file}: {line}"
                );
                let section = section.strip_prefix("section ").unwrap();
                all.push(Case {
                    file,
                    name,
                    versions,
                    section,
                    steps: Vec::new(),
                });
            } else if !line.is_empty() && !line.starts_with('#') {
                all.last_mut().unwrap().steps.push((number + 1, line));
            }
        }
    }
    all
}

#[derive(Default)]
struct Client {
    connection: Option<ConnectionId>,
    last_id: u16,
    /// Where it is another than that of the case.
    version: Option<ProtocolVersion>,
}

struct Stage {
    version: ProtocolVersion,
    config: Config,
    /// From the first step that is no `set`.
    broker: Option<Broker>,
    now: Timestamp,
    clients: BTreeMap<String, Client>,
    heard: BTreeMap<String, VecDeque<String>>,
    questions: Vec<broker::ConnectDecision>,
}

impl Stage {
    fn new(version: ProtocolVersion) -> Self {
        let mut config = Config::default();
        // Topics are to be read; the cases of section 10.2 allow aliases.
        config.server.outbound_topic_aliases_max = 0;
        Self {
            version,
            config,
            broker: None,
            now: Timestamp::from_secs(1000),
            clients: BTreeMap::new(),
            heard: BTreeMap::new(),
            questions: Vec::new(),
        }
    }

    fn broker(&mut self) -> &mut Broker {
        let config = &self.config;
        self.broker
            .get_or_insert_with(|| Broker::new(config.clone()))
    }

    fn version_of(&self, name: &str) -> ProtocolVersion {
        let client = self.clients.get(name);
        let version = client.and_then(|client| client.version);
        version.unwrap_or(self.version)
    }

    fn set(&mut self, key: &str, value: &str) {
        assert!(self.broker.is_none(), "the broker is there already");
        let config = &mut self.config;
        let server = &mut config.server;
        let number = || value.parse::<u32>().unwrap();
        let small = || u16::try_from(number()).unwrap();
        let size = || usize::try_from(number()).unwrap();
        let flag = || number() != 0;
        match key {
            "receive-maximum" => server.receive_maximum = small(),
            "in-flight-max" => server.in_flight_max = small(),
            "alias-maximum" => server.topic_alias_maximum = small(),
            "aliases" => server.outbound_topic_aliases_max = small(),
            "maximum-qos" => {
                server.maximum_qos = QoS::try_from(u8::try_from(number()).unwrap()).unwrap();
            }
            "retain" => server.retain_available = flag(),
            "wildcards" => server.wildcard_subscription_available = flag(),
            "subscription-ids" => server.subscription_id_available = flag(),
            "shared" => server.shared_subscription_available = flag(),
            "shared-in-3" => config.shared_subscriptions_in_3_1_1 = flag(),
            "keep-alive-max" => server.keep_alive_max_secs = small().try_into().ok(),
            "session-expiry-max" => server.session_expiry_max_secs = Some(number()),
            "packet-size-max" => server.packet_size_max = number(),
            "connect-size-max" => server.connect_packet_size_max = number(),
            "waiting-max" => server.waiting_len_max = size(),
            "subscriptions-max" => config.subscriptions_per_session_max = size(),
            "authentication" => {
                server.enhanced_authentication = flag();
                config.ask = Ask {
                    connect: flag(),
                    ..Ask::default()
                };
            }
            other => panic!("no such key: {other}"),
        }
    }

    /// Bytes of a client, which opens a connection if it has none.
    fn send(&mut self, name: &str, bytes: &[u8]) {
        let now = self.now;
        let open = self.clients.entry(name.to_owned()).or_default().connection;
        let connection = open.unwrap_or_else(|| {
            let peer = broker::Peer::default();
            self.broker().accept(now, peer).unwrap()
        });
        self.clients.get_mut(name).unwrap().connection = Some(connection);
        let taken = match shared(bytes) {
            Some(mut bytes) => self
                .broker()
                .handle_input_shared(now, connection, &mut bytes),
            None => self.broker().handle_input(now, connection, bytes),
        };
        assert_eq!(taken.bytes, bytes.len(), "everything is taken");
        self.settle();
    }

    /// Whatever is due happens, and everybody hears what there is.
    fn settle(&mut self) {
        let now = self.now;
        loop {
            let broker = self.broker();
            let is_due = broker
                .poll_timeout()
                .is_some_and(|timeout| timeout.at <= now);
            if is_due {
                broker.handle_timeout(now);
            }
            while let Some(event) = self.broker().poll_event() {
                match event {
                    Event::Authenticate { decision, .. }
                    | Event::AuthenticateStep { decision, .. } => self.questions.push(decision),
                    _ => {}
                }
            }
            if self.listen() == 0 && !is_due {
                return;
            }
        }
    }

    /// Answers how many packets were heard.
    fn listen(&mut self) -> usize {
        let now = self.now;
        let mut count = 0;
        while self.broker().poll_ready().is_some() {}
        let open = self.clients.iter();
        let open: Vec<_> = open
            .filter_map(|(name, client)| Some((name.clone(), client.connection?)))
            .collect();
        for (name, connection) in open {
            let mut bytes = Vec::new();
            let transmit = loop {
                let transmit = self
                    .broker()
                    .poll_transmit(now, connection, 4096, &mut bytes);
                if transmit != Transmit::More {
                    break transmit;
                }
            };
            let mut shown = packets::show_all(&bytes, self.version_of(&name));
            if transmit == Transmit::Close {
                shown.push("close".to_owned());
                self.broker().handle_close(now, connection);
                self.clients.get_mut(&name).unwrap().connection = None;
            }
            count += shown.len();
            self.heard.entry(name).or_default().extend(shown);
        }
        count
    }

    fn hears(&mut self, name: &str, expected: &str) -> Result<(), String> {
        let heard = self.heard.get_mut(name).and_then(VecDeque::pop_front);
        match heard.as_deref() {
            Some(heard) if heard == expected => Ok(()),
            Some(other) => Err(format!("{name} hears {other}")),
            None => Err(format!("{name} hears nothing")),
        }
    }

    fn nothing_else(&self) -> Result<(), String> {
        let mut all = self.heard.iter();
        match all.find(|(_, heard)| !heard.is_empty()) {
            Some((name, heard)) => Err(format!("{name} hears as well {heard:?}")),
            None => Ok(()),
        }
    }

    fn wait(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        loop {
            let due = self.broker().poll_timeout().map(|timeout| timeout.at);
            match due.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    fn decide(&mut self, words: &[&str]) {
        let decision = self.questions.remove(0);
        let data = |word: Option<&&str>| word.map(|text| packets::data(text));
        let answer = match words {
            ["ask", rest @ ..] => ConnectAnswer::Ask(data(rest.first())),
            ["allow"] => ConnectAnswer::Allow,
            ["allow", text] => ConnectAnswer::AllowWith(packets::data(text)),
            ["refuse", code] => {
                let code = u8::from_str_radix(code, 16).unwrap();
                let reason = ReasonCode::from_value(code).unwrap();
                ConnectAnswer::Refuse(ConnectReason::try_from(reason).unwrap())
            }
            other => panic!("{other:?}"),
        };
        let now = self.now;
        self.broker().decide_connect(now, decision, answer).unwrap();
        self.settle();
    }

    fn step(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<_> = line.split_whitespace().collect();
        if let [name, "<", ..] = words[..] {
            let (_, expected) = line.split_once('<').unwrap();
            return self.hears(name, expected.trim());
        }
        self.nothing_else()?;
        match words[..] {
            ["set", ref pairs @ ..] => {
                for pair in pairs {
                    let (key, value) = pair.split_once('=').unwrap();
                    self.set(key, value);
                }
            }
            ["wait", secs] => self.wait(secs.parse().unwrap()),
            ["decide", ref answer @ ..] => self.decide(answer),
            ["drain", code, place] => {
                let now = self.now;
                let drain = packets::drain(code, place);
                self.broker().drain(now, drain);
                self.settle();
            }
            ["embedder", ">", "PUBLISH", ref words @ ..] => {
                let now = self.now;
                let message = packets::message(words);
                self.broker().publish(now, message);
                self.settle();
            }
            [name, "joins", ref options @ ..] => {
                let (present, options) = match options {
                    ["again", rest @ ..] => (true, rest),
                    all => (false, all),
                };
                let words = [&["CONNECT", name][..], options].concat();
                let bytes = packets::bytes(&words, self.version_of(name));
                self.send(name, &bytes);
                return self.hears(
                    name,
                    if present {
                        "CONNACK 00 present"
                    } else {
                        "CONNACK 00"
                    },
                );
            }
            [name, "wants", ref filters @ ..] => {
                let client = self.clients.get_mut(name).unwrap();
                client.last_id += 1;
                let id = client.last_id.to_string();
                let words = [&["SUBSCRIBE", &id][..], filters].concat();
                let bytes = packets::bytes(&words, self.version_of(name));
                self.send(name, &bytes);
                let granted = filters.iter().filter_map(|filter| {
                    let (_, options) = filter.split_once(":q")?;
                    Some(format!("0{}", &options[..1]))
                });
                let granted: Vec<_> = granted.collect();
                return self.hears(name, &format!("SUBACK {id} {}", granted.join(" ")));
            }
            [name, "speaks", version] => {
                let version = match version {
                    "5.0" => V5_0,
                    "3.1.1" => V3_1_1,
                    other => return Err(format!("no such version: {other}")),
                };
                self.clients.entry(name.to_owned()).or_default().version = Some(version);
            }
            [name, "cut"] => {
                let now = self.now;
                let connection = self.clients.get_mut(name).unwrap().connection.take();
                self.broker().handle_close(now, connection.unwrap());
                self.settle();
            }
            [name, ">", ref words @ ..] => {
                let bytes = packets::bytes(words, self.version_of(name));
                self.send(name, &bytes);
            }
            _ => return Err("no such step".to_owned()),
        }
        Ok(())
    }
}

/// Where it went otherwise, and how.
fn play(case: &Case<'_>, version: ProtocolVersion) -> Result<(), String> {
    let mut stage = Stage::new(version);
    let Case { file, name, .. } = case;
    for (number, line) in &case.steps {
        let (only, line) = match line.get(..3) {
            Some("[5]") => (Some(V5_0), line[3..].trim()),
            Some("[3]") => (Some(V3_1_1), line[3..].trim()),
            _ => (None, *line),
        };
        if only.is_none_or(|only| only == version) {
            stage
                .step(line)
                .map_err(|what| format!("{file}:{number}, {version}, {name}: {line}: {what}"))?;
        }
    }
    let rest = stage.nothing_else();
    rest.map_err(|what| format!("{file}, {version}, end of {name}: {what}"))
}

/// Every case of one file.
fn play_all(file: &str) {
    let mut wrong = Vec::new();
    let mut played = 0;
    for case in cases().iter().filter(|case| case.file == file) {
        for version in &case.versions {
            wrong.extend(play(case, *version).err());
            played += 1;
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(played > 0, "{file}");
}

#[test]
fn section_7_qos_flows() {
    play_all("07-qos.txt");
}

#[test]
fn section_8_sessions() {
    play_all("08-sessions.txt");
}

#[test]
fn section_9_life_cycle() {
    play_all("09-life-cycle.txt");
}

#[test]
fn section_10_limits_and_features() {
    play_all("10-limits.txt");
}

#[test]
fn section_11_subscriptions_and_retained_messages() {
    play_all("11-subscriptions.txt");
}

#[test]
fn section_12_enhanced_authentication() {
    play_all("12-authentication.txt");
}

#[test]
fn section_13_error_handling() {
    play_all("13-errors.txt");
}

#[test]
fn section_14_both_versions_at_one_broker() {
    play_all("14-versions.txt");
}

#[test]
fn every_section_has_its_cases_and_every_case_a_name_of_its_own() {
    let cases = cases();
    for section in SECTIONS.iter().chain(&MORE_SECTIONS) {
        assert!(
            cases.iter().any(|case| case.section == *section),
            "{section}"
        );
    }
    let mut names: Vec<_> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
}
