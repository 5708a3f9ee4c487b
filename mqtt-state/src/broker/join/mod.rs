//! Several brokers as one: joined by whatever carries a [`JoinMessage`] from one to the other.
//!
//! Each broker has a [`BrokerId`] and a link to every other one. Over it they say which filters
//! their subscribers have, so that a message goes only where somebody wants it; they send messages
//! on, and retained messages in any case. What was sent on is never sent on again.
//!
//! Here are two brokers in one program, joined by channels:
//!
//! ```
//! use std::sync::mpsc;
//! use mqtt_codec::{Message, QoS, TopicFilter};
//! use mqtt_state::Timestamp;
//! use mqtt_state::broker::{Broker, BrokerId, Config, Event, JoinConfig, JoinMessage};
//!
//! /// A broker, and its ends of the two channels.
//! struct Side {
//!     broker: Broker,
//!     other: BrokerId,
//!     sender: mpsc::Sender<JoinMessage>,
//!     receiver: mpsc::Receiver<JoinMessage>,
//! }
//!
//! impl Side {
//!     fn new(
//!         id: u32,
//!         other: u32,
//!         sender: mpsc::Sender<JoinMessage>,
//!         receiver: mpsc::Receiver<JoinMessage>,
//!     ) -> Self {
//!         let join = JoinConfig { id: BrokerId::new(id), ..JoinConfig::default() };
//!         let broker = Broker::new(Config { join: Some(join), ..Config::default() });
//!         Self { broker, other: BrokerId::new(other), sender, receiver }
//!     }
//!
//!     /// After any call: what the other broker is to hear, and what it has said.
//!     fn exchange(&mut self, now: Timestamp) -> bool {
//!         let mut moved = false;
//!         while let Some((to, message)) = self.broker.poll_joined(now) {
//!             assert_eq!(to, self.other, "there is no third one");
//!             moved |= self.sender.send(message).is_ok();
//!         }
//!         while let Ok(message) = self.receiver.try_recv() {
//!             self.broker.handle_joined(now, self.other, message);
//!             moved = true;
//!         }
//!         moved
//!     }
//! }
//!
//! let now = Timestamp::ZERO;
//! let ((to_second, at_second), (to_first, at_first)) = (mpsc::channel(), mpsc::channel());
//! let mut first = Side::new(1, 2, to_second, at_first);
//! let mut second = Side::new(2, 1, to_first, at_second);
//! first.broker.join(now, BrokerId::new(2))?;
//! second.broker.join(now, BrokerId::new(1))?;
//! second.broker.subscribe_local(TopicFilter::new("house/#")?)?;
//! while first.exchange(now) | second.exchange(now) {}
//!
//! let message = Message::new("house/light", "on")?.with_qos(QoS::AtLeastOnce);
//! assert_eq!(first.broker.publish(now, message), 1, "it goes to one other broker");
//! while first.exchange(now) | second.exchange(now) {}
//!
//! let events: Vec<_> = core::iter::from_fn(|| second.broker.poll_event()).collect();
//! assert!(events.iter().any(|event| {
//!     matches!(event, Event::Local { message, .. } if message.payload() == b"on")
//! }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the embedder does
//!
//! [`Broker::join`] says that messages can be carried to and from another broker, [`Broker::part`] that
//! they cannot any more; what was on its way then is lost, and that is no harm. Both sides join, in whichever
//! order: what one says before the other has joined is said once more. Between the two calls
//! messages have to arrive in their order: whatever is missing, repeated or out of order makes the
//! link begin anew. A broker that begins anew, with a higher [`JoinConfig::incarnation`], joins the others; they need
//! no call for that where messages reach it as before.
//!
//! [`Broker::poll_joined`] is polled after any call, as [`poll_event`](Broker::poll_event) is. Where the way to each
//! broker may be full by itself, such as a channel with a bound, it is
//! [`Broker::poll_joined_to`], as long as there is room: what is not fetched waits in the broker, within the limits
//! of [`JoinConfig`], and the others are not held up. A broker that waited for room in the channel of another one,
//! which waits for room in its own, would wait for ever.
//!
//! `hello_joined` in the examples is a broker on all cores: a thread for each, joined over channels.
//!
//! # What is promised
//!
//! - A message at QoS 1 or 2 that a broker has taken reaches every broker whose interest it knows once,
//!   across links that are cut and come back, and in the order of its publisher, as far as
//!   [`JoinConfig::forwards_len_max`] and [`JoinConfig::forwards_bytes_max`] let it wait; what is dropped
//!   there is an [`Event::NotForwarded`]. At QoS 0 it may be lost with a link.
//! - A broker that begins anew, with a higher [`JoinConfig::incarnation`], gets what it had not
//!   acknowledged, once more. Where a store follows it ([`Config::journal`]), it acknowledges what
//!   is stored.
//! - Questions ([`Ask`](super::Ask)) are asked where the client is.
//! - Each message of a shared subscription goes to one member that may have it, wherever that is. The broker that
//!   the message was published at chooses: by turns, as many for a broker as it has members that are
//!   connected.
//! - Of retained messages each broker has all; of two for one topic the later one stays
//!   everywhere, by a count that all brokers go on with, and by [`BrokerId`] between equals.
//! - A client that connects to another broker than before finds its session there, with all it holds,
//!   and none of what was on its way to it is lost or doubled. Where the old broker cannot be heard the
//!   client begins anew; once it can, the later one of two sessions is the client's, and the other one
//!   ends with 0x8E Session taken over.
//! - A subscription reaches other brokers' messages as soon as they have heard of it, which is
//!   after its SUBACK.
//! - Topics that begin with `$SYS` are each broker's own.

