//! What an embedder can put into a simulation in place of what is there.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use mqtt_codec::{Message, PublishReason, SubscribeReason};

use crate::broker::{
    self, ConnectAnswer, JournalEntry, PublishAnswer, StoreKey, StoreValue, SubscribeAnswer,
};
use crate::client;
use crate::server::ConnectRequest;

/// An embedder's own store, policy and settings. Everything has a default but the store, for which
/// [`Plain`] does.
///
/// The answers of the policy are part of what a seed decides: they have to depend on nothing else.
pub trait Embedder {
    /// Writes all of an entry or nothing of it. When this returns, the entry is safe.
    fn write(&mut self, entry: &JournalEntry);

    /// Hands out everything that was written, in the order of the keys.
    fn read(&self, put: &mut dyn FnMut(StoreKey, StoreValue));

    /// A new run begins: nothing is stored.
    fn clear(&mut self);

    /// Does what frees memory, and answers how many bytes of the heap that were, if somebody counts them.
    /// Nobody does.
    fn freed(&mut self, free: &mut dyn FnMut()) -> Option<u64> {
        free();
        None
    }

    /// The settings of the broker. Those that the seed chose.
    fn broker_config(&self, chosen: broker::Config) -> broker::Config {
        chosen
    }

    /// The settings of a client. Those that the seed chose.
    fn client_config(&self, chosen: client::Config) -> client::Config {
        chosen
    }

    /// Who may connect, where the broker asks. Everybody.
    fn decide_connect(&mut self, _request: &ConnectRequest) -> ConnectAnswer {
        ConnectAnswer::Allow
    }

    /// What may be published, where the broker asks. Everything but what begins with `no/`.
    fn decide_publish(&mut self, _client_id: &str, message: &Message) -> PublishAnswer {
        match message.topic().as_str().starts_with("no/") {
            true => PublishAnswer::Refuse(PublishReason::NotAuthorized),
            false => PublishAnswer::Allow,
        }
    }

    /// What may be subscribed to, where the broker asks. Everything but what begins with `no/`.
    fn decide_subscribe(&mut self, _client_id: &str, filter: &str) -> SubscribeAnswer {
        match filter.starts_with("no/") {
            true => SubscribeAnswer::Refuse(SubscribeReason::NotAuthorized),
            false => SubscribeAnswer::Allow,
        }
    }
}

/// A table in memory, and the policy that is there without a word.
#[derive(Clone, Debug, Default)]
pub struct Plain {
    table: BTreeMap<Vec<u8>, StoreValue>,
}

impl Embedder for Plain {
    fn write(&mut self, entry: &JournalEntry) {
        for change in entry.changes() {
            let key = change.key().to_bytes();
            match change.value() {
                Some(value) => self.table.insert(key, value.clone()),
                None => self.table.remove(&key),
            };
        }
    }

    fn read(&self, put: &mut dyn FnMut(StoreKey, StoreValue)) {
        for (key, value) in &self.table {
            if let Some(key) = StoreKey::from_bytes(key) {
                put(key, value.clone());
            }
        }
    }

    fn clear(&mut self) {
        self.table.clear();
    }
}
