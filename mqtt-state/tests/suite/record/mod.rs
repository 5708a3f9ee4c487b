//! What machines are told is written down, and run again. Beside this, `recorded` does that with the
//! machines of this whole suite.

mod hostile;
mod methods;
mod redact;

use core::fmt::Debug;

use bytes::BytesMut;
use mqtt_codec::{Connect, Delivery, Message, Packet, ProtocolVersion, QoS};
use mqtt_state::broker::{self, Broker, ConnectionId, Peer as Visitor};
use mqtt_state::client::{self, Client};
use mqtt_state::record::{self, LogErrorKind, Recorder, Replay};
use mqtt_state::server::{self, Acceptance, Connection};
use mqtt_state::{Pieces, Timestamp, Transmit};

use crate::recorded::reseeded;
use crate::wire::{V3_1_1, V5_0, connect, want};

const NOW: Timestamp = Timestamp::from_secs(1000);

/// What a conversation has handed out: bytes of both sides, and everything that was told.
type Told = Vec<String>;

fn tell(told: &mut Told, what: impl Debug) {
    told.push(format!("{what:?}"));
}

fn hello(connect: Connect<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let version = connect.version;
    Packet::Connect(connect)
        .encode_to(version, &mut bytes)
        .unwrap();
    bytes
}

/// A client and a broker with everything between them: written once, for machines with a log and for those
/// without.
macro_rules! conversation {
    ($broker:expr, $client:expr) => {{
        let (mut broker, mut client) = ($broker, $client);
        let mut told: Told = Vec::new();
        let mut now = NOW;
        let visitor = Visitor {
            address: Some("192.0.2.1:49152".parse().unwrap()),
            identity: Some("CN=meter-7".into()),
            ..Visitor::default()
        };
        let id = broker.accept(now, visitor).unwrap();
        client.connect(now, &connect(V5_0, "c")).unwrap();
        for round in 0..12 {
            now = now + core::time::Duration::from_millis(round);
            match round {
                2 => tell(
                    &mut told,
                    client.subscribe(&[want("t/#", QoS::ExactlyOnce)]),
                ),
                3..8 => {
                    let payload = "x".repeat(if round == 4 { 6000 } else { 3 });
                    let qos = match round % 3 {
                        0 => QoS::AtMostOnce,
                        1 => QoS::AtLeastOnce,
                        _ => QoS::ExactlyOnce,
                    };
                    let message = Message::new("t/a", payload).unwrap().with_qos(qos);
                    tell(
                        &mut told,
                        client.publish(now, message.with_retain(round == 5)),
                    );
                }
                10 => {
                    broker.disconnect(now, id, mqtt_codec::DisconnectReason::AdministrativeAction)
                }
                _ => {}
            }
            let mut up = Vec::new();
            while client.poll_transmit(now, 100, &mut up) == Transmit::More {}
            // Once cut within a packet, and what was not taken is offered again.
            let cut = up.len() / 2;
            let taken = broker.handle_input(now, id, &up[..cut]);
            tell(&mut told, taken);
            let taken =
                broker.handle_input_shared(now, id, &mut BytesMut::from(&up[taken.bytes..]));
            tell(&mut told, (taken, &up));
            while let Some(event) = broker.poll_event() {
                tell(&mut told, event);
            }
            let mut down = Pieces::new();
            while let Some(ready) = broker.poll_ready() {
                while broker.poll_transmit_vectored(now, ready, 5000, &mut down) == Transmit::More {
                }
            }
            let down: Vec<u8> = down.chunks().flatten().copied().collect();
            tell(&mut told, (client.handle_input(now, &down), &down));
            while let Some(event) = client.poll_event() {
                tell(&mut told, event);
            }
            tell(&mut told, (client.poll_timeout(), broker.poll_timeout()));
        }
        client.handle_close(now);
        broker.handle_close(now, id);
        (broker, client, told)
    }};
}

fn logs() -> (Vec<u8>, Vec<u8>) {
    let broker = Recorder::<Broker>::new(broker::Config::default());
    let client = Recorder::<Client>::new(client::Config::default());
    let (mut broker, mut client, _told) = conversation!(broker, client);
    (broker.take_log(), client.take_log())
}

