//! The programs as a person runs them, without any other peer.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use support::{OurBroker, PATIENCE, Program, folder, free_port, publish, subscribe};

const VERSIONS: [&str; 2] = ["5", "311"];

#[test]
fn messages_go_through_at_every_qos_and_in_both_versions() {
    let broker = OurBroker::start();
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let topic = format!("house/light/{version}/{qos}");
            let mut subscriber = subscribe(&[
                "-p",
                &broker.port,
                "-V",
                version,
                "-t",
                "house/#",
                "-q",
                qos,
                "-v",
                "--flags",
                "-C",
                "1",
            ]);
            publish(&[
                "-p",
                &broker.port,
                "-V",
                version,
                "-t",
                &topic,
                "-m",
                "on",
                "-q",
                qos,
            ])
            .succeed();
            subscriber.wait_for(&format!("{topic} q{qos} r0 on"));
            subscriber.succeed();
        }
    }
}

#[test]
fn four_rooms_reach_both_wildcards() {
    let broker = OurBroker::start();
    let rooms = ["bedroom", "kitchen", "dining-room", "study-room"];
    let mut one = subscribe(&["-p", &broker.port, "-t", "home/+/temperature", "-C", "4"]);
    let mut all = subscribe(&["-p", &broker.port, "-t", "home/#", "-C", "4"]);
    for room in rooms {
        publish(&[
            "-p",
            &broker.port,
            "-t",
            &format!("home/{room}/temperature"),
            "-m",
            room,
            "-q",
            "1",
        ])
        .succeed();
    }
    for room in rooms {
        one.wait_for(room);
        all.wait_for(room);
    }
    one.succeed();
    all.succeed();
}

#[test]
fn an_invalid_filter_is_refused_before_a_byte_is_sent() {
    // Nobody listens there: the fault is found without asking anybody.
    let (code, lines) = Program::start(
        env!("CARGO_BIN_EXE_subscribe"),
        &["-p", &free_port(), "-t", "school/#/group-1/#"],
    )
    .finish();
    assert_eq!(code, Some(2));
    let text = lines.join("\n");
    assert!(
        text.contains("school/#/group-1/#") && text.contains("'#' must be the last level"),
        "{text}"
    );
    assert!(text.contains("at byte 8"), "{text}");
}

