//! What simulations run with: a table in memory, and somebody who counts what is on the heap.

use allocation_counter::measure;
use mqtt_state::broker::{JournalEntry, StoreKey, StoreValue};
use mqtt_state::sim::{Embedder, Plain};

#[derive(Default)]
pub(crate) struct Weighed(Plain);

impl Embedder for Weighed {
    fn write(&mut self, entry: &JournalEntry) {
        self.0.write(entry);
    }

    fn read(&self, put: &mut dyn FnMut(StoreKey, StoreValue)) {
        self.0.read(put);
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn freed(&mut self, free: &mut dyn FnMut()) -> Option<u64> {
        u64::try_from(-measure(free).bytes_current).ok()
    }
}
