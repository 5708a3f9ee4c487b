//! Time and allocations.

use core::time::Duration;
use std::time::Instant;

use stats_alloc::Region;

use crate::case::Case;

const ROUNDS: usize = 31;

/// The median time of a pass of each case. Every round lets each case run once, so that what else
/// the machine does falls on all of them.
pub(crate) fn measure(cases: &mut [Case]) -> Vec<Duration> {
    let mut times = vec![Vec::with_capacity(ROUNDS); cases.len()];
    for _ in 0..ROUNDS {
        for (case, times) in cases.iter_mut().zip(&mut times) {
            case.prepare();
            let start = Instant::now();
            core::hint::black_box(case.run());
            times.push(start.elapsed());
        }
    }
    times
        .into_iter()
        .map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        })
        .collect()
}

/// Allocations in a pass of each case.
pub(crate) fn allocations(cases: &mut [Case]) -> Vec<usize> {
    cases
        .iter_mut()
        .map(|case| {
            case.pass();
            case.prepare();
            let region = Region::new(crate::ALLOCATOR);
            core::hint::black_box(case.run());
            let change = region.change();
            change.allocations + change.reallocations
        })
        .collect()
}
