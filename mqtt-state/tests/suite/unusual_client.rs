//! Calls of an application at moments that are not the usual ones, servers that answer strangely, and what
//! a client owes its application then.

use core::num::NonZeroU32;
use core::time::Duration;

use mqtt_codec::{
    AckProperties, Auth, AuthReason, Authentication, Connect, Disconnect, DisconnectReason,
    Message, Packet, ProtocolVersion, QoS, SubAck, SubAckReasons, SubscribeReason, SubscriptionId,
    UnsubAck, UnsubAckReasons, UnsubscribeReason, UserProperties,
};
use mqtt_state::client::{
    Acknowledge, AuthenticateError, Config, Event, LostCause, PublishToken, RequestError,
    RequestToken, RestoreError, State,
};
use mqtt_state::{CloseCause, ProtocolError, Timestamp};

use crate::recorded::Client;
use crate::wire::{Peer, V3_1_1, V5_0, connack, filter, id, publish, text, want};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];
const QOS0: QoS = QoS::AtMostOnce;
const QOS1: QoS = QoS::AtLeastOnce;
const QOS2: QoS = QoS::ExactlyOnce;

/// CONNECT of a client that goes on with its session, which outlives the connection.
fn kept(version: ProtocolVersion) -> Connect<'static> {
    let mut connect = Connect::new(version, text("c"));
    connect.clean_start = false;
    if version == V5_0 {
        connect.properties.session_expiry_secs = Some(1000);
    }
    connect
}

fn reconnect(client: &mut Client, peer: &Peer, session_present: bool) {
    client.handle_close(peer.now);
    client.connect(peer.now, &kept(peer.version)).unwrap();
    peer.hear(client);
    peer.say(client, connack(session_present));
}

fn connected(version: ProtocolVersion, config: Config) -> (Client, Peer) {
    let (mut client, peer) = (Client::new(config), Peer::new(version));
    reconnect(&mut client, &peer, false);
    events(&mut client);
    (client, peer)
}

fn events(client: &mut Client) -> Vec<Event> {
    core::iter::from_fn(|| client.poll_event()).collect()
}

/// Why the connection ended, if it did.
fn closed(events: &[Event]) -> Option<CloseCause> {
    events.iter().find_map(|event| match event {
        Event::Closed { cause, .. } => Some(*cause),
        _ => None,
    })
}

fn message(payload: &'static str, qos: QoS) -> Message {
    Message::new("t", payload).unwrap().with_qos(qos)
}

/// Whoever says goodbye before CONNECT has gone out sends both all the same, and the server makes a session.
#[test]
fn a_session_may_come_of_a_connect_that_goes_out_behind_its_end() {
    type End = fn(&mut Client, &mut Peer);
    let rows: [(&str, End, &[&str]); 2] = [
        (
            "a goodbye",
            |client, peer| {
                let reason = DisconnectReason::NormalDisconnection;
                client.disconnect(peer.now, reason).unwrap();
            },
            &["CONNECT c", "DISCONNECT 00", "close"],
        ),
        (
            "too late",
            |client, peer| {
                peer.now = peer.now + Duration::from_secs(20);
                client.handle_timeout(peer.now);
            },
            &["CONNECT c", "close"],
        ),
    ];
    for version in VERSIONS {
        for (row, end, expected) in rows {
            let (mut client, mut peer) = (Client::new(Config::default()), Peer::new(version));
            client.connect(peer.now, &kept(version)).unwrap();
            end(&mut client, &mut peer);
            assert_eq!(peer.hear(&mut client), expected, "{version}, {row}");
            assert!(closed(&events(&mut client)).is_some());
            reconnect(&mut client, &peer, true);
            let told = events(&mut client);
            let is_present = Event::Connected {
                session_present: true,
            };
            assert_eq!(told, [is_present], "{version}, {row}");
        }
    }
}

