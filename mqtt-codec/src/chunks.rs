//! PUBLISH in pieces: payloads larger than memory allows, in both directions.

use crate::decoder::{DecodeConfig, check_topics};
use crate::packet::{Body as _, Lengths};
#[cfg(feature = "alloc")]
use crate::wire::Behind;
use crate::wire::{Context, Front, Header, Reader, Room};
use crate::{
    DecodeError, DecodeErrorKind, EncodeError, Frame, PacketType, Parsed, ProtocolVersion, Publish,
};

/// A PUBLISH whose head is there: everything but its payload, of which some may be there too.
///
/// ```
/// use mqtt_codec::{DecodeConfig, Parsed, ProtocolVersion, PublishStart};
///
/// // Announces 200 bytes of payload; two of them have come.
/// let input = [0x30, 0xCB, 0x01, 0x00, 0x01, b't', b'h', b'i'];
/// let parsed = PublishStart::parse(&input, ProtocolVersion::V3_1_1, 1024, &DecodeConfig::default())?;
/// let Parsed::Complete(start) = parsed else { unreachable!() };
/// assert_eq!(start.publish().topic.name().map(|name| name.as_str()), Some("t"));
///
/// let mut chunks = start.payload();
/// assert_eq!(chunks.take(&input[start.head_len()..]), b"hi");
/// assert_eq!(chunks.left(), 198);
/// # Ok::<(), mqtt_codec::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishStart<'a> {
    publish: Publish<'a>,
    head_len: usize,
    payload_len: u32,
}

impl<'a> PublishStart<'a> {
    /// Reads the head of the PUBLISH at the front of `input`, as soon as it is there. For other
    /// packets see [`Frame::parse`].
    ///
    /// `head_size_max` limits the head, in bytes with the fixed header; the limit of the packet in
    /// `config` holds for the whole. What `config` tolerates is not counted here.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for whatever the standard forbids, for a head above its limit, and for other
    /// packets.
    pub fn parse(
        input: &'a [u8],
        version: ProtocolVersion,
        head_size_max: u32,
        config: &DecodeConfig,
    ) -> Result<Parsed<Self>, DecodeError> {
        let limit = config.limits.packet_size_max;
        let start = Frame::parse_start(input, Some(version), limit, config.strictness)?;
        let Parsed::Complete(start) = start else {
            return Ok(Parsed::Partial { needed: 1 });
        };
        let context = Context {
            packet_type: start.packet_type,
            version: Some(version),
            counts: config.limits.counts,
            strictness: config.strictness,
        };
        let header_len = usize::from(start.header_len);
        let size = usize::try_from(start.size).unwrap_or(usize::MAX);
        let there = input.len().min(size);
        let body = input.get(header_len..there).unwrap_or_default();
        let mut reader = Reader::new(body, header_len, context);
        if start.packet_type != PacketType::Publish {
            let field = crate::Field::FixedHeader;
            return Err(reader.error_at(DecodeErrorKind::NotPublish, field, 0));
        }
        match Publish::decode(start.flags, &mut reader, version, |publish| publish) {
            Ok(publish) => {
                let place = (body, header_len);
                check_topics(&publish.into(), place, version, config.strictness)?;
                let head_len = there.saturating_sub(publish.payload.len());
                let head_size = u32::try_from(head_len).unwrap_or(u32::MAX);
                if head_size > head_size_max {
                    let kind = DecodeErrorKind::PacketTooLarge {
                        size: head_size,
                        maximum: head_size_max,
                    };
                    return Err(reader.error_at(kind, crate::Field::RemainingLength, 1));
                }
                let payload_len = size.saturating_sub(head_len);
                Ok(Parsed::Complete(Self {
                    publish,
                    head_len,
                    payload_len: u32::try_from(payload_len).unwrap_or(u32::MAX),
                }))
            }
            // A field that goes on behind what is there, while the packet does too.
            Err(error) if error.kind() == DecodeErrorKind::CutShort && there < size => {
                let maximum = head_size_max;
                if u32::try_from(there).is_ok_and(|there| there < maximum) {
                    return Ok(Parsed::Partial { needed: 1 });
                }
                let size = u32::try_from(there).unwrap_or(u32::MAX).saturating_add(1);
                let kind = DecodeErrorKind::PacketTooLarge { size, maximum };
                Err(reader.error_at(kind, crate::Field::RemainingLength, 1))
            }
            Err(error) => Err(error),
        }
    }

