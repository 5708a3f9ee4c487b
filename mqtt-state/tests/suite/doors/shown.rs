//! One way in through several doors: the same bytes bring the same messages, events and answers, whether messages
//! are copied, share the buffer that they came in, or are shown where they are.

use bytes::BytesMut;
use mqtt_codec::{
    Binary, ConnAck, ConnAckProperties, Connect, Delivery, Message, Packet, PacketId, PlainAck,
    ProtocolVersion, Publish, PublishProperties, PublishTopic, QoS, Str, TopicAlias,
    UserProperties, UserProperty,
};
use mqtt_state::client::{Acknowledge, Config, Event, State};
use mqtt_state::session::JournalEntry;
use mqtt_state::{Consumed, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::recorded::Client;
use crate::wire::{Peer, V3_1_1, V5_0, connack, connect, name, publish, text, want};

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
                told.others.push(Event::from(message));
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

/// A client that is connected, with what came of that fetched, and its server.
fn connected(version: ProtocolVersion, config: Config, answer: ConnAck<'_>) -> (Client, Peer) {
    let (mut client, peer) = (Client::new(config), Peer::new(version));
    client.connect(peer.now, &connect(version, "c")).unwrap();
    store(&mut client);
    peer.hear(&mut client);
    peer.say(&mut client, answer);
    client.poll_event().unwrap();
    store(&mut client);
    (client, peer)
}

fn store(client: &mut Client) {
    while let Some(entry) = client.poll_journal() {
        client.handle_stored(entry.position());
    }
}

/// Offers input; answers topics and payloads of what is shown, and how many bytes were taken.
fn show(client: &mut Client, input: &[u8]) -> (Vec<String>, usize) {
    let mut shown = Vec::new();
    let taken = client.handle_input_with(Timestamp::from_secs(1), input, |message| {
        let payload = String::from_utf8_lossy(message.payload());
        shown.push(format!("{}={payload}", message.topic()));
    });
    (shown, taken.bytes)
}

/// Messages in the same words, and the names of other events.
fn tell(client: &mut Client) -> Vec<String> {
    let events = core::iter::from_fn(|| client.poll_event());
    let told = events.map(|event| match event {
        Event::Message { message, .. } => {
            let payload = String::from_utf8_lossy(message.payload());
            format!("{}={payload}", message.topic())
        }
        other => {
            let words = format!("{other:?}");
            let end = words.find(|it: char| !it.is_alphanumeric());
            words[..end.unwrap_or(words.len())].to_owned()
        }
    });
    told.collect()
}

// Packets of a server, in both versions or in 3.1.1.
const A: &[u8] = b"\x30\x04\0\x01ta";
const B: &[u8] = b"\x30\x04\0\x01tb";
const A_QOS1: &[u8] = b"\x32\x06\0\x01t\0\x01a";
const A_QOS2: &[u8] = b"\x34\x06\0\x01t\0\x01a";
const A_QOS2_AGAIN: &[u8] = b"\x3C\x06\0\x01t\0\x01a";
const PUBACK: &[u8] = b"\x40\x02\0\x01";
const PUBREL: &[u8] = b"\x62\x02\0\x01";
const SUBACK: &[u8] = b"\x90\x03\0\x01\0";
const PINGRESP: &[u8] = b"\xD0\0";
const NONSENSE: &[u8] = b"\0\0";

/// What the events of a client are of before the input comes.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    Published(QoS),
    Subscribed,
    Got,
}

/// A name, the events that wait, what comes, what of it is shown, and what is fetched after that.
type Row = (
    &'static str,
    Config,
    Before,
    &'static [&'static [u8]],
    &'static [&'static str],
    &'static [&'static str],
);

