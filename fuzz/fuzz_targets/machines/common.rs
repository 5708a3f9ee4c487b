//! What the targets of the machines share: choices, a reader of what a machine sends, and the heap that
//! it holds.

#![allow(dead_code, reason = "each target uses a part of this")]

use std::alloc::System;
use std::collections::BTreeSet;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use mqtt_codec::arbitrary::with_packet;
use mqtt_codec::{
    AckProperties, Message, Packet, PacketId, PacketType, Parsed, ProtocolVersion, QoS, ReasonCode,
    Str, decode,
};
use mqtt_state::{Timestamp, Transmit};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Few, so that they meet again and again.
pub const TOPICS: [&str; 4] = ["a", "a/b", "b", "$SYS/x"];
pub const FILTERS: [&str; 6] = ["a", "#", "+/b", "$share/g/a", "$share/h/#", "a/b"];
pub const NAMES: [&str; 3] = ["one", "two", ""];

/// Bytes on the heap that a machine holds: what is allocated and freed in its calls, and by dropping
/// what it hands out.
#[derive(Debug, Default)]
pub struct Held {
    bytes: isize,
}

impl Held {
    /// Does something with the machine.
    pub fn during<T>(&mut self, action: impl FnOnce() -> T) -> T {
        let before = live();
        let result = action();
        self.bytes += live() - before;
        result
    }

    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }
}

fn live() -> isize {
    let stats = HEAP.stats();
    let (allocated, freed) = (stats.bytes_allocated, stats.bytes_deallocated);
    isize::try_from(allocated).unwrap() - isize::try_from(freed).unwrap()
}

pub fn version(u: &mut Unstructured<'_>) -> Result<ProtocolVersion> {
    Ok(match u.arbitrary()? {
        true => ProtocolVersion::V5_0,
        false => ProtocolVersion::V3_1_1,
    })
}

