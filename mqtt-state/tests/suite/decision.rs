//! Decisions of the embedder: answered late, out of order, never, after a close, after a take-over.

use core::time::Duration;

use mqtt_codec::{
    Auth, AuthReason, Authentication, Binary, Connect, ConnectReason, DisconnectReason, Message,
    Packet, ProtocolVersion, PublishReason, QoS, SubscribeReason, Unsubscribe, UnsubscribeFilters,
    UserProperties, Will,
};
use mqtt_state::broker::{
    Ask, Config, ConnectAnswer, ConnectionId, Event, Grant, PublishAnswer, Stale, SubscribeAnswer,
};
use mqtt_state::{AuthenticationData, CloseCause, TimeoutReason, server};

use proptest::prelude::*;

use crate::hall::Hall;
use crate::recorded::Broker;
use crate::wire::{
    Peer, V3_1_1, V5_0, connect, disconnect, filter, id as id_of, name, publish, show_all, text,
    want, with_subscribe,
};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];
const ALL: Ask = Ask {
    connect: true,
    publish: true,
    subscribe: true,
};

fn broker(ask: Ask) -> Broker {
    Broker::new(Config {
        ask,
        server: server::Config {
            enhanced_authentication: true,
            ..server::Config::default()
        },
        held_max: 4,
        decision_timeout: Duration::from_secs(5),
        ..Config::default()
    })
}

impl Hall {
    fn deciding(version: ProtocolVersion, ask: Ask) -> Self {
        Self {
            broker: broker(ask),
            peer: Peer::new(version),
        }
    }

    /// Where publishing is asked, and no more than so many bytes may wait for answers.
    fn holding(bytes_max: usize) -> Self {
        let ask = Ask {
            publish: true,
            ..Ask::default()
        };
        Self {
            broker: Broker::new(Config {
                ask,
                held_bytes_max: bytes_max,
                ..Config::default()
            }),
            peer: Peer::new(V5_0),
        }
    }

