//! Heap allocations of a client at work, counted for the thread of each test.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use allocation_counter::{AllocationInfo, measure};
use bytes::{Buf as _, BytesMut};
use mqtt_codec::{
    Ack, Connect, Delivery, Message, Packet, PacketId, Parsed, ProtocolVersion, Publish,
    PublishProperties, PublishReason, PublishTopic, QoS, ReleaseReason, Str, TopicAlias, TopicName,
    decode,
};
use mqtt_state::client::{Acknowledge, Client, Config, Event};
use mqtt_state::{Pieces, Timestamp, Transmit};

const NOW: Timestamp = Timestamp::ZERO;
const WARM_UP: usize = 2_000;
/// All of them where it is fast.
const MESSAGES: usize = if cfg!(debug_assertions) {
    5_000
} else {
    100_000
};
const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0];
fn first_delivery(qos: QoS, id: PacketId) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
    }
}

const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A connected client, and a peer that answers from the bytes it gets.
struct Line {
    version: ProtocolVersion,
    client: Client,
    out: Vec<u8>,
    answers: Vec<u8>,
}

impl Line {
    fn new(version: ProtocolVersion, config: Config) -> Self {
        let mut client = Client::new(config);
        let connect = Connect::new(version, Str::new("c").unwrap());
        client.connect(NOW, &connect).unwrap();
        let mut line = Self {
            version,
            client,
            out: Vec::with_capacity(64 * 1024),
            answers: Vec::with_capacity(64 * 1024),
        };
        line.turn();
        line
    }

    /// Everything goes there and back until nobody has anything left to say.
    fn turn(&mut self) {
        loop {
            self.out.clear();
            let _transmit = self.client.poll_transmit(NOW, 16 * 1024, &mut self.out);
            if self.out.is_empty() {
                return;
            }
            self.answer();
            self.give();
        }
    }

    /// Hands the answers to the client.
    fn give(&mut self) {
        let consumed = self.client.handle_input(NOW, &self.answers);
        assert_eq!(consumed.bytes, self.answers.len());
        self.answers.clear();
    }

    fn answer(&mut self) {
        let mut rest = self.out.as_slice();
        while let Ok(Parsed::Complete((packet, size))) = decode(rest, self.version, u32::MAX) {
            let answer = match packet {
                Packet::Connect(_) => {
                    let accepted = mqtt_codec::ConnAckOutcome::Accepted {
                        session_present: false,
                    };
                    Some(Packet::ConnAck(mqtt_codec::ConnAck::new(accepted)))
                }
                Packet::Publish(publish) => match publish.delivery {
                    Delivery::AtMostOnce => None,
                    Delivery::AtLeastOnce { id, .. } => {
                        Some(Packet::PubAck(Ack::new(id, PublishReason::Success)))
                    }
                    Delivery::ExactlyOnce { id, .. } => {
                        Some(Packet::PubRec(Ack::new(id, PublishReason::Success)))
                    }
                },
                Packet::PubRec(ack) => {
                    Some(Packet::PubRel(Ack::new(ack.id, ReleaseReason::Success)))
                }
                Packet::PubRel(ack) => {
                    Some(Packet::PubComp(Ack::new(ack.id, ReleaseReason::Success)))
                }
                _ => None,
            };
            if let Some(answer) = answer {
                answer.encode_to(self.version, &mut self.answers).unwrap();
            }
            rest = rest.get(size..).unwrap_or_default();
        }
        assert!(rest.is_empty(), "whole packets");
    }
}

/// What some rounds allocate once the first ones have made room.
fn steady(mut round: impl FnMut()) -> AllocationInfo {
    (0..WARM_UP).for_each(|_| round());
    measure(|| (0..MESSAGES).for_each(|_| round()))
}

#[test]
fn publishing_allocates_nothing() {
    for version in VERSIONS {
        for qos in ALL_QOS {
            for len in [0, 64, 1024] {
                let mut line = Line::new(version, Config::default());
                let message = Message::new("site/7/room/12", vec![0x55; len]).unwrap();
                let message = message.with_qos(qos);
                let mut published = 0;
                let allocated = steady(|| {
                    line.client.publish(NOW, message.clone()).unwrap();
                    line.turn();
                    while let Some(event) = line.client.poll_event() {
                        published += usize::from(matches!(event, Event::Published { .. }));
                    }
                });
                assert_eq!(published, WARM_UP + MESSAGES);
                assert_eq!(allocated.count_total, 0, "{version} {qos} {len} bytes");
            }
        }
    }
}