mod choice;
mod claim;
mod claims;
mod config;
mod forward;
mod hear;
mod holds;
mod interests;
mod memory;
mod message;
mod moving;
mod other;
mod pieces;
mod queue;
mod retained;
mod switch;
mod turns;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::time::Duration;

use mqtt_codec::Message;
use mqtt_topic::{GroupId, IndexConfig, Scratch, SubscriptionIndex};

pub use config::{JoinConfig, JoinError};
pub use message::{BrokerId, JoinMessage};

pub(super) use choice::{Forwarded, Part, Reach, Shared};
pub(super) use message::Stamp;
pub(super) use other::NoteName;
pub(super) use retained::Retains;

use super::sessions::SessionKey;
use super::{Broker, Config, Event};
use crate::Timestamp;
use choice::{Choice, Turns};
use claims::Claims;
use interests::{Groups, Local, Remote};
use message::{Body, FilterKey};
use other::{Other, Sync};
use retained::Stamps;

/// One other broker, from [`Broker::joined`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinedBroker {
    /// Its name.
    pub id: BrokerId,
    /// Whether both sides have heard of each other since [`Broker::join`].
    pub is_up: bool,
    /// Filters that its subscribers have.
    pub interests: usize,
    /// Filters that were not noted ([`Event::InterestRefused`]); each time counts.
    pub interests_refused: u64,
    /// Messages that it has not acknowledged.
    pub forwards_len: usize,
    /// Their bytes.
    pub forwards_bytes: usize,
}

/// What a broker knows of the others.
#[derive(Debug)]
pub(super) struct Joined {
    config: JoinConfig,
    others: BTreeMap<BrokerId, Other>,
    /// What the subscribers of others want.
    interests: SubscriptionIndex<BrokerId, Remote>,
    scratch: Scratch,
    /// What this broker's own want.
    local: BTreeMap<FilterKey, Local>,
    local_bytes: usize,
    groups: Groups,
    /// Whose turn it is, by the groups of `interests`.
    turns: BTreeMap<GroupId, Turns>,
    turns_bytes: usize,
    first_turn: u64,
    choice: Choice,
    stamps: Stamps,
    claims: Claims,
    /// Of what messages that are given out in slices remember.
    fan_outs_bytes: usize,
    /// Messages that were routed.
    taken: u64,
    /// Who was polled last.
    last_polled: BrokerId,
}

