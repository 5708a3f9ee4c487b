//! Who gets what: filters, options, identifiers, overlaps and shared subscriptions.

use core::num::{NonZeroU16, NonZeroU32};

use mqtt_codec::{
    Ack, Message, Packet, PublishReason, QoS, ReasonCode, SubscribeFilter, SubscriptionId,
    UnsubscribeReason, UserProperties,
};
use mqtt_state::broker::{self, DropCause, SharedPolicy};
use mqtt_state::client::{Acknowledge, Config, Event, RequestError};
use mqtt_state::{Diagnostics, Timestamp, server};

use crate::hall::Hall;
use crate::recorded::Client;
use crate::wire::{Peer, V3_1_1, V5_0, connack, connect, filter, id, want, with_subscribe};
use crate::world::{Who, World};

fn publish_all(world: &mut World, publisher: Who, topics: &[&str]) {
    for topic in topics {
        world.publish(publisher, topic, "x", QoS::AtMostOnce);
    }
    world.settle();
}

fn topics(world: &mut World, who: Who) -> Vec<String> {
    let messages = world.messages(who);
    messages
        .iter()
        .map(|message| message.topic().to_string())
        .collect()
}

#[test]
fn filters_of_the_tutorials() {
    // [5:MQTT-3.3.2-3] [3:MQTT-3.3.2-3]
    const HOME: [&str; 4] = [
        "home/bedroom/temperature",
        "home/kitchen/temperature",
        "home/dining-room/temperature",
        "home/study-room/temperature",
    ];
    const SCHOOL: [&str; 4] = [
        "school/class-1/group-1/audio",
        "school/class-1/group-2/audio",
        "school/class-2/group-1/audio",
        "school/class-2/group-2/audio",
    ];
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let rows: Vec<(Who, Vec<&str>)> = [
            ("a", "home/+/temperature", HOME.to_vec()),
            ("b", "home/#", HOME.to_vec()),
            ("c", "school/class-1/#", SCHOOL[..2].to_vec()),
            ("d", "school/+/group-1/audio", vec![SCHOOL[0], SCHOOL[2]]),
            ("e", "#", [&HOME[..], &SCHOOL[..]].concat()),
            ("f", "home/+", vec![]),
            ("g", "$SYS/#", vec!["$SYS/uptime"]),
        ]
        .into_iter()
        .map(|(name, filter, expected)| {
            (
                world.subscribed(name, version, filter, QoS::AtMostOnce),
                expected,
            )
        })
        .collect();
        let publisher = world.joined("publisher", version);
        publish_all(&mut world, publisher, &HOME);
        publish_all(&mut world, publisher, &SCHOOL);
        // [5:MQTT-4.7.2-1] [3:MQTT-4.7.2-1]
        let now = world.now;
        world
            .broker
            .publish(now, Message::new("$SYS/uptime", "1").unwrap());
        world.settle();
        for (who, expected) in rows {
            assert_eq!(topics(&mut world, who), expected, "{version}");
        }
    }
}

#[test]
fn clients_do_not_publish_what_belongs_to_the_server() {
    // [5:MQTT-4.7.2-1] and the paragraph behind it
    let mut world = World::new();
    let subscriber = world.subscribed("subscriber", V5_0, "$SYS/#", QoS::AtMostOnce);
    let publisher = world.joined("publisher", V5_0);
    world.events(publisher);
    let token = world.publish(publisher, "$SYS/fake", "x", QoS::AtLeastOnce);
    world.settle();
    let reason = ReasonCode::NotAuthorized;
    assert_eq!(
        world.events(publisher),
        [Event::Published {
            token,
            reason,
            diagnostics: Diagnostics::default()
        }]
    );
    assert_eq!(world.got(subscriber), [""; 0]);
}

#[test]
fn delivery_has_the_lower_qos_of_both() {
    // [5:MQTT-3.8.4-8] [3:MQTT-3.8.4-6]
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for version in [V3_1_1, V5_0] {
        for granted in all {
            let mut world = World::new();
            let subscriber = world.subscribed("subscriber", version, "t", granted);
            let publisher = world.joined("publisher", version);
            for published in all {
                world.publish(publisher, "t", "x", published);
                world.settle();
                let expected = format!("t=x q{}", u8::from(granted.min(published)));
                assert_eq!(
                    world.got(subscriber),
                    [expected],
                    "{version}, granted {granted}"
                );
            }
        }
    }
}

#[test]
fn what_is_retained_is_delivered_at_the_lower_qos_of_both() {
    // [5:MQTT-3.8.4-8] [3:MQTT-3.8.4-6]
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for version in [V3_1_1, V5_0] {
        for (granted, published) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            let mut world = World::new();
            let publisher = world.joined("publisher", version);
            world.publish_retained(publisher, "t", "x", published);
            world.settle();
            let late = world.joined("late", version);
            world.subscribe(late, &[want("t", granted)]);
            let expected = format!("t=x q{} retain", u8::from(granted.min(published)));
            assert_eq!(world.got(late), [expected], "{version}, granted {granted}");
        }
    }
}