/// What the server says of a request is nonsense: then nobody knows what came of it.
#[test]
fn a_request_with_a_wrong_number_of_answers_is_told_as_lost() {
    let suback = |reasons: &[SubscribeReason]| {
        let mut bytes = Vec::new();
        let packet = SubAck {
            id: id(1),
            reasons: SubAckReasons::new(reasons).unwrap(),
            properties: AckProperties::default(),
        };
        Packet::from(packet).encode_to(V5_0, &mut bytes).unwrap();
        bytes
    };
    let unsuback = |reasons: &[UnsubscribeReason]| {
        let mut bytes = Vec::new();
        let packet = UnsubAck {
            id: id(1),
            reasons: UnsubAckReasons::new(reasons),
            properties: AckProperties::default(),
        };
        Packet::from(packet).encode_to(V5_0, &mut bytes).unwrap();
        bytes
    };
    let granted = SubscribeReason::GrantedQoS0;
    type Asks = fn(&mut Client) -> RequestToken;
    let subscribes: Asks = |client| {
        let filters = [want("a", QOS0), want("b", QOS0)];
        client.subscribe(&filters).unwrap()
    };
    let unsubscribes: Asks = |client| client.unsubscribe(&[filter("a"), filter("b")]).unwrap();
    let success = UnsubscribeReason::Success;
    for (row, asks, answer) in [
        ("SUBACK, too few", subscribes, suback(&[granted])),
        ("SUBACK, too many", subscribes, suback(&[granted; 3])),
        ("UNSUBACK, too few", unsubscribes, unsuback(&[success])),
        ("UNSUBACK, too many", unsubscribes, unsuback(&[success; 3])),
    ] {
        let (mut client, peer) = connected(V5_0, Config::default());
        let token = asks(&mut client);
        peer.hear(&mut client);
        peer.say_bytes(&mut client, &answer);
        let told = events(&mut client);
        assert_eq!(told.first(), Some(&Event::RequestLost { token }), "{row}");
        assert!(
            matches!(
                closed(&told),
                Some(CloseCause::ProtocolError(
                    ProtocolError::ReasonCountMismatch { .. }
                ))
            ),
            "{row}"
        );
        assert_eq!(peer.hear(&mut client), ["DISCONNECT 82", "close"], "{row}");
    }
}

/// As long as the application holds messages, a server that forgets which it has sent cannot fill its memory.
#[test]
fn messages_that_are_not_acknowledged_are_bounded_over_all_connections() {
    for version in VERSIONS {
        let config = Config {
            acknowledge: Acknowledge::Manual,
            receive_maximum: 10,
            receive_maximum_v3: 10,
            ..Config::default()
        };
        let (mut client, peer) = connected(version, config);
        let (mut ids, mut cause) = (1_u16.., None);
        while cause.is_none() && client.unacknowledged_len() < 1000 {
            for value in ids.by_ref().take(10) {
                peer.say(&mut client, publish("t", "m", QOS2, value));
            }
            cause = closed(&events(&mut client));
            peer.hear(&mut client);
            reconnect(&mut client, &peer, true);
            events(&mut client);
        }
        let maximum = ProtocolError::ReceiveMaximumExceeded { maximum: 10 };
        assert_eq!(cause, Some(CloseCause::ProtocolError(maximum)), "{version}");
        assert_eq!(client.unacknowledged_len(), 20, "{version}: twice as many");
    }
}

/// Nobody knows whether a server is silent to which the client does not listen.
#[test]
fn who_does_not_listen_does_not_call_the_server_silent() {
    let config = Config {
        events_max: 1,
        ..Config::default()
    };
    for shared in [false, true] {
        let (mut client, mut peer) = (Client::new(config.clone()), Peer::new(V5_0));
        let mut connect = kept(V5_0);
        connect.keep_alive_secs = 30;
        client.connect(peer.now, &connect).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        events(&mut client);
        peer.say(&mut client, publish("t", "1", QOS0, 0));
        let mut bytes = Vec::new();
        let last = publish("t", "2", QOS0, 0);
        Packet::from(last).encode_to(V5_0, &mut bytes).unwrap();
        let offer = |client: &mut Client, now| match shared {
            false => client.handle_input(now, &bytes).bytes,
            true => {
                let mut input = bytes::BytesMut::from(&*bytes);
                client.handle_input_shared(now, &mut input).bytes
            }
        };
        assert_eq!(offer(&mut client, peer.now), 0, "one event waits");
        // The application is busy for long.
        for secs in 31..100 {
            peer.now = Timestamp::from_secs(secs);
            client.handle_timeout(peer.now);
            let heard = peer.hear(&mut client);
            let expected: &[&str] = if secs % 30 == 1 { &["PINGREQ"] } else { &[] };
            assert_eq!(heard, expected, "after {secs} s");
            let due = client.poll_timeout().map(|due| due.at);
            assert!(due.is_some_and(|due| due > peer.now), "after {secs} s");
        }
        // It listens again, and takes what waited: from then on the server may be silent so long.
        assert_eq!(events(&mut client).len(), 1);
        assert_eq!(offer(&mut client, peer.now), bytes.len());
        events(&mut client);
        let due = client.poll_timeout().map(|due| due.at);
        assert_eq!(due, Some(Timestamp::from_secs(109)), "shared: {shared}");
        peer.now = Timestamp::from_secs(109);
        client.handle_timeout(peer.now);
        assert_eq!(peer.hear(&mut client), ["close"]);
        let cause = closed(&events(&mut client));
        assert_eq!(cause, Some(CloseCause::PingTimeout));
    }
}

