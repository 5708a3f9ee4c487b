//! Runs simulations of whole systems, each decided by its seed, and says what they have met.
//!
//! ```text
//! simulate --seeds 10000
//! simulate --seed 7 --shrink --trace
//! simulate --self-test
//! simulate --self-test --bug 15 --bug 16
//! simulate --replay FILE
//! simulate --redact FILE OUT
//! ```

mod redact;
mod replay;
mod self_test;
mod weighed;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use mqtt_examples::clock::Clock;
use mqtt_state::record::Redaction;
use mqtt_state::sim::{self, Coverage, Failure, Fault, Plan};
use weighed::Weighed;

/// The fewest steps and faults of the run in the middle.
const STEPS_MIN: u64 = 200;
const FAULTS_MIN: u64 = 5;

#[derive(Parser)]
#[command(about = "Runs simulations of whole systems, each decided by its seed.")]
#[command(group = ArgGroup::new("one").args(["seed", "replay"]))]
struct Options {
    /// How many seeds to run; ten times as many at most for each bug of a self-test
    #[arg(long, default_value_t = 10_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Begin no other seed after so many minutes
    #[arg(long, conflicts_with = "seed")]
    minutes: Option<u64>,
    /// Run this one seed
    #[arg(long)]
    seed: Option<u64>,
    /// Run what was recorded in this file again, and say where the first answer differs
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "self_test"])]
    replay: Option<PathBuf>,
    /// Write what was recorded in a file into another one, to be given away: without payloads, passwords and
    /// what belongs to them, and so that it still comes to the same
    #[arg(long, value_names = ["FILE", "OUT"], num_args = 2, conflicts_with_all = ["seed", "self_test", "replay"])]
    redact: Option<Vec<PathBuf>>,
    /// Put others in place of topics as well, level by level (with --redact)
    #[arg(long, requires = "redact")]
    topics: bool,
    /// Put others in place of client identifiers, user names, identities and addresses as well, and leave out
    /// words for people (with --redact)
    #[arg(long, requires = "redact")]
    names: bool,
    /// Print what happens, line by line (with --seed or --replay)
    #[arg(long, requires = "one")]
    trace: bool,
    /// Leave out steps that a failure does not need (with --seed)
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Put known bugs into a copy of the libraries, each by itself, and print the first seed that finds
    /// it; needs the sources, git and cargo
    #[arg(long, conflicts_with = "seed")]
    self_test: bool,
    /// Of these bugs, those whose names begin like this; may be given more than once (with --self-test)
    #[arg(long, value_name = "NAME", requires = "self_test")]
    bug: Vec<String>,
    /// How many threads; as many as there are processors without
    #[arg(long)]
    threads: Option<usize>,
}

/// What all runs have met.
#[derive(Default)]
struct Sum {
    coverage: Coverage,
    /// Of each run.
    steps: Vec<u64>,
    faults: Vec<u64>,
    failures: Vec<(u64, Failure)>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let redaction = Redaction {
        topics: options.topics,
        names: options.names,
    };
    let out = &mut io::stdout();
    let result = match (options.seed, &options.replay, options.redact.as_deref()) {
        (Some(seed), ..) => run_one(seed, &options),
        (_, Some(path), _) => replay::run(path, options.trace, out),
        (.., Some([from, to])) => redact::run(from, to, redaction, out),
        _ if options.self_test => self_test::run(options.seeds, &options.bug, out),
        _ => run_many(&options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has gone, or something cannot be run.
        Err(error) => {
            let _gone = writeln!(io::stderr(), "simulate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_one(seed: u64, options: &Options) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let embedder = &mut Weighed::default();
    let mut plan = Plan::new(seed);
    if options.shrink {
        plan = sim::shrink(&plan, embedder);
        writeln!(out, "{} steps are enough", plan.len())?;
    }
    let report = match options.trace {
        true => sim::trace(&plan, embedder),
        false => sim::run_plan(&plan, embedder),
    };
    for line in &report.trace {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "seed {seed}: digest {:016x}", report.digest)?;
    match &report.failure {
        Some(failure) => writeln!(out, "seed {seed}: {failure}")?,
        None => writeln!(out, "seed {seed}: nothing is broken")?,
    }
    Ok(report.failure.is_none())
}

fn run_many(options: &Options) -> io::Result<bool> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(processors).max(1);
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Sum::default());
    let clock = Clock::new();
    let started = clock.now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(options, &clock, &next, &sum));
        }
    });
    let elapsed = clock.now().saturating_since(started).as_secs_f64();
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(&mut sum, elapsed, &mut io::stdout().lock())
}

fn work(options: &Options, clock: &Clock, next: &AtomicU64, sum: &Mutex<Sum>) {
    let until = options.minutes.map(|minutes| {
        let minutes = Duration::from_secs(minutes.saturating_mul(60));
        clock.now() + minutes
    });
    let mut own = Sum::default();
    let mut embedder = Weighed::default();
    loop {
        if until.is_some_and(|until| clock.now() >= until) {
            break;
        }
        let place = next.fetch_add(1, Ordering::Relaxed);
        if place >= options.seeds {
            break;
        }
        let seed = options.from.saturating_add(place);
        let report = sim::run(seed, &mut embedder);
        own.steps.push(report.coverage.steps);
        own.faults.push(report.coverage.faults_len());
        own.coverage.add(&report.coverage);
        if let Some(failure) = report.failure {
            // Not only in the end, which may be hours from here.
            let _gone = writeln!(io::stderr(), "seed {seed}: {failure}");
            own.failures.push((seed, failure));
        }
    }
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    sum.coverage.add(&own.coverage);
    sum.steps.append(&mut own.steps);
    sum.faults.append(&mut own.faults);
    sum.failures.append(&mut own.failures);
}

