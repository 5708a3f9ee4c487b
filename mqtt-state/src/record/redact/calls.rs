//! What stands in calls, by the names of the fields. A text that nobody has said anything about is an error,
//! so that nothing new stays by mistake.

use alloc::format;
use alloc::string::{String, ToString};
use core::net::SocketAddr;

use mqtt_codec::ProtocolVersion;
use serde_json::Value;

use super::names::{FILLER, Names, fill};
use super::packet::{self, Front};
use crate::broker::StoreKey;
use crate::record::form::Hex;

/// Words that stand for themselves: variants without anything more.
const WORDS: &[&str] = &[
    "Acknowledge",
    "Allow",
    "Automatic",
    "Begun",
    "ByPublisher",
    "Disconnect",
    "Done",
    "Drop",
    "DropNewest",
    "DropOldest",
    "Hello",
    "LeastBusy",
    "Manual",
    "Present",
    "Refuse",
    "RoundRobin",
    "Superseded",
    "Switched",
    "Unclaimed",
];

/// Leaves out of a call, or of the beginning of a log, what is to be left out.
pub(super) fn redact(value: &mut Value, names: &mut Names) -> Result<(), String> {
    within("", value, ProtocolVersion::V5_0, names)
}

/// As deep as a reader of JSON goes, which has read this.
fn within(
    field: &str,
    value: &mut Value,
    version: ProtocolVersion,
    names: &mut Names,
) -> Result<(), String> {
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::Number(number) => {
            if is_payload(field) {
                *number = FILLER.into();
            }
            Ok(())
        }
        Value::Array(all) => {
            // Pairs have a form of their own beside that of packets.
            let field = if field == "user_properties" {
                "pairs"
            } else {
                field
            };
            all.iter_mut()
                .try_for_each(|it| within(field, it, version, names))
        }
        Value::Object(fields) => {
            let said = fields.get("version").cloned();
            let said = said.and_then(|it| serde_json::from_value(it).ok());
            let version = said.unwrap_or(version);
            fields
                .iter_mut()
                .try_for_each(|(field, it)| within(field, it, version, names))
        }
        Value::String(text) => {
            *text = in_place_of(field, text, version, names)
                .ok_or_else(|| format!("nobody knows what the text in `{field}` says"))?;
            Ok(())
        }
    }
}

fn is_payload(field: &str) -> bool {
    matches!(field, "payload" | "correlation_data")
}

/// The text in place of the one in this field; `None` for what nobody knows.
fn in_place_of(
    field: &str,
    text: &str,
    version: ProtocolVersion,
    names: &mut Names,
) -> Option<String> {
    Some(match field {
        "payload" | "correlation_data" | "content_type" | "pairs" => fill(text),
        // Hexadecimal digits.
        "data" | "authentication_data" | "AllowWith" | "Ask" => {
            let Hex(mut bytes) = hex(text)?;
            let len = bytes.len();
            packet::fill(&mut bytes, 0..len);
            Hex(bytes).digits()
        }
        "packet" | "properties" | "disconnect" | "user_properties" => {
            let Hex(mut bytes) = hex(text)?;
            match packet::redact(&mut bytes, Some(version), names) {
                Front::Packet { is_read: true, .. } => Hex(bytes).digits(),
                _ => return None,
            }
        }
        "key" => {
            let key = StoreKey::from_bytes(&hex(text)?.0)?;
            Hex(key.with_filter(|filter| names.topic(filter)).to_bytes()).digits()
        }
        "topic" | "filter" | "filters" | "deny" | "text" | "response_topic" => names.topic(text),
        "client_id" | "publisher" | "user_name" | "identity" | "assigned_client_id" => {
            names.client(text)
        }
        "reason_string" | "response_information" | "server_reference" => names.words(text),
        "address" => names.address(text.parse::<SocketAddr>().ok()?).to_string(),
        _ if WORDS.contains(&text) => text.to_string(),
        _ => return None,
    })
}

fn hex(text: &str) -> Option<Hex> {
    serde_json::from_value(Value::from(text)).ok()
}
