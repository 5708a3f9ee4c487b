//! Joined brokers of which one keeps as much as it may: what it does not say, note and take then.

use mqtt_codec::{Binary, QoS, TopicFilter, TopicName, Will};
use mqtt_state::broker::{self, Ask, ConnectAnswer, Event, LocalSubscription, MovedPart};
use serde_json::{Value, json};

use super::voice::{
    Stage, delivery, forward, message, plain, resuming, shared, stamp, subscribed, subscription,
};
use crate::wire::{id, name};

const TOTAL: usize = 1_000_000;

fn config() -> broker::Config {
    broker::Config {
        total_bytes_max: TOTAL,
        ..broker::Config::default()
    }
}

/// Subscriptions of the embedder's own, to filters that nobody else has, until nothing more may be kept.
fn fill(stage: &mut Stage, other: u32) -> Vec<LocalSubscription> {
    let mut filters = Vec::new();
    loop {
        // What has to be said is said.
        stage.hear(other);
        if stage.world.broker.stats().kept_bytes >= TOTAL {
            return filters;
        }
        let text = format!("{}/{}", filters.len(), "f".repeat(20_000));
        filters.push(subscribe(stage, &text));
    }
}

fn subscribe(stage: &mut Stage, text: &str) -> LocalSubscription {
    let filter = TopicFilter::new(text).unwrap();
    stage.world.broker.subscribe_local(filter).unwrap()
}

fn empty(stage: &mut Stage, other: u32, filters: Vec<LocalSubscription>) {
    for filter in filters {
        assert!(stage.world.broker.unsubscribe_local(filter));
        stage.hear(other);
    }
    assert!(stage.world.broker.stats().kept_bytes < TOTAL);
}

/// A topic that is cleared then is forgotten, and an older message for it comes back.
#[test]
fn cleared_topics_are_not_remembered() {
    for (row, is_full, expected) in [
        ("there is room", false, None),
        ("there is none", true, Some("from before")),
    ] {
        let mut stage = Stage::new(&[1], &config());
        let now = stage.world.now;
        let retained = |payload: &str| message("t", payload, QoS::AtLeastOnce).with_retain(true);
        stage.world.broker.publish(now, retained("old"));
        let filters = if is_full {
            fill(&mut stage, 1)
        } else {
            Vec::new()
        };
        stage.world.broker.publish(now, retained(""));
        let topic = TopicName::new("t").unwrap();
        assert_eq!(stage.world.broker.retained(topic), None, "{row}: cleared");
        empty(&mut stage, 1, filters);
        let before = json!({"Retained": {
            "topic": "t",
            "stamp": stamp(1, 0),
            "message": retained("from before"),
            "expires_in": null,
        }});
        stage.say(1, &before);
        let kept = stage.world.broker.retained(topic);
        let kept = kept.map(|message| str::from_utf8(message.payload()).unwrap());
        assert_eq!(kept, expected, "{row}");
    }
}

/// A session that there is no memory for stays where it is, and its client is told to come again.
#[test]
fn a_session_stays_where_it_is() {
    let declined = json!({"Declined": {"keeps": true}});
    for (row, fills_before, expected) in [
        ("there is room", None, &["CONNACK 00 present"][..]),
        (
            "none for its subscriptions",
            Some(0),
            &["CONNACK 89", "close"],
        ),
        ("none behind them", Some(1), &["CONNACK 89", "close"]),
    ] {
        let mut stage = Stage::new(&[1], &config());
        let (connection, claim) = stage.claimed(1);
        let mut said = Vec::new();
        for (place, piece) in [subscription(&plain("t")), subscribed(), json!("Done")]
            .iter()
            .enumerate()
        {
            if Some(place) == fills_before {
                fill(&mut stage, 1);
            }
            stage.piece(1, &claim, piece);
            said.extend(stage.hear_claims(1));
        }
        assert_eq!(stage.heard_by(connection), expected, "{row}");
        assert_eq!(said.contains(&declined), fills_before.is_some(), "{row}");
        let sessions = usize::from(fills_before.is_none());
        assert_eq!(stage.world.broker.stats().sessions, sessions, "{row}");
    }
}

