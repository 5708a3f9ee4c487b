//! Topic aliases in both directions, and what a message carries through the broker.

use core::num::NonZeroU32;

use mqtt_codec::{
    Binary, Message, PayloadFormat, PublishProperties, PublishTopic, QoS, TopicAlias,
    UserProperties, UserProperty,
};
use mqtt_state::client::{Config, Event};
use mqtt_state::{broker, server};

use crate::recorded::{Broker, Client};
use crate::wire::{
    Peer, V3_1_1, V5_0, connack, connect, name, publish, text, want, with_subscribe,
};
use crate::world::World;

fn alias(value: u16) -> TopicAlias {
    TopicAlias::new(value).unwrap()
}

/// A client that was told how many aliases the server takes.
fn client(aliases: u16) -> (Client, Peer) {
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    let mut answer = connack(false);
    answer.properties.topic_alias_maximum = Some(aliases);
    peer.say(&mut client, answer);
    while client.poll_event().is_some() {}
    (client, peer)
}

fn send(client: &mut Client, peer: &Peer, topic: &str) -> String {
    let message = Message::new(topic, "x").unwrap();
    client.publish(peer.now, message).unwrap();
    peer.hear(client).concat()
}

#[test]
fn a_sender_sets_an_alias_and_then_uses_it() {
    // [5:MQTT-3.3.2-8] [5:MQTT-3.3.2-10] [5:MQTT-3.3.2-12]
    let (mut client, peer) = client(2);
    assert_eq!(send(&mut client, &peer, "long/a"), "PUBLISH long/a@1=x q0");
    assert_eq!(send(&mut client, &peer, "long/a"), "PUBLISH @1=x q0");
    assert_eq!(send(&mut client, &peer, "long/b"), "PUBLISH long/b@2=x q0");
    assert_eq!(send(&mut client, &peer, "long/b"), "PUBLISH @2=x q0");
    assert_eq!(send(&mut client, &peer, "long/a"), "PUBLISH @1=x q0");
}

#[test]
fn without_aliases_topics_are_written_out() {
    // [5:MQTT-3.3.2-9] [5:MQTT-3.3.2-11] [5:MQTT-3.2.2-18]
    let (mut client, peer) = client(0);
    for _ in 0..3 {
        assert_eq!(send(&mut client, &peer, "long/a"), "PUBLISH long/a=x q0");
    }
}

#[test]
fn aliases_end_with_their_connection() {
    // Client: [5:MQTT-3.3.2-7]
    let (mut client, peer) = client(2);
    send(&mut client, &peer, "long/a");
    client.handle_close(peer.now);
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    let mut answer = connack(false);
    answer.properties.topic_alias_maximum = Some(2);
    peer.say(&mut client, answer);
    assert_eq!(send(&mut client, &peer, "long/a"), "PUBLISH long/a@1=x q0");
}

/// What the peer sends, one after the other, and what the client makes of it.
#[test]
fn a_receiver_keeps_the_aliases_it_announced() {
    // [5:MQTT-3.1.2-26] [5:MQTT-3.1.2-27] [5:MQTT-3.3.2-9]
    let (mut client, peer) = client(0);
    let packet = |topic| mqtt_codec::Publish {
        topic,
        ..publish("t", "x", QoS::AtMostOnce, 0)
    };
    let rows = [
        (PublishTopic::NameAndAlias(name("a"), alias(10)), "a"),
        (PublishTopic::Alias(alias(10)), "a"),
        (PublishTopic::NameAndAlias(name("b"), alias(10)), "b"),
        (PublishTopic::Alias(alias(10)), "b"),
        (PublishTopic::NameAndAlias(name("c"), alias(1)), "c"),
        (PublishTopic::Alias(alias(10)), "b"),
    ];
    for (topic, expected) in rows {
        peer.say(&mut client, packet(topic));
        let Some(Event::Message { message, .. }) = client.poll_event() else {
            panic!("{topic:?}");
        };
        assert_eq!(message.topic(), name(expected), "{topic:?}");
    }
    assert_eq!(
        peer.ask(&mut client, packet(PublishTopic::Alias(alias(2)))),
        ["DISCONNECT 82", "close"],
        "never set"
    );
}

#[test]
fn an_alias_above_the_maximum_ends_the_connection() {
    // [5:MQTT-3.3.2-8] [5:MQTT-3.3.2-9] and 0x94
    for topic in [
        PublishTopic::NameAndAlias(name("a"), alias(11)),
        PublishTopic::Alias(alias(11)),
    ] {
        let (mut client, peer) = client(0);
        let packet = mqtt_codec::Publish {
            topic,
            ..publish("t", "x", QoS::AtMostOnce, 0)
        };
        assert_eq!(
            peer.ask(&mut client, packet),
            ["DISCONNECT 94", "close"],
            "{topic:?}"
        );
    }
}

