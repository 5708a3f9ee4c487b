//! SUBSCRIBE and UNSUBSCRIBE in the server role: what a client may not ask for, and the answers.

use mqtt_codec::{
    AckProperties, Packet, ProtocolVersion, SubAck, SubAckReasons, Subscribe, SubscribeReason,
    UnsubAck, UnsubAckReasons, UnsubscribeReason,
};

use super::{CommandError, Config, Connection, RequestToken};
use crate::{CloseCause, ProtocolError, Timestamp};

/// Checks a SUBSCRIBE against what the server has announced.
///
/// 3.1.1 has no way to announce it; there each filter gets its own refusal.
pub(super) fn check(
    subscribe: &Subscribe<'_>,
    version: ProtocolVersion,
    config: &Config,
) -> Result<(), ProtocolError> {
    if version == ProtocolVersion::V3_1_1 {
        return Ok(());
    }
    if subscribe.properties.subscription_id.is_some() && !config.subscription_id_available {
        return Err(ProtocolError::SubscriptionIdsNotSupported);
    }
    for entry in subscribe.filters.iter() {
        let shared = entry.filter.shared().ok().flatten();
        if shared.is_some() && !config.shared_subscription_available {
            return Err(ProtocolError::SharedSubscriptionsNotSupported);
        }
        let filter = shared.map_or(entry.filter, |shared| shared.filter());
        if filter.has_wildcards() && !config.wildcard_subscription_available {
            return Err(ProtocolError::WildcardSubscriptionsNotSupported);
        }
    }
    Ok(())
}

impl Connection {
    /// Answers [`Event::Subscribe`](super::Event::Subscribe), one reason for each filter, in their order.
    ///
    /// # Errors
    ///
    /// [`CommandError`].
    pub fn answer_subscribe(
        &mut self,
        now: Timestamp,
        token: RequestToken,
        reasons: &[SubscribeReason],
    ) -> Result<(), CommandError> {
        let fits = token.subscribes && reasons.len() == token.filters_len;
        let (true, Ok(reasons)) = (fits, SubAckReasons::new(reasons)) else {
            return Err(CommandError::Reasons);
        };
        self.answer(
            now,
            &Packet::SubAck(SubAck {
                id: token.id,
                reasons,
                properties: AckProperties::default(),
            }),
        )
    }

    /// Answers [`Event::Unsubscribe`](super::Event::Unsubscribe), one reason for each filter, in their order.
    ///
    /// # Errors
    ///
    /// [`CommandError`].
    pub fn answer_unsubscribe(
        &mut self,
        now: Timestamp,
        token: RequestToken,
        reasons: &[UnsubscribeReason],
    ) -> Result<(), CommandError> {
        if token.subscribes || reasons.len() != token.filters_len {
            return Err(CommandError::Reasons);
        }
        let reasons = UnsubAckReasons::new(reasons);
        self.answer(
            now,
            &Packet::UnsubAck(UnsubAck {
                id: token.id,
                reasons,
                properties: AckProperties::default(),
            }),
        )
    }

    fn answer(&mut self, now: Timestamp, packet: &Packet<'_>) -> Result<(), CommandError> {
        let now = self.clock.advance(now);
        if !self.link.is_connected() {
            return Err(CommandError::WrongState);
        }
        self.link.send(packet).map_err(|_| {
            self.end(now, CloseCause::AnswerTooLarge);
            CommandError::AnswerTooLarge
        })
    }
}
