//! UTF-8 strings and binary data as MQTT has them: with a length of two bytes in front.

use core::fmt;

/// The longest string or binary field, in bytes.
const LEN_MAX: usize = 65_535;

/// A string of MQTT: at most 65,535 bytes of UTF-8 without U+0000.
///
/// ```
/// use mqtt_codec::Str;
///
/// assert_eq!(Str::new("publisher-1")?.as_str(), "publisher-1");
/// assert!(Str::new("a\0b").is_err());
/// # Ok::<(), mqtt_codec::StrError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Str<'a> {
    bytes: &'a [u8],
}

/// Why a text is no string of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StrError {
    /// More than 65,535 bytes.
    TooLong,
    /// No well-formed UTF-8, from this byte on.
    NotUtf8 {
        /// From the start of the text.
        offset: usize,
    },
    /// U+0000 at this byte.
    NullCharacter {
        /// From the start of the text.
        offset: usize,
    },
}

impl fmt::Display for StrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("a string has at most 65535 bytes"),
            Self::NotUtf8 { offset } => {
                write!(f, "the string is no well-formed UTF-8 at byte {offset}")
            }
            Self::NullCharacter { offset } => {
                write!(f, "U+0000 is not allowed, but stands at byte {offset}")
            }
        }
    }
}

impl core::error::Error for StrError {}

impl<'a> Str<'a> {
    /// The string without characters.
    pub const EMPTY: Self = Self { bytes: &[] };

    /// Checks a text.
    ///
    /// # Errors
    ///
    /// [`StrError`] says what is wrong and where.
    pub fn new(text: &'a str) -> Result<Self, StrError> {
        Self::from_bytes(text.as_bytes())
    }

    /// Checks bytes, which have to be UTF-8.
    ///
    /// # Errors
    ///
    /// [`StrError`] says what is wrong and where.
    // [5:MQTT-1.5.4-1] [3:MQTT-1.5.3-1] Well-formed UTF-8 has no surrogates. [5:MQTT-1.5.4-2] [3:MQTT-1.5.3-2] No U+0000.
    // [5:MQTT-1.5.4-3] [3:MQTT-1.5.3-3] U+FEFF is a character like any other.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, StrError> {
        if bytes.len() <= LEN_MAX && is_plain(bytes) {
            return Ok(Self { bytes });
        }
        check_slowly(bytes).map(|()| Self { bytes })
    }

    /// Takes bytes that were checked when they were decoded.
    #[inline]
    pub(crate) fn assume_valid(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::from_bytes(bytes).is_ok(), "not checked before");
        Self { bytes }
    }

    /// The bytes of the text.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The text. Checks UTF-8 once more, so no hot path calls it.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        core::str::from_utf8(self.bytes).unwrap_or_default()
    }

    /// The length in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no character.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }
}

/// Whether all bytes are ASCII and none is U+0000: eight at a time.
#[inline(never)]
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    let (words, _tail) = bytes.as_chunks::<8>();
    // The last eight bytes, some of them for the second time; or all there are.
    let Some(last) = bytes.last_chunk::<8>() else {
        return is_plain_and_short(bytes);
    };
    let found = words
        .iter()
        .fold(special(*last), |found, word| found | special(*word));
    found & HIGHS == 0
}

/// The same for less than eight bytes: the first four and the last four, or one by one.
#[inline(always)]
fn is_plain_and_short(bytes: &[u8]) -> bool {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some([a, b, c, d]), Some([e, f, g, h])) => {
            special([*a, *b, *c, *d, *e, *f, *g, *h]) & HIGHS == 0
        }
        _ => bytes.iter().all(|byte| matches!(byte, 1..0x80)),
    }
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Has a high bit if a byte is not ASCII or is U+0000: the borrow reaches it.
#[inline(always)]
fn special(word: [u8; 8]) -> u64 {
    let word = u64::from_ne_bytes(word);
    word | word.wrapping_sub(ONES)
}

#[inline(never)]
fn check_slowly(bytes: &[u8]) -> Result<(), StrError> {
    if bytes.len() > LEN_MAX {
        return Err(StrError::TooLong);
    }
    if let Err(error) = core::str::from_utf8(bytes) {
        return Err(StrError::NotUtf8 {
            offset: error.valid_up_to(),
        });
    }
    match bytes.iter().position(|&byte| byte == 0) {
        Some(offset) => Err(StrError::NullCharacter { offset }),
        None => Ok(()),
    }
}

impl<'a> TryFrom<&'a str> for Str<'a> {
    type Error = StrError;

    fn try_from(text: &'a str) -> Result<Self, StrError> {
        Self::new(text)
    }
}

impl PartialEq<str> for Str<'_> {
    fn eq(&self, text: &str) -> bool {
        self.bytes == text.as_bytes()
    }
}

impl PartialEq<&str> for Str<'_> {
    fn eq(&self, text: &&str) -> bool {
        self.bytes == text.as_bytes()
    }
}

impl fmt::Display for Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Binary data of MQTT: at most 65,535 bytes.
///
/// `Debug` shows the length alone: passwords and authentication data are binary data.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binary<'a> {
    bytes: &'a [u8],
}

/// More than 65,535 bytes, which binary data cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "nothing to add")]
pub struct BinaryTooLong;

impl fmt::Display for BinaryTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary data has at most 65535 bytes")
    }
}

impl core::error::Error for BinaryTooLong {}

impl<'a> Binary<'a> {
    /// Checks the length.
    ///
    /// # Errors
    ///
    /// [`BinaryTooLong`].
    pub const fn new(bytes: &'a [u8]) -> Result<Self, BinaryTooLong> {
        if bytes.len() > LEN_MAX {
            Err(BinaryTooLong)
        } else {
            Ok(Self { bytes })
        }
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> TryFrom<&'a [u8]> for Binary<'a> {
    type Error = BinaryTooLong;

    fn try_from(bytes: &'a [u8]) -> Result<Self, BinaryTooLong> {
        Self::new(bytes)
    }
}

impl fmt::Debug for Binary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    /// What is not plain is looked at again, slowly: these say that what is plain is not.
    #[test]
    fn ascii_without_zero_is_plain_at_every_length_and_nothing_else_is() {
        let text = [b'~'; 40];
        for len in 0..=text.len() {
            let mut bytes = text;
            let bytes = &mut bytes[..len];
            assert!(is_plain(bytes), "{len} bytes");
            for at in 0..len {
                for (byte, plain) in [
                    (0, false),
                    (1, true),
                    (0x7F, true),
                    (0x80, false),
                    (0xFF, false),
                ] {
                    bytes[at] = byte;
                    assert_eq!(is_plain(bytes), plain, "{byte:#x} at {at} of {len} bytes");
                }
                bytes[at] = b'~';
            }
        }
    }
}
