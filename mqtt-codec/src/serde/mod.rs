//! Values to store or to send elsewhere (feature `serde`).
//!
//! Numbers are those of the standard, in every format. What is read is untrusted: it goes through
//! the same checks as everywhere, and a value that exists can be encoded.

mod bytes;
mod message;

use core::fmt;

use mqtt_topic::TopicName;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    AuthReason, Binary, ConnectReason, DisconnectReason, PacketId, PayloadFormat, ProtocolVersion,
    PublishReason, QoS, ReasonCode, ReleaseReason, Str, Strictness, SubscribeReason,
    SubscriptionId, SubscriptionOptions, TopicAlias, UnsubscribeReason,
};

/// Types that are a number: how to get it, and how to get back, if it is one.
macro_rules! numbers {
    ($($type:ident as $number:ident: $get:expr, $new:expr, $expected:literal;)*) => {
        $(
            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let get: fn(Self) -> $number = $get;
                    get(*self).serialize(serializer)
                }
            }

            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let new: fn($number) -> Option<Self> = $new;
                    let number = $number::deserialize(deserializer)?;
                    new(number).ok_or_else(|| D::Error::custom($expected))
                }
            }
        )*
    };
}

fn reason<R: TryFrom<ReasonCode>>(value: u8) -> Option<R> {
    R::try_from(ReasonCode::from_value(value)?).ok()
}

numbers! {
    QoS as u8: |qos| qos.into(), |value| value.try_into().ok(), "QoS is 0, 1 or 2";
    ProtocolVersion as u8: Self::level, Self::from_level, "the level of a version is 4 or 5";
    PacketId as u16: Self::get, Self::new, "packet identifiers are not 0";
    TopicAlias as u16: Self::get, Self::new, "topic aliases are not 0";
    SubscriptionId as u32: Self::get, Self::new, "subscription identifiers are 1 to 268435455";
    PayloadFormat as u8: Self::value, Self::from_value, "the payload format is 0 or 1";
    SubscriptionOptions as u8: Self::value, |value| Self::from_value(value).ok(), "no such subscription options";
    ReasonCode as u8: Self::value, Self::from_value, "there is no such reason code";
    ConnectReason as u8: |it| ReasonCode::from(it).value(), reason, "CONNACK has no such reason code";
    PublishReason as u8: |it| ReasonCode::from(it).value(), reason, "PUBACK has no such reason code";
    ReleaseReason as u8: |it| ReasonCode::from(it).value(), reason, "PUBREL has no such reason code";
    SubscribeReason as u8: |it| ReasonCode::from(it).value(), reason, "SUBACK has no such reason code";
    UnsubscribeReason as u8: |it| ReasonCode::from(it).value(), reason, "UNSUBACK has no such reason code";
    DisconnectReason as u8: |it| ReasonCode::from(it).value(), reason, "DISCONNECT has no such reason code";
    Strictness as u16: Self::bits, Self::from_bits, "there is no such rule";
    AuthReason as u8: |it| ReasonCode::from(it).value(), reason, "AUTH has no such reason code";
}

impl Serialize for Str<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Borrows the text, so the format has to have it as it is.
impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(<&str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Binary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

/// Borrows the bytes, so the format has to have them as they are.
impl<'de: 'a, 'a> Deserialize<'de> for Binary<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(<&[u8]>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A text that has to be a topic name.
struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = alloc::string::String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a topic name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        TopicName::new(text).map_err(E::custom)?;
        Ok(text.into())
    }
}
