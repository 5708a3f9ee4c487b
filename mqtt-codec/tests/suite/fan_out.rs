//! A fan-out says the same as a packet for each receiver.

use mqtt_codec::{
    Delivery, EncodeError, FanOut, Message, NotInVersion, Packet, PacketId, Parsed,
    ProtocolVersion, Publish, PublishProperties, PublishTopic, Receiver, ReceiverAlias, Stencil,
    Str, SubscriptionId, SubscriptionIds, TopicAlias, decode,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::packets::versioned_packet;

use ProtocolVersion::{V3_1_1, V5_0};

fn delivery() -> impl Strategy<Value = Delivery> {
    (0..3, 1..=u16::MAX, any::<bool>()).prop_map(|(qos, id, dup)| {
        let id = PacketId::new(id).unwrap();
        match qos {
            0 => Delivery::AtMostOnce,
            1 => Delivery::AtLeastOnce { id, dup },
            _ => Delivery::ExactlyOnce { id, dup },
        }
    })
}

fn alias() -> impl Strategy<Value = ReceiverAlias> {
    let alias = (1..=u16::MAX).prop_map(|alias| TopicAlias::new(alias).unwrap());
    prop_oneof![
        Just(ReceiverAlias::None),
        alias.clone().prop_map(ReceiverAlias::Set),
        alias.prop_map(ReceiverAlias::Use),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn each_receiver_gets_its_packet(
        (of_packet, packet) in versioned_packet(),
        is_v5 in any::<bool>(),
        delivery in delivery(),
        retain in any::<bool>(),
        alias in alias(),
        expiry in option::of(any::<u32>()),
        ids in vec(1..=268_435_455_u32, 0..3),
    ) {
        let Packet::Publish(publish) = packet else {
            return Ok(());
        };
        let Some(topic) = publish.topic.name() else {
            return Ok(());
        };
        // From a frame, with whatever is in its property block, an alias among it.
        let mut frame = Vec::new();
        packet.encode_to(of_packet, &mut frame).unwrap();
        let frame = bytes::Bytes::from(frame);
        let Ok(Parsed::Complete((Packet::Publish(decoded), _))) = decode(&frame, of_packet, u32::MAX) else {
            panic!("a publish");
        };
        let message = Message::from_frame(&frame, &decoded, topic);

        let version = if is_v5 { V5_0 } else { V3_1_1 };
        let ids: Vec<_> = ids.into_iter().map(|id| SubscriptionId::new(id).unwrap()).collect();
        let receiver = Receiver { delivery, retain, alias, message_expiry_secs: expiry, subscription_ids: &ids };
        let fan_out = FanOut::new(&message, version);
        let mut bytes = Vec::new();
        let head = fan_out.encode_head_to(&receiver, &mut bytes);
        if version == V3_1_1 && matches!(alias, ReceiverAlias::Use(_)) {
            prop_assert_eq!(head, Err(EncodeError::NotInVersion(NotInVersion::TopicAlias)));
            return Ok(());
        }
        prop_assert_eq!(head, Ok(bytes.len()));
        bytes.extend(fan_out.payload());
        prop_assert_eq!(fan_out.encoded_len(&receiver), Ok(bytes.len()));

        let expected = Publish {
            delivery,
            retain,
            topic: match (alias, version) {
                (ReceiverAlias::None, _) | (_, V3_1_1) => PublishTopic::Name(topic),
                (ReceiverAlias::Set(alias), _) => PublishTopic::NameAndAlias(topic, alias),
                (ReceiverAlias::Use(alias), _) => PublishTopic::Alias(alias),
            },
            properties: match version {
                V3_1_1 => PublishProperties::default(),
                V5_0 => PublishProperties {
                    message_expiry_secs: expiry,
                    subscription_ids: SubscriptionIds::new(&ids),
                    ..publish.properties
                },
            },
            payload: publish.payload,
        };
        let decoded = decode(&bytes, version, u32::MAX).unwrap();
        prop_assert_eq!(decoded, Parsed::Complete((Packet::Publish(expected), bytes.len())));
    }
}

proptest! {
    /// One stencil for several messages, each for receivers of one version and kind.
    #[test]
    fn a_stencil_copies_the_packet_that_each_receiver_would_get(
        messages in vec(
            (versioned_packet(), any::<bool>(), any::<bool>(), vec((delivery(), any::<bool>(), 0..3_usize), 1..5)),
            1..4,
        ),
    ) {
        let mut stencil = Stencil::new();
        let mut expected = Vec::new();
        let mut output = b"before".to_vec();
        for ((_, packet), is_v5, counted, receivers) in &messages {
            let Packet::Publish(publish) = packet else { continue };
            let Some(topic) = publish.topic.name() else { continue };
            let message = Message::from_publish(publish, topic);
            let version = if *is_v5 { V5_0 } else { V3_1_1 };
            stencil.cut(&message, version, *counted).unwrap();
            for (delivery, retain, more) in receivers {
                expected.clear();
                let size = message.encode_to(version, *delivery, *retain, &mut expected).unwrap();
                // One byte too many, as many as there may be, and fewer.
                let size_max = (size + more).saturating_sub(1);
                let before = output.len();
                let is_copied = stencil.copy_within(*delivery, *retain, size_max, &mut output);
                let is_of_kind = delivery.id().is_some() == *counted;
                prop_assert_eq!(is_copied, is_of_kind && size <= size_max);
                let copied = if is_copied { &*expected } else { &[] };
                prop_assert_eq!(&output[before..], copied);
            }
        }
    }
}

#[test]
fn a_stencil_without_a_packet_copies_nothing() {
    let mut stencil = Stencil::new();
    let mut output = Vec::new();
    let mut copies = |stencil: &mut Stencil| {
        stencil.copy_within(Delivery::AtMostOnce, false, usize::MAX, &mut output)
    };
    assert!(!copies(&mut stencil));
    let message = Message::new("t", "on").unwrap();
    stencil.cut(&message, V3_1_1, false).unwrap();
    assert!(copies(&mut stencil));
    let too_large = Message::new("t", vec![0; 268_435_455 - 2]).unwrap();
    let error = stencil.cut(&too_large, V3_1_1, false).unwrap_err();
    assert!(
        matches!(error, EncodeError::PacketTooLarge { .. }),
        "{error}"
    );
    assert!(!copies(&mut stencil), "the packet before is gone");
}

#[test]
fn a_message_too_large_for_a_packet_is_refused_for_each_receiver() {
    let message = Message::new("t", vec![0; 268_435_455 - 3]).unwrap();
    let receiver = Receiver::new(Delivery::AtMostOnce);
    let old = FanOut::new(&message, V3_1_1);
    assert!(old.encoded_len(&receiver).is_ok());
    let new = FanOut::new(&message, V5_0);
    let mut out = Vec::new();
    let error = new.encode_head_to(&receiver, &mut out).unwrap_err();
    assert!(
        matches!(error, EncodeError::PacketTooLarge { .. }),
        "{error}"
    );
    assert!(out.is_empty(), "nothing was written");
}

/// A message whose frame holds, beside the content type, what each receiver has of its own.
fn message_with(properties: &PublishProperties<'_>) -> Message {
    let message = Message::new("house/light", "on").unwrap();
    message.with_properties(properties).unwrap()
}

// The heads that are prepared, in every combination, against whole packets.
#[test]
fn receivers_with_nothing_of_their_own_get_the_same_bytes_as_a_packet() {
    let ids = [SubscriptionId::MIN];
    let content_type = PublishProperties {
        content_type: Some(Str::new("text").unwrap()),
        ..PublishProperties::default()
    };
    let own = PublishProperties {
        message_expiry_secs: Some(60),
        subscription_ids: SubscriptionIds::new(&ids),
        ..content_type
    };
    let none = PublishProperties::default();
    let id = PacketId::new(0x0102).unwrap();
    let deliveries = [
        Delivery::AtMostOnce,
        Delivery::AtLeastOnce { id, dup: false },
        Delivery::AtLeastOnce { id, dup: true },
        Delivery::ExactlyOnce { id, dup: false },
        Delivery::ExactlyOnce { id, dup: true },
    ];
    for (version, held, said) in [
        (V3_1_1, none, none),
        (V3_1_1, own, none),
        (V5_0, none, none),
        (V5_0, content_type, content_type),
        // Each receiver says its own expiry and identifiers, or none.
        (V5_0, own, content_type),
    ] {
        let message = message_with(&held);
        let fan_out = FanOut::new(&message, version);
        for delivery in deliveries {
            for retain in [false, true] {
                let receiver = Receiver {
                    retain,
                    ..Receiver::new(delivery)
                };
                let packet = Publish {
                    retain,
                    properties: said,
                    ..message.publish(delivery)
                };
                let mut expected = Vec::new();
                Packet::from(packet)
                    .encode_to(version, &mut expected)
                    .unwrap();
                let head_len = expected.len() - fan_out.payload().len();

                let mut head = Vec::new();
                assert_eq!(fan_out.encode_head_to(&receiver, &mut head), Ok(head_len));
                assert_eq!(
                    head,
                    expected[..head_len],
                    "{version} {delivery:?} {retain}"
                );

                // Exactly the room it takes, and one byte less.
                let mut room = [0xA5; 64];
                assert!(
                    fan_out
                        .encode_head_to(&receiver, &mut &mut room[..head_len])
                        .is_ok()
                );
                let mut room = [0xA5; 64];
                let error = fan_out.encode_head_to(&receiver, &mut &mut room[..head_len - 1]);
                let too_small = EncodeError::BufferTooSmall {
                    needed: head_len,
                    available: head_len - 1,
                };
                assert_eq!(error, Err(too_small));
                assert_eq!(room, [0xA5; 64], "nothing was written");
            }
        }
    }
}

#[test]
fn a_receiver_with_something_of_its_own_needs_room_too() {
    let message = message_with(&PublishProperties::default());
    let fan_out = FanOut::new(&message, V5_0);
    let receiver = Receiver {
        message_expiry_secs: Some(7),
        ..Receiver::new(Delivery::AtMostOnce)
    };
    let mut head = Vec::new();
    let len = fan_out.encode_head_to(&receiver, &mut head).unwrap();
    let mut room = [0xA5; 64];
    assert!(
        fan_out
            .encode_head_to(&receiver, &mut &mut room[..len])
            .is_ok()
    );
    let mut room = [0xA5; 64];
    assert!(
        fan_out
            .encode_head_to(&receiver, &mut &mut room[..len - 1])
            .is_err()
    );
    assert_eq!(room, [0xA5; 64], "nothing was written");
}
