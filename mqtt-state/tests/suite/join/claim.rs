//! A client identifier is taken over from one broker by another.

use std::collections::BTreeSet;

use mqtt_codec::{Connect, DisconnectReason, QoS};
use mqtt_state::CloseCause;
use mqtt_state::broker::{self, ConnectionId, Event, JoinConfig, Peer as Who};

use super::mesh::{Mesh, joined};
use crate::recorded::Broker;
use crate::wire::{Peer, V3_1_1, V5_0, connect, text, want, with_subscribe};

/// What a client hears that speaks to one of the brokers packet by packet.
struct Line {
    peer: Peer,
    at: usize,
    connection: ConnectionId,
}

impl Line {
    fn open(mesh: &mut Mesh, at: usize, connect: &Connect<'_>) -> Self {
        let world = &mut mesh.worlds[at];
        let mut peer = Peer::new(connect.version);
        peer.now = world.now;
        let connection = world.broker.accept(world.now, Who::default()).unwrap();
        let line = Self {
            peer,
            at,
            connection,
        };
        line.say(mesh, *connect);
        line
    }

    fn say<'p>(&self, mesh: &mut Mesh, packet: impl Into<mqtt_codec::Packet<'p>>) {
        let broker = &mut mesh.worlds[self.at].broker;
        self.peer.say(&mut (broker, self.connection), packet);
    }

    fn hear(&self, mesh: &mut Mesh) -> Vec<String> {
        mesh.settle();
        let broker = &mut mesh.worlds[self.at].broker;
        let heard = self.peer.hear(&mut (broker, self.connection));
        mesh.worlds[self.at].drained(self.connection);
        mesh.settle();
        heard
    }
}

fn resuming(version: mqtt_codec::ProtocolVersion, secs: u32) -> Connect<'static> {
    let mut connect = Connect {
        clean_start: false,
        ..connect(version, "x")
    };
    if version == V5_0 {
        connect.properties.session_expiry_secs = Some(secs);
    }
    connect
}

fn ended(mesh: &Mesh, at: usize) -> Vec<String> {
    let events = mesh.events.iter().filter(|(place, _)| *place == at);
    let shown = events.filter_map(|(_, event)| match event {
        Event::Closed { cause, .. } => Some(format!("{cause:?}")),
        Event::SessionMoved { client_id, broker } => Some(format!("{client_id} to {broker}")),
        Event::SessionEnded { client_id } => Some(format!("{client_id} ended")),
        Event::WillPublished { topic, .. } => Some(format!("will {topic}")),
        _ => None,
    });
    shown.collect()
}

/// [5:MQTT-3.1.4-3] [3:MQTT-3.1.4-2] The older connection ends, wherever it is; its session goes on where
/// the client is.
#[test]
fn a_session_goes_where_its_client_is() {
    for (version, goodbye) in [
        (V5_0, &["DISCONNECT 8E", "close"][..]),
        (V3_1_1, &["close"]),
    ] {
        let mut mesh = Mesh::new(3);
        let first = Line::open(&mut mesh, 0, &resuming(version, 100));
        let connack = first.hear(&mut mesh);
        assert!(connack[0].starts_with("CONNACK"), "{connack:?}");
        with_subscribe(1, &[want("t/#", QoS::ExactlyOnce)], |packet| {
            first.say(&mut mesh, packet);
        });
        first.hear(&mut mesh);
        let second = Line::open(&mut mesh, 1, &resuming(version, 100));
        let connack = second.hear(&mut mesh);
        assert!(connack[0].contains("present"), "{connack:?}");
        assert_eq!(first.hear(&mut mesh), goodbye, "{version:?}");
        let cause = CloseCause::Disconnected(DisconnectReason::SessionTakenOver);
        assert_eq!(ended(&mesh, 0), [format!("{cause:?}"), "x to 1".to_owned()]);
        for world in [0, 2] {
            assert!(mesh.worlds[world].broker.session("x").is_none());
        }
        // It is subscribed where it is.
        for at in 0..3 {
            mesh.publish(at, "t/1", "m", QoS::AtMostOnce);
            let heard = second.hear(&mut mesh);
            assert_eq!(heard.len(), 1, "from {at}: {heard:?}");
            assert!(heard[0].starts_with("PUBLISH"), "{heard:?}");
        }
    }
}

