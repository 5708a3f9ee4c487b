//! A client that does not read: what waits for it has limits, what finds no room is told, and
//! nobody else waits.

use mqtt_codec::{Message, ProtocolVersion, QoS};
use mqtt_state::broker::{self, Config, ConnectionId, DropCause, Event, WhenFull};
use mqtt_state::{CloseCause, TimeoutReason, server};

use crate::recorded::Broker;
use crate::wire::{Peer, V3_1_1, V5_0, connect, puback, want, with_subscribe};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];

/// A client that reads nothing but what it is made to, and others beside it.
struct Hall {
    broker: Broker,
    peer: Peer,
    slow: ConnectionId,
}

impl Hall {
    fn new(version: ProtocolVersion, config: Config) -> Self {
        let peer = Peer::new(version);
        let mut broker = Broker::new(config);
        let slow = join(&mut broker, &peer, "slow");
        Self { broker, peer, slow }
    }

    fn publish(&mut self, payload: &str, qos: QoS) -> usize {
        let message = Message::new("t", payload.to_owned()).unwrap();
        self.broker.publish(self.peer.now, message.with_qos(qos))
    }

    fn hear(&mut self, id: ConnectionId) -> Vec<String> {
        self.peer.hear(&mut (&mut self.broker, id))
    }

    /// What was told of full queues and of what came of it.
    fn told(&mut self) -> Vec<&'static str> {
        let events = core::iter::from_fn(|| self.broker.poll_event());
        events
            .filter_map(|event| match event {
                Event::QueueFull { connection, .. } => {
                    Some(connection.map_or("full, away", |_| "full"))
                }
                Event::Dropped {
                    cause: DropCause::QueueFull,
                    ..
                } => Some("dropped"),
                Event::Closed { cause, .. } => {
                    let too_slow =
                        CloseCause::Disconnected(mqtt_codec::DisconnectReason::QuotaExceeded);
                    assert_eq!(cause, too_slow);
                    Some("closed")
                }
                _ => None,
            })
            .collect()
    }
}

/// Joins with a session that stays, and subscribes.
fn join(broker: &mut Broker, peer: &Peer, client_id: &str) -> ConnectionId {
    let id = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let mut packet = connect(peer.version, client_id);
    packet.clean_start = false;
    if peer.version == V5_0 {
        packet.properties.session_expiry_secs = Some(1000);
    }
    peer.ask(&mut (broker, id), packet);
    id
}

fn subscribe(hall: &mut Hall, id: ConnectionId) {
    let Hall { broker, peer, .. } = hall;
    with_subscribe(1, &[want("t", QoS::AtLeastOnce)], |packet| {
        peer.ask(&mut (broker, id), packet)
    });
    while hall.broker.poll_event().is_some() {}
}

fn limits(len_max: usize, bytes_max: usize) -> Config {
    Config {
        server: server::Config {
            waiting_len_max: len_max,
            messages_bytes_max: bytes_max,
            ..server::Config::default()
        },
        ..Config::default()
    }
}

#[test]
fn a_full_queue_is_told_once_and_again_after_half_of_it_was_gone() {
    for version in VERSIONS {
        let mut hall = Hall::new(version, limits(4, 1000));
        let slow = hall.slow;
        subscribe(&mut hall, slow);
        for _ in 0..4 {
            assert_eq!(hall.publish("1", QoS::AtMostOnce), 1);
        }
        assert_eq!(hall.told(), [""; 0]);
        for _ in 0..3 {
            assert_eq!(hall.publish("2", QoS::AtMostOnce), 0);
        }
        assert_eq!(hall.told(), ["full", "dropped", "dropped", "dropped"]);
        // One goes out: more than half is still there.
        let mut out = Vec::new();
        let now = hall.peer.now;
        let _more = hall.broker.poll_transmit(now, slow, 1, &mut out);
        hall.publish("3", QoS::AtMostOnce);
        hall.publish("3", QoS::AtMostOnce);
        assert_eq!(hall.told(), ["dropped"]);
        assert_eq!(hall.hear(slow).len(), 4);
        for _ in 0..5 {
            hall.publish("4", QoS::AtMostOnce);
        }
        assert_eq!(hall.told(), ["full", "dropped"], "{version}");
    }
}