/// A connection in the server role that has taken a message and sent one.
fn log_of_a_connection() -> Vec<u8> {
    let mut connection = Recorder::<Connection>::new(NOW, server::Config::default());
    let first = hello(connect(V3_1_1, "c"));
    let taken = connection.handle_input(NOW, &first);
    assert_eq!(taken.bytes, first.len());
    while connection.poll_event().is_some() {}
    connection.accept(NOW, Acceptance::default()).unwrap();
    let message = Message::new("t", "m").unwrap().with_qos(QoS::AtLeastOnce);
    connection.deliver(NOW, message).unwrap();
    let mut sent = Vec::new();
    while connection.poll_transmit(NOW, 1024, &mut sent) == Transmit::More {}
    assert_eq!(sent[..4], [0x20, 2, 0, 0]);
    let _taken = connection.handle_input(NOW, &[0x40, 2, 0, 1, 0xE0, 0]);
    while connection.poll_event().is_some() {}
    connection.take_log()
}

/// A client that is shown a message, which came in pieces of 7 bytes, and fetches another one behind an answer.
fn log_of_what_is_shown(version: ProtocolVersion, message: &Message) -> Vec<u8> {
    let mut client = Recorder::<Client>::new(client::Config::default());
    client.connect(NOW, &connect(version, "c")).unwrap();
    let _connect = client.poll_transmit(NOW, 1000, &mut Vec::new());
    let connack: &[u8] = match version {
        V3_1_1 => b"\x20\x02\0\0",
        V5_0 => b"\x20\x03\0\0\0",
    };
    let _connack = client.handle_input(NOW, connack);
    assert!(client.poll_event().is_some());
    client.subscribe(&[want("#", QoS::ExactlyOnce)]).unwrap();
    let mut input = Vec::new();
    let publish = |id, input: &mut Vec<u8>| {
        let id = mqtt_codec::PacketId::new(id).unwrap();
        let publish = message.publish(Delivery::AtLeastOnce { id, dup: true });
        publish.encode_to(version, input).unwrap();
    };
    publish(1, &mut input);
    input.extend_from_slice(match version {
        V3_1_1 => b"\x90\x03\0\x01\x02",
        V5_0 => b"\x90\x04\0\x01\0\x02",
    });
    publish(2, &mut input);
    let (mut left, mut shown) = (Vec::new(), 0);
    for piece in input.chunks(7) {
        left.extend_from_slice(piece);
        let taken = client.handle_input_with(NOW, &left, |_| shown += 1);
        left.drain(..taken.bytes);
    }
    assert_eq!((left.len(), shown), (0, 1));
    assert_eq!(core::iter::from_fn(|| client.poll_event()).count(), 2);
    client.take_log()
}

#[test]
fn what_was_shown_stands_in_the_answer_once() {
    for version in [V3_1_1, V5_0] {
        let message = Message::new("t", "m").unwrap();
        let log = log_of_what_is_shown(version, &message);
        assert_eq!(record::replay(&log).unwrap().difference, None);
        let log = String::from_utf8(log).unwrap();
        let (mut shown, mut fetched) = (0, 0);
        for line in log.lines().filter(|line| line.starts_with("< ")) {
            let is_shown = line.contains("; shown Message {");
            assert!(
                !is_shown || line.contains("dup: true, receipt: None"),
                "{line}"
            );
            shown += usize::from(is_shown);
            fetched += usize::from(line.contains(" Some(Message {"));
        }
        assert_eq!((shown, fetched), (1, 1), "{log}");
        assert!(log.contains("> {\"handle_input_with\":{"), "{log}");
        assert!(log.contains("\"kept\":7"), "{log}");
    }
}

#[test]
fn a_log_comes_to_the_same() {
    let (broker, client) = logs();
    let message = Message::new("t", "m").unwrap();
    for (row, log, calls_min) in [
        ("broker", &broker, 50),
        ("client", &client, 50),
        ("connection", &log_of_a_connection(), 10),
        ("shown", &log_of_what_is_shown(V5_0, &message), 8),
    ] {
        let verdict = record::replay(log).unwrap();
        assert_eq!(verdict.difference, None, "{row}");
        assert!(verdict.calls >= calls_min, "{row}: {}", verdict.calls);
    }
}

#[test]
fn a_machine_with_a_log_behaves_as_one_without() {
    let config = || (broker::Config::default(), client::Config::default());
    let (of_broker, of_client) = config();
    let (.., plain) = conversation!(Broker::new(of_broker), Client::new(of_client));
    let (of_broker, of_client) = config();
    let (.., recorded) = conversation!(
        Recorder::<Broker>::new(of_broker),
        Recorder::<Client>::new(of_client)
    );
    assert_eq!(plain, recorded);
    let (of_broker, of_client) = config();
    let (mut broker, _, silent) = conversation!(
        Recorder::silent(Broker::new(of_broker)),
        Recorder::silent(Client::new(of_client))
    );
    assert_eq!(plain, silent);
    assert_eq!(broker.take_log(), b"", "nothing is written");
}

