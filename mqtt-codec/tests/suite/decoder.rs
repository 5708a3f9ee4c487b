//! Limits and strictness: what a decoder can be told.

use mqtt_codec::{
    Counts, DecodeConfig, DecodeError, DecodeErrorKind, Decoder, Field, Limits, Packet, PacketType,
    Parsed, PropertyId, ProtocolVersion, QoS, ReasonCode, Rule, RuleSet, Strictness,
};

use proptest::prelude::*;
use proptest::sample::Index;

use crate::packets::{publish, versioned_packet};
use ProtocolVersion::{V3_1_1, V5_0};

fn decode_with<'p>(
    decoder: &mut Decoder,
    bytes: &'p [u8],
    version: ProtocolVersion,
) -> Result<Packet<'p>, DecodeError> {
    match decoder.parse(bytes, Some(version))? {
        Parsed::Complete(frame) => decoder.decode(&frame, version),
        Parsed::Partial { needed } => panic!("{needed} bytes are missing"),
    }
}

/// A packet that breaks one rule, and what a strict decoder says.
const BROKEN: &[(Rule, ProtocolVersion, &[u8], DecodeErrorKind)] = &[
    (
        Rule::HeaderFlags,
        V3_1_1,
        &[0x60, 2, 0, 10],
        DecodeErrorKind::Flags(0),
    ),
    (
        Rule::HeaderFlags,
        V5_0,
        &[0x80, 7, 0, 10, 0, 0, 1, b'f', 0],
        DecodeErrorKind::Flags(0),
    ),
    (
        Rule::DupAtQoS0,
        V3_1_1,
        &[0x38, 3, 0, 1, b't'],
        DecodeErrorKind::DupAtQoS0,
    ),
    (
        Rule::RemainingLengthForm,
        V5_0,
        &[0xC0, 0x80, 0x00],
        DecodeErrorKind::VarIntNotMinimal,
    ),
    (
        Rule::TrailingBytes,
        V3_1_1,
        &[0x40, 3, 0, 10, 0],
        DecodeErrorKind::TrailingBytes,
    ),
    (
        Rule::TrailingBytes,
        V3_1_1,
        &[0xE0, 1, 0],
        DecodeErrorKind::TrailingBytes,
    ),
    (
        Rule::ReservedConnectFlag,
        V3_1_1,
        b"\x10\x0D\x00\x04MQTT\x04\x03\x00\x3C\x00\x01c",
        DecodeErrorKind::ReservedBits(3),
    ),
    (
        Rule::WillFlagsWithoutWill,
        V3_1_1,
        b"\x10\x0D\x00\x04MQTT\x04\x22\x00\x3C\x00\x01c",
        DecodeErrorKind::WillFlagsWithoutWill(0x22),
    ),
    (
        Rule::PasswordWithoutUserName,
        V3_1_1,
        b"\x10\x10\x00\x04MQTT\x04\x42\x00\x3C\x00\x01c\x00\x01p",
        DecodeErrorKind::PasswordWithoutUserName,
    ),
    (
        Rule::BridgeLevel,
        V3_1_1,
        b"\x10\x0D\x00\x04MQTT\x84\x02\x00\x3C\x00\x01c",
        DecodeErrorKind::ProtocolLevel(0x84),
    ),
];

#[test]
fn every_rule_is_enforced_unless_it_is_let_go() {
    for &(rule, version, bytes, kind) in BROKEN {
        let row = format!("{rule:?} in {version}");
        let mut strict = Decoder::new(DecodeConfig::default());
        let error = decode_with(&mut strict, bytes, version).unwrap_err();
        assert_eq!(error.kind(), kind, "{row}");
        assert_eq!(strict.tolerated().count(), 0, "{row}");

        for other in Rule::ALL.into_iter().filter(|other| *other != rule) {
            let strictness = Strictness::STRICT.tolerate(other);
            let config = DecodeConfig {
                strictness,
                ..DecodeConfig::default()
            };
            let result = decode_with(&mut Decoder::new(config), bytes, version);
            assert!(result.is_err(), "{row}: {other:?} is another rule");
        }
        for strictness in [Strictness::STRICT.tolerate(rule), Strictness::LENIENT] {
            let mut decoder = Decoder::new(DecodeConfig {
                strictness,
                ..DecodeConfig::default()
            });
            for _ in 0..2 {
                decode_with(&mut decoder, bytes, version).unwrap();
            }
            assert_eq!(
                decoder.tolerated().collect::<Vec<_>>(),
                [(rule, 2)],
                "{row}"
            );
        }
        let strictness = Strictness::LENIENT.enforce(rule);
        let config = DecodeConfig {
            strictness,
            ..DecodeConfig::default()
        };
        assert!(
            decode_with(&mut Decoder::new(config), bytes, version).is_err(),
            "{row}"
        );
    }
}

