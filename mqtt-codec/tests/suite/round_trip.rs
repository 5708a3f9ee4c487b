//! What is encoded decodes to the same packet, and the length is known before.

use mqtt_codec::{
    AckProperties, Auth, AuthReason, Authentication, ConnAck, ConnAckOutcome, Connect,
    ConnectReason, Disconnect, DisconnectProperties, DisconnectReason, EncodeError, NotInVersion,
    Packet, PacketId, Parsed, ProtocolVersion, PubAck, PubComp, Publish, PublishProperties,
    PublishReason, PublishTopic, QoS, ReasonCode, ReleaseReason, Str, SubAck, SubAckReasons,
    Subscribe, SubscribeFilter, SubscribeFilters, SubscribeProperties, SubscribeReason,
    SubscriptionId, TopicAlias, TopicFilter, TopicName, UnsubAck, UnsubAckReasons, Unsubscribe,
    UnsubscribeFilters, UserProperties, UserProperty, decode,
};
use proptest::prelude::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::packets::versioned_packet;

fn encode(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = vec![0; packet.encoded_len(version).unwrap()];
    assert_eq!(packet.encode(version, &mut bytes), Ok(bytes.len()));
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_decodes_to_the_same_packet((version, packet) in versioned_packet()) {
        let bytes = encode(&packet, version);
        let size_max = u32::try_from(bytes.len()).unwrap();
        prop_assert_eq!(decode(&bytes, version, size_max), Ok(Parsed::Complete((packet, bytes.len()))));
    }

    #[test]
    fn a_decoded_packet_encodes_to_the_same_bytes((version, packet) in versioned_packet()) {
        let bytes = encode(&packet, version);
        let Ok(Parsed::Complete((decoded, _))) = decode(&bytes, version, u32::MAX) else {
            return Err(TestCaseError::fail("does not decode"));
        };
        prop_assert_eq!(encode(&decoded, version), bytes);
    }

    #[test]
    fn exactly_the_predicted_bytes_are_written((version, packet) in versioned_packet()) {
        let needed = packet.encoded_len(version).unwrap();
        let mut buf = vec![0xEE; needed + 3];
        prop_assert_eq!(packet.encode(version, &mut buf), Ok(needed));
        prop_assert_eq!(&buf[needed..], &[0xEE; 3]);
    }

    #[test]
    fn a_buffer_that_is_one_byte_too_short_stays_untouched((version, packet) in versioned_packet()) {
        let needed = packet.encoded_len(version).unwrap();
        let mut buf = vec![0xEE; needed - 1];
        let refused = EncodeError::BufferTooSmall { needed, available: needed - 1 };
        prop_assert_eq!(packet.encode(version, &mut buf), Err(refused));
        prop_assert!(buf.iter().all(|&byte| byte == 0xEE));
    }
}

#[cfg(feature = "alloc")]
proptest! {
    #[test]
    fn a_growable_buffer_gets_the_same_bytes_appended((version, packet) in versioned_packet()) {
        let bytes = encode(&packet, version);
        let mut grown = vec![0xEE];
        prop_assert_eq!(packet.encode_to(version, &mut grown), Ok(bytes.len()));
        prop_assert_eq!(&grown[1..], bytes);
    }

    #[test]
    fn a_bounded_buffer_that_is_one_byte_too_short_stays_untouched((version, packet) in versioned_packet()) {
        let needed = packet.encoded_len(version).unwrap();
        let mut buf = vec![0xEE; needed - 1];
        let refused = EncodeError::BufferTooSmall { needed, available: needed - 1 };
        prop_assert_eq!(packet.encode_to(version, &mut &mut buf[..]), Err(refused));
        prop_assert!(buf.iter().all(|&byte| byte == 0xEE));
    }
}

