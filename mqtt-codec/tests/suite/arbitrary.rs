//! What is offered to fuzzers: valid packets, and packets that break one rule.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use mqtt_codec::arbitrary::{EncodedPacket, violations, with_packet};
use mqtt_codec::{
    Binary, Packet, PacketId, PacketType, Parsed, ProtocolVersion, Str, SubscriptionId, TopicAlias,
    decode,
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
