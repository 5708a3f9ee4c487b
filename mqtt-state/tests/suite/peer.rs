//! Who is at the other end: in every question, and in the first and last event of a connection.

use core::time::Duration;
use std::sync::Arc;

use mqtt_codec::{Binary, QoS, Will};
use mqtt_state::broker::{
    AcceptError, Ask, Config, ConnectAnswer, ConnectionId, Event, Owner, Peer, PublishAnswer,
    SubscribeAnswer,
};

use crate::disk::Disk;
use crate::recorded::Broker;
use crate::wire::{self, V3_1_1, V5_0, connect, name, publish, want, with_subscribe};

fn meter() -> Peer {
    Peer {
        address: Some("192.0.2.7:50007".parse().unwrap()),
        listener: Some(2),
        identity: Some("CN=meter-7".into()),
    }
}

/// What came, and from whom; questions are answered with yes.
fn events(broker: &mut Broker, now: mqtt_state::Timestamp) -> Vec<(&'static str, Arc<Peer>)> {
    let mut told = Vec::new();
    while let Some(event) = broker.poll_event() {
        match event {
            Event::Authenticate { decision, peer, .. } => {
                told.push(("connect", peer));
                let answer = ConnectAnswer::Allow;
                broker.decide_connect(now, decision, answer).unwrap();
            }
            Event::AuthorizePublish {
                decision,
                peer,
                is_will,
                ..
            } => {
                told.push((if is_will { "will" } else { "publish" }, peer));
                let answer = PublishAnswer::Allow;
                broker.decide_publish(now, decision, answer).unwrap();
            }
            Event::AuthorizeSubscribe { decision, peer, .. } => {
                told.push(("subscribe", peer));
                let answer = SubscribeAnswer::Allow;
                broker.decide_subscribe(now, decision, answer).unwrap();
            }
            Event::Connected { peer, .. } => told.push(("connected", peer)),
            Event::Closed { peer, .. } => told.push(("closed", peer)),
            _ => {}
        }
    }
    told
}

fn asking() -> Broker {
    Broker::new(Config {
        ask: Ask {
            connect: true,
            publish: true,
            subscribe: true,
        },
        ..Config::default()
    })
}

#[test]
fn every_question_and_both_ends_of_a_connection_say_who_is_there() {
    for version in [V3_1_1, V5_0] {
        let mut peer = wire::Peer::new(version);
        let mut broker = asking();
        let id = broker.accept(peer.now, meter()).unwrap();
        assert_eq!(broker.peer(id), Some(&meter()));
        let mut packet = connect(version, "meter");
        packet.clean_start = false;
        packet.will = Some(Will::new(name("gone"), Binary::new(b"x").unwrap()));
        if version == V5_0 {
            packet.properties.session_expiry_secs = Some(100);
        }
        peer.say(&mut (&mut broker, id), packet);
        let mut told = events(&mut broker, peer.now);
        with_subscribe(1, &[want("a", QoS::AtMostOnce)], |packet| {
            peer.say(&mut (&mut broker, id), packet);
        });
        let packet = publish("a", "x", QoS::AtMostOnce, 0);
        peer.say(&mut (&mut broker, id), packet);
        told.extend(events(&mut broker, peer.now));
        assert_eq!(broker.reauthorize(peer.now, "meter"), 1);
        told.extend(events(&mut broker, peer.now));
        broker.handle_close(peer.now, id);
        peer.now = peer.now + Duration::from_secs(1);
        told.extend(events(&mut broker, peer.now));
        let what: Vec<_> = told.iter().map(|(what, _)| *what).collect();
        let expected = [
            "connect",
            "connected",
            "subscribe",
            "publish",
            "subscribe",
            "closed",
            "will",
        ];
        assert_eq!(what, expected, "{version}");
        for (what, peer) in told {
            assert_eq!(*peer, meter(), "{version} {what}");
        }
        assert_eq!(broker.peer(id), None, "it is gone");
        // Away: nobody is there.
        assert_eq!(broker.reauthorize(peer.now, "meter"), 1);
        let away = events(&mut broker, peer.now);
        assert_eq!(away, [("subscribe", Arc::new(Peer::default()))]);
    }
}

