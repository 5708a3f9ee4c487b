//! One message to all who want it, some with each call.

use bytes::BytesMut;
use mqtt_codec::{Message, QoS};
use mqtt_topic::{Position, Receiver};

use super::join::{NoteName, Part};
use super::outlet::outlet;
use super::routing::{Router, Summary, reason_for};
use super::serving::{Audience, Making, Serving};
use super::sessions::SessionKey;
use super::store::MessageRef;
use super::{Broker, ConnectionId};
use crate::Timestamp;

/// A message that not all have got who are to get it.
///
/// Its publisher is answered when they have: what was acknowledged is then with all of them, in the
/// journal too, and the reason code is known. Until then nothing more of that client is taken.
#[derive(Debug)]
pub(super) struct FanOut {
    pub(super) message: MessageRef,
    pub(super) publisher: Option<SessionKey>,
    pub(super) progress: Progress,
    /// Where the publisher is, and what it waits for.
    pub(super) answer: Option<(ConnectionId, mqtt_codec::Delivery)>,
    /// From another broker.
    pub(super) is_forwarded: bool,
    /// What brought it from there and is acknowledged when all of it is stored.
    pub(super) note: Option<NoteName>,
}

/// How far a message has come.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) position: Position<SessionKey>,
    /// The latest subscription when it was accepted: it is not for later ones.
    pub(super) accepted: u64,
    pub(super) receivers: usize,
    /// Which subscriptions of this broker have a part in it.
    pub(super) part: Part,
}

impl Broker {
    /// Gives a message to as many as this call has steps for. Answers whether there are more.
    // [5:MQTT-3.3.2-3] [3:MQTT-3.3.2-3] To those whose filters match.
    pub(super) fn serve<F: FnOnce(Option<BytesMut>) -> Message>(
        &mut self,
        publisher: Option<SessionKey>,
        summary: &Summary<'_>,
        making: &mut Making<F>,
        progress: &mut Progress,
    ) -> bool {
        let Progress {
            position,
            accepted,
            receivers,
            part: Part { reach, shared },
        } = progress;
        // That a QoS 2 message has come is stored with all its effects, or not at all.
        let is_whole = self.store.journal.is_on() && summary.qos == QoS::ExactlyOnce;
        let budget = if is_whole {
            usize::MAX
        } else {
            self.work.left()
        };
        let elsewhere = self.kept_elsewhere();
        let Router { scratch, turns, .. } = &mut self.router;
        let mut serving = Serving {
            outlet: outlet!(self, elsewhere),
            making,
            summary,
            audience: Audience {
                name: summary.name,
                publisher,
                accepted: *accepted,
                reach,
                joined: self.joined.as_deref(),
            },
            steps: 0,
            receivers: 0,
        };
        let has_more = self.subscriptions.receivers(
            summary.name,
            scratch,
            position,
            budget,
            &mut |receiver| match receiver {
                Receiver::Each(each) => serving.give_each(each),
                Receiver::Several(found) => serving.give_once(&found),
                Receiver::Group(group) => serving.give_turn(&group, turns, shared),
                _none => {}
            },
        );
        if has_more {
            // Whoever comes next wants it, and it has to be kept until then.
            serving.make();
        }
        serving.count();
        *receivers = receivers.saturating_add(serving.receivers);
        let steps = serving.steps;
        self.work.spend(steps);
        has_more
    }

    /// Whether a message of this publisher is still on its way.
    pub(super) fn has_fan_out(&self, publisher: Option<SessionKey>) -> bool {
        match publisher {
            None => self.router.own_fan_outs > 0,
            Some(key) => self
                .sessions
                .get(key)
                .is_some_and(|entry| entry.fan_outs > 0),
        }
    }

    /// Whether a message of the client of this session is still on its way.
    pub(super) fn is_fanning_out(&self, session: Option<SessionKey>) -> bool {
        !self.router.fan_outs.is_empty() && session.is_some() && self.has_fan_out(session)
    }

