//! What subscribers want, told from one broker to the other: each filter once, however many want it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::TopicFilter;
use mqtt_topic::{GroupId, SharedFilter, SubscriptionFilter};

use super::message::{Body, BrokerId, FilterKey, Interest};
use super::other::Sync;
use super::{Joined, is_ours};
use crate::broker::sessions::SessionKey;
use crate::broker::{Broker, LocalSubscription};

/// Filters in one message.
const BATCH: usize = 64;

/// Shared subscriptions without members whose names are remembered, for what was theirs.
const GONE_MAX: usize = 1024;

/// Who wants messages by one filter, behind this broker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Local {
    /// Of a shared subscription its members, else subscribers.
    pub(super) members: u32,
    pub(super) connected: u32,
    /// The shared subscription in this broker's index.
    pub(super) group: Option<GroupId>,
}

/// Who wants messages by one filter, behind another broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    pub(super) members: u32,
    pub(super) connected: u32,
    /// When this was said.
    round: u64,
}

/// The names of this broker's shared subscriptions.
#[derive(Debug, Default)]
pub(super) struct Groups {
    names: BTreeMap<GroupId, FilterKey>,
    gone: VecDeque<GroupId>,
    pub(super) bytes: usize,
}

impl Groups {
    pub(super) fn name(&self, group: GroupId) -> Option<&FilterKey> {
        self.names.get(&group)
    }

    fn end(&mut self, group: GroupId) {
        self.gone.push_back(group);
        if self.gone.len() > GONE_MAX {
            let oldest = self.gone.pop_front();
            let filter = oldest.and_then(|oldest| self.names.remove(&oldest));
            let weight = filter.map_or(0, |filter| filter.weight());
            self.bytes = self.bytes.saturating_sub(weight);
        }
    }

    /// A shared subscription is new: its number was never another one's.
    fn begin(&mut self, group: GroupId, filter: &FilterKey) {
        self.names.insert(group, filter.clone());
        self.bytes = self.bytes.saturating_add(filter.weight());
    }
}

impl FilterKey {
    pub(super) fn plain(filter: TopicFilter<'_>) -> Self {
        Self {
            is_shared: false,
            text: filter.as_str().into(),
        }
    }

    pub(super) fn of(filter: SubscriptionFilter<'_>) -> Option<Self> {
        match filter {
            SubscriptionFilter::Plain(filter) => Some(Self::plain(filter)),
            SubscriptionFilter::Shared { group, filter } => {
                let mut text = String::from("$share/");
                text.push_str(core::str::from_utf8(group).ok()?);
                text.push('/');
                text.push_str(filter.as_str());
                Some(Self {
                    is_shared: true,
                    text: text.into(),
                })
            }
            _other => None,
        }
    }

    /// The filter that topics are matched with; nothing for one that is none, or is nobody's business
    /// but a broker's own.
    fn announced(&self) -> Option<TopicFilter<'_>> {
        let filter = if self.is_shared {
            self.as_shared()?.filter()
        } else {
            TopicFilter::new(&self.text).ok()?
        };
        (!is_ours(filter.as_bytes())).then_some(filter)
    }

    pub(super) fn as_shared(&self) -> Option<SharedFilter<'_>> {
        SharedFilter::new(&self.text).ok()
    }
}

impl Broker {
    /// A subscription is new or gone.
    pub(in crate::broker) fn note_interest(
        &mut self,
        key: SessionKey,
        filter: TopicFilter<'_>,
        is_shared: bool,
        is_there: bool,
    ) {
        if self.joined.is_none() {
            return;
        }
        let entry = self.sessions.get(key);
        let connected = i64::from(entry.is_some_and(|entry| entry.connection.is_some()));
        let filter = FilterKey {
            is_shared,
            text: filter.as_str().into(),
        };
        if is_there {
            self.change_interest(filter, 1, connected);
        } else {
            self.change_interest(filter, -1, 0_i64.saturating_sub(connected));
        }
    }

    /// A subscription of the embedder's is new.
    pub(in crate::broker) fn note_local_interest(&mut self, filter: TopicFilter<'_>) {
        if self.joined.is_some() {
            self.change_interest(FilterKey::plain(filter), 1, 0);
        }
    }

    /// A subscription of the embedder's is about to go.
    pub(in crate::broker) fn note_local_gone(&mut self, subscription: LocalSubscription) {
        let mut filters = Vec::new();
        if self.joined.is_some() {
            self.local.for_each_of(subscription, |filter, ()| {
                filters.extend(FilterKey::of(filter));
            });
        }
        for filter in filters {
            self.change_interest(filter, -1, 0);
        }
    }