#[test]
fn wrong_options_are_answered_with_usage_and_exit_code_2() {
    for (program, arguments) in [
        (env!("CARGO_BIN_EXE_publish"), &["--no-such-option"][..]),
        (env!("CARGO_BIN_EXE_publish"), &["-t", "a"]),
        (env!("CARGO_BIN_EXE_publish"), &["-t", "a/+", "-m", "x"]),
        (
            env!("CARGO_BIN_EXE_publish"),
            &["-t", "a", "-m", "x", "-q", "3"],
        ),
        (env!("CARGO_BIN_EXE_subscribe"), &[]),
        (env!("CARGO_BIN_EXE_subscribe"), &["-t", "a", "-V", "6"]),
        (env!("CARGO_BIN_EXE_subscribe"), &["-t", "a", "-c"]),
        (env!("CARGO_BIN_EXE_subscribe"), &["-t", "a", "-C", "0"]),
        (env!("CARGO_BIN_EXE_subscribe"), &["-t", "a", "-W", "0"]),
        (env!("CARGO_BIN_EXE_broker"), &["--bind"]),
        (env!("CARGO_BIN_EXE_broker"), &["extra"]),
        (env!("CARGO_BIN_EXE_demo"), &["--protocol", "6"]),
    ] {
        let (code, lines) = Program::start(program, arguments).finish();
        let text = lines.join("\n");
        assert_eq!(code, Some(2), "{program} {arguments:?}: {text}");
        assert!(
            text.contains("Usage") || text.contains("--help"),
            "{program} {arguments:?}: {text}"
        );
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn what_cannot_work_is_one_clear_line_and_exit_code_1() {
    let broker = OurBroker::start();
    let nobody = free_port();
    for (name, program, arguments, expected) in [
        (
            "port taken",
            env!("CARGO_BIN_EXE_broker"),
            vec!["--bind", &broker.address()],
            "cannot listen on",
        ),
        (
            "nobody there",
            env!("CARGO_BIN_EXE_publish"),
            vec!["-p", &nobody, "-t", "a", "-m", "x"],
            "cannot connect to",
        ),
        (
            "nobody there",
            env!("CARGO_BIN_EXE_subscribe"),
            vec!["-p", &nobody, "-t", "a"],
            "cannot connect to",
        ),
        (
            "no such host",
            env!("CARGO_BIN_EXE_subscribe"),
            vec!["-h", "no-such-host.invalid", "-t", "a"],
            "cannot connect to",
        ),
        (
            "refused",
            env!("CARGO_BIN_EXE_publish"),
            vec!["-p", &broker.port, "-t", "$SYS/x", "-m", "x", "-q", "1"],
            "Not authorized (0x87)",
        ),
        (
            "no such file",
            env!("CARGO_BIN_EXE_publish"),
            vec!["-p", &broker.port, "-t", "a", "-f", "no-such-file"],
            "cannot read no-such-file",
        ),
    ] {
        let (code, lines) = Program::start(program, &arguments).finish();
        assert_eq!(code, Some(1), "{name}: {lines:?}");
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        assert!(lines[0].contains(expected), "{name}: {lines:?}");
    }
}

/// What came before a message that cannot go is published, and the client says goodbye: no will, and the reason.
#[test]
fn a_message_that_is_too_large_is_no_reason_to_lose_others() {
    let mut broker = OurBroker::with(&["--max-packet-size", "1000"]);
    let will = ["--will-topic", "will", "--will-payload", "x"];
    let mut subscriber = subscribe(&["-p", &broker.port, "-t", "#", "-v"]);
    for (version, expected) in [
        ("5", "larger than the 1000 bytes"),
        // Here nobody says so, and the broker hangs up.
        ("311", "publish: connection lost"),
    ] {
        let there = [
            "-p",
            &broker.port,
            "-V",
            version,
            "-t",
            "log",
            "-q",
            "1",
            "-l",
            "--no-reconnect",
        ];
        let mut publisher = publish(&[&there[..], &will].concat());
        publisher.type_line("first");
        publisher.type_line(&"x".repeat(1000));
        let (code, lines) = publisher.finish();
        assert_eq!(code, Some(1), "{version}: {lines:?}");
        assert_eq!(lines.len(), 1, "{version}: {lines:?}");
        assert!(lines[0].contains(expected), "{version}: {lines:?}");
        subscriber.wait_for("log first");
        if version == "5" {
            broker.program.wait_for("closed: the peer disconnected");
        }
    }
    // Only one of them has died.
    subscriber.wait_for("will x");
    let (_, lines) = subscriber.interrupt();
    let wills = lines.iter().filter(|line| line.starts_with("will"));
    assert_eq!(wills.count(), 1, "{lines:?}");
}

/// Who is asked to end says goodbye: there is no will.
#[test]
fn a_subscriber_that_is_asked_to_end_says_goodbye() {
    let mut broker = OurBroker::start();
    for signal in ["-INT", "-TERM"] {
        let subscriber = subscribe(&["-p", &broker.port, "-t", "a", "--will-topic", "will"]);
        let (code, lines) = subscriber.signal(signal);
        assert_eq!(code, Some(0), "{signal}: {lines:?}");
        let line = broker.program.wait_for("closed");
        assert!(line.contains("the peer disconnected"), "{signal}: {line}");
    }
}

/// The time that is given counts from the beginning, whoever is silent then.
#[test]
fn a_subscriber_waits_no_longer_than_it_may() {
    // The system takes clients in, and nobody answers them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let subscriber = Program::start(
        env!("CARGO_BIN_EXE_subscribe"),
        &["--url", &url, "-t", "a", "-W", "1"],
    );
    assert_eq!(subscriber.succeed(), [""; 0]);
}

/// Whoever forgot to say which version a server speaks is told so.
// [3:MQTT-3.1.2-2] [5:MQTT-3.1.2-2]
#[test]
fn a_server_of_the_other_version_is_one_clear_line() {
    let rows = [
        ("5", &[0x20, 0x02, 0x00, 0x01][..]),
        ("311", &[0x20, 0x03, 0x00, 0x84, 0x00]),
    ];
    for (version, refusal) in rows {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _length = stream.read(&mut [0; 1000]).unwrap();
            stream.write_all(refusal).unwrap();
        });
        let flags = ["-p", &port, "-V", version, "-t", "a", "-m", "b", "-q", "1"];
        let (code, lines) = Program::start(env!("CARGO_BIN_EXE_publish"), &flags).finish();
        server.join().unwrap();
        assert_eq!(code, Some(1), "{version}: {lines:?}");
        let expected = "publish: connection refused: Unsupported Protocol Version (0x84)";
        assert_eq!(lines, [expected], "{version}");
    }
}

