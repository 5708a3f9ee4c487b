//! Real peers: Debian's mosquitto and its clients, and PyPI's paho-mqtt, in both versions, at every
//! QoS. A missing peer fails the tests; nothing is skipped.

#![cfg(feature = "interop")]
#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::path::Path;

use support::{OurBroker, Program, free_port, publish, subscribe};

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
    program.wait_for("running");
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
