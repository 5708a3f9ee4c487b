//! What is left of a broker when its program ends: a table of keys and texts.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use mqtt_state::Timestamp;
use mqtt_state::broker::{Config, Idle, JournalEntry, StoreKey};

use crate::recorded::{Broker, Restore};

/// A database in memory that may be slow.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Values as they would be written.
    pub(crate) table: BTreeMap<Vec<u8>, String>,
    /// Of the last entry.
    pub(crate) at: Timestamp,
    /// Entries that are not written yet.
    behind: VecDeque<JournalEntry>,
    /// So many entries may stay unwritten.
    pub(crate) lag: usize,
    /// Entries written so far.
    pub(crate) written: usize,
}

impl Disk {
    /// Takes what the broker has to say, and writes what is not allowed to wait.
    pub(crate) fn follow(&mut self, broker: &mut Broker) {
        self.behind
            .extend(core::iter::from_fn(|| broker.poll_journal()));
        while self.behind.len() > self.lag {
            self.write_one(broker);
        }
    }

    /// Writes all there is.
    pub(crate) fn flush(&mut self, broker: &mut Broker) {
        self.behind
            .extend(core::iter::from_fn(|| broker.poll_journal()));
        while self.write_one(broker) {}
    }

    pub(crate) fn write_one(&mut self, broker: &mut Broker) -> bool {
        let Some(entry) = self.behind.pop_front() else {
            return false;
        };
        for change in entry.changes() {
            let key = change.key().to_bytes();
            match change.value() {
                Some(value) => {
                    let text = serde_json::to_string(value).unwrap();
                    self.table.insert(key, text);
                }
                None => {
                    self.table.remove(&key);
                }
            }
        }
        self.at = entry.at();
        self.written += 1;
        broker.handle_stored(entry.position());
        true
    }

    /// A broker from what was written.
    pub(crate) fn restore(&mut self, config: Config, now: Timestamp, elapsed: Duration) -> Broker {
        self.behind.clear();
        let idle = Idle {
            at: self.at,
            elapsed,
        };
        let mut restore = Restore::new(config, now, idle);
        for (key, text) in &self.table {
            let key = StoreKey::from_bytes(key).unwrap();
            let value = serde_json::from_str(text).unwrap();
            restore.put(key.clone(), value).unwrap_or_else(|error| {
                panic!("{key:?}: {error}");
            });
        }
        restore.finish()
    }

    /// The kinds of things there are, and how many of each, for a look from outside: messages,
    /// retained, sessions, subscriptions, deliveries, unreleased.
    pub(crate) fn counts(&self) -> [usize; 6] {
        let mut counts = [0; 6];
        for key in self.table.keys() {
            counts[usize::from(key[0]) - 1] += 1;
        }
        counts
    }
}
