//! What has brought others down, each attack by its name: bytes to a client, to a server connection
//! and to a broker, and what is left of them afterwards.

use core::num::NonZeroU16;

use mqtt_codec::{
    Binary, Connect, Delivery, Message, Packet, ProtocolVersion, Publish, PublishTopic, QoS,
    TopicAlias, Will,
};
use mqtt_state::broker::{self, ConnectionId, Event};
use mqtt_state::client::{self};
use mqtt_state::server::{self, Acceptance};
use mqtt_state::{Timestamp, Transmit};

use crate::recorded::{Broker, Client, Connection};
use crate::wire::{
    Machine, Peer, V3_1_1, V5_0, connack, connect, id, name, puback, pubcomp, publish, pubrec,
    pubrel, text, want, with_subscribe,
};

/// Somebody who is connected, and takes bytes.
enum Victim {
    Client(Box<Client>),
    Connection(Box<Connection>),
    Broker(Box<Broker>, ConnectionId),
}

impl Machine for Victim {
    fn input(&mut self, now: Timestamp, bytes: &[u8]) -> mqtt_state::Consumed {
        match self {
            Self::Client(client) => client.handle_input(now, bytes),
            Self::Connection(connection) => connection.handle_input(now, bytes),
            Self::Broker(broker, id) => broker.handle_input(now, *id, bytes),
        }
    }

    fn output(&mut self, now: Timestamp, max_bytes: usize, buf: &mut Vec<u8>) -> Transmit {
        match self {
            Self::Client(client) => client.poll_transmit(now, max_bytes, buf),
            Self::Connection(connection) => connection.poll_transmit(now, max_bytes, buf),
            Self::Broker(broker, id) => broker.poll_transmit(now, *id, max_bytes, buf),
        }
    }
}

impl Victim {
    fn name(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Connection(_) => "server connection",
            Self::Broker(..) => "broker",
        }
    }

    /// Messages that it took from its peer.
    fn taken(&mut self) -> usize {
        match self {
            Self::Client(client) => core::iter::from_fn(|| client.poll_event())
                .filter(|event| matches!(event, client::Event::Message { .. }))
                .count(),
            Self::Connection(connection) => core::iter::from_fn(|| connection.poll_event())
                .filter(|event| matches!(event, server::Event::Publish { .. }))
                .count(),
            Self::Broker(broker, _) => core::iter::from_fn(|| broker.poll_event())
                .filter(|event| matches!(event, Event::Published { .. }))
                .count(),
        }
    }

    /// What it holds for others.
    fn kept(&self) -> usize {
        match self {
            Self::Client(_) | Self::Connection(_) => 0,
            Self::Broker(broker, _) => broker.stats().messages + broker.stats().subscriptions,
        }
    }
}

fn client_of(peer: &Peer) -> Victim {
    let mut client = Client::new(client::Config {
        topic_alias_maximum: 10,
        ..client::Config::default()
    });
    let hello = connect(peer.version, "victim");
    client.connect(peer.now, &hello).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    let mut victim = Victim::Client(Box::new(client));
    victim.taken();
    victim
}

fn connection_of(peer: &Peer) -> Victim {
    let mut connection = Connection::new(peer.now, server::Config::default());
    peer.say(&mut connection, connect(peer.version, "attacker"));
    connection.accept(peer.now, Acceptance::default()).unwrap();
    peer.hear(&mut connection);
    let mut victim = Victim::Connection(Box::new(connection));
    victim.taken();
    victim
}

fn broker_of(peer: &Peer) -> Victim {
    let config = broker::Config {
        message_events: true,
        ..broker::Config::default()
    };
    let mut broker = Broker::new(config);
    let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
    peer.ask(&mut (&mut broker, id), connect(peer.version, "attacker"));
    let mut victim = Victim::Broker(Box::new(broker), id);
    victim.taken();
    victim
}

/// What becomes of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The connection ends, and nothing is taken from it any more.
    Ends,
    /// The rest is waited for.
    Waits,
    /// Nothing happens.
    Ignored,
}
use Outcome::{Ends, Ignored, Waits};

/// Whom an attack is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    All,
    Client,
    Server,
}

struct Attack {
    name: &'static str,
    to: To,
    version: Option<ProtocolVersion>,
    bytes: &'static [u8],
    outcome: Outcome,
}

const fn attack(name: &'static str, to: To, bytes: &'static [u8], outcome: Outcome) -> Attack {
    Attack {
        name,
        to,
        version: None,
        bytes,
        outcome,
    }
}

