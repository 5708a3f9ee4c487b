//! What the tables of the standards allow, and everything beside it: each property in each
//! packet, each code in each packet, each value of each range.

use mqtt_codec::{
    DecodeError, DecodeErrorKind, ErrorClass, Field, Packet, Parsed, PropertyId, ProtocolVersion,
    ReasonCode, decode,
};

use ProtocolVersion::{V3_1_1, V5_0};

/// A packet of 5.0 up to its properties, the identifiers it may have, and what is behind them.
struct Slot {
    name: &'static str,
    first: u8,
    before: &'static [u8],
    allowed: &'static [u8],
    behind: &'static [u8],
}

const CONNECT: &[u8] = b"\x00\x04MQTT\x05\x02\x00\x3C";
const CONNECT_WITH_WILL: &[u8] = b"\x00\x04MQTT\x05\x06\x00\x3C\x00\x00\x01c";

const SLOTS: &[Slot] = &[
    Slot {
        name: "CONNECT",
        first: 0x10,
        before: CONNECT,
        allowed: &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
        behind: b"\x00\x01c",
    },
    Slot {
        name: "will",
        first: 0x10,
        before: CONNECT_WITH_WILL,
        allowed: &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
        behind: b"\x00\x01w\x00\x00",
    },
    Slot {
        name: "CONNACK",
        first: 0x20,
        before: &[0, 0],
        allowed: &[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27,
            0x28, 0x29, 0x2A,
        ],
        behind: b"",
    },
    Slot {
        name: "PUBLISH",
        first: 0x30,
        before: b"\x00\x01t",
        allowed: &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26],
        behind: b"payload",
    },
    Slot {
        name: "PUBACK",
        first: 0x40,
        before: &[0, 1, 0],
        allowed: &[0x1F, 0x26],
        behind: b"",
    },
    Slot {
        name: "PUBREC",
        first: 0x50,
        before: &[0, 1, 0],
        allowed: &[0x1F, 0x26],
        behind: b"",
    },
    Slot {
        name: "PUBREL",
        first: 0x62,
        before: &[0, 1, 0],
        allowed: &[0x1F, 0x26],
        behind: b"",
    },
    Slot {
        name: "PUBCOMP",
        first: 0x70,
        before: &[0, 1, 0],
        allowed: &[0x1F, 0x26],
        behind: b"",
    },
    Slot {
        name: "SUBSCRIBE",
        first: 0x82,
        before: &[0, 1],
        allowed: &[0x0B, 0x26],
        behind: b"\x00\x01f\x00",
    },
    Slot {
        name: "SUBACK",
        first: 0x90,
        before: &[0, 1],
        allowed: &[0x1F, 0x26],
        behind: b"\x00",
    },
    Slot {
        name: "UNSUBSCRIBE",
        first: 0xA2,
        before: &[0, 1],
        allowed: &[0x26],
        behind: b"\x00\x01f",
    },
    Slot {
        name: "UNSUBACK",
        first: 0xB0,
        before: &[0, 1],
        allowed: &[0x1F, 0x26],
        behind: b"\x00",
    },
    Slot {
        name: "DISCONNECT",
        first: 0xE0,
        before: &[0x82],
        allowed: &[0x11, 0x1C, 0x1F, 0x26],
        behind: b"",
    },
    Slot {
        name: "AUTH",
        first: 0xF0,
        before: &[0x18],
        allowed: &[0x15, 0x16, 0x1F, 0x26],
        behind: b"",
    },
];

