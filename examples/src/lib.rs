//! What the example programs are made of: two small drivers that wrap the client machine, one
//! blocking on `std::net` and one on tokio, and the options that `publish` and `subscribe` share.
//!
//! A driver is what every user of the core writes once. It owns the socket and the clock, carries
//! bytes between the two and the machine, and does nothing else.

/// Prints a line. A reader that has gone away, as `head` does, is no reason to panic.
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::lines::out(format_args!($($text)*)) };
}

/// Prints a line for people, beside the output proper.
#[macro_export]
macro_rules! log {
    ($($text:tt)*) => { $crate::lines::log(format_args!($($text)*)) };
}

pub mod access;
pub mod broker;
pub mod clock;
pub mod drive;
pub mod framed;
pub mod inspect;
pub mod lines;
pub mod load;
pub mod options;
pub mod private_file;
pub mod properties;
pub mod record;
pub mod settings;
pub mod transport;

/// The code in the README of the repository is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// And that in the notes for those who know other crates.
#[cfg(doctest)]
#[doc = include_str!("../../docs/migration.md")]
struct Migration;