#[test]
fn what_is_not_to_be_kept_is_not() {
    for (row, first, second, expected) in [
        (
            "clean start",
            resuming(V5_0, 100),
            connect(V5_0, "x"),
            &["x ended"][..],
        ),
        (
            "no expiry",
            resuming(V5_0, 0),
            resuming(V5_0, 100),
            &["x ended"],
        ),
        (
            "kept",
            resuming(V5_0, 100),
            resuming(V5_0, 100),
            &["x to 1"],
        ),
    ] {
        let mut mesh = Mesh::new(2);
        let first = Line::open(&mut mesh, 0, &first);
        first.hear(&mut mesh);
        let second = Line::open(&mut mesh, 1, &second);
        let connack = second.hear(&mut mesh);
        assert_eq!(
            connack[0].contains("present"),
            row == "kept",
            "{row}: {connack:?}"
        );
        assert_eq!(ended(&mesh, 0)[1..], *expected, "{row}");
        assert!(mesh.worlds[0].broker.session("x").is_none(), "{row}");
        assert!(mesh.worlds[1].broker.session("x").is_some(), "{row}");
    }
}

/// The cases of a take-over at one broker, between two.
#[test]
fn wills_are_published_as_at_one_broker() {
    for (row, delay_secs, expiry_secs, clean_start, published) in [
        ("at once", 0, 100, false, true),
        ("delayed, and back in time", 50, 100, false, false),
        ("delayed, but its session ends", 50, 100, true, true),
        (
            "a session that ends with its connection",
            50,
            0,
            false,
            true,
        ),
    ] {
        for brokers in [1, 2] {
            let mut mesh = Mesh::new(brokers);
            let mut first = resuming(V5_0, expiry_secs);
            let topic = mqtt_codec::TopicName::new("will").unwrap();
            let payload = mqtt_codec::Binary::new(b"gone").unwrap();
            let mut will = mqtt_codec::Will::new(topic, payload);
            will.properties.delay_secs = Some(delay_secs);
            first.will = Some(will);
            Line::open(&mut mesh, 0, &first).hear(&mut mesh);
            let watcher = mesh.subscribed(0, "watcher", V5_0, "will", QoS::AtMostOnce);
            let second = Connect {
                clean_start,
                ..resuming(V5_0, 100)
            };
            Line::open(&mut mesh, brokers - 1, &second).hear(&mut mesh);
            mesh.pass_secs(60);
            let got = mesh.got(0, watcher).len();
            assert_eq!(got, usize::from(published), "{row}, {brokers}");
        }
    }
}

