//! Which connections have output: each is handed out once until it is drained.

use alloc::vec::Vec;

use super::ConnectionId;

/// What one connection has, and whether that has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ready {
    #[default]
    No,
    /// Was drained, and nothing has come since.
    Rests,
    /// Likewise, and what was at hand is not acknowledged.
    Awaits,
    /// Waits in the queue.
    Queued,
    /// Likewise, and has nothing but what is at hand.
    QueuedAtHand,
    /// Was handed out and has not been drained.
    HandedOut,
    /// Likewise, and has nothing but what is at hand.
    HandedOutAtHand,
    /// Was handed out and has not been drained, and its input may be taken since then: that has to be told.
    Again,
}

impl Ready {
    /// Whether something may be put at hand.
    #[inline]
    pub(super) fn rests(self) -> bool {
        self == Self::Rests
    }

    /// It was drained, and something may be put at hand from here on, or once what was is acknowledged.
    #[inline]
    pub(super) fn rest(&mut self, is_awaited: bool) {
        if *self == Self::No {
            *self = match is_awaited {
                true => Self::Awaits,
                false => Self::Rests,
            };
        }
    }

    /// Something was sent to one that rests, and is not acknowledged.
    #[inline]
    pub(super) fn await_ack(&mut self) {
        debug_assert!(self.rests());
        *self = Self::Awaits;
    }

    #[inline]
    pub(super) fn hand_out(&mut self) {
        *self = match self {
            Self::QueuedAtHand => Self::HandedOutAtHand,
            _ => Self::HandedOut,
        };
    }

    /// It has been drained. Answers whether it is to be handed out once more.
    #[inline]
    pub(super) fn drain(&mut self) -> bool {
        let is_once_more = *self == Self::Again;
        *self = match self {
            Self::Queued | Self::QueuedAtHand => Self::Queued,
            Self::No | Self::Rests | Self::HandedOut | Self::HandedOutAtHand | Self::Again => {
                Self::No
            }
            Self::Awaits => Self::Awaits,
        };
        is_once_more
    }

    /// Whether it was handed out with what is at hand, which is all.
    #[inline]
    pub(super) fn has_only_at_hand(self) -> bool {
        self == Self::HandedOutAtHand
    }

    /// What was at hand is on its way. Answers whether that was all: it rests again then, or once that is
    /// acknowledged.
    #[inline]
    pub(super) fn drain_at_hand(&mut self, rests: Self) -> bool {
        match *self {
            Self::HandedOutAtHand => *self = rests,
            // It is handed out all the same, with nothing.
            Self::QueuedAtHand => *self = Self::Queued,
            Self::No
            | Self::Rests
            | Self::Awaits
            | Self::Queued
            | Self::HandedOut
            | Self::Again => {}
        }
        *self == rests
    }

    /// What was at hand is acknowledged.
    #[inline]
    pub(super) fn acknowledge(&mut self) {
        if *self == Self::Awaits {
            *self = Self::Rests;
        }
    }

    /// What was at hand is no more, whether or not it was sent.
    pub(super) fn take_back(&mut self) {
        *self = match *self {
            Self::No | Self::Rests | Self::Awaits => Self::No,
            Self::Queued | Self::QueuedAtHand => Self::Queued,
            Self::HandedOut | Self::HandedOutAtHand => Self::HandedOut,
            Self::Again => Self::Again,
        };
    }

    /// Once it is drained it is handed out again.
    pub(super) fn repeat(&mut self) {
        if *self == Self::HandedOut {
            *self = Self::Again;
        }
    }
}

/// Those that are to be handed out, in the order in which they had something.
///
/// Not a `VecDeque`, as that takes some 20 instructions more for each of them, of the 240 of a delivery.
#[derive(Debug)]
pub(super) struct ReadyQueue {
    ids: Vec<ConnectionId>,
    /// So many of them have been.
    handed_out: usize,
}

impl ReadyQueue {
    pub(super) const fn new() -> Self {
        Self {
            ids: Vec::new(),
            handed_out: 0,
        }
    }

