//! What a peer says beside a reason code.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use mqtt_codec::{AckProperties, Str, UserProperties, UserProperty};

/// The reason string and the user properties of a packet (5.0). Mostly there are none; then it takes
/// no memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Option<Box<Parts>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    reason_string: Option<String>,
    user_properties: Vec<(String, String)>,
}

// Nearly all are empty, and go without a call.
impl Drop for Diagnostics {
    #[inline]
    fn drop(&mut self) {
        if let Some(parts) = self.0.take() {
            drop_parts(parts);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_parts(parts: Box<Parts>) {
    drop(parts);
}

impl Diagnostics {
    /// For people.
    #[must_use]
    pub fn reason_string(&self) -> Option<&str> {
        self.0.as_ref()?.reason_string.as_deref()
    }

    /// Names and values, for programs, in the order of the packet.
    pub fn user_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let parts = self.0.as_ref().into_iter();
        let pairs = parts.flat_map(|parts| &parts.user_properties);
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes of the texts.
    pub(crate) fn len_held(&self) -> usize {
        let reason = self.reason_string().map_or(0, str::len);
        let pairs = self.user_properties();
        let lens = pairs.map(|(name, value)| name.len().saturating_add(value.len()));
        lens.fold(reason, usize::saturating_add)
    }

    #[inline]
    pub(crate) fn new(reason_string: Option<Str<'_>>, user_properties: UserProperties<'_>) -> Self {
        if reason_string.is_none() && user_properties.is_empty() {
            return Self(None);
        }
        let text = |text: Str<'_>| text.as_str().to_string();
        Self(Some(Box::new(Parts {
            reason_string: reason_string.map(text),
            user_properties: user_properties
                .iter()
                .map(|pair| (text(pair.name), text(pair.value)))
                .collect(),
        })))
    }

    /// Shows it as the properties of an acknowledgement. What was taken from a packet fits one.
    pub(crate) fn with_properties<T>(&self, show: impl FnOnce(AckProperties<'_>) -> T) -> T {
        let text = |text| Str::new(text).unwrap_or_default();
        let pairs = self.user_properties().map(|(name, value)| UserProperty {
            name: text(name),
            value: text(value),
        });
        let pairs: Vec<_> = pairs.collect();
        show(AckProperties {
            reason_string: self.reason_string().map(text),
            user_properties: UserProperties::new(&pairs),
        })
    }
}

impl From<AckProperties<'_>> for Diagnostics {
    #[inline]
    fn from(properties: AckProperties<'_>) -> Self {
        Self::new(properties.reason_string, properties.user_properties)
    }
}
