//! Logs that no recorder has written.

use mqtt_state::Timestamp;
use mqtt_state::client::{Client, Config};
use mqtt_state::record::{LogErrorKind, Recorder, Redaction, Replay, redact, replay};
use proptest::prelude::*;

use super::{log_of_a_connection, logs};

/// Runs what there is of it; says how it ends.
fn end_of(log: &[u8]) -> Option<LogErrorKind> {
    // To leave something out of it is as harmless.
    let what = Redaction {
        topics: true,
        names: true,
    };
    let _redacted = redact(log, what).is_ok();
    let mut replay = match Replay::new(log) {
        Ok(replay) => replay,
        Err(error) => return Some(error.kind),
    };
    loop {
        match replay.next_step() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error.kind),
        }
    }
}

#[test]
fn a_log_that_was_cut_comes_to_the_same_as_far_as_it_goes() {
    let log = log_of_a_connection();
    let start = log.iter().position(|byte| *byte == b'>').unwrap();
    for end in 0..log.len() {
        let cut = &log[..end];
        match replay(cut) {
            Ok(verdict) => {
                assert_eq!(verdict.difference, None, "{end}");
                assert_eq!(cut.last(), Some(&b'\n'), "{end}");
            }
            Err(error) if end < start => assert!(
                [
                    LogErrorKind::NotALog,
                    LogErrorKind::Start,
                    LogErrorKind::Unfinished
                ]
                .contains(&error.kind),
                "{end}: {error}"
            ),
            Err(error) => assert_eq!(error.kind, LogErrorKind::Unfinished, "{end}"),
        }
    }
}

#[test]
fn what_is_no_log_says_so() {
    let (log, _) = logs();
    let log = str::from_utf8(&log).unwrap();
    let (first, rest) = log.split_once('\n').unwrap();
    let (start, calls) = rest.split_once('\n').unwrap();
    let with = |call: &str| format!("{first}\n{start}\n> {call}\n< 0 ()\n");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (row, text, kind) in [
        ("nothing", String::new(), LogErrorKind::NotALog),
        (
            "something else",
            "hello\n".to_owned(),
            LogErrorKind::NotALog,
        ),
        (
            "another form",
            log.replacen(" 1\n", " 2\n", 1),
            LogErrorKind::OtherForm,
        ),
        ("no machine", format!("{first}\n"), LogErrorKind::Start),
        (
            "an unknown machine",
            format!("{first}\n{}\n", start.replacen("Broker", "Toaster", 1)),
            LogErrorKind::Start,
        ),
        (
            "an unknown setting",
            format!("{first}\n{}\n", start.replacen("seed", "sead", 1)),
            LogErrorKind::Start,
        ),
        (
            "a negative figure",
            format!(
                "{first}\n{}\n",
                start.replacen("\"seed\":", "\"seed\":-", 1)
            ),
            LogErrorKind::Start,
        ),
        (
            "a deep start",
            format!("{first}\n{deep}\n"),
            LogErrorKind::Start,
        ),
        (
            "an answer first",
            format!("{first}\n{start}\n< 0 ()\n"),
            LogErrorKind::Line,
        ),
        (
            "two calls",
            format!("{first}\n{start}\n> {{\"poll_event\":{{}}}}\n> {{\"poll_event\":{{}}}}\n"),
            LogErrorKind::Line,
        ),
        (
            "an unknown call",
            with("{\"explode\":{}}"),
            LogErrorKind::Call,
        ),
        (
            "one argument too many",
            with("{\"poll_event\":{\"now\":0}}"),
            LogErrorKind::Call,
        ),
        (
            "one too few",
            with("{\"handle_timeout\":{}}"),
            LogErrorKind::Call,
        ),
        ("a deep call", with(&deep), LogErrorKind::Call),
        (
            "a filter that is none",
            with("{\"subscribe_local\":{\"filter\":\"a/#/b\"}}"),
            LogErrorKind::Call,
        ),
        (
            "odd digits",
            with(
                "{\"handle_input\":{\"now\":0,\"connection\":{\"slot\":0,\"generation\":0},\"kept\":0,\"bytes\":\"1\"}}",
            ),
            LogErrorKind::Call,
        ),
        (
            "nothing was kept",
            with(
                "{\"handle_input\":{\"now\":0,\"connection\":{\"slot\":0,\"generation\":0},\"kept\":9,\"bytes\":\"\"}}",
            ),
            LogErrorKind::Call,
        ),
        (
            "no connection",
            with("{\"handle_input\":{\"now\":0,\"kept\":0,\"bytes\":\"\"}}"),
            LogErrorKind::Call,
        ),
        (
            "a call of another machine",
            with("{\"assume_session\":{}}"),
            LogErrorKind::Call,
        ),
        (
            "no text",
            format!("{first}\n{start}\n> \u{fffd}\n{calls}"),
            LogErrorKind::Call,
        ),
    ] {
        assert_eq!(end_of(text.as_bytes()), Some(kind), "{row}");
    }
}

