//! Any bytes in any pieces: the same packets, the same failure, and payloads that come together.
//!
//! The first byte says the version, the second how the stream is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_codec::{
    DecodeConfig, DecodeError, Decoder, Frame, Limits, PacketType, Parsed, ProtocolVersion,
    PublishStart,
};

const SIZE_MAX: u32 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let [level, cut, stream @ ..] = data else {
        return;
    };
    let version = match level % 2 {
        0 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5_0,
    };
    let piece = usize::from(*cut).max(1);
    let whole = read(stream, stream.len().max(1), version);
    assert_eq!(read(stream, piece, version), whole, "in pieces of {piece}");
    check_heads(stream, piece, version);
});

/// The packets of a stream that arrives in pieces, as text, and how it ended.
fn read(
    stream: &[u8],
    piece: usize,
    version: ProtocolVersion,
) -> (Vec<String>, Result<usize, DecodeError>) {
    let mut decoder = Decoder::new(config());
    let (mut packets, mut buffer, mut needed) = (Vec::new(), Vec::new(), 0);
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        // What was asked for is a lower bound: less than that is never enough.
        while buffer.len() >= needed {
            let frame = match decoder.parse(&buffer, Some(version)) {
                Ok(Parsed::Complete(frame)) => frame,
                Ok(Parsed::Partial { needed: missing }) => {
                    needed = buffer.len() + missing;
                    break;
                }
                Err(error) => return (packets, Err(error)),
            };
            match decoder.decode(&frame, version) {
                Ok(packet) => packets.push(format!("{packet:?}")),
                Err(error) => return (packets, Err(error)),
            }
            let size = frame.size();
            buffer.drain(..size);
            needed = 0;
        }
    }
    // A first byte alone may be wrong already, though two were asked for.
    match decoder.parse(&buffer, Some(version)) {
        Err(error) => (packets, Err(error)),
        Ok(_) => (packets, Ok(buffer.len())),
    }
}

fn config() -> DecodeConfig {
    DecodeConfig {
        limits: Limits {
            packet_size_max: SIZE_MAX,
            ..Limits::default()
        },
        ..DecodeConfig::default()
    }
}

/// A head that is read before its payload has come says what the whole packet says.
fn check_heads(stream: &[u8], piece: usize, version: ProtocolVersion) {
    let mut rest = stream;
    while let Ok(Parsed::Complete(frame)) = Frame::parse(rest, Some(version), SIZE_MAX) {
        let (bytes, behind) = rest.split_at(frame.size());
        if frame.packet_type() == PacketType::Publish {
            check_head(bytes, &frame, piece, version);
        }
        rest = behind;
    }
}

fn check_head(bytes: &[u8], frame: &Frame<'_>, piece: usize, version: ProtocolVersion) {
    let whole = frame.decode(version);
    let mut ends: Vec<_> = (0..bytes.len()).step_by(piece).collect();
    ends.push(bytes.len());
    for end in ends {
        match PublishStart::parse(&bytes[..end], version, u32::MAX, &config()) {
            Ok(Parsed::Partial { .. }) => assert!(end < bytes.len(), "the whole is there"),
            Ok(Parsed::Complete(start)) => {
                let Ok(mqtt_codec::Packet::Publish(publish)) = whole else {
                    panic!("a head, and then {whole:?}");
                };
                let (head, payload) = bytes.split_at(start.head_len());
                assert_eq!(payload, publish.payload, "behind {head:02x?}");
                assert_eq!(start.publish().topic, publish.topic);
                assert_eq!(start.publish().properties, publish.properties);
                let mut chunks = start.payload();
                let taken: usize = payload
                    .chunks(piece)
                    .map(|piece| chunks.take(piece).len())
                    .sum();
                assert_eq!((taken, chunks.left()), (payload.len(), 0));
            }
            Err(error) => assert_eq!(whole.as_ref().err(), Some(&error), "a failure is for good"),
        }
    }
}