#[test]
fn every_rule_has_a_row() {
    for rule in Rule::ALL
        .into_iter()
        .filter(|rule| *rule != Rule::ControlCharacters)
    {
        assert!(
            BROKEN.iter().any(|(broken, ..)| *broken == rule),
            "{rule:?}"
        );
    }
}

#[test]
fn what_is_let_go_means_nothing() {
    let config = DecodeConfig {
        strictness: Strictness::LENIENT,
        ..DecodeConfig::default()
    };
    let mut decoder = Decoder::new(config);
    let Packet::Publish(publish) =
        decode_with(&mut decoder, &[0x38, 3, 0, 1, b't'], V3_1_1).unwrap()
    else {
        panic!("a publish");
    };
    assert_eq!(
        (publish.delivery.qos(), publish.delivery.dup()),
        (QoS::AtMostOnce, false)
    );
    // Without a will, even a QoS that does not exist means nothing.
    for flags in [0x2A, 0x12, 0x1A, 0x3A] {
        let connect = [
            b"\x10\x0D\x00\x04MQTT\x04",
            &[flags][..],
            b"\x00\x3C\x00\x01c",
        ]
        .concat();
        let Packet::Connect(connect) = decode_with(&mut decoder, &connect, V3_1_1).unwrap() else {
            panic!("a connect");
        };
        assert_eq!(connect.will, None, "{flags:#010b}");
    }
}

#[test]
fn control_characters_are_refused_where_that_is_wanted() {
    let contents = [
        ("a\u{1}", false),
        ("\u{1F}", false),
        ("\u{7F}", false),
        ("a\u{9F}", false),
        ("a b", true),
        ("\u{FEFF}", true),
    ];
    for (content, allowed) in contents {
        let len = u8::try_from(content.len()).unwrap();
        let mut bytes = vec![0xE0, len + 5, 0x82, len + 3, 0x1F, 0, len];
        bytes.extend(content.as_bytes());
        assert!(
            decode_with(&mut Decoder::default(), &bytes, V5_0).is_ok(),
            "{content:?}"
        );
        let strictness = Strictness::STRICT.enforce(Rule::ControlCharacters);
        let mut strict = Decoder::new(DecodeConfig {
            strictness,
            ..DecodeConfig::default()
        });
        let result = decode_with(&mut strict, &bytes, V5_0);
        assert_eq!(result.is_ok(), allowed, "{content:?}");
        if let Err(error) = result {
            assert_eq!(error.kind(), DecodeErrorKind::ControlCharacter);
            assert_eq!(error.reason_code(), ReasonCode::MalformedPacket);
        }
    }
}

