//! The retained index: which topics does this filter mean?
//!
//! Topics are kept in one order in which everything below a level stands together. A query walks
//! that order and jumps over whatever cannot match, so its work follows the topics it finds and
//! the branches it has to look into, not the size of the index. Where it stands is a position in
//! the order, which stays good however the index changes in between.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Bound, ControlFlow};

use crate::{TopicFilter, TopicName};

/// Limits of a [`RetainedIndex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct RetainedConfig {
    /// Topics. 100,000.
    pub topics_max: usize,
    /// Bytes of the topics and of what the caller said of the messages. 256 MiB.
    pub bytes_max: usize,
}

impl Default for RetainedConfig {
    fn default() -> Self {
        Self {
            topics_max: 100_000,
            bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// A message that was not taken; it comes back. What was there for its topic is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the message and the reason, nothing else"
)]
pub struct RetainedError<M> {
    /// The message.
    pub message: M,
    /// Why.
    pub kind: RetainedErrorKind,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetainedErrorKind {
    /// As many topics as [`RetainedConfig::topics_max`] allows.
    TooManyTopics,
    /// More bytes than [`RetainedConfig::bytes_max`] allows.
    TooManyBytes,
}

impl<M> fmt::Display for RetainedError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RetainedErrorKind::TooManyTopics => "too many retained messages",
            RetainedErrorKind::TooManyBytes => "too many bytes of retained messages",
        })
    }
}

impl<M: fmt::Debug> core::error::Error for RetainedError<M> {}

/// Whether a query has seen everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a query may have more to show"]
#[expect(clippy::exhaustive_enums, reason = "callers match both")]
pub enum QueryProgress {
    /// Nothing that matches is left.
    Done,
    /// The budget was used up, or the visitor stopped: call again with the same cursor.
    More,
}

/// Where a query stands. It stays good while the index changes: a topic that is there all the
/// time is visited exactly once, and none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    position: Position,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Start,
    From(Vec<u8>),
    After(Vec<u8>),
    End,
}

/// One message for each topic, found by filter.
///
/// ```
/// use core::ops::ControlFlow;
/// use mqtt_topic::{Cursor, QueryProgress, RetainedConfig, RetainedIndex, TopicFilter, TopicName};
///
/// let mut retained = RetainedIndex::new(RetainedConfig::default());
/// retained.set(TopicName::new("house/light")?, "on", 2)?;
/// retained.set(TopicName::new("house/door")?, "open", 4)?;
///
/// let (mut cursor, mut found) = (Cursor::default(), Vec::new());
/// let progress = retained.query(TopicFilter::new("house/+")?, &mut cursor, 100, |topic, message| {
///     found.push((topic.to_string(), *message));
///     ControlFlow::Continue(())
/// });
/// assert_eq!(progress, QueryProgress::Done);
/// assert_eq!(found, [("house/door".to_string(), "open"), ("house/light".to_string(), "on")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RetainedIndex<M> {
    config: RetainedConfig,
    /// Keys are topics with U+0000 for '/', which no topic holds: then a level and everything
    /// below it stand together.
    topics: BTreeMap<Box<[u8]>, Entry<M>>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Entry<M> {
    message: M,
    bytes: usize,
}

const SEPARATOR: u8 = 0;
/// Behind the separator, before every character that can stand in a topic.
const AFTER_SEPARATOR: u8 = 1;

