//! Sessions that outlive their connections: what was in flight is completed, once and in order.

use mqtt_codec::{Ack, Connect, Message, Packet, ProtocolVersion, QoS, ReasonCode, ReleaseReason};
use mqtt_state::broker;
use mqtt_state::client::{Config, Event, LostCause};

use crate::recorded::Client;
use crate::wire::{
    Peer, V3_1_1, V5_0, connack, id, puback, pubcomp, publish, pubrec, pubrel, text, want,
};
use crate::world::{Who, World};

const MESSAGES: usize = 6;

/// A publisher with messages to send, and a subscriber; sessions are kept.
fn conversation(version: ProtocolVersion, qos: QoS) -> (World, Who, Who) {
    let mut world = World::new();
    let (publisher, subscriber) = (world.client("publisher"), world.client("subscriber"));
    world.resume(publisher, version);
    world.resume(subscriber, version);
    world.subscribe(subscriber, &[want("t", QoS::ExactlyOnce)]);
    world.events(publisher);
    world.events(subscriber);
    for number in 0..MESSAGES {
        world.publish(publisher, "t", &number.to_string(), qos);
    }
    (world, publisher, subscriber)
}

fn payloads(events: &[Event]) -> Vec<usize> {
    let payload = |event: &Event| match event {
        Event::Message { message, .. } => Some(
            core::str::from_utf8(message.payload())
                .unwrap()
                .parse()
                .unwrap(),
        ),
        _ => None,
    };
    events.iter().filter_map(payload).collect()
}

fn published(events: &[Event]) -> usize {
    let done = |event: &&Event| {
        matches!(
            event,
            Event::Published {
                reason: ReasonCode::Success,
                ..
            }
        )
    };
    events.iter().filter(done).count()
}

/// Cuts one connection after every number of packets that the conversation has, and lets the
/// client come back.
fn cut_everywhere(version: ProtocolVersion, qos: QoS, cuts_publisher: bool) {
    let (mut world, ..) = conversation(version, qos);
    let before = world.packets;
    world.settle();
    let total = world.packets - before;
    for packets in 0..=total {
        let row = format!("{version} {qos}, cut after {packets}, publisher: {cuts_publisher}");
        let (mut world, publisher, subscriber) = conversation(version, qos);
        world.settle_for(packets);
        let who = if cuts_publisher {
            publisher
        } else {
            subscriber
        };
        world.cut(who);
        world.resume(who, version);
        let (of_publisher, of_subscriber) = (world.events(publisher), world.events(subscriber));
        let of_cut = if cuts_publisher {
            &of_publisher
        } else {
            &of_subscriber
        };
        assert!(
            of_cut.contains(&Event::Connected {
                session_present: true
            }),
            "{row}"
        );

        // [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] In order; QoS 1 perhaps again, QoS 2 never.
        let got = payloads(&of_subscriber);
        let mut seen = Vec::new();
        for number in &got {
            if !seen.contains(number) {
                seen.push(*number);
            }
        }
        assert_eq!(seen, (0..MESSAGES).collect::<Vec<_>>(), "{row}: {got:?}");
        if qos == QoS::ExactlyOnce {
            assert_eq!(got.len(), MESSAGES, "{row}: {got:?}");
        }
        assert_eq!(published(&of_publisher), MESSAGES, "{row}: each told once");
        assert_eq!(world.of(publisher).in_flight_len(), 0, "{row}");
        assert_eq!(world.broker.stats().messages, 0, "{row}: nothing is kept");
    }
}

#[test]
fn qos_1_survives_a_cut_of_the_publisher_at_every_packet() {
    cut_everywhere(V3_1_1, QoS::AtLeastOnce, true);
    cut_everywhere(V5_0, QoS::AtLeastOnce, true);
}

#[test]
fn qos_1_survives_a_cut_of_the_subscriber_at_every_packet() {
    cut_everywhere(V3_1_1, QoS::AtLeastOnce, false);
    cut_everywhere(V5_0, QoS::AtLeastOnce, false);
}

