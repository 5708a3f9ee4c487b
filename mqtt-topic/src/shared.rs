//! Shared filters: `$share/{group}/{filter}`.

use core::fmt;

use crate::{TopicError, TopicErrorKind, TopicFilter};

const PREFIX: &[u8] = b"$share/";

/// A valid shared filter (5.0): one of the sessions in the group gets each matching message.
///
/// Group and prefix take no part in matching. The whole text is the name of the shared
/// subscription: another group, or another filter, is another subscription.
///
/// ```
/// use mqtt_topic::{SharedFilter, TopicName};
///
/// let shared = SharedFilter::new("$share/consumers/sport/+")?;
/// assert_eq!(shared.group_bytes(), b"consumers");
/// assert!(shared.filter().matches(TopicName::new("sport/tennis")?));
/// assert!(SharedFilter::new("$share/consumers").is_err());
/// # Ok::<(), mqtt_topic::TopicError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedFilter<'a> {
    whole: TopicFilter<'a>,
    group: &'a [u8],
    filter: TopicFilter<'a>,
}

impl<'a> SharedFilter<'a> {
    /// Checks a text.
    ///
    /// # Errors
    ///
    /// [`TopicError`] says what is wrong and where. A text without the prefix `$share/` has no
    /// group.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        parse(TopicFilter::new(text)?)?
            .ok_or_else(|| TopicError::new(TopicErrorKind::SharedGroupEmpty, 0))
    }

    /// The name of the group.
    #[must_use]
    pub fn group_bytes(self) -> &'a [u8] {
        self.group
    }

    /// The group with the separator in front, as it stands in the text.
    #[cfg(feature = "alloc")]
    pub(crate) fn slash_and_group(self) -> &'a [u8] {
        let start = PREFIX.len().saturating_sub(1);
        let end = PREFIX.len().saturating_add(self.group.len());
        self.whole.as_bytes().get(start..end).unwrap_or_default()
    }

    /// What is matched.
    #[must_use]
    pub fn filter(self) -> TopicFilter<'a> {
        self.filter
    }

    /// The whole text, with prefix and group.
    #[must_use]
    pub fn whole(self) -> TopicFilter<'a> {
        self.whole
    }
}

/// Takes a filter apart, if it is a shared one.
// [5:MQTT-4.8.2-1] [5:MQTT-4.8.2-2] A group of at least one character, without '/', '+' and '#', then '/' and a filter.
pub(crate) fn parse(whole: TopicFilter<'_>) -> Result<Option<SharedFilter<'_>>, TopicError> {
    let Some(rest) = whole.as_bytes().strip_prefix(PREFIX) else {
        return Ok(None);
    };
    let end = rest
        .iter()
        .position(|&byte| byte == b'/')
        .unwrap_or(rest.len());
    let (group, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    let fault = |kind, at: usize| Err(TopicError::new(kind, PREFIX.len().saturating_add(at)));
    if group.is_empty() {
        return fault(TopicErrorKind::SharedGroupEmpty, 0);
    }
    if let Some(at) = group.iter().position(|&byte| byte == b'+' || byte == b'#') {
        return fault(TopicErrorKind::SharedGroupWildcard, at);
    }
    match behind.split_first() {
        // A whole filter is valid from any level on.
        Some((_separator, filter)) if !filter.is_empty() => Ok(Some(SharedFilter {
            whole,
            group,
            filter: TopicFilter::assume_valid(filter),
        })),
        _ => fault(TopicErrorKind::SharedWithoutFilter, end),
    }
}

impl fmt::Display for SharedFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)
    }
}

impl fmt::Debug for SharedFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.whole, f)
    }
}
