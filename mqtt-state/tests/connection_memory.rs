//! The heap of one server connection: never above what its limits add up to.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

use core::num::NonZeroU32;

use allocation_counter::measure;
use bytes::BytesMut;
use mqtt_codec::{
    Ack, Connect, Delivery, Message, Packet, PacketId, ProtocolVersion, Publish, PublishReason,
    PublishTopic, QoS, Str, TopicAlias, TopicName,
};
use mqtt_state::Timestamp;
use mqtt_state::server::{Acceptance, Acknowledge, Config, Connection, Session};

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

/// The client comes back to its session, and takes packets of so many bytes.
fn come_back(config: &Config, session: Session, packet_size_max: u32) -> Connection {
    let mut connection = Connection::new(NOW, config.clone());
    let mut connect = Connect::new(V5, Str::new("c").unwrap());
    connect.clean_start = false;
    connect.properties.session_expiry_secs = Some(1_000);
    connect.properties.packet_size_max = NonZeroU32::new(packet_size_max);
    assert!(say(&mut connection, Packet::Connect(connect)));
    while connection.poll_event().is_some() {}
    let acceptance = Acceptance {
        session: Some(session),
        ..Acceptance::default()
    };
    connection.accept(NOW, acceptance).unwrap();
    connection
}

/// As many messages as one connection lets go wait for PUBCOMP when their client comes back, and as many more go out,
/// of which none is confirmed. Then it comes back once more, and takes none of these.
fn fill_in_flight(config: &Config) -> Connection {
    let len = config.in_flight_max;
    let message = Message::new("t", vec![0; 60]).unwrap();
    let message = message.with_qos(QoS::ExactlyOnce);
    let mut bytes = Vec::with_capacity(1 << 20);
    let mut session = Session::new();
    for is_received in [true, false] {
        let mut connection = come_back(config, session, 1_000);
        for id in 1..=len {
            connection.deliver(NOW, message.clone()).unwrap();
            bytes.clear();
            let _sent = connection.poll_transmit(NOW, 1 << 20, &mut bytes);
            if is_received {
                let id = PacketId::new(id).unwrap();
                let received = Ack::new(id, PublishReason::Success);
                assert!(say(&mut connection, Packet::PubRec(received)));
            }
        }
        connection.handle_close(NOW);
        session = connection.into_session().unwrap();
    }
    assert_eq!(session.in_flight_len(), 2 * usize::from(len));
    let mut connection = come_back(config, session, 40);
    bytes.clear();
    let _sent = connection.poll_transmit(NOW, 1 << 20, &mut bytes);
    connection
}

/// A PUBREL that is sent again holds no quota: beside as many as one connection lets go there are those before it.
#[test]
fn what_was_in_flight_before_is_in_the_formula() {
    let with = |in_flight_max| {
        let config = Config {
            in_flight_max,
            waiting_len_max: 1,
            events_max: 1,
            ..small(Acknowledge::Automatic)
        };
        let bound = config.memory_bound();
        let mut connection = None;
        let info = measure(|| connection = Some(fill_in_flight(&config)));
        drop(connection);
        (usize::try_from(info.bytes_current).unwrap(), bound)
    };
    // Twice as many are just above what a table has grown to.
    let (held, bound) = with(4_100);
    let (held_of_few, bound_of_few) = with(1);
    let (held, bound) = (held - held_of_few, bound - bound_of_few);
    assert!(held <= bound, "{held} of {bound} bytes");
    assert!(held * 2 >= bound, "{held} of {bound} bytes");
}