/// One valid value of each property, in the order of the numbers.
const SAMPLES: &[(u8, &[u8])] = &[
    (0x01, &[1]),
    (0x02, &[0, 0, 0, 9]),
    (0x03, b"\x00\x01c"),
    (0x08, b"\x00\x01r"),
    (0x09, b"\x00\x01\xFF"),
    (0x0B, &[1]),
    (0x11, &[0, 0, 0, 9]),
    (0x12, b"\x00\x01i"),
    (0x13, &[0, 9]),
    (0x15, b"\x00\x01m"),
    (0x16, b"\x00\x01\xFF"),
    (0x17, &[1]),
    (0x18, &[0, 0, 0, 9]),
    (0x19, &[1]),
    (0x1A, b"\x00\x01i"),
    (0x1C, b"\x00\x01s"),
    (0x1F, b"\x00\x01s"),
    (0x21, &[0, 9]),
    (0x22, &[0, 9]),
    (0x23, &[0, 9]),
    (0x24, &[1]),
    (0x25, &[1]),
    (0x26, b"\x00\x01k\x00\x01v"),
    (0x27, &[0, 0, 0, 9]),
    (0x28, &[1]),
    (0x29, &[1]),
    (0x2A, &[1]),
];

const METHOD: u8 = 0x15;
const DATA: u8 = 0x16;

impl Slot {
    fn packet(&self, properties: &[u8]) -> Vec<u8> {
        let length = u8::try_from(properties.len()).unwrap();
        let body = [self.before, &[length], properties, self.behind].concat();
        let mut bytes = vec![self.first, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        bytes
    }

    /// Decodes the packet with one property, and what that one cannot stand without.
    fn with(&self, properties: &[(u8, &[u8])]) -> Result<(), DecodeError> {
        let mut block = Vec::new();
        let has = |wanted| properties.iter().any(|(id, _)| *id == wanted);
        if has(DATA) && !has(METHOD) && self.allowed.contains(&METHOD) {
            block.extend(b"\x15\x00\x01m");
        }
        for (id, value) in properties {
            block.push(*id);
            block.extend(*value);
        }
        self.decode(&block)
    }

    fn decode(&self, properties: &[u8]) -> Result<(), DecodeError> {
        let bytes = self.packet(properties);
        match decode(&bytes, V5_0, u32::MAX)? {
            Parsed::Complete((_, size)) => {
                assert_eq!(size, bytes.len());
                Ok(())
            }
            Parsed::Partial { .. } => panic!("{}: the packet is complete", self.name),
        }
    }
}

fn property(id: u8) -> PropertyId {
    *PropertyId::ALL
        .iter()
        .find(|property| property.value() == id)
        .unwrap()
}

#[test]
fn every_property_stands_where_the_table_says_and_nowhere_else() {
    for slot in SLOTS {
        for &(id, value) in SAMPLES {
            let row = format!("{:#04x} in {}", id, slot.name);
            let result = slot.with(&[(id, value)]);
            if slot.allowed.contains(&id) {
                assert_eq!(result, Ok(()), "{row}");
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::MisplacedProperty, "{row}");
            assert_eq!(error.field(), Field::Property(property(id)), "{row}");
            assert_eq!(error.reason_code(), ReasonCode::MalformedPacket, "{row}");
        }
    }
}

#[test]
fn property_identifiers_that_do_not_exist_are_refused_everywhere() {
    let known: Vec<u8> = SAMPLES.iter().map(|(id, _)| *id).collect();
    assert_eq!(
        known,
        PropertyId::ALL
            .iter()
            .map(|id| id.value())
            .collect::<Vec<_>>()
    );
    for slot in SLOTS {
        for id in (0..0x80).filter(|id| !known.contains(id)) {
            let error = slot.decode(&[id, 0]).unwrap_err();
            let kind = DecodeErrorKind::UnknownProperty(id.into());
            assert_eq!(error.kind(), kind, "{:#04x} in {}", id, slot.name);
            assert_eq!(error.class(), ErrorClass::Malformed);
        }
        // Two bytes for a number that does not exist, and for one that needs only one byte.
        let error = slot.decode(&[0x81, 0x01, 0]).unwrap_err();
        assert_eq!(
            error.kind(),
            DecodeErrorKind::UnknownProperty(129),
            "{}",
            slot.name
        );
        let error = slot.decode(&[0xA6, 0x00, 0]).unwrap_err();
        assert_eq!(
            error.kind(),
            DecodeErrorKind::VarIntNotMinimal,
            "{}",
            slot.name
        );
    }
}

#[test]
fn only_user_properties_and_subscription_identifiers_of_a_publish_are_repeated() {
    for slot in SLOTS {
        for &(id, value) in SAMPLES.iter().filter(|(id, _)| slot.allowed.contains(id)) {
            let row = format!("{:#04x} in {}", id, slot.name);
            let result = slot.with(&[(id, value), (id, value)]);
            if id == 0x26 || (id == 0x0B && slot.name == "PUBLISH") {
                assert_eq!(result, Ok(()), "{row}");
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::RepeatedProperty, "{row}");
            assert_eq!(error.field(), Field::Property(property(id)), "{row}");
            assert_eq!(error.reason_code(), ReasonCode::ProtocolError, "{row}");
        }
    }
}

#[test]
fn a_property_that_is_cut_off_is_malformed() {
    for slot in SLOTS {
        for &(id, value) in SAMPLES.iter().filter(|(id, _)| slot.allowed.contains(id)) {
            for cut in 0..value.len() {
                let row = format!("{:#04x} in {}, {cut} bytes", id, slot.name);
                let error = slot.with(&[(id, &value[..cut])]).unwrap_err();
                assert_eq!(error.kind(), DecodeErrorKind::CutShort, "{row}");
                assert_eq!(error.field(), Field::Property(property(id)), "{row}");
                assert_eq!(error.class(), ErrorClass::Malformed, "{row}");
            }
        }
        // A block that goes on behind the end of its packet.
        let mut bytes = slot.packet(&[]);
        let length = 2 + slot.before.len();
        bytes[length] = 0x7F;
        let error = decode(&bytes, V5_0, u32::MAX).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::CutShort, "{}", slot.name);
        assert_eq!(error.class(), ErrorClass::Malformed, "{}", slot.name);
    }
}

