//! How fast one client may send.

use core::time::Duration;

use super::Config;
use crate::Timestamp;

/// So much may come at once after a pause: what comes within one second at the allowed rate.
const BURST: Duration = Duration::from_secs(1);

/// What a client has sent, as the moments when it will have had time for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    packets: Timestamp,
    bytes: Timestamp,
}

impl Rates {
    /// A packet of so many bytes was taken.
    #[inline]
    pub(super) fn note(&mut self, now: Timestamp, size: usize, config: &Config) {
        if let Some(per_sec) = config.packets_per_sec_max {
            self.packets = self.packets.max(now) + cost(1, per_sec);
        }
        if let Some(per_sec) = config.bytes_per_sec_max {
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            self.bytes = self.bytes.max(now) + cost(size, per_sec);
        }
    }

    /// Until when nothing is taken, if that is later than now.
    #[inline]
    pub(super) fn blocked_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.last_blocked_until().filter(|at| *at > now)
    }

    /// Until when nothing is taken, or was not; `None` where that was never so.
    pub(super) fn last_blocked_until(&self) -> Option<Timestamp> {
        let latest = self.packets.max(self.bytes);
        let ahead = latest
            .saturating_since(Timestamp::ZERO)
            .checked_sub(BURST)?;
        Some(Timestamp::ZERO + ahead)
    }
}

fn cost(amount: u32, per_sec: u32) -> Duration {
    let nanos = u64::from(amount).saturating_mul(1_000_000_000);
    Duration::from_nanos(nanos.checked_div(per_sec.into()).unwrap_or(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_and_then_the_rate_holds() {
        let config = Config {
            packets_per_sec_max: Some(10),
            bytes_per_sec_max: Some(1_000),
            ..Config::default()
        };
        let at = Timestamp::from_millis;
        let mut rates = Rates::default();
        for _ in 0..10 {
            assert_eq!(rates.blocked_until(at(5_000)), None);
            rates.note(at(5_000), 10, &config);
        }
        rates.note(at(5_000), 10, &config);
        assert_eq!(rates.blocked_until(at(5_000)), Some(at(5_100)));
        assert_eq!(rates.blocked_until(at(5_100)), None);
        rates.note(at(5_100), 3_000, &config);
        assert_eq!(rates.blocked_until(at(5_100)), Some(at(7_110)), "by bytes");
    }
}
