//! The broker lets in whom its files name, and lets them do what these say.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;

use support::{OurBroker, PATIENCE, peak_kib, publish, subscribe};

/// A file of this test's own.
fn file(name: &str, text: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("access");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn publishes(broker: &OurBroker, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let place = ["-p", &broker.port, "-q", "1", "-m", "x"];
    publish(&[&place[..], arguments].concat()).finish()
}

#[test]
fn a_name_needs_its_password() {
    let line = mqtt_examples::access::password::line("anna", "secret").unwrap();
    let passwords = file("passwords", &line);
    let broker = OurBroker::with(&["--password-file", &passwords, "--allow-anonymous", "false"]);
    for (version, refusal) in [("311", "Not authorized"), ("5", "Not authorized")] {
        for (login, is_right) in [
            (&["-u", "anna", "-P", "secret"][..], true),
            (&["-u", "anna", "-P", "Secret"][..], false),
            (&["-u", "bert", "-P", "secret"][..], false),
            (&["-u", "anna"][..], false),
            (&[][..], false),
        ] {
            let arguments = [&["-V", version, "-t", "a"][..], login].concat();
            let (code, lines) = publishes(&broker, &arguments);
            assert_eq!(
                code,
                Some(i32::from(!is_right)),
                "{version} {login:?}: {lines:?}"
            );
            if !is_right {
                assert!(lines[0].contains(refusal), "{lines:?}");
            }
        }
    }
}

/// Each takes a core and 19 MiB for a while, and strangers choose how many there are.
#[test]
fn many_logins_at_once_cost_no_more_than_a_few() {
    let line = mqtt_examples::access::password::line("anna", "secret").unwrap();
    let passwords = file("passwords-of-many", &line);
    let broker = OurBroker::with(&["--password-file", &passwords]);
    let before = peak_kib(broker.program.id());
    let cores = available_parallelism().map_or(1, NonZero::get);
    let mut clients: Vec<_> = (0..cores * 4)
        .map(|_| TcpStream::connect(broker.address()).unwrap())
        .collect();
    for client in &mut clients {
        let connect = b"\x10\x19\0\x04MQTT\x04\xc2\0\x3c\0\0\0\x04anna\0\x05wrong";
        client.write_all(connect).unwrap();
    }
    // Whom there is nothing to ask about does not wait for them.
    let (code, lines) = publishes(&broker, &["-t", "a"]);
    assert_eq!(code, Some(0), "{lines:?}");
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connack = [0; 4];
        client.read_exact(&mut connack).unwrap();
        assert_eq!(connack, [0x20, 2, 0, 5]);
    }
    let mib = (peak_kib(broker.program.id()) - before) / 1024;
    let most = 20 * (u64::try_from(cores).unwrap() + 1);
    assert!(mib < most, "{mib} MiB for {cores} at once");
}

#[test]
fn rules_say_who_may_do_what() {
    let line = mqtt_examples::access::password::line("anna", "secret").unwrap();
    let passwords = file("passwords-of-rules", &line);
    let rules = file(
        "rules",
        "anonymous\nallow subscribe public/#\nuser anna\nallow both #\n",
    );
    let broker = OurBroker::with(&["--password-file", &passwords, "--acl", &rules]);
    let anna = ["-u", "anna", "-P", "secret"];
    let mut anonymous = subscribe(&["-p", &broker.port, "-t", "public/#", "-t", "private", "-v"]);
    anonymous.wait_for("refused private");
    let (code, lines) = publishes(&broker, &["-t", "public/a"]);
    assert_eq!(
        code,
        Some(1),
        "nobody may publish without a name: {lines:?}"
    );
    let (code, lines) = publishes(&broker, &[&["-t", "public/b"][..], &anna].concat());
    assert_eq!(code, Some(0), "{lines:?}");
    anonymous.wait_for("public/b x");
}

/// Some editors put a mark in front of a text, which is part of no name.
#[test]
fn files_may_begin_with_a_mark() {
    let line = mqtt_examples::access::password::line("anna", "secret").unwrap();
    let passwords = file("passwords-with-a-mark", &format!("\u{feff}{line}"));
    let rules = "\u{feff}user anna\nallow publish a\n";
    let rules = file("rules-with-a-mark", rules);
    let broker = OurBroker::with(&["--password-file", &passwords, "--acl", &rules]);
    let (code, lines) = publishes(&broker, &["-t", "a", "-u", "anna", "-P", "secret"]);
    assert_eq!(code, Some(0), "{lines:?}");
}

#[test]
fn one_quick_rule_refuses_a_subscription() {
    let broker = OurBroker::with(&["--deny-subscribe", "secret/#=0x97"]);
    for (version, code) in [("311", "0x80"), ("5", "0x97")] {
        let filters = ["-t", "open", "-t", "secret/a", "-V", version];
        let mut subscriber = subscribe(&[&["-p", &broker.port][..], &filters].concat());
        let line = subscriber.wait_for("refused secret/a");
        assert!(line.contains(code), "{line}");
    }
}

/// A will that is published by a later program is judged as that of the user who left it.
#[test]
fn whose_a_session_is_survives_the_program() {
    let line = mqtt_examples::access::password::line("anna", "secret").unwrap();
    let passwords = file("passwords-of-wills", &line);
    let rules = file(
        "rules-of-wills",
        "anonymous\nallow both public/#\nuser anna\nallow both #\n",
    );
    let store = support::folder("wills").join("store.redb");
    let options = [
        "--password-file",
        &passwords,
        "--acl",
        &rules,
        "--store",
        store.to_str().unwrap(),
    ];
    let anna = ["-u", "anna", "-P", "secret"];
    let mut broker = OurBroker::with(&options);
    let mut mortals = Vec::new();
    for login in [&anna[..], &[]] {
        let topic = format!("private/{}", login.len());
        let will = [
            "--will-topic",
            &topic,
            "--will-payload",
            "gone",
            "--will-retain",
        ];
        let place = ["-p", &broker.port, "-t", "public/x"];
        mortals.push(subscribe(&[&place[..], &will, login].concat()));
        broker.program.wait_for("public/x");
    }
    broker.program.kill();
    for mortal in mortals {
        mortal.kill();
    }
    let broker = OurBroker::with(&options);
    let place = [
        "-p",
        &broker.port,
        "-t",
        "private/#",
        "-t",
        "public/end",
        "-v",
        "-C",
        "2",
    ];
    let mut watcher = subscribe(&[&place[..], &anna].concat());
    watcher.wait_for("message on private/4");
    let (code, lines) = publishes(&broker, &["-t", "public/end"]);
    assert_eq!(code, Some(0), "{lines:?}");
    // Nothing of the one who had no name.
    watcher.wait_for("message on public/end");
    let lines = watcher.succeed();
    assert!(
        !lines.iter().any(|line| line.contains("private/0")),
        "{lines:?}"
    );
}
