//! What a broker has recorded is run again, and what differs is found.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use support::{OurBroker, Program};

fn replay(log: &Path, more: &[&str]) -> (Option<i32>, Vec<String>) {
    let arguments = [&["--replay", log.to_str().unwrap()], more].concat();
    Program::start(env!("CARGO_BIN_EXE_simulate"), &arguments).finish()
}

/// Lets a broker with a store serve a publisher, and ends it.
fn serve(folder: &Path, log: &Path, payload: &str) {
    let store = folder.join("store");
    let options = [
        "--store",
        store.to_str().unwrap(),
        "--record",
        log.to_str().unwrap(),
    ];
    let broker = OurBroker::with(&options);
    let port = &*broker.port;
    let arguments = [
        "-p",
        port,
        "-t",
        "door/open",
        "-m",
        payload,
        "-q",
        "2",
        "-r",
    ];
    Program::start(env!("CARGO_BIN_EXE_publish"), &arguments).succeed();
    let (code, lines) = broker.program.interrupt();
    assert_eq!(code, Some(0), "{lines:?}");
}

fn logs(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("first.log"), folder.join("second.log"))
}

/// Passwords and payloads are in them.
#[test]
fn a_store_and_a_log_are_for_nobody_else() {
    let folder = support::folder("private");
    let (log, _) = logs(&folder);
    serve(&folder, &log, "hello");
    for path in [log, folder.join("store")] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_recorded_broker_is_run_again() {
    let folder = support::folder("record");
    let (first, second) = logs(&folder);
    serve(&folder, &first, "hello");
    // This one begins with what the other one has stored.
    serve(&folder, &second, "again");
    assert!(
        fs::read_to_string(&second)
            .unwrap()
            .contains("\n> {\"put\":")
    );
    for log in [&first, &second] {
        let (code, lines) = replay(log, &["--trace"]);
        assert_eq!(code, Some(0), "{lines:?}");
        assert!(
            lines[0].starts_with("Broker, recorded by version "),
            "{lines:?}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("< ") && line.contains("door/open"))
        );
        let verdict = lines.last().expect("a verdict");
        assert!(verdict.ends_with("each came to the same"), "{verdict}");
    }

    // What is given away comes to the same, without what nobody else is to know.
    let given = folder.join("given.log");
    for (row, more, has_topic) in [
        ("payloads", &[][..], true),
        ("topics", &["--topics"], false),
    ] {
        let files = ["--redact", first.to_str().unwrap(), given.to_str().unwrap()];
        let arguments = [&files, more].concat();
        let (code, lines) = Program::start(env!("CARGO_BIN_EXE_simulate"), &arguments).finish();
        assert_eq!(code, Some(0), "{row}: {lines:?}");
        let verdict = lines.last().expect("a verdict");
        assert!(
            verdict.ends_with("each comes to the same"),
            "{row}: {verdict}"
        );
        let (code, lines) = replay(&given, &["--trace"]);
        assert_eq!(code, Some(0), "{row}: {lines:?}");
        let left = fs::read_to_string(&given).unwrap();
        // "hello" as it goes over the wire, and the topic in an event.
        let shows = ["68656c6c6f", "door/open"].map(|it| left.contains(it));
        assert_eq!(shows, [false, has_topic], "{row}");
    }

    // Another answer, a line that is not complete, and no log at all.
    let log = fs::read_to_string(&first).unwrap();
    let changed = log.replacen("Idle, ", "Idle, 1", 1);
    assert_ne!(log, changed);
    fs::write(&first, changed).unwrap();
    let (code, lines) = replay(&first, &[]);
    assert_eq!(code, Some(1));
    assert!(
        lines.last().unwrap().ends_with("comes to something else"),
        "{lines:?}"
    );
    fs::write(&first, &log[..log.len() - 3]).unwrap();
    let (code, lines) = replay(&first, &[]);
    assert_eq!(code, Some(1));
    assert!(
        lines.last().unwrap().ends_with("the line is not complete"),
        "{lines:?}"
    );
    fs::write(&first, "hello").unwrap();
    assert_eq!(replay(&first, &[]).0, Some(1));
}

/// Both drivers, with all that a client is told.
#[test]
fn recorded_clients_are_run_again() {
    let folder = support::folder("record-clients");
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (subscriber, publisher) = (file("subscriber.log"), file("publisher.log"));
    let broker = OurBroker::start();
    let port = &*broker.port;
    let rest = ["-p", port, "-t", "door/open", "-q", "2"];
    let record = ["-C", "1", "--record", &subscriber];
    let reader = support::subscribe(&[&record[..], &rest].concat());
    let record = ["-m", "hello", "--record", &publisher];
    support::publish(&[&record[..], &rest].concat()).succeed();
    let lines = reader.succeed();
    assert!(lines.iter().any(|line| line == "hello"), "{lines:?}");
    for (row, log, call, event) in [
        ("subscriber", &subscriber, "> {\"subscribe\":", "Message {"),
        ("publisher", &publisher, "> {\"publish\":", "Published {"),
    ] {
        let text = fs::read_to_string(log).unwrap();
        assert!(text.contains(call) && text.contains(event), "{row}: {text}");
        let (code, lines) = replay(Path::new(log), &[]);
        assert_eq!(code, Some(0), "{row}: {lines:?}");
        let first = lines.first().expect("what it is about");
        assert!(first.starts_with("Client, "), "{row}: {first}");
    }
    // One that cannot be written is found at once.
    let nowhere = file("nowhere/publisher.log");
    let record = ["-m", "hello", "--record", &nowhere];
    let (code, lines) = support::publish(&[&record[..], &rest].concat()).finish();
    assert_eq!(code, Some(1), "{lines:?}");
}
