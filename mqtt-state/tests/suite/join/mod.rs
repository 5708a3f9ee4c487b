//! Brokers that are joined: what one of them is told, subscribers of the others get.

mod claim;
mod full;
mod late;
mod links;
mod mesh;
mod pieces;
mod roam;
mod said;
pub(crate) mod voice;

use std::collections::BTreeMap;

use mqtt_codec::{Message, QoS, TopicFilter, TopicName};
use mqtt_state::broker::{self, BrokerId, Event, Grant, JoinConfig, JoinError, SubscribeAnswer};

use crate::recorded::Broker;
use crate::wire::{Peer, V3_1_1, V5_0, connect, want};
use crate::world::{Who, World};
use mesh::{Mesh, id, joined};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn what_a_driver_takes_at_once_goes_to_other_brokers_as_well() {
    let mut mesh = Mesh::new(2);
    let subscriber = mesh.subscribed(1, "subscriber", V5_0, "t", QoS::AtMostOnce);
    let world = &mut mesh.worlds[0];
    let (now, who) = (world.now, broker::Peer::default());
    let peer = Peer {
        now,
        ..Peer::new(V5_0)
    };
    let writer = world.broker.accept(now, who).unwrap();
    peer.say(&mut (&mut world.broker, writer), connect(V5_0, "writer"));
    mesh.settle();
    let broker = &mut mesh.worlds[0].broker;
    let input = b"\x30\x05\0\x01t\0x";
    let taken = broker.handle_input_into(now, writer, input, |_, _| true);
    assert_eq!(taken.bytes, input.len());
    mesh.settle();
    assert_eq!(mesh.got(1, subscriber), ["t=x q0"]);
}

#[test]
fn subscribers_of_all_brokers_get_a_message_once() {
    for (publisher_at, version) in [(0, V5_0), (1, V3_1_1), (2, V5_0)] {
        let mut mesh = Mesh::new(3);
        let publisher = mesh.joined(publisher_at, "publisher", version);
        let subscribers = [
            (0, mesh.subscribed(0, "s0", V5_0, "t/#", QoS::ExactlyOnce)),
            (
                0,
                mesh.subscribed(0, "s0b", V3_1_1, "t/+", QoS::ExactlyOnce),
            ),
            (1, mesh.subscribed(1, "s1", V5_0, "t/1", QoS::AtLeastOnce)),
            (2, mesh.subscribed(2, "s2", V3_1_1, "t/+", QoS::AtMostOnce)),
            (2, mesh.subscribed(2, "no", V3_1_1, "u/+", QoS::AtMostOnce)),
        ];
        for qos in QOS {
            mesh.worlds[publisher_at].publish(publisher, "t/1", "m", qos);
            mesh.settle();
            for (place, (at, who)) in subscribers.into_iter().enumerate() {
                let limit = [2, 2, 1, 0][place.min(3)];
                let expected = match place {
                    4 => vec![],
                    _ => vec![format!("t/1=m q{}", u8::from(qos).min(limit))],
                };
                assert_eq!(
                    mesh.got(at, who),
                    expected,
                    "publisher {publisher_at}, {place}"
                );
            }
        }
        assert_eq!(mesh.forwards_len(), 0, "everything is acknowledged");
        let kept: usize = mesh
            .worlds
            .iter()
            .map(|it| it.broker.stats().messages)
            .sum();
        assert_eq!(kept, 0, "nothing is kept");
    }
}

#[test]
fn a_message_goes_only_where_somebody_wants_it() {
    let mut mesh = Mesh::new(3);
    mesh.subscribed(1, "s", V5_0, "t/#", QoS::AtLeastOnce);
    let before = mesh.carried;
    assert_eq!(mesh.publish(0, "u", "m", QoS::AtLeastOnce), 0);
    mesh.settle();
    assert_eq!(mesh.carried, before, "nobody is told");
    assert_eq!(mesh.publish(0, "t/1", "m", QoS::AtLeastOnce), 1);
    mesh.settle();
    assert_eq!(
        mesh.carried,
        before + 2,
        "the message and its acknowledgement"
    );
}

