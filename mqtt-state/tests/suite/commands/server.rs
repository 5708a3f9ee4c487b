//! Commands of the owner of a connection in the server role.

use core::num::NonZeroU32;

use mqtt_codec::{
    AuthReason, Authentication, Disconnect, DisconnectReason, Message, Packet, QoS, Rule,
    Strictness, SubscribeReason, TopicFilter, Unsubscribe, UnsubscribeFilters, UnsubscribeReason,
    UserProperties,
};
use mqtt_state::server::{
    Acceptance, CommandError, Config, Event, RequestToken, RestoreError, Session,
};
use mqtt_state::{CloseCause, ProtocolError, Timestamp};

use crate::recorded::Connection;
use crate::wire::{Peer, V3_1_1, V5_0, connect, id, pubrec, text, want, with_subscribe};

const QOS1: QoS = QoS::AtLeastOnce;
const QOS2: QoS = QoS::ExactlyOnce;

fn events(connection: &mut Connection) -> Vec<Event> {
    core::iter::from_fn(|| connection.poll_event()).collect()
}

/// A connection with a client that takes packets of so many bytes.
fn open(peer: &Peer, config: Config, packet_size_max: Option<u32>) -> Connection {
    let mut connection = Connection::new(peer.now, config);
    let mut packet = connect(peer.version, "c");
    packet.properties.packet_size_max = packet_size_max.and_then(NonZeroU32::new);
    packet.properties.session_expiry_secs = (peer.version == V5_0).then_some(10);
    peer.say(&mut connection, packet);
    connection.accept(peer.now, Acceptance::default()).unwrap();
    events(&mut connection);
    peer.hear(&mut connection);
    connection
}

fn cause(connection: &mut Connection) -> Option<CloseCause> {
    { events(connection).into_iter() }.find_map(|event| match event {
        Event::Closed { cause, .. } => Some(cause),
        _ => None,
    })
}

fn unsubscribe(peer: &Peer, connection: &mut Connection, value: u16, filters: &[&str]) {
    let filters: Vec<_> = filters
        .iter()
        .map(|it| TopicFilter::new(it).unwrap())
        .collect();
    let packet = Unsubscribe {
        id: id(value),
        filters: UnsubscribeFilters::new(&filters).unwrap(),
        user_properties: UserProperties::default(),
    };
    peer.say(connection, packet);
}

fn request(connection: &mut Connection) -> RequestToken {
    let token = events(connection)
        .into_iter()
        .find_map(|event| match event {
            Event::Subscribe { token, .. } | Event::Unsubscribe { token, .. } => Some(token),
            _ => None,
        });
    token.unwrap()
}

/// An identifier that is in use is refused for each filter, and the request that has it goes on.
#[test]
fn identifiers_of_requests_that_are_in_use() {
    let peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), None);
    unsubscribe(&peer, &mut connection, 7, &["a"]);
    let token = request(&mut connection);
    unsubscribe(&peer, &mut connection, 7, &["b", "c"]);
    assert_eq!(peer.hear(&mut connection), ["UNSUBACK 7 91 91"]);
    with_subscribe(7, &[want("d", QOS1)], |packet| {
        peer.say(&mut connection, packet)
    });
    assert_eq!(peer.hear(&mut connection), ["SUBACK 7 91"]);
    assert!(events(&mut connection).is_empty());
    let done = connection.answer_unsubscribe(peer.now, token, &[UnsubscribeReason::Success]);
    assert_eq!(done, Ok(()));
    assert_eq!(peer.hear(&mut connection), ["UNSUBACK 7 00"]);
    unsubscribe(&peer, &mut connection, 7, &["b"]);
    assert_eq!(events(&mut connection).len(), 1, "it is free again");
}

/// Answers that do not fit what was asked.
#[test]
fn answers_to_another_request() {
    for version in [V3_1_1, V5_0] {
        let peer = Peer::new(version);
        let mut connection = open(&peer, Config::default(), None);
        unsubscribe(&peer, &mut connection, 7, &["a", "b"]);
        let token = request(&mut connection);
        let success = UnsubscribeReason::Success;
        let granted = [SubscribeReason::GrantedQoS0; 2];
        let now = peer.now;
        for (row, answered, expected) in [
            (
                "of another kind",
                connection.answer_subscribe(now, token, &granted),
                Err(CommandError::Reasons),
            ),
            (
                "too few",
                connection.answer_unsubscribe(now, token, &[success]),
                Err(CommandError::Reasons),
            ),
            (
                "too many",
                connection.answer_unsubscribe(now, token, &[success; 3]),
                Err(CommandError::Reasons),
            ),
            (
                "as many",
                connection.answer_unsubscribe(now, token, &[success; 2]),
                Ok(()),
            ),
            (
                "again",
                connection.answer_unsubscribe(now, token, &[success; 2]),
                Err(CommandError::Answered),
            ),
        ] {
            assert_eq!(answered, expected, "{version} {row}");
        }
        assert_eq!(peer.hear(&mut connection).len(), 1, "{version}");
        connection.handle_close(now);
        let late = connection.answer_unsubscribe(now, token, &[success; 2]);
        assert_eq!(late, Err(CommandError::Over), "{version}");
    }
}

