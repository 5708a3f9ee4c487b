//! What the machine asks about, answered by the password file and the rules.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mqtt_codec::{ConnectReason, PublishReason, SubscribeReason, TopicFilter};
use mqtt_state::Timestamp;
use mqtt_state::broker::{ConnectAnswer, ConnectDecision, Event, PublishAnswer, SubscribeAnswer};
use mqtt_state::server::ConnectRequest;
use tokio::task::spawn_blocking;

use super::{Peer, Server, State};

impl Server {
    /// Answers a question.
    pub(super) fn decide(&self, state: &mut State, now: Timestamp, event: Event) {
        match event {
            Event::Authenticate {
                decision,
                connection,
                request,
                ..
            } => {
                let user = request.user_name.as_deref();
                if state.access.is_slow(user) {
                    if let Some(peer) = state.peers.get(&connection) {
                        self.check_password(decision, *request, Arc::clone(peer));
                    }
                } else {
                    let may = state.access.may_connect(user, None);
                    let _late = state.broker.decide_connect(now, decision, answer(may));
                }
            }
            Event::AuthorizePublish {
                decision,
                owner,
                client_id,
                message,
                ..
            } => {
                let access = &state.access;
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
                let access = &state.access;
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

    /// Away from the machine, as it takes its time, and not more of them at once than there are cores: what
    /// each costs would add up to more than there is. Who has left before it is his turn is not checked. Where
    /// the files were read again meanwhile, the answer by those before is none.
    fn check_password(&self, decision: ConnectDecision, request: ConnectRequest, peer: Arc<Peer>) {
        let server = self.clone();
        tokio::spawn(async move {
            let Ok(_turn) = server.shared.checks.acquire().await else {
                return;
            };
            let request = Arc::new(request);
            let mut access = server.locked(|state| Arc::clone(&state.access));
            while !peer.is_over.load(Ordering::Relaxed) {
                let (by, said) = (Arc::clone(&access), Arc::clone(&request));
                let check = spawn_blocking(move || {
                    by.may_connect(said.user_name.as_deref(), said.password.as_deref())
                });
                let may = check.await.unwrap_or(false);
                let now = server.shared.clock.now();
                let newer = server.locked(|state| {
                    if !Arc::ptr_eq(&access, &state.access) {
                        return Some(Arc::clone(&state.access));
                    }
                    let _late = state.broker.decide_connect(now, decision, answer(may));
                    None
                });
                match newer {
                    Some(newer) => access = newer,
                    None => return,
                }
            }
        });
    }
}

fn answer(may: bool) -> ConnectAnswer {
    match may {
        true => ConnectAnswer::Allow,
        false => ConnectAnswer::Refuse(ConnectReason::NotAuthorized),
    }
}
