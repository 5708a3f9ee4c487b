//! Rules that peers in the field are known to break, and what to do about it.

use core::fmt;

use crate::ProtocolVersion;

/// A rule that a decoder can be told to enforce or to let go.
///
/// All the other rules are always enforced: what breaks them cannot be understood, or would reach
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The flags of the fixed header, but for PUBLISH. Tolerated, they are ignored.
    HeaderFlags,
    /// No DUP at QoS 0. Tolerated, it is ignored.
    DupAtQoS0,
    /// The shortest form of the remaining length (5.0).
    RemainingLengthForm,
    /// Nothing behind the last field. Tolerated, it is ignored.
    TrailingBytes,
    /// The reserved flag of CONNECT is 0. Tolerated, it is ignored.
    ReservedConnectFlag,
    /// No will QoS and no will retain without a will. Tolerated, they are ignored.
    WillFlagsWithoutWill,
    /// No password without a user name (3.1.1).
    PasswordWithoutUserName,
    /// The protocol level of 3.1.1 is 4. Tolerated, so is 0x84, by which bridges tell that they are
    /// some.
    BridgeLevel,
    /// No control characters in texts and topics (U+0001 to U+001F, U+007F to U+009F), which receivers
    /// may refuse. The one rule that is tolerated unless it is enforced; while it is, it is not looked
    /// at.
    ControlCharacters,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 9] = [
        Self::HeaderFlags,
        Self::DupAtQoS0,
        Self::RemainingLengthForm,
        Self::TrailingBytes,
        Self::ReservedConnectFlag,
        Self::WillFlagsWithoutWill,
        Self::PasswordWithoutUserName,
        Self::BridgeLevel,
        Self::ControlCharacters,
    ];

    /// The normative statement behind the rule, without its version, where there is one.
    #[must_use]
    pub const fn statement(self, version: ProtocolVersion) -> Option<&'static str> {
        let (v3, v5) = match self {
            Self::HeaderFlags => (Some("MQTT-2.2.2-2"), Some("MQTT-2.1.3-1")),
            Self::DupAtQoS0 => (Some("MQTT-3.3.1-2"), Some("MQTT-3.3.1-2")),
            Self::RemainingLengthForm => (None, Some("MQTT-1.5.5-1")),
            Self::TrailingBytes | Self::ControlCharacters => (None, None),
            Self::ReservedConnectFlag => (Some("MQTT-3.1.2-3"), Some("MQTT-3.1.2-3")),
            Self::WillFlagsWithoutWill => (Some("MQTT-3.1.2-11"), Some("MQTT-3.1.2-11")),
            Self::PasswordWithoutUserName => (Some("MQTT-3.1.2-22"), None),
            Self::BridgeLevel => (Some("MQTT-3.1.2-2"), Some("MQTT-3.1.2-2")),
        };
        match version {
            ProtocolVersion::V3_1_1 => v3,
            ProtocolVersion::V5_0 => v5,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderFlags => "other flags in the fixed header",
            Self::DupAtQoS0 => "DUP at QoS 0",
            Self::RemainingLengthForm => "a remaining length with more bytes than it needs",
            Self::TrailingBytes => "bytes behind the last field",
            Self::ReservedConnectFlag => "the reserved flag of CONNECT",
            Self::WillFlagsWithoutWill => "will QoS or will retain without a will",
            Self::PasswordWithoutUserName => "a password without a user name",
            Self::BridgeLevel => "the protocol level of a bridge",
            Self::ControlCharacters => "control characters in a text",
        })
    }
}

/// Some of the rules.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleSet {
    bits: u16,
}

impl RuleSet {
    /// No rule.
    pub const NONE: Self = Self { bits: 0 };

    /// Whether a rule is one of these.
    #[must_use]
    #[inline]
    pub const fn contains(self, rule: Rule) -> bool {
        self.bits & rule.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// These, and one more.
    #[must_use]
    #[inline]
    pub const fn with(self, rule: Rule) -> Self {
        Self {
            bits: self.bits | rule.bit(),
        }
    }

    /// These without one.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self {
            bits: self.bits & !rule.bit(),
        }
    }

    /// The rules, in their order.
    pub fn iter(self) -> impl Iterator<Item = Rule> {
        Rule::ALL
            .into_iter()
            .filter(move |rule| self.contains(*rule))
    }

    #[inline]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            bits: self.bits | other.bits,
        }
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Which rules a decoder lets go.
///
/// ```
/// use mqtt_codec::{Rule, Strictness};
///
/// let strictness = Strictness::STRICT.tolerate(Rule::HeaderFlags);
/// assert!(strictness.tolerates(Rule::HeaderFlags));
/// assert!(!Strictness::LENIENT.enforce(Rule::TrailingBytes).tolerates(Rule::TrailingBytes));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strictness {
    tolerated: RuleSet,
}

impl Strictness {
    /// Everything that the standard demands.
    pub const STRICT: Self = Self {
        tolerated: RuleSet::NONE.with(Rule::ControlCharacters),
    };

    /// Whatever can be understood all the same.
    pub const LENIENT: Self = {
        let mut tolerated = RuleSet::NONE;
        let mut rest: &[Rule] = &Rule::ALL;
        while let [first, behind @ ..] = rest {
            tolerated = tolerated.with(*first);
            rest = behind;
        }
        Self { tolerated }
    };

    /// The same, but for a rule that is let go.
    #[must_use]
    pub const fn tolerate(self, rule: Rule) -> Self {
        Self {
            tolerated: self.tolerated.with(rule),
        }
    }

    /// The same, but for a rule that is enforced.
    #[must_use]
    pub const fn enforce(self, rule: Rule) -> Self {
        Self {
            tolerated: self.tolerated.without(rule),
        }
    }

    /// Whether a rule is let go.
    #[must_use]
    #[inline]
    pub const fn tolerates(self, rule: Rule) -> bool {
        self.tolerated.contains(rule)
    }

    /// The rules that are let go as a number, to be stored: each is the bit of its place in [`Rule::ALL`].
    #[cfg(feature = "serde")]
    pub(crate) const fn bits(self) -> u16 {
        self.tolerated.bits
    }

    #[cfg(feature = "serde")]
    pub(crate) fn from_bits(bits: u16) -> Option<Self> {
        let tolerated = RuleSet { bits };
        (bits & !Self::LENIENT.tolerated.bits == 0).then_some(Self { tolerated })
    }
}

/// [`STRICT`](Self::STRICT).
impl Default for Strictness {
    fn default() -> Self {
        Self::STRICT
    }
}
