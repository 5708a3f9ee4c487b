//! The heap of one client: never above what its limits add up to, and no longer after a day's work
//! than after an hour's.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use allocation_counter::measure;
use bytes::BytesMut;
use mqtt_codec::{
    Ack, Authentication, Connect, Delivery, Message, Packet, PacketId, Parsed, ProtocolVersion,
    Publish, PublishReason, QoS, ReleaseReason, Str, SubscribeFilter, TopicAlias, TopicName,
    decode,
};
use mqtt_codec::{ConnAck, ConnAckOutcome, ConnAckProperties, PublishTopic};
use mqtt_state::Timestamp;
use mqtt_state::client::{Acknowledge, Client, Config, Event};

const NOW: Timestamp = Timestamp::ZERO;
const V5: ProtocolVersion = ProtocolVersion::V5_0;

fn small(journal: bool, acknowledge: Acknowledge) -> Config {
    Config {
        packet_size_max: 70_000,
        messages_bytes_max: 400_000,
        waiting_len_max: 310,
        in_flight_max: 300,
        receive_maximum: 50,
        receive_maximum_v3: 50,
        acknowledge,
        events_max: 320,
        events_bytes_max: 400_000,
        answers_bytes_max: 2_000,
        subscriptions_max: 20,
        subscriptions_bytes_max: 50_000,
        requests_max: 10,
        topic_alias_maximum: 4,
        outbound_topic_aliases_max: 1,
        journal,
        ..Config::default()
    }
}

fn connect(client: &mut Client, session_present: bool, session_expiry_secs: u32) {
    let mut connect = Connect::new(V5, Str::new("c").unwrap());
    connect.clean_start = false;
    connect.properties.session_expiry_secs = Some(session_expiry_secs);
    client.connect(NOW, &connect).unwrap();
    store(client);
    let _sent = client.poll_transmit(NOW, 1 << 20, &mut Vec::new());
    let properties = ConnAckProperties {
        topic_alias_maximum: Some(10),
        ..ConnAckProperties::default()
    };
    let accepted = ConnAck {
        outcome: ConnAckOutcome::Accepted { session_present },
        properties,
    };
    say(client, accepted.into());
}

fn store(client: &mut Client) {
    while let Some(entry) = client.poll_journal() {
        client.handle_stored(entry.position());
    }
}

fn say(client: &mut Client, packet: Packet<'_>) -> bool {
    let mut bytes = Vec::new();
    packet.encode_to(V5, &mut bytes).unwrap();
    client.handle_input(NOW, &bytes).bytes == bytes.len()
}

/// A server that sends as much as is taken, and an application that fetches nothing.
fn fill(client: &mut Client) {
    connect(client, false, 0);
    let long = "t".repeat(60_000);
    let filters: Vec<_> = (0..20)
        .map(|n| format!("{n:02}{}", "f".repeat(2_000)))
        .collect();
    for filter in &filters {
        let filter = SubscribeFilter::new(filter, QoS::AtMostOnce).unwrap();
        let _full = client.subscribe(&[filter]);
        let _sent = client.poll_transmit(NOW, 1 << 20, &mut Vec::new());
    }
    for alias in 1..=4 {
        let mut publish = Publish::new(TopicName::new(&long).unwrap(), b"");
        let topic = TopicName::new(&long).unwrap();
        publish.topic = PublishTopic::NameAndAlias(topic, TopicAlias::new(alias).unwrap());
        say(client, Packet::Publish(publish));
    }
    while client.poll_event().is_some() {}
    // Messages out, none of them acknowledged with PUBCOMP.
    let payload = vec![0_u8; 1_300];
    for _ in 0..2_000 {
        let message = Message::new("t", payload.clone())
            .unwrap()
            .with_qos(QoS::ExactlyOnce);
        if client.publish(NOW, message).is_err() {
            break;
        }
    }
    let _sent = client.poll_transmit(NOW, 1 << 20, &mut Vec::new());
    store(client);
    // Messages in, until no more are taken.
    while client.wants_input() {
        let topic = TopicName::new("t").unwrap();
        let publish = Packet::Publish(Publish::new(topic, &payload));
        // Each in a buffer of twice its size, as much as a message may pin.
        let size = publish.encoded_len(V5).unwrap();
        let mut input = BytesMut::with_capacity(size.saturating_mul(2));
        publish.encode_to(V5, &mut input).unwrap();
        let _all = client.handle_input_shared(NOW, &mut input);
    }
    // The session ends with all that was in flight, and the queue fills again.
    client.handle_close(NOW);
    for _ in 0..2_000 {
        let message = Message::new("t", payload.clone())
            .unwrap()
            .with_qos(QoS::AtLeastOnce);
        if client.publish(NOW, message).is_err() {
            break;
        }
    }
}

