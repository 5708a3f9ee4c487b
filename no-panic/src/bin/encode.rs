//! Whatever was decoded, into a slice of whatever length.

#![no_std]
#![no_main]

use mqtt_codec::{Packet, Parsed, ProtocolVersion, decode};

no_panic::program!({
    let mut buf = [0; 256];
    let len = no_panic::any_bytes().len();
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        if let Ok(Parsed::Complete((packet, _))) = decode(no_panic::any_bytes(), version, u32::MAX)
        {
            let _len = core::hint::black_box(packet.encoded_len(version));
            if let Some(room) = buf.get_mut(..len) {
                let _len = core::hint::black_box(packet.encode(version, room));
                if let Packet::Publish(publish) = packet {
                    let _len = core::hint::black_box(publish.encode_head(version, room));
                    let _len = core::hint::black_box(publish.encode_head_for(version, len, room));
                }
            }
        }
    }
    buf
});
