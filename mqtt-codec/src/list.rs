//! Lists in packets: validated once, iterated lazily, borrowed from the packet or from the caller.

use core::fmt;
use core::marker::PhantomData;

/// A list of a packet, such as its user properties or its filters.
///
/// It borrows either the bytes of a decoded packet or a slice of the caller's, and looks the same
/// in both cases.
pub struct List<'a, T> {
    source: Source<'a, T>,
}

enum Source<'a, T> {
    Empty,
    /// Bytes that were checked when the packet was decoded: the entries, one behind the other.
    Run(&'a [u8]),
    /// The same, with other properties between them.
    Mixed(&'a [u8]),
    Slice(&'a [T]),
}

/// Something that stands in lists. Sealed: the packets' own entries are these.
pub trait Item<'a>: sealed::Sealed + Copy + 'a {
    #[doc(hidden)]
    fn next(rest: &mut &'a [u8]) -> Option<Self>;
}

#[expect(unnameable_types, reason = "that is what seals the trait")]
pub(crate) mod sealed {
    /// Keeps [`Item`](super::Item) to this crate.
    pub trait Sealed {}
}

impl<'a, T: Item<'a>> List<'a, T> {
    pub(crate) const fn from_run(bytes: &'a [u8]) -> Self {
        Self {
            source: Source::Run(bytes),
        }
    }

    pub(crate) const fn from_mixed(bytes: &'a [u8]) -> Self {
        Self {
            source: Source::Mixed(bytes),
        }
    }

    pub(crate) const fn from_slice(items: &'a [T]) -> Self {
        let source = match items {
            [] => Source::Empty,
            _ => Source::Slice(items),
        };
        Self { source }
    }

    /// The entries, in their order.
    #[must_use]
    pub const fn iter(&self) -> ListIter<'a, T> {
        match self.source {
            Source::Empty => ListIter {
                rest: &[],
                items: &[],
                item: PhantomData,
            },
            Source::Run(rest) | Source::Mixed(rest) => ListIter {
                rest,
                items: &[],
                item: PhantomData,
            },
            Source::Slice(items) => ListIter {
                rest: &[],
                items,
                item: PhantomData,
            },
        }
    }

    /// The entries as they are written, if they are there in one piece.
    #[inline]
    pub(crate) const fn as_run(&self) -> Option<&'a [u8]> {
        match self.source {
            Source::Run(bytes) => Some(bytes),
            Source::Mixed(_) => None,
            Source::Empty => Some(&[]),
            Source::Slice(_) => None,
        }
    }

    /// Whether nothing was put in: known without a look at any bytes.
    #[inline]
    pub(crate) const fn is_unset(&self) -> bool {
        matches!(self.source, Source::Empty)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// How many entries there are. Counts them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<T> Clone for Source<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Source<'_, T> {}

impl<'a, T: Item<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Item<'a> + Eq> Eq for List<'a, T> {}

impl<'a, T: Item<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Item<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Item<'a>> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

/// The entries of a [`List`].
#[derive(Clone)]
pub struct ListIter<'a, T> {
    rest: &'a [u8],
    items: &'a [T],
    item: PhantomData<T>,
}

impl<'a, T: Item<'a>> Iterator for ListIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if let Some((first, items)) = self.items.split_first() {
            self.items = items;
            return Some(*first);
        }
        T::next(&mut self.rest)
    }
}

impl<T> fmt::Debug for ListIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListIter").finish_non_exhaustive()
    }
}

/// Takes a length of two bytes and what it announces. For bytes that were checked before.
pub(crate) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<2>()?;
    let (taken, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
    *rest = behind;
    Some(taken)
}

/// Takes one byte. For bytes that were checked before.
pub(crate) fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SubscriptionId;

    /// Written in one go then, and not entry by entry.
    #[test]
    fn what_was_read_in_one_piece_is_written_in_one() {
        let run: List<'_, SubscriptionId> = List::from_run(&[1, 2]);
        assert_eq!(run.as_run(), Some(&[1, 2][..]));
        assert_eq!(List::<SubscriptionId>::default().as_run(), Some(&[][..]));
    }
}
