//! Keep alive in the client role: something is sent in every interval, and PINGREQ is answered.

use core::time::Duration;

use crate::{Timeout, TimeoutReason, Timestamp};

/// The two deadlines of keep alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeepAlive {
    /// 0 is off.
    interval_secs: u16,
    last_sent: Timestamp,
    last_received: Timestamp,
    /// Where a PINGREQ ends that has not been handed out, in bytes of what the link has queued so far.
    queued_to: Option<u64>,
    /// When the oldest unanswered PINGREQ was handed out.
    unanswered_since: Option<Timestamp>,
}

/// What keep alive asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// The server does not answer.
    Silence,
}

impl KeepAlive {
    pub(super) fn new(now: Timestamp, interval_secs: u16) -> Self {
        Self {
            interval_secs,
            last_sent: now,
            last_received: now,
            queued_to: None,
            unanswered_since: None,
        }
    }

    /// CONNACK has come: from now on there is an interval. It counts from CONNECT, as it does at the
    /// server.
    pub(super) fn begin(&mut self, now: Timestamp, interval_secs: u16) {
        self.interval_secs = interval_secs;
        self.last_received = now;
        self.queued_to = None;
        self.unanswered_since = None;
    }

    /// Bytes were handed to the transport.
    pub(super) fn note_sent(&mut self, now: Timestamp) {
        self.last_sent = now;
    }

    /// Bytes came, or a packet that waited was taken. A large packet on a slow link is a sign of life
    /// before it is whole.
    pub(super) fn note_received(&mut self, now: Timestamp) {
        self.last_received = now;
    }

    /// PINGREQ was queued, up to `end`. The next one is due an interval later, whether this one can leave at
    /// once or not.
    pub(super) fn note_ping(&mut self, now: Timestamp, end: u64) {
        self.last_sent = now;
        self.queued_to = Some(end);
    }

    /// Where the PINGREQ ends that has not been handed out, if there is one: a second one would say nothing
    /// more.
    pub(super) const fn queued_to(&self) -> Option<u64> {
        self.queued_to
    }

    /// PINGREQ was handed out: from now on the server can answer. Before that, something else is on its way for so
    /// long, and nothing can be said of the server.
    pub(super) fn note_ping_sent(&mut self, now: Timestamp) {
        self.queued_to = None;
        self.unanswered_since.get_or_insert(now);
    }

    /// An interval is over, and the PINGREQ of one before has not been handed out.
    pub(super) fn put_off(&mut self, now: Timestamp) {
        self.last_sent = now;
    }

    pub(super) fn note_pong(&mut self) {
        self.unanswered_since = None;
    }

    /// What is due at `now`, if anything.
    pub(super) fn due(&self, now: Timestamp, ping_timeout: Duration) -> Option<Due> {
        let timeout = self.timeout(ping_timeout)?;
        if timeout.at > now {
            return None;
        }
        Some(if timeout.reason == TimeoutReason::PingResponse {
            Due::Silence
        } else {
            Due::Ping
        })
    }

    /// The earlier of the two deadlines.
    // [5:MQTT-3.1.2-20] [3:MQTT-3.1.2-23] The gap between packets never exceeds the interval.
    pub(super) fn timeout(&self, ping_timeout: Duration) -> Option<Timeout> {
        let response = self.unanswered_since.map(|since| Timeout {
            at: since.max(self.last_received) + ping_timeout,
            reason: TimeoutReason::PingResponse,
        });
        let ping = (self.interval_secs > 0).then(|| Timeout {
            at: self.last_sent + Duration::from_secs(self.interval_secs.into()),
            reason: TimeoutReason::KeepAlive,
        });
        response
            .into_iter()
            .chain(ping)
            .min_by_key(|timeout| timeout.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Duration = Duration::from_secs(10);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    /// PINGREQ is queued and handed out.
    fn ping(keep_alive: &mut KeepAlive, now: Timestamp) {
        keep_alive.note_ping(now, 2);
        keep_alive.note_ping_sent(now);
    }

    #[test]
    fn the_deadline_is_exact_from_the_last_byte_sent() {
        // [5:MQTT-3.1.2-20] [3:MQTT-3.1.2-23]
        let mut keep_alive = KeepAlive::new(at(0), 10);
        keep_alive.note_sent(at(1));
        keep_alive.note_received(at(9));
        assert_eq!(
            keep_alive.timeout(PING),
            Some(Timeout {
                at: at(11),
                reason: TimeoutReason::KeepAlive
            })
        );
        assert_eq!(keep_alive.due(at(10), PING), None);
        assert_eq!(keep_alive.due(at(11), PING), Some(Due::Ping));
    }

    #[test]
    fn silence_after_a_ping_is_the_end_and_bytes_are_not_silence() {
        let mut keep_alive = KeepAlive::new(at(0), 60);
        ping(&mut keep_alive, at(60));
        keep_alive.note_received(at(65));
        assert_eq!(keep_alive.due(at(74), PING), None);
        assert_eq!(keep_alive.due(at(75), PING), Some(Due::Silence));
        keep_alive.note_pong();
        assert_eq!(keep_alive.due(at(75), PING), None);
    }

    #[test]
    fn zero_is_off() {
        assert_eq!(KeepAlive::new(at(0), 0).timeout(PING), None);
    }

    #[test]
    fn an_unanswered_ping_does_not_stop_the_next_one() {
        let mut keep_alive = KeepAlive::new(at(0), 2);
        ping(&mut keep_alive, at(2));
        assert_eq!(keep_alive.due(at(4), PING), Some(Due::Ping));
        ping(&mut keep_alive, at(4));
        assert_eq!(keep_alive.due(at(11), PING), Some(Due::Ping));
        ping(&mut keep_alive, at(11));
        assert_eq!(
            keep_alive.due(at(12), PING),
            Some(Due::Silence),
            "counted from the first unanswered one"
        );
    }
}
