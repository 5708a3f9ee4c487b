//! Bytes in a log.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, as hexadecimal digits.
#[derive(Clone, Default)]
pub(in crate::record) struct Hex(pub(in crate::record) Vec<u8>);

impl Hex {
    /// As it stands in a log.
    pub(in crate::record) fn digits(&self) -> String {
        alloc::format!("{}", Digits(&self.0))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Digits(&self.0))
    }
}

/// Writes bytes as hexadecimal digits.
pub(super) struct Digits<'a>(pub(super) &'a [u8]);

impl fmt::Display for Digits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some at once: a formatter is slow for each byte.
        for part in self.0.chunks(64) {
            let mut digits = [0; 128];
            let pairs = digits.chunks_exact_mut(2).zip(part);
            for (pair, byte) in pairs {
                pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0x0F)]);
            }
            let digits = digits.get(..part.len().saturating_mul(2));
            f.write_str(core::str::from_utf8(digits.unwrap_or_default()).unwrap_or_default())?;
        }
        Ok(())
    }
}

const fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0'.wrapping_add(value),
        _ => b'a'.wrapping_add(value).wrapping_sub(10),
    }
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor)
    }
}

struct HexVisitor;

impl Visitor<'_> for HexVisitor {
    type Value = Hex;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hexadecimal digits")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Hex, E> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes = pairs
            .iter()
            .map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
        let bytes: Option<_> = bytes.collect();
        let bytes = bytes.filter(|_| rest.is_empty());
        bytes
            .map(Hex)
            .ok_or_else(|| E::custom("these are no pairs of hexadecimal digits"))
    }
}
