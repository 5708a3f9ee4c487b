//! What every program has: to be taken off the others.

#![no_std]
#![no_main]

use footprint::any_bytes;

footprint::program!((), any_bytes());
