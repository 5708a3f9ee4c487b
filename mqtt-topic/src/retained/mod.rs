//! The retained index: which topics does this filter mean?
//!
//! Topics stand in a tree, one node for each level, so a query passes only branches that can match
//! and finds everything below a level without looking at anything else.

mod query;

use core::fmt;

pub use query::{Cursor, QueryProgress};

use crate::TopicName;
use crate::index::{Id, Node, Piece, Seed, Shared, Sorted, Tree, Unshare, unshare_only_owned};

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
    /// Levels of a topic. 128.
    pub levels_max: usize,
    /// Where hashing starts; results do not depend on it. 0. A number that peers cannot guess
    /// keeps them from choosing levels that collide.
    pub hash_seed: u64,
}

impl Default for RetainedConfig {
    fn default() -> Self {
        Self {
            topics_max: 100_000,
            bytes_max: 256 * 1024 * 1024,
            levels_max: 128,
            hash_seed: 0,
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
    /// More levels than [`RetainedConfig::levels_max`] allows.
    TooManyLevels,
}

impl<M> fmt::Display for RetainedError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RetainedErrorKind::TooManyTopics => "too many retained messages",
            RetainedErrorKind::TooManyBytes => "too many bytes of retained messages",
            RetainedErrorKind::TooManyLevels => "the topic has too many levels",
        })
    }
}

impl<M: fmt::Debug> core::error::Error for RetainedError<M> {}

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
/// assert_eq!(found, [("house/light".to_string(), "on"), ("house/door".to_string(), "open")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RetainedIndex<M> {
    config: RetainedConfig,
    tree: Tree<Kept<M>>,
    /// Nodes, each behind the one above it: the children of one node together.
    children: Sorted<(Id, Id)>,
    len: usize,
    bytes: usize,
}

/// What a node has beside its edge: the message of its topic.
#[derive(Debug)]
struct Kept<M> {
    message: Option<M>,
    bytes: usize,
}

impl<M> Kept<M> {
    const NOTHING: Self = Self {
        message: None,
        bytes: 0,
    };
}

impl<M> Unshare for Node<Kept<M>> {
    fn unshare(piece: &mut Shared<Piece<Self>>) -> Option<&mut Piece<Self>> {
        unshare_only_owned(piece)
    }
}

impl<M> RetainedIndex<M> {
    const ROOT: Id = Tree::<Kept<M>>::ROOT;

    /// An index without messages.
    #[must_use]
    pub fn new(config: RetainedConfig) -> Self {
        Self {
            config,
            tree: Tree::new(Seed::new(config.hash_seed), Kept::NOTHING),
            children: Sorted::new(),
            len: 0,
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
        let refused = |message, kind| Err(RetainedError { message, kind });
        let bytes = bytes.saturating_add(topic.as_bytes().len());
        let there = self.find(topic).and_then(|id| self.tree.node(id));
        let before = there.filter(|node| node.value.message.is_some());
        let bytes_before = before.map_or(0, |node| node.value.bytes);
        let is_new = before.is_none();
        if is_new && self.len >= self.config.topics_max {
            return refused(message, RetainedErrorKind::TooManyTopics);
        }
        let total = self
            .bytes
            .saturating_sub(bytes_before)
            .saturating_add(bytes);
        if total > self.config.bytes_max {
            return refused(message, RetainedErrorKind::TooManyBytes);
        }
        if topic.levels().count() > self.config.levels_max {
            return refused(message, RetainedErrorKind::TooManyLevels);
        }
        let Some(kept) = self
            .find_or_insert(topic)
            .and_then(|id| self.tree.value_mut(id))
        else {
            return refused(message, RetainedErrorKind::TooManyTopics);
        };
        kept.bytes = bytes;
        let before = kept.message.replace(message);
        self.bytes = total;
        self.len = self.len.saturating_add(usize::from(is_new));
        Ok(before)
    }

    /// Removes the message of a topic.
    pub fn remove(&mut self, topic: TopicName<'_>) -> Option<M> {
        self.take(self.find(topic)?)
    }

    /// The message of a topic.
    #[must_use]
    pub fn get(&self, topic: TopicName<'_>) -> Option<&M> {
        self.tree.node(self.find(topic)?)?.value.message.as_ref()
    }

    /// Looks at up to `budget` topics from `cursor` on and removes those of which `expired` says so:
    /// for callers that let messages expire in passing. The order is nobody's business; a topic
    /// that is there all the time is looked at once before the answer is [`QueryProgress::Done`].
    pub fn sweep(
        &mut self,
        cursor: &mut Sweep,
        budget: usize,
        mut expired: impl FnMut(&M) -> bool,
    ) -> QueryProgress {
        for _ in 0..budget {
            let from = cursor.next.unwrap_or(Id::FIRST);
            let Some((id, node)) = self.tree.from(from).next() else {
                *cursor = Sweep::default();
                return QueryProgress::Done;
            };
            cursor.next = Some(id.next());
            if node.value.message.as_ref().is_some_and(&mut expired) {
                self.take(id);
            }
        }
        QueryProgress::More
    }

    /// Topics with a message.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no message.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the topics and of what the caller said of the messages.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes on the heap that it holds. What messages hold there, and what the allocator needs for
    /// itself, comes on top.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.tree.bytes().saturating_add(self.children.bytes())
    }

    /// Nodes of the tree, the root included.
    #[must_use]
    pub const fn nodes_len(&self) -> usize {
        self.tree.len()
    }

    fn find(&self, topic: TopicName<'_>) -> Option<Id> {
        self.tree.find(topic.levels())
    }

    fn find_or_insert(&mut self, topic: TopicName<'_>) -> Option<Id> {
        let mut at = Self::ROOT;
        for level in topic.levels() {
            at = match self.tree.child_named(at, level) {
                Some(child) => child,
                None => {
                    let Some(child) = self.tree.insert_child(at, level, Kept::NOTHING, |_, _| {})
                    else {
                        self.prune(at);
                        return None;
                    };
                    let edge = (at, child);
                    self.children.put(edge, |held| held.cmp(&edge));
                    child
                }
            };
        }
        Some(at)
    }

    fn take(&mut self, id: Id) -> Option<M> {
        let kept = self.tree.value_mut(id)?;
        let message = kept.message.take()?;
        let bytes = core::mem::take(&mut kept.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.len = self.len.saturating_sub(1);
        self.prune(id);
        Some(message)
    }

    /// Removes a node that holds nothing, and every node above it that then holds nothing.
    fn prune(&mut self, id: Id) {
        let mut at = id;
        let holds_nothing = |kept: &Kept<M>| kept.message.is_none();
        while let Some(parent) = self.tree.remove_leaf(at, holds_nothing, |_, _| {}) {
            self.children.take(|held| held.cmp(&(parent, at)));
            at = parent;
        }
    }
}

impl<M> Default for RetainedIndex<M> {
    fn default() -> Self {
        Self::new(RetainedConfig::default())
    }
}

/// Where a [`RetainedIndex::sweep`] stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sweep {
    next: Option<Id>,
}
