//! Who may connect, publish and subscribe: files, and what they say. No connections and no time.

pub mod acl;
pub mod password;

use mqtt_codec::{SubscribeReason, TopicFilter, TopicName};
use mqtt_state::broker::{Ask, Owner};

use self::acl::{Acl, DenySubscribe};
use self::password::Passwords;

/// Everything that a broker is told about access. By default everybody may do everything.
#[derive(Debug, Default)]
pub struct Access {
    /// A client without a user name is not taken.
    pub deny_anonymous: bool,
    /// Who may connect.
    pub passwords: Option<Passwords>,
    /// Who may do what.
    pub acl: Option<Acl>,
    /// What nobody may subscribe to.
    pub deny_subscribe: Option<DenySubscribe>,
}

impl Access {
    /// What there is to ask about: nothing else is, and costs nothing.
    pub fn questions(&self) -> Ask {
        Ask {
            connect: self.deny_anonymous || self.passwords.is_some() || self.acl.is_some(),
            publish: self.acl.is_some(),
            subscribe: self.acl.is_some() || self.deny_subscribe.is_some(),
        }
    }

    /// Whether it takes a hash to answer if somebody may connect.
    pub fn is_slow(&self, user: Option<&str>) -> bool {
        user.is_some() && self.passwords.is_some()
    }

    /// Whether somebody may connect. Slow on purpose, as a good hash of a password is.
    pub fn may_connect(&self, user: Option<&str>, password: Option<&[u8]>) -> bool {
        match (user, &self.passwords) {
            (None, _) => !self.deny_anonymous,
            (Some(user), Some(passwords)) => passwords.verify(user, password.unwrap_or_default()),
            // A name that nobody can check is as good as none.
            (Some(_), None) => !self.deny_anonymous,
        }
    }

    /// Whether somebody who was let in by other files would be let in by these. A password that is another one
    /// by now may have been one that others knew: who has the new one comes back with it.
    pub fn may_stay(&self, before: &Self, user: Option<&str>) -> bool {
        match (user, &self.passwords) {
            (Some(user), Some(passwords)) => {
                let before = before.passwords.as_ref();
                before.is_some_and(|before| passwords.has_same(before, user))
            }
            _ => !self.deny_anonymous,
        }
    }

    /// The user whose session it is. Only a name that was checked counts.
    pub fn user<'o>(&self, owner: Option<&'o Owner>) -> Option<&'o str> {
        let name = owner?.user_name.as_deref();
        name.filter(|_| self.passwords.is_some())
    }

    /// Whether a client may publish to a topic.
    pub fn may_publish(&self, user: Option<&str>, client_id: &str, topic: TopicName<'_>) -> bool {
        let acl = self.acl.as_ref();
        acl.is_none_or(|acl| acl.may_publish(user, client_id, topic))
    }

    /// Why a client may not subscribe to a filter; `None` when it may.
    pub fn refusal(
        &self,
        user: Option<&str>,
        client_id: &str,
        filter: TopicFilter<'_>,
    ) -> Option<SubscribeReason> {
        let rule = self.deny_subscribe.as_ref();
        if let Some(reason) = rule.and_then(|rule| rule.refuses(filter)) {
            return Some(reason);
        }
        let acl = self.acl.as_ref();
        let may = acl.is_none_or(|acl| acl.may_subscribe(user, client_id, filter));
        (!may).then_some(SubscribeReason::NotAuthorized)
    }
}
