//! The properties of messages to publish, as options (5.0). Topic aliases are none of them: the machine sets
//! one by itself where a topic comes again.

use anyhow::Context as _;
use clap::Args;
use mqtt_codec::{
    Binary, Message, PayloadFormat, PublishProperties, Str, TopicName, UserProperties, UserProperty,
};

/// What stands beside the payload of each message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct PropertyOptions {
    /// Seconds that a message is worth delivering (5.0)
    #[arg(long, value_name = "SECS")]
    message_expiry_interval: Option<u32>,
    /// The payload is text in UTF-8 (5.0)
    #[arg(long)]
    payload_format_indicator: bool,
    /// What the payload is, such as text/plain (5.0)
    #[arg(long, value_name = "TEXT")]
    content_type: Option<String>,
    /// Topic for an answer (5.0)
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    response_topic: Option<String>,
    /// What an answer should carry (5.0)
    #[arg(long, value_name = "TEXT")]
    correlation_data: Option<String>,
    /// Something for the applications; may be given more than once (5.0)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    user_property: Vec<(String, String)>,
}

impl PropertyOptions {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A message with these properties.
    pub fn put_on(&self, message: Message) -> anyhow::Result<Message> {
        let content_type = self.content_type.as_deref().map(Str::new).transpose();
        let response_topic = self.response_topic.as_deref().map(TopicName::new);
        let correlation_data = self.correlation_data.as_ref();
        let correlation_data = correlation_data.map(|text| Binary::new(text.as_bytes()));
        let pairs = self.user_property.iter().map(|(name, value)| {
            let (name, value) = (Str::new(name)?, Str::new(value)?);
            anyhow::Ok(UserProperty { name, value })
        });
        let pairs = pairs.collect::<Result<Vec<_>, _>>();
        let pairs = pairs.context("user property")?;
        let properties = PublishProperties {
            payload_format: self.payload_format_indicator.then_some(PayloadFormat::Utf8),
            message_expiry_secs: self.message_expiry_interval,
            response_topic: response_topic.transpose()?,
            correlation_data: correlation_data.transpose().context("correlation data")?,
            content_type: content_type.context("content type")?,
            user_properties: UserProperties::new(&pairs),
            ..PublishProperties::default()
        };
        if properties == PublishProperties::default() {
            return Ok(message);
        }
        Ok(message.with_properties(&properties)?)
    }
}

/// Reads the name of a topic.
pub fn topic(text: &str) -> Result<String, String> {
    TopicName::new(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "a user property is NAME=VALUE".to_owned())
}
