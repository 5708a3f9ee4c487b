//! One broker, and what its embedder keeps of it.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::embed::Plain;
use super::locals::Local;
use super::questions::Asked;
use super::store_failure::StoreFailure;
use crate::Timestamp;
use crate::broker::{self, Broker, ConnectionId, JournalEntry};

#[derive(Debug)]
pub(super) struct Node {
    pub(super) broker: Broker,
    pub(super) config: broker::Config,
    /// What the broker has named and has not been drained.
    pub(super) ready: BTreeSet<ConnectionId>,
    pub(super) behind: VecDeque<JournalEntry>,
    /// What one of several has stored; that of a single one is the embedder's.
    pub(super) store: Plain,
    /// When the last entry that is stored was handed out.
    pub(super) stored_at: Timestamp,
    pub(super) is_store_slow: bool,
    /// Its store has failed for good, and another program goes on after so many steps.
    pub(super) failure: Option<StoreFailure>,
    /// It has begun anew with the incarnation of before, and begins once more after so many steps.
    pub(super) too_low: Option<usize>,
    /// Questions that nobody has answered, in their order; of connections that are gone, too.
    pub(super) questions: VecDeque<Asked>,
    /// How many there were.
    pub(super) asked: u64,
    /// What is asked is asked again.
    pub(super) reauthorizes: bool,
    /// Bytes and messages that it has kept before what it was told last.
    pub(super) kept_before: usize,
    pub(super) messages_before: usize,
    /// Subscriptions of the embedder's own.
    pub(super) locals: Vec<Local>,
}

impl Node {
    pub(super) fn new(config: broker::Config, now: Timestamp) -> Self {
        Self {
            broker: Broker::new(config.clone()),
            config,
            ready: BTreeSet::new(),
            behind: VecDeque::new(),
            store: Plain::default(),
            stored_at: now,
            is_store_slow: false,
            failure: None,
            too_low: None,
            questions: VecDeque::new(),
            asked: 0,
            reauthorizes: false,
            kept_before: 0,
            messages_before: 0,
            locals: Vec::new(),
        }
    }
}
