//! One packet for each numbered statement that a single packet can break, with the field where it is
//! found. The other tables of this suite go by packets and values; this one goes by statements.

use mqtt_codec::{DecodeErrorKind, Field, Parsed, PropertyId, ProtocolVersion, decode};

use DecodeErrorKind::{
    CutShort, DupAtQoS0, Flags, NotUtf8, QoS3, TrailingBytes, WillFlagsWithoutWill,
};
use ProtocolVersion::{V3_1_1, V5_0};

/// A packet, from its first byte and what stands behind its length.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, u8::try_from(body.len()).unwrap()][..], body].concat()
}

/// CONNECT, from its flags and its payload.
fn connect(version: ProtocolVersion, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT".to_vec();
    body.extend([version.level(), flags, 0, 60]);
    body.extend((version == V5_0).then_some(0));
    body.extend(payload);
    packet(0x10, &body)
}

struct Row {
    name: &'static str,
    version: ProtocolVersion,
    bytes: Vec<u8>,
    field: Field,
    kind: DecodeErrorKind,
}

fn row(
    name: &'static str,
    version: ProtocolVersion,
    bytes: Vec<u8>,
    field: Field,
    kind: DecodeErrorKind,
) -> Row {
    Row {
        name,
        version,
        bytes,
        field,
        kind,
    }
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    let in_connect = |name, version, flags, payload: &[u8], field, kind| {
        row(name, version, connect(version, flags, payload), field, kind)
    };
    let user_property = Field::Property(PropertyId::UserProperty);
    let response_topic = Field::Property(PropertyId::ResponseTopic);
    let content_type = Field::Property(PropertyId::ContentType);
    vec![
        // Texts.
        row("a name of a pair", V5_0, packet(0xE0, b"\x82\x06\x26\0\x01\xFF\0\0"), user_property, NotUtf8), // [5:MQTT-1.5.7-1]
        row("a value of a pair", V5_0, packet(0xE0, b"\x82\x06\x26\0\0\0\x01\xFF"), user_property, NotUtf8), // [5:MQTT-1.5.7-1]
        in_connect("client identifier", V5_0, 0x02, b"\0\x01\xFF", Field::ClientId, NotUtf8), // [5:MQTT-3.1.3-4]
        in_connect("client identifier", V3_1_1, 0x02, b"\0\x01\xFF", Field::ClientId, NotUtf8), // [3:MQTT-3.1.3-4]
        in_connect("will topic", V5_0, 0x06, b"\0\x01c\0\0\x01\xFF\0\0", Field::WillTopic, NotUtf8), // [5:MQTT-3.1.3-11]
        in_connect("will topic", V3_1_1, 0x06, b"\0\x01c\0\x01\xFF\0\0", Field::WillTopic, NotUtf8), // [3:MQTT-3.1.3-10]
        in_connect("user name", V5_0, 0x82, b"\0\x01c\0\x01\xFF", Field::UserName, NotUtf8), // [5:MQTT-3.1.3-12]
        in_connect("user name", V3_1_1, 0x82, b"\0\x01c\0\x01\xFF", Field::UserName, NotUtf8), // [3:MQTT-3.1.3-11]
        row("response topic", V5_0, packet(0x30, b"\0\x01t\x04\x08\0\x01\xFF"), response_topic, NotUtf8), // [5:MQTT-3.3.2-13]
        row("content type", V5_0, packet(0x30, b"\0\x01t\x04\x03\0\x01\xFF"), content_type, NotUtf8), // [5:MQTT-3.3.2-19]
        row("a filter", V5_0, packet(0x82, b"\0\x01\0\0\x01\xFF\0"), Field::TopicFilter, NotUtf8), // [5:MQTT-3.8.3-1]
        row("a filter", V3_1_1, packet(0x82, b"\0\x01\0\x01\xFF\0"), Field::TopicFilter, NotUtf8), // [3:MQTT-3.8.3-1]
        row("a second filter", V5_0, packet(0xA2, b"\0\x01\0\0\x01a\0\x01\xFF"), Field::TopicFilter, NotUtf8), // [5:MQTT-3.10.3-1]
        row("a second filter", V3_1_1, packet(0xA2, b"\0\x01\0\x01a\0\x01\xFF"), Field::TopicFilter, NotUtf8), // [3:MQTT-3.10.3-1]
        // The first byte.
        row("PUBREL", V5_0, packet(0x60, b"\0\x01"), Field::FixedHeader, Flags(0)), // [5:MQTT-3.6.1-1]
        row("PUBREL", V3_1_1, packet(0x63, b"\0\x01"), Field::FixedHeader, Flags(3)), // [3:MQTT-3.6.1-1]
        row("SUBSCRIBE", V5_0, packet(0x80, b"\0\x01\0\0\x01a\0"), Field::FixedHeader, Flags(0)), // [5:MQTT-3.8.1-1]
        row("SUBSCRIBE", V3_1_1, packet(0x8A, b"\0\x01\0\x01a\0"), Field::FixedHeader, Flags(10)), // [3:MQTT-3.8.1-1]
        row("UNSUBSCRIBE", V5_0, packet(0xA0, b"\0\x01\0\0\x01a"), Field::FixedHeader, Flags(0)), // [5:MQTT-3.10.1-1]
        row("UNSUBSCRIBE", V3_1_1, packet(0xA6, b"\0\x01\0\x01a"), Field::FixedHeader, Flags(6)), // [3:MQTT-3.10.1-1]
        row("DISCONNECT", V5_0, packet(0xE1, b""), Field::FixedHeader, Flags(1)), // [5:MQTT-3.14.1-1]
        row("DISCONNECT", V3_1_1, packet(0xE2, b""), Field::FixedHeader, Flags(2)), // [3:MQTT-3.14.1-1]
        row("AUTH", V5_0, packet(0xF2, b""), Field::FixedHeader, Flags(2)), // [5:MQTT-3.15.1-1]
        row("QoS 3", V5_0, packet(0x36, b"\0\x01t\0\x01\0"), Field::FixedHeader, QoS3), // [5:MQTT-3.3.1-4]
        row("QoS 3", V3_1_1, packet(0x36, b"\0\x01t\0\x01"), Field::FixedHeader, QoS3), // [3:MQTT-3.3.1-4]
        row("DUP at QoS 0", V5_0, packet(0x38, b"\0\x01t\0"), Field::FixedHeader, DupAtQoS0), // [5:MQTT-3.3.1-2]
        row("DUP at QoS 0", V3_1_1, packet(0x38, b"\0\x01t"), Field::FixedHeader, DupAtQoS0), // [3:MQTT-3.3.1-2]
        // Flags of CONNECT, and what they promise.
        in_connect("QoS without a will", V5_0, 0x0A, b"\0\x01c", Field::ConnectFlags, WillFlagsWithoutWill(0x0A)), // [5:MQTT-3.1.2-11]
        in_connect("QoS without a will", V3_1_1, 0x0A, b"\0\x01c", Field::ConnectFlags, WillFlagsWithoutWill(0x0A)), // [3:MQTT-3.1.2-13]
        in_connect("retain without a will", V5_0, 0x22, b"\0\x01c", Field::ConnectFlags, WillFlagsWithoutWill(0x22)), // [5:MQTT-3.1.2-13]
        in_connect("retain without a will", V3_1_1, 0x22, b"\0\x01c", Field::ConnectFlags, WillFlagsWithoutWill(0x22)), // [3:MQTT-3.1.2-15]
        in_connect("fields of no will", V3_1_1, 0x02, b"\0\x01c\0\x01w\0\x01x", Field::End, TrailingBytes), // [3:MQTT-3.1.2-11]
        in_connect("will at QoS 3", V5_0, 0x1E, b"\0\x01c\0\0\x01w\0\x01x", Field::ConnectFlags, QoS3), // [5:MQTT-3.1.2-12]
        in_connect("will at QoS 3", V3_1_1, 0x1E, b"\0\x01c\0\x01w\0\x01x", Field::ConnectFlags, QoS3), // [3:MQTT-3.1.2-14]
        in_connect("no will topic", V5_0, 0x06, b"\0\x01c\0", Field::WillTopic, CutShort), // [5:MQTT-3.1.2-9]
        in_connect("no will topic", V3_1_1, 0x06, b"\0\x01c", Field::WillTopic, CutShort), // [3:MQTT-3.1.2-9]
        in_connect("a user name too many", V5_0, 0x02, b"\0\x01c\0\x01u", Field::End, TrailingBytes), // [5:MQTT-3.1.2-16]
        in_connect("a user name too many", V3_1_1, 0x02, b"\0\x01c\0\x01u", Field::End, TrailingBytes), // [3:MQTT-3.1.2-18]
        in_connect("no user name", V5_0, 0x82, b"\0\x01c", Field::UserName, CutShort), // [5:MQTT-3.1.2-17]
        in_connect("no user name", V3_1_1, 0x82, b"\0\x01c", Field::UserName, CutShort), // [3:MQTT-3.1.2-19]
        in_connect("a password too many", V5_0, 0x82, b"\0\x01c\0\x01u\0\x01p", Field::End, TrailingBytes), // [5:MQTT-3.1.2-18]
        in_connect("a password too many", V3_1_1, 0x82, b"\0\x01c\0\x01u\0\x01p", Field::End, TrailingBytes), // [3:MQTT-3.1.2-20]
        in_connect("no password", V5_0, 0x42, b"\0\x01c", Field::Password, CutShort), // [5:MQTT-3.1.2-19]
        in_connect("no password", V3_1_1, 0xC2, b"\0\x01c\0\x01u", Field::Password, CutShort), // [3:MQTT-3.1.2-21]
    ]
}

#[test]
fn a_packet_that_breaks_a_statement_is_refused_in_the_field_where_it_does() {
    for row in rows() {
        let place = format!("{} in {}", row.name, row.version);
        let error = match decode(&row.bytes, row.version, u32::MAX) {
            Err(error) => error,
            Ok(Parsed::Complete((packet, _))) => panic!("{place}: {packet:?}"),
            Ok(Parsed::Partial { needed }) => panic!("{place}: {needed} bytes are missing"),
        };
        assert_eq!(
            (error.field(), error.kind()),
            (row.field, row.kind),
            "{place}"
        );
    }
}
