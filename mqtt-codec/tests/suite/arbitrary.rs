//! What is offered to fuzzers: valid packets, and packets that break one rule.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use mqtt_codec::arbitrary::{EncodedPacket, violations, with_packet};
use mqtt_codec::{
    Binary, Connect, Packet, PacketId, PacketType, Parsed, ProtocolVersion, ReasonCode, Str,
    SubscriptionId, TopicAlias, TopicName, Will, WillProperties, decode,
};
use proptest::prelude::*;

use crate::packets::{packet, versioned_packet};

proptest! {
    // Each violation names the statement that the decoder finds broken, and no other rule comes in
    // its way.
    #[test]
    fn every_violation_is_found_and_named((version, packet) in versioned_packet()) {
        for violation in violations(&packet, version) {
            let bytes = violation.bytes();
            let error = decode(bytes, version, u32::MAX).expect_err(violation.what());
            prop_assert_eq!(
                error.statement(), violation.statement(),
                "{}: {}; {:02x?}", violation.what(), error, &bytes[..bytes.len().min(80)]
            );
        }
    }

    #[test]
    fn whatever_the_bytes_are_the_packet_is_valid(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
            let seen = with_packet(&mut Unstructured::new(&bytes), version, |packet| {
                let mut encoded = Vec::new();
                let len = packet.encode_to(version, &mut encoded).unwrap();
                assert_eq!(decode(&encoded, version, u32::MAX), Ok(Parsed::Complete((*packet, len))));
            });
            // The bytes may end before the packet does.
            prop_assert!(seen.is_ok() || bytes.len() < 400);
        }
        if let Ok(encoded) = EncodedPacket::arbitrary(&mut Unstructured::new(&bytes)) {
            let packet = encoded.packet().unwrap();
            prop_assert_eq!(packet.encoded_len(encoded.version()), Ok(encoded.bytes().len()));
        }
    }
}

/// What somebody's own fuzz target may ask for.
#[derive(Debug, Arbitrary)]
struct Input<'a> {
    version: ProtocolVersion,
    id: PacketId,
    alias: TopicAlias,
    subscription: SubscriptionId,
    text: Str<'a>,
    data: Binary<'a>,
    packets: Vec<EncodedPacket>,
}

#[test]
fn a_fuzzer_gets_every_packet_type_and_derives_around_them() {
    // A linear congruential generator: the same bytes every time.
    let mut state = 1_u32;
    let mut bytes = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let (mut seen, mut texts) = (BTreeSet::new(), 0);
    for _ in 0..400 {
        let bytes: Vec<u8> = (0..600).map(|_| bytes()).collect();
        let input = Input::arbitrary(&mut Unstructured::new(&bytes)).unwrap();
        texts += usize::from(!input.text.is_empty() && !input.data.as_bytes().is_empty());
        assert!(input.id.get() > 0 && input.alias.get() > 0 && input.subscription.get() > 0);
        seen.insert((format!("{:?}", input.version), None));
        for encoded in &input.packets {
            let packet_type = encoded.packet().unwrap().packet_type();
            seen.insert((format!("{:?}", encoded.version()), Some(packet_type)));
        }
    }
    assert!(texts > 0, "texts and data are not always empty");
    // Each type in each version, but for AUTH in 3.1.1; and the two versions alone.
    assert_eq!(seen.len(), 2 * PacketType::ALL.len() - 1 + 2, "{seen:?}");
}

