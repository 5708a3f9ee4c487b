//! The bars, as a table: what our rows have to stay under.

use crate::case::Kind;
use crate::table::Row;

/// What a row of ours is held against.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// Instructions of the floor with this name, in the same workload.
    Floor(&'static str),
    /// Instructions of the best peer of the same workload.
    BestPeer,
    /// Instructions of another row of ours.
    Ours(&'static str, &'static str),
    /// A number of instructions.
    Instructions,
    /// A number of allocations.
    Allocations,
}

#[derive(Debug)]
struct Bar {
    workload: &'static str,
    subject: &'static str,
    against: Against,
    at_most: f64,
}

const fn bar(workload: &'static str, subject: &'static str, at_most: f64, against: Against) -> Bar {
    Bar {
        workload,
        subject,
        against,
        at_most,
    }
}

const BORROWED: &str = "borrowed + validated, 8 at a time";
const FRAME: &str = "one shared frame";
const COPY: &str = "header + memcpy";

/// What one suite is held against, and who has to take part.
pub(crate) struct Bars {
    bars: &'static [Bar],
    /// Crates, and one workload each that they handle.
    peers: &'static [(&'static str, &'static str)],
    /// Crates that would take part, and why they do not.
    absent: &'static [(&'static str, &'static str)],
}

pub(crate) const CLIENT: Bars = Bars {
    bars: &[
        bar("S2-v3-qos0", "ours", 0.6, Against::BestPeer),
        bar("S2-v3-qos1", "ours", 0.6, Against::BestPeer),
        bar("S2-v3-qos2", "ours", 0.6, Against::BestPeer),
        bar("S2-v5-qos0", "ours", 0.6, Against::BestPeer),
        bar("S2-v5-qos1", "ours", 0.6, Against::BestPeer),
        bar("S2-v5-qos2", "ours", 0.6, Against::BestPeer),
        bar("*", "ours", 0.0, Against::Allocations),
    ],
    peers: &[
        ("rumqttc", "S2-v3-qos1"),
        ("rumqttc", "S2-v5-qos1"),
        ("mqtt-protocol-core", "S2-v3-qos1"),
        ("mqtt-protocol-core", "S2-v5-qos1"),
    ],
    absent: &[],
};

pub(crate) const SESSION: Bars = Bars {
    bars: &[
        bar("S1-v3-qos0", "ours", 0.18, Against::BestPeer),
        bar("S1-v3-qos1", "ours", 0.22, Against::BestPeer),
        bar("S1-v3-qos2", "ours", 0.22, Against::BestPeer),
        bar("S1-v5-qos0", "ours", 0.18, Against::BestPeer),
        bar("S1-v5-qos1", "ours", 0.22, Against::BestPeer),
        bar("S1-v5-qos2", "ours", 0.22, Against::BestPeer),
        bar("F-1k-qos0", "ours", 250.0, Against::Instructions),
        bar("F-10k-qos0", "ours", 250.0, Against::Instructions),
        bar("F-1k-qos1", "ours", 600.0, Against::Instructions),
        bar("F-10k-qos1", "ours", 600.0, Against::Instructions),
        bar("S1*", "ours", 0.0, Against::Allocations),
        bar("F*", "ours", 0.0, Against::Allocations),
        // Polled, the copy of each message, so that none keeps the buffer that sixteen came in.
        bar("B16*", "ours", 1.0, Against::Allocations),
    ],
    peers: &[
        ("mqtt-protocol-core", "S1-v3-qos2"),
        ("mqtt-protocol-core", "S1-v5-qos2"),
    ],
    absent: &[],
};

pub(crate) const CODEC: Bars = Bars {
    bars: CODEC_BARS,
    peers: CODEC_PEERS,
    absent: CODEC_ABSENT,
};

