//! Decisions that belong to the embedder: who may connect, publish and subscribe.
//!
//! A question is an event with a name, and answered later by a method, so that whoever has to look
//! into a database can. What [`Ask`] does not name is not asked, allowed, and costs nothing.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use mqtt_codec::{
    ConnectReason, DisconnectReason, Message, PublishReason, QoS, SubscribeReason, TopicFilter,
    TopicName,
};

use super::event::{Event, boxed};
use super::sessions::SessionKey;
use super::slab::{Key, Slab};
use super::timers::Timer;
use super::{Broker, ConnectionId};
use crate::server::ConnectRequest;
use crate::{AuthenticationData, CloseCause, Timestamp};

/// Which decisions are asked for. None.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Ask {
    /// [`Event::Authenticate`] for each CONNECT. Needed for enhanced authentication.
    pub connect: bool,
    /// [`Event::AuthorizePublish`] for each PUBLISH and each will.
    pub publish: bool,
    /// [`Event::AuthorizeSubscribe`] for each filter of a SUBSCRIBE.
    pub subscribe: bool,
}

impl Ask {
    /// Whether anything is asked at all.
    pub(super) const fn is_anything(self) -> bool {
        self.connect || self.publish || self.subscribe
    }
}

/// Names the question of one CONNECT, or of one step of an enhanced authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct ConnectDecision(Key);

/// Names the question of one PUBLISH or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct PublishDecision(Key);

/// Names the question of one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct SubscribeDecision(Key);

/// What becomes of a CONNECT or a step of an enhanced authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ConnectAnswer {
    /// It is accepted.
    Allow,
    /// It is accepted, with the last data of an enhanced authentication.
    AllowWith(AuthenticationData),
    /// The client is asked for the next step of its method.
    Ask(Option<AuthenticationData>),
    /// It is refused. On a live connection the client gets DISCONNECT 0x87.
    Refuse(ConnectReason),
}

/// What becomes of a PUBLISH or a will.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum PublishAnswer {
    /// It goes to who wants it.
    Allow,
    /// This one goes in its place: another topic, QoS, RETAIN or properties. The client hears nothing
    /// of that.
    AllowAs(Message),
    /// The client is told, where QoS and version allow it; it goes to nobody.
    Refuse(PublishReason),
    /// It goes to nobody, and the client is not told.
    Drop,
}

/// What becomes of one filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SubscribeAnswer {
    /// It is granted as asked for.
    Allow,
    /// It is granted within limits.
    Grant(Grant),
    /// It is refused.
    Refuse(SubscribeReason),
}

/// Limits of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Grant {
    /// No higher QoS than this. 2.
    pub qos_max: QoS,
    /// What these filters match is not delivered, live or retained. At most 255 levels each; those
    /// that are no filters match nothing. None.
    pub deny: Vec<String>,
}

impl Default for Grant {
    fn default() -> Self {
        Self {
            qos_max: QoS::ExactlyOnce,
            deny: Vec::new(),
        }
    }
}

/// The answer comes too late: the connection is over, or the deadline has passed. Nothing has
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing more to say")]
pub struct Stale;

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the decision is not waited for any more")
    }
}

impl core::error::Error for Stale {}

/// Questions without an answer.
#[derive(Debug)]
pub(super) struct Decisions {
    open: Slab<Open>,
    /// Of what waits for an answer, and behind that.
    bytes: usize,
    /// Connections whose input was not taken because of that.
    refused: BTreeSet<ConnectionId>,
}

#[derive(Debug)]
struct Open {
    question: Question,
    /// When it counts as denied.
    deadline: Timestamp,
}

/// What an answer is about.
#[derive(Debug)]
pub(super) enum Question {
    Connect {
        connection: ConnectionId,
        request: Box<ConnectRequest>,
    },
    /// On a live connection.
    Reauthenticate { connection: ConnectionId },
    /// Something that the connection holds, in its order.
    Held { connection: ConnectionId },
    /// A will, or a QoS 0 message whose connection did not wait for the answer.
    Detached {
        publisher: Option<SessionKey>,
        message: Message,
        is_will: bool,
        /// When it came, or a will was due: its expiry counts from then.
        at: Timestamp,
    },
    /// A subscription that there is already.
    Again {
        session: SessionKey,
        filter: Box<str>,
    },
}

