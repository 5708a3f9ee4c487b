//! The options that `publish` and `subscribe` share, with the letters people know.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use anyhow::Context as _;
use clap::Args;
use mqtt_codec::{Message, ProtocolVersion, QoS, ReasonCode, Strictness};
use mqtt_state::CloseCause;
use mqtt_state::client::{Client, Config, Event};

use crate::drive::Machine;
use crate::settings::Settings;
use crate::transport::target::Target;
use crate::transport::tls::TlsFiles;

/// How to connect.
#[derive(Clone, Debug, Args)]
pub struct ConnectOptions {
    /// Host of the broker
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// Port of the broker
    #[arg(short, long, default_value_t = 1883)]
    port: u16,
    /// Where the broker is, in place of host and port: mqtt://, mqtts://, ws:// or wss://
    #[arg(short = 'L', long, value_parser = url, conflicts_with_all = ["host", "port"])]
    url: Option<String>,
    /// Certificates of those who may vouch for the broker, as PEM; with host and port it means TLS
    #[arg(long, value_name = "FILE")]
    cafile: Option<String>,
    /// Certificate to show to the broker, as PEM
    #[arg(long, value_name = "FILE", requires = "key", requires = "cafile")]
    cert: Option<String>,
    /// Private key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<String>,
    /// Version of MQTT: 5 or 311
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = version)]
    protocol_version: ProtocolVersion,
    /// Client identifier; a random one if not given
    #[arg(short, long)]
    id: Option<String>,
    /// Client identifier with the process number behind it
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "id")]
    id_prefix: Option<String>,
    /// Keep alive in seconds; 0 is off
    #[arg(short, long, value_name = "SECS", default_value_t = 60)]
    keepalive: u16,
    /// User name
    #[arg(short, long)]
    username: Option<String>,
    /// Password
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD")]
    password: Option<String>,
    /// Keep the session on the broker, and resume it; needs -i
    #[arg(short = 'c', long, requires = "id")]
    disable_clean_session: bool,
    /// How long the broker keeps the session, in seconds (5.0); for ever with -c if not given
    #[arg(short = 'x', long, value_name = "SECS")]
    session_expiry_interval: Option<u32>,
    /// End with a failure when the connection is lost; `subscribe`, and `publish` with -l, connect again if not given,
    /// after the first connection
    #[arg(long)]
    no_reconnect: bool,
    /// Topic of the will
    #[arg(long, value_name = "TOPIC")]
    will_topic: Option<String>,
    /// Payload of the will
    #[arg(
        long,
        value_name = "MESSAGE",
        requires = "will_topic",
        default_value = ""
    )]
    will_payload: String,
    /// QoS of the will
    #[arg(long, value_name = "QOS", requires = "will_topic", default_value = "0", value_parser = qos)]
    will_qos: QoS,
    /// Whether the will is retained
    #[arg(long, requires = "will_topic")]
    will_retain: bool,
    /// Let go what a broker does against the standard, where it can be understood all the same; -d tells what
    #[arg(long)]
    lenient: bool,
    /// Print what happens, to standard error
    #[arg(short, long)]
    debug: bool,
    /// Write all that the client is told into this file, for `simulate --replay FILE`: passwords and payloads
    /// as well, until `simulate --redact FILE OUT` leaves them out
    #[arg(long, value_name = "FILE")]
    record: Option<String>,
}

impl ConnectOptions {
    /// A client, and the file that it may write into.
    pub fn machine(&self, config: Config) -> anyhow::Result<Machine> {
        let config = Config {
            strictness: if self.lenient {
                Strictness::LENIENT
            } else {
                config.strictness
            },
            ..config
        };
        match &self.record {
            Some(path) => Machine::recorded(config, path),
            None => Ok(Client::new(config).into()),
        }
    }

