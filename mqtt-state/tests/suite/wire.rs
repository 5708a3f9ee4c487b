//! A peer that speaks packet by packet, and packets in a notation for human eyes.

use bytes::BytesMut;
use mqtt_codec::{
    Ack, ConnAck, ConnAckOutcome, Connect, Delivery, Disconnect, Packet, PacketId, Parsed,
    ProtocolVersion, Publish, PublishReason, PublishTopic, QoS, ReasonCode, ReleaseReason, Str,
    Subscribe, SubscribeFilter, SubscribeFilters, SubscribeProperties, TopicFilter, TopicName,
    decode,
};
use mqtt_state::broker::ConnectionId;
use mqtt_state::{Consumed, Timestamp, Transmit};

use crate::recorded::{Broker, Client, Connection};

pub(crate) use ProtocolVersion::{V3_1_1, V5_0};

/// Whatever takes and hands out the bytes of one connection.
pub(crate) trait Machine {
    fn input(&mut self, now: Timestamp, bytes: &[u8]) -> Consumed;
    fn output(&mut self, now: Timestamp, max_bytes: usize, buf: &mut Vec<u8>) -> Transmit;
}

/// Bytes go in by one door or the other, as their number is; the same has to come of both.
pub(crate) fn shared(bytes: &[u8]) -> Option<BytesMut> {
    (bytes.len() % 2 == 1).then(|| BytesMut::from(bytes))
}

impl Machine for Client {
    fn input(&mut self, now: Timestamp, bytes: &[u8]) -> Consumed {
        match shared(bytes) {
            Some(mut bytes) => self.handle_input_shared(now, &mut bytes),
            None => self.handle_input(now, bytes),
        }
    }

    fn output(&mut self, now: Timestamp, max_bytes: usize, buf: &mut Vec<u8>) -> Transmit {
        self.poll_transmit(now, max_bytes, buf)
    }
}

impl Machine for Connection {
    fn input(&mut self, now: Timestamp, bytes: &[u8]) -> Consumed {
        match shared(bytes) {
            Some(mut bytes) => self.handle_input_shared(now, &mut bytes),
            None => self.handle_input(now, bytes),
        }
    }

    fn output(&mut self, now: Timestamp, max_bytes: usize, buf: &mut Vec<u8>) -> Transmit {
        self.poll_transmit(now, max_bytes, buf)
    }
}

impl Machine for (&mut Broker, ConnectionId) {
    fn input(&mut self, now: Timestamp, bytes: &[u8]) -> Consumed {
        match shared(bytes) {
            Some(mut bytes) => self.0.handle_input_shared(now, self.1, &mut bytes),
            // And where the driver has no room for anything at once.
            None if bytes.len().is_multiple_of(4) => {
                self.0.handle_input_into(now, self.1, bytes, |_, _| false)
            }
            None => self.0.handle_input(now, self.1, bytes),
        }
    }

    fn output(&mut self, now: Timestamp, max_bytes: usize, buf: &mut Vec<u8>) -> Transmit {
        self.0.poll_transmit(now, self.1, max_bytes, buf)
    }
}

/// The other end of a machine's connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) version: ProtocolVersion,
    pub(crate) now: Timestamp,
}

impl Peer {
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        Self {
            version,
            now: Timestamp::from_secs(1),
        }
    }

    /// Sends a packet, all of which has to be taken.
    pub(crate) fn say<'p>(&self, machine: &mut impl Machine, packet: impl Into<Packet<'p>>) {
        let mut bytes = Vec::new();
        packet.into().encode_to(self.version, &mut bytes).unwrap();
        self.say_bytes(machine, &bytes);
    }

    pub(crate) fn say_bytes(&self, machine: &mut impl Machine, bytes: &[u8]) {
        let consumed = machine.input(self.now, bytes);
        assert_eq!(consumed.bytes, bytes.len(), "everything is taken");
    }

    /// What the machine sends now, and "close" when it is done with the connection.
    pub(crate) fn hear(&self, machine: &mut impl Machine) -> Vec<String> {
        let (bytes, closed) = self.hear_bytes(machine);
        let mut heard = show_all(&bytes, self.version);
        if closed {
            heard.push("close".into());
        }
        heard
    }

    pub(crate) fn hear_bytes(&self, machine: &mut impl Machine) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        loop {
            match machine.output(self.now, 4096, &mut bytes) {
                Transmit::More => {}
                Transmit::Idle => return (bytes, false),
                Transmit::Close => return (bytes, true),
            }
        }
    }

    /// Says and hears.
    pub(crate) fn ask<'p>(
        &self,
        machine: &mut impl Machine,
        packet: impl Into<Packet<'p>>,
    ) -> Vec<String> {
        self.say(machine, packet);
        self.hear(machine)
    }
}

/// Whole packets in the notation of [`show`].
pub(crate) fn show_all(bytes: &[u8], version: ProtocolVersion) -> Vec<String> {
    let (mut rest, mut shown) = (bytes, Vec::new());
    while !rest.is_empty() {
        match decode(rest, version, u32::MAX) {
            Ok(Parsed::Complete((packet, size))) => {
                shown.push(show(&packet));
                rest = &rest[size..];
            }
            other => panic!("no packet: {other:?} in {rest:02X?}"),
        }
    }
    shown
}

