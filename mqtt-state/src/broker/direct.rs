//! The shortest way: what goes to a few who have nothing else goes to the driver while it is routed. At QoS 0 nothing
//! of it is kept; at QoS 1 and 2 it is in flight at once.
//!
//! It is open where the driver takes packets at once. Whoever cannot get it so gets it in the other ways.

use bytes::BytesMut;
use mqtt_codec::{Message, PlainAck, PlainPublish, ProtocolVersion, QoS, TopicName};
use mqtt_topic::{MergeScratch, SubscriptionIndex};

use super::Broker;
use super::at_hand::BYTES_MAX;
use super::at_once::AtOnce;
use super::outlet::{Outlet, outlet};
use super::routing::{Subscription, Summary};
use super::serving::Wish;
use super::sessions::SessionKey;
use super::store::{Delivery, Ids, MessageRef};
use crate::Traffic;
use crate::link::{Acks, Waiting};

/// To more receivers than these it goes in the other ways, where it is written once for all of them.
const FEW: usize = 4;

/// A way for a PUBLISH and its answer.
pub(super) trait Way: Acks {
    /// Gives the message to all who want it, if that can be. Answers how many have got it.
    fn route(
        &mut self,
        broker: &mut Broker,
        summary: &Summary<'_>,
        message: impl FnOnce(Option<BytesMut>) -> Message,
    ) -> Option<usize>;
}

/// Everything waits.
impl Way for Waiting {
    #[inline]
    fn route(
        &mut self,
        _: &mut Broker,
        _: &Summary<'_>,
        _: impl FnOnce(Option<BytesMut>) -> Message,
    ) -> Option<usize> {
        None
    }
}

/// The direct way of one PUBLISH.
pub(super) struct Direct<'d, 'b> {
    publish: PlainPublish<'d>,
    version: ProtocolVersion,
    /// So many receivers have got it.
    copied: usize,
    at_once: &'d mut AtOnce<'b>,
}

impl<'d, 'b> Direct<'d, 'b> {
    #[inline(always)]
    pub(super) fn new(
        publish: PlainPublish<'d>,
        version: ProtocolVersion,
        at_once: &'d mut AtOnce<'b>,
    ) -> Self {
        Self {
            publish,
            version,
            copied: 0,
            at_once,
        }
    }

    /// Whether it may go this way, as far as it is known from itself.
    #[inline]
    fn is_open(&self) -> bool {
        self.at_once.is_open() && !self.publish.retain() && self.publish.size() <= BYTES_MAX
    }
}

impl Acks for Direct<'_, '_> {
    #[inline]
    fn take(&mut self, ack: PlainAck) -> bool {
        self.at_once.take(ack)
    }
}

impl Way for Direct<'_, '_> {
    #[inline(always)]
    fn route(
        &mut self,
        broker: &mut Broker,
        summary: &Summary<'_>,
        message: impl FnOnce(Option<BytesMut>) -> Message,
    ) -> Option<usize> {
        broker.route_directly(summary, self, message)
    }
}

impl Broker {
    /// Whether nobody but subscribers has to do with what is published, and they get it at once.
    #[inline]
    fn routes_directly(&self) -> bool {
        self.local.is_empty() && self.joined.is_none() && !self.config.message_events
    }

    /// Hands a QoS 0 PUBLISH out as it came to those who want it, if they are few. Answers whether all of them have
    /// it: nothing of it was ever kept then. [`route_directly`](Self::route_directly) goes on otherwise.
    // [5:MQTT-3.3.2-3] [3:MQTT-3.3.2-3] To those whose filters match.
    #[inline(always)]
    pub(super) fn copy_to_few(&mut self, name: TopicName<'_>, direct: &mut Direct<'_, '_>) -> bool {
        let payload_max = self.config.server.payload_size_max.unwrap_or(usize::MAX);
        let (publish, version) = (direct.publish, direct.version);
        if !direct.is_open()
            || publish.payload().len() > payload_max
            || name.starts_with_dollar()
            || !self.routes_directly()
        {
            return false;
        }
        let (scratch, most) = (&mut self.router.scratch, FEW.min(self.work.left()));
        let Some(few) = few_receivers(&self.subscriptions, name, scratch, most) else {
            return false;
        };
        for (key, _) in few {
            if let Some(entry) = self.sessions.get(*key)
                && entry.session.outbound.is_idle()
                && let Some(id) = entry.connection
                && let Some(connection) = self.connections.get(id)
                && connection.ready.rests()
                && connection.link.version() == version
                && direct.at_once.hand_out(id, publish.packet())
            {
                self.traffic.note_publish_sent(publish.size());
                direct.copied = direct.copied.wrapping_add(1);
            } else {
                break;
            }
        }
        let is_all = direct.copied == few.len();
        if is_all {
            self.work.spend(direct.copied);
        }
        is_all
    }

