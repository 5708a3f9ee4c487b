//! What somebody recorded, run again.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use mqtt_state::record::{Replay, Step};

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let text = format!("cannot read {}: {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

/// Makes the calls of a log again. Answers whether each came to the same.
pub(crate) fn run(path: &Path, in_words: bool, out: &mut impl Write) -> io::Result<bool> {
    let log = read(path)?;
    let mut replay = match Replay::new(&log) {
        Ok(replay) => replay,
        Err(error) => {
            writeln!(out, "verdict: {error}")?;
            return Ok(false);
        }
    };
    let (machine, library) = (replay.machine_name(), replay.library().to_owned());
    writeln!(out, "{machine}, recorded by version {library}")?;
    let mut calls = 0_u64;
    loop {
        let step = match replay.next_step() {
            Ok(Some(step)) => step,
            Ok(None) => break,
            Err(error) => {
                writeln!(out, "{calls} calls, each came to the same")?;
                writeln!(out, "verdict: {error}")?;
                return Ok(false);
            }
        };
        calls += 1;
        if in_words {
            writeln!(out, "> {}", step.call)?;
            writeln!(out, "< {}", step.found)?;
        }
        if !step.is_same() {
            tell(&step, calls, out)?;
            return Ok(false);
        }
        if step.recorded.is_none() {
            writeln!(
                out,
                "the log ends in call {calls}, which never came back: {}",
                step.call
            )?;
        }
    }
    writeln!(out, "verdict: {calls} calls, each came to the same")?;
    Ok(true)
}

fn tell(step: &Step, calls: u64, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "call {calls}, line {}: {}", step.line, step.call)?;
    writeln!(
        out,
        "recorded: {}",
        step.recorded.as_deref().unwrap_or("nothing")
    )?;
    writeln!(out, "now:      {}", step.found)?;
    writeln!(out, "verdict: call {calls} comes to something else")
}
