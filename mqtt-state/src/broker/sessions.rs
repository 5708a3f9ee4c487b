//! The sessions of a broker, connected or not, found by client identifier.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Bound;

use mqtt_codec::{QoS, SubscriptionId};
use mqtt_topic::Cursor;

use super::journal::StoredAs;
use super::slab::{Key, Slab};
use super::store::Delivery;
use super::{ConnectionId, Owner, Peer};
use crate::counted::Arc;
use crate::server::WillRequest;
use crate::session::Session;
use crate::time::Deadline;

/// Names a session; never a later one in the same place.
pub(super) type SessionKey = Key;

/// One session and what the broker knows about its client.
#[derive(Debug)]
pub(super) struct SessionEntry {
    pub(super) client_id: Box<str>,
    pub(super) session: Session<Delivery>,
    pub(super) connection: Option<ConnectionId>,
    /// In seconds from the end of the connection; `u32::MAX` is never.
    pub(super) expiry_secs: u32,
    /// When the session ends, while its client is away.
    pub(super) expires_at: Deadline,
    pub(super) will: Option<Box<WillRequest>>,
    /// Who left the will, where somebody has to be asked about it.
    pub(super) will_peer: Option<Arc<Peer>>,
    /// Whose it is, where somebody is asked about anything.
    pub(super) owner: Option<Arc<Owner>>,
    /// Its name in the store, if anything of it is kept there.
    pub(super) stored_as: StoredAs,
    /// When the will is published, while its client is away.
    pub(super) will_at: Deadline,
    /// Messages of its client that are still on their way to all who get them.
    pub(super) fan_outs: u32,
    /// As much waits for it as may, and that has been told.
    pub(super) is_full: bool,
    /// Bytes that it has been counted for.
    counted: usize,
    /// Retained messages that new subscriptions still have to get.
    pub(super) replays: Replays,
    /// When it was begun or came from another broker, by the count that joined brokers share.
    pub(super) since: u64,
}

impl SessionEntry {
    /// Its name in the store, if more than its will is kept there.
    pub(super) fn kept_as(&self) -> StoredAs {
        self.stored_as
            .filter(|_| self.session.outbound.is_followed())
    }
}

impl SessionEntry {
    /// What the link of its connection is given of it, if there is one.
    #[inline]
    pub(super) fn parts(
        entry: Option<&mut Self>,
    ) -> (&str, StoredAs, Option<&mut Session<Delivery>>) {
        match entry {
            Some(entry) => {
                let kept_as = entry.kept_as();
                (&entry.client_id, kept_as, Some(&mut entry.session))
            }
            None => ("", None, None),
        }
    }

    /// Whether nothing of it is to be done when its messages are sent.
    #[inline]
    pub(super) fn rests(&self) -> bool {
        self.replays.is_empty() && !self.session.outbound.is_oversized()
    }

    /// Bytes of what it holds outside of itself, messages apart: these are in the store.
    fn weight(&self) -> usize {
        let names = self.client_id.len().saturating_mul(2);
        let will = self.will.as_ref().map_or(0, |will| {
            { will.message.len_held() }.saturating_add(size_of::<WillRequest>())
        });
        let peer = self.will_peer.as_ref().map_or(0, |peer| peer.len_held());
        let owner = self.owner.as_ref().map_or(0, |owner| owner.len_held());
        let replays = { self.replays.iter() }.map(|replay| {
            let cursor = replay.cursor.memory();
            replay.filter.len().saturating_add(cursor)
        });
        let replay_places = self.replays.capacity().saturating_mul(size_of::<Replay>());
        { replays }
            .chain([
                names,
                will,
                peer,
                owner,
                replay_places,
                self.session.outbound.places_bytes(),
                self.session.outbound.ids_beyond_bytes(),
            ])
            .fold(0, usize::saturating_add)
    }
}

