//! Our codec and our topic indexes beside others, on the same work in the same run.
//!
//! `compare codec` prints one row for each workload: nanoseconds (the median of interleaved
//! rounds), instructions (counted by callgrind, so they do not vary) and allocations for each
//! packet, of every subject, then the best peer, the floor, and whether the bars hold. It exits 1
//! on a miss, and when valgrind is missing. `compare topic` does the same for matching, for a million
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

#[cfg(feature = "peers")]
extern crate alloc;

mod bars;
mod callgrind;
mod case;
mod floor;
mod ours;
#[cfg(feature = "peers")]
mod peers;
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
    match *arguments {
        ["codec"] => compare(),
        // What callgrind runs.
        ["codec", "--under-callgrind"] => {
            let mut cases = cases();
            // The same ones are left out here as in the run that reads the counts.
            let _wrong = case::check(&mut cases);
            for case in &mut cases {
                case.prepare();
                callgrind::measured(&mut || {
                    core::hint::black_box(case.run());
                });
            }
            ExitCode::SUCCESS
        }
        // For a profile of one case: `valgrind --tool=callgrind compare codec --case D1-v3 'ours, owned'`.
        ["codec", "--case", workload, subject] => {
            let named =
                |case: &&mut case::Case| case.workload == workload && case.subject == subject;
            for case in cases().iter_mut().filter(named) {
                case.prepare();
                callgrind::measured(&mut || {
                    core::hint::black_box(case.run());
                });
            }
            ExitCode::SUCCESS
        }
        ["codec", "--list"] => {
            for case in cases() {
                println!("{:<12} {}", case.workload, case.subject);
            }
            ExitCode::SUCCESS
        }
        ["topic", ref rest @ ..] => topic::main(rest),
        _ => {
            eprintln!("usage: compare codec [--list] | compare topic [--picture FILE.svg]");
            ExitCode::from(2)
        }
    }
}

fn cases() -> Vec<case::Case> {
    let mut all = Vec::new();
    floor::add(&mut all);
    ours::add(&mut all);
    #[cfg(feature = "peers")]
    peers::add(&mut all);
    all.sort_by_key(|case| case.workload);
    all
}

fn compare() -> ExitCode {
    let mut cases = cases();
    let wrong = case::check(&mut cases);
    for line in &wrong {
        eprintln!("wrong output, left out: {line}");
    }
    let instructions = match callgrind::counts(&["codec", "--under-callgrind"], cases.len()) {
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
    if bars::check(&rows) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
