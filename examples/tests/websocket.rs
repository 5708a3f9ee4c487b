//! MQTT over WebSocket: our programs, and frames as other clients cut them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::ErrorKind;
use std::net::TcpStream;

use support::{
    OurBroker, PATIENCE, Program, file, folder, free_port, peak_kib, publish, subscribe,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocket;
use tokio_tungstenite::tungstenite::{self, Message};

const CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01w";
const SUBSCRIBE: &[u8] = b"\x82\x07\x00\x01\x00\x00\x01a\x00";
const SUBACK: &[u8] = b"\x90\x04\x00\x01\x00\x00";
const PINGREQ: &[u8] = b"\xc0\x00";
const PINGRESP: &[u8] = b"\xd0\x00";

fn broker() -> (OurBroker, String) {
    let mut broker = OurBroker::with(&["--ws-bind", "127.0.0.1:0"]);
    let port = broker.next_port();
    (broker, port)
}

/// A WebSocket whose client offers these protocols.
fn open(port: &str, offered: Option<&'static str>) -> tungstenite::Result<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://127.0.0.1:{port}/any/path").into_client_request()?;
    if let Some(offered) = offered {
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(offered));
    }
    match tungstenite::client(request, stream) {
        Ok((socket, response)) => {
            assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
            Ok(socket)
        }
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
        Err(interrupted) => panic!("{interrupted}"),
    }
}

fn send(socket: &mut WebSocket<TcpStream>, bytes: &[u8]) {
    let bytes = bytes.to_vec();
    socket.send(Message::Binary(bytes.into())).unwrap();
}

/// Reads frames until the bytes in them end with `last`.
fn read_until(socket: &mut WebSocket<TcpStream>, last: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(last) {
        match socket.read().unwrap() {
            Message::Binary(frame) => bytes.extend_from_slice(&frame),
            other => panic!("not binary: {other:?}"),
        }
    }
    bytes
}

/// Reads what comes until the broker closes.
fn read_to_end(socket: &mut WebSocket<TcpStream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Binary(frame)) => bytes.extend_from_slice(&frame),
            Ok(Message::Close(_)) => {}
            Ok(other) => panic!("neither binary nor the end: {other:?}"),
            Err(tungstenite::Error::Io(error)) => {
                // The second where this side answers a Close that it has read.
                let gone = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(gone.contains(&error.kind()), "{error}");
                return bytes;
            }
            Err(_) => return bytes,
        }
    }
}

#[test]
fn messages_go_through_websockets_at_every_qos_and_in_both_versions() {
    let (broker, port) = broker();
    let url = format!("ws://127.0.0.1:{port}/mqtt");
    for version in ["5", "311"] {
        for qos in ["0", "1", "2"] {
            let message = ["-V", version, "-q", qos, "-t", "house/light"];
            let there = [&["--url", &url], &message[..]].concat();
            // One subscriber through WebSocket, one without.
            let mut subscriber = subscribe(&[&there[..], &["-C", "1"]].concat());
            let mut plain = subscribe(&[&["-p", &broker.port, "-C", "1"], &message[..]].concat());
            publish(&[&there[..], &["-m", "on"]].concat()).succeed();
            subscriber.wait_for("on");
            subscriber.succeed();
            plain.wait_for("on");
            plain.succeed();
        }
    }
}

#[test]
fn large_messages_go_through_websockets() {
    let (_broker, port) = broker();
    let url = format!("ws://127.0.0.1:{port}");
    let payload = "x".repeat(300_000);
    let payload = file(&folder("websocket-large"), "payload", &payload);
    let place = ["--url", &url, "-t", "a", "-q", "1"];
    let subscriber = subscribe(&[&place[..], &["-C", "1"]].concat());
    publish(&[&place[..], &["-f", &payload]].concat()).succeed();
    let lines = subscriber.succeed();
    assert!(lines.iter().any(|line| line.len() == 300_000));
}

