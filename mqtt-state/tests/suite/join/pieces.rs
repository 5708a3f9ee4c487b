//! A session that comes from another broker, and one that goes there, piece by piece: what makes no sense
//! is not taken, and what is not wanted stays where it is.

use core::time::Duration;

use mqtt_codec::{PublishProperties, QoS};
use mqtt_state::broker::{self, DropCause, Event, JoinConfig, MovedPart};
use serde_json::{Value, json};

use super::mesh::joined;
use super::voice::{
    Stage, delivery, forward, message, plain, resuming, shared, stamp, subscribed, subscription,
};
use crate::wire::{V5_0, connect, pubcomp, publish, pubrec, want, with_subscribe};

const QOS1: QoS = QoS::AtLeastOnce;
const QOS2: QoS = QoS::ExactlyOnce;

fn published(id: u16, payload: &str, qos: u8) -> Value {
    let message = message("t", payload, QoS::try_from(qos).unwrap());
    json!({"Published": {"id": id, "delivery": delivery(&message, qos)}})
}

fn waiting(payload: &str, qos: u8) -> Value {
    let message = message("t", payload, QoS::try_from(qos).unwrap());
    json!({"Waiting": delivery(&message, qos)})
}

/// What a client hears whose session comes in these pieces.
fn moved(base: &broker::Config, pieces: &[Value]) -> (Stage, Vec<String>) {
    let mut stage = Stage::new(&[1], base);
    let (connection, claim) = stage.claimed(1);
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(1, &claim, &subscribed());
    for piece in pieces {
        stage.piece(1, &claim, piece);
    }
    stage.piece(1, &claim, &json!("Done"));
    let heard = stage.heard_by(connection);
    (stage, heard)
}

/// Everything that a session holds, and what of it makes no sense.
#[test]
fn pieces_of_a_session_that_comes() {
    let small = |journal: bool| broker::Config {
        server: mqtt_state::server::Config {
            in_flight_max: 1,
            waiting_len_max: 2,
            ..mqtt_state::server::Config::default()
        },
        journal,
        ..broker::Config::default()
    };
    let released = |id: u16| json!({"Released": {"id": id}});
    let unreleased = |id: u16| json!({"Unreleased": {"id": id}});
    for (row, pieces, expected) in [
        ("nothing", vec![], &[][..]),
        (
            "in flight at QoS 1",
            vec![published(5, "a", 1)],
            &["PUBLISH t=a q1 id5 dup"],
        ),
        (
            "in flight at QoS 2",
            vec![published(5, "a", 2)],
            &["PUBLISH t=a q2 id5 dup"],
        ),
        ("in flight at QoS 0", vec![published(5, "a", 0)], &[]),
        (
            "an identifier twice",
            vec![published(5, "a", 1), published(5, "b", 1)],
            &["PUBLISH t=a q1 id5 dup"],
        ),
        ("released", vec![released(7)], &["PUBREL 7 00"]),
        (
            "released twice",
            vec![released(7), released(7)],
            &["PUBREL 7 00"],
        ),
        (
            "released and in flight",
            vec![released(7), published(7, "a", 2)],
            &["PUBREL 7 00"],
        ),
        (
            "in flight and released",
            vec![published(7, "a", 2), released(7)],
            &["PUBLISH t=a q2 id7 dup"],
        ),
        (
            "more in flight than there may be",
            vec![
                published(1, "a", 1),
                published(2, "b", 1),
                published(3, "c", 1),
                published(4, "d", 2),
                released(5),
            ],
            // The client may hold these.
            &["PUBREL 4 00", "PUBREL 5 00", "PUBLISH t=a q1 id1 dup"],
        ),
        (
            "more released than there may be",
            vec![released(1), released(2), released(3), published(4, "a", 1)],
            &["PUBREL 1 00", "PUBREL 2 00", "PUBREL 3 00"],
        ),
        ("waiting", vec![waiting("a", 1)], &["PUBLISH t=a q1 id1"]),
        ("waiting at QoS 0", vec![waiting("a", 0)], &[]),
        ("unreleased", vec![unreleased(9)], &[]),
        (
            "subscriptions at the end",
            vec![subscription(&plain("u")), subscribed()],
            &[],
        ),
    ] {
        for journal in [false, true] {
            let (mut stage, heard) = moved(&small(journal), &pieces);
            let stats = stage.world.broker.stats();
            assert_eq!(heard[0], "CONNACK 00 present", "{row}: {heard:?}");
            assert_eq!(heard[1..], *expected, "{row}");
            assert_eq!((stats.sessions, stats.subscriptions), (1, 1), "{row}");
            // Of those in flight some wait for the client's quota.
            let held = usize::from(row == "more in flight than there may be");
            let sent = { expected.iter() }.filter(|it| it.starts_with("PUBLISH"));
            assert_eq!(stats.messages, sent.count() + held, "{row}");
            let said = stage.hear_claims(1);
            let witnesses = json!({"Moving": {"owner": 1, "witnesses": [1]}});
            assert_eq!(said, [witnesses], "{row}: it is here");
            if journal {
                // What is stored goes together.
                let world = &mut stage.world;
                let disk = &mut world.disk;
                let again = disk.restore(small(true), world.now, Duration::ZERO);
                assert_eq!(again.stats().messages, stats.messages, "{row}");
            }
        }
    }
}

/// What was dropped of the messages for the client "x" on topic "t", and why.
fn dropped(stage: &mut Stage) -> Vec<DropCause> {
    let events = stage.events().into_iter();
    let dropped = events.filter_map(|event| match event {
        Event::Dropped {
            client_id,
            topic,
            cause,
        } => {
            assert_eq!((&*client_id, &*topic), ("x", "t"));
            Some(cause)
        }
        _ => None,
    });
    dropped.collect()
}

/// As many messages wait as may wait, and no more bytes. Of each other one is told that it is dropped.
#[test]
fn messages_that_come_and_do_not_fit() {
    for (row, len_max, bytes_max, room, expected, cause) in [
        ("all", 10, 1000, 100, 4, DropCause::QueueFull),
        ("count", 3, 1000, 100, 3, DropCause::QueueFull),
        // One byte of topic, two of payload.
        ("bytes", 10, 6, 100, 2, DropCause::QueueFull),
        (
            "messages of this broker",
            10,
            1000,
            3,
            3,
            DropCause::BrokerFull,
        ),
    ] {
        let config = broker::Config {
            server: mqtt_state::server::Config {
                waiting_len_max: len_max,
                messages_bytes_max: bytes_max,
                ..mqtt_state::server::Config::default()
            },
            messages_len_max: room,
            ..broker::Config::default()
        };
        let pieces: Vec<_> = ["w1", "w2", "w3", "w4"].map(|it| waiting(it, 1)).into();
        let (mut stage, heard) = moved(&config, &pieces);
        let numbers = 1..=expected;
        let all = numbers.map(|it| format!("PUBLISH t=w{it} q1 id{it}"));
        assert_eq!(heard[1..], all.collect::<Vec<_>>(), "{row}");
        assert_eq!(stage.world.broker.stats().messages, expected, "{row}");
        assert_eq!(dropped(&mut stage), vec![cause; 4 - expected], "{row}");
    }
}

