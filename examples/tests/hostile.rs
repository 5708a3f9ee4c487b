//! What hostile clients cost the broker, over real sockets: nobody else notices. What they are told is in
//! `malformed.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use mqtt_examples::access::Access;
use mqtt_examples::broker::Server;
use mqtt_examples::broker::listen::{Listener, Transport};
use mqtt_state::broker::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use support::{OurBroker, PATIENCE, Program, publish, resident_kib, subscribe};

const CONNECT_V5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01h";

/// Sends bytes and reads until the broker closes.
fn answer(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(bytes)
        .expect("what comes after a fault is read too");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closed, not reset");
    answer
}

/// The packet behind the CONNACK.
fn after_connack(answer: &[u8]) -> &[u8] {
    assert_eq!(answer.first(), Some(&0x20), "CONNACK first: {answer:02x?}");
    &answer[2 + usize::from(answer[1])..]
}

#[test]
fn a_refused_filter_is_named_in_the_log() {
    let mut broker = OurBroker::start();
    let filter = b"school/#/group-1/#";
    let subscribe = [&[0x82, 0x18, 0, 10, 0, 0, 18][..], filter, &[0]].concat();
    let all = answer(&broker.address(), &[CONNECT_V5, &subscribe].concat());
    assert_eq!(after_connack(&all), [0xE0, 1, 0x82]);
    let line = broker.program.wait_for("school/#/group-1/#");
    assert!(
        line.contains("Protocol Error (0x82)") && line.contains("'#' must be the last level"),
        "{line}"
    );
}

/// A socket that is closed while something waits in it to be read takes back what the other side has not read:
/// nobody would know why.
#[test]
fn why_the_broker_closed_is_heard_by_those_who_go_on_sending() {
    let broker = OurBroker::start();
    for attempt in 0..20 {
        let mut stream = TcpStream::connect(broker.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(&[CONNECT_V5, CONNECT_V5].concat())
            .unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("closed, not reset");
        assert_eq!(after_connack(&all), [0xE0, 1, 0x82], "attempt {attempt}");
        // More than sockets hold: somebody reads it.
        let more = stream.write_all(&vec![0; 16 << 20]);
        more.expect("a client in the middle of a packet is not reset");
    }
}

/// A client that hangs up while the broker still writes has acknowledged something all the same.
#[test]
fn acknowledgements_before_a_hang_up_count() {
    const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01h";
    let mut broker = OurBroker::start();
    let address = broker.address();
    let open = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(CONNECT).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        assert_eq!(connack[3], 0);
        stream
    };
    let mut stream = open();
    stream
        .write_all(b"\x82\x06\x00\x0a\x00\x01t\x01\xe0\x00")
        .unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    broker.program.wait_for(" h: closed");
    let mut publisher = publish(&["-p", &broker.port, "-t", "t", "-q", "1", "-l"]);
    let rest = "x".repeat(500_000);
    for number in 0..30 {
        publisher.type_line(&format!("{number:02}{rest}"));
    }
    publisher.succeed();
    // What is left is always more than sockets hold, so that there is something to write.
    for number in 0..10 {
        let mut stream = open();
        let mut message = vec![0; 9 + 2 + rest.len()];
        stream.read_exact(&mut message).unwrap();
        assert_eq!(message[9..11], *format!("{number:02}").as_bytes());
        let puback = [0x40, 2, message[7], message[8]];
        stream.write_all(&puback).unwrap();
        drop(stream);
        // Else the next one would take over from this one, and two connections have no order.
        broker.program.wait_for(" h: closed");
    }
}

