//! `server::Connection`: one connection for those who have their own broker above it.

mod acknowledge;
mod answers;
mod cuts;
mod garbage;
mod stored;

use core::time::Duration;

use mqtt_codec::{
    Ack, Connect, DisconnectReason, Message, Packet, PublishReason, QoS, ReasonCode,
    SubscribeReason, UnsubscribeReason,
};
use mqtt_state::server::{Acceptance, CommandError, Config, DeliverErrorKind, Event, Session};
use mqtt_state::{CloseCause, Diagnostics, TimeoutReason, Timestamp};

use crate::recorded::Connection;
use crate::wire::{
    Peer, V3_1_1, V5_0, connect, id, puback, publish, pubrec, text, want, with_subscribe,
};

fn events(connection: &mut Connection) -> Vec<Event> {
    core::iter::from_fn(|| connection.poll_event()).collect()
}

fn open(peer: &Peer, config: Config, session: Option<Session>) -> Connection {
    let mut connection = Connection::new(peer.now, config);
    let packet = Connect {
        clean_start: session.is_none(),
        ..connect(peer.version, "c")
    };
    peer.say(&mut connection, packet);
    let acceptance = Acceptance {
        session,
        ..Acceptance::default()
    };
    connection.accept(peer.now, acceptance).unwrap();
    events(&mut connection);
    connection
}

fn message(payload: &str, qos: QoS) -> Message {
    Message::new("t", payload.to_owned()).unwrap().with_qos(qos)
}

#[test]
fn requests_are_answered_by_the_owner() {
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let mut connection = open(&peer, Config::default(), None);
        peer.hear(&mut connection);
        let filters = [want("a", QoS::AtLeastOnce), want("b", QoS::ExactlyOnce)];
        with_subscribe(7, &filters, |packet| peer.say(&mut connection, packet));
        let [Event::Subscribe { token, filters, .. }] = &events(&mut connection)[..] else {
            panic!("one request");
        };
        assert_eq!(
            filters.iter().map(|(text, _)| &**text).collect::<Vec<_>>(),
            ["a", "b"]
        );
        let one = [SubscribeReason::GrantedQoS1];
        assert_eq!(
            connection.answer_subscribe(peer.now, *token, &one),
            Err(CommandError::Reasons)
        );
        let other =
            connection.answer_unsubscribe(peer.now, *token, &[UnsubscribeReason::Success; 2]);
        assert_eq!(other, Err(CommandError::Reasons), "the other kind");
        let both = [
            SubscribeReason::GrantedQoS1,
            SubscribeReason::UnspecifiedError,
        ];
        connection
            .answer_subscribe(peer.now, *token, &both)
            .unwrap();
        assert_eq!(peer.hear(&mut connection), ["SUBACK 7 01 80"], "{version}");
    }
}

#[test]
fn messages_come_up_and_go_down() {
    let peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), None);
    peer.hear(&mut connection);
    peer.say(&mut connection, publish("t", "up", QoS::AtLeastOnce, 3));
    let [
        Event::Publish {
            message: up,
            dup: false,
            receipt: None,
        },
    ] = &events(&mut connection)[..]
    else {
        panic!("one message");
    };
    assert_eq!(up.payload(), b"up");
    let tokens = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
        .map(|qos| connection.deliver(peer.now, message("down", qos)).unwrap());
    let heard = peer.hear(&mut connection);
    let expected = [
        "PUBACK 3 00",
        "PUBLISH t@1=down q0",
        "PUBLISH @1=down q1 id1",
        "PUBLISH @1=down q2 id2",
    ];
    let without_aliases = [
        "PUBACK 3 00",
        "PUBLISH t=down q0",
        "PUBLISH t=down q1 id1",
        "PUBLISH t=down q2 id2",
    ];
    assert!(heard == expected || heard == without_aliases, "{heard:?}");
    peer.say(&mut connection, puback(1));
    let refusal = Ack::new(id(2), PublishReason::QuotaExceeded);
    peer.say(&mut connection, Packet::PubRec(refusal));
    let reasons = [
        ReasonCode::Success,
        ReasonCode::Success,
        ReasonCode::QuotaExceeded,
    ];
    let delivered: Vec<_> = tokens
        .into_iter()
        .zip(reasons)
        .map(|(token, reason)| Event::Delivered {
            token,
            reason,
            diagnostics: Diagnostics::default(),
        })
        .collect();
    assert_eq!(events(&mut connection), delivered);
}

