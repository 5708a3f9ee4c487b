//! How arguments stand in a log.
//!
//! What has a form of its own to be stored stands as it does there; packets and their properties stand as
//! they go over the wire in 5.0.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use mqtt_codec::{
    Ack, AckProperties, Binary, ConnAck, ConnAckOutcome, ConnAckProperties, Connect, ConnectReason,
    Counts, DecodeConfig, Decoder, Disconnect, DisconnectReason, Limits, Message, Packet, PacketId,
    Parsed, ProtocolVersion, PublishReason, Str, Strictness, SubscribeFilter, SubscribeReason,
    SubscriptionId, SubscriptionOptions, TopicFilter, TopicName, UnsubscribeReason, UserProperties,
};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::broker::{
    BrokerId, ConnectAnswer, ConnectDecision, ConnectionId, Drain, JoinMessage, LocalSubscription,
    Peer, PublishAnswer, PublishDecision, StoreKey, StoreValue, SubscribeAnswer, SubscribeDecision,
};
use crate::server::{Acceptance, Config, RequestToken, Session};
use crate::session::{Receipt, SessionSnapshot};
use crate::{AuthenticationData, Timestamp};

/// Something cannot be written, or is not what it says: a call in a log that nobody can have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) &'static str);

/// An argument, as it stands in a log.
pub(super) trait Form: Sized {
    /// What a caller has.
    type Arg<'a>: ?Sized;
    /// What a replay has in its place.
    type Given<'a>
    where
        Self: 'a;

    fn of(arg: &Self::Arg<'_>) -> Result<Self, Unfit>;

    fn give(&self) -> Result<Self::Given<'_>, Unfit>;
}

/// Types that stand for themselves.
macro_rules! themselves {
    ($($type:ty),* $(,)?) => {
        $(
            impl Form for $type {
                type Arg<'a> = Self;
                type Given<'a> = Self;

                fn of(arg: &Self) -> Result<Self, Unfit> {
                    Ok(arg.clone())
                }

                fn give(&self) -> Result<Self, Unfit> {
                    Ok(self.clone())
                }
            }
        )*
    };
}

themselves! {
    u64, usize, Timestamp, ConnectionId, Peer, ConnectDecision, ConnectAnswer, PublishDecision, PublishAnswer,
    SubscribeDecision, SubscribeAnswer, DisconnectReason, ConnectReason, PublishReason, Drain, LocalSubscription,
    BrokerId, JoinMessage, StoreKey, StoreValue, Receipt, RequestToken, Message, Option<SubscriptionId>,
}

/// Bytes, as hexadecimal digits.
#[derive(Clone, Default)]
pub(super) struct Hex(pub(super) Vec<u8>);

impl Hex {
    /// As it stands in a log.
    pub(super) fn digits(&self) -> String {
        alloc::format!("{}", Digits(&self.0))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Digits(&self.0))
    }
}

struct Digits<'a>(&'a [u8]);

impl fmt::Display for Digits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some at once: a formatter is slow for each byte.
        for part in self.0.chunks(64) {
            let mut digits = [0; 128];
            let pairs = digits.chunks_exact_mut(2).zip(part);
            for (pair, byte) in pairs {
                pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0x0F)]);
            }
            let digits = digits.get(..part.len().saturating_mul(2));
            f.write_str(core::str::from_utf8(digits.unwrap_or_default()).unwrap_or_default())?;
        }
        Ok(())
    }
}

const fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0'.wrapping_add(value),
        _ => b'a'.wrapping_add(value).wrapping_sub(10),
    }
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor)
    }
}

struct HexVisitor;

impl Visitor<'_> for HexVisitor {
    type Value = Hex;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hexadecimal digits")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Hex, E> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes = pairs
            .iter()
            .map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
        let bytes: Option<_> = bytes.collect();
        let bytes = bytes.filter(|_| rest.is_empty());
        bytes
            .map(Hex)
            .ok_or_else(|| E::custom("these are no pairs of hexadecimal digits"))
    }
}

impl Serialize for AuthenticationData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Digits(self.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for AuthenticationData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Hex::deserialize(deserializer)?.0;
        Binary::new(&bytes)
            .map(Self::from)
            .map_err(D::Error::custom)
    }
}

