//! Enhanced authentication: dialogues before CONNACK, and again on a connection that is there.

use alloc::format;
use alloc::string::String;

use mqtt_codec::{Authentication, Binary, ConnectReason, Str};

use super::coverage::Stage;
use super::packets::Said;
use super::random::Random;
use super::watch::Broken;
use super::world::World;
use crate::AuthenticationData;
use crate::broker::{ConnectAnswer, ConnectionId};
use crate::client::{AuthenticateError, State};
use crate::server::ConnectRequest;

pub(super) const METHOD: &str = "m";
const FIRST: &[u8] = b"first";
const AGAIN: &[u8] = b"again";
const LAST: &[u8] = b"last";

/// Times that a client is asked in one dialogue.
const ROUNDS_MAX: u32 = 3;

/// Whose turn it is, by the packets that have gone out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    /// There is no method.
    #[default]
    Never,
    Nobody,
    Server,
    Client,
}

/// What is said on one connection.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    turn: Turn,
    /// CONNACK has gone out.
    is_accepted: bool,
    /// Times that the broker has asked, on this connection and in this dialogue.
    asked: u32,
    rounds: u32,
    /// What was asked last has not come back.
    is_open: bool,
    /// The client has begun a new one.
    is_again: bool,
    /// The client's application does not answer.
    is_ignored: bool,
}

impl Dialogue {
    /// CONNECT goes out, with a method or without.
    pub(super) fn begin(&mut self, has_method: bool) {
        if has_method {
            self.turn = Turn::Server;
        }
    }

    /// The broker hands out CONNACK that accepts.
    pub(super) fn accept(&mut self) -> Result<(), Broken> {
        self.is_accepted = true;
        match self.turn {
            Turn::Never => Ok(()),
            Turn::Server => {
                self.turn = Turn::Nobody;
                Ok(())
            }
            Turn::Nobody | Turn::Client => {
                Err(("nobody is let in who is asked", format!("{self:?}")))
            }
        }
    }

    /// A client hands out something else.
    // [5:MQTT-4.12.0-7]
    pub(super) fn check_other(&self, what: &impl core::fmt::Debug) -> Result<(), Broken> {
        match !self.is_accepted && self.turn != Turn::Never {
            true => Err(("only AUTH comes before CONNACK", format!("{what:?}"))),
            false => Ok(()),
        }
    }

    /// A machine hands out AUTH.
    // [5:MQTT-4.12.0-2] [5:MQTT-4.12.0-3] [5:MQTT-4.12.0-6] [5:MQTT-4.12.1-1]
    pub(super) fn send(&mut self, is_client: bool, said: Said, method: &str) -> Result<(), Broken> {
        let next = match (is_client, said, self.turn) {
            (false, Said::GoOn, Turn::Server) => Turn::Client,
            (false, Said::Done, Turn::Server) if self.is_accepted => Turn::Nobody,
            (true, Said::GoOn, Turn::Client) => Turn::Server,
            (true, Said::Again, Turn::Nobody) => Turn::Server,
            _ => {
                let text = format!("{said:?} of the client {is_client}: {self:?}");
                return Err(("each side authenticates in its turn", text));
            }
        };
        // [5:MQTT-4.12.0-5]
        if method != METHOD {
            return Err(("one method in one connection", String::from(method)));
        }
        self.turn = next;
        Ok(())
    }
}

fn data(bytes: &[u8]) -> AuthenticationData {
    Binary::new(bytes).unwrap_or_default().into()
}

/// What a client's CONNECT has.
pub(super) fn offer() -> Authentication<'static> {
    Authentication {
        method: Str::new(METHOD).unwrap_or_default(),
        data: Binary::new(FIRST).ok(),
    }
}

