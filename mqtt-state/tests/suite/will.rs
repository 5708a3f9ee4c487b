//! Wills, take-over, and the end of sessions: everything that happens when somebody is gone.

use mqtt_codec::{
    Binary, Connect, DisconnectReason, ProtocolVersion, QoS, UserProperties, UserProperty, Will,
    WillProperties,
};
use mqtt_state::CloseCause;
use mqtt_state::broker;
use mqtt_state::client::Event;

use crate::wire::{Peer, V3_1_1, V5_0, name, text, want};
use crate::world::{Who, World};

/// CONNECT of `mortal` with a will.
fn mortal(
    version: ProtocolVersion,
    clean_start: bool,
    expiry_secs: u32,
    delay_secs: u32,
) -> Connect<'static> {
    let is_v5 = version == V5_0;
    let mut connect = Connect {
        clean_start,
        keep_alive_secs: 0,
        will: Some(Will {
            qos: QoS::AtLeastOnce,
            properties: WillProperties {
                delay_secs: is_v5.then_some(delay_secs),
                ..WillProperties::default()
            },
            ..Will::new(name("will"), Binary::new(b"gone").unwrap())
        }),
        ..Connect::new(version, text("mortal"))
    };
    connect.properties.session_expiry_secs = is_v5.then_some(expiry_secs);
    connect
}

fn with_observer(version: ProtocolVersion) -> (World, Who, Who) {
    let mut world = World::new();
    let observer = world.client("observer");
    let mut connect = Connect::new(version, text("observer"));
    connect.keep_alive_secs = 0;
    world.connect(observer, &connect);
    world.settle();
    world.subscribe(observer, &[want("will", QoS::ExactlyOnce)]);
    world.events(observer);
    let mortal = world.client("mortal");
    (world, observer, mortal)
}

#[test]
fn a_lost_connection_publishes_the_will_and_a_goodbye_does_not() {
    // [5:MQTT-3.1.2-8] [3:MQTT-3.1.2-8] [5:MQTT-3.1.2-10] [3:MQTT-3.1.2-10] [5:MQTT-3.14.4-3]
    for version in [V3_1_1, V5_0] {
        let (mut world, observer, who) = with_observer(version);
        world.connect(who, &mortal(version, true, 0, 0));
        world.settle();
        world.cut(who);
        world.settle();
        assert_eq!(world.got(observer), ["will=gone q1"], "{version}");

        world.connect(who, &mortal(version, true, 0, 0));
        world.settle();
        world.disconnect(who);
        world.settle();
        assert_eq!(world.got(observer), [""; 0], "{version}");
    }
}

#[test]
fn a_goodbye_for_another_reason_publishes_the_will() {
    for reason in [
        DisconnectReason::DisconnectWithWill,
        DisconnectReason::UnspecifiedError,
    ] {
        let (mut world, observer, who) = with_observer(V5_0);
        world.connect(who, &mortal(V5_0, true, 0, 0));
        world.settle();
        let now = world.now;
        world.of(who).disconnect(now, reason).unwrap();
        world.settle();
        assert_eq!(world.got(observer), ["will=gone q1"], "{reason:?}");
    }
}

#[test]
fn silence_and_faults_publish_the_will() {
    // [5:MQTT-3.1.2-22] [3:MQTT-3.1.2-24]
    let (mut world, observer, who) = with_observer(V5_0);
    let connect = Connect {
        keep_alive_secs: 10,
        ..mortal(V5_0, true, 0, 0)
    };
    world.connect(who, &connect);
    world.settle();
    world.vanish(who);
    world.pass_secs(14);
    assert_eq!(world.got(observer), [""; 0]);
    world.pass_secs(1);
    assert_eq!(world.got(observer), ["will=gone q1"], "keep alive");

    world.connect(who, &connect);
    world.settle();
    let connection = world.vanish(who).unwrap();
    let now = world.now;
    let _all = world.broker.handle_input(now, connection, &[0xFF, 0xFF]);
    world.settle();
    assert_eq!(world.got(observer), ["will=gone q1"], "malformed packet");
}

#[test]
fn a_will_may_wait_for_the_client_to_come_back() {
    // [5:MQTT-3.1.3-9]
    let (mut world, observer, who) = with_observer(V5_0);
    world.connect(who, &mortal(V5_0, false, 100, 20));
    world.settle();
    world.cut(who);
    world.pass_secs(19);
    assert_eq!(world.got(observer), [""; 0], "not yet");
    world.connect(who, &mortal(V5_0, false, 100, 20));
    world.pass_secs(100);
    assert_eq!(world.got(observer), [""; 0], "it came back");
    world.cut(who);
    world.pass_secs(20);
    assert_eq!(world.got(observer), ["will=gone q1"], "it did not");
    world.pass_secs(1000);
    assert_eq!(world.got(observer), [""; 0], "once");
}