const CODEC_BARS: &[Bar] = &[
    bar("D1-v3", "ours, borrowed", 1.3, Against::Floor(BORROWED)),
    bar("D1-v5", "ours, borrowed", 1.3, Against::Floor(BORROWED)),
    bar("D2-v3", "ours, borrowed", 1.3, Against::Floor(BORROWED)),
    bar("D2-v5", "ours, borrowed", 1.3, Against::Floor(BORROWED)),
    bar("D1-v3", "ours, borrowed", 0.65, Against::BestPeer),
    bar("D1-v5", "ours, borrowed", 0.65, Against::BestPeer),
    bar("D2-v3", "ours, borrowed", 0.65, Against::BestPeer),
    bar("D2-v5", "ours, borrowed", 0.65, Against::BestPeer),
    bar("D1-v3", "ours, owned", 1.1, Against::Floor(FRAME)),
    bar("D1-v5", "ours, owned", 1.1, Against::Floor(FRAME)),
    bar("D2-v3", "ours, owned", 1.1, Against::Floor(FRAME)),
    bar("D2-v5", "ours, owned", 1.1, Against::Floor(FRAME)),
    bar("D1-v3", "ours, owned", 1.0, Against::BestPeer),
    bar("D1-v5", "ours, owned", 1.0, Against::BestPeer),
    bar("D2-v3", "ours, owned", 1.0, Against::BestPeer),
    bar("D2-v5", "ours, owned", 1.0, Against::BestPeer),
    bar("D3-v5", "ours, borrowed", 0.35, Against::BestPeer),
    bar("D4-v3", "ours, borrowed", 0.7, Against::BestPeer),
    bar("D4-v5", "ours, borrowed", 0.7, Against::BestPeer),
    bar(
        "D5-v3",
        "ours, owned",
        1.02,
        Against::Ours("D5s-v3", "ours, owned"),
    ),
    bar("D6-v3-7", "ours, owned", 0.5, Against::BestPeer),
    bar("D6-v5-7", "ours, owned", 0.5, Against::BestPeer),
    bar(
        "D6-v3-1460",
        "ours, owned",
        1.15,
        Against::Ours("D1-v3", "ours, owned"),
    ),
    bar(
        "D6-v5-1460",
        "ours, owned",
        1.15,
        Against::Ours("D1-v5", "ours, owned"),
    ),
    // Into a slice. A buffer that grows looks whether it has to: it has to win, by less.
    bar("E1-v3", "ours, slice", 1.6, Against::Floor(COPY)),
    bar("E1-v5", "ours, slice", 1.6, Against::Floor(COPY)),
    bar("E2-v3", "ours, slice", 1.6, Against::Floor(COPY)),
    bar("E2-v5", "ours, slice", 1.6, Against::Floor(COPY)),
    bar("E1-v3", "ours, slice", 0.85, Against::BestPeer),
    bar("E1-v5", "ours, slice", 0.85, Against::BestPeer),
    bar("E2-v3", "ours, slice", 0.85, Against::BestPeer),
    bar("E2-v5", "ours, slice", 0.85, Against::BestPeer),
    bar("E3-v5", "ours, slice", 0.6, Against::BestPeer),
    bar("E4-v3", "ours, slice", 0.85, Against::BestPeer),
    bar("E4-v5", "ours, slice", 0.85, Against::BestPeer),
    bar("E1-v3", "ours, PacketBuf", 1.0, Against::BestPeer),
    bar("E1-v5", "ours, PacketBuf", 1.0, Against::BestPeer),
    bar("E2-v3", "ours, PacketBuf", 1.0, Against::BestPeer),
    bar("E2-v5", "ours, PacketBuf", 1.0, Against::BestPeer),
    bar("E3-v5", "ours, PacketBuf", 1.0, Against::BestPeer),
    bar("E4-v3", "ours, PacketBuf", 1.0, Against::BestPeer),
    bar("E4-v5", "ours, PacketBuf", 1.0, Against::BestPeer),
    bar("E5-v3", "ours, head apart", 200.0, Against::Instructions),
    bar("F-qos0-v5", "ours", 60.0, Against::Instructions),
    bar("F-qos1-v5", "ours", 120.0, Against::Instructions),
    // A buffer that is split for the first time allocates once, for all packets in it.
    bar("*", "ours", 0.02, Against::Allocations),
];

