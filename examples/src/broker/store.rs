//! What must survive the program, in an embedded database: one file, written by a thread of its own.
//!
//! The machine hands out what has changed, the thread writes it down and says so, and the machine sends
//! what waited for it. While one entry is written, the next one grows: the slower the disk, the more
//! messages share one commit.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use mqtt_state::Timestamp;
use mqtt_state::broker::{
    Broker, Config, Idle, JournalEntry, Restore, RestoreError, StoreKey, StoreValue,
};
use mqtt_state::record::Recorder;
use redb::{Database, ReadableTable as _, TableDefinition};

use super::{Server, State};
use crate::clock::Clock;
use crate::private_file;

/// Keys and values, as the machine has them.
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// Figures about the file, by name.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
/// The form of the values.
const FORM: &str = "form";
/// The time of the last entry, in the time of the store and by the calendar, in nanoseconds.
const AT: &str = "at";
const WRITTEN: &str = "written";

/// What this program writes and reads.
const THIS_FORM: u64 = 3;

/// Entries read in one go.
const READ_LEN: usize = 1_000;

/// Entries that wait for the thread. One is written, one waits, and the next one grows in the machine.
const WAITING: usize = 1;

/// The file.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: String,
}

/// Where the machine's entries go.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: SyncSender<JournalEntry>,
    /// For this one there was no room.
    next: Option<JournalEntry>,
}

impl Store {
    /// Opens a file, or makes one.
    pub fn open(path: &str) -> anyhow::Result<Self> {
        let database = unless_damaged(path, || Self::open_database(path))?;
        let path = path.to_owned();
        Ok(Self { database, path })
    }

    fn open_database(path: &str) -> anyhow::Result<Database> {
        let cannot = || format!("cannot open {path}");
        let file = private_file::options().read(true).open(path);
        let file = file.with_context(cannot)?;
        let database = Database::builder().create_file(file).with_context(cannot)?;
        let writing = database.begin_write()?;
        {
            // A reader finds the tables, whether or not something was ever written.
            writing.open_table(ENTRIES)?;
            let mut about = writing.open_table(ABOUT)?;
            let form = about.get(FORM)?.map(|form| form.value());
            match form {
                None => drop(about.insert(FORM, THIS_FORM)?),
                Some(THIS_FORM) => {}
                Some(other) => bail!("{path} has form {other}, and this program knows {THIS_FORM}"),
            }
        }
        writing.commit()?;
        Ok(database)
    }

    /// A broker that goes on with what is in the file. What cannot be read is left out, and told.
    pub fn restore(&self, config: Config, clock: Clock) -> anyhow::Result<Broker> {
        let (now, idle) = (clock.now(), self.idle()?);
        let mut restore = Restore::new(config, now, idle);
        self.put_all(|key, value| restore.put(key, value))?;
        Ok(restore.finish())
    }

    /// The same, with a log of it.
    pub fn restore_recorded(
        &self,
        config: Config,
        clock: Clock,
    ) -> anyhow::Result<Recorder<Broker>> {
        let (now, idle) = (clock.now(), self.idle()?);
        let mut restore = Recorder::<Broker>::restore(config, now, idle);
        restore.set_log_bytes_max(usize::MAX);
        self.put_all(|key, value| restore.put(key, value))?;
        Ok(restore.finish())
    }

    /// For how long the file was nobody's.
    fn idle(&self) -> anyhow::Result<Idle> {
        unless_damaged(&self.path, || self.read_idle())
    }

    fn read_idle(&self) -> anyhow::Result<Idle> {
        let reading = self.database.begin_read()?;
        let about = reading.open_table(ABOUT)?;
        let figure = |name| anyhow::Ok(about.get(name)?.map_or(0, |figure| figure.value()));
        Ok(Idle {
            at: Timestamp::from_nanos(figure(AT)?),
            elapsed: Duration::from_nanos(calendar_nanos().saturating_sub(figure(WRITTEN)?)),
        })
    }

