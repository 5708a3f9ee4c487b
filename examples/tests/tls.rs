//! Our programs through TLS, with certificates made for each test.

#![expect(clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use certificates::{Authority, Identity};
use mqtt_examples::transport::tls;
use support::{OurBroker, PATIENCE, Program, file, folder, publish, subscribe};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const VERSIONS: [&str; 2] = ["5", "311"];

/// A broker that also listens for TLS; answers the port of that.
fn broker(identity: &Identity, options: &[&str]) -> (OurBroker, String) {
    let Identity { cert, key } = identity;
    let tls = [
        "--tls-bind",
        "127.0.0.1:0",
        "--tls-cert",
        cert,
        "--tls-key",
        key,
    ];
    let mut broker = OurBroker::with(&[&tls, options].concat());
    let port = broker.next_port();
    (broker, port)
}

/// A message through the broker, and back.
fn round_trip(place: &[&str], payload: &str) {
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let base = [place, &["-V", version, "-q", qos, "-t", "house/light"]].concat();
            let mut subscriber = subscribe(&[&base[..], &["-C", "1"]].concat());
            publish(&[&base[..], &["-m", payload]].concat()).succeed();
            subscriber.wait_for(payload);
            subscriber.succeed();
        }
    }
}

/// A program that ends badly, with one line that says why.
fn refused(program: Program, expected: &str) {
    let (code, lines) = program.finish();
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(
        lines.len() == 1 && lines[0].contains(expected),
        "no {expected:?} in {lines:?}"
    );
}

#[test]
fn messages_go_through_tls_at_every_qos_and_in_both_versions() {
    let folder = folder("tls-messages");
    let authority = Authority::new(&folder, "authority");
    let (_broker, port) = broker(&authority.vouch(&folder, "127.0.0.1"), &[]);
    let url = format!("mqtts://127.0.0.1:{port}");
    round_trip(&["--url", &url, "--cafile", &authority.file], "on");
    // Host and port with a file of authorities mean TLS too.
    round_trip(&["-p", &port, "--cafile", &authority.file], "off");
}

#[test]
fn large_messages_go_through_tls() {
    let folder = folder("tls-large");
    let authority = Authority::new(&folder, "authority");
    let (_broker, port) = broker(&authority.vouch(&folder, "127.0.0.1"), &[]);
    let payload = "x".repeat(300_000);
    let payload = file(&folder, "payload", &payload);
    let place = [
        "-p",
        &port,
        "--cafile",
        &authority.file,
        "-t",
        "a",
        "-q",
        "1",
    ];
    let subscriber = subscribe(&[&place[..], &["-C", "1"]].concat());
    publish(&[&place[..], &["-f", &payload]].concat()).succeed();
    let lines = subscriber.succeed();
    assert!(lines.iter().any(|line| line.len() == 300_000));
}

#[test]
fn a_broker_that_nobody_known_vouches_for_is_refused() {
    let folder = folder("tls-wrong-ca");
    let (authority, other) = (
        Authority::new(&folder, "authority"),
        Authority::new(&folder, "other"),
    );
    let (broker, port) = broker(&authority.vouch(&folder, "127.0.0.1"), &[]);
    let url = format!("mqtts://127.0.0.1:{port}");
    let elsewhere = format!("mqtts://localhost:{port}");
    for (url, ca, expected) in [
        (&url, &other.file, "UnknownIssuer"),
        (&elsewhere, &authority.file, "not valid for name"),
    ] {
        let place = ["--url", url, "--cafile", ca, "-t", "a"];
        let program = env!("CARGO_BIN_EXE_publish");
        refused(
            Program::start(program, &[&place[..], &["-m", "x"]].concat()),
            expected,
        );
        let program = env!("CARGO_BIN_EXE_subscribe");
        refused(Program::start(program, &place), expected);
    }
    // Without TLS, and without authorities.
    let plain = format!("mqtt://127.0.0.1:{}", broker.port);
    let program = env!("CARGO_BIN_EXE_subscribe");
    refused(
        Program::start(program, &["--url", &url, "-t", "a"]),
        "--cafile",
    );
    let place = ["--url", &plain, "--cafile", &authority.file, "-t", "a"];
    refused(Program::start(program, &place), "without TLS");
}