impl Joined {
    pub(super) fn new(config: &Config) -> Option<Box<Self>> {
        let join = config.join.clone()?;
        Some(Box::new(Self {
            others: BTreeMap::new(),
            interests: SubscriptionIndex::new(IndexConfig {
                levels_max: config.levels_max,
                hash_seed: config.seed,
                ..IndexConfig::default()
            }),
            scratch: Scratch::default(),
            local: BTreeMap::new(),
            local_bytes: 0,
            groups: Groups::default(),
            turns: BTreeMap::new(),
            turns_bytes: 0,
            // Brokers begin with different members.
            first_turn: u64::from(join.id.get()).wrapping_add(config.seed),
            choice: Choice::default(),
            // Behind what a run before has counted.
            stamps: Stamps::new(join.incarnation),
            claims: Claims::default(),
            fan_outs_bytes: 0,
            taken: 0,
            last_polled: BrokerId::default(),
            config: join,
        }))
    }

    /// Who is polled behind this one.
    fn polled_behind(&self, id: BrokerId) -> Option<BrokerId> {
        use core::ops::Bound::{Excluded, Unbounded};

        let mut behind = self.others.range((Excluded(id), Unbounded));
        let next = behind.next().or_else(|| self.others.first_key_value());
        next.map(|(id, _)| *id)
    }
}

impl Broker {
    /// Messages can be carried to and from another broker, from now on. What it is to hear comes out of
    /// [`poll_joined`](Self::poll_joined). Where the two were joined already the link begins anew.
    ///
    /// # Errors
    ///
    /// [`JoinError`]; nothing has changed then.
    pub fn join(&mut self, now: Timestamp, other: BrokerId) -> Result<(), JoinError> {
        self.begin(now);
        let joined = self.joined.as_mut().ok_or(JoinError::NotConfigured)?;
        if other == joined.config.id {
            return Err(JoinError::SameBroker);
        }
        if !joined.others.contains_key(&other) && joined.others.len() >= joined.config.brokers_max {
            return Err(JoinError::TooManyBrokers);
        }
        let incarnation = joined.config.incarnation;
        let entry = joined.others.entry(other);
        let entry = entry.or_insert_with(|| Other::new(incarnation));
        entry.open();
        let lost = entry.queue.rewind();
        self.release_outgoing(lost, None);
        self.weigh_joined();
        Ok(())
    }

    /// Nothing can be carried to or from another broker any more, until [`join`](Self::join) says that
    /// it can. What it wants is remembered, and messages at QoS 1 and 2 wait for it.
    pub fn part(&mut self, now: Timestamp, other: BrokerId) {
        let now = self.begin(now);
        let joined = self.joined.as_mut();
        let Some(entry) = joined.and_then(|joined| joined.others.get_mut(&other)) else {
            return;
        };
        let was_up = entry.is_up();
        entry.close();
        let lost = entry.queue.rewind();
        self.release_outgoing(lost, None);
        self.claims_without(now, other);
        self.weigh_joined();
        if was_up {
            self.events.push(Event::Parted { broker: other });
        }
    }

    /// Another broker is gone for good. What waits for it is given up, but for the turns of shared
    /// subscriptions, which go to members of others.
    ///
    /// It may be joined again when it has begun anew. A run that was forgotten is not, as it goes on with what it
    /// knows: it is told so ([`Event::IncarnationTooLow`]) until one of the two begins anew.
    pub fn forget_joined(&mut self, now: Timestamp, other: BrokerId) {
        self.part(now, other);
        let Some(joined) = &mut self.joined else {
            return;
        };
        joined.forget_interests(other, |_| true);
        let Some(mut entry) = joined.others.remove(&other) else {
            return;
        };
        let given_up = entry.queue.drain().collect();
        self.release_outgoing(given_up, Some(other));
        self.weigh_joined();
    }

    /// The other brokers, in the order of their names.
    pub fn joined(&self) -> impl Iterator<Item = JoinedBroker> {
        let others = self.joined.iter().flat_map(|joined| &joined.others);
        others.map(|(id, other)| JoinedBroker {
            id: *id,
            is_up: other.is_up(),
            interests: other.interests_len,
            interests_refused: other.interests_refused,
            forwards_len: other.queue.len(),
            forwards_bytes: other.queue.bytes(),
        })
    }

