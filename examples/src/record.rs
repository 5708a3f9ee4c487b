//! The log of all that a machine is told, in a file.

use std::fs::File;
use std::io::Write as _;

use anyhow::Context as _;

use crate::private_file;

/// Where a log goes. Whoever cannot write it goes on without.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
}

impl Log {
    /// A new file, in place of one that there may be.
    pub fn create(path: &str) -> anyhow::Result<Self> {
        let file = private_file::options().truncate(true).open(path);
        let file = file.with_context(|| format!("cannot write {path}"))?;
        Ok(Self { file: Some(file) })
    }

    /// What a recorder has written since the last time.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(bytes)
        {
            crate::log!("the log cannot be written: {error}");
            self.file = None;
        }
    }
}
