//! Real peers: Debian's mosquitto and its clients, PyPI's paho-mqtt and npm's mqtt, in both versions, at
//! every QoS. A missing peer fails the tests; nothing is skipped.

#![cfg(feature = "interop")]
#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::path::Path;

use support::{OurBroker, Program, file, folder, free_port, publish, subscribe};

/// The version as mosquitto's clients call it, and as ours do.
const VERSIONS: [(&str, &str); 2] = [("mqttv5", "5"), ("mqttv311", "311")];

/// mosquitto_sub, once the broker has answered its SUBSCRIBE.
fn mosquitto_sub(arguments: &[&str]) -> Program {
    // Left alone it would print to a pipe only when it ends.
    let mut program = Program::start(
        "stdbuf",
        &[&["-oL", "mosquitto_sub", "-d"], arguments].concat(),
    );
    program.wait_for("Subscribed (mid:");
    program
}

/// Debian's broker on a free port, without persistence.
fn mosquitto() -> (Program, String) {
    let port = free_port();
    let mut program = Program::start("mosquitto", &["-p", &port, "-v"]);
    program.wait_until_running();
    (program, port)
}

/// Runs one of the paho scripts against a broker. They check for themselves.
fn paho(script: &str, port: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/paho")
        .join(script);
    let path = path.to_str().expect("a readable path");
    Program::start("python3", &[&[path, port], arguments].concat()).succeed();
}

#[test]
fn mosquitto_clients_through_our_broker() {
    let broker = OurBroker::start();
    for (version, _) in VERSIONS {
        for qos in ["0", "1", "2"] {
            let topic = format!("house/{version}/{qos}");
            let base = ["-p", &broker.port, "-V", version, "-q", qos];
            let mut subscriber =
                mosquitto_sub(&[&base[..], &["-t", "house/#", "-v", "-C", "1"]].concat());
            Program::start(
                "mosquitto_pub",
                &[&base[..], &["-t", &topic, "-m", "on"]].concat(),
            )
            .succeed();
            subscriber.wait_for(&format!("{topic} on"));
            subscriber.succeed();
        }
    }
}

/// It says in its level that it is a bridge, and comes as a client like others when that is refused in a
/// form that it understands.
// [3:MQTT-3.1.2-2]
#[test]
fn a_bridge_of_mosquitto_comes_in() {
    let broker = OurBroker::start();
    let mut subscriber = subscribe(&["-p", &broker.port, "-t", "house/#", "-q", "1", "-C", "1"]);
    let port = free_port();
    let settings = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nconnection ours\naddress {}\n\
         topic house/# out 1\nrestart_timeout 1\n",
        broker.address()
    );
    let config = file(&folder("bridge"), "mosquitto.conf", &settings);
    let mut mosquitto = Program::start("mosquitto", &["-c", &config, "-v"]);
    mosquitto.wait_until_running();
    let message = ["-p", &port, "-q", "1", "-t", "house/light", "-m", "on"];
    Program::start("mosquitto_pub", &message).succeed();
    subscriber.wait_for("on");
    subscriber.succeed();
}

#[test]
fn our_clients_through_mosquitto() {
    let (_mosquitto, port) = mosquitto();
    for (_, version) in VERSIONS {
        for qos in ["0", "1", "2"] {
            let topic = format!("house/{version}/{qos}");
            let base = ["-p", &port, "-V", version, "-q", qos];
            let mut subscriber =
                subscribe(&[&base[..], &["-t", "house/#", "-v", "--flags", "-C", "1"]].concat());
            publish(&[&base[..], &["-t", &topic, "-m", "on"]].concat()).succeed();
            subscriber.wait_for(&format!("{topic} q{qos} r0 on"));
            subscriber.succeed();
        }
    }
}

#[test]
fn our_clients_resume_a_session_at_mosquitto() {
    let (_mosquitto, port) = mosquitto();
    for (_, version) in VERSIONS {
        for qos in ["1", "2"] {
            let (id, topic) = (
                format!("away-{version}-{qos}"),
                format!("news/{version}/{qos}"),
            );
            let session = [
                "-p", &port, "-V", version, "-i", &id, "-c", "-t", &topic, "-q", qos,
            ];
            subscribe(&[&session[..], &["-E"]].concat()).succeed();
            let mut publisher =
                publish(&["-p", &port, "-V", version, "-t", &topic, "-q", qos, "-l"]);
            for number in 0..20 {
                publisher.type_line(&format!("missed {number}"));
            }
            publisher.succeed();
            let program = env!("CARGO_BIN_EXE_subscribe");
            let lines =
                Program::start(program, &[&session[..], &["-C", "20", "-W", "20"]].concat())
                    .succeed();
            let expected: Vec<_> = (0..20).map(|number| format!("missed {number}")).collect();
            assert_eq!(lines, expected, "MQTT {version} at QoS {qos}");
        }
    }
}

