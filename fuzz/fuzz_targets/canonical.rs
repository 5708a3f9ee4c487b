//! What is decoded is encoded to the same bytes, unless they had a form that is longer than it
//! needs to be; and then the second time to the same bytes.
//!
//! The first byte says the version.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_codec::{Connect, Frame, Packet, Parsed, ProtocolVersion, decode};

fuzz_target!(|data: &[u8]| {
    let Some((&level, stream)) = data.split_first() else {
        return;
    };
    let version = match level % 2 {
        0 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5_0,
    };
    let mut rest = stream;
    while let Ok(Parsed::Complete((packet, size))) = decode(rest, version, u32::MAX) {
        let (bytes, behind) = rest.split_at(size);
        check(bytes, &packet, version);
        rest = behind;
    }
});

fn check(bytes: &[u8], packet: &Packet<'_>, version: ProtocolVersion) {
    let version = match packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    if is_nameless(packet) {
        return;
    }
    let first = encode(packet, version);
    if first == bytes {
        return;
    }
    let forms = longer_forms(bytes, packet, version);
    assert!(
        !forms.is_empty(),
        "{bytes:02x?} became {first:02x?}: {packet:?}"
    );
    assert!(first.len() <= bytes.len(), "{forms:?}");
    let Ok(Parsed::Complete((again, _))) = decode(&first, version, u32::MAX) else {
        panic!("{first:02x?} cannot be read: {forms:?}");
    };
    assert_eq!(again, *packet, "{forms:?}");
    assert_eq!(encode(&again, version), first, "a fixed point: {forms:?}");
}

fn encode(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = packet.encode_to(version, &mut bytes) {
        panic!("{packet:?}: {error}");
    }
    bytes
}

/// The ways to write a packet that are allowed and not ours.
#[derive(Debug)]
enum Form {
    /// A remaining length with more bytes than it needs (3.1.1).
    LongRemainingLength,
    /// A reason code or a property length that could have been left out (5.0).
    WrittenOutDefaults,
    /// Properties in another order (5.0).
    OrderOfProperties,
}

fn longer_forms(bytes: &[u8], packet: &Packet<'_>, version: ProtocolVersion) -> Vec<Form> {
    let mut forms = Vec::new();
    let Ok(Parsed::Complete(frame)) = Frame::parse(bytes, None, u32::MAX) else {
        return forms;
    };
    let shortest = match frame.body().len() {
        0..=127 => 2,
        128..=16_383 => 3,
        16_384..=2_097_151 => 4,
        _ => 5,
    };
    if version == ProtocolVersion::V3_1_1 && frame.header_len() > shortest {
        forms.push(Form::LongRemainingLength);
    }
    if version == ProtocolVersion::V3_1_1 {
        return forms;
    }
    let has_short_form = matches!(
        packet,
        Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::Disconnect(_)
            | Packet::Auth(_)
    );
    if has_short_form && encode(packet, version).len() < bytes.len() {
        forms.push(Form::WrittenOutDefaults);
    }
    // The same bytes in another order, which only properties can have.
    let sorted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    if sorted(&encode(packet, version)) == sorted(bytes) {
        forms.push(Form::OrderOfProperties);
    }
    forms
}

/// Decoded, so that the server can refuse it with a CONNACK; no client may send it.
fn is_nameless(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Connect(Connect { version: ProtocolVersion::V3_1_1, clean_start: false, client_id, .. })
        if client_id.is_empty())
}
