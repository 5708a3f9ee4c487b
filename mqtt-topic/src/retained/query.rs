//! From a filter to the topics that it matches, a few at a time.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::RetainedIndex;
use crate::index::{From, Id};
use crate::{TopicFilter, TopicName, scan};

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
    /// The wildcards that lead to where the query is.
    path: Vec<Step>,
    text: Vec<u8>,
    is_started: bool,
}

impl Cursor {
    /// Bytes on the heap that it holds.
    #[must_use]
    pub const fn memory(&self) -> usize {
        let path = self.path.capacity().saturating_mul(size_of::<Step>());
        path.saturating_add(self.text.capacity())
    }

    /// Back to the front, for another query; its memory is kept.
    pub fn restart(&mut self) {
        self.path.clear();
        self.text.clear();
        self.is_started = false;
    }
}

/// A node below which the filter goes on with a wildcard.
#[derive(Clone, Copy, Debug)]
struct Step {
    node: Id,
    /// Where in the filter the wildcard is.
    wildcard: usize,
    /// Bytes of the topic of the node.
    text_len: usize,
    /// The last of its children that was looked at: those with higher numbers are left.
    behind: Option<Id>,
}

/// Where a filter stands that is spelled out up to a wildcard or to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reached {
    node: Id,
    /// Where in the filter the wildcard is; `None` at the end.
    wildcard: Option<usize>,
}

/// Where the filter goes on behind one of its wildcards: '#' again and again; one byte behind the
/// end when nothing is left.
fn behind_wildcard(filter: &[u8], wildcard: usize) -> usize {
    match filter.get(wildcard) {
        Some(b'#') => wildcard,
        _ => wildcard.saturating_add(2),
    }
}

impl<M> RetainedIndex<M> {
    /// Shows messages whose topics a filter matches, from `cursor` on, in an order that depends on
    /// nothing but the history of the index. Looks at no more than `budget` nodes: one for what the
    /// filter spells out at its front, and each that a wildcard stands for. The visitor stops it with
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
            text,
            is_started,
        } = cursor;
        let mut left = budget;
        if *is_started {
            self.restore(filter, path, text);
        } else if left == 0 {
            return QueryProgress::More;
        } else {
            left = left.saturating_sub(1);
            *is_started = true;
            if self
                .enter(Self::ROOT, filter, 0, path, text, &mut visit)
                .is_break()
            {
                return QueryProgress::More;
            }
        }
        let mut siblings = None;
        while let Some(step) = path.last_mut() {
            let Some(child) = self.next_child(step.node, step.behind, &mut siblings) else {
                path.pop();
                continue;
            };
            if left == 0 {
                return QueryProgress::More;
            }
            left = left.saturating_sub(1);
            step.behind = Some(child);
            let Some(level) = self.level_for_wildcard(step.node, child) else {
                continue;
            };
            text.truncate(step.text_len);
            push_level(text, step.node != Self::ROOT, level);
            let rest = behind_wildcard(filter, step.wildcard);
            if self
                .enter(child, filter, rest, path, text, &mut visit)
                .is_break()
            {
                return QueryProgress::More;
            }
        }
        QueryProgress::Done
    }

    /// Goes on from a node to the next wildcard or the end; shows the message that is there.
    #[inline]
    fn enter(
        &self,
        node: Id,
        filter: &[u8],
        rest: usize,
        path: &mut Vec<Step>,
        text: &mut Vec<u8>,
        visit: &mut impl FnMut(TopicName<'_>, &M) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(reached) = self.descend(node, filter, rest, text) else {
            return ControlFlow::Continue(());
        };
        let Some(node) = self.tree.node(reached.node) else {
            return ControlFlow::Continue(());
        };
        if let Some(wildcard) = reached.wildcard
            && node.has_children()
        {
            path.push(Step {
                node: reached.node,
                wildcard,
                text_len: text.len(),
                behind: None,
            });
        }
        // '#' stands for the parent too.
        let is_match = reached
            .wildcard
            .is_none_or(|at| filter.get(at) == Some(&b'#'));
        match &node.value.message {
            Some(message) if is_match => visit(TopicName::assume_valid(text), message),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Follows the levels that are spelled out.
    #[inline]
    fn descend(&self, from: Id, filter: &[u8], rest: usize, text: &mut Vec<u8>) -> Option<Reached> {
        let (mut node, mut at, mut end) = (from, rest, None);
        let wildcard = loop {
            let Some(left) = filter.get(at..) else {
                break None;
            };
            if let [b'#'] | [b'+'] | [b'+', b'/', ..] = left {
                break Some(at);
            }
            let len = scan::slash(left).unwrap_or(left.len());
            node = self.tree.child_named(node, left.get(..len)?)?;
            let behind = at.saturating_add(len);
            end = Some(behind);
            at = behind.saturating_add(1);
        };
        // All of these levels at once, as the filter has them.
        if let Some(end) = end {
            push_level(text, from != Self::ROOT, filter.get(rest..end)?);
        }
        Some(Reached { node, wildcard })
    }

    /// The first child of a node with a number above `behind`. `siblings` are what was found the
    /// last time: mostly the next of them is it. Of the same parent they are always those behind
    /// `behind`, since a query enters a node once.
    fn next_child<'i>(
        &'i self,
        parent: Id,
        behind: Option<Id>,
        siblings: &mut Option<(Id, From<'i, (Id, Id)>)>,
    ) -> Option<Id> {
        let children = match siblings {
            Some((of, children)) if *of == parent => children,
            _ => {
                let first = behind.map_or(Id::FIRST, Id::next);
                let children = self.children.from(|edge| edge.cmp(&(parent, first)));
                &mut siblings.insert((parent, children)).1
            }
        };
        let (above, child) = *children.next()?;
        (above == parent).then_some(child)
    }

    /// The level of a child, if a wildcard may stand for it.
    // [5:MQTT-4.7.2-1] [3:MQTT-4.7.2-1] A leading wildcard matches no name that starts with '$'.
    #[inline]
    fn level_for_wildcard(&self, parent: Id, child: Id) -> Option<&[u8]> {
        let level = self.tree.level_text(child);
        let is_hidden = parent == Self::ROOT && level.first() == Some(&b'$');
        (!is_hidden).then_some(level)
    }

    /// Cuts off what is no longer there and writes the text anew.
    fn restore(&self, filter: &[u8], path: &mut Vec<Step>, text: &mut Vec<u8>) {
        text.clear();
        let mut expected = self.descend(Self::ROOT, filter, 0, text);
        let mut kept = 0_usize;
        for step in path.iter_mut() {
            let here = Reached {
                node: step.node,
                wildcard: Some(step.wildcard),
            };
            if expected != Some(here) {
                break;
            }
            step.text_len = text.len();
            kept = kept.saturating_add(1);
            // Where the child that was looked at last leads to now.
            expected = None;
            let child = step
                .behind
                .and_then(|child| Some((child, self.tree.node(child)?)));
            // The number may be that of another level by now.
            if let Some((child, node)) = child
                && node.parent() == Some(step.node)
                && let Some(level) = self.level_for_wildcard(step.node, child)
            {
                push_level(text, step.node != Self::ROOT, level);
                let rest = behind_wildcard(filter, step.wildcard);
                expected = self.descend(child, filter, rest, text);
            }
        }
        path.truncate(kept);
    }
}

#[inline]
fn push_level(text: &mut Vec<u8>, is_below: bool, level: &[u8]) {
    if is_below {
        text.push(b'/');
    }
    text.extend_from_slice(level);
}
