//! Messages: what outlives the packet that brought them.

use bytes::Bytes;
use mqtt_codec::{
    Binary, Delivery, EncodeError, Message, Packet, PacketId, Parsed, ProtocolVersion,
    PublishProperties, PublishTopic, QoS, Str, TopicErrorKind, TopicName, UserProperties,
    UserProperty, decode,
};
use proptest::prelude::*;

use crate::packets::versioned_packet;

/// PUBLISH of 5.0: `a/b`, QoS 1, id 10, RETAIN, Content Type `c`, payload `hi`.
const PUBLISH: &[u8] = b"\x33\x0E\x00\x03a/b\x00\x0A\x04\x03\x00\x01chi";

#[test]
fn a_message_has_what_the_publish_had() {
    let frame = Bytes::from_static(PUBLISH);
    let Ok(Parsed::Complete((Packet::Publish(publish), _))) =
        decode(&frame, ProtocolVersion::V5_0, u32::MAX)
    else {
        panic!("a publish");
    };
    let topic = TopicName::new("a/b").unwrap();
    for message in [
        Message::from_publish(&publish, topic),
        Message::from_frame(&frame, &publish, topic),
    ] {
        assert_eq!(message.topic(), topic);
        assert_eq!(message.payload(), b"hi");
        assert_eq!((message.qos(), message.retain()), (QoS::AtLeastOnce, true));
        assert_eq!(
            message.properties().content_type,
            Some(Str::new("c").unwrap())
        );
        let id = PacketId::new(10).unwrap();
        let again = message.publish(Delivery::AtLeastOnce { id, dup: false });
        assert_eq!(again, publish);
    }
}

#[test]
fn a_message_from_a_frame_shares_its_payload_and_a_copy_does_not() {
    let frame = Bytes::from(PUBLISH.to_vec());
    let Ok(Parsed::Complete((Packet::Publish(publish), _))) =
        decode(&frame, ProtocolVersion::V5_0, u32::MAX)
    else {
        panic!("a publish");
    };
    let topic = TopicName::new("a/b").unwrap();
    let shared = Message::from_frame(&frame, &publish, topic);
    assert!(frame.as_ptr_range().contains(&shared.payload().as_ptr()));
    let copied = Message::from_publish(&publish, topic);
    assert!(!frame.as_ptr_range().contains(&copied.payload().as_ptr()));
    let other = Bytes::from_static(b"no part of it");
    let elsewhere = Message::from_frame(&other, &publish, topic);
    assert_eq!(elsewhere.payload(), b"hi");
}

#[test]
fn a_topic_that_is_none_is_refused_with_its_place() {
    for (topic, kind, offset) in [
        ("", TopicErrorKind::Empty, 0),
        ("home/+", TopicErrorKind::WildcardInName, 5),
        ("a\0", TopicErrorKind::NullCharacter, 1),
    ] {
        let error = Message::new(topic, "x").unwrap_err();
        assert_eq!((error.kind(), error.offset()), (kind, offset), "{topic:?}");
    }
}

#[test]
fn properties_that_no_packet_could_hold_are_refused() {
    let long = "x".repeat(65_535);
    let pair = UserProperty {
        name: Str::new(&long).unwrap(),
        value: Str::new(&long).unwrap(),
    };
    let properties = |pairs: usize| vec![pair; pairs];
    let message = Message::new("t", "").unwrap();
    let fits = properties(2000);
    let fits = PublishProperties {
        user_properties: UserProperties::new(&fits),
        ..PublishProperties::default()
    };
    assert!(message.clone().with_properties(&fits).is_ok());
    let too_many = properties(2100);
    let too_many = PublishProperties {
        user_properties: UserProperties::new(&too_many),
        ..PublishProperties::default()
    };
    let error = message.with_properties(&too_many).unwrap_err();
    assert!(
        matches!(error, EncodeError::PacketTooLarge { .. }),
        "{error}"
    );
}

#[test]
fn what_a_message_counts_for_is_what_it_holds() {
    let message = Message::new("a/b", "hello").unwrap();
    assert_eq!(message.len_held(), 8);
    let properties = PublishProperties {
        correlation_data: Some(Binary::new(b"1234").unwrap()),
        ..PublishProperties::default()
    };
    let message = message.with_properties(&properties).unwrap();
    assert_eq!(message.len_held(), 8 + 3 + 4);
    assert_eq!(message.properties(), properties);
}

proptest! {
    /// Properties survive being held as bytes.
    #[test]
    fn every_publish_comes_out_of_its_message_again((_, packet) in versioned_packet()) {
        let Packet::Publish(publish) = packet else {
            return Ok(());
        };
        let (PublishTopic::Name(topic) | PublishTopic::NameAndAlias(topic, _)) = publish.topic else {
            return Ok(());
        };
        let message = Message::from_publish(&publish, topic);
        let again = message.publish(publish.delivery);
        prop_assert_eq!(again.payload, publish.payload);
        prop_assert_eq!(again.properties, publish.properties);
        prop_assert_eq!(again.topic, PublishTopic::Name(topic));
        prop_assert_eq!(message.qos(), publish.delivery.qos());
        prop_assert_eq!(message.retain(), publish.retain);
    }
}
