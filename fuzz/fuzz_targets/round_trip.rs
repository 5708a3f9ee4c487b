//! Valid packets of every type and both versions, encoded and decoded again.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use mqtt_codec::arbitrary::with_packet;
use mqtt_codec::{
    DecodeErrorKind, EncodeError, Frame, Message, NotInVersion, Packet, Parsed, ProtocolVersion,
    Publish, PublishTopic, TopicName, decode,
};

fuzz_target!(|data: &[u8]| {
    let Some((level, choices)) = data.split_first() else {
        return;
    };
    let version = match level % 2 {
        0 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5_0,
    };
    // An error says that the input ends before the packet does.
    let _built = with_packet(&mut Unstructured::new(choices), version, |packet| {
        check_packet(packet, version);
        if version == ProtocolVersion::V5_0 {
            check_older(packet);
        }
        if let Packet::Publish(publish) = packet {
            let other = TopicName::new("t").unwrap();
            check_message(publish, publish.topic.name().unwrap_or(other), version);
        }
    });
});

/// What is encoded is decoded to the same, and every cut of it is seen as one.
fn check_packet(packet: &Packet<'_>, version: ProtocolVersion) {
    let len = packet.encoded_len(version).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(packet.encode_to(version, &mut bytes), Ok(len));
    assert_eq!(bytes.len(), len);

    let whole = Ok(Parsed::Complete((*packet, len)));
    let size = u32::try_from(len).unwrap();
    assert_eq!(decode(&bytes, version, size), whole, "exactly the limit");
    let error = decode(&bytes, version, size - 1).unwrap_err();
    assert_eq!(
        error.kind(),
        DecodeErrorKind::PacketTooLarge {
            size,
            maximum: size - 1
        }
    );

    for cut in (0..len).take(64).chain([len / 2, len - 1]) {
        match Frame::parse(&bytes[..cut], Some(version), u32::MAX) {
            Ok(Parsed::Partial { needed }) => assert!(needed >= 1 && cut + needed <= len),
            other => panic!("{cut} of {len} bytes are {other:?}"),
        }
    }

    // Into a slice with room to spare, and into one without.
    let mut slice = vec![0xA5; len + 1];
    assert_eq!(packet.encode(version, &mut slice), Ok(len));
    assert_eq!((&slice[..len], slice[len]), (&*bytes, 0xA5));
    assert_eq!(
        decode(&slice, version, size),
        whole,
        "what comes behind is left alone"
    );
    slice.fill(0xA5);
    let too_small = EncodeError::BufferTooSmall {
        needed: len,
        available: len - 1,
    };
    assert_eq!(
        packet.encode(version, &mut slice[..len - 1]),
        Err(too_small)
    );
    assert!(
        slice.iter().all(|&byte| byte == 0xA5),
        "nothing has been written"
    );
}

/// A packet of 5.0 is refused in 3.1.1, or becomes one that 3.1.1 has.
fn check_older(packet: &Packet<'_>) {
    let version = ProtocolVersion::V3_1_1;
    let mut bytes = Vec::new();
    match packet.encode_to(version, &mut bytes) {
        Ok(len) => {
            let Ok(Parsed::Complete((older, size))) = decode(&bytes, version, u32::MAX) else {
                panic!("encoded, but not decoded: {bytes:02x?}");
            };
            assert_eq!((size, older.packet_type()), (len, packet.packet_type()));
            let mut again = Vec::new();
            assert_eq!(older.encode_to(version, &mut again), Ok(len));
            assert_eq!(again, bytes);
        }
        Err(error) => {
            assert!(bytes.is_empty(), "nothing has been written");
            assert!(matches!(error, EncodeError::NotInVersion(_)), "{error}");
            let refused = matches!(
                packet,
                Packet::Connect(_)
                    | Packet::ConnAck(_)
                    | Packet::Publish(_)
                    | Packet::Subscribe(_)
                    | Packet::Auth(_)
            );
            assert!(refused, "{error}");
        }
    }
    if matches!(packet, Packet::Auth(_)) {
        let error = EncodeError::NotInVersion(NotInVersion::Auth);
        assert_eq!(packet.encoded_len(version), Err(error));
    }
}

/// A message holds all of a PUBLISH but its delivery and its alias.
fn check_message(publish: &Publish<'_>, name: TopicName<'_>, version: ProtocolVersion) {
    let named = Publish {
        topic: PublishTopic::Name(name),
        ..*publish
    };
    let message = Message::from_publish(publish, name);
    assert_eq!(message.publish(publish.delivery), named);

    let mut bytes = Vec::new();
    Packet::from(named).encode_to(version, &mut bytes).unwrap();
    let frame = Bytes::from(bytes);
    let Ok(Parsed::Complete((Packet::Publish(decoded), _))) = decode(&frame, version, u32::MAX)
    else {
        panic!("a PUBLISH");
    };
    let shared = Message::from_frame(&frame, &decoded, name);
    assert_eq!(shared, message);
    if !publish.payload.is_empty() {
        assert!(
            frame.as_ptr_range().contains(&shared.payload().as_ptr()),
            "shared, not copied"
        );
    }
    let rebuilt = Message::from_name(name, publish.payload.to_vec())
        .with_qos(publish.delivery.qos())
        .with_retain(publish.retain)
        .with_properties(&publish.properties);
    assert_eq!(rebuilt, Ok(message));
}
