//! Every time of a `Config` at zero: what its documentation says of that is so. Each row is the same story with the
//! time that is the default, and with none.

use core::time::Duration;

use mqtt_codec::{
    AckProperties, Auth, AuthReason, Authentication, Binary, DisconnectReason, Packet, QoS,
};
use mqtt_state::broker::{self, Ask, Event as BrokerEvent, JoinConfig, PublishAnswer};
use mqtt_state::client::{Backoff, BackoffConfig, Config, Event};
use mqtt_state::{CloseCause, Timestamp};

use crate::hall::Hall;
use crate::recorded::Client;
use crate::wire::{Peer, V5_0, connack, connect, publish, text};

/// What is heard when a client does what its story says, for one time.
type Story = fn(Option<Duration>) -> Vec<String>;

fn hall(change: impl FnOnce(&mut broker::Config)) -> Hall {
    let mut config = broker::Config::default();
    change(&mut config);
    Hall::new(V5_0, config)
}

/// Time is told of, though it stands still.
fn tick(hall: &mut Hall) {
    let now = hall.peer.now;
    hall.broker.handle_timeout(now);
}

fn set(time: &mut Duration, to: Option<Duration>) {
    if let Some(to) = to {
        *time = to;
    }
}

fn closed(client: &mut Client) -> Option<CloseCause> {
    core::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
        Event::Closed { cause, .. } => Some(cause),
        _ => None,
    })
}

fn client(change: impl FnOnce(&mut Config)) -> (Client, Peer) {
    let mut config = Config::default();
    change(&mut config);
    (Client::new(config), Peer::new(V5_0))
}

fn connected(change: impl FnOnce(&mut Config)) -> (Client, Peer) {
    let (mut client, peer) = client(change);
    let mut packet = connect(V5_0, "c");
    packet.keep_alive_secs = 10;
    client.connect(peer.now, &packet).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    while client.poll_event().is_some() {}
    (client, peer)
}

const CONNECT: (&str, Story, &str, &str) = (
    "server::Config::connect_timeout: CONNECT is there before time is told of, or not at all",
    |time| {
        let mut hall = hall(|it| set(&mut it.server.connect_timeout, time));
        let (first, second) = (hall.open(), hall.open());
        let mut heard = hall.ask(first, connect(V5_0, "first"));
        tick(&mut hall);
        heard.extend(hall.ask(second, connect(V5_0, "second")));
        heard
    },
    "CONNACK 00, CONNACK 00",
    "CONNACK 00, close",
);

const LAST_BYTES: (&str, Story, &str, &str) = (
    "server::Config::close_timeout: nobody hears why he is closed",
    |time| {
        let mut hall = hall(|it| set(&mut it.server.close_timeout, time));
        let id = hall.joined("c");
        hall.say(id, publish("t", "x", QoS::AtLeastOnce, 1));
        let now = hall.peer.now;
        hall.broker
            .disconnect(now, id, DisconnectReason::ServerBusy);
        hall.hear(id)
    },
    "PUBACK 1 10, DISCONNECT 89, close",
    "close",
);

const DECISION: (&str, Story, &str, &str) = (
    "broker::Config::decision_timeout: answers count until time is told of",
    |time| {
        let mut hall = hall(|it| {
            set(&mut it.decision_timeout, time);
            it.ask = Ask {
                publish: true,
                ..Ask::default()
            };
        });
        let id = hall.joined("c");
        hall.events();
        let mut heard = Vec::new();
        for (number, is_late) in [(1, false), (2, true)] {
            hall.say(id, publish("t", "x", QoS::AtLeastOnce, number));
            let Some(BrokerEvent::AuthorizePublish { decision, .. }) = hall.broker.poll_event()
            else {
                panic!("it is asked")
            };
            if is_late {
                tick(&mut hall);
            }
            let now = hall.peer.now;
            let _stale = hall
                .broker
                .decide_publish(now, decision, PublishAnswer::Allow);
            heard.extend(hall.hear(id));
        }
        heard
    },
    "PUBACK 1 10, PUBACK 2 10",
    "PUBACK 1 10, PUBACK 2 87",
);

const CLAIM: (&str, Story, &str, &str) = (
    "JoinConfig::claim_timeout: other brokers are heard until time is told of",
    |time| {
        let mut join = JoinConfig::default();
        set(&mut join.claim_timeout, time);
        let base = broker::Config {
            join: Some(join),
            ..broker::Config::default()
        };
        let mut stage = crate::join::voice::Stage::new(&[1], &base);
        let (connection, _claim) = stage.claimed(1);
        let mut heard = vec![];
        let now = stage.world.now;
        stage.world.broker.handle_timeout(now);
        heard.extend(stage.heard_by(connection));
        heard
    },
    "",
    "CONNACK 00",
);

