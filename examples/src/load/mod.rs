//! Clients that put a broker under load, and tell what it made of that.

mod publisher;
mod stamp;
mod subscriber;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mqtt_codec::{QoS, SharedTopic, TopicName};
use tokio::sync::{Notify, mpsc, watch};

pub use tally::Tally;

use crate::settings::Settings;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How each client connects; its client identifier is the beginning of theirs.
    pub settings: Settings,
    /// Below this topic all messages go.
    pub topic: String,
    /// Clients that publish.
    pub publishers: u32,
    /// Clients that subscribe to all of it.
    pub subscribers: u32,
    /// The publishers share so many topics.
    pub topics: u32,
    /// Messages of each publisher.
    pub messages: u32,
    /// Of publishing and of subscribing.
    pub qos: QoS,
    /// Bytes of a payload, at least [`Plan::SIZE_MIN`].
    pub size: usize,
    /// Messages of one publisher that are not done with.
    pub window: u32,
    /// Messages of one publisher in a second; `None` is as many as go.
    pub rate: Option<u32>,
    /// The subscribers are members of this shared group.
    pub group: Option<String>,
    /// The end comes when nothing arrived for so long.
    pub patience: Duration,
}

impl Plan {
    /// A payload says who sent it, which it is, and when that was.
    pub const SIZE_MIN: usize = stamp::Stamp::LEN;

    /// Messages that all subscribers together have to get.
    pub fn expected(&self) -> u64 {
        let published = u64::from(self.publishers) * u64::from(self.messages);
        match self.group {
            None => published * u64::from(self.subscribers),
            Some(_) => published,
        }
    }

    /// The topic of one publisher.
    fn topic_of(&self, publisher: u32) -> anyhow::Result<SharedTopic> {
        let text = format!("{}/{}", self.topic, publisher % self.topics.max(1));
        Ok(TopicName::new(&text).context("topic")?.into())
    }

    /// What a subscriber subscribes to.
    fn filter(&self) -> String {
        match &self.group {
            None => format!("{}/#", self.topic),
            Some(group) => format!("$share/{group}/{}/#", self.topic),
        }
    }

    /// How one of the clients connects.
    fn settings_of(&self, role: &str, number: u32) -> Settings {
        Settings {
            client_id: format!("{}-{role}-{number}", self.settings.client_id),
            ..self.settings.clone()
        }
    }
}

/// What all clients of a run have in common.
#[derive(Debug)]
struct Run {
    plan: Plan,
    /// Payloads tell the time since then.
    origin: Instant,
    /// Messages that arrived for the first time.
    arrived: AtomicU64,
    /// All of them did.
    complete: Notify,
}

impl Run {
    fn note_arrived(&self) {
        let arrived = self.arrived.fetch_add(1, Ordering::Relaxed) + 1;
        if arrived == self.plan.expected() {
            self.complete.notify_waiters();
        }
    }

    fn is_complete(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) >= self.plan.expected()
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Of all subscribers together.
    pub tally: Tally,
    /// Messages that were published, and acknowledged where they are.
    pub published: u64,
    /// From the first message to the end of the last publish.
    pub publishing: Duration,
    /// From the first message to the last arrival.
    pub delivering: Duration,
}

/// Connects all clients, lets them go, and waits for the end.
pub async fn run(plan: Plan) -> anyhow::Result<Outcome> {
    let run = Arc::new(Run {
        plan,
        origin: Instant::now(),
        arrived: AtomicU64::new(0),
        complete: Notify::new(),
    });
    let plan = &run.plan;
    let (done, is_done) = watch::channel(false);
    let (ready, mut readiness) = mpsc::unbounded_channel();
    let mut subscribers = Vec::new();
    for number in 0..plan.subscribers {
        let settings = plan.settings_of("subscriber", number);
        let subscriber = subscriber::run(run.clone(), settings, ready.clone(), is_done.clone());
        subscribers.push(tokio::spawn(subscriber));
    }
    drop(ready);
    let mut are_ready = 0;
    while are_ready < plan.subscribers && readiness.recv().await.is_some() {
        are_ready += 1;
    }
    let began = Instant::now();
    let mut publishers = Vec::new();
    // One that is not ready has ended, and says why below.
    if are_ready == plan.subscribers {
        for number in 0..plan.publishers {
            let settings = plan.settings_of("publisher", number);
            publishers.push(tokio::spawn(publisher::run(run.clone(), settings, number)));
        }
    }
    let mut published = 0;
    let mut faults = Vec::new();
    for publisher in publishers {
        match publisher.await? {
            Ok(messages) => published += messages,
            Err(fault) => faults.push(fault),
        }
    }
    let publishing = began.elapsed();
    let _all_gone = done.send(true);
    let (mut tally, mut last) = (Tally::new(plan)?, began);
    for subscriber in subscribers {
        match subscriber.await? {
            Ok((part, at)) => {
                tally.add(&part)?;
                last = last.max(at);
            }
            Err(fault) => faults.push(fault),
        }
    }
    if let Some(fault) = faults.into_iter().next() {
        return Err(fault);
    }
    Ok(Outcome {
        tally,
        published,
        publishing,
        delivering: last.saturating_duration_since(began),
    })
}