/// A QoS and the size of a payload.
type Sized = (QoS, usize);

type Row = (
    &'static str,
    &'static [Sized],
    Sized,
    &'static [&'static str],
    usize,
);

/// Rows: what waits before, what comes, what is told, and how many get it.
#[test]
fn qos_0_gives_way_to_what_was_promised() {
    let rows: [Row; 7] = [
        (
            "one of QoS 0 for one of QoS 1",
            &[(QoS::AtMostOnce, 1), (QoS::AtMostOnce, 1)],
            (QoS::AtLeastOnce, 1),
            &["full", "dropped"],
            1,
        ),
        (
            "by bytes: as many as it takes",
            &[(QoS::AtMostOnce, 40), (QoS::AtMostOnce, 40)],
            (QoS::AtLeastOnce, 80),
            &["full", "dropped", "dropped"],
            1,
        ),
        (
            "not for another of QoS 0",
            &[(QoS::AtMostOnce, 1), (QoS::AtMostOnce, 1)],
            (QoS::AtMostOnce, 1),
            &["full", "dropped"],
            0,
        ),
        (
            "QoS 1 for none",
            &[(QoS::AtLeastOnce, 1), (QoS::AtLeastOnce, 1)],
            (QoS::AtLeastOnce, 1),
            &["full", "dropped"],
            0,
        ),
        (
            "what is too large alone drives nobody out",
            &[(QoS::AtMostOnce, 1)],
            (QoS::AtLeastOnce, 200),
            &["full", "dropped"],
            0,
        ),
        (
            "QoS 1 stays, and QoS 0 goes before it",
            &[(QoS::AtLeastOnce, 1), (QoS::AtMostOnce, 1)],
            (QoS::AtLeastOnce, 1),
            &["full", "dropped"],
            1,
        ),
        (
            "there is room",
            &[(QoS::AtMostOnce, 1)],
            (QoS::AtLeastOnce, 1),
            &[],
            1,
        ),
    ];
    for (row, before, (qos, len), told, receivers) in rows {
        let mut hall = Hall::new(V5_0, limits(2, 100));
        let slow = hall.slow;
        subscribe(&mut hall, slow);
        for (qos, len) in before {
            assert_eq!(hall.publish(&"x".repeat(*len), *qos), 1, "{row}");
        }
        assert_eq!(hall.publish(&"y".repeat(len), qos), receivers, "{row}");
        assert_eq!(hall.told(), told, "{row}");
        let waits = hall.broker.session("slow").unwrap();
        assert!(waits.waiting_len <= 2 && waits.messages_bytes <= 100);
    }
}

#[test]
fn qos_0_has_a_limit_of_its_own() {
    let config = Config {
        waiting_qos0_len_max: 2,
        ..limits(4, 1000)
    };
    let mut hall = Hall::new(V5_0, config);
    let slow = hall.slow;
    subscribe(&mut hall, slow);
    let received: Vec<_> = (0..3).map(|_| hall.publish("0", QoS::AtMostOnce)).collect();
    assert_eq!(received, [1, 1, 0]);
    let received: Vec<_> = (0..2)
        .map(|_| hall.publish("1", QoS::AtLeastOnce))
        .collect();
    assert_eq!(received, [1, 1], "their room is left to them");
    assert_eq!(hall.told(), ["full", "dropped"]);
}

