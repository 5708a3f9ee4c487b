//! What has to become of every message.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use mqtt_codec::{Message, QoS};

use super::actor::Actor;
use super::group::{self, Group};
use super::inbox::{Got, Inbox};
use super::packets::number_of;
use super::sessions::{Session, is_match};
use super::watch::Broken;
use crate::Timestamp;
use crate::client::Receipt;

/// Who has published a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum From {
    Client(usize),
    Broker,
    Will,
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) from: From,
    pub(super) topic: String,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// The broker has taken it.
    is_routed: bool,
    /// It has forgotten that, or not.
    is_uncertain: bool,
    /// It may come twice, or late.
    may_repeat: bool,
    /// It has come to the broker, whatever became of that.
    pub(super) has_come: bool,
    /// The broker that it came to first, and whether it came to another one later.
    pub(super) at: Option<usize>,
    pub(super) is_elsewhere: bool,
    /// It has come to the broker once more, behind others.
    pub(super) was_repeated: bool,
    /// It was not decided on in its turn, as its time was over, or had to be sent again.
    pub(super) was_left: bool,
    /// Its connection had ended when it went on, behind the message with this number that was not decided on.
    pub(super) left_behind: Option<u32>,
    /// Whose sessions had to get it when it first came: there it keeps its place.
    placed: Vec<(usize, u32)>,
    /// Whoever was subscribed at some time when it may have been routed.
    possible: BTreeSet<usize>,
    /// Whose sessions have to get it once its publisher knows that the broker has it.
    due: Vec<(usize, u32)>,
    /// It has come last behind something that waited for an answer, and may have been dropped with it.
    is_held: bool,
    /// That was so at some time.
    pub(super) was_held: bool,
    /// How often it went on from the broker.
    pub(super) turns: usize,
    /// To whom it was sent as a message of a group, in which sessions.
    pub(super) holders: Vec<(usize, u32)>,
    /// A member of the group had to get it when it came last.
    pub(super) is_due_to_group: bool,
    /// Those of them that had to get it when it came last.
    due_last: Vec<(usize, u32)>,
    pub(super) is_acknowledged: bool,
    /// What its publisher gave it.
    pub(super) lifetime_secs: Option<u32>,
    /// When it expires there.
    pub(super) expires_at: Option<Timestamp>,
    /// When the broker has to have begun to send it, for each time that it came.
    pub(super) expires: Vec<Timestamp>,
}

impl Known {
    /// The broker may have forgotten it.
    pub(super) fn forget(&mut self) {
        // At QoS 2 it need not come again.
        self.is_uncertain |= self.is_routed && self.qos == QoS::ExactlyOnce;
        self.is_routed = false;
        self.due.clear();
        self.is_due_to_group = false;
    }

    /// A client need not get it.
    fn excuse(&mut self, client: usize) {
        self.due.retain(|(of, _)| *of != client);
        self.due_last.retain(|(of, _)| *of != client);
    }
}

/// What is kept in order: publisher, the broker that it is at, topic, the QoS at which it was published and that at which
/// it was delivered, and what a connection that is gone has left among itself.
pub(super) type Lane = (From, usize, String, (QoS, QoS), Option<u32>);

/// All messages, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    pub(super) messages: Vec<Known>,
    /// Taken, and not with everybody yet: behind a question, or in a fan-out that goes on later.
    pub(super) open: BTreeSet<u32>,
    /// There are several brokers.
    pub(super) is_joined: bool,
}

