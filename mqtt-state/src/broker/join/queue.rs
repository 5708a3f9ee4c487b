//! What one broker still has to say to another one, and what it has said without hearing that it
//! arrived.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::message::{FilterKey, Note, Stamp};
use crate::broker::store::MessageRef;

/// A message on its way to another broker.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) message: MessageRef,
    pub(super) publisher: Option<Box<str>>,
    pub(super) is_plain: bool,
    pub(super) groups: Vec<FilterKey>,
    pub(super) stamp: Option<Stamp>,
    /// It goes back to where it came from.
    pub(super) is_returned: bool,
    /// What it counts for.
    pub(super) bytes: usize,
}

/// One thing to say.
#[derive(Debug)]
pub(super) enum Item {
    Message(Outgoing),
    #[expect(dead_code, reason = "for what a take-over will say")]
    Note(Box<Note>),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(outgoing) => outgoing.bytes,
            Self::Note(_) => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    /// Over all links of this run; nothing for what may be lost.
    pub(super) sequence: Option<u64>,
    pub(super) item: Item,
}

/// What waits for one other broker.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Said, and not acknowledged.
    kept: VecDeque<Entry>,
    /// Not said on this link.
    waiting: VecDeque<Entry>,
    last_sequence: u64,
    bytes: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.kept.len().saturating_add(self.waiting.len())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Puts something behind the others. What `counts` is kept until it has arrived.
    pub(super) fn push(&mut self, item: Item, counts: bool) {
        let sequence = counts.then(|| {
            self.last_sequence = self.last_sequence.saturating_add(1);
            self.last_sequence
        });
        self.bytes = self.bytes.saturating_add(item.bytes());
        self.waiting.push_back(Entry { sequence, item });
    }

    /// What is said next.
    pub(super) fn next(&self) -> Option<&Entry> {
        self.waiting.front()
    }

    /// It has been said. Answers what is done with.
    pub(super) fn said(&mut self) -> Option<Item> {
        let entry = self.waiting.pop_front()?;
        if entry.sequence.is_some() {
            self.kept.push_back(entry);
            return None;
        }
        self.bytes = self.bytes.saturating_sub(entry.item.bytes());
        Some(entry.item)
    }

    /// The next one of those that have arrived.
    pub(super) fn pop_received(&mut self, received: u64) -> Option<Item> {
        // Behind a cut it waits to be said again.
        let list = if self.kept.is_empty() {
            &mut self.waiting
        } else {
            &mut self.kept
        };
        if list.front()?.sequence? > received {
            return None;
        }
        let entry = list.pop_front()?;
        self.bytes = self.bytes.saturating_sub(entry.item.bytes());
        Some(entry.item)
    }

    /// The link is gone: everything kept is to be said again, in its order. Answers what is lost.
    pub(super) fn rewind(&mut self) -> Vec<Item> {
        let mut lost = Vec::new();
        for entry in core::mem::take(&mut self.waiting) {
            if entry.sequence.is_some() {
                self.kept.push_back(entry);
            } else {
                self.bytes = self.bytes.saturating_sub(entry.item.bytes());
                lost.push(entry.item);
            }
        }
        core::mem::swap(&mut self.waiting, &mut self.kept);
        lost
    }

    /// Everything.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Item> {
        self.bytes = 0;
        let kept = core::mem::take(&mut self.kept);
        let waiting = core::mem::take(&mut self.waiting);
        { kept.into_iter() }.chain(waiting).map(|entry| entry.item)
    }
}
