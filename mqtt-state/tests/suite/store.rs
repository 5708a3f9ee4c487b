//! A store that follows a broker: what waits for it, what it holds, and a broker that goes on with it.

use core::time::Duration;
use std::collections::BTreeMap;

use mqtt_codec::{
    Auth, AuthReason, Authentication, Binary, Connect, DisconnectReason, Message, Packet,
    ProtocolVersion, PublishProperties, QoS, TopicFilter, TopicName, Will,
};
use mqtt_state::broker::{self, Config, ConnectAnswer, Idle, RestoreError, StoreKey, StoreValue};
use mqtt_state::client::{self, Event};
use mqtt_state::{CloseCause, InputWaits, OutputWaits, Timestamp, server};

use serde_json::{Value, json};

use crate::hall::Hall;
use crate::recorded::Restore;
use crate::wire::{Peer, V3_1_1, V5_0, connect, pubcomp, publish, text, want, with_subscribe};
use crate::world::{Who, World};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];

fn config() -> Config {
    Config {
        journal: true,
        ..Config::default()
    }
}

/// A client with a session that is kept, subscribed, and away.
fn away(world: &mut World, name: &'static str, version: ProtocolVersion, filter: &str) -> Who {
    let who = world.client(name);
    world.resume(who, version);
    world.subscribe(who, &[want(filter, QoS::ExactlyOnce)]);
    world.cut(who);
    world.events(who);
    who
}

fn session_present(world: &mut World, who: Who) -> bool {
    let events = world.events(who);
    let connected = events.iter().find_map(|event| match event {
        Event::Connected { session_present } => Some(*session_present),
        _ => None,
    });
    assert!(connected.is_some(), "connected: {events:?}");
    connected == Some(true)
}

/// A broker may go on with what is in a store without telling it more.
#[test]
fn a_broker_without_a_journal_goes_on_with_a_store() {
    for version in VERSIONS {
        let mut world = World::with(config());
        let reader = away(&mut world, "reader", version, "t");
        world.broker.publish(
            world.now,
            Message::new("kept", "k").unwrap().with_retain(true),
        );
        world.settle();
        let without = Config::default();
        world.broker = world.disk.restore(without, world.now, Duration::ZERO);
        let message = Message::new("t", "m").unwrap();
        let message = message.with_qos(QoS::AtLeastOnce);
        assert_eq!(world.broker.publish(world.now, message), 1, "{version}");
        world.resume(reader, version);
        world.subscribe(reader, &[want("kept", QoS::AtMostOnce)]);
        let expected = ["t=m q1", "kept=k q0 retain"];
        assert_eq!(world.got(reader), expected, "{version}");
        assert_eq!(world.broker.poll_journal(), None, "{version}");
    }
}

#[test]
fn everything_that_is_kept_is_there_after_a_crash() {
    for version in VERSIONS {
        let mut world = World::with(config());
        let reader = away(&mut world, "reader", version, "t/#");
        let writer = world.joined("writer", version);
        for (topic, payload, qos) in [
            ("t/1", "one", QoS::AtLeastOnce),
            ("t/2", "two", QoS::ExactlyOnce),
            ("t/0", "gone", QoS::AtMostOnce),
        ] {
            world.publish(writer, topic, payload, qos);
            world.settle();
        }
        world.publish_retained(writer, "kept", "value", QoS::AtLeastOnce);
        world.publish_retained(writer, "cleared", "value", QoS::AtLeastOnce);
        world.publish_retained(writer, "cleared", "", QoS::AtLeastOnce);
        // Two messages that wait and one that is retained; one session, one subscription.
        assert_eq!(world.disk.counts(), [3, 1, 1, 1, 2, 0], "{version}");

        world.crash(Duration::from_secs(60));
        world.resume(reader, version);
        assert!(session_present(&mut world, reader), "{version}");
        world.join(writer, version);
        world.publish(writer, "t/3", "three", QoS::AtLeastOnce);
        world.settle();
        assert_eq!(
            world.got(reader),
            ["t/3=three q1"],
            "{version}: taken by session_present with the first two"
        );
        let late = world.subscribed("late", version, "#", QoS::AtLeastOnce);
        world.settle();
        let topic = TopicName::new("kept").unwrap();
        assert_eq!(world.broker.retained(topic).unwrap().payload(), b"value");
        assert_eq!(world.broker.stats().retained, 1, "{version}");
        let _greeted = late;
        // What was acknowledged is gone from the disk as well.
        assert_eq!(world.disk.counts(), [1, 1, 1, 1, 0, 0], "{version}");
    }
}

#[test]
fn messages_that_wait_come_in_their_order_with_what_they_had() {
    for version in VERSIONS {
        let mut world = World::with(config());
        let reader = away(&mut world, "reader", version, "t/#");
        let writer = world.joined("writer", version);
        for number in 0..5 {
            let qos = if number % 2 == 0 {
                QoS::AtLeastOnce
            } else {
                QoS::ExactlyOnce
            };
            world.publish(writer, "t/1", &number.to_string(), qos);
            world.settle();
        }
        world.crash(Duration::ZERO);
        world.resume(reader, version);
        assert_eq!(
            world.got(reader),
            ["t/1=0 q1", "t/1=1 q2", "t/1=2 q1", "t/1=3 q2", "t/1=4 q1"],
            "{version}"
        );
        assert_eq!(world.disk.counts(), [0, 0, 1, 1, 0, 0], "{version}");
    }
}

#[test]
fn nothing_goes_out_before_what_it_depends_on_is_stored() {
    for version in VERSIONS {
        let mut world = World::with(config());
        world.disk.lag = usize::MAX;
        let reader = world.client("reader");
        world.begin_resume(reader, version);
        world.settle();
        assert!(world.events(reader).is_empty(), "{version}: CONNACK waits");
        flush(&mut world);
        assert!(!session_present(&mut world, reader), "{version}");
        world
            .of(reader)
            .subscribe(&[want("t", QoS::AtLeastOnce)])
            .unwrap();
        world.settle();
        assert!(world.events(reader).is_empty(), "{version}: SUBACK waits");
        flush(&mut world);
        let events = world.events(reader);
        assert!(
            matches!(events[..], [Event::Subscribed { .. }]),
            "{version}: {events:?}"
        );

        // A session that ends with its connection: nothing of it is stored.
        let writer = world.joined("writer", version);
        world.publish(writer, "t", "m", QoS::AtLeastOnce);
        world.settle();
        let answered = |world: &mut World| {
            let events = world.events(writer);
            events
                .iter()
                .any(|event| matches!(event, Event::Published { .. }))
        };
        assert!(!answered(&mut world), "{version}: PUBACK waits");
        assert!(
            world.got(reader).is_empty(),
            "{version}: so does the message"
        );
        let connection = world.connection(reader).unwrap();
        let explanation = world.broker.explain(connection).unwrap();
        assert_eq!(explanation.output, Some(OutputWaits::ForStore), "{version}");
        flush(&mut world);
        assert!(answered(&mut world), "{version}");
        assert_eq!(world.got(reader), ["t=m q1"], "{version}");
    }
}

