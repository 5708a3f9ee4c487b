//! Calls of the embedder at moments that are not the usual ones, and what a broker owes its clients then.

use core::num::NonZeroU32;
use std::collections::BTreeMap;

use mqtt_codec::{
    Binary, DisconnectReason, Message, Packet, Parsed, ProtocolVersion, QoS, RetainHandling,
    Subscribe, SubscribeFilter, SubscribeFilters, SubscribeProperties, SubscriptionId, Will,
    decode,
};
use mqtt_state::broker::{
    Ask, Config, ConnectAnswer, ConnectionId, Drain, Event, Grant, PublishAnswer, SharedPolicy,
    SubscribeAnswer,
};
use mqtt_state::{CloseCause, InputWaits, Transmit, server};

use crate::hall::Hall;
use crate::wire::{
    Peer, V3_1_1, V5_0, connect, disconnect, filter, id as id_of, name, puback, publish, want,
};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];

impl Hall {
    fn asking(version: ProtocolVersion, ask: Ask) -> Self {
        let config = Config {
            ask,
            ..Config::default()
        };
        Self::new(version, config)
    }

    /// SUBSCRIBE with an identifier, whose answer nobody fetches.
    fn want_as(&mut self, to: ConnectionId, filter: SubscribeFilter<'_>, value: u32) {
        let filters = [filter];
        let properties = SubscribeProperties {
            subscription_id: SubscriptionId::new(value),
            ..SubscribeProperties::default()
        };
        self.say(
            to,
            Subscribe {
                id: id_of(1),
                filters: SubscribeFilters::new(&filters).unwrap(),
                properties,
            },
        );
    }

    /// The QoS and the subscription identifier of each message that comes while each is acknowledged.
    fn greetings(&mut self, from: ConnectionId) -> Vec<String> {
        let mut got = Vec::new();
        loop {
            let (bytes, _) = self.peer.hear_bytes(&mut (&mut self.broker, from));
            if bytes.is_empty() {
                return got;
            }
            let mut rest = &bytes[..];
            while let Ok(Parsed::Complete((packet, size))) = decode(rest, V5_0, u32::MAX) {
                rest = &rest[size..];
                let Packet::Publish(publish) = packet else {
                    continue;
                };
                let qos = u8::from(publish.delivery.qos());
                for subscription_id in publish.properties.subscription_ids.iter() {
                    got.push(format!("q{qos} {}", subscription_id.get()));
                }
                if let Some(id) = publish.delivery.id() {
                    self.say(from, puback(id.get()));
                }
            }
        }
    }

    /// Says yes to all that is asked about publishing.
    fn allow(&mut self) {
        let now = self.peer.now;
        for decision in self.publishes() {
            let answer = PublishAnswer::Allow;
            self.broker.decide_publish(now, decision, answer).unwrap();
        }
    }
}

const PUBLISH: Ask = Ask {
    connect: false,
    publish: true,
    subscribe: false,
};

const CONNECT: Ask = Ask {
    connect: true,
    publish: false,
    subscribe: false,
};

fn will(topic: &str) -> Will<'_> {
    Will::new(name(topic), Binary::new(b"gone").unwrap())
}

