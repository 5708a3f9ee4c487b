//! How much one call does, and what goes on in the next one.

/// What one call may still do of the work that others cause: copies for receivers, sessions that end,
/// messages that come back, topics looked at.
///
/// A step is one such thing. What is left waits, and [`poll_timeout`](super::Broker::poll_timeout)
/// is due until it is done.
#[derive(Debug, Default)]
pub(super) struct Work {
    left: usize,
    done: usize,
    most: usize,
}

impl Work {
    /// A call begins.
    pub(super) fn begin(&mut self, per_call: usize) {
        (self.left, self.done) = (per_call.max(1), 0);
    }

    /// Takes one step, if this call has one left.
    #[inline]
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for work that is not in slices yet")
    )]
    pub(super) fn step(&mut self) -> bool {
        let may = self.left > 0;
        if may {
            self.spend(1);
        }
        may
    }

    /// Whether something that takes so many steps, all or none of them, may begin. Something may in each
    /// call.
    #[inline]
    pub(super) const fn allows(&self, steps: usize) -> bool {
        steps <= self.left || self.done == 0
    }

    /// Takes steps for what is done in any case, and in one piece.
    #[inline]
    pub(super) fn spend(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(steps);
        self.done = self.done.saturating_add(steps);
        self.most = self.most.max(self.done);
    }

    /// Steps that this call has left.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// The most steps that one call has taken.
    pub(super) const fn most(&self) -> usize {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_steps_and_no_more() {
        let mut work = Work::default();
        work.begin(3);
        assert_eq!([(); 4].map(|()| work.step()), [true, true, true, false]);
        work.begin(10);
        work.spend(2);
        assert_eq!((work.left(), work.most()), (8, 3));
        assert!(work.allows(8) && !work.allows(9));
        work.begin(0);
        assert!(work.allows(9), "the first thing, whatever its size");
        assert!(work.step(), "something is done in each call");
    }
}
