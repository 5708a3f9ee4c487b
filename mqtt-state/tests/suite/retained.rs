//! Retained messages: what is kept, who is greeted with it, and what is not.

use mqtt_codec::{Message, PublishProperties, QoS, RetainHandling, SubscriptionId};
use mqtt_state::{broker, server};

use crate::hall::Hall;
use crate::wire::{V3_1_1, V5_0, publish, want};
use crate::world::World;

#[test]
fn a_late_subscriber_is_greeted_with_the_last_value() {
    // [5:MQTT-3.3.1-5] [3:MQTT-3.3.1-5] [3:MQTT-3.3.1-6] [3:MQTT-3.3.1-8]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let publisher = world.joined("publisher", version);
        world.publish_retained(publisher, "house/light", "off", QoS::AtLeastOnce);
        world.publish_retained(publisher, "house/light", "on", QoS::AtLeastOnce);
        world.publish_retained(publisher, "house/door", "open", QoS::ExactlyOnce);
        world.publish(publisher, "house/door", "not retained", QoS::AtLeastOnce);
        world.settle();
        let subscriber = world.joined("subscriber", version);
        world.subscribe(subscriber, &[want("house/+", QoS::AtLeastOnce)]);
        let expected = ["house/light=on q1 retain", "house/door=open q1 retain"];
        assert_eq!(world.got(subscriber), expected, "{version}");
    }
}

#[test]
fn established_subscribers_see_no_retain_flag() {
    // [5:MQTT-3.3.1-12] [3:MQTT-3.3.1-9]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let subscriber = world.subscribed("subscriber", version, "t", QoS::AtLeastOnce);
        let publisher = world.joined("publisher", version);
        world.publish_retained(publisher, "t", "x", QoS::AtLeastOnce);
        assert_eq!(world.got(subscriber), ["t=x q1"], "{version}");
    }
}

#[test]
fn an_empty_payload_removes_and_is_itself_an_ordinary_message() {
    // [5:MQTT-3.3.1-6] [5:MQTT-3.3.1-7] [3:MQTT-3.3.1-10] [3:MQTT-3.3.1-11]
    for version in [V3_1_1, V5_0] {
        let mut world = World::new();
        let early = world.subscribed("early", version, "t", QoS::AtMostOnce);
        let publisher = world.joined("publisher", version);
        world.publish_retained(publisher, "t", "x", QoS::AtMostOnce);
        world.publish_retained(publisher, "t", "", QoS::AtMostOnce);
        assert_eq!(world.got(early), ["t=x q0", "t= q0"], "{version}");
        assert_eq!(world.broker.stats().retained, 0);
        assert_eq!(world.broker.stats().messages, 0);
        let late = world.subscribed("late", version, "t", QoS::AtMostOnce);
        assert_eq!(world.got(late), [""; 0]);
    }
}

#[test]
fn retained_messages_outlive_their_publisher() {
    // [3:MQTT-3.1.2-7]
    let mut world = World::new();
    let publisher = world.joined("publisher", V3_1_1);
    world.publish_retained(publisher, "t", "x", QoS::AtLeastOnce);
    world.cut(publisher);
    assert_eq!(world.broker.stats().sessions, 0);
    let late = world.joined("late", V3_1_1);
    world.subscribe(late, &[want("t", QoS::AtMostOnce)]);
    assert_eq!(world.got(late), ["t=x q0 retain"]);
}

/// Retain handling, and what the first and the second subscription to the same filter bring.
#[test]
fn retain_handling_says_when_to_greet() {
    // [5:MQTT-3.3.1-9] [5:MQTT-3.3.1-10] [5:MQTT-3.3.1-11]
    let rows = [
        (RetainHandling::Send, 1, 1),
        (RetainHandling::SendIfNew, 1, 0),
        (RetainHandling::DoNotSend, 0, 0),
    ];
    for (handling, first, second) in rows {
        let mut world = World::new();
        let publisher = world.joined("publisher", V5_0);
        world.publish_retained(publisher, "t", "x", QoS::AtMostOnce);
        let subscriber = world.joined("subscriber", V5_0);
        let mut filter = want("t", QoS::AtMostOnce);
        filter.options.retain_handling = handling;
        world.subscribe(subscriber, &[filter]);
        assert_eq!(world.got(subscriber).len(), first, "{handling:?}");
        world.subscribe(subscriber, &[filter]);
        assert_eq!(world.got(subscriber).len(), second, "{handling:?}");
    }
}