#[test]
fn qos_2_survives_a_cut_of_the_publisher_at_every_packet() {
    cut_everywhere(V3_1_1, QoS::ExactlyOnce, true);
    cut_everywhere(V5_0, QoS::ExactlyOnce, true);
}

#[test]
fn qos_2_survives_a_cut_of_the_subscriber_at_every_packet() {
    cut_everywhere(V3_1_1, QoS::ExactlyOnce, false);
    cut_everywhere(V5_0, QoS::ExactlyOnce, false);
}

#[test]
fn a_subscriber_that_comes_back_gets_what_it_missed() {
    // [5:MQTT-3.1.2-5] [3:MQTT-3.1.2-5] [5:MQTT-4.5.0-1] [3:MQTT-4.5.0-1]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let (publisher, subscriber) = (
            world.joined("publisher", version),
            world.client("subscriber"),
        );
        world.resume(subscriber, version);
        world.subscribe(subscriber, &[want("t/+", QoS::ExactlyOnce)]);
        world.disconnect(subscriber);
        world.events(subscriber);
        for (topic, qos) in [
            ("t/0", QoS::AtMostOnce),
            ("t/1", QoS::AtLeastOnce),
            ("t/2", QoS::ExactlyOnce),
        ] {
            world.publish(publisher, topic, "missed", qos);
        }
        world.settle();
        assert_eq!(
            world.broker.stats().messages,
            2,
            "QoS 0 waits for nobody who is away"
        );
        world.resume(subscriber, version);
        assert_eq!(
            world.got(subscriber),
            ["t/1=missed q1", "t/2=missed q2"],
            "{version}"
        );
        assert_eq!(world.broker.stats().messages, 0);
    }
}

/// A client with QoS 1 as 1 and 3, QoS 2 as 2 and 4 in flight, of which 4 and 2 got PUBREC, and
/// one message that never left, whose connection is lost.
fn interrupted(version: ProtocolVersion) -> (Client, Peer) {
    let peer = Peer::new(version);
    let mut client = Client::new(Config {
        in_flight_max: 4,
        ..Config::default()
    });
    client.connect(peer.now, &resuming(version)).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    for (payload, qos) in [
        ("a", QoS::AtLeastOnce),
        ("b", QoS::ExactlyOnce),
        ("c", QoS::AtLeastOnce),
        ("d", QoS::ExactlyOnce),
        ("e", QoS::AtLeastOnce),
    ] {
        let message = Message::new("t", payload).unwrap().with_qos(qos);
        client.publish(peer.now, message).unwrap();
    }
    let heard = peer.hear(&mut client);
    assert_eq!(heard.len(), 4, "{heard:?}");
    peer.say(&mut client, pubrec(4));
    peer.say(&mut client, pubrec(2));
    client.handle_close(peer.now);
    (client, peer)
}

fn resuming(version: ProtocolVersion) -> Connect<'static> {
    let mut connect = Connect {
        clean_start: false,
        keep_alive_secs: 0,
        ..Connect::new(version, text("c"))
    };
    if version == V5_0 {
        connect.properties.session_expiry_secs = Some(100);
    }
    connect
}

#[test]
fn redelivery_has_the_order_of_the_standard() {
    // [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1] [5:MQTT-4.6.0-4] [3:MQTT-4.6.0-4]
    // Client: [5:MQTT-4.4.0-1]
    for version in [V3_1_1, V5_0] {
        let (mut client, peer) = interrupted(version);
        client.connect(peer.now, &resuming(version)).unwrap();
        peer.hear(&mut client);
        let heard = peer.ask(&mut client, connack(true));
        let expected = [
            "PUBREL 4 00",
            "PUBREL 2 00",
            "PUBLISH t=a q1 id1 dup",
            "PUBLISH t=c q1 id3 dup",
            "PUBLISH t=e q1 id5",
        ];
        assert_eq!(heard, expected, "{version}");
        for packet in [puback(1), puback(3), puback(5), pubcomp(4), pubcomp(2)] {
            assert_eq!(peer.ask(&mut client, packet), [""; 0]);
        }
        assert_eq!(client.in_flight_len(), 0);
    }
}

