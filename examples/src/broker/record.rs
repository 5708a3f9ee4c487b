//! The machine, while something is done with it.

use std::ops::{Deref, DerefMut};

use super::State;

/// The state, while something is done with it: whatever was recorded is in the file when it is let go.
pub(super) struct Written<'s>(pub(super) &'s mut State);

impl Deref for Written<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.0
    }
}

impl DerefMut for Written<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.0
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if let Some(log) = &mut self.0.log {
            log.write(&self.0.broker.take_log());
        }
    }
}
