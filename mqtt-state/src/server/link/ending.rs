//! The end of a connection, and the last packet that tells the client why.

use mqtt_codec::{ConnAckProperties, ConnectReason, Disconnect, DisconnectReason, ProtocolVersion};

use super::{Phase, ServerLink};
use crate::server::Config;
use crate::{CloseCause, Timestamp};

impl ServerLink {
    /// Ends the connection, with the last packet that the cause calls for.
    pub(crate) fn end(&mut self, now: Timestamp, cause: CloseCause, config: &Config) {
        let deadline = now + config.close_timeout;
        let phase = core::mem::replace(&mut self.phase, Phase::Ended { deadline });
        match (phase, cause) {
            (Phase::Ended { deadline }, _) => self.phase = Phase::Ended { deadline },
            (Phase::AwaitConnect { .. }, CloseCause::ProtocolError(error)) => {
                self.refuse_connect(&error);
            }
            // [5:MQTT-3.14.0-1] CONNACK answers CONNECT, and nothing answers what has not come.
            (Phase::AwaitConnect { .. }, _without_packet) => self.link.close(),
            (Phase::AwaitDecision(_) | Phase::AwaitAuthentication(_), cause) => {
                self.refuse(cause);
            }
            (Phase::Connected(_), CloseCause::ProtocolError(error)) => self.link.fail(&error),
            (Phase::Connected(_), CloseCause::KeepAliveTimeout) => {
                self.disconnect(DisconnectReason::KeepAliveTimeout)
            }
            // [5:MQTT-4.12.1-2] A new authentication that comes to no end has failed.
            (Phase::Connected(_), CloseCause::AuthenticationTimeout) => {
                self.disconnect(DisconnectReason::NotAuthorized)
            }
            (Phase::Connected(_), CloseCause::AnswerTooLarge) => {
                self.disconnect(DisconnectReason::PacketTooLarge)
            }
            (Phase::Connected(_), CloseCause::Disconnected(reason)) => self.disconnect(reason),
            (Phase::Connected(_), CloseCause::ConnectionLost) => self.link.abort(),
            (Phase::Connected(_), _without_packet) => self.link.close(),
        }
    }

    /// DISCONNECT with more than a reason, in front of [`end`](Self::end), where the client can take it.
    pub(crate) fn say_goodbye(&mut self, goodbye: &Disconnect<'_>) {
        if self.is_connected() && self.link.version() == ProtocolVersion::V5_0 {
            let reason = of_a_server(goodbye.reason);
            self.link.disconnect(&Disconnect { reason, ..*goodbye });
        }
    }

    /// Nothing more will be stored: what waits for that is left out, in front of [`end`](Self::end).
    // [5:MQTT-3.14.0-1] Where CONNACK was to say that the client is in, it says that it is not: there is no
    // DISCONNECT then.
    pub(crate) fn give_up_held(&mut self) {
        self.link.give_up_held();
        if let Phase::Connected(terms) = self.phase
            && self.link.mark() < terms.greeted_at
        {
            let reason = ConnectReason::ServerUnavailable;
            self.say_no(reason, ConnAckProperties::default());
        }
    }

    /// The transport is gone, and with it whoever could read the last bytes.
    pub(crate) fn abort(&mut self) {
        self.link.abort();
    }

    // [5:MQTT-3.14.0-1] DISCONNECT goes out only after a successful CONNACK, and only in 5.0.
    fn disconnect(&mut self, reason: DisconnectReason) {
        match self.link.version() {
            ProtocolVersion::V5_0 => {
                let reason = of_a_server(reason);
                self.link.disconnect(&Disconnect::new(reason));
            }
            ProtocolVersion::V3_1_1 => self.link.close(),
        }
    }
}

/// 0x04 is a client's alone: whatever a server says, the will is published.
const fn of_a_server(reason: DisconnectReason) -> DisconnectReason {
    match reason {
        DisconnectReason::DisconnectWithWill => DisconnectReason::NormalDisconnection,
        other => other,
    }
}