/// Messages that wait and messages in flight go along, in their order and with their identifiers.
#[test]
fn what_a_session_holds_goes_along() {
    let mut mesh = Mesh::new(3);
    let here = mesh.subscribed(0, "x", V5_0, "t", QoS::ExactlyOnce);
    let there = mesh.worlds[1].client("x");
    // In every state: the network fails behind each number of packets.
    for packets in 0..12 {
        let (from, to) = match packets % 2 {
            0 => ((0, here), (1, there)),
            _ => ((1, there), (0, here)),
        };
        for number in 0..4 {
            let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][number % 2];
            mesh.publish(2, "t", &format!("{packets}-{number}"), qos);
        }
        while mesh.carry() {}
        mesh.worlds[from.0].settle_for(packets);
        let mut got = mesh.got(from.0, from.1);
        mesh.roam(from, to, packets % 3 == 0);
        mesh.publish(2, "t", &format!("{packets}-4"), QoS::AtLeastOnce);
        mesh.worlds[to.0].begin_resume(to.1, V5_0);
        mesh.settle();
        got.extend(mesh.got(to.0, to.1));
        let once: Vec<_> = { got.iter() }.filter(|it| it.ends_with("q2")).collect();
        assert_eq!(once.len(), 2, "{packets}: {got:?}");
        // What was not acknowledged at QoS 1 comes again.
        let mut seen = Vec::new();
        for message in got {
            if !seen.contains(&message) {
                seen.push(message);
            }
        }
        let of = |qos: &str| -> Vec<_> {
            let all = seen.iter().filter(|it| it.ends_with(qos));
            all.map(|it| it[..it.len() - 3].rsplit('-').next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(of("q1"), ["0", "2", "4"], "{packets}");
        assert_eq!(of("q2"), ["1", "3"], "{packets}");
    }
    assert_eq!(mesh.forwards_len(), 0);
    let stats = mesh.worlds.iter().map(|world| world.broker.stats());
    let kept: usize = stats.map(|stats| stats.messages).sum();
    assert_eq!(kept, 0);
}

/// Two brokers at the same time: the client is where it connected last, by the stamps of the claims.
#[test]
fn two_claims_at_once() {
    for carried in 0..40 {
        let mut mesh = Mesh::new(3);
        let owner = Line::open(&mut mesh, 0, &resuming(V5_0, 100));
        owner.hear(&mut mesh);
        let lines = [1, 2].map(|at| Line::open(&mut mesh, at, &resuming(V5_0, 100)));
        for _ in 0..carried {
            mesh.carry();
        }
        mesh.settle();
        let sessions = mesh.worlds.iter().map(|world| {
            let session = world.broker.session("x");
            session.map(|session| session.connection.is_some())
        });
        let sessions: Vec<_> = sessions.collect();
        let connected = sessions.iter().filter(|it| **it == Some(true)).count();
        let all = sessions.iter().flatten().count();
        assert_eq!((connected, all), (1, 1), "{carried}: {sessions:?}");
        let heard = lines.map(|line| line.hear(&mut mesh));
        let present = { heard.iter() }.filter(|it| it[0].contains("present"));
        assert!(present.count() >= 1, "{carried}: {heard:?}");
    }
}

/// The older one of two connections that wait for the same claim is refused.
#[test]
fn two_connections_behind_one_claim() {
    let mut mesh = Mesh::new(2);
    Line::open(&mut mesh, 0, &resuming(V5_0, 100)).hear(&mut mesh);
    let older = Line::open(&mut mesh, 1, &resuming(V5_0, 100));
    let newer = Line::open(&mut mesh, 1, &resuming(V5_0, 100));
    let heard = newer.hear(&mut mesh);
    assert!(heard[0].contains("present"), "{heard:?}");
    let heard = older.hear(&mut mesh);
    assert!(heard[0].contains("89"), "{heard:?}");
    assert_eq!(heard[1], "close");
}

/// However a connection ends that waits for its session, DISCONNECT is nothing that goes before CONNACK.
/// [5:MQTT-3.14.0-1]
#[test]
fn nobody_hears_disconnect_while_a_session_is_looked_for() {
    type End = fn(&mut Mesh, &Line);
    let disconnected: [End; 2] = [
        |mesh, line| {
            let (now, broker) = (mesh.worlds[1].now, &mut mesh.worlds[1].broker);
            broker.disconnect(now, line.connection, DisconnectReason::ServerBusy);
        },
        |mesh, line| {
            let (now, broker) = (mesh.worlds[1].now, &mut mesh.worlds[1].broker);
            broker.disconnect(now, line.connection, DisconnectReason::SessionTakenOver);
        },
    ];
    let drained: [End; 2] = [
        |mesh, _| {
            let (now, broker) = (mesh.worlds[1].now, &mut mesh.worlds[1].broker);
            broker.drain(
                now,
                broker::Drain {
                    reason: DisconnectReason::ServerMoved,
                    ..broker::Drain::default()
                },
            );
        },
        |mesh, _| {
            let (now, broker) = (mesh.worlds[1].now, &mut mesh.worlds[1].broker);
            broker.shutdown(now);
        },
    ];
    let newer: [End; 3] = [
        |mesh, line| {
            Line::open(mesh, 1, &resuming(line.peer.version, 100));
        },
        // By a claim of a third broker, and by one that has no session from before.
        |mesh, line| {
            Line::open(mesh, 2, &resuming(line.peer.version, 100));
            while mesh.carry_from(2, 1) {}
        },
        |mesh, line| {
            Line::open(mesh, 2, &connect(line.peer.version, "x"));
            while mesh.carry_from(2, 1) {}
        },
    ];
    // The session that comes ends where it is.
    let begun: [End; 2] = [
        |mesh, _| {
            while mesh.carry_from(1, 0) {}
            while mesh.carry_from(0, 1) {}
            Line::open(mesh, 0, &connect(V5_0, "x"));
            while mesh.carry_from(0, 1) {}
        },
        // Behind a CONNACK that nobody has polled yet.
        |mesh, line| {
            mesh.settle();
            Line::open(mesh, 2, &connect(line.peer.version, "x"));
            while mesh.carry_from(2, 1) {}
        },
    ];
    let busy: [&[&str]; 2] = [&["CONNACK 89", "close"], &["CONNACK 88", "close"]];
    for (row, end, heard) in [
        ("by the embedder", disconnected[0], busy),
        (
            "by the embedder, with no code for that",
            disconnected[1],
            [&["close"][..]; 2],
        ),
        (
            "drained",
            drained[0],
            [&["CONNACK 9D", "close"], &["close"]],
        ),
        ("shut down", drained[1], [&["close"]; 2]),
        ("a newer one here", newer[0], busy),
        ("a newer one elsewhere", newer[1], busy),
        ("a newer one elsewhere, clean", newer[2], busy),
        ("one where its session was", begun[0], busy),
        (
            "behind its CONNACK",
            begun[1],
            [
                &["CONNACK 00 present", "DISCONNECT 8E", "close"],
                &["CONNACK 00 present", "close"],
            ],
        ),
    ] {
        for (version, expected) in [(V5_0, heard[0]), (V3_1_1, heard[1])] {
            let mut mesh = Mesh::new(3);
            Line::open(&mut mesh, 0, &resuming(version, 100)).hear(&mut mesh);
            let line = Line::open(&mut mesh, 1, &resuming(version, 100));
            end(&mut mesh, &line);
            assert_eq!(line.hear(&mut mesh), expected, "{row}, {version}");
        }
    }
}

/// A broker that drains lets nobody in, also if the answers of the others come between two of its goodbyes. A
/// session that has come stays.
#[test]
fn nobody_is_let_in_between_two_goodbyes() {
    for (row, has_session) in [("a session comes", true), ("there is none", false)] {
        for (version, expected) in [
            (V5_0, &["CONNACK 9D", "close"][..]),
            (V3_1_1, &["close"][..]),
        ] {
            let base = broker::Config {
                work_per_call: 1,
                ..broker::Config::default()
            };
            let mut mesh = Mesh::with(2, &base);
            for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
                mesh.joined(1, name, V5_0);
            }
            if has_session {
                Line::open(&mut mesh, 0, &resuming(version, 100)).hear(&mut mesh);
            }
            let line = Line::open(&mut mesh, 1, &resuming(version, 100));
            let world = &mut mesh.worlds[1];
            let drain = broker::Drain {
                reason: DisconnectReason::ServerMoved,
                ..broker::Drain::default()
            };
            world.broker.drain(world.now, drain);
            while mesh.carry() {}
            let connected = mesh.worlds[1].broker.stats().clients;
            assert!(connected > 0, "{row}, {version}: it drains still");
            let session = mesh.worlds[1].broker.session("x");
            let found = session.map(|session| session.connection);
            assert_eq!(found, has_session.then_some(None), "{row}, {version}");
            assert_eq!(line.hear(&mut mesh), expected, "{row}, {version}");
            mesh.pass_secs(1000);
            assert_eq!(
                mesh.worlds[1].broker.session("x").is_some(),
                has_session && version == V3_1_1,
                "{row}, {version}"
            );
        }
    }
}