#[test]
fn a_pubcomp_for_a_forgotten_identifier_completes_the_publish() {
    let (mut client, peer) = interrupted(V5_0);
    while client.poll_event().is_some() {}
    client.connect(peer.now, &resuming(V5_0)).unwrap();
    peer.hear(&mut client);
    peer.ask(&mut client, connack(true));
    let forgotten = Ack::new(id(2), ReleaseReason::PacketIdNotFound);
    peer.say(&mut client, Packet::PubComp(forgotten));
    let reasons: Vec<_> = core::iter::from_fn(|| client.poll_event())
        .filter_map(|event| match event {
            Event::Published { reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [ReasonCode::Success]);
}

#[test]
fn on_a_live_connection_nothing_is_sent_again() {
    // [5:MQTT-4.4.0-1]
    let (mut client, mut peer) = interrupted(V5_0);
    client.connect(peer.now, &resuming(V5_0)).unwrap();
    peer.hear(&mut client);
    assert_eq!(peer.ask(&mut client, connack(true)).len(), 5);
    for _ in 0..100 {
        peer.now = peer.now + core::time::Duration::from_secs(60);
        client.handle_timeout(peer.now);
        assert_eq!(peer.hear(&mut client), [""; 0]);
    }
}

#[test]
fn what_was_in_flight_is_lost_with_the_session_and_what_waited_is_not() {
    // [5:MQTT-3.2.2-5]
    for version in [V3_1_1, V5_0] {
        let (mut client, peer) = interrupted(version);
        while client.poll_event().is_some() {}
        client.connect(peer.now, &resuming(version)).unwrap();
        peer.hear(&mut client);
        let heard = peer.ask(&mut client, connack(false));
        assert_eq!(heard, ["PUBLISH t=e q1 id5"], "{version}: identifiers rest");
        let lost: Vec<_> = core::iter::from_fn(|| client.poll_event())
            .filter_map(|event| match event {
                Event::PublishLost {
                    message,
                    cause: LostCause::SessionLost,
                    ..
                } => Some(message.map(|message| message.payload().to_vec())),
                _ => None,
            })
            .collect();
        let message = |payload: &[u8]| Some(payload.to_vec());
        assert_eq!(
            lost,
            [None, None, message(b"a"), message(b"c")],
            "{version}: PUBREC made two the server's"
        );
    }
}

#[test]
fn qos_2_identifiers_are_known_after_a_reconnect() {
    // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2] The repetition is answered, and delivered no second time.
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let mut client = Client::new(Config::default());
        client.connect(peer.now, &resuming(version)).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        peer.say(&mut client, publish("t", "x", QoS::ExactlyOnce, 5));
        client.handle_close(peer.now);
        client.connect(peer.now, &resuming(version)).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(true));
        let again = peer.ask(&mut client, publish("t", "x", QoS::ExactlyOnce, 5));
        assert_eq!(again, ["PUBREC 5 00"], "{version}");
        assert_eq!(peer.ask(&mut client, pubrel(5)), ["PUBCOMP 5 00"]);
        let events: Vec<_> = core::iter::from_fn(|| client.poll_event()).collect();
        let messages = events
            .iter()
            .filter(|event| matches!(event, Event::Message { .. }))
            .count();
        assert_eq!(messages, 1, "{version}");
    }
}

#[test]
fn requests_end_with_their_connection() {
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    client.connect(peer.now, &resuming(V5_0)).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    let token = client.subscribe(&[want("t", QoS::AtMostOnce)]).unwrap();
    assert_eq!(peer.hear(&mut client), ["SUBSCRIBE 1"]);
    client.handle_close(peer.now);
    let events: Vec<_> = core::iter::from_fn(|| client.poll_event()).collect();
    assert!(events.contains(&Event::RequestLost { token }), "{events:?}");
    client.connect(peer.now, &resuming(V5_0)).unwrap();
    peer.hear(&mut client);
    assert_eq!(
        peer.ask(&mut client, connack(true)),
        [""; 0],
        "not sent again"
    );
}

