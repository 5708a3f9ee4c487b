//! What another broker says is believed as far as it makes sense: links, messages, interests and
//! retained messages, word by word.

use core::time::Duration;

use mqtt_codec::{Message, QoS, TopicName};
use mqtt_state::broker::{self, BrokerId, Event, JoinConfig, SharedPolicy};
use serde_json::{Value, json};

use super::mesh::joined;
use super::voice::{Stage, forward, message, plain, resuming, shared, stamp, subscribed};
use crate::wire::{Peer, V5_0, connect, want, with_subscribe};

const QOS1: QoS = QoS::AtLeastOnce;

fn retained(
    topic: &str,
    stamp: &Value,
    message: Option<&Message>,
    expires_in: Option<u64>,
) -> Value {
    json!({"Retained": {
        "topic": topic,
        "stamp": stamp,
        "message": message,
        "expires_in": expires_in,
    }})
}

fn interest(filter: &Value, members: u32, connected: u32) -> Value {
    json!({"filter": filter, "members": members, "connected": connected})
}

fn interests(changes: &[Value], is_last: bool) -> Value {
    json!({"Interests": {"changes": changes, "is_last": is_last}})
}

fn kept(stage: &Stage, topic: &str) -> Option<String> {
    let kept = stage.world.broker.retained(TopicName::new(topic).unwrap());
    kept.map(|message| String::from_utf8_lossy(message.payload()).into_owned())
}

/// Topics below `$SYS` are each broker's own, and what has expired is nobody's.
#[test]
fn messages_that_are_not_taken() {
    let sys = message("$SYS/broker", "m", QOS1);
    let only_sys = message("$SYS", "m", QOS1);
    let system = message("$SYSTEM", "m", QOS1);
    let other = message("t", "m", QOS1);
    for (row, message, expires_in, expected) in [
        ("as it should be", &other, None, 1),
        ("with time left", &other, Some(1), 1),
        ("expired", &other, Some(0), 0),
        ("below $SYS", &sys, None, 0),
        ("just $SYS", &only_sys, None, 0),
        ("begins like $SYS", &system, None, 1),
    ] {
        for way in ["passing", "forward", "returned"] {
            let mut stage = Stage::new(&[1], &broker::Config::default());
            let who = stage.client("s");
            let filters = ["t", "$SYS/#", "$SYSTEM", "$SYS"].map(|it| want(it, QOS1));
            stage.world.subscribe(who, &filters);
            let group = format!("$share/g/{}", message.topic());
            stage.world.subscribe(who, &[want(&group, QOS1)]);
            let mut forward = forward(message, expires_in, &[]);
            match way {
                "passing" => stage.say(1, &json!({"Passing": forward})),
                "forward" => stage.note(1, &json!({"Forward": forward})),
                _ => {
                    forward["groups"] = json!([shared(&group)]);
                    stage.note(1, &json!({"Returned": forward}));
                }
            }
            stage.world.settle();
            assert_eq!(stage.world.got(who).len(), expected, "{row}, {way}");
            assert_eq!(stage.world.broker.stats().messages, 0, "{row}, {way}");
        }
    }
}

/// What there is no room for is told.
#[test]
fn messages_that_there_is_no_room_for() {
    let small = broker::Config {
        server: mqtt_state::server::Config {
            payload_size_max: Some(3),
            ..mqtt_state::server::Config::default()
        },
        ..broker::Config::default()
    };
    for (row, payload, is_taken) in [("fits", "abc", true), ("too large", "abcd", false)] {
        for way in ["passing", "forward", "returned"] {
            let mut stage = Stage::new(&[1], &small);
            let who = stage.subscriber("s", "$share/g/t");
            let groups = [shared("$share/g/t")];
            let forward = forward(&message("t", payload, QOS1), None, &groups);
            match way {
                "passing" => stage.say(1, &json!({"Passing": forward})),
                "forward" => stage.note(1, &json!({"Forward": forward})),
                _ => stage.note(1, &json!({"Returned": forward})),
            }
            stage.world.settle();
            let got = stage.world.got(who).len();
            assert_eq!(got, usize::from(is_taken), "{row}, {way}");
            let told = Event::NotTaken {
                broker: BrokerId::new(1),
                topic: "t".into(),
            };
            let events = stage.events();
            assert_eq!(
                events.contains(&told),
                !is_taken,
                "{row}, {way}: {events:?}"
            );
        }
    }
}

/// A turn goes back only where it is one, and only if nobody here can take it.
#[test]
fn turns_that_come() {
    for (row, groups, expected) in [
        (
            "a group of this broker's",
            vec![shared("$share/g/t")],
            (1, vec![]),
        ),
        (
            "a group that has gone",
            vec![shared("$share/h/t")],
            (0, vec!["returned t=m"]),
        ),
        (
            "both",
            vec![shared("$share/h/t"), shared("$share/g/t")],
            (1, vec!["returned t=m"]),
        ),
        ("no group", vec![plain("t"), plain("t/+")], (0, vec![])),
        ("no filter", vec![shared("$share/g")], (0, vec![])),
    ] {
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let who = stage.subscriber("s", "$share/g/t");
        stage.hear(1);
        let forward = forward(&message("t", "m", QOS1), None, &groups);
        stage.note(1, &json!({"Forward": forward}));
        let heard = stage.hear_messages(1);
        assert_eq!(stage.world.got(who).len(), expected.0, "{row}");
        assert_eq!(heard, expected.1, "{row}");
    }
}

/// A turn that came back goes to a member here, to one elsewhere, or nowhere; not to where it came from.
#[test]
fn turns_that_come_back() {
    let group = "$share/g/t";
    for (row, is_here, members, passed, expected) in [
        ("a member here", true, [0, 0], &[][..], (1, 0)),
        ("a member at a third one", false, [0, 1], &[], (0, 1)),
        ("a member where it came from", false, [1, 0], &[], (0, 0)),
        ("nobody", false, [0, 0], &[], (0, 0)),
        ("nobody here may have it", true, [0, 0], &[0], (0, 0)),
        (
            "nobody here or where it came from",
            true,
            [1, 1],
            &[0],
            (0, 1),
        ),
        ("nobody at a third one", true, [1, 1], &[2], (1, 0)),
        ("nobody anywhere", true, [1, 1], &[0, 2, 2], (0, 0)),
        (
            "nobody at one that nobody knows",
            true,
            [0, 0],
            &[9],
            (1, 0),
        ),
    ] {
        let mut stage = Stage::new(&[1, 2], &broker::Config::default());
        let who = stage.client("s");
        if is_here {
            stage.world.subscribe(who, &[want(group, QOS1)]);
        }
        for (other, members) in [1, 2].into_iter().zip(members) {
            let changes = [interest(&shared(group), members, members)];
            stage.say(other, &interests(&changes, false));
        }
        stage.hear(2);
        let mut forward = forward(&message("t", "m", QOS1), None, &[shared(group)]);
        forward["passed"] = json!(passed);
        stage.note(1, &json!({"Returned": forward}));
        let heard = stage.hear_messages(2);
        assert_eq!((stage.world.got(who).len(), heard.len()), expected, "{row}");
        assert_eq!(stage.hear_messages(1), [""; 0], "{row}");
        stage.acknowledge(2);
        assert_eq!(stage.world.broker.stats().messages, 0, "{row}");
    }
}

