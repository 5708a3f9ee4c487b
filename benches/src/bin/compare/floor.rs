//! What the least possible work costs: written by hand for one kind of packet, without errors that
//! say anything.

use core::hint::black_box;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mqtt_benches::{Workload, stream};
use mqtt_codec::ProtocolVersion;

use crate::case::{Case, Kind};

const STREAMS: [(&str, &str, Workload, ProtocolVersion); 4] = [
    (
        "D1-v3",
        "E1-v3",
        Workload::Telemetry,
        ProtocolVersion::V3_1_1,
    ),
    ("D1-v5", "E1-v5", Workload::Telemetry, ProtocolVersion::V5_0),
    (
        "D2-v3",
        "E2-v3",
        Workload::Acknowledged,
        ProtocolVersion::V3_1_1,
    ),
    (
        "D2-v5",
        "E2-v5",
        Workload::Acknowledged,
        ProtocolVersion::V5_0,
    ),
];

pub(crate) fn add(all: &mut Vec<Case>) {
    for (decode, encode, workload, version) in STREAMS {
        let bytes = stream(workload, version);
        let packets = count(&bytes);
        let is_v5 = version == ProtocolVersion::V5_0;
        all.push(Case::new(
            decode,
            ("borrowed + validated, 8 at a time", Kind::Floor),
            packets,
            bytes.clone(),
            |_| {},
            move |bytes| {
                let (mut rest, mut packets) = (&**bytes, 0);
                while let Some((publish, size)) = validated(rest, is_v5) {
                    black_box(publish);
                    rest = &rest[size..];
                    packets += 1;
                }
                packets
            },
        ));
        all.push(Case::new(
            decode,
            ("one shared frame", Kind::Floor),
            packets,
            (bytes.clone(), BytesMut::new()),
            |(bytes, input)| *input = BytesMut::from(&**bytes),
            move |(_, input)| {
                let mut packets = 0;
                while let Some((publish, size)) = validated(input, is_v5) {
                    let places = (publish.topic.len(), publish.payload.len());
                    let frame: Bytes = input.split_to(size).freeze();
                    black_box((frame, places));
                    packets += 1;
                }
                packets
            },
        ));
        all.push(Case::new(
            encode,
            ("header + memcpy", Kind::Floor),
            packets,
            (bytes, Vec::<u8>::new()),
            |(bytes, out)| {
                out.clear();
                out.reserve(bytes.len());
            },
            |(bytes, out)| {
                let (mut rest, mut packets) = (&**bytes, 0);
                while let Some((header_len, size)) = header(rest) {
                    out.put_u8(rest[0]);
                    var_int(out, size - header_len);
                    out.extend_from_slice(&rest[header_len..size]);
                    rest.advance(size);
                    packets += 1;
                }
                packets
            },
        ));
    }
}

pub(crate) fn count(mut bytes: &[u8]) -> usize {
    let mut packets = 0;
    while let Some((_, size)) = header(bytes) {
        bytes = &bytes[size..];
        packets += 1;
    }
    packets
}

#[inline]
pub(crate) fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut remaining, mut shift) = (0_usize, 0);
    for (place, byte) in bytes.iter().enumerate().skip(1).take(4) {
        remaining |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            let size = place + 1 + remaining;
            return (size <= bytes.len()).then_some((place + 1, size));
        }
        shift += 7;
    }
    None
}

struct Publish<'a> {
    topic: &'a [u8],
    payload: &'a [u8],
    id: u16,
}

/// A PUBLISH whose topic is plain ASCII.
#[inline]
fn validated(bytes: &[u8], is_v5: bool) -> Option<(Publish<'_>, usize)> {
    let (header_len, size) = header(bytes)?;
    let flags = bytes[0] & 0x0F;
    if bytes[0] >> 4 != 3 || flags & 6 == 6 {
        return None;
    }
    let mut body = bytes.get(header_len..size)?;
    let len = usize::from(u16::from_be_bytes(body.get(..2)?.try_into().ok()?));
    let topic = body.get(2..2 + len)?;
    body = &body[2 + len..];
    if topic.is_empty() || !is_plain(topic) {
        return None;
    }
    let mut id = 0;
    if flags & 6 != 0 {
        id = u16::from_be_bytes(body.get(..2)?.try_into().ok()?);
        if id == 0 {
            return None;
        }
        body = &body[2..];
    }
    if is_v5 {
        // The property block is jumped over.
        let first = usize::from(*body.first()?);
        body = body.get(1 + first..)?;
    }
    Some((
        Publish {
            topic,
            payload: body,
            id,
        },
        size,
    ))
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Whether a word holds U+0000, '+', '#', or anything that is not ASCII.
#[inline]
fn has_special(word: u64) -> bool {
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let found =
        zero(word) | zero(word ^ (ONES * b'+' as u64)) | zero(word ^ (ONES * b'#' as u64)) | word;
    found & HIGHS != 0
}

#[inline]
fn is_plain(topic: &[u8]) -> bool {
    let (words, rest) = topic.as_chunks::<8>();
    if words
        .iter()
        .any(|word| has_special(u64::from_ne_bytes(*word)))
    {
        return false;
    }
    let mut last = [b'a'; 8];
    last[..rest.len()].copy_from_slice(rest);
    !has_special(u64::from_ne_bytes(last))
}

#[inline]
fn var_int(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}

impl core::fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {} {}", self.topic.len(), self.id, self.payload.len())
    }
}