#[test]
fn the_sharing_door_takes_the_same() {
    let peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), None);
    peer.hear(&mut connection);
    let large = "x".repeat(1000);
    let mut input = bytes::BytesMut::new();
    for payload in ["small", &large] {
        let packet = Packet::from(publish("t", payload, QoS::AtLeastOnce, 3));
        packet.encode_to(V5_0, &mut input).unwrap();
    }
    input.extend_from_slice(&[0x30, 0x05]);
    let len = input.len();
    let taken = connection.handle_input_shared(peer.now, &mut input);
    assert_eq!((taken.bytes, taken.need), (len - 2, 5));
    assert_eq!(&input[..], [0x30, 0x05], "the rest stays");
    let payloads: Vec<_> = events(&mut connection)
        .into_iter()
        .map(|event| match event {
            Event::Publish { message, .. } => message.payload().len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(payloads, [5, 1000]);
    let taken = connection.handle_input_shared(peer.now, &mut bytes::BytesMut::new());
    assert_eq!(taken, connection.handle_input(peer.now, &[]), "of nothing");
}

#[test]
fn the_owner_keeps_the_session_and_gives_it_to_the_next_connection() {
    // [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1]
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let mut first = open(&peer, Config::default(), Some(Session::default()));
        peer.hear(&mut first);
        for (payload, qos) in [("a", QoS::AtLeastOnce), ("b", QoS::ExactlyOnce)] {
            first.deliver(peer.now, message(payload, qos)).unwrap();
        }
        peer.hear(&mut first);
        peer.ask(&mut first, pubrec(2));
        peer.say(&mut first, publish("t", "up", QoS::ExactlyOnce, 9));
        first.handle_close(peer.now);
        first
            .deliver(peer.now, message("c", QoS::AtLeastOnce))
            .unwrap();

        let mut second = open(&peer, Config::default(), first.into_session());
        let heard = peer.hear(&mut second);
        let expected = [
            "CONNACK 00 present",
            "PUBREL 2 00",
            "PUBLISH t=a q1 id1 dup",
            "PUBLISH t=c q1 id3",
        ];
        assert_eq!(heard, expected, "{version}");
        // The QoS 2 message from below was taken: its repetition is answered only.
        assert_eq!(
            peer.ask(&mut second, publish("t", "up", QoS::ExactlyOnce, 9)),
            ["PUBREC 9 00"]
        );
        assert_eq!(events(&mut second), []);
    }
}

#[test]
fn a_connection_that_is_over_tells_so_once() {
    let peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), None);
    peer.hear(&mut connection);
    connection.disconnect(peer.now, DisconnectReason::ServerBusy);
    connection.disconnect(peer.now, DisconnectReason::ServerBusy);
    connection.handle_close(peer.now);
    let closed = Event::Closed {
        cause: CloseCause::Disconnected(DisconnectReason::ServerBusy),
        will: None,
        session_expiry_secs: 0,
        diagnostics: Diagnostics::default(),
    };
    assert_eq!(events(&mut connection), [closed]);
    assert_eq!(
        peer.hear(&mut connection),
        ["close"],
        "the transport is gone: nothing more to say"
    );
}

#[test]
fn a_client_without_a_name_gets_the_one_that_the_owner_assigns() {
    // [5:MQTT-3.1.3-7]
    let peer = Peer::new(V5_0);
    let rows = [
        ("given", Ok(())),
        ("not\0allowed", Err(CommandError::ClientId)),
    ];
    for (assigned, expected) in rows {
        let mut connection = Connection::new(peer.now, Config::default());
        peer.say(&mut connection, connect(V5_0, ""));
        let acceptance = Acceptance {
            assigned_client_id: Some(assigned.into()),
            ..Acceptance::default()
        };
        assert_eq!(
            connection
                .accept(peer.now, acceptance)
                .map_err(|error| error.kind),
            expected,
            "{assigned:?}"
        );
    }
}

