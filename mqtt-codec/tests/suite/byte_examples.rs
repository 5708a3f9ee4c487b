//! Packets byte by byte, spelled out by hand from the tables of the standards.

use core::num::NonZeroU16;

use mqtt_codec::{
    Ack, AckProperties, Auth, AuthReason, Authentication, Binary, ConnAck, ConnAckOutcome,
    ConnAckProperties, Connect, ConnectProperties, ConnectReason, DecodeErrorKind, Delivery,
    Disconnect, DisconnectProperties, DisconnectReason, ErrorClass, Packet, PacketId, Parsed,
    ProtocolVersion, Publish, PublishProperties, PublishReason, PublishTopic, QoS, ReleaseReason,
    RetainHandling, Str, SubAck, SubAckReasons, Subscribe, SubscribeFilter, SubscribeFilters,
    SubscribeProperties, SubscribeReason, SubscriptionId, SubscriptionIds, SubscriptionOptions,
    TopicAlias, TopicErrorKind, TopicFilter, TopicName, UnsubAck, UnsubAckReasons, Unsubscribe,
    UnsubscribeFilters, UnsubscribeReason, UserProperties, UserProperty, Will, WillProperties,
    decode,
};

use crate::hex::hex;
use ProtocolVersion::{V3_1_1, V5_0};

const BOTH: &[ProtocolVersion] = &[V3_1_1, V5_0];
const V3: &[ProtocolVersion] = &[V3_1_1];
const V5: &[ProtocolVersion] = &[V5_0];

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn text(text: &str) -> Str<'_> {
    Str::new(text).unwrap()
}

fn binary(bytes: &[u8]) -> Binary<'_> {
    Binary::new(bytes).unwrap()
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

fn at(filter: &str, qos: QoS) -> SubscribeFilter<'_> {
    SubscribeFilter::new(filter, qos).unwrap()
}

/// The bytes are this packet; and the packet is written as `written`.
fn check(row: &str, versions: &[ProtocolVersion], bytes: &str, written: &str, packet: Packet<'_>) {
    let (bytes, written) = (hex(bytes), hex(written));
    for &version in versions {
        let parsed = decode(&bytes, version, 1024);
        assert_eq!(
            parsed,
            Ok(Parsed::Complete((packet, bytes.len()))),
            "{row}, {version}"
        );
        let mut encoded = [0; 64];
        let len = packet.encode(version, &mut encoded).unwrap();
        assert_eq!(&encoded[..len], written, "{row}, {version}");
        assert_eq!(packet.encoded_len(version), Ok(len), "{row}, {version}");
    }
}

/// The bytes are this packet in its shortest form.
fn is(row: &str, versions: &[ProtocolVersion], bytes: &str, packet: impl Into<Packet<'static>>) {
    check(row, versions, bytes, bytes, packet.into());
}

// [3:MQTT-3.1.3-1] [3:MQTT-3.1.3-3] [5:MQTT-3.1.3-1] [5:MQTT-3.1.3-3] The fields in their order.
#[test]
fn connect_is_read_and_written() {
    is(
        "clean session, keep alive 60, ClientId `a`",
        V3,
        "10 0D  00 04 4D 51 54 54  04  02  00 3C  00 01 61",
        Connect {
            clean_start: true,
            keep_alive_secs: 60,
            ..Connect::new(V3_1_1, text("a"))
        },
    );
    is(
        "will (`w`, payload `x`, QoS 1, retain), user `u`, password `p`, CleanSession 0",
        V3,
        "10 19  00 04 4D 51 54 54  04  EC  00 0A  00 01 61  00 01 77  00 01 78  00 01 75  00 01 70",
        Connect {
            clean_start: false,
            keep_alive_secs: 10,
            will: Some(Will {
                qos: QoS::AtLeastOnce,
                retain: true,
                ..Will::new(name("w"), binary(b"x"))
            }),
            user_name: Some(text("u")),
            password: Some(binary(b"p")),
            ..Connect::new(V3_1_1, text("a"))
        },
    );
    is(
        "Clean Start, keep alive 60, no properties, ClientID empty",
        V5,
        "10 0D  00 04 4D 51 54 54  05  02  00 3C  00  00 00",
        Connect::new(V5_0, Str::EMPTY),
    );
    is(
        "Clean Start 0, session expiry 10, Receive Maximum 20, ClientID `a`, will (delay 5, `w`, payload `x`, QoS 1), password `p` without user name",
        V5,
        "10 25  00 04 4D 51 54 54  05  4C  00 0A  08  11 00 00 00 0A  21 00 14  00 01 61 \
         05  18 00 00 00 05  00 01 77  00 01 78  00 01 70",
        Connect {
            clean_start: false,
            keep_alive_secs: 10,
            will: Some(Will {
                qos: QoS::AtLeastOnce,
                properties: WillProperties {
                    delay_secs: Some(5),
                    ..WillProperties::default()
                },
                ..Will::new(name("w"), binary(b"x"))
            }),
            password: Some(binary(b"p")),
            properties: ConnectProperties {
                session_expiry_secs: Some(10),
                receive_maximum: NonZeroU16::new(20),
                ..ConnectProperties::default()
            },
            ..Connect::new(V5_0, text("a"))
        },
    );
}