    /// The next thing to say to another broker, to each in its turn. Call until it answers `None`.
    ///
    /// Where the way to one of them may be full, [`poll_joined_to`](Self::poll_joined_to) lets the others go on.
    pub fn poll_joined(&mut self, now: Timestamp) -> Option<(BrokerId, JoinMessage)> {
        let len = self.joined.as_ref()?.others.len();
        let now = self.begin(now);
        let mut said = None;
        for _ in 0..len {
            let joined = self.joined.as_mut()?;
            let id = joined.polled_behind(joined.last_polled)?;
            joined.last_polled = id;
            said = self.poll_other(now, id).map(|message| (id, message));
            if said.is_some() {
                break;
            }
        }
        self.weigh_joined();
        said
    }

    /// The next thing to say to this other broker: for carriers that are slow, or full, each by itself. Call as
    /// long as there is room on the way, until it answers `None`. What is not fetched waits here, within the
    /// limits of [`JoinConfig`].
    pub fn poll_joined_to(&mut self, now: Timestamp, other: BrokerId) -> Option<JoinMessage> {
        self.joined.as_ref()?;
        let now = self.begin(now);
        let message = self.poll_other(now, other);
        self.weigh_joined();
        message
    }

    fn poll_other(&mut self, now: Timestamp, id: BrokerId) -> Option<JoinMessage> {
        let joined = self.joined.as_mut()?;
        let other = joined.others.get_mut(&id)?;
        other.note_stored(self.store.journal.stored());
        if let Some(greeting) = other.greeting(joined.stamps.count()) {
            return Some(greeting);
        }
        if !other.is_up() {
            return None;
        }
        let body = joined.changed_interests(id);
        let body = body.or_else(|| self.next_body(now, id));
        let other = self.joined.as_mut()?.others.get_mut(&id)?;
        match body {
            Some(body) => Some(other.say(body)),
            None => other.acknowledgement(),
        }
    }

    /// What waits, and what all goes through after a link has come up, in turns.
    fn next_body(&mut self, now: Timestamp, id: BrokerId) -> Option<Body> {
        let joined = self.joined.as_mut()?;
        let other = joined.others.get_mut(&id)?;
        other.sync_turn = !other.sync_turn;
        if other.sync_turn || !other.queue.is_waiting() {
            if other.interests != Sync::Done {
                return joined.all_interests(id);
            }
            if let Some(body) = self.next_sessions(id) {
                return Some(body);
            }
            let joined = self.joined.as_mut()?;
            if joined.retained_is_due(id)
                && let Some(body) = self.next_retained(now, id)
            {
                return Some(body);
            }
        }
        let other = self.joined.as_mut()?.others.get_mut(&id)?;
        let body = forward::body(now, other.queue.next()?, &self.store);
        let done = other.queue.said();
        self.release_outgoing(done.into_iter().collect(), None);
        Some(body)
    }

    /// A client has a session here.
    pub(super) fn note_begun(&mut self, key: SessionKey, is_resumed: bool) {
        if let Some(joined) = &mut self.joined
            && let Some(entry) = self.sessions.get_mut(key)
            && !is_resumed
        {
            entry.since = joined.stamps.next(joined.config.id).count;
        }
    }
}

/// Topics and filters that are each broker's own business.
fn is_ours(text: &[u8]) -> bool {
    super::routing::is_below_sys(text)
}

/// When a message expires that has so many nanoseconds left. A sender that forgets to say so does not
/// make it last for ever.
fn expires_at(now: Timestamp, expires_in: Option<u64>, message: &Message) -> Option<Timestamp> {
    let left = expires_in.map(Duration::from_nanos);
    let own = message.properties().message_expiry_secs;
    let own = own.map(|secs| Duration::from_secs(secs.into()));
    let left = left.or(own)?;
    Some(now + own.map_or(left, |own| left.min(own)))
}
