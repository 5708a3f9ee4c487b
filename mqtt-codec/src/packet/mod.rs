//! The packets, one file each.

pub(crate) mod ack;
pub(crate) mod auth;
pub(crate) mod connack;
pub(crate) mod connect;
pub(crate) mod delivery;
pub(crate) mod disconnect;
mod encode;
mod plain_properties;
pub(crate) mod plain_publish;
pub(crate) mod publish;
pub(crate) mod suback;
pub(crate) mod subscribe;
pub(crate) mod unsuback;
pub(crate) mod unsubscribe;

#[cfg(feature = "alloc")]
pub(crate) use self::encode::encode_plain;
pub(crate) use self::encode::{Body, Lengths};
use crate::wire::Reader;
use crate::{
    Auth, ConnAck, Connect, DecodeError, DecodeErrorKind, Disconnect, Field, PacketType,
    ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish, SubAck, Subscribe, UnsubAck,
    Unsubscribe,
};

/// A packet of MQTT, borrowed from the bytes it was decoded from or from the caller's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the packets have the names that the standard gives them"
)]
#[expect(clippy::exhaustive_enums, reason = "four bits, and all are given out")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(PubAck<'a>),
    PubRec(PubRec<'a>),
    PubRel(PubRel<'a>),
    PubComp(PubComp<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// Whose packets are read: what decodes all others is no part of the program.
pub(crate) trait Sender {
    /// Those that only clients send.
    const IS_CLIENT: bool = true;
    /// Those that only servers send.
    const IS_SERVER: bool = true;

    /// Whether it sends packets of this type.
    #[inline(always)]
    fn sends(packet_type: PacketType) -> bool {
        match packet_type {
            PacketType::Connect
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq => Self::IS_CLIENT,
            PacketType::ConnAck
            | PacketType::SubAck
            | PacketType::UnsubAck
            | PacketType::PingResp => Self::IS_SERVER,
            PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::Disconnect
            | PacketType::Auth => true,
        }
    }
}

/// Whoever it is.
pub(crate) enum Anybody {}

pub(crate) enum Client {}

pub(crate) enum Server {}

impl Sender for Anybody {}

impl Sender for Client {
    const IS_SERVER: bool = false;
}

impl Sender for Server {
    const IS_CLIENT: bool = false;
}

/// A call of its own for each packet: each writes its own fields of the result, and no others.
#[inline(never)]
fn apart_from_others<'a, P, T>(
    reader: &mut Reader<'a>,
    decode: impl FnOnce(&mut Reader<'a>) -> Result<P, DecodeError>,
    done: impl FnOnce(P) -> T,
) -> Result<T, DecodeError> {
    match decode(reader) {
        Ok(packet) => Ok(done(packet)),
        Err(error) => Err(error),
    }
}

/// What one side alone sends, and is not read here. Whoever asks has looked at the type before.
#[cold]
fn not_read(reader: &Reader<'_>, packet_type: PacketType) -> DecodeError {
    let kind = DecodeErrorKind::ReservedPacketType(packet_type.value());
    reader.error(kind, Field::FixedHeader)
}

/// A packet with nothing behind it.
#[inline(always)]
fn whole<'a, P>(
    reader: &mut Reader<'a>,
    decode: impl FnOnce(&mut Reader<'a>) -> Result<P, DecodeError>,
) -> Result<P, DecodeError> {
    let packet = decode(reader)?;
    reader.finish()?;
    Ok(packet)
}

impl<'a> Packet<'a> {
    /// Reads the body of a packet; answers what `done` makes of it.
    ///
    /// A packet is large, so each is put where it belongs at once: `done` says what is around it.
    #[inline(always)]
    pub(crate) fn decode<S: Sender, T>(
        packet_type: PacketType,
        flags: u8,
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
        done: impl Fn(Self) -> T,
    ) -> Result<T, DecodeError> {
        macro_rules! packet {
            ($name:ident, $decode:expr) => {
                apart_from_others(reader, $decode, |packet| done(Self::$name(packet)))
            };
            // Those that one side alone sends.
            ($name:ident if $is_read:expr, $decode:expr) => {
                if $is_read {
                    packet!($name, $decode)
                } else {
                    Err(not_read(reader, packet_type))
                }
            };
        }
        // The lists and the payload are whatever is left, so nothing can be left behind them.
        match packet_type {
            PacketType::Publish => {
                Publish::decode(flags, reader, version, |it| done(Self::Publish(it)))
            }
            PacketType::Connect => packet!(Connect if S::IS_CLIENT, Connect::decode),
            PacketType::Subscribe => packet!(Subscribe if S::IS_CLIENT, |reader| {
                Subscribe::decode(reader, version)
            }),
            PacketType::SubAck => packet!(SubAck if S::IS_SERVER, |reader| {
                SubAck::decode(reader, version)
            }),
            PacketType::Unsubscribe => packet!(Unsubscribe if S::IS_CLIENT, |reader| {
                Unsubscribe::decode(reader, version)
            }),
            PacketType::UnsubAck => packet!(UnsubAck if S::IS_SERVER, |reader| {
                UnsubAck::decode(reader, version)
            }),
            PacketType::ConnAck => packet!(ConnAck if S::IS_SERVER, |reader| {
                whole(reader, |reader| ConnAck::decode(reader, version))
            }),
            PacketType::PubAck => packet!(PubAck, |reader| {
                whole(reader, |reader| ack::decode(packet_type, reader, version))
            }),
            PacketType::PubRec => packet!(PubRec, |reader| {
                whole(reader, |reader| ack::decode(packet_type, reader, version))
            }),
            PacketType::PubRel => packet!(PubRel, |reader| {
                whole(reader, |reader| ack::decode(packet_type, reader, version))
            }),
            PacketType::PubComp => packet!(PubComp, |reader| {
                whole(reader, |reader| ack::decode(packet_type, reader, version))
            }),
            PacketType::PingReq => {
                apart_from_others(reader, Reader::finish, |()| done(Self::PingReq))
            }
            PacketType::PingResp => {
                apart_from_others(reader, Reader::finish, |()| done(Self::PingResp))
            }
            PacketType::Disconnect => packet!(Disconnect, |reader| {
                whole(reader, |reader| Disconnect::decode(reader, version))
            }),
            PacketType::Auth => {
                packet!(Auth, |reader| whole(reader, Auth::decode))
            }
        }
    }

    /// The type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

macro_rules! from_packets {
    ($($name:ident)*) => {
        $(impl<'a> From<$name<'a>> for Packet<'a> {
            fn from(packet: $name<'a>) -> Self {
                Self::$name(packet)
            }
        })*
    };
}

from_packets! { Connect ConnAck Publish Subscribe SubAck Unsubscribe UnsubAck Disconnect Auth }

#[cfg(test)]
mod tests {
    use mqtt_topic::TopicName;

    use super::*;
    use crate::{
        AckProperties, ConnAckOutcome, ConnAckProperties, ConnectReason, Delivery, PacketId,
        PublishReason, PublishTopic, Str, TopicAlias,
    };

    const V3: ProtocolVersion = ProtocolVersion::V3_1_1;
    const V5: ProtocolVersion = ProtocolVersion::V5_0;
    const ID: PacketId = PacketId::MIN;

    /// The bytes are the same by the long way: these say that it is not gone where it need not be.
    #[test]
    fn acknowledgements_go_the_short_way_where_they_can() {
        let plain = PubAck::new(ID, PublishReason::Success);
        let of_type = |packet_type, version| ack::short(packet_type, &plain, version);
        for version in [V3, V5] {
            let found = of_type(PacketType::PubAck, version);
            assert_eq!(found, Some([0x40, 2, 0, 1]));
            // Its flags are not zero.
            let found = of_type(PacketType::PubRel, version);
            assert_eq!(found, Some([0x62, 2, 0, 1]));
        }
        let refused = PubAck::new(ID, PublishReason::NotAuthorized);
        let reason_string = Some(Str::new("why").unwrap());
        let explained = PubAck {
            properties: AckProperties {
                reason_string,
                ..AckProperties::default()
            },
            ..plain
        };
        for (name, ack) in [("reason", refused), ("properties", explained)] {
            assert_eq!(ack::short(PacketType::PubAck, &ack, V5), None, "{name}");
            let in_v3 = ack::short(PacketType::PubAck, &ack, V3);
            assert_eq!(in_v3, Some([0x40, 2, 0, 1]), "{name}");
        }
    }

    #[test]
    fn an_accepted_connect_goes_the_short_way_in_3_1_1() {
        let answer = |outcome| ConnAck {
            outcome,
            properties: ConnAckProperties::default(),
        };
        let accepted = |session_present| answer(ConnAckOutcome::Accepted { session_present });
        assert_eq!(accepted(false).short(V3), Some([0x20, 2, 0, 0]));
        assert_eq!(accepted(true).short(V3), Some([0x20, 2, 1, 0]));
        assert_eq!(accepted(true).short(V5), None);
        let refused = answer(ConnAckOutcome::Refused(ConnectReason::NotAuthorized));
        assert_eq!(refused.short(V3), None);
    }

    #[test]
    fn a_publish_without_properties_goes_the_short_way() {
        let name = TopicName::new("t").unwrap();
        let plain = Publish {
            delivery: Delivery::AtLeastOnce { id: ID, dup: false },
            ..Publish::new(name, b"m")
        };
        assert!(plain.plain(V3).is_some() && plain.plain(V5).is_some());
        let mut expiring = plain;
        expiring.properties.message_expiry_secs = Some(1);
        assert!(expiring.plain(V5).is_none());
        assert!(expiring.plain(V3).is_some(), "3.1.1 has no properties");
        let aliased = Publish {
            topic: PublishTopic::NameAndAlias(name, TopicAlias::new(1).unwrap()),
            ..plain
        };
        assert!(aliased.plain(V5).is_none());
    }
}
