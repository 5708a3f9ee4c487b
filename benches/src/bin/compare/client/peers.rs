//! The other crates.

use bytes::{Bytes, BytesMut};
use mqtt_codec::{ProtocolVersion, QoS};
use mqtt_protocol_core::mqtt as core_mqtt;
use mqtt_protocol_core::mqtt::packet::GenericPacketTrait as _;

use super::{Case, Kind, Machine, PAYLOAD, TOPIC, add, connack};

const SIZE_MAX: usize = 1024 * 1024;

pub(super) fn add_all(
    cases: &mut Vec<Case>,
    workload: &'static str,
    version: ProtocolVersion,
    qos: QoS,
) {
    let rumqttc = ("rumqttc", Kind::Peer);
    match version {
        ProtocolVersion::V3_1_1 => add(cases, workload, rumqttc, Rumqttc3::new(qos)),
        ProtocolVersion::V5_0 => add(cases, workload, rumqttc, Rumqttc5::new(qos)),
    }
    let core = ("mqtt-protocol-core", Kind::Peer);
    match version {
        ProtocolVersion::V3_1_1 => add(cases, workload, core, Core::new3(qos)),
        ProtocolVersion::V5_0 => add(cases, workload, core, Core::new5(qos)),
    }
}

/// `rumqttc::MqttState`, with its own packets read from and written to its own buffers, and its events
/// taken one by one, as its event loop does.
struct Rumqttc3 {
    state: rumqttc::MqttState,
    qos: rumqttc::QoS,
    payload: Bytes,
    input: BytesMut,
    output: BytesMut,
    completed: usize,
}

impl Rumqttc3 {
    fn new(qos: QoS) -> Self {
        Self {
            state: rumqttc::MqttState::new(100, false),
            qos: match qos {
                QoS::AtMostOnce => rumqttc::QoS::AtMostOnce,
                QoS::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
                QoS::ExactlyOnce => rumqttc::QoS::ExactlyOnce,
            },
            payload: Bytes::copy_from_slice(&PAYLOAD),
            input: BytesMut::with_capacity(SIZE_MAX),
            output: BytesMut::with_capacity(SIZE_MAX),
            completed: 0,
        }
    }

    fn send(&mut self, packet: Option<rumqttc::Packet>) {
        if let Some(packet) = packet {
            packet.write(&mut self.output, SIZE_MAX).expect("it fits");
        }
        while let Some(event) = self.state.events.pop_front() {
            self.completed += usize::from(match event {
                rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))
                | rumqttc::Event::Incoming(rumqttc::Packet::PubComp(_)) => true,
                rumqttc::Event::Outgoing(rumqttc::Outgoing::Publish(_)) => {
                    self.qos == rumqttc::QoS::AtMostOnce
                }
                _ => false,
            });
        }
    }
}

impl Machine for Rumqttc3 {
    fn publish(&mut self) {
        let mut publish = rumqttc::Publish::new(TOPIC, self.qos, Vec::new());
        publish.payload = self.payload.clone();
        let request = rumqttc::Request::Publish(publish);
        let packet = self.state.handle_outgoing_packet(request).expect("taken");
        self.send(packet);
    }

    fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let packet = rumqttc::Packet::read(&mut self.input, SIZE_MAX).expect("a packet");
        let answer = self.state.handle_incoming_packet(packet).expect("taken");
        self.send(answer);
    }

    fn output(&self) -> &[u8] {
        &self.output
    }

    fn clear_output(&mut self) {
        self.output.clear();
    }

    fn completed(&mut self) -> usize {
        core::mem::take(&mut self.completed)
    }
}

/// `rumqttc::v5::MqttState`, likewise.
struct Rumqttc5 {
    state: rumqttc::v5::MqttState,
    qos: rumqttc::v5::mqttbytes::QoS,
    payload: Bytes,
    input: BytesMut,
    output: BytesMut,
    completed: usize,
}

impl Rumqttc5 {
    fn new(qos: QoS) -> Self {
        use rumqttc::v5::mqttbytes::QoS as Theirs;
        Self {
            state: rumqttc::v5::MqttState::new(100, false),
            qos: match qos {
                QoS::AtMostOnce => Theirs::AtMostOnce,
                QoS::AtLeastOnce => Theirs::AtLeastOnce,
                QoS::ExactlyOnce => Theirs::ExactlyOnce,
            },
            payload: Bytes::copy_from_slice(&PAYLOAD),
            input: BytesMut::with_capacity(SIZE_MAX),
            output: BytesMut::with_capacity(SIZE_MAX),
            completed: 0,
        }
    }

    fn send(&mut self, packet: Option<rumqttc::v5::mqttbytes::v5::Packet>) {
        if let Some(packet) = packet {
            packet.write(&mut self.output, None).expect("it fits");
        }
        use rumqttc::v5::{Event, mqttbytes::v5::Packet};
        while let Some(event) = self.state.events.pop_front() {
            self.completed += usize::from(match event {
                Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => true,
                Event::Outgoing(rumqttc::Outgoing::Publish(_)) => {
                    self.qos == rumqttc::v5::mqttbytes::QoS::AtMostOnce
                }
                _ => false,
            });
        }
    }
}

