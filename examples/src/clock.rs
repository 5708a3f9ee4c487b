//! The one clock of a program.

use std::time::Instant;

use mqtt_state::Timestamp;

/// Counts from its making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts at zero.
    #[expect(
        clippy::new_without_default,
        reason = "a clock is started, not defaulted"
    )]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// The time, as the machines want it.
    pub fn now(&self) -> Timestamp {
        let nanos = self.origin.elapsed().as_nanos();
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
