//! What is wrong with a text that is no topic name or filter, and where.

use core::fmt;

/// Why a text is no valid topic name, topic filter or shared filter.
///
/// ```
/// use mqtt_topic::{TopicErrorKind, TopicFilter};
///
/// let error = TopicFilter::new("sport+/player1").unwrap_err();
/// assert_eq!(error.kind(), TopicErrorKind::PlusNotAlone);
/// assert_eq!(error.offset(), 5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TopicError {
    kind: TopicErrorKind,
    offset: u32,
}

/// What was found in a text that is no valid topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum TopicErrorKind {
    /// No character at all.
    Empty,
    /// More than 65,535 bytes.
    TooLong,
    /// No well-formed UTF-8.
    NotUtf8,
    /// U+0000.
    NullCharacter,
    /// `+` or `#` in a topic name.
    WildcardInName,
    /// Levels behind `#`.
    HashNotLast,
    /// `#` with something else in its level.
    HashNotAlone,
    /// `+` with something else in its level.
    PlusNotAlone,
    /// `$share/` with no name of a group behind it.
    SharedGroupEmpty,
    /// `+` or `#` in the name of a group.
    SharedGroupWildcard,
    /// `$share/{group}` without a filter behind it.
    SharedWithoutFilter,
}

impl TopicError {
    pub(crate) fn new(kind: TopicErrorKind, offset: usize) -> Self {
        Self {
            kind,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
        }
    }

    /// What was found.
    #[must_use]
    pub const fn kind(&self) -> TopicErrorKind {
        self.kind
    }

    /// Where it was found, in bytes from the start of the text.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset as usize
    }

    /// The statement of MQTT 5.0 that the text breaks.
    #[must_use]
    pub const fn statement_v5(&self) -> &'static str {
        match self.kind {
            TopicErrorKind::Empty => "MQTT-4.7.3-1",
            TopicErrorKind::TooLong => "MQTT-4.7.3-3",
            TopicErrorKind::NotUtf8 => "MQTT-1.5.4-1",
            TopicErrorKind::NullCharacter => "MQTT-4.7.3-2",
            TopicErrorKind::WildcardInName => "MQTT-3.3.2-2",
            TopicErrorKind::HashNotLast | TopicErrorKind::HashNotAlone => "MQTT-4.7.1-1",
            TopicErrorKind::PlusNotAlone => "MQTT-4.7.1-2",
            TopicErrorKind::SharedGroupEmpty => "MQTT-4.8.2-1",
            TopicErrorKind::SharedGroupWildcard | TopicErrorKind::SharedWithoutFilter => {
                "MQTT-4.8.2-2"
            }
        }
    }

    /// The statement of MQTT 3.1.1 that the text breaks; that version has no shared filters.
    #[must_use]
    pub const fn statement_v3(&self) -> Option<&'static str> {
        match self.kind {
            TopicErrorKind::Empty => Some("MQTT-4.7.3-1"),
            TopicErrorKind::TooLong => Some("MQTT-4.7.3-3"),
            TopicErrorKind::NotUtf8 => Some("MQTT-1.5.3-1"),
            TopicErrorKind::NullCharacter => Some("MQTT-4.7.3-2"),
            TopicErrorKind::WildcardInName => Some("MQTT-3.3.2-2"),
            TopicErrorKind::HashNotLast | TopicErrorKind::HashNotAlone => Some("MQTT-4.7.1-2"),
            TopicErrorKind::PlusNotAlone => Some("MQTT-4.7.1-3"),
            TopicErrorKind::SharedGroupEmpty
            | TopicErrorKind::SharedGroupWildcard
            | TopicErrorKind::SharedWithoutFilter => None,
        }
    }
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            TopicErrorKind::Empty => return f.write_str("a topic needs at least one character"),
            TopicErrorKind::TooLong => return f.write_str("a topic has at most 65535 bytes"),
            TopicErrorKind::NotUtf8 => "the text is no well-formed UTF-8",
            TopicErrorKind::NullCharacter => "U+0000 is not allowed, but stands",
            TopicErrorKind::WildcardInName => "a topic name has no wildcards, but one stands",
            TopicErrorKind::HashNotLast => "'#' must be the last level, but more follows",
            TopicErrorKind::HashNotAlone => {
                "'#' must be a whole level, but stands beside other characters"
            }
            TopicErrorKind::PlusNotAlone => {
                "'+' must be a whole level, but stands beside other characters"
            }
            TopicErrorKind::SharedGroupEmpty => {
                "'$share/' must be followed by the name of a group, but none stands"
            }
            TopicErrorKind::SharedGroupWildcard => {
                "the name of a group has no wildcards, but one stands"
            }
            TopicErrorKind::SharedWithoutFilter => {
                "the name of a group must be followed by '/' and a filter, but none stands"
            }
        };
        write!(f, "{what} at byte {}", self.offset)
    }
}

impl core::error::Error for TopicError {}
