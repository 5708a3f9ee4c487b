//! One subject at one workload.

/// A subject doing the work of a workload once, for all its packets.
pub(crate) struct Case {
    /// Such as `D1-v3`.
    pub(crate) workload: &'static str,
    /// Such as `ours, borrowed`.
    pub(crate) subject: &'static str,
    pub(crate) kind: Kind,
    pub(crate) packets: usize,
    work: Box<dyn Work>,
}

trait Work {
    fn prepare(&mut self);
    fn run(&mut self) -> usize;
}

struct Stateful<S, P, R> {
    state: S,
    prepare: P,
    run: R,
}

impl<S, P: FnMut(&mut S), R: FnMut(&mut S) -> usize> Work for Stateful<S, P, R> {
    fn prepare(&mut self) {
        (self.prepare)(&mut self.state);
    }

    fn run(&mut self) -> usize {
        (self.run)(&mut self.state)
    }
}

/// What a row counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Floor,
    Ours,
    Peer,
}

impl Case {
    /// `prepare` is not measured; `run` answers how many packets it handled, which has to be all
    /// of them.
    pub(crate) fn new<S: 'static>(
        workload: &'static str,
        (subject, kind): (&'static str, Kind),
        packets: usize,
        state: S,
        prepare: impl FnMut(&mut S) + 'static,
        run: impl FnMut(&mut S) -> usize + 'static,
    ) -> Self {
        Self {
            workload,
            subject,
            kind,
            packets,
            work: Box::new(Stateful {
                state,
                prepare,
                run,
            }),
        }
    }

    pub(crate) fn prepare(&mut self) {
        self.work.prepare();
    }

    /// The work, which is what is measured.
    pub(crate) fn run(&mut self) -> usize {
        self.work.run()
    }

    pub(crate) fn pass(&mut self) -> usize {
        self.prepare();
        self.run()
    }
}

/// Takes out the cases that do not handle every packet, and says which.
pub(crate) fn check(cases: &mut Vec<Case>) -> Vec<String> {
    let mut wrong = Vec::new();
    cases.retain_mut(|case| {
        let handled = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| case.pass()));
        let right = handled
            .as_ref()
            .is_ok_and(|handled| *handled == case.packets);
        assert!(
            right || case.kind == Kind::Peer,
            "{} {}: {handled:?}",
            case.workload,
            case.subject
        );
        if !right {
            wrong.push(format!(
                "{} {}: {handled:?} of {} packets",
                case.workload, case.subject, case.packets
            ));
        }
        right
    });
    wrong
}