    fn subscribe_each(&mut self, to: ConnectionId, filters: &[mqtt_codec::SubscribeFilter<'_>]) {
        let Self { broker, peer } = self;
        with_subscribe(1, filters, |packet| peer.say(&mut (broker, to), packet));
    }
}

fn only<T: Copy>(all: &[T]) -> T {
    assert_eq!(all.len(), 1);
    all[0]
}

#[test]
fn what_is_not_asked_is_allowed_at_once() {
    let mut hall = Hall::deciding(V5_0, Ask::default());
    let id = hall.joined("c");
    hall.subscribe_each(id, &[want("t", QoS::AtMostOnce)]);
    let heard = hall.ask(id, publish("t", "x", QoS::AtLeastOnce, 2));
    assert_eq!(heard, ["SUBACK 1 00", "PUBACK 2 00", "PUBLISH t=x q0"]);
    assert_eq!(hall.broker.undecided_len(), 0);
}

#[test]
fn a_connect_waits_for_its_answer() {
    let rows = [
        (ConnectAnswer::Allow, "CONNACK 00", "CONNACK 00"),
        (
            ConnectAnswer::Refuse(ConnectReason::BadUserNameOrPassword),
            "CONNACK 86 close",
            "CONNACK 86 close",
        ),
        (
            ConnectAnswer::Refuse(ConnectReason::NotAuthorized),
            "CONNACK 87 close",
            "CONNACK 87 close",
        ),
        // 3.1.1 has no code of its own for it.
        (
            ConnectAnswer::Refuse(ConnectReason::Banned),
            "CONNACK 87 close",
            "CONNACK 8A close",
        ),
    ];
    for (answer, in_3, in_5) in rows {
        for (version, expected) in [(V3_1_1, in_3), (V5_0, in_5)] {
            let mut hall = Hall::deciding(version, ALL);
            let id = hall.open();
            let mut login = connect(version, "c");
            login.user_name = Some(text("user"));
            login.password = Some(Binary::new(b"secret").unwrap());
            assert_eq!(hall.ask(id, login), [""; 0], "it waits");
            assert!(!hall.broker.wants_input(id));
            let events = hall.events();
            let [
                Event::Authenticate {
                    decision, request, ..
                },
            ] = &events[..]
            else {
                panic!("{events:?}")
            };
            assert_eq!(request.user_name.as_deref(), Some("user"));
            assert_eq!(request.password.as_deref(), Some(&b"secret"[..]));
            assert!(!format!("{events:?}").contains("secret"));
            let given = hall
                .broker
                .decide_connect(hall.peer.now, *decision, answer.clone());
            assert_eq!(given, Ok(()));
            assert_eq!(hall.hear(id).join(" "), expected, "{version} {answer:?}");
        }
    }
}

#[test]
fn a_question_without_an_answer_is_denied() {
    for version in VERSIONS {
        let mut hall = Hall::deciding(version, ALL);
        let id = hall.open();
        hall.say(id, connect(version, "c"));
        let decision = only(&hall.connects());
        let reasons = hall.broker.poll_timeout().map(|timeout| timeout.reason);
        assert_eq!(reasons, Some(TimeoutReason::Decision));
        hall.pass(5);
        assert_eq!(hall.hear(id), ["CONNACK 87", "close"]);
        let late = hall
            .broker
            .decide_connect(hall.peer.now, decision, ConnectAnswer::Allow);
        assert_eq!(late, Err(Stale));
        assert_eq!(hall.broker.undecided_len(), 0);
    }
}

#[test]
fn an_answer_after_the_close_is_stale() {
    let mut hall = Hall::deciding(V5_0, ALL);
    let id = hall.open();
    hall.say(id, connect(V5_0, "c"));
    let decision = only(&hall.connects());
    hall.broker.handle_close(hall.peer.now, id);
    let late = hall
        .broker
        .decide_connect(hall.peer.now, decision, ConnectAnswer::Allow);
    assert_eq!(late, Err(Stale));
    assert_eq!(hall.broker.stats().sessions, 0);
}

#[test]
fn an_answer_after_a_take_over_is_stale() {
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    let mut hall = Hall::deciding(V5_0, ask);
    let older = hall.joined("c");
    hall.say(older, publish("t", "x", QoS::AtLeastOnce, 2));
    let decision = only(&hall.publishes());
    let newer = hall.joined("c");
    assert_eq!(hall.hear(older), ["DISCONNECT 8E", "close"]);
    let late = hall
        .broker
        .decide_publish(hall.peer.now, decision, PublishAnswer::Allow);
    assert_eq!(late, Err(Stale));
    assert_eq!(hall.hear(newer), [""; 0]);
}

#[test]
fn effects_have_the_order_of_arrival_whatever_the_order_of_the_answers() {
    let ask = Ask {
        publish: true,
        subscribe: true,
        ..Ask::default()
    };
    for version in VERSIONS {
        let mut hall = Hall::deciding(version, ask);
        let id = hall.joined("c");
        hall.subscribe_each(id, &[want("t/#", QoS::AtMostOnce)]);
        hall.say(id, publish("t/1", "x", QoS::AtLeastOnce, 2));
        hall.say(id, publish("t/2", "y", QoS::ExactlyOnce, 3));
        let events = hall.events();
        let mut subscribe = None;
        let mut publishes = Vec::new();
        for event in events {
            match event {
                Event::AuthorizeSubscribe { decision, .. } => subscribe = Some(decision),
                Event::AuthorizePublish { decision, .. } => publishes.push(decision),
                _ => {}
            }
        }
        let now = hall.peer.now;
        for decision in publishes.iter().rev() {
            let given = hall
                .broker
                .decide_publish(now, *decision, PublishAnswer::Allow);
            assert_eq!(given, Ok(()));
            assert_eq!(hall.hear(id), [""; 0], "SUBSCRIBE is not decided");
        }
        let given = hall
            .broker
            .decide_subscribe(now, subscribe.unwrap(), SubscribeAnswer::Allow);
        assert_eq!(given, Ok(()));
        let expected = [
            "SUBACK 1 00",
            "PUBACK 2 00",
            "PUBREC 3 00",
            "PUBLISH t/1=x q0",
            "PUBLISH t/2=y q0",
        ];
        assert_eq!(hall.hear(id), expected, "{version}");
    }
}

#[test]
fn later_packets_are_held_up_to_a_limit() {
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    let mut hall = Hall::deciding(V5_0, ask);
    let id = hall.joined("c");
    let first = publish("t", "x", QoS::AtMostOnce, 0);
    hall.say(id, first);
    let filters = [filter("t")];
    let unsubscribe = Unsubscribe {
        id: id_of(9),
        filters: UnsubscribeFilters::new(&filters).unwrap(),
        user_properties: UserProperties::default(),
    };
    hall.say(id, unsubscribe);
    assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"], "needs no turn");
    hall.subscribe_each(id, &[want("t", QoS::AtMostOnce)]);
    assert!(hall.broker.wants_input(id));
    hall.say(id, disconnect(DisconnectReason::NormalDisconnection));
    assert!(!hall.broker.wants_input(id), "four are held");
    let mut bytes = Vec::new();
    Packet::PingReq.encode_to(V5_0, &mut bytes).unwrap();
    let taken = hall.broker.handle_input(hall.peer.now, id, &bytes);
    assert_eq!((taken.bytes, taken.need), (0, 0));
    let decision = only(&hall.publishes());
    let given = hall
        .broker
        .decide_publish(hall.peer.now, decision, PublishAnswer::Allow);
    assert_eq!(given, Ok(()));
    assert_eq!(hall.hear(id), ["UNSUBACK 9 11", "SUBACK 1 00", "close"]);
}

#[test]
fn a_message_may_be_refused_dropped_or_replaced() {
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    let other = Message::new("t/other", "z").unwrap();
    // What the publisher hears at QoS 1 in 3.1.1 and 5.0, and what the subscriber gets.
    let rows: [(PublishAnswer, &str, &str, &str); 4] = [
        (PublishAnswer::Allow, "00", "00", "PUBLISH t/a=x q0"),
        (
            PublishAnswer::AllowAs(other),
            "00",
            "00",
            "PUBLISH t/other=z q0",
        ),
        (
            PublishAnswer::Refuse(PublishReason::NotAuthorized),
            "00",
            "87",
            "",
        ),
        (PublishAnswer::Drop, "00", "00", ""),
    ];
    for (answer, in_3, in_5, delivered) in rows {
        for (version, code) in [(V3_1_1, in_3), (V5_0, in_5)] {
            for (qos, name) in [(QoS::AtLeastOnce, "PUBACK"), (QoS::ExactlyOnce, "PUBREC")] {
                let mut hall = Hall::deciding(version, ask);
                let subscriber = hall.joined("subscriber");
                hall.subscribe_each(subscriber, &[want("t/#", QoS::AtMostOnce)]);
                hall.hear(subscriber);
                let publisher = hall.joined("publisher");
                hall.say(publisher, publish("t/a", "x", qos, 7));
                let decision = only(&hall.publishes());
                let now = hall.peer.now;
                let given = hall.broker.decide_publish(now, decision, answer.clone());
                assert_eq!(given, Ok(()));
                let row = format!("{version} {answer:?} {name}");
                assert_eq!(hall.hear(publisher), [format!("{name} 7 {code}")], "{row}");
                assert_eq!(hall.hear(subscriber).join(" "), delivered, "{row}");
            }
        }
    }
}

#[test]
fn a_qos_0_message_whose_publisher_left_is_decided_on_all_the_same() {
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    let mut hall = Hall::deciding(V5_0, ask);
    let subscriber = hall.joined("subscriber");
    hall.subscribe_each(subscriber, &[want("t", QoS::ExactlyOnce)]);
    hall.hear(subscriber);
    let publisher = hall.joined("publisher");
    for (value, qos) in [(0, QoS::AtMostOnce), (5, QoS::AtLeastOnce)] {
        hall.say(publisher, publish("t", "x", qos, value));
    }
    let decisions = hall.publishes();
    hall.broker.handle_close(hall.peer.now, publisher);
    let given: Vec<_> = decisions
        .iter()
        .map(|decision| {
            hall.broker
                .decide_publish(hall.peer.now, *decision, PublishAnswer::Allow)
        })
        .collect();
    assert_eq!(given, [Ok(()), Err(Stale)], "the other comes again");
    assert_eq!(hall.hear(subscriber), ["PUBLISH t=x q0"]);
}

// [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-6]
#[test]
fn messages_whose_publisher_left_go_on_in_their_order() {
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    // Which are answered before the publisher leaves and which behind, and what is heard after each of these.
    type Row<'r> = (&'r [usize], &'r [(usize, &'r str)]);
    let rows: [Row<'_>; 5] = [
        (&[], &[(0, "a"), (1, "b"), (2, "c")]),
        (&[], &[(2, ""), (1, ""), (0, "abc")]),
        (&[], &[(1, ""), (0, "ab"), (2, "c")]),
        (&[1, 2], &[(0, "abc")]),
        (&[0, 2], &[(1, "bc")]),
    ];
    for version in [V3_1_1, V5_0] {
        for (before, behind) in rows {
            let mut hall = Hall::deciding(version, ask);
            let subscriber = hall.joined("subscriber");
            hall.subscribe_each(subscriber, &[want("t", QoS::ExactlyOnce)]);
            hall.hear(subscriber);
            let publisher = hall.joined("publisher");
            for text in ["a", "b", "c"] {
                hall.say(publisher, publish("t", text, QoS::AtMostOnce, 0));
            }
            let decisions = hall.publishes();
            let allow = |hall: &mut Hall, number: usize| {
                let now = hall.peer.now;
                let decision = decisions[number];
                let given =
                    { &mut hall.broker }.decide_publish(now, decision, PublishAnswer::Allow);
                assert_eq!(given, Ok(()));
                let heard = hall.hear(subscriber);
                let texts = heard
                    .iter()
                    .filter_map(|line| line.split(['=', ' ']).nth(2));
                texts.collect::<String>()
            };
            for number in before {
                allow(&mut hall, *number);
            }
            hall.broker.handle_close(hall.peer.now, publisher);
            for (number, heard) in behind {
                let row = format!("{version} {before:?} {behind:?} {number}");
                assert_eq!(allow(&mut hall, *number), *heard, "{row}");
            }
        }
    }
}

