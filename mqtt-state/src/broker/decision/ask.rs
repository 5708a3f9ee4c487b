//! Questions, from when they are asked until they are answered, forgotten or too old.

use alloc::boxed::Box;
use alloc::string::String;

use mqtt_codec::{ConnectReason, DisconnectReason, Message, PublishReason, SubscribeReason};

use super::{
    ConnectAnswer, ConnectDecision, Open, PublishAnswer, PublishDecision, Question, Stale,
    SubscribeAnswer, SubscribeDecision,
};
use crate::broker::event::Event;
use crate::broker::sessions::SessionKey;
use crate::broker::slab::Key;
use crate::broker::timers::Timer;
use crate::broker::{Broker, ConnectionId, Peer};
use crate::counted::Arc;
use crate::server::ConnectRequest;
use crate::{AuthenticationData, CloseCause, Timestamp};

impl Broker {
    /// Asks who may connect.
    pub(in crate::broker) fn ask_connect(
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
    pub(in crate::broker) fn ask_step(
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

    /// Asks about the will that a client on its way out has left.
    pub(in crate::broker) fn ask_about_will(
        &mut self,
        now: Timestamp,
        key: SessionKey,
        peer: Option<Arc<Peer>>,
        will: Message,
    ) {
        let client_id = self.sessions.client_id(Some(key));
        let peer = peer.unwrap_or_else(|| Arc::clone(&self.nobody));
        let owner = self.owner_of(Some(key));
        let shown = will.clone();
        let question = Question::Will {
            publisher: key,
            client_id: client_id.clone(),
            message: will,
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
                is_will: true,
            });
        } else {
            let topic = String::from(shown.topic().as_str());
            self.events.push(Event::Refused { client_id, topic });
        }
    }

    /// Whose CONNECT, or step of an authentication, waits for this answer.
    pub(super) fn note_question(&mut self, id: ConnectionId, question: Option<Key>) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.question = question;
        }
    }

    /// Asks about a message that its connection holds.
    pub(in crate::broker) fn ask_publish(
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
    pub(in crate::broker) fn ask_subscribe(
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
    pub(in crate::broker) fn forget_question(&mut self, key: Key) {
        let _question = self.close_question(key);
    }

    /// The deadline of a question has passed: denied.
    pub(in crate::broker) fn question_expired(&mut self, now: Timestamp, key: Key) {
        let Some(open) = self.decisions.open.get(key) else {
            return;
        };
        let is_publish = match &open.question {
            Question::Connect { .. } | Question::Reauthenticate { .. } => {
                let refusal = ConnectAnswer::Refuse(ConnectReason::NotAuthorized);
                let _open = self.answer_connect_question(now, ConnectDecision(key), refusal);
                return;
            }
            Question::Held { connection } => self.holds_publish(*connection, PublishDecision(key)),
            Question::Left { .. } | Question::Will { .. } => true,
            Question::Again { .. } => false,
        };
        // It was there a moment ago.
        let _open = if is_publish {
            let refusal = PublishAnswer::Refuse(PublishReason::NotAuthorized);
            self.answer_publish_question(now, PublishDecision(key), refusal)
        } else {
            let refusal = SubscribeAnswer::Refuse(SubscribeReason::NotAuthorized);
            self.answer_subscribe_question(now, SubscribeDecision(key), refusal)
        };
    }

    /// Whether so much waits for answers that nothing more is taken of clients that may have to be
    /// asked about.
    pub(in crate::broker) fn asks_too_much(&self) -> bool {
        let bytes = self.decisions.bytes();
        bytes > 0 && bytes >= self.config.held_bytes_max
    }

    /// Something waits no more: input that was not taken may be taken now.
    pub(in crate::broker) fn go_on_asking(&mut self) {
        if self.decisions.refused.is_empty() || self.asks_too_much() {
            return;
        }
        for id in core::mem::take(&mut self.decisions.refused) {
            self.connections.mark_open(id);
        }
    }

    pub(super) fn open_question(&mut self, now: Timestamp, question: Question) -> Option<Key> {
        let deadline = now + self.config.decision_timeout;
        if self.decisions.len() >= self.config.decisions_max {
            return None;
        }
        let open = Open { question, deadline };
        let key = self.decisions.insert(open)?;
        self.timers.set(deadline, Timer::Decision(key));
        Some(key)
    }

    pub(super) fn close_question(&mut self, key: Key) -> Result<Question, Stale> {
        let open = self.decisions.take(key).ok_or(Stale)?;
        self.timers.cancel(open.deadline, Timer::Decision(key));
        self.go_on_asking();
        Ok(open.question)
    }
}