/// The first subscriber of a filter announces it, the last one withdraws it.
#[test]
fn announcements_do_not_grow_with_subscribers() {
    let mut mesh = Mesh::new(2);
    let first = mesh.subscribed(0, "first", V5_0, "t", QoS::AtLeastOnce);
    let interests = |mesh: &Mesh| {
        let mut others = mesh.worlds[1].broker.joined();
        others.next().unwrap().interests
    };
    assert_eq!(interests(&mesh), 1);
    let second = mesh.joined(0, "second", V5_0);
    let before = mesh.carried;
    mesh.worlds[0].subscribe(second, &[want("t", QoS::AtMostOnce)]);
    mesh.settle();
    mesh.worlds[0].disconnect(first);
    mesh.settle();
    assert_eq!(mesh.carried, before, "nothing to say");
    let local = mesh.worlds[0]
        .broker
        .subscribe_local(TopicFilter::new("t").unwrap());
    for _ in 0..2 {
        mesh.worlds[0]
            .broker
            .revoke("second", TopicFilter::new("t").unwrap());
        mesh.settle();
        assert_eq!(interests(&mesh), 1);
        mesh.worlds[0]
            .broker
            .revoke("first", TopicFilter::new("t").unwrap());
    }
    mesh.settle();
    assert_eq!(interests(&mesh), 1, "the embedder wants it");
    mesh.worlds[0].broker.unsubscribe_local(local.unwrap());
    mesh.settle();
    assert_eq!(interests(&mesh), 0);
}

/// A group with members on all three gets each message once.
#[test]
fn a_shared_subscription_over_all_brokers_gets_each_message_once() {
    for policy in [
        broker::SharedPolicy::RoundRobin,
        broker::SharedPolicy::ByPublisher,
        broker::SharedPolicy::LeastBusy,
    ] {
        let mut mesh = Mesh::with(
            3,
            &broker::Config {
                shared_policy: policy,
                ..broker::Config::default()
            },
        );
        let members = [
            (
                0,
                mesh.subscribed(0, "m0", V5_0, "$share/g/t/#", QoS::ExactlyOnce),
            ),
            (
                1,
                mesh.subscribed(1, "m1", V3_1_1, "$share/g/t/#", QoS::AtLeastOnce),
            ),
            (
                1,
                mesh.subscribed(1, "m1b", V5_0, "$share/g/t/#", QoS::AtLeastOnce),
            ),
            (
                2,
                mesh.subscribed(2, "m2", V5_0, "$share/g/t/#", QoS::AtLeastOnce),
            ),
        ];
        // Another group, and one who wants everything.
        let other = mesh.subscribed(2, "other", V5_0, "$share/h/t/1", QoS::AtLeastOnce);
        let plain = mesh.subscribed(1, "plain", V5_0, "t/1", QoS::AtLeastOnce);
        for number in 0..24 {
            mesh.publish(number % 3, "t/1", &number.to_string(), QoS::AtLeastOnce);
            mesh.settle();
        }
        let mut seen = BTreeMap::new();
        for (at, who) in members {
            let got = mesh.got(at, who);
            if policy == broker::SharedPolicy::RoundRobin {
                assert_eq!(got.len(), 6, "each member has its turn: {got:?}");
            }
            for message in got {
                *seen.entry(message).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), 24, "{policy:?}: each message");
        assert!(seen.values().all(|times| *times == 1), "{policy:?}: once");
        assert_eq!(mesh.got(2, other).len(), 24, "{policy:?}");
        assert_eq!(mesh.got(1, plain).len(), 24, "{policy:?}");
    }
}

