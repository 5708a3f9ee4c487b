//! Receive Maximum, and what a slow peer can do: nothing to the others, and little to us.

use core::num::NonZeroU16;

use bytes::{Buf as _, BytesMut};
use mqtt_codec::{Connect, DisconnectReason, Message, Packet, PublishReason, QoS, ReasonCode};
use mqtt_state::broker::{self, DropCause};
use mqtt_state::client::{self, Event, PublishErrorKind};
use mqtt_state::{CloseCause, InputWaits, OutputWaits, ProtocolError, Timestamp, Transmit, server};

use crate::hall::Hall;
use crate::recorded::{Broker, Client};
use crate::wire::{
    Peer, V3_1_1, V5_0, connack, connect, filter, id, puback, pubcomp, publish, pubrec, pubrel,
    text, want, with_subscribe,
};
use crate::world::World;

fn client_with_quota(quota: u16, config: client::Config) -> (Client, Peer) {
    let peer = Peer::new(V5_0);
    let mut client = Client::new(config);
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    let mut answer = connack(false);
    answer.properties.receive_maximum = NonZeroU16::new(quota);
    peer.say(&mut client, answer);
    while client.poll_event().is_some() {}
    (client, peer)
}

fn message(payload: &str, qos: QoS) -> Message {
    Message::new("t", payload.to_owned()).unwrap().with_qos(qos)
}

#[test]
fn the_quota_of_the_receiver_holds_back_qos_1_and_2_and_nothing_else() {
    // [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-8] [5:MQTT-4.9.0-1] [5:MQTT-4.9.0-2] [5:MQTT-4.9.0-3]
    let (mut client, peer) = client_with_quota(2, client::Config::default());
    for (payload, qos) in [
        ("a", QoS::AtLeastOnce),
        ("b", QoS::ExactlyOnce),
        ("c", QoS::AtLeastOnce),
        ("d", QoS::AtMostOnce),
        ("e", QoS::ExactlyOnce),
    ] {
        client.publish(peer.now, message(payload, qos)).unwrap();
    }
    client.subscribe(&[want("f", QoS::AtMostOnce)]).unwrap();
    let heard = peer.hear(&mut client);
    let expected = [
        "SUBSCRIBE 1",
        "PUBLISH t=a q1 id2",
        "PUBLISH t=b q2 id3",
        "PUBLISH t=d q0",
    ];
    assert_eq!(heard, expected);
    assert_eq!(
        client.explain().output,
        Some(OutputWaits::ForAcknowledgement)
    );
    // PUBREC gives nothing back, PUBACK and PUBCOMP do.
    assert_eq!(peer.ask(&mut client, pubrec(3)), ["PUBREL 3 00"]);
    assert_eq!(peer.ask(&mut client, puback(2)), ["PUBLISH t=c q1 id4"]);
    assert_eq!(peer.ask(&mut client, pubcomp(3)), ["PUBLISH t=e q2 id5"]);
    assert_eq!(client.explain().send_quota, 0);
}

#[test]
fn a_refusal_gives_the_quota_back() {
    // [5:MQTT-4.9.0-1]
    let (mut client, peer) = client_with_quota(1, client::Config::default());
    client
        .publish(peer.now, message("a", QoS::ExactlyOnce))
        .unwrap();
    client
        .publish(peer.now, message("b", QoS::ExactlyOnce))
        .unwrap();
    assert_eq!(peer.hear(&mut client), ["PUBLISH t=a q2 id1"]);
    let refusal = mqtt_codec::Ack::new(id(1), PublishReason::NotAuthorized);
    assert_eq!(
        peer.ask(&mut client, Packet::PubRec(refusal)),
        ["PUBLISH t=b q2 id2"]
    );
}

#[test]
fn the_quota_never_rises_above_its_start() {
    let (mut client, peer) = client_with_quota(2, client::Config::default());
    for _ in 0..5 {
        peer.say(&mut client, pubcomp(9));
        peer.say(&mut client, puback(9));
    }
    assert_eq!(client.explain().send_quota, 2);
}

