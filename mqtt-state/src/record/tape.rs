//! Where calls and their answers are written.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::mem;

use serde::Serialize;

use super::form::{Hex, Unfit};
use super::outcome::{Outcome, Sink};
use super::{Input, LOG_BYTES_MAX, Machine};
use crate::broker::ConnectionId;
use crate::{Timeout, Timestamp};

/// The first line of every log, but for the number of its form.
pub(super) const MARK: &str = "mqtt-state log ";

/// The form that is written here, and the only one that is read. It rises with each change that makes an
/// old log mean something else.
pub(super) const FORM: u16 = 1;

/// The second line: where everything begins.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start<M> {
    /// The version of this library.
    pub(super) library: String,
    pub(super) machine: M,
}

pub(super) struct Tape {
    log: Vec<u8>,
    bytes_max: usize,
    has_ended: bool,
    /// What each place of a connection did not take, and whose it is: offered again, it is not written
    /// again.
    kept: BTreeMap<u32, (Option<ConnectionId>, Vec<u8>)>,
    /// The last deadline that was written.
    due: Option<Timeout>,
}

impl Tape {
    pub(super) fn new(machine: &impl Serialize) -> Self {
        let mut tape = Self {
            log: Vec::new(),
            bytes_max: LOG_BYTES_MAX,
            has_ended: false,
            kept: BTreeMap::new(),
            due: None,
        };
        let start = Start {
            library: env!("CARGO_PKG_VERSION").into(),
            machine,
        };
        let mut line = alloc::format!("{MARK}{FORM}\n").into_bytes();
        match serde_json::to_vec(&start) {
            Ok(start) => {
                line.extend(start);
                tape.write(line);
            }
            Err(_) => tape.end("its beginning cannot be written"),
        }
        tape
    }

    pub(super) const fn silent() -> Self {
        Self {
            log: Vec::new(),
            bytes_max: 0,
            has_ended: true,
            kept: BTreeMap::new(),
            due: None,
        }
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        mem::take(&mut self.log)
    }

    pub(super) fn len(&self) -> usize {
        self.log.len()
    }

    pub(super) fn set_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// A call that is about to be made.
    pub(super) fn call<C: Serialize>(&mut self, call: impl FnOnce() -> Result<C, Unfit>) {
        if self.has_ended {
            return;
        }
        let mut line = Vec::from(*b"> ");
        match call().ok().and_then(|call| serde_json::to_vec(&call).ok()) {
            Some(call) => {
                line.extend(call);
                self.write(line);
            }
            // A packet larger than any can be: the machine refuses it as well.
            None => self.end("a call cannot be written"),
        }
    }

    /// Bytes that are about to be offered.
    pub(super) fn input(
        &mut self,
        name: &'static str,
        now: Timestamp,
        connection: Option<ConnectionId>,
        input: &[u8],
    ) {
        self.input_with(name, now, connection, input, Vec::new());
    }

    /// The same call once more, in place of where it began: now it is known what was refused in it.
    pub(super) fn input_again(
        &mut self,
        start: usize,
        (name, now): (&'static str, Timestamp),
        connection: Option<ConnectionId>,
        input: &[u8],
        refused: Vec<usize>,
    ) {
        if !self.has_ended {
            self.log.truncate(start);
            self.input_with(name, now, connection, input, refused);
        }
    }

    fn input_with(
        &mut self,
        name: &'static str,
        now: Timestamp,
        connection: Option<ConnectionId>,
        input: &[u8],
        refused: Vec<usize>,
    ) {
        if self.has_ended {
            return;
        }
        let before = self.kept.get(&place(connection));
        let before = before.filter(|(of, _)| *of == connection);
        let kept = match before {
            Some((_, bytes)) if input.starts_with(bytes) => bytes.len(),
            _ => 0,
        };
        let input = Input {
            now,
            connection,
            kept,
            bytes: Hex(input.get(kept..).unwrap_or_default().to_vec()),
            refused,
        };
        self.call(|| Ok(BTreeMap::from([(name, input)])));
    }

    /// What was not taken of them.
    pub(super) fn keep(&mut self, connection: Option<ConnectionId>, rest: &[u8]) {
        let place = place(connection);
        if rest.is_empty() || self.has_ended {
            self.kept.remove(&place);
            return;
        }
        let (of, kept) = self.kept.entry(place).or_default();
        *of = connection;
        kept.clear();
        kept.extend_from_slice(rest);
    }

    /// All bytes that a call in a log offers: those that were offered before stand in front.
    pub(super) fn offered(&self, input: &Input) -> Result<Vec<u8>, Unfit> {
        let Input {
            connection,
            kept,
            bytes: Hex(new),
            ..
        } = input;
        if *kept == 0 {
            return Ok(new.clone());
        }
        match self.kept.get(&place(*connection)) {
            Some((of, bytes)) if of == connection && bytes.len() == *kept => {
                Ok([bytes.as_slice(), new].concat())
            }
            _ => Err(Unfit("so many bytes were not kept")),
        }
    }

    /// What came of the call.
    pub(super) fn answer<M: Machine>(
        &mut self,
        machine: &M,
        answer: &impl Outcome,
        appended: impl FnOnce(&mut Sink),
    ) {
        if self.has_ended {
            return;
        }
        let mut sink = Sink::default();
        answer.tell(&mut sink);
        appended(&mut sink);
        let due = machine.due();
        if due != self.due {
            self.due = due;
            match due {
                Some(Timeout { at, reason }) => {
                    sink.say(format_args!("; due {} {reason:?}", at.as_nanos()))
                }
                None => sink.say(format_args!("; nothing due")),
            }
        }
        self.write(sink.line().into_bytes());
    }

    fn write(&mut self, line: Vec<u8>) {
        let len = self.log.len().saturating_add(line.len()).saturating_add(1);
        if len > self.bytes_max {
            self.end("it was not taken in time");
            return;
        }
        self.log.extend(line);
        self.log.push(b'\n');
    }

    fn end(&mut self, why: &str) {
        self.has_ended = true;
        self.kept = BTreeMap::new();
        let mut line = String::new();
        let _always_there = writeln!(line, "! the log ends here: {why}");
        self.log.extend_from_slice(line.as_bytes());
    }
}

fn place(connection: Option<ConnectionId>) -> u32 {
    connection.map_or(0, ConnectionId::place)
}