/// A client that does not wait for its CONNACK leaves a session that goes on without it.
#[test]
fn the_client_is_gone_before_its_session_has_come() {
    let mut mesh = Mesh::new(2);
    Line::open(&mut mesh, 0, &resuming(V5_0, 100)).hear(&mut mesh);
    let line = Line::open(&mut mesh, 1, &resuming(V5_0, 100));
    mesh.carry();
    let world = &mut mesh.worlds[1];
    world.broker.handle_close(world.now, line.connection);
    mesh.settle();
    let session = mesh.worlds[1].broker.session("x").map(|it| it.connection);
    assert_eq!(session, Some(None), "it has moved");
    mesh.pass_secs(101);
    let sessions = mesh
        .worlds
        .iter()
        .map(|world| world.broker.stats().sessions);
    assert_eq!(sessions.sum::<usize>(), 0, "and ends in its time");
}

/// Whatever is cut while a session moves, the client gets an answer, and has one session after all.
#[test]
fn links_are_cut_while_a_session_moves() {
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        for position in 0..40 {
            let mut mesh = Mesh::new(3);
            Line::open(&mut mesh, 0, &resuming(V5_0, 1000)).hear(&mut mesh);
            let line = Line::open(&mut mesh, 1, &resuming(V5_0, 1000));
            for _ in 0..position {
                mesh.carry();
            }
            mesh.cut(one, other);
            let row = format!("{one} from {other} at {position}");
            let heard = line.hear(&mut mesh);
            let connack = heard.first().is_some_and(|it| it.starts_with("CONNACK"));
            assert!(connack, "{row}: {heard:?}");
            mesh.heal(one, other);
            mesh.settle();
            let sessions = mesh.worlds.iter().map(|world| {
                let session = world.broker.session("x");
                session.map(|session| session.connection.is_some())
            });
            let sessions: Vec<_> = sessions.collect();
            assert_eq!(sessions, [None, Some(true), None], "{row}");
        }
    }
}

