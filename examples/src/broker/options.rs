//! The options of the broker: flags, and the same names as keys of a TOML file. Flags win.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Parser};
use mqtt_codec::QoS;
use mqtt_state::{broker, server};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokio_rustls::rustls::ServerConfig;

use super::listen::{Certificates, Transport};
use crate::access::Access;
use crate::access::acl::{Acl, DenySubscribe};
use crate::access::password::Passwords;
use crate::options::qos;
use crate::transport::tls;

/// Smallest limit of packets that leaves room for anything.
const PACKET_SIZE_MIN: u32 = 16;

/// Largest CONNECT, in bytes: the largest will has room in it, beside names.
const CONNECT_SIZE_MAX: u32 = 128 * 1024;

/// An MQTT 5.0 and 3.1.1 broker. Everything is kept in memory, unless there is a store.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// Settings that are not given here, from a TOML file with the names of these flags as keys
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Print a line for --password-file and end; what is not given is read from standard input
    #[arg(long, num_args = 0..=2, value_names = ["USER", "PASSWORD"])]
    pub hash_password: Option<Vec<String>>,
    #[command(flatten)]
    settings: Settings,
}

/// What flags say, and a file. What is read again while the broker runs is not serialized: the rest is what needs
/// a restart.
#[derive(Clone, Debug, Default, Args, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct Settings {
    /// Address and port to listen on; may be given more than once [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR:PORT")]
    #[serde(deserialize_with = "one_or_more")]
    bind: Option<Vec<String>>,
    /// Address and port to listen on for TLS; may be given more than once
    #[arg(long, value_name = "ADDR:PORT")]
    #[serde(deserialize_with = "one_or_more")]
    tls_bind: Option<Vec<String>>,
    /// Certificate of this broker, and those who vouch for it, as PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing)]
    tls_cert: Option<String>,
    /// Private key of this broker, as PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing)]
    tls_key: Option<String>,
    /// TLS clients need a certificate that one of these vouches for
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing)]
    tls_client_ca: Option<String>,
    /// Address and port to listen on for WebSockets; may be given more than once
    #[arg(long, value_name = "ADDR:PORT")]
    #[serde(deserialize_with = "one_or_more")]
    ws_bind: Option<Vec<String>>,
    /// Whether clients may come without user name and password [default: true]
    #[arg(long, value_name = "true|false")]
    #[serde(skip_serializing)]
    allow_anonymous: Option<bool>,
    /// User names and hashes of their passwords, one "user:hash" in each line
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing)]
    password_file: Option<String>,
    /// Who may publish and subscribe where: lines "user NAME", "user *" or "anonymous", and below each its rules,
    /// "allow" or "deny", then "publish", "subscribe" or "both", then a filter with %u and %c in it; the first
    /// that applies decides, and without one it is denied
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing)]
    acl: Option<String>,
    /// Refuse subscriptions within a filter, with a reason code that is 0x87 if not given
    #[arg(long, value_name = "FILTER[=CODE]")]
    #[serde(deserialize_with = "parsed", skip_serializing)]
    deny_subscribe: Option<DenySubscribe>,
    /// Longest keep alive, in seconds; clients of 3.1.1 that want a longer one are refused
    #[arg(long, value_name = "SECS")]
    max_keep_alive: Option<NonZeroU16>,
    /// QoS 1 and 2 messages that a client of 5.0 may have unacknowledged [default: 20]
    #[arg(long, value_name = "N")]
    receive_maximum: Option<NonZeroU16>,
    /// QoS 1 and 2 messages unacknowledged towards a client [default: 20]
    #[arg(long, value_name = "N")]
    max_inflight: Option<NonZeroU16>,
    /// Messages that wait for one client that is away or slow, or until those before are written; further
    /// ones are dropped [default: 1000]
    #[arg(long, value_name = "N")]
    max_queued: Option<usize>,
    /// Bytes of these messages [default: 16777216]
    #[arg(long, value_name = "N")]
    max_queued_bytes: Option<usize>,
    /// Largest packet, in bytes; larger ones are refused [default: 1048576]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(i64::from(PACKET_SIZE_MIN)..))]
    max_packet_size: Option<u32>,
    /// Largest payload, in bytes; larger messages are refused, and clients with a larger will
    #[arg(long, value_name = "BYTES")]
    message_size_limit: Option<usize>,
    /// Highest QoS that a client may publish with [default: 2]
    #[arg(long, value_name = "0|1|2", value_parser = qos)]
    #[serde(deserialize_with = "qos_number")]
    maximum_qos: Option<QoS>,
    /// Whether clients may have messages retained; those below $SYS are in any case [default: true]
    #[arg(long, value_name = "true|false")]
    retain_available: Option<bool>,
    /// Topic aliases that a client may set [default: 10]
    #[arg(long, value_name = "N")]
    topic_alias_maximum: Option<u16>,
    /// Connections at once; further ones are closed. Those that are over and not closed by their clients do not
    /// count: as many again, and at most 1000, are read from for up to 5 s [default: 10000]
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// Longest session expiry, in seconds
    #[arg(long, value_name = "SECS")]
    session_expiry_max: Option<u32>,
    /// Publish figures to $SYS every so many seconds; 0 is never
    #[arg(long, value_name = "SECS")]
    sys_interval: Option<u32>,
    /// Sessions, connected or not [default: 100000]
    #[arg(long, value_name = "N")]
    max_sessions: Option<usize>,
    /// Subscriptions of one session [default: 1000]
    #[arg(long, value_name = "N")]
    max_subscriptions: Option<usize>,
    /// Retained messages [default: 100000]
    #[arg(long, value_name = "N")]
    max_retained: Option<usize>,
    /// Bytes of retained messages [default: 268435456]
    #[arg(long, value_name = "N")]
    max_retained_bytes: Option<usize>,
    /// Bytes of all messages that are kept [default: 1073741824]
    #[arg(long, value_name = "N")]
    max_total_bytes: Option<usize>,
    /// Keep sessions, their messages and retained messages in this file
    #[arg(long, value_name = "PATH")]
    store: Option<String>,
    /// Write all that the broker is told to this file, passwords and payloads too, to report a bug with
    #[arg(long, value_name = "FILE")]
    record: Option<String>,
    /// Print everything that happens
    #[arg(long, short)]
    verbose: bool,
}