#[test]
fn retain_as_published_keeps_the_flag() {
    // [5:MQTT-3.3.1-13]
    let mut world = World::new();
    let subscriber = world.joined("subscriber", V5_0);
    let mut filter = want("t", QoS::AtMostOnce);
    filter.options.retain_as_published = true;
    world.subscribe(subscriber, &[filter]);
    let publisher = world.joined("publisher", V5_0);
    world.publish_retained(publisher, "t", "x", QoS::AtMostOnce);
    world.publish(publisher, "t", "y", QoS::AtMostOnce);
    world.settle();
    assert_eq!(world.got(subscriber), ["t=x q0 retain", "t=y q0"]);
}

#[test]
fn shared_subscriptions_are_never_greeted() {
    // Section 3.8.4: no retained messages on a shared subscription.
    let mut world = World::new();
    let publisher = world.joined("publisher", V5_0);
    world.publish_retained(publisher, "t", "x", QoS::AtMostOnce);
    let member = world.joined("member", V5_0);
    world.subscribe(member, &[want("$share/g/t", QoS::AtMostOnce)]);
    assert_eq!(world.got(member), [""; 0]);
}

#[test]
fn the_greeting_carries_the_identifier_of_its_subscription() {
    // [5:MQTT-3.3.4-3]
    let mut world = World::new();
    let publisher = world.joined("publisher", V5_0);
    world.publish_retained(publisher, "t", "x", QoS::AtMostOnce);
    let subscriber = world.joined("subscriber", V5_0);
    let id = SubscriptionId::new(300);
    let filters = [want("t", QoS::AtMostOnce)];
    world
        .of(subscriber)
        .subscribe_with(&filters, id, mqtt_codec::UserProperties::default())
        .unwrap();
    world.settle();
    let messages = world.messages(subscriber);
    let ids: Vec<_> = messages[0].properties().subscription_ids.iter().collect();
    assert_eq!(ids, [id.unwrap()]);
}

#[test]
fn a_retained_message_expires() {
    // [5:MQTT-3.3.2-5] [5:MQTT-3.3.2-6]
    let mut world = World::new();
    let publisher = world.joined("publisher", V5_0);
    let properties = PublishProperties {
        message_expiry_secs: Some(10),
        ..PublishProperties::default()
    };
    let message = Message::new("t", "x").unwrap().with_retain(true);
    world.send(publisher, message.with_properties(&properties).unwrap());
    world.pass_secs(4);
    let early = world.joined("early", V5_0);
    world.subscribe(early, &[want("t", QoS::AtMostOnce)]);
    let messages = world.messages(early);
    assert_eq!(
        messages[0].properties().message_expiry_secs,
        Some(6),
        "less the time it waited"
    );
    world.pass_secs(6);
    assert_eq!(
        world.broker.stats().retained,
        0,
        "gone without anybody asking"
    );
    assert_eq!(world.broker.stats().messages, 0);
    let late = world.joined("late", V5_0);
    world.subscribe(late, &[want("t", QoS::AtMostOnce)]);
    assert_eq!(world.got(late), [""; 0]);
}

#[test]
fn a_newer_value_is_not_removed_by_the_expiry_of_the_older() {
    let mut world = World::new();
    let publisher = world.joined("publisher", V5_0);
    let properties = PublishProperties {
        message_expiry_secs: Some(10),
        ..PublishProperties::default()
    };
    let message = Message::new("t", "old").unwrap().with_retain(true);
    world.send(publisher, message.with_properties(&properties).unwrap());
    world.settle();
    world.publish_retained(publisher, "t", "new", QoS::AtMostOnce);
    world.pass_secs(20);
    assert_eq!(world.broker.stats().retained, 1);
    let late = world.joined("late", V5_0);
    world.subscribe(late, &[want("t", QoS::AtMostOnce)]);
    assert_eq!(world.got(late), ["t=new q0 retain"]);
}

#[test]
fn more_retained_messages_than_may_wait_arrive_in_slices() {
    for chunk in [16, 4096, 1 << 20] {
        let mut world = World::with(broker::Config {
            server: server::Config {
                waiting_len_max: 10,
                ..server::Config::default()
            },
            ..broker::Config::default()
        });
        world.chunk = chunk;
        let publisher = world.joined("publisher", V5_0);
        for number in 0..500 {
            let topic = format!("t/{number:03}");
            world.publish_retained(publisher, &topic, "x", QoS::AtMostOnce);
        }
        for (name, qos) in [("a", QoS::AtMostOnce), ("b", QoS::AtLeastOnce)] {
            let subscriber = world.joined(name, V5_0);
            world.subscribe(subscriber, &[want("t/#", qos)]);
            let got = world.got(subscriber);
            let expected = (0..500).map(|number| format!("t/{number:03}=x q0 retain"));
            assert!(
                got.into_iter().eq(expected),
                "all, in order, none dropped: {chunk}"
            );
        }
    }
}

