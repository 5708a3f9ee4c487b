//! What `load` says of our broker.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use support::{OurBroker, Program};

/// Runs it against a broker of its own with these options; answers exit code and output.
fn load(broker: &[&str], options: &[&str]) -> (Option<i32>, String) {
    let broker = OurBroker::with(broker);
    let address = broker.address();
    let port = address.rsplit_once(':').unwrap().1;
    let base = ["-p", port, "-m", "300", "--patience", "1"];
    let program = env!("CARGO_BIN_EXE_load");
    let (code, lines) = Program::start(program, &[&base, options].concat()).finish();
    (code, lines.join("\n"))
}

#[test]
fn nothing_gets_lost() {
    let rows: [(&str, &[&str], &str); 6] = [
        ("QoS 0", &["-q", "0"], "delivered 300 of 300 "),
        (
            "QoS 1 in 3.1.1",
            &["-q", "1", "-V", "311", "--subscribers", "3"],
            "delivered 900 of 900 ",
        ),
        (
            "QoS 2",
            &["-q", "2", "--publishers", "2", "--subscribers", "2"],
            "delivered 1200 of 1200 ",
        ),
        (
            "a shared group",
            &["-q", "1", "--subscribers", "3", "--share", "workers"],
            "delivered 300 of 300 ",
        ),
        (
            "large ones, few at once",
            &["-q", "1", "--size", "20000", "--window", "2"],
            "delivered 300 of 300 ",
        ),
        (
            "at a pace",
            &["-q", "0", "--rate", "1000", "--topics", "1"],
            "delivered 300 of 300 ",
        ),
    ];
    for (row, options, delivered) in rows {
        let (code, output) = load(&[], options);
        assert_eq!(code, Some(0), "{row}: {output}");
        assert!(output.contains(delivered), "{row}: {output}");
        let others = "lost 0, repeated 0, overtaken 0\non the way: 50 % ";
        assert!(output.contains(others), "{row}: {output}");
    }
}

#[test]
fn a_broker_that_refuses_or_drops_is_told() {
    let rows: [(&str, &[&str], &[&str], &str); 4] = [
        (
            "a subscription",
            &["--deny-subscribe", "load/#"],
            &[],
            "load: load-1-subscriber-0: the subscription was refused",
        ),
        (
            "a client",
            &["--allow-anonymous", "false"],
            &[],
            "load: load-1-subscriber-0: connection refused: Not authorized",
        ),
        (
            "large messages",
            &["--message-size-limit", "100"],
            &["-q", "1", "--size", "101"],
            "load: publisher 0: ",
        ),
        (
            "large messages at QoS 0",
            &["--message-size-limit", "100"],
            &["--size", "101"],
            "lost 300, repeated 0, overtaken 0",
        ),
    ];
    for (row, broker, options, said) in rows {
        let (code, output) = load(broker, &[&["-i", "load-1"], options].concat());
        assert!(output.contains(said), "{row}: {output}");
        let is_fault = !said.starts_with("lost");
        assert_eq!(code, Some(i32::from(is_fault)), "{row}: {output}");
    }
}

#[test]
fn a_broker_that_goes_says_why() {
    let mut broker = OurBroker::start();
    let options = ["-p", &broker.port, "-q", "1", "-m", "1000000"];
    let load = Program::start(env!("CARGO_BIN_EXE_load"), &options);
    broker.program.wait_for("publish load/0");
    broker.program.interrupt();
    let (code, lines) = load.finish();
    let text = lines.join("\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Server shutting down (0x8B)"), "{text}");
}

#[test]
fn a_group_is_one_level() {
    for group in ["", "a/b", "a+", "#"] {
        let options = ["--share", group];
        let (code, lines) = Program::start(env!("CARGO_BIN_EXE_load"), &options).finish();
        assert_eq!(code, Some(2), "{group}: {lines:?}");
    }
}