#[test]
fn overlapping_subscriptions_bring_one_copy_at_the_highest_qos() {
    // [5:MQTT-3.3.4-2] [3:MQTT-3.3.5-1] [5:MQTT-3.3.4-3] [5:MQTT-3.3.4-4]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let subscriber = world.joined("subscriber", version);
        for (number, (text, qos)) in [
            ("a/b", QoS::AtMostOnce),
            ("a/+", QoS::ExactlyOnce),
            ("#", QoS::AtLeastOnce),
        ]
        .into_iter()
        .enumerate()
        {
            let id =
                SubscriptionId::new(u32::try_from(number).unwrap() + 1).filter(|_| version == V5_0);
            let filters = [want(text, qos)];
            world
                .of(subscriber)
                .subscribe_with(&filters, id, UserProperties::default())
                .unwrap();
            world.settle();
        }
        world.events(subscriber);
        let publisher = world.joined("publisher", version);
        world.publish(publisher, "a/b", "x", QoS::ExactlyOnce);
        world.settle();
        let messages = world.messages(subscriber);
        assert_eq!(messages.len(), 1, "{version}");
        assert_eq!(messages[0].qos(), QoS::ExactlyOnce);
        let mut ids: Vec<_> = messages[0]
            .properties()
            .subscription_ids
            .iter()
            .map(SubscriptionId::get)
            .collect();
        ids.sort_unstable();
        let expected: &[u32] = if version == V5_0 { &[1, 2, 3] } else { &[] };
        assert_eq!(ids, expected);
    }
}

#[test]
fn the_same_filter_again_replaces_the_subscription() {
    // [5:MQTT-3.8.4-3] [3:MQTT-3.8.4-3]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let subscriber = world.subscribed("subscriber", version, "t", QoS::AtMostOnce);
        world.subscribe(subscriber, &[want("t", QoS::ExactlyOnce)]);
        assert_eq!(world.broker.stats().subscriptions, 1);
        let publisher = world.joined("publisher", version);
        world.publish(publisher, "t", "x", QoS::ExactlyOnce);
        world.settle();
        assert_eq!(world.got(subscriber), ["t=x q2"], "{version}");
    }
}

#[test]
fn no_local_keeps_ones_own_messages_away() {
    // [5:MQTT-3.8.3-3]
    let mut world = World::new();
    let (own, other) = (world.joined("own", V5_0), world.joined("other", V5_0));
    let mut filter = want("t", QoS::AtMostOnce);
    filter.options.no_local = true;
    for who in [own, other] {
        world.subscribe(who, &[filter]);
        world.events(who);
    }
    publish_all(&mut world, own, &["t"]);
    assert_eq!((world.got(own).len(), world.got(other).len()), (0, 1));
    // Another subscription of the same client still brings it.
    world.subscribe(own, &[want("+", QoS::AtMostOnce)]);
    publish_all(&mut world, own, &["t"]);
    assert_eq!(world.got(own).len(), 1);
}

#[test]
fn unsubscribe_compares_characters_and_is_always_answered() {
    // [5:MQTT-3.10.4-1] [5:MQTT-3.10.4-4] [5:MQTT-3.11.3-1] [3:MQTT-3.10.4-1] [3:MQTT-3.10.4-5]
    let mut world = World::new();
    let subscriber = world.subscribed("subscriber", V5_0, "a/+", QoS::AtMostOnce);
    let token = world
        .of(subscriber)
        .unsubscribe(&[filter("a/b"), filter("a/+"), filter("a/+")])
        .unwrap();
    world.settle();
    let reasons = vec![
        UnsubscribeReason::NoSubscriptionExisted,
        UnsubscribeReason::Success,
        UnsubscribeReason::NoSubscriptionExisted,
    ];
    assert_eq!(
        world.events(subscriber),
        [Event::Unsubscribed {
            token,
            reasons,
            diagnostics: Diagnostics::default()
        }]
    );
    let publisher = world.joined("publisher", V5_0);
    publish_all(&mut world, publisher, &["a/b"]);
    assert_eq!(world.got(subscriber), [""; 0]);
}

