//! Every packet in every state, against tables that were written first. The tests compare, and never
//! write.

mod client;
mod server;

use core::fmt;
use std::collections::BTreeSet;

use mqtt_codec::{
    Ack, Auth, AuthReason, Authentication, Disconnect, DisconnectReason, Packet, PacketId,
    PacketType, ProtocolVersion, PublishReason, QoS, ReleaseReason, SubAck, SubAckReasons,
    SubscribeReason, TopicFilter, UnsubAck, UnsubAckReasons, UnsubscribeReason,
};

use crate::wire::{V3_1_1, V5_0, connack, connect, id, publish, text, want, with_subscribe};

/// The authentication method where there is one.
const METHOD: &str = "m";

struct Cell<'t, const REACTIONS: usize> {
    state: &'t str,
    packet: &'t str,
    version: ProtocolVersion,
    reactions: [&'t str; REACTIONS],
}

impl<const REACTIONS: usize> fmt::Display for Cell<'_, REACTIONS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.state, self.packet, self.version)
    }
}

fn cells<const REACTIONS: usize>(table: &str) -> Vec<Cell<'_, REACTIONS>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<_> = line.split('|').map(str::trim).collect();
            let [state, packet, version, ref reactions @ .., rule] = fields[..] else {
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
                reactions: reactions.try_into().unwrap(),
            }
        })
        .collect()
}

/// Every type of packet in every state, at each of its levels; and no row twice.
fn check_that_all_are_there<const REACTIONS: usize>(table: &str, states: &[(&str, &[u8])]) {
    let mut seen = BTreeSet::new();
    for cell in cells::<REACTIONS>(table) {
        let row = (cell.state, cell.packet, cell.version.level());
        assert!(seen.insert(row), "{row:?} twice");
    }
    for (state, levels) in states {
        for value in 1..=15 {
            let packet = PacketType::try_from(value).unwrap().to_string();
            for level in *levels {
                let is_it = |(at, name, of): &&(&str, &str, u8)| {
                    at == state && of == level && name.split(' ').next() == Some(packet.as_str())
                };
                assert!(
                    seen.iter().any(|row| is_it(&row)),
                    "{state} {packet} {level}"
                );
            }
        }
    }
}

/// The bytes of the packet with this name.
fn bytes_of(name: &str, version: ProtocolVersion) -> Vec<u8> {
    if name.starts_with("AUTH") && version == V3_1_1 {
        // 3.1.1 has no such packet to encode.
        return vec![0xF0, 0];
    }
    with_packet(name, version, |packet| {
        let mut bytes = Vec::new();
        packet.encode_to(version, &mut bytes).unwrap();
        bytes
    })
}

fn or_nothing(all: &[String]) -> String {
    if all.is_empty() {
        "-".to_owned()
    } else {
        all.join(" ")
    }
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
    let id: PacketId = match packet {
        "AUTH" => id(1),
        _ => id(words.next().map_or(1, |value| value.parse().unwrap())),
    };
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
        "AUTH" => {
            let reason = match words.next() {
                Some("00") => AuthReason::Success,
                Some("18") => AuthReason::ContinueAuthentication,
                Some("19") => AuthReason::ReAuthenticate,
                other => panic!("{other:?}"),
            };
            let authentication = Authentication {
                method: text(words.next().unwrap_or(METHOD)),
                data: None,
            };
            Auth::new(reason, authentication).into()
        }
        other => panic!("{other}"),
    };
    done(packet)
}
