//! What a peer says beside a reason code.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use mqtt_codec::{AckProperties, Str, UserProperties, UserProperty};

/// The reason string and the user properties of a packet (5.0). Empty where the peer said nothing,
/// and then without memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the standard fixes the fields")]
pub struct Diagnostics {
    /// For people.
    pub reason_string: Option<String>,
    /// Names and values, for programs, in the order of the packet.
    pub user_properties: Vec<(String, String)>,
}

impl Diagnostics {
    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user_properties.is_empty()
    }

    pub(crate) fn new(reason_string: Option<Str<'_>>, user_properties: UserProperties<'_>) -> Self {
        let text = |text: Str<'_>| text.as_str().to_string();
        Self {
            reason_string: reason_string.map(text),
            user_properties: user_properties
                .iter()
                .map(|pair| (text(pair.name), text(pair.value)))
                .collect(),
        }
    }

    /// Shows it as the properties of an acknowledgement. What was taken from a packet fits one.
    pub(crate) fn with_properties<T>(&self, show: impl FnOnce(AckProperties<'_>) -> T) -> T {
        let text = |text| Str::new(text).unwrap_or_default();
        let pairs: Vec<_> = self
            .user_properties
            .iter()
            .map(|(name, value)| UserProperty {
                name: text(name),
                value: text(value),
            })
            .collect();
        show(AckProperties {
            reason_string: self.reason_string.as_deref().map(text),
            user_properties: UserProperties::new(&pairs),
        })
    }
}

impl From<AckProperties<'_>> for Diagnostics {
    fn from(properties: AckProperties<'_>) -> Self {
        Self::new(properties.reason_string, properties.user_properties)
    }
}