#[test]
fn an_unsubscribe_does_not_stop_what_is_in_flight() {
    // [5:MQTT-3.10.4-3] [3:MQTT-3.10.4-3]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let manual = Config {
            acknowledge: Acknowledge::Manual,
            ..Config::default()
        };
        let subscriber = world.client_with("subscriber", manual);
        world.resume(subscriber, version);
        world.subscribe(subscriber, &[want("t", QoS::ExactlyOnce)]);
        world.events(subscriber);
        let (now, message) = (world.now, Message::new("t", "x").unwrap());
        world
            .broker
            .publish(now, message.with_qos(QoS::ExactlyOnce));
        world.settle();
        let events = world.events(subscriber);
        let [Event::Message { receipt, .. }] = &events[..] else {
            panic!("{version}: {events:?}");
        };
        world.of(subscriber).unsubscribe(&[filter("t")]).unwrap();
        world.settle();
        // It is sent again, as nobody has acknowledged it, and goes on from there.
        world.cut(subscriber);
        world.resume(subscriber, version);
        world.of(subscriber).ack(now, receipt.unwrap()).unwrap();
        world.settle();
        assert_eq!(world.got(subscriber), [""; 0], "{version}: not twice");
        assert_eq!(
            world.broker.stats().messages,
            0,
            "{version}: the handshake was finished"
        );
    }
}

#[test]
fn invalid_filters_end_the_connection_and_are_named() {
    // [5:MQTT-4.7.1-1] [3:MQTT-4.7.1-2] and design: DISCONNECT 0x82 in 5.0, close in 3.1.1
    for (version, expected) in [
        (V5_0, &["DISCONNECT 82", "close"][..]),
        (V3_1_1, &["close"]),
    ] {
        let mut world = World::new();
        let who = world.joined("c", version);
        let connection = world.vanish(who).unwrap();
        world.broker_events();
        let mut peer = Peer::new(version);
        peer.now = world.now;
        let mut bytes = vec![0x82, 0x00, 0x00, 0x0A];
        bytes.extend((version == V5_0).then_some(0));
        bytes.extend(b"\x00\x12school/#/group-1/#\x00");
        bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
        let mut line = (&mut world.broker, connection);
        peer.say_bytes(&mut line, &bytes);
        assert_eq!(peer.hear(&mut line), expected, "{version}");
        let named = world
            .broker_events()
            .iter()
            .any(|event| matches!(event, broker::Event::Closed { text: Some(text), .. } if text == "school/#/group-1/#"));
        assert!(named, "{version}");
    }
}

#[test]
fn invalid_filters_are_refused_before_a_byte_is_sent() {
    let error = SubscribeFilter::new("school/#/group-1/#", QoS::AtMostOnce).unwrap_err();
    assert_eq!(error.offset(), 8);
    assert!(
        error.to_string().contains("'#' must be the last level"),
        "{error}"
    );
}

#[test]
fn what_the_server_does_not_serve_is_refused_before_a_byte_is_sent() {
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    let mut answer = connack(false);
    answer.properties.wildcard_subscription_available = Some(false);
    answer.properties.subscription_id_available = Some(false);
    answer.properties.shared_subscription_available = Some(false);
    peer.say(&mut client, answer);
    let qos = QoS::AtMostOnce;
    let rows = [
        (
            want("a/+", qos),
            None,
            RequestError::WildcardSubscriptionsNotSupported,
        ),
        (
            want("$share/g/a", qos),
            None,
            RequestError::SharedSubscriptionsNotSupported,
        ),
        (
            want("a", qos),
            SubscriptionId::new(1),
            RequestError::SubscriptionIdsNotSupported,
        ),
    ];
    for (filter, id, expected) in rows {
        let found = client.subscribe_with(&[filter], id, UserProperties::default());
        assert_eq!(found, Err(expected));
    }
    assert_eq!(peer.hear(&mut client), [""; 0]);
}

/// What a server has announced not to serve, asked for all the same.
#[test]
fn what_the_server_announced_not_to_serve_ends_the_connection() {
    let config = server::Config {
        wildcard_subscription_available: false,
        subscription_id_available: false,
        shared_subscription_available: false,
        maximum_qos: QoS::AtLeastOnce,
        ..server::Config::default()
    };
    let rows: [(&str, &[u8], &str); 4] = [
        (
            "wildcard",
            b"\x82\x09\x00\x01\x00\x00\x03a/+\x00",
            "DISCONNECT A2",
        ),
        (
            "identifier",
            b"\x82\x09\x00\x01\x02\x0B\x07\x00\x01a\x00",
            "DISCONNECT A1",
        ),
        (
            "shared",
            b"\x82\x10\x00\x01\x00\x00\x0A$share/g/a\x00",
            "DISCONNECT 9E",
        ),
        ("QoS 2", b"\x34\x06\x00\x01t\x00\x01\x00", "DISCONNECT 9B"),
    ];
    for (row, bytes, expected) in rows {
        let mut world = World::with(broker::Config {
            server: config.clone(),
            ..broker::Config::default()
        });
        let who = world.joined("c", V5_0);
        let connection = world.vanish(who).unwrap();
        let mut peer = Peer::new(V5_0);
        peer.now = world.now;
        let mut line = (&mut world.broker, connection);
        peer.say_bytes(&mut line, bytes);
        assert_eq!(peer.hear(&mut line), [expected, "close"], "{row}");
    }
}

