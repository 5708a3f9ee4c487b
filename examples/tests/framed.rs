//! The adapter for `tokio_util::codec`, in a `Framed` on both ends.

use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _};
use mqtt_codec::{
    ConnAck, ConnAckOutcome, Connect, Message, Packet, ProtocolVersion, Publish, Str, TopicName,
};
use mqtt_examples::framed::MqttCodec;
use tokio_util::codec::{Decoder as _, Framed};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0];

#[tokio::test]
async fn packets_go_both_ways_through_a_narrow_pipe() {
    for version in VERSIONS {
        // Seven bytes at a time.
        let (client, server) = tokio::io::duplex(7);
        let mut client = Framed::new(client, MqttCodec::for_version(version));
        let mut server = Framed::new(server, MqttCodec::default());

        let connect = Connect::new(version, Str::new("c").unwrap());
        let served = tokio::spawn(async move {
            let incoming = server.next().await.unwrap().unwrap();
            let Packet::Connect(connect) = incoming.packet().unwrap() else {
                return None;
            };
            assert_eq!(connect.version, version, "learned from the packet");
            let accepted = ConnAckOutcome::Accepted {
                session_present: false,
            };
            server
                .send(Packet::ConnAck(ConnAck::new(accepted)))
                .await
                .unwrap();
            let incoming = server.next().await.unwrap().unwrap();
            let Packet::Publish(publish) = incoming.packet().unwrap() else {
                return None;
            };
            let topic = publish.topic.name().unwrap();
            Some(Message::from_frame(incoming.frame(), &publish, topic))
        });
        client.send(Packet::Connect(connect)).await.unwrap();
        let answer = client.next().await.unwrap().unwrap();
        assert!(
            matches!(answer.packet(), Ok(Packet::ConnAck(_))),
            "{version}"
        );
        let publish = Publish::new(TopicName::new("house/light").unwrap(), &[0x55; 300]);
        client.send(publish.into()).await.unwrap();
        let message = served.await.unwrap().unwrap();
        assert_eq!(message.topic(), "house/light");
        assert_eq!(message.payload(), [0x55; 300]);
    }
}

#[test]
fn what_is_wrong_with_a_packet_is_in_the_error() {
    // Before CONNECT nothing else is read.
    let mut early = BytesMut::from(&[0xC0, 0x00][..]);
    let error = MqttCodec::default().decode(&mut early).unwrap_err();
    assert!(error.to_string().contains("CONNECT"), "{error}");

    // A header that no packet has, and a packet whose field is wrong.
    let mut codec = MqttCodec::for_version(ProtocolVersion::V5_0);
    let mut flags = BytesMut::from(&[0xC1, 0x00][..]);
    assert!(codec.decode(&mut flags).is_err());
    let mut topic = BytesMut::from(&[0x30, 0x04, 0x00, 0x01, b'+', 0x00][..]);
    let incoming = codec.decode(&mut topic).unwrap().unwrap();
    assert_eq!(
        incoming.packet().unwrap_err().statement(),
        Some("MQTT-3.3.2-2")
    );

    // A length that lies reserves nothing, and is refused before its bytes have come.
    let mut large = BytesMut::from(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F][..]);
    assert!(codec.decode(&mut large).is_err());
}
