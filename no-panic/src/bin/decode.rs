//! Whatever bytes come in, in whatever version.

#![no_std]
#![no_main]

use mqtt_codec::{DecodeConfig, Decoder, Frame, Parsed, ProtocolVersion, decode};

no_panic::program!({
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        let _decoded = core::hint::black_box(decode(no_panic::any_bytes(), version, u32::MAX));
    }
    let mut decoder = Decoder::new(core::hint::black_box(DecodeConfig::default()));
    if let Ok(Parsed::Complete(frame)) = decoder.parse(no_panic::any_bytes(), None) {
        let _connect = core::hint::black_box(decoder.decode_connect(&frame));
        let _packet = core::hint::black_box(decoder.decode(&frame, ProtocolVersion::V5_0));
    }
    if let Ok(Parsed::Complete(frame)) = Frame::parse(no_panic::any_bytes(), None, 100) {
        let _packet = core::hint::black_box(frame.decode(ProtocolVersion::V3_1_1));
    }
});