#[test]
fn subscription_identifiers_come_from_the_server_only() {
    // [5:MQTT-3.3.4-6]
    let mut world = World::new();
    let who = world.joined("c", V5_0);
    let connection = world.vanish(who).unwrap();
    let mut peer = Peer::new(V5_0);
    peer.now = world.now;
    let mut line = (&mut world.broker, connection);
    peer.say_bytes(&mut line, b"\x30\x06\x00\x01t\x02\x0B\x01");
    assert_eq!(peer.hear(&mut line), ["DISCONNECT 82", "close"]);
}

#[test]
fn one_member_of_a_group_gets_each_message() {
    // The paragraphs before [5:MQTT-4.8.2-3]: one of each group.
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let members: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .map(|name| world.subscribed(name, version, "$share/g/t/+", QoS::AtLeastOnce))
            .collect();
        let others = world.subscribed("others", version, "$share/h/t/+", QoS::AtLeastOnce);
        let plain = world.subscribed("plain", version, "t/+", QoS::AtLeastOnce);
        let publisher = world.joined("publisher", version);
        for number in 0..30 {
            world.publish(publisher, "t/1", &number.to_string(), QoS::AtLeastOnce);
        }
        world.settle();
        let counts: Vec<_> = members.iter().map(|who| world.got(*who).len()).collect();
        assert_eq!(counts, [10, 10, 10], "{version}: in turn");
        assert_eq!(
            (world.got(others).len(), world.got(plain).len()),
            (30, 30),
            "{version}"
        );
    }
}

#[test]
fn a_member_that_is_also_subscribed_by_itself_gets_both() {
    // [5:MQTT-3.3.4-5] [5:MQTT-3.3.4-3]
    let mut world = World::new();
    let who = world.joined("c", V5_0);
    for (text, id) in [("$share/g/t", 1), ("t", 2)] {
        let filters = [want(text, QoS::AtMostOnce)];
        world
            .of(who)
            .subscribe_with(&filters, SubscriptionId::new(id), UserProperties::default())
            .unwrap();
        world.settle();
    }
    world.events(who);
    let publisher = world.joined("publisher", V5_0);
    publish_all(&mut world, publisher, &["t"]);
    let messages = world.messages(who);
    let mut ids: Vec<Vec<u32>> = messages
        .iter()
        .map(|message| {
            message
                .properties()
                .subscription_ids
                .iter()
                .map(SubscriptionId::get)
                .collect()
        })
        .collect();
    ids.sort();
    assert_eq!(ids, [vec![1], vec![2]], "each with its own identifier");
}

#[test]
fn connected_members_are_preferred_and_absent_ones_still_count() {
    let mut world = World::new();
    let (here, away) = (world.client("here"), world.client("away"));
    for who in [here, away] {
        world.resume(who, V5_0);
        world.subscribe(who, &[want("$share/g/t", QoS::AtLeastOnce)]);
        world.events(who);
    }
    let publisher = world.joined("publisher", V5_0);
    world.cut(away);
    for _ in 0..4 {
        world.publish(publisher, "t", "x", QoS::AtLeastOnce);
    }
    world.settle();
    assert_eq!(world.got(here).len(), 4);
    world.cut(here);
    for _ in 0..4 {
        world.publish(publisher, "t", "y", QoS::AtLeastOnce);
    }
    world.settle();
    world.resume(here, V5_0);
    world.resume(away, V5_0);
    assert_eq!(
        world.got(here).len() + world.got(away).len(),
        4,
        "none is lost while all are away"
    );
}

#[test]
fn the_whole_text_of_a_shared_filter_is_its_name() {
    // [5:MQTT-4.8.2-2]
    let mut world = World::new();
    let who = world.subscribed("c", V5_0, "$share/g/a", QoS::AtMostOnce);
    let token = world
        .of(who)
        .unsubscribe(&[filter("a"), filter("$share/h/a"), filter("$share/g/a")])
        .unwrap();
    world.settle();
    let reasons = vec![
        UnsubscribeReason::NoSubscriptionExisted,
        UnsubscribeReason::NoSubscriptionExisted,
        UnsubscribeReason::Success,
    ];
    assert_eq!(
        world.events(who),
        [Event::Unsubscribed {
            token,
            reasons,
            diagnostics: Diagnostics::default()
        }]
    );
    assert_eq!(world.broker.stats().subscriptions, 0);
}

