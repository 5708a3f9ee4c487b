//! What the standards ask of both roles, shown of a client and of a server with the same words: each
//! row is one side in one version, with a peer at the other end that speaks packet by packet.

use core::num::{NonZeroU16, NonZeroU32};
use core::time::Duration;

use mqtt_codec::{
    Ack, ConnAckProperties, Connect, ConnectProperties, DisconnectReason, Message, Packet,
    ProtocolVersion, PublishProperties, PublishReason, QoS,
};
use mqtt_state::client::{self};
use mqtt_state::server::{self, Acceptance, Session};
use mqtt_state::{Consumed, Timestamp, Transmit};

use crate::recorded::{Client, Connection};
use crate::wire::{
    Machine, Peer, V3_1_1, V5_0, connack, puback, pubcomp, publish, pubrec, pubrel, text,
};

const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5_0];
const QOS1: QoS = QoS::AtLeastOnce;
const QOS2: QoS = QoS::ExactlyOnce;

/// One of both machines, connected.
#[derive(Debug)]
enum Side {
    Client(Box<Client>),
    Server(Box<Connection>),
}

impl Machine for Side {
    fn input(&mut self, now: Timestamp, bytes: &[u8]) -> Consumed {
        match self {
            Self::Client(client) => client.input(now, bytes),
            Self::Server(connection) => connection.input(now, bytes),
        }
    }

    fn output(&mut self, now: Timestamp, max_bytes: usize, buf: &mut Vec<u8>) -> Transmit {
        match self {
            Self::Client(client) => client.poll_transmit(now, max_bytes, buf),
            Self::Server(connection) => connection.poll_transmit(now, max_bytes, buf),
        }
    }
}

/// What the peer allows.
#[derive(Clone, Copy, Debug, Default)]
struct Allows {
    receive_maximum: Option<NonZeroU16>,
    packet_size_max: Option<NonZeroU32>,
}

fn connect(version: ProtocolVersion, allows: Allows) -> Connect<'static> {
    let properties = ConnectProperties {
        session_expiry_secs: Some(100),
        receive_maximum: allows.receive_maximum,
        packet_size_max: allows.packet_size_max,
        ..ConnectProperties::default()
    };
    Connect {
        clean_start: false,
        keep_alive_secs: 0,
        properties: match version {
            V5_0 => properties,
            V3_1_1 => ConnectProperties::default(),
        },
        ..Connect::new(version, text("c"))
    }
}

impl Side {
    /// The connection of a peer begins. Answers what is sent besides CONNECT and CONNACK.
    fn begin(&mut self, peer: &Peer, allows: Allows, session: Option<Session>) -> Vec<String> {
        match self {
            Self::Client(client) => {
                let present = session.is_some();
                client
                    .connect(peer.now, &connect(peer.version, Allows::default()))
                    .unwrap();
                peer.hear(&mut **client);
                let mut answer = connack(present);
                if peer.version == V5_0 {
                    answer.properties = ConnAckProperties {
                        receive_maximum: allows.receive_maximum,
                        packet_size_max: allows.packet_size_max,
                        ..ConnAckProperties::default()
                    };
                }
                peer.ask(&mut **client, answer)
            }
            Self::Server(connection) => {
                peer.say(&mut **connection, connect(peer.version, allows));
                let acceptance = Acceptance {
                    session: Some(session.unwrap_or_default()),
                    ..Acceptance::default()
                };
                connection.accept(peer.now, acceptance).unwrap();
                peer.hear(&mut **connection).split_off(1)
            }
        }
    }

    /// The connection breaks, and the next one has the same session.
    fn again(&mut self, peer: &Peer) -> Vec<String> {
        let mut session = Session::default();
        match self {
            Self::Client(client) => client.handle_close(peer.now),
            Self::Server(connection) => {
                connection.handle_close(peer.now);
                let next = Connection::new(peer.now, server::Config::default());
                session = core::mem::replace(&mut **connection, next)
                    .into_session()
                    .unwrap();
            }
        }
        self.begin(peer, Allows::default(), Some(session))
    }