#[test]
fn publishing_in_one_call_allocates_nothing() {
    for version in VERSIONS {
        for qos in ALL_QOS {
            let mut line = Line::new(version, Config::default());
            let message = Message::new("site/7/room/12", vec![0x55; 1024]).unwrap();
            let message = message.with_qos(qos);
            let mut published = 0;
            let allocated = steady(|| {
                let (client, out) = (&mut line.client, &mut line.out);
                let taken = client.publish_into(NOW, &message, 16 * 1024, out);
                assert_eq!(taken.unwrap().1, Transmit::Idle);
                line.answer();
                line.give();
                line.turn();
                while let Some(event) = line.client.poll_event() {
                    published += usize::from(matches!(event, Event::Published { .. }));
                }
            });
            assert_eq!(published, WARM_UP + MESSAGES);
            assert_eq!(allocated.count_total, 0, "{version} {qos}");
        }
    }
}

#[test]
fn handing_a_payload_out_as_it_is_allocates_nothing() {
    for version in VERSIONS {
        let mut line = Line::new(version, Config::default());
        let message = Message::new("site/7/picture", vec![0x55; 100_000]).unwrap();
        let mut pieces = Pieces::new();
        let allocated = steady(|| {
            line.client.publish(NOW, message.clone()).unwrap();
            let client = &mut line.client;
            let transmit = client.poll_transmit_vectored(NOW, 16 * 1024, &mut pieces);
            assert_eq!((transmit, pieces.chunks().count()), (Transmit::Idle, 2));
            pieces.advance(pieces.len());
            while line.client.poll_event().is_some() {}
        });
        assert_eq!(allocated.count_total, 0, "{version}");
    }
}

/// Many in flight at once, and others waiting for them.
#[test]
fn a_full_window_allocates_nothing() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let config = Config {
            in_flight_max: 10,
            ..Config::default()
        };
        let mut line = Line::new(ProtocolVersion::V5_0, config);
        let message = Message::new("site/7/room/12", "x").unwrap().with_qos(qos);
        let allocated = steady(|| {
            for _ in 0..30 {
                line.client.publish(NOW, message.clone()).unwrap();
            }
            line.turn();
            while line.client.poll_event().is_some() {}
        });
        assert_eq!(allocated.count_total, 0, "{qos}");
    }
}

/// The message is the application's, and takes one piece of memory; nothing else does.
#[test]
fn receiving_allocates_the_message_and_nothing_else() {
    let topic = TopicName::new("site/7/room/12").unwrap();
    for version in VERSIONS {
        for qos in ALL_QOS {
            for acknowledge in [Acknowledge::Automatic, Acknowledge::Manual] {
                let config = Config {
                    acknowledge,
                    ..Config::default()
                };
                let mut line = Line::new(version, config);
                let mut next = 0_u16;
                let allocated = steady(|| {
                    next = next % 60_000 + 1;
                    let id = PacketId::new(next).unwrap();
                    let delivery = first_delivery(qos, id);
                    let publish = Publish {
                        delivery,
                        ..Publish::new(topic, &[0x55; 1024])
                    };
                    publish.encode_to(version, &mut line.answers).unwrap();
                    line.give();
                    while let Some(event) = line.client.poll_event() {
                        if let Event::Message {
                            receipt: Some(receipt),
                            ..
                        } = event
                        {
                            line.client.ack(NOW, receipt).unwrap();
                        }
                    }
                    line.turn();
                });
                let bound = u64::try_from(MESSAGES).unwrap();
                let row = format!("{version} {qos} {acknowledge:?}");
                assert!(
                    allocated.count_total <= bound,
                    "{row}: {}",
                    allocated.count_total
                );
                assert_eq!(allocated.count_current, 0, "{row}: nothing is kept");
            }
        }
    }
}

