//! The heap of one broker: never above what its limits add up to, in the worst case not far below
//! it, and with many idle and many hostile clients.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

extern crate alloc;

use alloc::rc::Rc;
use core::cell::Cell;

use allocation_counter::{AllocationInfo, measure};
use bytes::BytesMut;
use mqtt_codec::{
    Binary, Connect, Delivery, Message, Packet, PacketId, ProtocolVersion, Publish, PublishTopic,
    QoS, Str, Subscribe, SubscribeFilter, SubscribeFilters, SubscribeProperties, TopicAlias,
    TopicFilter, TopicName, Will,
};
use mqtt_state::Timestamp;
use mqtt_state::broker::{
    Ask, Broker, BrokerId, Config, ConnectionId, Event, JoinConfig, JoinMessage, Peer,
};
use mqtt_state::server;

const NOW: Timestamp = Timestamp::from_secs(1);
const V5: ProtocolVersion = ProtocolVersion::V5_0;
const V3: ProtocolVersion = ProtocolVersion::V3_1_1;

fn bytes_of(packet: Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packet.encoded_len(version).unwrap());
    packet.encode_to(version, &mut bytes).unwrap();
    bytes
}

/// Says something; answers whether all of it was taken.
fn say(
    broker: &mut Broker,
    id: ConnectionId,
    packet: Packet<'_>,
    version: ProtocolVersion,
) -> bool {
    let bytes = bytes_of(packet, version);
    broker.handle_input(NOW, id, &bytes).bytes == bytes.len()
}

/// Says something in a buffer of twice its size, as much as a message may pin.
fn say_wastefully(broker: &mut Broker, id: ConnectionId, packet: Packet<'_>) -> bool {
    let size = packet.encoded_len(V5).unwrap();
    let mut input = BytesMut::with_capacity(size * 2);
    packet.encode_to(V5, &mut input).unwrap();
    let _all = broker.handle_input_shared(NOW, id, &mut input);
    input.is_empty()
}

/// Asks until nothing is taken any more because nobody reads the answers.
fn ask_until_full(broker: &mut Broker, id: ConnectionId, version: ProtocolVersion) {
    let asked = (0..100_000).take_while(|_| say(broker, id, Packet::PingReq, version));
    assert!(asked.count() < 100_000, "it is gone: {:?}", id);
}

fn hear(broker: &mut Broker, id: ConnectionId) {
    let _transmit = broker.poll_transmit(NOW, id, 1 << 16, &mut Vec::new());
}

/// What an embedder does after each call, but for events and output.
fn attend(broker: &mut Broker) {
    while let Some(entry) = broker.poll_journal() {
        broker.handle_stored(entry.position());
    }
    while broker.poll_ready().is_some() {}
}

fn join(broker: &mut Broker, version: ProtocolVersion, packet: Connect<'_>) -> ConnectionId {
    let peer = Peer {
        identity: Some("i".repeat(100).into()),
        ..Peer::default()
    };
    let id = broker.accept(NOW, peer).unwrap();
    assert!(say(broker, id, Packet::Connect(packet), version));
    attend(broker);
    id
}

fn connect(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    let mut connect = Connect::new(version, Str::new(client_id).unwrap());
    connect.clean_start = false;
    if version == V5 {
        connect.properties.session_expiry_secs = Some(1_000);
    }
    connect
}

fn subscribe(broker: &mut Broker, id: ConnectionId, filter: &str, version: ProtocolVersion) {
    let filters = [SubscribeFilter::new(filter, QoS::AtLeastOnce).unwrap()];
    let subscribe = Subscribe {
        id: PacketId::MIN,
        filters: SubscribeFilters::new(&filters).unwrap(),
        properties: SubscribeProperties::default(),
    };
    say(broker, id, subscribe.into(), version);
    attend(broker);
}

