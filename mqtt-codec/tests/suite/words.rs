//! What people read: every fault in a sentence with its place, and every name of the standard.

use mqtt_codec::{
    AuthReason, Binary, ConnAck, ConnAckOutcome, Connect, ConnectReason, Counts, DecodeConfig,
    DecodeError, Decoder, DisconnectReason, EncodeError, FiltersError, Frame, Limits, Packet,
    PacketId, Parsed, PropertyId, ProtocolVersion, Publish, PublishReason, PublishTopic, Rule, Str,
    Strictness, SubscribeReason, TopicAlias, TopicName, UnsubAck, UnsubscribeReason, decode,
};

use ProtocolVersion::{V3_1_1, V5_0};

fn fault(bytes: &[u8], version: ProtocolVersion) -> DecodeError {
    decode(bytes, version, 100).unwrap_err()
}

#[test]
fn every_fault_is_a_sentence_with_its_place() {
    let rows: [(&[u8], ProtocolVersion, &str); 37] = [
        (
            b"\xF0\0",
            V3_1_1,
            "packet: packet type 15 does not exist in this version (fixed header at byte 0)",
        ),
        (
            b"\x60\x02\0\x01",
            V5_0,
            "PUBREL: the flags 0000 are not those of this packet (fixed header at byte 0)",
        ),
        (
            b"\x36\x05\0\x01t\0\x01",
            V3_1_1,
            "PUBLISH: QoS 3 does not exist (fixed header at byte 0)",
        ),
        (
            b"\x38\x03\0\x01t",
            V3_1_1,
            "PUBLISH: DUP is set at QoS 0 (fixed header at byte 0)",
        ),
        (
            b"\xC0\x80\x80\x80\x80\x01",
            V5_0,
            "PINGREQ: a variable byte integer has more than four bytes (remaining length at byte 1)",
        ),
        (
            b"\xC0\x80\0",
            V5_0,
            "PINGREQ: a variable byte integer has more bytes than it needs (remaining length at byte 1)",
        ),
        (
            b"\x30\x63",
            V5_0,
            "PUBLISH: the packet has 101 bytes, and at most 100 are taken",
        ),
        (
            b"\x30\x03\0\x02t",
            V3_1_1,
            "PUBLISH: the packet ends before its last field (topic name at byte 4)",
        ),
        (
            b"\x40\x03\0\x01\0",
            V3_1_1,
            "PUBACK: bytes are left over behind the last field (end of the packet at byte 4)",
        ),
        (
            b"\x10\x0F\0\x04MQTT\x04\x02\0\0\0\x03a\xFFc",
            V3_1_1,
            "CONNECT: a text is no well-formed UTF-8 (client identifier at byte 15)",
        ),
        (
            b"\x10\x12\0\x04MQTT\x04\x82\0\0\0\x01c\0\x03a\0c",
            V3_1_1,
            "CONNECT: a text holds U+0000 (user name at byte 18)",
        ),
        (
            b"\x30\x05\0\x03a/#",
            V3_1_1,
            "PUBLISH: invalid topic name: a topic name has no wildcards, but one stands at byte 2",
        ),
        (
            b"\x82\x07\0\x01\0\x02a+\0",
            V3_1_1,
            "SUBSCRIBE: invalid topic filter: '+' must be a whole level, but stands beside other characters at byte 1",
        ),
        (
            b"\x40\x02\0\0",
            V3_1_1,
            "PUBACK: the packet identifier is 0 (packet identifier at byte 2)",
        ),
        (
            b"\x10\x0D\0\x04MQTX\x04\x02\0\0\0\x01c",
            V3_1_1,
            "CONNECT: the protocol name is not MQTT (protocol name at byte 2)",
        ),
        (
            b"\x10\x0D\0\x04MQTT\x07\x02\0\0\0\x01c",
            V3_1_1,
            "CONNECT: protocol level 7 is not supported (protocol level at byte 8)",
        ),
        (
            b"\x10\x0D\0\x04MQTT\x04\x03\0\0\0\x01c",
            V3_1_1,
            "CONNECT: reserved bits are set in 0b00000011 (connect flags at byte 9)",
        ),
        (
            b"\x10\x0D\0\x04MQTT\x04\x22\0\0\0\x01c",
            V3_1_1,
            "CONNECT: will QoS or will retain is set without a will (connect flags at byte 9)",
        ),
        (
            b"\x10\x10\0\x04MQTT\x04\x42\0\0\0\x01c\0\x01p",
            V3_1_1,
            "CONNECT: there is a password without a user name (connect flags at byte 9)",
        ),
        (
            b"\x40\x03\0\x01\x01",
            V5_0,
            "PUBACK: this packet cannot carry reason code 0x01 (reason code at byte 4)",
        ),
        (
            b"\x20\x02\x01\x05",
            V3_1_1,
            "CONNACK: session present is set in a refusal (acknowledge flags at byte 2)",
        ),
        (
            b"\x20\x03\x02\0\0",
            V5_0,
            "CONNACK: reserved bits are set in 0b00000010 (acknowledge flags at byte 2)",
        ),
        (
            b"\xE0\x04\0\x02\x7F\0",
            V5_0,
            "DISCONNECT: property 0x7f does not exist (property identifier at byte 4)",
        ),
        (
            b"\xE0\x04\0\x02\x01\0",
            V5_0,
            "DISCONNECT: this property cannot stand here (property Payload Format Indicator at byte 4)",
        ),
        (
            b"\x30\x08\0\x01t\x04\x01\0\x01\0",
            V5_0,
            "PUBLISH: this property can stand only once (property Payload Format Indicator at byte 8)",
        ),
        (
            b"\x30\x06\0\x01t\x02\x01\x02",
            V5_0,
            "PUBLISH: 2 is outside the range of this property (property Payload Format Indicator at byte 7)",
        ),
        (
            b"\x30\x03\0\0\0",
            V5_0,
            "PUBLISH: there is neither a topic nor a topic alias (topic name at byte 4)",
        ),
        (
            b"\xA2\x02\0\x01",
            V3_1_1,
            "UNSUBSCRIBE: there is no topic filter (topic filter at byte 4)",
        ),
        (
            b"\x90\x02\0\x01",
            V3_1_1,
            "SUBACK: there is no reason code (reason code at byte 4)",
        ),
        (
            b"\x82\x07\0\x01\0\0\x01a\x30",
            V5_0,
            "SUBSCRIBE: retain handling 3 does not exist (subscription options at byte 8)",
        ),
        (
            b"\x82\x10\0\x01\0\0\x0A$share/g/a\x04",
            V5_0,
            "SUBSCRIBE: no local is set on a shared subscription (subscription options at byte 17)",
        ),
        (
            b"\xF0\x06\x18\x04\x16\0\x01x",
            V5_0,
            "AUTH: there is authentication data without a method (property Authentication Data at byte 8)",
        ),
        (
            b"\x10\x0C\0\x04MQTT\x04\x06\0\0\0\0",
            V3_1_1,
            "CONNECT: the packet ends before its last field (will topic at byte 14)",
        ),
        (
            b"\x10\x10\0\x04MQTT\x04\x06\0\0\0\0\0\x01w\0",
            V3_1_1,
            "CONNECT: the packet ends before its last field (will payload at byte 17)",
        ),
        (
            b"\x10\x10\0\x04MQTT\x04\xC2\0\0\0\0\0\x01u\0",
            V3_1_1,
            "CONNECT: the packet ends before its last field (password at byte 17)",
        ),
        (
            b"\x10\x09\0\x04MQTT\x04\x02\0",
            V3_1_1,
            "CONNECT: the packet ends before its last field (keep alive at byte 10)",
        ),
        (
            b"\xE0\x02\0\x01",
            V5_0,
            "DISCONNECT: the packet ends before its last field (property length at byte 4)",
        ),
    ];
    for (bytes, version, expected) in rows {
        assert_eq!(fault(bytes, version).to_string(), expected);
    }
}