/// The numbered rules that one packet can break, in the order of the standard.
// [5:MQTT-2.1.3-1] is in the table of flags; here is shown that the generator reaches all of these.
#[test]
fn the_violations_reach_every_numbered_rule_of_a_packet() {
    let reached = |version| {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut reached = BTreeSet::new();
        for _ in 0..400 {
            let packet: Packet<'_> = packet(version).new_tree(&mut runner).unwrap().current();
            // The longest texts would take their time, and break no other rules.
            if packet.encoded_len(version).unwrap() > 2_000 {
                continue;
            }
            let statements = violations(&packet, version);
            for violation in &statements {
                let error = decode(violation.bytes(), version, u32::MAX).unwrap_err();
                assert_eq!(
                    error.statement(),
                    violation.statement(),
                    "{}",
                    violation.what()
                );
            }
            reached.extend(
                statements
                    .iter()
                    .filter_map(|violation| violation.statement()),
            );
        }
        reached.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(
        reached(ProtocolVersion::V3_1_1),
        [
            "MQTT-1.5.3-1",
            "MQTT-1.5.3-2",
            "MQTT-2.2.2-2",
            "MQTT-2.3.1-1",
            "MQTT-3.1.2-1",
            "MQTT-3.1.2-11",
            "MQTT-3.1.2-14",
            "MQTT-3.1.2-2",
            "MQTT-3.1.2-22",
            "MQTT-3.1.2-3",
            "MQTT-3.10.1-1",
            "MQTT-3.10.3-2",
            "MQTT-3.14.1-1",
            "MQTT-3.2.2-4",
            "MQTT-3.3.1-2",
            "MQTT-3.3.1-4",
            "MQTT-3.3.2-2",
            "MQTT-3.6.1-1",
            "MQTT-3.8.1-1",
            "MQTT-3.8.3-3",
            "MQTT-3.8.3-4",
            "MQTT-3.9.3-2",
            "MQTT-4.7.1-1",
            "MQTT-4.7.1-2",
            "MQTT-4.7.1-3",
            "MQTT-4.7.3-1",
        ]
    );
    assert_eq!(
        reached(ProtocolVersion::V5_0),
        [
            "MQTT-1.5.4-1",
            "MQTT-1.5.4-2",
            "MQTT-1.5.5-1",
            "MQTT-2.1.3-1",
            "MQTT-2.2.1-3",
            "MQTT-3.1.2-1",
            "MQTT-3.1.2-11",
            "MQTT-3.1.2-12",
            "MQTT-3.1.2-13",
            "MQTT-3.1.2-2",
            "MQTT-3.1.2-3",
            "MQTT-3.10.1-1",
            "MQTT-3.10.3-2",
            "MQTT-3.11.3-2",
            "MQTT-3.14.1-1",
            "MQTT-3.14.2-1",
            "MQTT-3.15.1-1",
            "MQTT-3.15.2-1",
            "MQTT-3.2.2-1",
            "MQTT-3.2.2-6",
            "MQTT-3.2.2-8",
            "MQTT-3.3.1-2",
            "MQTT-3.3.1-4",
            "MQTT-3.3.2-14",
            "MQTT-3.3.2-2",
            "MQTT-3.3.2-8",
            "MQTT-3.4.2-1",
            "MQTT-3.5.2-1",
            "MQTT-3.6.1-1",
            "MQTT-3.6.2-1",
            "MQTT-3.7.2-1",
            "MQTT-3.8.1-1",
            "MQTT-3.8.3-2",
            "MQTT-3.8.3-4",
            "MQTT-3.8.3-5",
            "MQTT-3.9.3-2",
            "MQTT-4.7.0-1",
            "MQTT-4.7.1-1",
            "MQTT-4.7.1-2",
            "MQTT-4.7.3-1",
            "MQTT-4.8.2-1",
            "MQTT-4.8.2-2",
        ]
    );
}

#[test]
fn every_field_that_may_be_there_is_there_sometimes() {
    let mut state = 7_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let (mut absent, mut there, mut ids, mut sizes) = (
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::new(),
    );
    for _ in 0..6_000 {
        let bytes: Vec<u8> = (0..500).map(|_| byte()).collect();
        let see = |packet: &Packet<'_>| {
            let shown = format!("{packet:#?}");
            let name = packet.packet_type();
            for line in shown.lines() {
                let Some((field, value)) = line.trim().split_once(": ") else {
                    continue;
                };
                if value == "None," || value == "[]," {
                    absent.insert((name, field.to_owned()));
                } else if value.starts_with("Some") || value == "[" {
                    there.insert((name, field.to_owned()));
                }
            }
            if let Packet::PubAck(ack) = packet {
                ids.insert(ack.id);
            }
            let len = packet.encoded_len(ProtocolVersion::V5_0).unwrap();
            sizes.insert(len.ilog2() / 7);
        };
        with_packet(&mut Unstructured::new(&bytes), ProtocolVersion::V5_0, see).unwrap();
    }
    let never: Vec<_> = absent.difference(&there).collect();
    assert!(never.is_empty(), "never there: {never:?}");
    // The lists of filters and codes are never empty.
    let always: BTreeSet<_> = there
        .difference(&absent)
        .map(|(_, field)| field.as_str())
        .collect();
    assert_eq!(always, BTreeSet::from(["filters", "reasons"]));
    assert!(ids.len() > 100, "identifiers vary");
    let all = BTreeSet::from([0, 1, 2]);
    assert!(
        sizes.is_superset(&all),
        "remaining lengths of one to three bytes: {sizes:?}"
    );
}

