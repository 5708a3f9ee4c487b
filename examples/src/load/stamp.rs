//! What a payload begins with.

use std::time::Duration;

/// Who sent a message, which of his it is, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) publisher: u32,
    pub(super) number: u32,
    /// Since the run began.
    pub(super) at: Duration,
}

impl Stamp {
    /// Its bytes.
    pub(super) const LEN: usize = 16;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let nanos = u64::try_from(self.at.as_nanos()).unwrap_or(u64::MAX);
        let parts = u128::from(self.publisher) << 96 | u128::from(self.number) << 64;
        (parts | u128::from(nanos)).to_be_bytes()
    }

    /// The one in front of a payload, unless that is somebody else's message.
    pub(super) fn of(payload: &[u8]) -> Option<Self> {
        let value = u128::from_be_bytes(*payload.first_chunk()?);
        let part = |shift: u32| u32::try_from(value >> shift & u128::from(u32::MAX)).ok();
        let nanos = u64::try_from(value & u128::from(u64::MAX)).ok()?;
        Some(Self {
            publisher: part(96)?,
            number: part(64)?,
            at: Duration::from_nanos(nanos),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp {
            publisher: 0x0102_0304,
            number: u32::MAX,
            at: Duration::from_nanos(7_000_000_001),
        };
        let mut payload = stamp.to_bytes().to_vec();
        payload.push(0x55);
        assert_eq!(Stamp::of(&payload), Some(stamp));
        assert_eq!(Stamp::of(&payload[..Stamp::LEN - 1]), None);
    }
}
