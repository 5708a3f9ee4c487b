//! Logs that no recorder has written.

use mqtt_state::record::{LogErrorKind, Replay, replay};
use proptest::prelude::*;

use super::{log_of_a_connection, logs};

/// Runs what there is of it; says how it ends.
fn end_of(log: &[u8]) -> Option<LogErrorKind> {
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