#[test]
fn no_message_goes_before_a_connack_that_waits() {
    // [5:MQTT-3.2.0-1] [3:MQTT-3.2.0-1]
    for version in VERSIONS {
        let mut world = World::with(config());
        let reader = away(&mut world, "reader", version, "t");
        let writer = world.joined("writer", version);
        world.publish(writer, "t", "m", QoS::AtLeastOnce);
        world.settle();
        world.disk.lag = usize::MAX;
        world.begin_resume(reader, version);
        // At QoS 0 nothing of its own has to be stored.
        world.settle();
        world.publish(writer, "t", "free", QoS::AtMostOnce);
        world.settle();
        assert_eq!(world.events(reader), [], "{version}: it would have closed");
        flush(&mut world);
        flush(&mut world);
        assert_eq!(world.got(reader), ["t=m q1", "t=free q0"], "{version}");
    }
}

/// AUTH has gone before, and so CONNACK is not the first packet.
#[test]
fn no_message_goes_before_a_connack_that_waits_behind_a_dialogue() {
    // [5:MQTT-3.2.0-1]
    let mut config = config();
    config.ask.connect = true;
    config.server.enhanced_authentication = true;
    let mut hall = Hall::new(V5_0, config);
    let method = || Authentication {
        method: text("m"),
        data: None,
    };
    let store = |hall: &mut Hall| {
        while let Some(entry) = hall.broker.poll_journal() {
            hall.broker.handle_stored(entry.position());
        }
    };
    for is_second in [false, true] {
        let mut packet = connect(V5_0, "c");
        packet.clean_start = false;
        packet.properties.session_expiry_secs = Some(100);
        packet.properties.authentication = Some(method());
        let (id, _) = hall.enter(packet);
        for answer in [ConnectAnswer::Ask(None), ConnectAnswer::Allow] {
            let decision = hall.connects()[0];
            let asks = answer == ConnectAnswer::Ask(None);
            let now = hall.peer.now;
            hall.broker.decide_connect(now, decision, answer).unwrap();
            if asks {
                assert_eq!(hall.hear(id), ["AUTH"]);
                hall.say(id, Auth::new(AuthReason::ContinueAuthentication, method()));
            }
        }
        if is_second {
            hall.publish("t", "m", QoS::AtMostOnce);
            assert_eq!(hall.hear(id), [""; 0], "it is not stored");
            store(&mut hall);
            assert_eq!(hall.hear(id), ["CONNACK 00 present", "PUBLISH t=m q0"]);
        } else {
            store(&mut hall);
            hall.subscribe(id, "t", QoS::AtMostOnce);
            store(&mut hall);
            hall.hear(id);
            hall.broker.handle_close(hall.peer.now, id);
            store(&mut hall);
        }
    }
}

#[test]
fn what_depends_on_nothing_waits_for_nothing() {
    for version in VERSIONS {
        let mut world = World::with(config());
        world.disk.lag = usize::MAX;
        let reader = world.subscribed("reader", version, "t", QoS::ExactlyOnce);
        let writer = world.joined("writer", version);
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            world.publish(writer, "t", "m", qos);
        }
        world.settle();
        assert_eq!(
            world.got(reader),
            ["t=m q0", "t=m q1", "t=m q2"],
            "{version}"
        );
        assert_eq!(world.disk.counts(), [0; 6], "{version}");
    }
}

#[test]
fn a_qos_2_message_is_not_passed_on_before_it_cannot_come_again() {
    for version in VERSIONS {
        let mut world = World::with(config());
        let reader = world.subscribed("reader", version, "t", QoS::AtMostOnce);
        let writer = world.client("writer");
        world.resume(writer, version);
        world.disk.lag = usize::MAX;
        world.publish(writer, "t", "m", QoS::ExactlyOnce);
        world.settle();
        assert!(world.got(reader).is_empty(), "{version}: not even at QoS 0");
        // The program ends before anything was written: the message comes again, and goes on once.
        world.crash(Duration::ZERO);
        world.disk.lag = 0;
        world.join(reader, version);
        world.subscribe(reader, &[want("t", QoS::AtMostOnce)]);
        world.resume(writer, version);
        assert_eq!(world.got(reader), ["t=m q0"], "{version}");
        assert_eq!(world.disk.counts(), [0, 0, 1, 0, 0, 0], "{version}");
    }
}

#[test]
fn a_qos_2_message_in_any_state_is_there_once_after_a_crash_between_any_two_packets() {
    for version in VERSIONS {
        for lag in [0, 1, 3] {
            for packets in 0..16 {
                let row = format!("{version}, {packets} packets, {lag} behind");
                let mut world = World::with(config());
                let (reader, writer) = (world.client("reader"), world.client("writer"));
                world.resume(reader, version);
                world.resume(writer, version);
                world.subscribe(reader, &[want("t", QoS::ExactlyOnce)]);
                world.disk.lag = lag;
                for payload in ["one", "two"] {
                    world.publish(writer, "t", payload, QoS::ExactlyOnce);
                }
                world.settle_for(packets);
                world.crash(Duration::from_secs(1));
                world.disk.lag = 0;
                world.resume(writer, version);
                world.resume(reader, version);
                assert_eq!(world.got(reader), ["t=one q2", "t=two q2"], "{row}");
                let events = world.events(writer);
                let published = |event: &&Event| matches!(event, Event::Published { .. });
                assert_eq!(events.iter().filter(published).count(), 2, "{row}");
                assert_eq!(world.disk.counts(), [0, 0, 2, 1, 0, 0], "{row}");
            }
        }
    }
}

#[test]
fn expiry_goes_on_while_nobody_runs() {
    let rows = [
        // seconds down, session there, message there, retained there
        (5, true, true, true),
        (15, true, false, true),
        (25, true, false, false),
        (35, false, false, false),
    ];
    for (down, has_session, has_message, has_retained) in rows {
        let mut world = World::with(config());
        let reader = world.client("reader");
        let mut connect = Connect::new(V5_0, text("reader"));
        connect.clean_start = false;
        connect.properties.session_expiry_secs = Some(30);
        world.connect(reader, &connect);
        world.settle();
        world.subscribe(reader, &[want("t", QoS::AtLeastOnce)]);
        // Connected until the program ends: its time runs from then.
        let expiring = |topic, secs| {
            let properties = PublishProperties {
                message_expiry_secs: Some(secs),
                ..Default::default()
            };
            let message = Message::new(topic, "m").unwrap().with_qos(QoS::AtLeastOnce);
            message.with_properties(&properties).unwrap()
        };
        world.cut(reader);
        let now = world.now;
        world.broker.publish(now, expiring("t", 10));
        world
            .broker
            .publish(now, expiring("kept", 20).with_retain(true));
        world.settle();
        world.events(reader);
        world.crash(Duration::from_secs(down));
        world.pass_secs(0);
        let topic = TopicName::new("kept").unwrap();
        assert_eq!(
            world.broker.retained(topic).is_some(),
            has_retained,
            "{down} s"
        );
        world.connect(reader, &connect);
        world.settle();
        let events = world.events(reader);
        let present = events.contains(&Event::Connected {
            session_present: true,
        });
        assert_eq!(present, has_session, "{down} s");
        let got = events
            .iter()
            .any(|event| matches!(event, Event::Message { .. }));
        assert_eq!(got, has_message, "{down} s");
    }
}

