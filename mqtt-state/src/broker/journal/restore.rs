//! A broker from what was stored. Nothing in it is believed.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

use mqtt_codec::{PacketId, QoS, TopicFilter};
use mqtt_topic::{GroupId, Match, Scratch};

use super::key::Key;
use super::value::{
    StoredDelivery, StoredMessage, StoredSession, StoredState, StoredSubscription, Value,
};
use super::{StoreKey, StoreValue};
use crate::Timestamp;
use crate::broker::join::Stamp;
use crate::broker::sessions::SessionKey;
use crate::broker::store::{Delivery, MessageRef};
use crate::broker::timers::Timer;
use crate::broker::{Broker, Config};
use crate::counted::Arc;
use crate::server::WillRequest;
use crate::session::{QueueLimits, Release};

/// For how long a store was nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[expect(
    clippy::exhaustive_structs,
    reason = "a moment and what has passed since"
)]
pub struct Idle {
    /// [`JournalEntry::at`](super::JournalEntry::at) of the last entry that was stored.
    pub at: Timestamp,
    /// The time since then, by a clock that went on while no broker ran.
    pub elapsed: Duration,
}

/// Numbers in keys stay below this one.
const LAST_NUMBER: u64 = 1 << 63;

/// Why an entry of a store is left out. The journal of the restored broker removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The value is none that this key can have.
    OtherKind,
    /// It refers to a message or a session that has not been put.
    Missing,
    /// It stands twice: a key, which also means that keys are out of order, a client identifier, a topic,
    /// or a packet identifier of a session.
    Twice,
    /// There is no room for it within [`Config`].
    Limit,
    /// Its filter is none, or is no shared one.
    Filter,
    /// Its state does not go with its QoS.
    State,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherKind => "the value is none that its key can have",
            Self::Missing => "it refers to something that is not there",
            Self::Twice => "it stands twice",
            Self::Limit => "there is no room for it",
            Self::Filter => "its filter is none",
            Self::State => "its state does not go with its QoS",
        })
    }
}

impl core::error::Error for RestoreError {}

/// Puts a [`Broker`] together from the entries of a store, each put once, in the order of their keys.
///
/// Expiry has gone on while no broker ran. The clients of all sessions count as gone since the last
/// entry, so wills and sessions whose time is over by now are due at once: the first
/// [`handle_timeout`](Broker::handle_timeout) ends them.
///
/// What is stored is a table of keys and values, so that any database will do, and there is nothing to compact:
///
/// ```
/// use core::time::Duration;
/// use std::collections::BTreeMap;
/// use mqtt_codec::{Message, QoS, TopicName};
/// use mqtt_state::Timestamp;
/// use mqtt_state::broker::{Broker, Config, Idle, Restore, StoreKey};
///
/// let config = Config { journal: true, ..Config::default() };
/// let now = Timestamp::from_secs(100);
/// let mut broker = Broker::new(config.clone());
/// broker.publish(now, Message::new("house/light", "on")?.with_qos(QoS::AtLeastOnce).with_retain(true));
///
/// // A database whose keys are bytes in order, here in memory.
/// let mut database = BTreeMap::new();
/// let mut at = Timestamp::ZERO;
/// while let Some(entry) = broker.poll_journal() {
///     // All of an entry or nothing of it.
///     for change in entry.changes() {
///         let key = change.key().to_bytes();
///         match change.value() {
///             Some(value) => database.insert(key, value.clone()),
///             None => database.remove(&key),
///         };
///     }
///     at = entry.at();
///     broker.handle_stored(entry.position());
/// }
///
/// // The program ends without a warning. The next one goes on an hour later, with a clock that
/// // starts anew.
/// let idle = Idle { at, elapsed: Duration::from_secs(3600) };
/// let mut restore = Restore::new(config, Timestamp::ZERO, idle);
/// for (key, value) in database {
///     let key = StoreKey::from_bytes(&key).ok_or("not a key")?;
///     restore.put(key, value)?;
/// }
/// let broker = restore.finish();
/// assert_eq!(broker.retained(TopicName::new("house/light")?).map(Message::payload), Some(&b"on"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What is kept: sessions that outlive their connection, with their subscriptions, the messages of
/// QoS 1 and 2 that wait or are in flight, and the QoS 2 messages that came and were not released;
/// retained messages; wills. What is not: QoS 0 messages, and sessions that end with their
/// connection, for a connection does not outlive the program. Their wills are kept and published
/// afterwards. Nor is it kept which retained messages a new subscription still had to get, and a will that
/// somebody is being asked about is gone with the question.
#[derive(Debug)]
pub struct Restore {
    broker: Broker,
    now: Timestamp,
    idle: Idle,
    /// Each with a reference of this map's own.
    messages: BTreeMap<u64, MessageRef>,
    sessions: BTreeMap<u64, SessionKey>,
    /// PUBCOMP is missing: session, order of the PUBRECs, identifier, number.
    releases: Vec<(SessionKey, u64, PacketId, u64)>,
    /// Identifiers of QoS 2 messages that are left out: their clients may hold them.
    given_up: Vec<(SessionKey, PacketId)>,
    scratch: Scratch,
    /// The key before.
    last: Option<Key>,
}

