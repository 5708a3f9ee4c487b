//! One pass over the bytes of a topic, eight at a time while they are plain.

use crate::{LEN_MAX, TopicError, TopicErrorKind};

/// Whether a name is valid at a glance, as nearly all are. For the others, [`check_text`] says.
#[inline]
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() <= LEN_MAX && all_plain(bytes)
}

/// Whether a filter is valid, in one pass over ASCII. For the others, the slower checks say.
#[inline(never)]
pub(crate) fn is_plain_filter(bytes: &[u8]) -> bool {
    if bytes.is_empty() || bytes.len() > LEN_MAX {
        return false;
    }
    let mut special = 0;
    let mut is_alone = |at: usize| match bytes.get(at.saturating_sub(1)..) {
        Some([b'/', b'+', b'/', ..] | [b'/', b'+' | b'#']) => Ok(()),
        // At the front, where there is nothing before it: elsewhere this is not its first byte.
        Some([b'+', b'/', ..] | [b'+' | b'#']) => Ok(()),
        _ => Err(()),
    };
    for (start, word) in words(bytes) {
        special |= word | word.wrapping_sub(LOW);
        if each_in_word(word, start, &mut is_alone).is_err() {
            return false;
        }
    }
    special & HIGH == 0
}

/// Whether two texts are the same: for the short ones that levels are, without a call.
#[cfg(feature = "alloc")]
#[inline(always)]
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        0..4 => one.iter().eq(other),
        4..=8 => ends::<4>(one) == ends::<4>(other),
        9..=16 => ends::<8>(one) == ends::<8>(other),
        _ => one == other,
    }
}

#[cfg(feature = "alloc")]
#[inline(always)]
fn ends<const N: usize>(text: &[u8]) -> (Option<&[u8; N]>, Option<&[u8; N]>) {
    (text.first_chunk(), text.last_chunk())
}

/// How many bytes two texts have in common at the front.
#[inline(always)]
pub(crate) fn same_len(one: &[u8], other: &[u8]) -> usize {
    let ((words, _), (others, _)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let mut len = 0_usize;
    for (word, other) in words.iter().zip(others) {
        let differs = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if differs != 0 {
            let bytes = usize::try_from(differs.trailing_zeros() / 8).unwrap_or(0);
            return len.saturating_add(bytes);
        }
        len = len.saturating_add(8);
    }
    let rest = one.get(len..).unwrap_or_default().iter();
    let others = other.get(len..).unwrap_or_default();
    let same = rest.zip(others).take_while(|(one, other)| one == other);
    len.saturating_add(same.count())
}

/// Where the first '/' is.
#[inline(always)]
pub(crate) fn slash(text: &[u8]) -> Option<usize> {
    let (words, tail) = text.as_chunks::<8>();
    let mut at = 0_usize;
    for word in words {
        let others = u64::from_le_bytes(*word) ^ SLASHES;
        // A high bit for each byte that is none other; false ones only behind the first.
        let found = others.wrapping_sub(LOW) & !others & HIGH;
        if found != 0 {
            let place = usize::try_from(found.trailing_zeros() / 8).unwrap_or(0);
            return Some(at | place);
        }
        at = at.saturating_add(8);
    }
    let place = tail.iter().position(|byte| *byte == b'/')?;
    Some(at | place)
}

/// The text from its first '/' on.
#[inline(always)]
pub(crate) fn from_slash(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [first, behind @ ..] = rest
        && *first != b'/'
    {
        rest = behind;
    }
    rest
}

/// Eight bytes at a time with the place of the first; at the end, letters are what is missing.
#[inline(always)]
fn words(bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    let (words, tail) = bytes.as_chunks::<8>();
    let whole = words.iter().map(|word| u64::from_le_bytes(*word));
    (0..).step_by(8).zip(whole.chain(tail_word(bytes, tail)))
}

/// The bytes behind the last whole word as a word, filled up with letters; `None` if there are none.
#[inline(always)]
fn tail_word(bytes: &[u8], tail: &[u8]) -> Option<u64> {
    const LETTERS: u64 = LOW * b'a' as u64;
    if tail.is_empty() {
        return None;
    }
    let bits = tail.len().wrapping_mul(8) & 63;
    let shift = u32::try_from(64_usize.wrapping_sub(bits)).unwrap_or(0) & 63;
    let low = match bytes.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last) >> shift,
        None => {
            let fold = |word: u64, byte: &u8| (word << 8) | u64::from(*byte);
            tail.iter().rev().fold(0, fold)
        }
    };
    Some(low | (LETTERS << (bits & 63)))
}