const CONNACK: (&str, Story, &str, &str) = (
    "client::Config::connect_timeout: CONNACK is there before time is told of, or not at all",
    |time| {
        let mut heard = Vec::new();
        for is_late in [false, true] {
            let (mut client, peer) = client(|it| set(&mut it.connect_timeout, time));
            client.connect(peer.now, &connect(V5_0, "c")).unwrap();
            peer.hear(&mut client);
            if is_late {
                client.handle_timeout(peer.now);
            }
            peer.say(&mut client, connack(false));
            heard.push(format!("{:?}", closed(&mut client)));
        }
        heard
    },
    "None, None",
    "None, Some(ConnectTimeout)",
);

const PING: (&str, Story, &str, &str) = (
    "client::Config::ping_timeout: the answer to PINGREQ is there before time is told of, or not at all",
    |time| {
        let mut heard = Vec::new();
        for is_late in [false, true] {
            let (mut client, mut peer) = connected(|it| set(&mut it.ping_timeout, time));
            peer.now = peer.now + Duration::from_secs(10);
            client.handle_timeout(peer.now);
            heard.extend(peer.hear(&mut client));
            if is_late {
                client.handle_timeout(peer.now);
            }
            peer.say(&mut client, Packet::PingResp);
            client.handle_timeout(peer.now);
            heard.push(format!("{:?}", closed(&mut client)));
        }
        heard
    },
    "PINGREQ, None, PINGREQ, None",
    "PINGREQ, None, PINGREQ, Some(PingTimeout)",
);

const AUTHENTICATION: (&str, Story, &str, &str) = (
    "client::Config::authentication_timeout: it is over before time is told of, or has failed",
    |time| {
        let mut heard = Vec::new();
        for is_late in [false, true] {
            let (mut client, peer) = client(|it| set(&mut it.authentication_timeout, time));
            let says = Authentication {
                method: text("SCRAM"),
                data: None,
            };
            let mut packet = connect(V5_0, "c");
            packet.properties.authentication = Some(says);
            client.connect(peer.now, &packet).unwrap();
            peer.hear(&mut client);
            let mut accepted = connack(false);
            accepted.properties.authentication = Some(says);
            peer.say(&mut client, accepted);
            while client.poll_event().is_some() {}
            let data = Binary::new(b"again").unwrap();
            client.reauthenticate(peer.now, Some(data)).unwrap();
            peer.hear(&mut client);
            if is_late {
                client.handle_timeout(peer.now);
            }
            let success = Auth {
                reason: AuthReason::Success,
                authentication: Some(says),
                properties: AckProperties::default(),
            };
            peer.say(&mut client, success);
            heard.push(format!("{:?}", closed(&mut client)));
        }
        heard
    },
    "None, None",
    "None, Some(AuthenticationTimeout)",
);

const GOODBYE: (&str, Story, &str, &str) = (
    "client::Config::close_timeout: no DISCONNECT goes out, and the server takes it for a lost connection",
    |time| {
        let (mut client, peer) = connected(|it| set(&mut it.close_timeout, time));
        client
            .disconnect(peer.now, DisconnectReason::NormalDisconnection)
            .unwrap();
        peer.hear(&mut client)
    },
    "DISCONNECT 00, close",
    "close",
);

#[test]
fn each_time_may_be_none() {
    for (row, story, usual, none) in [
        CONNECT,
        LAST_BYTES,
        DECISION,
        CLAIM,
        CONNACK,
        PING,
        AUTHENTICATION,
        GOODBYE,
    ] {
        assert_eq!(story(None).join(", "), usual, "{row}");
        assert_eq!(story(Some(Duration::ZERO)).join(", "), none, "{row}");
    }
}

/// Pauses of no time, and a connection that is stable at once.
#[test]
fn each_time_of_a_backoff_may_be_none() {
    let secs = Duration::from_secs;
    let usual = BackoffConfig {
        first: secs(4),
        longest: secs(60),
        jitter: 0,
        stable_after: secs(60),
    };
    let none = Duration::ZERO;
    for (row, config, expected) in [
        ("usual", usual, [4, 8, 16]),
        (
            "no first pause is none at all",
            BackoffConfig {
                first: none,
                ..usual
            },
            [0, 0, 0],
        ),
        (
            "no longest one neither",
            BackoffConfig {
                longest: none,
                ..usual
            },
            [0, 0, 0],
        ),
        (
            "whoever is let in is stable",
            BackoffConfig {
                stable_after: none,
                ..usual
            },
            [4, 8, 4],
        ),
    ] {
        let mut backoff = Backoff::new(config);
        let now = Timestamp::ZERO;
        let mut pauses = vec![backoff.pause(now, 0), backoff.pause(now, 0)];
        backoff.connected(now);
        pauses.push(backoff.pause(now, 0));
        assert_eq!(pauses, expected.map(secs), "{row}");
    }
}
