//! Keep alive on both sides, and time that does not behave.

use core::time::Duration;

use bytes::BytesMut;
use mqtt_codec::{Connect, Message, Packet, ProtocolVersion, QoS};
use mqtt_state::broker::{self, ConnectionId};
use mqtt_state::client::{Config, Event};
use mqtt_state::server::{self, Acceptance};
use mqtt_state::{CloseCause, TimeoutReason, Timestamp};

use crate::recorded::{Broker, Client, Connection};
use crate::wire::{Peer, V3_1_1, V5_0, connack, connect, publish, text};
use crate::world::World;

fn connect_for(version: ProtocolVersion, keep_alive_secs: u16) -> Connect<'static> {
    Connect {
        keep_alive_secs,
        ..connect(version, "c")
    }
}

fn served(
    version: ProtocolVersion,
    keep_alive_secs: u16,
    config: server::Config,
) -> (Broker, ConnectionId, Peer) {
    let peer = Peer::new(version);
    let mut broker = Broker::new(broker::Config {
        server: config,
        ..broker::Config::default()
    });
    let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
    let heard = peer.ask(
        &mut (&mut broker, connection),
        connect_for(version, keep_alive_secs),
    );
    assert_eq!(heard, ["CONNACK 00"]);
    (broker, connection, peer)
}

/// Lets the broker do what is due until `now`.
fn pass(broker: &mut Broker, peer: &mut Peer, now: Timestamp) {
    while let Some(timeout) = broker.poll_timeout().filter(|timeout| timeout.at <= now) {
        peer.now = peer.now.max(timeout.at);
        broker.handle_timeout(peer.now);
    }
    peer.now = now;
}

#[test]
fn silence_of_one_and_a_half_intervals_ends_the_connection() {
    // [5:MQTT-3.1.2-22] [3:MQTT-3.1.2-24] [5:MQTT-3.2.2-22]
    for (version, expected) in [
        (V5_0, &["DISCONNECT 8D", "close"][..]),
        (V3_1_1, &["close"]),
    ] {
        let (mut broker, connection, mut peer) = served(version, 10, server::Config::default());
        let start = peer.now;
        pass(
            &mut broker,
            &mut peer,
            start + Duration::from_millis(14_999),
        );
        assert_eq!(peer.hear(&mut (&mut broker, connection)), [""; 0]);
        // Any packet is a sign of life, and so is half of one.
        let _half = broker.handle_input(peer.now, connection, &[0x30]);
        let heard = peer.now;
        pass(
            &mut broker,
            &mut peer,
            heard + Duration::from_millis(14_999),
        );
        assert_eq!(peer.hear(&mut (&mut broker, connection)), [""; 0]);
        pass(
            &mut broker,
            &mut peer,
            heard + Duration::from_millis(15_000),
        );
        assert_eq!(
            peer.hear(&mut (&mut broker, connection)),
            expected,
            "{version}"
        );
        let timed_out = core::iter::from_fn(|| broker.poll_event()).any(|event| {
            matches!(
                event,
                broker::Event::Closed {
                    cause: CloseCause::KeepAliveTimeout,
                    ..
                }
            )
        });
        assert!(timed_out, "{version}");
    }
}