impl World<'_> {
    /// What the embedder says to a client that begins, or goes on.
    pub(super) fn authenticate(
        &mut self,
        id: ConnectionId,
        number: u64,
        request: Option<&ConnectRequest>,
        said: Option<&AuthenticationData>,
    ) -> ConnectAnswer {
        let refuses = !self.is_ending;
        let Some(line) = self.line_at(id) else {
            // A stranger, which has no method.
            return ConnectAnswer::Allow;
        };
        let dialogue = &mut line.dialogue;
        let said = match request {
            Some(request) => {
                if request.authentication_method.is_none() {
                    return ConnectAnswer::Allow;
                }
                request.authentication_data.as_ref()
            }
            None => said,
        };
        let expected = match (request, dialogue.is_open) {
            (Some(_), _) => data(FIRST),
            (None, true) => data(format!("a{}", dialogue.asked).as_bytes()),
            (None, false) => data(AGAIN),
        };
        let is_right = said == Some(&expected);
        let stage = line.stage;
        dialogue.is_open = false;
        let answer = match number % 9 {
            0 if refuses => ConnectAnswer::Refuse(ConnectReason::NotAuthorized),
            1..=4 if dialogue.rounds < ROUNDS_MAX => {
                dialogue.rounds += 1;
                dialogue.asked += 1;
                dialogue.is_open = true;
                let question = format!("q{}", dialogue.asked);
                ConnectAnswer::Ask(Some(data(question.as_bytes())))
            }
            _ => {
                dialogue.rounds = 0;
                ConnectAnswer::AllowWith(data(LAST))
            }
        };
        let count = match answer {
            ConnectAnswer::Refuse(_) => 1,
            ConnectAnswer::Ask(_) => 0,
            _ if stage == Stage::Connected => 3,
            _ => 2,
        };
        self.coverage.authentication[count] += 1;
        if !is_right {
            let text = format!("{said:?} on {id:?}");
            self.fail("each side hears what the other has said", text);
        }
        answer
    }

    /// The server asks a client.
    pub(super) fn is_asked(&mut self, client: usize, question: Option<&AuthenticationData>) {
        let Some(place) = self.line_of(client) else {
            return;
        };
        let seed = self.plan.seed ^ self.coverage.packets;
        let is_ignored = !self.is_ending && Random::new(seed).chance(8);
        let dialogue = &mut self.lines[place].dialogue;
        dialogue.is_ignored = is_ignored;
        let expected = data(format!("q{}", dialogue.asked).as_bytes());
        if question != Some(&expected) {
            let text = format!("{question:?} for c{client}: {dialogue:?}");
            return self.fail("each side hears what the other has said", text);
        }
        match is_ignored {
            true => self.coverage.authentication[4] += 1,
            false => self.answer_server(place),
        }
    }

    fn answer_server(&mut self, place: usize) {
        let line = &mut self.lines[place];
        line.dialogue.is_ignored = false;
        let answer = format!("a{}", line.dialogue.asked);
        let machine = &mut self.actors[line.client].client;
        let result = machine.authenticate(self.now, Binary::new(answer.as_bytes()).ok());
        // It may have lost its connection in the same call.
        if let Err(error) = result
            && error != AuthenticateError::NotConnected
        {
            let text = format!("c{}: {error}", line.client);
            self.fail("who is asked can answer", text);
        }
    }

    /// Whoever has not answered does. Nobody is refused any more.
    pub(super) fn end_dialogues(&mut self) {
        self.is_ending = true;
        for place in 0..self.lines.len() {
            let line = &self.lines[place];
            let client = line.client;
            let is_there = !line.client_gone && self.actors[client].line == Some(line.number);
            let state = self.actors[client].client.state();
            let is_open = matches!(state, State::Connecting | State::Connected);
            if line.dialogue.is_ignored && is_there && is_open {
                self.answer_server(place);
                self.drain_client(client);
            }
        }
    }

    /// A client is let in, and hears the last word.
    pub(super) fn check_last_word(&mut self, client: usize) {
        let has_method = self.actors[client].plan.has_method;
        // It may have lost its connection in the same call.
        let Some(negotiated) = self.actors[client].client.negotiated() else {
            return;
        };
        let said = negotiated.authentication_data.as_ref();
        if said != has_method.then(|| data(LAST)).as_ref() {
            let text = format!("{said:?} for c{client}");
            self.fail("each side hears what the other has said", text);
        }
    }

    /// A client begins a new authentication.
    pub(super) fn reauthenticate(&mut self, client: usize) {
        let place = self.line_of(client);
        let goes_on = place.is_some_and(|place| self.lines[place].dialogue.is_again);
        let actor = &mut self.actors[client];
        let expected = match actor.client.state() {
            State::Connected if !actor.plan.has_method => Err(AuthenticateError::NoMethod),
            State::Connected if goes_on => Err(AuthenticateError::Busy),
            State::Connected => Ok(()),
            _ => Err(AuthenticateError::NotConnected),
        };
        let result = actor
            .client
            .reauthenticate(self.now, Binary::new(AGAIN).ok());
        if result != expected {
            let text = format!("c{client}: {result:?}, and not {expected:?}");
            self.fail("one authentication goes on at a time", text);
        }
        if let Some(place) = place.filter(|_| result.is_ok()) {
            self.lines[place].dialogue.is_again = true;
        }
        self.drain_client(client);
    }

    /// It has come to its end.
    pub(super) fn is_authenticated_again(
        &mut self,
        client: usize,
        said: Option<&AuthenticationData>,
    ) {
        let place = self.line_of(client);
        let dialogue = place.map(|place| &mut self.lines[place].dialogue);
        let was_again = dialogue.is_some_and(|it| core::mem::take(&mut it.is_again));
        if !was_again || said != Some(&data(LAST)) {
            let text = format!("{said:?} for c{client}");
            self.fail("each side hears what the other has said", text);
        }
        self.coverage.authentication[5] += 1;
    }

    /// In the end nobody waits for the next step of one.
    pub(super) fn check_dialogues(&mut self) {
        let mut lines = self.lines.iter();
        let open = lines.find(|line| line.dialogue.is_open || line.dialogue.is_again);
        if let Some(line) = open {
            let text = format!(
                "line {} of c{}: {:?}",
                line.number, line.client, line.dialogue
            );
            self.fail("an authentication comes to an end", text);
        }
    }
}
