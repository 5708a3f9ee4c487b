//! What hostile clients get from the broker, over real sockets, and that nobody else notices.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use support::{OurBroker, PATIENCE, publish, resident_kib, subscribe};

const CONNECT_V5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01h";
const CONNECT_V3: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01h";

/// Sends bytes and reads until the broker closes.
fn answer(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The broker may have closed before all is written: that is an answer too.
    let _closed_early = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "not closed"
        ),
    }
    answer
}

/// The packet behind the CONNACK.
fn after_connack(answer: &[u8]) -> &[u8] {
    assert_eq!(answer.first(), Some(&0x20), "CONNACK first: {answer:02x?}");
    &answer[2 + usize::from(answer[1])..]
}

#[test]
fn every_offender_is_answered_as_the_standard_says_and_closed() {
    let broker = OurBroker::start();
    let address = broker.address();
    let mut witness = subscribe(&["-p", &broker.port, "-t", "witness", "-C", "1"]);

    for (name, bytes) in [
        ("garbage", &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..]),
        ("zeros", &[0; 64]),
        (
            "5 bytes that announce 256 MiB",
            &[0x10, 0xFF, 0xFF, 0xFF, 0x7F],
        ),
        (
            "a PUBLISH that announces 256 MiB",
            &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
        ),
        ("PUBLISH before CONNECT", b"\x30\x07\x00\x03a/bhi"),
        (
            "a CONNECT of 3.1.1 with a reserved flag",
            b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01h",
        ),
        (
            "another protocol name",
            b"\x10\x0d\x00\x04MXTT\x05\x02\x00\x3c\x00\x01h",
        ),
    ] {
        assert_eq!(answer(&address, bytes), [], "{name} is closed in silence");
    }

    for (name, bytes, expected) in [
        (
            "version 3.1",
            &b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01h"[..],
            &[0x20, 2, 0, 1][..],
        ),
        (
            "level 6",
            b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01h",
            &[0x20, 3, 0, 0x84, 0],
        ),
        (
            "a CONNECT of 5.0 with a reserved flag",
            b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x01h",
            &[0x20, 3, 0, 0x81, 0],
        ),
        (
            "3.1.1 without identifier and clean session",
            b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00",
            &[0x20, 2, 0, 2],
        ),
    ] {
        assert_eq!(answer(&address, bytes), expected, "{name}");
    }

    for (name, bytes, code) in [
        ("a second CONNECT", CONNECT_V5, 0x82),
        (
            "a PUBLISH with QoS 3",
            &[0x36, 6, 0, 1, b'a', 0, 10, 0][..],
            0x81,
        ),
        (
            "an invalid filter",
            b"\x82\x08\x00\x0a\x00\x00\x02a#\x00",
            0x82,
        ),
        ("a topic with a wildcard", b"\x30\x06\x00\x03a/+\x00", 0x82),
        (
            "a topic alias above the maximum",
            &[0x30, 7, 0, 1, b'a', 3, 0x23, 0xFF, 0xFF],
            0x94,
        ),
        (
            "a packet above the maximum",
            &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
            0x95,
        ),
        ("a packet of a server", &[0xD0, 0], 0x82),
        ("AUTH without authentication", &[0xF0, 0], 0x82),
    ] {
        let all = answer(&address, &[CONNECT_V5, bytes].concat());
        assert_eq!(after_connack(&all), [0xE0, 1, code], "{name} in 5.0");
    }
    for (name, bytes) in [
        ("a second CONNECT", CONNECT_V3),
        ("a PUBLISH with QoS 3", &[0x36, 5, 0, 1, b'a', 0, 10]),
        ("AUTH", &[0xF0, 0]),
    ] {
        let all = answer(&address, &[CONNECT_V3, bytes].concat());
        assert_eq!(
            after_connack(&all),
            [],
            "{name} in 3.1.1 is closed in silence"
        );
    }

    publish(&["-p", &broker.port, "-t", "witness", "-m", "still here"]).succeed();
    witness.wait_for("still here");
    witness.succeed();
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
