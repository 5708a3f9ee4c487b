//! What happens, in words for people.

use std::fmt::Display;
use std::time::Duration;

use mqtt_state::broker::{Event, Peer};
use mqtt_state::{CloseCause, Timestamp};

/// Lines about faults in one second. Strangers could fill a disk with more.
const FAULTS_PER_SEC: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// What is told of what happens: everything, or faults alone.
#[derive(Debug)]
pub(super) struct Report {
    is_verbose: bool,
    /// When the second began that faults are counted in.
    since: Timestamp,
    told: u32,
    left_out: u64,
}

impl Report {
    /// Nothing was told yet.
    pub(super) fn new(is_verbose: bool) -> Self {
        Self {
            is_verbose,
            since: Timestamp::ZERO,
            told: 0,
            left_out: 0,
        }
    }

    /// Something happened in the machine.
    pub(super) fn event(&mut self, now: Timestamp, event: &Event) {
        if self.is_verbose || is_fault(event) && self.has_room(now) {
            tell(now, &line(event));
        }
    }

    /// Somebody was not let in.
    pub(super) fn refusal(&mut self, now: Timestamp, who: &Peer, why: impl Display) {
        if self.is_verbose || self.has_room(now) {
            tell(now, &format!("{}: {why}", words(who)));
        }
    }

    /// Somebody was let in, and did not get as far as MQTT.
    pub(super) fn no_connection(&self, now: Timestamp, who: &Peer, why: &anyhow::Error) {
        if self.is_verbose {
            tell(now, &format!("{}: no connection: {why:#}", words(who)));
        }
    }

    /// Says what was left out, when its second is over.
    pub(super) fn sum_up(&mut self, now: Timestamp) {
        if let Some(count) = self.take_left_out(now) {
            tell(now, &format!("{count} more broke a rule, or found no room"));
        }
    }

    fn has_room(&mut self, now: Timestamp) -> bool {
        if now.saturating_since(self.since) >= SECOND {
            (self.since, self.told) = (now, 0);
        }
        let has_room = self.told < FAULTS_PER_SEC;
        if has_room {
            self.told += 1;
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
        has_room
    }

    fn take_left_out(&mut self, now: Timestamp) -> Option<u64> {
        let is_over = now.saturating_since(self.since) >= SECOND;
        (is_over && self.left_out > 0).then(|| std::mem::take(&mut self.left_out))
    }
}

/// Whether a client broke a rule: that is always told.
fn is_fault(event: &Event) -> bool {
    matches!(
        event,
        Event::Closed {
            cause: CloseCause::ProtocolError(_),
            ..
        }
    )
}

/// Prints a line. What clients say of themselves may have line ends in it, and whatever a terminal obeys.
pub(super) fn tell(at: Timestamp, text: &str) {
    let mut line = String::new();
    for char in text.chars() {
        if char.is_control() {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    crate::log!("{at} {line}");
}

/// From where somebody comes, and as whom.
fn words(peer: &Peer) -> String {
    let mut words = peer
        .address
        .map_or(String::new(), |address| address.to_string());
    if let Some(identity) = &peer.identity {
        words.push_str(&format!(" ({identity})"));
    }
    words
}

/// An event, as a line.
fn line(event: &Event) -> String {
    match event {
        Event::Connected {
            peer,
            client_id,
            version,
            session_present,
            ..
        } => {
            let session = if *session_present {
                ", session resumed"
            } else {
                ""
            };
            format!(
                "{client_id}: connected from {}, MQTT {version}{session}",
                words(peer)
            )
        }
        Event::Closed {
            peer,
            client_id,
            cause,
            text,
            ..
        } => {
            let who = client_id
                .as_deref()
                .map_or_else(|| words(peer), str::to_owned);
            let text = text
                .as_ref()
                .map_or(String::new(), |text| format!(" in {text:?}"));
            format!("{who}: closed: {cause}{text}")
        }
        Event::Subscribed {
            client_id,
            filter,
            reason,
        } => format!("{client_id}: subscribe {filter}: {reason}"),
        Event::Unsubscribed {
            client_id,
            filter,
            existed,
        } => {
            let existed = if *existed {
                ""
            } else {
                " (was not subscribed)"
            };
            format!("{client_id}: unsubscribe {filter}{existed}")
        }
        Event::Published {
            client_id,
            topic,
            qos,
            retain,
            payload_len,
            receivers,
        } => {
            let who = client_id.as_deref().unwrap_or("broker");
            let retain = if *retain { ", retained" } else { "" };
            format!(
                "{who}: publish {topic}, QoS {qos}{retain}, {payload_len} bytes, to {receivers}"
            )
        }
        Event::QueueFull {
            client_id,
            waiting_len,
            messages_bytes,
            ..
        } => format!(
            "{client_id}: too slow: {waiting_len} messages wait, {messages_bytes} bytes with those in flight"
        ),
        Event::Dropped {
            client_id,
            topic,
            cause,
        } => format!("{client_id}: dropped {topic}: {cause:?}"),
        Event::NotRetained { topic } => format!("not retained, no room: {topic}"),
        Event::WillPublished { client_id, topic } => {
            format!("{client_id}: will published to {topic}")
        }
        Event::SessionEnded { client_id } => format!("{client_id}: session ended"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_so_many_lines_in_a_second_and_the_others_are_counted() {
        let at = |millis| Timestamp::ZERO + Duration::from_millis(millis);
        let mut report = Report::new(false);
        let told = |report: &mut Report, millis| {
            let lines = (0..100).filter(|_| report.has_room(at(millis)));
            lines.count()
        };
        assert_eq!(told(&mut report, 5_000), 10);
        assert_eq!(told(&mut report, 5_999), 0);
        assert_eq!(report.take_left_out(at(5_999)), None);
        assert_eq!(report.take_left_out(at(6_000)), Some(190));
        assert_eq!(report.take_left_out(at(6_000)), None);
        assert_eq!(told(&mut report, 6_000), 10);
    }
}
