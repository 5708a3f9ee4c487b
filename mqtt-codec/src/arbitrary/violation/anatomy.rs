//! A packet taken apart around its property block, so that one part can be spoilt.

use alloc::vec::Vec;

use crate::wire::{BufWriter, Sink as _};
use crate::{Frame, Packet, PacketType, Parsed, ProtocolVersion};

/// The parts of an encoded packet; lengths are made anew when it is put together.
#[derive(Clone, Debug)]
pub(super) struct Anatomy {
    pub(super) version: ProtocolVersion,
    pub(super) packet_type: PacketType,
    /// The first byte.
    pub(super) first: u8,
    /// In front of the properties.
    pub(super) head: Vec<u8>,
    /// The properties, without their length; in 5.0 alone, and not in every packet.
    pub(super) block: Option<Vec<u8>>,
    /// Behind the properties.
    pub(super) tail: Vec<u8>,
}

impl Anatomy {
    pub(super) fn new(packet: &Packet<'_>, version: ProtocolVersion) -> Option<Self> {
        let mut bytes = Vec::new();
        packet.encode_to(version, &mut bytes).ok()?;
        let Ok(Parsed::Complete(frame)) = Frame::parse(&bytes, Some(version), u32::MAX) else {
            return None;
        };
        let body = frame.body();
        let is_v5 = version == ProtocolVersion::V5_0;
        let head_len = match packet {
            Packet::Connect(_) => 10,
            Packet::Publish(publish) => {
                let id_len = if publish.delivery.id().is_some() {
                    2
                } else {
                    0
                };
                let topic = publish.topic.name().map_or(0, |name| name.as_bytes().len());
                topic.saturating_add(2).saturating_add(id_len)
            }
            Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_)
                if is_v5 =>
            {
                3
            }
            Packet::Disconnect(_) | Packet::Auth(_) => 1,
            Packet::PingReq | Packet::PingResp => 0,
            _ => 2,
        };
        let has_block = is_v5 && !matches!(packet, Packet::PingReq | Packet::PingResp);
        let mut head = body.get(..head_len).unwrap_or(body).to_vec();
        let rest = body.get(head_len..).unwrap_or_default();
        if has_block {
            // A reason code of success may have been left out.
            head.resize(head_len, 0);
        }
        let (block, tail) = if has_block {
            split_block(rest)?
        } else {
            (&[][..], rest)
        };
        Some(Self {
            version,
            packet_type: frame.packet_type(),
            first: *bytes.first()?,
            head,
            block: has_block.then(|| block.to_vec()),
            tail: tail.to_vec(),
        })
    }

    pub(super) fn is_v5(&self) -> bool {
        self.version == ProtocolVersion::V5_0
    }

    /// Everything behind the fixed header.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = self.head.clone();
        if let Some(block) = &self.block {
            body.extend(var_int(block.len()));
            body.extend(block);
        }
        body.extend(&self.tail);
        body
    }

    /// The packet, put together again.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.with_body(&self.body())
    }

    /// The fixed header, and this behind it.
    pub(super) fn with_body(&self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::from([self.first]);
        bytes.extend(var_int(body.len()));
        bytes.extend(body);
        bytes
    }
}

/// The block and what is behind it. A block that was left out is empty.
fn split_block(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let length_len = match rest.iter().position(|byte| byte & 0x80 == 0) {
        Some(last) => last.checked_add(1)?,
        None => return Some((&[], &[])),
    };
    let (length, behind) = rest.split_at_checked(length_len)?;
    let seven_bits = length.iter().map(|byte| usize::from(byte & 0x7F));
    let len = seven_bits
        .rev()
        .fold(0, |len: usize, bits| (len << 7) | bits);
    behind.split_at_checked(len)
}

/// In its shortest form.
pub(super) fn var_int(value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    BufWriter(&mut bytes).var_int(u32::try_from(value).unwrap_or(u32::MAX));
    bytes
}

/// Bytes with their length in front.
pub(super) fn counted(bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    BufWriter(&mut field).bytes(bytes);
    field
}