/// With [`SharedPolicy::ByPublisher`] one publisher's messages go to one broker.
#[test]
fn a_publisher_has_its_member_at_one_broker() {
    for (policy, expected) in [
        (SharedPolicy::ByPublisher, [0, 8]),
        (SharedPolicy::RoundRobin, [4, 4]),
    ] {
        let config = broker::Config {
            shared_policy: policy,
            ..broker::Config::default()
        };
        let mut stage = Stage::new(&[1, 2], &config);
        for other in [1, 2] {
            let changes = [interest(&shared("$share/g/t"), 1, 1)];
            stage.say(other, &interests(&changes, false));
        }
        let who = stage.client("p");
        for _ in 0..8 {
            stage.world.publish(who, "t", "m", QOS1);
        }
        let mut heard = [1, 2].map(|it| stage.hear_messages(it).len());
        heard.sort_unstable();
        assert_eq!(heard, expected, "{policy:?}");
    }
}

#[test]
fn interests_that_make_no_sense() {
    for (row, filter, members, expected) in [
        ("as it should be", plain("t"), 1, (1, 1)),
        ("a group", shared("$share/g/t"), 1, (1, 1)),
        (
            "a text that is shared for 5.0 alone",
            plain("$share/g/t"),
            1,
            (1, 0),
        ),
        ("no filter", plain("t/#/u"), 1, (0, 0)),
        ("no shared one", shared("t"), 1, (0, 0)),
        ("below $SYS", plain("$SYS/#"), 1, (0, 0)),
        ("too deep", plain("a/b/c/d"), 1, (0, 0)),
        ("not there, and gone", plain("t"), 0, (0, 0)),
    ] {
        let config = broker::Config {
            levels_max: 3,
            ..broker::Config::default()
        };
        let mut stage = Stage::new(&[1], &config);
        stage.say(1, &interests(&[interest(&filter, members, members)], false));
        let joined = stage.world.broker.joined().next().unwrap();
        assert_eq!(joined.interests, expected.0, "{row}");
        // What is above a limit here is told.
        let refused = u64::from(row == "too deep");
        assert_eq!(joined.interests_refused, refused, "{row}");
        let told = stage.events().into_iter();
        let told = told.filter(|it| matches!(it, Event::InterestRefused { .. }));
        assert_eq!(u64::try_from(told.count()).unwrap(), refused, "{row}");
        let sent = stage
            .world
            .broker
            .publish(stage.world.now, message("t", "m", QOS1));
        assert_eq!(sent, expected.1, "{row}");
    }
}

/// More members than are connected, or the other way round: a broker has a turn for each member that is
/// connected, and no more than it has members.
#[test]
fn no_more_are_connected_than_there_are() {
    let mut stage = Stage::new(&[1, 2], &broker::Config::default());
    for (other, members, connected) in [(1, 1, 9), (2, 1, 1)] {
        let changes = [interest(&shared("$share/g/t"), members, connected)];
        stage.say(other, &interests(&changes, false));
    }
    for _ in 0..8 {
        stage
            .world
            .broker
            .publish(stage.world.now, message("t", "m", QOS1));
    }
    let heard = [1, 2].map(|it| stage.hear_messages(it).len());
    assert_eq!(heard, [4, 4]);
}

/// At the limit a filter is not noted, one that is there may change, and one that goes makes room.
#[test]
fn interests_above_the_limit() {
    let config = joined(JoinConfig {
        interests_max: 2,
        ..JoinConfig::default()
    });
    let mut stage = Stage::new(&[1], &config);
    for (row, text, members, expected) in [
        ("first", "a", 1, (1, 0)),
        ("second", "b", 1, (2, 0)),
        ("third", "c", 1, (2, 1)),
        ("second again", "b", 1, (2, 1)),
        ("first goes", "a", 0, (1, 1)),
        ("and once more", "a", 0, (1, 1)),
        ("third finds room", "c", 1, (2, 1)),
    ] {
        stage.say(1, &interests(&[interest(&plain(text), members, 0)], false));
        let joined = stage.world.broker.joined().next().unwrap();
        let found = (joined.interests, joined.interests_refused);
        assert_eq!(found, expected, "{row}");
    }
}

/// What a broker says at once is weighed filter by filter, and what there is no memory for is told.
#[test]
fn interests_that_there_is_no_memory_for() {
    const TOTAL: usize = 1_000_000;
    for (row, len, fits) in [("short", 20, true), ("long", 20_000, false)] {
        for way in [plain as fn(&str) -> Value, shared] {
            let config = broker::Config {
                total_bytes_max: TOTAL,
                ..broker::Config::default()
            };
            let mut stage = Stage::new(&[1], &config);
            let changes: Vec<_> = (0..100)
                .map(|number| {
                    // No two have a level in common, which would be kept once.
                    let text = format!("$share/{number}/{}{number}", "f".repeat(len));
                    interest(&way(&text), 1, 1)
                })
                .collect();
            stage.say(1, &interests(&changes, true));
            let joined = stage.world.broker.joined().next().unwrap();
            let (noted, refused) = (joined.interests, joined.interests_refused);
            assert_eq!(refused == 0, fits, "{row}: {noted} are noted");
            assert!(noted > 10 && noted + usize::try_from(refused).unwrap() == 100);
            let kept = stage.world.broker.stats().kept_bytes;
            // A group has a turn beside, so that the last one may be above it.
            assert!(kept < TOTAL + 25_000, "{row}: {kept} for {noted}");
            let told = stage.events().into_iter();
            let told = told.filter(|it| matches!(it, Event::InterestRefused { .. }));
            assert_eq!(u64::try_from(told.count()).unwrap(), refused, "{row}");
        }
    }
}

/// Whoever is gone for good wants nothing.
#[test]
fn a_forgotten_broker_wants_nothing() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let changes = [
        interest(&plain("t"), 1, 0),
        interest(&shared("$share/g/t"), 1, 1),
    ];
    stage.say(1, &interests(&changes, true));
    let world = &mut stage.world;
    assert_eq!(world.broker.publish(world.now, message("t", "m", QOS1)), 1);
    world.broker.forget_joined(world.now, BrokerId::new(1));
    assert_eq!(world.broker.joined().count(), 0);
    assert_eq!(world.broker.publish(world.now, message("t", "m", QOS1)), 0);
    assert_eq!(world.broker.stats().messages, 0);
    // One that has it still has its own.
    stage.open(1);
    assert_eq!(stage.world.broker.joined().next().unwrap().interests, 0);
}