#[test]
fn connack_is_read_and_written() {
    is(
        "accepted, session present",
        V3,
        "20 02  01 00",
        ConnAck::new(ConnAckOutcome::Accepted {
            session_present: true,
        }),
    );
    is(
        "0x00, session present 0, Assigned Client Identifier `c1`, Topic Alias Maximum 10",
        V5,
        "20 0B  00 00  08  12 00 02 63 31  22 00 0A",
        ConnAck {
            outcome: ConnAckOutcome::Accepted {
                session_present: false,
            },
            properties: ConnAckProperties {
                assigned_client_id: Some(text("c1")),
                topic_alias_maximum: Some(10),
                ..ConnAckProperties::default()
            },
        },
    );
    is(
        "0x84",
        V5,
        "20 03  00 84  00",
        ConnAck::new(ConnAckOutcome::Refused(
            ConnectReason::UnsupportedProtocolVersion,
        )),
    );
}

// [3:MQTT-3.3.2-1] [5:MQTT-3.3.2-1] The topic is first.
// [3:MQTT-2.3.1-5] [5:MQTT-2.2.1-2] No packet identifier at QoS 0.
#[test]
fn publish_is_read_and_written() {
    is(
        "`a/b`, QoS 0, payload `hi`",
        V3,
        "30 07  00 03 61 2F 62  68 69",
        Publish::new(name("a/b"), b"hi"),
    );
    is(
        "`a/b`, QoS 1, DUP, id 10, empty payload, RETAIN",
        V3,
        "3B 07  00 03 61 2F 62  00 0A",
        Publish {
            delivery: Delivery::AtLeastOnce {
                id: id(10),
                dup: true,
            },
            retain: true,
            ..Publish::new(name("a/b"), b"")
        },
    );
    is(
        "`a/b`, QoS 1, id 10, no properties, payload `hi`",
        V5,
        "32 0A  00 03 61 2F 62  00 0A  00  68 69",
        Publish {
            delivery: Delivery::AtLeastOnce {
                id: id(10),
                dup: false,
            },
            ..Publish::new(name("a/b"), b"hi")
        },
    );
    is(
        "empty topic, Topic Alias 3, QoS 0, payload `hi`",
        V5,
        "30 08  00 00  03  23 00 03  68 69",
        Publish {
            topic: PublishTopic::Alias(TopicAlias::new(3).unwrap()),
            ..Publish::new(name("t"), b"hi")
        },
    );
    let ids = [1, 300].map(|id| SubscriptionId::new(id).unwrap());
    let pairs = [UserProperty {
        name: text("k"),
        value: text("v"),
    }];
    let bytes = "30 10  00 01 74  0C  0B 01  0B AC 02  26 00 01 6B 00 01 76";
    check(
        "`t`, QoS 0, Subscription Identifiers 1 and 300, User Property `k`=`v`, empty payload",
        V5,
        bytes,
        bytes,
        Packet::Publish(Publish {
            properties: PublishProperties {
                subscription_ids: SubscriptionIds::new(&ids),
                user_properties: UserProperties::new(&pairs),
                ..PublishProperties::default()
            },
            ..Publish::new(name("t"), b"")
        }),
    );
}