fn id() -> PacketId {
    PacketId::new(10).unwrap()
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

// [3:MQTT-3.1.2-22] [3:MQTT-3.1.3-7] Also: no AUTH, no aliases, no options.
#[test]
fn what_3_1_1_cannot_say_without_another_meaning_is_refused() {
    let client = Str::new("c").unwrap();
    let plain = SubscribeFilter::new("a", QoS::AtMostOnce).unwrap();
    let [mut no_local, mut published, mut handling] = [plain; 3];
    no_local.options.no_local = true;
    published.options.retain_as_published = true;
    handling.options.retain_handling = mqtt_codec::RetainHandling::DoNotSend;
    let subscribe = |filter: &'static [SubscribeFilter<'static>]| {
        Packet::Subscribe(Subscribe {
            id: id(),
            filters: SubscribeFilters::new(filter).unwrap(),
            properties: SubscribeProperties::default(),
        })
    };
    let method = Authentication {
        method: Str::EMPTY,
        data: None,
    };
    let rows = [
        (
            "AUTH",
            Packet::Auth(Auth::new(AuthReason::Success, method)),
            NotInVersion::Auth,
        ),
        (
            "an alias in place of a topic",
            Packet::Publish(Publish {
                topic: PublishTopic::Alias(TopicAlias::new(1).unwrap()),
                ..Publish::new(name("t"), b"")
            }),
            NotInVersion::TopicAlias,
        ),
        (
            "No Local",
            subscribe(vec![no_local].leak()),
            NotInVersion::SubscriptionOptions,
        ),
        (
            "Retain As Published",
            subscribe(vec![published].leak()),
            NotInVersion::SubscriptionOptions,
        ),
        (
            "Retain Handling",
            subscribe(vec![handling].leak()),
            NotInVersion::SubscriptionOptions,
        ),
        (
            "a password without a user name",
            Packet::Connect(Connect {
                password: Some(mqtt_codec::Binary::default()),
                ..Connect::new(V3_1_1, client)
            }),
            NotInVersion::PasswordWithoutUserName,
        ),
        (
            "no name and no clean session",
            Packet::Connect(Connect {
                clean_start: false,
                ..Connect::new(V3_1_1, Str::EMPTY)
            }),
            NotInVersion::EmptyClientId,
        ),
        (
            "a CONNECT of 5.0",
            Packet::Connect(Connect::new(V5_0, client)),
            NotInVersion::Connect,
        ),
        (
            "a refusal without a return code",
            Packet::ConnAck(ConnAck::new(ConnAckOutcome::Refused(
                ConnectReason::QuotaExceeded,
            ))),
            NotInVersion::ConnectReason,
        ),
    ];
    for (what, packet, reason) in rows {
        let refused = Err(EncodeError::NotInVersion(reason));
        let mut buf = [0xEE; 64];
        assert_eq!(packet.encoded_len(V3_1_1), refused, "{what}");
        assert_eq!(packet.encode(V3_1_1, &mut buf), refused, "{what}");
        assert_eq!(buf, [0xEE; 64], "{what}");
        assert!(
            EncodeError::NotInVersion(reason).to_string().contains(' '),
            "{what}"
        );
    }
}

// [5:MQTT-3.11.3-2] One code for each filter.
#[test]
fn what_5_0_cannot_say_is_refused() {
    let none = UnsubAck {
        id: id(),
        reasons: UnsubAckReasons::default(),
        properties: AckProperties::default(),
    };
    let connect = Connect::new(V3_1_1, Str::EMPTY);
    let rows = [
        (Packet::UnsubAck(none), NotInVersion::NoReasonCodes),
        (Packet::Connect(connect), NotInVersion::Connect),
    ];
    for (packet, reason) in rows {
        assert_eq!(
            packet.encoded_len(V5_0),
            Err(EncodeError::NotInVersion(reason))
        );
    }
}

