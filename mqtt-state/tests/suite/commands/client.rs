//! Commands of a client, against its own limits and what its server has said.

use core::num::NonZeroU32;

use mqtt_codec::{
    Ack, AckProperties, ConnAck, Connect, Disconnect, DisconnectReason, MaximumQoS, Message,
    Packet, Parsed, ProtocolVersion, PublishProperties, PublishReason, QoS, ReleaseReason, Rule,
    Strictness, SubAck, SubAckReasons, SubscribeReason, SubscriptionId, SubscriptionIds,
    TopicFilter, UnsubAck, UnsubAckReasons, UnsubscribeReason, UserProperties, UserProperty,
    decode,
};
use mqtt_state::client::{
    Acknowledge, Config, ConnectError, Event, LostCause, PublishErrorKind, RequestError, WhenFull,
};
use mqtt_state::{CloseCause, InputWaits, OutputWaits, ProtocolError, Transmit};

use crate::recorded::Client;
use crate::wire::{
    Peer, V3_1_1, V5_0, connack, connect, id, puback, publish, pubrec, pubrel, text, want,
};

const QOS1: QoS = QoS::AtLeastOnce;
const QOS2: QoS = QoS::ExactlyOnce;

fn message(payload: &str, qos: QoS) -> Message {
    Message::new("t", payload.to_owned()).unwrap().with_qos(qos)
}

fn events(client: &mut Client) -> Vec<Event> {
    core::iter::from_fn(|| client.poll_event()).collect()
}

/// A client that wants to keep its session.
fn keeping(version: ProtocolVersion, name: &str) -> Connect<'_> {
    let mut connect = Connect::new(version, text(name));
    connect.clean_start = false;
    if version == V5_0 {
        connect.properties.session_expiry_secs = Some(1000);
    }
    connect
}

/// A client that is connected to a server which answers so.
fn connected(config: Config, answer: ConnAck<'_>) -> (Client, Peer) {
    let (mut client, peer) = (Client::new(config), Peer::new(V5_0));
    client.connect(peer.now, &keeping(V5_0, "c")).unwrap();
    // With a journal CONNECT waits until it is stored.
    while client.poll_journal().is_some() {}
    client.handle_stored(u64::MAX);
    peer.hear(&mut client);
    peer.say(&mut client, answer);
    events(&mut client);
    (client, peer)
}

fn cause(client: &mut Client) -> Option<CloseCause> {
    { events(client).into_iter() }.find_map(|event| match event {
        Event::Closed { cause, .. } => Some(cause),
        _ => None,
    })
}

#[test]
fn no_connection_begins_while_events_wait() {
    let config = Config {
        events_max: 1,
        ..Config::default()
    };
    let (mut client, peer) = (Client::new(config), Peer::new(V5_0));
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    client.handle_close(peer.now);
    let refused = client.connect(peer.now, &connect(V5_0, "c"));
    assert_eq!(refused, Err(ConnectError::EventsFull));
    assert!(client.poll_event().is_some());
    assert_eq!(client.connect(peer.now, &connect(V5_0, "c")), Ok(()));
}

/// The name that a server has given is the one that the session has.
#[test]
fn an_assigned_name_is_the_sessions() {
    for (row, name, is_kept) in [
        ("the one it was given", "given", true),
        ("another one", "other", false),
        ("none again", "", false),
    ] {
        let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
        client.connect(peer.now, &keeping(V5_0, "")).unwrap();
        peer.hear(&mut client);
        let mut answer = connack(false);
        answer.properties.assigned_client_id = Some(text("given"));
        peer.say(&mut client, answer);
        let token = client.publish(peer.now, message("m", QOS1)).unwrap();
        peer.hear(&mut client);
        client.handle_close(peer.now);
        events(&mut client);
        client.connect(peer.now, &keeping(V5_0, name)).unwrap();
        let lost = Event::PublishLost {
            token,
            message: Some(message("m", QOS1)),
            cause: LostCause::SessionLost,
        };
        assert_eq!(events(&mut client).contains(&lost), !is_kept, "{row}");
        assert_eq!(client.in_flight_len(), usize::from(is_kept), "{row}");
    }
}

