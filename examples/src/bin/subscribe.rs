//! Subscribes and prints what comes, with the tokio driver.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mqtt_codec::{
    Message, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscribeFilter,
    SubscriptionOptions, TopicFilter,
};
use mqtt_examples::drive::tokio::Driver;
use mqtt_examples::drive::{Machine, Reconnect};
use mqtt_examples::inspect;
use mqtt_examples::options::{ConnectOptions, failure, qos};
use mqtt_state::client::{Config, Event, RequestError};
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

/// Subscribe to an MQTT broker and print what comes.
#[derive(Debug, Parser)]
#[command(version, disable_help_flag = true, disable_version_flag = true)]
struct Options {
    #[command(flatten)]
    connect: ConnectOptions,
    /// Topic filter to subscribe to; may be given more than once
    #[arg(short, long, required = true, value_parser = filter)]
    topic: Vec<String>,
    /// Topic filter of messages not to print; may be given more than once
    #[arg(short = 'T', long, value_name = "FILTER", value_parser = filter)]
    filter_out: Vec<String>,
    /// Highest QoS
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// End after so many messages
    #[arg(short = 'C', long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds; with -C it is a failure when not all messages came
    #[arg(short = 'W', long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Print topics too
    #[arg(short, long)]
    verbose: bool,
    /// Print QoS and RETAIN flag too
    #[arg(long)]
    flags: bool,
    /// Print all of a message, its properties too, as JSON
    #[arg(long, conflicts_with_all = ["verbose", "flags"])]
    json: bool,
    /// Print no line end behind a message
    #[arg(short = 'N')]
    no_line_end: bool,
    /// Do not print retained messages that were there before
    #[arg(short = 'R', long)]
    no_retained: bool,
    /// End when the broker has answered the subscription
    #[arg(short = 'E')]
    exit_when_subscribed: bool,
    /// Do not get what this client publishes (5.0)
    #[arg(long)]
    no_local: bool,
    /// Get the RETAIN flag as it was published (5.0)
    #[arg(long)]
    retain_as_published: bool,
    /// Which retained messages to get at once (5.0)
    #[arg(long, value_enum, default_value = "always")]
    retain_handling: Handling,
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Handling {
    Always,
    New,
    Never,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the messages has read enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            mqtt_examples::log!("subscribe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> anyhow::Result<()> {
    let settings = options.connect.settings("subscribe")?;
    // Whoever asks for messages wants them all, however large they are.
    let config = Config {
        packet_size_max: u32::MAX,
        ..Config::default()
    };
    let mut driver = Driver::new(options.connect.machine(config)?, settings);
    if options.connect.resumes() {
        driver.client.assume_session();
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let limit = options.timeout.map_or(
        Duration::from_secs(u64::from(u32::MAX)),
        Duration::from_secs,
    );
    let result = tokio::select! {
        result = listen(&mut driver, options) => result,
        _ = ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = tokio::time::sleep(limit) => match options.count {
            Some(count) => Err(anyhow::anyhow!("not all {count} messages came within {} seconds", limit.as_secs())),
            None => Ok(()),
        },
    };
    driver.close().await;
    options.connect.trace_tolerated(&driver.client);
    result
}

async fn listen(driver: &mut Driver, options: &Options) -> anyhow::Result<()> {
    let mut reconnect = Reconnect::new("subscribe", options.connect.reconnects());
    driver.open().await?;
    let mut left = options.count;
    // The broker has said so, in the session that there is.
    let mut is_subscribed = false;
    while let Some(event) = driver.next_event().await {
        options.connect.trace(&event);
        if let Some(error) = failure(&event, driver.fault()) {
            let Event::Closed { cause, .. } = event else {
                return Err(error);
            };
            driver.open_again(&mut reconnect, &cause, error).await?;
            continue;
        }
        match event {
            Event::Connected { session_present } => {
                reconnect.connected(driver.now());
                is_subscribed &= session_present;
                if !is_subscribed {
                    subscribe(&mut driver.client, options)?;
                }
            }
            Event::Subscribed { reasons, .. } => {
                is_subscribed = true;
                let refused = reasons
                    .iter()
                    .zip(&options.topic)
                    .filter(|(reason, _)| reason.granted().is_none());
                let mut all = 0;
                for (reason, filter) in refused {
                    all += 1;
                    let reason = ReasonCode::from(*reason);
                    mqtt_examples::log!(
                        "subscribe: the broker refused {filter}: {reason} (0x{:02X})",
                        reason.value()
                    );
                }
                anyhow::ensure!(all < reasons.len(), "all subscriptions were refused");
                if options.exit_when_subscribed {
                    return Ok(());
                }
            }
            Event::Message { message, .. } => {
                if print(&message, options)? {
                    left = left.map(|left| left.saturating_sub(1));
                }
                if left == Some(0) {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn subscribe(client: &mut Machine, options: &Options) -> anyhow::Result<()> {
    let version = client.negotiated().map(|negotiated| negotiated.version);
    let plain = SubscriptionOptions::new(options.qos);
    let subscription = SubscriptionOptions {
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        retain_handling: match options.retain_handling {
            Handling::Always => RetainHandling::Send,
            Handling::New => RetainHandling::SendIfNew,
            Handling::Never => RetainHandling::DoNotSend,
        },
        ..plain
    };
    if version == Some(ProtocolVersion::V3_1_1) && subscription != plain {
        anyhow::bail!("MQTT 3.1.1 has no subscription options but the QoS");
    }
    let mut filters = Vec::new();
    for filter in &options.topic {
        filters.push(SubscribeFilter {
            filter: TopicFilter::new(filter)?,
            options: subscription,
        });
    }
    match client.subscribe(&filters) {
        // Over again already, which is an event of its own.
        Ok(_) | Err(RequestError::NotConnected) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Prints a message, unless the options say not to.
fn print(message: &Message, options: &Options) -> anyhow::Result<bool> {
    let stale = options.no_retained && message.retain();
    let mut out = options
        .filter_out
        .iter()
        .filter_map(|filter| TopicFilter::new(filter).ok());
    if stale || out.any(|filter| filter.matches(message.topic())) {
        return Ok(false);
    }
    let mut line = Vec::new();
    if options.verbose {
        write!(line, "{} ", message.topic())?;
    }
    if options.flags {
        write!(line, "q{} r{} ", message.qos(), u8::from(message.retain()))?;
    }
    if options.json {
        write!(line, "{}", inspect::message(message)?)?;
    } else {
        line.extend_from_slice(message.payload());
    }
    if !options.no_line_end {
        line.push(b'\n');
    }
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()?;
    Ok(true)
}

fn filter(text: &str) -> Result<String, String> {
    TopicFilter::new(text)
        .and_then(TopicFilter::shared)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}
