//! The handshake in the server role: what CONNECT must fulfil, and both ways to answer it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{
    AckProperties, ConnAck, ConnAckOutcome, ConnAckProperties, Connect, ConnectReason, EncodeError,
    MaximumQoS, Packet, Phase, ProtocolVersion, QoS, Reply, Str, UserProperties, UserProperty,
};

use super::authenticate::Dialogue;
use super::link::{self, Action, ServerLink, Terms};
use super::{AcceptError, CommandError, Config, Connection, Session};
use crate::link::{Link, LinkLimits, announced_packet_size};
use crate::session;
use crate::{AuthenticationData, CloseCause, ProtocolError, Timestamp};

/// What CONNECT asked for, as far as the answer depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    version: ProtocolVersion,
    keep_alive_secs: u16,
    session_expiry_asked_secs: u32,
    receive_maximum: u16,
    packet_size_max: usize,
    topic_alias_maximum: u16,
    problem_information: bool,
    response_information: bool,
}

/// What goes with a successful CONNACK.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Welcome<'a> {
    pub(crate) session_present: bool,
    /// In force from now on.
    pub(crate) session_expiry_secs: u32,
    /// For a client that left its identifier empty.
    pub(crate) assigned_client_id: Option<Str<'a>>,
    /// The last step of an enhanced authentication.
    pub(crate) authentication_data: Option<&'a AuthenticationData>,
    /// In place of what the client asked for (5.0).
    pub(crate) keep_alive_secs: Option<u16>,
    /// For a client that asked for it.
    pub(crate) response_information: Option<Str<'a>>,
    pub(crate) details: AckProperties<'a>,
}

/// The session expiry in force for a CONNECT, in seconds; `u32::MAX` is for ever.
pub(crate) fn session_expiry_secs(connect: &Connect<'_>, config: &Config) -> u32 {
    let asked = match (connect.version, connect.clean_start) {
        (ProtocolVersion::V5_0, _) => connect.properties.session_expiry_secs.unwrap_or(0),
        // [3:MQTT-3.1.2-6] CleanSession 1: as long as the connection. [3:MQTT-3.1.2-4] 0: kept.
        (ProtocolVersion::V3_1_1, true) => 0,
        (ProtocolVersion::V3_1_1, false) => u32::MAX,
    };
    config
        .session_expiry_max_secs
        .map_or(asked, |maximum| asked.min(maximum))
}

/// What makes a well-formed CONNECT unacceptable to this server.
pub(crate) fn check(connect: &Connect<'_>, config: &Config) -> Result<(), ConnectReason> {
    // [3:MQTT-3.1.3-8] An empty identifier needs CleanSession 1. 5.0 has no such rule.
    if connect.version == ProtocolVersion::V3_1_1
        && connect.client_id.is_empty()
        && !connect.clean_start
    {
        return Err(ConnectReason::ClientIdNotValid);
    }
    // 3.1.1 has no way to tell a client another keep alive.
    if connect.version == ProtocolVersion::V3_1_1
        && config
            .keep_alive_max_secs
            .is_some_and(|maximum| connect.keep_alive_secs > maximum.get())
    {
        return Err(ConnectReason::ClientIdNotValid);
    }
    if let Some(will) = &connect.will {
        if config
            .payload_size_max
            .is_some_and(|maximum| will.payload.as_bytes().len() > maximum)
        {
            return Err(ConnectReason::QuotaExceeded);
        }
        // [5:MQTT-3.2.2-12]
        if will.qos > config.maximum_qos {
            return Err(ConnectReason::QoSNotSupported);
        }
        // [5:MQTT-3.2.2-13]
        if will.retain && !config.retain_available {
            return Err(ConnectReason::RetainNotSupported);
        }
    }
    // [5:MQTT-4.12.0-1] No authentication method is supported.
    if connect.properties.authentication.is_some() && !config.enhanced_authentication {
        return Err(ConnectReason::BadAuthenticationMethod);
    }
    Ok(())
}