impl<M> RetainedIndex<M> {
    /// An index without messages.
    #[must_use]
    pub fn new(config: RetainedConfig) -> Self {
        Self {
            config,
            topics: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Sets the message of a topic, of `bytes` bytes beside the topic; answers the one before.
    ///
    /// # Errors
    ///
    /// [`RetainedError`] with the message, at a limit.
    pub fn set(
        &mut self,
        topic: TopicName<'_>,
        message: M,
        bytes: usize,
    ) -> Result<Option<M>, RetainedError<M>> {
        let bytes = bytes.saturating_add(topic.as_bytes().len());
        let key = key_of(topic.as_bytes());
        let before = self.topics.get(&*key).map(|entry| entry.bytes);
        if before.is_none() && self.topics.len() >= self.config.topics_max {
            return Err(RetainedError {
                message,
                kind: RetainedErrorKind::TooManyTopics,
            });
        }
        let total = self
            .bytes
            .saturating_sub(before.unwrap_or(0))
            .saturating_add(bytes);
        if total > self.config.bytes_max {
            return Err(RetainedError {
                message,
                kind: RetainedErrorKind::TooManyBytes,
            });
        }
        self.bytes = total;
        Ok(self
            .topics
            .insert(key, Entry { message, bytes })
            .map(|entry| entry.message))
    }

    /// Removes the message of a topic.
    pub fn remove(&mut self, topic: TopicName<'_>) -> Option<M> {
        let entry = self.topics.remove(&*key_of(topic.as_bytes()))?;
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        Some(entry.message)
    }

    /// The message of a topic.
    #[must_use]
    pub fn get(&self, topic: TopicName<'_>) -> Option<&M> {
        self.topics
            .get(&*key_of(topic.as_bytes()))
            .map(|entry| &entry.message)
    }

    /// Shows messages whose topics a filter matches, from `cursor` on, in the order of the topics
    /// level by level. Looks at no more than `budget` topics; the visitor stops it with
    /// [`ControlFlow::Break`], behind the topic it has just seen.
    pub fn query(
        &self,
        filter: TopicFilter<'_>,
        cursor: &mut Cursor,
        budget: usize,
        mut visit: impl FnMut(TopicName<'_>, &M) -> ControlFlow<()>,
    ) -> QueryProgress {
        let mut topic = Vec::new();
        for _ in 0..budget {
            let bounds = match &cursor.position {
                Position::Start => (Bound::Unbounded, Bound::Unbounded),
                Position::From(key) => (Bound::Included(&**key), Bound::Unbounded),
                Position::After(key) => (Bound::Excluded(&**key), Bound::Unbounded),
                Position::End => return QueryProgress::Done,
            };
            let Some((key, entry)) = self.topics.range::<[u8], _>(bounds).next() else {
                cursor.position = Position::End;
                return QueryProgress::Done;
            };
            match compare(filter, key) {
                Comparison::Match => {
                    text_of(key, &mut topic);
                    cursor.position = Position::After(key.to_vec());
                    if visit(TopicName::assume_valid(&topic), &entry.message).is_break() {
                        return QueryProgress::More;
                    }
                }
                Comparison::NotBefore(next) => cursor.position = Position::From(next),
                Comparison::NothingBehind => cursor.position = Position::End,
            }
        }
        match cursor.position {
            Position::End => QueryProgress::Done,
            Position::Start | Position::From(_) | Position::After(_) => QueryProgress::More,
        }
    }

    /// Topics with a message.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Bytes of the topics and of what the caller said of the messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<M> Default for RetainedIndex<M> {
    fn default() -> Self {
        Self::new(RetainedConfig::default())
    }
}

/// What a topic says about the place of the next match.
enum Comparison {
    Match,
    /// No match is before this key.
    NotBefore(Vec<u8>),
    NothingBehind,
}

/// Compares a filter with a topic, level by level.
fn compare(filter: TopicFilter<'_>, key: &[u8]) -> Comparison {
    let mut levels = key.split(|&byte| byte == SEPARATOR);
    // How much of the key has matched, with the separator behind it, and how much of it the last
    // '+' ends: behind that one a later match can be.
    let mut matched = 0_usize;
    let mut last_plus = None;
    for (place, wanted) in filter.levels().enumerate() {
        if place == 0 && matches!(wanted, b"+" | b"#") && key.first() == Some(&b'$') {
            // [5:MQTT-4.7.2-1] [3:MQTT-4.7.2-1] All names with '$' in front stand together.
            return Comparison::NotBefore(Vec::from([b'$' + 1]));
        }
        if wanted == b"#" {
            return Comparison::Match;
        }
        let Some(found) = levels.next() else {
            // The filter goes on below this topic.
            let mut next = key.to_vec();
            next.push(SEPARATOR);
            if wanted != b"+" {
                next.extend_from_slice(wanted);
            }
            return Comparison::NotBefore(next);
        };
        let end = matched.saturating_add(found.len());
        if wanted == b"+" {
            last_plus = Some(end);
        } else if found < wanted {
            let mut next = key.get(..matched).unwrap_or_default().to_vec();
            next.extend_from_slice(wanted);
            return Comparison::NotBefore(next);
        } else if found > wanted {
            return match last_plus {
                Some(end) => behind(key, end),
                None => Comparison::NothingBehind,
            };
        }
        matched = end.saturating_add(1);
    }
    match levels.next() {
        None => Comparison::Match,
        // Deeper than the filter, and so is everything else below it.
        Some(_) => behind(key, matched.saturating_sub(1)),
    }
}

/// Everything below the first `end` bytes of `key` is jumped over.
fn behind(key: &[u8], end: usize) -> Comparison {
    let mut next = key.get(..end).unwrap_or_default().to_vec();
    next.push(AFTER_SEPARATOR);
    Comparison::NotBefore(next)
}

fn key_of(topic: &[u8]) -> Box<[u8]> {
    topic
        .iter()
        .map(|&byte| if byte == b'/' { SEPARATOR } else { byte })
        .collect()
}

fn text_of(key: &[u8], topic: &mut Vec<u8>) {
    topic.clear();
    topic.extend(
        key.iter()
            .map(|&byte| if byte == SEPARATOR { b'/' } else { byte }),
    );
}
