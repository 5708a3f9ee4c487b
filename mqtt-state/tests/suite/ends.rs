//! Each limit of a `Config` at 0, at 1 and at the largest value: nothing panics, nothing goes on for ever, and
//! what becomes of clients is what its documentation says.

use core::time::Duration;

use mqtt_codec::{Message, ProtocolVersion, QoS};
use mqtt_state::broker::{self, Ask, ConnectAnswer, PublishAnswer, SubscribeAnswer};
use mqtt_state::client::{self, Event, State};
use mqtt_state::server;

use crate::recorded::Connection;
use crate::wire::{Peer, V3_1_1, V5_0, connect, puback, publish, want};
use crate::world::World;

const ALL: Ask = Ask {
    connect: true,
    publish: true,
    subscribe: true,
};

/// Moves packets, does what is due now, and answers what is asked, until there is nothing of it.
fn settle(world: &mut World) {
    loop {
        world.settle();
        let (mut goes_on, now) = (false, world.now);
        for event in world.broker_events() {
            let broker = &mut world.broker;
            goes_on |= match event {
                broker::Event::Authenticate { decision, .. } => {
                    let answer = ConnectAnswer::Allow;
                    broker.decide_connect(now, decision, answer).is_ok()
                }
                broker::Event::AuthorizePublish { decision, .. } => {
                    let answer = PublishAnswer::Allow;
                    broker.decide_publish(now, decision, answer).is_ok()
                }
                broker::Event::AuthorizeSubscribe { decision, .. } => {
                    let answer = SubscribeAnswer::Allow;
                    broker.decide_subscribe(now, decision, answer).is_ok()
                }
                _ => false,
            };
        }
        if { world.broker.poll_timeout() }.is_some_and(|timeout| timeout.at <= now) {
            world.broker.handle_timeout(now);
            goes_on = true;
        }
        if !goes_on {
            return;
        }
    }
}

/// What of this works: two come in, a message is retained, one goes at each QoS, the reader is cut off and comes
/// back to what waited.
fn story(config: &Configs, version: ProtocolVersion) -> String {
    let mut world = World::with(config.broker.clone());
    let [writer, reader] =
        ["writer", "reader"].map(|name| world.client_with(name, config.client.clone()));
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let say = |world: &mut World, topic: &str, qos, retain| {
        let message = Message::new(topic, "x").unwrap();
        let message = message.with_qos(qos).with_retain(retain);
        let now = world.now;
        let _taken = world.of(writer).publish(now, message);
        settle(world);
    };
    for who in [writer, reader] {
        world.begin_resume(who, version);
        settle(&mut world);
        if world.of(who).state() != State::Connected {
            return "out".into();
        }
    }
    say(&mut world, "kept", QoS::AtLeastOnce, true);
    let filters = [
        want("kept", QoS::ExactlyOnce),
        want("t/+", QoS::ExactlyOnce),
    ];
    let asked = world.of(reader).subscribe(&filters);
    settle(&mut world);
    for qos in all {
        say(&mut world, "t/1", qos, false);
    }
    world.cut(reader);
    for qos in all {
        say(&mut world, "t/2", qos, false);
    }
    world.begin_resume(reader, version);
    settle(&mut world);
    if asked.is_err() || world.of(reader).state() != State::Connected {
        return "in".into();
    }
    let mut told = Vec::new();
    for event in world.events(reader) {
        match event {
            Event::Connected {
                session_present: true,
            } => told.push("back".to_owned()),
            Event::Connected { .. } if !told.is_empty() => told.push("anew".to_owned()),
            Event::Connected { .. } => told.push("in".to_owned()),
            Event::Message { message, .. } => {
                let qos = u8::from(message.qos());
                told.push(format!("{} {qos}", message.topic()));
            }
            _ => {}
        }
    }
    told.join(", ")
}

#[derive(Debug, Default)]
struct Configs {
    broker: broker::Config,
    client: client::Config,
}

/// All of it.
const FULL: &str = "in, kept 1, t/1 0, t/1 1, t/1 2, back, t/2 1, t/2 2";

/// Puts a value into a limit.
type Put = fn(&mut Configs, u64);

fn compare(rows: &[(&str, Put, [&str; 3])]) {
    for (row, put, expected) in rows {
        for (value, expected) in [0, 1, u64::MAX].into_iter().zip(expected) {
            for version in [V3_1_1, V5_0] {
                let mut configs = Configs::default();
                put(&mut configs, value);
                let bound = configs.broker.memory_bound();
                assert!(bound > 0 && configs.client.memory_bound() > 0, "{row}");
                let told = story(&configs, version);
                assert_eq!(told, *expected, "{row} of {value}, {version}");
            }
        }
    }
}

