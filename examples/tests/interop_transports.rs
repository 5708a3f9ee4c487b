//! Real peers through TLS and WebSocket: Debian's mosquitto and its clients, and npm's mqtt. A missing
//! peer fails the tests; nothing is skipped.

#![cfg(feature = "interop")]

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::path::Path;

use certificates::{Authority, Identity};
use support::{OurBroker, Program, file, folder, free_port, publish, subscribe};

/// The version as mosquitto's clients call it, and as ours do.
const VERSIONS: [(&str, &str); 2] = [("mqttv5", "5"), ("mqttv311", "311")];

/// mosquitto_sub, once the broker has answered its SUBSCRIBE.
fn mosquitto_sub(arguments: &[&str]) -> Program {
    // Left alone it would print to a pipe only when it ends.
    let command = ["-oL", "mosquitto_sub", "-d"];
    let mut program = Program::start("stdbuf", &[&command, arguments].concat());
    program.wait_for("Subscribed (mid:");
    program
}

/// Debian's broker with TLS on one free port, for clients with a certificate, and WebSocket on another.
fn mosquitto(name: &str, authority: &Authority, identity: &Identity) -> (Program, String, String) {
    let (tls, websocket) = (free_port(), free_port());
    let Identity { cert, key } = identity;
    let text = format!(
        "allow_anonymous true\nuser root\n\
         listener {tls} 127.0.0.1\ncafile {}\ncertfile {cert}\nkeyfile {key}\n\
         require_certificate true\n\
         listener {websocket} 127.0.0.1\nprotocol websockets\n",
        authority.file
    );
    let config = file(&folder(name), "mosquitto.conf", &text);
    let mut program = Program::start("mosquitto", &["-c", &config, "-v"]);
    program.wait_until_running();
    (program, tls, websocket)
}

#[test]
fn npm_mqtt_through_our_websocket() {
    let mut broker = OurBroker::with(&["--ws-bind", "127.0.0.1:0"]);
    let port = broker.next_port();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mqttjs/websocket.js");
    let script = script.to_str().expect("a readable path");
    for (_, version) in VERSIONS {
        Program::start("node", &[script, &port, version]).succeed();
    }
}

#[test]
fn mosquitto_clients_through_our_tls() {
    let folder = folder("interop-our-tls");
    let authority = Authority::new(&folder, "authority");
    let Identity { cert, key } = authority.vouch(&folder, "127.0.0.1");
    let client = authority.vouch(&folder, "client");
    let mut broker = OurBroker::with(&[
        "--tls-bind",
        "127.0.0.1:0",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--tls-client-ca",
        &authority.file,
    ]);
    let port = broker.next_port();
    for (version, _) in VERSIONS {
        for qos in ["0", "1", "2"] {
            let base = [
                "-p",
                &port,
                "-V",
                version,
                "-q",
                qos,
                "-t",
                "house/light",
                "--cafile",
                &authority.file,
                "--cert",
                &client.cert,
                "--key",
                &client.key,
                "-h",
                "127.0.0.1",
            ];
            let mut subscriber = mosquitto_sub(&[&base[..], &["-C", "1"]].concat());
            Program::start("mosquitto_pub", &[&base[..], &["-m", "on"]].concat()).succeed();
            subscriber.wait_for("on");
            subscriber.succeed();
        }
    }
}

#[test]
fn our_clients_through_the_tls_and_the_websocket_of_mosquitto() {
    let folder = folder("interop-their-tls");
    let authority = Authority::new(&folder, "authority");
    let identity = authority.vouch(&folder, "127.0.0.1");
    let client = authority.vouch(&folder, "client");
    let (_mosquitto, tls, websocket) = mosquitto("interop-their-config", &authority, &identity);
    let (tls, websocket) = (
        format!("mqtts://127.0.0.1:{tls}"),
        format!("ws://127.0.0.1:{websocket}/mqtt"),
    );
    let shown = [
        "--cafile",
        &authority.file,
        "--cert",
        &client.cert,
        "--key",
        &client.key,
    ];
    for (url, shown) in [(&tls, &shown[..]), (&websocket, &[])] {
        for (_, version) in VERSIONS {
            for qos in ["0", "1", "2"] {
                let message = ["--url", url, "-V", version, "-q", qos, "-t", "house/light"];
                let base = [&message, shown].concat();
                let mut subscriber = subscribe(&[&base[..], &["-C", "1"]].concat());
                publish(&[&base[..], &["-m", "on"]].concat()).succeed();
                subscriber.wait_for("on");
                subscriber.succeed();
            }
        }
    }
}
