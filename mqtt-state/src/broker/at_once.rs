//! What goes to the driver at once, while the input that brings it about is taken.

use mqtt_codec::PlainAck;

use super::ConnectionId;
use super::at_hand::IS_OPEN;
use crate::Traffic;
use crate::link::Acks;

/// Takes a packet for a connection, or has no room for it.
pub(super) type Output<'b> = dyn FnMut(ConnectionId, &[u8]) -> bool + 'b;

/// What the input of one connection brings about at once. Where the driver takes nothing, it all waits.
pub(super) struct AtOnce<'b> {
    output: Option<&'b mut Output<'b>>,
    /// Whose input it is.
    pub(super) id: ConnectionId,
    /// So many acknowledgements went since they were counted.
    acks: u64,
}

impl<'b> AtOnce<'b> {
    pub(super) fn new(id: ConnectionId, output: Option<&'b mut Output<'b>>) -> Self {
        Self {
            output,
            id,
            acks: 0,
        }
    }

    #[inline]
    pub(super) const fn is_open(&self) -> bool {
        IS_OPEN && self.output.is_some()
    }

    /// Hands a whole packet out. Answers whether it was taken.
    #[inline]
    pub(super) fn hand_out(&mut self, id: ConnectionId, packet: &[u8]) -> bool {
        let output = self.output.as_mut().filter(|_| IS_OPEN);
        output.is_some_and(|output| output(id, packet))
    }

    /// Counts the acknowledgements that went.
    #[inline]
    pub(super) fn count(&mut self, traffic: &mut Traffic) {
        if self.acks > 0 {
            traffic.note_acks_sent(core::mem::take(&mut self.acks));
        }
    }
}

impl Acks for AtOnce<'_> {
    #[inline]
    fn take(&mut self, ack: PlainAck) -> bool {
        let is_taken = self.hand_out(self.id, &ack.to_bytes());
        self.acks = self.acks.wrapping_add(u64::from(is_taken));
        is_taken
    }
}
