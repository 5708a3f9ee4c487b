//! What a connection says of itself.

use mqtt_codec::{ProtocolVersion, Rule};

use super::Connection;
use crate::{Explanation, InputWaits, OutputWaits, Traffic};

impl Connection {
    /// The version that the client speaks; `None` before its CONNECT.
    #[must_use]
    pub const fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// Whether the client has been accepted and the connection is not over.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// What went through this connection.
    #[must_use]
    pub fn stats(&self) -> Traffic {
        self.events.traffic
    }

    /// What this connection and its session wait for.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let explanation = self.link.explain(Some(&self.session.core));
        let is_full = self.events.is_full(&self.config);
        let waits = if self.wants_input() {
            None
        } else if is_full {
            Some(InputWaits::ForEvents)
        } else {
            Some(InputWaits::ForAcknowledgement)
        };
        Explanation {
            input: explanation.input.or(waits),
            output: match explanation.output {
                Some(_) if is_full && !self.link.has_control_output() => {
                    Some(OutputWaits::ForEvents)
                }
                Some(_) if !self.is_connected() => Some(OutputWaits::ForConnection),
                output => output,
            },
            ..explanation
        }
    }

    /// Which rules the client broke and was let go by [`Config::strictness`](super::Config::strictness), and in how many
    /// packets.
    pub fn tolerated(&self) -> impl Iterator<Item = (Rule, u32)> {
        self.link.tolerated()
    }
}
