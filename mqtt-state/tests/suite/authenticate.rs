//! Enhanced authentication in the client role: the dialogue, and what a server may not do in it.

use mqtt_codec::{
    Auth, AuthReason, Authentication, Binary, ConnAck, ConnAckOutcome, Connect, ConnectReason,
    Packet,
};
use mqtt_state::client::{AuthenticateError, Config, Event, State};
use mqtt_state::{CloseCause, ProtocolError, TimeoutReason, Timestamp};

use crate::recorded::Client;
use crate::wire::{Peer, V3_1_1, V5_0, connack, connect, show_all, text};

const CONTINUE: AuthReason = AuthReason::ContinueAuthentication;

fn says<'a>(method: &'a str, data: &'a [u8]) -> Authentication<'a> {
    Authentication {
        method: text(method),
        data: Some(Binary::new(data).unwrap()),
    }
}

fn auth<'a>(reason: AuthReason, data: &'a [u8]) -> Packet<'a> {
    Auth::new(reason, says("SCRAM", data)).into()
}

fn accepted(data: &[u8]) -> ConnAck<'_> {
    let mut connack = connack(false);
    connack.properties.authentication = Some(says("SCRAM", data));
    connack
}

/// A client that has offered SCRAM, with what it said first.
fn offering(config: Config) -> (Client, Peer) {
    let (mut client, peer) = (Client::new(config), Peer::new(V5_0));
    let mut connect: Connect<'_> = connect(V5_0, "c");
    connect.properties.authentication = Some(says("SCRAM", b"first"));
    client.connect(peer.now, &connect).unwrap();
    let (bytes, _) = peer.hear_bytes(&mut client);
    assert!(bytes.windows(5).any(|bytes| bytes == b"first"));
    (client, peer)
}

fn authenticated(config: Config) -> (Client, Peer) {
    let (mut client, peer) = offering(config);
    peer.say(&mut client, accepted(b"last"));
    while client.poll_event().is_some() {}
    (client, peer)
}

fn data(bytes: &[u8]) -> Option<Binary<'_>> {
    Some(Binary::new(bytes).unwrap())
}

/// What the server asked.
fn asked(client: &mut Client) -> Vec<u8> {
    match client.poll_event() {
        Some(Event::Authenticate { data: Some(data) }) => data.as_bytes().to_vec(),
        other => panic!("{other:?}"),
    }
}

fn closed(client: &mut Client) -> CloseCause {
    let events = core::iter::from_fn(|| client.poll_event());
    let mut causes = events.filter_map(|event| match event {
        Event::Closed { cause, .. } => Some(cause),
        _ => None,
    });
    causes.next().unwrap()
}

#[test]
fn a_dialogue_goes_on_until_the_server_accepts() {
    // Client: [5:MQTT-4.12.0-2] [5:MQTT-4.12.0-3] [5:MQTT-4.12.0-5]
    let (mut client, peer) = offering(Config::default());
    let early = client.authenticate(peer.now, None);
    assert_eq!(early, Err(AuthenticateError::NotAsked));
    for round in [b"challenge-1", b"challenge-2"] {
        peer.say(&mut client, auth(CONTINUE, round));
        assert_eq!(asked(&mut client), round);
        client.authenticate(peer.now, data(b"answer")).unwrap();
        let (bytes, _) = peer.hear_bytes(&mut client);
        assert_eq!(show_all(&bytes, V5_0), ["AUTH"]);
        assert_eq!(bytes[2], 0x18);
        assert!(
            bytes.ends_with(b"\x15\0\x05SCRAM\x16\0\x06answer"),
            "{bytes:02X?}"
        );
        let again = client.authenticate(peer.now, None);
        assert_eq!(again, Err(AuthenticateError::NotAsked));
    }
    assert_eq!(client.state(), State::Connecting);
    peer.say(&mut client, accepted(b"proof"));
    assert_eq!(
        client.poll_event(),
        Some(Event::Connected {
            session_present: false
        })
    );
    let last = client.negotiated().unwrap().authentication_data.clone();
    assert_eq!(last.unwrap().as_bytes(), b"proof");
}

