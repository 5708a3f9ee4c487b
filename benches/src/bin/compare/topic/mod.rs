//! Our topic matching and indexes beside others, and beside a linear scan.
//!
//! Each subject runs in a process of its own, once as it is for time, allocations and memory, and
//! once under callgrind, which counts the instructions of each measured phase and of nothing else.

mod bars;
mod child;
mod ours;
#[cfg(feature = "peers")]
mod peers;
#[cfg(feature = "peers")]
mod picture;
mod scan;
mod subject;

use std::process::ExitCode;

use crate::callgrind;
use subject::Subject;

/// One phase of one subject, with its figures.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    workload: String,
    subject: &'static str,
    /// Whether it gives the right answers, `$` and empty levels among them.
    is_right: bool,
    nanos: f64,
    instructions: f64,
    allocations: f64,
    /// For each topic looked up.
    found: f64,
    /// Live bytes for each subscription or topic, where the phase is about memory.
    bytes: f64,
}

fn subjects() -> Vec<Box<dyn Subject>> {
    let mut all = ours::subjects();
    all.extend(scan::subjects());
    #[cfg(feature = "peers")]
    all.extend(peers::subjects());
    all
}

/// `compare topic`, and what it runs of itself.
pub(crate) fn main(arguments: &[&str]) -> ExitCode {
    match *arguments {
        [] => compare().1,
        #[cfg(feature = "peers")]
        ["--picture", path] => {
            let (rows, verdict) = compare();
            match picture::draw(&rows, path.as_ref()) {
                Ok(()) => verdict,
                Err(error) => {
                    eprintln!("compare: {path}: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        ["--one", workload, subject] => {
            for candidate in subjects().iter().filter(|other| other.name() == subject) {
                child::run(workload, candidate.as_ref());
            }
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: compare topic [--picture FILE.svg]");
            ExitCode::from(2)
        }
    }
}

const WORKLOADS: [&str; 8] = [
    "T1-raw",
    "T1-parsed",
    "T2-1k",
    "T2-10k",
    "T2-100k",
    "T2-1M",
    "T3",
    "T4",
];

/// All figures, and whether the bars hold.
fn compare() -> (Vec<Row>, ExitCode) {
    let mut rows = Vec::new();
    for workload in WORKLOADS {
        for subject in subjects() {
            if !subject.takes(workload) {
                continue;
            }
            eprintln!("{workload} {}", subject.name());
            match figures(workload, subject.as_ref()) {
                Ok(of_subject) => rows.extend(of_subject),
                Err(error) => {
                    eprintln!("compare: {workload} {}: {error}", subject.name());
                    return (rows, ExitCode::FAILURE);
                }
            }
        }
    }
    print(&rows);
    let verdict = if bars::check(&rows) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    (rows, verdict)
}

fn figures(workload: &str, subject: &dyn Subject) -> Result<Vec<Row>, String> {
    let arguments = ["topic", "--one", workload, subject.name()];
    let phases = child::read(&callgrind::native(&arguments)?)?;
    let counts = callgrind::counts(&arguments, phases.len())?;
    let rows = phases.into_iter().zip(counts).map(|(phase, count)| {
        let units = phase.units;
        Row {
            workload: phase.name,
            subject: subject.name(),
            is_right: subject.is_right(),
            nanos: phase.nanos / units,
            #[expect(clippy::cast_precision_loss, reason = "figures for people")]
            instructions: count as f64 / units,
            allocations: phase.allocations / units,
            found: phase.found / units,
            bytes: phase.bytes,
        }
    });
    Ok(rows.collect())
}

fn print(rows: &[Row]) {
    println!(
        "{:<24} {:<28} {:>12} {:>14} {:>12} {:>10} {:>10}  answers",
        "workload", "subject", "ns", "instructions", "allocations", "found", "bytes"
    );
    let mut names: Vec<_> = rows.iter().map(|row| &row.workload).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        println!();
        for row in rows.iter().filter(|row| row.workload == *name) {
            println!(
                "{:<24} {:<28} {:>12.1} {:>14.1} {:>12.2} {:>10.2} {:>10.1}  {}",
                row.workload,
                row.subject,
                row.nanos,
                row.instructions,
                row.allocations,
                row.found,
                row.bytes,
                if row.is_right { "right" } else { "WRONG" }
            );
        }
    }
}
