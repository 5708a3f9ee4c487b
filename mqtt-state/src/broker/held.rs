//! What a client sent while a decision about something before was missing: it waits its turn, so that
//! effects happen in the order of arrival.

mod carry_out;
mod hold;
mod left;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use mqtt_codec::{
    Delivery, DisconnectReason, Message, PacketId, SubscribeReason, SubscriptionId,
    SubscriptionOptions,
};

use super::decision::{PublishAnswer, PublishDecision, SubscribeAnswer, SubscribeDecision};
use crate::Timestamp;

pub(super) use left::Left;

/// The packets of one connection that wait, in their order. Mostly there are none.
#[derive(Debug, Default)]
pub(super) struct Held(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<Packet>,
    /// Of all of them.
    bytes: usize,
    /// Questions about them without an answer.
    open: usize,
    /// Filters at the end of the last packet that nobody was asked about yet, as there are as many
    /// questions as may be. No packet comes behind them, for no input is taken meanwhile.
    unasked: usize,
}

#[derive(Debug)]
enum Packet {
    Publish {
        delivery: Delivery,
        message: Message,
        /// When it came: its expiry counts from then.
        at: Timestamp,
        decision: Option<PublishDecision>,
        answer: Option<PublishAnswer>,
    },
    Subscribe {
        id: PacketId,
        subscription_id: Option<SubscriptionId>,
        filters: Vec<Filter>,
    },
    Unsubscribe {
        id: PacketId,
        filters: Vec<Box<str>>,
    },
    Disconnect(Goodbye),
}

/// What a client says in its DISCONNECT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goodbye {
    pub(super) reason: DisconnectReason,
    pub(super) session_expiry_secs: Option<u32>,
}

#[derive(Debug)]
struct Filter {
    filter: Box<str>,
    options: SubscriptionOptions,
    /// With neither of these nobody was asked yet.
    decision: Option<SubscribeDecision>,
    answer: Option<SubscribeAnswer>,
}

impl Filter {
    fn is_unasked(&self) -> bool {
        self.decision.is_none() && self.answer.is_none()
    }
}

impl Packet {
    /// Bytes of it and of what it holds.
    fn len_held(&self) -> usize {
        let more = match self {
            Self::Publish { message, .. } => message.len_held(),
            Self::Subscribe { filters, .. } => sum(filters
                .iter()
                .map(|it| it.filter.len().saturating_add(size_of::<Filter>()))),
            Self::Unsubscribe { filters, .. } => sum(filters
                .iter()
                .map(|it| it.len().saturating_add(size_of::<Box<str>>()))),
            Self::Disconnect(_) => 0,
        };
        more.saturating_add(size_of::<Self>())
    }

    /// Whether all answers are there.
    fn is_decided(&self) -> bool {
        match self {
            Self::Publish { answer, .. } => answer.is_some(),
            Self::Subscribe { filters, .. } => filters.iter().all(|it| it.answer.is_some()),
            Self::Unsubscribe { .. } | Self::Disconnect(_) => true,
        }
    }
}

impl Held {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.packets.len())
    }

    fn push(&mut self, packet: Packet) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes = waiting.bytes.saturating_add(packet.len_held());
        match &packet {
            Packet::Publish { decision, .. } => {
                waiting.open = waiting.open.saturating_add(decision.is_some().into());
            }
            Packet::Subscribe { filters, .. } => {
                waiting.unasked = filters.iter().filter(|it| it.is_unasked()).count();
            }
            Packet::Unsubscribe { .. } | Packet::Disconnect(_) => {}
        }
        waiting.packets.push_back(packet);
    }

    /// Whether as many questions as may be have no answer.
    pub(super) fn asks_enough(&self, open_max: usize) -> bool {
        { self.0.as_ref() }.is_some_and(|waiting| waiting.open >= open_max.max(1))
    }

    /// The next filter to ask about.
    fn unasked(&mut self) -> Option<&mut Filter> {
        let waiting = self.0.as_mut()?;
        match waiting.packets.back_mut()? {
            Packet::Subscribe { filters, .. } => {
                let at = filters.len().checked_sub(waiting.unasked)?;
                filters.get_mut(at)
            }
            Packet::Publish { .. } | Packet::Unsubscribe { .. } | Packet::Disconnect(_) => None,
        }
    }

    /// That filter was asked about, or there is no room for the question.
    fn note_asked(&mut self, asked: Option<SubscribeDecision>) {
        if let Some(filter) = self.unasked() {
            filter.decision = asked;
            if asked.is_none() {
                filter.answer = Some(SubscribeAnswer::Refuse(SubscribeReason::QuotaExceeded));
            }
        }
        if let Some(waiting) = &mut self.0 {
            waiting.open = waiting.open.saturating_add(asked.is_some().into());
            waiting.unasked = waiting.unasked.saturating_sub(1);
        }
    }

    fn answer_publish(&mut self, wanted: PublishDecision, given: PublishAnswer) {
        self.note_answered();
        for packet in self.packets_mut() {
            if let Packet::Publish {
                decision, answer, ..
            } = packet
                && *decision == Some(wanted)
            {
                *answer = Some(given);
                return;
            }
        }
    }

    fn answer_subscribe(&mut self, wanted: SubscribeDecision, given: SubscribeAnswer) {
        self.note_answered();
        let filters = self.packets_mut().filter_map(|packet| match packet {
            Packet::Subscribe { filters, .. } => Some(filters),
            Packet::Publish { .. } | Packet::Unsubscribe { .. } | Packet::Disconnect(_) => None,
        });
        let mut filters = filters.flatten();
        if let Some(filter) = filters.find(|filter| filter.decision == Some(wanted)) {
            filter.answer = Some(given);
        }
    }

    fn note_answered(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.open = waiting.open.saturating_sub(1);
        }
    }

    /// Bytes of the packets that wait.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// What the client has said at last, if that waits: nothing comes behind it.
    pub(super) fn goodbye(&self) -> Option<Goodbye> {
        match self.0.as_ref()?.packets.back()? {
            Packet::Disconnect(goodbye) => Some(*goodbye),
            Packet::Publish { .. } | Packet::Subscribe { .. } | Packet::Unsubscribe { .. } => None,
        }
    }

    fn packets(&self) -> impl Iterator<Item = &Packet> {
        { self.0.iter() }.flat_map(|waiting| &waiting.packets)
    }

    fn packets_mut(&mut self) -> impl Iterator<Item = &mut Packet> {
        { self.0.iter_mut() }.flat_map(|waiting| &mut waiting.packets)
    }

    fn take_decided(&mut self) -> Option<Packet> {
        let waiting = self.0.as_mut()?;
        if !waiting.packets.front().is_some_and(Packet::is_decided) {
            return None;
        }
        let packet = waiting.packets.pop_front()?;
        waiting.bytes = waiting.bytes.saturating_sub(packet.len_held());
        if waiting.packets.is_empty() {
            self.0 = None;
        }
        Some(packet)
    }
}

fn sum(bytes: impl Iterator<Item = usize>) -> usize {
    bytes.fold(0, usize::saturating_add)
}