#[test]
fn messages_whose_publisher_left_wait_no_longer_than_for_a_question() {
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    let mut hall = Hall::deciding(V5_0, ask);
    let subscriber = hall.joined("subscriber");
    hall.subscribe_each(subscriber, &[want("t", QoS::AtMostOnce)]);
    hall.hear(subscriber);
    let publisher = hall.joined("publisher");
    for text in ["a", "b", "c"] {
        hall.say(publisher, publish("t", text, QoS::AtMostOnce, 0));
    }
    let decisions = hall.publishes();
    hall.broker.handle_close(hall.peer.now, publisher);
    for (decision, answer) in [
        (decisions[1], PublishAnswer::Allow),
        (decisions[2], PublishAnswer::Drop),
    ] {
        let given = hall.broker.decide_publish(hall.peer.now, decision, answer);
        assert_eq!(given, Ok(()));
    }
    assert_eq!(hall.hear(subscriber), [""; 0]);
    // The first counts as denied.
    let timeout = Config::default().decision_timeout;
    hall.pass(timeout.as_secs());
    assert_eq!(hall.hear(subscriber), ["PUBLISH t=b q0"]);
    let given =
        { &mut hall.broker }.decide_publish(hall.peer.now, decisions[0], PublishAnswer::Allow);
    assert_eq!(given, Err(Stale));
}

#[test]
fn a_will_is_asked_about_when_it_is_due() {
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    for (answer, delivered) in [
        (PublishAnswer::Allow, "PUBLISH t=gone q0"),
        (PublishAnswer::Refuse(PublishReason::NotAuthorized), ""),
    ] {
        let mut hall = Hall::deciding(V5_0, ask);
        let subscriber = hall.joined("subscriber");
        hall.subscribe_each(subscriber, &[want("t", QoS::AtMostOnce)]);
        hall.hear(subscriber);
        let id = hall.open();
        let mut login: Connect<'_> = connect(V5_0, "c");
        login.will = Some(Will::new(name("t"), Binary::new(b"gone").unwrap()));
        hall.ask(id, login);
        hall.broker.handle_close(hall.peer.now, id);
        let questions: Vec<_> = { hall.events().into_iter() }
            .filter_map(|event| match event {
                Event::AuthorizePublish {
                    decision, is_will, ..
                } => Some((decision, is_will)),
                _ => None,
            })
            .collect();
        let (decision, is_will) = only(&questions);
        assert!(is_will);
        let given = hall
            .broker
            .decide_publish(hall.peer.now, decision, answer.clone());
        assert_eq!(given, Ok(()));
        assert_eq!(hall.hear(subscriber).join(" "), delivered, "{answer:?}");
    }
}

#[test]
fn what_waits_for_an_answer_is_no_younger_when_its_connection_is_gone() {
    // [5:MQTT-3.3.2-5]
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    for (secs, heard) in [(3, "PUBLISH t=x q0"), (4, "")] {
        let mut hall = Hall::deciding(V5_0, ask);
        let subscriber = hall.joined("subscriber");
        hall.subscribe_each(subscriber, &[want("t", QoS::AtMostOnce)]);
        hall.hear(subscriber);
        let id = hall.joined("c");
        let mut message = publish("t", "x", QoS::AtMostOnce, 0);
        message.properties.message_expiry_secs = Some(4);
        hall.say(id, message);
        let decision = only(&hall.publishes());
        hall.broker.handle_close(hall.peer.now, id);
        hall.pass(secs);
        let given = hall
            .broker
            .decide_publish(hall.peer.now, decision, PublishAnswer::Allow);
        assert_eq!(given, Ok(()));
        assert_eq!(hall.hear(subscriber).join(" "), heard, "after {secs} s");
    }
}

#[test]
fn each_filter_has_its_own_answer() {
    let ask = Ask {
        subscribe: true,
        ..Ask::default()
    };
    for (version, refused) in [(V3_1_1, "80"), (V5_0, "87")] {
        let mut hall = Hall::deciding(version, ask);
        let id = hall.joined("c");
        let filters = ["a", "b", "c"].map(|text| want(text, QoS::ExactlyOnce));
        hall.subscribe_each(id, &filters);
        let decisions = hall.subscribes();
        let grant = Grant {
            qos_max: QoS::AtLeastOnce,
            ..Grant::default()
        };
        let answers = [
            SubscribeAnswer::Allow,
            SubscribeAnswer::Refuse(SubscribeReason::NotAuthorized),
            SubscribeAnswer::Grant(grant),
        ];
        for (decision, answer) in decisions.into_iter().zip(answers) {
            assert_eq!(hall.hear(id), [""; 0]);
            let given = hall
                .broker
                .decide_subscribe(hall.peer.now, decision, answer);
            assert_eq!(given, Ok(()));
        }
        assert_eq!(hall.hear(id), [format!("SUBACK 1 02 {refused} 01")]);
        assert_eq!(hall.broker.stats().subscriptions, 2);
    }
}

