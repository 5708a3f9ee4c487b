//! Enhanced authentication (5.0): a dialogue at connect, and again on a live connection.

use alloc::string::{String, ToString};
use core::fmt;

use mqtt_codec::{Auth, AuthReason, Authentication, Binary, EncodeError, Packet, Str};

use super::{Client, Event, Phase};
use crate::{AuthenticationData, CloseCause, ProtocolError, Timeout, TimeoutReason, Timestamp};

/// Why a step of a dialogue was not taken. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// CONNECT had no authentication method.
    NoMethod,
    /// The server has not asked, or it has been answered.
    NotAsked,
    /// A dialogue goes on already.
    Busy,
    /// There is no connection, or for [`reauthenticate`](Client::reauthenticate) none that has been
    /// accepted.
    NotConnected,
    /// The packet is larger than the server takes.
    Encode(EncodeError),
}

impl fmt::Display for AuthenticateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMethod => f.write_str("CONNECT had no authentication method"),
            Self::NotAsked => f.write_str("the server has not asked"),
            Self::Busy => f.write_str("an authentication goes on already"),
            Self::NotConnected => f.write_str("not connected"),
            Self::Encode(error) => write!(f, "AUTH: {error}"),
        }
    }
}

impl core::error::Error for AuthenticateError {}

/// The dialogue of one connection.
#[derive(Debug)]
pub(super) struct Dialogue {
    method: String,
    turn: Turn,
    /// Times that the server has asked in this dialogue.
    rounds: u16,
    /// Of a re-authentication; the first one has that of the handshake.
    deadline: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing goes on.
    Nobody,
    Server,
    Client,
}

impl Dialogue {
    /// CONNECT goes out with a method: the server is next.
    pub(super) fn new(authentication: &Authentication<'_>) -> Self {
        Self {
            method: authentication.method.as_str().to_string(),
            turn: Turn::Server,
            rounds: 0,
            deadline: None,
        }
    }

    // [5:MQTT-4.12.0-5] [5:MQTT-4.12.1-1] Every packet has the method of CONNECT.
    fn check_method(&self, authentication: &Authentication<'_>) -> Result<(), ProtocolError> {
        if authentication.method == *self.method.as_str() {
            Ok(())
        } else {
            Err(ProtocolError::OtherAuthenticationMethod)
        }
    }

    fn end(&mut self) {
        self.turn = Turn::Nobody;
        self.rounds = 0;
        self.deadline = None;
    }

    pub(super) fn timeout(&self) -> Option<Timeout> {
        Some(Timeout {
            at: self.deadline?,
            reason: TimeoutReason::Authentication,
        })
    }
}

impl Client {
    /// Answers [`Event::Authenticate`] with the next step of the method.
    ///
    /// # Errors
    ///
    /// [`AuthenticateError`]; nothing has changed then.
    // [5:MQTT-4.12.0-3]
    pub fn authenticate(
        &mut self,
        now: Timestamp,
        data: Option<Binary<'_>>,
    ) -> Result<(), AuthenticateError> {
        let _now = self.clock.advance(now);
        if !matches!(
            self.phase,
            Phase::Connecting { .. } | Phase::Connected { .. }
        ) {
            return Err(AuthenticateError::NotConnected);
        }
        match &self.dialogue {
            // [5:MQTT-4.12.0-7]
            None => return Err(AuthenticateError::NoMethod),
            Some(dialogue) if dialogue.turn != Turn::Client => {
                return Err(AuthenticateError::NotAsked);
            }
            Some(_) => {}
        }
        self.send_auth(AuthReason::ContinueAuthentication, data)?;
        Ok(())
    }