#[test]
fn each_changed_answer_is_found_where_it_stands() {
    let (broker, client) = logs();
    let message = Message::new("t", "m").unwrap();
    for (row, log) in [
        ("broker", &broker),
        ("client", &client),
        ("connection", &log_of_a_connection()),
        ("shown", &log_of_what_is_shown(V5_0, &message)),
    ] {
        let log = str::from_utf8(log).unwrap();
        let lines: Vec<_> = log.lines().collect();
        let mut answers = 0;
        for (place, line) in lines.iter().enumerate() {
            if !line.starts_with("< ") {
                continue;
            }
            answers += 1;
            // One digit of its digest.
            let digit = if line.as_bytes()[9] == b'0' { "1" } else { "0" };
            let other = format!("{}{digit}{}", &line[..9], &line[10..]);
            let mut changed = lines.clone();
            changed[place] = &other;
            let changed = changed.join("\n") + "\n";
            let found = record::replay(changed.as_bytes()).unwrap();
            let found = found.difference.unwrap_or_else(|| panic!("{row} {place}"));
            // The call stands in the line before, and lines count from 1.
            assert_eq!(found.line, place, "{row}");
            assert_eq!(found.recorded.as_deref(), other.strip_prefix("< "));
            assert_eq!(Some(&*found.found), line.strip_prefix("< "), "{row}");
        }
        assert!(answers > 8, "{row}: {answers}");
    }
}

/// A payload is in no word of an answer, and still counts.
#[test]
fn another_payload_or_password_is_another_answer() {
    let deliver = |payload: &str| {
        let mut broker = Recorder::<Broker>::new(broker::Config::default());
        let filter = mqtt_codec::TopicFilter::new("t").unwrap();
        broker.subscribe_local(filter).unwrap();
        broker.publish(NOW, Message::new("t", payload.to_owned()).unwrap());
        assert!(broker.poll_event().is_some());
        String::from_utf8(broker.take_log()).unwrap()
    };
    let arrive = |password: &'static [u8]| {
        let mut connection = Recorder::<Connection>::new(NOW, server::Config::default());
        let mut named = connect(V5_0, "c");
        named.password = Some(mqtt_codec::Binary::new(password).unwrap());
        let _taken = connection.handle_input(NOW, &hello(named));
        assert!(connection.poll_event().is_some());
        String::from_utf8(connection.take_log()).unwrap()
    };
    let authenticate = |data: &'static [u8]| {
        let config = server::Config {
            enhanced_authentication: true,
            ..server::Config::default()
        };
        let mut connection = Recorder::<Connection>::new(NOW, config);
        let mut named = connect(V5_0, "c");
        named.properties.authentication = Some(mqtt_codec::Authentication {
            method: mqtt_codec::Str::new("M").unwrap(),
            data: Some(mqtt_codec::Binary::new(data).unwrap()),
        });
        let _taken = connection.handle_input(NOW, &hello(named));
        assert!(connection.poll_event().is_some());
        String::from_utf8(connection.take_log()).unwrap()
    };
    let retained = |payload: &str| {
        let message = Message::new("t", payload.to_owned()).unwrap();
        message.with_qos(QoS::AtLeastOnce).with_retain(true)
    };
    let store = |payload: &str| {
        let mut broker = Recorder::<Broker>::new(broker::Config {
            journal: true,
            ..broker::Config::default()
        });
        broker.publish(NOW, retained(payload));
        assert!(broker.poll_journal().is_some());
        String::from_utf8(broker.take_log()).unwrap()
    };
    let keep = |payload: &str| {
        let mut client = Recorder::<Client>::new(client::Config {
            journal: true,
            ..client::Config::default()
        });
        client.publish(NOW, retained(payload)).unwrap();
        while client.poll_journal().is_some_and(|it| it.position() < 2) {}
        String::from_utf8(client.take_log()).unwrap()
    };
    let join = |payload: &str| {
        let join = |id| broker::JoinConfig {
            id: broker::BrokerId::new(id),
            ..broker::JoinConfig::default()
        };
        let config = |id| broker::Config {
            join: Some(join(id)),
            ..broker::Config::default()
        };
        let ids = [1, 2].map(broker::BrokerId::new);
        let mut one = Recorder::<Broker>::new(config(1));
        let mut other = Broker::new(config(2));
        one.join(NOW, ids[1]).unwrap();
        other.join(NOW, ids[0]).unwrap();
        one.publish(NOW, retained(payload));
        for _ in 0..10 {
            while let Some((_, said)) = one.poll_joined(NOW) {
                other.handle_joined(NOW, ids[0], said);
            }
            while let Some((_, said)) = other.poll_joined(NOW) {
                one.handle_joined(NOW, ids[1], said);
            }
        }
        let log = String::from_utf8(one.take_log()).unwrap();
        let is_said = |line: &&str| line.starts_with("< ") && line.contains("body: Retained");
        let said = log.lines().rfind(is_said);
        said.unwrap().to_owned()
    };
    let hand_out = |payload: &str| {
        let mut client = Recorder::<Client>::new(client::Config::default());
        client.connect(NOW, &connect(V3_1_1, "c")).unwrap();
        let _connect = client.poll_transmit(NOW, 1000, &mut Vec::new());
        let _connack = client.handle_input(NOW, &[0x20, 2, 0, 0]);
        // It is not told what the payload is until it is handed out.
        let message = Message::new("t", payload.to_owned()).unwrap();
        client.publish(NOW, message).unwrap();
        let _publish = client.poll_transmit_vectored(NOW, 1000, &mut Pieces::new());
        String::from_utf8(client.take_log()).unwrap()
    };
    let show = |payload: &str| {
        let message = Message::new("t", payload.to_owned()).unwrap();
        let log = log_of_what_is_shown(V5_0, &message);
        let log = String::from_utf8(log).unwrap();
        let is_shown = |line: &&str| line.contains("; shown ");
        log.lines().find(is_shown).unwrap().to_owned()
    };
    for (row, one, other) in [
        ("payload", deliver("#1"), deliver("#2")),
        ("payload that is shown", show("#1"), show("#2")),
        ("payload in pieces", hand_out("#1"), hand_out("#2")),
        ("password", arrive(b"#1"), arrive(b"#2")),
        ("authentication", authenticate(b"#1"), authenticate(b"#2")),
        ("a broker's store", store("#1"), store("#2")),
        ("a client's store", keep("#1"), keep("#2")),
        ("another broker", join("#1"), join("#2")),
    ] {
        let (one, other) = (one.lines().last(), other.lines().last());
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_ne!(one, other, "{row}");
        assert_eq!(one[18..], other[18..], "{row}: the same words");
        assert!(!one.contains("#1"), "{row}: {one}");
    }
}

