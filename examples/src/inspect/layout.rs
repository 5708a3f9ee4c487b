//! The fields of each packet, in their order.

use mqtt_codec::{PacketType, PropertyId, ProtocolVersion};

/// Something that goes over the fields of a packet. Each answers the value that decides what
/// follows.
pub(super) trait Pass {
    fn byte(&mut self, name: &str) -> anyhow::Result<u8>;
    fn two_bytes(&mut self, name: &str) -> anyhow::Result<()>;
    fn text(&mut self, name: &str) -> anyhow::Result<()>;
    fn data(&mut self, name: &str) -> anyhow::Result<()>;
    /// Named bits and numbers in one byte.
    fn flags(&mut self, name: &str, flags: &[Flag]) -> anyhow::Result<u8>;
    /// Everything that is left.
    fn rest(&mut self, name: &str) -> anyhow::Result<()>;
    fn properties(&mut self, name: &str) -> anyhow::Result<()>;
    /// Whether a field that may be left out is there.
    fn has(&mut self, name: &str) -> bool;
    /// A list up to the end of the packet.
    fn list(
        &mut self,
        name: &str,
        item: &mut dyn FnMut(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;
}

/// A part of a byte: its name, its lowest bit, and how many bits it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag(pub(super) &'static str, pub(super) u8, pub(super) u8);

/// The flags in the first byte of PUBLISH.
pub(super) const PUBLISH_FLAGS: &[Flag] =
    &[Flag("dup", 3, 1), Flag("qos", 1, 2), Flag("retain", 0, 1)];

const CONNECT_FLAGS: &[Flag] = &[
    Flag("user_name", 7, 1),
    Flag("password", 6, 1),
    Flag("will_retain", 5, 1),
    Flag("will_qos", 3, 2),
    Flag("will", 2, 1),
    Flag("clean_start", 1, 1),
];

const SUBSCRIPTION_OPTIONS: &[Flag] = &[
    Flag("retain_handling", 4, 2),
    Flag("retain_as_published", 3, 1),
    Flag("no_local", 2, 1),
    Flag("qos", 0, 2),
];

const ACKNOWLEDGE_FLAGS: &[Flag] = &[Flag("session_present", 0, 1)];

/// Goes over the fields behind the fixed header.
pub(super) fn body<P: Pass>(
    pass: &mut P,
    packet_type: PacketType,
    flags: u8,
    version: ProtocolVersion,
) -> anyhow::Result<()> {
    let is_v5 = version == ProtocolVersion::V5_0;
    match packet_type {
        PacketType::Connect => connect(pass)?,
        PacketType::ConnAck => {
            pass.flags("acknowledge_flags", ACKNOWLEDGE_FLAGS)?;
            pass.byte(if is_v5 { "reason_code" } else { "return_code" })?;
            if is_v5 {
                pass.properties("properties")?;
            }
        }
        PacketType::Publish => {
            pass.text("topic_name")?;
            if flags & 0b0110 != 0 {
                pass.two_bytes("packet_identifier")?;
            }
            if is_v5 {
                pass.properties("properties")?;
            }
            pass.rest("payload")?;
        }
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
            pass.two_bytes("packet_identifier")?;
            reason(pass, is_v5)?;
        }
        PacketType::Subscribe => {
            identified(pass, is_v5)?;
            pass.list("filters", &mut |pass| {
                pass.text("topic_filter")?;
                pass.flags("subscription_options", SUBSCRIPTION_OPTIONS)?;
                Ok(())
            })?;
        }
        PacketType::SubAck => {
            identified(pass, is_v5)?;
            reasons(pass)?;
        }
        PacketType::Unsubscribe => {
            identified(pass, is_v5)?;
            pass.list("filters", &mut |pass| pass.text("topic_filter"))?;
        }
        PacketType::UnsubAck => {
            identified(pass, is_v5)?;
            if is_v5 {
                reasons(pass)?;
            }
        }
        PacketType::PingReq | PacketType::PingResp => {}
        PacketType::Disconnect | PacketType::Auth => reason(pass, is_v5)?,
    }
    Ok(())
}

fn connect<P: Pass>(pass: &mut P) -> anyhow::Result<()> {
    pass.text("protocol_name")?;
    let is_v5 = pass.byte("protocol_level")? == 5;
    let flags = pass.flags("connect_flags", CONNECT_FLAGS)?;
    pass.two_bytes("keep_alive")?;
    if is_v5 {
        pass.properties("properties")?;
    }
    pass.text("client_identifier")?;
    if flags & 0x04 != 0 {
        if is_v5 {
            pass.properties("will_properties")?;
        }
        pass.text("will_topic")?;
        pass.data("will_payload")?;
    }
    if flags & 0x80 != 0 {
        pass.text("user_name")?;
    }
    if flags & 0x40 != 0 {
        pass.data("password")?;
    }
    Ok(())
}

fn identified<P: Pass>(pass: &mut P, is_v5: bool) -> anyhow::Result<()> {
    pass.two_bytes("packet_identifier")?;
    if is_v5 {
        pass.properties("properties")?;
    }
    Ok(())
}

fn reason<P: Pass>(pass: &mut P, is_v5: bool) -> anyhow::Result<()> {
    if is_v5 && pass.has("reason_code") {
        pass.byte("reason_code")?;
        if pass.has("properties") {
            pass.properties("properties")?;
        }
    }
    Ok(())
}

fn reasons<P: Pass>(pass: &mut P) -> anyhow::Result<()> {
    pass.list("reason_codes", &mut |pass| {
        pass.byte("reason_code")?;
        Ok(())
    })
}

/// The name of a property in JSON: that of the standard, in lower case.
pub(super) fn property_name(id: PropertyId) -> String {
    id.to_string().to_lowercase().replace(' ', "_")
}
