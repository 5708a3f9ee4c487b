//! A log, run again.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use super::Recorder;
use super::broker::{BrokerCall, RestoreCall, Restored};
use super::client::{ClientCall, Restored as RestoredClient};
use super::form::Unfit;
use super::server::{ConnectionCall, Opened};
use super::tape::{FORM, MARK, Start};
use crate::broker::{self, Broker, Idle, Restore};
use crate::client::{self, Client};
use crate::server::Connection;

/// How a machine begins.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Begin {
    Client(client::Config),
    RestoredClient(RestoredClient),
    Connection(Opened),
    Broker(broker::Config),
    Restored(Restored),
}

/// The machine that a log is about, while it is run again.
#[expect(clippy::large_enum_variant, reason = "there is one")]
enum Machine {
    Client(Recorder<Client>),
    Connection(Recorder<Connection>),
    Broker(Recorder<Broker>),
    Restore(Recorder<Restore>),
    /// A call to it was none.
    Gone,
}

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogErrorKind {
    /// It does not begin as a log does.
    NotALog,
    /// It is of another form than [`Replay`] reads; another version of this library has to.
    OtherForm,
    /// The machine and its configuration are not to be read.
    Start,
    /// The session that the machine began with is none.
    Session,
    /// A line is neither a call nor an answer, or does not stand where one has to.
    Line,
    /// A call is not to be read, or is one that nobody can have made.
    Call,
    /// The last line is not complete: whatever wrote the log was stopped.
    Unfinished,
    /// It ended before what it is about did; the line says why.
    Ended,
}

/// A log that cannot be run again from some line on. What stands before it could be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogError {
    /// What is wrong.
    pub kind: LogErrorKind,
    /// The line, counted from 1.
    pub line: usize,
    /// What is known beside that.
    pub text: String,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            LogErrorKind::NotALog => "this is no log of a machine",
            LogErrorKind::OtherForm => "the log has another form",
            LogErrorKind::Start => "the machine is not to be read",
            LogErrorKind::Session => "the session is none",
            LogErrorKind::Line => "this line does not belong here",
            LogErrorKind::Call => "the call is not to be read",
            LogErrorKind::Unfinished => "the line is not complete",
            LogErrorKind::Ended => "the log ends early",
        };
        let Self { line, text, .. } = self;
        match text.is_empty() {
            true => write!(f, "line {line}: {what}"),
            false => write!(f, "line {line}: {what}: {text}"),
        }
    }
}

impl core::error::Error for LogError {}

/// One call that was made again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The line of the log that it stands in, counted from 1.
    pub line: usize,
    /// The call, as it stands there.
    pub call: String,
    /// The answer in the log: a digest, and words. `None` where the log ends with the call: whatever wrote
    /// it was stopped while the machine worked.
    pub recorded: Option<String>,
    /// The answer now.
    pub found: String,
}

impl Step {
    /// Whether the answer is the same, as far as there is one.
    #[must_use]
    pub fn is_same(&self) -> bool {
        let recorded = self.recorded.as_ref();
        recorded.is_none_or(|recorded| *recorded == self.found)
    }
}

/// What came of a log that was run again, from [`replay`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Calls that were made, the last one of them the one that differs, if one does.
    pub calls: usize,
    /// The first call with another answer.
    pub difference: Option<Step>,
}

/// Runs a log again, up to the first answer that differs.
///
/// # Errors
///
/// [`LogError`]; nothing in a log is believed.
pub fn replay(log: &[u8]) -> Result<Verdict, LogError> {
    let mut replay = Replay::new(log)?;
    let mut calls = 0_usize;
    while let Some(step) = replay.next_step()? {
        calls = calls.saturating_add(1);
        if !step.is_same() {
            return Ok(Verdict {
                calls,
                difference: Some(step),
            });
        }
    }
    Ok(Verdict {
        calls,
        difference: None,
    })
}

/// A log that is run again, call by call.
///
/// A log is untrusted: it is a stranger's. What it can make a machine hold is bounded by its own length,
/// times what the machine may make of it within a configuration that is the log's as well: where logs come
/// from anybody, the process that runs them needs a limit on its memory.
pub struct Replay<'l> {
    lines: Lines<'l>,
    library: String,
    machine: Machine,
}

impl fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("library", &self.library)
            .field("machine", &self.machine_name())
            .field("line", &self.lines.number)
            .finish_non_exhaustive()
    }
}