/// What stands in the place of an argument is what it says it is, or the call is none.
#[test]
fn arguments_that_are_something_else_say_so() {
    let (broker, client) = logs();
    let beginning = |log: Vec<u8>| {
        let log = String::from_utf8(log).unwrap();
        let lines: Vec<_> = log.lines().take(2).collect();
        lines.join("\n")
    };
    let machines = [broker, client, log_of_a_connection()].map(beginning);
    let [_, client, connection] = &machines;
    // PINGREQ, and a CONNECT of 3.1.1.
    let (pingreq, old) = ("c000", "100d00044d51545404020000000163");
    let connect = |packet: &str| {
        format!(
            "{{\"connect\":{{\"now\":0,\"connect\":{{\"version\":5,\"packet\":\"{packet}\"}}}}}}"
        )
    };
    let disconnect =
        |packet: &str| format!("{{\"disconnect_with\":{{\"now\":0,\"disconnect\":\"{packet}\"}}}}");
    let reject = |packet: &str| {
        format!(
            "{{\"reject\":{{\"now\":0,\"receipt\":0,\"reason\":135,\"properties\":\"{packet}\"}}}}"
        )
    };
    let reject_with = |packet: &str| {
        format!("{{\"reject_with\":{{\"now\":0,\"reason\":135,\"properties\":\"{packet}\"}}}}")
    };
    let input = |call: &str| {
        let of = "{\"slot\":0,\"generation\":0}";
        format!("{{\"{call}\":{{\"now\":0,\"connection\":{of},\"kept\":0,\"bytes\":\"\"}}}}")
    };
    for (row, machine, call, expected) in [
        ("another packet", client, connect(pingreq), "no CONNECT"),
        ("of 3.1.1", client, connect(old), "no CONNECT"),
        ("nothing", client, connect(""), "no packet"),
        ("half", client, connect("10"), "no packet"),
        ("more than one", client, connect("c000c000"), "no packet"),
        ("no packet at all", client, connect("00"), "no packet"),
        (
            "no digits",
            client,
            connect("zz"),
            "these are no pairs of hexadecimal digits",
        ),
        (
            "a number",
            client,
            connect("QQ").replacen("\"QQ\"", "7", 1),
            "hexadecimal digits",
        ),
        (
            "no DISCONNECT",
            client,
            disconnect(pingreq),
            "no DISCONNECT",
        ),
        (
            "a reason that is none",
            client,
            disconnect("e00101"),
            "a packet that breaks a rule",
        ),
        ("no PUBACK", client, reject(pingreq), "no PUBACK"),
        ("no CONNACK", connection, reject_with(pingreq), "no CONNACK"),
        (
            "another connection",
            client,
            input("handle_input"),
            "a client has one connection",
        ),
        (
            "also shared",
            client,
            input("handle_input_shared"),
            "a client has one connection",
        ),
        (
            "also where it is",
            client,
            input("handle_input_with"),
            "a client has one connection",
        ),
        (
            "nothing is shown here",
            connection,
            input("handle_input_with"),
            "unknown variant",
        ),
        (
            "this is another one",
            connection,
            input("handle_input"),
            "this is one connection",
        ),
        (
            "this as well",
            connection,
            input("handle_input_shared"),
            "this is one connection",
        ),
    ] {
        let log = format!("{machine}\n> {call}\n< 0 ()\n");
        let mut replay = Replay::new(log.as_bytes()).unwrap();
        let error = replay.next_step().unwrap_err();
        assert_eq!(
            (error.kind, error.line),
            (LogErrorKind::Call, 3),
            "{row}: {error}"
        );
        assert!(error.text.contains(expected), "{row}: {error}");
        assert_eq!(replay.machine_name(), "nothing", "{row}");
    }
    for (machine, name) in machines.iter().zip(["Broker", "Client", "Connection"]) {
        let log = format!("{machine}\n");
        let replay = Replay::new(log.as_bytes()).unwrap();
        assert_eq!(replay.machine_name(), name);
        assert_eq!(replay.library(), env!("CARGO_PKG_VERSION"));
        let shown = format!("{replay:?}");
        assert!(shown.contains(name) && shown.contains("line: 2"), "{shown}");
    }
}

