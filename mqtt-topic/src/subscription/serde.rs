//! Subscriptions as a list of what was asked for, to be checked again when it comes back.

use alloc::string::String;
use core::fmt;
use core::marker::PhantomData;

use ::serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use ::serde::ser::{Error as _, Serialize, SerializeSeq as _, Serializer};

use super::{SubscriptionFilter, SubscriptionIndex};
use crate::{SharedFilter, TopicFilter};

/// A list of `(key, group, filter, value)`; the group is `None` for an ordinary subscription.
impl<K: Copy + Ord + Serialize, V: Serialize> Serialize for SubscriptionIndex<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        let mut outcome = Ok(());
        self.for_each(|key, filter, value| {
            if outcome.is_err() {
                return;
            }
            outcome = match filter {
                SubscriptionFilter::Plain(filter) => {
                    list.serialize_element(&(key, None::<&str>, filter.as_str(), value))
                }
                SubscriptionFilter::Shared { group, filter } => match core::str::from_utf8(group) {
                    Ok(group) => {
                        list.serialize_element(&(key, Some(group), filter.as_str(), value))
                    }
                    Err(error) => Err(S::Error::custom(error)),
                },
            };
        });
        outcome?;
        list.end()
    }
}

/// With the default limits; what they do not allow is an error, and so is a filter that is none.
impl<'de, K, V> Deserialize<'de> for SubscriptionIndex<K, V>
where
    K: Copy + Ord + Deserialize<'de>,
    V: Clone + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List(PhantomData))
    }
}

struct List<K, V>(PhantomData<(K, V)>);

impl<'de, K, V> Visitor<'de> for List<K, V>
where
    K: Copy + Ord + Deserialize<'de>,
    V: Clone + Deserialize<'de>,
{
    type Value = SubscriptionIndex<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of subscriptions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut index = SubscriptionIndex::default();
        while let Some((key, group, filter, value)) =
            list.next_element::<(K, Option<String>, String, V)>()?
        {
            match group {
                None => {
                    let filter = TopicFilter::new(&filter).map_err(A::Error::custom)?;
                    index.insert(filter, key, value).map_err(A::Error::custom)?;
                }
                Some(group) => {
                    let whole = ["$share", &group, &filter].join("/");
                    let shared = SharedFilter::new(&whole).map_err(A::Error::custom)?;
                    if shared.group_bytes() != group.as_bytes() {
                        return Err(A::Error::custom("a group with more than one level"));
                    }
                    index
                        .insert_shared(shared, key, value)
                        .map_err(A::Error::custom)?;
                }
            }
        }
        Ok(index)
    }
}