#[test]
fn a_will_is_published_when_the_broker_is_back_and_its_delay_is_over() {
    let rows = [
        // version, session expiry, delay, seconds down, then published at once
        (V5_0, 100, 10, 20, true),
        (V5_0, 100, 30, 20, false),
        (V5_0, 0, 30, 0, true),
        (V3_1_1, 0, 0, 0, true),
    ];
    for (version, expiry, delay, down, at_once) in rows {
        let row = format!("{version}, {expiry}, {delay}, {down}");
        let mut world = World::with(config());
        let watcher = away(&mut world, "watcher", version, "will");
        let who = world.client("ill");
        let mut connect = Connect::new(version, text("ill"));
        let payload = Binary::new(b"gone").unwrap();
        let mut will = Will::new(TopicName::new("will").unwrap(), payload);
        will.qos = QoS::AtLeastOnce;
        if version == V5_0 {
            connect.properties.session_expiry_secs = Some(expiry);
            will.properties.delay_secs = Some(delay);
        }
        connect.will = Some(will);
        world.connect(who, &connect);
        world.settle();
        world.crash(Duration::from_secs(down));
        world.resume(watcher, version);
        world.pass_secs(0);
        assert_eq!(world.got(watcher).len(), usize::from(at_once), "{row}");
        world.pass_secs(20);
        assert_eq!(world.got(watcher).len(), usize::from(!at_once), "{row}");
        // Once, and not again after another crash.
        world.crash(Duration::ZERO);
        world.resume(watcher, version);
        world.pass_secs(200);
        assert_eq!(world.got(watcher).len(), 0, "{row}");
    }
}

#[test]
fn a_will_goes_out_when_it_is_stored_that_it_is_gone() {
    for version in VERSIONS {
        let mut world = World::with(config());
        let watcher = world.subscribed("watcher", version, "will", QoS::AtMostOnce);
        let who = world.client("ill");
        let payload = Binary::new(b"gone").unwrap();
        let mut connect = Connect::new(version, text("ill"));
        connect.will = Some(Will::new(TopicName::new("will").unwrap(), payload));
        world.connect(who, &connect);
        world.settle();
        world.disk.lag = usize::MAX;
        world.cut(who);
        world.settle();
        assert!(world.got(watcher).is_empty(), "{version}: not yet");
        // The program ends before anything was written: it is published afterwards, and once.
        world.crash(Duration::ZERO);
        world.disk.lag = 0;
        world.join(watcher, version);
        world.subscribe(watcher, &[want("will", QoS::AtMostOnce)]);
        world.pass_secs(1);
        assert_eq!(world.got(watcher), ["will=gone q0"], "{version}");
    }
}

#[test]
fn a_disk_that_is_too_slow_holds_the_input_up_and_nothing_is_lost() {
    let by_entries = Config {
        journal_len_max: 4,
        ..config()
    };
    // A session, a subscription, or two of the messages.
    let by_bytes = Config {
        journal_bytes_max: 200,
        ..config()
    };
    for (row, config) in [("entries", by_entries), ("bytes", by_bytes)] {
        let mut world = World::with(config);
        let reader = away(&mut world, "reader", V5_0, "t");
        let writer = world.joined("writer", V5_0);
        // Nobody fetches the journal: what a driver does that is busy elsewhere.
        for number in 0..20 {
            let payload = format!("{number:0>100}");
            world.publish(writer, "t", &payload, QoS::AtLeastOnce);
        }
        let connection = world.connection(writer).unwrap();
        let mut bytes = Vec::new();
        let now = world.now;
        let _more = world.of(writer).poll_transmit(now, 10_000, &mut bytes);
        let taken = world.broker.handle_input(now, connection, &bytes).bytes;
        assert!(
            taken > 0 && taken < bytes.len(),
            "{row}: {taken} of {}",
            bytes.len()
        );
        assert!(!world.broker.wants_input(connection), "{row}");
        let waits = world.broker.explain(connection).unwrap().input;
        assert_eq!(waits, Some(InputWaits::ForJournal), "{row}");
        // When it is fetched the connection is named, and goes on.
        let mut rest = &bytes[taken..];
        while !rest.is_empty() {
            flush_disk(&mut world);
            assert!(world.broker.wants_input(connection), "{row}");
            let taken = world.broker.handle_input(now, connection, rest).bytes;
            assert!(taken > 0, "{row}");
            rest = &rest[taken..];
        }
        flush(&mut world);
        world.resume(reader, V5_0);
        assert_eq!(world.got(reader).len(), 20, "{row}");
    }
}

#[test]
fn subscriptions_and_shared_turns_survive() {
    for version in VERSIONS {
        let mut world = World::with(config());
        let one = away(&mut world, "one", version, "$share/g/t");
        let two = away(&mut world, "two", version, "$share/g/t");
        let writer = world.joined("writer", version);
        for number in 0..4 {
            world.publish(writer, "t", &number.to_string(), QoS::AtLeastOnce);
        }
        world.settle();
        world.crash(Duration::ZERO);
        let session = |world: &World, name| world.broker.session(name).unwrap().waiting_len;
        assert_eq!(
            (session(&world, "one"), session(&world, "two")),
            (2, 2),
            "{version}"
        );
        // A member gives its session up: what it was to get goes to the other.
        world.join(one, version);
        world.disconnect(one);
        world.resume(two, version);
        assert_eq!(world.got(two).len(), 4, "{version}");
        assert_eq!(world.disk.counts(), [0, 0, 1, 1, 0, 0], "{version}");
    }
}

/// A store with a bit of everything.
fn full() -> Vec<(Vec<u8>, String)> {
    let mut world = World::with(config());
    let reader = away(&mut world, "reader", V5_0, "t/#");
    away(&mut world, "shared", V5_0, "$share/g/t/#");
    let writer = world.client("writer");
    world.resume(writer, V5_0);
    world.publish(writer, "t/1", "SECRET", QoS::ExactlyOnce);
    world.settle_for(1);
    world.publish_retained(writer, "t/2", "SECRET", QoS::ExactlyOnce);
    world.resume(reader, V5_0);
    world.settle_for(2);
    flush(&mut world);
    let table = world.disk.table.clone();
    table.into_iter().collect()
}

fn put_all(table: &[(Vec<u8>, String)]) -> (Restore, Vec<RestoreError>) {
    let mut restore = Restore::new(config(), Timestamp::ZERO, Idle::default());
    let mut errors = Vec::new();
    for (key, text) in table {
        let (Some(key), Ok(value)) = (StoreKey::from_bytes(key), value(text)) else {
            continue;
        };
        errors.extend(restore.put(key, value).err());
    }
    (restore, errors)
}