    /// A message goes on in later calls.
    pub(super) fn go_on_later(&mut self, fan_out: FanOut) {
        self.weigh_part(&fan_out.progress.part, true);
        match fan_out.publisher {
            None => self.router.own_fan_outs = self.router.own_fan_outs.saturating_add(1),
            Some(key) => {
                if let Some(entry) = self.sessions.get_mut(key) {
                    entry.fan_outs = entry.fan_outs.saturating_add(1);
                }
            }
        }
        self.router.fan_outs.push_back(fan_out);
    }

    /// Goes on with messages, as far as this call has steps.
    pub(super) fn advance_fan_outs(&mut self, now: Timestamp) {
        self.go_on(now);
        self.finish_moving();
    }

    fn go_on(&mut self, now: Timestamp) {
        while self.work.left() > 0
            && let Some(mut fan_out) = self.router.fan_outs.pop_front()
        {
            let Some(message) = self.store.message(&fan_out.message).cloned() else {
                continue;
            };
            let summary = Summary {
                name: message.topic(),
                qos: message.qos(),
                retain: message.retain(),
                expires_at: None,
                forwarded: None,
            };
            let mut making: Making<fn(Option<BytesMut>) -> Message> =
                Making::Made(fan_out.message, message.len_held());
            // It may be a will; others lose nothing by waiting a little.
            let may_depend = fan_out.answer.is_none();
            self.store.journal.set_dependent(may_depend);
            let has_more = self.serve(
                fan_out.publisher,
                &summary,
                &mut making,
                &mut fan_out.progress,
            );
            let Making::Made(reference, _) = making else {
                self.store.journal.set_dependent(false);
                continue;
            };
            if !has_more {
                let progress = &mut fan_out.progress;
                let given = self.give_turns(&progress.part, &reference);
                progress.receivers = progress.receivers.saturating_add(given);
            }
            self.store.journal.set_dependent(false);
            fan_out.message = reference;
            if has_more {
                self.router.fan_outs.push_front(fan_out);
                return;
            }
            if self.config.message_events && !fan_out.is_forwarded {
                let (len, receivers) = (message.payload().len(), fan_out.progress.receivers);
                self.tell_published(fan_out.publisher, &summary, len, receivers);
            }
            self.conclude_fan_out(now, fan_out);
        }
    }

    /// All have it: the publisher is answered, and may go on.
    fn conclude_fan_out(&mut self, now: Timestamp, fan_out: FanOut) {
        let FanOut {
            message,
            publisher,
            progress,
            answer,
            is_forwarded: _,
            note,
        } = fan_out;
        if let Some(note) = note {
            self.note_is_with_all(&note);
        }
        self.store.release(message);
        self.weigh_part(&progress.part, false);
        let Some(key) = publisher else {
            self.router.own_fan_outs = self.router.own_fan_outs.saturating_sub(1);
            return;
        };
        let Some(entry) = self.sessions.get_mut(key) else {
            return;
        };
        entry.fan_outs = entry.fan_outs.saturating_sub(1);
        let current = entry.connection;
        if let Some((id, delivery)) = answer {
            if current == Some(id) {
                let reason = reason_for(progress.receivers);
                let outcome = self.answering_for_all(id, |broker| {
                    let outcome = broker.acknowledge(id, delivery, reason);
                    broker.record_answered(key, delivery);
                    outcome
                });
                self.conclude(now, id, outcome);
            } else if let mqtt_codec::Delivery::ExactlyOnce { id, .. } = delivery {
                // It is with all of them: sent again, it is a repetition.
                if let Some(entry) = self.sessions.get_mut(key) {
                    entry.session.inbound.remember(id);
                }
            }
        }
        if let Some(id) = current {
            self.advance_held(now, id);
            // More of its input is taken.
            self.connections.mark_open(id);
        }
    }
}
