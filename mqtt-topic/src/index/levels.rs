//! Texts of levels, each kept once.

use alloc::boxed::Box;

use crate::scan;

use super::cow::{Piece, Shared, Unshare, unshare_by_copy};
use super::hash::Seed;
use super::ids::IdTable;
use super::slab::{Id, Slab};

#[derive(Clone, Debug)]
struct Level {
    text: Box<[u8]>,
    /// Nodes that have it.
    uses: u32,
}

impl Unshare for Level {
    fn unshare(piece: &mut Shared<Piece<Self>>) -> Option<&mut Piece<Self>> {
        unshare_by_copy(piece)
    }
}

/// The texts of levels, by number and by text.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    slab: Slab<Level>,
    table: IdTable,
    text_bytes: usize,
}

impl Levels {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::new(),
            table: IdTable::new(),
            text_bytes: 0,
        }
    }

    #[inline(always)]
    pub(super) fn find(&self, seed: Seed, text: &[u8]) -> Option<Id> {
        self.table
            .find(seed.text(text), |id| scan::is_same(self.text(id), text))
    }

    #[inline]
    pub(super) fn text(&self, id: Id) -> &[u8] {
        self.slab.get(id).map_or(&[], |level| &*level.text)
    }

    /// The number of a text, which is used once more; `None` when there is none left.
    pub(super) fn acquire(&mut self, seed: Seed, text: &[u8]) -> Option<Id> {
        if let Some(id) = self.find(seed, text) {
            let level = self.slab.get_mut(id)?;
            level.uses = level.uses.checked_add(1)?;
            return Some(id);
        }
        let level = Level {
            text: text.into(),
            uses: 1,
        };
        let id = self.slab.insert(level)?;
        let slab = &self.slab;
        self.table
            .insert(seed.text(text), id, |id| hash_of(slab, seed, id));
        self.text_bytes = self.text_bytes.saturating_add(text.len());
        Some(id)
    }

    /// Used once less; forgotten with the last use.
    pub(super) fn release(&mut self, seed: Seed, id: Id) {
        let Some(level) = self.slab.get_mut(id) else {
            return;
        };
        level.uses = level.uses.saturating_sub(1);
        if level.uses > 0 {
            return;
        }
        let (hash, text_len) = (seed.text(&level.text), level.text.len());
        let slab = &self.slab;
        self.table.remove(hash, id, |id| hash_of(slab, seed, id));
        self.slab.remove(id);
        self.text_bytes = self.text_bytes.saturating_sub(text_len);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.slab
            .bytes()
            .saturating_add(self.table.bytes())
            .saturating_add(self.text_bytes)
    }
}

fn hash_of(slab: &Slab<Level>, seed: Seed, id: Id) -> u64 {
    seed.text(slab.get(id).map_or(&[], |level| &*level.text))
}