/// With the last interests of a new link, those that were not said again are void.
#[test]
fn interests_of_a_link_before() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let changes = [interest(&plain("a"), 1, 0), interest(&plain("b"), 1, 0)];
    stage.say(1, &interests(&changes, true));
    stage.open(1);
    for (is_last, expected) in [(false, 2), (true, 1)] {
        stage.say(1, &interests(&[interest(&plain("b"), 1, 0)], is_last));
        let joined = stage.world.broker.joined().next().unwrap();
        assert_eq!(joined.interests, expected, "{is_last}");
    }
}

/// All that is wanted is said in several messages, and what changes between them.
#[test]
fn interests_that_change_while_they_are_said() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let who = stage.client("s");
    let texts: Vec<_> = (0..150).map(|it| format!("t/{it:03}")).collect();
    for text in &texts {
        stage.world.subscribe(who, &[want(text, QOS1)]);
    }
    stage.greet(1);
    let mut told = std::collections::BTreeMap::new();
    let mut rounds = 0;
    // One message at a time, and one change behind each.
    let changed = [
        ("t/000", false),
        ("t/149", false),
        ("t/0005", true),
        ("t/9", true),
    ];
    let mut changed = changed.into_iter();
    let id = BrokerId::new(1);
    while let Some((to, said)) = stage.world.broker.poll_joined(stage.world.now) {
        assert_eq!(to, id);
        let said = serde_json::to_value(said).unwrap();
        for change in said["body"]["Interests"]["changes"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let text = change["filter"]["text"].as_str().unwrap().to_owned();
            told.insert(text, change["members"] == 1);
            rounds += 1;
        }
        match changed.next() {
            Some((text, true)) => {
                stage.world.of(who).subscribe(&[want(text, QOS1)]).unwrap();
            }
            Some((text, false)) => {
                let filter = mqtt_codec::TopicFilter::new(text).unwrap();
                stage.world.broker.revoke("s", filter);
            }
            None => {}
        }
        stage.world.settle();
    }
    assert!(rounds >= 150, "{rounds}");
    let expected = texts.iter().map(String::as_str).chain(["t/0005", "t/9"]);
    let expected = expected.filter(|it| !["t/000", "t/149"].contains(it));
    let mut expected: Vec<_> = expected.collect();
    expected.sort_unstable();
    let found: Vec<_> = { told.iter() }.filter(|(_, there)| **there).collect();
    let found: Vec<_> = found.into_iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(found, expected);
}

/// More shared subscriptions than are remembered come and go.
#[test]
fn groups_that_come_and_go() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let who = stage.client("s");
    for number in 0..1100 {
        let text = format!("$share/g{number}/t");
        stage.world.subscribe(who, &[want(&text, QOS1)]);
        let filter = mqtt_codec::TopicFilter::new(&text).unwrap();
        stage.world.of(who).unsubscribe(&[filter]).unwrap();
        stage.world.settle();
    }
    stage.world.subscribe(who, &[want("$share/g0/t", QOS1)]);
    let mut heard = std::collections::BTreeMap::new();
    for body in stage.hear(1) {
        for change in body["Interests"]["changes"].as_array().unwrap() {
            heard.insert(
                change["filter"]["text"].to_string(),
                change["members"].clone(),
            );
        }
    }
    let there: Vec<_> = { heard.iter() }
        .filter(|(_, members)| **members == 1)
        .collect();
    assert_eq!(there, [(&"\"$share/g0/t\"".to_owned(), &json!(1))]);
    stage.note(
        1,
        &json!({"Forward": forward(&message("t", "m", QOS1), None, &[shared("$share/g0/t")])}),
    );
    stage.world.settle();
    assert_eq!(stage.world.got(who), ["t=m q1"]);
}

#[test]
fn retained_messages_that_are_not_taken() {
    let good = message("t", "new", QOS1).with_retain(true);
    let flagless = message("t", "new", QOS1);
    let empty = message("t", "", QOS1).with_retain(true);
    let elsewhere = message("u", "new", QOS1).with_retain(true);
    let sys = message("$SYS/t", "new", QOS1).with_retain(true);
    // What is kept has a count of 1.
    let (newer, older) = (stamp(9, 1), stamp(0, 9));
    for (row, topic, stamp, message, expires_in, expected) in [
        (
            "as it should be",
            "t",
            &newer,
            Some(&good),
            None,
            Some("new"),
        ),
        (
            "with time left",
            "t",
            &newer,
            Some(&good),
            Some(1),
            Some("new"),
        ),
        ("cleared", "t", &newer, None, None, None),
        // It has taken the place of the older one, and is over.
        ("expired", "t", &newer, Some(&good), Some(0), None),
        (
            "expired before",
            "t",
            &older,
            Some(&good),
            Some(0),
            Some("old"),
        ),
        ("older", "t", &older, Some(&good), None, Some("old")),
        ("cleared before", "t", &older, None, None, Some("old")),
        (
            "without the flag",
            "t",
            &newer,
            Some(&flagless),
            None,
            Some("old"),
        ),
        ("empty", "t", &newer, Some(&empty), None, Some("old")),
        (
            "of another topic",
            "t",
            &newer,
            Some(&elsewhere),
            None,
            Some("old"),
        ),
        (
            "below $SYS",
            "$SYS/t",
            &newer,
            Some(&sys),
            None,
            Some("old"),
        ),
        ("no topic", "t/#", &newer, Some(&good), None, Some("old")),
    ] {
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let now = stage.world.now;
        stage
            .world
            .broker
            .publish(now, message_retained("t", "old"));
        stage
            .world
            .broker
            .publish(now, message_retained("$SYS/t", "own"));
        stage.say(1, &retained(topic, stamp, message, expires_in));
        assert_eq!(kept(&stage, "t").as_deref(), expected, "{row}");
        assert_eq!(kept(&stage, "$SYS/t").as_deref(), Some("own"), "{row}");
        assert_eq!(kept(&stage, "u"), None, "{row}");
    }
}

/// One that was to be retained and has expired on its way takes the place of an older one, and of no newer
/// one; where it does not say how old it is it does nothing.
#[test]
fn retained_messages_that_have_expired_on_their_way() {
    // What is kept has a count of 1.
    for (row, stamp, retain, expected) in [
        ("newer", stamp(9, 1), true, None),
        ("older", stamp(0, 1), true, Some("old")),
        ("of no age", json!(null), true, Some("old")),
        ("not retained", stamp(9, 1), false, Some("old")),
    ] {
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let now = stage.world.now;
        stage
            .world
            .broker
            .publish(now, message_retained("t", "old"));
        let who = stage.client("s");
        stage.world.subscribe(who, &[want("t", QOS1)]);
        assert_eq!(stage.world.got(who), ["t=old q1 retain"], "{row}");
        let message = message("t", "new", QOS1).with_retain(retain);
        let mut forward = forward(&message, Some(0), &[]);
        forward["stamp"] = stamp;
        stage.note(1, &json!({"Forward": forward}));
        stage.world.settle();
        assert_eq!(kept(&stage, "t").as_deref(), expected, "{row}");
        assert_eq!(stage.world.got(who), [""; 0], "{row}");
    }
}

