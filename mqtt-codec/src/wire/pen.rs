//! One way to count and to write, for programs that have to be small.

use super::{Header, Sink, var_int_len};
use crate::property::Block5;

/// Counts bytes, and writes them where there is a place for them.
///
/// A packet has the code for what it is made of once, where a counter and each place to write to would
/// have it anew.
pub(crate) struct Pen<'o> {
    pub(crate) len: u64,
    out: Option<&'o mut dyn Ink>,
}

/// A place for bytes.
pub(crate) trait Ink {
    fn lay(&mut self, bytes: &[u8]);
}

impl<S: Sink> Ink for S {
    fn lay(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }
}

impl<'o> Pen<'o> {
    /// One that counts everything but the fixed header.
    pub(crate) const fn counting() -> Self {
        Self { len: 0, out: None }
    }

    /// One that writes.
    pub(crate) const fn writing(out: &'o mut dyn Ink) -> Self {
        Self {
            len: 0,
            out: Some(out),
        }
    }

    fn add(&mut self, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.len = self.len.wrapping_add(len);
    }
}

impl Sink for Pen<'_> {
    #[inline(never)]
    fn put(&mut self, bytes: &[u8]) {
        self.add(bytes.len());
        if let Some(out) = &mut self.out {
            out.lay(bytes);
        }
    }

    #[inline(never)]
    fn bytes(&mut self, bytes: &[u8]) {
        self.put(&super::length(bytes));
        self.put(bytes);
    }

    fn start(&mut self, header: Header, then: [u8; 2]) {
        self.header(header);
        self.put(&then);
    }

    #[inline(never)]
    fn header(&mut self, header: Header) {
        if self.out.is_some() {
            self.put(&[header.first]);
            self.var_int(header.remaining);
        }
    }

    #[inline(never)]
    fn var_int(&mut self, value: u32) {
        let mut rest = value;
        for place in (1..=var_int_len(value)).rev() {
            // Seven bits; the eighth says that there is another.
            let [low, ..] = rest.to_le_bytes();
            let more = if place > 1 { 0x80 } else { 0 };
            self.put(&[low & 0x7F | more]);
            rest >>= 7;
        }
    }

    fn block(&mut self, block: &impl Block5) {
        let mut counting = Pen::counting();
        block.write(&mut counting);
        self.var_int(u32::try_from(counting.len).unwrap_or(u32::MAX));
        block.write(self);
    }
}
