//! The table.

use core::time::Duration;

use crate::case::{Case, Kind};

/// One case with its figures, for one packet.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) kind: Kind,
    pub(crate) nanos: f64,
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn rows(
    cases: &[Case],
    instructions: &[u64],
    times: &[Duration],
    allocations: &[usize],
) -> Vec<Row> {
    let figures = instructions.iter().zip(times).zip(allocations);
    cases
        .iter()
        .zip(figures)
        .map(|(case, ((instructions, time), allocations))| {
            let packets = case.packets as f64;
            Row {
                workload: case.workload,
                subject: case.subject,
                kind: case.kind,
                nanos: time.as_nanos() as f64 / packets,
                instructions: *instructions as f64 / packets,
                allocations: *allocations as f64 / packets,
            }
        })
        .collect()
}

pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<12} {:<34} {:>10} {:>14} {:>13}",
        "workload", "subject", "ns", "instructions", "allocations"
    );
    let mut workload = "";
    for row in rows {
        if row.workload != workload {
            println!();
            workload = row.workload;
        }
        let mark = match row.kind {
            Kind::Floor => "  floor: ",
            Kind::Ours => "* ",
            Kind::Peer => "  ",
        };
        println!(
            "{:<12} {:<34} {:>10.1} {:>14.1} {:>13.2}",
            row.workload,
            format!("{mark}{}", row.subject),
            row.nanos,
            row.instructions,
            row.allocations
        );
    }
}