/// What a subscriber may not have is kept with its subscription, and counts, until it is gone.
#[test]
fn what_is_denied_counts() {
    let kept = |stage: &Stage| stage.world.broker.stats().kept_bytes;
    let denied = 1000 * 100;
    let (mut stage, mut sizes) = (Stage::new(&[1], &config()), Vec::new());
    let before = kept(&stage);
    for is_denied in [false, true] {
        let (connection, claim) = stage.claimed(1);
        for filter in [plain("t"), shared("$share/g/t")] {
            let mut subscription = subscription(&filter);
            if is_denied {
                let deny = vec!["d".repeat(100); 1000];
                subscription["Subscription"]["subscription"]["deny"] = json!(deny);
            }
            stage.piece(1, &claim, &subscription);
        }
        stage.piece(1, &claim, &subscribed());
        stage.piece(1, &claim, &json!("Done"));
        let heard = stage.heard_by(connection);
        assert_eq!(heard, ["CONNACK 00 present"], "{is_denied}");
        stage.hear(1);
        stage.acknowledge(1);
        sizes.push(kept(&stage) - before);
        let filters = ["t", "$share/g/t"].map(|filter| TopicFilter::new(filter).unwrap());
        for filter in filters.into_iter().take(usize::from(is_denied)) {
            let with_both = kept(&stage);
            assert!(stage.world.broker.revoke("x", filter));
            assert!(kept(&stage) + denied < with_both, "one is gone");
        }
        let world = &mut stage.world;
        world.broker.handle_close(world.now, connection);
        world.settle();
        stage.world.pass_secs(101);
        stage.hear(1);
        stage.acknowledge(1);
        assert!(
            kept(&stage) < before + denied / 10,
            "{is_denied}: all are gone"
        );
    }
    assert!(sizes[1] > sizes[0] + 2 * denied, "{sizes:?}");
}

/// A high identifier takes a long table. That there is no memory for one is said, and the rest of the session comes.
#[test]
fn identifiers_that_there_is_no_memory_for() {
    let released = |value: u16| json!({"Released": {"id": value}});
    let published = |value: u16, qos: u8| {
        let message = message("t", "a", QoS::try_from(qos).unwrap());
        json!({"Published": {"id": value, "delivery": delivery(&message, qos)}})
    };
    for (row, is_full, piece, heard, not_moved) in [
        (
            "there is room",
            false,
            released(60_000),
            &["PUBREL 60000 00"][..],
            None,
        ),
        ("there is none", true, released(60_000), &[], Some(60_000)),
        (
            "of a table that is there",
            true,
            released(2),
            &["PUBREL 2 00"],
            None,
        ),
        (
            "of a message that there is room for",
            false,
            published(60_000, 2),
            &["PUBLISH t=a q2 id60000 dup"],
            None,
        ),
        (
            "of a message that is lost",
            true,
            published(60_000, 2),
            &[],
            Some(60_000),
        ),
        // Its client holds no identifier.
        (
            "of a message that is lost at QoS 1",
            true,
            published(60_000, 1),
            &[],
            None,
        ),
    ] {
        for journal in [false, true] {
            let config = broker::Config {
                journal,
                ..config()
            };
            let mut stage = Stage::new(&[1], &config);
            let (connection, claim) = stage.claimed(1);
            stage.piece(1, &claim, &subscription(&plain("t")));
            stage.piece(1, &claim, &subscribed());
            if is_full {
                fill(&mut stage, 1);
            }
            stage.piece(1, &claim, &piece);
            stage.piece(1, &claim, &json!("Done"));
            let expected = [&["CONNACK 00 present"], heard].concat();
            assert_eq!(stage.heard_by(connection), expected, "{row}");
            let told = stage.events().into_iter().find_map(|event| match event {
                Event::NotMoved { client_id, what } => Some((String::from(client_id), what)),
                _ => None,
            });
            let not_moved = not_moved.map(|it| ("x".into(), MovedPart::PacketId(id(it))));
            assert_eq!(told, not_moved, "{row}");
        }
    }
}

/// Nothing is kept of a session that has come and ended, though one that was to say from where on its messages are for
/// that has never said so.
#[test]
fn a_session_that_has_ended_waits_for_nobody() {
    let mut stage = Stage::new(&[1, 2], &config());
    let kept = |stage: &mut Stage| {
        for id in [1, 2] {
            stage.hear(id);
            stage.acknowledge(id);
        }
        stage.world.broker.stats().kept_bytes
    };
    let mut sizes = Vec::new();
    for _ in 0..10 {
        let (connection, claim) = stage.claimed(1);
        stage.claim(2, &claim, &json!("Unclaimed"));
        for piece in [subscription(&plain("t")), subscribed()] {
            stage.piece(1, &claim, &piece);
        }
        stage.claim(1, &claim, &json!("Switched"));
        stage.piece(1, &claim, &json!("Done"));
        assert_eq!(stage.heard_by(connection), ["CONNACK 00 present"]);
        let world = &mut stage.world;
        world.broker.handle_close(world.now, connection);
        world.settle();
        stage.world.pass_secs(101);
        assert_eq!(stage.world.broker.stats().sessions, 0);
        sizes.push(kept(&mut stage));
    }
    assert_eq!(sizes[0], sizes[9], "{sizes:?}");
}

