//! What a broker keeps for others, and what the limits of that add up to.
//!
//! All of it counts towards the broker's one total. At the total interests of others are not noted,
//! messages are not sent on, sessions stay where they are.

use core::mem::size_of;

use super::message::{ClaimNote, FilterKey, MovedSubscription, Note, Piece};
use super::moving::{Arriving, Leaving};
use super::other::Other;
use super::queue::{Item, Outgoing};
use super::{JoinConfig, Joined};
use crate::broker::memory::SUBSCRIPTION_MIN;
use crate::broker::{Broker, Config};
use crate::weights::{MAP_ENTRY, TEXT_MAX};

/// Bytes around a text that is shared.
const SHARED: usize = 32;

/// An entry of an ordered map of brokers.
const BROKER: usize = 48;

/// So much has not arrived of what is said about claims when no more is said for want of memory.
pub(super) const NOTES_MIN: usize = 16;

/// The same in bytes for what others wait for until they hear it, of which there may be many.
pub(super) const NOTES_BYTES: usize = NOTES_MIN * TEXT_MAX;

/// So many interests have changed when the link begins anew for want of memory.
const DIRTY_MIN: usize = 16;

/// Bytes that choosing uses for each filter that matches.
const HIT: usize = 16;

/// A session that moves, to here and from here.
const MOVING: usize = 2 * MAP_ENTRY + size_of::<Leaving>() + size_of::<Arriving>();

/// What one piece of a session takes on its way, beside its message and texts.
pub(super) const PIECE: usize = size_of::<Item>() * 2 + size_of::<Note>() + size_of::<Piece>() + 96;

impl FilterKey {
    /// Bytes of it in a table.
    pub(super) fn weight(&self) -> usize {
        { self.text.len() }.saturating_add(MAP_ENTRY + SHARED)
    }

    /// The same in a list.
    fn len_held(&self) -> usize {
        { self.text.len().saturating_add(SHARED) }.saturating_add(size_of::<Self>())
    }
}

impl MovedSubscription {
    pub(super) fn len_held(&self) -> usize {
        { self.text.len().saturating_add(SHARED) }
            .saturating_add(size_of::<Self>())
            .saturating_add(self.subscription.len_held())
    }
}

impl Piece {
    fn len_held(&self) -> usize {
        let more = match self {
            Self::Subscription(moved) => moved.len_held(),
            Self::Subscribed { whose, .. } => whose.as_ref().map_or(0, |whose| whose.len_held()),
            Self::Published { delivery, .. } | Self::Waiting(delivery) => {
                let group = delivery.group.as_ref().map_or(0, FilterKey::len_held);
                let ids = size_of_val(delivery.subscription_ids.as_slice());
                { delivery.message.len_held() }
                    .saturating_add(group)
                    .saturating_add(ids)
            }
            Self::Replay { filter, .. } => filter.len(),
            Self::Released { .. } | Self::Unreleased { .. } | Self::Done => 0,
        };
        more.saturating_add(size_of::<Self>())
    }
}

impl Item {
    /// Bytes outside of itself, but for messages that are in the store.
    pub(super) fn len_held(&self) -> usize {
        match self {
            Self::Message(outgoing) => outgoing.len_held(),
            Self::Note(note) => match &**note {
                Note::Claim {
                    client_id, what, ..
                } => {
                    let more = match what {
                        ClaimNote::Piece(piece) => piece.len_held(),
                        ClaimNote::Moving { witnesses, .. } | ClaimNote::Told(witnesses) => {
                            size_of_val(witnesses.as_slice())
                        }
                        ClaimNote::Claim { .. }
                        | ClaimNote::Unclaimed
                        | ClaimNote::Superseded
                        | ClaimNote::Begun
                        | ClaimNote::Switch { .. }
                        | ClaimNote::Switched
                        | ClaimNote::Declined { .. } => 0,
                    };
                    { client_id.len().saturating_add(SHARED) }
                        .saturating_add(more)
                        .saturating_add(size_of::<Note>())
                }
                Note::Forward(_) | Note::Returned(_) => size_of::<Note>(),
            },
        }
    }
}

impl Outgoing {
    pub(super) fn len_held(&self) -> usize {
        let publisher = self.publisher.as_ref().map_or(0, |text| text.len());
        let others = publisher.saturating_add(size_of_val(self.passed.as_slice()));
        { self.groups.iter().map(FilterKey::len_held) }.fold(others, usize::saturating_add)
    }
}

impl Joined {
    /// Bytes of everything that grows with what others and this broker's clients do.
    pub(in crate::broker) fn bytes(&self) -> usize {
        let moving = { self.claims.leaving.len() }.saturating_add(self.claims.arriving.len());
        let brokers = self.others.len().saturating_mul(3 * BROKER);
        let of_moving = brokers.saturating_add(MOVING);
        let others = self.others.values().map(Other::bytes);
        others
            .chain([
                self.interests.memory(),
                self.local_bytes,
                self.groups.bytes,
                self.turns_bytes,
                self.stamps.bytes(),
                self.claims.bytes,
                moving.saturating_mul(of_moving),
                self.fan_outs_bytes,
            ])
            .fold(0, usize::saturating_add)
    }
}

impl Broker {
    /// Bytes of what joins this broker with others.
    pub(in crate::broker) fn joined_bytes(&self) -> usize {
        self.joined.as_ref().map_or(0, |joined| joined.bytes())
    }

    /// Weighs what has changed, and what is kept with it.
    pub(super) fn weigh_joined(&mut self) {
        if self.joined.is_some() {
            self.weigh_indexes();
        }
    }

    /// Changes something of what is known of others, and weighs it.
    pub(super) fn with_joined(&mut self, change: impl FnOnce(&mut Joined)) {
        if let Some(joined) = &mut self.joined {
            change(joined);
            self.weigh_indexes();
        }
    }

    /// Links over which more has to be said than there is memory for begin anew.
    pub(super) fn relieve_links(&mut self) {
        if self.has_bytes_for(1) {
            return;
        }
        let mut lost = alloc::vec::Vec::new();
        let others = { self.joined.iter_mut() }.flat_map(|joined| joined.others.values_mut());
        for other in others.filter(|other| other.dirty_len() > DIRTY_MIN) {
            other.open();
            lost.extend(other.queue.rewind());
        }
        self.release_outgoing(lost, None);
        self.weigh_joined();
    }
}

impl JoinConfig {
    /// Bytes beside what [`Config::total_bytes_max`] counts.
    pub(in crate::broker) fn memory_bound(&self, config: &Config) -> usize {
        let of_session = usize::from(config.server.in_flight_max)
            .saturating_mul(2)
            .saturating_add(config.server.waiting_len_max)
            .saturating_add(config.subscriptions_per_session_max)
            .saturating_mul(PIECE);
        let brokers = self.brokers_max.saturating_mul(BROKER);
        let notes = brokers
            .saturating_add(TEXT_MAX + PIECE)
            .saturating_mul(NOTES_MIN);
        let of_broker = notes
            .saturating_add(of_session)
            .saturating_add(size_of::<Other>())
            .saturating_add(MAP_ENTRY + DIRTY_MIN * (MAP_ENTRY + SHARED));
        let interests_max = { config.total_bytes_max / SUBSCRIPTION_MIN }
            .min(self.interests_max.saturating_mul(self.brokers_max));
        { self.brokers_max }
            .saturating_mul(of_broker)
            .saturating_add(DIRTY_MIN * TEXT_MAX)
            .saturating_add(interests_max.saturating_mul(HIT))
    }
}
