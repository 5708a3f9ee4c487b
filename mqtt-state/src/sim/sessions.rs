//! What has to be so of every session in the broker: whether it is there, what it is subscribed to, and
//! which messages it must still get.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

use mqtt_codec::{PacketId, QoS};
use mqtt_topic::{SharedFilter, TopicFilter, TopicName};

use super::inbox::Inbox;
use super::watch::Broken;
use crate::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exists {
    No,
    Yes,
    /// A crash has left that open.
    Perhaps,
}

#[derive(Clone, Copy, Debug)]
struct Subscription {
    qos: QoS,
    no_local: bool,
    /// The last SUBACK was sent, and no UNSUBSCRIBE has come.
    is_sure: bool,
    /// All brokers know of it, where there are several.
    is_known: bool,
}

/// What a session is to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    Not,
    /// With the QoS that was granted.
    Sure(QoS),
    Perhaps,
}

/// The session of one client, as the standard has it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    exists: Exists,
    /// The connection that uses it.
    pub(super) line: Option<u64>,
    /// Of the last connection, in seconds.
    expiry_secs: u32,
    /// While nobody is connected.
    expires: Option<Timestamp>,
    /// The store knows all of it.
    is_stored: bool,
    /// Sessions of this client so far.
    pub(super) epoch: u32,
    subscriptions: BTreeMap<String, Subscription>,
    /// SUBSCRIBE packets without their SUBACK, by filter; an UNSUBSCRIBE between them changes nothing.
    pending: BTreeMap<String, u32>,
    /// What may be subscribed to all the same, as a crash may bring it back.
    ghosts: BTreeSet<String>,
    /// What was taken away from the client, and may not be stored.
    revoked: BTreeSet<String>,
    /// Acknowledged towards their publishers, and not delivered.
    pub(super) must: BTreeSet<u32>,
    /// Ended before its time, for a reason that has to follow at once.
    unexplained: bool,
    /// Its client takes it for an older one, and keeps that one's identifiers: nobody has told it, as
    /// the CONNACK was lost. MQTT has no help for that.
    pub(super) is_mixed: bool,
    /// The broker at which it was last, of several.
    pub(super) home: usize,
    /// Its client has gone to another one, and not all of them know.
    pub(super) roams: bool,
    /// A link was cut meanwhile, so that there may be two of it, or none.
    pub(super) is_split: bool,
    /// A connection has ended before it was accepted. What its broker has asked the others for may
    /// still come to them, and be obeyed behind whatever the client has done since.
    pub(super) has_stray: bool,
    /// A broker has ended it while its client was on the way to another one, or one that was left behind.
    pub(super) may_be_over: bool,
    /// Some of what it holds may have come with it from another broker.
    pub(super) has_moved: bool,
    /// In a topic all messages up to this one may be missing.
    waived: BTreeMap<String, u32>,
    /// QoS 2 messages that a broker has taken, and not released as far as is known: identifier, message,
    /// and connection. Of all sessions of this client that some broker may have.
    received: BTreeSet<(PacketId, u32, u64)>,
}

impl Session {
    pub(super) const fn new() -> Self {
        Self {
            exists: Exists::No,
            line: None,
            expiry_secs: 0,
            expires: None,
            is_stored: true,
            epoch: 0,
            subscriptions: BTreeMap::new(),
            pending: BTreeMap::new(),
            ghosts: BTreeSet::new(),
            revoked: BTreeSet::new(),
            must: BTreeSet::new(),
            unexplained: false,
            is_mixed: false,
            home: 0,
            roams: false,
            is_split: false,
            has_stray: false,
            may_be_over: false,
            has_moved: false,
            waived: BTreeMap::new(),
            received: BTreeSet::new(),
        }
    }

    fn reset(&mut self, now_there: Exists) {
        let filters = core::mem::take(&mut self.subscriptions);
        self.ghosts.extend(filters.into_keys());
        self.revoked.clear();
        self.must.clear();
        self.waived.clear();
        self.expires = None;
        self.is_mixed = false;
        self.may_be_over = false;
        self.has_moved = false;
        self.exists = now_there;
        self.is_stored = false;
        self.epoch += 1;
    }

