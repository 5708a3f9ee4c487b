//! Where plain acknowledgements go.

use mqtt_codec::PlainAck;

/// A shorter way for acknowledgements than through what waits for the transport.
pub(crate) trait Acks {
    /// Takes one that nothing goes before. Answers whether it did: otherwise it waits.
    fn take(&mut self, ack: PlainAck) -> bool;
}

/// There is no other way.
pub(crate) struct Waiting;

impl Acks for Waiting {
    #[inline]
    fn take(&mut self, _: PlainAck) -> bool {
        false
    }
}
