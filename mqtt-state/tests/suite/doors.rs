//! One way out through several doors: the same calls give the same bytes, whether these are copied,
//! handed out in pieces, or written while the message is published.

mod shown;

use core::num::NonZero;

use bytes::{Buf as _, Bytes, BytesMut};
use mqtt_codec::{
    ConnAck, ConnAckProperties, Connect, Delivery, Message, Packet, PacketId, PlainAck,
    ProtocolVersion, Publish, PublishProperties, QoS, Str,
};
use mqtt_state::broker::{self};
use mqtt_state::client::{Config, Event, PublishErrorKind, PublishToken};
use mqtt_state::server::{self, Acceptance};
use mqtt_state::{Pieces, Timestamp, Transmit};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::recorded::{Broker, Client, Connection};
use crate::wire::{Peer, V3_1_1, V5_0, connack, connect, name, text, want, with_subscribe};

/// From here on payloads are handed out as they are.
const SHARED: usize = 4096;

#[derive(Clone, Debug)]
enum Step {
    Publish(Message),
    /// Publishes and polls, which is one call at one of the doors.
    PublishNow(Message, usize),
    Poll(usize),
    Input(PlainAck),
    Wait(u64),
    Reconnect,
}

fn any_message() -> impl Strategy<Value = Message> {
    let len = prop_oneof![0..200_usize, SHARED - 2..SHARED + 2, Just(9_000)];
    let topic = prop_oneof![Just("t"), Just("a/long/topic"), Just("another/long/topic")];
    let qos = prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ];
    let properties = prop_oneof![4 => Just(None), 1 => (0..3_u32).prop_map(Some)];
    (len, topic, qos, any::<bool>(), properties, any::<bool>()).prop_map(
        |(len, topic, qos, retain, expiry, is_apart)| {
            let payload = vec![b'x'; len];
            let message = if is_apart {
                Message::new(topic, payload).unwrap()
            } else {
                Message::from_slice(topic, &payload).unwrap()
            };
            // RETAIN is rare, as some servers refuse it.
            let message = message.with_qos(qos).with_retain(retain && len % 7 == 0);
            let properties = PublishProperties {
                message_expiry_secs: expiry,
                ..PublishProperties::default()
            };
            match expiry {
                Some(_) => message.with_properties(&properties).unwrap(),
                None => message,
            }
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let max = prop_oneof![Just(1_usize), 50..6_000_usize, Just(usize::MAX)];
    let ack = (1..6_u16, 0..3_u8).prop_map(|(id, kind)| {
        let id = PacketId::new(id).unwrap();
        match kind {
            0 => PlainAck::PubAck(id),
            1 => PlainAck::PubRec(id),
            _ => PlainAck::PubComp(id),
        }
    });
    prop_oneof![
        2 => any_message().prop_map(Step::Publish),
        4 => (any_message(), max.clone()).prop_map(|(message, max)| Step::PublishNow(message, max)),
        2 => max.prop_map(Step::Poll),
        3 => ack.prop_map(Step::Input),
        1 => (0..2_u64).prop_map(Step::Wait),
        1 => Just(Step::Reconnect),
    ]
}

fn any_server() -> impl Strategy<Value = (ProtocolVersion, ConnAckProperties<'static>)> {
    let limits = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    limits.prop_map(|(is_v5, takes_aliases, is_small, retains)| {
        if !is_v5 {
            return (V3_1_1, ConnAckProperties::default());
        }
        let properties = ConnAckProperties {
            topic_alias_maximum: takes_aliases.then_some(2),
            packet_size_max: is_small.then_some(NonZero::new(5_000).unwrap()),
            retain_available: (!retains).then_some(false),
            ..ConnAckProperties::default()
        };
        (V5_0, properties)
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Door {
    Copied,
    InPieces,
    AtOnce,
}

/// Everything that can be seen of a client.
#[derive(Debug, PartialEq)]
struct Seen {
    published: Option<Result<PublishToken, PublishErrorKind>>,
    transmit: Option<Transmit>,
    bytes: Vec<u8>,
    events: Vec<Event>,
    stats: String,
}

struct End {
    client: Client,
    server: (ProtocolVersion, ConnAckProperties<'static>),
    door: Door,
    now: Timestamp,
}

impl End {
    fn new(door: Door, server: (ProtocolVersion, ConnAckProperties<'static>)) -> Self {
        let config = Config {
            waiting_len_max: 5,
            messages_bytes_max: 25_000,
            in_flight_max: 3,
            in_flight_max_v3: 3,
            events_max: 8,
            ..Config::default()
        };
        let mut end = Self {
            client: Client::new(config),
            server,
            door,
            now: Peer::new(server.0).now,
        };
        end.connect(false);
        end
    }

    fn connect(&mut self, session_present: bool) {
        let (version, properties) = self.server;
        let peer = Peer {
            now: self.now,
            ..Peer::new(version)
        };
        let mut connect = Connect::new(version, text("c"));
        connect.clean_start = false;
        if version == V5_0 {
            connect.properties.session_expiry_secs = Some(u32::MAX);
        }
        // There has to be room for events.
        while self.client.poll_event().is_some() {}
        self.client.connect(self.now, &connect).unwrap();
        peer.hear(&mut self.client);
        let accepted = ConnAck {
            properties,
            ..connack(session_present)
        };
        peer.say(&mut self.client, accepted);
    }

    fn poll(&mut self, max: usize) -> (Transmit, Vec<u8>) {
        if self.door == Door::InPieces {
            let mut pieces = Pieces::new();
            let transmit = self
                .client
                .poll_transmit_vectored(self.now, max, &mut pieces);
            for piece in pieces.chunks() {
                assert!(!piece.is_empty());
            }
            return (transmit, pieces.copy_to_bytes(pieces.len()).to_vec());
        }
        let mut bytes = Vec::new();
        let transmit = self.client.poll_transmit(self.now, max, &mut bytes);
        (transmit, bytes)
    }

    fn publish(&mut self, message: &Message) -> Result<PublishToken, PublishErrorKind> {
        let published = self.client.publish(self.now, message.clone());
        published.map_err(|error| {
            assert_eq!(error.message, *message);
            error.kind
        })
    }

    fn step(&mut self, step: &Step) -> Seen {
        let (mut published, mut transmit, mut bytes) = (None, None, Vec::new());
        match step {
            Step::Publish(message) => published = Some(self.publish(message)),
            Step::PublishNow(message, max) if self.door == Door::AtOnce => {
                match self
                    .client
                    .publish_into(self.now, message, *max, &mut bytes)
                {
                    Ok((token, after)) => {
                        (published, transmit) = (Some(Ok(token)), Some(after));
                    }
                    Err(error) => published = Some(Err(error)),
                }
            }
            Step::PublishNow(message, max) => {
                let taken = self.publish(message);
                if taken.is_ok() {
                    let (after, written) = self.poll(*max);
                    (transmit, bytes) = (Some(after), written);
                }
                published = Some(taken);
            }
            Step::Poll(max) => {
                let (after, written) = self.poll(*max);
                (transmit, bytes) = (Some(after), written);
            }
            Step::Input(ack) => {
                let _all = self.client.handle_input(self.now, &ack.to_bytes());
            }
            Step::Wait(secs) => {
                self.now = self.now + core::time::Duration::from_secs(*secs);
                self.client.handle_timeout(self.now);
            }
            Step::Reconnect => {
                self.client.handle_close(self.now);
                self.connect(true);
            }
        }
        // Some wait, so that there are times without room for more.
        let events = core::iter::from_fn(|| self.client.poll_event());
        let events = events.take(2).collect();
        let stats = format!("{:?} {:?}", self.client.stats(), self.client.explain());
        Seen {
            published,
            transmit,
            bytes,
            events,
            stats,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_doors_of_a_client_are_the_same(
        server in any_server(),
        steps in vec(any_step(), 1..40),
    ) {
        let mut ends = [Door::Copied, Door::InPieces, Door::AtOnce].map(|door| End::new(door, server));
        for step in &steps {
            let [copied, in_pieces, at_once] = ends.each_mut().map(|end| end.step(step));
            prop_assert_eq!(&copied, &in_pieces, "in pieces: {:?}", step);
            prop_assert_eq!(&copied, &at_once, "at once: {:?}", step);
        }
        let [copied, in_pieces, at_once] = ends.map(|end| end.client.snapshot(end.now));
        prop_assert_eq!(&copied, &in_pieces);
        prop_assert_eq!(&copied, &at_once);
    }
}

#[test]
fn a_client_hands_out_a_large_payload_and_copies_a_small_one() {
    let (mut client, peer) = (Client::new(Config::default()), Peer::new(V3_1_1));
    client.connect(peer.now, &connect(V3_1_1, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    let mut pieces = Pieces::new();
    for (len, is_shared) in [(SHARED - 1, false), (SHARED, true)] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let payload = Bytes::from(vec![b'x'; len]);
            let message = Message::new("t", payload.clone()).unwrap().with_qos(qos);
            client.publish(peer.now, message).unwrap();
            let idle = client.poll_transmit_vectored(peer.now, 1, &mut pieces);
            assert_eq!(idle, Transmit::Idle);
            let last = pieces.chunks().last().unwrap();
            assert_eq!(last.as_ptr() == payload.as_ptr(), is_shared, "{len}");
            assert_eq!(pieces.chunks().count(), if is_shared { 2 } else { 1 });
            pieces.clear();
        }
    }
}

#[test]
fn a_connection_hands_out_a_large_payload_as_it_is() {
    let peer = Peer::new(V5_0);
    let mut connections = [(); 2].map(|()| {
        let mut connection = Connection::new(peer.now, server::Config::default());
        peer.say(&mut connection, connect(V5_0, "c"));
        let accepted = connection.accept(peer.now, Acceptance::default());
        accepted.unwrap();
        connection
    });
    let payload = Bytes::from(vec![b'x'; 10_000]);
    for connection in &mut connections {
        for payload in [payload.clone(), Bytes::from_static(b"small")] {
            let message = Message::new("t", payload).unwrap();
            connection.deliver(peer.now, message).unwrap();
        }
    }
    let [copied, in_pieces] = &mut connections;
    let (expected, _) = peer.hear_bytes(copied);
    let mut pieces = Pieces::new();
    let idle = in_pieces.poll_transmit_vectored(peer.now, usize::MAX, &mut pieces);
    assert_eq!(idle, Transmit::Idle);
    let all: Vec<_> = pieces.chunks().collect();
    assert_eq!((all.concat(), all.len()), (expected, 3));
    assert_eq!(all[1].as_ptr(), payload.as_ptr());
    assert_eq!(in_pieces.stats(), copied.stats());
}

/// The payload goes from the buffer that it came in to all who want it, and is never copied.
#[test]
fn a_broker_hands_one_payload_to_all_from_where_it_came_in() {
    let mut peer = Peer::new(V5_0);
    let mut broker = Broker::new(broker::Config::default());
    let mut join = |broker: &mut Broker, client_id: &'static str, version, qos: Option<QoS>| {
        peer.version = version;
        let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
        peer.say(&mut (&mut *broker, id), connect(version, client_id));
        if let Some(qos) = qos {
            with_subscribe(1, &[want("#", qos)], |packet| {
                peer.say(&mut (&mut *broker, id), packet);
            });
        }
        peer.hear(&mut (&mut *broker, id));
        id
    };
    let publisher = join(&mut broker, "p", V5_0, None);
    let receivers = [
        ("plain", V3_1_1, QoS::AtMostOnce),
        ("counted", V5_0, QoS::AtLeastOnce),
        ("copied", V5_0, QoS::AtLeastOnce),
    ];
    let [plain, counted, copied] =
        receivers.map(|(client_id, version, qos)| join(&mut broker, client_id, version, Some(qos)));
    let now = peer.now;

    let payload = vec![b'x'; 20_000];
    let publish = Publish {
        delivery: Delivery::AtLeastOnce {
            id: PacketId::MIN,
            dup: false,
        },
        properties: PublishProperties {
            content_type: Some(Str::new("text").unwrap()),
            ..PublishProperties::default()
        },
        ..Publish::new(name("t"), &payload)
    };
    let mut input = BytesMut::new();
    Packet::from(publish).encode_to(V5_0, &mut input).unwrap();
    let came_in = input.as_ptr().addr()..input.as_ptr().addr() + input.len();
    let _all = broker.handle_input_shared(now, publisher, &mut input);

    let mut bytes = Vec::new();
    let _idle = broker.poll_transmit(now, copied, usize::MAX, &mut bytes);
    for (id, expected) in [(plain, None), (counted, Some(bytes))] {
        let mut pieces = Pieces::new();
        let idle = broker.poll_transmit_vectored(now, id, usize::MAX, &mut pieces);
        assert_eq!(idle, Transmit::Idle);
        let all: Vec<_> = pieces.chunks().collect();
        assert_eq!(all.len(), 2);
        assert!(came_in.contains(&all[1].as_ptr().addr()), "shared");
        if let Some(expected) = expected {
            assert_eq!(all.concat(), expected);
        }
    }
}

/// Whichever way nothing comes.
#[test]
fn of_nothing_nothing_is_taken() {
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    let taken = client.handle_input(peer.now, &[]);
    let shared = client.handle_input_shared(peer.now, &mut BytesMut::new());
    assert_eq!((shared, taken.bytes), (taken, 0));
}