/// How a CONNECT is accepted.
///
/// ```
/// use mqtt_state::server::Acceptance;
///
/// let acceptance = Acceptance { keep_alive_secs: Some(30), ..Acceptance::default() };
/// assert!(acceptance.session.is_none());
/// ```
#[derive(Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Acceptance {
    /// The session that was kept for this client, if there is one. A client that asked for a clean
    /// start does not get it: it is dropped, and a new one begins.
    pub session: Option<Session>,
    /// For a client that left its identifier empty.
    pub assigned_client_id: Option<String>,
    /// The last step of an enhanced authentication, if there is one to tell.
    pub authentication_data: Option<AuthenticationData>,
    /// The keep alive for this client, in seconds, in place of what it asked for and of
    /// [`Config::keep_alive_max_secs`]; 0 is off. A 3.1.1 client cannot be told, and keeps its own.
    pub keep_alive_secs: Option<u16>,
    /// How long the session of this client is to be kept, in seconds, in place of what it asked for;
    /// `u32::MAX` is for ever. A 3.1.1 client cannot be told.
    pub session_expiry_secs: Option<u32>,
    /// What a client may make response topics of (5.0). Left out for one that did not ask for it.
    pub response_information: Option<String>,
    /// For people (5.0). Left out where the client does not take so large a packet.
    pub reason_string: Option<String>,
    /// For programs (5.0), likewise.
    pub user_properties: Vec<(String, String)>,
}

/// A text as a string of MQTT, or else this error.
fn text(text: &Option<String>, error: CommandError) -> Result<Option<Str<'_>>, CommandError> {
    let text = text.as_deref().map(Str::new);
    text.transpose().map_err(|_| error)
}

impl Connection {
    /// Accepts the CONNECT of [`Event::Connect`](super::Event::Connect). What the session has in
    /// flight is sent again.
    ///
    /// # Errors
    ///
    /// [`AcceptError`], with the acceptance. The client may have gone while somebody decided: its
    /// session is to be kept then.
    pub fn accept(
        &mut self,
        now: Timestamp,
        mut acceptance: Acceptance,
    ) -> Result<(), AcceptError> {
        let now = self.clock.advance(now);
        let accepted = self.try_accept(now, &mut acceptance);
        accepted.map_err(|kind| AcceptError {
            kind,
            acceptance: Box::new(acceptance),
        })
    }

    /// Takes the session out of the acceptance when nothing can fail any more.
    fn try_accept(
        &mut self,
        now: Timestamp,
        acceptance: &mut Acceptance,
    ) -> Result<(), CommandError> {
        if !self.link.awaits_decision() {
            return Err(self.not_now());
        }
        let pairs = acceptance.user_properties.iter().map(|(name, value)| {
            let (name, value) = (Str::new(name).ok()?, Str::new(value).ok()?);
            Some(UserProperty { name, value })
        });
        let pairs: Option<Vec<_>> = pairs.collect();
        let pairs = pairs.ok_or(CommandError::Text)?;
        let assigned_client_id = text(&acceptance.assigned_client_id, CommandError::ClientId)?;
        let response_information = text(&acceptance.response_information, CommandError::Text)?;
        let details = AckProperties {
            reason_string: text(&acceptance.reason_string, CommandError::Text)?,
            user_properties: UserProperties::new(&pairs),
        };
        // [5:MQTT-3.1.2-4] [3:MQTT-3.1.2-6] [5:MQTT-3.2.2-2] [3:MQTT-3.2.2-1] A clean start has none.
        let session = acceptance.session.take().filter(|_| !self.clean_start);
        let session_present = session.is_some();
        self.session = session.unwrap_or_default();
        self.is_accepted = true;
        self.session_expiry_secs = acceptance
            .session_expiry_secs
            .unwrap_or(self.session_expiry_secs);
        let welcome = Welcome {
            session_present,
            session_expiry_secs: self.session_expiry_secs,
            assigned_client_id,
            authentication_data: acceptance.authentication_data.as_ref(),
            keep_alive_secs: acceptance.keep_alive_secs,
            response_information,
            details,
        };
        let session = &mut self.session.core;
        if self.link.accept(&welcome, session, &self.config).is_err() {
            self.end(now, CloseCause::AnswerTooLarge);
            return Err(CommandError::AnswerTooLarge);
        }
        Ok(())
    }

    /// Refuses the CONNECT of [`Event::Connect`](super::Event::Connect), with CONNACK where the
    /// version has a code for the reason.
    ///
    /// # Errors
    ///
    /// [`CommandError::WrongState`] and [`CommandError::Over`].
    pub fn reject(&mut self, now: Timestamp, reason: ConnectReason) -> Result<(), CommandError> {
        self.reject_with(now, reason, &ConnAckProperties::default())
    }

