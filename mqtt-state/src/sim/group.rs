//! Shared subscriptions: each message of a group goes to one of its members.

use alloc::collections::BTreeSet;
use alloc::format;

use mqtt_codec::QoS;

use super::oracle::Oracle;
use super::sessions::{Membership, Session};
use super::watch::Broken;
use crate::Timestamp;

/// What has to become of the messages at which there is a group, and nobody else.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Acknowledged towards their publishers, and got by nobody.
    must: BTreeSet<u32>,
}

/// Whether a topic is that of a group.
pub(super) fn is_shared(topic: &str) -> bool {
    topic.starts_with("s/")
}

/// Whether some member gets a message for certain, whoever it is.
pub(super) fn is_certain(sessions: &[Session], topic: &str) -> bool {
    let mut some = false;
    sessions
        .iter()
        .all(|session| match session.membership(topic) {
            Membership::Not => true,
            Membership::Sure(qos) => {
                some = true;
                qos > QoS::AtMostOnce
            }
            Membership::Perhaps => false,
        })
        && some
}

impl Group {
    /// The publisher knows that the broker has it.
    pub(super) fn owe(&mut self, number: u32) {
        self.must.insert(number);
    }

    /// A member has got it, or it is known that nobody will.
    pub(super) fn settle(&mut self, number: u32) {
        self.must.remove(&number);
    }

    /// The broker has said that it drops messages.
    pub(super) fn waive(&mut self, of: impl Fn(u32) -> bool) {
        self.must.retain(|number| !of(*number));
    }

    /// A session has ended. What it was to get and was not sent yet goes to another one, if there is
    /// one; what was sent may be lost with it.
    // [5:MQTT-4.8.2-5]
    pub(super) fn end_session(&mut self, oracle: &mut Oracle, sessions: &[Session]) {
        oracle.end_member(sessions);
        self.must.retain(|number| {
            let known = oracle.get(*number);
            known.is_some_and(|it| it.holders.is_empty() && is_certain(sessions, &it.topic))
        });
    }

    /// Nothing is certain any more.
    pub(super) fn forget(&mut self) {
        self.must.clear();
    }

    /// All has come to an end.
    pub(super) fn check_end(&mut self, now: Timestamp, oracle: &Oracle) -> Result<(), Broken> {
        self.must.retain(|number| !oracle.has_expired(*number, now));
        let lost = self.must.first();
        match lost.and_then(|number| Some((number, oracle.get(*number)?))) {
            Some((number, known)) => Err((
                "a message of a group gets to one of its members",
                format!("{number} is {known:?}"),
            )),
            None => Ok(()),
        }
    }
}