fn publish<'p>(topic: &'p str, payload: &'p [u8]) -> Publish<'p> {
    Publish::new(TopicName::new(topic).unwrap(), payload)
}

fn exactly_once(number: u16) -> Delivery {
    Delivery::ExactlyOnce {
        id: PacketId::new(number).unwrap(),
        dup: false,
    }
}

fn small(ask: Ask, journal: bool) -> Config {
    Config {
        server: server::Config {
            packet_size_max: 70_000,
            connect_packet_size_max: 70_000,
            receive_maximum: 50,
            receive_maximum_v3: 50,
            in_flight_max: 20,
            topic_alias_maximum: 1,
            outbound_topic_aliases_max: 0,
            answers_bytes_max: 2_000,
            waiting_len_max: 100,
            ..server::Config::default()
        },
        connections_max: 20,
        identity_len_max: 100,
        sessions_max: 30,
        subscriptions_per_session_max: 20,
        messages_len_max: 1_000,
        retained_len_max: 300,
        retained_bytes_max: usize::MAX,
        total_bytes_max: 8_000_000,
        events_max: 200,
        events_bytes_max: 1_000_000,
        held_max: 100,
        held_bytes_max: 400_000,
        decisions_max: 100,
        journal_len_max: 200,
        journal_bytes_max: 200_000,
        work_per_call: 100,
        ask,
        journal,
        ..Config::default()
    }
}

/// Clients that make the broker keep as much as they can, and an embedder that fetches no event.
fn fill(broker: &mut Broker) {
    let long = "t".repeat(60_000);
    let name = |number: usize| format!("{number:02}{}", "c".repeat(2_000));
    let mut ids = Vec::new();
    for number in 0..20 {
        let client_id = name(number);
        let mut packet = connect(V5, &client_id);
        packet.will = Some(Will::new(
            TopicName::new("will").unwrap(),
            Binary::new(&[0; 5_000]).unwrap(),
        ));
        let id = join(broker, V5, packet);
        let filter = format!("{number}/{}", "f".repeat(1_000));
        subscribe(broker, id, &filter, V5);
        subscribe(broker, id, "many", V5);
        ids.push(id);
    }
    for id in ids.iter().copied() {
        // A topic alias of its own.
        let mut packet = publish(&long, b"");
        let topic = TopicName::new(&long).unwrap();
        packet.topic = PublishTopic::NameAndAlias(topic, TopicAlias::new(1).unwrap());
        say(broker, id, Packet::Publish(packet), V5);
        attend(broker);
        // Answers that nobody reads, and QoS 2 messages that nobody releases.
        for number in 1..=40 {
            let mut packet = publish("nobody", b"");
            packet.delivery = exactly_once(number);
            say(broker, id, Packet::Publish(packet), V5);
        }
        ask_until_full(broker, id, V5);
    }
    // What is told to the embedder, in buffers of twice the size.
    let local = broker.subscribe_local(TopicFilter::new("local").unwrap());
    let payload = vec![0; 40_000];
    let first = *ids.first().unwrap();
    hear(broker, first);
    for _ in 0..40 {
        say_wastefully(broker, first, Packet::Publish(publish("local", &payload)));
        attend(broker);
    }
    broker.unsubscribe_local(local.unwrap());
    // Places of messages that wait, for all.
    for _ in 0..100 {
        let message = Message::new("many", "").unwrap();
        broker.publish(NOW, message.with_qos(QoS::AtLeastOnce));
        attend(broker);
    }
    // And messages, until there is no room.
    for number in 0..290 {
        let topic = format!("retained/{number}");
        let mut packet = publish(&topic, &payload);
        packet.retain = true;
        if !say_wastefully(broker, first, Packet::Publish(packet)) {
            break;
        }
        attend(broker);
        hear(broker, first);
    }
}

fn grown(info: AllocationInfo) -> (usize, usize) {
    let held = usize::try_from(info.bytes_current).unwrap();
    (held, usize::try_from(info.bytes_max).unwrap())
}