#[test]
fn at_the_limit_a_message_is_not_retained_but_delivered() {
    let mut world = World::with(broker::Config {
        retained_len_max: 1,
        ..broker::Config::default()
    });
    let subscriber = world.subscribed("subscriber", V5_0, "#", QoS::AtMostOnce);
    let publisher = world.joined("publisher", V5_0);
    world.publish_retained(publisher, "a", "1", QoS::AtMostOnce);
    world.publish_retained(publisher, "b", "2", QoS::AtMostOnce);
    assert_eq!(world.got(subscriber), ["a=1 q0", "b=2 q0"]);
    let told = world
        .broker_events()
        .iter()
        .any(|event| matches!(event, broker::Event::NotRetained { topic } if topic == "b"));
    assert!(told);
    assert_eq!(
        (world.broker.stats().retained, world.broker.stats().messages),
        (1, 1)
    );
}

#[test]
fn a_server_that_does_not_retain_ends_the_connection() {
    // [5:MQTT-3.2.2-14] and 0x9A; a client of ours does not send it.
    let mut world = World::with(broker::Config {
        server: server::Config {
            retain_available: false,
            ..server::Config::default()
        },
        ..broker::Config::default()
    });
    let who = world.joined("c", V5_0);
    let now = world.now;
    let message = Message::new("t", "x").unwrap().with_retain(true);
    assert!(world.of(who).publish(now, message).is_err());
    let connection = world.vanish(who).unwrap();
    let mut peer = crate::wire::Peer::new(V5_0);
    peer.now = now;
    let mut packet = publish("t", "x", QoS::AtMostOnce, 0);
    packet.retain = true;
    let heard = peer.ask(&mut (&mut world.broker, connection), packet);
    assert_eq!(heard, ["DISCONNECT 9A", "close"]);
}

#[test]
fn an_unsubscribe_ends_the_greeting_and_no_other() {
    let mut world = World::with(broker::Config {
        server: server::Config {
            waiting_len_max: 5,
            ..server::Config::default()
        },
        ..broker::Config::default()
    });
    let publisher = world.joined("publisher", V5_0);
    for number in 0..50 {
        for topic in [format!("a/{number:02}"), format!("b/{number:02}")] {
            world.publish_retained(publisher, &topic, "x", QoS::AtMostOnce);
        }
    }
    let subscriber = world.joined("subscriber", V5_0);
    let filters = [want("a/#", QoS::AtMostOnce), want("b/#", QoS::AtMostOnce)];
    world.of(subscriber).subscribe(&filters).unwrap();
    world
        .of(subscriber)
        .unsubscribe(&[crate::wire::filter("a/#")])
        .unwrap();
    world.settle();
    let got = world.got(subscriber);
    let of = |prefix: &str| got.iter().filter(|shown| shown.starts_with(prefix)).count();
    assert_eq!(of("b/"), 50, "the other goes on");
    assert!(of("a/") < 50, "{}", of("a/"));
}

#[test]
fn the_same_filter_again_begins_its_greeting_again() {
    let mut world = World::with(broker::Config {
        server: server::Config {
            waiting_len_max: 5,
            ..server::Config::default()
        },
        ..broker::Config::default()
    });
    let publisher = world.joined("publisher", V5_0);
    for number in 0..20 {
        world.publish_retained(publisher, &format!("a/{number:02}"), "x", QoS::AtMostOnce);
    }
    let subscriber = world.joined("subscriber", V5_0);
    for _ in 0..3 {
        world
            .of(subscriber)
            .subscribe(&[want("a/#", QoS::AtMostOnce)])
            .unwrap();
    }
    world.settle();
    let got = world.got(subscriber).len();
    assert!(
        (20..=30).contains(&got),
        "one greeting, and what was queued before: {got}"
    );
}

/// Found by the broker model: it came a second time, as retained, when the replay had room.
#[test]
fn what_is_retained_while_a_replay_waits_comes_live_and_only_once() {
    // [5:MQTT-3.3.1-9]
    let config = broker::Config {
        server: server::Config {
            waiting_len_max: 1,
            ..server::Config::default()
        },
        ..broker::Config::default()
    };
    let mut world = World::with(config);
    let publisher = world.joined("publisher", V5_0);
    let subscriber = world.joined("subscriber", V5_0);
    world.publish_retained(publisher, "old", "1", QoS::AtMostOnce);
    // Two replays, the first of which takes all the room until the client reads.
    let filters = [want("old", QoS::ExactlyOnce), want("#", QoS::ExactlyOnce)];
    world.of(subscriber).subscribe(&filters).unwrap();
    world.settle_for(1);
    let now = world.now;
    let message = Message::new("new", "2").unwrap();
    let message = message.with_qos(QoS::ExactlyOnce).with_retain(true);
    world.broker.publish(now, message);
    world.settle();
    assert_eq!(world.got(subscriber), ["new=2 q2", "old=1 q0 retain"]);
    assert_eq!(world.broker.stats().messages, 2, "the retained ones");
}

