//! What is stored of the sending half of a session, and put back.

use mqtt_codec::{PacketId, QoS};

use super::Outbound;
use super::flows::{Flow, Links, Size, State};
use super::ring::Unnumbered;

/// One message, as it is stored.
#[derive(Debug)]
pub(crate) struct Kept<'s, M> {
    pub(crate) tag: u64,
    pub(crate) message: &'s M,
}

/// A message whose PUBCOMP is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub(crate) id: PacketId,
    pub(crate) tag: u64,
    /// It had been given up before: its owner has heard that.
    pub(crate) was_told: bool,
}

impl<'s, M> Kept<'s, M> {
    fn of(flow: &'s Flow<M>) -> Option<Self> {
        Some(Self {
            tag: flow.tag,
            message: flow.message.as_ref()?,
        })
    }

    fn of_qos0(waiting: &'s Unnumbered<M>) -> Option<Self> {
        Some(Self {
            tag: waiting.tag,
            message: waiting.message.as_ref()?,
        })
    }
}

impl<M> Outbound<M> {
    /// Messages that were sent and are not acknowledged, in the order first sent.
    pub(crate) fn publishes(&self) -> impl Iterator<Item = (PacketId, Kept<'_, M>)> {
        let flows = self.published();
        flows.filter_map(|flow| Some((flow.id?, Kept::of(flow)?)))
    }

    /// Messages whose PUBCOMP is missing, in the order of the PUBRECs, or of when they were given up.
    pub(crate) fn releases(&self) -> impl Iterator<Item = Release> {
        let flows = self.flows.listed(&self.releases);
        flows.filter_map(|flow| {
            Some(Release {
                id: flow.id?,
                tag: flow.tag,
                was_told: flow.state == State::Withdrawn,
            })
        })
    }

    /// The tags of those of them whose outcome has not been told.
    pub(crate) fn open_releases(&self) -> impl Iterator<Item = u64> {
        let open = self.releases().filter(|release| !release.was_told);
        open.map(|release| release.tag)
    }

    /// Messages that were never sent, in their order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Kept<'_, M>> {
        let (mut counted, mut qos0) = (self.waiting, self.qos0.iter().peekable());
        core::iter::from_fn(move || {
            let other = qos0.peek();
            let qos0_is_first = match (counted, other) {
                (Some(place), Some(other)) => self.is_before(other.sequence, place),
                (counted, _) => counted.is_none(),
            };
            if qos0_is_first {
                return qos0.next().and_then(Kept::of_qos0);
            }
            let flow = self.flows.get(counted?)?;
            counted = flow.links.next;
            Kept::of(flow)
        })
    }

    /// Whether this identifier is in use.
    pub(crate) fn holds(&self, id: PacketId) -> bool {
        self.ids.get(id).is_some()
    }

    /// Puts a message back that was in flight; `false` when its identifier is in use.
    pub(crate) fn restore_publish(
        &mut self,
        id: PacketId,
        qos: QoS,
        message: M,
        tag: u64,
        bytes: usize,
    ) -> bool {
        self.messages_bytes = self.messages_bytes.saturating_add(bytes);
        // On a connection that is none of this program's.
        let sent_on = self.connection;
        self.restore(Flow::published(
            (Some(id), qos),
            sent_on,
            message,
            tag,
            bytes,
        ))
    }

    /// Puts back that PUBCOMP is missing; `false` when the identifier is in use.
    pub(crate) fn restore_release(&mut self, Release { id, tag, was_told }: Release) -> bool {
        self.restore(Flow {
            message: None,
            tag,
            position: 0,
            size: Size::default(),
            sequence: 0,
            sent_on: self.connection,
            id: Some(id),
            qos: QoS::ExactlyOnce,
            state: match was_told {
                true => State::Withdrawn,
                false => State::Released,
            },
            links: Links::default(),
        })
    }

    /// Everything is back: other identifiers can be given out.
    pub(crate) fn restored(&mut self) {
        self.ids.rest_others();
    }

    fn restore(&mut self, flow: Flow<M>) -> bool {
        let (id, state) = (flow.id, flow.state);
        let (Some(id), Some(place)) = (id, self.flows.insert(flow)) else {
            return false;
        };
        if !self.ids.insert_at(id, place) {
            self.flows.remove(place);
            return false;
        }
        match (state, self.waiting) {
            (State::Released | State::Withdrawn, _) => {
                self.flows.push_back(&mut self.releases, place);
            }
            (_, None) => self.flows.push_back(&mut self.publishes, place),
            (_, Some(next)) => self.flows.insert_before(&mut self.publishes, place, next),
        }
        true
    }
}