#[test]
fn what_waits_for_the_client_is_limited() {
    let peer = Peer::new(V5_0);
    let config = Config {
        waiting_len_max: 2,
        ..Config::default()
    };
    let mut connection = open(&peer, config, None);
    for payload in ["1", "2"] {
        connection
            .deliver(peer.now, message(payload, QoS::AtMostOnce))
            .unwrap();
    }
    let error = connection
        .deliver(peer.now, message("3", QoS::AtMostOnce))
        .unwrap_err();
    assert_eq!(
        error.message,
        message("3", QoS::AtMostOnce),
        "it comes back"
    );
    peer.hear(&mut connection);
    assert!(
        connection
            .deliver(peer.now, message("3", QoS::AtMostOnce))
            .is_ok()
    );
}

#[test]
fn nothing_is_delivered_to_a_client_that_is_not_accepted() {
    let peer = Peer::new(V5_0);
    let mut connection = Connection::new(peer.now, Config::default());
    let refused = |connection: &mut Connection| {
        let early = message("early", QoS::AtLeastOnce);
        let error = connection.deliver(peer.now, early.clone()).unwrap_err();
        assert_eq!(error.message, early, "it comes back");
        assert_eq!(error.kind, DeliverErrorKind::NotAccepted);
    };
    refused(&mut connection);
    peer.say(&mut connection, connect(V5_0, "c"));
    refused(&mut connection);
    connection.accept(peer.now, Acceptance::default()).unwrap();
    connection
        .deliver(peer.now, message("now", QoS::AtLeastOnce))
        .unwrap();
    assert_eq!(
        peer.hear(&mut connection),
        ["CONNACK 00", "PUBLISH t=now q1 id1"]
    );
}

#[test]
fn passwords_are_not_shown() {
    let peer = Peer::new(V5_0);
    let mut connection = Connection::new(peer.now, Config::default());
    let packet = Connect {
        user_name: Some(text("user")),
        password: Some(mqtt_codec::Binary::new(b"s3cret").unwrap()),
        ..connect(V5_0, "c")
    };
    peer.say(&mut connection, packet);
    let events = events(&mut connection);
    let Some(Event::Connect(request)) = events.first() else {
        panic!("{events:?}");
    };
    assert_eq!(request.password.as_deref(), Some(&b"s3cret"[..]));
    let bytes = format!("{:?}", b"s3cret");
    let shown = format!("{events:?} {connection:?}");
    assert!(
        !shown.contains("s3cret") && !shown.contains(bytes.trim_matches(['[', ']'])),
        "{shown}"
    );
}

#[test]
fn a_connect_that_nobody_decides_keeps_its_place() {
    let peer = Peer::new(V5_0);
    let mut connection = Connection::new(peer.now, Config::default());
    peer.say(&mut connection, connect(V5_0, "c"));
    assert_eq!(
        connection.poll_timeout(),
        None,
        "the owner's time is the owner's business"
    );
    connection.handle_timeout(Timestamp::from_secs(1_000_000));
    let acceptance = Acceptance::default();
    assert!(
        connection
            .accept(Timestamp::from_secs(1_000_000), acceptance)
            .is_ok()
    );
}

