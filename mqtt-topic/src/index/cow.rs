//! Pieces that are shared until they are changed.

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
pub(crate) type Piece<T> = alloc::vec::Vec<super::slab::Slot<T>>;

/// Copies a piece that somebody else holds too.
#[expect(clippy::unnecessary_wraps, reason = "one way to unshare among others")]
pub(crate) fn unshare_by_copy<T: Clone>(piece: &mut Shared<Piece<T>>) -> Option<&mut Piece<T>> {
    Some(Shared::make_mut(piece))
}

/// For entries that cannot be copied, and so are never shared.
pub(crate) fn unshare_only_owned<T>(piece: &mut Shared<Piece<T>>) -> Option<&mut Piece<T>> {
    Shared::get_mut(piece)
}
