//! One pass over the bytes of a topic, eight at a time while they are plain.

use crate::{LEN_MAX, TopicError, TopicErrorKind};

/// Checks what holds for names and filters alike: length, UTF-8, no U+0000. Answers where the
/// first wildcard character is.
// [5:MQTT-4.7.3-1] [3:MQTT-4.7.3-1] [5:MQTT-4.7.3-2] [3:MQTT-4.7.3-2] [5:MQTT-4.7.3-3] [3:MQTT-4.7.3-3]
#[inline]
pub(crate) fn check(bytes: &[u8]) -> Result<Option<usize>, TopicError> {
    if !bytes.is_empty() && bytes.len() <= LEN_MAX && all_plain(bytes) {
        return Ok(None);
    }
    check_slowly(bytes)
}

/// What is not plain: a fault, or a wildcard, or a text that is not ASCII.
#[inline(never)]
fn check_slowly(bytes: &[u8]) -> Result<Option<usize>, TopicError> {
    if bytes.is_empty() {
        return Err(TopicError::new(TopicErrorKind::Empty, 0));
    }
    if bytes.len() > LEN_MAX {
        return Err(TopicError::new(TopicErrorKind::TooLong, LEN_MAX));
    }
    let start = plain_prefix(bytes);
    let rest = bytes.get(start..).unwrap_or_default();
    check_rest(rest)
        .map_err(|error| error.shifted(start))
        .map(|wildcard| wildcard.map(|at| at.saturating_add(start)))
}

/// The rest, from the first word that is not plain. An ASCII prefix ends at a character boundary,
/// so UTF-8 can be checked from there.
fn check_rest(bytes: &[u8]) -> Result<Option<usize>, TopicError> {
    // [5:MQTT-1.5.4-1] [3:MQTT-1.5.3-1]
    if let Err(error) = core::str::from_utf8(bytes) {
        return Err(TopicError::new(
            TopicErrorKind::NotUtf8,
            error.valid_up_to(),
        ));
    }
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        return Err(TopicError::new(TopicErrorKind::NullCharacter, at));
    }
    Ok(bytes.iter().position(|&byte| byte == b'+' || byte == b'#'))
}

/// Whether all bytes are ASCII, not U+0000, and no wildcard.
#[inline]
fn all_plain(bytes: &[u8]) -> bool {
    let (words, _tail) = bytes.as_chunks::<8>();
    // The last eight bytes, some of them for the second time; or all there are.
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().all(|&byte| is_plain_byte(byte));
    };
    let found = words
        .iter()
        .fold(below_comma(last), |found, word| found | below_comma(word));
    // Letters, digits, `/`, `-`, `.` and `_` are all above the comma: nearly always that is it.
    found & HIGH == 0
        || words
            .iter()
            .chain([last])
            .all(|word| is_plain(u64::from_le_bytes(*word)))
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Has a high bit if a byte is not ASCII or stands below the comma, as U+0000 and both wildcards do.
#[inline]
fn below_comma(word: &[u8; 8]) -> u64 {
    let word = u64::from_le_bytes(*word);
    // In a word of ASCII, the borrow reaches the high bit of what is below, and maybe of the bytes
    // above it.
    word | word.wrapping_sub(LOW * b',' as u64)
}

/// How many whole words at the front are plain.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, _tail) = bytes.as_chunks::<8>();
    let plain = words
        .iter()
        .take_while(|word| is_plain(u64::from_le_bytes(**word)));
    plain.count().saturating_mul(8)
}

#[inline]
fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii() && byte != 0 && byte != b'+' && byte != b'#'
}

/// Whether eight bytes are ASCII, none U+0000, none a wildcard.
#[inline]
fn is_plain(word: u64) -> bool {
    const BIT_3: u64 = LOW << 3;
    // The two wildcards differ in this bit alone.
    const WILDCARD: u64 = LOW * b'+' as u64;
    // In a word of ASCII, subtracting one reaches the high bit of a byte only if that is zero, and
    // of the bytes above it, which changes nothing.
    let zero = word.wrapping_sub(LOW);
    let wildcard = ((word | BIT_3) ^ WILDCARD).wrapping_sub(LOW);
    (word | zero | wildcard) & HIGH == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_special_byte_at_every_place() {
        for len in 1..20 {
            for at in 0..len {
                for (special, expected) in [
                    (0, Err(TopicErrorKind::NullCharacter)),
                    (b'+', Ok(Some(at))),
                    (b'#', Ok(Some(at))),
                    (0x80, Err(TopicErrorKind::NotUtf8)),
                    (b'/', Ok(None)),
                    (0x01, Ok(None)),
                    (0x7F, Ok(None)),
                ] {
                    let mut bytes = [b'a'; 20];
                    bytes[at] = special;
                    let found = check(&bytes[..len]);
                    assert_eq!(
                        found.map_err(|error| error.kind()),
                        expected,
                        "{special:#x} at {at} of {len}"
                    );
                    if let Err(error) = found {
                        assert_eq!(error.offset(), at);
                    }
                }
            }
        }
    }
}