    /// The broker has accepted a CONNECT.
    // [5:MQTT-3.2.2-2] [5:MQTT-3.2.2-3] [3:MQTT-3.2.2-1] [3:MQTT-3.2.2-2] [3:MQTT-3.2.2-3]
    pub(super) fn connect(
        &mut self,
        now: Timestamp,
        line: u64,
        clean_start: bool,
        expiry_secs: u32,
        present: bool,
    ) -> Result<(), Broken> {
        let has_expired = self.expires.is_some_and(|at| at <= now);
        let expected = match self.exists {
            _ if clean_start => Some(false),
            _ if self.is_split || (self.roams && has_expired) => None,
            Exists::No => Some(false),
            Exists::Yes => Some(!has_expired),
            Exists::Perhaps => None,
        };
        let is_wrong = expected.is_some_and(|expected| expected != present);
        let text = || format!("{present}, with a clean start {clean_start}: {self:?}");
        if self.unexplained && !clean_start {
            return Err(("a session lives as long as it has to", text()));
        }
        if is_wrong {
            return Err(("session present is the truth", text()));
        }
        self.unexplained = false;
        if !present {
            self.reset(Exists::Yes);
        }
        self.exists = Exists::Yes;
        self.may_be_over = false;
        self.line = Some(line);
        self.expiry_secs = expiry_secs;
        self.expires = None;
        self.is_stored = false;
        Ok(())
    }

    /// The client goes on with a session that it does not know.
    pub(super) fn mix(&mut self) {
        self.is_mixed = true;
        self.must.clear();
    }

    /// Nobody knows whether there is one of it.
    pub(super) fn split(&mut self) {
        self.is_split = true;
        self.must.clear();
    }

    /// A link between brokers is cut.
    pub(super) fn lose_link(&mut self) {
        if self.roams {
            self.split();
        }
    }

    /// All brokers know what is granted, but for that which some have no room for.
    pub(super) fn note_known(&mut self, refused: &BTreeSet<String>) {
        for (filter, subscription) in &mut self.subscriptions {
            subscription.is_known |= subscription.is_sure;
            subscription.is_known &= !refused.contains(filter);
        }
    }

    /// Some have no room for this one.
    pub(super) fn note_refused(&mut self, filter: &str) {
        if let Some(subscription) = self.subscriptions.get_mut(filter) {
            subscription.is_known = false;
        }
    }

    /// One of several brokers begins anew, and knows what is granted elsewhere when its links are up.
    pub(super) fn note_unknown(&mut self) {
        for subscription in self.subscriptions.values_mut() {
            subscription.is_known = false;
        }
    }

    /// Whether this one of its client's sessions is still there for certain.
    pub(super) const fn is_alive(&self, epoch: u32) -> bool {
        self.epoch == epoch && !self.may_be_over
    }

    /// Whether its broker has it for certain.
    pub(super) fn is_there(&self, now: Timestamp) -> bool {
        self.is_lost(now) && !self.roams && !self.may_be_over
    }

    /// Whether it has to be somewhere, where nobody has it.
    pub(super) fn is_lost(&self, now: Timestamp) -> bool {
        let has_expired = self.expires.is_some_and(|at| at <= now);
        !self.is_split && self.exists == Exists::Yes && !has_expired
    }

    /// No broker has it.
    pub(super) fn forget(&mut self) {
        self.reset(Exists::No);
        self.line = None;
        self.is_split = false;
        self.received.clear();
    }

    /// A broker takes a QoS 2 message. Answers whether it may take it for another one that had the same
    /// identifier: a client that has begun anew while a link was cut may come back to an older session,
    /// when the newer one has ended before the link came up.
    pub(super) fn receive(&mut self, id: PacketId, number: u32, line: u64) -> bool {
        let mut received = self.received.iter();
        let is_mistaken = self.is_split && received.any(|(of, it, _)| *of == id && *it != number);
        self.received.insert((id, number, line));
        is_mistaken
    }

    /// A broker knows an identifier no more. Which one's session that was is certain on one connection.
    pub(super) fn release(&mut self, id: PacketId, line: u64) {
        let is_split = self.is_split;
        self.received
            .retain(|(of, _, on)| *of != id || is_split && *on != line);
    }

    /// No broker has an older one.
    pub(super) fn forget_older(&mut self) {
        self.received.clear();
    }

    /// CONNACK has been sent, so that the store knows of this session.
    pub(super) fn connack(&mut self, line: u64, present: bool) {
        if self.line == Some(line) {
            self.is_stored = true;
            if !present {
                self.ghosts.clear();
            }
        }
    }

    /// Its connection is over.
    pub(super) fn close(&mut self, now: Timestamp, line: u64) {
        if self.line == Some(line) {
            self.line = None;
            self.is_stored = false;
            self.pending.clear();
            self.expires = match self.expiry_secs {
                u32::MAX => None,
                secs => Some(now.plus_secs(secs)),
            };
        }
    }