#[test]
fn in_3_1_1_a_shared_filter_may_be_an_ordinary_one() {
    let mut world = World::with(broker::Config {
        shared_subscriptions_in_3_1_1: false,
        ..broker::Config::default()
    });
    let who = world.subscribed("c", V3_1_1, "$share/g/t", QoS::AtMostOnce);
    let publisher = world.joined("publisher", V3_1_1);
    publish_all(&mut world, publisher, &["t"]);
    assert_eq!(world.got(who), [""; 0]);
    let now = world.now;
    world
        .broker
        .publish(now, Message::new("$share/g/t", "x").unwrap());
    world.settle();
    assert_eq!(world.got(who), ["$share/g/t=x q0"]);
}

#[test]
fn an_answer_to_nothing_ends_the_connection() {
    let peer = Peer::new(V5_0);
    let rows: [(&str, &[u8]); 3] = [
        ("SUBACK of nothing", &[0x90, 4, 0, 9, 0, 0]),
        ("UNSUBACK of nothing", &[0xB0, 4, 0, 9, 0, 0]),
        (
            "SUBACK with two codes for one filter",
            &[0x90, 5, 0, 1, 0, 0, 0],
        ),
    ];
    for (row, bytes) in rows {
        let mut client = Client::new(Config::default());
        client
            .connect(Timestamp::ZERO, &connect(V5_0, "c"))
            .unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        client.subscribe(&[want("t", QoS::AtMostOnce)]).unwrap();
        peer.hear(&mut client);
        peer.say_bytes(&mut client, bytes);
        assert_eq!(peer.hear(&mut client), ["DISCONNECT 82", "close"], "{row}");
    }
}

/// A broker that grants two filters to each session, and a client of it.
fn two_filters(
    version: mqtt_codec::ProtocolVersion,
) -> (crate::recorded::Broker, broker::ConnectionId, Peer) {
    let peer = Peer::new(version);
    let mut broker = crate::recorded::Broker::new(broker::Config {
        subscriptions_per_session_max: 2,
        ..broker::Config::default()
    });
    let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let heard = peer.ask(&mut (&mut broker, connection), connect(version, "c"));
    assert_eq!(heard, ["CONNACK 00"]);
    (broker, connection, peer)
}

fn unsubscribe(id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for filter in filters {
        body.extend(u16::try_from(filter.len()).unwrap().to_be_bytes());
        body.extend(filter.as_bytes());
    }
    body
}

#[test]
fn suback_has_a_code_for_each_filter_in_its_place() {
    // [5:MQTT-3.8.4-6] [5:MQTT-3.8.4-7] [5:MQTT-3.9.3-1] [3:MQTT-3.8.4-5] [3:MQTT-3.9.3-1]
    let filters = [
        want("a", QoS::ExactlyOnce),
        want("b", QoS::AtMostOnce),
        want("c", QoS::AtMostOnce),
        want("a", QoS::AtLeastOnce),
    ];
    // The third is one too many.
    for (version, expected) in [
        (V5_0, "SUBACK 9 02 00 97 01"),
        (V3_1_1, "SUBACK 9 02 00 80 01"),
    ] {
        let (mut broker, connection, peer) = two_filters(version);
        let heard = with_subscribe(9, &filters, |packet| {
            peer.ask(&mut (&mut broker, connection), packet)
        });
        assert_eq!(heard, [expected]);
    }
}

#[test]
fn several_filters_are_several_requests_with_one_answer() {
    // [5:MQTT-3.8.4-5] [3:MQTT-3.8.4-4] [5:MQTT-3.10.4-6] [3:MQTT-3.10.4-6]
    for version in [V3_1_1, V5_0] {
        let (mut broker, connection, peer) = two_filters(version);
        let filters = [want("a", QoS::AtMostOnce), want("b", QoS::AtMostOnce)];
        let heard = with_subscribe(9, &filters, |packet| {
            peer.ask(&mut (&mut broker, connection), packet)
        });
        assert_eq!(heard.len(), 1);
        assert_eq!(broker.stats().subscriptions, 2, "as two packets");
        let mut body = unsubscribe(10, &["a", "none", "b"]);
        if version == V5_0 {
            body.insert(2, 0);
        }
        let bytes = [&[0xA2, u8::try_from(body.len()).unwrap()][..], &body].concat();
        peer.say_bytes(&mut (&mut broker, connection), &bytes);
        let heard = peer.hear(&mut (&mut broker, connection));
        let expected = match version {
            V5_0 => "UNSUBACK 10 00 11 00",
            V3_1_1 => "UNSUBACK 10",
        };
        assert_eq!(heard, [expected]);
        assert_eq!(broker.stats().subscriptions, 0, "as three packets");
    }
}