/// A message is shown where nothing waits that happened before it, and each is told once.
#[test]
fn what_is_shown_changes_no_order() {
    use Before::{Got, Nothing, Published, Subscribed};
    let plain = Config::default;
    let by_hand = || Config {
        acknowledge: Acknowledge::Manual,
        ..Config::default()
    };
    let one_event = || Config {
        events_max: 1,
        ..Config::default()
    };
    let journaled = || Config {
        journal: true,
        ..Config::default()
    };
    #[rustfmt::skip]
    let rows: [Row; 13] = [
        ("nothing waits", plain(), Nothing, &[A, A_QOS1, A_QOS2], &["t=a", "t=a", "t=a"], &[]),
        ("a publish is complete", plain(), Published(QoS::AtMostOnce), &[A], &["t=a"], &["Published"]),
        ("one is in the same input", plain(), Published(QoS::AtLeastOnce), &[PUBACK, A], &["t=a"], &["Published"]),
        ("a message waits", plain(), Got, &[A, A_QOS1], &[], &["t=z", "t=a", "t=a"]),
        ("an answer in between", plain(), Subscribed, &[A, SUBACK, B, A], &["t=a"], &["Subscribed", "t=b", "t=a"]),
        ("no event in between", plain(), Nothing, &[A, PINGRESP, B], &["t=a", "t=b"], &[]),
        ("the end in between", plain(), Nothing, &[A, NONSENSE, B], &["t=a"], &["Closed"]),
        ("the end in front", plain(), Nothing, &[NONSENSE, A], &[], &["Closed"]),
        ("by hand", by_hand(), Nothing, &[A, A_QOS1, A_QOS2], &[], &["t=a", "t=a", "t=a"]),
        ("sent again", plain(), Nothing, &[A_QOS2, A_QOS2_AGAIN], &["t=a"], &[]),
        ("a new one", plain(), Nothing, &[A_QOS2, PUBREL, A_QOS2], &["t=a", "t=a"], &[]),
        ("more than may wait", one_event(), Nothing, &[A, B, A, B], &["t=a", "t=b", "t=a", "t=b"], &[]),
        ("with a journal", journaled(), Nothing, &[A, A_QOS1, A_QOS2], &["t=a", "t=a", "t=a"], &[]),
    ];
    for (row, config, before, packets, shown, told) in rows {
        // All at once, and byte by byte.
        let input = packets.concat();
        for at_once in [input.len(), 1] {
            let (mut client, peer) = connected(V3_1_1, config.clone(), connack(false));
            match before {
                Nothing => {}
                Published(qos) => {
                    let message = Message::new("t", "m").unwrap().with_qos(qos);
                    client.publish(peer.now, message).unwrap();
                }
                Subscribed => {
                    client.subscribe(&[want("t", QoS::AtMostOnce)]).unwrap();
                }
                Got => peer.say(&mut client, publish("t", "z", QoS::AtMostOnce, 0)),
            }
            peer.hear(&mut client);
            let (mut seen, mut left) = (Vec::new(), Vec::new());
            for piece in input.chunks(at_once) {
                left.extend_from_slice(piece);
                let (more, taken) = show(&mut client, &left);
                left.drain(..taken);
                seen.extend(more);
            }
            assert_eq!(seen, shown, "{row}");
            assert_eq!(left, b"", "{row}");
            assert_eq!(tell(&mut client), told, "{row}");
        }
    }
}

/// The answers of the server that come with more than a reason have their place among the others.
#[test]
fn a_publish_that_is_complete_with_words_stays_in_front() {
    let (mut client, peer) = connected(V5_0, Config::default(), connack(false));
    let message = Message::new("t", "m").unwrap();
    let message = message.with_qos(QoS::AtLeastOnce);
    client.publish(peer.now, message).unwrap();
    peer.hear(&mut client);
    // PUBACK with a reason string, and a message.
    let input = b"\x40\x08\0\x01\0\x04\x1F\0\x01w\x30\x05\0\x01t\0a";
    assert_eq!(show(&mut client, input), (Vec::new(), input.len()));
    assert_eq!(tell(&mut client), ["Published", "t=a"]);
}

/// While as many events wait as may, nothing is shown.
#[test]
fn nothing_is_shown_while_no_input_is_taken() {
    let config = Config {
        events_max: 1,
        ..Config::default()
    };
    let (mut client, peer) = connected(V3_1_1, config, connack(false));
    client
        .publish(peer.now, Message::new("t", "m").unwrap())
        .unwrap();
    peer.hear(&mut client);
    assert!(!client.wants_input());
    assert_eq!(show(&mut client, A), (Vec::new(), 0));
    assert_eq!(tell(&mut client), ["Published"]);
    assert_eq!(show(&mut client, A), (vec!["t=a".to_owned()], A.len()));
}