const fn attack_5(name: &'static str, to: To, bytes: &'static [u8], outcome: Outcome) -> Attack {
    Attack {
        version: Some(V5_0),
        ..attack(name, to, bytes, outcome)
    }
}

const fn attack_3(name: &'static str, to: To, bytes: &'static [u8], outcome: Outcome) -> Attack {
    Attack {
        version: Some(V3_1_1),
        ..attack(name, to, bytes, outcome)
    }
}

/// Packets that brought a decoder or a state machine down somewhere.
const ATTACKS: &[Attack] = &[
    attack(
        "MQTT-C CVE-2026-54412: a topic longer than its packet",
        To::All,
        &[0x30, 5, 0xFF, 0xFF, b'a', b'b', b'c'],
        Ends,
    ),
    attack(
        "NanoMQ 203: a packet shorter than its fields",
        To::All,
        &[0x32, 3, 0, 1, b'a'],
        Ends,
    ),
    attack(
        "NanoMQ CVE-2026-25627: 4,096 bytes declared and three there",
        To::All,
        &[0x30, 0x80, 0x20, 0, 1, b'a'],
        Waits,
    ),
    attack(
        "CVE-2026-21888: a length of five bytes",
        To::All,
        &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01],
        Ends,
    ),
    attack(
        "wolfMQTT 545: a length that never ends",
        To::All,
        &[0x30, 0xFF, 0xFF, 0xFF],
        Waits,
    ),
    attack_5(
        "wolfMQTT 443: properties longer than their packet",
        To::All,
        &[0x30, 6, 0, 1, b'a', 9, 0x01, 0x01],
        Ends,
    ),
    attack_5(
        "wolfMQTT PR 187: a property that does not belong there",
        To::All,
        &[0x30, 9, 0, 1, b'a', 5, 0x11, 0, 0, 0, 1],
        Ends,
    ),
    attack_5(
        "wolfMQTT PR 232: the second text of a user property beyond the packet",
        To::All,
        &[0x30, 11, 0, 1, b'a', 7, 0x26, 0, 1, b'k', 0, 9, b'v'],
        Ends,
    ),
    attack(
        "Mongoose CVE-2019-19307: no progress at a length of 0",
        To::All,
        &[0x30, 0],
        Ends,
    ),
    attack(
        "MQTT.js CVE-2017-10910: a PUBLISH cut short",
        To::All,
        &[0x30, 1, 0],
        Ends,
    ),
    attack_3(
        "mochi 501: a filter without its options",
        To::Server,
        &[0x82, 5, 0, 1, 0, 1, b'a'],
        Ends,
    ),
    attack_5(
        "mochi 501: a filter without its options",
        To::Server,
        &[0x82, 6, 0, 1, 0, 0, 1, b'a'],
        Ends,
    ),
    attack_3(
        "minimq 2: SUBSCRIBE without filters",
        To::Server,
        &[0x82, 2, 0, 1],
        Ends,
    ),
    attack_5(
        "minimq 2: UNSUBSCRIBE without filters",
        To::Server,
        &[0xA2, 3, 0, 1, 0],
        Ends,
    ),
    attack_3(
        "CVE-2024-10525: SUBACK without codes",
        To::Client,
        &[0x90, 2, 0, 1],
        Ends,
    ),
    attack_5(
        "rust-mqtt 82: SUBACK without codes",
        To::Client,
        &[0x90, 3, 0, 1, 0],
        Ends,
    ),
    attack_3(
        "CVE-2021-34432: a topic without a byte",
        To::All,
        &[0x30, 3, 0, 0, b'x'],
        Ends,
    ),
    attack_5(
        "CVE-2021-34432: a topic without a byte, and no alias",
        To::All,
        &[0x30, 4, 0, 0, 0, b'x'],
        Ends,
    ),
    attack_3(
        "CVE-2017-7653: an overlong form in a topic",
        To::All,
        &[0x30, 4, 0, 2, 0xC0, 0x80],
        Ends,
    ),
    attack_3(
        "CVE-2017-7653: a surrogate in a topic",
        To::All,
        &[0x30, 5, 0, 3, 0xED, 0xA0, 0x80],
        Ends,
    ),
    attack_3(
        "CVE-2017-7653: U+0000 in a topic",
        To::All,
        &[0x30, 3, 0, 1, 0],
        Ends,
    ),
    attack_3(
        "CVE-2021-28166: CONNACK to a server",
        To::Server,
        &[0x20, 2, 0, 0],
        Ends,
    ),
    attack_5(
        "CVE-2021-28166: CONNACK to a server",
        To::Server,
        &[0x20, 3, 0, 0, 0],
        Ends,
    ),
    attack(
        "CVE-2021-28166: PINGREQ to a client",
        To::Client,
        &[0xC0, 0],
        Ends,
    ),
    attack_3(
        "CVE-2021-28166: a second CONNACK",
        To::Client,
        &[0x20, 2, 0, 0],
        Ends,
    ),
    attack(
        "mosquitto 2.0.21: the reserved packet type 0",
        To::All,
        &[0x00, 0],
        Ends,
    ),
    attack_3(
        "mosquitto 2.0.21: the reserved packet type 15",
        To::All,
        &[0xF0, 0],
        Ends,
    ),
    attack_3(
        "FUME: a second CONNECT",
        To::Server,
        &[
            0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, b'a',
        ],
        Ends,
    ),
    attack(
        "rumqtt 239: PUBACK with the identifier 0",
        To::All,
        &[0x40, 2, 0, 0],
        Ends,
    ),
    attack(
        "rumqtt 372: PUBACK for nothing",
        To::All,
        &[0x40, 2, 0xFF, 0xFF],
        Ignored,
    ),
    attack(
        "rumqtt 201: PUBCOMP for nothing",
        To::All,
        &[0x70, 2, 0, 9],
        Ignored,
    ),
    attack_5(
        "mosquitto 3626: topic alias 0",
        To::All,
        &[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 0],
        Ends,
    ),
    attack_5(
        "mosquitto 3627: topic alias above the maximum",
        To::All,
        &[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 11],
        Ends,
    ),
    attack_5(
        "NanoMQ PR 2298: a topic alias that nobody set",
        To::All,
        &[0x30, 6, 0, 0, 3, 0x23, 0, 1],
        Ends,
    ),
    attack_3(
        "CVE-2025-68699: $share without a filter",
        To::Server,
        // Refused in SUBACK: 3.1.1 knows no shared subscriptions.
        &[
            0x82, 14, 0, 1, 0, 9, b'$', b's', b'h', b'a', b'r', b'e', b'/', b'a', b'b', 0,
        ],
        Ignored,
    ),
    attack_5(
        "CVE-2025-68699: $share without a filter",
        To::Server,
        &[
            0x82, 15, 0, 1, 0, 0, 9, b'$', b's', b'h', b'a', b'r', b'e', b'/', b'a', b'b', 0,
        ],
        Ends,
    ),
];

