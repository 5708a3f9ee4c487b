//! What both indexes are made of.
//!
//! A [`tree`] of levels, whose nodes live in one [`slab`] and name each other by their place in it:
//! nothing recurses, not even when an index is dropped. Each level is kept once ([`levels`]); the
//! edges of the tree are one table of numbers ([`ids`]) for all nodes, so a node with a million
//! children costs as much to pass as one with two.
//!
//! Everything is cut into pieces of some hundred entries that are shared until they are changed
//! ([`cow`]): a copy for readers costs a counter for each piece, growing moves one piece, and an
//! index that loses its entries gives its pieces back.

mod cow;
mod hash;
mod ids;
mod levels;
mod slab;
mod sorted;
mod tree;

pub(crate) use cow::{Piece, Shared, Unshare, unshare_by_copy, unshare_only_owned};
pub(crate) use hash::{Seed, below};
pub(crate) use slab::Id;
pub(crate) use sorted::{From, Slices, Sorted};
pub(crate) use tree::{Node, Tree, Wanted};