/// A will that waits for its delay remembers who left it.
#[test]
fn a_delayed_will_says_who_left_it() {
    let mut peer = wire::Peer::new(V5_0);
    let mut broker = asking();
    let id = broker.accept(peer.now, meter()).unwrap();
    let mut packet = connect(V5_0, "meter");
    packet.properties.session_expiry_secs = Some(100);
    let mut will = Will::new(name("gone"), Binary::new(b"x").unwrap());
    will.properties.delay_secs = Some(10);
    packet.will = Some(will);
    peer.say(&mut (&mut broker, id), packet);
    events(&mut broker, peer.now);
    broker.handle_close(peer.now, id);
    assert_eq!(events(&mut broker, peer.now).len(), 1, "closed");
    peer.now = peer.now + Duration::from_secs(10);
    broker.handle_timeout(peer.now);
    let told = events(&mut broker, peer.now);
    assert_eq!(told, [("will", Arc::new(meter()))]);
}

/// A TLS handshake ends after the connection was accepted.
#[test]
fn what_is_known_later_counts_from_then_on() {
    let peer = wire::Peer::new(V5_0);
    let mut broker = asking();
    let id = broker.accept(peer.now, Peer::default()).unwrap();
    assert_eq!(broker.peer(id), Some(&Peer::default()));
    broker.identify(id, meter()).unwrap();
    peer.say(&mut (&mut broker, id), connect(V5_0, "meter"));
    for (what, peer) in events(&mut broker, peer.now) {
        assert_eq!(*peer, meter(), "{what}");
    }
    broker.handle_close(peer.now, id);
    assert_eq!(broker.identify(id, meter()), Ok(()), "late and harmless");
    assert_eq!(broker.peer(id), None);
}

#[test]
fn an_identity_has_a_limit() {
    let now = wire::Peer::new(V5_0).now;
    let mut broker = Broker::new(Config {
        identity_len_max: 10,
        ..Config::default()
    });
    let of_len = |len: usize| Peer {
        identity: Some("i".repeat(len).into()),
        ..Peer::default()
    };
    let too_long = AcceptError::IdentityTooLong;
    assert_eq!(broker.accept(now, of_len(11)), Err(too_long));
    assert_eq!(too_long.to_string(), "the identity of the peer is too long");
    assert_eq!(broker.stats().connections, 0);
    let id: ConnectionId = broker.accept(now, of_len(10)).unwrap();
    assert_eq!(broker.identify(id, of_len(11)), Err(too_long));
    assert_eq!(broker.peer(id), Some(&of_len(10)), "as before");
}

/// The older connection ends as who it was.
#[test]
fn a_take_over_tells_both_apart() {
    let peer = wire::Peer::new(V5_0);
    let mut broker = Broker::new(Config::default());
    for number in 0..2 {
        let who = Peer {
            listener: Some(number),
            ..Peer::default()
        };
        let id = broker.accept(peer.now, who).unwrap();
        peer.say(&mut (&mut broker, id), connect(V5_0, "same"));
    }
    let told = events(&mut broker, peer.now);
    let told: Vec<_> = { told.into_iter() }
        .map(|(what, peer)| (what, peer.listener))
        .collect();
    let expected = [
        ("connected", Some(0)),
        ("closed", Some(0)),
        ("connected", Some(1)),
    ];
    assert_eq!(told, expected);
}

/// Whose the sessions are that questions are about, and what the question is.
fn owners(broker: &mut Broker, now: mqtt_state::Timestamp) -> Vec<(&'static str, Option<String>)> {
    let mut told = Vec::new();
    let shown = |owner: Option<Arc<Owner>>| {
        let owner = owner?;
        let user_name = owner.user_name.as_deref().unwrap_or("-");
        let identity = owner.identity.as_deref().unwrap_or("-");
        Some(format!("{user_name} {identity}"))
    };
    while let Some(event) = broker.poll_event() {
        match event {
            Event::Authenticate { decision, .. } => {
                let answer = ConnectAnswer::Allow;
                broker.decide_connect(now, decision, answer).unwrap();
            }
            Event::AuthorizePublish {
                decision,
                owner,
                is_will,
                ..
            } => {
                told.push((if is_will { "will" } else { "publish" }, shown(owner)));
                let answer = PublishAnswer::Allow;
                broker.decide_publish(now, decision, answer).unwrap();
            }
            Event::AuthorizeSubscribe {
                decision, owner, ..
            } => {
                told.push(("subscribe", shown(owner)));
                let answer = SubscribeAnswer::Allow;
                broker.decide_subscribe(now, decision, answer).unwrap();
            }
            _ => {}
        }
    }
    told
}

