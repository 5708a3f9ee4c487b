//! The smallest broker on all cores, with clients on different threads: each new connection is dealt to the next
//! one of three.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot start its programs fails"
)]

mod support;

use std::collections::BTreeSet;

use support::Program;

/// Three threads, and the port that they share.
fn start() -> (Program, String) {
    let hello = env!("CARGO_BIN_EXE_hello_joined");
    let mut program = Program::start(hello, &["127.0.0.1:0", "3"]);
    let line = program.wait_for("listening on");
    let port = line.rsplit(':').next().expect("an address").to_owned();
    (program, port)
}

fn subscribe(port: &str, arguments: &[&str]) -> Program {
    let subscriber = env!("CARGO_BIN_EXE_subscribe");
    Program::start(subscriber, &[&["-p", port, "-q", "1"], arguments].concat())
}

fn publish(port: &str, arguments: &[&str]) -> Program {
    let publisher = env!("CARGO_BIN_EXE_publish");
    Program::start(publisher, &[&["-p", port, "-q", "1"], arguments].concat())
}

/// Retained ones, as only these cannot pass by a subscription whose word is on its way to another thread.
#[test]
fn messages_reach_subscribers_on_all_threads() {
    let (mut broker, port) = start();
    let wanted = ["-v", "-t", "room/#", "-C", "3"];
    let subscribers: Vec<_> = (0..3)
        .map(|thread| {
            let subscriber = subscribe(&port, &wanted);
            let line = broker.wait_for("Subscribed");
            assert!(line.starts_with(&format!("broker {thread}:")), "{line}");
            subscriber
        })
        .collect();
    for (topic, payload) in [("room/a", "1"), ("room/b", "2"), ("room/c", "3")] {
        publish(&port, &["-r", "-t", topic, "-m", payload]).succeed();
    }
    let late = subscribe(&port, &wanted);
    for subscriber in subscribers.into_iter().chain([late]) {
        let mut lines = subscriber.succeed();
        lines.sort();
        assert_eq!(lines, ["room/a 1", "room/b 2", "room/c 3"]);
    }
}

/// More messages than the members need: some may come before another thread has heard of them.
#[test]
fn members_on_different_threads_share_messages() {
    let (mut broker, port) = start();
    let members: Vec<_> = (0..3)
        .map(|_| {
            let member = subscribe(&port, &["-t", "$share/group/work", "-C", "5"]);
            broker.wait_for("Subscribed");
            member
        })
        .collect();
    for publisher in 0..3 {
        let mut publisher_of_lines = publish(&port, &["-t", "work", "-l"]);
        for number in 0..50 {
            publisher_of_lines.type_line(&format!("{publisher}/{number}"));
        }
        publisher_of_lines.succeed();
    }
    let lines: Vec<_> = members.into_iter().flat_map(Program::succeed).collect();
    let different: BTreeSet<_> = lines.iter().collect();
    assert_eq!((lines.len(), different.len()), (15, 15), "{lines:?}");
}

#[test]
fn a_session_is_where_its_client_comes_back() {
    let (mut broker, port) = start();
    let session = ["-i", "away", "-c", "-t", "mail/#", "-C", "1"];
    let first = subscribe(&port, &session);
    let line = broker.wait_for("Subscribed");
    assert!(line.starts_with("broker 0:"), "{line}");
    first.kill();
    broker.wait_for("Closed");
    publish(&port, &["-r", "-t", "mail/1", "-m", "waits"]).succeed();
    let lines = subscribe(&port, &session).succeed();
    assert_eq!(lines, ["waits"]);
    let line = broker.wait_for("session_present: true");
    assert!(line.starts_with("broker 2:"), "{line}");
}