/// What a client says at last counts from when it comes, whatever it waits for and however the connection
/// ends.
#[test]
fn a_goodbye_that_waits_its_turn_has_come_all_the_same() {
    // [5:MQTT-3.14.4-3] [3:MQTT-3.14.4-3] [5:MQTT-3.1.2-10] [3:MQTT-3.1.2-10]
    type End = fn(&mut Hall, ConnectionId);
    let ends: [(&str, End); 4] = [
        ("the transport closes", |hall, id| {
            hall.broker.handle_close(hall.peer.now, id);
        }),
        ("the client connects again", |hall, _| {
            hall.enter(connect(hall.peer.version, "c"));
        }),
        ("the embedder ends it", |hall, id| {
            let reason = DisconnectReason::AdministrativeAction;
            hall.broker.disconnect(hall.peer.now, id, reason);
        }),
        ("nothing more comes", |hall, _| hall.pass(9)),
    ];
    for version in VERSIONS {
        for (row, end) in ends {
            for (reason, wills) in [
                (DisconnectReason::NormalDisconnection, 0),
                (DisconnectReason::DisconnectWithWill, 1),
            ] {
                if version == V3_1_1 && wills > 0 {
                    continue;
                }
                let row = format!("{version} {row}, {reason:?}");
                let mut hall = Hall::asking(version, PUBLISH);
                let watcher = hall.broker.subscribe_local(filter("w")).unwrap();
                let mut packet = connect(version, "c");
                packet.keep_alive_secs = 6;
                packet.will = Some(will("w"));
                let (id, _) = hall.enter(packet);
                hall.say(id, publish("t", "x", QoS::AtLeastOnce, 1));
                hall.say(id, disconnect(reason));
                end(&mut hall, id);
                let (mut causes, mut decisions) = (Vec::new(), Vec::new());
                for event in hall.events() {
                    match event {
                        Event::Closed {
                            connection, cause, ..
                        } if connection == id => causes.push(cause),
                        Event::AuthorizePublish {
                            decision,
                            is_will: true,
                            ..
                        } => decisions.push(decision),
                        _ => {}
                    }
                }
                assert_eq!(causes, [CloseCause::DisconnectedByPeer(reason)], "{row}");
                for decision in decisions {
                    let answer = PublishAnswer::Allow;
                    let given = hall.broker.decide_publish(hall.peer.now, decision, answer);
                    assert_eq!(given, Ok(()), "{row}");
                }
                let published = hall.events().into_iter().filter(
                    |event| matches!(event, Event::Local { subscription, .. } if *subscription == watcher),
                );
                assert_eq!(published.count(), wills, "{row}");
            }
        }
    }
}

/// The session lives as long as its client has said at last.
#[test]
fn a_goodbye_that_waits_its_turn_says_how_long_the_session_lives() {
    for (secs, left) in [(0, 0), (5, 1)] {
        let mut hall = Hall::asking(V5_0, PUBLISH);
        let mut packet = connect(V5_0, "c");
        packet.properties.session_expiry_secs = Some(100);
        let (id, _) = hall.enter(packet);
        hall.say(id, publish("t", "x", QoS::AtLeastOnce, 1));
        let mut goodbye = disconnect(DisconnectReason::NormalDisconnection);
        goodbye.properties.session_expiry_secs = Some(secs);
        hall.say(id, goodbye);
        hall.broker.handle_close(hall.peer.now, id);
        assert_eq!(hall.broker.sessions().count(), left, "{secs}");
        hall.pass(5);
        assert_eq!(hall.broker.sessions().count(), 0, "{secs}");
    }
}

#[test]
fn nothing_counts_behind_a_goodbye_that_waits_its_turn() {
    // [5:MQTT-3.14.4-1] [3:MQTT-3.14.4-2]
    for version in VERSIONS {
        for closes in [false, true] {
            let mut hall = Hall::asking(version, PUBLISH);
            let watcher = hall.joined("watcher");
            hall.subscribe(watcher, "#", QoS::AtMostOnce);
            let id = hall.joined("c");
            hall.say(id, publish("t", "1", QoS::AtMostOnce, 0));
            hall.say(id, disconnect(DisconnectReason::NormalDisconnection));
            hall.say(id, publish("t", "2", QoS::AtMostOnce, 0));
            assert_eq!(hall.ask(id, Packet::PingReq), [""; 0], "{version}");
            if closes {
                hall.broker.handle_close(hall.peer.now, id);
            }
            hall.allow();
            hall.allow();
            assert_eq!(hall.hear(watcher), ["PUBLISH t=1 q0"], "{version} {closes}");
        }
    }
}

/// Whoever answers, and however late.
#[test]
fn nothing_of_a_client_gets_below_sys() {
    let below_sys = || Message::new("$SYS/x", "1").unwrap();
    for (row, topic, is_will, answer) in [
        ("as it is", "$SYS/x", false, PublishAnswer::Allow),
        (
            "another one",
            "t",
            false,
            PublishAnswer::AllowAs(below_sys()),
        ),
        (
            "another will",
            "t",
            true,
            PublishAnswer::AllowAs(below_sys()),
        ),
    ] {
        let mut hall = Hall::asking(V5_0, PUBLISH);
        let watcher = hall.joined("watcher");
        hall.subscribe(watcher, "$SYS/#", QoS::AtMostOnce);
        let mut packet = connect(V5_0, "c");
        packet.will = is_will.then(|| will(topic));
        let (id, _) = hall.enter(packet);
        if !is_will {
            hall.say(id, publish(topic, "1", QoS::AtMostOnce, 0));
        }
        hall.broker.handle_close(hall.peer.now, id);
        let decisions = hall.publishes();
        assert_eq!(decisions.len(), 1, "{row}");
        let given = { &mut hall.broker }.decide_publish(hall.peer.now, decisions[0], answer);
        assert_eq!(given, Ok(()), "{row}");
        assert_eq!(hall.hear(watcher), [""; 0], "{row}");
    }
}

