//! What messages carry: properties as options and as JSON, and payloads of any size and kind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use serde_json::{Value, json};
use support::{OurBroker, Program, file, folder, publish, subscribe};

/// What `subscribe --json` printed first.
fn first_json(lines: &[String]) -> Value {
    let line = lines.iter().find(|line| line.starts_with('{')).unwrap();
    serde_json::from_str(line).unwrap()
}

#[test]
fn properties_arrive_as_they_were_given() {
    let broker = OurBroker::start();
    let there = ["-p", &broker.port, "-t", "a/b", "-q", "1"];
    let rows: [(&str, &[&str], Value); 7] = [
        ("none", &[], json!({})),
        (
            "text",
            &["--payload-format-indicator"],
            json!({"payload_format_indicator": 1}),
        ),
        (
            "content type",
            &["--content-type", "text/plain"],
            json!({"content_type": "text/plain"}),
        ),
        (
            "answer",
            &["--response-topic", "c/d", "--correlation-data", "7 = 7"],
            json!({"response_topic": "c/d", "correlation_data": "7 = 7"}),
        ),
        (
            "user property",
            &["--user-property", "unit=celsius"],
            json!({"user_property": [["unit", "celsius"]]}),
        ),
        (
            "several user properties, in their order",
            &[
                "--user-property",
                "b=1=2",
                "--user-property",
                "a=",
                "--user-property",
                "b=\u{e9}",
            ],
            json!({"user_property": [["b", "1=2"], ["a", ""], ["b", "\u{e9}"]]}),
        ),
        (
            "empty ones",
            &["--content-type", "", "--correlation-data", ""],
            json!({"correlation_data": "", "content_type": ""}),
        ),
    ];
    for (name, options, properties) in rows {
        let subscriber = subscribe(&[&there[..], &["--json", "-C", "1"]].concat());
        publish(&[&there[..], &["-m", "hi"], options].concat()).succeed();
        let expected = json!({
            "qos": 1, "retain": false, "topic_name": "a/b", "properties": properties, "payload": "hi"
        });
        assert_eq!(first_json(&subscriber.succeed()), expected, "{name}");
    }
}

#[test]
fn an_expiry_counts_down() {
    let broker = OurBroker::start();
    let there = ["-p", &broker.port, "-t", "a", "-q", "2", "-r"];
    let expiry = ["--message-expiry-interval", "100000", "-m", "x"];
    publish(&[&there[..], &expiry].concat()).succeed();
    let there = ["-p", &broker.port, "-t", "a", "--json", "-C", "1"];
    let found = first_json(&subscribe(&there).succeed());
    assert_eq!(found["retain"], true, "{found}");
    let left = found["properties"]["message_expiry_interval"].as_u64();
    assert!((90_000..=100_000).contains(&left.unwrap()), "{found}");
}

#[test]
fn each_line_has_the_properties() {
    let broker = OurBroker::start();
    let there = ["-p", &broker.port, "-t", "a"];
    let subscriber = subscribe(&[&there[..], &["--json", "-C", "3"]].concat());
    let mut publisher = publish(&[&there[..], &["-l", "--user-property", "k=v"]].concat());
    for line in ["one", "two", "three"] {
        publisher.type_line(line);
    }
    publisher.succeed();
    let lines = subscriber.succeed();
    let with = lines.iter().filter(|line| line.contains(r#"[["k","v"]]"#));
    assert_eq!(with.count(), 3, "{lines:?}");
}

#[test]
fn properties_that_no_message_can_have() {
    let broker = OurBroker::start();
    let there = ["-p", &broker.port, "-t", "a", "-m", "x"];
    let long = "x".repeat(65_536);
    let rows: [(&str, &[&str], i32, &str); 7] = [
        (
            "no number",
            &["--message-expiry-interval", "soon"],
            2,
            "soon",
        ),
        (
            "too large",
            &["--message-expiry-interval", "4294967296"],
            2,
            "4294967296",
        ),
        (
            "a wildcard",
            &["--response-topic", "a/+"],
            2,
            "no wildcards",
        ),
        ("no pair", &["--user-property", "unit"], 2, "NAME=VALUE"),
        ("too long", &["--content-type", &long], 1, "content type"),
        (
            "too long as data",
            &["--correlation-data", &long],
            1,
            "correlation data",
        ),
        (
            "3.1.1",
            &["-V", "311", "--content-type", "a"],
            1,
            "3.1.1 has no properties",
        ),
    ];
    for (name, options, expected, text) in rows {
        let (code, lines) = publish(&[&there[..], options].concat()).finish();
        assert_eq!(code, Some(expected), "{name}: {lines:?}");
        assert!(lines.join("\n").contains(text), "{name}: {lines:?}");
    }
}

/// What a broker takes, its subscribers get, in either version.
#[test]
fn a_file_of_ten_megabytes_arrives() {
    let broker = OurBroker::with(&["--max-packet-size", "20000000"]);
    let folder = folder("ten-megabytes");
    let text: String = (0..1_500_000)
        .map(|number| format!("{number:07}"))
        .collect();
    let large = file(&folder, "large", &text);
    for (version, qos) in [("5", "0"), ("5", "2"), ("311", "1")] {
        let there = ["-p", &broker.port, "-t", "a", "-V", version, "-q", qos];
        let subscriber = subscribe(&[&there[..], &["-C", "1"]].concat());
        publish(&[&there[..], &["-f", &large]].concat()).succeed();
        let is_there = subscriber.succeed().contains(&text);
        assert!(is_there, "{version}, QoS {qos}");
    }
}

/// As bytes, or in JSON, where they are no text.
#[test]
fn bytes_that_are_no_text() {
    let broker = OurBroker::start();
    let folder = folder("bytes");
    let (given, got) = (folder.join("given"), folder.join("got"));
    let bytes: Vec<u8> = (0..=255).collect();
    std::fs::write(&given, &bytes).unwrap();
    let there = [
        "-p",
        &broker.port,
        "-t",
        "a",
        "-r",
        "-f",
        given.to_str().unwrap(),
    ];
    publish(&there).succeed();

    let command = format!(
        "exec {} -p {} -t a -N -C 1 > {}",
        env!("CARGO_BIN_EXE_subscribe"),
        broker.port,
        got.display()
    );
    Program::start("sh", &["-c", &command]).succeed();
    assert_eq!(std::fs::read(&got).unwrap(), bytes);

    let there = ["-p", &broker.port, "-t", "a", "--json", "-C", "1"];
    let found = first_json(&subscribe(&there).succeed());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found["payload"]["hex"], hex);
}
