//! The bars, as a table: what our rows have to stay under.

use super::Row;

/// What a row of ours is held against.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// Instructions of the best crate that gives right answers, in the same workload.
    BestPeer,
    /// Instructions for each match, of another workload of ours.
    OurMatch(&'static str),
    /// Instructions for each topic shown, of another workload of ours.
    OurResult(&'static str),
    /// Live bytes for each entry.
    Bytes,
    /// A number of allocations.
    Allocations,
}

const BARS: &[(&str, f64, Against)] = &[
    ("T1-raw", 0.15, Against::BestPeer),
    ("T1-parsed", 0.7, Against::BestPeer),
    ("T2-1k-match", 0.3, Against::BestPeer),
    ("T2-100k-match", 0.35, Against::BestPeer),
    ("T2-1M-match", 0.25, Against::BestPeer),
    ("T2-1k-match", 0.0, Against::Allocations),
    ("T2-100k-match", 0.0, Against::Allocations),
    ("T2-1M-match", 0.0, Against::Allocations),
    ("T2-1M-match", 3.0, Against::OurMatch("T2-1k-match")),
    ("T2-1k-insert", 0.5, Against::BestPeer),
    ("T2-100k-insert", 0.5, Against::BestPeer),
    ("T2-1M-insert", 0.5, Against::BestPeer),
    ("T2-1k-remove", 0.5, Against::BestPeer),
    ("T2-100k-remove", 0.5, Against::BestPeer),
    ("T2-1M-remove", 0.5, Against::BestPeer),
    ("T2-1M-memory", 90.0, Against::Bytes),
    ("T3", 0.1, Against::BestPeer),
    ("T4-exact", 0.3, Against::BestPeer),
    ("T4-sensors", 0.3, Against::BestPeer),
    ("T4-buildings", 0.3, Against::BestPeer),
    ("T4-sites", 0.3, Against::BestPeer),
    ("T4-building", 0.3, Against::BestPeer),
    ("T4-miss", 0.3, Against::BestPeer),
    // A thousand topics below one building: the first hundred of all cost no more each.
    ("T4-first-100", 1.1, Against::OurResult("T4-building")),
];

/// Crates that have to take part, and one workload each.
const PEERS: &[(&str, &str)] = &[
    ("rmqtt", "T2-1M-match"),
    ("mqtt-topic-engine", "T2-1M-match"),
    ("quill-pubsub", "T2-1M-match"),
    ("linear scan", "T2-1k-match"),
    ("mqtt-protocol", "T1-raw"),
];

/// Prints each bar with what was found; answers whether all hold.
pub(crate) fn check(rows: &[Row]) -> bool {
    println!();
    let find = |workload: &str, subject: &str| {
        rows.iter()
            .find(|row| row.workload == workload && row.subject == subject)
    };
    let mut all = true;
    for &(peer, workload) in PEERS {
        if find(workload, peer).is_none() {
            println!("MISSING {peer} in {workload}; was this built with --features peers?");
            all = false;
        }
    }
    // Everybody has to find the same, or is wrong.
    for row in rows.iter().filter(|row| row.is_right) {
        let ours = find(&row.workload, "ours").map_or(0.0, |row| row.found);
        if (row.found - ours).abs() > f64::EPSILON {
            println!(
                "{} {}: found {}, not {ours}",
                row.workload, row.subject, row.found
            );
            all = false;
        }
    }
    for &(workload, at_most, against) in BARS {
        let (what, found) = match find(workload, "ours").and_then(|row| figure(rows, row, against))
        {
            Some(found) => found,
            // A bar that nothing can be held against holds nothing.
            None => ("nothing".to_owned(), f64::INFINITY),
        };
        let holds = found <= at_most;
        all &= holds;
        let verdict = if holds { "pass" } else { "MISS" };
        println!("{workload:<16} {what:<44} {found:>9.3} {at_most:>7} {verdict}");
    }
    all
}

/// What the bar is held against, in words, and the figure.
fn figure(rows: &[Row], ours: &Row, against: Against) -> Option<(String, f64)> {
    let other = |workload: &str| {
        rows.iter()
            .find(|row| row.workload == workload && row.subject == "ours")
    };
    Some(match against {
        Against::BestPeer => {
            let peers = rows.iter().filter(|row| {
                // A list costs nothing to add to: it is there to be beaten at looking up.
                let is_index = row.subject != "ours" && row.subject != "linear scan";
                row.workload == ours.workload && is_index && row.is_right
            });
            let best = peers.min_by(|a, b| a.instructions.total_cmp(&b.instructions))?;
            (
                format!("best, {}: {:.0}", best.subject, best.instructions),
                ours.instructions / best.instructions,
            )
        }
        Against::OurMatch(workload) | Against::OurResult(workload) => {
            let each = |row: &Row| row.instructions / row.found;
            let other = other(workload)?;
            (
                format!("each of {workload}: {:.0}", each(other)),
                each(ours) / each(other),
            )
        }
        Against::Bytes => ("bytes for each".to_owned(), ours.bytes),
        Against::Allocations => ("allocations".to_owned(), ours.allocations),
    })
}