#[test]
fn a_call_that_never_came_back_is_the_last_one() {
    let (log, _) = logs();
    let log = str::from_utf8(&log).unwrap();
    let end = log.rfind("\n< ").unwrap() + 1;
    let mut replay = Replay::new(&log.as_bytes()[..end]).unwrap();
    let mut last = None;
    while let Some(step) = replay.next_step().unwrap() {
        last = Some(step);
    }
    let last = last.unwrap();
    assert_eq!(last.recorded, None);
    assert!(
        last.is_same() && last.call.starts_with("{\"handle_close\""),
        "{last:?}"
    );
}

/// A deadline stands in the answer that brought it, once.
#[test]
fn a_log_says_when_something_is_due() {
    let mut client = Recorder::<Client>::new(client::Config::default());
    let mut connection = Recorder::<Connection>::new(NOW, server::Config::default());
    let mut broker = Recorder::<Broker>::new(broker::Config::default());
    client.connect(NOW, &connect(V5_0, "c")).unwrap();
    connection.poll_event();
    let visitor = broker.accept(NOW, Visitor::default()).unwrap();
    for _ in 0..2 {
        client.poll_event();
        connection.poll_event();
        broker.poll_event();
    }
    client.handle_close(NOW);
    connection.handle_close(NOW);
    broker.handle_close(NOW, visitor);
    for (row, log, due) in [
        ("client", client.take_log(), "; due 1020000000000 Connect"),
        (
            "connection",
            connection.take_log(),
            "; due 1010000000000 Connect",
        ),
        ("broker", broker.take_log(), "; due 1010000000000 Connect"),
    ] {
        let log = String::from_utf8(log).unwrap();
        let answers: Vec<_> = log.lines().filter(|it| it.starts_with("< ")).collect();
        assert!(answers[0].ends_with(due), "{row}: {log}");
        let again = answers[1..3].iter().filter(|it| it.contains("due"));
        assert_eq!(again.count(), 0, "{row}: {log}");
        assert!(answers[3].contains("due"), "{row}: {log}");
        assert_eq!(
            record::replay(log.as_bytes()).unwrap().difference,
            None,
            "{row}"
        );
    }
}