#[test]
fn without_retain_nothing_is_kept_replaced_or_removed() {
    // [5:MQTT-3.3.1-8] [3:MQTT-3.3.1-12]
    for version in [V3_1_1, V5_0] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut world = World::new();
            let publisher = world.joined("publisher", version);
            world.publish(publisher, "none", "x", qos);
            world.publish_retained(publisher, "kept", "x", qos);
            world.publish(publisher, "kept", "y", qos);
            world.publish(publisher, "kept", "", qos);
            world.settle();
            let late = world.subscribed("late", version, "none", qos);
            world.subscribe(late, &[want("kept", qos)]);
            let expected = format!("kept=x q{} retain", u8::from(qos));
            assert_eq!(world.got(late), [expected], "{version}");
            assert_eq!(world.broker.stats().retained, 1, "{version}");
        }
    }
}

#[test]
fn a_retained_message_at_qos_0_replaces_the_one_before() {
    // [3:MQTT-3.3.1-7]
    let mut world = World::new();
    let publisher = world.joined("publisher", V3_1_1);
    world.publish_retained(publisher, "t", "old", QoS::ExactlyOnce);
    world.publish_retained(publisher, "t", "new", QoS::AtMostOnce);
    let late = world.joined("late", V3_1_1);
    world.subscribe(late, &[want("t", QoS::ExactlyOnce)]);
    assert_eq!(world.got(late), ["t=new q0 retain"]);
}

/// [5:MQTT-3.3.2-5] One that has expired is not replayed, whether or not the broker was told of the time.
#[test]
fn what_has_expired_is_not_replayed() {
    for (row, secs, expected) in [("in time", 4, 1), ("just over", 5, 0)] {
        let mut world = World::new();
        let properties = PublishProperties {
            message_expiry_secs: Some(5),
            ..Default::default()
        };
        let message = Message::new("t", "m").unwrap().with_retain(true);
        let message = message.with_properties(&properties).unwrap();
        world.broker.publish(world.now, message);
        let who = world.joined("late", V5_0);
        // The call that brings the SUBSCRIBE is the first one at this time.
        world.now = world.now + core::time::Duration::from_secs(secs);
        world.subscribe(who, &[want("t", QoS::AtMostOnce)]);
        assert_eq!(world.got(who).len(), expected, "{row}");
    }
}

/// A full broker still takes a message that removes a retained one, and refuses others with an event.
#[test]
fn a_full_broker_takes_what_makes_room() {
    for (row, topic, payload, expected) in [
        ("it makes room", "kept", "", (false, false)),
        ("it needs room", "kept", "more", (true, true)),
        ("there is nothing to remove", "other", "", (true, true)),
    ] {
        let mut world = World::with(broker::Config {
            messages_len_max: 1,
            ..broker::Config::default()
        });
        let retained = |topic: &str, payload: &str| {
            Message::new(topic, payload.to_owned())
                .unwrap()
                .with_retain(true)
        };
        world.broker.publish(world.now, retained("kept", "m"));
        world.broker.publish(world.now, retained(topic, payload));
        let kept = mqtt_codec::TopicName::new("kept").unwrap();
        let is_kept = world.broker.retained(kept).is_some();
        let refused = broker::Event::Refused {
            client_id: "".into(),
            topic: topic.into(),
        };
        let is_told = world.broker_events().contains(&refused);
        assert_eq!((is_kept, is_told), expected, "{row}");
    }
}

/// The short way through what is plain does not pass by what has to be refused.
#[test]
fn a_server_that_does_not_retain_takes_the_rest() {
    // [5:MQTT-3.2.2-14]
    for (version, refused) in [
        (V5_0, &["DISCONNECT 9A", "close"][..]),
        (V3_1_1, &["close"]),
    ] {
        let server = server::Config {
            retain_available: false,
            ..server::Config::default()
        };
        let config = broker::Config {
            server,
            ..broker::Config::default()
        };
        let mut hall = Hall::new(version, config);
        let subscriber = hall.joined("subscriber");
        hall.subscribe(subscriber, "t", QoS::AtMostOnce);
        // As many bytes as make them come in by either door.
        for payload in ["x", "xy"] {
            let publisher = hall.joined("publisher");
            for (retain, heard, copies) in [(false, &[][..], 1), (true, refused, 0)] {
                let mut packet = publish("t", payload, QoS::AtMostOnce, 0);
                packet.retain = retain;
                let row = format!("{version}, {payload}, retain {retain}");
                assert_eq!(hall.ask(publisher, packet), heard, "{row}");
                assert_eq!(hall.hear(subscriber).len(), copies, "{row}");
            }
        }
    }
}