impl Serialize for StoreKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Digits(&self.to_bytes()))
    }
}

impl<'de> Deserialize<'de> for StoreKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Hex::deserialize(deserializer)?.0;
        Self::from_bytes(&bytes).ok_or_else(|| D::Error::custom("this is no key of a store"))
    }
}

/// `Option<Binary>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Data(pub(super) Option<Hex>);

impl Form for Data {
    type Arg<'a> = Option<Binary<'a>>;
    type Given<'a> = Option<Binary<'a>>;

    fn of(arg: &Option<Binary<'_>>) -> Result<Self, Unfit> {
        Ok(Self(arg.map(|data| Hex(data.as_bytes().to_vec()))))
    }

    fn give(&self) -> Result<Option<Binary<'_>>, Unfit> {
        let data = self.0.as_ref().map(|data| Binary::new(&data.0));
        data.transpose().map_err(|_| Unfit("too much data"))
    }
}

/// `str`.
#[derive(Serialize, Deserialize)]
pub(super) struct Text(String);

impl Form for Text {
    type Arg<'a> = str;
    type Given<'a> = &'a str;

    fn of(arg: &str) -> Result<Self, Unfit> {
        Ok(Self(arg.into()))
    }

    fn give(&self) -> Result<&str, Unfit> {
        Ok(&self.0)
    }
}

/// `Option<Str>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Said(Option<String>);

impl Form for Said {
    type Arg<'a> = Option<Str<'a>>;
    type Given<'a> = Option<Str<'a>>;

    fn of(arg: &Option<Str<'_>>) -> Result<Self, Unfit> {
        Ok(Self(arg.map(|text| text.as_str().into())))
    }

    fn give(&self) -> Result<Option<Str<'_>>, Unfit> {
        let text = self.0.as_deref().map(Str::new);
        text.transpose().map_err(|_| Unfit("no string of MQTT"))
    }
}

/// `TopicName`.
#[derive(Serialize, Deserialize)]
pub(super) struct Name(String);

impl Form for Name {
    type Arg<'a> = TopicName<'a>;
    type Given<'a> = TopicName<'a>;

    fn of(arg: &TopicName<'_>) -> Result<Self, Unfit> {
        Ok(Self(arg.as_str().into()))
    }

    fn give(&self) -> Result<TopicName<'_>, Unfit> {
        TopicName::new(&self.0).map_err(|_| Unfit("no topic name"))
    }
}

/// `TopicFilter`.
#[derive(Serialize, Deserialize)]
pub(super) struct Filter(String);

impl Form for Filter {
    type Arg<'a> = TopicFilter<'a>;
    type Given<'a> = TopicFilter<'a>;

    fn of(arg: &TopicFilter<'_>) -> Result<Self, Unfit> {
        Ok(Self(arg.as_str().into()))
    }

    fn give(&self) -> Result<TopicFilter<'_>, Unfit> {
        TopicFilter::new(&self.0).map_err(|_| Unfit("no topic filter"))
    }
}

/// `[TopicFilter]`.
#[derive(Serialize, Deserialize)]
pub(super) struct Filters(Vec<Filter>);

impl Form for Filters {
    type Arg<'a> = [TopicFilter<'a>];
    type Given<'a> = Vec<TopicFilter<'a>>;

    fn of(arg: &[TopicFilter<'_>]) -> Result<Self, Unfit> {
        arg.iter()
            .map(Filter::of)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn give(&self) -> Result<Vec<TopicFilter<'_>>, Unfit> {
        self.0.iter().map(Filter::give).collect()
    }
}

/// `[SubscribeFilter]`.
#[derive(Serialize, Deserialize)]
pub(super) struct Wanted(Vec<(Filter, SubscriptionOptions)>);

impl Form for Wanted {
    type Arg<'a> = [SubscribeFilter<'a>];
    type Given<'a> = Vec<SubscribeFilter<'a>>;

    fn of(arg: &[SubscribeFilter<'_>]) -> Result<Self, Unfit> {
        let all = arg
            .iter()
            .map(|it| Ok((Filter::of(&it.filter)?, it.options)));
        all.collect::<Result<_, _>>().map(Self)
    }

    fn give(&self) -> Result<Vec<SubscribeFilter<'_>>, Unfit> {
        let all = self.0.iter().map(|(filter, options)| {
            Ok(SubscribeFilter {
                filter: filter.give()?,
                options: *options,
            })
        });
        all.collect()
    }
}

