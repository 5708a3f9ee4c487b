//! What the two sides of an enhanced authentication tell each other.

use core::fmt;

use bytes::Bytes;
use mqtt_codec::{Authentication, Binary};

/// What one side says in an enhanced authentication. `Debug` shows its length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthenticationData(Bytes);

impl AuthenticationData {
    /// The bytes, which are the method's affair.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) const fn len_held(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn of(authentication: &Authentication<'_>) -> Option<Self> {
        Some(authentication.data?.into())
    }

    /// What came in a packet, or was made of something that fits one.
    pub(crate) fn as_binary(&self) -> Binary<'_> {
        Binary::new(&self.0).unwrap_or_default()
    }
}

impl From<Binary<'_>> for AuthenticationData {
    fn from(data: Binary<'_>) -> Self {
        Self(Bytes::copy_from_slice(data.as_bytes()))
    }
}

impl fmt::Debug for AuthenticationData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}