/// A high bit for each byte that is a wildcard.
#[inline(always)]
fn wildcards(word: u64) -> u64 {
    // The two differ in one bit alone. Bytes beyond ASCII have their high bit here still.
    let difference = (word | BIT_3) ^ WILDCARD;
    // In each byte: the high bit is set if there is no difference, or one beyond ASCII.
    HIGH.wrapping_sub(difference & !HIGH) & HIGH & !difference
}

/// Checks what holds for names and filters alike: length, UTF-8, no U+0000.
// [5:MQTT-4.7.3-1] [3:MQTT-4.7.3-1] [5:MQTT-4.7.3-2] [3:MQTT-4.7.3-2] [5:MQTT-4.7.3-3] [3:MQTT-4.7.3-3]
pub(crate) fn check_text(bytes: &[u8]) -> Result<(), TopicError> {
    if bytes.is_empty() {
        return Err(TopicError::new(TopicErrorKind::Empty, 0));
    }
    if bytes.len() > LEN_MAX {
        return Err(TopicError::new(TopicErrorKind::TooLong, LEN_MAX));
    }
    if is_ascii_without_null(bytes) {
        return Ok(());
    }
    check_slowly(bytes)
}

/// What is no ASCII, or a fault.
#[inline(never)]
fn check_slowly(bytes: &[u8]) -> Result<(), TopicError> {
    // [5:MQTT-1.5.4-1] [3:MQTT-1.5.3-1]
    if let Err(error) = core::str::from_utf8(bytes) {
        let offset = error.valid_up_to();
        return Err(TopicError::new(TopicErrorKind::NotUtf8, offset));
    }
    match bytes.iter().position(|&byte| byte == 0) {
        Some(at) => Err(TopicError::new(TopicErrorKind::NullCharacter, at)),
        None => Ok(()),
    }
}

/// Where the first wildcard character is.
pub(crate) fn first_wildcard(bytes: &[u8]) -> Option<usize> {
    each_wildcard(bytes, Err).err()
}

/// Calls `each` with the place of every wildcard character, from the front, until it says `Err`.
#[inline]
pub(crate) fn each_wildcard<E>(
    bytes: &[u8],
    mut each: impl FnMut(usize) -> Result<(), E>,
) -> Result<(), E> {
    for (start, word) in words(bytes) {
        each_in_word(word, start, &mut each)?;
    }
    Ok(())
}

/// The wildcards among eight bytes, the first of which stands at `start`.
#[inline(always)]
fn each_in_word<E>(
    word: u64,
    start: usize,
    each: &mut impl FnMut(usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut found = wildcards(word);
    while found != 0 {
        let at = found.trailing_zeros() / 8;
        each(start.saturating_add(usize::try_from(at).unwrap_or(0)))?;
        found &= found.wrapping_sub(1);
    }
    Ok(())
}

/// Whether all bytes are ASCII, not U+0000, and no wildcard.
#[inline]
fn all_plain(bytes: &[u8]) -> bool {
    let (words, _tail) = bytes.as_chunks::<8>();
    // The last eight bytes, some of them for the second time; or all there are.
    let Some(last) = bytes.last_chunk::<8>() else {
        return is_plain_and_short(bytes);
    };
    let found = words
        .iter()
        .fold(below_comma(last), |found, word| found | below_comma(word));
    // Letters, digits, `/`, `-`, `.` and `_` are all above the comma: nearly always that is it.
    found & HIGH == 0
        || words
            .iter()
            .chain([last])
            .all(|word| is_plain_word(u64::from_le_bytes(*word)))
}

/// The same for less than eight bytes: the first four and the last four, or one by one.
#[inline(never)]
fn is_plain_and_short(bytes: &[u8]) -> bool {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some([a, b, c, d]), Some([e, f, g, h])) => {
            is_plain_word(u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        _ => bytes.iter().all(|&byte| is_plain_byte(byte)),
    }
}

fn is_ascii_without_null(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<8>();
    let special = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        word | word.wrapping_sub(LOW)
    };
    words.iter().fold(0, |found, word| found | special(word)) & HIGH == 0
        && tail.iter().all(|byte| matches!(byte, 1..0x80))
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const BIT_3: u64 = LOW << 3;
// The two wildcards differ in this bit alone.
const WILDCARD: u64 = LOW * b'+' as u64;
const SLASHES: u64 = LOW * b'/' as u64;
const COMMAS: u64 = LOW * b',' as u64;

/// Has a high bit if a byte is not ASCII or stands below the comma, as U+0000 and both wildcards do.
#[inline]
fn below_comma(word: &[u8; 8]) -> u64 {
    let word = u64::from_le_bytes(*word);
    // In a word of ASCII, the borrow reaches the high bit of what is below, and maybe of the bytes
    // above it.
    word | word.wrapping_sub(COMMAS)
}

#[inline]
fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii() && byte != 0 && byte != b'+' && byte != b'#'
}

