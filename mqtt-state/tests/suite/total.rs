//! The one total over everything that is kept: what counts, what happens there, and that nothing is left
//! of it when everything is gone.

use core::time::Duration;

use mqtt_codec::{Binary, DisconnectReason, Message, ProtocolVersion, QoS, SubscriptionId, Will};
use mqtt_state::broker::{self, Config, ConnectionId, DropCause, Event};

use crate::hall::Hall;
use crate::wire::{
    V3_1_1, V5_0, connect, disconnect, name, puback, publish, text, want, with_subscribe,
};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];

/// A broker that keeps so many bytes.
fn keeping(version: ProtocolVersion, total_bytes_max: usize) -> Hall {
    let config = Config {
        total_bytes_max,
        ..Config::default()
    };
    Hall::new(version, config)
}

impl Hall {
    fn kept(&self) -> usize {
        self.broker.stats().kept_bytes
    }

    /// Somebody whose session stays for a while.
    fn keep(&mut self, client_id: &str) -> ConnectionId {
        let mut packet = connect(self.peer.version, client_id);
        packet.clean_start = false;
        if self.peer.version == V5_0 {
            packet.properties.session_expiry_secs = Some(100);
        }
        let (id, heard) = self.enter(packet);
        assert_eq!(heard.first().unwrap(), "CONNACK 00");
        id
    }

    fn publish_len(&mut self, topic: &str, len: usize, qos: QoS, retain: bool) -> usize {
        let message = Message::new(topic, vec![b'x'; len]).unwrap();
        let message = message.with_qos(qos).with_retain(retain);
        self.broker.publish(self.peer.now, message)
    }
}

/// What is done, by how many bytes the total grows at least, and that nothing is left when all is gone.
#[test]
fn everything_that_clients_make_grow_counts_and_goes_again() {
    for version in VERSIONS {
        let mut hall = keeping(version, usize::MAX);
        assert_eq!(hall.kept(), 0);
        let mut before = 0;
        let mut grown = |hall: &Hall, what: &str, bytes: usize| {
            let now = hall.kept();
            assert!(
                now >= before + bytes,
                "{version}, {what}: {before}, then {now}"
            );
            before = now;
        };
        let long = "c".repeat(5_000);
        let reader = hall.keep(&long);
        grown(&hall, "a client identifier, twice", 10_000);
        let filter = "f/".to_owned() + &"t".repeat(3_000);
        hall.subscribe(reader, &filter, QoS::AtLeastOnce);
        grown(&hall, "a filter", 3_000);
        hall.publish_len("other", 7_000, QoS::AtMostOnce, true);
        grown(&hall, "a retained message", 7_000);
        for _ in 0..100 {
            hall.publish_len(&filter, 0, QoS::AtLeastOnce, false);
        }
        grown(
            &hall,
            "topics and places of a hundred messages",
            100 * 3_050,
        );
        let mut packet = connect(version, "will");
        packet.will = Some(Will::new(name("w"), Binary::new(&[b'x'; 4_000]).unwrap()));
        let (will, _) = hall.enter(packet);
        grown(&hall, "a will", 4_000);

        hall.say(will, disconnect(DisconnectReason::NormalDisconnection));
        hall.hear(will);
        loop {
            let heard = hall.hear(reader);
            if heard.is_empty() {
                break;
            }
            for line in heard {
                let id = line.split(" id").nth(1).unwrap().parse().unwrap();
                hall.say(reader, puback(id));
            }
        }
        hall.publish_len("other", 0, QoS::AtMostOnce, true);
        let (id, _) = hall.enter(connect(version, &long));
        hall.hear(reader);
        hall.say(id, disconnect(DisconnectReason::NormalDisconnection));
        hall.hear(id);
        let stats = hall.broker.stats();
        assert_eq!((stats.sessions, stats.messages), (0, 0), "{version}");
        // The tables of the indexes keep some of their room.
        assert!(hall.kept() < 10_000, "{version}: {} bytes", hall.kept());
    }
}