#[test]
fn a_broker_stays_within_its_formula_and_the_formula_is_not_idle() {
    let publish = Ask {
        publish: true,
        ..Ask::default()
    };
    for (ask, journal) in [
        (Ask::default(), false),
        (Ask::default(), true),
        (publish, false),
    ] {
        let row = format!("{ask:?}, journal {journal}");
        let config = small(ask, journal);
        let bound = config.memory_bound();
        let mut broker = None;
        let info = measure(|| fill(broker.insert(Broker::new(config))));
        let (held, most) = grown(info);
        let stats = broker.as_ref().map(Broker::stats);
        assert!(held <= bound, "{row}: {held} of {bound} bytes");
        assert!(
            most <= bound + 300_000,
            "{row}: {most} of {bound} with the buffers of the test"
        );
        // What waits for answers keeps the messages behind it from being retained.
        if !ask.publish {
            assert!(
                held * 2 >= bound,
                "{row}: {held} of {bound} bytes, {stats:?}"
            );
        }
        drop(broker);
    }
}

/// Clients that say in CONNECT how they will be authenticated, as much as they can, and are not answered.
#[test]
fn authentications_that_nobody_answers_stay_within_the_formula() {
    let ask = Ask {
        connect: true,
        ..Ask::default()
    };
    let mut config = small(ask, false);
    let without = config.memory_bound();
    config.server.enhanced_authentication = true;
    let bound = config.memory_bound();
    assert!(bound > without, "{bound} and {without}");
    let data = vec![0; 60_000];
    let mut broker = None;
    let info = measure(|| {
        let broker = broker.insert(Broker::new(config));
        for number in 0..20 {
            let client_id = number.to_string();
            let mut packet = connect(V5, &client_id);
            packet.properties.authentication = Some(mqtt_codec::Authentication {
                method: Str::new("method").unwrap(),
                data: Some(Binary::new(&data).unwrap()),
            });
            let id = broker.accept(NOW, Peer::default()).unwrap();
            // As much waits for answers as may.
            say(broker, id, packet.into(), V5);
            attend(broker);
        }
    });
    let (held, _most) = grown(info);
    assert!(held >= 5 * 60_000, "{held} bytes");
    assert!(held <= bound, "{held} of {bound} bytes");
    drop(broker);
}

/// Ten thousand clients that do nothing.
#[test]
fn idle_connections_stay_within_the_formula() {
    const COUNT: usize = 10_000;
    let config = Config {
        server: server::Config {
            receive_maximum: 10,
            receive_maximum_v3: 10,
            topic_alias_maximum: 0,
            outbound_topic_aliases_max: 0,
            answers_bytes_max: 64,
            in_flight_max: 4,
            connect_packet_size_max: 1_000,
            packet_size_max: 10_000,
            ..server::Config::default()
        },
        connections_max: COUNT,
        identity_len_max: 100,
        sessions_max: COUNT,
        subscriptions_per_session_max: 1,
        messages_len_max: 100,
        retained_len_max: 100,
        total_bytes_max: 3_400_000,
        events_max: 100,
        events_bytes_max: 10_000,
        decisions_max: 100,
        ..Config::default()
    };
    let bound = config.memory_bound();
    let mut broker = None;
    let info = measure(|| {
        let broker = broker.insert(Broker::new(config));
        for number in 0..COUNT {
            let version = if number % 2 == 0 { V3 } else { V5 };
            let client_id = format!("{number:023}");
            let id = join(broker, version, connect(version, &client_id));
            subscribe(broker, id, &format!("clients/{number}/in"), version);
            hear(broker, id);
            while broker.poll_event().is_some() {}
        }
    });
    let stats = broker.as_ref().unwrap().stats();
    assert_eq!((stats.connections, stats.subscriptions), (COUNT, COUNT));
    let (held, most) = grown(info);
    assert!(most <= bound, "{most} of {bound} bytes, {stats:?}");
    assert!(held * 4 >= bound, "{held} of {bound} bytes");
}

