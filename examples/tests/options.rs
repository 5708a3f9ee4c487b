//! What the options of the broker do: flags, a file of settings, and both.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::time::Duration;

use mqtt_codec::{ProtocolVersion, QoS};
use mqtt_examples::drive::blocking::Driver;
use mqtt_examples::settings::Settings;
use mqtt_state::client::{Client, Config, Event, Negotiated};

use support::{OurBroker, Program, file, folder, publish, subscribe};

/// What a client and the broker agree on.
fn agree(broker: &OurBroker, wish: impl FnOnce(&mut Settings)) -> Negotiated {
    let mut settings = Settings::new(broker.address(), ProtocolVersion::V5_0, "asks");
    wish(&mut settings);
    let mut driver = Driver::new(Client::new(Config::default()), settings);
    driver.open().unwrap();
    loop {
        assert!(driver.step(Duration::from_secs(1)), "the connection stays");
        while let Some(event) = driver.client.poll_event() {
            if matches!(event, Event::Connected { .. }) {
                return driver.client.negotiated().unwrap().clone();
            }
        }
    }
}

/// A broker that does not start, and says why in one line.
fn refused(options: &[&str], expected: &str) {
    let base = ["--bind", "127.0.0.1:0"];
    let program = env!("CARGO_BIN_EXE_broker");
    let (code, lines) = Program::start(program, &[&base, options].concat()).finish();
    let text = lines.join("\n");
    assert_eq!(code, Some(1), "{options:?}: {text}");
    assert!(
        lines[0].starts_with("broker: ") && text.contains(expected),
        "{options:?}: no {expected:?} in {text}"
    );
}

#[test]
fn without_options_the_defaults_hold() {
    let broker = OurBroker::start();
    let agreed = agree(&broker, |settings| {
        settings.keep_alive_secs = 0;
        settings.session_expiry_secs = Some(u32::MAX);
    });
    assert_eq!(
        (
            agreed.receive_maximum,
            agreed.packet_size_max,
            agreed.topic_alias_maximum
        ),
        (20, Some(1024 * 1024), 10)
    );
    assert_eq!(
        (agreed.keep_alive_secs, agreed.session_expiry_secs),
        (0, u32::MAX)
    );
    assert_eq!(
        (agreed.maximum_qos, agreed.retain_available),
        (QoS::ExactlyOnce, true)
    );
}

#[test]
fn flags_win_over_the_file() {
    let settings = r#"
        bind = "127.0.0.1:1" # Not allowed to most: a flag says otherwise.
        receive-maximum = 7
        max-packet-size = 5000
        topic-alias-maximum = 3
        max-keep-alive = 100
        session-expiry-max = 1000
        maximum-qos = 0
        retain-available = false
    "#;
    let settings = file(&folder("options-file"), "broker.toml", settings);
    let broker = OurBroker::with(&[
        "--config",
        &settings,
        "--receive-maximum",
        "9",
        "--max-keep-alive",
        "200",
        "--maximum-qos",
        "1",
    ]);
    let agreed = agree(&broker, |settings| {
        settings.keep_alive_secs = 0;
        settings.session_expiry_secs = Some(u32::MAX);
    });
    let both = (
        agreed.receive_maximum,
        agreed.keep_alive_secs,
        agreed.maximum_qos,
    );
    assert_eq!(both, (9, 200, QoS::AtLeastOnce));
    let file_alone = (
        agreed.packet_size_max,
        agreed.topic_alias_maximum,
        agreed.session_expiry_secs,
        agreed.retain_available,
    );
    assert_eq!(file_alone, (Some(5000), 3, 1000, false));
}

#[test]
fn a_file_may_say_where_to_listen() {
    let settings = "bind = ['127.0.0.1:0', '127.0.0.1:0']\nws-bind = '127.0.0.1:0'\nverbose = true";
    let settings = file(&folder("options-bind"), "broker.toml", settings);
    let program = env!("CARGO_BIN_EXE_broker");
    let mut program = Program::start(program, &["--config", &settings]);
    for _ in 0..3 {
        program.wait_for("listening on 127.0.0.1:");
    }
    let line = program.wait_for("try: ");
    assert!(line.contains("--url ws://127.0.0.1:"), "{line}");
}

#[test]
fn what_a_file_may_not_hold() {
    let folder = folder("options-wrong");
    for (name, text, expected) in [
        ("unknown", "max-conections = 5", "max-conections"),
        ("not-in-words", "max_connections = 5", "max_connections"),
        ("flag-only", "hash-password = []", "hash-password"),
        ("no-number", "max-queued = 'many'", "max-queued"),
        ("too-large", "receive-maximum = 70000", "receive-maximum"),
        ("zero", "receive-maximum = 0", "receive-maximum"),
        ("qos", "maximum-qos = 3", "QoS is 0, 1 or 2"),
        ("too-small", "max-packet-size = 15", "max-packet-size"),
        ("no-list", "bind = 1883", "one address, or a list"),
        ("no-toml", "bind 127.0.0.1", "no-toml"),
        ("code", "deny-subscribe = 'a=1'", "reason code"),
    ] {
        let path = file(&folder, name, text);
        refused(&["--config", &path], expected);
        refused(&["--config", &path], name);
    }
    refused(&["--config", "no-such-file"], "cannot read no-such-file");
}

#[test]
fn what_flags_may_not_say() {
    for options in [
        ["--receive-maximum", "0"],
        ["--max-inflight", "0"],
        ["--maximum-qos", "3"],
        ["--max-packet-size", "15"],
        ["--retain-available", "perhaps"],
        ["--max-keep-alive", "65536"],
        ["--max-keep-alive", "0"],
        ["--deny-subscribe", "a/#/b"],
        ["--deny-subscribe", "a=0"],
    ] {
        let (code, lines) = Program::start(env!("CARGO_BIN_EXE_broker"), &options).finish();
        assert_eq!(code, Some(2), "{options:?}: {lines:?}");
    }
}

