//! What a broker owes its clients, said once more, as plainly as possible.
//!
//! The model does not say which packets the broker sends but whether it may send each, and, when a
//! client has read everything there was, whether something is missing. Where the standard leaves a
//! choice (who of a group gets a message, in which order retained messages come, what gives way in a
//! full queue) the model looks at what was chosen and says whether that was among the choices.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::naive::{matches, shared};
use super::script::{CLIENTS, Terms, Testament, Wish};

/// Why a broker is wrong.
pub(super) type Verdict<T = ()> = Result<T, String>;

/// As much as any step of a script asks for.
pub(super) const MUCH_WORK: usize = 4096;

/// A session without an end.
const FOR_EVER: u32 = u32::MAX;

/// A published message.
#[derive(Debug)]
pub(super) struct Message {
    /// Rises with every message of a run; a will has a new one when it is published.
    pub(super) number: u64,
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Properties that are none of the broker's business.
    pub(super) note: Option<String>,
    pub(super) expires_at: Option<u64>,
    pub(super) is_big: bool,
}

impl Message {
    fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// A PUBLISH that came out of the broker.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) id: Option<u16>,
    /// Sorted.
    pub(super) subscription_ids: Vec<u32>,
    pub(super) expiry: Option<u32>,
    pub(super) note: Option<String>,
}

/// What a step did, as far as there was a choice.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Messages that wait for each session before the step.
    pub(super) waiting: [usize; CLIENTS],
    /// Messages of each session, in flight or not, before the step and behind it.
    pub(super) before: [usize; CLIENTS],
    pub(super) after: [usize; CLIENTS],
    /// What did not fit into a queue: for whom, and the topic.
    pub(super) dropped: Vec<(usize, String)>,
    /// Topics of messages that were not retained.
    pub(super) not_retained: Vec<String>,
    /// Whose wills were published, in this order.
    pub(super) wills: Vec<usize>,
}

impl Witness {
    /// Whether the model has an explanation for everything.
    pub(super) fn is_clear(&self) -> Verdict {
        if self.dropped.is_empty() && self.not_retained.is_empty() && self.wills.is_empty() {
            return Ok(());
        }
        Err(format!("more happened than had to: {self:?}"))
    }
}

/// An acknowledgement of a client: PUBACK, PUBREC or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Acknowledge(u16),
    Receive(u16),
    Complete(u16),
}

/// Of CONNECT, what the model has to know.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) is_v5: bool,
    pub(super) clean: bool,
    pub(super) expiry: u32,
    pub(super) receive_maximum: u16,
    pub(super) takes_big: bool,
    pub(super) will: Option<(Testament, Rc<Message>)>,
}

macro_rules! tally {
    ($($name:ident)*) => {
        /// What happened in a run, and how often.
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct Tally {
            $($name: usize,)*
            /// By version and QoS.
            sent: [[usize; 3]; 2],
        }

        impl Tally {
            pub(super) fn named(&self) -> impl Iterator<Item = (String, usize)> {
                let named = [$((stringify!($name), self.$name),)*];
                let named = named.map(|(name, count)| (name.to_owned(), count));
                let sent = self.sent.into_iter().zip(["3.1.1", "5.0"]);
                let sent = sent.flat_map(|(sent, version)| {
                    let by_qos = sent.into_iter().enumerate();
                    by_qos.map(move |(qos, count)| (format!("sent_{version}_qos_{qos}"), count))
                });
                named.into_iter().chain(sent)
            }
        }
    };
}

tally! {
    published
    downgraded
    sent_again
    released_again
    overlapping
    not_local
    retain_kept
    greeted
    shared
    shared_away
    dispatched_again
    queue_full
    gave_way
    expired
    too_large
    held_back
    wills
    wills_delayed
    wills_dropped
    resumed
    taken_over
    sessions_ended
    repeated
    over_receive_maximum
    over_subscriptions
    over_sessions
    over_retained
    retained_expired
    restarted
    refused
    asked
    revoked
    limited
}

#[derive(Debug)]
struct Subscription {
    qos: u8,
    no_local: bool,
    as_published: bool,
    id: Option<u32>,
}

/// A message on its way to one session.
#[derive(Debug)]
struct Copy {
    message: Rc<Message>,
    qos: u8,
    retain: bool,
    subscription_ids: Vec<u32>,
    /// Not where another one looked the same to a 3.1.1 client.
    knows_ids: bool,
    /// The group that it is a turn of, and which of those that had the name.
    group: Option<(String, u64)>,
}

/// A message sent and not fully acknowledged.
#[derive(Debug)]
struct Flight {
    id: u16,
    copy: Copy,
}

/// A retained message that a new subscription still has to get: of these the order is free. So it is
/// with a copy of which nobody knows whether it was dropped.
#[derive(Debug)]
struct Greeting {
    filter: &'static str,
    copy: Copy,
    /// Not any more, where the message is gone or another one or another subscription took its place.
    is_owed: bool,
}

/// A connection of a session.
#[derive(Debug)]
struct Link {
    is_v5: bool,
    quota: usize,
    takes_big: bool,
    /// Identifiers of what was sent on this connection and is not fully acknowledged.
    unacknowledged: BTreeSet<u16>,
    /// Flights that have to be sent again, by their identifiers.
    again: VecDeque<u16>,
    /// Identifiers of QoS 2 messages of the client that came on this connection.
    open: BTreeSet<u16>,
    /// Packets but PUBLISH that are to come, each with what it may be.
    answers: VecDeque<Vec<String>>,
    /// Flights at QoS 2 that are not sent again, as they are too large by now: PUBREL is to come for each, among the
    /// answers.
    withdrawn: BTreeSet<u16>,
}