// [5:MQTT-4.8.2-1] [5:MQTT-4.8.2-2]
#[test]
fn what_3_1_1_takes_for_an_ordinary_filter_is_refused_in_5_0() {
    let refused = Err(EncodeError::NotInVersion(NotInVersion::SharedFilter));
    for text in [
        "$share/",
        "$share/g",
        "$share//a",
        "$share/+/a",
        "$share/g/",
    ] {
        let entries = ["a", text].map(|it| SubscribeFilter::new(it, QoS::AtMostOnce).unwrap());
        let filters = entries.map(|entry| entry.filter);
        let packets = [
            Packet::from(Subscribe {
                id: id(),
                filters: SubscribeFilters::new(&entries).unwrap(),
                properties: SubscribeProperties::default(),
            }),
            Packet::from(Unsubscribe {
                id: id(),
                filters: UnsubscribeFilters::new(&filters).unwrap(),
                user_properties: UserProperties::default(),
            }),
        ];
        for packet in packets {
            assert_eq!(packet.encoded_len(V5_0), refused, "{text}");
            // The same for a packet that has come in.
            let bytes = encode(&packet, V3_1_1);
            let parsed = decode(&bytes, V3_1_1, u32::MAX);
            let Ok(Parsed::Complete((decoded, _))) = parsed else {
                panic!("{text}: {parsed:?}");
            };
            assert_eq!(decoded.encoded_len(V5_0), refused, "{text}");
        }
    }
    let shared = [SubscribeFilter::new("$share/g/a", QoS::AtMostOnce).unwrap()];
    let subscribe = Packet::from(Subscribe {
        id: id(),
        filters: SubscribeFilters::new(&shared).unwrap(),
        properties: SubscribeProperties::default(),
    });
    assert!(subscribe.encoded_len(V5_0).is_ok());
}

