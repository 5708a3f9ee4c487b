//! Messages that wait: what gives way when there is no room, and when there is room again.

use core::num::NonZeroU16;

use mqtt_codec::{ConnAck, Message, QoS};
use mqtt_state::client::{Config, Event, LostCause, PublishErrorKind, PublishToken, WhenFull};
use mqtt_state::{OutputWaits, Transmit};

use crate::recorded::Client;
use crate::wire::{Peer, V3_1_1, V5_0, connack, connect, puback};

fn message(payload: &str) -> Message {
    Message::new("t", payload.to_owned())
        .unwrap()
        .with_qos(QoS::AtLeastOnce)
}

fn offline(when_full: WhenFull) -> (Client, Peer) {
    let config = Config {
        waiting_len_max: 3,
        messages_bytes_max: 100,
        when_full,
        ..Config::default()
    };
    (Client::new(config), Peer::new(V5_0))
}

fn lost(client: &mut Client) -> Vec<(PublishToken, String)> {
    core::iter::from_fn(|| client.poll_event())
        .map(|event| match event {
            Event::PublishLost {
                token,
                message: Some(message),
                cause: LostCause::QueueFull,
            } => {
                let payload = String::from_utf8_lossy(message.payload()).into_owned();
                (token, payload)
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

/// What goes out when the server has accepted the connection.
fn sent(client: &mut Client, peer: &Peer) -> Vec<String> {
    client
        .connect(peer.now, &connect(peer.version, "c"))
        .unwrap();
    peer.hear(client);
    peer.ask(client, connack(false))
}

#[test]
fn a_full_queue_refuses_unless_it_is_told_otherwise() {
    let (mut client, peer) = offline(WhenFull::Refuse);
    for payload in ["1", "2", "3"] {
        client.publish(peer.now, message(payload)).unwrap();
    }
    let error = client.publish(peer.now, message("4")).unwrap_err();
    assert_eq!(
        (error.kind, error.message),
        (PublishErrorKind::QueueFull, message("4"))
    );
    assert_eq!(client.poll_event(), None);
}

#[test]
fn the_oldest_give_way() {
    let (mut client, peer) = offline(WhenFull::DropOldest);
    let mut publish = |payload: &str| client.publish(peer.now, message(payload)).unwrap();
    let tokens = ["1", "2", "3", "4"].map(&mut publish);
    // As many as its bytes ask for.
    publish(&"5".repeat(98));
    let payloads = ["1", "2", "3", "4"].map(str::to_owned);
    let expected: Vec<_> = tokens.into_iter().zip(payloads).collect();
    assert_eq!(lost(&mut client), expected);
    assert_eq!(client.waiting_len(), 1);

    let error = client
        .publish(peer.now, message(&"6".repeat(100)))
        .unwrap_err();
    assert_eq!(
        error.kind,
        PublishErrorKind::QueueFull,
        "it would never have room"
    );
    assert_eq!(lost(&mut client), [], "and nothing gives way to it");
    let expected = format!("PUBLISH t={} q1 id1", "5".repeat(98));
    assert_eq!(sent(&mut client, &peer), [expected]);
}

/// Where what is in flight leaves no room, nothing that waits is given up for what will not be taken either way.
#[test]
fn nothing_gives_way_in_vain() {
    let config = Config {
        waiting_len_max: 3,
        messages_bytes_max: 100,
        in_flight_max: 1,
        when_full: WhenFull::DropOldest,
        ..Config::default()
    };
    let (mut client, peer) = (Client::new(config), Peer::new(V5_0));
    assert_eq!(sent(&mut client, &peer), [""; 0]);
    client.poll_event();
    let in_flight = "1".repeat(60);
    client.publish(peer.now, message(&in_flight)).unwrap();
    assert_eq!(peer.hear(&mut client).len(), 1);
    client.publish(peer.now, message("2")).unwrap();
    let error = client.publish(peer.now, message(&"3".repeat(50)));
    assert_eq!(error.unwrap_err().kind, PublishErrorKind::QueueFull);
    assert_eq!(lost(&mut client), []);
    assert_eq!(client.waiting_len(), 1);
    // One that fits beside what is in flight finds its room.
    let token = client.publish(peer.now, message(&"4".repeat(38)));
    assert!(token.is_ok());
    let lost = lost(&mut client);
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0].1, "2");
}

#[test]
fn the_newest_gives_way() {
    let (mut client, peer) = offline(WhenFull::DropNewest);
    for payload in ["1", "2", "3"] {
        client.publish(peer.now, message(payload)).unwrap();
    }
    let token = client.publish(peer.now, message("4")).unwrap();
    assert_eq!(lost(&mut client), [(token, "4".to_owned())]);
    let expected = ["1", "2", "3"].map(|payload| format!("PUBLISH t={payload} q1 id{payload}"));
    assert_eq!(sent(&mut client, &peer), expected);
}

/// An application that never looks at events does not fill the memory with them.
#[test]
fn what_gives_way_is_bounded_by_the_events() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let config = Config {
            waiting_len_max: 1,
            events_max: 5,
            when_full,
            ..Config::default()
        };
        let mut client = Client::new(config);
        let peer = Peer::new(V5_0);
        let taken = (0..100).filter(|_| client.publish(peer.now, message("m")).is_ok());
        assert_eq!(taken.count(), 6, "{when_full:?}");
    }
}

