//! The receiving half of a session: QoS 2 messages whose PUBREL has not come yet.

use mqtt_codec::PacketId;

use super::id_set::IdSet;

/// Identifiers that may be kept although nothing on this connection has them, whatever its limit.
const KEPT_MIN: usize = 16;

/// The identifiers of QoS 2 messages that were received and not released.
///
/// On one connection never more than the Receive Maximum of this side. What a connection before has left
/// comes on top: a peer that forgets is met again, and one that never releases anything comes back as
/// often as it likes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inbound {
    unreleased: IdSet,
}

impl Inbound {
    /// How many are kept at most, over all connections. A peer that remembers its own session releases
    /// what it had before it sends anything new.
    pub(crate) fn len_max(receive_maximum: u16) -> usize {
        { usize::from(receive_maximum).saturating_mul(2) }.clamp(KEPT_MIN, usize::from(u16::MAX))
    }

    /// Whether a PUBLISH with this identifier is a repetition.
    // [5:MQTT-4.3.3-10] [3:MQTT-4.3.3-2] Until PUBREL the identifier alone says so; DUP has no part in it.
    pub(crate) fn is_known(&self, id: PacketId) -> bool {
        self.unreleased.contains(id)
    }

    /// This side owns the message now, and says so with PUBREC. Answers whether that is new.
    pub(crate) fn remember(&mut self, id: PacketId) -> bool {
        self.unreleased.insert(id)
    }

    /// PUBREL has come; `false` when the identifier was not known.
    // [5:MQTT-4.3.3-12] [3:MQTT-4.3.3-2] Afterwards the same identifier is a new message.
    pub(crate) fn release(&mut self, id: PacketId) -> bool {
        self.unreleased.remove(id)
    }

    /// Those that were received and not released, in order.
    pub(crate) fn unreleased(&self) -> impl Iterator<Item = PacketId> {
        self.unreleased.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.unreleased.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.unreleased.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_a_repetition_until_it_is_released() {
        // [5:MQTT-4.3.3-10] [5:MQTT-4.3.3-12] [3:MQTT-4.3.3-2]
        let mut inbound = Inbound::default();
        let id = PacketId::new(7).unwrap();
        assert!(!inbound.is_known(id));
        inbound.remember(id);
        inbound.remember(id);
        assert!(inbound.is_known(id));
        assert_eq!(inbound.len(), 1, "a repetition takes no second place");
        assert!(inbound.release(id));
        assert!(!inbound.is_known(id));
        assert!(!inbound.release(id));
    }
}
