//! SIGHUP: the broker reads its files again, and what they say holds for those who are there already.

#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use certificates::Authority;
use mqtt_examples::access::password;
use support::{OurBroker, PATIENCE, Program, file, folder, publish, subscribe};

/// Lets the broker read its files again; answers the line that says what has come of it.
fn reload(broker: &mut OurBroker) -> String {
    broker.program.send_signal("-HUP");
    broker.program.wait_for("read again: ")
}

/// The same where something is wrong.
fn reload_in_vain(broker: &mut OurBroker) -> String {
    broker.program.send_signal("-HUP");
    broker.program.wait_for("nothing has changed: ")
}

fn publishes(broker: &OurBroker, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let place = ["-p", &broker.port, "-q", "1", "-m", "x"];
    publish(&[&place[..], arguments].concat()).finish()
}

fn login<'l>(name: &'l str, password: &'l str) -> [&'l str; 4] {
    ["-u", name, "-P", password]
}

#[test]
fn who_is_in_the_file_no_more_is_sent_away() {
    let folder = folder("reload-passwords");
    let line = |name, word| password::line(name, word).unwrap();
    let anna = line("anna", "secret");
    let before = [anna.clone(), line("bert", "secret"), line("dora", "old")];
    let passwords = file(&folder, "passwords", &before.join("\n"));
    let mut broker = OurBroker::with(&["--password-file", &passwords]);
    let there = ["-p", &broker.port, "-t", "a"];
    let names = [("anna", "secret"), ("bert", "secret"), ("dora", "old")];
    let [mut stays, gone, other_word] =
        names.map(|(name, word)| subscribe(&[&there[..], &login(name, word)].concat()));
    let mut nameless = subscribe(&there);

    let after = [anna, line("carl", "secret"), line("dora", "new")];
    file(&folder, "passwords", &after.join("\n"));
    let told = reload(&mut broker);
    assert!(told.contains("passwords; clients sent away: 2"), "{told}");
    for mut sent_away in [gone, other_word] {
        sent_away.wait_for("Not authorized (0x87)");
        assert_eq!(sent_away.finish().0, Some(1));
    }
    for (name, word, expected) in [
        ("carl", "secret", 0),
        ("dora", "new", 0),
        ("bert", "secret", 1),
        ("dora", "old", 1),
    ] {
        let (code, lines) = publishes(&broker, &[&["-t", "a"], &login(name, word)[..]].concat());
        assert_eq!(code, Some(expected), "{name} {word}: {lines:?}");
    }
    stays.wait_for("message on a");
    nameless.wait_for("message on a");
}

/// Their passwords were sent before, and are still looked at.
#[test]
fn who_is_on_his_way_in_is_judged_by_what_is_new() {
    let folder = folder("reload-logins");
    let line = password::line("anna", "secret").unwrap();
    let passwords = file(&folder, "passwords", &line);
    let mut broker = OurBroker::with(&["--password-file", &passwords]);
    // More than are looked at until the signal comes.
    let mut clients: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(broker.address()).unwrap())
        .collect();
    for (number, client) in (b'0'..).zip(&mut clients) {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connect = *b"\x10\x1b\0\x04MQTT\x04\xc2\0\x3c\0\x01?\0\x04anna\0\x06secret";
        connect[14] = number;
        client.write_all(&connect).unwrap();
    }
    // With one of them in, others are looked at.
    broker.program.wait_for(": connected from ");
    file(&folder, "passwords", "# nobody\n");
    reload(&mut broker);
    for client in &mut clients {
        // Sent away, or not let in.
        client.read_to_end(&mut Vec::new()).unwrap();
    }
}

