//! One way in through several doors: the same bytes bring the same messages, events and answers, whether messages
//! are copied, share the buffer that they came in, or are shown where they are.

use bytes::BytesMut;
use mqtt_codec::{
    Binary, ConnAckProperties, Connect, Delivery, Packet, PacketId, PlainAck, ProtocolVersion,
    Publish, PublishProperties, PublishTopic, QoS, Str, TopicAlias, UserProperties, UserProperty,
};
use mqtt_codec::{ConnAck, Message};
use mqtt_state::client::{Acknowledge, Config, Event, State};
use mqtt_state::session::JournalEntry;
use mqtt_state::{Consumed, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::recorded::Client;
use crate::wire::{Peer, V3_1_1, V5_0, connack, name, text, want};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Door {
    Copied,
    Shared,
    Shown,
}

const DOORS: [Door; 3] = [Door::Copied, Door::Shared, Door::Shown];

/// Something that a server says.
#[derive(Clone, Debug)]
enum Said {
    Publish {
        delivery: Delivery,
        retain: bool,
        topic: &'static str,
        alias: Option<TopicAlias>,
        /// In place of the topic.
        is_alias_alone: bool,
        has_properties: bool,
        payload_len: usize,
    },
    Ack(PlainAck),
    /// SUBACK for the first SUBSCRIBE of a client.
    SubAck,
    PingResp,
    /// Bytes that are no packet.
    Nonsense,
}

impl Said {
    fn encode(&self, version: ProtocolVersion, buf: &mut Vec<u8>) {
        match self {
            Self::Publish {
                delivery,
                retain,
                topic,
                alias,
                is_alias_alone,
                has_properties,
                payload_len,
            } => {
                let is_v5 = version == V5_0;
                let topic = match (alias, is_alias_alone) {
                    (Some(alias), true) if is_v5 => PublishTopic::Alias(*alias),
                    (Some(alias), false) if is_v5 => {
                        PublishTopic::NameAndAlias(name(topic), *alias)
                    }
                    _ => PublishTopic::Name(name(topic)),
                };
                let pairs = [UserProperty {
                    name: text("k"),
                    value: text("v"),
                }];
                let properties = PublishProperties {
                    message_expiry_secs: Some(7),
                    correlation_data: Some(Binary::new(b"\x01").unwrap()),
                    content_type: Some(Str::new("text").unwrap()),
                    user_properties: UserProperties::new(&pairs),
                    ..PublishProperties::default()
                };
                let publish = Publish {
                    delivery: *delivery,
                    retain: *retain,
                    topic,
                    properties: if is_v5 && *has_properties {
                        properties
                    } else {
                        PublishProperties::default()
                    },
                    payload: &vec![b'x'; *payload_len],
                };
                Packet::from(publish).encode_to(version, buf).unwrap();
            }
            Self::Ack(ack) => buf.extend_from_slice(&ack.to_bytes()),
            Self::SubAck if version == V5_0 => buf.extend_from_slice(b"\x90\x04\0\x01\0\0"),
            Self::SubAck => buf.extend_from_slice(b"\x90\x03\0\x01\0"),
            Self::PingResp => buf.extend_from_slice(&[0xD0, 0]),
            Self::Nonsense => buf.extend_from_slice(&[0, 0]),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Bytes come, so many at once.
    Input(Vec<Said>, usize),
    Publish(QoS),
    Subscribe,
    /// The connection is lost, and the next input begins with CONNACK, and perhaps with what sets an alias.
    Reconnect {
        is_known: bool,
        sets_alias: bool,
    },
    Wait,
}

fn any_publish() -> impl Strategy<Value = Said> {
    let delivery = (0..3_u8, 1..5_u16, any::<bool>()).prop_map(|(qos, id, dup)| {
        let id = PacketId::new(id).unwrap();
        match qos {
            0 => Delivery::AtMostOnce,
            1 => Delivery::AtLeastOnce { id, dup },
            _ => Delivery::ExactlyOnce { id, dup },
        }
    });
    let topic = prop_oneof![Just("t"), Just("a/long/topic")];
    let alias = prop_oneof![3 => Just(None), 2 => Just(Some(1)), 1 => (1..4_u16).prop_map(Some)];
    let alias = alias.prop_map(|alias| alias.and_then(TopicAlias::new));
    let len = prop_oneof![8 => 0..20_usize, 1 => Just(200), 1 => Just(9_000)];
    let has_properties = prop::bool::weighted(0.2);
    (
        delivery,
        any::<bool>(),
        topic,
        alias,
        any::<bool>(),
        has_properties,
        len,
    )
        .prop_map(
            |(delivery, retain, topic, alias, is_alias_alone, has_properties, payload_len)| {
                Said::Publish {
                    delivery,
                    retain,
                    topic,
                    alias,
                    is_alias_alone,
                    has_properties,
                    payload_len,
                }
            },
        )
}

fn any_said() -> impl Strategy<Value = Said> {
    let ack = (1..5_u16, 0..4_u8).prop_map(|(id, kind)| {
        let id = PacketId::new(id).unwrap();
        Said::Ack(match kind {
            0 => PlainAck::PubAck(id),
            1 => PlainAck::PubRec(id),
            2 => PlainAck::PubRel(id),
            _ => PlainAck::PubComp(id),
        })
    });
    prop_oneof![
        20 => any_publish(),
        6 => ack,
        2 => Just(Said::SubAck),
        1 => Just(Said::PingResp),
        1 => Just(Said::Nonsense),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let qos = prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ];
    let at_once = prop_oneof![Just(1), 2..40_usize, Just(usize::MAX)];
    let reconnect =
        (any::<bool>(), any::<bool>()).prop_map(|(is_known, sets_alias)| Step::Reconnect {
            is_known,
            sets_alias,
        });
    prop_oneof![
        8 => (vec(any_said(), 1..8), at_once).prop_map(|(said, at_once)| Step::Input(said, at_once)),
        2 => qos.prop_map(Step::Publish),
        1 => Just(Step::Subscribe),
        2 => reconnect,
        1 => Just(Step::Wait),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    version: ProtocolVersion,
    acknowledge: Acknowledge,
    receive_maximum: u16,
    journal: bool,
    /// The server takes no acknowledgement, as it is too large.
    is_tiny: bool,
}

fn any_setting() -> impl Strategy<Value = Setting> {
    let by_hand = prop::bool::weighted(0.2);
    let few = any::<bool>();
    let journal = prop::bool::weighted(0.3);
    let tiny = prop::bool::weighted(0.1);
    (any::<bool>(), by_hand, few, journal, tiny).prop_map(
        |(is_v5, by_hand, is_few, journal, is_tiny)| Setting {
            version: if is_v5 { V5_0 } else { V3_1_1 },
            acknowledge: match by_hand {
                true => Acknowledge::Manual,
                false => Acknowledge::Automatic,
            },
            receive_maximum: if is_few { 2 } else { 1000 },
            journal,
            is_tiny,
        },
    )
}

/// Everything that a client has told, in two orders: of a publish that is complete it is only told that it is.
#[derive(Debug, Default, PartialEq)]
struct Told {
    others: Vec<Event>,
    published: Vec<Event>,
    bytes: Vec<u8>,
    entries: Vec<JournalEntry>,
}

struct End {
    client: Client,
    door: Door,
    setting: Setting,
    now: Timestamp,
    /// Offered and not taken.
    left: Vec<u8>,
    told: Told,
    shown: usize,
}

impl End {
    fn new(door: Door, setting: Setting, events_max: usize) -> Self {
        let config = Config {
            acknowledge: setting.acknowledge,
            receive_maximum: setting.receive_maximum,
            receive_maximum_v3: setting.receive_maximum,
            journal: setting.journal,
            events_max,
            ..Config::default()
        };
        let mut end = Self {
            client: Client::new(config),
            door,
            setting,
            now: Timestamp::from_secs(1),
            left: Vec::new(),
            told: Told::default(),
            shown: 0,
        };
        end.connect(false);
        end
    }

    fn connect(&mut self, session_present: bool) {
        let version = self.setting.version;
        let mut connect = Connect::new(version, text("c"));
        connect.clean_start = false;
        if version == V5_0 {
            connect.properties.session_expiry_secs = Some(u32::MAX);
        }
        self.settle();
        self.client.connect(self.now, &connect).unwrap();
        self.poll();
        let is_tiny = version == V5_0 && self.setting.is_tiny;
        let accepted = ConnAck {
            properties: ConnAckProperties {
                packet_size_max: is_tiny.then_some(core::num::NonZero::new(3).unwrap()),
                ..ConnAckProperties::default()
            },
            ..connack(session_present)
        };
        Packet::from(accepted)
            .encode_to(version, &mut self.left)
            .unwrap();
    }

    /// Offers what is there once.
    fn offer(&mut self) -> Consumed {
        let Self {
            client,
            left,
            told,
            now,
            ..
        } = self;
        let before = left.len();
        let consumed = match self.door {
            Door::Copied => client.handle_input(*now, left),
            Door::Shared => {
                let mut input = BytesMut::from(&left[..]);
                let consumed = client.handle_input_shared(*now, &mut input);
                assert_eq!(input.len(), before - consumed.bytes);
                consumed
            }
            Door::Shown => client.handle_input_with(*now, left, |message| {
                self.shown += 1;
                told.others.push(Event::Message {
                    message: message.to_message(),
                    dup: message.dup(),
                    receipt: None,
                });
            }),
        };
        left.drain(..consumed.bytes);
        consumed
    }

    /// Answers whether there was anything.
    fn fetch(&mut self, most: usize) -> bool {
        for number in 0..most {
            let Some(event) = self.client.poll_event() else {
                return number > 0;
            };
            if let Event::Message {
                receipt: Some(receipt),
                ..
            } = event
            {
                // It may be of a connection that is gone.
                let _stale = self.client.ack(self.now, receipt);
            }
            match event {
                Event::Published { .. } => self.told.published.push(event),
                other => self.told.others.push(other),
            }
        }
        most > 0
    }

    /// What goes to the server and to the store. Answers whether there was anything.
    fn poll(&mut self) -> bool {
        let before = (self.told.bytes.len(), self.told.entries.len());
        while let Some(entry) = self.client.poll_journal() {
            let position = entry.position();
            self.told.entries.push(entry);
            self.client.handle_stored(position);
        }
        let peer = Peer {
            now: self.now,
            ..Peer::new(self.setting.version)
        };
        let (bytes, _) = peer.hear_bytes(&mut self.client);
        self.told.bytes.extend(bytes);
        before != (self.told.bytes.len(), self.told.entries.len())
    }

    /// Everything is taken and fetched that can be.
    fn settle(&mut self) {
        loop {
            let taken = self.offer().bytes;
            let was_told = self.fetch(usize::MAX);
            let was_polled = self.poll();
            if taken == 0 && !was_told && !was_polled {
                return;
            }
        }
    }

    fn step(&mut self, step: &Step, mut behind_each: impl FnMut(&mut Self, Consumed)) {
        match step {
            Step::Input(said, at_once) => {
                let mut bytes = Vec::new();
                for said in said {
                    said.encode(self.setting.version, &mut bytes);
                }
                // Not too many of them.
                let at_once = (*at_once).max(bytes.len() / 60);
                for piece in bytes.chunks(at_once) {
                    self.left.extend_from_slice(piece);
                    let consumed = self.offer();
                    behind_each(self, consumed);
                }
            }
            Step::Publish(qos) => {
                let message = Message::new("t", "m").unwrap().with_qos(*qos);
                // A small server refuses all.
                let _refused = self.client.publish(self.now, message);
            }
            Step::Subscribe => {
                let _refused = self.client.subscribe(&[want("t", QoS::ExactlyOnce)]);
            }
            Step::Reconnect {
                is_known,
                sets_alias,
            } => {
                self.settle();
                self.client.handle_close(self.now);
                self.left.clear();
                self.connect(*is_known);
                if *sets_alias {
                    let said = Said::Publish {
                        delivery: Delivery::AtMostOnce,
                        retain: false,
                        topic: "one/more/topic",
                        alias: TopicAlias::new(1),
                        is_alias_alone: false,
                        has_properties: false,
                        payload_len: 1,
                    };
                    said.encode(self.setting.version, &mut self.left);
                }
            }
            Step::Wait => {
                self.now = self.now + core::time::Duration::from_secs(1);
                self.client.handle_timeout(self.now);
            }
        }
    }
}

/// What else can be seen of a client.
fn looks(client: &Client, now: Timestamp) -> String {
    let (stats, why) = (client.stats(), client.explain());
    let snapshot = client.snapshot(now);
    format!("{:?} {stats:?} {why:?} {snapshot:?}", client.state())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whoever fetches everything at once sees no difference behind any piece of input.
    #[test]
    fn all_doors_in_are_the_same(setting in any_setting(), steps in vec(any_step(), 1..12)) {
        let mut ends = DOORS.map(|door| End::new(door, setting, 1000));
        for step in &steps {
            let [copied, shared, shown] = ends.each_mut().map(|end| {
                let mut seen = Vec::new();
                let mut see = |end: &mut End, consumed: Consumed| {
                    // How much is missing says nothing where nothing comes any more.
                    let is_over = end.client.state() != State::Connected;
                    let need = if is_over { 0 } else { consumed.need };
                    end.fetch(usize::MAX);
                    end.poll();
                    seen.push((consumed.bytes, need, looks(&end.client, end.now)));
                };
                end.step(step, &mut see);
                see(end, Consumed::default());
                seen
            });
            for (copied, shared) in copied.iter().zip(&shared) {
                prop_assert_eq!(copied, shared, "shared: {:?}", step);
            }
            for (copied, shown) in copied.iter().zip(&shown) {
                prop_assert_eq!(copied, shown, "shown: {:?}", step);
            }
            let [copied, shared, shown] = &ends;
            prop_assert_eq!(&copied.told, &shared.told, "shared: {:?}", step);
            prop_assert_eq!(&copied.told, &shown.told, "shown: {:?}", step);
        }
        prop_assert!(setting.acknowledge == Acknowledge::Automatic || ends[2].shown == 0);
    }

    /// Where events are left, and there is room for few, input is taken at other times, and comes to the same.
    #[test]
    fn all_doors_in_come_to_the_same(
        setting in any_setting(), events_max in 1..4_usize, fetched in vec(0..3_usize, 8), steps in vec(any_step(), 1..12),
    ) {
        let mut ends = DOORS.map(|door| End::new(door, setting, events_max));
        for end in &mut ends {
            let mut fetched = fetched.iter().cycle();
            for step in &steps {
                // What the client says goes out between the same two answers.
                if !matches!(step, Step::Input(..)) {
                    end.settle();
                }
                end.step(step, |end, _| {
                    end.fetch(*fetched.next().unwrap());
                });
                if !matches!(step, Step::Input(..)) {
                    end.settle();
                }
            }
            end.settle();
        }
        let [copied, shared, shown] = ends;
        prop_assert_eq!(&copied.told, &shared.told);
        prop_assert_eq!(&copied.told, &shown.told);
        prop_assert_eq!(looks(&copied.client, copied.now), looks(&shared.client, shared.now));
        prop_assert_eq!(looks(&copied.client, copied.now), looks(&shown.client, shown.now));
    }
}