#[test]
fn a_clean_start_forgets_the_session_on_both_sides() {
    // [5:MQTT-3.1.2-4] [3:MQTT-3.1.2-6]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let (publisher, subscriber) = (
            world.joined("publisher", version),
            world.client("subscriber"),
        );
        world.resume(subscriber, version);
        world.subscribe(subscriber, &[want("t", QoS::AtLeastOnce)]);
        world.cut(subscriber);
        world.publish(publisher, "t", "missed", QoS::AtLeastOnce);
        world.settle();
        world.events(subscriber);
        world.join(subscriber, version);
        assert_eq!(
            world.events(subscriber),
            [Event::Connected {
                session_present: false
            }]
        );
        world.publish(publisher, "t", "new", QoS::AtLeastOnce);
        world.settle();
        assert_eq!(
            world.got(subscriber),
            [""; 0],
            "{version}: not subscribed any more"
        );
        assert_eq!(world.broker.stats().messages, 0);
    }
}

#[test]
fn without_an_expiry_the_session_ends_with_the_connection() {
    // [5:MQTT-3.1.2-23] [3:MQTT-3.1.2-6]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let subscriber = world.subscribed("subscriber", version, "t", QoS::AtLeastOnce);
        assert_eq!(world.broker.stats().sessions, 1);
        world.cut(subscriber);
        assert_eq!(world.broker.stats().sessions, 0);
        assert_eq!(world.broker.stats().subscriptions, 0);
        let ended = world
            .broker_events()
            .iter()
            .any(|event| matches!(event, broker::Event::SessionEnded { client_id } if &**client_id == "subscriber"));
        assert!(ended, "{version}");
    }
}