/// What is below `$SYS` is retained as in a broker that is alone: it expires, and there may be no room for it.
#[test]
fn what_is_retained_of_a_brokers_own() {
    let config = broker::Config {
        retained_len_max: 1,
        ..broker::Config::default()
    };
    let mut stage = Stage::new(&[1], &config);
    let now = stage.world.now;
    let short = mqtt_codec::PublishProperties {
        message_expiry_secs: Some(5),
        ..Default::default()
    };
    let own = message_retained("$SYS/own", "m");
    let own = own.with_properties(&short).unwrap();
    stage.world.broker.publish(now, own);
    stage
        .world
        .broker
        .publish(now, message_retained("$SYS/other", "m"));
    let topic = "$SYS/other".into();
    assert!(stage.events().contains(&Event::NotRetained { topic }));
    assert_eq!(kept(&stage, "$SYS/own").as_deref(), Some("m"));
    stage.world.pass_secs(6);
    assert_eq!(kept(&stage, "$SYS/own"), None);
    stage.open(1);
    assert_eq!(stage.hear_messages(1), [""; 0], "nobody else's business");
}

fn message_retained(topic: &str, payload: &str) -> Message {
    message(topic, payload, QOS1).with_retain(true)
}

/// What there is no room for is told, and the older one is gone all the same.
#[test]
fn retained_messages_that_there_is_no_room_for() {
    let config = broker::Config {
        server: mqtt_state::server::Config {
            payload_size_max: Some(3),
            ..mqtt_state::server::Config::default()
        },
        retained_len_max: 2,
        ..broker::Config::default()
    };
    let mut stage = Stage::new(&[1], &config);
    for (row, topic, count, payload, expected) in [
        ("first", "a", 9, "old", Some("old")),
        ("second", "b", 9, "old", Some("old")),
        ("a third one", "c", 9, "new", None),
        ("too large", "a", 10, "newer", None),
        ("the third one now", "c", 9, "new", Some("new")),
    ] {
        let message = message_retained(topic, payload);
        stage.say(1, &retained(topic, &stamp(count, 1), Some(&message), None));
        assert_eq!(kept(&stage, topic).as_deref(), expected, "{row}");
        let events = stage.events();
        let topic = topic.into();
        let told = events.contains(&Event::NotRetained { topic });
        assert_eq!(told, expected.is_none(), "{row}: {events:?}");
    }
}

/// What is kept is told on a new link, and what is over or was cleared, but for what is nobody's business.
#[test]
fn what_is_said_of_retained_messages() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let now = stage.world.now;
    let short = mqtt_codec::PublishProperties {
        message_expiry_secs: Some(5),
        ..Default::default()
    };
    for message in [
        message_retained("a", "kept"),
        message_retained("b", "short")
            .with_properties(&short)
            .unwrap(),
        message_retained("c", "goes"),
        message_retained("c", ""),
        message_retained("$SYS/d", "own"),
    ] {
        stage.world.broker.publish(now, message);
    }
    stage.hear(1);
    for (row, secs, expected) in [
        (
            "at first",
            0,
            &["retained a=kept", "retained b=short", "retained c cleared"][..],
        ),
        (
            "later",
            5,
            &[
                "retained a=kept",
                "retained b cleared",
                "retained c cleared",
            ],
        ),
    ] {
        // Nobody has told the broker of its timeout.
        stage.world.now = now + Duration::from_secs(secs);
        stage.open(1);
        assert_eq!(stage.hear_messages(1), expected, "{row}");
    }
    stage.world.pass_secs(1);
    stage.open(1);
    assert_eq!(
        stage.hear_messages(1),
        [
            "retained a=kept",
            "retained b cleared",
            "retained c cleared"
        ]
    );
    assert_eq!(kept(&stage, "b"), None);
    // An older one than what has expired does not come back.
    let again = message_retained("b", "again");
    stage.say(1, &retained("b", &stamp(1, 1), Some(&again), None));
    assert_eq!(kept(&stage, "b"), None);
    stage.say(1, &retained("b", &stamp(9, 1), Some(&again), None));
    assert_eq!(kept(&stage, "b").as_deref(), Some("again"));
}

/// Of topics that were cleared the latest are remembered; an older message for another one comes back.
#[test]
fn cleared_topics_that_are_remembered() {
    let config = joined(JoinConfig {
        cleared_max: 3,
        ..JoinConfig::default()
    });
    let mut stage = Stage::new(&[1], &config);
    let now = stage.world.now;
    for topic in ["e", "a", "b", "c", "d"] {
        stage
            .world
            .broker
            .publish(now, message_retained(topic, "old"));
        stage.world.broker.publish(now, message_retained(topic, ""));
        // It has a message again, or has lost it again, which is not forgotten with the others.
        let again: &[&str] = match topic {
            "a" => &["newer"],
            "b" => &["newer", ""],
            _ => &[],
        };
        for payload in again {
            let message = message_retained(topic, payload);
            stage.world.broker.publish(now, message);
        }
    }
    for (topic, expected) in [
        ("a", Some("newer")),
        ("b", None),
        ("c", None),
        ("d", None),
        ("e", Some("from before")),
    ] {
        let before = message_retained(topic, "from before");
        stage.say(1, &retained(topic, &stamp(1, 0), Some(&before), None));
        assert_eq!(kept(&stage, topic).as_deref(), expected, "{topic}");
    }
}

/// What a store has kept is told as what it was, and gives way to what is newer. Where the store does not say since
/// when it is, as no broker was joined then, whatever others have is newer.
#[test]
fn retained_messages_out_of_a_store() {
    let config = broker::Config {
        journal: true,
        ..broker::Config::default()
    };
    for (row, keeps_stamps, heard, expected) in [
        ("a newer one", true, stamp(9, 1), "other"),
        ("an older one", true, stamp(0, 1), "stored"),
        ("the same", true, stamp(1, 0), "stored"),
        ("nobody knows, any", false, stamp(0, 1), "other"),
        (
            "nobody knows, none of its own",
            false,
            stamp(0, 0),
            "stored",
        ),
    ] {
        let mut stage = Stage::new(&[1], &config);
        let now = stage.world.now;
        for topic in ["a", "b"] {
            let message = message_retained(topic, "stored");
            stage.world.broker.publish(now, message);
        }
        stage.hear(1);
        if !keeps_stamps {
            let retained = stage.world.disk.table.iter_mut();
            for (_, value) in retained.filter(|(key, _)| key[0] == 2) {
                assert!(value.contains("Stamped"), "{value}");
                *value = "\"Present\"".to_owned();
            }
        }
        stage.world.crash(Duration::from_secs(1));
        let welcome = stage.open(1);
        let count = welcome["body"]["Welcome"]["count"].as_u64();
        assert_eq!(count, Some(if keeps_stamps { 2 } else { 0 }), "{row}");
        assert_eq!(
            stage.hear_messages(1),
            ["retained a=stored", "retained b=stored"],
            "{row}"
        );
        let message = message_retained("a", "other");
        stage.say(1, &retained("a", &heard, Some(&message), None));
        assert_eq!(kept(&stage, "a").as_deref(), Some(expected), "{row}");
        assert_eq!(kept(&stage, "b").as_deref(), Some("stored"), "{row}");
    }
}