/// What a broker is run with.
pub struct Plan {
    /// What the machine has to know.
    pub config: broker::Config,
    /// Who may do what.
    pub access: Access,
    /// Where clients come in.
    pub listeners: Vec<(String, Transport)>,
    /// What those listeners show that speak TLS.
    pub certificates: Option<Certificates>,
    /// The settings that are in force until the program ends, by name.
    pub(super) others: Value,
    /// How often figures are published.
    pub figures_every: Option<Duration>,
    /// Whether everything is printed.
    pub verbose: bool,
    /// The file that sessions and retained messages are kept in.
    pub store: Option<String>,
    /// The file that all the machine is told goes to.
    pub record: Option<String>,
}

/// What is read again while the broker runs.
pub(super) struct Again {
    /// Who may do what.
    pub(super) access: Access,
    /// What those see who come in through TLS.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// The other settings, by name.
    pub(super) others: Value,
    /// What it was read from.
    pub(super) files: Vec<String>,
}

impl Options {
    /// What the flags say, and the file they name, with the files named therein.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let settings = self.all()?;
        let certificates = settings.tls()?.map(Certificates::new);
        Ok(Plan {
            listeners: settings.listeners(certificates.as_ref())?,
            certificates,
            others: settings.others()?,
            figures_every: settings
                .sys_interval
                .filter(|secs| *secs > 0)
                .map(|secs| Duration::from_secs(secs.into())),
            verbose: settings.verbose,
            store: settings.store.clone(),
            record: settings.record.clone(),
            config: settings.config(),
            access: settings.access()?,
        })
    }

    /// The same files once more, and what of them can be in force without a restart.
    pub(super) fn again(&self) -> anyhow::Result<Again> {
        let settings = self.all()?;
        Ok(Again {
            access: settings.access()?,
            tls: settings.tls()?,
            others: settings.others()?,
            files: settings.files(self.config.as_deref()),
        })
    }

    fn all(&self) -> anyhow::Result<Settings> {
        let settings = self.settings.clone();
        Ok(match &self.config {
            Some(path) => settings.or(Settings::read(path)?),
            None => settings,
        })
    }
}