/// What was on its way to a client is not dropped in silence either, where fewer may be. What makes no sense is.
#[test]
fn messages_that_come_in_flight_and_do_not_fit() {
    let config = |in_flight_max, messages_len_max| broker::Config {
        server: mqtt_state::server::Config {
            in_flight_max,
            ..mqtt_state::server::Config::default()
        },
        messages_len_max,
        ..broker::Config::default()
    };
    let three = [1, 2, 3].map(|id| published(id, "a", 1));
    let twice = [1, 1, 2].map(|id| published(id, "a", 1));
    for (row, config, pieces, expected) in [
        ("room", config(10, 100), &three, &[][..]),
        ("count", config(1, 100), &three, &[DropCause::QueueFull]),
        ("broker", config(10, 2), &three, &[DropCause::BrokerFull]),
        ("an identifier twice", config(1, 100), &twice, &[]),
    ] {
        let (mut stage, _) = moved(&config, pieces);
        assert_eq!(dropped(&mut stage), expected, "{row}");
    }
}

/// A QoS 2 message in flight that this broker has no memory for is lost, which is told; its identifier is released first,
/// and nobody else's until the client has let go of it.
#[test]
fn a_message_that_comes_in_flight_and_finds_no_memory() {
    let limits = |messages_len_max, total_bytes_max| broker::Config {
        messages_len_max,
        total_bytes_max,
        ..broker::Config::default()
    };
    let large = "x".repeat(20_000);
    for (row, config, kept, lost) in [
        ("room for all", limits(10, 1 << 20), &[1, 2, 3][..], &[][..]),
        ("messages", limits(2, 1 << 20), &[1, 2], &[3]),
        ("bytes", limits(10, 50_000), &[1, 2], &[3]),
        ("one message", limits(1, 1 << 20), &[1], &[2, 3]),
    ] {
        let pieces = [1, 2, 3].map(|id| published(id, &large, 2));
        let (mut stage, heard) = moved(&config, &pieces);
        let heard = heard.iter().map(|it| it.replace(&large, "large"));
        let releases = lost.iter().map(|id| format!("PUBREL {id} 00"));
        let publishes = kept
            .iter()
            .map(|id| format!("PUBLISH t=large q2 id{id} dup"));
        let expected: Vec<_> = releases.chain(publishes).collect();
        assert_eq!(heard.skip(1).collect::<Vec<_>>(), expected, "{row}");
        assert_eq!(
            dropped(&mut stage),
            vec![DropCause::BrokerFull; lost.len()],
            "{row}"
        );
        let session = stage.world.broker.session("x").unwrap();
        assert_eq!(session.in_flight_len, 3, "{row}");
        let (connection, peer) = (session.connection.unwrap(), stage.peer());
        for id in lost {
            peer.say(&mut (&mut stage.world.broker, connection), pubcomp(*id));
        }
        let session = stage.world.broker.session("x").unwrap();
        assert_eq!(session.in_flight_len, kept.len(), "{row}");
    }
}

/// [5:MQTT-4.3.3-10] An identifier that was received before is known where the session has come.
#[test]
fn identifiers_that_come_are_known() {
    for (row, id, expected) in [("known", 9, 0), ("another one", 8, 1)] {
        let pieces = [
            json!({"Unreleased": {"id": 9}}),
            json!({"Unreleased": {"id": 9}}),
        ];
        let (mut stage, _) = moved(&broker::Config::default(), &pieces);
        let watcher = stage.subscriber("watcher", "u");
        let connection = stage.world.broker.session("x").unwrap().connection.unwrap();
        let peer = stage.peer();
        peer.say(
            &mut (&mut stage.world.broker, connection),
            publish("u", "m", QOS2, id),
        );
        assert_eq!(
            stage.heard_by(connection),
            [format!("PUBREC {id} 00")],
            "{row}"
        );
        assert_eq!(stage.world.got(watcher).len(), expected, "{row}");
    }
}

/// What had begun to be replayed is replayed, once for each subscription.
#[test]
fn replays_that_come() {
    let replay = |filter: &str| json!({"Replay": {"filter": filter, "qos": 1, "id": null}});
    for (row, pieces, expected) in [
        ("none", vec![], 0),
        ("one", vec![replay("t")], 1),
        ("no filter", vec![replay("t/#/u")], 0),
        ("of no subscription", vec![replay("#")], 0),
        ("twice", vec![replay("t"), replay("t")], 1),
    ] {
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let kept = message("t", "kept", QOS1).with_retain(true);
        stage.world.broker.publish(stage.world.now, kept);
        stage.hear(1);
        let (connection, claim) = stage.claimed(1);
        stage.piece(1, &claim, &subscription(&plain("t")));
        stage.piece(1, &claim, &subscribed());
        for piece in pieces {
            stage.piece(1, &claim, &piece);
        }
        stage.piece(1, &claim, &json!("Done"));
        let heard = stage.heard_by(connection);
        assert_eq!(heard[0], "CONNACK 00 present", "{row}");
        let replayed = { heard.iter() }.filter(|it| it.starts_with("PUBLISH t=kept q1"));
        assert_eq!(replayed.count(), expected, "{row}: {heard:?}");
    }
}

/// A session that comes for a client that has not waited for it lasts no longer than one may here.
#[test]
fn a_session_that_comes_ends_in_the_time_of_its_new_place() {
    for (row, expiry_secs, maximum, passed, expected) in [
        ("its own time", 100, None, 99, true),
        ("its own time is over", 100, None, 100, false),
        ("shorter here", 100, Some(10), 9, true),
        ("shorter here, and over", 100, Some(10), 10, false),
        ("for ever", u32::MAX, None, 1_000_000, true),
        ("for ever there", u32::MAX, Some(10), 10, false),
        ("longer here", 10, Some(100), 10, false),
    ] {
        let mut config = broker::Config::default();
        config.server.session_expiry_max_secs = maximum;
        let mut stage = Stage::new(&[1], &config);
        let (connection, claim) = stage.claimed(1);
        let subscribed = json!({"expiry_secs": expiry_secs, "whose": null});
        stage.piece(1, &claim, &json!({"Subscribed": subscribed}));
        stage.world.broker.handle_close(stage.world.now, connection);
        stage.piece(1, &claim, &json!("Done"));
        stage.world.pass_secs(passed);
        assert_eq!(stage.world.broker.session("x").is_some(), expected, "{row}");
    }
}

