//! Subscribing and unsubscribing in the client role.

use alloc::vec::Vec;
use core::fmt;

use mqtt_codec::{
    EncodeError, Packet, PacketId, PacketType, ProtocolVersion, SubAck, Subscribe, SubscribeFilter,
    SubscribeFilters, SubscribeProperties, SubscriptionId, TopicError, TopicFilter, UnsubAck,
    Unsubscribe, UnsubscribeFilters, UserProperties,
};

use super::{Client, Event, Negotiated, Phase, RequestToken, Subscription};
use crate::ProtocolError;
use crate::session::RequestKind;

/// Filters of one SUBSCRIBE that this client makes by itself: what servers are likely to take.
const FILTERS_MAX: usize = 100;

/// Why a `subscribe` or `unsubscribe` was not sent. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no connection that has been accepted, or it is over already: a server that accepts and ends it in
    /// one breath is heard to the end before [`Event::Connected`] is fetched. That is harmless; ask again at the
    /// next [`Event::Connected`], and do not let it end the program.
    NotConnected,
    /// The request has no filter.
    Filters,
    /// A filter begins with `$share/` and is no shared filter (5.0).
    SharedFilter(TopicError),
    /// A shared filter with No Local.
    SharedWithNoLocal,
    /// The server takes no wildcard subscriptions.
    WildcardSubscriptionsNotSupported,
    /// The server takes no subscription identifiers.
    SubscriptionIdsNotSupported,
    /// The server takes no shared subscriptions.
    SharedSubscriptionsNotSupported,
    /// More subscriptions than [`Config::subscriptions_max`](super::Config::subscriptions_max).
    TooManySubscriptions,
    /// All 65,535 packet identifiers are in use.
    PacketIdsExhausted,
    /// Too much waits for the server: bytes that it has not read, requests that it has not answered
    /// ([`Config::requests_max`](super::Config::requests_max)), or filters to unsubscribe from
    /// ([`Config::subscriptions_bytes_max`](super::Config::subscriptions_bytes_max)). Try again when output
    /// has been sent, or after an answer.
    Busy,
    /// The packet cannot be written in this version, or is larger than the server takes.
    Encode(EncodeError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => {
                f.write_str("not connected: requests do not wait for a connection")
            }
            Self::Filters => f.write_str("the request has no filter"),
            Self::SharedFilter(error) => write!(f, "{error}"),
            Self::SharedWithNoLocal => f.write_str("a shared subscription cannot have No Local"),
            Self::WildcardSubscriptionsNotSupported => {
                f.write_str("the server takes no wildcard subscriptions")
            }
            Self::SubscriptionIdsNotSupported => {
                f.write_str("the server takes no subscription identifiers")
            }
            Self::SharedSubscriptionsNotSupported => {
                f.write_str("the server takes no shared subscriptions")
            }
            Self::TooManySubscriptions => f.write_str("more subscriptions than this client keeps"),
            Self::PacketIdsExhausted => f.write_str("all packet identifiers are in use"),
            Self::Busy => f.write_str("too much waits for the server to read or to answer"),
            Self::Encode(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for RequestError {}

impl Client {
    /// Subscribes to one or more filters. [`Event::Subscribed`] brings the server's answer for
    /// each.
    ///
    /// A message waits in the session until there is a connection; a request does not, as it belongs to one.
    /// The time for it is when [`Event::Connected`] has come, which also says whether the server has a session
    /// with its subscriptions already.
    ///
    /// # Errors
    ///
    /// [`RequestError`], before a byte is sent.
    pub fn subscribe(
        &mut self,
        filters: &[SubscribeFilter<'_>],
    ) -> Result<RequestToken, RequestError> {
        self.subscribe_with(filters, None, UserProperties::default())
    }

    /// Subscribes with a subscription identifier or user properties (5.0). 3.1.1 has neither, and they are
    /// left out.
    ///
    /// # Errors
    ///
    /// [`RequestError`], before a byte is sent.
    pub fn subscribe_with(
        &mut self,
        filters: &[SubscribeFilter<'_>],
        subscription_id: Option<SubscriptionId>,
        user_properties: UserProperties<'_>,
    ) -> Result<RequestToken, RequestError> {
        let negotiated = self.negotiated().ok_or(RequestError::NotConnected)?;
        if filters.is_empty() {
            return Err(RequestError::Filters);
        }
        let list = SubscribeFilters::new(filters).map_err(|_| RequestError::SharedWithNoLocal)?;
        for entry in filters {
            check(entry.filter, negotiated)?;
        }
        if subscription_id.is_some() && !negotiated.subscription_id_available {
            return Err(RequestError::SubscriptionIdsNotSupported);
        }
        let properties = SubscribeProperties {
            subscription_id,
            user_properties,
        };
        let known = |entry: &&SubscribeFilter<'_>| {
            let mut held = self.subscriptions.granted().iter();
            held.any(|held| held.filter().filter == entry.filter)
        };
        let known = filters.iter().filter(known).count();
        let len = self.subscriptions.len().saturating_add(filters.len());
        let bytes = filters.iter().map(|entry| entry.filter.as_bytes().len());
        let bytes = bytes.fold(self.subscriptions.bytes(), usize::saturating_add);
        if len.saturating_sub(known) > self.config.subscriptions_max
            || (known < filters.len() && bytes > self.config.subscriptions_bytes_max)
        {
            return Err(RequestError::TooManySubscriptions);
        }
        let token = self.request(RequestKind::Subscribe, filters.len(), |id| {
            Packet::Subscribe(Subscribe {
                id,
                filters: list,
                properties,
            })
        })?;
        self.subscriptions.ask(token.0, filters, subscription_id);
        Ok(token)
    }

    /// Subscribes again to everything that a server had granted and no `unsubscribe` has ended:
    /// for a connection on which the server has lost the session. Answers one token for each
    /// SUBSCRIBE that it takes.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; what comes behind the one at fault has not been sent. After
    /// [`RequestError::Busy`] the next call on this connection goes on there: those before it have their
    /// events.
    pub fn resubscribe(&mut self) -> Result<Vec<RequestToken>, RequestError> {
        let start = self.subscriptions.take_renewed();
        let all = self.subscriptions.granted().get(start..);
        let all = all.unwrap_or_default().to_vec();
        let (mut rest, mut most) = (all.as_slice(), FILTERS_MAX);
        let mut tokens = Vec::new();
        while let Some(first) = rest.first() {
            // One SUBSCRIBE has one identifier for all of its filters.
            let same = rest.iter().take_while(|held| held.id() == first.id());
            let filters: Vec<_> = same.take(most).map(Subscription::filter).collect();
            match self.subscribe_with(&filters, first.id(), UserProperties::default()) {
                Ok(token) => tokens.push(token),
                Err(RequestError::Encode(EncodeError::PacketTooLarge { .. }))
                    if filters.len() > 1 =>
                {
                    most = filters.len() / 2;
                    continue;
                }
                Err(RequestError::Busy) => {
                    let renewed = all.len().saturating_sub(rest.len());
                    self.subscriptions
                        .note_renewed(start.saturating_add(renewed));
                    return Err(RequestError::Busy);
                }
                Err(error) => return Err(error),
            }
            rest = rest.get(filters.len()..).unwrap_or_default();
        }
        Ok(tokens)
    }

    /// What the server has granted and no `unsubscribe` has ended, in the order of first granting.
    /// It outlives connections and sessions.
    #[must_use]
    pub fn subscriptions(&self) -> &[Subscription] {
        self.subscriptions.granted()
    }

    /// Unsubscribes from filters, which are compared character by character with those subscribed
    /// to. [`Event::Unsubscribed`] brings the server's answer.
    ///
    /// # Errors
    ///
    /// [`RequestError`], before a byte is sent.
    pub fn unsubscribe(
        &mut self,
        filters: &[TopicFilter<'_>],
    ) -> Result<RequestToken, RequestError> {
        self.unsubscribe_with(filters, UserProperties::default())
    }

    /// Unsubscribes with user properties (5.0). 3.1.1 has none, and they are left out.
    ///
    /// # Errors
    ///
    /// [`RequestError`], before a byte is sent.
    pub fn unsubscribe_with(
        &mut self,
        filters: &[TopicFilter<'_>],
        user_properties: UserProperties<'_>,
    ) -> Result<RequestToken, RequestError> {
        if self.negotiated().is_none() {
            return Err(RequestError::NotConnected);
        }
        let list = UnsubscribeFilters::new(filters).map_err(|_| RequestError::Filters)?;
        let bytes = filters.iter().map(|filter| filter.as_bytes().len());
        let bytes = bytes.fold(
            self.subscriptions.unsubscribing_bytes(),
            usize::saturating_add,
        );
        if bytes > self.config.subscriptions_bytes_max {
            return Err(RequestError::Busy);
        }
        let token = self.request(RequestKind::Unsubscribe, filters.len(), |id| {
            Packet::Unsubscribe(Unsubscribe {
                id,
                filters: list,
                user_properties,
            })
        })?;
        self.subscriptions.ask_to_end(token.0, filters);
        Ok(token)
    }

    // [5:MQTT-2.2.1-3] [3:MQTT-2.3.1-2] Requests share the identifiers of messages.
    fn request<'p>(
        &mut self,
        kind: RequestKind,
        filters_len: usize,
        packet: impl FnOnce(PacketId) -> Packet<'p>,
    ) -> Result<RequestToken, RequestError> {
        let Some(link) = &mut self.link else {
            return Err(RequestError::NotConnected);
        };
        if link.is_blocked() || self.subscriptions.requests_len() >= self.config.requests_max {
            return Err(RequestError::Busy);
        }
        let tag = self.next_token;
        let id = self
            .session
            .outbound
            .start_request(kind, tag, filters_len)
            .ok_or(RequestError::PacketIdsExhausted)?;
        if let Err(error) = link.send(&packet(id)) {
            // The identifier comes back; it was reserved one line above, so this cannot fail.
            let _reserved = self.session.outbound.finish_request(kind, id);
            return Err(RequestError::Encode(error));
        }
        self.next_token();
        Ok(RequestToken(tag))
    }

    pub(super) fn handle_suback(&mut self, suback: &SubAck<'_>) -> Result<(), ProtocolError> {
        let token = self.finish(
            RequestKind::Subscribe,
            suback.id,
            suback.reasons.iter().count(),
        )?;
        let journal = &mut self.events.journal;
        let reasons = suback.reasons.iter();
        self.subscriptions.answered(token.0, reasons, journal);
        self.events.push(Event::Subscribed {
            token,
            reasons: suback.reasons.iter().collect(),
            diagnostics: suback.properties.into(),
        });
        Ok(())
    }

    pub(super) fn handle_unsuback(&mut self, unsuback: &UnsubAck<'_>) -> Result<(), ProtocolError> {
        let found = unsuback.reasons.iter().count();
        let token = self.finish(RequestKind::Unsubscribe, unsuback.id, found)?;
        let journal = &mut self.events.journal;
        let reasons = unsuback.reasons.iter();
        self.subscriptions.ended(token.0, reasons, journal);
        self.events.push(Event::Unsubscribed {
            token,
            reasons: unsuback.reasons.iter().collect(),
            diagnostics: unsuback.properties.into(),
        });
        Ok(())
    }

    /// Silent in both standards for an unknown identifier and for another number of codes; both
    /// are taken as protocol errors here, since neither side can know what is subscribed then.
    fn finish(
        &mut self,
        kind: RequestKind,
        id: PacketId,
        found: usize,
    ) -> Result<RequestToken, ProtocolError> {
        let packet_type = match kind {
            RequestKind::Subscribe => PacketType::SubAck,
            RequestKind::Unsubscribe => PacketType::UnsubAck,
        };
        let (tag, expected) = self
            .session
            .outbound
            .finish_request(kind, id)
            .map_err(|_| ProtocolError::UnknownRequest(packet_type))?;
        let without_codes = kind == RequestKind::Unsubscribe
            && self
                .negotiated()
                .is_some_and(|negotiated| negotiated.version == ProtocolVersion::V3_1_1);
        let token = RequestToken(tag);
        if found != expected && !without_codes {
            self.events.push(Event::RequestLost { token });
            return Err(ProtocolError::ReasonCountMismatch {
                packet_type,
                expected,
                found,
            });
        }
        Ok(token)
    }

    /// What was agreed, while a connection is up.
    #[must_use]
    pub fn negotiated(&self) -> Option<&Negotiated> {
        match &self.phase {
            Phase::Connected { negotiated, .. } => Some(negotiated),
            Phase::Disconnected | Phase::Connecting { .. } | Phase::Ending { .. } => None,
        }
    }
}

fn check(filter: TopicFilter<'_>, negotiated: &Negotiated) -> Result<(), RequestError> {
    let shared = match negotiated.version {
        ProtocolVersion::V3_1_1 => None,
        ProtocolVersion::V5_0 => filter.shared().map_err(RequestError::SharedFilter)?,
    };
    if shared.is_some() && !negotiated.shared_subscription_available {
        return Err(RequestError::SharedSubscriptionsNotSupported);
    }
    let filter = shared.map_or(filter, |shared| shared.filter());
    if filter.has_wildcards() && !negotiated.wildcard_subscription_available {
        return Err(RequestError::WildcardSubscriptionsNotSupported);
    }
    Ok(())
}
