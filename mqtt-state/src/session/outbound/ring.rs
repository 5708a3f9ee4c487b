//! The queue of QoS 0 messages: each moves in once, and is dropped where it is.

use alloc::vec::Vec;

/// A queue in a ring of places that are used again: none, or a power of two.
#[derive(Clone, Debug)]
pub(super) struct Ring<M> {
    places: Vec<Unnumbered<M>>,
    /// The first that is kept, and how many are.
    head: usize,
    len: usize,
}

/// A QoS 0 message that waits.
#[derive(Clone, Debug)]
pub(super) struct Unnumbered<M> {
    /// Nothing in a place where nothing is kept.
    pub(super) message: Option<M>,
    /// The owner's name for it.
    pub(super) tag: u64,
    /// In the journal: it is not sent before that much of it is stored.
    pub(super) position: u64,
    /// The bytes that the message counts for.
    pub(super) size: super::Size,
    /// Tells which of two waiting messages came first.
    pub(super) sequence: u32,
}

impl<M> Unnumbered<M> {
    fn nothing() -> Self {
        Self {
            message: None,
            tag: 0,
            position: 0,
            size: super::Size::default(),
            sequence: 0,
        }
    }
}

impl<M> Ring<M> {
    pub(super) const fn new() -> Self {
        Self {
            places: Vec::new(),
            head: 0,
            len: 0,
        }
    }

    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// How many it can keep before it grows.
    #[inline]
    pub(super) const fn capacity(&self) -> usize {
        self.places.capacity()
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts one more at the end.
    #[inline(always)]
    pub(super) fn push_back(&mut self, waiting: Unnumbered<M>) {
        if self.len == self.places.len() {
            self.grow();
        }
        let place = self.place(self.len);
        self.len = self.len.wrapping_add(1);
        if let Some(place) = self.places.get_mut(place) {
            // Nothing is kept there, so there is nothing to drop.
            core::mem::forget(core::mem::replace(place, waiting));
        }
    }

    #[inline(always)]
    pub(super) fn front(&self) -> Option<&Unnumbered<M>> {
        if self.len == 0 {
            return None;
        }
        self.places.get(self.head)
    }

    #[inline(always)]
    pub(super) fn front_mut(&mut self) -> Option<&mut Unnumbered<M>> {
        if self.len == 0 {
            return None;
        }
        self.places.get_mut(self.head)
    }

    /// Takes the first one out, or drops what `done` leaves of it.
    #[inline(always)]
    pub(super) fn pop_front<T>(&mut self, done: impl FnOnce(&mut Unnumbered<M>) -> T) -> Option<T> {
        let first = self.front_mut()?;
        let answer = done(first);
        first.message = None;
        self.head = self.place(1);
        self.len = self.len.wrapping_sub(1);
        Some(answer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Unnumbered<M>> {
        let (wrapped, first) = self.places.split_at_checked(self.head).unwrap_or_default();
        first.iter().chain(wrapped).take(self.len)
    }

    /// The place so many behind the first one.
    #[inline(always)]
    fn place(&self, behind: usize) -> usize {
        self.head.wrapping_add(behind) & self.places.len().wrapping_sub(1)
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        self.places.rotate_left(self.head);
        self.head = 0;
        let len = self.len.saturating_mul(2).max(4);
        self.places.resize_with(len, Unnumbered::nothing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_queue_whatever_its_places() {
        let (mut ring, mut expected) = (Ring::new(), alloc::collections::VecDeque::new());
        for number in 0..200_u64 {
            ring.push_back(Unnumbered {
                tag: number,
                message: Some('m'),
                ..Unnumbered::nothing()
            });
            expected.push_back(number);
            // Three come for each two that go, so that it grows when it begins anywhere.
            if number % 3 > 0 {
                let gone = ring.pop_front(|first| (first.tag, first.message));
                assert_eq!(gone, expected.pop_front().map(|tag| (tag, Some('m'))));
            }
            let tags: Vec<_> = ring.iter().map(|waiting| waiting.tag).collect();
            assert_eq!(expected, tags, "after {number}");
            assert_eq!(ring.front().map(|first| first.tag), tags.first().copied());
            let kept = ring.places.iter().filter(|place| place.message.is_some());
            assert_eq!((kept.count(), ring.len()), (tags.len(), tags.len()));
        }
        while ring.pop_front(|_| {}).is_some() {}
        assert!(ring.is_empty() && ring.front().is_none());
    }
}