/// The places of messages stay while one is in flight, and go when nothing is.
#[test]
fn places_of_messages_are_given_back_when_nothing_is_in_them() {
    for (qos, filter) in [(QoS::AtMostOnce, "a"), (QoS::AtLeastOnce, "a")] {
        let mut hall = keeping(V5_0, usize::MAX);
        let reader = hall.keep("reader");
        hall.subscribe(reader, filter, qos);
        let before = hall.kept();
        for _ in 0..500 {
            hall.publish_len("a", 0, qos, false);
        }
        assert!(hall.kept() >= before + 500 * 50, "{qos}");
        loop {
            let heard = hall.hear(reader);
            if heard.is_empty() {
                break;
            }
            for line in heard {
                if let Some(id) = line.split(" id").nth(1) {
                    hall.say(reader, puback(id.parse().unwrap()));
                }
            }
        }
        assert_eq!(hall.kept(), before, "{qos}");
    }
}

/// Identifiers of overlapping subscriptions go with each message.
#[test]
fn subscription_identifiers_count_with_each_message() {
    let mut hall = keeping(V5_0, usize::MAX);
    let reader = hall.keep("reader");
    let filters = ["a/b", "a/+", "a/#", "+/b", "+/+", "#", "+/#", "a/b/#"];
    for (filter, number) in filters.iter().zip(1..) {
        let entry = [want(filter, QoS::AtLeastOnce)];
        let mut subscribe = mqtt_codec::Subscribe {
            id: mqtt_codec::PacketId::MIN,
            filters: mqtt_codec::SubscribeFilters::new(&entry).unwrap(),
            properties: mqtt_codec::SubscribeProperties::default(),
        };
        subscribe.properties.subscription_id = SubscriptionId::new(number);
        hall.say(reader, subscribe);
    }
    hall.hear(reader);
    hall.publish_len("a/b", 0, QoS::AtLeastOnce, false);
    let one = hall.kept();
    hall.publish_len("a/b", 0, QoS::AtLeastOnce, false);
    assert!(
        hall.kept() >= one + 8 * 4 + 3,
        "{one} and then {}",
        hall.kept()
    );
}

#[test]
fn at_the_limit_nothing_new_is_taken_and_what_is_there_goes_on() {
    for (version, code) in [(V3_1_1, "00"), (V5_0, "97")] {
        let mut hall = keeping(version, 100_000);
        let id = hall.keep("client");
        hall.subscribe(id, "t", QoS::AtLeastOnce);
        assert_eq!(
            hall.publish_len("kept", 99_990 - hall.kept(), QoS::AtMostOnce, true),
            0
        );
        assert!(hall.kept() >= 100_000, "with the tree of retained topics");
        while hall.broker.poll_event().is_some() {}

        hall.say(id, publish("t", "", QoS::AtLeastOnce, 1));
        assert_eq!(hall.hear(id), [format!("PUBACK 1 {code}")]);
        hall.say(id, publish("t", "", QoS::AtMostOnce, 0));
        assert_eq!(hall.hear(id), [""; 0]);
        assert_eq!(hall.publish_len("t", 0, QoS::AtLeastOnce, false), 0);
        let refused: Vec<_> = core::iter::from_fn(|| hall.broker.poll_event())
            .filter_map(|event| match event {
                Event::Refused { client_id, topic } => Some(format!("{client_id} {topic}")),
                _ => None,
            })
            .collect();
        assert_eq!(refused, ["client t", "client t", " t"], "{version}");

        let code = if version == V5_0 { "97" } else { "80" };
        let more = [want("t", QoS::AtMostOnce), want("u", QoS::AtMostOnce)];
        let heard = hall.want(id, &more);
        assert_eq!(heard, [format!("SUBACK 1 00 {code}")], "the first is there");
        let (_, heard) = hall.enter(connect(version, "new"));
        let code = if version == V5_0 { "89" } else { "88" };
        assert_eq!(heard, [format!("CONNACK {code}"), "close".into()]);

        // What makes room is taken.
        let mut clear = publish("kept", "", QoS::AtLeastOnce, 2);
        clear.retain = true;
        hall.say(id, clear);
        let code = if version == V5_0 { "10" } else { "00" };
        assert_eq!(hall.hear(id), [format!("PUBACK 2 {code}")]);
        assert!(hall.kept() < 50_000);
        hall.say(id, publish("t", "", QoS::AtLeastOnce, 3));
        assert_eq!(hall.hear(id), ["PUBACK 3 00", "PUBLISH t= q0"]);
    }
}

