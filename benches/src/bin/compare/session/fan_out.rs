//! One publisher and many subscribers.

use mqtt_codec::{
    Connect, Delivery, Packet, PacketId, ProtocolVersion, Publish, QoS, Str, Subscribe,
    SubscribeFilter, SubscribeFilters, SubscribeProperties, TopicName,
};
use mqtt_state::broker::{Broker, Config, ConnectionId, Peer};
use mqtt_state::{Timestamp, Transmit};

use crate::case::{Case, Kind};

pub(super) const NOW: Timestamp = Timestamp::ZERO;
const TOPIC: &str = "site/7/building/3/alarm";
const PAYLOAD: [u8; 64] = [0x55; 64];
pub(super) const MAX_BYTES: usize = 16 * 1024;

/// A broker with its clients, of which only the bytes are there.
struct Fan {
    broker: Broker,
    publisher: ConnectionId,
    /// PUBLISH as the publisher sends it.
    publish: Vec<u8>,
    buf: Vec<u8>,
    subscribers: usize,
}

/// Sends a packet to a broker, and throws away what it answers.
pub(super) fn say(
    broker: &mut Broker,
    id: ConnectionId,
    version: ProtocolVersion,
    packet: &Packet<'_>,
) {
    let mut bytes = Vec::new();
    packet.encode_to(version, &mut bytes).expect("a packet");
    assert_eq!(broker.handle_input(NOW, id, &bytes).bytes, bytes.len());
    bytes.clear();
    while broker.poll_transmit(NOW, id, MAX_BYTES, &mut bytes) == Transmit::More {}
    while broker.poll_ready().is_some() {}
    while broker.poll_event().is_some() {}
}

pub(super) fn connect(
    broker: &mut Broker,
    version: ProtocolVersion,
    client_id: &str,
) -> ConnectionId {
    let id = broker.accept(NOW, Peer::default()).expect("room for it");
    let connect = Connect::new(version, Str::new(client_id).expect("a short text"));
    say(broker, id, version, &Packet::Connect(connect));
    id
}

impl Fan {
    fn new(subscribers: usize, qos: QoS) -> Self {
        let mut broker = Broker::new(Config {
            connections_max: usize::MAX,
            ..Config::default()
        });
        let v5 = ProtocolVersion::V5_0;
        let publisher = connect(&mut broker, v5, "publisher");
        for number in 0..subscribers {
            let version = if number % 2 == 0 {
                v5
            } else {
                ProtocolVersion::V3_1_1
            };
            let id = connect(&mut broker, version, &format!("subscriber-{number:012}"));
            let filter = SubscribeFilter::new(TOPIC, qos).expect("a valid filter");
            let filters = [filter];
            let filters = SubscribeFilters::new(&filters).expect("one");
            let subscribe = Subscribe {
                id: PacketId::MIN,
                properties: SubscribeProperties::default(),
                filters,
            };
            say(&mut broker, id, version, &Packet::Subscribe(subscribe));
        }
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Delivery::AtLeastOnce {
                id: PacketId::MIN,
                dup: false,
            },
        };
        let publish = Publish {
            delivery,
            ..Publish::new(TopicName::new(TOPIC).expect("a valid topic"), &PAYLOAD)
        };
        let mut bytes = Vec::new();
        publish.encode_to(v5, &mut bytes).expect("a packet");
        let mut fan = Self {
            broker,
            publisher,
            publish: bytes,
            buf: Vec::with_capacity(MAX_BYTES),
            subscribers,
        };
        assert_eq!(fan.message(), subscribers, "all have it");
        fan
    }

    /// One message to all of them; answers how many have it, and have acknowledged it.
    fn message(&mut self) -> usize {
        let taken = self.broker.handle_input(NOW, self.publisher, &self.publish);
        assert_eq!(taken.bytes, self.publish.len());
        let mut arrived = 0;
        loop {
            self.buf.clear();
            while let Some((id, mut transmit)) = self
                .broker
                .poll_ready_into(NOW, |_| Some((&mut self.buf, MAX_BYTES)))
            {
                while transmit == Transmit::More {
                    transmit = self.broker.poll_transmit(NOW, id, MAX_BYTES, &mut self.buf);
                }
                arrived += usize::from(ends_with_payload(&self.buf));
                if let [0x32, _, 0, topic_len, rest @ ..] = &*self.buf
                    && let Some([high, low]) = rest
                        .get(usize::from(*topic_len)..)
                        .and_then(<[u8]>::first_chunk)
                {
                    let puback = [0x40, 2, *high, *low];
                    assert_eq!(self.broker.handle_input(NOW, id, &puback).bytes, 4);
                }
                self.buf.clear();
            }
            match self.broker.poll_timeout() {
                Some(timeout) if timeout.at <= NOW => self.broker.handle_timeout(NOW),
                _ => break,
            }
        }
        let messages = self.broker.stats().messages;
        assert_eq!(messages, 0, "everybody has acknowledged it");
        arrived
    }
}

/// In two halves, as comparing more than 32 bytes at once takes a call.
#[inline]
fn ends_with_payload(packet: &[u8]) -> bool {
    const HALF: usize = 32;
    let Some(payload) = packet.last_chunk::<64>() else {
        return false;
    };
    payload.first_chunk::<HALF>() == PAYLOAD.first_chunk()
        && payload.last_chunk::<HALF>() == PAYLOAD.last_chunk()
}

/// Each workload with its subscribers and QoS, and messages of one pass.
const WORKLOADS: [(&str, usize, QoS, usize); 4] = [
    ("F-1k-qos0", 1_000, QoS::AtMostOnce, 10),
    ("F-1k-qos1", 1_000, QoS::AtLeastOnce, 10),
    ("F-10k-qos0", 10_000, QoS::AtMostOnce, 1),
    ("F-10k-qos1", 10_000, QoS::AtLeastOnce, 1),
];

pub(super) fn add_all(cases: &mut Vec<Case>) {
    for (workload, subscribers, qos, messages) in WORKLOADS {
        let size = (subscribers, qos, messages);
        super::floor::add_fan_out(cases, workload, size, (TOPIC, &PAYLOAD));
        let run = move |fan: &mut Fan| (0..messages).map(|_| fan.message()).sum::<usize>();
        let fan = Fan::new(subscribers, qos);
        let subject = ("ours", Kind::Ours);
        let deliveries = fan.subscribers * messages;
        cases.push(Case::new(workload, subject, deliveries, fan, |_| {}, run));
    }
}
