//! What is read again while the broker runs, when it gets SIGHUP, and what follows from it for those who are there.
//!
//! Files of passwords and of rules, certificates, and the settings about them are in force at once. All of it is
//! read before anything is: where something is wrong, nothing changes. Then
//!
//! - who comes is judged by what is new, as is every message that somebody publishes, and every will;
//! - who is connected, and would not be let in any more or has another password by now, is sent away;
//! - who has a subscription that would be refused now loses it, also while away. The standard has no packet to say
//!   so. What waits for him already, from before, still goes to him;
//! - TLS connections go on with the certificates they began with.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use mqtt_codec::{DisconnectReason, TopicFilter};
use mqtt_state::Timestamp;
use mqtt_state::broker::{Ask, ConnectionId};
use serde_json::Value;
use tokio::task::{spawn_blocking, yield_now};

use super::listen::Certificates;
use super::options::{Again, Options, Plan};
use super::report::tell;
use super::{Server, State};
use crate::access::Access;

/// What it takes to read everything again.
#[derive(Debug)]
pub struct Reload {
    options: Options,
    /// The settings that are in force until the program ends.
    others: Value,
    /// What the broker asks about, until then.
    asks: Ask,
    /// Whether names mean something: those who are there have theirs from when they came.
    has_names: bool,
    certificates: Option<Certificates>,
}

/// A session, and the connection that used it when the files were read.
type There = (Box<str>, Option<ConnectionId>);

/// What has followed for those who were there.
#[derive(Debug, Default)]
struct Followed {
    sent_away: usize,
    taken_away: usize,
}

impl Reload {
    /// For a broker that is run with what these options said.
    pub fn new(options: Options, plan: &Plan) -> Self {
        Self {
            options,
            others: plan.others.clone(),
            asks: plan.access.questions(),
            has_names: plan.access.passwords.is_some(),
            certificates: plan.certificates.clone(),
        }
    }

    fn read(&self) -> anyhow::Result<Again> {
        let again = self.options.again()?;
        let Ask {
            connect,
            publish,
            subscribe,
        } = again.access.questions();
        // Whoever is not asked about anything is not answered by any rule.
        ensure!(
            (self.asks.connect || !connect)
                && (self.asks.publish || !publish)
                && (self.asks.subscribe || !subscribe),
            "rules for what there were none for at the start need a restart"
        );
        ensure!(
            self.has_names == again.access.passwords.is_some(),
            "whether there is a password file is decided at the start"
        );
        Ok(again)
    }

    /// The names of those settings that have changed, and cannot be in force.
    fn changed<'n>(&self, others: &'n Value) -> Vec<&'n str> {
        let names = others.as_object().into_iter().flatten();
        names
            .filter(|(name, value)| self.others.get(name) != Some(value))
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

impl Server {
    /// Reads everything again, and tells what has come of it.
    pub async fn read_again(&self, reload: &Arc<Reload>) {
        let reading = Arc::clone(reload);
        let read = spawn_blocking(move || reading.read()).await;
        let again = match read.context("cannot be read").and_then(|read| read) {
            Ok(again) => again,
            Err(error) => return self.tell(&format!("nothing has changed: {error:#}")),
        };
        if again.files.is_empty() {
            return self.tell("there is no file to read again");
        }
        if let (Some(certificates), Some(tls)) = (&reload.certificates, again.tls) {
            certificates.replace(tls);
        }
        let Followed {
            sent_away,
            taken_away,
        } = self.put_in_force(again.access).await;
        let changed = reload.changed(&again.others);
        if !changed.is_empty() {
            let names = changed.join(", ");
            self.tell(&format!("needs a restart to be in force: {names}"));
        }
        let files = again.files.join(", ");
        self.tell(&format!(
            "read again: {files}; clients sent away: {sent_away}, subscriptions taken away: {taken_away}"
        ));
    }

    fn tell(&self, text: &str) {
        tell(self.shared.clock.now(), text);
    }

    /// From here on others may do other things. Those who were there before are looked at one after the other,
    /// with room for everybody else in between.
    async fn put_in_force(&self, access: Access) -> Followed {
        let access = Arc::new(access);
        let (before, all) = self.locked(|state| {
            let sessions = state.broker.sessions();
            let all: Vec<There> = sessions
                .map(|session| (session.client_id.into(), session.connection))
                .collect();
            (std::mem::replace(&mut state.access, access), all)
        });
        let mut followed = Followed::default();
        for there in all {
            let now = self.shared.clock.now();
            self.locked(|state| state.judge(now, &before, &there, &mut followed));
            yield_now().await;
        }
        followed
    }
}

impl State {
    /// What is in force now, for somebody who was there before.
    fn judge(
        &mut self,
        now: Timestamp,
        before: &Access,
        (client_id, connection): &There,
        followed: &mut Followed,
    ) {
        let Some(session) = self.broker.session(client_id) else {
            return;
        };
        let name = session.owner.and_then(|owner| owner.user_name.as_deref());
        // Who has come meanwhile was let in by what is new.
        let leaves = connection
            .filter(|id| session.connection == Some(*id))
            .filter(|_| !self.access.may_stay(before, name));
        let user = self.access.user(session.owner);
        let mut refused = Vec::new();
        for (text, _) in self.broker.subscriptions(client_id) {
            let filter = TopicFilter::new(&text).ok();
            if filter.is_none_or(|filter| self.access.refusal(user, client_id, filter).is_some()) {
                refused.push(text);
            }
        }
        for text in &refused {
            if let Ok(filter) = TopicFilter::new(text)
                && self.broker.revoke(client_id, filter)
            {
                followed.taken_away += 1;
            }
        }
        if let Some(id) = leaves {
            let reason = DisconnectReason::NotAuthorized;
            self.broker.disconnect(now, id, reason);
            followed.sent_away += 1;
        }
    }
}
