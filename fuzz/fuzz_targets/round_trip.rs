//! Valid packets of every type and both versions, encoded and decoded again.

#![no_main]

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_codec::{
    Ack, AckProperties, Auth, Authentication, Binary, ConnAck, ConnAckOutcome, ConnAckProperties,
    Connect, ConnectProperties, ConnectReason, DecodeErrorKind, Delivery, Disconnect,
    DisconnectProperties, EncodeError, Frame, MaximumQoS, Message, NotInVersion, Packet, PacketId,
    PacketType, Parsed, PayloadFormat, ProtocolVersion, Publish, PublishProperties, PublishTopic,
    QoS, ReasonCode, RetainHandling, Str, SubAck, SubAckReasons, Subscribe, SubscribeFilter,
    SubscribeFilters, SubscribeProperties, SubscriptionId, SubscriptionIds, SubscriptionOptions,
    TopicAlias, TopicFilter, TopicName, UnsubAck, UnsubAckReasons, Unsubscribe, UnsubscribeFilters,
    UserProperties, UserProperty, Will, WillProperties, decode,
};

/// The longest text there is: chance would never find one.
static LONGEST: [u8; 65_535] = [b'x'; 65_535];
/// A payload that takes the remaining length to each of its sizes.
static LARGE: [u8; 2_097_200] = [b'y'; 2_097_200];

fuzz_target!(|data: &[u8]| {
    // An error says that the input ends before the packet does.
    let _built = build(data);
});

fn build(data: &[u8]) -> Result<()> {
    let mut u = Unstructured::new(data);
    let [level, first] = u.arbitrary::<[u8; 2]>()?;
    let version = match level % 2 {
        0 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5_0,
    };
    let packet_type = PacketType::try_from(first >> 4).unwrap_or(PacketType::Publish);
    let mut source = Source { u, version };
    let s = &mut source;
    match packet_type {
        PacketType::Connect => connect(s)?,
        PacketType::ConnAck => connack(s)?,
        PacketType::Publish => publish(s)?,
        PacketType::PubAck => check(&Packet::PubAck(ack(s, &s.users()?)?), version),
        PacketType::PubRec => check(&Packet::PubRec(ack(s, &s.users()?)?), version),
        PacketType::PubRel => check(&Packet::PubRel(ack(s, &s.users()?)?), version),
        PacketType::PubComp => check(&Packet::PubComp(ack(s, &s.users()?)?), version),
        PacketType::Subscribe => subscribe(s)?,
        PacketType::SubAck => suback(s)?,
        PacketType::Unsubscribe => unsubscribe(s)?,
        PacketType::UnsubAck => unsuback(s)?,
        PacketType::PingReq => check(&Packet::PingReq, version),
        PacketType::PingResp => check(&Packet::PingResp, version),
        PacketType::Disconnect => disconnect(s)?,
        PacketType::Auth => auth(s)?,
    }
    Ok(())
}

/// Where the fields come from.
struct Source<'a> {
    u: Unstructured<'a>,
    version: ProtocolVersion,
}
