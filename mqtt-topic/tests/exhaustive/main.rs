//! Everything there is up to some length, and hostile shapes in their full size: in release, behind
//! the feature `exhaustive`.

#![expect(clippy::std_instead_of_core, reason = "tests have an operating system")]
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../suite/naive.rs"]
mod naive;
mod pairs;
mod shapes;
mod shared;
