//! What is left of a log that is given away.

use bytes::BytesMut;
use core::time::Duration;

use mqtt_codec::{
    Authentication, Binary, Connect, Delivery, Message, Packet, ProtocolVersion, PublishProperties,
    QoS, UserProperties, UserProperty, Will,
};
use mqtt_state::Transmit;
use mqtt_state::broker::{self, Broker, Idle, Peer};
use mqtt_state::client::{self, Client};
use mqtt_state::record::{self, LogErrorKind, Recorder, Redacted, Redaction};
use mqtt_state::server::{self, Acceptance, Connection};

use super::{NOW, hello, log_of_a_connection, log_of_what_is_shown, logs};
use crate::wire::{V3_1_1, V5_0, connect, name, text, want};

const ALL: Redaction = Redaction {
    topics: true,
    names: true,
};

fn redact(log: &[u8], what: Redaction) -> (Redacted, String) {
    let redacted = record::redact(log, what).unwrap();
    let text = String::from_utf8(redacted.log.clone()).unwrap();
    let verdict = record::replay(&redacted.log).unwrap();
    assert_eq!(verdict.difference, None, "its answers are its own");
    (redacted, text)
}

/// The ways in which bytes stand in a log: as a text, as hexadecimal digits, as numbers.
fn shows(log: &str, what: &str) -> bool {
    let hex: String = what.bytes().map(|it| format!("{it:02x}")).collect();
    let numbers: Vec<_> = what.bytes().map(|it| it.to_string()).collect();
    [what, &hex, &numbers.join(",")]
        .iter()
        .any(|it| log.contains(it))
}

