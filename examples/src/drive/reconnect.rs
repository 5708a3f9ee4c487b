//! Whether a program connects again when its connection is gone, and when.

use std::time::Duration;

use mqtt_codec::{ConnectReason, DisconnectReason};
use mqtt_state::{CloseCause, Timestamp};

use super::Pauses;

/// For a program that comes back when its broker does. The first connection has to come about: who gave a wrong
/// address is told at once.
#[derive(Debug)]
pub struct Reconnect {
    program: &'static str,
    is_wanted: bool,
    was_connected: bool,
    pauses: Pauses,
    /// What was told last of why there is no connection.
    told: Option<String>,
}

impl Reconnect {
    /// For a program of this name that wants it, or wants to end.
    pub fn new(program: &'static str, is_wanted: bool) -> Self {
        Self {
            program,
            is_wanted,
            was_connected: false,
            pauses: Pauses::new(),
            told: None,
        }
    }

    /// Whether connections after the first are made.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// The broker has accepted a connection.
    pub fn connected(&mut self, now: Timestamp) {
        self.was_connected = true;
        self.pauses.connected(now);
        if self.told.take().is_some() {
            crate::log!("{}: connected again", self.program);
        }
    }

    /// There is no connection, for this reason: how long to wait for the next attempt. Without a cause there was none.
    ///
    /// # Errors
    ///
    /// The reason, where it is one to end.
    pub fn pause(
        &mut self,
        now: Timestamp,
        cause: Option<&CloseCause>,
        error: anyhow::Error,
    ) -> anyhow::Result<Duration> {
        if !self.is_wanted || !self.was_connected || !cause.is_none_or(passes) {
            return Err(error);
        }
        let why = format!("{error:#}");
        if self.told.as_ref() != Some(&why) {
            crate::log!("{}: {why}; connecting again", self.program);
            self.told = Some(why);
        }
        Ok(self.pauses.next(now))
    }
}

/// Whether a later connection may end otherwise. Who was sent away, or has another one in his place, or does not get
/// on with this broker, would only come to the same again.
fn passes(cause: &CloseCause) -> bool {
    match cause {
        CloseCause::ConnectionLost
        | CloseCause::ConnectTimeout
        | CloseCause::PingTimeout
        | CloseCause::KeepAliveTimeout => true,
        CloseCause::DisconnectedByPeer(reason) => matches!(
            reason,
            DisconnectReason::NormalDisconnection
                | DisconnectReason::UnspecifiedError
                | DisconnectReason::ServerBusy
                | DisconnectReason::ServerShuttingDown
                | DisconnectReason::KeepAliveTimeout
                | DisconnectReason::ConnectionRateExceeded
                | DisconnectReason::MaximumConnectTime
        ),
        CloseCause::Refused(reason) => matches!(
            reason,
            ConnectReason::ServerUnavailable
                | ConnectReason::ServerBusy
                | ConnectReason::ConnectionRateExceeded
        ),
        _ => false,
    }
}
