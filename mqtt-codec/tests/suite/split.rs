//! Bytes come in pieces of any size: that changes nothing.

use mqtt_codec::{Packet, Parsed, ProtocolVersion, decode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::packets::{packet, version, versioned_packet};

fn encode(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = vec![0; packet.encoded_len(version).unwrap()];
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

/// The packet again with the last `by` bytes missing, and a header that says so.
fn shortened(packet: &[u8], by: usize) -> Vec<u8> {
    let header_len = 2 + packet[1..]
        .iter()
        .take_while(|&&byte| byte & 0x80 != 0)
        .count();
    let body = &packet[header_len..packet.len() - by];
    let mut bytes = vec![packet[0]];
    let mut rest = body.len();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes.extend_from_slice(body);
    bytes
}

/// Where this packet could have ended as well: behind an entry of a list, or before fields that
/// may be left out. In bytes from the end.
fn other_ends(packet: &Packet<'_>, version: ProtocolVersion, size: usize) -> Vec<usize> {
    // All but the first entry of a list may be missing.
    fn from_end(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
        let lengths: Vec<usize> = lengths.collect();
        (1..lengths.len())
            .map(|kept| lengths[kept..].iter().sum())
            .collect()
    }
    // All of a short form's lengths; the header has two bytes there.
    let forms = |lengths: &[usize], header: usize| {
        let body = size - header;
        lengths
            .iter()
            .filter_map(|len| body.checked_sub(*len))
            .filter(|by| *by > 0)
            .collect()
    };
    let header = match size {
        0..=129 => 2,
        130..=16_386 => 3,
        16_387..=2_097_155 => 4,
        _ => 5,
    };
    let is_v5 = version == ProtocolVersion::V5_0;
    match packet {
        Packet::Subscribe(packet) => from_end(
            packet
                .filters
                .iter()
                .map(|entry| entry.filter.as_bytes().len() + 3),
        ),
        Packet::Unsubscribe(packet) => from_end(
            packet
                .filters
                .iter()
                .map(|filter| filter.as_bytes().len() + 2),
        ),
        Packet::SubAck(packet) => from_end(packet.reasons.iter().map(|_| 1)),
        Packet::UnsubAck(packet) => from_end(packet.reasons.iter().map(|_| 1)),
        Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) if is_v5 => {
            forms(&[2, 3], header)
        }
        Packet::Disconnect(_) if is_v5 => forms(&[0, 1], header),
        Packet::Auth(_) => forms(&[0], header),
        Packet::Publish(packet) => (1..=packet.payload.len()).collect(),
        _ => Vec::new(),
    }
}

/// Reads a stream that comes in pieces, as a connection does.
fn read_in_pieces(
    stream: &[u8],
    cuts: &[usize],
    version: ProtocolVersion,
    expected: &[Packet<'_>],
) {
    let mut expected_next = expected.iter();
    let (mut start, mut end) = (0, 0);
    for cut in cuts.iter().copied().chain([stream.len()]) {
        end = cut.max(end);
        loop {
            match decode(&stream[start..end], version, u32::MAX).unwrap() {
                Parsed::Complete((packet, size)) => {
                    assert_eq!(Some(&packet), expected_next.next());
                    start += size;
                }
                Parsed::Partial { needed } => {
                    assert!(needed > 0);
                    break;
                }
            }
        }
    }
    assert_eq!((start, expected_next.len()), (stream.len(), 0));
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_packets(
        (version, packets) in version().prop_flat_map(|version| (Just(version), vec(packet(version), 0..6))),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let stream: Vec<u8> = packets.iter().flat_map(|packet| encode(packet, version)).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        read_in_pieces(&stream, &cuts, version, &packets);
    }

    #[test]
    fn byte_by_byte_gives_the_same_packets(
        (version, packets) in version().prop_flat_map(|version| (Just(version), vec(packet(version), 0..4))),
    ) {
        let stream: Vec<u8> = packets.iter().flat_map(|packet| encode(packet, version)).collect();
        let cuts: Vec<usize> = (0..stream.len()).collect();
        read_in_pieces(&stream, &cuts, version, &packets);
    }

    #[test]
    fn every_beginning_of_a_packet_is_partial_and_asks_for_no_more_than_is_missing(
        (version, packet) in versioned_packet(),
    ) {
        let bytes = encode(&packet, version);
        for len in 0..bytes.len() {
            let parsed = decode(&bytes[..len], version, u32::MAX);
            let Ok(Parsed::Partial { needed }) = parsed else {
                panic!("{len} of {} bytes: {parsed:?}", bytes.len());
            };
            prop_assert!((1..=bytes.len() - len).contains(&needed), "{needed} at {len} of {}", bytes.len());
            // With the header there, the rest is known exactly.
            if len >= 5 {
                prop_assert_eq!(needed, bytes.len() - len);
            }
        }
    }

    // A packet that says it is shorter than its fields is malformed, and never waits for more.
    #[test]
    fn a_shortened_packet_is_an_error_unless_it_could_have_ended_there(
        (version, packet) in versioned_packet(),
        more in vec(any::<Index>(), 20),
    ) {
        let bytes = encode(&packet, version);
        let ends = other_ends(&packet, version, bytes.len());
        let body_len = shortened(&bytes, 0).len() - shortened(&bytes, 0)[1..].iter().take_while(|&&byte| byte & 0x80 != 0).count() - 2;
        let cuts = (1..=body_len.min(60)).chain(more.iter().filter(|_| body_len > 0).map(|cut| cut.index(body_len) + 1)).chain(ends.iter().copied().take(100));
        for by in cuts {
            let cut = shortened(&bytes, by);
            let decoded = decode(&cut, version, u32::MAX);
            prop_assert_eq!(matches!(decoded, Ok(Parsed::Complete(_))), ends.contains(&by), "{} of {}: {:?}", by, bytes.len(), decoded);
            prop_assert_eq!(decoded.is_err(), !ends.contains(&by));
        }
    }

    // [5:MQTT-2.1.3-1] Whatever comes, it is an answer and no panic.
    #[test]
    fn any_bytes_get_an_answer(version in version(), bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(Parsed::Complete((packet, size))) = decode(&bytes, version, u32::MAX) {
            prop_assert!(size <= bytes.len());
            let shown = format!("{packet:?}");
            prop_assert!(!shown.is_empty());
        }
    }

    // One changed byte is near enough to a packet to reach every corner.
    #[test]
    fn a_packet_with_one_changed_byte_gets_an_answer(
        (version, packet) in versioned_packet(),
        at in any::<Index>(),
        to in any::<u8>(),
    ) {
        let mut bytes = encode(&packet, version);
        let at = at.index(bytes.len());
        bytes[at] = to;
        match decode(&bytes, version, u32::MAX) {
            Ok(Parsed::Complete((packet, size))) => {
                prop_assert!(size <= bytes.len());
                // What was taken can be said again, but for an empty name without a clean session.
                if let Ok(len) = packet.encoded_len(version) {
                    prop_assert!(len <= size);
                }
            }
            Ok(Parsed::Partial { needed }) => prop_assert!(needed > 0),
            Err(error) => prop_assert!(error.offset() <= bytes.len()),
        }
    }
}
