//! How much one packet may hold.

/// Limits of a decoder, looked at before anything is done with what a packet announces.
///
/// ```
/// use mqtt_codec::Limits;
///
/// let limits = Limits { packet_size_max: 64 * 1024, ..Limits::default() };
/// assert!(limits.connect_size_max < limits.packet_size_max);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Limits {
    /// Largest packet, in bytes with its header. 1 MiB.
    pub packet_size_max: u32,
    /// Largest first packet of a connection, in bytes with its header: what anybody can make a
    /// server hold. 32 KiB.
    pub connect_size_max: u32,
    /// What the items of one packet may come to.
    pub counts: Counts,
}

/// How many items a packet may have. One more is refused with 0x97 Quota exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by struct update from the default"
)]
pub struct Counts {
    /// Properties of one block, user properties among them. 256.
    pub properties_max: u16,
    /// User properties of one block. 128.
    pub user_properties_max: u16,
    /// Filters of one SUBSCRIBE or UNSUBSCRIBE. 1,024.
    pub filters_max: u16,
}

impl Limits {
    /// The limits of [`Default`], for constants.
    pub const DEFAULT: Self = Self {
        packet_size_max: 1024 * 1024,
        connect_size_max: 32 * 1024,
        counts: Counts::DEFAULT,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Counts {
    /// The limits of [`Default`], for constants.
    pub const DEFAULT: Self = Self {
        properties_max: 256,
        user_properties_max: 128,
        filters_max: 1024,
    };
}

impl Default for Counts {
    fn default() -> Self {
        Self::DEFAULT
    }
}