/// As many identifiers that are not released come along as there may be, and the others are told.
#[test]
fn identifiers_that_come_are_as_many_as_may_be() {
    for (receive_maximum, expected) in [(10, 20), (100, 200)] {
        let mut config = broker::Config::default();
        config.server.receive_maximum = receive_maximum;
        config.server.receive_maximum_v3 = 10;
        let mut pieces: Vec<_> = (1..=300)
            .map(|id| json!({"Unreleased": {"id": id}}))
            .collect();
        // Known already.
        pieces.push(json!({"Unreleased": {"id": 1}}));
        let (mut stage, heard) = moved(&config, &pieces);
        assert_eq!(heard, ["CONNACK 00 present"]);
        let told = { stage.events().into_iter() }.filter_map(|event| match event {
            Event::NotMoved {
                what: MovedPart::PacketId(id),
                ..
            } => Some(id.get()),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        assert_eq!(
            told,
            (expected + 1..=300).collect::<Vec<u16>>(),
            "{receive_maximum}"
        );
    }
}

/// A replay that has not come to its end goes along, and one that has does not.
#[test]
fn replays_that_go() {
    for (row, waiting_len_max, expected) in [("at its end", 100, 0), ("in its middle", 2, 1)] {
        let config = broker::Config {
            server: mqtt_state::server::Config {
                in_flight_max: 1,
                waiting_len_max,
                ..mqtt_state::server::Config::default()
            },
            ..broker::Config::default()
        };
        let mut stage = Stage::new(&[], &config);
        let now = stage.world.now;
        for number in 0..10 {
            let kept = message(&format!("t/{number}"), "kept", QOS1).with_retain(true);
            stage.world.broker.publish(now, kept);
        }
        let connection = stage.connect(&resuming(100));
        stage.heard_by(connection);
        let peer = stage.peer();
        with_subscribe(1, &[want("t/#", QOS1)], |packet| {
            peer.say(&mut (&mut stage.world.broker, connection), packet);
        });
        assert_eq!(
            stage.heard_by(connection),
            ["SUBACK 1 01", "PUBLISH t/0=kept q1 id1 retain"],
            "{row}"
        );
        stage.world.broker.handle_close(now, connection);
        let mut stage = stage.with(1);
        stage.hear(1);
        let claim = stamp(50, 1);
        stage.claim(1, &claim, &json!({"Claim": {"clean_start": false}}));
        let moving = json!({"Moving": {"owner": 0, "witnesses": [0, 1]}});
        stage.claim(1, &claim, &moving);
        let claims = stage.hear_claims(1);
        let pieces: Vec<_> = claims.iter().map(|it| &it["Piece"]).collect();
        assert_eq!(pieces.last(), Some(&&json!("Done")), "{row}: {claims:?}");
        let replay = json!({"Replay": {"filter": "t/#", "qos": 1, "id": null}});
        let replays = pieces.iter().filter(|piece| ***piece == replay);
        assert_eq!(replays.count(), expected, "{row}: {claims:?}");
    }
}

/// Subscriptions that make no sense are left out, and those above the limit.
#[test]
fn subscriptions_that_come() {
    for (row, filters, expected) in [
        // Told of are those that are above a limit here.
        ("one", vec![plain("t")], vec!["t"]),
        ("twice", vec![plain("t"), plain("t")], vec!["t"]),
        (
            "a shared one",
            vec![shared("$share/g/t")],
            vec!["$share/g/t"],
        ),
        (
            "a shared one twice",
            vec![shared("$share/g/t"), shared("$share/g/t")],
            vec!["$share/g/t"],
        ),
        ("no filter", vec![plain("t/#/u"), plain("t")], vec!["t"]),
        ("no shared one", vec![shared("t"), plain("u")], vec!["u"]),
        (
            "too deep",
            vec![plain("a/b/c/d"), shared("$share/g/a/b/c/d"), plain("t")],
            vec!["t"],
        ),
        (
            "too many",
            ["a", "b", "c", "d"].map(plain).into(),
            vec!["a", "b", "c"],
        ),
    ] {
        let config = broker::Config {
            levels_max: 3,
            subscriptions_per_session_max: 3,
            ..broker::Config::default()
        };
        let mut stage = Stage::new(&[1], &config);
        let (connection, claim) = stage.claimed(1);
        for filter in filters {
            stage.piece(1, &claim, &subscription(&filter));
        }
        stage.piece(1, &claim, &subscribed());
        stage.piece(1, &claim, &json!("Done"));
        assert_eq!(stage.heard_by(connection), ["CONNACK 00 present"], "{row}");
        let found = stage.world.broker.subscriptions("x");
        let found: Vec<_> = found.into_iter().map(|(filter, _)| filter).collect();
        assert_eq!(found, expected, "{row}");
        let told = { stage.events().into_iter() }.filter_map(|event| match event {
            Event::NotMoved {
                client_id,
                what: MovedPart::Subscription(filter),
            } => Some((client_id.into(), filter)),
            _ => None,
        });
        let left_out: &[&str] = match row {
            "too deep" => &["a/b/c/d", "$share/g/a/b/c/d"],
            "too many" => &["d"],
            _ => &[],
        };
        let left_out = left_out.iter().map(|it| ("x".to_owned(), (*it).to_owned()));
        assert_eq!(
            told.collect::<Vec<_>>(),
            left_out.collect::<Vec<_>>(),
            "{row}"
        );
        // All of them are told before it is said that they are here.
        let said = stage.hear(1);
        let told = { said.iter() }.take_while(|body| body.get("Interests").is_some());
        let told: usize = told
            .map(|it| it["Interests"]["changes"].as_array().unwrap().len())
            .sum();
        assert!(told >= expected.len(), "{row}: {said:?}");
    }
}

/// A session of nobody who waits for it, of a second broker, or without room.
#[test]
fn sessions_that_are_not_wanted() {
    let declined = |keeps: bool| json!({"Declined": {"keeps": keeps}});
    // Nobody has claimed it.
    let mut stage = Stage::new(&[1], &broker::Config::default());
    for piece in [subscription(&plain("t")), subscribed(), json!("Done")] {
        stage.piece(1, &stamp(1, 0), &piece);
    }
    assert_eq!(stage.hear_claims(1), [declined(false)]);
    assert_eq!(stage.world.broker.stats().sessions, 0);

    // Two brokers have one, and the first answer counts.
    let mut stage = Stage::new(&[1, 2], &broker::Config::default());
    let (connection, claim) = stage.claimed(1);
    stage.hear(2);
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(2, &claim, &subscription(&plain("u")));
    stage.piece(2, &claim, &subscribed());
    assert_eq!(stage.hear_claims(2), [declined(false)]);
    stage.piece(1, &claim, &subscribed());
    assert_eq!(stage.heard_by(connection), [""; 0], "it waits for the rest");
    stage.piece(1, &claim, &json!("Done"));
    assert_eq!(stage.heard_by(connection), ["CONNACK 00 present"]);
    let found = stage.world.broker.subscriptions("x");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "t");

    // No more sessions than there may be: it stays where it is.
    let config = broker::Config {
        sessions_max: 1,
        ..broker::Config::default()
    };
    let mut stage = Stage::new(&[1], &config);
    stage.client("y");
    let (connection, claim) = stage.claimed(1);
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(1, &claim, &subscribed());
    assert_eq!(stage.hear_claims(1), [declined(true)]);
    assert_eq!(stage.heard_by(connection), ["CONNACK 89", "close"]);
    stage.piece(1, &claim, &json!("Done"));
    assert_eq!(stage.world.broker.stats().sessions, 1);
}

/// What has come of a session that does not come to its end is gone, and the client begins anew.
#[test]
fn a_session_that_does_not_all_come() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let (connection, claim) = stage.claimed(1);
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(1, &claim, &subscribed());
    for piece in [
        published(5, "a", 1),
        waiting("b", 1),
        json!({"Unreleased": {"id": 3}}),
    ] {
        stage.piece(1, &claim, &piece);
    }
    assert_eq!(stage.world.broker.stats().messages, 2);
    stage.hear(1);
    stage.world.pass_secs(6);
    let heard = stage.heard_by(connection);
    assert_eq!(heard, ["CONNACK 00"], "the session is a new one");
    let claims = stage.hear_claims(1);
    assert!(
        claims.contains(&json!({"Declined": {"keeps": false}})),
        "{claims:?}"
    );
    let stats = stage.world.broker.stats();
    assert_eq!(
        (stats.messages, stats.subscriptions, stats.sessions),
        (0, 0, 1)
    );
    // What comes later is not wanted.
    stage.piece(1, &claim, &waiting("c", 1));
    stage.piece(1, &claim, &json!("Done"));
    assert_eq!(stage.world.broker.stats().messages, 0);
}

