//! Packets as they arrive in the client role.

use bytes::{Buf, BytesMut};
use mqtt_codec::{
    ConnectReason, Frame, Message, Packet, PacketType, Parsed, PlainAck, PlainPublish,
    ProtocolVersion, Publish, PublishReason, QoS,
};

use super::connect::Parting;
use super::incoming::{Incoming, Show};
use super::{Acknowledge, Client, Phase};
use crate::intake::{Intake, Origin, Step};
use crate::link::{AckEffect, Link, ReceiveError, Topic, Waiting};
use crate::session::Record;
use crate::{CloseCause, ProtocolError, Timestamp};

impl Client {
    fn handle_packet(
        &mut self,
        now: Timestamp,
        packet: &Packet<'_>,
        origin: Origin<'_>,
        show: &mut Show<'_>,
    ) -> Result<(), ReceiveError> {
        let unexpected = ProtocolError::UnexpectedPacket(packet.packet_type());
        let unwanted = ProtocolError::UnwantedProblemInformation(packet.packet_type());
        match (&self.phase, packet) {
            (Phase::Connecting { offer, .. }, Packet::ConnAck(connack)) => {
                let offer = *offer;
                return Ok(self.handle_connack(now, connack, &offer)?);
            }
            (
                Phase::Connected {
                    request_problem_information: false,
                    ..
                },
                _,
            ) if has_problem_information(packet) => {
                return Err(unwanted.into());
            }
            (Phase::Connecting { offer, .. }, Packet::Auth(_))
                if !offer.request_problem_information && has_problem_information(packet) =>
            {
                return Err(unwanted.into());
            }
            (Phase::Connecting { .. } | Phase::Connected { .. }, Packet::Auth(auth)) => {
                return Ok(self.handle_auth(auth)?);
            }
            (Phase::Connected { .. }, _) => {}
            (Phase::Connecting { .. } | Phase::Disconnected | Phase::Ending { .. }, _) => {
                return Err(unexpected.into());
            }
        }
        if !self.has_journal() {
            return self.handle_in_session(now, packet, origin, show);
        }
        let mark = self.mark();
        self.handle_in_session(now, packet, origin, show)?;
        // A PUBACK depends on nothing that is stored.
        let is_at_least_once = |publish: &Publish<'_>| publish.delivery.qos() == QoS::AtLeastOnce;
        if !matches!(packet, Packet::Publish(publish) if is_at_least_once(publish)) {
            self.hold_answers(mark);
        }
        Ok(())
    }

    fn handle_in_session(
        &mut self,
        now: Timestamp,
        packet: &Packet<'_>,
        origin: Origin<'_>,
        show: &mut Show<'_>,
    ) -> Result<(), ReceiveError> {
        let unexpected = ProtocolError::UnexpectedPacket(packet.packet_type());
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        match packet {
            Packet::Publish(publish) => self.handle_publish(now, publish, origin, show),
            Packet::PubAck(ack) => {
                let (session, events) = (&mut self.session, &mut self.events);
                let effect = link.receive_puback(ack.id, ack.reason, session, events)?;
                self.note_delivery(effect, ack.properties.into());
                Ok(())
            }
            Packet::PubRec(ack) => {
                let (session, events) = (&mut self.session, &mut self.events);
                let effect =
                    link.receive_pubrec(ack.id, ack.reason, session, events, &mut Waiting)?;
                self.note_delivery(effect, ack.properties.into());
                Ok(())
            }
            Packet::PubRel(ack) => {
                if link.receive_pubrel(ack.id, &mut self.session.inbound, &mut Waiting)? {
                    self.record(|| Record::Forgotten { id: ack.id });
                }
                Ok(())
            }
            Packet::PubComp(ack) => {
                let effect = link.receive_pubcomp(ack.id, &mut self.session)?;
                self.note_delivery(effect, ack.properties.into());
                Ok(())
            }
            Packet::SubAck(suback) => Ok(self.handle_suback(suback)?),
            Packet::UnsubAck(unsuback) => Ok(self.handle_unsuback(unsuback)?),
            Packet::PingResp => {
                self.keep_alive.note_pong();
                Ok(())
            }
            // In 3.1.1 only the client sends DISCONNECT.
            Packet::Disconnect(disconnect) if link.version() == ProtocolVersion::V5_0 => {
                // [5:MQTT-3.14.2-2]
                if disconnect.properties.session_expiry_secs.is_some() {
                    return Err(ProtocolError::SessionExpiryFromServer.into());
                }
                link.close();
                let properties = &disconnect.properties;
                let parting = Parting::new(
                    properties.reason_string,
                    properties.user_properties,
                    properties.server_reference,
                );
                self.end(
                    now,
                    CloseCause::DisconnectedByPeer(disconnect.reason),
                    parting,
                );
                Ok(())
            }
            _other_direction => Err(unexpected.into()),
        }
    }
}

