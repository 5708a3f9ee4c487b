//! How a session holds messages that nobody else has.

use mqtt_codec::Message;

use crate::Timestamp;
use crate::time::Deadline;

/// A message on its way to the peer of one client, or of one server connection.
#[derive(Clone, Debug)]
pub(crate) struct OwnMessage {
    pub(crate) message: Message,
    pub(crate) expires_at: Deadline,
}

impl OwnMessage {
    /// Its expiry counts from `now`.
    pub(crate) fn new(now: Timestamp, message: Message) -> Self {
        let has_properties = message.has_properties();
        let expiry_secs = has_properties.then(|| message.properties().message_expiry_secs);
        let expires_at = expiry_secs.flatten().map(|secs| now.plus_secs(secs));
        Self {
            message,
            expires_at: expires_at.into(),
        }
    }
}