#[test]
fn connections_cut_in_mid_packet_leave_nothing_behind() {
    let broker = OurBroker::start();
    let address = broker.address();
    let cut = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    };
    let publish_start = [
        CONNECT_V5,
        &[0x32, 0xFF, 0x3F, 0, 1, b'a', 0, 7, 0],
        &[0; 4000],
    ]
    .concat();
    let hold: Vec<_> = (0..50)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    cut(&publish_start);
    let before = resident_kib(broker.program.id());
    for _ in 0..500 {
        cut(&publish_start);
        cut(&CONNECT_V5[..7]);
        cut(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
    }
    // Somebody behind them is served, so they all have been looked at.
    let mut witness = subscribe(&["-p", &broker.port, "-t", "witness", "-C", "1"]);
    publish(&["-p", &broker.port, "-t", "witness", "-m", "still here"]).succeed();
    witness.wait_for("still here");
    let after = resident_kib(broker.program.id());
    assert!(
        after < before + 16 * 1024,
        "memory went from {before} to {after} KiB"
    );
    drop(hold);
}

/// A system gives a program so many files, which may be fewer than the connections it may have: further ones
/// are closed all the same, instead of being left to wait.
#[test]
fn more_connections_than_there_are_files() {
    let broker = env!("CARGO_BIN_EXE_broker");
    let command = format!("ulimit -n 40; exec {broker} --bind 127.0.0.1:0");
    let mut program = Program::start("sh", &["-c", &command]);
    let line = program.wait_for("listening on");
    let address = line.rsplit(' ').next().unwrap();
    let connect = |name| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let connect = [&CONNECT_V5[..CONNECT_V5.len() - 1], &[name]].concat();
        let _closed_already = stream.write_all(&connect);
        let mut first = [0];
        let is_served = match stream.read(&mut first) {
            Ok(len) => len == 1,
            Err(error) => {
                let is_closed = error.kind() == ErrorKind::ConnectionReset;
                assert!(is_closed, "neither served nor closed: {error}");
                false
            }
        };
        (stream, is_served)
    };
    let clients: Vec<_> = (b'0'..b'0' + 50).map(connect).collect();
    let served = clients.iter().filter(|(_, is_served)| *is_served).count();
    assert!((1..40).contains(&served), "{served}");
    program.wait_for("Too many open files");
    drop(clients);
    while !connect(b'z').1 {}
}

#[test]
fn a_subscriber_that_never_reads_holds_up_nobody() {
    let broker = OurBroker::start();
    let mut deaf = TcpStream::connect(broker.address()).unwrap();
    deaf.write_all(&[CONNECT_V5, b"\x82\x07\x00\x0a\x00\x00\x01#\x00"].concat())
        .unwrap();
    // Ten megabytes: more than the sockets take, less than the broker keeps for one session.
    let witness = subscribe(&["-p", &broker.port, "-t", "load", "-C", "100", "-q", "1"]);
    let mut publisher = publish(&["-p", &broker.port, "-t", "load", "-q", "1", "-l"]);
    let line = "x".repeat(100_000);
    for _ in 0..100 {
        publisher.type_line(&line);
    }
    publisher.succeed();
    let lines = witness.succeed();
    assert_eq!(lines.iter().filter(|found| **found == line).count(), 100);
    drop(deaf);
}

/// A look at all retained topics is in many pieces, and others are served between two of them: here on a
/// thread that all have together.
#[tokio::test]
async fn whoever_asks_for_all_retained_topics_holds_up_nobody() {
    let config = Config {
        work_per_call: 16,
        ..Config::default()
    };
    let server = Server::new(config, Access::default(), false, None, None).unwrap();
    let listener = Listener::bind(0, "127.0.0.1:0", Transport::Tcp).await;
    let listener = listener.unwrap();
    let address = listener.address().unwrap();
    tokio::spawn(async move { server.serve(listener).await });
    let open = async |name: u8| {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let connect = [b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01", &[name][..]];
        client.write_all(&connect.concat()).await.unwrap();
        client.read_exact(&mut [0; 4]).await.unwrap();
        client
    };
    let mut other = open(b'o').await;
    // 2,000 that are looked at in vain, and one that is found behind them.
    let topics: Vec<u8> = (0..2_000)
        .flat_map(|number| {
            [
                &b"\x31\x09\x00\x06a/"[..],
                format!("{number:04}").as_bytes(),
                b"-",
            ]
            .concat()
        })
        .collect();
    other.write_all(&topics).await.unwrap();
    other
        .write_all(b"\x31\x08\x00\x05z/z/b-\xc0\x00")
        .await
        .unwrap();
    other.read_exact(&mut [0; 2]).await.unwrap();

    let mut greedy = open(b'g').await;
    greedy
        .write_all(b"\x82\x0e\x00\x01\x00\x01w\x00\x00\x05+/+/b\x00")
        .await
        .unwrap();
    let mut heard = vec![0; 6];
    greedy.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, b"\x90\x04\x00\x01\x00\x00");
    other.write_all(b"\x30\x04\x00\x01w!").await.unwrap();
    let mut heard = vec![0; 6 + 10];
    greedy.read_exact(&mut heard).await.unwrap();
    let (live, retained) = (b"\x30\x04\x00\x01w!", b"\x31\x08\x00\x05z/z/b-");
    assert_eq!(heard, [&live[..], retained].concat());
}