/// Where limits are small, what counts is the room that a table brings with its first entry.
#[test]
fn a_client_with_the_smallest_limits_stays_within_its_formula() {
    for journal in [false, true] {
        let config = Config {
            waiting_len_max: 1,
            in_flight_max: 1,
            receive_maximum: 1,
            receive_maximum_v3: 1,
            events_max: 4,
            subscriptions_max: 1,
            requests_max: 1,
            ..small(journal, Acknowledge::Manual)
        };
        let bound = config.memory_bound();
        let mut client = None;
        let info = measure(|| fill(client.insert(Client::new(config))));
        let held = usize::try_from(info.bytes_current).unwrap();
        assert!(held <= bound, "journal {journal}: {held} of {bound} bytes");
        drop(client);
    }
}

#[test]
fn a_client_stays_within_its_formula_and_the_formula_is_not_idle() {
    for journal in [false, true] {
        for acknowledge in [Acknowledge::Automatic, Acknowledge::Manual] {
            let row = format!("journal {journal}, {acknowledge:?}");
            let config = small(journal, acknowledge);
            let bound = config.memory_bound();
            let mut client = None;
            let info = measure(|| {
                let client = client.insert(Client::new(config));
                fill(client);
            });
            let held = usize::try_from(info.bytes_current).unwrap();
            let most = usize::try_from(info.bytes_max).unwrap();
            assert!(held <= bound, "{row}: {held} of {bound} bytes");
            assert!(
                most <= bound + 200_000,
                "{row}: {most} bytes with the buffers of the test"
            );
            // What a journal holds beside the messages is counted for its worst case, too.
            let share = if journal { 3 } else { 2 };
            assert!(held * share >= bound, "{row}: {held} of {bound} bytes");
            drop(client);
        }
    }
}

/// What a client remembers, and its formula, where a server of 3.1.1 releases nothing, over three
/// connections.
fn remembered(receive_maximum_v3: u16) -> (usize, usize) {
    let config = Config {
        receive_maximum: 1,
        receive_maximum_v3,
        ..Config::default()
    };
    let bound = config.memory_bound();
    let version = ProtocolVersion::V3_1_1;
    let mut client = None;
    let info = measure(|| {
        let client = client.insert(Client::new(config));
        let mut hello = Connect::new(version, Str::new("c").unwrap());
        hello.clean_start = false;
        let mut bytes = Vec::with_capacity(1_000);
        let mut next = 1;
        for session_present in [false, true, true] {
            client.connect(NOW, &hello).unwrap();
            let _sent = client.poll_transmit(NOW, 1 << 20, &mut bytes);
            let accepted = ConnAck {
                outcome: ConnAckOutcome::Accepted { session_present },
                properties: ConnAckProperties::default(),
            };
            let mut packet = Packet::from(accepted);
            loop {
                bytes.clear();
                packet.encode_to(version, &mut bytes).unwrap();
                let _all = client.handle_input(NOW, &bytes);
                bytes.clear();
                let _sent = client.poll_transmit(NOW, 1 << 20, &mut bytes);
                let mut events = core::iter::from_fn(|| client.poll_event());
                if events.any(|event| matches!(event, Event::Closed { .. })) {
                    break;
                }
                let mut publish = Publish::new(TopicName::new("t").unwrap(), b"");
                let id = PacketId::new(next).unwrap();
                publish.delivery = Delivery::ExactlyOnce { id, dup: false };
                packet = Packet::Publish(publish);
                next = next.saturating_add(1);
            }
            client.handle_close(NOW);
        }
    });
    (usize::try_from(info.bytes_current).unwrap(), bound)
}