impl Oracle {
    /// A new message; answers its number.
    pub(super) fn add(&mut self, from: From, topic: &str, qos: QoS, retain: bool) -> u32 {
        let number = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        self.messages.push(Known {
            from,
            topic: topic.to_string(),
            qos,
            retain,
            is_routed: false,
            is_uncertain: false,
            may_repeat: qos == QoS::AtLeastOnce,
            has_come: false,
            at: None,
            is_elsewhere: false,
            was_repeated: false,
            was_left: false,
            left_behind: None,
            placed: Vec::new(),
            possible: BTreeSet::new(),
            due: Vec::new(),
            is_held: false,
            was_held: false,
            turns: 0,
            holders: Vec::new(),
            is_due_to_group: false,
            due_last: Vec::new(),
            is_acknowledged: false,
            lifetime_secs: None,
            expires_at: None,
            expires: Vec::new(),
        });
        number
    }

    pub(super) fn get(&self, number: u32) -> Option<&Known> {
        self.messages.get(usize::try_from(number).ok()?)
    }

    /// A message has come, and waits or not behind what has to be answered first.
    pub(super) fn come(&mut self, number: u32, is_held: bool) {
        if let Some(known) = self.messages.get_mut(number as usize) {
            known.is_held = is_held;
            known.was_held |= is_held;
            // At QoS 2 it may go on now or the next time, and to those of now or of then.
            known.is_uncertain |= is_held && known.qos == QoS::ExactlyOnce;
        }
    }

    /// Somebody asks for a subscription, and may get what is not with everybody yet. With several brokers
    /// that comes at the QoS of when it arrives.
    pub(super) fn subscribe(&mut self, client: usize, filter: &str, session: &mut Session) {
        for number in &self.open {
            let known = self.messages.get_mut(*number as usize);
            if let Some(known) = known.filter(|known| is_match(filter, &known.topic)) {
                known.possible.insert(client);
                if self.is_joined {
                    known.excuse(client);
                    session.must.remove(number);
                }
            }
        }
    }

    /// Somebody gives a subscription up: what is not with everybody yet need not come, whatever else the
    /// client subscribes to later.
    pub(super) fn unsubscribe(&mut self, client: usize, filter: &str, session: &mut Session) {
        for number in &self.open {
            let known = self.messages.get_mut(*number as usize);
            if let Some(known) = known.filter(|known| is_match(filter, &known.topic)) {
                known.excuse(client);
                if self.is_joined {
                    session.must.remove(number);
                }
            }
        }
    }

    /// Nothing waits in the broker, for an answer or for its turn.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }

    /// The broker takes a message, or decides that it goes on.
    /// `at` is the place of the broker, `is_sure` whether it knows who is a member of a group. Answers whether it goes on
    /// for certain, where it is no repetition.
    pub(super) fn route(
        &mut self,
        number: u32,
        sessions: &[Session],
        at: usize,
        is_sure: bool,
    ) -> Option<bool> {
        let known = self.messages.get_mut(number as usize)?;
        // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2] Once, however often it is sent.
        if known.is_routed && !known.may_repeat {
            return None;
        }
        self.open.insert(number);
        known.is_elsewhere |= *known.at.get_or_insert(at) != at;
        let is_again = known.is_routed;
        let is_first = !known.has_come;
        known.was_repeated |= !is_first;
        known.has_come = true;
        known.is_routed = !known.is_held;
        known.due_last.clear();
        known.turns += 1;
        // One that comes again may be known to the broker, and dropped before.
        known.is_due_to_group = (known.turns == 1 || known.is_due_to_group)
            && group::is_shared(&known.topic)
            && known.qos > QoS::AtMostOnce
            && !known.is_uncertain
            && !known.is_held
            && is_sure
            && group::is_certain(sessions, &known.topic);
        // At QoS 2 a repetition goes to nobody.
        let is_repetition = is_again && known.qos == QoS::ExactlyOnce;
        let is_certain = !known.is_uncertain && !known.is_held && !is_repetition;
        for (client, session) in sessions.iter().enumerate() {
            if session.may_get(&known.topic) {
                known.possible.insert(client);
            }
            let is_own = known.from == From::Client(client);
            let is_near = at == session.home && !session.roams;
            let has_to = session.has_to_get(&known.topic, is_own, is_near);
            let qos = has_to.map_or(QoS::AtMostOnce, |qos| qos.min(known.qos));
            let due = (client, session.epoch);
            if is_first && !known.is_held && qos > QoS::AtMostOnce {
                known.placed.push(due);
            }
            if qos > QoS::AtMostOnce && is_certain {
                known.due_last.push(due);
                if !known.due.contains(&due) {
                    known.due.push(due);
                }
            }
        }
        Some(is_certain)
    }

