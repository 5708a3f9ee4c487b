//! The rules of one connection in the server role, without queues and events.
//!
//! [`Connection`](super::Connection) is this plus a queue of events for one connection; the
//! [`Broker`](crate::broker::Broker) has a slab of these. Both ask
//! [`receive`](ServerLink::receive) what a packet means and carry it out.

use alloc::boxed::Box;

use mqtt_codec::{
    AckProperties, Binary, Connect, DecodeError, Decoder, Delivery, Disconnect, DisconnectReason,
    EncodeError, Frame, Packet, PacketType, Parsed, PlainAck, PlainPublish, ProtocolVersion,
    Publish, PublishReason, Rule, Subscribe, Unsubscribe,
};

use super::Config;
use super::authenticate::Dialogue;
use super::connect::Offer;
use crate::link::{AckEffect, Arrival, Link, ReceiveError, Store, Topic};
use crate::pieces::Output;
use crate::session::Session;
use crate::{
    CloseCause, Explanation, InputWaits, ProtocolError, Timeout, TimeoutReason, Timestamp, Transmit,
};

/// One connection in the server role.
#[derive(Debug)]
pub(crate) struct ServerLink {
    pub(super) link: Link,
    pub(super) phase: Phase,
    pub(super) last_received: Timestamp,
    /// Where CONNECT had an authentication method.
    pub(super) dialogue: Option<Box<Dialogue>>,
    decoder: Decoder,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Nothing but CONNECT is taken.
    AwaitConnect {
        deadline: Timestamp,
    },
    /// CONNECT is there; nothing is taken before it is accepted or rejected.
    AwaitDecision(Offer),
    /// The client was asked for more: nothing but AUTH and DISCONNECT is taken.
    AwaitAuthentication(Offer),
    Connected(Terms),
    /// Ended by this side or by the peer; the last bytes may still wait.
    Ended {
        deadline: Timestamp,
    },
}

/// What was agreed in the handshake and is needed later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// As in CONNECT, 0 where absent: the check of DISCONNECT uses the value as written.
    pub(super) session_expiry_asked_secs: u32,
    /// In force on this connection; 0 is off.
    pub(super) keep_alive_secs: u16,
}

