//! Each flag of the broker from the outside, packet by packet: what it announces, and that it holds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use mqtt_codec::{
    Binary, ConnAck, ConnAckOutcome, Connect, Delivery, Packet, PacketId, Parsed, ProtocolVersion,
    Publish, PublishTopic, QoS, ReasonCode, Str, Subscribe, SubscribeFilter, SubscribeFilters,
    SubscribeProperties, TopicAlias, TopicName, Will, decode,
};

use ProtocolVersion::{V3_1_1, V5_0};
use support::{OurBroker, PATIENCE, Program, file, folder};

/// A client that says what the test says.
struct Line {
    version: ProtocolVersion,
    stream: TcpStream,
    /// What came and was not looked at.
    bytes: Vec<u8>,
}

impl Line {
    fn open(broker: &OurBroker, version: ProtocolVersion) -> Self {
        let stream = TcpStream::connect(broker.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            version,
            stream,
            bytes: Vec::new(),
        }
    }

    /// Connects, and answers what CONNACK says.
    fn connected(broker: &OurBroker, hello: Connect<'_>) -> (Self, String) {
        let mut line = Self::open(broker, hello.version);
        line.say(hello);
        let answer = line.hear();
        (line, answer)
    }

    fn say<'p>(&mut self, packet: impl Into<Packet<'p>>) {
        let mut bytes = Vec::new();
        packet.into().encode_to(self.version, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next packet, or "close".
    fn hear(&mut self) -> String {
        loop {
            let whole = match decode(&self.bytes, self.version, u32::MAX).unwrap() {
                Parsed::Complete((packet, size)) => Some((show(&packet), size)),
                Parsed::Partial { .. } => None,
            };
            if let Some((shown, size)) = whole {
                self.bytes.drain(..size);
                return shown;
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part) {
                Ok(0) => return "close".into(),
                Ok(len) => self.bytes.extend(&part[..len]),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn ask<'p>(&mut self, packet: impl Into<Packet<'p>>) -> String {
        self.say(packet);
        self.hear()
    }

    fn subscribe(&mut self, filter: &str, qos: QoS) -> String {
        let filters = [SubscribeFilter::new(filter, qos).unwrap()];
        self.ask(Subscribe {
            id: PacketId::MIN,
            filters: SubscribeFilters::new(&filters).unwrap(),
            properties: SubscribeProperties::default(),
        })
    }

    /// Everything that was to come: answers go before messages, so it is asked twice.
    fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..2 {
            self.say(Packet::PingReq);
            loop {
                let heard = self.hear();
                if heard == "PINGRESP" {
                    break;
                }
                assert_ne!(heard, "close", "{all:?}");
                all.push(heard);
            }
        }
        all
    }
}

fn show(packet: &Packet<'_>) -> String {
    let name = packet.packet_type();
    let code = |reason: ReasonCode| format!("{name} {:02X}", reason.value());
    match packet {
        Packet::ConnAck(connack) => show_connack(connack),
        Packet::PubAck(ack) | Packet::PubRec(ack) => code(ack.reason.into()),
        Packet::SubAck(suback) => code(suback.reasons.iter().next().unwrap().into()),
        Packet::Disconnect(disconnect) => code(disconnect.reason.into()),
        Packet::Publish(publish) => {
            let topic = match publish.topic {
                PublishTopic::Name(topic) => topic.to_string(),
                PublishTopic::NameAndAlias(topic, alias) => format!("{topic}@{alias}"),
                PublishTopic::Alias(alias) => format!("@{alias}"),
            };
            let expires = match publish.properties.message_expiry_secs {
                Some(_) => " expires",
                None => "",
            };
            format!("PUBLISH {topic}{expires}")
        }
        other => other.packet_type().to_string(),
    }
}

/// The code, and what is announced.
fn show_connack(connack: &ConnAck<'_>) -> String {
    let properties = &connack.properties;
    let reason = match connack.outcome {
        ConnAckOutcome::Accepted { .. } => 0,
        ConnAckOutcome::Refused(reason) => ReasonCode::from(reason).value(),
    };
    let mut shown = format!("CONNACK {reason:02X}");
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            shown.push_str(&format!(" {name}={value}"));
        }
    };
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    add("expiry", number(properties.session_expiry_secs));
    add(
        "receive",
        number(properties.receive_maximum.map(|value| value.get().into())),
    );
    add(
        "qos",
        properties
            .maximum_qos
            .map(|qos| u8::from(QoS::from(qos)).to_string()),
    );
    add(
        "retain",
        properties.retain_available.map(|it| it.to_string()),
    );
    add("packet", number(properties.packet_size_max.map(Into::into)));
    add(
        "aliases",
        number(properties.topic_alias_maximum.map(Into::into)),
    );
    add(
        "keep-alive",
        number(properties.server_keep_alive_secs.map(Into::into)),
    );
    if let ConnAckOutcome::Accepted {
        session_present: true,
    } = connack.outcome
    {
        shown.push_str(" present");
    }
    shown
}