fn u32_of(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn u16_of(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn usize_of(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

const NOTHING: &str = "in, back";
const ONE_WAITS: &str = "in, kept 1, t/1 0, t/1 1, t/1 2, back, t/2 1";
const NOT_RETAINED: &str = "in, t/1 0, t/1 1, t/1 2, back, t/2 1, t/2 2";

#[test]
fn limits_of_a_broker() {
    compare(&[
        (
            "identity_len_max",
            |it, n| {
                it.broker.identity_len_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "sessions_max",
            |it, n| {
                it.broker.sessions_max = usize_of(n);
            },
            ["out", "out", FULL],
        ),
        (
            "subscriptions_per_session_max",
            |it, n| {
                it.broker.subscriptions_per_session_max = usize_of(n);
            },
            [NOTHING, "in, kept 1, back", FULL],
        ),
        (
            "retained_len_max",
            |it, n| {
                it.broker.retained_len_max = usize_of(n);
            },
            [NOT_RETAINED, FULL, FULL],
        ),
        (
            "retained_bytes_max",
            |it, n| {
                it.broker.retained_bytes_max = usize_of(n);
            },
            [NOT_RETAINED, NOT_RETAINED, FULL],
        ),
        (
            "levels_max",
            |it, n| {
                it.broker.levels_max = usize_of(n);
            },
            [NOTHING, "in, kept 1, back", FULL],
        ),
        (
            "messages_len_max",
            |it, n| {
                it.broker.messages_len_max = usize_of(n);
            },
            ["out", NOTHING, FULL],
        ),
        (
            "total_bytes_max",
            |it, n| {
                it.broker.total_bytes_max = usize_of(n);
            },
            ["out", "out", FULL],
        ),
        (
            "waiting_qos0_len_max",
            |it, n| {
                it.broker.waiting_qos0_len_max = usize_of(n);
            },
            ["in, kept 1, t/1 1, t/1 2, back, t/2 1, t/2 2", FULL, FULL],
        ),
        (
            "work_per_call",
            |it, n| {
                it.broker.work_per_call = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "events_max",
            |it, n| {
                it.broker.ask = ALL;
                it.broker.events_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "events_bytes_max",
            |it, n| {
                it.broker.ask = ALL;
                it.broker.events_bytes_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "held_max",
            |it, n| {
                it.broker.ask = ALL;
                it.broker.held_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "held_bytes_max",
            |it, n| {
                it.broker.ask = ALL;
                it.broker.held_bytes_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "decisions_max",
            |it, n| {
                it.broker.ask = ALL;
                it.broker.decisions_max = usize_of(n);
            },
            ["out", "in, kept 1, back", FULL],
        ),
        (
            "decisions_per_connection_max",
            |it, n| {
                it.broker.ask = ALL;
                it.broker.decisions_per_connection_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "decision_timeout",
            |it, n| {
                it.broker.ask = ALL;
                it.broker.decision_timeout = Duration::from_secs(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "journal_len_max",
            |it, n| {
                it.broker.journal = true;
                it.broker.journal_len_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "journal_bytes_max",
            |it, n| {
                it.broker.journal = true;
                it.broker.journal_bytes_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "seed",
            |it, n| {
                it.broker.seed = n;
            },
            [FULL, FULL, FULL],
        ),
    ]);
}

#[test]
fn limits_of_the_connections_of_a_broker() {
    compare(&[
        (
            "packet_size_max",
            |it, n| {
                it.broker.server.packet_size_max = u32_of(n);
            },
            ["out", "out", FULL],
        ),
        (
            "connect_packet_size_max",
            |it, n| {
                it.broker.server.connect_packet_size_max = u32_of(n);
            },
            ["out", "out", FULL],
        ),
        (
            "receive_maximum",
            |it, n| {
                it.broker.server.receive_maximum = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "receive_maximum_v3",
            |it, n| {
                it.broker.server.receive_maximum_v3 = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "in_flight_max",
            |it, n| {
                it.broker.server.in_flight_max = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "topic_alias_maximum",
            |it, n| {
                it.broker.server.topic_alias_maximum = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "outbound_topic_aliases_max",
            |it, n| {
                it.broker.server.outbound_topic_aliases_max = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "payload_size_max",
            |it, n| {
                it.broker.server.payload_size_max = Some(usize_of(n));
            },
            [NOTHING, FULL, FULL],
        ),
        (
            "connect_timeout",
            |it, n| {
                it.broker.server.connect_timeout = Duration::from_secs(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "close_timeout",
            |it, n| {
                it.broker.server.close_timeout = Duration::from_secs(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "answers_bytes_max",
            |it, n| {
                it.broker.server.answers_bytes_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "waiting_len_max",
            |it, n| {
                it.broker.server.waiting_len_max = usize_of(n);
            },
            [NOTHING, ONE_WAITS, FULL],
        ),
        (
            "messages_bytes_max",
            |it, n| {
                it.broker.server.messages_bytes_max = usize_of(n);
            },
            [NOTHING, NOTHING, FULL],
        ),
        (
            "session_expiry_max_secs",
            |it, n| {
                it.broker.server.session_expiry_max_secs = Some(u32_of(n));
            },
            ["in, kept 1, t/1 0, t/1 1, t/1 2, anew", FULL, FULL],
        ),
    ]);
}

#[test]
fn limits_of_a_client() {
    compare(&[
        (
            "packet_size_max",
            |it, n| {
                it.client.packet_size_max = u32_of(n);
            },
            ["out", "out", FULL],
        ),
        (
            "receive_maximum",
            |it, n| {
                it.client.receive_maximum = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "receive_maximum_v3",
            |it, n| {
                it.client.receive_maximum_v3 = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "in_flight_max",
            |it, n| {
                it.client.in_flight_max = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "in_flight_max_v3",
            |it, n| {
                it.client.in_flight_max_v3 = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "topic_alias_maximum",
            |it, n| {
                it.client.topic_alias_maximum = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "outbound_topic_aliases_max",
            |it, n| {
                it.client.outbound_topic_aliases_max = u16_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "subscriptions_max",
            |it, n| {
                it.client.subscriptions_max = usize_of(n);
            },
            ["in", "in", FULL],
        ),
        (
            "subscriptions_bytes_max",
            |it, n| {
                it.client.subscriptions_bytes_max = usize_of(n);
            },
            ["in", "in", FULL],
        ),
        (
            "requests_max",
            |it, n| {
                it.client.requests_max = usize_of(n);
            },
            ["in", FULL, FULL],
        ),
        (
            "waiting_len_max",
            |it, n| {
                it.client.waiting_len_max = usize_of(n);
            },
            [NOTHING, FULL, FULL],
        ),
        (
            "messages_bytes_max",
            |it, n| {
                it.client.messages_bytes_max = usize_of(n);
            },
            [NOTHING, NOTHING, FULL],
        ),
        (
            "events_max",
            |it, n| {
                it.client.events_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "events_bytes_max",
            |it, n| {
                it.client.events_bytes_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "answers_bytes_max",
            |it, n| {
                it.client.answers_bytes_max = usize_of(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "connect_timeout",
            |it, n| {
                it.client.connect_timeout = Duration::from_secs(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "ping_timeout",
            |it, n| {
                it.client.ping_timeout = Duration::from_secs(n);
            },
            [FULL, FULL, FULL],
        ),
        (
            "close_timeout",
            |it, n| {
                it.client.close_timeout = Duration::from_secs(n);
            },
            [FULL, FULL, FULL],
        ),
    ]);
}

#[test]
fn limits_of_a_connection() {
    let rows: [(&str, server::Config); 4] = [
        (
            "receive_maximum",
            server::Config {
                receive_maximum: 0,
                receive_maximum_v3: 0,
                ..server::Config::default()
            },
        ),
        (
            "answers_bytes_max",
            server::Config {
                answers_bytes_max: 0,
                ..server::Config::default()
            },
        ),
        (
            "events_max",
            server::Config {
                events_max: 0,
                ..server::Config::default()
            },
        ),
        (
            "events_bytes_max",
            server::Config {
                events_bytes_max: 0,
                ..server::Config::default()
            },
        ),
    ];
    for (row, config) in rows {
        for version in [V3_1_1, V5_0] {
            let row = format!("{row} of 0, {version}");
            let peer = Peer::new(version);
            let mut connection = Connection::new(peer.now, config.clone());
            peer.say(&mut connection, connect(version, "c"));
            let request = connection.poll_event();
            assert!(matches!(request, Some(server::Event::Connect(_))), "{row}");
            let accepted = connection.accept(peer.now, server::Acceptance::default());
            assert!(accepted.is_ok(), "{row}");
            assert_eq!(peer.hear(&mut connection), ["CONNACK 00"], "{row}");
            for number in 1..4 {
                let packet = publish("t", "x", QoS::AtLeastOnce, number);
                let heard = peer.ask(&mut connection, packet);
                assert_eq!(heard, [format!("PUBACK {number} 00")], "{row}");
                let event = connection.poll_event();
                assert!(
                    matches!(event, Some(server::Event::Publish { .. })),
                    "{row}"
                );
                let message = Message::new("t", "x").unwrap().with_qos(QoS::AtLeastOnce);
                connection.deliver(peer.now, message).unwrap();
                let expected = [format!("PUBLISH t=x q1 id{number}")];
                assert_eq!(peer.hear(&mut connection), expected, "{row}");
                peer.say(&mut connection, puback(number));
                let event = connection.poll_event();
                assert!(
                    matches!(event, Some(server::Event::Delivered { .. })),
                    "{row}"
                );
            }
        }
    }
}
