//! Sessions that take their time on the way from one broker to another, and what is said of those that do not
//! arrive.

use mqtt_codec::{Connect, QoS};
use mqtt_state::broker::{self, ConnectionId, Event, Peer as Who};

use mqtt_state::TimeoutReason;

use super::mesh::{Mesh, id};
use crate::wire::{Peer, V5_0, connect, want, with_subscribe};

fn resuming() -> Connect<'static> {
    let mut connect = Connect {
        clean_start: false,
        ..connect(V5_0, "x")
    };
    connect.properties.session_expiry_secs = Some(1000);
    connect
}

fn peer(mesh: &Mesh, at: usize) -> Peer {
    Peer {
        now: mesh.worlds[at].now,
        ..Peer::new(V5_0)
    }
}

/// A client that speaks packet by packet.
fn open(mesh: &mut Mesh, at: usize) -> ConnectionId {
    let peer = peer(mesh, at);
    let world = &mut mesh.worlds[at];
    let connection = world.broker.accept(peer.now, Who::default()).unwrap();
    peer.say(&mut (&mut world.broker, connection), resuming());
    connection
}

fn hear(mesh: &mut Mesh, at: usize, connection: ConnectionId) -> Vec<String> {
    let peer = peer(mesh, at);
    let broker = &mut mesh.worlds[at].broker;
    let heard = peer.hear(&mut (broker, connection));
    mesh.worlds[at].drained(connection);
    heard
}

/// Its session is at the first broker, with what waits for it.
fn left_behind(base: &broker::Config, filter: &str, messages: usize) -> Mesh {
    let mut mesh = Mesh::with(2, base);
    let connection = open(&mut mesh, 0);
    mesh.settle();
    hear(&mut mesh, 0, connection);
    let peer = peer(&mesh, 0);
    with_subscribe(1, &[want(filter, QoS::AtLeastOnce)], |packet| {
        peer.say(&mut (&mut mesh.worlds[0].broker, connection), packet);
    });
    hear(&mut mesh, 0, connection);
    mesh.settle();
    let world = &mut mesh.worlds[0];
    world.broker.handle_close(world.now, connection);
    for number in 0..messages {
        mesh.publish(0, "t", &number.to_string(), QoS::AtLeastOnce);
    }
    mesh.settle();
    mesh
}

fn pass_a_second(mesh: &mut Mesh) {
    for world in &mut mesh.worlds {
        world.pass_secs(1);
    }
}

/// Who hears that a session comes waits for the rest of it, as long as it comes.
#[test]
fn a_session_that_comes_slowly_comes_all_the_same() {
    let mut mesh = left_behind(&broker::Config::default(), "t", 15);
    let connection = open(&mut mesh, 1);
    let mut secs = 0;
    while mesh.carry() {
        mesh.carry();
        pass_a_second(&mut mesh);
        secs += 1;
    }
    assert!(secs > 9, "{secs}");
    mesh.settle();
    let heard = hear(&mut mesh, 1, connection);
    assert_eq!(heard[0], "CONNACK 00 present");
    assert_eq!(heard.len(), 16, "{heard:?}");
    assert!(mesh.worlds[0].broker.session("x").is_none());
}

/// A broker that says nothing more in the middle of a session is waited for no longer than one that says nothing.
#[test]
fn a_session_that_stops_on_its_way_is_not_waited_for() {
    for carried in 0..12 {
        let mut mesh = left_behind(&broker::Config::default(), "t", 5);
        let connection = open(&mut mesh, 1);
        for _ in 0..carried {
            mesh.carry();
        }
        for _ in 0..5 {
            assert_eq!(hear(&mut mesh, 1, connection), [""; 0], "{carried}");
            pass_a_second(&mut mesh);
        }
        let heard = hear(&mut mesh, 1, connection);
        assert_eq!(heard, ["CONNACK 00"], "{carried}");
        // When the other one is heard again it lets go of what it has, and says so.
        mesh.settle();
        assert!(mesh.worlds[0].broker.session("x").is_none(), "{carried}");
        let moved = Event::SessionMoved {
            client_id: "x".into(),
            broker: id(1),
        };
        let told = { mesh.events.iter() }.filter(|(at, event)| (*at, event) == (0, &moved));
        assert_eq!(told.count(), 1, "{carried}");
    }
}

/// A member of a shared subscription goes to another broker, however much is published where it was.
#[test]
fn a_member_may_leave_a_broker_that_is_never_idle() {
    let base = broker::Config {
        work_per_call: 4,
        ..broker::Config::default()
    };
    for filter in ["t", "$share/g/t"] {
        let mut mesh = left_behind(&base, filter, 3);
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
            mesh.subscribed(0, name, V5_0, "busy", QoS::AtMostOnce);
        }
        let connection = open(&mut mesh, 1);
        let mut heard = Vec::new();
        mesh.publish(0, "busy", "first", QoS::AtMostOnce);
        for number in 0..60 {
            // One is not through before the next one comes.
            let timeout = mesh.worlds[0].broker.poll_timeout();
            assert_eq!(timeout.unwrap().reason, TimeoutReason::Work);
            mesh.publish(0, "busy", &number.to_string(), QoS::AtMostOnce);
            for _ in 0..2 {
                let world = &mut mesh.worlds[0];
                world.broker.handle_timeout(world.now);
            }
            for _ in 0..10 {
                mesh.carry();
            }
            heard.extend(hear(&mut mesh, 1, connection));
        }
        assert!(!heard.is_empty(), "{filter}: not while it is busy");
        assert_eq!(heard[0], "CONNACK 00 present", "{filter}");
        assert_eq!(heard.len(), 4, "{filter}: {heard:?}");
    }
}