fn hello(version: ProtocolVersion, name: &str) -> Connect<'_> {
    Connect {
        clean_start: true,
        ..Connect::new(version, Str::new(name).unwrap())
    }
}

fn message<'p>(topic: &'p str, payload: &'p [u8], qos: QoS, id: u16) -> Publish<'p> {
    let id = PacketId::new(id);
    let delivery = match (qos, id) {
        (QoS::AtLeastOnce, Some(id)) => Delivery::AtLeastOnce { id, dup: false },
        (QoS::ExactlyOnce, Some(id)) => Delivery::ExactlyOnce { id, dup: false },
        _ => Delivery::AtMostOnce,
    };
    Publish {
        delivery,
        ..Publish::new(TopicName::new(topic).unwrap(), payload)
    }
}

#[test]
fn without_flags_everything_is_announced_as_promised() {
    let broker = OurBroker::start();
    let (_line, answer) = Line::connected(&broker, hello(V5_0, "c"));
    assert_eq!(answer, "CONNACK 00 receive=20 packet=1048576 aliases=10");
}

#[test]
fn allow_anonymous() {
    let broker = OurBroker::with(&["--allow-anonymous", "false"]);
    // CONNACK 5 in 3.1.1.
    for version in [V3_1_1, V5_0] {
        let (mut line, answer) = Line::connected(&broker, hello(version, "c"));
        assert_eq!((&*answer, &*line.hear()), ("CONNACK 87", "close"));
    }
}

#[test]
fn deny_subscribe() {
    let broker = OurBroker::with(&["--deny-subscribe", "secret/#"]);
    for (version, refused) in [(V3_1_1, "SUBACK 80"), (V5_0, "SUBACK 87")] {
        let (mut line, _) = Line::connected(&broker, hello(version, "c"));
        for (filter, expected) in [
            ("open", "SUBACK 00"),
            ("secret", refused),
            ("secret/a", refused),
            ("secret/a/+", refused),
        ] {
            assert_eq!(
                line.subscribe(filter, QoS::AtMostOnce),
                expected,
                "{filter}"
            );
        }
    }
}

#[test]
fn max_keep_alive() {
    let broker = OurBroker::with(&["--max-keep-alive", "100"]);
    for (version, asked, expected) in [
        (V5_0, 60, "CONNACK 00 receive"),
        (V5_0, 0, "keep-alive=100"),
        (V5_0, 101, "keep-alive=100"),
        (V3_1_1, 100, "CONNACK 00"),
        (V3_1_1, 0, "CONNACK 00"),
        // CONNACK 2.
        (V3_1_1, 101, "CONNACK 85"),
    ] {
        let hello = Connect {
            keep_alive_secs: asked,
            ..hello(version, "c")
        };
        let (_, answer) = Line::connected(&broker, hello);
        assert!(answer.contains(expected), "{version} {asked}: {answer}");
        assert_eq!(expected.starts_with("keep"), answer.contains("keep-alive"));
    }
}

#[test]
fn receive_maximum() {
    for (flags, maximum) in [(&[][..], 20), (&["--receive-maximum", "3"], 3)] {
        let broker = OurBroker::with(flags);
        let (mut line, answer) = Line::connected(&broker, hello(V5_0, "c"));
        assert!(answer.contains(&format!(" receive={maximum} ")), "{answer}");
        for id in 1..=maximum {
            let answer = line.ask(message("t", b"x", QoS::ExactlyOnce, id));
            assert_eq!(answer, "PUBREC 10", "{id}");
        }
        let answer = line.ask(message("t", b"x", QoS::ExactlyOnce, maximum + 1));
        assert_eq!((&*answer, &*line.hear()), ("DISCONNECT 93", "close"));
    }
}

