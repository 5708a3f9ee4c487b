//! A million of each thing that is due at once. Wants `--release`.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

#[path = "suite/load.rs"]
mod load;

#[test]
fn a_million_sessions_expire_in_slices() {
    load::sessions_expire_together(1_000_000);
}

#[test]
fn a_million_retained_messages_are_replayed_and_expire_in_slices() {
    load::retained_are_replayed_and_expire_together(1_000_000);
}

#[test]
fn a_million_connections_are_told_goodbye_in_slices() {
    load::connections_end_together(1_000_000);
}

#[test]
fn a_million_receive_one_message_in_slices() {
    load::many_receive_one(1_000_000);
}