/// Found by a simulation: a claim did not ask a broker whose link came up behind it, and what that one told
/// of its sessions said nothing yet. The client had two sessions from then on.
#[test]
fn a_link_comes_up_while_a_session_is_looked_for() {
    for position in 0..12 {
        let mut mesh = Mesh::new(3);
        Line::open(&mut mesh, 0, &resuming(V5_0, 1000)).hear(&mut mesh);
        mesh.cut(0, 2);
        mesh.settle();
        let line = Line::open(&mut mesh, 2, &resuming(V5_0, 1000));
        mesh.heal(0, 2);
        // Those two hear of each other before the third one answers.
        for _ in 0..position {
            mesh.carry_from(0, 2);
            mesh.carry_from(2, 0);
        }
        let heard = line.hear(&mut mesh);
        let sessions = mesh.worlds.iter().map(|world| {
            let session = world.broker.session("x");
            session.map(|session| session.connection.is_some())
        });
        let sessions: Vec<_> = sessions.collect();
        assert_eq!(sessions, [None, None, Some(true)], "{position}: {heard:?}");
        assert!(heard[0].contains("present"), "{position}: {heard:?}");
    }
}

/// Found by a simulation: both brokers had told what sessions they have, and one of them began its own anew,
/// which no claim had to tell of. Each took its own for the later one, and the client had two from then on.
#[test]
fn a_session_begins_anew_after_it_was_told_of() {
    let every = (0..8).flat_map(|there| (0..8).map(move |back| (there, back)));
    for (there, back) in every {
        let mut mesh = Mesh::new(3);
        Line::open(&mut mesh, 0, &resuming(V5_0, 1000)).hear(&mut mesh);
        mesh.cut(0, 1);
        mesh.cut(1, 2);
        mesh.settle();
        Line::open(&mut mesh, 1, &resuming(V5_0, 1000)).hear(&mut mesh);
        mesh.heal(0, 1);
        for _ in 0..there {
            mesh.carry_from(0, 1);
        }
        for _ in 0..back {
            mesh.carry_from(1, 0);
        }
        let mut anew = connect(V5_0, "x");
        anew.properties.session_expiry_secs = Some(1000);
        let line = Line::open(&mut mesh, 0, &anew);
        let heard = line.hear(&mut mesh);
        let sessions = mesh.worlds.iter().map(|world| {
            let session = world.broker.session("x");
            session.map(|session| session.connection.is_some())
        });
        let sessions: Vec<_> = sessions.collect();
        let row = format!("{there} there, {back} back: {heard:?}");
        // How far the other one had counted is in the second message; the later session is clear from there on.
        if back < 2 {
            assert_eq!(sessions.iter().flatten().count(), 1, "{row} {sessions:?}");
        } else {
            assert_eq!(sessions, [Some(true), None, None], "{row}");
        }
    }
}