#[test]
fn max_inflight() {
    for (flags, maximum) in [(&[][..], 20), (&["--max-inflight", "3"], 3)] {
        let broker = OurBroker::with(flags);
        for version in [V3_1_1, V5_0] {
            let (mut line, _) = Line::connected(&broker, hello(version, "c"));
            line.subscribe("t", QoS::AtLeastOnce);
            let (mut other, _) = Line::connected(&broker, hello(version, "other"));
            for id in 1..=30 {
                assert_eq!(
                    other.ask(message("t", b"x", QoS::AtLeastOnce, id)),
                    "PUBACK 00"
                );
            }
            assert_eq!(line.all().len(), maximum, "{version}");
        }
    }
}

/// Messages that wait for a session that is away.
fn kept_of_10(flags: &[&str], version: ProtocolVersion) -> usize {
    let broker = OurBroker::with(flags);
    let mut sleeper = Connect {
        clean_start: false,
        ..hello(version, "sleeper")
    };
    if version == V5_0 {
        sleeper.properties.session_expiry_secs = Some(1000);
    }
    let (mut line, _) = Line::connected(&broker, sleeper);
    line.subscribe("t", QoS::AtLeastOnce);
    line.say(mqtt_codec::Disconnect::new(
        mqtt_codec::DisconnectReason::NormalDisconnection,
    ));
    assert_eq!(line.hear(), "close");
    let (mut other, _) = Line::connected(&broker, hello(version, "other"));
    for id in 1..=10 {
        other.ask(message("t", &[b'x'; 99], QoS::AtLeastOnce, id));
    }
    let (mut line, _) = Line::connected(&broker, sleeper);
    line.all().len()
}

#[test]
fn max_queued_and_max_queued_bytes() {
    for version in [V3_1_1, V5_0] {
        assert_eq!(kept_of_10(&[], version), 10, "{version}");
        assert_eq!(kept_of_10(&["--max-queued", "4"], version), 4, "{version}");
        let bytes = kept_of_10(&["--max-queued-bytes", "500"], version);
        assert!((3..=5).contains(&bytes), "{version}: {bytes} of 100 bytes");
    }
}

/// Who reads gets what comes in one piece, however little may wait for it.
#[test]
fn max_queued_is_not_for_those_who_read() {
    let broker = OurBroker::with(&["--max-queued", "2"]);
    for version in [V3_1_1, V5_0] {
        let (mut reader, _) = Line::connected(&broker, hello(version, "reader"));
        reader.subscribe("t", QoS::AtMostOnce);
        let (mut other, _) = Line::connected(&broker, hello(version, "other"));
        let mut burst = Vec::new();
        for _ in 0..100 {
            let packet = Packet::from(message("t", b"x", QoS::AtMostOnce, 1));
            packet.encode_to(version, &mut burst).unwrap();
        }
        // A machine that is busy elsewhere may not let the broker write for as long as one burst takes. If nothing was
        // written in between, two of each would come.
        let mut bursts = (0..50).map(|_| {
            other.stream.write_all(&burst).unwrap();
            other.ask(Packet::PingReq);
            reader.all().len()
        });
        let read: Vec<_> = bursts.by_ref().take_while(|read| *read <= 20).collect();
        assert!(read.len() < 50, "{version}: of 100: {read:?}");
    }
}

#[test]
fn max_packet_size() {
    let broker = OurBroker::with(&["--max-packet-size", "200"]);
    let (mut line, answer) = Line::connected(&broker, hello(V5_0, "c"));
    assert!(answer.contains(" packet=200"), "{answer}");
    assert_eq!(
        line.ask(message("t", &[0; 190], QoS::AtLeastOnce, 1)),
        "PUBACK 10"
    );
    let answer = line.ask(message("t", &[0; 200], QoS::AtLeastOnce, 1));
    assert_eq!((&*answer, &*line.hear()), ("DISCONNECT 95", "close"));
    let (mut line, _) = Line::connected(&broker, hello(V3_1_1, "c"));
    assert_eq!(
        line.ask(message("t", &[0; 200], QoS::AtLeastOnce, 1)),
        "close"
    );
    // A CONNECT is a packet, too.
    let long = "c".repeat(200);
    let (mut line, answer) = Line::connected(&broker, hello(V5_0, &long));
    assert_eq!((&*answer, &*line.hear()), ("CONNACK 95", "close"));
    let (_, answer) = Line::connected(&broker, hello(V3_1_1, &long));
    assert_eq!(answer, "close");
}

