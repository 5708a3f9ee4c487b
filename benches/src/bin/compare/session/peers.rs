//! mqtt-protocol-core, the one other crate with machines for both roles. It has no broker: what the
//! publisher's server hands out is given to the subscriber's server by hand.

use mqtt_benches::TOPIC;
use mqtt_codec::{ProtocolVersion, QoS};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Event, role};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait as _, Packet, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::{Connection, Version};

use super::Joined;

/// CONNECT with a clean start, and the answer.
const HANDSHAKE3: [&[u8]; 2] = [b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01c", &[0x20, 2, 0, 0]];
const HANDSHAKE5: [&[u8]; 2] = [
    b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01c",
    &[0x20, 3, 0, 0, 0],
];

type Client = Connection<role::Client>;
type Server = Connection<role::Server>;

/// Publisher, its server, the subscriber's server and the subscriber, with the bytes that each has
/// for its neighbour.
pub(super) struct Core {
    version: ProtocolVersion,
    qos: Qos,
    payload: Vec<u8>,
    publisher: (Client, Vec<u8>),
    entrance: (Server, Vec<u8>),
    exit: (Server, Vec<u8>),
    subscriber: (Client, Vec<u8>),
}

/// Makes a PUBLISH of either version.
macro_rules! publish {
    ($version:ident, $topic:expr, $qos:expr, $payload:expr, $id:expr) => {{
        let builder = $version::Publish::builder().topic_name($topic);
        let builder = builder.expect("a valid topic").qos($qos).payload($payload);
        let builder = match $id {
            Some(id) => builder.packet_id(id),
            None => builder,
        };
        builder.build().expect("a packet")
    }};
}

/// Puts what a machine wants to send behind what it has for its neighbour, and shows the rest.
fn take(events: Vec<Event>, output: &mut Vec<u8>, mut see: impl FnMut(Event)) {
    for event in events {
        match event {
            Event::RequestSendPacket { packet, .. } => {
                output.extend_from_slice(&packet.to_continuous_buffer());
            }
            Event::NotifyError(error) => panic!("{error:?}"),
            other => see(other),
        }
    }
}

/// Gives bytes to a machine; answers whether there were any.
macro_rules! give {
    ($bytes:expr => $machine:expr, $see:expr) => {{
        let (machine, output) = &mut $machine;
        let mut cursor = Cursor::new(&$bytes[..]);
        let end = $bytes.len() as u64;
        while cursor.position() < end {
            take(machine.recv(&mut cursor), output, $see);
        }
        $bytes.clear();
        end > 0
    }};
}

impl Core {
    pub(super) fn new(version: ProtocolVersion, qos: QoS, payload: &[u8]) -> Self {
        let (theirs, [connect, connack]) = match version {
            ProtocolVersion::V3_1_1 => (Version::V3_1_1, HANDSHAKE3),
            ProtocolVersion::V5_0 => (Version::V5_0, HANDSHAKE5),
        };
        let client = || {
            let mut client = (Client::new(theirs), Vec::new());
            client.0.set_auto_pub_response(true);
            let packet = match version {
                ProtocolVersion::V3_1_1 => {
                    Packet::from(v3_1_1::Connect::parse(&connect[2..]).expect("a CONNECT").0)
                }
                ProtocolVersion::V5_0 => {
                    Packet::from(v5_0::Connect::parse(&connect[2..]).expect("a CONNECT").0)
                }
            };
            take(client.0.send(packet), &mut client.1, |_| {});
            assert_eq!(client.1, connect);
            let mut answer = connack.to_vec();
            client.1.clear();
            let _all = give!(answer => client, |_| {});
            client
        };
        let server = || {
            let mut server = (Server::new(theirs), Vec::new());
            server.0.set_auto_pub_response(true);
            let mut packet = connect.to_vec();
            let _all = give!(packet => server, |_| {});
            let packet = match version {
                ProtocolVersion::V3_1_1 => {
                    Packet::from(v3_1_1::Connack::parse(&connack[2..]).expect("a CONNACK").0)
                }
                ProtocolVersion::V5_0 => {
                    Packet::from(v5_0::Connack::parse(&connack[2..]).expect("a CONNACK").0)
                }
            };
            take(server.0.send(packet), &mut server.1, |_| {});
            assert_eq!(server.1, connack);
            server.1.clear();
            server
        };
        Self {
            version,
            qos: Qos::try_from(u8::from(qos)).expect("0, 1 or 2"),
            payload: payload.to_vec(),
            publisher: client(),
            entrance: server(),
            exit: server(),
            subscriber: client(),
        }
    }

    /// Answers whether the publisher has nothing more to hear of it.
    fn publish(&mut self) -> bool {
        let (client, output) = &mut self.publisher;
        let needs_id = self.qos != Qos::AtMostOnce;
        let id = needs_id.then(|| client.acquire_packet_id().expect("one is free"));
        let payload = self.payload.as_slice();
        let events = match self.version {
            ProtocolVersion::V3_1_1 => {
                client.checked_send(publish!(v3_1_1, TOPIC, self.qos, payload, id))
            }
            ProtocolVersion::V5_0 => {
                client.checked_send(publish!(v5_0, TOPIC, self.qos, payload, id))
            }
        };
        take(events, output, |_| {});
        !needs_id
    }
}

/// The message goes from one server to the other, with an identifier of the latter.
fn route((exit, output): &mut (Server, Vec<u8>), event: Event) {
    let mut id =
        |qos| (qos != Qos::AtMostOnce).then(|| exit.acquire_packet_id().expect("one is free"));
    let events = match event {
        Event::NotifyPacketReceived(Packet::V3_1_1Publish(came)) => {
            let id = id(came.qos());
            let payload = came.payload().clone();
            exit.checked_send(publish!(v3_1_1, came.topic_name(), came.qos(), payload, id))
        }
        Event::NotifyPacketReceived(Packet::V5_0Publish(came)) => {
            let id = id(came.qos());
            let payload = came.payload().clone();
            exit.checked_send(publish!(v5_0, came.topic_name(), came.qos(), payload, id))
        }
        _ => return,
    };
    take(events, output, |_| {});
}

fn is_message(event: &Event, payload: &[u8]) -> bool {
    match event {
        Event::NotifyPacketReceived(Packet::V3_1_1Publish(came)) => {
            came.topic_name() == TOPIC && came.payload().as_slice() == payload
        }
        Event::NotifyPacketReceived(Packet::V5_0Publish(came)) => {
            came.topic_name() == TOPIC && came.payload().as_slice() == payload
        }
        _ => false,
    }
}

impl Joined for Core {
    fn messages(&mut self, at_once: usize) -> usize {
        let mut published = (0..at_once).filter(|_| self.publish()).count();
        let mut arrived = 0;
        loop {
            let exit = &mut self.exit;
            let mut moved = give!(self.publisher.1 => self.entrance, |event| route(exit, event));
            moved |= give!(self.entrance.1 => self.publisher, |event| {
                published += usize::from(matches!(event, Event::NotifyPacketIdReleased(_)));
            });
            let payload = &self.payload;
            moved |= give!(self.exit.1 => self.subscriber, |event| {
                arrived += usize::from(is_message(&event, payload));
            });
            moved |= give!(self.subscriber.1 => self.exit, |_| {});
            if !moved {
                return if published == at_once { arrived } else { 0 };
            }
        }
    }
}
