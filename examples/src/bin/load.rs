//! Puts a broker under load, whichever it is, and says how fast it was and whether anything got lost.
//!
//! `cargo run --release --bin load -- --publishers 10 --subscribers 10 --qos 1`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use mqtt_codec::{QoS, TopicName};
use mqtt_examples::load::{Outcome, Plan, run};
use mqtt_examples::options::{ConnectOptions, qos};

/// Put an MQTT broker under load: how fast is it, and does it lose, repeat or reorder anything?
#[derive(Debug, Parser)]
#[command(version, disable_help_flag = true, disable_version_flag = true)]
struct Options {
    #[command(flatten)]
    connect: ConnectOptions,
    /// Clients that publish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
    /// Clients that subscribe, each to all messages
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,
    /// The subscribers share the messages, as members of this group
    #[arg(long, value_name = "GROUP", value_parser = group)]
    share: Option<String>,
    /// Topic below which the messages go
    #[arg(short, long, default_value = "load")]
    topic: String,
    /// Topics that the publishers have together
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    topics: u32,
    /// Messages of each publisher
    #[arg(short, long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// QoS of messages and subscriptions
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Bytes of a payload
    #[arg(short, long, value_name = "BYTES", default_value_t = 64)]
    size: usize,
    /// Messages of one publisher that are not done with, at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Messages of one publisher in a second; as many as go if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// What has not arrived when nothing came for so many seconds is lost
    #[arg(long, value_name = "SECS", default_value_t = 5)]
    patience: u64,
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

impl Options {
    fn plan(&self) -> anyhow::Result<Plan> {
        anyhow::ensure!(
            self.size >= Plan::SIZE_MIN,
            "a payload has at least {} bytes here",
            Plan::SIZE_MIN
        );
        TopicName::new(&self.topic).context("--topic")?;
        Ok(Plan {
            settings: self.connect.settings("load")?,
            topic: self.topic.clone(),
            publishers: self.publishers,
            subscribers: self.subscribers,
            topics: self.topics,
            messages: self.messages,
            qos: self.qos,
            size: self.size,
            window: self.window,
            rate: self.rate,
            group: self.share.clone(),
            patience: Duration::from_secs(self.patience),
        })
    }
}

fn main() -> ExitCode {
    match load(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            mqtt_examples::log!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn group(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(['/', '+', '#']) {
        true => Err("a group is one level of a topic, without wildcards".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Answers whether the broker did what the QoS promises.
#[tokio::main]
async fn load(options: &Options) -> anyhow::Result<bool> {
    let plan = options.plan()?;
    let outcome = tokio::select! {
        outcome = run(plan.clone()) => outcome?,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    };
    report(&plan, &outcome);
    let Outcome { tally, .. } = &outcome;
    let lost = plan.expected().saturating_sub(tally.arrived);
    Ok(match plan.qos {
        QoS::AtMostOnce => tally.repeated == 0,
        QoS::AtLeastOnce => lost == 0,
        QoS::ExactlyOnce => lost == 0 && tally.repeated == 0,
    })
}

fn report(plan: &Plan, outcome: &Outcome) {
    let Outcome {
        tally,
        published,
        publishing,
        delivering,
    } = outcome;
    let expected = plan.expected();
    let per_second = |messages: u64, time: &Duration| {
        let nanos = time.as_nanos().max(1);
        u128::from(messages) * 1_000_000_000 / nanos
    };
    mqtt_examples::out!(
        "published {published} in {:.2} s: {} a second",
        publishing.as_secs_f64(),
        per_second(*published, publishing)
    );
    mqtt_examples::out!(
        "delivered {} of {expected} in {:.2} s: {} a second",
        tally.arrived,
        delivering.as_secs_f64(),
        per_second(tally.arrived, delivering)
    );
    mqtt_examples::out!(
        "lost {}, repeated {}, overtaken {}",
        expected.saturating_sub(tally.arrived),
        tally.repeated,
        tally.overtaken
    );
    let [half, most, nearly_all, all] =
        [0.5, 0.99, 0.999, 1.0].map(|share| tally.latency(share).as_secs_f64() * 1e3);
    mqtt_examples::out!(
        "on the way: 50 % {half:.2} ms, 99 % {most:.2} ms, 99.9 % {nearly_all:.2} ms, all {all:.2} ms"
    );
}