#[test]
fn control_characters_are_found_in_topics_too() {
    let strictness = Strictness::STRICT.enforce(Rule::ControlCharacters);
    let config = DecodeConfig {
        strictness,
        ..DecodeConfig::default()
    };
    let response_topic = Field::Property(PropertyId::ResponseTopic);
    let rows: [(&str, &[u8], ProtocolVersion, Field, usize); 8] = [
        (
            "PUBLISH",
            b"\x30\x05\0\x03a\x01b",
            V3_1_1,
            Field::TopicName,
            5,
        ),
        (
            "PUBLISH",
            b"\x30\x06\0\x03a\x7Fb\0",
            V5_0,
            Field::TopicName,
            5,
        ),
        (
            "beyond ASCII",
            b"\x30\x06\0\x04a\xC2\x85b",
            V3_1_1,
            Field::TopicName,
            5,
        ),
        (
            "an answer",
            b"\x30\x09\0\x01t\x05\x08\0\x02a\x1F",
            V5_0,
            response_topic,
            10,
        ),
        (
            "a will",
            b"\x10\x11\0\x04MQTT\x04\x06\0\0\0\0\0\x01\x01\0\0",
            V3_1_1,
            Field::WillTopic,
            16,
        ),
        (
            "SUBSCRIBE",
            b"\x82\x08\0\x01\0\x03a/\x02\0",
            V3_1_1,
            Field::TopicFilter,
            8,
        ),
        (
            "SUBSCRIBE",
            b"\x82\x09\0\x01\0\0\x03a/\x02\0",
            V5_0,
            Field::TopicFilter,
            9,
        ),
        (
            "UNSUBSCRIBE",
            b"\xA2\x08\0\x01\0\0\x03\x02/#",
            V5_0,
            Field::TopicFilter,
            7,
        ),
    ];
    for (row, bytes, version, field, offset) in rows {
        assert!(
            decode_with(&mut Decoder::default(), bytes, version).is_ok(),
            "{row} in {version}"
        );
        let mut decoder = Decoder::new(config);
        assert_eq!(
            decoder.plain_publish(bytes, version),
            None,
            "{row} in {version}"
        );
        let error = decode_with(&mut decoder, bytes, version).unwrap_err();
        let found = (error.kind(), error.field(), error.offset());
        let expected = (DecodeErrorKind::ControlCharacter, field, offset);
        assert_eq!(found, expected, "{row} in {version}");
    }
}

