//! Keep alive in the server role: one and a half times the agreed interval of silence is the end.

use core::time::Duration;

use mqtt_codec::ProtocolVersion;

use super::Config;
use crate::Timestamp;

/// The keep alive in force, in seconds; 0 is off.
pub(super) fn in_force(version: ProtocolVersion, asked_secs: u16, config: &Config) -> u16 {
    match (version, config.keep_alive_max_secs) {
        (ProtocolVersion::V5_0, Some(maximum)) if asked_secs == 0 || asked_secs > maximum.get() => {
            maximum.get()
        }
        (ProtocolVersion::V5_0 | ProtocolVersion::V3_1_1, _) => asked_secs,
    }
}

/// When silence since `last_received` ends the connection.
// [5:MQTT-3.1.2-22] [3:MQTT-3.1.2-24]
pub(super) fn deadline(last_received: Timestamp, keep_alive_secs: u16) -> Option<Timestamp> {
    let millis = u64::from(keep_alive_secs).saturating_mul(1500);
    (millis > 0).then(|| last_received + Duration::from_millis(millis))
}