/// Found by a simulation: a broker lost a retained message of its own in a crash, and one of two others had it. It
/// came back from there, and the third one, which nobody else would have told, kept the older one.
#[test]
fn retained_messages_of_a_run_before_that_come_back() {
    for (row, of, payload, expires_in, expected) in [
        ("its own", 0, Some("m"), None, &["forward a=m"][..]),
        ("its own, cleared", 0, None, None, &["passing a="]),
        (
            "its own, expired meanwhile",
            0,
            Some("m"),
            Some(0),
            &["passing a="],
        ),
        ("another one's", 1, Some("m"), None, &[]),
        ("another one's, cleared", 1, None, None, &[]),
    ] {
        let mut stage = Stage::new(&[1, 2], &broker::Config::default());
        for id in [1, 2] {
            stage.hear(id);
        }
        let message = payload.map(|payload| message_retained("a", payload).with_qos(QOS1));
        let said = retained("a", &stamp(9, of), message.as_ref(), expires_in);
        for _ in 0..2 {
            stage.say(1, &said);
        }
        assert_eq!(stage.hear_messages(2), expected, "{row}: once");
        assert_eq!(stage.hear_messages(1), [""; 0], "{row}: it has it");
        stage.acknowledge(2);
        let stats = stage.world.broker.stats();
        assert_eq!(stats.messages, stats.retained, "{row}: nothing is kept");
    }
}

/// Since when a session is there is stored, so that it is the later one of two after a restart as well.
#[test]
fn sessions_out_of_a_store() {
    let config = broker::Config {
        journal: true,
        ..broker::Config::default()
    };
    for (row, since, is_kept) in [("an older one", 5, true), ("a later one", 7, false)] {
        let mut stage = Stage::new(&[1], &config);
        // It counts on from there.
        stage.claim(1, &stamp(5, 1), &json!("Switched"));
        let (connection, claim) = stage.claimed(1);
        assert_eq!(claim, stamp(6, 0), "{row}");
        stage.claim(1, &claim, &json!("Unclaimed"));
        stage.heard_by(connection);
        let world = &mut stage.world;
        world.broker.handle_close(world.now, connection);
        world.settle();
        stage.world.crash(Duration::from_secs(1));
        stage.open(1);
        stage.say(
            1,
            &json!({"Sessions": [{"client_id": "x", "since": since}]}),
        );
        let is_there = stage.world.broker.session("x").is_some();
        assert_eq!(is_there, is_kept, "{row}");
    }
}

/// What one broker counts, the others count on from.
#[test]
fn counts_go_on_from_those_of_others() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let said = |stage: &mut Stage| stage.open(1)["body"]["Welcome"]["count"].clone();
    assert_eq!(said(&mut stage), 0);
    stage
        .world
        .broker
        .publish(stage.world.now, message_retained("a", "m"));
    assert_eq!(said(&mut stage), 1);
    let other = message_retained("b", "m");
    stage.say(1, &retained("b", &stamp(7, 1), Some(&other), None));
    assert_eq!(said(&mut stage), 7);
    stage.say(
        1,
        &json!({"Sessions": [{"client_id": "nobody", "since": 100}]}),
    );
    assert_eq!(said(&mut stage), 7, "a session that is not here");
    // There are counts behind whatever is said.
    stage.say(1, &retained("b", &stamp(u64::MAX, 1), Some(&other), None));
    let most = u64::MAX / 2;
    assert_eq!(said(&mut stage), most);
    stage
        .world
        .broker
        .publish(stage.world.now, message_retained("a", "n"));
    assert_eq!(said(&mut stage), most + 1);
}

/// A retained message that there is no room for on the way is told once there is.
#[test]
fn retained_messages_that_could_not_wait() {
    let config = joined(JoinConfig {
        forwards_len_max: 1,
        ..JoinConfig::default()
    });
    let mut stage = Stage::new(&[1], &config);
    let now = stage.world.now;
    for topic in ["a", "b"] {
        stage
            .world
            .broker
            .publish(now, message_retained(topic, "m"));
    }
    let told = Event::NotForwarded {
        broker: BrokerId::new(1),
        topic: "b".into(),
    };
    assert!(stage.events().contains(&told));
    let mut heard = stage.hear_messages(1);
    heard.sort();
    assert_eq!(heard, ["forward a=m", "retained a=m", "retained b=m"]);
}

/// What belongs to no link that is there is not listened to.
#[test]
fn messages_of_no_link() {
    let changes = [interest(&plain("t"), 1, 0)];
    let body = interests(&changes, false);
    let other_link = json!({"incarnation": 0, "link": 9});
    for (row, field, value, expected) in [
        ("as it should be", "number", json!(1), (1, true)),
        ("said before", "number", json!(0), (0, true)),
        ("one is missing", "number", json!(2), (0, false)),
        ("of another link", "from", other_link.clone(), (0, true)),
        ("for another link", "to", other_link, (0, true)),
        ("for no link", "to", json!(null), (0, true)),
    ] {
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let mut said = stage.message(1, 1, &body);
        said[field] = value;
        stage.send(1, said);
        let joined = stage.world.broker.joined().next().unwrap();
        assert_eq!((joined.interests, joined.is_up), expected, "{row}");
    }
    // Nor what comes when the link is closed, or from who was never joined.
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let said = stage.message(1, 1, &body);
    let now = stage.world.now;
    stage.world.broker.part(now, BrokerId::new(1));
    stage.world.broker.part(now, BrokerId::new(7));
    stage.send(1, said.clone());
    let hello = json!({"from": {"incarnation": 0, "link": 8}, "to": null, "number": 0, "received": 0, "body": "Hello"});
    stage.send(1, hello);
    let joined = stage.world.broker.joined().next().unwrap();
    assert_eq!((joined.interests, joined.is_up), (0, false));
    stage.send(7, said);
    assert_eq!(stage.world.broker.joined().count(), 1);
    assert!(stage.hear(1).is_empty(), "nothing is said");
    let parted = Event::Parted {
        broker: BrokerId::new(1),
    };
    let parted = stage.events().into_iter().filter(|it| *it == parted);
    assert_eq!(parted.count(), 1, "once");
}

/// A Welcome that comes again changes nothing, and one for a link that is gone neither.
#[test]
fn greetings_that_come_again() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    stage.events();
    let mut welcome = stage.message(1, 0, &json!({"Welcome": {"count": 5}}));
    stage.send(1, welcome.clone());
    assert!(stage.events().is_empty(), "it is up already");
    welcome["to"] = json!({"incarnation": 0, "link": 77});
    welcome["from"] = json!({"incarnation": 0, "link": 77});
    stage.send(1, welcome.clone());
    assert!(stage.events().is_empty(), "for a link that is not there");
    welcome["to"] = stage.message(1, 0, &json!(null))["to"].clone();
    welcome["from"] = json!({"incarnation": 0, "link": 0});
    let told = Event::IncarnationTooLow {
        broker: BrokerId::new(1),
    };
    for (told, row) in [(vec![told], "of a link that was before"), (vec![], "again")] {
        stage.send(1, welcome.clone());
        assert_eq!(stage.events(), told, "{row}");
    }
    let changes = [interest(&plain("t"), 1, 0)];
    stage.say(1, &interests(&changes, false));
    let joined = stage.world.broker.joined().next().unwrap();
    assert_eq!((joined.interests, joined.is_up), (1, true));
}

