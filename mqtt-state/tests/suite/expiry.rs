//! Messages that are too late.

use mqtt_codec::{Message, PublishProperties, QoS};
use mqtt_state::broker::{self, DropCause};
use mqtt_state::client::{Event, LostCause};

use crate::wire::{V3_1_1, V5_0, want};
use crate::world::{Who, World};

fn expiring(payload: &str, secs: u32, qos: QoS) -> Message {
    let properties = PublishProperties {
        message_expiry_secs: Some(secs),
        ..PublishProperties::default()
    };
    let message = Message::new("t", payload.to_owned()).unwrap().with_qos(qos);
    message.with_properties(&properties).unwrap()
}

/// A publisher, and a subscriber that is away and has a session.
fn with_absent_subscriber() -> (World, Who, Who) {
    let mut world = World::new();
    let (publisher, subscriber) = (world.joined("publisher", V5_0), world.client("subscriber"));
    world.resume(subscriber, V5_0);
    world.subscribe(subscriber, &[want("t", QoS::ExactlyOnce)]);
    world.cut(subscriber);
    world.events(subscriber);
    world.broker_events();
    (world, publisher, subscriber)
}

#[test]
fn a_message_that_waited_too_long_is_dropped_and_told() {
    // [5:MQTT-3.3.2-5]
    let (mut world, publisher, subscriber) = with_absent_subscriber();
    world.send(publisher, expiring("short", 10, QoS::AtLeastOnce));
    world.send(publisher, expiring("long", 100, QoS::ExactlyOnce));
    world.publish(publisher, "t", "for ever", QoS::AtLeastOnce);
    world.pass_secs(30);
    world.resume(subscriber, V5_0);
    let messages = world.messages(subscriber);
    let shown: Vec<_> = messages
        .iter()
        .map(|message| {
            (
                message.payload().to_vec(),
                message.properties().message_expiry_secs,
            )
        })
        .collect();
    // [5:MQTT-3.3.2-6] Less the time that it waited.
    assert_eq!(
        shown,
        [(b"long".to_vec(), Some(70)), (b"for ever".to_vec(), None)]
    );
    let dropped = world
        .broker_events()
        .iter()
        .filter(|event| {
            matches!(
                event,
                broker::Event::Dropped {
                    cause: DropCause::Expired,
                    ..
                }
            )
        })
        .count();
    assert_eq!(dropped, 1);
    assert_eq!(world.broker.stats().messages, 0);
}

#[test]
fn the_deadline_itself_is_too_late_and_the_second_before_is_not() {
    for (waited, expected) in [(9, 1), (10, 0)] {
        let (mut world, publisher, subscriber) = with_absent_subscriber();
        world.send(publisher, expiring("x", 10, QoS::AtLeastOnce));
        world.pass_secs(waited);
        world.resume(subscriber, V5_0);
        assert_eq!(world.got(subscriber).len(), expected, "after {waited} s");
    }
}

#[test]
fn an_expiry_of_0_reaches_who_is_there() {
    let mut world = World::new();
    let subscriber = world.subscribed("subscriber", V5_0, "t", QoS::AtMostOnce);
    let publisher = world.joined("publisher", V5_0);
    world.send(publisher, expiring("x", 1, QoS::AtMostOnce));
    world.settle();
    assert_eq!(world.got(subscriber), ["t=x q0"]);
}

#[test]
fn after_the_first_sending_expiry_stops_nothing() {
    // [5:MQTT-4.3.3-7] [5:MQTT-4.3.3-13]
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut world = World::new();
        let (publisher, subscriber) = (world.joined("publisher", V5_0), world.client("subscriber"));
        world.resume(subscriber, V5_0);
        world.subscribe(subscriber, &[want("t", QoS::ExactlyOnce)]);
        world.events(subscriber);
        world.send(publisher, expiring("x", 10, qos));
        // PUBLISH to the broker, and out of it: polled, and lost on the way.
        world.settle_for(1);
        let connection = world.connection(subscriber).unwrap();
        let (now, mut lost) = (world.now, Vec::new());
        let _transmit = world.broker.poll_transmit(now, connection, 4096, &mut lost);
        assert!(!lost.is_empty(), "{qos}");
        world.cut(subscriber);
        world.pass_secs(100);
        world.resume(subscriber, V5_0);
        assert_eq!(world.got(subscriber).len(), 1, "{qos}");
    }
}

#[test]
fn a_client_drops_its_own_late_messages_and_says_so() {
    let mut world = World::new();
    let publisher = world.client("publisher");
    let late = world.send(publisher, expiring("late", 10, QoS::AtLeastOnce));
    let early = world.send(publisher, expiring("early", 100, QoS::AtLeastOnce));
    world.pass_secs(20);
    let subscriber = world.subscribed("subscriber", V3_1_1, "t", QoS::AtLeastOnce);
    world.join(publisher, V5_0);
    assert_eq!(world.got(subscriber), ["t=early q1"]);
    let events = world.events(publisher);
    let lost = events.iter().any(|event| {
        matches!(event, Event::PublishLost { token, cause: LostCause::Expired, .. } if *token == late)
    });
    let published = events
        .iter()
        .any(|event| matches!(event, Event::Published { token, .. } if *token == early));
    assert!(lost && published, "{events:?}");
}