// [5:MQTT-2.2.2-1] The forms in which reason code and property length are left out.
#[test]
fn acknowledgements_are_read_in_every_form_and_written_in_the_shortest() {
    is(
        "PUBREL id 10",
        V3,
        "62 02  00 0A",
        Packet::PubRel(Ack::new(id(10), ReleaseReason::Success)),
    );
    is(
        "PUBACK id 10, success, short form",
        V5,
        "40 02  00 0A",
        Packet::PubAck(Ack::new(id(10), PublishReason::Success)),
    );
    is(
        "PUBACK id 10, code 0x10, without property length",
        V5,
        "40 03  00 0A  10",
        Packet::PubAck(Ack::new(id(10), PublishReason::NoMatchingSubscribers)),
    );
    is(
        "PUBREC id 10, code 0x97, Reason String `no`",
        V5,
        "50 09  00 0A  97  05  1F 00 02 6E 6F",
        Packet::PubRec(Ack {
            id: id(10),
            reason: PublishReason::QuotaExceeded,
            properties: AckProperties {
                reason_string: Some(text("no")),
                ..AckProperties::default()
            },
        }),
    );
    check(
        "PUBREL id 10, code 0x92, property length 0",
        V5,
        "62 04  00 0A  92  00",
        "62 03  00 0A  92",
        Packet::PubRel(Ack::new(id(10), ReleaseReason::PacketIdNotFound)),
    );
    for long in ["70 03  00 0A  00", "70 04  00 0A  00  00"] {
        check(
            "PUBCOMP id 10, success, long forms",
            V5,
            long,
            "70 02  00 0A",
            Packet::PubComp(Ack::new(id(10), ReleaseReason::Success)),
        );
    }
}

// [5:MQTT-2.2.2-1] Everywhere else the length is there: written, and not to be left out.
#[test]
fn no_properties_are_a_length_of_zero() {
    let rows = [
        (
            "CONNECT",
            "10 0E  00 04 4D 51 54 54  05  02  00 3C  00  00 01 61",
            12,
        ),
        ("CONNACK", "20 03  00 00  00", 4),
        ("PUBLISH, QoS 0", "30 04  00 01 74  00", 5),
        ("PUBLISH, QoS 1", "32 08  00 01 74  00 0A  00  68 69", 7),
        ("SUBSCRIBE", "82 07  00 0A  00  00 01 61  01", 4),
        ("SUBACK", "90 04  00 0A  00  01", 4),
        ("UNSUBSCRIBE", "A2 06  00 0A  00  00 01 61", 4),
        ("UNSUBACK", "B0 04  00 0A  00  11", 4),
    ];
    for (row, bytes, length) in rows {
        let mut bytes = hex(bytes);
        let packet = match decode(&bytes, V5_0, 1024) {
            Ok(Parsed::Complete((packet, _))) => packet,
            other => panic!("{row}: {other:?}"),
        };
        let mut encoded = [0; 64];
        let len = packet.encode(V5_0, &mut encoded).unwrap();
        assert_eq!(&encoded[..len], bytes, "{row}");

        assert_eq!(bytes.remove(length), 0, "{row}");
        bytes[1] -= 1;
        let without = decode(&bytes, V5_0, 1024);
        assert!(without.is_err(), "{row}: {without:?}");
    }
}

#[test]
fn subscribe_and_suback_are_read_and_written() {
    let two = [at("a/b", QoS::AtLeastOnce), at("c/d", QoS::ExactlyOnce)];
    let bytes = "82 0E  00 0A  00 03 61 2F 62  01  00 03 63 2F 64  02";
    check(
        "SUBSCRIBE id 10, `a/b` QoS 1, `c/d` QoS 2",
        V3,
        bytes,
        bytes,
        Packet::Subscribe(Subscribe {
            id: id(10),
            filters: SubscribeFilters::new(&two).unwrap(),
            properties: SubscribeProperties::default(),
        }),
    );
    let all_options = [SubscribeFilter {
        filter: TopicFilter::new("a/#").unwrap(),
        options: SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::SendIfNew,
        },
    }];
    let bytes = "82 0B  00 0A  02  0B 01  00 03 61 2F 23  1E";
    check(
        "SUBSCRIBE id 10, Subscription Identifier 1, `a/#`: QoS 2, No Local, Retain As Published, Retain Handling 1",
        V5,
        bytes,
        bytes,
        Packet::Subscribe(Subscribe {
            id: id(10),
            filters: SubscribeFilters::new(&all_options).unwrap(),
            properties: SubscribeProperties {
                subscription_id: SubscriptionId::new(1),
                ..SubscribeProperties::default()
            },
        }),
    );
    let suback = |reasons| SubAck {
        id: id(10),
        reasons: SubAckReasons::new(reasons).unwrap(),
        properties: AckProperties::default(),
    };
    is(
        "SUBACK id 10: QoS 0, QoS 2, failure",
        V3,
        "90 05  00 0A  00  02  80",
        suback(&[
            SubscribeReason::GrantedQoS0,
            SubscribeReason::GrantedQoS2,
            SubscribeReason::UnspecifiedError,
        ]),
    );
    is(
        "SUBACK id 10: granted 2, 0x87",
        V5,
        "90 05  00 0A  00  02  87",
        suback(&[SubscribeReason::GrantedQoS2, SubscribeReason::NotAuthorized]),
    );
}