/// In 3.1.1 it is a filter as any other, which nobody can have: answered in any case.
#[test]
fn what_is_no_shared_filter_can_be_unsubscribed_from_in_3_1_1() {
    // [3:MQTT-3.10.4-5]
    for text in ["$share/", "$share/g", "$share/g/", "$share/+/t"] {
        let (mut broker, connection, peer) = two_filters(V3_1_1);
        let filters = [want("t", QoS::AtMostOnce), want(text, QoS::AtMostOnce)];
        let heard = with_subscribe(9, &filters, |packet| {
            peer.ask(&mut (&mut broker, connection), packet)
        });
        assert_eq!(heard, ["SUBACK 9 00 80"], "{text}");
        let body = unsubscribe(10, &[text]);
        let bytes = [&[0xA2, u8::try_from(body.len()).unwrap()][..], &body].concat();
        peer.say_bytes(&mut (&mut broker, connection), &bytes);
        let heard = peer.hear(&mut (&mut broker, connection));
        assert_eq!(heard, ["UNSUBACK 10"], "{text}");
        assert_eq!(broker.stats().subscriptions, 1, "{text}");
    }
}

#[test]
fn every_request_is_answered_with_its_own_identifier() {
    // [5:MQTT-2.2.1-6] [3:MQTT-2.3.1-7] [5:MQTT-3.8.4-2] [3:MQTT-3.8.4-2] [3:MQTT-3.10.4-4]
    for version in [V3_1_1, V5_0] {
        let (mut broker, connection, peer) = two_filters(version);
        for id in [1, 300, u16::MAX, 1] {
            let heard = with_subscribe(id, &[want("a", QoS::AtMostOnce)], |packet| {
                peer.ask(&mut (&mut broker, connection), packet)
            });
            assert_eq!(heard, [format!("SUBACK {id} 00")]);
            let mut body = unsubscribe(id, &["a"]);
            if version == V5_0 {
                body.insert(2, 0);
            }
            let bytes = [&[0xA2, u8::try_from(body.len()).unwrap()][..], &body].concat();
            peer.say_bytes(&mut (&mut broker, connection), &bytes);
            let heard = peer.hear(&mut (&mut broker, connection));
            assert!(heard[0].starts_with(&format!("UNSUBACK {id}")), "{heard:?}");
        }
    }
}

#[test]
fn after_unsubscribe_nothing_new_is_queued() {
    // [5:MQTT-3.10.4-2] [3:MQTT-3.10.4-2]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let publisher = world.joined("publisher", version);
        let subscriber = world.subscribed("subscriber", version, "t", QoS::ExactlyOnce);
        world.of(subscriber).unsubscribe(&[filter("t")]).unwrap();
        world.settle();
        world.publish(publisher, "t", "x", QoS::ExactlyOnce);
        world.settle();
        assert_eq!(world.broker.stats().messages, 0, "{version}");
        assert_eq!(world.got(subscriber), [""; 0], "{version}");
    }
}

#[test]
fn replacing_a_subscription_greets_again_and_loses_nothing() {
    // [5:MQTT-3.8.4-4] [3:MQTT-3.8.4-3]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let publisher = world.joined("publisher", version);
        world.publish_retained(publisher, "t", "old", QoS::AtLeastOnce);
        let subscriber = world.subscribed("subscriber", version, "t", QoS::AtLeastOnce);
        // Accepted and not yet sent when the subscription is replaced.
        world.publish(publisher, "t", "new", QoS::AtLeastOnce);
        world
            .of(subscriber)
            .subscribe(&[want("t", QoS::AtLeastOnce)])
            .unwrap();
        world.settle();
        let got = world.got(subscriber);
        let count = |payload: &str| got.iter().filter(|it| it.as_str() == payload).count();
        assert_eq!(count("t=new q1"), 1, "{version}: {got:?}");
        assert_eq!(count("t=old q1 retain"), 1, "{version}: {got:?}");
    }
}

#[test]
fn any_qos_may_be_asked_for_whatever_may_be_published() {
    // [5:MQTT-3.2.2-10]
    let peer = Peer::new(V5_0);
    let mut broker = crate::recorded::Broker::new(broker::Config {
        server: server::Config {
            maximum_qos: QoS::AtMostOnce,
            ..server::Config::default()
        },
        ..broker::Config::default()
    });
    let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let mut line = (&mut broker, connection);
    peer.ask(&mut line, connect(V5_0, "c"));
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let filters = all.map(|qos| want(["a", "b", "c"][usize::from(u8::from(qos))], qos));
    let heard = with_subscribe(1, &filters, |packet| peer.ask(&mut line, packet));
    assert_eq!(heard, ["SUBACK 1 00 00 00"], "taken, whatever is granted");
}

#[test]
fn a_broker_without_wildcards_refuses_each_in_3_1_1() {
    // [3:MQTT-3.8.3-2]
    let peer = Peer::new(V3_1_1);
    let mut broker = crate::recorded::Broker::new(broker::Config {
        server: server::Config {
            wildcard_subscription_available: false,
            ..server::Config::default()
        },
        ..broker::Config::default()
    });
    let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let mut line = (&mut broker, connection);
    peer.ask(&mut line, connect(V3_1_1, "c"));
    let filters = ["a/+", "a", "#", "$share/g/a/#"].map(|text| want(text, QoS::AtMostOnce));
    let heard = with_subscribe(1, &filters, |packet| peer.ask(&mut line, packet));
    assert_eq!(heard, ["SUBACK 1 80 00 80 80"]);
}