impl Settings {
    fn read(path: &str) -> anyhow::Result<Self> {
        let text = read(path)?;
        let settings: Self = toml::from_str(&text).with_context(|| path.to_owned())?;
        ensure!(
            settings
                .max_packet_size
                .is_none_or(|bytes| bytes >= PACKET_SIZE_MIN),
            "{path}: max-packet-size is at least {PACKET_SIZE_MIN}"
        );
        Ok(settings)
    }

    /// These settings, and others where these say nothing.
    fn or(self, other: Self) -> Self {
        Self {
            bind: self.bind.or(other.bind),
            tls_bind: self.tls_bind.or(other.tls_bind),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            tls_client_ca: self.tls_client_ca.or(other.tls_client_ca),
            ws_bind: self.ws_bind.or(other.ws_bind),
            allow_anonymous: self.allow_anonymous.or(other.allow_anonymous),
            password_file: self.password_file.or(other.password_file),
            acl: self.acl.or(other.acl),
            deny_subscribe: self.deny_subscribe.or(other.deny_subscribe),
            max_keep_alive: self.max_keep_alive.or(other.max_keep_alive),
            receive_maximum: self.receive_maximum.or(other.receive_maximum),
            max_inflight: self.max_inflight.or(other.max_inflight),
            max_queued: self.max_queued.or(other.max_queued),
            max_queued_bytes: self.max_queued_bytes.or(other.max_queued_bytes),
            max_packet_size: self.max_packet_size.or(other.max_packet_size),
            message_size_limit: self.message_size_limit.or(other.message_size_limit),
            maximum_qos: self.maximum_qos.or(other.maximum_qos),
            retain_available: self.retain_available.or(other.retain_available),
            topic_alias_maximum: self.topic_alias_maximum.or(other.topic_alias_maximum),
            max_connections: self.max_connections.or(other.max_connections),
            session_expiry_max: self.session_expiry_max.or(other.session_expiry_max),
            sys_interval: self.sys_interval.or(other.sys_interval),
            max_sessions: self.max_sessions.or(other.max_sessions),
            max_subscriptions: self.max_subscriptions.or(other.max_subscriptions),
            max_retained: self.max_retained.or(other.max_retained),
            max_retained_bytes: self.max_retained_bytes.or(other.max_retained_bytes),
            max_total_bytes: self.max_total_bytes.or(other.max_total_bytes),
            store: self.store.or(other.store),
            record: self.record.or(other.record),
            verbose: self.verbose || other.verbose,
        }
    }

    /// Who may connect, publish and subscribe.
    fn access(&self) -> anyhow::Result<Access> {
        let passwords = self.password_file.as_ref().map(|path| {
            let passwords = Passwords::parse(&read(path)?);
            passwords.with_context(|| path.to_owned())
        });
        let acl = self.acl.as_ref().map(|path| {
            let acl = Acl::parse(&read(path)?);
            acl.with_context(|| path.to_owned())
        });
        Ok(Access {
            deny_anonymous: self.allow_anonymous == Some(false),
            passwords: passwords.transpose()?,
            acl: acl.transpose()?,
            deny_subscribe: self.deny_subscribe.clone(),
        })
    }