    /// What these options say, as settings of a driver.
    pub fn settings(&self, name: &str) -> anyhow::Result<Settings> {
        let random = RandomState::new().build_hasher().finish();
        let client_id = match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            (None, None) => format!("{name}-{random:016x}"),
        };
        let will = match &self.will_topic {
            Some(topic) => {
                let message =
                    Message::new(topic, self.will_payload.clone()).context("will topic")?;
                Some(
                    message
                        .with_qos(self.will_qos)
                        .with_retain(self.will_retain),
                )
            }
            None => None,
        };
        let kept = self.disable_clean_session.then_some(u32::MAX);
        Ok(Settings {
            clean_start: !self.disable_clean_session,
            keep_alive_secs: self.keepalive,
            session_expiry_secs: self.session_expiry_interval.or(kept),
            user_name: self.username.clone(),
            password: self.password.clone(),
            will,
            tls: TlsFiles {
                ca: self.cafile.clone(),
                cert: self.cert.clone(),
                key: self.key.clone(),
            },
            ..Settings::new(self.address()?, self.protocol_version, client_id)
        })
    }

    fn address(&self) -> anyhow::Result<String> {
        let Self { host, port, .. } = self;
        match &self.url {
            Some(url) => {
                let is_tls = url.parse::<Target>()?.is_tls;
                anyhow::ensure!(is_tls || self.cafile.is_none(), "{url} is without TLS");
                Ok(url.clone())
            }
            None if self.cafile.is_none() => Ok(format!("{host}:{port}")),
            None if host.contains(':') => Ok(format!("mqtts://[{host}]:{port}")),
            None => Ok(format!("mqtts://{host}:{port}")),
        }
    }

    /// Prints an event, if asked to.
    pub fn trace(&self, event: &Event) {
        if !self.debug {
            return;
        }
        match event {
            Event::Connected { session_present } => {
                crate::log!("connected, session present: {session_present}")
            }
            Event::Message { message, dup, .. } => {
                let (topic, qos, retain) = (message.topic(), message.qos(), message.retain());
                crate::log!(
                    "message on {topic}, QoS {qos}, retain {retain}, dup {dup}, {} bytes",
                    message.payload().len()
                );
            }
            Event::Published { reason, .. } => crate::log!("published: {reason}"),
            Event::Subscribed { reasons, .. } => {
                let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                crate::log!("subscribed: {}", reasons.join(", "));
            }
            Event::Closed { cause, .. } => crate::log!("closed: {cause}"),
            other => crate::log!("{other:?}"),
        }
    }

    /// Prints what the broker was let go, if asked to.
    pub fn trace_tolerated(&self, client: &Client) {
        if !self.debug {
            return;
        }
        for (rule, packets) in client.tolerated() {
            crate::log!("let go: {rule}, packets: {packets}");
        }
    }

    /// Whether to connect again when the connection is lost.
    pub fn reconnects(&self) -> bool {
        !self.no_reconnect
    }

    /// Whether the broker may have a session from an earlier run.
    pub fn resumes(&self) -> bool {
        self.disable_clean_session
    }
}

/// Reads a QoS.
pub fn qos(text: &str) -> Result<QoS, String> {
    text.parse::<u8>()
        .ok()
        .and_then(|value| QoS::try_from(value).ok())
        .ok_or_else(|| "QoS is 0, 1 or 2".to_owned())
}

fn url(text: &str) -> Result<String, String> {
    if !text.contains("://") {
        return Err("a URL has a scheme: mqtt, mqtts, ws or wss".to_owned());
    }
    match text.parse::<Target>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "5" | "5.0" | "mqttv5" => Ok(ProtocolVersion::V5_0),
        "311" | "3.1.1" | "4" | "mqttv311" => Ok(ProtocolVersion::V3_1_1),
        _ => Err("the version is 5 or 311".to_owned()),
    }
}

/// The end of a connection as an error in words, with the fault of what is below MQTT, unless this
/// side wanted it.
pub fn failure(event: &Event, fault: Option<&std::io::Error>) -> Option<anyhow::Error> {
    let Event::Closed {
        cause, diagnostics, ..
    } = event
    else {
        return None;
    };
    let explanation = diagnostics
        .reason_string()
        .map_or(String::new(), |text| format!(": {text}"));
    match cause {
        CloseCause::Disconnected(reason) if !ReasonCode::from(*reason).is_error() => None,
        cause => {
            let fault = fault.map_or(String::new(), |fault| format!(": {fault}"));
            Some(anyhow::anyhow!("{cause}{explanation}{fault}"))
        }
    }
}
