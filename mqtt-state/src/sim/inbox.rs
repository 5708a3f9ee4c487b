//! What one application has got, and what of it would have to come again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use mqtt_codec::QoS;

use super::oracle::Lane;
use super::random::Random;
use super::sessions::Session;
use crate::client::Receipt;

/// A message that an application has got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Got {
    pub(super) number: u32,
    pub(super) qos: QoS,
    /// The session in which it came.
    pub(super) epoch: u32,
    /// It had to come: nothing else brings it again.
    pub(super) was_due: bool,
    /// Where the application acknowledges it.
    pub(super) receipt: Option<Receipt>,
}

impl Got {
    /// It has not got there, and has to come again.
    fn is_due_again(&self, session: &mut Session) -> bool {
        let is_due = self.was_due && self.epoch == session.epoch && !session.is_mixed;
        is_due && session.must.insert(self.number)
    }
}

/// What was known of a message before it came.
#[derive(Clone, Debug)]
enum Before {
    /// It has come once more.
    Same,
    /// Nothing: its lane, and what came before it there.
    New(Lane, Option<u32>),
    /// It had come in this session, and was refused.
    Refused(u32),
}

/// A QoS 2 message that is not safe yet.
#[derive(Clone, Debug)]
struct Undo {
    /// The entry of the journal that makes it safe.
    position: Option<u64>,
    got: Got,
    /// What was known of it before.
    before: Before,
    /// The application has acknowledged it, or need not.
    is_answered: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    /// Numbers, and in which of its sessions.
    pub(super) seen: BTreeMap<u32, u32>,
    /// The last that was new, by publisher, topic and QoS.
    pub(super) last: BTreeMap<Lane, u32>,
    /// QoS 2 messages that the application has refused since they came last.
    pub(super) refused: BTreeSet<u32>,
    /// What a crash would undo, in the order in which it came.
    undo: Vec<Undo>,
    /// What the application has not acknowledged.
    open: Vec<Got>,
}

impl Inbox {
    /// A QoS 2 message, which a crash may undo.
    pub(super) fn may_undo(&mut self, got: Got) {
        self.undo.push(Undo {
            position: None,
            got,
            before: Before::Same,
            is_answered: got.receipt.is_none(),
        });
    }

    /// The last of them is new; `before` is the one before it in its lane.
    pub(super) fn note_new(&mut self, lane: Lane, before: Option<u32>) {
        if let Some(undo) = self.undo.last_mut() {
            undo.before = Before::New(lane, before);
        }
    }

    /// The last of them had come before, in this session, and was refused.
    pub(super) fn note_refused(&mut self, epoch: u32) {
        if let Some(undo) = self.undo.last_mut() {
            undo.before = Before::Refused(epoch);
        }
    }

    /// The application has to acknowledge a message.
    pub(super) fn hold(&mut self, got: Got) {
        self.open.push(got);
    }

    /// Messages without an acknowledgement.
    pub(super) fn open_len(&self) -> usize {
        self.open.len()
    }

    /// One of them, which the application acknowledges, or refuses.
    pub(super) fn answer(&mut self, random: &mut Random, refuses: bool) -> Option<Got> {
        if self.open.is_empty() {
            return None;
        }
        let got = self.open.remove(random.below(self.open.len()));
        if got.qos == QoS::ExactlyOnce {
            let is_it = |undo: &Undo| undo.position.is_none() && undo.got.number == got.number;
            if refuses {
                // It may come again, should the refusal get lost.
                self.refused.insert(got.number);
                self.undo.retain(|undo| !is_it(undo));
            } else if let Some(undo) = self.undo.iter_mut().find(|undo| is_it(undo)) {
                undo.is_answered = true;
            }
        }
        Some(got)
    }

    /// The store has come so far.
    pub(super) fn keep(&mut self, position: u64) {
        self.undo
            .retain(|undo| undo.position.is_none_or(|at| at > position));
    }

    /// The first QoS 2 message that is not bound to a position yet waits for this one.
    pub(super) fn bind(&mut self, position: u64) {
        if let Some(undo) = self.undo.iter_mut().find(|undo| undo.position.is_none()) {
            undo.position = Some(position);
        }
    }