    /// Puts back what is there, one after the other. What is left out is told once for each reason, as there
    /// may be as many entries as the file has: with a lower limit, say.
    fn put_all(
        &self,
        mut put: impl FnMut(StoreKey, StoreValue) -> Result<(), RestoreError>,
    ) -> anyhow::Result<()> {
        let mut left_out = BTreeMap::<String, usize>::new();
        let (reading, path) = (self.database.begin_read()?, &self.path);
        let table = unless_damaged(path, || Ok(reading.open_table(ENTRIES)?))?;
        let mut entries = unless_damaged(path, || Ok(table.iter()?))?;
        loop {
            let found = unless_damaged(path, || {
                let entries = entries.by_ref().take(READ_LEN).map(|entry| {
                    let (key, value) = entry?;
                    anyhow::Ok((key.value().to_vec(), value.value().to_vec()))
                });
                entries.collect::<anyhow::Result<Vec<_>>>()
            })?;
            if found.is_empty() {
                break;
            }
            for (key, value) in found {
                let result = read(&key, &value).and_then(|(key, value)| Ok(put(key, value)?));
                if let Err(error) = result {
                    *left_out.entry(format!("{error:#}")).or_default() += 1;
                }
            }
        }
        for (why, count) in left_out {
            crate::log!("store: left out and gone from the file: {count} entries: {why}");
        }
        Ok(())
    }

    /// Writes entries until there are no more.
    fn write_all(&self, entries: &Receiver<JournalEntry>, server: &Server) -> anyhow::Result<()> {
        while let Ok(entry) = entries.recv() {
            self.write(&entry)?;
            let position = entry.position();
            server.locked(|state| state.broker.handle_stored(position));
        }
        Ok(())
    }

    /// One entry in one commit: all of it, or nothing.
    fn write(&self, entry: &JournalEntry) -> anyhow::Result<()> {
        let writing = self.database.begin_write()?;
        {
            let mut entries = writing.open_table(ENTRIES)?;
            for change in entry.changes() {
                let key = change.key().to_bytes();
                match change.value() {
                    Some(value) => {
                        let value = postcard::to_allocvec(value)?;
                        entries.insert(key.as_slice(), value.as_slice())?;
                    }
                    None => {
                        entries.remove(key.as_slice())?;
                    }
                }
            }
            let mut about = writing.open_table(ABOUT)?;
            about.insert(AT, entry.at().as_nanos())?;
            about.insert(WRITTEN, calendar_nanos())?;
        }
        writing.commit()?;
        Ok(())
    }
}

/// Does something with the database. It asserts what a whole file has: one that was cut short, or is
/// damaged in another way, is an error like any other here.
fn unless_damaged<T>(path: &str, action: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let told = panic::take_hook();
    panic::set_hook(Box::new(|_told_below| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(action));
    panic::set_hook(told);
    result.unwrap_or_else(|_what| bail!("{path} is damaged"))
}

fn read(key: &[u8], value: &[u8]) -> anyhow::Result<(StoreKey, StoreValue)> {
    let key = StoreKey::from_bytes(key).context("an unknown key")?;
    Ok((key, postcard::from_bytes(value)?))
}

fn calendar_nanos() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Server {
    /// Writes to a store what the machine must not forget. Comes back when the store is shut, or
    /// with the error after which nothing can be acknowledged any more: clients are told to go then.
    pub async fn keep_store(&self, store: Store) -> anyhow::Result<()> {
        let (sender, entries) = sync_channel(WAITING);
        self.locked(|state| {
            state.outlet = Some(Outlet { sender, next: None });
        });
        let server = self.clone();
        let kept = tokio::task::spawn_blocking(move || store.write_all(&entries, &server)).await?;
        if kept.is_err() {
            let now = self.shared.clock.now();
            self.locked(|state| state.broker.handle_store_failed(now));
        }
        kept
    }

    /// Lets the store end when everything is written.
    pub(super) fn shut_store(&self) {
        self.locked(|state| state.is_ending = true);
    }
}

impl State {
    /// Hands out what has changed, as far as the thread has room for it.
    pub(super) fn hand_to_store(&mut self) {
        let Some(outlet) = &mut self.outlet else {
            return;
        };
        while let Some(entry) = outlet.next.take().or_else(|| self.broker.poll_journal()) {
            match outlet.sender.try_send(entry) {
                Ok(()) => {}
                // It comes back when it has written something.
                Err(TrySendError::Full(entry)) => {
                    outlet.next = Some(entry);
                    return;
                }
                // It has failed, and says so.
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
        if self.is_ending {
            self.outlet = None;
        }
    }
}