/// A message is answered when it has been shown, and is the application's where there is no answer.
#[test]
fn what_is_shown_is_answered() {
    // [5:MQTT-4.5.0-2] [3:MQTT-4.5.0-2]
    for (version, message_expiry_secs) in [(V3_1_1, None), (V5_0, None), (V5_0, Some(7))] {
        let (mut client, peer) = connected(version, Config::default(), connack(false));
        for (qos, expected) in [
            (QoS::AtMostOnce, &[][..]),
            (QoS::AtLeastOnce, &["PUBACK 7 00"][..]),
            (QoS::ExactlyOnce, &["PUBREC 7 00"][..]),
        ] {
            let mut publish = publish("t", "a", qos, 7);
            publish.properties.message_expiry_secs = message_expiry_secs;
            let mut input = Vec::new();
            publish.encode_to(version, &mut input).unwrap();
            assert_eq!(show(&mut client, &input).0, ["t=a"]);
            let row = format!("{version} {qos} {message_expiry_secs:?}");
            assert_eq!(peer.hear(&mut client), expected, "{row}");
        }
    }
    let answer = ConnAck {
        properties: ConnAckProperties {
            packet_size_max: core::num::NonZero::new(3),
            ..ConnAckProperties::default()
        },
        ..connack(false)
    };
    let (mut client, _) = connected(V5_0, Config::default(), answer);
    let shown = show(&mut client, b"\x32\x07\0\x01t\0\x01\0a").0;
    assert_eq!(
        (shown, tell(&mut client)),
        (vec!["t=a".to_owned()], vec!["Closed".to_owned()])
    );
}

/// With a journal, PUBREC waits until the store has the identifier, whether or not the message was shown.
#[test]
fn the_answer_to_what_is_shown_waits_for_the_store() {
    let config = Config {
        journal: true,
        ..Config::default()
    };
    let (mut client, peer) = connected(V3_1_1, config, connack(false));
    assert_eq!(show(&mut client, A_QOS2).0, ["t=a"]);
    assert!(peer.hear(&mut client).is_empty());
    store(&mut client);
    assert_eq!(peer.hear(&mut client), ["PUBREC 1 00"]);
}

/// All of a message can be seen, where it is, and is the same as in an event.
#[test]
fn a_message_is_shown_where_it_is() {
    let alias = TopicAlias::new(1).unwrap();
    let pairs = [UserProperty {
        name: text("k"),
        value: text("v"),
    }];
    let properties = PublishProperties {
        content_type: Some(text("text")),
        user_properties: UserProperties::new(&pairs),
        ..PublishProperties::default()
    };
    let delivery = Delivery::AtLeastOnce {
        id: PacketId::MIN,
        dup: true,
    };
    let publish = |topic, properties| Publish {
        delivery,
        retain: true,
        topic,
        properties,
        payload: b"secret",
    };
    let none = PublishProperties::default();
    let topic = name("a/topic");
    let [mut shown, mut queued] =
        [(); 2].map(|()| connected(V5_0, Config::default(), connack(false)).0);
    for (row, publish) in [
        ("plain", publish(PublishTopic::Name(topic), none)),
        (
            "with properties",
            publish(PublishTopic::Name(topic), properties),
        ),
        (
            "sets an alias",
            publish(PublishTopic::NameAndAlias(topic, alias), none),
        ),
        ("an alias alone", publish(PublishTopic::Alias(alias), none)),
        (
            "an alias and properties",
            publish(PublishTopic::Alias(alias), properties),
        ),
    ] {
        let mut input = Vec::new();
        publish.encode_to(V5_0, &mut input).unwrap();
        let _all = queued.handle_input(Timestamp::from_secs(1), &input);
        let Some(Event::Message { message, dup, .. }) = queued.poll_event() else {
            panic!("{row}: a message has come");
        };
        let mut seen = 0;
        let _all = shown.handle_input_with(Timestamp::from_secs(1), &input, |incoming| {
            seen += 1;
            assert_eq!(incoming.topic(), topic, "{row}");
            assert_eq!(incoming.payload(), b"secret", "{row}");
            assert!(
                input.as_ptr_range().contains(&incoming.payload().as_ptr()),
                "{row}"
            );
            assert_eq!(incoming.qos(), QoS::AtLeastOnce, "{row}");
            assert_eq!((incoming.retain(), incoming.dup()), (true, dup), "{row}");
            assert_eq!(incoming.properties(), publish.properties, "{row}");
            assert_eq!(incoming.to_message(), message, "{row}");
            let words = format!("{incoming:?}");
            assert!(
                !words.contains("secret") && words.contains("payload_len: 6"),
                "{words}"
            );
        });
        assert_eq!((seen, shown.poll_event()), (1, None), "{row}");
    }
}
