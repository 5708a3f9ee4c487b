//! The short way for a PUBLISH says what the long one says, or nothing.

use mqtt_codec::{
    Delivery, EncodeError, Message, Packet, PacketId, Parsed, PlainPublish, ProtocolVersion,
    Publish, PublishTopic, TopicName, decode,
};
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

/// What somebody else gets of it is what would be written for him.
fn passed_on(plain: &PlainPublish<'_>, version: ProtocolVersion, message: &Message) {
    let id = PacketId::new(0x1234).unwrap();
    let all = [
        Delivery::AtMostOnce,
        Delivery::AtLeastOnce { id, dup: false },
        Delivery::AtLeastOnce { id, dup: true },
        Delivery::ExactlyOnce { id, dup: false },
        Delivery::ExactlyOnce { id, dup: true },
    ];
    for delivery in all {
        let mut appended = vec![7];
        let is_appended = plain.append_as(delivery, &mut appended);
        let is_same = delivery.qos() == plain.delivery().qos() && plain.topic().name().is_some();
        assert_eq!(is_appended, is_same, "{delivery:?}");
        let mut expected = vec![7];
        if is_same {
            let written = message.encode_to(version, delivery, plain.retain(), &mut expected);
            assert_eq!(written, Ok(plain.size()));
        }
        assert_eq!(appended, expected, "{delivery:?}");
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
    let topic = plain
        .topic()
        .name()
        .unwrap_or_else(|| TopicName::new("aliased").unwrap());
    let copied = Message::from_plain_in(bytes::BytesMut::new(), &plain, topic);
    assert_eq!(copied, Message::from_publish(&plain.into(), topic));
    assert_eq!(copied, Message::from_plain(&plain, topic));
    passed_on(&plain, version, &copied);
    let mut written = Vec::new();
    match (plain.parts(), plain.topic()) {
        (Some(parts), PublishTopic::Name(_)) => {
            assert_eq!(Message::from_parts(frame, parts), copied)
        }
        (None, PublishTopic::Alias(alias)) => {
            let (delivery, retain) = (plain.delivery(), plain.retain());
            let size =
                copied.encode_aliased_within(delivery, retain, alias, plain.size(), &mut written);
            assert_eq!(
                (size, &*written),
                (Ok(plain.size()), &*frame),
                "there is one way to write it"
            );
            let less = plain.size() - 1;
            let refused = copied.encode_aliased_within(delivery, retain, alias, less, &mut written);
            assert_eq!(
                refused,
                Err(EncodeError::PacketTooLarge { size: plain.size() })
            );
            assert_eq!(written.len(), plain.size(), "nothing was written");
        }
        (parts, topic) => panic!("{parts:?} {topic:?}"),
    }
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
    fn an_alias_alone_is_read_as_the_long_way_reads_it(
        first in prop::sample::select(vec![0x30_u8, 0x31, 0x32, 0x3A, 0x34, 0x3C, 0x38]),
        id in 0..3_u16, alias in 0..3_u16, property in prop::sample::select(vec![0x23_u8, 0x23, 0x23, 0x22, 0x26]),
        block in prop::sample::select(vec![3_u8, 3, 3, 0, 2, 4]),
        payload in vec(any::<u8>(), 0..200), version in version(),
    ) {
        let has_id = first & 0b110 != 0;
        let id_bytes = id.to_be_bytes();
        let body = [
            &[0, 0][..], if has_id { &id_bytes[..] } else { &[] },
            &[block, property], &alias.to_be_bytes(), &payload,
        ].concat();
        let len = body.len();
        let [low, high] = [len % 0x80, len / 0x80].map(|part| u8::try_from(part).unwrap());
        let header = if high == 0 { vec![first, low] } else { vec![first, low | 0x80, high] };
        let is_plain = version == ProtocolVersion::V5_0 && first != 0x38 && block == 3 && property == 0x23
            && alias > 0 && (!has_id || id > 0);
        prop_assert_eq!(agree(&[header, body].concat(), version, u32::MAX), is_plain);
    }

    #[test]
    fn a_packet_with_any_byte_changed_is_the_same_by_both_ways(
        (version, packet) in versioned_packet(), at in any::<Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = vec![0; packet.encoded_len(version).unwrap()];
        packet.encode(version, &mut bytes).unwrap();
        let is_plain = matches!(&packet, Packet::Publish(publish)
            if !matches!(publish.topic, PublishTopic::NameAndAlias(..)) && publish.properties == Default::default());
        let is_long = bytes.len() > 16_386;
        prop_assert_eq!(agree(&bytes, version, u32::MAX), is_plain && !is_long);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        agree(&bytes, version, u32::MAX);
        agree(&bytes[..at], version, u32::MAX);
    }
}
