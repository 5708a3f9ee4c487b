//! What machines show of themselves, and what they never show.

use mqtt_codec::{Binary, Connect, Message, QoS, Will};
use mqtt_state::broker::{self, Stats};
use mqtt_state::client::{Config, State};
use mqtt_state::server::{self};
use mqtt_state::{InputWaits, OutputWaits, TimeoutReason, Timestamp, Traffic};

use crate::recorded::{Broker, Client, Connection};
use crate::wire::{Peer, V5_0, connack, connect, name, puback, publish, text, want};
use crate::world::World;

#[test]
fn machines_can_move_to_another_thread() {
    fn moved<T: Send + 'static>(machine: T) -> T {
        std::thread::Builder::new()
            .spawn(move || machine)
            .unwrap()
            .join()
            .unwrap()
    }
    let client = moved(Client::new(Config::default()));
    assert_eq!(client.state(), State::Disconnected);
    let connection = moved(Connection::new(Timestamp::ZERO, server::Config::default()));
    assert!(!connection.is_connected());
    let broker = moved(Broker::new(broker::Config::default()));
    assert_eq!(broker.stats(), Stats::default());
}

#[test]
fn secrets_and_payloads_stay_out_of_debug_output() {
    const SECRET: &[u8] = b"s3cret";
    let bytes = format!("{SECRET:?}");
    let bytes = bytes.trim_matches(['[', ']']);
    let will = Will {
        retain: true,
        ..Will::new(name("w"), Binary::new(SECRET).unwrap())
    };
    let secretive = Connect {
        user_name: Some(text("user")),
        password: Some(Binary::new(SECRET).unwrap()),
        will: Some(will),
        ..connect(V5_0, "c")
    };
    let mut world = World::new();
    let who = world.client("c");
    world.connect(who, &secretive);
    world.send(who, Message::new("t", SECRET).unwrap().with_retain(true));
    // Before it was sent, and when the broker has it.
    for _ in 0..2 {
        for shown in [
            format!("{world:?}"),
            format!("{world:#?}").split_whitespace().collect(),
        ] {
            assert!(
                !shown.contains("s3cret") && !shown.contains(bytes),
                "{shown}"
            );
            assert!(!shown.contains(&bytes.replace(' ', "")), "{shown}");
        }
        world.settle();
    }
}

/// What `$SYS` topics are made of.
#[test]
fn stats_count_what_has_been() {
    let config = broker::Config {
        server: server::Config {
            waiting_len_max: 1,
            payload_size_max: Some(10),
            ..server::Config::default()
        },
        ..broker::Config::default()
    };
    let mut world = World::with(config);
    let away = world.client("away");
    world.resume(away, V5_0);
    world.subscribe(away, &[want("t", QoS::AtLeastOnce)]);
    world.cut(away);
    let publisher = world.joined("publisher", V5_0);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtLeastOnce] {
        world.publish(publisher, "t", "x", qos);
        world.settle();
    }
    world.publish(publisher, "t", "longer than ten", QoS::ExactlyOnce);
    world.settle();
    let stats = world.broker.stats();
    assert_eq!((stats.connections, stats.connections_most), (1, 1));
    assert_eq!((stats.connections_taken, stats.clients), (2, 1));
    assert_eq!(stats.publishes_received, [1, 2, 1]);
    assert_eq!((stats.messages_dropped, stats.messages_refused), (1, 1));
    world.cut(publisher);
    let stats = world.broker.stats();
    assert_eq!((stats.clients, stats.connections_most), (0, 1));
}

#[test]
fn stats_count_what_is_there() {
    let mut world = World::new();
    let subscriber = world.subscribed("subscriber", V5_0, "t", QoS::AtLeastOnce);
    let publisher = world.joined("publisher", V5_0);
    world.publish_retained(publisher, "t", "x", QoS::AtLeastOnce);
    let Stats {
        connections,
        sessions,
        subscriptions,
        retained,
        messages,
        events_dropped,
        ..
    } = world.broker.stats();
    assert_eq!((connections, sessions, subscriptions), (2, 2, 1));
    assert_eq!((retained, messages, events_dropped), (1, 1, 0));
    let (before, after) = (world.of(subscriber).stats(), {
        let now = world.now;
        world.broker.publish(now, Message::new("t", "y").unwrap());
        world.settle();
        world.of(subscriber).stats()
    });
    assert_ne!(before, after, "traffic is counted");
    world.cut(subscriber);
    world.cut(publisher);
    let stats = world.broker.stats();
    assert_eq!(
        (
            stats.connections,
            stats.sessions,
            stats.subscriptions,
            stats.retained
        ),
        (0, 0, 0, 1)
    );
}