/// `[SubscribeReason]` or `[UnsubscribeReason]`.
#[derive(Serialize, Deserialize)]
pub(super) struct Reasons<R>(Vec<R>);

macro_rules! reasons {
    ($($reason:ty),*) => {
        $(
            impl Form for Reasons<$reason> {
                type Arg<'a> = [$reason];
                type Given<'a> = &'a [$reason];

                fn of(arg: &[$reason]) -> Result<Self, Unfit> {
                    Ok(Self(arg.to_vec()))
                }

                fn give(&self) -> Result<&[$reason], Unfit> {
                    Ok(&self.0)
                }
            }
        )*
    };
}

reasons!(SubscribeReason, UnsubscribeReason);

/// A packet as it goes over the wire.
#[derive(Serialize, Deserialize)]
pub(super) struct Wire(pub(super) Hex);

/// Whatever a program may have said fits, and nothing that breaks a rule does.
pub(super) const DECODING: DecodeConfig = DecodeConfig {
    limits: Limits {
        packet_size_max: u32::MAX,
        connect_size_max: u32::MAX,
        counts: Counts {
            properties_max: u16::MAX,
            user_properties_max: u16::MAX,
            filters_max: u16::MAX,
        },
    },
    strictness: Strictness::STRICT,
};

impl Wire {
    fn of(packet: &Packet<'_>, version: ProtocolVersion) -> Result<Self, Unfit> {
        let mut bytes = Vec::new();
        let written = packet.encode_to(version, &mut bytes);
        written.map_err(|_| Unfit("a packet that cannot be encoded"))?;
        Ok(Self(Hex(bytes)))
    }

    fn packet(&self, version: ProtocolVersion) -> Result<Packet<'_>, Unfit> {
        let bytes = &*self.0.0;
        let mut decoder = Decoder::new(DECODING);
        match decoder.parse(bytes, Some(version)) {
            Ok(Parsed::Complete(frame)) if frame.size() == bytes.len() => decoder
                .decode(&frame, version)
                .map_err(|_| Unfit("a packet that breaks a rule")),
            _ => Err(Unfit("no packet")),
        }
    }
}

/// `Connect`.
#[derive(Serialize, Deserialize)]
pub(super) struct ConnectForm {
    pub(super) version: ProtocolVersion,
    pub(super) packet: Wire,
}

impl Form for ConnectForm {
    type Arg<'a> = Connect<'a>;
    type Given<'a> = Connect<'a>;

    fn of(arg: &Connect<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            version: arg.version,
            packet: Wire::of(&Packet::Connect(*arg), arg.version)?,
        })
    }

    fn give(&self) -> Result<Connect<'_>, Unfit> {
        match self.packet.packet(self.version)? {
            Packet::Connect(connect) if connect.version == self.version => Ok(connect),
            _ => Err(Unfit("no CONNECT")),
        }
    }
}

/// `Disconnect`.
#[derive(Serialize, Deserialize)]
pub(super) struct DisconnectForm(Wire);

impl Form for DisconnectForm {
    type Arg<'a> = Disconnect<'a>;
    type Given<'a> = Disconnect<'a>;

    fn of(arg: &Disconnect<'_>) -> Result<Self, Unfit> {
        Wire::of(&Packet::Disconnect(*arg), ProtocolVersion::V5_0).map(Self)
    }

    fn give(&self) -> Result<Disconnect<'_>, Unfit> {
        match self.0.packet(ProtocolVersion::V5_0)? {
            Packet::Disconnect(disconnect) => Ok(disconnect),
            _ => Err(Unfit("no DISCONNECT")),
        }
    }
}

/// `AckProperties`, in a PUBACK.
#[derive(Serialize, Deserialize)]
pub(super) struct Properties(Wire);

impl Form for Properties {
    type Arg<'a> = AckProperties<'a>;
    type Given<'a> = AckProperties<'a>;