/// A good message, as it could stand behind a bad packet in the same read.
fn good_message(version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    let good = publish("t", "behind", QoS::AtMostOnce, 0);
    Packet::from(good).encode_to(version, &mut bytes).unwrap();
    bytes
}

#[test]
fn packets_that_brought_others_down() {
    for Attack {
        name,
        to,
        version,
        bytes,
        outcome,
    } in ATTACKS
    {
        let versions: &[_] = match version {
            Some(version) => core::slice::from_ref(version),
            None => &[V3_1_1, V5_0],
        };
        for version in versions {
            let peer = Peer::new(*version);
            let mut victims = Vec::new();
            if *to != To::Server {
                victims.push(client_of(&peer));
            }
            if *to != To::Client {
                victims.extend([connection_of(&peer), broker_of(&peer)]);
            }
            for mut victim in victims {
                let row = format!("{name}, {version}, {}", victim.name());
                // MQTT.js GHSA-c8jq-r765-cq7g: what stands behind a violation is not acted on.
                let mut input = bytes.to_vec();
                if *outcome != Waits {
                    input.extend(good_message(*version));
                }
                let consumed = victim.input(peer.now, &input);
                let (_answer, closed) = peer.hear_bytes(&mut victim);
                let taken = victim.taken();
                match outcome {
                    Ends => assert_eq!((closed, taken), (true, 0), "{row}"),
                    Waits => assert_eq!((closed, consumed.bytes, taken), (false, 0, 0), "{row}"),
                    Ignored => assert_eq!((closed, taken), (false, 1), "{row}"),
                }
                if *outcome == Ends {
                    // And nothing of it afterwards.
                    let _ignored = victim.input(peer.now, &good_message(*version));
                    let (late, _closed) = peer.hear_bytes(&mut victim);
                    assert_eq!((late.len(), victim.taken()), (0, 0), "{row}: after the end");
                }
                assert_eq!(victim.kept(), 0, "{row}");
            }
        }
    }
}

