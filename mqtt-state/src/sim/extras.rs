//! What only some runs have, so that the seeds of the others mean what they always did.

use core::time::Duration;

use mqtt_codec::ProtocolVersion;

use super::plan::{Kind, PRELUDE, Plan};
use super::random::Random;

/// What a run has beside what all have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extras {
    /// The embedder subscribes as well.
    pub(super) has_locals: bool,
    /// Subscriptions are taken away, or asked about again.
    pub(super) takes_back: bool,
    /// Some questions are never answered, and the others in any order.
    pub(super) lets_expire: bool,
    /// Clients of 5.0 authenticate step by step.
    pub(super) authenticates: bool,
    /// The broker has memory for little.
    pub(super) is_full: bool,
}

impl Plan {
    /// Five seeds of sixteen have one broker and some of it, one of sixteen several brokers.
    pub(super) fn add_extras(&mut self) {
        let is_single = matches!(self.seed % 16, 2 | 10 | 12 | 13 | 14);
        if !is_single && !matches!(self.seed % 64, 33 | 41 | 53 | 57) {
            return;
        }
        // Another one than that which has decided the rest.
        let mut random = Random::new(!self.seed);
        self.extras = Extras {
            has_locals: random.chance(60),
            takes_back: random.chance(60),
            lets_expire: random.chance(40) && is_single,
            authenticates: random.chance(40) && !self.changes_limits,
            is_full: random.chance(30) && is_single,
        };
        if self.extras.is_full {
            self.broker.total_bytes_max = random.pick(&[4_000, 5_000, 6_000, 9_000]);
            self.broker.messages_len_max = random.pick(&[6, 1_000, 1_000]);
        }
        if self.extras.authenticates {
            self.broker.ask.connect = true;
            self.broker.server.enhanced_authentication = true;
            for client in &mut self.clients {
                client.has_method = client.version == ProtocolVersion::V5_0;
            }
        }
        if self.extras.lets_expire {
            self.broker.decision_timeout = Duration::from_secs(random.pick(&[1, 5, 30]));
        }
        let extras = self.extras;
        for action in self.actions.iter_mut().skip(PRELUDE.len()) {
            action.kind = match (action.kind, action.arg % 40) {
                (Kind::Round, 0) if extras.has_locals => Kind::SubscribeLocal,
                (Kind::Round, 1..=2) if extras.takes_back => Kind::Revoke,
                (Kind::Round, 3) if extras.takes_back => Kind::Reauthorize,
                (Kind::Round, 4..=6) if extras.authenticates => Kind::Reauthenticate,
                (kind, _) => kind,
            };
        }
    }
}
