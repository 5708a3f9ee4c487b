//! SUBSCRIBE and UNSUBSCRIBE in the server role: what a client may not ask for, and the answers.

use mqtt_codec::{
    AckProperties, EncodeError, Packet, ProtocolVersion, SubAck, SubAckReasons, Subscribe,
    SubscribeReason, UnsubAck, UnsubAckReasons, UnsubscribeReason,
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
    /// Answers [`Event::Subscribe`](super::Event::Subscribe), one reason for each filter, in their
    /// order.
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
        self.answer_subscribe_with(now, token, reasons, AckProperties::default())
    }

    /// The same, with a reason string and user properties (5.0). They are left out where the client
    /// does not want them, or does not take so large a packet.
    ///
    /// # Errors
    ///
    /// [`CommandError`].
    pub fn answer_subscribe_with(
        &mut self,
        now: Timestamp,
        token: RequestToken,
        reasons: &[SubscribeReason],
        properties: AckProperties<'_>,
    ) -> Result<(), CommandError> {
        if !token.subscribes || reasons.len() != token.filters_len {
            return Err(CommandError::Reasons);
        }
        self.answer(token)?;
        let sent = self.send_suback(token, reasons, properties);
        self.check_answer(now, sent)
    }

    /// Answers [`Event::Unsubscribe`](super::Event::Unsubscribe), one reason for each filter, in their
    /// order.
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
        self.answer_unsubscribe_with(now, token, reasons, AckProperties::default())
    }

    /// The same, with a reason string and user properties (5.0), likewise.
    ///
    /// # Errors
    ///
    /// [`CommandError`].
    pub fn answer_unsubscribe_with(
        &mut self,
        now: Timestamp,
        token: RequestToken,
        reasons: &[UnsubscribeReason],
        properties: AckProperties<'_>,
    ) -> Result<(), CommandError> {
        if token.subscribes || reasons.len() != token.filters_len {
            return Err(CommandError::Reasons);
        }
        self.answer(token)?;
        let sent = self.send_unsuback(token, reasons, properties);
        self.check_answer(now, sent)
    }

    /// A request gets its answer, if there still is one to give.
    fn answer(&mut self, token: RequestToken) -> Result<(), CommandError> {
        if !self.link.is_connected() {
            return Err(self.not_now());
        }
        if !self.requests.remove(token.id) {
            return Err(CommandError::Answered);
        }
        Ok(())
    }

    // [5:MQTT-2.2.1-6] [3:MQTT-2.3.1-7] The answer repeats the identifier. [5:MQTT-3.8.4-6]
    // [3:MQTT-3.8.4-5] One code for each filter.
    pub(super) fn send_suback(
        &mut self,
        token: RequestToken,
        reasons: &[SubscribeReason],
        properties: AckProperties<'_>,
    ) -> Result<(), EncodeError> {
        // There is at least one: there was a filter.
        let Ok(reasons) = SubAckReasons::new(reasons) else {
            return Ok(());
        };
        let id = token.id;
        let properties = self.in_version(properties);
        self.link.send(&Packet::SubAck(SubAck {
            id,
            reasons,
            properties,
        }))
    }

    // [5:MQTT-3.10.4-5] [3:MQTT-3.10.4-4]
    pub(super) fn send_unsuback(
        &mut self,
        token: RequestToken,
        reasons: &[UnsubscribeReason],
        properties: AckProperties<'_>,
    ) -> Result<(), EncodeError> {
        let id = token.id;
        let properties = self.in_version(properties);
        let reasons = UnsubAckReasons::new(reasons);
        self.link.send(&Packet::UnsubAck(UnsubAck {
            id,
            reasons,
            properties,
        }))
    }

    /// 3.1.1 has no properties.
    fn in_version<'p>(&self, properties: AckProperties<'p>) -> AckProperties<'p> {
        match self.link.version() {
            ProtocolVersion::V3_1_1 => AckProperties::default(),
            ProtocolVersion::V5_0 => properties,
        }
    }

    /// An answer that the client does not take ends the connection.
    pub(super) fn check_answer(
        &mut self,
        now: Timestamp,
        sent: Result<(), EncodeError>,
    ) -> Result<(), CommandError> {
        let now = self.clock.advance(now);
        sent.map_err(|_| {
            self.end(now, CloseCause::AnswerTooLarge);
            CommandError::AnswerTooLarge
        })
    }
}