/// A broker, and a connection that has said nothing.
fn stranger(config: broker::Config) -> (Broker, ConnectionId, Peer) {
    let (mut broker, peer) = (Broker::new(config), Peer::new(V5_0));
    let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
    (broker, id, peer)
}

/// One more client of a broker.
fn join(broker: &mut Broker, peer: &Peer, hello: Connect<'_>) -> ConnectionId {
    let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
    peer.ask(&mut (broker, id), hello);
    id
}

fn subscribe(broker: &mut Broker, peer: &Peer, id: ConnectionId, text: &str, qos: QoS) {
    with_subscribe(1, &[want(text, qos)], |packet| {
        peer.ask(&mut (broker, id), packet);
    });
}

/// CVE-2017-7651, CVE-2023-0809, hmq 177: memory by a length that is only claimed, and before CONNECT.
#[test]
fn a_stranger_gets_nothing_by_claiming_a_length() {
    // First bytes, and whether they are enough to end the connection.
    let rows: [(&str, &[u8], bool); 4] = [
        ("no CONNECT, 256 MiB", &[0x30, 0xFF, 0xFF, 0xFF, 0x7F], true),
        ("no CONNECT, its first byte", &[0x30], true),
        (
            "a CONNECT of 256 MiB",
            &[0x10, 0xFF, 0xFF, 0xFF, 0x7F],
            true,
        ),
        (
            "a CONNECT that comes slowly",
            &[0x10, 20, 0, 4, b'M'],
            false,
        ),
    ];
    for (row, bytes, ends) in rows {
        let (mut broker, id, peer) = stranger(broker::Config::default());
        let consumed = broker.handle_input(peer.now, id, bytes);
        let (_, closed) = peer.hear_bytes(&mut (&mut broker, id));
        assert_eq!(closed, ends, "{row}");
        assert!(ends || consumed.bytes == 0, "{row}");
    }
}

/// CVE-2020-13849, SlowITe: slots held by clients that never finish, or never have to speak.
#[test]
fn a_slot_is_not_held_for_ever() {
    let mut config = broker::Config::default();
    config.server.keep_alive_max_secs = NonZeroU16::new(60);
    let (mut broker, id, peer) = stranger(config.clone());
    let _part = broker.handle_input(peer.now, id, &[0x10, 20, 0, 4]);
    let deadline = broker.poll_timeout().unwrap().at;
    assert_eq!(deadline, peer.now + config.server.connect_timeout);
    broker.handle_timeout(deadline);
    assert!(peer.hear_bytes(&mut (&mut broker, id)).1);
    assert_eq!(broker.stats().connections, 0);

    let quiet = Connect {
        keep_alive_secs: 0,
        ..connect(V5_0, "quiet")
    };
    let quiet = join(&mut broker, &peer, quiet);
    let last = deadline + core::time::Duration::from_secs(90);
    // Deadlines may be early.
    while let Some(timeout) = broker.poll_timeout()
        && timeout.at <= last
        && broker.explain(quiet).is_some()
    {
        broker.handle_timeout(timeout.at);
        let (_, closed) = peer.hear_bytes(&mut (&mut broker, quiet));
        assert!(!closed || timeout.at == last, "not before its time");
    }
    assert_eq!(
        broker.stats().connections,
        0,
        "whoever asks for no keep alive gets one"
    );
}

/// tinyMQTT CVE-2025-56352: refused, and still heard.
#[test]
fn who_is_refused_is_not_heard_any_more() {
    let mut config = broker::Config::default();
    config.server.maximum_qos = QoS::AtMostOnce;
    for version in [V3_1_1, V5_0] {
        let (mut broker, id, mut peer) = stranger(config.clone());
        peer.version = version;
        let hello = Connect {
            will: Some(Will {
                qos: QoS::AtLeastOnce,
                ..Will::new(name("w"), Binary::new(b"x").unwrap())
            }),
            ..connect(version, "refused")
        };
        let mut input = Vec::new();
        Packet::from(hello).encode_to(version, &mut input).unwrap();
        input.extend(good_message(version));
        let _all = broker.handle_input(peer.now, id, &input);
        let (_, closed) = peer.hear_bytes(&mut (&mut broker, id));
        assert!(closed, "{version}");
        let figures = (broker.stats().sessions, broker.stats().connections);
        assert_eq!(figures, (0, 0), "{version}");
    }
}

