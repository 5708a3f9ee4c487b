//! Enhanced authentication (5.0) in the server role: a dialogue before CONNACK, and again on a live
//! connection.

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use mqtt_codec::{
    AckProperties, Auth, AuthReason, Authentication, Binary, ConnectReason, DisconnectReason,
    EncodeError, Packet, Str,
};

use super::link::{Action, Phase, ServerLink};
use super::{CommandError, Config, Connection};
use crate::{AuthenticationData, CloseCause, ProtocolError, Timestamp};

/// The dialogue of one connection whose CONNECT had a method.
#[derive(Debug)]
pub(super) struct Dialogue {
    method: String,
    turn: Turn,
    /// Times that this side has asked.
    rounds: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing goes on.
    Nobody,
    /// Whoever decides has to answer.
    Server,
    /// By then.
    Client { deadline: Timestamp },
}

impl Dialogue {
    /// CONNECT has come with a method.
    pub(super) fn new(authentication: &Authentication<'_>) -> Box<Self> {
        Box::new(Self {
            method: authentication.method.as_str().to_string(),
            turn: Turn::Server,
            rounds: 0,
        })
    }

    /// By when the client has to answer, if it has been asked.
    pub(super) const fn deadline(&self) -> Option<Timestamp> {
        match self.turn {
            Turn::Client { deadline } => Some(deadline),
            Turn::Nobody | Turn::Server => None,
        }
    }
}

impl ServerLink {
    /// The dialogue of CONNECT, or a new one, goes on.
    // [5:MQTT-4.12.0-3] [5:MQTT-4.12.0-5] [5:MQTT-4.12.1-1] The client answers, with the same method.
    pub(super) fn receive_auth<'p>(
        &mut self,
        auth: &Auth<'p>,
        config: &Config,
    ) -> Result<Action<'p>, ProtocolError> {
        let Some(dialogue) = &mut self.dialogue else {
            // [5:MQTT-4.12.0-6] [5:MQTT-4.12.0-7] CONNECT had no method.
            return Err(ProtocolError::UnexpectedAuthentication);
        };
        let Some(authentication) = auth.authentication else {
            return Err(ProtocolError::OtherAuthenticationMethod);
        };
        if authentication.method != *dialogue.method.as_str() {
            return Err(ProtocolError::OtherAuthenticationMethod);
        }
        let is_new = match (auth.reason, dialogue.turn) {
            (AuthReason::ContinueAuthentication, Turn::Client { .. }) => false,
            (AuthReason::ReAuthenticate, Turn::Nobody) => true,
            _out_of_turn => return Err(ProtocolError::UnexpectedAuthentication),
        };
        dialogue.turn = Turn::Server;
        if is_new {
            dialogue.rounds = 0;
        } else if dialogue.rounds > config.authentication_rounds_max {
            return Err(ProtocolError::TooManyAuthenticationRounds {
                maximum: config.authentication_rounds_max,
            });
        }
        if let Phase::AwaitAuthentication(offer) = self.phase {
            self.phase = Phase::AwaitDecision(offer);
        }
        Ok(Action::Authenticate {
            data: authentication.data,
            is_new,
        })
    }

    /// Asks the client for more.
    // [5:MQTT-4.12.0-2] AUTH with 0x18.
    pub(crate) fn ask(
        &mut self,
        now: Timestamp,
        data: Option<&AuthenticationData>,
        config: &Config,
    ) -> Result<(), EncodeError> {
        self.send_auth(AuthReason::ContinueAuthentication, data)?;
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.turn = Turn::Client {
                deadline: now + config.connect_timeout,
            };
            dialogue.rounds = dialogue.rounds.saturating_add(1);
        }
        if let Phase::AwaitDecision(offer) = self.phase {
            self.phase = Phase::AwaitAuthentication(offer);
        }
        Ok(())
    }

    /// A new authentication on a live connection has succeeded.
    pub(crate) fn reauthenticated(
        &mut self,
        data: Option<&AuthenticationData>,
    ) -> Result<(), EncodeError> {
        self.send_auth(AuthReason::Success, data)?;
        self.end_dialogue();
        Ok(())
    }

    /// Whether somebody has to decide about a step of the client.
    pub(crate) fn awaits_authentication(&self) -> bool {
        let dialogue = self.dialogue.as_ref();
        dialogue.is_some_and(|dialogue| dialogue.turn == Turn::Server)
    }

    pub(super) fn end_dialogue(&mut self) {
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.turn = Turn::Nobody;
        }
    }

    /// What CONNACK has to say: the method, and the last data of the server.
    pub(super) fn last_word<'a>(
        dialogue: Option<&'a Dialogue>,
        data: Option<&'a AuthenticationData>,
    ) -> Option<Authentication<'a>> {
        Some(Authentication {
            method: Str::new(&dialogue?.method).unwrap_or_default(),
            data: data.map(AuthenticationData::as_binary),
        })
    }

    fn send_auth(
        &mut self,
        reason: AuthReason,
        data: Option<&AuthenticationData>,
    ) -> Result<(), EncodeError> {
        let authentication = Self::last_word(self.dialogue.as_deref(), data);
        let auth = Auth {
            reason,
            authentication,
            properties: AckProperties::default(),
        };
        self.link.send(&Packet::Auth(auth))
    }
}

impl Connection {
    /// Asks a client for the next step of its method (5.0): after
    /// [`Event::Connect`](super::Event::Connect) with a method, or
    /// [`Event::Authenticate`](super::Event::Authenticate).
    ///
    /// # Errors
    ///
    /// [`CommandError`].
    pub fn ask(&mut self, now: Timestamp, data: Option<Binary<'_>>) -> Result<(), CommandError> {
        let now = self.clock.advance(now);
        if !self.link.awaits_authentication() {
            return Err(self.not_now());
        }
        let data = data.map(AuthenticationData::from);
        let asked = self.link.ask(now, data.as_ref(), &self.config);
        self.check_answer(now, asked)
    }

    /// A client has authenticated again on its live connection.
    ///
    /// # Errors
    ///
    /// [`CommandError`].
    pub fn accept_authentication(
        &mut self,
        now: Timestamp,
        data: Option<Binary<'_>>,
    ) -> Result<(), CommandError> {
        let now = self.clock.advance(now);
        if !self.link.awaits_authentication() || !self.link.is_connected() {
            return Err(self.not_now());
        }
        let data = data.map(AuthenticationData::from);
        let accepted = self.link.reauthenticated(data.as_ref());
        self.check_answer(now, accepted)
    }

    /// A step of a client was wrong: the connection ends, with CONNACK or DISCONNECT 0x87.
    ///
    /// # Errors
    ///
    /// [`CommandError::WrongState`] and [`CommandError::Over`].
    // [5:MQTT-4.12.0-4]
    pub fn reject_authentication(&mut self, now: Timestamp) -> Result<(), CommandError> {
        let now = self.clock.advance(now);
        if !self.link.awaits_authentication() {
            return Err(self.not_now());
        }
        let cause = if self.link.is_connected() {
            CloseCause::Disconnected(DisconnectReason::NotAuthorized)
        } else {
            CloseCause::Refused(ConnectReason::NotAuthorized)
        };
        self.end(now, cause);
        Ok(())
    }
}
