//! Two drivers for the client machine. Each offers the three ways of driving that people know:
//! one step at a time, run for ever with reconnect, and in the background.

pub mod blocking;
mod machine;
mod reconnect;
pub mod tokio;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use mqtt_state::Timestamp;
use mqtt_state::client::{Backoff, BackoffConfig};

pub use machine::Machine;
pub use reconnect::Reconnect;

/// Bytes asked of the machine, and of the socket, in one go.
const CHUNK: usize = 16 * 1024;

/// So long may the goodbye of a connection take.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// Pauses between attempts to connect. The machine has no randomness of its own; this is the
/// standard library's.
#[derive(Debug)]
struct Pauses(Backoff);

impl Pauses {
    fn new() -> Self {
        Self(Backoff::new(BackoffConfig {
            longest: Duration::from_secs(30),
            ..BackoffConfig::default()
        }))
    }

    fn connected(&mut self, now: Timestamp) {
        self.0.connected(now);
    }

    fn next(&mut self, now: Timestamp) -> Duration {
        self.0.pause(now, RandomState::new().hash_one(now))
    }
}
