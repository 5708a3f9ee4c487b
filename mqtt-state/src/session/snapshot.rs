//! A session as plain data, to be stored.

use alloc::vec::Vec;

use mqtt_codec::{Message, PacketId, SubscriptionId, SubscriptionOptions};

use super::{JournalEntry, Record};
use crate::Timestamp;

/// What has to be kept of a session while no program holds it: messages that wait, messages in flight
/// in both directions, and what a client is subscribed to.
///
/// From [`Client::snapshot`](crate::client::Client::snapshot), for
/// [`Client::restore`](crate::client::Client::restore); in the server role from
/// [`Session::snapshot`](crate::server::Session::snapshot), for
/// [`Session::restore`](crate::server::Session::restore). With the feature `serde` it can be written in
/// any format; what comes back is checked, whoever wrote it. Deadlines are kept with the moment of the
/// snapshot, so that what counts is the time left. `Debug` shows no payload.
///
/// With a client's [`Config::journal`](crate::client::Config::journal) it is the base from which
/// [`apply`](Self::apply) goes on.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct SessionSnapshot {
    pub(crate) form: u16,
    /// When this was so, by the clock of where it was taken from.
    pub(crate) at: Timestamp,
    /// The name that the next `publish` or request gets; all others are below it.
    pub(crate) next_token: u64,
    /// The server may have this session.
    pub(crate) is_known: bool,
    /// Sent and not acknowledged, in the order first sent.
    pub(crate) publishes: Vec<StoredPublish>,
    /// PUBCOMP is missing, in the order of the PUBRECs, or of when they were given up.
    pub(crate) releases: Vec<StoredRelease>,
    /// QoS 2 messages received and not released.
    pub(crate) unreleased: Vec<PacketId>,
    /// Never sent, in their order.
    pub(crate) waiting: Vec<StoredWaiting>,
    pub(crate) subscriptions: Vec<StoredSubscription>,
}

impl SessionSnapshot {
    /// The form in which sessions are stored. A reader knows none but its own and those before it.
    pub(crate) const FORM: u16 = 1;

    /// Carries out one entry of the journal that followed this snapshot. Entries have to come in
    /// their order, from the first behind the snapshot; those before it change nothing that matters
    /// only if none is left out.
    ///
    /// What does not fit is passed over here and found by
    /// [`restore`](crate::client::Client::restore), which believes nothing.
    pub fn apply(&mut self, entry: JournalEntry) {
        let JournalEntry { at, record, .. } = entry;
        self.at = self.at.max(at);
        match record {
            Record::Published {
                token,
                message,
                expires_at,
            } => {
                self.waiting.push(StoredWaiting {
                    token,
                    message,
                    expires_at,
                });
            }
            Record::Assigned { token, id } => {
                let place = self.waiting.iter().position(|stored| stored.token == token);
                if let Some(place) = place {
                    let waiting = self.waiting.remove(place);
                    self.publishes.push(StoredPublish {
                        id,
                        token,
                        message: waiting.message,
                        expires_at: waiting.expires_at,
                    });
                }
            }
            Record::Released { token } => self.release(token, false),
            Record::Withdrawn { token } => self.release(token, true),
            Record::Ended { token } => {
                self.releases.retain(|stored| stored.token != token);
                self.publishes.retain(|stored| stored.token != token);
                self.waiting.retain(|stored| stored.token != token);
            }
            Record::Received { id } => {
                if let Err(place) = self.unreleased.binary_search(&id) {
                    self.unreleased.insert(place, id);
                }
            }
            Record::Forgotten { id } => self.unreleased.retain(|held| *held != id),
            Record::Known { is_known } => self.is_known = is_known,
            Record::Lost => {
                self.publishes.clear();
                self.releases.clear();
                self.unreleased.clear();
            }
            Record::Named { next_token } => self.next_token = self.next_token.max(next_token),
            Record::Subscribed(new) => {
                let mut held = self.subscriptions.iter_mut();
                match held.find(|held| held.filter == new.filter) {
                    Some(held) => *held = new,
                    None => self.subscriptions.push(new),
                }
            }
            Record::Unsubscribed { filter } => {
                self.subscriptions.retain(|held| held.filter != filter);
            }
        }
    }

    /// The content of a message is gone, and PUBCOMP is missing.
    fn release(&mut self, token: u64, was_told: bool) {
        let mut publishes = self.publishes.iter();
        if let Some(place) = publishes.position(|stored| stored.token == token) {
            let StoredPublish { id, token, .. } = self.publishes.remove(place);
            self.releases.push(StoredRelease {
                id,
                token,
                was_told,
            });
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct StoredPublish {
    pub(crate) id: PacketId,
    pub(crate) token: u64,
    pub(crate) message: Message,
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct StoredRelease {
    pub(crate) id: PacketId,
    pub(crate) token: u64,
    /// It was given up, and its owner has heard that.
    #[cfg_attr(feature = "serde", serde(default))]
    pub(crate) was_told: bool,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct StoredWaiting {
    pub(crate) token: u64,
    pub(crate) message: Message,
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub(crate) struct StoredSubscription {
    pub(crate) filter: alloc::string::String,
    pub(crate) options: SubscriptionOptions,
    pub(crate) id: Option<SubscriptionId>,
}
