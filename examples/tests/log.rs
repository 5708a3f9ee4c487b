//! Nobody reads the log of the broker: it serves its clients all the same, and says later what is missing.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{BufRead as _, BufReader, Lines, PipeReader};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;

use support::{PATIENCE, Program, peak_kib, publish};

/// So long is the line of each message.
const TOPIC_LEN: usize = 50_000;
/// More than any pipe and any queue in front of it takes.
const MESSAGES: usize = 500;

/// A broker that says all that happens, and all that it says, which is read when the test wants that.
struct Unread {
    child: Child,
    port: String,
    lines: Lines<BufReader<PipeReader>>,
}

impl Unread {
    fn start() -> Self {
        // Both through one pipe, as with `2>&1 |`: when it is full nothing can be said at all.
        let (reader, writer) = std::io::pipe().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_broker"))
            .args(["--bind", "127.0.0.1:0", "--verbose"])
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(reader).lines();
        let line = lines.next().unwrap().unwrap();
        let (_, port) = line.rsplit_once(':').unwrap();
        let port = port.to_owned();
        // And how to try it.
        for _ in 0..2 {
            lines.next().unwrap().unwrap();
        }
        Self { child, port, lines }
    }

    /// A client that publishes line after line.
    fn publisher(&self) -> Program {
        let topic = "x".repeat(TOPIC_LEN);
        publish(&["-p", &self.port, "-q", "1", "-l", "-d", "-t", &topic])
    }

    /// Asks it to end; answers how it did.
    fn end(mut self) -> (Option<i32>, Lines<BufReader<PipeReader>>) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(self.child.wait().unwrap().code()));
        match end.recv_timeout(PATIENCE) {
            Ok(code) => (code, self.lines),
            Err(_) => panic!("{id} never ends"),
        }
    }
}

/// Publishes so many messages, and waits until each is acknowledged.
fn publish_all(publisher: &mut Program, len: usize) {
    for _ in 0..len {
        publisher.type_line("x");
        publisher.wait_for("published: ");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let mut broker = Unread::start();
    let mut publisher = broker.publisher();
    publish_all(&mut publisher, 1);
    let before = peak_kib(broker.child.id());
    publish_all(&mut publisher, MESSAGES - 1);
    let mib = (peak_kib(broker.child.id()) - before) / 1024;
    assert!(mib < 12, "{mib} MiB for what is not read");

    let mut told = 0;
    let missing = loop {
        let line = broker.lines.next().unwrap().unwrap();
        if line.contains(": publish x") {
            told += 1;
        } else if let Some((number, _)) = line.split_once(" lines are missing here") {
            break number.parse::<usize>().unwrap();
        } else {
            assert!(line.contains(": connected from "), "{line}");
        }
    };
    assert_eq!(told + missing, MESSAGES);
    publish_all(&mut publisher, 1);
    let line = broker.lines.next().unwrap().unwrap();
    assert!(line.contains(": publish x"), "{line}");
}

#[test]
fn a_broker_whose_log_nobody_reads_ends_when_it_is_told_to() {
    let broker = Unread::start();
    let mut publisher = broker.publisher();
    publish_all(&mut publisher, 10);
    let (code, _unread) = broker.end();
    assert_eq!(code, Some(0));
}

/// What it says last is not lost where somebody reads, and soon.
#[test]
fn last_words_are_read() {
    let broker = Unread::start();
    let (code, lines) = broker.end();
    assert_eq!(code, Some(0));
    let lines: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(lines, ["shutting down"]);
}