    fn send(&mut self, peer: &Peer, payload: &str, qos: QoS) {
        self.send_message(
            peer,
            Message::new("t", payload.to_owned()).unwrap().with_qos(qos),
        );
    }

    fn send_message(&mut self, peer: &Peer, message: Message) {
        match self {
            Self::Client(client) => drop(client.publish(peer.now, message).unwrap()),
            Self::Server(connection) => drop(connection.deliver(peer.now, message).unwrap()),
        }
    }

    fn say_goodbye(&mut self, peer: &Peer) {
        match self {
            Self::Client(client) => {
                let reason = DisconnectReason::NormalDisconnection;
                client.disconnect(peer.now, reason).unwrap();
            }
            Self::Server(connection) => {
                connection.disconnect(peer.now, DisconnectReason::ServerBusy);
            }
        }
    }

    fn let_time_pass(&mut self, peer: &mut Peer, secs: u64) {
        peer.now = peer.now + Duration::from_secs(secs);
        match self {
            Self::Client(client) => client.handle_timeout(peer.now),
            Self::Server(connection) => connection.handle_timeout(peer.now),
        }
    }

    /// The payloads that have come up.
    fn got(&mut self) -> Vec<String> {
        let mut got = Vec::new();
        let mut note = |message: Message| {
            got.push(String::from_utf8_lossy(message.payload()).into_owned());
        };
        match self {
            Self::Client(client) => {
                while let Some(event) = client.poll_event() {
                    if let client::Event::Message { message, .. } = event {
                        note(message);
                    }
                }
            }
            Self::Server(connection) => {
                while let Some(event) = connection.poll_event() {
                    if let server::Event::Publish { message, .. } = event {
                        note(message);
                    }
                }
            }
        }
        got
    }

    fn in_flight_len(&self) -> usize {
        match self {
            Self::Client(client) => client.in_flight_len(),
            Self::Server(connection) => connection.session().in_flight_len(),
        }
    }
}

fn sides(version: ProtocolVersion, allows: Allows) -> [(Side, Peer); 2] {
    let sides = [
        Side::Client(Box::new(Client::new(client::Config::default()))),
        Side::Server(Box::new(Connection::new(
            Timestamp::from_secs(1),
            server::Config::default(),
        ))),
    ];
    sides.map(|mut side| {
        let peer = Peer::new(version);
        let sent = side.begin(&peer, allows, None);
        assert_eq!(sent, [""; 0]);
        side.got();
        (side, peer)
    })
}

/// Both sides in both versions.
fn all() -> Vec<(Side, Peer)> {
    let both = VERSIONS.map(|version| sides(version, Allows::default()));
    both.into_iter().flatten().collect()
}

#[test]
fn qos_0_goes_without_identifier_and_dup() {
    // Both roles: [5:MQTT-4.3.1-1] [3:MQTT-4.3.1-1]
    for (mut side, peer) in all() {
        side.send(&peer, "x", QoS::AtMostOnce);
        assert_eq!(peer.hear(&mut side), ["PUBLISH t=x q0"]);
        assert_eq!(side.again(&peer), [""; 0], "it is done with: {side:?}");
    }
}