/// Input, and the second at which it is offered.
type Offers = [(u64, &'static [u8])];

/// What a driver offers again, as it was not taken, is no sign of life a second time.
#[test]
fn only_what_is_new_breaks_the_silence() {
    // [5:MQTT-3.1.2-22] [3:MQTT-3.1.2-24]
    let rows: [(&str, &Offers, u64); 4] = [
        ("half a packet", &[(0, &[0x30]), (7, &[0x30])], 15),
        (
            "the same bytes",
            &[(0, &[0x30]), (7, &[0x30]), (14, &[0x30])],
            15,
        ),
        (
            "more of it",
            &[(0, &[0x30]), (7, &[0x30]), (14, &[0x30, 4])],
            29,
        ),
        (
            "behind a whole packet",
            &[
                (0, &[0x30]),
                (7, &[0x30, 3, 0, 1, b't', 0xc0]),
                (14, &[0xc0]),
            ],
            22,
        ),
    ];
    for (row, offers, ends_after) in rows {
        for shared in [false, true] {
            let (mut broker, connection, mut peer) = served(V3_1_1, 10, server::Config::default());
            let mut alone = Connection::new(peer.now, server::Config::default());
            peer.say(&mut alone, connect_for(V3_1_1, 10));
            alone.accept(peer.now, Acceptance::default()).unwrap();
            let start = peer.now;
            for (at, input) in offers {
                let now = start + Duration::from_secs(*at);
                if shared {
                    let mut buffer = BytesMut::from(*input);
                    let _left = alone.handle_input_shared(now, &mut buffer.clone());
                    let _left = broker.handle_input_shared(now, connection, &mut buffer);
                } else {
                    let _left = alone.handle_input(now, input);
                    let _left = broker.handle_input(now, connection, input);
                }
            }
            let end = start + Duration::from_secs(ends_after);
            assert_eq!(alone.poll_timeout().map(|due| due.at), Some(end), "{row}");
            pass(
                &mut broker,
                &mut peer,
                Timestamp::from_nanos(end.as_nanos() - 1),
            );
            let heard = peer.hear(&mut (&mut broker, connection));
            assert_eq!(heard, [""; 0], "{row}");
            pass(&mut broker, &mut peer, end);
            let heard = peer.hear(&mut (&mut broker, connection));
            assert_eq!(heard, ["close"], "{row}");
        }
    }
}

/// The same at a client that waits for PINGRESP.
#[test]
fn a_server_is_alive_only_by_what_is_new() {
    let rows: [(&str, &Offers, u64); 3] = [
        ("the same bytes", &[(31, &[0x30]), (35, &[0x30])], 41),
        ("more of it", &[(31, &[0x30]), (35, &[0x30, 4])], 45),
        (
            "behind a whole packet",
            &[
                (31, &[0x30]),
                (34, &[0x30, 3, 0, 1, b't', 0x30]),
                (38, &[0x30]),
            ],
            44,
        ),
    ];
    for (row, offers, left_after) in rows {
        let mut peer = Peer::new(V3_1_1);
        let mut client = Client::new(Config::default());
        client.connect(peer.now, &connect_for(V3_1_1, 30)).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        peer.now = Timestamp::from_secs(31);
        client.handle_timeout(peer.now);
        assert_eq!(peer.hear(&mut client), ["PINGREQ"]);
        for (at, input) in offers {
            let _left = client.handle_input(Timestamp::from_secs(*at), input);
        }
        let due = client.poll_timeout().map(|due| due.at);
        assert_eq!(due, Some(Timestamp::from_secs(left_after)), "{row}");
    }
}

#[test]
fn without_keep_alive_silence_is_no_fault() {
    let (mut broker, connection, mut peer) = served(V5_0, 0, server::Config::default());
    assert_eq!(
        broker.poll_timeout().map(|timeout| timeout.reason),
        Some(TimeoutReason::KeepAlive),
        "left from the handshake"
    );
    pass(&mut broker, &mut peer, Timestamp::from_secs(1_000_000));
    assert_eq!(peer.hear(&mut (&mut broker, connection)), [""; 0]);
    assert_eq!(broker.poll_timeout(), None);
}

#[test]
fn the_server_may_set_the_keep_alive() {
    // [5:MQTT-3.1.2-21] [5:MQTT-3.2.2-21] 3.1.1 has no way to tell it.
    let config = server::Config {
        keep_alive_max_secs: core::num::NonZeroU16::new(10),
        ..server::Config::default()
    };
    let rows = [(V5_0, 100, 15), (V5_0, 0, 15), (V5_0, 4, 6), (V3_1_1, 4, 6)];
    for (version, asked, ends_after) in rows {
        let (mut broker, connection, mut peer) = served(version, asked, config.clone());
        let end = peer.now + Duration::from_secs(ends_after);
        let just_before = Timestamp::from_nanos(end.as_nanos() - 1);
        pass(&mut broker, &mut peer, just_before);
        assert_eq!(
            peer.hear(&mut (&mut broker, connection)),
            [""; 0],
            "{version}, {asked}"
        );
        pass(&mut broker, &mut peer, end);
        assert!(
            peer.hear(&mut (&mut broker, connection))
                .ends_with(&["close".into()]),
            "{version}, {asked}"
        );
    }
}

#[test]
fn a_3_1_1_client_that_asks_for_more_than_there_is_is_refused() {
    for (asked, heard) in [(10, "CONNACK 00"), (11, "CONNACK 85"), (0, "CONNACK 00")] {
        let config = broker::Config {
            server: server::Config {
                keep_alive_max_secs: core::num::NonZeroU16::new(10),
                ..server::Config::default()
            },
            ..broker::Config::default()
        };
        let mut broker = Broker::new(config);
        let peer = Peer::new(V3_1_1);
        let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
        let packet = Connect {
            keep_alive_secs: asked,
            ..connect(V3_1_1, "c")
        };
        let answer = peer.ask(&mut (&mut broker, connection), packet);
        assert_eq!(answer[0], heard, "{asked} s; 85 is return code 2");
    }
}

#[test]
fn clients_stay_connected_by_themselves() {
    // [5:MQTT-3.1.2-20] [3:MQTT-3.1.2-23] [5:MQTT-3.12.4-1] [3:MQTT-3.12.4-1]
    let mut world = World::new();
    let mut all = Vec::new();
    for (name, version, keep_alive_secs) in [("a", V3_1_1, 1), ("b", V5_0, 7), ("c", V5_0, 60)] {
        let who = world.client(name);
        let packet = Connect {
            keep_alive_secs,
            ..Connect::new(version, text(name))
        };
        world.connect(who, &packet);
        world.settle();
        world.events(who);
        all.push(who);
    }
    world.pass_secs(1000);
    for who in all {
        assert_eq!(world.events(who), []);
        assert!(world.connection(who).is_some());
    }
    assert!(
        world.packets > 2000,
        "PINGREQ and PINGRESP each second: {}",
        world.packets
    );
}

#[test]
fn a_server_that_does_not_answer_is_left() {
    let mut peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    client.connect(peer.now, &connect_for(V5_0, 30)).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    peer.now = Timestamp::from_secs(31);
    client.handle_timeout(peer.now);
    assert_eq!(peer.hear(&mut client), ["PINGREQ"]);
    peer.now = Timestamp::from_secs(41);
    assert_eq!(
        client.poll_timeout().map(|timeout| timeout.at),
        Some(peer.now)
    );
    client.handle_timeout(peer.now);
    assert_eq!(peer.hear(&mut client), ["close"]);
    let closed = core::iter::from_fn(|| client.poll_event()).any(|event| {
        matches!(
            event,
            Event::Closed {
                cause: CloseCause::PingTimeout,
                ..
            }
        )
    });
    assert!(closed);
}

/// It can be kept alive with nothing, so that its connection ends as if it had not answered.
#[test]
fn a_server_that_takes_no_packet_at_all_is_left() {
    let mut peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    client.connect(peer.now, &connect_for(V5_0, 30)).unwrap();
    peer.hear(&mut client);
    let mut accepted = connack(false);
    accepted.properties.packet_size_max = core::num::NonZeroU32::new(1);
    peer.say(&mut client, accepted);
    for (secs, heard) in [(31, &[][..]), (41, &["close"])] {
        peer.now = Timestamp::from_secs(secs);
        let due = client.poll_timeout().map(|timeout| timeout.at);
        assert_eq!(due, Some(peer.now));
        client.handle_timeout(peer.now);
        assert_eq!(peer.hear(&mut client), heard, "{secs}");
    }
    let closed = core::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
        Event::Closed { cause, .. } => Some(cause),
        _ => None,
    });
    assert_eq!(closed, Some(CloseCause::PingTimeout));
}

