//! Where a whole packet goes, once its length is known.

use super::{Sink, SliceWriter};
use crate::EncodeError;

/// A place that says whether there is room, before the first byte is written.
pub(crate) trait Room {
    /// What writes there.
    type Out<'r>: Sink
    where
        Self: 'r;

    /// Room for exactly `needed` bytes, all of which will be written.
    fn take(&mut self, needed: usize) -> Result<Self::Out<'_>, EncodeError>;
}

/// The front of a slice.
pub(crate) struct Front<'b>(pub(crate) &'b mut [u8]);

impl Room for Front<'_> {
    type Out<'r>
        = SliceWriter<'r>
    where
        Self: 'r;

    #[inline(always)]
    fn take(&mut self, needed: usize) -> Result<SliceWriter<'_>, EncodeError> {
        let available = self.0.len();
        match self.0.get_mut(..needed) {
            Some(room) => Ok(SliceWriter::new(room)),
            None => Err(EncodeError::BufferTooSmall { needed, available }),
        }
    }
}

/// The end of a vector, with room made once for a whole packet.
#[cfg(feature = "alloc")]
pub(crate) struct Grown<'b>(pub(crate) &'b mut alloc::vec::Vec<u8>);

#[cfg(feature = "alloc")]
impl Room for Grown<'_> {
    type Out<'r>
        = super::VecWriter<'r>
    where
        Self: 'r;

    #[inline(always)]
    fn take(&mut self, needed: usize) -> Result<super::VecWriter<'_>, EncodeError> {
        self.0.reserve(needed);
        Ok(super::VecWriter(self.0))
    }
}

/// A place for packets of at most so many bytes.
#[cfg(feature = "alloc")]
pub(crate) struct Within<'b, R> {
    pub(crate) room: &'b mut R,
    pub(crate) size_max: usize,
}

#[cfg(feature = "alloc")]
impl<R: Room> Room for Within<'_, R> {
    type Out<'r>
        = R::Out<'r>
    where
        Self: 'r;

    #[inline(always)]
    fn take(&mut self, needed: usize) -> Result<R::Out<'_>, EncodeError> {
        if needed > self.size_max {
            return Err(EncodeError::PacketTooLarge { size: needed });
        }
        self.room.take(needed)
    }
}

/// The end of a buffer, which grows or has a limit.
#[cfg(feature = "alloc")]
pub(crate) struct Behind<'b, B>(pub(crate) &'b mut B);

#[cfg(feature = "alloc")]
impl<B: bytes::BufMut> Room for Behind<'_, B> {
    type Out<'r>
        = super::BufWriter<'r, B>
    where
        Self: 'r;

    #[inline(always)]
    fn take(&mut self, needed: usize) -> Result<super::BufWriter<'_, B>, EncodeError> {
        let available = self.0.remaining_mut();
        if available < needed {
            return Err(EncodeError::BufferTooSmall { needed, available });
        }
        Ok(super::BufWriter(self.0))
    }
}