#[test]
fn deadlines_are_those_of_the_handshake_and_of_keep_alive() {
    let mut peer = Peer::new(V5_0);
    let mut connection = Connection::new(peer.now, Config::default());
    let timeout = connection.poll_timeout().unwrap();
    assert_eq!(timeout.at, peer.now + Config::default().connect_timeout);
    let packet = Connect {
        keep_alive_secs: 10,
        ..connect(V5_0, "c")
    };
    peer.say(&mut connection, packet);
    assert!(!connection.is_connected());
    connection.accept(peer.now, Acceptance::default()).unwrap();
    assert!(connection.is_connected());
    peer.hear(&mut connection);
    peer.now = Timestamp::from_secs(5);
    peer.ask(&mut connection, Packet::PingReq);
    let timeout = connection.poll_timeout().unwrap();
    assert_eq!(
        timeout.at,
        Timestamp::from_secs(20),
        "counted from the last packet"
    );
    connection.handle_timeout(Timestamp::from_secs(19));
    assert!(connection.is_connected());
    peer.now = timeout.at;
    connection.handle_timeout(peer.now);
    assert_eq!(peer.hear(&mut connection), ["DISCONNECT 8D", "close"]);
    assert!(!connection.is_connected());
}

#[test]
fn events_that_the_owner_does_not_fetch_stop_the_input() {
    let peer = Peer::new(V3_1_1);
    let config = Config {
        events_max: 2,
        ..Config::default()
    };
    let mut connection = open(&peer, config, None);
    peer.hear(&mut connection);
    let mut input = Vec::new();
    for payload in ["1", "2", "3"] {
        let packet = Packet::from(publish("t", payload, QoS::AtMostOnce, 0));
        packet.encode_to(V3_1_1, &mut input).unwrap();
    }
    let taken = connection.handle_input(peer.now, &input);
    assert_eq!(taken.bytes, input.len() / 3 * 2);
    let waits = connection.explain().input;
    assert_eq!(waits, Some(mqtt_state::InputWaits::ForEvents));
    assert_eq!(events(&mut connection).len(), 2);
    assert_eq!(connection.explain().input, None);
    let stats = connection.stats();
    assert_eq!(stats.packets_received, 3, "CONNECT and two");
    assert!(stats.bytes_sent > 0);
}

#[test]
fn a_session_says_what_it_holds() {
    let peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), Some(Session::default()));
    peer.hear(&mut connection);
    for payload in ["sent", "acknowledged"] {
        connection
            .deliver(peer.now, message(payload, QoS::ExactlyOnce))
            .unwrap();
    }
    peer.hear(&mut connection);
    peer.ask(&mut connection, pubrec(2));
    peer.say(&mut connection, publish("t", "up", QoS::ExactlyOnce, 9));
    connection
        .deliver(peer.now, message("waits", QoS::AtLeastOnce))
        .unwrap();
    let session = connection.into_session().unwrap();
    assert_eq!(session.in_flight_len(), 2);
    assert_eq!(
        (session.waiting_len(), session.messages_bytes()),
        (1, 2 * "t".len() + "waits".len() + "sent".len()),
        "what is acknowledged is not kept"
    );
    assert_eq!(
        (session.unreleased_len(), session.packet_ids_in_use()),
        (1, 2)
    );
}

/// A client in the middle of SCRAM with a server connection.
fn asked_for_more(peer: &Peer) -> Connection {
    let config = Config {
        enhanced_authentication: true,
        ..Config::default()
    };
    let mut connection = Connection::new(peer.now, config);
    let mut login = connect(V5_0, "c");
    login.properties.authentication = Some(scram(b"first"));
    peer.say(&mut connection, login);
    let Some(Event::Connect(request)) = connection.poll_event() else {
        panic!("no CONNECT")
    };
    assert_eq!(request.authentication_method.as_deref(), Some("SCRAM"));
    connection
        .ask(peer.now, Some(binary(b"challenge")))
        .unwrap();
    assert_eq!(peer.hear(&mut connection), ["AUTH"]);
    connection
}

fn binary(bytes: &[u8]) -> mqtt_codec::Binary<'_> {
    mqtt_codec::Binary::new(bytes).unwrap()
}

fn scram(data: &[u8]) -> mqtt_codec::Authentication<'_> {
    mqtt_codec::Authentication {
        method: text("SCRAM"),
        data: Some(binary(data)),
    }
}

fn next_step() -> Packet<'static> {
    mqtt_codec::Auth::new(
        mqtt_codec::AuthReason::ContinueAuthentication,
        scram(b"answer"),
    )
    .into()
}

