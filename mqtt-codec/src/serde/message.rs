//! [`Message`], field by field, so that what is stored does not depend on how it is held.

use alloc::string::String;
use alloc::vec::Vec;

use mqtt_topic::TopicName;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::NameVisitor;
use super::bytes::ByteVec;
use crate::{
    Binary, Message, PayloadFormat, PublishProperties, QoS, Str, SubscriptionId, SubscriptionIds,
    UserProperties, UserProperty,
};

/// A message as it is stored. Nothing is left out where it is empty: formats without names count fields.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(deserialize_with = "name")]
    topic: String,
    qos: QoS,
    #[serde(default)]
    retain: bool,
    payload: ByteVec,
    /// Most messages have none.
    #[serde(default)]
    properties: Option<Properties>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Properties {
    payload_format: Option<PayloadFormat>,
    message_expiry_secs: Option<u32>,
    response_topic: Option<String>,
    correlation_data: Option<ByteVec>,
    content_type: Option<String>,
    subscription_ids: Vec<SubscriptionId>,
    user_properties: Vec<(String, String)>,
}

impl Properties {
    fn new(properties: &PublishProperties<'_>) -> Option<Self> {
        (*properties != PublishProperties::default()).then(|| Self {
            payload_format: properties.payload_format,
            message_expiry_secs: properties.message_expiry_secs,
            response_topic: properties.response_topic.map(|it| it.as_str().into()),
            correlation_data: properties
                .correlation_data
                .map(|it| ByteVec(it.as_bytes().to_vec())),
            content_type: properties.content_type.map(|it| it.as_str().into()),
            subscription_ids: properties.subscription_ids.iter().collect(),
            user_properties: properties
                .user_properties
                .iter()
                .map(|it| (it.name.as_str().into(), it.value.as_str().into()))
                .collect(),
        })
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = Stored {
            topic: self.topic().as_str().into(),
            qos: self.qos(),
            retain: self.retain(),
            payload: ByteVec(self.payload().to_vec()),
            properties: Properties::new(&self.properties()),
        };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let properties = stored.properties.unwrap_or_default();
        let mut pairs = Vec::new();
        for (name, value) in &properties.user_properties {
            pairs.push(UserProperty {
                name: Str::new(name).map_err(D::Error::custom)?,
                value: Str::new(value).map_err(D::Error::custom)?,
            });
        }
        let response_topic = properties.response_topic.as_deref().map(TopicName::new);
        let data = properties.correlation_data.as_ref();
        let data = data.map(|data| Binary::new(&data.0));
        let content_type = properties.content_type.as_deref().map(Str::new);
        let properties = PublishProperties {
            payload_format: properties.payload_format,
            message_expiry_secs: properties.message_expiry_secs,
            response_topic: response_topic.transpose().map_err(D::Error::custom)?,
            correlation_data: data.transpose().map_err(D::Error::custom)?,
            content_type: content_type.transpose().map_err(D::Error::custom)?,
            subscription_ids: SubscriptionIds::new(&properties.subscription_ids),
            user_properties: UserProperties::new(&pairs),
        };
        Self::new(&stored.topic, stored.payload.0)
            .map_err(D::Error::custom)?
            .with_qos(stored.qos)
            .with_retain(stored.retain)
            .with_properties(&properties)
            .map_err(D::Error::custom)
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(NameVisitor)
}