    /// All subscriptions of a session are about to go, whose client has gone before.
    pub(in crate::broker) fn note_no_interest(&mut self, key: SessionKey) {
        for filter in self.filters_of(key, false) {
            self.change_interest(filter, -1, 0);
        }
    }

    /// The client of a session has come or is gone: only its shared subscriptions care.
    pub(in crate::broker) fn note_connected(&mut self, key: SessionKey, is_there: bool) {
        for filter in self.filters_of(key, true) {
            self.change_interest(filter, 0, if is_there { 1 } else { -1 });
        }
    }

    /// The filters of a session.
    pub(super) fn filters_of(&self, key: SessionKey, only_shared: bool) -> Vec<FilterKey> {
        let mut filters = Vec::new();
        if self.joined.is_some() {
            self.subscriptions.for_each_of(key, |filter, _| {
                let is_shared = matches!(filter, SubscriptionFilter::Shared { .. });
                if is_shared || !only_shared {
                    filters.extend(FilterKey::of(filter));
                }
            });
        }
        filters
    }

    fn change_interest(&mut self, filter: FilterKey, members: i64, connected: i64) {
        let Some(joined) = &mut self.joined else {
            return;
        };
        if filter.announced().is_none() {
            return;
        }
        let add = |count: u32, change: i64| {
            let sum = i64::from(count).saturating_add(change);
            u32::try_from(sum.max(0)).unwrap_or(u32::MAX)
        };
        if !joined.local.contains_key(&filter) {
            joined.local_bytes = joined.local_bytes.saturating_add(filter.weight());
        }
        let held = joined.local.entry(filter.clone()).or_default();
        let before = *held;
        held.members = add(held.members, members);
        held.connected = add(held.connected, connected);
        if filter.is_shared
            && held.group.is_none()
            && let Some(group) = filter.as_shared()
            && let Some(group) = self.subscriptions.group(group)
        {
            held.group = Some(group.id());
            joined.groups.begin(group.id(), &filter);
        }
        let after = *held;
        if after.members == 0 {
            joined.local.remove(&filter);
            joined.local_bytes = joined.local_bytes.saturating_sub(filter.weight());
            if let Some(group) = after.group {
                joined.groups.end(group);
            }
        }
        // How many want an ordinary filter is nobody's business.
        let says_other = (before.members == 0) != (after.members == 0) || filter.is_shared;
        if says_other {
            for other in joined.others.values_mut() {
                if other.is_up() && other.interests.has_passed(&filter) {
                    other.note_changed(&filter);
                }
            }
        }
        self.weigh_joined();
        self.relieve_links();
    }
}

impl Joined {
    /// Interests that have changed since they were said.
    pub(super) fn changed_interests(&mut self, id: BrokerId) -> Option<Body> {
        let other = self.others.get_mut(&id)?;
        let mut changes = Vec::new();
        while changes.len() < BATCH
            && let Some(filter) = other.next_changed()
        {
            changes.push(interest(&self.local, filter));
        }
        let is_last = false;
        (!changes.is_empty()).then_some(Body::Interests { changes, is_last })
    }

    /// Interests that have not been said since the link is there.
    pub(super) fn all_interests(&mut self, id: BrokerId) -> Option<Body> {
        use core::ops::Bound::{Excluded, Unbounded};

        let other = self.others.get_mut(&id)?;
        let from = match &other.interests {
            Sync::Start => Unbounded,
            Sync::Behind(last) => Excluded(last.clone()),
            Sync::Done => return None,
        };
        let rest = self.local.range((from, Unbounded));
        let changes: Vec<_> = { rest }
            .take(BATCH)
            .map(|(filter, local)| said(filter.clone(), *local))
            .collect();
        let is_last = changes.len() < BATCH;
        other.interests = match changes.last() {
            Some(last) if !is_last => Sync::Behind(last.filter.clone()),
            _ => Sync::Done,
        };
        Some(Body::Interests { changes, is_last })
    }

