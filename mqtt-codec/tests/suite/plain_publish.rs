//! The short way for a PUBLISH says what the long one says, or nothing.

use mqtt_codec::{Message, Packet, Parsed, PlainPublish, ProtocolVersion, Publish, decode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::packets::{version, versioned_packet};

/// What the long way makes of the packet at the front, and its size.
fn decoded(bytes: &[u8], version: ProtocolVersion, size_max: u32) -> Option<(Packet<'_>, usize)> {
    match decode(bytes, version, size_max) {
        Ok(Parsed::Complete(found)) => Some(found),
        Ok(Parsed::Partial { .. }) | Err(_) => None,
    }
}

/// Compares both ways; answers whether the short one was taken.
fn agree(bytes: &[u8], version: ProtocolVersion, size_max: u32) -> bool {
    let short = PlainPublish::first_of(bytes, version, usize::try_from(size_max).unwrap());
    let Some(plain) = short else { return false };
    let long = decoded(bytes, version, size_max);
    let expected = Some((Packet::Publish(Publish::from(plain)), plain.size()));
    assert_eq!(long, expected, "{version} {bytes:02X?}");
    let frame = bytes::Bytes::copy_from_slice(&bytes[..plain.size()]);
    let copied = Message::from_plain_in(bytes::BytesMut::new(), &plain);
    assert_eq!(Message::from_parts(frame, plain.parts()), copied);
    assert_eq!(copied, Message::from_publish(&plain.into(), plain.topic()));
    true
}

proptest! {
    #[test]
    fn what_the_short_way_takes_is_what_the_long_way_decodes(
        bytes in vec(any::<u8>(), 0..40), first in 0x30..0x40_u8, version in version(), size_max in 0..60_u32,
    ) {
        agree(&bytes, version, size_max);
        // Nearly all of these are no PUBLISH.
        agree(&[&[first, 12, 0, 3][..], &bytes].concat(), version, size_max);
    }

    #[test]
    fn a_packet_with_any_byte_changed_is_the_same_by_both_ways(
        (version, packet) in versioned_packet(), at in any::<Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = vec![0; packet.encoded_len(version).unwrap()];
        packet.encode(version, &mut bytes).unwrap();
        let is_plain = matches!(&packet, Packet::Publish(publish)
            if publish.topic.alias().is_none() && publish.properties == Default::default());
        let is_long = bytes.len() > 16_386;
        prop_assert_eq!(agree(&bytes, version, u32::MAX), is_plain && !is_long);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        agree(&bytes, version, u32::MAX);
        agree(&bytes[..at], version, u32::MAX);
    }
}