#[test]
fn traffic_stands_for_pings() {
    let mut peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    client.connect(peer.now, &connect_for(V5_0, 10)).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    for secs in 2..100 {
        peer.now = Timestamp::from_secs(secs);
        client.handle_timeout(peer.now);
        let heard = peer.ask(&mut client, publish("t", "x", QoS::AtLeastOnce, 1));
        assert_eq!(heard, ["PUBACK 1 00"], "after {secs} s");
        while client.poll_event().is_some() {}
    }
}

/// What is offered while nothing is taken is a sign of life once more when it is taken, by the short way as well.
#[test]
fn an_acknowledgement_that_waited_is_a_sign_of_life() {
    let mut peer = Peer::new(V5_0);
    let mut client = Client::new(Config {
        events_max: 2,
        ..Config::default()
    });
    client.connect(peer.now, &connect_for(V5_0, 30)).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    while client.poll_event().is_some() {}
    let message = Message::new("t", "m").unwrap();
    let message = message.with_qos(QoS::AtLeastOnce);
    client.publish(peer.now, message).unwrap();
    peer.hear(&mut client);
    peer.now = Timestamp::from_secs(31);
    client.handle_timeout(peer.now);
    assert_eq!(peer.hear(&mut client), ["PINGREQ"]);
    for _ in 0..2 {
        peer.say(&mut client, publish("t", "x", QoS::AtMostOnce, 0));
    }
    let acknowledgement = [0x40, 2, 0, 1];
    for (secs, taken) in [(32, 0), (40, 4)] {
        peer.now = Timestamp::from_secs(secs);
        let consumed = client.handle_input(peer.now, &acknowledgement);
        assert_eq!(consumed.bytes, taken, "at {secs} s");
        let due = client.poll_timeout().map(|timeout| timeout.at);
        assert_eq!(due, Some(Timestamp::from_secs(secs + 10)), "at {secs} s");
        while client.poll_event().is_some() {}
    }
}