#[test]
fn unsubscribe_and_unsuback_are_read_and_written() {
    let two = ["a/b", "c/d"].map(|filter| TopicFilter::new(filter).unwrap());
    let bytes = "A2 0C  00 0A  00 03 61 2F 62  00 03 63 2F 64";
    check(
        "UNSUBSCRIBE id 10, `a/b`, `c/d`",
        V3,
        bytes,
        bytes,
        Packet::Unsubscribe(Unsubscribe {
            id: id(10),
            filters: UnsubscribeFilters::new(&two).unwrap(),
            user_properties: UserProperties::default(),
        }),
    );
    let one = [TopicFilter::new("a/#").unwrap()];
    let bytes = "A2 08  00 0B  00  00 03 61 2F 23";
    check(
        "UNSUBSCRIBE id 11, `a/#`",
        V5,
        bytes,
        bytes,
        Packet::Unsubscribe(Unsubscribe {
            id: id(11),
            filters: UnsubscribeFilters::new(&one).unwrap(),
            user_properties: UserProperties::default(),
        }),
    );
    let unsuback = |id, reasons| UnsubAck {
        id,
        reasons: UnsubAckReasons::new(reasons),
        properties: AckProperties::default(),
    };
    is("UNSUBACK id 10", V3, "B0 02  00 0A", unsuback(id(10), &[]));
    is(
        "UNSUBACK id 11: 0x00",
        V5,
        "B0 04  00 0B  00  00",
        unsuback(id(11), &[UnsubscribeReason::Success]),
    );
}

#[test]
fn packets_without_much_in_them_are_read_and_written() {
    is("PINGREQ", BOTH, "C0 00", Packet::PingReq);
    is("PINGRESP", BOTH, "D0 00", Packet::PingResp);
    is(
        "DISCONNECT; in 5.0 the short form of 0x00",
        BOTH,
        "E0 00",
        Disconnect::new(DisconnectReason::NormalDisconnection),
    );
    is(
        "DISCONNECT 0x04, without property length",
        V5,
        "E0 01  04",
        Disconnect::new(DisconnectReason::DisconnectWithWill),
    );
    check(
        "DISCONNECT 0x04, with property length 0",
        V5,
        "E0 02  04  00",
        "E0 01  04",
        Disconnect::new(DisconnectReason::DisconnectWithWill).into(),
    );
    is(
        "DISCONNECT 0x00, session expiry 0",
        V5,
        "E0 07  00  05  11 00 00 00 00",
        Disconnect {
            reason: DisconnectReason::NormalDisconnection,
            properties: DisconnectProperties {
                session_expiry_secs: Some(0),
                ..DisconnectProperties::default()
            },
        },
    );
    is(
        "AUTH 0x18, method `M`, data `01 02`",
        V5,
        "F0 0B  18  09  15 00 01 4D  16 00 02 01 02",
        Auth::new(
            AuthReason::ContinueAuthentication,
            Authentication {
                method: text("M"),
                data: Some(binary(&[1, 2])),
            },
        ),
    );
    // The standard asks for a method and has this encoding all the same.
    is(
        "AUTH with remaining length 0",
        V5,
        "F0 00",
        Auth {
            reason: AuthReason::Success,
            authentication: None,
            properties: AckProperties::default(),
        },
    );
}

/// What is wrong with bytes that are refused.
enum Fault {
    Kind(DecodeErrorKind),
    Topic(TopicErrorKind),
}

struct Refused {
    row: &'static str,
    versions: &'static [ProtocolVersion],
    bytes: &'static str,
    fault: Fault,
    class: ErrorClass,
}

const fn malformed(
    row: &'static str,
    versions: &'static [ProtocolVersion],
    bytes: &'static str,
    kind: DecodeErrorKind,
) -> Refused {
    Refused {
        row,
        versions,
        bytes,
        fault: Fault::Kind(kind),
        class: ErrorClass::Malformed,
    }
}

const fn protocol_error(
    row: &'static str,
    versions: &'static [ProtocolVersion],
    bytes: &'static str,
    kind: DecodeErrorKind,
) -> Refused {
    Refused {
        row,
        versions,
        bytes,
        fault: Fault::Kind(kind),
        class: ErrorClass::ProtocolError,
    }
}