    /// The broker says that it has a message.
    pub(super) fn acknowledge(
        &mut self,
        number: u32,
        now: Timestamp,
        sessions: &mut [Session],
        actors: &[Actor],
        group: &mut Group,
        none_matched: bool,
    ) -> Result<(), Broken> {
        let Some(known) = self.messages.get_mut(number as usize) else {
            return Ok(());
        };
        known.is_acknowledged = true;
        // Its publisher is answered when all have it.
        if !self.is_joined {
            self.open.remove(&number);
        }
        let has_expired = known.expires.iter().any(|at| *at <= now);
        if core::mem::take(&mut known.is_due_to_group) && !has_expired {
            // Where there was no room nobody has it, and the broker has said so.
            let has_it = |actor: &Actor| actor.inbox.seen.contains_key(&number);
            let is_certain = group::is_certain(sessions, &known.topic);
            if is_certain && !none_matched && !actors.iter().any(has_it) {
                group.owe(number);
            }
        }
        for (client, epoch) in core::mem::take(&mut known.due) {
            let session = &mut sessions[client];
            // A fan-out that goes on later finds what somebody is subscribed to by then.
            let is_own = known.from == From::Client(client);
            let is_wanted = session.has_to_get(&known.topic, is_own, true);
            let is_there = session.epoch == epoch
                && is_wanted > Some(QoS::AtMostOnce)
                && !has_expired
                && !actors[client].inbox.seen.contains_key(&number)
                && !session.is_waived(&known.topic, number);
            if is_there {
                if none_matched && !session.roams && known.due_last.contains(&(client, epoch)) {
                    let text = format!("{number} on {}: {session:?}", known.topic);
                    return Err(("no matching subscribers is the truth", text));
                }
                session.must.insert(number);
            }
        }
        Ok(())
    }

    /// A message belongs to a session that its publisher does not know.
    pub(super) fn doubt(&mut self, number: u32) {
        if let Some(known) = self.messages.get_mut(number as usize) {
            known.may_repeat = true;
        }
    }

    /// The broker may take a message for another one, and pass over it.
    pub(super) fn mistake(&mut self, number: u32) {
        if let Some(known) = self.messages.get_mut(number as usize) {
            known.is_uncertain = true;
        }
    }

    /// Whether what a session sends of a message has never been at another broker than the one that it was published
    /// at.
    pub(super) fn is_near(&self, number: u32, at: usize, session: &Session) -> bool {
        let known = self.get(number).filter(|it| !group::is_shared(&it.topic));
        let is_here = known.is_some_and(|it| it.at == Some(at) && !it.is_elsewhere);
        is_here && !session.has_moved && !session.roams && !session.is_split
    }

    /// The broker has refused a message.
    pub(super) fn refuse(&mut self, number: u32) {
        if let Some(known) = self.messages.get_mut(number as usize) {
            known.due.clear();
            known.is_due_to_group = false;
        }
    }

    /// What the broker has not acknowledged it may have forgotten.
    pub(super) fn crash(&mut self) {
        self.open.clear();
        for known in &mut self.messages {
            if !known.is_acknowledged {
                known.forget();
            }
        }
    }

