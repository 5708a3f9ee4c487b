//! What a server says beside its codes, to whom, and how much of it fits.

use core::num::NonZeroU32;

use mqtt_codec::{
    Ack, AckProperties, ConnAckProperties, Connect, ConnectReason, Disconnect, DisconnectReason,
    Packet, Parsed, PublishReason, QoS, SubscribeReason, UnsubscribeReason, UserProperties,
    UserProperty, decode,
};
use mqtt_state::CloseCause;
use mqtt_state::server::{Acceptance, CommandError, Config, DropCause, Event, RequestToken};

use super::{events, message, open};
use crate::recorded::Connection;
use crate::wire::{Peer, V3_1_1, V5_0, connect, id, text, want, with_subscribe};

/// What the packets have of reason string, user properties and server reference, after their names.
fn words(bytes: &[u8]) -> Vec<String> {
    let (mut rest, mut said) = (bytes, Vec::new());
    while !rest.is_empty() {
        let Ok(Parsed::Complete((packet, size))) = decode(rest, V5_0, u32::MAX) else {
            panic!("{rest:02x?}");
        };
        rest = &rest[size..];
        let ack = |properties: AckProperties<'_>| {
            (
                properties.reason_string.is_some(),
                properties.user_properties.iter().count(),
            )
        };
        let (reason, pairs) = match &packet {
            Packet::ConnAck(connack) => ack(AckProperties {
                reason_string: connack.properties.reason_string,
                user_properties: connack.properties.user_properties,
            }),
            Packet::Disconnect(disconnect) => ack(AckProperties {
                reason_string: disconnect.properties.reason_string,
                user_properties: disconnect.properties.user_properties,
            }),
            Packet::SubAck(suback) => ack(suback.properties),
            Packet::UnsubAck(unsuback) => ack(unsuback.properties),
            Packet::PubAck(puback) => ack(puback.properties),
            other => panic!("{other:?}"),
        };
        let reason = if reason { " reason" } else { "" };
        said.push(format!("{}{reason} {pairs}", packet.packet_type()));
    }
    said
}

fn pairs() -> [UserProperty<'static>; 1] {
    [UserProperty {
        name: text("name"),
        value: text("a value that takes some room"),
    }]
}