    /// Gives a message to those who want it, if they are few. Answers how many have got it; `None` where it
    /// has to be routed in another way.
    #[inline(always)]
    fn route_directly(
        &mut self,
        summary: &Summary<'_>,
        direct: &mut Direct<'_, '_>,
        message: impl FnOnce(Option<BytesMut>) -> Message,
    ) -> Option<usize> {
        if !direct.is_open() || !self.routes_directly() {
            return None;
        }
        let elsewhere = self.kept_elsewhere();
        // As many as before: those who were served then count from here on.
        let (scratch, most) = (&mut self.router.scratch, FEW.min(self.work.left()));
        let few = few_receivers(&self.subscriptions, summary.name, scratch, most)?;
        let mut outlet = outlet!(self, elsewhere);
        let (copied, steps) = (direct.copied, few.len());
        let mut receivers = copied;
        if let Some(others @ [_, ..]) = few.get(copied..) {
            let given = outlet.give_few(others, summary, direct, message, &mut self.traffic);
            receivers = receivers.wrapping_add(given);
        }
        self.work.spend(steps);
        Some(receivers)
    }
}

impl Outlet<'_> {
    /// Gives a message that has to be made to a few. Answers how many have got it.
    #[inline(never)]
    fn give_few(
        &mut self,
        few: &[(SessionKey, Subscription)],
        summary: &Summary<'_>,
        direct: &mut Direct<'_, '_>,
        message: impl FnOnce(Option<BytesMut>) -> Message,
        traffic: &mut Traffic,
    ) -> usize {
        let message = message(self.store.spare_memory());
        let bytes = message.len_held();
        let Some(reference) = self.store.insert(message, summary.expires_at) else {
            return 0;
        };
        let mut receivers = 0_usize;
        for (key, subscription) in few {
            let copy = Wish::of(subscription, None).copy(summary);
            let is_given = self.send(*key, &reference, bytes, copy.qos, direct, traffic)
                || self.keep(*key, &reference, bytes, copy);
            receivers = receivers.wrapping_add(usize::from(is_given));
        }
        self.count(&reference);
        self.store.release(reference);
        receivers
    }

    /// Hands a message out for one client, whose session has it in flight then where it is acknowledged. Answers
    /// whether that could be.
    #[inline(always)]
    fn send(
        &mut self,
        key: SessionKey,
        reference: &MessageRef,
        bytes: usize,
        qos: QoS,
        direct: &mut Direct<'_, '_>,
        traffic: &mut Traffic,
    ) -> bool {
        let Some(entry) = self.sessions.get_mut(key) else {
            return false;
        };
        let Some(id) = entry.connection else {
            return false;
        };
        let Some(connection) = self.connections.get_mut(id) else {
            return false;
        };
        // It may rest and have something all the same: what came before this in one input has made way for that.
        if !connection.ready.rests() || !entry.session.outbound.is_idle() || bytes > BYTES_MAX {
            return false;
        }
        let link = connection.link.both_roles();
        let is_counted = qos != QoS::AtMostOnce;
        // [5:MQTT-4.9.0-2] Only with quota.
        if is_counted
            && (link.send_quota() == 0
                || entry.session.outbound.growth(qos) > 0
                || !entry.has_room(qos, bytes, 0, self.config))
        {
            return false;
        }
        let Some(how) = entry.session.outbound.next_delivery(qos) else {
            return false;
        };
        let packet = &mut self.store.packet;
        packet.clear();
        // Mostly it goes as it came, with another identifier.
        if link.version() != direct.version || !direct.publish.append_as(how, packet) {
            self.store.write(reference, how, link);
        }
        let packet = &self.store.packet;
        if !direct.at_once.hand_out(id, packet) {
            return false;
        }
        traffic.note_publish_sent(packet.len());
        if !is_counted {
            return true;
        }
        link.take_quota();
        self.uncounted = self.uncounted.wrapping_add(1);
        if connection.lend_sent(entry, how, reference) {
            return true;
        }
        let delivery = Delivery {
            message: reference.uncounted(),
            retain: false,
            is_replay: false,
            qos,
            group: None,
            subscription_ids: Ids::None,
        };
        let outbound = &mut entry.session.outbound;
        outbound.insert_sent(qos, delivery, 0, bytes);
        true
    }
}

/// Those who want a topic, if they are so many at most and get a message as it is.
#[inline(always)]
fn few_receivers<'i>(
    subscriptions: &'i SubscriptionIndex<SessionKey, Subscription>,
    name: TopicName<'_>,
    scratch: &mut MergeScratch<SessionKey>,
    most: usize,
) -> Option<&'i [(SessionKey, Subscription)]> {
    let few = subscriptions.few_receivers(name, scratch)?;
    // Whoever has more to say about what he gets is asked elsewhere.
    (few.len() <= most && { few.iter() }.all(|(_, it)| it.is_simple)).then_some(few)
}