#[test]
fn a_publisher_that_exceeds_the_receive_maximum_is_disconnected() {
    // [5:MQTT-3.3.4-9] and 0x93
    let config = broker::Config {
        server: server::Config {
            receive_maximum: 2,
            ..server::Config::default()
        },
        ..broker::Config::default()
    };
    let mut broker = Broker::new(config);
    let peer = Peer::new(V5_0);
    let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let mut line = (&mut broker, connection);
    peer.ask(&mut line, connect(V5_0, "c"));
    for value in 1..=2 {
        peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, value));
    }
    // The same identifier again is no third one; QoS 0 does not count; one that is over neither.
    assert_eq!(
        peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, 2)),
        ["PUBREC 2 00"]
    );
    assert_eq!(
        peer.ask(&mut line, publish("t", "x", QoS::AtMostOnce, 0)),
        [""; 0]
    );
    assert_eq!(peer.ask(&mut line, pubrel(1)), ["PUBCOMP 1 00"]);
    assert_eq!(
        peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, 3)),
        ["PUBREC 3 10"]
    );
    let heard = peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, 4));
    assert_eq!(heard, ["DISCONNECT 93", "close"]);
    let cause = core::iter::from_fn(|| broker.poll_event()).find_map(|event| match event {
        broker::Event::Closed { cause, .. } => Some(cause),
        _ => None,
    });
    let error = ProtocolError::ReceiveMaximumExceeded { maximum: 2 };
    assert_eq!(cause, Some(CloseCause::ProtocolError(error)));
}

/// What is never released is open over all connections: twice what one may have, and at least 16.
#[test]
fn what_is_never_released_has_an_end_over_all_connections() {
    for (version, maximum, limit, goodbye) in [
        (V5_0, 2, 16, &["DISCONNECT 93", "close"][..]),
        (V5_0, 40, 80, &["DISCONNECT 93", "close"]),
        (V3_1_1, 40, 80, &["close"]),
    ] {
        let config = broker::Config {
            server: server::Config {
                receive_maximum: maximum,
                receive_maximum_v3: maximum,
                ..server::Config::default()
            },
            ..broker::Config::default()
        };
        let mut broker = Broker::new(config);
        let peer = Peer::new(version);
        let mut hello = connect(version, "c");
        hello.clean_start = false;
        if version == V5_0 {
            hello.properties.session_expiry_secs = Some(100);
        }
        let mut taken = 0;
        let heard = 'all: loop {
            let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
            let mut line = (&mut broker, id);
            peer.ask(&mut line, hello);
            // As many as one connection lets go, with new identifiers each time.
            for _ in 0..maximum {
                let packet = publish("t", "x", QoS::ExactlyOnce, taken + 1);
                let heard = peer.ask(&mut line, packet);
                if heard.last().is_some_and(|word| word == "close") {
                    break 'all heard;
                }
                taken += 1;
            }
            broker.handle_close(peer.now, id);
        };
        assert_eq!(taken, limit, "{version} {maximum}");
        assert_eq!(heard, goodbye, "{version} {maximum}");
        // Whoever remembers can go on.
        let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
        let mut line = (&mut broker, id);
        peer.ask(&mut line, hello);
        assert_eq!(peer.ask(&mut line, pubrel(1)), ["PUBCOMP 1 00"]);
        let heard = peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, taken + 1));
        assert_eq!(heard.len(), 1, "{heard:?}");
    }
}