/// Something to answer of each kind, and the answers, with words.
fn all_answers(peer: &Peer, wish: impl FnOnce(&mut Connect<'_>)) -> Vec<String> {
    let config = Config {
        acknowledge: mqtt_state::server::Acknowledge::Manual,
        ..Config::default()
    };
    let mut connection = Connection::new(peer.now, config);
    let mut packet = connect(V5_0, "c");
    wish(&mut packet);
    peer.say(&mut connection, packet);
    events(&mut connection);
    let acceptance = Acceptance {
        reason_string: Some("welcome, whoever you are".into()),
        user_properties: vec![("name".into(), "a value that takes some room".into())],
        ..Acceptance::default()
    };
    connection.accept(peer.now, acceptance).unwrap();
    with_subscribe(1, &[want("a", QoS::AtMostOnce)], |packet| {
        peer.say(&mut connection, packet);
    });
    let filters = [mqtt_codec::TopicFilter::new("a").unwrap()];
    peer.say(
        &mut connection,
        mqtt_codec::Unsubscribe {
            id: id(2),
            filters: mqtt_codec::UnsubscribeFilters::new(&filters).unwrap(),
            user_properties: UserProperties::default(),
        },
    );
    peer.say(
        &mut connection,
        crate::wire::publish("t", "m", QoS::AtLeastOnce, 3),
    );
    let pairs = pairs();
    let properties = AckProperties {
        reason_string: Some(text("a reason that takes room")),
        user_properties: UserProperties::new(&pairs),
    };
    for event in events(&mut connection) {
        match event {
            Event::Subscribe { token, .. } => connection
                .answer_subscribe_with(
                    peer.now,
                    token,
                    &[SubscribeReason::NotAuthorized],
                    properties,
                )
                .unwrap(),
            Event::Unsubscribe { token, .. } => connection
                .answer_unsubscribe_with(
                    peer.now,
                    token,
                    &[UnsubscribeReason::NotAuthorized],
                    properties,
                )
                .unwrap(),
            Event::Publish { receipt, .. } => {
                let reason = PublishReason::NotAuthorized;
                let receipt = receipt.unwrap();
                connection
                    .reject_publish(peer.now, receipt, reason, properties)
                    .unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    let mut goodbye = Disconnect::new(DisconnectReason::ServerMoved);
    goodbye.properties.reason_string = properties.reason_string;
    goodbye.properties.user_properties = properties.user_properties;
    connection.disconnect_with(peer.now, &goodbye);
    let (bytes, closed) = peer.hear_bytes(&mut connection);
    assert!(closed);
    words(&bytes)
}

#[test]
fn words_go_to_who_wants_them_and_as_far_as_they_fit() {
    let peer = Peer::new(V5_0);
    let all = ["CONNACK", "SUBACK", "UNSUBACK", "PUBACK", "DISCONNECT"];
    assert_eq!(
        all_answers(&peer, |_connect| {}),
        all.map(|name| format!("{name} reason 1"))
    );
    // [5:MQTT-3.1.2-29]
    let no_information = all_answers(&peer, |connect| {
        connect.properties.request_problem_information = Some(false);
    });
    assert_eq!(
        no_information,
        [
            "CONNACK reason 1",
            "SUBACK 0",
            "UNSUBACK 0",
            "PUBACK 0",
            "DISCONNECT reason 1"
        ]
    );
    let little_room = all_answers(&peer, |connect| {
        connect.properties.packet_size_max = NonZeroU32::new(45);
    });
    let expected = [
        "CONNACK reason 0",    // [5:MQTT-3.2.2-20]
        "SUBACK reason 0",     // [5:MQTT-3.9.2-2]
        "UNSUBACK reason 0",   // [5:MQTT-3.11.2-2]
        "PUBACK reason 0",     // [5:MQTT-3.4.2-3]
        "DISCONNECT reason 0", // [5:MQTT-3.14.2-4]
    ];
    assert_eq!(little_room, expected);
    let no_room = all_answers(&peer, |connect| {
        connect.properties.packet_size_max = NonZeroU32::new(25);
    });
    let expected = [
        "CONNACK 0",    // [5:MQTT-3.2.2-19]
        "SUBACK 0",     // [5:MQTT-3.9.2-1]
        "UNSUBACK 0",   // [5:MQTT-3.11.2-1]
        "PUBACK 0",     // [5:MQTT-3.4.2-2]
        "DISCONNECT 0", // [5:MQTT-3.14.2-3]
    ];
    assert_eq!(no_room, expected);
}

#[test]
fn a_refusal_may_say_more() {
    // [5:MQTT-3.2.2-19] [5:MQTT-3.2.2-20]
    for (version, packet_size_max, expected) in [
        (V5_0, None, Some((true, true))),
        (V5_0, NonZeroU32::new(40), Some((true, true))),
        (V5_0, NonZeroU32::new(20), Some((false, true))),
        (V5_0, NonZeroU32::new(4), None),
        (V3_1_1, None, None),
    ] {
        let peer = Peer::new(version);
        let mut connection = Connection::new(peer.now, Config::default());
        let mut packet = connect(version, "c");
        packet.properties.packet_size_max = packet_size_max;
        peer.say(&mut connection, packet);
        let properties = ConnAckProperties {
            reason_string: Some(text("not here")),
            server_reference: Some(text("there:1883")),
            // For clients that are accepted.
            receive_maximum: core::num::NonZeroU16::new(5),
            ..ConnAckProperties::default()
        };
        let reason = ConnectReason::UseAnotherServer;
        connection
            .reject_with(peer.now, reason, &properties)
            .unwrap();
        let (bytes, closed) = peer.hear_bytes(&mut connection);
        assert!(closed);
        let found = match decode(&bytes, version, u32::MAX) {
            Ok(Parsed::Complete((Packet::ConnAck(connack), size))) => {
                assert_eq!(size, bytes.len());
                assert_eq!(connack.properties.receive_maximum, None);
                Some((
                    connack.properties.reason_string.is_some(),
                    connack.properties.server_reference.is_some(),
                ))
            }
            _ => None,
        };
        assert_eq!(
            found, expected,
            "{version} {packet_size_max:?}: {bytes:02x?}"
        );
        let again = connection.reject(peer.now, reason);
        assert_eq!(again, Err(CommandError::Over));
    }
}

#[test]
fn a_goodbye_says_where_to_go() {
    let peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), None);
    peer.hear(&mut connection);
    let mut goodbye = Disconnect::new(DisconnectReason::UseAnotherServer);
    goodbye.properties.server_reference = Some(text("there"));
    // [5:MQTT-3.14.2-2] None of a server's.
    goodbye.properties.session_expiry_secs = Some(5);
    connection.disconnect_with(peer.now, &goodbye);
    let (bytes, closed) = peer.hear_bytes(&mut connection);
    let expected = [&[0xE0, 10, 0x9C, 8, 0x1C, 0, 5][..], b"there"].concat();
    assert_eq!((bytes, closed), (expected, true));
    let cause = CloseCause::Disconnected(DisconnectReason::UseAnotherServer);
    assert!(
        matches!(&events(&mut connection)[..], [Event::Closed { cause: found, .. }] if *found == cause)
    );
}

#[test]
fn an_acceptance_may_set_what_was_asked_for() {
    // [5:MQTT-3.1.2-21] [5:MQTT-3.1.2-28]
    let rows = [
        ("nothing set", 60, Acceptance::default(), None, None, 90),
        (
            "a shorter keep alive",
            60,
            Acceptance {
                keep_alive_secs: Some(10),
                ..Acceptance::default()
            },
            Some(10),
            None,
            15,
        ),
        (
            "a longer one",
            60,
            Acceptance {
                keep_alive_secs: Some(100),
                session_expiry_secs: Some(7),
                ..Acceptance::default()
            },
            Some(100),
            Some(7),
            150,
        ),
    ];
    for (name, asked, acceptance, keep_alive, expiry, silence) in rows {
        let peer = Peer::new(V5_0);
        let mut connection = Connection::new(peer.now, Config::default());
        let mut packet = connect(V5_0, "c");
        packet.keep_alive_secs = asked;
        peer.say(&mut connection, packet);
        connection.accept(peer.now, acceptance).unwrap();
        let (bytes, _) = peer.hear_bytes(&mut connection);
        let Ok(Parsed::Complete((Packet::ConnAck(connack), _))) = decode(&bytes, V5_0, u32::MAX)
        else {
            panic!("{name}: {bytes:02x?}");
        };
        let properties = connack.properties;
        assert_eq!(properties.server_keep_alive_secs, keep_alive, "{name}");
        assert_eq!(properties.session_expiry_secs, expiry, "{name}");
        let timeout = connection.poll_timeout().unwrap().at;
        let due = peer.now + core::time::Duration::from_secs(silence);
        assert_eq!(timeout, due, "{name}");
    }
    // 3.1.1 has no way to say it, and keeps its own.
    let peer = Peer::new(V3_1_1);
    let mut connection = Connection::new(peer.now, Config::default());
    let mut packet = connect(V3_1_1, "c");
    packet.keep_alive_secs = 60;
    peer.say(&mut connection, packet);
    let acceptance = Acceptance {
        keep_alive_secs: Some(10),
        reason_string: Some("not in 3.1.1".into()),
        ..Acceptance::default()
    };
    connection.accept(peer.now, acceptance).unwrap();
    assert_eq!(peer.hear(&mut connection), ["CONNACK 00"]);
    let due = peer.now + core::time::Duration::from_secs(90);
    assert_eq!(connection.poll_timeout().unwrap().at, due);
}

#[test]
fn response_information_goes_to_who_asked_for_it() {
    // [5:MQTT-3.1.2-28]
    for (asked, expected) in [
        (Some(true), Some("reply/c")),
        (Some(false), None),
        (None, None),
    ] {
        let peer = Peer::new(V5_0);
        let mut connection = Connection::new(peer.now, Config::default());
        let mut packet = connect(V5_0, "c");
        packet.properties.request_response_information = asked;
        peer.say(&mut connection, packet);
        let acceptance = Acceptance {
            response_information: Some("reply/c".into()),
            ..Acceptance::default()
        };
        connection.accept(peer.now, acceptance).unwrap();
        let (bytes, _) = peer.hear_bytes(&mut connection);
        let Ok(Parsed::Complete((Packet::ConnAck(connack), _))) = decode(&bytes, V5_0, u32::MAX)
        else {
            panic!("{bytes:02x?}");
        };
        let found = connack.properties.response_information;
        assert_eq!(found.map(|text| text.as_str()), expected, "{asked:?}");
    }
}

#[test]
fn what_is_no_string_of_mqtt_is_not_said() {
    let peer = Peer::new(V5_0);
    let mut connection = Connection::new(peer.now, Config::default());
    peer.say(&mut connection, connect(V5_0, "c"));
    for acceptance in [
        Acceptance {
            reason_string: Some("\0".into()),
            ..Acceptance::default()
        },
        Acceptance {
            user_properties: vec![("name".into(), "\0".into())],
            ..Acceptance::default()
        },
    ] {
        let refused = connection.accept(peer.now, acceptance).unwrap_err();
        assert_eq!(refused.kind, CommandError::Text);
    }
    connection.accept(peer.now, Acceptance::default()).unwrap();
}

#[test]
fn the_owner_hears_what_the_client_says_beside_its_codes() {
    let peer = Peer::new(V5_0);
    let mut connection = Connection::new(peer.now, Config::default());
    let pairs = pairs();
    let mut packet = connect(V5_0, "c");
    packet.properties.user_properties = UserProperties::new(&pairs);
    packet.properties.receive_maximum = core::num::NonZeroU16::new(7);
    packet.properties.packet_size_max = NonZeroU32::new(1000);
    packet.properties.topic_alias_maximum = Some(5);
    peer.say(&mut connection, packet);
    let Some(Event::Connect(request)) = connection.poll_event() else {
        panic!("no CONNECT");
    };
    let pair = [("name".to_owned(), "a value that takes some room".to_owned())];
    assert_eq!(request.user_properties, pair);
    assert_eq!(
        (
            request.receive_maximum,
            request.packet_size_max,
            request.topic_alias_maximum
        ),
        (7, Some(1000), 5)
    );
    assert!(request.request_problem_information && !request.request_response_information);
    connection.accept(peer.now, Acceptance::default()).unwrap();
    connection
        .deliver(peer.now, message("m", QoS::AtLeastOnce))
        .unwrap();
    peer.hear(&mut connection);
    let mut refusal = Ack::new(id(1), PublishReason::NotAuthorized);
    refusal.properties.reason_string = Some(text("not for me"));
    peer.say(&mut connection, Packet::PubAck(refusal));
    let Some(Event::Delivered { diagnostics, .. }) = connection.poll_event() else {
        panic!("no answer");
    };
    assert_eq!(diagnostics.reason_string(), Some("not for me"));
    let mut goodbye = Disconnect::new(DisconnectReason::ImplementationSpecificError);
    goodbye.properties.reason_string = Some(text("out of power"));
    assert_eq!(peer.ask(&mut connection, goodbye), ["close"]);
    let Some(Event::Closed { diagnostics, .. }) = connection.poll_event() else {
        panic!("not closed");
    };
    assert_eq!(diagnostics.reason_string(), Some("out of power"));
}

fn requested(connection: &mut Connection) -> RequestToken {
    match &events(connection)[..] {
        [Event::Subscribe { token, .. }] => *token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_answered_once() {
    let peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), None);
    peer.hear(&mut connection);
    with_subscribe(7, &[want("a", QoS::AtMostOnce)], |packet| {
        peer.say(&mut connection, packet);
    });
    let token = requested(&mut connection);
    // The identifier is in use until then. [5:MQTT-2.2.1-3] [3:MQTT-2.3.1-2]
    let early = with_subscribe(7, &[want("b", QoS::AtMostOnce)], |packet| {
        peer.ask(&mut connection, packet)
    });
    assert_eq!(early, ["SUBACK 7 91"]);
    assert_eq!(events(&mut connection), []);
    let granted = [SubscribeReason::GrantedQoS0];
    connection
        .answer_subscribe(peer.now, token, &granted)
        .unwrap();
    assert_eq!(peer.hear(&mut connection), ["SUBACK 7 00"]);
    let twice = connection.answer_subscribe(peer.now, token, &granted);
    assert_eq!(twice, Err(CommandError::Answered));
    with_subscribe(7, &[want("a", QoS::AtMostOnce)], |packet| {
        peer.say(&mut connection, packet);
    });
    requested(&mut connection);
}

#[test]
fn a_message_larger_than_the_client_takes_is_dropped_and_told() {
    // [5:MQTT-3.1.2-24] [5:MQTT-3.1.2-25]
    let peer = Peer::new(V5_0);
    let mut connection = Connection::new(peer.now, Config::default());
    let mut packet = connect(V5_0, "c");
    packet.properties.packet_size_max = NonZeroU32::new(30);
    peer.say(&mut connection, packet);
    events(&mut connection);
    connection.accept(peer.now, Acceptance::default()).unwrap();
    let large = message(&"x".repeat(30), QoS::AtLeastOnce);
    let token = connection.deliver(peer.now, large.clone()).unwrap();
    connection
        .deliver(peer.now, message("small", QoS::AtLeastOnce))
        .unwrap();
    let heard = peer.hear(&mut connection);
    assert_eq!(heard, ["CONNACK 00", "PUBLISH t=small q1 id1"]);
    let dropped = Event::DeliveryDropped {
        token,
        message: large,
        cause: DropCause::TooLarge,
    };
    assert_eq!(events(&mut connection), [dropped]);
}

#[test]
fn events_are_limited_in_bytes_and_hold_back_output_too() {
    let peer = Peer::new(V5_0);
    let config = Config {
        events_bytes_max: 10,
        ..Config::default()
    };
    let mut connection = open(&peer, config, None);
    peer.hear(&mut connection);
    let eleven = "x".repeat(11);
    peer.say(
        &mut connection,
        crate::wire::publish("t", &eleven, QoS::AtLeastOnce, 3),
    );
    assert!(!connection.wants_input());
    connection
        .deliver(peer.now, message("m", QoS::AtMostOnce))
        .unwrap();
    let waits = connection.explain().output;
    assert_eq!(waits, Some(mqtt_state::OutputWaits::ForPoll), "an answer");
    assert_eq!(peer.hear(&mut connection), ["PUBACK 3 00"]);
    let waits = connection.explain().output;
    assert_eq!(waits, Some(mqtt_state::OutputWaits::ForEvents));
    assert_eq!(events(&mut connection).len(), 1);
    assert_eq!(peer.hear(&mut connection), ["PUBLISH t=m q0"]);
}