#[test]
fn a_client_without_a_method_is_not_asked_for_a_step() {
    // Server: [5:MQTT-4.12.0-6]
    for version in VERSIONS {
        let mut hall = Hall::asking(version, CONNECT);
        let id = hall.open();
        hall.say(id, connect(version, "c"));
        let decision = hall.connects()[0];
        let answer = ConnectAnswer::Ask(None);
        let given = { &mut hall.broker }.decide_connect(hall.peer.now, decision, answer);
        assert_eq!(given, Ok(()), "{version}");
        let expected = ["CONNACK 87", "close"];
        assert_eq!(hall.hear(id), expected, "{version}");
    }
}

#[test]
fn a_client_that_takes_no_connack_leaves_no_will() {
    let mut hall = Hall::new(V5_0, Config::default());
    let watcher = hall.joined("watcher");
    hall.subscribe(watcher, "w", QoS::AtMostOnce);
    let mut packet = connect(V5_0, "c");
    packet.properties.packet_size_max = NonZeroU32::new(4);
    packet.will = Some(will("w"));
    assert_eq!(hall.enter(packet).1, ["close"]);
    assert_eq!(hall.hear(watcher), [""; 0]);
    assert_eq!(hall.broker.stats().clients, 1);
}

/// What looks like a shared subscription and is none stays what it is.
#[test]
fn an_ordinary_filter_that_looks_like_a_shared_one_is_granted_as_what_it_is() {
    let config = Config {
        shared_subscriptions_in_3_1_1: false,
        ..Config::default()
    };
    let mut hall = Hall::new(V3_1_1, config);
    let id = hall.joined("c");
    hall.subscribe(id, "$share/g/t", QoS::AtLeastOnce);
    let now = hall.peer.now;
    assert_eq!(hall.broker.reauthorize(now, "c"), 1);
    let decision = hall.subscribes()[0];
    let grant = Grant {
        qos_max: QoS::AtMostOnce,
        ..Grant::default()
    };
    let answer = SubscribeAnswer::Grant(grant);
    hall.broker.decide_subscribe(now, decision, answer).unwrap();
    hall.publish("t", "x", QoS::AtLeastOnce);
    assert_eq!(hall.hear(id), [""; 0]);
    hall.publish("$share/g/t", "y", QoS::AtLeastOnce);
    assert_eq!(hall.hear(id), ["PUBLISH $share/g/t=y q0"], "and no more");
    assert_eq!(hall.broker.subscriptions("c").len(), 1);
}