/// What a server says that it does not take is not sent.
#[test]
fn what_a_server_does_not_take() {
    let plain = message("m", QOS1);
    let retained = message("m", QOS1).with_retain(true);
    let ids = [SubscriptionId::new(1).unwrap()];
    let named = PublishProperties {
        subscription_ids: SubscriptionIds::new(&ids),
        ..PublishProperties::default()
    };
    let named = message("m", QOS1).with_properties(&named).unwrap();
    for (row, maximum_qos, retain_available, message, expected) in [
        ("all", None, None, &plain, None),
        (
            "no QoS 1",
            Some(MaximumQoS::AtMostOnce),
            None,
            &plain,
            Some(PublishErrorKind::QoSNotSupported {
                maximum: QoS::AtMostOnce,
            }),
        ),
        (
            "no QoS 2",
            Some(MaximumQoS::AtLeastOnce),
            None,
            &plain,
            None,
        ),
        (
            "nothing retained",
            None,
            Some(false),
            &retained,
            Some(PublishErrorKind::RetainNotSupported),
        ),
        (
            "nothing retained, and not asked to",
            None,
            Some(false),
            &plain,
            None,
        ),
        (
            "what only a server sends",
            None,
            None,
            &named,
            Some(PublishErrorKind::SubscriptionIds),
        ),
    ] {
        let mut answer = connack(false);
        answer.properties.maximum_qos = maximum_qos;
        answer.properties.retain_available = retain_available;
        let (mut client, peer) = connected(Config::default(), answer);
        let published = client.publish(peer.now, message.clone());
        assert_eq!(published.err().map(|it| it.kind), expected, "{row}");
        let heard = peer.hear(&mut client).len();
        assert_eq!(heard, usize::from(expected.is_none()), "{row}");
        // Also at once into a buffer.
        let (mut client, peer) = connected(Config::default(), answer);
        let mut buf = Vec::new();
        let published = client.publish_into(peer.now, message, 1000, &mut buf);
        assert_eq!(published.err(), expected, "{row}");
        assert_eq!(buf.is_empty(), expected.is_some(), "{row}");
    }
}

/// What was to be sent before it was known that the server does not take it is lost, with an event.
#[test]
fn what_waits_and_is_not_taken() {
    for (row, message, expected) in [
        ("plain", message("m", QOS1), None),
        (
            "to be retained",
            message("m", QOS1).with_retain(true),
            Some(LostCause::RetainNotSupported),
        ),
        (
            "QoS 2",
            message("m", QOS2),
            Some(LostCause::QoSNotSupported),
        ),
    ] {
        let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
        let token = client.publish(peer.now, message).unwrap();
        client.connect(peer.now, &connect(V5_0, "c")).unwrap();
        let mut answer = connack(false);
        answer.properties.maximum_qos = Some(MaximumQoS::AtLeastOnce);
        answer.properties.retain_available = Some(false);
        peer.hear(&mut client);
        peer.say(&mut client, answer);
        let heard = peer.hear(&mut client);
        let lost = events(&mut client)
            .into_iter()
            .find_map(|event| match event {
                Event::PublishLost {
                    token: of, cause, ..
                } if of == token => Some(cause),
                _ => None,
            });
        assert_eq!(lost, expected, "{row}");
        assert_eq!(
            heard.len(),
            usize::from(expected.is_none()),
            "{row}: {heard:?}"
        );
    }
}

/// In whichever way a message is handed in, it meets the same limits.
#[test]
fn a_message_at_once_meets_the_limits_of_others() {
    type Prepare = fn(&mut Client, &Peer);
    let nothing: Prepare = |_, _| {};
    let long = "x".repeat(20);
    for (row, config, prepare, expected) in [
        ("nothing in the way", Config::default(), nothing, Ok(true)),
        (
            "events wait",
            Config {
                events_max: 1,
                ..Config::default()
            },
            |client, peer| {
                client
                    .publish(peer.now, message("before", QoS::AtMostOnce))
                    .unwrap();
                peer.hear(client);
            },
            Ok(false),
        ),
        (
            "a store follows",
            Config {
                journal: true,
                ..Config::default()
            },
            nothing,
            Ok(false),
        ),
        (
            "another one waits",
            Config::default(),
            |client, peer| {
                client.publish(peer.now, message("before", QOS1)).unwrap();
            },
            Ok(true),
        ),
        (
            "larger than may wait",
            Config {
                messages_bytes_max: 10,
                ..Config::default()
            },
            nothing,
            Err(PublishErrorKind::QueueFull),
        ),
    ] {
        let (mut client, peer) = connected(config, connack(false));
        prepare(&mut client, &peer);
        let mut buf = Vec::new();
        let published = client.publish_into(peer.now, &message(&long, QOS1), 1000, &mut buf);
        let sent = { buf.windows(4) }.any(|it| it == b"xxxx");
        assert_eq!(published.map(|_| sent), expected, "{row}");
    }
}