/// As in one broker: what a member that is away would get goes to one that is not.
#[test]
fn members_that_are_connected_come_first_wherever_they_are() {
    let mut mesh = Mesh::new(2);
    let away = mesh.subscribed(0, "away", V5_0, "$share/g/t", QoS::AtLeastOnce);
    let here = mesh.subscribed(1, "here", V5_0, "$share/g/t", QoS::AtLeastOnce);
    mesh.worlds[0].cut(away);
    mesh.settle();
    for at in [0, 0, 1, 1] {
        mesh.publish(at, "t", "m", QoS::AtLeastOnce);
    }
    mesh.settle();
    assert_eq!(mesh.got(1, here).len(), 4);
    mesh.worlds[1].cut(here);
    mesh.settle();
    for at in [0, 0, 1, 1] {
        mesh.publish(at, "t", "m", QoS::AtLeastOnce);
    }
    mesh.settle();
    mesh.worlds[0].begin_resume(away, V5_0);
    mesh.worlds[1].begin_resume(here, V5_0);
    mesh.settle();
    let got = (mesh.got(0, away).len(), mesh.got(1, here).len());
    assert_eq!(got, (2, 2), "both wait for it");
}

/// [5:MQTT-4.8.2-5] What a member that is gone for good did not get goes to another one.
#[test]
fn what_a_member_did_not_get_goes_to_another_broker() {
    let mut mesh = Mesh::new(2);
    let gone = mesh.subscribed(0, "gone", V5_0, "$share/g/t", QoS::AtLeastOnce);
    mesh.worlds[0].cut(gone);
    mesh.settle();
    assert_eq!(mesh.publish(0, "t", "m", QoS::AtLeastOnce), 1);
    let here = mesh.subscribed(1, "here", V5_0, "$share/g/t", QoS::AtLeastOnce);
    // It comes back with a clean start, which ends its session.
    mesh.worlds[0].join(gone, V5_0);
    mesh.settle();
    assert_eq!(mesh.got(1, here), ["t=m q1"]);
}

/// The member goes while the message is on its way: it comes back, and goes to another one.
#[test]
fn a_turn_that_nobody_can_take_comes_back() {
    let mut mesh = Mesh::new(3);
    let member = mesh.subscribed(1, "member", V5_0, "$share/g/t", QoS::AtLeastOnce);
    let other = mesh.joined(2, "other", V5_0);
    mesh.publish(0, "t", "m", QoS::AtLeastOnce);
    mesh.worlds[1]
        .broker
        .revoke("member", TopicFilter::new("$share/g/t").unwrap());
    mesh.worlds[2].subscribe(other, &[want("$share/g/t", QoS::AtLeastOnce)]);
    // What the third broker says arrives first.
    while mesh.carry_from(2, 0) {}
    mesh.settle();
    assert_eq!(mesh.got(1, member), [""; 0]);
    assert_eq!(mesh.got(2, other), ["t=m q1"]);
    assert_eq!(mesh.forwards_len(), 0);
}

/// The last member here goes while a message is given out in slices, before it has come to the shared
/// subscription: a member elsewhere has the turn, wherever the message was published.
#[test]
fn a_turn_is_not_lost_while_a_message_is_given_out_in_slices() {
    for (row, publisher_at, qos, has_late) in [
        ("published here", 0, QoS::AtLeastOnce, false),
        ("published here, QoS 0", 0, QoS::AtMostOnce, false),
        (
            "published here, and a younger member",
            0,
            QoS::AtLeastOnce,
            true,
        ),
        ("sent on", 2, QoS::AtLeastOnce, false),
        ("sent on, QoS 0", 2, QoS::AtMostOnce, false),
        ("sent on, and a younger member", 2, QoS::AtLeastOnce, true),
    ] {
        let config = broker::Config {
            work_per_call: 2,
            ..broker::Config::default()
        };
        let mut mesh = Mesh::with(3, &config);
        for name in ["r0", "r1", "r2", "r3", "r4", "r5", "r6"] {
            mesh.subscribed(0, name, V5_0, "t", QoS::AtMostOnce);
        }
        mesh.subscribed(0, "gone", V5_0, "$share/g/t", QoS::AtLeastOnce);
        let other = mesh.subscribed(1, "other", V5_0, "$share/g/t", QoS::AtLeastOnce);
        let late = mesh.joined(0, "late", V5_0);
        // Each of the two has a turn.
        let told = ["one", "two"].map(|payload| mesh.publish(publisher_at, "t", payload, qos));
        while mesh.carry_from(2, 0) {}
        mesh.worlds[0]
            .broker
            .revoke("gone", TopicFilter::new("$share/g/t").unwrap());
        if has_late {
            mesh.worlds[0].subscribe(late, &[want("$share/g/t", QoS::AtLeastOnce)]);
        }
        mesh.settle();
        let mut got = mesh.got(1, other);
        got.extend(mesh.got(0, late));
        got.sort();
        let q = u8::from(qos);
        let expected = [format!("t=one q{q}"), format!("t=two q{q}")];
        assert_eq!(got, expected, "{row}: each once, {told:?}");
        assert_eq!(mesh.forwards_len(), 0, "{row}");
        let stats = mesh.worlds.iter().map(|it| it.broker.stats().messages);
        assert_eq!(stats.sum::<usize>(), 0, "{row}: nothing is kept");
    }
}