/// A client that has spoken both versions may have one filter in both forms.
#[test]
fn a_filter_in_both_forms_is_taken_away_in_both() {
    let config = Config {
        shared_subscriptions_in_3_1_1: false,
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let mut packet = connect(V5_0, "c");
    packet.properties.session_expiry_secs = Some(100);
    let (id, _) = hall.enter(packet);
    hall.subscribe(id, "$share/g/t", QoS::AtMostOnce);
    hall.peer = Peer::new(V3_1_1);
    let mut packet = connect(V3_1_1, "c");
    packet.clean_start = false;
    let (id, heard) = hall.enter(packet);
    assert_eq!(heard, ["CONNACK 00 present"]);
    hall.subscribe(id, "$share/g/t", QoS::AtMostOnce);
    assert_eq!(hall.broker.subscriptions("c").len(), 2);
    assert!(hall.broker.revoke("c", filter("$share/g/t")));
    assert_eq!(hall.broker.subscriptions("c"), []);
}

/// Who reads slowly has been named already, and is named once more when it may send again.
#[test]
fn who_may_send_again_is_named_also_while_it_reads() {
    let config = Config {
        packets_per_sec_max: Some(1),
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let id = hall.open();
    hall.say(id, connect(V5_0, "c"));
    assert_eq!(hall.broker.poll_ready(), Some(id));
    hall.say(id, Packet::PingReq);
    let mut bytes = Vec::new();
    let now = hall.peer.now;
    let sent = hall.broker.poll_transmit(now, id, 1, &mut bytes);
    assert_eq!(sent, Transmit::More);
    assert!(!hall.broker.wants_input(id));
    hall.pass(1);
    assert_eq!(hall.broker.poll_ready(), None, "it is not drained");
    let sent = hall
        .broker
        .poll_transmit(hall.peer.now, id, 100, &mut bytes);
    assert_eq!(sent, Transmit::Idle);
    assert_eq!(hall.broker.poll_ready(), Some(id));
    assert!(hall.broker.wants_input(id));
    assert_eq!(hall.hear(id), [""; 0]);
    assert_eq!(hall.broker.poll_ready(), None, "once");
}

/// Nobody knows of whom nothing is taken whether it is silent.
#[test]
fn who_is_kept_waiting_is_not_silent() {
    // [5:MQTT-3.1.2-22] [3:MQTT-3.1.2-24]
    for version in VERSIONS {
        let config = Config {
            bytes_per_sec_max: Some(100),
            ..Config::default()
        };
        let mut hall = Hall::new(version, config);
        let mut packet = connect(version, "c");
        packet.keep_alive_secs = 2;
        let (id, _) = hall.enter(packet);
        // Some 8.5 s at that rate: its input is taken again between two looks at its keep alive, and has to count
        // as silent from then on, not from the look before.
        let payload = "x".repeat(930);
        hall.say(id, publish("t", &payload, QoS::AtMostOnce, 0));
        while !hall.broker.wants_input(id) {
            let waits = hall.broker.explain(id).and_then(|it| it.input);
            assert_eq!(waits, Some(InputWaits::ForTime), "{version}");
            hall.pass(1);
        }
        assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"], "{version}");
        hall.pass(3);
        let code: &[&str] = if version == V5_0 {
            &["DISCONNECT 8D", "close"]
        } else {
            &["close"]
        };
        assert_eq!(hall.hear(id), code, "{version}: now it is");
    }
}

#[test]
fn who_waits_for_an_answer_is_not_silent() {
    let config = Config {
        ask: PUBLISH,
        held_max: 1,
        ..Config::default()
    };
    let mut hall = Hall::new(V5_0, config);
    let mut packet = connect(V5_0, "c");
    packet.keep_alive_secs = 2;
    let (id, _) = hall.enter(packet);
    hall.say(id, publish("t", "x", QoS::AtLeastOnce, 1));
    for _ in 0..9 {
        hall.pass(1);
    }
    assert_eq!(hall.hear(id), [""; 0]);
    hall.allow();
    assert_eq!(hall.hear(id), ["PUBACK 1 10"]);
    hall.pass(3);
    assert_eq!(hall.hear(id), ["DISCONNECT 8D", "close"]);
}

/// Each member of a group gets RETAIN as it has asked for, also when a message was another one's first.
#[test]
fn what_goes_on_to_another_member_has_its_retain_flag() {
    // [5:MQTT-3.3.1-12] [5:MQTT-3.3.1-13]
    for (first, second, expected) in [
        (true, false, "PUBLISH t=x q1 id1"),
        (false, true, "PUBLISH t=x q1 id1 retain"),
    ] {
        let mut hall = Hall::new(V5_0, Config::default());
        let mut wanted = want("$share/g/t", QoS::AtLeastOnce);
        let [a, b] = ["a", "b"].map(|client_id| hall.joined(client_id));
        wanted.options.retain_as_published = first;
        hall.want(a, &[wanted]);
        let message = Message::new("t", "x").unwrap();
        let message = message.with_qos(QoS::AtLeastOnce).with_retain(true);
        assert_eq!(hall.broker.publish(hall.peer.now, message), 1);
        wanted.options.retain_as_published = second;
        hall.want(b, &[wanted]);
        hall.broker.handle_close(hall.peer.now, a);
        assert_eq!(hall.hear(b), [expected], "{first} {second}");
    }
}

/// A client that does not read its last packet is let go, though its transport has no room for it.
#[test]
fn a_client_that_does_not_read_its_end_is_named_once_more() {
    let mut hall = Hall::new(V5_0, Config::default());
    let id = hall.open();
    hall.say(id, connect(V5_0, "c"));
    assert_eq!(hall.broker.poll_ready(), Some(id));
    let mut bytes = Vec::new();
    let now = hall.peer.now;
    let sent = hall.broker.poll_transmit(now, id, 1, &mut bytes);
    assert_eq!(sent, Transmit::More);
    let reason = DisconnectReason::AdministrativeAction;
    hall.broker.disconnect(now, id, reason);
    hall.pass(4);
    assert_eq!(hall.broker.poll_ready(), None, "it may still read");
    hall.pass(1);
    assert_eq!(hall.broker.poll_ready(), Some(id));
    let sent = hall
        .broker
        .poll_transmit(hall.peer.now, id, 100, &mut bytes);
    assert_eq!((sent, bytes.len()), (Transmit::Close, 1));
    assert_eq!(hall.broker.stats().connections, 0);
}

/// Nothing is left of who has come, done too much, and gone.
#[test]
fn deadlines_go_with_their_connection() {
    let config = Config {
        bytes_per_sec_max: Some(1),
        packets_per_sec_max: Some(1),
        ..Config::default()
    };
    for version in VERSIONS {
        let mut hall = Hall::new(version, config.clone());
        for end in [0, 1, 2] {
            let mut packet = connect(version, "c");
            packet.keep_alive_secs = 10;
            packet.will = Some(will("w"));
            let (id, _) = hall.enter(packet);
            assert!(hall.broker.stats().timers > 1, "{version}: it has to wait");
            match end {
                0 => hall.broker.handle_close(hall.peer.now, id),
                1 => {
                    let reason = DisconnectReason::AdministrativeAction;
                    hall.broker.disconnect(hall.peer.now, id, reason);
                    hall.hear(id);
                }
                _ => {
                    let (next, _) = hall.enter(connect(version, "c"));
                    hall.hear(id);
                    hall.broker.handle_close(hall.peer.now, next);
                }
            }
            assert_eq!(hall.broker.stats().timers, 0, "{version} {end}");
        }
    }
}

/// What a subscription still has to be greeted with comes as it was asked for, but for what the embedder has
/// limited or taken away since.
#[test]
fn a_greeting_goes_on_within_the_limits_of_then() {
    // [5:MQTT-3.3.4-3] [5:MQTT-3.8.4-8]
    type Change = fn(&mut Hall, ConnectionId);
    let rows: [(&str, Change, &str); 4] = [
        ("nothing", |_, _| {}, "q1 1"),
        (
            "replaced",
            |hall, id| {
                let mut wanted = want("t/+", QoS::AtMostOnce);
                wanted.options.retain_handling = RetainHandling::DoNotSend;
                hall.want_as(id, wanted, 2);
            },
            "q1 1",
        ),
        (
            "granted less",
            |hall, _| {
                let now = hall.peer.now;
                assert_eq!(hall.broker.reauthorize(now, "c"), 1);
                let grant = Grant {
                    qos_max: QoS::AtMostOnce,
                    ..Grant::default()
                };
                let answer = SubscribeAnswer::Grant(grant);
                for decision in hall.subscribes() {
                    let given = hall.broker.decide_subscribe(now, decision, answer.clone());
                    assert_eq!(given, Ok(()));
                }
            },
            "q0 1",
        ),
        (
            "taken away",
            |hall, _| assert!(hall.broker.revoke("c", filter("t/+"))),
            "",
        ),
    ];
    for (row, change, expected) in rows {
        let mut hall = Hall::new(V5_0, Config::default());
        for number in 0..200 {
            let message = Message::new(&format!("t/{number}"), "x").unwrap();
            let message = message.with_qos(QoS::AtLeastOnce).with_retain(true);
            hall.broker.publish(hall.peer.now, message);
        }
        let id = hall.joined("c");
        hall.want_as(id, want("t/+", QoS::AtLeastOnce), 1);
        let why = hall.broker.explain(id).unwrap();
        assert_eq!(why.replays_len, 1, "{row}");
        let waiting = why.waiting_len;
        assert!((1..200).contains(&waiting), "{row}");
        change(&mut hall, id);
        let mut got = BTreeMap::<String, usize>::new();
        for greeting in hall.greetings(id) {
            *got.entry(greeting).or_default() += 1;
        }
        // What waited then goes as it was.
        let mut wanted = BTreeMap::from([("q1 1".to_owned(), waiting)]);
        if !expected.is_empty() {
            *wanted.entry(expected.into()).or_default() += 200 - waiting;
        }
        assert_eq!(got, wanted, "{row}");
        assert_eq!(hall.broker.explain(id).unwrap().replays_len, 0, "{row}");
    }
}

/// Whose a will was is told though the session has ended before the answer was there.
#[test]
fn a_will_is_told_of_by_its_client_though_the_session_has_ended() {
    let below_sys = Message::new("$SYS/x", "1").unwrap();
    for (row, answer, expected) in [
        ("published", PublishAnswer::Allow, "published by c"),
        ("refused", PublishAnswer::AllowAs(below_sys), "refused to c"),
    ] {
        let mut hall = Hall::asking(V5_0, PUBLISH);
        let mut packet = connect(V5_0, "c");
        packet.will = Some(will("w"));
        let (id, _) = hall.enter(packet);
        hall.broker.handle_close(hall.peer.now, id);
        let decisions = hall.publishes();
        assert_eq!(hall.broker.sessions().count(), 0, "{row}");
        let given = { &mut hall.broker }.decide_publish(hall.peer.now, decisions[0], answer);
        assert_eq!(given, Ok(()), "{row}");
        let told: Vec<_> = { hall.events().into_iter() }
            .filter_map(|event| match event {
                Event::WillPublished { client_id, .. } => Some(format!("published by {client_id}")),
                Event::Refused { client_id, .. } => Some(format!("refused to {client_id}")),
                _ => None,
            })
            .collect();
        assert_eq!(told, [expected], "{row}");
    }
}

/// Only a client asks for its will.
#[test]
fn a_server_says_no_word_of_a_client() {
    let reason = DisconnectReason::DisconnectWithWill;
    type End = fn(&mut Hall, ConnectionId, DisconnectReason);
    let ends: [(&str, End); 3] = [
        ("disconnect", |hall, id, reason| {
            hall.broker.disconnect(hall.peer.now, id, reason);
        }),
        ("disconnect_client", |hall, _, reason| {
            let now = hall.peer.now;
            assert!(hall.broker.disconnect_client(now, "c", reason, None));
        }),
        ("drain", |hall, _, reason| {
            let drain = Drain {
                reason,
                ..Drain::default()
            };
            hall.broker.drain(hall.peer.now, drain);
        }),
    ];
    for (row, end) in ends {
        let mut hall = Hall::new(V5_0, Config::default());
        let id = hall.joined("c");
        end(&mut hall, id, reason);
        assert_eq!(hall.hear(id), ["DISCONNECT 00", "close"], "{row}");
    }
}

/// A member for whom as much waits as may does not cost its group every other message while others have room.
#[test]
fn a_member_without_room_is_passed_over_while_another_one_has_room() {
    for (row, policy) in [
        ("one after the other", SharedPolicy::RoundRobin),
        ("the least busy", SharedPolicy::LeastBusy),
    ] {
        for is_away in [false, true] {
            let config = Config {
                server: server::Config {
                    waiting_len_max: 2,
                    in_flight_max: 1,
                    ..server::Config::default()
                },
                shared_policy: policy,
                ..Config::default()
            };
            let mut hall = Hall::new(V5_0, config);
            let [slow, quick] = ["slow", "quick"].map(|client_id| {
                let mut packet = connect(V5_0, client_id);
                packet.properties.session_expiry_secs = Some(100);
                let (id, _) = hall.enter(packet);
                hall.subscribe(id, "$share/g/t", QoS::AtLeastOnce);
                id
            });
            if is_away {
                // Both are: one has room for as much as the other, and after two each they have none.
                hall.broker.handle_close(hall.peer.now, slow);
                hall.broker.handle_close(hall.peer.now, quick);
                for _ in 0..5 {
                    hall.publish("t", "x", QoS::AtLeastOnce);
                }
                assert_eq!(hall.broker.stats().messages_dropped, 1, "{row}");
                continue;
            }
            let mut got = 0;
            for _ in 0..12 {
                hall.publish("t", "x", QoS::AtLeastOnce);
                for line in hall.hear(quick) {
                    let id = line.rsplit("id").next().unwrap().parse().unwrap();
                    hall.say(quick, puback(id));
                    got += 1;
                }
                // The other one reads, and acknowledges nothing.
                hall.hear(slow);
            }
            let dropped = hall.broker.stats().messages_dropped;
            assert_eq!(dropped, 0, "{row}: {got} of 12 went to the quick one");
        }
    }
}
