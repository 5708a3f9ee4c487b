//! The machines of this suite. They write down what they are told, and when a test is done with one, its
//! log is run again, with another seed for its hashing: it has to come to the same.

use core::cell::Cell;
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use std::thread;

use mqtt_state::record::{self, Recorder};
use mqtt_state::session::SessionSnapshot;
use mqtt_state::{Timestamp, broker, client, server};

/// A machine, its recorder, and what that has written.
#[derive(Debug)]
pub(crate) struct Recorded<M>(Option<Recorder<M>>);

pub(crate) type Broker = Recorded<broker::Broker>;
pub(crate) type Client = Recorded<client::Client>;
pub(crate) type Connection = Recorded<server::Connection>;

/// Bytes of one log, and of all logs of one test, so that long tests stay short.
const LOG_BYTES_MAX: usize = 128 * 1024;
const LOGS_BYTES_MAX: usize = 1024 * 1024;

thread_local! {
    /// What the logs of this test have had of that: each test has a thread.
    static LOGS_BYTES: Cell<usize> = const { Cell::new(0) };
}

impl<M> Recorded<M> {
    fn of(mut recorder: Recorder<M>) -> Self {
        // An interpreter has better things to do than to write and read JSON.
        if cfg!(miri) || LOGS_BYTES.get() >= LOGS_BYTES_MAX {
            return Self(Some(Recorder::silent(recorder.into_machine())));
        }
        recorder.set_log_bytes_max(LOG_BYTES_MAX);
        Self(Some(recorder))
    }
}

impl Broker {
    pub(crate) fn new(config: broker::Config) -> Self {
        Self::of(Recorder::<broker::Broker>::new(config))
    }
}

impl Client {
    pub(crate) fn new(config: client::Config) -> Self {
        Self::of(Recorder::<client::Client>::new(config))
    }

    pub(crate) fn restore(
        now: Timestamp,
        elapsed: Duration,
        config: client::Config,
        snapshot: SessionSnapshot,
    ) -> Result<Self, client::RestoreError> {
        Recorder::<client::Client>::restore(now, elapsed, config, snapshot).map(Self::of)
    }
}

impl Connection {
    pub(crate) fn new(now: Timestamp, config: server::Config) -> Self {
        Self::of(Recorder::<server::Connection>::new(now, config))
    }

    pub(crate) fn into_session(mut self) -> Option<server::Session> {
        let mut recorder = self.0.take()?;
        check(&recorder.take_log());
        recorder.into_machine().into_session()
    }
}

/// A broker from a store.
pub(crate) struct Restore(Recorder<broker::Restore>);

impl Restore {
    pub(crate) fn new(config: broker::Config, now: Timestamp, idle: broker::Idle) -> Self {
        Self(Recorder::<broker::Broker>::restore(config, now, idle))
    }

    pub(crate) fn put(
        &mut self,
        key: broker::StoreKey,
        value: broker::StoreValue,
    ) -> Result<(), broker::RestoreError> {
        self.0.put(key, value)
    }

    pub(crate) fn finish(self) -> Broker {
        Broker::of(self.0.finish())
    }
}

impl<M> Deref for Recorded<M> {
    type Target = Recorder<M>;

    fn deref(&self) -> &Recorder<M> {
        self.0.as_ref().unwrap()
    }
}

impl<M> DerefMut for Recorded<M> {
    fn deref_mut(&mut self) -> &mut Recorder<M> {
        self.0.as_mut().unwrap()
    }
}

impl<M> Drop for Recorded<M> {
    fn drop(&mut self) {
        let recorder = self.0.take();
        if !thread::panicking()
            && let Some(mut recorder) = recorder
        {
            check(&recorder.take_log());
        }
    }
}

/// Runs a log again.
fn check(log: &[u8]) {
    if log.is_empty() {
        return;
    }
    LOGS_BYTES.set(LOGS_BYTES.get() + log.len());
    let log = String::from_utf8_lossy(log);
    // A session that was alive, with what its owner has not acknowledged: a log has not all of that.
    if log.contains("{\"session\":{") {
        return;
    }
    // What a seed does decide: identifiers that are assigned, and whose turn it is among joined brokers.
    let is_seeded = has_nameless(&log) || log.contains("\"join\":{");
    let log = if is_seeded {
        log
    } else {
        reseeded(&log).into()
    };
    match record::replay(log.as_bytes()) {
        Ok(verdict) => assert_eq!(verdict.difference, None, "a replay comes to the same"),
        Err(error) => assert_eq!(error.kind, record::LogErrorKind::Ended, "{error}"),
    }
    redact(&log);
}

/// Logs that are also given away: as many of each test as this, and the short ones.
const REDACTED_BYTES_MAX: usize = 32 * 1024;

/// A log without what nobody else is to know comes to the same, but for what is done in the order of names.
fn redact(log: &str) {
    if LOGS_BYTES.get() > REDACTED_BYTES_MAX {
        return;
    }
    for is_all in [false, true] {
        let what = record::Redaction {
            topics: is_all,
            names: is_all,
        };
        let redacted = record::redact(log.as_bytes(), what).unwrap();
        let goes_by_names = is_all && log.contains("\"join\":{");
        if redacted.unread_packets == 0 && !goes_by_names {
            assert_eq!(
                redacted.difference,
                None,
                "{}",
                String::from_utf8_lossy(&redacted.log)
            );
        }
    }
}

/// Whether a client without an identifier has come.
fn has_nameless(log: &str) -> bool {
    let mut connects = log.split("00044d515454").skip(1);
    connects.any(|rest| match rest.split_at_checked(8) {
        // Version, flags and keep alive stand before it, and in 5.0 the length of properties.
        Some((head, id)) if head.starts_with("04") => id.starts_with("0000"),
        Some((_, id)) => id.starts_with("000000"),
        None => false,
    })
}

/// The same calls to a machine with another seed. Only brokers have one.
pub(crate) fn reseeded(log: &str) -> String {
    let key = "\"seed\":";
    let Some((before, rest)) = log.split_once(key) else {
        return log.to_owned();
    };
    let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap();
    let (seed, rest) = rest.split_at(end);
    let seed = seed.parse::<u64>().unwrap() ^ 0x9E37_79B9_7F4A_7C15;
    format!("{before}{key}{seed}{rest}")
}
