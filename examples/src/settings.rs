//! What a client says in CONNECT, as owned values: it is said again at every reconnect.

use std::time::Duration;

use anyhow::Context as _;
use mqtt_codec::{
    Binary, Connect, ConnectProperties, Message, ProtocolVersion, Str, Will, WillProperties,
};
use mqtt_state::Timestamp;

use crate::drive::Machine;
use crate::transport::tls::TlsFiles;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host and port, or a URL: `mqtt`, `mqtts`, `ws` or `wss`.
    pub address: String,
    /// For TLS.
    pub tls: TlsFiles,
    /// So long may TLS and WebSocket wait for an answer, before there is MQTT.
    pub handshake: Duration,
    /// The version to speak.
    pub version: ProtocolVersion,
    /// The name of the session.
    pub client_id: String,
    /// Start without the session that the server may have.
    pub clean_start: bool,
    /// In seconds; 0 is off.
    pub keep_alive_secs: u16,
    /// How long the server keeps the session, in seconds (5.0).
    pub session_expiry_secs: Option<u32>,
    /// For the server to check.
    pub user_name: Option<String>,
    /// For the server to check.
    pub password: Option<String>,
    /// What the server publishes when this client is gone without a goodbye.
    pub will: Option<Message>,
}

impl Settings {
    /// A clean start with a keep alive of 60 seconds.
    pub fn new(
        address: impl Into<String>,
        version: ProtocolVersion,
        client_id: impl Into<String>,
    ) -> Self {
        Self {
            address: address.into(),
            tls: TlsFiles::default(),
            handshake: Duration::from_secs(10),
            version,
            client_id: client_id.into(),
            clean_start: true,
            keep_alive_secs: 60,
            session_expiry_secs: None,
            user_name: None,
            password: None,
            will: None,
        }
    }

    /// For connections after the first: the session goes on, if the broker still has it. In 3.1.1 a session that may
    /// go on is one that stays, so that is left as it is.
    pub fn go_on(&mut self) {
        if self.version == ProtocolVersion::V5_0 {
            self.clean_start = false;
        }
    }

    /// Hands CONNECT to the machine.
    pub fn connect(&self, client: &mut Machine, now: Timestamp) -> anyhow::Result<()> {
        let user_name = self
            .user_name
            .as_deref()
            .map(Str::new)
            .transpose()
            .context("user name")?;
        let password = self
            .password
            .as_deref()
            .map(|password| Binary::new(password.as_bytes()));
        let will = match &self.will {
            Some(message) => Some(Will {
                qos: message.qos(),
                retain: message.retain(),
                properties: WillProperties::default(),
                ..Will::new(
                    message.topic(),
                    Binary::new(message.payload()).context("will payload")?,
                )
            }),
            None => None,
        };
        let connect = Connect {
            clean_start: self.clean_start,
            keep_alive_secs: self.keep_alive_secs,
            will,
            user_name,
            password: password.transpose().context("password")?,
            properties: ConnectProperties {
                session_expiry_secs: self.session_expiry_secs,
                ..ConnectProperties::default()
            },
            ..Connect::new(
                self.version,
                Str::new(&self.client_id).context("client identifier")?,
            )
        };
        Ok(client.connect(now, &connect)?)
    }
}
