//! What the machine asks about, answered by the password file and the rules.

use mqtt_codec::{ConnectReason, PublishReason, SubscribeReason, TopicFilter};
use mqtt_state::Timestamp;
use mqtt_state::broker::{ConnectAnswer, ConnectDecision, Event, PublishAnswer, SubscribeAnswer};
use mqtt_state::server::ConnectRequest;
use tokio::task::spawn_blocking;

use super::{Server, State};

impl Server {
    /// Answers a question.
    pub(super) fn decide(&self, state: &mut State, now: Timestamp, event: Event) {
        match event {
            Event::Authenticate {
                decision, request, ..
            } => self.check_password(decision, *request),
            Event::AuthorizePublish {
                decision,
                owner,
                client_id,
                message,
                ..
            } => {
                let access = &self.shared.access;
                let user = access.user(owner.as_deref());
                let answer = match access.may_publish(user, &client_id, message.topic()) {
                    true => PublishAnswer::Allow,
                    false => PublishAnswer::Refuse(PublishReason::NotAuthorized),
                };
                let _late = state.broker.decide_publish(now, decision, answer);
            }
            Event::AuthorizeSubscribe {
                decision,
                owner,
                client_id,
                filter,
                ..
            } => {
                let access = &self.shared.access;
                let user = access.user(owner.as_deref());
                let refusal = match TopicFilter::new(&filter) {
                    Ok(filter) => access.refusal(user, &client_id, filter),
                    Err(_) => Some(SubscribeReason::TopicFilterInvalid),
                };
                let answer = refusal.map_or(SubscribeAnswer::Allow, SubscribeAnswer::Refuse);
                let _late = state.broker.decide_subscribe(now, decision, answer);
            }
            _report => {}
        }
    }

    /// Away from the machine, as it takes its time.
    fn check_password(&self, decision: ConnectDecision, request: ConnectRequest) {
        let server = self.clone();
        spawn_blocking(move || {
            let (user, password) = (request.user_name, request.password);
            let access = &server.shared.access;
            let may = access.may_connect(user.as_deref(), password.as_deref());
            server.locked(|state| {
                let answer = match may {
                    true => ConnectAnswer::Allow,
                    false => ConnectAnswer::Refuse(ConnectReason::NotAuthorized),
                };
                let now = server.shared.clock.now();
                let _late = state.broker.decide_connect(now, decision, answer);
            });
        });
    }
}
