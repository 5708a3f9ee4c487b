//! Prints the first seed whose simulation fails, out of so many, and how.

#![expect(clippy::print_stdout, reason = "a program")]

use std::env;

use mqtt_state::sim::{self, Plain};

fn main() {
    let seeds = env::args().nth(1).and_then(|text| text.parse().ok());
    let seeds = seeds.unwrap_or(10_000_u64);
    let mut embedder = Plain::default();
    let failed = (0..seeds).find_map(|seed| Some((seed, sim::run(seed, &mut embedder).failure?)));
    match failed {
        Some((seed, failure)) => println!("seed {seed}: {failure}"),
        None => println!("none of {seeds} seeds fails"),
    }
}