/// What somebody has said who waits for his session is kept, and counts.
#[test]
fn who_waits_for_a_session_counts() {
    let weight = |len: usize| {
        let mut stage = Stage::new(&[1], &config());
        let before = stage.world.broker.stats().kept_bytes;
        let payload = vec![b'w'; len];
        let mut connect = resuming(100);
        connect.will = Some(Will::new(name("will"), Binary::new(&payload).unwrap()));
        let connection = stage.connect(&connect);
        assert_eq!(stage.heard_by(connection), [""; 0], "he waits");
        stage.world.broker.stats().kept_bytes - before
    };
    assert!(weight(20_000) >= weight(0) + 20_000);
}

/// Whoever asks and does not listen gets a few answers, for which there is memory in any case.
#[test]
fn claims_of_a_broker_that_does_not_listen() {
    for (row, is_full, expected) in [("there is room", false, 30), ("there is none", true, 16)] {
        let mut stage = Stage::new(&[1], &config());
        if is_full {
            fill(&mut stage, 1);
            stage.acknowledge(1);
        }
        stage.deafen(1);
        let mut said = 0;
        for number in 0..30 {
            let what = json!({"Claim": {"clean_start": false}});
            stage.claim(1, &stamp(number, 1), &what);
            said += stage.hear_claims(1).len();
        }
        assert_eq!(said, expected, "{row}");
    }
}

/// Sessions of others that move wait for what only this broker can say, so it says so also when it has no memory, of
/// as many as take no more than those few answers may.
#[test]
fn what_others_wait_for_is_said() {
    let long = "x".repeat(60_000);
    for (row, client_id, is_full, expected) in [
        ("there is room", "x", false, 100),
        ("there is none", "x", true, 100),
        ("there is none for long names", &*long, true, 18),
    ] {
        let mut stage = Stage::new(&[1, 2], &config());
        if is_full {
            fill(&mut stage, 1);
            stage.acknowledge(1);
        }
        let mut said = [0; 2];
        for id in [1, 2] {
            stage.hear(id);
            stage.acknowledge(id);
            stage.deafen(id);
        }
        for number in 0..100 {
            let moving = json!({"Moving": {"owner": 2, "witnesses": [0, 2]}});
            let claim = json!({"client_id": client_id, "stamp": stamp(number, 1), "what": moving});
            stage.note(1, &json!({"Claim": claim}));
            for (said, id) in said.iter_mut().zip([1, 2]) {
                let heard = stage.hear_claims(id);
                assert!(heard.iter().all(|it| *it == "Switched"), "{row}");
                *said += heard.len();
            }
        }
        assert_eq!(said, [expected; 2], "{row}");
    }
    // A session that is not wanted here is not kept elsewhere for ever.
    let mut stage = Stage::new(&[1], &config());
    fill(&mut stage, 1);
    stage.acknowledge(1);
    stage.deafen(1);
    let mut said = Vec::new();
    for number in 0..30 {
        stage.piece(1, &stamp(number, 1), &subscribed());
        said.extend(stage.hear_claims(1));
    }
    assert_eq!(said, vec![json!({"Declined": {"keeps": false}}); 30]);
}

/// A session that is to go waits while another one's pieces have not arrived and there is no memory for its own.
#[test]
fn a_session_waits_to_go() {
    for (row, is_full) in [("there is room", false), ("there is none", true)] {
        let mut stage = Stage::new(&[], &config());
        let first = stage.connect(&resuming(100));
        stage.heard_by(first);
        stage.world.broker.handle_close(stage.world.now, first);
        let mut stage = stage.with(1);
        stage.hear(1);
        stage.deafen(1);
        let claim = stamp(50, 1);
        stage.claim(1, &claim, &json!({"Claim": {"clean_start": false}}));
        assert_eq!(stage.hear_claims(1).len(), 1, "{row}: it is offered");
        let filters = if is_full {
            fill(&mut stage, 1)
        } else {
            Vec::new()
        };
        let moving = json!({"Moving": {"owner": 0, "witnesses": [0, 1]}});
        stage.claim(1, &claim, &moving);
        let is_there = |stage: &Stage| stage.world.broker.session("x").is_some();
        assert_eq!(is_there(&stage), is_full, "{row}");
        empty(&mut stage, 1, filters);
        stage.acknowledge(1);
        assert!(!is_there(&stage), "{row}: it has gone");
        let claims = stage.hear_claims(1);
        assert!(
            claims.contains(&json!({"Piece": "Done"})),
            "{row}: {claims:?}"
        );
    }
}