    /// Whatever is bound to no position is safe, but for what the application has not acknowledged.
    pub(super) fn keep_unbound(&mut self) {
        self.undo
            .retain(|undo| undo.position.is_some() || undo.got.receipt.is_some());
    }

    /// Whatever is acknowledged, or is to be by the machine, is safe with it where nothing follows its
    /// session in a store.
    pub(super) fn keep_known(&mut self, number: u32) {
        self.undo
            .retain(|undo| undo.position.is_some() || undo.got.number != number);
    }

    /// A connection is over: what was not acknowledged comes again at QoS 1. Answers how many that are.
    pub(super) fn end_connection(&mut self, session: &mut Session) -> usize {
        let mut again = 0;
        self.open.retain(|got| {
            let ends = got.qos == QoS::AtLeastOnce;
            again += usize::from(ends && got.is_due_again(session));
            !ends
        });
        again
    }

    /// A session is over, with all that could be acknowledged in it.
    pub(super) fn end_session(&mut self) {
        self.open.clear();
        self.undo.retain(|undo| undo.position.is_some());
    }

    /// What was not stored has never happened. Answers how much of it waited for the application.
    pub(super) fn crash(&mut self, session: &mut Session) -> usize {
        let mut again = self.end_connection(session);
        self.open.clear();
        while let Some(undo) = self.undo.pop() {
            match undo.before {
                Before::Same => {}
                Before::New(lane, before) => {
                    self.seen.remove(&undo.got.number);
                    match before {
                        Some(before) => self.last.insert(lane, before),
                        None => self.last.remove(&lane),
                    };
                }
                Before::Refused(epoch) => {
                    self.seen.insert(undo.got.number, epoch);
                    self.refused.insert(undo.got.number);
                }
            }
            // What was acknowledged may be known to the other side, where no store says so.
            let is_open = undo.position.is_some() || !undo.is_answered;
            let is_again = is_open && undo.got.is_due_again(session);
            again += usize::from(is_again && undo.got.receipt.is_some());
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::sim::oracle::From;

    /// Two QoS 2 messages have come, and wait for the application.
    fn two_open() -> Inbox {
        let mut inbox = Inbox::default();
        let lane = (
            From::Broker,
            0,
            "t".to_string(),
            (QoS::ExactlyOnce, QoS::ExactlyOnce),
            None,
        );
        for number in [0, 1] {
            let got = Got {
                number,
                qos: QoS::ExactlyOnce,
                epoch: 0,
                was_due: true,
                receipt: Some(Receipt(u64::from(number))),
            };
            inbox.hold(got);
            inbox.may_undo(got);
            let before = inbox.last.insert(lane.clone(), number);
            inbox.seen.insert(number, 0);
            inbox.note_new(lane.clone(), before);
        }
        inbox
    }

    /// Answers about one of the two.
    fn answer(inbox: &mut Inbox, number: u32, refuses: bool) {
        inbox.open.sort_by_key(|got| got.number != number);
        let first = inbox.open.drain(..1).collect();
        let others = core::mem::replace(&mut inbox.open, first);
        let got = inbox.answer(&mut Random::new(0), refuses).unwrap();
        assert_eq!(got.number, number);
        inbox.open = others;
    }

    #[test]
    fn what_the_machine_knows_to_be_acknowledged_need_not_come_again() {
        let mut inbox = two_open();
        answer(&mut inbox, 1, false);
        inbox.keep_known(1);
        let mut session = Session::new();
        inbox.crash(&mut session);
        assert_eq!(inbox.seen.keys().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(session.must.iter().copied().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn what_was_refused_before_comes_behind_later_ones_after_another_crash() {
        let mut inbox = two_open();
        answer(&mut inbox, 0, true);
        // The refusal got lost with the program, and it comes again, behind the one that is safe.
        inbox.refused.remove(&0);
        inbox.may_undo(Got {
            number: 0,
            qos: QoS::ExactlyOnce,
            epoch: 0,
            was_due: false,
            receipt: Some(Receipt(2)),
        });
        inbox.note_refused(0);
        answer(&mut inbox, 1, false);
        inbox.keep_known(1);
        inbox.crash(&mut Session::new());
        assert!(inbox.seen.contains_key(&0) && inbox.refused.contains(&0));
    }
}
