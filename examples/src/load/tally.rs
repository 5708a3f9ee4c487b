//! What arrived, of what should have.

use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use super::Plan;
use super::stamp::Stamp;

/// What arrived at one subscriber, or at several.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Of each publisher.
    publishers: Vec<Arrivals>,
    messages: u32,
    /// Messages that arrived for the first time.
    pub arrived: u64,
    /// That arrived again.
    pub repeated: u64,
    /// That arrived behind a later one of their publisher.
    pub overtaken: u64,
    /// Nanoseconds on the way.
    latency: Histogram<u64>,
}

/// What arrived of one publisher.
#[derive(Clone, Debug, Default)]
struct Arrivals {
    /// One bit for each.
    seen: Vec<u64>,
    /// Behind the latest.
    next: u32,
}

/// Longer than anybody waits.
const LATENCY_MAX: u64 = 3_600_000_000_000;

impl Tally {
    /// Nothing has arrived.
    pub fn new(plan: &Plan) -> anyhow::Result<Self> {
        let publishers = usize::try_from(plan.publishers)?;
        Ok(Self {
            publishers: vec![Arrivals::default(); publishers],
            messages: plan.messages,
            arrived: 0,
            repeated: 0,
            overtaken: 0,
            latency: Histogram::new_with_max(LATENCY_MAX, 3).context("a valid range")?,
        })
    }

    /// A message has arrived. Answers whether it was new; one that nobody of this run sent is not.
    pub(super) fn note(&mut self, stamp: Stamp, now: Duration) -> bool {
        let publisher = usize::try_from(stamp.publisher).ok();
        let publisher = publisher.and_then(|place| self.publishers.get_mut(place));
        let Some(arrivals) = publisher.filter(|_| stamp.number < self.messages) else {
            return false;
        };
        let (place, bit) = (stamp.number / u64::BITS, 1 << (stamp.number % u64::BITS));
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if arrivals.seen.len() <= place {
            arrivals.seen.resize(place.saturating_add(1), 0);
        }
        let Some(seen) = arrivals.seen.get_mut(place) else {
            return false;
        };
        if *seen & bit != 0 {
            self.repeated += 1;
            return false;
        }
        *seen |= bit;
        self.arrived += 1;
        if stamp.number < arrivals.next {
            self.overtaken += 1;
        } else {
            arrivals.next = stamp.number + 1;
        }
        let nanos = now.saturating_sub(stamp.at).as_nanos();
        self.latency
            .saturating_record(u64::try_from(nanos).unwrap_or(LATENCY_MAX));
        true
    }

    /// What arrived at another subscriber.
    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.arrived += other.arrived;
        self.repeated += other.repeated;
        self.overtaken += other.overtaken;
        self.latency.add(&other.latency).context("the same range")
    }

    /// How long a share of the messages was on its way at most, such as 0.99 of them.
    pub fn latency(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(share))
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::{ProtocolVersion, QoS};

    use super::*;
    use crate::settings::Settings;

    #[test]
    fn what_arrives_is_new_or_repeated_and_in_order_or_overtaken() {
        let plan = Plan {
            settings: Settings::new("127.0.0.1:1883", ProtocolVersion::V5_0, "load"),
            topic: "load".to_owned(),
            publishers: 2,
            subscribers: 1,
            topics: 1,
            messages: 200,
            qos: QoS::AtMostOnce,
            size: Plan::SIZE_MIN,
            window: 1,
            rate: None,
            group: None,
            patience: Duration::ZERO,
        };
        let mut tally = Tally::new(&plan).unwrap();
        // Publisher, number, whether it is new, and what is counted then.
        let rows = [
            ("the first", 0, 0, true, (1, 0, 0)),
            ("of another", 1, 150, true, (2, 0, 0)),
            ("with a gap", 0, 70, true, (3, 0, 0)),
            ("what was missing", 0, 69, true, (4, 0, 1)),
            ("again", 0, 0, false, (4, 1, 1)),
            ("again, of another", 1, 150, false, (4, 2, 1)),
            ("the next", 0, 71, true, (5, 2, 1)),
            ("of nobody", 2, 0, false, (5, 2, 1)),
            ("more than there are", 0, 200, false, (5, 2, 1)),
        ];
        for (row, publisher, number, is_new, counts) in rows {
            let at = Duration::from_millis(5);
            let stamp = Stamp {
                publisher,
                number,
                at,
            };
            assert_eq!(tally.note(stamp, at * 3), is_new, "{row}");
            let found = (tally.arrived, tally.repeated, tally.overtaken);
            assert_eq!(found, counts, "{row}");
        }
        let median = tally.latency(0.5).as_micros();
        assert!((9_990..=10_010).contains(&median), "{median}");
        let mut both = Tally::new(&plan).unwrap();
        both.add(&tally).unwrap();
        both.add(&tally).unwrap();
        assert_eq!((both.arrived, both.repeated, both.overtaken), (10, 4, 2));
    }
}
