//! The handshake and the end of a connection in the client role.

use alloc::string::{String, ToString};
use core::fmt;

use mqtt_codec::{
    ConnAck, ConnAckOutcome, Connect, Disconnect, DisconnectReason, EncodeError, MaximumQoS,
    Packet, ProtocolVersion, QoS, Str, UserProperties,
};

use super::authenticate::Dialogue;
use super::keep_alive::KeepAlive;
use super::{Client, Config, Event, LostCause, Negotiated, Phase, RequestToken};
use crate::link::{Link, LinkLimits, announced_packet_size};
use crate::session::{Lost, Record};
use crate::{CloseCause, Diagnostics, ProtocolError, Timestamp};

/// What CONNECT said, as far as CONNACK is read in its light.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    version: ProtocolVersion,
    clean_start: bool,
    keep_alive_secs: u16,
    pub(super) session_expiry_secs: u32,
    /// Bytes of CONNECT are on their way.
    pub(super) is_sent: bool,
    pub(super) request_problem_information: bool,
}

/// Why a `connect` was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// A connection exists; end it, or report its end with `handle_close`, before the next.
    AlreadyConnected,
    /// As many events wait as [`Config`] allows: fetch them first.
    EventsFull,
    /// The packet cannot be written in its version.
    Encode(EncodeError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyConnected => f.write_str("a connection exists already"),
            Self::EventsFull => f.write_str("too many events wait to be fetched"),
            Self::Encode(error) => write!(f, "CONNECT: {error}"),
        }
    }
}

impl core::error::Error for ConnectError {}

/// Why a `disconnect` was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectError {
    /// There is no connection to end.
    NotConnected,
    /// A Session Expiry Interval above 0, after CONNECT had none.
    SessionExpiryRaised,
}

impl fmt::Display for DisconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "there is no connection",
            Self::SessionExpiryRaised => {
                "the session expiry cannot be raised after CONNECT had none"
            }
        })
    }
}

impl core::error::Error for DisconnectError {}

/// What a server says when it ends a connection.
#[derive(Debug, Default)]
pub(super) struct Parting {
    diagnostics: Diagnostics,
    server_reference: Option<String>,
}

impl Parting {
    pub(super) fn new(
        reason_string: Option<Str<'_>>,
        user_properties: UserProperties<'_>,
        server_reference: Option<Str<'_>>,
    ) -> Self {
        Self {
            diagnostics: Diagnostics::new(reason_string, user_properties),
            server_reference: server_reference.map(|text| text.as_str().to_string()),
        }
    }
}

impl Client {
    /// Begins a connection on a transport that has just been opened: queues CONNECT.
    ///
    /// Receive Maximum, Maximum Packet Size and Topic Alias Maximum are filled in from the
    /// [`Config`]. With `clean_start`, or a client identifier other than the one
    /// before, what was in flight is lost at once, with an event for each message; messages that were
    /// never sent stay and go out on this connection.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; nothing has changed then.
    // [5:MQTT-3.1.0-1] [3:MQTT-3.1.0-1] CONNECT is the first packet.
    pub fn connect(&mut self, now: Timestamp, connect: &Connect<'_>) -> Result<(), ConnectError> {
        let now = self.clock.advance(now);
        if self.link.is_some() {
            return Err(ConnectError::AlreadyConnected);
        }
        if self.events.is_full(&self.config) {
            return Err(ConnectError::EventsFull);
        }
        let mut connect = *connect;
        let properties = &mut connect.properties;
        let receive_maximum = core::num::NonZeroU16::new(self.config.receive_maximum.max(1));
        properties.receive_maximum = receive_maximum.filter(|maximum| maximum.get() < u16::MAX);
        properties.packet_size_max = announced_packet_size(self.config.packet_size_max);
        properties.topic_alias_maximum =
            (self.config.topic_alias_maximum > 0).then_some(self.config.topic_alias_maximum);
        let mut link = Link::new(connect.version, self.config.answers_bytes_max);
        link.send(&Packet::Connect(connect))
            .map_err(ConnectError::Encode)?;
        link.note_stored(self.events.journal.stored());
        self.link = Some(link);
        // [5:MQTT-3.1.2-4] [3:MQTT-3.1.2-6] A clean start drops the state of any earlier session; so does
        // another client identifier. [5:MQTT-3.1.3-2] [3:MQTT-3.1.3-2]
        let client_id = connect.client_id.as_str();
        let is_of_another = { self.session_of.as_deref() }.is_some_and(|of| of != client_id);
        if connect.clean_start || is_of_another {
            self.lose_session();
        }
        self.session_of = Some(client_id.into());
        let offer = Offer {
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive_secs: connect.keep_alive_secs,
            session_expiry_secs: match connect.version {
                ProtocolVersion::V5_0 => connect.properties.session_expiry_secs.unwrap_or(0),
                ProtocolVersion::V3_1_1 if connect.clean_start => 0,
                ProtocolVersion::V3_1_1 => u32::MAX,
            },
            is_sent: false,
            request_problem_information: connect
                .properties
                .request_problem_information
                .unwrap_or(true),
        };
        self.keep_alive = KeepAlive::new(now, 0);
        let authentication = connect.properties.authentication.as_ref();
        let authentication = authentication.filter(|_| connect.version == ProtocolVersion::V5_0);
        self.dialogue = authentication.map(Dialogue::new);
        self.phase = Phase::Connecting {
            deadline: now + self.config.connect_timeout,
            offer,
        };
        // The server may make a session of it, which a program that begins again has to know.
        self.record_known();
        self.hold_answers(0);
        Ok(())
    }