#[test]
fn a_log_that_nobody_takes_ends_and_the_machine_goes_on() {
    let mut broker = Recorder::<Broker>::new(broker::Config::default());
    let len = broker.log_len();
    assert!(!broker.has_ended());
    let log = broker.take_log();
    assert_eq!((log.len(), broker.log_len()), (len, 0));
    let mut broker = Recorder::<Broker>::new(broker::Config::default());
    broker.set_log_bytes_max(broker.log_len() + 1000);
    let mut ids: Vec<ConnectionId> = Vec::new();
    for _ in 0..100 {
        ids.push(broker.accept(NOW, Visitor::default()).unwrap());
    }
    assert_eq!(broker.stats().connections, 100);
    assert!(broker.has_ended());
    let log = broker.take_log();
    assert!(log.len() < 4096, "{}", log.len());
    let error = record::replay(&log).unwrap_err();
    assert_eq!(error.kind, LogErrorKind::Ended, "{error}");
    assert_eq!(broker.accept(NOW, Visitor::default()).map(|_| ()), Ok(()));
    assert_eq!(broker.take_log(), b"");
}

/// A large packet that comes byte by byte, from somebody who asks each time.
#[test]
fn what_is_offered_again_is_not_written_again() {
    let (plain, _) = logs();
    let mut broker = Recorder::<Broker>::new(broker::Config::default());
    let id = broker.accept(NOW, Visitor::default()).unwrap();
    let mut input = hello(connect(V5_0, "c"));
    let message = Message::new("t", vec![b'x'; 3000]).unwrap();
    let delivery = Delivery::AtMostOnce;
    message
        .encode_to(V5_0, delivery, false, &mut input)
        .unwrap();
    let mut start = 0;
    for end in 0..=input.len() {
        start += broker.handle_input(NOW, id, &input[start..end]).bytes;
    }
    assert_eq!(start, input.len());
    let log = broker.take_log();
    // Some 150 bytes for each call, and not 3,000.
    assert!(log.len() < 250 * input.len(), "{}", log.len());
    assert_eq!(record::replay(&log).unwrap().difference, None);
    assert!(plain.len() < 100_000, "{}", plain.len());
}

/// What hashing has to do with an order would show; an identifier that the seed decides does show.
#[test]
fn another_seed_comes_to_the_same() {
    let (log, _) = logs();
    let log = reseeded(str::from_utf8(&log).unwrap());
    assert_eq!(record::replay(log.as_bytes()).unwrap().difference, None);

    let mut broker = Recorder::<Broker>::new(broker::Config::default());
    let id = broker.accept(NOW, Visitor::default()).unwrap();
    let _taken = broker.handle_input(NOW, id, &hello(connect(V5_0, "")));
    assert!(broker.poll_event().is_some());
    let log = reseeded(&String::from_utf8(broker.take_log()).unwrap());
    let difference = record::replay(log.as_bytes()).unwrap().difference.unwrap();
    assert_eq!(difference.call, "{\"poll_event\":{}}");
    assert!(difference.found.contains("auto-"), "{difference:?}");
}

/// Logs of this form stay readable; whoever changes what stands in them raises its number and records
/// them again, with `RECORD=write`.
#[test]
fn logs_of_this_form_are_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/record/");
    if std::env::var_os("RECORD").is_some_and(|it| it == "write") {
        let (broker, client) = logs();
        for (name, log) in [
            ("broker", broker),
            ("client", client),
            ("connection", log_of_a_connection()),
        ] {
            std::fs::write(format!("{folder}form-1-{name}.log"), log).unwrap();
        }
    }
    for (row, file) in [
        ("broker", "form-1-broker.log"),
        ("client", "form-1-client.log"),
        ("connection", "form-1-connection.log"),
    ] {
        let log = std::fs::read(format!("{folder}{file}")).unwrap();
        let mut replay = Replay::new(&log).unwrap();
        let mut calls = 0;
        // What comes of the calls may change with any version.
        while replay.next_step().unwrap().is_some() {
            calls += 1;
        }
        assert!(calls > 8, "{row}: {calls}");
    }
}
