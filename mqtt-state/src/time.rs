//! Time as the machines see it: a count that the caller supplies.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A moment, in nanoseconds since an origin that the caller chooses.
///
/// There is no `now()` here on purpose: every method that depends on time takes it as an
/// argument. The origin can be the start of the process, the start of a test, or the Unix epoch;
/// a `u64` of nanoseconds lasts for 584 years.
///
/// ```
/// use core::time::Duration;
/// use mqtt_state::Timestamp;
///
/// let start = Timestamp::from_secs(10);
/// assert_eq!(start + Duration::from_millis(1500), Timestamp::from_millis(11_500));
/// assert_eq!(start.saturating_since(Timestamp::from_secs(12)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Timestamp {
    nanos: u64,
}

impl Timestamp {
    /// The origin.
    pub const ZERO: Self = Self { nanos: 0 };
    /// The latest moment there is; sums stop here instead of wrapping.
    pub const MAX: Self = Self { nanos: u64::MAX };

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { nanos }
    }

    /// The moment `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_nanos(millis.saturating_mul(1_000_000))
    }

    /// The moment `secs` seconds after the origin.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_nanos(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.nanos
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }

    /// This moment plus `seconds`.
    pub(crate) fn plus_secs(self, seconds: u32) -> Self {
        self + Duration::from_secs(u64::from(seconds))
    }
}

/// Saturates at [`Timestamp::MAX`].
impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self::from_nanos(self.nanos.saturating_add(nanos))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = Duration::from_nanos(self.nanos);
        write!(f, "{}.{:03}s", duration.as_secs(), duration.subsec_millis())
    }
}

/// When something is due, if ever. Half as large as an `Option`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(Timestamp);

impl Deadline {
    // Sums stop at the end of time, so what would be due then never is.
    pub(crate) const NEVER: Self = Self(Timestamp::MAX);

    #[inline]
    pub(crate) fn at(self) -> Option<Timestamp> {
        (self != Self::NEVER).then_some(self.0)
    }

    /// It is not due any more.
    pub(crate) fn take(&mut self) -> Option<Timestamp> {
        core::mem::replace(self, Self::NEVER).at()
    }
}

impl From<Timestamp> for Deadline {
    #[inline]
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl From<Option<Timestamp>> for Deadline {
    #[inline]
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::NEVER, Self)
    }
}

/// The latest time a machine has been told; time that goes backwards is clamped to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    latest: Timestamp,
}

impl Clock {
    /// The latest time that was told.
    pub(crate) fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Takes a new reading and returns the time to work with.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.latest = self.latest.max(now);
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_saturate_instead_of_wrapping() {
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::ZERO + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::from_secs(u64::MAX), Timestamp::MAX);
    }

    #[test]
    fn what_is_due_at_the_end_of_time_never_is() {
        for at in [None, Some(Timestamp::ZERO), Some(Timestamp::from_secs(9))] {
            assert_eq!(Deadline::from(at).at(), at);
        }
        assert_eq!(Deadline::from(Some(Timestamp::MAX)).at(), None);
    }

    #[test]
    fn a_clock_never_goes_backwards() {
        let mut clock = Clock::default();
        assert_eq!(
            clock.advance(Timestamp::from_secs(5)),
            Timestamp::from_secs(5)
        );
        assert_eq!(
            clock.advance(Timestamp::from_secs(3)),
            Timestamp::from_secs(5)
        );
    }
}