/// A broker that says nothing is not waited for.
#[test]
fn a_claim_has_an_end() {
    let mut mesh = Mesh::new(2);
    Line::open(&mut mesh, 0, &resuming(V5_0, 1000)).hear(&mut mesh);
    let line = Line::open(&mut mesh, 1, &resuming(V5_0, 1000));
    mesh.link(1, 0).clear();
    let world = &mut mesh.worlds[1];
    let due = world.broker.poll_timeout().unwrap();
    assert_eq!(due.reason, mqtt_state::TimeoutReason::Claim);
    world.broker.handle_timeout(due.at);
    let heard = line.peer.hear(&mut (&mut world.broker, line.connection));
    assert!(
        heard[0].starts_with("CONNACK") && !heard[0].contains("present"),
        "{heard:?}"
    );
}

/// A client with a session at this broker is not looked for elsewhere, nor one without a name.
#[test]
fn who_need_not_be_looked_for() {
    let mut mesh = Mesh::new(2);
    Line::open(&mut mesh, 0, &resuming(V5_0, 1000)).hear(&mut mesh);
    let nameless = Line::open(&mut mesh, 0, &connect(V5_0, ""));
    let other = Line::open(&mut mesh, 1, &connect(V5_0, ""));
    let before = mesh.carried;
    Line::open(&mut mesh, 0, &resuming(V5_0, 1000)).hear(&mut mesh);
    assert_eq!(mesh.carried, before);
    // Each broker assigns others.
    for line in [nameless, other] {
        line.hear(&mut mesh);
    }
    let names = mesh.events.iter().filter_map(|(_, event)| match event {
        Event::Connected { client_id, .. } if **client_id != *"x" => Some(client_id.clone()),
        _ => None,
    });
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 2);
    assert_ne!(names[0], names[1]);
}

/// What this broker assigns to clients that come without an identifier.
fn assigned(config: broker::Config) -> Vec<String> {
    let mut broker = Broker::new(config);
    let peer = Peer::new(V5_0);
    for _ in 0..50 {
        let connection = broker.accept(peer.now, Who::default()).unwrap();
        peer.say(&mut (&mut broker, connection), connect(V5_0, ""));
    }
    let connected = core::iter::from_fn(|| broker.poll_event());
    let names = connected.filter_map(|event| match event {
        Event::Connected { client_id, .. } => Some(client_id.into()),
        _ => None,
    });
    names.collect()
}

/// [5:MQTT-3.2.2-16] No two brokers, and no two runs of one, give an identifier to two clients, though all have one
/// seed. One that is alone has nothing but its seed.
#[test]
fn identifiers_that_are_assigned_are_nobody_elses() {
    let mut all = BTreeSet::new();
    let runs = (0..3).flat_map(|id| (0..4).map(move |incarnation| (id, incarnation)));
    for (id, incarnation) in runs.chain([(0, u64::MAX), (11, 1), (1, 0x11)]) {
        let config = joined(JoinConfig {
            id: broker::BrokerId::new(id),
            incarnation,
            ..JoinConfig::default()
        });
        let names = assigned(config.clone());
        assert_eq!(names, assigned(config), "a run can be repeated");
        let before = all.len();
        all.extend(names);
        assert_eq!(all.len(), before + 50, "{id}, {incarnation}");
    }
    let alone = |seed| {
        assigned(broker::Config {
            seed,
            ..broker::Config::default()
        })
    };
    assert_eq!(alone(1), alone(1));
    assert_ne!(alone(1), alone(1 << 32));
}

/// A client goes to a second broker and on to a third one, and the third one's claim comes before the
/// second one's to where the session is, and behind its answer at the second one. Nobody takes the older
/// claim for one of a client that has no session.
#[test]
fn an_older_claim_finds_no_room_for_a_session_of_its_own() {
    let mut mesh = Mesh::new(3);
    let first = Line::open(&mut mesh, 0, &resuming(V5_0, 100));
    first.hear(&mut mesh);
    with_subscribe(1, &[want("t", QoS::AtLeastOnce)], |packet| {
        first.say(&mut mesh, packet);
    });
    first.hear(&mut mesh);
    let world = &mut mesh.worlds[0];
    world.broker.handle_close(world.now, first.connection);
    mesh.publish(0, "t", "waits", QoS::AtLeastOnce);
    mesh.settle();
    let second = Line::open(&mut mesh, 1, &resuming(V5_0, 100));
    while mesh.carry_from(1, 2) {}
    while mesh.carry_from(2, 1) {}
    let third = Line::open(&mut mesh, 2, &resuming(V5_0, 100));
    while mesh.carry_from(2, 0) {}
    while mesh.carry_from(1, 0) {}
    while mesh.carry_from(0, 1) {}
    // Now the second broker has the answers of all, and hears of the third one.
    while mesh.carry_from(2, 1) {}
    while mesh.carry_from(1, 2) {}
    let heard = third.hear(&mut mesh);
    assert!(heard[0].contains("present"), "{heard:?}");
    assert!(heard[1].contains("waits"), "{heard:?}");
    assert_eq!(second.hear(&mut mesh), ["CONNACK 89", "close"]);
    for at in 0..2 {
        assert!(mesh.worlds[at].broker.session("x").is_none(), "{at}");
    }
}