#[test]
fn rules_hold_for_those_who_are_connected() {
    let folder = folder("reload-rules");
    let rules = file(&folder, "rules", "anonymous\nallow both #\n");
    let mut broker = OurBroker::with(&["--acl", &rules]);
    let port = broker.port.clone();
    let filters = ["-t", "open/#", "-t", "shut/#"];
    let all = [&["-p", &port, "-v", "-t", "$share/g/shut/#"], &filters[..]].concat();
    let mut subscriber = subscribe(&all);
    let kept = ["-p", &port, "-i", "away", "-c", "-q", "1"];
    let away = subscribe(&[&kept[..], &filters].concat());
    assert_eq!(away.interrupt().0, Some(0));
    let topics = ["shut/a", "open/a", "no/a"];
    let mut publishers =
        topics.map(|topic| publish(&["-p", &port, "-q", "1", "-l", "-d", "-t", topic]));
    for (publisher, told) in publishers.iter_mut().zip([
        "published: Success",
        "published: Success",
        "published: No matching subscribers",
    ]) {
        publisher.type_line("x");
        publisher.wait_for(told);
    }
    subscriber.wait_for("open/a x");

    let text = "anonymous\ndeny publish no/#\nallow publish #\nallow subscribe open/#\n";
    file(&folder, "rules", text);
    let told = reload(&mut broker);
    assert!(told.contains("subscriptions taken away: 3"), "{told}");
    let [mut nobody, mut allowed, mut denied] = publishers;
    nobody.type_line("x");
    nobody.wait_for("published: No matching subscribers");
    allowed.type_line("x");
    allowed.wait_for("published: Success");
    subscriber.wait_for("open/a x");
    denied.type_line("x");
    denied.wait_for("refused the message: Not authorized (0x87)");
    assert_eq!(denied.finish().0, Some(1));

    // It got what had come before, and of what came later only what it may have.
    publish(&["-p", &port, "-q", "1", "-t", "open/end", "-m", "x"]).succeed();
    subscriber.wait_for("open/end x");
    let back = Program::start(
        env!("CARGO_BIN_EXE_subscribe"),
        &[&kept[..], &["-v", "-t", "open/#", "-C", "4"]].concat(),
    );
    let lines = back.succeed();
    let count = |topic: &str| lines.iter().filter(|line| line.starts_with(topic)).count();
    assert_eq!(
        (count("shut/a x"), count("open/a x"), count("open/end x")),
        (1, 2, 1),
        "{lines:?}"
    );
    let (_, lines) = subscriber.interrupt();
    let shut = lines.iter().filter(|line| line.starts_with("shut/a x"));
    assert_eq!(shut.count(), 2, "once for each subscription: {lines:?}");

    // And back again.
    file(&folder, "rules", "anonymous\nallow both #\n");
    reload(&mut broker);
    let mut subscriber = subscribe(&["-p", &port, "-t", "shut/#", "-v"]);
    publish(&["-p", &port, "-q", "1", "-t", "shut/b", "-m", "x"]).succeed();
    subscriber.wait_for("shut/b x");
}

/// Half of what is read would be neither the old nor the new.
#[test]
fn what_is_wrong_changes_nothing_and_says_where() {
    let folder = folder("reload-wrong");
    let anna = password::line("anna", "secret").unwrap();
    let authority = Authority::new(&folder, "authority");
    let host = authority.vouch(&folder, "127.0.0.1");
    let passwords = file(&folder, "passwords", &anna);
    let rules = file(&folder, "rules", "user *\nallow both #\n");
    let settings = format!("acl = '{rules}'\n");
    let config = file(&folder, "broker.toml", &settings);
    let files = ["--config", &config, "--password-file", &passwords];
    let tls = ["--tls-cert", &host.cert, "--tls-key", &host.key];
    let tls_bind = ["--tls-bind", "127.0.0.1:0"];
    let mut broker = OurBroker::with(&[&files[..], &tls, &tls_bind].concat());
    let tls_port = broker.next_port();
    let may = login("anna", "secret");
    for (name, wrong, expected) in [
        (
            "rules",
            "user *\ndeny both #\nallow all\n",
            "rules: line 3: ",
        ),
        (
            "passwords",
            "# nobody\nanna:secret\n",
            "passwords: line 2: ",
        ),
        (
            "broker.toml",
            "allow-anonymous = false\nacl = 5\n",
            "broker.toml: TOML parse error at line 2",
        ),
        (
            "broker.toml",
            "acl = 'no-such-file'\n",
            "cannot read no-such-file",
        ),
        (
            "127.0.0.1.cert.pem",
            "",
            "127.0.0.1.cert.pem: no certificate",
        ),
        ("127.0.0.1.key.pem", "", "127.0.0.1.key.pem"),
    ] {
        let path = folder.join(name);
        let right = std::fs::read_to_string(&path).unwrap();
        file(&folder, name, wrong);
        let told = reload_in_vain(&mut broker);
        assert!(told.contains(expected), "{name}: {told}");
        let (code, lines) = publishes(&broker, &[&["-t", "a"], &may[..]].concat());
        assert_eq!(code, Some(0), "{name}: {lines:?}");
        let through_tls = ["-p", &tls_port, "--cafile", &authority.file, "-t", "a"];
        publish(&[&through_tls, &may[..], &["-m", "x"]].concat()).succeed();
        file(&folder, name, &right);
    }
    reload(&mut broker);
}

