//! The broker against a simple model: whatever clients do and in whichever order, both agree on every
//! packet.
//!
//! A failure prints its seed and the shortest part of its script that still fails.
//! `BROKER_MODEL_SEEDS=1000..5000` in the environment plays other seeds.

mod naive;
mod oracle;
mod play;
mod script;

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use oracle::{Tally, Verdict};
use play::play;
use script::{Step, Terms};

const STEPS: usize = 150;

/// A panic is a fault like others, so that it can be made small too.
fn attempt(terms: Terms, steps: &[Step]) -> Verdict<Tally> {
    catch_unwind(AssertUnwindSafe(|| play(terms, steps)))
        .unwrap_or_else(|_| Err("a panic, printed above".into()))
}

/// Leaves out whatever can be left out of a script that fails.
fn shrink(terms: Terms, mut steps: Vec<Step>) -> Vec<Step> {
    let mut part = steps.len() / 2;
    while part > 0 {
        let mut start = 0;
        while start < steps.len() {
            let end = (start + part).min(steps.len());
            let mut fewer = steps.clone();
            fewer.drain(start..end);
            if attempt(terms, &fewer).is_err() {
                steps = fewer;
            } else {
                start = end;
            }
        }
        part /= 2;
    }
    steps
}

fn run(seed: u64) -> Tally {
    let (terms, steps) = (script::terms(seed), script::steps(seed, STEPS));
    match attempt(terms, &steps) {
        Ok(tally) => tally,
        Err(error) => {
            let steps = shrink(terms, steps);
            let shortest = attempt(terms, &steps).err();
            let steps: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
            let steps = steps.join("\n");
            panic!("seed {seed}: {error}\nshortest: {shortest:?}\n{terms:?}\n{steps}")
        }
    }
}

/// Seeds that have failed: 6722 as a replay had room that what is at hand had taken; the others were gaps of the model.
const FAILED: [u64; 4] = [4932, 5996, 6722, 7102];

fn seeds() -> Vec<u64> {
    let Ok(text) = std::env::var("BROKER_MODEL_SEEDS") else {
        return (0..600).chain(FAILED).collect();
    };
    let (start, end) = text.split_once("..").unwrap();
    (start.parse().unwrap()..end.parse().unwrap()).collect()
}

#[test]
fn the_model_and_the_broker_agree_on_every_delivery() {
    let mut sum = std::collections::BTreeMap::<String, usize>::new();
    for seed in seeds() {
        for (name, count) in run(seed).named() {
            *sum.entry(name).or_default() += count;
        }
    }
    let never: Vec<_> = sum.iter().filter(|(_, count)| **count == 0).collect();
    assert_eq!(never, [], "everything there is happened: {sum:?}");
}