    fn others(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self)?)
    }

    /// The files that are read once more, as they are named.
    fn files(&self, config: Option<&str>) -> Vec<String> {
        let files = [&self.password_file, &self.acl];
        let tls = [&self.tls_cert, &self.tls_key, &self.tls_client_ca];
        let named = files.into_iter().chain(tls).flatten().cloned();
        config.map(str::to_owned).into_iter().chain(named).collect()
    }

    /// What clients get to see through TLS, where there is a place for them to come in.
    fn tls(&self) -> anyhow::Result<Option<Arc<ServerConfig>>> {
        if self.tls_bind.is_none() {
            return Ok(None);
        }
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            bail!("--tls-bind needs --tls-cert and --tls-key");
        };
        tls::server_config(cert, key, self.tls_client_ca.as_deref()).map(Some)
    }

    fn listeners(
        &self,
        certificates: Option<&Certificates>,
    ) -> anyhow::Result<Vec<(String, Transport)>> {
        let mut listeners = Vec::new();
        match &self.bind {
            Some(bind) => {
                listeners.extend(bind.iter().map(|at| (at.clone(), Transport::Tcp)));
            }
            None => listeners.push(("127.0.0.1:1883".to_owned(), Transport::Tcp)),
        }
        if let (Some(bind), Some(certificates)) = (&self.tls_bind, certificates) {
            listeners.extend(
                bind.iter()
                    .map(|at| (at.clone(), Transport::Tls(certificates.clone()))),
            );
        }
        let tls_files = [&self.tls_cert, &self.tls_key, &self.tls_client_ca];
        ensure!(
            self.tls_bind.is_some() || tls_files.iter().all(|file| file.is_none()),
            "certificates are for --tls-bind"
        );
        if let Some(bind) = &self.ws_bind {
            listeners.extend(bind.iter().map(|at| (at.clone(), Transport::WebSocket)));
        }
        ensure!(!listeners.is_empty(), "nowhere to listen");
        Ok(listeners)
    }

    fn config(&self) -> broker::Config {
        let default = broker::Config::default();
        broker::Config {
            server: self.config_of_server(),
            connections_max: self.max_connections.unwrap_or(default.connections_max),
            sessions_max: self.max_sessions.unwrap_or(default.sessions_max),
            subscriptions_per_session_max: self
                .max_subscriptions
                .unwrap_or(default.subscriptions_per_session_max),
            retained_len_max: self.max_retained.unwrap_or(default.retained_len_max),
            retained_bytes_max: self
                .max_retained_bytes
                .unwrap_or(default.retained_bytes_max),
            total_bytes_max: self.max_total_bytes.unwrap_or(default.total_bytes_max),
            seed: RandomState::new().build_hasher().finish(),
            ..default
        }
    }

    fn config_of_server(&self) -> server::Config {
        let default = server::Config::default();
        server::Config {
            packet_size_max: self.max_packet_size.unwrap_or(default.packet_size_max),
            connect_packet_size_max: CONNECT_SIZE_MAX,
            payload_size_max: self.message_size_limit.or(default.payload_size_max),
            keep_alive_max_secs: self.max_keep_alive.or(default.keep_alive_max_secs),
            session_expiry_max_secs: self.session_expiry_max.or(default.session_expiry_max_secs),
            receive_maximum: self
                .receive_maximum
                .map_or(default.receive_maximum, NonZeroU16::get),
            in_flight_max: self
                .max_inflight
                .map_or(default.in_flight_max, NonZeroU16::get),
            waiting_len_max: self.max_queued.unwrap_or(default.waiting_len_max),
            messages_bytes_max: self.max_queued_bytes.unwrap_or(default.messages_bytes_max),
            maximum_qos: self.maximum_qos.unwrap_or(default.maximum_qos),
            retain_available: self.retain_available.unwrap_or(default.retain_available),
            topic_alias_maximum: self
                .topic_alias_maximum
                .unwrap_or(default.topic_alias_maximum),
            ..default
        }
    }
}

/// The text of a file, without the mark that some editors put in front of it.
fn read(path: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// One text, or a list of texts.
fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "one address, or a list of addresses")]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    Ok(Some(match OneOrMore::deserialize(from)? {
        OneOrMore::One(text) => vec![text],
        OneOrMore::More(texts) => texts,
    }))
}

/// What a flag reads from its text.
fn parsed<'de, D: Deserializer<'de>, T>(from: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn qos_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<QoS>, D::Error> {
    let number = u8::deserialize(from)?;
    qos(&number.to_string())
        .map(Some)
        .map_err(serde::de::Error::custom)
}