/// A turn is a message like others: it waits for a broker that is away, and goes to another one when that
/// is gone for good.
#[test]
fn turns_of_a_broker_that_is_gone_for_good() {
    for (row, is_here, expected) in [("a member here", true, 1), ("none", false, 0)] {
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let changes = [interest(&shared("$share/g/t"), 1, 1)];
        stage.say(1, &interests(&changes, true));
        let who = stage.client("s");
        let sent = stage
            .world
            .broker
            .publish(stage.world.now, message("t", "m", QOS1));
        assert_eq!(sent, 1, "{row}");
        if is_here {
            stage.world.subscribe(who, &[want("$share/g/t", QOS1)]);
        }
        stage
            .world
            .broker
            .forget_joined(stage.world.now, BrokerId::new(1));
        stage.world.settle();
        assert_eq!(stage.world.got(who).len(), expected, "{row}");
        assert_eq!(stage.world.broker.stats().messages, 0, "{row}");
    }
}

/// Two brokers have a session of the same client: the later one is the client's, and what is said of nobody
/// or of one that is older here does no harm.
#[test]
fn sessions_that_others_have() {
    for (row, client_id, since, expected) in [
        ("a later one", "x", u64::from(u32::MAX), (false, 1)),
        ("an older one", "x", 0, (true, 0)),
        ("of nobody here", "y", u64::from(u32::MAX), (true, 0)),
    ] {
        let mut stage = Stage::new(&[], &broker::Config::default());
        let connection = stage.connect(&resuming(100));
        stage.heard_by(connection);
        let mut stage = stage.with(1);
        let said = stage.hear(1);
        let holds = said.iter().find(|body| body.get("Sessions").is_some());
        assert_eq!(
            holds,
            Some(&json!({"Sessions": [{"client_id": "x", "since": 1}]})),
            "{row}"
        );
        stage.events();
        stage.say(
            1,
            &json!({"Sessions": [{"client_id": client_id, "since": since}]}),
        );
        let moved = stage.events();
        let moved = { moved.iter() }.filter(|it| matches!(it, Event::SessionMoved { .. }));
        let is_there = stage.world.broker.session("x").is_some();
        assert_eq!((is_there, moved.count()), expected, "{row}");
        let heard = stage.heard_by(connection);
        let goodbye: &[&str] = if is_there {
            &[]
        } else {
            &["DISCONNECT 8E", "close"]
        };
        assert_eq!(heard, goodbye, "{row}");
    }
}

/// What the older one of two sessions was to get as a member of a shared subscription is another member's, wherever that
/// is, as when a session ends. [5:MQTT-4.8.2-4] But for a QoS 2 message that was sent.
#[test]
fn turns_of_the_older_one_of_two_sessions() {
    let group = "$share/g/t";
    for (row, is_sent, qos, expected) in [
        ("waiting", false, QOS1, 3),
        ("waiting, at QoS 2", false, QoS::ExactlyOnce, 3),
        ("sent", true, QOS1, 3),
        ("sent, at QoS 2", true, QoS::ExactlyOnce, 0),
    ] {
        for (is_here, is_leaving) in [(true, false), (false, false), (true, true), (false, true)] {
            let row = format!("{row}, the other one is here: {is_here}, it leaves: {is_leaving}");
            let mut stage = Stage::new(&[], &broker::Config::default());
            let older = stage.connect(&resuming(100));
            with_subscribe(1, &[want(group, QoS::ExactlyOnce)], |packet| {
                let broker = &mut stage.world.broker;
                Peer::new(V5_0).say(&mut (broker, older), packet);
            });
            stage.heard_by(older);
            let publish = |stage: &mut Stage| {
                for payload in ["0", "1", "2"] {
                    let world = &mut stage.world;
                    world.broker.publish(world.now, message("t", payload, qos));
                }
            };
            if is_sent {
                publish(&mut stage);
                assert_eq!(stage.heard_by(older).len(), 3, "{row}");
            }
            stage.world.broker.handle_close(stage.world.now, older);
            if !is_sent {
                publish(&mut stage);
            }
            let who = is_here.then(|| stage.subscriber("other", group));
            let mut stage = stage.with(1);
            if !is_here {
                let changes = [interest(&shared(group), 1, 1)];
                stage.say(1, &interests(&changes, true));
            }
            stage.hear(1);
            let later = json!({"Sessions": [{"client_id": "x", "since": u32::MAX}]});
            if is_leaving {
                let claim = stamp(50, 1);
                stage.claim(1, &claim, &json!({"Claim": {"clean_start": false}}));
                stage.hear(1);
                stage.claim(1, &claim, &json!({"Declined": {"keeps": false}}));
            } else {
                stage.say(1, &later);
            }
            assert!(stage.world.broker.session("x").is_none(), "{row}");
            let got = match who {
                Some(who) => {
                    stage.world.settle();
                    stage.world.got(who)
                }
                None => stage.hear_messages(1),
            };
            assert_eq!(got.len(), expected, "{row}: {got:?}");
            stage.acknowledge(1);
            assert_eq!(
                stage.world.broker.stats().messages,
                0,
                "{row}: nothing is kept"
            );
        }
    }
}

/// A session is on its way to a broker that is not heard any more, or has no room for it: it stays, unless a third
/// one has told of a later one meanwhile.
#[test]
fn a_session_that_stays_after_all_is_not_the_later_one() {
    let later = u64::from(u32::MAX);
    for (row, told, is_told_as_list, keeps, expected) in [
        ("nothing told, cut", None, true, false, (true, 0)),
        ("a later one, cut", Some(later), true, false, (false, 1)),
        (
            "a later one that began, cut",
            Some(later),
            false,
            false,
            (false, 1),
        ),
        ("an older one, cut", Some(0), true, false, (true, 0)),
        ("nothing told, no room", None, true, true, (true, 0)),
        ("a later one, no room", Some(later), true, true, (false, 1)),
        ("an older one, no room", Some(0), false, true, (true, 0)),
    ] {
        let mut stage = Stage::new(&[], &broker::Config::default());
        let connection = stage.connect(&resuming(100));
        stage.heard_by(connection);
        let mut stage = stage.with(1).with(2);
        for id in [1, 2] {
            stage.hear(id);
        }
        let claim = stamp(50, 1);
        stage.claim(1, &claim, &json!({"Claim": {"clean_start": false}}));
        stage.heard_by(connection);
        stage.events();
        match told {
            Some(since) if is_told_as_list => {
                stage.say(
                    2,
                    &json!({"Sessions": [{"client_id": "x", "since": since}]}),
                );
            }
            Some(since) => stage.claim(2, &stamp(since, 2), &json!("Begun")),
            None => {}
        }
        assert!(stage.world.broker.session("x").is_some(), "{row}: it goes");
        if keeps {
            stage.claim(1, &claim, &json!({"Declined": {"keeps": true}}));
        } else {
            let now = stage.world.now;
            stage.world.broker.part(now, BrokerId::new(1));
        }
        let moved = stage.events();
        let moved = { moved.iter() }.filter(|it| matches!(it, Event::SessionMoved { .. }));
        let is_there = stage.world.broker.session("x").is_some();
        assert_eq!((is_there, moved.count()), expected, "{row}");
        stage.world.pass_secs(101);
        assert!(
            stage.world.broker.session("x").is_none(),
            "{row}: it ends in its time"
        );
    }
}