/// The value in the middle.
fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn report(sum: &mut Sum, elapsed: f64, out: &mut impl Write) -> io::Result<bool> {
    let coverage = &sum.coverage;
    let runs = coverage.runs;
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    let per_second = runs as f64 / elapsed.max(1e-9);
    writeln!(
        out,
        "{runs} seeds in {elapsed:.1} s, {per_second:.0} per second"
    )?;
    let (steps, faults) = (median(&mut sum.steps), median(&mut sum.faults));
    writeln!(out, "{} steps, {steps} in the median", coverage.steps)?;
    writeln!(
        out,
        "{} faults, {faults} in the median:",
        coverage.faults_len()
    )?;
    for (fault, count) in Fault::ALL.iter().zip(coverage.faults) {
        writeln!(out, "  {count:>10} {}", fault.name())?;
    }
    writeln!(
        out,
        "{} messages published, {} delivered, {} PUBLISH packets sent again",
        coverage.published, coverage.delivered, coverage.repeated
    )?;
    writeln!(
        out,
        "{} messages expired at clients, {} at the broker, {} sent with less time than at first",
        coverage.expired_at_client, coverage.expired_at_broker, coverage.counted_down
    )?;
    writeln!(
        out,
        "{} packets handed out at once, {} messages shown",
        coverage.handed_out_at_once, coverage.shown
    )?;
    let [accepted, refused] = coverage.acknowledged;
    writeln!(
        out,
        "{} messages acknowledged by applications, {} refused, {} acknowledgements with words, {} had to come again",
        accepted.iter().sum::<u64>(),
        refused.iter().sum::<u64>(),
        coverage.acknowledged_with_words,
        coverage.left_unacknowledged
    )?;
    let [goodbyes, in_place, silent, later] = coverage.told_of_failure;
    writeln!(
        out,
        "{goodbyes} goodbyes as a store has failed, {in_place} refusals in place of CONNACK, {silent} without a word, {later} refused later; {} times all questions of a connection open",
        coverage.full_shares
    )?;
    writeln!(
        out,
        "{} messages for local subscriptions, {} subscriptions taken away, {} asked about again, {} questions not answered in time",
        coverage.told_locals, coverage.revoked, coverage.reconsidered, coverage.unanswered
    )?;
    let [asked, refused, let_in, _, silent, again] = coverage.authentication;
    writeln!(
        out,
        "{asked} steps of enhanced authentications, {let_in} clients let in, {refused} refused, {silent} steps not answered, {again} authenticated again"
    )?;
    let [messages, receivers, clients, subscriptions] = coverage.no_room;
    writeln!(
        out,
        "no memory for {messages} messages, {receivers} receivers of one, {clients} clients, {subscriptions} subscriptions"
    )?;
    let [at_clients, at_brokers] = coverage.given_up;
    writeln!(
        out,
        "{at_clients} messages given up by clients after they were sent, {at_brokers} by brokers"
    )?;
    writeln!(
        out,
        "{} messages for members of groups, {} went to another member",
        coverage.turns.iter().sum::<u64>(),
        coverage.turns_again
    )?;
    writeln!(
        out,
        "{} packets, {} bytes",
        coverage.packets, coverage.bytes
    )?;
    writeln!(
        out,
        "{} sessions resumed, {} take-overs, {} restores, {} wills",
        coverage.resumes, coverage.take_overs, coverage.restores, coverage.wills
    )?;
    let [far, far_turns] = coverage.far;
    writeln!(
        out,
        "{} messages between joined brokers, {} sessions moved, {far} messages got at another broker, {far_turns} more of groups, {} links healed, {} joined brokers begun anew, {} told to have done so too low, {} filters not noted, {} subscriptions left behind",
        coverage.carried,
        coverage.moves,
        coverage.heals,
        coverage.restarts,
        coverage.too_low,
        coverage.not_noted,
        coverage.not_moved
    )?;
    writeln!(
        out,
        "{} machines left their heap, each with at most {} bytes above a new one",
        coverage.weighed, coverage.heap_most
    )?;
    sum.failures.sort_by_key(|(seed, _)| *seed);
    for (seed, failure) in sum.failures.iter().take(10) {
        writeln!(out, "seed {seed}: {failure}")?;
    }
    let missing = coverage.missing();
    for name in &missing {
        writeln!(out, "never met: {name}")?;
    }
    let is_deep = steps >= STEPS_MIN && faults >= FAULTS_MIN;
    if !is_deep {
        writeln!(
            out,
            "the runs are too short: {STEPS_MIN} steps and {FAULTS_MIN} faults are the least"
        )?;
    }
    let failures = sum.failures.len();
    let verdict = failures == 0 && missing.is_empty() && is_deep;
    if verdict {
        writeln!(out, "verdict: nothing is broken")?;
    } else {
        writeln!(
            out,
            "verdict: {failures} seeds fail, {} never met",
            missing.len()
        )?;
    }
    Ok(verdict)
}