/// What comes behind the last of a session is nobody's, and is not kept.
#[test]
fn what_comes_behind_the_last_of_a_session() {
    let mut stage = Stage::new(&[1, 2], &broker::Config::default());
    let (connection, claim) = stage.claimed(1);
    let pieces = [
        subscription(&plain("t")),
        subscribed(),
        waiting("a", 1),
        json!("Done"),
        waiting("b", 1),
    ];
    for piece in pieces {
        stage.piece(1, &claim, &piece);
    }
    stage.hear(2);
    stage.claim(2, &claim, &json!("Unclaimed"));
    let heard = stage.heard_by(connection);
    assert_eq!(heard, ["CONNACK 00 present", "PUBLISH t=a q1 id1"]);
    assert_eq!(stage.world.broker.stats().messages, 1);
}

/// What it was to get as a member of a shared subscription is another member's, whether it had come with it or was given
/// to it here.
#[test]
fn turns_of_a_session_that_does_not_all_come() {
    let group = shared("$share/g/t");
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let (connection, claim) = stage.claimed(1);
    stage.piece(1, &claim, &subscription(&group));
    stage.piece(1, &claim, &subscribed());
    let world = &mut stage.world;
    world.broker.publish(world.now, message("t", "given", QOS1));
    let who = stage.subscriber("other", "$share/g/t");
    let mut came = waiting("came", 1);
    came["Waiting"]["group"] = group.clone();
    let mut sent = published(5, "sent", 1);
    sent["Published"]["delivery"]["group"] = group;
    for piece in [came, sent, waiting("ordinary", 1)] {
        stage.piece(1, &claim, &piece);
    }
    assert_eq!(stage.world.got(who), [""; 0], "they are not its own");
    stage.world.pass_secs(6);
    let heard = stage.heard_by(connection);
    assert_eq!(heard, ["CONNACK 00"], "the session is a new one");
    let mut got = stage.world.got(who);
    got.sort();
    assert_eq!(got, ["t=came q1", "t=given q1", "t=sent q1"]);
    assert_eq!(stage.world.broker.stats().messages, 0);
}

/// The first subscriptions alone are no session.
#[test]
fn a_session_of_which_only_subscriptions_come() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let (connection, claim) = stage.claimed(1);
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.world.pass_secs(6);
    assert_eq!(stage.heard_by(connection), ["CONNACK 00"]);
    let claims = stage.hear_claims(1);
    let declined = json!({"Declined": {"keeps": false}});
    assert!(claims.contains(&declined), "{claims:?}");
    assert_eq!(stage.world.broker.stats().subscriptions, 0);
}

/// Found by a simulation: what has come waits beside what waits here, each as many as may, and all of it comes out
/// of the store again.
#[test]
fn a_session_that_comes_has_room_in_the_store_for_both_of_its_parts() {
    let mut config = broker::Config {
        journal: true,
        ..broker::Config::default()
    };
    config.server.waiting_len_max = 2;
    let mut stage = Stage::new(&[1], &config);
    let (connection, claim) = stage.claimed(1);
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(1, &claim, &subscribed());
    stage.claim(1, &claim, &json!("Switched"));
    let world = &mut stage.world;
    for payload in ["c", "d", "e"] {
        world.broker.publish(world.now, message("t", payload, QOS1));
    }
    world.broker.handle_close(world.now, connection);
    for payload in ["a", "b"] {
        stage.piece(1, &claim, &waiting(payload, 1));
    }
    stage.piece(1, &claim, &json!("Done"));
    stage.world.settle();
    stage.world.crash(Duration::from_secs(1));
    let again = stage.connect(&resuming(100));
    let expected = [
        "CONNACK 00 present",
        "PUBLISH t=a q1 id1",
        "PUBLISH t=b q1 id2",
        "PUBLISH t=c q1 id3",
        "PUBLISH t=d q1 id4",
    ];
    assert_eq!(
        stage.heard_by(again),
        expected,
        "and one was dropped before"
    );
}