#[test]
fn our_will_and_our_retained_message_at_mosquitto() {
    let (_mosquitto, port) = mosquitto();
    for (_, version) in VERSIONS {
        let base = ["-p", &port, "-V", version];
        let mut subscriber = subscribe(&[&base[..], &["-t", "status", "-C", "1"]].concat());
        let mut publisher = publish(
            &[
                &base[..],
                &[
                    "-t",
                    "a",
                    "-l",
                    "-d",
                    "--will-topic",
                    "status",
                    "--will-payload",
                    "gone",
                ],
            ]
            .concat(),
        );
        publisher.wait_for("connected");
        publisher.kill();
        subscriber.wait_for("gone");
        subscriber.succeed();
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
    }
}

#[test]
fn mosquitto_clients_with_wills_retained_messages_and_sessions_at_our_broker() {
    let broker = OurBroker::start();
    for (version, _) in VERSIONS {
        let base = ["-p", &broker.port, "-V", version];
        // A will.
        let mut subscriber = mosquitto_sub(&[&base[..], &["-t", "status", "-C", "1"]].concat());
        let will = ["--will-topic", "status", "--will-payload", "gone"];
        let doomed = mosquitto_sub(&[&base[..], &will, &["-t", "nothing"]].concat());
        doomed.kill();
        subscriber.wait_for("gone");
        subscriber.succeed();
        // A retained message, and its end.
        Program::start(
            "mosquitto_pub",
            &[&base[..], &["-t", "door", "-m", "open", "-r", "-q", "1"]].concat(),
        )
        .succeed();
        let lines = Program::start(
            "mosquitto_sub",
            &[&base[..], &["-t", "door", "-C", "1", "-F", "%t %p %r"]].concat(),
        );
        assert_eq!(lines.succeed(), ["door open 1"]);
        Program::start(
            "mosquitto_pub",
            &[&base[..], &["-t", "door", "-n", "-r"]].concat(),
        )
        .succeed();
        let lines = Program::start(
            "mosquitto_sub",
            &[&base[..], &["-t", "door", "-W", "1"]].concat(),
        );
        assert!(!lines.finish().1.contains(&"open".to_owned()));
        // A session that goes away and comes back.
        for qos in ["1", "2"] {
            let (id, topic) = (
                format!("away-{version}-{qos}"),
                format!("news/{version}/{qos}"),
            );
            let expiry: &[&str] = if version == "mqttv5" {
                &["-x", "1000"]
            } else {
                &[]
            };
            let session = [
                &base[..],
                &["-i", &id, "-c", "-t", &topic, "-q", qos],
                expiry,
            ]
            .concat();
            Program::start("mosquitto_sub", &[&session[..], &["-E"]].concat()).succeed();
            for number in 0..10 {
                let text = format!("missed {number}");
                Program::start(
                    "mosquitto_pub",
                    &[&base[..], &["-t", &topic, "-m", &text, "-q", qos]].concat(),
                )
                .succeed();
            }
            let lines = Program::start(
                "mosquitto_sub",
                &[&session[..], &["-C", "10", "-W", "20"]].concat(),
            )
            .succeed();
            let expected: Vec<_> = (0..10).map(|number| format!("missed {number}")).collect();
            assert_eq!(lines, expected, "{version} at QoS {qos}");
        }
    }
}

#[test]
fn mosquitto_shared_subscriptions_at_our_broker() {
    let broker = OurBroker::start();
    for (version, _) in VERSIONS {
        let base = [
            "-p",
            &broker.port,
            "-V",
            version,
            "-q",
            "1",
            "-C",
            "5",
            "-W",
            "20",
        ];
        let members: Vec<_> = (0..2)
            .map(|_| mosquitto_sub(&[&base[..], &["-t", "$share/workers/jobs"]].concat()))
            .collect();
        for number in 0..10 {
            let text = format!("job {number}");
            Program::start(
                "mosquitto_pub",
                &[
                    "-p",
                    &broker.port,
                    "-V",
                    version,
                    "-t",
                    "jobs",
                    "-m",
                    &text,
                    "-q",
                    "1",
                ],
            )
            .succeed();
        }
        let mut jobs: Vec<_> = members
            .into_iter()
            .flat_map(|member| {
                member
                    .succeed()
                    .into_iter()
                    .filter(|line| line.starts_with("job "))
            })
            .collect();
        jobs.sort_unstable();
        let expected: Vec<_> = (0..10).map(|number| format!("job {number}")).collect();
        assert_eq!(
            jobs, expected,
            "each job once, five for each member, in {version}"
        );
    }
}

