//! What the fixed header alone decides.

use mqtt_codec::{
    DecodeErrorKind, ErrorClass, Field, Frame, PacketType, Parsed, ProtocolVersion, ReasonCode,
    decode,
};

use ProtocolVersion::{V3_1_1, V5_0};

/// The largest packet there is: five bytes of header, and the longest remaining length.
const LARGEST: u32 = 5 + 268_435_455;

#[test]
fn the_first_byte_of_every_packet_is_what_the_table_says() {
    // [5:MQTT-2.1.3-1] [3:MQTT-2.2.2-1] [3:MQTT-2.2.2-2]
    for version in [V3_1_1, V5_0] {
        for first in 0..=u8::MAX {
            let expected = match first {
                0x10 | 0x20 | 0x40 | 0x50 | 0x62 | 0x70 | 0x82 | 0x90 | 0xA2 | 0xB0 => true,
                0x30 | 0x31 | 0x32 | 0x33 | 0x34 | 0x35 | 0x3A | 0x3B | 0x3C | 0x3D => true,
                0xC0 | 0xD0 | 0xE0 => true,
                0xF0 => version == V5_0,
                _ => false,
            };
            // No other byte is needed for it.
            let input = [first];
            let parsed = Frame::parse(&input, Some(version), LARGEST);
            assert_eq!(parsed.is_ok(), expected, "{first:#04x} in {version}");
            if let Err(error) = parsed {
                assert_eq!(error.class(), ErrorClass::Malformed, "{first:#04x}");
                assert_eq!(
                    (error.offset(), error.field()),
                    (0, Field::FixedHeader),
                    "{first:#04x}"
                );
            }
        }
    }
}

#[test]
fn remaining_lengths_are_read_at_their_borders() {
    // Bytes behind the first one, the value, and whether the form is the shortest.
    let rows: [(&[u8], u32, bool); 13] = [
        (&[0x00], 0, true),
        (&[0x7F], 127, true),
        (&[0x80, 0x01], 128, true),
        (&[0xFF, 0x7F], 16_383, true),
        (&[0x80, 0x80, 0x01], 16_384, true),
        (&[0xFF, 0xFF, 0x7F], 2_097_151, true),
        (&[0x80, 0x80, 0x80, 0x01], 2_097_152, true),
        (&[0xFF, 0xFF, 0xFF, 0x7F], 268_435_455, true),
        (&[0x80, 0x00], 0, false),
        (&[0xFF, 0x00], 127, false),
        (&[0x80, 0x80, 0x00], 0, false),
        (&[0xFF, 0xFF, 0x00], 16_383, false),
        (&[0x80, 0x80, 0x80, 0x00], 0, false),
    ];
    for (bytes, remaining, minimal) in rows {
        for version in [Some(V3_1_1), Some(V5_0), None] {
            let row = format!("{bytes:02X?} in {version:?}");
            let input = [&[0x30], bytes].concat();
            for cut in 0..input.len() {
                let parsed = Frame::parse(&input[..cut], version, LARGEST).unwrap();
                assert!(
                    matches!(parsed, Parsed::Partial { needed: 1 | 2 }),
                    "{row}, {cut}"
                );
            }
            // [5:MQTT-1.5.5-1] 3.1.1 has no such rule.
            if !minimal && version == Some(V5_0) {
                let error = Frame::parse(&input, version, LARGEST).unwrap_err();
                assert_eq!(error.kind(), DecodeErrorKind::VarIntNotMinimal, "{row}");
                continue;
            }
            // Large bodies are announced, and not there.
            match Frame::parse(&input, version, LARGEST).unwrap() {
                Parsed::Complete(frame) => assert_eq!(frame.size(), input.len(), "{row}"),
                Parsed::Partial { needed } => assert_eq!(needed, remaining as usize, "{row}"),
            }
        }
    }
}

#[test]
fn the_fourth_length_byte_must_end_it() {
    for version in [Some(V3_1_1), Some(V5_0), None] {
        let input = [0x30, 0xFF, 0xFF, 0xFF, 0xFF];
        let parsed = Frame::parse(&input[..4], version, LARGEST).unwrap();
        assert_eq!(parsed, Parsed::Partial { needed: 1 });
        let error = Frame::parse(&input, version, LARGEST).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::VarIntTooLong);
        assert_eq!(error.reason_code(), ReasonCode::MalformedPacket);
    }
}

#[test]
fn a_packet_above_the_limit_is_refused_before_its_body_has_come() {
    // [5:MQTT-3.1.2-24] The size is that of the whole packet, with its header.
    let input = [0x30, 0x80, 0x80, 0x80, 0x01];
    let size = 5 + 2_097_152;
    for version in [Some(V3_1_1), Some(V5_0), None] {
        let parsed = Frame::parse(&input, version, size).unwrap();
        assert_eq!(parsed, Parsed::Partial { needed: 2_097_152 });
        let error = Frame::parse(&input, version, size - 1).unwrap_err();
        let kind = DecodeErrorKind::PacketTooLarge {
            size,
            maximum: size - 1,
        };
        assert_eq!(error.kind(), kind);
        assert_eq!(error.reason_code(), ReasonCode::PacketTooLarge);
        assert_eq!(error.field(), Field::RemainingLength);
    }
    assert!(Frame::parse(&[0xC0, 0x00], Some(V5_0), 2).is_ok());
    assert!(Frame::parse(&[0xC0, 0x00], Some(V5_0), 1).is_err());
}