/// Expiry, delay, and after how many seconds the will is published.
#[test]
fn the_will_never_waits_longer_than_the_session_lives() {
    // [5:MQTT-3.1.2-8]
    for (expiry_secs, delay_secs, published_after) in
        [(100, 20, 20), (10, 20, 10), (0, 20, 0), (u32::MAX, 5, 5)]
    {
        let (mut world, observer, who) = with_observer(V5_0);
        world.connect(who, &mortal(V5_0, false, expiry_secs, delay_secs));
        world.settle();
        world.cut(who);
        let row = format!("expiry {expiry_secs}, delay {delay_secs}");
        if published_after > 0 {
            world.pass_secs(published_after - 1);
            assert_eq!(world.got(observer), [""; 0], "{row}");
            world.pass_secs(1);
        }
        world.settle();
        assert_eq!(world.got(observer), ["will=gone q1"], "{row}");
    }
}

#[test]
fn a_clean_start_ends_the_session_and_so_publishes_the_will() {
    // [5:MQTT-3.1.2-8] [5:MQTT-3.1.3-9]
    let (mut world, observer, who) = with_observer(V5_0);
    world.connect(who, &mortal(V5_0, false, 100, 20));
    world.settle();
    world.cut(who);
    world.connect(who, &mortal(V5_0, true, 100, 20));
    world.settle();
    assert_eq!(world.got(observer), ["will=gone q1"]);
}

/// Clean start of the newer connection, delay of the older will, whether that will is published.
#[test]
fn take_over_publishes_the_old_will_unless_it_may_wait() {
    // [5:MQTT-3.1.4-3] [3:MQTT-3.1.4-2]
    for (clean_start, delay_secs, published) in
        [(false, 0, true), (false, 20, false), (true, 20, true)]
    {
        let (mut world, observer, who) = with_observer(V5_0);
        world.connect(who, &mortal(V5_0, false, 100, delay_secs));
        world.settle();
        // The client has noticed that its connection is dead, the broker has not.
        let old = world.vanish(who).unwrap();
        world.connect(who, &mortal(V5_0, clean_start, 100, delay_secs));
        world.settle();
        let expected: &[&str] = if published { &["will=gone q1"] } else { &[] };
        assert_eq!(
            world.got(observer),
            expected,
            "clean start {clean_start}, delay {delay_secs}"
        );
        let mut peer = Peer::new(V5_0);
        peer.now = world.now;
        let heard = peer.hear(&mut (&mut world.broker, old));
        assert_eq!(heard, ["DISCONNECT 8E", "close"]);
    }
}

#[test]
fn take_over_in_3_1_1_closes_the_older_connection() {
    // [3:MQTT-3.1.4-2]
    let mut world = World::new();
    let who = world.client("c");
    world.resume(who, V3_1_1);
    world.subscribe(who, &[want("t", QoS::AtLeastOnce)]);
    let old = world.vanish(who).unwrap();
    world.resume(who, V3_1_1);
    assert!(world.events(who).contains(&Event::Connected {
        session_present: true
    }));
    let mut peer = Peer::new(V3_1_1);
    peer.now = world.now;
    assert_eq!(peer.hear(&mut (&mut world.broker, old)), ["close"]);
    let taken_over = CloseCause::Disconnected(DisconnectReason::SessionTakenOver);
    let causes = world
        .broker_events()
        .into_iter()
        .filter_map(|event| match event {
            broker::Event::Closed { cause, .. } => Some(cause),
            _ => None,
        });
    assert!(causes.into_iter().any(|cause| cause == taken_over));
    let publisher = world.joined("publisher", V3_1_1);
    world.publish(publisher, "t", "x", QoS::AtLeastOnce);
    world.settle();
    assert_eq!(world.got(who), ["t=x q1"], "to the newer one");
}

#[test]
fn a_new_connect_brings_its_own_will_or_none() {
    // [5:MQTT-3.1.2-7] [3:MQTT-3.1.2-8]
    let (mut world, observer, who) = with_observer(V5_0);
    world.connect(who, &mortal(V5_0, false, 100, 20));
    world.settle();
    world.cut(who);
    let without = Connect {
        will: None,
        ..mortal(V5_0, false, 100, 20)
    };
    world.connect(who, &without);
    world.settle();
    world.cut(who);
    world.pass_secs(1000);
    assert_eq!(world.got(observer), [""; 0]);
}