// [3:MQTT-3.9.3-2] [3:MQTT-3.2.2-6]
#[test]
fn for_3_1_1_properties_and_reasons_are_left_out() {
    let pairs = [UserProperty {
        name: Str::new("k").unwrap(),
        value: Str::new("v").unwrap(),
    }];
    let user_properties = UserProperties::new(&pairs);
    let reason_string = Str::new("why").ok();
    let properties = AckProperties {
        reason_string,
        user_properties,
    };
    let alias = TopicAlias::new(1).unwrap();
    let filter = [SubscribeFilter::new("a", QoS::AtLeastOnce).unwrap()];
    let failures = [SubscribeReason::NotAuthorized, SubscribeReason::GrantedQoS1];
    let codes = [mqtt_codec::UnsubscribeReason::NoSubscriptionExisted];
    let filters = [TopicFilter::new("a").unwrap()];
    let refusal = |reason| Packet::ConnAck(ConnAck::new(ConnAckOutcome::Refused(reason)));
    let rows: [(Packet<'_>, &[u8]); 12] = [
        (
            Packet::PubAck(PubAck {
                id: id(),
                reason: PublishReason::QuotaExceeded,
                properties,
            }),
            &[0x40, 2, 0, 10],
        ),
        (
            Packet::PubComp(PubComp {
                id: id(),
                reason: ReleaseReason::PacketIdNotFound,
                properties,
            }),
            &[0x70, 2, 0, 10],
        ),
        (
            Packet::Disconnect(Disconnect {
                reason: DisconnectReason::DisconnectWithWill,
                properties: DisconnectProperties {
                    reason_string,
                    ..DisconnectProperties::default()
                },
            }),
            &[0xE0, 0],
        ),
        (
            Packet::Publish(Publish {
                topic: PublishTopic::NameAndAlias(name("t"), alias),
                properties: PublishProperties {
                    user_properties,
                    ..PublishProperties::default()
                },
                ..Publish::new(name("t"), b"x")
            }),
            &[0x30, 4, 0, 1, b't', b'x'],
        ),
        (
            Packet::Subscribe(Subscribe {
                id: id(),
                filters: SubscribeFilters::new(&filter).unwrap(),
                properties: SubscribeProperties {
                    subscription_id: SubscriptionId::new(1),
                    user_properties,
                },
            }),
            &[0x82, 6, 0, 10, 0, 1, b'a', 1],
        ),
        (
            Packet::SubAck(SubAck {
                id: id(),
                reasons: SubAckReasons::new(&failures).unwrap(),
                properties,
            }),
            &[0x90, 4, 0, 10, 0x80, 1],
        ),
        (
            Packet::Unsubscribe(Unsubscribe {
                id: id(),
                filters: UnsubscribeFilters::new(&filters).unwrap(),
                user_properties,
            }),
            &[0xA2, 5, 0, 10, 0, 1, b'a'],
        ),
        (
            Packet::UnsubAck(UnsubAck {
                id: id(),
                reasons: UnsubAckReasons::new(&codes),
                properties,
            }),
            &[0xB0, 2, 0, 10],
        ),
        (refusal(ConnectReason::ServerBusy), &[0x20, 2, 0, 3]),
        (refusal(ConnectReason::ServerUnavailable), &[0x20, 2, 0, 3]),
        (refusal(ConnectReason::Banned), &[0x20, 2, 0, 5]),
        (
            refusal(ConnectReason::BadAuthenticationMethod),
            &[0x20, 2, 0, 5],
        ),
    ];
    for (packet, bytes) in rows {
        assert_eq!(encode(&packet, V3_1_1), bytes, "{packet:?}");
    }
}

/// The payload is never read: no memory is touched for it.
#[test]
fn the_largest_packet_is_the_largest_that_is_written() {
    let payload = vec![0; 268_435_455];
    let publish = |len: usize| Packet::Publish(Publish::new(name("t"), &payload[..len]));
    // Two bytes of length and one of topic.
    assert_eq!(publish(268_435_452).encoded_len(V3_1_1), Ok(268_435_460));
    let too_large = EncodeError::PacketTooLarge { size: 268_435_461 };
    assert_eq!(publish(268_435_453).encoded_len(V3_1_1), Err(too_large));
    assert_eq!(publish(268_435_453).encode(V3_1_1, &mut []), Err(too_large));
    // One more for the property length.
    assert_eq!(publish(268_435_451).encoded_len(V5_0), Ok(268_435_460));
    assert_eq!(publish(268_435_452).encoded_len(V5_0), Err(too_large));
}

// [5:MQTT-3.8.3-2] [5:MQTT-3.10.3-2] [5:MQTT-3.8.3-4] [3:MQTT-3.8.3-3] [3:MQTT-3.10.3-2]
#[test]
fn lists_that_no_packet_may_have_cannot_be_built() {
    use mqtt_codec::FiltersError;

    let mut shared = SubscribeFilter::new("$share/g/a", QoS::AtMostOnce).unwrap();
    shared.options.no_local = true;
    assert_eq!(SubscribeFilters::new(&[]), Err(FiltersError::Empty));
    assert_eq!(
        SubscribeFilters::new(&[shared]),
        Err(FiltersError::NoLocalOnShared)
    );
    assert_eq!(UnsubscribeFilters::new(&[]), Err(FiltersError::Empty));
    assert_eq!(SubAckReasons::new(&[]), Err(FiltersError::Empty));
}

#[test]
fn numbers_that_no_packet_may_have_cannot_be_built() {
    assert_eq!((PacketId::new(0), TopicAlias::new(0)), (None, None));
    assert_eq!(
        (SubscriptionId::new(0), SubscriptionId::new(268_435_456)),
        (None, None)
    );
    assert_eq!(SubscriptionId::new(268_435_455).unwrap().get(), 268_435_455);
    for code in ReasonCode::ALL.iter().copied() {
        assert_eq!(ReasonCode::from_value(code.value()), Some(code));
        assert_eq!(code.is_error(), code.value() >= 0x80);
    }
}

#[test]
fn texts_and_data_hold_65535_bytes_and_no_more() {
    use mqtt_codec::{Binary, BinaryTooLong, StrError};

    let longest = "x".repeat(65_535);
    let too_long = "x".repeat(65_536);
    assert_eq!(Str::new(&longest).unwrap().len(), 65_535);
    assert_eq!(Str::new(&too_long), Err(StrError::TooLong));
    assert_eq!(Binary::new(too_long.as_bytes()), Err(BinaryTooLong));
    assert_eq!(Str::new("a\0"), Err(StrError::NullCharacter { offset: 1 }));
    assert_eq!(
        Str::from_bytes(b"ab\xFF"),
        Err(StrError::NotUtf8 { offset: 2 })
    );
}
