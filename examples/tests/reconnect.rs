//! `subscribe` and `publish -l` come back when their broker does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use support::{OurBroker, PATIENCE, Program, folder, free_port, publish, subscribe};

const VERSIONS: [&str; 2] = ["5", "311"];

/// A broker that is killed and started again in the same place.
struct Mortal {
    port: String,
    store: String,
}

impl Mortal {
    fn new(name: &str) -> Self {
        let store = folder(name).join("store.redb");
        Self {
            port: free_port(),
            store: store.to_str().unwrap().to_owned(),
        }
    }

    fn start(&self, options: &[&str]) -> OurBroker {
        let bind = format!("127.0.0.1:{}", self.port);
        let base = ["--bind", &bind, "--store", &self.store];
        OurBroker::quiet(&[&base, options].concat())
    }
}

fn publish_one(port: &str, payload: &str) {
    publish(&["-p", port, "-q", "1", "-t", "a", "-m", payload]).succeed();
}

fn count(lines: &[String], start: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(start)).count()
}

#[test]
fn a_session_goes_on_when_the_broker_is_back() {
    for version in VERSIONS {
        let mortal = Mortal::new(&format!("reconnect-session-{version}"));
        let there = ["-p", &mortal.port, "-V", version, "-t", "a", "-q", "1"];
        let broker = mortal.start(&[]);
        let mut subscriber = subscribe(&[&there[..], &["-i", "s", "-c"]].concat());
        publish_one(&mortal.port, "one");
        subscriber.wait_for("one");
        broker.program.kill();
        subscriber.wait_for("connecting again");
        let _broker = mortal.start(&[]);
        publish_one(&mortal.port, "meanwhile");
        subscriber.wait_for("connected, session present: true");
        subscriber.wait_for("subscribe: connected again");
        publish_one(&mortal.port, "later");
        subscriber.wait_for("later");
        let (code, lines) = subscriber.interrupt();
        assert_eq!(code, Some(0), "{version}: {lines:?}");
        let counts = ["subscribed: ", "meanwhile"].map(|start| count(&lines, start));
        assert_eq!(counts, [1, 1], "{version}: {lines:?}");
    }
}

/// Nothing of it is kept, with a store or without.
#[test]
fn a_session_that_is_lost_is_subscribed_anew() {
    for version in VERSIONS {
        let mortal = Mortal::new(&format!("reconnect-anew-{version}"));
        let there = ["-p", &mortal.port, "-V", version, "-t", "a", "-C", "2"];
        let broker = mortal.start(&[]);
        let mut subscriber = subscribe(&there);
        publish_one(&mortal.port, "one");
        subscriber.wait_for("one");
        broker.program.kill();
        subscriber.wait_for("connecting again");
        let _broker = mortal.start(&[]);
        subscriber.wait_for("connected, session present: false");
        subscriber.wait_for("subscribed: ");
        publish_one(&mortal.port, "two");
        subscriber.wait_for("two");
        // What came before counts too.
        subscriber.succeed();
    }
}

#[test]
fn who_is_told_not_to_connect_again_ends() {
    for version in VERSIONS {
        let broker = OurBroker::start();
        let there = [
            "-p",
            &broker.port,
            "-V",
            version,
            "-t",
            "a",
            "--no-reconnect",
        ];
        let mut subscriber = subscribe(&there);
        let mut publisher = publish(&[&there[..], &["-q", "1", "-l", "-d"]].concat());
        publisher.type_line("x");
        publisher.wait_for("published: ");
        broker.program.kill();
        subscriber.wait_for("subscribe: connection lost");
        publisher.wait_for("publish: connection lost");
        for program in [subscriber, publisher] {
            let (code, lines) = program.finish();
            assert_eq!(code, Some(1), "{version}: {lines:?}");
            assert!(!lines.concat().contains("again"), "{version}: {lines:?}");
        }
    }
}

/// It would only come to the same again.
#[test]
fn who_is_not_wanted_any_more_ends() {
    let mortal = Mortal::new("reconnect-refused");
    let broker = mortal.start(&[]);
    let there = ["-p", &mortal.port, "-t", "a", "-i", "s"];
    let mut first = subscribe(&there);
    let mut second = subscribe(&there);
    first.wait_for("subscribe: the peer disconnected: Session taken over (0x8E)");
    assert_eq!(first.finish().0, Some(1));
    broker.program.kill();
    second.wait_for("connecting again");
    let _broker = mortal.start(&["--allow-anonymous", "false"]);
    second.wait_for("subscribe: connection refused: Not authorized (0x87)");
    assert_eq!(second.finish().0, Some(1));
}

