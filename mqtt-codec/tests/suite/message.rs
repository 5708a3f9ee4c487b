//! Messages: what outlives the packet that brought them.

use bytes::Bytes;
use mqtt_codec::{
    Binary, DecodeErrorKind, Delivery, EncodeError, Frame, Message, Packet, PacketId, Parsed,
    ProtocolVersion, Publish, PublishParts, PublishProperties, PublishTopic, QoS, Str,
    SubscriptionId, SubscriptionIds, TopicAlias, TopicErrorKind, TopicName, UserProperties,
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

/// A gateway may take away what stands in front of the payload: that is no property block then, whatever is
/// written there.
#[test]
fn a_part_of_a_payload_brings_no_properties() {
    let rows: [(&str, ProtocolVersion, &[u8]); 4] = [
        (
            "3.1.1",
            ProtocolVersion::V3_1_1,
            b"\x30\x0B\0\x01t\x05\x02\0\0\0\x07hi",
        ),
        (
            "no properties",
            ProtocolVersion::V5_0,
            b"\x30\x0C\0\x01t\0\x05\x02\0\0\0\x07hi",
        ),
        (
            "a property",
            ProtocolVersion::V5_0,
            b"\x30\x0E\0\x01t\x02\x01\x01\x05\x02\0\0\0\x07hi",
        ),
        (
            "QoS 1",
            ProtocolVersion::V5_0,
            b"\x32\x10\0\x01t\0\x07\x02\x01\x01\x05\x02\0\0\0\x07hi",
        ),
    ];
    for (row, version, bytes) in rows {
        let frame = Bytes::from_static(bytes);
        let parsed = decode(&frame, version, 100).unwrap();
        let Parsed::Complete((Packet::Publish(whole), _)) = parsed else {
            panic!("{row}: {parsed:?}");
        };
        for start in 0..=whole.payload.len() {
            let publish = Publish {
                payload: &whole.payload[start..],
                ..whole
            };
            let topic = publish.topic.name().unwrap();
            let shared = Message::from_frame(&frame, &publish, topic);
            assert_eq!(
                shared,
                Message::from_publish(&publish, topic),
                "{row} from {start}"
            );
        }
    }
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

/// More than any decoder takes, but a packet can hold them.
#[test]
fn a_message_keeps_any_number_of_properties() {
    let pair = |name| UserProperty {
        name: Str::new(name).unwrap(),
        value: Str::EMPTY,
    };
    let ids = vec![SubscriptionId::MIN; 70_000];
    for (users, id_count) in [(65_535, 1), (65_536, 0), (140_000, 0), (3, 70_000)] {
        let (mut pairs, ids) = (vec![pair("n"); users], &ids[..id_count]);
        *pairs.last_mut().unwrap() = pair("last");
        let properties = PublishProperties {
            message_expiry_secs: Some(7),
            content_type: Some(Str::new("text").unwrap()),
            subscription_ids: SubscriptionIds::new(ids),
            user_properties: UserProperties::new(&pairs),
            ..PublishProperties::default()
        };
        let message = Message::new("t", "m").unwrap();
        let message = message.with_properties(&properties).unwrap();
        assert!(
            message.properties() == properties,
            "{users} and {}",
            ids.len()
        );
        let mut bytes = Vec::new();
        let qos_0 = Delivery::AtMostOnce;
        message
            .encode_to(ProtocolVersion::V5_0, qos_0, false, &mut bytes)
            .unwrap();
        let mut expected = Vec::new();
        let publish = Publish {
            properties,
            ..Publish::new(message.topic(), b"m")
        };
        publish
            .encode_to(ProtocolVersion::V5_0, &mut expected)
            .unwrap();
        assert!(bytes == expected, "{users} and {}", ids.len());
    }
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

#[test]
fn a_message_lets_go_of_memory_that_is_more_than_twice_its_own() {
    let frame = Bytes::from(PUBLISH.to_vec());
    let Ok(Parsed::Complete((Packet::Publish(publish), _))) =
        decode(&frame, ProtocolVersion::V5_0, u32::MAX)
    else {
        panic!("a publish");
    };
    let message = Message::from_frame(&frame, &publish, TopicName::new("a/b").unwrap());
    let held = message.len_held();
    assert_eq!(held, 3 + 4 + 2, "topic, properties, payload");
    let is_in_frame =
        |message: &Message| frame.as_ptr_range().contains(&message.payload().as_ptr());
    for (pinned, shares) in [
        (0, true),
        (2 * held, true),
        (2 * held + 1, false),
        (1 << 20, false),
    ] {
        let kept = message.clone().detach(pinned);
        assert_eq!(is_in_frame(&kept), shares, "{pinned}");
        assert_eq!(kept, message, "{pinned}");
        assert_eq!(kept.properties(), message.properties(), "{pinned}");
    }
    // A payload that is apart comes along, and is let go of as well.
    let payload = Bytes::from(vec![0x55; 64]);
    let apart = Message::new("a/b", payload.clone()).unwrap();
    let places = payload.as_ptr_range();
    assert!(places.contains(&apart.payload().as_ptr()));
    assert!(!places.contains(&apart.detach(1 << 20).payload().as_ptr()));
    let apart = Message::new("a/b", "hello")
        .unwrap()
        .with_retain(true)
        .detach(1 << 20);
    assert_eq!(
        (apart.topic().as_str(), apart.payload(), apart.retain()),
        ("a/b", &b"hello"[..], true)
    );
}

#[test]
fn the_parts_of_a_publish_are_found_whatever_its_properties_take() {
    let value = "v".repeat(65_535);
    // Lengths of the block at which its own length takes one byte more.
    for block in [
        0, 5, 127, 128, 129, 16_382, 16_383, 16_384, 16_385, 2_097_150, 2_097_152, 2_097_160,
    ] {
        let mut pairs = Vec::new();
        let mut left: usize = block;
        while left > 0 {
            // 5 bytes around the texts; never less than that for the last one.
            let len = left.min(60_000);
            let len = if left - len < 5 && left != len {
                left - 5
            } else {
                len
            };
            pairs.push(UserProperty {
                name: Str::EMPTY,
                value: Str::new(&value[..len - 5]).unwrap(),
            });
            left -= len;
        }
        for id in [None, PacketId::new(7)] {
            let delivery = id.map_or(Delivery::AtMostOnce, |id| Delivery::AtLeastOnce {
                id,
                dup: true,
            });
            let publish = Publish {
                delivery,
                properties: PublishProperties {
                    user_properties: UserProperties::new(&pairs),
                    ..PublishProperties::default()
                },
                ..Publish::new(TopicName::new("a/b").unwrap(), b"hi")
            };
            let mut bytes = Vec::new();
            Packet::from(publish)
                .encode_to(ProtocolVersion::V5_0, &mut bytes)
                .unwrap();
            let version = ProtocolVersion::V5_0;
            let Ok(Parsed::Complete(frame)) = Frame::parse(&bytes, Some(version), u32::MAX) else {
                panic!("a frame");
            };
            let parts = PublishParts::decode(&frame, version).unwrap().unwrap();
            assert_eq!(
                (parts.delivery(), parts.alias()),
                (delivery, None),
                "{block}"
            );
            let message = Message::from_parts(Bytes::from(bytes.clone()), parts);
            assert_eq!(message.publish(delivery), publish, "{block}");
            let Ok(Parsed::Complete((Packet::Publish(decoded), _))) =
                decode(&bytes, version, u32::MAX)
            else {
                panic!("a publish");
            };
            let topic = TopicName::new("a/b").unwrap();
            let shared = Message::from_frame(&Bytes::from(bytes.clone()), &decoded, topic);
            assert_eq!(shared, message, "{block}");
        }
    }
}

#[test]
fn parts_are_those_of_a_publish_with_a_topic() {
    let version = ProtocolVersion::V5_0;
    let parts = |bytes: &[u8]| {
        let Ok(Parsed::Complete(frame)) = Frame::parse(bytes, None, u32::MAX) else {
            panic!("a frame");
        };
        PublishParts::decode(&frame, version)
    };
    // An alias that is set with a topic, and one that stands for it.
    let both = parts(b"\x30\x08\x00\x01t\x03\x23\x00\x09x")
        .unwrap()
        .unwrap();
    assert_eq!(both.alias().map(|alias| alias.get()), Some(9));
    assert!(
        parts(b"\x30\x07\x00\x00\x03\x23\x00\x09x")
            .unwrap()
            .is_none()
    );
    let other = parts(b"\xC0\x00").unwrap_err();
    assert_eq!(other.kind(), DecodeErrorKind::NotPublish);
    // A header that 3.1.1 would take.
    let longer = parts(b"\x30\x84\x00\x00\x01t\x00").unwrap_err();
    assert_eq!(longer.kind(), DecodeErrorKind::VarIntNotMinimal);
}

#[test]
fn messages_differ_by_each_of_their_parts() {
    let message = || Message::new("t", "x").unwrap();
    let with = |properties| message().with_properties(&properties).unwrap();
    let properties = PublishProperties::default();
    let pair = |name| UserProperty {
        name: Str::new(name).unwrap(),
        value: Str::EMPTY,
    };
    let (one, two, other) = ([pair("a")], [pair("a"), pair("b")], [pair("c")]);
    let users = |pairs| PublishProperties {
        user_properties: UserProperties::new(pairs),
        ..properties
    };
    let all = [
        message(),
        Message::new("u", "x").unwrap(),
        Message::new("t", "y").unwrap(),
        message().with_qos(QoS::AtLeastOnce),
        message().with_retain(true),
        with(PublishProperties {
            message_expiry_secs: Some(1),
            ..properties
        }),
        with(users(&one)),
        with(users(&two)),
        with(users(&other)),
    ];
    for (place, left) in all.iter().enumerate() {
        for (at, right) in all.iter().enumerate() {
            assert_eq!(left == right, place == at, "{place} {at}");
        }
    }
    assert_eq!(UserProperties::new(&two).len(), 2);
    assert!(UserProperties::new(&[]).is_empty());
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

/// Properties take the longer way, which knows the same limit.
#[test]
fn a_message_with_properties_keeps_within_what_the_receiver_takes() {
    let mut message = Message::new("a/b", "on").unwrap();
    message = Message::from_publish(
        &Publish {
            properties: PublishProperties {
                content_type: Some(Str::new("x").unwrap()),
                ..PublishProperties::default()
            },
            ..message.publish(Delivery::AtMostOnce)
        },
        TopicName::new("a/b").unwrap(),
    );
    let (v5, qos0) = (ProtocolVersion::V5_0, Delivery::AtMostOnce);
    let expected = b"\x31\x0C\0\x03a/b\x04\x03\0\x01xon";
    let mut output = b"before".to_vec();
    for size_max in 0..expected.len() {
        let refused = message.encode_within(v5, qos0, true, size_max, &mut output);
        let size = expected.len();
        assert_eq!(refused, Err(EncodeError::PacketTooLarge { size }));
        assert_eq!(output, b"before");
    }
    for size_max in [expected.len(), usize::MAX] {
        output.clear();
        let written = message.encode_within(v5, qos0, true, size_max, &mut output);
        assert_eq!((written, &output[..]), (Ok(14), &expected[..]));
    }
    output.clear();
    assert_eq!(message.encode_to(v5, qos0, true, &mut output), Ok(14));
    assert_eq!(output, expected);
    // With an alias for the topic likewise.
    let alias = TopicAlias::new(7).unwrap();
    for (retain, expected) in [
        (true, b"\x31\x0C\0\0\x07\x23\0\x07\x03\0\x01xon"),
        (false, b"\x30\x0C\0\0\x07\x23\0\x07\x03\0\x01xon"),
    ] {
        output.clear();
        let size = expected.len();
        let refused = message.encode_aliased_within(qos0, retain, alias, size - 1, &mut output);
        assert_eq!(refused, Err(EncodeError::PacketTooLarge { size }));
        let written = message.encode_aliased_within(qos0, retain, alias, size, &mut output);
        assert_eq!((written, &output[..]), (Ok(size), &expected[..]));
    }
    // In 3.1.1 there are none, and RETAIN is what is asked for.
    output.clear();
    let v3 = ProtocolVersion::V3_1_1;
    assert_eq!(message.encode_to(v3, qos0, false, &mut output), Ok(9));
    assert_eq!(output, b"\x30\x07\0\x03a/bon");
}