#[derive(Debug, Default)]
struct Session {
    link: Option<Link>,
    subscriptions: BTreeMap<&'static str, Subscription>,
    waiting: VecDeque<Copy>,
    waiting_qos0: VecDeque<Copy>,
    greetings: Vec<Greeting>,
    published: Vec<Flight>,
    released: Vec<u16>,
    /// QoS 2 messages of the client that were not released.
    received: BTreeSet<u16>,
    expiry: u32,
    ends_at: Option<u64>,
    will: Option<(Testament, Rc<Message>)>,
    will_at: Option<u64>,
    /// It outlived a connection, or could have.
    is_kept: bool,
    /// It was in a store, which does not know whether what waited was on its way.
    is_restored: bool,
    /// The newest message with RETAIN sent for each topic at each QoS.
    newest: BTreeMap<(String, u8), u64>,
}

/// The members of a shared subscription.
#[derive(Debug)]
struct Group {
    generation: u64,
    members: BTreeSet<usize>,
}

#[derive(Debug)]
pub(super) struct Model {
    terms: Terms,
    now: u64,
    sessions: BTreeMap<usize, Session>,
    groups: BTreeMap<&'static str, Group>,
    groups_seen: u64,
    retained: BTreeMap<String, Rc<Message>>,
    /// The number of the last message.
    numbers: u64,
    /// What each session was given in this step.
    given: [usize; CLIENTS],
    /// Whose connection ended in this step, with the QoS 0 messages that waited.
    left: BTreeSet<usize>,
    /// The last words to connections that the broker ended.
    farewells: BTreeMap<usize, VecDeque<Vec<String>>>,
    pub(super) tally: Tally,
}

