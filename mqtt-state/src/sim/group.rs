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

impl Oracle {
    /// Messages of this topic are dropped: of a group nobody may get them.
    pub(super) fn waive_group(&mut self, topic: &str) {
        for known in self
            .messages
            .iter_mut()
            .filter(|known| known.topic == topic)
        {
            known.is_due_to_group = false;
        }
    }

    /// What a member was to get may come back, and go to another one that nobody here knows.
    pub(super) fn forget_turns(&mut self) {
        for known in &mut self.messages {
            known.is_due_to_group = false;
        }
    }

    /// A session has ended, before some publishers were answered: what it was to get as a member of a
    /// group goes to another one only where there is one.
    pub(super) fn end_member(&mut self, sessions: &[Session]) {
        for known in &mut self.messages {
            known.is_due_to_group = known.is_due_to_group
                && known.holders.is_empty()
                && is_certain(sessions, &known.topic);
        }
    }

    /// A message of a group is sent to one of its members. Answers whether it was sent to another one
    /// before.
    // [5:MQTT-4.8.2-4]
    pub(super) fn take_turn(
        &mut self,
        number: u32,
        client: usize,
        sessions: &[Session],
    ) -> Result<bool, Broken> {
        let known = self.messages.get_mut(number as usize);
        let Some(known) = known.filter(|known| is_shared(&known.topic)) else {
            return Ok(false);
        };
        if sessions.iter().any(|session| session.is_split) {
            return Ok(false);
        }
        let holder = (client, sessions[client].epoch);
        if known.holders.contains(&holder) {
            return Ok(false);
        }
        known.holders.push(holder);
        let is_alive = |it: &&(usize, u32)| **it == holder || sessions[it.0].is_alive(it.1);
        let alive = known.holders.iter().filter(is_alive);
        if alive.count() > known.turns {
            let text = format!("{number} for {client}: {known:?}");
            return Err(("a message of a group goes to one of its members", text));
        }
        Ok(known.holders.iter().any(|(other, _)| *other != client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::oracle::From;

    #[test]
    fn a_turn_goes_on_when_a_session_ends_whose_client_is_on_its_way_to_another_broker() {
        // [5:MQTT-4.8.2-4] The third is the one that gets it now.
        for (ended, is_right) in [(None, false), (Some(0), true), (Some(1), false)] {
            let mut oracle = Oracle::default();
            let mut sessions = [Session::new(), Session::new()];
            let number = oracle.add(From::Broker, "s/a", QoS::AtLeastOnce, false);
            oracle.route(number, &sessions, 0, true);
            assert_eq!(oracle.take_turn(number, 0, &sessions), Ok(false));
            if let Some(ended) = ended {
                sessions[ended].may_be_over = true;
            }
            let again = oracle.take_turn(number, 1, &sessions);
            assert_eq!(again.is_ok(), is_right, "{ended:?}: {again:?}");
        }
    }
}