impl Restore {
    /// Begins with nothing. The broker's [`Config::journal`] need not be on; where it is, it goes on
    /// with the same store.
    #[must_use]
    pub fn new(config: Config, now: Timestamp, idle: Idle) -> Self {
        let mut broker = Broker::new(config);
        let now = broker.clock.advance(now);
        broker.store.journal.begin(now, idle.at + idle.elapsed);
        Self {
            broker,
            now,
            idle,
            messages: BTreeMap::new(),
            sessions: BTreeMap::new(),
            releases: Vec::new(),
            given_up: Vec::new(),
            scratch: Scratch::default(),
            last: None,
        }
    }

    /// Puts one entry back.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]: it is left out, and everything else goes on. Of a QoS 2 message that was sent and that there
    /// is no room for, the identifier stays in use until the client has let go of it, as far as
    /// [`Config::total_bytes_max`] lets it.
    pub fn put(&mut self, key: StoreKey, value: StoreValue) -> Result<(), RestoreError> {
        let number = key.0.number();
        let put = match number {
            // No broker gives out so many; behind them there would be none left.
            0 | LAST_NUMBER.. => Err(RestoreError::Limit),
            // Each once, in their order.
            _ if self.last.as_ref().is_some_and(|last| *last >= key.0) => Err(RestoreError::Twice),
            _ => {
                self.last = Some(key.0.clone());
                self.broker.store.journal.note_number(number);
                self.put_checked(&key.0, value.0)
            }
        };
        if put.is_err() {
            self.broker.store.journal.remove(key.0);
        }
        put
    }

    /// The broker. Its journal begins with what was left out.
    #[must_use]
    pub fn finish(mut self) -> Broker {
        self.releases.sort_unstable();
        for (key, _, id, number) in core::mem::take(&mut self.releases) {
            self.release(key, id, number, false);
        }
        for (key, id) in core::mem::take(&mut self.given_up) {
            let kept_as = self.broker.sessions.get(key);
            let kept_as = kept_as.and_then(|entry| entry.kept_as());
            let number = self.broker.store.record_moved_release(kept_as, id);
            self.release(key, id, number, true);
        }
        for key in self.sessions.values() {
            self.broker.sessions.weigh(*key);
            if let Some(entry) = self.broker.sessions.get_mut(*key) {
                entry.session.outbound.restored();
            }
            self.broker.record_session(*key);
        }
        for message in self.messages.into_values() {
            // Nothing may refer to it; then it goes.
            self.broker.store.release(message);
        }
        self.broker
    }

    /// PUBCOMP is missing for a message.
    fn release(&mut self, key: SessionKey, id: PacketId, number: u64, was_told: bool) {
        let broker = &mut self.broker;
        let has_bytes = broker.has_bytes_for_id(key, id);
        let Some(entry) = broker.sessions.get_mut(key) else {
            return;
        };
        let release = Release {
            id,
            tag: number,
            was_told,
        };
        if has_bytes && entry.session.outbound.restore_release(release) {
            broker.sessions.weigh(key);
        } else {
            let kept_as = entry.kept_as();
            broker.store.record_ended(kept_as, number);
        }
    }

    fn put_checked(&mut self, key: &Key, value: Value) -> Result<(), RestoreError> {
        match (key, value) {
            (Key::Message { message }, Value::Message(stored)) => self.message(*message, stored),
            (Key::Retained { message }, Value::Present) => self.retained(*message, None),
            (Key::Retained { message }, Value::Stamped(stamp)) => {
                self.retained(*message, Some(stamp))
            }
            (Key::Session { session }, Value::Session(stored)) => self.session(*session, *stored),
            (Key::Subscription { session, filter }, Value::Subscription(stored)) => {
                self.subscription(*session, filter, stored)
            }
            (Key::Delivery { session, number }, Value::Delivery(stored)) => {
                self.delivery(*session, *number, stored)
            }
            (Key::Unreleased { session, id }, Value::Present) => self.unreleased(*session, *id),
            _other => Err(RestoreError::OtherKind),
        }
    }