/// Some brokers answer clients of 3.1.1 with acknowledgements of 5.0.
#[test]
fn a_server_that_says_too_much_is_understood_by_who_is_lenient() {
    for lenient in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _length = stream.read(&mut [0; 1000]).unwrap();
            stream.write_all(&[0x20, 0x02, 0x00, 0x00]).unwrap();
            // PUBLISH: its packet identifier is behind a topic of one letter.
            let mut message = [0; 8];
            stream.read_exact(&mut message).unwrap();
            stream
                .write_all(&[0x40, 0x03, message[5], message[6], 0x10])
                .unwrap();
            let _goodbye = stream.read(&mut [0; 1000]);
        });
        let flags = [
            "-p", &port, "-V", "311", "-t", "a", "-m", "b", "-q", "1", "-d",
        ];
        let flags = [&flags[..], if lenient { &["--lenient"] } else { &[] }].concat();
        let (code, lines) = Program::start(env!("CARGO_BIN_EXE_publish"), &flags).finish();
        server.join().unwrap();
        let (expected, last) = if lenient {
            (0, "let go: bytes behind the last field, packets: 1")
        } else {
            let last = "publish: PUBACK: bytes are left over behind the last field (end of the packet at byte 4); \
                 Malformed Packet (0x81)";
            (1, last)
        };
        assert_eq!(code, Some(expected), "{lines:?}");
        assert_eq!(lines.last().map(String::as_str), Some(last));
    }
}

/// A file that was cut short, or is something else, is one clear line.
#[test]
fn a_store_that_is_damaged_is_an_error() {
    let path = folder("damaged").join("store");
    let store = path.to_str().unwrap();
    drop(OurBroker::with(&["--store", store]));
    let whole = std::fs::read(&path).unwrap();
    let rows = [
        ("cut short", whole[..whole.len() / 2].to_vec()),
        ("a piece", whole[..1000].to_vec()),
        ("no database", b"something else".to_vec()),
    ];
    for (name, bytes) in rows {
        std::fs::write(&path, bytes).unwrap();
        let flags = ["--bind", "127.0.0.1:0", "--store", store];
        let (code, lines) = Program::start(env!("CARGO_BIN_EXE_broker"), &flags).finish();
        assert_eq!(code, Some(1), "{name}: {lines:?}");
        let [line] = &lines[..] else {
            panic!("{name}: {lines:?}")
        };
        assert!(line.starts_with("broker: "), "{name}: {line}");
        assert!(line.contains(store), "{name}: {line}");
    }
}

