//! What one broker still has to say to another one, and what it has said without hearing that it
//! arrived.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::message::{BrokerId, FilterKey, Note, Stamp};
use crate::broker::store::MessageRef;

/// Places that are kept when nothing is in them.
const SPARE: usize = 64;

/// A message on its way to another broker.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) message: MessageRef,
    pub(super) publisher: Option<Box<str>>,
    pub(super) is_plain: bool,
    pub(super) groups: Vec<FilterKey>,
    pub(super) passed: Vec<BrokerId>,
    pub(super) stamp: Option<Stamp>,
    /// It goes back to where it came from.
    pub(super) is_returned: bool,
    /// What it counts for.
    pub(super) bytes: usize,
}

impl Outgoing {
    /// A message for nobody yet.
    pub(super) const fn new(message: MessageRef) -> Self {
        Self {
            message,
            publisher: None,
            is_plain: false,
            groups: Vec::new(),
            passed: Vec::new(),
            stamp: None,
            is_returned: false,
            bytes: 0,
        }
    }
}

/// One thing to say.
#[derive(Debug)]
pub(super) enum Item {
    Message(Outgoing),
    Note(Box<Note>),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(outgoing) => outgoing.bytes,
            Self::Note(_) => 0,
        }
    }

    fn is_message(&self) -> bool {
        matches!(self, Self::Message(_))
    }

    fn held_by_note(&self) -> usize {
        if self.is_message() {
            0
        } else {
            self.len_held()
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
    /// Messages, apart from what else there is to say, and their bytes.
    len: usize,
    bytes: usize,
    /// Bytes of everything that is not in the store.
    held: usize,
    /// Of those, what is no message.
    held_by_notes: usize,
}

impl Queue {
    /// Bytes outside of itself, but for messages that are in the store.
    pub(super) fn bytes_held(&self) -> usize {
        let places = { self.kept.capacity() }.saturating_add(self.waiting.capacity());
        { places.saturating_mul(size_of::<Entry>()) }.saturating_add(self.held)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What else has not been acknowledged.
    pub(super) fn notes_len(&self) -> usize {
        let all = self.kept.len().saturating_add(self.waiting.len());
        all.saturating_sub(self.len)
    }

    /// Bytes of that.
    pub(super) fn notes_bytes(&self) -> usize {
        let places = self.notes_len().saturating_mul(size_of::<[Entry; 2]>());
        places.saturating_add(self.held_by_notes)
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
        self.held = self.held.saturating_add(item.len_held());
        self.held_by_notes = self.held_by_notes.saturating_add(item.held_by_note());
        self.len = self.len.saturating_add(usize::from(item.is_message()));
        self.waiting.push_back(Entry { sequence, item });
    }

    /// What is said next.
    pub(super) fn next(&self) -> Option<&Entry> {
        self.waiting.front()
    }

    /// It has been said. Answers what is done with.
    pub(super) fn said(&mut self) -> Option<Item> {
        let entry = self.waiting.pop_front()?;
        if self.waiting.is_empty() && self.waiting.capacity() > SPARE {
            self.waiting = VecDeque::new();
        }
        if entry.sequence.is_some() {
            self.kept.push_back(entry);
            return None;
        }
        Some(self.forget(entry))
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
        if list.is_empty() && list.capacity() > SPARE {
            *list = VecDeque::new();
        }
        Some(self.forget(entry))
    }

    /// The link is gone: everything kept is to be said again, in its order. Answers what is lost.
    pub(super) fn rewind(&mut self) -> Vec<Item> {
        let mut lost = Vec::new();
        for entry in core::mem::take(&mut self.waiting) {
            if entry.sequence.is_some() {
                self.kept.push_back(entry);
            } else {
                lost.push(self.forget(entry));
            }
        }
        core::mem::swap(&mut self.waiting, &mut self.kept);
        lost
    }

    /// What was said about claims is void, but for the place where one of them switched.
    pub(super) fn forget_claims(&mut self) {
        let mut void = 0_usize;
        let mut is_other = |entry: &Entry| match &entry.item {
            Item::Note(note) if note.is_void_without_link() => {
                void = void.saturating_add(entry.item.len_held());
                false
            }
            Item::Note(_) | Item::Message(_) => true,
        };
        self.kept.retain(&mut is_other);
        self.waiting.retain(is_other);
        self.held = self.held.saturating_sub(void);
        self.held_by_notes = self.held_by_notes.saturating_sub(void);
    }

    fn forget(&mut self, entry: Entry) -> Item {
        self.bytes = self.bytes.saturating_sub(entry.item.bytes());
        self.held = self.held.saturating_sub(entry.item.len_held());
        self.held_by_notes = { self.held_by_notes }.saturating_sub(entry.item.held_by_note());
        self.len = { self.len }.saturating_sub(usize::from(entry.item.is_message()));
        entry.item
    }

    /// Everything.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Item> {
        (self.len, self.bytes, self.held, self.held_by_notes) = (0, 0, 0, 0);
        let kept = core::mem::take(&mut self.kept);
        let waiting = core::mem::take(&mut self.waiting);
        { kept.into_iter() }.chain(waiting).map(|entry| entry.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::join::message::ClaimNote;

    fn note(client_id: &str) -> Item {
        Item::Note(Box::new(Note::Claim {
            client_id: client_id.into(),
            stamp: Stamp::default(),
            what: ClaimNote::Unclaimed,
        }))
    }

    fn client_id(item: &Item) -> &str {
        match item {
            Item::Note(note) => match &**note {
                Note::Claim { client_id, .. } => client_id,
                Note::Forward(_) | Note::Returned(_) => "",
            },
            Item::Message(_) => "",
        }
    }

    /// Those that may be lost have no number.
    #[test]
    fn an_acknowledgement_is_for_all_before_it_and_for_no_other() {
        for is_cut in [false, true] {
            let mut queue = Queue::default();
            for (name, counts) in [("1", true), ("lost", false), ("2", true), ("3", true)] {
                queue.push(note(name), counts);
            }
            let said: Vec<_> = core::iter::from_fn(|| {
                queue.next()?;
                Some(queue.said())
            })
            .collect();
            let done: Vec<_> = said.iter().flatten().map(client_id).collect();
            assert_eq!(done, ["lost"]);
            if is_cut {
                assert!(queue.rewind().is_empty());
            }
            assert!(queue.pop_received(0).is_none(), "cut: {is_cut}");
            let received: Vec<_> = core::iter::from_fn(|| queue.pop_received(2)).collect();
            let received: Vec<_> = received.iter().map(client_id).collect();
            assert_eq!(received, ["1", "2"], "cut: {is_cut}");
            assert_eq!(queue.notes_len(), 1);
            assert!(
                queue
                    .pop_received(3)
                    .is_some_and(|it| client_id(&it) == "3")
            );
            assert_eq!((queue.notes_len(), queue.len()), (0, 0));
        }
    }
}