#[test]
fn a_new_message_takes_a_free_identifier_and_goes_without_dup() {
    // Both roles: [5:MQTT-4.3.2-1] [5:MQTT-4.3.2-2] [5:MQTT-4.3.3-1] [5:MQTT-4.3.3-2]
    for (mut side, peer) in all() {
        for (payload, qos) in [("a", QOS1), ("b", QOS2), ("c", QOS1)] {
            side.send(&peer, payload, qos);
        }
        let first = [
            "PUBLISH t=a q1 id1",
            "PUBLISH t=b q2 id2",
            "PUBLISH t=c q1 id3",
        ];
        assert_eq!(peer.hear(&mut side), first);
        // 2 and 3 are in use all the time, and two more at once.
        let mut used = Vec::new();
        peer.say(&mut side, puback(1));
        for _ in 0..100 {
            side.send(&peer, "d", QOS1);
            side.send(&peer, "d", QOS1);
            let heard = peer.hear(&mut side);
            let ids = heard.iter().map(|sent| {
                let id = sent.strip_prefix("PUBLISH t=d q1 id").unwrap();
                id.parse::<u16>().unwrap()
            });
            let ids: Vec<_> = ids.collect();
            assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}: {side:?}");
            for id in &ids {
                peer.say(&mut side, puback(*id));
            }
            used.extend(ids);
            side.got();
        }
        assert!(!used.contains(&2) && !used.contains(&3), "{side:?}");
    }
}

#[test]
fn a_message_is_unacknowledged_until_its_last_answer() {
    // Both roles: [5:MQTT-4.3.2-3] [5:MQTT-4.3.3-3] [5:MQTT-4.3.3-5] [3:MQTT-4.3.2-1] [3:MQTT-4.3.3-1]
    for (mut side, peer) in all() {
        side.send(&peer, "a", QOS1);
        side.send(&peer, "b", QOS2);
        peer.hear(&mut side);
        assert_eq!(side.in_flight_len(), 2);
        let sent = side.again(&peer);
        assert_eq!(sent, ["PUBLISH t=a q1 id1 dup", "PUBLISH t=b q2 id2 dup"]);
        assert_eq!(peer.ask(&mut side, puback(1)), [""; 0]);
        assert_eq!(side.again(&peer), ["PUBLISH t=b q2 id2 dup"]);
        assert_eq!(peer.ask(&mut side, pubrec(2)), ["PUBREL 2 00"]);
        assert_eq!(side.in_flight_len(), 1);
        assert_eq!(side.again(&peer), ["PUBREL 2 00"]);
        assert_eq!(peer.ask(&mut side, pubcomp(2)), [""; 0]);
        assert_eq!(side.in_flight_len(), 0);
        assert_eq!(side.again(&peer), [""; 0], "{side:?}");
    }
}

#[test]
fn what_is_sent_again_keeps_its_identifier_and_has_dup() {
    // Both roles: [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] [5:MQTT-3.3.1-1] [3:MQTT-3.3.1-1]
    for (mut side, mut peer) in all() {
        side.send(&peer, "a", QOS2);
        side.send(&peer, "b", QOS1);
        peer.hear(&mut side);
        peer.ask(&mut side, pubrec(1));
        // At no other time: not however long the answer takes.
        side.let_time_pass(&mut peer, 1_000_000);
        assert_eq!(peer.hear(&mut side), [""; 0]);
        for _ in 0..3 {
            let sent = side.again(&peer);
            assert_eq!(sent, ["PUBREL 1 00", "PUBLISH t=b q1 id2 dup"], "{side:?}");
        }
    }
}

#[test]
fn after_pubrel_the_publish_is_not_sent_again() {
    // Both roles: [5:MQTT-4.3.3-6] [5:MQTT-4.3.3-4] [3:MQTT-4.3.3-1]
    for (mut side, peer) in all() {
        side.send(&peer, "a", QOS2);
        peer.hear(&mut side);
        for _ in 0..3 {
            assert_eq!(peer.ask(&mut side, pubrec(1)), ["PUBREL 1 00"]);
            assert_eq!(side.again(&peer), ["PUBREL 1 00"], "{side:?}");
        }
    }
}

