//! What is left when nothing is kept: packets, the index of subscriptions and the copying, in the steps of
//! the other rows, without machines between them. No broker may be so; it says what a bar leaves to them.

use alloc::collections::VecDeque;

use bytes::BytesMut;
use mqtt_benches::{FILTER, TOPIC};
use mqtt_codec::{
    Delivery, FanOut, Message, PacketId, PlainAck, PlainPublish, ProtocolVersion, QoS, Receiver,
    TopicFilter, TopicName,
};
use mqtt_topic::{IndexConfig, MergeScratch, Position, SubscriptionIndex};

use crate::case::{Case, Kind};

const SUBJECT: (&str, Kind) = ("packets and index alone", Kind::Floor);
const SIZE_MAX: usize = 64 * 1024;

/// A publisher, a broker and a subscriber that know nothing.
struct Stateless {
    version: ProtocolVersion,
    message: Message,
    delivery: Delivery,
    index: SubscriptionIndex<u32, ()>,
    scratch: MergeScratch<u32>,
    /// Memory of the last message, as a broker keeps it.
    memory: Option<BytesMut>,
    up: Vec<u8>,
    down: Vec<u8>,
    input: BytesMut,
}

impl Stateless {
    fn new(version: ProtocolVersion, qos: QoS, len: usize) -> Self {
        let mut index = SubscriptionIndex::new(IndexConfig::default());
        let filter = TopicFilter::new(FILTER).expect("a valid filter");
        index.insert(filter, 0, ()).expect("room for one");
        let message = Message::new(TOPIC, vec![0x55; len]);
        let id = PacketId::MIN;
        Self {
            version,
            message: message.expect("a valid topic").with_qos(qos),
            delivery: match qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
                QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
            },
            index,
            scratch: MergeScratch::remembering(128),
            memory: None,
            up: Vec::new(),
            down: Vec::new(),
            input: BytesMut::new(),
        }
    }

    /// One message through, and its acknowledgements back. Answers whether it is there.
    fn message(&mut self) -> bool {
        let Self {
            version, delivery, ..
        } = *self;
        self.up.clear();
        self.message
            .encode_within(version, delivery, false, SIZE_MAX, &mut self.up)
            .expect("room for it");
        let publish = PlainPublish::first_of(&self.up, version, SIZE_MAX).expect("a PUBLISH");
        let topic = publish.topic().name().expect("a name");
        let mut receivers = 0_usize;
        let mut position = Position::default();
        let (index, scratch) = (&self.index, &mut self.scratch);
        let _no_more = index.receivers(topic, scratch, &mut position, 1024, &mut |it| {
            receivers += it.keys().count();
        });
        let memory = self.memory.take().unwrap_or_default();
        let stored = Message::from_plain_in(memory, &publish, topic);
        self.down.clear();
        for _ in 0..receivers {
            stored
                .encode_within(version, delivery, false, SIZE_MAX, &mut self.down)
                .expect("room for it");
        }
        self.memory = stored.into_memory(SIZE_MAX);
        // As a transport would bring it.
        self.input.extend_from_slice(&self.down);
        let publish = PlainPublish::first_of(&self.input, version, SIZE_MAX).expect("a PUBLISH");
        let (size, parts) = (publish.size(), publish.parts().expect("a name"));
        let arrived = Message::from_parts(self.input.split_to(size).freeze(), parts);
        let is_there = arrived.payload().len() == self.message.payload().len();
        drop(arrived);
        is_there && self.acknowledge() && self.acknowledge()
    }

    /// Every acknowledgement on one of the two ways.
    fn acknowledge(&mut self) -> bool {
        let acks: &[fn(PacketId) -> PlainAck] = match self.delivery {
            Delivery::AtMostOnce => &[],
            Delivery::AtLeastOnce { .. } => &[PlainAck::PubAck],
            Delivery::ExactlyOnce { .. } => {
                &[PlainAck::PubRec, PlainAck::PubRel, PlainAck::PubComp]
            }
        };
        acks.iter().all(|ack| {
            self.up.clear();
            self.up.extend_from_slice(&ack(PacketId::MIN).to_bytes());
            matches!(PlainAck::split(&self.up), Some((read, [])) if read == ack(PacketId::MIN))
        })
    }
}

/// A broker that knows its connections by number, and which of them speak which version.
struct Numbers {
    index: SubscriptionIndex<u32, ()>,
    scratch: MergeScratch<u32>,
    ready: VecDeque<u32>,
    message: Message,
    qos: QoS,
    buf: Vec<u8>,
}

impl Numbers {
    fn new(subscribers: u32, topic: &str, payload: &[u8], qos: QoS) -> Self {
        let mut index = SubscriptionIndex::new(IndexConfig::default());
        let filter = TopicFilter::new(topic).expect("a valid filter");
        for number in 0..subscribers {
            index.insert(filter, number, ()).expect("room for all");
        }
        Self {
            index,
            scratch: MergeScratch::remembering(128),
            ready: VecDeque::new(),
            message: Message::from_slice(topic, payload).expect("a valid topic"),
            qos,
            buf: Vec::with_capacity(1024),
        }
    }

    /// One message to all of them, each with what it acknowledges; answers how many that were.
    fn message(&mut self) -> usize {
        let fan_outs = [ProtocolVersion::V5_0, ProtocolVersion::V3_1_1]
            .map(|version| FanOut::new(&self.message, version));
        let topic: TopicName<'_> = self.message.topic();
        let mut position = Position::default();
        let (index, scratch, ready) = (&self.index, &mut self.scratch, &mut self.ready);
        let _no_more =
            index.receivers(topic, scratch, &mut position, usize::MAX, &mut |receiver| {
                ready.extend(receiver.keys());
            });
        let delivery = match self.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Delivery::AtLeastOnce {
                id: PacketId::MIN,
                dup: false,
            },
        };
        let mut arrived = 0;
        while let Some(number) = self.ready.pop_front() {
            let [v5, v3] = &fan_outs;
            let fan_out = if number % 2 == 0 { v5 } else { v3 };
            self.buf.clear();
            fan_out
                .encode_head_to(&Receiver::new(delivery), &mut self.buf)
                .expect("room for it");
            self.buf.extend_from_slice(fan_out.payload());
            let is_acknowledged = match delivery.id() {
                None => true,
                Some(id) => {
                    let ack = PlainAck::PubAck(id).to_bytes();
                    PlainAck::split(core::hint::black_box(&ack)).is_some()
                }
            };
            arrived += usize::from(self.buf.ends_with(fan_out.payload()) && is_acknowledged);
        }
        arrived
    }
}

pub(super) fn add_s1(
    cases: &mut Vec<Case>,
    workload: &'static str,
    (version, qos, len): (ProtocolVersion, QoS, usize),
) {
    let run = |line: &mut Stateless| (0..super::MESSAGES).filter(|_| line.message()).count();
    let line = Stateless::new(version, qos, len);
    let messages = super::MESSAGES;
    cases.push(Case::new(workload, SUBJECT, messages, line, |_| {}, run));
}

pub(super) fn add_fan_out(
    cases: &mut Vec<Case>,
    workload: &'static str,
    (subscribers, qos, messages): (usize, QoS, usize),
    (topic, payload): (&str, &[u8]),
) {
    let run = move |fan: &mut Numbers| (0..messages).map(|_| fan.message()).sum::<usize>();
    let number = u32::try_from(subscribers).expect("some thousands");
    let fan = Numbers::new(number, topic, payload, qos);
    let deliveries = subscribers * messages;
    cases.push(Case::new(workload, SUBJECT, deliveries, fan, |_| {}, run));
}
