//! The log of all that the machine is told, in a file.

use std::fs::File;
use std::io::Write as _;
use std::ops::{Deref, DerefMut};

use anyhow::Context as _;

use super::State;

/// Where the log goes. Whoever cannot write it goes on without.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<File>,
}

impl Log {
    pub(super) fn create(path: &str) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {path}"))?;
        Ok(Self { file: Some(file) })
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(bytes)
        {
            crate::log!("the log cannot be written: {error}");
            self.file = None;
        }
    }
}

/// The state, while something is done with it: whatever was recorded is in the file when it is let go.
pub(super) struct Written<'s>(pub(super) &'s mut State);

impl Deref for Written<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.0
    }
}

impl DerefMut for Written<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.0
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if let Some(log) = &mut self.0.log {
            log.write(&self.0.broker.take_log());
        }
    }
}