    /// Begins a new authentication on a live connection, with the method of CONNECT. Other traffic
    /// goes on meanwhile. [`Event::Authenticate`] asks for more, and [`Event::Reauthenticated`] ends
    /// it; a server that is not content ends the connection.
    ///
    /// # Errors
    ///
    /// [`AuthenticateError`]; nothing has changed then.
    // [5:MQTT-4.12.1-1]
    pub fn reauthenticate(
        &mut self,
        now: Timestamp,
        data: Option<Binary<'_>>,
    ) -> Result<(), AuthenticateError> {
        let now = self.clock.advance(now);
        if !matches!(self.phase, Phase::Connected { .. }) {
            return Err(AuthenticateError::NotConnected);
        }
        match &self.dialogue {
            None => return Err(AuthenticateError::NoMethod),
            Some(dialogue) if dialogue.turn != Turn::Nobody => return Err(AuthenticateError::Busy),
            Some(_) => {}
        }
        let deadline = now + self.config.authentication_timeout;
        let dialogue = self.send_auth(AuthReason::ReAuthenticate, data)?;
        dialogue.deadline = Some(deadline);
        Ok(())
    }

    fn send_auth(
        &mut self,
        reason: AuthReason,
        data: Option<Binary<'_>>,
    ) -> Result<&mut Dialogue, AuthenticateError> {
        let (Some(dialogue), Some(link)) = (&mut self.dialogue, &mut self.link) else {
            return Err(AuthenticateError::NotConnected);
        };
        let method = Str::new(&dialogue.method).unwrap_or_default();
        let auth = Auth::new(reason, Authentication { method, data });
        link.send(&Packet::Auth(auth))
            .map_err(AuthenticateError::Encode)?;
        dialogue.turn = Turn::Server;
        Ok(dialogue)
    }

    /// AUTH has come.
    // [5:MQTT-4.12.0-2] [5:MQTT-4.12.0-6]
    pub(super) fn handle_auth(&mut self, auth: &Auth<'_>) -> Result<(), ProtocolError> {
        let is_connected = matches!(self.phase, Phase::Connected { .. });
        let dialogue = self
            .dialogue
            .as_mut()
            .ok_or(ProtocolError::UnexpectedAuthentication)?;
        let authentication = auth
            .authentication
            .ok_or(ProtocolError::OtherAuthenticationMethod)?;
        dialogue.check_method(&authentication)?;
        if dialogue.turn != Turn::Server {
            return Err(ProtocolError::UnexpectedAuthentication);
        }
        let data = AuthenticationData::of(&authentication);
        match auth.reason {
            AuthReason::ContinueAuthentication => {
                if dialogue.rounds >= self.config.authentication_rounds_max {
                    return Err(ProtocolError::TooManyAuthenticationRounds {
                        maximum: self.config.authentication_rounds_max,
                    });
                }
                dialogue.rounds = dialogue.rounds.saturating_add(1);
                dialogue.turn = Turn::Client;
                self.events.push(Event::Authenticate { data });
                Ok(())
            }
            // The first authentication ends with CONNACK.
            AuthReason::Success if is_connected => {
                dialogue.end();
                self.events.push(Event::Reauthenticated { data });
                Ok(())
            }
            _of_the_client_or_too_early => Err(ProtocolError::UnexpectedAuthentication),
        }
    }

    /// A CONNACK that accepts ends the first dialogue; answers what the server said last.
    pub(super) fn finish_authentication(
        &mut self,
        authentication: Option<Authentication<'_>>,
    ) -> Result<Option<AuthenticationData>, ProtocolError> {
        match (&mut self.dialogue, authentication) {
            (None, None) => Ok(None),
            // [5:MQTT-4.12.0-6] No method was offered, so none may come back.
            (None, Some(_)) => Err(ProtocolError::UnexpectedAuthentication),
            (Some(_), None) => Err(ProtocolError::OtherAuthenticationMethod),
            (Some(dialogue), Some(authentication)) => {
                dialogue.check_method(&authentication)?;
                // The server does not accept what it has asked for and not got.
                if dialogue.turn != Turn::Server {
                    return Err(ProtocolError::UnexpectedAuthentication);
                }
                dialogue.end();
                Ok(AuthenticationData::of(&authentication))
            }
        }
    }

    /// A re-authentication takes too long.
    // [5:MQTT-4.12.1-2]
    pub(super) fn check_authentication(&mut self, now: Timestamp) {
        let timeout = self.dialogue.as_ref().and_then(Dialogue::timeout);
        if timeout.is_some_and(|timeout| now >= timeout.at) {
            self.leave(now, CloseCause::AuthenticationTimeout);
        }
    }
}