fn value(text: &str) -> Result<StoreValue, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn whatever_is_missing_or_in_another_place_makes_a_broker_that_works() {
    let table = full();
    assert!(put_all(&table).1.is_empty());
    let mut failures = 0;
    for place in 0..table.len() {
        let mut less = table.clone();
        less.remove(place);
        let mut twice = table.clone();
        twice.insert(place, table[place].clone());
        let mut other = table.clone();
        for second in 0..table.len() {
            let (one, two) = (table[place].1.clone(), table[second].1.clone());
            other[place].1 = two;
            other[second].1 = one;
            failures += works(&other);
            other = table.clone();
        }
        failures += works(&less) + works(&twice);
    }
    assert!(failures > 0, "some of it was refused");
}

/// Puts it all, and uses what comes of it; answers how much was refused.
fn works(table: &[(Vec<u8>, String)]) -> usize {
    let (restore, errors) = put_all(table);
    let mut world = World::with(config());
    world.broker = restore.finish();
    let reader = world.client("reader");
    world.resume(reader, V5_0);
    if world.connection(reader).is_none() {
        // This client knows of no session, and there was one.
        world.join(reader, V5_0);
    }
    world.subscribe(reader, &[want("new", QoS::AtLeastOnce)]);
    world.publish(reader, "new", "message", QoS::ExactlyOnce);
    world.settle();
    let got = world.got(reader);
    assert!(got.iter().any(|it| it == "new=message q1"), "{got:?}");
    errors.len()
}

#[test]
fn limits_hold_for_what_is_put_back() {
    let table = full();
    let rows: [(&str, Config); 6] = [
        (
            "messages",
            Config {
                messages_len_max: 1,
                ..config()
            },
        ),
        (
            "levels",
            Config {
                levels_max: 1,
                ..config()
            },
        ),
        (
            "sessions",
            Config {
                sessions_max: 1,
                ..config()
            },
        ),
        (
            "subscriptions",
            Config {
                subscriptions_per_session_max: 0,
                ..config()
            },
        ),
        (
            "retained",
            Config {
                retained_len_max: 0,
                ..config()
            },
        ),
        (
            "bytes",
            Config {
                total_bytes_max: 3,
                ..config()
            },
        ),
    ];
    for (row, config) in rows {
        let mut restore = Restore::new(config, Timestamp::ZERO, Idle::default());
        let mut limits = 0;
        for (key, text) in &table {
            let key = StoreKey::from_bytes(key).unwrap();
            match restore.put(key, value(text).unwrap()) {
                Err(RestoreError::Limit) => limits += 1,
                Err(RestoreError::Missing) | Ok(()) => {}
                Err(other) => panic!("{row}: {other}"),
            }
        }
        assert!(limits > 0, "{row}");
        // And the journal says what is gone.
        let mut broker = restore.finish();
        let entry = broker.poll_journal().unwrap();
        let removed = entry
            .changes()
            .iter()
            .filter(|change| change.value().is_none());
        assert!(removed.count() >= limits, "{row}");
    }
}

/// One key: its kind, and its numbers.
fn key_of(kind: u8, number: u64, rest: &[u8]) -> StoreKey {
    let bytes = [&[kind], &number.to_be_bytes()[..], rest].concat();
    StoreKey::from_bytes(&bytes).unwrap()
}

/// The session of a client that is there, and has no will.
fn stored_session(client_id: &str) -> Value {
    json!({"Session": {
        "client_id": client_id,
        "expiry_secs": 100,
        "is_connected": true,
        "expires_at": null,
        "owner": null,
        "will": null,
        "will_at": null,
    }})
}

/// A delivery that is so far, to a subscription without an identifier.
fn stored_delivery(state: Value, qos: u8) -> Value {
    json!({"Delivery": {
        "state": state,
        "qos": qos,
        "retain": false,
        "is_turn": false,
        "subscription_ids": [],
    }})
}

