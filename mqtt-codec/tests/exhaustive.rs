//! Everything there is, not a sample of it: minutes, in release, behind the feature `exhaustive`.

#![expect(
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    reason = "helpers of tests fail as tests do"
)]

use std::ops::RangeInclusive;

use mqtt_codec::{DecodeErrorKind, Frame, Parsed, ProtocolVersion, Publish, TopicName, decode};

use ProtocolVersion::{V3_1_1, V5_0};

const LARGEST: u32 = 268_435_455;

/// Runs over a range of numbers on all cores.
fn in_parallel(range: RangeInclusive<u32>, check: impl Fn(u32) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let (start, end) = (u64::from(*range.start()), u64::from(*range.end()) + 1);
    let len = (end - start).div_ceil(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let from = start + thread * len;
            let to = end.min(from + len);
            let check = &check;
            scope.spawn(move || (from..to).for_each(|number| check(number as u32)));
        }
    });
}

/// The shortest form, written as the standard describes it.
fn var_int(mut value: u32) -> ([u8; 4], usize) {
    let (mut bytes, mut len) = ([0; 4], 0);
    for byte in &mut bytes {
        *byte = (value % 128) as u8;
        value /= 128;
        len += 1;
        if value == 0 {
            break;
        }
        *byte |= 128;
    }
    (bytes, len)
}

/// The value at the front, its length, and whether the form is the shortest; `None` for no end.
fn read_var_int(bytes: [u8; 4]) -> Option<(u32, usize, bool)> {
    let (mut value, mut multiplier) = (0, 1);
    for (place, byte) in bytes.into_iter().enumerate() {
        value += u32::from(byte & 127) * multiplier;
        if byte & 128 == 0 {
            return Some((value, place + 1, byte != 0 || place == 0));
        }
        multiplier *= 128;
    }
    None
}

#[test]
fn every_remaining_length_is_read_and_written() {
    let publish = Publish::new(TopicName::new("t").unwrap(), &[]);
    in_parallel(0..=LARGEST, |remaining| {
        let (length, len) = var_int(remaining);
        let mut input = [0x30, 0, 0, 0, 0];
        input[1..=4].copy_from_slice(&length);
        let input = &input[..=len];
        let parsed = Frame::parse(input, Some(V5_0), u32::MAX).unwrap();
        match parsed {
            Parsed::Complete(frame) => assert_eq!((remaining, frame.size()), (0, 2)),
            Parsed::Partial { needed } => assert_eq!(needed, remaining as usize, "{remaining}"),
        }
        // Three bytes are those of the topic.
        if let Some(payload_len) = remaining.checked_sub(3) {
            let mut head = [0; 8];
            let written = publish
                .encode_head_for(V3_1_1, payload_len as usize, &mut head)
                .unwrap();
            assert_eq!(head[..written - 3], *input, "{remaining}");
        }
    });
}

#[test]
fn every_four_bytes_are_read_as_the_standard_says() {
    in_parallel(0..=u32::MAX, |number| {
        let length = number.to_le_bytes();
        let [a, b, c, d] = length;
        let input = [0xE0, a, b, c, d];
        for version in [V3_1_1, V5_0] {
            let parsed = Frame::parse(&input, Some(version), u32::MAX);
            match (read_var_int(length), parsed) {
                (None, Err(error)) => assert_eq!(error.kind(), DecodeErrorKind::VarIntTooLong),
                (Some((_, _, false)), Err(error)) => {
                    assert_eq!(
                        (error.kind(), version),
                        (DecodeErrorKind::VarIntNotMinimal, V5_0)
                    );
                }
                (Some((remaining, len, minimal)), Ok(parsed)) => {
                    assert!(minimal || version == V3_1_1);
                    let size = 1 + len + remaining as usize;
                    match parsed {
                        Parsed::Complete(frame) => assert_eq!(frame.size(), size),
                        Parsed::Partial { needed } => assert_eq!(needed, size - 5),
                    }
                }
                (expected, found) => panic!("{input:02X?}: {expected:?}, {found:?}"),
            }
        }
    });
}

#[test]
fn four_bytes_that_go_on_never_become_a_length() {
    let borders = [0x80, 0x81, 0xFE, 0xFF];
    for a in borders {
        for b in borders {
            for c in borders {
                for d in borders {
                    for fifth in 0..=u8::MAX {
                        let input = [0x30, a, b, c, d, fifth];
                        for cut in 5..=6 {
                            let error = Frame::parse(&input[..cut], None, u32::MAX).unwrap_err();
                            assert_eq!(
                                error.kind(),
                                DecodeErrorKind::VarIntTooLong,
                                "{input:02X?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Consumed, more wanted, or failed for good: and never "more" for a whole packet.
fn check_outcome(input: &[u8], version: ProtocolVersion) {
    let frame = Frame::parse(input, Some(version), u32::MAX);
    match (decode(input, version, u32::MAX), frame) {
        (Ok(Parsed::Complete((packet, size))), Ok(Parsed::Complete(frame))) => {
            assert_eq!(size, frame.size());
            assert_eq!(packet.packet_type(), frame.packet_type());
        }
        (Ok(Parsed::Partial { needed }), Ok(Parsed::Partial { needed: of_frame })) => {
            assert_eq!(needed, of_frame);
            assert!(needed > 0, "progress");
        }
        (Err(error), Ok(Parsed::Complete(frame))) => assert!(error.offset() <= frame.size()),
        (Err(error), Err(of_frame)) => assert_eq!(error, of_frame),
        (decoded, frame) => panic!("{input:02X?} in {version}: {decoded:?}, {frame:?}"),
    }
}

#[test]
fn every_input_of_up_to_three_bytes_has_an_outcome() {
    for version in [V3_1_1, V5_0] {
        check_outcome(&[], version);
        for a in 0..=u8::MAX {
            check_outcome(&[a], version);
            for b in 0..=u8::MAX {
                check_outcome(&[a, b], version);
            }
        }
    }
    in_parallel(0..=0x00FF_FFFF, |number| {
        let [a, b, c, _] = number.to_le_bytes();
        for version in [V3_1_1, V5_0] {
            check_outcome(&[a, b, c], version);
        }
    });
}