/// Who sends a CONNECT that is too large can be told in its version, where that has come.
#[test]
fn a_connect_above_the_limit_says_its_version_as_far_as_it_is_there() {
    let head = |level: u8| [0x10, 100, 0, 4, b'M', b'Q', b'T', b'T', level];
    for (row, input, expected) in [
        ("5.0", &head(5)[..], Some(V5_0)),
        ("3.1.1", &head(4)[..], Some(V3_1_1)),
        ("another", &head(6)[..], None),
        ("not there yet", &head(5)[..8], None),
    ] {
        let error = Frame::parse(input, None, 99).unwrap_err();
        let (size, maximum) = (102, 99);
        let kind = DecodeErrorKind::PacketTooLarge { size, maximum };
        assert_eq!((error.kind(), error.version()), (kind, expected), "{row}");
    }
    let other = Frame::parse(&[0x30, 100, 0, 4, b'M', b'Q', b'T', b'T', 5], None, 99);
    assert_eq!(other.unwrap_err().version(), None, "not a CONNECT");
}

#[test]
fn before_connect_only_connect_is_read() {
    // [5:MQTT-3.1.0-1] [3:MQTT-3.1.0-1]
    for first in [
        0x20, 0x30, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xA2, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0,
    ] {
        let input = [first, 0x00];
        let Parsed::Complete(frame) = Frame::parse(&input, None, LARGEST).unwrap() else {
            panic!("{first:#04x} is complete");
        };
        let error = frame.decode_connect().unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::NotConnect, "{first:#04x}");
        assert_eq!(error.packet_type(), Some(frame.packet_type()));
        assert_eq!(error.statement(), Some("MQTT-3.1.0-1"), "{first:#04x}");
        assert_eq!(
            error.reason_code(),
            ReasonCode::ProtocolError,
            "{first:#04x}"
        );
    }
}

#[test]
fn levels_and_protocol_names_of_others_are_told_apart() {
    let mqtt = b"\x00\x04MQTT";
    const NAME: DecodeErrorKind = DecodeErrorKind::ProtocolName;
    const LEVEL: fn(u8) -> DecodeErrorKind = DecodeErrorKind::ProtocolLevel;
    let rows = [
        ("3.1", &b"\x00\x06MQIsdp"[..], 3, LEVEL(3)),
        ("a level below", mqtt, 3, LEVEL(3)),
        ("a level above", mqtt, 6, LEVEL(6)),
        ("a bridge, by its highest bit", mqtt, 0x84, LEVEL(0x84)),
        ("a bridge of 3.1", b"\x00\x06MQIsdp", 0x83, LEVEL(0x83)),
        ("the name of 3.1 alone", b"\x00\x06MQIsdp", 4, NAME),
        ("lower case", b"\x00\x04mqtt", 5, NAME),
        ("no name", b"\x00\x00", 5, NAME),
    ];
    for (row, name, level, kind) in rows {
        // [5:MQTT-3.1.2-1] [5:MQTT-3.1.2-2] [3:MQTT-3.1.2-1] [3:MQTT-3.1.2-2]
        let body = [name, &[level, 0x02, 0, 60, 0, 0, 0]].concat();
        let input = [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat();
        let Parsed::Complete(frame) = Frame::parse(&input, None, LARGEST).unwrap() else {
            panic!("{row}: complete");
        };
        let error = frame.decode_connect().unwrap_err();
        assert_eq!(error.kind(), kind, "{row}");
        let unsupported = (kind != NAME).then_some(level);
        assert_eq!(error.unsupported_level(), unsupported, "{row}");
        assert_eq!(
            error.reason_code(),
            ReasonCode::UnsupportedProtocolVersion,
            "{row}"
        );
    }
}

#[test]
fn a_frame_tells_where_its_parts_are() {
    let input = [0x3D, 0x03, 0x00, 0x01, b'a', 0xC0];
    let Parsed::Complete(frame) = Frame::parse(&input, Some(V3_1_1), LARGEST).unwrap() else {
        panic!("complete");
    };
    assert_eq!(
        (frame.packet_type(), frame.flags()),
        (PacketType::Publish, 0b1101)
    );
    assert_eq!((frame.header_len(), frame.size()), (2, 5));
    assert_eq!(frame.body(), &input[2..5]);
}

#[test]
fn auth_does_not_exist_in_3_1_1() {
    let input = [0xF0, 0x00];
    for known in [Some(V3_1_1), None] {
        let error = match Frame::parse(&input, known, LARGEST) {
            Ok(Parsed::Complete(frame)) => frame.decode(V3_1_1).unwrap_err(),
            Ok(Parsed::Partial { .. }) => panic!("complete"),
            Err(error) => error,
        };
        assert_eq!(
            error.kind(),
            DecodeErrorKind::ReservedPacketType(15),
            "{known:?}"
        );
    }
    assert!(matches!(
        decode(&input, V5_0, LARGEST),
        Ok(Parsed::Complete(_))
    ));
}

#[test]
fn a_length_with_a_byte_too_many_is_3_1_1s_affair() {
    // [5:MQTT-1.5.5-1] The shortest form is a rule of 5.0 alone.
    let input = [0x30, 0x84, 0x00, 0, 1, b't', b'm'];
    let Parsed::Complete(frame) = Frame::parse(&input, None, LARGEST).unwrap() else {
        panic!("complete");
    };
    let publish = frame.decode_publish(V3_1_1).unwrap();
    assert_eq!(publish.payload, b"m");
    assert!(frame.decode_publish(V5_0).is_err());
}