/// What has come is stored, and what waits here meanwhile comes behind it.
#[test]
fn a_session_that_comes_is_stored() {
    let config = broker::Config {
        journal: true,
        ..broker::Config::default()
    };
    let mut stage = Stage::new(&[1], &config);
    let (connection, claim) = stage.claimed(1);
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(1, &claim, &subscribed());
    let said = stage.hear_claims(1);
    assert!(said[0].get("Moving").is_some(), "{said:?}");
    stage.claim(1, &claim, &json!("Switched"));
    stage
        .world
        .broker
        .publish(stage.world.now, message("t", "here", QOS1));
    let pieces = [
        json!({"Released": {"id": 4}}),
        published(5, "flight", 2),
        json!({"Unreleased": {"id": 6}}),
        waiting("there", 1),
    ];
    for piece in pieces {
        stage.piece(1, &claim, &piece);
    }
    stage.piece(1, &claim, &json!("Done"));
    let expected = [
        "CONNACK 00 present",
        "PUBREL 4 00",
        "PUBLISH t=flight q2 id5 dup",
        "PUBLISH t=there q1 id6",
        "PUBLISH t=here q1 id7",
    ];
    let heard = stage.heard_by(connection);
    assert_eq!(heard, expected);
    // messages, retained, sessions, subscriptions, deliveries, unreleased
    assert_eq!(stage.world.disk.counts(), [3, 0, 1, 1, 4, 1]);
    stage.world.crash(Duration::from_secs(1));
    let again = stage.connect(&resuming(100));
    let expected = [
        "CONNACK 00 present",
        "PUBREL 4 00",
        "PUBLISH t=flight q2 id5 dup",
        "PUBLISH t=there q1 id6 dup",
        "PUBLISH t=here q1 id7 dup",
    ];
    assert_eq!(stage.heard_by(again), expected);
    // It ends with all it has.
    stage.world.broker.handle_close(stage.world.now, again);
    stage.world.settle();
    stage.world.pass_secs(101);
    assert_eq!(stage.world.disk.counts(), [0; 6]);
}

/// A session that begins anew where its client's session was is told to the others, which no claim asks.
#[test]
fn who_is_told_that_a_session_begins_anew() {
    let anew = connect(V5_0, "x");
    for (row, is_there, again, expected) in [
        ("in its place", true, anew, vec![json!("Begun")]),
        ("it goes on", true, resuming(100), vec![]),
        (
            "it is claimed",
            false,
            anew,
            vec![json!({"Claim": {"clean_start": true}})],
        ),
        ("it has no name", true, connect(V5_0, ""), vec![]),
    ] {
        let config = joined(JoinConfig {
            forwards_len_max: 2,
            ..JoinConfig::default()
        });
        let mut stage = Stage::new(&[], &config);
        if is_there {
            let first = stage.connect(&resuming(100));
            stage.heard_by(first);
        }
        let mut stage = stage.with(1).with(2).with(3);
        // One that cannot be heard.
        let now = stage.world.now;
        stage.world.broker.part(now, broker::BrokerId::new(3));
        for other in [1, 2, 3] {
            stage.hear(other);
        }
        let connection = stage.connect(&again);
        for other in [1, 2] {
            let said = stage.hear(other);
            let claims = said.iter().map(|body| &body["Note"]["note"]["Claim"]);
            let claims: Vec<_> = claims.filter(|it| it.is_object()).cloned().collect();
            let what: Vec<_> = claims.iter().map(|it| it["what"].clone()).collect();
            assert_eq!(what, expected, "{row}, to {other}");
            for claim in claims.iter().filter(|_| !is_there) {
                stage.claim(other, &claim["stamp"], &json!("Unclaimed"));
            }
        }
        assert_eq!(stage.heard_by(connection).len(), 1, "{row}");
        for other in [1, 2, 3] {
            assert!(stage.hear_claims(other).is_empty(), "{row}, to {other}");
        }
        if row != "in its place" {
            continue;
        }
        // Who does not listen is told so much. These sessions end with their connections.
        for (heard, expected) in [(false, [1, 1]), (true, [0, 2])] {
            if heard {
                stage.acknowledge(2);
            }
            for _ in 0..5 {
                stage.connect(&anew);
            }
            let told = [1, 2].map(|other| stage.hear_claims(other));
            assert!(told.iter().flatten().all(|it| it == "Begun"), "{told:?}");
            assert_eq!(told.map(|it| it.len()), expected, "{row}");
        }
    }
}

/// Who has still to answer a claim has begun its session before that, whatever it had counted to.
#[test]
fn what_comes_with_a_claim_is_later_than_what_was_there() {
    for (row, answers, expected) in [
        ("before its answer", false, &["CONNACK 00 present"][..]),
        ("behind its answer", true, &["DISCONNECT 8E", "close"]),
    ] {
        let mut stage = Stage::new(&[1, 2], &broker::Config::default());
        let (connection, claim) = stage.claimed(1);
        for piece in [subscription(&plain("t")), subscribed(), json!("Done")] {
            stage.piece(1, &claim, &piece);
        }
        if answers {
            stage.claim(2, &claim, &json!("Unclaimed"));
            assert_eq!(stage.heard_by(connection), ["CONNACK 00 present"], "{row}");
        }
        stage.claim(2, &stamp(1000, 2), &json!("Begun"));
        if !answers {
            stage.claim(2, &claim, &json!("Unclaimed"));
        }
        assert_eq!(stage.heard_by(connection), expected, "{row}");
        let is_there = stage.world.broker.session("x").is_some();
        assert_eq!(is_there, !answers, "{row}");
    }
}

