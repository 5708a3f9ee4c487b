//! Pieces that are shared until they are changed.

use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// A counted reference: between threads where the target can count between threads.
#[cfg(target_has_atomic = "ptr")]
pub(crate) use alloc::sync::Arc as Shared;

#[cfg(not(target_has_atomic = "ptr"))]
pub(crate) use alloc::rc::Rc as Shared;

/// How a piece of these becomes writable.
pub(crate) trait Unshare: Sized {
    /// The piece, for this owner alone; `None` if it cannot be had so.
    fn unshare(piece: &mut Shared<Piece<Self>>) -> Option<&mut Piece<Self>>;
}

/// Some hundred entries at most.
pub(crate) type Piece<T> = Run<super::slab::Slot<T>>;

/// Entries of one piece. A copy has as much room as the original: what is counted of one piece holds
/// for whichever of its copies is kept.
#[derive(Debug)]
pub(crate) struct Run<T>(Vec<T>);

impl<T> Run<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<T: Clone> Clone for Run<T> {
    fn clone(&self) -> Self {
        let mut copy = Vec::with_capacity(self.0.capacity());
        copy.extend_from_slice(&self.0);
        Self(copy)
    }
}

impl<T> From<Vec<T>> for Run<T> {
    fn from(entries: Vec<T>) -> Self {
        Self(entries)
    }
}

impl<T> Deref for Run<T> {
    type Target = Vec<T>;

    #[inline(always)]
    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T> DerefMut for Run<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

/// Copies a piece that somebody else holds too.
#[expect(clippy::unnecessary_wraps, reason = "one way to unshare among others")]
pub(crate) fn unshare_by_copy<T: Clone>(piece: &mut Shared<Piece<T>>) -> Option<&mut Piece<T>> {
    Some(Shared::make_mut(piece))
}

/// For entries that cannot be copied, and so are never shared.
pub(crate) fn unshare_only_owned<T>(piece: &mut Shared<Piece<T>>) -> Option<&mut Piece<T>> {
    Shared::get_mut(piece)
}
