//! What this client is subscribed to, as far as the server has said so.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use mqtt_codec::{
    ReasonCode, SubscribeFilter, SubscribeReason, SubscriptionId, SubscriptionOptions, TopicFilter,
    UnsubscribeReason,
};

use crate::session::{Journal, Record, StoredSubscription};

/// One subscription that the server has granted, from
/// [`subscriptions`](super::Client::subscriptions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    filter: Bytes,
    options: SubscriptionOptions,
    id: Option<SubscriptionId>,
}

impl Subscription {
    /// The filter with its options, as `subscribe` takes it.
    #[must_use]
    pub fn filter(&self) -> SubscribeFilter<'_> {
        SubscribeFilter {
            filter: TopicFilter::assume_valid(&self.filter),
            options: self.options,
        }
    }

    /// The subscription identifier (5.0).
    #[must_use]
    pub const fn id(&self) -> Option<SubscriptionId> {
        self.id
    }

    pub(super) fn stored(&self) -> StoredSubscription {
        StoredSubscription {
            filter: String::from(self.filter().filter.as_str()),
            options: self.options,
            id: self.id,
        }
    }
}

/// Subscriptions, granted and asked for.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// In the order in which they were granted first.
    granted: Vec<Subscription>,
    /// By the tag of the request.
    subscribing: BTreeMap<u64, Vec<Subscription>>,
    unsubscribing: BTreeMap<u64, Vec<Bytes>>,
    /// So many of those granted have been asked for again, by a call that had to stop behind them.
    renewed: usize,
}

impl Subscriptions {
    pub(super) fn granted(&self) -> &[Subscription] {
        &self.granted
    }

    /// Asking for all of them again has come so far.
    pub(super) fn note_renewed(&mut self, len: usize) {
        self.renewed = len;
    }

    /// How far it had come; from here on it begins anew.
    pub(super) fn take_renewed(&mut self) -> usize {
        core::mem::take(&mut self.renewed)
    }

    /// One of a session that was stored; `false` when its filter is there already.
    pub(super) fn restore(
        &mut self,
        filter: TopicFilter<'_>,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) -> bool {
        let is_it = |held: &Subscription| held.filter == filter.as_bytes();
        if self.granted.iter().any(is_it) {
            return false;
        }
        self.granted.push(Subscription {
            filter: Bytes::copy_from_slice(filter.as_bytes()),
            options,
            id,
        });
        true
    }

    /// Subscriptions there would be if everything asked for were granted.
    pub(super) fn len(&self) -> usize {
        let asked: usize = self.subscribing.values().map(Vec::len).sum();
        self.granted.len().saturating_add(asked)
    }

    /// Bytes of the filters that are granted or asked for.
    pub(super) fn bytes(&self) -> usize {
        let all = self
            .granted
            .iter()
            .chain(self.subscribing.values().flatten());
        let lens = all.map(|held| held.filter.len());
        lens.fold(0, usize::saturating_add)
    }

    /// Bytes of the filters that are asked to end.
    pub(super) fn unsubscribing_bytes(&self) -> usize {
        let lens = self.unsubscribing.values().flatten().map(Bytes::len);
        lens.fold(0, usize::saturating_add)
    }

    /// Requests without an answer.
    pub(super) fn requests_len(&self) -> usize {
        self.subscribing
            .len()
            .saturating_add(self.unsubscribing.len())
    }

    pub(super) fn ask(
        &mut self,
        tag: u64,
        filters: &[SubscribeFilter<'_>],
        id: Option<SubscriptionId>,
    ) {
        let asked = filters.iter().map(|entry| Subscription {
            filter: Bytes::copy_from_slice(entry.filter.as_bytes()),
            options: entry.options,
            id,
        });
        self.subscribing.insert(tag, asked.collect());
    }

    pub(super) fn ask_to_end(&mut self, tag: u64, filters: &[TopicFilter<'_>]) {
        let asked = filters
            .iter()
            .map(|filter| Bytes::copy_from_slice(filter.as_bytes()));
        self.unsubscribing.insert(tag, asked.collect());
    }

    // [5:MQTT-3.8.4-3] [3:MQTT-3.8.4-3] A filter subscribed to again is replaced.
    pub(super) fn answered(
        &mut self,
        tag: u64,
        reasons: impl Iterator<Item = SubscribeReason>,
        journal: &mut Journal,
    ) {
        let asked = self.subscribing.remove(&tag).unwrap_or_default();
        for (new, reason) in asked.into_iter().zip(reasons) {
            if ReasonCode::from(reason).is_error() {
                continue;
            }
            journal.add(|| Record::Subscribed(new.stored()));
            let held = self.granted.iter_mut();
            match { held }.find(|held| held.filter == new.filter) {
                Some(held) => *held = new,
                None => self.granted.push(new),
            }
        }
    }

    /// 3.1.1 has no reasons: then all of them are gone.
    pub(super) fn ended(
        &mut self,
        tag: u64,
        reasons: impl Iterator<Item = UnsubscribeReason>,
        journal: &mut Journal,
    ) {
        let asked = self.unsubscribing.remove(&tag).unwrap_or_default();
        let mut refused = reasons.map(|reason| ReasonCode::from(reason).is_error());
        for filter in asked {
            if !refused.next().unwrap_or(false) {
                let text = || String::from(TopicFilter::assume_valid(&filter).as_str());
                journal.add(|| Record::Unsubscribed { filter: text() });
                let Some(place) = self.granted.iter().position(|held| held.filter == filter) else {
                    continue;
                };
                self.granted.remove(place);
                if place < self.renewed {
                    self.renewed = self.renewed.saturating_sub(1);
                }
            }
        }
    }

    /// Requests end with their connection.
    pub(super) fn forget_requests(&mut self) {
        self.subscribing.clear();
        self.unsubscribing.clear();
        self.renewed = 0;
    }
}
