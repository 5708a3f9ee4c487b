//! The rules of one connection in the server role, without queues and events.
//!
//! [`Connection`](super::Connection) is this plus a queue of events for one connection; the
//! [`Broker`](crate::broker::Broker) has a slab of these. Both ask
//! [`receive`](ServerLink::receive) what a packet means and carry it out.

mod ending;
mod plain;
mod waits;

use alloc::boxed::Box;

use mqtt_codec::{
    AckProperties, Binary, Connect, Decoder, Delivery, Disconnect, EncodeError, Frame, Packet,
    PacketType, Parsed, ProtocolVersion, Publish, PublishReason, Rule, Subscribe, Unsubscribe,
};

use super::Config;
use super::authenticate::Dialogue;
use super::connect::Offer;
use crate::link::{AckEffect, Acks, Arrival, Link, ReceiveError, Store, Topic, Waiting};
use crate::pieces::Output;
use crate::session::Session;
use crate::{CloseCause, ProtocolError, Timestamp, Transmit};

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
    /// Where CONNACK ends, for [`ServerLink::give_up_held`].
    pub(super) greeted_at: u64,
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
    pub(crate) fn decode<'p>(&mut self, frame: &Frame<'p>) -> Result<Packet<'p>, ProtocolError> {
        match self.phase {
            Phase::AwaitConnect { .. } => {
                let connect = self.decoder.decode_connect(frame)?;
                Ok(Packet::Connect(connect))
            }
            Phase::AwaitDecision(_)
            | Phase::AwaitAuthentication(_)
            | Phase::Connected(_)
            | Phase::Ended { .. } => {
                let packet = self
                    .decoder
                    .decode_from_client(frame, self.link.version())?;
                packet.ok_or_else(|| ProtocolError::UnexpectedPacket(frame.packet_type()))
            }
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
                let effect =
                    self.link
                        .receive_pubrec(ack.id, ack.reason, session, store, &mut Waiting)?;
                Ok(Action::Delivery(effect))
            }
            Packet::PubRel(ack) => {
                self.link
                    .receive_pubrel(ack.id, &mut session.inbound, &mut Waiting)?;
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

    /// Answers a PUBLISH that [`receive`](Self::receive) handed out.
    pub(crate) fn acknowledge<M>(
        &mut self,
        delivery: Delivery,
        reason: PublishReason,
        session: &mut Session<M>,
        acks: &mut impl Acks,
    ) -> Result<(), EncodeError> {
        self.link.acknowledge(
            delivery,
            reason,
            AckProperties::default(),
            &mut session.inbound,
            acks,
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

    /// QoS 1 and 2 PUBLISH packets that may still go; none before CONNECT is accepted.
    pub(crate) fn send_quota(&self) -> u16 {
        if self.is_connected() {
            self.link.send_quota()
        } else {
            0
        }
    }

    /// The largest packet that the client takes, in bytes.
    pub(crate) fn packet_size_max(&self) -> usize {
        self.link.packet_size_max()
    }

    /// Queues an answer.
    pub(crate) fn send(&mut self, packet: &Packet<'_>) -> Result<(), EncodeError> {
        self.link.send(packet)
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

    /// The rules of both roles, for messages that go as they are: there are none of a server about these.
    #[inline]
    pub(crate) fn both_roles(&mut self) -> &mut Link {
        &mut self.link
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

    pub(crate) fn version(&self) -> ProtocolVersion {
        self.link.version()
    }

    /// Bytes that arrive count as a sign of life, whole packet or not; once.
    pub(crate) fn note_input(&mut self, now: Timestamp) {
        self.last_received = now;
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