/// A session is offered with all it has, and its broker keeps it, or lets go, as the other one says.
#[test]
fn sessions_that_go() {
    let claim = stamp(50, 1);
    let moving = json!({"Moving": {"owner": 0, "witnesses": [0, 1]}});
    for (row, last, expected) in [
        ("it goes", Some((1, &claim, moving.clone())), (false, true)),
        (
            "not wanted, and kept",
            Some((1, &claim, json!({"Declined": {"keeps": true}}))),
            (true, false),
        ),
        (
            "not wanted, and over",
            Some((1, &claim, json!({"Declined": {"keeps": false}}))),
            (false, true),
        ),
        (
            "of another claim",
            Some((1, &stamp(49, 1), json!({"Declined": {"keeps": false}}))),
            (true, false),
        ),
        (
            "by another broker",
            Some((2, &claim, json!({"Declined": {"keeps": false}}))),
            (true, false),
        ),
        (
            "it moves for another claim",
            Some((1, &stamp(49, 1), moving.clone())),
            (true, false),
        ),
        (
            "it moves to another broker",
            Some((2, &claim, moving)),
            (true, false),
        ),
        (
            "another claim has switched",
            Some((1, &stamp(49, 1), json!("Switched"))),
            (true, false),
        ),
        ("nobody's", None, (true, false)),
    ] {
        let mut stage = Stage::new(&[], &broker::Config::default());
        let first = stage.connect(&resuming(100));
        with_subscribe(1, &[want("t", QOS2), want("$share/g/u", QOS1)], |packet| {
            stage
                .peer()
                .say(&mut (&mut stage.world.broker, first), packet);
        });
        stage.heard_by(first);
        for (number, payload) in ["a", "b", "c"].into_iter().enumerate() {
            let qos = if number == 0 { QOS2 } else { QOS1 };
            stage
                .world
                .broker
                .publish(stage.world.now, message("t", payload, qos));
        }
        stage.heard_by(first);
        let peer = stage.peer();
        peer.say(&mut (&mut stage.world.broker, first), pubrec(1));
        peer.say(
            &mut (&mut stage.world.broker, first),
            publish("v", "m", QOS2, 8),
        );
        stage.heard_by(first);
        stage.world.broker.handle_close(stage.world.now, first);
        stage
            .world
            .broker
            .publish(stage.world.now, message("t", "d", QOS1));
        stage.world.settle();
        let mut stage = stage.with(1).with(2);
        stage.hear(1);
        stage.hear(2);
        stage.claim(1, &claim, &json!({"Claim": {"clean_start": false}}));
        let offered = stage.hear_claims(1);
        let kinds = |claims: &[Value]| -> Vec<String> {
            let pieces = claims.iter().map(|it| &it["Piece"]);
            let kinds = pieces.map(|it| match it {
                Value::Object(piece) => piece.keys().next().unwrap().clone(),
                other => other.as_str().unwrap_or("-").to_owned(),
            });
            kinds.collect()
        };
        let all = ["Subscription", "Subscription", "Subscribed"];
        assert_eq!(kinds(&offered), all, "{row}");
        if let Some((from, claim, what)) = &last {
            stage.claim(*from, claim, what);
        }
        if row == "it goes" {
            // The new place cannot be heard there, so it is told by this one.
            let told = stage.hear_claims(2);
            assert_eq!(told, [json!({"Switch": {"to": 1}})], "{row}");
            stage.claim(2, &claim, &json!("Switched"));
        }
        let rest = stage.hear_claims(1);
        let moved = { stage.events() }.contains(&Event::SessionMoved {
            client_id: "x".into(),
            broker: broker::BrokerId::new(1),
        });
        let is_there = stage.world.broker.session("x").is_some();
        assert_eq!((is_there, moved), expected, "{row}: {rest:?}");
        if row == "it goes" {
            // Switched, and all it held.
            assert_eq!(rest[0], json!({"Told": [2]}), "{row}");
            assert_eq!(rest[1], "Switched", "{row}");
            let kinds = kinds(&rest[2..]);
            let all = [
                "Released",
                "Published",
                "Published",
                "Unreleased",
                "Waiting",
                "Done",
            ];
            assert_eq!(kinds, all, "{row}");
        }
        if !is_there {
            assert_eq!(stage.world.broker.stats().messages, 0, "{row}");
            assert_eq!(stage.world.broker.stats().subscriptions, 0, "{row}");
            continue;
        }
        if row == "not wanted, and kept" {
            let again = stage.connect(&resuming(100));
            let heard = stage.heard_by(again);
            let expected = [
                "CONNACK 00 present",
                "PUBREL 1 00",
                "PUBLISH t=b q1 id2 dup",
                "PUBLISH t=c q1 id3 dup",
                "PUBLISH t=d q1 id4",
            ];
            assert_eq!(heard, expected, "{row}");
        }
    }
}

/// A session that has ended, or a will that is due, when nobody has told the broker the time since.
#[test]
fn sessions_that_are_over_when_they_are_claimed() {
    for (row, expiry_secs, delay_secs, passed, clean_start, expected) in [
        ("kept", 100, 50, 10, false, (true, 0)),
        ("its will is due", 100, 50, 50, false, (true, 1)),
        ("it is over", 60, 90, 60, false, (false, 1)),
        ("a clean start", 100, 50, 10, true, (false, 1)),
    ] {
        let mut stage = Stage::new(&[], &broker::Config::default());
        let watcher = stage.subscriber("watcher", "will");
        let mut first = resuming(expiry_secs);
        let topic = mqtt_codec::TopicName::new("will").unwrap();
        let payload = mqtt_codec::Binary::new(b"gone").unwrap();
        let mut will = mqtt_codec::Will::new(topic, payload);
        will.properties.delay_secs = Some(delay_secs);
        first.will = Some(will);
        let first = stage.connect(&first);
        stage.heard_by(first);
        stage.world.broker.handle_close(stage.world.now, first);
        stage.world.settle();
        let mut stage = stage.with(1);
        stage.hear(1);
        stage.world.now = stage.world.now + Duration::from_secs(passed);
        stage.claim(
            1,
            &stamp(50, 1),
            &json!({"Claim": {"clean_start": clean_start}}),
        );
        let said = stage.hear_claims(1);
        let is_offered = said != [json!("Unclaimed")];
        stage.world.settle();
        let wills = stage.world.got(watcher).len();
        assert_eq!((is_offered, wills), expected, "{row}: {said:?}");
        // A will that was not due is the other broker's.
        stage.world.pass_secs(200);
        assert_eq!(stage.world.got(watcher).len(), 0, "{row}");
    }
}

/// A broker that asks and does not listen gets a bounded number of answers.
#[test]
fn claims_of_a_broker_that_does_not_listen() {
    let config = broker::Config {
        connections_max: 2,
        ..joined(JoinConfig {
            forwards_len_max: 3,
            ..JoinConfig::default()
        })
    };
    for (row, is_deaf, expected) in [("it listens", false, 100), ("it does not", true, 8)] {
        let mut stage = Stage::new(&[1], &config);
        if is_deaf {
            stage.deafen(1);
        }
        let mut said = 0;
        for number in 0..100 {
            stage.claim(
                1,
                &stamp(number, 1),
                &json!({"Claim": {"clean_start": false}}),
            );
            said += stage.hear_claims(1).len();
        }
        assert_eq!(said, expected, "{row}");
    }
}

/// A client identifier is no longer than CONNECT can have it.
#[test]
fn claims_that_no_client_can_make() {
    for (row, len, expected) in [
        ("as long as it may be", 65_535, 1),
        ("longer than that", 65_536, 0),
    ] {
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let claim = json!({
            "client_id": "x".repeat(len),
            "stamp": stamp(5, 1),
            "what": {"Claim": {"clean_start": false}},
        });
        stage.note(1, &json!({"Claim": claim}));
        assert_eq!(stage.hear_claims(1).len(), expected, "{row}");
    }
}

/// A link that comes up asks about those claims that somebody waits behind and that were not asked before.
#[test]
fn links_that_come_up_behind_a_claim() {
    let claims = |stage: &mut Stage, id: u32| {
        let heard = stage.hear_claims(id);
        { heard.iter() }
            .filter(|it| it["Claim"].is_object())
            .count()
    };
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let (connection, ours) = stage.claimed(1);
    stage.open(1);
    assert_eq!(claims(&mut stage, 1), 0, "it was asked");
    let mut stage = stage.with(2);
    assert_eq!(claims(&mut stage, 2), 1, "it was not");
    // The client is elsewhere.
    stage.claim(1, &stamp(50, 1), &json!({"Claim": {"clean_start": false}}));
    assert_eq!(stage.heard_by(connection), ["CONNACK 89", "close"]);
    let mut stage = stage.with(3);
    assert_eq!(claims(&mut stage, 3), 0, "nobody waits for it");
    for from in [1, 2] {
        stage.claim(from, &ours, &json!("Unclaimed"));
    }
    let answer = stage.hear_claims(1);
    assert_eq!(answer, [json!("Unclaimed")], "there is no session here");
}