    /// Refuses the CONNECT with more to say about it (5.0): a reason string, user properties, and a
    /// server reference with 0x9C and 0x9D. Other properties are for clients that are accepted, and
    /// left out.
    ///
    /// # Errors
    ///
    /// [`CommandError::WrongState`] and [`CommandError::Over`].
    pub fn reject_with(
        &mut self,
        now: Timestamp,
        reason: ConnectReason,
        properties: &ConnAckProperties<'_>,
    ) -> Result<(), CommandError> {
        let now = self.clock.advance(now);
        if !self.link.awaits_decision() {
            return Err(self.not_now());
        }
        self.will = None;
        self.link.say_no(
            reason,
            ConnAckProperties {
                reason_string: properties.reason_string,
                user_properties: properties.user_properties,
                server_reference: properties.server_reference,
                ..ConnAckProperties::default()
            },
        );
        self.end(now, CloseCause::Refused(reason));
        Ok(())
    }
}

impl ServerLink {
    pub(super) fn receive_connect<'p>(
        &mut self,
        packet: &Packet<'p>,
        config: &Config,
    ) -> Result<Action<'p>, ProtocolError> {
        let Packet::Connect(connect) = packet else {
            return Err(ProtocolError::FirstPacketNotConnect(packet.packet_type()));
        };
        let properties = &connect.properties;
        let offer = Offer {
            version: connect.version,
            keep_alive_secs: connect.keep_alive_secs,
            session_expiry_asked_secs: properties.session_expiry_secs.unwrap_or(0),
            receive_maximum: properties.receive_maximum.map_or(u16::MAX, Into::into),
            packet_size_max: properties
                .packet_size_max
                .and_then(|size| usize::try_from(size.get()).ok())
                .unwrap_or(usize::MAX),
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            problem_information: properties.request_problem_information.unwrap_or(true),
            response_information: properties.request_response_information.unwrap_or(false),
        };
        self.link = Link::new(connect.version, config.answers_bytes_max);
        self.link.heed(offer.packet_size_max);
        self.dialogue = properties.authentication.as_ref().map(Dialogue::new);
        self.phase = link::Phase::AwaitDecision(offer);
        Ok(Action::Connect(*connect))
    }

    /// Answers CONNECT with success and opens the connection.
    // [5:MQTT-3.2.0-2] Once: there is nothing to accept before and afterwards.
    // [5:MQTT-3.1.4-5] [3:MQTT-3.1.4-4] [5:MQTT-3.2.0-1] [3:MQTT-3.2.0-1] CONNACK is the first packet of the server.
    pub(crate) fn accept<M>(
        &mut self,
        welcome: &Welcome<'_>,
        session: &mut session::Session<M>,
        config: &Config,
    ) -> Result<(), EncodeError> {
        let link::Phase::AwaitDecision(offer) = self.phase else {
            return Ok(());
        };
        let keep_alive_secs = match (offer.version, welcome.keep_alive_secs) {
            (ProtocolVersion::V5_0, Some(set)) => set,
            (ProtocolVersion::V5_0 | ProtocolVersion::V3_1_1, _) => {
                super::keep_alive::in_force(offer.version, offer.keep_alive_secs, config)
            }
        };
        self.link.open(LinkLimits {
            version: offer.version,
            receive_maximum: match offer.version {
                ProtocolVersion::V3_1_1 => config.receive_maximum_v3,
                ProtocolVersion::V5_0 => config.receive_maximum,
            },
            topic_alias_maximum: config.topic_alias_maximum,
            send_quota: offer.receive_maximum.min(config.in_flight_max),
            peer_packet_size_max: offer.packet_size_max,
            // A client has no such limits to announce.
            peer_maximum_qos: QoS::ExactlyOnce,
            peer_retain_available: true,
            peer_problem_information: offer.problem_information,
            peer_topic_alias_maximum: offer.topic_alias_maximum,
            automatic_aliases: true,
            outbound_aliases_max: config.outbound_topic_aliases_max,
        });
        let connack = ConnAck {
            // [5:MQTT-3.2.2-2] [5:MQTT-3.2.2-3] [3:MQTT-3.2.2-1] [3:MQTT-3.2.2-2] [3:MQTT-3.2.2-3]
            outcome: ConnAckOutcome::Accepted {
                session_present: welcome.session_present,
            },
            properties: match offer.version {
                ProtocolVersion::V3_1_1 => ConnAckProperties::default(),
                ProtocolVersion::V5_0 => ConnAckProperties {
                    // [5:MQTT-4.12.0-5] The method of CONNECT.
                    authentication: Self::last_word(
                        self.dialogue.as_deref(),
                        welcome.authentication_data,
                    ),
                    ..properties(&offer, welcome, keep_alive_secs, config)
                },
            },
        };
        self.link.note_greeting();
        self.link.send(&Packet::ConnAck(connack))?;
        self.phase = link::Phase::Connected(Terms {
            session_expiry_asked_secs: offer.session_expiry_asked_secs,
            keep_alive_secs,
            greeted_at: self.link.mark(),
        });
        self.end_dialogue();
        // Whatever is cut and resumed: no more than this is in flight over all connections.
        session.outbound.limit_in_flight(config.in_flight_len_max());
        if welcome.session_present {
            self.link.resume(session)?;
        }
        Ok(())
    }

    /// Ends a connection that never was accepted, with CONNACK where there is one to send.
    pub(super) fn refuse(&mut self, cause: CloseCause) {
        let reason = match cause {
            CloseCause::Refused(reason) => Some(reason),
            // [5:MQTT-4.13.1-1] In the middle of an authentication; there is no DISCONNECT before CONNACK.
            CloseCause::ProtocolError(error) => {
                let reason = ConnectReason::try_from(error.reason_code());
                Some(reason.unwrap_or(ConnectReason::ProtocolError))
            }
            CloseCause::Disconnected(reason) => {
                ConnectReason::try_from(mqtt_codec::ReasonCode::from(reason)).ok()
            }
            _silent => None,
        };
        if let Some(reason) = reason {
            self.say_no(reason, ConnAckProperties::default());
        }
        self.link.close();
    }

    /// Ends a connection whose first packet is none that can be served, with CONNACK if it was CONNECT
    /// and its version has a code for what was wrong.
    pub(super) fn refuse_connect(&mut self, error: &ProtocolError) {
        let reply = match error {
            ProtocolError::Decode(error) => error.reply(None, Phase::AwaitConnect),
            _other_packet => Reply::CloseSilently,
        };
        if let Reply::ConnAck(version, reason) = reply {
            self.link = Link::new(version, usize::MAX);
            self.say_no(reason, ConnAckProperties::default());
        }
        self.link.close();
    }

    /// CONNACK with more than a reason, in front of [`end`](Self::end).
    // [5:MQTT-3.1.4-2] [5:MQTT-3.2.2-7] [3:MQTT-3.2.2-5] CONNACK with the code, then close.
    // [5:MQTT-3.1.3-8] [3:MQTT-3.1.3-9] Also for a client identifier that is not wanted.
    pub(crate) fn say_no(&mut self, reason: ConnectReason, properties: ConnAckProperties<'_>) {
        // [3:MQTT-3.2.2-6] Where no return code fits, CONNACK is left out: it does not encode.
        let connack = ConnAck {
            outcome: ConnAckOutcome::Refused(reason),
            properties: match self.link.version() {
                ProtocolVersion::V3_1_1 => ConnAckProperties::default(),
                ProtocolVersion::V5_0 => properties,
            },
        };
        let _silent = self.link.send(&Packet::ConnAck(connack));
        self.link.close();
    }
}

