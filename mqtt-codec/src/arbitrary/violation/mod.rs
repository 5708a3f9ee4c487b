//! Packets that break one rule of the standard.

mod anatomy;
mod fields;
mod properties;

use alloc::vec::Vec;

use self::anatomy::Anatomy;
use crate::{Packet, PacketType, ProtocolVersion};

/// A packet that breaks one rule, and is valid otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    statement: Option<&'static str>,
    what: &'static str,
    bytes: Vec<u8>,
}

impl Violation {
    /// The normative statement that is broken, in the numbering of the packet's version. `None`
    /// where the rule is none of the numbered ones.
    #[must_use]
    pub const fn statement(&self) -> Option<&'static str> {
        self.statement
    }

    /// What is wrong, in a few words.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        self.what
    }

    /// The whole packet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The packet in every form that breaks a single rule: of its header, of its fields, and of its
/// properties. None for a packet that its version cannot say.
///
/// ```
/// use mqtt_codec::{arbitrary::violations, decode, Packet, ProtocolVersion, Publish, TopicName};
///
/// let packet = Packet::from(Publish::new(TopicName::new("house/light")?, b"on"));
/// for violation in violations(&packet, ProtocolVersion::V5_0) {
///     let error = decode(violation.bytes(), ProtocolVersion::V5_0, u32::MAX).unwrap_err();
///     assert_eq!(error.statement(), violation.statement(), "{}", violation.what());
/// }
/// # Ok::<(), mqtt_codec::TopicError>(())
/// ```
#[must_use]
pub fn violations(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<Violation> {
    let Some(valid) = Anatomy::new(packet, version) else {
        return Vec::new();
    };
    let mut broken = Broken {
        valid,
        all: Vec::new(),
    };
    broken.header();
    fields::spoil(packet, &mut broken);
    properties::spoil(packet, &mut broken);
    broken.all
}

/// The violations so far.
struct Broken {
    valid: Anatomy,
    all: Vec<Violation>,
}

/// The statements of 5.0 and of 3.1.1.
type Statements = (Option<&'static str>, Option<&'static str>);

/// The same number in both versions.
const fn both(statement: &'static str) -> Statements {
    (Some(statement), Some(statement))
}

const fn numbered(v5: &'static str, v3: &'static str) -> Statements {
    (Some(v5), Some(v3))
}

const fn in_v5(v5: &'static str) -> Statements {
    (Some(v5), None)
}

/// A rule without a number.
const UNNUMBERED: Statements = (None, None);

impl Broken {
    fn add(&mut self, statements: Statements, what: &'static str, bytes: Vec<u8>) {
        self.all.push(Violation {
            statement: if self.valid.is_v5() {
                statements.0
            } else {
                statements.1
            },
            what,
            bytes,
        });
    }

    /// The valid packet with a change.
    fn edit(
        &mut self,
        statements: Statements,
        what: &'static str,
        change: impl FnOnce(&mut Anatomy),
    ) {
        let mut changed = self.valid.clone();
        change(&mut changed);
        self.add(statements, what, changed.bytes());
    }

    /// The fixed header, and the end of the packet.
    fn header(&mut self) {
        let flags = match self.valid.packet_type {
            PacketType::Publish => None,
            PacketType::PubRel => Some(both("MQTT-3.6.1-1")),
            PacketType::Subscribe => Some(both("MQTT-3.8.1-1")),
            PacketType::Unsubscribe => Some(both("MQTT-3.10.1-1")),
            PacketType::Disconnect => Some(both("MQTT-3.14.1-1")),
            PacketType::Auth => Some(in_v5("MQTT-3.15.1-1")),
            _ => Some(numbered("MQTT-2.1.3-1", "MQTT-2.2.2-2")),
        };
        if let Some(statements) = flags {
            for bit in [1, 2, 4, 8] {
                self.edit(statements, "flags of another packet", |packet| {
                    packet.first ^= bit;
                });
            }
        }
        // Where these flags mean something, they would be the next thing that is wrong.
        self.edit(UNNUMBERED, "packet type 0", |packet| packet.first &= 0x0F);

        let body = self.valid.body();
        if self.valid.is_v5() && body.len() < 0x80 {
            let mut bytes = Vec::from([self.valid.first]);
            let [low, ..] = body.len().to_le_bytes();
            bytes.extend([low | 0x80, 0]);
            bytes.extend(&body);
            self.add(
                in_v5("MQTT-1.5.5-1"),
                "a remaining length with a byte too many",
                bytes,
            );
        }
        let endless = Vec::from([self.valid.first, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        self.add(UNNUMBERED, "a remaining length of five bytes", endless);

        // The others end with a list, or with whatever is left.
        let ends = matches!(
            self.valid.packet_type,
            PacketType::Connect
                | PacketType::ConnAck
                | PacketType::PubAck
                | PacketType::PubRec
                | PacketType::PubRel
                | PacketType::PubComp
                | PacketType::PingReq
                | PacketType::PingResp
                | PacketType::Disconnect
                | PacketType::Auth
        ) || !self.valid.is_v5() && self.valid.packet_type == PacketType::UnsubAck;
        if ends {
            self.edit(UNNUMBERED, "a byte behind the last field", |packet| {
                packet.tail.push(0);
            });
        }
        let needed = matches!(
            self.valid.packet_type,
            PacketType::Connect | PacketType::Subscribe | PacketType::Unsubscribe
        );
        if needed {
            self.edit(UNNUMBERED, "a last field that is cut short", |packet| {
                packet.tail.pop();
            });
        }
    }
}
