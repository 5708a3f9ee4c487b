//! Hashes that only the owner of the seed can foresee.

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
const OTHER: u64 = 0xD6E8_FEB8_6659_FD93;

/// Where hashing starts. With a seed that peers do not know they cannot choose names that collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Of a text: eight bytes at a time, the last eight perhaps for the second time.
    #[inline]
    pub(crate) fn text(self, text: &[u8]) -> u64 {
        let len = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let mut state = self.0 ^ len.wrapping_mul(ODD);
        let Some(last) = text.last_chunk::<8>() else {
            return mix(state ^ short(text), OTHER);
        };
        if text.len() > 8 {
            let (words, _last) = text.as_chunks::<8>();
            for word in words {
                state = mix(state ^ u64::from_le_bytes(*word), ODD);
            }
        }
        mix(state ^ u64::from_le_bytes(*last), OTHER)
    }
}

/// Of a text, by its hash, below something with a number.
#[inline]
pub(crate) fn below(parent: u32, text: u64) -> u64 {
    mix(text ^ u64::from(parent).wrapping_mul(ODD), OTHER)
}

/// Less than eight bytes as one number.
#[inline]
fn short(text: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return (u64::from(first) << 32) | u64::from(last);
    }
    text.iter()
        .fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

/// The two halves of the product, folded: every bit of the factors reaches every bit.
#[inline]
fn mix(one: u64, other: u64) -> u64 {
    let product = u128::from(one)
        .wrapping_mul(u128::from(other))
        .to_le_bytes();
    let (halves, _none) = product.as_chunks::<8>();
    halves
        .iter()
        .fold(0, |folded, half| folded ^ u64::from_le_bytes(*half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IndexConfig, Match, Scratch, SubscriptionIndex, TopicFilter, TopicName};
    use alloc::borrow::ToOwned;
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    /// An interpreter takes its time to find them.
    const COLLIDING: usize = if cfg!(miri) { 5 } else { 500 };

    #[test]
    fn every_byte_and_the_length_count() {
        let seed = Seed::new(7);
        let text = [0x61; 40];
        let mut seen = BTreeSet::new();
        for len in 0..=text.len() {
            assert!(seen.insert(seed.text(&text[..len])), "{len} bytes");
            for at in 0..len {
                let mut other = text;
                other[at] = 0x62;
                assert!(seen.insert(seed.text(&other[..len])), "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn the_seed_decides_and_bits_spread() {
        let of = |seed: u64| -> Vec<u64> {
            let seed = Seed::new(seed);
            (0..1000_u32)
                .map(|n| seed.text(format!("level-{n}").as_bytes()))
                .chain((0..1000).map(|n| below(n, seed.text(b"level"))))
                .collect()
        };
        let (one, other) = (of(1), of(2));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
        // Tags are the highest seven bits, places the lowest, pieces from the middle.
        for shift in [0, 20, 57] {
            let buckets: BTreeSet<_> = one.iter().map(|hash| (hash >> shift) & 127).collect();
            assert_eq!(buckets.len(), 128, "bits from {shift} on");
        }
    }

    /// Names with one hash under a seed: what their first eight bytes did to the state, the next
    /// eight undo.
    fn colliding(seed: u64) -> impl Iterator<Item = String> {
        let start = seed ^ 24_u64.wrapping_mul(ODD);
        (0_u64..).filter_map(move |number| {
            let first = format!("{number:08}");
            let (words, _) = first.as_bytes().as_chunks::<8>();
            let state = mix(start ^ u64::from_le_bytes(words[0]), ODD);
            let second = str::from_utf8(&state.to_le_bytes()).ok()?.to_owned();
            let is_level = second.is_ascii() && !second.contains(['/', '+', '#', '\0']);
            is_level.then(|| format!("{first}{second}together"))
        })
    }

    #[test]
    fn names_that_collide_do_so_under_one_seed_alone() {
        let names: Vec<_> = colliding(7).take(COLLIDING).collect();
        let hashes = |seed: u64| -> BTreeSet<u64> {
            let seed = Seed::new(seed);
            names
                .iter()
                .map(|name| seed.text(name.as_bytes()))
                .collect()
        };
        assert_eq!((hashes(7).len(), hashes(8).len()), (1, COLLIDING));
    }

    /// Slower, and right all the same.
    #[test]
    fn an_index_bears_names_that_collide() {
        let names: Vec<_> = colliding(7).take(COLLIDING).collect();
        let mut index = SubscriptionIndex::new(IndexConfig {
            hash_seed: 7,
            ..IndexConfig::default()
        });
        for (name, key) in names.iter().zip(0_u32..) {
            let filter = TopicFilter::new(name).unwrap();
            assert_eq!(index.insert(filter, key, ()), Ok(None));
        }
        let mut scratch = Scratch::default();
        for (name, key) in names.iter().zip(0..) {
            let topic = TopicName::new(name).unwrap();
            let mut found = index.matches(topic, &mut scratch);
            let first = found.next();
            assert!(matches!(first, Some(Match::Subscriber { key: held, .. }) if held == key));
            assert!(found.next().is_none());
            assert_eq!(scratch.steps(), 2, "the root and the level");
        }
        for (_, key) in names.iter().zip(0..) {
            assert_eq!(index.remove_subscriber(key), 1);
        }
        assert_eq!(index.nodes_len(), 1);
    }
}