/// 3.1.1 has no DISCONNECT that ends a session.
#[test]
fn a_goodbye_of_3_1_1_leaves_the_session_as_it_is() {
    let (mut client, peer) = connected(V3_1_1, Config::default());
    client.publish(peer.now, message("m", QOS2)).unwrap();
    assert_eq!(peer.hear(&mut client), ["PUBLISH t=m q2 id1"]);
    let mut goodbye = Disconnect::new(DisconnectReason::NormalDisconnection);
    goodbye.properties.session_expiry_secs = Some(0);
    client.disconnect_with(peer.now, &goodbye).unwrap();
    assert_eq!(peer.hear(&mut client), ["DISCONNECT 00", "close"]);
    let told = events(&mut client);
    assert_eq!(told.len(), 1, "{told:?}");
    reconnect(&mut client, &peer, true);
    assert_eq!(peer.hear(&mut client), ["PUBLISH t=m q2 id1 dup"]);
}

/// What is not acknowledged, as the server takes no acknowledgement, is the application's all the same.
#[test]
fn a_message_that_cannot_be_answered_is_not_lost() {
    let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
    client.connect(peer.now, &kept(V5_0)).unwrap();
    peer.hear(&mut client);
    let mut tiny = connack(false);
    tiny.properties.packet_size_max = NonZeroU32::new(3);
    peer.say(&mut client, tiny);
    peer.say(&mut client, publish("t", "m", QOS2, 1));
    let mut told = events(&mut client);
    assert_eq!(closed(&told), Some(CloseCause::AnswerTooLarge));
    peer.hear(&mut client);
    reconnect(&mut client, &peer, true);
    let mut again = publish("t", "m", QOS2, 1);
    again.delivery = mqtt_codec::Delivery::ExactlyOnce {
        id: id(1),
        dup: true,
    };
    assert_eq!(peer.ask(&mut client, again), ["PUBREC 1 00"]);
    told.extend(events(&mut client));
    let messages = told.iter().filter(|it| matches!(it, Event::Message { .. }));
    assert_eq!(messages.count(), 1);
}

/// [`one call`](Client::resubscribe) asks for no more at a time than the configuration allows, and the next one
/// goes on behind it.
#[test]
fn asking_for_everything_again_goes_on_where_it_stopped() {
    let config = Config {
        requests_max: 2,
        ..Config::default()
    };
    let (mut client, peer) = connected(V5_0, config);
    let answer = |client: &mut Client| {
        let heard = peer.hear(client);
        for packet in &heard {
            let value = packet.strip_prefix("SUBSCRIBE ").unwrap().parse().unwrap();
            let suback = SubAck {
                id: id(value),
                reasons: SubAckReasons::new(&[SubscribeReason::GrantedQoS0]).unwrap(),
                properties: AckProperties::default(),
            };
            peer.say(client, suback);
        }
        heard.len()
    };
    for (value, topic) in (1..).zip(["a", "b", "c", "d", "e"]) {
        let with_id = SubscriptionId::new(value);
        let filters = [want(topic, QOS0)];
        let none = UserProperties::default();
        client.subscribe_with(&filters, with_id, none).unwrap();
        answer(&mut client);
    }
    reconnect(&mut client, &peer, false);
    events(&mut client);
    let mut rounds = Vec::new();
    loop {
        let asked = client.resubscribe();
        rounds.push(answer(&mut client));
        match asked {
            Ok(_) => break,
            Err(error) => assert_eq!(error, RequestError::Busy),
        }
        assert!(rounds.len() < 9, "it ends: {rounds:?}");
    }
    assert_eq!(rounds, [2, 2, 1]);
    let answered = events(&mut client);
    assert_eq!(answered.len(), 5, "each of them once");
    // The next time it begins anew.
    let asked = client.resubscribe();
    assert_eq!(asked, Err(RequestError::Busy));
    assert_eq!(peer.hear(&mut client).len(), 2);
    reconnect(&mut client, &peer, false);
    client.resubscribe().unwrap_err();
    let (bytes, _) = peer.hear_bytes(&mut client);
    assert!(bytes.windows(2).any(|bytes| bytes == [1, b'a']));
}

