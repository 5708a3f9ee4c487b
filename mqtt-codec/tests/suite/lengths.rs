//! Lengths that lie: every field that announces how long it is says 0, one less, one more, and
//! the most there is.

use mqtt_codec::{
    AckProperties, DecodeErrorKind, Packet, PacketId, Parsed, ProtocolVersion, Publish, SubAck,
    SubAckReasons, SubscribeReason, TopicName, decode,
};
use proptest::prelude::*;

use crate::hex::hex;
use crate::packets::versioned_packet;
use ProtocolVersion::{V3_1_1, V5_0};

proptest! {
    // Whatever two bytes are taken for a length: a whole packet is read or refused, and never
    // waits for more; and what is read is what is written again.
    #[test]
    fn a_whole_packet_with_a_lying_length_never_waits((version, packet) in versioned_packet()) {
        let mut bytes = Vec::new();
        packet.encode_to(version, &mut bytes).unwrap();
        prop_assume!(bytes.len() < 300);
        let header_len = 2 + usize::from(bytes[1] >= 0x80);
        for at in header_len..bytes.len().saturating_sub(1) {
            let length = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            for lie in [0, length.wrapping_sub(1), length.wrapping_add(1), u16::MAX] {
                let mut lying = bytes.clone();
                lying[at..at + 2].copy_from_slice(&lie.to_be_bytes());
                let decoded = decode(&lying, version, u32::MAX);
                prop_assert!(!matches!(decoded, Ok(Parsed::Partial { .. })), "{lie} at {at}");
                let Ok(Parsed::Complete((read, size))) = decoded else { continue };
                prop_assert_eq!(size, lying.len());
                // A CONNECT may have become one of the other version.
                let level = |packet: &_| match packet {
                    Packet::Connect(connect) => connect.version,
                    _ => version,
                };
                let mut again = Vec::new();
                // In 3.1.1 an empty client identifier is read, and answered, but not written.
                if read.encode_to(level(&read), &mut again).is_ok() {
                    let (reread, _) = match decode(&again, version, u32::MAX) {
                        Ok(Parsed::Complete(whole)) => whole,
                        other => panic!("{other:?}: {again:02x?}"),
                    };
                    prop_assert_eq!(reread, read);
                }
            }
        }
    }
}

type Row = (&'static str, ProtocolVersion, &'static str, usize);

// The field, the packet, and where the two bytes of its length are.
const FIELDS: &[Row] = &[
    (
        "protocol name",
        V5_0,
        "10 0D 00 04 4D 51 54 54 05 02 00 3C 00 00 00",
        2,
    ),
    (
        "client identifier",
        V3_1_1,
        "10 0E 00 04 4D 51 54 54 04 02 00 3C 00 02 61 62",
        12,
    ),
    (
        "client identifier",
        V5_0,
        "10 0F 00 04 4D 51 54 54 05 02 00 3C 00 00 02 61 62",
        13,
    ),
    (
        "will topic",
        V3_1_1,
        "10 15 00 04 4D 51 54 54 04 06 00 3C 00 01 61 00 02 77 78 00 02 79 7A",
        15,
    ),
    (
        "will payload",
        V3_1_1,
        "10 15 00 04 4D 51 54 54 04 06 00 3C 00 01 61 00 02 77 78 00 02 79 7A",
        19,
    ),
    (
        "user name",
        V3_1_1,
        "10 15 00 04 4D 51 54 54 04 C2 00 3C 00 01 61 00 02 75 76 00 02 70 71",
        15,
    ),
    (
        "password",
        V3_1_1,
        "10 15 00 04 4D 51 54 54 04 C2 00 3C 00 01 61 00 02 75 76 00 02 70 71",
        19,
    ),
    ("topic", V3_1_1, "30 04 00 02 61 62", 2),
    ("topic", V5_0, "30 05 00 02 61 62 00", 2),
    (
        "filter of SUBSCRIBE",
        V3_1_1,
        "82 07 00 0A 00 02 61 62 00",
        4,
    ),
    (
        "filter of SUBSCRIBE",
        V5_0,
        "82 08 00 0A 00 00 02 61 62 00",
        5,
    ),
    (
        "filter of UNSUBSCRIBE",
        V5_0,
        "A2 07 00 0A 00 00 02 61 62",
        5,
    ),
    ("string property", V5_0, "E0 07 00 05 1F 00 02 61 62", 5),
    (
        "binary property",
        V5_0,
        "30 09 00 01 74 05 09 00 02 61 62",
        7,
    ),
    (
        "name of a user property",
        V5_0,
        "E0 0B 00 09 26 00 02 61 62 00 02 63 64",
        5,
    ),
    (
        "value of a user property",
        V5_0,
        "E0 0B 00 09 26 00 02 61 62 00 02 63 64",
        9,
    ),
];

#[test]
fn a_field_longer_than_its_packet_is_cut_short() {
    for (field, version, packet, at) in FIELDS {
        let bytes = hex(packet);
        assert!(
            matches!(decode(&bytes, *version, 1024), Ok(Parsed::Complete(_))),
            "{field}"
        );
        let mut lying = bytes.clone();
        lying[*at..at + 2].copy_from_slice(&[0xFF, 0xFF]);
        let error = decode(&lying, *version, 1024).expect_err(field);
        assert_eq!(error.kind(), DecodeErrorKind::CutShort, "{field}: {error}");
    }
}