/// Whom an owner has told is waited for only where that makes sense.
#[test]
fn what_an_owner_has_told() {
    let other = stamp(1, 1);
    for (row, stamp, told) in [
        ("nobody", None, vec![]),
        ("who has switched", None, vec![2]),
        ("itself", None, vec![1]),
        ("who is not there", None, vec![9]),
        ("for another claim", Some(&other), vec![2]),
    ] {
        let mut stage = Stage::new(&[1, 2], &broker::Config::default());
        let what = json!({"Told": told});
        // There is no session yet.
        stage.claim(1, &other, &what);
        let (connection, claim) = stage.claimed(1);
        stage.hear(2);
        stage.claim(2, &claim, &json!("Unclaimed"));
        stage.piece(1, &claim, &subscription(&plain("t")));
        stage.piece(1, &claim, &subscribed());
        for from in [2, 1] {
            stage.claim(from, &claim, &json!("Switched"));
        }
        stage.claim(1, stamp.unwrap_or(&claim), &what);
        stage.piece(1, &claim, &json!("Done"));
        // Nor is there anything to wait for any more.
        stage.claim(1, stamp.unwrap_or(&claim), &what);
        let forward = forward(&message("t", "m", QOS1), None, &[]);
        stage.note(2, &json!({"Forward": forward}));
        let heard = stage.heard_by(connection);
        let expected = ["CONNACK 00 present", "PUBLISH t=m q1 id1"];
        assert_eq!(heard, expected, "{row}");
    }
}

/// The witness of a session that moves between two others says so to both.
#[test]
fn a_witness_says_when_it_has_switched() {
    let mut stage = Stage::new(&[1, 2], &broker::Config::default());
    let what = json!({"Moving": {"owner": 2, "witnesses": [0, 2]}});
    stage.claim(1, &stamp(5, 1), &what);
    assert_eq!(stage.hear_claims(1), [json!("Switched")]);
    assert_eq!(stage.hear_claims(2), [json!("Switched")]);
}

/// While a session comes, messages reach it from each broker once: at its old place before that has
/// switched, here behind it.
#[test]
fn messages_while_a_session_comes() {
    let mut stage = Stage::new(&[1, 2], &broker::Config::default());
    let (connection, claim) = stage.claimed(1);
    stage.hear(2);
    stage.claim(2, &claim, &json!("Unclaimed"));
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(1, &claim, &subscribed());
    let say = |stage: &mut Stage, from: u32, payload: &str| {
        let forward = forward(&message("t", payload, QOS1), None, &[]);
        stage.note(from, &json!({"Forward": forward}));
    };
    say(&mut stage, 2, "before 2");
    stage.claim(2, &claim, &json!("Switched"));
    // Again, which means nothing.
    stage.claim(2, &claim, &json!("Switched"));
    stage.claim(2, &stamp(1, 1), &json!("Switched"));
    say(&mut stage, 2, "behind 2");
    say(&mut stage, 1, "before 1");
    stage.claim(1, &claim, &json!("Switched"));
    say(&mut stage, 1, "behind 1");
    stage.hear(2);
    stage.open(2);
    let asked = stage.hear_claims(2);
    let is_asked = { asked.iter() }.any(|it| it["Moving"].is_object());
    assert!(!is_asked, "it has switched: {asked:?}");
    stage.claim(2, &claim, &json!("Unclaimed"));
    stage.piece(1, &claim, &json!("Done"));
    let heard = stage.heard_by(connection);
    let expected = [
        "CONNACK 00 present",
        "PUBLISH t=behind 2 q1 id1",
        "PUBLISH t=behind 1 q1 id2",
    ];
    assert_eq!(heard, expected);
}

/// A message that comes along has what it had where it was: the time it has left, and its flags.
#[test]
fn what_goes_along_with_a_message() {
    let properties = PublishProperties {
        message_expiry_secs: Some(100),
        ..PublishProperties::default()
    };
    for (row, expires_in, passed, expected) in [
        ("lasts", json!(null), 50, 1),
        ("has some time left", json!(20_000_000_000_u64), 10, 1),
        ("has none left", json!(20_000_000_000_u64), 20, 0),
        ("its own time is up", json!(null), 100, 0),
        (
            "no more than its own time",
            json!(200_000_000_000_u64),
            100,
            0,
        ),
    ] {
        let message = message("t", "m", QOS1)
            .with_properties(&properties)
            .unwrap();
        let mut moved = delivery(&message, 1);
        moved["expires_in"] = expires_in;
        moved["retain"] = json!(true);
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let (connection, claim) = stage.claimed(1);
        stage.piece(1, &claim, &subscription(&plain("t")));
        let lasting = json!({"expiry_secs": 1000, "whose": null});
        stage.piece(1, &claim, &json!({"Subscribed": lasting}));
        stage.piece(1, &claim, &json!({"Waiting": moved}));
        stage.world.broker.handle_close(stage.world.now, connection);
        stage.piece(1, &claim, &json!("Done"));
        stage.world.pass_secs(passed);
        let again = stage.connect(&resuming(100));
        let heard = stage.heard_by(again);
        assert_eq!(heard[0], "CONNACK 00 present", "{row}");
        let expected = ["PUBLISH t=m q1 id1 retain"; 1].into_iter().take(expected);
        assert_eq!(heard[1..], expected.collect::<Vec<_>>(), "{row}");
    }
}

/// What a message has beside that comes along as well, and goes on with it when its session moves again: of
/// which subscriptions it is, that it is a turn of a shared one, and that it was retained.
#[test]
fn what_came_with_a_message_goes_on_with_it() {
    let group = shared("$share/g/t");
    for (row, field, value) in [
        (
            "subscription identifiers",
            "subscription_ids",
            json!([7, 9]),
        ),
        ("a turn", "group", group.clone()),
        ("a replay", "is_replay", json!(true)),
        ("RETAIN", "retain", json!(true)),
    ] {
        let mut waiting = delivery(&message("t", "m", QOS1), 1);
        waiting[field] = value;
        let waiting = json!({"Waiting": waiting});
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let (connection, claim) = stage.claimed(1);
        for piece in [
            subscription(&plain("t")),
            subscription(&group),
            subscribed(),
            waiting.clone(),
        ] {
            stage.piece(1, &claim, &piece);
        }
        stage.world.broker.handle_close(stage.world.now, connection);
        stage.piece(1, &claim, &json!("Done"));
        stage.hear(1);
        let again = stamp(50, 1);
        stage.claim(1, &again, &json!({"Claim": {"clean_start": false}}));
        let moving = json!({"Moving": {"owner": 0, "witnesses": [0, 1]}});
        stage.claim(1, &again, &moving);
        let said = stage.hear_claims(1);
        assert!(said.contains(&json!({"Piece": waiting})), "{row}: {said:?}");
    }
}