/// A member of a group that may not have what these filters match.
fn member(mesh: &mut Mesh, at: usize, name: &'static str, deny: &[&str]) -> Who {
    let who = mesh.joined(at, name, V5_0);
    mesh.worlds[at].subscribe(who, &[want("$share/g/#", QoS::ExactlyOnce)]);
    let world = &mut mesh.worlds[at];
    let asked = world
        .broker_events()
        .into_iter()
        .find_map(|event| match event {
            Event::AuthorizeSubscribe { decision, .. } => Some(decision),
            _ => None,
        });
    let grant = Grant {
        deny: deny.iter().map(|&filter| filter.to_owned()).collect(),
        ..Grant::default()
    };
    let answer = SubscribeAnswer::Grant(grant);
    let decided = world
        .broker
        .decide_subscribe(world.now, asked.unwrap(), answer);
    assert_eq!(decided, Ok(()));
    mesh.settle();
    mesh.worlds[at].events(who);
    who
}

/// As at one broker: who may not have a message is passed over, also where that are all members of a group
/// at one broker, and its turn is that of one elsewhere.
#[test]
fn a_turn_goes_to_who_may_have_it_wherever_that_is() {
    let names = [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]];
    for (row, may_not, may) in [
        ("another one", &[1][..], Some(2)),
        ("where it was published", &[1], Some(0)),
        ("not where it was published", &[0], Some(1)),
        ("the last one", &[0, 1], Some(2)),
        ("the last one, where it was published", &[1, 2], Some(0)),
        ("nobody", &[0, 1, 2], None),
    ] {
        for (qos, work_per_call) in QOS.into_iter().flat_map(|qos| [(qos, 4096), (qos, 2)]) {
            let row = format!("{row}, {qos:?}, {work_per_call}");
            let mut base = broker::Config {
                work_per_call,
                ..broker::Config::default()
            };
            base.ask.subscribe = true;
            let mut mesh = Mesh::with(3, &base);
            for at in may_not {
                for name in names[*at] {
                    member(&mut mesh, *at, name, &["secret/#"]);
                }
            }
            let who = may.map(|at| (at, member(&mut mesh, at, names[at][0], &["t"])));
            let payloads = ["1", "2", "3", "4", "5", "6"];
            for payload in payloads {
                mesh.publish(0, "secret/t", payload, qos);
                mesh.settle();
            }
            let got = who.map(|(at, who)| mesh.got(at, who));
            let q = u8::from(qos);
            let expected = payloads.map(|it| format!("secret/t={it} q{q}")).to_vec();
            assert_eq!(got, may.map(|_| expected), "{row}");
            assert_eq!(mesh.forwards_len(), 0, "{row}");
            let stats = mesh.worlds.iter().map(|it| it.broker.stats().messages);
            assert_eq!(stats.sum::<usize>(), 0, "{row}: nothing is kept");
        }
    }
}

