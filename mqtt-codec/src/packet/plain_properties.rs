//! The properties of a PUBLISH as they mostly are: ASCII, in their range, none of them twice, and
//! few. They are read in one go that knows nothing of errors. Whatever else comes is left to the
//! careful reading, which starts anew and knows what to say.

use mqtt_topic::TopicName;

use super::publish::{PayloadFormat, PublishProperties};
use crate::PropertyId;
use crate::decoder::Counts;
use crate::property::Stretch;
use crate::text::{Binary, Str, is_plain};

const FORMAT: u8 = PropertyId::PayloadFormatIndicator as u8;
const EXPIRY: u8 = PropertyId::MessageExpiryInterval as u8;
const CONTENT_TYPE: u8 = PropertyId::ContentType as u8;
const RESPONSE_TOPIC: u8 = PropertyId::ResponseTopic as u8;
const CORRELATION_DATA: u8 = PropertyId::CorrelationData as u8;
const USER_PROPERTY: u8 = PropertyId::UserProperty as u8;

/// Reads the block at the front of `input`; answers what is behind it. `None` leaves things behind
/// in `properties` that mean nothing.
#[inline(never)]
pub(super) fn read<'a>(
    properties: &mut PublishProperties<'a>,
    input: &'a [u8],
) -> Option<&'a [u8]> {
    let (&length @ 0..0x80, behind) = input.split_first()? else {
        return None;
    };
    let (mut rest, behind) = behind.split_at_checked(length.into())?;
    let mut users = Stretch::default();
    let mut left = Counts::DEFAULT.user_properties_max;
    let mut seen = 0_u64;
    while let [id, value @ ..] = rest {
        let from = rest;
        if *id == USER_PROPERTY {
            left = left.checked_sub(1)?;
            rest = text(text(value)?.1)?.1;
            users.add(from, rest);
            continue;
        }
        // All of the others are below this one, and stand once.
        let bit = 1_u64.checked_shl(u32::from(*id))?;
        if seen & bit != 0 {
            return None;
        }
        seen |= bit;
        rest = match *id {
            FORMAT => {
                let (format, behind) = value.split_first()?;
                properties.payload_format = Some(match format {
                    0 => PayloadFormat::Unspecified,
                    1 => PayloadFormat::Utf8,
                    _ => return None,
                });
                behind
            }
            EXPIRY => {
                let (secs, behind) = value.split_first_chunk()?;
                properties.message_expiry_secs = Some(u32::from_be_bytes(*secs));
                behind
            }
            CONTENT_TYPE => {
                let (text, behind) = text(value)?;
                properties.content_type = Some(Str::assume_valid(text));
                behind
            }
            RESPONSE_TOPIC => {
                let (topic, behind) = counted(value)?;
                properties.response_topic = Some(TopicName::from_bytes(topic).ok()?);
                behind
            }
            CORRELATION_DATA => {
                let (data, behind) = counted(value)?;
                properties.correlation_data = Some(Binary::new(data).ok()?);
                behind
            }
            _ => return None,
        };
    }
    properties.user_properties = users.list();
    Some(behind)
}

#[inline(always)]
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, behind) = bytes.split_first_chunk()?;
    behind.split_at_checked(u16::from_be_bytes(*length).into())
}

#[inline(always)]
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (text, behind) = counted(bytes)?;
    is_plain(text).then_some((text, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The careful reading says the same of all of them: this says that it is not needed.
    #[test]
    fn plain_blocks_are_read_in_one_go() {
        let rows: [(&str, &[u8]); 8] = [
            ("nothing", b"\0"),
            ("unspecified format", b"\x02\x01\0"),
            ("text", b"\x02\x01\x01"),
            ("expiry", b"\x05\x02\0\0\0\x05"),
            ("content type", b"\x04\x03\0\x01x"),
            ("response topic", b"\x06\x08\0\x03a/b"),
            ("correlation data", b"\x04\x09\0\x01\xFF"),
            ("users", b"\x0E\x26\0\x01a\0\x01b\x26\0\x01c\0\x01d"),
        ];
        for (row, block) in rows {
            let input = [block, b"m"].concat();
            let behind = read(&mut PublishProperties::default(), &input);
            assert_eq!(behind, Some(&b"m"[..]), "{row}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_careful_reading() {
        let rows: [(&str, &[u8]); 7] = [
            ("cut short", b"\x03\x01\0"),
            ("a format of nobody", b"\x02\x01\x02"),
            ("a format twice", b"\x04\x01\0\x01\0"),
            ("not ASCII", b"\x05\x03\0\x02\xC3\xA4"),
            ("a wildcard", b"\x04\x08\0\x01#"),
            ("an alias", b"\x03\x23\0\x01"),
            ("a long block", b"\x80\x01"),
        ];
        for (row, block) in rows {
            let read = read(&mut PublishProperties::default(), block);
            assert_eq!(read, None, "{row}");
        }
    }
}
