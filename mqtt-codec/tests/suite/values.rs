//! The values that packets are made of: what they check, and how they look in words.

use mqtt_codec::{
    Binary, BinaryTooLong, EncodeError, InvalidPacketType, InvalidQoS, InvalidReason, List,
    NotInVersion, Packet, PacketId, Parsed, PlainPublish, ProtocolVersion, Publish, QoS,
    ReasonCode, SharedTopic, Str, StrError, SubscribeReason, SubscriptionId, TopicAlias, TopicName,
    decode,
};

#[test]
fn a_text_is_checked_at_every_place() {
    // [5:MQTT-1.5.4-1] [5:MQTT-1.5.4-2] [3:MQTT-1.5.3-1] [3:MQTT-1.5.3-2]
    for len in 0..=40 {
        let good = vec![b'a'; len];
        assert_eq!(Str::from_bytes(&good).map(Str::len), Ok(len));
        for at in 0..len {
            let with = |byte| {
                let mut bytes = good.clone();
                bytes[at] = byte;
                bytes
            };
            let offset = at;
            let null = StrError::NullCharacter { offset };
            assert_eq!(Str::from_bytes(&with(0)), Err(null), "{at} of {len}");
            let not_utf8 = StrError::NotUtf8 { offset };
            for byte in [0x80, 0xC3, 0xFF] {
                assert_eq!(Str::from_bytes(&with(byte)), Err(not_utf8), "{at} of {len}");
            }
            for byte in [0x01, 0x1F, 0x7F, b'+', b'#'] {
                assert!(Str::from_bytes(&with(byte)).is_ok(), "{at} of {len}");
            }
        }
        // Two bytes of one character.
        for at in 1..len {
            let mut bytes = good.clone();
            bytes[at - 1..=at].copy_from_slice("ü".as_bytes());
            assert!(Str::from_bytes(&bytes).is_ok(), "{at} of {len}");
        }
    }
}

#[test]
fn texts_and_data_have_65_535_bytes_at_most() {
    let longest = "x".repeat(65_535);
    let longer = "x".repeat(65_536);
    assert_eq!(Str::new(&longest).map(Str::len), Ok(65_535));
    assert_eq!(Str::new(&longer), Err(StrError::TooLong));
    // What is not ASCII is looked at in another way.
    let umlaut = longest.replacen("xx", "\u{E4}", 1);
    assert_eq!(Str::new(&umlaut).map(Str::len), Ok(65_535));
    assert_eq!(Str::new(&format!("{umlaut}a")), Err(StrError::TooLong));
    assert_eq!(
        Binary::new(longest.as_bytes()).map(|it| it.as_bytes().len()),
        Ok(65_535)
    );
    assert_eq!(Binary::new(longer.as_bytes()), Err(BinaryTooLong));
    assert_eq!(Binary::try_from(longer.as_bytes()), Err(BinaryTooLong));
}

#[test]
fn texts_compare_with_texts() {
    let text = Str::try_from("light").unwrap();
    assert!(text == "light" && text == *"light" && text != "dark" && text != *"dark");
    assert!(Str::try_from("a\0").is_err());
    assert!(Str::EMPTY.is_empty() && !text.is_empty());
}

#[test]
fn values_look_like_themselves() {
    let text = Str::new("light").unwrap();
    let rows = [
        (format!("{text}"), "light"),
        (format!("{text:>7}"), "  light"),
        (format!("{text:?}"), "\"light\""),
        (
            format!("{:?}", Binary::new(b"secret").unwrap()),
            "(6 bytes)",
        ),
        (
            format!("{:?}", List::<SubscriptionId>::default().iter()),
            "ListIter { .. }",
        ),
        (
            format!(
                "{:?}",
                Publish::new(TopicName::new("t").unwrap(), b"secret")
            ),
            "Publish { delivery: AtMostOnce, retain: false, topic: Name(\"t\"), \
             properties: PublishProperties { payload_format: None, message_expiry_secs: None, \
             response_topic: None, correlation_data: None, content_type: None, \
             subscription_ids: [], user_properties: [] }, payload_len: 6 }",
        ),
        (
            format!(
                "{:?}",
                PlainPublish::first_of(b"\x31\x09\0\x01tsecret", ProtocolVersion::V3_1_1, 20)
            ),
            "Some(PlainPublish { delivery: AtMostOnce, retain: true, topic: Name(\"t\"), \
             payload_len: 6, .. })",
        ),
        (
            format!("{:?}", SharedTopic::from(TopicName::new("t").unwrap())),
            "\"t\"",
        ),
        (PacketId::MIN.to_string(), "1"),
        (TopicAlias::new(9).unwrap().to_string(), "9"),
        (SubscriptionId::new(300).unwrap().to_string(), "300"),
        (QoS::ExactlyOnce.to_string(), "2"),
        (ProtocolVersion::V3_1_1.to_string(), "3.1.1"),
        (ReasonCode::QuotaExceeded.to_string(), "Quota exceeded"),
        (SubscribeReason::NotAuthorized.to_string(), "Not authorized"),
        (InvalidPacketType.to_string(), "packet types are 1 to 15"),
        (InvalidQoS.to_string(), "QoS is 0, 1 or 2"),
        (
            InvalidReason.to_string(),
            "the packet cannot carry this reason code",
        ),
        (
            BinaryTooLong.to_string(),
            "binary data has at most 65535 bytes",
        ),
        (
            StrError::TooLong.to_string(),
            "a string has at most 65535 bytes",
        ),
        (
            StrError::NullCharacter { offset: 3 }.to_string(),
            "U+0000 is not allowed, but stands at byte 3",
        ),
        (
            StrError::NotUtf8 { offset: 3 }.to_string(),
            "the string is no well-formed UTF-8 at byte 3",
        ),
    ];
    for (shown, expected) in rows {
        assert_eq!(shown, expected);
    }
}

