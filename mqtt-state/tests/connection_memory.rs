//! The heap of one server connection: never above what its limits add up to.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

use allocation_counter::measure;
use bytes::BytesMut;
use mqtt_codec::{
    Connect, Delivery, Message, Packet, PacketId, ProtocolVersion, Publish, PublishTopic, QoS, Str,
    TopicAlias, TopicName,
};
use mqtt_state::Timestamp;
use mqtt_state::server::{Acceptance, Acknowledge, Config, Connection};

const NOW: Timestamp = Timestamp::from_secs(1);
const V5: ProtocolVersion = ProtocolVersion::V5_0;

fn small(acknowledge: Acknowledge) -> Config {
    Config {
        packet_size_max: 70_000,
        connect_packet_size_max: 10_000,
        receive_maximum: 50,
        receive_maximum_v3: 50,
        in_flight_max: 20,
        acknowledge,
        topic_alias_maximum: 3,
        outbound_topic_aliases_max: 0,
        answers_bytes_max: 2_000,
        waiting_len_max: 300,
        messages_bytes_max: 600_000,
        events_max: 300,
        events_bytes_max: 1_500_000,
        ..Config::default()
    }
}

fn say(connection: &mut Connection, packet: Packet<'_>) -> bool {
    let mut bytes = Vec::with_capacity(packet.encoded_len(V5).unwrap());
    packet.encode_to(V5, &mut bytes).unwrap();
    connection.handle_input(NOW, &bytes).bytes == bytes.len()
}

/// A client that sends as much as is taken, and an owner that fetches nothing and delivers much.
fn fill(connection: &mut Connection) {
    let mut connect = Connect::new(V5, Str::new("c").unwrap());
    connect.properties.session_expiry_secs = Some(1_000);
    assert!(say(connection, Packet::Connect(connect)));
    while connection.poll_event().is_some() {}
    connection.accept(NOW, Acceptance::default()).unwrap();
    let _sent = connection.poll_transmit(NOW, 1 << 16, &mut Vec::new());
    // Messages for the client, which acknowledges none.
    let payload = vec![0; 1_800];
    let message = Message::new("t", payload).unwrap();
    while connection
        .deliver(NOW, message.clone().with_qos(QoS::AtLeastOnce))
        .is_ok()
    {}
    let long = "t".repeat(60_000);
    for alias in 1..=3 {
        let mut publish = Publish::new(TopicName::new(&long).unwrap(), b"");
        let topic = TopicName::new(&long).unwrap();
        publish.topic = PublishTopic::NameAndAlias(topic, TopicAlias::new(alias).unwrap());
        say(connection, Packet::Publish(publish));
    }
    for number in 1..=50 {
        let mut publish = Publish::new(TopicName::new("t").unwrap(), b"");
        publish.delivery = Delivery::ExactlyOnce {
            id: PacketId::new(number).unwrap(),
            dup: false,
        };
        say(connection, Packet::Publish(publish));
    }
    // Messages of the client, each in a buffer of twice its size, until no more are taken.
    let payload = vec![0; 7_000];
    while connection.wants_input() {
        let publish = Packet::Publish(Publish::new(TopicName::new("t").unwrap(), &payload));
        let size = publish.encoded_len(V5).unwrap();
        let mut input = BytesMut::with_capacity(size * 2);
        publish.encode_to(V5, &mut input).unwrap();
        let _all = connection.handle_input_shared(NOW, &mut input);
    }
}

/// Where limits are small, what counts is the room that a table brings with its first entry.
#[test]
fn a_connection_with_the_smallest_limits_stays_within_its_formula() {
    for acknowledge in [Acknowledge::Automatic, Acknowledge::Manual] {
        let config = Config {
            receive_maximum: 1,
            receive_maximum_v3: 1,
            in_flight_max: 1,
            waiting_len_max: 1,
            events_max: 1,
            ..small(acknowledge)
        };
        let bound = config.memory_bound();
        let mut connection = None;
        let info = measure(|| fill(connection.insert(Connection::new(NOW, config))));
        let held = usize::try_from(info.bytes_current).unwrap();
        assert!(held <= bound, "{acknowledge:?}: {held} of {bound} bytes");
        drop(connection);
    }
}

#[test]
fn a_connection_stays_within_its_formula_and_the_formula_is_not_idle() {
    for acknowledge in [Acknowledge::Automatic, Acknowledge::Manual] {
        let config = small(acknowledge);
        let bound = config.memory_bound();
        let mut connection = None;
        let info = measure(|| fill(connection.insert(Connection::new(NOW, config))));
        let held = usize::try_from(info.bytes_current).unwrap();
        let most = usize::try_from(info.bytes_max).unwrap();
        assert!(
            held <= bound,
            "{acknowledge:?}: {held} of {bound} bytes held"
        );
        assert!(
            most <= bound + 200_000,
            "{acknowledge:?}: {most} of {bound} bytes with the buffers of the test"
        );
        assert!(held * 2 >= bound, "{acknowledge:?}: {held} of {bound}");
        drop(connection);
    }
}
