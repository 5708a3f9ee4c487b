//! `$SYS`: figures about the broker as retained messages, under the names that people know. They expire when
//! no newer ones come, so that a store keeps none of a program that has ended for the next one.

use std::time::Duration;

use mqtt_codec::{Message, PublishProperties};
use mqtt_state::broker::Stats;
use tokio::time::{MissedTickBehavior, interval};

use super::Server;

impl Server {
    /// Publishes the figures every so often. Never comes back.
    pub async fn publish_figures(&self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = self.shared.clock.now();
            self.locked(|state| {
                let uptime = Duration::from_nanos(now.as_nanos());
                for message in messages(uptime, every, &state.broker.stats()) {
                    state.broker.publish(now, message);
                }
            });
        }
    }
}

/// The figures as messages, of which others come so soon.
fn messages(uptime: Duration, every: Duration, stats: &Stats) -> impl Iterator<Item = Message> {
    let expiry_secs = every.as_secs().saturating_mul(3);
    let properties = PublishProperties {
        message_expiry_secs: Some(u32::try_from(expiry_secs).unwrap_or(u32::MAX)),
        ..PublishProperties::default()
    };
    let count = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
    let figures = [
        ("uptime", uptime.as_secs()),
        ("connections", count(stats.connections)),
        ("clients/connected", count(stats.clients)),
        ("clients/maximum", count(stats.connections_most)),
        ("clients/total", count(stats.sessions)),
        (
            "clients/disconnected",
            count(stats.sessions.saturating_sub(stats.clients)),
        ),
        ("sessions", count(stats.sessions)),
        ("subscriptions/count", count(stats.subscriptions)),
        ("retained messages/count", count(stats.retained)),
        ("store/messages/count", count(stats.messages)),
        ("store/messages/bytes", count(stats.messages_bytes)),
        ("store/bytes", count(stats.kept_bytes)),
        ("messages/received", stats.traffic.packets_received),
        ("messages/sent", stats.traffic.packets_sent),
        (
            "publish/messages/received",
            stats.publishes_received.iter().sum(),
        ),
        ("publish/messages/sent", stats.traffic.publishes_sent),
        (
            "publish/messages/dropped",
            stats
                .messages_dropped
                .saturating_add(stats.messages_refused),
        ),
        ("bytes/received", stats.traffic.bytes_received),
        ("bytes/sent", stats.traffic.bytes_sent),
    ];
    figures.into_iter().filter_map(move |(name, figure)| {
        let message = Message::new(&format!("$SYS/broker/{name}"), figure.to_string()).ok()?;
        message.with_retain(true).with_properties(&properties).ok()
    })
}
