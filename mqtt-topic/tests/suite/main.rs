//! Tests from outside, in one program: one file for each concern, and the oracle they share.

#![expect(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests have an operating system"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

mod exhaustive;
mod hostile;
mod index_model;
mod naive;
mod overlap;
mod receivers;
mod retained_model;
mod seeds;
mod serde;
mod snapshot;
mod sweep;
mod values;
mod words;
mod worked_examples;
