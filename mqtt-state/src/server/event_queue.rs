//! The events that wait for the owner of a connection.

use alloc::collections::VecDeque;

use mqtt_codec::{PacketId, ReasonCode};

use super::{Config, DeliveryToken, DropCause, Event};
use crate::link::{Outgoing, OutgoingIds, Settled, Store};
use crate::session::OwnMessage;
use crate::{Diagnostics, Traffic};

/// The queue of events. It also hears from the link what becomes of deliveries that no
/// acknowledgement will tell about.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    /// Of the messages and texts in `queue`.
    bytes: usize,
    pub(super) traffic: Traffic,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        self.bytes = self.bytes.saturating_add(event.len_held());
        self.queue.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(event.len_held());
        Some(event)
    }

    /// Whether as much waits as may.
    pub(super) fn is_full(&self, config: &Config) -> bool {
        self.queue.len() >= config.events_max.max(1) || self.bytes >= config.events_bytes_max.max(1)
    }
}

impl Store for Events {
    type Handle = OwnMessage;

    fn outgoing<'s>(&'s self, handle: &'s OwnMessage, _: bool) -> Option<Outgoing<'s>> {
        Some(Outgoing {
            message: &handle.message,
            retain: handle.message.retain(),
            subscription_ids: OutgoingIds::OfMessage,
            expires_at: handle.expires_at.at(),
        })
    }

    fn note_control(&mut self, packets: u64) {
        self.traffic.note_packets(packets);
    }

    fn note_publish(&mut self, repeated: bool) {
        self.traffic.note_publish(repeated);
    }

    fn sent(&mut self, tag: u64, _dropped: &mut Option<OwnMessage>) {
        self.push(Event::Delivered {
            token: DeliveryToken(tag),
            reason: ReasonCode::Success,
            diagnostics: Diagnostics::default(),
        });
    }

    fn settle(
        &mut self,
        tag: u64,
        _held: Option<PacketId>,
        message: &mut Option<OwnMessage>,
        outcome: Settled,
    ) -> u64 {
        let token = DeliveryToken(tag);
        let cause = match outcome {
            Settled::Expired => DropCause::Expired,
            // A client states no highest QoS and takes RETAIN, so the other two are none here.
            Settled::TooLarge
            | Settled::QoSNotSupported
            | Settled::RetainNotSupported
            | Settled::Gone => DropCause::TooLarge,
        };
        if let Some(OwnMessage { message, .. }) = message.take() {
            self.push(Event::DeliveryDropped {
                token,
                message,
                cause,
            });
        }
        0
    }

    fn release(&mut self, _dropped: &mut Option<OwnMessage>) {}
}
