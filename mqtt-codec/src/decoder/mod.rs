//! A decoder with limits and a strictness of its own, which counts what it lets through.

mod limits;
mod strictness;
mod topics;

pub use limits::{Counts, Limits};
pub use strictness::{Rule, RuleSet, Strictness};
pub(crate) use topics::check_topics;

use crate::packet::{Anybody, Client, Sender, Server};
use crate::{Connect, DecodeError, Frame, Packet, Parsed, PlainPublish, ProtocolVersion};

/// What one decoder takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct DecodeConfig {
    /// How much.
    pub limits: Limits,
    /// How strictly.
    pub strictness: Strictness,
}

impl DecodeConfig {
    /// The defaults, for those who are not asked.
    pub(crate) const STRICT: Self = Self {
        limits: Limits::DEFAULT,
        strictness: Strictness::STRICT,
    };
}

/// Reads the packets of one peer, with limits and a strictness of its own.
///
/// [`decode`](crate::decode()) is this with the defaults, for those who want nothing else.
///
/// ```
/// use mqtt_codec::{DecodeConfig, Decoder, Packet, Parsed, ProtocolVersion, Rule, Strictness};
///
/// let mut decoder = Decoder::new(DecodeConfig {
///     strictness: Strictness::STRICT.tolerate(Rule::HeaderFlags),
///     ..DecodeConfig::default()
/// });
/// let version = ProtocolVersion::V3_1_1;
/// let pubrel_with_wrong_flags = [0x60, 0x02, 0x00, 0x0A];
/// let Parsed::Complete(frame) = decoder.parse(&pubrel_with_wrong_flags, Some(version))? else { unreachable!() };
/// assert!(matches!(decoder.decode(&frame, version)?, Packet::PubRel(_)));
/// assert_eq!(decoder.tolerated().collect::<Vec<_>>(), [(Rule::HeaderFlags, 1)]);
/// # Ok::<(), mqtt_codec::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    config: DecodeConfig,
    /// Largest packet that the short way may take: none where it leaves out what is asked for.
    plain_size_max: u32,
    /// In the order of [`Rule::ALL`].
    counts: [u32; Rule::ALL.len()],
}

/// A decoder with the defaults, that has let nothing through.
impl Default for Decoder {
    fn default() -> Self {
        Self::new(DecodeConfig::default())
    }
}

impl Decoder {
    /// A decoder that has let nothing through.
    #[must_use]
    pub const fn new(config: DecodeConfig) -> Self {
        let strictness = config.strictness;
        Self {
            config,
            plain_size_max: if strictness.tolerates(Rule::ControlCharacters) {
                config.limits.packet_size_max
            } else {
                0
            },
            counts: [0; Rule::ALL.len()],
        }
    }

    /// Reads the fixed header at the front of `input`. `version` is `None` before CONNECT has said
    /// it; then the limit of the first packet holds.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the connection cannot go on then.
    #[inline]
    pub fn parse<'p>(
        &self,
        input: &'p [u8],
        version: Option<ProtocolVersion>,
    ) -> Result<Parsed<Frame<'p>>, DecodeError> {
        let limits = &self.config.limits;
        let packet_size_max = match version {
            None => limits.connect_size_max.min(limits.packet_size_max),
            Some(_) => limits.packet_size_max,
        };
        Frame::parse_with(input, version, packet_size_max, self.config.strictness)
    }

    /// Reads the packet in a frame, once and completely, without allocating.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for whatever is neither allowed nor tolerated.
    pub fn decode<'p>(
        &mut self,
        frame: &Frame<'p>,
        version: ProtocolVersion,
    ) -> Result<Packet<'p>, DecodeError> {
        self.decode_all::<Anybody>(frame, version)
    }

    /// Reads the packet in a frame that a server has sent; `None` for one that only clients send, of which
    /// nothing more is looked at. A program that reads no other packets does not hold what decodes them.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_from_server<'p>(
        &mut self,
        frame: &Frame<'p>,
        version: ProtocolVersion,
    ) -> Result<Option<Packet<'p>>, DecodeError> {
        self.decode_of::<Server>(frame, version)
    }

    /// Reads the packet in a frame that a client has sent; `None` for one that only servers send, likewise.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_from_client<'p>(
        &mut self,
        frame: &Frame<'p>,
        version: ProtocolVersion,
    ) -> Result<Option<Packet<'p>>, DecodeError> {
        self.decode_of::<Client>(frame, version)
    }

    fn decode_of<'p, S: Sender>(
        &mut self,
        frame: &Frame<'p>,
        version: ProtocolVersion,
    ) -> Result<Option<Packet<'p>>, DecodeError> {
        if !S::sends(frame.packet_type()) {
            return Ok(None);
        }
        self.decode_all::<S>(frame, version).map(Some)
    }

    #[inline(always)]
    fn decode_all<'p, S: Sender>(
        &mut self,
        frame: &Frame<'p>,
        version: ProtocolVersion,
    ) -> Result<Packet<'p>, DecodeError> {
        // The usual way is the short way.
        let limits_as_usual = self.config.limits.counts == Counts::DEFAULT;
        if limits_as_usual && self.config.strictness == Strictness::STRICT {
            return frame.decode_strictly_as::<S, _>(version, |packet| packet);
        }
        let mut tolerated = RuleSet::NONE;
        let packet = frame.decode_with::<S>(version, &self.config, &mut tolerated);
        self.note(tolerated);
        packet
    }

    /// The PUBLISH at the front of `input`, if it is a plain one. `None` for whatever has to be parsed
    /// and decoded to be known.
    #[must_use]
    #[inline(always)]
    pub fn plain_publish<'p>(
        &self,
        input: &'p [u8],
        version: ProtocolVersion,
    ) -> Option<PlainPublish<'p>> {
        let size_max = usize::try_from(self.plain_size_max).ok()?;
        let publish = PlainPublish::first_of(input, version, size_max)?;
        // It is a property.
        let has_too_many =
            publish.topic().alias().is_some() && self.config.limits.counts.properties_max == 0;
        (!has_too_many).then_some(publish)
    }

    /// Reads a CONNECT, which says its version itself.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode), and for every other packet.
    pub fn decode_connect<'p>(&mut self, frame: &Frame<'p>) -> Result<Connect<'p>, DecodeError> {
        let mut tolerated = RuleSet::NONE;
        let connect = frame.decode_connect_with(&self.config, &mut tolerated);
        self.note(tolerated);
        connect
    }

    /// Which rules were broken and tolerated, and in how many packets.
    pub fn tolerated(&self) -> impl Iterator<Item = (Rule, u32)> {
        let all = Rule::ALL.into_iter().zip(self.counts);
        all.filter(|(_, count)| *count > 0)
    }

    #[inline]
    fn note(&mut self, tolerated: RuleSet) {
        if tolerated.is_empty() {
            return;
        }
        for (rule, count) in Rule::ALL.into_iter().zip(&mut self.counts) {
            *count = count.saturating_add(tolerated.contains(rule).into());
        }
    }
}
