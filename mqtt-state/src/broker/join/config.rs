//! What joins a broker with others, and why it does not.

use core::fmt;
use core::time::Duration;

use super::BrokerId;

/// What joins a broker with others.
///
/// What a broker keeps for the others counts towards [`Config::total_bytes_max`](super::Config::total_bytes_max):
/// messages on their way, what their subscribers want, sessions that move, and, once more, the text
/// and some 200 bytes for each filter that somebody has and each retained topic. At the total messages are
/// not sent on ([`Event::NotForwarded`](super::Event::NotForwarded)), interests are not noted
/// ([`JoinedBroker::interests_refused`](super::JoinedBroker::interests_refused)), topics that were cleared are
/// forgotten, and a session stays where it is: its client gets 0x89 Server busy elsewhere. [`Config::memory_bound`](super::Config::memory_bound) has the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "record", serde(default, deny_unknown_fields))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct JoinConfig {
    /// This broker's own name, which no other one has. 0.
    pub id: BrokerId,
    /// Higher with each run of this broker, such as the time it was started, in nanoseconds: what others
    /// remember of a run before is void then. Retained messages and sessions count on from here, so that those of
    /// a new run are newer than those of the one before; so it has to be higher by more than there were of them in
    /// a run. All joined brokers count together, so it has to be higher than that of any run that began before,
    /// whichever broker's it was: take all of them from one kind of clock. 0.
    pub incarnation: u64,
    /// Other brokers. 64.
    pub brokers_max: usize,
    /// Messages that one other broker has not acknowledged. One above it is not sent on, with
    /// [`Event::NotForwarded`](super::Event::NotForwarded). 10,000.
    pub forwards_len_max: usize,
    /// Their bytes, each message counted for each broker. 64 MiB.
    pub forwards_bytes_max: usize,
    /// Filters that the subscribers of one other broker have. One above it is not noted, and its
    /// subscribers do not get this broker's messages. 1,000,000.
    pub interests_max: usize,
    /// A CONNECT whose client may have its session at another broker waits so long for what the others
    /// say. Who has not answered then has none, and who has sent some of it and nothing more for as long is
    /// not waited for either. With 0 others are heard until the next
    /// [`handle_timeout`](super::super::Broker::handle_timeout). 5 s.
    pub claim_timeout: Duration,
    /// Topics without a retained message that are remembered to have lost it, cleared or expired, so that
    /// a link that comes back does not bring it back. 10,000.
    pub cleared_max: usize,
}

impl Default for JoinConfig {
    fn default() -> Self {
        Self {
            id: BrokerId::default(),
            incarnation: 0,
            brokers_max: 64,
            forwards_len_max: 10_000,
            forwards_bytes_max: 64 * 1024 * 1024,
            interests_max: 1_000_000,
            claim_timeout: Duration::from_secs(5),
            cleared_max: 10_000,
        }
    }
}

/// Why a broker was not joined. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// [`Config::join`](super::Config::join) says nothing.
    NotConfigured,
    /// The other broker has this one's name.
    SameBroker,
    /// There are as many others as [`JoinConfig::brokers_max`] allows.
    TooManyBrokers,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConfigured => "this broker is not made to be joined",
            Self::SameBroker => "the other broker has the same name",
            Self::TooManyBrokers => "too many brokers",
        })
    }
}

impl core::error::Error for JoinError {}
