//! One pass over the bytes of a topic, eight at a time while they are plain.

use crate::{LEN_MAX, TopicError, TopicErrorKind};

/// Checks what holds for names and filters alike: length, UTF-8, no U+0000. Answers where the
/// first wildcard character is.
// [5:MQTT-4.7.3-1] [3:MQTT-4.7.3-1] [5:MQTT-4.7.3-2] [3:MQTT-4.7.3-2] [5:MQTT-4.7.3-3] [3:MQTT-4.7.3-3]
pub(crate) fn check(bytes: &[u8]) -> Result<Option<usize>, TopicError> {
    if bytes.is_empty() {
        return Err(TopicError::new(TopicErrorKind::Empty, 0));
    }
    if bytes.len() > LEN_MAX {
        return Err(TopicError::new(TopicErrorKind::TooLong, LEN_MAX));
    }
    let start = plain_prefix(bytes);
    let rest = bytes.get(start..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    check_slowly(rest)
        .map_err(|error| error.shifted(start))
        .map(|wildcard| wildcard.map(|at| at.saturating_add(start)))
}

/// The rest, from the first word that is not plain. An ASCII prefix ends at a character boundary,
/// so UTF-8 can be checked from there.
fn check_slowly(bytes: &[u8]) -> Result<Option<usize>, TopicError> {
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

/// How many bytes at the front are ASCII, not U+0000, and no wildcard; in whole words, and the
/// last few only if all are.
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut words = bytes.chunks_exact(8);
    let mut plain = 0_usize;
    for word in words.by_ref() {
        let Ok(word) = <[u8; 8]>::try_from(word) else {
            return plain;
        };
        if !is_plain(u64::from_le_bytes(word)) {
            return plain;
        }
        plain = plain.saturating_add(8);
    }
    let tail = words.remainder();
    if tail
        .iter()
        .all(|&byte| byte.is_ascii() && byte != 0 && byte != b'+' && byte != b'#')
    {
        plain = plain.saturating_add(tail.len());
    }
    plain
}

fn is_plain(word: u64) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // A byte of `value` is zero where the borrow reaches its high bit. Bytes above a zero may
    // borrow too, which only makes the answer "not plain" for a word that is not plain anyway.
    let has_zero = |value: u64| value.wrapping_sub(LOW) & !value & HIGH;
    let plus = LOW.wrapping_mul(b'+' as u64);
    let hash = LOW.wrapping_mul(b'#' as u64);
    (word & HIGH) | has_zero(word) | has_zero(word ^ plus) | has_zero(word ^ hash) == 0
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