#[test]
fn values_outside_their_range_are_protocol_errors() {
    const PROTOCOL_ERROR: ReasonCode = ReasonCode::ProtocolError;
    let rows: &[(&str, u8, &[u8], u32, ReasonCode)] = &[
        ("PUBLISH", 0x01, &[2], 2, PROTOCOL_ERROR),
        ("will", 0x01, &[2], 2, PROTOCOL_ERROR),
        ("PUBLISH", 0x0B, &[0], 0, PROTOCOL_ERROR),
        ("SUBSCRIBE", 0x0B, &[0], 0, PROTOCOL_ERROR),
        ("CONNECT", 0x17, &[2], 2, PROTOCOL_ERROR),
        ("CONNECT", 0x19, &[2], 2, PROTOCOL_ERROR),
        ("CONNECT", 0x21, &[0, 0], 0, PROTOCOL_ERROR),
        ("CONNACK", 0x21, &[0, 0], 0, PROTOCOL_ERROR),
        ("PUBLISH", 0x23, &[0, 0], 0, ReasonCode::TopicAliasInvalid), // [5:MQTT-3.3.2-8]
        ("CONNACK", 0x24, &[2], 2, PROTOCOL_ERROR),
        ("CONNACK", 0x25, &[2], 2, PROTOCOL_ERROR),
        ("CONNECT", 0x27, &[0, 0, 0, 0], 0, PROTOCOL_ERROR),
        ("CONNACK", 0x27, &[0, 0, 0, 0], 0, PROTOCOL_ERROR),
        ("CONNACK", 0x28, &[2], 2, PROTOCOL_ERROR),
        ("CONNACK", 0x29, &[2], 2, PROTOCOL_ERROR),
        ("CONNACK", 0x2A, &[2], 2, PROTOCOL_ERROR),
    ];
    for &(slot, id, value, found, reason) in rows {
        let row = format!("{id:#04x} in {slot}");
        let slot = SLOTS.iter().find(|other| other.name == slot).unwrap();
        let error = slot.with(&[(id, value)]).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::PropertyValue(found), "{row}");
        assert_eq!(error.field(), Field::Property(property(id)), "{row}");
        assert_eq!(error.reason_code(), reason, "{row}");
        assert_eq!(error.class(), ErrorClass::ProtocolError, "{row}");
    }
}

