//! Bytes on their way out of a client.

use super::{Client, Event, Phase};
use crate::pieces::Output;
use crate::{Timestamp, Transmit};

impl Client {
    #[inline]
    pub(super) fn transmit<O: Output>(
        &mut self,
        now: Timestamp,
        max_bytes: usize,
        out: &mut O,
    ) -> Transmit {
        let now = self.clock.advance(now);
        // Drivers ask after everything they do, and mostly there is nothing.
        if let (Phase::Connected { .. }, Some(link)) = (&self.phase, &self.link)
            && link.is_idle(&self.session)
        {
            self.note_quota();
            return Transmit::Idle;
        }
        self.transmit_something(now, max_bytes, out)
    }

    #[inline(never)]
    fn transmit_something<O: Output>(
        &mut self,
        now: Timestamp,
        max_bytes: usize,
        out: &mut O,
    ) -> Transmit {
        // Mostly these are answers, and nothing else.
        if !cfg!(feature = "small")
            && let (Phase::Connected { .. }, Some(link)) = (&self.phase, &mut self.link)
            && self.session.outbound.is_idle()
            && !self.events.journal.is_on()
            && let Some(len) = link.answers_len()
            && len <= max_bytes
        {
            let packets = link.take_answers(out.copied());
            self.events.traffic.note_packets(packets);
            self.note_transmitted(now, len);
            self.note_quota();
            return Transmit::Idle;
        }
        self.transmit_in_turn(now, max_bytes, out)
    }

    #[inline(never)]
    fn transmit_in_turn<O: Output>(
        &mut self,
        now: Timestamp,
        max_bytes: usize,
        out: &mut O,
    ) -> Transmit {
        if let (Phase::Ending { deadline }, Some(link)) = (&self.phase, &mut self.link)
            && now >= *deadline
        {
            // The server does not read the last packet; it has had its time.
            link.abort();
        }
        let before = out.len();
        let end = before.saturating_add(max_bytes.max(1));
        let transmit = loop {
            if self.events.journal.is_on() {
                self.events.journal.set_now(now);
                self.assign_ids();
            }
            let Some(link) = &mut self.link else {
                return Transmit::Idle;
            };
            // What became of a message is an event, so there has to be room for that.
            let has_room = !self.events.is_full(&self.config);
            let is_open = matches!(self.phase, Phase::Connected { .. }) && has_room;
            let session = is_open.then_some(&mut self.session);
            let transmit = link.transmit(now, end, out, session, &mut self.events);
            // Some were given up, and the next have no identifiers yet.
            if transmit != Transmit::Idle || !self.may_assign_ids() {
                break transmit;
            }
            if out.len() >= end {
                break Transmit::More;
            }
        };
        self.note_transmitted(now, out.len().saturating_sub(before));
        self.note_quota();
        if transmit == Transmit::Close {
            self.link = None;
            self.phase = Phase::Disconnected;
        }
        transmit
    }

    /// So many bytes have been handed out.
    #[inline(always)]
    pub(super) fn note_transmitted(&mut self, now: Timestamp, len: usize) {
        if len > 0 {
            if let Phase::Connecting { offer, .. } = &mut self.phase {
                offer.is_sent = true;
            }
            self.keep_alive.note_sent(now);
            self.events.traffic.note_sent(len);
            if self.keep_alive.queued_to().is_some() {
                self.note_ping_sent(now);
            }
        }
    }

    /// Notes that PINGREQ has been handed out, if it has.
    #[cold]
    fn note_ping_sent(&mut self, now: Timestamp) {
        if let (Some(end), Some(link)) = (self.keep_alive.queued_to(), &self.link)
            && link.has_taken(end)
        {
            self.keep_alive.note_ping_sent(now);
        }
    }

    /// Notes that messages wait for the server's acknowledgements, and that none does any more.
    // [5:MQTT-4.9.0-2]
    #[inline(always)]
    pub(super) fn note_quota(&mut self) {
        let held_back = self.session.outbound.held_back_len();
        if held_back > 0 || self.quota_exhausted {
            self.note_quota_of(held_back);
        }
    }

    #[inline(never)]
    fn note_quota_of(&mut self, held_back: usize) {
        let (Phase::Connected { .. }, Some(link)) = (&self.phase, &self.link) else {
            return;
        };
        let quota = link.send_quota();
        if held_back > 0 && quota == 0 && !self.quota_exhausted {
            self.quota_exhausted = true;
            self.events.traffic.note_quota_wait();
        } else if held_back == 0 && quota > 0 {
            self.quota_exhausted = false;
            self.events.push(Event::QuotaAvailable);
        }
    }
}
