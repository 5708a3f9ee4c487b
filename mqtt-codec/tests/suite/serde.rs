//! Values that were stored somewhere and come back: checked like everything else.

use mqtt_codec::{
    AuthReason, Binary, ConnectReason, DisconnectReason, Message, Packet, PacketId,
    ProtocolVersion, PublishReason, QoS, ReasonCode, ReleaseReason, Str, SubscribeReason,
    SubscriptionId, TopicAlias, UnsubscribeReason,
};
use proptest::prelude::*;
use serde_json::{from_str, json, to_string, to_value};

use crate::packets::packet;

proptest! {
    #[test]
    fn a_message_comes_back_as_it_was(packet in packet(ProtocolVersion::V5_0)) {
        let Packet::Publish(publish) = packet else { return Ok(()) };
        let Some(topic) = publish.topic.name() else { return Ok(()) };
        let message = Message::from_publish(&publish, topic);
        let stored = to_string(&message).unwrap();
        prop_assert_eq!(&from_str::<Message>(&stored).unwrap(), &message);
        // A format without names, and without a way to leave something out.
        let stored = postcard::to_allocvec(&message).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Message>(&stored).unwrap(), message);
    }
}

#[test]
fn a_message_is_stored_field_by_field() {
    let message = Message::new("house/light", "on")
        .unwrap()
        .with_qos(QoS::AtLeastOnce);
    assert_eq!(
        to_value(&message).unwrap(),
        json!({"topic": "house/light", "qos": 1, "retain": false, "payload": [111, 110], "properties": null})
    );
}

#[test]
fn what_no_packet_could_hold_does_not_come_back() {
    let rows = [
        ("no topic", json!({"topic": "", "qos": 0, "payload": []})),
        (
            "a wildcard",
            json!({"topic": "a/+", "qos": 0, "payload": []}),
        ),
        ("QoS 3", json!({"topic": "a", "qos": 3, "payload": []})),
        ("no payload", json!({"topic": "a", "qos": 0})),
        (
            "a field of later",
            json!({"topic": "a", "qos": 0, "payload": [], "x": 1}),
        ),
        (
            "U+0000",
            json!({"topic": "a", "qos": 0, "payload": [], "properties": {"content_type": "\u{0}"}}),
        ),
        (
            "subscription 0",
            json!({"topic": "a", "qos": 0, "payload": [], "properties": {"subscription_ids": [0]}}),
        ),
        (
            "a wildcard in the response topic",
            json!({"topic": "a", "qos": 0, "payload": [], "properties": {"response_topic": "#"}}),
        ),
    ];
    for (row, stored) in rows {
        assert!(serde_json::from_value::<Message>(stored).is_err(), "{row}");
    }
}

#[test]
fn numbers_are_those_of_the_standard_and_nothing_else_is_one() {
    fn check<T>(value: T, number: u32, none: &[u32])
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + core::fmt::Debug,
    {
        assert_eq!(to_string(&value).unwrap(), number.to_string());
        assert_eq!(from_str::<T>(&number.to_string()).unwrap(), value);
        for none in none {
            assert!(from_str::<T>(&none.to_string()).is_err(), "{none}");
        }
    }
    check(QoS::ExactlyOnce, 2, &[3, 256]);
    check(ProtocolVersion::V5_0, 5, &[3, 6]);
    check(PacketId::new(7).unwrap(), 7, &[0, 65_536]);
    check(TopicAlias::new(7).unwrap(), 7, &[0, 65_536]);
    check(
        SubscriptionId::new(268_435_455).unwrap(),
        268_435_455,
        &[0, 268_435_456],
    );
    check(ReasonCode::QuotaExceeded, 0x97, &[0x55]);
    // SUBACK knows fewer codes.
    check(SubscribeReason::NotAuthorized, 0x87, &[0x55, 0x8E]);
    check(ConnectReason::Banned, 0x8A, &[0x01, 0x8E]);
    check(PublishReason::NoMatchingSubscribers, 0x10, &[0x11]);
    check(ReleaseReason::PacketIdNotFound, 0x92, &[0x91]);
    check(
        UnsubscribeReason::NoSubscriptionExisted,
        0x11,
        &[0x01, 0x10],
    );
    check(DisconnectReason::SessionTakenOver, 0x8E, &[0x01, 0x8A]);
    check(AuthReason::ReAuthenticate, 0x19, &[0x01, 0x87]);
}

/// What a value of the wrong kind is told.
#[test]
fn what_should_have_stood_there_is_said() {
    let rows = [
        (
            from_str::<DisconnectReason>("1").unwrap_err(),
            "DISCONNECT has no such reason code",
        ),
        (
            from_str::<Message>(r#"{"topic": 7}"#).unwrap_err(),
            "expected a topic name",
        ),
        (
            from_str::<Message>(r#"{"topic": "a", "payload": 7}"#).unwrap_err(),
            "expected bytes",
        ),
    ];
    for (error, expected) in rows {
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn texts_and_data_are_borrowed_and_checked() {
    assert_eq!(to_string(&Str::new("a\"b").unwrap()).unwrap(), r#""a\"b""#);
    assert_eq!(from_str::<Str<'_>>("\"ab\"").unwrap(), "ab");
    let too_long = format!("\"{}\"", "x".repeat(65_536));
    assert!(from_str::<Str<'_>>(&too_long).is_err());
    assert_eq!(to_string(&Binary::new(&[1, 2]).unwrap()).unwrap(), "[1,2]");
    // A format that has bytes lends them.
    let bytes = postcard::to_allocvec(&Binary::new(&[1, 2]).unwrap()).unwrap();
    let binary = postcard::from_bytes::<Binary<'_>>(&bytes).unwrap();
    assert_eq!(binary.as_bytes(), [1, 2]);
    let too_long = postcard::to_allocvec(&vec![7_u8; 65_536]).unwrap();
    assert!(postcard::from_bytes::<Binary<'_>>(&too_long).is_err());
}