    fn of(arg: &AckProperties<'_>) -> Result<Self, Unfit> {
        let mut ack = Ack::new(PacketId::MIN, PublishReason::Success);
        ack.properties = *arg;
        Wire::of(&Packet::PubAck(ack), ProtocolVersion::V5_0).map(Self)
    }

    fn give(&self) -> Result<AckProperties<'_>, Unfit> {
        match self.0.packet(ProtocolVersion::V5_0)? {
            Packet::PubAck(ack) => Ok(ack.properties),
            _ => Err(Unfit("no PUBACK")),
        }
    }
}

/// `UserProperties`, in a PUBACK.
#[derive(Serialize, Deserialize)]
pub(super) struct Pairs(Properties);

impl Form for Pairs {
    type Arg<'a> = UserProperties<'a>;
    type Given<'a> = UserProperties<'a>;

    fn of(arg: &UserProperties<'_>) -> Result<Self, Unfit> {
        let properties = AckProperties {
            reason_string: None,
            user_properties: *arg,
        };
        Properties::of(&properties).map(Self)
    }

    fn give(&self) -> Result<UserProperties<'_>, Unfit> {
        Ok(self.0.give()?.user_properties)
    }
}

/// `ConnAckProperties`, in a CONNACK.
#[derive(Serialize, Deserialize)]
pub(super) struct Welcome(Wire);

impl Form for Welcome {
    type Arg<'a> = ConnAckProperties<'a>;
    type Given<'a> = ConnAckProperties<'a>;

    fn of(arg: &ConnAckProperties<'_>) -> Result<Self, Unfit> {
        let mut connack = ConnAck::new(ConnAckOutcome::Accepted {
            session_present: false,
        });
        connack.properties = *arg;
        Wire::of(&Packet::ConnAck(connack), ProtocolVersion::V5_0).map(Self)
    }

    fn give(&self) -> Result<ConnAckProperties<'_>, Unfit> {
        match self.0.packet(ProtocolVersion::V5_0)? {
            Packet::ConnAck(connack) => Ok(connack.properties),
            _ => Err(Unfit("no CONNACK")),
        }
    }
}

/// `Acceptance`. A session stands there as its snapshot.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    pub(super) session: Option<SessionSnapshot>,
    assigned_client_id: Option<String>,
    pub(super) authentication_data: Option<AuthenticationData>,
    keep_alive_secs: Option<u16>,
    session_expiry_secs: Option<u32>,
    response_information: Option<String>,
    reason_string: Option<String>,
    user_properties: Vec<(String, String)>,
}

impl Form for Accepted {
    type Arg<'a> = Acceptance;
    type Given<'a> = Acceptance;

    fn of(arg: &Acceptance) -> Result<Self, Unfit> {
        let Acceptance {
            session,
            assigned_client_id,
            authentication_data,
            keep_alive_secs,
            session_expiry_secs,
            response_information,
            reason_string,
            user_properties,
        } = arg;
        // Deadlines stay what they are: no time passes between this and the restoring.
        let session = session.as_ref().map(|it| it.snapshot(Timestamp::ZERO));
        Ok(Self {
            session,
            assigned_client_id: assigned_client_id.clone(),
            authentication_data: authentication_data.clone(),
            keep_alive_secs: *keep_alive_secs,
            session_expiry_secs: *session_expiry_secs,
            response_information: response_information.clone(),
            reason_string: reason_string.clone(),
            user_properties: user_properties.clone(),
        })
    }

    fn give(&self) -> Result<Acceptance, Unfit> {
        // What the log has is all there is.
        let config = Config {
            waiting_len_max: usize::MAX,
            messages_bytes_max: usize::MAX,
            ..Config::default()
        };
        let restore = |it: &SessionSnapshot| {
            Session::restore(Timestamp::ZERO, Duration::ZERO, &config, it.clone())
        };
        let session = self.session.as_ref().map(restore);
        Ok(Acceptance {
            session: session.transpose().map_err(|_| Unfit("no session"))?,
            assigned_client_id: self.assigned_client_id.clone(),
            authentication_data: self.authentication_data.clone(),
            keep_alive_secs: self.keep_alive_secs,
            session_expiry_secs: self.session_expiry_secs,
            response_information: self.response_information.clone(),
            reason_string: self.reason_string.clone(),
            user_properties: self.user_properties.clone(),
        })
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
