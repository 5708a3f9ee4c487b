//! One other broker, and the link to it.
//!
//! A link is a pair of tags, one of each side. Both say Hello when it opens; whoever hears of a tag
//! that is new to it says Welcome, with how much of the other side's notes has arrived. With the
//! other side's Welcome the link is up. What belongs to another pair is not listened to, so that
//! nothing of a link that is gone can do harm, however late it comes.

use alloc::collections::{BTreeSet, VecDeque};

use super::message::{Body, BrokerId, FilterKey, JoinMessage, Tag};
use super::queue::Queue;

/// Where going through everything stands, after a link has come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sync<K> {
    /// Nothing has been said.
    Start,
    /// Up to this one.
    Behind(K),
    Done,
}

impl<K: Ord> Sync<K> {
    /// Whether what has changed would be missed otherwise.
    pub(super) fn has_passed(&self, key: &K) -> bool {
        match self {
            Self::Start => false,
            Self::Behind(last) => key <= last,
            Self::Done => true,
        }
    }
}

#[derive(Debug)]
pub(super) struct Other {
    /// This side's link.
    mine: Tag,
    /// The latest link of the other side that was heard of.
    theirs: Option<Tag>,
    /// The first one of its run, and this side's own when the two were up first. They tell a run that goes on
    /// from one that has begun anew with the names of the one before.
    first_theirs: Option<Tag>,
    first_up: Option<Tag>,
    /// Between `join` and `part`.
    pub(super) is_open: bool,
    /// Both sides know each other's link, and this one knows what has arrived.
    is_up: bool,
    hello_due: bool,
    welcome_due: bool,
    welcome_said: bool,
    acknowledge_due: bool,
    /// It is told already that the other side has opened a link that is not later than the last one.
    is_told_of_old: bool,
    next_out: u64,
    next_in: u64,
    /// Of the other side's notes, the last one that arrived.
    received: u64,
    /// The last one that a store knows of, where one follows; what a crash cannot take back.
    acknowledged: u64,
    /// Positions in the journal behind which notes are stored, and [`UNKNOWN`] ones.
    unstored: VecDeque<(u64, u64)>,
    pub(super) queue: Queue,
    /// Filters whose subscribers have changed.
    dirty: BTreeSet<FilterKey>,
    dirty_bytes: usize,
    pub(super) interests: Sync<FilterKey>,
    pub(super) sessions: Sync<alloc::boxed::Box<str>>,
    pub(super) retained: Sync<alloc::boxed::Box<[u8]>>,
    /// Whether what is said next is part of going through everything.
    pub(super) sync_turn: bool,
    /// Counts how often the link has come up: interests that were not said again are void.
    pub(super) round: u64,
    /// Filters that its subscribers have.
    pub(super) interests_len: usize,
    /// Filters that there was no room for.
    pub(super) interests_refused: u64,
}

/// Not all of a note is in the journal yet.
const UNKNOWN: u64 = u64::MAX;

/// Names a note of another broker.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct NoteName {
    pub(super) from: BrokerId,
    /// Of the other side, which counts anew with each.
    run: u64,
    sequence: u64,
}

/// What to do about what has come in.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of it, and it goes on at once"
)]
pub(super) enum Heard {
    /// Nothing.
    Ignored,
    /// Nothing, but it is told that the other side goes on behind what was heard of it.
    Old,
    /// The link is up.
    Up,
    /// Something of the other side's.
    Body(Body),
}

impl Other {
    pub(super) fn new(incarnation: u64) -> Self {
        Self {
            mine: Tag {
                incarnation,
                link: 0,
            },
            theirs: None,
            first_theirs: None,
            first_up: None,
            is_open: false,
            is_up: false,
            hello_due: false,
            welcome_due: false,
            welcome_said: false,
            acknowledge_due: false,
            is_told_of_old: false,
            next_out: 0,
            next_in: 0,
            received: 0,
            acknowledged: 0,
            unstored: VecDeque::new(),
            queue: Queue::default(),
            dirty: BTreeSet::new(),
            dirty_bytes: 0,
            interests: Sync::Start,
            sessions: Sync::Start,
            retained: Sync::Start,
            sync_turn: false,
            round: 0,
            interests_len: 0,
            interests_refused: 0,
        }
    }

