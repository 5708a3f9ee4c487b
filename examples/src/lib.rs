//! What the example programs are made of: two small drivers that wrap the client machine, one
//! blocking on `std::net` and one on tokio, and the options that `publish` and `subscribe` share.
//!
//! A driver is what every user of the core writes once. It owns the socket and the clock, carries
//! bytes between the two and the machine, and does nothing else.

pub mod broker;
pub mod clock;
pub mod drive;
pub mod options;
pub mod settings;