/// A thousand clients that do their worst, each until nothing of it is taken any more.
#[test]
fn hostile_connections_stay_within_the_formula() {
    const COUNT: usize = 1_000;
    let config = Config {
        server: server::Config {
            packet_size_max: 70_000,
            connect_packet_size_max: 8_000,
            receive_maximum: 100,
            receive_maximum_v3: 100,
            waiting_len_max: 100,
            topic_alias_maximum: 1,
            outbound_topic_aliases_max: 1,
            answers_bytes_max: 500,
            ..server::Config::default()
        },
        connections_max: COUNT,
        identity_len_max: 100,
        sessions_max: COUNT,
        messages_len_max: 10_000,
        retained_len_max: 10_000,
        total_bytes_max: 64_000_000,
        events_max: 1_000,
        events_bytes_max: 1_000_000,
        decisions_max: 1_000,
        ..Config::default()
    };
    let bound = config.memory_bound();
    let long = "t".repeat(60_000);
    let payload = vec![0; 20_000];
    let mut broker = None;
    let info = measure(|| {
        let broker = broker.insert(Broker::new(config));
        for number in 0..COUNT {
            let version = if number % 2 == 0 { V3 } else { V5 };
            let client_id = format!("{number:04}{}", "c".repeat(1_000));
            let mut packet = connect(version, &client_id);
            packet.will = Some(Will::new(
                TopicName::new("will").unwrap(),
                Binary::new(&[0; 5_000]).unwrap(),
            ));
            if version == V5 {
                packet.properties.topic_alias_maximum = Some(u16::MAX);
            }
            let id = join(broker, version, packet);
            if broker.session(&client_id).is_none() {
                // The broker is full: what the others do is enough.
                continue;
            }
            if version == V5 {
                let mut packet = publish(&long, b"");
                let topic = TopicName::new(&long).unwrap();
                packet.topic = PublishTopic::NameAndAlias(topic, TopicAlias::new(1).unwrap());
                say(broker, id, Packet::Publish(packet), version);
            }
            // Many filters of many levels, and everything there is.
            for filter in 0..4 {
                let filter = format!("{number}/{filter}{}", "/x".repeat(20));
                subscribe(broker, id, &filter, version);
            }
            if number % 20 == 0 {
                subscribe(broker, id, "#", version);
            }
            // Messages for all, many of them, large and retained; none of it is read.
            let messages = match number {
                0..10 => 100,
                _ => 1,
            };
            for message in 1..=messages {
                let topic = format!("{number}/{message}");
                let mut packet = publish(&topic, &payload);
                packet.retain = true;
                packet.delivery = exactly_once(message);
                say(broker, id, Packet::Publish(packet), version);
                attend(broker);
            }
            ask_until_full(broker, id, version);
            attend(broker);
        }
    });
    let stats = broker.as_ref().unwrap().stats();
    let (held, most) = grown(info);
    assert!(most <= bound, "{most} of {bound} bytes, {stats:?}");
    assert!(
        stats.kept_bytes * 2 >= 64_000_000,
        "they are kept at their limit: {stats:?}"
    );
    assert!(stats.sessions * 10 >= COUNT * 9, "{stats:?}");
    assert!(held * 10 >= bound, "{held} of {bound} bytes");
}

/// What is done with a broker that another one is joined with, to be done once more with a new one:
/// then nothing but that one is measured.
enum Call {
    Do(Box<dyn Fn(&mut Broker)>),
    /// The other broker says something, carried as text.
    Hear(String),
}

const OTHER: BrokerId = BrokerId::new(2);

fn carry_out(call: &Call, broker: &mut Broker) {
    match call {
        Call::Do(action) => action(broker),
        Call::Hear(text) => {
            let message: JoinMessage = serde_json::from_str(text).unwrap();
            broker.handle_joined(NOW, OTHER, message);
        }
    }
    attend(broker);
}

