//! Panics on some inputs, so it must not link: else the other programs would show nothing.

#![no_std]
#![no_main]

no_panic::program!(no_panic::any_bytes()[no_panic::any_bytes().len() - 3]);
