//! Where the messages of a session are: each moves in once and stays until it is done with, while
//! the lists that it stands in change.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use mqtt_codec::{PacketId, QoS};

use super::RequestKind;

/// Where a flow is kept; for the next one in the same place it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(NonZeroU32);

impl Place {
    /// No place here: before the last one memory ends.
    pub(super) const ELSEWHERE: Self = Self(NonZeroU32::MAX);

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
    pub(super) size: Size,
    /// Tells which of two waiting messages came first.
    pub(super) sequence: u32,
    /// The connection that its PUBLISH was last sent on; 0 is none.
    pub(super) sent_on: u32,
    pub(super) id: Option<PacketId>,
    pub(super) qos: QoS,
    pub(super) state: State,
    pub(super) links: Links,
}

impl<M> Flow<M> {
    /// A message that was sent, last on the connection with this number, and waits for PUBACK or PUBREC.
    #[inline(always)]
    pub(super) fn published(
        (id, qos): (Option<PacketId>, QoS),
        sent_on: u32,
        message: M,
        tag: u64,
        bytes: usize,
    ) -> Self {
        Self {
            message: Some(message),
            tag,
            position: 0,
            size: Size::new(bytes),
            sequence: 0,
            sent_on,
            id,
            qos,
            state: State::Published,
            links: Links::default(),
        }
    }

    /// It has an identifier from here on.
    #[inline]
    pub(super) fn start(&mut self, id: PacketId) {
        self.id = Some(id);
        self.state = State::Published;
    }

    #[inline]
    fn clear(&mut self, next_free: Option<Place>) {
        self.message = None;
        self.state = State::Free;
        self.links.next = next_free;
    }
}

/// Bytes of a message, of which a packet has less than 2^28; or some other small count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size(u32);

impl Size {
    #[inline]
    pub(super) fn new(size: usize) -> Self {
        Self(u32::try_from(size).unwrap_or(u32::MAX))
    }

    #[inline]
    pub(super) fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
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
    /// Waits for it as well, after it was given up, of which its owner has heard.
    Withdrawn,
    Request(RequestKind),
}

/// The neighbours in the list that a flow stands in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    previous: Option<Place>,
    pub(super) next: Option<Place>,
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
        self.insert_new(flow)
    }

    #[inline(never)]
    fn insert_new(&mut self, flow: Flow<M>) -> Option<Place> {
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
            flow.clear(free);
            self.free = Some(place);
        }
    }

    pub(super) const fn places_len(&self) -> usize {
        self.flows.capacity()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.places_len().saturating_mul(size_of::<Flow<M>>())
    }

    /// Whether there is a place that something was in before.
    #[inline]
    pub(super) const fn has_free(&self) -> bool {
        self.free.is_some()
    }

    /// Bytes by which one more flow makes it grow.
    #[inline]
    pub(super) fn growth(&self) -> usize {
        if self.free.is_some() || self.flows.len() < self.flows.capacity() {
            return 0;
        }
        self.flows.len().max(4).saturating_mul(size_of::<Flow<M>>())
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

    /// Puts a flow into a list, in front of another one that stands there.
    pub(super) fn insert_before(&mut self, list: &mut List, place: Place, next: Place) {
        let previous = self.get(next).and_then(|flow| flow.links.previous);
        if let Some(flow) = self.get_mut(place) {
            flow.links = Links {
                previous,
                next: Some(next),
            };
        }
        match previous.and_then(|previous| self.get_mut(previous)) {
            Some(flow) => flow.links.next = Some(place),
            None => list.head = Some(place),
        }
        if let Some(flow) = self.get_mut(next) {
            flow.links.previous = Some(place);
        }
        list.len = list.len.saturating_add(1);
    }

    /// Takes a flow out of the list it stands in.
    #[inline]
    pub(super) fn unlink(&mut self, list: &mut List, place: Place) {
        if let Some(flow) = self.get_mut(place) {
            let links = core::mem::take(&mut flow.links);
            self.join(list, links);
        }
    }

    /// Takes a flow out of the list it stands in, and drops what is kept there.
    #[inline]
    pub(super) fn remove_from(&mut self, list: &mut List, place: Place) {
        let free = self.free;
        if let Some(flow) = self.get_mut(place) {
            let links = flow.links;
            flow.clear(free);
            self.free = Some(place);
            self.join(list, links);
        }
    }

    /// The neighbours of one that left a list are each other's.
    #[inline]
    fn join(&mut self, list: &mut List, Links { previous, next }: Links) {
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
            size: Size::default(),
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
    fn one_can_stand_in_front_of_another() {
        let (mut flows, mut list) = (Flows::new(), List::default());
        let all: Vec<_> = (0..4).filter_map(|tag| flows.insert(flow(tag))).collect();
        flows.push_back(&mut list, all[3]);
        flows.insert_before(&mut list, all[0], all[3]);
        flows.insert_before(&mut list, all[2], all[3]);
        flows.insert_before(&mut list, all[1], all[2]);
        assert_eq!((tags(&flows, &list), list.len()), (vec![0, 1, 2, 3], 4));
        for place in [all[1], all[3], all[0], all[2]] {
            flows.remove_from(&mut list, place);
        }
        assert_eq!((tags(&flows, &list), list.len()), (vec![], 0));
        flows.push_back(&mut list, all[0]);
        assert_eq!(list.head(), Some(all[0]), "an empty list begins anew");
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