#[test]
fn counts_are_limited() {
    let counts = Counts {
        properties_max: 3,
        user_properties_max: 2,
        filters_max: 2,
    };
    let limits = Limits {
        counts,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(DecodeConfig {
        limits,
        ..DecodeConfig::default()
    });
    let publish = |properties: &[&[u8]]| {
        let block = properties.concat();
        let mut bytes = vec![0x30, u8::try_from(block.len()).unwrap() + 4, 0, 1, b't'];
        bytes.push(u8::try_from(block.len()).unwrap());
        bytes.extend(block);
        bytes
    };
    let (user, id) = (&b"\x26\x00\x01k\x00\x01v"[..], &b"\x0B\x01"[..]);
    let rows: [(&[&[u8]], bool); 5] = [
        (&[user, user], true),
        (&[user, user, id], true),
        (&[user, user, user], false),
        (&[id, id, id], true),
        (&[id, id, id, id], false),
    ];
    for (properties, taken) in rows {
        let bytes = publish(properties);
        let result = decode_with(&mut decoder, &bytes, V5_0);
        assert_eq!(result.is_ok(), taken, "{properties:?}");
        if let Err(error) = result {
            assert_eq!(error.kind(), DecodeErrorKind::TooManyProperties);
            assert_eq!(error.reason_code(), ReasonCode::QuotaExceeded);
        }
    }
    for filters in 1..=3 {
        let mut subscribe = vec![0x82, 2 + 4 * filters, 0, 1];
        let mut unsubscribe = vec![0xA2, 2 + 3 * filters, 0, 1];
        for _ in 0..filters {
            subscribe.extend(b"\x00\x01f\x00");
            unsubscribe.extend(b"\x00\x01f");
        }
        for bytes in [subscribe, unsubscribe] {
            let result = decode_with(&mut decoder, &bytes, V3_1_1).map(drop);
            assert_eq!(result.is_ok(), filters <= 2, "{filters}");
            let kind = result.err().map(|error| error.kind());
            assert_eq!(
                kind,
                (filters > 2).then_some(DecodeErrorKind::TooManyFilters)
            );
        }
    }
}

#[test]
fn the_first_packet_has_a_limit_of_its_own() {
    let limits = Limits {
        packet_size_max: 1000,
        connect_size_max: 100,
        ..Limits::default()
    };
    let decoder = Decoder::new(DecodeConfig {
        limits,
        ..DecodeConfig::default()
    });
    let rows = [(None, 98, true), (None, 99, false), (Some(V5_0), 99, true)];
    for (version, remaining, taken) in rows {
        let input = [0x10, remaining];
        let result = decoder.parse(&input, version);
        assert_eq!(result.is_ok(), taken, "{version:?} {remaining}");
    }
    assert!(
        decoder.parse(&[0x30, 0xE5, 0x07], Some(V5_0)).is_ok(),
        "1,000 bytes"
    );
    assert!(
        decoder.parse(&[0x30, 0xE6, 0x07], Some(V5_0)).is_err(),
        "1,001 bytes"
    );
}

#[test]
fn the_defaults_are_strict_and_safe() {
    assert_eq!(Strictness::default(), Strictness::STRICT);
    assert_eq!(Limits::default(), Limits::DEFAULT);
    let sizes = (
        Limits::DEFAULT.packet_size_max,
        Limits::DEFAULT.connect_size_max,
    );
    assert_eq!(sizes, (1_048_576, 32_768), "as documented");
    for (filters, taken) in [(1024, true), (1025, false)] {
        let [low, high] = (2 + 4 * filters - 0x1000_u16).to_le_bytes();
        // 4,096 and more: 32 times 128, and the rest.
        let mut bytes = vec![0x82, low | 0x80, 32 | high, 0, 1];
        for _ in 0..filters {
            bytes.extend(b"\x00\x01f\x00");
        }
        let result = mqtt_codec::decode(&bytes, V3_1_1, u32::MAX);
        assert_eq!(result.is_ok(), taken, "{filters}");
    }
}

#[test]
fn rules_have_words_and_statements_and_make_sets() {
    let rows = [
        (
            Rule::HeaderFlags,
            Some("MQTT-2.2.2-2"),
            Some("MQTT-2.1.3-1"),
            "other flags in the fixed header",
        ),
        (
            Rule::DupAtQoS0,
            Some("MQTT-3.3.1-2"),
            Some("MQTT-3.3.1-2"),
            "DUP at QoS 0",
        ),
        (
            Rule::RemainingLengthForm,
            None,
            Some("MQTT-1.5.5-1"),
            "a remaining length with more bytes than it needs",
        ),
        (
            Rule::TrailingBytes,
            None,
            None,
            "bytes behind the last field",
        ),
        (
            Rule::ReservedConnectFlag,
            Some("MQTT-3.1.2-3"),
            Some("MQTT-3.1.2-3"),
            "the reserved flag of CONNECT",
        ),
        (
            Rule::WillFlagsWithoutWill,
            Some("MQTT-3.1.2-11"),
            Some("MQTT-3.1.2-11"),
            "will QoS or will retain without a will",
        ),
        (
            Rule::PasswordWithoutUserName,
            Some("MQTT-3.1.2-22"),
            None,
            "a password without a user name",
        ),
        (
            Rule::BridgeLevel,
            Some("MQTT-3.1.2-2"),
            Some("MQTT-3.1.2-2"),
            "the protocol level of a bridge",
        ),
        (
            Rule::ControlCharacters,
            None,
            None,
            "control characters in a text",
        ),
    ];
    let mut set = RuleSet::NONE;
    for (place, (rule, v3, v5, words)) in rows.into_iter().enumerate() {
        assert_eq!(
            (rule.statement(V3_1_1), rule.statement(V5_0)),
            (v3, v5),
            "{rule:?}"
        );
        assert_eq!(rule.to_string(), words);
        assert_eq!((set.contains(rule), set.is_empty()), (false, place == 0));
        set = set.with(rule);
        assert!(set.contains(rule) && set.iter().eq(Rule::ALL.into_iter().take(place + 1)));
        assert_eq!(set.without(rule).iter().count(), place);
        assert_eq!(set.with(rule), set);
    }
    assert_eq!(
        format!("{:?}", RuleSet::NONE.with(Rule::BridgeLevel)),
        "{BridgeLevel}"
    );
}

/// A rule of the header and one of the body in the same packet, and in the next one.
#[test]
fn each_rule_that_is_let_go_is_counted_with_the_others() {
    let strictness = Strictness::STRICT
        .tolerate(Rule::HeaderFlags)
        .tolerate(Rule::TrailingBytes)
        .tolerate(Rule::RemainingLengthForm);
    let mut decoder = Decoder::new(DecodeConfig {
        strictness,
        ..DecodeConfig::default()
    });
    let version = V5_0;
    for packet in [
        &[0xC1, 0x81, 0x00, 0x00][..],
        &[0xC1, 0x01, 0x00],
        &[0xC0, 0x01, 0x00],
    ] {
        let Ok(Parsed::Complete(frame)) = decoder.parse(packet, Some(version)) else {
            panic!("a frame");
        };
        assert_eq!(decoder.decode(&frame, version), Ok(Packet::PingReq));
    }
    let counted: Vec<_> = decoder.tolerated().collect();
    assert_eq!(
        counted,
        [
            (Rule::HeaderFlags, 2),
            (Rule::RemainingLengthForm, 1),
            (Rule::TrailingBytes, 3)
        ]
    );
}

proptest! {
    // Most packets are read by a shorter way than the careful one, which is taken where something
    // else is asked for. Here that is something that no byte of a PUBLISH has to do with.
    #[test]
    fn the_short_way_and_the_careful_way_say_the_same(
        packet in publish(V5_0),
        at in any::<Index>(),
        byte in prop_oneof![any::<u8>(), 0..0x30_u8],
        keep in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        Packet::Publish(packet).encode_to(V5_0, &mut bytes).unwrap();
        prop_assume!(bytes.len() < 4_096);
        // Behind the header, so that it stays one packet.
        let header_len = 2 + usize::from(bytes[1] >= 0x80);
        if !keep {
            let at = header_len + at.index(bytes.len() - header_len);
            bytes[at] = byte;
        }
        let short = mqtt_codec::decode(&bytes, V5_0, u32::MAX);
        let strictness = Strictness::STRICT.tolerate(Rule::BridgeLevel);
        let mut decoder = Decoder::new(DecodeConfig { strictness, ..DecodeConfig::default() });
        let careful = match decoder.parse(&bytes, Some(V5_0)) {
            Ok(Parsed::Complete(frame)) => decoder
                .decode(&frame, V5_0)
                .map(|packet| Parsed::Complete((packet, frame.size()))),
            Ok(Parsed::Partial { needed }) => Ok(Parsed::Partial { needed }),
            Err(error) => Err(error),
        };
        prop_assert_eq!(short, careful);
    }
}

/// Those that one side alone sends.
const OF_CLIENTS: [PacketType; 4] = [
    PacketType::Connect,
    PacketType::Subscribe,
    PacketType::Unsubscribe,
    PacketType::PingReq,
];
const OF_SERVERS: [PacketType; 4] = [
    PacketType::ConnAck,
    PacketType::SubAck,
    PacketType::UnsubAck,
    PacketType::PingResp,
];

proptest! {
    #[test]
    fn who_reads_one_side_reads_its_packets_as_all((version, packet) in versioned_packet(), lenient: bool) {
        let mut bytes = Vec::new();
        packet.encode_to(version, &mut bytes).unwrap();
        let mut decoder = Decoder::new(DecodeConfig {
            strictness: if lenient { Strictness::LENIENT } else { Strictness::STRICT },
            ..DecodeConfig::default()
        });
        let Ok(Parsed::Complete(frame)) = decoder.parse(&bytes, Some(version)) else {
            panic!("a whole packet")
        };
        let whole = decoder.decode(&frame, version);
        let packet_type = packet.packet_type();
        let expected = |others: [PacketType; 4]| match others.contains(&packet_type) {
            true => Ok(None),
            false => whole.map(Some),
        };
        prop_assert_eq!(decoder.decode_from_client(&frame, version), expected(OF_SERVERS));
        prop_assert_eq!(decoder.decode_from_server(&frame, version), expected(OF_CLIENTS));
    }
}

#[test]
fn what_the_other_side_sends_is_not_looked_at() {
    let rows: &[(&str, &[u8])] = &[
        ("SUBSCRIBE without filters", &[0x82, 2, 0, 1]),
        ("SUBACK without reasons", &[0x90, 3, 0, 1, 0]),
    ];
    for (row, bytes) in rows {
        let mut decoder = Decoder::default();
        let Ok(Parsed::Complete(frame)) = decoder.parse(bytes, Some(V5_0)) else {
            panic!("{row}: a whole frame")
        };
        assert!(decoder.decode(&frame, V5_0).is_err(), "{row}");
        let of_client = decoder.decode_from_client(&frame, V5_0);
        let of_server = decoder.decode_from_server(&frame, V5_0);
        let is_of_client = frame.packet_type() == PacketType::Subscribe;
        let (own, other) = if is_of_client {
            (of_client, of_server)
        } else {
            (of_server, of_client)
        };
        assert!(own.is_err(), "{row}");
        assert_eq!(other, Ok(None), "{row}");
    }
}