/// What is in flight gives way to nothing, and what waits gives way to what fits.
#[test]
fn which_messages_give_way() {
    for (row, bytes_max, len_max, in_flight, expected) in [
        ("room is made", 30, 10, 0, true),
        ("one of two is in flight", 30, 10, 1, true),
        ("all is in flight", 30, 10, 2, false),
        ("nothing may wait", 30, 0, 0, false),
        ("too large alone", 10, 10, 0, false),
    ] {
        let config = Config {
            messages_bytes_max: bytes_max,
            waiting_len_max: len_max,
            when_full: WhenFull::DropOldest,
            in_flight_max: in_flight.max(1),
            ..Config::default()
        };
        let (mut client, peer) = connected(config, connack(false));
        for _ in 0..2 {
            let _taken = client.publish(peer.now, message("0123456789", QOS1));
        }
        if in_flight > 0 {
            peer.hear(&mut client);
        }
        events(&mut client);
        let taken = client
            .publish(peer.now, message("0123456789", QOS1))
            .is_ok();
        assert_eq!(taken, expected, "{row}");
        let lost = events(&mut client);
        assert_eq!(lost.len(), usize::from(expected), "{row}: {lost:?}");
    }
}

/// Requests are refused before a byte is sent.
#[test]
fn requests_that_are_refused() {
    let config = || Config {
        subscriptions_bytes_max: 10,
        subscriptions_max: 3,
        ..Config::default()
    };
    let filter = |text| TopicFilter::new(text).unwrap();
    let (mut client, peer) = connected(config(), connack(false));
    for (row, filters, expected) in [
        ("none", &[][..], Err(RequestError::Filters)),
        (
            "no shared filter",
            &[want("$share/g", QOS1)],
            Err(RequestError::SharedFilter(
                filter("$share/g").shared().unwrap_err(),
            )),
        ),
        (
            "too long",
            &[want("0123456789a", QOS1)],
            Err(RequestError::TooManySubscriptions),
        ),
        (
            "too many",
            &[
                want("a", QOS1),
                want("b", QOS1),
                want("c", QOS1),
                want("d", QOS1),
            ],
            Err(RequestError::TooManySubscriptions),
        ),
        (
            "just as long as may be",
            &[want("0123456789", QOS1)],
            Ok(()),
        ),
        (
            "one more",
            &[want("a", QOS1)],
            Err(RequestError::TooManySubscriptions),
        ),
    ] {
        let asked = client.subscribe(filters).map(drop);
        assert_eq!(asked, expected, "{row}");
        assert_eq!(
            peer.hear(&mut client).len(),
            usize::from(expected.is_ok()),
            "{row}"
        );
    }
    // What is held already takes no room again.
    let reasons = [SubscribeReason::GrantedQoS1];
    peer.say(
        &mut client,
        SubAck {
            id: id(1),
            reasons: SubAckReasons::new(&reasons).unwrap(),
            properties: AckProperties::default(),
        },
    );
    assert!(client.subscribe(&[want("0123456789", QOS2)]).is_ok());
    // Filters of requests to end are held until they are answered.
    let (mut client, peer) = connected(config(), connack(false));
    for (row, filters, expected) in [
        ("none", &[][..], Err(RequestError::Filters)),
        (
            "too long",
            &[filter("0123456789a")],
            Err(RequestError::Busy),
        ),
        (
            "just as long as may be",
            &[filter("01234"), filter("56789")],
            Ok(()),
        ),
        ("one more", &[filter("a")], Err(RequestError::Busy)),
    ] {
        let asked = client.unsubscribe(filters).map(drop);
        assert_eq!(asked, expected, "{row}");
        assert_eq!(
            peer.hear(&mut client).len(),
            usize::from(expected.is_ok()),
            "{row}"
        );
    }
    client.handle_close(peer.now);
    let (asked, ended) = (
        client.subscribe(&[want("a", QOS1)]),
        client.unsubscribe(&[filter("a")]),
    );
    assert_eq!(asked, Err(RequestError::NotConnected));
    assert_eq!(ended, Err(RequestError::NotConnected));
}