#[test]
fn what_is_generated_varies_and_is_mostly_small() {
    let mut state = 99_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let (mut texts, mut sizes, mut topics, mut ids, mut qos) = (
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::new(),
    );
    let (mut maxima, mut passwords) = (BTreeSet::new(), BTreeSet::new());
    let mut small = 0;
    for round in 0..4_000 {
        let bytes: Vec<u8> = (0..400).map(|_| byte()).collect();
        let version = [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0][round % 2];
        let see = |packet: &Packet<'_>| {
            // Whatever the version, it can say it, and it comes back.
            let mut encoded = Vec::new();
            packet.encode_to(version, &mut encoded).unwrap();
            let decoded = decode(&encoded, version, u32::MAX);
            assert_eq!(decoded, Ok(Parsed::Complete((*packet, encoded.len()))));
            small += usize::from(encoded.len() < 1_000);
            match packet {
                Packet::Connect(connect) => {
                    texts.insert(connect.client_id.as_str().to_owned());
                    sizes.insert(connect.properties.packet_size_max);
                    maxima.insert(connect.properties.receive_maximum);
                    passwords.insert(connect.password.map(|password| password.as_bytes().len()));
                }
                Packet::Publish(publish) => {
                    topics.insert((
                        publish.topic.name().is_some(),
                        publish.topic.alias().is_some(),
                    ));
                    ids.extend(
                        publish
                            .properties
                            .subscription_ids
                            .iter()
                            .map(|id| id.get().ilog2() / 7),
                    );
                    qos.insert(publish.delivery.qos());
                }
                _ => {}
            }
        };
        with_packet(&mut Unstructured::new(&bytes), version, see).unwrap();
    }
    assert!(small > 3_000, "only {small} of 4000 are small");
    assert!(
        texts.len() > 20 && sizes.len() > 20,
        "{} {}",
        texts.len(),
        sizes.len()
    );
    assert!(
        maxima.len() > 20 && passwords.len() > 20,
        "{} {}",
        maxima.len(),
        passwords.len()
    );
    assert_eq!(topics.len(), 3, "a name, an alias, both: {topics:?}");
    assert_eq!((ids.len(), qos.len()), (4, 3), "{ids:?} {qos:?}");
    let lengths: BTreeSet<_> = (0..400)
        .map(|_| {
            let bytes = [
                byte(),
                byte(),
                byte(),
                byte(),
                byte(),
                byte(),
                byte(),
                byte(),
            ];
            let id = SubscriptionId::arbitrary(&mut Unstructured::new(&bytes)).unwrap();
            id.get().ilog2() / 7
        })
        .collect();
    assert_eq!(lengths.len(), 4, "identifiers of one to four bytes");
}