/// More changes of what is wanted than there is memory to tell: the link begins anew, and all is said in its course.
#[test]
fn a_link_with_too_much_to_say_begins_anew() {
    for (row, is_full) in [("there is room", false), ("there is none", true)] {
        let mut stage = Stage::new(&[1], &config());
        if is_full {
            fill(&mut stage, 1);
        }
        for number in 0..17 {
            let is_up = stage.world.broker.joined().next().unwrap().is_up;
            assert!(is_up, "{row}: {number} can wait");
            subscribe(&mut stage, &number.to_string());
        }
        let is_up = stage.world.broker.joined().next().unwrap().is_up;
        assert_eq!(is_up, !is_full, "{row}");
        if is_full {
            stage.open(1);
        }
        let heard = stage.hear(1);
        let said = { heard.iter() }.filter_map(|body| body["Interests"]["changes"].as_array());
        let texts = said.flatten().map(|change| &change["filter"]["text"]);
        let short = texts.filter(|text: &&Value| text.as_str().unwrap().len() < 3);
        assert_eq!(short.count(), 17, "{row}");
    }
}

/// A client that was let in when there was memory and connects when there is none does not wait for others.
#[test]
fn nobody_is_asked_about_a_client() {
    let ask = Ask {
        connect: true,
        ..Ask::default()
    };
    for (row, is_full, expected) in [
        ("there is room", false, &[][..]),
        ("there is none", true, &["CONNACK 89", "close"]),
    ] {
        let mut stage = Stage::new(&[1], &broker::Config { ask, ..config() });
        let connection = stage.connect(&resuming(100));
        let asked = stage.events().into_iter().find_map(|event| match event {
            Event::Authenticate { decision, .. } => Some(decision),
            _ => None,
        });
        if is_full {
            fill(&mut stage, 1);
        }
        let now = stage.world.now;
        let broker = &mut stage.world.broker;
        let decided = broker.decide_connect(now, asked.unwrap(), ConnectAnswer::Allow);
        assert_eq!(decided, Ok(()), "{row}");
        assert_eq!(stage.heard_by(connection), expected, "{row}");
        assert_eq!(stage.hear_claims(1).is_empty(), is_full, "{row}");
    }
}

/// A broker that cannot be told that a session comes is not waited for either, and what it sends on later is
/// for the session.
#[test]
fn who_is_not_told_is_not_waited_for() {
    let mut rows = Vec::new();
    for freed in 1..6 {
        let mut stage = Stage::new(&[1, 2], &config());
        // The second one does not listen.
        stage.deafen(2);
        for number in 0..16 {
            let what = json!({"Claim": {"clean_start": false}});
            stage.claim(2, &stamp(number, 2), &what);
        }
        let (connection, claim) = stage.claimed(1);
        stage.hear(2);
        stage.claim(2, &claim, &json!("Unclaimed"));
        let mut filters = fill(&mut stage, 1);
        for _ in 0..freed {
            assert!(stage.world.broker.unsubscribe_local(filters.pop().unwrap()));
            stage.hear(1);
        }
        let long = format!("long/{}", "f".repeat(8_000));
        for filter in ["t", &long] {
            stage.piece(1, &claim, &subscription(&plain(filter)));
        }
        stage.piece(1, &claim, &subscribed());
        let said = stage.hear_claims(1);
        let moving = said.iter().find(|it| it["Moving"].is_object());
        let Some(moving) = moving else {
            assert_eq!(said, [json!({"Declined": {"keeps": true}})], "{freed}");
            continue;
        };
        let told: Vec<_> = moving["Moving"]["witnesses"].as_array().unwrap().clone();
        let of_second = stage.hear_claims(2);
        let was_told = of_second.iter().any(|it| it["Moving"].is_object());
        assert_eq!(told.contains(&json!(2)), was_told, "{freed}");
        stage.claim(1, &claim, &json!({"Told": []}));
        stage.claim(1, &claim, &json!("Switched"));
        if was_told {
            stage.claim(2, &claim, &json!("Switched"));
        }
        stage.piece(1, &claim, &json!("Done"));
        empty(&mut stage, 1, filters);
        let later = forward(&message("t", "later", QoS::AtLeastOnce), None, &[]);
        stage.note(2, &json!({"Forward": later}));
        let heard = stage.heard_by(connection);
        let expected = ["CONNACK 00 present", "PUBLISH t=later q1 id1"];
        assert_eq!(heard, expected, "{freed}, was told: {was_told}");
        rows.push(was_told);
    }
    assert!(rows.contains(&true) && rows.contains(&false), "{rows:?}");
}