/// What a packet asks for.
#[derive(Debug)]
pub(crate) enum Action<'p> {
    /// Nothing more: it has been answered.
    Nothing,
    /// Accept or reject.
    Connect(Connect<'p>),
    /// A step of an enhanced authentication, or the first of a new one.
    Authenticate {
        data: Option<Binary<'p>>,
        is_new: bool,
    },
    /// Route it, then acknowledge.
    Publish(Publish<'p>, Topic<'p>),
    /// A delivery went on.
    Delivery(AckEffect),
    /// Subscribe, then answer with SUBACK.
    Subscribe(Subscribe<'p>),
    /// Unsubscribe, then answer with UNSUBACK.
    Unsubscribe(Unsubscribe<'p>),
    /// The client says goodbye.
    Disconnect(Disconnect<'p>),
}

impl ServerLink {
    pub(crate) fn new(now: Timestamp, config: &Config) -> Self {
        Self {
            // The version is known with CONNECT; until then nothing is sent in any version's form.
            link: Link::new(ProtocolVersion::V3_1_1, config.answers_bytes_max),
            phase: Phase::AwaitConnect {
                deadline: now + config.connect_timeout,
            },
            last_received: now,
            dialogue: None,
            decoder: Decoder::new(config.decoding()),
        }
    }

    /// Finds the packet at the front of `input`.
    pub(crate) fn parse<'p>(&self, input: &'p [u8]) -> Result<Parsed<Frame<'p>>, ProtocolError> {
        let version = match self.phase {
            Phase::AwaitConnect { .. } => {
                // [5:MQTT-3.1.0-1] [3:MQTT-3.1.0-1] The first packet is CONNECT. The first byte tells.
                if let Some(other) = input
                    .first()
                    .and_then(|byte| PacketType::try_from(byte >> 4).ok())
                    && other != PacketType::Connect
                {
                    return Err(ProtocolError::FirstPacketNotConnect(other));
                }
                None
            }
            Phase::AwaitDecision(_)
            | Phase::AwaitAuthentication(_)
            | Phase::Connected(_)
            | Phase::Ended { .. } => Some(self.link.version()),
        };
        Ok(self.decoder.parse(input, version)?)
    }

    /// Reads the packet in a frame.
    pub(crate) fn decode<'p>(&mut self, frame: &Frame<'p>) -> Result<Packet<'p>, DecodeError> {
        match self.phase {
            Phase::AwaitConnect { .. } => self.decoder.decode_connect(frame).map(Packet::Connect),
            Phase::AwaitDecision(_)
            | Phase::AwaitAuthentication(_)
            | Phase::Connected(_)
            | Phase::Ended { .. } => self.decoder.decode(frame, self.link.version()),
        }
    }

    /// Which rules the client broke and was let go, and in how many packets.
    pub(crate) fn tolerated(&self) -> impl Iterator<Item = (Rule, u32)> {
        self.decoder.tolerated()
    }

    /// Takes a packet: checks it against the rules of this connection, answers what needs no
    /// decision, and says what is left to do.
    pub(crate) fn receive<'p, S: Store>(
        &mut self,
        now: Timestamp,
        packet: &Packet<'p>,
        session: Option<&mut Session<S::Handle>>,
        store: &mut S,
        config: &Config,
    ) -> Result<Action<'p>, ReceiveError> {
        self.last_received = now;
        let unexpected = ProtocolError::UnexpectedPacket(packet.packet_type());
        let (terms, session) = match (self.phase, session) {
            (Phase::AwaitConnect { .. }, _) => {
                return self.receive_connect(packet, config).map_err(Into::into);
            }
            (Phase::Connected(terms), Some(session)) => (terms, session),
            // [5:MQTT-3.1.2-30] Until CONNACK a client sends nothing but AUTH and DISCONNECT.
            (Phase::AwaitAuthentication(_), _) => {
                return match packet {
                    Packet::Auth(auth) => Ok(self.receive_auth(auth, config)?),
                    Packet::Disconnect(disconnect) => Ok(Action::Disconnect(*disconnect)),
                    Packet::Connect(_) => Err(ProtocolError::SecondConnect.into()),
                    _ => Err(unexpected.into()),
                };
            }
            (Phase::AwaitDecision(_) | Phase::Connected(_) | Phase::Ended { .. }, _) => {
                return Err(unexpected.into());
            }
        };
        match packet {
            // [5:MQTT-3.1.0-2] [3:MQTT-3.1.0-2] A second CONNECT ends the connection.
            Packet::Connect(_) => Err(ProtocolError::SecondConnect.into()),
            Packet::Publish(publish) => {
                super::publish::check(publish, config)?;
                match self.link.receive_publish(publish, &session.inbound)? {
                    Arrival::New(topic) => Ok(Action::Publish(*publish, topic)),
                    Arrival::Answered => Ok(Action::Nothing),
                }
            }
            Packet::PubAck(ack) => {
                let effect = self
                    .link
                    .receive_puback(ack.id, ack.reason, session, store)?;
                Ok(Action::Delivery(effect))
            }
            Packet::PubRec(ack) => {
                let effect = self
                    .link
                    .receive_pubrec(ack.id, ack.reason, session, store)?;
                Ok(Action::Delivery(effect))
            }
            Packet::PubRel(ack) => {
                self.link.receive_pubrel(ack.id, &mut session.inbound)?;
                Ok(Action::Nothing)
            }
            Packet::PubComp(ack) => {
                let effect = self.link.receive_pubcomp(ack.id, session)?;
                Ok(Action::Delivery(effect))
            }
            Packet::Subscribe(subscribe) => {
                super::subscribe::check(subscribe, self.link.version(), config)?;
                Ok(Action::Subscribe(*subscribe))
            }
            Packet::Unsubscribe(unsubscribe) => Ok(Action::Unsubscribe(*unsubscribe)),
            Packet::PingReq => {
                // [5:MQTT-3.12.4-1] [3:MQTT-3.12.4-1]
                self.link.send(&Packet::PingResp)?;
                Ok(Action::Nothing)
            }
            Packet::Disconnect(disconnect) => {
                let expiry = disconnect.properties.session_expiry_secs.unwrap_or(0);
                if expiry > 0 && terms.session_expiry_asked_secs == 0 {
                    return Err(ProtocolError::SessionExpiryRaised.into());
                }
                Ok(Action::Disconnect(*disconnect))
            }
            Packet::Auth(auth) => Ok(self.receive_auth(auth, config)?),
            _other_direction => Err(unexpected.into()),
        }
    }

    /// The PUBLISH at the front of `input`, if it is a plain one that is routed as it is. `None` for
    /// whatever has to be parsed and received to be known.
    #[inline(always)]
    pub(crate) fn plain_publish<'p>(
        &self,
        input: &'p [u8],
        config: &Config,
    ) -> Option<PlainPublish<'p>> {
        if !self.takes_plain_packets() {
            return None;
        }
        let publish = self.decoder.plain_publish(input, self.link.version())?;
        if publish.delivery().qos() > config.maximum_qos
            || (publish.retain() && !config.retain_available)
        {
            return None;
        }
        Some(publish)
    }

    /// Whether there is nothing about this connection that has to be looked at first.
    #[inline]
    fn takes_plain_packets(&self) -> bool {
        self.is_connected() && !self.link.is_blocked()
    }

    /// The topic of a plain PUBLISH. `None` for one with an alias that is not known.
    #[inline(always)]
    pub(crate) fn topic_of<'p>(&self, publish: &PlainPublish<'p>) -> Option<Topic<'p>> {
        self.link.topic_of(publish)
    }

    /// Whether a PUBLISH is a new message for which there is room.
    #[inline]
    pub(crate) fn takes_at_once<M>(&self, delivery: Delivery, session: &Session<M>) -> bool {
        self.link.takes_at_once(delivery, &session.inbound)
    }

    /// An acknowledgement as most of them are, if it can be taken in the short way.
    #[inline]
    pub(crate) fn receive_plain_ack<S: Store>(
        &mut self,
        ack: PlainAck,
        session: &mut Session<S::Handle>,
        store: &mut S,
    ) -> Option<Result<(), ReceiveError>> {
        if !self.takes_plain_packets() {
            return None;
        }
        let link = &mut self.link;
        let success = PublishReason::Success;
        Some(match ack {
            PlainAck::PubAck(id) => link.receive_puback(id, success, session, store).map(drop),
            PlainAck::PubRec(id) => link.receive_pubrec(id, success, session, store).map(drop),
            PlainAck::PubRel(id) => link.receive_pubrel(id, &mut session.inbound).map(drop),
            PlainAck::PubComp(id) => link.receive_pubcomp(id, session).map(drop),
        })
    }

    /// Answers a PUBLISH that [`receive`](Self::receive) handed out.
    pub(crate) fn acknowledge<M>(
        &mut self,
        delivery: Delivery,
        reason: PublishReason,
        session: &mut Session<M>,
    ) -> Result<(), EncodeError> {
        self.link.acknowledge(
            delivery,
            reason,
            AckProperties::default(),
            &mut session.inbound,
        )
    }

    /// A PUBLISH is answered later.
    pub(crate) fn defer(&mut self, delivery: Delivery) {
        self.link.defer(delivery);
    }

    /// Where the next answer will be, for [`hold`](Self::hold).
    pub(crate) fn mark(&self) -> u64 {
        self.link.mark()
    }

    /// Answers since `mark` go out when the journal is stored up to `position`.
    pub(crate) fn hold(&mut self, mark: u64, position: u64) {
        self.link.hold(mark, position);
    }

    /// So much of the journal is stored.
    pub(crate) fn note_stored(&mut self, position: u64) {
        self.link.note_stored(position);
    }

    /// How far the journal has to be stored before more can be sent, if that is what it waits for.
    pub(crate) fn held_position<M>(&self, session: Option<&Session<M>>) -> Option<u64> {
        self.link.held_position(session)
    }

    /// QoS 1 and 2 PUBLISH packets that may still go; none before CONNECT is accepted.
    pub(crate) fn send_quota(&self) -> u16 {
        if self.is_connected() {
            self.link.send_quota()
        } else {
            0
        }
    }

    /// Queues an answer.
    pub(crate) fn send(&mut self, packet: &Packet<'_>) -> Result<(), EncodeError> {
        self.link.send(packet)
    }

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

    /// The transport is gone, and with it whoever could read the last bytes.
    pub(crate) fn abort(&mut self) {
        self.link.abort();
    }

    /// Appends what can go out now to `out`, until there are `end` bytes in it.
    #[inline(always)]
    pub(crate) fn transmit<S: Store, O: Output>(
        &mut self,
        now: Timestamp,
        end: usize,
        out: &mut O,
        session: Option<&mut Session<S::Handle>>,
        store: &mut S,
    ) -> Transmit {
        if let Phase::Ended { deadline } = self.phase
            && now >= deadline
        {
            // The peer does not read its last packet; it has had its time.
            self.link.abort();
        }
        self.link.transmit(now, end, out, session, store)
    }

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

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected(_))
    }

    /// CONNECT is there and has not been answered.
    pub(crate) fn awaits_decision(&self) -> bool {
        matches!(self.phase, Phase::AwaitDecision(_))
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    #[inline]
    pub(crate) fn has_control_output(&self) -> bool {
        self.link.has_control_output()
    }

    pub(crate) fn version(&self) -> ProtocolVersion {
        self.link.version()
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
                let silence =
                    super::keep_alive::deadline(self.last_received, terms.keep_alive_secs);
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

    /// Bytes that arrive count as a sign of life, whole packet or not; once.
    pub(crate) fn note_input(&mut self, now: Timestamp) {
        self.last_received = now;
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

impl From<ReceiveError> for CloseCause {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Protocol(error) => Self::ProtocolError(error),
            ReceiveError::AnswerTooLarge => Self::AnswerTooLarge,
        }
    }
}
