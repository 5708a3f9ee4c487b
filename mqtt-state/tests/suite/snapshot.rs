//! A session that is stored, and goes on in another client.

use core::time::Duration;

use mqtt_codec::{
    Connect, Message, ProtocolVersion, PublishProperties, QoS, SubAck, SubAckReasons,
    SubscribeReason,
};
use mqtt_state::client::{Config, Event, LostCause, PublishToken, RestoreError};
use mqtt_state::session::SessionSnapshot;
use mqtt_state::{Diagnostics, Timestamp};
use serde_json::{Value, json};

use crate::recorded::Client;
use crate::wire::{
    Peer, V3_1_1, V5_0, connack, id, puback, pubcomp, publish, pubrec, pubrel, text, want,
};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];

fn resuming(version: ProtocolVersion) -> Connect<'static> {
    let mut connect = Connect::new(version, text("c"));
    connect.clean_start = false;
    if version == V5_0 {
        connect.properties.session_expiry_secs = Some(10_000);
    }
    connect
}

fn connected(client: &mut Client, peer: &Peer, session_present: bool) -> Vec<String> {
    client.connect(peer.now, &resuming(peer.version)).unwrap();
    peer.hear(client);
    peer.ask(client, connack(session_present))
}

fn message(payload: &'static str, qos: QoS) -> Message {
    Message::new("t", payload).unwrap().with_qos(qos)
}

fn expiring(payload: &str, secs: u32) -> Message {
    let properties = PublishProperties {
        message_expiry_secs: Some(secs),
        ..PublishProperties::default()
    };
    let message = Message::new("t", payload.to_owned()).unwrap();
    let message = message.with_properties(&properties).unwrap();
    message.with_qos(QoS::AtLeastOnce)
}

/// Out, through text, and into another client.
fn through_json(client: &Client, now: Timestamp) -> SessionSnapshot {
    let text = serde_json::to_string(&client.snapshot(now)).unwrap();
    let snapshot = serde_json::from_str(&text).unwrap();
    assert_eq!(client.snapshot(now), snapshot);
    snapshot
}

/// The order of everything that a session has: acknowledged, released, sent and never sent.
#[test]
fn everything_goes_on_where_it_was() {
    for version in VERSIONS {
        let (mut client, peer) = (Client::new(Config::default()), Peer::new(version));
        connected(&mut client, &peer, false);
        let mut tokens = Vec::new();
        for (payload, qos) in [
            ("1", QoS::AtLeastOnce),
            ("2", QoS::ExactlyOnce),
            ("3", QoS::ExactlyOnce),
            ("4", QoS::AtLeastOnce),
        ] {
            tokens.push(client.publish(peer.now, message(payload, qos)).unwrap());
        }
        peer.hear(&mut client);
        client.subscribe(&[want("a/+", QoS::AtLeastOnce)]).unwrap();
        peer.hear(&mut client);
        let suback = SubAck {
            id: id(5),
            reasons: SubAckReasons::new(&[SubscribeReason::GrantedQoS1]).unwrap(),
            properties: Default::default(),
        };
        peer.say(&mut client, suback);
        peer.say(&mut client, pubrec(3));
        peer.say(&mut client, publish("t", "theirs", QoS::ExactlyOnce, 9));
        peer.hear(&mut client);
        client.handle_close(peer.now);
        for (payload, qos) in [("5", QoS::AtMostOnce), ("6", QoS::AtLeastOnce)] {
            tokens.push(client.publish(peer.now, message(payload, qos)).unwrap());
        }

        let snapshot = through_json(&client, peer.now);
        let other_origin = Timestamp::from_secs(1);
        let restored = Client::restore(other_origin, Duration::ZERO, Config::default(), snapshot);
        let mut client = restored.unwrap();
        assert_eq!((client.in_flight_len(), client.waiting_len()), (4, 2));
        let sent = connected(&mut client, &peer, true);
        let expected = [
            "PUBREL 3 00",
            "PUBLISH t=1 q1 id1 dup",
            "PUBLISH t=2 q2 id2 dup",
            "PUBLISH t=4 q1 id4 dup",
            "PUBLISH t=5 q0",
            "PUBLISH t=6 q1 id5",
        ];
        assert_eq!(sent, expected, "{version}");
        // What this side owned is not shown again.
        let mut again = publish("t", "theirs", QoS::ExactlyOnce, 9);
        again.delivery = mqtt_codec::Delivery::ExactlyOnce {
            id: id(9),
            dup: true,
        };
        assert_eq!(peer.ask(&mut client, again), ["PUBREC 9 00"]);
        assert_eq!(peer.ask(&mut client, pubrel(9)), ["PUBCOMP 9 00"]);
        for packet in [
            puback(1),
            pubrec(2),
            pubcomp(2),
            pubcomp(3),
            puback(4),
            puback(5),
        ] {
            peer.ask(&mut client, packet);
        }
        let mut published: Vec<PublishToken> = core::iter::from_fn(|| client.poll_event())
            .filter_map(|event| match event {
                Event::Published {
                    token, diagnostics, ..
                } => {
                    assert_eq!(diagnostics, Diagnostics::default());
                    Some(token)
                }
                Event::Message { message, .. } => panic!("{message:?}"),
                _ => None,
            })
            .collect();
        published.sort_unstable();
        assert_eq!(published, tokens, "{version}: the tokens of before");
        let new = client
            .publish(peer.now, message("7", QoS::AtLeastOnce))
            .unwrap();
        assert!(tokens.iter().all(|token| *token < new), "never used again");
        assert_eq!(
            client.subscriptions()[0].filter(),
            want("a/+", QoS::AtLeastOnce)
        );
    }
}