#[test]
fn a_retained_message_is_read_at_another_broker() {
    let mut mesh = Mesh::new(3);
    let publisher = mesh.joined(0, "publisher", V5_0);
    mesh.worlds[0].publish_retained(publisher, "t/1", "one", QoS::AtLeastOnce);
    mesh.settle();
    let late = mesh.joined(2, "late", V5_0);
    mesh.worlds[2].subscribe(late, &[want("t/#", QoS::AtLeastOnce)]);
    assert_eq!(mesh.got(2, late), ["t/1=one q1 retain"]);
    mesh.settle();
    // Replaced and cleared from elsewhere: the subscriber hears of both as they happen.
    let message = Message::new("t/1", "two").unwrap().with_retain(true);
    mesh.send(1, message);
    mesh.settle();
    assert_eq!(mesh.got(2, late), ["t/1=two q0"]);
    let topic = TopicName::new("t/1").unwrap();
    for world in &mesh.worlds {
        assert_eq!(world.broker.retained(topic).unwrap().payload(), b"two");
    }
    let message = Message::new("t/1", "").unwrap().with_retain(true);
    mesh.send(0, message);
    mesh.settle();
    assert_eq!(mesh.got(2, late), ["t/1= q0"]);
    for world in &mesh.worlds {
        assert!(world.broker.retained(topic).is_none());
    }
}

/// Whoever subscribes while a retained message is on its way gets it, and gets it once.
#[test]
fn no_retained_message_passes_a_subscriber_by() {
    for known in 0..8 {
        for carried in 0..4 {
            let mut mesh = Mesh::new(2);
            let who = mesh.joined(1, "s", V5_0);
            mesh.worlds[1].subscribe(who, &[want("t", QoS::AtLeastOnce)]);
            // The other broker has heard of it, or not.
            for _ in 0..known {
                mesh.carry();
            }
            let message = Message::new("t", "m").unwrap().with_retain(true);
            mesh.send(0, message.with_qos(QoS::AtLeastOnce));
            for _ in 0..carried {
                mesh.carry();
            }
            mesh.settle();
            assert_eq!(mesh.got(1, who), ["t=m q1"], "{known}, {carried}");
        }
    }
}

#[test]
fn of_retained_messages_the_newer_one_stays_after_a_cut() {
    let mut mesh = Mesh::new(2);
    let set = |mesh: &mut Mesh, at: usize, topic: &str, payload: &str| {
        let message = Message::new(topic, payload.to_owned()).unwrap();
        mesh.send(at, message.with_retain(true));
    };
    for topic in ["both", "cleared", "old", "expires"] {
        set(&mut mesh, 0, topic, "before");
    }
    mesh.settle();
    mesh.cut(0, 1);
    set(&mut mesh, 0, "both", "first");
    set(&mut mesh, 1, "both", "second");
    set(&mut mesh, 1, "both", "third");
    set(&mut mesh, 1, "cleared", "");
    set(&mut mesh, 0, "new", "new");
    // Set and cleared again.
    set(&mut mesh, 0, "old", "");
    set(&mut mesh, 0, "old", "after");
    mesh.settle();
    mesh.heal(0, 1);
    mesh.settle();
    let expected = [
        ("both", Some("third")),
        ("cleared", None),
        ("new", Some("new")),
        ("old", Some("after")),
        ("expires", Some("before")),
    ];
    for (topic, payload) in expected {
        for world in &mesh.worlds {
            let kept = world.broker.retained(TopicName::new(topic).unwrap());
            let kept = kept.map(|message| String::from_utf8_lossy(message.payload()).into_owned());
            assert_eq!(kept.as_deref(), payload, "{topic}");
        }
    }
}

/// Found by a simulation: where a newer one expired, on its way or before a link came back, other brokers
/// kept the older one, or brought it back.
#[test]
fn a_retained_message_that_expires_takes_the_place_of_an_older_one() {
    // Where the older one comes from, and whether the newer one's broker has known it.
    for (row, older_at, is_known) in [("known to both", 0, true), ("of the other one", 1, false)] {
        let mut mesh = Mesh::new(2);
        let topic = TopicName::new("t").unwrap();
        let older = Message::new("t", "older").unwrap().with_retain(true);
        if !is_known {
            mesh.cut(0, 1);
        }
        mesh.send(older_at, older);
        mesh.settle();
        if is_known {
            mesh.cut(0, 1);
        } else {
            // Its count is the greater one.
            mesh.send(0, Message::new("u", "").unwrap().with_retain(true));
        }
        let properties = mqtt_codec::PublishProperties {
            message_expiry_secs: Some(5),
            ..Default::default()
        };
        let newer = Message::new("t", "newer").unwrap().with_retain(true);
        mesh.send(0, newer.with_properties(&properties).unwrap());
        mesh.pass_secs(10);
        mesh.heal(0, 1);
        mesh.settle();
        for world in &mesh.worlds {
            assert_eq!(world.broker.retained(topic), None, "{row}");
        }
    }
}