/// Entries that do not go together, each put behind the same few that do.
#[test]
fn entries_that_do_not_go_together() {
    let message = |topic: &str| {
        let message = Message::new(topic, "payload").unwrap();
        json!({"Message": {"message": message.with_qos(QoS::ExactlyOnce), "expires_at": null}})
    };
    let session = |is_connected: bool, at: Option<u64>| {
        json!({"Session": {
            "client_id": "reader",
            "expiry_secs": 100,
            "is_connected": is_connected,
            "expires_at": at,
            "owner": null,
            "will": {"message": Message::new("will", "gone").unwrap(), "delay_secs": 50},
            "will_at": at,
        }})
    };
    let subscription = |is_shared: bool| {
        json!({"Subscription": {
            "is_shared": is_shared,
            "qos": 2,
            "no_local": false,
            "retain_as_published": false,
            "id": null,
            "deny": [],
        }})
    };
    let delivery = |state: Value, qos: u8| {
        json!({"Delivery": {
            "state": state,
            "qos": qos,
            "retain": false,
            "is_turn": true,
            "subscription_ids": [],
        }})
    };
    let waiting = |message: u64| json!({"Waiting": {"message": message}});
    let published = |message: u64, id: u16| json!({"Published": {"message": message, "id": id}});
    let released = |id: u16| json!({"Released": {"id": id, "order": 7}});
    let number = |number: u64| number.to_be_bytes();
    let base = [
        (key_of(1, 1, &[]), message("a")),
        (key_of(1, 2, &[]), message("a")),
        (key_of(2, 1, &[]), json!("Present")),
        (key_of(3, 9, &[]), session(false, Some(5))),
        (key_of(4, 9, b"$share/g/a"), subscription(true)),
        (key_of(5, 9, &number(20)), delivery(waiting(1), 2)),
        (key_of(5, 9, &number(21)), delivery(published(2, 3), 2)),
        (key_of(5, 9, &number(22)), delivery(released(4), 2)),
        (key_of(6, 9, &[0, 8]), json!("Present")),
    ];
    let rows = [
        (
            "a topic twice",
            key_of(2, 2, &[]),
            json!("Present"),
            Err(RestoreError::Twice),
        ),
        (
            "retained, and not there",
            key_of(2, 3, &[]),
            json!("Present"),
            Err(RestoreError::Missing),
        ),
        (
            "a client twice",
            key_of(3, 10, &[]),
            session(true, None),
            Err(RestoreError::Twice),
        ),
        (
            "a filter that is none",
            key_of(4, 9, b"a/#/b"),
            subscription(false),
            Err(RestoreError::Filter),
        ),
        (
            "no shared filter",
            key_of(4, 9, b"b"),
            subscription(true),
            Err(RestoreError::Filter),
        ),
        (
            "too deep",
            key_of(4, 9, b"a/b/c/d"),
            subscription(false),
            Err(RestoreError::Limit),
        ),
        ("one more", key_of(4, 9, b"b"), subscription(false), Ok(())),
        (
            "too many",
            key_of(4, 9, b"c"),
            subscription(false),
            Err(RestoreError::Limit),
        ),
        (
            "of nobody",
            key_of(4, 8, b"b"),
            subscription(false),
            Err(RestoreError::Missing),
        ),
        (
            "QoS 0",
            key_of(5, 9, &number(23)),
            delivery(waiting(1), 0),
            Err(RestoreError::State),
        ),
        (
            "nothing to send",
            key_of(5, 9, &number(23)),
            delivery(waiting(7), 1),
            Err(RestoreError::Missing),
        ),
        (
            "for nobody",
            key_of(5, 8, &number(23)),
            delivery(waiting(1), 1),
            Err(RestoreError::Missing),
        ),
        (
            "an identifier twice",
            key_of(5, 9, &number(23)),
            delivery(published(1, 3), 1),
            Err(RestoreError::Twice),
        ),
        (
            "another one",
            key_of(5, 9, &number(23)),
            delivery(published(1, 5), 1),
            Ok(()),
        ),
        (
            "too many in flight",
            key_of(5, 9, &number(24)),
            delivery(published(1, 6), 1),
            Err(RestoreError::Limit),
        ),
        (
            "as many as may wait",
            key_of(5, 9, &number(24)),
            delivery(waiting(2), 1),
            Ok(()),
        ),
        (
            "too many wait",
            key_of(5, 9, &number(25)),
            delivery(waiting(2), 1),
            Err(RestoreError::Limit),
        ),
        (
            "received by nobody",
            key_of(6, 8, &[0, 8]),
            json!("Present"),
            Err(RestoreError::Missing),
        ),
        (
            "another value",
            key_of(6, 9, &[0, 9]),
            message("a"),
            Err(RestoreError::OtherKind),
        ),
        (
            "too many messages",
            key_of(1, 5, &[]),
            message("c"),
            Err(RestoreError::Limit),
        ),
        (
            "number 0",
            key_of(1, 0, &[]),
            message("c"),
            Err(RestoreError::Limit),
        ),
        (
            "the last number",
            key_of(1, u64::MAX, &[]),
            message("c"),
            Err(RestoreError::Limit),
        ),
    ];
    let small = || Config {
        levels_max: 3,
        messages_len_max: 2,
        subscriptions_per_session_max: 2,
        server: server::Config {
            in_flight_max: 1,
            waiting_len_max: 2,
            ..server::Config::default()
        },
        ..config()
    };
    for (row, key, value, expected) in rows {
        let mut table: Vec<_> = base.to_vec();
        // What some of the rows come behind.
        let before = match row {
            "too many" => Some((key_of(4, 9, b"b"), subscription(false))),
            "too many in flight" => Some((key_of(5, 9, &number(23)), delivery(published(1, 5), 1))),
            "too many wait" => Some((key_of(5, 9, &number(24)), delivery(waiting(2), 1))),
            _ => None,
        };
        table.extend(before);
        table.push((key.clone(), value));
        // The sign of 0 and of the last number comes before the order.
        table.sort_by(|one, two| one.0.cmp(&two.0));
        let mut restore = Restore::new(small(), Timestamp::ZERO, Idle::default());
        for (at, value) in table {
            let value = serde_json::from_value(value).unwrap();
            let put = restore.put(at.clone(), value);
            let expected = if at == key { expected } else { Ok(()) };
            assert_eq!(put, expected, "{row}: {at:?}");
        }
        // What was left out is taken out of the store.
        let mut broker = restore.finish();
        let entries: Vec<_> = core::iter::from_fn(|| broker.poll_journal()).collect();
        let changes = entries.iter().flat_map(|entry| entry.changes());
        let gone = changes.filter(|change| change.value().is_none());
        let gone: Vec<_> = gone.map(|change| change.key().clone()).collect();
        let expected: Vec<_> = expected.err().map(|_| key).into_iter().collect();
        assert_eq!(gone, expected, "{row}");
    }
}

/// Of two with one identifier whose PUBCOMP is missing, the one that came first stays.
#[test]
fn released_twice_is_released_once() {
    let released = |order: u64| stored_delivery(json!({"Released": {"id": 4, "order": order}}), 2);
    let session = stored_session("reader");
    let mut restore = Restore::new(config(), Timestamp::ZERO, Idle::default());
    for (key, value) in [
        (key_of(3, 9, &[]), session),
        (key_of(5, 9, &20_u64.to_be_bytes()), released(2)),
        (key_of(5, 9, &21_u64.to_be_bytes()), released(1)),
    ] {
        let value = serde_json::from_value(value).unwrap();
        assert_eq!(restore.put(key, value), Ok(()));
    }
    let mut broker = restore.finish();
    assert_eq!(broker.session("reader").unwrap().in_flight_len, 1);
    let entry = broker.poll_journal().unwrap();
    let gone = entry.changes().iter().filter(|it| it.value().is_none());
    let gone: Vec<_> = gone.map(|it| it.key().clone()).collect();
    assert_eq!(gone, [key_of(5, 9, &20_u64.to_be_bytes())]);
}

/// A table of identifiers is as long as the highest of them, and has to have room as everything else.
#[test]
fn identifiers_out_of_a_store_have_a_limit_of_bytes() {
    let published = |id: u16| json!({"Published": {"message": 1, "id": id}});
    let released = |id: u16| json!({"Released": {"id": id, "order": 1}});
    let message = Message::new("a", "payload").unwrap();
    let message = json!({"Message": {"message": message, "expires_at": null}});
    let limit = Err(RestoreError::Limit);
    // What is released has its turn at the end.
    for (row, state, total_bytes_max, expected, kept) in [
        ("in flight", published(60_000), 10_000_000, Ok(()), 1),
        ("in flight, too high", published(60_000), 100_000, limit, 0),
        ("in flight, low", published(3), 100_000, Ok(()), 1),
        ("released", released(60_000), 10_000_000, Ok(()), 1),
        ("released, too high", released(60_000), 100_000, Ok(()), 0),
        ("released, low", released(3), 100_000, Ok(()), 1),
    ] {
        let config = Config {
            total_bytes_max,
            ..config()
        };
        let mut restore = Restore::new(config, Timestamp::ZERO, Idle::default());
        let (key, delivery) = (
            key_of(5, 9, &20_u64.to_be_bytes()),
            stored_delivery(state, 2),
        );
        for (key, value, expected) in [
            (key_of(1, 1, &[]), message.clone(), Ok(())),
            (key_of(3, 9, &[]), stored_session("reader"), Ok(())),
            (key.clone(), delivery, expected),
        ] {
            let value = serde_json::from_value(value).unwrap();
            assert_eq!(restore.put(key, value), expected, "{row}");
        }
        let mut broker = restore.finish();
        let session = broker.session("reader").unwrap();
        assert_eq!(session.in_flight_len, kept, "{row}");
        let entries: Vec<_> = core::iter::from_fn(|| broker.poll_journal()).collect();
        let changes = entries.iter().flat_map(|entry| entry.changes());
        let gone = { changes }.any(|it| it.value().is_none() && *it.key() == key);
        assert_eq!(gone, kept == 0, "{row}");
    }
}