/// One accepted message, many receivers whose places would have to grow.
#[test]
fn a_session_whose_places_would_grow_beyond_the_limit_goes_without() {
    let mut hall = keeping(V5_0, usize::MAX);
    let readers: Vec<_> = (0..100).map(|n| hall.keep(&format!("{n}"))).collect();
    for reader in &readers {
        hall.subscribe(*reader, "t", QoS::AtLeastOnce);
    }
    let (empty, one) = (hall.kept(), 4 * 50);
    assert_eq!(hall.publish_len("t", 0, QoS::AtLeastOnce, false), 100);
    assert!(hall.kept() > empty + 100 * one);

    let mut hall = keeping(V5_0, empty + 50 * one);
    let readers: Vec<_> = (0..100).map(|n| hall.keep(&format!("{n}"))).collect();
    for reader in &readers {
        hall.subscribe(*reader, "t", QoS::AtLeastOnce);
    }
    while hall.broker.poll_event().is_some() {}
    let receivers = hall.publish_len("t", 0, QoS::AtLeastOnce, false);
    assert!((1..50).contains(&receivers), "{receivers}");
    assert!(hall.kept() <= empty + 50 * one);
    let dropped = core::iter::from_fn(|| hall.broker.poll_event())
        .filter(|event| {
            matches!(
                event,
                Event::Dropped {
                    cause: DropCause::BrokerFull,
                    ..
                }
            )
        })
        .count();
    assert_eq!(dropped + receivers, 100);
}