    fn message(&mut self, number: u64, stored: StoredMessage) -> Result<(), RestoreError> {
        let broker = &mut self.broker;
        let bytes = broker.store.bytes();
        let bytes = bytes.saturating_add(stored.message.len_held());
        let is_full = broker.store.len() >= broker.config.messages_len_max;
        if is_full || bytes > broker.config.total_bytes_max {
            return Err(RestoreError::Limit);
        }
        let expires_at = stored
            .expires_at
            .map(|at| broker.store.journal.by_our_clock(at));
        let reference = broker.store.insert(stored.message, expires_at);
        let reference = reference.ok_or(RestoreError::Limit)?;
        broker.store.set_number(&reference, number);
        self.messages.insert(number, reference);
        Ok(())
    }

    fn retained(&mut self, number: u64, stamp: Option<Stamp>) -> Result<(), RestoreError> {
        let reference = self.messages.get(&number).ok_or(RestoreError::Missing)?;
        let broker = &mut self.broker;
        let expires_at = broker.store.expires_at(reference);
        if expires_at.is_some_and(|at| at <= self.now) {
            // It is nobody's fault, and nothing of it is left.
            broker.store.record_not_retained(reference);
            return Ok(());
        }
        let message = broker.store.message(reference).cloned();
        let message = message.ok_or(RestoreError::Missing)?;
        if broker.retained.get(message.topic()).is_some() {
            return Err(RestoreError::Twice);
        }
        let kept = broker.store.share(reference);
        let set = broker
            .retained
            .set(message.topic(), kept, message.len_held());
        broker.weigh_indexes();
        match set {
            Ok(_nothing) => {
                if let Some(at) = expires_at {
                    broker.timers.set(at, Timer::Retained(reference.name()));
                }
                broker.note_restored(message.topic(), stamp);
                Ok(())
            }
            Err(refused) => {
                broker.store.release(refused.message);
                Err(RestoreError::Limit)
            }
        }
    }

    fn session(&mut self, number: u64, stored: StoredSession) -> Result<(), RestoreError> {
        let StoredSession {
            client_id,
            expiry_secs,
            is_connected,
            expires_at,
            owner,
            will,
            will_at,
            since,
        } = stored;
        let broker = &mut self.broker;
        let stored_as = NonZeroU64::new(number).ok_or(RestoreError::Twice)?;
        if broker.sessions.find(&client_id).is_some() {
            return Err(RestoreError::Twice);
        }
        if broker.sessions.len() >= broker.config.sessions_max {
            return Err(RestoreError::Limit);
        }
        let key = broker.sessions.create(&client_id);
        let key = key.ok_or(RestoreError::Limit)?;
        self.sessions.insert(number, key);
        // What was connected has been gone since the last entry.
        let left_at = self.idle.at;
        let ends_at = match (expires_at, expiry_secs) {
            (_, u32::MAX) => None,
            (Some(at), _) if !is_connected => Some(at),
            _ => Some(left_at.plus_secs(expiry_secs)),
        };
        let will_at = will.as_ref().map(|will| match will_at {
            Some(at) if !is_connected => at,
            _ => left_at.plus_secs(will.delay_secs.min(expiry_secs)),
        });
        let journal = &broker.store.journal;
        let ends_at = ends_at.map(|at| journal.by_our_clock(at));
        let will_at = will_at.map(|at| journal.by_our_clock(at));
        let entry = broker.sessions.get_mut(key);
        let entry = entry.ok_or(RestoreError::Missing)?;
        // Without a journal nothing waits for the store that it came from.
        if broker.store.journal.is_on() {
            entry.stored_as = Some(stored_as);
            // One that ends at once, too: if it was kept, others of its groups get what it did not.
            entry.session.outbound.follow();
        }
        let in_flight_max = broker.config.server.in_flight_len_max();
        entry.session.outbound.limit_in_flight(in_flight_max);
        entry.expiry_secs = expiry_secs;
        entry.expires_at = ends_at.into();
        entry.owner = owner.map(Arc::new);
        entry.will = will.map(|will| {
            Box::new(WillRequest {
                message: will.message,
                delay_secs: will.delay_secs,
            })
        });
        entry.will_at = will_at.into();
        entry.since = since;
        broker.count_on(since);
        if let Some(at) = will_at {
            broker.timers.set(at, Timer::Will(key));
        }
        if let Some(at) = ends_at {
            broker.timers.set(at, Timer::Session(key));
        }
        Ok(())
    }

    fn subscription(
        &mut self,
        session: u64,
        text: &str,
        stored: StoredSubscription,
    ) -> Result<(), RestoreError> {
        let key = self.session_key(session)?;
        let broker = &mut self.broker;
        let maximum = broker.config.subscriptions_per_session_max;
        if broker.subscriptions.subscriptions_len(key) >= maximum {
            return Err(RestoreError::Limit);
        }
        let filter = TopicFilter::new(text).map_err(|_| RestoreError::Filter)?;
        let is_shared = stored.is_shared;
        let subscription = stored.into_subscription(0);
        let shared = match is_shared {
            true => Some(filter.shared().ok().flatten().ok_or(RestoreError::Filter)?),
            false => None,
        };
        match broker.put_into_index(key, filter, shared, subscription) {
            Ok(_) => {
                broker.note_interest(key, filter, is_shared, true);
                Ok(())
            }
            Err(_) => Err(RestoreError::Limit),
        }
    }