#[test]
fn a_refusal_acknowledges() {
    // Both roles: [5:MQTT-4.4.0-2]
    for (mut side, peer) in sides(V5_0, Allows::default()) {
        side.send(&peer, "a", QOS1);
        side.send(&peer, "b", QOS2);
        peer.hear(&mut side);
        let refusal = |id| Ack::new(crate::wire::id(id), PublishReason::QuotaExceeded);
        assert_eq!(peer.ask(&mut side, Packet::PubAck(refusal(1))), [""; 0]);
        assert_eq!(peer.ask(&mut side, Packet::PubRec(refusal(2))), [""; 0]);
        assert_eq!(side.in_flight_len(), 0);
        assert_eq!(side.again(&peer), [""; 0], "{side:?}");
    }
}

/// PUBLISH with DUP.
fn repeated(qos: QoS, id: u16) -> mqtt_codec::Publish<'static> {
    let mut packet = publish("t", "again", qos, id);
    if let mqtt_codec::Delivery::AtLeastOnce { dup, .. }
    | mqtt_codec::Delivery::ExactlyOnce { dup, .. } = &mut packet.delivery
    {
        *dup = true;
    }
    packet
}

#[test]
fn an_identifier_is_a_new_message_once_its_flow_is_over() {
    // Both roles: [5:MQTT-4.3.2-5] [5:MQTT-4.3.3-12] [3:MQTT-4.3.2-2] [3:MQTT-4.3.3-2]
    for (mut side, peer) in all() {
        for _ in 0..2 {
            let answer = peer.ask(&mut side, repeated(QOS1, 5));
            assert_eq!(answer, ["PUBACK 5 00"]);
            assert_eq!(side.got(), ["again"], "whatever DUP says: {side:?}");
        }
        for _ in 0..2 {
            assert_eq!(peer.ask(&mut side, repeated(QOS2, 5)), ["PUBREC 5 00"]);
            assert_eq!(side.got(), ["again"], "{side:?}");
            assert_eq!(peer.ask(&mut side, repeated(QOS2, 5)), ["PUBREC 5 00"]);
            assert_eq!(side.got(), [""; 0], "{side:?}");
            assert_eq!(peer.ask(&mut side, pubrel(5)), ["PUBCOMP 5 00"]);
        }
    }
}

#[test]
fn every_packet_of_a_flow_has_the_identifier_of_its_publish() {
    // Both roles: [5:MQTT-2.2.1-5] [3:MQTT-2.3.1-6] [5:MQTT-3.3.4-1] [3:MQTT-3.3.4-1]
    for (mut side, peer) in all() {
        assert_eq!(
            peer.ask(&mut side, publish("t", "0", QoS::AtMostOnce, 0)),
            [""; 0]
        );
        for id in [1, 77, u16::MAX] {
            let answer = peer.ask(&mut side, publish("t", "1", QOS1, id));
            assert_eq!(answer, [format!("PUBACK {id} 00")]);
            let answer = peer.ask(&mut side, publish("t", "2", QOS2, id));
            assert_eq!(answer, [format!("PUBREC {id} 00")]);
            let answer = peer.ask(&mut side, pubrel(id));
            assert_eq!(answer, [format!("PUBCOMP {id} 00")]);
        }
        for id in 1..=3 {
            side.send(&peer, "x", QOS2);
            assert_eq!(peer.hear(&mut side), [format!("PUBLISH t=x q2 id{id}")]);
        }
        for id in [2, 3, 1] {
            assert_eq!(peer.ask(&mut side, pubrec(id)), [format!("PUBREL {id} 00")]);
        }
    }
}