#[test]
fn these_bytes_are_no_packets() {
    let rows = [
        // [3:MQTT-3.3.1-4]
        malformed(
            "PUBLISH with QoS 3",
            V3,
            "36 05  00 01 61  00 0A",
            DecodeErrorKind::QoS3,
        ),
        // [5:MQTT-3.3.1-4]
        malformed(
            "PUBLISH with QoS 3",
            V5,
            "36 06  00 01 61  00 0A  00",
            DecodeErrorKind::QoS3,
        ),
        // [3:MQTT-3.6.1-1] [5:MQTT-3.6.1-1]
        malformed(
            "PUBREL with flags 0000",
            BOTH,
            "60 02  00 0A",
            DecodeErrorKind::Flags(0),
        ),
        // [3:MQTT-3.8.1-1]
        malformed(
            "SUBSCRIBE with flags 0000",
            V3,
            "80 06  00 0A  00 01 61  00",
            DecodeErrorKind::Flags(0),
        ),
        // [3:MQTT-3.8.3-3]
        protocol_error(
            "SUBSCRIBE without filter",
            V3,
            "82 02  00 0A",
            DecodeErrorKind::NoFilters,
        ),
        // [5:MQTT-3.8.3-2]
        protocol_error(
            "SUBSCRIBE without filter",
            V5,
            "82 03  00 0A  00",
            DecodeErrorKind::NoFilters,
        ),
        // [3:MQTT-3.10.3-2]
        protocol_error(
            "UNSUBSCRIBE without filter",
            V3,
            "A2 02  00 0A",
            DecodeErrorKind::NoFilters,
        ),
        // [5:MQTT-3.10.3-2]
        protocol_error(
            "UNSUBSCRIBE without filter",
            V5,
            "A2 03  00 0A  00",
            DecodeErrorKind::NoFilters,
        ),
        malformed(
            "remaining length of five bytes",
            BOTH,
            "30  FF FF FF FF 01",
            DecodeErrorKind::VarIntTooLong,
        ),
        // [5:MQTT-1.5.5-1]
        malformed(
            "remaining length 0 coded in two bytes",
            V5,
            "C0  80 00",
            DecodeErrorKind::VarIntNotMinimal,
        ),
        // [5:MQTT-1.5.5-1]
        malformed(
            "property length 0 coded in two bytes",
            V5,
            "30 05  00 01 74  80 00",
            DecodeErrorKind::VarIntNotMinimal,
        ),
        // [5:MQTT-1.5.5-1]
        malformed(
            "Subscription Identifier 1 coded in two bytes",
            V5,
            "82 0A  00 0A  03  0B 81 00  00 01 61  00",
            DecodeErrorKind::VarIntNotMinimal,
        ),
        // [3:MQTT-3.1.2-3]
        malformed(
            "CONNECT with reserved flag 1",
            V3,
            "10 0D  00 04 4D 51 54 54  04  03  00 3C  00 01 61",
            DecodeErrorKind::ReservedBits(3),
        ),
        // [3:MQTT-3.1.2-22]
        protocol_error(
            "CONNECT password without user name",
            V3,
            "10 10  00 04 4D 51 54 54  04  42  00 3C  00 01 61  00 01 70",
            DecodeErrorKind::PasswordWithoutUserName,
        ),
        protocol_error(
            "CONNECT Receive Maximum 0",
            V5,
            "10 11  00 04 4D 51 54 54  05  02  00 3C  03  21 00 00  00 01 61",
            DecodeErrorKind::PropertyValue(0),
        ),
        protocol_error(
            "CONNECT session expiry twice",
            V5,
            "10 18  00 04 4D 51 54 54  05  02  00 3C  0A  11 00 00 00 01  11 00 00 00 01  00 01 61",
            DecodeErrorKind::RepeatedProperty,
        ),
        malformed(
            "CONNECT with a Topic Alias property",
            V5,
            "10 11  00 04 4D 51 54 54  05  02  00 3C  03  23 00 01  00 01 61",
            DecodeErrorKind::MisplacedProperty,
        ),
        // [5:MQTT-3.8.3-5]
        malformed(
            "SUBSCRIBE options with bit 7 set",
            V5,
            "82 07  00 0A  00  00 01 61  80",
            DecodeErrorKind::ReservedBits(0x80),
        ),
        protocol_error(
            "SUBSCRIBE Retain Handling 3",
            V5,
            "82 07  00 0A  00  00 01 61  30",
            DecodeErrorKind::RetainHandling3,
        ),
        protocol_error(
            "SUBSCRIBE maximum QoS 3",
            V5,
            "82 07  00 0A  00  00 01 61  03",
            DecodeErrorKind::QoS3,
        ),
        // [3:MQTT-3.8.3-4]
        malformed(
            "SUBSCRIBE requested QoS 3",
            V3,
            "82 06  00 0A  00 01 61  03",
            DecodeErrorKind::QoS3,
        ),
        // [5:MQTT-3.8.3-4]
        protocol_error(
            "SUBSCRIBE `$share/g/a` with No Local",
            V5,
            "82 10  00 0A  00  00 0A 24 73 68 61 72 65 2F 67 2F 61  04",
            DecodeErrorKind::NoLocalOnShared,
        ),
        // [3:MQTT-1.5.3-2]
        malformed(
            "PUBLISH topic with U+0000",
            V3,
            "30 04  00 02 61 00",
            DecodeErrorKind::NullCharacter,
        ),
        // [5:MQTT-1.5.4-1]
        malformed(
            "PUBLISH topic with the surrogate ED A0 80",
            V5,
            "30 06  00 03 ED A0 80  00",
            DecodeErrorKind::NotUtf8,
        ),
        // [5:MQTT-3.3.2-2]
        Refused {
            row: "PUBLISH topic `a/+`",
            versions: V5,
            bytes: "30 06  00 03 61 2F 2B  00",
            fault: Fault::Topic(TopicErrorKind::WildcardInName),
            class: ErrorClass::ProtocolError,
        },
        malformed(
            "PUBACK with a trailing byte",
            V3,
            "40 03  00 0A  00",
            DecodeErrorKind::TrailingBytes,
        ),
        malformed("AUTH", V3, "F0 00", DecodeErrorKind::ReservedPacketType(15)),
    ];
    for Refused {
        row,
        versions,
        bytes,
        fault,
        class,
    } in rows
    {
        for &version in versions {
            let error = decode(&hex(bytes), version, u32::MAX).unwrap_err();
            match fault {
                Fault::Kind(kind) => assert_eq!(error.kind(), kind, "{row}, {version}"),
                Fault::Topic(kind) => {
                    let found = error.topic_error().map(|error| error.kind());
                    assert_eq!(found, Some(kind), "{row}, {version}");
                }
            }
            assert_eq!(error.class(), class, "{row}, {version}");
            assert_eq!(error.version(), Some(version), "{row}");
        }
    }
}