/// A disk that is full ends the broker, which says goodbye to all, also to who waits for an acknowledgement;
/// what it has acknowledged is there when there is room again.
#[test]
fn a_store_that_takes_no_more_loses_nothing() {
    let store = folder("full").join("store");
    let store = store.to_str().unwrap();
    let broker = env!("CARGO_BIN_EXE_broker");
    // Some 6 MB, or 12, as shells count. The signal is ignored, so that there is an error.
    let limits = "trap '' XFSZ; ulimit -f 12000";
    let command = format!("{limits}; exec {broker} --bind 127.0.0.1:0 --store {store}");
    let mut program = Program::start("sh", &["-c", &command]);
    let line = program.wait_for("listening on");
    let port = line.rsplit(':').next().unwrap();
    let session = ["-p", port, "-i", "away", "-c", "-t", "t", "-q", "1"];
    subscribe(&[&session[..], &["-E"]].concat()).succeed();

    let mut idle = subscribe(&["-p", port, "-t", "other"]);
    let mut publisher = publish(&[
        "-p",
        port,
        "-t",
        "t",
        "-q",
        "1",
        "-d",
        "-l",
        "--no-reconnect",
    ]);
    let rest = "x".repeat(500_000);
    let mut number = 0;
    while publisher.try_type_line(&format!("{number:03}{rest}")) {
        number += 1;
    }
    let (code, lines) = publisher.finish();
    assert_eq!(code, Some(1));
    let goodbye = "Server shutting down (0x8B)";
    assert!(lines.iter().any(|line| line.contains(goodbye)), "{lines:?}");
    idle.wait_for(goodbye);
    let acknowledged = lines.iter().filter(|line| line.starts_with("published"));
    let acknowledged = acknowledged.count();
    assert!(acknowledged > 0);
    let (code, lines) = program.finish();
    assert_eq!(code, Some(1));
    let last = lines.last().unwrap();
    assert!(last.contains("the store has failed"), "{last}");

    let broker = OurBroker::with(&["--store", store]);
    let count = acknowledged.to_string();
    let session = ["-p", &broker.port, "-i", "away", "-c", "-t", "t", "-q", "1"];
    let subscriber = env!("CARGO_BIN_EXE_subscribe");
    let lines = Program::start(subscriber, &[&session[..], &["-C", &count]].concat()).succeed();
    let numbers = lines.iter().map(|line| line[..3].parse::<usize>().unwrap());
    assert_eq!(
        numbers.collect::<Vec<_>>(),
        (0..acknowledged).collect::<Vec<_>>()
    );
}

/// Who cannot be taken in now is no reason to leave all others alone.
#[test]
fn the_smallest_server_runs_out_of_files_and_goes_on() {
    let server = env!("CARGO_BIN_EXE_hello_server");
    let command = format!("ulimit -n 16; exec {server} 127.0.0.1:0");
    let mut program = Program::start("sh", &["-c", &command]);
    let line = program.wait_for("listening on");
    let address = line.rsplit(' ').next().unwrap();
    let crowd: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    program.wait_for("Too many open files");
    drop(crowd);
    let said = Program::start(env!("CARGO_BIN_EXE_hello_blocking"), &[address]).succeed();
    assert!(
        said.iter().any(|line| line == "hello/world: 5 bytes"),
        "{said:?}"
    );
}

