//! Topic filters: what is subscribed to.

use core::fmt;

use crate::{Levels, SharedFilter, TopicError, TopicErrorKind, TopicName, matching, scan, shared};

/// A valid topic filter: 1 to 65,535 bytes of UTF-8 without U+0000, `+` only as a whole level, `#`
/// only as the whole last level.
///
/// ```
/// use mqtt_topic::{TopicFilter, TopicName};
///
/// let filter = TopicFilter::new("sport/#")?;
/// assert!(filter.matches(TopicName::new("sport")?), "the parent too");
/// assert!(TopicFilter::new("sport#").is_err());
/// # Ok::<(), mqtt_topic::TopicError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a> {
    bytes: &'a [u8],
}

impl<'a> TopicFilter<'a> {
    /// Checks a text.
    ///
    /// # Errors
    ///
    /// [`TopicError`] says what is wrong and where.
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
        if !scan::is_plain_filter(bytes) {
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

    /// Whether there is a `+` or `#` in it.
    #[must_use]
    pub fn has_wildcards(self) -> bool {
        self.bytes.iter().any(|&byte| byte == b'+' || byte == b'#')
    }

    /// Whether the filter matches a name.
    ///
    /// Allocates nothing, and walks both once.
    #[must_use]
    pub fn matches(self, name: TopicName<'_>) -> bool {
        matching::matches(self, name)
    }

    /// Whether every name that `other` matches is matched by this filter too.
    ///
    /// ```
    /// use mqtt_topic::TopicFilter;
    ///
    /// let all = TopicFilter::new("home/#")?;
    /// assert!(all.covers(TopicFilter::new("home/+/temperature")?));
    /// assert!(!TopicFilter::new("#")?.covers(TopicFilter::new("$SYS/#")?));
    /// # Ok::<(), mqtt_topic::TopicError>(())
    /// ```
    #[must_use]
    pub fn covers(self, other: TopicFilter<'_>) -> bool {
        matching::covers(self, other)
    }

    /// Whether some name is matched by both filters.
    ///
    /// ```
    /// use mqtt_topic::TopicFilter;
    ///
    /// let filter = TopicFilter::new("a/+/c")?;
    /// assert!(filter.overlaps(TopicFilter::new("+/b/#")?));
    /// assert!(!filter.overlaps(TopicFilter::new("a/+/d")?));
    /// # Ok::<(), mqtt_topic::TopicError>(())
    /// ```
    #[must_use]
    pub fn overlaps(self, other: TopicFilter<'_>) -> bool {
        matching::overlaps(self, other)
    }

    /// The parts of a shared filter, `$share/{group}/{filter}`; `None` for an ordinary one.
    ///
    /// # Errors
    ///
    /// [`TopicError`] when the text starts with `$share/` and has no valid group and filter behind
    /// it. In 3.1.1, which has no shared subscriptions, it is an ordinary filter all the same.
    pub fn shared(self) -> Result<Option<SharedFilter<'a>>, TopicError> {
        shared::parse(self)
    }
}

#[inline(never)]
fn check(bytes: &[u8]) -> Result<(), TopicError> {
    scan::check_text(bytes)?;
    scan::each_wildcard(bytes, |at| check_wildcard(bytes, at))
}

/// Checks the wildcard that stands at `at`.
// [5:MQTT-4.7.1-1] [3:MQTT-4.7.1-2] '#' is the whole last level.
// [5:MQTT-4.7.1-2] [3:MQTT-4.7.1-3] '+' is a whole level.
#[inline]
fn check_wildcard(bytes: &[u8], at: usize) -> Result<(), TopicError> {
    let before = at.checked_sub(1).map(|before| bytes.get(before));
    let next = bytes.get(at.saturating_add(1));
    let alone =
        before.is_none_or(|before| before == Some(&b'/')) && next.is_none_or(|&next| next == b'/');
    let fault = |kind, at| Err(TopicError::new(kind, at));
    match (bytes.get(at), alone) {
        (Some(b'#'), false) => fault(TopicErrorKind::HashNotAlone, at),
        (Some(b'#'), true) if next.is_some() => {
            fault(TopicErrorKind::HashNotLast, at.saturating_add(1))
        }
        (_, true) => Ok(()),
        (_, false) => fault(TopicErrorKind::PlusNotAlone, at),
    }
}

impl<'a> From<TopicName<'a>> for TopicFilter<'a> {
    /// A name is a filter that matches just itself.
    fn from(name: TopicName<'a>) -> Self {
        Self {
            bytes: name.as_bytes(),
        }
    }
}

impl<'a> TryFrom<&'a str> for TopicFilter<'a> {
    type Error = TopicError;

    fn try_from(text: &'a str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

impl PartialEq<str> for TopicFilter<'_> {
    fn eq(&self, text: &str) -> bool {
        self.bytes == text.as_bytes()
    }
}

impl PartialEq<&str> for TopicFilter<'_> {
    fn eq(&self, text: &&str) -> bool {
        self.bytes == text.as_bytes()
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
