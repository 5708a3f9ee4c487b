//! Bytes: reading them without leaving the packet, writing them after they were counted.

#[cfg(feature = "small")]
mod pen;
mod reader;
mod room;
mod writer;

#[cfg(feature = "small")]
pub(crate) use pen::Pen;
pub(crate) use reader::{Context, Reader, first_control_character};
#[cfg(feature = "alloc")]
pub(crate) use room::{Behind, Grown, Within};
pub(crate) use room::{Front, Room};
#[cfg(feature = "alloc")]
pub(crate) use writer::{BufWriter, VecWriter};
pub(crate) use writer::{Counter, Header, Sink, SliceWriter, length, var_int_len};

/// The largest variable byte integer.
pub(crate) const VAR_INT_MAX: u32 = 268_435_455;