#[test]
fn paho_introduction_with_all_six_callbacks_and_the_three_loops() {
    let broker = OurBroker::start();
    for (_, version) in VERSIONS {
        for way in ["loop", "loop_forever", "loop_start"] {
            paho("introduction.py", &broker.port, &[version, way]);
        }
    }
}

#[test]
fn paho_at_every_qos_on_both_sides() {
    let broker = OurBroker::start();
    for (_, version) in VERSIONS {
        paho("qos.py", &broker.port, &[version]);
    }
}

#[test]
fn paho_filters_of_the_tutorials() {
    let broker = OurBroker::start();
    for (_, version) in VERSIONS {
        paho("filters.py", &broker.port, &[version]);
    }
}

#[test]
fn paho_sessions_wills_and_retained_messages() {
    let broker = OurBroker::start();
    for (_, version) in VERSIONS {
        paho("sessions.py", &broker.port, &[version]);
    }
}

#[test]
fn paho_properties_of_version_5() {
    let broker = OurBroker::start();
    paho("properties.py", &broker.port, &["5"]);
}

#[test]
fn paho_wills_with_and_without_delay() {
    let broker = OurBroker::start();
    for (_, version) in VERSIONS {
        paho("wills.py", &broker.port, &[version]);
    }
}

#[test]
fn paho_shared_subscriptions() {
    let broker = OurBroker::start();
    for (_, version) in VERSIONS {
        paho("sharing.py", &broker.port, &[version]);
    }
}

#[test]
fn paho_cut_in_the_middle_and_with_a_receive_maximum_of_1() {
    let broker = OurBroker::start();
    for (_, version) in VERSIONS {
        paho("flow.py", &broker.port, &[version]);
    }
}

/// Nothing that was confirmed is lost, and nothing comes twice at QoS 2.
#[test]
fn npm_mqtt_whose_sockets_are_cut_while_it_publishes_and_subscribes() {
    let broker = OurBroker::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mqttjs/sessions.js");
    let script = script.to_str().expect("a readable path");
    for (_, version) in VERSIONS {
        Program::start("node", &[script, &broker.port, version]).succeed();
    }
}

/// One part of what is in `version5.py`.
fn paho_5(part: &str) {
    let broker = OurBroker::start();
    paho("version5.py", &broker.port, &["5", part]);
}

#[test]
fn paho_retain_handling() {
    paho_5("retain_handling");
}

#[test]
fn paho_no_local() {
    paho_5("no_local");
}

#[test]
fn paho_retain_as_published() {
    paho_5("retain_as_published");
}

#[test]
fn paho_expiry_of_messages() {
    paho_5("expiry");
}

#[test]
fn paho_expiry_of_sessions() {
    paho_5("session_expiry");
}

#[test]
fn paho_topic_aliases_in_both_directions() {
    paho_5("aliases");
}

#[test]
fn paho_taken_over_with_its_session() {
    paho_5("take_over");
}

/// As far as paho can: it says a method in CONNECT, and has no AUTH.
#[test]
fn paho_with_an_authentication_method() {
    paho_5("authentication_method");
}

/// mosquitto_pub, to its end.
fn mosquitto_pub(arguments: &[&str]) {
    Program::start("mosquitto_pub", arguments).succeed();
}

/// Lets the broker see so many seconds pass: a will that is delayed by them has come.
fn let_pass(port: &str, secs: &str) {
    let base = ["-p", port, "-V", "mqttv5"];
    let mut watcher = mosquitto_sub(&[&base[..], &["-t", "clock", "-C", "1"]].concat());
    let delay = ["-D", "will", "will-delay-interval", secs, "-x", "1000"];
    let will = ["--will-topic", "clock", "--will-payload", "tick"];
    let clock = [&base[..], &will, &delay, &["-i", "clock", "-t", "nothing"]].concat();
    mosquitto_sub(&clock).kill();
    watcher.wait_for("tick");
    watcher.succeed();
}