#[test]
fn authentication_data_needs_a_method() {
    for slot in SLOTS.iter().filter(|slot| slot.allowed.contains(&DATA)) {
        let error = slot.decode(b"\x16\x00\x01\xFF").unwrap_err();
        assert_eq!(
            error.kind(),
            DecodeErrorKind::DataWithoutMethod,
            "{}",
            slot.name
        );
        assert_eq!(
            error.reason_code(),
            ReasonCode::ProtocolError,
            "{}",
            slot.name
        );
    }
}

#[test]
fn a_response_topic_is_a_topic_name() {
    // [5:MQTT-3.3.2-14] no wildcards
    for slot in SLOTS.iter().filter(|slot| slot.allowed.contains(&0x08)) {
        for (value, reason) in [
            (&b"\x00\x01#"[..], ReasonCode::ProtocolError),
            (b"\x00\x03a/+", ReasonCode::ProtocolError),
            (b"\x00\x00", ReasonCode::ProtocolError),
            (b"\x00\x01\x00", ReasonCode::MalformedPacket),
            (b"\x00\x01\xFF", ReasonCode::MalformedPacket),
        ] {
            let error = slot.with(&[(0x08, value)]).unwrap_err();
            let field = Field::Property(PropertyId::ResponseTopic);
            assert_eq!(error.field(), field, "{value:?} in {}", slot.name);
            assert_eq!(error.reason_code(), reason, "{value:?} in {}", slot.name);
        }
    }
}