#[test]
fn a_granted_subscription_has_a_qos() {
    let rows = [
        (SubscribeReason::GrantedQoS0, QoS::AtMostOnce),
        (SubscribeReason::GrantedQoS1, QoS::AtLeastOnce),
        (SubscribeReason::GrantedQoS2, QoS::ExactlyOnce),
    ];
    for (reason, qos) in rows {
        assert_eq!(reason.granted(), Some(qos));
        assert_eq!(SubscribeReason::from(qos), reason);
    }
    assert_eq!(SubscribeReason::NotAuthorized.granted(), None);
}

#[test]
fn a_packet_needs_just_the_room_it_takes() {
    let topic = TopicName::new("a/b").unwrap();
    let publish = Packet::from(Publish::new(topic, b"hi"));
    let packets = [
        publish,
        Packet::PingReq,
        Packet::PubAck(mqtt_codec::Ack::new(
            PacketId::MIN,
            mqtt_codec::PublishReason::Success,
        )),
    ];
    for packet in packets {
        for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
            let len = packet.encoded_len(version).unwrap();
            let mut room = [0xA5; 32];
            assert_eq!(packet.encode_to(version, &mut &mut room[..len]), Ok(len));
            let mut slice = [0xA5; 32];
            assert_eq!(packet.encode(version, &mut slice[..len]), Ok(len));
            assert_eq!(room, slice, "{packet:?}");
            let too_small = EncodeError::BufferTooSmall {
                needed: len,
                available: len - 1,
            };
            let mut room = [0xA5; 32];
            assert_eq!(
                packet.encode_to(version, &mut &mut room[..len - 1]),
                Err(too_small)
            );
            assert_eq!(packet.encode(version, &mut room[..len - 1]), Err(too_small));
            assert_eq!(room, [0xA5; 32], "nothing was written");
        }
    }
}

#[test]
fn options_that_came_from_5_0_are_not_said_in_3_1_1() {
    // `a` with QoS 1, `b` with QoS 1 and No Local, as decoded.
    let bytes = [0x82, 0x0B, 0, 10, 0, 0, 1, b'a', 1, 0, 1, b'b', 0b0101];
    let Ok(Parsed::Complete((packet, _))) = decode(&bytes, ProtocolVersion::V5_0, 64) else {
        panic!("a SUBSCRIBE");
    };
    let error = packet.encoded_len(ProtocolVersion::V3_1_1).unwrap_err();
    assert_eq!(
        error,
        EncodeError::NotInVersion(NotInVersion::SubscriptionOptions)
    );
    // And the codes of 5.0 become the failure that 3.1.1 has.
    let rows: [(&[u8], &[u8]); 2] = [
        (
            &[0x90, 6, 0, 10, 0, 0x01, 0x87, 0x80],
            &[0x90, 5, 0, 10, 0x01, 0x80, 0x80],
        ),
        (
            &[0x90, 5, 0, 10, 0, 0x87, 0x97],
            &[0x90, 4, 0, 10, 0x80, 0x80],
        ),
    ];
    for (bytes, expected) in rows {
        let Ok(Parsed::Complete((packet, _))) = decode(bytes, ProtocolVersion::V5_0, 64) else {
            panic!("a SUBACK");
        };
        let mut older = [0; 16];
        let len = packet.encode(ProtocolVersion::V3_1_1, &mut older).unwrap();
        assert_eq!(&older[..len], expected);
    }
}