#[test]
fn a_server_without_the_session_is_told_and_so_is_the_application() {
    let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
    connected(&mut client, &peer, false);
    let token = client
        .publish(peer.now, message("m", QoS::ExactlyOnce))
        .unwrap();
    peer.hear(&mut client);
    let snapshot = through_json(&client, peer.now);
    let restored = Client::restore(peer.now, Duration::ZERO, Config::default(), snapshot);
    let mut client = restored.unwrap();
    assert_eq!(connected(&mut client, &peer, false), [""; 0]);
    let cause = LostCause::SessionLost;
    let message = Some(message("m", QoS::ExactlyOnce));
    let lost = Event::PublishLost {
        token,
        message,
        cause,
    };
    assert_eq!(client.poll_event(), Some(lost));
}

#[test]
fn expiry_goes_on_while_the_session_lies_idle() {
    let (mut client, peer) = (Client::new(Config::default()), Peer::new(V5_0));
    for (payload, secs) in [("short", 60), ("long", 200)] {
        client.publish(peer.now, expiring(payload, secs)).unwrap();
    }
    let later = peer.now + Duration::from_secs(10);
    let snapshot = through_json(&client, later);
    // Another clock, and a minute without the program.
    let start = Timestamp::ZERO;
    let idle = Duration::from_secs(60);
    let mut client = Client::restore(start, idle, Config::default(), snapshot).unwrap();
    client.connect(start, &resuming(V5_0)).unwrap();
    let peer = Peer { now: start, ..peer };
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    let (bytes, _) = peer.hear_bytes(&mut client);
    assert_eq!(
        crate::wire::show_all(&bytes, V5_0),
        ["PUBLISH t=long q1 id1"]
    );
    let expiry = [0x02, 0, 0, 0, 130];
    assert!(
        bytes.windows(5).any(|part| part == expiry),
        "200 - 10 - 60: {bytes:02X?}"
    );
    let lost = core::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
        Event::PublishLost { cause, .. } => Some(cause),
        _ => None,
    });
    assert_eq!(lost, Some(LostCause::Expired));
}

/// A session with something of everything, as text that a test can spoil.
fn stored() -> Value {
    let mut client = Client::new(Config::default());
    let _token = client.publish(Timestamp::ZERO, message("x", QoS::AtLeastOnce));
    let mut stored = serde_json::to_value(client.snapshot(Timestamp::ZERO)).unwrap();
    let payload = stored["waiting"][0]["message"].clone();
    let with_qos = |qos: u8| {
        let mut message = payload.clone();
        message["qos"] = json!(qos);
        message
    };
    stored["next_token"] = json!(10);
    stored["publishes"] = json!([
        {"id": 1, "token": 2, "message": with_qos(1), "expires_at": null},
        {"id": 2, "token": 3, "message": with_qos(2), "expires_at": 5},
    ]);
    stored["releases"] = json!([{"id": 7, "token": 4}]);
    stored["unreleased"] = json!([1, 2]);
    stored["subscriptions"] = json!([{"filter": "a/#", "options": 1, "id": null}]);
    stored
}

