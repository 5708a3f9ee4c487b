//! Packets as they arrive in the client role.

use mqtt_codec::{Frame, Packet, PacketType, Parsed, ProtocolVersion};

use super::connect::Parting;
use super::{Client, Phase};
use crate::intake::{Intake, Origin, Step};
use crate::link::{Link, ReceiveError};
use crate::{CloseCause, ProtocolError, Timestamp};

impl Client {
    fn handle_packet(
        &mut self,
        now: Timestamp,
        packet: &Packet<'_>,
        origin: Origin<'_>,
    ) -> Result<(), ReceiveError> {
        let unexpected = ProtocolError::UnexpectedPacket(packet.packet_type());
        match (&self.phase, packet) {
            (Phase::Connecting { offer, .. }, Packet::ConnAck(connack)) => {
                let offer = offer.clone();
                return Ok(self.handle_connack(now, connack, &offer)?);
            }
            (Phase::Connecting { .. } | Phase::Connected { .. }, Packet::Auth(auth)) => {
                return Ok(self.handle_auth(auth)?);
            }
            (
                Phase::Connected {
                    request_problem_information,
                    ..
                },
                _,
            ) => {
                if !request_problem_information && has_problem_information(packet) {
                    return Err(
                        ProtocolError::UnwantedProblemInformation(packet.packet_type()).into(),
                    );
                }
            }
            (Phase::Connecting { .. } | Phase::Disconnected | Phase::Ending { .. }, _) => {
                return Err(unexpected.into());
            }
        }
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        match packet {
            Packet::Publish(publish) => self.handle_publish(now, publish, origin),
            Packet::PubAck(ack) => {
                let effect = link.receive_puback(ack, &mut self.session)?;
                self.note_delivery(&effect, ack.properties);
                self.note_quota();
                Ok(())
            }
            Packet::PubRec(ack) => {
                let effect = link.receive_pubrec(ack, &mut self.session)?;
                self.note_delivery(&effect, ack.properties);
                self.note_quota();
                Ok(())
            }
            Packet::PubRel(ack) => link.receive_pubrel(ack, &mut self.session.inbound),
            Packet::PubComp(ack) => {
                let effect = link.receive_pubcomp(ack, &mut self.session)?;
                self.note_delivery(&effect, ack.properties);
                self.note_quota();
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

/// A client, as the owner of its input.
pub(super) struct Input<'c> {
    pub(super) client: &'c mut Client,
    pub(super) now: Timestamp,
}

impl Intake for Input<'_> {
    fn next_frame<'p>(&mut self, input: &'p [u8]) -> Step<'p> {
        let client = &mut *self.client;
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
        let Some(version) = client.link.as_ref().map(Link::version) else {
            return;
        };
        let packet = client.decoder.decode(frame, version);
        let handled = packet.map_err(|error| ProtocolError::from(error).into());
        let handled = handled.and_then(|packet| client.handle_packet(self.now, &packet, origin));
        match handled {
            Ok(()) => {}
            Err(ReceiveError::Protocol(error)) => client.fail(self.now, error),
            Err(ReceiveError::AnswerTooLarge) => client.end_with_answer_too_large(self.now),
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
        _without => return false,
    };
    debug_assert_ne!(packet.packet_type(), PacketType::Publish);
    properties.reason_string.is_some() || !properties.user_properties.is_empty()
}
