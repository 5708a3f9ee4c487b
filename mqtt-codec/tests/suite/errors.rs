//! What errors tell, and what nothing tells: passwords, authentication data and payloads.

use mqtt_codec::{
    Auth, AuthReason, Authentication, Binary, Connect, DecodeError, Delivery, EncodeError, FanOut,
    Frame, Message, Packet, Parsed, ProtocolVersion, Publish, Stencil, Str, TopicName, Will,
    decode,
};

use ProtocolVersion::{V3_1_1, V5_0};

#[test]
fn an_error_is_small() {
    assert!(
        size_of::<DecodeError>() <= 32,
        "{}",
        size_of::<DecodeError>()
    );
    assert!(
        size_of::<EncodeError>() <= 32,
        "{}",
        size_of::<EncodeError>()
    );
}

#[test]
fn an_error_reads_like_a_sentence_with_its_place() {
    let rows: &[(&[u8], &str)] = &[
        (
            b"\x82\x18\x00\x0A\x00\x00\x12school/#/group-1/#\x00",
            "SUBSCRIBE: invalid topic filter: '#' must be the last level, but more follows at byte 8",
        ),
        (
            &[0xC0, 0x80, 0x00],
            "PINGREQ: a variable byte integer has more bytes than it needs (remaining length at byte 1)",
        ),
        (
            &[0x00, 0x00],
            "packet: packet type 0 does not exist in this version (fixed header at byte 0)",
        ),
    ];
    for (bytes, expected) in rows {
        let error = decode(bytes, V5_0, u32::MAX).unwrap_err();
        let found = error.to_string();
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn an_error_knows_its_answer() {
    use mqtt_codec::{ConnectReason, DisconnectReason, Phase, Reply};

    type Row<'a> = (&'a str, &'a [u8], Option<ProtocolVersion>, Phase, Reply);

    let reply_to = |bytes: &[u8], known: Option<ProtocolVersion>, phase| {
        let error = match Frame::parse(bytes, known, 100) {
            Ok(Parsed::Complete(frame)) => match known {
                Some(version) => frame.decode(version).unwrap_err(),
                None => frame.decode_connect().unwrap_err(),
            },
            Ok(Parsed::Partial { .. }) => panic!("complete"),
            Err(error) => error,
        };
        error.reply(known, phase)
    };
    let malformed = Reply::Disconnect(DisconnectReason::MalformedPacket);
    let unsupported = |version| Reply::ConnAck(version, ConnectReason::UnsupportedProtocolVersion);
    let rows: [Row<'_>; 11] = [
        (
            "5.0",
            &[0xC0, 1, 0],
            Some(V5_0),
            Phase::Connected,
            malformed,
        ),
        (
            "3.1.1",
            &[0xC0, 1, 0],
            Some(V3_1_1),
            Phase::Connected,
            Reply::CloseSilently,
        ),
        (
            "client",
            &[0xC0, 1, 0],
            Some(V5_0),
            Phase::AwaitConnAck,
            Reply::CloseSilently,
        ),
        (
            "too large",
            &[0x30, 0xFF, 1],
            Some(V5_0),
            Phase::Connected,
            Reply::Disconnect(DisconnectReason::PacketTooLarge),
        ),
        (
            "no CONNECT",
            &[0xC0, 0],
            None,
            Phase::AwaitConnect,
            Reply::CloseSilently,
        ),
        (
            "level 3",
            b"\x10\x0C\x00\x04MQTT\x03\x02\x00\x3C\x00\x00",
            None,
            Phase::AwaitConnect,
            unsupported(V3_1_1),
        ),
        (
            "level 6",
            b"\x10\x0D\x00\x04MQTT\x06\x02\x00\x3C\x00\x00\x00",
            None,
            Phase::AwaitConnect,
            unsupported(V5_0),
        ),
        // It comes without the bit after an answer that it understands.
        (
            "a bridge of 3.1.1",
            b"\x10\x0C\x00\x04MQTT\x84\x02\x00\x3C\x00\x00",
            None,
            Phase::AwaitConnect,
            unsupported(V3_1_1),
        ),
        (
            "a bridge of 3.1",
            b"\x10\x0E\x00\x06MQIsdp\x83\x02\x00\x3C\x00\x00",
            None,
            Phase::AwaitConnect,
            unsupported(V3_1_1),
        ),
        (
            "bad 3.1.1",
            b"\x10\x0C\x00\x04MQTT\x04\x03\x00\x3C\x00\x00",
            None,
            Phase::AwaitConnect,
            Reply::CloseSilently,
        ),
        (
            "bad 5.0",
            b"\x10\x0D\x00\x04MQTT\x05\x03\x00\x3C\x00\x00\x00",
            None,
            Phase::AwaitConnect,
            Reply::ConnAck(V5_0, ConnectReason::MalformedPacket),
        ),
    ];
    for (row, bytes, known, phase, expected) in rows {
        assert_eq!(reply_to(bytes, known, phase), expected, "{row}");
    }
}

#[test]
fn a_topic_at_fault_breaks_the_statement_of_its_fault() {
    let rows: [(&str, &[u8], Option<&str>); 3] = [
        ("a wildcard", b"\0\x03a/#", Some("MQTT-4.7.0-1")),
        ("nothing", b"\0\0", Some("MQTT-4.7.3-1")),
        ("U+0000", b"\0\x01\0", Some("MQTT-1.5.4-2")),
    ];
    for (row, topic, expected) in rows {
        let front = b"\0\x04MQTT\x05\x06\0\0\0\0\0\0";
        let body = [&front[..], topic, b"\0\0"].concat();
        let bytes = [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat();
        let error = decode(&bytes, V5_0, 100).unwrap_err();
        assert_eq!(error.statement(), expected, "{row}: {error}");
    }
}

#[test]
fn flags_without_a_will_break_the_statement_about_the_one_that_is_set() {
    let rows = [
        ("QoS", V5_0, 0x0A, "MQTT-3.1.2-11"),
        ("both", V5_0, 0x2A, "MQTT-3.1.2-11"),
        ("retain", V5_0, 0x22, "MQTT-3.1.2-13"),
        // This one is about both.
        ("retain", V3_1_1, 0x22, "MQTT-3.1.2-11"),
    ];
    for (row, version, flags, statement) in rows {
        let front = [b"\0\x04MQTT", &[version.level(), flags, 0, 0][..]].concat();
        let body = [&front[..], b"\0\0\0"].concat();
        let bytes = [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat();
        let error = decode(&bytes, version, 100).unwrap_err();
        assert_eq!(error.statement(), Some(statement), "{row} in {version}");
    }
}

#[test]
fn an_error_names_the_filter_at_fault() {
    let bytes = b"\x82\x1C\x00\x0A\x00\x00\x01a\x00\x00\x12school/#/group-1/#\x00";
    let Parsed::Complete(frame) = Frame::parse(bytes, Some(V5_0), u32::MAX).unwrap() else {
        panic!("complete");
    };
    let error = frame.decode(V5_0).unwrap_err();
    assert_eq!(error.text_in(&frame), Some("school/#/group-1/#"));

    let ping = Frame::parse(&[0xC0, 0x00], Some(V5_0), u32::MAX).unwrap();
    let Parsed::Complete(ping) = ping else {
        panic!("complete");
    };
    assert_eq!(error.text_in(&ping), None, "another frame has no such text");
}

#[test]
fn secrets_and_payloads_stay_out_of_debug_output() {
    let secret = b"s3cret";
    let seen = |shown: String| {
        let bytes = format!("{secret:?}");
        shown.contains("s3cret") || shown.contains(bytes.trim_matches(['[', ']']))
    };
    let topic = TopicName::new("t").unwrap();
    let connect = Connect {
        password: Some(Binary::new(secret).unwrap()),
        will: Some(Will::new(topic, Binary::new(secret).unwrap())),
        ..Connect::new(V5_0, Str::new("c").unwrap())
    };
    let authentication = Authentication {
        method: Str::new("m").unwrap(),
        data: Some(Binary::new(secret).unwrap()),
    };
    let auth = Auth::new(AuthReason::ContinueAuthentication, authentication);
    let publish = Publish::new(topic, secret);
    let message = Message::from_name(topic, secret.to_vec());
    assert!(!seen(format!("{:?}", Packet::from(connect))));
    assert!(!seen(format!("{:#?}", Packet::from(auth))));
    assert!(!seen(format!("{:?}", Packet::from(publish))));
    assert!(!seen(format!(
        "{:?}",
        message.publish(Delivery::AtMostOnce)
    )));
    assert!(!seen(format!("{message:#?}")));
    assert!(!seen(format!("{:?}", FanOut::new(&message, V5_0))));
    let mut stencil = Stencil::new();
    stencil.cut(&message, V5_0, true).unwrap();
    assert!(!seen(format!("{stencil:?}")));

    // What is not decoded yet has them, too.
    let packets = [
        Packet::from(connect),
        Packet::from(auth),
        Packet::from(publish),
    ];
    for packet in packets {
        let mut bytes = Vec::new();
        packet.encode_to(V5_0, &mut bytes).unwrap();
        let frame = Frame::parse(&bytes, Some(V5_0), u32::MAX).unwrap();
        let shown = format!("{frame:?}");
        assert!(shown.contains("body_len"), "{shown}");
        assert!(!seen(shown));
    }
}