/// Who is shown a message where it is gets it for nothing, with its topic, with an alias or with properties.
#[test]
fn showing_a_message_allocates_nothing() {
    let name = TopicName::new("site/7/room/12").unwrap();
    let alias = TopicAlias::new(1).unwrap();
    let expiring = PublishProperties {
        message_expiry_secs: Some(60),
        ..PublishProperties::default()
    };
    let none = PublishProperties::default();
    let (v3, v5) = (ProtocolVersion::V3_1_1, ProtocolVersion::V5_0);
    for (version, topic, properties) in [
        (v3, PublishTopic::Name(name), none),
        (v5, PublishTopic::Name(name), none),
        (v5, PublishTopic::Name(name), expiring),
        (v5, PublishTopic::Alias(alias), none),
        (v5, PublishTopic::Alias(alias), expiring),
    ] {
        for qos in ALL_QOS {
            let mut line = Line::new(version, Config::default());
            while line.client.poll_event().is_some() {}
            let mut next = 0_u16;
            let mut publish = |topic, line: &mut Line| {
                next = next % 60_000 + 1;
                let id = PacketId::new(next).unwrap();
                let delivery = first_delivery(qos, id);
                let publish = Publish {
                    delivery,
                    topic,
                    properties,
                    ..Publish::new(name, &[0x55; 1024])
                };
                publish.encode_to(version, &mut line.answers).unwrap();
                let mut shown = 0;
                let answers = core::mem::take(&mut line.answers);
                let taken = line.client.handle_input_with(NOW, &answers, |message| {
                    shown += message.payload().len();
                    assert_eq!((message.topic(), message.qos()), (name, qos));
                });
                assert_eq!((taken.bytes, shown), (answers.len(), 1024));
                line.answers = answers;
                line.answers.clear();
                line.turn();
            };
            if version == v5 {
                publish(PublishTopic::NameAndAlias(name, alias), &mut line);
            }
            let allocated = steady(|| publish(topic, &mut line));
            assert_eq!(
                allocated.count_total, 0,
                "{version} {qos} {topic:?} {properties:?}"
            );
            assert_eq!(line.client.poll_event(), None);
        }
    }
}

/// Small messages that come together in a buffer which they do not share, as each would keep all of it, are one
/// allocation each as well.
#[test]
fn messages_that_come_together_are_one_allocation_each() {
    const TOGETHER: u64 = 16;
    let topic = TopicName::new("site/7/room/12").unwrap();
    for version in VERSIONS {
        let mut line = Line::new(version, Config::default());
        let mut input = BytesMut::new();
        let mut messages = Vec::new();
        for _ in 0..TOGETHER {
            Publish::new(topic, &[0x55; 64])
                .encode_to(version, &mut messages)
                .unwrap();
        }
        let allocated = steady(|| {
            input.extend_from_slice(&messages);
            let taken = line.client.handle_input_shared(NOW, &mut input);
            assert_eq!(taken.bytes, messages.len());
            let arrived = core::iter::from_fn(|| line.client.poll_event())
                .filter(|event| matches!(event, Event::Message { .. }));
            assert_eq!(arrived.count() as u64, TOGETHER);
        });
        let bound = TOGETHER * u64::try_from(MESSAGES).unwrap();
        assert!(
            allocated.count_total <= bound,
            "{version}: {}",
            allocated.count_total
        );
        assert_eq!(allocated.count_current, 0, "{version}: nothing is kept");
    }
}

/// Five bytes that announce 256 MiB reserve nothing, before CONNECT and behind it.
#[test]
fn an_announced_length_reserves_nothing() {
    use mqtt_state::broker::{Broker, Config, Peer};
    const CONNECT: &[u8] = b"\x10\x0D\0\x04MQTT\x05\x02\0\0\0\0\0";
    const ANNOUNCED: &[u8] = b"\x30\xFF\xFF\xFF\x7F";
    for is_connected in [false, true] {
        let mut broker = Broker::new(Config::default());
        let connection = broker.accept(NOW, Peer::default()).unwrap();
        if is_connected {
            let consumed = broker.handle_input(NOW, connection, CONNECT);
            assert_eq!(consumed.bytes, CONNECT.len());
        }
        let mut out = Vec::with_capacity(1024);
        let _transmit = broker.poll_transmit(NOW, connection, 1024, &mut out);
        while broker.poll_event().is_some() {}
        let allocated = measure(|| {
            let consumed = broker.handle_input(NOW, connection, ANNOUNCED);
            assert_eq!(consumed.bytes, ANNOUNCED.len(), "refused from its header");
        });
        assert!(allocated.bytes_max < 4096, "{is_connected}: {allocated:?}");
    }
}