#[test]
fn aliases_of_one_side_mean_nothing_on_the_other() {
    // [5:MQTT-3.3.2-7]
    let mut world = World::new();
    let subscriber = world.subscribed("subscriber", V5_0, "#", QoS::AtLeastOnce);
    let old = world.subscribed("old", V3_1_1, "#", QoS::AtLeastOnce);
    let publisher = world.joined("publisher", V5_0);
    for topic in ["first", "second", "second", "first"] {
        world.publish(publisher, topic, "x", QoS::AtLeastOnce);
    }
    world.settle();
    let expected = ["first=x q1", "second=x q1", "second=x q1", "first=x q1"];
    assert_eq!(world.got(subscriber), expected);
    assert_eq!(world.got(old), expected);
}

#[test]
fn what_is_sent_again_has_its_topic() {
    // [5:MQTT-3.3.2-7]
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    let mut resuming = connect(V5_0, "c");
    resuming.clean_start = false;
    resuming.properties.session_expiry_secs = Some(100);
    let begin = |client: &mut Client, session_present| {
        client.connect(peer.now, &resuming).unwrap();
        peer.hear(client);
        let mut answer = connack(session_present);
        answer.properties.topic_alias_maximum = Some(5);
        peer.ask(client, answer)
    };
    begin(&mut client, false);
    for _ in 0..2 {
        let message = Message::new("long/a", "x")
            .unwrap()
            .with_qos(QoS::AtLeastOnce);
        client.publish(peer.now, message).unwrap();
    }
    assert_eq!(
        peer.hear(&mut client),
        ["PUBLISH long/a@1=x q1 id1", "PUBLISH @1=x q1 id2"]
    );
    client.handle_close(peer.now);
    let again = begin(&mut client, true);
    assert_eq!(
        again,
        ["PUBLISH long/a@1=x q1 id1 dup", "PUBLISH @1=x q1 id2 dup"],
        "aliases of the new connection"
    );
}

#[test]
fn properties_travel_with_the_message() {
    // [5:MQTT-3.3.2-18]
    let users = [("k", "1"), ("other", ""), ("k", "2")].map(|(key, value)| UserProperty {
        name: text(key),
        value: text(value),
    });
    let properties = PublishProperties {
        payload_format: Some(PayloadFormat::Utf8), // [5:MQTT-3.3.2-4]
        content_type: Some(text("text/plain")),    // [5:MQTT-3.3.2-20]
        response_topic: Some(name("answers/here")), // [5:MQTT-3.3.2-15]
        correlation_data: Some(Binary::new(b"\x00\xFF").unwrap()), // [5:MQTT-3.3.2-16]
        user_properties: UserProperties::new(&users), // [5:MQTT-3.3.2-17]
        ..PublishProperties::default()
    };
    let mut world = World::new();
    let subscriber = world.subscribed("subscriber", V5_0, "t", QoS::AtLeastOnce);
    let old = world.subscribed("old", V3_1_1, "t", QoS::AtLeastOnce);
    let publisher = world.joined("publisher", V5_0);
    let message = Message::new("t", "x")
        .unwrap()
        .with_properties(&properties)
        .unwrap();
    world.send(publisher, message);
    world.settle();
    let messages = world.messages(subscriber);
    assert_eq!(messages[0].properties(), properties);
    assert_eq!(
        world.messages(old)[0].properties(),
        PublishProperties::default()
    );
}

#[test]
fn a_topic_can_be_given_its_alias_by_hand() {
    let (mut client, peer) = client(1);
    send(&mut client, &peer, "long/a");
    assert!(client.pin_topic(name("long/b")), "it takes the only one");
    assert_eq!(send(&mut client, &peer, "long/b"), "PUBLISH long/b@1=x q0");
    for _ in 0..5 {
        assert_eq!(send(&mut client, &peer, "long/a"), "PUBLISH long/a=x q0");
    }
    assert_eq!(send(&mut client, &peer, "long/b"), "PUBLISH @1=x q0");
    client.unpin_topic(name("long/b"));
    let mut all = (0..5).map(|_| send(&mut client, &peer, "long/a"));
    assert!(all.any(|sent| sent == "PUBLISH long/a@1=x q0"));
}

#[test]
fn an_alias_by_hand_is_set_anew_on_every_connection() {
    // [5:MQTT-3.3.2-7]
    let config = Config {
        automatic_topic_aliases: false,
        outbound_topic_aliases_max: 2,
        ..Config::default()
    };
    let (mut client, peer) = (Client::new(config), Peer::new(V5_0));
    assert!(client.pin_topic(name("long/x")));
    client.unpin_topic(name("long/x"));
    for topic in ["long/a", "long/b", "long/a"] {
        assert!(client.pin_topic(name(topic)), "{topic}");
    }
    assert!(!client.pin_topic(name("long/c")), "two is what it may use");
    for _ in 0..2 {
        client.connect(peer.now, &connect(V5_0, "c")).unwrap();
        peer.hear(&mut client);
        let mut answer = connack(false);
        answer.properties.topic_alias_maximum = Some(9);
        peer.say(&mut client, answer);
        assert_eq!(send(&mut client, &peer, "long/b"), "PUBLISH long/b@2=x q0");
        assert_eq!(send(&mut client, &peer, "long/b"), "PUBLISH @2=x q0");
        assert_eq!(send(&mut client, &peer, "long/c"), "PUBLISH long/c=x q0");
        client.handle_close(peer.now);
    }
}