#[test]
fn nothing_in_a_snapshot_is_believed() {
    type Spoil = fn(&mut Value);
    let rows: [(&str, Spoil, RestoreError); 19] = [
        (
            "a form of the future",
            |it| it["form"] = json!(2),
            RestoreError::UnknownForm { form: 2 },
        ),
        (
            "an identifier twice",
            |it| it["publishes"][1]["id"] = json!(1),
            RestoreError::PacketIdTwice,
        ),
        (
            "released and sent",
            |it| it["releases"][0]["id"] = json!(2),
            RestoreError::PacketIdTwice,
        ),
        (
            "received twice",
            |it| it["unreleased"] = json!([3, 3]),
            RestoreError::PacketIdTwice,
        ),
        (
            "a token twice",
            |it| it["releases"][0]["token"] = json!(2),
            RestoreError::Token,
        ),
        (
            "a token twice, waiting",
            |it| it["waiting"][0]["token"] = json!(3),
            RestoreError::Token,
        ),
        (
            "a token of nobody",
            |it| it["waiting"][0]["token"] = json!(10),
            RestoreError::Token,
        ),
        (
            "token 0",
            |it| it["waiting"][0]["token"] = json!(0),
            RestoreError::Token,
        ),
        (
            "no tokens left",
            |it| it["next_token"] = json!(u64::MAX),
            RestoreError::Token,
        ),
        (
            "no tokens at all",
            |it| it["next_token"] = json!(0),
            RestoreError::Token,
        ),
        (
            "released twice",
            |it| it["releases"] = json!([{"id": 7, "token": 4}, {"id": 7, "token": 5}]),
            RestoreError::PacketIdTwice,
        ),
        (
            "more bytes in flight than there may be",
            |it| {
                it["publishes"][1]["message"]["payload"] = json!(vec![0; 100]);
                it["waiting"] = json!([]);
            },
            RestoreError::TooMuch,
        ),
        (
            "more bytes waiting than there may be",
            |it| it["waiting"][0]["message"]["payload"] = json!(vec![0; 100]),
            RestoreError::TooMuch,
        ),
        (
            "more subscriptions than there may be",
            |it| {
                let one = |filter: &str| json!({"filter": filter, "options": 1, "id": null});
                it["subscriptions"] = json!([one("a"), one("b"), one("c")]);
            },
            RestoreError::Subscriptions,
        ),
        (
            "QoS 0 in flight",
            |it| it["publishes"][0]["message"]["qos"] = json!(0),
            RestoreError::QoS0InFlight,
        ),
        (
            "no filter",
            |it| it["subscriptions"][0]["filter"] = json!("a/#/b"),
            RestoreError::Subscriptions,
        ),
        (
            "a filter twice",
            |it| {
                let one = it["subscriptions"][0].clone();
                it["subscriptions"] = json!([one, one]);
            },
            RestoreError::Subscriptions,
        ),
        (
            "more than may wait",
            |it| {
                let one = it["waiting"][0].clone();
                let more = (0..4).map(|token| {
                    let mut one = one.clone();
                    one["token"] = json!(5 + token);
                    one
                });
                it["waiting"] = more.collect();
            },
            RestoreError::TooMuch,
        ),
        (
            "what only a server sends",
            |it| {
                it["waiting"][0]["message"]["properties"] = json!({"subscription_ids": [1]});
            },
            RestoreError::SubscriptionIds,
        ),
    ];
    let config = || Config {
        waiting_len_max: 3,
        messages_bytes_max: 50,
        subscriptions_max: 2,
        ..Config::default()
    };
    let restore = |stored: Value| {
        let snapshot: SessionSnapshot = serde_json::from_value(stored).unwrap();
        Client::restore(Timestamp::ZERO, Duration::ZERO, config(), snapshot)
    };
    let client = restore(stored()).unwrap();
    assert_eq!((client.in_flight_len(), client.waiting_len()), (3, 1));
    for (row, spoil, expected) in rows {
        let mut stored = stored();
        spoil(&mut stored);
        assert_eq!(restore(stored).map(|_| ()), Err(expected), "{row}");
    }
}

#[test]
fn what_is_no_session_at_all_is_refused_by_its_form() {
    type Spoil = fn(&mut Value);
    let rows: [(&str, Spoil); 6] = [
        ("identifier 0", |it| it["publishes"][0]["id"] = json!(0)),
        ("QoS 3", |it| {
            it["publishes"][0]["message"]["qos"] = json!(3)
        }),
        ("a wildcard in a topic", |it| {
            it["waiting"][0]["message"]["topic"] = json!("a/#")
        }),
        ("options of nobody", |it| {
            it["subscriptions"][0]["options"] = json!(0x33)
        }),
        ("a field of nobody", |it| it["more"] = json!(1)),
        ("a field less", |it| it["releases"] = Value::Null),
    ];
    for (row, spoil) in rows {
        let mut stored = stored();
        spoil(&mut stored);
        assert!(
            serde_json::from_value::<SessionSnapshot>(stored).is_err(),
            "{row}"
        );
    }
}