impl Model {
    pub(super) fn new(terms: Terms, now: u64) -> Self {
        Self {
            terms,
            now,
            sessions: BTreeMap::new(),
            groups: BTreeMap::new(),
            groups_seen: 0,
            retained: BTreeMap::new(),
            numbers: 0,
            given: [0; CLIENTS],
            left: BTreeSet::new(),
            farewells: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Begins a step.
    pub(super) fn begin(&mut self) {
        self.given = [0; CLIENTS];
        self.left.clear();
    }

    pub(super) const fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) const fn now(&self) -> u64 {
        self.now
    }

    /// So many questions were asked, which changes nothing when the answers are yes.
    pub(super) fn note_asked(&mut self, questions: usize) {
        self.tally.asked += questions;
    }

    pub(super) fn retained_topics(&self) -> impl Iterator<Item = &str> {
        self.retained.keys().map(String::as_str)
    }

    pub(super) fn sessions_len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn subscriptions_len(&self) -> usize {
        let of_each = self.sessions.values();
        of_each.map(|session| session.subscriptions.len()).sum()
    }

    pub(super) fn has_session(&self, who: usize) -> bool {
        self.sessions.contains_key(&who)
    }

    pub(super) fn is_connected(&self, who: usize) -> bool {
        self.link(who).is_ok()
    }

    pub(super) fn takes_big(&self, who: usize) -> bool {
        self.link(who).is_ok_and(|link| link.takes_big)
    }

    /// What a connection that ended was still to be told.
    pub(super) fn farewell(&mut self, who: usize) -> VecDeque<Vec<String>> {
        self.farewells.remove(&who).unwrap_or_default()
    }

    // --- Coming and going.

    /// CONNECT. Answers whether a session was there, or `None` when it is refused.
    pub(super) fn connect(
        &mut self,
        who: usize,
        arrival: Arrival,
        witness: &mut Witness,
    ) -> Verdict<Option<bool>> {
        let expiry = match self.terms.session_expiry_max {
            Some(maximum) => arrival.expiry.min(maximum),
            None => arrival.expiry,
        };
        // [5:MQTT-3.1.4-3] [3:MQTT-3.1.4-2]
        if self.is_connected(who) {
            self.tally.taken_over += 1;
            self.leave(who, Some("8E"), witness)?;
        }
        // [5:MQTT-3.1.2-4] [3:MQTT-3.1.2-6]
        if arrival.clean {
            self.end_session(who, witness)?;
        }
        let is_present = self.has_session(who);
        if !is_present && self.sessions.len() >= self.terms.sessions_max {
            self.tally.over_sessions += 1;
            let code = if arrival.is_v5 { "89" } else { "88" };
            let refusal = vec![format!("CONNACK {code}")];
            self.farewells.insert(who, VecDeque::from([refusal]));
            return Ok(None);
        }
        let session = self.sessions.entry(who).or_default();
        // [5:MQTT-3.1.3-9]
        if session.will_at.take().is_some() {
            self.tally.wills_dropped += 1;
        }
        session.ends_at = None;
        session.expiry = expiry;
        session.is_kept |= expiry > 0;
        session.will = arrival.will;
        let mut link = Link {
            is_v5: arrival.is_v5,
            quota: usize::from(arrival.receive_maximum.min(self.terms.in_flight_max)),
            takes_big: arrival.takes_big,
            unacknowledged: BTreeSet::new(),
            again: session.published.iter().map(|flight| flight.id).collect(),
            open: BTreeSet::new(),
            answers: VecDeque::new(),
            withdrawn: BTreeSet::new(),
        };
        // [5:MQTT-3.2.2-2] [5:MQTT-3.2.2-3] [3:MQTT-3.2.2-1] [3:MQTT-3.2.2-2]
        let present = if is_present { " present" } else { "" };
        link.answers.push_back(vec![format!("CONNACK 00{present}")]);
        // [5:MQTT-4.4.0-1] [3:MQTT-4.4.0-1] [5:MQTT-4.6.0-4]
        for id in &session.released {
            link.answers.push_back(vec![format!("PUBREL {id} 00")]);
            self.tally.released_again += 1;
        }
        self.tally.resumed += usize::from(is_present);
        session.link = Some(link);
        Ok(Some(is_present))
    }

    /// The client says goodbye.
    pub(super) fn disconnect(
        &mut self,
        who: usize,
        with_will: bool,
        expiry: Option<u32>,
        witness: &mut Witness,
    ) -> Verdict {
        let maximum = self.terms.session_expiry_max.unwrap_or(FOR_EVER);
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        if let Some(expiry) = expiry {
            session.expiry = expiry.min(maximum);
        }
        // [5:MQTT-3.14.4-3] [3:MQTT-3.14.4-3]
        if !with_will {
            session.will = None;
        }
        self.leave(who, None, witness)
    }

    /// The connection of a client is over, and the client is told why where its version can.
    pub(super) fn leave(
        &mut self,
        who: usize,
        told: Option<&str>,
        witness: &mut Witness,
    ) -> Verdict {
        let now = self.now;
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        let mut link = session.link.take().ok_or("no connection")?;
        if let Some(code) = told.filter(|_| link.is_v5) {
            link.answers.push_back(vec![format!("DISCONNECT {code}")]);
        }
        self.farewells.insert(who, link.answers);
        // QoS 0 waits for nobody who is away.
        session.waiting_qos0.clear();
        self.left.insert(who);
        for greeting in &mut session.greetings {
            greeting.is_owed &= greeting.copy.qos > 0;
        }
        let (delay, expiry) = (
            session.will.as_ref().map(|(will, _)| will.delay),
            session.expiry,
        );
        // [5:MQTT-3.1.2-8] The end of the delay or of the session, whichever is first.
        match delay {
            Some(delay) if delay > 0 && expiry > 0 => {
                session.will_at = Some(now + u64::from(delay.min(expiry)));
                self.tally.wills_delayed += 1;
            }
            Some(_) => self.publish_will(who, witness)?,
            None => {}
        }
        match expiry {
            0 => self.end_session(who, witness),
            FOR_EVER => Ok(()),
            secs => {
                let session = self.sessions.get_mut(&who).ok_or("no session")?;
                session.ends_at = Some(now + u64::from(secs));
                Ok(())
            }
        }
    }

    /// The program ended, having stored something at `stored_at` the last time, and a new one has
    /// begun now.
    pub(super) fn restart(&mut self, stored_at: u64, now: u64, witness: &mut Witness) -> Verdict {
        self.tally.restarted += 1;
        self.farewells.clear();
        for who in 0..CLIENTS {
            let Some(session) = self.sessions.get_mut(&who) else {
                continue;
            };
            // Nobody knows of retained messages that were still to come; of those that waited the
            // store does.
            for greeting in &mut session.greetings {
                greeting.is_owed = false;
            }
            session.waiting_qos0.clear();
            session.is_restored = true;
            self.left.insert(who);
            if session.link.take().is_none() {
                continue;
            }
            let expiry = session.expiry;
            let after = |secs: u32| stored_at + u64::from(secs);
            let will = session.will.as_ref();
            session.will_at = will.map(|(will, _)| after(will.delay.min(expiry)));
            session.ends_at = (expiry != FOR_EVER).then(|| after(expiry));
            if !session.is_kept {
                // Of a session that ends with its connection there is nothing but its will.
                session.waiting.clear();
                session.published.clear();
                for filter in core::mem::take(&mut session.subscriptions).keys() {
                    self.leave_group(who, filter);
                }
            }
        }
        self.now = now;
        self.pass(now, witness)
    }

    fn publish_will(&mut self, who: usize, witness: &mut Witness) -> Verdict {
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        session.will_at = None;
        let Some((will, message)) = session.will.take() else {
            return Ok(());
        };
        let first = witness.wills.iter().position(|of| *of == who);
        let first = first.ok_or_else(|| format!("the will of {who} was not published"))?;
        witness.wills.remove(first);
        self.tally.wills += 1;
        let now = self.now;
        let message = Message {
            number: self.next_number(),
            // It counts from here.
            expires_at: will.expiry.map(|secs| now + u64::from(secs)),
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            note: message.note.clone(),
            ..*message
        };
        self.route(Some(who), &Rc::new(message), witness)
            .map(|_| ())
    }

    fn end_session(&mut self, who: usize, witness: &mut Witness) -> Verdict {
        if !self.has_session(who) {
            return Ok(());
        }
        // A will that still waits is published when the session ends.
        self.publish_will(who, witness)?;
        let session = self.sessions.remove(&who).ok_or("no session")?;
        for filter in session.subscriptions.keys() {
            self.leave_group(who, filter);
        }
        self.tally.sessions_ended += 1;
        // [5:MQTT-4.8.2-5] Another member gets what was not sent, and QoS 1 in any case.
        let sent = session.published.into_iter().map(|flight| flight.copy);
        let sent = sent.filter(|copy| copy.qos < 2);
        for copy in sent.chain(session.waiting) {
            let Some((filter, generation)) = copy.group else {
                continue;
            };
            let Some((filter, group)) = self.groups.get_key_value(&*filter) else {
                continue;
            };
            if group.generation != generation {
                continue;
            }
            let mut others = group.members.iter().copied();
            let next = others.next().ok_or("a group without members")?;
            if others.next().is_some() {
                return Err("the script has too many members".into());
            }
            let subscription = self.sessions.get(&next).ok_or("no session")?;
            let subscription = &subscription.subscriptions[filter];
            let copy = Copy {
                qos: copy.message.qos.min(subscription.qos),
                // [5:MQTT-3.3.1-12] [5:MQTT-3.3.1-13]
                retain: copy.message.retain && subscription.as_published,
                message: copy.message,
                subscription_ids: subscription.id.into_iter().collect(),
                knows_ids: true,
                group: Some(((*filter).into(), generation)),
            };
            self.tally.dispatched_again += 1;
            self.give(next, copy, witness)?;
        }
        Ok(())
    }

    /// The next moment at which something happens by itself.
    pub(super) fn due(&self) -> Option<u64> {
        let sessions = self.sessions.values();
        let sessions = sessions.flat_map(|session| [session.ends_at, session.will_at]);
        let retained = self.retained.values().map(|message| message.expires_at);
        sessions.chain(retained).flatten().min()
    }

    /// Time has passed, and not beyond [`due`](Self::due).
    pub(super) fn pass(&mut self, now: u64, witness: &mut Witness) -> Verdict {
        self.now = now;
        // Wills of the same moment in the order of the broker.
        let mut order = witness.wills.clone();
        order.extend(0..CLIENTS);
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        for who in order {
            if self.sessions.get(&who).is_some_and(|it| is_due(it.will_at)) {
                self.publish_will(who, witness)?;
            }
        }
        for who in 0..CLIENTS {
            if self.sessions.get(&who).is_some_and(|it| is_due(it.ends_at)) {
                self.end_session(who, witness)?;
            }
        }
        // [5:MQTT-3.3.2-5] A topic with an expired message has none.
        let expired: Vec<_> = { self.retained.iter() }
            .filter(|(_, message)| message.is_expired(now))
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in expired {
            self.tally.retained_expired += 1;
            self.clear_retained(&topic);
        }
        Ok(())
    }

    // --- Subscribing.

    pub(super) fn subscribe(
        &mut self,
        who: usize,
        packet_id: u16,
        subscription_id: Option<u32>,
        wishes: &[Wish],
    ) -> Verdict {
        let mut codes = String::new();
        for wish in wishes {
            codes.push_str(match self.subscribe_one(who, subscription_id, *wish)? {
                Some(0) => " 00",
                Some(1) => " 01",
                Some(_) => " 02",
                None if self.link(who)?.is_v5 => " 97",
                None => " 80",
            });
        }
        self.answer(who, &[format!("SUBACK {packet_id}{codes}")])
    }

    fn subscribe_one(
        &mut self,
        who: usize,
        subscription_id: Option<u32>,
        wish: Wish,
    ) -> Verdict<Option<u8>> {
        let maximum = self.terms.subscriptions_max;
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        let is_held = session.subscriptions.contains_key(wish.filter);
        if !is_held && session.subscriptions.len() >= maximum {
            self.tally.over_subscriptions += 1;
            return Ok(None);
        }
        let subscription = Subscription {
            qos: wish.qos,
            no_local: wish.no_local,
            as_published: wish.as_published,
            id: subscription_id,
        };
        session.subscriptions.insert(wish.filter, subscription);
        if shared(wish.filter).is_some() {
            let group = self.groups.entry(wish.filter).or_insert_with(|| {
                self.groups_seen += 1;
                Group {
                    generation: self.groups_seen,
                    members: BTreeSet::new(),
                }
            });
            group.members.insert(who);
        } else if wish.handling == 0 || (wish.handling == 1 && !is_held) {
            // [5:MQTT-3.3.1-9] [5:MQTT-3.3.1-10] [5:MQTT-3.3.1-11] [3:MQTT-3.3.1-6]
            for old in &mut session.greetings {
                old.is_owed &= old.filter != wish.filter;
            }
            let wanted = self.retained.values();
            let wanted = wanted.filter(|message| matches(wish.filter, &message.topic));
            let greetings = wanted.map(|message| Greeting {
                filter: wish.filter,
                copy: Copy {
                    message: Rc::clone(message),
                    qos: message.qos.min(wish.qos),
                    retain: true,
                    subscription_ids: subscription_id.into_iter().collect(),
                    knows_ids: true,
                    group: None,
                },
                is_owed: true,
            });
            session.greetings.extend(greetings);
        }
        Ok(Some(wish.qos))
    }

    pub(super) fn unsubscribe(
        &mut self,
        who: usize,
        packet_id: u16,
        filter: &'static str,
    ) -> Verdict {
        let existed = self.remove(who, filter);
        let code = match (self.link(who)?.is_v5, existed) {
            (false, _) => "",
            (true, true) => " 00",
            (true, false) => " 11",
        };
        self.answer(who, &[format!("UNSUBACK {packet_id}{code}")])
    }

    /// The embedder takes a subscription away. Answers whether there was one.
    pub(super) fn revoke(&mut self, who: usize, filter: &'static str) -> bool {
        let existed = self.remove(who, filter);
        self.tally.revoked += usize::from(existed);
        existed
    }

    fn remove(&mut self, who: usize, filter: &'static str) -> bool {
        let Some(session) = self.sessions.get_mut(&who) else {
            return false;
        };
        let existed = session.subscriptions.remove(filter).is_some();
        for greeting in &mut session.greetings {
            greeting.is_owed &= greeting.filter != filter;
        }
        self.leave_group(who, filter);
        existed
    }

    /// Whether retained messages may be on their way to a client, of which nobody knows which wait already.
    pub(super) fn is_greeting(&self, who: usize) -> bool {
        let session = self.sessions.get(&who);
        session.is_some_and(|session| !session.greetings.is_empty())
    }

    /// The embedder grants no more than this QoS. Answers how many subscriptions there are.
    pub(super) fn limit(&mut self, who: usize, qos_max: u8) -> usize {
        let Some(session) = self.sessions.get_mut(&who) else {
            return 0;
        };
        for subscription in session.subscriptions.values_mut() {
            self.tally.limited += usize::from(subscription.qos > qos_max);
            subscription.qos = subscription.qos.min(qos_max);
        }
        session.subscriptions.len()
    }

    fn leave_group(&mut self, who: usize, filter: &str) {
        if let Some(group) = self.groups.get_mut(filter) {
            group.members.remove(&who);
        }
        self.groups.retain(|_, group| !group.members.is_empty());
    }

    // --- Publishing.

    /// A PUBLISH of a client. `false` when the broker ends the connection for it.
    pub(super) fn publish(
        &mut self,
        who: usize,
        packet_id: Option<u16>,
        message: &Rc<Message>,
        witness: &mut Witness,
    ) -> Verdict<bool> {
        self.tally.published += 1;
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        let link = session.link.as_mut().ok_or("no connection")?;
        let (is_v5, open) = (link.is_v5, link.open.len());
        if let Some(id) = packet_id.filter(|id| message.qos == 2 && session.received.contains(id)) {
            // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2] The broker has it.
            self.tally.repeated += 1;
            link.open.insert(id);
            self.answer(who, &[format!("PUBREC {id} 00")])?;
            return Ok(true);
        }
        // [5:MQTT-3.3.4-7]
        if is_v5 && packet_id.is_some() && open >= usize::from(self.terms.receive_maximum) {
            self.tally.over_receive_maximum += 1;
            self.leave(who, Some("93"), witness)?;
            return Ok(false);
        }
        if let Some(id) = packet_id.filter(|_| message.qos == 2) {
            session.received.insert(id);
            link.open.insert(id);
        }
        let (wanted, given) = self.route(Some(who), message, witness)?;
        if let Some(id) = packet_id {
            let name = if message.qos == 1 { "PUBACK" } else { "PUBREC" };
            let codes: &[&str] = match (is_v5, wanted, given) {
                (false, _, _) | (true, _, 1..) => &["00"],
                (true, false, 0) => &["10"],
                // There was somebody, who did not get it.
                (true, true, 0) => &["00", "10"],
            };
            let codes = codes.iter().map(|code| format!("{name} {id} {code}"));
            self.answer(who, &codes.collect::<Vec<_>>())?;
        }
        Ok(true)
    }

    /// A message of the embedder.
    pub(super) fn announce(&mut self, message: &Rc<Message>, witness: &mut Witness) -> Verdict {
        self.route(None, message, witness).map(|_| ())
    }

    /// PUBREL of a client.
    pub(super) fn release(&mut self, who: usize, id: u16) -> Verdict {
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        let is_known = session.received.remove(&id);
        let link = session.link.as_mut().ok_or("no connection")?;
        link.open.remove(&id);
        let code = if is_known || !link.is_v5 { "00" } else { "92" };
        self.answer(who, &[format!("PUBCOMP {id} {code}")])
    }

    /// Gives a message to all who want it. Answers whether anybody wants it, and how many get it.
    fn route(
        &mut self,
        from: Option<usize>,
        message: &Rc<Message>,
        witness: &mut Witness,
    ) -> Verdict<(bool, usize)> {
        let topic = &message.topic;
        let mut is_wanted = false;
        let mut delivered = 0;
        for who in 0..CLIENTS {
            let Some(session) = self.sessions.get(&who) else {
                continue;
            };
            let matching = { session.subscriptions.iter() }
                .filter(|(filter, _)| shared(filter).is_none() && matches(filter, topic));
            let (mut qos, mut as_published, mut ids, mut len) = (0, false, Vec::new(), 0);
            for (_, subscription) in matching {
                // [5:MQTT-3.8.3-3]
                if subscription.no_local && from == Some(who) {
                    self.tally.not_local += 1;
                    continue;
                }
                // [5:MQTT-3.3.4-2] [5:MQTT-3.3.4-4] [3:MQTT-3.3.5-1]
                len += 1;
                qos = qos.max(subscription.qos);
                as_published |= subscription.as_published;
                ids.extend(subscription.id);
            }
            if len == 0 {
                continue;
            }
            is_wanted = true;
            self.tally.overlapping += usize::from(len > 1);
            self.tally.downgraded += usize::from(qos < message.qos);
            let copy = Copy {
                message: Rc::clone(message),
                qos: message.qos.min(qos),
                retain: message.retain && as_published,
                subscription_ids: ids,
                knows_ids: true,
                group: None,
            };
            self.tally.retain_kept += usize::from(copy.retain);
            delivered += usize::from(self.give(who, copy, witness)?);
        }
        let groups: Vec<_> = { self.groups.iter() }
            .map(|(filter, group)| (*filter, group.generation, group.members.clone()))
            .collect();
        for (filter, generation, members) in groups {
            let inner = shared(filter).map_or("", |(_, inner)| inner);
            if !matches(inner, topic) {
                continue;
            }
            is_wanted = true;
            let Some(chosen) = self.chosen(filter, message, &members, witness)? else {
                continue;
            };
            let subscription = &self.sessions[&chosen].subscriptions[filter];
            let copy = Copy {
                message: Rc::clone(message),
                qos: message.qos.min(subscription.qos),
                retain: message.retain && subscription.as_published,
                subscription_ids: subscription.id.into_iter().collect(),
                knows_ids: true,
                group: Some((filter.into(), generation)),
            };
            self.tally.shared += 1;
            self.tally.shared_away += usize::from(!self.is_connected(chosen));
            delivered += usize::from(self.give(chosen, copy, witness)?);
        }
        if message.retain {
            self.retain(message, witness)?;
        }
        Ok((is_wanted, delivered))
    }

    /// Which member of a group got a message, seen by what waits for it.
    fn chosen(
        &self,
        filter: &str,
        message: &Message,
        members: &BTreeSet<usize>,
        witness: &Witness,
    ) -> Verdict<Option<usize>> {
        // Whatever comes is one more, which may have its identifier at once, or something is dropped for it.
        let got_one = |who: usize| {
            let dropped = witness.dropped.iter().filter(|(of, _)| *of == who).count();
            let more = witness.after[who].saturating_sub(witness.before[who]);
            more + dropped > self.given[who]
        };
        let mut chosen = members.iter().copied().filter(|who| got_one(*who));
        // One who takes no packet of this size is passed over like one who is away.
        let takes_it = |who: &usize| {
            let link = self.sessions[who].link.as_ref();
            link.is_some_and(|link| link.takes_big || !message.is_big)
        };
        let connected = members.iter().any(takes_it);
        match (chosen.next(), chosen.next()) {
            (Some(one), Some(other)) => Err(format!("{filter}: {one} and {other} got it")),
            (Some(who), None) if connected && !self.is_connected(who) => Err(format!(
                "{filter}: {who} is away and got it, others are there"
            )),
            (Some(who), None) => Ok(Some(who)),
            (None, _) => {
                // QoS 0 waits for nobody who is away.
                let qos = |who: &usize| self.sessions[who].subscriptions[filter].qos;
                let may_be_lost = members.iter().any(|who| message.qos.min(qos(who)) == 0);
                if connected || !may_be_lost {
                    return Err(format!("{filter}: nobody got {}", message.payload));
                }
                Ok(None)
            }
        }
    }

    /// Puts a copy into the queue of a session, if it had room. Answers whether it did.
    fn give(&mut self, who: usize, copy: Copy, witness: &mut Witness) -> Verdict<bool> {
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        if session.link.is_none() && copy.qos == 0 {
            if self.terms.work_per_call < MUCH_WORK {
                // Its turn may come when the client is there again, and find no room then.
                let is_it =
                    |(of, topic): &(usize, String)| *of == who && *topic == copy.message.topic;
                match witness.dropped.iter().position(is_it) {
                    Some(place) => drop(witness.dropped.remove(place)),
                    None => session.greetings.push(Greeting::free(copy)),
                }
            }
            return Ok(false);
        }
        let maximum = self.terms.waiting_max;
        let most = witness.waiting[who] + self.given[who];
        let least = if !self.left.contains(&who) {
            most
        } else if self.terms.journal || self.terms.work_per_call < MUCH_WORK {
            // What has an identifier waits no more, and may not have been sent; and in slices, a
            // session may have ended before its turn.
            0
        } else {
            session.waiting.len().min(most)
        };
        let dropped = witness.dropped.iter().position(|(of, _)| *of == who);
        if let Some(place) = dropped.filter(|_| most >= maximum) {
            let (_, gone) = witness.dropped.remove(place);
            // QoS 0 gives way, the oldest first.
            let topic = &copy.message.topic;
            let gave_way = if copy.qos > 0 {
                session.give_way(&gone, topic)
            } else {
                Some(false)
            };
            match gave_way {
                Some(true) => {
                    self.tally.gave_way += 1;
                    session.waiting.push_back(copy);
                    return Ok(true);
                }
                None => session.greetings.push(Greeting::free(copy)),
                Some(false) if *topic != gone => return Err(format!("{who} lost {gone}")),
                Some(false) => self.tally.queue_full += 1,
            }
            return Ok(false);
        }
        if least >= maximum {
            return Err(format!("{who} has no room for {}", copy.message.payload));
        }
        self.given[who] += 1;
        match copy.qos {
            0 => session.waiting_qos0.push_back(copy),
            _ => session.waiting.push_back(copy),
        }
        Ok(true)
    }

    // --- Retained messages.

    fn retain(&mut self, message: &Rc<Message>, witness: &mut Witness) -> Verdict {
        // [5:MQTT-3.3.1-5] [5:MQTT-3.3.1-6] [5:MQTT-3.3.1-7] [3:MQTT-3.3.1-5] [3:MQTT-3.3.1-10]
        self.clear_retained(&message.topic);
        if message.payload.is_empty() {
            return Ok(());
        }
        // What expires at this moment may be there or not.
        let most = self.retained.len();
        let least = { self.retained.values() }.filter(|it| !it.is_expired(self.now));
        let (least, maximum) = (least.count(), self.terms.retained_max);
        let refused = &mut witness.not_retained;
        match refused.iter().position(|topic| *topic == message.topic) {
            Some(_) if most < maximum => return Err("there was room to retain it".into()),
            Some(place) => {
                refused.remove(place);
                self.tally.over_retained += 1;
            }
            None if least >= maximum => return Err("there was no room to retain it".into()),
            None => {
                let kept = Rc::clone(message);
                self.retained.insert(message.topic.clone(), kept);
            }
        }
        Ok(())
    }

    fn clear_retained(&mut self, topic: &str) {
        if self.retained.remove(topic).is_none() {
            return;
        }
        for session in self.sessions.values_mut() {
            for greeting in &mut session.greetings {
                greeting.is_owed &= greeting.copy.message.topic != topic;
            }
        }
    }

    // --- Packets of the broker.

    /// A packet other than PUBLISH.
    pub(super) fn heard(&mut self, who: usize, packet: &str) -> Verdict {
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        let link = session.link.as_mut().ok_or("no connection")?;
        let is_it = |expected: &Vec<String>| expected.iter().any(|it| it == packet);
        if link.answers.front().is_some_and(is_it) {
            link.answers.pop_front();
            return Ok(());
        }
        // Its turn may have come before anything is sent again.
        let (published, released) = (&mut session.published, &mut session.released);
        self.tally.too_large += link.skip_large(published, released);
        let is_released = |id: &u16| packet == format!("PUBREL {id} 00");
        if let Some(id) = link.withdrawn.iter().copied().find(is_released) {
            link.withdrawn.remove(&id);
            return Ok(());
        }
        match link.answers.front() {
            Some(expected) => Err(format!("{who} got {packet} and not {expected:?}")),
            None => Err(format!("{who} got {packet}, and nothing was to come")),
        }
    }

    /// A PUBLISH to a client.
    pub(super) fn sent(&mut self, who: usize, seen: &Seen) -> Verdict {
        let wrong = |text: &str| Err(format!("{who} got {seen:?}: {text}"));
        let now = self.now;
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        let link = session.link.as_mut().ok_or("no connection")?;
        let is_v5 = link.is_v5;
        self.tally.sent[usize::from(is_v5)][usize::from(seen.qos)] += 1;
        if seen.id.is_some() {
            self.tally.too_large += link.skip_large(&mut session.published, &mut session.released);
        }
        let is_first = link.again.is_empty() && session.is_restored;
        if seen.dup && !is_first {
            // [5:MQTT-3.3.1-1] [5:MQTT-4.4.0-1] [5:MQTT-4.6.0-1] [3:MQTT-4.6.0-1]
            let Some(id) = link.again.pop_front() else {
                return wrong("nothing is to be sent again");
            };
            let mut flights = session.published.iter();
            let flight = flights.find(|flight| flight.id == id).ok_or("no flight")?;
            if !is_seen(seen, &flight.copy, now, is_v5, Some(id)) {
                let expected = show(&flight.copy, now, is_v5, true, Some(id));
                return wrong(&format!("to be sent again is {expected:?}"));
            }
            self.tally.sent_again += 1;
            link.unacknowledged.insert(id);
            return link.check_quota(who);
        }
        if let Some(id) = seen.id {
            if !link.again.is_empty() {
                return wrong("others have to be sent again before");
            }
            let mut used = { session.published.iter() }.map(|flight| flight.id);
            // [5:MQTT-2.2.1-4] [3:MQTT-2.3.1-4]
            if used.any(|used| used == id) || session.released.contains(&id) {
                return wrong("its identifier is in use");
            }
        }
        let queue = match seen.qos {
            0 => &mut session.waiting_qos0,
            _ => &mut session.waiting,
        };
        let takes_big = link.takes_big;
        let is_it = |copy: &Copy| is_seen(seen, copy, now, is_v5, seen.id);
        let is_late = |copy: &Copy| copy.message.is_expired(now);
        let mut passed = { queue.iter() }
            .take_while(|copy| is_late(copy) || (copy.message.is_big && !takes_big))
            .count();
        // What may have been sent before the program ended is sent again, however late.
        let is_again = seen.dup;
        if is_again && let Some(place) = queue.range(..passed).position(is_it) {
            passed = place;
        }
        let copy = if queue.get(passed).is_some_and(is_it) {
            for copy in queue.drain(..passed) {
                self.tally.note_passed(&copy, now);
            }
            queue.pop_front().ok_or("an empty queue")?
        } else {
            let (owed, others): (Vec<_>, Vec<_>) =
                { session.greetings.iter().enumerate() }.partition(|(_, it)| it.is_owed);
            let mut greetings = owed.into_iter().chain(others);
            let greeting =
                greetings.find(|(_, it)| is_it(&it.copy) && (is_again || !is_late(&it.copy)));
            let Some((place, _)) = greeting else {
                let next = { queue.get(passed) }.map(|copy| show(copy, now, is_v5, false, None));
                let others = &session.greetings;
                return wrong(&format!("next is {next:?}, or one of {others:?}"));
            };
            let mut copy = session.greetings.remove(place).copy;
            if !is_v5 {
                for twin in { session.greetings.iter_mut() }.filter(|it| is_it(&it.copy)) {
                    (twin.copy.knows_ids, copy.knows_ids) = (false, false);
                }
            }
            self.tally.greeted += 1;
            // A retained message is never older than what came live.
            let key = (copy.message.topic.clone(), seen.qos);
            let newest = session.newest.get(&key);
            if newest.is_some_and(|newest| *newest > copy.message.number) {
                return wrong("a newer message on this topic came before");
            }
            copy
        };
        if copy.message.retain {
            let newest = session.newest.entry((copy.message.topic.clone(), seen.qos));
            let newest = newest.or_default();
            *newest = copy.message.number.max(*newest);
        }
        if let Some(id) = seen.id {
            session.published.push(Flight { id, copy });
            link.unacknowledged.insert(id);
            return link.check_quota(who);
        }
        Ok(())
    }

    /// The broker has nothing more to send to a client that has read everything. `waiting` and
    /// `in_flight` is what the broker counts.
    pub(super) fn idle(&mut self, who: usize, waiting: usize, in_flight: usize) -> Verdict {
        let now = self.now;
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        let link = session.link.as_mut().ok_or("no connection")?;
        if let Some(answer) = link.answers.front() {
            return Err(format!("{who} never got {answer:?}"));
        }
        let has_quota = link.unacknowledged.len() < link.quota;
        if session.published.len() + session.released.len() != in_flight {
            self.tally.too_large += link.skip_large(&mut session.published, &mut session.released);
        }
        if let Some(id) = link.withdrawn.first() {
            return Err(format!("{who} never got PUBREL {id}"));
        }
        let flights = session.published.len() + session.released.len();
        // With a store, a message has its identifier before it is sent.
        let named = if self.terms.journal {
            session.waiting.len() + session.greetings.len()
        } else {
            0
        };
        if in_flight < flights || in_flight > flights + named {
            return Err(format!("{who}: {in_flight} in flight, and not {flights}"));
        }
        if has_quota && !link.again.is_empty() {
            return Err(format!("{who}: {:?} were not sent again", link.again));
        }
        let takes_big = link.takes_big;
        let tally = &mut self.tally;
        let mut pass = |queue: &mut VecDeque<Copy>| {
            while let Some(copy) = queue.front()
                && (copy.message.is_expired(now) || (copy.message.is_big && !takes_big))
            {
                tally.note_passed(copy, now);
                queue.pop_front();
            }
        };
        // Whatever is in flight, QoS 0 goes.
        pass(&mut session.waiting_qos0);
        if let Some(copy) = session.waiting_qos0.front() {
            return Err(format!("{who} never got {copy:?}"));
        }
        let may_go = has_quota && flights < usize::from(self.terms.in_flight_max);
        if may_go {
            pass(&mut session.waiting);
            if let Some(copy) = session.waiting.front() {
                return Err(format!("{who} has quota and never got {copy:?}"));
            }
        } else {
            self.tally.held_back += usize::from(!session.waiting.is_empty());
        }
        // Of the retained messages, those that had room have been sent, or wait for quota.
        for greeting in &mut session.greetings {
            let message = &greeting.copy.message;
            greeting.is_owed &= !message.is_expired(now) && (takes_big || !message.is_big);
        }
        let has_room = waiting < self.terms.waiting_max.min(64);
        if has_room
            && may_go
            && let Some(owed) = session.greetings.iter().find(|it| it.is_owed)
        {
            return Err(format!("{who} never got {owed:?}"));
        }
        if may_go && waiting == 0 {
            session.greetings.clear();
        }
        let most = session.waiting.len() + session.greetings.len();
        let passed = session.waiting.iter();
        let passed = passed.filter(|copy| copy.message.is_expired(now) || copy.message.is_big);
        let least = session.waiting.len() - passed.count();
        let least = least.saturating_sub(in_flight - flights);
        if waiting < least || waiting > most {
            return Err(format!("{who}: {waiting} wait, and not {least} to {most}"));
        }
        Ok(())
    }

    /// An acknowledgement of a client, or its refusal.
    pub(super) fn acknowledged(&mut self, who: usize, answer: Answer, refuses: bool) -> Verdict {
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        let link = session.link.as_mut().ok_or("no connection")?;
        let place = |id: u16| session.published.iter().position(|flight| flight.id == id);
        match answer {
            Answer::Acknowledge(id) => {
                session.published.remove(place(id).ok_or("no flight")?);
                link.unacknowledged.remove(&id);
            }
            Answer::Receive(id) => {
                session.published.remove(place(id).ok_or("no flight")?);
                if refuses {
                    link.unacknowledged.remove(&id);
                } else {
                    session.released.push(id);
                    link.answers.push_back(vec![format!("PUBREL {id} 00")]);
                }
            }
            Answer::Complete(id) => {
                session.released.retain(|released| *released != id);
                link.unacknowledged.remove(&id);
            }
        }
        self.tally.refused += usize::from(refuses);
        Ok(())
    }

    fn link(&self, who: usize) -> Verdict<&Link> {
        let session = self.sessions.get(&who).ok_or("no session")?;
        Ok(session.link.as_ref().ok_or("no connection")?)
    }

    fn link_mut(&mut self, who: usize) -> Verdict<&mut Link> {
        let session = self.sessions.get_mut(&who).ok_or("no session")?;
        Ok(session.link.as_mut().ok_or("no connection")?)
    }

    fn answer(&mut self, who: usize, choices: &[String]) -> Verdict {
        self.link_mut(who)?.answers.push_back(choices.to_vec());
        Ok(())
    }
}

impl Session {
    /// The QoS 0 message that has waited longest is gone, where the topic of what is gone is that of
    /// one. `None` where this is not known: it may as well have been what was to come.
    fn give_way(&mut self, gone: &str, topic: &str) -> Option<bool> {
        let mut greetings: Vec<_> = { self.greetings.iter_mut() }
            .filter(|it| it.copy.qos == 0 && it.copy.message.topic == gone)
            .collect();
        for greeting in &mut greetings {
            greeting.is_owed = false;
        }
        let is_sure = greetings.is_empty();
        let is_gone = |copy: &Copy| copy.message.topic == gone;
        if self.waiting_qos0.front().is_some_and(is_gone) {
            let copy = self.waiting_qos0.pop_front()?;
            if !is_sure {
                self.greetings.push(Greeting::free(copy));
            }
            return Some(true);
        }
        match is_sure {
            true => Some(false),
            false => (gone != topic).then_some(true),
        }
    }
}

impl Greeting {
    /// A copy that may come at any time, or not.
    const fn free(copy: Copy) -> Self {
        Self {
            filter: "",
            copy,
            is_owed: false,
        }
    }
}

impl Link {
    /// What is next to be sent again and too large for this connection counts as acknowledged.
    // [5:MQTT-3.1.2-25]
    // [5:MQTT-4.3.3-4] [3:MQTT-4.3.3-1] At QoS 2 the receiver may hold the identifier.
    fn skip_large(&mut self, flights: &mut Vec<Flight>, released: &mut Vec<u16>) -> usize {
        let before = flights.len();
        while let Some(id) = self.again.front().copied()
            && let Some(place) = flights.iter().position(|flight| flight.id == id)
            && flights[place].copy.message.is_big
            && !self.takes_big
        {
            if flights.remove(place).copy.qos == 2 {
                released.push(id);
                self.withdrawn.insert(id);
            }
            self.again.pop_front();
        }
        before - flights.len()
    }

