//! One packet at the front of some bytes, for those who want nothing around it.

use crate::packet::Anybody;
use crate::{
    Ack, DecodeError, Disconnect, DisconnectReason, Frame, Packet, PacketId, PacketType, Parsed,
    ProtocolVersion, PublishReason, ReleaseReason,
};

/// Reads the packet at the front of `input`; answers it and its length in bytes.
///
/// ```
/// use mqtt_codec::{decode, Packet, Parsed, ProtocolVersion};
///
/// let bytes = [0x30, 0x07, 0x00, 0x03, b'a', b'/', b'b', b'h', b'i'];
/// let Parsed::Complete((packet, size)) = decode(&bytes, ProtocolVersion::V3_1_1, 1024)? else { unreachable!() };
/// let Packet::Publish(publish) = packet else { unreachable!() };
/// assert_eq!(publish.payload, b"hi");
/// assert_eq!(size, bytes.len());
/// # Ok::<(), mqtt_codec::DecodeError>(())
/// ```
///
/// # Errors
///
/// [`DecodeError`] for whatever the standard forbids, and for packets larger than
/// `packet_size_max` bytes.
#[inline]
pub fn decode(
    input: &[u8],
    version: ProtocolVersion,
    packet_size_max: u32,
) -> Result<Parsed<(Packet<'_>, usize)>, DecodeError> {
    // Apart, so that each has the registers for itself.
    match input.first() {
        Some(first) if first >> 4 == PacketType::Publish.value() => {
            decode_publish(input, version, packet_size_max)
        }
        _ => decode_control(input, version, packet_size_max),
    }
}

#[inline(never)]
fn decode_publish(
    input: &[u8],
    version: ProtocolVersion,
    packet_size_max: u32,
) -> Result<Parsed<(Packet<'_>, usize)>, DecodeError> {
    match Frame::parse(input, Some(version), packet_size_max) {
        Ok(Parsed::Complete(frame)) => frame.decode_publish_as(version, |publish| {
            Parsed::Complete((Packet::Publish(publish), frame.size()))
        }),
        Ok(Parsed::Partial { needed }) => Ok(Parsed::Partial { needed }),
        Err(error) => Err(error),
    }
}

#[inline(never)]
fn decode_control(
    input: &[u8],
    version: ProtocolVersion,
    packet_size_max: u32,
) -> Result<Parsed<(Packet<'_>, usize)>, DecodeError> {
    if let (Some((packet, size)), 4..) = (short(input), packet_size_max) {
        return Ok(Parsed::Complete((packet, size)));
    }
    match Frame::parse(input, Some(version), packet_size_max) {
        Ok(Parsed::Complete(frame)) => decode_other(&frame, version),
        Ok(Parsed::Partial { needed }) => Ok(Parsed::Partial { needed }),
        Err(error) => Err(error),
    }
}

#[inline(never)]
fn decode_other<'a>(
    frame: &Frame<'a>,
    version: ProtocolVersion,
) -> Result<Parsed<(Packet<'a>, usize)>, DecodeError> {
    frame.decode_strictly_as::<Anybody, _>(version, |packet| {
        Parsed::Complete((packet, frame.size()))
    })
}

/// The most frequent of the others at a glance: they are always the same few bytes.
#[inline(always)]
fn short(input: &[u8]) -> Option<(Packet<'_>, usize)> {
    let ack = |high: u8, low: u8| PacketId::new(u16::from_be_bytes([high, low]));
    let (arrived, released) = (PublishReason::Success, ReleaseReason::Success);
    Some(match *input {
        [0x40, 2, high, low, ..] => (Packet::PubAck(Ack::new(ack(high, low)?, arrived)), 4),
        [0x50, 2, high, low, ..] => (Packet::PubRec(Ack::new(ack(high, low)?, arrived)), 4),
        [0x62, 2, high, low, ..] => (Packet::PubRel(Ack::new(ack(high, low)?, released)), 4),
        [0x70, 2, high, low, ..] => (Packet::PubComp(Ack::new(ack(high, low)?, released)), 4),
        [0xC0, 0, ..] => (Packet::PingReq, 2),
        [0xD0, 0, ..] => (Packet::PingResp, 2),
        [0xE0, 0, ..] => (
            Packet::Disconnect(Disconnect::new(DisconnectReason::NormalDisconnection)),
            2,
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The long way answers the same: this says that it is not gone.
    #[test]
    fn the_most_frequent_packets_are_known_at_a_glance() {
        let rows: [(PacketType, &[u8]); 7] = [
            (PacketType::PubAck, &[0x40, 2, 0, 7]),
            (PacketType::PubRec, &[0x50, 2, 0, 7]),
            (PacketType::PubRel, &[0x62, 2, 0, 7]),
            (PacketType::PubComp, &[0x70, 2, 0, 7]),
            (PacketType::PingReq, &[0xC0, 0]),
            (PacketType::PingResp, &[0xD0, 0]),
            (PacketType::Disconnect, &[0xE0, 0]),
        ];
        for (row, input) in rows {
            let (packet, size) = short(input).unwrap();
            assert_eq!((packet.packet_type(), size), (row, input.len()));
            for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
                let frame = Frame::parse(input, Some(version), u32::MAX).unwrap();
                let Parsed::Complete(frame) = frame else {
                    panic!("{row} is complete");
                };
                assert_eq!(frame.decode(version), Ok(packet), "{row}");
            }
        }
        assert!(short(&[0x40, 2, 0, 0]).is_none(), "no identifier is 0");
    }
}