#[test]
fn what_a_server_never_releases_is_in_the_formula() {
    let (held, bound) = remembered(20_000);
    let (held_of_few, bound_of_few) = remembered(20);
    let (held, bound) = (held - held_of_few, bound - bound_of_few);
    assert!(
        held > 2 * 39_000,
        "two bytes each, and twice as many: {held}"
    );
    assert!(held <= bound, "{held} of {bound} bytes");
}

/// What a client holds while it connects and when it is in, and its formula: `asked` is its own identifier,
/// `assigned` that of the server, which says as much of something else.
fn greeted(packet_size_max: u32, asked: &str, method: &str, assigned: &str) -> ([usize; 2], usize) {
    let config = Config {
        packet_size_max,
        waiting_len_max: 1,
        in_flight_max: 1,
        messages_bytes_max: 1,
        receive_maximum: 1,
        receive_maximum_v3: 1,
        events_max: 1,
        events_bytes_max: 1,
        answers_bytes_max: 1,
        subscriptions_max: 1,
        subscriptions_bytes_max: 1,
        requests_max: 1,
        topic_alias_maximum: 0,
        outbound_topic_aliases_max: 0,
        ..Config::default()
    };
    let bound = config.memory_bound();
    let text = |text| Str::new(text).unwrap();
    let mut hello = Connect::new(V5, text(asked));
    let authentication = Authentication {
        method: text(method),
        data: None,
    };
    hello.properties.authentication = Some(authentication);
    let properties = ConnAckProperties {
        assigned_client_id: (!assigned.is_empty()).then(|| text(assigned)),
        response_information: (!assigned.is_empty()).then(|| text(assigned)),
        authentication: Some(authentication),
        ..ConnAckProperties::default()
    };
    let accepted = ConnAck {
        outcome: ConnAckOutcome::Accepted {
            session_present: false,
        },
        properties,
    };
    let mut answer = Vec::new();
    Packet::from(accepted).encode_to(V5, &mut answer).unwrap();
    let mut out = Vec::with_capacity(1 << 18);
    let mut client = Client::new(config);
    let begun = measure(|| client.connect(NOW, &hello).unwrap());
    let taken = measure(|| {
        let _all = client.poll_transmit(NOW, 1 << 18, &mut out);
        assert_eq!(client.handle_input(NOW, &answer).bytes, answer.len());
    });
    assert!(client.negotiated().is_some(), "{:?}", client.poll_event());
    let begun = begun.bytes_current;
    let held = [begun, begun.saturating_add(taken.bytes_current)];
    let held = held.map(|bytes| usize::try_from(bytes).unwrap());
    (held, bound)
}

