//! What a broker keeps, and what the limits of one add up to.

use super::Broker;
use super::sessions::SessionKey;

/// Bytes of one entry of an ordered map, beside what it points to.
pub(super) const MAP_ENTRY: usize = 128;

impl Broker {
    /// Bytes of everything that is kept for clients and grows with what they do, as
    /// [`Config::total_bytes_max`] counts them.
    pub(super) fn kept_bytes(&self) -> usize {
        { self.kept_elsewhere() }
            .saturating_add(self.store.bytes())
            .saturating_add(self.sessions.bytes())
    }

    /// The same beside messages and sessions.
    pub(super) fn kept_elsewhere(&self) -> usize {
        [
            self.subscriptions.memory(),
            self.router.groups_len().saturating_mul(MAP_ENTRY),
            self.local.memory(),
            self.retained.memory(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
        .saturating_sub(self.empty_bytes)
    }

    /// Whether so many bytes more may be kept.
    pub(super) fn has_bytes_for(&self, bytes: usize) -> bool {
        self.kept_bytes().saturating_add(bytes) <= self.config.total_bytes_max
    }

    /// Whether nothing more may be kept.
    pub(super) fn is_full(&self) -> bool {
        !self.has_bytes_for(1) || self.store.len() >= self.config.messages_len_max
    }

    /// Gives memory of a session back in which nothing is kept now, if it is much.
    #[inline]
    pub(super) fn give_back(&mut self, key: SessionKey) {
        if let Some(entry) = self.sessions.get_mut(key)
            && entry.session.outbound.is_oversized()
        {
            entry.session.outbound.shrink();
            self.sessions.weigh(key);
        }
    }
}