/// One packet: its name, and what tells it from others. Codes are hexadecimal.
pub(crate) fn show(packet: &Packet<'_>) -> String {
    fn code(reason: impl Into<ReasonCode>) -> String {
        format!("{:02X}", reason.into().value())
    }
    fn codes(reasons: impl Iterator<Item = ReasonCode>) -> String {
        reasons.map(code).collect::<Vec<_>>().join(" ")
    }
    let name = packet.packet_type();
    match packet {
        Packet::Connect(connect) => format!("{name} {}", connect.client_id.as_str()),
        Packet::ConnAck(connack) => match connack.outcome {
            ConnAckOutcome::Accepted {
                session_present: true,
            } => format!("{name} 00 present"),
            ConnAckOutcome::Accepted {
                session_present: false,
            } => format!("{name} 00"),
            ConnAckOutcome::Refused(reason) => format!("{name} {}", code(reason)),
        },
        Packet::Publish(publish) => show_publish(publish),
        Packet::PubAck(ack) | Packet::PubRec(ack) => {
            format!("{name} {} {}", ack.id, code(ack.reason))
        }
        Packet::PubRel(ack) | Packet::PubComp(ack) => {
            format!("{name} {} {}", ack.id, code(ack.reason))
        }
        Packet::Subscribe(subscribe) => format!("{name} {}", subscribe.id),
        Packet::SubAck(suback) => {
            let reasons = suback.reasons.iter().map(ReasonCode::from);
            format!("{name} {} {}", suback.id, codes(reasons))
        }
        Packet::Unsubscribe(unsubscribe) => format!("{name} {}", unsubscribe.id),
        Packet::UnsubAck(unsuback) => {
            let reasons = unsuback.reasons.iter().map(ReasonCode::from);
            format!("{name} {} {}", unsuback.id, codes(reasons))
                .trim_end()
                .into()
        }
        Packet::Disconnect(disconnect) => format!("{name} {}", code(disconnect.reason)),
        Packet::PingReq | Packet::PingResp | Packet::Auth(_) => name.to_string(),
    }
}

fn show_publish(publish: &Publish<'_>) -> String {
    let topic = match publish.topic {
        PublishTopic::Name(name) => name.to_string(),
        PublishTopic::NameAndAlias(name, alias) => format!("{name}@{alias}"),
        PublishTopic::Alias(alias) => format!("@{alias}"),
    };
    let payload = String::from_utf8_lossy(publish.payload);
    let qos = u8::from(publish.delivery.qos());
    let mut shown = format!("PUBLISH {topic}={payload} q{qos}");
    if let Some(id) = publish.delivery.id() {
        shown.push_str(&format!(" id{id}"));
    }
    for (flag, set) in [("dup", publish.delivery.dup()), ("retain", publish.retain)] {
        if set {
            shown.push(' ');
            shown.push_str(flag);
        }
    }
    shown
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub(crate) fn text(text: &str) -> Str<'_> {
    Str::new(text).unwrap()
}

pub(crate) fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

pub(crate) fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

/// CONNECT with a clean start.
pub(crate) fn connect(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    Connect {
        clean_start: true,
        ..Connect::new(version, text(client_id))
    }
}

pub(crate) fn connack(session_present: bool) -> ConnAck<'static> {
    ConnAck::new(ConnAckOutcome::Accepted { session_present })
}

/// PUBLISH at the QoS that its identifier calls for; 0 is QoS 0.
pub(crate) fn publish<'p>(topic: &'p str, payload: &'p str, qos: QoS, value: u16) -> Publish<'p> {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce {
            id: id(value),
            dup: false,
        },
        QoS::ExactlyOnce => Delivery::ExactlyOnce {
            id: id(value),
            dup: false,
        },
    };
    Publish {
        delivery,
        ..Publish::new(name(topic), payload.as_bytes())
    }
}

pub(crate) fn puback(value: u16) -> Packet<'static> {
    Packet::PubAck(Ack::new(id(value), PublishReason::Success))
}

pub(crate) fn pubrec(value: u16) -> Packet<'static> {
    Packet::PubRec(Ack::new(id(value), PublishReason::Success))
}

pub(crate) fn pubrel(value: u16) -> Packet<'static> {
    Packet::PubRel(Ack::new(id(value), ReleaseReason::Success))
}

pub(crate) fn pubcomp(value: u16) -> Packet<'static> {
    Packet::PubComp(Ack::new(id(value), ReleaseReason::Success))
}

/// SUBSCRIBE, for `use_packet`: its filters are borrowed.
pub(crate) fn with_subscribe<R>(
    value: u16,
    filters: &[SubscribeFilter<'_>],
    use_packet: impl FnOnce(Packet<'_>) -> R,
) -> R {
    let subscribe = Subscribe {
        id: id(value),
        filters: SubscribeFilters::new(filters).unwrap(),
        properties: SubscribeProperties::default(),
    };
    use_packet(subscribe.into())
}

pub(crate) fn want(text: &str, qos: QoS) -> SubscribeFilter<'_> {
    SubscribeFilter::new(text, qos).unwrap()
}

pub(crate) fn disconnect(reason: mqtt_codec::DisconnectReason) -> Disconnect<'static> {
    Disconnect::new(reason)
}
