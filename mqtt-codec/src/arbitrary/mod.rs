//! Valid packets for everybody's fuzzers, and broken ones (feature `arbitrary`).
//!
//! [`with_packet`] lends a packet with lists of the caller's kind; [`EncodedPacket`] is one to keep,
//! or to derive `Arbitrary` around; [`violations`] breaks a valid packet in every way that a single
//! rule of the standard forbids.

mod encoded;
mod packet;
mod values;
mod violation;

pub use encoded::EncodedPacket;
pub use packet::with_packet;
pub use violation::{Violation, violations};
