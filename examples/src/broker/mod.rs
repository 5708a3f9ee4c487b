//! A broker on tokio: the machine behind a lock, two tasks for each connection, one for time.
//!
//! A subscriber that does not read holds up its own writing task and nothing else: what waits for
//! it is bounded by the machine.

mod connection;
mod decide;
pub mod listen;
pub mod options;
mod record;
pub mod reload;
mod report;
pub mod store;
pub mod sys;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use mqtt_state::broker::{self, Broker, Config, ConnectionId, Event};
use mqtt_state::record::Recorder;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

use self::record::Written;
use self::report::Report;
use self::store::{Outlet, Store};
use crate::access::Access;
use crate::clock::Clock;
use crate::record::Log;

/// So many connections that are over are read from at once, each for a moment, and never more than there may
/// be connections. They do not count among these: who was cut off would not get in again.
const ENDINGS_MAX: usize = 1_000;

/// A broker that any number of tasks share.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    /// The next deadline may have changed.
    timer: Notify,
    /// Whose turn it is to have a password checked: that takes a whole core for a while, and much memory.
    checks: Semaphore,
    /// Places for connections that are over and are still read from.
    endings: Semaphore,
    /// Bytes asked of a transport in one go.
    input_chunk: usize,
}

#[derive(Debug)]
struct State {
    broker: Recorder<Broker>,
    /// Where all that the machine is told goes, if that is asked for.
    log: Option<Log>,
    /// Who may do what, as it was read last.
    access: Arc<Access>,
    peers: BTreeMap<ConnectionId, Arc<Peer>>,
    report: Report,
    /// Where the machine's journal goes, if it has one.
    outlet: Option<Outlet>,
    /// The journal ends when it is written.
    is_ending: bool,
}

/// How the tasks of one connection are woken.
#[derive(Debug)]
struct Peer {
    /// As it was when it came in.
    who: broker::Peer,
    /// There is output.
    ready: Notify,
    /// Input that was refused may be taken now.
    input: Notify,
    /// Nothing can be written any more.
    hung_up: AtomicBool,
    /// The machine is done with the connection.
    closed: Notify,
    is_over: AtomicBool,
}

impl Server {
    /// A broker without connections, with what is in a store, if there is one. What it is told is
    /// recorded in a file, if one is named.
    pub fn new(
        config: Config,
        access: Access,
        verbose: bool,
        store: Option<&Store>,
        record: Option<&str>,
    ) -> anyhow::Result<Self> {
        let clock = Clock::new();
        let config = Config {
            message_events: verbose,
            ask: access.questions(),
            journal: store.is_some(),
            ..config
        };
        let input_chunk = connection::input_chunk(config.server.waiting_len_max);
        let endings_max = ENDINGS_MAX.min(config.connections_max);
        let log = record.map(Log::create).transpose()?;
        let broker = match (store, &log) {
            (Some(store), Some(_)) => store.restore_recorded(config, clock)?,
            (Some(store), None) => Recorder::silent(store.restore(config, clock)?),
            (None, Some(_)) => Recorder::<Broker>::new(config),
            (None, None) => Recorder::silent(Broker::new(config)),
        };
        let state = Mutex::new(State {
            broker,
            log,
            access: Arc::new(access),
            peers: BTreeMap::new(),
            report: Report::new(verbose),
            outlet: None,
            is_ending: false,
        });
        Ok(Self {
            shared: Arc::new(Shared {
                clock,
                state,
                timer: Notify::new(),
                checks: Semaphore::new(available_parallelism().map_or(1, NonZero::get)),
                endings: Semaphore::new(endings_max),
                input_chunk,
            }),
        })
    }

    /// Keeps the machine's deadlines. Never comes back.
    pub async fn keep_time(&self) {
        loop {
            let due = self.locked(|state| state.broker.poll_timeout());
            let wait = due.map_or(Duration::from_secs(3600), |due| {
                due.at.saturating_since(self.shared.clock.now())
            });
            tokio::select! {
                () = sleep(wait) => self.locked(|state| state.broker.handle_timeout(self.shared.clock.now())),
                () = self.shared.timer.notified() => {}
            }
        }
    }

    /// Says goodbye to all clients and waits until they have read it, for two seconds at most. What
    /// is left to write is the store's last.
    pub async fn shut_down(&self) {
        self.locked(|state| state.broker.shutdown(self.shared.clock.now()));
        for _ in 0..40 {
            if self.locked(|state| state.peers.is_empty()) {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.shut_store();
    }

    /// Does something with the machine, and then what the machine asks for.
    fn locked<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        let mut state: MutexGuard<'_, State> = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Also when something panics: then it is what matters most.
        let mut state = Written(&mut state);
        let before = state.broker.poll_timeout();
        let result = action(&mut state);
        while let Some(event) = state.broker.poll_event() {
            if let Event::Closed { connection, .. } = &event
                && let Some(peer) = state.peers.get(connection)
            {
                peer.is_over.store(true, Ordering::Relaxed);
                peer.closed.notify_one();
                peer.ready.notify_one();
            }
            let now = self.shared.clock.now();
            state.report.event(now, &event);
            self.decide(&mut state, now, event);
        }
        state.report.sum_up(self.shared.clock.now());
        state.hand_to_store();
        while let Some(id) = state.broker.poll_ready() {
            if let Some(peer) = state.peers.get(&id) {
                peer.ready.notify_one();
            }
        }
        if state.broker.poll_timeout() != before {
            self.shared.timer.notify_one();
        }
        result
    }
}