    /// The broker says that it has ended.
    pub(super) fn end(&mut self, now: Timestamp) {
        let is_due = self.line.is_none() && self.expires.is_some_and(|at| at <= now);
        self.unexplained = self.exists == Exists::Yes && !is_due;
        self.reset(Exists::No);
        self.line = None;
    }

    /// All that has happened in one call is known.
    pub(super) fn settle(&self) -> Result<(), Broken> {
        match self.unexplained {
            true => Err(("a session lives as long as it has to", format!("{self:?}"))),
            false => Ok(()),
        }
    }

    /// The store knows everything.
    pub(super) fn note_stored(&mut self) {
        self.is_stored = true;
        for filter in core::mem::take(&mut self.revoked) {
            self.ghosts.remove(&filter);
        }
    }

    /// It is again as it was, when the store has failed, and this is what its broker has made of it since.
    pub(super) fn go_on_from(&mut self, since: &Self, inbox: &Inbox) {
        if since.epoch == self.epoch {
            self.must.clone_from(&since.must);
        } else {
            self.must.retain(|number| !inbox.seen.contains_key(number));
        }
        self.received.clone_from(&since.received);
    }

    pub(super) fn crash(&mut self, has_store: bool) {
        let was_connected = self.line.take().is_some();
        // What was taken away may be back.
        self.revoked.clear();
        if !has_store || (self.is_stored && self.expiry_secs == 0) {
            self.reset(Exists::No);
            if !has_store {
                self.ghosts.clear();
            }
        } else if !self.is_stored {
            self.reset(Exists::Perhaps);
        } else if was_connected && self.expiry_secs != u32::MAX {
            // Its clients count as gone since the last entry of the store.
            self.exists = Exists::Perhaps;
        }
    }

    pub(super) fn subscribe(&mut self, filter: &str, qos: QoS, no_local: bool) {
        *self.pending.entry(String::from(filter)).or_default() += 1;
        self.revoked.remove(filter);
        let before = self.subscriptions.get(filter);
        let subscription = Subscription {
            qos,
            no_local,
            is_sure: false,
            is_known: before.is_some_and(|before| before.is_known),
        };
        self.subscriptions
            .insert(String::from(filter), subscription);
        self.is_stored = false;
    }

    pub(super) fn suback(&mut self, filter: &str, granted: Option<QoS>) {
        let pending = self.pending.get_mut(filter).map_or(0, |pending| {
            *pending = pending.saturating_sub(1);
            *pending
        });
        match (self.subscriptions.get_mut(filter), granted) {
            (Some(subscription), Some(qos)) => {
                if pending == 0 {
                    subscription.qos = qos;
                    subscription.is_sure = true;
                }
            }
            // Refused: what was there before is still there, perhaps.
            (Some(_), None) => {
                self.subscriptions.remove(filter);
                self.ghosts.insert(String::from(filter));
            }
            (None, _) => {}
        }
    }

    pub(super) fn unsubscribe(&mut self, filter: &str) {
        if self.subscriptions.remove(filter).is_some() {
            self.ghosts.insert(String::from(filter));
            self.is_stored = false;
        }
    }

    /// Its broker has taken a subscription away. One that is on its way may be made before or after.
    pub(super) fn take_away(&mut self, filter: &str) {
        self.subscriptions.remove(filter);
        self.ghosts.insert(String::from(filter));
        if self.is_answered(filter) {
            self.revoked.insert(String::from(filter));
        }
        self.is_stored = false;
    }

    /// Its broker has lowered the QoS of a subscription, likewise.
    pub(super) fn lower(&mut self, filter: &str, qos_max: QoS) {
        if !self.is_answered(filter) {
            self.unsubscribe(filter);
        } else if let Some(subscription) = self.subscriptions.get_mut(filter) {
            subscription.qos = subscription.qos.min(qos_max);
        }
    }

    /// Whether each SUBSCRIBE with this filter has its SUBACK.
    pub(super) fn is_answered(&self, filter: &str) -> bool {
        self.pending.get(filter).is_none_or(|pending| *pending == 0)
    }

    /// UNSUBACK has been sent. What was refused before may have been granted still earlier, so only
    /// this end is certain.
    pub(super) fn unsuback(&mut self, filter: &str) {
        self.ghosts.remove(filter);
    }