#[test]
fn each_member_of_a_group_has_the_qos_that_it_was_granted() {
    // [5:MQTT-4.8.2-3]
    let mut world = World::new();
    let members = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let members = members.map(|granted| {
        let name = ["a", "b", "c"][usize::from(u8::from(granted))];
        (world.subscribed(name, V5_0, "$share/g/t", granted), granted)
    });
    let publisher = world.joined("publisher", V5_0);
    for _ in 0..6 {
        world.publish(publisher, "t", "x", QoS::ExactlyOnce);
    }
    world.settle();
    for (who, granted) in members {
        let expected = format!("t=x q{}", u8::from(granted));
        assert_eq!(world.got(who), [expected.clone(), expected]);
    }
}

#[test]
fn what_one_member_refuses_goes_to_no_other() {
    // [5:MQTT-4.8.2-6]
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let peer = Peer::new(V5_0);
        let mut broker = crate::recorded::Broker::new(broker::Config::default());
        let members = ["a", "b"].map(|name| {
            let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
            peer.ask(&mut (&mut broker, connection), connect(V5_0, name));
            with_subscribe(1, &[want("$share/g/t", qos)], |packet| {
                peer.ask(&mut (&mut broker, connection), packet)
            });
            connection
        });
        let message = Message::new("t", "x").unwrap().with_qos(qos);
        broker.publish(peer.now, message);
        let [first, second] = members.map(|it| peer.hear(&mut (&mut broker, it)).len());
        assert_eq!(first + second, 1);
        let (chosen, other) = match first {
            1 => (members[0], members[1]),
            _ => (members[1], members[0]),
        };
        let refusal = Ack::new(id(1), PublishReason::QuotaExceeded);
        let refusal = match qos {
            QoS::ExactlyOnce => Packet::PubRec(refusal),
            _ => Packet::PubAck(refusal),
        };
        assert_eq!(peer.ask(&mut (&mut broker, chosen), refusal), [""; 0]);
        // Nor when its session ends afterwards.
        broker.handle_close(peer.now, chosen);
        assert_eq!(peer.hear(&mut (&mut broker, other)), [""; 0], "{qos}");
        assert_eq!(broker.stats().messages, 0, "{qos}");
    }
}

#[test]
fn a_member_that_comes_back_gets_what_it_was_chosen_for() {
    // [5:MQTT-4.8.2-4]
    let mut world = World::new();
    let chosen = world.client("chosen");
    world.resume(chosen, V5_0);
    world.subscribe(chosen, &[want("$share/g/t", QoS::ExactlyOnce)]);
    world.events(chosen);
    let message = Message::new("t", "x").unwrap();
    let now = world.now;
    world
        .broker
        .publish(now, message.with_qos(QoS::ExactlyOnce));
    // Sent, and lost on its way.
    let connection = world.connection(chosen).unwrap();
    let mut lost = Vec::new();
    let _transmit = world.broker.poll_transmit(now, connection, 4096, &mut lost);
    assert!(!lost.is_empty());
    world.cut(chosen);
    let other = world.subscribed("other", V5_0, "$share/g/t", QoS::ExactlyOnce);
    world.pass_secs(10);
    assert_eq!(world.got(other), [""; 0]);
    world.resume(chosen, V5_0);
    assert_eq!(world.got(chosen), ["t=x q2"]);
    assert_eq!(world.got(other), [""; 0]);
    assert_eq!(world.broker.stats().messages, 0, "completed");
}

/// A filter that looks like a shared one is an ordinary one for a 3.1.1 client, where the configuration says
/// so; it can be taken away all the same.
#[test]
fn an_ordinary_filter_that_looks_like_a_shared_one_is_taken_away() {
    for (row, shared, version) in [
        ("3.1.1", false, V3_1_1),
        ("3.1.1 as in other brokers", true, V3_1_1),
        ("5.0", false, V5_0),
    ] {
        let mut world = World::with(broker::Config {
            shared_subscriptions_in_3_1_1: shared,
            ..broker::Config::default()
        });
        let who = world.subscribed("c", version, "$share/g/t", QoS::AtMostOnce);
        let ordinary = usize::from(!shared && version == V3_1_1);
        let filter = filter("$share/g/t");
        for (topic, expected) in [("$share/g/t", ordinary), ("t", 1 - ordinary)] {
            let message = Message::new(topic, "m").unwrap();
            world.broker.publish(world.now, message);
            world.settle();
            assert_eq!(world.got(who).len(), expected, "{row}: {topic}");
        }
        assert!(world.broker.revoke("c", filter), "{row}");
        assert!(!world.broker.revoke("c", filter), "{row}: once");
        assert!(!world.broker.revoke("nobody", filter), "{row}");
        assert_eq!(world.broker.stats().subscriptions, 0, "{row}");
    }
}