/// Replays of one session, in the order of their subscriptions. Mostly there are none.
#[derive(Debug, Default)]
pub(super) struct Replays(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting(VecDeque<Replay>);

impl Replays {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.0.len())
    }

    fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.0.capacity())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Replay> {
        { self.0.iter() }.flat_map(|waiting| &waiting.0)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Replay> {
        { self.0.iter_mut() }.flat_map(|waiting| &mut waiting.0)
    }

    pub(super) fn push_back(&mut self, replay: Replay) {
        self.0.get_or_insert_default().0.push_back(replay);
    }

    pub(super) fn push_front(&mut self, replay: Replay) {
        self.0.get_or_insert_default().0.push_front(replay);
    }

    /// The last one takes the memory with it.
    pub(super) fn pop_front(&mut self) -> Option<Replay> {
        let waiting = &mut self.0.as_mut()?.0;
        let replay = waiting.pop_front();
        if waiting.is_empty() {
            self.0 = None;
        }
        replay
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Replay) -> bool) {
        if let Some(waiting) = &mut self.0 {
            waiting.0.retain(keep);
            if waiting.0.is_empty() {
                self.0 = None;
            }
        }
    }
}

/// Where the replay of the retained messages of one subscription stands.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) filter: Box<[u8]>,
    pub(super) qos: QoS,
    pub(super) subscription_id: Option<SubscriptionId>,
    /// The messages there were when the subscription was made. What came later came live.
    pub(super) of_first: u64,
    pub(super) cursor: Cursor,
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    entries: Slab<SessionEntry>,
    /// Of client identifiers, wills, places of messages and replays.
    bytes: usize,
    // [5:MQTT-3.1.3-2] [3:MQTT-3.1.3-2] The client identifier is the key.
    by_client_id: BTreeMap<Box<str>, SessionKey>,
}

impl Sessions {
    pub(super) const PLACE_SIZE: usize = Slab::<SessionEntry>::PLACE_SIZE;

    pub(super) fn new() -> Self {
        Self {
            entries: Slab::new(),
            bytes: 0,
            by_client_id: BTreeMap::new(),
        }
    }

    /// Makes a session without history; `None` when no more can be named.
    pub(super) fn create(&mut self, client_id: &str) -> Option<SessionKey> {
        let key = self.entries.insert(SessionEntry {
            client_id: client_id.into(),
            session: Session::new(),
            connection: None,
            expiry_secs: 0,
            expires_at: Deadline::NEVER,
            will: None,
            will_peer: None,
            owner: None,
            stored_as: None,
            will_at: Deadline::NEVER,
            fan_outs: 0,
            is_full: false,
            counted: 0,
            replays: Replays::default(),
            since: 0,
        })?;
        self.by_client_id.insert(client_id.into(), key);
        self.weigh(key);
        Some(key)
    }

    pub(super) fn remove(&mut self, key: SessionKey) -> Option<SessionEntry> {
        let entry = self.entries.remove(key)?;
        self.by_client_id.remove(&entry.client_id);
        self.bytes = self.bytes.saturating_sub(entry.counted);
        Some(entry)
    }

    /// Counts a session anew, after something of it has changed that has a size.
    pub(super) fn weigh(&mut self, key: SessionKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            let before = core::mem::replace(&mut entry.counted, 0);
            entry.counted = entry.weight();
            self.bytes = { self.bytes.saturating_sub(before) }.saturating_add(entry.counted);
        }
    }

    /// Of all sessions, beside their places in this table.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn find(&self, client_id: &str) -> Option<SessionKey> {
        self.by_client_id.get(client_id).copied()
    }

    /// The session of a client.
    pub(super) fn of_client(&self, client_id: &str) -> Option<(SessionKey, &SessionEntry)> {
        let key = self.find(client_id)?;
        Some((key, self.entries.get(key)?))
    }

    /// Whose a session is, for events; empty for nobody's.
    pub(super) fn client_id(&self, key: Option<SessionKey>) -> Box<str> {
        let entry = key.and_then(|key| self.entries.get(key));
        entry.map_or_else(Box::default, |entry| entry.client_id.clone())
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&SessionEntry> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut SessionEntry> {
        self.entries.get_mut(key)
    }

    /// In the order of their client identifiers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &SessionEntry> {
        let keys = self.by_client_id.values();
        keys.filter_map(|key| self.entries.get(*key))
    }

    /// Those behind this client identifier, in their order.
    pub(super) fn behind(
        &self,
        client_id: Option<&str>,
    ) -> impl Iterator<Item = (SessionKey, &SessionEntry)> {
        let from = client_id.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = self.by_client_id.range::<str, _>((from, Bound::Unbounded));
        keys.filter_map(|(_, key)| Some((*key, self.entries.get(*key)?)))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
