//! The names under which a store keeps what a broker must not forget.

use alloc::boxed::Box;
use alloc::vec::Vec;

use mqtt_codec::PacketId;

/// The name of one thing in a store.
///
/// As bytes it is a key for any ordered store: [`Restore`](crate::broker::Restore) wants the entries in
/// the order of these bytes. Names are never used for another thing later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreKey(pub(super) Key);

/// What a name means. The order is the one in which things are put back: whatever refers to
/// another thing comes behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Message {
        message: u64,
    },
    /// The message is the retained one of its topic.
    Retained {
        message: u64,
    },
    Session {
        session: u64,
    },
    Subscription {
        session: u64,
        filter: Box<str>,
    },
    /// A message on its way to a client, in the order of these numbers.
    Delivery {
        session: u64,
        number: u64,
    },
    /// A QoS 2 message that came from the client and was not released.
    Unreleased {
        session: u64,
        id: PacketId,
    },
}

impl Key {
    /// The number that it was named by.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Message { message } | Self::Retained { message } => *message,
            Self::Session { session }
            | Self::Subscription { session, .. }
            | Self::Unreleased { session, .. } => *session,
            Self::Delivery { number, .. } => *number,
        }
    }
}

impl StoreKey {
    /// The same, with another filter where it has one.
    #[cfg(feature = "record")]
    pub(crate) fn with_filter(self, other: impl FnOnce(&str) -> alloc::string::String) -> Self {
        match self.0 {
            Key::Subscription { session, filter } => Self(Key::Subscription {
                session,
                filter: other(&filter).into(),
            }),
            _ => self,
        }
    }

    /// The key as bytes, which sort as the keys do: 9 to 17 of them, or 9 and the length of a filter.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut start = |kind: u8, number: &u64| {
            bytes.push(kind);
            bytes.extend_from_slice(&number.to_be_bytes());
        };
        match &self.0 {
            Key::Message { message } => start(1, message),
            Key::Retained { message } => start(2, message),
            Key::Session { session } => start(3, session),
            Key::Subscription { session, filter } => {
                start(4, session);
                bytes.extend_from_slice(filter.as_bytes());
            }
            Key::Delivery { session, number } => {
                start(5, session);
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Key::Unreleased { session, id } => {
                start(6, session);
                bytes.extend_from_slice(&id.get().to_be_bytes());
            }
        }
        bytes
    }

    /// The key that these bytes are; `None` when they are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (number, rest) = rest.split_first_chunk()?;
        let number = u64::from_be_bytes(*number);
        let key = match kind {
            1 if rest.is_empty() => Key::Message { message: number },
            2 if rest.is_empty() => Key::Retained { message: number },
            3 if rest.is_empty() => Key::Session { session: number },
            4 => Key::Subscription {
                session: number,
                filter: core::str::from_utf8(rest).ok()?.into(),
            },
            5 => Key::Delivery {
                session: number,
                number: u64::from_be_bytes(rest.try_into().ok()?),
            },
            6 => Key::Unreleased {
                session: number,
                id: PacketId::new(u16::from_be_bytes(rest.try_into().ok()?))?,
            },
            _unknown => return None,
        };
        Some(Self(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn all() -> Vec<StoreKey> {
        let id = |id| PacketId::new(id).unwrap();
        let keys = vec![
            Key::Message { message: 1 },
            Key::Message { message: 256 },
            Key::Retained { message: 1 },
            Key::Session { session: 7 },
            Key::Subscription {
                session: 7,
                filter: "a/#".into(),
            },
            Key::Subscription {
                session: 300,
                filter: "$share/g/é".into(),
            },
            Key::Delivery {
                session: 7,
                number: 2,
            },
            Key::Delivery {
                session: 7,
                number: u64::MAX,
            },
            Key::Unreleased {
                session: 7,
                id: id(2),
            },
            Key::Unreleased {
                session: 7,
                id: id(65_535),
            },
        ];
        keys.into_iter().map(StoreKey).collect()
    }

    #[test]
    fn bytes_sort_as_keys_do_and_come_back() {
        let keys = all();
        for pair in keys.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
            assert!(pair[0].to_bytes() < pair[1].to_bytes(), "{pair:?}");
        }
        for key in keys {
            assert_eq!(StoreKey::from_bytes(&key.to_bytes()), Some(key));
        }
    }

    #[test]
    fn other_bytes_are_no_key() {
        for key in all() {
            let bytes = key.to_bytes();
            let is_text = matches!(key.0, Key::Subscription { .. });
            for len in 0..bytes.len() {
                let cut = StoreKey::from_bytes(&bytes[..len]);
                assert!(
                    cut.is_none() || (is_text && len >= 9),
                    "{key:?} cut to {len}"
                );
            }
            let longer = [&bytes[..], &[0xFF]].concat();
            assert_eq!(StoreKey::from_bytes(&longer), None, "{key:?} and more");
            let other = [&[9], &bytes[1..]].concat();
            assert_eq!(StoreKey::from_bytes(&other), None, "another kind");
        }
    }
}