#[test]
fn a_disconnect_may_shorten_the_life_of_the_session() {
    // [5:MQTT-3.1.2-23]
    let mut world = World::new();
    let who = world.client("c");
    world.resume(who, V5_0);
    let now = world.now;
    let mut goodbye = crate::wire::disconnect(mqtt_codec::DisconnectReason::NormalDisconnection);
    goodbye.properties.session_expiry_secs = Some(0);
    world.of(who).disconnect_with(now, &goodbye).unwrap();
    world.settle();
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn a_disconnect_must_not_begin_a_life_that_connect_did_not_ask_for() {
    // [5:MQTT-3.14.2-2] by way of 3.14.2.2.2: 0x82, and it is no valid DISCONNECT.
    let mut world = World::new();
    let who = world.joined("c", V5_0);
    let connection = world.vanish(who).unwrap();
    let mut goodbye = crate::wire::disconnect(mqtt_codec::DisconnectReason::NormalDisconnection);
    goodbye.properties.session_expiry_secs = Some(10);
    let mut peer = Peer::new(V5_0);
    peer.now = world.now;
    let heard = peer.ask(&mut (&mut world.broker, connection), Packet::from(goodbye));
    assert_eq!(heard, ["DISCONNECT 82", "close"]);
    assert_eq!(world.broker.stats().sessions, 0);
}

#[test]
fn with_the_session_the_identifiers_of_qos_2_are_forgotten() {
    // [5:MQTT-3.2.2-5] What was received in a session that is lost is new in the next.
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    for _ in 0..2 {
        client.connect(peer.now, &resuming(V5_0)).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        peer.say(&mut client, publish("t", "x", QoS::ExactlyOnce, 5));
        client.handle_close(peer.now);
    }
    let messages = core::iter::from_fn(|| client.poll_event())
        .filter(|event| matches!(event, Event::Message { .. }))
        .count();
    assert_eq!(messages, 2);
}

/// The session expiry of CONNECT, that of DISCONNECT, and whether the client may say it.
#[test]
fn a_client_does_not_raise_the_expiry_at_its_goodbye() {
    // [5:MQTT-3.14.2-2] by way of 3.14.2.2.2
    let rows = [
        (None, Some(0), true),
        (None, Some(1), false),
        (Some(100), Some(0), true),
        (Some(100), Some(200), true),
        (Some(0), Some(1), false),
        (Some(0), None, true),
    ];
    for (of_connect, of_disconnect, allowed) in rows {
        let peer = Peer::new(V5_0);
        let mut client = Client::new(Config::default());
        let mut packet = resuming(V5_0);
        packet.properties.session_expiry_secs = of_connect;
        client.connect(peer.now, &packet).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        let message = Message::new("t", "x").unwrap().with_qos(QoS::AtLeastOnce);
        client.publish(peer.now, message).unwrap();
        peer.hear(&mut client);
        let mut goodbye =
            crate::wire::disconnect(mqtt_codec::DisconnectReason::NormalDisconnection);
        goodbye.properties.session_expiry_secs = of_disconnect;
        let result = client.disconnect_with(peer.now, &goodbye);
        assert_eq!(result.is_ok(), allowed, "{of_connect:?}, {of_disconnect:?}");
        if allowed {
            let survives = of_disconnect.or(of_connect).unwrap_or(0) > 0;
            let kept = client.in_flight_len() == 1;
            assert_eq!(kept, survives, "{of_connect:?}, {of_disconnect:?}");
        }
    }
}

#[test]
fn a_clean_start_of_3_1_1_keeps_nothing() {
    for clean_start in [true, false] {
        let peer = Peer::new(V3_1_1);
        let mut client = Client::new(Config::default());
        let packet = Connect {
            clean_start,
            ..resuming(V3_1_1)
        };
        client.connect(peer.now, &packet).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        let message = Message::new("t", "x").unwrap().with_qos(QoS::AtLeastOnce);
        client.publish(peer.now, message).unwrap();
        peer.hear(&mut client);
        client.handle_close(peer.now);
        assert_eq!(client.in_flight_len(), usize::from(!clean_start));
    }
}

/// Found by cutting connections at random: the server had made a session, and its CONNACK was lost.
#[test]
fn a_connack_that_was_lost_may_have_made_a_session() {
    // [5:MQTT-3.2.2-4]
    let peer = Peer::new(V5_0);
    let mut resuming = Connect::new(V5_0, text("c"));
    resuming.clean_start = false;
    resuming.properties.session_expiry_secs = Some(1000);
    for is_sent in [true, false] {
        let mut client = Client::new(Config::default());
        client.connect(peer.now, &resuming).unwrap();
        if is_sent {
            peer.hear(&mut client);
        }
        client.handle_close(peer.now);
        // One that never left changes nothing.
        for _ in 0..2 {
            client.connect(peer.now, &resuming).unwrap();
            client.handle_close(peer.now);
        }
        client.connect(peer.now, &resuming).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(true));
        let connected = core::iter::from_fn(|| client.poll_event()).any(|event| {
            event
                == Event::Connected {
                    session_present: true,
                }
        });
        assert_eq!(connected, is_sent, "a session of nobody is not taken");
    }
}

/// A server may keep no session that ends with its connection: one that it claims to have is not this client's.
#[test]
fn a_connack_that_was_lost_makes_no_session_that_was_not_to_stay() {
    // [5:MQTT-3.2.2-4]
    let peer = Peer::new(V5_0);
    let mut resuming = Connect::new(V5_0, text("c"));
    resuming.clean_start = false;
    for (expiry_secs, is_taken) in [(None, false), (Some(0), false), (Some(1), true)] {
        resuming.properties.session_expiry_secs = expiry_secs;
        let mut client = Client::new(Config::default());
        client.connect(peer.now, &resuming).unwrap();
        peer.hear(&mut client);
        client.handle_close(peer.now);
        client.connect(peer.now, &resuming).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(true));
        let connected = Event::Connected {
            session_present: true,
        };
        let is_connected = core::iter::from_fn(|| client.poll_event()).any(|it| it == connected);
        assert_eq!(is_connected, is_taken, "{expiry_secs:?}");
    }
}