/// What a broker tells of its sessions when a link comes up has none in it that move. One that stays after all is
/// told then, and one that has come for a client that is elsewhere by now: somebody may have an older one.
#[test]
fn a_session_that_stays_after_all_is_told() {
    let begun = |said: &[Value]| -> Vec<Value> {
        let claims = said.iter().map(|body| &body["Note"]["note"]["Claim"]);
        let begun = claims.filter(|claim| claim["what"] == "Begun");
        begun.map(|claim| claim["stamp"].clone()).collect()
    };
    let tells_none = |said: &[Value]| {
        let lists = said.iter().filter_map(|body| body["Sessions"].as_array());
        lists.flatten().count() == 0
    };
    // It goes, and stays.
    let mut stage = Stage::new(&[], &broker::Config::default());
    let connection = stage.connect(&resuming(100));
    stage.heard_by(connection);
    let mut stage = stage.with(1);
    stage.claim(1, &stamp(50, 1), &json!({"Claim": {"clean_start": false}}));
    let mut stage = stage.with(2);
    let said = stage.hear(2);
    assert!(tells_none(&said), "{said:?}");
    let now = stage.world.now;
    stage.world.broker.part(now, BrokerId::new(1));
    assert_eq!(begun(&stage.hear(2)), [stamp(1, 0)]);
    // It comes, and the third broker, whose client it is by now, is gone before it is here.
    let mut stage = Stage::new(&[1, 3], &broker::Config::default());
    let (_refused, claim) = stage.claimed(1);
    stage.claim(3, &claim, &json!("Unclaimed"));
    stage.piece(1, &claim, &subscribed());
    stage.claim(3, &stamp(50, 3), &json!({"Claim": {"clean_start": false}}));
    let mut stage = stage.with(2);
    let said = stage.hear(2);
    assert!(tells_none(&said), "{said:?}");
    let now = stage.world.now;
    stage.world.broker.part(now, BrokerId::new(3));
    stage.piece(1, &claim, &json!("Done"));
    let session = stage.world.broker.session("x").map(|it| it.connection);
    assert_eq!(session, Some(None), "it is here, without its client");
    assert_eq!(begun(&stage.hear(2)), [claim]);
}

/// A message that is for shared subscriptions alone does not go to ordinary ones, unless it is retained:
/// whoever came to be interested while it was on its way gets it too.
#[test]
fn messages_for_some_subscriptions_alone() {
    for (row, is_plain, retain, expected) in [
        ("for all", true, false, (2, 1)),
        ("for a group alone", false, false, (1, 0)),
        ("for a group, and retained", false, true, (2, 1)),
    ] {
        let mut stage = Stage::new(&[1], &broker::Config::default());
        let who = stage.subscriber("s", "$share/g/t");
        stage.world.subscribe(who, &[want("t", QOS1)]);
        let filter = mqtt_codec::TopicFilter::new("t").unwrap();
        stage.world.broker.subscribe_local(filter).unwrap();
        stage.events();
        let message = message("t", "m", QOS1).with_retain(retain);
        let mut forward = forward(&message, None, &[shared("$share/g/t")]);
        forward["is_plain"] = json!(is_plain);
        if retain {
            forward["stamp"] = stamp(9, 1);
        }
        stage.note(1, &json!({"Forward": forward}));
        stage.world.settle();
        let local = stage.events().into_iter();
        let local = local.filter(|it| matches!(it, Event::Local { .. }));
        assert_eq!(
            (stage.world.got(who).len(), local.count()),
            expected,
            "{row}"
        );
    }
}

/// Of two shared subscriptions for one topic, a turn that comes back goes to its own.
#[test]
fn a_turn_goes_to_its_own_group() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let one = stage.subscriber("one", "$share/g/t");
    let other = stage.subscriber("other", "$share/h/t");
    for (group, expected) in [("$share/g/t", (1, 0)), ("$share/h/t", (0, 1))] {
        let forward = forward(&message("t", "m", QOS1), None, &[shared(group)]);
        stage.note(1, &json!({"Returned": forward}));
        stage.world.settle();
        let got = (stage.world.got(one).len(), stage.world.got(other).len());
        assert_eq!(got, expected, "{group}");
    }
}

/// What has arrived within one run is said when the link comes back, so that nothing comes twice.
#[test]
fn a_new_link_says_what_has_arrived() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let who = stage.subscriber("s", "t");
    let before = stage.open(1)["received"].as_u64().unwrap();
    let note = json!({"Forward": forward(&message("t", "m", QOS1), None, &[])});
    stage.note(1, &note);
    stage.world.settle();
    assert_eq!(stage.world.got(who), ["t=m q1"]);
    assert_eq!(stage.open(1)["received"], before + 1);
    // Said again it is not new; what comes behind it is.
    stage.say(1, &json!({"Note": {"sequence": before + 1, "note": note}}));
    stage.world.settle();
    assert_eq!(stage.world.got(who), [""; 0]);
    stage.say(1, &json!({"Note": {"sequence": before + 2, "note": note}}));
    stage.world.settle();
    assert_eq!(stage.world.got(who), ["t=m q1"]);
    // Another run counts from the beginning.
    stage.restart(1);
    stage.say(1, &json!({"Note": {"sequence": 1, "note": note}}));
    stage.world.settle();
    assert_eq!(stage.world.got(who), ["t=m q1"]);
}