/// Whether eight bytes are ASCII, none U+0000, none a wildcard.
#[inline]
fn is_plain_word(word: u64) -> bool {
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
        let fault = TopicErrorKind::NotUtf8;
        for len in 1..28 {
            for at in 0..len {
                for (special, plain, text, wildcard) in [
                    (0, false, Err(TopicErrorKind::NullCharacter), None),
                    (b'+', false, Ok(()), Some(at)),
                    (b'#', false, Ok(()), Some(at)),
                    (0x80, false, Err(fault), None),
                    // Differ from the wildcards in one bit each.
                    (0xAB, false, Err(fault), None),
                    (0xA3, false, Err(fault), None),
                    (b'*', true, Ok(()), None),
                    (b'$', true, Ok(()), None),
                    (b' ', true, Ok(()), None),
                    (b'/', true, Ok(()), None),
                    (0x01, true, Ok(()), None),
                    (0x7F, true, Ok(()), None),
                ] {
                    let mut bytes = [b'a'; 28];
                    bytes[at] = special;
                    let bytes = &bytes[..len];
                    let row = (special, at, len);
                    let checked = check_text(bytes);
                    assert_eq!(is_plain(bytes), plain, "{row:?}");
                    assert_eq!(checked.map_err(|error| error.kind()), text, "{row:?}");
                    assert_eq!(checked.err().map_or(at, |error| error.offset()), at);
                    assert_eq!(first_wildcard(bytes), wildcard, "{row:?}");
                }
            }
        }
    }

    #[test]
    fn finds_every_wildcard_from_the_front() {
        let mut expected = [0, 7, 8, 17].into_iter();
        let all = each_wildcard(b"+/a/\xC3\xAB/#+/bcdefg/+", |at| {
            assert_eq!(Some(at), expected.next());
            Ok::<(), ()>(())
        });
        assert_eq!((all, expected.next()), (Ok(()), None));
    }

    /// The careful ways say the same: this says that they are not needed.
    #[test]
    fn what_is_usual_is_taken_at_a_glance() {
        let text = b"house/light-1 'x'.y_z~0/kitchen/sensor";
        for len in 1..text.len() {
            let text = &text[..len];
            assert!(is_plain(text) && is_ascii_without_null(text), "{len}");
            assert!(is_plain_filter(text), "{len}");
            for end in ["/+", "/#", "/+/a", "/+/+/#"] {
                let filter = [text, end.as_bytes()].concat();
                assert!(is_plain_filter(&filter), "{len} {end}");
            }
        }
        assert!(!is_plain_filter("\u{e4}".as_bytes()) && !is_plain_filter(b"a\0"));
    }

    #[test]
    fn the_first_slash_is_found_at_every_place() {
        for len in 0..28 {
            assert_eq!(slash(&[b'a'; 28][..len]), None);
            for at in 0..len {
                let mut bytes = [b'.'; 28];
                bytes[at..].fill(b'/');
                assert_eq!(slash(&bytes[..len]), Some(at), "{at} of {len}");
                // One bit apart.
                bytes[..at].fill(0xAF);
                assert_eq!(slash(&bytes[..len]), Some(at), "{at} of {len}");
            }
        }
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn texts_are_the_same_or_differ_somewhere() {
        let text = [b'a'; 20];
        for len in 0..20 {
            assert!(is_same(&text[..len], &text[..len]));
            assert!(!is_same(&text[..len], &text[..=len]));
            for at in 0..len {
                let mut other = text;
                other[at] = b'b';
                assert!(!is_same(&text[..len], &other[..len]), "{at} of {len}");
            }
        }
    }
}
