//! What happens, in words for people.

use mqtt_state::broker::{Event, Peer};
use mqtt_state::{CloseCause, Timestamp};

/// Whether a client broke a rule: that is always told.
pub(super) fn is_fault(event: &Event) -> bool {
    matches!(
        event,
        Event::Closed {
            cause: CloseCause::ProtocolError(_),
            ..
        }
    )
}

/// From where somebody comes, and as whom.
pub(super) fn words(peer: &Peer) -> String {
    let mut words = peer
        .address
        .map_or(String::new(), |address| address.to_string());
    if let Some(identity) = &peer.identity {
        words.push_str(&format!(" ({identity})"));
    }
    words
}

/// Prints an event.
pub(super) fn print(at: Timestamp, event: &Event) {
    match event {
        Event::Connected {
            peer,
            client_id,
            version,
            session_present,
            ..
        } => {
            let session = if *session_present {
                ", session resumed"
            } else {
                ""
            };
            crate::log!(
                "{at} {client_id}: connected from {}, MQTT {version}{session}",
                words(peer)
            );
        }
        Event::Closed {
            peer,
            client_id,
            cause,
            text,
            ..
        } => {
            let who = client_id
                .as_deref()
                .map_or_else(|| words(peer), str::to_owned);
            let text = text
                .as_ref()
                .map_or(String::new(), |text| format!(" in {text:?}"));
            crate::log!("{at} {who}: closed: {cause}{text}");
        }
        Event::Subscribed {
            client_id,
            filter,
            reason,
        } => crate::log!("{at} {client_id}: subscribe {filter}: {reason}"),
        Event::Unsubscribed {
            client_id,
            filter,
            existed,
        } => {
            let existed = if *existed {
                ""
            } else {
                " (was not subscribed)"
            };
            crate::log!("{at} {client_id}: unsubscribe {filter}{existed}");
        }
        Event::Published {
            client_id,
            topic,
            qos,
            retain,
            payload_len,
            receivers,
        } => {
            let who = client_id.as_deref().unwrap_or("broker");
            let retain = if *retain { ", retained" } else { "" };
            crate::log!(
                "{at} {who}: publish {topic}, QoS {qos}{retain}, {payload_len} bytes, to {receivers}"
            );
        }
        Event::QueueFull {
            client_id,
            waiting_len,
            messages_bytes,
            ..
        } => crate::log!(
            "{at} {client_id}: too slow: {waiting_len} messages wait, {messages_bytes} bytes with those in flight"
        ),
        Event::Dropped {
            client_id,
            topic,
            cause,
        } => crate::log!("{at} {client_id}: dropped {topic}: {cause:?}"),
        Event::NotRetained { topic } => crate::log!("{at} not retained, no room: {topic}"),
        Event::WillPublished { client_id, topic } => {
            crate::log!("{at} {client_id}: will published to {topic}")
        }
        Event::SessionEnded { client_id } => crate::log!("{at} {client_id}: session ended"),
        other => crate::log!("{at} {other:?}"),
    }
}