/// Every code a packet carries in 5.0.
#[test]
fn every_reason_code_stands_where_the_table_says_and_nowhere_else() {
    type Codes = &'static [u8];
    const PUBLISH_CODES: Codes = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    const RELEASE_CODES: Codes = &[0x00, 0x92];
    let rows: &[(&str, &[u8], &[u8], Codes)] = &[
        // [5:MQTT-3.2.2-8]
        (
            "CONNACK",
            &[0x20, 3, 0],
            &[0],
            &[
                0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
                0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
            ],
        ),
        // [5:MQTT-3.4.2-1]
        ("PUBACK", &[0x40, 3, 0, 1], &[], PUBLISH_CODES),
        // [5:MQTT-3.5.2-1]
        ("PUBREC", &[0x50, 3, 0, 1], &[], PUBLISH_CODES),
        // [5:MQTT-3.6.2-1]
        ("PUBREL", &[0x62, 3, 0, 1], &[], RELEASE_CODES),
        // [5:MQTT-3.7.2-1]
        ("PUBCOMP", &[0x70, 3, 0, 1], &[], RELEASE_CODES),
        // [5:MQTT-3.9.3-2]
        (
            "SUBACK",
            &[0x90, 4, 0, 1, 0],
            &[],
            &[
                0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
            ],
        ),
        // [5:MQTT-3.11.3-2]
        (
            "UNSUBACK",
            &[0xB0, 4, 0, 1, 0],
            &[],
            &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
        ),
        // [5:MQTT-3.14.2-1]
        (
            "DISCONNECT",
            &[0xE0, 1],
            &[],
            &[
                0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90,
                0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0,
                0xA1, 0xA2,
            ],
        ),
        // [5:MQTT-3.15.2-1]
        ("AUTH", &[0xF0, 2], &[0], &[0x00, 0x18, 0x19]),
    ];
    for (name, before, behind, allowed) in rows {
        for code in 0..=u8::MAX {
            let bytes = [before, &[code][..], behind].concat();
            let result = decode(&bytes, V5_0, u32::MAX);
            if allowed.contains(&code) {
                assert!(
                    matches!(result, Ok(Parsed::Complete(_))),
                    "{code:#04x} in {name}"
                );
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(
                error.kind(),
                DecodeErrorKind::ReasonCode(code),
                "{code:#04x} in {name}"
            );
            assert_eq!(
                error.reason_code(),
                ReasonCode::ProtocolError,
                "{code:#04x} in {name}"
            );
            assert!(error.statement().is_some(), "{code:#04x} in {name}");
        }
    }
}

#[test]
fn return_codes_of_3_1_1_are_those_of_its_tables() {
    for code in 0..=u8::MAX {
        let connack = decode(&[0x20, 2, 0, code], V3_1_1, u32::MAX).map(drop);
        assert_eq!(connack.is_ok(), code <= 5, "CONNACK {code:#04x}");
        // [3:MQTT-3.9.3-2]
        let suback = decode(&[0x90, 3, 0, 1, code], V3_1_1, u32::MAX).map(drop);
        assert_eq!(
            suback.is_ok(),
            matches!(code, 0 | 1 | 2 | 0x80),
            "SUBACK {code:#04x}"
        );
    }
}

#[test]
fn every_byte_of_connect_flags_is_judged() {
    for version in [V3_1_1, V5_0] {
        for flags in 0..=u8::MAX {
            let (will, qos, retain) = (flags & 4 != 0, flags >> 3 & 3, flags & 0x20 != 0);
            let (user_name, password) = (flags & 0x80 != 0, flags & 0x40 != 0);
            // [5:MQTT-3.1.2-3] [3:MQTT-3.1.2-3] reserved; [5:MQTT-3.1.2-11] [5:MQTT-3.1.2-12]
            // will; [3:MQTT-3.1.2-22] password
            let valid = flags & 1 == 0
                && qos != 3
                && (will || (qos == 0 && !retain))
                && (version == V5_0 || user_name || !password);

            let is_v5 = version == V5_0;
            let mut body = b"\x00\x04MQTT".to_vec();
            body.extend([if is_v5 { 5 } else { 4 }, flags, 0, 60]);
            body.extend(is_v5.then_some(0));
            body.extend(b"\x00\x01c");
            if will {
                body.extend(is_v5.then_some(0));
                body.extend(b"\x00\x01w\x00\x01x");
            }
            if user_name {
                body.extend(b"\x00\x01u");
            }
            if password {
                body.extend(b"\x00\x01p");
            }
            let mut bytes = vec![0x10, u8::try_from(body.len()).unwrap()];
            bytes.extend(body);
            let result = decode(&bytes, version, u32::MAX);
            assert_eq!(result.is_ok(), valid, "{flags:#010b} in {version}");
            if let Err(error) = result {
                assert_eq!(
                    error.field(),
                    Field::ConnectFlags,
                    "{flags:#010b} in {version}"
                );
            }
            if let Ok(Parsed::Complete((Packet::Connect(connect), _))) = result {
                assert_eq!(connect.version, version);
                assert_eq!(connect.clean_start, flags & 2 != 0, "{flags:#010b}");
                let will = connect.will.map(|will| (will.qos as u8, will.retain));
                let expected = (flags & 4 != 0).then_some((qos, retain));
                assert_eq!(will, expected, "{flags:#010b}");
            }
        }
    }
}

#[test]
fn every_byte_of_subscription_options_is_judged() {
    for options in 0..=u8::MAX {
        let old = decode_all(&[0x82, 6, 0, 1, 0, 1, b'f', options], V3_1_1);
        // [3:MQTT-3.8.3-4]
        assert_eq!(old.is_ok(), options <= 2, "{options:#010b} in 3.1.1");

        let new = decode_all(&[0x82, 7, 0, 1, 0, 0, 1, b'f', options], V5_0);
        // [5:MQTT-3.8.3-5] Reserved bits are malformed, QoS 3 and Retain Handling 3 are not.
        let expected = if options & 0xC0 != 0 {
            Err(ReasonCode::MalformedPacket)
        } else if options & 3 == 3 || options >> 4 & 3 == 3 {
            Err(ReasonCode::ProtocolError)
        } else {
            Ok(())
        };
        let found = new.map_err(|error| {
            assert_eq!(error.field(), Field::SubscriptionOptions, "{options:#010b}");
            error.reason_code()
        });
        assert_eq!(found, expected, "{options:#010b} in 5.0");
    }
}

#[test]
fn packet_identifier_0_is_refused_everywhere() {
    // [5:MQTT-2.2.1-3] [3:MQTT-2.3.1-1]
    let rows: &[(&str, ProtocolVersion, &[u8])] = &[
        ("PUBLISH", V3_1_1, &[0x32, 5, 0, 1, b't', 0, 0]),
        ("PUBLISH", V5_0, &[0x34, 6, 0, 1, b't', 0, 0, 0]),
        ("PUBACK", V3_1_1, &[0x40, 2, 0, 0]),
        ("PUBREC", V5_0, &[0x50, 2, 0, 0]),
        ("PUBREL", V5_0, &[0x62, 2, 0, 0]),
        ("PUBCOMP", V3_1_1, &[0x70, 2, 0, 0]),
        ("SUBSCRIBE", V3_1_1, &[0x82, 6, 0, 0, 0, 1, b'f', 0]),
        ("SUBSCRIBE", V5_0, &[0x82, 7, 0, 0, 0, 0, 1, b'f', 0]),
        ("SUBACK", V5_0, &[0x90, 4, 0, 0, 0, 0]),
        ("UNSUBSCRIBE", V5_0, &[0xA2, 6, 0, 0, 0, 0, 1, b'f']),
        ("UNSUBACK", V3_1_1, &[0xB0, 2, 0, 0]),
    ];
    for (row, version, bytes) in rows {
        let error = decode_all(bytes, *version).unwrap_err();
        assert_eq!(
            error.kind(),
            DecodeErrorKind::PacketIdZero,
            "{row} in {version}"
        );
        assert_eq!(error.field(), Field::PacketId, "{row} in {version}");
        assert_eq!(
            error.reason_code(),
            ReasonCode::ProtocolError,
            "{row} in {version}"
        );
    }
}

#[test]
fn bytes_behind_the_last_field_are_malformed() {
    let rows: &[(&str, ProtocolVersion, &[u8])] = &[
        (
            "CONNECT",
            V3_1_1,
            b"\x10\x0E\x00\x04MQTT\x04\x02\x00\x3C\x00\x01c\x00",
        ),
        ("CONNACK", V3_1_1, &[0x20, 3, 0, 0, 0]),
        ("CONNACK", V5_0, &[0x20, 4, 0, 0, 0, 0]),
        ("PUBACK", V3_1_1, &[0x40, 3, 0, 1, 0]),
        ("PUBACK", V5_0, &[0x40, 5, 0, 1, 0, 0, 0]),
        ("UNSUBACK", V3_1_1, &[0xB0, 3, 0, 1, 0]),
        ("PINGREQ", V5_0, &[0xC0, 1, 0]),
        ("PINGRESP", V3_1_1, &[0xD0, 1, 0]),
        ("DISCONNECT", V3_1_1, &[0xE0, 1, 0]),
        ("DISCONNECT", V5_0, &[0xE0, 3, 0, 0, 0]),
        ("AUTH", V5_0, &[0xF0, 3, 0, 0, 0]),
    ];
    for (row, version, bytes) in rows {
        let error = decode_all(bytes, *version).unwrap_err();
        assert_eq!(
            error.kind(),
            DecodeErrorKind::TrailingBytes,
            "{row} in {version}"
        );
        assert_eq!(error.class(), ErrorClass::Malformed, "{row} in {version}");
    }
}

#[test]
fn texts_are_well_formed_everywhere() {
    let contents: [(&[u8; 3], Option<DecodeErrorKind>); 6] = [
        (b"\xED\xA0\x80", Some(DecodeErrorKind::NotUtf8)), // [5:MQTT-1.5.4-1] [3:MQTT-1.5.3-1] a surrogate
        (b"\xE0\x80\x80", Some(DecodeErrorKind::NotUtf8)), // too long a form
        (b"a\xC3a", Some(DecodeErrorKind::NotUtf8)),
        (b"a\0b", Some(DecodeErrorKind::NullCharacter)), // [5:MQTT-1.5.4-2] [3:MQTT-1.5.3-2]
        (b"\xEF\xBB\xBF", None), // U+FEFF is a character [5:MQTT-1.5.4-3] [3:MQTT-1.5.3-3]
        (b"\xEF\xBF\xBF", None), // U+FFFF may be taken
    ];
    for (content, expected) in contents {
        let client_id = [
            &b"\x10\x0F\x00\x04MQTT\x04\x02\x00\x3C\x00\x03"[..],
            content,
        ]
        .concat();
        let reason = [&b"\xE0\x08\x82\x06\x1F\x00\x03"[..], content].concat();
        let name = [&b"\xF0\x0C\x18\x0A\x26\x00\x03"[..], content, b"\x00\x02ok"].concat();
        for (row, version, bytes) in [
            ("client identifier", V3_1_1, client_id),
            ("Reason String", V5_0, reason),
            ("User Property", V5_0, name),
        ] {
            let found = decode_all(&bytes, version).err().map(|error| error.kind());
            assert_eq!(found, expected, "{content:02X?} as {row}");
        }
    }
}

#[test]
fn what_looks_like_a_byte_order_mark_is_kept() {
    // [5:MQTT-1.5.4-3] [3:MQTT-1.5.3-3]
    for content in ["\u{FEFF}", "\u{FEFF}ab", "a\u{FEFF}b"].map(str::as_bytes) {
        let len = u8::try_from(content.len()).unwrap();
        for version in [V3_1_1, V5_0] {
            let no_properties = &[0][..usize::from(version == V5_0)];
            let level = [version.level(), 2, 0, 60];
            let head = [&b"\0\x04MQTT"[..], &level, no_properties, &[0, len]].concat();
            let connect = framed(0x10, &[&head, content]);
            let publish = framed(0x30, &[&[0, len], content, no_properties]);
            let subscribe = framed(0x82, &[&[0, 1], no_properties, &[0, len], content, &[0]]);
            for bytes in [connect, publish, subscribe] {
                let Ok(Parsed::Complete((packet, _))) = decode(&bytes, version, u32::MAX) else {
                    panic!("{bytes:02X?}");
                };
                let found = match packet {
                    Packet::Connect(connect) => connect.client_id.as_bytes(),
                    Packet::Publish(publish) => publish.topic.name().unwrap().as_bytes(),
                    Packet::Subscribe(subscribe) => {
                        let filter = subscribe.filters.iter().next().unwrap().filter;
                        filter.as_bytes()
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(found, content, "{version}, {bytes:02X?}");
            }
        }
    }
}

/// A packet of less than 128 bytes, from its first byte and what stands behind its length.
fn framed(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

#[test]
fn a_publish_needs_a_topic_or_an_alias() {
    // [5:MQTT-4.7.3-1] [3:MQTT-4.7.3-1]
    assert!(decode_all(&[0x30, 2, 0, 0], V3_1_1).is_err());
    let error = decode_all(&[0x30, 3, 0, 0, 0], V5_0).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::NoTopic);
    assert_eq!(error.reason_code(), ReasonCode::ProtocolError);
    assert_eq!(decode_all(&[0x30, 6, 0, 0, 3, 0x23, 0, 1], V5_0), Ok(()));
}

#[test]
fn session_present_stands_in_an_acceptance_only() {
    // [5:MQTT-3.2.2-6] [3:MQTT-3.2.2-4]
    for (version, bytes) in [
        (V3_1_1, &[0x20, 2, 1, 5][..]),
        (V5_0, &[0x20, 3, 1, 0x87, 0]),
    ] {
        let error = decode_all(bytes, version).unwrap_err();
        assert_eq!(
            error.kind(),
            DecodeErrorKind::SessionPresentInRefusal,
            "{version}"
        );
    }
    // [5:MQTT-3.2.2-1]
    for flags in 2..=u8::MAX {
        let error = decode_all(&[0x20, 3, flags, 0, 0], V5_0).unwrap_err();
        assert_eq!(
            error.kind(),
            DecodeErrorKind::ReservedBits(flags),
            "{flags:#010b}"
        );
    }
}

fn decode_all(bytes: &[u8], version: ProtocolVersion) -> Result<(), DecodeError> {
    match decode(bytes, version, u32::MAX)? {
        Parsed::Complete((_, size)) => {
            assert_eq!(size, bytes.len());
            Ok(())
        }
        Parsed::Partial { needed } => panic!("{needed} bytes are missing"),
    }
}
