//! Why commands to a connection fail.

use alloc::boxed::Box;
use core::fmt;

use super::{Acceptance, Connection};

/// Why a command was not carried out. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// The connection is not in a state for it: no CONNECT waits for an answer, or the client has not
    /// been accepted.
    WrongState,
    /// The connection is over, so that the command comes too late. That is harmless and no mistake: a client
    /// may ask for something and go in one breath, and then its end is known before
    /// [`poll_event`](super::Connection::poll_event) has told of the question. [`Event::Closed`](super::Event::Closed)
    /// comes behind it, and the session is to be taken out as ever.
    Over,
    /// The assigned client identifier is no string of MQTT.
    ClientId,
    /// A text is no string of MQTT.
    Text,
    /// The request was answered before.
    Answered,
    /// The answer has another number of reason codes than the request had filters, or is for the
    /// other kind of request.
    Reasons,
    /// The answer is larger than the client takes; the connection has been closed.
    AnswerTooLarge,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongState => "the connection is not in a state for this command",
            Self::Over => "the connection is over",
            Self::ClientId => "the assigned client identifier is no string of MQTT",
            Self::Text => "a text is no string of MQTT",
            Self::Answered => "the request was answered before",
            Self::Reasons => "the reason codes do not fit the request",
            Self::AnswerTooLarge => "the answer is larger than the client takes",
        })
    }
}

impl core::error::Error for CommandError {}

impl Connection {
    /// Why a command that belongs to another moment is not carried out.
    pub(super) fn not_now(&self) -> CommandError {
        match self.link.is_ended() {
            true => CommandError::Over,
            false => CommandError::WrongState,
        }
    }
}

/// An `accept` that was not carried out; what it was to bring, the session above all, comes back.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the acceptance and the reason, nothing else"
)]
pub struct AcceptError {
    /// Why. With [`CommandError::Over`] the client has gone while somebody decided. With
    /// [`CommandError::AnswerTooLarge`] the client was accepted, and its session is in the
    /// connection, which is over.
    pub kind: CommandError,
    /// The acceptance, unchanged.
    pub acceptance: Box<Acceptance>,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl core::error::Error for AcceptError {}