/// Whose a session is outlives its connection, and the program.
#[test]
fn a_session_has_an_owner_wherever_its_client_is() {
    let ask = Ask {
        connect: true,
        publish: true,
        subscribe: true,
    };
    let config = Config {
        ask,
        journal: true,
        ..Config::default()
    };
    for (row, user_name, who, expected) in [
        ("both", Some("anna"), meter(), Some("anna CN=meter-7")),
        ("a name", Some("anna"), Peer::default(), Some("anna -")),
        ("an identity", None, meter(), Some("- CN=meter-7")),
        ("nobody", None, Peer::default(), None),
    ] {
        let expected = expected.map(str::to_owned);
        let of = |what| (what, expected.clone());
        let mut peer = wire::Peer::new(V5_0);
        let mut broker = Broker::new(config.clone());
        let mut disk = Disk::default();
        let id = broker.accept(peer.now, who).unwrap();
        let mut packet = connect(V5_0, "meter");
        packet.user_name = user_name.map(wire::text);
        packet.properties.session_expiry_secs = Some(100);
        let mut will = Will::new(name("gone"), Binary::new(b"x").unwrap());
        will.properties.delay_secs = Some(10);
        packet.will = Some(will);
        peer.say(&mut (&mut broker, id), packet);
        assert_eq!(owners(&mut broker, peer.now), [], "{row}");
        with_subscribe(1, &[want("a", QoS::AtMostOnce)], |packet| {
            peer.say(&mut (&mut broker, id), packet);
        });
        peer.say(
            &mut (&mut broker, id),
            publish("a", "x", QoS::AtMostOnce, 0),
        );
        let told = owners(&mut broker, peer.now);
        assert_eq!(told, [of("subscribe"), of("publish")], "{row}");
        broker.handle_close(peer.now, id);
        broker.reauthorize(peer.now, "meter");
        assert_eq!(owners(&mut broker, peer.now), [of("subscribe")], "{row}");
        disk.follow(&mut broker);
        let elapsed = Duration::from_secs(5);
        let mut broker = disk.restore(config.clone(), peer.now + elapsed, elapsed);
        broker.reauthorize(peer.now, "meter");
        assert_eq!(owners(&mut broker, peer.now), [of("subscribe")], "{row}");
        peer.now = peer.now + Duration::from_secs(10);
        broker.handle_timeout(peer.now);
        assert_eq!(owners(&mut broker, peer.now), [of("will")], "{row}");
    }
}

/// It is the one who was connected last; and nothing is kept where nobody is asked.
#[test]
fn the_last_one_to_connect_owns_a_session() {
    let peer = wire::Peer::new(V3_1_1);
    for (row, ask, expected) in [
        (
            "asked",
            Ask {
                subscribe: true,
                ..Ask::default()
            },
            Some("bert"),
        ),
        ("not asked", Ask::default(), None),
    ] {
        let mut broker = Broker::new(Config {
            ask,
            ..Config::default()
        });
        for user_name in ["anna", "bert"] {
            let id = broker.accept(peer.now, Peer::default()).unwrap();
            let mut packet = connect(V3_1_1, "same");
            packet.clean_start = false;
            packet.user_name = Some(wire::text(user_name));
            peer.say(&mut (&mut broker, id), packet);
        }
        let owner = broker.session("same").unwrap().owner;
        let user_name = owner.and_then(|owner| owner.user_name.as_deref());
        assert_eq!(user_name, expected, "{row}");
    }
}