#[test]
fn denied_filters_hold_for_live_and_for_retained_messages() {
    let ask = Ask {
        subscribe: true,
        ..Ask::default()
    };
    let mut hall = Hall::deciding(V5_0, ask);
    let now = hall.peer.now;
    for topic in ["a/open", "a/secret/1", "a/mine"] {
        let kept = Message::new(topic, "old").unwrap().with_retain(true);
        hall.broker.publish(now, kept);
    }
    let id = hall.joined("c");
    hall.subscribe_each(id, &[want("a/#", QoS::AtMostOnce)]);
    let decision = only(&hall.subscribes());
    let deny = vec!["a/secret/#".to_owned(), "a/mine".to_owned()];
    let grant = SubscribeAnswer::Grant(Grant {
        deny,
        ..Grant::default()
    });
    let given = hall.broker.decide_subscribe(now, decision, grant);
    assert_eq!(given, Ok(()));
    let heard = hall.hear(id);
    assert_eq!(heard, ["SUBACK 1 00", "PUBLISH a/open=old q0 retain"]);
    for topic in ["a/secret/2", "a/open", "a/mine"] {
        let message = Message::new(topic, "new").unwrap();
        hall.broker.publish(now, message);
    }
    assert_eq!(hall.hear(id), ["PUBLISH a/open=new q0"]);
}

#[test]
fn what_was_granted_can_be_taken_away() {
    let mut hall = Hall::deciding(V5_0, Ask::default());
    let now = hall.peer.now;
    let id = hall.joined("c");
    let filters = ["a", "$share/g/b", "c"].map(|text| want(text, QoS::AtMostOnce));
    hall.subscribe_each(id, &filters);
    hall.hear(id);
    assert!(hall.broker.revoke("c", filter("a")));
    assert!(!hall.broker.revoke("c", filter("a")), "it is gone");
    assert!(!hall.broker.revoke("nobody", filter("b")));
    hall.events();
    assert_eq!(hall.broker.reauthorize(now, "c"), 2);
    let questions: Vec<_> = { hall.events().into_iter() }
        .filter_map(|event| match event {
            Event::AuthorizeSubscribe {
                decision, filter, ..
            } => Some((filter, decision)),
            _ => None,
        })
        .collect();
    for (filter, decision) in questions {
        let answer = match filter.as_str() {
            "c" => SubscribeAnswer::Grant(Grant {
                deny: vec!["c".into()],
                ..Grant::default()
            }),
            "$share/g/b" => SubscribeAnswer::Refuse(SubscribeReason::NotAuthorized),
            other => panic!("{other}"),
        };
        let given = hall.broker.decide_subscribe(now, decision, answer);
        assert_eq!(given, Ok(()));
    }
    for topic in ["a", "b", "c"] {
        hall.broker.publish(now, Message::new(topic, "x").unwrap());
    }
    assert_eq!(hall.hear(id), [""; 0]);
    assert_eq!(hall.broker.stats().subscriptions, 1);
}

fn says<'a>(method: &'a str, data: &'a [u8]) -> Authentication<'a> {
    Authentication {
        method: text(method),
        data: Some(Binary::new(data).unwrap()),
    }
}

fn step(reason: AuthReason, method: &'static str, data: &'static [u8]) -> Packet<'static> {
    Auth::new(reason, says(method, data)).into()
}

fn data(bytes: &'static [u8]) -> AuthenticationData {
    Binary::new(bytes).unwrap().into()
}

const NEXT: AuthReason = AuthReason::ContinueAuthentication;