/// [5:MQTT-3.1.2-24] An answer that the client does not take ends the connection.
#[test]
fn answers_that_a_client_does_not_take() {
    type Ask = fn(&Peer, &mut Connection, &[&str]) -> Result<(), CommandError>;
    let subscribe: Ask = |peer, connection, filters| {
        let filters: Vec<_> = filters.iter().map(|it| want(it, QOS1)).collect();
        with_subscribe(7, &filters, |packet| peer.say(connection, packet));
        let token = request(connection);
        let granted = vec![SubscribeReason::GrantedQoS1; filters.len()];
        connection.answer_subscribe(peer.now, token, &granted)
    };
    let end: Ask = |peer, connection, filters| {
        unsubscribe(peer, connection, 7, filters);
        let token = request(connection);
        let success = vec![UnsubscribeReason::Success; filters.len()];
        connection.answer_unsubscribe(peer.now, token, &success)
    };
    let twice: Ask = |peer, connection, filters| {
        unsubscribe(peer, connection, 7, &["a"]);
        unsubscribe(peer, connection, 7, filters);
        Ok(())
    };
    let subscribe_twice: Ask = |peer, connection, filters| {
        unsubscribe(peer, connection, 7, &["a"]);
        let filters: Vec<_> = filters.iter().map(|it| want(it, QOS1)).collect();
        with_subscribe(7, &filters, |packet| peer.say(connection, packet));
        Ok(())
    };
    // Five bytes, and one for each filter.
    let (fits, larger) = (["a"; 25], ["a"; 26]);
    let too_large = Err(CommandError::AnswerTooLarge);
    for (row, ask, expected) in [
        ("SUBACK", subscribe, too_large),
        ("UNSUBACK", end, too_large),
        ("UNSUBACK with a refusal", twice, Ok(())),
        ("SUBACK with a refusal", subscribe_twice, Ok(())),
    ] {
        let peer = Peer::new(V5_0);
        let mut connection = open(&peer, Config::default(), Some(30));
        assert_eq!(ask(&peer, &mut connection, &fits), Ok(()), "{row}");
        assert_eq!(cause(&mut connection), None, "{row}");
        assert_eq!(peer.hear(&mut connection).len(), 1, "{row}");
        let mut connection = open(&peer, Config::default(), Some(30));
        assert_eq!(ask(&peer, &mut connection, &larger), expected, "{row}");
        let ended = Some(CloseCause::AnswerTooLarge);
        assert_eq!(cause(&mut connection), ended, "{row}");
        assert_eq!(
            peer.hear(&mut connection),
            ["DISCONNECT 95", "close"],
            "{row}"
        );
    }
}

/// So does the welcome itself; the client was accepted then, and its session is kept.
#[test]
fn a_welcome_that_a_client_does_not_take() {
    let peer = Peer::new(V5_0);
    for (size, expected) in [(30, None), (4, Some(CloseCause::AnswerTooLarge))] {
        let mut connection = Connection::new(peer.now, Config::default());
        let mut packet = connect(V5_0, "c");
        packet.properties.packet_size_max = NonZeroU32::new(size);
        peer.say(&mut connection, packet);
        let accepted = connection.accept(peer.now, Acceptance::default());
        let refused = accepted.err().map(|it| it.kind);
        let too_large = expected.map(|_| CommandError::AnswerTooLarge);
        assert_eq!(refused, too_large, "{size}");
        assert_eq!(cause(&mut connection), expected, "{size}");
        assert!(connection.into_session().is_some(), "{size}");
    }
}

/// A client may say at the end how long its session is to be kept.
#[test]
fn how_long_a_session_lasts_is_said_at_the_end() {
    for (row, maximum, asked, expected) in [
        ("nothing", None, None, 10),
        ("longer", None, Some(100), 100),
        ("not at all", None, Some(0), 0),
        ("longer than may be", Some(50), Some(100), 50),
        ("within what may be", Some(50), Some(49), 49),
    ] {
        let peer = Peer::new(V5_0);
        let config = Config {
            session_expiry_max_secs: maximum,
            ..Config::default()
        };
        let mut connection = open(&peer, config, None);
        let mut disconnect = Disconnect::new(DisconnectReason::NormalDisconnection);
        disconnect.properties.session_expiry_secs = asked;
        peer.say(&mut connection, disconnect);
        let secs = events(&mut connection)
            .into_iter()
            .find_map(|event| match event {
                Event::Closed {
                    session_expiry_secs,
                    ..
                } => Some(session_expiry_secs),
                _ => None,
            });
        assert_eq!(secs, Some(expected), "{row}");
    }
}

