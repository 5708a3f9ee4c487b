//! Our broker and Debian's mosquitto, side by side, in random conversations: whatever clients say to
//! both, allowed or not, they hear the same from both, but for the differences in
//! `side_by_side/explained.py`. A missing peer fails the test; nothing is skipped.

#![cfg(feature = "interop")]

mod support;

use std::path::Path;

use support::Program;

/// The same conversations each time. A failure names its seed; `main.py BROKER --from SEED --seeds 1
/// --trace` shows every packet of it, and more seeds are looked at by hand (docs/assurance.md).
#[test]
fn random_conversations_go_as_with_mosquitto() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/side_by_side/main.py");
    let script = script.to_str().expect("a readable path");
    let broker = env!("CARGO_BIN_EXE_broker");
    let lines = Program::start("python3", &[script, broker, "--seeds", "40"]).succeed();
    let verdict = lines.last().expect("a verdict");
    assert!(verdict.starts_with("40 conversations, "), "{verdict}");
    assert!(verdict.contains(" steps, 0 differ, "), "{verdict}");
    // That what is known was met says that there was something to compare.
    for known in ["taken over", "PUBREL or PUBREC of nothing", "odd packet"] {
        assert!(lines.iter().any(|line| line.contains(known)), "{lines:?}");
    }
}