/// One call of the machine does no more than so much, and the rest of what was read has to be offered again
/// even though nothing comes behind it.
#[test]
fn more_than_one_call_may_do_is_done_by_the_next_ones() {
    let broker = OurBroker::start();
    let mut clients: Vec<_> = (0..64)
        .map(|number: u16| {
            let mut client = TcpStream::connect(broker.address()).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let id = format!("{number:03}");
            let connect = [
                b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03",
                id.as_bytes(),
            ];
            let subscribe = b"\x82\x06\x00\x0a\x00\x01t\x00";
            client
                .write_all(&[&connect.concat()[..], subscribe].concat())
                .unwrap();
            let mut answers = [0; 9];
            client.read_exact(&mut answers).unwrap();
            assert_eq!(answers, *b"\x20\x02\0\0\x90\x03\0\x0a\0", "client {id}");
            client
        })
        .collect();
    // Each goes to 64 clients: with the 64th the 4,096 steps of one call are at their end.
    let messages = b"\x30\x03\x00\x01t".repeat(100);
    let ping = b"\xc0\x00";
    clients[0]
        .write_all(&[&messages[..], ping].concat())
        .unwrap();
    for (number, client) in clients.iter_mut().enumerate() {
        let mut heard = vec![0; messages.len()];
        client.read_exact(&mut heard).unwrap();
        assert!(number == 0 || heard == messages, "client {number}");
    }
}

/// Names are clients' own, and a log is read line by line, on a terminal perhaps.
#[test]
fn names_with_line_ends_are_one_line_of_the_log() {
    let mut broker = OurBroker::start();
    // Says that it is `h`, and in a second line that somebody else is there.
    let connect = b"\x10\x1c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x0fh\n1s admin: \x1b[m";
    let subscribe = b"\x82\x09\x00\x0a\x00\x00\x03a\nb\x00";
    let all = answer(
        &broker.address(),
        &[&connect[..], subscribe, b"\xe0\x00"].concat(),
    );
    assert_eq!(after_connack(&all)[0], 0x90);
    let who = r"h\n1s admin: \u{1b}[m";
    for expected in ["connected from", r"subscribe a\nb", "closed"] {
        let line = broker.program.wait_for(expected);
        assert!(line.contains(who), "{line}");
    }
}

/// Each of many strangers who break the rules would have a line of the log.
#[test]
fn a_log_does_not_grow_as_fast_as_strangers_like() {
    let broker = OurBroker::quiet(&["--bind", "127.0.0.1:0", "--max-connections", "5"]);
    let address = broker.address();
    for _ in 0..1_000 {
        assert_eq!(answer(&address, b"\xc0\x00"), b"");
    }
    let idle = || TcpStream::connect(&address).unwrap();
    let _five: Vec<_> = (0..5).map(|_| idle()).collect();
    for _ in 0..1_000 {
        let mut stream = idle();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(!matches!(stream.read(&mut [0]), Ok(1)));
    }
    let (code, lines) = broker.program.interrupt();
    assert_eq!(code, Some(0));
    let told = lines
        .iter()
        .filter(|line| line.contains("not CONNECT") || line.contains("too many connections"));
    assert!((1..500).contains(&told.count()), "{lines:?}");
}
