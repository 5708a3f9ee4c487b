//! Messages that live for a while only.

use alloc::format;

use mqtt_codec::ProtocolVersion;

use super::line::Direction;
use super::oracle::Oracle;
use super::watch::Broken;
use crate::Timestamp;

impl Oracle {
    /// A message lives so long, from now on.
    pub(super) fn limit(&mut self, number: u32, now: Timestamp, secs: u32) {
        if let Some(known) = self.messages.get_mut(number as usize) {
            known.lifetime_secs = Some(secs);
            known.expires_at = Some(now.plus_secs(secs));
        }
    }

    /// It has come to the broker, where it lives until then.
    pub(super) fn limit_at_broker(&mut self, number: u32, expires_at: Timestamp) {
        if let Some(known) = self.messages.get_mut(number as usize) {
            known.expires.push(expires_at);
        }
    }

    /// Whether nobody has to get it any more.
    pub(super) fn has_expired(&self, number: u32, now: Timestamp) -> bool {
        let known = self.get(number);
        known.is_some_and(|known| known.expires.iter().any(|at| *at <= now))
    }

    /// Its publisher has given it up.
    pub(super) fn give_up(&self, number: u32, now: Timestamp) -> Result<(), Broken> {
        let known = self.get(number);
        match known.and_then(|known| known.expires_at) {
            Some(at) if at <= now => Ok(()),
            _ => Err(("a message expires when it is time", format!("{known:?}"))),
        }
    }

    /// A message is sent, with that what is left of its time. Answers whether some of it is over.
    // [5:MQTT-3.3.2-5] [5:MQTT-3.3.2-6]
    pub(super) fn send(
        &self,
        now: Timestamp,
        (direction, is_near): (Direction, bool),
        number: u32,
        dup: bool,
        expiry_secs: Option<u32>,
        version: ProtocolVersion,
    ) -> Result<bool, Broken> {
        let Some(known) = self.get(number) else {
            return Ok(false);
        };
        let is_far = direction == Direction::Down && !is_near;
        let ends: &[Timestamp] = match direction {
            Direction::Up => known.expires_at.as_slice(),
            Direction::Down => &known.expires,
        };
        let text = || format!("{expiry_secs:?} at {now:?}, dup {dup}: {number} is {known:?}");
        if !is_far && !ends.is_empty() && !dup && ends.iter().all(|at| *at <= now) {
            return Err(("nothing that has expired is sent", text()));
        }
        if version == ProtocolVersion::V3_1_1 {
            return Ok(false);
        }
        let is_left = |at: &Timestamp| {
            let left = at.saturating_since(now);
            let begun = u64::from(left.subsec_nanos() > 0);
            let (left, said) = (left.as_secs() + begun, expiry_secs.map(u64::from));
            // What it takes from broker to broker does not count.
            let whole = if is_far { known.lifetime_secs } else { None };
            let most = whole.map_or(left, u64::from);
            said.is_some_and(|said| (left..=most.max(left)).contains(&said))
        };
        match (ends.iter().any(is_left), expiry_secs) {
            (true, Some(secs)) => Ok(known.lifetime_secs.is_some_and(|whole| secs < whole)),
            (false, None) if ends.is_empty() => Ok(false),
            _ => Err(("what is sent on is what is left of the time", text())),
        }
    }
}