#[test]
fn aliases_of_a_server_end_with_their_connection() {
    // Server: [5:MQTT-3.3.2-7]
    let peer = Peer::new(V5_0);
    let mut session = Some(server::Session::default());
    for _ in 0..2 {
        let mut connection = crate::recorded::Connection::new(peer.now, server::Config::default());
        let mut packet = connect(V5_0, "c");
        packet.clean_start = false;
        packet.properties.topic_alias_maximum = Some(2);
        peer.say(&mut connection, packet);
        let acceptance = server::Acceptance {
            session: session.take(),
            ..server::Acceptance::default()
        };
        connection.accept(peer.now, acceptance).unwrap();
        peer.hear(&mut connection);
        let mut sent = Vec::new();
        for _ in 0..5 {
            let message = Message::new("long/a", "x").unwrap();
            connection.deliver(peer.now, message).unwrap();
            sent.extend(peer.hear(&mut connection));
        }
        let first = sent.iter().position(|it| it.contains("@1"));
        let first = first.unwrap_or_else(|| panic!("{sent:?}"));
        assert_eq!(
            sent[first], "PUBLISH long/a@1=x q0",
            "set before it is used"
        );
        assert_eq!(sent[4], "PUBLISH @1=x q0");
        // One of the client's own, which only this connection knows.
        peer.say(
            &mut connection,
            mqtt_codec::Publish {
                topic: PublishTopic::NameAndAlias(name("up"), alias(1)),
                ..publish("t", "x", QoS::AtMostOnce, 0)
            },
        );
        connection.handle_close(peer.now);
        session = connection.into_session();
    }
    let mut connection = crate::recorded::Connection::new(peer.now, server::Config::default());
    peer.say(&mut connection, connect(V5_0, "c"));
    connection
        .accept(peer.now, server::Acceptance::default())
        .unwrap();
    peer.hear(&mut connection);
    let unset = mqtt_codec::Publish {
        topic: PublishTopic::Alias(alias(1)),
        ..publish("t", "x", QoS::AtMostOnce, 0)
    };
    assert_eq!(peer.ask(&mut connection, unset), ["DISCONNECT 82", "close"]);
}

/// The property that sets an alias takes three bytes, which may be those that are too many.
#[test]
fn a_message_that_is_too_large_with_an_alias_goes_without() {
    // [5:MQTT-3.1.2-25] [5:MQTT-3.2.2-15] Only what is too large as it is.
    for (row, len, expected) in [
        ("with one to spare", 8, "PUBLISH long/a@1="),
        ("with nothing to spare", 9, "PUBLISH long/a@1="),
        ("one too many", 10, "PUBLISH long/a="),
        ("all too many", 12, "PUBLISH long/a="),
        ("too large", 13, ""),
    ] {
        // Two bytes of header, the topic, the length of properties, and the payload.
        let size_max = NonZeroU32::new(2 + 8 + 1 + 12);
        let payload = "x".repeat(len);
        let message = || Message::new("long/a", payload.clone()).unwrap();
        let expected = match expected {
            "" => String::new(),
            some => format!("{some}{payload} q0"),
        };

        let peer = Peer::new(V5_0);
        let mut client = Client::new(Config::default());
        client.connect(peer.now, &connect(V5_0, "c")).unwrap();
        peer.hear(&mut client);
        let mut answer = connack(false);
        answer.properties.topic_alias_maximum = Some(2);
        answer.properties.packet_size_max = size_max;
        peer.say(&mut client, answer);
        let taken = client.publish(peer.now, message());
        assert_eq!(taken.is_ok(), !expected.is_empty(), "{row}");
        assert_eq!(peer.hear(&mut client).concat(), expected, "client, {row}");

        let mut broker = Broker::new(broker::Config::default());
        let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
        let mut packet = connect(V5_0, "c");
        packet.properties.topic_alias_maximum = Some(2);
        packet.properties.packet_size_max = size_max;
        peer.ask(&mut (&mut broker, id), packet);
        with_subscribe(1, &[want("long/a", QoS::AtMostOnce)], |packet| {
            peer.ask(&mut (&mut broker, id), packet)
        });
        broker.publish(peer.now, message());
        let heard = peer.hear(&mut (&mut broker, id));
        assert_eq!(heard.concat(), expected, "server, {row}");
    }
}