#[test]
fn the_texts_of_a_handshake_are_in_the_formula_and_no_larger_than_their_packets() {
    let text = "x".repeat(60_000);
    let rows = [
        ("small packets", 1_000, 400),
        ("large ones", 200_000, 60_000),
    ];
    for (row, packet_size_max, len) in rows {
        let text = text.get(..len).unwrap();
        // CONNECT has the method as well as the identifier, CONNACK the method and two texts more.
        for (asked, method, assigned) in [(text, text, ""), ("", "m", text)] {
            let (held, bound) = greeted(packet_size_max, asked, method, assigned);
            assert!(
                held.iter().all(|held| *held <= bound),
                "{row}: {held:?} of {bound}"
            );
        }
    }
    let bound = |packet_size_max| greeted(packet_size_max, "c", "m", "").1;
    let (least, small) = (bound(100), bound(1_000));
    assert!(
        small - least < 10 * 1_000 && small < 20_000,
        "{least}, {small}"
    );

    // What is beside the formula: the packet where it is larger, and twice the identifier in it.
    let (held, bound) = greeted(1_000, &text, "m", "");
    let beside = 2 * text.len()..=bound.saturating_add(3 * (text.len() + 100));
    assert!(held.iter().all(|held| beside.contains(held)), "{held:?}");
}

/// Whatever is in the output is answered as a right server does.
fn answer_all(client: &mut Client, out: &mut Vec<u8>, back: &mut Vec<u8>) {
    loop {
        out.clear();
        back.clear();
        let _transmit = client.poll_transmit(NOW, 1 << 16, out);
        let mut rest = out.as_slice();
        while let Ok(Parsed::Complete((packet, size))) = decode(rest, V5, u32::MAX) {
            let reply = match packet {
                Packet::Publish(publish) => match publish.delivery {
                    Delivery::AtMostOnce => None,
                    Delivery::AtLeastOnce { id, .. } => {
                        Some(Packet::PubAck(Ack::new(id, PublishReason::Success)))
                    }
                    Delivery::ExactlyOnce { id, .. } => {
                        Some(Packet::PubRec(Ack::new(id, PublishReason::Success)))
                    }
                },
                Packet::PubRel(ack) => {
                    Some(Packet::PubComp(Ack::new(ack.id, ReleaseReason::Success)))
                }
                Packet::PubRec(ack) => {
                    Some(Packet::PubRel(Ack::new(ack.id, ReleaseReason::Success)))
                }
                _ => None,
            };
            if let Some(reply) = reply {
                reply.encode_to(V5, back).unwrap();
            }
            rest = rest.get(size..).unwrap();
        }
        if out.is_empty() {
            return;
        }
        assert_eq!(client.handle_input(NOW, back).bytes, back.len());
        while client.poll_event().is_some() {}
        store(client);
    }
}

/// Messages both ways at every QoS, a connection lost in the middle of them, a session lost.
fn round(client: &mut Client, out: &mut Vec<u8>, back: &mut Vec<u8>) {
    for session_present in [true, false] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for _ in 0..30 {
                let message = Message::new("t", "payload").unwrap().with_qos(qos);
                client.publish(NOW, message).unwrap();
            }
        }
        out.clear();
        let _transmit = client.poll_transmit(NOW, 500, out);
        client.handle_close(NOW);
        while client.poll_event().is_some() {}
        connect(client, session_present, u32::MAX);
        let id = PacketId::new(7).unwrap();
        let delivery = Delivery::ExactlyOnce { id, dup: false };
        let mut publish = Publish::new(TopicName::new("t").unwrap(), b"in");
        publish.delivery = delivery;
        assert!(say(client, Packet::Publish(publish)));
        answer_all(client, out, back);
    }
}

#[test]
fn what_is_done_leaves_nothing_behind() {
    for journal in [false, true] {
        let mut client = Client::new(Config {
            journal,
            ..Config::default()
        });
        let (mut out, mut back) = (Vec::with_capacity(1 << 16), Vec::with_capacity(1 << 16));
        connect(&mut client, false, u32::MAX);
        let mut rounds = |count: usize| {
            let info = measure(|| {
                for _ in 0..count {
                    round(&mut client, &mut out, &mut back);
                }
            });
            assert_eq!((client.in_flight_len(), client.waiting_len()), (0, 0));
            info.bytes_current
        };
        rounds(5);
        assert_eq!(rounds(1), 0, "journal {journal}: after one more round");
        assert_eq!(rounds(100), 0, "journal {journal}: after a hundred more");
    }
}
