//! Every packet in every state, against a table that was written first. The test compares, and never
//! writes.

use std::collections::BTreeSet;

use mqtt_codec::{
    Ack, Auth, AuthReason, Authentication, Connect, Disconnect, DisconnectReason, Message, Packet,
    PacketId, PacketType, ProtocolVersion, PublishReason, QoS, ReleaseReason, SubAck,
    SubAckReasons, SubscribeReason, TopicFilter, UnsubAck, UnsubAckReasons, UnsubscribeReason,
};
use mqtt_state::client::{Client, Config, Event};

use crate::wire::{
    Peer, V3_1_1, V5_0, connack, connect, filter, id, publish, pubrec, text, want, with_subscribe,
};

const CLIENT: &str = include_str!("client.txt");
const STATES: [&str; 4] = ["disconnected", "connecting", "connected", "ending"];

struct Cell<'t> {
    state: &'t str,
    packet: &'t str,
    version: ProtocolVersion,
    reaction: &'t str,
}

fn cells(table: &str) -> Vec<Cell<'_>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<_> = line.split('|').map(str::trim).collect();
            let [state, packet, version, reaction, rule] = fields[..] else {
                panic!("{line}");
            };
            let version = match version {
                "5.0" => V5_0,
                "3.1.1" => V3_1_1,
                other => panic!("{other}"),
            };
            let number = if version == V5_0 {
                "[5:MQTT-"
            } else {
                "[3:MQTT-"
            };
            assert!(
                rule.starts_with(number) || rule.starts_with("section "),
                "{line}"
            );
            Cell {
                state,
                packet,
                version,
                reaction,
            }
        })
        .collect()
}

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

/// The packet with this name, and what is done with it.
fn with_packet<R>(name: &str, version: ProtocolVersion, done: impl FnOnce(Packet<'_>) -> R) -> R {
    let mut words = name.split(' ');
    let packet = words.next().unwrap();
    let qos = match packet {
        "PUBLISH" => words
            .next()
            .map(|qos| QoS::try_from(qos[1..].parse::<u8>().unwrap()).unwrap()),
        _ => None,
    };
    let id: PacketId = id(words.next().map_or(1, |value| value.parse().unwrap()));
    let v5 = version == V5_0;
    let packet: Packet<'_> = match packet {
        "CONNECT" => connect(version, "c").into(),
        "CONNACK" => connack(false).into(),
        "PUBLISH" => publish("t", "m", qos.unwrap(), id.get()).into(),
        "PUBACK" => Packet::PubAck(Ack::new(id, PublishReason::Success)),
        "PUBREC" => Packet::PubRec(Ack::new(id, PublishReason::Success)),
        "PUBREL" => Packet::PubRel(Ack::new(id, ReleaseReason::Success)),
        "PUBCOMP" => Packet::PubComp(Ack::new(id, ReleaseReason::Success)),
        "SUBSCRIBE" => return with_subscribe(id.get(), &[want("a", QoS::AtMostOnce)], done),
        "SUBACK" => SubAck {
            id,
            reasons: SubAckReasons::new(&[SubscribeReason::GrantedQoS0]).unwrap(),
            properties: Default::default(),
        }
        .into(),
        "UNSUBSCRIBE" => {
            let filters = [TopicFilter::new("a").unwrap()];
            return done(Packet::Unsubscribe(mqtt_codec::Unsubscribe {
                id,
                filters: mqtt_codec::UnsubscribeFilters::new(&filters).unwrap(),
                user_properties: Default::default(),
            }));
        }
        "UNSUBACK" => UnsubAck {
            id,
            reasons: if v5 {
                UnsubAckReasons::new(&[UnsubscribeReason::Success])
            } else {
                UnsubAckReasons::default()
            },
            properties: Default::default(),
        }
        .into(),
        "PINGREQ" => Packet::PingReq,
        "PINGRESP" => Packet::PingResp,
        "DISCONNECT" => Disconnect::new(DisconnectReason::NormalDisconnection).into(),
        "AUTH" => Auth::new(
            AuthReason::ContinueAuthentication,
            Authentication {
                method: text("m"),
                data: None,
            },
        )
        .into(),
        other => panic!("{other}"),
    };
    done(packet)
}

fn reaction(client: &mut Client, peer: &Peer, name: &str) -> String {
    let bytes = match (name, peer.version) {
        // 3.1.1 has no such packet to encode.
        ("AUTH", V3_1_1) => vec![0xF0, 0],
        _ => with_packet(name, peer.version, |packet| {
            let mut bytes = Vec::new();
            packet.encode_to(peer.version, &mut bytes).unwrap();
            bytes
        }),
    };
    peer.say_bytes(client, &bytes);
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
    if all.is_empty() {
        "-".to_owned()
    } else {
        all.join(" ")
    }
}

#[test]
fn a_client_reacts_as_the_table_says() {
    for cell in cells(CLIENT) {
        let peer = Peer::new(cell.version);
        let mut client = client_in(cell.state, &peer);
        let found = reaction(&mut client, &peer, cell.packet);
        assert_eq!(
            found, cell.reaction,
            "{} {} {}",
            cell.state, cell.packet, cell.version
        );
    }
}

#[test]
fn the_table_has_every_cell_once() {
    let mut seen = BTreeSet::new();
    for cell in cells(CLIENT) {
        let row = (cell.state, cell.packet, cell.version.level());
        assert!(seen.insert(row), "{row:?} twice");
    }
    for state in STATES {
        for value in 1..=15 {
            let packet = PacketType::try_from(value).unwrap().to_string();
            for level in [4, 5] {
                let is_it = |(at, name, of): &&(&str, &str, u8)| {
                    *at == state && *of == level && name.split(' ').next() == Some(packet.as_str())
                };
                assert!(
                    seen.iter().any(|row| is_it(&row)),
                    "{state} {packet} {level}"
                );
            }
        }
    }
}