/// CVE-2023-28366, vertx-mqtt 133: QoS 2 messages that are never released.
#[test]
fn qos_2_without_an_end_is_bounded() {
    for version in [V3_1_1, V5_0] {
        let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(version));
        let attacker = join(&mut broker, &peer, connect(version, "attacker"));
        let mut line = (&mut broker, attacker);
        for _ in 0..10_000 {
            let heard = peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, 1));
            assert_eq!(heard.len(), 1, "{version}: {heard:?}");
        }
        assert_eq!(line.0.stats().messages, 0);
        if version == V5_0 {
            let heard = (2..=21)
                .map(|value| peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, value)))
                .last();
            assert_eq!(heard.unwrap(), ["DISCONNECT 93", "close"]);
        }
    }
}

/// h2 RUSTSEC-2024-0332 and its like: a peer that makes us answer, and does not read.
#[test]
fn answers_that_nobody_reads_stop_the_input() {
    let floods: [(&str, Packet<'_>); 4] = [
        ("PINGREQ", Packet::PingReq),
        ("PUBREL for nothing", pubrel(7)),
        ("PUBREC for nothing", pubrec(7)),
        ("PUBLISH", publish("t", "x", QoS::AtLeastOnce, 1).into()),
    ];
    for (row, packet) in floods {
        let peer = Peer::new(V5_0);
        let mut bytes = Vec::new();
        packet.encode_to(V5_0, &mut bytes).unwrap();
        for mut victim in [connection_of(&peer), broker_of(&peer)] {
            let who = victim.name();
            let taken = (0..100_000).take_while(|_| {
                let consumed = victim.input(peer.now, &bytes);
                // The owner of a single connection has answers of its own to give.
                victim.taken();
                consumed.bytes > 0
            });
            let taken = taken.count();
            if row == "PUBLISH" && who == "server connection" {
                continue;
            }
            assert!(taken < 50_000, "{row}, {who}: {taken}");
            let (answers, _) = peer.hear_bytes(&mut victim);
            assert!(
                answers.len() <= 70 * 1024,
                "{row}, {who}: {}",
                answers.len()
            );
            assert!(
                victim.input(peer.now, &bytes).bytes > 0,
                "{row}, {who}: goes on"
            );
        }
    }
}

/// RabbitMQ 13048, mosquitto 3096: one SUBSCRIBE for everything that is retained.
#[test]
fn one_subscribe_does_not_release_everything_at_once() {
    let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(V5_0));
    for number in 0..5000 {
        let message = Message::new(&format!("t/{number}"), "x").unwrap();
        broker.publish(peer.now, message.with_retain(true));
    }
    let greedy = join(&mut broker, &peer, connect(V5_0, "greedy"));
    with_subscribe(1, &[want("#", QoS::AtMostOnce)], |packet| {
        peer.say(&mut (&mut broker, greedy), packet);
    });
    assert!(broker.session("greedy").unwrap().waiting_len <= 64);
    let heard = peer.hear(&mut (&mut broker, greedy));
    assert_eq!(heard.len(), 5001, "and yet all of it");
}

/// mosquitto 2.0.21: filters in front of a bad one were kept.
#[test]
fn a_malformed_subscribe_leaves_nothing_of_itself() {
    let peer = Peer::new(V5_0);
    let Victim::Broker(mut broker, id) = broker_of(&peer) else {
        panic!("a broker");
    };
    let bytes = [
        0x82, 11, 0, 1, 0, 0, 1, b'a', 0, 0, 1, b'#', 3, // QoS 3
    ];
    let _all = broker.handle_input(peer.now, id, &bytes);
    assert!(peer.hear_bytes(&mut (&mut *broker, id)).1);
    assert_eq!(broker.stats().subscriptions, 0);
}

/// aedes PR 1117: the peer chooses the size of our table of aliases.
#[test]
fn the_table_of_aliases_has_our_limit() {
    let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(V5_0));
    let mut hello = connect(V5_0, "greedy");
    hello.properties.topic_alias_maximum = Some(u16::MAX);
    let greedy = join(&mut broker, &peer, hello);
    subscribe(&mut broker, &peer, greedy, "#", QoS::AtMostOnce);
    for number in 0..1000 {
        let topic = format!("a/topic/that/is/long/enough/{number}");
        for _ in 0..3 {
            broker.publish(peer.now, Message::new(&topic, "x").unwrap());
        }
    }
    let aliases = peer.hear(&mut (&mut broker, greedy)).into_iter();
    let aliases = aliases.filter_map(|heard| {
        let (_, alias) = heard.split_once('@')?;
        alias.split('=').next()?.parse::<u16>().ok()
    });
    let highest = aliases.max().unwrap();
    assert!((1..=10).contains(&highest), "{highest}");
}