#[test]
fn a_will_is_an_ordinary_message() {
    // [5:MQTT-3.1.2-14] [5:MQTT-3.1.2-15] [3:MQTT-3.1.2-16] [3:MQTT-3.1.2-17] with its RETAIN flag
    let mut world = World::new();
    let who = world.client("mortal");
    let mut connect = mortal(V5_0, true, 0, 0);
    let will = connect.will.as_mut().unwrap();
    will.retain = true;
    will.properties.message_expiry_secs = Some(50);
    will.properties.content_type = Some(text("text/plain"));
    world.connect(who, &connect);
    world.settle();
    world.pass_secs(100);
    world.cut(who);
    let late = world.joined("late", V5_0);
    world.subscribe(late, &[want("will", QoS::AtLeastOnce)]);
    let messages = world.messages(late);
    assert_eq!(messages.len(), 1);
    assert!(messages[0].retain());
    let properties = messages[0].properties();
    assert_eq!(properties.content_type, Some(text("text/plain")));
    assert_eq!(
        properties.message_expiry_secs,
        Some(50),
        "counted from its publication"
    );
}

#[test]
fn a_refused_connect_leaves_no_will() {
    let (mut world, observer, _who) = with_observer(V3_1_1);
    let connection = world
        .broker
        .accept(world.now, broker::Peer::default())
        .unwrap();
    // No identifier and no clean session.
    let bytes = b"\x10\x18\x00\x04MQTT\x04\x04\x00\x3C\x00\x00\x00\x04will\x00\x04gone";
    let now = world.now;
    let _all = world.broker.handle_input(now, connection, bytes);
    world.broker.handle_close(now, connection);
    world.settle();
    assert_eq!(world.got(observer), [""; 0]);
}

#[test]
fn sessions_end_when_their_time_is_over() {
    // [5:MQTT-3.1.2-23] [5:MQTT-4.1.0-2]
    let mut world = World::new();
    let who = world.client("c");
    let mut connect = Connect::new(V5_0, text("c"));
    connect.properties.session_expiry_secs = Some(60);
    world.connect(who, &connect);
    world.settle();
    world.subscribe(
        who,
        &[
            want("t", QoS::AtLeastOnce),
            want("$share/g/t", QoS::AtLeastOnce),
        ],
    );
    world.pass_secs(1000);
    assert_eq!(world.broker.stats().sessions, 1, "never while connected");
    world.cut(who);
    let now = world.now;
    world.broker.publish(
        now,
        mqtt_codec::Message::new("t", "x")
            .unwrap()
            .with_qos(QoS::AtLeastOnce),
    );
    world.pass_secs(59);
    let stats = world.broker.stats();
    assert_eq!(
        (stats.sessions, stats.subscriptions, stats.messages),
        (1, 2, 1)
    );
    world.pass_secs(1);
    let stats = world.broker.stats();
    assert_eq!(
        (stats.sessions, stats.subscriptions, stats.messages),
        (0, 0, 0)
    );
    assert_eq!(stats.timers, 0, "nothing is due any more");
}

#[test]
fn a_session_that_has_ended_is_not_resumed_however_late_the_time_is_told() {
    let mut world = World::new();
    let who = world.client("c");
    let mut connect = Connect {
        clean_start: false,
        ..Connect::new(V5_0, text("c"))
    };
    connect.properties.session_expiry_secs = Some(60);
    world.connect(who, &connect);
    world.settle();
    world.cut(who);
    world.events(who);
    // Nobody called `handle_timeout` in between.
    world.now = world.now + core::time::Duration::from_secs(61);
    world.connect(who, &connect);
    world.settle();
    assert_eq!(
        world.events(who)[0],
        Event::Connected {
            session_present: false
        }
    );
}

#[test]
fn without_a_will_nobody_is_told() {
    // [3:MQTT-3.1.2-12]
    for version in [V3_1_1, V5_0] {
        let (mut world, observer, who) = with_observer(version);
        let everything = world.subscribed("everything", version, "#", QoS::AtMostOnce);
        let without = Connect {
            will: None,
            ..mortal(version, true, 0, 0)
        };
        world.connect(who, &without);
        world.settle();
        world.cut(who);
        world.pass_secs(1000);
        assert_eq!(world.got(observer), [""; 0], "{version}");
        assert_eq!(world.got(everything), [""; 0], "{version}");
    }
}

#[test]
fn a_will_keeps_its_user_properties_in_their_order() {
    // [5:MQTT-3.1.3-10]
    let (mut world, observer, who) = with_observer(V5_0);
    let pairs = [("b", "1"), ("a", "2"), ("b", "0")].map(|(name, value)| UserProperty {
        name: text(name),
        value: text(value),
    });
    let mut connect = mortal(V5_0, true, 0, 0);
    let will = connect.will.as_mut().unwrap();
    will.properties.user_properties = UserProperties::new(&pairs);
    world.connect(who, &connect);
    world.settle();
    world.cut(who);
    world.settle();
    let messages = world.messages(observer);
    let got: Vec<_> = { messages[0].properties().user_properties.iter() }
        .map(|pair| {
            (
                pair.name.as_str().to_owned(),
                pair.value.as_str().to_owned(),
            )
        })
        .collect();
    let expected = [("b", "1"), ("a", "2"), ("b", "0")];
    assert_eq!(
        got,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}