#[test]
fn each_packet_is_broken_in_the_ways_that_are_its_own() {
    fn whats(hex_of: &str, version: ProtocolVersion) -> Vec<&'static str> {
        let bytes = crate::hex::hex(hex_of);
        let Ok(Parsed::Complete((packet, _))) = decode(&bytes, version, 1024) else {
            panic!("a packet: {hex_of}");
        };
        violations(&packet, version)
            .iter()
            .map(|violation| violation.what())
            .collect()
    }
    const BEHIND: &str = "a byte behind the last field";
    const ID_0: &str = "packet identifier 0";
    const LONG_LENGTH: &str = "a remaining length with a byte too many";
    use ProtocolVersion::{V3_1_1, V5_0};
    type Row = (&'static str, ProtocolVersion, &'static str, bool);
    let rows: &[Row] = &[
        ("C0 00", V3_1_1, BEHIND, true),
        ("C0 00", V5_0, BEHIND, true),
        ("B0 02 00 0A", V3_1_1, BEHIND, true),
        ("B0 04 00 0A 00 00", V5_0, BEHIND, false),
        ("30 04 00 01 74 78", V3_1_1, BEHIND, false),
        ("40 02 00 0A", V3_1_1, ID_0, true),
        ("90 03 00 0A 00", V3_1_1, ID_0, true),
        ("82 06 00 0A 00 01 74 00", V3_1_1, ID_0, true),
        ("A2 05 00 0A 00 01 74", V3_1_1, ID_0, true),
        ("B0 02 00 0A", V3_1_1, ID_0, true),
        ("32 05 00 01 74 00 0A", V3_1_1, ID_0, true),
        ("30 03 00 01 74", V3_1_1, ID_0, false),
        ("30 03 00 01 74", V3_1_1, "DUP at QoS 0", true),
        ("32 05 00 01 74 00 0A", V3_1_1, "DUP at QoS 0", false),
        ("30 04 00 01 74 00", V5_0, "a property twice", true),
        ("30 03 00 01 74", V3_1_1, "a property twice", false),
        ("20 02 00 04", V3_1_1, "session present in a refusal", true),
        ("20 02 00 00", V3_1_1, "session present in a refusal", false),
        ("D0 00", V5_0, LONG_LENGTH, true),
        ("D0 00", V3_1_1, LONG_LENGTH, false),
        ("30 05 00 01 74 00 78", V5_0, LONG_LENGTH, true),
    ];
    for (packet, version, what, is_there) in rows {
        let all = whats(packet, *version);
        assert_eq!(
            all.contains(what),
            *is_there,
            "{packet} {version}: {what} in {all:?}"
        );
    }
}

/// Each in its own place, and all else as it was.
#[test]
fn the_properties_of_a_will_are_broken_too() {
    let properties = WillProperties {
        content_type: Some(Str::new("kept").unwrap()),
        ..WillProperties::default()
    };
    let will = Will {
        properties,
        ..Will::new(TopicName::new("t").unwrap(), Binary::new(b"m").unwrap())
    };
    let without = Connect::new(ProtocolVersion::V5_0, Str::new("c").unwrap());
    let with = Connect {
        will: Some(will),
        ..without
    };
    let of_others = |connect| {
        let mut all = violations(&Packet::Connect(connect), ProtocolVersion::V5_0);
        all.retain(|violation| violation.what() == "a property of another packet");
        all
    };
    let (more, fewer) = (of_others(with), of_others(without));
    assert!(
        more.len() > fewer.len() + 10,
        "{} {}",
        more.len(),
        fewer.len()
    );
    let content_type = b"\x03\0\x04kept";
    for violation in more {
        let mut places = violation.bytes().windows(content_type.len());
        assert!(places.any(|bytes| bytes == content_type), "{violation:?}");
    }
}

#[test]
fn what_a_version_allows_is_chosen_in_every_combination() {
    let mut state = 5_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        let (mut starts, mut credentials, mut codes) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for _ in 0..8_000 {
            let bytes: Vec<u8> = (0..400).map(|_| byte()).collect();
            let see = |packet: &Packet<'_>| match packet {
                Packet::Connect(connect) => {
                    starts.insert((connect.clean_start, connect.client_id.is_empty()));
                    let (name, password) = (connect.user_name, connect.password);
                    credentials.insert((name.is_some(), password.is_some()));
                }
                Packet::SubAck(suback) => {
                    let values = suback
                        .reasons
                        .iter()
                        .map(|code| ReasonCode::from(code).value());
                    codes.extend(values);
                }
                _ => {}
            };
            with_packet(&mut Unstructured::new(&bytes), version, see).unwrap();
        }
        let (f, t) = (false, true);
        let (expected_starts, expected_credentials, expected_codes) = match version {
            // [3:MQTT-3.1.3-7] [3:MQTT-3.1.2-22] [3:MQTT-3.9.3-2]
            ProtocolVersion::V3_1_1 => (
                vec![(f, f), (t, f), (t, t)],
                vec![(f, f), (t, f), (t, t)],
                vec![0, 1, 2, 0x80],
            ),
            ProtocolVersion::V5_0 => (
                vec![(f, f), (f, t), (t, f), (t, t)],
                vec![(f, f), (f, t), (t, f), (t, t)],
                vec![
                    0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
                ],
            ),
        };
        assert_eq!(Vec::from_iter(starts), expected_starts, "{version:?}");
        assert_eq!(
            Vec::from_iter(credentials),
            expected_credentials,
            "{version:?}"
        );
        assert_eq!(Vec::from_iter(codes), expected_codes, "{version:?}");
    }
}