const CODEC_PEERS: &[(&str, &str)] = &[
    ("mqtt-proto", "D1-v5"),
    ("mqtt-protocol-core", "D1-v5"),
    ("mqttbytes", "D1-v3"),
    ("mqttrs", "D1-v3"),
    ("rmqtt-codec", "D1-v5"),
    ("rumqttc", "D1-v5"),
    ("rumqttd", "D1-v5"),
];

const CODEC_ABSENT: &[(&str, &str)] = &[
    (
        "ntex-mqtt 9.0.0",
        "does not build with the ntex-io that its requirements choose today",
    ),
    ("ntex-mqtt 9.4.0", "needs Rust 1.97"),
];

/// Prints which peers are not there; answers whether all are that have to be.
fn check_peers(rows: &[Row], bars: &Bars) -> bool {
    for (peer, reason) in bars.absent {
        println!("not compared with {peer}: it {reason}");
    }
    let is_missing = |&&(peer, workload): &&(&str, &str)| {
        !rows
            .iter()
            .any(|row| row.subject == peer && row.workload == workload)
    };
    let missing: Vec<_> = bars.peers.iter().filter(is_missing).collect();
    for (peer, workload) in &missing {
        println!("MISSING {peer}: no result for {workload}; was this built with --features peers?");
    }
    missing.is_empty()
}

/// Prints each bar with what was found; answers whether all hold.
pub(crate) fn check(rows: &[Row], bars: &Bars) -> bool {
    println!();
    let mut all = check_peers(rows, bars);
    println!(
        "\n{:<12} {:<18} {:<46} {:>9} {:>7}",
        "workload", "ours", "held against", "found", "bar"
    );
    for bar in bars.bars {
        let of_bar = |row: &&Row| {
            row.kind == Kind::Ours
                && match bar.workload.strip_suffix('*') {
                    Some(prefix) => row.workload.starts_with(prefix),
                    None => row.workload == bar.workload && row.subject == bar.subject,
                }
        };
        for row in rows.iter().filter(of_bar) {
            let Some((held_against, found)) = figure(rows, row, bar.against) else {
                // A bar that nothing can be held against holds nothing.
                println!(
                    "{:<12} {:<18} nothing to hold it against: MISS",
                    row.workload, row.subject
                );
                all = false;
                continue;
            };
            let holds = found <= bar.at_most;
            all &= holds;
            if !bar.workload.ends_with('*') || !holds {
                let verdict = if holds { "pass" } else { "MISS" };
                println!(
                    "{:<12} {:<18} {held_against:<46} {found:>9.3} {:>7} {verdict}",
                    row.workload, row.subject, bar.at_most
                );
            }
        }
    }
    all
}

/// What the bar is held against, in words, and the figure.
fn figure(rows: &[Row], row: &Row, against: Against) -> Option<(String, f64)> {
    let same = |other: &&Row| other.workload == row.workload;
    Some(match against {
        Against::Floor(name) => {
            let floor = rows
                .iter()
                .filter(same)
                .find(|other| other.subject == name)?;
            (
                format!("floor, {name}: {:.0}", floor.instructions),
                row.instructions / floor.instructions,
            )
        }
        Against::BestPeer => {
            let peers = rows
                .iter()
                .filter(same)
                .filter(|other| other.kind == Kind::Peer);
            let best = peers.min_by(|a, b| a.instructions.total_cmp(&b.instructions))?;
            (
                format!("best peer, {}: {:.0}", best.subject, best.instructions),
                row.instructions / best.instructions,
            )
        }
        Against::Ours(workload, subject) => {
            let other = rows
                .iter()
                .find(|other| other.workload == workload && other.subject == subject)?;
            (
                format!("{workload}, {subject}: {:.0}", other.instructions),
                row.instructions / other.instructions,
            )
        }
        Against::Instructions => ("instructions".to_owned(), row.instructions),
        Against::Allocations => ("allocations".to_owned(), row.allocations),
    })
}