/// A message that is given out in slices is acknowledged when the last of it is stored: the other broker has
/// it until then, and a crash takes nothing back.
#[test]
fn what_is_given_out_in_slices_is_acknowledged_when_all_of_it_is_stored() {
    let config = broker::Config {
        journal: true,
        work_per_call: 2,
        ..broker::Config::default()
    };
    let mut stage = Stage::new(&[1], &config);
    let names = ["a", "b", "c", "d", "e"];
    let subscribers = names.map(|name| {
        let mut connect = connect(V5_0, name);
        connect.properties.session_expiry_secs = Some(60);
        let who = stage.client_that(name, &connect);
        stage.world.subscribe(who, &[want("t", QoS::AtLeastOnce)]);
        who
    });
    let received = |stage: &mut Stage| {
        let (broker, now) = (&mut stage.world.broker, stage.world.now);
        let said = core::iter::from_fn(|| broker.poll_joined(now));
        let said = said.map(|(_, message)| serde_json::to_value(message).unwrap());
        said.last().map(|last| last["received"].clone())
    };
    let store = |stage: &mut Stage| {
        let world = &mut stage.world;
        world.disk.flush(&mut world.broker);
    };
    // Whatever else it says.
    let acknowledged = Some(json!(names.len() + 1));
    stage.hear(1);
    stage.world.disk.lag = usize::MAX;
    let note = json!({"Forward": forward(&message("t", "m", QOS1), None, &[])});
    stage.note(1, &note);
    let now = stage.world.now;
    let is_due = |stage: &Stage| {
        let due = stage.world.broker.poll_timeout();
        due.is_some_and(|due| due.at <= now)
    };
    let mut slices = 1;
    while is_due(&stage) {
        store(&mut stage);
        let said = received(&mut stage);
        assert_ne!(said, acknowledged, "after {slices} of several slices");
        stage.world.broker.handle_timeout(now);
        slices += 1;
    }
    assert_eq!(slices, 3);
    let said = received(&mut stage);
    assert_ne!(said, acknowledged, "the last one is not stored");
    store(&mut stage);
    assert_eq!(received(&mut stage), acknowledged);
    stage.world.disk.lag = 0;
    stage.world.settle();
    for who in subscribers {
        assert_eq!(stage.world.got(who), ["t=m q1"]);
    }
}

/// Five subscribers and one of a group, who get a message of another broker in slices.
fn in_slices() -> Stage {
    let config = broker::Config {
        journal: true,
        work_per_call: 2,
        ..broker::Config::default()
    };
    let mut stage = Stage::new(&[1], &config);
    for name in ["a", "b", "c", "d", "e"] {
        stage.subscriber(name, "t");
    }
    stage.subscriber("g", "$share/g/t");
    stage.hear(1);
    let groups = [shared("$share/g/t")];
    let forward = forward(&message("t", "m", QOS1), None, &groups);
    stage.note(1, &json!({"Forward": forward}));
    let group = mqtt_codec::TopicFilter::new("$share/g/t").unwrap();
    assert!(stage.world.broker.revoke("g", group));
    assert_eq!(
        stage.world.broker.stats().messages,
        1,
        "it is on its way still"
    );
    stage
}

/// Who has sent a message is gone for good, or has begun anew, before all have it: the others get it, the turn
/// that nobody took comes to an end, and nothing is acknowledged that is not known any more.
#[test]
fn the_broker_of_a_message_in_slices_goes() {
    for (row, is_forgotten, expected) in [
        ("gone for good", true, vec![]),
        ("begun anew", false, vec!["returned t=m".to_owned()]),
    ] {
        let mut stage = in_slices();
        let now = stage.world.now;
        if is_forgotten {
            stage.world.broker.forget_joined(now, BrokerId::new(1));
        } else {
            stage.restart(1);
        }
        stage.world.pass(Duration::from_millis(1));
        assert_eq!(stage.hear_messages(1), expected, "{row}");
        if !is_forgotten {
            stage.acknowledge(1);
            let welcome = stage.open(1);
            assert_eq!(
                welcome["received"], 0,
                "{row}: of this run nothing has come"
            );
        }
        let stats = stage.world.broker.stats();
        assert_eq!(stats.messages, 0, "{row}: nothing is kept");
    }
}

/// A note behind a message that is given out in slices is acknowledged behind it.
#[test]
fn what_comes_behind_a_message_in_slices() {
    let mut stage = in_slices();
    let before = stage.world.disk.lag;
    stage.world.disk.lag = usize::MAX;
    let claim = json!({"client_id": "nobody", "stamp": stamp(5, 1), "what": {"Claim": {"clean_start": false}}});
    stage.note(1, &json!({"Claim": claim}));
    let acknowledged = |stage: &mut Stage| {
        let world = &mut stage.world;
        world.disk.flush(&mut world.broker);
        let said = core::iter::from_fn(|| world.broker.poll_joined(world.now));
        let said = said.map(|(_, message)| serde_json::to_value(message).unwrap());
        said.last().map(|last| last["received"].clone())
    };
    let first = acknowledged(&mut stage).unwrap().as_u64().unwrap();
    let now = stage.world.now;
    for _ in 0..5 {
        stage.world.broker.handle_timeout(now);
    }
    let all = acknowledged(&mut stage).unwrap();
    assert_eq!(all, first + 2, "the message and what came behind it");
    stage.world.disk.lag = before;
}

/// Each message is told where it was published, in pieces or not.
#[test]
fn messages_are_told_where_they_were_published() {
    for work_per_call in [2, 1000] {
        let config = broker::Config {
            message_events: true,
            work_per_call,
            ..broker::Config::default()
        };
        let mut stage = Stage::new(&[1], &config);
        let who = ["a", "b", "c", "d"].map(|name| stage.subscriber(name, "t"));
        stage.events();
        stage.note(
            1,
            &json!({"Forward": forward(&message("t", "m", QOS1), None, &[])}),
        );
        stage.world.pass(Duration::from_millis(1));
        let is_told = |event: &Event| matches!(event, Event::Published { .. });
        assert_eq!(stage.events().iter().filter(|it| is_told(it)).count(), 0);
        assert_eq!(who.map(|it| stage.world.got(it).len()), [1; 4]);
        stage
            .world
            .broker
            .publish(stage.world.now, message("t", "n", QOS1));
        stage.world.pass(Duration::from_millis(1));
        assert_eq!(stage.events().iter().filter(|it| is_told(it)).count(), 1);
    }
}

/// What waits and what all goes through take turns: neither has to wait for the end of the other.
#[test]
fn all_that_is_said_on_a_new_link_takes_turns() {
    let mut stage = Stage::new(&[1], &broker::Config::default());
    let who = stage.client("s");
    for number in 0..150 {
        let text = format!("t/{number:03}");
        stage.world.subscribe(who, &[want(&text, QOS1)]);
    }
    stage.greet(1);
    stage.say(1, &interests(&[interest(&plain("u"), 1, 1)], true));
    for _ in 0..6 {
        stage
            .world
            .broker
            .publish(stage.world.now, message("u", "m", QOS1));
    }
    let mut said = Vec::new();
    while let Some((_, message)) = stage.world.broker.poll_joined(stage.world.now) {
        let body = serde_json::to_value(message).unwrap()["body"].take();
        let interests = &body["Interests"];
        if interests.is_object() {
            said.push(format!("interests, last {}", interests["is_last"]));
        } else if body["Note"]["note"]["Forward"].is_object() {
            said.push("message".to_owned());
        }
    }
    let expected = [
        "interests, last false",
        "message",
        "interests, last false",
        "message",
        "interests, last true",
        "message",
        "message",
        "message",
        "message",
    ];
    assert_eq!(said, expected);
}