/// When a session ends that a store has kept, and when its will is due.
#[test]
fn deadlines_out_of_a_store() {
    for (row, is_connected, at, will_at, ends_at) in [
        ("connected at the end", true, None, 50, 100),
        (
            "connected, with a deadline of before",
            true,
            Some(5),
            50,
            100,
        ),
        ("away", false, Some(5), 5, 5),
        ("away, and nobody knows since when", false, None, 50, 100),
    ] {
        let at: Option<u64> = at.map(|secs: u64| secs * 1_000_000_000);
        let will = Message::new("will", "gone").unwrap();
        let session = json!({"Session": {
            "client_id": "reader",
            "expiry_secs": 100,
            "is_connected": is_connected,
            "expires_at": at,
            "owner": null,
            "will": {"message": will, "delay_secs": 50},
            "will_at": at,
        }});
        let mut restore = Restore::new(config(), Timestamp::ZERO, Idle::default());
        let session = serde_json::from_value(session).unwrap();
        assert_eq!(restore.put(key_of(3, 9, &[]), session), Ok(()));
        let mut broker = restore.finish();
        let filter = TopicFilter::new("will").unwrap();
        broker.subscribe_local(filter).unwrap();
        for secs in 0..=100 {
            broker.handle_timeout(Timestamp::from_secs(secs));
            let will = core::iter::from_fn(|| broker.poll_event())
                .any(|event| matches!(event, broker::Event::Local { .. }));
            assert_eq!(will, secs == will_at, "{row}: will at {secs}");
            let is_there = broker.session("reader").is_some();
            assert_eq!(is_there, secs < ends_at, "{row}: session at {secs}");
        }
    }
}

#[test]
fn values_show_no_payload() {
    for (_, text) in full() {
        let shown = format!("{:?}", value(&text).unwrap());
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}

/// Writes everything, and lets what waited for it go on.
fn flush(world: &mut World) {
    flush_disk(world);
    world.settle();
    flush_disk(world);
    world.settle();
}

fn flush_disk(world: &mut World) {
    let World { disk, broker, .. } = world;
    disk.flush(broker);
}

/// Found by the broker model: the message that had expired took the only identifier that the quota
/// had, and nobody came back for the next.
#[test]
fn a_message_that_has_expired_leaves_its_turn_to_the_next() {
    // [5:MQTT-3.3.2-5]
    let config = Config {
        server: server::Config {
            in_flight_max: 1,
            ..server::Config::default()
        },
        ..config()
    };
    let mut world = World::with(config);
    let reader = away(&mut world, "reader", V5_0, "t");
    let writer = world.joined("writer", V5_0);
    let properties = PublishProperties {
        message_expiry_secs: Some(10),
        ..PublishProperties::default()
    };
    for _ in 0..3 {
        let late = Message::new("t", "late").unwrap();
        let late = late.with_qos(QoS::AtLeastOnce);
        world.send(writer, late.with_properties(&properties).unwrap());
    }
    world.publish(writer, "t", "in time", QoS::AtLeastOnce);
    world.pass_secs(30);
    world.resume(reader, V5_0);
    assert_eq!(world.got(reader), ["t=in time q1"]);
}

/// Found by a simulation: that a message was dropped which had its identifier was stored later than the
/// next one was sent. The next program sent it again, behind that one.
#[test]
fn nothing_goes_before_it_is_stored_that_what_stood_in_front_of_it_is_dropped() {
    // [5:MQTT-3.3.2-5] [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1]
    for has_crashed in [false, true] {
        let mut world = World::with(config());
        let reader = away(&mut world, "reader", V5_0, "t");
        world.resume(reader, V5_0);
        world.events(reader);
        let writer = world.joined("writer", V5_0);
        world.disk.lag = usize::MAX;
        let properties = PublishProperties {
            message_expiry_secs: Some(10),
            ..PublishProperties::default()
        };
        let late = Message::new("t", "late").unwrap();
        let late = late.with_qos(QoS::AtLeastOnce);
        world.send(writer, late.with_properties(&properties).unwrap());
        world.publish(writer, "t", "next", QoS::AtLeastOnce);
        world.settle();
        // Both have their identifiers, and the first one has expired when that is stored.
        world.pass_secs(30);
        flush_disk(&mut world);
        world.settle();
        assert_eq!(world.got(reader), [""; 0], "the drop is not stored");
        if has_crashed {
            world.disk.lag = 0;
            world.crash(Duration::ZERO);
            world.resume(reader, V5_0);
            // It may have been sent, for all that the next program knows.
            assert_eq!(world.got(reader), ["t=late q1", "t=next q1"]);
        } else {
            flush(&mut world);
            assert_eq!(world.got(reader), ["t=next q1"]);
        }
    }
}

/// Found by the broker model: the session was restored without its messages, as if it never had been
/// kept.
#[test]
fn what_a_session_that_ends_with_the_program_was_to_get_goes_to_others() {
    // [5:MQTT-4.8.2-5]
    let mut world = World::with(config());
    let one = away(&mut world, "one", V5_0, "$share/g/t");
    let two = away(&mut world, "two", V5_0, "$share/g/t");
    // Its session was kept, and now ends with this connection.
    let mut last = Connect::new(V5_0, text("one"));
    last.clean_start = false;
    world.connect(one, &last);
    world.settle();
    let writer = world.joined("writer", V5_0);
    world.publish(writer, "t", "job", QoS::AtLeastOnce);
    // Into the broker, and not out of it.
    world.settle_for(1);
    world.crash(Duration::ZERO);
    let now = world.now;
    world.broker.handle_timeout(now);
    world.resume(two, V5_0);
    assert_eq!(world.got(two), ["t=job q1"]);
}

/// Found by a simulation (seed 474171): the session was not told what had been stored while its receiver
/// had no quota, and waited for it ever after.
#[test]
fn what_was_stored_while_there_was_no_quota_goes_when_it_comes_back() {
    // [5:MQTT-4.9.0-2]
    for version in VERSIONS {
        let mut world = World::with(Config {
            server: server::Config {
                in_flight_max: 1,
                ..server::Config::default()
            },
            ..config()
        });
        let reader = world.client_with(
            "reader",
            client::Config {
                acknowledge: client::Acknowledge::Manual,
                ..client::Config::default()
            },
        );
        // Nothing of its own is stored, so that nothing else of it waits for the store.
        world.join(reader, version);
        world.subscribe(reader, &[want("t", QoS::AtLeastOnce)]);
        let writer = world.client("writer");
        world.resume(writer, version);
        world.publish(writer, "t", "first", QoS::AtLeastOnce);
        world.settle();
        let receipt = world
            .events(reader)
            .into_iter()
            .find_map(|event| match event {
                Event::Message { receipt, .. } => receipt,
                _ => None,
            });
        // It must not come again, so it waits for the store; and for the one before it.
        world.disk.lag = usize::MAX;
        world.publish(writer, "t", "second", QoS::ExactlyOnce);
        world.settle();
        flush(&mut world);
        assert!(world.got(reader).is_empty(), "{version}: no quota");
        let now = world.now;
        world.of(reader).ack(now, receipt.unwrap()).unwrap();
        world.settle();
        assert_eq!(world.got(reader), ["t=second q1"], "{version}");
    }
}

/// Found by a simulation: what was given up filled the journal, and what came behind it waited for ever.
#[test]
fn what_is_given_up_while_the_journal_is_full_holds_nothing_back() {
    let mut world = World::with(Config {
        journal_len_max: 2,
        server: server::Config {
            in_flight_max: 1,
            ..server::Config::default()
        },
        ..config()
    });
    let reader = away(&mut world, "reader", V5_0, "t");
    let writer = world.joined("writer", V5_0);
    let properties = PublishProperties {
        message_expiry_secs: Some(10),
        ..PublishProperties::default()
    };
    let late = Message::new("t", "late").unwrap();
    let late = late.with_qos(QoS::AtLeastOnce);
    world.send(writer, late.with_properties(&properties).unwrap());
    world.settle();
    for payload in ["one", "two"] {
        world.publish(writer, "t", payload, QoS::AtLeastOnce);
        world.settle();
    }
    world.pass_secs(30);
    world.resume(reader, V5_0);
    assert_eq!(world.got(reader), ["t=one q1", "t=two q1"]);
}

/// Found by a simulation: CONNACK changed nothing itself, and was sent before the end of the session
/// that an earlier clean start had brought about was stored. Whether or not somebody is asked who may
/// connect.
#[test]
fn connack_waits_for_the_end_of_an_older_session() {
    for is_asked in [false, true] {
        let mut config = config();
        config.ask.connect = is_asked;
        let mut world = World::with(config);
        let who = world.client("c");
        world.begin_resume(who, V3_1_1);
        allow(&mut world, is_asked);
        world.subscribe(who, &[want("t", QoS::ExactlyOnce)]);
        world.cut(who);
        world.events(who);
        world.disk.lag = 1000;
        for is_second in [false, true] {
            world.join(who, V3_1_1);
            allow(&mut world, is_asked);
            if !is_second {
                world.cut(who);
            }
        }
        let told = world.events(who);
        let told = { told.iter() }.any(|event| matches!(event, Event::Connected { .. }));
        assert!(!told, "nothing of it is stored: {is_asked}");
        world.disk.lag = 0;
        world.settle();
        assert!(!session_present(&mut world, who));
    }
}

/// Whoever wants to connect may.
fn allow(world: &mut World, is_asked: bool) {
    world.settle();
    let events = world.broker_events();
    let asked = events.iter().filter_map(|event| match event {
        broker::Event::Authenticate { decision, .. } => Some(*decision),
        _ => None,
    });
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked.len(), usize::from(is_asked));
    for decision in asked {
        let decided = world
            .broker
            .decide_connect(world.now, decision, ConnectAnswer::Allow);
        assert_eq!(decided, Ok(()));
    }
    world.settle();
}

