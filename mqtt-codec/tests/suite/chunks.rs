//! PUBLISH in pieces, in both directions.

use mqtt_codec::{
    DecodeConfig, DecodeErrorKind, Limits, Packet, Parsed, ProtocolVersion, Publish, PublishStart,
    TopicName,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::packets::versioned_packet;

use ProtocolVersion::{V3_1_1, V5_0};

fn config() -> DecodeConfig {
    let limits = Limits {
        packet_size_max: u32::MAX,
        ..Limits::default()
    };
    DecodeConfig {
        limits,
        ..DecodeConfig::default()
    }
}

proptest! {
    #[test]
    fn a_head_is_read_as_soon_as_it_is_there((version, packet) in versioned_packet(), cut in any::<Index>()) {
        let Packet::Publish(publish) = packet else {
            return Ok(());
        };
        let mut bytes = vec![0; packet.encoded_len(version).unwrap()];
        packet.encode(version, &mut bytes).unwrap();
        let head_len = publish.head_len(version).unwrap();
        prop_assert_eq!(head_len, bytes.len() - publish.payload.len());

        let cut = cut.index(bytes.len() + 1);
        let parsed = PublishStart::parse(&bytes[..cut], version, u32::MAX, &config()).unwrap();
        let Parsed::Complete(start) = parsed else {
            prop_assert!(cut < head_len, "the head is there at {cut} of {head_len}");
            return Ok(());
        };
        prop_assert!(cut >= head_len);
        prop_assert_eq!(start.head_len(), head_len);
        let expected = Publish { payload: &bytes[head_len..cut], ..publish };
        prop_assert_eq!(*start.publish(), expected);

        // The rest comes in pieces, and another packet behind it.
        let mut chunks = start.payload();
        let mut payload = chunks.take(&bytes[head_len..cut]).to_vec();
        let behind = [&bytes[cut..], &[0xC0, 0x00]].concat();
        for piece in behind.chunks(3) {
            payload.extend(chunks.take(piece));
        }
        prop_assert_eq!(payload, publish.payload);
        prop_assert_eq!(chunks.left(), 0);
    }

    #[test]
    fn a_head_and_its_payload_are_the_packet((version, packet) in versioned_packet()) {
        let Packet::Publish(publish) = packet else {
            return Ok(());
        };
        let mut whole = Vec::new();
        packet.encode_to(version, &mut whole).unwrap();
        let mut parts = Vec::new();
        let head_len = publish.encode_head_to(version, &mut parts).unwrap();
        prop_assert_eq!(head_len, parts.len());
        parts.extend(publish.payload);
        prop_assert_eq!(&parts, &whole);

        let mut head = vec![0; head_len];
        let without = Publish { payload: &[], ..publish };
        without.encode_head_for(version, publish.payload.len(), &mut head).unwrap();
        prop_assert_eq!(&head, &whole[..head_len]);
        let mut short = vec![7; head_len - 1];
        prop_assert!(publish.encode_head(version, &mut short).is_err());
        prop_assert!(short.iter().all(|byte| *byte == 7), "nothing was written");
    }
}

#[test]
fn a_payload_may_be_as_large_as_a_packet_allows() {
    let publish = Publish::new(TopicName::new("t").unwrap(), &[]);
    let mut head = [0; 16];
    let largest = 268_435_455 - 3;
    let len = publish.encode_head_for(V3_1_1, largest, &mut head).unwrap();
    assert_eq!(head[..len], *b"\x30\xFF\xFF\xFF\x7F\x00\x01t");
    assert!(
        publish
            .encode_head_for(V3_1_1, largest + 1, &mut head)
            .is_err()
    );
    assert!(
        publish
            .encode_head_for(V3_1_1, usize::MAX, &mut head)
            .is_err()
    );

    let parsed = PublishStart::parse(&head[..len], V3_1_1, 100, &config()).unwrap();
    let Parsed::Complete(start) = parsed else {
        panic!("the head is there");
    };
    assert_eq!(start.payload().left() as usize, largest);
}

#[test]
fn the_limit_of_a_head_is_the_same_in_whatever_pieces_it_comes() {
    let topic = "x".repeat(20);
    let publish = Publish::new(TopicName::new(&topic).unwrap(), b"payload");
    let mut bytes = Vec::new();
    Packet::from(publish).encode_to(V5_0, &mut bytes).unwrap();
    let head_len = publish.head_len(V5_0).unwrap();
    for (limit, fits) in [(head_len, true), (head_len - 1, false)] {
        let limit = u32::try_from(limit).unwrap();
        for end in head_len..=bytes.len() {
            let parsed = PublishStart::parse(&bytes[..end], V5_0, limit, &config());
            match parsed {
                Ok(Parsed::Complete(start)) => {
                    assert_eq!((start.head_len(), fits), (head_len, true))
                }
                Ok(Parsed::Partial { .. }) => panic!("{end} bytes are more than the head has"),
                Err(error) => {
                    let kind = DecodeErrorKind::PacketTooLarge {
                        size: limit + 1,
                        maximum: limit,
                    };
                    assert_eq!((error.kind(), fits), (kind, false), "{end} bytes");
                }
            }
        }
        for end in 0..head_len {
            let parsed = PublishStart::parse(&bytes[..end], V5_0, limit, &config());
            let waits = matches!(parsed, Ok(Parsed::Partial { .. }));
            assert_eq!(waits, fits || end < head_len - 1, "{end} bytes: {parsed:?}");
        }
    }
}

#[test]
fn what_cannot_become_a_head_is_refused() {
    let limited = |packet_size_max| DecodeConfig {
        limits: Limits {
            packet_size_max,
            ..Limits::default()
        },
        ..DecodeConfig::default()
    };
    let long_topic = [&b"\x30\xFF\xFF\x03\xFF\xFF"[..], &[b'x'; 300]].concat();
    let rows: [(&str, &[u8], ProtocolVersion, DecodeConfig, DecodeErrorKind); 5] = [
        (
            "another packet",
            &[0xC0, 0],
            V5_0,
            config(),
            DecodeErrorKind::NotPublish,
        ),
        (
            "a wildcard",
            b"\x30\xFF\x01\x00\x03a/+",
            V3_1_1,
            config(),
            DecodeErrorKind::PacketIdZero,
        ),
        (
            "a packet above its limit",
            &[0x30, 99],
            V5_0,
            limited(100),
            DecodeErrorKind::PacketTooLarge {
                size: 101,
                maximum: 100,
            },
        ),
        (
            "a topic behind the end of its packet",
            b"\x30\x04\x00\x09ab",
            V3_1_1,
            config(),
            DecodeErrorKind::CutShort,
        ),
        (
            "a head above its limit",
            &long_topic,
            V3_1_1,
            config(),
            DecodeErrorKind::PacketTooLarge {
                size: 307,
                maximum: 256,
            },
        ),
    ];
    for (row, bytes, version, config, kind) in rows {
        let error = PublishStart::parse(bytes, version, 256, &config).unwrap_err();
        match row {
            "a wildcard" => assert!(error.topic_error().is_some(), "{row}"),
            _ => assert_eq!(error.kind(), kind, "{row}"),
        }
    }
}