#[test]
fn the_keep_alive_of_the_server_binds_the_client() {
    // [5:MQTT-3.1.2-21] Shorter, longer, none in place of one, and one in place of none.
    for (asked, told, due) in [
        (60, 5, Some(6)),
        (60, 100, Some(101)),
        (60, 0, None),
        (0, 5, Some(6)),
    ] {
        let mut peer = Peer::new(V5_0);
        let mut client = Client::new(Config::default());
        client.connect(peer.now, &connect_for(V5_0, asked)).unwrap();
        peer.hear(&mut client);
        let mut answer = connack(false);
        answer.properties.server_keep_alive_secs = Some(told);
        peer.say(&mut client, answer);
        assert_eq!(
            client.poll_timeout().map(|timeout| timeout.at),
            due.map(Timestamp::from_secs),
            "{asked}, {told}"
        );
        let Some(due) = due else { continue };
        peer.now = Timestamp::from_secs(due);
        client.handle_timeout(peer.now);
        assert_eq!(peer.hear(&mut client), ["PINGREQ"], "{asked}, {told}");
        assert_eq!(peer.ask(&mut client, Packet::PingResp), [""; 0]);
    }
}

#[test]
fn time_that_stands_still_or_goes_back_does_no_harm() {
    let (mut broker, connection, mut peer) = served(V5_0, 10, server::Config::default());
    peer.now = Timestamp::from_secs(10);
    assert_eq!(
        peer.ask(&mut (&mut broker, connection), Packet::PingReq),
        ["PINGRESP"]
    );
    // Clamped to the latest seen: the deadline does not come earlier.
    peer.now = Timestamp::ZERO;
    assert_eq!(
        peer.ask(&mut (&mut broker, connection), Packet::PingReq),
        ["PINGRESP"]
    );
    broker.handle_timeout(Timestamp::from_secs(24));
    assert_eq!(peer.hear(&mut (&mut broker, connection)), [""; 0]);
    broker.handle_timeout(Timestamp::from_secs(25));
    assert_eq!(
        peer.hear(&mut (&mut broker, connection)),
        ["DISCONNECT 8D", "close"]
    );
}