#[test]
fn a_machine_says_what_it_waits_for() {
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config {
        in_flight_max: 1,
        ..Config::default()
    });
    let message = || Message::new("t", "x").unwrap().with_qos(QoS::AtLeastOnce);
    client.publish(peer.now, message()).unwrap();
    assert_eq!(client.explain().output, Some(OutputWaits::ForConnection));
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    assert_eq!(
        client.explain().timeout.unwrap().reason,
        TimeoutReason::Connect
    );
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    assert_eq!(client.explain().output, Some(OutputWaits::ForPoll));
    client.publish(peer.now, message()).unwrap();
    peer.hear(&mut client);
    let explanation = client.explain();
    assert_eq!(explanation.output, Some(OutputWaits::ForAcknowledgement));
    assert_eq!(
        (
            explanation.waiting_len,
            explanation.in_flight_len,
            explanation.send_quota
        ),
        (1, 1, 0)
    );
    peer.ask(&mut client, puback(1));
    peer.ask(&mut client, puback(2));
    assert_eq!(client.explain().output, None);
    assert!(client.poll_timeout().unwrap().at > Timestamp::from_secs(1));
}

/// What goes over a connection is counted by packets and bytes, in all three machines alike.
#[test]
fn traffic_is_counted_packet_by_packet() {
    // CONNECT, SUBSCRIBE, CONNECT and PUBACK one way; CONNACK, SUBACK, PUBLISH, CONNACK and PUBLISH again
    // the other.
    let seen = |traffic: Traffic| {
        (
            (traffic.packets_received, traffic.packets_sent),
            (traffic.publishes_sent, traffic.publishes_repeated),
            (traffic.violations, traffic.quota_waits),
        )
    };
    let mut world = World::new();
    let who = world.client("c");
    world.resume(who, V5_0);
    world.subscribe(who, &[want("t", QoS::AtLeastOnce)]);
    world.settle();
    assert_eq!(seen(world.broker.stats().traffic), ((2, 2), (0, 0), (0, 0)));
    assert_eq!(seen(world.of(who).stats()), ((2, 2), (0, 0), (0, 0)));
    let now = world.now;
    let message = Message::new("t", "x").unwrap().with_qos(QoS::AtLeastOnce);
    world.broker.publish(now, message.clone());
    world.settle_for(1);
    world.cut(who);
    world.resume(who, V5_0);
    world.settle();
    assert_eq!(seen(world.broker.stats().traffic), ((4, 5), (2, 1), (0, 0)));
    let (up, down) = (world.of(who).stats(), world.broker.stats().traffic);
    assert_eq!(
        (up.packets_received, up.bytes_received),
        (5, down.bytes_sent)
    );
    assert_eq!((up.packets_sent, up.bytes_sent), (4, down.bytes_received));
    // And the other way.
    world.send(who, message.clone());
    world.send(who, message.with_qos(QoS::AtMostOnce));
    world.settle();
    assert_eq!(world.of(who).stats().publishes_sent, 2);
    assert_eq!(world.of(who).stats().publishes_repeated, 0);

    let peer = Peer::new(V5_0);
    let mut connection = Connection::new(peer.now, server::Config::default());
    peer.say(&mut connection, connect(V5_0, "c"));
    connection
        .accept(peer.now, server::Acceptance::default())
        .unwrap();
    let message = Message::new("t", "x").unwrap();
    connection.deliver(peer.now, message.clone()).unwrap();
    connection
        .deliver(peer.now, message.with_qos(QoS::AtLeastOnce))
        .unwrap();
    peer.hear(&mut connection);
    assert_eq!(seen(connection.stats()), ((1, 3), (2, 0), (0, 0)));
}

/// A server connection says of the messages for its client why they do not go.
#[test]
fn a_server_connection_says_why_messages_wait() {
    let peer = Peer::new(V5_0);
    let mut connection = Connection::new(
        peer.now,
        server::Config {
            in_flight_max: 1,
            ..server::Config::default()
        },
    );
    assert_eq!(connection.explain().output, None);
    peer.say(&mut connection, connect(V5_0, "c"));
    assert_eq!(connection.explain().input, Some(InputWaits::ForDecision));
    connection
        .accept(peer.now, server::Acceptance::default())
        .unwrap();
    let message = || Message::new("t", "x").unwrap().with_qos(QoS::AtLeastOnce);
    peer.hear(&mut connection);
    assert_eq!(
        (connection.explain().output, connection.explain().input),
        (None, None)
    );
    connection.deliver(peer.now, message()).unwrap();
    assert_eq!(connection.explain().output, Some(OutputWaits::ForPoll));
    peer.hear(&mut connection);
    connection.deliver(peer.now, message()).unwrap();
    assert_eq!(
        connection.explain().output,
        Some(OutputWaits::ForAcknowledgement)
    );
    connection.handle_close(peer.now);
    assert_eq!(
        connection.explain().output,
        Some(OutputWaits::ForConnection)
    );
}

/// The limit of bytes is one of what waits, not of all that has come.
#[test]
fn events_that_were_fetched_do_not_count_any_more() {
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config {
        events_bytes_max: 100,
        ..Config::default()
    });
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    for round in 0..50 {
        for value in 1..=2 {
            assert!(client.wants_input(), "message {value} in round {round}");
            let packet = publish(
                "topic",
                "forty-five bytes of payload to fill the limit",
                QoS::AtMostOnce,
                0,
            );
            peer.say(&mut client, packet);
        }
        assert!(!client.wants_input(), "100 bytes wait");
        assert_eq!(client.explain().input, Some(InputWaits::ForEvents));
        let fetched = core::iter::from_fn(|| client.poll_event()).count();
        assert!(fetched >= 2, "{fetched}");
    }
    assert!(client.wants_input());
}