impl Question {
    /// Bytes of what it holds outside of itself.
    fn len_held(&self) -> usize {
        match self {
            Self::Connect { request, .. } => boxed(request),
            Self::Reauthenticate { .. } | Self::Held { .. } => 0,
            Self::Detached { message, .. } => message.len_held(),
            Self::Again { filter, .. } => filter.len(),
        }
    }
}

impl Decisions {
    pub(super) const PLACE_SIZE: usize = Slab::<Open>::PLACE_SIZE;

    pub(super) fn new() -> Self {
        Self {
            open: Slab::new(),
            bytes: 0,
            refused: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Bytes of what waits for an answer, and of what waits behind it.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// So much more waits.
    pub(super) fn note_held(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// So much waits no more.
    pub(super) fn note_done(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Input of this connection was not taken: it is told when that changes.
    #[cold]
    pub(super) fn note_refused(&mut self, id: ConnectionId) {
        self.refused.insert(id);
    }

    fn insert(&mut self, open: Open) -> Option<Key> {
        let bytes = open.question.len_held();
        let key = self.open.insert(open)?;
        self.note_held(bytes);
        Some(key)
    }

    fn take(&mut self, key: Key) -> Option<Open> {
        let open = self.open.remove(key)?;
        self.note_done(open.question.len_held());
        Some(open)
    }

    /// What a question is about has changed.
    fn replace(&mut self, key: Key, question: Question) {
        let Some(open) = self.open.get_mut(key) else {
            return;
        };
        let before = core::mem::replace(&mut open.question, question).len_held();
        let after = open.question.len_held();
        self.note_done(before);
        self.note_held(after);
    }
}

impl Broker {
    /// Answers [`Event::Authenticate`].
    ///
    /// # Errors
    ///
    /// [`Stale`], which is harmless.
    pub fn decide_connect(
        &mut self,
        now: Timestamp,
        decision: ConnectDecision,
        answer: ConnectAnswer,
    ) -> Result<(), Stale> {
        let now = self.begin(now);
        let question = self.close_question(decision.0)?;
        match question {
            Question::Connect {
                connection,
                request,
            } => {
                self.note_question(connection, None);
                // CONNACK says that no older session is there, as when it is not asked about.
                self.answering_for_all(connection, |broker| {
                    broker.answer_connect(now, connection, request, answer);
                });
            }
            Question::Reauthenticate { connection } => {
                self.note_question(connection, None);
                self.answer_reauthenticate(now, connection, answer);
            }
            Question::Held { .. } | Question::Detached { .. } | Question::Again { .. } => {}
        }
        Ok(())
    }

    /// Answers [`Event::AuthorizePublish`]. What came from the same connection before is carried
    /// out before.
    ///
    /// # Errors
    ///
    /// [`Stale`], which is harmless.
    pub fn decide_publish(
        &mut self,
        now: Timestamp,
        decision: PublishDecision,
        answer: PublishAnswer,
    ) -> Result<(), Stale> {
        let now = self.begin(now);
        match self.close_question(decision.0)? {
            Question::Held { connection } => {
                self.answer_held_publish(now, connection, decision, answer);
            }
            Question::Detached {
                publisher,
                message,
                is_will,
                at,
            } => {
                let message = match answer {
                    PublishAnswer::Allow => message,
                    PublishAnswer::AllowAs(message) => message,
                    PublishAnswer::Refuse(_) | PublishAnswer::Drop => return Ok(()),
                };
                if is_will {
                    self.tell_will(publisher, message.topic());
                }
                // That a will is gone may not be stored yet.
                self.depending(|broker| broker.route_message(at, publisher, message, None));
            }
            Question::Connect { .. } | Question::Reauthenticate { .. } | Question::Again { .. } => {
            }
        }
        Ok(())
    }

    /// Answers [`Event::AuthorizeSubscribe`].
    ///
    /// # Errors
    ///
    /// [`Stale`], which is harmless.
    pub fn decide_subscribe(
        &mut self,
        now: Timestamp,
        decision: SubscribeDecision,
        answer: SubscribeAnswer,
    ) -> Result<(), Stale> {
        let now = self.begin(now);
        match self.close_question(decision.0)? {
            Question::Held { connection } => {
                self.answer_held_subscribe(now, connection, decision, answer);
            }
            Question::Again { session, filter } => self.answer_again(session, &filter, answer),
            Question::Connect { .. }
            | Question::Reauthenticate { .. }
            | Question::Detached { .. } => {}
        }
        Ok(())
    }

    /// Takes a subscription away from a client, which is not told: the standard has no packet for
    /// that. Answers whether there was one.
    pub fn revoke(&mut self, client_id: &str, filter: TopicFilter<'_>) -> bool {
        let Some(key) = self.sessions.find(client_id) else {
            return false;
        };
        self.remove_subscription(key, filter)
    }

    /// Asks again about every subscription of a client, with an [`Event::AuthorizeSubscribe`] for
    /// each: what is refused then is taken away. Answers how many questions that are: fewer than
    /// there are subscriptions where [`Config::decisions_max`](super::Config::decisions_max) is reached.
    pub fn reauthorize(&mut self, now: Timestamp, client_id: &str) -> usize {
        let now = self.begin(now);
        let Some(key) = self.sessions.find(client_id) else {
            return 0;
        };
        let held = self.subscriptions_of(key);
        let connection = self.sessions.get(key).and_then(|entry| entry.connection);
        let (peer, owner) = (self.peer_of(connection), self.owner_of(Some(key)));
        let mut asked = 0_usize;
        for (filter, options) in held {
            let question = Question::Again {
                session: key,
                filter: filter.clone().into(),
            };
            if let Some(decision) = self.open_question(now, question) {
                asked = asked.saturating_add(1);
                self.events.ask(Event::AuthorizeSubscribe {
                    decision: SubscribeDecision(decision),
                    connection,
                    peer: Arc::clone(&peer),
                    owner: owner.clone(),
                    client_id: client_id.into(),
                    filter,
                    options,
                });
            }
        }
        asked
    }

    /// Asks who may connect.
    pub(super) fn ask_connect(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        request: Box<ConnectRequest>,
    ) -> Result<(), CloseCause> {
        let shown = request.clone();
        let question = Question::Connect {
            connection,
            request,
        };
        let decision = self.open_question(now, question);
        let decision = decision.ok_or(CloseCause::Refused(ConnectReason::ServerBusy))?;
        self.note_question(connection, Some(decision));
        self.events.ask(Event::Authenticate {
            decision: ConnectDecision(decision),
            connection,
            peer: self.peer_of(Some(connection)),
            request: shown,
        });
        Ok(())
    }

    /// A step of an enhanced authentication has come.
    pub(super) fn ask_step(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        data: Option<AuthenticationData>,
    ) -> Result<(), CloseCause> {
        let request = self.connections.get_mut(connection);
        let request = request.and_then(|connection| connection.request.take());
        let question = match request {
            Some(request) => Question::Connect {
                connection,
                request,
            },
            None => Question::Reauthenticate { connection },
        };
        let busy = CloseCause::Disconnected(DisconnectReason::ServerBusy);
        let decision = self.open_question(now, question).ok_or(busy)?;
        self.note_question(connection, Some(decision));
        self.events.ask(Event::AuthenticateStep {
            decision: ConnectDecision(decision),
            connection,
            peer: self.peer_of(Some(connection)),
            data,
        });
        Ok(())
    }

    /// Asks about a message that no connection waits with.
    pub(super) fn ask_detached(
        &mut self,
        now: Timestamp,
        publisher: Option<SessionKey>,
        message: Message,
        is_will: bool,
    ) {
        let entry = publisher.and_then(|key| self.sessions.get(key));
        let client_id = entry.map_or_else(Box::default, |entry| entry.client_id.clone());
        let peer = entry.and_then(|entry| entry.will_peer.clone());
        let peer = peer.unwrap_or_else(|| Arc::clone(&self.nobody));
        let owner = self.owner_of(publisher);
        let shown = message.clone();
        let question = Question::Detached {
            publisher,
            message,
            is_will,
            at: now,
        };
        if let Some(decision) = self.open_question(now, question) {
            self.events.ask(Event::AuthorizePublish {
                decision: PublishDecision(decision),
                connection: None,
                peer,
                owner,
                client_id,
                message: shown,
                is_will,
            });
        } else {
            let topic = String::from(shown.topic().as_str());
            self.events.push(Event::Refused { client_id, topic });
        }
    }

    /// The connection that a message came on is gone: the question about it stays.
    pub(super) fn detach(
        &mut self,
        decision: PublishDecision,
        publisher: Option<SessionKey>,
        message: Message,
        at: Timestamp,
    ) {
        let question = Question::Detached {
            publisher,
            message,
            is_will: false,
            at,
        };
        self.decisions.replace(decision.0, question);
    }

    /// Whose CONNECT, or step of an authentication, waits for this answer.
    fn note_question(&mut self, id: ConnectionId, question: Option<Key>) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.question = question;
        }
    }

    /// Asks about a message that its connection holds.
    pub(super) fn ask_publish(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        client_id: Box<str>,
        message: &Message,
    ) -> Option<PublishDecision> {
        let decision = self.open_question(now, Question::Held { connection })?;
        let decision = PublishDecision(decision);
        self.events.ask(Event::AuthorizePublish {
            decision,
            connection: Some(connection),
            peer: self.peer_of(Some(connection)),
            owner: self.owner_of(self.session_key(connection)),
            client_id,
            message: message.clone(),
            is_will: false,
        });
        Some(decision)
    }

    /// Asks about a filter of a SUBSCRIBE that its connection holds.
    pub(super) fn ask_subscribe(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        client_id: Box<str>,
        filter: String,
        options: mqtt_codec::SubscriptionOptions,
    ) -> Option<SubscribeDecision> {
        let decision = self.open_question(now, Question::Held { connection })?;
        let decision = SubscribeDecision(decision);
        self.events.ask(Event::AuthorizeSubscribe {
            decision,
            connection: Some(connection),
            peer: self.peer_of(Some(connection)),
            owner: self.owner_of(self.session_key(connection)),
            client_id,
            filter,
            options,
        });
        Some(decision)
    }

    /// Nobody waits for these answers any more.
    pub(super) fn forget_question(&mut self, key: Key) {
        if let Some(open) = self.decisions.take(key) {
            self.timers.cancel(open.deadline, Timer::Decision(key));
            self.go_on_asking();
        }
    }

    /// The deadline of a question has passed: denied.
    pub(super) fn question_expired(&mut self, now: Timestamp, key: Key) {
        let Some(open) = self.decisions.open.get(key) else {
            return;
        };
        let is_publish = match &open.question {
            Question::Connect { .. } | Question::Reauthenticate { .. } => {
                let refusal = ConnectAnswer::Refuse(ConnectReason::NotAuthorized);
                let _open = self.decide_connect(now, ConnectDecision(key), refusal);
                return;
            }
            Question::Held { connection } => self.holds_publish(*connection, PublishDecision(key)),
            Question::Detached { .. } => true,
            Question::Again { .. } => false,
        };
        // It was there a moment ago.
        let _open = if is_publish {
            let refusal = PublishAnswer::Refuse(PublishReason::NotAuthorized);
            self.decide_publish(now, PublishDecision(key), refusal)
        } else {
            let refusal = SubscribeAnswer::Refuse(SubscribeReason::NotAuthorized);
            self.decide_subscribe(now, SubscribeDecision(key), refusal)
        };
    }

    /// Whether so much waits for answers that nothing more is taken of clients that may have to be
    /// asked about.
    pub(super) fn asks_too_much(&self) -> bool {
        let bytes = self.decisions.bytes();
        bytes > 0 && bytes >= self.config.held_bytes_max
    }

    /// Something waits no more: input that was not taken may be taken now.
    pub(super) fn go_on_asking(&mut self) {
        if self.decisions.refused.is_empty() || self.asks_too_much() {
            return;
        }
        for id in core::mem::take(&mut self.decisions.refused) {
            self.connections.mark_ready(id);
        }
    }

    fn open_question(&mut self, now: Timestamp, question: Question) -> Option<Key> {
        let deadline = now + self.config.decision_timeout;
        if self.decisions.len() >= self.config.decisions_max {
            return None;
        }
        let open = Open { question, deadline };
        let key = self.decisions.insert(open)?;
        self.timers.set(deadline, Timer::Decision(key));
        Some(key)
    }

    fn close_question(&mut self, key: Key) -> Result<Question, Stale> {
        let open = self.decisions.take(key).ok_or(Stale)?;
        self.timers.cancel(open.deadline, Timer::Decision(key));
        self.go_on_asking();
        Ok(open.question)
    }

    fn answer_connect(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        request: Box<ConnectRequest>,
        answer: ConnectAnswer,
    ) {
        let outcome = match answer {
            ConnectAnswer::Allow => self.admit(now, id, *request, None),
            ConnectAnswer::AllowWith(data) => self.admit(now, id, *request, Some(data)),
            ConnectAnswer::Ask(data) => self.ask_client(now, id, Some(request), data.as_ref()),
            ConnectAnswer::Refuse(reason) => Err(CloseCause::Refused(reason)),
        };
        self.conclude(now, id, outcome);
    }

    fn answer_reauthenticate(&mut self, now: Timestamp, id: ConnectionId, answer: ConnectAnswer) {
        let data = match &answer {
            ConnectAnswer::AllowWith(data) => Some(data),
            ConnectAnswer::Allow | ConnectAnswer::Ask(_) | ConnectAnswer::Refuse(_) => None,
        };
        let outcome = match &answer {
            ConnectAnswer::Allow | ConnectAnswer::AllowWith(_) => {
                let connection = self.connections.get_mut(id);
                let sent = connection.map_or(Ok(()), |it| it.link.reauthenticated(data));
                sent.map_err(|_| CloseCause::AnswerTooLarge)
            }
            ConnectAnswer::Ask(data) => self.ask_client(now, id, None, data.as_ref()),
            // [5:MQTT-4.12.1-2] A failure ends the connection.
            ConnectAnswer::Refuse(_) => {
                let reason = DisconnectReason::NotAuthorized;
                Err(CloseCause::Disconnected(reason))
            }
        };
        self.conclude(now, id, outcome);
    }

    /// AUTH with 0x18; the request waits for what the client answers.
    fn ask_client(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        request: Option<Box<ConnectRequest>>,
        data: Option<&AuthenticationData>,
    ) -> Result<(), CloseCause> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(());
        };
        connection.request = request;
        let asked = connection.link.ask(now, data, &self.config.server);
        asked.map_err(|_| CloseCause::AnswerTooLarge)
    }

    /// After an answer: what has to go out, and whether the connection goes on.
    pub(super) fn conclude(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        outcome: Result<(), CloseCause>,
    ) {
        if let Err(cause) = outcome {
            self.end_connection(now, id, cause, None);
        }
        self.settle(id);
        self.go_on_asking();
        // Input that was not taken while the answer was missing may be taken now.
        self.connections.mark_ready(id);
    }

    fn tell_will(&mut self, publisher: Option<SessionKey>, topic: TopicName<'_>) {
        let entry = publisher.and_then(|key| self.sessions.get(key));
        let client_id = entry.map_or_else(Box::default, |entry| entry.client_id.clone());
        let topic = String::from(topic.as_str());
        self.events.push(Event::WillPublished { client_id, topic });
    }
}

impl PublishDecision {
    pub(super) const fn key(self) -> Key {
        self.0
    }
}

impl SubscribeDecision {
    pub(super) const fn key(self) -> Key {
        self.0
    }
}
