//! Where the messages of a session are: each moves in once and stays until it is done with, while
//! the lists that it stands in change.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use mqtt_codec::{PacketId, QoS};

use super::RequestKind;

/// Where a flow is kept; for the next one in the same place it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(NonZeroU32);

impl Place {
    fn index(self) -> usize {
        // The first index is 0.
        let number = usize::try_from(self.0.get()).unwrap_or(usize::MAX);
        number.wrapping_sub(1)
    }
}

/// One message on its way, or one request.
#[derive(Clone, Debug)]
pub(super) struct Flow<M> {
    /// What is sent; nothing for a request, and after PUBREC.
    pub(super) message: Option<M>,
    /// The owner's name for this flow; comes back with every outcome.
    pub(super) tag: u64,
    /// In the journal: nothing of this flow is sent before that much of it is stored.
    pub(super) position: u64,
    /// The bytes that the message counts for; the filters of a request.
    pub(super) size: usize,
    /// Tells which of two waiting messages came first.
    pub(super) sequence: u32,
    /// The connection that its PUBLISH was last sent on; 0 is none.
    pub(super) sent_on: u32,
    pub(super) id: Option<PacketId>,
    pub(super) qos: QoS,
    pub(super) state: State,
    pub(super) links: Links,
}

/// How far a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is kept in this place.
    Free,
    /// Never sent, and without an identifier.
    Waiting,
    /// Has an identifier, and waits for PUBACK or PUBREC.
    Published,
    /// Waits for PUBCOMP.
    Released,
    Request(RequestKind),
}

/// The neighbours in the list that a flow stands in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    previous: Option<Place>,
    next: Option<Place>,
}

/// The ends of a list threaded through [`Flows`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    head: Option<Place>,
    tail: Option<Place>,
    len: usize,
}

impl List {
    #[inline]
    pub(super) const fn head(&self) -> Option<Place> {
        self.head
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

#[derive(Clone, Debug)]
pub(super) struct Flows<M> {
    flows: Vec<Flow<M>>,
    /// The first free place; each names the next one.
    free: Option<Place>,
}

impl<M> Flows<M> {
    pub(super) const fn new() -> Self {
        Self {
            flows: Vec::new(),
            free: None,
        }
    }

    /// Keeps a flow. It stands in no list yet.
    #[inline(always)]
    pub(super) fn insert(&mut self, flow: Flow<M>) -> Option<Place> {
        if let Some(place) = self.free
            && let Some(free) = self.flows.get_mut(place.index())
        {
            self.free = free.links.next;
            *free = flow;
            return Some(place);
        }
        let number = u32::try_from(self.flows.len().saturating_add(1)).ok()?;
        let place = Place(NonZeroU32::new(number)?);
        self.flows.push(flow);
        Some(place)
    }

    /// Drops what is kept in a place. It must stand in no list any more.
    #[inline]
    pub(super) fn remove(&mut self, place: Place) {
        let free = self.free;
        if let Some(flow) = self.get_mut(place) {
            flow.message = None;
            flow.state = State::Free;
            flow.links.next = free;
            self.free = Some(place);
        }
    }

    /// Gives memory back when nothing is kept any more.
    pub(super) fn shrink(&mut self) {
        if self.flows.iter().all(|flow| flow.state == State::Free) {
            (self.flows, self.free) = (Vec::new(), None);
        }
    }

    #[inline]
    pub(super) fn get(&self, place: Place) -> Option<&Flow<M>> {
        self.flows.get(place.index())
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Flow<M>> {
        self.flows.get_mut(place.index())
    }

    /// The one behind `place` in its list.
    #[inline]
    pub(super) fn next(&self, place: Place) -> Option<Place> {
        self.get(place)?.links.next
    }

    /// Puts a flow at the end of a list.
    #[inline]
    pub(super) fn push_back(&mut self, list: &mut List, place: Place) {
        let tail = list.tail;
        if let Some(flow) = self.get_mut(place) {
            flow.links = Links {
                previous: tail,
                next: None,
            };
        }
        match tail.and_then(|tail| self.get_mut(tail)) {
            Some(last) => last.links.next = Some(place),
            None => list.head = Some(place),
        }
        list.tail = Some(place);
        list.len = list.len.saturating_add(1);
    }

    /// Takes a flow out of the list it stands in.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, place: Place) {
        let Some(flow) = self.get_mut(place) else {
            return;
        };
        let Links { previous, next } = core::mem::take(&mut flow.links);
        match previous.and_then(|previous| self.get_mut(previous)) {
            Some(flow) => flow.links.next = next,
            None => list.head = next,
        }
        match next.and_then(|next| self.get_mut(next)) {
            Some(flow) => flow.links.previous = previous,
            None => list.tail = previous,
        }
        list.len = list.len.saturating_sub(1);
    }

    /// Takes the first flow out of its list.
    #[inline]
    pub(super) fn unlink_front(&mut self, list: &mut List, place: Place) {
        list.head = self.next(place);
        match list.head.and_then(|head| self.get_mut(head)) {
            Some(flow) => flow.links.previous = None,
            None => list.tail = None,
        }
        list.len = list.len.saturating_sub(1);
    }

    /// What stands in a list, in its order.
    pub(super) fn listed(&self, list: &List) -> impl Iterator<Item = &Flow<M>> {
        let mut next = list.head;
        core::iter::from_fn(move || {
            let flow = self.get(next?)?;
            next = flow.links.next;
            Some(flow)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn flow(tag: u64) -> Flow<char> {
        Flow {
            message: Some('m'),
            tag,
            position: 0,
            size: 0,
            sequence: 0,
            sent_on: 0,
            id: None,
            qos: QoS::AtLeastOnce,
            state: State::Waiting,
            links: Links::default(),
        }
    }

    fn tags(flows: &Flows<char>, list: &List) -> Vec<u64> {
        flows.listed(list).map(|flow| flow.tag).collect()
    }

    #[test]
    fn lists_keep_the_order_and_survive_removal_anywhere() {
        let (mut flows, mut list) = (Flows::new(), List::default());
        let all: Vec<_> = (0..5).filter_map(|tag| flows.insert(flow(tag))).collect();
        for place in &all {
            flows.push_back(&mut list, *place);
        }
        for (removed, rest) in [
            (2, vec![0, 1, 3, 4]),
            (0, vec![1, 3, 4]),
            (4, vec![1, 3]),
            (1, vec![3]),
            (3, vec![]),
        ] {
            flows.unlink(&mut list, all[removed]);
            flows.remove(all[removed]);
            assert_eq!(tags(&flows, &list), rest);
            assert_eq!(list.len(), rest.len());
        }
    }

    #[test]
    fn places_are_used_again_and_given_back() {
        let mut flows = Flows::new();
        let first = flows.insert(flow(1)).unwrap();
        let second = flows.insert(flow(2)).unwrap();
        flows.remove(first);
        assert_eq!(flows.insert(flow(3)), Some(first));
        flows.remove(second);
        flows.shrink();
        assert_eq!(flows.get(first).unwrap().tag, 3, "something is kept");
        flows.remove(first);
        flows.shrink();
        assert!(flows.get(first).is_none());
        assert!(flows.insert(flow(4)).is_some());
    }
}