#[test]
fn a_refusal_ends_it_with_or_without_the_method() {
    // [5:MQTT-4.12.0-1] [5:MQTT-4.12.0-4]
    for with_method in [true, false] {
        let (mut client, peer) = offering(Config::default());
        let reason = ConnectReason::BadAuthenticationMethod;
        let mut refused = ConnAck::new(ConnAckOutcome::Refused(reason));
        refused.properties.authentication = with_method.then(|| says("SCRAM", b"no"));
        assert_eq!(peer.ask(&mut client, refused), ["close"]);
        assert_eq!(closed(&mut client), CloseCause::Refused(reason));
    }
}

#[test]
fn a_live_connection_is_authenticated_again() {
    // [5:MQTT-4.12.1-1]
    let (mut client, peer) = authenticated(Config::default());
    client.reauthenticate(peer.now, data(b"again")).unwrap();
    let (bytes, _) = peer.hear_bytes(&mut client);
    assert_eq!(bytes[2], 0x19);
    assert!(
        bytes.ends_with(b"\x15\0\x05SCRAM\x16\0\x05again"),
        "{bytes:02X?}"
    );
    assert_eq!(
        client.reauthenticate(peer.now, None),
        Err(AuthenticateError::Busy)
    );
    // Other traffic goes on.
    let message = mqtt_codec::Message::new("t", "m").unwrap();
    client.publish(peer.now, message).unwrap();
    assert_eq!(peer.hear(&mut client), ["PUBLISH t=m q0"]);
    assert!(matches!(client.poll_event(), Some(Event::Published { .. })));

    peer.say(&mut client, auth(CONTINUE, b"challenge"));
    assert_eq!(asked(&mut client), b"challenge");
    client.authenticate(peer.now, data(b"answer")).unwrap();
    assert_eq!(peer.hear(&mut client), ["AUTH"]);
    peer.say(&mut client, auth(AuthReason::Success, b"proof"));
    match client.poll_event() {
        Some(Event::Reauthenticated { data: Some(data) }) => assert_eq!(data.as_bytes(), b"proof"),
        other => panic!("{other:?}"),
    }
    assert!(
        client.reauthenticate(peer.now, None).is_ok(),
        "and once more"
    );
}