#[test]
fn messages_have_a_limit_in_number_as_well() {
    let config = Config {
        messages_len_max: 3,
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let id = hall.keep("client");
    for number in 1..=3_u16 {
        let topic = number.to_string();
        hall.publish_len(&topic, 1, QoS::AtMostOnce, true);
    }
    hall.say(id, publish("t", "", QoS::AtLeastOnce, 4));
    assert_eq!(hall.hear(id), ["PUBACK 4 97"]);
    let (_, heard) = hall.enter(connect(V5_0, "new"));
    assert_eq!(heard, ["CONNACK 89", "close"]);
}

/// Room that nobody has cleared yet is room: what has expired is cleared for who comes.
#[test]
fn what_has_expired_makes_room_for_who_comes() {
    let mut hall = keeping(V5_0, 100_000);
    let long = "c".repeat(30_000);
    let mut packet = connect(V5_0, &long);
    packet.properties.session_expiry_secs = Some(10);
    let (id, _) = hall.enter(packet);
    hall.broker.handle_close(hall.peer.now, id);
    hall.publish_len("kept", 39_500, QoS::AtMostOnce, true);
    assert!(hall.kept() >= 100_000, "{}", hall.kept());
    let (_, heard) = hall.enter(connect(V5_0, "new"));
    assert_eq!(heard, ["CONNACK 89", "close"]);
    hall.peer.now = hall.peer.now + Duration::from_secs(10);
    let (_, heard) = hall.enter(connect(V5_0, "new"));
    assert_eq!(heard, ["CONNACK 00"]);
}

/// What waits for a client makes room only when that comes and gets it.
#[test]
fn who_comes_for_its_session_is_taken_by_a_broker_that_is_full() {
    for (version, busy) in [(V3_1_1, "CONNACK 88"), (V5_0, "CONNACK 89")] {
        let mut hall = keeping(version, 50_000);
        let id = hall.keep("reader");
        hall.subscribe(id, "t", QoS::AtLeastOnce);
        hall.broker.handle_close(hall.peer.now, id);
        for number in 0..4 {
            hall.publish_len("t", 10_000 + number, QoS::AtLeastOnce, false);
        }
        let left = 50_000 - hall.kept();
        hall.publish_len("kept", left - 4, QoS::AtMostOnce, true);
        assert!(hall.kept() >= 50_000, "{version} {}", hall.kept());
        let mut packet = connect(version, "reader");
        packet.clean_start = false;
        if version == V5_0 {
            packet.properties.session_expiry_secs = Some(100);
        }
        let (_, heard) = hall.enter(connect(version, "new"));
        assert_eq!(heard[0], busy, "{version}: it brings a session");
        let mut with_will = packet;
        with_will.will = Some(Will::new(name("w"), Binary::new(b"x").unwrap()));
        let (_, heard) = hall.enter(with_will);
        assert_eq!(heard[0], busy, "{version}: it brings a will");
        let (id, heard) = hall.enter(packet);
        assert_eq!(heard[0], "CONNACK 00 present", "{version}");
        assert_eq!(heard.len(), 5, "{version}: and all its messages");
        for number in 1..=4 {
            hall.say(id, puback(number));
        }
        assert!(hall.kept() < 20_000, "{version} {}", hall.kept());
        let (_, heard) = hall.enter(connect(version, "new"));
        assert_eq!(heard[0], "CONNACK 00", "{version}: there is room again");
    }
}

/// Whose name has grown since brings more to keep.
#[test]
fn who_comes_with_a_longer_name_is_not_taken_by_a_broker_that_is_full() {
    for (user_name, expected) in [("ann", "CONNACK 00 present"), ("anna", "CONNACK 89")] {
        let config = Config {
            ask: broker::Ask {
                publish: true,
                ..broker::Ask::default()
            },
            total_bytes_max: 50_000,
            ..Config::default()
        };
        let mut hall = Hall::new(V5_0, config);
        let mut packet = connect(V5_0, "reader");
        packet.clean_start = false;
        packet.properties.session_expiry_secs = Some(100);
        packet.user_name = Some(text("bob"));
        let (id, _) = hall.enter(packet);
        hall.broker.handle_close(hall.peer.now, id);
        let left = 50_000 - hall.kept();
        hall.publish_len("kept", left - 4, QoS::AtMostOnce, true);
        packet.user_name = Some(text(user_name));
        assert_eq!(hall.enter(packet).1[0], expected, "{user_name}");
    }
}

/// Who was there stays known as the owner of a session, and once more as who left its will.
#[test]
fn what_is_known_of_a_client_counts() {
    for version in VERSIONS {
        let kept = |len: usize, has_will: bool| {
            let ask = broker::Ask {
                publish: true,
                ..broker::Ask::default()
            };
            let config = Config {
                ask,
                ..Config::default()
            };
            let mut hall = Hall::new(version, config);
            let peer = broker::Peer {
                identity: Some("x".repeat(len).into()),
                ..broker::Peer::default()
            };
            let id = hall.broker.accept(hall.peer.now, peer).unwrap();
            let mut packet = connect(version, "c");
            let will = Will::new(name("w"), Binary::new(b"gone").unwrap());
            packet.will = has_will.then_some(will);
            hall.say(id, packet);
            hall.kept()
        };
        for (has_will, times) in [(false, 1), (true, 2)] {
            let grown = kept(1_000, has_will) - kept(500, has_will);
            assert_eq!(grown, times * 500, "{version}, will: {has_will}");
        }
    }
}

/// What has to be looked for among retained messages is kept until it is done.
#[test]
fn replays_that_wait_count_and_go_again() {
    for version in VERSIONS {
        let kept = |filters: usize| {
            let mut hall = keeping(version, usize::MAX);
            hall.publish_len("t", 1, QoS::AtMostOnce, true);
            let reader = hall.keep("reader");
            let texts: Vec<_> = (0..filters).map(|it| format!("{it:03}")).collect();
            let wanted: Vec<_> = { texts.iter() }
                .map(|it| want(it, QoS::AtMostOnce))
                .collect();
            let Hall { broker, peer } = &mut hall;
            with_subscribe(1, &wanted, |packet| {
                peer.say(&mut (broker, reader), packet);
            });
            let waiting = hall.kept();
            hall.hear(reader);
            waiting - hall.kept()
        };
        // Each has its text, and a place that holds where it stands.
        let grown = kept(101) - kept(1);
        assert!(grown >= 100 * (3 + 48), "{version}: {grown}");
    }
}

/// A will that there is no room for is not said to have been published.
#[test]
fn a_will_without_room_is_refused_and_nothing_else() {
    for publish in [false, true] {
        let config = Config {
            ask: broker::Ask {
                publish,
                ..broker::Ask::default()
            },
            messages_len_max: 1,
            ..Config::default()
        };
        let mut hall = Hall::new(V5_0, config);
        let mut packet = connect(V5_0, "c");
        packet.will = Some(Will::new(name("w"), Binary::new(b"x").unwrap()));
        let (id, _) = hall.enter(packet);
        hall.publish_len("kept", 1, QoS::AtMostOnce, true);
        let now = hall.peer.now;
        hall.broker.handle_close(now, id);
        let mut told = Vec::new();
        while let Some(event) = hall.broker.poll_event() {
            match event {
                Event::AuthorizePublish { decision, .. } => {
                    let answer = broker::PublishAnswer::Allow;
                    hall.broker.decide_publish(now, decision, answer).unwrap();
                }
                Event::WillPublished { .. } => told.push("published"),
                Event::Refused { .. } => told.push("refused"),
                _ => {}
            }
        }
        assert_eq!(told, ["refused"], "asked: {publish}");
    }
}
