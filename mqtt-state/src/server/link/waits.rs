//! What a connection waits for: input, room, its store, or a time.

use super::{Phase, ServerLink};
use crate::server::keep_alive;
use crate::session::Session;
use crate::{CloseCause, Explanation, InputWaits, Timeout, TimeoutReason, Timestamp};

impl ServerLink {
    /// Whether [`transmit`](Self::transmit) would find a PUBLISH to send on this connection, which is
    /// not at its end.
    #[inline]
    pub(crate) fn has_publish<M>(&self, session: &Session<M>) -> bool {
        self.link.has_publish(session)
    }

    /// Whether [`transmit`](Self::transmit) has anything to say.
    pub(crate) fn has_output<M>(&self, session: Option<&Session<M>>) -> bool {
        self.link.has_control_output()
            || (self.is_connected()
                && session.is_some_and(|session| {
                    self.link.has_publish(session)
                        || session.outbound.may_assign(self.link.send_quota())
                }))
    }

    #[inline]
    pub(crate) fn has_control_output(&self) -> bool {
        self.link.has_control_output()
    }

    /// Whether input is taken now. Ended connections take everything and ignore it.
    pub(crate) fn wants_input(&self) -> bool {
        match self.phase {
            Phase::AwaitDecision(_) => false,
            Phase::AwaitConnect { .. } | Phase::AwaitAuthentication(_) | Phase::Connected(_) => {
                !self.link.is_blocked()
            }
            Phase::Ended { .. } => true,
        }
    }

    /// How far the journal has to be stored before more can be sent, if that is what it waits for.
    pub(crate) fn held_position<M>(&self, session: Option<&Session<M>>) -> Option<u64> {
        self.link.held_position(session)
    }

    /// What the connection and its session wait for.
    pub(crate) fn explain<M>(&self, session: Option<&Session<M>>) -> Explanation {
        let input = match self.phase {
            Phase::AwaitDecision(_) => Some(InputWaits::ForDecision),
            Phase::AwaitConnect { .. }
            | Phase::AwaitAuthentication(_)
            | Phase::Connected(_)
            | Phase::Ended { .. } => (!self.wants_input()).then_some(InputWaits::ForAnswers),
        };
        Explanation {
            waiting_len: session.map_or(0, Session::waiting_len),
            is_at_hand: false,
            in_flight_len: session.map_or(0, Session::in_flight_len),
            held_len: 0,
            replays_len: 0,
            send_quota: self.send_quota(),
            output: session.and_then(|session| self.link.output_waits(session)),
            input,
            timeout: self.deadline(),
        }
    }

    /// When something has to happen without input.
    pub(crate) fn deadline(&self) -> Option<Timeout> {
        let due = |at, reason| Some(Timeout { at, reason });
        match self.phase {
            Phase::AwaitConnect { deadline } => due(deadline, TimeoutReason::Connect),
            Phase::AwaitDecision(_) => None,
            Phase::AwaitAuthentication(_) => {
                due(self.answer_deadline()?, TimeoutReason::Authentication)
            }
            Phase::Connected(terms) => {
                let silence = keep_alive::deadline(self.last_received, terms.keep_alive_secs);
                match (self.answer_deadline(), silence) {
                    (Some(at), None) => due(at, TimeoutReason::Authentication),
                    (Some(at), Some(silence)) if at <= silence => {
                        due(at, TimeoutReason::Authentication)
                    }
                    (_, silence) => due(silence?, TimeoutReason::KeepAlive),
                }
            }
            Phase::Ended { deadline } => due(deadline, TimeoutReason::Close),
        }
    }

    /// By when the client has to answer what it was asked in an authentication.
    fn answer_deadline(&self) -> Option<Timestamp> {
        self.dialogue.as_ref()?.deadline()
    }

    /// Why the connection has to end now, if a deadline has passed.
    pub(crate) fn expired(&self, now: Timestamp) -> Option<CloseCause> {
        let due = self.deadline()?;
        if due.at > now {
            return None;
        }
        match (self.phase, due.reason) {
            (Phase::AwaitConnect { .. } | Phase::AwaitAuthentication(_), _) => {
                Some(CloseCause::ConnectTimeout)
            }
            (Phase::Connected(_), TimeoutReason::Authentication) => {
                Some(CloseCause::AuthenticationTimeout)
            }
            (Phase::Connected(_), _) => Some(CloseCause::KeepAliveTimeout),
            (Phase::AwaitDecision(_) | Phase::Ended { .. }, _) => None,
        }
    }
}