/// A broker and another one, and all that is done with the first.
struct Pair {
    broker: Broker,
    other: Broker,
    calls: Vec<Call>,
    publisher: Rc<Cell<Option<ConnectionId>>>,
}

impl Pair {
    fn new(config: &Config) -> Self {
        let join = JoinConfig {
            id: OTHER,
            ..JoinConfig::default()
        };
        let other = Config {
            join: Some(join),
            sessions_max: 1_000_000,
            connections_max: 1_000_000,
            ..Config::default()
        };
        let mut pair = Self {
            broker: Broker::new(config.clone()),
            other: Broker::new(other),
            calls: Vec::new(),
            publisher: Rc::default(),
        };
        pair.join();
        pair
    }

    fn join(&mut self) {
        self.call(Call::Do(Box::new(|broker| {
            broker.join(NOW, OTHER).unwrap();
        })));
        self.other.join(NOW, BrokerId::default()).unwrap();
        self.talk(true);
    }

    fn call(&mut self, call: Call) {
        carry_out(&call, &mut self.broker);
        self.calls.push(call);
    }

    /// The other broker says all it has to say, and hears what it is told, or not.
    fn talk(&mut self, hears: bool) {
        loop {
            let mut has_moved = false;
            while let Some((_, message)) = self.other.poll_joined(NOW) {
                self.call(Call::Hear(serde_json::to_string(&message).unwrap()));
                has_moved = true;
            }
            if !hears {
                return;
            }
            while let Some((_, message)) = self.broker.poll_joined(NOW) {
                self.other.handle_joined(NOW, BrokerId::default(), message);
                has_moved = true;
            }
            self.calls.push(Call::Do(Box::new(|broker| {
                while broker.poll_joined(NOW).is_some() {}
            })));
            if !has_moved {
                return;
            }
        }
    }

    fn subscribes(&mut self, count: usize) {
        for number in 0..count {
            let filter = format!("{number}/{}/of/the/other", "i".repeat(100));
            let filter = TopicFilter::new(&filter).unwrap();
            self.other.subscribe_local(filter).unwrap();
        }
        self.talk(true);
    }

    fn clears(&mut self, count: usize) {
        for number in 0..count {
            let topic = format!("{number}/{}", "t".repeat(4_000));
            for payload in ["set", ""] {
                let message = Message::new(topic.as_str(), payload).unwrap();
                self.other.publish(NOW, message.with_retain(true));
            }
            self.talk(true);
        }
    }

    /// Sessions of the first broker, each with messages that wait, and a client that publishes.
    fn has_sessions(&mut self, count: usize) {
        let publisher = Rc::clone(&self.publisher);
        self.call(Call::Do(Box::new(move |broker| {
            // Nobody is asked about them.
            broker.part(NOW, OTHER);
            for number in 0..count {
                let id = join(broker, V5, connect(V5, &format!("client-{number}")));
                for filter in 0..6 {
                    let filter = format!("{filter}/of/{number}/{}", "f".repeat(300));
                    subscribe(broker, id, &filter, V5);
                }
                subscribe(broker, id, "all", V5);
                broker.handle_close(NOW, id);
            }
            publisher.set(Some(join(broker, V5, connect(V5, "publisher"))));
            for _ in 0..50 {
                let message = Message::new("all", "of all").unwrap();
                broker.publish(NOW, message.with_qos(QoS::AtLeastOnce));
            }
            while broker.poll_timeout().is_some_and(|due| due.at <= NOW) {
                broker.handle_timeout(NOW);
            }
            while broker.poll_event().is_some() {}
        })));
        self.join();
    }

    /// They all come to the other broker, which does not listen when their sessions are told.
    fn claims(&mut self, count: usize, hears: usize) {
        for number in 0..count {
            let _id = join(
                &mut self.other,
                V5,
                connect(V5, &format!("client-{number}")),
            );
            self.talk(number < hears);
        }
    }