#[test]
fn mosquitto_will_with_a_delay() {
    let broker = OurBroker::start();
    let base = ["-p", &broker.port, "-V", "mqttv5"];
    let mut watcher = mosquitto_sub(&[&base[..], &["-t", "status", "-C", "2"]].concat());
    let delay = ["-D", "will", "will-delay-interval", "1000", "-x", "2000"];
    let will = ["--will-topic", "status", "--will-payload", "gone"];
    let patient = [&base[..], &will, &delay, &["-i", "patient", "-c"]].concat();
    mosquitto_sub(&[&patient[..], &["-t", "nothing"]].concat()).kill();
    // It comes back in time, so that there is nothing to say; then it says goodbye.
    Program::start(
        "mosquitto_sub",
        &[&patient[..], &["-t", "nothing", "-E"]].concat(),
    )
    .succeed();
    mosquitto_pub(&[&base[..], &["-t", "status", "-m", "nothing yet"]].concat());
    watcher.wait_for("nothing yet");
    let impatient = ["-D", "will", "will-delay-interval", "1", "-x", "2000"];
    let impatient = [&base[..], &will, &impatient, &["-t", "nothing"]].concat();
    mosquitto_sub(&impatient).kill();
    watcher.wait_for("gone");
    watcher.succeed();
}

#[test]
fn mosquitto_messages_that_expire_while_they_wait() {
    let broker = OurBroker::start();
    let base = ["-p", &broker.port, "-V", "mqttv5", "-q", "1"];
    let session = ["-i", "sleeper", "-c", "-x", "1000", "-t", "late"];
    let session = [&base[..], &session].concat();
    Program::start("mosquitto_sub", &[&session[..], &["-E"]].concat()).succeed();
    for (payload, secs) in [("short", "1"), ("long", "1000")] {
        let expiry = ["-D", "publish", "message-expiry-interval", secs];
        mosquitto_pub(&[&base[..], &expiry, &["-t", "late", "-m", payload]].concat());
    }
    let_pass(&broker.port, "2");
    let lines = Program::start("mosquitto_sub", &[&session[..], &["-C", "1"]].concat());
    assert_eq!(lines.succeed(), ["long"]);
}

#[test]
fn mosquitto_sessions_that_expire() {
    let broker = OurBroker::start();
    let base = ["-p", &broker.port, "-V", "mqttv5", "-q", "1"];
    for (name, secs) in [("short", "1"), ("long", "1000")] {
        let session = ["-i", name, "-c", "-x", secs, "-t", "news", "-E"];
        Program::start("mosquitto_sub", &[&base[..], &session].concat()).succeed();
    }
    mosquitto_pub(&[&base[..], &["-t", "news", "-m", "missed"]].concat());
    let_pass(&broker.port, "2");
    let again = ["-c", "-x", "1000", "-t", "news", "-F", "got %p"];
    let short = mosquitto_sub(&[&base[..], &again, &["-i", "short", "-C", "1"]].concat());
    mosquitto_pub(&[&base[..], &["-t", "news", "-m", "live"]].concat());
    let got = |lines: Vec<String>| {
        let lines = lines.into_iter().filter(|line| line.starts_with("got"));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(got(short.succeed()), ["got live"]);
    let long = [&base[..], &again, &["-i", "long", "-C", "2"]].concat();
    let long = Program::start("mosquitto_sub", &long);
    assert_eq!(got(long.succeed()), ["got missed", "got live"]);
}

#[test]
fn mosquitto_with_aliases_and_a_receive_maximum_of_1() {
    let broker = OurBroker::start();
    for qos in ["1", "2"] {
        let base = ["-p", &broker.port, "-V", "mqttv5", "-q", qos];
        let limits = ["-D", "connect", "receive-maximum", "1"];
        let filter = ["-t", "a/long/#", "-C", "30", "-F", "%t %p"];
        let mut subscriber = mosquitto_sub(&[&base[..], &limits, &filter].concat());
        let alias = ["-D", "publish", "topic-alias", "1"];
        let message = ["-t", "a/long/name", "-m", "x", "--repeat", "30"];
        mosquitto_pub(&[&base[..], &alias, &message].concat());
        for _ in 0..30 {
            subscriber.wait_for(" x");
        }
        subscriber.succeed();
    }
}

#[test]
fn mosquitto_taken_over_by_another() {
    let broker = OurBroker::start();
    for (version, _) in VERSIONS {
        let base = ["-p", &broker.port, "-V", version, "-i", "twin", "-t", "t"];
        let mut first = mosquitto_sub(&base);
        // It comes back for its own, and so does the other: whoever is last has it.
        let _second = mosquitto_sub(&base);
        first.wait_for(if version == "mqttv5" {
            "Received DISCONNECT (142)"
        } else {
            "sending CONNECT"
        });
    }
}