/// Also one whose client has not waited for it.
#[test]
fn a_session_has_its_owner_where_it_goes() {
    let base = broker::Config {
        ask: broker::Ask {
            subscribe: true,
            ..broker::Ask::default()
        },
        ..broker::Config::default()
    };
    let mut mesh = Mesh::with(2, &base);
    let mut first = resuming(V5_0, 100);
    first.user_name = Some(text("anna"));
    let first = Line::open(&mut mesh, 0, &first);
    first.hear(&mut mesh);
    let second = Line::open(&mut mesh, 1, &resuming(V5_0, 100));
    let world = &mut mesh.worlds[1];
    world.broker.handle_close(world.now, second.connection);
    mesh.settle();
    assert!(mesh.worlds[0].broker.session("x").is_none());
    let owner = mesh.worlds[1].broker.session("x").unwrap().owner;
    let user_name = owner.and_then(|owner| owner.user_name.as_deref());
    assert_eq!(user_name, Some("anna"));
}

/// A broker whose link comes up while a session moves is asked to switch too: what is published there
/// reaches the session at one of its two places, not at both.
#[test]
fn a_link_comes_up_while_a_session_moves() {
    // The session goes from 0 to 1; the third broker and one of them are apart at first.
    for (cut, seed) in [0, 1]
        .into_iter()
        .flat_map(|cut| (0..300_u64).map(move |seed| (cut, seed)))
    {
        let row = format!("{cut} from 2, seed {seed}");
        let mut state = seed;
        let mut choose = |end: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        let mut config = broker::Config::default();
        config.server.in_flight_max = 100;
        let mut mesh = Mesh::with(3, &config);
        let first = Line::open(&mut mesh, 0, &resuming(V5_0, 1000));
        first.hear(&mut mesh);
        with_subscribe(1, &[want("t", QoS::AtLeastOnce)], |packet| {
            first.say(&mut mesh, packet);
        });
        first.hear(&mut mesh);
        // Another subscriber there, so that its messages go there before the session is.
        mesh.subscribed(1, "other", V5_0, "t", QoS::AtLeastOnce);
        let (begin, heal) = (choose(10), choose(40));
        let mut published = Vec::new();
        let line = Line::open(&mut mesh, 1, &resuming(V5_0, 1000));
        for step in 0..90 {
            if step == begin {
                mesh.cut(cut, 2);
            }
            if step == begin + heal {
                mesh.heal(cut, 2);
            }
            if step % 3 == 0 {
                let payload = format!("m{step:02}");
                mesh.publish(2, "t", &payload, QoS::AtLeastOnce);
                published.push(payload);
            }
            let links = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
            let (from, to) = links[usize::try_from(choose(6)).unwrap()];
            mesh.carry_from(from, to);
        }
        let heard = line.hear(&mut mesh);
        let got: Vec<_> = { heard.iter() }
            .filter_map(|line| Some(line.split_once('=')?.1[..3].to_owned()))
            .collect();
        let mut once = got.clone();
        once.sort();
        once.dedup();
        let lost: Vec<_> = published.iter().filter(|it| !got.contains(it)).collect();
        assert_eq!(once.len(), got.len(), "{row}: nothing twice");
        // What is sent to the old place and does not get there in time is lost with it.
        if cut == 1 {
            assert_eq!(lost, [""; 0], "{row}");
        }
    }
}
