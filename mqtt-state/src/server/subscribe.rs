//! SUBSCRIBE in the server role: what a client may not ask for.

use mqtt_codec::{ProtocolVersion, Subscribe};

use super::Config;
use crate::ProtocolError;

/// Checks a SUBSCRIBE against what the server has announced.
///
/// 3.1.1 has no way to announce it; there each filter gets its own refusal.
pub(super) fn check(
    subscribe: &Subscribe<'_>,
    version: ProtocolVersion,
    config: &Config,
) -> Result<(), ProtocolError> {
    if version == ProtocolVersion::V3_1_1 {
        return Ok(());
    }
    if subscribe.properties.subscription_id.is_some() && !config.subscription_id_available {
        return Err(ProtocolError::SubscriptionIdsNotSupported);
    }
    for entry in subscribe.filters.iter() {
        let shared = entry.filter.shared().ok().flatten();
        if shared.is_some() && !config.shared_subscription_available {
            return Err(ProtocolError::SharedSubscriptionsNotSupported);
        }
        let filter = shared.map_or(entry.filter, |shared| shared.filter());
        if filter.has_wildcards() && !config.wildcard_subscription_available {
            return Err(ProtocolError::WildcardSubscriptionsNotSupported);
        }
    }
    Ok(())
}
