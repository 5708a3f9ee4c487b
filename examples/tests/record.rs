//! What a broker has recorded is run again, and what differs is found.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::fs;
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
    let arguments = ["-p", port, "-t", "a/b", "-m", payload, "-q", "2", "-r"];
    Program::start(env!("CARGO_BIN_EXE_publish"), &arguments).succeed();
    let (code, lines) = broker.program.interrupt();
    assert_eq!(code, Some(0), "{lines:?}");
}

fn logs(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("first.log"), folder.join("second.log"))
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
                .any(|line| line.starts_with("< ") && line.contains("a/b"))
        );
        let verdict = lines.last().expect("a verdict");
        assert!(verdict.ends_with("each came to the same"), "{verdict}");
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