fn properties<'a>(
    offer: &Offer,
    welcome: &Welcome<'a>,
    keep_alive_secs: u16,
    config: &Config,
) -> ConnAckProperties<'a> {
    let unavailable = |available: bool| (!available).then_some(false);
    ConnAckProperties {
        session_expiry_secs: (welcome.session_expiry_secs != offer.session_expiry_asked_secs)
            .then_some(welcome.session_expiry_secs),
        receive_maximum: core::num::NonZeroU16::new(config.receive_maximum.max(1)),
        // [5:MQTT-3.2.2-9]
        maximum_qos: match config.maximum_qos {
            QoS::AtMostOnce => Some(MaximumQoS::AtMostOnce),
            QoS::AtLeastOnce => Some(MaximumQoS::AtLeastOnce),
            QoS::ExactlyOnce => None,
        },
        retain_available: unavailable(config.retain_available),
        packet_size_max: announced_packet_size(config.packet_size_max),
        // [5:MQTT-3.1.3-7] [5:MQTT-3.2.2-16]
        assigned_client_id: welcome.assigned_client_id,
        topic_alias_maximum: (config.topic_alias_maximum > 0).then_some(config.topic_alias_maximum),
        wildcard_subscription_available: unavailable(config.wildcard_subscription_available),
        subscription_id_available: unavailable(config.subscription_id_available),
        shared_subscription_available: unavailable(config.shared_subscription_available),
        // [5:MQTT-3.2.2-22] Without it the client's own keep alive holds.
        server_keep_alive_secs: (keep_alive_secs != offer.keep_alive_secs)
            .then_some(keep_alive_secs),
        // [5:MQTT-3.1.2-28]
        response_information: welcome
            .response_information
            .filter(|_| offer.response_information),
        reason_string: welcome.details.reason_string,
        user_properties: welcome.details.user_properties,
        ..ConnAckProperties::default()
    }
}
