//! Questions of a broker to its embedder, and what becomes of them.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::mem;

use mqtt_codec::{Message, QoS, SubscribeReason};

use super::coverage::Stage;
use super::oracle::Oracle;
use super::random::Random;
use super::world::World;
use crate::Timestamp;
use crate::broker::{self, ConnectAnswer, ConnectionId, Event, Grant, Stale, SubscribeAnswer};

/// A question that nobody has answered.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    event: Event,
    /// Counts those of its broker.
    number: u64,
    /// It counts as denied from then on.
    deadline: Timestamp,
    /// Nobody will answer it.
    is_ignored: bool,
    /// It is about a subscription that there is already, in this session of a client.
    again: Option<(usize, u32)>,
}

impl Asked {
    /// The connection that has sent what is asked about, as far as that counts towards its share.
    const fn counts_for(&self) -> Option<ConnectionId> {
        match (&self.event, self.again) {
            (
                Event::AuthorizePublish { connection, .. }
                | Event::AuthorizeSubscribe { connection, .. },
                None,
            ) => *connection,
            _ => None,
        }
    }
}

impl World<'_> {
    /// Somebody will answer a question, or not. Of what one connection has sent no more are open than its share.
    pub(super) fn ask(&mut self, event: Event) {
        let (at, now) = (self.at, self.now);
        let again = match &event {
            Event::AuthorizeSubscribe { client_id, .. } if self.nodes[at].reauthorizes => {
                let client = self.client_named(client_id);
                client.map(|client| (client, self.sessions[client].epoch))
            }
            _ => None,
        };
        let lets_expire = self.plan.extras.lets_expire;
        let node = &mut self.nodes[at];
        node.asked += 1;
        let asked = Asked {
            event,
            number: node.asked,
            deadline: now + node.config.decision_timeout,
            is_ignored: lets_expire && Random::new(self.plan.seed ^ node.asked).chance(20),
            again,
        };
        let connection = asked.counts_for();
        node.questions.push_back(asked);
        if connection.is_none() {
            return;
        }
        let of_same = |it: &&Asked| it.counts_for() == connection && it.deadline > now;
        let open = node.questions.iter().filter(of_same).count();
        let share = node.config.decisions_per_connection_max;
        self.coverage.full_shares += u64::from(open == share);
        if open > share {
            let text = format!("{open} of {connection:?}");
            self.fail("no connection has more questions than its share", text);
        }
    }

    /// Answers some questions. Answers whether there were some.
    pub(super) fn decide(&mut self, len: usize) -> bool {
        let mut some = false;
        for at in 0..self.nodes.len() {
            self.at = at;
            for _ in 0..len {
                let Some(asked) = self.next_question() else {
                    break;
                };
                some = true;
                self.answer(&asked);
                self.drain_broker();
            }
        }
        some
    }

    /// The first one, or whichever where some are never answered.
    pub(super) fn next_question(&mut self) -> Option<Asked> {
        let node = &mut self.nodes[self.at];
        let answered = { node.questions.iter().enumerate() }.filter(|(_, it)| !it.is_ignored);
        let mut answered = answered.map(|(place, _)| place);
        let place = match self.plan.extras.lets_expire {
            true => {
                let answered: Vec<_> = answered.collect();
                let mut random = Random::new(self.plan.seed ^ node.asked ^ answered.len() as u64);
                *answered.get(random.below(answered.len()))?
            }
            false => answered.next()?,
        };
        node.questions.remove(place)
    }

    /// Answers one question. One whose connection is there waits for that.
    pub(super) fn answer(&mut self, asked: &Asked) {
        let connection = match &asked.event {
            Event::Authenticate { connection, .. } | Event::AuthenticateStep { connection, .. } => {
                Some(*connection)
            }
            _ => asked.counts_for(),
        };
        let line = connection.and_then(|connection| self.line_at(connection));
        let is_there = line.is_some_and(|line| line.stage != Stage::Ending && !line.broker_gone);
        let is_taken = self.try_answer(asked);
        if is_there && is_taken.is_err() {
            let text = format!("{asked:?} at {:?}", self.now);
            self.fail("a question is open until its time is over", text);
        }
    }

    fn try_answer(&mut self, asked: &Asked) -> Result<(), Stale> {
        let (now, at) = (self.now, self.at);
        let broker = &mut self.nodes[at].broker;
        match &asked.event {
            Event::Authenticate {
                decision,
                connection,
                request,
                ..
            } => {
                let mut answer = self.embedder.decide_connect(request);
                if answer == ConnectAnswer::Allow {
                    answer = self.authenticate(*connection, asked.number, Some(request), None);
                }
                let broker = &mut self.nodes[at].broker;
                broker.decide_connect(now, *decision, answer)
            }
            Event::AuthenticateStep {
                decision,
                connection,
                data,
                ..
            } => {
                let answer = self.authenticate(*connection, asked.number, None, data.as_ref());
                let broker = &mut self.nodes[at].broker;
                broker.decide_connect(now, *decision, answer)
            }
            Event::AuthorizePublish {
                decision,
                connection,
                client_id,
                message,
                ..
            } => {
                let answer = self.embedder.decide_publish(client_id, message);
                let number = super::packets::number_of(message.payload());
                let is_allowed = answer == broker::PublishAnswer::Allow;
                broker.decide_publish(now, *decision, answer)?;
                if let Some(number) = number.filter(|_| is_allowed) {
                    let line = connection.and_then(|id| Some(self.line_at(id)?.number));
                    if self.waits_for_others(asked) {
                        self.oracle.come(number, true);
                    }
                    self.route(number, line);
                }
                Ok(())
            }
            Event::AuthorizeSubscribe {
                decision,
                client_id,
                filter,
                ..
            } => {
                let mut answer = self.embedder.decide_subscribe(client_id, filter);
                if asked.again.is_some() {
                    answer = on_second_thoughts(asked.number).unwrap_or(answer);
                }
                let broker = &mut self.nodes[at].broker;
                broker.decide_subscribe(now, *decision, answer.clone())?;
                if let Some((client, epoch)) = asked.again {
                    self.decided_again(client, epoch, filter, &answer);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether something that came before on the same connection is not decided.
    fn waits_for_others(&self, asked: &Asked) -> bool {
        let connection = asked.counts_for();
        let mut others = self.nodes[self.at].questions.iter();
        let is_before = |it: &Asked| it.counts_for() == connection && it.number < asked.number;
        connection.is_some() && others.any(is_before)
    }

    /// A connection is over: QoS 0 messages that it has sent and nobody has decided on are decided on all the same,
    /// and those behind them wait for that. The others come again.
    pub(super) fn leave_undecided(&mut self, id: ConnectionId) {
        let mut first = None;
        for asked in &self.nodes[self.at].questions {
            if let Event::AuthorizePublish { message, .. } = &asked.event
                && asked.counts_for() == Some(id)
            {
                match (super::packets::number_of(message.payload()), message.qos()) {
                    (Some(number), QoS::AtMostOnce) => {
                        first = Some(first.map_or(number, |first: u32| first.min(number)));
                    }
                    _ => self.oracle.leave(message),
                }
            }
        }
        if let Some(first) = first {
            self.oracle.leave_from(first);
        }
    }

    /// Questions whose time is over at the broker that is looked at: an answer changes nothing any more, and what is
    /// asked about is denied.
    pub(super) fn end_questions(&mut self) {
        let (at, now) = (self.at, self.now);
        let questions = &mut self.nodes[at].questions;
        if questions.iter().all(|asked| asked.deadline > now) {
            return;
        }
        let (over, open) = mem::take(questions)
            .into_iter()
            .partition(|asked| asked.deadline <= now);
        *questions = open;
        let over: VecDeque<Asked> = over;
        for asked in over {
            self.coverage.unanswered += 1;
            if self.try_answer(&asked).is_ok() {
                let text = format!("{asked:?} at {now:?}");
                return self.fail("no question is open for longer than its time", text);
            }
            if let Event::AuthorizePublish { message, .. } = &asked.event {
                self.oracle.leave(message);
            }
            if let (Some((client, epoch)), Event::AuthorizeSubscribe { filter, .. }) =
                (asked.again, &asked.event)
            {
                let denied = SubscribeAnswer::Refuse(SubscribeReason::NotAuthorized);
                self.decided_again(client, epoch, filter, &denied);
            }
        }
    }

    /// All that is due is done: nobody waits for an answer whose time is over, or that nobody was asked for.
    pub(super) fn check_questions(&mut self) {
        for at in 0..self.nodes.len() {
            self.at = at;
            self.end_questions();
            let node = &self.nodes[at];
            let (undecided, open) = (node.broker.undecided_len(), node.questions.len());
            if undecided > open {
                let text = format!("{undecided} at {at}, of {open} that may be");
                self.fail("no question is open for longer than its time", text);
            }
        }
    }
}

/// What is thought of a subscription when its turn comes again.
fn on_second_thoughts(number: u64) -> Option<SubscribeAnswer> {
    match number % 4 {
        0 => Some(SubscribeAnswer::Refuse(SubscribeReason::NotAuthorized)),
        1 => Some(SubscribeAnswer::Grant(Grant {
            qos_max: QoS::AtMostOnce,
            ..Grant::default()
        })),
        _ => None,
    }
}

impl Oracle {
    /// A message is not decided on in its turn: it comes behind others, or not.
    fn leave(&mut self, message: &Message) {
        let number = super::packets::number_of(message.payload());
        let known = number.and_then(|number| self.messages.get_mut(number as usize));
        if let Some(known) = known {
            known.was_left = true;
        }
    }

    /// The QoS 0 messages that have come from one client, this one first, go on among themselves, in their order.
    // [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-6]
    fn leave_from(&mut self, first: u32) {
        let mut left = self.messages.iter_mut().skip(first as usize);
        let Some(known) = left.next() else { return };
        let from = known.from;
        known.left_behind = Some(first);
        for known in left {
            if known.from == from && known.qos == QoS::AtMostOnce && known.has_come {
                known.left_behind = Some(first);
            }
        }
    }
}