#[test]
fn who_waits_for_the_broker_can_be_asked_to_end() {
    let broker = OurBroker::start();
    let mut subscriber = subscribe(&["-p", &broker.port, "-t", "a"]);
    broker.program.kill();
    subscriber.wait_for("connecting again");
    let (code, lines) = subscriber.interrupt();
    assert_eq!(code, Some(0), "{lines:?}");
}

#[test]
fn lines_wait_for_the_broker() {
    for version in VERSIONS {
        let mortal = Mortal::new(&format!("reconnect-lines-{version}"));
        let there = ["-p", &mortal.port, "-V", version, "-t", "a", "-q", "2"];
        let broker = mortal.start(&[]);
        let kept = ["-i", "s", "-c", "-C", "20"];
        let mut subscriber = subscribe(&[&there[..], &kept].concat());
        let mut publisher = publish(&[&there[..], &["-l", "-d"]].concat());
        for number in 0..10 {
            publisher.type_line(&format!("line {number}"));
            publisher.wait_for("published: ");
        }
        subscriber.wait_for("line 9");
        broker.program.kill();
        publisher.wait_for("connecting again");
        for number in 10..20 {
            publisher.type_line(&format!("line {number}"));
        }
        let _broker = mortal.start(&[]);
        publisher.wait_for("publish: connected again");
        publisher.succeed();
        let lines = subscriber.succeed();
        let got: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with("line "))
            .collect();
        let expected: Vec<_> = (0..20).map(|number| format!("line {number}")).collect();
        assert_eq!(got, expected.iter().collect::<Vec<_>>(), "{version}");
    }
}

/// A server that takes a connection in, and answers CONNECT.
fn accept(listener: &TcpListener, connack: &[u8]) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(packet(&mut stream)[0], 0x10);
    stream.write_all(connack).unwrap();
    stream
}

/// The next packet, which is a short one.
fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet).unwrap();
    packet.resize(2 + usize::from(packet[1]), 0);
    stream.read_exact(&mut packet[2..]).unwrap();
    packet
}

/// What the broker has not acknowledged goes out again, also where it knows nothing of the session any more.
#[test]
fn what_was_not_acknowledged_goes_out_again() {
    for (version, connack, publish_end, puback) in [
        ("5", &b"\x20\x03\0\0\0"[..], &b"\0x"[..], &b"\x40\x02"[..]),
        ("311", b"\x20\x02\0\0", b"x", b"\x40\x02"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let server = thread::spawn(move || {
            let mut first = accept(&listener, connack);
            let lost = packet(&mut first);
            assert_eq!(lost[0], 0x32);
            drop(first);
            let mut second = accept(&listener, connack);
            let again = packet(&mut second);
            // A new message to a new session.
            assert_eq!(
                (again[0], &again[2..5]),
                (0x32, &b"\0\x01a"[..]),
                "{again:02x?}"
            );
            assert!(again[7..].ends_with(publish_end), "{again:02x?}");
            second.write_all(&[puback, &again[5..7]].concat()).unwrap();
            assert_eq!(packet(&mut second)[0], 0xe0);
        });
        let flags = ["-p", &port, "-V", version, "-q", "1", "-l", "-t", "a"];
        let mut publisher = publish(&flags);
        publisher.type_line("x");
        publisher.succeed();
        server.join().unwrap();
    }
}

/// Nobody waits for ever for a broker that was never there, or with a single message.
#[test]
fn the_first_connection_has_to_come_about() {
    let nobody = free_port();
    for (program, rest) in [
        (env!("CARGO_BIN_EXE_subscribe"), &[][..]),
        (env!("CARGO_BIN_EXE_publish"), &["-l"]),
    ] {
        let arguments = [&["-p", &nobody, "-t", "a"], rest].concat();
        let mut program = Program::start(program, &arguments);
        program.wait_for("cannot connect to");
        assert_eq!(program.finish().0, Some(1));
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = thread::spawn(move || {
        let mut stream = accept(&listener, b"\x20\x03\0\0\0");
        packet(&mut stream);
    });
    let mut publisher = publish(&["-p", &port, "-q", "1", "-t", "a", "-m", "x"]);
    publisher.wait_for("publish: connection lost");
    assert_eq!(publisher.finish().0, Some(1));
    server.join().unwrap();
}
