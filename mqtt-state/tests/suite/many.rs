//! What many get is what each of them would get alone.

use core::num::{NonZeroU16, NonZeroU32};

use mqtt_codec::{
    PublishProperties, QoS, Str, Subscribe, SubscribeFilters, SubscribeProperties, SubscriptionId,
};
use mqtt_state::broker::{self, ConnectionId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::recorded::Broker;
use crate::wire::{Peer, V3_1_1, V5_0, connect, id, publish, want};

/// A subscriber of `t/#`.
#[derive(Clone, Copy, Debug)]
struct Reader {
    is_v5: bool,
    qos: u8,
    retain_as_published: bool,
    subscription_id: bool,
    takes_aliases: bool,
    packet_size_max: Option<u32>,
}

fn reader() -> impl Strategy<Value = Reader> {
    let often = || prop_oneof![4 => Just(false), 1 => Just(true)];
    let sizes = option::weighted(0.2, 20..60_u32);
    (
        any::<bool>(),
        0..3_u8,
        any::<bool>(),
        often(),
        often(),
        sizes,
    )
        .prop_map(
            |(is_v5, qos, retain_as_published, subscription_id, takes_aliases, packet_size_max)| {
                Reader {
                    is_v5,
                    qos,
                    retain_as_published: is_v5 && retain_as_published,
                    subscription_id: is_v5 && subscription_id,
                    takes_aliases: is_v5 && takes_aliases,
                    packet_size_max: packet_size_max.filter(|_| is_v5),
                }
            },
        )
}

/// A message, and whether all are drained before the next one.
#[derive(Clone, Copy, Debug)]
struct Sent {
    topic: &'static str,
    payload_len: usize,
    qos: u8,
    retain: bool,
    has_properties: bool,
    is_drained: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let lens = prop_oneof![0..40_usize, Just(200), Just(5000), Just(20_000)];
    let topics = prop_oneof![Just("t"), Just("t/longer/than/others")];
    let rarely = prop_oneof![4 => Just(false), 1 => Just(true)];
    (topics, lens, 0..3_u8, any::<bool>(), rarely, any::<bool>()).prop_map(
        |(topic, payload_len, qos, retain, has_properties, is_drained)| Sent {
            topic,
            payload_len,
            qos,
            retain,
            has_properties,
            is_drained,
        },
    )
}

fn qos(value: u8) -> QoS {
    QoS::try_from(value).unwrap()
}

/// A broker with some readers, and what each of them has got.
struct Hall {
    broker: Broker,
    writer: ConnectionId,
    readers: Vec<(ConnectionId, Reader)>,
    got: Vec<Vec<u8>>,
}

impl Hall {
    fn new(readers: &[Reader]) -> Self {
        let mut broker = Broker::new(broker::Config::default());
        let readers: Vec<_> = { readers.iter().enumerate() }
            .map(|(number, reader)| {
                let id = Self::enter(&mut broker, &format!("reader-{number}"), *reader);
                Self::subscribe(&mut broker, id, *reader);
                (id, *reader)
            })
            .collect();
        let writer = Reader {
            is_v5: true,
            qos: 0,
            retain_as_published: false,
            subscription_id: false,
            takes_aliases: false,
            packet_size_max: None,
        };
        Self {
            writer: Self::enter(&mut broker, "writer", writer),
            got: vec![Vec::new(); readers.len()],
            broker,
            readers,
        }
    }

    fn peer(reader: Reader) -> Peer {
        Peer::new(if reader.is_v5 { V5_0 } else { V3_1_1 })
    }

    fn enter(broker: &mut Broker, client_id: &str, reader: Reader) -> ConnectionId {
        let peer = Self::peer(reader);
        let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
        let mut packet = connect(peer.version, client_id);
        if reader.is_v5 {
            packet.properties.receive_maximum = NonZeroU16::new(100);
            packet.properties.packet_size_max = reader.packet_size_max.and_then(NonZeroU32::new);
            packet.properties.topic_alias_maximum = reader.takes_aliases.then_some(2);
        }
        peer.say(&mut (&mut *broker, id), packet);
        peer.hear(&mut (broker, id));
        id
    }

    fn subscribe(broker: &mut Broker, connection: ConnectionId, reader: Reader) {
        let mut filter = want("t/#", qos(reader.qos));
        filter.options.retain_as_published = reader.retain_as_published;
        let mut properties = SubscribeProperties::default();
        if reader.subscription_id {
            properties.subscription_id = SubscriptionId::new(7);
        }
        let filters = [filter];
        let packet = Subscribe {
            id: id(1),
            filters: SubscribeFilters::new(&filters).unwrap(),
            properties,
        };
        let peer = Self::peer(reader);
        peer.say(&mut (&mut *broker, connection), packet);
        peer.hear(&mut (broker, connection));
    }

    fn send(&mut self, number: u16, sent: Sent) {
        let payload = number.to_string().repeat(sent.payload_len);
        let mut packet = publish(sent.topic, &payload, qos(sent.qos), number);
        packet.retain = sent.retain;
        if sent.has_properties {
            packet.properties = PublishProperties {
                content_type: Some(Str::new("text").unwrap()),
                ..PublishProperties::default()
            };
        }
        let peer = Peer::new(V5_0);
        peer.say(&mut (&mut self.broker, self.writer), packet);
        if sent.is_drained {
            self.drain();
        }
    }

    fn drain(&mut self) {
        for ((id, reader), got) in self.readers.iter().zip(&mut self.got) {
            let (bytes, closed) = Self::peer(*reader).hear_bytes(&mut (&mut self.broker, *id));
            assert!(!closed);
            got.extend(bytes);
        }
    }

    /// All that its readers get of some messages.
    fn play(readers: &[Reader], messages: &[Sent]) -> Vec<Vec<u8>> {
        let mut hall = Self::new(readers);
        for (number, sent) in (1..).zip(messages) {
            hall.send(number, *sent);
        }
        hall.drain();
        hall.got
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_many_get_is_what_each_would_get_alone(
        readers in vec(reader(), 6..14),
        messages in vec(sent(), 1..6),
    ) {
        let together = Hall::play(&readers, &messages);
        for (reader, got) in readers.iter().zip(together) {
            let alone = Hall::play(core::slice::from_ref(reader), &messages);
            prop_assert_eq!(&alone, &[got], "{:?}", reader);
        }
    }
}