#[test]
fn packets_do_not_care_where_frames_begin_and_end() {
    let (_broker, port) = broker();
    for (name, frames) in [
        ("one frame each", vec![CONNECT, SUBSCRIBE, PINGREQ]),
        (
            "all in one",
            vec![b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01w\x82\x07\x00\x01\x00\x00\x01a\x00\xc0\x00"],
        ),
        (
            "byte by byte, and empty ones",
            [CONNECT, SUBSCRIBE, PINGREQ]
                .iter()
                .flat_map(|packet| packet.chunks(1))
                .flat_map(|byte| [byte, &[]])
                .collect(),
        ),
    ] {
        let mut socket = open(&port, Some("mqtt")).unwrap();
        for frame in frames {
            send(&mut socket, frame);
        }
        let answer = read_until(&mut socket, PINGRESP);
        assert_eq!(answer.first(), Some(&0x20), "{name}: {answer:02x?}");
        assert!(
            answer.windows(SUBACK.len()).any(|window| window == SUBACK),
            "{name}: {answer:02x?}"
        );
    }
}

#[test]
fn a_text_frame_ends_the_connection() {
    let (_broker, port) = broker();
    let mut socket = open(&port, Some("mqtt")).unwrap();
    send(&mut socket, CONNECT);
    send(&mut socket, PINGREQ);
    read_until(&mut socket, PINGRESP);
    socket.send(Message::Text("hello".into())).unwrap();
    send(&mut socket, PINGREQ);
    assert_eq!(read_to_end(&mut socket), b"", "no answer behind the text");
}

fn broker_of(packet_size_max: &str) -> (OurBroker, String) {
    let size = ["--max-packet-size", packet_size_max];
    let mut broker = OurBroker::with(&[&["--ws-bind", "127.0.0.1:0"][..], &size].concat());
    let port = broker.next_port();
    (broker, port)
}

/// A PUBLISH of that many bytes in all, with an identifier that says its place.
fn message(size: usize, id: u8) -> Vec<u8> {
    let rest = u32::try_from(size - 4).unwrap();
    let digit = |shift: u32| (rest >> shift & 0x7F) as u8;
    let head = [0x32, digit(0) | 0x80, digit(7) | 0x80, digit(14)];
    let mut packet = [&head[..], b"\0\x01a\0", &[id, 0]].concat();
    packet.resize(size, b'x');
    packet
}

/// Clients that hand over all they have in one go put it into one frame. [5:MQTT-6.0.0-2]
#[test]
fn a_frame_may_hold_several_packets_of_the_largest_size() {
    let (_broker, port) = broker_of("100000");
    let mut socket = open(&port, Some("mqtt")).unwrap();
    let packets = (1..=100).map(|id| message(100_000, id));
    let packets = packets.collect::<Vec<_>>().concat();
    send(&mut socket, &[CONNECT, &packets].concat());
    let answers = read_until(&mut socket, b"\x40\x03\0\x64\x10");
    let acks = (1..=100).flat_map(|id| [0x40, 3, 0, id, 0x10]);
    assert!(
        answers.ends_with(&acks.collect::<Vec<_>>()),
        "{answers:02x?}"
    );
}

/// Before CONNECT a client gets little memory, and a frame does not get it more.
#[test]
fn a_large_frame_of_a_stranger_is_not_kept() {
    let (broker, port) = broker_of("10000000");
    let before = peak_kib(broker.program.id());
    for _ in 0..10 {
        let mut socket = open(&port, Some("mqtt")).unwrap();
        let sent = socket.send(Message::Binary(vec![0xC0; 8 << 20].into()));
        sent.expect("somebody reads it to the end");
        assert_eq!(read_to_end(&mut socket), b"");
    }
    let kib = peak_kib(broker.program.id()) - before;
    assert!(kib < 4096, "{kib} KiB more");
}

/// The same answer as without WebSocket, however large the frame.
#[test]
fn a_packet_that_is_too_large_is_refused_with_its_reason() {
    let (_broker, port) = broker_of("100000");
    for size in [100_001, 400_001, 2_000_000] {
        let mut socket = open(&port, Some("mqtt")).unwrap();
        send(&mut socket, &[CONNECT, PINGREQ].concat());
        read_until(&mut socket, PINGRESP);
        let sent = socket.send(Message::Binary(message(size, 1).into()));
        sent.expect("somebody reads it to the end");
        assert_eq!(read_to_end(&mut socket), b"\xe0\x01\x95", "{size}");
    }
}

#[test]
fn pings_of_the_websocket_are_answered() {
    let (_broker, port) = broker();
    let mut socket = open(&port, Some("mqtt")).unwrap();
    socket.send(Message::Ping("there?".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("there?".into()));
    send(&mut socket, CONNECT);
    send(&mut socket, PINGREQ);
    read_until(&mut socket, PINGRESP);
}

#[test]
fn the_subprotocol_is_mqtt_and_nothing_else() {
    let (_broker, port) = broker();
    for offered in ["mqtt", "mqttv3.1, mqtt", "other,mqtt"] {
        assert!(open(&port, Some(offered)).is_ok(), "{offered}");
    }
    for offered in [None, Some("mqttv3.1"), Some("mqtt2")] {
        match open(&port, offered) {
            Err(tungstenite::Error::Http(response)) => {
                assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{offered:?}");
            }
            other => panic!("{offered:?}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_websocket_is_one_clear_line_and_exit_code_1() {
    let (broker, _) = broker();
    let nobody = format!("ws://127.0.0.1:{}", free_port());
    let no_websocket = format!("ws://127.0.0.1:{}", broker.port);
    for (url, expected) in [(&nobody, "cannot connect to"), (&no_websocket, "WebSocket")] {
        for (program, message) in [
            (env!("CARGO_BIN_EXE_publish"), &["-m", "x"][..]),
            (env!("CARGO_BIN_EXE_subscribe"), &[]),
        ] {
            let arguments = [&["--url", url, "-t", "a"], message].concat();
            let (code, lines) = Program::start(program, &arguments).finish();
            assert_eq!(code, Some(1), "{lines:?}");
            assert!(
                lines.len() == 1 && lines[0].contains(expected),
                "no {expected:?} in {lines:?}"
            );
        }
    }
}

#[test]
fn an_interrupted_broker_says_goodbye_through_websockets() {
    let (broker, port) = broker();
    let url = format!("ws://127.0.0.1:{port}");
    let mut subscriber = subscribe(&["--url", &url, "-t", "#", "--no-reconnect"]);
    assert_eq!(broker.program.interrupt().0, Some(0));
    subscriber.wait_for("Server shutting down (0x8B)");
    assert_eq!(subscriber.finish().0, Some(1));
}