    /// Clients that come to the first broker, which asks the other one about them, and hears nothing.
    fn asks(&mut self, count: usize) {
        self.call(Call::Do(Box::new(move |broker| {
            for number in 0..count {
                let id = broker.accept(NOW, Peer::default()).unwrap();
                let client_id = format!("{number}{}", "a".repeat(60_000));
                say(broker, id, Packet::Connect(connect(V5, &client_id)), V5);
                broker.handle_close(NOW, id);
            }
        })));
    }

    /// Messages for the other broker, in buffers of twice the size, as many as are taken; it hears none.
    fn sends(&mut self) {
        let filter = TopicFilter::new("elsewhere").unwrap();
        self.other.subscribe_local(filter).unwrap();
        self.talk(true);
        let publisher = Rc::clone(&self.publisher);
        self.call(Call::Do(Box::new(move |broker| {
            let id = publisher.get().unwrap();
            let payload = vec![0; 20_000];
            for _ in 0..1_000 {
                let mut packet = publish("elsewhere", &payload);
                packet.delivery = Delivery::AtLeastOnce {
                    id: PacketId::MIN,
                    dup: false,
                };
                say_wastefully(broker, id, Packet::Publish(packet));
                attend(broker);
                hear(broker, id);
            }
        })));
    }
}

type Script = fn(&mut Pair);

#[test]
fn a_joined_broker_stays_within_its_formula_and_the_formula_is_not_idle() {
    let rows: [(&str, Script, bool); 6] = [
        ("interests", |pair| pair.subscribes(25_000), false),
        ("topics that were cleared", |pair| pair.clears(2_000), false),
        ("claims of its own", |pair| pair.asks(300), false),
        (
            "sessions that are claimed",
            |pair| {
                pair.has_sessions(700);
                pair.claims(700, 0);
            },
            false,
        ),
        (
            "sessions that go",
            |pair| {
                pair.has_sessions(700);
                pair.claims(700, 100);
            },
            false,
        ),
        (
            "all of it",
            |pair| {
                pair.has_sessions(20);
                pair.clears(50);
                pair.subscribes(1_000);
                pair.claims(20, 10);
                pair.sends();
            },
            true,
        ),
    ];
    for (row, script, is_worst) in rows {
        let config = Config {
            join: Some(JoinConfig {
                brokers_max: 2,
                ..JoinConfig::default()
            }),
            sessions_max: 1_000,
            events_max: 1_000,
            ..small(Ask::default(), false)
        };
        let (bound, total) = (config.memory_bound(), config.total_bytes_max);
        let mut pair = Pair::new(&config);
        script(&mut pair);
        let stats = pair.broker.stats();
        let others: Vec<_> = pair.broker.joined().collect();
        let mut not_forwarded = 0;
        while let Some(event) = pair.broker.poll_event() {
            not_forwarded += usize::from(matches!(event, Event::NotForwarded { .. }));
        }
        let calls = pair.calls;
        let mut broker = None;
        let info = measure(|| {
            let broker = broker.insert(Broker::new(config));
            for call in &calls {
                carry_out(call, broker);
            }
        });
        let (held, most) = grown(info);
        let of = format!(
            "{row}: {held}, most {most} of {bound} bytes, {stats:?}, {others:?}, {not_forwarded}"
        );
        assert_eq!(
            broker.as_ref().map(Broker::stats),
            Some(stats),
            "{row}: the same again"
        );
        assert!(held <= bound, "{of}");
        assert!(most <= bound + 300_000, "{of}");
        assert!(stats.kept_bytes <= total + total / 8, "{of}");
        assert!(stats.kept_bytes >= total - total / 8, "{of}");
        if is_worst {
            assert!(held * 2 >= bound, "{of}");
        }
    }
}
