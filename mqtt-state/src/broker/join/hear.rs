//! What another broker has said, and what it is for.

use alloc::string::String;
use alloc::vec::Vec;

use super::message::{Body, BrokerId, JoinMessage, Note, Stamp};
use super::other::{Heard, NoteName};
use crate::Timestamp;
use crate::broker::{Broker, Event};

impl Broker {
    /// Takes what another broker has said. It is believed as far as it makes sense; what does not is
    /// ignored.
    pub fn handle_joined(&mut self, now: Timestamp, from: BrokerId, message: JoinMessage) {
        let now = self.begin(now);
        self.hear(now, from, message);
        // There may be memory now that a session has waited for.
        self.finish_moving();
        self.weigh_joined();
    }

    fn hear(&mut self, now: Timestamp, from: BrokerId, message: JoinMessage) {
        let Some(other) = self.joined.as_mut().and_then(|it| it.others.get_mut(&from)) else {
            return;
        };
        let received = message.received;
        let count = match message.body {
            Body::Welcome { count, .. } => count,
            _ => 0,
        };
        let mut lost = Vec::new();
        let before = other.run();
        let heard = other.hear(message, |queue| lost = queue.rewind());
        let is_another_run = before.is_some() && before != other.run();
        self.release_outgoing(lost, None);
        if is_another_run {
            self.claims_without(now, from);
        }
        let body = match heard {
            Heard::Ignored => return,
            Heard::Old => return self.events.push(Event::IncarnationTooLow { broker: from }),
            Heard::Up => {
                self.events.push(Event::Joined { broker: from });
                let broker = from;
                self.with_joined(|joined| joined.stamps.note(Stamp { count, broker }));
                self.ask_to_switch(from);
                self.claims_with(from);
                None
            }
            Heard::Body(body) => Some(body),
        };
        self.release_received(from, received);
        self.weigh_joined();
        match body {
            Some(Body::Interests { changes, is_last }) => {
                let left = self.bytes_left();
                let mut refused = Vec::new();
                self.with_joined(|joined| {
                    refused = joined.handle_interests(from, changes, is_last, left);
                });
                for filter in refused {
                    let filter = String::from(&*filter.text);
                    let broker = from;
                    self.events.push(Event::InterestRefused { broker, filter });
                }
            }
            Some(Body::Sessions(sessions)) => self.handle_sessions(now, from, sessions),
            Some(Body::Retained(retained)) => self.handle_retained(now, from, retained),
            Some(Body::Passing(forward)) => self.handle_forward(now, from, forward),
            Some(Body::Note { sequence, note }) => {
                let other = self.joined.as_mut().and_then(|it| it.others.get_mut(&from));
                if other.is_some_and(|other| other.receive(sequence)) {
                    self.take_note(now, from, sequence, note);
                }
            }
            Some(Body::Hello | Body::Welcome { .. } | Body::Acknowledge) | None => {}
        }
    }

    fn take_note(&mut self, now: Timestamp, from: BrokerId, sequence: u64, note: Note) {
        let fan_outs = self.router.fan_outs.len();
        self.handle_note(now, from, note);
        let Some(other) = self.joined.as_mut().and_then(|it| it.others.get_mut(&from)) else {
            return;
        };
        if !self.store.journal.is_on() {
            return other.taken(sequence, 0);
        }
        let goes_on = self.router.fan_outs.len() > fan_outs;
        match self.router.fan_outs.back_mut() {
            // Not all have it, so not all of it is in the journal.
            Some(last) if goes_on => last.note = other.taken_in_part(from, sequence),
            _ => other.taken(sequence, self.store.journal.position()),
        }
    }

    /// The last of those who were to get what a note brought have it.
    pub(in crate::broker) fn note_is_with_all(&mut self, note: &NoteName) {
        let position = self.store.journal.position();
        let others = self.joined.as_mut().map(|joined| &mut joined.others);
        if let Some(other) = others.and_then(|others| others.get_mut(&note.from)) {
            other.taken_wholly(note, position);
        }
    }

    fn handle_note(&mut self, now: Timestamp, from: BrokerId, note: Note) {
        match note {
            Note::Forward(forward) => self.handle_forward(now, from, forward),
            Note::Returned(forward) => self.handle_returned(now, from, forward),
            Note::Claim {
                client_id,
                stamp,
                what,
            } => self.handle_claim_note(now, from, &client_id, stamp, what),
        }
    }

    /// Another broker has so many of this one's notes.
    fn release_received(&mut self, from: BrokerId, received: u64) {
        while let Some(other) = self.joined.as_mut().and_then(|it| it.others.get_mut(&from))
            && let Some(item) = other.queue.pop_received(received)
        {
            self.release_outgoing([item].into(), None);
        }
    }
}