#[test]
fn a_will_may_be_as_large_as_a_will_can_be() {
    let broker = OurBroker::with(&[]);
    let payload = [b'x'; 65_535];
    for version in [V3_1_1, V5_0] {
        let mut packet = hello(version, "c");
        packet.will = Some(Will::new(
            TopicName::new("w").unwrap(),
            Binary::new(&payload).unwrap(),
        ));
        let (_, answer) = Line::connected(&broker, packet);
        assert!(answer.starts_with("CONNACK 00"), "{version}: {answer}");
    }
}

#[test]
fn message_size_limit() {
    let broker = OurBroker::with(&["--message-size-limit", "10"]);
    for version in [V3_1_1, V5_0] {
        let (mut line, _) = Line::connected(&broker, hello(version, "c"));
        line.subscribe("t", QoS::AtMostOnce);
        // A PUBACK may hold no 0x95. [5:MQTT-3.4.2-1]
        let refused = if version == V5_0 { "97" } else { "00" };
        let answer = line.ask(message("t", &[0; 11], QoS::AtLeastOnce, 1));
        assert_eq!(answer, format!("PUBACK {refused}"));
        let answer = line.ask(message("t", &[0; 11], QoS::ExactlyOnce, 2));
        assert_eq!(answer, format!("PUBREC {refused}"));
        line.say(message("t", &[0; 11], QoS::AtMostOnce, 0));
        assert_eq!(line.all(), [""; 0], "{version}: nobody gets it");
        line.say(message("t", &[0; 10], QoS::AtMostOnce, 0));
        assert_eq!(line.all(), ["PUBLISH t"], "{version}");

        let payload = [0; 11];
        let hello = Connect {
            will: Some(Will::new(
                TopicName::new("t").unwrap(),
                Binary::new(&payload).unwrap(),
            )),
            ..hello(version, "mortal")
        };
        let (mut line, answer) = Line::connected(&broker, hello);
        assert!(!answer.starts_with("CONNACK 00"), "{version}: {answer}");
        assert!(answer == "close" || line.hear() == "close", "{version}");
    }
}

#[test]
fn maximum_qos_and_retain_available() {
    let broker = OurBroker::with(&["--maximum-qos", "1", "--retain-available", "false"]);
    let retained = Publish {
        retain: true,
        ..message("t", b"x", QoS::AtMostOnce, 0)
    };
    for (packet, expected) in [
        (message("t", b"x", QoS::ExactlyOnce, 1), "DISCONNECT 9B"),
        (retained, "DISCONNECT 9A"),
    ] {
        let (mut line, answer) = Line::connected(&broker, hello(V5_0, "c"));
        assert!(answer.contains(" qos=1 retain=false "), "{answer}");
        assert_eq!(
            line.ask(message("t", b"x", QoS::AtLeastOnce, 1)),
            "PUBACK 10"
        );
        assert_eq!((&*line.ask(packet), &*line.hear()), (expected, "close"));
        let (mut line, _) = Line::connected(&broker, hello(V3_1_1, "c"));
        assert_eq!(line.ask(packet), "close");
    }
}

#[test]
fn topic_alias_maximum() {
    for (flags, maximum) in [(&[][..], 10), (&["--topic-alias-maximum", "2"], 2)] {
        let broker = OurBroker::with(flags);
        let with_alias = |alias| Publish {
            topic: PublishTopic::NameAndAlias(
                TopicName::new("t").unwrap(),
                TopicAlias::new(alias).unwrap(),
            ),
            ..message("t", b"x", QoS::AtLeastOnce, 1)
        };
        let (mut line, answer) = Line::connected(&broker, hello(V5_0, "c"));
        assert!(answer.contains(&format!(" aliases={maximum}")), "{answer}");
        assert_eq!(line.ask(with_alias(maximum)), "PUBACK 10");
        let answer = line.ask(with_alias(maximum + 1));
        assert_eq!((&*answer, &*line.hear()), ("DISCONNECT 94", "close"));
    }
    // Towards a client that asks for them they are used by themselves.
    let broker = OurBroker::start();
    let mut asks = hello(V5_0, "asks");
    asks.properties.topic_alias_maximum = Some(1);
    let (mut line, _) = Line::connected(&broker, asks);
    line.subscribe("a/long/topic/#", QoS::AtMostOnce);
    for _ in 0..3 {
        line.say(message("a/long/topic/name", b"x", QoS::AtMostOnce, 0));
    }
    for expected in ["PUBLISH a/long/topic/name@1", "PUBLISH @1", "PUBLISH @1"] {
        assert_eq!(line.hear(), expected);
    }
}