/// Who asks for QoS 0 is granted that, and gets nothing above it.
#[test]
fn the_smallest_server_grants_what_is_asked_for() {
    let mut mirror = Program::start(env!("CARGO_BIN_EXE_hello_server"), &["127.0.0.1:0"]);
    let line = mirror.wait_for("listening on");
    let mut socket = TcpStream::connect(line.rsplit(' ').next().unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // CONNECT, SUBSCRIBE to `t` at QoS 0, PUBLISH at QoS 1.
    socket
        .write_all(
            b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a\x82\x06\0\x01\0\x01t\0\x32\x06\0\x01t\0\x02x",
        )
        .unwrap();
    let mut answers = [0; 19];
    socket.read_exact(&mut answers).unwrap();
    let has = |packet: &[u8]| answers.windows(packet.len()).any(|it| it == packet);
    assert!(has(b"\x90\x03\0\x01\0"), "SUBACK: {answers:x?}");
    assert!(has(b"\x30\x04\0\x01tx"), "PUBLISH: {answers:x?}");
}

/// A session is kept whatever its client does last: ask and say goodbye in one breath, or take no answer of that
/// size.
#[test]
fn the_smallest_server_keeps_sessions_of_those_who_leave_in_a_hurry() {
    // CONNECT of 5.0 that goes on with its session and wants it kept for a minute.
    const CONNECT: &[u8] = b"\x10\x13\0\x04MQTT\x05\0\0\x3C\x05\x11\0\0\0\x3C\0\x01a";
    const CONNECT_SMALL: &[u8] =
        b"\x10\x18\0\x04MQTT\x05\0\0\x3C\x0A\x11\0\0\0\x3C\x27\0\0\0\x05\0\x01a";
    const SUBSCRIBE: &[u8] = b"\x82\x07\0\x01\0\0\x01t\x01";
    const UNSUBSCRIBE: &[u8] = b"\xA2\x06\0\x01\0\0\x01t";
    const DISCONNECT: &[u8] = b"\xE0\0";
    let mut mirror = Program::start(env!("CARGO_BIN_EXE_hello_server"), &["127.0.0.1:0"]);
    let line = mirror.wait_for("listening on");
    let address = line.rsplit(' ').next().unwrap();
    // Whether a client that says this finds a session; it has read all until the end.
    let visit = |packets: &[&[u8]]| {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&packets.concat()).unwrap();
        let mut answers = Vec::new();
        socket.read_to_end(&mut answers).unwrap();
        answers.get(2).copied()
    };
    assert_eq!(visit(&[CONNECT, DISCONNECT]), Some(0), "a new session");
    for (row, packets) in [
        ("SUBSCRIBE", &[CONNECT, SUBSCRIBE, DISCONNECT][..]),
        ("UNSUBSCRIBE", &[CONNECT, UNSUBSCRIBE, DISCONNECT]),
    ] {
        assert_eq!(visit(packets), Some(1), "{row}");
        assert_eq!(visit(&[CONNECT, DISCONNECT]), Some(1), "after {row}");
    }
    assert_eq!(visit(&[CONNECT_SMALL]), None, "CONNACK does not fit");
    assert_eq!(visit(&[CONNECT, DISCONNECT]), Some(1), "after that");
}

#[test]
fn help_is_printed_for_every_program() {
    for program in [
        env!("CARGO_BIN_EXE_broker"),
        env!("CARGO_BIN_EXE_publish"),
        env!("CARGO_BIN_EXE_subscribe"),
        env!("CARGO_BIN_EXE_demo"),
    ] {
        let lines = Program::start(program, &["--help"]).succeed();
        assert!(
            lines.iter().any(|line| line.starts_with("Usage:")),
            "{lines:?}"
        );
    }
}

#[test]
fn lines_of_standard_input_become_messages_in_order() {
    let broker = OurBroker::start();
    for (version, qos) in [("5", "2"), ("311", "1")] {
        let mut subscriber = subscribe(&[
            "-p",
            &broker.port,
            "-V",
            version,
            "-t",
            "log",
            "-q",
            qos,
            "-C",
            "200",
        ]);
        let mut publisher = publish(&[
            "-p",
            &broker.port,
            "-V",
            version,
            "-t",
            "log",
            "-q",
            qos,
            "-l",
        ]);
        for number in 0..200 {
            publisher.type_line(&format!("line {number}"));
        }
        publisher.succeed();
        for number in 0..200 {
            subscriber.wait_for(&format!("line {number}"));
        }
        subscriber.succeed();
    }
}

