//! Who has subscribed to one filter.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::index::Sorted;

/// As many are kept in one piece of memory of exactly their size.
const FEW_MAX: usize = 16;

/// Subscribers and what the caller keeps for each, in the order of the keys.
///
/// Most filters have one subscriber, who takes no memory of his own.
#[derive(Debug)]
pub(super) enum Subscribers<K, V> {
    None,
    One((K, V)),
    Few(Box<[(K, V)]>),
    Many(Box<Sorted<(K, V)>>),
}

impl<K: Copy, V: Clone> Clone for Subscribers<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::None => Self::None,
            Self::One(one) => Self::One(one.clone()),
            Self::Few(few) => Self::Few(few.clone()),
            Self::Many(many) => Self::Many(many.clone()),
        }
    }
}

impl<K: Copy + Ord, V> Subscribers<K, V> {
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether there is this one and nobody else.
    #[inline]
    pub(super) fn is_only(&self, key: K) -> bool {
        matches!(self, Self::One((held, _)) if *held == key)
    }

    /// What the only one has.
    #[inline]
    pub(super) fn into_one(self) -> Option<V> {
        match self {
            Self::One((_, value)) => Some(value),
            Self::None | Self::Few(_) | Self::Many(_) => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        let found = match self {
            Self::None => None,
            Self::One(one) => Some(one).filter(|(held, _)| *held == key),
            Self::Few(few) => few.get(search(few, key).ok()?),
            Self::Many(many) => many.get(many.search(|(held, _)| held.cmp(&key)).ok()?),
        };
        found.map(|(_, value)| value)
    }

    /// The one with so many in front.
    pub(super) fn nth(&self, nth: usize) -> Option<&(K, V)> {
        match self {
            Self::None => None,
            Self::One(one) => Some(one).filter(|_| nth == 0),
            Self::Few(few) => few.get(nth),
            Self::Many(many) => many.nth(nth),
        }
    }

    /// All of them, if they are few.
    #[inline]
    pub(super) fn few(&self) -> Option<&[(K, V)]> {
        match self {
            Self::None => Some(&[]),
            Self::One(one) => Some(core::slice::from_ref(one)),
            Self::Few(few) => Some(few),
            Self::Many(_) => None,
        }
    }

    /// All of them, in slices.
    #[inline]
    pub(super) fn slices(&self) -> Slices<'_, K, V> {
        let (first, more) = match self {
            Self::None => (&[][..], crate::index::Slices::none()),
            Self::One(one) => (core::slice::from_ref(one), crate::index::Slices::none()),
            Self::Few(few) => (&**few, crate::index::Slices::none()),
            Self::Many(many) => (&[][..], many.slices()),
        };
        Slices { first, more }
    }

    /// Those behind a key, or all of them, in slices.
    #[inline]
    pub(super) fn slices_behind(&self, key: Option<K>) -> Slices<'_, K, V> {
        let Some(key) = key else {
            return self.slices();
        };
        let behind = |all| {
            let few: &[(K, V)] = all;
            let place = few.partition_point(|(held, _)| *held <= key);
            few.get(place..).unwrap_or_default()
        };
        let (first, more) = match self {
            Self::None => (&[][..], crate::index::Slices::none()),
            Self::One(one) => (
                behind(core::slice::from_ref(one)),
                crate::index::Slices::none(),
            ),
            Self::Few(few) => (behind(few), crate::index::Slices::none()),
            Self::Many(many) => many.slices_from(|(held, _)| *held <= key),
        };
        Slices { first, more }
    }

    /// Bytes on the heap, those of values apart.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Few(few) => size_of_val(&**few),
            Self::Many(many) => many.bytes().saturating_add(size_of::<Sorted<(K, V)>>()),
        }
    }
}

impl<K: Copy + Ord, V: Clone> Subscribers<K, V> {
    /// Answers the value that was there.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Self::None => {
                *self = Self::One((key, value));
                None
            }
            Self::One((held, before)) if *held == key => Some(core::mem::replace(before, value)),
            Self::One(_) => {
                let Self::One(one) = core::mem::replace(self, Self::None) else {
                    return None;
                };
                let pair = match one.0.cmp(&key) {
                    Ordering::Greater => [(key, value), one],
                    Ordering::Less | Ordering::Equal => [one, (key, value)],
                };
                *self = Self::Few(Box::new(pair));
                None
            }
            Self::Few(few) => {
                let place = match search(few, key) {
                    Ok(place) => {
                        let (_, before) = few.get_mut(place)?;
                        return Some(core::mem::replace(before, value));
                    }
                    Err(place) => place,
                };
                let mut more = Vec::from(core::mem::take(few));
                more.reserve_exact(1);
                more.insert(place, (key, value));
                *self = if more.len() > FEW_MAX {
                    let mut many = Sorted::new();
                    for entry in more {
                        insert(&mut many, entry);
                    }
                    Self::Many(Box::new(many))
                } else {
                    Self::Few(more.into_boxed_slice())
                };
                None
            }
            Self::Many(many) => insert(many, (key, value)),
        }
    }

    /// Answers the value that was there.
    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Self::None => None,
            Self::One((held, _)) if *held != key => None,
            Self::One(_) => match core::mem::replace(self, Self::None) {
                Self::One((_, value)) => Some(value),
                Self::None | Self::Few(_) | Self::Many(_) => None,
            },
            Self::Few(few) => {
                let place = search(few, key).ok()?;
                let mut fewer = Vec::from(core::mem::take(few));
                let (_, value) = fewer.remove(place);
                *self = match fewer.len() {
                    1 => fewer.pop().map_or(Self::None, Self::One),
                    _ => Self::Few(fewer.into_boxed_slice()),
                };
                Some(value)
            }
            Self::Many(many) => {
                let place = many.search(|(held, _)| held.cmp(&key)).ok()?;
                let (_, value) = many.remove(place)?;
                // Half of where it became so many, so that it does not change with each call.
                if many.len() <= FEW_MAX / 2 {
                    let few: Vec<_> = many.slices().flatten().cloned().collect();
                    *self = Self::Few(few.into_boxed_slice());
                }
                Some(value)
            }
        }
    }
}

fn search<K: Ord, V>(few: &[(K, V)], key: K) -> Result<usize, usize> {
    few.binary_search_by(|(held, _)| held.cmp(&key))
}

fn insert<K: Copy + Ord, V: Clone>(many: &mut Sorted<(K, V)>, (key, value): (K, V)) -> Option<V> {
    match many.search(|(held, _)| held.cmp(&key)) {
        Ok(place) => {
            let (_, before) = many.get_mut(place)?;
            Some(core::mem::replace(before, value))
        }
        Err(place) => {
            many.insert(place, (key, value));
            None
        }
    }
}

/// Subscribers, as slices.
#[derive(Debug)]
pub(super) struct Slices<'s, K, V> {
    first: &'s [(K, V)],
    more: crate::index::Slices<'s, (K, V)>,
}

impl<K, V> Slices<'_, K, V> {
    pub(super) fn none() -> Self {
        Self {
            first: &[],
            more: crate::index::Slices::none(),
        }
    }
}

impl<K, V> Clone for Slices<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            first: self.first,
            more: self.more.clone(),
        }
    }
}

impl<'s, K, V> Iterator for Slices<'s, K, V> {
    type Item = &'s [(K, V)];

    #[inline]
    fn next(&mut self) -> Option<&'s [(K, V)]> {
        if self.first.is_empty() {
            return self.more.next();
        }
        Some(core::mem::take(&mut self.first))
    }
}
