//! What errors tell, and what nothing tells: passwords, authentication data and payloads.

use mqtt_codec::{
    Auth, AuthReason, Authentication, Binary, Connect, DecodeError, Delivery, EncodeError, Frame,
    Message, Packet, Parsed, ProtocolVersion, Publish, Str, TopicName, Will, decode,
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
            "PINGREQ: a variable byte integer has more bytes than it needs (RemainingLength at byte 1)",
        ),
        (
            &[0x00, 0x00],
            "packet: packet type 0 does not exist in this version (FixedHeader at byte 0)",
        ),
    ];
    for (bytes, expected) in rows {
        let error = decode(bytes, V5_0, u32::MAX).unwrap_err();
        let found = error.to_string();
        assert!(found.starts_with(expected), "{found}");
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
        ..Connect::new(V3_1_1, Str::new("c").unwrap())
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
}
