//! From a filter to the topics that it matches, a few at a time.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::RetainedIndex;
use crate::index::{From, Id};
use crate::{TopicFilter, TopicName};

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

/// Where a query stands, and its memory. It stays good while the index changes: a topic that is
/// there all the time is visited exactly once; one that is removed and set again in between may be
/// visited again.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// Nodes from the root to where the query is. Everything in front of them, in the order of
    /// their numbers, has been visited, and so have they.
    path: Vec<Step>,
    /// The child of the last of them behind which the query goes on; `None` for all its children.
    behind: Option<Id>,
    text: Vec<u8>,
    is_started: bool,
}

impl Cursor {
    /// Back to the front, for another query; its memory is kept.
    pub fn restart(&mut self) {
        self.path.clear();
        self.text.clear();
        self.behind = None;
        self.is_started = false;
    }
}

/// A node on the way.
#[derive(Clone, Copy, Debug)]
struct Step {
    node: Id,
    /// Where the filter goes on below it, in bytes.
    rest: usize,
    /// Bytes of the topic up to and with its level.
    text_len: usize,
}

/// What a filter asks for below a node.
enum Wanted<'f> {
    Nothing,
    /// One child.
    Literal(&'f [u8]),
    /// Each child.
    Each,
}

/// The first level of the rest of a filter, and what is behind it.
fn split(filter: &[u8], rest: usize) -> (Wanted<'_>, usize) {
    // Behind the end by one: no level is left.
    let Some(text) = filter.get(rest..) else {
        return (Wanted::Nothing, rest);
    };
    let len = text
        .iter()
        .position(|&byte| byte == b'/')
        .unwrap_or(text.len());
    let behind = rest.saturating_add(len).saturating_add(1);
    match text.get(..len).unwrap_or_default() {
        // Again and again.
        b"#" => (Wanted::Each, rest),
        b"+" => (Wanted::Each, behind),
        level => (Wanted::Literal(level), behind),
    }
}

/// Whether a filter matches at a node, with so much of it left.
fn is_match(filter: &[u8], rest: usize) -> bool {
    // All of it is used up, or '#' is left, which stands for the parent too.
    rest > filter.len() || filter.get(rest..) == Some(b"#")
}

impl<M> RetainedIndex<M> {
    /// Shows messages whose topics a filter matches, from `cursor` on, in an order that depends on
    /// nothing but the history of the index. Passes no more than `budget` nodes of its tree, which
    /// for a wildcard at the end is as many topics; the visitor stops it with
    /// [`ControlFlow::Break`], behind the topic it has just seen.
    pub fn query(
        &self,
        filter: TopicFilter<'_>,
        cursor: &mut Cursor,
        budget: usize,
        mut visit: impl FnMut(TopicName<'_>, &M) -> ControlFlow<()>,
    ) -> QueryProgress {
        let filter = filter.as_bytes();
        let Cursor {
            path,
            behind,
            text,
            is_started,
        } = cursor;
        if *is_started {
            if let Some(gone) = self.restore(filter, path, text) {
                *behind = Some(gone);
            }
        } else {
            path.push(Step {
                node: Self::ROOT,
                rest: 0,
                text_len: 0,
            });
            *is_started = true;
        }
        let mut siblings = None;
        let mut left = budget;
        while let Some(&step) = path.last() {
            if left == 0 {
                return QueryProgress::More;
            }
            let (wanted, rest) = split(filter, step.rest);
            let next = match (&wanted, *behind) {
                (Wanted::Nothing, _) | (Wanted::Literal(_), Some(_)) => None,
                (Wanted::Literal(level), None) => self.tree.child_named(step.node, level),
                (Wanted::Each, behind) => self.next_child(step.node, behind, &mut siblings),
            };
            let Some(node) = next else {
                path.pop();
                *behind = Some(step.node);
                continue;
            };
            left = left.saturating_sub(1);
            // [5:MQTT-4.7.2-1] [3:MQTT-4.7.2-1] A leading wildcard matches no name that starts with '$'.
            if step.node == Self::ROOT
                && matches!(wanted, Wanted::Each)
                && self.tree.level_text(node).first() == Some(&b'$')
            {
                *behind = Some(node);
                continue;
            }
            *behind = None;
            text.truncate(step.text_len);
            self.push_level(path.len(), node, text);
            path.push(Step {
                node,
                rest,
                text_len: text.len(),
            });
            let message = self
                .tree
                .node(node)
                .and_then(|node| node.value.message.as_ref());
            if is_match(filter, rest)
                && let Some(message) = message
                && visit(TopicName::assume_valid(text), message).is_break()
            {
                return QueryProgress::More;
            }
        }
        QueryProgress::Done
    }

    /// The first child of a node with a number above `behind`. `siblings` are what was found the
    /// last time: mostly the next of them is it.
    fn next_child<'i>(
        &'i self,
        parent: Id,
        behind: Option<Id>,
        siblings: &mut Option<(Id, From<'i, (Id, Id)>)>,
    ) -> Option<Id> {
        if !self.tree.node(parent)?.has_children() {
            return None;
        }
        let children = match siblings {
            Some((of, children)) if *of == parent && behind.is_some() => children,
            _ => {
                let first = behind.map_or(Id::FIRST, Id::next);
                let children = self.children.from(|edge| edge.cmp(&(parent, first)));
                &mut siblings.insert((parent, children)).1
            }
        };
        let (above, child) = *children.next()?;
        // The last number has nothing behind it.
        (above == parent && behind != Some(child)).then_some(child)
    }

    fn push_level(&self, depth: usize, node: Id, text: &mut Vec<u8>) {
        if depth > 1 {
            text.push(b'/');
        }
        text.extend_from_slice(self.tree.level_text(node));
    }

    /// Cuts off what is no longer there and writes the text anew; answers the node behind which the
    /// query goes on below the last that is left.
    fn restore(&self, filter: &[u8], path: &mut Vec<Step>, text: &mut Vec<u8>) -> Option<Id> {
        text.clear();
        let mut above: Option<Step> = None;
        let mut kept = 0_usize;
        let mut gone = None;
        for step in path.iter_mut() {
            if let Some(above) = above {
                let is_child = self
                    .tree
                    .node(step.node)
                    .is_some_and(|node| node.parent() == Some(above.node));
                let is_wanted = match split(filter, above.rest) {
                    (Wanted::Literal(level), _) => self.tree.level_text(step.node) == level,
                    (Wanted::Each, _) => true,
                    (Wanted::Nothing, _) => false,
                };
                if !is_child || !is_wanted {
                    gone = Some(step.node);
                    break;
                }
                self.push_level(kept, step.node, text);
            }
            step.text_len = text.len();
            above = Some(*step);
            kept = kept.saturating_add(1);
        }
        path.truncate(kept);
        gone
    }
}