#[test]
fn a_slow_client_is_disconnected_where_that_is_wanted_and_its_session_stays() {
    for version in VERSIONS {
        let config = Config {
            when_full: WhenFull::Disconnect,
            ..limits(2, 1000)
        };
        let mut hall = Hall::new(version, config);
        let slow = hall.slow;
        subscribe(&mut hall, slow);
        for _ in 0..3 {
            hall.publish("0", QoS::AtMostOnce);
        }
        assert_eq!(hall.told(), ["full", "dropped"], "QoS 0 ends nothing");
        for _ in 0..4 {
            hall.publish("1", QoS::AtLeastOnce);
        }
        // Two of QoS 0 gave way, two of QoS 1 found no room.
        assert_eq!(hall.told(), ["dropped"; 4]);
        let due = hall.broker.poll_timeout().unwrap();
        assert_eq!((due.at, due.reason), (hall.peer.now, TimeoutReason::Work));
        hall.broker.handle_timeout(hall.peer.now);
        assert_eq!(hall.told(), ["closed"]);
        let heard = hall.hear(slow);
        let expected: &[&str] = match version {
            V5_0 => &["DISCONNECT 97", "close"],
            _ => &["close"],
        };
        assert_eq!(heard, expected, "{version}");
        // Back again: what waited is there.
        let peer = Peer::new(version);
        let back = join(&mut hall.broker, &peer, "slow");
        let heard = hall.hear(back);
        assert_eq!(heard, [""; 0], "told with CONNACK");
        let session = hall.broker.session("slow").unwrap();
        assert_eq!(session.in_flight_len, 2);
        for id in [1, 2] {
            peer.say(&mut (&mut hall.broker, back), puback(id));
        }
    }
}

/// A queue that is full while its client is away ends no connection that comes later.
#[test]
fn a_client_that_is_away_is_not_disconnected() {
    let config = Config {
        when_full: WhenFull::Disconnect,
        ..limits(1, 1000)
    };
    let mut hall = Hall::new(V5_0, config);
    let slow = hall.slow;
    subscribe(&mut hall, slow);
    hall.broker.handle_close(hall.peer.now, slow);
    while hall.broker.poll_event().is_some() {}
    for _ in 0..2 {
        hall.publish("1", QoS::AtLeastOnce);
    }
    assert_eq!(hall.told(), ["full, away", "dropped"]);
    let due = hall.broker.poll_timeout().unwrap();
    assert_eq!(due.reason, TimeoutReason::SessionExpiry);
}

/// Somebody who reads gets everything, however full the queue beside is.
#[test]
fn a_slow_client_delays_nobody() {
    let mut hall = Hall::new(V5_0, limits(3, 1000));
    let slow = hall.slow;
    subscribe(&mut hall, slow);
    let quick = join(&mut hall.broker, &Peer::new(V5_0), "quick");
    subscribe(&mut hall, quick);
    for round in 1..=20 {
        let expected = if round <= 3 { 2 } else { 1 };
        assert_eq!(hall.publish("x", QoS::AtMostOnce), expected);
        assert_eq!(hall.hear(quick), ["PUBLISH t=x q0"]);
    }
    let ready: Vec<_> = core::iter::from_fn(|| hall.broker.poll_ready()).collect();
    assert!(ready.contains(&slow), "it may still read");
    assert_eq!(hall.hear(slow).len(), 3);
}

/// The same of a limit in bytes.
#[test]
fn a_queue_full_of_bytes_is_told_again_after_half_of_it_was_gone() {
    for (row, sent, expected) in [
        ("more than half is there", 1, &["dropped"][..]),
        ("half of it was gone", 2, &["full", "dropped"]),
    ] {
        // Three bytes each, with the topic.
        let mut hall = Hall::new(V5_0, limits(1000, 12));
        let slow = hall.slow;
        subscribe(&mut hall, slow);
        for _ in 0..5 {
            hall.publish("12", QoS::AtMostOnce);
        }
        assert_eq!(hall.told(), ["full", "dropped"], "{row}");
        let now = hall.peer.now;
        for _ in 0..sent {
            let mut out = Vec::new();
            let _more = hall.broker.poll_transmit(now, slow, 1, &mut out);
        }
        for _ in 0..=sent {
            hall.publish("12", QoS::AtMostOnce);
        }
        assert_eq!(hall.told(), expected, "{row}");
    }
}