    /// Ends the connection with DISCONNECT. Messages that have not been acknowledged stay in the
    /// session, if it outlives the connection.
    ///
    /// # Errors
    ///
    /// [`DisconnectError::NotConnected`].
    pub fn disconnect(
        &mut self,
        now: Timestamp,
        reason: DisconnectReason,
    ) -> Result<(), DisconnectError> {
        self.disconnect_with(now, &Disconnect::new(reason))
    }

    /// Ends the connection with a DISCONNECT that carries properties (5.0).
    ///
    /// # Errors
    ///
    /// [`DisconnectError`]; nothing has changed then.
    pub fn disconnect_with(
        &mut self,
        now: Timestamp,
        disconnect: &Disconnect<'_>,
    ) -> Result<(), DisconnectError> {
        let now = self.clock.advance(now);
        let agreed_expiry_secs = match &self.phase {
            Phase::Connecting { offer, .. } => offer.session_expiry_secs,
            Phase::Connected {
                session_expiry_asked_secs,
                ..
            } => *session_expiry_asked_secs,
            Phase::Disconnected | Phase::Ending { .. } => {
                return Err(DisconnectError::NotConnected);
            }
        };
        // 3.1.1 cannot say it.
        let has_expiry =
            { self.link.as_ref() }.is_some_and(|link| link.version() == ProtocolVersion::V5_0);
        if let Some(expiry_secs) = disconnect
            .properties
            .session_expiry_secs
            .filter(|_| has_expiry)
        {
            if expiry_secs > 0 && agreed_expiry_secs == 0 {
                return Err(DisconnectError::SessionExpiryRaised);
            }
            self.session_survives = expiry_secs > 0;
        }
        self.with_link(|link| link.disconnect(disconnect));
        self.end(
            now,
            CloseCause::Disconnected(disconnect.reason),
            Parting::default(),
        );
        Ok(())
    }

    pub(super) fn handle_connack(
        &mut self,
        now: Timestamp,
        connack: &ConnAck<'_>,
        offer: &Offer,
    ) -> Result<(), ProtocolError> {
        let properties = &connack.properties;
        let session_present = match connack.outcome {
            ConnAckOutcome::Accepted { session_present } => session_present,
            ConnAckOutcome::Refused(reason) => {
                let parting = Parting::new(
                    properties.reason_string,
                    properties.user_properties,
                    properties.server_reference,
                );
                self.with_link(Link::close);
                self.end(now, CloseCause::Refused(reason), parting);
                return Ok(());
            }
        };
        let authentication_data = self.finish_authentication(properties.authentication)?;
        // [5:MQTT-3.2.2-4] 3.1.1 leaves it to the client, except that a clean start cannot find a session.
        let unknown =
            !self.session_known && (offer.version == ProtocolVersion::V5_0 || offer.clean_start);
        if session_present && unknown {
            return Err(ProtocolError::UnknownSessionPresent);
        }
        // [5:MQTT-3.2.2-5] The server has lost the session: so has this side.
        if !session_present {
            self.lose_session();
        }
        if let Some(assigned) = properties.assigned_client_id {
            self.session_of = Some(assigned.as_str().into());
        }
        let client_id = self.session_of.as_deref().unwrap_or_default();
        let negotiated = Negotiated {
            authentication_data,
            ..negotiate(offer, client_id, connack)
        };
        self.session_known = true;
        self.session_survives = negotiated.session_expiry_secs > 0;
        self.keep_alive.begin(now, negotiated.keep_alive_secs);
        if let Some(link) = &mut self.link {
            link.open(limits(&self.config, &negotiated));
            link.pin_topics(&self.pinned_topics);
            link.note_stored(self.events.journal.stored());
            let mark = link.mark();
            // A PUBREL is four bytes; a server that takes less than that cannot be served.
            if link.resume(&mut self.session).is_err() {
                self.end_with_answer_too_large(now);
                return Ok(());
            }
            self.hold_answers(mark);
        }
        self.phase = Phase::Connected {
            negotiated,
            session_expiry_asked_secs: offer.session_expiry_secs,
            request_problem_information: offer.request_problem_information,
        };
        self.record_known();
        self.events.push(Event::Connected { session_present });
        Ok(())
    }