    /// The same of one of several brokers. What had come to it first, and may not have gone on, is lost: answers
    /// which that is. Whatever may be on its way may come once more.
    pub(super) fn crash_at(&mut self, at: usize) -> BTreeSet<u32> {
        let mut lost = BTreeSet::new();
        for (number, known) in (0..).zip(&mut self.messages) {
            let is_its_own = known.at == Some(at) || known.is_elsewhere;
            let is_open = self.open.contains(&number);
            if is_its_own && !known.is_acknowledged {
                known.forget();
            }
            if is_its_own && is_open {
                lost.insert(number);
            }
            let comes_again = is_open || known.from == From::Will;
            if comes_again && known.qos > QoS::AtMostOnce {
                known.may_repeat = true;
            }
            // A will that is due again is told to embedders again, whatever its QoS.
            if comes_again && (known.from == From::Will || known.qos > QoS::AtMostOnce) {
                known.turns += 1;
            }
        }
        lost
    }

    /// An application gets a message.
    pub(super) fn deliver(
        &self,
        client: usize,
        message: &Message,
        receipt: Option<Receipt>,
        session: &mut Session,
        inbox: &mut Inbox,
        has_store: bool,
    ) -> Result<(), Broken> {
        let (topic, qos) = (message.topic().as_str(), message.qos());
        let number = number_of(message.payload());
        let known = number.and_then(|number| Some((number, self.get(number)?)));
        let Some((number, known)) = known else {
            return Err(("a message that nobody published", format!("{message:?}")));
        };
        // Only put into words where something is broken: that takes longer than all the rest.
        let text = || format!("{number} on {topic} at {qos:?} for {client}: {known:?}");
        if known.topic != topic {
            return Err(("a message keeps its topic", text()));
        }
        if qos > known.qos {
            return Err(("no QoS above that of the publisher", text()));
        }
        let got = Got {
            number,
            qos,
            epoch: session.epoch,
            was_due: session.must.remove(&number),
            receipt,
        };
        if receipt.is_some() {
            inbox.hold(got);
        }
        let may_be_undone = has_store || receipt.is_some();
        if may_be_undone && qos == QoS::ExactlyOnce {
            inbox.may_undo(got);
        }
        if message.retain() {
            // What was kept may come with each subscription.
            return match known.retain {
                true => Ok(()),
                false => Err(("only what is to be retained is", text())),
            };
        }
        if session.is_split {
            // It is that of whichever broker, and so are its subscriptions.
            inbox.seen.insert(number, session.epoch);
            return Ok(());
        }
        // What one member of a group leaves behind goes to another, whenever that came.
        let is_shared = group::is_shared(topic);
        let is_possible =
            known.possible.contains(&client) || (known.was_held && session.may_get(topic));
        if known.from != From::Will && !is_shared && !is_possible {
            return Err(("only to subscribers", text()));
        }
        let before = inbox.seen.insert(number, session.epoch);
        let was_refused = inbox.refused.remove(&number);
        let is_again = match before {
            Some(epoch) => !was_refused && (!is_shared || epoch == session.epoch),
            None => false,
        };
        let may_repeat = known.may_repeat || qos == QoS::AtLeastOnce;
        // [5:MQTT-4.3.1-1] [5:MQTT-4.3.3-1]
        if is_again && !may_repeat {
            return Err(("at most once, or exactly once", text()));
        }
        let at = known.at.unwrap_or(0);
        let key = (
            known.from,
            at,
            known.topic.clone(),
            (known.qos, qos),
            known.left_behind,
        );
        let last = inbox.last.get(&key).copied();
        // What was dropped once may come late, when its publisher had to send it again.
        // So may what came to the broker before somebody had subscribed, and once more behind others.
        let has_place = !known.was_repeated || known.placed.contains(&(client, session.epoch));
        let may_be_late =
            session.is_waived(topic, number) || !has_place || known.is_elsewhere || known.was_left;
        if before.is_none() && !is_shared && !may_be_late {
            // [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-6]
            if last.is_some_and(|last| last > number) {
                let text = format!("after {last:?}: {}", text());
                return Err(("in the order published", text));
            }
            inbox.last.insert(key.clone(), number);
        }
        if may_be_undone && qos == QoS::ExactlyOnce {
            match before {
                None => inbox.note_new(key, last),
                Some(epoch) if was_refused => inbox.note_refused(epoch),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan::ClientPlan;

    /// Client 0 publishes 0 and 1 at QoS 1, and client 1 gets 1 before 0, which the broker has taken
    /// again after a crash.
    fn late(is_subscribed_before: bool) -> Result<(), Broken> {
        let (topic, qos) = ("t", QoS::AtLeastOnce);
        let mut oracle = Oracle::default();
        let mut sessions = [Session::new(), Session::new()];
        let subscribe = |session: &mut Session| {
            session.subscribe(topic, qos, false);
            session.suback(topic, Some(qos));
        };
        for _ in 0..2 {
            oracle.add(From::Client(0), topic, qos, false);
        }
        if is_subscribed_before {
            subscribe(&mut sessions[1]);
        }
        oracle.route(0, &sessions, 0, true);
        subscribe(&mut sessions[1]);
        oracle.route(1, &sessions, 0, true);
        oracle.crash();
        oracle.route(0, &sessions, 0, true);
        let mut inbox = Inbox::default();
        let mut get = |number: u32| {
            let message = Message::new(topic, format!("{number} ")).unwrap();
            let message = message.with_qos(qos);
            oracle.deliver(1, &message, None, &mut sessions[1], &mut inbox, false)
        };
        get(1)?;
        get(0)
    }

    #[test]
    fn nobody_matches_a_message_that_comes_again_when_its_publisher_keeps_its_own_back() {
        let (topic, qos, now) = ("t", QoS::AtLeastOnce, Timestamp::ZERO);
        for (no_local, is_right) in [(true, true), (false, false)] {
            let mut oracle = Oracle::default();
            let mut sessions = [Session::new()];
            let number = oracle.add(From::Client(0), topic, qos, false);
            for no_local in [false, no_local] {
                sessions[0].subscribe(topic, qos, no_local);
                sessions[0].suback(topic, Some(qos));
                oracle.route(number, &sessions, 0, true);
            }
            let actors = [Actor::new("c0".into(), ClientPlan::default(), now)];
            let result = oracle.acknowledge(
                number,
                now,
                &mut sessions,
                &actors,
                &mut Group::default(),
                true,
            );
            assert_eq!(result.is_ok(), is_right, "{result:?}");
        }
    }

    #[test]
    fn what_is_not_with_everybody_yet_may_go_to_whoever_subscribes() {
        let (topic, qos, now) = ("t", QoS::AtLeastOnce, Timestamp::ZERO);
        for (is_answered, is_right) in [(false, true), (true, false)] {
            let mut oracle = Oracle::default();
            let mut sessions = [Session::new(), Session::new()];
            let number = oracle.add(From::Client(0), topic, qos, false);
            oracle.route(number, &sessions, 0, true);
            if is_answered {
                let group = &mut Group::default();
                let actors = [(); 2].map(|()| Actor::new("c".into(), ClientPlan::default(), now));
                let done = oracle.acknowledge(number, now, &mut sessions, &actors, group, false);
                assert_eq!(done, Ok(()));
            }
            oracle.subscribe(1, topic, &mut sessions[1]);
            let message = Message::new(topic, format!("{number} ")).unwrap();
            let message = message.with_qos(qos);
            let inbox = &mut Inbox::default();
            let result = oracle.deliver(1, &message, None, &mut sessions[1], inbox, false);
            assert_eq!(result.is_ok(), is_right, "{result:?}");
        }
    }

    #[test]
    fn a_message_from_before_a_subscription_comes_late_when_it_is_sent_again() {
        // [5:MQTT-4.6.0-5] [3:MQTT-4.6.0-6] Each of the two times in the order in which they came.
        assert_eq!(late(false), Ok(()));
        assert_eq!(
            late(true).map_err(|(rule, _)| rule),
            Err("in the order published")
        );
    }
}
