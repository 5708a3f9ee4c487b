//! Our codec and our topic indexes beside others, on the same work in the same run.
//!
//! `compare codec` prints one row for each workload: nanoseconds (the median of interleaved
//! rounds), instructions (counted by callgrind, so they do not vary) and allocations for each
//! packet, of every subject, then the best peer, the floor, and whether the bars hold. It exits 1
//! on a miss, and when valgrind is missing. `compare client` does the same for one client machine
//! that publishes. `compare topic` does the same for matching, for a million
//! subscriptions and for a million retained topics; it takes some minutes.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "a measurement that goes wrong has to stop; this program has a clock"
)]

extern crate alloc;

mod bars;
mod callgrind;
mod case;
mod client;
mod floor;
mod ours;
#[cfg(feature = "peers")]
mod peers;
mod session;
mod table;
mod time;
mod topic;

use std::process::ExitCode;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let suite = match arguments.first() {
        Some(&"codec") => Suite {
            name: "codec",
            cases: codec_cases,
            bars: &bars::CODEC,
        },
        Some(&"client") => Suite {
            name: "client",
            cases: client::cases,
            bars: &bars::CLIENT,
        },
        Some(&"session") => Suite {
            name: "session",
            cases: session::cases,
            bars: &bars::SESSION,
        },
        Some(&"topic") => return topic::main(arguments.get(1..).unwrap_or_default()),
        _ => return usage(),
    };
    match *arguments.get(1..).unwrap_or_default() {
        [] => compare(&suite),
        // What callgrind runs.
        ["--under-callgrind"] => {
            let mut cases = suite.cases();
            // The same ones are left out here as in the run that reads the counts.
            let _wrong = case::check(&mut cases);
            cases.iter_mut().for_each(measure);
            ExitCode::SUCCESS
        }
        // For a profile of one case: `valgrind --tool=callgrind compare codec --case D1-v3 'ours, owned'`.
        ["--case", workload, subject] => {
            let named =
                |case: &&mut case::Case| case.workload == workload && case.subject == subject;
            suite.cases().iter_mut().filter(named).for_each(measure);
            ExitCode::SUCCESS
        }
        // What runs for each number of sessions.
        ["--sessions", sessions, subscriptions] if suite.name == "session" => {
            let number = |text: &str| text.parse().expect("a number");
            session::sessions::run(number(sessions), number(subscriptions));
            ExitCode::SUCCESS
        }
        ["--list"] => {
            for case in suite.cases() {
                println!("{:<12} {}", case.workload, case.subject);
            }
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: compare codec [--list] | compare client [--list] | compare session [--list] | compare topic [--picture FILE.svg]"
    );
    ExitCode::from(2)
}

fn measure(case: &mut case::Case) {
    case.prepare();
    callgrind::measured(&mut || {
        core::hint::black_box(case.run());
    });
}

/// Workloads with what they are held against.
struct Suite {
    name: &'static str,
    cases: fn() -> Vec<case::Case>,
    bars: &'static bars::Bars,
}

impl Suite {
    fn cases(&self) -> Vec<case::Case> {
        let mut all = (self.cases)();
        all.sort_by_key(|case| case.workload);
        all
    }
}

fn codec_cases() -> Vec<case::Case> {
    let mut all = Vec::new();
    floor::add(&mut all);
    ours::add(&mut all);
    #[cfg(feature = "peers")]
    peers::add(&mut all);
    all
}

fn compare(suite: &Suite) -> ExitCode {
    let mut cases = suite.cases();
    let wrong = case::check(&mut cases);
    for line in &wrong {
        eprintln!("wrong output, left out: {line}");
    }
    let instructions = match callgrind::counts(&[suite.name, "--under-callgrind"], cases.len()) {
        Ok(instructions) => instructions,
        Err(error) => {
            eprintln!("compare: {error}");
            return ExitCode::FAILURE;
        }
    };
    let times = time::measure(&mut cases);
    let allocations = time::allocations(&mut cases);
    let rows = table::rows(&cases, &instructions, &times, &allocations);
    table::print(&rows);
    let mut holds = bars::check(&rows, suite.bars);
    if suite.name == "session" {
        match session::sessions::compare() {
            Ok(of_sessions) => holds &= of_sessions,
            Err(error) => {
                eprintln!("compare: {error}");
                holds = false;
            }
        }
    }
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
