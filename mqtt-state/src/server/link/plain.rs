//! The short way: packets that can be taken without being looked at by every rule.

use mqtt_codec::{Delivery, PlainAck, PlainPublish, PublishReason};

use super::ServerLink;
use crate::link::{Acks, ReceiveError, Store, Topic};
use crate::server::Config;
use crate::session::Session;

impl ServerLink {
    /// The PUBLISH at the front of `input`, if it is a plain one that is routed as it is. `None` for
    /// whatever has to be parsed and received to be known.
    #[inline(always)]
    pub(crate) fn plain_publish<'p>(
        &self,
        input: &'p [u8],
        config: &Config,
    ) -> Option<PlainPublish<'p>> {
        if !self.takes_plain_packets() {
            return None;
        }
        let publish = self.decoder.plain_publish(input, self.link.version())?;
        if publish.delivery().qos() > config.maximum_qos
            || (publish.retain() && !config.retain_available)
        {
            return None;
        }
        Some(publish)
    }

    /// Whether there is nothing about this connection that has to be looked at first.
    #[inline]
    fn takes_plain_packets(&self) -> bool {
        self.is_connected() && !self.link.is_blocked()
    }

    /// The topic of a plain PUBLISH. `None` for one with an alias that is not known.
    #[inline(always)]
    pub(crate) fn topic_of<'p>(&self, publish: &PlainPublish<'p>) -> Option<Topic<'p>> {
        self.link.topic_of(publish)
    }

    /// Whether a PUBLISH is a new message for which there is room.
    #[inline]
    pub(crate) fn takes_at_once<M>(&self, delivery: Delivery, session: &Session<M>) -> bool {
        self.link.takes_at_once(delivery, &session.inbound)
    }

    /// An acknowledgement as most of them are, if it can be taken in the short way.
    #[inline]
    pub(crate) fn receive_plain_ack<S: Store>(
        &mut self,
        ack: PlainAck,
        session: &mut Session<S::Handle>,
        store: &mut S,
        acks: &mut impl Acks,
    ) -> Option<Result<(), ReceiveError>> {
        if !self.takes_plain_packets() {
            return None;
        }
        let link = &mut self.link;
        let success = PublishReason::Success;
        Some(match ack {
            PlainAck::PubAck(id) => link.receive_puback(id, success, session, store).map(drop),
            PlainAck::PubRec(id) => link
                .receive_pubrec(id, success, session, store, acks)
                .map(drop),
            PlainAck::PubRel(id) => link
                .receive_pubrel(id, &mut session.inbound, acks)
                .map(drop),
            PlainAck::PubComp(id) => link.receive_pubcomp(id, session).map(drop),
        })
    }
}
