//! The events that wait for the application.

use alloc::collections::VecDeque;

use mqtt_codec::{Message, PacketId, QoS, ReasonCode};

use super::{Config, Event, LostCause, PublishToken};
use crate::link::{Outgoing, OutgoingIds, Settled, Store};
use crate::session::{Journal, OwnMessage, Record};
use crate::{Diagnostics, Traffic};

/// The queue of events. It also hears from the link what became of messages that no
/// acknowledgement will tell about.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    /// Completed publishes, of which there are the most: apart, as they are small.
    completed: VecDeque<Completed>,
    /// Of the messages and texts in `queue`.
    bytes: usize,
    /// How many ever went into `queue`, and how many came out.
    pushed: u64,
    popped: u64,
    pub(super) traffic: Traffic,
    /// What a store has to know.
    pub(super) journal: Journal,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Completed {
    tag: u64,
    /// So many of `queue` happened before.
    behind: u64,
    reason: ReasonCode,
}

impl Events {
    pub(super) fn new(journal: bool) -> Self {
        Self {
            journal: Journal::new(journal),
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.pushed = self.pushed.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(event.len_held());
        self.queue.push_back(event);
    }

    /// A message has come, and been answered.
    #[inline]
    pub(super) fn push_message(&mut self, message: Message, dup: bool) {
        self.pushed = self.pushed.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(message.len_held());
        self.queue.push_back(Event::Message {
            message,
            dup,
            receipt: None,
        });
    }

    /// Whether a message may be shown before what waits: nothing happened before it, but for publishes that are
    /// complete, of which no order to messages is promised.
    #[inline]
    pub(super) fn may_show(&self) -> bool {
        self.queue.is_empty()
    }

    /// A publish is complete.
    #[inline]
    pub(super) fn complete(&mut self, tag: u64, reason: ReasonCode) {
        let behind = self.pushed;
        self.completed.push_back(Completed {
            tag,
            behind,
            reason,
        });
    }

    /// A publish is complete, and the server had something to say about it.
    pub(super) fn complete_with(&mut self, tag: u64, reason: ReasonCode, diagnostics: Diagnostics) {
        if diagnostics.is_empty() {
            return self.complete(tag, reason);
        }
        self.push(Event::Published {
            token: PublishToken(tag),
            reason,
            diagnostics,
        });
    }

    /// A publish will never complete.
    pub(super) fn lose(&mut self, tag: u64, message: Option<Message>, cause: LostCause) {
        self.push(Event::PublishLost {
            token: PublishToken(tag),
            message,
            cause,
        });
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Event> {
        if let Some(first) = self.completed.front()
            && first.behind == self.popped
        {
            let event = Event::Published {
                token: PublishToken(first.tag),
                reason: first.reason,
                diagnostics: Diagnostics::default(),
            };
            self.completed.pop_front();
            return Some(event);
        }
        self.pop_other()
    }

    fn pop_other(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.popped = self.popped.wrapping_add(1);
        self.bytes = self.bytes.saturating_sub(event.len_held());
        Some(event)
    }

    /// Whether as much waits as may: events, their bytes, or entries of the journal.
    #[inline]
    pub(super) fn is_full(&self, config: &Config) -> bool {
        self.len().max(self.journal.len()) >= config.events_max.max(1)
            || self.bytes >= config.events_bytes_max.max(1)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queue.len().saturating_add(self.completed.len())
    }
}

impl Store for Events {
    type Handle = OwnMessage;

    #[inline]
    fn outgoing<'s>(&'s self, handle: &'s OwnMessage, _: bool) -> Option<Outgoing<'s>> {
        Some(Outgoing {
            message: &handle.message,
            retain: handle.message.retain(),
            subscription_ids: OutgoingIds::OfMessage,
            expires_at: handle.expires_at.at(),
        })
    }

    fn note_control(&mut self, packets: u64) {
        self.traffic.note_packets(packets);
    }

    fn note_publish(&mut self, repeated: bool) {
        self.traffic.note_publish(repeated);
    }

    #[inline]
    fn sent(&mut self, tag: u64, _dropped: &mut Option<OwnMessage>) {
        self.complete(tag, ReasonCode::Success);
    }

    fn settle(
        &mut self,
        tag: u64,
        held: Option<PacketId>,
        message: &mut Option<OwnMessage>,
        outcome: Settled,
    ) -> u64 {
        let cause = match outcome {
            Settled::Expired => LostCause::Expired,
            Settled::TooLarge | Settled::Gone => LostCause::TooLarge,
            Settled::QoSNotSupported => LostCause::QoSNotSupported,
            Settled::RetainNotSupported => LostCause::RetainNotSupported,
        };
        let message = message.take().map(|held| held.message);
        let is_recorded = |message: &Message| message.qos() != QoS::AtMostOnce;
        if message.as_ref().is_some_and(is_recorded) {
            self.journal.add(|| match held {
                Some(_) => Record::Withdrawn { token: tag },
                None => Record::Ended { token: tag },
            });
        }
        self.lose(tag, message, cause);
        self.journal.last()
    }

    fn release(&mut self, _dropped: &mut Option<OwnMessage>) {}
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn events_come_out_in_the_order_in_which_they_happened() {
        let mut events = Events::default();
        let complete = |events: &mut Events, tag| {
            events.complete(tag, ReasonCode::Success);
        };
        complete(&mut events, 1);
        events.lose(2, None, LostCause::Expired);
        complete(&mut events, 3);
        complete(&mut events, 4);
        events.lose(5, None, LostCause::Expired);
        events.lose(6, None, LostCause::Expired);
        complete(&mut events, 7);
        assert_eq!(events.len(), 7);
        let order: Vec<_> = core::iter::from_fn(|| events.pop())
            .filter_map(|event| match event {
                Event::Published { token, .. } | Event::PublishLost { token, .. } => Some(token.0),
                _ => None,
            })
            .collect();
        assert_eq!(order, [1, 2, 3, 4, 5, 6, 7]);
    }
}