    /// The packet. Its payload is what was there; more comes behind it.
    #[must_use]
    pub const fn publish(&self) -> &Publish<'a> {
        &self.publish
    }

    /// The length of everything in front of the payload, in bytes.
    #[must_use]
    pub const fn head_len(&self) -> usize {
        self.head_len
    }

    /// The whole payload, to be taken in pieces.
    #[must_use]
    pub const fn payload(&self) -> PayloadChunks {
        PayloadChunks {
            left: self.payload_len,
        }
    }
}

/// A payload that comes in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadChunks {
    left: u32,
}

impl PayloadChunks {
    /// The part of `input` that belongs to the payload; what is behind it is the next packet.
    pub fn take<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let taken = input.get(..left).unwrap_or(input);
        let len = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(len);
        taken
    }

    /// Bytes that are still to come.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }
}

impl Publish<'_> {
    /// The length of everything in front of the payload, in bytes.
    ///
    /// # Errors
    ///
    /// As [`encode_head`](Self::encode_head).
    pub fn head_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.head(version, self.payload.len()).map(|head| head.size)
    }

    /// Writes everything in front of the payload; answers how many bytes that were. The payload is
    /// the caller's to send: it is not touched.
    ///
    /// # Errors
    ///
    /// As [`Packet::encode`](crate::Packet::encode). Nothing has been written then.
    pub fn encode_head(
        &self,
        version: ProtocolVersion,
        buf: &mut [u8],
    ) -> Result<usize, EncodeError> {
        self.encode_head_for(version, self.payload.len(), buf)
    }

    /// Writes the head of a PUBLISH with a payload of so many bytes, which the caller sends behind
    /// it in whatever pieces; the payload of `self` means nothing.
    ///
    /// # Errors
    ///
    /// As [`Packet::encode`](crate::Packet::encode). Nothing has been written then.
    pub fn encode_head_for(
        &self,
        version: ProtocolVersion,
        payload_len: usize,
        buf: &mut [u8],
    ) -> Result<usize, EncodeError> {
        self.encode_head_into(version, payload_len, &mut Front(buf))
    }

    /// Appends everything in front of the payload to a buffer; answers how many bytes that were.
    ///
    /// # Errors
    ///
    /// As [`encode_head`](Self::encode_head).
    #[cfg(feature = "alloc")]
    pub fn encode_head_to(
        &self,
        version: ProtocolVersion,
        buf: &mut impl bytes::BufMut,
    ) -> Result<usize, EncodeError> {
        self.encode_head_into(version, self.payload.len(), &mut Behind(buf))
    }

    /// Writes the head where there is room for it.
    #[inline(always)]
    pub(crate) fn encode_head_into(
        &self,
        version: ProtocolVersion,
        payload_len: usize,
        room: &mut impl Room,
    ) -> Result<usize, EncodeError> {
        let head = self.head(version, payload_len)?;
        let mut out = room.take(head.size)?;
        self.write_head(version, head, self.header(head), &mut out);
        Ok(head.size)
    }

    /// Lengths of which the size is that of the head alone.
    fn head(&self, version: ProtocolVersion, payload_len: usize) -> Result<Lengths, EncodeError> {
        self.check(version)?;
        // A caller may name any length, even one that nothing can be added to.
        if u32::try_from(payload_len).is_err() {
            return Err(EncodeError::PacketTooLarge { size: payload_len });
        }
        let lengths = self.lengths_for(version, payload_len)?;
        Ok(Lengths {
            size: lengths.size.saturating_sub(payload_len),
            ..lengths
        })
    }

    fn header(&self, lengths: Lengths) -> Header {
        let (packet_type, flags) = self.header_flags();
        Header::new(packet_type, flags, lengths.remaining)
    }
}