#[test]
fn early_and_repeated_timeouts_do_nothing() {
    let mut world = World::new();
    let who = world.joined("c", V5_0);
    let now = world.now;
    for _ in 0..10 {
        world.broker.handle_timeout(now);
        world.of(who).handle_timeout(now);
    }
    let packets = world.packets;
    world.settle();
    assert_eq!(world.packets, packets);
}

/// Found by a simulation: a slow CONNACK was taken for the beginning, and the server cut the client off.
#[test]
fn the_interval_of_a_client_counts_from_connect_however_late_connack_comes() {
    // [5:MQTT-3.1.2-20] [3:MQTT-3.1.2-23]
    for version in [V3_1_1, V5_0] {
        let mut peer = Peer::new(version);
        let mut client = Client::new(Config::default());
        let start = peer.now;
        client.connect(start, &connect_for(version, 10)).unwrap();
        peer.hear(&mut client);
        peer.now = start + Duration::from_secs(9);
        assert_eq!(peer.ask(&mut client, connack(false)), [""; 0]);
        peer.now = start + Duration::from_secs(10);
        client.handle_timeout(peer.now);
        assert_eq!(peer.hear(&mut client), ["PINGREQ"]);
    }
}

/// A message that takes long to write says nothing about the server: it cannot answer what has not come.
#[test]
fn a_ping_counts_from_when_it_is_handed_out() {
    for version in [V3_1_1, V5_0] {
        let mut peer = Peer::new(version);
        let mut client = Client::new(Config {
            ping_timeout: Duration::from_secs(10),
            ..Config::default()
        });
        client.connect(peer.now, &connect_for(version, 60)).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        while client.poll_event().is_some() {}
        let start = peer.now;
        let message = Message::new("t", vec![b'x'; 100_000]).unwrap();
        client.publish(start, message).unwrap();
        let mut out = Vec::new();
        let mut transmit = client.poll_transmit(start, 1000, &mut out);
        while transmit == mqtt_state::Transmit::More {
            transmit = client.poll_transmit(start, 1000, &mut out);
        }
        assert!(out.len() > 100_000, "{version}: in one piece");
        while client.poll_event().is_some() {}

        // Its driver writes that for five minutes, and does what is due meanwhile.
        let end = start + Duration::from_secs(299);
        let mut calls = 0;
        while let Some(timeout) = client.poll_timeout().filter(|timeout| timeout.at <= end) {
            assert_eq!(timeout.reason, TimeoutReason::KeepAlive, "{version}");
            client.handle_timeout(timeout.at);
            calls += 1;
        }
        assert_eq!(calls, 4, "{version}: one in each interval");
        assert_eq!(client.poll_event(), None, "{version}: it is alive");

        // Then it asks for more: one PINGREQ, which the server has ten seconds to answer.
        peer.now = end;
        assert_eq!(peer.hear(&mut client), ["PINGREQ"], "{version}");
        let timeout = client.poll_timeout().unwrap();
        assert_eq!(timeout.reason, TimeoutReason::PingResponse, "{version}");
        assert_eq!(timeout.at, end + Duration::from_secs(10), "{version}");
        client.handle_timeout(timeout.at);
        let closed = core::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
            Event::Closed { cause, .. } => Some(cause),
            _ => None,
        });
        assert_eq!(closed, Some(CloseCause::PingTimeout), "{version}");
    }
}