#[test]
fn what_a_server_may_not_say() {
    let other_method = || Packet::from(Auth::new(CONTINUE, says("OTHER", b"")));
    let without = || {
        Packet::Auth(Auth {
            authentication: None,
            ..Auth::new(CONTINUE, says("SCRAM", b""))
        })
    };
    let connack_with = |method: Option<&'static str>| {
        let mut connack = connack(false);
        connack.properties.authentication = method.map(|method| says(method, b""));
        Packet::from(connack)
    };
    const OTHER: ProtocolError = ProtocolError::OtherAuthenticationMethod;
    const UNEXPECTED: ProtocolError = ProtocolError::UnexpectedAuthentication;
    // [5:MQTT-4.12.0-5]
    let before: [(&str, Packet<'_>, ProtocolError); 6] = [
        ("another method", other_method(), OTHER),
        ("no method", without(), OTHER),
        (
            "success before CONNACK",
            auth(AuthReason::Success, b""),
            UNEXPECTED,
        ),
        (
            "what only a client says",
            auth(AuthReason::ReAuthenticate, b""),
            UNEXPECTED,
        ),
        ("accepted without the method", connack_with(None), OTHER),
        (
            "accepted by another method",
            connack_with(Some("OTHER")),
            OTHER,
        ),
    ];
    for (row, packet, error) in before {
        let (mut client, peer) = offering(Config::default());
        assert_eq!(peer.ask(&mut client, packet), ["close"], "{row}");
        assert_eq!(
            closed(&mut client),
            CloseCause::ProtocolError(error),
            "{row}"
        );
    }
    let after: [(&str, Packet<'_>, ProtocolError); 3] = [
        ("without a dialogue", auth(CONTINUE, b""), UNEXPECTED),
        (
            "success of nothing",
            auth(AuthReason::Success, b""),
            UNEXPECTED,
        ),
        ("another method", other_method(), OTHER),
    ];
    for (row, packet, error) in after {
        let (mut client, peer) = authenticated(Config::default());
        let said = peer.ask(&mut client, packet);
        assert_eq!(said, ["DISCONNECT 82", "close"], "{row}");
        assert_eq!(
            closed(&mut client),
            CloseCause::ProtocolError(error),
            "{row}"
        );
    }
    // Asked twice, and accepted while the answer is outstanding.
    for packet in [auth(CONTINUE, b"2"), accepted(b"").into()] {
        let (mut client, peer) = offering(Config::default());
        peer.say(&mut client, auth(CONTINUE, b"1"));
        assert_eq!(peer.ask(&mut client, packet), ["close"]);
        assert_eq!(closed(&mut client), CloseCause::ProtocolError(UNEXPECTED));
    }
}

#[test]
fn without_a_method_nobody_authenticates() {
    // [5:MQTT-4.12.0-6] [5:MQTT-4.12.0-7]
    let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
    client.connect(peer.now, &connect(V5_0, "c")).unwrap();
    peer.hear(&mut client);
    let no_method = Err(AuthenticateError::NoMethod);
    assert_eq!(client.authenticate(peer.now, None), no_method);
    peer.say(&mut client, connack(false));
    assert_eq!(client.reauthenticate(peer.now, None), no_method);
    assert_eq!(
        peer.ask(&mut client, auth(CONTINUE, b"")),
        ["DISCONNECT 82", "close"]
    );

    let mut client = Client::new(Config::default());
    let not_connected = Err(AuthenticateError::NotConnected);
    assert_eq!(client.reauthenticate(peer.now, None), not_connected);
    let mut older = connect(V3_1_1, "c");
    older.properties.authentication = Some(says("SCRAM", b""));
    client.connect(peer.now, &older).unwrap();
    assert_eq!(
        client.authenticate(peer.now, None),
        no_method,
        "3.1.1 has none"
    );
}

#[test]
fn rounds_and_time_have_an_end() {
    let config = Config {
        authentication_rounds_max: 2,
        ..Config::default()
    };
    let (mut client, peer) = offering(config.clone());
    for _ in 0..2 {
        peer.say(&mut client, auth(CONTINUE, b"1"));
        asked(&mut client);
        client.authenticate(peer.now, None).unwrap();
        peer.hear(&mut client);
    }
    assert_eq!(peer.ask(&mut client, auth(CONTINUE, b"1")), ["close"]);
    let error = ProtocolError::TooManyAuthenticationRounds { maximum: 2 };
    assert_eq!(closed(&mut client), CloseCause::ProtocolError(error));

    // Client: [5:MQTT-4.12.1-2]
    let (mut client, peer) = authenticated(config);
    client.reauthenticate(peer.now, None).unwrap();
    peer.hear(&mut client);
    let timeout = client.poll_timeout().unwrap();
    assert_eq!(timeout.reason, TimeoutReason::Authentication);
    assert_eq!(timeout.at, Timestamp::from_secs(21));
    client.handle_timeout(Timestamp::from_secs(20));
    assert_eq!(client.state(), State::Connected);
    client.handle_timeout(timeout.at);
    assert_eq!(closed(&mut client), CloseCause::AuthenticationTimeout);
    assert_eq!(peer.hear(&mut client), ["DISCONNECT 80", "close"]);
}

#[test]
fn what_was_said_stays_out_of_debug_output() {
    let (mut client, peer) = offering(Config::default());
    peer.say(&mut client, auth(CONTINUE, b"topsecret"));
    let shown = format!("{client:?} {:?}", client.poll_event());
    assert!(
        !shown.contains("topsecret") && shown.contains("(9 bytes)"),
        "{shown}"
    );
}
