//! A million of each thing that is due at once, and every state of a small system. Wants `--release`.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    reason = "helpers of tests fail as tests do"
)]

use mqtt_codec::{ProtocolVersion, QoS};

#[path = "suite/load.rs"]
mod load;
#[path = "suite/model.rs"]
mod model;
/// The machines as they are: a million of each is too much to write down.
mod recorded {
    pub(crate) use mqtt_state::broker::Broker;
    pub(crate) use mqtt_state::client::Client;
    pub(crate) use mqtt_state::server::Connection;
}

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

/// Prints how many states each setting has.
#[test]
fn every_state_of_two_messages_is_good() {
    let (once, twice) = (QoS::AtLeastOnce, QoS::ExactlyOnce);
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        for qos in [[once, once], [once, twice], [twice, once], [twice, twice]] {
            for (window, is_up) in [(1, true), (2, true), (1, false), (2, false)] {
                // 3.1.1 has no word for what a receiver takes.
                for shrinks in [false, true] {
                    if shrinks && version == ProtocolVersion::V3_1_1 {
                        continue;
                    }
                    let setting = model::Setting {
                        version,
                        qos,
                        window,
                        is_up,
                        shrinks,
                    };
                    let states = model::visit(setting);
                    println!("{states} states of {setting:?}");
                    assert!(states > 50, "{setting:?}: {states}");
                }
            }
        }
    }
}