    /// The connection is over, as far as this machine is concerned. What is in the link's outbox
    /// still goes out.
    pub(super) fn end(&mut self, now: Timestamp, cause: CloseCause, parting: Parting) {
        let is_unanswered = !matches!(cause, CloseCause::Refused(_) | CloseCause::ProtocolError(_));
        let (may_have_session, ends_session) = match &self.phase {
            // Whose CONNACK never came may have made a session all the same.
            Phase::Connecting { offer, .. } => {
                // So may one that has not gone out, as long as there is a connection for it to go out on.
                let may_have_come = offer.is_sent || self.link.is_some();
                let may_have = may_have_come && offer.session_expiry_secs > 0;
                (is_unanswered && may_have, false)
            }
            Phase::Connected { .. } => (false, !self.session_survives),
            Phase::Disconnected | Phase::Ending { .. } => (false, false),
        };
        self.phase = Phase::Ending {
            deadline: now + self.config.close_timeout,
        };
        self.receipts.end_connection();
        self.dialogue = None;
        self.quota_exhausted = false;
        self.subscriptions.forget_requests();
        for tag in self.session.outbound.take_requests() {
            self.events.push(Event::RequestLost {
                token: RequestToken(tag),
            });
        }
        if ends_session {
            self.lose_session();
        }
        self.session_known |= may_have_session;
        self.record_known();
        self.events.push(Event::Closed {
            cause,
            diagnostics: parting.diagnostics,
            server_reference: parting.server_reference,
        });
    }

    pub(super) fn end_with_answer_too_large(&mut self, now: Timestamp) {
        self.leave(now, CloseCause::AnswerTooLarge);
    }

    /// Ends the connection for a reason that is this side's.
    pub(super) fn leave(&mut self, now: Timestamp, cause: CloseCause) {
        let reason = match cause {
            CloseCause::AnswerTooLarge => DisconnectReason::PacketTooLarge,
            _ => DisconnectReason::UnspecifiedError,
        };
        self.with_link(|link| match link.version() {
            ProtocolVersion::V5_0 => link.disconnect(&Disconnect::new(reason)),
            ProtocolVersion::V3_1_1 => link.close(),
        });
        self.end(now, cause, Parting::default());
    }

    /// What was in flight died with the session.
    fn lose_session(&mut self) {
        self.session_known = false;
        self.record(|| Record::Lost);
        self.session.inbound.clear();
        self.receipts.end_session();
        for Lost {
            tag,
            message,
            was_told,
        } in self.session.outbound.take_in_flight()
        {
            if !was_told {
                let message = message.map(|held| held.message);
                self.events.lose(tag, message, LostCause::SessionLost);
            }
        }
    }
}

/// What the two sides take from each other on this connection.
fn limits(config: &Config, negotiated: &Negotiated) -> LinkLimits {
    let (receive_maximum, send_quota) = match negotiated.version {
        ProtocolVersion::V3_1_1 => (config.receive_maximum_v3, config.in_flight_max_v3),
        ProtocolVersion::V5_0 => (config.receive_maximum, negotiated.receive_maximum),
    };
    LinkLimits {
        version: negotiated.version,
        receive_maximum,
        topic_alias_maximum: config.topic_alias_maximum,
        send_quota: send_quota.min(config.in_flight_max),
        peer_packet_size_max: negotiated
            .packet_size_max
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(usize::MAX),
        peer_maximum_qos: negotiated.maximum_qos,
        peer_retain_available: negotiated.retain_available,
        peer_problem_information: true,
        peer_topic_alias_maximum: negotiated.topic_alias_maximum,
        outbound_aliases_max: config.outbound_topic_aliases_max,
        automatic_aliases: config.automatic_topic_aliases,
    }
}

/// What holds on this connection: CONNACK where it says something, CONNECT elsewhere.
fn negotiate(offer: &Offer, client_id: &str, connack: &ConnAck<'_>) -> Negotiated {
    let properties = &connack.properties;
    Negotiated {
        version: offer.version,
        client_id: client_id.to_string(),
        // [5:MQTT-3.1.2-21] [5:MQTT-3.2.2-21]
        keep_alive_secs: properties
            .server_keep_alive_secs
            .unwrap_or(offer.keep_alive_secs),
        session_expiry_secs: properties
            .session_expiry_secs
            .unwrap_or(offer.session_expiry_secs),
        receive_maximum: properties.receive_maximum.map_or(u16::MAX, Into::into),
        packet_size_max: properties.packet_size_max.map(Into::into),
        topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
        maximum_qos: match properties.maximum_qos {
            Some(MaximumQoS::AtMostOnce) => QoS::AtMostOnce,
            Some(MaximumQoS::AtLeastOnce) => QoS::AtLeastOnce,
            None => QoS::ExactlyOnce,
        },
        retain_available: properties.retain_available.unwrap_or(true),
        wildcard_subscription_available: properties.wildcard_subscription_available.unwrap_or(true),
        subscription_id_available: properties.subscription_id_available.unwrap_or(true),
        shared_subscription_available: properties.shared_subscription_available.unwrap_or(true),
        response_information: properties
            .response_information
            .map(|text| text.as_str().to_string()),
        server_reference: properties
            .server_reference
            .map(|text| text.as_str().to_string()),
        authentication_data: None,
    }
}
