//! The client, against `client.txt`.

use mqtt_codec::{Connect, Message, Packet, QoS};
use mqtt_state::client::{Config, Event};

use super::{bytes_of, cells, check_that_all_are_there, or_nothing};
use crate::recorded::Client;
use crate::wire::{Peer, connack, connect, filter, publish, pubrec, want};

const TABLE: &str = include_str!("client.txt");
const LEVELS: &[u8] = &[4, 5];
const STATES: [(&str, &[u8]); 4] = [
    ("disconnected", LEVELS),
    ("connecting", LEVELS),
    ("connected", LEVELS),
    ("ending", LEVELS),
];

/// A client in a state, with nothing left to say or to tell.
fn client_in(state: &str, peer: &Peer) -> Client {
    let mut client = Client::new(Config::default());
    if state != "disconnected" {
        let mut connect: Connect<'_> = connect(peer.version, "c");
        connect.properties.session_expiry_secs = None;
        client.connect(peer.now, &connect).unwrap();
        peer.hear(&mut client);
    }
    if matches!(state, "connected" | "busy" | "ending") {
        peer.say(&mut client, connack(false));
    }
    if state == "busy" {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce] {
            let message = Message::new("t", "m").unwrap().with_qos(qos);
            client.publish(peer.now, message).unwrap();
        }
        peer.hear(&mut client);
        peer.say(&mut client, pubrec(3));
        client.subscribe(&[want("a", QoS::AtMostOnce)]).unwrap();
        client.unsubscribe(&[filter("a")]).unwrap();
        let sent = peer.ask(&mut client, publish("t", "m", QoS::ExactlyOnce, 9));
        assert_eq!(
            sent,
            ["PUBREL 3 00", "SUBSCRIBE 4", "UNSUBSCRIBE 5", "PUBREC 9 00"]
        );
    }
    if state == "ending" {
        let sent = peer.ask(&mut client, Packet::PingReq);
        assert_eq!(sent.last().map(String::as_str), Some("close"));
    }
    while client.poll_event().is_some() {}
    client
}

fn reaction(client: &mut Client, peer: &Peer, name: &str) -> String {
    peer.say_bytes(client, &bytes_of(name, peer.version));
    let mut all = peer.hear(client);
    all.extend(
        core::iter::from_fn(|| client.poll_event()).filter_map(|event| {
            let name = match event {
                Event::Connected { .. } => "connected",
                Event::Message { .. } => "message",
                Event::Published { .. } => "published",
                Event::Subscribed { .. } => "subscribed",
                Event::Unsubscribed { .. } => "unsubscribed",
                Event::Closed { .. } => "closed",
                // What was open when the connection ended, each told in tests of its own.
                Event::PublishLost { .. } | Event::RequestLost { .. } => return None,
                other => panic!("{other:?}"),
            };
            Some(name.to_owned())
        }),
    );
    or_nothing(&all)
}

#[test]
fn a_client_reacts_as_the_table_says() {
    for cell in cells::<1>(TABLE) {
        let peer = Peer::new(cell.version);
        let mut client = client_in(cell.state, &peer);
        let found = reaction(&mut client, &peer, cell.packet);
        assert_eq!([found.as_str()], cell.reactions, "{cell}");
    }
}

#[test]
fn the_table_has_every_cell_once() {
    check_that_all_are_there::<1>(TABLE, &STATES);
}