/// Requests carry user properties, which 3.1.1 does not have.
#[test]
fn what_requests_say_beside_their_filters() {
    let pairs = [UserProperty {
        name: text("who"),
        value: text("me"),
    }];
    for (version, expected) in [(V5_0, &pairs[..]), (V3_1_1, &[])] {
        let (mut client, peer) = (Client::new(Config::default()), Peer::new(version));
        client.connect(peer.now, &connect(version, "c")).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        let said = UserProperties::new(&pairs);
        client
            .subscribe_with(&[want("a", QOS1)], None, said)
            .unwrap();
        let filter = TopicFilter::new("a").unwrap();
        client.unsubscribe_with(&[filter], said).unwrap();
        let (bytes, _) = peer.hear_bytes(&mut client);
        let mut rest = bytes.as_slice();
        let mut heard = Vec::new();
        while let Parsed::Complete((packet, size)) = decode(rest, version, u32::MAX).unwrap() {
            let said = match packet {
                Packet::Subscribe(packet) => packet.properties.user_properties,
                Packet::Unsubscribe(packet) => packet.user_properties,
                other => panic!("{other:?}"),
            };
            heard.push(said.iter().collect::<Vec<_>>());
            rest = &rest[size..];
        }
        assert_eq!(heard, [expected, expected], "{version}");
    }
}

/// A filter whose end the server has refused is still there.
#[test]
fn subscriptions_that_do_not_end() {
    for (version, reasons, expected) in [
        (
            V5_0,
            &[UnsubscribeReason::NotAuthorized, UnsubscribeReason::Success][..],
            &["a", "c"][..],
        ),
        (V5_0, &[UnsubscribeReason::NoSubscriptionExisted; 2], &["c"]),
        (V3_1_1, &[], &["c"]),
    ] {
        let (mut client, peer) = (Client::new(Config::default()), Peer::new(version));
        client.connect(peer.now, &connect(version, "c")).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        let all = ["a", "b", "c"].map(|text| want(text, QOS1));
        client.subscribe(&all).unwrap();
        peer.hear(&mut client);
        let granted = [SubscribeReason::GrantedQoS1; 3];
        let suback = SubAck {
            id: id(1),
            reasons: SubAckReasons::new(&granted).unwrap(),
            properties: AckProperties::default(),
        };
        peer.say(&mut client, suback);
        let two = ["a", "b"].map(|text| TopicFilter::new(text).unwrap());
        client.unsubscribe(&two).unwrap();
        peer.hear(&mut client);
        let unsuback = UnsubAck {
            id: id(2),
            reasons: UnsubAckReasons::new(reasons),
            properties: AckProperties::default(),
        };
        peer.say(&mut client, unsuback);
        let held = client.subscriptions().iter().map(|it| it.filter().filter);
        let held: Vec<_> = held.map(|filter| filter.as_str().to_owned()).collect();
        assert_eq!(held, expected, "{version} {reasons:?}");
    }
}

/// [5:MQTT-3.1.2-29] A client that does not want words gets none, in no packet that it did not ask for.
#[test]
fn words_that_were_not_wanted() {
    let with_words = AckProperties {
        reason_string: Some(text("because")),
        ..AckProperties::default()
    };
    let suback = [SubscribeReason::GrantedQoS1];
    let unsuback = [UnsubscribeReason::Success];
    let packets = |properties: AckProperties<'static>| -> Vec<(&'static str, Packet<'_>)> {
        let ack = Ack {
            properties,
            ..Ack::new(id(1), PublishReason::Success)
        };
        let release = Ack {
            properties,
            ..Ack::new(id(1), ReleaseReason::Success)
        };
        let (reasons, ended) = (
            SubAckReasons::new(&suback).unwrap(),
            UnsubAckReasons::new(&unsuback),
        );
        let id = id(1);
        vec![
            ("PUBACK", Packet::PubAck(ack)),
            ("PUBREC", Packet::PubRec(ack)),
            ("PUBREL", Packet::PubRel(release)),
            ("PUBCOMP", Packet::PubComp(release)),
            (
                "SUBACK",
                Packet::SubAck(SubAck {
                    id,
                    reasons,
                    properties,
                }),
            ),
            (
                "UNSUBACK",
                Packet::UnsubAck(UnsubAck {
                    id,
                    reasons: ended,
                    properties,
                }),
            ),
        ]
    };
    for wants in [Some(false), Some(true), None] {
        let all = packets(with_words).into_iter().map(|it| (it, true));
        let all = all.chain(
            packets(AckProperties::default())
                .into_iter()
                .map(|it| (it, false)),
        );
        for ((row, packet), has_words) in all {
            let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
            let mut connect = connect(V5_0, "c");
            connect.properties.request_problem_information = wants;
            client.connect(peer.now, &connect).unwrap();
            peer.hear(&mut client);
            peer.say(&mut client, connack(false));
            peer.say(&mut client, Packet::PingResp);
            events(&mut client);
            match row {
                "PUBACK" => drop(client.publish(peer.now, message("m", QOS1))),
                "SUBACK" => drop(client.subscribe(&[want("t", QOS1)])),
                "UNSUBACK" => drop(client.unsubscribe(&[TopicFilter::new("t").unwrap()])),
                "PUBREL" => peer.say(&mut client, publish("t", "m", QOS2, 1)),
                _ => drop(client.publish(peer.now, message("m", QOS2))),
            }
            peer.hear(&mut client);
            if row == "PUBCOMP" {
                peer.ask(&mut client, pubrec(1));
            }
            let unwanted = ProtocolError::UnwantedProblemInformation(packet.packet_type());
            peer.say(&mut client, packet);
            let expected =
                (wants == Some(false) && has_words).then_some(CloseCause::ProtocolError(unwanted));
            assert_eq!(
                cause(&mut client),
                expected,
                "{row}, {wants:?}, {has_words}"
            );
        }
    }
}

