//! The machine of a driver, with a log where one is wanted.

use std::ops::{Deref, DerefMut};

use mqtt_state::client::{Client, Config};
use mqtt_state::record::Recorder;

use crate::record::Log;

/// A client that may write down all that it is told. It has the methods of [`Client`].
#[derive(Debug)]
pub struct Machine {
    client: Recorder<Client>,
    log: Option<Log>,
}

impl Machine {
    /// A new client that writes into this file.
    pub fn recorded(config: Config, path: &str) -> anyhow::Result<Self> {
        let mut machine = Self {
            client: Recorder::<Client>::new(config),
            log: Some(Log::create(path)?),
        };
        machine.write_log();
        Ok(machine)
    }

    /// Writes what was recorded since the last time. When it is dropped it does that too, whatever the
    /// reason.
    pub fn write_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.write(&self.client.take_log());
        }
    }
}

impl From<Client> for Machine {
    fn from(client: Client) -> Self {
        Self {
            client: Recorder::silent(client),
            log: None,
        }
    }
}

impl Deref for Machine {
    type Target = Recorder<Client>;

    fn deref(&self) -> &Recorder<Client> {
        &self.client
    }
}

impl DerefMut for Machine {
    fn deref_mut(&mut self) -> &mut Recorder<Client> {
        &mut self.client
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.write_log();
    }
}