/// A CONNECT with a clean start claims too: what it had elsewhere ends there.
#[test]
fn a_clean_start_asks_others_to_end_it() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    stage.connect(&connect(V5_0, "x"));
    let said = stage.hear_claims(1);
    assert_eq!(said, [json!({"Claim": {"clean_start": true}})]);
}

/// A broker that hands a session over all the same: it ends here, and nobody has to be told that another one
/// begins, as all have heard of the claim.
#[test]
fn a_session_that_comes_for_a_clean_start() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let connection = stage.connect(&connect(V5_0, "x"));
    let heard = stage.hear(1);
    let claim = heard.iter().map(|body| &body["Note"]["note"]["Claim"]);
    let claim = { claim }
        .find(|it| it["what"]["Claim"].is_object())
        .unwrap();
    let claim = claim["stamp"].clone();
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(1, &claim, &subscribed());
    stage.piece(1, &claim, &waiting("a", 1));
    stage.hear(1);
    stage.piece(1, &claim, &json!("Done"));
    assert_eq!(stage.heard_by(connection), ["CONNACK 00"], "a new one");
    assert_eq!(stage.hear_claims(1), [json!(null); 0]);
    let stats = stage.world.broker.stats();
    let left = (stats.sessions, stats.subscriptions, stats.messages);
    assert_eq!(left, (1, 0, 0));
}

/// A broker that has begun anew does not wait for a session any more: it stays where it is.
#[test]
fn a_session_does_not_go_to_a_broker_that_has_forgotten_it() {
    for (row, restarts, expected) in [
        ("it goes on", false, [""; 0].as_slice()),
        ("it begins anew", true, &["CONNACK 00 present"]),
    ] {
        let mut stage = Stage::new(&[], &broker::Config::default());
        let first = stage.connect(&resuming(100));
        stage.heard_by(first);
        let mut stage = stage.with(1);
        stage.hear(1);
        stage.claim(1, &stamp(50, 1), &json!({"Claim": {"clean_start": false}}));
        assert_eq!(stage.hear_claims(1).len(), 1, "{row}: offered");
        if restarts {
            stage.restart(1);
        }
        // Whoever connects while it leaves has to wait for the other broker.
        let again = stage.connect(&resuming(100));
        assert_eq!(stage.heard_by(again), expected, "{row}");
    }
}

/// Of two claims the later one counts: an older one is void, a later one waits for what this one brings.
#[test]
fn claims_of_two_brokers() {
    for (row, count, at_once, refused) in [
        ("an older one", 0, vec![json!("Superseded")], false),
        ("a later one", 1000, vec![], true),
    ] {
        let mut stage = Stage::new(&[1, 2], &broker::Config::default());
        let (connection, ours) = stage.claimed(1);
        stage.hear(2);
        let other = stamp(count, 2);
        stage.claim(2, &other, &json!({"Claim": {"clean_start": false}}));
        assert_eq!(stage.hear_claims(2), at_once, "{row}");
        let heard = stage.heard_by(connection);
        let refusal: &[&str] = if refused {
            &["CONNACK 89", "close"]
        } else {
            &[]
        };
        assert_eq!(heard, refusal, "{row}");
        for from in [1, 2] {
            stage.claim(from, &ours, &json!("Unclaimed"));
        }
        let rest = stage.hear_claims(2);
        let expected = if refused {
            vec![json!("Unclaimed")]
        } else {
            vec![]
        };
        assert_eq!(rest, expected, "{row}: when all is known");
        let heard = stage.heard_by(connection);
        let accepted = heard.contains(&"CONNACK 00".to_owned());
        assert_eq!(accepted, !refused, "{row}: {heard:?}");
    }
}

/// A session that is on its way is neither told as one that is here, nor given up for another one.
#[test]
fn sessions_on_their_way_are_nobody_elses() {
    let theirs = json!({"Sessions": [{"client_id": "x", "since": 1_000_000}]});
    let told = |said: &[Value]| {
        let said = said.iter().map(|body| &body["Sessions"]);
        let said = said.filter_map(|it| it.as_array());
        said.flatten().count()
    };
    // One that leaves.
    let mut stage = Stage::new(&[], &broker::Config::default());
    let first = stage.connect(&resuming(100));
    stage.heard_by(first);
    let mut stage = stage.with(1);
    assert_eq!(told(&stage.hear(1)), 1, "it is here");
    stage.claim(1, &stamp(50, 1), &json!({"Claim": {"clean_start": false}}));
    let mut stage = stage.with(2);
    assert_eq!(told(&stage.hear(2)), 0, "it leaves");
    stage.say(2, &theirs);
    assert!(stage.world.broker.session("x").is_some());
    // One that arrives.
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let (_, claim) = stage.claimed(1);
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(1, &claim, &subscribed());
    let mut stage = stage.with(2);
    assert_eq!(told(&stage.hear(2)), 0, "it has not come");
    stage.say(2, &theirs);
    assert!(stage.world.broker.session("x").is_some());
    stage.claim(2, &claim, &json!("Unclaimed"));
    stage.say(2, &theirs);
    assert!(stage.world.broker.session("x").is_some(), "also then");
    assert_eq!(stage.world.broker.subscriptions("x").len(), 1);
}

/// Who is waited for is who can say something: a broker that goes away does not hold a session back.
#[test]
fn witnesses_that_go_away() {
    let mut stage = Stage::new(&[], &broker::Config::default());
    let first = stage.connect(&resuming(100));
    stage.heard_by(first);
    let mut stage = stage.with(1).with(2).with(3);
    let claim = stamp(50, 1);
    stage.claim(1, &claim, &json!({"Claim": {"clean_start": false}}));
    let what = json!({"Moving": {"owner": 0, "witnesses": [0, 1, 2]}});
    stage.claim(1, &claim, &what);
    for (row, gone, expected) in [("not waited for", 3, true), ("waited for", 2, false)] {
        let now = stage.world.now;
        stage.world.broker.part(now, broker::BrokerId::new(gone));
        assert_eq!(stage.world.broker.session("x").is_some(), expected, "{row}");
    }
    // Where a session comes to, who is away is not told.
    let mut stage = Stage::new(&[1, 2], &broker::Config::default());
    let now = stage.world.now;
    stage.world.broker.part(now, broker::BrokerId::new(2));
    let (connection, claim) = stage.claimed(1);
    stage.piece(1, &claim, &subscription(&plain("t")));
    stage.piece(1, &claim, &subscribed());
    let witnesses = json!({"Moving": {"owner": 1, "witnesses": [1]}});
    assert_eq!(stage.hear_claims(1), [witnesses]);
    assert!(stage.hear(2).is_empty());
    stage.piece(1, &claim, &json!("Done"));
    assert_eq!(stage.heard_by(connection), ["CONNACK 00 present"]);
}