#[test]
fn a_session_gets_what_it_missed_once_and_in_order() {
    let broker = OurBroker::start();
    for version in VERSIONS {
        for qos in ["1", "2"] {
            let id = format!("away-{version}-{qos}");
            let topic = format!("news/{version}/{qos}");
            let session = [
                "-p",
                &broker.port,
                "-V",
                version,
                "-i",
                &id,
                "-c",
                "-t",
                &topic,
                "-q",
                qos,
            ];
            subscribe(&[&session[..], &["-E"]].concat()).succeed();
            for number in 0..20 {
                let text = format!("missed {number}");
                publish(&[
                    "-p",
                    &broker.port,
                    "-V",
                    version,
                    "-t",
                    &topic,
                    "-m",
                    &text,
                    "-q",
                    qos,
                ])
                .succeed();
            }
            // What was missed comes before the answer to the new SUBSCRIBE, so that is not waited for.
            let program = env!("CARGO_BIN_EXE_subscribe");
            let lines =
                Program::start(program, &[&session[..], &["-d", "-C", "20"]].concat()).succeed();
            let got: Vec<_> = lines
                .iter()
                .filter(|line| line.starts_with("missed"))
                .cloned()
                .collect();
            let expected: Vec<_> = (0..20).map(|number| format!("missed {number}")).collect();
            assert_eq!(got, expected, "MQTT {version} at QoS {qos}");
            assert!(
                lines
                    .iter()
                    .any(|line| line.contains("session present: true")),
                "{lines:?}"
            );
            // Nothing comes a second time.
            let again = subscribe(&[&session[..], &["-E"]].concat()).succeed();
            assert!(
                !again.iter().any(|line| line.starts_with("missed")),
                "{again:?}"
            );
        }
    }
}

#[test]
fn the_will_of_a_killed_publisher_arrives() {
    let broker = OurBroker::start();
    for version in VERSIONS {
        let mut subscriber = subscribe(&["-p", &broker.port, "-t", "status", "-C", "1"]);
        let mut publisher = publish(&[
            "-p",
            &broker.port,
            "-V",
            version,
            "-t",
            "a",
            "-l",
            "-d",
            "--will-topic",
            "status",
            "--will-payload",
            "gone",
        ]);
        publisher.wait_for("connected");
        publisher.kill();
        subscriber.wait_for("gone");
        subscriber.succeed();
    }
}

#[test]
fn a_retained_message_greets_a_late_subscriber_until_it_is_cleared() {
    let broker = OurBroker::start();
    for version in VERSIONS {
        let base = ["-p", &broker.port, "-V", version];
        publish(&[&base[..], &["-t", "door", "-m", "open", "-r", "-q", "1"]].concat()).succeed();
        let lines = subscribe(
            &[
                &base[..],
                &["-t", "door", "-v", "--flags", "-q", "1", "-C", "1"],
            ]
            .concat(),
        )
        .succeed();
        assert!(lines.contains(&"door q1 r1 open".to_owned()), "{lines:?}");
        publish(&[&base[..], &["-t", "door", "-n", "-r", "-q", "1"]].concat()).succeed();
        let lines = subscribe(&[&base[..], &["-t", "door", "-t", "other", "-C", "1"]].concat());
        publish(&[&base[..], &["-t", "other", "-m", "only this"]].concat()).succeed();
        let lines = lines.succeed();
        assert!(
            lines.contains(&"only this".to_owned()) && !lines.contains(&"open".to_owned()),
            "{lines:?}"
        );
    }
}

#[test]
fn an_interrupted_broker_says_goodbye_and_ends_well() {
    for signal in ["-INT", "-TERM"] {
        let broker = OurBroker::start();
        let mut subscriber = subscribe(&["-p", &broker.port, "-t", "#", "--no-reconnect"]);
        let (code, lines) = broker.program.signal(signal);
        assert_eq!(code, Some(0), "{signal}");
        assert!(
            lines.iter().any(|line| line.contains("shutting down")),
            "{signal}: {lines:?}"
        );
        subscriber.wait_for("Server shutting down (0x8B)");
        assert_eq!(subscriber.finish().0, Some(1), "{signal}");
    }
}