/// A list whose entries have other properties between them, in the order of the packet.
#[test]
fn repeated_properties_need_not_stand_together() {
    let block = [
        &b"\x26\0\x01a\0\x011"[..],              // User Property a: 1
        b"\x0B\x07",                             // Subscription Identifier 7
        b"\x01\x01\x02\0\0\0\x09\x23\0\x05",     // one, four and two bytes
        b"\x26\0\x01b\0\x012",                   // User Property b: 2
        b"\x03\0\x01c\x09\0\x01\xFF\x08\0\x01r", // texts and data
        b"\x0B\x80\x01",                         // Subscription Identifier 128
        b"\x26\0\x01a\0\x013",                   // User Property a: 3
    ]
    .concat();
    let length = u8::try_from(block.len()).unwrap();
    let body = [&b"\0\x01t"[..], &[length], &block, b"on"].concat();
    let bytes = [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat();
    let Ok(Parsed::Complete((Packet::Publish(publish), _))) = decode(&bytes, V5_0, 100) else {
        panic!("a publish");
    };
    let pairs = publish.properties.user_properties;
    let expected = [("a", "1"), ("b", "2"), ("a", "3")];
    let found: Vec<_> = (&pairs)
        .into_iter()
        .map(|it| (it.name.as_str(), it.value.as_str()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!((pairs.len(), pairs.is_empty()), (3, false));
    let ids: Vec<_> = publish
        .properties
        .subscription_ids
        .into_iter()
        .map(|it| it.get())
        .collect();
    assert_eq!(ids, [7, 128]);
    // Written again they stand together, and say the same.
    let mut again = Vec::new();
    Packet::from(publish).encode_to(V5_0, &mut again).unwrap();
    let Ok(Parsed::Complete((Packet::Publish(second), _))) = decode(&again, V5_0, 100) else {
        panic!("a publish");
    };
    assert_eq!((second, again.len()), (publish, bytes.len()));
}
