//! What things take on the heap beside their own bytes, for each `Config::memory_bound` and for what is counted
//! towards a limit.

/// Bytes around the bytes of one message or text: what counts who shares it.
pub(crate) const SHARED: usize = 64;

/// Bytes of one entry of an ordered map, beside what it points to.
pub(crate) const MAP_ENTRY: usize = 128;

/// The longest topic, filter or client identifier, in bytes.
pub(crate) const TEXT_MAX: usize = 65_535;

/// A vector that has grown to `len`, and has at least the room that the first element brings.
pub(crate) const fn vec(len: usize, size: usize) -> usize {
    let len = if len < 8 { 8 } else { len };
    len.saturating_mul(2).saturating_mul(size)
}
