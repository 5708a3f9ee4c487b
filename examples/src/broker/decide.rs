//! What the machine asks about, answered by the password file and the rules.

use mqtt_codec::{ConnectReason, PublishReason, SubscribeReason, TopicFilter};
use mqtt_state::Timestamp;
use mqtt_state::broker::{
    ConnectAnswer, ConnectDecision, ConnectionId, Event, PublishAnswer, SubscribeAnswer,
};
use mqtt_state::server::ConnectRequest;
use tokio::task::spawn_blocking;

use super::{Server, State};

impl Server {
    /// Answers a question, and remembers who is who.
    pub(super) fn decide(&self, state: &mut State, now: Timestamp, event: Event) {
        match event {
            Event::Authenticate {
                decision,
                connection,
                request,
                ..
            } => self.check_password(decision, connection, *request),
            Event::AuthorizePublish {
                decision,
                client_id,
                message,
                ..
            } => {
                let user = state.users.get(&client_id).map(String::as_str);
                let access = &self.shared.access;
                let answer = match access.may_publish(user, &client_id, message.topic()) {
                    true => PublishAnswer::Allow,
                    false => PublishAnswer::Refuse(PublishReason::NotAuthorized),
                };
                let _late = state.broker.decide_publish(now, decision, answer);
            }
            Event::AuthorizeSubscribe {
                decision,
                client_id,
                filter,
                ..
            } => {
                let user = state.users.get(&client_id).map(String::as_str);
                let refusal = match TopicFilter::new(&filter) {
                    Ok(filter) => self.shared.access.refusal(user, &client_id, filter),
                    Err(_) => Some(SubscribeReason::TopicFilterInvalid),
                };
                let answer = refusal.map_or(SubscribeAnswer::Allow, SubscribeAnswer::Refuse);
                let _late = state.broker.decide_subscribe(now, decision, answer);
            }
            // A session belongs to whom it was opened by last.
            Event::Connected {
                connection,
                client_id,
                ..
            } => match state.logins.remove(&connection) {
                Some(user) => {
                    state.users.insert(client_id, user);
                }
                None => {
                    state.users.remove(&client_id);
                }
            },
            Event::Closed { connection, .. } => {
                state.logins.remove(&connection);
            }
            Event::SessionEnded { client_id } => {
                state.users.remove(&client_id);
            }
            _report => {}
        }
    }

    /// Away from the machine, as it takes its time.
    fn check_password(
        &self,
        decision: ConnectDecision,
        connection: ConnectionId,
        request: ConnectRequest,
    ) {
        let server = self.clone();
        spawn_blocking(move || {
            let (user, password) = (request.user_name, request.password);
            let access = &server.shared.access;
            let may = access.may_connect(user.as_deref(), password.as_deref());
            let user = user.filter(|_| may && access.knows_users());
            server.locked(|state| {
                if let Some(user) = user {
                    state.logins.insert(connection, user);
                }
                let answer = match may {
                    true => ConnectAnswer::Allow,
                    false => ConnectAnswer::Refuse(ConnectReason::NotAuthorized),
                };
                let now = server.shared.clock.now();
                if state.broker.decide_connect(now, decision, answer).is_err() {
                    state.logins.remove(&connection);
                }
            });
        });
    }
}