/// A message that is too large for one member of a shared subscription goes to one that takes it, whatever the policy;
/// with none it is dropped.
#[test]
fn a_member_gets_no_message_that_is_too_large_for_it() {
    // [5:MQTT-3.1.2-24]
    let policies = [
        SharedPolicy::RoundRobin,
        SharedPolicy::ByPublisher,
        SharedPolicy::LeastBusy,
    ];
    let large = "x".repeat(100);
    for policy in policies {
        for (row, others, gone, expected) in [
            ("one takes it", &["large"][..], false, 4),
            ("nobody else", &[], false, 0),
            ("one that is away", &["large"], true, 4),
            ("none of two", &["small too"], false, 0),
        ] {
            let mut hall = Hall::new(
                V5_0,
                broker::Config {
                    shared_policy: policy,
                    ..broker::Config::default()
                },
            );
            let mut come = |name: &str| {
                let mut packet = connect(V5_0, name);
                packet.properties.session_expiry_secs = Some(100);
                if name != "large" {
                    packet.properties.packet_size_max = NonZeroU32::new(60);
                }
                let (id, heard) = hall.enter(packet);
                assert_eq!(heard, ["CONNACK 00"]);
                let filters = [want("$share/g/t", QoS::AtLeastOnce)];
                with_subscribe(1, &filters, |packet| hall.say(id, packet));
                assert_eq!(hall.hear(id), ["SUBACK 1 01"]);
                id
            };
            let small = come("small");
            let others: Vec<_> = others.iter().map(|name| come(name)).collect();
            if gone {
                hall.broker.handle_close(hall.peer.now, others[0]);
            }
            hall.events();
            for _ in 0..4 {
                let message = Message::new("t", large.clone()).unwrap();
                let message = message.with_qos(QoS::AtLeastOnce);
                hall.broker.publish(hall.peer.now, message);
            }
            let heard = hall.hear(small).len();
            assert_eq!(heard, 0, "{policy:?}, {row}");
            let got = match others[..] {
                [_] if gone => hall.broker.session("large").unwrap().waiting_len,
                [other] => hall.hear(other).len(),
                _ => 0,
            };
            assert_eq!(got, expected, "{policy:?}, {row}");
            let dropped = hall.events().into_iter().filter(|event| {
                let cause = DropCause::TooLarge;
                matches!(event, broker::Event::Dropped { cause: found, .. } if *found == cause)
            });
            assert_eq!(dropped.count(), 4 - expected, "{policy:?}, {row}");
            // What fits goes round as before.
            for _ in 0..2 {
                hall.publish("t", "x", QoS::AtLeastOnce);
            }
            let turns = hall.hear(small).len();
            assert!(
                turns >= usize::from(policy == SharedPolicy::RoundRobin),
                "{row}"
            );
        }
    }
}

/// So does one that comes back from a member whose session has ended.
#[test]
fn what_a_member_leaves_behind_goes_to_one_that_takes_it() {
    let mut hall = Hall::new(V5_0, broker::Config::default());
    let mut come = |name: &str, size_max: Option<u32>| {
        let mut packet = connect(V5_0, name);
        packet.properties.packet_size_max = size_max.and_then(NonZeroU32::new);
        packet.properties.receive_maximum = NonZeroU16::new(1);
        let (id, _) = hall.enter(packet);
        let filters = [want("$share/g/t", QoS::AtLeastOnce)];
        with_subscribe(1, &filters, |packet| hall.say(id, packet));
        hall.hear(id);
        id
    };
    let leaves = come("a leaves", None);
    let message = || Message::new("t", "x".repeat(100)).unwrap();
    let small = come("b small", Some(60));
    come("c large", None);
    for _ in 0..4 {
        let message = message().with_qos(QoS::AtLeastOnce);
        hall.broker.publish(hall.peer.now, message);
    }
    assert_eq!(hall.broker.session("a leaves").unwrap().waiting_len, 2);
    hall.broker.handle_close(hall.peer.now, leaves);
    hall.events();
    assert_eq!(hall.hear(small), [""; 0]);
    let waiting_len = hall.broker.session("c large").unwrap().waiting_len;
    let in_flight_len = hall.broker.session("c large").unwrap().in_flight_len;
    assert_eq!(waiting_len + in_flight_len, 4);
    let dropped = hall.events().into_iter();
    let dropped = dropped.filter(|event| matches!(event, broker::Event::Dropped { .. }));
    assert_eq!(dropped.count(), 0);
}