/// An authentication on a live connection that fails ends it, and one that nobody has begun has no end.
#[test]
fn authentications_of_a_live_connection() {
    for (row, begins, accepts, expected) in [
        (
            "nobody has begun",
            false,
            true,
            (Err(CommandError::WrongState), None),
        ),
        (
            "nor is there one to fail",
            false,
            false,
            (Err(CommandError::WrongState), None),
        ),
        ("it succeeds", true, true, (Ok(()), None)),
        (
            "it fails",
            true,
            false,
            (
                Ok(()),
                Some(CloseCause::Disconnected(DisconnectReason::NotAuthorized)),
            ),
        ),
    ] {
        let peer = Peer::new(V5_0);
        let config = Config {
            enhanced_authentication: true,
            ..Config::default()
        };
        let mut connection = Connection::new(peer.now, config);
        let mut packet = connect(V5_0, "c");
        let authentication = Authentication {
            method: text("M"),
            data: None,
        };
        packet.properties.authentication = Some(authentication);
        peer.say(&mut connection, packet);
        let too_early = connection.accept_authentication(peer.now, None);
        assert_eq!(too_early, Err(CommandError::WrongState), "{row}");
        connection.accept(peer.now, Acceptance::default()).unwrap();
        if begins {
            let again = mqtt_codec::Auth::new(AuthReason::ReAuthenticate, authentication);
            peer.say(&mut connection, Packet::Auth(again));
        }
        events(&mut connection);
        peer.hear(&mut connection);
        let ended = match accepts {
            true => connection.accept_authentication(peer.now, None),
            false => connection.reject_authentication(peer.now),
        };
        assert_eq!((ended, cause(&mut connection)), expected, "{row}");
        let heard: &[&str] = match (begins, accepts) {
            (false, _) => &[],
            (true, true) => &["AUTH"],
            (true, false) => &["DISCONNECT 87", "close"],
        };
        assert_eq!(peer.hear(&mut connection), heard, "{row}");
    }
}

/// A rule that a client may break is counted.
#[test]
fn rules_that_a_client_breaks() {
    for (row, strictness, expected) in [
        ("strict", Strictness::STRICT, 0),
        ("lenient", Strictness::LENIENT, 1),
    ] {
        let peer = Peer::new(V5_0);
        let config = Config {
            strictness,
            ..Config::default()
        };
        let mut connection = open(&peer, config, None);
        // PUBLISH at QoS 0 with DUP.
        peer.say_bytes(&mut connection, &[0x38, 5, 0, 1, b't', 0, b'm']);
        let tolerated: Vec<(Rule, u32)> = connection.tolerated().collect();
        let packets: u32 = tolerated.iter().map(|(_, packets)| packets).sum();
        assert_eq!(packets, expected, "{row}: {tolerated:?}");
        assert_eq!(cause(&mut connection).is_some(), row == "strict");
    }
}

/// What a connection's owner keeps has no subscriptions: a snapshot of a client's is none of its.
#[test]
fn a_session_of_a_client_is_none_of_a_connections() {
    let peer = Peer::new(V5_0);
    let mut connection = open(&peer, Config::default(), None);
    let message = Message::new("t", "m").unwrap().with_qos(QOS2);
    connection.deliver(peer.now, message).unwrap();
    peer.hear(&mut connection);
    peer.ask(&mut connection, pubrec(1));
    let now = peer.now;
    let snapshot = connection.session().snapshot(now);
    let restore = |snapshot| {
        let config = Config::default();
        Session::restore(now, core::time::Duration::ZERO, &config, snapshot).map(drop)
    };
    assert_eq!(restore(snapshot.clone()), Ok(()));
    let mut stored = serde_json::to_value(snapshot).unwrap();
    stored["subscriptions"] = serde_json::json!([{"filter": "a", "options": 1, "id": null}]);
    let spoiled = serde_json::from_value(stored).unwrap();
    assert_eq!(restore(spoiled), Err(RestoreError::Subscriptions));
    assert_eq!(now, Timestamp::from_secs(1));
}

/// [5:MQTT-3.1.0-2] A second CONNECT is one also while the first one's authentication goes on.
#[test]
fn packets_while_an_authentication_goes_on() {
    let peer = Peer::new(V5_0);
    let second = ProtocolError::SecondConnect;
    let unexpected = ProtocolError::UnexpectedPacket(mqtt_codec::PacketType::PingReq);
    for (packet, expected) in [
        (
            Packet::from(connect(V5_0, "c")),
            CloseCause::ProtocolError(second),
        ),
        (Packet::PingReq, CloseCause::ProtocolError(unexpected)),
        (
            Disconnect::new(DisconnectReason::NormalDisconnection).into(),
            CloseCause::DisconnectedByPeer(DisconnectReason::NormalDisconnection),
        ),
    ] {
        let config = Config {
            enhanced_authentication: true,
            ..Config::default()
        };
        let mut connection = Connection::new(peer.now, config);
        let mut first = connect(V5_0, "c");
        first.properties.authentication = Some(Authentication {
            method: text("M"),
            data: None,
        });
        peer.say(&mut connection, first);
        connection.ask(peer.now, None).unwrap();
        peer.say(&mut connection, packet);
        assert_eq!(cause(&mut connection), Some(expected));
    }
}
