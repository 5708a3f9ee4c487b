//! A topic name of one's own.

use core::fmt;

use bytes::Bytes;
use mqtt_topic::{TopicError, TopicName};

/// A topic name that borrows nothing, and is cheap to clone: what an alias stands for, or what many
/// messages have in common.
///
/// ```
/// use bytes::Bytes;
/// use mqtt_codec::{Message, SharedTopic};
///
/// let topic = SharedTopic::try_from(Bytes::from_static(b"house/meter"))?;
/// let reading = Message::from_shared(topic.clone(), Bytes::from_static(b"230"));
/// assert_eq!(reading.topic(), topic.name());
/// assert!(SharedTopic::try_from(Bytes::from_static(b"house/#")).is_err());
/// # Ok::<(), mqtt_codec::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedTopic(Bytes);

impl SharedTopic {
    /// The name.
    #[must_use]
    #[inline]
    pub fn name(&self) -> TopicName<'_> {
        TopicName::assume_valid(&self.0)
    }

    /// Its bytes.
    #[inline]
    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Copies it.
impl From<TopicName<'_>> for SharedTopic {
    fn from(name: TopicName<'_>) -> Self {
        Self(Bytes::copy_from_slice(name.as_bytes()))
    }
}

impl TryFrom<Bytes> for SharedTopic {
    type Error = TopicError;

    fn try_from(bytes: Bytes) -> Result<Self, TopicError> {
        TopicName::from_bytes(&bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for SharedTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}