    // [5:MQTT-3.3.4-9]
    fn check_quota(&self, who: usize) -> Verdict {
        if self.unacknowledged.len() > self.quota {
            let (quota, open) = (self.quota, &self.unacknowledged);
            return Err(format!(
                "{who} takes {quota} at once, and has {open:?} open"
            ));
        }
        Ok(())
    }
}

impl Tally {
    fn note_passed(&mut self, copy: &Copy, now: u64) {
        if copy.message.is_expired(now) {
            self.expired += 1;
        } else {
            self.too_large += 1;
        }
    }
}

/// Whether a PUBLISH is this copy.
fn is_seen(seen: &Seen, copy: &Copy, now: u64, is_v5: bool, id: Option<u16>) -> bool {
    let mut expected = show(copy, now, is_v5, seen.dup, id);
    if !copy.knows_ids {
        expected.subscription_ids.clone_from(&seen.subscription_ids);
    }
    *seen == expected
}

/// A copy as a PUBLISH.
fn show(copy: &Copy, now: u64, is_v5: bool, dup: bool, id: Option<u16>) -> Seen {
    let message = &copy.message;
    let mut subscription_ids = if is_v5 {
        copy.subscription_ids.clone()
    } else {
        Vec::new()
    };
    subscription_ids.sort_unstable();
    let left = |at: u64| u32::try_from(at.saturating_sub(now)).unwrap();
    Seen {
        topic: message.topic.clone(),
        payload: message.payload.clone(),
        qos: copy.qos,
        retain: copy.retain,
        dup,
        id,
        subscription_ids,
        // [5:MQTT-3.3.2-6]
        expiry: message.expires_at.filter(|_| is_v5).map(left),
        note: message.note.clone().filter(|_| is_v5),
    }
}