#[test]
fn the_quota_of_the_peer_holds_back_messages_and_nothing_else() {
    // Both roles: [5:MQTT-4.9.0-1] [5:MQTT-4.9.0-2] [5:MQTT-4.9.0-3]
    // Server: [5:MQTT-3.3.4-9] [5:MQTT-3.3.4-10]
    let allows = Allows {
        receive_maximum: NonZeroU16::new(2),
        ..Allows::default()
    };
    for (mut side, peer) in sides(V5_0, allows) {
        for (payload, qos) in [
            ("a", QOS1),
            ("b", QOS2),
            ("c", QOS1),
            ("d", QoS::AtMostOnce),
        ] {
            side.send(&peer, payload, qos);
        }
        let heard = peer.hear(&mut side);
        assert_eq!(
            heard,
            ["PUBLISH t=a q1 id1", "PUBLISH t=b q2 id2", "PUBLISH t=d q0"]
        );
        assert_eq!(
            peer.ask(&mut side, publish("t", "1", QOS1, 9)),
            ["PUBACK 9 00"]
        );
        assert_eq!(
            peer.ask(&mut side, publish("t", "2", QOS2, 9)),
            ["PUBREC 9 00"]
        );
        assert_eq!(peer.ask(&mut side, pubrel(9)), ["PUBCOMP 9 00"]);
        assert_eq!(
            peer.ask(&mut side, pubrec(2)),
            ["PUBREL 2 00"],
            "no room yet"
        );
        assert_eq!(peer.ask(&mut side, pubcomp(2)), ["PUBLISH t=c q1 id3"]);
        for _ in 0..3 {
            // What nobody waits for adds nothing.
            peer.say(&mut side, puback(99));
        }
        side.send(&peer, "e", QOS1);
        assert_eq!(peer.hear(&mut side), [""; 0], "{side:?}");
    }
}

#[test]
fn after_its_own_disconnect_a_side_sends_nothing_and_closes() {
    // Both roles: [5:MQTT-3.14.4-1] [5:MQTT-3.14.4-2]
    for (mut side, peer) in sides(V5_0, Allows::default()) {
        side.say_goodbye(&peer);
        side.send(&peer, "late", QOS1);
        peer.say(&mut side, publish("t", "x", QOS1, 1));
        let heard = peer.hear(&mut side);
        assert!(heard[0].starts_with("DISCONNECT"), "{side:?}");
        assert_eq!(heard[1..], ["close"], "{side:?}");
    }
}

#[test]
fn a_fault_closes_whether_or_not_its_packet_can_be_sent() {
    // Both roles: [5:MQTT-4.13.2-1] [5:MQTT-4.13.1-1]
    for (mut side, peer) in sides(V5_0, Allows::default()) {
        // A packet that neither of them may get now.
        let expected = ["DISCONNECT 82", "close"];
        assert_eq!(peer.ask(&mut side, connack(false)), expected, "{side:?}");
    }
    // A peer that takes less than CONNACK has no server to begin with.
    let allows = Allows {
        packet_size_max: NonZeroU32::new(2),
        ..Allows::default()
    };
    let peer = Peer::new(V5_0);
    let mut side = Side::Client(Box::new(Client::new(client::Config::default())));
    side.begin(&peer, allows, None);
    assert_eq!(peer.ask(&mut side, connack(false)), ["close"]);
}

#[test]
fn packets_come_in_any_pieces() {
    // Both roles: [5:MQTT-6.0.0-2] [3:MQTT-6.0.0-2]
    for (mut side, peer) in all() {
        let mut stream = Vec::new();
        let payloads = ["", "a", "a little more than the others"];
        for payload in payloads {
            Packet::from(publish("t", payload, QOS1, 7))
                .encode_to(peer.version, &mut stream)
                .unwrap();
        }
        for piece in 1..=stream.len() {
            let mut waiting = Vec::new();
            for bytes in stream.chunks(piece) {
                waiting.extend(bytes);
                let taken = side.input(peer.now, &waiting);
                waiting.drain(..taken.bytes);
            }
            assert_eq!(waiting, [0; 0], "{piece}");
            assert_eq!(side.got(), payloads, "{piece}: {side:?}");
            assert_eq!(peer.hear(&mut side), ["PUBACK 7 00"; 3], "{piece}");
        }
    }
}

