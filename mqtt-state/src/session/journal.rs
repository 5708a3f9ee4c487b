//! What happens to a session, record by record, so that a store can follow it.

use alloc::collections::VecDeque;

use mqtt_codec::{Message, PacketId};

use super::StoredSubscription;
use crate::Timestamp;

/// One change of a session, from [`poll_journal`](crate::client::Client::poll_journal), for a store.
///
/// With the feature `serde` it can be written in any format. [`SessionSnapshot::apply`] carries it
/// out on what was stored before. `Debug` shows no payload.
///
/// [`SessionSnapshot::apply`]: super::SessionSnapshot::apply
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct JournalEntry {
    pub(crate) position: u64,
    pub(crate) at: Timestamp,
    pub(crate) record: Record,
}

impl JournalEntry {
    /// Where it stands: 1 for the first of a client, and one more for each that follows.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    fn len_held(&self) -> usize {
        match &self.record {
            Record::Published { message, .. } => message.len_held(),
            _other => 0,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) enum Record {
    /// A message belongs to the session from here on.
    Published {
        token: u64,
        message: Message,
        expires_at: Option<Timestamp>,
    },
    /// It has its packet identifier, and is sent when this is stored.
    Assigned {
        token: u64,
        id: PacketId,
    },
    /// PUBREC has come; PUBREL is sent when this is stored.
    Released {
        token: u64,
    },
    /// It is done with, whatever became of it.
    Ended {
        token: u64,
    },
    /// A QoS 2 message has come; PUBREC is sent when this is stored.
    Received {
        id: PacketId,
    },
    /// PUBREL has come for it; PUBCOMP is sent when this is stored.
    Forgotten {
        id: PacketId,
    },
    /// The server may have this session, or has none.
    Known {
        is_known: bool,
    },
    /// It was given up, and the receiver may hold its identifier; PUBREL is sent when this is stored.
    Withdrawn {
        token: u64,
    },
    /// All that was in flight is gone.
    Lost,
    /// Names below this one may have been given out.
    Named {
        next_token: u64,
    },
    Subscribed(StoredSubscription),
    Unsubscribed {
        filter: alloc::string::String,
    },
}

/// Records on their way to a store, and how far that has come.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    is_on: bool,
    entries: VecDeque<JournalEntry>,
    /// Of the messages in them.
    bytes: usize,
    now: Timestamp,
    last: u64,
    stored: u64,
}

impl Journal {
    pub(crate) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            ..Self::default()
        }
    }

    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// What is added from here on happens then.
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Adds what `record` makes, if there is a journal at all.
    pub(crate) fn add(&mut self, record: impl FnOnce() -> Record) {
        if self.is_on {
            self.last = self.last.saturating_add(1);
            let entry = JournalEntry {
                position: self.last,
                at: self.now,
                record: record(),
            };
            self.bytes = self.bytes.saturating_add(entry.len_held());
            self.entries.push_back(entry);
        }
    }

    pub(crate) fn poll(&mut self) -> Option<JournalEntry> {
        let entry = self.entries.pop_front()?;
        self.bytes = self.bytes.saturating_sub(entry.len_held());
        Some(entry)
    }

    /// The bytes of the messages in entries that nobody has fetched.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries that nobody has fetched.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The position of the last record; 0 without any.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Everything up to a position is stored, as far as it was handed out. Answers how far.
    pub(crate) fn note_stored(&mut self, position: u64) -> u64 {
        let waiting = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let handed_out = self.last.saturating_sub(waiting);
        self.stored = self.stored.max(position.min(handed_out));
        self.stored
    }

    /// How far the store has come.
    pub(crate) const fn stored(&self) -> u64 {
        self.stored
    }

    /// Whether the store is behind.
    pub(crate) const fn is_behind(&self) -> bool {
        self.stored < self.last
    }
}