#[test]
fn session_expiry_max() {
    let broker = OurBroker::with(&["--session-expiry-max", "100"]);
    for (asked, expected) in [(None, None), (Some(50), None), (Some(101), Some(100))] {
        let mut hello = hello(V5_0, "c");
        hello.properties.session_expiry_secs = asked;
        let (_, answer) = Line::connected(&broker, hello);
        let said = answer.contains("expiry=100");
        assert_eq!(said, expected.is_some(), "{asked:?}: {answer}");
    }
}

#[test]
fn max_connections_and_max_sessions() {
    let broker = OurBroker::with(&["--max-connections", "2"]);
    let (_one, _) = Line::connected(&broker, hello(V5_0, "one"));
    let (_two, _) = Line::connected(&broker, hello(V3_1_1, "two"));
    // Who is let in would be answered, and who says nothing closed after a time: so this one says CONNECT.
    let mut three = Line::open(&broker, V5_0);
    let mut packet = Vec::new();
    let whole = Packet::from(hello(V5_0, "three")).encode_to(V5_0, &mut packet);
    whole.unwrap();
    let _may_be_closed_already = three.stream.write_all(&packet);
    let heard = three.stream.read(&mut [0]).map_err(|error| error.kind());
    assert!(
        matches!(heard, Ok(0) | Err(ErrorKind::ConnectionReset)),
        "{heard:?}"
    );

    let broker = OurBroker::with(&["--max-sessions", "1"]);
    let (_one, _) = Line::connected(&broker, hello(V5_0, "one"));
    let (mut two, answer) = Line::connected(&broker, hello(V5_0, "two"));
    assert_eq!((&*answer, &*two.hear()), ("CONNACK 89", "close"));
    // CONNACK 3.
    let (mut two, answer) = Line::connected(&broker, hello(V3_1_1, "two"));
    assert_eq!((&*answer, &*two.hear()), ("CONNACK 88", "close"));
    // Who has one gets in.
    let (_again, answer) = Line::connected(&broker, hello(V5_0, "one"));
    assert!(answer.starts_with("CONNACK 00"), "{answer}");
}

/// Sockets that a process has open.
fn sockets(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|to| to.to_string_lossy().starts_with("socket:"))
        .count()
}

/// Connections that are over, and that their clients do not close, have places of their own: as many as there
/// may be connections, and nobody is kept out by them.
#[test]
fn max_connections_is_not_for_those_that_are_over() {
    let broker = OurBroker::with(&["--max-connections", "2"]);
    let id = broker.program.id();
    let before = sockets(id);
    let over: Vec<_> = (0..20)
        .map(|_| {
            let (mut line, answer) = Line::connected(&broker, hello(V5_0, "over"));
            assert!(answer.starts_with("CONNACK 00"), "{answer}");
            // A second CONNECT.
            assert_eq!(line.ask(hello(V5_0, "over")), "DISCONNECT 82");
            assert_eq!(line.hear(), "close");
            line
        })
        .collect();
    let (mut next, answer) = Line::connected(&broker, hello(V5_0, "next"));
    assert!(answer.starts_with("CONNACK 00"), "{answer}");
    // The last one may be about to be closed. Without the limit all are there for seconds.
    let counts = (0..200).map(|_| {
        assert_eq!(next.ask(Packet::PingReq), "PINGRESP");
        sockets(id) - before
    });
    let least = counts.min();
    assert!(least.is_some_and(|least| least <= 2 + 1), "{least:?}");
    drop(over);
}

