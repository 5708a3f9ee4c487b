//! A client that publishes.

use std::sync::Arc;
use std::time::Duration;

use mqtt_codec::{Message, SharedTopic};
use mqtt_state::client::{Client, Config, Event, LostCause};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Run;
use super::stamp::Stamp;
use crate::drive::tokio::Driver;
use crate::options::failure;
use crate::settings::Settings;

struct Publisher {
    run: Arc<Run>,
    number: u32,
    topic: SharedTopic,
    driver: Driver,
    is_connected: bool,
    /// Messages that were begun, and how many of them are not done with.
    begun: u32,
    open: u32,
}

/// Publishes all of its messages, and answers how many were.
pub(super) async fn run(run: Arc<Run>, settings: Settings, number: u32) -> anyhow::Result<u64> {
    let mut publisher = Publisher {
        topic: run.plan.topic_of(number)?,
        driver: Driver::new(Client::new(Config::default()), settings),
        run,
        number,
        is_connected: false,
        begun: 0,
        open: 0,
    };
    publisher.driver.open().await?;
    let mut pace = publisher.run.plan.rate.map(pace);
    while !publisher.is_done() {
        if pace.is_none() {
            publisher.publish_all()?;
        }
        let may_publish = publisher.may_publish();
        tokio::select! {
            event = publisher.driver.next_event() => publisher.take(event)?,
            () = turn(&mut pace), if may_publish => publisher.publish()?,
        }
    }
    publisher.driver.close().await;
    Ok(publisher.begun.into())
}

impl Publisher {
    fn is_done(&self) -> bool {
        self.begun == self.run.plan.messages && self.open == 0
    }

    fn may_publish(&self) -> bool {
        self.is_connected && self.begun < self.run.plan.messages && self.open < self.run.plan.window
    }

    /// As many as the window takes.
    fn publish_all(&mut self) -> anyhow::Result<()> {
        while self.may_publish() {
            self.publish()?;
        }
        Ok(())
    }

    fn publish(&mut self) -> anyhow::Result<()> {
        let stamp = Stamp {
            publisher: self.number,
            number: self.begun,
            at: self.run.origin.elapsed(),
        };
        let mut payload = stamp.to_bytes().to_vec();
        payload.resize(self.run.plan.size.max(payload.len()), 0x55);
        let message = Message::from_shared(self.topic.clone(), payload.into());
        let now = self.driver.now();
        self.driver
            .client
            .publish(now, message.with_qos(self.run.plan.qos))?;
        self.begun += 1;
        self.open += 1;
        Ok(())
    }

    fn take(&mut self, event: Option<Event>) -> anyhow::Result<()> {
        let number = self.number;
        let Some(event) = event else {
            anyhow::bail!("publisher {number}: the connection is gone");
        };
        if let Some(error) = failure(&event, self.driver.fault()) {
            return Err(error.context(format!("publisher {number}")));
        }
        match event {
            Event::Connected { .. } => self.is_connected = true,
            Event::Published { reason, .. } => {
                anyhow::ensure!(!reason.is_error(), "publisher {number}: {reason}");
                self.open = self.open.saturating_sub(1);
            }
            // With the connection, and why that is gone comes next.
            Event::PublishLost {
                cause: LostCause::SessionLost,
                ..
            } => {}
            Event::PublishLost { cause, .. } => {
                anyhow::bail!("publisher {number} lost a message: {cause:?}");
            }
            _ => {}
        }
        Ok(())
    }
}

/// So many turns in a second. What was missed is not made up for in a burst.
fn pace(rate: u32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// The next turn; never without a pace.
async fn turn(pace: &mut Option<Interval>) {
    match pace {
        Some(pace) => {
            pace.tick().await;
        }
        None => std::future::pending().await,
    }
}
