//! A log without what nobody else is to know, that comes to the same.

mod calls;
mod names;
mod packet;
mod streams;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::Input;
use super::form::Hex;
use super::replay::{Lines, LogError, LogErrorKind, Replay};
use names::Names;
use streams::Streams;

/// What [`redact`] leaves out beside payloads, passwords and what belongs to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Redaction {
    /// Topic names and filters: each level becomes another one, always the same, as long as it was. What
    /// is a wildcard, begins the topic with a `$`, or is empty stays. Off.
    pub topics: bool,
    /// Client identifiers, user names, identities and addresses: each becomes another one, always the
    /// same; identifiers that the broker has assigned stay. Reason strings, response information and server
    /// references are overwritten. Off.
    pub names: bool,
}

/// A log from which something was left out, from [`redact`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redacted {
    /// The log, with the answers that it comes to now.
    pub log: Vec<u8>,
    /// Its calls.
    pub calls: usize,
    /// Packets that break a rule, or were never complete at the end of a connection's bytes: of these only
    /// the fixed header is left, and they may break another rule now.
    pub unread_packets: usize,
    /// The line, counted from 1, of the first call whose answer is in other words than it was, apart from the
    /// texts in it: from there on the log may show something else than the first one did.
    pub difference: Option<usize>,
}

/// Leaves out of a log what nobody else is to know, so that it can be given away: payloads, correlation
/// data, content types, user properties, passwords and authentication data are overwritten with as many
/// bytes `x`, in the packets that came in as well, and so are those of wills, stored sessions and messages
/// of joined brokers. More goes as `what` says.
///
/// What stays: times, the lengths of everything, packets' types, flags, identifiers, limits and reason
/// codes, names of authentication methods, and the configuration. Whoever knows what a text may have been
/// can still tell by its length; names that are equal stay equal.
///
/// The calls are made again, and the answers are those of this version of the library, so this belongs to
/// the version that wrote the log. A call that never came back is not made, and stays the last one.
///
/// ```
/// use mqtt_state::broker::{Broker, Config};
/// use mqtt_state::record::{self, Recorder, Redaction};
/// use mqtt_state::Timestamp;
///
/// let mut broker = Recorder::<Broker>::new(Config::default());
/// broker.publish(Timestamp::ZERO, mqtt_codec::Message::new("house/door", "1234")?.with_retain(true));
/// let log = broker.take_log();
///
/// let redacted = record::redact(&log, Redaction { topics: true, ..Redaction::default() })?;
/// assert_eq!(redacted.difference, None);
/// assert_eq!(record::replay(&redacted.log)?.difference, None);
/// let text = String::from_utf8(redacted.log)?;
/// assert!(text.contains("\"topic\":\"aaaaa/aaaa\"") && !text.contains("house"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`LogError`], as from [`replay`](super::replay()); and where there is a text of which nobody knows what it
/// says. A last line that is not complete is left out.
pub fn redact(log: &[u8], what: Redaction) -> Result<Redacted, LogError> {
    let mut names = Names::new(what);
    // A packet may end in a later call than it begins in, so these come first.
    let streams = inputs(log, &mut names)?;
    let unread_packets = streams.unread;
    let mut inputs = streams.into_calls();

    let mut lines = Lines::new(log);
    let mark = lines.next()?.unwrap_or_default();
    let start = lines.next()?.unwrap_or_default();
    let mut start = json(&lines, LogErrorKind::Start, start)?;
    if let Some(machine) = start.get_mut("machine") {
        calls::redact(machine, &mut names)
            .map_err(|text| lines.error(LogErrorKind::Start, text))?;
    }
    if let Some(library) = start.get_mut("library") {
        *library = env!("CARGO_PKG_VERSION").into();
    }
    let head = alloc::format!("{mark}\n{start}\n");
    let mut replay = Replay::new(head.as_bytes())?;
    let mut redacted = head.clone();
    let (mut calls, mut difference) = (0_usize, None);
    while let Some(line) = next(&mut lines)? {
        if line.starts_with("! ") {
            push(&mut redacted, "", line);
            break;
        }
        let number = lines.number;
        let mut call = call_in(&lines, line)?;
        match input_in(&mut call) {
            Some(bytes) => *bytes = Hex(inputs.next().unwrap_or_default()).digits().into(),
            None => calls::redact(&mut call, &mut names)
                .map_err(|text| lines.error(LogErrorKind::Call, text))?,
        }
        let call = call.to_string();
        push(&mut redacted, "> ", &call);
        calls = calls.saturating_add(1);
        // Whatever the program did not come back from, it may do again.
        let Some(recorded) = next(&mut lines)? else {
            break;
        };
        let found = replay.perform(&call).map_err(|error| LogError {
            line: number,
            ..error
        })?;
        push(&mut redacted, "< ", &found);
        if recorded.starts_with("! ") {
            push(&mut redacted, "", recorded);
            break;
        }
        let Some(recorded) = recorded.strip_prefix("< ") else {
            return Err(lines.error(LogErrorKind::Line, "an answer has to stand here"));
        };
        if difference.is_none() && !is_same(recorded, &found) {
            difference = Some(number);
        }
    }
    Ok(Redacted {
        log: redacted.into_bytes(),
        calls,
        unread_packets,
        difference,
    })
}