/// A broker with lower limits than the one that wrote its file says what it has no room for, and how often.
#[test]
fn max_sessions_with_a_store_that_has_more() {
    let store = folder("flags-store").join("store");
    let store = store.to_str().unwrap();
    let stays = |name| {
        let mut hello = hello(V5_0, name);
        hello.properties.session_expiry_secs = Some(1000);
        hello.clean_start = false;
        hello
    };
    let broker = OurBroker::with(&["--store", store]);
    for name in ["one", "two", "three"] {
        let (mut line, _) = Line::connected(&broker, stays(name));
        assert_eq!(line.subscribe("t", QoS::AtLeastOnce), "SUBACK 01");
        assert_eq!(line.subscribe("u", QoS::AtLeastOnce), "SUBACK 01");
    }
    let (code, _) = broker.program.interrupt();
    assert_eq!(code, Some(0));

    let options = [
        "--bind",
        "127.0.0.1:0",
        "--max-sessions",
        "1",
        "--store",
        store,
    ];
    let mut program = Program::start(env!("CARGO_BIN_EXE_broker"), &options);
    let gone = "store: left out and gone from the file:";
    program.wait_for("listening on");
    let (code, lines) = program.interrupt();
    let lines: Vec<_> = { lines.iter() }
        .filter_map(|line| line.strip_prefix(gone))
        .collect();
    let expected = [
        " 4 entries: it refers to something that is not there",
        " 2 entries: there is no room for it",
    ];
    assert_eq!(lines, expected);
    assert_eq!(code, Some(0));

    let broker = OurBroker::with(&["--store", store]);
    let mut present = 0;
    for name in ["one", "two", "three"] {
        let (_, answer) = Line::connected(&broker, stays(name));
        present += usize::from(answer.contains("present"));
    }
    assert_eq!(present, 1);
}

#[test]
fn max_retained_and_its_bytes() {
    for flags in [["--max-retained", "2"], ["--max-retained-bytes", "250"]] {
        let broker = OurBroker::with(&flags);
        let (mut line, _) = Line::connected(&broker, hello(V5_0, "c"));
        for topic in ["t/1", "t/2", "t/3"] {
            let payload = [b'x'; 99];
            let retained = Publish {
                retain: true,
                ..message(topic, &payload, QoS::AtLeastOnce, 1)
            };
            assert_eq!(line.ask(retained), "PUBACK 10");
        }
        line.subscribe("t/#", QoS::AtMostOnce);
        assert_eq!(line.all(), ["PUBLISH t/1", "PUBLISH t/2"], "{flags:?}");
    }
}

/// Figures of a program that has ended are none of the next one, which may publish none: a store lets them go.
#[test]
fn sys_interval() {
    let broker = OurBroker::with(&["--sys-interval", "1000"]);
    let (mut line, _) = Line::connected(&broker, hello(V5_0, "c"));
    line.subscribe("$SYS/broker/bytes/#", QoS::AtMostOnce);
    // They may come a little later than this client.
    for figure in ["received", "sent"] {
        let expected = format!("PUBLISH $SYS/broker/bytes/{figure} expires");
        assert_eq!(line.hear(), expected);
    }
}

#[test]
fn max_subscriptions() {
    let broker = OurBroker::with(&["--max-subscriptions", "1"]);
    for (version, refused) in [(V3_1_1, "SUBACK 80"), (V5_0, "SUBACK 97")] {
        let (mut line, _) = Line::connected(&broker, hello(version, "c"));
        for (filter, expected) in [("a", "SUBACK 01"), ("b", refused), ("a", "SUBACK 01")] {
            assert_eq!(line.subscribe(filter, QoS::AtLeastOnce), expected);
        }
    }
}

#[test]
fn a_file_may_hold_every_key() {
    let folder = folder("flags-file");
    let store = folder.join("store");
    let text = format!(
        "bind = '127.0.0.1:0'\nallow-anonymous = true\ndeny-subscribe = 'secret/#=0x97'\n\
         max-keep-alive = 100\nreceive-maximum = 3\nmax-inflight = 4\nmax-queued = 5\n\
         max-queued-bytes = 600\nmax-packet-size = 700\nmessage-size-limit = 80\nmaximum-qos = 1\n\
         retain-available = false\ntopic-alias-maximum = 9\nmax-connections = 10\n\
         session-expiry-max = 11\nsys-interval = 12\nmax-sessions = 13\nmax-subscriptions = 14\n\
         max-retained = 15\nmax-retained-bytes = 1600\nmax-total-bytes = 17000000\n\
         ws-bind = '127.0.0.1:0'\nstore = '{}'\nverbose = true\n",
        store.display()
    );
    let config = file(&folder, "broker.toml", &text);
    // `--bind` of the test wins over the file's.
    let broker = OurBroker::with(&["--config", &config]);
    let mut hello = hello(V5_0, "c");
    hello.properties.session_expiry_secs = Some(1000);
    let hello = Connect {
        keep_alive_secs: 0,
        ..hello
    };
    let (mut line, answer) = Line::connected(&broker, hello);
    assert_eq!(
        answer,
        "CONNACK 00 expiry=11 receive=3 qos=1 retain=false packet=700 aliases=9 keep-alive=100"
    );
    assert_eq!(line.subscribe("secret/a", QoS::AtMostOnce), "SUBACK 97");
}
