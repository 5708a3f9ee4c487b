//! Every kind of malformed packet, over real sockets, against a table that was written first: the
//! client is told with the right code, where its version has one, and nobody else notices.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use support::{OurBroker, PATIENCE};

const TABLE: &str = include_str!("malformed.txt");

struct Row<'t> {
    stage: &'t str,
    version: &'t str,
    name: &'t str,
    answer: &'t str,
    bytes: Vec<u8>,
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        let [stage, version, name, answer, rule, bytes] = fields[..] else {
            panic!("{line}");
        };
        assert!(
            rule.starts_with('[') || rule.starts_with("section "),
            "{line}"
        );
        let bytes = bytes.split(' ');
        Row {
            stage,
            version,
            name,
            answer,
            bytes: bytes
                .map(|byte| u8::from_str_radix(byte, 16).unwrap())
                .collect(),
        }
    })
}

fn open(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whole packets from the front of what a broker said; none of these is longer than 127 bytes.
fn read_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet).unwrap();
    let mut body = vec![0; packet[1].into()];
    stream.read_exact(&mut body).unwrap();
    packet.extend(body);
    packet
}

fn connect(version: &str, client_id: &[u8; 1]) -> Vec<u8> {
    let (level, properties): (u8, &[u8]) = match version {
        "5.0" => (5, &[0]),
        _ => (4, &[]),
    };
    let head = [0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 60];
    let body = [&head, properties, &[0, 1], client_id].concat();
    let len = u8::try_from(body.len()).unwrap();
    [&[0x10, len][..], &body].concat()
}

/// The last packet before the end, with its code.
fn fate(address: &str, row: &Row<'_>) -> String {
    let mut stream = open(address);
    if !row.stage.starts_with("first") {
        stream.write_all(&connect(row.version, b"h")).unwrap();
        let connack = read_packet(&mut stream);
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{}", row.name);
    }
    stream.write_all(&row.bytes).unwrap();
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        panic!("{}: not closed: {error}", row.name);
    }
    // What went before was as it should be, and answered.
    while rest.len() > 2 && matches!(rest[0] >> 4, 4..=7) {
        rest.drain(..2 + usize::from(rest[1]));
    }
    match rest[..] {
        [] => "close".to_owned(),
        [0x20, 2, 0, code] | [0x20, 3, 0, code, 0] => format!("CONNACK {code:02X}"),
        [0xE0, 1, code] => format!("DISCONNECT {code:02X}"),
        _ => format!("{rest:02X?}"),
    }
}

/// A subscriber and a publisher beside the offender.
struct Witnesses {
    subscriber: TcpStream,
    publisher: TcpStream,
}

impl Witnesses {
    fn new(address: &str) -> Self {
        let mut all = [("3.1.1", b"s"), ("5.0", b"p")].map(|(version, client_id)| {
            let mut stream = open(address);
            stream.write_all(&connect(version, client_id)).unwrap();
            assert_eq!(read_packet(&mut stream)[0], 0x20);
            stream
        });
        all[0].write_all(b"\x82\x06\x00\x01\x00\x01w\x00").unwrap();
        assert_eq!(read_packet(&mut all[0])[0], 0x90);
        let [subscriber, publisher] = all;
        Self {
            subscriber,
            publisher,
        }
    }

    /// A message still goes from one to the other.
    fn testify(&mut self, number: u8) {
        self.publisher
            .write_all(&[0x30, 5, 0, 1, b'w', 0, number])
            .unwrap();
        let heard = read_packet(&mut self.subscriber);
        assert_eq!(heard, [0x30, 4, 0, 1, b'w', number]);
    }
}

#[test]
fn every_malformed_packet_is_answered_as_the_table_says() {
    let broker = OurBroker::start();
    let limited = OurBroker::with(&["--maximum-qos", "0", "--retain-available", "false"]);
    let mut witnesses = [&broker, &limited].map(|broker| Witnesses::new(&broker.address()));
    let mut wrong = Vec::new();
    for (number, row) in (0_u8..=u8::MAX).cycle().zip(rows()) {
        let is_limited = row.stage.ends_with("limited");
        let address = if is_limited { &limited } else { &broker }.address();
        let found = fate(&address, &row);
        if found != row.answer {
            let Row {
                stage,
                version,
                name,
                answer,
                ..
            } = row;
            wrong.push(format!("{stage} {version} {name}: {found}, not {answer}"));
        }
        witnesses[usize::from(is_limited)].testify(number);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