/// Faults against what one side has decided, and of packets that were asked for.
#[test]
fn limits_and_wishes_are_said_as_well() {
    let decoder = |config| {
        move |bytes: &[u8]| {
            let mut decoder = Decoder::new(config);
            match decoder.parse(bytes, Some(V5_0)).unwrap() {
                Parsed::Complete(frame) => decoder.decode(&frame, V5_0).unwrap_err().to_string(),
                Parsed::Partial { .. } => panic!("complete"),
            }
        }
    };
    let counts = Counts {
        properties_max: 1,
        filters_max: 1,
        ..Counts::DEFAULT
    };
    let limited = decoder(DecodeConfig {
        limits: Limits {
            counts,
            ..Limits::DEFAULT
        },
        ..DecodeConfig::default()
    });
    let careful = decoder(DecodeConfig {
        strictness: Strictness::STRICT.enforce(Rule::ControlCharacters),
        ..DecodeConfig::default()
    });
    let ping = Frame::parse(b"\xC0\0", None, 100).unwrap();
    let Parsed::Complete(ping) = ping else {
        panic!("complete");
    };
    let rows = [
        (
            limited(b"\xE0\x0C\0\x0A\x26\0\0\0\0\x26\0\0\0\0"),
            "DISCONNECT: there are more properties than are taken (property identifier at byte 9)",
        ),
        (
            limited(b"\xA2\x09\0\x01\0\0\x01a\0\x01b"),
            "UNSUBSCRIBE: there are more filters than are taken (topic filter at byte 8)",
        ),
        (
            careful(b"\xE0\x06\0\x04\x1F\0\x01\x07"),
            "DISCONNECT: a text holds a control character (property Reason String at byte 7)",
        ),
        (
            ping.decode_connect().unwrap_err().to_string(),
            "PINGREQ: the first packet has to be CONNECT (fixed header at byte 0)",
        ),
        (
            ping.decode_publish(V5_0).unwrap_err().to_string(),
            "PINGREQ: this packet is no PUBLISH (fixed header at byte 0)",
        ),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
}

/// The names of table 2-4 of MQTT 5.0, with the identifiers that it gives them.
#[test]
fn properties_have_the_names_of_the_standard() {
    let rows = [
        (0x01, "Payload Format Indicator"),
        (0x02, "Message Expiry Interval"),
        (0x03, "Content Type"),
        (0x08, "Response Topic"),
        (0x09, "Correlation Data"),
        (0x0B, "Subscription Identifier"),
        (0x11, "Session Expiry Interval"),
        (0x12, "Assigned Client Identifier"),
        (0x13, "Server Keep Alive"),
        (0x15, "Authentication Method"),
        (0x16, "Authentication Data"),
        (0x17, "Request Problem Information"),
        (0x18, "Will Delay Interval"),
        (0x19, "Request Response Information"),
        (0x1A, "Response Information"),
        (0x1C, "Server Reference"),
        (0x1F, "Reason String"),
        (0x21, "Receive Maximum"),
        (0x22, "Topic Alias Maximum"),
        (0x23, "Topic Alias"),
        (0x24, "Maximum QoS"),
        (0x25, "Retain Available"),
        (0x26, "User Property"),
        (0x27, "Maximum Packet Size"),
        (0x28, "Wildcard Subscription Available"),
        (0x29, "Subscription Identifier Available"),
        (0x2A, "Shared Subscription Available"),
    ];
    for (value, name) in rows {
        let id = PropertyId::from_value(value).unwrap();
        assert_eq!(id.to_string(), name);
    }
    let known = (0..=u8::MAX).filter_map(PropertyId::from_value).count();
    assert_eq!(known, rows.len());
    assert_eq!(
        format!("{:>14}|", PropertyId::UserProperty),
        " User Property|"
    );
}

/// The standard calls 0x00 what it means in its packet.
#[test]
fn a_reason_has_the_name_that_it_has_in_its_packet() {
    let rows = [
        (
            DisconnectReason::NormalDisconnection.to_string(),
            "Normal disconnection",
        ),
        (SubscribeReason::GrantedQoS0.to_string(), "Granted QoS 0"),
        (SubscribeReason::GrantedQoS1.to_string(), "Granted QoS 1"),
        (UnsubscribeReason::Success.to_string(), "Success"),
        (PublishReason::Success.to_string(), "Success"),
        (format!("{:>8}|", AuthReason::Success), " Success|"),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
}

/// What cannot be written, and why not.
#[test]
fn packets_that_cannot_be_bytes_say_why() {
    let topic = TopicName::new("t").unwrap();
    let client = Str::new("c").unwrap();
    let written = |packet: Packet<'_>, version| {
        let mut buf = Vec::new();
        packet.encode_to(version, &mut buf).unwrap_err().to_string()
    };
    let mut alias = Publish::new(topic, b"");
    alias.topic = PublishTopic::Alias(TopicAlias::new(1).unwrap());
    let empty = Connect {
        clean_start: false,
        ..Connect::new(V3_1_1, Str::EMPTY)
    };
    let with_password = Connect {
        password: Some(Binary::new(b"p").unwrap()),
        ..Connect::new(V3_1_1, client)
    };
    let refused = ConnAck::new(ConnAckOutcome::Refused(ConnectReason::QuotaExceeded));
    let unsubscribed = UnsubAck {
        id: PacketId::MIN,
        reasons: mqtt_codec::UnsubAckReasons::default(),
        properties: mqtt_codec::AckProperties::default(),
    };
    let mut small = [0; 3];
    let in_slice = Packet::from(Publish::new(topic, b"")).encode(V3_1_1, &mut small);
    let rows = [
        (
            in_slice.unwrap_err().to_string(),
            "the packet takes 5 bytes, and the buffer has 3",
        ),
        (
            written(Packet::from(alias), V3_1_1),
            "MQTT 3.1.1 has no topic aliases",
        ),
        (
            written(Packet::from(empty), V3_1_1),
            "MQTT 3.1.1 has no empty client identifier without a clean session",
        ),
        (
            written(Packet::from(with_password), V3_1_1),
            "MQTT 3.1.1 has no password without a user name",
        ),
        (
            written(Packet::from(refused), V3_1_1),
            "MQTT 3.1.1 has no return code for this reason",
        ),
        (
            written(Packet::from(unsubscribed), V5_0),
            "MQTT 5.0 has a reason code for each filter",
        ),
        (
            EncodeError::PacketTooLarge { size: 7 }.to_string(),
            "a packet of 7 bytes is too large",
        ),
        (
            FiltersError::NoLocalOnShared.to_string(),
            "a shared subscription cannot have No Local",
        ),
        (
            FiltersError::Empty.to_string(),
            "at least one filter is needed",
        ),
    ];
    for (found, expected) in rows {
        assert_eq!(found, expected);
    }
}
