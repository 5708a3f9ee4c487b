//! Both machines against packets that break one rule each: the connection ends, with the statement
//! that was broken and the reason code for it.

use arbitrary::{Arbitrary, Unstructured};
use mqtt_codec::arbitrary::{EncodedPacket, Violation, violations};
use mqtt_codec::{PacketType, ReasonCode};
use mqtt_state::server::Acceptance;
use mqtt_state::{CloseCause, ProtocolError, client, server};
use proptest::prelude::*;

use crate::recorded::Connection;
use crate::wire::{Machine, Peer, V5_0, connack, connect};

fn open_server(peer: &Peer) -> Connection {
    let mut connection = Connection::new(peer.now, server::Config::default());
    peer.say(&mut connection, connect(peer.version, "c"));
    connection.accept(peer.now, Acceptance::default()).unwrap();
    while connection.poll_event().is_some() {}
    peer.hear(&mut connection);
    connection
}

fn open_client(peer: &Peer) -> crate::recorded::Client {
    let mut client = crate::recorded::Client::new(client::Config::default());
    client
        .connect(peer.now, &connect(peer.version, "c"))
        .unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    while client.poll_event().is_some() {}
    client
}

/// What the machine says to the packet, and why it closed.
fn fate(peer: &Peer, machine: &mut impl Machine, violation: &Violation) -> Vec<String> {
    peer.say_bytes(machine, violation.bytes());
    peer.hear(machine)
}

/// Packets that clients, and those that servers, never send.
const OF_SERVERS: [PacketType; 4] = [
    PacketType::ConnAck,
    PacketType::SubAck,
    PacketType::UnsubAck,
    PacketType::PingResp,
];
const OF_CLIENTS: [PacketType; 4] = [
    PacketType::Connect,
    PacketType::Subscribe,
    PacketType::Unsubscribe,
    PacketType::PingReq,
];

fn check(
    peer: &Peer,
    packet_type: PacketType,
    never_comes: [PacketType; 4],
    violation: &Violation,
    said: &[String],
    cause: Option<CloseCause>,
) {
    let what = violation.what();
    match cause {
        // What cannot come is not looked at further.
        Some(CloseCause::ProtocolError(ProtocolError::UnexpectedPacket(unexpected)))
            if never_comes.contains(&packet_type) =>
        {
            assert_eq!(unexpected, packet_type, "{what}");
            if peer.version == V5_0 {
                assert_eq!(said, ["DISCONNECT 82", "close"], "{what}");
            }
        }
        // A CONNECT, whatever is wrong with it, is one too many.
        Some(CloseCause::ProtocolError(_)) if packet_type == PacketType::Connect => {}
        Some(CloseCause::ProtocolError(ProtocolError::Decode(error))) => {
            assert_eq!(error.statement(), violation.statement(), "{what}: {error}");
            if peer.version == V5_0 {
                // [5:MQTT-4.13.1-1] [5:MQTT-4.13.2-1] It is told why.
                let code = ReasonCode::value(error.reason_code());
                let expected = [format!("DISCONNECT {code:02X}"), String::from("close")];
                assert_eq!(said, expected, "{what}");
            }
        }
        other => panic!("{what}: closed for {other:?}"),
    }
    if peer.version != V5_0 {
        assert_eq!(said, ["close"], "{what}: 3.1.1 has no words for it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_broken_rule_ends_the_connection(bytes in prop::collection::vec(any::<u8>(), 100..300)) {
        let mut u = Unstructured::new(&bytes);
        while let Ok(encoded) = EncodedPacket::arbitrary(&mut u) {
            // Larger ones are refused for that.
            if encoded.bytes().len() > 1000 || u.is_empty() {
                break;
            }
            let packet = encoded.packet().unwrap();
            for violation in violations(&packet, encoded.version()) {
                let peer = Peer::new(encoded.version());
                let packet_type = packet.packet_type();

                let mut connection = open_server(&peer);
                let said = fate(&peer, &mut connection, &violation);
                let cause = core::iter::from_fn(|| connection.poll_event()).find_map(|event| match event {
                    server::Event::Closed { cause, .. } => Some(cause),
                    _ => None,
                });
                check(&peer, packet_type, OF_SERVERS, &violation, &said, cause);

                let mut client = open_client(&peer);
                let said = fate(&peer, &mut client, &violation);
                let cause = core::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
                    client::Event::Closed { cause, .. } => Some(cause),
                    _ => None,
                });
                check(&peer, packet_type, OF_CLIENTS, &violation, &said, cause);
            }
        }
    }
}