/// [5:MQTT-3.8.3-3] Wherever a client publishes, it does not hear itself.
#[test]
fn no_local_holds_and_the_flags_travel() {
    let mut mesh = Mesh::new(2);
    let mut options = want("t", QoS::AtLeastOnce);
    options.options.no_local = true;
    options.options.retain_as_published = true;
    let (own, other) = (mesh.joined(0, "own", V5_0), mesh.joined(1, "other", V5_0));
    mesh.worlds[0].subscribe(own, &[options]);
    mesh.worlds[1].subscribe(other, &[options]);
    mesh.settle();
    mesh.worlds[0].publish_retained(own, "t", "m", QoS::AtLeastOnce);
    mesh.settle();
    assert_eq!(mesh.got(0, own), [""; 0]);
    assert_eq!(mesh.got(1, other), ["t=m q1 retain"], "retain as published");
}

#[test]
fn a_will_reaches_subscribers_of_other_brokers() {
    let mut mesh = Mesh::new(2);
    let subscriber = mesh.subscribed(1, "s", V5_0, "will", QoS::AtLeastOnce);
    let who = mesh.worlds[0].client("mortal");
    let mut connect = connect(V5_0, "mortal");
    let mut will = mqtt_codec::Will::new(
        TopicName::new("will").unwrap(),
        mqtt_codec::Binary::new(b"gone").unwrap(),
    );
    will.qos = QoS::AtLeastOnce;
    connect.will = Some(will);
    mesh.worlds[0].connect(who, &connect);
    mesh.settle();
    mesh.worlds[0].cut(who);
    mesh.settle();
    assert_eq!(mesh.got(1, subscriber), ["will=gone q1"]);
}

#[test]
fn each_broker_keeps_its_own_figures() {
    let mut mesh = Mesh::new(2);
    let subscriber = mesh.subscribed(1, "s", V5_0, "$SYS/#", QoS::AtLeastOnce);
    mesh.publish(0, "$SYS/broker/uptime", "1", QoS::AtLeastOnce);
    mesh.settle();
    assert_eq!(mesh.got(1, subscriber), [""; 0]);
    mesh.publish(1, "$SYS/broker/uptime", "2", QoS::AtLeastOnce);
    mesh.settle();
    assert_eq!(mesh.got(1, subscriber), ["$SYS/broker/uptime=2 q1"]);
}

#[test]
fn a_local_subscription_hears_other_brokers() {
    let mut mesh = Mesh::new(2);
    let filter = TopicFilter::new("t/#").unwrap();
    let local = mesh.worlds[1].broker.subscribe_local(filter).unwrap();
    mesh.settle();
    mesh.publish(0, "t/1", "m", QoS::AtMostOnce);
    mesh.settle();
    let mut heard = mesh.events.iter().filter_map(|(at, event)| match event {
        Event::Local {
            subscription,
            message,
        } => Some((*at, *subscription, message.topic().to_string())),
        _ => None,
    });
    assert_eq!(heard.next(), Some((1, local, "t/1".to_owned())));
    assert_eq!(heard.next(), None);
}