impl Client {
    /// The short way for the acknowledgements that nearly all are: takes them off the front of
    /// `input`, and answers how many bytes they were.
    #[inline]
    pub(super) fn take_plain_acks(&mut self, now: Timestamp, input: &[u8]) -> usize {
        let mut taken = 0_usize;
        let mut rest = input;
        if cfg!(feature = "small") {
            // They are taken as any other packet.
            return taken;
        }
        while let Some((ack, behind)) = PlainAck::split(rest)
            && !self.has_journal()
            && self.wants_input()
            && let (Phase::Connected { .. }, Some(link)) = (&self.phase, &mut self.link)
        {
            let size = ack.to_bytes().len();
            self.events.traffic.note_received(size);
            let (session, events) = (&mut self.session, &mut self.events);
            let success = PublishReason::Success;
            let effect = match ack {
                PlainAck::PubAck(id) => link.receive_puback(id, success, session, events),
                PlainAck::PubRec(id) => {
                    link.receive_pubrec(id, success, session, events, &mut Waiting)
                }
                PlainAck::PubRel(id) => link
                    .receive_pubrel(id, &mut session.inbound, &mut Waiting)
                    .map(|_| AckEffect::Nothing),
                PlainAck::PubComp(id) => link.receive_pubcomp(id, session),
            };
            match effect {
                Ok(AckEffect::Completed { tag, reason }) => self.events.complete(tag, reason),
                Ok(AckEffect::Nothing | AckEffect::Released { .. } | AckEffect::Freed { .. }) => {}
                Err(error) => self.end_for(now, error),
            }
            self.note_quota();
            taken = taken.wrapping_add(size);
            rest = behind;
        }
        if taken > 0 {
            self.keep_alive.note_received(now);
        }
        taken
    }

    /// The plain PUBLISH at the front of `input`, if it is a new message that may be taken at once. `None` for
    /// whatever has to be parsed and decoded to be known.
    #[inline(always)]
    fn plain_publish<'p>(&self, input: &'p [u8]) -> Option<PlainPublish<'p>> {
        let (Phase::Connected { .. }, Some(link)) = (&self.phase, &self.link) else {
            return None;
        };
        let publish = self.decoder.plain_publish(input, link.version())?;
        let is_taken = self.config.acknowledge == Acknowledge::Automatic
            && !self.events.journal.is_on()
            && !self.events.is_full(&self.config)
            && !link.is_blocked()
            && link.takes_at_once(publish.delivery(), &self.session.inbound);
        is_taken.then_some(publish)
    }

    /// The short way for the messages that most are: takes one off the front of `input`, which it may
    /// share. Answers its size; 0 for whatever has to be parsed and decoded to be known.
    // [5:MQTT-4.5.0-2] [3:MQTT-4.5.0-2]
    #[inline]
    pub(super) fn take_plain_publish(&mut self, now: Timestamp, input: &mut BytesMut) -> usize {
        let Some(publish) = self.plain_publish(input) else {
            return 0;
        };
        let Some(link) = &mut self.link else { return 0 };
        let Some(topic) = link.topic_of(&publish) else {
            return 0;
        };
        let (delivery, size) = (publish.delivery(), publish.size());
        let message = match (publish.parts(), topic) {
            (Some(parts), _) if self.input_seen.may_share(size) => {
                Message::from_parts(input.split_to(size).freeze(), parts)
            }
            (None, Topic::Aliased(topic)) if self.input_seen.may_share(size) => {
                let (retain, payload_len) = (publish.retain(), publish.payload().len());
                let mut payload = input.split_to(size).freeze();
                payload.advance(size.saturating_sub(payload_len));
                let message = Message::from_shared(topic, payload);
                message.with_qos(delivery.qos()).with_retain(retain)
            }
            (_, topic) => {
                let message = Message::from_plain(&publish, topic.name());
                input.advance(size);
                message
            }
        };
        self.events.traffic.note_received(size);
        self.keep_alive.note_received(now);
        let answered = link.accept(delivery, &mut self.session.inbound, &mut Waiting);
        self.events.push_message(message, delivery.dup());
        if let Err(error) = answered {
            self.end_for(now, error.into());
        }
        size
    }

    /// The same for a message that is shown, and stays where it is. Answers 0 also where it may not be shown.
    // [5:MQTT-4.5.0-2] [3:MQTT-4.5.0-2]
    #[inline(always)]
    pub(super) fn show_plain_publish(
        &mut self,
        now: Timestamp,
        input: &[u8],
        show: &mut impl FnMut(Incoming<'_>),
    ) -> usize {
        if cfg!(feature = "small") || !self.events.may_show() {
            return 0;
        }
        let Some(publish) = self.plain_publish(input) else {
            return 0;
        };
        let Some(link) = &mut self.link else { return 0 };
        let Some(topic) = link.topic_of(&publish) else {
            return 0;
        };
        let (delivery, size) = (publish.delivery(), publish.size());
        show(Incoming {
            delivery,
            retain: publish.retain(),
            topic: topic.name(),
            properties: None,
            payload: publish.payload(),
        });
        self.events.traffic.note_received(size);
        self.keep_alive.note_received(now);
        if let Err(error) = link.accept(delivery, &mut self.session.inbound, &mut Waiting) {
            self.end_for(now, error.into());
        }
        size
    }

    /// Whether a CONNACK that is none of the version that CONNECT offered comes from a server that does not
    /// know that version: it answers in one that it knows.
    // [3:MQTT-3.1.2-2] [5:MQTT-3.1.2-2]
    #[cold]
    fn is_refusal_of_version(&self, frame: &Frame<'_>, offered: ProtocolVersion) -> bool {
        matches!(self.phase, Phase::Connecting { .. })
            && frame.packet_type() == PacketType::ConnAck
            && match offered {
                ProtocolVersion::V5_0 => frame.body() == [0, 0x01],
                ProtocolVersion::V3_1_1 => frame.body().starts_with(&[0, 0x84]),
            }
    }

    #[cold]
    fn end_for(&mut self, now: Timestamp, error: ReceiveError) {
        match error {
            ReceiveError::Protocol(error) => self.fail(now, error),
            ReceiveError::AnswerTooLarge => self.end_with_answer_too_large(now),
        }
    }
}

