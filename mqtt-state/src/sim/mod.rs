//! A simulation of whole systems, for tests: any number of clients and a broker, or several brokers that are
//! joined, with everything that can go wrong between them, and with an embedder's own store and policy.
//!
//! A seed decides all of it: settings, steps, faults. [`run`] carries out one, looks after every step
//! whether something is broken that must not be, lets faults stop, and looks whether everything comes
//! to an end.
//!
//! ```
//! use mqtt_state::sim::{self, Plain};
//!
//! let report = sim::run(7, &mut Plain::default());
//! assert_eq!(report.failure, None);
//! assert!(report.coverage.faults_len() > 0);
//! // The same seed, the same bytes.
//! assert_eq!(sim::run(7, &mut Plain::default()).digest, report.digest);
//! ```
//!
//! What is broken is a [`Failure`], and [`shrink`] finds a shorter list of steps with the same one.
//! An embedder's own store or policy goes in as an [`Embedder`].
//!
//! # What is looked at
//!
//! After every step: QoS 0 at most once, QoS 1 at least once, QoS 2 exactly once; the order of each
//! publisher, topic and QoS; packet identifiers, DUP, Receive Maximum, Maximum Packet Size and topic
//! aliases in every packet that leaves a machine; nothing after the last packet; wills exactly when they
//! are due; session present is the truth; sessions that end when they have to and not before;
//! subscriptions that were granted stay; nobody gets what he has not subscribed to; of a group one member gets a message;
//! nothing is sent that has expired; no client has more questions than its share,
//! and no question is open for longer than its time; what is taken away from a client is gone, and its embedder gets
//! what a client with the same filter would; each side of an enhanced authentication speaks in its turn, and hears what
//! the other has said; a broker without memory turns nobody away who comes for its session, and takes what there is room
//! for; when a store has failed all hear it,
//! nobody is let in, and what was not stored goes nowhere. In the end: nothing
//! that was acknowledged is lost, every message that was taken has one outcome, no queue holds
//! anything, and who does nothing stays connected. When all have left, nothing is left of them in the broker, in
//! its store, or on the heap.
//!
//! One seed in eight has two or three brokers, with links between them that are slow, cut and healed, and clients
//! that go from one to another. There the same holds, as far as it is promised across brokers: an interest has
//! to be known where a message is published, the order is that of a publisher at one broker, and where a link
//! is cut while a client goes elsewhere it may have two sessions, or none, until it begins a new one. When nothing
//! is on its way a client has one session, wherever that is; in the end no broker keeps anything for another one,
//! and all retain the same. One more in sixteen has several brokers with a store each, and they crash: then what was
//! on its way from the broker that begins anew may be lost, what was on its way to it may come once more, and it knows
//! nobody's interests until its links are up.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "nobody's input comes here, and a simulation that is wrong had better stop"
)]

mod actions;
mod actor;
mod authenticate;
mod coverage;
mod crash;
mod drain;
mod embed;
mod extras;
mod faults;
mod finish;
mod full;
mod group;
mod hear;
mod inbox;
mod leave;
mod lifetime;
mod line;
mod locals;
mod mesh;
mod node;
mod oracle;
mod packets;
mod permissions;
mod plan;
mod questions;
mod random;
mod roam;
mod said;
mod sessions;
mod store_failure;
mod strangers;
mod watch;
mod wills;
mod world;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use coverage::{Coverage, Fault};
pub use embed::{Embedder, Plain};
pub use plan::Plan;

use world::World;

/// What is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// After this step, counted from 0.
    pub step: usize,
    /// What has to be so.
    pub rule: &'static str,
    /// What is so.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, rule, text } = self;
        write!(f, "step {step}: \"{rule}\" is broken: {text}")
    }
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What it has met.
    pub coverage: Coverage,
    /// What is broken, if something is.
    pub failure: Option<Failure>,
    /// Of all bytes that went over a connection.
    pub digest: u64,
    /// What happened, line by line, from [`trace`].
    pub trace: Vec<String>,
}

/// What happened: always as a digest, in words where that is asked for.
#[derive(Debug)]
struct Trace {
    digest: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    const fn new(in_words: bool) -> Self {
        Self {
            digest: 0xcbf2_9ce4_8422_2325,
            lines: match in_words {
                true => Some(Vec::new()),
                false => None,
            },
        }
    }

    /// FNV-1a.
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.digest ^= u64::from(*byte);
            self.digest = self.digest.wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(line());
        }
    }
}

/// Carries out what a seed decides.
pub fn run(seed: u64, embedder: &mut dyn Embedder) -> Report {
    run_plan(&Plan::new(seed), embedder)
}

/// Carries out a plan.
pub fn run_plan(plan: &Plan, embedder: &mut dyn Embedder) -> Report {
    carry_out(plan, embedder, false)
}

/// Carries out a plan, and says what happens.
pub fn trace(plan: &Plan, embedder: &mut dyn Embedder) -> Report {
    carry_out(plan, embedder, true)
}

fn carry_out(plan: &Plan, embedder: &mut dyn Embedder, in_words: bool) -> Report {
    let mut world = World::new(plan.clone(), embedder, Trace::new(in_words));
    for (step, action) in plan.actions.iter().enumerate() {
        world.step = step;
        world.trace.note(|| alloc::format!("--- {step}"));
        world.at = 0;
        world.act(*action);
        if world.failure.is_some() {
            break;
        }
    }
    if world.failure.is_none() {
        world.step = plan.actions.len();
        world.finish();
        world.leave();
    }
    Report {
        coverage: world.coverage,
        failure: world.failure,
        digest: world.trace.digest,
        trace: world.trace.lines.unwrap_or_default(),
    }
}

/// A plan with fewer steps in which the same rule is broken.
#[must_use]
pub fn shrink(plan: &Plan, embedder: &mut dyn Embedder) -> Plan {
    let mut plan = plan.clone();
    let Some(failure) = run_plan(&plan, embedder).failure else {
        return plan;
    };
    let mut fails = |plan: &Plan| {
        let report = run_plan(plan, embedder);
        report.failure.filter(|it| it.rule == failure.rule)
    };
    let mut len = plan.len().div_ceil(2);
    while len > 0 {
        let mut from = 0;
        while from < plan.len() {
            let shorter = plan.without(from, len);
            if fails(&shorter).is_some() {
                plan = shorter;
            } else {
                from += len;
            }
        }
        len /= 2;
    }
    plan
}