#[test]
fn clients_show_certificates_when_the_broker_wants_them() {
    let folder = folder("tls-client-ca");
    let authority = Authority::new(&folder, "authority");
    let clients = Authority::new(&folder, "clients");
    let (mut broker, port) = broker(
        &authority.vouch(&folder, "127.0.0.1"),
        &["--tls-client-ca", &clients.file],
    );
    let place = ["-p", &port, "--cafile", &authority.file];
    let known = clients.vouch(&folder, "known");
    let shown = ["--cert", &known.cert, "--key", &known.key];
    round_trip(&[&place[..], &shown].concat(), "on");
    let told = broker.program.wait_for(": connected from ");
    assert!(told.contains("(CN="), "{told}");

    let unknown = authority.vouch(&folder, "unknown");
    let shown = ["--cert", &unknown.cert, "--key", &unknown.key];
    for shown in [&[][..], &shown] {
        for (program, message) in [
            (env!("CARGO_BIN_EXE_publish"), &["-m", "x"][..]),
            (env!("CARGO_BIN_EXE_subscribe"), &[]),
        ] {
            let arguments = [&place, shown, &["-t", "a"], message].concat();
            let (code, lines) = Program::start(program, &arguments).finish();
            assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
            assert!(lines[0].contains("connection lost"), "{lines:?}");
        }
    }
}

#[test]
fn a_stranger_at_the_door_holds_nobody_up() {
    let folder = folder("tls-strangers");
    let authority = Authority::new(&folder, "authority");
    let (mut broker, port) = broker(&authority.vouch(&folder, "127.0.0.1"), &[]);
    // Says nothing.
    let _silent = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    // Speaks no TLS.
    let mut plain = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain
        .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01h")
        .unwrap();
    // An alert of TLS, or nothing, and then the end: no CONNACK.
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer);
    assert_ne!(answer.first(), Some(&0x20), "{answer:02x?}");
    let address = plain.local_addr().unwrap();
    let told = broker.program.wait_for(" closed: ");
    assert!(told.contains(&address.to_string()), "{told}");
    round_trip(&["-p", &port, "--cafile", &authority.file], "on");
}

#[test]
fn what_a_broker_cannot_start_with() {
    let folder = folder("tls-files");
    let authority = Authority::new(&folder, "authority");
    let host = authority.vouch(&folder, "127.0.0.1");
    let other = authority.vouch(&folder, "other");
    let empty = file(&folder, "empty", "");
    let tls = ["--bind", "127.0.0.1:0", "--tls-bind", "127.0.0.1:0"];
    for (cert, key, expected) in [
        (&host.cert, &other.key, "KeyMismatch"),
        (&empty, &host.key, "no certificate"),
        (&host.cert, &empty, "cannot read a key"),
        (&"no-such-file".to_owned(), &host.key, "no-such-file"),
    ] {
        let files = ["--tls-cert", cert, "--tls-key", key];
        let program = env!("CARGO_BIN_EXE_broker");
        refused(
            Program::start(program, &[&tls[..], &files].concat()),
            expected,
        );
    }
    refused(
        Program::start(env!("CARGO_BIN_EXE_broker"), &tls),
        "--tls-bind needs --tls-cert and --tls-key",
    );
    let unused = ["--bind", "127.0.0.1:0", "--tls-client-ca", &authority.file];
    refused(
        Program::start(env!("CARGO_BIN_EXE_broker"), &unused),
        "certificates are for --tls-bind",
    );
}

/// The broker has no listener for WebSockets within TLS: somebody in front of it takes the TLS off.
#[test]
fn websockets_within_tls() {
    let folder = folder("tls-websocket");
    let authority = Authority::new(&folder, "authority");
    let Identity { cert, key } = authority.vouch(&folder, "127.0.0.1");
    let mut broker = OurBroker::with(&["--ws-bind", "127.0.0.1:0"]);
    let behind = format!("127.0.0.1:{}", broker.next_port());

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let acceptor = TlsAcceptor::from(tls::server_config(&cert, &key, None).unwrap());
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let mut outside = acceptor.accept(stream).await?;
                let mut inside = tokio::net::TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    let url = format!("wss://127.0.0.1:{port}/mqtt");
    round_trip(&["--url", &url, "--cafile", &authority.file], "on");
}
