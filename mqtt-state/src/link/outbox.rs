//! Control packets on their way out, already encoded.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use mqtt_codec::{EncodeError, Packet, PacketBuf, PlainAck, ProtocolVersion};

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
    /// Bytes that were taken, over the whole connection.
    taken: u64,
    /// Where CONNECT or CONNACK begins: at the front, or behind a dialogue of AUTH packets.
    greeting: u64,
    /// What must not be taken yet, in order. Without a journal there is nothing.
    holds: Holds,
    stored: u64,
}

/// The bytes from `from` on wait until the journal is stored up to `position`.
#[derive(Clone, Copy, Debug)]
struct Hold {
    from: u64,
    position: u64,
}

/// Apart, because most connections have none.
#[derive(Debug, Default)]
struct Holds(Option<Box<Held>>);

#[derive(Debug, Default)]
struct Held(VecDeque<Hold>);

impl Holds {
    #[inline]
    fn first(&self) -> Option<&Hold> {
        self.0.as_ref()?.0.front()
    }

    fn push(&mut self, hold: Hold) {
        self.0.get_or_insert_default().0.push_back(hold);
    }

    /// The first of them, when it is over. The memory stays for the next ones.
    fn pop_stored(&mut self, position: u64) -> Option<Hold> {
        let held = &mut self.0.as_mut()?.0;
        held.front().filter(|hold| hold.position <= position)?;
        held.pop_front()
    }
}

/// Room kept when everything is sent; more is given back, so that an idle connection is small.
const KEPT: usize = 512;

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: PacketBuf::new(),
            // With room for nothing no input would ever be taken.
            limit: limit.max(1),
            pushed: 0,
            taken: 0,
            greeting: 0,
            holds: Holds::default(),
            stored: 0,
        }
    }

    /// Appends a packet of at most `size_max` bytes.
    pub(crate) fn push(
        &mut self,
        packet: &Packet<'_>,
        version: ProtocolVersion,
        size_max: usize,
    ) -> Result<(), EncodeError> {
        self.bytes.push_within(packet, version, size_max)?;
        self.pushed = self.pushed.saturating_add(1);
        Ok(())
    }

    /// Appends an acknowledgement, which has four bytes, for a peer that takes `size_max`.
    #[inline]
    pub(crate) fn push_ack(&mut self, ack: PlainAck, size_max: usize) -> Result<(), EncodeError> {
        let size = ack.to_bytes().len();
        if size > size_max {
            return Err(EncodeError::PacketTooLarge { size });
        }
        self.bytes.push_ack(ack);
        self.pushed = self.pushed.saturating_add(1);
        Ok(())
    }

    /// Where the next packet will be, in bytes of the whole connection.
    pub(crate) fn end(&self) -> u64 {
        self.taken.saturating_add(as_count(self.bytes.len()))
    }

    /// Bytes that were taken, over the whole connection.
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }

    /// What was appended behind `from` goes out when the journal is stored up to `position`.
    pub(crate) fn hold(&mut self, from: u64, position: u64) {
        if position > self.stored && from < self.end() {
            self.holds.push(Hold { from, position });
        }
    }

    /// So much of the journal is stored.
    pub(crate) fn note_stored(&mut self, position: u64) {
        self.stored = position;
        while self.holds.pop_stored(position).is_some() {}
    }

    /// How far the journal has to be stored before more can be taken, if that is what it waits for.
    pub(crate) fn held_position(&self) -> Option<u64> {
        Some(self.holds.first()?.position)
    }

    /// The next packet is the one that opens the connection.
    pub(crate) fn note_greeting(&mut self) {
        self.greeting = self.end();
    }

    /// Whether the packet that opens the connection is still here: nothing but AUTH goes before it.
    // [5:MQTT-3.2.0-1] [3:MQTT-3.2.0-1] CONNACK is the first packet of a server, [5:MQTT-3.1.0-1]
    // [3:MQTT-3.1.0-1] CONNECT that of a client.
    #[inline]
    pub(crate) const fn holds_greeting(&self) -> bool {
        self.taken <= self.greeting && !self.bytes.is_empty()
    }

    /// How many bytes may be taken now.
    fn free_len(&self) -> usize {
        match self.holds.first() {
            None => self.bytes.len(),
            Some(hold) => {
                let free = hold.from.saturating_sub(self.taken);
                usize::try_from(free).unwrap_or(usize::MAX)
            }
        }
    }

    /// Whether nothing may be taken now.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.bytes.is_empty() || (self.holds.first().is_some() && self.free_len() == 0)
    }

    /// Bytes that wait.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all may be taken.
    #[inline]
    pub(crate) fn may_take_all(&self) -> bool {
        self.holds.first().is_none()
    }

    /// Moves all bytes to the end of `buf`, if all may be taken and they are no more than `max`. Answers
    /// whether it did.
    #[inline]
    pub(crate) fn take_all(&mut self, max: usize, buf: &mut Vec<u8>) -> bool {
        let waiting = self.bytes.as_bytes();
        if waiting.len() > max || !self.may_take_all() {
            return false;
        }
        buf.extend_from_slice(waiting);
        self.taken = self.taken.saturating_add(as_count(waiting.len()));
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        true
    }

    /// Moves up to `max` bytes to the end of `buf`.
    pub(crate) fn take(&mut self, max: usize, buf: &mut Vec<u8>) {
        if self.take_all(max, buf) {
            return;
        }
        let waiting = self.bytes.as_bytes();
        let taken = waiting.get(..max.min(self.free_len())).unwrap_or(waiting);
        buf.extend_from_slice(taken);
        self.taken = self.taken.saturating_add(as_count(taken.len()));
        // Some are left.
        self.bytes.consume(taken.len());
    }

    /// What waits for the journal, and what stands behind that, will never go out.
    pub(crate) fn give_up_held(&mut self) {
        self.bytes.truncate(self.free_len());
        self.holds = Holds::default();
    }

    pub(crate) fn clear(&mut self) {
        self.bytes = PacketBuf::new();
        self.holds = Holds::default();
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

fn as_count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
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

    #[test]
    fn what_waits_for_the_store_holds_up_what_is_behind_it_only() {
        let mut outbox = Outbox::new(1000);
        let push = |outbox: &mut Outbox, position| {
            let from = outbox.end();
            let version = ProtocolVersion::V5_0;
            outbox.push(&Packet::PingResp, version, 2).unwrap();
            outbox.hold(from, position);
        };
        let taken = |outbox: &mut Outbox| {
            let mut buf = Vec::new();
            outbox.take(100, &mut buf);
            buf.len()
        };
        for position in [0, 3, 0, 5] {
            push(&mut outbox, position);
        }
        assert_eq!((taken(&mut outbox), outbox.is_idle()), (2, true));
        outbox.note_stored(2);
        assert_eq!((taken(&mut outbox), outbox.is_idle()), (0, true));
        outbox.note_stored(3);
        assert!(!outbox.is_idle());
        assert_eq!((taken(&mut outbox), outbox.is_idle()), (4, true));
        outbox.note_stored(9);
        push(&mut outbox, 9);
        assert_eq!((taken(&mut outbox), outbox.is_idle()), (4, true));
    }
}
