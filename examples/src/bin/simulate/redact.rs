//! What somebody recorded, without what nobody else is to know.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use mqtt_state::record::{self, Redaction};

/// Leaves out of a log what is to be left out. Answers whether there is another log then.
pub(crate) fn run(
    from: &Path,
    to: &Path,
    what: Redaction,
    out: &mut impl Write,
) -> io::Result<bool> {
    let log = crate::replay::read(from)?;
    let redacted = match record::redact(&log, what) {
        Ok(redacted) => redacted,
        Err(error) => {
            writeln!(out, "verdict: {error}; nothing is written")?;
            return Ok(false);
        }
    };
    fs::write(to, &redacted.log).map_err(|error| {
        let text = format!("cannot write {}: {error}", to.display());
        io::Error::new(error.kind(), text)
    })?;
    if redacted.unread_packets > 0 {
        writeln!(
            out,
            "{} packets break a rule: of these only the fixed header is left",
            redacted.unread_packets
        )?;
    }
    let calls = redacted.calls;
    match redacted.difference {
        None => writeln!(out, "verdict: {calls} calls, each comes to the same")?,
        Some(line) => writeln!(
            out,
            "verdict: {calls} calls, that of line {line} comes to something else now"
        )?,
    }
    Ok(true)
}