#[test]
fn errors_of_a_log_in_words() {
    let (log, _) = logs();
    let log = str::from_utf8(&log).unwrap();
    let (first, rest) = log.split_once('\n').unwrap();
    let (start, _) = rest.split_once('\n').unwrap();
    let broken = start.replacen("Broker", "Toaster", 1);
    let session = "{\"library\":\"0\",\"machine\":{\"RestoredClient\":{\"now\":0,\"elapsed\":{\"secs\":0,\"nanos\":0},\"config\":{\"waiting_len_max\":0},\"snapshot\":SNAPSHOT}}}";
    let now = Timestamp::ZERO;
    let mut client = Client::new(Config::default());
    client
        .publish(
            now,
            mqtt_codec::Message::new("t", "m")
                .unwrap()
                .with_qos(mqtt_codec::QoS::AtLeastOnce),
        )
        .unwrap();
    let snapshot = serde_json::to_string(&client.snapshot(now)).unwrap();
    let session = session.replace("SNAPSHOT", &snapshot);
    for (text, expected) in [
        (String::new(), "line 0: this is no log of a machine"),
        ("hello\n".to_owned(), "line 1: this is no log of a machine"),
        (
            log.replacen(" 1\n", " 2\n", 1),
            "line 1: the log has another form: 2",
        ),
        (
            format!("{first}\n{broken}\n"),
            "line 2: the machine is not to be read: unknown variant `Toaster`",
        ),
        (
            format!("{first}\n{session}\n"),
            "line 2: the session is none: ",
        ),
        (
            format!("{first}\n{start}\nx\n"),
            "line 3: this line does not belong here: a call has to stand here",
        ),
        (
            format!("{first}\n{start}\n> {{}}\n"),
            "line 3: the call is not to be read: ",
        ),
        (
            format!("{first}\n{start}\n> {{"),
            "line 3: the line is not complete",
        ),
        (
            format!("{first}\n{start}\n! enough\n"),
            "line 3: the log ends early: enough",
        ),
        (
            format!("{first}\n{start}\n> {{\"poll_event\":{{}}}}\n! enough\n"),
            "line 4: the log ends early: enough",
        ),
    ] {
        let error = replay(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error} for {expected}");
    }
}