/// More than it says goodbye to in one go.
#[test]
fn an_interrupted_broker_says_goodbye_to_all() {
    let broker = OurBroker::start();
    let address = broker.address();
    let mut clients: Vec<_> = (0..300)
        .map(|number| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let connect = format!("\x10\x11\0\x04MQTT\x05\x02\0\0\0\0\x04c{number:03}");
            stream.write_all(connect.as_bytes()).unwrap();
            let mut head = [0; 2];
            stream.read_exact(&mut head).unwrap();
            assert_eq!(head[0], 0x20);
            stream
                .read_exact(&mut vec![0; usize::from(head[1])])
                .unwrap();
            stream
        })
        .collect();
    assert_eq!(broker.program.interrupt().0, Some(0));
    for stream in &mut clients {
        let mut goodbye = Vec::new();
        stream.read_to_end(&mut goodbye).unwrap();
        assert_eq!(
            goodbye.get(..3),
            Some(&b"\xe0\x01\x8b"[..]),
            "{goodbye:02x?}"
        );
    }
}

#[test]
fn the_demo_tells_the_whole_story() {
    for version in VERSIONS {
        let lines = Program::start(env!("CARGO_BIN_EXE_demo"), &["--protocol", version]).succeed();
        let mut story = lines.iter();
        for step in [
            "CONNECT ",
            "CONNACK",
            "SUBSCRIBE",
            "SUBACK",
            "PUBLISH",
            "PUBREC",
            "PUBREL",
            "PUBCOMP",
            "oven",
            "PINGREQ",
            "PINGRESP",
            "the connection is gone",
            "\"gone\"",
            "DISCONNECT",
        ] {
            assert!(
                story.any(|line| line.contains(step)),
                "MQTT {version}: no {step} in its place in {lines:#?}"
            );
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    use std::process::{Command, Stdio};

    let broker = OurBroker::start();
    let retained = ["-p", &broker.port, "-t", "house/light", "-m", "on", "-r"];
    publish(&retained).succeed();
    let rows: [(&str, &[&str]); 3] = [
        (env!("CARGO_BIN_EXE_demo"), &[]),
        (env!("CARGO_BIN_EXE_demo"), &["--bytes"]),
        (
            env!("CARGO_BIN_EXE_subscribe"),
            &["-p", &broker.port, "-t", "house/#", "-v"],
        ),
    ];
    for (program, arguments) in rows {
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), &*errors),
            (Some(0), ""),
            "{program} {arguments:?}"
        );
    }
}

/// What a newcomer writes first, in under 60 lines on sockets of the standard library and in under
/// 80 on tokio; the smallest server, in under 150, and a broker on all cores, in under 250.
#[test]
fn the_smallest_clients_say_hello() {
    let broker = OurBroker::start();
    let mut mirror = Program::start(env!("CARGO_BIN_EXE_hello_server"), &["127.0.0.1:0"]);
    let line = mirror.wait_for("listening on");
    let mirror_address = line.rsplit(' ').next().unwrap();
    for program in [
        env!("CARGO_BIN_EXE_hello_blocking"),
        env!("CARGO_BIN_EXE_hello_tokio"),
    ] {
        for address in [&broker.address(), mirror_address] {
            let said = Program::start(program, &[address]).succeed();
            assert!(
                said.iter().any(|line| line == "hello/world: 5 bytes"),
                "{program}: {said:?}"
            );
        }
    }
    mirror.wait_for("the peer disconnected");
    for (source, lines_max) in [
        (include_str!("../src/bin/hello_blocking.rs"), 60),
        (include_str!("../src/bin/hello_tokio.rs"), 80),
        (include_str!("../src/bin/hello_server.rs"), 150),
        (include_str!("../src/bin/hello_joined.rs"), 250),
    ] {
        let is_code = |line: &&str| !line.is_empty() && !line.trim_start().starts_with("//");
        let lines = source.lines().filter(is_code).count();
        assert!(lines < lines_max, "{lines} lines of code");
    }
}