    /// Which run of the other side was heard of last.
    pub(super) fn run(&self) -> Option<u64> {
        self.theirs.map(|theirs| theirs.incarnation)
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// The subscribers of a filter have changed.
    pub(super) fn note_changed(&mut self, filter: &FilterKey) {
        if self.dirty.insert(filter.clone()) {
            self.dirty_bytes = self.dirty_bytes.saturating_add(filter.weight());
        }
    }

    /// One of the filters whose subscribers have changed.
    pub(super) fn next_changed(&mut self) -> Option<FilterKey> {
        let filter = self.dirty.pop_first()?;
        self.dirty_bytes = self.dirty_bytes.saturating_sub(filter.weight());
        Some(filter)
    }

    pub(super) fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// Bytes of what it holds outside of itself.
    pub(super) fn bytes(&self) -> usize {
        let unstored = self.unstored.capacity();
        { self.queue.bytes_held() }
            .saturating_add(self.dirty_bytes)
            .saturating_add(unstored.saturating_mul(size_of::<(u64, u64)>()))
    }

    /// A new link of this side. The caller rewinds the queue.
    pub(super) fn open(&mut self) {
        self.mine.link = self.mine.link.saturating_add(1);
        self.is_open = true;
        self.is_told_of_old = false;
        self.down();
        self.hello_due = true;
        self.welcome_due = false;
    }

    /// The same for a reason that is told already.
    fn reopen(&mut self) {
        self.open();
        self.is_told_of_old = true;
    }

    pub(super) fn close(&mut self) {
        self.is_open = false;
        self.down();
        self.hello_due = false;
        self.welcome_due = false;
    }

    fn down(&mut self) {
        self.is_up = false;
        self.welcome_said = false;
        self.acknowledge_due = false;
        self.next_out = 0;
        self.next_in = 0;
        self.dirty.clear();
        self.dirty_bytes = 0;
        self.interests = Sync::Start;
        self.sessions = Sync::Start;
        self.retained = Sync::Start;
    }

    /// The other side has a new link. The caller rewinds the queue.
    fn meet(&mut self, theirs: Tag) {
        if self
            .theirs
            .is_none_or(|before| before.incarnation != theirs.incarnation)
        {
            self.received = 0;
            self.acknowledged = 0;
            self.unstored.clear();
            self.first_theirs = Some(theirs);
            self.first_up = None;
        }
        self.theirs = Some(theirs);
        self.down();
        self.welcome_due = true;
    }

    /// Something has come in. `rewind` is called when the link begins anew.
    pub(super) fn hear(&mut self, message: JoinMessage, rewind: impl FnOnce(&mut Queue)) -> Heard {
        let JoinMessage {
            from,
            to,
            number,
            received: _,
            body,
        } = message;
        if !self.is_open {
            return Heard::Ignored;
        }
        let is_new = self.theirs.is_none_or(|theirs| theirs < from);
        let is_known = self.theirs == Some(from);
        let is_mine = to == Some(self.mine);
        let is_forgetful =
            matches!(body, Body::Welcome { first, .. } if self.has_forgotten(from, first));
        match body {
            Body::Hello if is_new => {
                self.meet(from);
                rewind(&mut self.queue);
                Heard::Ignored
            }
            Body::Welcome { .. }
                if is_mine && !is_forgetful && (is_new || (is_known && !self.is_up)) =>
            {
                if is_new {
                    self.meet(from);
                    rewind(&mut self.queue);
                } else if !self.welcome_said {
                    self.welcome_due = true;
                }
                self.is_up = true;
                self.first_up.get_or_insert(self.mine);
                self.next_in = 1;
                self.round = self.round.saturating_add(1);
                Heard::Up
            }
            // It says so once for each link, before anything else on it, and a link that came later was heard of: so
            // this is another run.
            Body::Hello => {
                let heard = self.hear_old();
                if self.is_up && matches!(heard, Heard::Old) {
                    // The one that was up may be gone.
                    self.reopen();
                    rewind(&mut self.queue);
                }
                heard
            }
            // Nobody who knows this link opened one before it was known, nor has anybody forgotten that it was up.
            Body::Welcome { .. } if is_mine && (is_forgetful || !is_known) => {
                let heard = self.hear_old();
                if is_forgetful && self.welcome_said {
                    // It takes the link for one that is up, until it hears of another one.
                    self.reopen();
                    rewind(&mut self.queue);
                } else if is_forgetful {
                    self.welcome_due = false;
                }
                heard
            }
            Body::Welcome { .. } => Heard::Ignored,
            body if is_mine && is_known && self.is_up => {
                if number > self.next_in {
                    // Something is missing: all anew.
                    self.open();
                    rewind(&mut self.queue);
                    return Heard::Ignored;
                }
                if number < self.next_in {
                    return Heard::Ignored;
                }
                self.next_in = self.next_in.saturating_add(1);
                Heard::Body(body)
            }
            _of_another_link => Heard::Ignored,
        }
    }

    /// Another run of the other side than the one that was heard of is there, and no later one.
    fn hear_old(&mut self) -> Heard {
        match core::mem::replace(&mut self.is_told_of_old, true) {
            true => Heard::Ignored,
            false => Heard::Old,
        }
    }

    /// Whether this is said by another run than the one that was up with this side, although it has its
    /// incarnation: that one has heard of a link of this side that was there when the two were up first.
    fn has_forgotten(&self, from: Tag, first: Option<Tag>) -> bool {
        self.run() == Some(from.incarnation) && self.first_up.is_some() && first > self.first_up
    }

    /// A note of the other side's has come. Answers whether it is new.
    pub(super) fn receive(&mut self, sequence: u64) -> bool {
        self.acknowledge_due = true;
        let is_new = sequence > self.received;
        if is_new {
            self.received = sequence;
        }
        is_new
    }

    /// What a note brought is stored when this much of the journal is.
    pub(super) fn taken(&mut self, sequence: u64, position: u64) {
        match self.unstored.back_mut() {
            Some((last, latest)) if *last == position => *latest = sequence,
            _ => self.unstored.push_back((position, sequence)),
        }
    }

    /// What a note brought is not with all who are to get it: how much of the journal that takes is known
    /// later, by [`taken_wholly`](Self::taken_wholly).
    pub(super) fn taken_in_part(&mut self, from: BrokerId, sequence: u64) -> Option<NoteName> {
        let run = self.run()?;
        self.unstored.push_back((UNKNOWN, sequence));
        Some(NoteName {
            from,
            run,
            sequence,
        })
    }

    /// All have it when this much of the journal is stored.
    pub(super) fn taken_wholly(&mut self, note: &NoteName, position: u64) {
        // Another run counts anew.
        if self.run() != Some(note.run) {
            return;
        }
        let place = { &self.unstored }.partition_point(|(_, sequence)| *sequence < note.sequence);
        if let Some(entry) = self.unstored.get_mut(place)
            && *entry == (UNKNOWN, note.sequence)
        {
            entry.0 = position;
        }
    }

    /// So much of the journal is stored.
    pub(super) fn note_stored(&mut self, stored: u64) {
        while let Some((position, sequence)) = self.unstored.front()
            && *position <= stored
        {
            self.acknowledged = *sequence;
            self.acknowledge_due = true;
            self.unstored.pop_front();
        }
    }

    /// What the link itself has to say.
    pub(super) fn greeting(&mut self, count: u64) -> Option<JoinMessage> {
        if core::mem::take(&mut self.hello_due) {
            return Some(JoinMessage {
                from: self.mine,
                to: None,
                number: 0,
                received: 0,
                body: Body::Hello,
            });
        }
        if core::mem::take(&mut self.welcome_due) {
            self.welcome_said = true;
            // What has come and is not stored comes once more, and is known then: this run may not be the last.
            let first = self.first_theirs;
            return Some(self.say(Body::Welcome { count, first }));
        }
        None
    }

    /// What has arrived, if that has not been said.
    pub(super) fn acknowledgement(&mut self) -> Option<JoinMessage> {
        self.acknowledge_due.then(|| self.say(Body::Acknowledge))
    }

    pub(super) fn say(&mut self, body: Body) -> JoinMessage {
        let number = self.next_out;
        self.next_out = self.next_out.saturating_add(1);
        self.acknowledge_due = false;
        JoinMessage {
            from: self.mine,
            to: self.theirs,
            number,
            received: self.acknowledged,
            body,
        }
    }
}
