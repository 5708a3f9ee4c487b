//! The embedder's answers, and what they bring about.

use alloc::boxed::Box;
use alloc::string::String;

use mqtt_codec::{ConnectReason, DisconnectReason, TopicFilter};

use super::{
    ConnectAnswer, ConnectDecision, PublishAnswer, PublishDecision, Question, Stale,
    SubscribeAnswer, SubscribeDecision,
};
use crate::broker::event::Event;
use crate::broker::routing::is_reserved;
use crate::broker::{Broker, ConnectionId};
use crate::counted::Arc;
use crate::server::ConnectRequest;
use crate::{AuthenticationData, CloseCause, Timestamp};

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
        self.answer_connect_question(now, decision, answer)
    }

    /// The same in the middle of a call, which has its steps already.
    pub(super) fn answer_connect_question(
        &mut self,
        now: Timestamp,
        decision: ConnectDecision,
        answer: ConnectAnswer,
    ) -> Result<(), Stale> {
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
            Question::Held { .. }
            | Question::Left { .. }
            | Question::Will { .. }
            | Question::Again { .. } => {}
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
        self.answer_publish_question(now, decision, answer)
    }

    /// The same in the middle of a call, which has its steps already.
    pub(super) fn answer_publish_question(
        &mut self,
        now: Timestamp,
        decision: PublishDecision,
        answer: PublishAnswer,
    ) -> Result<(), Stale> {
        match self.close_question(decision.0)? {
            Question::Held { connection } => {
                self.answer_held_publish(now, connection, decision, answer);
            }
            Question::Left { left } => self.answer_left(left, decision, answer),
            Question::Will {
                publisher,
                client_id,
                message,
                at,
            } => {
                let message = match answer {
                    PublishAnswer::Allow => message,
                    PublishAnswer::AllowAs(message) => message,
                    PublishAnswer::Refuse(_) | PublishAnswer::Drop => return Ok(()),
                };
                let topic = String::from(message.topic().as_str());
                // The broker speaks there, and no client after its end either.
                if is_reserved(message.topic()) {
                    self.events.push(Event::Refused { client_id, topic });
                    return Ok(());
                }
                if self.has_room_to_route(&message) {
                    self.events.push(Event::WillPublished { client_id, topic });
                }
                // That a will is gone may not be stored yet.
                self.depending(|broker| broker.route_message(at, Some(publisher), message, None));
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
        self.answer_subscribe_question(now, decision, answer)
    }

    /// The same in the middle of a call, which has its steps already.
    pub(super) fn answer_subscribe_question(
        &mut self,
        now: Timestamp,
        decision: SubscribeDecision,
        answer: SubscribeAnswer,
    ) -> Result<(), Stale> {
        match self.close_question(decision.0)? {
            Question::Held { connection } => {
                self.answer_held_subscribe(now, connection, decision, answer);
            }
            Question::Again { session, filter } => self.answer_again(session, &filter, answer),
            Question::Connect { .. }
            | Question::Reauthenticate { .. }
            | Question::Left { .. }
            | Question::Will { .. } => {}
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
    /// there are subscriptions where [`Config::decisions_max`](crate::broker::Config::decisions_max) is reached.
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
        // [5:MQTT-4.12.0-6] Without a method in CONNECT there is no AUTH.
        if !connection.link.awaits_authentication() {
            return Err(CloseCause::Refused(ConnectReason::NotAuthorized));
        }
        connection.request = request;
        let asked = connection.link.ask(now, data, &self.config.server);
        asked.map_err(|_| CloseCause::AnswerTooLarge)
    }

    /// After an answer: what has to go out, and whether the connection goes on.
    pub(in crate::broker) fn conclude(
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
        self.connections.mark_open(id);
    }
}
