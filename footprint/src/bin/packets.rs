//! Packets to bytes and back, borrowed, without an allocator: every packet of both versions.

#![no_std]
#![no_main]

use core::hint::black_box;

use footprint::any_bytes;
use mqtt_codec::{Packet, Parsed, ProtocolVersion, decode};

footprint::program!(Packet<'static>, {
    let mut buf = [0; 256];
    let version = black_box(ProtocolVersion::V5_0);
    if let Ok(Parsed::Complete((packet, _))) = decode(any_bytes(), version, u32::MAX) {
        let _len = black_box(packet.encode(version, &mut buf));
    }
    buf
});