#[test]
fn what_only_this_side_cannot_hold_closes_the_connection_too() {
    // Both roles: [3:MQTT-4.8.0-2]
    for (mut side, peer) in sides(V3_1_1, Allows::default()) {
        // 3.1.1 has no way to announce a limit, so this breaks no rule.
        let _rest = side.input(peer.now, &[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
        assert_eq!(peer.hear(&mut side), ["close"], "{side:?}");
        let connected = match &side {
            Side::Client(client) => client.state() == client::State::Connected,
            Side::Server(connection) => connection.is_connected(),
        };
        assert!(!connected, "{side:?}");
    }
}

#[test]
fn the_session_stays_while_connected_and_after_it() {
    // Both roles: [5:MQTT-3.1.2-23] [3:MQTT-3.1.2-4] [5:MQTT-4.1.0-1] [3:MQTT-4.1.0-1] [3:MQTT-4.1.0-2]
    for (mut side, mut peer) in all() {
        side.send(&peer, "x", QOS2);
        peer.hear(&mut side);
        assert_eq!(
            peer.ask(&mut side, publish("t", "y", QOS2, 9)),
            ["PUBREC 9 00"]
        );
        assert_eq!(side.got(), ["y"]);
        // Longer than the session may live without a connection.
        side.let_time_pass(&mut peer, 1_000);
        assert_eq!(peer.ask(&mut side, repeated(QOS2, 9)), ["PUBREC 9 00"]);
        assert_eq!(side.got(), [""; 0], "{side:?}");
        assert_eq!(side.again(&peer), ["PUBLISH t=x q2 id1 dup"], "{side:?}");
        assert_eq!(peer.ask(&mut side, repeated(QOS2, 9)), ["PUBREC 9 00"]);
        assert_eq!(side.got(), [""; 0], "{side:?}");
    }
}

#[test]
fn expiry_stops_nothing_that_has_been_sent() {
    // Both roles: [5:MQTT-4.3.3-7] [5:MQTT-4.3.3-13]
    for (mut side, mut peer) in sides(V5_0, Allows::default()) {
        let properties = PublishProperties {
            message_expiry_secs: Some(10),
            ..PublishProperties::default()
        };
        let message = Message::new("t", "x").unwrap().with_qos(QOS2);
        side.send_message(&peer, message.with_properties(&properties).unwrap());
        assert_eq!(peer.hear(&mut side), ["PUBLISH t=x q2 id1"]);
        let mut expiring = publish("t", "y", QOS2, 9);
        expiring.properties = properties;
        assert_eq!(peer.ask(&mut side, expiring), ["PUBREC 9 00"]);
        side.let_time_pass(&mut peer, 50);
        assert_eq!(side.again(&peer), ["PUBLISH t=x q2 id1 dup"], "{side:?}");
        assert_eq!(peer.ask(&mut side, pubrec(1)), ["PUBREL 1 00"]);
        assert_eq!(peer.ask(&mut side, pubcomp(1)), [""; 0]);
        assert_eq!(peer.ask(&mut side, pubrel(9)), ["PUBCOMP 9 00"], "{side:?}");
    }
}

/// As the tables in the documentation of `memory_bound` have it.
#[test]
fn topic_aliases_are_in_the_formulas_of_memory() {
    fn client(inbound: u16, outbound: u16) -> usize {
        let config = client::Config {
            topic_alias_maximum: inbound,
            outbound_topic_aliases_max: outbound,
            ..client::Config::default()
        };
        config.memory_bound()
    }
    fn server(inbound: u16, outbound: u16) -> usize {
        let config = server::Config {
            topic_alias_maximum: inbound,
            outbound_topic_aliases_max: outbound,
            ..server::Config::default()
        };
        config.memory_bound()
    }
    let check = |role, bound: fn(u16, u16) -> usize| {
        let base = bound(6, 4);
        assert_eq!(bound(7, 4) - base, 65_663, "{role}: of the peer");
        let both_directions = 2 * 65_663;
        assert_eq!(bound(6, 5) - base, both_directions, "{role}: of this side");
    };
    check("client", client);
    check("server", server);
}
