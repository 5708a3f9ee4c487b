//! Control packets on their way out, already encoded.

use alloc::vec::Vec;

use mqtt_codec::{EncodeError, Packet, PacketBuf, ProtocolVersion};

/// Bytes of packets other than PUBLISH that wait for the transport.
///
/// They are a few bytes each, so they are encoded when they arise; a PUBLISH stays a reference
/// until it is polled. The limit is soft by one packet: who checks [`is_full`](Self::is_full)
/// before taking the next input never holds more than the limit plus one answer.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: PacketBuf,
    limit: usize,
    /// Packets that were appended since somebody asked.
    pushed: u64,
}

/// Room kept when everything is sent; more is given back, so that an idle connection is small.
const KEPT: usize = 512;

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: PacketBuf::new(),
            limit,
            pushed: 0,
        }
    }

    /// Appends a packet of at most `size_max` bytes.
    pub(crate) fn push(
        &mut self,
        packet: &Packet<'_>,
        version: ProtocolVersion,
        size_max: usize,
    ) -> Result<(), EncodeError> {
        let size = packet.encoded_len(version)?;
        if size > size_max {
            return Err(EncodeError::PacketTooLarge { size });
        }
        self.bytes.push(packet, version)?;
        self.pushed = self.pushed.saturating_add(1);
        Ok(())
    }

    /// Moves up to `max` bytes to the end of `buf`.
    pub(crate) fn take(&mut self, max: usize, buf: &mut Vec<u8>) {
        let waiting = self.bytes.as_bytes();
        let taken = waiting.get(..max).unwrap_or(waiting);
        buf.extend_from_slice(taken);
        self.bytes.consume(taken.len());
        if self.is_empty() {
            self.bytes.shrink_to(KEPT);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes = PacketBuf::new();
    }

    /// Packets that were appended since the last call.
    pub(crate) fn take_pushed(&mut self) -> u64 {
        core::mem::take(&mut self.pushed)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether answers pile up because the peer does not read them.
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes.len() >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_bytes_out_in_pieces_and_gives_memory_back() {
        let mut outbox = Outbox::new(1000);
        for _ in 0..600 {
            outbox
                .push(&Packet::PingResp, ProtocolVersion::V5_0, 2)
                .unwrap();
        }
        assert!(outbox.is_full());
        let mut buf = Vec::new();
        outbox.take(7, &mut buf);
        assert_eq!(buf, [0xD0, 0, 0xD0, 0, 0xD0, 0, 0xD0]);
        outbox.take(usize::MAX, &mut buf);
        assert_eq!(buf.len(), 1200);
        assert!(outbox.is_empty() && !outbox.is_full());
        assert!(outbox.bytes.capacity() <= KEPT);
    }

    #[test]
    fn refuses_a_packet_larger_than_the_peer_takes() {
        let mut outbox = Outbox::new(1000);
        let refused = outbox.push(&Packet::PingResp, ProtocolVersion::V5_0, 1);
        assert_eq!(refused, Err(EncodeError::PacketTooLarge { size: 2 }));
        assert!(outbox.is_empty());
    }
}
