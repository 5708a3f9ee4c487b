//! QoS 0 messages whose connection did not wait until they were decided on. Nobody sends them again: they are
//! decided on all the same, and go on in their order.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use mqtt_codec::Message;

use crate::Timestamp;
use crate::broker::Broker;
use crate::broker::decision::{LeftKey, PublishAnswer, PublishDecision};
use crate::broker::routing::is_reserved;
use crate::broker::sessions::SessionKey;

/// Those of one connection. The first of them is not decided on.
#[derive(Debug)]
pub(in crate::broker) struct Left {
    publisher: Option<SessionKey>,
    messages: VecDeque<LeftMessage>,
}

#[derive(Debug)]
pub(super) struct LeftMessage {
    pub(super) message: Message,
    /// When it came: its expiry counts from then.
    pub(super) at: Timestamp,
    pub(super) decision: Option<PublishDecision>,
    pub(super) answer: Option<PublishAnswer>,
}

impl LeftMessage {
    /// Bytes of it and of what it holds.
    fn len_held(&self) -> usize {
        self.message.len_held().saturating_add(size_of::<Self>())
    }
}

impl Left {
    pub(super) const fn new(publisher: Option<SessionKey>) -> Self {
        Self {
            publisher,
            messages: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, message: LeftMessage) {
        self.messages.push_back(message);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn answer(&mut self, wanted: PublishDecision, given: PublishAnswer) {
        let found = { self.messages.iter_mut() }.find(|it| it.decision == Some(wanted));
        if let Some(found) = found {
            found.answer = Some(given);
        }
    }

    fn take_decided(&mut self) -> Option<(LeftMessage, PublishAnswer)> {
        let answer = self.messages.front_mut()?.answer.take()?;
        Some((self.messages.pop_front()?, answer))
    }
}

impl Broker {
    /// The questions about these stay, though their connection is gone.
    pub(super) fn leave(&mut self, left: Left) {
        let open = left.messages.iter().filter(|it| it.answer.is_none());
        let questions: Vec<_> = open.filter_map(|it| it.decision).collect();
        let bytes = super::sum(left.messages.iter().map(LeftMessage::len_held));
        match self.decisions.leave(left) {
            Some(key) => {
                self.decisions.note_held(bytes);
                for question in questions {
                    self.decisions.note_left(question, key);
                }
            }
            None => {
                for question in questions {
                    self.forget_question(question.key());
                }
            }
        }
    }

    /// An answer about one of them: it goes on, with those behind it, if nothing before it is open.
    // [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-6] In the order in which they came.
    pub(in crate::broker) fn answer_left(
        &mut self,
        key: LeftKey,
        wanted: PublishDecision,
        given: PublishAnswer,
    ) {
        if let Some(left) = self.decisions.left_mut(key) {
            left.answer(wanted, given);
        }
        while let Some(left) = self.decisions.left_mut(key) {
            let publisher = left.publisher;
            let Some((left, answer)) = left.take_decided() else {
                break;
            };
            self.decisions.note_done(left.len_held());
            let message = match answer {
                PublishAnswer::Allow => left.message,
                PublishAnswer::AllowAs(message) => message,
                PublishAnswer::Refuse(_) | PublishAnswer::Drop => continue,
            };
            if !is_reserved(message.topic()) {
                self.depending(|broker| broker.route_message(left.at, publisher, message, None));
            }
        }
        if { self.decisions.left_mut(key) }.is_some_and(|left| left.is_empty()) {
            self.decisions.forget_left(key);
        }
        self.go_on_asking();
    }
}