#[test]
fn it_is_told_when_the_server_takes_more() {
    // [5:MQTT-4.9.0-2]
    for version in [V3_1_1, V5_0] {
        let config = Config {
            in_flight_max: 2,
            ..Config::default()
        };
        let (mut client, peer) = (Client::new(config), Peer::new(version));
        client.connect(peer.now, &connect(version, "c")).unwrap();
        peer.hear(&mut client);
        let mut accepted: ConnAck<'_> = connack(false);
        if version == V5_0 {
            accepted.properties.receive_maximum = NonZeroU16::new(2);
        }
        peer.say(&mut client, accepted);
        let available = |client: &mut Client| {
            let events = core::iter::from_fn(|| client.poll_event());
            events
                .filter(|event| *event == Event::QuotaAvailable)
                .count()
        };
        for _ in 0..2 {
            client.publish(peer.now, message("m")).unwrap();
        }
        peer.hear(&mut client);
        assert_eq!(client.explain().output, None, "just as many as it takes");
        peer.say(&mut client, puback(1));
        assert_eq!(available(&mut client), 0, "nothing had to wait");

        for _ in 0..2 {
            client.publish(peer.now, message("m")).unwrap();
        }
        peer.hear(&mut client);
        assert_eq!(
            client.explain().output,
            Some(OutputWaits::ForAcknowledgement)
        );
        assert_eq!(client.stats().quota_waits, 1);
        peer.say(&mut client, puback(2));
        assert_eq!(available(&mut client), 0, "one still waits");
        peer.hear(&mut client);
        assert_eq!(available(&mut client), 0, "it has taken the place");
        peer.say(&mut client, puback(3));
        assert_eq!(available(&mut client), 1, "{version}");
        peer.hear(&mut client);
        assert_eq!(available(&mut client), 0, "said once");
    }
}

#[test]
fn what_waits_for_room_in_a_buffer_waits_for_no_quota() {
    for version in [V3_1_1, V5_0] {
        let (mut client, peer) = (Client::new(Config::default()), Peer::new(version));
        client.connect(peer.now, &connect(version, "c")).unwrap();
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        while client.poll_event().is_some() {}
        for _ in 0..5 {
            client.publish(peer.now, message("m")).unwrap();
        }
        let mut slices = 0;
        while client.poll_transmit(peer.now, 10, &mut Vec::new()) == Transmit::More {
            slices += 1;
        }
        assert!(slices > 2, "{version}: {slices}");
        assert_eq!(client.stats().quota_waits, 0, "{version}");
        assert_eq!(client.poll_event(), None, "{version}");
    }
}

/// mosquitto takes 20 by default, cannot say so in 3.1.1, and cuts the connection of who sends more.
#[test]
fn a_server_that_cannot_say_its_maximum_gets_few_at_once() {
    for (version, expected) in [(V3_1_1, 20), (V5_0, 100)] {
        let (mut client, peer) = (Client::new(Config::default()), Peer::new(version));
        for _ in 0..200 {
            client.publish(peer.now, message("m")).unwrap();
        }
        let sent = sent(&mut client, &peer);
        assert_eq!(sent.len(), expected, "{version}");
    }
}
