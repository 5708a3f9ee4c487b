//! Publishes messages, with the blocking driver.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Read as _};
use std::iter;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgGroup, Parser};
use mqtt_codec::{Message, ProtocolVersion, QoS};
use mqtt_examples::drive::Reconnect;
use mqtt_examples::drive::blocking::Driver;
use mqtt_examples::options::{ConnectOptions, failure, qos};
use mqtt_examples::properties::{PropertyOptions, topic};
use mqtt_state::client::{Config, Event, LostCause, PublishToken, State};

/// Publish messages to an MQTT broker.
#[derive(Debug, Parser)]
#[command(version, disable_help_flag = true, disable_version_flag = true)]
#[command(group(ArgGroup::new("payload").required(true).args(["message", "file", "stdin_line", "stdin_file", "null_message"])))]
struct Options {
    #[command(flatten)]
    connect: ConnectOptions,
    /// Topic to publish to
    #[arg(short, long, value_parser = topic)]
    topic: String,
    /// Payload
    #[arg(short, long)]
    message: Option<String>,
    /// Payload: a file
    #[arg(short, long)]
    file: Option<String>,
    /// Payload: standard input, one message for each line
    #[arg(short = 'l', long)]
    stdin_line: bool,
    /// Payload: standard input, as one message
    #[arg(short = 's', long)]
    stdin_file: bool,
    /// Payload: nothing; with -r this clears the retained message
    #[arg(short, long)]
    null_message: bool,
    /// QoS
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Whether the broker keeps the message for later subscribers
    #[arg(short, long)]
    retain: bool,
    /// How often to publish the message
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    #[command(flatten)]
    properties: PropertyOptions,
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

impl Options {
    fn message(&self, payload: Vec<u8>) -> anyhow::Result<Message> {
        let message = Message::new(&self.topic, payload)?;
        let message = message.with_qos(self.qos).with_retain(self.retain);
        self.properties.put_on(message)
    }
}

/// So long does one step wait, when there may be lines to publish meanwhile.
const STEP: Duration = Duration::from_millis(20);

/// Messages that may wait for the broker before standard input has to.
const WAITING_MAX: usize = 100;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            mqtt_examples::log!("publish: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let settings = options.connect.settings("publish")?;
    anyhow::ensure!(
        settings.version == ProtocolVersion::V5_0 || options.properties.is_empty(),
        "MQTT 3.1.1 has no properties"
    );
    // What is wrong with all of them shows before anybody is asked to take one.
    options.message(Vec::new())?;
    let payloads = payloads(options)?;
    let mut driver = Driver::new(options.connect.machine(Config::default())?, settings);
    if options.connect.resumes() {
        driver.client.assume_session();
    }
    driver.open()?;
    let result = publish_all(&mut driver, &payloads, options);
    // Whatever came of it: who leaves without a goodbye has a will.
    driver.close();
    options.connect.trace_tolerated(&driver.client);
    result
}

fn publish_all(
    driver: &mut Driver,
    payloads: &mpsc::Receiver<Vec<u8>>,
    options: &Options,
) -> anyhow::Result<()> {
    // Lines may come for ever; whoever has one message wants to know soon.
    let is_wanted = options.stdin_line && options.connect.reconnects();
    let mut reconnect = Reconnect::new("publish", is_wanted);
    let mut open = BTreeSet::new();
    let mut more = true;
    let mut result = Ok(());
    while more || !open.is_empty() || driver.client.waiting_len() > 0 {
        while more
            && driver.client.state() == State::Connected
            && driver.client.waiting_len() < WAITING_MAX
        {
            match payloads.try_recv() {
                Ok(payload) => {
                    let message = options.message(payload)?;
                    let now = driver.now();
                    match driver.client.publish(now, message) {
                        Ok(token) => drop(open.insert(token)),
                        // It is the last one, and those before it still go.
                        Err(error) => (result, more) = (Err(error.into()), false),
                    }
                }
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => more = false,
            }
        }
        driver.step(STEP);
        let events: Vec<_> = iter::from_fn(|| driver.client.poll_event()).collect();
        events.iter().for_each(|event| options.connect.trace(event));
        // Why the connection is gone says more than that messages are gone with it.
        let over = events.iter().find_map(|event| match event {
            Event::Closed { cause, .. } => Some((*cause, failure(event, driver.fault())?)),
            _ => None,
        });
        if !reconnect.is_wanted()
            && let Some((_, error)) = over
        {
            return Err(error);
        }
        for event in events {
            match event {
                Event::Connected { .. } => reconnect.connected(driver.now()),
                // The broker may have it or not, and knows nothing of this session any more.
                Event::PublishLost {
                    token,
                    message: Some(message),
                    cause: LostCause::SessionLost,
                } if reconnect.is_wanted() => {
                    open.remove(&token);
                    let now = driver.now();
                    open.insert(driver.client.publish(now, message)?);
                }
                event => settle(&event, &mut open)?,
            }
        }
        if let Some((cause, error)) = over {
            driver.open_again(&mut reconnect, &cause, error)?;
        }
    }
    result
}

/// Takes note of what an event says about the messages that are on their way.
fn settle(event: &Event, open: &mut BTreeSet<PublishToken>) -> anyhow::Result<()> {
    match event {
        Event::Published { token, reason, .. } => {
            open.remove(token);
            anyhow::ensure!(
                !reason.is_error(),
                "the broker refused the message: {reason} (0x{:02X})",
                reason.value()
            );
        }
        Event::PublishLost { token, cause, .. } => {
            open.remove(token);
            anyhow::bail!("a message was lost: {cause:?}");
        }
        _ => {}
    }
    Ok(())
}

/// The payloads, one after the other. Lines are read in a thread of their own, so that waiting for
/// the next one does not hold up the connection.
fn payloads(options: &Options) -> anyhow::Result<mpsc::Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(WAITING_MAX);
    let payload = if let Some(text) = &options.message {
        text.clone().into_bytes()
    } else if let Some(path) = &options.file {
        std::fs::read(path).with_context(|| format!("cannot read {path}"))?
    } else if options.stdin_file {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        bytes
    } else {
        Vec::new()
    };
    let (lines, repeat) = (options.stdin_line, options.repeat);
    thread::spawn(move || {
        if lines {
            for line in std::io::stdin().lock().split(b'\n') {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
            return;
        }
        for _ in 0..repeat {
            if sender.send(payload.clone()).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