/// mosquitto 2.0.10: a take-over kept the Receive Maximum of the connection before.
#[test]
fn what_was_agreed_dies_with_its_connection() {
    let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(V5_0));
    let hello = |receive_maximum, clean_start| {
        let mut hello = Connect {
            clean_start,
            ..connect(V5_0, "twin")
        };
        hello.properties.session_expiry_secs = Some(100);
        hello.properties.receive_maximum = NonZeroU16::new(receive_maximum);
        hello
    };
    let first = join(&mut broker, &peer, hello(10, true));
    subscribe(&mut broker, &peer, first, "t", QoS::AtLeastOnce);
    // sol 17: the second displaces the first.
    let second = join(&mut broker, &peer, hello(1, false));
    assert_eq!(
        peer.hear(&mut (&mut broker, first)),
        ["DISCONNECT 8E", "close"]
    );
    for _ in 0..5 {
        let message = Message::new("t", "x").unwrap().with_qos(QoS::AtLeastOnce);
        broker.publish(peer.now, message);
    }
    assert_eq!(peer.hear(&mut (&mut broker, second)).len(), 1);
}

/// CVE-2019-11778, mosquitto 1244: a will that waits longer than its session lives.
#[test]
fn a_will_is_published_once_however_it_is_delayed() {
    for (delay, expiry) in [(0, 0), (10, 5), (5, 10), (5, 5), (10, 0), (u32::MAX, 5)] {
        let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(V5_0));
        let watcher = join(&mut broker, &peer, {
            let mut hello = connect(V5_0, "watcher");
            hello.keep_alive_secs = 0;
            hello
        });
        subscribe(&mut broker, &peer, watcher, "will", QoS::AtMostOnce);
        let mut hello = Connect {
            will: Some(Will::new(name("will"), Binary::new(b"gone").unwrap())),
            ..connect(V5_0, "mortal")
        };
        hello.properties.session_expiry_secs = Some(expiry);
        if let Some(will) = &mut hello.will {
            will.properties.delay_secs = Some(delay);
        }
        let mortal = join(&mut broker, &peer, hello);
        broker.handle_close(peer.now, mortal);
        for secs in 0..30 {
            broker.handle_timeout(peer.now + core::time::Duration::from_secs(secs));
        }
        let heard = peer.hear(&mut (&mut broker, watcher));
        assert_eq!(heard, ["PUBLISH will=gone q0"], "{delay} s, {expiry} s");
    }
}

/// EMQX 18470: DUP taken for "seen before"; rumqtt 1057: one identifier for two.
#[test]
fn dup_says_nothing_about_what_was_seen() {
    for version in [V3_1_1, V5_0] {
        let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(version));
        let client = join(&mut broker, &peer, connect(version, "both"));
        subscribe(&mut broker, &peer, client, "t", QoS::AtMostOnce);
        let first = Publish {
            delivery: Delivery::ExactlyOnce {
                id: id(5),
                dup: true,
            },
            ..Publish::new(name("t"), b"x")
        };
        let heard = peer.ask(&mut (&mut broker, client), first);
        assert_eq!(heard, ["PUBREC 5 00", "PUBLISH t=x q0"], "{version}");
    }
}

/// An acknowledgement of the wrong kind: rumqtt PR 239.
#[test]
fn the_wrong_acknowledgement_ends_the_connection() {
    for (qos, wrong) in [
        (QoS::AtLeastOnce, pubrec(1)),
        (QoS::AtLeastOnce, pubcomp(1)),
        (QoS::ExactlyOnce, puback(1)),
        (QoS::ExactlyOnce, pubcomp(1)),
    ] {
        let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(V5_0));
        let client = join(&mut broker, &peer, connect(V5_0, "c"));
        subscribe(&mut broker, &peer, client, "t", qos);
        let message = Message::new("t", "x").unwrap().with_qos(qos);
        broker.publish(peer.now, message);
        assert_eq!(peer.hear(&mut (&mut broker, client)).len(), 1);
        let heard = peer.ask(&mut (&mut broker, client), wrong);
        assert_eq!(heard, ["DISCONNECT 82", "close"], "{qos}");
    }
}

