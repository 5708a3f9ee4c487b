//! Bytes on their way out of a connection.

use super::Connection;
use crate::pieces::Output;
use crate::{Timestamp, Transmit};

impl Connection {
    pub(super) fn transmit<O: Output>(
        &mut self,
        now: Timestamp,
        max_bytes: usize,
        out: &mut O,
    ) -> Transmit {
        let now = self.clock.advance(now);
        // What became of a message is an event, so there has to be room for that.
        let has_room = !self.events.is_full(&self.config);
        let is_open = self.link.is_connected() && has_room;
        let session = is_open.then_some(&mut self.session.core);
        let before = out.len();
        let end = before.saturating_add(max_bytes.max(1));
        let events = &mut self.events;
        let transmit = self.link.transmit(now, end, out, session, events);
        events.traffic.note_sent(out.len().saturating_sub(before));
        transmit
    }
}