    /// A connection has output.
    #[inline]
    pub(super) fn push(&mut self, id: ConnectionId, ready: &mut Ready) {
        *ready = match *ready {
            Ready::No | Ready::Rests | Ready::Awaits => {
                self.append(id);
                Ready::Queued
            }
            Ready::Queued | Ready::QueuedAtHand => Ready::Queued,
            Ready::HandedOut | Ready::HandedOutAtHand => Ready::HandedOut,
            Ready::Again => Ready::Again,
        };
    }

    /// A connection that rests has something at hand.
    #[inline]
    pub(super) fn push_at_hand(&mut self, id: ConnectionId, ready: &mut Ready) {
        self.append(id);
        *ready = Ready::QueuedAtHand;
    }

    #[inline]
    fn append(&mut self, id: ConnectionId) {
        if self.ids.len() == self.ids.capacity() {
            self.make_room();
        }
        self.ids.push(id);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<ConnectionId> {
        let Some(id) = self.ids.get(self.handed_out) else {
            self.ids.clear();
            self.handed_out = 0;
            return None;
        };
        self.handed_out = self.handed_out.wrapping_add(1);
        Some(*id)
    }

    /// Those who are left move to the front where they are half of all at most: none moves more often than
    /// others have been handed out, and there is never room for more than four times as many as wait.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self) {
        if self.handed_out >= self.ids.len() / 2 {
            self.ids.drain(..self.handed_out);
            self.handed_out = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_never_empty_does_not_grow() {
        let mut queue = ReadyQueue::new();
        let id = ConnectionId::from_bits;
        let (mut next_in, mut next_out) = (0, 0);
        for round in 0..100_000_u64 {
            // From 1 to 1,000 of them wait, and never none.
            let waiting = 1 + round % 1000;
            while next_in - next_out < waiting {
                queue.push(id(next_in), &mut Ready::No);
                next_in += 1;
            }
            assert_eq!(queue.pop(), Some(id(next_out)), "in their order");
            next_out += 1;
            assert!(queue.ids.capacity() <= 4 * 1000, "{round}");
        }
        while let Some(last) = queue.pop() {
            assert_eq!(last, id(next_out));
            next_out += 1;
        }
        assert_eq!(next_out, next_in);
    }

    #[test]
    fn each_stands_in_the_queue_once_until_it_is_drained() {
        use Ready::*;
        // What is done, and what it is from there on; `true` where it has got into the queue, and where it is
        // to be handed out once more.
        let mut queue = ReadyQueue::new();
        let id = ConnectionId::from_bits(7);
        for (before, pushed, drained) in [
            (No, (Queued, true), (No, false)),
            (Rests, (Queued, true), (No, false)),
            (Awaits, (Queued, true), (Awaits, false)),
            (Queued, (Queued, false), (Queued, false)),
            (QueuedAtHand, (Queued, false), (Queued, false)),
            (HandedOut, (HandedOut, false), (No, false)),
            (HandedOutAtHand, (HandedOut, false), (No, false)),
            (Again, (Again, false), (No, true)),
        ] {
            let mut ready = before;
            queue.push(id, &mut ready);
            assert_eq!((ready, queue.pop().is_some()), pushed, "{before:?}");
            let mut ready = before;
            let is_once_more = ready.drain();
            assert_eq!((ready, is_once_more), drained, "{before:?}");
        }
        // With what is at hand.
        for (before, rests, handed_over, acknowledged) in [
            (QueuedAtHand, Rests, (Rests, true), Rests),
            (QueuedAtHand, Awaits, (Awaits, true), Rests),
            (Queued, Rests, (HandedOut, false), HandedOut),
            (Queued, Awaits, (HandedOut, false), HandedOut),
        ] {
            let mut ready = before;
            ready.hand_out();
            let was_all = ready.drain_at_hand(rests);
            assert_eq!((ready, was_all), handed_over, "{before:?}");
            ready.acknowledge();
            assert_eq!(ready, acknowledged, "{before:?}");
        }
        for (before, taken_back) in [
            (Rests, No),
            (Awaits, No),
            (Queued, Queued),
            (QueuedAtHand, Queued),
            (HandedOut, HandedOut),
            (HandedOutAtHand, HandedOut),
            (Again, Again),
        ] {
            let mut ready = before;
            ready.take_back();
            assert_eq!(ready, taken_back, "{before:?}");
        }
    }
}