#[test]
fn enhanced_authentication_is_its_owners_to_decide() {
    // [5:MQTT-4.12.0-2] [5:MQTT-4.12.0-3] [5:MQTT-4.12.1-1]
    let peer = Peer::new(V5_0);
    let mut connection = asked_for_more(&peer);
    let twice = connection.ask(peer.now, None);
    assert_eq!(twice, Err(CommandError::WrongState), "the client is next");
    peer.say(&mut connection, next_step());
    let step = connection.poll_event();
    assert!(matches!(
        step,
        Some(Event::Authenticate { is_new: false, .. })
    ));
    connection.accept(peer.now, Acceptance::default()).unwrap();
    assert_eq!(peer.hear(&mut connection), ["CONNACK 00"]);

    let again = mqtt_codec::Auth::new(mqtt_codec::AuthReason::ReAuthenticate, scram(b"again"));
    peer.say(&mut connection, again);
    let step = connection.poll_event();
    assert!(matches!(
        step,
        Some(Event::Authenticate { is_new: true, .. })
    ));
    connection.accept_authentication(peer.now, None).unwrap();
    assert_eq!(peer.hear(&mut connection), ["AUTH"]);
    let late = connection.reject_authentication(peer.now);
    assert_eq!(late, Err(CommandError::WrongState));
}

#[test]
fn an_authentication_that_fails_ends_the_connection() {
    // [5:MQTT-4.12.0-4] [5:MQTT-4.12.1-2]
    let peer = Peer::new(V5_0);
    let mut connection = asked_for_more(&peer);
    peer.say(&mut connection, next_step());
    connection.reject_authentication(peer.now).unwrap();
    assert_eq!(peer.hear(&mut connection), ["CONNACK 87", "close"]);

    // A client that is asked too often is one that does not come to an end.
    let mut connection = asked_for_more(&peer);
    for _ in 0..10 {
        peer.say(&mut connection, next_step());
        connection.ask(peer.now, None).unwrap();
    }
    peer.say(&mut connection, next_step());
    let heard = peer.hear(&mut connection);
    assert_eq!(heard.last().map(String::as_str), Some("close"));
}

/// [5:MQTT-4.12.1-2] Whichever comes first: the silence of its keep alive, or its next step missing.
#[test]
fn a_new_authentication_has_a_deadline_of_its_own() {
    for (keep_alive_secs, secs, reason, heard) in [
        (0, 10, TimeoutReason::Authentication, "DISCONNECT 87"),
        (60, 10, TimeoutReason::Authentication, "DISCONNECT 87"),
        (4, 6, TimeoutReason::KeepAlive, "DISCONNECT 8D"),
    ] {
        let (mut peer, mut connection) = asked_again(keep_alive_secs);
        let due = connection.poll_timeout().unwrap();
        let at = peer.now + Duration::from_secs(secs);
        assert_eq!((due.at, due.reason), (at, reason), "{keep_alive_secs}");
        peer.now = at;
        connection.handle_timeout(at);
        assert_eq!(peer.hear(&mut connection), [heard, "close"]);
    }
    let (mut peer, mut connection) = asked_again(0);
    peer.now = peer.now + Duration::from_secs(9);
    peer.say(&mut connection, next_step());
    assert_eq!(connection.poll_timeout(), None, "this side decides");
}

/// A client that is to go on with its new authentication.
fn asked_again(keep_alive_secs: u16) -> (Peer, Connection) {
    let peer = Peer::new(V5_0);
    let mut connection = asked_for_more(&peer);
    peer.say(&mut connection, next_step());
    let acceptance = Acceptance {
        keep_alive_secs: Some(keep_alive_secs),
        ..Acceptance::default()
    };
    connection.accept(peer.now, acceptance).unwrap();
    let again = mqtt_codec::Auth::new(mqtt_codec::AuthReason::ReAuthenticate, scram(b"again"));
    peer.say(&mut connection, again);
    connection.ask(peer.now, Some(binary(b"more"))).unwrap();
    peer.hear(&mut connection);
    (peer, connection)
}