    fn delivery(
        &mut self,
        session: u64,
        number: u64,
        stored: StoredDelivery,
    ) -> Result<(), RestoreError> {
        let key = self.session_key(session)?;
        if stored.qos == QoS::AtMostOnce {
            return Err(RestoreError::State);
        }
        let (message, id) = match stored.state {
            StoredState::Waiting { message } => (message, None),
            StoredState::Published { message, id } => (message, Some(id)),
            StoredState::Released { id, order } => {
                self.releases.push((key, order, id, number));
                return Ok(());
            }
        };
        let put = self.message_of(key, number, message, id, &stored);
        if let Err(RestoreError::Limit | RestoreError::Missing) = put
            && let Some(id) = id
            && stored.qos == QoS::ExactlyOnce
        {
            self.given_up.push((key, id));
        }
        put
    }

    /// A message that waits for its identifier, or has one.
    fn message_of(
        &mut self,
        key: SessionKey,
        number: u64,
        message: u64,
        id: Option<PacketId>,
        stored: &StoredDelivery,
    ) -> Result<(), RestoreError> {
        let reference = self.messages.get(&message).ok_or(RestoreError::Missing)?;
        let group = match stored.is_turn {
            true => group_of(&self.broker, &mut self.scratch, key, reference),
            false => None,
        };
        let broker = &mut self.broker;
        let bytes = broker.store.message(reference);
        let bytes = bytes.map_or(0, |message| message.len_held());
        // What came with a session from another broker has had a limit of its own, beside what waited behind that.
        let times = if broker.config.join.is_some() { 2 } else { 1 };
        let server = &broker.config.server;
        let limits = QueueLimits {
            len_max: server.waiting_len_max.saturating_mul(times),
            bytes_max: server.messages_bytes_max.saturating_mul(times),
        };
        let entry = broker.sessions.get_mut(key);
        let entry = entry.ok_or(RestoreError::Missing)?;
        let outbound = &entry.session.outbound;
        let in_flight_max = broker.config.server.in_flight_len_max();
        if id.is_some_and(|id| outbound.holds(id)) {
            return Err(RestoreError::Twice);
        }
        let has_room = match id {
            None => outbound.has_room(bytes, limits),
            Some(_) => outbound.in_flight_len() < in_flight_max,
        };
        if !has_room || id.is_some_and(|id| !broker.has_bytes_for_id(key, id)) {
            return Err(RestoreError::Limit);
        }
        let delivery = Delivery {
            message: broker.store.share(reference),
            retain: stored.retain,
            is_replay: false,
            qos: stored.qos,
            group,
            subscription_ids: stored.subscription_ids.iter().copied().collect(),
        };
        broker.store.note_delivery(&delivery);
        let entry = broker.sessions.get_mut(key);
        let entry = entry.ok_or(RestoreError::Missing)?;
        let outbound = &mut entry.session.outbound;
        match id {
            None => outbound.enqueue(stored.qos, delivery, number, bytes, 0),
            Some(id) => {
                let _is_free = outbound.restore_publish(id, stored.qos, delivery, number, bytes);
                broker.sessions.weigh(key);
            }
        }
        Ok(())
    }

    fn unreleased(&mut self, session: u64, id: PacketId) -> Result<(), RestoreError> {
        let key = self.session_key(session)?;
        let entry = self.broker.sessions.get_mut(key);
        let entry = entry.ok_or(RestoreError::Missing)?;
        // Each key comes once, so it is new.
        let _is_new = entry.session.inbound.remember(id);
        Ok(())
    }

    fn session_key(&self, session: u64) -> Result<SessionKey, RestoreError> {
        let key = self.sessions.get(&session).copied();
        key.ok_or(RestoreError::Missing)
    }
}

/// The shared subscription whose turn a message was, for a member of it.
fn group_of(
    broker: &Broker,
    scratch: &mut Scratch,
    key: SessionKey,
    reference: &MessageRef,
) -> Option<GroupId> {
    let message = broker.store.message(reference)?;
    let matches = broker.subscriptions.matches(message.topic(), scratch);
    { matches }.find_map(|found| match found {
        Match::Group(group) => {
            let mut members = (0..group.len()).filter_map(|place| group.get(place));
            members.any(|(member, _)| member == key).then(|| group.id())
        }
        _plain => None,
    })
}