/// A server of 3.1.1 cannot be told how much it may leave open.
#[test]
fn a_3_1_1_server_leaves_no_more_open_than_the_limit() {
    let mut client = Client::new(client::Config {
        receive_maximum: 1,
        receive_maximum_v3: 2,
        ..client::Config::default()
    });
    let peer = Peer::new(V3_1_1);
    client.connect(peer.now, &connect(V3_1_1, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    for value in 1..=2 {
        let heard = peer.ask(&mut client, publish("t", "x", QoS::ExactlyOnce, value));
        assert_eq!(heard, [format!("PUBREC {value} 00")]);
    }
    let heard = peer.ask(&mut client, publish("t", "x", QoS::ExactlyOnce, 3));
    assert_eq!(heard, ["close"]);
}

#[test]
fn what_is_sent_again_counts_on_the_new_connection() {
    // [5:MQTT-3.3.4-7] [5:MQTT-3.3.4-9]
    let config = broker::Config {
        server: server::Config {
            receive_maximum: 1,
            ..server::Config::default()
        },
        ..broker::Config::default()
    };
    let mut broker = Broker::new(config);
    let peer = Peer::new(V5_0);
    let mut packet = connect(V5_0, "c");
    packet.clean_start = false;
    packet.properties.session_expiry_secs = Some(100);
    let old = broker.accept(peer.now, broker::Peer::default()).unwrap();
    peer.ask(&mut (&mut broker, old), packet);
    peer.ask(
        &mut (&mut broker, old),
        publish("t", "x", QoS::ExactlyOnce, 5),
    );
    broker.handle_close(peer.now, old);
    let new = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let mut line = (&mut broker, new);
    assert_eq!(peer.ask(&mut line, packet), ["CONNACK 00 present"]);
    let again = peer.ask(&mut line, publish("t", "x", QoS::ExactlyOnce, 5));
    assert_eq!(again, ["PUBREC 5 00"]);
    let more = peer.ask(&mut line, publish("t", "y", QoS::AtLeastOnce, 6));
    assert_eq!(more, ["DISCONNECT 93", "close"]);
}

/// Found by the broker model: PUBCOMP for a QoS 2 message of an earlier connection gave quota that
/// nothing had been taken from, and one more was open than the client takes.
#[test]
fn what_was_sent_on_an_earlier_connection_gives_no_quota_back() {
    // [5:MQTT-3.3.4-9]
    let mut broker = Broker::new(broker::Config::default());
    let peer = Peer::new(V5_0);
    let open = |broker: &mut Broker, name, clean_start| {
        let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
        let mut connect = Connect {
            clean_start,
            ..connect(V5_0, name)
        };
        connect.properties.session_expiry_secs = Some(100);
        connect.properties.receive_maximum = NonZeroU16::new(1);
        peer.ask(&mut (broker, connection), connect);
        connection
    };
    let subscriber = open(&mut broker, "subscriber", true);
    let publisher = open(&mut broker, "publisher", true);
    with_subscribe(1, &[want("t", QoS::ExactlyOnce)], |packet| {
        peer.ask(&mut (&mut broker, subscriber), packet)
    });
    for (value, payload) in [(1, "first"), (2, "second"), (3, "third")] {
        let packet = publish("t", payload, QoS::ExactlyOnce, value);
        peer.ask(&mut (&mut broker, publisher), packet);
    }
    let heard = peer.hear(&mut (&mut broker, subscriber));
    assert_eq!(heard, ["PUBLISH t=first q2 id1"]);
    let heard = peer.ask(&mut (&mut broker, subscriber), pubrec(1));
    assert_eq!(heard, ["PUBREL 1 00"]);
    broker.handle_close(peer.now, subscriber);

    let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let mut line = (&mut broker, connection);
    let mut again = Connect {
        clean_start: false,
        ..connect(V5_0, "subscriber")
    };
    again.properties.receive_maximum = NonZeroU16::new(1);
    let expected = [
        "CONNACK 00 present",
        "PUBREL 1 00",
        "PUBLISH t=second q2 id2",
    ];
    assert_eq!(peer.ask(&mut line, again), expected);
    assert_eq!(peer.ask(&mut line, pubcomp(1)), [""; 0], "one is open");
    assert_eq!(peer.ask(&mut line, pubrec(2)), ["PUBREL 2 00"]);
    let heard = peer.ask(&mut line, pubcomp(2));
    assert_eq!(heard, ["PUBLISH t=third q2 id3"]);
}

#[test]
fn the_broker_keeps_to_the_receive_maximum_of_each_subscriber() {
    // [5:MQTT-3.3.4-9]
    let peer = Peer::new(V5_0);
    let mut broker = Broker::new(broker::Config::default());
    let slow = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let mut packet = connect(V5_0, "slow");
    packet.properties.receive_maximum = NonZeroU16::new(2);
    peer.ask(&mut (&mut broker, slow), packet);
    with_subscribe(1, &[want("t", QoS::AtLeastOnce)], |packet| {
        peer.ask(&mut (&mut broker, slow), packet)
    });
    for payload in ["a", "b", "c", "d"] {
        let receivers = broker.publish(peer.now, message(payload, QoS::AtLeastOnce));
        assert_eq!(receivers, 1);
    }
    let mut line = (&mut broker, slow);
    assert_eq!(
        peer.hear(&mut line),
        ["PUBLISH t=a q1 id1", "PUBLISH t=b q1 id2"]
    );
    assert_eq!(peer.ask(&mut line, puback(2)), ["PUBLISH t=c q1 id3"]);
    assert_eq!(peer.ask(&mut line, puback(1)), ["PUBLISH t=d q1 id4"]);
}

#[test]
fn what_waits_for_a_client_is_limited_and_the_drop_is_told() {
    let config = broker::Config {
        server: server::Config {
            waiting_len_max: 3,
            messages_bytes_max: 100,
            ..server::Config::default()
        },
        ..broker::Config::default()
    };
    let large = "x".repeat(60);
    let rows: [(&str, &[&str], usize); 2] = [
        ("by number", &["1", "2", "3", "4", "5"], 2),
        ("by bytes", &[&large, &large, "3"], 1),
    ];
    for (row, payloads, dropped) in rows {
        let mut world = World::with(config.clone());
        let (publisher, subscriber) = (world.joined("publisher", V5_0), world.client("subscriber"));
        world.resume(subscriber, V5_0);
        world.subscribe(subscriber, &[want("t", QoS::AtLeastOnce)]);
        world.cut(subscriber);
        world.events(subscriber);
        world.broker_events();
        for payload in payloads {
            world.publish(publisher, "t", payload, QoS::AtLeastOnce);
        }
        world.settle();
        let drops = world
            .broker_events()
            .iter()
            .filter(|event| {
                matches!(
                    event,
                    broker::Event::Dropped {
                        cause: DropCause::QueueFull,
                        ..
                    }
                )
            })
            .count();
        assert_eq!(drops, dropped, "{row}");
        world.resume(subscriber, V5_0);
        assert_eq!(
            world.got(subscriber).len(),
            payloads.len() - dropped,
            "{row}"
        );
    }
}

#[test]
fn a_client_hands_back_what_its_queue_cannot_hold() {
    let config = client::Config {
        waiting_len_max: 2,
        messages_bytes_max: 10,
        ..client::Config::default()
    };
    let mut client = Client::new(config);
    let now = Timestamp::ZERO;
    client.publish(now, message("1", QoS::AtMostOnce)).unwrap();
    let large = message("0123456789", QoS::AtMostOnce);
    let error = client.publish(now, large.clone()).unwrap_err();
    assert_eq!(
        (error.kind, error.message),
        (PublishErrorKind::QueueFull, large)
    );
    client.publish(now, message("2", QoS::AtLeastOnce)).unwrap();
    let error = client
        .publish(now, message("3", QoS::AtMostOnce))
        .unwrap_err();
    assert_eq!(error.kind, PublishErrorKind::QueueFull);
    assert_eq!(client.waiting_len(), 2);
}

#[test]
fn a_peer_that_does_not_read_its_answers_is_not_read_either() {
    let config = broker::Config {
        server: server::Config {
            answers_bytes_max: 100,
            ..server::Config::default()
        },
        ..broker::Config::default()
    };
    let mut broker = Broker::new(config);
    let peer = Peer::new(V3_1_1);
    let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
    peer.ask(&mut (&mut broker, connection), connect(V3_1_1, "c"));
    let pings = [0xC0, 0x00].repeat(1000);
    let taken = broker.handle_input(peer.now, connection, &pings);
    assert!(taken.bytes < 200, "{taken:?}");
    assert_eq!(
        (taken.bytes % 2, taken.need),
        (0, 0),
        "it stops at a packet, and wants nothing"
    );
    assert!(!broker.wants_input(connection));
    assert_eq!(
        broker.explain(connection).unwrap().input,
        Some(InputWaits::ForAnswers)
    );
    // Once the answers are read, the rest is taken.
    let answers = peer.hear(&mut (&mut broker, connection));
    assert_eq!(answers.len(), taken.bytes / 2);
    assert!(broker.wants_input(connection));
    let mut rest = &pings[taken.bytes..];
    let mut answers = 0;
    while !rest.is_empty() {
        let taken = broker.handle_input(peer.now, connection, rest);
        rest = &rest[taken.bytes..];
        answers += peer.hear(&mut (&mut broker, connection)).len();
    }
    assert_eq!(answers, 1000 - taken.bytes / 2, "none is lost");
}

/// The same for messages, which mostly come by a short way, through both doors of both roles.
#[test]
fn a_peer_that_does_not_read_its_acknowledgements_is_not_read_either() {
    const LEN: usize = 100;
    // So many acknowledgements, of four bytes each.
    const WAITING: usize = 25;
    for (qos, is_shared) in [
        (QoS::AtLeastOnce, false),
        (QoS::AtLeastOnce, true),
        (QoS::ExactlyOnce, false),
        (QoS::ExactlyOnce, true),
    ] {
        let mut input = BytesMut::new();
        for number in 1..=100 {
            let mut bytes = Vec::new();
            Packet::from(publish("t", "m", qos, number))
                .encode_to(V5_0, &mut bytes)
                .unwrap();
            input.extend_from_slice(&bytes);
        }
        let size = input.len() / LEN;

        let config = client::Config {
            answers_bytes_max: 4 * WAITING,
            ..client::Config::default()
        };
        let (mut client, peer) = client_with_quota(10, config);
        let mut rest = input.clone();
        let mut answers = Vec::new();
        while !rest.is_empty() {
            let before = rest.len();
            if is_shared {
                let _taken = client.handle_input_shared(peer.now, &mut rest);
            } else {
                let taken = client.handle_input(peer.now, &rest);
                rest.advance(taken.bytes);
            }
            let heard = peer.hear(&mut client).len();
            assert_eq!(heard, (before - rest.len()) / size, "none is lost");
            answers.push(heard);
            while client.poll_event().is_some() {}
        }
        assert_eq!(answers, [WAITING; 4], "client, {qos:?}, shared {is_shared}");

        let config = broker::Config {
            server: server::Config {
                answers_bytes_max: 4 * WAITING,
                receive_maximum: 1000,
                ..server::Config::default()
            },
            ..broker::Config::default()
        };
        let mut hall = Hall::new(V5_0, config);
        let id = hall.joined("c");
        let mut rest = input;
        let mut answers = Vec::new();
        while !rest.is_empty() {
            let now = hall.peer.now;
            if is_shared {
                let _taken = hall.broker.handle_input_shared(now, id, &mut rest);
            } else {
                let taken = hall.broker.handle_input(now, id, &rest);
                rest.advance(taken.bytes);
            }
            answers.push(hall.hear(id).len());
        }
        // That nobody wants it takes a byte more.
        assert_eq!(answers, [20; 5], "broker, {qos:?}, shared {is_shared}");
    }
}

#[test]
fn events_that_nobody_fetches_stop_the_input_of_a_client() {
    let config = client::Config {
        events_max: 3,
        ..client::Config::default()
    };
    let (mut client, peer) = client_with_quota(10, config);
    let mut input = Vec::new();
    for payload in ["1", "2", "3", "4", "5"] {
        Packet::from(publish("t", payload, QoS::AtLeastOnce, 7))
            .encode_to(V5_0, &mut input)
            .unwrap();
    }
    let taken = client.handle_input(peer.now, &input);
    assert_eq!(taken.bytes, input.len() / 5 * 3);
    assert_eq!(client.explain().input, Some(InputWaits::ForEvents));
    assert_eq!(
        peer.hear(&mut client).len(),
        3,
        "what was not taken is not acknowledged"
    );
    assert_eq!(core::iter::from_fn(|| client.poll_event()).count(), 3);
    let taken = client.handle_input(peer.now, &input[taken.bytes..]);
    assert_eq!(taken.bytes, input.len() / 5 * 2);
}

#[test]
fn output_comes_in_slices_of_whole_packets() {
    let (mut client, peer) = client_with_quota(100, client::Config::default());
    for _ in 0..50 {
        client
            .publish(peer.now, message(&"x".repeat(30), QoS::AtMostOnce))
            .unwrap();
    }
    let mut total = 0;
    loop {
        let mut slice = Vec::new();
        let transmit = client.poll_transmit(peer.now, 100, &mut slice);
        assert!(slice.len() <= 100, "{}", slice.len());
        total += crate::wire::show_all(&slice, V5_0).len();
        match transmit {
            Transmit::More => assert!(!slice.is_empty(), "progress"),
            Transmit::Idle => break,
            Transmit::Close => panic!("connected"),
        }
    }
    assert_eq!(total, 50);
}

#[test]
fn a_packet_larger_than_the_slice_goes_out_all_the_same() {
    let (mut client, peer) = client_with_quota(100, client::Config::default());
    client
        .publish(peer.now, message(&"x".repeat(500), QoS::AtMostOnce))
        .unwrap();
    let mut slice = Vec::new();
    assert_eq!(
        client.poll_transmit(peer.now, 10, &mut slice),
        Transmit::Idle
    );
    assert!(slice.len() > 500);
}

#[test]
fn packets_larger_than_the_client_takes_are_dropped_for_it_alone() {
    // [5:MQTT-3.1.2-24] [5:MQTT-3.1.2-25]
    let mut world = World::new();
    let small = world.client_with(
        "small",
        client::Config {
            packet_size_max: 100,
            ..client::Config::default()
        },
    );
    world.join(small, V5_0);
    world.subscribe(small, &[want("t", QoS::AtLeastOnce)]);
    let large = world.subscribed("large", V5_0, "t", QoS::AtLeastOnce);
    let publisher = world.joined("publisher", V5_0);
    world.events(small);
    world.broker_events();
    world.publish(publisher, "t", &"x".repeat(200), QoS::AtLeastOnce);
    world.publish(publisher, "t", "y", QoS::AtLeastOnce);
    world.settle();
    assert_eq!(world.got(small), ["t=y q1"]);
    assert_eq!(world.got(large).len(), 2);
    let dropped: Vec<_> = world
        .broker_events()
        .into_iter()
        .filter(|event| matches!(event, broker::Event::Dropped { cause: DropCause::TooLarge, client_id, .. } if &**client_id == "small"))
        .collect();
    assert_eq!(dropped.len(), 1);
    assert_eq!(world.broker.stats().messages, 0);
}

#[test]
fn a_packet_above_the_limit_of_the_server_ends_the_connection() {
    // [5:MQTT-3.2.2-15] and 0x95; a client of ours does not send it.
    let config = broker::Config {
        server: server::Config {
            packet_size_max: 100,
            ..server::Config::default()
        },
        ..broker::Config::default()
    };
    let mut world = World::with(config);
    let who = world.joined("c", V5_0);
    let now = world.now;
    let large = message(&"x".repeat(200), QoS::AtMostOnce);
    let error = world.of(who).publish(now, large).unwrap_err();
    assert_eq!(
        error.kind,
        PublishErrorKind::TooLarge {
            packet_size_max: 100
        }
    );

    let connection = world.vanish(who).unwrap();
    let mut peer = Peer::new(V5_0);
    peer.now = now;
    let mut line = (&mut world.broker, connection);
    // From its header alone.
    peer.say_bytes(&mut line, &[0x30, 99]);
    assert_eq!(peer.hear(&mut line), ["DISCONNECT 95", "close"]);
}

#[test]
fn subscriptions_of_one_session_are_limited() {
    let mut world = World::with(broker::Config {
        subscriptions_per_session_max: 2,
        levels_max: 4,
        ..broker::Config::default()
    });
    let who = world.joined("c", V5_0);
    world.events(who);
    let qos = QoS::AtMostOnce;
    world.subscribe(
        who,
        &[
            want("a", qos),
            want("b", qos),
            want("c", qos),
            want("a", qos),
        ],
    );
    world.of(who).unsubscribe(&[filter("b")]).unwrap();
    world.settle();
    world.subscribe(who, &[want("1/2/3/4/5", qos)]);
    let reasons: Vec<Vec<u8>> = world
        .events(who)
        .into_iter()
        .filter_map(|event| match event {
            Event::Subscribed { reasons, .. } => Some(
                reasons
                    .into_iter()
                    .map(|reason| ReasonCode::from(reason).value())
                    .collect(),
            ),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [vec![0x00, 0x00, 0x97, 0x00], vec![0x8F]]);
}

#[test]
fn a_broker_that_shuts_down_says_so_and_keeps_sessions() {
    let mut world = World::new();
    let (first, second) = (world.client("first"), world.joined("second", V3_1_1));
    world.resume(first, V5_0);
    let now = world.now;
    world.broker.shutdown(now);
    world.settle();
    let closed = |events: Vec<Event>| {
        events.into_iter().find_map(|event| match event {
            Event::Closed { cause, .. } => Some(cause),
            _ => None,
        })
    };
    let cause = CloseCause::DisconnectedByPeer(DisconnectReason::ServerShuttingDown);
    assert_eq!(closed(world.events(first)), Some(cause));
    assert_eq!(
        closed(world.events(second)),
        Some(CloseCause::ConnectionLost),
        "3.1.1 has no word for it"
    );
    assert_eq!(
        (
            world.broker.stats().connections,
            world.broker.stats().sessions
        ),
        (0, 1)
    );
}

#[test]
fn a_late_close_cannot_hurt_a_newer_connection() {
    let mut broker = Broker::new(broker::Config::default());
    let peer = Peer::new(V5_0);
    let old = broker.accept(peer.now, broker::Peer::default()).unwrap();
    broker.handle_close(peer.now, old);
    let new = broker.accept(peer.now, broker::Peer::default()).unwrap();
    assert_ne!(old, new);
    broker.handle_close(peer.now, old);
    broker.disconnect(peer.now, old, DisconnectReason::AdministrativeAction);
    assert_eq!(
        broker.handle_input(peer.now, old, &[0xFF]).bytes,
        1,
        "ignored"
    );
    let mut nothing = Vec::new();
    assert_eq!(
        broker.poll_transmit(peer.now, old, 100, &mut nothing),
        Transmit::Close
    );
    let packet = Connect::new(V5_0, text("c"));
    assert_eq!(peer.ask(&mut (&mut broker, new), packet), ["CONNACK 00"]);
}

#[test]
fn each_connection_with_output_is_named_once_until_it_is_drained() {
    let mut world = World::new();
    let subscriber = world.subscribed("subscriber", V5_0, "t", QoS::AtMostOnce);
    let connection = world.connection(subscriber).unwrap();
    let now = world.now;
    for payload in ["1", "2", "3"] {
        world.broker.publish(now, message(payload, QoS::AtMostOnce));
    }
    assert_eq!(world.broker.poll_ready(), Some(connection));
    assert_eq!(world.broker.poll_ready(), None);
    world.broker.publish(now, message("4", QoS::AtMostOnce));
    assert_eq!(world.broker.poll_ready(), None, "handed out, not drained");
    let mut bytes = Vec::new();
    assert_eq!(
        world
            .broker
            .poll_transmit(now, connection, 4096, &mut bytes),
        Transmit::Idle
    );
    assert_eq!(crate::wire::show_all(&bytes, V5_0).len(), 4);
    world.broker.publish(now, message("5", QoS::AtMostOnce));
    assert_eq!(world.broker.poll_ready(), Some(connection));
}

#[test]
fn what_a_peer_is_let_go_is_counted() {
    use mqtt_codec::{Rule, Strictness};
    type Tolerated<'a> = &'a [(Rule, u32)];

    // SUBSCRIBE with the flags 0000, as some devices send it.
    let subscribe = b"\x80\x06\x00\x01\x00\x01f\x00";
    let rows: [(Strictness, &[&str], Tolerated<'_>); 2] = [
        (Strictness::STRICT, &["close"], &[]),
        (
            Strictness::STRICT.tolerate(Rule::HeaderFlags),
            &["SUBACK 1 00"],
            &[(Rule::HeaderFlags, 1)],
        ),
    ];
    for (strictness, expected, tolerated) in rows {
        let mut broker = Broker::new(broker::Config {
            server: server::Config {
                strictness,
                ..server::Config::default()
            },
            ..broker::Config::default()
        });
        let peer = Peer::new(V3_1_1);
        let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
        let mut line = (&mut broker, connection);
        peer.ask(&mut line, connect(V3_1_1, "c"));
        peer.say_bytes(&mut line, subscribe);
        assert_eq!(peer.hear(&mut line), expected, "{strictness:?}");
        assert_eq!(broker.tolerated(connection).collect::<Vec<_>>(), tolerated);
    }
}

#[test]
fn more_filters_than_are_taken_are_refused() {
    let mut broker = Broker::new(broker::Config {
        server: server::Config {
            counts: mqtt_codec::Counts {
                filters_max: 2,
                ..mqtt_codec::Counts::default()
            },
            ..server::Config::default()
        },
        ..broker::Config::default()
    });
    let peer = Peer::new(V5_0);
    let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let mut line = (&mut broker, connection);
    peer.ask(&mut line, connect(V5_0, "c"));
    let filters = [want("a", QoS::AtMostOnce), want("b", QoS::AtMostOnce)];
    let heard = with_subscribe(1, &filters, |packet| peer.ask(&mut line, packet));
    assert_eq!(heard, ["SUBACK 1 00 00"]);
    let filters = ["a", "b", "c"].map(|filter| want(filter, QoS::AtMostOnce));
    let heard = with_subscribe(2, &filters, |packet| peer.ask(&mut line, packet));
    assert_eq!(heard, ["DISCONNECT 97", "close"]);
}
