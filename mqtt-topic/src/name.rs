//! Topic names: what is published to.

use core::fmt;

use crate::{Levels, TopicError, TopicErrorKind, scan};

/// A valid topic name: 1 to 65,535 bytes of UTF-8 without U+0000, `+` and `#`.
///
/// Names are compared byte by byte, without any normalization.
///
/// ```
/// use mqtt_topic::TopicName;
///
/// let name = TopicName::new("house/light")?;
/// assert_eq!(name.levels().count(), 2);
/// assert!(TopicName::new("house/+").is_err());
/// # Ok::<(), mqtt_topic::TopicError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a> {
    bytes: &'a [u8],
}

impl<'a> TopicName<'a> {
    /// Checks a text.
    ///
    /// # Errors
    ///
    /// [`TopicError`] says what is wrong and where.
    // [5:MQTT-4.7.0-1] [3:MQTT-4.7.1-1] [5:MQTT-3.3.2-2] [3:MQTT-3.3.2-2] No wildcards in a name.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        Self::from_bytes(text.as_bytes())
    }

    /// Checks bytes, which have to be UTF-8.
    ///
    /// # Errors
    ///
    /// [`TopicError`] says what is wrong and where.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, TopicError> {
        if !scan::is_plain(bytes) {
            check(bytes)?;
        }
        Ok(Self { bytes })
    }

    /// Takes bytes that were checked before, such as a stored copy of
    /// [`as_bytes`](Self::as_bytes).
    ///
    /// Other bytes give wrong answers later, never undefined behaviour; debug builds check them.
    #[must_use]
    pub fn assume_valid(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::from_bytes(bytes).is_ok(), "not checked before");
        Self { bytes }
    }

    /// The bytes of the text.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The text. Checks UTF-8 once more, so it is for people and logs; no hot path needs it.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        core::str::from_utf8(self.bytes).unwrap_or_default()
    }

    /// The levels, from the front.
    #[must_use]
    pub fn levels(self) -> Levels<'a> {
        Levels::new(self.bytes)
    }

    /// Whether the first character is `$`: no filter that starts with a wildcard matches it.
    #[must_use]
    pub fn starts_with_dollar(self) -> bool {
        self.bytes.first() == Some(&b'$')
    }
}

#[inline(never)]
fn check(bytes: &[u8]) -> Result<(), TopicError> {
    scan::check_text(bytes)?;
    match scan::first_wildcard(bytes) {
        Some(at) => Err(TopicError::new(TopicErrorKind::WildcardInName, at)),
        None => Ok(()),
    }
}

impl<'a> TryFrom<&'a str> for TopicName<'a> {
    type Error = TopicError;

    fn try_from(text: &'a str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

impl PartialEq<str> for TopicName<'_> {
    fn eq(&self, text: &str) -> bool {
        self.bytes == text.as_bytes()
    }
}

impl PartialEq<&str> for TopicName<'_> {
    fn eq(&self, text: &&str) -> bool {
        self.bytes == text.as_bytes()
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
