//! How long to wait before the next attempt to connect.

use core::time::Duration;

use crate::Timestamp;

/// Pauses between attempts to connect: each about twice as long as the one before, up to a maximum,
/// with a random part, so that a thousand clients of one server do not come back in step. A
/// connection that has held for a while begins anew.
///
/// It knows no clock and no randomness; both are passed in.
///
/// ```
/// use core::time::Duration;
/// use mqtt_state::client::{Backoff, BackoffConfig};
/// use mqtt_state::Timestamp;
///
/// let mut backoff = Backoff::new(BackoffConfig { jitter: 0, ..BackoffConfig::default() });
/// let now = Timestamp::ZERO;
/// let pauses: Vec<_> = (0..8).map(|_| backoff.pause(now, 0).as_secs()).collect();
/// assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
///
/// backoff.connected(now);
/// let later = now + Duration::from_secs(120);
/// assert_eq!(backoff.pause(later, 0), Duration::from_secs(1), "it has held for two minutes");
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    config: BackoffConfig,
    /// Attempts since the last stable connection.
    attempts: u32,
    connected_at: Option<Timestamp>,
}

/// The limits of a [`Backoff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct BackoffConfig {
    /// The first pause. With 0 there are none. 1 s.
    pub first: Duration,
    /// No pause is longer. With 0 there are none. 60 s.
    pub longest: Duration,
    /// How much of a pause is random, in percent: at 50 it is between half of it and all of it. At
    /// most 100. 50.
    pub jitter: u8,
    /// A connection that has held so long makes the next pause the first one again. With 0 any that was accepted does.
    /// 60 s.
    pub stable_after: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            jitter: 50,
            stable_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// For a client that has not tried yet.
    #[must_use]
    pub const fn new(config: BackoffConfig) -> Self {
        Self {
            config,
            attempts: 0,
            connected_at: None,
        }
    }

    /// The server accepted the connection ([`Event::Connected`](super::Event::Connected)). Said again
    /// of the same connection, it changes nothing.
    pub const fn connected(&mut self, now: Timestamp) {
        if self.connected_at.is_none() {
            self.connected_at = Some(now);
        }
    }

    /// The attempt has failed, or the connection has ended: how long to wait before the next
    /// attempt. `random` is any number; all 64 bits of it count.
    pub fn pause(&mut self, now: Timestamp, random: u64) -> Duration {
        let held = self.connected_at.take();
        let is_stable =
            held.is_some_and(|since| now.saturating_since(since) >= self.config.stable_after);
        if is_stable {
            self.attempts = 0;
        }
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let pause = self.config.first.saturating_mul(factor);
        let pause = pause.min(self.config.longest);
        pause.saturating_sub(part_of(pause, self.config.jitter, random))
    }

    /// Attempts since the last stable connection.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// A random part of at most so many percent.
fn part_of(pause: Duration, percent: u8, random: u64) -> Duration {
    let most = pause.as_nanos().saturating_mul(percent.min(100).into()) / 100;
    // The upper half of the product with 64 bits: even over the whole range.
    let part = most.saturating_mul(random.into()) >> 64;
    Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::ZERO;

    fn secs(backoff: &mut Backoff, now: Timestamp, random: u64) -> f64 {
        backoff.pause(now, random).as_secs_f64()
    }

    #[test]
    fn a_connection_counts_from_when_it_was_first_told() {
        let config = BackoffConfig {
            jitter: 0,
            ..BackoffConfig::default()
        };
        let mut backoff = Backoff::new(config);
        assert_eq!(
            [0; 2].map(|random| backoff.pause(NOW, random).as_secs()),
            [1, 2]
        );
        backoff.connected(NOW);
        let later = NOW + Duration::from_secs(60);
        backoff.connected(later);
        assert_eq!(
            backoff.pause(later, 0).as_secs(),
            1,
            "it has held for a minute"
        );
    }

    #[test]
    fn jitter_takes_up_to_its_part_and_no_more() {
        for (percent, random, expected) in [
            (50, 0, 8.0),
            (50, u64::MAX, 4.0),
            (50, u64::MAX / 2, 6.0),
            (100, u64::MAX, 0.0),
            (200, u64::MAX, 0.0),
            (0, u64::MAX, 8.0),
        ] {
            let config = BackoffConfig {
                first: Duration::from_secs(8),
                jitter: percent,
                ..BackoffConfig::default()
            };
            let pause = secs(&mut Backoff::new(config), NOW, random);
            assert!(
                (pause - expected).abs() < 1e-6,
                "{percent} {random}: {pause}"
            );
        }
    }

    #[test]
    fn a_connection_that_breaks_at_once_does_not_begin_anew() {
        let mut backoff = Backoff::new(BackoffConfig {
            jitter: 0,
            ..BackoffConfig::default()
        });
        assert_eq!(secs(&mut backoff, NOW, 0), 1.0);
        backoff.connected(NOW);
        let soon = NOW + Duration::from_secs(59);
        assert_eq!(secs(&mut backoff, soon, 0), 2.0);
        assert_eq!(secs(&mut backoff, soon, 0), 4.0, "and was never connected");
        backoff.connected(soon);
        assert_eq!(secs(&mut backoff, soon + Duration::from_secs(60), 0), 1.0);
        assert_eq!(backoff.attempts(), 1);
    }

    #[test]
    fn any_number_of_attempts_is_borne() {
        let mut backoff = Backoff::new(BackoffConfig {
            jitter: 0,
            ..BackoffConfig::default()
        });
        for _ in 0..100 {
            backoff.pause(NOW, 0);
        }
        assert_eq!(secs(&mut backoff, NOW, 0), 60.0);
    }
}