/// A client, as the owner of its input.
pub(super) struct Input<'c> {
    pub(super) client: &'c mut Client,
    pub(super) now: Timestamp,
    pub(super) show: Show<'c>,
}

impl Intake for Input<'_> {
    fn next_frame<'p>(&mut self, input: &'p [u8]) -> Step<'p> {
        let client = &mut *self.client;
        client.input_seen.note_left(input.len());
        let version = match (&client.phase, &client.link) {
            (Phase::Connecting { .. } | Phase::Connected { .. }, Some(link)) => link.version(),
            _ => return Step::Ignore,
        };
        if !client.wants_input() {
            return Step::Need(0);
        }
        match client.decoder.parse(input, Some(version)) {
            Ok(Parsed::Complete(frame)) => Step::Frame(frame),
            Ok(Parsed::Partial { needed }) => Step::Need(needed),
            Err(error) => {
                client.fail(self.now, error.into());
                Step::Ignore
            }
        }
    }

    fn handle_frame(&mut self, frame: &Frame<'_>, origin: Origin<'_>) {
        let client = &mut *self.client;
        client.events.traffic.note_received(frame.size());
        client.keep_alive.note_received(self.now);
        let Some(version) = client.link.as_ref().map(Link::version) else {
            return;
        };
        let handled = match client.decoder.decode_from_server(frame, version) {
            Ok(Some(packet)) => client.handle_packet(self.now, &packet, origin, &mut self.show),
            Ok(None) => Err(ProtocolError::UnexpectedPacket(frame.packet_type()).into()),
            Err(_) if client.is_refusal_of_version(frame, version) => {
                let reason = ConnectReason::UnsupportedProtocolVersion;
                client.with_link(Link::close);
                client.end(self.now, CloseCause::Refused(reason), Parting::default());
                Ok(())
            }
            Err(error) => Err(ProtocolError::from(error).into()),
        };
        if let Err(error) = handled {
            client.end_for(self.now, error);
        }
    }
}

/// Whether a packet has what only a client that asked for it may get.
// [5:MQTT-3.1.2-29] PUBLISH, CONNACK and DISCONNECT may have it always.
fn has_problem_information(packet: &Packet<'_>) -> bool {
    let properties = match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) => &ack.properties,
        Packet::PubRel(ack) | Packet::PubComp(ack) => &ack.properties,
        Packet::SubAck(suback) => &suback.properties,
        Packet::UnsubAck(unsuback) => &unsuback.properties,
        Packet::Auth(auth) => &auth.properties,
        _without => return false,
    };
    debug_assert_ne!(packet.packet_type(), PacketType::Publish);
    properties.reason_string.is_some() || !properties.user_properties.is_empty()
}