/// A broker that no store follows any more has nothing to say of what it left out.
#[test]
fn a_store_that_is_not_followed_any_more() {
    for journal in [true, false] {
        let config = Config {
            journal,
            ..Config::default()
        };
        let mut restore = Restore::new(config, Timestamp::ZERO, Idle::default());
        let value = serde_json::from_value(json!("Present")).unwrap();
        let put = restore.put(key_of(2, 3, &[]), value);
        assert_eq!(put, Err(RestoreError::Missing));
        let mut broker = restore.finish();
        assert_eq!(broker.poll_journal().is_some(), journal);
        let kept = Message::new("t", "m").unwrap().with_retain(true);
        broker.publish(Timestamp::ZERO, kept);
        assert_eq!(broker.poll_journal().is_some(), journal);
    }
}

/// Entries come in the order of their keys, each once, and as many bytes as there may be.
#[test]
fn entries_have_an_order_and_their_bytes_a_limit() {
    let message = || {
        let message = Message::new("a", "payload").unwrap();
        let value = json!({"Message": {"message": message, "expires_at": null}});
        serde_json::from_value::<StoreValue>(value).unwrap()
    };
    let key = |number| key_of(1, number, &[]);
    let with = |total_bytes_max| {
        let config = Config {
            total_bytes_max,
            ..config()
        };
        Restore::new(config, Timestamp::ZERO, Idle::default())
    };
    let mut restore = with(usize::MAX);
    for (number, expected) in [
        (2, Ok(())),
        (1, Err(RestoreError::Twice)),
        (2, Err(RestoreError::Twice)),
        (3, Ok(())),
    ] {
        assert_eq!(restore.put(key(number), message()), expected, "{number}");
    }

    let fits = |total_bytes_max| with(total_bytes_max).put(key(1), message());
    let least = (1..1_000).find(|it| fits(*it).is_ok()).unwrap();
    assert_eq!(fits(least - 1), Err(RestoreError::Limit));
    // It is just what a topic and a payload have.
    let bytes = "a".len() + "payload".len();
    assert_eq!(least, bytes);
}

/// What waits for a store that has failed is never said; that it is over is, to each in the form of his.
#[test]
fn when_the_store_has_failed_nothing_waits_for_it() {
    // [5:MQTT-3.14.0-1] No DISCONNECT before CONNACK.
    for version in VERSIONS {
        let [goodbye, refused]: [&[&str]; 2] = match version {
            V5_0 => [&["DISCONNECT 8B", "close"], &["CONNACK 88", "close"]],
            V3_1_1 => [&["close"], &["CONNACK 88", "close"]],
        };
        let mut hall = Hall::new(version, config());
        let store = |hall: &mut Hall| {
            while let Some(entry) = hall.broker.poll_journal() {
                hall.broker.handle_stored(entry.position());
            }
        };
        let mut come = |name: &'static str, says: Option<QoS>, is_stored: bool| {
            let mut packet = connect(version, name);
            packet.clean_start = false;
            packet.properties.session_expiry_secs = (version == V5_0).then_some(100);
            let id = hall.open();
            hall.say(id, packet);
            if is_stored {
                store(&mut hall);
                assert_eq!(hall.hear(id), ["CONNACK 00"]);
            }
            if let Some(qos) = says {
                hall.say(id, publish("t", "m", qos, 1));
                hall.say(id, Packet::PingReq);
            }
            id
        };
        let idle = come("idle", None, true);
        let first = come("first", Some(QoS::AtLeastOnce), true);
        let second = come("second", Some(QoS::ExactlyOnce), true);
        let new = come("new", None, false);
        let silent = hall.open();
        let filters = [want("t", QoS::AtLeastOnce)];
        with_subscribe(9, &filters, |packet| hall.say(idle, packet));
        for waits in [idle, second, new] {
            assert_eq!(hall.hear(waits), [""; 0], "{version}");
        }
        let now = hall.peer.now;
        hall.broker.handle_store_failed(now);
        assert_eq!(hall.hear(idle), goodbye, "{version}: no SUBACK");
        // A QoS 1 message that nobody gets changes nothing, so its PUBACK waits for nothing.
        let puback = match version {
            V5_0 => "PUBACK 1 10",
            V3_1_1 => "PUBACK 1 00",
        };
        let expected = [&[puback, "PINGRESP"], goodbye].concat();
        assert_eq!(hall.hear(first), expected, "{version}");
        assert_eq!(hall.hear(second), goodbye, "{version}: no PUBREC");
        assert_eq!(hall.hear(new), refused, "{version}: it is not in");
        assert_eq!(hall.hear(silent), ["close"], "{version}");
        // Whoever comes later.
        let late = hall.open();
        let heard = hall.ask(late, connect(version, "late"));
        assert_eq!(heard, refused, "{version}");
        let closed = hall.events().into_iter().filter(|event| {
            let cause = CloseCause::Disconnected(DisconnectReason::ServerShuttingDown);
            matches!(event, broker::Event::Closed { cause: found, .. } if *found == cause)
        });
        assert_eq!(closed.count(), 5, "{version}");
    }
}