fn properties<'a>(pairs: &'a [UserProperty<'a>]) -> PublishProperties<'a> {
    PublishProperties {
        response_topic: Some(name("reply/topic")),
        correlation_data: Some(Binary::new(b"corr-data").unwrap()),
        content_type: Some(text("content-type")),
        user_properties: UserProperties::new(pairs),
        ..PublishProperties::default()
    }
}

fn message(pairs: &[UserProperty<'_>]) -> Message {
    let message = Message::new("house/door", "payload-bytes").unwrap();
    let message = message.with_qos(QoS::ExactlyOnce).with_retain(true);
    message.with_properties(&properties(pairs)).unwrap()
}

/// A CONNECT with everything.
fn full<'a>(version: ProtocolVersion, pairs: &'a [UserProperty<'a>]) -> Connect<'a> {
    let mut connect = Connect::new(version, text("client-name"));
    connect.clean_start = false;
    connect.user_name = Some(text("user-name"));
    connect.password = Some(Binary::new(b"pass-word").unwrap());
    let mut will = Will::new(name("house/gone"), Binary::new(b"will-payload").unwrap());
    if version == V5_0 {
        connect.properties.session_expiry_secs = Some(100);
        connect.properties.user_properties = UserProperties::new(pairs);
        connect.properties.authentication = Some(Authentication {
            method: text("METHOD"),
            data: Some(Binary::new(b"auth-data").unwrap()),
        });
        will.properties.response_topic = Some(name("reply/topic"));
        will.properties.user_properties = UserProperties::new(pairs);
    }
    connect.will = Some(will);
    connect
}

const SECRETS: [&str; 9] = [
    "payload-bytes",
    "corr-data",
    "content-type",
    "pass-word",
    "will-payload",
    "auth-data",
    "pair-name",
    "pair-value",
    "other-payload",
];
const TOPICS: [&str; 4] = ["house", "door", "gone", "reply"];
const NAMES: [&str; 5] = [
    "client-name",
    "user-name",
    "identity-name",
    "192.0.2.77",
    "reason-text",
];

/// Logs of all machines, with every place that something can stand in: packets that came in pieces, commands,
/// sessions and a store.
fn everything() -> Vec<(&'static str, Vec<u8>)> {
    let pairs = [UserProperty {
        name: text("pair-name"),
        value: text("pair-value"),
    }];
    let mut logs = Vec::new();
    let mut disk = Vec::new();
    for version in [V3_1_1, V5_0] {
        let config = broker::Config {
            journal: true,
            server: server::Config {
                enhanced_authentication: true,
                ..server::Config::default()
            },
            ..broker::Config::default()
        };
        let mut broker = Recorder::<Broker>::new(config.clone());
        let peer = Peer {
            address: Some("192.0.2.77:1234".parse().unwrap()),
            identity: Some("identity-name".into()),
            ..Peer::default()
        };
        let id = broker.accept(NOW, peer).unwrap();
        let mut input = BytesMut::from(&*hello(full(version, &pairs)));
        let filter = mqtt_codec::TopicFilter::new("house/+").unwrap();
        broker.subscribe_local(filter).unwrap();
        let wanted = [want("house/#", QoS::AtLeastOnce)];
        let subscribe = mqtt_codec::Subscribe {
            id: mqtt_codec::PacketId::MIN,
            filters: mqtt_codec::SubscribeFilters::new(&wanted).unwrap(),
            properties: Default::default(),
        };
        let mut more = Vec::new();
        Packet::Subscribe(subscribe)
            .encode_to(version, &mut more)
            .unwrap();
        let id_2 = mqtt_codec::PacketId::new(2).unwrap();
        let delivery = Delivery::ExactlyOnce {
            id: id_2,
            dup: false,
        };
        message(&pairs)
            .publish(delivery)
            .encode_to(version, &mut more)
            .unwrap();
        input.extend_from_slice(&more);
        // Everything comes in pieces of 7 bytes, and what was not taken comes again.
        let (mut start, mut end) = (0, 0);
        while end < input.len() {
            end = input.len().min(end + 7);
            let taken = broker.handle_input(NOW, id, &input[start..end]);
            start += taken.bytes;
            while let Some(event) = broker.poll_event() {
                if let broker::Event::Authenticate { decision, .. } = event {
                    let answer = broker::ConnectAnswer::Allow;
                    broker.decide_connect(NOW, decision, answer).unwrap();
                }
            }
        }
        broker.publish(NOW, message(&pairs));
        while let Some(entry) = broker.poll_journal() {
            for change in entry.changes() {
                disk.push((change.key().clone(), change.value().cloned()));
            }
            broker.handle_stored(entry.position());
        }
        broker.disconnect_client(
            NOW,
            "client-name",
            mqtt_codec::DisconnectReason::AdministrativeAction,
            Some(text("reason-text")),
        );
        let mut out = Vec::new();
        while broker.poll_ready().is_some() {
            while broker.poll_transmit(NOW, id, 1000, &mut out) == Transmit::More {}
        }
        logs.push(("broker", broker.take_log()));

        let idle = Idle {
            at: NOW,
            elapsed: Duration::ZERO,
        };
        let mut restore = Recorder::<Broker>::restore(config, NOW, idle);
        disk.sort_by(|one, other| one.0.cmp(&other.0));
        for (key, value) in core::mem::take(&mut disk) {
            if let Some(value) = value {
                let _left_out = restore.put(key, value);
            }
        }
        logs.push(("store", restore.finish().take_log()));

        let mut client = Recorder::<Client>::new(client::Config::default());
        client.publish(NOW, message(&pairs)).unwrap();
        client.connect(NOW, &full(version, &pairs)).unwrap();
        let snapshot = client.snapshot(NOW);
        logs.push(("client", client.take_log()));
        let config = client::Config::default();
        let mut client =
            Recorder::<Client>::restore(NOW, Duration::ZERO, config, snapshot.clone()).unwrap();
        assert!(client.poll_event().is_none());
        logs.push(("restored client", client.take_log()));
        logs.push(("shown", log_of_what_is_shown(version, &message(&pairs))));

        let mut connection = Recorder::<Connection>::new(NOW, server::Config::default());
        let mut first = connect(version, "client-name");
        first.clean_start = false;
        if version == V5_0 {
            first.properties.session_expiry_secs = Some(100);
        }
        let first = hello(first);
        let _taken = connection.handle_input(NOW, &first);
        while connection.poll_event().is_some() {}
        let acceptance = Acceptance {
            session: Some(left(version, &first)),
            user_properties: vec![("pair-name".into(), "pair-value".into())],
            reason_string: Some("reason-text".into()),
            ..Acceptance::default()
        };
        connection.accept(NOW, acceptance).unwrap();
        connection.deliver(NOW, message(&pairs)).unwrap();
        logs.push(("connection", connection.take_log()));
    }
    logs
}

/// What is left of a session with a message for its client.
fn left(version: ProtocolVersion, first: &[u8]) -> server::Session {
    let mut connection = Connection::new(NOW, server::Config::default());
    let _taken = connection.handle_input(NOW, first);
    while connection.poll_event().is_some() {}
    connection.accept(NOW, Acceptance::default()).unwrap();
    let other = Message::new("house/door", "other-payload").unwrap();
    let other = other.with_qos(QoS::AtLeastOnce);
    connection.deliver(NOW, other).unwrap();
    connection.handle_close(NOW);
    while connection.poll_event().is_some() {}
    let session = connection.into_session();
    session.unwrap_or_else(|| panic!("{version}: it is kept"))
}

#[test]
fn nothing_of_what_is_left_out_is_left() {
    let logs = everything();
    let before: Vec<_> = logs
        .iter()
        .map(|(_, log)| String::from_utf8_lossy(log))
        .collect();
    for what in SECRETS.iter().chain(&TOPICS).chain(&NAMES) {
        assert!(
            before.iter().any(|log| shows(log, what)),
            "{what} was there"
        );
    }
    for (row, log) in &logs {
        for (topics, names) in [(false, false), (true, false), (false, true), (true, true)] {
            let row = format!("{row}, {topics}, {names}");
            let (redacted, text) = redact(log, Redaction { topics, names });
            assert_eq!(
                (redacted.difference, redacted.unread_packets),
                (None, 0),
                "{row}"
            );
            let leaves_out = SECRETS.iter();
            let leaves_out = leaves_out.chain(TOPICS.iter().filter(|_| topics));
            for what in leaves_out.chain(NAMES.iter().filter(|_| names)) {
                assert!(!shows(&text, what), "{row}: {what} in {text}");
            }
            let log = String::from_utf8_lossy(log);
            let keeps = TOPICS.iter().filter(|_| !topics);
            for what in keeps.chain(NAMES.iter().filter(|_| !names)) {
                assert_eq!(shows(&log, what), shows(&text, what), "{row}: {what}");
            }
            let calls = log.lines().filter(|line| line.starts_with("> ")).count();
            assert_eq!(redacted.calls, calls, "{row}");
        }
    }
}

/// What differs from call to call is what was left out, and how long that is stays.
#[test]
fn a_whole_conversation_comes_to_the_same() {
    let (broker, client) = logs();
    for (row, log) in [
        ("broker", &broker),
        ("client", &client),
        ("connection", &log_of_a_connection()),
    ] {
        for what in [Redaction::default(), ALL] {
            let (redacted, _) = redact(log, what);
            assert_eq!(
                (redacted.difference, redacted.unread_packets),
                (None, 0),
                "{row}"
            );
            let (again, _) = redact(&redacted.log, Redaction::default());
            assert_eq!(again, redacted, "{row}: once more is the same");
        }
    }
}

#[test]
fn a_packet_that_breaks_a_rule_keeps_its_fixed_header() {
    let hello = hello(connect(V3_1_1, "c"));
    for (row, bytes, left, unread) in [
        (
            "topic too long",
            &b"\x31\x05\0\x05tpp"[..],
            "310578787878",
            1,
        ),
        (
            "unfinished",
            &b"\x30\x20\0\x01tpayload"[..],
            "302078787878787878787878",
            0,
        ),
        (
            "header flags",
            &b"\x36\x05\0\x01tpp"[..],
            "36057878787878",
            1,
        ),
        (
            "no packet",
            &b"\xF0\xFF\xFF\xFF\xFFpp"[..],
            "f0ffffffff7878",
            1,
        ),
    ] {
        let mut broker = Recorder::<Broker>::new(broker::Config::default());
        let id = broker.accept(NOW, Peer::default()).unwrap();
        let taken = broker.handle_input(NOW, id, &hello);
        assert_eq!(taken.bytes, hello.len());
        let _taken = broker.handle_input(NOW, id, bytes);
        let (redacted, text) = redact(&broker.take_log(), Redaction::default());
        assert!(
            text.contains(&format!("\"bytes\":\"{left}")),
            "{row}: {text}"
        );
        assert_eq!(redacted.unread_packets, unread, "{row}");
    }
}

/// Whatever ended the program would end this one.
#[test]
fn a_call_that_never_came_back_is_not_made() {
    let (log, _) = logs();
    let log = str::from_utf8(&log).unwrap();
    let end = log.rfind("\n< ").unwrap() + 1;
    let cut = &log[..end];
    let calls = cut.matches("\n> ").count();
    let redacted = record::redact(cut.as_bytes(), ALL).unwrap();
    assert_eq!(redacted.calls, calls);
    let text = String::from_utf8(redacted.log).unwrap();
    assert!(
        text.lines()
            .last()
            .unwrap()
            .starts_with("> {\"handle_close\"")
    );
    // The last line was being written.
    let redacted = record::redact(&log.as_bytes()[..end + 20], ALL).unwrap();
    assert_eq!((redacted.calls, redacted.difference), (calls, None));
}

#[test]
fn a_text_that_nobody_knows_is_an_error() {
    let (log, _) = logs();
    let log = str::from_utf8(&log).unwrap();
    for (row, from, to, kind) in [
        (
            "a call",
            "\"listener\":null",
            "\"listener\":\"me\"",
            LogErrorKind::Call,
        ),
        (
            "the beginning",
            "\"join\":null",
            "\"join\":\"me\"",
            LogErrorKind::Start,
        ),
        (
            "no machine",
            "\"machine\":",
            "\"device\":",
            LogErrorKind::Start,
        ),
        (
            "no library",
            "\"library\":",
            "\"book\":",
            LogErrorKind::Start,
        ),
        (
            "no log",
            "mqtt-state log 1",
            "mqtt-state",
            LogErrorKind::NotALog,
        ),
    ] {
        let changed = log.replacen(from, to, 1);
        assert_ne!(changed, log, "{row}");
        let error = record::redact(changed.as_bytes(), ALL).unwrap_err();
        assert_eq!(error.kind, kind, "{row}: {error}");
    }
}

/// A log that has ended by itself says so still, behind the call that was not answered or in the place of one.
#[test]
fn a_log_that_has_ended_keeps_its_last_words() {
    let (log, _) = logs();
    let log = str::from_utf8(&log).unwrap();
    let answer = log.rfind("\n< ").unwrap() + 1;
    let whole = log.matches("\n> ").count();
    for (row, kept) in [("behind a call", &log[..answer]), ("in its place", log)] {
        let ended = format!("{kept}! the log ends here\n");
        let redacted = record::redact(ended.as_bytes(), ALL).unwrap();
        let calls = (redacted.calls, redacted.difference);
        assert_eq!(calls, (whole, None), "{row}");
        let text = String::from_utf8(redacted.log).unwrap();
        assert_eq!(text.lines().last(), Some("! the log ends here"), "{row}");
    }
}

/// What a broker has assigned it assigns again, joined with others or not.
#[test]
fn identifiers_that_are_assigned_stay() {
    let join = broker::JoinConfig {
        id: broker::BrokerId::new(7),
        ..broker::JoinConfig::default()
    };
    let chosen = "auto-7-x";
    for (row, join, start) in [("alone", None, "auto-"), ("joined", Some(join), "auto-7-")] {
        let config = broker::Config {
            join,
            ..broker::Config::default()
        };
        let mut broker = Recorder::<Broker>::new(config);
        for client_id in ["", chosen] {
            let id = broker.accept(NOW, Peer::default()).unwrap();
            let mut login = connect(V5_0, client_id);
            login.properties.session_expiry_secs = Some(100);
            assert!(broker.handle_input(NOW, id, &hello(login)).bytes > 0);
        }
        let names: Vec<_> = { broker.sessions() }
            .map(|session| session.client_id.to_owned())
            .collect();
        let assigned = names.iter().find(|name| *name != chosen).unwrap();
        assert!(assigned.starts_with(start) && names.len() == 2, "{row}");
        for client_id in &names {
            broker.disconnect_client(
                NOW,
                client_id,
                mqtt_codec::DisconnectReason::AdministrativeAction,
                None,
            );
        }
        let (redacted, text) = redact(&broker.take_log(), ALL);
        assert_eq!(redacted.difference, None, "{row}");
        assert!(shows(&text, assigned), "{row}");
        assert!(!shows(&text, chosen), "{row}: a client may call itself so");
    }
}

/// More topics of one letter than there are letters: they are still no other's.
#[test]
fn short_names_that_are_many_stay_short() {
    let mut broker = Recorder::<Broker>::new(broker::Config::default());
    for letter in (b' '..=b'~').filter(|it| !b"#+/$".contains(it)) {
        let topic = String::from(char::from(letter));
        broker.publish(NOW, Message::new(&topic, "m").unwrap());
    }
    let (redacted, text) = redact(&broker.take_log(), ALL);
    assert_eq!(redacted.difference, None);
    let topics = text.split("\"topic\":\"").skip(1).map(|it| &it[..2]);
    let topics: std::collections::BTreeSet<_> = topics.collect();
    assert_eq!(topics.len(), 62);
}

/// Many small packets at once, and a large one that comes slowly: whoever gives a log away does not wait for it.
#[test]
fn what_comes_in_is_looked_at_once() {
    let mut broker = Recorder::<Broker>::new(broker::Config::default());
    let id = broker.accept(NOW, Peer::default()).unwrap();
    let mut input = hello(connect(V5_0, "c"));
    for _ in 0..20_000 {
        let delivery = Delivery::AtMostOnce;
        let small = Message::new("t", "secret").unwrap();
        small.encode_to(V5_0, delivery, false, &mut input).unwrap();
    }
    let (mut start, mut end) = (0, 0);
    while end < input.len() {
        // Now nearly all of it, now a byte.
        end = input.len().min(end + if end < 200 { 1 } else { 1_000_000 });
        start += broker.handle_input(NOW, id, &input[start..end]).bytes;
    }
    let (redacted, text) = redact(&broker.take_log(), Redaction::default());
    assert_eq!((redacted.difference, redacted.unread_packets), (None, 0));
    assert!(!shows(&text, "secret"));
    let hidden = "x"
        .bytes()
        .map(|it| format!("{it:02x}"))
        .collect::<String>();
    assert!(text.matches(&hidden.repeat(6)).count() >= 19_900);
}
