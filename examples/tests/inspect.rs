//! `inspect` as a person runs it: packets to JSON and back, captures in words, filters.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot start its program fails"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Exit code, standard output, standard error.
type Run = (Option<i32>, String, String);

fn inspect(arguments: &[&str], input: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_inspect"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who does not read its input may be gone already.
    let _written = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The one line of JSON of a good run.
fn decoded(version: &str, hex: &str) -> Value {
    let (code, out, err) = inspect(&["decode", "--version", version, hex], b"");
    assert_eq!((code, err.as_str()), (Some(0), ""), "{hex}: {out}");
    serde_json::from_str(&out).unwrap()
}

// Each packet in both versions; every field is there, or it could not be written again.
const PACKETS: &[(&str, &str, &str)] = &[
    (
        "3.1.1",
        "CONNECT",
        "10 0d 00 04 4d 51 54 54 04 02 00 3c 00 01 61",
    ),
    (
        "3.1.1",
        "CONNECT",
        "10 19 00 04 4d 51 54 54 04 ec 00 0a 00 01 61 00 01 77 00 01 78 00 01 75 00 01 70",
    ),
    ("3.1.1", "CONNACK", "20 02 01 00"),
    ("3.1.1", "PUBLISH", "30 07 00 03 61 2f 62 68 69"),
    ("3.1.1", "PUBLISH", "3b 07 00 03 61 2f 62 00 0a"),
    ("3.1.1", "PUBREC", "50 02 00 0a"),
    ("3.1.1", "PUBREL", "62 02 00 0a"),
    (
        "3.1.1",
        "SUBSCRIBE",
        "82 0e 00 0a 00 03 61 2f 62 01 00 03 63 2f 64 02",
    ),
    ("3.1.1", "SUBACK", "90 05 00 0a 00 02 80"),
    (
        "3.1.1",
        "UNSUBSCRIBE",
        "a2 0c 00 0a 00 03 61 2f 62 00 03 63 2f 64",
    ),
    ("3.1.1", "UNSUBACK", "b0 02 00 0a"),
    ("3.1.1", "DISCONNECT", "e0 00"),
    (
        "5",
        "CONNECT",
        "10 0d 00 04 4d 51 54 54 05 02 00 3c 00 00 00",
    ),
    (
        "5",
        "CONNECT",
        "10 25 00 04 4d 51 54 54 05 4c 00 0a 08 11 00 00 00 0a 21 00 14 00 01 61 05 18 00 00 00 05 00 01 77 00 01 78 00 01 70",
    ),
    ("5", "CONNACK", "20 0b 00 00 08 12 00 02 63 31 22 00 0a"),
    ("5", "CONNACK", "20 03 00 84 00"),
    ("5", "PUBLISH", "32 0a 00 03 61 2f 62 00 0a 00 68 69"),
    ("5", "PUBLISH", "30 07 00 03 61 2f 62 00 ff"),
    ("5", "PUBLISH", "30 08 00 00 03 23 00 03 68 69"),
    (
        "5",
        "PUBLISH",
        "30 10 00 01 74 0c 0b 01 0b ac 02 26 00 01 6b 00 01 76",
    ),
    ("5", "PUBACK", "40 02 00 0a"),
    ("5", "PUBACK", "40 03 00 0a 10"),
    ("5", "PUBREC", "50 09 00 0a 97 05 1f 00 02 6e 6f"),
    ("5", "PUBREL", "62 04 00 0a 92 00"),
    ("5", "PUBCOMP", "70 02 00 0a"),
    ("5", "SUBSCRIBE", "82 0b 00 0a 02 0b 01 00 03 61 2f 23 1e"),
    ("5", "SUBACK", "90 05 00 0a 00 02 87"),
    ("5", "UNSUBSCRIBE", "a2 08 00 0b 00 00 03 61 2f 23"),
    ("5", "UNSUBACK", "b0 04 00 0b 00 00"),
    ("5", "PINGREQ", "c0 00"),
    ("5", "PINGRESP", "d0 00"),
    ("5", "DISCONNECT", "e0 01 04"),
    ("5", "DISCONNECT", "e0 07 00 05 11 00 00 00 00"),
    ("5", "AUTH", "f0 0b 18 09 15 00 01 4d 16 00 02 01 02"),
];

#[test]
fn every_packet_becomes_json_and_the_same_bytes_again() {
    for (version, packet, hex) in PACKETS {
        let json = decoded(version, hex);
        assert_eq!(json["packet"], *packet, "{hex}");
        let (code, out, err) = inspect(
            &["encode", "--version", version, "-"],
            json.to_string().as_bytes(),
        );
        assert_eq!(
            (code, out.trim_end(), err.as_str()),
            (Some(0), *hex, ""),
            "{version} {json}"
        );
    }
}

/// Nobody has to say the version again: what differs between the two shows it.
#[test]
fn a_packet_that_is_written_again_has_the_version_that_it_came_in() {
    for (version, packet, hex) in PACKETS {
        let json = decoded(version, hex).to_string();
        let (_, out, _) = inspect(&["encode", "-"], json.as_bytes());
        assert_eq!(out.trim_end(), *hex, "{packet} of {version}: {json}");
    }
}

#[test]
fn fields_have_the_names_of_the_standard() {
    assert_eq!(
        decoded(
            "5",
            "33 11 00 03 61 2f 62 00 0a 07 26 00 01 6b 00 01 76 00 ff"
        ),
        json!({
            "packet": "PUBLISH",
            "dup": false, "qos": 1, "retain": true,
            "topic_name": "a/b",
            "packet_identifier": 10,
            "properties": {"user_property": [["k", "v"]]},
            "payload": {"hex": "00ff"},
        }),
        "what is no text is shown as bytes"
    );
}

#[test]
fn packets_follow_each_other_and_the_connect_says_the_version() {
    let stream = "10 0d 00 04 4d 51 54 54 05 02 00 3c 00 00 00 30 07 00 03 61 2f 62 00 68";
    let (code, out, _) = inspect(&["decode", "--version", "auto", "-"], stream.as_bytes());
    let packets: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(code, Some(0));
    assert_eq!(packets[0]["protocol_level"], 5);
    assert_eq!(packets[1]["payload"], "h", "read as 5.0: {out}");
    // Without a CONNECT it is 3.1.1, where this is a payload of two bytes.
    let (_, out, _) = inspect(&["decode", "30 07 00 03 61 2f 62 68 69"], b"");
    assert!(out.contains(r#""payload":"hi""#), "{out}");
}

type Bad = (
    &'static str,
    &'static str,
    &'static str,
    u64,
    u64,
    Option<&'static str>,
);

// version, bytes, kind, offset, reason code, statement
const BAD: &[Bad] = &[
    (
        "3.1.1",
        "36 05 00 01 61 00 0a",
        "QoS3",
        0,
        0x81,
        Some("MQTT-3.3.1-4"),
    ),
    ("5", "60 02 00 0a", "Flags", 0, 0x81, Some("MQTT-3.6.1-1")),
    (
        "5",
        "82 03 00 0a 00",
        "NoFilters",
        5,
        0x82,
        Some("MQTT-3.8.3-2"),
    ),
    ("5", "30 ff ff ff ff 01", "VarIntTooLong", 1, 0x81, None),
    ("5", "30 04 00 02 61", "Incomplete", 5, 0x81, None),
];

#[test]
fn a_bad_packet_is_named_with_its_place_and_its_statement() {
    for (version, hex, kind, offset, reason, statement) in BAD {
        let (code, out, _) = inspect(&["decode", "--version", version, hex], b"");
        let error = &serde_json::from_str::<Value>(&out).unwrap()["error"];
        assert_eq!(code, Some(1), "{hex}");
        assert_eq!(error["kind"], *kind, "{hex}: {out}");
        assert_eq!(error["offset"], *offset, "{hex}: {out}");
        assert_eq!(error["reason_code"], *reason, "{hex}: {out}");
        assert_eq!(error["statement"].as_str(), *statement, "{hex}: {out}");
    }
}

#[test]
fn the_good_packets_before_a_bad_one_are_printed() {
    let (code, out, _) = inspect(&["decode", "--version", "5", "c0 00 d0 00 00 00"], b"");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!((code, lines.len()), (Some(1), 3), "{out}");
    assert!(lines[2].starts_with(r#"{"error":"#), "{out}");
}

#[test]
fn what_is_no_use_of_it_is_exit_2() {
    let rows: &[(&str, &[&str])] = &[
        ("no command", &[]),
        ("no version", &["decode", "--version", "4", "c000"]),
        ("half a byte", &["decode", "c00"]),
        ("no digits", &["decode", "zz"]),
        ("nothing to decode", &["decode"]),
        ("no JSON", &["encode", "{"]),
        ("no packet", &["encode", r#"{"packet": "PONG"}"#]),
        ("a field is missing", &["encode", r#"{"packet": "PUBACK"}"#]),
        ("a file that is not there", &["dump", "nowhere/at/all"]),
    ];
    for (row, arguments) in rows {
        let (code, out, err) = inspect(arguments, b"");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{row}");
        assert!(!err.is_empty(), "{row}");
    }
}

#[test]
fn what_nobody_would_accept_is_not_written() {
    let publish = r#"{"packet": "PUBLISH", "topic_name": "a/+", "payload": ""}"#;
    let (code, out, _) = inspect(&["encode", publish], b"");
    assert_eq!(code, Some(1));
    assert!(out.contains(r#""statement":"MQTT-3.3.2-2""#), "{out}");
}

#[test]
fn a_capture_is_explained_byte_by_byte() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("capture.mqtt");
    std::fs::write(
        &path,
        b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00\x30\x08\x00\x00\x03\x23\x00\x03hi",
    )
    .unwrap();
    let (code, out, err) = inspect(&["dump", path.to_str().unwrap()], b"");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for needed in [
        "CONNECT",
        "keep alive",
        "60",
        "PUBLISH",
        "23 00 03",
        "Topic Alias",
        "68 69",
        "hi",
    ] {
        assert!(out.contains(needed), "{needed:?} is not in:\n{out}");
    }
}

#[test]
fn filters_match_or_not_or_are_none() {
    let rows = [
        ("a/+/c", "a/b/c", Some(0), "match\n"),
        ("a/#", "a", Some(0), "match\n"),
        ("a/+", "a/b/c", Some(0), "no match\n"),
        ("#", "$SYS/uptime", Some(0), "no match\n"),
        ("$share/g/a/#", "a/b", Some(0), "match\n"),
        ("a/#/c", "a/b/c", Some(1), ""),
        ("a/b", "a/+", Some(1), ""),
        ("", "a", Some(1), ""),
    ];
    for (filter, topic, code, out) in rows {
        let run = inspect(&["match", filter, topic], b"");
        assert_eq!((run.0, run.1.as_str()), (code, out), "{filter:?} {topic:?}");
        assert_eq!(run.2.is_empty(), code == Some(0), "{filter:?}: {}", run.2);
    }
}