/// AUTH is none of the packets that may say why to a client which does not want to know.
#[test]
fn a_client_without_problem_information_gets_none_with_auth() {
    // Client: [5:MQTT-3.1.2-29]
    for (is_wanted, is_connected) in [(true, true), (false, true), (false, false)] {
        let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
        let method = Authentication {
            method: text("SCRAM"),
            data: None,
        };
        let mut connect = kept(V5_0);
        connect.properties.authentication = Some(method);
        connect.properties.request_problem_information = Some(is_wanted);
        client.connect(peer.now, &connect).unwrap();
        peer.hear(&mut client);
        if is_connected {
            let mut accepted = connack(false);
            accepted.properties.authentication = Some(method);
            peer.say(&mut client, accepted);
            client.reauthenticate(peer.now, None).unwrap();
            peer.hear(&mut client);
        }
        events(&mut client);
        let mut auth = Auth::new(AuthReason::ContinueAuthentication, method);
        auth.properties.reason_string = Some(text("why"));
        peer.say(&mut client, auth);
        let cause = closed(&events(&mut client));
        let unwanted = ProtocolError::UnwantedProblemInformation(mqtt_codec::PacketType::Auth);
        let expected = (!is_wanted).then_some(CloseCause::ProtocolError(unwanted));
        assert_eq!(cause, expected, "{is_wanted} {is_connected}");
    }
}

/// What an answer is for is gone: that is another thing than never having had a method.
#[test]
fn an_authentication_ends_with_its_connection() {
    let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
    let before = client.authenticate(peer.now, None);
    assert_eq!(before, Err(AuthenticateError::NotConnected));
    let method = Authentication {
        method: text("SCRAM"),
        data: None,
    };
    let mut connect = kept(V5_0);
    connect.properties.authentication = Some(method);
    client.connect(peer.now, &connect).unwrap();
    peer.hear(&mut client);
    peer.say(
        &mut client,
        Auth::new(AuthReason::ContinueAuthentication, method),
    );
    client
        .disconnect(peer.now, DisconnectReason::NormalDisconnection)
        .unwrap();
    assert_eq!(client.state(), State::Ending);
    let late = client.authenticate(peer.now, None);
    assert_eq!(late, Err(AuthenticateError::NotConnected));
    assert_eq!(peer.hear(&mut client), ["DISCONNECT 00", "close"]);
}

/// A stored session may have more bytes of filters than a client may keep.
#[test]
fn a_session_with_more_filters_than_may_be_kept_is_not_taken() {
    let (mut client, peer) = connected(V5_0, Config::default());
    client.subscribe(&[want("12345678", QOS0)]).unwrap();
    peer.hear(&mut client);
    let suback = SubAck {
        id: id(1),
        reasons: SubAckReasons::new(&[SubscribeReason::GrantedQoS0]).unwrap(),
        properties: AckProperties::default(),
    };
    peer.say(&mut client, suback);
    let stored = client.snapshot(peer.now);
    for (bytes_max, expected) in [(8, None), (7, Some(RestoreError::Subscriptions))] {
        let config = Config {
            subscriptions_bytes_max: bytes_max,
            ..Config::default()
        };
        let restored = Client::restore(peer.now, Duration::ZERO, config, stored.clone());
        assert_eq!(restored.err(), expected, "{bytes_max}");
    }
}

/// What has expired takes no room from what has not.
#[test]
fn what_has_expired_while_away_makes_room() {
    for qos in [QOS0, QOS1, QOS2] {
        let config = Config {
            waiting_len_max: 2,
            ..Config::default()
        };
        let mut client = Client::new(config);
        let mut publish = |secs, expiry_secs: Option<u32>| {
            let mut publish = publish("t", "m", QOS0, 0);
            publish.properties.message_expiry_secs = expiry_secs;
            let message = Message::from_publish(&publish, crate::wire::name("t")).with_qos(qos);
            let taken = client.publish(Timestamp::from_secs(secs), message);
            taken.map_err(|error| error.kind)
        };
        let first = publish(1, Some(10)).unwrap();
        let second = publish(2, Some(20)).unwrap();
        publish(10, None).unwrap_err();
        let third = publish(11, None).unwrap();
        publish(12, None).unwrap_err();
        let fourth = publish(23, Some(1)).unwrap();
        publish(99, None).unwrap_err();
        let _others = (third, fourth);
        let lost: Vec<PublishToken> = { events(&mut client).into_iter() }
            .map(|event| match event {
                Event::PublishLost {
                    token,
                    cause: LostCause::Expired,
                    message: Some(_),
                } => token,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lost, [first, second], "{qos:?}");
    }
}
