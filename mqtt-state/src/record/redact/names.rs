//! Other names in place of the ones that stand in a log: each always the same, and as long.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Redaction;

/// What stands in place of what is left out, byte for byte.
pub(super) const FILLER: u8 = b'x';

/// What names are made of: one byte each, in no wildcard and between no levels.
const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// The names so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    what: Redaction,
    levels: Pool,
    clients: Pool,
    addresses: BTreeMap<IpAddr, u32>,
}

impl Names {
    pub(super) fn new(what: Redaction) -> Self {
        Self {
            what,
            ..Self::default()
        }
    }

    /// The text in place of a topic name or filter: level by level, so that what matched goes on to match.
    pub(super) fn topic(&mut self, text: &str) -> String {
        if !self.what.topics {
            return text.to_owned();
        }
        let mut other = String::new();
        for (place, level) in text.split('/').enumerate() {
            if place > 0 {
                other.push('/');
            }
            // Wildcards mean something, and so does what begins with a `$`.
            let is_kept = level.contains(['+', '#']) || (place == 0 && level.starts_with('$'));
            match is_kept {
                true => other.push_str(level),
                false => other.push_str(&self.levels.name(level)),
            }
        }
        other
    }

    /// The text in place of a client identifier, a user name or an identity.
    pub(super) fn client(&mut self, text: &str) -> String {
        // One that a broker has assigned comes from its seed; it will assign the same.
        let is_assigned = text
            .strip_prefix("auto-")
            .is_some_and(|rest| rest.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit()));
        if !self.what.names || is_assigned {
            return text.to_owned();
        }
        self.clients.name(text)
    }

    /// The text in place of words for people, which nothing depends on.
    pub(super) fn words(&self, text: &str) -> String {
        match self.what.names {
            true => fill(text),
            false => text.to_owned(),
        }
    }

    /// The address in place of another one, of the same family, with its port.
    pub(super) fn address(&mut self, address: SocketAddr) -> SocketAddr {
        if !self.what.names {
            return address;
        }
        let next = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let number = *self.addresses.entry(address.ip()).or_insert(next);
        let ip = match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 | number)),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(
                (0x2001_0DB8 << 96) | u128::from(number),
            )),
        };
        SocketAddr::new(ip, address.port())
    }
}

/// A text of the same length that says nothing. What must not be in a text stays, so that it is found again.
pub(super) fn fill(text: &str) -> String {
    let filled = { text.bytes() }.map(|it| if it == 0 { 0 } else { FILLER });
    filled.map(char::from).collect()
}

#[derive(Debug, Default)]
struct Pool {
    given: BTreeMap<String, String>,
    /// How many names of each length there are.
    counts: BTreeMap<usize, usize>,
}

impl Pool {
    fn name(&mut self, text: &str) -> String {
        if let Some(name) = self.given.get(text) {
            return name.clone();
        }
        let count = self.counts.entry(text.len()).or_default();
        let mut rest = *count;
        *count = count.saturating_add(1);
        let mut name = alloc::vec![b'a'; text.len()];
        for place in name.iter_mut().rev() {
            let letter = rest.checked_rem(LETTERS.len()).unwrap_or_default();
            *place = LETTERS.get(letter).copied().unwrap_or(FILLER);
            rest = rest.checked_div(LETTERS.len()).unwrap_or_default();
        }
        // More short names than there are: some become one.
        let name = match rest == 0 && !text.contains('\0') {
            true => name.into_iter().map(char::from).collect(),
            false => fill(text),
        };
        self.given.insert(text.to_owned(), name.clone());
        name
    }
}