impl Machine for Rumqttc5 {
    fn publish(&mut self) {
        let payload = self.payload.clone();
        let publish = rumqttc::v5::mqttbytes::v5::Publish::new(TOPIC, self.qos, payload, None);
        let request = rumqttc::v5::Request::Publish(publish);
        let packet = self.state.handle_outgoing_packet(request).expect("taken");
        self.send(packet);
    }

    fn input(&mut self, bytes: &[u8]) {
        use rumqttc::v5::mqttbytes::v5::Packet;
        self.input.extend_from_slice(bytes);
        let packet = Packet::read(&mut self.input, None).expect("a packet");
        let answer = self.state.handle_incoming_packet(packet).expect("taken");
        self.send(answer);
    }

    fn output(&self) -> &[u8] {
        &self.output
    }

    fn clear_output(&mut self) {
        self.output.clear();
    }

    fn completed(&mut self) -> usize {
        core::mem::take(&mut self.completed)
    }
}

type CoreClient = core_mqtt::Connection<core_mqtt::role::Client>;

/// mqtt-protocol-core, which answers by itself.
struct Core {
    connection: CoreClient,
    qos: core_mqtt::packet::Qos,
    version: ProtocolVersion,
    output: Vec<u8>,
    completed: usize,
}

impl Core {
    fn new3(qos: QoS) -> Self {
        let mut connection = CoreClient::new(core_mqtt::Version::V3_1_1);
        let connect = core_mqtt::packet::v3_1_1::Connect::builder()
            .client_id("c")
            .expect("a short text")
            .build()
            .expect("a packet");
        connection.set_auto_pub_response(true);
        connection.checked_send(connect);
        Self::new(connection, ProtocolVersion::V3_1_1, qos)
    }

    fn new5(qos: QoS) -> Self {
        let mut connection = CoreClient::new(core_mqtt::Version::V5_0);
        let connect = core_mqtt::packet::v5_0::Connect::builder()
            .client_id("c")
            .expect("a short text")
            .build()
            .expect("a packet");
        connection.set_auto_pub_response(true);
        connection.checked_send(connect);
        Self::new(connection, ProtocolVersion::V5_0, qos)
    }

    fn new(connection: CoreClient, version: ProtocolVersion, qos: QoS) -> Self {
        let mut machine = Self {
            connection,
            qos: core_mqtt::packet::Qos::try_from(u8::from(qos)).expect("0, 1 or 2"),
            version,
            output: Vec::new(),
            completed: 0,
        };
        machine.input(connack(version));
        machine.clear_output();
        machine.completed = 0;
        machine
    }

    fn take(&mut self, events: Vec<core_mqtt::connection::Event>) {
        use core_mqtt::connection::Event;
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.output
                        .extend_from_slice(&packet.to_continuous_buffer());
                }
                Event::NotifyPacketIdReleased(_) => self.completed += 1,
                Event::NotifyError(error) => panic!("{error:?}"),
                _ => {}
            }
        }
    }

    fn id(&mut self) -> Option<u16> {
        let needs_one = self.qos != core_mqtt::packet::Qos::AtMostOnce;
        needs_one.then(|| self.connection.acquire_packet_id().expect("one is free"))
    }
}

impl Machine for Core {
    fn publish(&mut self) {
        let id = self.id();
        let events = match self.version {
            ProtocolVersion::V3_1_1 => {
                let builder = core_mqtt::packet::v3_1_1::Publish::builder()
                    .topic_name(TOPIC)
                    .expect("a valid topic")
                    .qos(self.qos)
                    .payload(PAYLOAD.as_slice());
                let builder = match id {
                    Some(id) => builder.packet_id(id),
                    None => builder,
                };
                self.connection
                    .checked_send(builder.build().expect("a packet"))
            }
            ProtocolVersion::V5_0 => {
                let builder = core_mqtt::packet::v5_0::Publish::builder()
                    .topic_name(TOPIC)
                    .expect("a valid topic")
                    .qos(self.qos)
                    .payload(PAYLOAD.as_slice());
                let builder = match id {
                    Some(id) => builder.packet_id(id),
                    None => builder,
                };
                self.connection
                    .checked_send(builder.build().expect("a packet"))
            }
        };
        self.take(events);
        self.completed += usize::from(id.is_none());
    }

    fn input(&mut self, bytes: &[u8]) {
        let events = self
            .connection
            .recv(&mut core_mqtt::common::Cursor::new(bytes));
        self.take(events);
    }

    fn output(&self) -> &[u8] {
        &self.output
    }

    fn clear_output(&mut self) {
        self.output.clear();
    }

    fn completed(&mut self) -> usize {
        core::mem::take(&mut self.completed)
    }
}
