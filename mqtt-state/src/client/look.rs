//! What a client says of itself.

use mqtt_codec::Rule;

use super::{Client, Phase, State};
use crate::link::Link;
use crate::{Explanation, InputWaits, OutputWaits, Traffic};

impl Client {
    /// Where this client is.
    #[must_use]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Disconnected => State::Disconnected,
            Phase::Connecting { .. } => State::Connecting,
            Phase::Connected { .. } => State::Connected,
            Phase::Ending { .. } => State::Ending,
        }
    }

    /// Messages taken by `publish` that were not sent yet.
    #[must_use]
    pub fn waiting_len(&self) -> usize {
        self.session.waiting_len()
    }

    /// QoS 1 and 2 messages sent and not fully acknowledged.
    #[must_use]
    pub fn in_flight_len(&self) -> usize {
        self.session.in_flight_len()
    }

    /// What went through this client, over all its connections.
    #[must_use]
    pub fn stats(&self) -> Traffic {
        let mut traffic = self.events.traffic;
        for (_, packets) in self.decoder.tolerated() {
            traffic.violations = traffic.violations.saturating_add(packets.into());
        }
        traffic
    }

    /// Which rules the server broke and was let go by [`Config::strictness`](super::Config::strictness), and in how many
    /// packets.
    pub fn tolerated(&self) -> impl Iterator<Item = (Rule, u32)> {
        self.decoder.tolerated()
    }

    /// What this client waits for.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let connected = matches!(self.phase, Phase::Connected { .. });
        let link = self.link.as_ref().filter(|_| connected);
        let input = if self.wants_input() {
            None
        } else if self.events.journal.len() >= self.config.events_max {
            Some(InputWaits::ForJournal)
        } else if self.events.is_full(&self.config) {
            Some(InputWaits::ForEvents)
        } else {
            Some(InputWaits::ForAnswers)
        };
        Explanation {
            waiting_len: self.session.waiting_len(),
            is_at_hand: false,
            in_flight_len: self.session.in_flight_len(),
            held_len: 0,
            replays_len: 0,
            send_quota: link.map_or(0, Link::send_quota),
            output: match link {
                Some(link) => match link.output_waits(&self.session) {
                    Some(OutputWaits::ForPoll) if self.events.is_full(&self.config) => {
                        Some(OutputWaits::ForEvents)
                    }
                    waits => waits,
                },
                None => (self.session.waiting_len() > 0).then_some(OutputWaits::ForConnection),
            },
            input,
            timeout: self.poll_timeout(),
        }
    }
}