/// [5:MQTT-3.14.2-2] Only a client may say how long its session lasts from here on.
#[test]
fn a_server_does_not_say_how_long_a_session_lasts() {
    for (row, secs, expected) in [
        (
            "a number",
            Some(5),
            CloseCause::ProtocolError(ProtocolError::SessionExpiryFromServer),
        ),
        (
            "none",
            None,
            CloseCause::DisconnectedByPeer(DisconnectReason::ServerBusy),
        ),
    ] {
        let (mut client, peer) = connected(Config::default(), connack(false));
        let mut disconnect = Disconnect::new(DisconnectReason::ServerBusy);
        disconnect.properties.session_expiry_secs = secs;
        peer.say(&mut client, disconnect);
        assert_eq!(cause(&mut client), Some(expected), "{row}");
    }
}

/// [5:MQTT-3.2.2-15] Whatever has to be answered, a server that takes three bytes takes no answer.
#[test]
fn answers_that_a_server_does_not_take() {
    let mut small = connack(false);
    small.properties.packet_size_max = NonZeroU32::new(3);
    let mut present = connack(true);
    present.properties.packet_size_max = NonZeroU32::new(3);
    let manual = Config {
        acknowledge: Acknowledge::Manual,
        ..Config::default()
    };
    // By the application.
    let (mut client, peer) = connected(manual, small);
    peer.say(&mut client, publish("t", "m", QOS1, 1));
    let receipt = events(&mut client)
        .into_iter()
        .find_map(|event| match event {
            Event::Message { receipt, .. } => receipt,
            _ => None,
        });
    assert_eq!(client.ack(peer.now, receipt.unwrap()), Ok(()));
    assert_eq!(cause(&mut client), Some(CloseCause::AnswerTooLarge));
    assert_eq!(peer.hear(&mut client), ["DISCONNECT 95", "close"]);
    // At once, when the input may be shared.
    let (mut client, peer) = connected(Config::default(), small);
    let mut bytes = Vec::new();
    Packet::from(publish("t", "m", QOS1, 1))
        .encode_to(V5_0, &mut bytes)
        .unwrap();
    let mut input = bytes::BytesMut::from(&bytes[..]);
    let _taken = client.handle_input_shared(peer.now, &mut input);
    assert_eq!(cause(&mut client), Some(CloseCause::AnswerTooLarge));
    // What has to be said again of a session.
    let (mut client, peer) = connected(Config::default(), connack(false));
    client.publish(peer.now, message("m", QOS2)).unwrap();
    peer.hear(&mut client);
    assert_eq!(peer.ask(&mut client, pubrec(1)), ["PUBREL 1 00"]);
    client.handle_close(peer.now);
    events(&mut client);
    client.connect(peer.now, &keeping(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, present);
    assert_eq!(cause(&mut client), Some(CloseCause::AnswerTooLarge));
    assert_eq!(peer.hear(&mut client), ["DISCONNECT 95", "close"]);
}

/// Why no input is taken, as far as it is the client's own doing.
#[test]
fn what_input_waits_for() {
    type Prepare = fn(&mut Client, &Peer);
    let nothing: Prepare = |_, _| {};
    let events_full: Prepare = |client, peer| {
        while client.wants_input() {
            peer.say(client, publish("t", "m", QoS::AtMostOnce, 0));
        }
    };
    let answers_full: Prepare = |client, peer| {
        let mut number = 1;
        while client.wants_input() {
            peer.say(client, publish("t", "m", QOS1, number));
            number += 1;
        }
    };
    let journal_full: Prepare = |client, peer| {
        let mut number = 1;
        while client.wants_input() {
            peer.say(client, publish("t", "m", QOS2, number));
            events(client);
            number += 1;
        }
    };
    let small = || Config {
        events_max: 4,
        ..Config::default()
    };
    for (row, config, prepare, expected) in [
        ("nothing", Config::default(), nothing, None),
        ("events", small(), events_full, Some(InputWaits::ForEvents)),
        (
            "answers",
            Config {
                answers_bytes_max: 8,
                ..Config::default()
            },
            answers_full,
            Some(InputWaits::ForAnswers),
        ),
        (
            "the journal",
            Config {
                journal: true,
                ..small()
            },
            journal_full,
            Some(InputWaits::ForJournal),
        ),
    ] {
        let (mut client, peer) = connected(config, connack(false));
        while client.poll_journal().is_some() {}
        prepare(&mut client, &peer);
        assert_eq!(client.explain().input, expected, "{row}");
    }
    // Output that waits for events is not what waits for poll.
    let (mut client, peer) = connected(small(), connack(false));
    client
        .publish(peer.now, message("m", QoS::AtMostOnce))
        .unwrap();
    assert_eq!(client.explain().output, Some(OutputWaits::ForPoll));
    events_full(&mut client, &peer);
    assert_eq!(client.explain().output, Some(OutputWaits::ForEvents));
}

/// A rule that a server may break is counted, and one that it may not ends the connection.
#[test]
fn rules_that_a_server_breaks() {
    for (row, strictness, expected) in [
        ("strict", Strictness::STRICT, (0, 1)),
        ("lenient", Strictness::LENIENT, (1, 1)),
    ] {
        let config = Config {
            strictness,
            ..Config::default()
        };
        let (mut client, peer) = connected(config, connack(false));
        // PUBLISH at QoS 0 with DUP.
        peer.say_bytes(&mut client, &[0x38, 5, 0, 1, b't', 0, b'm']);
        let tolerated: Vec<(Rule, u32)> = client.tolerated().collect();
        let packets: u32 = tolerated.iter().map(|(_, packets)| packets).sum();
        let violations = client.stats().violations;
        assert_eq!((packets, violations), expected, "{row}: {tolerated:?}");
        assert_eq!(cause(&mut client).is_some(), row == "strict");
    }
}

/// Acknowledgements of a session that this client does not have, and of messages that are not what they say.
#[test]
fn acknowledgements_in_one_piece_with_others() {
    let (mut client, peer) = connected(Config::default(), connack(false));
    for payload in ["a", "b"] {
        client.publish(peer.now, message(payload, QOS1)).unwrap();
    }
    peer.hear(&mut client);
    let mut bytes = Vec::new();
    for packet in [puback(1), puback(2), pubrel(9)] {
        packet.encode_to(V5_0, &mut bytes).unwrap();
    }
    peer.say_bytes(&mut client, &bytes);
    // 0x92 Packet Identifier not found.
    assert_eq!(peer.hear(&mut client), ["PUBCOMP 9 92"]);
    assert_eq!(client.in_flight_len(), 0);
    let mut buf = Vec::new();
    assert_eq!(
        client.poll_transmit(peer.now, 100, &mut buf),
        Transmit::Idle
    );
}

/// Without a journal there is nothing to be stored, whatever is said of it.
#[test]
fn what_is_stored_of_no_journal_means_nothing() {
    for journal in [false, true] {
        let config = Config {
            journal,
            ..Config::default()
        };
        let (mut client, peer) = connected(config, connack(false));
        // What was not handed out yet is not stored, whatever is said.
        client.publish(peer.now, message("m", QOS1)).unwrap();
        client.handle_stored(u64::MAX);
        let heard = peer.hear(&mut client);
        assert_eq!(heard.len(), usize::from(!journal), "{heard:?}");
        let mut heard = Vec::new();
        while client.poll_journal().is_some() {
            client.handle_stored(u64::MAX);
            heard.extend(peer.hear(&mut client));
        }
        assert_eq!(heard.len(), usize::from(journal), "{heard:?}");
    }
}