/// The length of a property block, in its one byte.
#[test]
fn a_block_longer_or_shorter_than_its_properties_is_malformed() {
    let rows = [
        (
            "CONNECT",
            "10 12 00 04 4D 51 54 54 05 02 00 3C 05 11 00 00 00 0A 00 00",
            12,
        ),
        ("CONNACK", "20 08 00 00 05 11 00 00 00 0A", 4),
        ("PUBLISH", "30 09 00 01 74 05 02 00 00 00 0A", 5),
        ("PUBACK", "40 09 00 0A 10 05 1F 00 02 61 62", 5),
        ("SUBSCRIBE", "82 09 00 0A 02 0B 01 00 01 61 00", 4),
        ("DISCONNECT", "E0 07 00 05 11 00 00 00 0A", 3),
    ];
    for (row, packet, at) in rows {
        let bytes = hex(packet);
        assert!(
            matches!(decode(&bytes, V5_0, 1024), Ok(Parsed::Complete(_))),
            "{row}"
        );
        let length = bytes[at];
        for lie in [1, length - 1, length + 1, 0x7F] {
            let mut lying = bytes.clone();
            lying[at] = lie;
            // A longer block may still end with a property, when what is behind it looks like one:
            // none of these does.
            assert!(decode(&lying, V5_0, 1024).is_err(), "{row}: {lie}");
        }
        // All that is behind the length is something else then.
        let mut lying = bytes.clone();
        lying[at] = 0;
        let decoded = decode(&lying, V5_0, 1024);
        let is_payload = row == "PUBLISH" && matches!(decoded, Ok(Parsed::Complete(_)));
        assert!(is_payload || decoded.is_err(), "{row}: {decoded:?}");
    }
}

#[test]
fn a_remaining_length_that_lies_waits_or_fails() {
    for (field, version, packet, _) in FIELDS {
        let bytes = hex(packet);
        let remaining = bytes[1];
        for lie in [0, remaining - 1] {
            let mut lying = bytes.clone();
            lying[1] = lie;
            assert!(
                !matches!(decode(&lying, *version, 1024), Ok(Parsed::Partial { .. })),
                "{field}: {lie} bytes are there"
            );
        }
        let mut lying = bytes.clone();
        lying[1] = remaining + 1;
        assert_eq!(
            decode(&lying, *version, 1024),
            Ok(Parsed::Partial { needed: 1 }),
            "{field}"
        );
        // 65,535, in three bytes.
        lying.splice(1..2, [0xFF, 0xFF, 0x03]);
        let needed = 65_535 + 4 - lying.len();
        assert_eq!(
            decode(&lying, *version, u32::MAX),
            Ok(Parsed::Partial { needed }),
            "{field}"
        );
        assert!(
            decode(&lying, *version, 1024).is_err(),
            "{field}: above the limit"
        );
    }
}

#[test]
fn a_remaining_length_is_written_in_its_shortest_form_at_every_border() {
    let topic = TopicName::new("t").unwrap();
    let rows: [(usize, &[u8]); 8] = [
        (3, &[3]),
        (127, &[0x7F]),
        (128, &[0x80, 0x01]),
        (16_383, &[0xFF, 0x7F]),
        (16_384, &[0x80, 0x80, 0x01]),
        (2_097_151, &[0xFF, 0xFF, 0x7F]),
        (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
        (2_097_153, &[0x81, 0x80, 0x80, 0x01]),
    ];
    for (remaining, length) in rows {
        let payload = vec![0x55; remaining - 3];
        let packet = Packet::from(Publish::new(topic, &payload));
        let mut expected = vec![0x30];
        expected.extend(length);
        expected.extend([0, 1, b't']);
        expected.extend(&payload);
        let mut grown = Vec::new();
        assert_eq!(packet.encode_to(V3_1_1, &mut grown), Ok(expected.len()));
        assert!(grown == expected, "{remaining}");
        let mut slice = vec![0; expected.len()];
        assert_eq!(packet.encode(V3_1_1, &mut slice), Ok(expected.len()));
        assert!(slice == expected, "{remaining}");
        assert_eq!(
            decode(&expected, V3_1_1, u32::MAX),
            Ok(Parsed::Complete((packet, expected.len())))
        );
        // The same lengths in a packet that goes the other way, and in a block of properties.
        let count = remaining / 3;
        let codes = vec![SubscribeReason::GrantedQoS1; count];
        let suback = Packet::SubAck(SubAck {
            id: PacketId::MIN,
            reasons: SubAckReasons::new(&codes).unwrap(),
            properties: AckProperties::default(),
        });
        let mut bytes = Vec::new();
        let len = suback.encode_to(V3_1_1, &mut bytes).unwrap();
        assert_eq!(
            decode(&bytes, V3_1_1, u32::MAX),
            Ok(Parsed::Complete((suback, len)))
        );
    }
}