#[test]
fn messages_expire_on_the_way() {
    let mut mesh = Mesh::new(2);
    let subscriber = mesh.subscribed(1, "s", V5_0, "t", QoS::AtLeastOnce);
    mesh.cut(0, 1);
    for (payload, secs) in [("short", 5), ("long", 100)] {
        let properties = mqtt_codec::PublishProperties {
            message_expiry_secs: Some(secs),
            ..Default::default()
        };
        let message = Message::new("t", payload)
            .unwrap()
            .with_qos(QoS::AtLeastOnce);
        mesh.send(0, message.with_properties(&properties).unwrap());
    }
    mesh.pass_secs(10);
    mesh.heal(0, 1);
    mesh.settle();
    let messages = mesh.worlds[1].messages(subscriber);
    let [message] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(message.payload(), b"long");
    // [5:MQTT-3.3.2-6] What is left of it, over both brokers.
    assert_eq!(message.properties().message_expiry_secs, Some(90));
}

#[test]
fn who_cannot_be_joined() {
    let mut alone = Broker::new(broker::Config::default());
    let now = mqtt_state::Timestamp::ZERO;
    assert_eq!(alone.join(now, id(1)), Err(JoinError::NotConfigured));
    alone.part(now, id(1));
    alone.forget_joined(now, id(1));
    let hello =
        r#"{"from":{"incarnation":0,"link":1},"to":null,"number":0,"received":0,"body":"Hello"}"#;
    alone.handle_joined(now, id(1), serde_json::from_str(hello).unwrap());
    assert_eq!(alone.poll_joined(now), None, "it says nothing");
    assert_eq!(alone.joined().count(), 0);
    let mut broker = Broker::new(joined(JoinConfig {
        id: id(1),
        brokers_max: 1,
        ..JoinConfig::default()
    }));
    assert_eq!(broker.join(now, id(1)), Err(JoinError::SameBroker));
    assert_eq!(broker.join(now, id(2)), Ok(()));
    assert_eq!(broker.join(now, id(2)), Ok(()), "again");
    assert_eq!(broker.join(now, id(3)), Err(JoinError::TooManyBrokers));
    broker.forget_joined(now, id(3));
    assert_eq!(broker.join(now, id(3)), Err(JoinError::TooManyBrokers));
    broker.forget_joined(now, id(2));
    assert_eq!(broker.join(now, id(3)), Ok(()));
    assert_eq!(BrokerId::new(3).to_string(), "3");
}

/// What waits for a broker has limits, and what is dropped there is told.
#[test]
fn what_waits_for_a_broker_is_bounded() {
    for (row, len_max, bytes_max, expected) in
        [("count", 3, usize::MAX, 3), ("bytes", usize::MAX, 10, 2)]
    {
        let config = joined(JoinConfig {
            forwards_len_max: len_max,
            forwards_bytes_max: bytes_max,
            ..JoinConfig::default()
        });
        let mut mesh = Mesh::with(2, &config);
        let subscriber = mesh.subscribed(1, "s", V5_0, "t", QoS::AtLeastOnce);
        mesh.cut(0, 1);
        for number in 0..5 {
            // One byte of topic, four of payload.
            mesh.publish(0, "t", &format!("{number:04}"), QoS::AtLeastOnce);
            mesh.publish(0, "t", "none", QoS::AtMostOnce);
        }
        mesh.settle();
        let events = core::mem::take(&mut mesh.events);
        let dropped = { events.iter() }.filter(
            |(_, event)| matches!(event, Event::NotForwarded { broker, .. } if *broker == id(1)),
        );
        assert_eq!(dropped.count(), 5 - expected, "{row}");
        mesh.heal(0, 1);
        mesh.settle();
        let got = mesh.got(1, subscriber);
        let all: Vec<_> = (0..expected)
            .map(|number| format!("t={number:04} q1"))
            .collect();
        assert_eq!(got, all, "{row}: the first ones, in their order");
    }
}

/// A world of one broker is what it was.
#[test]
fn a_broker_that_may_be_joined_and_is_not() {
    let mut world = World::with(mesh::config(7, &broker::Config::default()));
    let who = world.subscribed("s", V5_0, "t", QoS::AtLeastOnce);
    let message = Message::new("t", "m").unwrap();
    assert_eq!(world.broker.publish(world.now, message), 1);
    world.settle();
    assert_eq!(world.got(who), ["t=m q0"]);
    assert_eq!(world.broker.poll_joined(world.now), None);
}