#[test]
fn later_connections_see_later_certificates() {
    let folder = folder("reload-tls");
    let [first, second] = ["first", "second"].map(|name| Authority::new(&folder, name));
    let shown = first.vouch(&folder, "127.0.0.1");
    let vouching = file(
        &folder,
        "vouching",
        &std::fs::read_to_string(&first.file).unwrap(),
    );
    let options = ["--tls-cert", &shown.cert, "--tls-key", &shown.key];
    let places = ["--tls-bind", "127.0.0.1:0", "--tls-client-ca", &vouching];
    let mut broker = OurBroker::with(&[options, places].concat());
    let port = broker.next_port();
    let client_of_first = first.vouch(&folder, "client-of-first");
    let client_of_second = second.vouch(&folder, "client-of-second");
    let of_first = [
        "--cert",
        &client_of_first.cert,
        "--key",
        &client_of_first.key,
    ];
    let of_second = [
        "--cert",
        &client_of_second.cert,
        "--key",
        &client_of_second.key,
    ];
    let there = ["-p", &port, "-t", "a"];
    let by_first = [&there[..], &["--cafile", &first.file], &of_first].concat();
    let by_second = [&there[..], &["--cafile", &second.file], &of_second].concat();
    let no_more = [&there[..], &["--cafile", &second.file], &of_first].concat();
    let mut early = subscribe(&by_first);

    // In the place of those before.
    second.vouch(&folder, "127.0.0.1");
    let pem = std::fs::read_to_string(&second.file).unwrap();
    file(&folder, "vouching", &pem);
    let told = reload(&mut broker);
    assert!(
        told.contains("127.0.0.1.cert.pem") && told.contains("vouching"),
        "{told}"
    );
    let message = ["-q", "1", "-m", "x"];
    publish(&[&by_second[..], &message].concat()).succeed();
    early.wait_for("message on a");
    for (place, expected) in [(&by_first, "UnknownIssuer"), (&no_more, "connection lost")] {
        let (code, lines) = publish(&[&place[..], &message].concat()).finish();
        assert_eq!(code, Some(1), "{lines:?}");
        assert!(lines[0].contains(expected), "{lines:?}");
    }
}

#[test]
fn settings_about_access_are_read_again_and_others_are_told_of() {
    let folder = folder("reload-settings");
    let open = file(&folder, "open", "anonymous\nallow both #\n");
    let shut = file(&folder, "shut", "anonymous\nallow publish #\n");
    let text = format!("acl = '{open}'\nmax-queued = 5\nmax-inflight = 5\n");
    let config = file(&folder, "broker.toml", &text);
    let mut broker = OurBroker::with(&["--config", &config, "--max-inflight", "9"]);
    let port = broker.port.clone();
    let mut nameless = subscribe(&["-p", &port, "-t", "a"]);
    // A flag says what is in force of the last one, whatever the file says.
    let text = format!(
        "acl = '{shut}'\ndeny-subscribe = 'b'\nmax-queued = 6\nmax-inflight = 7\nsys-interval = 1\n"
    );
    file(&folder, "broker.toml", &text);
    broker.program.send_signal("-HUP");
    let told = broker.program.wait_for("needs a restart");
    assert!(told.ends_with(": max-queued, sys-interval"), "{told}");
    let told = broker.program.wait_for("read again: ");
    assert!(
        told.contains("broker.toml, ") && told.contains("shut;"),
        "{told}"
    );
    let mut subscriber = Program::start(env!("CARGO_BIN_EXE_subscribe"), &["-p", &port, "-t", "a"]);
    subscriber.wait_for("refused a");
    assert_eq!(subscriber.finish().0, Some(1));

    // Who has no name may stay no longer.
    let text = format!("acl = '{shut}'\nallow-anonymous = false\nmax-queued = 5\n");
    file(&folder, "broker.toml", &text);
    let told = reload(&mut broker);
    assert!(told.contains("clients sent away: 1"), "{told}");
    nameless.wait_for("Not authorized (0x87)");
    assert_eq!(nameless.finish().0, Some(1));
    assert_eq!(publishes(&broker, &["-t", "a"]).0, Some(1));
}

/// Nothing is asked where there was nothing to be asked about, which costs nothing, and stays so.
#[test]
fn the_first_rules_need_a_restart() {
    let folder = folder("reload-first");
    let rules = file(&folder, "rules", "anonymous\nallow subscribe #\n");
    let config = file(&folder, "broker.toml", "");
    let mut broker = OurBroker::with(&["--config", &config]);
    file(&folder, "broker.toml", &format!("acl = '{rules}'"));
    let told = reload_in_vain(&mut broker);
    assert!(told.contains("need a restart"), "{told}");
    // Nobody has shown that his name is his.
    let anna = password::line("anna", "secret").unwrap();
    let passwords = file(&folder, "passwords", &anna);
    file(
        &folder,
        "broker.toml",
        &format!("password-file = '{passwords}'"),
    );
    let mut with_rules = OurBroker::with(&["--config", &config, "--acl", &rules]);
    file(&folder, "broker.toml", "");
    let told = reload_in_vain(&mut with_rules);
    assert!(told.contains("whether there is a password file"), "{told}");
    let (code, lines) = publishes(&broker, &["-t", "a"]);
    assert_eq!(code, Some(0), "{lines:?}");

    let broker = OurBroker::start();
    broker.program.send_signal("-HUP");
    let OurBroker { mut program, port } = broker;
    program.wait_for("no file to read again");
    publish(&["-p", &port, "-q", "1", "-t", "a", "-m", "x"]).succeed();
}