pub fn qos(u: &mut Unstructured<'_>) -> Result<QoS> {
    u.choose(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
        .copied()
}

/// A message with few topics and sizes.
pub fn message(u: &mut Unstructured<'_>) -> Result<Message> {
    let len = *u.choose(&[0, 1, 20, 300])?;
    let message = Message::new(u.choose(&TOPICS)?, vec![7_u8; len]).unwrap();
    let message = message.with_qos(qos(u)?).with_retain(u.ratio(1, 4)?);
    if !u.ratio(1, 4)? {
        return Ok(message);
    }
    let properties = mqtt_codec::PublishProperties {
        message_expiry_secs: Some(u.int_in_range(0..=5)?),
        content_type: Some(Str::new("text").unwrap()),
        ..Default::default()
    };
    Ok(message.with_properties(&properties).unwrap())
}

/// What is said beside the reason of an acknowledgement.
pub fn words(u: &mut Unstructured<'_>) -> Result<AckProperties<'static>> {
    let text = *u.choose(&["", "no", "a reason that takes more room than there is"])?;
    Ok(AckProperties {
        reason_string: Str::new(text).ok().filter(|_| !text.is_empty()),
        ..AckProperties::default()
    })
}

/// Time goes on: mostly a little, sometimes much, sometimes back.
pub fn pass(u: &mut Unstructured<'_>, now: &mut Timestamp) -> Result<()> {
    *now = match u.int_in_range(0..=9_u8)? {
        0 => Timestamp::from_nanos(now.as_nanos() / 2),
        1 => *now + Duration::from_secs(100_000),
        2..=5 => *now + Duration::from_millis(10),
        _ => *now + Duration::from_secs(u.int_in_range(1..=40)?),
    };
    Ok(())
}

/// Bytes of a peer: a valid packet, one that was cut or changed, or anything.
pub fn bytes(u: &mut Unstructured<'_>, version: ProtocolVersion) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match u.int_in_range(0..=9_u8)? {
        0 => bytes.extend_from_slice(u.bytes(1)?),
        1 => {
            let len = u.int_in_range(0..=20_usize)?.min(u.len());
            bytes.extend_from_slice(u.bytes(len)?);
        }
        kind => {
            let encoded = with_packet(u, version, |packet| {
                packet.encode_to(version, &mut bytes).is_ok()
            })?;
            if !encoded {
                bytes.clear();
            }
            if kind == 2 && !bytes.is_empty() {
                let at = u.choose_index(bytes.len())?;
                bytes[at] ^= u.arbitrary::<u8>()?;
            }
            if kind == 3 {
                bytes.truncate(u.int_in_range(0..=bytes.len())?);
            }
        }
    }
    Ok(bytes)
}

/// What one machine sends on one connection.
#[derive(Debug)]
pub struct Sent {
    version: ProtocolVersion,
    /// Which packets may come from there, and which one first.
    allowed: &'static [PacketType],
    first: PacketType,
    stream: Vec<u8>,
    packets: usize,
    said_goodbye: bool,
    closed: bool,
    /// Identifiers of PUBLISH that are not acknowledged.
    pub open: BTreeSet<PacketId>,
    /// Packets of the last call, for peers that answer.
    pub last: Vec<Vec<u8>>,
}

pub const BY_CLIENTS: &[PacketType] = &[
    PacketType::Connect,
    PacketType::Publish,
    PacketType::PubAck,
    PacketType::PubRec,
    PacketType::PubRel,
    PacketType::PubComp,
    PacketType::Subscribe,
    PacketType::Unsubscribe,
    PacketType::PingReq,
    PacketType::Disconnect,
    PacketType::Auth,
];

pub const BY_SERVERS: &[PacketType] = &[
    PacketType::ConnAck,
    PacketType::Publish,
    PacketType::PubAck,
    PacketType::PubRec,
    PacketType::PubRel,
    PacketType::PubComp,
    PacketType::SubAck,
    PacketType::UnsubAck,
    PacketType::PingResp,
    PacketType::Disconnect,
    PacketType::Auth,
];

impl Sent {
    pub fn by_client(version: ProtocolVersion) -> Self {
        Self::new(version, BY_CLIENTS, PacketType::Connect)
    }

    pub fn by_server(version: ProtocolVersion) -> Self {
        Self::new(version, BY_SERVERS, PacketType::ConnAck)
    }

    fn new(version: ProtocolVersion, allowed: &'static [PacketType], first: PacketType) -> Self {
        Self {
            version,
            allowed,
            first,
            stream: Vec::new(),
            packets: 0,
            said_goodbye: false,
            closed: false,
            open: BTreeSet::new(),
            last: Vec::new(),
        }
    }

    /// The next bytes of the machine.
    pub fn take(&mut self, bytes: &[u8], transmit: Transmit) {
        assert!(!self.closed || bytes.is_empty(), "nothing after Close");
        self.closed |= transmit == Transmit::Close;
        self.stream.extend_from_slice(bytes);
        self.last.clear();
        loop {
            let mut parsed = decode(&self.stream, self.version, u32::MAX);
            if parsed.is_err() && self.packets == 0 {
                // Whatever stood in its place was a CONNECT of the other version, and is answered in it.
                self.version = match self.version {
                    ProtocolVersion::V5_0 => ProtocolVersion::V3_1_1,
                    ProtocolVersion::V3_1_1 => ProtocolVersion::V5_0,
                };
                parsed = decode(&self.stream, self.version, u32::MAX);
            }
            let (packet, size) = match parsed {
                Ok(Parsed::Complete(whole)) => whole,
                Ok(Parsed::Partial { .. }) => return,
                Err(error) => panic!("sent what is wrong: {error}: {:?}", self.stream),
            };
            // CONNACK of an authentication comes after AUTH.
            let is_first = self.packets == 0;
            if is_first && packet.packet_type() != PacketType::Auth {
                assert_eq!(packet.packet_type(), self.first, "the first packet");
            }
            assert!(self.allowed.contains(&packet.packet_type()), "{packet:?}");
            assert!(!self.said_goodbye, "nothing after DISCONNECT: {packet:?}");
            self.said_goodbye |= matches!(packet, Packet::Disconnect(_));
            if let Packet::Publish(publish) = &packet
                && let Some(id) = publish.delivery.id()
            {
                let is_new = self.open.insert(id);
                assert!(is_new, "{id:?} is in flight on this connection");
            }
            self.packets += 1;
            self.last.push(self.stream[..size].to_vec());
            self.stream.drain(..size);
        }
    }

    /// These bytes go to the machine: what they acknowledge is open no more.
    pub fn hear(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Ok(Parsed::Complete((packet, size))) = decode(rest, self.version, u32::MAX) {
            let id = match &packet {
                Packet::PubAck(ack) => Some(ack.id),
                Packet::PubRec(ack) if ReasonCode::from(ack.reason).is_error() => Some(ack.id),
                Packet::PubComp(ack) => Some(ack.id),
                _ => None,
            };
            if let Some(id) = id {
                self.open.remove(&id);
            }
            rest = &rest[size..];
        }
    }
}
