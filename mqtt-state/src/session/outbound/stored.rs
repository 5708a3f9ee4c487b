//! What is stored of the sending half of a session, and put back.

use mqtt_codec::{PacketId, QoS};

use super::{Entry, Held, Outbound};

impl<M> Outbound<M> {
    /// Messages that were sent and are not acknowledged, in the order first sent.
    pub(crate) fn publishes(&self) -> impl Iterator<Item = (PacketId, QoS, &Held<M>)> {
        self.listed(self.publishes.head())
            .filter_map(|(id, entry)| match entry {
                Entry::Publish { qos, held } => Some((id, *qos, held)),
                Entry::Release { .. } | Entry::Request { .. } => None,
            })
    }

    /// Messages whose PUBCOMP is missing, with their tags, in the order of the PUBRECs.
    pub(crate) fn releases(&self) -> impl Iterator<Item = (PacketId, u64)> {
        self.listed(self.releases.head())
            .filter_map(|(id, entry)| match entry {
                Entry::Release { tag } => Some((id, *tag)),
                Entry::Publish { .. } | Entry::Request { .. } => None,
            })
    }

    fn listed(&self, first: Option<PacketId>) -> impl Iterator<Item = (PacketId, &Entry<M>)> {
        let mut next = first;
        core::iter::from_fn(move || {
            let id = next?;
            next = self.ids.next_in_list(id);
            Some((id, self.ids.get(id)?))
        })
    }

    /// Messages that were never sent, in their order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Held<M>> {
        let (mut some, mut others) = (self.waiting.iter(), self.waiting_qos0.iter());
        let (mut first, mut other) = (some.next(), others.next());
        core::iter::from_fn(move || {
            let takes_other = match (first, other) {
                (Some(first), Some(other)) => other.sequence < first.sequence,
                (first, _) => first.is_none(),
            };
            let taken = if takes_other {
                core::mem::replace(&mut other, others.next())
            } else {
                core::mem::replace(&mut first, some.next())
            };
            taken.map(|waiting| &waiting.held)
        })
    }

    /// Puts a message back that was in flight; `false` when its identifier is in use.
    pub(crate) fn restore_publish(&mut self, id: PacketId, qos: QoS, held: Held<M>) -> bool {
        let is_new = self.ids.insert_at(id, Entry::Publish { qos, held });
        if is_new {
            self.ids.push_back(&mut self.publishes, id);
        }
        is_new
    }

    /// Puts back that PUBCOMP is missing; `false` when the identifier is in use.
    pub(crate) fn restore_release(&mut self, id: PacketId, tag: u64) -> bool {
        let is_new = self.ids.insert_at(id, Entry::Release { tag });
        if is_new {
            self.ids.push_back(&mut self.releases, id);
        }
        is_new
    }
}
