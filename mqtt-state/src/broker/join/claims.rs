//! The table of client identifiers that are on their way from one broker to another.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::message::{BrokerId, MovedSubscription, Stamp};
use super::moving::{Arriving, Leaving};
use crate::broker::ConnectionId;
use crate::broker::sessions::SessionKey;
use crate::broker::store::Delivery;
use crate::server::ConnectRequest;
use crate::{AuthenticationData, Timestamp};

/// Client identifiers on their way from one broker to another.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Those that this broker claims, by the counts of their stamps.
    pub(super) open: BTreeMap<u64, Claim>,
    by_client_id: BTreeMap<Box<str>, u64>,
    /// Of those two and what is in them.
    pub(super) bytes: usize,
    /// Sessions that go.
    pub(super) leaving: BTreeMap<SessionKey, Leaving>,
    /// Sessions that have come, as long as something for them may go to where they were.
    pub(super) arriving: BTreeMap<SessionKey, Arriving>,
    /// Of those two, the ones that may have nothing more to wait for.
    pub(super) unsettled: BTreeSet<SessionKey>,
}

/// A client identifier that this broker claims.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) client_id: Box<str>,
    pub(super) stamp: Stamp,
    pub(super) waiter: Option<Waiter>,
    /// Who has not answered.
    pub(super) due: BTreeSet<BrokerId>,
    pub(super) deadline: Timestamp,
    /// Whose session comes.
    pub(super) owner: Option<BrokerId>,
    pub(super) pieces: Vec<MovedSubscription>,
    /// The session, once all subscriptions are here.
    pub(super) session: Option<SessionKey>,
    /// Its messages that were never sent.
    pub(super) waiting: Vec<Delivery>,
    pub(super) waiting_bytes: usize,
    /// All of it is here.
    pub(super) is_complete: bool,
    /// There was no memory for some of it.
    pub(super) is_partial: bool,
    /// Bytes that it counts for.
    pub(super) counted: usize,
    /// A later claim of another broker's, to be answered when this one is settled.
    pub(super) next: Option<(BrokerId, Stamp, bool)>,
}

/// The CONNECT behind a claim.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) connection: ConnectionId,
    pub(super) request: ConnectRequest,
    pub(super) data: Option<AuthenticationData>,
}

impl Waiter {
    pub(super) fn len_held(&self) -> usize {
        let data = self.data.as_ref().map_or(0, AuthenticationData::len_held);
        self.request.len_held().saturating_add(data)
    }
}

impl Claims {
    pub(super) fn find(&mut self, client_id: &str, stamp: Stamp) -> Option<&mut Claim> {
        let count = self.by_client_id.get(client_id)?;
        let claim = self.open.get_mut(count)?;
        (claim.stamp == stamp).then_some(claim)
    }

    /// Whether a session is here and at another broker.
    pub(super) fn is_moving(&self, key: SessionKey) -> bool {
        self.leaving.contains_key(&key) || self.is_arriving(key)
    }

    /// Whether some of a session is not here yet.
    pub(super) fn is_arriving(&self, key: SessionKey) -> bool {
        let arriving = self.arriving.get(&key);
        arriving.is_some_and(|arriving| !arriving.is_complete)
    }

    /// One that goes, of which something changes.
    pub(super) fn leaving_mut(&mut self, key: SessionKey) -> Option<&mut Leaving> {
        let leaving = self.leaving.get_mut(&key)?;
        self.unsettled.insert(key);
        Some(leaving)
    }

    /// One that has come, of which something changes.
    pub(super) fn arriving_mut(&mut self, key: SessionKey) -> Option<&mut Arriving> {
        let arriving = self.arriving.get_mut(&key)?;
        self.unsettled.insert(key);
        Some(arriving)
    }

    /// A session does not move any more, as it is gone from here.
    pub(super) fn forget_moving(&mut self, key: SessionKey) {
        self.leaving.remove(&key);
        self.arriving.remove(&key);
        self.unsettled.remove(&key);
    }

    pub(super) fn of_client(&mut self, client_id: &str) -> Option<&mut Claim> {
        self.open.get_mut(self.by_client_id.get(client_id)?)
    }

    pub(super) fn insert(&mut self, claim: Claim) {
        let count = claim.stamp.count;
        self.by_client_id.insert(claim.client_id.clone(), count);
        self.open.insert(count, claim);
    }

    pub(super) fn remove(&mut self, count: u64) -> Option<Claim> {
        let claim = self.open.remove(&count)?;
        self.by_client_id.remove(&claim.client_id);
        self.bytes = self.bytes.saturating_sub(claim.counted);
        Some(claim)
    }

    /// A claim holds so many bytes more.
    pub(super) fn weigh(&mut self, client_id: &str, bytes: usize) {
        if let Some(claim) = self.of_client(client_id) {
            claim.counted = claim.counted.saturating_add(bytes);
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }
}
