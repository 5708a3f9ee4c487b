//! MQTT topic names and topic filters: what is valid, what matches what, and the two indexes that
//! a broker needs.
//!
//! This crate knows nothing of packets, connections or sessions. Validation and matching allocate
//! nothing and need no allocator; the indexes stand behind the feature `alloc`.
//!
//! - [`TopicName`], [`TopicFilter`], [`SharedFilter`]: small `Copy` values over borrowed text,
//!   checked once. A value that exists is valid.
//! - [`TopicFilter::matches`]: linear in the shorter of the two, for every input.
//! - [`SubscriptionIndex`]: who wants this topic? Its [`SubscriptionSnapshot`] is for readers on
//!   other threads, [`SubscriptionIndex::overlaps`] for brokers that send each subscriber one copy.
//! - [`RetainedIndex`]: which topics does this filter mean?
//!
//! ```
//! use mqtt_topic::{TopicFilter, TopicName};
//!
//! let filter = TopicFilter::new("home/+/temperature")?;
//! assert!(filter.matches(TopicName::new("home/kitchen/temperature")?));
//! assert!(!filter.matches(TopicName::new("home/kitchen/humidity")?));
//!
//! let error = TopicFilter::new("school/#/group-1/#").unwrap_err();
//! assert_eq!(error.to_string(), "'#' must be the last level, but more follows at byte 8");
//! # Ok::<(), mqtt_topic::TopicError>(())
//! ```
//!
//! Nothing recurses on the call stack, and nothing panics, whatever text comes in.
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `std` (default) | `alloc`; the code is the same |
//! | `alloc` | the indexes; needs `hashbrown` |
//! | `serde` | subscriptions to store; what comes back is checked |
//! | `defmt` | errors on a microcontroller's debug link |

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod error;
mod filter;
#[cfg(feature = "alloc")]
mod index;
mod level;
mod matching;
mod name;
#[cfg(feature = "alloc")]
mod retained;
mod scan;
mod shared;
#[cfg(feature = "alloc")]
mod subscription;

/// The code in the README is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use error::{TopicError, TopicErrorKind};
pub use filter::TopicFilter;
pub use level::Levels;
pub use name::TopicName;
#[cfg(feature = "alloc")]
pub use retained::{
    Cursor, QueryProgress, RetainedConfig, RetainedError, RetainedErrorKind, RetainedIndex, Sweep,
};
pub use shared::SharedFilter;
#[cfg(feature = "alloc")]
pub use subscription::{
    Group, GroupId, GroupMembers, IndexConfig, IndexError, Match, MatchSlice, MatchSlices, Matches,
    MergeScratch, Overlaps, Position, Receiver, Scratch, SubscriberMatch, SubscriberMatches,
    SubscriberValues, SubscriptionFilter, SubscriptionIndex, SubscriptionSnapshot,
};

/// The longest topic name or filter, in bytes of UTF-8.
// [5:MQTT-4.7.3-3] [3:MQTT-4.7.3-3]
pub const LEN_MAX: usize = 65_535;