/// A broker that ignored these would let in whom it should not.
#[test]
fn files_of_access_that_are_wrong_say_where() {
    let folder = folder("options-wrong-access");
    refused(&["--store", "/"], "cannot open");
    let wrong = file(&folder, "wrong", "user a\nallow everything");
    refused(&["--acl", &wrong], "line 2");
    let wrong = file(&folder, "wrong", "alice:secret");
    refused(&["--password-file", &wrong], "line 1");
}

/// Two brokers on one store would each undo what the other does.
#[test]
fn a_store_of_another_broker_or_version_is_left_alone() {
    let path = folder("options-store").join("store");
    let store = path.to_str().unwrap();
    let broker = OurBroker::with(&["--store", store]);
    refused(&["--store", store], "already open");
    let (code, lines) = broker.program.interrupt();
    assert_eq!(code, Some(0), "{lines:?}");

    let database = redb::Database::open(&path).unwrap();
    let writing = database.begin_write().unwrap();
    let about = redb::TableDefinition::<&str, u64>::new("about");
    writing
        .open_table(about)
        .unwrap()
        .insert("form", 1_000)
        .unwrap();
    writing.commit().unwrap();
    drop(database);
    refused(&["--store", store], "has form 1000");
}

#[test]
fn limits_reach_the_broker() {
    let mut broker = OurBroker::with(&[
        "--message-size-limit",
        "10",
        "--max-subscriptions",
        "1",
        "--max-retained",
        "1",
        "--max-connections",
        "3",
    ]);
    let place = ["-p", &broker.port, "-q", "1"];
    let small = ["-t", "a", "-m", "0123456789"];
    publish(&[&place[..], &small].concat()).succeed();
    let large = ["-t", "a", "-m", "0123456789a"];
    let (code, lines) = publish(&[&place[..], &large].concat()).finish();
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(lines[0].contains("(0x97)"), "{lines:?}");

    // Both are gone: they do not count below.
    broker.program.wait_for(": closed: ");
    broker.program.wait_for(": closed: ");
    let mut two = subscribe(&[&place[..], &["-t", "a", "-t", "b"]].concat());
    two.wait_for("refused b: Quota exceeded (0x97)");
    let _second = subscribe(&[&place[..], &["-t", "a"]].concat());
    let _third = subscribe(&[&place[..], &["-t", "a"]].concat());
    let (code, lines) = publish(&[&place[..], &small].concat()).finish();
    assert_eq!(code, Some(1), "a fourth connection: {lines:?}");
}

#[test]
fn figures_appear_under_sys() {
    let broker = OurBroker::with(&["--sys-interval", "1"]);
    let names = [
        "uptime",
        "connections",
        "sessions",
        "subscriptions/count",
        "retained messages/count",
        "store/messages/count",
        "store/messages/bytes",
        "messages/received",
        "messages/sent",
        "publish/messages/sent",
        "bytes/received",
        "bytes/sent",
    ];
    let mut subscriber = subscribe(&["-p", &broker.port, "-t", "$SYS/#", "-v", "--flags"]);
    for name in names {
        let line = subscriber.wait_for(&format!("$SYS/broker/{name} q0 r"));
        let figure = line.rsplit(' ').next().unwrap();
        assert!(figure.parse::<u64>().is_ok(), "{line}");
    }
    // Later ones count this subscriber.
    subscriber.wait_for("$SYS/broker/connections q0 r0 1");
    subscriber.wait_for("$SYS/broker/subscriptions/count q0 r0 1");
    // Whoever comes later finds the last ones; nobody gets them who asked for everything.
    let place = ["-p", &broker.port];
    let retained = ["-t", "$SYS/broker/uptime", "--flags", "-C", "1"];
    let lines = subscribe(&[&place[..], &retained].concat()).succeed();
    assert!(
        lines.iter().any(|line| line.starts_with("q0 r1 ")),
        "{lines:?}"
    );
    let all = subscribe(&[&place[..], &["-t", "#", "-v", "-C", "1"]].concat());
    publish(&[&place[..], &["-t", "plain", "-m", "x"]].concat()).succeed();
    assert!(all.succeed().contains(&"plain x".to_owned()));
}

#[test]
fn hashes_of_passwords_are_printed() {
    let program = env!("CARGO_BIN_EXE_broker");
    let given = Program::start(program, &["--hash-password", "alice", "wonderland"]).succeed();
    let mut asked = Program::start(program, &["--hash-password"]);
    asked.type_line("alice");
    asked.type_line("wonderland");
    let mut half = Program::start(program, &["--hash-password", "alice"]);
    half.type_line("wonderland");
    for lines in [given, asked.succeed(), half.succeed()] {
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("alice:$argon2id$v=19$"), "{lines:?}");
        let passwords = mqtt_examples::access::password::Passwords::parse(&lines[0]).unwrap();
        assert!(passwords.verify("alice", b"wonderland"));
        assert!(!passwords.verify("alice", b"Wonderland"));
    }
    for (arguments, expected) in [
        (["--hash-password", "a:b", "c"], "user name"),
        (["--hash-password", "", "c"], "no user name"),
    ] {
        let (code, lines) = Program::start(program, &arguments).finish();
        assert_eq!(code, Some(1), "{lines:?}");
        assert!(lines[0].contains(expected), "{lines:?}");
    }
    let (code, lines) = Program::start(program, &["--hash-password"]).finish();
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(
        lines[0].contains("no user name on standard input"),
        "{lines:?}"
    );
}