/// CVE-2019-11779, mosquitto 1412; uWebSockets 1090: as many levels as a topic has bytes.
#[test]
fn topics_of_nothing_but_slashes() {
    let slashes = "/".repeat(65_535);
    let wildcards = "+/".repeat(32_767);
    for version in [V3_1_1, V5_0] {
        let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(version));
        let client = join(&mut broker, &peer, connect(version, "deep"));
        subscribe(&mut broker, &peer, client, "#", QoS::AtMostOnce);
        for (text, code) in [(&slashes, "8F"), (&wildcards, "8F")] {
            let code = if version == V5_0 { code } else { "80" };
            with_subscribe(2, &[want(text, QoS::AtMostOnce)], |packet| {
                let heard = peer.ask(&mut (&mut broker, client), packet);
                assert_eq!(heard, [format!("SUBACK 2 {code}")], "{version}");
            });
        }
        let heard = peer.ask(
            &mut (&mut broker, client),
            publish(&slashes, "x", QoS::AtMostOnce, 0),
        );
        assert_eq!(heard.len(), 1, "{version}: it matches '#'");
        let retained = Publish {
            retain: true,
            ..publish(&slashes, "x", QoS::AtMostOnce, 0)
        };
        peer.ask(&mut (&mut broker, client), retained);
        assert_eq!(broker.stats().retained, 0, "{version}: too deep to be kept");
    }
}

/// CVE-2018-12543: a topic that starts with `$` and is not `$SYS`.
#[test]
fn other_topics_with_a_dollar() {
    let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(V5_0));
    let client = join(&mut broker, &peer, connect(V5_0, "c"));
    subscribe(&mut broker, &peer, client, "#", QoS::AtMostOnce);
    subscribe(&mut broker, &peer, client, "+/a", QoS::AtMostOnce);
    subscribe(&mut broker, &peer, client, "$other/+", QoS::AtMostOnce);
    for (topic, expected) in [("$other/a", 1), ("$", 0), ("$/a", 0), ("$SYS/a", 0)] {
        let packet = publish(topic, "x", QoS::AtMostOnce, 0);
        let heard = peer.ask(&mut (&mut broker, client), packet);
        assert_eq!(heard.len(), expected, "{topic}");
    }
}

/// mosquitto: a will to `$CONTROL`; aedes 597: `$SYS` written by clients.
#[test]
fn no_client_speaks_where_only_the_broker_does() {
    for version in [V3_1_1, V5_0] {
        let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(version));
        let watcher = join(&mut broker, &peer, connect(version, "watcher"));
        subscribe(&mut broker, &peer, watcher, "$SYS/#", QoS::AtMostOnce);
        let hello = Connect {
            will: Some(Will {
                retain: true,
                ..Will::new(name("$SYS/uptime"), Binary::new(b"for ever").unwrap())
            }),
            ..connect(version, "liar")
        };
        let liar = join(&mut broker, &peer, hello);
        let lie = Publish {
            retain: true,
            ..publish("$SYS/uptime", "for ever", QoS::AtMostOnce, 0)
        };
        peer.ask(&mut (&mut broker, liar), lie);
        broker.handle_close(peer.now, liar);
        assert_eq!(peer.hear(&mut (&mut broker, watcher)), [""; 0], "{version}");
        assert_eq!(broker.stats().retained, 0, "{version}");
        let figure = Message::new("$SYS/uptime", "1").unwrap();
        broker.publish(peer.now, figure);
        assert_eq!(peer.hear(&mut (&mut broker, watcher)).len(), 1, "{version}");
    }
}

/// CVE-2017-7650: a client identifier that is a wildcard is a name like any other.
#[test]
fn a_wildcard_is_no_client_identifier_for_others() {
    let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(V5_0));
    join(&mut broker, &peer, connect(V5_0, "alice"));
    for text in ["#", "+", "+/#"] {
        join(&mut broker, &peer, connect(V5_0, text));
    }
    assert_eq!(broker.stats().sessions, 4);
    let now = peer.now;
    let reason = mqtt_codec::DisconnectReason::AdministrativeAction;
    assert!(broker.disconnect_client(now, "#", reason, None));
    assert!(broker.session("alice").unwrap().connection.is_some());
}