/// A client whose CONNECT offers SCRAM, and who was asked for more.
fn asked() -> (Hall, ConnectionId) {
    let ask = Ask {
        connect: true,
        ..Ask::default()
    };
    let mut hall = Hall::deciding(V5_0, ask);
    let id = hall.open();
    let mut login = connect(V5_0, "c");
    login.properties.authentication = Some(says("SCRAM", b"first"));
    hall.say(id, login);
    let events = hall.events();
    let [
        Event::Authenticate {
            decision, request, ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(request.authentication_method.as_deref(), Some("SCRAM"));
    let more = ConnectAnswer::Ask(Some(data(b"challenge")));
    let given = hall.broker.decide_connect(hall.peer.now, *decision, more);
    assert_eq!(given, Ok(()));
    assert_eq!(hall.hear(id), ["AUTH"]);
    (hall, id)
}

#[test]
fn enhanced_authentication_goes_on_until_somebody_decides() {
    // [5:MQTT-4.12.0-2] [5:MQTT-4.12.0-3] [5:MQTT-4.12.0-5]
    let (mut hall, id) = asked();
    hall.say(id, step(NEXT, "SCRAM", b"answer"));
    let decision = only(&hall.connects());
    let done = ConnectAnswer::AllowWith(data(b"last"));
    let given = hall.broker.decide_connect(hall.peer.now, decision, done);
    assert_eq!(given, Ok(()));
    let (bytes, _) = hall.peer.hear_bytes(&mut (&mut hall.broker, id));
    assert_eq!(show_all(&bytes, V5_0), ["CONNACK 00"]);
    let has = |part: &[u8]| bytes.windows(part.len()).any(|bytes| bytes == part);
    assert!(has(b"SCRAM") && has(b"last"));
}

#[test]
fn what_a_client_may_not_do_in_an_authentication() {
    let rows: [(&str, Packet<'_>); 5] = [
        // [5:MQTT-4.12.0-5]
        ("another method", step(NEXT, "PLAIN", b"x")),
        (
            "out of turn",
            step(AuthReason::ReAuthenticate, "SCRAM", b"x"),
        ),
        // [5:MQTT-3.1.2-30]
        ("another packet", Packet::PingReq),
        ("a message", publish("t", "x", QoS::AtMostOnce, 0).into()),
        ("a second CONNECT", connect(V5_0, "c").into()),
    ];
    for (row, packet) in rows {
        let (mut hall, id) = asked();
        let heard = hall.ask(id, packet);
        assert_eq!(heard.last().map(String::as_str), Some("close"), "{row}");
        let closed = { hall.events().into_iter() }.any(|event| {
            matches!(
                event,
                Event::Closed {
                    cause: CloseCause::ProtocolError(_),
                    ..
                }
            )
        });
        assert!(closed, "{row}");
    }
}

#[test]
fn a_client_that_does_not_answer_is_left() {
    let (mut hall, id) = asked();
    hall.pass(10);
    assert_eq!(hall.hear(id), ["close"]);
    assert_eq!(hall.broker.stats().connections, 0);
}

#[test]
fn a_client_may_authenticate_again_while_it_works() {
    // [5:MQTT-4.12.1-1] [5:MQTT-4.12.1-2]
    for (answer, heard_at_last) in [
        (ConnectAnswer::Allow, "AUTH"),
        (
            ConnectAnswer::Refuse(ConnectReason::NotAuthorized),
            "DISCONNECT 87 close",
        ),
    ] {
        let (mut hall, id) = asked();
        hall.say(id, step(NEXT, "SCRAM", b"answer"));
        let decision = only(&hall.connects());
        let now = hall.peer.now;
        let given = hall
            .broker
            .decide_connect(now, decision, ConnectAnswer::Allow);
        assert_eq!(given, Ok(()));
        hall.hear(id);
        hall.say(id, step(AuthReason::ReAuthenticate, "SCRAM", b"again"));
        let decision = only(&hall.connects());
        assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"], "it goes on");
        let more = ConnectAnswer::Ask(Some(data(b"challenge")));
        assert_eq!(hall.broker.decide_connect(now, decision, more), Ok(()));
        assert_eq!(hall.hear(id), ["AUTH"]);
        hall.say(id, step(NEXT, "SCRAM", b"answer"));
        let decision = only(&hall.connects());
        let given = hall.broker.decide_connect(now, decision, answer.clone());
        assert_eq!(given, Ok(()));
        assert_eq!(hall.hear(id).join(" "), heard_at_last, "{answer:?}");
    }
}

/// [5:MQTT-4.12.1-2] It has as long as for a step of its first one, whatever else it sends.
#[test]
fn a_new_authentication_that_is_not_answered_fails() {
    let (mut hall, id) = asked();
    let now = hall.peer.now;
    hall.say(id, step(NEXT, "SCRAM", b"answer"));
    let decision = only(&hall.connects());
    let allowed = hall
        .broker
        .decide_connect(now, decision, ConnectAnswer::Allow);
    assert_eq!(allowed, Ok(()));
    hall.hear(id);
    hall.say(id, step(AuthReason::ReAuthenticate, "SCRAM", b"again"));
    let decision = only(&hall.connects());
    let more = ConnectAnswer::Ask(Some(data(b"challenge")));
    assert_eq!(hall.broker.decide_connect(now, decision, more), Ok(()));
    assert_eq!(hall.hear(id), ["AUTH"]);
    hall.pass(9);
    assert_eq!(hall.ask(id, Packet::PingReq), ["PINGRESP"]);
    hall.pass(1);
    assert_eq!(hall.hear(id), ["DISCONNECT 87", "close"]);
    let events = hall.events();
    let causes = events.iter().filter_map(|event| match event {
        Event::Closed { cause, .. } => Some(*cause),
        _ => None,
    });
    let causes: Vec<_> = causes.collect();
    assert_eq!(causes, [CloseCause::AuthenticationTimeout]);
}

#[test]
fn without_a_method_in_connect_there_is_no_auth() {
    // [5:MQTT-4.12.0-6] [5:MQTT-4.12.0-7]
    let mut hall = Hall::deciding(V5_0, Ask::default());
    let id = hall.joined("c");
    let heard = hall.ask(id, step(AuthReason::ReAuthenticate, "SCRAM", b"x"));
    assert_eq!(heard, ["DISCONNECT 82", "close"]);
}

#[test]
fn a_publish_that_is_not_allowed_is_acknowledged_as_usual_in_3_1_1() {
    // [3:MQTT-3.3.5-2]
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    for (qos, expected) in [
        (QoS::AtMostOnce, &[][..]),
        (QoS::AtLeastOnce, &["PUBACK 7 00"]),
        (QoS::ExactlyOnce, &["PUBREC 7 00"]),
    ] {
        let mut hall = Hall::deciding(V3_1_1, ask);
        let subscriber = hall.joined("subscriber");
        hall.subscribe_each(subscriber, &[want("t", QoS::ExactlyOnce)]);
        hall.hear(subscriber);
        let publisher = hall.joined("publisher");
        hall.say(publisher, publish("t", "x", qos, 7));
        let decision = only(&hall.publishes());
        let no = PublishAnswer::Refuse(PublishReason::NotAuthorized);
        let given = hall.broker.decide_publish(hall.peer.now, decision, no);
        assert_eq!(given, Ok(()));
        assert_eq!(hall.hear(publisher), expected, "{qos}");
        assert_eq!(hall.hear(subscriber), [""; 0], "{qos}");
    }
}

/// Each question that nobody answers is denied when its time is over, and only then.
#[test]
fn every_kind_of_question_is_denied_in_time() {
    let mut hall = Hall::deciding(V5_0, ALL);
    let id = hall.open();
    hall.say(id, connect(V5_0, "c"));
    let decision = only(&hall.connects());
    let now = hall.peer.now;
    let allowed = { &mut hall.broker }.decide_connect(now, decision, ConnectAnswer::Allow);
    assert_eq!(
        (allowed, hall.hear(id)),
        (Ok(()), vec!["CONNACK 00".into()])
    );
    // A message, and a subscription behind it.
    hall.say(id, publish("t", "x", QoS::AtLeastOnce, 7));
    hall.subscribe_each(id, &[want("a", QoS::AtMostOnce)]);
    hall.pass(4);
    assert_eq!(hall.hear(id), [""; 0]);
    hall.pass(1);
    assert_eq!(hall.hear(id), ["PUBACK 7 87", "SUBACK 1 87"]);
    // A subscription alone, and a message behind it.
    hall.subscribe_each(id, &[want("a", QoS::AtMostOnce)]);
    hall.say(id, publish("t", "x", QoS::ExactlyOnce, 8));
    hall.pass(4);
    assert_eq!(hall.hear(id), [""; 0]);
    hall.pass(1);
    assert_eq!(hall.hear(id), ["SUBACK 1 87", "PUBREC 8 87"]);
    assert_eq!(
        (
            hall.broker.undecided_len(),
            hall.broker.stats().subscriptions
        ),
        (0, 0)
    );
}

/// What was granted is taken away where nobody answers the question whether it still is.
#[test]
fn a_subscription_that_is_asked_about_again_ends_without_an_answer() {
    let mut hall = Hall::deciding(V5_0, Ask::default());
    let id = hall.joined("c");
    let filters = ["a", "b"].map(|text| want(text, QoS::AtMostOnce));
    hall.subscribe_each(id, &filters);
    hall.hear(id);
    hall.events();
    let now = hall.peer.now;
    assert_eq!(hall.broker.reauthorize(now, "nobody"), 0);
    assert_eq!(hall.broker.reauthorize(now, "c"), 2);
    let grant = SubscribeAnswer::Grant(Grant::default());
    let first = hall.subscribes()[0];
    assert_eq!(hall.broker.decide_subscribe(now, first, grant), Ok(()));
    hall.pass(5);
    assert_eq!(
        (
            hall.broker.undecided_len(),
            hall.broker.stats().subscriptions
        ),
        (0, 1)
    );
}

/// A will may be replaced, or dropped, and nobody's answer is no.
#[test]
fn a_will_may_be_replaced_dropped_or_forgotten() {
    let ask = Ask {
        publish: true,
        ..Ask::default()
    };
    let other = Message::new("t/other", "z").unwrap();
    let rows = [
        (Some(PublishAnswer::Allow), "PUBLISH t/a=gone q0", true),
        (
            Some(PublishAnswer::AllowAs(other)),
            "PUBLISH t/other=z q0",
            true,
        ),
        (Some(PublishAnswer::Drop), "", false),
        (None, "", false),
    ];
    for (answer, delivered, is_sent) in rows {
        let mut hall = Hall::deciding(V5_0, ask);
        let subscriber = hall.joined("subscriber");
        hall.subscribe_each(subscriber, &[want("t/#", QoS::AtMostOnce)]);
        hall.hear(subscriber);
        let id = hall.open();
        let mut login: Connect<'_> = connect(V5_0, "c");
        login.will = Some(Will::new(name("t/a"), Binary::new(b"gone").unwrap()));
        hall.ask(id, login);
        hall.broker.handle_close(hall.peer.now, id);
        let decision = only(&hall.publishes());
        let row = format!("{answer:?}");
        if let Some(answer) = answer {
            let now = hall.peer.now;
            assert_eq!(
                hall.broker.decide_publish(now, decision, answer),
                Ok(()),
                "{row}"
            );
        } else {
            hall.pass(5);
        }
        assert_eq!(hall.hear(subscriber).join(" "), delivered, "{row}");
        let told = hall
            .events()
            .iter()
            .any(|event| matches!(event, Event::WillPublished { .. }));
        assert_eq!(told, is_sent, "{row}");
        assert_eq!(hall.broker.undecided_len(), 0, "{row}");
    }
}

/// What is decided late meets what has become so meanwhile.
#[test]
fn a_message_that_is_allowed_meets_the_limits_of_then() {
    let reserved = || Message::new("$SYS/t", "m").unwrap();
    let other = || Message::new("u", "m").unwrap();
    for (row, answer, payload, is_full, expected) in [
        ("as it was", PublishAnswer::Allow, "m", false, "PUBACK 2 10"),
        (
            "no room any more",
            PublishAnswer::Allow,
            "m",
            true,
            "PUBACK 2 97",
        ),
        (
            "it makes room itself",
            PublishAnswer::Allow,
            "",
            true,
            "PUBACK 2 10",
        ),
        (
            "another topic",
            PublishAnswer::AllowAs(other()),
            "m",
            false,
            "PUBACK 2 10",
        ),
        (
            "a topic of the broker's own",
            PublishAnswer::AllowAs(reserved()),
            "m",
            false,
            "PUBACK 2 87",
        ),
    ] {
        let mut hall = Hall {
            broker: Broker::new(Config {
                ask: Ask {
                    publish: true,
                    ..Ask::default()
                },
                messages_len_max: 1,
                ..Config::default()
            }),
            peer: Peer::new(V5_0),
        };
        let id = hall.joined("c");
        let mut packet = publish("t", payload, QoS::AtLeastOnce, 2);
        packet.retain = true;
        hall.say(id, packet);
        let decision = only(&hall.publishes());
        if is_full {
            let kept = Message::new("t", "kept").unwrap().with_retain(true);
            hall.broker.publish(hall.peer.now, kept);
        }
        let now = hall.peer.now;
        assert_eq!(hall.broker.decide_publish(now, decision, answer), Ok(()));
        assert_eq!(hall.hear(id), [expected], "{row}");
        let refused = Event::Refused {
            client_id: "c".into(),
            topic: "t".into(),
        };
        let is_told = hall.events().contains(&refused);
        assert_eq!(is_told, row == "no room any more", "{row}");
    }
}

/// A QoS 0 message that is allowed and waits behind another one is carried out when its client is gone, as
/// nobody sends it again.
#[test]
fn what_is_allowed_and_waits_when_its_client_goes() {
    for (row, qos, answer, expected) in [
        ("QoS 0", QoS::AtMostOnce, PublishAnswer::Allow, 1),
        ("QoS 0, denied", QoS::AtMostOnce, PublishAnswer::Drop, 0),
        ("QoS 1", QoS::AtLeastOnce, PublishAnswer::Allow, 0),
    ] {
        let mut hall = Hall::deciding(V5_0, ALL);
        let watcher = hall.broker.subscribe_local(filter("t")).unwrap();
        let id = hall.open();
        hall.say(id, connect(V5_0, "c"));
        let decision = only(&hall.connects());
        let now = hall.peer.now;
        hall.broker
            .decide_connect(now, decision, ConnectAnswer::Allow)
            .unwrap();
        hall.say(id, publish("first", "m", QoS::AtLeastOnce, 1));
        hall.say(id, publish("t", "m", qos, 2));
        let decisions = hall.publishes();
        let second = decisions[1];
        hall.broker.decide_publish(now, second, answer).unwrap();
        assert!(hall.events().is_empty(), "{row}: it waits for the first");
        hall.broker.handle_close(now, id);
        let heard = hall.events().into_iter().filter(
            |event| matches!(event, Event::Local { subscription, .. } if *subscription == watcher),
        );
        assert_eq!(heard.count(), expected, "{row}");
        let late = hall
            .broker
            .decide_publish(now, decisions[0], PublishAnswer::Allow);
        assert_eq!(late, Err(Stale), "{row}");
        assert_eq!(hall.broker.undecided_len(), 0, "{row}");
    }
}

/// A will that there is no room to ask about goes nowhere, and that is told.
#[test]
fn a_will_that_cannot_be_asked_about() {
    for (decisions_max, expected) in [(2, 0), (1, 1)] {
        let mut hall = Hall {
            broker: Broker::new(Config {
                ask: Ask {
                    publish: true,
                    ..Ask::default()
                },
                decisions_max,
                ..Config::default()
            }),
            peer: Peer::new(V5_0),
        };
        let other = hall.joined("other");
        hall.say(other, publish("t", "m", QoS::AtLeastOnce, 1));
        let id = hall.open();
        let mut mortal = connect(V5_0, "mortal");
        mortal.will = Some(Will::new(name("will"), Binary::new(b"gone").unwrap()));
        hall.ask(id, mortal);
        hall.broker.handle_close(hall.peer.now, id);
        let refused = Event::Refused {
            client_id: "mortal".into(),
            topic: "will".into(),
        };
        let told = hall.events().into_iter().filter(|it| *it == refused);
        assert_eq!(told.count(), expected, "{decisions_max}");
    }
}

/// A filter that stands behind other packets is answered before them, and what a client does not take ends
/// it: nothing behind that is carried out.
#[test]
fn answers_out_of_turn_and_answers_that_are_too_large() {
    let mut hall = Hall::deciding(
        V5_0,
        Ask {
            publish: true,
            subscribe: true,
            ..Ask::default()
        },
    );
    let id = hall.open();
    let mut small = connect(V5_0, "c");
    small.properties.packet_size_max = core::num::NonZeroU32::new(30);
    assert_eq!(hall.ask(id, small), ["CONNACK 00"]);
    let watcher = hall.broker.subscribe_local(filter("t")).unwrap();
    hall.say(id, publish("first", "m", QoS::AtLeastOnce, 9));
    let first = only(&hall.publishes());
    hall.subscribe_each(id, &[want("a", QoS::AtMostOnce); 26]);
    let filters = hall.subscribes();
    hall.say(id, publish("t", "m", QoS::AtMostOnce, 0));
    let last = only(&hall.publishes());
    let now = hall.peer.now;
    for decision in &filters {
        let answered = hall
            .broker
            .decide_subscribe(now, *decision, SubscribeAnswer::Allow);
        assert_eq!(answered, Ok(()));
    }
    hall.broker
        .decide_publish(now, last, PublishAnswer::Allow)
        .unwrap();
    assert_eq!(hall.hear(id), [""; 0], "all waits for the first one");
    hall.broker
        .decide_publish(now, first, PublishAnswer::Allow)
        .unwrap();
    assert_eq!(hall.hear(id), ["PUBACK 9 10", "DISCONNECT 95", "close"]);
    let cause = CloseCause::AnswerTooLarge;
    let events = hall.events();
    let ended = { events.iter() }
        .any(|event| matches!(event, Event::Closed { cause: it, .. } if *it == cause));
    assert!(ended, "{events:?}");
    // The message at QoS 0 was decided on, and nobody sends it again.
    let told = { events.iter() }.filter(
        |event| matches!(event, Event::Local { subscription, .. } if *subscription == watcher),
    );
    assert_eq!(told.count(), 1);
}

/// A subscription that is asked about again keeps its identifier, shared or not, and gets the new limits.
#[test]
fn what_is_granted_again_keeps_its_identifier() {
    for text in ["t", "$share/g/t"] {
        let mut hall = Hall::deciding(
            V5_0,
            Ask {
                subscribe: true,
                ..Ask::default()
            },
        );
        let id = hall.joined("c");
        let filters = [want(text, QoS::ExactlyOnce)];
        let packet = mqtt_codec::Subscribe {
            id: id_of(1),
            filters: mqtt_codec::SubscribeFilters::new(&filters).unwrap(),
            properties: mqtt_codec::SubscribeProperties {
                subscription_id: mqtt_codec::SubscriptionId::new(7),
                ..Default::default()
            },
        };
        hall.say(id, packet);
        let now = hall.peer.now;
        let decision = only(&hall.subscribes());
        hall.broker
            .decide_subscribe(now, decision, SubscribeAnswer::Allow)
            .unwrap();
        assert_eq!(hall.hear(id), ["SUBACK 1 02"], "{text}");
        assert_eq!(hall.broker.reauthorize(now, "c"), 1);
        assert_eq!(hall.broker.reauthorize(now, "nobody"), 0);
        let grant = Grant {
            qos_max: QoS::AtMostOnce,
            ..Grant::default()
        };
        let decision = only(&hall.subscribes());
        hall.broker
            .decide_subscribe(now, decision, SubscribeAnswer::Grant(grant))
            .unwrap();
        let message = Message::new("t", "m").unwrap().with_qos(QoS::ExactlyOnce);
        hall.broker.publish(now, message);
        let (bytes, _) = hall.peer.hear_bytes(&mut (&mut hall.broker, id));
        let Ok(mqtt_codec::Parsed::Complete((Packet::Publish(publish), _))) =
            mqtt_codec::decode(&bytes, V5_0, 1000)
        else {
            panic!("{text}: {bytes:02X?}");
        };
        assert_eq!(publish.delivery.qos(), QoS::AtMostOnce, "{text}");
        let ids: Vec<_> = publish.properties.subscription_ids.iter().collect();
        assert_eq!(ids, [mqtt_codec::SubscriptionId::new(7).unwrap()], "{text}");
    }
}

/// What is not there any more when the answer comes does not come back by it.
#[test]
fn an_answer_about_a_subscription_that_has_gone_changes_nothing() {
    let mut hall = Hall::deciding(V5_0, Ask::default());
    let now = hall.peer.now;
    let id = hall.joined("c");
    hall.subscribe_each(id, &[want("t", QoS::AtMostOnce)]);
    assert_eq!(hall.broker.reauthorize(now, "c"), 1);
    let decision = only(&hall.subscribes());
    assert!(hall.broker.revoke("c", filter("t")));
    let answer = SubscribeAnswer::Grant(Grant::default());
    let given = hall.broker.decide_subscribe(now, decision, answer);
    assert_eq!(given, Ok(()));
    hall.broker.publish(now, Message::new("t", "x").unwrap());
    assert_eq!(hall.hear(id), ["SUBACK 1 00"]);
    assert_eq!(hall.broker.stats().subscriptions, 0);
}

/// A plain acknowledgement too keeps its place behind a SUBSCRIBE that is asked about.
#[test]
fn an_acknowledgement_behind_a_subscribe_that_waits() {
    let mut hall = Hall::deciding(
        V5_0,
        Ask {
            subscribe: true,
            ..Ask::default()
        },
    );
    let now = hall.peer.now;
    let id = hall.joined("c");
    hall.subscribe_each(id, &[want("t", QoS::AtLeastOnce)]);
    let decision = only(&hall.subscribes());
    let allow = SubscribeAnswer::Allow;
    hall.broker
        .decide_subscribe(now, decision, allow.clone())
        .unwrap();
    let message = Message::new("t", "x").unwrap();
    hall.broker.publish(now, message.with_qos(QoS::AtLeastOnce));
    assert_eq!(hall.hear(id), ["SUBACK 1 01", "PUBLISH t=x q1 id1"]);
    hall.subscribe_each(id, &[want("u", QoS::AtMostOnce)]);
    let decision = only(&hall.subscribes());
    hall.say(id, crate::wire::puback(1));
    assert_eq!(hall.broker.session("c").unwrap().in_flight_len, 0);
    hall.broker.decide_subscribe(now, decision, allow).unwrap();
    assert_eq!(hall.hear(id), ["SUBACK 1 00"]);
}

/// Acknowledgements are taken while a packet before them waits for its answer, in their place.
#[test]
fn acknowledgements_behind_a_question() {
    let mut hall = Hall::deciding(
        V5_0,
        Ask {
            publish: true,
            ..Ask::default()
        },
    );
    let id = hall.joined("c");
    hall.subscribe_each(id, &[want("t", QoS::AtLeastOnce)]);
    let now = hall.peer.now;
    hall.broker.publish(
        now,
        Message::new("t", "down")
            .unwrap()
            .with_qos(QoS::AtLeastOnce),
    );
    assert_eq!(hall.hear(id), ["SUBACK 1 01", "PUBLISH t=down q1 id1"]);
    hall.say(id, publish("u", "up", QoS::AtLeastOnce, 5));
    let decision = only(&hall.publishes());
    hall.say(id, crate::wire::puback(1));
    hall.broker
        .decide_publish(now, decision, PublishAnswer::Allow)
        .unwrap();
    assert_eq!(hall.hear(id), ["PUBACK 5 10"]);
    let session = hall.broker.session("c").unwrap();
    assert_eq!((session.in_flight_len, session.waiting_len), (0, 0));
}

/// Where nothing may wait, questions are still asked, one after the other.
#[test]
fn with_no_room_for_what_waits_questions_come_one_by_one() {
    let mut hall = Hall::holding(0);
    let id = hall.joined("c");
    hall.events();
    for round in 1..=3 {
        assert!(hall.broker.wants_input(id), "{round}");
        hall.say(id, publish("t", "x", QoS::AtLeastOnce, round));
        assert!(!hall.broker.wants_input(id), "{round}: one waits");
        let decision = only(&hall.publishes());
        let now = hall.peer.now;
        let given = hall
            .broker
            .decide_publish(now, decision, PublishAnswer::Allow);
        assert_eq!(given, Ok(()));
        assert_eq!(hall.hear(id), [format!("PUBACK {round} 10")]);
    }
}

/// What a client leaves behind that goes before it is answered takes no room from others.
#[test]
fn what_waited_for_a_client_that_is_gone_makes_room() {
    let mut hall = Hall::holding(5_000);
    let payload = "x".repeat(1_000);
    for round in 0..20 {
        let id = hall.joined("c");
        for packet in 1..=3 {
            hall.say(id, publish("t", &payload, QoS::AtLeastOnce, packet));
        }
        assert_eq!(hall.publishes().len(), 3, "{round}");
        hall.broker.handle_close(hall.peer.now, id);
        assert_eq!(hall.broker.undecided_len(), 0, "{round}");
        hall.events();
    }
}

/// What one client sends behind another thing.
#[derive(Clone, Debug)]
enum Said {
    Publish(&'static str, QoS),
    Subscribe(&'static str, QoS),
    Unsubscribe(&'static str),
}

fn said() -> impl Strategy<Value = Said> {
    let qos = || {
        prop_oneof![
            Just(QoS::AtMostOnce),
            Just(QoS::AtLeastOnce),
            Just(QoS::ExactlyOnce)
        ]
    };
    let text = || prop_oneof![Just("a"), Just("b")];
    prop_oneof![
        3 => (text(), qos()).prop_map(|(topic, qos)| Said::Publish(topic, qos)),
        2 => (text(), qos()).prop_map(|(filter, qos)| Said::Subscribe(filter, qos)),
        1 => text().prop_map(Said::Unsubscribe),
    ]
}

/// Says all of it, answers what is asked in this order, and tells what the client hears.
fn heard_after(all: &[Said], ask: Ask, order: &[usize]) -> Vec<String> {
    let mut hall = Hall {
        broker: Broker::new(Config {
            ask,
            held_max: 100,
            ..Config::default()
        }),
        peer: Peer::new(V5_0),
    };
    let id = hall.joined("c");
    for (number, said) in (1..).zip(all) {
        match *said {
            Said::Publish(topic, qos) => hall.say(id, publish(topic, "x", qos, number)),
            Said::Subscribe(text, qos) => {
                let Hall { broker, peer } = &mut hall;
                with_subscribe(number, &[want(text, qos)], |packet| {
                    peer.say(&mut (broker, id), packet);
                });
            }
            Said::Unsubscribe(text) => {
                let filters = [filter(text)];
                let unsubscribe = Unsubscribe {
                    id: id_of(number),
                    filters: UnsubscribeFilters::new(&filters).unwrap(),
                    user_properties: UserProperties::default(),
                };
                hall.say(id, unsubscribe);
            }
        }
    }
    let mut questions: Vec<_> = { hall.events().into_iter() }
        .filter(|event| {
            matches!(
                event,
                Event::AuthorizePublish { .. } | Event::AuthorizeSubscribe { .. }
            )
        })
        .collect();
    let now = hall.peer.now;
    for place in order {
        if questions.is_empty() {
            break;
        }
        let given = match questions.swap_remove(place % questions.len()) {
            Event::AuthorizePublish { decision, .. } => {
                hall.broker
                    .decide_publish(now, decision, PublishAnswer::Allow)
            }
            Event::AuthorizeSubscribe { decision, .. } => {
                hall.broker
                    .decide_subscribe(now, decision, SubscribeAnswer::Allow)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(given, Ok(()));
    }
    assert_eq!(hall.broker.undecided_len(), 0);
    hall.hear(id)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is asked and in whichever order the answers come: what is allowed comes to the same as if
    /// nobody had been asked.
    #[test]
    fn answers_of_yes_change_nothing(
        all in prop::collection::vec(said(), 1..18),
        order in prop::collection::vec(0..18_usize, 18),
        publish in any::<bool>(),
        subscribe in any::<bool>(),
    ) {
        let ask = Ask { connect: false, publish, subscribe };
        let expected = heard_after(&all, Ask::default(), &order);
        prop_assert_eq!(heard_after(&all, ask, &order), expected);
    }
}