    /// Another broker says what its subscribers want. Answers what of that is not noted.
    pub(super) fn handle_interests(
        &mut self,
        id: BrokerId,
        changes: Vec<Interest>,
        is_last: bool,
        bytes_left: usize,
    ) -> Vec<FilterKey> {
        let bytes_max = self.interests_bytes().saturating_add(bytes_left);
        let mut refused = Vec::new();
        let Some(round) = self.others.get(&id).map(|other| other.round) else {
            return refused;
        };
        for Interest {
            filter,
            members,
            connected,
        } in changes
        {
            let remote = Remote {
                members,
                connected: connected.min(members),
                round,
            };
            if members == 0 {
                self.drop_interest(id, &filter);
            } else if !self.take_interest(id, &filter, remote, bytes_max) {
                refused.push(filter);
            }
        }
        if let Some(other) = self.others.get_mut(&id) {
            let refused = u64::try_from(refused.len()).unwrap_or(u64::MAX);
            other.interests_refused = other.interests_refused.saturating_add(refused);
        }
        if is_last {
            self.forget_interests(id, |remote| remote.round != round);
        }
        refused
    }

    /// Another broker has no subscriber any more for a filter.
    fn drop_interest(&mut self, id: BrokerId, filter: &FilterKey) {
        let (Some(topic_filter), Some(other)) = (filter.announced(), self.others.get_mut(&id))
        else {
            return;
        };
        let shared = filter.as_shared().filter(|_| filter.is_shared);
        let was_group = shared.and_then(|shared| self.interests.group(shared));
        let was_group = was_group.map(|group| group.id());
        let removed = match shared {
            Some(shared) => self.interests.remove_shared(shared, id),
            None => self.interests.remove(topic_filter, id),
        };
        if removed.is_some() {
            other.interests_len = other.interests_len.saturating_sub(1);
        }
        if let (Some(shared), Some(group)) = (shared, was_group)
            && self.interests.group(shared).is_none()
        {
            self.turns.remove(&group);
            self.turns_bytes = self.turns_bytes.saturating_sub(filter.weight());
        }
    }

    /// Another broker has subscribers for a filter. `false` when there is no room to note it.
    fn take_interest(
        &mut self,
        id: BrokerId,
        filter: &FilterKey,
        remote: Remote,
        bytes_max: usize,
    ) -> bool {
        let bytes = self.interests_bytes().saturating_add(filter.weight());
        let (Some(topic_filter), Some(other)) = (filter.announced(), self.others.get_mut(&id))
        else {
            // Nothing that anybody wants to be noted.
            return true;
        };
        let shared = filter.as_shared().filter(|_| filter.is_shared);
        let held = match shared {
            Some(shared) => self.interests.get_shared(shared, id).is_some(),
            None => self.interests.get(topic_filter, id).is_some(),
        };
        let has_room = other.interests_len < self.config.interests_max && bytes <= bytes_max;
        if !held && !has_room {
            return false;
        }
        let inserted = match shared {
            Some(shared) => self.interests.insert_shared(shared, id, remote),
            None => self.interests.insert(topic_filter, id, remote),
        };
        // More levels than there may be.
        if inserted.is_err() {
            return false;
        }
        if !held {
            other.interests_len = other.interests_len.saturating_add(1);
        }
        if let Some(shared) = shared
            && let Some(group) = self.interests.group(shared)
        {
            let (first, weight) = (self.first_turn, filter.weight());
            let turn = self.turns.entry(group.id());
            turn.or_insert_with(|| {
                self.turns_bytes = self.turns_bytes.saturating_add(weight);
                super::choice::Turns::new(filter.clone(), first)
            });
        }
        true
    }

    fn interests_bytes(&self) -> usize {
        self.interests.memory().saturating_add(self.turns_bytes)
    }

    /// Forgets those interests of another broker of which `is_void` says so.
    pub(super) fn forget_interests(&mut self, id: BrokerId, is_void: impl Fn(&Remote) -> bool) {
        let mut void = Vec::new();
        self.interests.for_each_of(id, |filter, remote| {
            if is_void(remote) {
                void.extend(FilterKey::of(filter));
            }
        });
        let changes = void.into_iter().map(|filter| Interest {
            filter,
            members: 0,
            connected: 0,
        });
        let _none_of_nobody = self.handle_interests(id, changes.collect(), false, 0);
    }
}

fn interest(local: &BTreeMap<FilterKey, Local>, filter: FilterKey) -> Interest {
    let held = local.get(&filter).copied().unwrap_or_default();
    said(filter, held)
}

/// What is said of one filter.
fn said(filter: FilterKey, local: Local) -> Interest {
    let (members, connected) = if filter.is_shared {
        (local.members, local.connected)
    } else {
        (local.members.min(1), 0)
    };
    Interest {
        filter,
        members,
        connected,
    }
}