/// FlashMQ CVE-2026-42209: a 0 in the configuration.
#[test]
fn a_configuration_of_nothing_but_0_harms_nobody() {
    let server = server::Config {
        packet_size_max: 0,
        connect_packet_size_max: 0,
        receive_maximum: 0,
        in_flight_max: 0,
        topic_alias_maximum: 0,
        outbound_topic_aliases_max: 0,
        payload_size_max: Some(0),
        session_expiry_max_secs: Some(0),
        authentication_rounds_max: 0,
        connect_timeout: core::time::Duration::ZERO,
        close_timeout: core::time::Duration::ZERO,
        answers_bytes_max: 0,
        waiting_len_max: 0,
        messages_bytes_max: 0,
        events_max: 0,
        ..server::Config::default()
    };
    // Each alone, so that what comes behind it is reached.
    let alone: [fn(&mut server::Config, &server::Config); 13] = [
        |to, from| to.packet_size_max = from.packet_size_max,
        |to, from| to.connect_packet_size_max = from.connect_packet_size_max,
        |to, from| to.receive_maximum = from.receive_maximum,
        |to, from| to.in_flight_max = from.in_flight_max,
        |to, from| to.topic_alias_maximum = from.topic_alias_maximum,
        |to, from| to.outbound_topic_aliases_max = from.outbound_topic_aliases_max,
        |to, from| to.payload_size_max = from.payload_size_max,
        |to, from| to.session_expiry_max_secs = from.session_expiry_max_secs,
        |to, from| to.connect_timeout = from.connect_timeout,
        |to, from| to.close_timeout = from.close_timeout,
        |to, from| to.answers_bytes_max = from.answers_bytes_max,
        |to, from| to.waiting_len_max = from.waiting_len_max,
        |to, from| to.messages_bytes_max = from.messages_bytes_max,
    ];
    let mut configs = vec![server.clone()];
    configs.extend(alone.into_iter().map(|set| {
        let mut config = server::Config::default();
        set(&mut config, &server);
        config
    }));
    for server in configs {
        let config = broker::Config {
            server,
            levels_max: 0,
            work_per_call: 0,
            ..broker::Config::default()
        };
        for config in [
            config.clone(),
            broker::Config {
                levels_max: 128,
                ..config
            },
        ] {
            let (mut broker, peer) = (Broker::new(config), Peer::new(V5_0));
            let Ok(id) = broker.accept(peer.now, broker::Peer::default()) else {
                continue;
            };
            let mut input = Vec::new();
            let packet = Packet::from(connect(V5_0, "c"));
            packet.encode_to(V5_0, &mut input).unwrap();
            with_subscribe(1, &[want("#", QoS::ExactlyOnce)], |packet| {
                packet.encode_to(V5_0, &mut input).unwrap();
            });
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let packet = Packet::from(publish("t", "x", qos, 7));
                packet.encode_to(V5_0, &mut input).unwrap();
            }
            let (mut rest, mut buf) = (&input[..], Vec::new());
            for _ in 0..50 {
                let consumed = broker.handle_input(peer.now, id, rest);
                rest = &rest[consumed.bytes..];
                let _transmit = broker.poll_transmit(peer.now, id, 10, &mut buf);
                broker.handle_timeout(peer.now);
            }
            broker.handle_close(peer.now, id);
        }
    }
}

/// mosquitto's comparison of passwords; and what a log would show of them.
#[test]
fn nothing_shows_a_secret() {
    let mut config = broker::Config::default();
    config.ask.connect = true;
    let (mut broker, id, peer) = stranger(config);
    let hello = Connect {
        user_name: Some(text("alice")),
        password: Some(Binary::new(b"SECRET").unwrap()),
        will: Some(Will::new(name("w"), Binary::new(b"SECRET").unwrap())),
        ..connect(V5_0, "c")
    };
    peer.say(&mut (&mut broker, id), hello);
    let events: Vec<_> = core::iter::from_fn(|| broker.poll_event()).collect();
    let shown = format!("{hello:?} {events:?} {broker:?}");
    let bytes = format!("{:?}", b"SECRET");
    assert!(
        !shown.contains("SECRET") && !shown.contains(&bytes),
        "{shown}"
    );
}

/// An alias is good for the connection that set it: MQTTnet 2037.
#[test]
fn an_alias_of_the_connection_before_is_not_known() {
    let (mut broker, peer) = (Broker::new(broker::Config::default()), Peer::new(V5_0));
    let alias = TopicAlias::new(1).unwrap();
    for (topic, expected) in [
        (PublishTopic::NameAndAlias(name("t"), alias), &[][..]),
        (PublishTopic::Alias(alias), &["DISCONNECT 82", "close"]),
    ] {
        let client = join(&mut broker, &peer, connect(V5_0, "c"));
        let packet = Publish {
            topic,
            ..publish("t", "x", QoS::AtMostOnce, 0)
        };
        assert_eq!(peer.ask(&mut (&mut broker, client), packet), expected);
    }
}
