//! The levels of a topic.

use crate::scan;

/// The levels of a topic name or filter, from the front, as bytes without the separators.
///
/// Empty levels are levels: `/a` has two, `a//b` three.
#[derive(Clone, Debug)]
pub struct Levels<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Levels<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Some(bytes) }
    }
}

impl<'a> Iterator for Levels<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match scan::slash(rest) {
            Some(end) => {
                let (level, behind) = rest.split_at_checked(end)?;
                self.rest = behind.get(1..);
                Some(level)
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }
}

impl core::iter::FusedIterator for Levels<'_> {}
