//! Tests from outside, in one program: one file for each concern, and what they share.

#![expect(
    clippy::std_instead_of_alloc,
    reason = "tests have an operating system"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

mod arbitrary;
mod byte_examples;
mod chunks;
mod decoder;
mod errors;
mod fan_out;
mod framing;
mod hex;
mod lengths;
mod malformed;
mod message;
mod packet_buf;
mod packets;
mod plain_publish;
mod round_trip;
mod serde;
mod split;
mod statements;
mod values;
mod words;