/// A packet larger than any can be cannot be written down: the log ends, and the machine refuses it as well.
#[test]
fn a_call_that_cannot_be_written_ends_the_log() {
    let now = Timestamp::ZERO;
    let mut client = Recorder::<Client>::new(Config::default());
    let long = "x".repeat(65_535);
    let text = mqtt_codec::Str::new(&long).unwrap();
    let pair = mqtt_codec::UserProperty {
        name: text,
        value: text,
    };
    let pairs = vec![pair; 2100];
    let mut connect = crate::wire::connect(crate::wire::V5_0, "c");
    connect.properties.user_properties = mqtt_codec::UserProperties::new(&pairs);
    let refused = client.connect(now, &connect);
    assert!(refused.is_err(), "{refused:?}");
    assert!(client.has_ended());
    let error = replay(&client.take_log()).unwrap_err();
    assert_eq!(error.kind, LogErrorKind::Ended);
    assert_eq!(error.text, "the log ends here: a call cannot be written");
    // It goes on without.
    assert_eq!(
        client.connect(now, &crate::wire::connect(crate::wire::V5_0, "c")),
        Ok(())
    );
    assert_eq!(client.take_log(), b"");
}

/// After a call that is none the machine is gone, and stays so.
#[test]
fn nothing_comes_after_an_error() {
    let log = String::from_utf8(log_of_a_connection()).unwrap();
    let log = log.replacen("> {", "> {\"x\":1,", 1);
    let mut replay = Replay::new(log.as_bytes()).unwrap();
    assert_eq!(replay.next_step().unwrap_err().kind, LogErrorKind::Call);
    for _ in 0..3 {
        assert!(replay.next_step().is_err());
    }
}

/// Numbers that stand where something is counted or named.
const NUMBERS: [&str; 7] = [
    "0",
    "1",
    "255",
    "65535",
    "4294967295",
    "18446744073709551615",
    "-1",
];

/// Puts another number in the place of one.
fn renumber(log: &str, at: usize, number: &str) -> String {
    let bytes = log.as_bytes();
    let starts: Vec<usize> = (1..bytes.len())
        .filter(|place| bytes[place - 1] == b':' && bytes[*place].is_ascii_digit())
        .collect();
    let start = starts[at % starts.len()];
    let len = bytes[start..]
        .iter()
        .take_while(|it| it.is_ascii_digit())
        .count();
    format!("{}{number}{}", &log[..start], &log[start + len..])
}

fn any_log() -> impl Strategy<Value = Vec<u8>> {
    let (broker, client) = logs();
    prop_oneof![Just(broker), Just(client), Just(log_of_a_connection())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn other_bytes_are_no_harm(
        mut log in any_log(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for (at, byte) in changes {
            let at = at.index(log.len());
            log[at] = byte;
        }
        let _some_end = end_of(&log);
    }

    #[test]
    fn other_numbers_are_no_harm(
        log in any_log(),
        changes in prop::collection::vec((any::<usize>(), prop::sample::select(&NUMBERS[..])), 1..6),
    ) {
        let mut log = String::from_utf8(log).unwrap();
        for (at, number) in changes {
            log = renumber(&log, at, number);
        }
        let _some_end = end_of(log.as_bytes());
    }

    /// Whole calls left out, doubled, or elsewhere.
    #[test]
    fn other_orders_are_no_harm(
        log in any_log(),
        changes in prop::collection::vec((any::<usize>(), any::<usize>()), 1..20),
    ) {
        let log = String::from_utf8(log).unwrap();
        let mut lines: Vec<&str> = log.lines().collect();
        for (from, to) in changes {
            // A call and its answer.
            let calls = lines.len() / 2 - 1;
            let (from, to) = (2 + from % calls * 2, 2 + to % calls * 2);
            let pair = [lines[from], lines[from + 1]];
            lines.splice(to..to, pair);
            lines.drain(to.min(from)..to.min(from) + 2);
        }
        let log = lines.join("\n") + "\n";
        // What was kept of an input may be missing.
        let end = end_of(log.as_bytes());
        prop_assert!(matches!(end, None | Some(LogErrorKind::Call)), "{end:?}");
    }

    #[test]
    fn anything_is_no_harm(log in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(end_of(&log).is_some());
    }
}