/// A broker that no store follows goes on.
#[test]
fn without_a_store_none_fails() {
    let mut hall = Hall::new(V5_0, Config::default());
    let id = hall.joined("c");
    let now = hall.peer.now;
    hall.broker.handle_store_failed(now);
    assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"]);
}

/// A QoS 2 message that was sent, and that there is no room for any more, is lost, and its client may have it: its
/// identifier stays in use until PUBCOMP, and through one more restart.
#[test]
fn the_identifier_of_what_is_left_out_stays_taken() {
    // [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-4]
    let message = |number: u64| {
        let message = Message::new("t", format!("m{number}")).unwrap();
        let message = message.with_qos(QoS::ExactlyOnce);
        let value = json!({"Message": {"message": message, "expires_at": null}});
        (key_of(1, number, &[]), value)
    };
    let delivery = |number: u64, qos: u8| {
        let state = json!({"Published": {"message": number, "id": number}});
        let value = stored_delivery(state, qos);
        (key_of(5, 9, &(20 + number).to_be_bytes()), value)
    };
    let session = stored_session("reader");
    let of_server = |server| Config { server, ..config() };
    let narrow = of_server(server::Config {
        in_flight_max: 1,
        ..server::Config::default()
    });
    let small = Config {
        messages_len_max: 2,
        ..config()
    };
    let rows = [
        ("in flight", &narrow, 2, Some(3)),
        ("messages", &small, 2, Some(3)),
        ("at QoS 1", &narrow, 1, None),
    ];
    for (row, limited, qos, kept) in rows {
        let mut restore = Restore::new(limited.clone(), Timestamp::ZERO, Idle::default());
        let entries = (1..=3).map(message);
        let entries = entries.chain([(key_of(3, 9, &[]), session.clone())]);
        let entries = entries.chain((1..=3).map(|number| delivery(number, qos)));
        let mut table: BTreeMap<_, _> = entries.collect();
        for (key, value) in &table {
            let value = serde_json::from_value(value.clone()).unwrap();
            let _left_out = restore.put(key.clone(), value);
        }
        let mut hall = Hall {
            broker: restore.finish(),
            peer: Peer::new(V5_0),
        };
        let in_flight_len = hall.broker.session("reader").unwrap().in_flight_len;
        assert_eq!(in_flight_len, 2 + usize::from(kept.is_some()), "{row}");
        // The store says so, too: what comes of it once more is the same.
        for change in hall.broker.poll_journal().unwrap().changes() {
            match change.value() {
                Some(value) => {
                    let value = serde_json::to_value(value).unwrap();
                    table.insert(change.key().clone(), value);
                }
                None => drop(table.remove(change.key())),
            }
        }
        let mut again = Restore::new(limited.clone(), Timestamp::ZERO, Idle::default());
        for (key, value) in table {
            let value = serde_json::from_value(value).unwrap();
            assert_eq!(again.put(key, value), Ok(()), "{row}");
        }
        let mut hall = Hall {
            broker: again.finish(),
            peer: Peer::new(V5_0),
        };
        let mut packet = connect(V5_0, "reader");
        packet.clean_start = false;
        let (id, heard) = hall.enter(packet);
        while let Some(entry) = hall.broker.poll_journal() {
            hall.broker.handle_stored(entry.position());
        }
        let released = kept.map(|id| format!("PUBREL {id} 00"));
        let pubrels = heard.into_iter().chain(hall.hear(id));
        let pubrels: Vec<_> = pubrels.filter(|it| it.starts_with("PUBREL")).collect();
        assert_eq!(pubrels, released.into_iter().collect::<Vec<_>>(), "{row}");
        if let Some(kept) = kept {
            hall.ask(id, pubcomp(kept));
            let in_flight_len = hall.broker.session("reader").unwrap().in_flight_len;
            assert_eq!(in_flight_len, 2, "{row}: PUBCOMP frees it");
        }
    }
}

/// A store may say anything, also of the highest identifier for each of many sessions: what the tables of these take
/// counts towards the total.
#[test]
fn identifiers_out_of_a_store_have_a_limit_in_bytes() {
    let config = Config {
        total_bytes_max: 2 * 1024 * 1024,
        ..config()
    };
    let mut restore = Restore::new(config.clone(), Timestamp::ZERO, Idle::default());
    let put = |restore: &mut Restore, key, value| {
        let value = serde_json::from_value(value).unwrap();
        assert_eq!(restore.put(key, value), Ok(()));
    };
    for number in 1..=20_u64 {
        let session = stored_session(&number.to_string());
        put(&mut restore, key_of(3, number, &[]), session);
    }
    for number in 1..=20_u64 {
        let released = stored_delivery(json!({"Released": {"id": u16::MAX, "order": number}}), 2);
        put(
            &mut restore,
            key_of(5, number, &number.to_be_bytes()),
            released,
        );
    }
    let broker = restore.finish();
    let in_flight_len: usize = broker.sessions().map(|it| it.in_flight_len).sum();
    assert!((1..=4).contains(&in_flight_len), "{in_flight_len}");
    let kept = broker.stats().kept_bytes;
    assert!(kept <= config.total_bytes_max, "{kept}");
    assert!(kept > config.total_bytes_max / 2, "{kept}");
}

/// What the embedder takes away from a client comes back when the broker ends before that is stored: until then the
/// client does not hear that there is no such subscription.
#[test]
fn unsuback_of_what_was_taken_away_waits_for_the_store() {
    // [5:MQTT-3.10.4-2] [3:MQTT-3.10.4-2]
    for version in VERSIONS {
        let mut world = World::with(config());
        let who = world.client("c");
        world.resume(who, version);
        world.subscribe(who, &[want("t", QoS::AtMostOnce)]);
        world.settle();
        world.events(who);
        world.disk.lag = 1000;
        let filter = TopicFilter::new("t").unwrap();
        assert!(world.broker.revoke("c", filter), "{version}");
        for is_stored in [false, true] {
            if is_stored {
                world.disk.lag = 0;
            } else {
                world.of(who).unsubscribe(&[filter]).unwrap();
            }
            world.settle();
            let told = world.events(who);
            let told = { told.iter() }.any(|event| matches!(event, Event::Unsubscribed { .. }));
            assert_eq!(told, is_stored, "{version}");
        }
    }
}