    /// Whether a message may come of one of its subscriptions.
    pub(super) fn may_get(&self, topic: &str) -> bool {
        let mut filters = self.subscriptions.keys().chain(&self.ghosts);
        filters.any(|filter| is_match(filter, topic))
    }

    /// The highest QoS at which a message has to come, and has to come at all. `is_near` is whether it is
    /// published where the session is.
    pub(super) fn has_to_get(&self, topic: &str, is_own: bool, is_near: bool) -> Option<QoS> {
        if self.is_mixed || self.is_split || self.may_be_over {
            return None;
        }
        let sure = self.subscriptions.iter().filter(|(filter, subscription)| {
            let is_kept_back = is_own && subscription.no_local;
            let is_shared = filter.starts_with("$share/");
            let is_known = is_near || subscription.is_known;
            subscription.is_sure
                && is_known
                && !is_kept_back
                && !is_shared
                && is_match(filter, topic)
        });
        sure.map(|(_, subscription)| subscription.qos).max()
    }

    /// The broker has said that messages of this topic are dropped, up to this one.
    pub(super) fn waive(&mut self, topic: &str, number: u32, of: impl Fn(u32) -> bool) {
        self.must.retain(|number| !of(*number));
        self.waived.insert(String::from(topic), number);
    }

    pub(super) fn is_waived(&self, topic: &str, number: u32) -> bool {
        self.waived.get(topic).is_some_and(|last| number <= *last)
    }

    /// Whether it is a member of the group at a topic.
    pub(super) fn membership(&self, topic: &str) -> Membership {
        let is_it = |filter: &str| filter.starts_with("$share/") && is_match(filter, topic);
        let member = self.subscriptions.iter().find(|(filter, _)| is_it(filter));
        match member {
            Some((_, it))
                if it.is_sure && !self.is_mixed && !self.is_split && !self.may_be_over =>
            {
                Membership::Sure(it.qos)
            }
            None if !self.ghosts.iter().any(|filter| is_it(filter)) => Membership::Not,
            _ => Membership::Perhaps,
        }
    }

    /// What it is subscribed to for certain, in order.
    pub(super) fn sure(&self) -> impl Iterator<Item = &str> {
        let sure = self.subscriptions.iter().filter(|(_, it)| it.is_sure);
        sure.map(|(filter, _)| filter.as_str())
    }
}

pub(super) fn is_match(filter: &str, topic: &str) -> bool {
    let Ok(name) = TopicName::new(topic) else {
        return false;
    };
    let Ok(filter) = TopicFilter::new(filter) else {
        return false;
    };
    match SharedFilter::new(filter.as_str()) {
        Ok(shared) => shared.filter().matches(name),
        Err(_) => filter.matches(name),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    type Steps = [fn(&mut Session); 2];

    #[test]
    fn an_identifier_is_mistaken_only_in_a_session_that_was_left_behind() {
        let (one, other) = (PacketId::MIN, PacketId::new(2).unwrap());
        let released = |session: &mut Session| session.release(PacketId::MIN, 1);
        let nothing = |_: &mut Session| {};
        let split = Session::split;
        let rows: [(&str, Steps, PacketId, u32, bool); 6] = [
            ("never apart", [nothing, nothing], one, 8, false),
            ("apart", [nothing, split], one, 8, true),
            ("the same message", [nothing, split], one, 7, false),
            ("another identifier", [nothing, split], other, 8, false),
            ("released before", [released, split], one, 8, false),
            (
                "released on its connection",
                [split, released],
                one,
                8,
                false,
            ),
        ];
        for (row, steps, id, number, expected) in rows {
            let mut session = Session::new();
            session.receive(one, 7, 1);
            for step in steps {
                step(&mut session);
            }
            assert_eq!(session.receive(id, number, 2), expected, "{row}");
        }
        // What another broker says of it leaves it where it was.
        let mut session = Session::new();
        session.receive(one, 7, 1);
        session.split();
        session.release(one, 2);
        assert!(session.receive(one, 8, 3));
    }

    #[test]
    fn what_was_granted_before_an_unsubscribe_says_nothing_of_what_follows_it() {
        let mut session = Session::new();
        session.subscribe("t", QoS::AtLeastOnce, false);
        session.unsubscribe("t");
        session.subscribe("t", QoS::AtMostOnce, false);
        session.suback("t", Some(QoS::AtLeastOnce));
        session.unsuback("t");
        assert_eq!(session.sure().count(), 0);
        session.suback("t", Some(QoS::AtMostOnce));
        assert_eq!(session.sure().collect::<Vec<_>>(), ["t"]);
    }
}
