//! Any bytes, as the stream of one peer.
//!
//! The first byte says what is known of the peer, the rest is the stream. Every step takes a
//! packet, asks for more or fails for good, and whatever was decoded can be written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_codec::{
    Connect, DecodeError, EncodeError, Frame, NotInVersion, Packet, PacketType, Parsed,
    ProtocolVersion, decode,
};

fuzz_target!(|data: &[u8]| {
    let Some((&selector, stream)) = data.split_first() else {
        return;
    };
    // 4 and 5 are the protocol levels.
    let version = match (selector & 0x7F) % 3 {
        1 => Some(ProtocolVersion::V3_1_1),
        2 => Some(ProtocolVersion::V5_0),
        _unknown => None,
    };
    let size_max = if selector & 0x80 == 0 { 1 << 20 } else { 48 };
    read(stream, version, size_max);
});

/// Reads packets until one is not there, or is none.
fn read(stream: &[u8], known: Option<ProtocolVersion>, size_max: u32) {
    let (mut rest, mut known) = (stream, known);
    while let Some(frame) = next_frame(rest, known, size_max) {
        let (bytes, behind) = rest.split_at(frame.size());
        let decoded = match known {
            Some(version) => frame.decode(version),
            None => frame.decode_connect().map(Packet::Connect),
        };
        if let Some(version) = known {
            let whole = decoded.map(|packet| Parsed::Complete((packet, bytes.len())));
            assert_eq!(decode(rest, version, size_max), whole, "one way or two");
        }
        let packet = match decoded {
            Ok(packet) => packet,
            Err(error) => return check_error(&error, &frame),
        };
        assert_eq!(packet.packet_type(), frame.packet_type());
        let version = match (&packet, known) {
            (Packet::Connect(connect), _) => connect.version,
            (_, Some(version)) => version,
            (_, None) => panic!("only CONNECT says its version"),
        };
        check_encoding(&packet, version, bytes.len());
        known = known.or(Some(version));
        rest = behind;
    }
}

/// The frame at the front; every prefix of the input must have told the same story.
fn next_frame(input: &[u8], version: Option<ProtocolVersion>, size_max: u32) -> Option<Frame<'_>> {
    let parsed = Frame::parse(input, version, size_max);
    let size = match &parsed {
        Ok(Parsed::Complete(frame)) => {
            assert!(frame.size() <= input.len() && frame.size() <= size_max as usize);
            assert_eq!(frame.header_len() + frame.body().len(), frame.size());
            assert_eq!(frame.body(), &input[frame.header_len()..frame.size()]);
            frame.size()
        }
        Ok(Parsed::Partial { needed }) => {
            assert!(*needed >= 1, "progress");
            input.len() + needed
        }
        Err(_) => usize::MAX,
    };
    for cut in (0..input.len().min(size))
        .take(16)
        .chain(input.len().min(size).checked_sub(1))
    {
        match Frame::parse(&input[..cut], version, size_max) {
            Ok(Parsed::Complete(_)) => panic!("a packet before its end"),
            Ok(Parsed::Partial { needed }) => {
                assert!(needed >= 1, "progress");
                assert!(cut + needed <= size, "never more than the packet");
            }
            Err(early) => check_still(&early, parsed.as_ref().err()),
        }
    }
    match parsed {
        Ok(Parsed::Complete(frame)) => Some(frame),
        Ok(Parsed::Partial { .. }) => None,
        Err(error) => {
            assert!(error.offset() < input.len(), "{error}");
            check_answers(&error);
            None
        }
    }
}

/// A failure is for good, whatever comes behind it. More of a CONNECT that is too large says its version.
fn check_still(early: &DecodeError, later: Option<&DecodeError>) {
    let what = |error: &DecodeError| {
        let (kind, field, offset) = (error.kind(), error.field(), error.offset());
        (kind, field, offset, error.packet_type())
    };
    assert_eq!(later.map(what), Some(what(early)), "a failure is for good");
    let is_connect = early.packet_type() == Some(PacketType::Connect);
    let later = later.and_then(DecodeError::version);
    assert!(
        early.version() == later || (is_connect && early.version().is_none()),
        "{later:?} after {early:?}"
    );
}

fn check_error(error: &DecodeError, frame: &Frame<'_>) {
    // The end of the packet is a place too: something is missing there.
    assert!(error.offset() <= frame.size(), "{error}");
    check_answers(error);
    let text = error.text_in(frame);
    if let (Some(text), Some(topic)) = (text, error.topic_error()) {
        assert!(topic.offset() <= text.len(), "{error}");
    }
}

/// Whatever one can ask an error, it answers.
fn check_answers(error: &DecodeError) {
    assert!(!error.to_string().is_empty());
    assert!(error.reason_code().is_error());
    let _answers = (
        error.class(),
        error.statement(),
        error.unsupported_level(),
        error.field(),
    );
}

/// What was decoded is encoded to the same value, in a form that is no longer than the peer's.
fn check_encoding(packet: &Packet<'_>, version: ProtocolVersion, size: usize) {
    let len = match packet.encoded_len(version) {
        Ok(len) => len,
        // Decoded, so that the server can refuse it with a CONNACK; no client may send it.
        Err(EncodeError::NotInVersion(NotInVersion::EmptyClientId)) if is_nameless(packet) => {
            return;
        }
        Err(error) => panic!("decoded, but {error}"),
    };
    assert!(len <= size, "the shortest form");

    let mut bytes = vec![0; len];
    assert_eq!(packet.encode(version, &mut bytes), Ok(len));
    let again = decode(&bytes, version, u32::MAX);
    assert_eq!(again, Ok(Parsed::Complete((*packet, len))));
}

fn is_nameless(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Connect(Connect { version: ProtocolVersion::V3_1_1, clean_start: false, client_id, .. })
        if client_id.is_empty())
}