/// What came in, in all calls.
fn inputs(log: &[u8], names: &mut Names) -> Result<Streams, LogError> {
    let mut streams = Streams::default();
    let mut lines = Lines::new(log);
    let (_mark, _start) = (lines.next()?, lines.next()?);
    while let Some(line) = next(&mut lines)? {
        if line.starts_with("> {\"connect\":") {
            let call = call_in(&lines, line)?;
            let version = call.pointer("/connect/connect/version").cloned();
            if let Some(version) = version.and_then(|it| serde_json::from_value(it).ok()) {
                streams.begin(version);
            }
        }
        if line.starts_with("> {\"handle_input") {
            let call = serde_json::from_value(call_in(&lines, line)?);
            let call: BTreeMap<String, Input> =
                call.map_err(|error| lines.error(LogErrorKind::Call, error))?;
            for input in call.into_values() {
                streams
                    .offer(input, names)
                    .map_err(|unfit| lines.error(LogErrorKind::Call, unfit))?;
            }
        }
    }
    Ok(streams)
}

/// The next line that is complete.
fn next<'l>(lines: &mut Lines<'l>) -> Result<Option<&'l str>, LogError> {
    match lines.next() {
        Err(error) if error.kind == LogErrorKind::Unfinished => Ok(None),
        line => line,
    }
}

fn json(lines: &Lines<'_>, kind: LogErrorKind, text: &str) -> Result<Value, LogError> {
    serde_json::from_str(text).map_err(|error| lines.error(kind, error))
}

fn call_in(lines: &Lines<'_>, line: &str) -> Result<Value, LogError> {
    let call = line.strip_prefix("> ");
    let call = call.ok_or_else(|| lines.error(LogErrorKind::Line, "a call has to stand here"))?;
    json(lines, LogErrorKind::Call, call)
}

/// The bytes that a call offers, if it does.
fn input_in(call: &mut Value) -> Option<&mut Value> {
    let (_, input) =
        { call.as_object_mut()?.iter_mut() }.find(|(name, _)| name.starts_with("handle_input"))?;
    input.get_mut("bytes")
}

fn push(log: &mut String, mark: &str, line: &str) {
    log.push_str(mark);
    log.push_str(line);
    log.push('\n');
}

/// Whether two answers are in the same words, but for texts, which may have become others. The digests are of
/// everything.
fn is_same(recorded: &str, found: &str) -> bool {
    // Where one was cut comes first: that may be in the middle of a text.
    let words = |answer: &str| {
        let words = answer.split_once(' ').unwrap_or_default().1;
        let cut = words.strip_suffix(" ...");
        (textless(cut.unwrap_or(words)), cut.is_some())
    };
    match (words(recorded), words(found)) {
        // Another text may be longer or shorter as it is written here, so they are cut elsewhere, or one alone is.
        ((one, true), (other, true)) => one.starts_with(&other) || other.starts_with(&one),
        ((cut, true), (whole, false)) | ((whole, false), (cut, true)) => whole.starts_with(&cut),
        ((one, false), (other, false)) => one == other,
    }
}

/// These words without texts, which stand in quotation marks, and without addresses.
fn textless(words: &str) -> String {
    let mut rest = words;
    let mut left = String::new();
    while let Some(first) = rest.chars().next() {
        let mut behind = rest.get(first.len_utf8()..).unwrap_or_default();
        left.push(first);
        if first == '"' {
            let mut is_escaped = false;
            let end = behind.find(|it| {
                let ends = it == '"' && !is_escaped;
                is_escaped = it == '\\' && !is_escaped;
                ends
            });
            behind = end.and_then(|it| behind.get(it..)).unwrap_or_default();
            behind = behind.strip_prefix('"').unwrap_or(behind);
        }
        if left.ends_with("address: Some(") {
            let end = behind.find(')').unwrap_or(behind.len());
            behind = behind.get(end..).unwrap_or_default();
        }
        rest = behind;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_same_but_for_texts_and_where_they_are_cut() {
        let rows = [
            ("equal", r#"0 Ok("a")"#, r#"1 Ok("a")"#, true),
            ("another text", r#"0 Ok("a", 1)"#, r#"0 Ok("xyz", 1)"#, true),
            (
                "with a quotation mark",
                r#"0 Ok("\"a", 1)"#,
                r#"0 Ok("xx", 1)"#,
                true,
            ),
            ("another word", r#"0 Ok("a", 1)"#, r#"0 Ok("a", 2)"#, false),
            ("one more", r#"0 Ok("a")"#, r#"0 Ok("a", 1)"#, false),
            (
                "an address",
                "0 address: Some(1.2.3.4:5)",
                "0 address: Some(x)",
                true,
            ),
            ("cut in one text", r#"0 ["\u{1 ..."#, r#"0 ["xx ..."#, true),
            (
                "cut in two texts",
                r#"0 ["\u{1 ..."#,
                r#"0 ["x", "x ..."#,
                true,
            ),
            (
                "cut outside",
                r#"0 ["a", Na ..."#,
                r#"0 ["\u{1}\u ..."#,
                true,
            ),
            (
                "cut, and others before",
                r#"0 [1, "a ..."#,
                r#"0 [2, "xx ..."#,
                false,
            ),
            ("one is cut", r#"0 ["\u{1}\u ..."#, r#"0 ["xx", 1]"#, true),
            (
                "the other is cut",
                r#"0 ["xx", 1]"#,
                r#"0 ["x\n\n ..."#,
                true,
            ),
            (
                "one is cut behind the other",
                r#"0 ["a", 1, ..."#,
                r#"0 ["a", 1]"#,
                false,
            ),
        ];
        for (row, recorded, found, expected) in rows {
            assert_eq!(is_same(recorded, found), expected, "{row}");
        }
    }
}