impl<'l> Replay<'l> {
    /// Reads the beginning of a log, and makes the machine.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub fn new(log: &'l [u8]) -> Result<Self, LogError> {
        let mut lines = Lines::new(log);
        let first = lines.next()?.unwrap_or_default();
        let form = first.strip_prefix(MARK);
        let form = form.ok_or_else(|| lines.error(LogErrorKind::NotALog, ""))?;
        if form != FORM.to_string() {
            return Err(lines.error(LogErrorKind::OtherForm, form));
        }
        let start = lines.next()?.unwrap_or_default();
        let start: Start<Begin> =
            serde_json::from_str(start).map_err(|error| lines.error(LogErrorKind::Start, error))?;
        let machine = match start.machine {
            Begin::Client(config) => Machine::Client(Recorder::<Client>::new(config)),
            Begin::RestoredClient(RestoredClient {
                now,
                elapsed,
                config,
                snapshot,
            }) => {
                let client = Recorder::<Client>::restore(now, elapsed, config, snapshot);
                Machine::Client(client.map_err(|error| lines.error(LogErrorKind::Session, error))?)
            }
            Begin::Connection(Opened { now, config }) => {
                Machine::Connection(Recorder::<Connection>::new(now, config))
            }
            Begin::Broker(config) => Machine::Broker(Recorder::<Broker>::new(config)),
            Begin::Restored(Restored {
                config,
                now,
                at,
                elapsed,
            }) => Machine::Restore(Recorder::<Broker>::restore(
                config,
                now,
                Idle { at, elapsed },
            )),
        };
        Ok(Self {
            lines,
            library: start.library,
            machine,
        })
    }

    /// The version of the library that wrote the log, as the log says.
    #[must_use]
    pub fn library(&self) -> &str {
        &self.library
    }

    /// What the log is about: `Client`, `Connection` or `Broker`.
    #[must_use]
    pub const fn machine_name(&self) -> &'static str {
        match self.machine {
            Machine::Client(_) => "Client",
            Machine::Connection(_) => "Connection",
            Machine::Broker(_) | Machine::Restore(_) => "Broker",
            Machine::Gone => "nothing",
        }
    }

    /// Makes the next call; `None` at the end of the log.
    ///
    /// # Errors
    ///
    /// [`LogError`]; from then on there is nothing to come.
    pub fn next_step(&mut self) -> Result<Option<Step>, LogError> {
        let Some(call) = self.lines.next()? else {
            return Ok(None);
        };
        if let Some(why) = call.strip_prefix("! ") {
            return Err(self.lines.error(LogErrorKind::Ended, why));
        }
        let call = call.strip_prefix("> ");
        let call = call.ok_or_else(|| {
            self.lines
                .error(LogErrorKind::Line, "a call has to stand here")
        })?;
        let line = self.lines.number;
        let found = self.perform(call)?;
        let recorded = self.lines.next()?;
        let recorded = recorded.map(|answer| {
            if let Some(why) = answer.strip_prefix("! ") {
                return Err(self.lines.error(LogErrorKind::Ended, why));
            }
            let answer = answer.strip_prefix("< ").map(str::to_owned);
            answer.ok_or_else(|| {
                self.lines
                    .error(LogErrorKind::Line, "an answer has to stand here")
            })
        });
        Ok(Some(Step {
            line,
            call: call.to_owned(),
            recorded: recorded.transpose()?,
            found,
        }))
    }

    /// Makes a call, and says what came of it.
    pub(super) fn perform(&mut self, call: &str) -> Result<String, LogError> {
        let log = match self.perform_written(call) {
            Ok(log) => log,
            Err(text) => {
                self.machine = Machine::Gone;
                return Err(self.lines.error(LogErrorKind::Call, text));
            }
        };
        // The recorder of this machine has written it down as the other one did.
        let log = String::from_utf8_lossy(&log);
        let answer = log.lines().rev().find_map(|line| line.strip_prefix("< "));
        Ok(answer.unwrap_or_default().to_owned())
    }

    fn perform_written(&mut self, call: &str) -> Result<Vec<u8>, String> {
        fn run<M, C: serde::de::DeserializeOwned>(
            machine: &mut Recorder<M>,
            call: &str,
            perform: impl FnOnce(&C, &mut Recorder<M>) -> Result<(), Unfit>,
        ) -> Result<Vec<u8>, String> {
            let call = serde_json::from_str(call).map_err(|error| error.to_string())?;
            machine.set_log_bytes_max(usize::MAX);
            perform(&call, machine).map_err(|unfit| unfit.to_string())?;
            Ok(machine.take_log())
        }
        match &mut self.machine {
            Machine::Client(client) => run(client, call, ClientCall::perform),
            Machine::Connection(connection) => run(connection, call, ConnectionCall::perform),
            Machine::Broker(broker) => run(broker, call, BrokerCall::perform),
            Machine::Restore(_) => {
                let call = serde_json::from_str(call).map_err(|error| error.to_string())?;
                let Machine::Restore(mut restore) = mem::replace(&mut self.machine, Machine::Gone)
                else {
                    return Err(String::new());
                };
                restore.set_log_bytes_max(usize::MAX);
                let log;
                self.machine = match call {
                    RestoreCall::put { key, value } => {
                        let _left_out = restore.put(key, value);
                        log = restore.take_log();
                        Machine::Restore(restore)
                    }
                    RestoreCall::finish {} => {
                        let mut broker = restore.finish();
                        log = broker.take_log();
                        Machine::Broker(broker)
                    }
                };
                Ok(log)
            }
            Machine::Gone => Err("the call before was none".to_owned()),
        }
    }
}

/// Lines of a log.
pub(super) struct Lines<'l> {
    rest: &'l [u8],
    pub(super) number: usize,
}

impl<'l> Lines<'l> {
    pub(super) const fn new(log: &'l [u8]) -> Self {
        Self {
            rest: log,
            number: 0,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<&'l str>, LogError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let Some((line, rest)) = end.and_then(|end| {
            let (line, rest) = self.rest.split_at_checked(end)?;
            Some((line, rest.split_first()?.1))
        }) else {
            self.rest = &[];
            return Err(self.error(LogErrorKind::Unfinished, ""));
        };
        self.rest = rest;
        match core::str::from_utf8(line) {
            Ok(line) => Ok(Some(line)),
            Err(error) => Err(self.error(LogErrorKind::Line, error)),
        }
    }

    pub(super) fn error(&self, kind: LogErrorKind, text: impl ToString) -> LogError {
        LogError {
            kind,
            line: self.number,
            text: text.to_string(),
        }
    }
}
